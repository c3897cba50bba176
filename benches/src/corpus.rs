//! Seeded DynamoDB Streams events, byte for byte in the form in which Lambda delivers them: members in Lambda's order,
//! text as UTF-8, view type NEW_IMAGE. The same changes also come as events of a DocumentDB change stream.
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>

mod documentdb;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::image::write_image;
use crate::random::Random;

/// How far apart the sequence numbers of neighbouring changes lie. Real tables show about 10^20.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Step {
    /// 10^20.
    Wide,
    /// 1, which leaves only the last digits to tell changes apart.
    One,
    /// One or the other at random.
    Mixed,
}

impl Step {
    /// Name in tables.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Wide => "10^20",
            Self::One => "1",
            Self::Mixed => "10^20 or 1",
        }
    }
}

/// Whose change stream tells the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Source {
    #[value(name = "dynamodb")]
    DynamoDb,
    #[value(name = "documentdb")]
    DocumentDb,
}

impl Source {
    /// What stands before and after the records of an event.
    fn envelope(self) -> (&'static str, &'static str) {
        match self {
            Self::DynamoDb => (r#"{"Records":["#, "]}"),
            Self::DocumentDb => (documentdb::HEAD, documentdb::TAIL),
        }
    }
}

/// What a corpus looks like.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) seed: u64,
    pub(crate) source: Source,
    /// Changes in all.
    pub(crate) records: usize,
    /// Share of the changes that fall on `hot_keys` keys, from 0 to 1.
    pub(crate) hot_share: f64,
    pub(crate) hot_keys: usize,
    /// Share of REMOVE among the changes, from 0 to 0.5.
    pub(crate) delete_share: f64,
    /// Distance of sequence numbers; cluster times of DocumentDB count on by one.
    pub(crate) step: Step,
    /// Name of the table, and so of the index or collection.
    pub(crate) table: String,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            seed: 1,
            source: Source::DynamoDb,
            records: 20_000,
            hot_share: 0.0,
            hot_keys: 10,
            delete_share: 0.1,
            step: Step::Wide,
            table: "bench".into(),
        }
    }
}

/// How records are grouped into events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Batch {
    /// This many records an event.
    Records(usize),
    /// As many records as fit into this many bytes of event.
    Bytes(usize),
}

/// The largest event that a benchmark sends: Lambda's limit is 6 MB.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub(crate) const FULL_EVENT: Batch = Batch::Bytes(6_000_000);

/// One invocation's payload.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) body: Arc<[u8]>,
    pub(crate) records: usize,
}

/// Share of INSERT among the changes.
const INSERT_SHARE: f64 = 0.5;

/// The records of a corpus as JSON, in the order of the stream.
#[derive(Debug)]
pub(crate) struct Corpus {
    source: Source,
    records: Vec<String>,
    /// The key of each record.
    keys: Vec<String>,
    live: HashMap<String, usize>,
    /// How many records a target refuses whose field `stock` is a number.
    poisoned: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Insert,
    Modify,
    Remove,
}

impl Corpus {
    pub(crate) fn generate(shape: &Shape) -> Self {
        Generator::new(shape).run()
    }

    /// How many keys exist after the last change: what a target must hold in the end.
    pub(crate) fn live_keys(&self) -> usize {
        self.live.len()
    }

    /// How many records a target refuses that has seen others before.
    pub(crate) fn poisoned_records(&self) -> usize {
        self.poisoned
    }

