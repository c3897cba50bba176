//! A real SQS.

use super::{LONG, sdk, service, soon, unique};
use super::{Role, queue_at};
use crate::SqsQueue;
use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidelock_core::letter::Letter;
use tidelock_core::queue::{Message, Outbox as _, Queue as _, QueueFacts};

/// A queue of its own.
async fn queue(url: &str) -> SqsQueue<Role> {
    let client = aws_sdk_sqs::Client::new(&sdk(url).await);
    let created = client.create_queue().queue_name(unique("letters")).send().await.expect("a queue");
    queue_at(url, created.queue_url().expect("a URL"))
}

fn letters(count: usize) -> Vec<Letter> {
    let letter = |number| Letter {
        reason: "unknown_type".into(),
        source: String::new(),
        body: format!("{{\"number\":{number},\"text\":\"ü <&>\\n\"}}"),
    };
    (0..count).map(letter).collect()
}

async fn send(queue: &SqsQueue<Role>, letters: &[Letter], delay: Duration) {
    assert_eq!(queue.send(letters, delay, soon()).await, vec![Ok(()); letters.len()]);
}

/// Takes until there are so many, or none for a long time.
async fn take(queue: &SqsQueue<Role>, count: usize, hidden: Duration) -> Vec<Message> {
    let (mut found, until) = (Vec::new(), soon());
    while found.len() < count && Instant::now() < until {
        let taken = queue.take(10, hidden, soon()).await.expect("messages");
        assert!(taken.len() <= 10, "{}", taken.len());
        found.extend(taken);
    }
    found
}

fn receipts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| message.receipt.clone()).collect()
}

fn now_ms() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(elapsed.as_millis()).expect("this century")
}

#[tokio::test]
async fn letters_are_taken_and_deleted() {
    let Some(url) = service() else { return };
    let queue = queue(&url).await;
    let (letters, before) = (letters(23), now_ms());
    send(&queue, &letters, Duration::ZERO).await;
    let facts = queue.facts(soon()).await.expect("facts");
    // Four days are SQS's default.
    assert_eq!(facts, QueueFacts { waiting: 23, hidden: 0, delayed: 0, retention_ms: Some(4 * 24 * 3_600_000) });
    let taken = take(&queue, 23, LONG).await;
    let bodies: BTreeSet<&str> = taken.iter().map(|message| message.body.as_str()).collect();
    assert_eq!(bodies, letters.iter().map(|letter| letter.body.as_str()).collect());
    let ids: BTreeSet<&str> = taken.iter().map(|message| message.id.as_str()).collect();
    assert_eq!(ids.len(), 23);
    assert!(taken.iter().all(|message| message.taken == 1 && (before..=now_ms()).contains(&message.sent_ms)));
    let facts = queue.facts(soon()).await.expect("facts");
    assert_eq!((facts.waiting, facts.hidden), (0, 23));
    assert_eq!(queue.take(10, LONG, soon()).await, Ok(Vec::new()));

    assert_eq!(queue.delete(&receipts(&taken), soon()).await, vec![Ok(()); 23]);
    let facts = queue.facts(soon()).await.expect("facts");
    assert_eq!((facts.waiting, facts.hidden), (0, 0));
    assert_eq!(queue.delete(&[], soon()).await, []);
}

#[tokio::test]
async fn what_is_not_deleted_comes_again() {
    let Some(url) = service() else { return };
    let queue = queue(&url).await;
    send(&queue, &letters(1), Duration::ZERO).await;
    let began = Instant::now();
    let first = take(&queue, 1, Duration::from_secs(2)).await;
    let second = take(&queue, 1, LONG).await;
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!((second[0].taken, &second[0].id, &second[0].body), (2, &first[0].id, &first[0].body));
    assert_ne!(second[0].receipt, first[0].receipt);
    assert_eq!(second[0].sent_ms, first[0].sent_ms);
}

#[tokio::test]
async fn what_is_given_back_comes_at_once_or_later() {
    let Some(url) = service() else { return };
    let queue = queue(&url).await;
    send(&queue, &letters(12), Duration::ZERO).await;
    let taken = take(&queue, 12, LONG * 10).await;
    assert_eq!(queue.take(10, LONG, soon()).await, Ok(Vec::new()));
    queue.hide(&receipts(&taken), Duration::ZERO, soon()).await;
    let again = take(&queue, 12, LONG * 10).await;
    assert!(again.len() == 12 && again.iter().all(|message| message.taken == 2), "{again:?}");

    let began = Instant::now();
    queue.hide(&receipts(&again), Duration::from_millis(1_500), soon()).await;
    let third = take(&queue, 12, LONG).await;
    assert!(third.len() == 12 && began.elapsed() >= Duration::from_millis(1_500), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_delayed_letter_is_not_seen_before() {
    let Some(url) = service() else { return };
    let queue = queue(&url).await;
    let (began, delay) = (Instant::now(), Duration::from_millis(1_500));
    send(&queue, &letters(2), delay).await;
    let facts = queue.facts(soon()).await.expect("facts");
    assert_eq!((facts.waiting, facts.hidden, facts.delayed), (0, 0, 2));
    assert_eq!(take(&queue, 2, LONG).await.len(), 2);
    assert!(began.elapsed() >= delay, "{:?}", began.elapsed());
}

#[tokio::test]
async fn each_receipt_is_judged_for_itself() {
    let Some(url) = service() else { return };
    let queue = queue(&url).await;
    send(&queue, &letters(11), Duration::ZERO).await;
    let mut receipts = receipts(&take(&queue, 11, LONG).await);
    receipts[1] = "no receipt".to_owned();
    let deleted = queue.delete(&receipts, soon()).await;
    let failed: Vec<usize> = (0..11).filter(|&index| deleted[index].is_err()).collect();
    assert_eq!(failed, [1], "{deleted:?}");
    let why = deleted[1].clone().expect_err("no receipt");
    assert!(why.contains("ReceiptHandleIsInvalid"), "{why}");
}

#[tokio::test]
async fn a_queue_that_is_not_there() {
    let Some(url) = service() else { return };
    let address = format!("{url}/123456789012/{}", unique("missing"));
    let queue = queue_at(&url, &address);
    let receipt = ["r".to_owned()];
    let sent = queue.send(&letters(1), Duration::ZERO, soon()).await.remove(0);
    let deleted = queue.delete(&receipt, soon()).await.remove(0);
    queue.hide(&receipt, LONG, soon()).await;
    for answer in [sent, deleted, queue.take(10, LONG, soon()).await.map(drop), queue.facts(soon()).await.map(drop)] {
        let words = answer.expect_err("no queue");
        assert!(words.starts_with(&format!("the queue {address}: ")), "{words}");
        assert!(words.ends_with("; check the queue's URL"), "{words}");
    }
}
