//! Documents read again as they are; and where nobody knows, no absence is made up.

use crate::events::run;
use crate::interruptions::Relay;
use crate::model::{Model, everywhere};
use crate::scripted::{Reply, Scripted, found, name, refused};
use crate::servers::{servers, service};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{
    Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, Regex, Timestamp, cstr, doc,
};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tidelock_core::batch::Content;
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::encode::Format;
use tidelock_core::image::{Field, Notation};
use tidelock_core::key::Key;
use tidelock_core::settings::Secret;
use tidelock_core::slow::{Item, ReadResult, Source as _};
use tidelock_core::source::mongodb::DocumentKey;
use tidelock_mongodb::{Credentials, FromUri, Login, MongoDbSource, MongoDbSourceConfig};

pub(crate) fn source(uri: &str) -> MongoDbSource {
    let config = MongoDbSourceConfig { uri: Secret::new(uri), ca_file: None };
    MongoDbSource::new(config, FromUri).expect("valid settings")
}

pub(crate) fn key_of(id: impl Into<Bson>) -> DocumentKey {
    DocumentKey::of(&bytes(&doc! {"_id": id.into()})).expect("an id")
}

fn bytes(document: &Document) -> Vec<u8> {
    document.to_vec().expect("serializable")
}

async fn read_from<C: Credentials>(
    source: &MongoDbSource<C>,
    origin: &str,
    ids: &[Bson],
    format: Format,
) -> Vec<ReadResult> {
    let keys: Vec<DocumentKey> = ids.iter().cloned().map(key_of).collect();
    let keys: Vec<Key<'_>> = keys.iter().map(DocumentKey::key).collect();
    let deadline = Instant::now() + Duration::from_secs(20);
    let results = source.read(origin, &keys, format, deadline).await;
    assert!(Instant::now() < deadline && results.len() == ids.len());
    results
}

/// Reads from the collection `d.c`.
async fn read<C: Credentials>(source: &MongoDbSource<C>, ids: &[Bson]) -> Vec<ReadResult> {
    read_from(source, "d.c", ids, Format::Bson).await
}

fn item(result: &ReadResult) -> &Item {
    result.as_ref().expect("read").as_ref().expect("there")
}

/// What is read of a document in BSON.
fn item_of(document: &Document) -> Item {
    let whole = bytes(document);
    let mut rest = document.clone();
    rest.remove("_id");
    let rest = bytes(&rest);
    Item { document: Ok(rest[4..rest.len() - 1].to_vec()), notation: Notation::Bson, bytes: whole }
}

/// None may say that the document is not there.
fn unreadable(results: &[ReadResult]) -> &Failure {
    for result in results {
        assert_eq!(result.as_ref().expect_err("nobody knows").cause, Cause::SourceUnreadable);
    }
    results[0].as_ref().expect_err("nobody knows")
}

fn binary(subtype: BinarySubtype, bytes: &[u8]) -> Bson {
    Bson::Binary(Binary { subtype, bytes: bytes.to_vec() })
}

fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse::<Decimal128>().expect("a decimal"))
}