    /// The same changes, one of each `every` with a text for a number, which an index with a mapping refuses. Only keys that are
    /// written once are chosen, so that no other change of theirs makes good for it.
    pub(crate) fn poison(mut self, every: usize) -> Self {
        let mut changes = HashMap::<&str, usize>::new();
        self.keys.iter().for_each(|key| *changes.entry(key).or_default() += 1);
        let once = self.keys.iter().map(|key| changes.get(key.as_str()) == Some(&1)).collect::<Vec<_>>();
        for (position, record) in self.records.iter_mut().enumerate() {
            // The first hundreds may have no such key: the next ones make up for it.
            if !once[position] || self.poisoned > position / every.max(1) {
                continue;
            }
            let Some(number) = record.find(STOCK).map(|at| at + STOCK.len()) else { continue };
            let end = record[number..].find(AFTER_STOCK).map_or(number, |length| number + length);
            let text = match self.source {
                Source::DynamoDb => r#"{"S":"sold out"}"#,
                Source::DocumentDb => r#""sold out""#,
            };
            record.replace_range(number..end, text);
            self.live.remove(&self.keys[position]);
            self.poisoned += 1;
        }
        self
    }

    /// The records grouped into events. Records that do not fill the last event are left out, so that every event of a
    /// run weighs the same.
    pub(crate) fn events(&self, batch: Batch) -> Vec<Event> {
        let mut events = Vec::new();
        let mut first = 0;
        while let Some(count) = self.next_batch(first, batch) {
            events.push(Event { body: envelope(self.source, &self.records[first..first + count]), records: count });
            first += count;
        }
        events
    }

    /// All records grouped into events, a shorter last one included.
    pub(crate) fn all_events(&self, batch: Batch) -> Vec<Event> {
        let mut events = self.events(batch);
        let sent = events.iter().map(|event| event.records).sum::<usize>();
        if sent < self.records.len() {
            let rest = &self.records[sent..];
            events.push(Event { body: envelope(self.source, rest), records: rest.len() });
        }
        events
    }

    fn next_batch(&self, first: usize, batch: Batch) -> Option<usize> {
        let rest = &self.records[first..];
        match batch {
            Batch::Records(count) => (count > 0 && rest.len() >= count).then_some(count),
            Batch::Bytes(limit) => {
                let (head, tail) = self.source.envelope();
                let mut bytes = head.len() + tail.len();
                let count = rest.iter().position(|record| {
                    bytes += record.len() + 1;
                    bytes > limit
                });
                count.filter(|count| *count > 0)
            }
        }
    }
}

/// The field that is poisoned, and what comes after it.
const STOCK: &str = r#""stock":"#;
const AFTER_STOCK: &str = r#","active""#;

fn envelope(source: Source, records: &[String]) -> Arc<[u8]> {
    let (head, tail) = source.envelope();
    let bytes = records.iter().map(|record| record.len() + 1).sum::<usize>();
    let mut body = String::with_capacity(head.len() + bytes + tail.len());
    body.push_str(head);
    for (position, record) in records.iter().enumerate() {
        if position > 0 {
            body.push(',');
        }
        body.push_str(record);
    }
    body.push_str(tail);
    body.into_bytes().into()
}

struct Generator<'a> {
    shape: &'a Shape,
    random: Random,
    sequence: u128,
    created: u64,
    /// Place among the changes of a second.
    ordinal: u32,
    /// Live keys with a number of revisions, and the cold ones once more in a list to draw from.
    live: HashMap<String, usize>,
    cold: Vec<String>,
    next_key: usize,
}

impl<'a> Generator<'a> {
    fn new(shape: &'a Shape) -> Self {
        Self {
            shape,
            random: Random::new(shape.seed),
            sequence: 4_421_584_500_000_000_017_450_439_091,
            created: 1_764_000_000,
            ordinal: 0,
            live: HashMap::new(),
            cold: Vec::new(),
            next_key: 0,
        }
    }

    fn run(mut self) -> Corpus {
        let (records, keys) = (0..self.shape.records).map(|_| self.change()).unzip();
        Corpus { source: self.shape.source, records, keys, live: self.live, poisoned: 0 }
    }

    /// The next record, and its key.
    fn change(&mut self) -> (String, String) {
        let (kind, key) = if self.random.chance(self.shape.hot_share) { self.hot_change() } else { self.cold_change() };
        let revision = match kind {
            Kind::Insert => {
                self.live.insert(key.clone(), 1);
                1
            }
            Kind::Modify => self.live.get_mut(&key).map_or(1, |revision| {
                *revision += 1;
                *revision
            }),
            Kind::Remove => self.live.remove(&key).unwrap_or(0),
        };
        self.advance();
        (self.record(kind, &key, revision), key)
    }

