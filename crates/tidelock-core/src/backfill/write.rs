//! Writing a page of a scan.

use super::{Page, Scanned, ScannedItem};
use crate::cause::{Cause, Disposition, Failure};
use crate::image::Notation;
use crate::key::Key;
use crate::letter::{History, Letter, Post, post, scanned_letter};
use crate::locate::{self, Remembered};
use crate::pipeline::{OnConflict, Pipeline, Routed, Rules, document, item_version};
use crate::queue::{Bucket, Outbox};
use crate::salvage::Salvaging;
use crate::slow::{Fenced, Source, Told, Wish, backfill, truth};
use crate::state::State;
use crate::target::{Call, Done, Place, Salvage, Store};
use crate::version::Position as _;
use crate::version::field::{self, FieldVersion, Rank};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

/// What pages are written with.
pub struct Backfill<'a, T, R, M, Q, B> {
    /// What is scanned: a table's name, or `database.collection`.
    pub origin: &'a str,
    /// See [`Scanned`].
    pub scanned: &'a Scanned,
    /// Where items go.
    pub pipeline: &'a Pipeline,
    /// The target.
    pub target: &'a T,
    /// Reads items again.
    pub source: &'a R,
    /// What remembers [where documents have been](crate::locate).
    pub state: Option<&'a M>,
    /// For what can never be applied as it is.
    pub dead_letters: Option<&'a Q>,
    /// For letters that do not fit into a message.
    pub bucket: Option<&'a B>,
    /// The function's name, for letters.
    pub function: &'a str,
}

/// What has become of a page, in items.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    /// The target holds them now.
    pub applied: usize,
    /// The target holds something newer.
    pub stale: usize,
    /// The pipeline leaves them out.
    pub filtered: usize,
    /// Dead letters, by cause.
    pub parked: BTreeMap<&'static str, usize>,
    /// Some could not be written now, one of them for this reason: the page must be written again.
    pub again: Option<Failure>,
}

/// Where an item of the page goes.
struct Going<'p> {
    item: &'p ScannedItem,
    place: Place,
    /// The scan may be older than what has gone there: only the source can tell.
    is_known: bool,
}

