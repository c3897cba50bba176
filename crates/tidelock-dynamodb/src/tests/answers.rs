//! What answers say about which key.

use super::server::{Reply, Server};
use super::{LONG, answer, asked_keys, batch, document, id, read, source};
use serde_json::{Value, json};
use std::time::Instant;
use tidelock_core::cause::Cause;
use tidelock_core::encode::Format;
use tidelock_core::slow::Source as _;

#[tokio::test]
async fn the_request_is_the_services_own() {
    let server = Server::start(|_, _| answer(&[], &[])).await;
    let key = json!({"pk": {"S": "a\"b\\ü"}, "sk": {"B": "+/8="}});
    assert_eq!(read(&source(&server.url), std::slice::from_ref(&key), LONG).await, [Ok(None)]);
    let [asked] = &server.asked()[..] else { panic!("one request") };
    assert_eq!(asked.body, json!({"RequestItems": {"t": {"ConsistentRead": true, "Keys": [key]}}}));
    let lines: Vec<&str> = asked.head.lines().collect();
    assert_eq!(lines[0], "post / http/1.1");
    assert!(lines.contains(&"x-amz-target: dynamodb_20120810.batchgetitem"), "{lines:?}");
    assert!(lines.contains(&"content-type: application/x-amz-json-1.0"), "{lines:?}");
    let signed = lines.iter().find(|line| line.starts_with("authorization: aws4-hmac-sha256 ")).expect("a signature");
    assert!(signed.contains("/us-east-1/dynamodb/aws4_request, "), "{signed}");
    assert!(signed.contains(";x-amz-target, signature="), "{signed}");
}

