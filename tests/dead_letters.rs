//! Dead letters in a queue: what they hold, and that no record is acknowledged before its letter is stored.

use crate::support::event::{AT, Stream, apart, event, named, sample};
use crate::support::function::{Sync, dynamodb_sync, target};
use crate::support::index::Index;
use crate::support::proxy::{Fault, Proxy, Seen};
use crate::support::queue::{Message, Queue, letters};
use crate::support::{Folder, services};
use base64::Engine as _;
use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A function that writes to an index of its own.
fn sync_and_index(purpose: &str) -> Option<(Sync, Index)> {
    let url = services::opensearch()?;
    let index = Index::new(&url, purpose);
    Some((dynamodb_sync(&target(&url))?.into(index.name()), index))
}

/// A good record, poison, and a good record again.
fn three() -> Bytes {
    let stream = Stream::of("mytable");
    event(&[
        stream.upsert(&apart(1), "1", "one"),
        stream.poison(&apart(2), "2"),
        stream.upsert(&apart(3), "3", "three"),
    ])
}

async fn assert_neighbours(index: &Index) {
    assert_eq!(index.fields().await.into_values().collect::<Vec<_>>(), [named(1, "one"), named(3, "three")]);
}

#[tokio::test]
async fn a_letter_holds_all_that_is_needed_to_apply_the_record_later() {
    let Some(queue) = Queue::create("form").await else { return };
    let Some((sync, index)) = sync_and_index("form") else { return };
    let function = sync.with("TIDELOCK_DEAD_LETTERS", &queue.url).with("AWS_ENDPOINT_URL_SQS", &queue.service).start();
    function.succeed(sample("mapping-conflict")).await;
    let messages = queue.take().await;
    let [Message { letter, attributes }] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!(*attributes, ("mapping_conflict".to_owned(), "mytable".to_owned()));
    let record = serde_json::from_slice::<Value>(&sample("mapping-conflict")).unwrap()["Records"][1].clone();
    let mut letter = letter.clone();
    // What differs from run to run, or between versions of OpenSearch.
    let mut taken = |name: &str| letter.as_object_mut().unwrap().remove(name).unwrap().as_str().unwrap().to_owned();
    let (id, detail, at) = (taken("letter_id"), taken("detail"), taken("first_failed_at"));
    assert_eq!((id.len(), at.len()), (32, 24), "{id} {at}");
    assert!(at.ends_with('Z') && at.starts_with("20"), "{at}");
    assert!(detail.contains("age"), "{detail}");
    assert_eq!(
        letter,
        json!({
            "tidelock": 1, "reason": "mapping_conflict", "action": "correct the mapping or the item, then redrive",
            "function": "dynamodb-sync",
            "source": {
                "kind": "dynamodb", "name": "mytable", "position": "448217923424814985577970980",
                "stream": "arn:aws:dynamodb:us-east-1:123456789012:table/mytable/stream/2020-04-29T13:00:00.000",
            },
            "key": {"id": {"N": "61"}},
            "version": {
                "space": "dynamodb:us-east-1:123456789012:mytable", "label": "2020-04-29T13:00:00.000",
                "exact": "0000000000000448217923424814985577970980", "at": 1_588_167_099_000_i64,
            },
            "op": "upsert", "record": record, "attempts": 1, "target": {"index": index.name(), "id": "61"},
        })
    );
    // The same record again: the same letter, so that whoever reads both can tell.
    function.succeed(sample("mapping-conflict")).await;
    assert_eq!(queue.take().await[0].letter["letter_id"], id);
}

#[tokio::test]
async fn records_that_cannot_even_be_read_get_letters_with_their_text() {
    let Some(queue) = Queue::create("unreadable").await else { return };
    let Some((sync, _index)) = sync_and_index("unreadable") else { return };
    let function = sync.with("TIDELOCK_DEAD_LETTERS", &queue.url).with("AWS_ENDPOINT_URL_SQS", &queue.service).start();
    let stream = Stream::of("mytable");
    let mut no_arn = stream.upsert(&apart(3), "3", "x");
    no_arn.as_object_mut().unwrap().remove("eventSourceARN");
    let mut no_keys = stream.upsert(&apart(4), "4", "x");
    no_keys["dynamodb"].as_object_mut().unwrap().remove("Keys");
    let records = [stream.upsert(&apart(1), "1", "one"), json!("no record"), no_arn, no_keys];
    function.succeed(event(&records)).await;
    let found = queue.take().await;
    let mut seen: Vec<(String, String, Value)> = found
        .iter()
        .map(|message| (message.attributes.0.clone(), message.attributes.1.clone(), message.letter["record"].clone()))
        .collect();
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        ("invalid_source", "unknown", &records[2]),
        ("malformed_record", "unknown", &records[1]),
        ("missing_key", "mytable", &records[3]),
    ];
    assert_eq!(seen, expected.map(|(reason, source, record)| (reason.to_owned(), source.to_owned(), record.clone())));
}

