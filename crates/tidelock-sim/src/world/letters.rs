//! The dead-letter queue.

use super::counts::Storm;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tidelock_core::letter::Letter;
use tidelock_core::queue::Outbox;

/// Letters by their number, and those that were completed.
pub(crate) struct Letters {
    storm: Rc<Storm>,
    waiting: RefCell<BTreeMap<usize, Value>>,
    sent: RefCell<usize>,
}

impl Letters {
    pub(crate) fn new(storm: Rc<Storm>) -> Self {
        Self { storm, waiting: RefCell::default(), sent: RefCell::new(0) }
    }

    /// Letters that nobody has completed, with their receipts.
    pub(crate) fn waiting(&self) -> Vec<(usize, Value)> {
        self.waiting.borrow().iter().map(|(number, letter)| (*number, letter.clone())).collect()
    }

    /// Holds a record back, as functions do while the target is down. Its number and letter.
    pub(crate) fn hold(&self, record: &Value) -> (usize, Value) {
        let mut sent = self.sent.borrow_mut();
        let letter = serde_json::json!({"record": record});
        self.waiting.borrow_mut().insert(*sent, letter.clone());
        *sent += 1;
        (*sent - 1, letter)
    }

    /// Takes a letter out for good.
    pub(crate) fn complete(&self, number: usize) {
        self.waiting.borrow_mut().remove(&number);
    }
}

impl Outbox for Letters {
    async fn send(&self, letters: &[Letter], _: Duration, _: Instant) -> Vec<Result<(), String>> {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let mut results = Vec::with_capacity(letters.len());
        for letter in letters {
            let lost = self.storm.strikes("letter lost and retried", 4);
            // An answer that is lost says nothing about the letter.
            let stored = !lost || self.storm.strikes("letter lost and retried", 2);
            if stored {
                let mut sent = self.sent.borrow_mut();
                let body = serde_json::from_str(&letter.body).unwrap_or(Value::Null);
                self.waiting.borrow_mut().insert(*sent, body);
                *sent += 1;
            }
            results.push(if lost { Err("the queue did not answer".to_owned()) } else { Ok(()) });
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        results
    }
}
