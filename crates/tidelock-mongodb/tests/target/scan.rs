//! Collections read from the first document to the last, on real servers.

use crate::events::run;
use crate::servers::{Database, Server, servers};
use crate::source::{key_of, source};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{
    Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, RawDocumentBuf, Timestamp, doc,
};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};
use tidelock_core::backfill::{Page, Scan as _, Scanned, Segment};
use tidelock_core::cause::Cause;
use tidelock_core::encode::Format;
use tidelock_core::image::Notation;
use tidelock_core::slow::Source as _;
use tidelock_core::source::mongodb::DocumentKey;
use tidelock_mongodb::MongoDbSource;

/// Of the oldest cluster time there is.
pub(crate) const OLDEST: &str = "00000000004294967296";

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn bytes(document: &Document) -> Vec<u8> {
    document.to_vec().expect("serializable")
}

pub(crate) async fn page(source: &MongoDbSource, scan: &Scan, number: u32, from: Option<&str>) -> Page {
    let segment = Segment { number, of: scan.of };
    let page = source.page(&scan.origin, &scan.scanned, segment, from, Format::Bson, soon()).await;
    page.unwrap_or_else(|failure| panic!("{failure}"))
}

/// A scan that has been begun.
pub(crate) struct Scan {
    pub(crate) origin: String,
    pub(crate) of: u32,
    pub(crate) scanned: Scanned,
}

impl Scan {
    pub(crate) async fn begin(source: &MongoDbSource, origin: String, of: u32) -> Self {
        let scanned = source.survey(&origin, of, soon()).await.unwrap_or_else(|failure| panic!("{failure}"));
        Self { origin, of, scanned }
    }

    /// The pages of a segment, each with where it began.
    async fn pages(&self, source: &MongoDbSource, number: u32) -> Vec<(Option<String>, Page)> {
        let (mut pages, mut from) = (Vec::new(), None);
        loop {
            let page = page(source, self, number, from.as_deref()).await;
            let next = page.next.clone().map(|next| {
                let value: serde_json::Value = serde_json::from_str(&next).expect("JSON");
                value.to_string()
            });
            pages.push((from, page));
            assert!(pages.len() < 10_000, "it never ends");
            match next {
                None => return pages,
                next => from = next,
            }
        }
    }

    /// How often each key was found, by the documents' bytes.
    async fn found(&self, source: &MongoDbSource) -> BTreeMap<Vec<u8>, usize> {
        let mut found = BTreeMap::new();
        for number in 0..self.of {
            for (_, page) in self.pages(source, number).await {
                for item in page.items {
                    let item = item.unwrap_or_else(|failure| panic!("{failure}"));
                    assert_eq!(item.item.notation, Notation::Bson);
                    let own = DocumentKey::of(&item.item.bytes).expect("a key");
                    assert_eq!(item.key, own.key().as_bytes());
                    *found.entry(item.item.bytes).or_default() += 1;
                }
            }
        }
        found
    }
}

fn origin(database: &Database) -> String {
    format!("{}.c", database.database.name())
}

async fn insert(server: &Server, database: &Database, documents: &[RawDocumentBuf]) {
    let collection = database.database.collection::<RawDocumentBuf>("c");
    for some in documents.chunks(500) {
        collection.insert_many(some).await.unwrap_or_else(|error| panic!("{}: {error}", server.name));
    }
}

fn raw(document: &Document) -> RawDocumentBuf {
    RawDocumentBuf::try_from(document).expect("serializable")
}

/// Each document once, and nothing else.
fn assert_each_once(server: &Server, found: &BTreeMap<Vec<u8>, usize>, documents: &[RawDocumentBuf]) {
    for document in documents {
        let count = found.get(document.as_bytes()).copied().unwrap_or_default();
        assert_eq!(count, 1, "{}: {document:?}", server.name);
    }
    assert_eq!(found.len(), documents.len(), "{}", server.name);
}

