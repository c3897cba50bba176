//! What a source has gone through, as its stream tells it, and what must be there in the end.

use crate::support::event::{AT, Stream};
use crate::support::exact::Exact;
use fastrand::Rng;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Expected or found documents, by id, without what is not the item's own.
pub(crate) type Documents = BTreeMap<String, Exact>;

/// By how much neighbouring sequence numbers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// As DynamoDB's do: by about 10^20.
    Huge,
    /// By one, so that neighbours share their coarse version.
    One,
    /// By either.
    Mixed,
}

/// How a history is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) seed: u64,
    pub(crate) step: Step,
    /// Half-way the stream is enabled anew: a new label, and smaller numbers.
    pub(crate) relabel: bool,
}

/// One change of one item.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) id: String,
    /// What the item is after it; `None`: it was removed.
    pub(crate) item: Option<Value>,
    pub(crate) sequence: u128,
    /// The source's time, seconds since 1970.
    pub(crate) at: i64,
    /// As the stream delivers it.
    pub(crate) record: Value,
}

/// Everything that happened, in order.
pub(crate) struct History {
    pub(crate) changes: Vec<Change>,
    pub(crate) stream: Stream,
    shape: Shape,
    random: Rng,
    sequence: u128,
}

const CHANGES: usize = 300;
const KEYS: usize = 25;

/// The most records of a batch.
const BATCH: usize = 40;

const NEW_LABEL: &str = "2020-05-01T08:00:00.000";

/// About as far as DynamoDB's numbers are apart.
const FAR: u128 = 100_000_000_000_000_000_000;

impl History {
    /// A history of a table's own.
    pub(crate) fn new(table: &str, shape: Shape) -> Self {
        Self::of(table, shape, CHANGES, KEYS)
    }

    /// A history of so many changes of so many keys.
    pub(crate) fn of(table: &str, shape: Shape, changes: usize, keys: usize) -> Self {
        // On the way the numbers gain a digit, which is where comparing them as text goes wrong.
        let gain = 10_u128.pow(28);
        let before = match shape.step {
            Step::Huge => 150 * FAR,
            Step::Mixed => 75 * FAR,
            Step::One => 150,
        };
        let sequence = gain - before;
        let random = Rng::with_seed(shape.seed);
        let mut history = Self { changes: Vec::new(), stream: Stream::of(table), shape, random, sequence };
        for number in 0..changes {
            if shape.relabel && number == changes / 2 {
                history.stream.label = NEW_LABEL;
                history.sequence = 9 * FAR;
            }
            let hot = history.random.u8(..100) < 30;
            let id = format!("k{}", history.random.usize(..if hot { 4 } else { keys }));
            let removes = history.item(&id).is_some() && history.random.u8(..100) < 25;
            history.push(&id, removes);
        }
        history
    }

    /// One more change; gives its record.
    pub(crate) fn push(&mut self, id: &str, removes: bool) -> Value {
        let was_there = self.item(id).is_some();
        let number = self.changes.len();
        self.sequence += match self.shape.step {
            Step::One => 1,
            Step::Mixed if self.random.bool() => 1,
            Step::Huge | Step::Mixed => FAR + u128::from(self.random.u64(..)),
        };
        let item = (!removes).then(|| json!({"id": id, "n": number, "text": format!("v{}", self.random.u16(..))}));
        let at = AT + i64::try_from(number / 10).unwrap();
        let name = match (&item, was_there) {
            (None, _) => "REMOVE",
            (Some(_), true) => "MODIFY",
            (Some(_), false) => "INSERT",
        };
        let record = record(&self.stream, name, id, self.sequence, at, item.as_ref());
        self.changes.push(Change { id: id.to_owned(), item, sequence: self.sequence, at, record: record.clone() });
        record
    }

    /// What the item is after everything.
    pub(crate) fn item(&self, id: &str) -> Option<&Value> {
        self.last(id)?.item.as_ref()
    }

    /// The newest change of an item.
    pub(crate) fn last(&self, id: &str) -> Option<&Change> {
        self.changes.iter().rev().find(|change| change.id == id)
    }

    /// Ids of all items that have ever been there.
    pub(crate) fn ids(&self) -> BTreeSet<String> {
        self.changes.iter().map(|change| change.id.clone()).collect()
    }

    /// What must be there in the end.
    pub(crate) fn fold(&self) -> Documents {
        let mut documents = Documents::new();
        for change in &self.changes {
            match &change.item {
                Some(item) => drop(documents.insert(change.id.clone(), item.clone().into())),
                None => drop(documents.remove(&change.id)),
            }
        }
        documents
    }

    /// Ids of the items that a batch's newest change removes.
    pub(crate) fn gone_after(&self, batch: Range<usize>) -> BTreeSet<String> {
        let mut gone = BTreeSet::new();
        for Change { id, item, .. } in &self.changes[batch] {
            if item.is_none() {
                gone.insert(id.clone())
            } else {
                gone.remove(id)
            };
        }
        gone
    }

    /// The records of these changes.
    pub(crate) fn records(&self, range: Range<usize>) -> Vec<Value> {
        self.changes[range].iter().map(|change| change.record.clone()).collect()
    }

    /// All changes in batches of 1 to 40.
    pub(crate) fn batches(&mut self) -> Vec<Range<usize>> {
        let mut batches = Vec::new();
        let mut from = 0;
        while from < self.changes.len() {
            let to = self.changes.len().min(from + self.random.usize(1..=BATCH));
            batches.push(from..to);
            from = to;
        }
        batches
    }

    /// A chance of one in so many.
    pub(crate) fn chance(&mut self, one_in: usize) -> bool {
        self.random.usize(..one_in) == 0
    }

    /// Some number below this.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.random.usize(..end)
    }
}

/// A record of a stream; the item in DynamoDB's notation.
pub(crate) fn record(stream: &Stream, name: &str, id: &str, sequence: u128, at: i64, item: Option<&Value>) -> Value {
    let attribute = |value: &Value| match value {
        Value::String(text) => json!({ "S": text }),
        other => json!({ "N": other.to_string() }),
    };
    let image = |item: &Value| {
        let item = item.as_object().unwrap();
        item.iter().map(|(name, value)| (name.clone(), attribute(value))).collect::<serde_json::Map<_, _>>().into()
    };
    stream.record(name, &sequence.to_string(), at, json!({"id": {"S": id}}), item.map(image))
}

#[test]
fn histories_remove_and_write_anew_and_their_numbers_gain_a_digit() {
    for (seed, step) in [(1, Step::Huge), (2, Step::One), (3, Step::Mixed)] {
        let mut history = History::new("t", Shape { seed, step, relabel: false });
        let numbers: Vec<u128> = history.changes.iter().map(|change| change.sequence).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{step:?}");
        assert!(numbers[0] < 10_u128.pow(28) && numbers[CHANGES - 1] > 10_u128.pow(28), "{step:?}");
        let removed = history.changes.iter().filter(|change| change.item.is_none()).count();
        let gone = history.ids().len() - history.fold().len();
        assert!(removed > 20 && gone >= 2, "{step:?}: {removed} removed, {gone} of them for good");
        let batches = history.batches();
        assert_eq!(batches.iter().map(ExactSizeIterator::len).sum::<usize>(), CHANGES);
        assert!(batches.iter().all(|batch| (1..=BATCH).contains(&batch.len())));
    }
}
