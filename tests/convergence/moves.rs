//! Documents that change their place: with a field that names it, with their shard key, or because a route no longer wants
//! them.

use super::faults::Deed;
use super::history::Documents;
use super::stage::{Mapping, Stage};
use crate::support::event::{AT, Stream};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// On what the place depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// On the field `home`, and on whether the item is hidden. Records carry old images.
    Field,
    /// On whether the item is hidden. Records carry no old images.
    Where,
    /// One collection, sharded by `home`; items are never hidden. Records carry old images.
    ShardKey,
}

const HOMES: [&str; 3] = ["a", "b", "c"];
const CHANGES: usize = 250;
const KEYS: usize = 14;

impl By {
    fn pipeline(self, base: &str) -> String {
        let routes = match self {
            Self::Field => json!([{"from": "*", "where": ".hidden | not", "to": format!("{base}-{{home}}")}]),
            Self::Where => json!([
                {"from": "*", "where": ".hidden != true", "to": format!("{base}-a")},
                {"from": "*", "where": ".n >= 0", "to": format!("{base}-b")},
            ]),
            Self::ShardKey => json!([{"from": "*", "to": format!("{base}-a"), "shard_key": ["home"]}]),
        };
        json!({"version": 1, "routes": routes}).to_string()
    }

    /// Which of the homes' places an item has.
    fn place(self, item: &Value) -> Option<&'static str> {
        let hidden = item["hidden"] == true;
        match self {
            Self::Field => HOMES.into_iter().find(|home| item["home"] == *home && !hidden),
            Self::Where => Some(if hidden { "b" } else { "a" }),
            Self::ShardKey => Some("a"),
        }
    }
}

/// What the source has gone through.
struct Moves {
    records: Vec<Value>,
    /// What must be where in the end.
    expected: BTreeMap<&'static str, Documents>,
    /// How often an item has changed its place.
    moved: usize,
}

fn history(by: By, seed: u64) -> Moves {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut items: BTreeMap<String, Value> = BTreeMap::new();
    let (mut records, mut moved) = (Vec::new(), 0);
    let stream = Stream::of("orders");
    let image = |item: &Value| {
        json!({
            "id": {"S": item["id"]}, "n": {"N": item["n"].to_string()}, "home": {"S": item["home"]},
            "hidden": {"BOOL": item["hidden"]},
        })
    };
    for number in 0..CHANGES {
        let id = format!("k{}", random.usize(..KEYS));
        let old = items.get(&id).cloned();
        let removes = old.is_some() && random.u8(..100) < 20;
        let hidden = by != By::ShardKey && random.u8(..4) == 0;
        let item = json!({"id": id, "n": number, "home": HOMES[random.usize(..3)], "hidden": hidden});
        let new = (!removes).then_some(item);
        let name = match (&old, &new) {
            (None, _) => "INSERT",
            (_, Some(_)) => "MODIFY",
            (_, None) => "REMOVE",
        };
        let sequence = (10_u128.pow(28) + number as u128 * 10_u128.pow(20)).to_string();
        let at = AT + i64::try_from(number / 10).unwrap();
        let mut record = stream.record(name, &sequence, at, json!({"id": {"S": id}}), new.as_ref().map(image));
        if let Some(old) = old.as_ref().filter(|_| by != By::Where) {
            record["dynamodb"]["OldImage"] = image(old);
        }
        let home = |item: &Option<Value>| item.as_ref().and_then(|item| Some((by.place(item)?, item["home"].clone())));
        moved += usize::from(new.is_some() && home(&old).is_some() && home(&old) != home(&new));
        records.push(record);
        match new {
            Some(item) => drop(items.insert(id, item)),
            None => drop(items.remove(&id)),
        }
    }
    let mut expected: BTreeMap<&str, Documents> = HOMES.into_iter().map(|home| (home, Documents::new())).collect();
    for (id, item) in items {
        if let Some(place) = by.place(&item) {
            expected.get_mut(place).unwrap().insert(id, item.into());
        }
    }
    Moves { records, expected, moved }
}

/// Requests are refused and cut, batches come again, also long after: in the end every item is where it belongs, and there
/// alone.
pub(crate) async fn moved(stage: &Stage, by: By) {
    let (Moves { records, expected, moved }, base) = (history(by, 61), stage.base());
    assert!(moved > 50, "{moved} moves");
    let mut writes = 0;
    // Fences as well as documents.
    stage.faults.plan(move |_| {
        writes += 1;
        match writes % 19 {
            2 => Deed::Refuse,
            8 => Deed::CutBefore,
            14 => Deed::CutAfter,
            _ => Deed::Pass,
        }
    });
    let pipeline = by.pipeline(&base);
    let places = stage.places(&HOMES).await;
    let sync = stage.sync().with("TIDELOCK_PIPELINE", &pipeline).start();
    let mut mapping = Mapping::of(&sync);
    let mut random = fastrand::Rng::with_seed(62);
    let mut from = 0;
    while from < records.len() {
        let to = records.len().min(from + random.usize(1..=30));
        mapping.deliver(records[from..to].to_vec()).await;
        if random.u8(..3) == 0 {
            // From further back: what was done is done again, in order.
            mapping.deliver(records[to.saturating_sub(40)..to].to_vec()).await;
        }
        from = to;
    }
    assert!(stage.faults.struck() > 3);
    stage.faults.end();
    let redrive = stage.redrive().with("TIDELOCK_PIPELINE", &pipeline).start();
    stage.swept_later(&redrive).await;
    for home in HOMES {
        let found = places.documents(home).await;
        assert_eq!(found, expected[home], "{by:?} {home}");
    }
    assert_eq!(stage.letters(), []);
}

#[test]
fn histories_move_and_hide() {
    for by in [By::Field, By::Where, By::ShardKey] {
        let Moves { records, expected, moved } = history(by, 61);
        assert_eq!(records.len(), CHANGES);
        assert!(moved > 50, "{by:?}: {moved}");
        let places = expected.values().filter(|documents| !documents.is_empty()).count();
        assert_eq!(
            places,
            match by {
                By::Field => 3,
                By::Where => 2,
                By::ShardKey => 1,
            },
            "{by:?}"
        );
    }
}
