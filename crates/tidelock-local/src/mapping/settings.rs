//! A mapping's settings, with the ranges and defaults of `CreateEventSourceMapping`
//! (<https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-params.html>).

use std::fmt;
use std::time::Duration;

use crate::clock::Moment;
use crate::source::FailureHandling;

/// How long a DocumentDB mapping collects events where no window is set.
const DOCUMENTDB_WINDOW: Duration = Duration::from_millis(500);

/// Where a new mapping begins to read (`StartingPosition`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartingPosition {
    /// At the oldest record of every shard.
    #[default]
    TrimHorizon,
    /// Behind the newest record of the open shards.
    Latest,
    /// At the first record of this moment or later (`StartingPositionTimestamp`). DynamoDB streams do not know it.
    AtTimestamp(Moment),
}

/// Why a DocumentDB mapping has no setting for parts of a batch.
const RETRIED_WHOLE: &str = "a batch is retried whole";
/// Why it has none that ends the retries.
const RETRIED_FOR_EVER: &str = "a batch is retried until it succeeds or its events expire";

/// A mapping's settings. Tumbling windows and filters are not modelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingSettings {
    /// The most records of an event (`BatchSize`), 1 to 10,000. Default 100.
    pub batch_size: u32,
    /// Seconds to wait for a batch to fill (`MaximumBatchingWindowInSeconds`), 0 to 300. Default, where it is `None`: 0
    /// for streams, half a second for DocumentDB.
    pub batching_window: Option<u32>,
    /// Batches of one shard at a time (`ParallelizationFactor`), 1 to 10. Default 1.
    pub parallelization_factor: u32,
    /// Retries of a failed batch (`MaximumRetryAttempts`), 0 to 10,000, or -1 for no limit. Default -1.
    pub maximum_retry_attempts: i32,
    /// The oldest record, in seconds, that is still given to the function (`MaximumRecordAgeInSeconds`), up to
    /// 604,800, or -1 for no limit. Default -1. Lambda itself refuses 0 to 59.
    pub maximum_record_age: i32,
    /// Whether a batch is halved when the function fails (`BisectBatchOnFunctionError`). Default false.
    pub bisect_on_error: bool,
    /// Whether the answer's `batchItemFailures` count (`FunctionResponseTypes: [ReportBatchItemFailures]`). Default
    /// false.
    pub report_batch_item_failures: bool,
    /// Where reading begins. Lambda has no default; here it is the oldest record.
    pub starting_position: StartingPosition,
}

impl Default for MappingSettings {
    fn default() -> Self {
        Self {
            batch_size: 100,
            batching_window: None,
            parallelization_factor: 1,
            maximum_retry_attempts: -1,
            maximum_record_age: -1,
            bisect_on_error: false,
            report_batch_item_failures: false,
            starting_position: StartingPosition::TrimHorizon,
        }
    }
}

/// Settings a mapping can't have: every problem, in words for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSettings(pub Vec<String>);

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for InvalidSettings {}

