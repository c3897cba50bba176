//! Answers of a queue that say no, or not enough.

use super::server::{Asked, Reply, Server};
use super::{LONG, SHORT, soon};
use super::{Role, queue_at};
use crate::SqsQueue;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tidelock_core::letter::Letter;
use tidelock_core::queue::{Outbox as _, Queue as _};

fn queue(server: &Server) -> SqsQueue<Role> {
    queue_at(&server.url, &format!("{}/123456789012/letters", server.url))
}

fn letter() -> Letter {
    Letter { reason: "unknown_type".into(), source: "t".to_owned(), body: "{}".to_owned() }
}

fn answer(body: &Value) -> Reply {
    Reply::Text(200, body.to_string())
}

fn body(asked: &Asked) -> Value {
    serde_json::from_str(&asked.body).expect("JSON")
}

#[tokio::test]
async fn messages_are_judged_by_their_ids() {
    let server = Server::start(|_, _| {
        let failed = json!([{"Id": "0", "SenderFault": true, "Code": "ItsCode", "Message": "its words"}]);
        // The second is not spoken of, and an id that nobody has is passed over.
        answer(&json!({"Successful": [{"Id": "2"}, {"Id": "77"}, {"Id": "x"}], "Failed": failed}))
    })
    .await;
    let receipts = ["a", "b", "c"].map(str::to_owned);
    let deleted = queue(&server).delete(&receipts, soon()).await;
    let expected = [
        Err("the queue refused the message: ItsCode its words".to_owned()),
        Err("the queue did not answer for this message".to_owned()),
        Ok(()),
    ];
    assert_eq!(deleted, expected);
}

#[tokio::test]
async fn refusals_name_the_right() {
    let server =
        Server::start(|_, _| Reply::Text(400, json!({"__type": "AccessDenied", "message": "m"}).to_string())).await;
    let queue = queue(&server);
    let receipt = ["r".to_owned()];
    for (answer, right) in [
        (queue.send(&[letter()], Duration::ZERO, soon()).await.remove(0), "sqs:SendMessage"),
        (queue.delete(&receipt, soon()).await.remove(0), "sqs:DeleteMessage"),
        (queue.take(10, LONG, soon()).await.map(drop), "sqs:ReceiveMessage"),
        (queue.facts(soon()).await.map(drop), "sqs:GetQueueAttributes"),
    ] {
        let words = answer.expect_err(right);
        assert!(words.starts_with(&format!("the queue {}/123456789012/letters: ", server.url)), "{words}");
        assert!(words.ends_with(&format!("; allow {right} on the queue to the function's role")), "{words}");
    }
}

#[tokio::test]
async fn the_deadline_holds() {
    let server = Server::start(|_, _| Reply::Silence).await;
    let queue = queue(&server);
    let receipts = vec!["r".to_owned(); 11];
    let began = Instant::now();
    let until = || Instant::now() + SHORT;
    let sent = queue.send(&[letter()], Duration::ZERO, until()).await;
    let deleted = queue.delete(&receipts, until()).await;
    queue.hide(&receipts, LONG, until()).await;
    let (taken, facts) = (queue.take(10, LONG, until()).await.map(drop), queue.facts(until()).await.map(drop));
    assert_eq!((sent.len(), deleted.len()), (1, 11));
    for answer in sent.into_iter().chain(deleted).chain([taken, facts]) {
        let words = answer.expect_err("silence");
        assert!(words.ends_with("did not answer within the invocation's time"), "{words}");
    }
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_long_poll_only_where_there_is_time() {
    let server = Server::start(|_, _| answer(&json!({}))).await;
    let queue = queue(&server);
    for (hidden, time) in [(Duration::ZERO, LONG), (LONG, SHORT), (LONG * 60 * 24, LONG)] {
        assert_eq!(queue.take(10, hidden, Instant::now() + time).await, Ok(Vec::new()));
    }
    let asked: Vec<Value> = server.asked().iter().map(body).collect();
    let polls: Vec<(&Value, &Value)> =
        asked.iter().map(|body| (&body["VisibilityTimeout"], &body["WaitTimeSeconds"])).collect();
    assert_eq!(polls, [(&json!(1), &json!(1)), (&json!(60), &json!(0)), (&json!(43_200), &json!(1))]);
    assert_eq!(asked[0]["MaxNumberOfMessages"], json!(10));
    assert_eq!(asked[0]["MessageSystemAttributeNames"], json!(["SentTimestamp", "ApproximateReceiveCount"]));
}

#[tokio::test]
async fn answers_that_lack_something() {
    let whole = json!({
        "MessageId": "i", "ReceiptHandle": "r", "Body": "b",
        "Attributes": {"SentTimestamp": "1700000000000", "ApproximateReceiveCount": "3"},
    });
    for (field, value, lacks) in [
        ("/MessageId", Value::Null, "a message's id"),
        ("/ReceiptHandle", Value::Null, "a message's receipt"),
        ("/Body", Value::Null, "a message's body"),
        ("/Attributes", Value::Null, "SentTimestamp"),
        ("/Attributes/ApproximateReceiveCount", json!("many"), "ApproximateReceiveCount"),
    ] {
        let mut message = whole.clone();
        *message.pointer_mut(field).expect("a field") = value;
        let server = Server::start(move |_, _| answer(&json!({"Messages": [message]}))).await;
        let taken = queue(&server).take(10, LONG, soon()).await;
        assert_eq!(taken, Err(format!("the queue's answer lacks {lacks}")), "{field}");
    }
    let server = Server::start(|_, _| answer(&json!({"Attributes": {"ApproximateNumberOfMessages": "1"}}))).await;
    let facts = queue(&server).facts(soon()).await;
    assert!(facts.is_err_and(|words| words.starts_with("the queue's answer lacks ")));
}

#[tokio::test]
async fn who_is_silent_or_busy_is_asked_again() {
    let server = Server::start(|number, _| match number {
        0 => Reply::Silence,
        1 => Reply::Text(503, String::new()),
        2 => Reply::Text(400, json!({"__type": "com.amazonaws.sqs#RequestThrottled"}).to_string()),
        3 => Reply::Text(200, "{\"Successful\":[".to_owned()),
        _ => answer(&json!({"Successful": [{"Id": "0"}]})),
    })
    .await;
    let queue = queue(&server).with_attempt(Duration::from_millis(200));
    assert_eq!(queue.send(&[letter()], Duration::ZERO, soon()).await, [Ok(())]);
    assert_eq!(server.asked().len(), 5);
}

#[tokio::test]
async fn what_the_last_answer_said_is_told() {
    let server = Server::start(|_, _| Reply::Text(503, String::new())).await;
    let told = queue(&server).facts(Instant::now() + SHORT).await.expect_err("busy");
    assert!(told.ends_with("/letters: HTTP status 503"), "{told}");
}