/// A document with a field of each type, and as JSON.
fn every_type() -> (Document, Value) {
    let scope = doc! {"x": 1};
    let document = doc! {
        "double": 1.0, "tenth": 0.1, "text": "ä\"\n", "map": {"a": {"_id": 1, "b": []}}, "list": [1, "a", {"b": Bson::Null}],
        "bytes": binary(BinarySubtype::Generic, &[0, 255]), "uuid": binary(BinarySubtype::Uuid, &[0xab; 16]),
        "own": binary(BinarySubtype::UserDefined(0x80), b"x"), "id": ObjectId::from_bytes([0x5f; 12]), "yes": true,
        "date": DateTime::from_millis(1_588_166_528_000), "early": DateTime::from_millis(-1), "null": Bson::Null,
        "regex": Regex { pattern: cstr!("^a").to_owned(), options: cstr!("i").to_owned() }, "code": Bson::JavaScriptCode("f()".into()),
        "scoped": JavaScriptCodeWithScope { code: "f(x)".into(), scope }, "int": -5,
        "time": Timestamp { time: 1_588_166_528, increment: 7 }, "long": i64::MAX, "small long": 5_i64,
        "decimal": decimal("1234567890123456789012345678.901200"),
    };
    let json = json!({
        "double": 1.0, "tenth": 0.1, "text": "ä\"\n", "map": {"a": {"_id": 1, "b": []}}, "list": [1, "a", {"b": null}],
        "bytes": "AP8=", "uuid": "abababab-abab-abab-abab-abababababab",
        "own": "eA==", "id": "5f5f5f5f5f5f5f5f5f5f5f5f", "yes": true,
        "date": "2020-04-29T13:22:08.000Z", "early": "1969-12-31T23:59:59.999Z", "null": null,
        "regex": "/^a/i", "code": "f()",
        "scoped": {"code": "f(x)", "scope": {"x": 1}}, "int": -5,
        "time": {"t": 1_588_166_528, "i": 7}, "long": i64::MAX, "small long": 5,
    });
    (document, json)
}

#[test]
fn a_document_of_every_type_is_read_as_it_is() {
    for server in servers() {
        run(async {
            let database = server.database().await;
            let source = source(&database.uri);
            let (fields, json) = every_type();
            let mut document = doc! {"_id": "all"};
            document.extend(fields);
            database.collection().insert_one(&document).await.expect(server.name);
            let origin = format!("{}.c", database.database.name());

            let results = read_from(&source, &origin, &["all".into()], Format::Bson).await;
            assert_eq!(item(&results[0]), &item_of(&document), "{}", server.name);
            let path = ["map".to_owned(), "a".to_owned(), "_id".to_owned()];
            assert_eq!(item(&results[0]).image().field(&path), Field::Number("1".into()));

            let results = read_from(&source, &origin, &["all".into()], Format::Json).await;
            let Item { document: Ok(text), bytes, .. } = item(&results[0]) else { panic!("{results:?}") };
            assert_eq!(*bytes, self::bytes(&document), "{}", server.name);
            let mut text = String::from_utf8(text.clone()).expect("UTF-8") + "}";
            // More digits than serde_json has.
            let digits = r#","decimal":1234567890123456789012345678.901200"#;
            assert!(text.contains(digits), "{}: {text}", server.name);
            text = text.replace(digits, "");
            assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), json, "{}", server.name);

            // What JSON cannot hold is the document's own failure, not the reading's.
            database.collection().insert_one(doc! {"_id": "nan", "a": {"b": f64::NAN}}).await.expect(server.name);
            let results = read_from(&source, &origin, &["nan".into(), "all".into()], Format::Json).await;
            let failure = item(&results[0]).document.as_ref().expect_err("no number");
            assert_eq!(failure.cause, Cause::UnrepresentableValue);
            assert!(failure.detail.starts_with("field `a.b`: "), "{failure}");
            assert!(item(&results[1]).document.is_ok());
            database.drop().await;
        });
    }
}

