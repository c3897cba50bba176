//! `docs/cookbook.md`, each case as it stands there: its pipeline in the built function, its changes in, its documents out.

mod page;

use crate::support::event::{AT, Stream, apart, event};
use crate::support::exact::Exact;
use crate::support::function::{Running, function, target};
use crate::support::index::Index;
use crate::support::queue::{letters, reasons};
use crate::support::{Folder, mongo, services, unique};
use crate::tidy::repository;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::{Client, Collection};
use opensearch::http::Method;
use page::{Act, Case, Kind, cases};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use tidelock_core::pipeline::Pipeline;

/// What the page says that the key of hashes is.
const HASH_KEY: &str = "cookbook";

/// Makes a test of each case, by its number.
macro_rules! tests {
    ($($number:literal $name:ident;)+) => {
        const CASES: &[usize] = &[$($number),+];
        $(
            #[tokio::test]
            async fn $name() {
                run(&case($number)).await;
            }
        )+
    };
}

tests! {
    1 a_table_in_mongodb;
    2 a_search_index_with_computed_fields;
    3 one_table_several_kinds_of_items;
    4 an_index_for_each_month;
    5 tenants;
    6 personal_data;
    7 soft_deletes;
    8 fields_that_editors_own;
    9 money_and_big_numbers;
    10 flat_documents_of_nested_items;
}

fn read() -> Vec<Case> {
    let path = repository().join("docs/cookbook.md");
    let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    cases(&page)
}

fn case(number: usize) -> Case {
    let of_number = |case: &Case| case.title.starts_with(&format!("{number}. "));
    read().into_iter().find(of_number).unwrap_or_else(|| panic!("docs/cookbook.md has no case {number}"))
}

#[test]
fn every_case_of_the_cookbook_is_run_and_every_pipeline_is_sound() {
    let cases = read();
    let numbered = cases.iter().filter_map(|case| case.title.split_once(". ")?.0.parse::<usize>().ok());
    assert_eq!(numbered.collect::<Vec<_>>(), CASES);
    for Case { title, pipeline, acts } in cases {
        let checked = Pipeline::check(&pipeline);
        assert_eq!(checked.problems(), [], "{title}");
        let numbered = title.starts_with(|c: char| c.is_ascii_digit());
        assert_eq!(acts.iter().any(|act| matches!(act, Act::Then { .. })), numbered, "{title}");
    }
}

/// Runs a case on every target that it names.
async fn run(case: &Case) {
    let names = |wanted: Kind| case.acts.iter().any(|act| matches!(act, Act::Then { kind, .. } if *kind == wanted));
    if names(Kind::OpenSearch)
        && let Some(url) = services::opensearch()
    {
        let prefix = unique("cookbook");
        // All indices of the run are deleted with it.
        let all = Index::named(&url, format!("{prefix}-*"));
        play(case, Target::OpenSearch { url, prefix }).await;
        drop(all);
    }
    if names(Kind::MongoDb) {
        for uri in [services::ferretdb(), services::secantusdb()].into_iter().flatten() {
            let client = Client::with_uri_str(&uri).await.unwrap();
            play(case, Target::MongoDb { uri, client, prefix: unique("cookbook") }).await;
        }
    }
}

/// Does what the page says, and compares.
async fn play(case: &Case, target: Target) {
    let folder = Folder::new();
    let Some(function) = started(case, &target, &folder) else { return };
    let letters_path = folder.path("letters");
    let (mut sequence, mut parked) = (0, 0);
    let mut held = BTreeMap::new();
    for act in &case.acts {
        match act {
            Act::Change { table, keys, view, changes } => {
                assert_eq!(letters(&letters_path).len(), parked, "{}", function.log());
                let stream = Stream::of(table);
                let records: Vec<Value> = changes
                    .iter()
                    .map(|change| {
                        sequence += 1;
                        record(&stream, sequence, keys, view, change)
                    })
                    .collect();
                function.succeed(event(&records)).await;
            }
            Act::Edit { index, edits } => target.edit(index, edits).await,
            Act::Parked { reason } => {
                parked += 1;
                let reasons = reasons(&letters(&letters_path));
                assert_eq!(reasons.get(parked - 1).map(|(reason, _)| reason), Some(reason), "{}", function.log());
            }
            Act::Then { place, kind, documents } if *kind == target.kind() => {
                target.compare(place, documents).await;
                held.insert(place.clone(), documents.len());
            }
            Act::Then { .. } => {}
        }
    }
    assert_eq!(letters(&letters_path).len(), parked, "{}", function.log());
    assert_eq!(target.count().await, held.values().sum::<usize>(), "documents where the page names no place");
    target.remove().await;
}

