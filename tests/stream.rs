//! From a table's stream to the index: DynamoDB, the mapping, the built function, OpenSearch.

use crate::support::exact::Exact;
use crate::support::function::{dynamodb_sync, target};
use crate::support::index::Index;
use crate::support::queue::letters;
use crate::support::table::{Attributes, Table, document, drain};
use crate::support::{Folder, services};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, StreamViewType};
use fastrand::Rng;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use tidelock_local::mapping::MappingSettings;

const CHANGES: usize = 1_000;
const KEYS: usize = 60;

/// Attributes of every type, with what is hard about each.
fn attributes(random: &mut Rng) -> Attributes {
    let text = |random: &mut Rng| {
        let alphabet = ['a', 'é', '東', '\u{1f30a}', '"', '\\', '\n', '\0', '\u{2028}', '/'];
        (0..random.usize(..12)).map(|_| random.choice(alphabet).unwrap()).collect::<String>()
    };
    let bytes = |random: &mut Rng| Blob::new((0..random.usize(1..20)).map(|_| random.u8(..)).collect::<Vec<u8>>());
    let number = |random: &mut Rng| {
        let digits: String = (0..38).map(|_| char::from(random.u8(b'1'..=b'9'))).collect();
        let sign = if random.bool() { "-" } else { "" };
        match random.u8(..5) {
            0 => random.i64(..).to_string(),
            1 => format!("{sign}{digits}"),
            2 => format!("{sign}{}.{}", &digits[..20], &digits[20..]),
            3 => format!("{sign}{digits}E{}", random.i32(-120..88)),
            _ => format!("{sign}0.{}", &digits[..random.usize(1..38)]),
        }
    };
    let set = |random: &mut Rng, one: &mut dyn FnMut(&mut Rng) -> String| {
        (0..random.usize(1..5)).map(|_| one(random)).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    let mut item = Attributes::new();
    for kind in 0..11 {
        // Not always the same attributes: what was there before must go.
        if random.u8(..3) == 0 {
            continue;
        }
        let value = match kind {
            0 => AttributeValue::S(text(random)),
            1 | 2 => AttributeValue::N(number(random)),
            3 => AttributeValue::B(bytes(random)),
            4 => AttributeValue::Bool(random.bool()),
            5 => AttributeValue::Null(true),
            6 => AttributeValue::L(vec![
                AttributeValue::N(number(random)),
                AttributeValue::S(text(random)),
                AttributeValue::L(Vec::new()),
            ]),
            7 => AttributeValue::M([(format!("k{}", text(random)), AttributeValue::N(number(random)))].into()),
            8 => AttributeValue::Ss(set(random, &mut |random| format!("s{}", text(random)))),
            9 => AttributeValue::Ns(set(random, &mut |random| random.i32(..).to_string())),
            _ => AttributeValue::Bs(vec![Blob::new([0, random.u8(..)]), Blob::new([1, random.u8(..)])]),
        };
        item.insert(format!("a{kind}"), value);
    }
    item
}

/// Writes random changes: mostly puts, some deletes, hot keys and cold ones.
async fn write_changes(table: &Table, seed: u64) {
    let mut random = Rng::with_seed(seed);
    for _ in 0..CHANGES {
        let key = if random.bool() { random.usize(..5) } else { random.usize(..KEYS) };
        let id = format!("key {key}");
        if random.u8(..5) == 0 {
            table.delete(&id).await;
        } else {
            table.put(&id, attributes(&mut random)).await;
        }
    }
}

/// An index that takes every number: nothing but the key is mapped.
async fn open_index(url: &str, purpose: &str) -> Index {
    let index = Index::new(url, purpose);
    index.create(json!({"mappings": {"dynamic": false, "properties": {"id": {"type": "keyword"}}}})).await;
    index
}

/// 1,000 changes in a table, then its stream once for every pair of batch size and parallelization.
async fn index_equals_table(view: StreamViewType, seed: u64, pairs: &[(u32, u32)]) {
    let (Some(url), Some(dynamodb)) = (services::opensearch(), services::dynamodb()) else { return };
    let table = Table::create(&dynamodb, "stream", view).await;
    write_changes(&table, seed).await;
    let expected = table.scan().await;
    assert!(expected.len() > KEYS / 2, "{}", expected.len());
    for &(batch_size, parallelization_factor) in pairs {
        let index = open_index(&url, "stream").await;
        let Some(sync) = dynamodb_sync(&target(&url)) else { return };
        let function = sync.into(index.name()).start();
        let settings = MappingSettings {
            batch_size,
            parallelization_factor,
            report_batch_item_failures: true,
            ..MappingSettings::default()
        };
        let summary = drain(&table, settings, &function).await;
        assert!(summary.records > 900, "{summary:?}");
        assert_eq!((summary.retried, summary.discarded), (0, 0), "{batch_size} {parallelization_factor}");
        let found = index.fields().await;
        for (id, document) in &expected {
            assert_eq!(found.get(id), Some(document), "{id}, batches of {batch_size}, {parallelization_factor} lanes");
        }
        assert_eq!(found.len(), expected.len(), "documents of removed items");
    }
}

#[tokio::test]
async fn the_index_equals_the_table_with_old_and_new_images() {
    index_equals_table(StreamViewType::NewAndOldImages, 1, &[(1, 4), (7, 1), (100, 1), (100, 4)]).await;
}

#[tokio::test]
async fn the_index_equals_the_table_with_new_images_alone() {
    index_equals_table(StreamViewType::NewImage, 2, &[(1, 1), (7, 4), (100, 1)]).await;
}

/// Items whose `age` is sometimes a text, which the index refuses. Returns what must be in the index at the end, and the
/// keys whose newest change is refused.
async fn write_poison(table: &Table) -> (BTreeMap<String, Exact>, BTreeSet<String>) {
    let mut random = Rng::with_seed(3);
    let (mut expected, mut poisoned) = (BTreeMap::new(), BTreeSet::new());
    for n in 0..300 {
        let id = format!("key {}", random.usize(..40));
        match random.u8(..8) {
            0 => {
                table.put(&id, [("age".to_owned(), AttributeValue::S(format!("text {n}")))].into()).await;
                poisoned.insert(id);
            }
            1 => {
                table.delete(&id).await;
                // A delete of what is not there is no change, and after poison there always is something.
                if expected.remove(&id).is_some() || poisoned.contains(&id) {
                    poisoned.remove(&id);
                }
            }
            _ => {
                let mut item = Attributes::from([("age".to_owned(), AttributeValue::N(n.to_string()))]);
                table.put(&id, item.clone()).await;
                item.insert("id".to_owned(), AttributeValue::S(id.clone()));
                poisoned.remove(&id);
                expected.insert(id, document(&item));
            }
        }
    }
    assert!(poisoned.len() >= 3, "{poisoned:?}");
    (expected, poisoned)
}

#[tokio::test]
async fn poison_never_harms_another_record() {
    let (Some(url), Some(dynamodb)) = (services::opensearch(), services::dynamodb()) else { return };
    let table = Table::create(&dynamodb, "poison", StreamViewType::NewAndOldImages).await;
    let (expected, poisoned) = write_poison(&table).await;
    for (batch_size, parallelization_factor, with_queue) in
        [(100, 1, true), (7, 4, true), (100, 1, false), (7, 4, false)]
    {
        let (index, folder) = (Index::new(&url, "poison"), Folder::new());
        let mapping = json!({"properties": {"id": {"type": "keyword"}, "age": {"type": "long"}}});
        index.create(json!({ "mappings": mapping })).await;
        let Some(sync) = dynamodb_sync(&target(&url)) else { return };
        let path = folder.path("letters");
        let queue = if with_queue { format!("file:{path}") } else { String::new() };
        let function = sync.into(index.name()).with("TIDELOCK_DEAD_LETTERS", &queue).start();
        let settings = MappingSettings {
            batch_size,
            parallelization_factor,
            maximum_retry_attempts: if with_queue { -1 } else { 1 },
            bisect_on_error: true,
            report_batch_item_failures: true,
            ..MappingSettings::default()
        };
        let summary = drain(&table, settings, &function).await;
        assert_eq!(
            index.fields().await,
            expected,
            "batches of {batch_size}, {parallelization_factor} lanes, {with_queue}"
        );
        let parked: BTreeSet<String> = letters(&path)
            .iter()
            .map(|letter| {
                assert_eq!(letter["reason"], "mapping_conflict");
                assert!(letter["record"]["dynamodb"]["NewImage"]["age"]["S"].is_string(), "{letter}");
                letter["key"]["id"]["S"].as_str().unwrap().to_owned()
            })
            .collect();
        if with_queue {
            assert!(parked.is_superset(&poisoned), "{parked:?}");
            assert_eq!((summary.retried, summary.discarded), (0, 0), "{summary:?}");
        } else {
            // Without a queue the mapping gives up what is left of the batch; the function has written it all the same.
            assert!(summary.discarded >= poisoned.len() as u64, "{}", summary.discarded);
        }
    }
}
