//! One line a batch: counts for a person, and metrics for CloudWatch in its
//! [embedded metric format](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).

use crate::recovery::{Waiting, What};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;
use tidelock_core::batch::{Batch as Decoded, Fate, Report};
use tidelock_core::fence::Swept;
use tidelock_core::target::Done;

/// What became of a batch, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Batch {
    records: usize,
    applied: usize,
    stale: usize,
    filtered: usize,
    parked: usize,
    /// Put into the fallback queue.
    held: usize,
    retry: usize,
    /// Records that another of the same key stood for.
    coalesced: usize,
    /// Documents that have gone with their collections.
    #[serde(skip_serializing_if = "is_zero")]
    deleted_with_collection: usize,
    /// Places that were not looked through for such documents: the sweep does it.
    #[serde(skip_serializing_if = "is_zero")]
    left_to_sweep: usize,
    /// Age of the oldest change, by the source's time.
    oldest_age_ms: i64,
    /// Time spent at the target and the queue.
    target_ms: u64,
    /// Time from bytes to answer.
    total_ms: u64,
    /// Of what was parked or is to be retried: how many, and an example of each cause.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    failures: BTreeMap<&'static str, Cause>,
    /// Of what was parked, by cause.
    #[serde(skip)]
    reasons: BTreeMap<&'static str, usize>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Cause {
    count: usize,
    example: String,
    action: &'static str,
}

impl Batch {
    pub(crate) fn new(batch: &Decoded, report: &Report, now_ms: i64, decoded: Duration, total: Duration) -> Self {
        let count = |wanted: fn(&Fate) -> bool| report.fates.iter().filter(|fate| wanted(fate)).count();
        let applied = count(|fate| matches!(fate, Fate::Done(Done::Applied)));
        let stale = count(|fate| matches!(fate, Fate::Done(Done::Stale)));
        let oldest = batch.slots.iter().map(|slot| slot.at).filter(|&at| at > 0).min();
        let failures = report.failures.iter().map(|(&code, (count, failure))| {
            (code, Cause { count: *count, example: failure.detail.clone(), action: failure.cause.action() })
        });
        let mut reasons = BTreeMap::new();
        for fate in &report.fates {
            if let Fate::Parked(cause) = fate {
                *reasons.entry(cause.code()).or_insert(0) += 1;
            }
        }
        Self {
            records: batch.slots.len(),
            applied,
            stale,
            filtered: count(|fate| matches!(fate, Fate::Filtered)),
            parked: count(|fate| matches!(fate, Fate::Parked(_))),
            held: count(|fate| matches!(fate, Fate::Held(_))),
            retry: count(|fate| matches!(fate, Fate::Failed(_) | Fate::Pending)),
            coalesced: (applied + stale).saturating_sub(report.operations),
            deleted_with_collection: report.removed.documents,
            left_to_sweep: report.removed.left,
            oldest_age_ms: oldest.map_or(0, |at| (now_ms - at).max(0)),
            target_ms: u64::try_from(total.saturating_sub(decoded).as_millis()).unwrap_or(u64::MAX),
            total_ms: u64::try_from(total.as_millis()).unwrap_or(u64::MAX),
            failures: failures.collect(),
            reasons,
        }
    }
}

/// The metrics' declaration; the values stand beside it.
const METRICS: &str = concat!(
    r#""CloudWatchMetrics":[{"Namespace":"Tidelock","Dimensions":[["Function"]],"Metrics":["#,
    r#"{"Name":"Records","Unit":"Count"},{"Name":"Applied","Unit":"Count"},{"Name":"Stale","Unit":"Count"},"#,
    r#"{"Name":"Filtered","Unit":"Count"},{"Name":"Parked","Unit":"Count"},{"Name":"Held","Unit":"Count"},"#,
    r#"{"Name":"Retry","Unit":"Count"},"#,
    r#"{"Name":"OldestAgeMs","Unit":"Milliseconds"},{"Name":"TargetMs","Unit":"Milliseconds"}]}]"#
);

#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "Function")]
    function: &'a str,
    #[serde(rename = "requestId")]
    request_id: &'a str,
    #[serde(flatten)]
    batch: &'a Batch,
}

