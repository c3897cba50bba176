//! Documents as large as MongoDB lets them be, between small ones in one batch: each is written or parked with its size, and
//! its neighbours are written whatever becomes of it.

use crate::documentdb::{change, event};
use crate::support::bucket::Bucket;
use crate::support::collection::Database;
use crate::support::exact::Exact;
use crate::support::function::{Running, Sync, function, target};
use crate::support::index::Index;
use crate::support::queue::Queue;
use crate::support::{Folder, services};
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use std::time::Duration;
use tidelock_local::function::Invocation;

/// The most that MongoDB takes.
const MOST: usize = 16 * 1024 * 1024;

/// A document of exactly so many bytes of BSON.
fn large(bytes: usize) -> Document {
    let empty = mongodb::bson::serialize_to_vec(&doc! {"_id": "large", "text": ""}).unwrap().len();
    doc! {"_id": "large", "text": "x".repeat(bytes - empty)}
}

/// The change of a large document between two small ones. Without the document it has to be read at the source.
fn between(database: &str, document: Option<&Document>) -> Vec<u8> {
    let small =
        |id: &str, ordinal| change("insert", database, &json!(id), ordinal, Some(json!({"_id": id, "n": ordinal})));
    let large = document.map(|document| json!({"_id": "large", "text": document.get_str("text").unwrap()}));
    event(&[small("before", 1), change("update", database, &json!("large"), 2, large), small("after", 3)]).to_vec()
}

/// A function with a queue for letters and, if asked for, a bucket for those that do not fit.
struct Setup {
    letters: Queue,
    bucket: Bucket,
    folder: Folder,
}

impl Setup {
    async fn create() -> Option<Self> {
        Some(Self {
            letters: Queue::create("large").await?,
            bucket: Bucket::create("large").await?,
            folder: Folder::new(),
        })
    }

    fn with(&self, function: Sync, has_bucket: bool) -> Sync {
        function
            .with("TIDELOCK_DEAD_LETTERS", &self.letters.url)
            .with("TIDELOCK_FALLBACK", &format!("file:{}", self.folder.path("held")))
            .with("TIDELOCK_LETTERS_BUCKET", if has_bucket { &self.bucket.name } else { "" })
            .with("AWS_ENDPOINT_URL", &self.letters.service)
            .with("AWS_REGION", "us-east-1")
            .timeout(Duration::from_secs(60))
    }

    /// The one letter there is, which stays in the queue.
    async fn letter(&self, function: &Running) -> Value {
        let found = self.letters.raw(10).await;
        self.letters.give_back().await;
        let [(_, body)] = found.as_slice() else { panic!("{} letters\n{}", found.len(), function.log()) };
        serde_json::from_str(body).unwrap()
    }
}

/// Whether a detail names these sizes.
fn assert_told(letter: &Value, size: usize, limit: usize) {
    let detail = letter["detail"].as_str().unwrap();
    let numbers: Vec<usize> =
        detail.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect();
    assert!(numbers.iter().any(|&number| number.abs_diff(size) < 1_000) && numbers.contains(&limit), "{detail}");
}

