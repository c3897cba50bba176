//! `tidelock deadletters` on a queue in a file, into a store in a file.

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::bootstrap::TestFolder;

struct Place {
    folder: TestFolder,
}

/// A letter of an item whose key and name these are; `X` is no type of DynamoDB's.
fn letter(key: &str, reason: &str, kind: &str, first_failed_at: &str) -> Value {
    json!({
        "tidelock": 1, "letter_id": format!("{key:0>32}"), "reason": reason, "detail": "because",
        "source": {"kind": "dynamodb", "name": "mytable", "position": format!("10{key}")},
        "key": {"id": {"N": key}}, "op": "upsert", "attempts": 1, "first_failed_at": first_failed_at,
        "target": {"index": "mytable", "id": key},
        "record": {
            "eventName": "INSERT",
            "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/mytable/stream/2020-04-29T13:00:00.000",
            "dynamodb": {
                "Keys": {"id": {"N": key}}, "NewImage": {"id": {"N": key}, "name": {kind: "x"}},
                "SequenceNumber": format!("10{key}"),
            },
        },
    })
}

impl Place {
    fn new(name: &str, lines: &[String]) -> Self {
        let folder = TestFolder::new(name);
        fs::write(folder.path().join("letters"), lines.join("\n") + "\n").unwrap();
        Self { folder }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        Command::new(env!("CARGO_BIN_EXE_tidelock"))
            .arg("deadletters")
            .args(arguments)
            .env_clear()
            .env("TIDELOCK_DEAD_LETTERS", format!("file:{}", path("letters")))
            .env("TIDELOCK_TARGET", format!("sqlite:{}", path("db")))
            // As the function has it, although there is nothing to be held here.
            .env("TIDELOCK_PIPELINE", "{version: 1, routes: [{from: '*', on_outage: hold}]}")
            .output()
            .unwrap()
    }

    /// What a command prints, which must end with this status.
    fn told(&self, status: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(status), "{arguments:?}\n{out}\n{err}");
        out + &err
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(self.folder.path().join("letters")).unwrap().lines().map(str::to_owned).collect()
    }
}

fn five(name: &str) -> Place {
    let now = "2100-01-01T00:00:00.000Z";
    let letters = [
        letter("1", "mapping_conflict", "S", now),
        letter("2", "mapping_conflict", "S", now),
        letter("3", "unknown_type", "X", now),
        letter("4", "invalid_document", "S", "2026-01-01T00:00:00.000Z"),
    ];
    let mut lines: Vec<String> = letters.iter().map(Value::to_string).collect();
    lines.push("hello".to_owned());
    Place::new(name, &lines)
}