fn binary(subtype: u8, bytes: &[u8]) -> Bson {
    Bson::Binary(Binary { subtype: BinarySubtype::from(subtype), bytes: bytes.to_vec() })
}

fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse::<Decimal128>().expect("a decimal"))
}

/// `_id`s of many types, and of some so many that they do not fit one page.
fn ids_of_many_types(server: &Server) -> Vec<RawDocumentBuf> {
    let mut ids: Vec<Bson> = vec![
        Bson::Null,
        f64::NAN.into(),
        f64::NEG_INFINITY.into(),
        f64::INFINITY.into(),
        i64::MIN.into(),
        i64::MAX.into(),
        (-1e300).into(),
        1e300.into(),
        decimal("-3.25"),
        decimal("9.5E+60"),
        "".into(),
        "7".into(),
        "-1".into(),
        "\u{10ffff}".into(),
        doc! {}.into(),
        doc! {"a": 1}.into(),
        doc! {"a": "x", "b": {"c": 1}}.into(),
        doc! {"b": 1, "a": 1}.into(),
        binary(0, b""),
        binary(0, &[0, 255]),
        binary(4, &[0xab; 16]),
        binary(0x80, b"zz"),
        ObjectId::from_bytes([0; 12]).into(),
        ObjectId::from_bytes([255; 12]).into(),
        false.into(),
        true.into(),
        DateTime::from_millis(-62_000_000_000_000).into(),
        DateTime::from_millis(-1).into(),
        DateTime::from_millis(0).into(),
        DateTime::from_millis(1_588_166_528_000).into(),
        Timestamp { time: 0, increment: 0 }.into(),
        Timestamp { time: u32::MAX, increment: u32::MAX }.into(),
        Bson::MinKey,
        Bson::MaxKey,
    ];
    ids.extend((-120..120_i32).map(|n| match n.rem_euclid(4) {
        0 => n.into(),
        1 => i64::from(n).into(),
        2 => f64::from(n).into(),
        _ => decimal(&format!("{n}.5")),
    }));
    ids.extend((0..240).map(|n| Bson::from(format!("{n}"))).filter(|id| *id != Bson::from("7")));
    ids.extend((0..240_u8).map(|n| Bson::from(ObjectId::from_bytes([n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, n]))));
    // To SecantusDB they are equal.
    if server.name == "FerretDB" {
        ids.push(Bson::JavaScriptCode("f()".to_owned()));
        ids.push(Bson::Symbol("sym".to_owned()));
        ids.push(JavaScriptCodeWithScope { code: "f()".to_owned(), scope: doc! {"x": 1} }.into());
    }
    ids.into_iter().enumerate().map(|(n, id)| raw(&doc! {"_id": id, "n": n as i32})).collect()
}

/// FerretDB answers `count` without a query from PostgreSQL's statistics, which may be behind.
fn assert_counted(server: &Server, scan: &Scan, documents: usize) {
    let items = scan.scanned.items.expect("counted");
    match server.name {
        "FerretDB" => assert!(items <= documents as u64, "FerretDB: {items} of {documents}"),
        name => assert_eq!(items, documents as u64, "{name}"),
    }
}

#[test]
fn ids_of_every_type_are_found_once() {
    for server in servers() {
        run(async {
            let database = server.database().await;
            let documents = ids_of_many_types(&server);
            insert(&server, &database, &documents).await;
            let source = source(&database.uri);
            for of in [1, 3] {
                let scan = Scan::begin(&source, origin(&database), of).await;
                assert_counted(&server, &scan, documents.len());
                assert_each_once(&server, &scan.found(&source).await, &documents);
            }
            // The rare types at the ends are asked for because they are there.
            for end in [Bson::MinKey, Bson::MaxKey] {
                database.collection().delete_one(doc! {"_id": end}).await.expect("deleted");
            }
            let scan = Scan::begin(&source, origin(&database), 1).await;
            let rest: Vec<RawDocumentBuf> = documents
                .into_iter()
                .filter(|document| {
                    let id = document.get("_id").expect("sound").expect("an id");
                    !matches!(Bson::try_from(id), Ok(Bson::MinKey | Bson::MaxKey))
                })
                .collect();
            assert_each_once(&server, &scan.found(&source).await, &rest);
            database.drop().await;
        });
    }
}

