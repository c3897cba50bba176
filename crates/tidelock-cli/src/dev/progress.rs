//! What `tidelock dev` shows: a line for each batch and a summary, for people or as JSON.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tidelock_local::function::Invocation;
use tidelock_local::mapping::{Decision, Disabled, Sent, SequenceNumber, Step, Summary};

/// How much of an answer is shown.
const SHOWN_ANSWER: usize = 120;
/// How much of a record's number is shown: resume tokens can be longer than a line.
const SHOWN_NUMBER: usize = 40;

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text { colours: bool },
    Json,
}

#[derive(Clone, Copy)]
enum Colour {
    Green = 32,
    Yellow = 33,
    Red = 31,
    Grey = 90,
}

/// Writes the progress to standard output; clones share the count of lines.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    form: Form,
    count: Arc<AtomicU64>,
}

impl Progress {
    pub(super) fn new(form: Form) -> Self {
        Self { form, count: Arc::default() }
    }

    /// Says what is going to happen.
    pub(super) fn begin(&self, source: &str, function: &str) {
        let source = if source.is_empty() { "records" } else { source };
        match self.form {
            Form::Text { .. } => write_line(&format!("{source} -> {function}")),
            Form::Json => write_line(&json!({"begin": {"source": source, "function": function}}).to_string()),
        }
    }

    /// Shows a step, if it is worth a line.
    pub(super) fn step(&self, step: &Step<'_>) {
        let line = match self.form {
            Form::Json => json_step(step).map(|value| value.to_string()),
            Form::Text { .. } => self.text_step(step),
        };
        if let Some(line) = line {
            write_line(&line);
        }
    }

    /// Shows the summary.
    pub(super) fn end(&self, summary: &Summary) {
        match self.form {
            Form::Json => write_line(&json!({"summary": json_summary(summary)}).to_string()),
            Form::Text { .. } => write_line(&text_summary(summary)),
        }
    }

    fn text_step(&self, step: &Step<'_>) -> Option<String> {
        Some(match step {
            Step::Settled { sent, invocation, decision, duration } => {
                let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
                let (colour, outcome) = outcome(decision);
                let mut line = format!("#{number} {}", describe(sent));
                let _ = write!(line, "  {}", self.paint(colour, &outcome));
                let _ = write!(line, "  {} ms", duration.as_millis());
                let answer = answer(invocation);
                if !answer.is_empty() {
                    let _ = write!(line, "  {}", self.paint(Colour::Grey, &answer));
                }
                line
            }
            Step::Discarded { record, written } => {
                let place = match written {
                    Some(path) => format!("recorded in {}", path.display()),
                    None => "not recorded: set --on-failure to keep it".into(),
                };
                let text = format!(
                    "gave up {} ({}..{}): {}; {place}",
                    records(record.batch_size),
                    record.first_sequence,
                    record.last_sequence,
                    record.condition.as_str()
                );
                self.paint(Colour::Red, &text)
            }
            Step::Dropped(event) => {
                let text = format!(
                    "dropped {}: {} bytes are more than an event's 6 MB; nothing is left of it",
                    shown(&event.sequence),
                    event.bytes
                );
                self.paint(Colour::Red, &text)
            }
            Step::Disabled(disabled) => self.paint(Colour::Red, &why_disabled(disabled)),
            Step::SourceTrouble { message } => self.paint(Colour::Yellow, &format!("{message}; trying again")),
            Step::ShardOpened { shard } => self.paint(Colour::Grey, &format!("reading {shard}")),
            Step::ShardFinished { shard } => self.paint(Colour::Grey, &format!("end of {shard}")),
            Step::Invoked(_) => return None,
        })
    }

    fn paint(&self, colour: Colour, text: &str) -> String {
        match self.form {
            Form::Text { colours: true } => format!("\u{1b}[{}m{text}\u{1b}[0m", colour as u8),
            _ => text.into(),
        }
    }
}

