//! What the project promises of its own speed, judged on a run's results.

use crate::measure::{SINGLE, SPREAD, USUAL};
use crate::results::Results;
use crate::subjects::{
    DOCUMENTDB, DOCUMENTDB_MONGODB, NODE, PYTHON_MONGODB, TIDELOCK, TIDELOCK_MONGODB, TIDELOCK_MONGODB_SHAPED,
    TIDELOCK_MONGODB_UNGUARDED, TIDELOCK_SHAPED, TIDELOCK_SIGV4, TIDELOCK_UNGUARDED,
};

/// The real targets that guarded and unguarded runs go into.
pub(crate) const OPENSEARCH: &str = "OpenSearch";
pub(crate) const MONGODB: &str = "MongoDB";

/// One promise, with what was measured where it was.
#[derive(Debug)]
pub(crate) struct Bar {
    pub(crate) what: &'static str,
    pub(crate) measured: Option<f64>,
    pub(crate) limit: Option<f64>,
    /// Whether the limit is a least value instead of a highest one.
    pub(crate) least: bool,
    pub(crate) unit: &'static str,
    /// How the limit comes about, where it is not a plain number.
    pub(crate) from: &'static str,
}

impl Bar {
    fn most(what: &'static str, measured: Option<f64>, limit: impl Into<Option<f64>>, unit: &'static str) -> Self {
        Self { what, measured, limit: limit.into(), least: false, unit, from: "" }
    }

    fn least(what: &'static str, measured: Option<f64>, limit: impl Into<Option<f64>>, unit: &'static str) -> Self {
        Self { least: true, ..Self::most(what, measured, limit, unit) }
    }

    fn from(self, from: &'static str) -> Self {
        Self { from, ..self }
    }

    /// Whether the promise is kept, if it was measured.
    pub(crate) fn met(&self) -> Option<bool> {
        let (measured, limit) = (self.measured?, self.limit?);
        Some(if self.least { measured >= limit } else { measured <= limit })
    }
}

/// A function's CPU per record must not exceed this share of the handler's that it is compared with.
const SHARE_OF_PEER: f64 = 1.0 / 12.0;

/// With guards and fences a function may take this many times the CPU that it takes without.
const MOST_CPU_OF_GUARDS: f64 = 1.25;

/// Five typical transforms may take this many times the CPU of none.
const MOST_CPU_OF_TRANSFORMS: f64 = 1.4;

/// `documentdb-sync` may take this many times the CPU of `dynamodb-sync` for the same documents.
const MOST_CPU_OF_DOCUMENTDB: f64 = 1.3;

/// With a poison record in a hundred a stream moves at least at this share of its rate without.
const LEAST_RATE_OF_POISON: f64 = 0.8;

/// With guards and fences a real target takes at least this share of the changes per second that it takes without.
const LEAST_RATE_OF_GUARDS: f64 = 0.95;

/// What counts as flat: how many pages are at hand together is chance.
const MOST_GROWTH: f64 = 1.1;

/// Milliseconds that people are kept waiting.
const MOST_TO_ANSWER: f64 = 100.0;