fn line(function: &str, request_id: &str, batch: &Batch, now_ms: u128) -> String {
    let values = serde_json::to_string(&Line { function, request_id, batch }).unwrap_or_default();
    let values = values.strip_prefix('{').unwrap_or_default();
    format!("{{\"_aws\":{{\"Timestamp\":{now_ms},{METRICS}}},{values}\n")
}

/// Prints the line.
pub(crate) fn emit(function: &str, request_id: &str, batch: &Batch) {
    let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
    print(&[line(function, request_id, batch, now_ms)]);
    emit_parked(function, &batch.reasons);
}

fn print(lines: &[String]) {
    // A log that cannot be written must not fail the batch.
    let _ = std::io::stdout().lock().write_all(lines.concat().as_bytes());
}

/// A line for each reason of letters that were stored: alarms are set on some of them.
fn parked_lines<R: AsRef<str>>(function: &str, reasons: &BTreeMap<R, usize>, now_ms: i64) -> Vec<String> {
    let line = |(reason, count): (&R, &usize)| by_reason(function, reason.as_ref(), "Parked", *count, now_ms);
    reasons.iter().map(line).collect()
}

/// Prints them.
pub(crate) fn emit_parked<R: AsRef<str>>(function: &str, reasons: &BTreeMap<R, usize>) {
    print(&parked_lines(function, reasons, crate::app::now_ms()));
}

/// Prints that an environment has ended while it worked on so many records.
pub(crate) fn emit_crash(function: &str, request_id: &str, records: usize) {
    print(&[crash_line(function, request_id, records, crate::app::now_ms())]);
}

fn crash_line(function: &str, request_id: &str, records: usize, now_ms: i64) -> String {
    let declared = declared(r#""Function""#, "Crashes", "Count", now_ms);
    let (function, request_id) = (serde_json::Value::from(function), serde_json::Value::from(request_id));
    format!("{{{declared},\"Function\":{function},\"requestId\":{request_id},\"Crashes\":1,\"OnTrial\":{records}}}\n")
}

/// A count of one reason.
fn by_reason(function: &str, reason: &str, metric: &str, count: usize, now_ms: i64) -> String {
    let declared = declared(r#""Function","Reason""#, metric, "Count", now_ms);
    let (function, reason) = (serde_json::Value::from(function), serde_json::Value::from(reason));
    format!("{{{declared},\"Function\":{function},\"Reason\":{reason},\"{metric}\":{count}}}\n")
}

/// The declaration of a line with one metric.
fn declared(dimensions: &str, metric: &str, unit: &str, now_ms: i64) -> String {
    format!(
        r#""_aws":{{"Timestamp":{now_ms},"CloudWatchMetrics":[{{"Namespace":"Tidelock","Dimensions":[[{dimensions}]],"Metrics":[{{"Name":"{metric}","Unit":"{unit}"}}]}}]}}"#
    )
}

/// The metrics of a sweep.
const SWEEP_METRICS: &str = concat!(
    r#""CloudWatchMetrics":[{"Namespace":"Tidelock","Dimensions":[["Function"]],"Metrics":["#,
    r#"{"Name":"FencesCompared","Unit":"Count"},{"Name":"ZombiesRemoved","Unit":"Count"},"#,
    r#"{"Name":"FencesExpired","Unit":"Count"}]}]"#
);

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SweepLine<'a> {
    function: &'a str,
    #[serde(rename = "requestId")]
    request_id: &'a str,
    fences_compared: usize,
    zombies_removed: usize,
    fences_expired: usize,
    complete: bool,
}

fn sweep_line(function: &str, request_id: &str, swept: &Swept, now_ms: u128) -> String {
    let line = SweepLine {
        function,
        request_id,
        fences_compared: swept.compared,
        zombies_removed: swept.removed,
        fences_expired: swept.expired,
        complete: swept.complete,
    };
    let values = serde_json::to_string(&line).unwrap_or_default();
    let values = values.strip_prefix('{').unwrap_or_default();
    format!("{{\"_aws\":{{\"Timestamp\":{now_ms},{SWEEP_METRICS}}},{values}\n")
}

/// Prints the line of a sweep.
pub(crate) fn emit_sweep(function: &str, request_id: &str, swept: &Swept) {
    let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
    print(&[sweep_line(function, request_id, swept, now_ms)]);
}

/// What a run of `redrive` has done, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Recovered {
    /// Changes that are done with.
    pub(crate) redriven: usize,
    pub(crate) parked: usize,
    /// Messages that cannot be used.
    pub(crate) kept: usize,
    /// Messages that were sent anew.
    pub(crate) resent: usize,
    pub(crate) held_waiting: u64,
    pub(crate) letters_waiting: u64,
    /// 1 where the target did not answer.
    pub(crate) target_down: usize,
}