/// A closed pipe (`tidelock dev | head`) is no reason to fail: the run goes on without a reader.
fn write_line(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

fn records(count: usize) -> String {
    format!("{count} record{}", if count == 1 { "" } else { "s" })
}

fn describe(sent: &Sent) -> String {
    // The end of a shard's name is what tells it from the others. A change stream has the name of what is watched.
    let is_shard = sent.shard.starts_with("shardId-");
    let end = sent.shard.rsplit_once('-').filter(|_| is_shard).map(|(_, end)| end);
    let shard = end.unwrap_or(&sent.shard);
    let range = if sent.first == sent.last {
        shown(&sent.first)
    } else {
        format!("{}..{}", shown(&sent.first), shown(&sent.last))
    };
    let attempt = if sent.attempt > 1 { format!(" (attempt {})", sent.attempt) } else { String::new() };
    format!("{shard}  {} {range}{attempt}", records(sent.records))
}

fn shown(number: &SequenceNumber) -> String {
    match number.as_str().char_indices().nth(SHOWN_NUMBER) {
        Some((end, _)) => format!("{}…", &number.as_str()[..end]),
        None => number.to_string(),
    }
}

fn why_disabled(disabled: &Disabled) -> String {
    format!(
        "disabled: the batch at {} of {} failed {} times, and the cluster keeps events for {} s only; a mapping on Lambda \
         would stay disabled until it is enabled by hand",
        shown(&disabled.first),
        disabled.arrival.iso(),
        disabled.invocations,
        disabled.retention.as_secs()
    )
}

fn outcome(decision: &Decision) -> (Colour, String) {
    let wait = |after: &Duration| {
        if after.as_millis() < 1_000 {
            format!("{} ms", after.as_millis())
        } else {
            format!("{:.1} s", after.as_secs_f64())
        }
    };
    match decision {
        Decision::Complete => (Colour::Green, "ok".into()),
        Decision::Retry { done, again, after, failure: None, .. } => {
            (Colour::Yellow, format!("partial: {done} done, {again} again in {}", wait(after)))
        }
        Decision::Retry { again, after, failure: Some(failure), .. } => {
            (Colour::Red, format!("{failure}: {again} again in {}", wait(after)))
        }
        Decision::Bisect { halves, after, failure } => {
            (Colour::Red, format!("{failure}: halved into {} and {}, again in {}", halves.0, halves.1, wait(after)))
        }
        Decision::Exhausted { done, discarded, failure } => {
            let cause = failure.as_ref().map_or_else(|| "partial".into(), ToString::to_string);
            (Colour::Red, format!("{cause}: {done} done, {discarded} out of attempts"))
        }
    }
}

/// The answer's text, cut to a line; nothing for an error, which the outcome tells.
fn answer(invocation: &Invocation) -> String {
    let Invocation::Response(body) = invocation else { return String::new() };
    let text = String::from_utf8_lossy(body).replace(char::is_control, " ");
    match text.char_indices().nth(SHOWN_ANSWER) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn json_step(step: &Step<'_>) -> Option<Value> {
    Some(match step {
        Step::Settled { sent, invocation, decision, duration } => {
            let mut batch = json!({
                "shard": sent.shard, "lane": sent.lane, "requestId": sent.request_id, "attempt": sent.attempt,
                "records": sent.records, "bytes": sent.bytes,
                "firstSequenceNumber": sent.first.as_str(), "lastSequenceNumber": sent.last.as_str(),
                "durationMs": u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
                "decision": json_decision(decision),
            });
            match (invocation, invocation.error()) {
                (Invocation::Response(body), _) => {
                    batch["response"] = serde_json::from_slice(body)
                        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(body).into_owned()));
                }
                (_, Some((error_type, message))) => {
                    batch["error"] = json!({"errorType": error_type, "errorMessage": message});
                }
                (_, None) => {}
            }
            json!({ "batch": batch })
        }
        Step::Discarded { record, written } => json!({"discarded": {
            "condition": record.condition.as_str(), "records": record.batch_size, "shard": record.shard,
            "firstSequenceNumber": record.first_sequence, "lastSequenceNumber": record.last_sequence,
            "path": written.map(|path| path.display().to_string()),
        }}),
        Step::Dropped(event) => json!({"dropped": {
            "shard": event.shard, "sequenceNumber": event.sequence.as_str(), "bytes": event.bytes,
        }}),
        Step::Disabled(disabled) => json!({"disabled": {
            "shard": disabled.shard, "firstSequenceNumber": disabled.first.as_str(),
            "arrival": disabled.arrival.iso(), "retention": disabled.retention.as_secs(),
            "invocations": disabled.invocations,
        }}),
        Step::SourceTrouble { message } => json!({"sourceTrouble": {"message": message}}),
        Step::ShardOpened { shard } => json!({"shardOpened": {"shard": shard}}),
        Step::ShardFinished { shard } => json!({"shardFinished": {"shard": shard}}),
        Step::Invoked(_) => return None,
    })
}