#[test]
fn what_waits_is_listed_shown_and_counted() {
    let place = five("letters-list");
    let before = place.lines();
    let all = place.told(0, &["list", "--json"]);
    let rows: Vec<Value> = all.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 5, "{all}");
    assert_eq!((&rows[0]["reason"], &rows[0]["key"]), (&json!("invalid_document"), &json!({"id": {"N": "4"}})));
    assert!(rows.iter().any(|row| row["kind"] == "unreadable"), "{all}");
    for (arguments, count) in [
        (&["--reason", "mapping_conflict"][..], 2),
        (&["--reason", "mapping_conflict", "--reason", "unknown_type"], 3),
        (&["--key", "3"], 1),
        (&["--key", r#"{"id":{"N":"3"}}"#], 1),
        (&["--source", "mytable", "--older-than", "1d"], 1),
        (&["--before", "2026-06-01T00:00:00Z"], 1),
        (&["--limit", "2"], 2),
    ] {
        let listed = place.told(0, &[&["list", "--json"][..], arguments].concat());
        assert_eq!(listed.lines().count(), count, "{arguments:?}: {listed}");
    }
    let oldest = place.told(0, &["list", "--json", "--limit", "1"]);
    assert!(oldest.contains("invalid_document"), "the oldest is the last of the queue: {oldest}");
    let shown = place.told(0, &["show", &format!("{:0>32}", "2"), "--json"]);
    assert_eq!(
        serde_json::from_str::<Value>(&shown).unwrap(),
        letter("2", "mapping_conflict", "S", "2100-01-01T00:00:00.000Z")
    );
    let stats: Value = serde_json::from_str(&place.told(0, &["stats", "--json"])).unwrap();
    assert_eq!(
        (&stats["letters"], &stats["unreadable"], stats["by"].as_array().unwrap().len()),
        (&json!(4), &json!(1), 3)
    );
    assert!(place.told(0, &["list"]).contains("because"));
    assert_eq!(place.lines(), before, "looking changes nothing");
}

#[test]
fn a_filter_that_matches_nothing_says_so() {
    let place = five("letters-none");
    for command in ["list", "show", "stats", "redrive"] {
        let told = place.told(4, &[command, "--reason", "no_such_reason"]);
        assert!(told.contains("nothing matches"), "{command}: {told}");
    }
    assert!(place.told(4, &["drop", "--source", "other", "--yes"]).contains("the queue holds 5 messages"));
    assert_eq!(place.lines().len(), 5);
}

#[test]
fn letters_are_redriven_and_what_is_refused_again_waits_on() {
    let place = five("letters-redrive");
    let dry: Value = serde_json::from_str(&place.told(3, &["redrive", "--dry-run", "--json"])).unwrap();
    assert_eq!((&dry["applied"], &dry["parked"], &dry["kept"]), (&json!(2), &json!({"unknown_type": 1}), &json!(2)));
    assert_eq!(place.lines().len(), 5);
    place.told(0, &["redrive", "--key", "1"]);
    let told = place.told(3, &["redrive"]);
    assert!(told.contains("TIDELOCK_SOURCE") && told.contains("refused again: unknown_type"), "{told}");
    let left = place.lines();
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(left.iter().any(|line| line.contains("\"attempts\":2")), "{left:?}");
    // Older than the target remembers deletes, and nobody can read the source: only by force.
    assert!(place.told(0, &["redrive", "--reason", "invalid_document", "--force"]).contains("1  applied"));
    assert!(place.told(3, &["redrive", "--truth"]).contains("TIDELOCK_SOURCE"));
}

#[test]
fn what_another_queue_holds_and_is_refused_is_a_dead_letter() {
    let place = five("letters-held");
    let held = place.folder.path().join("held");
    let now = "2100-01-01T00:00:00.000Z";
    let both = [letter("8", "unreachable", "S", now), letter("9", "unreachable", "X", now)].map(|one| one.to_string());
    fs::write(&held, both.join("\n") + "\n").unwrap();
    let told = place.told(3, &["redrive", "--queue", &format!("file:{}", held.display())]);
    assert!(told.contains("1  applied") && told.contains("refused again: unknown_type"), "{told}");
    assert_eq!(fs::read_to_string(&held).unwrap().trim(), "");
    assert_eq!(place.lines().len(), 6, "beside the five that were there");
}

#[test]
fn only_what_is_named_is_dropped_and_only_when_it_is_confirmed() {
    let place = five("letters-drop");
    assert!(place.told(2, &["drop"]).contains("--all"));
    assert!(place.told(2, &["drop", "--reason", "unknown_type"]).contains("--yes"), "there is nobody to ask");
    assert!(place.told(0, &["drop", "--reason", "unknown_type", "--dry-run"]).contains("1 would be deleted"));
    assert_eq!(place.lines().len(), 5);
    place.told(0, &["drop", "--reason", "unknown_type", "--yes"]);
    assert_eq!(place.lines().len(), 4);
    let dropped: Value = serde_json::from_str(&place.told(0, &["drop", "--all", "--yes", "--json"])).unwrap();
    assert_eq!((&dropped["dropped"], place.lines()), (&json!(3), vec!["hello".to_owned()]));
    place.told(0, &["drop", "--unreadable", "--yes"]);
    assert!(place.told(4, &["list"]).contains("the queue is empty"));
}

#[test]
fn options_that_cannot_be_used_say_why() {
    let place = five("letters-options");
    for (arguments, words) in [
        (&["list", "--older-than", "soon"][..], "--older-than"),
        (&["list", "--queue", "nowhere"], "nowhere"),
        (&["show"], "name a letter"),
        (&["drop", "--unreadable", "--all"], "--unreadable"),
    ] {
        let told = place.told(2, arguments);
        assert!(told.contains(words), "{arguments:?}: {told}");
    }
}
