//! Documents that were there before, and changes that only the source can complete.

use super::history::{History, Shape, Step};
use super::stage::{Mapping, Stage};
use crate::support::proxy::{Fault, Proxy};
use crate::support::services;
use crate::support::table::{Table, attributes};
use aws_sdk_dynamodb::types::StreamViewType;
use serde_json::{Value, json};
use std::time::Duration;
use tidelock_local::mapping::{LocalMapping, MappingSettings, Pace};

/// OpenSearch's own number of a document, higher than every version: who trusts it alone never writes.
const HIGH: i64 = i64::MAX - 1_000_000;

/// Stores a document of each kind of stranger under some of these ids.
async fn plant(stage: &Stage, history: &History) {
    let stranger = |mark: Value| json!({"old": true, "_tidelock": mark});
    let kinds = [
        json!({"old": true}),
        stranger(json!("damaged")),
        stranger(Value::Null),
        stranger(json!({"exact": "9"})),
        stranger(json!({"space": "kafka:orders:0", "label": "", "exact": "9".repeat(20), "at": 1})),
        stranger(json!({"space": history.stream.space(), "label": history.stream.label, "exact": 9, "at": 1})),
    ];
    for (number, id) in history.ids().into_iter().enumerate() {
        let version = [None, Some(5), Some(HIGH)][number % 3];
        stage.plant(&id, version, kinds[number / 3 % kinds.len()].clone()).await;
    }
}

/// Without a source to ask, the live change wins.
pub(crate) async fn taken_over(stage: &Stage) {
    let mut history = History::new("orders", Shape { seed: 41, step: Step::Huge, relabel: false });
    plant(stage, &history).await;
    assert_eq!(stage.documents().await.len(), history.ids().len());
    let sync = stage.sync().start();
    Mapping::of(&sync).follow(&mut history).await;
    stage.converged(&history.fold()).await;
}

/// A table's stream with images, or with keys alone, is followed half-way, and then from its beginning once more.
pub(crate) async fn read_again(stage: &Stage, view: StreamViewType) {
    let Some(dynamodb) = services::dynamodb() else { return };
    let table = Table::create(&dynamodb, "again", view).await;
    let history = History::new(&table.name, Shape { seed: 42, step: Step::Huge, relabel: false });
    plant(stage, &history).await;
    let source = Proxy::before(&dynamodb, |_| Fault::None).await;
    let sync = stage.sync().with("TIDELOCK_SOURCE", "dynamodb:").with("AWS_ENDPOINT_URL_DYNAMODB", &source.url).start();
    let (before, after) = history.changes.split_at(history.changes.len() / 2);
    for part in [before, after] {
        for change in part {
            match &change.item {
                Some(item) => table.put(&change.id, attributes(item)).await,
                None => table.delete(&change.id).await,
            }
        }
        let settings =
            MappingSettings { batch_size: 40, report_batch_item_failures: true, ..MappingSettings::default() };
        let mapping = LocalMapping::new(settings, table.source().await, sync.process.clone()).unwrap();
        let drained = tokio::time::timeout(Duration::from_secs(90), mapping.pace(Pace::fast()).run_until_idle()).await;
        let summary = drained.unwrap_or_else(|_| panic!("never drained:\n{}", sync.log())).unwrap();
        assert!(summary.records >= part.len() as u64, "{summary:?}");
    }
    let asked =
        source.seen().iter().filter(|seen| seen.header("x-amz-target").unwrap().contains("BatchGetItem")).count();
    assert!(asked > 0, "the source was never read");
    stage.converged(&table.scan().await).await;
}
