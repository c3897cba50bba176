//! A model of SQS: messages come at least once, in no order, and what is said about them may be lost on the way.
//!
//! Visibility timeouts and delays run on the virtual clock. Rules:
//! [standard queues](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/standard-queues-at-least-once-delivery.html),
//! [visibility](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html),
//! [receipts](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-message-identifiers.html).

use super::bucket::Shelf;
use super::ledger::{Entry, Kind, Ledger};
use super::storm::Hits;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant as StdInstant};
use tidelock_core::letter::Letter;
use tidelock_core::queue::{Message, Outbox, Queue, QueueFacts};
use tokio::time::Instant;

/// The most bytes of a message.
const MAX_MESSAGE: usize = 1_048_576;

/// Entries of one request.
const ENTRIES: usize = 10;

struct Stored {
    body: String,
    entry: Entry,
    sent_ms: i64,
    /// From then on it can be taken.
    visible: Instant,
    taken: u32,
}

/// A queue.
pub(crate) struct Sqs {
    name: &'static str,
    ledger: Rc<Ledger>,
    shelf: Rc<Shelf>,
    rng: RefCell<fastrand::Rng>,
    messages: RefCell<BTreeMap<u64, Stored>>,
    sent: Cell<u64>,
}

impl Sqs {
    pub(crate) fn new(name: &'static str, seed: u64, ledger: &Rc<Ledger>, shelf: &Rc<Shelf>) -> Rc<Self> {
        Rc::new(Self {
            name,
            ledger: Rc::clone(ledger),
            shelf: Rc::clone(shelf),
            rng: RefCell::new(fastrand::Rng::with_seed(seed)),
            messages: RefCell::default(),
            sent: Cell::new(0),
        })
    }

    /// The queue as one invocation or one run sees it.
    pub(crate) fn client(self: &Rc<Self>, hits: &Hits) -> SqsClient {
        SqsClient { queue: Rc::clone(self), hits: hits.clone(), changes: Cell::new(0) }
    }

    /// Stores a message for sure.
    pub(crate) fn put(&self, body: String, delay: Duration) {
        let mut entry = self.ledger.read(&body);
        if let Some(object) = &entry.points_at {
            match self.shelf.changes(object) {
                Some(changes) => entry.changes = changes,
                None => {
                    self.ledger.complain(format!("{}: a message points at {object}, which is not there", self.name))
                }
            }
        }
        if body.len() > MAX_MESSAGE {
            self.ledger.complain(format!("{}: a message of {} bytes", self.name, body.len()));
        }
        self.ledger.stored(&entry.changes);
        let stored = Stored { body, entry, sent_ms: self.ledger.now_ms(), visible: Instant::now() + delay, taken: 0 };
        self.messages.borrow_mut().insert(self.sent.get(), stored);
        self.sent.set(self.sent.get() + 1);
    }

    fn remove(&self, number: u64) {
        let removed = self.messages.borrow_mut().remove(&number);
        if let Some(stored) = removed {
            self.ledger.removed(&stored.entry.changes, self.name);
        }
    }

    /// What all messages are, and their bodies.
    pub(crate) fn entries(&self) -> Vec<(Entry, String)> {
        self.messages.borrow().values().map(|stored| (stored.entry.clone(), stored.body.clone())).collect()
    }

    /// How many messages are ours and hold records that are not lost.
    pub(crate) fn holds(&self) -> usize {
        self.messages.borrow().values().filter(|stored| stored.entry.kind == Kind::Records).count()
    }

    /// When every message can be taken.
    pub(crate) fn all_visible(&self) -> Option<Instant> {
        self.messages.borrow().values().map(|stored| stored.visible).max()
    }

    fn draw(&self, range: std::ops::RangeInclusive<u64>) -> u64 {
        self.rng.borrow_mut().u64(range)
    }

    async fn travel(&self) {
        tokio::time::sleep(Duration::from_millis(self.draw(1..=15))).await;
    }
}

/// Number of the message and how often it had been taken, from a receipt.
fn read_receipt(receipt: &str) -> Option<(u64, u32)> {
    let (number, taken) = receipt.split_once(':')?;
    Some((number.parse().ok()?, taken.parse().ok()?))
}

/// A way to a queue.
pub(crate) struct SqsClient {
    queue: Rc<Sqs>,
    hits: Hits,
    /// How often it was asked to change something.
    pub(crate) changes: Cell<usize>,
}