#[test]
fn ids_of_every_type_are_found() {
    for server in servers() {
        run(async {
            let database = server.database().await;
            let source = source(&database.uri);
            // SecantusDB takes binary of equal bytes, and a decimal and the double next to it, for one `_id`: none of those.
            let ids: Vec<Bson> = vec![
                ObjectId::from_bytes([1; 12]).into(),
                "01".repeat(12).into(),
                "".into(),
                "7".into(),
                7.into(),
                8_i64.into(),
                5_000_000_000_i64.into(),
                9.0.into(),
                0.5.into(),
                0.1.into(),
                1e300.into(),
                decimal("0.3"),
                decimal("10.00"),
                decimal("11E+40"),
                true.into(),
                Bson::Null,
                DateTime::from_millis(5).into(),
                Timestamp { time: 5, increment: 1 }.into(),
                binary(BinarySubtype::Uuid, &[0xab; 16]),
                binary(BinarySubtype::Generic, &[0xcd; 16]),
                doc! {"b": 1.0, "a": {"c": "x"}}.into(),
                doc! {"a": {"c": "x"}, "b": 1}.into(),
            ];
            for (n, id) in ids.iter().enumerate() {
                let document = doc! {"_id": id.clone(), "n": n as i32};
                database
                    .collection()
                    .insert_one(document)
                    .await
                    .unwrap_or_else(|error| panic!("{}: {id}: {error}", server.name));
            }
            let origin = format!("{}.c", database.database.name());
            let results = read_from(&source, &origin, &ids, Format::Bson).await;
            for (n, (id, result)) in ids.iter().zip(&results).enumerate() {
                assert_eq!(item(result), &item_of(&doc! {"_id": id.clone(), "n": n as i32}), "{}: {id}", server.name);
            }
            database.drop().await;
        });
    }
}

#[test]
fn a_number_is_found_whatever_its_type() {
    for server in servers() {
        run(async {
            let database = server.database().await;
            let source = source(&database.uri);
            for id in
                [Bson::from(1.0), 2.into(), 3_i64.into(), decimal("4.0"), decimal("0.50"), doc! {"n": 6_i64}.into()]
            {
                database.collection().insert_one(doc! {"_id": id}).await.expect(server.name);
            }
            let ids = [1.into(), 2.0.into(), decimal("3"), 4_i64.into(), 0.5.into(), doc! {"n": 6.0}.into()];
            let origin = format!("{}.c", database.database.name());
            let results = read_from(&source, &origin, &ids, Format::Bson).await;
            for (id, result) in ids.iter().zip(&results) {
                assert!(matches!(result, Ok(Some(_))), "{}: {id}: {result:?}", server.name);
            }
            // One key asked for in two spellings has one answer.
            let results = read_from(&source, &origin, &[1.into(), decimal("1.00")], Format::Bson).await;
            assert_eq!(item(&results[0]), &item_of(&doc! {"_id": 1.0}), "{}", server.name);
            assert_eq!(results[0], results[1], "{}", server.name);
            database.drop().await;
        });
    }
}

#[test]
fn answers_have_the_keys_places() {
    everywhere(async |server| {
        let database = server.database().await;
        let source = source(&database.uri);
        let id = ObjectId::from_bytes([7; 12]);
        let documents = [doc! {"_id": "a", "v": 1}, doc! {"_id": id, "v": 2}];
        database.collection().insert_many(&documents).await.expect("inserted");
        let origin = format!("{}.c", database.database.name());
        let ids = ["gone".into(), id.into(), id.to_hex().into(), "a".into(), id.into()];
        let results = read_from(&source, &origin, &ids, Format::Bson).await;
        let (a, b) = (item_of(&documents[0]), item_of(&documents[1]));
        let expected = [None, Some(b.clone()), None, Some(a), Some(b)].map(Ok);
        assert_eq!(results, expected, "{}", server.name);
        let nowhere = format!("{}.never.was", database.database.name());
        assert_eq!(read_from(&source, &nowhere, &ids[..2], Format::Json).await, [Ok(None), Ok(None)]);
        database.drop().await;
    });
}

#[test]
fn reads_are_from_the_primary_as_a_majority_has_it() {
    run(async {
        let model = Model::start().await;
        let source = source(&model.server.uri("?readPreference=secondaryPreferred&readConcernLevel=local"));
        read_from(&source, "shop.or.ders", &["a".into(), 5.0.into()], Format::Bson).await;
        let log = model.server.log();
        assert_eq!(log.len(), 1);
        assert_eq!((log[0].get("$db"), log[0].get("find")), (Some(&"shop".into()), Some(&"or.ders".into())));
        assert_eq!(log[0].get("filter"), Some(&doc! {"_id": {"$in": ["a", 5]}}.into()));
        assert_eq!(log[0].get("projection"), None, "the whole document");
        let concern = log[0].get_document("readConcern").expect("a read concern");
        assert_eq!(concern.get("level"), Some(&"majority".into()));
        let preference = log[0].get_document("$readPreference").ok().and_then(|one| one.get_str("mode").ok());
        assert!(matches!(preference, None | Some("primary")), "{}", log[0]);
    });
}

