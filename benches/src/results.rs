//! What a run found, as kept in `results.json`.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::function::Result;

/// All sections; a command replaces its own and leaves the others.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Results {
    pub(crate) conditions: Conditions,
    pub(crate) cpu: Vec<Cpu>,
    pub(crate) cold: Vec<Cold>,
    pub(crate) memory: Vec<Memory>,
    pub(crate) size: Vec<Size>,
    pub(crate) end_to_end: Vec<EndToEnd>,
    pub(crate) guards: Vec<GuardCost>,
    pub(crate) conflicts: Vec<Conflicts>,
    pub(crate) poison: Option<Poison>,
    pub(crate) drain: Option<Drain>,
    pub(crate) backfill: Option<Backfill>,
    pub(crate) letters: Option<Letters>,
    pub(crate) latency: Vec<Latency>,
    #[serde(default)]
    pub(crate) answers: Option<Answers>,
}

/// A long file checked, and a large event explained, by the command: whole processes, milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Answers {
    pub(crate) lines: usize,
    pub(crate) records: usize,
    pub(crate) rounds: usize,
    pub(crate) check_ms: f64,
    pub(crate) explain_ms: f64,
}

/// Single changes of a collection, each timed until the index shows it; milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// The mapping's batch window.
    pub(crate) window: String,
    pub(crate) changes: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) max_ms: f64,
}

/// Dead letters listed by the command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Letters {
    pub(crate) letters: usize,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
}

/// A table brought in, beside a bare scan of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Backfill {
    pub(crate) items: usize,
    pub(crate) rounds: usize,
    pub(crate) scanned_per_second: f64,
    /// Brought into a stub that holds nothing and takes everything at once.
    pub(crate) items_per_second: f64,
    /// Median of the rounds' ratios.
    pub(crate) ratio: f64,
    /// Processor time an item.
    pub(crate) micros: f64,
    /// The most memory seen in the first half of the time.
    pub(crate) first_half_megabytes: f64,
    /// And in the second.
    pub(crate) second_half_megabytes: f64,
    /// Brought into a real server.
    pub(crate) opensearch_per_second: Option<f64>,
}

/// A change stream with records that the target refuses, beside the same one without; medians.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Poison {
    pub(crate) target: String,
    pub(crate) batch: String,
    pub(crate) rounds: usize,
    pub(crate) records: usize,
    /// Those of them that are refused.
    pub(crate) poisoned: usize,
    pub(crate) clean_per_second: f64,
    pub(crate) poisoned_per_second: f64,
    /// Median of the rounds' ratios.
    pub(crate) ratio: f64,
    /// The rounds' lowest and highest ratio.
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

/// Changes that were held and drained, beside the same changes written as they came.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Drain {
    pub(crate) changes: usize,
    pub(crate) rounds: usize,
    /// Processor time of a change, medians over the rounds.
    pub(crate) live_micros: f64,
    pub(crate) drained_micros: f64,
    /// Median of the rounds' ratios.
    pub(crate) ratio: f64,
    /// The most memory that draining took.
    pub(crate) megabytes: f64,
}

/// The machine and the versions of what ran.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Conditions {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) node: String,
    pub(crate) python: String,
    pub(crate) opensearch: String,
    pub(crate) mongodb: String,
    /// Load average when the run began: other work disturbs wall time.
    pub(crate) load: String,
}

/// Processor time of a warm function.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cpu {
    pub(crate) subject: String,
    pub(crate) label: String,
    pub(crate) batch: String,
    pub(crate) rounds: usize,
    pub(crate) records_per_round: usize,
    /// Medians over the rounds, in µs.
    pub(crate) micros_per_record: f64,
    pub(crate) micros_per_invoke: f64,
    /// The rounds' lowest and highest µs per record.
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    /// µs per record, round by round.
    #[serde(default)]
    pub(crate) by_round: Vec<f64>,
}

impl Cpu {
    /// Median over the rounds of what `compare` makes of this subject and another one that took its turns in the same rounds: a slow
    /// round, which slows both, does not count.
    pub(crate) fn beside(&self, other: &Self, compare: impl Fn(f64, f64) -> f64) -> f64 {
        if self.by_round.is_empty() || self.by_round.len() != other.by_round.len() {
            return compare(self.micros_per_record, other.micros_per_record);
        }
        let rounds = self.by_round.iter().zip(&other.by_round).map(|(&one, &other)| compare(one, other));
        median(&rounds.collect::<Vec<_>>())
    }
}

#[cfg(test)]
impl Cpu {
    /// A figure of one round, for tests.
    pub(crate) fn of(subject: &str, batch: &str, micros: f64) -> Self {
        Self {
            subject: subject.into(),
            label: subject.into(),
            batch: batch.into(),
            rounds: 1,
            records_per_round: 1,
            micros_per_record: micros,
            micros_per_invoke: micros,
            lowest: micros,
            highest: micros,
            by_round: Vec::new(),
        }
    }
}

/// A cold start and the first invocation after it; medians, in ms.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cold {
    pub(crate) subject: String,
    pub(crate) label: String,
    pub(crate) starts: usize,
    pub(crate) init_ms: f64,
    pub(crate) init_cpu_ms: f64,
    pub(crate) first_invoke_ms: f64,
    pub(crate) first_invoke_cpu_ms: f64,
}

/// The most resident memory of a process that has seen the whole corpus; median, in MB of 10^6 bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) subject: String,
    pub(crate) label: String,
    pub(crate) batch: String,
    pub(crate) runs: usize,
    pub(crate) megabytes: f64,
}