#[tokio::test]
async fn a_record_that_is_no_text_is_kept_byte_for_byte() {
    let Some((sync, index)) = sync_and_index("bytes") else { return };
    let folder = Folder::new();
    let path = folder.path("letters");
    let function = sync.with("TIDELOCK_DEAD_LETTERS", &format!("file:{path}")).start();
    let stream = Stream::of("mytable");
    let records = [
        stream.upsert(&apart(1), "1", "one"),
        stream.upsert(&apart(2), "2", "?"),
        stream.upsert(&apart(3), "3", "three"),
    ];
    let bytes: Vec<u8> = event(&records).iter().map(|&byte| if byte == b'?' { 0xff } else { byte }).collect();
    function.succeed(bytes).await;
    assert_neighbours(&index).await;
    let letters = letters(&path);
    assert_eq!((letters.len(), &letters[0]["reason"]), (1, &json!("malformed_record")), "{letters:?}");
    let kept =
        base64::engine::general_purpose::STANDARD.decode(letters[0]["record"]["base64"].as_str().unwrap()).unwrap();
    let restored: Vec<u8> = kept.into_iter().map(|byte| if byte == 0xff { b'?' } else { byte }).collect();
    assert_eq!(serde_json::from_slice::<Value>(&restored).unwrap(), records[1]);
}

#[tokio::test]
async fn more_letters_than_one_request_takes() {
    let Some(queue) = Queue::create("many").await else { return };
    let Some((sync, index)) = sync_and_index("many") else { return };
    let function = sync.with("TIDELOCK_DEAD_LETTERS", &queue.url).with("AWS_ENDPOINT_URL_SQS", &queue.service).start();
    let stream = Stream::of("mytable");
    // Large ones among them, because a request has a limit of bytes as well: 1 MiB.
    let large = "x".repeat(300_000);
    let records: Vec<Value> = (0..50)
        .map(|n| match (n % 2, n % 10) {
            (0, _) => stream.upsert(&apart(n), &n.to_string(), "good"),
            (_, 1) => stream.item(&apart(n), &n.to_string(), AT, &json!({"broken": {"X": "1"}, "text": {"S": large}})),
            _ => stream.poison(&apart(n), &n.to_string()),
        })
        .collect();
    function.succeed(event(&records)).await;
    let found = queue.take().await;
    let positions: BTreeSet<String> =
        found.iter().map(|message| message.letter["source"]["position"].as_str().unwrap().to_owned()).collect();
    assert_eq!((found.len(), positions), (25, (0..50).filter(|n| n % 2 == 1).map(apart).collect()));
    assert_eq!(index.fields().await.len(), 25);
    assert_eq!(function.metrics().await["Parked"], 25);
}

#[tokio::test]
async fn without_the_queue_the_record_is_reported_and_its_neighbours_are_written() {
    let Some(queue) = Queue::create("missing").await else { return };
    let Some((sync, index)) = sync_and_index("missing") else { return };
    let absent = format!("{}-absent", queue.url);
    let function = sync.with("TIDELOCK_DEAD_LETTERS", &absent).with("AWS_ENDPOINT_URL_SQS", &queue.service).start();
    assert_eq!(function.answer(three()).await, Some(apart(2)));
    assert_neighbours(&index).await;
    let metrics = function.metrics().await;
    assert_eq!((&metrics["Parked"], &metrics["Retry"]), (&json!(0), &json!(1)));
    let problem = metrics["Failures"].to_string();
    assert!(problem.contains("not_parked") && problem.contains("QueueDoesNotExist"), "{problem}");
}

#[tokio::test]
async fn letters_are_stored_although_the_target_is_silent_to_the_last_moment() {
    let Some(url) = services::opensearch() else { return };
    let Some(queue) = Queue::create("last").await else { return };
    let index = Index::prepared(&url, "last").await;
    let script = |seen: &Seen| if seen.bulk > 0 { Fault::Hold(Duration::from_secs(600)) } else { Fault::None };
    let proxy = Proxy::before(&url, script).await;
    let Some(sync) = dynamodb_sync(&target(&proxy.url)) else { return };
    let sync =
        sync.into(index.name()).with("TIDELOCK_DEAD_LETTERS", &queue.url).with("AWS_ENDPOINT_URL_SQS", &queue.service);
    let function = sync.timeout(Duration::from_secs(3)).start();
    let stream = Stream::of("mytable");
    let records = [stream.poison(&apart(1), "1"), stream.upsert(&apart(2), "2", "two"), stream.poison(&apart(3), "3")];
    assert_eq!(function.answer(event(&records)).await, Some(apart(2)));
    assert_eq!(queue.take().await.len(), 1);
}

/// A queue's answer to the letters of a request, by their positions in it.
fn answer(seen: &Seen, refused: impl Fn(&str) -> bool) -> Fault {
    let request: Value = serde_json::from_slice(&seen.body).unwrap();
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in request["Entries"].as_array().unwrap() {
        if refused(entry["MessageBody"].as_str().unwrap()) {
            failed.push(
                json!({"Id": entry["Id"], "Code": "InternalError", "SenderFault": false, "Message": "try again"}),
            );
        } else {
            successful.push(json!({"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": ""}));
        }
    }
    Fault::Answer(200, json!({"Successful": successful, "Failed": failed}).to_string())
}

