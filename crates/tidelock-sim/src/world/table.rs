//! The table, as a consistent read finds it.

use super::history::{History, attributes};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant as StdInstant};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::encode::Format;
use tidelock_core::image::Notation;
use tidelock_core::key::Key;
use tidelock_core::slow::{Item, ReadResult, Source};
use tidelock_core::source::dynamodb::decode_item;
use tokio::time::Instant;

/// The source that truths are read from.
pub(crate) struct Table {
    history: Rc<History>,
    began: Instant,
    rng: RefCell<fastrand::Rng>,
    healthy: Cell<bool>,
    /// Reads that failed.
    unreadable: Cell<usize>,
}

impl Table {
    pub(crate) fn new(history: Rc<History>) -> Self {
        Self {
            history,
            began: Instant::now(),
            rng: RefCell::new(fastrand::Rng::with_seed(fastrand::u64(..))),
            healthy: Cell::new(false),
            unreadable: Cell::new(0),
        }
    }

    /// No read fails any more.
    pub(crate) fn heal(&self) {
        self.healthy.set(true);
    }

    /// How many reads have failed since this was last asked.
    pub(crate) fn take_unreadable(&self) -> usize {
        self.unreadable.take()
    }

    /// An item as it is at a time, in the target's format.
    pub(crate) fn item(&self, key: usize, at: Duration) -> Option<Item> {
        let item = self.history.item_at(key, at)?;
        let text = attributes(item).to_string();
        let document = decode_item(text.as_bytes(), &["id"], Format::Json).ok()?.document;
        Some(Item { document, notation: Notation::DynamoDb, bytes: text.into_bytes() })
    }

    async fn wait(&self, deadline: StdInstant) {
        let wait = {
            let mut rng = self.rng.borrow_mut();
            // Most reads are quick.
            Duration::from_millis(if rng.u32(..8) == 0 { rng.u64(40..2_000) } else { rng.u64(1..40) })
        };
        tokio::time::sleep_until((Instant::now() + wait).min(deadline.into())).await;
    }
}

impl Source for Table {
    async fn read(&self, _origin: &str, keys: &[Key<'_>], _format: Format, deadline: StdInstant) -> Vec<ReadResult> {
        self.wait(deadline).await;
        let fails = !self.healthy.get() && self.rng.borrow_mut().u32(..15) == 0;
        if fails || Instant::now().into_std() >= deadline {
            self.unreadable.set(self.unreadable.get() + 1);
            return keys.iter().map(|_| Err(Failure::new(Cause::SourceUnreadable, "throttled"))).collect();
        }
        // A consistent read shows what has happened until it is made.
        let at = self.began.elapsed();
        let found = keys
            .iter()
            .map(|key| {
                let key = key.text_id().trim_start_matches('k').parse().unwrap_or(usize::MAX);
                Ok(self.item(key, at))
            })
            .collect();
        self.wait(deadline).await;
        found
    }
}