impl MappingSettings {
    /// Checks every range.
    ///
    /// # Errors
    /// Every problem at once, each with what is allowed.
    pub fn validate(&self) -> Result<(), InvalidSettings> {
        let ranges = [
            ("batch size", i64::from(self.batch_size), 1..=10_000, ""),
            ("maximum batching window", i64::from(self.batching_window.unwrap_or(0)), 0..=300, " seconds"),
            ("parallelization factor", i64::from(self.parallelization_factor), 1..=10, ""),
            ("maximum retry attempts", i64::from(self.maximum_retry_attempts), -1..=10_000, ", -1 for no limit"),
            ("maximum record age", i64::from(self.maximum_record_age), -1..=604_800, " seconds, -1 for no limit"),
        ];
        let problems: Vec<String> = ranges
            .into_iter()
            .filter(|(_, value, allowed, _)| !allowed.contains(value))
            .map(|(name, value, allowed, unit)| {
                format!("{name} {value} is not allowed: {} to {}{unit}", allowed.start(), allowed.end())
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(InvalidSettings(problems)) }
    }

    /// Checks the settings against what a source's mapping knows on Lambda.
    ///
    /// # Errors
    /// Every setting that this kind of mapping does not have.
    pub fn validate_for(&self, failures: FailureHandling) -> Result<(), InvalidSettings> {
        let mut problems = self.validate().err().map(|invalid| invalid.0).unwrap_or_default();
        match failures {
            FailureHandling::Stream => {
                if matches!(self.starting_position, StartingPosition::AtTimestamp(_)) {
                    problems.push(
                        "starting position AT_TIMESTAMP: a DynamoDB stream is read from TRIM_HORIZON or LATEST".into(),
                    );
                }
            }
            FailureHandling::RetryWhole { .. } => {
                let defaults = Self::default();
                for (name, differs, reason) in [
                    ("report batch item failures", self.report_batch_item_failures, RETRIED_WHOLE),
                    ("bisect batch on function error", self.bisect_on_error, RETRIED_WHOLE),
                    (
                        "maximum retry attempts",
                        self.maximum_retry_attempts != defaults.maximum_retry_attempts,
                        RETRIED_FOR_EVER,
                    ),
                    ("maximum record age", self.maximum_record_age != defaults.maximum_record_age, RETRIED_FOR_EVER),
                    (
                        "parallelization factor",
                        self.parallelization_factor != defaults.parallelization_factor,
                        "there is one invocation at a time",
                    ),
                ] {
                    if differs {
                        problems.push(format!("{name}: not a setting of DocumentDB mappings: {reason}"));
                    }
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(InvalidSettings(problems)) }
    }

    /// How long a batch may wait to be filled.
    pub(crate) fn window(&self, failures: FailureHandling) -> Duration {
        match (self.batching_window, failures) {
            (Some(seconds), _) => Duration::from_secs(seconds.into()),
            (None, FailureHandling::Stream) => Duration::ZERO,
            (None, FailureHandling::RetryWhole { .. }) => DOCUMENTDB_WINDOW,
        }
    }
}

/// The pace of a local mapping: what Lambda does not let anyone choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two reads of a shard that had nothing new, unless the source is told of news by its server, as change streams are.
    /// Lambda polls four times a second.
    pub poll_interval: Duration,
    /// Before the first retry; doubled for each further one.
    pub first_backoff: Duration,
    /// The longest wait before a retry.
    pub longest_backoff: Duration,
    /// How long nothing may have happened before a stream counts as drained.
    pub idle_after: Duration,
    /// Between two looks for new shards.
    pub shard_interval: Duration,
    /// How long a source may fail without a break before the mapping gives up.
    pub source_patience: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_millis(250),
            first_backoff: Duration::from_millis(500),
            longest_backoff: Duration::from_secs(60),
            idle_after: Duration::from_secs(1),
            shard_interval: Duration::from_secs(10),
            source_patience: Duration::from_secs(60),
        }
    }
}

impl Pace {
    /// A pace for tests: retries and polls follow each other within milliseconds.
    pub fn fast() -> Self {
        Self {
            poll_interval: Duration::from_millis(20),
            first_backoff: Duration::from_millis(1),
            longest_backoff: Duration::from_millis(20),
            idle_after: Duration::from_millis(200),
            shard_interval: Duration::from_millis(500),
            source_patience: Duration::from_secs(10),
        }
    }

