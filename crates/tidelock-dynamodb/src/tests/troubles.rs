//! What passes is waited for, what does not is said at once, and no trouble is ever taken for an absence.

use super::server::{Reply, Server};
use super::{LONG, Role, SHORT, answer, document, id, read, refusal, source, source_of};
use crate::{DynamoDbConfig, DynamoDbSource};
use serde_json::json;
use std::time::Instant;
use tidelock_core::cause::{Cause, Failure};

/// Why two keys are unreadable: for the same reason.
fn reason(found: &[Result<Option<String>, Failure>]) -> String {
    let [Err(one), Err(two)] = found else { panic!("{found:?}") };
    assert_eq!(one.cause, Cause::SourceUnreadable);
    assert_eq!(one, two);
    assert!(one.detail.starts_with("table `t` at 127.0.0.1:"), "{one}");
    one.detail.clone()
}

#[tokio::test]
async fn refusals_that_pass_are_waited_for() {
    let server = Server::start(|number, _| match number {
        0 => refusal(400, "ProvisionedThroughputExceededException"),
        1 => refusal(400, "ThrottlingException"),
        2 => refusal(400, "RequestLimitExceeded"),
        3 => refusal(500, "InternalServerError"),
        4 => Reply::Text(502, "<html>".to_owned()),
        _ => answer(&[id(1)], &[]),
    })
    .await;
    assert_eq!(read(&source(&server.url), &[id(1), id(2)], LONG).await, [document(1), Ok(None)]);
    assert_eq!(server.asked().len(), 6);
}

#[tokio::test]
async fn broken_connections_are_waited_for() {
    let server = Server::start(|number, _| match number {
        0 => Reply::Cut,
        1 => Reply::Silence,
        2 => Reply::Text(200, r#"{"Responses":{"t":[{"id""#.to_owned()),
        _ => answer(&[id(1)], &[]),
    })
    .await;
    let source = source(&server.url).with_attempt(SHORT);
    assert_eq!(read(&source, &[id(1), id(2)], LONG).await, [document(1), Ok(None)]);
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn a_table_that_stays_busy_is_unreadable_in_time() {
    let server = Server::start(|_, _| refusal(400, "ThrottlingException")).await;
    let began = Instant::now();
    let words = reason(&read(&source(&server.url), &[id(1), id(2)], SHORT).await);
    assert!(words.ends_with(": ThrottlingException: its words"), "{words}");
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    assert!(server.asked().len() > 1);
}

#[tokio::test]
async fn keys_that_stay_unprocessed_are_unreadable_and_the_others_are_not() {
    let server = Server::start(|number, _| {
        let items = if number == 0 { vec![id(1)] } else { Vec::new() };
        answer(&items, &[id(2)])
    })
    .await;
    let found = read(&source(&server.url), &[id(1), id(2)], SHORT).await;
    assert_eq!(found[0], document(1));
    let failure = found[1].as_ref().expect_err("unprocessed");
    assert_eq!(failure.cause, Cause::SourceUnreadable);
    assert!(failure.detail.ends_with("1 keys were left unprocessed: the table is busy"), "{failure}");
}

#[tokio::test]
async fn an_attempt_that_is_cut_short_does_not_hide_the_reason() {
    let server =
        Server::start(|number, _| if number == 0 { refusal(503, "ServiceUnavailable") } else { Reply::Silence }).await;
    let words = reason(&read(&source(&server.url), &[id(1), id(2)], SHORT).await);
    assert!(words.ends_with("ServiceUnavailable: its words"), "{words}");
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn what_does_not_pass_is_said_at_once() {
    for kind in ["AccessDeniedException", "ResourceNotFoundException", "ValidationException"] {
        let server = Server::start(move |_, _| refusal(400, kind)).await;
        let words = reason(&read(&source(&server.url), &[id(1), id(2)], LONG).await);
        assert!(words.ends_with(&format!(": {kind}: its words")), "{words}");
        assert_eq!(server.asked().len(), 1);
    }
}

#[tokio::test]
async fn without_keys_to_sign_with_nothing_is_sent() {
    let server = Server::start(|_, _| answer(&[], &[])).await;
    let words = reason(&read(&source_of(&server.url, Role(false)), &[id(1), id(2)], LONG).await);
    assert!(words.ends_with(": there are no AWS credentials"), "{words}");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let words = reason(&read(&source(&url), &[id(1), id(2)], SHORT).await);
    assert!(words.contains("refused"), "{words}");
}

#[tokio::test]
async fn absence_is_believed_only_from_an_answer_about_the_table() {
    let other = json!({"id": {"N": "3"}});
    for text in [
        json!({}),
        json!({"Responses": {}, "UnprocessedKeys": {}}),
        json!({"Responses": {"t": [id(1), other]}, "UnprocessedKeys": {}}),
        json!({"Responses": {"t": [{"key": {"N": "1"}}]}, "UnprocessedKeys": {}}),
        json!({"Responses": {"t": [id(1)]}, "UnprocessedKeys": {"t": {"Keys": [other]}}}),
    ] {
        let answer = text.to_string();
        let server = Server::start(move |_, _| Reply::Text(200, answer.clone())).await;
        let words = reason(&read(&source(&server.url), &[id(1), id(2)], LONG).await);
        assert!(words.contains("the answer cannot be used"), "{text}: {words}");
        assert_eq!(server.asked().len(), 1);
    }
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    let refused = |region: &str, endpoint: Option<&str>, ca: Option<&[u8]>| {
        let (region, endpoint, ca_pem) = (region.to_owned(), endpoint.map(str::to_owned), ca.map(<[u8]>::to_vec));
        let made = DynamoDbSource::new(DynamoDbConfig { region, endpoint, ca_pem }, Role(true));
        made.err().map(|error| error.to_string())
    };
    assert_eq!(refused("eu-west-1", None, None), None);
    assert_eq!(refused("eu-west-1", None, Some(b"")).as_deref(), Some("AWS_CA_BUNDLE holds no certificate"));
    assert!(refused("", None, None).is_some_and(|problem| problem.contains("region")));
    assert!(refused("eu-west-1", Some("a:b"), None).is_some_and(|problem| problem.contains("endpoint")));
}
