//! `tidelock dev` with real function processes.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use crate::bootstrap::TestFolder;

/// A command with a clean environment of its own.
fn dev() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidelock"));
    command.arg("dev").env_clear().env("PATH", std::env::var("PATH").unwrap());
    command
}

/// Writes records numbered from 1, each with these fields.
fn records(folder: &TestFolder, fields: &[Value]) -> PathBuf {
    let lines: Vec<String> = fields
        .iter()
        .zip(1..)
        .map(|(fields, number)| {
            let mut record = json!({"dynamodb": {"SequenceNumber": number.to_string()}});
            record.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            record.to_string()
        })
        .collect();
    let path = folder.path().join("records.jsonl");
    fs::write(&path, lines.join("\n")).unwrap();
    path
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json_lines(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn records_go_through_the_function_and_are_summed_up() {
    let folder = TestFolder::new("cli-ok");
    let file = records(&folder, &[json!({}), json!({}), json!({})]);
    let output = dev()
        .arg("--records")
        .arg(file)
        .arg("--function")
        .arg(folder.bootstrap())
        .args(["--batch-size", "2", "--function-logs", "null"])
        .output()
        .unwrap();
    let text = stdout(&output);
    assert!(output.status.success(), "{text}{}", stderr(&output));
    assert!(text.starts_with("records -> arn:aws:lambda:us-east-1:000000000000:function:scripted\n"), "{text}");
    assert!(text.contains("#1 file  2 records 1..2  ok  "), "{text}");
    assert!(text.contains("#2 file  1 record 3  ok  "), "{text}");
    assert!(text.contains("done: 3 records in 2 batches, 2 invocations (0 retried, 0 bisected)"), "{text}");
    assert!(text.contains("shardId-file up to 3"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours into a pipe");
}

#[test]
fn machine_output_is_json() {
    let folder = TestFolder::new("cli-json");
    // The scripted function is told by the first record of each event: the second event reports its second record.
    let file = records(&folder, &[json!({}), json!({}), json!({"do": "report", "report": ["4"]}), json!({})]);
    let output = dev()
        .arg("--records")
        .arg(file)
        .arg("--function")
        .arg(folder.bootstrap())
        .args(["--function-logs", "null", "--json", "--backoff-ms", "1", "--batch-size", "2"])
        .args(["--function-response-types", "ReportBatchItemFailures"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    let lines = json_lines(&output);
    let batches: Vec<&Value> = lines.iter().filter_map(|line| line.get("batch")).collect();
    let decisions: Vec<&str> = batches.iter().map(|batch| batch["decision"]["kind"].as_str().unwrap()).collect();
    assert_eq!(decisions, ["complete", "retry", "complete"]);
    assert_eq!(batches[1]["response"], json!({"batchItemFailures": [{"itemIdentifier": "4"}]}));
    assert_eq!((&batches[2]["firstSequenceNumber"], &batches[2]["attempt"]), (&json!("4"), &json!(2)));
    let summary = &lines.last().unwrap()["summary"];
    assert_eq!((&summary["records"], &summary["retried"]), (&json!(4), &json!(1)));
    assert_eq!(summary["checkpoints"], json!({"shardId-file": "4"}));
}

#[test]
fn given_up_records_are_kept_and_in_the_exit_status() {
    let folder = TestFolder::new("cli-failures");
    let file = records(&folder, &[json!({"do": "error"}), json!({})]);
    let failures = folder.path().join("failures.jsonl");
    let run = |on_failure: bool| {
        let mut command = dev();
        command.arg("--records").arg(&file).arg("--function").arg(folder.bootstrap());
        command.args([
            "--function-logs",
            "null",
            "--batch-size",
            "1",
            "--maximum-retry-attempts",
            "1",
            "--backoff-ms",
            "1",
        ]);
        if on_failure {
            command.arg("--on-failure").arg(&failures);
        }
        command.output().unwrap()
    };
    let output = run(true);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("Target.Down: no answer: 1 again in 1 ms"), "{text}");
    assert!(text.contains("gave up 1 record (1..1): RetryAttemptsExhausted; recorded in "), "{text}");
    assert!(text.contains("; 1 records given up in 1 on-failure records"), "{text}");
    let record: Value = serde_json::from_str(&fs::read_to_string(&failures).unwrap()).unwrap();
    assert_eq!(record["requestContext"]["approximateInvokeCount"], 2);
    assert!(stdout(&run(false)).contains("not recorded: set --on-failure to keep it"));
}

#[test]
fn the_function_gets_the_callers_variables_and_its_own() {
    let folder = TestFolder::new("cli-env");
    let file = records(&folder, &[json!({"do": "env"})]);
    let env_file = folder.path().join("env.json");
    fs::write(&env_file, r#"{"scripted": {"FROM_FILE": "1", "BOTH": "file"}, "other": {"FROM_FILE": "2"}}"#).unwrap();
    let output = dev()
        .env("TIDELOCK_TARGET", "stdout:")
        .env("AWS_PROFILE", "mine")
        .env("SECRET", "no")
        .arg("--records")
        .arg(file)
        .arg("--function")
        .arg(folder.bootstrap())
        .arg("--env-file")
        .arg(env_file)
        .args([
            "--env",
            "BOTH=line",
            "--json",
            "--function-logs",
            "null",
            "--memory-size",
            "256",
            "--region",
            "eu-west-1",
        ])
        .output()
        .unwrap();
    let lines = json_lines(&output);
    let variables = &lines.iter().find_map(|line| line.get("batch")).unwrap()["response"];
    for (name, value) in [
        ("TIDELOCK_TARGET", "stdout:"),
        ("AWS_PROFILE", "mine"),
        ("FROM_FILE", "1"),
        ("BOTH", "line"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_REGION", "eu-west-1"),
    ] {
        assert_eq!(variables[name], value, "{name} of {variables}");
    }
    assert!(variables.get("SECRET").is_none());
}

#[test]
fn bad_options_are_all_reported_and_nothing_runs() {
    let output =
        dev().args(["--batch-size", "0", "--timeout", "x", "--maximum-retry-attempts", "-2"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    for part in [
        "error: 5 options of `tidelock dev` can't be used:",
        "no source: one of --stream-arn, --table, --cluster and --records is needed",
        "no function: one of --function and --invoke-url is needed",
        "--batch-size 0: 1 to 10000 is allowed",
        "--timeout x: 1 to 900 is allowed",
        "--maximum-retry-attempts -2: -1 to 10000 is allowed",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn what_cannot_start_is_said_with_its_cause() {
    let folder = TestFolder::new("cli-start");
    let file = records(&folder, &[json!({})]);
    let run = |arguments: &[&str], function: &[&str]| {
        let output = dev().args(arguments).args(function).args(["--function-logs", "null"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        stderr(&output)
    };
    let bootstrap = folder.bootstrap();
    let function = ["--function", bootstrap.to_str().unwrap()];
    let file = ["--records", file.to_str().unwrap()];
    let text = run(&[&file[..], &["--env", "BOOTSTRAP_INIT=error"]].concat(), &function);
    assert!(text.contains("the function could not start: Config.Missing: TIDELOCK_TARGET is not set"), "{text}");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let endpoint = format!("http://{free}");
    let text = run(&["--table", "orders", "--endpoint-url", &endpoint, "--until-idle"], &function);
    assert!(text.contains("listing the table's streams: "), "{text}");
    let output =
        dev().args(file).args(["--invoke-url", &format!("{endpoint}/2015-03-31/functions/f/invocations")]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is the function being served at"), "{}", stderr(&output));
}

/// Waits until what a file says is as it should be, for twenty seconds at most. What is not there says nothing.
fn wait_until(file: &Path, what: &str, is_so: impl Fn(&str) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        if is_so(&text) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {} says {text}", file.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for a line of the function's log.
fn wait_for(log: &Path, part: &str) {
    wait_until(log, part, |text| text.contains(part));
}

fn interrupt(pid: u32) {
    assert!(Command::new("kill").args(["-INT", &pid.to_string()]).status().unwrap().success());
}

#[test]
fn ctrl_c_finishes_the_running_batch_and_sums_up() {
    let folder = TestFolder::new("cli-stop");
    let log = folder.path().join("function.log");
    let file = records(
        &folder,
        &[json!({"do": "print"}), json!({"do": "sleep", "ms": 500}), json!({}), json!({"do": "hang"})],
    );
    let child = dev()
        .arg("--records")
        .arg(file)
        .arg("--function")
        .arg(folder.bootstrap())
        .args(["--batch-size", "1", "--function-logs"])
        .arg(&log)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(&log, "to standard output");
    interrupt(child.id());
    let output = child.wait_with_output().unwrap();
    let text = stdout(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("stopped: ") && !text.contains("4..4"), "{text}");
}

#[test]
fn a_second_ctrl_c_gives_the_running_batch_up_and_leaves_no_process() {
    let folder = TestFolder::new("cli-kill");
    let log = folder.path().join("function.log");
    let file = records(&folder, &[json!({"do": "print_pid_and_hang"})]);
    let mut child = dev()
        .arg("--records")
        .arg(file)
        .arg("--function")
        .arg(folder.bootstrap())
        .arg("--function-logs")
        .arg(&log)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(&log, "pid=");
    interrupt(child.id());
    let mut notes = BufReader::new(child.stderr.take().unwrap());
    let mut note = String::new();
    notes.read_line(&mut note).unwrap();
    assert!(note.contains("stopping after the running batch"), "{note}");
    interrupt(child.id());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let text = fs::read_to_string(&log).unwrap();
    let pid = text.split("pid=").nth(1).unwrap().split_whitespace().next().unwrap();
    // Killed it is when the tool ends; when its processor gets round to that is the kernel's to say.
    let stat = format!("/proc/{pid}/stat");
    wait_until(Path::new(&stat), "the process runs on", |stat| stat.is_empty() || stat.contains(") Z"));
}

/// SecantusDB's connection string; `None` with a loud note where there is none.
fn secantusdb() -> Option<String> {
    let uri = std::env::var("TIDELOCK_TEST_SECANTUSDB").ok().filter(|uri| !uri.is_empty());
    if uri.is_none() {
        let required = std::env::var("TIDELOCK_REQUIRE_SERVICES").is_ok_and(|value| value == "1");
        assert!(!required, "TIDELOCK_REQUIRE_SERVICES=1, but TIDELOCK_TEST_SECANTUSDB is not set");
        eprintln!("\n*** SKIPPED: set TIDELOCK_TEST_SECANTUSDB=mongodb://127.0.0.1:PORT to run this test ***\n");
    }
    uri
}

/// A collection `things` in a database of this test's own.
async fn things(uri: &str, purpose: &str) -> mongodb::Collection<Document> {
    let client = mongodb::Client::with_uri_str(uri).await.unwrap();
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    client.database(&format!("cli-{purpose}-{nanos}")).collection("things")
}

#[tokio::test]
async fn a_change_stream_is_retried_until_it_passes() {
    let Some(uri) = secantusdb() else { return };
    let folder = TestFolder::new("cli-stream");
    let marker = folder.path().join("up");
    let things = things(&uri, "stream").await;
    let begin = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().to_string();
    for number in 1..=3 {
        let document = doc! {"_id": number, "do": "fail_until", "marker": marker.to_str().unwrap()};
        things.insert_one(document).await.unwrap();
    }
    let namespace = things.namespace();
    let mut child = dev()
        .args(["--cluster", &uri, "--database-name", &namespace.db, "--collection-name", "things"])
        .args(["--starting-position", "AT_TIMESTAMP", "--starting-position-timestamp", &begin])
        .arg("--function")
        .arg(folder.bootstrap())
        .args(["--function-logs", "null", "--batch-size", "2", "--until-idle", "--backoff-ms", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let begin = lines.next().unwrap();
    assert!(begin.starts_with("arn:aws:rds:us-east-1:000000000000:cluster:local -> arn:aws:lambda:"), "{begin}");
    assert_eq!(lines.next().unwrap(), format!("reading {}.things", namespace.db));
    let refused = lines.next().unwrap();
    assert!(
        refused.contains("things  2 records ") && refused.contains("Target.Down: not yet: 2 again in"),
        "{refused}"
    );
    fs::write(marker, "").unwrap();
    let rest: Vec<String> = lines.collect();
    assert!(child.wait().unwrap().success(), "{rest:#?}");
    assert!(rest.iter().any(|line| line.contains("  1 record ") && line.contains("  ok  ")), "{rest:#?}");
    assert!(rest.iter().any(|line| line.starts_with("done: 3 records in 2 batches, ")), "{rest:#?}");
    mongodb::Client::with_uri_str(&uri).await.unwrap().database(&namespace.db).drop().await.unwrap();
}

#[tokio::test]
async fn a_change_stream_that_fails_too_long_ends_the_mapping() {
    let Some(uri) = secantusdb() else { return };
    let folder = TestFolder::new("cli-expire");
    let things = things(&uri, "expire").await;
    let namespace = things.namespace();
    let mut child = dev()
        .args(["--cluster", &uri, "--database-name", &namespace.db, "--retention", "2", "--json"])
        .arg("--function")
        .arg(folder.bootstrap())
        .args(["--function-logs", "null", "--backoff-ms", "1", "--backoff-cap-ms", "100"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Events keep coming, so that one of them is read before it is too old, however slow this machine is.
    let mut number = 0;
    while child.try_wait().unwrap().is_none() {
        number += 1;
        things.insert_one(doc! {"_id": number, "do": "error"}).await.unwrap();
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}{}", stdout(&output), stderr(&output));
    let lines = json_lines(&output);
    let disabled = lines.iter().find_map(|line| line.get("disabled")).unwrap();
    assert_eq!((&disabled["shard"], &disabled["retention"]), (&json!(namespace.db), &json!(2)));
    assert_eq!(lines.last().unwrap()["summary"]["disabled"], true);
    mongodb::Client::with_uri_str(&uri).await.unwrap().database(&namespace.db).drop().await.unwrap();
}

#[test]
fn recorded_change_events_have_a_change_streams_rules() {
    let folder = TestFolder::new("cli-recorded");
    let file = folder.path().join("events.jsonl");
    let large = "x".repeat(7 * 1024 * 1024);
    let lines = [json!({"n": 1}), json!({"n": 2, "text": large}), json!({"n": 3})].map(|document| {
        let change =
            json!({"_id": {"_data": document["n"].to_string()}, "operationType": "insert", "fullDocument": document});
        json!({ "event": change }).to_string()
    });
    fs::write(&file, lines.join("\n")).unwrap();
    let run = |more: &[&str]| {
        let mut command = dev();
        command.arg("--records").arg(&file).arg("--function").arg(folder.bootstrap());
        command.args(["--function-logs", "null", "--json"]).args(more).output().unwrap()
    };
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(3), "{}{}", stdout(&output), stderr(&output));
    let summary = json_lines(&output).pop().unwrap()["summary"].clone();
    assert_eq!((&summary["records"], &summary["oversized"]), (&json!(2), &json!(1)));
    for (option, value) in [("--maximum-retry-attempts", "1"), ("--on-failure", "failures.jsonl")] {
        let refused = run(&[option, value]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(stderr(&refused).contains("not a setting of DocumentDB mappings"), "{}", stderr(&refused));
    }
}
