//! `tidelock backfill` of a table of DynamoDB Local into a store in a file.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::bootstrap::TestFolder;

/// DynamoDB's URL, or a loud note. Where services are required, its absence is a failure.
pub(crate) fn dynamodb() -> Option<String> {
    let url = std::env::var("TIDELOCK_TEST_DYNAMODB").ok().filter(|url| !url.is_empty());
    if url.is_none() {
        assert!(std::env::var("TIDELOCK_REQUIRE_SERVICES").is_err(), "TIDELOCK_TEST_DYNAMODB is not set");
        eprintln!("\n*** SKIPPED: set TIDELOCK_TEST_DYNAMODB to run this test ***\n");
    }
    url
}

/// Asks DynamoDB Local, which checks no signature.
pub(crate) fn ask(url: &str, action: &str, body: &Value) {
    let output = Command::new("curl")
        .args(["-sS", "--fail-with-body", "-X", "POST", url, "-H", "Content-Type: application/x-amz-json-1.0"])
        .args(["-H", &format!("X-Amz-Target: DynamoDB_20120810.{action}")])
        .args(["-H", "Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0"])
        .args(["-d", &body.to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{action}: {}", String::from_utf8_lossy(&output.stdout));
}

/// A table with so many items.
pub(crate) fn table(url: &str, items: usize) -> String {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let name = format!("cli-{}-{nanos:x}", std::process::id());
    let create = json!({
        "TableName": name, "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    });
    ask(url, "CreateTable", &create);
    let item = |n: usize| json!({"PutRequest": {"Item": {"id": {"S": format!("k{n}")}, "n": {"N": n.to_string()}, "text": {"S": "x".repeat(900)}}}});
    for from in (0..items).step_by(25) {
        let puts: Vec<Value> = (from..items.min(from + 25)).map(item).collect();
        ask(url, "BatchWriteItem", &json!({"RequestItems": {&name: puts}}));
    }
    name
}

struct Place {
    folder: TestFolder,
    url: String,
}

impl Place {
    fn command(&self, arguments: &[&str]) -> Command {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidelock"));
        command
            .arg("backfill")
            .args(arguments)
            .env_clear()
            .env("TIDELOCK_TARGET", format!("sqlite:{}", path("db")))
            .env("TIDELOCK_STATE", format!("file:{}", path("state")))
            .env("TIDELOCK_DEAD_LETTERS", format!("file:{}", path("letters")))
            .env("TIDELOCK_SOURCE", "dynamodb:")
            // As the function has it, although there is nothing to be held here.
            .env("TIDELOCK_PIPELINE", "{version: 1, routes: [{from: '*', on_outage: hold}]}")
            .env("AWS_ENDPOINT_URL_DYNAMODB", &self.url)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test");
        command
    }

    fn told(&self, status: i32, arguments: &[&str]) -> String {
        let Output { status: ended, stdout, stderr } = self.command(arguments).output().unwrap();
        let told = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
        assert_eq!(ended.code(), Some(status), "{arguments:?}\n{told}");
        told
    }
}

#[test]
fn a_table_is_brought_in_and_a_second_start_says_that_it_is_done() {
    let Some(url) = dynamodb() else { return };
    let (name, place) = (table(&url, 300), Place { folder: TestFolder::new("backfill-whole"), url });
    let answer: Value = serde_json::from_str(&place.told(0, &[&name, "--segments", "3", "--json"])).unwrap();
    assert_eq!((&answer["counts"]["scanned"], &answer["counts"]["written"]), (&json!(300), &json!(300)), "{answer}");
    assert_eq!((&answer["segments_done"], &answer["segments"]), (&json!(3), &json!(3)));
    assert!(place.told(1, &[&name]).contains("--restart"));
    assert!(place.told(0, &[&name, "--status"]).contains("3 of 3 segments, 300 items read"));
    assert!(place.told(2, &[&name, "--segments", "5"]).contains("3 segments"));
    // Begun anew, it finds everything there.
    let answer: Value = serde_json::from_str(&place.told(0, &[&name, "--restart", "--json"])).unwrap();
    assert_eq!((&answer["counts"]["scanned"], &answer["segments"]), (&json!(300), &json!(8)), "{answer}");
    let other = place.command(&[&name]).env("TIDELOCK_TARGET", "stdout:").output().unwrap();
    assert!(String::from_utf8_lossy(&other.stderr).contains("another target"), "{other:?}");
    assert!(place.told(1, &["nowhere"]).contains("nowhere"));
    assert!(place.told(2, &[&name, "--rcu", "0"]).contains("--rcu"));
}

#[test]
fn one_that_was_killed_goes_on_where_it_ended_and_none_is_started_twice() {
    let Some(url) = dynamodb() else { return };
    // Some megabytes, so that each segment has several pages, at a pace that leaves time to be killed.
    let (name, place) = (table(&url, 6_000), Place { folder: TestFolder::new("backfill-killed"), url });
    let slow = [&name[..], "--segments", "2", "--rcu", "150"];
    let mut first = place.command(&slow).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let scanned = || {
        let status = place.command(&[&name, "--status", "--json"]).output().unwrap();
        let told: Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
        told["counts"]["scanned"].as_u64().unwrap_or_default()
    };
    let began = Instant::now();
    while scanned() == 0 {
        assert!(began.elapsed() < Duration::from_secs(30), "nothing is scanned");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(place.told(1, &[&name]).contains("is running"), "one at a time");
    first.kill().unwrap();
    first.wait().unwrap();
    let before = scanned();
    assert!(before < 6_000, "{before}");
    // The lease of the dead runs out after a minute: here somebody takes it away.
    let path = place.folder.path().join("state");
    let mut state: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    state["values"].as_object_mut().unwrap().retain(|name, _| !name.starts_with("lease/"));
    std::fs::write(&path, state.to_string()).unwrap();
    let told = place.told(0, &[&name, "--json"]);
    let (line, note) = told.split_once('\n').unwrap();
    let answer: Value = serde_json::from_str(line).unwrap();
    assert!(note.contains("going on with the backfill"), "{note}");
    assert_eq!((&answer["counts"]["scanned"], &answer["segments_done"]), (&json!(6_000), &json!(2)), "{answer}");
}

#[test]
fn what_nobody_can_write_ends_it_with_the_reason() {
    let Some(url) = dynamodb() else { return };
    let (name, place) = (table(&url, 3), Place { folder: TestFolder::new("backfill-stopped"), url });
    let began = Instant::now();
    let output = place
        .command(&[&name, "--segments", "1"])
        .env("TIDELOCK_PIPELINE", "{version: 1, routes: [{from: '*', to: 'to-{absent}'}]}")
        .env_remove("TIDELOCK_DEAD_LETTERS")
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("TIDELOCK_DEAD_LETTERS is not set") && told.contains("start it again"), "{told}");
    assert!(began.elapsed() < Duration::from_secs(60), "it waits for nothing");
}
