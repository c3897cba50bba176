//! Faults, and what became of the records that they hit.

use crate::chaos::{Chaos, RequestKind, Strike};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;
use tidelock_core::batch::Fate;
use tidelock_core::target::Done;

/// What may become of a record.
pub const COLUMNS: [&str; 5] = ["applied", "stale", "filtered", "parked", "retry"];

/// Of each kind of fault, how often it struck and what became of the records at hand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<&'static str, (usize, [usize; COLUMNS.len()])>);

impl Counts {
    /// Notes a fault that has struck.
    pub(crate) fn struck(&mut self, fault: &'static str) {
        debug_assert!(FAULTS.contains(&fault), "{fault} is in no table");
        self.0.entry(fault).or_default().0 += 1;
    }

    /// Notes what became of records under some faults.
    pub(crate) fn became(&mut self, faults: &[&'static str], fates: &[Fate]) {
        for fault in faults {
            let (_, columns) = self.0.entry(fault).or_default();
            for fate in fates {
                let column = match fate {
                    Fate::Done(Done::Applied) => 0,
                    Fate::Done(Done::Stale) => 1,
                    Fate::Filtered => 2,
                    Fate::Parked(_) | Fate::Held(_) => 3,
                    Fate::Failed(_) | Fate::Pending => 4,
                };
                if let Some(count) = columns.get_mut(column) {
                    *count += 1;
                }
            }
        }
    }

    /// How many faults there were.
    pub(crate) fn faults(&self) -> usize {
        self.0.values().map(|(struck, _)| struck).sum()
    }

    /// Adds another world's.
    pub fn add(&mut self, other: &Self) {
        for (fault, (struck, columns)) in &other.0 {
            let (mine, sums) = self.0.entry(fault).or_default();
            *mine += struck;
            for (sum, count) in sums.iter_mut().zip(columns) {
                *sum += count;
            }
        }
    }

    /// Rows, one for each kind of fault there is: its name, how often it struck, and the columns.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, usize, [usize; COLUMNS.len()])> {
        FAULTS.into_iter().map(|fault| {
            let (struck, columns) = self.0.get(fault).copied().unwrap_or_default();
            (fault, struck, columns)
        })
    }
}

/// Every kind of fault there is, so that one that never strikes shows as zero.
const FAULTS: [&str; 22] = [
    "answer garbled",
    "answer slow",
    "backfill beside the stream",
    "batch delivered again",
    "batch held",
    "bisected",
    "bulk half refused",
    "cut after applying",
    "cut before arriving",
    "delete between look and write",
    "function killed",
    "index blocked",
    "letter lost and retried",
    "older record repeated",
    "reindexed",
    "record replayed",
    "redriven at once",
    "refused 429",
    "refused 500",
    "refused 503",
    "source unreadable",
    "write landed late",
];

/// The weather on the way to the engine.
#[derive(Debug)]
pub(crate) struct Storm {
    rng: RefCell<fastrand::Rng>,
    every: u32,
    over: Cell<bool>,
    /// Faults since the last look, by name.
    recent: RefCell<Vec<&'static str>>,
    /// A stretch of refusals.
    refusing: Cell<u32>,
}

impl Storm {
    pub(crate) fn new(seed: u64, every: u32) -> Self {
        Self {
            rng: RefCell::new(fastrand::Rng::with_seed(seed)),
            every,
            over: Cell::new(false),
            recent: RefCell::default(),
            refusing: Cell::new(0),
        }
    }

    pub(crate) fn end(&self) {
        self.over.set(true);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Whether something of chance one in `one_in` strikes now; noted under its name.
    pub(crate) fn strikes(&self, fault: &'static str, one_in: u32) -> bool {
        let strikes = !self.is_over() && self.rng.borrow_mut().u32(..one_in.max(1)) == 0;
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

    /// As [`Chaos::strike`], but looks may take long: their question or their answer.
    pub(crate) fn dawdle(&self, kind: RequestKind, rng: &mut fastrand::Rng) -> Strike {
        if kind != RequestKind::MultiGet || self.is_over() {
            return self.strike(kind);
        }
        let by = Duration::from_millis(rng.u64(1_000..200_000));
        match rng.u32(..4) {
            0 => Strike::SlowAnswer(by),
            1 => Strike::Late(by),
            _ => self.strike(kind),
        }
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