#[tokio::test]
async fn an_index_gets_the_neighbours_of_a_document_over_its_limit() {
    let (Some(url), Some(source)) = (services::opensearch(), services::secantusdb()) else { return };
    let (Some(setup), from) = (Setup::create().await, Database::create(&source, "large").await) else { return };
    let (document, limit) = (large(MOST), 5_000_000);
    from.collection().insert_one(&document).await.unwrap();
    for carried in [None, Some(&document)] {
        let index = Index::new(&url, "large");
        let Some(sync) = function("documentdb-sync", &target(&url)) else { return };
        let sync = setup.with(sync, true).into(index.name()).with("TIDELOCK_SOURCE", &source).start();
        sync.succeed(between(&from.name, carried)).await;
        assert_eq!(index.fields().await.into_keys().collect::<Vec<_>>(), ["after", "before"], "{}", sync.log());
        let letter = setup.letter(&sync).await;
        assert_eq!(letter["reason"], "document_too_large");
        assert_told(&letter, MOST, limit);
        let objects = setup.bucket.names().await;
        // A letter with the document in it lies in the bucket.
        assert_eq!(objects.len(), usize::from(carried.is_some()), "{letter}");
        assert_eq!(letter.get("s3").is_some(), carried.is_some(), "{letter}");
        // What the table of causes says to do about it helps.
        let redrive = setup.with(function("redrive", &target(&url)).unwrap(), true).into(index.name());
        let redrive = redrive.with("TIDELOCK_SOURCE", &source).with("TIDELOCK_BULK_BYTES", "20000000").start();
        let told = format!("{:?}", redrive.invoke(json!({"redrive": ["dead-letters"]}).to_string()).await);
        let stored = index.get("large").await.unwrap_or_else(|| panic!("{told}\n{}", redrive.log()));
        assert!(stored.fields == Exact::from(json!({"text": document.get_str("text").unwrap()})), "{told}");
        assert_eq!(setup.letters.count().await, 0, "{told}");
    }
    from.drop().await;
}

#[tokio::test]
async fn a_letter_that_fits_nowhere_keeps_the_batch_coming_and_its_neighbours_written() {
    let (Some(url), Some(setup)) = (services::opensearch(), Setup::create().await) else { return };
    let index = Index::new(&url, "large-kept");
    let Some(sync) = function("documentdb-sync", &target(&url)) else { return };
    let sync = setup.with(sync, false).into(index.name()).start();
    for _ in 0..2 {
        let told = sync.invoke(between("d", Some(&large(MOST)))).await;
        let Invocation::FunctionError { .. } = &told else { panic!("{told:?}") };
        let told = format!("{told:?}");
        assert!(told.contains("1 of 3 changes are neither applied nor stored"), "{told}");
        assert!(told.contains("TIDELOCK_LETTERS_BUCKET"), "{told}");
        assert_eq!(index.fields().await.into_keys().collect::<Vec<_>>(), ["after", "before"], "{}", sync.log());
        assert_eq!(setup.letters.count().await, 0);
    }
}

#[tokio::test]
async fn a_collection_gets_what_fits_with_its_version_and_a_letter_tells_of_the_rest() {
    let (Some(source), Some(into)) = (services::secantusdb(), services::ferretdb()) else { return };
    let Some(setup) = Setup::create().await else { return };
    // `_tidelock` takes some 200 bytes of the limit.
    for (bytes, fits) in [(MOST - 1_000, true), (MOST, false)] {
        let (from, document) = (Database::create(&source, "large").await, large(bytes));
        from.collection().insert_one(&document).await.unwrap();
        for carried in [None, Some(&document)] {
            let to = Database::create(&into, "large").await;
            let route = format!("{{version: 1, routes: [{{from: {}.c, to: {}.c}}]}}", from.name, to.name);
            let Some(sync) = function("documentdb-sync", &to.uri) else { return };
            let sync =
                setup.with(sync, true).with("TIDELOCK_SOURCE", &source).with("TIDELOCK_PIPELINE", &route).start();
            sync.succeed(between(&from.name, carried)).await;
            let mut found = to.documents().await;
            let at = found.iter().position(|found| found.get_str("_id").unwrap() == "large");
            let found_large = at.map(|at| found.remove(at));
            assert!(found_large.as_ref() == fits.then_some(&document), "{bytes}: {}", sync.log());
            assert_eq!(found, [doc! {"_id": "after", "n": 3}, doc! {"_id": "before", "n": 1}], "{bytes}");
            if fits {
                assert_eq!(setup.letters.count().await, 0, "{}", sync.log());
            } else {
                let letter = setup.letter(&sync).await;
                assert_eq!(letter["reason"], "document_too_large");
                assert_told(&letter, MOST, MOST);
                setup.letters.take().await;
            }
            to.drop().await;
        }
        from.drop().await;
    }
}
