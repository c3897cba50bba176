//! `tidelock shadow`: what it says of targets, and that it writes nothing to them.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use crate::backfill::{ask, dynamodb};
use crate::bootstrap::TestFolder;

const LABEL: &str = "2020-04-29T13:00:00.000";

fn unique(name: &str) -> String {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("shadow-{name}-{}-{nanos:x}", std::process::id())
}

/// The address that a variable names, or a loud note. Where services are required, its absence is a failure.
fn service(variable: &str) -> Option<String> {
    let url = std::env::var(variable).ok().filter(|url| !url.is_empty());
    if url.is_none() {
        assert!(std::env::var("TIDELOCK_REQUIRE_SERVICES").is_err(), "{variable} is not set");
        eprintln!("\n*** SKIPPED: set {variable} to run this test ***\n");
    }
    url
}

fn shadow(target: &str, pipeline: &str, arguments: &[&str]) -> (i32, Vec<Value>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidelock"));
    command.arg("shadow").args(arguments).arg("--json").env_clear();
    command.env("TIDELOCK_TARGET", target).env("TIDELOCK_PIPELINE", pipeline);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (out, err) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    let lines = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (status.code().unwrap(), lines, err)
}

/// A change of the item `key`, whose new image has these attributes.
fn change(name: &str, key: &str, number: u32, image: Option<Value>) -> Value {
    let mut change = json!({"Keys": {"id": {"S": key}}, "SequenceNumber": number.to_string(), "ApproximateCreationDateTime": 1_588_166_528});
    if let Some(mut image) = image {
        image["id"] = json!({"S": key});
        change["NewImage"] = image;
    }
    json!({"eventName": name, "eventSourceARN": format!("arn:aws:dynamodb:us-east-1:1:table/t/stream/{LABEL}"), "dynamodb": change})
}

/// What `tidelock` stores of a change.
fn mark(number: u32) -> Value {
    json!({"space": "dynamodb:us-east-1:1:t", "label": LABEL, "exact": format!("{number:040}"), "at": 1_588_166_528_000_i64})
}

/// One change for each thing that can be found, and what that is.
fn changes() -> (Value, [(&'static str, &'static str); 6]) {
    let big = "12345678901234567890";
    let records = [
        change("INSERT", "same", 1, Some(json!({"n": {"N": "1.50"}, "big": {"N": big}}))),
        change("MODIFY", "other", 2, Some(json!({"n": {"N": "2"}, "big": {"N": big}}))),
        change("INSERT", "missing", 3, Some(json!({"n": {"N": "3"}}))),
        change("REMOVE", "unwanted", 4, None),
        change("INSERT", "newer", 5, Some(json!({"n": {"N": "5"}}))),
        change("INSERT", "foreign", 6, Some(json!({"n": {"N": "6"}}))),
        change("REMOVE", "gone", 7, None),
    ];
    let found = [
        ("other", "differs"),
        ("missing", "missing"),
        ("unwanted", "unwanted"),
        ("newer", "newer"),
        ("foreign", "foreign"),
        ("summary", ""),
    ];
    (json!({"Records": records}), found)
}

fn check(lines: &[Value], found: &[(&str, &str)]) {
    let of = |line: &Value| match line["id"].as_str() {
        Some(id) => (id.to_owned(), line["found"].as_str().unwrap().to_owned()),
        None => ("summary".to_owned(), String::new()),
    };
    let expected: Vec<(String, String)> =
        found.iter().map(|(id, word)| ((*id).to_owned(), (*word).to_owned())).collect();
    assert_eq!(lines.iter().map(of).collect::<Vec<_>>(), expected, "{lines:#?}");
    let counts = &lines.last().unwrap()["summary"];
    let count = |name: &str| counts[name].as_u64().unwrap();
    assert_eq!([count("records"), count("keys"), count("same"), count("newer")], [7, 7, 2, 1], "{counts}");
}

