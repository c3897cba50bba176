//! What goes wrong on the way to the engine, and wherever else somebody asks whether something does.

use crate::chaos::{Chaos, RequestKind, Strike};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// How a target is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    /// Nobody listens.
    Refuses,
    /// Nobody answers.
    Silent,
    /// Something in front of it answers for it.
    Unavailable,
}

/// The weather.
#[derive(Debug)]
pub(crate) struct Storm {
    rng: RefCell<fastrand::Rng>,
    every: u32,
    over: Cell<bool>,
    /// Faults since the last look, by name.
    recent: RefCell<Vec<&'static str>>,
    /// A stretch of refusals.
    refusing: Cell<u32>,
    /// The target is down until then.
    down: Cell<Option<(Instant, Outage)>>,
}

/// The faults that have hit one invocation or one run, by name.
#[derive(Debug, Clone)]
pub(crate) struct Hits {
    storm: Rc<Storm>,
    names: Rc<RefCell<Vec<&'static str>>>,
}

impl Hits {
    pub(crate) fn new(storm: &Rc<Storm>) -> Self {
        Self { storm: Rc::clone(storm), names: Rc::default() }
    }

    /// Whether something of chance one in `one_in` strikes now.
    pub(crate) fn strikes(&self, fault: &'static str, one_in: u32) -> bool {
        let strikes = self.storm.chance(one_in);
        if strikes {
            self.note(fault);
        }
        strikes
    }

    /// As likely as not, while there are faults at all.
    pub(crate) fn either(&self) -> bool {
        self.storm.chance(2)
    }

    pub(crate) fn note(&self, fault: &'static str) {
        self.names.borrow_mut().push(fault);
    }

    /// The faults since this was last asked.
    pub(crate) fn take(&self) -> Vec<&'static str> {
        self.names.take()
    }
}

impl Storm {
    pub(crate) fn new(seed: u64, every: u32) -> Self {
        Self {
            rng: RefCell::new(fastrand::Rng::with_seed(seed)),
            every,
            over: Cell::new(false),
            recent: RefCell::default(),
            refusing: Cell::new(0),
            down: Cell::new(None),
        }
    }

    pub(crate) fn end(&self) {
        self.over.set(true);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.get()
    }

    fn chance(&self, one_in: u32) -> bool {
        !self.is_over() && self.rng.borrow_mut().u32(..one_in.max(1)) == 0
    }

    /// Whether something of chance one in `one_in` strikes now; noted under its name.
    pub(crate) fn strikes(&self, fault: &'static str, one_in: u32) -> bool {
        let strikes = self.chance(one_in);
        if strikes {
            self.note(fault);
        }
        strikes
    }

    pub(crate) fn note(&self, fault: &'static str) {
        self.recent.borrow_mut().push(fault);
    }

    /// The faults since this was last asked.
    pub(crate) fn take(&self) -> Vec<&'static str> {
        self.recent.take()
    }

    /// Takes the target down for a while.
    pub(crate) fn take_down(&self, time: Duration) {
        let kinds = [Outage::Refuses, Outage::Silent, Outage::Unavailable];
        let kind = self.rng.borrow_mut().choice(kinds).unwrap_or(Outage::Refuses);
        self.down.set(Some((Instant::now() + time, kind)));
    }

    /// As [`Chaos::strike`], but looks may take long: their question or their answer.
    pub(crate) fn dawdle(&self, kind: RequestKind, rng: &mut fastrand::Rng) -> Strike {
        if kind != RequestKind::MultiGet || self.is_over() {
            return self.strike(kind);
        }
        // Half of them within the time that a load of a redrive has.
        let longest = if rng.bool() { 14_000 } else { 200_000 };
        let by = Duration::from_millis(rng.u64(500..longest));
        match rng.u32(..4) {
            0 => Strike::SlowAnswer(by),
            1 => Strike::Late(by),
            _ => self.strike(kind),
        }
    }

    /// As [`Storm::dawdle`], and writes may land long after they were given up.
    pub(crate) fn linger(&self, kind: RequestKind, rng: &mut fastrand::Rng) -> Strike {
        if kind == RequestKind::Bulk && !self.is_over() && rng.u32(..4) == 0 {
            self.note("write landed late");
            return Strike::Late(Duration::from_millis(rng.u64(20_000..1_700_000)));
        }
        self.dawdle(kind, rng)
    }

    fn draw(&self) -> (Strike, &'static str) {
        let mut rng = self.rng.borrow_mut();
        let seconds = |range: std::ops::Range<u64>, rng: &mut fastrand::Rng| Duration::from_millis(rng.u64(range));
        match rng.u32(..100) {
            0..15 => (Strike::Refuse(429), "refused 429"),
            15..22 => (Strike::Refuse(503), "refused 503"),
            22..27 => (Strike::Refuse(500), "refused 500"),
            27..39 => (Strike::CutBefore, "cut before arriving"),
            39..53 => (Strike::CutAfter, "cut after applying"),
            53..63 => (Strike::SlowAnswer(seconds(500..40_000, &mut rng)), "answer slow"),
            63..83 => (Strike::Late(seconds(1_000..1_700_000, &mut rng)), "write landed late"),
            83..94 => (Strike::Half, "bulk half refused"),
            _ => (Strike::Garble, "answer garbled"),
        }
    }
}

impl Chaos for Storm {
    fn strike(&self, _kind: RequestKind) -> Strike {
        if self.is_over() {
            return Strike::None;
        }
        if let Some((_, how)) = self.down.get().filter(|(until, _)| Instant::now() < *until) {
            // Once for whoever looks next: it hits everything.
            if !self.recent.borrow().contains(&"target down") {
                self.note("target down");
            }
            return match how {
                Outage::Refuses => Strike::CutBefore,
                Outage::Silent => Strike::Hang,
                Outage::Unavailable => Strike::Refuse(503),
            };
        }
        if self.refusing.get() > 0 {
            self.refusing.set(self.refusing.get() - 1);
            self.note("refused 429");
            return Strike::Refuse(429);
        }
        if self.rng.borrow_mut().u32(..self.every) != 0 {
            return Strike::None;
        }
        let (strike, name) = self.draw();
        if strike == Strike::Refuse(429) {
            self.refusing.set(self.rng.borrow_mut().u32(..6));
        }
        self.note(name);
        strike
    }
}