#[test]
fn segments_share_out_a_large_collection() {
    for server in servers() {
        run(async {
            let database = server.database().await;
            let mut documents: Vec<RawDocumentBuf> = (0..4_900_u32)
                .map(|n| {
                    let mut id = [7; 12];
                    id[..4].copy_from_slice(&(n.wrapping_mul(0x9e37_79b9)).to_be_bytes());
                    raw(&doc! {"_id": ObjectId::from_bytes(id), "n": n})
                })
                .collect();
            documents.extend((0..100).map(|n| raw(&doc! {"_id": n, "n": n})));
            insert(&server, &database, &documents).await;
            let source = source(&database.uri);
            let scan = Scan::begin(&source, origin(&database), 4).await;
            assert_counted(&server, &scan, documents.len());
            assert_each_once(&server, &scan.found(&source).await, &documents);

            for number in 0..4 {
                let pages = scan.pages(&source, number).await;
                let sizes: Vec<usize> = pages.iter().map(|(_, page)| page.items.len()).collect();
                let all: usize = sizes.iter().sum();
                assert!((300..3_500).contains(&all), "{}: {sizes:?} in segment {number}", server.name);
                assert!(sizes.len() > 2 && sizes.iter().all(|size| *size <= 1_000), "{}: {sizes:?}", server.name);
                // From wherever a page began, the rest is the same.
                let items = |pages: &[(Option<String>, Page)]| {
                    let items = pages.iter().flat_map(|(_, page)| &page.items);
                    items.map(|item| item.as_ref().expect("readable").key.clone()).collect::<Vec<_>>()
                };
                for (index, (from, _)) in pages.iter().enumerate() {
                    let again = page(&source, &scan, number, from.as_deref()).await;
                    assert_eq!(items(&[(None, again)]), items(&pages[index..=index]), "{}", server.name);
                }
            }
            database.drop().await;
        });
    }
}

#[test]
fn documents_of_many_megabytes_come_one_by_one() {
    for server in servers() {
        run(async {
            let database = server.database().await;
            let documents: Vec<RawDocumentBuf> =
                (0..5).map(|n| raw(&doc! {"_id": n, "x": "x".repeat(5_000_000)})).collect();
            for document in &documents {
                insert(&server, &database, std::slice::from_ref(document)).await;
            }
            let source = source(&database.uri);
            let scan = Scan::begin(&source, origin(&database), 2).await;
            assert_each_once(&server, &scan.found(&source).await, &documents);
            let pages = scan.pages(&source, 0).await;
            let sizes: Vec<usize> = pages.iter().map(|(_, page)| page.items.len()).collect();
            assert!(sizes.iter().all(|size| *size <= 1), "{}: {sizes:?}", server.name);
            database.drop().await;
        });
    }
}

#[test]
fn what_comes_and_goes_meanwhile_is_nobodys_loss() {
    for server in servers() {
        run(async {
            let database = server.database().await;
            let documents: Vec<RawDocumentBuf> = (0..600).map(|n| raw(&doc! {"_id": n})).collect();
            insert(&server, &database, &documents).await;
            let source = source(&database.uri);
            let scan = Scan::begin(&source, origin(&database), 1).await;
            let first = page(&source, &scan, 0, None).await;
            let mut seen: Vec<i32> = Vec::new();
            let mut from = first.next.clone();
            let mut pages = vec![first];
            // The document that the next page is behind of goes, and so do others before and after it.
            let gone = doc! {"_id": {"$gte": 50, "$lt": 150}};
            database.collection().delete_many(gone).await.expect("deleted");
            database.collection().insert_one(doc! {"_id": -5}).await.expect("inserted");
            while let Some(position) = from {
                let next = page(&source, &scan, 0, Some(&position)).await;
                from = next.next.clone();
                pages.push(next);
            }
            for item in pages.iter().flat_map(|page| &page.items) {
                let item = item.as_ref().expect("readable");
                let document = Document::from_reader(item.item.bytes.as_slice()).expect("a document");
                seen.push(document.get_i32("_id").expect("a number"));
            }
            let expected: Vec<i32> = (0..100).chain(150..600).collect();
            assert_eq!(seen, expected, "{}", server.name);
            database.drop().await;
        });
    }
}