#[test]
fn servers_without_sessions_or_majority_reads_are_read_too() {
    run(async {
        let server = Scripted::without_sessions(|command| {
            match command.get_document("readConcern").and_then(|concern| concern.get_str("level")) {
                Ok("majority") => refused(148),
                _ => found(vec![doc! {"_id": "a"}]),
            }
        })
        .await;
        let source = source(&server.uri(""));
        for _ in 0..2 {
            assert_eq!(read(&source, &["a".into()]).await, [Ok(Some(item_of(&doc! {"_id": "a"})))]);
        }
        assert_eq!(server.log().len(), 3, "it is asked for once");
    });
}

#[test]
fn what_is_refused_for_another_reason_costs_no_majority() {
    run(async {
        let bad = |command: &Document| command.to_string().contains("bad");
        let server = Scripted::start(move |command| if bad(command) { refused(2) } else { found(Vec::new()) }).await;
        let source = source(&server.uri(""));
        unreadable(&read(&source, &["bad".into()]).await);
        assert_eq!(read(&source, &["a".into()]).await, [Ok(None)]);
        let level = |command: &Document| {
            let concern = command.get_document("readConcern").expect("a read concern");
            concern.get_str("level").expect("a level").to_owned()
        };
        assert_eq!(server.log().iter().map(level).collect::<Vec<_>>(), ["majority", "local", "majority"]);
    });
}

#[test]
fn questions_are_cut() {
    run(async {
        let model = Model::start().await;
        let source = source(&model.server.uri(""));
        let ids: Vec<Bson> =
            (0..120).map(Bson::from).chain((0..3).map(|n| format!("{n}{}", "x".repeat(400_000)).into())).collect();
        let documents: Vec<Document> = ids.iter().map(|id| doc! {"_id": id.clone()}).collect();
        model.data(|data| documents.iter().for_each(|document| data.put("c", document.clone())));
        let results = read(&source, &ids).await;
        for (result, document) in results.iter().zip(&documents) {
            assert_eq!(item(result), &item_of(document));
        }
        let asked = |command: &Document| {
            let filter =
                command.get_document("filter").and_then(|filter| filter.get_document("_id")).expect("a filter");
            filter.get_array("$in").expect("ids").len()
        };
        assert_eq!(model.server.log().iter().map(asked).collect::<Vec<_>>(), [50, 50, 22, 1]);
    });
}

#[test]
fn an_answer_that_breaks_off_proves_nothing() {
    let batch = |verb: &str, id: i64, documents: Vec<Document>| {
        let mut cursor = doc! {"id": id, "ns": "d.c"};
        cursor.insert(verb, documents);
        Reply::Answer(doc! {"cursor": cursor, "ok": 1})
    };
    // CursorNotFound; what it was is not known to pass.
    run(async {
        let server = Scripted::start(move |command| match name(command).as_str() {
            "find" => batch("firstBatch", 5, vec![doc! {"_id": "a"}]),
            "getMore" => refused(43),
            _ => Reply::Answer(doc! {"ok": 1}),
        })
        .await;
        let results = read(&source(&server.uri("")), &["a".into(), "b".into()]).await;
        let failure = unreadable(&results);
        assert!(failure.detail.starts_with(&format!("collection `d.c` at {}: said so", server.address())), "{failure}");
    });
    // The primary steps down in the middle: all of it is read once more.
    run(async {
        let mut finds = 0;
        let server = Scripted::start(move |command| match name(command).as_str() {
            "find" => {
                finds += 1;
                let first = if finds == 1 {
                    doc! {"_id": "old"}
                } else {
                    doc! {"_id": "a"}
                };
                batch("firstBatch", 5, vec![first])
            }
            "getMore" if finds == 1 => refused(11602),
            "getMore" => batch("nextBatch", 0, vec![doc! {"_id": "b"}]),
            _ => Reply::Answer(doc! {"ok": 1}),
        })
        .await;
        let results = read(&source(&server.uri("")), &["a".into(), "b".into(), "old".into()]).await;
        let there = |id: &str| Ok(Some(item_of(&doc! {"_id": id})));
        assert_eq!(results, [there("a"), there("b"), Ok(None)]);
    });
}