fn event_file(folder: &TestFolder, event: &Value) -> String {
    let path = folder.path().join("event.json");
    fs::write(&path, event.to_string()).unwrap();
    path.display().to_string()
}

/// Answers as an empty OpenSearch would, and keeps the first line of every request.
fn stub() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("opensearch+http://{}", listener.local_addr().unwrap());
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let kept = Arc::clone(&kept);
            std::thread::spawn(move || serve(stream.unwrap(), &kept));
        }
    });
    (url, requests)
}

fn serve(stream: TcpStream, kept: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or_default() == 0 {
            return;
        }
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if header.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        kept.lock().unwrap().push(first.trim().to_owned());
        let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
        let docs = asked["docs"].as_array().or(asked["ids"].as_array()).map_or(0, Vec::len);
        let answer = json!({"docs": vec![json!({"found": false}); docs]}).to_string();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", answer.len());
        stream.write_all((head + &answer).as_bytes()).unwrap();
    }
}

#[test]
fn it_asks_an_opensearch_for_documents_and_for_nothing_else() {
    let (url, requests) = stub();
    let folder = TestFolder::new("shadow-stub");
    let (event, _) = changes();
    let (status, lines, err) =
        shadow(&url, "{version: 1, routes: [{from: t, to: there}]}", &["--events", &event_file(&folder, &event)]);
    assert_eq!(status, 1, "{err}");
    assert_eq!(lines.last().unwrap()["summary"]["missing"], 5, "{lines:?}");
    let requests = requests.lock().unwrap();
    let reads = |line: &String| line.starts_with("GET / ") || line.starts_with("POST /there/_mget?");
    assert!(requests.len() >= 2 && requests.iter().all(reads), "{requests:?}");
}

#[test]
fn what_cannot_be_looked_at_is_refused() {
    let folder = TestFolder::new("shadow-refused");
    let (event, _) = changes();
    let path = event_file(&folder, &event);
    let nowhere = format!("sqlite:{}", folder.path().join("nowhere.db").display());
    for (target, pipeline, arguments, words) in [
        ("stdout:", "", &["--events", &path][..], "holds nothing to compare with"),
        (&nowhere, "", &["--events", &path], "there is no file"),
        ("opensearch+http://127.0.0.1:1", "", &["--events", &path], "127.0.0.1:1"),
        (&stub().0, "", &["--events", "nowhere.json"], "nowhere.json"),
        (&stub().0, "{version: 2}", &["--events", &path], "version 2 is not known"),
        (&stub().0, "", &[], "--events"),
        (&stub().0, "", &["--events", &path, "--table", "t"], "cannot be used with"),
    ] {
        let (status, lines, err) = shadow(target, pipeline, arguments);
        assert!(status == 2 && lines.is_empty() && err.contains(words), "{arguments:?}: {status} {err}");
    }
    assert!(!folder.path().join("nowhere.db").exists());
}

