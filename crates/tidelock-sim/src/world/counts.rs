//! Faults, and what became of the records that they hit.

use std::collections::{BTreeMap, BTreeSet};
use tidelock_core::batch::Fate;
use tidelock_core::redrive::Redriven;
use tidelock_core::target::Done;

/// What may become of a record.
pub const COLUMNS: [&str; 6] = ["applied", "stale", "filtered", "parked", "held", "retry"];

/// How many records became what, by column.
type Columns = [usize; COLUMNS.len()];

/// Of each kind of fault, how often it struck and what became of the records at hand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<&'static str, (usize, Columns)>);

impl Counts {
    /// Notes a fault that has struck.
    pub(crate) fn struck(&mut self, fault: &'static str) {
        debug_assert!(FAULTS.contains(&fault), "{fault} is in no table");
        self.0.entry(fault).or_default().0 += 1;
    }

    /// Notes what became of records under some faults.
    pub(crate) fn became(&mut self, faults: &[&'static str], fates: &[Fate]) {
        let mut columns = Columns::default();
        for fate in fates {
            let column = match fate {
                Fate::Done(Done::Applied) => 0,
                Fate::Done(Done::Stale) => 1,
                Fate::Filtered => 2,
                Fate::Parked(_) => 3,
                Fate::Held(_) => 4,
                Fate::Failed(_) | Fate::Pending => 5,
            };
            if let Some(count) = columns.get_mut(column) {
                *count += 1;
            }
        }
        self.sum(faults, columns);
    }

    /// Notes what a redrive under some faults has done. What could not be applied has been held before, and is held on.
    pub(crate) fn redriven(&mut self, faults: &[&'static str], run: &Redriven) {
        let parked = run.parked.values().sum();
        self.sum(faults, [run.applied, run.stale, run.filtered, parked, run.waiting, 0]);
    }

    /// However often a fault has struck, the records at hand were the same.
    fn sum(&mut self, faults: &[&'static str], columns: Columns) {
        for fault in faults.iter().collect::<BTreeSet<_>>() {
            let (_, sums) = self.0.entry(fault).or_default();
            for (sum, count) in sums.iter_mut().zip(columns) {
                *sum += count;
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
            self.0.entry(fault).or_default().0 += *struck;
            self.sum(&[fault], *columns);
        }
    }

    /// Rows, one for each kind of fault there is: its name, how often it struck, and the columns.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, usize, Columns)> {
        FAULTS.into_iter().map(|fault| {
            let (struck, columns) = self.0.get(fault).copied().unwrap_or_default();
            (fault, struck, columns)
        })
    }
}

/// Every kind of fault there is, so that one that never strikes shows as zero.
const FAULTS: [&str; 40] = [
    "answer garbled",
    "answer slow",
    "backfill beside the stream",
    "batch delivered again",
    "batch given up",
    "batch held",
    "bisected",
    "bucket failed",
    "bulk half refused",
    "cut after applying",
    "cut before arriving",
    "change between look and truth",
    "delete between look and write",
    "function killed",
    "index blocked",
    "letter lost and retried",
    "letter too large for a message",
    "message back after its delete",
    "message delivered twice",
    "message's delete lost",
    "older record repeated",
    "queue says nothing",
    "queue sent anew",
    "receive lost",
    "record replayed",
    "records forgotten",
    "redrive killed",
    "redriven at once",
    "redriven by a mapping",
    "redriven late",
    "refused 429",
    "refused 500",
    "refused 503",
    "reindexed",
    "source unreadable",
    "target down",
    "two redrives at once",
    "user's edit beside the stream",
    "write landed late",
    "written singly",
];