const RECOVERED_METRICS: &str = concat!(
    r#""CloudWatchMetrics":[{"Namespace":"Tidelock","Dimensions":[["Function"]],"Metrics":["#,
    r#"{"Name":"Redriven","Unit":"Count"},{"Name":"Parked","Unit":"Count"},{"Name":"Kept","Unit":"Count"},"#,
    r#"{"Name":"Resent","Unit":"Count"},{"Name":"HeldWaiting","Unit":"Count"},"#,
    r#"{"Name":"LettersWaiting","Unit":"Count"},{"Name":"TargetDown","Unit":"Count"}]}]"#
);

#[derive(Serialize)]
struct RecoveredLine<'a> {
    #[serde(rename = "Function")]
    function: &'a str,
    #[serde(rename = "requestId")]
    request_id: &'a str,
    #[serde(flatten)]
    recovered: &'a Recovered,
}

fn recovered_line(function: &str, request_id: &str, recovered: &Recovered, now_ms: i64) -> String {
    let values = serde_json::to_string(&RecoveredLine { function, request_id, recovered }).unwrap_or_default();
    let values = values.strip_prefix('{').unwrap_or_default();
    format!("{{\"_aws\":{{\"Timestamp\":{now_ms},{RECOVERED_METRICS}}},{values}\n")
}

/// Prints the line of a run of `redrive`.
pub(crate) fn emit_recovered(function: &str, request_id: &str, recovered: &Recovered) {
    print(&[recovered_line(function, request_id, recovered, crate::app::now_ms())]);
}