#[tokio::test]
async fn answers_belong_to_keys_not_to_positions() {
    let server = Server::start(|_, _| answer(&[id(3), json!({"a": {"S": "x"}, "id": {"N": "1.0"}})], &[])).await;
    let found = read(&source(&server.url), &[id(1), id(2), id(3)], LONG).await;
    assert_eq!(found, [Ok(Some(r#"{"a":"x","id":1.0}"#.to_owned())), Ok(None), document(3)]);
}

#[tokio::test]
async fn a_key_is_asked_for_once() {
    let server = Server::start(|_, _| answer(&[id(7)], &[])).await;
    let keys = [id(7), id(8), json!({"id": {"N": "7.0"}}), id(8)];
    let found = read(&source(&server.url), &keys, LONG).await;
    assert_eq!(found, [document(7), Ok(None), document(7), Ok(None)]);
    let [asked] = &server.asked()[..] else { panic!("one request") };
    assert_eq!(asked_keys(&asked.body), [id(7), id(8)]);
}

#[tokio::test]
async fn nothing_is_asked_about_nothing() {
    let server = Server::start(|_, _| Reply::Cut).await;
    assert_eq!(read(&source(&server.url), &[], LONG).await, []);
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn requests_have_a_hundred_keys_at_most() {
    let even = |key: &&Value| key["id"]["N"].as_str().expect("a number").parse::<usize>().expect("digits") % 2 == 0;
    let server = Server::start(move |_, body| {
        let keys = asked_keys(body);
        answer(&keys.iter().filter(even).cloned().collect::<Vec<_>>(), &[])
    })
    .await;
    let keys: Vec<Value> = (0..950).map(id).collect();
    let found = read(&source(&server.url), &keys, LONG).await;
    for (number, found) in found.into_iter().enumerate() {
        assert_eq!(found, if number % 2 == 0 { document(number) } else { Ok(None) });
    }
    let mut sizes: Vec<usize> = server.asked().iter().map(|asked| asked_keys(&asked.body).len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [&[50][..], &[100; 9]].concat());
}

#[tokio::test]
async fn keys_of_two_shapes_do_not_meet_in_a_request() {
    let old = json!({"id": {"S": "1"}});
    let server = Server::start({
        let old = old.clone();
        move |_, body| {
            let keys = asked_keys(body);
            if keys.contains(&old) { super::refusal(400, "ValidationException") } else { answer(&keys, &[]) }
        }
    })
    .await;
    let found = read(&source(&server.url), &[id(1), old, id(2)], LONG).await;
    assert_eq!((&found[0], &found[2]), (&document(1), &document(2)));
    assert_eq!(found[1].as_ref().expect_err("refused").cause, Cause::SourceUnreadable);
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn unprocessed_keys_are_asked_for_again() {
    let server = Server::start(|number, _| match number {
        0 => answer(&[id(1)], &[id(4), id(2), id(3)]),
        1 => answer(&[], &[id(2), id(3), id(4)]),
        2 => answer(&[id(3)], &[id(2)]),
        _ => answer(&[id(2)], &[]),
    })
    .await;
    let found = read(&source(&server.url), &[id(1), id(2), id(3), id(4)], LONG).await;
    assert_eq!(found, [document(1), document(2), document(3), Ok(None)]);
    let asked: Vec<Vec<Value>> = server.asked().iter().map(|asked| asked_keys(&asked.body)).collect();
    let rest = vec![id(2), id(3), id(4)];
    assert_eq!(asked, [vec![id(1), id(2), id(3), id(4)], rest.clone(), rest, vec![id(2)]]);
}

#[tokio::test]
async fn what_goes_forward_is_not_waited_for_longer_and_longer() {
    let server = Server::start(|_, body| match &asked_keys(body)[..] {
        [first, rest @ ..] => answer(std::slice::from_ref(first), rest),
        [] => Reply::Cut,
    })
    .await;
    let keys: Vec<Value> = (0..25).map(id).collect();
    let began = Instant::now();
    let found = read(&source(&server.url), &keys, LONG).await;
    assert!(found.iter().all(Result::is_ok) && server.asked().len() == 25);
    // Two dozen pauses of the shortest kind; of growing ones it would be half a minute.
    assert!(began.elapsed() < LONG / 8, "{:?}", began.elapsed());
}

const DIGITS: &str = "12345678901234567890123456789012345678";

/// The answers for one item of every kind that a target may be unable to hold, between two that it can.
async fn hard_items(format: Format) -> Vec<Result<Option<Vec<u8>>, Cause>> {
    let items = [
        id(1),
        json!({"id": {"N": "2"}, "n": {"N": DIGITS}}),
        json!({"id": {"N": "3"}, "_tidelock": {"S": "x"}}),
        json!({"id": {"N": "4"}, "a\u{0}": {"S": "x"}}),
        json!({"id": {"N": "5"}, "x": {"Y": "x"}}),
        id(6),
    ];
    let server = Server::start(move |_, _| answer(&items, &[])).await;
    let batch = batch(&[id(1), id(2), id(3), id(4), id(5), id(6)]);
    let keys: Vec<_> = batch.slots.iter().map(|slot| batch.key(slot).expect("a key")).collect();
    let found = source(&server.url).read("t", &keys, format, Instant::now() + LONG).await;
    assert_eq!(server.asked().len(), 1);
    found.into_iter().map(|found| crate::tests::written(found).map_err(|failure| failure.cause)).collect()
}

#[tokio::test]
async fn every_digit_arrives_and_what_has_no_form_fails_alone() {
    let text = |text: &str| Ok(Some(text.as_bytes().to_vec()));
    let found = hard_items(Format::Json).await;
    assert_eq!(
        found,
        [
            text(r#"{"id":1"#),
            text(&format!(r#"{{"id":2,"n":{DIGITS}"#)),
            Err(Cause::ReservedField),
            text(r#"{"a\u0000":"x","id":4"#),
            Err(Cause::UnknownType),
            text(r#"{"id":6"#),
        ]
    );
    let element = |id: u8| Ok(Some([&b"\x10id\0"[..], &[id, 0, 0, 0]].concat()));
    let found = hard_items(Format::Bson).await;
    assert_eq!(
        found,
        [
            element(1),
            Err(Cause::UnrepresentableValue),
            Err(Cause::ReservedField),
            Err(Cause::UnrepresentableValue),
            Err(Cause::UnknownType),
            element(6),
        ]
    );
}