fn json_decision(decision: &Decision) -> Value {
    let milliseconds = |after: &Duration| u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    match decision {
        Decision::Complete => json!({"kind": "complete"}),
        Decision::Retry { done, again, after, cut, failure } => json!({
            "kind": "retry", "done": done, "again": again, "afterMs": milliseconds(after), "cut": cut,
            "failure": failure.as_ref().map(ToString::to_string),
        }),
        Decision::Bisect { halves, after, failure } => json!({
            "kind": "bisect", "halves": [halves.0, halves.1], "afterMs": milliseconds(after),
            "failure": failure.to_string(),
        }),
        Decision::Exhausted { done, discarded, failure } => json!({
            "kind": "exhausted", "done": done, "discarded": discarded,
            "failure": failure.as_ref().map(ToString::to_string),
        }),
    }
}

fn json_summary(summary: &Summary) -> Value {
    let checkpoints: serde_json::Map<String, Value> =
        summary.checkpoints.iter().map(|(shard, number)| (shard.clone(), number.as_str().into())).collect();
    json!({
        "batches": summary.batches, "invocations": summary.invocations, "records": summary.records,
        "retried": summary.retried, "bisected": summary.bisected, "discarded": summary.discarded,
        "onFailureRecords": summary.on_failure_records, "oversized": summary.oversized,
        "disabled": summary.disabled.is_some(), "stopped": summary.stopped, "checkpoints": checkpoints,
    })
}