#[test]
fn a_collection_that_is_not_there_is_not_an_empty_one() {
    for server in servers() {
        run(async {
            let database = server.database().await;
            database.database.create_collection("c").await.expect(server.name);
            let source = source(&database.uri);
            let scan = Scan::begin(&source, origin(&database), 3).await;
            assert!(scan.found(&source).await.is_empty(), "{}", server.name);
            assert_eq!(scan.scanned.items, Some(0));
            let name = database.database.name().to_owned();
            for missing in [format!("{name}.C"), format!("{name}.never.was"), format!("{name}x.c")] {
                let failure = source.survey(&missing, 1, soon()).await.expect_err(&missing);
                assert_eq!(failure.cause, Cause::SourceUnreadable);
                assert!(failure.detail.contains("there is no such collection"), "{}: {failure}", server.name);
                assert!(failure.detail.starts_with(&format!("collection `{missing}` at 127.0.0.1:")), "{failure}");
            }
            database.drop().await;
        });
    }
}

#[test]
fn the_version_is_the_clusters_time_or_the_oldest() {
    for server in servers() {
        run(async {
            let database = server.database().await;
            database.collection().insert_one(doc! {"_id": 1, "v": "before"}).await.expect("inserted");
            let source = source(&database.uri);
            let scan = Scan::begin(&source, origin(&database), 1).await;
            let version = &scan.scanned.version;
            let address = database.uri.split('/').nth(2).expect("an address");
            assert_eq!(version.space, format!("mongodb:{address}:{}", scan.origin), "{}", server.name);
            assert!(version.version().is_some() && version.token.is_empty() && version.label.is_empty());
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as i64;
            match server.name {
                "SecantusDB" => assert!((now - version.at).abs() < 60_000, "{version:?}"),
                _ => assert_eq!((version.exact.as_str(), version.at), (OLDEST, 1_000)),
            }
            // A later change has a later version; what is scanned by the earlier one shows it.
            database.collection().update_one(doc! {"_id": 1}, doc! {"$set": {"v": "after"}}).await.expect("updated");
            let later = Scan::begin(&source, origin(&database), 1).await;
            assert!(later.scanned.version.exact >= version.exact, "{}", server.name);
            let found = scan.found(&source).await;
            assert_eq!(found.keys().collect::<Vec<_>>(), [&bytes(&doc! {"_id": 1, "v": "after"})], "{}", server.name);
            database.drop().await;
        });
    }
}

#[test]
fn what_is_scanned_is_what_is_read_again() {
    for server in servers() {
        run(async {
            let database = server.database().await;
            let document = doc! {"_id": {"b": 1, "a": "x"}, "v": [1.5, {"a": 5_i64}]};
            database.collection().insert_one(&document).await.expect("inserted");
            let source = source(&database.uri);
            let scan = Scan::begin(&source, origin(&database), 1).await;
            let found = scan.pages(&source, 0).await.into_iter().flat_map(|(_, page)| page.items).next();
            let item = found.expect("an item").expect("readable");
            let key = key_of(doc! {"b": 1, "a": "x"});
            let read = source.read(&scan.origin, &[key.key()], Format::Bson, soon()).await.remove(0);
            assert_eq!(read, Ok(Some(item.item)), "{}", server.name);
            assert_eq!(item.key, key.key().as_bytes());
            database.drop().await;
        });
    }
}
