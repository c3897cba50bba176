//! What the source has gone through: changes of hot and cold keys in time, as its stream tells them.

use super::routing::{Effect, HOMES, OWNERS, Routing};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// By how much neighbouring sequence numbers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// As DynamoDB's do: about 10^20.
    Huge,
    /// One: neighbours share their coarse version.
    One,
    /// Both, by chance.
    Mixed,
}

/// One change of one item.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// When it happened, since the beginning.
    pub(crate) time: Duration,
    /// What the item was after it; `None`: it was removed.
    pub(crate) item: Option<Value>,
    /// The record as the stream delivers it.
    pub(crate) record: Value,
    /// Whose change it is.
    pub(crate) key: usize,
    /// The stream's label and the number, in a form whose text order is the changes' order.
    pub(crate) version: (&'static str, String),
    /// What it does: where it enters, and what it leaves.
    pub(crate) effects: Vec<Effect>,
}

/// One shard of one stream: indices of its changes, in order.
pub(crate) type Shard = Vec<usize>;

/// Everything that happened.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) changes: Vec<Change>,
    pub(crate) shards: Vec<Shard>,
    pub(crate) keys: usize,
    pub(crate) routing: Routing,
    /// Of each key its changes, in order.
    by_key: BTreeMap<usize, Vec<usize>>,
}

/// How a history is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) changes: usize,
    pub(crate) keys: usize,
    pub(crate) step: Step,
    pub(crate) shards: usize,
    /// The stream is disabled and enabled again in the middle: its numbers begin anew under a new label.
    pub(crate) relabel: bool,
    /// The clock that dates changes steps back and forth by seconds.
    pub(crate) clock_steps: bool,
    /// Records may come without their image.
    pub(crate) keys_only: bool,
    /// Share of images that the target refuses, in a thousand.
    pub(crate) poison: u32,
    /// One item does not fit into a message, and the target refuses it.
    pub(crate) large: bool,
    /// Where items go.
    pub(crate) routing: Routing,
}

/// How often a large item holds a character that JSON needs six bytes for.
const LARGE: usize = 190_000;

/// The time at which a simulation begins, milliseconds since 1970.
pub(crate) const BEGINNING_MS: i64 = 1_790_000_000_000;

pub(crate) const TABLE: &str = "orders";

/// The version space of the table's changes.
pub(crate) const SPACE: &str = "dynamodb:eu-west-1:123456789012:orders";

pub(crate) const LABELS: [&str; 2] = ["2026-09-01T00:00:00.000", "2026-09-21T15:06:40.500"];

/// The id of a key in the target.
pub(crate) fn id(key: usize) -> String {
    format!("k{key}")
}

impl History {
    pub(crate) fn new(rng: &mut fastrand::Rng, shape: Shape) -> Self {
        let mut time = Duration::ZERO;
        // Some numbers gain a digit on the way, which is where comparing them as text goes wrong.
        let mut sequence: u128 = match (shape.step, rng.bool()) {
            (_, true) => 4_421_584_500_000_000_000_000 + u128::from(rng.u64(..)) * 10,
            (Step::One, false) => 1_000_000_000_000_000_000_000 - u128::from(rng.u32(200..1_500)),
            (_, false) => 10_000_000_000_000_000_000_000 - 100_000_000_000_000_000_000 * u128::from(rng.u32(50..90)),
        };
        let mut shards = vec![Shard::new(); shape.shards * if shape.relabel { 2 } else { 1 }];
        let mut by_key: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut live: Vec<Option<Value>> = vec![None; shape.keys];
        let mut changes: Vec<Change> = Vec::with_capacity(shape.changes);
        let hot = shape.keys.min(5);
        let mut large = shape.large.then(|| rng.usize(..shape.changes / 2));
        for number in 0..shape.changes {
            let second = shape.relabel && number >= shape.changes / 2;
            if shape.relabel && number == shape.changes / 2 {
                sequence = 900_000_000_000_000_000_000 + u128::from(rng.u32(..));
            }
            // Now and then nothing happens for longer than a delete is remembered.
            let gap = if rng.u32(..400) == 0 { rng.u64(50_000..150_000) } else { rng.u64(0..500) };
            time += Duration::from_millis(gap);
            sequence += match shape.step {
                Step::Huge => 100_000_000_000_000_000_000 + u128::from(rng.u64(..)) * 5,
                Step::One => 1,
                Step::Mixed if rng.bool() => 1,
                Step::Mixed => 100_000_000_000_000_000_000,
            };
            let key = if rng.u32(..100) < 30 { rng.usize(..hot) } else { rng.usize(..shape.keys) };
            let before = live.get(key).cloned().flatten();
            let removes = before.is_some() && rng.u32(..100) < 25;
            let large = !removes && large.take_if(|from| *from <= number).is_some();
            let poison = !removes && (large || rng.u32(..1_000) < shape.poison);
            let item = (!removes).then(|| {
                let mut item = json!({"id": id(key), "n": number, "text": format!("v{}", rng.u32(..1_000))});
                if poison {
                    item["poison"] = json!(true);
                }
                if large {
                    item["text"] = json!("\u{1}".repeat(LARGE));
                }
                // Most stay where they are.
                let stays = before.as_ref().filter(|_| rng.u32(..3) > 0);
                let mut set = |field: &str, value: Value| {
                    if shape.routing.has(field) {
                        item[field] = stays.map_or(value, |before| before[field].clone());
                    }
                };
                set("home", json!(rng.choice(&HOMES)));
                set("owner", json!(rng.choice(&OWNERS)));
                set("hidden", json!(rng.u32(..5) == 0));
                item
            });
            if let Some(there) = live.get_mut(key) {
                there.clone_from(&item);
            }
            let step = if shape.clock_steps { rng.i64(-6..6) } else { 0 };
            let at = BEGINNING_MS / 1000 + i64::try_from(time.as_secs()).unwrap_or_default() + step;
            let image = item.as_ref().filter(|_| !(shape.keys_only && rng.u32(..100) < 5));
            let name = match (&item, before.is_some()) {
                (None, _) => "REMOVE",
                (Some(_), true) => "MODIFY",
                (Some(_), false) => "INSERT",
            };
            let effects = shape.routing.effects(name, key, before.as_ref(), item.as_ref(), at);
            let before = before.as_ref().filter(|_| shape.routing.old_images);
            let label = LABELS[usize::from(second)];
            let record = record(name, label, key, &sequence.to_string(), at, (before, image));
            let shard = key % shape.shards + if second { shape.shards } else { 0 };
            if let Some(shard) = shards.get_mut(shard) {
                shard.push(number);
            }
            by_key.entry(key).or_default().push(number);
            let version = (label, format!("{sequence:0>40}"));
            changes.push(Change { time, item, record, key, version, effects });
        }
        Self { changes, shards, keys: shape.keys, routing: shape.routing, by_key }
    }