impl Outbox for SqsClient {
    async fn send(&self, letters: &[Letter], delay: Duration, deadline: StdInstant) -> Vec<Result<(), String>> {
        self.changes.set(self.changes.get() + 1);
        let mut results = Vec::with_capacity(letters.len());
        for letters in letters.chunks(ENTRIES) {
            self.queue.travel().await;
            for letter in letters {
                if Instant::now().into_std() >= deadline {
                    results.push(Err("time was over".to_owned()));
                    continue;
                }
                let lost = self.hits.strikes("letter lost and retried", 5);
                // An answer that is lost says nothing about the letter.
                if !lost || self.hits.either() {
                    self.queue.put(letter.body.clone(), delay);
                    if letter.body.contains("\"s3\":{") {
                        self.hits.note("letter too large for a message");
                    }
                }
                results.push(if lost { Err("the queue did not answer".to_owned()) } else { Ok(()) });
            }
            self.queue.travel().await;
        }
        results
    }
}

impl Queue for SqsClient {
    async fn take(&self, most: usize, hidden: Duration, deadline: StdInstant) -> Result<Vec<Message>, String> {
        self.queue.travel().await;
        if Instant::now().into_std() >= deadline {
            return Err("time was over".to_owned());
        }
        if self.hits.strikes("queue says nothing", 12) {
            return Ok(Vec::new());
        }
        let found = self.pick(most, hidden);
        self.queue.travel().await;
        // They are hidden now, and nobody knows.
        if self.hits.strikes("receive lost", 30) { Err("the queue did not answer".to_owned()) } else { Ok(found) }
    }

    async fn delete(&self, receipts: &[String], deadline: StdInstant) -> Vec<Result<(), String>> {
        self.changes.set(self.changes.get() + 1);
        let mut results = Vec::with_capacity(receipts.len());
        for receipts in receipts.chunks(ENTRIES) {
            self.queue.travel().await;
            let over = Instant::now().into_std() >= deadline;
            results.extend(receipts.iter().map(|receipt| match over {
                true => Err("time was over".to_owned()),
                false => self.delete_one(receipt),
            }));
            self.queue.travel().await;
        }
        results
    }

    async fn hide(&self, receipts: &[String], hidden: Duration, _: StdInstant) {
        self.queue.travel().await;
        for (number, taken) in receipts.iter().filter_map(|receipt| read_receipt(receipt)) {
            // Only who has taken it last can give it back, and that can fail.
            let mut messages = self.queue.messages.borrow_mut();
            let latest = messages.get_mut(&number).filter(|stored| stored.taken == taken);
            if let Some(stored) = latest.filter(|_| self.queue.draw(0..=9) > 0) {
                stored.visible = Instant::now() + hidden;
            }
        }
    }

    async fn facts(&self, _: StdInstant) -> Result<QueueFacts, String> {
        self.queue.travel().await;
        let now = Instant::now();
        let mut facts = QueueFacts { retention_ms: Some(14 * 86_400_000), ..QueueFacts::default() };
        for stored in self.queue.messages.borrow().values() {
            match (stored.visible <= now, stored.taken) {
                (true, _) => facts.waiting += 1,
                (false, 0) => facts.delayed += 1,
                (false, _) => facts.hidden += 1,
            }
        }
        Ok(facts)
    }
}

impl SqsClient {
    /// Takes some messages, whichever they are.
    fn pick(&self, most: usize, hidden: Duration) -> Vec<Message> {
        let now = Instant::now();
        let mut messages = self.queue.messages.borrow_mut();
        let mut rng = self.queue.rng.borrow_mut();
        let mut numbers: Vec<u64> =
            messages.iter().filter(|(_, stored)| stored.visible <= now).map(|(number, _)| *number).collect();
        rng.shuffle(&mut numbers);
        // Seldom all that was asked for.
        numbers.truncate(rng.usize(1..=most.max(1)));
        let taken = |stored: &Stored| stored.visible > now && stored.taken > 0;
        let elsewhere: Vec<u64> =
            messages.iter().filter(|(_, stored)| taken(stored)).map(|(number, _)| *number).collect();
        if let Some(number) = rng.choice(elsewhere)
            && numbers.len() < most
            && self.hits.strikes("message delivered twice", 8)
        {
            numbers.push(number);
        }
        let mut found = Vec::with_capacity(numbers.len());
        for number in numbers {
            let Some(stored) = messages.get_mut(&number) else { continue };
            stored.taken += 1;
            // A server that has not heard of it gives it to the next who asks.
            if !self.hits.strikes("message delivered twice", 25) {
                stored.visible = now + hidden;
            }
            found.push(Message {
                id: number.to_string(),
                receipt: format!("{number}:{}", stored.taken),
                body: stored.body.clone(),
                sent_ms: stored.sent_ms,
                taken: stored.taken,
            });
        }
        found
    }

