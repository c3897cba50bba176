//! `docs/types.md`: each row of its table, sent through the built function.

use crate::support::collection::Database;
use crate::support::exact::Exact;
use crate::support::function::{Running, function, target};
use crate::support::index::Index;
use crate::support::queue::letters;
use crate::support::{Folder, services};
use bytes::Bytes;
use mongodb::bson::{Bson, Document};
use serde_json::{Value, json};
use std::path::Path;
use tidelock_core::bson::{Elements, write_canonical};

/// A row of the table.
struct Row {
    name: String,
    event: String,
    /// `None`: refused.
    json: Option<String>,
    /// In canonical extended JSON.
    bson: Value,
}

fn rows() -> Vec<Row> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/types.md")).unwrap();
    let (_, rest) = page.split_once("<!-- types:begin -->").unwrap();
    let (table, _) = rest.split_once("<!-- types:end -->").unwrap();
    let lines = table.lines().filter(|line| line.starts_with("| ")).skip(2);
    let rows: Vec<Row> = lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let [name, event, json, bson] = cells[..] else { panic!("{line}") };
            let code = |cell: &str| {
                cell.strip_prefix('`')
                    .and_then(|cell| cell.strip_suffix('`'))
                    .unwrap_or_else(|| panic!("{line}"))
                    .to_owned()
            };
            let event = code(event);
            let bson = if bson == "the same" { event.clone() } else { code(bson) };
            Row {
                name: name.to_owned(),
                json: (json != "refused").then(|| code(json)),
                bson: serde_json::from_str(&bson).unwrap(),
                event,
            }
        })
        .collect();
    assert!(rows.len() > 30, "{}", rows.len());
    rows
}

/// A document in canonical extended JSON.
fn canonical(document: &Document) -> Value {
    let bytes = document.to_vec().unwrap();
    let mut out = Vec::new();
    write_canonical(&mut out, tidelock_core::bson::Value::Document(Elements::new(&bytes).unwrap()));
    serde_json::from_slice(&out).unwrap()
}

/// An insert for each row: document `n` with the field `vn`.
fn event(rows: &[Row], database: &str) -> Bytes {
    let change = |(n, row): (usize, &Row)| {
        format!(
            r#"{{"event":{{"_id":{{"_data":"{n}"}},"clusterTime":{{"$timestamp":{{"t":1588166728,"i":{n}}}}},"documentKey":{{"_id":{n}}},"fullDocument":{{"_id":{n},"v{n}":{}}},"ns":{{"db":"{database}","coll":"c"}},"operationType":"insert"}}}}"#,
            row.event
        )
    };
    let changes: Vec<String> = rows.iter().enumerate().map(change).collect();
    let arn = "arn:aws:rds:us-east-1:123456789012:cluster:demo-cluster";
    format!(r#"{{"eventSourceArn":"{arn}","events":[{}],"eventSource":"aws:docdb"}}"#, changes.join(",")).into()
}

fn sync(target: &str, pipeline: &str, folder: &Folder) -> Option<Running> {
    let sync =
        function("documentdb-sync", target)?.with("TIDELOCK_DEAD_LETTERS", &format!("file:{}", folder.path("letters")));
    let sync = sync.with("TIDELOCK_FALLBACK", &format!("file:{}", folder.path("held")));
    Some(sync.with("TIDELOCK_PIPELINE", pipeline).start())
}

#[tokio::test]
async fn the_index_holds_what_the_page_says() {
    let (Some(url), folder, rows) = (services::opensearch(), Folder::new(), rows()) else { return };
    let index = Index::new(&url, "types");
    let pipeline = format!("{{version: 1, routes: [{{from: '*', to: {}}}]}}", index.name());
    let Some(sync) = sync(&target(&url), &pipeline, &folder) else { return };
    sync.succeed(event(&rows, "types")).await;
    let refused = letters(&folder.path("letters"));
    let stored = index.fields().await;
    for (n, row) in rows.iter().enumerate() {
        let letter = refused.iter().find(|letter| letter["key"]["_id"] == json!(n));
        match (&row.json, letter) {
            (Some(json), None) => {
                let found = stored[&n.to_string()].get(&format!("v{n}"));
                assert_eq!(found, Some(&Exact::parse(json)), "{}", row.name);
            }
            (None, Some(letter)) => {
                assert_eq!(letter["reason"], "unrepresentable_value", "{}", row.name);
                assert!(letter["detail"].as_str().unwrap().starts_with(&format!("field `v{n}`")), "{letter}");
            }
            _ => panic!("{}: {letter:?}", row.name),
        }
    }
}

/// Rows that a server refuses or keeps as something else, whoever writes them. What it is sent is proved in the core.
const BEYOND_SECANTUSDB: &[&str] = &["date beyond the year 9999", "symbol", "undefined", "DBPointer"];
const BEYOND_FERRETDB: &[&str] = &[];

#[tokio::test]
async fn the_collection_holds_what_the_page_says() {
    let rows = rows();
    for (uri, beyond) in [(services::secantusdb(), BEYOND_SECANTUSDB), (services::ferretdb(), BEYOND_FERRETDB)] {
        let (Some(uri), folder) = (uri, Folder::new()) else { return };
        let database = Database::create(&uri, "types").await;
        let pipeline = format!("{{version: 1, routes: [{{from: '*', to: {}.c}}]}}", database.name);
        let Some(sync) = sync(&uri, &pipeline, &folder) else { return };
        sync.succeed(event(&rows, "types")).await;
        let stored: Vec<Document> = database.documents().await;
        let parked = letters(&folder.path("letters"));
        let mut problems = Vec::new();
        for (n, row) in rows.iter().enumerate() {
            let id = Bson::Int32(i32::try_from(n).unwrap());
            let document = stored.iter().find(|document| document["_id"] == id);
            let value = document.map(|document| canonical(document)[&format!("v{n}")].clone());
            if value.as_ref() != Some(&row.bson) && !beyond.contains(&row.name.as_str()) {
                let letter = parked.iter().find(|letter| letter["key"]["_id"] == json!(n));
                problems.push((&row.name, value, letter.map(|letter| letter["detail"].clone())));
            }
        }
        assert!(problems.is_empty(), "{uri}: {problems:#?}");
        database.drop().await;
    }
}
