//! Changes of one cluster time: in a stream the later delivered one is the newer, in a queue nobody knows.

use super::{Delivery, Fate, Plan};
use crate::cause::Cause;
use crate::encode::Format;
use crate::pipeline::Pipeline;
use crate::source::documentdb::READER;
use crate::target::Write;
use serde_json::json;

#[test]
fn only_the_source_tells_which_of_them_is_the_newer_one_where_there_is_no_order() {
    let change = |operation: &str, token: &str| {
        json!({"event": {
            "_id": {"_data": token}, "clusterTime": {"$timestamp": {"t": 1_588_166_728, "i": 1}}, "documentKey": {"_id": 1},
            "ns": {"db": "d", "coll": "c"}, "operationType": operation, "fullDocument": {"_id": 1, "n": 1},
        }})
    };
    let arn = "arn:aws:rds:us-east-1:123456789012:cluster:demo-cluster";
    let delivered = |second: &str, unordered: bool, truth: bool| {
        let events = [change("delete", "aa"), change("insert", second)];
        let payload = json!({"eventSourceArn": arn, "events": events, "eventSource": "aws:docdb"}).to_string();
        let pipeline = Pipeline::default();
        let batch = pipeline.decode(&READER, payload.as_bytes(), Format::Json).expect("an event");
        let plan = Plan::new(payload.as_bytes(), &batch, &pipeline);
        let delivery = Delivery::new(&batch, &plan, truth);
        let mut delivery = if unordered { delivery.unordered() } else { delivery };
        let round = delivery.round();
        let refused = |fate: &&Fate| matches!(fate, Fate::Failed(failure) if failure.cause == Cause::OrderConflict);
        (round.operations.len(), round.wishes.len(), delivery.fates().iter().filter(refused).count())
    };
    assert_eq!(delivered("bb", false, true), (1, 0, 0), "as it was delivered");
    assert_eq!(delivered("bb", true, true), (0, 1, 0));
    assert_eq!(delivered("bb", true, false), (0, 0, 2));
    assert_eq!(delivered("aa", true, false), (1, 0, 0), "the same change twice");
}

#[test]
fn a_document_that_leaves_in_the_transaction_it_came_in_is_taken_away_without_asking_its_source() {
    let change = |operation: &str, token: &str, hidden: bool| {
        json!({
            "_id": {"_data": token}, "clusterTime": {"$timestamp": {"t": 1_588_166_728, "i": 1}}, "documentKey": {"_id": 1},
            "ns": {"db": "d", "coll": "c"}, "operationType": operation, "fullDocument": {"_id": 1, "hidden": hidden},
        })
    };
    let events = [change("insert", "aa", false), change("replace", "bb", true)].map(|event| json!({ "event": event }));
    let arn = "arn:aws:rds:us-east-1:123456789012:cluster:demo-cluster";
    let payload = json!({"eventSourceArn": arn, "events": events, "eventSource": "aws:docdb"}).to_string();
    let pipeline =
        Pipeline::parse("version: 1\nroutes: [{from: d.c, where: .hidden | not, to: c}]").expect("a pipeline");
    let batch = pipeline.decode(&READER, payload.as_bytes(), Format::Json).expect("an event");
    let plan = Plan::new(payload.as_bytes(), &batch, &pipeline);
    let mut delivery = Delivery::new(&batch, &plan, true);
    let round = delivery.round();
    let writes = round.operations.iter().map(|operation| operation.write).collect::<Vec<_>>();
    assert!(matches!(writes[..], [Write::Delete]) && round.wishes.is_empty(), "{writes:?}, {:?}", round.wishes);
}
