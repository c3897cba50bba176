//! A model of a bucket. Nothing that it has stored is lost; what it says may be.

use super::ledger::{Entry, Ledger};
use super::storm::Hits;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tidelock_core::queue::{Bucket, Names};

/// How the names of objects begin that stand for themselves; others are only pointed at.
pub(crate) const FAILURES: &str = "aws/lambda/";

/// Names of one page.
const PAGE: usize = 5;

/// All objects, and what they are.
pub(crate) struct Shelf {
    ledger: Rc<Ledger>,
    objects: RefCell<BTreeMap<String, (Vec<u8>, Entry)>>,
    rng: RefCell<fastrand::Rng>,
}

impl Shelf {
    pub(crate) fn new(seed: u64, ledger: &Rc<Ledger>) -> Rc<Self> {
        let rng = RefCell::new(fastrand::Rng::with_seed(seed));
        Rc::new(Self { ledger: Rc::clone(ledger), objects: RefCell::default(), rng })
    }

    /// The bucket as one invocation or one run sees it.
    pub(crate) fn client(self: &Rc<Self>, hits: &Hits) -> ShelfClient {
        ShelfClient { shelf: Rc::clone(self), hits: hits.clone(), changes: Cell::new(0) }
    }

    /// Stores an object for sure.
    pub(crate) fn put(&self, name: &str, body: Vec<u8>) {
        let entry = self.ledger.read(&String::from_utf8_lossy(&body));
        if name.starts_with(FAILURES) {
            self.ledger.stored(&entry.changes);
        }
        let before = self.objects.borrow_mut().insert(name.to_owned(), (body, entry));
        if let Some((_, entry)) = before.filter(|_| name.starts_with(FAILURES)) {
            self.ledger.removed(&entry.changes, "the bucket");
        }
    }

    fn remove(&self, name: &str) {
        let removed = self.objects.borrow_mut().remove(name);
        if let Some((_, entry)) = removed.filter(|_| name.starts_with(FAILURES)) {
            self.ledger.removed(&entry.changes, "the bucket");
        }
    }

    /// The changes that an object holds; `None` when there is none.
    pub(crate) fn changes(&self, name: &str) -> Option<Vec<usize>> {
        self.objects.borrow().get(name).map(|(_, entry)| entry.changes.clone())
    }

    /// The objects that stand for themselves.
    pub(crate) fn failures(&self) -> Vec<(String, Entry)> {
        let objects = self.objects.borrow();
        let own = objects.iter().filter(|(name, _)| name.starts_with(FAILURES));
        own.map(|(name, (_, entry))| (name.clone(), entry.clone())).collect()
    }

    async fn travel(&self) {
        let time = Duration::from_millis(self.rng.borrow_mut().u64(1..30));
        tokio::time::sleep(time).await;
    }
}

/// A way to the bucket.
pub(crate) struct ShelfClient {
    shelf: Rc<Shelf>,
    hits: Hits,
    /// How often it was asked to change something.
    pub(crate) changes: Cell<usize>,
}

impl ShelfClient {
    async fn arrive(&self, deadline: Instant) -> Result<(), String> {
        self.shelf.travel().await;
        if tokio::time::Instant::now().into_std() >= deadline { Err("time was over".to_owned()) } else { Ok(()) }
    }

    /// Changes something; whether an answer that is lost was about something that has been done, nobody knows.
    async fn change(&self, deadline: Instant, act: impl FnOnce(&Shelf)) -> Result<(), String> {
        self.changes.set(self.changes.get() + 1);
        self.arrive(deadline).await?;
        let lost = self.hits.strikes("bucket failed", 6);
        if !lost || self.hits.either() {
            act(&self.shelf);
        }
        self.shelf.travel().await;
        if lost { Err("the bucket did not answer".to_owned()) } else { Ok(()) }
    }

    async fn ask<A>(&self, deadline: Instant, answer: impl FnOnce(&Shelf) -> A) -> Result<A, String> {
        self.arrive(deadline).await?;
        if self.hits.strikes("bucket failed", 12) {
            return Err("the bucket did not answer".to_owned());
        }
        Ok(answer(&self.shelf))
    }
}

impl Bucket for ShelfClient {
    fn name(&self) -> &str {
        "shelf"
    }

    async fn put(&self, name: &str, body: Vec<u8>, deadline: Instant) -> Result<(), String> {
        self.change(deadline, |shelf| shelf.put(name, body)).await
    }

    async fn get(&self, name: &str, deadline: Instant) -> Result<Option<Vec<u8>>, String> {
        self.ask(deadline, |shelf| shelf.objects.borrow().get(name).map(|(body, _)| body.clone())).await
    }

    async fn delete(&self, name: &str, deadline: Instant) -> Result<(), String> {
        self.change(deadline, |shelf| shelf.remove(name)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, deadline: Instant) -> Result<Names, String> {
        self.ask(deadline, |shelf| {
            let objects = shelf.objects.borrow();
            let is_meant = |name: &&String| name.starts_with(prefix) && after.is_none_or(|after| name.as_str() > after);
            let mut names = objects.keys().filter(is_meant);
            let page = names.by_ref().take(PAGE).cloned().collect();
            Names { names: page, more: names.next().is_some() }
        })
        .await
    }
}