    fn advance(&mut self) {
        let wide = match self.shape.step {
            Step::Wide => true,
            Step::One => false,
            Step::Mixed => self.random.chance(0.5),
        };
        self.sequence += if wide { 100_000_000_000_000_000_000 } else { 1 };
        if self.random.chance(0.01) {
            self.created += 1;
            self.ordinal = 0;
        }
        self.ordinal += 1;
    }

    /// A hot key is inserted again after each of its removals, so removals are drawn a little more often to keep their
    /// share.
    fn hot_change(&mut self) -> (Kind, String) {
        let key = format!("hot-{:04}", self.random.below(self.shape.hot_keys));
        let share = self.shape.delete_share;
        let kind = if !self.live.contains_key(&key) {
            Kind::Insert
        } else if self.random.chance(share / (1.0 - share)) {
            Kind::Remove
        } else {
            Kind::Modify
        };
        (kind, key)
    }

    fn cold_change(&mut self) -> (Kind, String) {
        let Shape { hot_share, delete_share, .. } = *self.shape;
        // Hot keys are inserted as often as removed; the cold ones make up what is missing to half of all changes.
        let insert = (INSERT_SHARE - hot_share * delete_share) / (1.0 - hot_share);
        let draw = self.random.bits() as f64 / u64::MAX as f64;
        if draw < insert || self.cold.is_empty() {
            let key = format!("item-{:08x}-{:06}", self.random.bits() as u32, self.next_key);
            self.next_key += 1;
            self.cold.push(key.clone());
            return (Kind::Insert, key);
        }
        let position = self.random.below(self.cold.len());
        if draw < insert + delete_share {
            (Kind::Remove, self.cold.swap_remove(position))
        } else {
            (Kind::Modify, self.cold[position].clone())
        }
    }

    /// The draws are the same for every source.
    fn record(&mut self, kind: Kind, key: &str, revision: usize) -> String {
        let event = format!("{:016x}{:016x}", self.random.bits(), self.random.bits());
        let image = (kind != Kind::Remove).then(|| {
            let mut image = String::with_capacity(1_536);
            write_image(&mut image, &mut self.random, key, revision, self.created);
            image
        });
        match self.shape.source {
            Source::DynamoDb => self.stream_record(kind, key, &event, image.as_deref()),
            Source::DocumentDb => {
                let (time, collection) = ((self.created, self.ordinal), self.shape.table.as_str());
                documentdb::Change { kind, key, collection, time, image: image.as_deref() }.text()
            }
        }
    }

    fn stream_record(&self, kind: Kind, key: &str, event: &str, image: Option<&str>) -> String {
        let name = match kind {
            Kind::Insert => "INSERT",
            Kind::Modify => "MODIFY",
            Kind::Remove => "REMOVE",
        };
        let mut record = String::with_capacity(2_048);
        write!(
            record,
            r#"{{"eventID":"{event}","eventName":"{name}","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"eu-central-1","dynamodb":{{"ApproximateCreationDateTime":{},"Keys":{{"pk":{{"S":"{key}"}}}},"#,
            self.created,
        )
        .expect("writing to a string cannot fail");
        let mut size = key.len() * 2 + 4;
        if let Some(image) = image {
            write!(record, r#""NewImage":{image},"#).expect("writing to a string cannot fail");
            size += image.len() * 4 / 5;
        }
        write!(
            record,
            r#""SequenceNumber":"{}","SizeBytes":{size},"StreamViewType":"NEW_IMAGE"}},"eventSourceARN":"arn:aws:dynamodb:eu-central-1:123456789012:table/{}/stream/2025-11-24T16:00:00.000"}}"#,
            self.sequence, self.shape.table,
        )
        .expect("writing to a string cannot fail");
        record
    }
}

#[cfg(test)]
mod tests;