/// Every promise, in the order of the table.
pub(crate) fn judge(results: &Results) -> Vec<Bar> {
    let cpu = |subject: &str| results.cpu_of(subject, USUAL).map(|row| row.micros_per_record);
    let memory = |batch: &str| results.memory_of(TIDELOCK, batch).map(|row| row.megabytes);
    let share = |peer: &str| cpu(peer).map(|micros| micros * SHARE_OF_PEER);
    let beside = |one: &str, other: &str, compare: fn(f64, f64) -> f64| {
        Some(results.cpu_of(one, USUAL)?.beside(results.cpu_of(other, USUAL)?, compare))
    };
    let signed = beside(TIDELOCK_SIGV4, TIDELOCK, |signed, plain| signed - plain);
    let single = |batch: &str| results.cpu_of(TIDELOCK, batch).map(|row| row.micros_per_invoke);
    let cold = results.cold_of(TIDELOCK);
    let zip = results.size_of(TIDELOCK).map(|row| row.zip_bytes as f64 / 1e6);
    let against = |one: &str, other: &str| beside(one, other, |one, other| one / other);
    let kept = |target: &str| results.guards_of(target).map(|row| row.ratio);
    let ratio = results.end_to_end.iter().find(|row| row.subject == TIDELOCK && row.connections == 1);
    let drain = results.drain.as_ref().map(|row| row.ratio);
    let backfill = results.backfill.as_ref();
    let answers = results.answers.as_ref();
    vec![
        Bar::most("CPU per record, OpenSearch, batch 500", cpu(TIDELOCK), share(NODE), "µs")
            .from("1/12 of the Node handler's"),
        Bar::most("HTTPS and SigV4 on top of it", signed, 0.8, "µs"),
        Bar::most("CPU per record, MongoDB, batch 500", cpu(TIDELOCK_MONGODB), share(PYTHON_MONGODB), "µs")
            .from("1/12 of the pymongo handler's"),
        Bar::most("CPU per invocation, batch 1", single(SINGLE), 80.0, "µs"),
        Bar::most("the same, spread over all processors", single(SPREAD), 80.0, "µs"),
        Bar::most("peak memory, batch 500", memory(USUAL), 18.0, "MB"),
        Bar::most("peak memory, 6 MB events", memory("6 MB"), 40.0, "MB"),
        Bar::most("init", cold.map(|row| row.init_ms), 5.0, "ms"),
        Bar::most("first invocation, batch 500", cold.map(|row| row.first_invoke_ms), 8.0, "ms"),
        Bar::most("zip", zip, 5.0, "MB"),
        Bar::least("share of the ceiling, one connection", ratio.map(|row| row.ratio), 0.9, ""),
        Bar::most(
            "CPU with guards and fences against without, batch 500, OpenSearch",
            against(TIDELOCK, TIDELOCK_UNGUARDED),
            MOST_CPU_OF_GUARDS,
            "",
        ),
        Bar::most(
            "CPU with guards and fences against without, batch 500, MongoDB",
            against(TIDELOCK_MONGODB, TIDELOCK_MONGODB_UNGUARDED),
            MOST_CPU_OF_GUARDS,
            "",
        ),
        Bar::most(
            "CPU with five transforms against none, batch 500, OpenSearch",
            against(TIDELOCK_SHAPED, TIDELOCK),
            MOST_CPU_OF_TRANSFORMS,
            "",
        ),
        Bar::most(
            "CPU with five transforms against none, batch 500, MongoDB",
            against(TIDELOCK_MONGODB_SHAPED, TIDELOCK_MONGODB),
            MOST_CPU_OF_TRANSFORMS,
            "",
        ),
        Bar::least(
            "changes per second with guards and fences against without, OpenSearch",
            kept(OPENSEARCH),
            LEAST_RATE_OF_GUARDS,
            "",
        ),
        Bar::least(
            "changes per second with guards and fences against without, MongoDB",
            kept(MONGODB),
            LEAST_RATE_OF_GUARDS,
            "",
        ),
        Bar::most(
            "CPU of a change from DocumentDB against one from DynamoDB, batch 500, OpenSearch",
            against(DOCUMENTDB, TIDELOCK),
            MOST_CPU_OF_DOCUMENTDB,
            "",
        ),
        Bar::most(
            "CPU of a change from DocumentDB against one from DynamoDB, batch 500, MongoDB",
            against(DOCUMENTDB_MONGODB, TIDELOCK_MONGODB),
            MOST_CPU_OF_DOCUMENTDB,
            "",
        ),
        Bar::least(
            "changes per second from DocumentDB with a poison record in a hundred against without",
            results.poison.as_ref().map(|row| row.ratio),
            LEAST_RATE_OF_POISON,
            "",
        ),
        Bar::most("CPU of a change held and drained against one written as it comes", drain, 2.0, ""),
        Bar::least("items a second of a backfill against a bare parallel Scan", backfill.map(|row| row.ratio), 0.8, ""),
        Bar::most(
            "its memory in the second half against that in the first",
            backfill.map(|row| row.second_half_megabytes / row.first_half_megabytes),
            MOST_GROWTH,
            "",
        ),
        Bar::most("10,000 dead letters listed", results.letters.as_ref().map(|row| row.seconds), 10.0, "s"),
        Bar::most("`tidelock check` of a file of 1,000 lines", answers.map(|row| row.check_ms), MOST_TO_ANSWER, "ms"),
        Bar::most(
            "`tidelock explain` of 1,000 records with it",
            answers.map(|row| row.explain_ms),
            MOST_TO_ANSWER,
            "ms",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Cpu, GuardCost, Poison};

    fn row(subject: &str, micros: f64) -> Cpu {
        Cpu::of(subject, USUAL, micros)
    }

    #[test]
    fn the_function_is_judged_against_the_handler_of_the_same_run() {
        let verdict = |function: f64| {
            let results = Results { cpu: vec![row(TIDELOCK, function), row(NODE, 36.0)], ..Results::default() };
            judge(&results)[0].met()
        };
        assert_eq!(verdict(2.9), Some(true));
        assert_eq!(verdict(3.1), Some(false));
    }

    #[test]
    fn guards_are_judged_by_their_cpu_and_by_what_they_take_from_the_rate() {
        let verdicts = |cpu: f64, ratio: f64| {
            let mut results =
                Results { cpu: vec![row(TIDELOCK, cpu), row(TIDELOCK_UNGUARDED, 2.0)], ..Results::default() };
            results.set_guards(GuardCost { ratio: 0.1, ..GuardCost::of(OPENSEARCH) });
            results.set_guards(GuardCost { ratio, ..GuardCost::of(OPENSEARCH) });
            let bars = judge(&results);
            let of = |start: &str, end: &str| {
                let bar = bars.iter().find(|bar| bar.what.starts_with(start) && bar.what.ends_with(end));
                bar.expect("there is such a bar").met()
            };
            assert_eq!((of("CPU with guards", MONGODB), of("changes", MONGODB)), (None, None));
            (of("CPU with guards", OPENSEARCH), of("changes", OPENSEARCH))
        };
        assert_eq!(verdicts(2.4, 0.96), (Some(true), Some(true)));
        assert_eq!(verdicts(2.6, 0.94), (Some(false), Some(false)));
    }

    #[test]
    fn a_change_stream_is_judged_by_its_cpu_and_by_what_poison_takes_from_the_rate() {
        let verdicts = |micros: f64, ratio: f64| {
            let poison = Poison { ratio, ..Poison::default() };
            let cpu = vec![row(TIDELOCK, 3.0), row(DOCUMENTDB, micros), row(DOCUMENTDB_MONGODB, micros)];
            let bars = judge(&Results { cpu, poison: Some(poison), ..Results::default() });
            let found = bars.iter().filter(|bar| bar.what.contains("from DocumentDB")).map(Bar::met);
            found.collect::<Vec<_>>()
        };
        assert_eq!(verdicts(3.8, 0.81), [Some(true), None, Some(true)]);
        assert_eq!(verdicts(4.0, 0.79), [Some(false), None, Some(false)]);
    }

    #[test]
    fn what_takes_turns_is_compared_round_by_round() {
        let signed = |by_round: [f64; 3], plain: [f64; 3]| {
            let rows = [(TIDELOCK_SIGV4, by_round), (TIDELOCK, plain)];
            let cpu = rows.map(|(subject, by_round)| Cpu { by_round: by_round.to_vec(), ..row(subject, 9.0) });
            let bars = judge(&Results { cpu: cpu.to_vec(), ..Results::default() });
            bars.iter().find(|bar| bar.what.starts_with("HTTPS")).expect("there is such a bar").met()
        };
        // A slow round slows both; the medians alone would say 2.7 and 0.0.
        assert_eq!(signed([3.0, 5.7, 5.7], [2.3, 3.0, 5.0]), Some(true));
        assert_eq!(signed([3.0, 4.0, 5.0], [4.0, 2.0, 4.0]), Some(false));
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        assert!(judge(&Results::default()).iter().all(|bar| bar.met().is_none()));
        let results = Results { cpu: vec![row(TIDELOCK, 1.0)], ..Results::default() };
        assert_eq!(judge(&results)[0].met(), None);
    }
}
