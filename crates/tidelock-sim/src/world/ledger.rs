//! Where every change is: known to the target, or in some message or object. Nothing else will do.
//!
//! Looked at whenever a change is acknowledged, and whenever a message that holds it is deleted.

use super::history::{BEGINNING_MS, History, SPACE, id};
use super::routing::Location;
use crate::engine::Engine;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use tidelock_core::fence::{FENCE_INDEX, fence_id};
use tokio::time::Instant;

/// What a message or an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It holds records, or says which.
    Records,
    /// It says that records are lost.
    Lost,
    /// It is none of ours.
    Foreign,
}

/// A message or an object.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    /// The changes that it holds, as far as the history knows them.
    pub(crate) changes: Vec<usize>,
    /// The object that it points at.
    pub(crate) points_at: Option<String>,
}

/// Accounts for all changes.
pub(crate) struct Ledger {
    pub(crate) history: Rc<History>,
    engine: Engine,
    began: Instant,
    /// Changes by stream and number.
    positions: BTreeMap<(String, String), usize>,
    /// Of each change, how many messages and objects hold it.
    waiting: RefCell<Vec<usize>>,
    acknowledged: RefCell<Vec<bool>>,
    /// Changes that have waited in some message or object.
    waited: RefCell<Vec<bool>>,
    /// Where documents were before.
    planted: RefCell<BTreeSet<Location>>,
    /// The source's clock cannot be trusted.
    clock_steps: bool,
    wrong: RefCell<Vec<String>>,
}

impl Ledger {
    pub(crate) fn new(history: Rc<History>, engine: Engine, clock_steps: bool) -> Self {
        let count = history.changes.len();
        let position = |record: &Value| (text(&record["eventSourceARN"]), text(&record["dynamodb"]["SequenceNumber"]));
        let positions = history.changes.iter().enumerate().map(|(index, change)| (position(&change.record), index));
        Self {
            positions: positions.collect(),
            history,
            engine,
            began: Instant::now(),
            waiting: RefCell::new(vec![0; count]),
            acknowledged: RefCell::new(vec![false; count]),
            waited: RefCell::new(vec![false; count]),
            planted: RefCell::default(),
            clock_steps,
            wrong: RefCell::default(),
        }
    }