fn text_summary(summary: &Summary) -> String {
    let end = match (&summary.disabled, summary.stopped) {
        (Some(_), _) => "disabled",
        (None, true) => "stopped",
        (None, false) => "done",
    };
    let mut text = format!(
        "{end}: {} records in {} batches, {} invocations ({} retried, {} bisected)",
        summary.records, summary.batches, summary.invocations, summary.retried, summary.bisected
    );
    if summary.on_failure_records > 0 {
        let _ = write!(
            text,
            "; {} records given up in {} on-failure records",
            summary.discarded, summary.on_failure_records
        );
    }
    if summary.oversized > 0 {
        let _ =
            write!(text, "; {} over 6 MB dropped", records(usize::try_from(summary.oversized).unwrap_or(usize::MAX)));
    }
    for (shard, number) in &summary.checkpoints {
        let _ = write!(text, "\n  {shard} up to {number}");
    }
    text
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidelock_local::mapping::{Failure, Oversized};

    use super::*;

    fn sent() -> Sent {
        Sent {
            shard: "shardId-00000001573689847184-864758bb".into(),
            lane: 0,
            request_id: "r".into(),
            records: 3,
            bytes: 100,
            first: SequenceNumber::new("10"),
            last: SequenceNumber::new("12"),
            attempt: 2,
        }
    }

    fn line(colours: bool, invocation: &Invocation, decision: &Decision) -> String {
        let (sent, duration) = (sent(), Duration::from_millis(35));
        let step = Step::Settled { sent: &sent, invocation, decision, duration };
        Progress::new(Form::Text { colours }).text_step(&step).unwrap()
    }

    #[test]
    fn a_batch_is_one_line() {
        let response = Invocation::Response(Bytes::from("{\"a\":\n1}\u{1b}[2J"));
        assert_eq!(
            line(false, &response, &Decision::Complete),
            "#1 864758bb  3 records 10..12 (attempt 2)  ok  35 ms  {\"a\": 1} [2J"
        );
        let retry = Decision::Retry { done: 1, again: 2, after: Duration::from_millis(500), cut: false, failure: None };
        assert!(line(false, &response, &retry).contains("  partial: 1 done, 2 again in 500 ms  "));
        let failure = Failure::Function { error_type: "E".into(), message: "m".into() };
        let bisect = Decision::Bisect { halves: (1, 2), after: Duration::from_secs(2), failure: failure.clone() };
        let text = line(false, &Invocation::Timeout, &bisect);
        assert!(text.ends_with("  E: m: halved into 1 and 2, again in 2.0 s  35 ms"), "{text}");
        let exhausted = Decision::Exhausted { done: 0, discarded: 3, failure: Some(failure) };
        assert!(line(false, &Invocation::Timeout, &exhausted).contains("E: m: 0 done, 3 out of attempts"));
    }

    #[test]
    fn a_change_streams_end_is_told() {
        let token = SequenceNumber::new("0123456789".repeat(13));
        let progress = Progress::new(Form::Text { colours: false });
        let event = Oversized { shard: "db.coll".into(), sequence: token.clone(), bytes: 7_000_000 };
        assert_eq!(
            progress.text_step(&Step::Dropped(&event)).unwrap(),
            "dropped 0123456789012345678901234567890123456789…: 7000000 bytes are more than an event's 6 MB; nothing is \
             left of it"
        );
        let disabled = Disabled {
            shard: "db.coll".into(),
            first: SequenceNumber::new("01"),
            arrival: tidelock_local::clock::Moment::from_epoch(Duration::from_secs(1)),
            retention: Duration::from_secs(10_800),
            invocations: 7,
        };
        let text = progress.text_step(&Step::Disabled(&disabled)).unwrap();
        let start = "disabled: the batch at 01 of 1970-01-01T00:00:01Z failed 7 times, and the cluster keeps events for 10800 s";
        assert!(text.starts_with(start), "{text}");
        let sent = Sent { shard: "my-db.coll".into(), first: token.clone(), last: token, attempt: 1, ..sent() };
        assert_eq!(describe(&sent), "my-db.coll  3 records 0123456789012345678901234567890123456789…");
        let summary = Summary { oversized: 1, disabled: Some(disabled), ..Summary::default() };
        let text = text_summary(&summary);
        assert!(text.starts_with("disabled: 0 records") && text.ends_with("; 1 record over 6 MB dropped"), "{text}");
        assert_eq!(
            (&json_summary(&summary)["oversized"], &json_summary(&summary)["disabled"]),
            (&json!(1), &json!(true))
        );
    }

    #[test]
    fn colours_are_only_there_when_asked_for() {
        let response = Invocation::Response(Bytes::new());
        assert!(line(true, &response, &Decision::Complete).contains("\u{1b}[32mok\u{1b}[0m"));
        assert!(!line(false, &response, &Decision::Complete).contains('\u{1b}'));
    }

    #[test]
    fn long_answers_are_cut() {
        let shown = answer(&Invocation::Response(Bytes::from("é".repeat(SHOWN_ANSWER + 1))));
        assert_eq!(shown.chars().count(), SHOWN_ANSWER + 1);
        assert!(shown.ends_with('…'));
    }
}