    /// The wait before a retry, after this many failures in a row.
    pub fn backoff(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first_backoff.saturating_mul(1 << doublings).min(self.longest_backoff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_bounds_are_lambdas() {
        let defaults = MappingSettings::default();
        assert_eq!(defaults.validate(), Ok(()));
        let widest = MappingSettings {
            batch_size: 10_000,
            batching_window: Some(300),
            parallelization_factor: 10,
            maximum_retry_attempts: 10_000,
            maximum_record_age: 604_800,
            ..defaults
        };
        assert_eq!(widest.validate(), Ok(()));
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let wrong = MappingSettings {
            batch_size: 0,
            batching_window: Some(301),
            parallelization_factor: 11,
            maximum_retry_attempts: -2,
            maximum_record_age: 604_801,
            ..MappingSettings::default()
        };
        assert_eq!(
            wrong.validate().unwrap_err().0,
            [
                "batch size 0 is not allowed: 1 to 10000",
                "maximum batching window 301 is not allowed: 0 to 300 seconds",
                "parallelization factor 11 is not allowed: 1 to 10",
                "maximum retry attempts -2 is not allowed: -1 to 10000, -1 for no limit",
                "maximum record age 604801 is not allowed: -1 to 604800 seconds, -1 for no limit",
            ]
        );
    }

    #[test]
    fn documentdb_mappings_know_no_partial_answers_and_no_limits() {
        let settings = MappingSettings {
            report_batch_item_failures: true,
            bisect_on_error: true,
            maximum_retry_attempts: 3,
            maximum_record_age: 60,
            parallelization_factor: 2,
            ..MappingSettings::default()
        };
        let documentdb = FailureHandling::RetryWhole { retention: Duration::from_secs(60) };
        assert_eq!(settings.validate_for(FailureHandling::Stream), Ok(()));
        assert_eq!(
            settings.validate_for(documentdb).unwrap_err().0,
            [
                "report batch item failures: not a setting of DocumentDB mappings: a batch is retried whole",
                "bisect batch on function error: not a setting of DocumentDB mappings: a batch is retried whole",
                "maximum retry attempts: not a setting of DocumentDB mappings: a batch is retried until it succeeds or \
                 its events expire",
                "maximum record age: not a setting of DocumentDB mappings: a batch is retried until it succeeds or its \
                 events expire",
                "parallelization factor: not a setting of DocumentDB mappings: there is one invocation at a time",
            ]
        );
        let widest = MappingSettings {
            batch_size: 10_000,
            batching_window: Some(300),
            starting_position: StartingPosition::AtTimestamp(Moment::from_epoch(Duration::from_secs(1))),
            ..MappingSettings::default()
        };
        for allowed in [MappingSettings::default(), widest] {
            assert_eq!(allowed.validate_for(documentdb), Ok(()));
        }
    }

    #[test]
    fn a_dynamodb_stream_cannot_be_begun_at_a_time() {
        let at = MappingSettings {
            starting_position: StartingPosition::AtTimestamp(Moment::from_epoch(Duration::from_secs(1))),
            ..MappingSettings::default()
        };
        let problems = at.validate_for(FailureHandling::Stream).unwrap_err().0;
        assert_eq!(problems, ["starting position AT_TIMESTAMP: a DynamoDB stream is read from TRIM_HORIZON or LATEST"]);
    }

    #[test]
    fn the_window_is_half_a_second_only_for_documentdb_and_only_unless_it_is_set() {
        let documentdb = FailureHandling::RetryWhole { retention: Duration::from_secs(60) };
        let windows = |batching_window, failures| {
            MappingSettings { batching_window, ..MappingSettings::default() }.window(failures).as_millis()
        };
        assert_eq!([None, Some(0), Some(2)].map(|set| windows(set, FailureHandling::Stream)), [0, 0, 2_000]);
        assert_eq!([None, Some(0), Some(2)].map(|set| windows(set, documentdb)), [500, 0, 2_000]);
    }

    #[test]
    fn the_backoff_doubles_up_to_its_cap() {
        let pace =
            Pace { first_backoff: Duration::from_secs(1), longest_backoff: Duration::from_secs(5), ..Pace::default() };
        let waits: Vec<u64> = [1, 2, 3, 4, 1000].map(|failures| pace.backoff(failures).as_secs()).into();
        assert_eq!(waits, [1, 2, 4, 5, 5]);
    }
}