fn to_stub(sync: Sync, queue: &Proxy) -> Sync {
    let url = format!("{}/123456789012/letters", queue.url);
    sync.with("TIDELOCK_DEAD_LETTERS", &url).with("AWS_ENDPOINT_URL_SQS", &queue.url)
}

#[tokio::test]
async fn a_letter_the_queue_refuses_keeps_its_record_coming() {
    let Some((sync, index)) = sync_and_index("refused") else { return };
    let queue = Proxy::alone(|seen| answer(seen, |body| body.contains(&apart(14)) || body.contains(&apart(7)))).await;
    let function = to_stub(sync, &queue).start();
    let stream = Stream::of("mytable");
    let mut records: Vec<Value> = (1..20).map(|n| stream.poison(&apart(n), &n.to_string())).collect();
    records.push(stream.upsert(&apart(20), "20", "good"));
    assert_eq!(function.answer(event(&records)).await, Some(apart(7)));
    let metrics = function.metrics().await;
    assert_eq!((&metrics["Parked"], &metrics["Retry"]), (&json!(17), &json!(2)), "{metrics}");
    assert_eq!(index.get("20").await.unwrap().fields, named(20, "good"));
}

#[tokio::test]
async fn a_queue_that_fails_or_is_silent_keeps_the_record_coming() {
    let faults = [
        ("error", Fault::Answer(500, "{}".into())),
        (
            "denied",
            Fault::Answer(
                403,
                json!({"__type": "AccessDeniedException", "message": "not allowed to sqs:SendMessage"}).to_string(),
            ),
        ),
        ("empty", Fault::Answer(200, "{}".into())),
        ("cut", Fault::CutBefore),
        ("silent", Fault::Hold(Duration::from_secs(600))),
    ];
    join_all(faults.into_iter().map(async |(name, fault)| {
        let Some((sync, index)) = sync_and_index("failing") else { return };
        let queue = Proxy::alone(move |_| fault.clone()).await;
        let timeout = Duration::from_secs(4);
        let function = to_stub(sync, &queue).timeout(timeout).start();
        let started = Instant::now();
        assert_eq!(function.answer(three()).await, Some(apart(2)), "{name}");
        assert!(started.elapsed() < timeout, "{name} {:?}", started.elapsed());
        assert!(!queue.seen().is_empty(), "{name}: never asked");
        assert_neighbours(&index).await;
        let metrics = function.metrics().await;
        assert_eq!((&metrics["Parked"], &metrics["Retry"]), (&json!(0), &json!(1)), "{name} {metrics}");
        function.logged(&["not_parked"]).await;
    }))
    .await;
}

#[tokio::test]
async fn no_record_is_acknowledged_before_its_letter_is_stored() {
    let Some(real) = Queue::create("before").await else { return };
    let Some((sync, _index)) = sync_and_index("before") else { return };
    let queue = Proxy::before(&real.service, |_| Fault::Hold(Duration::from_millis(400))).await;
    let function = sync.with("TIDELOCK_DEAD_LETTERS", &real.url).with("AWS_ENDPOINT_URL_SQS", &queue.url).start();
    function.succeed(three()).await;
    let acknowledged = Instant::now();
    let answered = queue.answered();
    assert_eq!(answered.len(), 1);
    assert!(answered[0] < acknowledged);
    assert_eq!(real.take().await.len(), 1, "stored by the time of the answer");
}

#[tokio::test]
async fn letters_in_a_file_are_lines_of_json_whatever_the_records_look_like() {
    let Some((sync, index)) = sync_and_index("file") else { return };
    let folder = Folder::new();
    let path = folder.path("letters");
    let function = sync.with("TIDELOCK_DEAD_LETTERS", &format!("file:{path}")).start();
    let stream = Stream::of("mytable");
    // Records as people write them, with line breaks.
    let pretty =
        format!("{:#}", json!({"Records": [stream.upsert(&apart(1), "1", "one"), stream.poison(&apart(2), "2")]}));
    function.succeed(pretty.into_bytes()).await;
    function.succeed(event(&[stream.poison(&apart(3), "3"), stream.upsert(&apart(4), "3", "three")])).await;
    let letters = letters(&path);
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[0]["record"], stream.poison(&apart(2), "2"));
    assert_eq!(index.fields().await.len(), 2);
    // A file that cannot be written is a queue that fails.
    let Some((sync, index)) = sync_and_index("unwritable") else { return };
    let function = sync.with("TIDELOCK_DEAD_LETTERS", &format!("file:{}", folder.path("absent/letters"))).start();
    assert_eq!(function.answer(three()).await, Some(apart(2)));
    assert_neighbours(&index).await;
}
