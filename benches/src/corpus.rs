//! Seeded DynamoDB Streams events, byte for byte in the form in which Lambda delivers them: members in Lambda's order,
//! text as UTF-8, view type NEW_IMAGE.
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>

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

/// What a corpus looks like.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) seed: u64,
    /// Changes in all.
    pub(crate) records: usize,
    /// Share of the changes that fall on `hot_keys` keys, from 0 to 1.
    pub(crate) hot_share: f64,
    pub(crate) hot_keys: usize,
    /// Share of REMOVE among the changes, from 0 to 0.5.
    pub(crate) delete_share: f64,
    pub(crate) step: Step,
    /// Name of the table, and so of the index or collection.
    pub(crate) table: String,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            seed: 1,
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
    records: Vec<String>,
    live: HashMap<String, usize>,
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

    /// The records grouped into events. Records that do not fill the last event are left out, so that every event of a
    /// run weighs the same.
    pub(crate) fn events(&self, batch: Batch) -> Vec<Event> {
        let mut events = Vec::new();
        let mut first = 0;
        while let Some(count) = self.next_batch(first, batch) {
            events.push(Event { body: envelope(&self.records[first..first + count]), records: count });
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
            events.push(Event { body: envelope(rest), records: rest.len() });
        }
        events
    }

    fn next_batch(&self, first: usize, batch: Batch) -> Option<usize> {
        let rest = &self.records[first..];
        match batch {
            Batch::Records(count) => (count > 0 && rest.len() >= count).then_some(count),
            Batch::Bytes(limit) => {
                let mut bytes = ENVELOPE_BYTES;
                let count = rest.iter().position(|record| {
                    bytes += record.len() + 1;
                    bytes > limit
                });
                count.filter(|count| *count > 0)
            }
        }
    }
}

const ENVELOPE_BYTES: usize = r#"{"Records":[]}"#.len();

fn envelope(records: &[String]) -> Arc<[u8]> {
    let mut body = String::with_capacity(ENVELOPE_BYTES + records.iter().map(|record| record.len() + 1).sum::<usize>());
    body.push_str(r#"{"Records":["#);
    for (position, record) in records.iter().enumerate() {
        if position > 0 {
            body.push(',');
        }
        body.push_str(record);
    }
    body.push_str("]}");
    body.into_bytes().into()
}

struct Generator<'a> {
    shape: &'a Shape,
    random: Random,
    sequence: u128,
    created: u64,
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
            live: HashMap::new(),
            cold: Vec::new(),
            next_key: 0,
        }
    }

    fn run(mut self) -> Corpus {
        let records = (0..self.shape.records).map(|_| self.change()).collect();
        Corpus { records, live: self.live }
    }

    fn change(&mut self) -> String {
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
        self.record(kind, &key, revision)
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
        }
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

    fn record(&mut self, kind: Kind, key: &str, revision: usize) -> String {
        let name = match kind {
            Kind::Insert => "INSERT",
            Kind::Modify => "MODIFY",
            Kind::Remove => "REMOVE",
        };
        let mut record = String::with_capacity(2_048);
        write!(
            record,
            r#"{{"eventID":"{:016x}{:016x}","eventName":"{name}","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"eu-central-1","dynamodb":{{"ApproximateCreationDateTime":{},"Keys":{{"pk":{{"S":"{key}"}}}},"#,
            self.random.bits(),
            self.random.bits(),
            self.created,
        )
        .expect("writing to a string cannot fail");
        let mut size = key.len() * 2 + 4;
        if kind != Kind::Remove {
            record.push_str(r#""NewImage":"#);
            let start = record.len();
            write_image(&mut record, &mut self.random, key, revision, self.created);
            size += (record.len() - start) * 4 / 5;
            record.push(',');
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