#[test]
fn an_answer_to_another_question_proves_nothing() {
    for (documents, why) in [
        (vec![doc! {"_id": "a"}, doc! {"_id": "c"}], "`c`, which was not asked for"),
        (vec![doc! {"_id": "A"}], "`A`, which was not asked for"),
        (vec![doc! {"_id": "a", "v": 1}, doc! {"_id": "a", "v": 2}], "two documents with the `_id` `a`"),
        (vec![doc! {"v": 1}], "the document has no `_id`"),
    ] {
        run(async move {
            let server = Scripted::start(move |_| found(documents.clone())).await;
            let results = read(&source(&server.uri("")), &["a".into(), "b".into()]).await;
            let failure = unreadable(&results);
            assert!(
                failure.detail.contains("the answer cannot be used: ") && failure.detail.contains(why),
                "{failure}"
            );
            assert_eq!(server.log().len(), 1, "it would come again");
        });
    }
}

#[test]
fn who_cannot_be_read_has_nothing_absent() {
    run(async {
        for reply in [|| Reply::Close, || Reply::Silence, || refused(13), || refused(11600)] {
            let server = Scripted::start(move |_| reply()).await;
            let source = source(&server.uri(""));
            let keys = [key_of("a"), key_of("b")];
            let keys: Vec<Key<'_>> = keys.iter().map(DocumentKey::key).collect();
            let deadline = Instant::now() + Duration::from_millis(600);
            let results = source.read("d.c", &keys, Format::Bson, deadline).await;
            assert!(Instant::now() < deadline);
            let failure = unreadable(&results);
            assert!(failure.detail.starts_with("collection `d.c` at 127.0.0.1:"), "{failure}");
        }
    });
}

#[test]
fn a_server_that_stops_is_not_one_without_documents() {
    for server in servers() {
        run(async {
            let database = server.database().await;
            database.collection().insert_one(doc! {"_id": "a"}).await.expect("inserted");
            let (scheme, rest) = database.uri.split_once("://").expect("a connection string");
            let (address, path) = rest.split_once('/').expect("a path");
            let relay = Relay::to(address).await;
            let source = source(&format!("{scheme}://{}/{path}", relay.address));
            let origin = format!("{}.c", database.database.name());
            let ids = ["a".into(), "b".into()];
            let results = read_from(&source, &origin, &ids, Format::Bson).await;
            assert!(item(&results[0]).document.is_ok() && results[1] == Ok(None), "{}: {results:?}", server.name);

            relay.down.store(true, Ordering::SeqCst);
            let keys = [key_of("a"), key_of("b")];
            let keys: Vec<Key<'_>> = keys.iter().map(DocumentKey::key).collect();
            let deadline = Instant::now() + Duration::from_secs(2);
            let results = source.read(&origin, &keys, Format::Bson, deadline).await;
            assert!(Instant::now() < deadline);
            unreadable(&results);

            relay.down.store(false, Ordering::SeqCst);
            let results = read_from(&source, &origin, &ids, Format::Bson).await;
            assert!(item(&results[0]).document.is_ok() && results[1] == Ok(None), "{}: {results:?}", server.name);
            database.drop().await;
        });
    }
}

