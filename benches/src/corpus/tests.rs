use super::*;
use serde_json::Value;

fn parsed(corpus: &Corpus) -> Vec<Value> {
    corpus.records.iter().map(|record| serde_json::from_str(record).expect("a record is JSON")).collect()
}

fn share(records: &[Value], test: impl Fn(&Value) -> bool) -> f64 {
    records.iter().filter(|record| test(record)).count() as f64 / records.len() as f64
}

fn key(record: &Value) -> &str {
    record["dynamodb"]["Keys"]["pk"]["S"].as_str().expect("a key is a string")
}

fn plain(value: &Value) -> Value {
    let (tag, inner) = value.as_object().and_then(|object| object.iter().next()).expect("a tagged value");
    match tag.as_str() {
        "N" => serde_json::from_str(inner.as_str().expect("a number is text")).expect("a number"),
        "NS" => {
            inner.as_array().expect("a set").iter().map(|number| plain(&serde_json::json!({"N": number}))).collect()
        }
        "L" => inner.as_array().expect("a list").iter().map(plain).collect(),
        "M" => document(inner),
        "NULL" => Value::Null,
        _ => inner.clone(),
    }
}

fn document(image: &Value) -> Value {
    let members = image.as_object().expect("a map").iter();
    members.map(|(name, value)| (name.clone(), plain(value))).collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let shape = Shape { records: 300, ..Shape::default() };
    let [first, again] = [&shape, &shape].map(|shape| Corpus::generate(shape).events(Batch::Records(100)));
    assert_eq!(first.len(), 3);
    for (one, other) in first.iter().zip(&again) {
        assert_eq!(one.body, other.body);
    }
    let other = Corpus::generate(&Shape { seed: 2, ..shape }).events(Batch::Records(100));
    assert_ne!(first[0].body, other[0].body);
}

#[test]
fn kinds_come_in_the_promised_shares_with_and_without_hot_keys() {
    for hot_share in [0.0, 0.2] {
        let records = parsed(&Corpus::generate(&Shape { hot_share, ..Shape::default() }));
        for (name, wanted) in [("INSERT", 0.5), ("MODIFY", 0.4), ("REMOVE", 0.1)] {
            let found = share(&records, |record| record["eventName"] == name);
            assert!((found - wanted).abs() < 0.02, "{name} at {hot_share}: {found}");
        }
        let hot = share(&records, |record| key(record).starts_with("hot-"));
        assert!((hot - hot_share).abs() < 0.01, "{hot}");
    }
}

#[test]
fn deletes_follow_the_asked_share() {
    let records = parsed(&Corpus::generate(&Shape { delete_share: 0.3, hot_share: 0.2, ..Shape::default() }));
    let found = share(&records, |record| record["eventName"] == "REMOVE");
    assert!((found - 0.3).abs() < 0.02, "{found}");
}

#[test]
fn records_have_the_published_size() {
    let corpus = Corpus::generate(&Shape::default());
    let event = corpus.records.iter().map(|record| record.len() + 1).sum::<usize>() / corpus.records.len();
    assert!((1_520..=1_600).contains(&event), "{event} B of event a record");
    let documents = parsed(&corpus);
    let bytes = documents
        .iter()
        .filter_map(|record| record["dynamodb"].get("NewImage"))
        .map(|image| document(image).to_string().len())
        .sum::<usize>();
    let plain = bytes / corpus.records.len();
    assert!((880..=980).contains(&plain), "{plain} B of plain document a record");
}

#[test]
fn text_is_largely_not_ascii_and_rarely_escaped() {
    let corpus = Corpus::generate(&Shape { records: 2_000, ..Shape::default() });
    let all = corpus.records.concat();
    let bytes = all.len() as f64;
    let beyond = all.bytes().filter(|byte| !byte.is_ascii()).count() as f64 / bytes;
    assert!((0.15..0.5).contains(&beyond), "{beyond}");
    let escapes = all.bytes().filter(|byte| *byte == b'\\').count() as f64 / corpus.records.len() as f64;
    assert!(escapes > 0.0 && escapes < 0.1, "{escapes} escapes a record");
}

#[test]
fn members_come_in_the_order_of_lambda() {
    let corpus = Corpus::generate(&Shape { records: 5, ..Shape::default() });
    let order = [
        "eventID",
        "eventName",
        "eventVersion",
        "eventSource",
        "awsRegion",
        "dynamodb",
        "ApproximateCreationDateTime",
        "Keys",
        "NewImage",
        "SequenceNumber",
        "SizeBytes",
        "StreamViewType",
        "eventSourceARN",
    ];
    let record = &corpus.records[0];
    let positions = order.map(|name| record.find(&format!("\"{name}\":")).expect(name));
    assert!(positions.is_sorted(), "{record}");
}

#[test]
fn a_change_fits_what_happened_to_its_key_before() {
    let corpus = Corpus::generate(&Shape { hot_share: 0.2, ..Shape::default() });
    let mut live = std::collections::HashSet::new();
    for record in parsed(&corpus) {
        let key = key(&record).to_owned();
        match record["eventName"].as_str().expect("a name") {
            "INSERT" => assert!(live.insert(key)),
            "MODIFY" => assert!(live.contains(&key)),
            _ => assert!(live.remove(&key)),
        }
    }
    assert_eq!(live.len(), corpus.live_keys());
}

