//! What is counted: what a server has taken, refused and written, and for whom.

use super::server::Sender;
use std::time::Duration;

/// Spreads what is multiplied by it over all bits.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// A function's batch at hand, as far as it has been written.
#[derive(Debug, Clone, Default)]
struct Written {
    batch: u64,
    records: Vec<bool>,
    /// Over all batches.
    count: usize,
}

/// Counts of one run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Requests of any kind.
    pub(crate) requests: usize,
    /// Those of them that were refused as a whole, or in part.
    pub(crate) refusals: usize,
    /// Requests that nobody waited for any more when they were answered.
    pub(crate) abandoned: usize,
    /// Items that were written although they had been written before.
    pub(crate) repeated: usize,
    /// Records that have not been written although their batch is done.
    pub(crate) lost: usize,
    /// Over every request: when it was answered, whose it was, how large, and how it ended.
    pub(crate) hash: u64,
    /// Records written, second by second.
    pub(crate) seconds: Vec<usize>,
    functions: Vec<Written>,
    records: usize,
}

impl Tally {
    /// For functions with batches of this many records.
    pub(crate) fn new(functions: usize, records: usize) -> Self {
        let written = Written { batch: 0, records: vec![false; records], count: 0 };
        Self { functions: vec![written; functions], records, ..Self::default() }
    }

    /// A request has been answered, or refused as a whole.
    pub(crate) fn request(&mut self, at: Duration, sender: Sender, bytes: usize, refused: bool) {
        self.requests += 1;
        self.refusals += usize::from(refused);
        let numbers = [at.as_micros() as u64, sender.function as u64, sender.batch, bytes as u64, u64::from(refused)];
        self.hash = numbers.iter().fold(self.hash, |hash, number| (hash.rotate_left(5) ^ number).wrapping_mul(ODD));
    }

    /// A request has been answered item by item.
    pub(crate) fn items(&mut self, statuses: &[u16]) {
        self.refusals += usize::from(statuses.contains(&429));
        self.repeated += statuses.iter().filter(|status| **status == 409).count();
    }

    /// Writes a record; `false` when it was there already, or its batch is done.
    pub(crate) fn write(&mut self, sender: Sender, position: usize, second: usize) -> bool {
        let Some(written) = self.functions.get_mut(sender.function) else { return false };
        if written.batch > sender.batch {
            return false;
        }
        if written.batch < sender.batch {
            (written.batch, written.records) = (sender.batch, vec![false; self.records]);
        }
        let Some(record) = written.records.get_mut(position).filter(|record| !**record) else { return false };
        *record = true;
        written.count += 1;
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, 0);
        }
        if let Some(count) = self.seconds.get_mut(second) {
            *count += 1;
        }
        true
    }

    /// A function takes a batch for done.
    pub(crate) fn done(&mut self, sender: Sender) {
        let Some(written) = self.functions.get(sender.function) else { return };
        self.lost += match written.batch == sender.batch {
            true => written.records.iter().filter(|written| !**written).count(),
            false => self.records,
        };
    }

    /// Whether a record has been written.
    pub(crate) fn holds(&self, sender: Sender, position: usize) -> bool {
        self.functions.get(sender.function).is_some_and(|written| {
            written.batch > sender.batch
                || written.batch == sender.batch && written.records.get(position) == Some(&true)
        })
    }

    /// How many records each function has written.
    pub(crate) fn by_function(&self) -> impl Iterator<Item = usize> {
        self.functions.iter().map(|written| written.count)
    }
}