/// The function with the case's pipeline.
fn started(case: &Case, target: &Target, folder: &Folder) -> Option<Running> {
    let mut sync = function("dynamodb-sync", &target.address())?
        .with("TIDELOCK_PIPELINE", &target.pipeline(&case.pipeline))
        .with("TIDELOCK_DEAD_LETTERS", &format!("file:{}", folder.path("letters")));
    if Pipeline::parse(&case.pipeline).unwrap().hashes() {
        let path = folder.path("key");
        std::fs::write(&path, HASH_KEY).unwrap();
        sync = sync.with("TIDELOCK_HASH_SECRET", &format!("file:{path}"));
    }
    Some(sync.start())
}

/// A record of the stream, with the images that its view type has.
fn record(stream: &Stream, sequence: u32, keys: &[String], view: &str, change: &Value) -> Value {
    let has_old = match view {
        "NEW_IMAGE" => false,
        "NEW_AND_OLD_IMAGES" => true,
        _ => panic!("the page names no stream `{view}`"),
    };
    let name = ["INSERT", "MODIFY", "REMOVE"].into_iter().find(|name| !change[name].is_null());
    let name = name.unwrap_or_else(|| panic!("{change}"));
    let item = &change[name];
    let key = Value::Object(keys.iter().map(|name| (name.clone(), item[name].clone())).collect());
    let at = change["at"].as_i64().unwrap_or(AT + i64::from(sequence));
    let new = (name != "REMOVE").then(|| item.clone());
    let mut record = stream.record(name, &apart(sequence), at, key.clone(), new);
    record["dynamodb"]["StreamViewType"] = view.into();
    match (name, has_old) {
        ("MODIFY", true) => {
            assert!(change["was"].is_object(), "the old item is missing: {change}");
            record["dynamodb"]["OldImage"] = change["was"].clone();
        }
        ("REMOVE", true) => record["dynamodb"]["OldImage"] = item.clone(),
        ("REMOVE", false) => assert_eq!(*item, key, "such a stream tells the key of what is deleted alone"),
        _ => assert!(change["was"].is_null(), "such a stream has no old items: {change}"),
    }
    record
}

/// A server, and what its places' names begin with, so that they are this run's own.
enum Target {
    OpenSearch { url: String, prefix: String },
    MongoDb { uri: String, client: Client, prefix: String },
}

impl Target {
    fn kind(&self) -> Kind {
        match self {
            Self::OpenSearch { .. } => Kind::OpenSearch,
            Self::MongoDb { .. } => Kind::MongoDb,
        }
    }

    fn address(&self) -> String {
        match self {
            Self::OpenSearch { url, .. } => target(url),
            Self::MongoDb { uri, prefix, .. } => mongo::address(uri, prefix),
        }
    }

    /// The name that a place has in this run. Collections without a database are in one of this run's own.
    fn name(&self, place: &str) -> String {
        match self {
            Self::MongoDb { .. } if !place.contains('.') => place.to_owned(),
            Self::OpenSearch { prefix, .. } | Self::MongoDb { prefix, .. } => format!("{prefix}-{place}"),
        }
    }

    /// The pipeline with the names of this run.
    fn pipeline(&self, text: &str) -> String {
        let mut file: Value = serde_norway::from_str(text).unwrap();
        for route in file["routes"].as_array_mut().unwrap() {
            let to = route["to"].as_str().unwrap_or_else(|| panic!("the cookbook's routes have a `to`: {route}"));
            route["to"] = self.name(to).into();
        }
        if let Some(indexes) = file["indexes"].as_object_mut() {
            *indexes = indexes.iter().map(|(name, index)| (self.name(name), index.clone())).collect();
        }
        file.to_string()
    }

    /// An index that stays until the end of the run.
    fn index(&self, place: &str) -> ManuallyDrop<Index> {
        let Self::OpenSearch { url, .. } = self else { panic!("{place} is no index") };
        ManuallyDrop::new(Index::named(url, self.name(place)))
    }

    fn collection(&self, place: &str) -> Collection<Document> {
        let Self::MongoDb { client, prefix, .. } = self else { panic!("{place} is no collection") };
        let name = self.name(place);
        let (database, name) = name.split_once('.').unwrap_or((prefix, &name));
        client.database(database).collection(name)
    }