    /// The time, milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        BEGINNING_MS + i64::try_from(self.began.elapsed().as_millis()).unwrap_or_default()
    }

    /// Reads a message or an object, without the help of the code that is tried.
    pub(crate) fn read(&self, body: &str) -> Entry {
        let foreign = || Entry { kind: Kind::Foreign, changes: Vec::new(), points_at: None };
        let Ok(tree) = serde_json::from_str::<Value>(body) else { return foreign() };
        let entry = |kind, changes| Entry { kind, changes, points_at: None };
        if tree["tidelock"] != 1 || tree["reason"].is_null() || tree["attempts"].is_null() {
            return match self.of_lambda(&tree) {
                Some(changes) => entry(Kind::Records, changes),
                None => foreign(),
            };
        }
        if tree["reason"] == "records_lost" {
            return entry(Kind::Lost, self.of_lambda(&tree["record"]).unwrap_or_default());
        }
        if let Some(object) = tree["s3"]["key"].as_str() {
            return Entry { points_at: Some(object.to_owned()), ..entry(Kind::Records, Vec::new()) };
        }
        let records = tree["records"].as_array().map_or(std::slice::from_ref(&tree["record"]), Vec::as_slice);
        entry(Kind::Records, self.changes(records))
    }

    /// What an on-failure record is about.
    fn of_lambda(&self, tree: &Value) -> Option<Vec<usize>> {
        let batch = tree["DDBStreamBatchInfo"].as_object()?;
        if let Some(payload) = tree["payload"].as_str() {
            let event: Value = serde_json::from_str(payload).ok()?;
            return Some(self.changes(event["Records"].as_array()?));
        }
        let shard = batch["shardId"].as_str()?.rsplit_once('-')?.1.parse().ok()?;
        let (start, end) = (batch["startSequenceNumber"].as_str()?, batch["endSequenceNumber"].as_str()?);
        self.history.between(shard, start, end).map(<[usize]>::to_vec)
    }

    fn changes(&self, records: &[Value]) -> Vec<usize> {
        let change = |record: &Value| {
            let position = (text(&record["eventSourceARN"]), text(&record["dynamodb"]["SequenceNumber"]));
            self.positions.get(&position).copied()
        };
        records.iter().filter_map(change).collect()
    }

    /// A message or an object holds these changes from now on.
    pub(crate) fn stored(&self, changes: &[usize]) {
        for &change in changes {
            if let Some(count) = self.waiting.borrow_mut().get_mut(change) {
                *count += 1;
            }
            if let Some(waited) = self.waited.borrow_mut().get_mut(change) {
                *waited = true;
            }
        }
    }

    /// A message or an object that held these changes is gone.
    pub(crate) fn removed(&self, changes: &[usize], from: &str) {
        for &change in changes {
            if let Some(count) = self.waiting.borrow_mut().get_mut(change) {
                *count -= 1;
            }
        }
        changes.iter().for_each(|&change| self.account(change, &format!("deleted from {from}")));
    }

    /// The stream goes on behind a change.
    pub(crate) fn acknowledge(&self, change: usize) {
        if let Some(acknowledged) = self.acknowledged.borrow_mut().get_mut(change) {
            *acknowledged = true;
        }
        self.account(change, "acknowledged");
    }

    pub(crate) fn is_acknowledged(&self, change: usize) -> bool {
        self.acknowledged.borrow().get(change) == Some(&true)
    }

    pub(crate) fn is_waiting(&self, change: usize) -> bool {
        self.waiting.borrow().get(change).is_some_and(|count| *count > 0)
    }

    /// A document that is none of ours is there.
    pub(crate) fn planted(&self, location: Location) {
        self.planted.borrow_mut().insert(location);
    }

    /// Whether the source may have been read to settle a change at a location, instead of what the record says.
    pub(crate) fn is_loose(&self, change: usize, location: &Location) -> bool {
        let is_whole = |change: &super::history::Change| {
            let (record, name) = (&change.record["dynamodb"], &change.record["eventName"]);
            if name == "REMOVE" { record["OldImage"].is_object() } else { record["NewImage"].is_object() }
        };
        self.clock_steps
            || self.waited.borrow().get(change) == Some(&true)
            || self.planted.borrow().contains(location)
            // One without its image stands for those before it.
            || self.history.changes.get(change).is_none_or(|change| {
                let of_key = self.history.of_key(change.key).iter();
                !of_key.filter_map(|&other| self.history.changes.get(other)).all(is_whole)
            })
    }

    /// Accounts for all changes once more.
    pub(crate) fn audit(&self, stage: &str) {
        for change in 0..self.history.changes.len() {
            if !self.is_acknowledged(change) {
                self.complain(format!("{stage}: change {change} was never acknowledged"));
            }
            self.account(change, stage);
        }
    }

    /// A change must wait somewhere, or the target must know of it, or of something newer, wherever it has something to say.
    fn account(&self, change: usize, when: &str) {
        if self.is_waiting(change) {
            return;
        }
        let Some(facts) = self.history.changes.get(change) else { return };
        for location in facts.effects.iter().map(|effect| &effect.location) {
            if self.is_known(location, &facts.version) {
                continue;
            }
            let gone = self.history.is_ignored_after(change, location) && self.is_loose(change, location);
            if gone {
                continue;
            }
            // A newer delete may have been half done: the document gone, its fence refused. It comes again.
            let is_open = |newer: usize| !self.is_acknowledged(newer) || self.is_waiting(newer);
            if !self.history.is_removed_after(change, location, is_open) {
                let id = id(facts.key);
                self.complain(format!(
                    "{when}: change {change} of {id} waits nowhere, and {}/{} knows nothing of it",
                    location.index, location.id
                ));
            }
        }
    }

    /// A location holds a document that is not older, or the fence of a delete that is not older.
    fn is_known(&self, Location { index, id }: &Location, version: &(&str, String)) -> bool {
        let is_new = |source: Rc<Value>| {
            let mark = &source["_tidelock"];
            let stored = (mark["label"].as_str().unwrap_or_default(), mark["exact"].as_str().unwrap_or_default());
            mark["space"] == SPACE && stored >= (version.0, version.1.as_str())
        };
        let fence = || fence_id(&[index.as_bytes(), b"", id.as_bytes()]);
        self.engine.source(index, id).is_some_and(is_new)
            || self.engine.source(FENCE_INDEX, &fence()).is_some_and(is_new)
    }

    pub(crate) fn complain(&self, what: String) {
        self.wrong.borrow_mut().push(what);
    }

    /// What is wrong, as far as it has not been taken.
    pub(crate) fn take_wrong(&self) -> Vec<String> {
        self.wrong.take()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineConfig;
    use crate::world::climate::Climate;
    use crate::world::routing::{By, Routing};
    use serde_json::json;

    #[test]
    fn a_change_is_known_or_it_waits() {
        crate::run(1, async {
            let mut rng = fastrand::Rng::with_seed(1);
            let mut shape = Climate::new(&mut rng).shape;
            shape.routing = Routing::plain(By::Nothing);
            let history = Rc::new(History::new(&mut rng, shape));
            let engine = Engine::new(EngineConfig::default());
            let ledger = Ledger::new(Rc::clone(&history), engine.clone(), false);
            // One that is not removed by a later change: that one might be half done.
            let is_last = |change: &usize| {
                let effects = &history.changes[*change].effects;
                effects.len() == 1 && !history.is_removed_after(*change, &effects[0].location, |_| true)
            };
            let change = (0..history.changes.len()).find(is_last).expect("such a change");
            let facts = &history.changes[change];
            let wrong = || ledger.take_wrong().len();
            ledger.acknowledge(change);
            assert_eq!(wrong(), 1, "it is nowhere");
            let records = json!([facts.record, facts.record]);
            let pack = json!({"tidelock": 1, "pack_id": "", "reason": "buffered", "records": records, "attempts": 1});
            let entry = ledger.read(&pack.to_string());
            assert_eq!((entry.kind, entry.changes.as_slice()), (Kind::Records, &[change, change][..]));
            ledger.stored(&entry.changes);
            ledger.acknowledge(change);
            assert!(wrong() == 0 && ledger.is_waiting(change));
            ledger.removed(&entry.changes, "a queue");
            assert_eq!(wrong(), 2);
            let Location { index, id } = &facts.effects[0].location;
            let mark = |exact: &str| json!({"_tidelock": {"space": SPACE, "label": facts.version.0, "exact": exact}});
            engine.plant(index, id, mark(&format!("{:0>40}", 7)), 1);
            ledger.acknowledge(change);
            assert_eq!(wrong(), 1, "what is there is older");
            engine.plant(FENCE_INDEX, &fence_id(&[index.as_bytes(), b"", id.as_bytes()]), mark(&facts.version.1), 1);
            ledger.acknowledge(change);
            assert_eq!(wrong(), 0, "a fence knows of it");
        });
    }

    #[test]
    fn what_a_message_is() {
        crate::run(1, async {
            let mut rng = fastrand::Rng::with_seed(1);
            let mut shape = Climate::new(&mut rng).shape;
            shape.routing = Routing::plain(By::Nothing);
            let history = Rc::new(History::new(&mut rng, shape));
            let ledger = Ledger::new(Rc::clone(&history), Engine::new(EngineConfig::default()), false);
            let shard = &history.shards[0];
            let number = |position: usize| &history.changes[shard[position]].record["dynamodb"]["SequenceNumber"];
            let batch = json!({"DDBStreamBatchInfo": {
                "shardId": "shardId-0", "startSequenceNumber": number(3), "endSequenceNumber": number(5),
            }});
            let entry = ledger.read(&batch.to_string());
            assert_eq!((entry.kind, entry.changes.as_slice()), (Kind::Records, &shard[3..=5]));
            let letter = json!({"tidelock": 1, "reason": "records_lost", "attempts": 1, "record": batch});
            let entry = ledger.read(&letter.to_string());
            assert_eq!((entry.kind, entry.changes.as_slice()), (Kind::Lost, &shard[3..=5]));
            let pointer = json!({"tidelock": 1, "reason": "buffered", "attempts": 1, "s3": {"key": "letters/1"}});
            assert_eq!(ledger.read(&pointer.to_string()).points_at.as_deref(), Some("letters/1"));
            for foreign in crate::world::FOREIGN {
                assert_eq!(ledger.read(foreign).kind, Kind::Foreign, "{foreign}");
            }
        });
    }
}