    /// The changes of a shard from one number to another, both included; `None` when there is no such number.
    pub(crate) fn between(&self, shard: usize, start: &str, end: &str) -> Option<&[usize]> {
        let shard = self.shards.get(shard)?;
        let number = |change: &usize| self.changes.get(*change)?.record["dynamodb"]["SequenceNumber"].as_str();
        let from = shard.iter().position(|change| number(change) == Some(start))?;
        let to = shard.iter().position(|change| number(change) == Some(end))?;
        shard.get(from..=to)
    }

    /// The changes of a key, in order.
    pub(crate) fn of_key(&self, key: usize) -> &[usize] {
        self.by_key.get(&key).map_or(&[], Vec::as_slice)
    }

    /// What the item of a key is at a time.
    pub(crate) fn item_at(&self, key: usize, time: Duration) -> Option<&Value> {
        let of_key = self.by_key.get(&key)?;
        let happened =
            of_key.partition_point(|&change| self.changes.get(change).is_some_and(|change| change.time <= time));
        let last = of_key.get(happened.checked_sub(1)?)?;
        self.changes.get(*last)?.item.as_ref()
    }
}

/// A record; `images` are the old and the new one, as far as the stream carries them.
pub(crate) fn record(
    name: &str,
    label: &str,
    key: usize,
    sequence: &str,
    at: i64,
    images: (Option<&Value>, Option<&Value>),
) -> Value {
    let mut change = json!({
        "ApproximateCreationDateTime": at,
        "Keys": {"id": {"S": id(key)}},
        "SequenceNumber": sequence,
    });
    for (name, image) in [("OldImage", images.0), ("NewImage", images.1)] {
        if let Some(image) = image {
            change[name] = attributes(image);
        }
    }
    json!({
        "eventName": name,
        "eventSourceARN": format!("arn:aws:dynamodb:eu-west-1:123456789012:table/{TABLE}/stream/{label}"),
        "dynamodb": change,
    })
}

/// A record of a table that no route matches.
pub(crate) fn stranger(sequence: usize) -> Value {
    json!({
        "eventName": "INSERT",
        "eventSourceARN": format!("arn:aws:dynamodb:eu-west-1:123456789012:table/other/stream/{}", LABELS[0]),
        "dynamodb": {"Keys": {"id": {"S": "x"}}, "NewImage": {"id": {"S": "x"}}, "SequenceNumber": sequence.to_string()},
    })
}

/// An item in DynamoDB's notation.
pub(crate) fn attributes(item: &Value) -> Value {
    let attribute = |value: &Value| match value {
        Value::String(text) => json!({"S": text}),
        Value::Bool(value) => json!({"BOOL": value}),
        other => json!({"N": other.to_string()}),
    };
    item.as_object().map_or(Value::Null, |item| {
        item.iter().map(|(name, value)| (name.clone(), attribute(value))).collect::<serde_json::Map<_, _>>().into()
    })
}
