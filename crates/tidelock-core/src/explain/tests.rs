use super::*;
use serde_json::{Value, json};

const ARN: &str = "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/2020-04-29T13:00:00.000";

fn record(name: &str, key: &str, number: u32, images: Value) -> Value {
    let mut change = json!({"Keys": {"id": {"S": key}}, "SequenceNumber": number.to_string()});
    for (field, image) in images.as_object().expect("images") {
        change[field] = image.clone();
    }
    json!({"eventName": name, "eventSourceARN": ARN, "dynamodb": change})
}

fn item(key: &str, kind: &str) -> Value {
    json!({"id": {"S": key}, "kind": {"S": kind}})
}

fn explained(pipeline: &str, records: &[Value]) -> Vec<Explanation<String>> {
    explained_with(pipeline, records, false)
}

fn explained_with(pipeline: &str, records: &[Value], truth: bool) -> Vec<Explanation<String>> {
    let pipeline =
        if pipeline.is_empty() { Pipeline::default() } else { Pipeline::parse(pipeline).expect("a pipeline") };
    let payload = json!({"Records": records}).to_string();
    let request = |operation: &Operation<'_>| match operation.key.text_id().as_str() {
        "long" => Err(Failure::new(Cause::InvalidId, "too long")),
        id => Ok(format!("{} {id}", operation.version.exact.trim_start_matches('0'))),
    };
    explain(payload.as_bytes(), &pipeline, Format::Json, truth, request).expect("an event")
}

fn acts(told: &Explanation<String>) -> Vec<String> {
    let acts = told.acts.iter().map(|act| {
        let does = if act.leaves { "leaves" } else { "enters" };
        let becomes = match &act.becomes {
            Becomes::Sent { request, stands_for, .. } => format!("sent {request} for {stands_for:?}"),
            Becomes::Read { stands_for } => format!("read for {stands_for:?}"),
            Becomes::StoodFor(record) => format!("stood for by {record}"),
            Becomes::Refused(failure) => failure.cause.code().to_owned(),
        };
        format!("{does} {}: {becomes}", act.place.name)
    });
    acts.collect()
}