    fn delete_one(&self, receipt: &str) -> Result<(), String> {
        let Some((number, taken)) = read_receipt(receipt) else { return Err(format!("`{receipt}` is no receipt")) };
        let lost = self.hits.strikes("message's delete lost", 10);
        let latest = self.queue.messages.borrow().get(&number).is_none_or(|stored| stored.taken == taken);
        // An old receipt may do nothing, and so may a server that is away: both say that it is done.
        let ineffective = match (lost, latest) {
            (true, _) => self.hits.either(),
            (false, false) => self.queue.draw(0..=1) == 0,
            (false, true) => self.hits.strikes("message back after its delete", 20),
        };
        if !ineffective {
            self.queue.remove(number);
        }
        if lost { Err("the queue did not answer".to_owned()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, EngineConfig};
    use crate::world::climate::Climate;
    use crate::world::history::History;
    use crate::world::storm::Storm;
    use std::collections::BTreeSet;

    const HIDDEN: Duration = Duration::from_secs(60);

    fn queue(seed: u64) -> (Rc<Sqs>, Rc<Storm>) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut shape = Climate::new(&mut rng).shape;
        shape.changes = 10;
        let history = Rc::new(History::new(&mut rng, shape));
        let ledger = Rc::new(Ledger::new(history, Engine::new(EngineConfig::default()), false));
        (Sqs::new("a queue", seed, &ledger, &Shelf::new(seed, &ledger)), Rc::new(Storm::new(seed, 10)))
    }

    fn letters(count: usize) -> Vec<Letter> {
        let letter = |number| Letter { reason: "".into(), source: String::new(), body: format!("{number}") };
        (0..count).map(letter).collect()
    }

    fn soon() -> StdInstant {
        Instant::now().into_std() + Duration::from_secs(3_600)
    }

    async fn take_all(client: &SqsClient) -> Vec<Message> {
        let mut all = Vec::new();
        let mut nothing = 0;
        while nothing < 5 {
            let found = client.take(7, HIDDEN, soon()).await.unwrap_or_default();
            nothing = if found.is_empty() { nothing + 1 } else { 0 };
            all.extend(found);
        }
        all
    }

    #[test]
    fn what_is_not_deleted_comes_again() {
        crate::run(3, async {
            let (queue, storm) = queue(3);
            storm.end();
            let client = queue.client(&Hits::new(&storm));
            assert_eq!(client.send(&letters(25), Duration::ZERO, soon()).await, vec![Ok(()); 25]);
            let first = take_all(&client).await;
            let bodies: BTreeSet<&str> = first.iter().map(|message| message.body.as_str()).collect();
            assert_eq!((first.len(), bodies.len()), (25, 25), "each once");
            assert!(!first.is_sorted_by_key(|message| message.id.parse::<u64>().ok()), "in no order");
            client.hide(&[first[0].receipt.clone()], Duration::ZERO, soon()).await;
            let again = take_all(&client).await;
            assert_eq!((again[0].id.as_str(), again[0].taken), (first[0].id.as_str(), 2));
            let receipts: Vec<String> = first[1..21].iter().map(|message| message.receipt.clone()).collect();
            assert_eq!(client.delete(&receipts, soon()).await, vec![Ok(()); 20]);
            tokio::time::sleep(HIDDEN).await;
            assert_eq!(take_all(&client).await.len(), 5);
            client.send(&letters(1), HIDDEN * 2, soon()).await;
            let facts = client.facts(soon()).await.expect("facts");
            assert_eq!((facts.waiting, facts.hidden, facts.delayed), (0, 5, 1));
            let late = client.delete(&receipts, Instant::now().into_std()).await;
            assert!(late.iter().all(Result::is_err), "time is over");
        });
    }

    #[test]
    fn an_answer_that_is_lost_says_nothing() {
        crate::run(3, async {
            let (queue, storm) = queue(3);
            let hits = Hits::new(&storm);
            let client = queue.client(&hits);
            let sent = client.send(&letters(400), Duration::ZERO, soon()).await;
            let there: BTreeSet<String> = queue.entries().into_iter().map(|(_, body)| body).collect();
            let is_there = |number: usize| there.contains(&number.to_string());
            let count = |stored: bool, told: bool| {
                sent.iter()
                    .enumerate()
                    .filter(|(number, sent)| is_there(*number) == stored && sent.is_ok() == told)
                    .count()
            };
            assert_eq!(count(false, true), 0, "what is told to be stored is");
            assert!(count(true, false) > 10 && count(false, false) > 10);
            let taken = take_all(&client).await;
            let ids: BTreeSet<&str> = taken.iter().map(|message| message.id.as_str()).collect();
            assert!(taken.len() > ids.len(), "some come twice");
            let receipts: Vec<String> = taken.iter().map(|message| message.receipt.clone()).collect();
            let deleted = client.delete(&receipts, soon()).await;
            assert!(deleted.iter().any(Result::is_err));
            let names: BTreeSet<&str> = hits.take().into_iter().collect();
            for fault in
                ["receive lost", "queue says nothing", "message's delete lost", "message back after its delete"]
            {
                assert!(names.contains(fault), "{fault}: {names:?}");
            }
        });
    }
}
