//! `tidelock explain`: what it says of every sample event, and how it refuses what it cannot explain.
//!
//! `TIDELOCK_UPDATE_DOCS=1 cargo test -p tidelock-cli explain` rewrites `explain/*.out`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn event(name: &str) -> String {
    folder("../../events/dynamodb").join(name).display().to_string()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidelock"));
    command.arg("explain").args(arguments).env_clear();
    command
}

/// Status, standard output and standard error.
fn told(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn every_sample_event_is_explained_as_it_was_before() {
    explained_as_before("dynamodb", "", 30);
    explained_as_before("documentdb", "documentdb", 15);
}

/// Of the events of a source; what is told of them lies in a folder of the pages.
fn explained_as_before(source: &str, pages: &str, least: usize) {
    let pages = folder("tests/explain").join(pages);
    let mut names: Vec<String> = fs::read_dir(folder("../../events").join(source))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() > least);
    let update = std::env::var("TIDELOCK_UPDATE_DOCS").is_ok();
    let pipeline = pages.join("pipeline.yaml").display().to_string();
    let root = folder("../..").display().to_string();
    let mut differ = Vec::new();
    for name in names {
        let path = folder("../../events").join(source).join(&name).display().to_string();
        let stem = name.strip_suffix(".json").unwrap();
        let mut page = String::new();
        for arguments in
            [&["--target", "opensearch"][..], &["--target", "mongodb"], &["--target", "opensearch", "--json"]]
        {
            let (status, out, err) = told(&[&[&path, "--pipeline", &pipeline], arguments].concat());
            // What is too long for a golden is cut, whole in the command.
            let cut = |line: &str| match line.char_indices().nth(4_000) {
                Some((at, _)) => format!("{}… ({} bytes)", &line[..at], line.len()),
                None => line.to_owned(),
            };
            let lines: Vec<String> = (out + &err).lines().map(cut).collect();
            page += &format!(
                "$ tidelock explain {name} {}\n{}\n(status {})\n\n",
                arguments.join(" "),
                lines.join("\n"),
                status.unwrap()
            );
        }
        let page = page.replace(&root, ".").replace(&format!("./events/{source}/"), "");
        let golden = pages.join(format!("{stem}.out"));
        if update {
            fs::write(&golden, &page).unwrap();
        }
        if fs::read_to_string(&golden).unwrap_or_default() != page {
            differ.push(name);
        }
    }
    assert!(
        differ.is_empty(),
        "explained otherwise than in tests/explain: {differ:?}; TIDELOCK_UPDATE_DOCS=1 rewrites them"
    );
}

#[test]
fn one_record_can_be_asked_for_and_each_line_is_an_object() {
    let path = event("insert-three.json");
    let (status, out, _) = told(&[&path, "--json", "--record", "1"]);
    assert_eq!((status, out.lines().count()), (Some(0), 1));
    let told_of: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&told_of["record"], &told_of["outcome"]), (&json!(1), &json!("written")));
    assert_eq!(told_of["acts"][0]["lines"][0]["index"]["version_type"], "external");
    let (status, out, err) = told(&[&path, "--record", "3"]);
    assert!(status == Some(2) && out.is_empty() && err.contains("has 3 records"), "{err}");
}

#[test]
fn the_event_may_come_by_standard_input() {
    let text = fs::read(event("modify.json")).unwrap();
    let mut child = command(&["-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), told(&[&event("modify.json")]).1);
}

#[test]
fn problems_are_the_functions_own() {
    let pipeline = |text: &str| {
        let output = command(&[&event("insert.json")]).env("TIDELOCK_PIPELINE", text).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, err) = pipeline("{version: 1, routes: [{from: t, where: '.a =='}, {from: t, id: x}]}");
    assert_eq!(status, Some(2));
    assert!(err.contains("routes[0].where") && err.contains("routes[1].id"), "{err}");
    let (status, err) = pipeline("{version: 1, routes: [{from: t, shard_key: [a]}]}");
    assert!(status == Some(2) && err.contains("routes[0].shard_key: is for MongoDB alone"), "{err}");
    let (status, _, err) = told(&[&event("not-an-event.json")]);
    assert!(status == Some(2) && err.contains("not a DynamoDB Streams event"), "{err}");
    for arguments in [
        ["nowhere.json", "--json"],
        [&event("insert.json"), "--pipeline=nowhere.yaml"],
        [&event("insert.json"), "--target=http://x"],
    ] {
        let (status, out, err) = told(&arguments);
        assert!(status == Some(2) && out.is_empty() && !err.is_empty(), "{arguments:?}: {err}");
    }
    let output = command(&[&event("insert.json")])
        .env("TIDELOCK_TARGETT", "x")
        .env("TIDELOCK_TARGET", "stdout:")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("did you mean TIDELOCK_TARGET"), "{output:?}");
}

#[test]
fn hashes_are_of_the_functions_key_or_it_is_said_that_they_are_not() {
    let pipeline = "{version: 1, routes: [{from: '*', transform: [{hash: {field: Name}}]}]}";
    let hashed = |secret: &str| {
        let mut command = command(&[&event("insert.json"), "--json"]);
        command.env("TIDELOCK_PIPELINE", pipeline).env("TIDELOCK_HASH_SECRET", secret);
        let output = command.output().unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        (told["acts"][0]["lines"][1]["Name"].clone(), String::from_utf8(output.stderr).unwrap())
    };
    let path = std::env::temp_dir().join(format!("tidelock-explain-key-{}", std::process::id()));
    fs::write(&path, "secret\n").unwrap();
    let (own, err) = hashed(&format!("file:{}", path.display()));
    fs::remove_file(&path).unwrap();
    assert!(own.is_string() && err.is_empty(), "{own} {err}");
    let (other, err) = hashed("arn:aws:secretsmanager:us-east-1:123456789012:secret:key");
    assert!(other != own && err.contains("another key"), "{other} {err}");
}

#[test]
fn strict_ends_with_one_where_a_record_would_be_parked() {
    let poison = event("poison-in-the-middle.json");
    assert_eq!(told(&[&poison]).0, Some(0));
    assert_eq!(told(&[&poison, "--strict"]).0, Some(1));
    assert_eq!(told(&[&event("insert.json"), "--strict"]).0, Some(0));
}

#[test]
fn a_long_row_of_routes_of_other_sources_is_one_line() {
    let others = (0..7).map(|n| format!("{{from: other{n}}}, ")).collect::<String>();
    let pipeline = format!(
        "{{version: 1, routes: [{others}{{from: mytable, where: 'false'}}, {{from: last}}, {{from: mytable}}]}}"
    );
    let told = |arguments: &[&str]| {
        let path = event("insert.json");
        let output = command(&[&[path.as_str()], arguments].concat()).env("TIDELOCK_PIPELINE", &pipeline).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let out = told(&[]);
    let routes = out.lines().filter(|line| line.contains("routes[")).map(str::trim).collect::<Vec<_>>();
    assert_eq!(
        routes,
        [
            "route      routes[0] to routes[6]: `from` of none of the 7 matches `mytable`",
            "routes[7]: `from: mytable` matches, `where: false` does not hold",
            "routes[8]: `from: last` does not match `mytable`",
            "routes[9]: `from: mytable` matches: taken",
        ]
    );
    let told: Value = serde_json::from_str(&told(&["--json"])).unwrap();
    assert_eq!(told["routes"].as_array().unwrap().len(), 10, "for programs, each of them");
}
