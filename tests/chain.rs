//! The whole chain of a DocumentDB stream under faults: documents are written to a real server, its change stream goes through the
//! local mapping into the built function, and an index behind a proxy that loses, refuses and cuts what it can.

use crate::documentdb::with_queues;
use crate::support::collection::Database;
use crate::support::exact::Exact;
use crate::support::function::target;
use crate::support::index::Index;
use crate::support::proxy::{Fault, Proxy, error};
use crate::support::queue::letters;
use crate::support::{Folder, eventually, services};
use fastrand::Rng;
use hyper::StatusCode;
use mongodb::bson::doc;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tidelock_local::clock::Moment;
use tidelock_local::function::Invocation;
use tidelock_local::mapping::{LocalMapping, MappingSettings, Pace, StartingPosition};
use tidelock_local::source::documentdb::{ChangeStreamSettings, DocumentDbSource, FullDocument};

const CHANGES: u32 = 1_000;
const KEYS: i32 = 40;

/// What becomes of a bulk request, by its number.
fn fault(bulk: usize) -> Fault {
    match bulk % 12 {
        2 => error(StatusCode::TOO_MANY_REQUESTS, "es_rejected_execution_exception", "busy"),
        4 => Fault::CutBefore,
        6 => Fault::CutAfter,
        8 => Fault::LoseItem,
        9 => error(StatusCode::SERVICE_UNAVAILABLE, "cluster_block_exception", "starting"),
        _ => Fault::None,
    }
}

/// Inserts, changes, replaces and deletes, most of them of a few keys; now and then in a document that the index cannot take.
async fn write(database: &Database, rng: &mut Rng, from: u32) {
    let collection = database.collection();
    for number in from..from + CHANGES / 2 {
        let id = if rng.bool() { rng.i32(..4) } else { rng.i32(..KEYS) };
        let document = doc! {"_id": id, "n": i64::from(number), "text": format!("{number}")};
        match rng.u8(..10) {
            0 | 1 => drop(collection.delete_one(doc! {"_id": id}).await.unwrap()),
            2..5 => {
                let update = doc! {"$set": {"n": i64::from(number)}};
                collection.update_one(doc! {"_id": id}, update).await.unwrap();
            }
            _ => drop(collection.replace_one(doc! {"_id": id}, document).upsert(true).await.unwrap()),
        }
    }
}

#[tokio::test]
async fn the_index_equals_the_collection_whatever_is_lost_refused_or_cut() {
    let (Some(url), Some(uri)) = (services::opensearch(), services::secantusdb()) else { return };
    let (database, index, folder) =
        (Database::create(&uri, "chain").await, Index::prepared(&url, "chain").await, Folder::new());
    // Behind the drop with which the database begins.
    let began = Moment::from_epoch(Moment::now().since_epoch() + Duration::from_secs(1));
    let created = "the second after the database was made";
    eventually(created, async || (Moment::now() > began).then_some(())).await;
    let proxy = Proxy::before(&url, |seen| if seen.bulk == 0 { Fault::None } else { fault(seen.bulk) }).await;
    let Some(sync) = with_queues("documentdb-sync", &target(&proxy.url), &folder) else { return };
    let function = sync.into(index.name()).with("TIDELOCK_SOURCE", &uri).timeout(Duration::from_secs(10)).start();
    let mut rng = Rng::with_seed(7);
    write(&database, &mut rng, 0).await;
    let source = DocumentDbSource::connect(ChangeStreamSettings {
        database: Some(database.name.clone()),
        full_document: FullDocument::UpdateLookup,
        ..ChangeStreamSettings::new(&uri)
    });
    let settings = MappingSettings {
        batch_size: 15,
        batching_window: Some(0),
        starting_position: StartingPosition::AtTimestamp(began),
        ..MappingSettings::default()
    };
    let source = source.await.unwrap();
    let mut mapping = LocalMapping::new(settings, source, function.process.clone()).unwrap().pace(Pace::fast());
    for half in 0..2 {
        if half > 0 {
            write(&database, &mut rng, CHANGES / 2).await;
        }
        let summary = tokio::time::timeout(Duration::from_secs(120), mapping.run_until_idle()).await;
        let summary = summary.unwrap_or_else(|_| panic!("never done:\n{}", function.log())).unwrap();
        assert!(summary.records > 150 && summary.disabled.is_none(), "{}", summary.records);
    }
    // What was held meanwhile, `redrive` brings; also through the faults.
    let redrive = with_queues("redrive", &target(&proxy.url), &folder).unwrap().into(index.name());
    let redrive = redrive.with("TIDELOCK_SOURCE", &uri).timeout(Duration::from_secs(20)).start();
    let held = folder.path("held");
    for _ in 0..20 {
        if letters(&held).is_empty() {
            break;
        }
        let told = redrive.invoke(json!({"redrive": ["fallback"]}).to_string()).await;
        assert!(matches!(told, Invocation::Response(_)), "{told:?}\n{}", redrive.log());
    }
    assert_eq!(letters(&held), Vec::<Value>::new(), "{}", redrive.log());
    assert_eq!(letters(&folder.path("letters")), Vec::<Value>::new());
    let mut expected = BTreeMap::new();
    let mut cursor = database.collection().find(doc! {}).await.unwrap();
    while cursor.advance().await.unwrap() {
        let document = cursor.deserialize_current().unwrap();
        let fields = json!({"n": document.get_i64("n").unwrap(), "text": document.get_str("text").unwrap()});
        expected.insert(document.get_i32("_id").unwrap().to_string(), Exact::from(fields));
    }
    assert!(expected.len() > 20, "{}", expected.len());
    assert_eq!(index.fields().await, expected, "{}", function.log());
    assert!(proxy.bulks().len() > 30, "{}", proxy.bulks().len());
    database.drop().await;
}