#[test]
fn keys_and_origins_of_other_sources_are_refused_unasked() {
    run(async {
        let model = Model::start().await;
        let source = source(&model.server.uri(""));
        for origin in ["mytable", ".c", "d.", ""] {
            unreadable(&read_from(&source, origin, &["a".into()], Format::Bson).await);
        }
        let batch = crate::events::batch(&[crate::events::Change::put("a", 1, "v")]);
        assert!(matches!(batch.slots[0].content, Content::Upsert(_)));
        let foreign = batch.key(&batch.slots[0]).expect("a key");
        let own = key_of("a");
        let deadline = Instant::now() + Duration::from_secs(20);
        let results = source.read("d.c", &[foreign, own.key()], Format::Bson, deadline).await;
        assert!(unreadable(&results[..1]).detail.contains("not a document's of MongoDB"), "{results:?}");
        assert_eq!(results[1], Ok(None), "the others are read");
        assert_eq!(model.server.log().len(), 1);
    });
}

struct Rotating<'a> {
    asked: &'a RefCell<Vec<bool>>,
}

impl Credentials for Rotating<'_> {
    async fn login(&self, refresh: bool) -> Result<Option<Login>, String> {
        self.asked.borrow_mut().push(refresh);
        let password = if self.asked.borrow().contains(&true) { "s3cret" } else { "outdated" };
        Ok(Some(Login { username: "tester".to_owned(), password: Secret::new(password) }))
    }
}

#[test]
fn secrets_are_used_and_never_printed() {
    run(async {
        let server = Scripted::start(|_| refused(18)).await;
        let uri = format!("mongodb://reader:hunter2@{}/?authSource=admin", server.address());
        let source = source(&uri);
        let results = read(&source, &["a".into()]).await;
        let failure = unreadable(&results);
        assert!(!failure.detail.contains("hunter2") && !format!("{source:?}").contains("hunter2"), "{failure}");

        for (uri, ca_file, problem) in [
            ("mongodb://reader:hunter2@/", None, "TIDELOCK_SOURCE: "),
            ("mongodb://reader:hunter2@h/?w=hunter2&ssl=maybe", None, "TIDELOCK_SOURCE: "),
            ("mongodb://reader:hunter2@h/", Some("nowhere/ca.pem"), "TIDELOCK_SOURCE_CA_FILE: nowhere/ca.pem"),
        ] {
            let config = MongoDbSourceConfig { uri: Secret::new(uri), ca_file: ca_file.map(str::to_owned) };
            assert!(!format!("{config:?}").contains("hunter2"));
            let problems = MongoDbSource::new(config, FromUri).expect_err("invalid");
            assert!(problems[0].starts_with(problem) && !problems[0].contains("hunter2"), "{problems:?}");
        }
        if !cfg!(feature = "aws") {
            let uri = Secret::new("mongodb://h/?authMechanism=MONGODB-AWS&authSource=$external");
            let problems = MongoDbSource::new(MongoDbSourceConfig { uri, ca_file: None }, FromUri).expect_err("no AWS");
            assert!(problems[0].starts_with("TIDELOCK_SOURCE: mongodb-aws is not part"), "{problems:?}");
        }
    });
    let (Some(uri), Some(ca)) = (service("TIDELOCK_TEST_FERRETDB_TLS"), service("TIDELOCK_TEST_FERRETDB_CA")) else {
        return;
    };
    run(async {
        let place = uri.split_once('@').map_or(uri.as_str(), |(_, place)| place);
        let config = MongoDbSourceConfig { uri: Secret::new(format!("mongodb://{place}")), ca_file: Some(ca) };
        let asked = RefCell::default();
        let source = MongoDbSource::new(config, Rotating { asked: &asked }).expect("valid settings");
        assert_eq!(read_from(&source, "tidelock_source.c", &["a".into()], Format::Bson).await, [Ok(None)]);
        assert_eq!(*asked.borrow(), [false, true], "a password that was changed is read anew");
    });
}
