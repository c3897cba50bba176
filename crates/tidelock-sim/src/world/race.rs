//! A delete that comes between a redrive's look and its write, and is forgotten by the engine before the write lands.

use super::World;
use super::function::{Ran, invoke, target, target_under};
use super::history::{BEGINNING_MS, LABELS, TABLE, id, record};
use super::redrive::redrive_letter;
use super::singly::write_one;
use crate::chaos::{Chaos, RequestKind, Strike};
use serde_json::json;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tidelock_core::batch::Fate;
use tidelock_core::letter::timestamp;

/// Keys from here on belong to races; the table knows nothing of them.
const FIRST_KEY: usize = 1_000_000;

/// An insert is redriven; between its look and its write its delete arrives. When both are done the document is not there.
pub(crate) async fn race(world: &Rc<World>, number: usize) {
    world.storm.note("delete between look and write");
    let key = FIRST_KEY + number;
    let at = world.now_ms() / 1000;
    let image = json!({"id": id(key), "n": number, "home": "a", "hidden": false});
    let place = world.history.routing.place(&image).unwrap_or_default();
    let insert = record("INSERT", LABELS[0], key, "100000000000000000000", at, (None, Some(&image)));
    let remove = record("REMOVE", LABELS[0], key, "200000000000000000000", at, (Some(&image), None));

    let slow = Cell::new(Some(Duration::from_millis(world.between(70_000, 200_000))));
    let storm = Rc::clone(&world.storm);
    let target_of_redrive = target_under(
        world,
        Rc::new(move |kind| match (kind, slow.take()) {
            (RequestKind::MultiGet, Some(by)) => Strike::SlowAnswer(by),
            (_, kept) => {
                slow.set(kept);
                Chaos::strike(&*storm, kind)
            }
        }),
    );
    let whole = world.chance(2);
    let redriven = async {
        if !whole {
            return matches!(write_one(world, &target_of_redrive, &insert, false, true).await, Some(Ok(_)));
        }
        let letter = json!({
            "tidelock": 1, "letter_id": format!("race {number}"), "reason": "unavailable", "record": insert,
            "source": {"kind": "dynamodb", "name": TABLE}, "attempts": 1, "first_failed_at": timestamp(BEGINNING_MS),
        });
        redrive_letter(world, target_of_redrive, letter.to_string()).await
    };
    let deleted = async {
        tokio::time::sleep(Duration::from_millis(world.between(50, 5_000))).await;
        let mut environment = Rc::new(target(world));
        for _ in 0..200 {
            let ran = invoke(world, &mut environment, &world.plain, std::slice::from_ref(&remove)).await;
            if let Ran::Answered(None, fates) = ran {
                return matches!(fates.as_slice(), [Fate::Done(_)]);
            }
            tokio::time::sleep(Duration::from_millis(world.between(50, 1_000))).await;
        }
        false
    };
    let (redriven, deleted) = tokio::join!(redriven, deleted);
    world.note(|| format!("race {number}: deleted {deleted}, redriven {redriven}, as a whole {whole}"));
    if deleted && redriven && world.engine.documents(&place).contains_key(&id(key)) {
        world.complain(format!("{} is there when its delete and the redrive of its insert are both done", id(key)));
    }
}