fn curl(method: &str, url: &str, body: Option<&Value>) -> String {
    let mut command = Command::new("curl");
    command.args(["-sS", "-X", method, url, "-H", "Content-Type: application/json"]);
    if let Some(body) = body {
        command.args(["-d", &body.to_string()]);
    }
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

/// An index that is deleted when the test ends.
struct Created(String);

impl Drop for Created {
    fn drop(&mut self) {
        curl("DELETE", &self.0, None);
    }
}

#[test]
fn an_opensearch_is_the_same_afterwards() {
    let Some(url) = service("TIDELOCK_TEST_OPENSEARCH") else { return };
    let (index, folder) = (unique("index"), TestFolder::new("shadow-opensearch"));
    let own = format!("{url}/{index}");
    // Fields of which nothing is asked here.
    let created = curl("PUT", &own, Some(&json!({"mappings": {"dynamic": false}})));
    assert!(created.contains("\"acknowledged\":true"), "{created}");
    let _created = Created(own.clone());
    let put = |id: &str, body: Value| {
        let told = curl("PUT", &format!("{own}/_doc/{id}?refresh=true"), Some(&body));
        assert!(told.contains("\"result\":\"created\""), "{told}");
    };
    let big = "12345678901234567890";
    // As texts, because numbers of so many digits have no other exact form here.
    let document = |id: &str, n: &str, number: u32| {
        let text = format!(r#"{{"id":"{id}","n":{n},"_tidelock":{}}}"#, mark(number));
        serde_json::from_str::<Value>(&text).unwrap()
    };
    put(
        "same",
        json!({"id": "same", "n": 1.5, "big": serde_json::from_str::<Value>(big).unwrap(), "_tidelock": mark(1)}),
    );
    put("other", document("other", "7", 1));
    put("unwanted", document("unwanted", "0", 1));
    put("newer", document("newer", "9", 50));
    put("foreign", json!({"id": "foreign", "extra": true}));
    let whole = || {
        let all = json!({"version": true, "seq_no_primary_term": true, "sort": ["_id"], "size": 100});
        let found: Value = serde_json::from_str(&curl("POST", &format!("{own}/_search"), Some(&all))).unwrap();
        (found["hits"]["hits"].to_string(), curl("GET", &own, None))
    };
    let before = whole();
    let (event, found) = changes();
    let pipeline = format!("{{version: 1, routes: [{{from: t, to: {index}}}]}}");
    let target = format!("opensearch+{url}");
    let (status, lines, err) = shadow(&target, &pipeline, &["--events", &event_file(&folder, &event)]);
    assert_eq!(status, 1, "{err}");
    check(&lines, &found);
    let fields =
        json!([{"path": "n", "before": 7, "after": 2}, {"path": "big", "after": 12_345_678_901_234_567_890_u64}]);
    assert_eq!(lines[0]["fields"], fields);
    assert_eq!(lines[3]["stored"]["exact"], mark(50)["exact"]);
    assert_eq!(whole(), before, "nothing has been written");
    // Of a recorded stream, the newest change of a key decides.
    let later = folder.path().join("later.json").display().to_string();
    let image = json!({"extra": {"BOOL": true}});
    fs::write(&later, json!([change("MODIFY", "foreign", 8, Some(image))]).to_string()).unwrap();
    let files = ["--events", &event_file(&folder, &event), &later];
    let (_, lines, _) = shadow(&target, &pipeline, &files);
    let counts = &lines.last().unwrap()["summary"];
    assert_eq!([&counts["records"], &counts["keys"], &counts["foreign"], &counts["same"]], [8, 7, 0, 3], "{counts}");
    let (_, lines, _) = shadow(&target, &pipeline, &["--events", &later, &event_file(&folder, &event)]);
    assert_eq!(lines.last().unwrap()["summary"]["foreign"], 0, "in whatever order they are given");
    // An index that is not there does not come to be.
    let absent = unique("absent");
    let pipeline = format!("{{version: 1, routes: [{{from: t, to: {absent}}}]}}");
    let (status, lines, _) = shadow(&target, &pipeline, &["--events", &event_file(&folder, &event)]);
    assert_eq!((status, &lines.last().unwrap()["summary"]["missing"]), (1, &json!(5)));
    assert!(curl("GET", &format!("{url}/{absent}"), None).contains("index_not_found_exception"));
}

async fn mongodb_is_the_same_afterwards(url: &str) {
    let (name, folder) = (unique("db").replace('-', "_"), TestFolder::new("shadow-mongodb"));
    let client = mongodb::Client::with_uri_str(url).await.unwrap();
    let database = client.database(&name);
    let there = database.collection::<Document>("there");
    let marked = |number: u32| mongodb::bson::serialize_to_document(&mark(number)).unwrap();
    let decimal = |text: &str| text.parse::<mongodb::bson::Decimal128>().unwrap();
    let documents = [
        doc! {"_id": "same", "id": "same", "n": 1.5, "big": decimal("12345678901234567890"), "_tidelock": marked(1)},
        doc! {"_id": "other", "id": "other", "n": 7, "_tidelock": marked(1)},
        doc! {"_id": "unwanted", "id": "unwanted", "_tidelock": marked(1)},
        doc! {"_id": "newer", "id": "newer", "n": 9, "_tidelock": marked(50)},
        doc! {"_id": "foreign", "id": "foreign", "extra": true},
    ];
    there.insert_many(documents).await.unwrap();
    let whole = async || {
        let mut found = Vec::new();
        let mut cursor = there.find(doc! {}).sort(doc! {"_id": 1}).await.unwrap();
        while cursor.advance().await.unwrap() {
            found.push(cursor.current().as_bytes().to_vec());
        }
        let mut names = database.list_collection_names().await.unwrap();
        names.sort();
        (found, names)
    };
    let before = whole().await;
    let (event, found) = changes();
    let pipeline = format!("{{version: 1, routes: [{{from: t, to: {name}.there}}]}}");
    let (status, lines, err) = shadow(url, &pipeline, &["--events", &event_file(&folder, &event)]);
    assert_eq!(status, 1, "{err}");
    check(&lines, &found);
    assert_eq!(lines[0]["fields"][0], json!({"path": "n", "before": 7, "after": 2}), "{lines:?}");
    assert_eq!(whole().await, before, "nothing has been written");
    database.drop().await.unwrap();
}

#[test]
fn a_mongodb_is_the_same_afterwards() {
    for variable in ["TIDELOCK_TEST_FERRETDB", "TIDELOCK_TEST_SECANTUSDB"] {
        let Some(url) = service(variable) else { continue };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(mongodb_is_the_same_afterwards(&url));
    }
}

/// A table with a stream, its items brought into a file, and one of them changed since.
#[test]
fn a_live_stream_is_compared_as_it_comes() {
    let Some(url) = dynamodb() else { return };
    let (name, folder) = (unique("table"), TestFolder::new("shadow-live"));
    ask(
        &url,
        "CreateTable",
        &json!({
            "TableName": name, "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        }),
    );
    let put = |key: &str, n: u32| {
        ask(&url, "PutItem", &json!({"TableName": name, "Item": {"id": {"S": key}, "n": {"N": n.to_string()}}}));
    };
    ["a", "b", "c"].iter().for_each(|key| put(key, 1));
    let path = |name: &str| folder.path().join(name).display().to_string();
    let tidelock = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidelock"));
        command.args(arguments).env_clear();
        for (variable, value) in [
            ("TIDELOCK_TARGET", format!("sqlite:{}", path("db"))),
            ("TIDELOCK_SOURCE", "dynamodb:".to_owned()),
            ("TIDELOCK_STATE", format!("file:{}", path("state"))),
            ("AWS_ENDPOINT_URL_DYNAMODB", url.clone()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ] {
            command.env(variable, value);
        }
        let output = command.output().unwrap();
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        (output.status.code(), out, err)
    };
    let told = tidelock(&["backfill", &name]);
    assert_eq!(told.0, Some(0), "{told:?}");
    let stream = ["shadow", "--table", &name, "--from", "trim_horizon", "--endpoint-url", &url, "--settle", "0"];
    let told = tidelock(&[&stream[..], &["--until-idle"]].concat());
    assert!(told.0 == Some(0) && told.1.contains("3 records, 3 keys") && told.1.contains("3  same"), "{told:?}");
    put("b", 2);
    let told = tidelock(&[&stream[..], &["--limit", "4"]].concat());
    assert!(told.0 == Some(1) && told.1.contains("  - n: 1\n") && told.1.contains("  + n: 2\n"), "{told:?}");
    // Nothing comes from its end on.
    let latest = ["shadow", "--table", &name, "--from", "latest", "--endpoint-url", &url, "--for", "1"];
    let told = tidelock(&latest);
    assert!(told.0 == Some(0) && told.1.contains("0 records"), "{told:?}");
    ask(&url, "DeleteTable", &json!({"TableName": name}));
}