#[test]
fn the_newest_change_of_a_key_stands_for_the_others() {
    let records = [
        record("INSERT", "a", 1, json!({"NewImage": item("a", "x")})),
        record("MODIFY", "a", 2, json!({"NewImage": item("a", "y")})),
        record("MODIFY", "a", 3, json!({"NewImage": {"id": {"S": "a"}, "n": {"Q": "1"}}})),
        record("REMOVE", "b", 4, json!({})),
    ];
    let told = explained("", &records);
    assert_eq!(told.iter().map(|told| told.record).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(acts(&told[0]), ["enters t: stood for by 1"]);
    assert_eq!(acts(&told[1]), ["enters t: sent 2 a for [0]"]);
    assert_eq!(acts(&told[2]), ["enters t: unknown_type"]);
    assert!(matches!(&told[2].outlook, Outlook::Parked(failure) if failure.cause == Cause::UnknownType));
    assert!(matches!(&told[3].acts[0].becomes, Becomes::Sent { deletes: true, .. }));
    assert_eq!(told[3].event.as_deref(), Some("REMOVE"));
    assert_eq!(told[0].key.as_deref(), Some(r#"{"id":{"S":"a"}}"#));
}

#[test]
fn what_the_target_refuses_lets_the_change_before_it_pass() {
    let text = "{version: 1, routes: [{from: t, id: '{id}', transform: [{drop: [kind]}]}]}";
    let records = [
        record("INSERT", "long", 1, json!({"NewImage": item("long", "x")})),
        record("MODIFY", "long", 2, json!({"NewImage": item("long", "y")})),
    ];
    let told = explained(text, &records);
    assert_eq!([acts(&told[0]), acts(&told[1])], [["enters t: invalid_id"], ["enters t: invalid_id"]]);
    assert!(told.iter().all(|told| matches!(told.outlook, Outlook::Parked(_))));
    assert_eq!(told[0].steps[0].changes[0].path, "kind");
}

#[test]
fn moves_further_routes_and_what_is_left_out() {
    let text = "
version: 1
routes:
  - {name: kept, from: t, where: .kind == \"kept\", to: 'kept-{kind}', also: [audit]}
  - {name: held, from: t, where: .kind == \"held\", on_outage: always_hold}
  - {name: audit, to: audit, deletes: ignore}
";
    let records = [
        record("MODIFY", "a", 1, json!({"OldImage": item("a", "kept"), "NewImage": item("a", "gone")})),
        record("INSERT", "b", 2, json!({"NewImage": item("b", "kept")})),
        record("INSERT", "c", 3, json!({"NewImage": item("c", "gone")})),
        record("INSERT", "d", 4, json!({"NewImage": item("d", "held")})),
        record("REMOVE", "e", 5, json!({"OldImage": item("e", "kept")})),
    ];
    let told = explained(text, &records);
    let of = |record: usize, branch: usize| {
        told.iter().find(|told| (told.record, told.branch) == (record, branch)).expect("a record's route")
    };
    assert_eq!(acts(of(0, 0)), ["leaves kept-kept: sent 1 a for []"]);
    assert_eq!(of(0, 0).routes_before[0].said, "`from: t` matches, `where: .kind == \"kept\"` holds");
    assert_eq!(acts(of(1, 0)), ["enters kept-kept: sent 2 b for []"]);
    assert_eq!(acts(of(1, 1)), ["enters audit: sent 2 b for []"]);
    assert_eq!(of(2, 0).outlook, Outlook::Filtered("no route takes it".to_owned()));
    assert!(!told.iter().any(|told| (told.record, told.branch) == (2, 1)), "its route does not name the audit");
    assert_eq!((&of(3, 0).outlook, acts(of(3, 0))), (&Outlook::Held, vec!["enters t: sent 4 d for []".to_owned()]));
    assert_eq!(of(4, 1).outlook, Outlook::Filtered("the route ignores deletes".to_owned()));
    assert_eq!(acts(of(4, 0)), ["leaves kept-kept: sent 5 e for []"]);
}

#[test]
fn where_the_source_can_be_read_a_change_without_its_item_is_no_failure() {
    let records = [record("INSERT", "a", 1, json!({"NewImage": item("a", "x")})), record("MODIFY", "a", 2, json!({}))];
    let told = explained_with("", &records, true);
    assert_eq!([acts(&told[0]), acts(&told[1])], [["enters t: stood for by 1"], ["enters t: read for [0]"]]);
    assert!(told.iter().all(|told| told.outlook == Outlook::Written));
    let told = explained_with("", &records, false);
    assert_eq!([acts(&told[0]), acts(&told[1])], [["enters t: sent 1 a for []"], ["enters t: missing_image"]]);
}

#[test]
fn every_sample_event_is_explained_as_it_would_be_delivered() {
    use std::collections::BTreeSet;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/dynamodb");
    let text = "
version: 1
routes:
  - {from: mytable, where: .Name != null, to: 'names-{id}', also: [audit]}
  - {from: '*'}
  - {name: audit, to: audit}
";
    for pipeline in [Pipeline::default(), Pipeline::parse(text).expect("a pipeline")] {
        for entry in std::fs::read_dir(&folder).expect("events") {
            let path = entry.expect("an event").path();
            let payload = std::fs::read(&path).expect("an event");
            let name = |operation: &Operation<'_>| {
                let write = if operation.write == Write::Delete { "delete" } else { "upsert" };
                format!("{write} {} {} {}", operation.into.name, operation.key.text_id(), operation.version.exact)
            };
            let told = explain(&payload, &pipeline, Format::Json, false, |operation| Ok(name(operation)));
            let Ok(batch) = pipeline.decode(&crate::source::dynamodb::READER, &payload, Format::Json) else {
                assert!(told.is_err());
                continue;
            };
            let told = told.expect("an event");
            let shown = told.iter().flat_map(|told| &told.acts).filter_map(|act| match &act.becomes {
                Becomes::Sent { request, .. } => Some(request.clone()),
                _ => None,
            });
            let plan = Plan::new(&payload, &batch, &pipeline);
            let mut delivery = Delivery::new(&batch, &plan, false);
            let mut sent = BTreeSet::new();
            loop {
                let Round { groups, operations, .. } = delivery.round();
                if operations.is_empty() {
                    break;
                }
                sent.extend(operations.iter().map(name));
                groups.into_iter().for_each(|group| delivery.settle(group, &Ok(Done::Applied)));
            }
            assert_eq!(shown.collect::<BTreeSet<_>>(), sent, "{}", path.display());
            let parked = |fate: &&Fate| matches!(fate, Fate::Failed(_));
            let shown = told.iter().filter(|told| matches!(told.outlook, Outlook::Parked(_) | Outlook::Retried(_)));
            assert_eq!(shown.count(), delivery.fates().iter().filter(parked).count(), "{}", path.display());
        }
    }
}

#[test]
fn where_it_was_is_kept_in_the_state() {
    let records = [
        record("MODIFY", "a", 1, json!({"NewImage": item("a", "x")})),
        record("REMOVE", "b", 2, json!({})),
        record("MODIFY", "c", 3, json!({"NewImage": item("c", "y"), "OldImage": item("c", "x")})),
    ];
    let routes = |locate: &str| format!("{{version: 1, routes: [{{from: t, to: 't-{{kind}}', locate: {locate}}}]}}");
    let told = explained(&routes("state"), &records);
    assert!(told.iter().all(|told| told.recalls));
    assert_eq!(acts(&told[0]), ["enters t-x: sent 1 a for []"]);
    assert!(matches!(&told[1].outlook, Outlook::Filtered(why) if why.contains("the state remembers")), "{told:?}");
    assert_eq!(acts(&told[2]), ["enters t-y: sent 3 c for []", "leaves t-x: sent 3 c for []"]);
    let told = explained(&routes("image"), &records);
    assert!(told.iter().all(|told| !told.recalls));
    assert!(matches!(&told[0].outlook, Outlook::Parked(failure) if failure.cause == Cause::MissingOldImage));
}