    /// Changes fields of documents as others do.
    async fn edit(&self, place: &str, edits: &[Value]) {
        let index = self.index(place);
        for edit in edits {
            let mut fields = edit.clone();
            let id = fields.as_object_mut().unwrap().remove("_id").unwrap();
            let path = format!("/_update/{}?refresh=true", id.as_str().unwrap());
            index.request(Method::Post, &path, &json!({ "doc": fields }).to_string()).await;
        }
    }

    /// Compares a place's documents with lines of the page.
    async fn compare(&self, place: &str, lines: &[String]) {
        match self {
            Self::OpenSearch { .. } => {
                let index = self.index(place);
                if lines.is_empty() && !index.exists().await {
                    return;
                }
                let mut found = index.fields().await;
                for (id, routing) in routings(&index).await {
                    let Some(Exact::Map(fields)) = found.get_mut(&id) else { panic!("{id}") };
                    fields.insert("_routing".to_owned(), Exact::Text(routing));
                }
                let expected = lines.iter().map(|line| {
                    let mut document = Exact::parse(line);
                    let Some(Exact::Text(id)) = document.take("_id") else { panic!("no `_id` as text: {line}") };
                    (id, document)
                });
                assert_eq!(found, expected.collect::<BTreeMap<_, _>>(), "{place}");
            }
            Self::MongoDb { .. } => {
                let found = mongo::documents(&self.collection(place), "_id").await;
                let expected = lines.iter().map(|line| match bson(&serde_json::from_str(line).unwrap()) {
                    Bson::Document(document) => by_name(document),
                    other => panic!("{other}"),
                });
                assert_eq!(found.into_iter().map(by_name).collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{place}");
            }
        }
    }

    /// How many documents this run has written, wherever.
    async fn count(&self) -> usize {
        match self {
            Self::OpenSearch { .. } => self.index("*").count(json!({"match_all": {}})).await,
            Self::MongoDb { client, .. } => {
                let mut count = 0;
                for database in self.databases().await {
                    let database = client.database(&database);
                    for name in database.list_collection_names().await.unwrap() {
                        let all = database.collection::<Document>(&name).count_documents(doc! {}).await.unwrap();
                        count += if name == "tidelock_fences" { 0 } else { usize::try_from(all).unwrap() };
                    }
                }
                count
            }
        }
    }

    async fn databases(&self) -> Vec<String> {
        let Self::MongoDb { client, prefix, .. } = self else { return Vec::new() };
        let mut names = client.list_database_names().await.unwrap();
        names.retain(|name| name.starts_with(prefix));
        names
    }

    /// Takes away the collections that this run has written.
    async fn remove(self) {
        let Self::MongoDb { client, .. } = &self else { return };
        for database in self.databases().await {
            client.database(&database).drop().await.unwrap();
        }
    }
}

/// The routing of each document that has one, by id.
async fn routings(index: &Index) -> Vec<(String, String)> {
    let found = index.request(Method::Post, "/_search", r#"{"_source": false, "size": 100}"#).await;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let hits = found["hits"]["hits"].as_array().unwrap().iter();
    hits.filter_map(|hit| Some((text(&hit["_id"])?, text(&hit["_routing"])?))).collect()
}

/// The order of a document's own fields is nobody's business; that inside of an `_id` is.
fn by_name(document: Document) -> BTreeMap<String, Bson> {
    document.into_iter().collect()
}

/// A value in extended JSON.
fn bson(value: &Value) -> Bson {
    match value {
        Value::Object(members) => {
            let special = members.iter().next().and_then(|(name, value)| Some((name.as_str(), value.as_str()?)));
            match special.filter(|_| members.len() == 1) {
                Some(("$date", text)) => Bson::DateTime(DateTime::parse_rfc3339_str(text).unwrap()),
                Some(("$numberLong", text)) => Bson::Int64(text.parse().unwrap()),
                Some(("$numberDouble", text)) => Bson::Double(text.parse().unwrap()),
                Some(("$numberDecimal", text)) => Bson::Decimal128(text.parse().unwrap()),
                _ => Bson::Document(members.iter().map(|(name, value)| (name.clone(), bson(value))).collect()),
            }
        }
        Value::Array(items) => Bson::Array(items.iter().map(bson).collect()),
        Value::String(text) => Bson::String(text.clone()),
        Value::Bool(value) => Bson::Boolean(*value),
        Value::Null => Bson::Null,
        Value::Number(number) => {
            let number = number.as_i64().and_then(|number| i32::try_from(number).ok());
            Bson::Int32(number.unwrap_or_else(|| panic!("which type of number is {value}?")))
        }
    }
}