/// One line for the queue as a whole, and one for each reason of what waits in it.
fn waiting_lines(function: &str, what: What, waiting: &Waiting, now_ms: i64) -> Vec<String> {
    let (age, count) = match what {
        What::DeadLetters => ("OldestLetterAgeHours", "LettersWaiting"),
        What::Fallback => ("OldestHeldAgeHours", "HeldWaiting"),
        What::Failures => return Vec::new(),
    };
    let mut lines: Vec<String> =
        waiting.reasons.iter().map(|(reason, number)| by_reason(function, reason, count, *number, now_ms)).collect();
    if let Some(oldest) = waiting.oldest_ms {
        let hours = (now_ms - oldest).max(0) / 3_600_000;
        let declared = declared(r#""Function""#, age, "None", now_ms);
        let function = serde_json::Value::from(function);
        lines.push(format!("{{{declared},\"Function\":{function},\"{age}\":{hours}}}\n"));
    }
    lines
}

/// Prints what waits in a queue that has been looked through.
pub(crate) fn emit_letters(function: &str, what: What, waiting: &Waiting, now_ms: i64) {
    print(&waiting_lines(function, what, waiting, now_ms));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::waiting::{AnyBucket, AnyQueue};
    use std::time::Instant;
    use tidelock_core::batch::{Circumstances, PATIENCE, Posts, deliver};
    use tidelock_core::encode::Format;
    use tidelock_core::pipeline::Pipeline;
    use tidelock_core::source::dynamodb::decode;

    #[test]
    fn letters_are_counted_by_reason() {
        let lines = parked_lines("f", &BTreeMap::from([("order_conflict", 2), ("salvaged", 1)]), 15_000);
        let first: serde_json::Value = serde_json::from_str(&lines[0]).expect("JSON");
        let declared = &first["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(declared["Dimensions"], serde_json::json!([["Function", "Reason"]]));
        assert_eq!(declared["Metrics"][0]["Name"], "Parked");
        assert_eq!(
            (&first["Function"], &first["Reason"], &first["Parked"]),
            (&"f".into(), &"order_conflict".into(), &2.into())
        );
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn a_line_holds_every_declared_metric() {
        let event = br#"{"Records":[{},{"eventName":"REMOVE","eventSourceARN":"arn:aws:dynamodb:us-east-1:1:table/t/stream/2012-01-01T00:00:01.000",
            "dynamodb":{"ApproximateCreationDateTime":10,"Keys":{"k":{"S":"c"}},"SequenceNumber":"6"}}]}"#;
        let batch = decode(event, Format::Json).expect("an event");
        let (started, patience) = (Instant::now(), PATIENCE);
        let at = Circumstances { function: "f", now_ms: 0, started, deadline: started, patience };
        let target = crate::stdout::StdoutTarget;
        let none = Posts { dead_letters: None::<&AnyQueue>, fallback: None, bucket: None::<&AnyBucket> };
        let pipeline = Pipeline::default();
        let target = crate::targets::AnyTarget::Stdout(target);
        let source = None::<&tidelock_core::slow::NoSource>;
        let future = deliver(event, &batch, &pipeline, &target, source, none, at);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(report) = std::pin::pin!(future).poll(&mut context) else {
            panic!("waits for nothing")
        };
        let metrics = Batch::new(&batch, &report, 15_000, Duration::ZERO, Duration::from_millis(3));
        let value: serde_json::Value = serde_json::from_str(&line("f", "r", &metrics, 15_000)).expect("JSON");
        let declared = value["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().expect("a list");
        assert_eq!(declared.len(), 9);
        for metric in declared {
            assert!(value[metric["Name"].as_str().expect("text")].is_number(), "{metric}");
        }
        assert_eq!((&value["Records"], &value["Applied"], &value["Retry"]), (&2.into(), &1.into(), &1.into()));
        assert_eq!((&value["OldestAgeMs"], &value["TargetMs"]), (&5_000.into(), &3.into()));
        assert_eq!(value["Function"], "f");
        assert!(
            value["Failures"]["not_parked"]["action"].is_string()
                || value["Failures"]["malformed_record"]["action"].is_string()
        );
    }

    #[test]
    fn a_crash_is_counted() {
        let value: serde_json::Value = serde_json::from_str(&crash_line("f", "r", 7, 1)).expect("JSON");
        let name = value["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Name"].as_str().expect("text");
        assert_eq!((&value[name], &value["OnTrial"]), (&1.into(), &7.into()));
    }

    #[test]
    fn a_sweeps_line_holds_every_declared_metric() {
        let swept = Swept { compared: 3, removed: 2, expired: 1, complete: true };
        let value: serde_json::Value = serde_json::from_str(&sweep_line("f", "r", &swept, 1)).expect("JSON");
        for metric in value["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().expect("a list") {
            assert!(value[metric["Name"].as_str().expect("text")].is_number(), "{metric}");
        }
        assert_eq!((&value["ZombiesRemoved"], &value["Function"]), (&2.into(), &"f".into()));
    }

    #[test]
    fn a_redrives_lines_hold_every_declared_metric() {
        let recovered = Recovered { redriven: 5, target_down: 1, ..Recovered::default() };
        let reasons = [("mapping_conflict".to_owned(), 2)].into();
        let waiting = Waiting { reasons, oldest_ms: Some(0), ..Waiting::default() };
        let mut lines = waiting_lines("f", What::DeadLetters, &waiting, 7_200_000);
        lines.extend(waiting_lines("f", What::Fallback, &waiting, 7_200_000));
        lines.push(recovered_line("f", "r", &recovered, 1));
        assert_eq!(lines.len(), 5);
        for line in &lines {
            let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let declared = &value["_aws"]["CloudWatchMetrics"][0];
            for metric in declared["Metrics"].as_array().expect("a list") {
                assert!(value[metric["Name"].as_str().expect("text")].is_number(), "{line}");
            }
            for dimension in declared["Dimensions"][0].as_array().expect("a list") {
                assert!(value[dimension.as_str().expect("text")].is_string(), "{line}");
            }
        }
        assert!(lines[1].contains("\"OldestLetterAgeHours\":2}"), "{lines:?}");
    }
}