/// What is deployed, in bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Size {
    pub(crate) subject: String,
    pub(crate) label: String,
    pub(crate) bytes: u64,
    pub(crate) zip_bytes: u64,
}

/// Changes per second into a real target beside the ceiling of the same round; medians.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EndToEnd {
    pub(crate) subject: String,
    pub(crate) label: String,
    pub(crate) connections: usize,
    pub(crate) batch: String,
    pub(crate) rounds: usize,
    pub(crate) records: usize,
    pub(crate) records_per_second: f64,
    pub(crate) ceiling_records_per_second: f64,
    /// Median of the rounds' ratios.
    pub(crate) ratio: f64,
    /// The rounds' lowest and highest ratio.
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

/// Changes per second of the guarded function beside the unguarded one of the same round; medians.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct GuardCost {
    pub(crate) target: String,
    pub(crate) batch: String,
    pub(crate) rounds: usize,
    pub(crate) records: usize,
    pub(crate) guarded_per_second: f64,
    pub(crate) unguarded_per_second: f64,
    /// Median of the rounds' ratios.
    pub(crate) ratio: f64,
    /// The rounds' lowest and highest ratio.
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

#[cfg(test)]
impl GuardCost {
    /// A row of one round, for tests.
    pub(crate) fn of(target: &str) -> Self {
        Self {
            target: target.into(),
            batch: String::new(),
            rounds: 1,
            records: 1,
            guarded_per_second: 1.0,
            unguarded_per_second: 1.0,
            ratio: 1.0,
            lowest: 1.0,
            highest: 1.0,
        }
    }
}

/// Writes that their guard refused, so that they had to be judged on what is stored.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Conflicts {
    /// Distance of neighbouring sequence numbers.
    pub(crate) step: String,
    pub(crate) changes: usize,
    /// Refused writes of documents.
    pub(crate) documents: usize,
    /// Those of them that had to wait until the server had forgotten a delete.
    pub(crate) waited: usize,
    /// Refused writes of fences.
    pub(crate) fences: usize,
}

impl Conflicts {
    /// A count per 1,000 changes.
    pub(crate) fn per_thousand(&self, count: usize) -> f64 {
        count as f64 * 1e3 / self.changes.max(1) as f64
    }
}

impl Results {
    /// The results of earlier commands, or none.
    ///
    /// # Errors
    /// A file that cannot be read as results.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        match fs::read(path) {
            Ok(text) => Ok(serde_json::from_slice(&text)
                .map_err(|error| format!("{}: {error}; delete it and measure again", path.display()))?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(format!("{}: {error}", path.display()).into()),
        }
    }

    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(path, serde_json::to_vec_pretty(self)?)?)
    }

    pub(crate) fn cpu_of(&self, subject: &str, batch: &str) -> Option<&Cpu> {
        self.cpu.iter().find(|row| row.subject == subject && row.batch == batch)
    }

    pub(crate) fn memory_of(&self, subject: &str, batch: &str) -> Option<&Memory> {
        self.memory.iter().find(|row| row.subject == subject && row.batch == batch)
    }

    pub(crate) fn cold_of(&self, subject: &str) -> Option<&Cold> {
        self.cold.iter().find(|row| row.subject == subject)
    }

    pub(crate) fn guards_of(&self, target: &str) -> Option<&GuardCost> {
        self.guards.iter().find(|row| row.target == target)
    }

    /// Puts a row in the place of an earlier one of the same target.
    pub(crate) fn set_guards(&mut self, row: GuardCost) {
        match self.guards.iter_mut().find(|earlier| earlier.target == row.target) {
            Some(earlier) => *earlier = row,
            None => self.guards.push(row),
        }
    }

    pub(crate) fn size_of(&self, subject: &str) -> Option<&Size> {
        self.size.iter().find(|row| row.subject == subject)
    }
}

/// The middle value; of an even number of values the mean of the two in the middle. Zero for none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// The lowest value that this share of the values does not exceed. Zero for none.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// The lowest and the highest value. Zeros for none.
pub(crate) fn range(values: &[f64]) -> (f64, f64) {
    let lowest = values.iter().copied().min_by(f64::total_cmp);
    let highest = values.iter().copied().max_by(f64::total_cmp);
    (lowest.unwrap_or(0.0), highest.unwrap_or(0.0))
}

/// Two subjects that were measured side by side: medians.
pub(crate) struct Pairs {
    pub(crate) first: f64,
    pub(crate) second: f64,
    /// First to second: median of the pairs' ratios, not ratio of the medians, so that a slow round, which slows both, does not count.
    pub(crate) ratio: f64,
    /// The pairs' lowest and highest ratio.
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

impl Pairs {
    pub(crate) fn of(pairs: &[(f64, f64)]) -> Self {
        let (first, second): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
        let ratios = pairs.iter().map(|(first, second)| first / second).collect::<Vec<_>>();
        let (lowest, highest) = range(&ratios);
        Self { first: median(&first), second: median(&second), ratio: median(&ratios), lowest, highest }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the values are exact")]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_not_moved_by_one_outlier() {
        assert_eq!(median(&[3.0, 1.0, 900.0]), 3.0);
        assert_eq!(median(&[4.0, 2.0]), 3.0);
        assert_eq!(median(&[]), 0.0);
        assert_eq!(range(&[2.0, 1.0, 3.0]), (1.0, 3.0));
        assert_eq!([0.5, 0.9, 1.0].map(|share| quantile(&[4.0, 1.0, 3.0, 2.0], share)), [2.0, 4.0, 4.0]);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