impl<T: Store, R: Source, M: State, Q: Outbox, B: Bucket> Backfill<'_, T, R, M, Q, B> {
    /// Writes a page. Nothing of it is lost when it has to be written again: what was written is found there.
    pub async fn write(&self, page: &Page, call: Call) -> Written {
        let mut written = Written::default();
        let mut refused: Vec<(Failure, Option<&ScannedItem>, Option<Place>)> = Vec::new();
        refused.extend(page.items.iter().filter_map(|found| Some((found.as_ref().err()?.clone(), None, None))));
        let remembered = match self.remembered(page, call).await {
            Ok(remembered) => remembered,
            Err(failure) => return Written { again: Some(failure), ..written },
        };
        for branch in 0..self.pipeline.branches(self.origin) {
            let rules = self.pipeline.rules(self.origin, branch);
            let name = self.pipeline.branch_name(self.origin, branch);
            let (mut going, mut left) = (Vec::new(), Vec::new());
            for (index, item) in page.items.iter().flatten().enumerate() {
                let remembered = remembered.get(index);
                let is_known = remembered.is_some_and(|remembered| remembered.is_known);
                let places = remembered.into_iter().flat_map(|remembered| remembered.places(name));
                let located = rules.locate(&item.item.image(), Key::from_bytes(&item.key));
                left.extend(
                    places
                        .filter(|place| !matches!(&located, Routed::To(to) if to == *place))
                        .map(|place| (item, place)),
                );
                match located {
                    Routed::To(place) => going.push(Going { item, place, is_known }),
                    // What no further route takes is nobody's loss.
                    Routed::Filtered => written.filtered += usize::from(branch == 0),
                    Routed::Refused(failure) => refused.push((failure, Some(item), None)),
                }
            }
            for (failure, item, place) in self.leave(&rules, left, call).await {
                refused.push((failure, Some(item), Some(place)));
            }
            for (failure, item, place) in self.items(&rules, going, &mut written, call).await {
                refused.push((failure, Some(item), Some(place)));
            }
        }
        // What comes again is not parked now.
        refused.retain(|(failure, ..)| {
            let waits = failure.cause.disposition() == Disposition::Retry;
            if waits {
                written.again.get_or_insert_with(|| failure.clone());
            }
            !waits
        });
        if written.again.is_none() {
            self.park(refused, &mut written, call).await;
        }
        written
    }

    /// What is remembered of each item of a page, which are about to enter their places; empty where no route wants that.
    async fn remembered(&self, page: &Page, call: Call) -> Result<Vec<Remembered>, Failure> {
        if !self.pipeline.locates() {
            return Ok(Vec::new());
        }
        let branches: Vec<(Rules<'_>, &str)> = (0..self.pipeline.branches(self.origin))
            .map(|branch| (self.pipeline.rules(self.origin, branch), self.pipeline.branch_name(self.origin, branch)))
            .filter(|(rules, _)| matches!(rules, Rules::ByItem(rules) if rules.are_located()))
            .collect();
        if branches.is_empty() {
            return Ok(Vec::new());
        }
        let item = |item: &'_ ScannedItem| -> Vec<(&str, Place)> {
            let place =
                |(rules, name): &(Rules<'_>, _)| match rules.locate(&item.item.image(), Key::from_bytes(&item.key)) {
                    Routed::To(place) => Some((*name, place)),
                    _ => None,
                };
            branches.iter().filter_map(place).collect()
        };
        let items = page.items.iter().flatten();
        let items =
            items.map(|found| locate::Scanned { key: Key::from_bytes(&found.key), entered: item(found) }).collect();
        locate::scanned(items, &self.scanned.version, self.state, call.deadline).await.into_iter().collect()
    }

    /// Has the source tell of places in which documents have been that the scan has found elsewhere; what was refused.
    async fn leave<'p>(
        &self,
        rules: &Rules<'_>,
        left: Vec<(&'p ScannedItem, &Place)>,
        call: Call,
    ) -> Vec<(Failure, &'p ScannedItem, Place)> {
        let Some(version) = self.scanned.version.version().filter(|_| !left.is_empty()) else { return Vec::new() };
        let wish = |(item, into): &(&'p ScannedItem, &'_ Place)| -> (Key<'p>, Place) {
            (Key::from_bytes(&item.key), Place::clone(into))
        };
        let wanted: Vec<(Key<'p>, Place)> = left.iter().map(wish).collect();
        let wishes = wanted.iter().map(|(key, into)| Wish {
            origin: self.origin,
            rules,
            into,
            key: *key,
            version,
            salvage: Salvage::Never,
            manner: None,
        });
        let wishes: Vec<Wish<'_>> = wishes.collect();
        let fenced = Fenced::new(self.target, self.pipeline.may_delete_all());
        let told = truth(&Salvaging::new(&fenced), self.source, &wishes, call).await;
        let refused = left
            .iter()
            .zip(told)
            .filter_map(|((item, place), told)| Some((told.outcome.err()?, *item, Place::clone(place))));
        refused.collect()
    }

    /// Writes items that have a place; those that were refused.
    async fn items<'p>(
        &self,
        rules: &Rules<'_>,
        going: Vec<Going<'p>>,
        written: &mut Written,
        call: Call,
    ) -> Vec<(Failure, &'p ScannedItem, Place)> {
        let mut refused = Vec::new();
        let Some(version) = self.scanned.version.version() else {
            let failure = Failure::new(Cause::SourceUnreadable, "the scan has no version that can be read");
            written.again = Some(failure);
            return refused;
        };
        // An item that holds its own number has that, others are older than all changes.
        let field = self.pipeline.version_field(self.origin);
        let space = field.map(|field| field::space(self.origin, &field.join(".")));
        let numbered: Vec<Option<Result<FieldVersion, Failure>>> = going
            .iter()
            .map(|going| field.map(|field| item_version(&going.item.item.image(), field, Rank::Upsert)))
            .collect();
        let (mut wishes, mut documents, mut items) = (Vec::new(), Vec::<Cow<'_, [u8]>>::new(), Vec::new());
        for (going, numbered) in going.iter().zip(&numbered) {
            let version = match (numbered, &space) {
                (Some(Ok(number)), Some(space)) => number.version(space, "", 0),
                (Some(Err(failure)), _) => {
                    refused.push((failure.clone(), going.item, going.place.clone()));
                    continue;
                }
                _ => version,
            };
            let (image, key) = (going.item.item.image(), Key::from_bytes(&going.item.key));
            let made = match rules.transform(&image) {
                Some(transform) => document(&image, transform, self.target.format(), key).map(Cow::Owned),
                None => going.item.item.document.as_deref().map(Cow::Borrowed).map_err(Failure::clone),
            };
            match made {
                Ok(document) => {
                    let salvage = match rules.policy([image], self.pipeline.default_policy()).on_conflict {
                        OnConflict::Salvage => Salvage::Allowed,
                        OnConflict::Park => Salvage::Never,
                    };
                    let (into, manner) = (&going.place, rules.manner(Some(&image)));
                    wishes.push(Wish { origin: self.origin, rules, into, key, version, salvage, manner });
                    documents.push(document);
                    items.push(going);
                }
                Err(failure) => refused.push((failure, going.item, going.place.clone())),
            }
        }
        let documents: Vec<&[u8]> = documents.iter().map(AsRef::as_ref).collect();
        let fenced = Fenced::new(self.target, self.pipeline.may_delete_all());
        let target = Salvaging::new(&fenced);
        let is_known = |index: &usize| items.get(*index).is_some_and(|going| going.is_known);
        let (known, new): (Vec<usize>, Vec<usize>) = (0..wishes.len()).partition(is_known);
        let some = |indices: &[usize]| -> Vec<Wish<'_>> {
            indices.iter().filter_map(|&index| wishes.get(index).copied()).collect()
        };
        let scanned: Vec<&[u8]> = new.iter().filter_map(|&index| documents.get(index).copied()).collect();
        let mut told: Vec<(usize, Told)> = Vec::with_capacity(wishes.len());
        told.extend(new.iter().copied().zip(backfill(&target, self.source, &some(&new), &scanned, call).await));
        if !known.is_empty() {
            told.extend(known.iter().copied().zip(truth(&target, self.source, &some(&known), call).await));
        }
        told.sort_by_key(|(index, _)| *index);
        let told = told.into_iter().map(|(_, told)| told);
        for (going, (wish, told)) in items.into_iter().zip(wishes.iter().zip(told)) {
            let note = target.note(wish.into, wish.into.key(wish.key)).filter(|_| told.outcome == Ok(Done::Applied));
            match told.nowhere.or(note).map_or(told.outcome, Err) {
                Ok(Done::Applied) => written.applied += 1,
                Ok(Done::Stale) => written.stale += 1,
                Err(failure) => refused.push((failure, going.item, going.place.clone())),
            }
        }
        refused
    }

    async fn park(
        &self,
        refused: Vec<(Failure, Option<&ScannedItem>, Option<Place>)>,
        written: &mut Written,
        call: Call,
    ) {
        if refused.is_empty() {
            return;
        }
        let space = &self.scanned.version.space;
        let history = History::first(call.now_ms);
        let letters: Vec<Letter> = refused
            .iter()
            .map(|(failure, item, place)| {
                let into = place.as_ref();
                let bytes = item.map_or(&[][..], |item| &item.item.bytes);
                let notation = item.map_or(Notation::DynamoDb, |item| item.item.notation);
                let key = item.map(|item| Key::from_bytes(&item.key));
                scanned_letter(self.origin, space, key, (notation, bytes), failure, into, self.function, history)
            })
            .collect();
        let results = match self.dead_letters {
            Some(queue) => post(Post { queue, bucket: self.bucket }, letters, Duration::ZERO, call.deadline).await,
            None => letters.iter().map(|_| Err("TIDELOCK_DEAD_LETTERS is not set".to_owned())).collect(),
        };
        for ((failure, ..), result) in refused.iter().zip(results) {
            match result {
                Ok(()) => *written.parked.entry(failure.cause.code()).or_default() += 1,
                Err(why) => {
                    let failure = Failure::new(Cause::NotParked, format!("{why} ({failure})"));
                    written.again.get_or_insert(failure);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::{Queue, Scripted};
    use crate::encode::Format;
    use crate::letter::{Contents, read};
    use crate::queue::Nowhere;
    use crate::slow::{Item, ReadResult};
    use crate::source::dynamodb::{decode, decode_item};
    use crate::state::MemoryState;
    use crate::testing::block_on;
    use crate::version::dynamodb::oldest;
    use std::time::Instant;

    const SPACE: &str = "dynamodb:us-east-1:1:t";

    struct Unread;

    impl Source for Unread {
        async fn read(&self, _: &str, keys: &[Key<'_>], _: Format, _: Instant) -> Vec<ReadResult> {
            keys.iter().map(|_| Err(Failure::new(Cause::SourceUnreadable, "not needed"))).collect()
        }
    }

    fn item(text: &str) -> Result<ScannedItem, Failure> {
        let found = decode_item(text.as_bytes(), &["k"], Format::Json)?;
        let item = Item { document: found.document, notation: Notation::DynamoDb, bytes: text.as_bytes().to_vec() };
        Ok(ScannedItem { key: found.key, item })
    }

    fn write(items: &[&str], pipeline: &str, dead_letters: Option<&Queue>) -> (Written, Vec<String>) {
        write_with(items, pipeline, dead_letters, None, &Unread)
    }

    fn write_with(
        items: &[&str],
        pipeline: &str,
        dead_letters: Option<&Queue>,
        state: Option<&MemoryState>,
        source: &impl Source,
    ) -> (Written, Vec<String>) {
        let scanned = Scanned { version: oldest(SPACE).mark(), items: None, facts: String::new() };
        let pipeline = Pipeline::parse(pipeline).expect("a pipeline");
        let target = Scripted::default();
        let backfill = Backfill {
            origin: "t",
            scanned: &scanned,
            pipeline: &pipeline,
            target: &target,
            source,
            state,
            dead_letters,
            bucket: None::<&Nowhere>,
            function: "backfill",
        };
        let page = Page { items: items.iter().map(|text| item(text)).collect(), next: None, units: 0.0 };
        let call = Call { deadline: Instant::now(), now_ms: 0, truth: true };
        let written = block_on(backfill.write(&page, call));
        (written, target.writes.take())
    }

    const ALL: &str = "{version: 1, routes: [{from: t, where: .k != \"hidden\", to: x}]}";

    #[test]
    fn items_go_where_their_route_says_and_what_is_refused_is_a_letter() {
        let queue = Queue::default();
        let items = [
            r#"{"k":{"S":"a"},"do":{"S":"ok"}}"#,
            r#"{"k":{"S":"hidden"}}"#,
            r#"{"k":{"S":"b"},"do":{"S":"stale"}}"#,
            r#"{"k":{"S":"c"},"do":{"S":"park"}}"#,
            r#"{"k":{"S":"d"},"do":{"X":"1"}}"#,
            r#"{"no":{"S":"key"}}"#,
        ];
        let (written, writes) = write(&items, ALL, Some(&queue));
        assert_eq!((written.applied, written.stale, written.filtered, &written.again), (1, 1, 1, &None), "{written:?}");
        assert_eq!(writes.len(), 3);
        assert_eq!(written.parked, BTreeMap::from([("mapping_conflict", 1), ("missing_key", 1), ("unknown_type", 1)]));
        // It can be redriven: at the oldest version there is.
        let letters = queue.letters.borrow();
        let parcel = letters.iter().map(|letter| read(&letter.body).expect("a letter"));
        let parcel = parcel.into_iter().find(|parcel| parcel.reason == "mapping_conflict").expect("one is");
        assert_eq!((&*parcel.source_kind, parcel.target), ("dynamodb", Some(("x".into(), "c".into()))));
        let Contents::Record(record) = parcel.contents else { panic!("a record") };
        let event = format!("{{\"Records\":[{}]}}", record);
        let batch = decode(event.as_bytes(), Format::Json).expect("an event");
        let slot = &batch.slots[0];
        assert_eq!(batch.version(slot).map(|version| version.mark()), Some(oldest(SPACE).mark()));
        assert_eq!(batch.key(slot).map(|key| key.text_id()), Some("c".to_owned()));
    }

    /// Holds one item.
    struct One(&'static str);

    impl Source for One {
        async fn read(&self, _: &str, keys: &[Key<'_>], _: Format, _: Instant) -> Vec<ReadResult> {
            let item = item(self.0).expect("an item").item;
            keys.iter().map(|_| Ok(Some(item.clone()))).collect()
        }
    }

    #[test]
    fn where_items_go_is_remembered_and_what_is_known_is_read_again() {
        let moves = "{version: 1, routes: [{from: t, to: 'x-{home}', locate: state}]}";
        let (a, b) = (r#"{"k":{"S":"k"},"home":{"S":"a"}}"#, r#"{"k":{"S":"k"},"home":{"S":"b"}}"#);
        let (written, writes) = write(&[a], moves, None);
        assert!(written.again.is_some_and(|failure| failure.cause == Cause::StateUnreachable) && writes.is_empty());
        let state = MemoryState::default();
        let run = |scanned, now| write_with(&[scanned], moves, None, Some(&state), &One(now));
        let (written, writes) = write_with(&[a], moves, None, Some(&state), &Unread);
        assert_eq!((written.applied, writes), (1, vec![r#"x-a/k {"k":"k","home":"a""#.to_owned()]), "nobody knew it");
        // It has moved since, and what told of it was lost.
        let (written, mut writes) = run(b, b);
        writes.sort();
        assert_eq!(
            (written.applied, writes),
            (1, vec!["x-a/k delete".to_owned(), r#"x-b/k {"k":"k","home":"b""#.to_owned()])
        );
        // The scan is old: the source says where it is.
        let (_, mut writes) = run(b, a);
        writes.sort();
        assert_eq!(writes, [r#"x-a/k {"k":"k","home":"a""#, "x-b/k delete"]);
    }

    #[test]
    fn a_page_comes_again_whole_and_parks_nothing_before() {
        let queue = Queue::default();
        let items = [r#"{"k":{"S":"a"},"do":{"S":"retry"}}"#, r#"{"k":{"S":"c"},"do":{"S":"park"}}"#];
        let (written, _) = write(&items, ALL, Some(&queue));
        assert!(written.again.is_some_and(|failure| failure.cause == Cause::Throttled));
        assert!(queue.letters.borrow().is_empty());
    }

    #[test]
    fn without_its_letter_nothing_is_done() {
        for queue in [None, Some(Queue { broken: true, ..Queue::default() })] {
            let (written, _) = write(&[r#"{"k":{"S":"c"},"do":{"S":"park"}}"#], ALL, queue.as_ref());
            assert!(
                written.again.is_some_and(|failure| failure.cause == Cause::NotParked) && written.parked.is_empty()
            );
        }
    }
}