#[test]
fn sequence_numbers_rise_by_the_asked_step() {
    for (step, allowed) in
        [(Step::One, vec![1]), (Step::Wide, vec![10u128.pow(20)]), (Step::Mixed, vec![1, 10u128.pow(20)])]
    {
        let records = parsed(&Corpus::generate(&Shape { step, records: 200, ..Shape::default() }));
        let numbers = records
            .iter()
            .map(|record| record["dynamodb"]["SequenceNumber"].as_str().expect("text").parse().expect("a number"))
            .collect::<Vec<u128>>();
        let mut steps = numbers.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>();
        steps.sort_unstable();
        steps.dedup();
        assert_eq!(steps, allowed, "{step:?}");
    }
}

#[test]
fn events_hold_whole_batches_or_fill_the_bytes() {
    let corpus = Corpus::generate(&Shape { records: 4_500, ..Shape::default() });
    assert_eq!(corpus.events(Batch::Records(1_000)).len(), 4);
    assert_eq!(
        corpus.all_events(Batch::Records(1_000)).iter().map(|event| event.records).collect::<Vec<_>>(),
        [1_000, 1_000, 1_000, 1_000, 500]
    );
    let full = corpus.events(FULL_EVENT);
    assert_eq!(full.len(), 1);
    assert!(full[0].body.len() <= 6_000_000 && full[0].body.len() > 5_990_000, "{}", full[0].body.len());
    assert!((3_750..=3_950).contains(&full[0].records), "{}", full[0].records);
}

/// The corpus of both sources, each record parsed.
fn both(shape: &Shape) -> [Vec<Value>; 2] {
    [Source::DynamoDb, Source::DocumentDb].map(|source| parsed(&Corpus::generate(&Shape { source, ..shape.clone() })))
}

#[test]
fn a_change_stream_tells_the_same_changes_of_the_same_documents() {
    let shape = Shape { hot_share: 0.2, records: 2_000, ..Shape::default() };
    let [items, changes] = both(&shape);
    let (mut ids, mut times) = (HashMap::new(), Vec::new());
    for (item, change) in items.iter().zip(&changes) {
        let event = &change["event"];
        let id = &event["documentKey"]["_id"]["$oid"];
        assert_eq!(id.as_str().map(str::len), Some(24));
        assert_eq!(ids.entry(key(item)).or_insert(id), &id, "a key has one id");
        let time = &event["clusterTime"]["$timestamp"];
        times.push((time["t"].as_u64(), time["i"].as_u64()));
        assert_eq!(event["ns"]["coll"], "bench");
        let operation = match item["eventName"].as_str() {
            Some("INSERT") => "insert",
            Some("MODIFY") => "update",
            _ => "delete",
        };
        assert_eq!(event["operationType"], operation);
        let mut expected = item["dynamodb"].get("NewImage").map(document);
        if let Some(expected) = &mut expected {
            expected["_id"] = event["documentKey"]["_id"].clone();
        }
        assert_eq!(event.get("fullDocument"), expected.as_ref());
    }
    assert_eq!(ids.values().collect::<std::collections::HashSet<_>>().len(), ids.len(), "an id has one key");
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "cluster times rise");
}

#[test]
fn an_event_of_a_change_stream_is_whole_and_fills_its_bytes() {
    let corpus = Corpus::generate(&Shape { source: Source::DocumentDb, records: 5_200, ..Shape::default() });
    let full = corpus.events(FULL_EVENT);
    assert!(full[0].body.len() <= 6_000_000 && full[0].body.len() > 5_990_000, "{}", full[0].body.len());
    let event: Value = serde_json::from_slice(&full[0].body).expect("JSON");
    assert_eq!(event["eventSource"], "aws:docdb");
    assert_eq!(event["events"].as_array().map(Vec::len), Some(full[0].records));
    let bytes = full[0].body.len() / full[0].records;
    assert!((1_210..=1_270).contains(&bytes), "{bytes} B of event a change");
}

#[test]
fn one_record_in_a_hundred_is_poisoned_and_its_key_is_written_by_no_other() {
    for source in [Source::DynamoDb, Source::DocumentDb] {
        let shape = Shape { source, hot_share: 0.2, records: 5_000, ..Shape::default() };
        let (clean, poisoned) = (Corpus::generate(&shape), Corpus::generate(&shape).poison(100));
        let differing = (0..clean.records.len()).filter(|at| clean.records[*at] != poisoned.records[*at]);
        let differing = differing.collect::<Vec<_>>();
        assert_eq!((differing.len(), poisoned.poisoned_records()), (50, 50), "{source:?}");
        assert_eq!(poisoned.live_keys() + 50, clean.live_keys());
        for at in differing {
            let record: Value = serde_json::from_str(&poisoned.records[at]).expect("a record is JSON");
            let stock = match source {
                Source::DynamoDb => &record["dynamodb"]["NewImage"]["stock"]["S"],
                Source::DocumentDb => &record["event"]["fullDocument"]["stock"],
            };
            assert_eq!(stock, "sold out");
            assert_eq!(poisoned.keys.iter().filter(|key| **key == poisoned.keys[at]).count(), 1);
        }
        assert_eq!(clean.poisoned_records(), 0);
    }
}
