//! How long `tidelock check` and `tidelock explain` take.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::command;
use crate::corpus::{Batch, Corpus, Shape};
use crate::function::Result;
use crate::results::{Answers, median};
use crate::subjects::Places;

/// A file of so many lines: routes of some other table, each with a condition and steps, and one for the corpus's last.
fn pipeline(lines: usize) -> String {
    let mut text = "version: 1\nroutes:\n".to_owned();
    for route in 0..lines.saturating_sub(10) / 9 {
        // Writing to a String never fails.
        let _ = write!(
            text,
            "  - from: other{route}\n    to: other-{{kind}}-{{at:%Y.%m}}\n    id: \"{{id}}|{{kind}}\"\n    \
             where: .amount > 10 and (.hidden | not)\n    transform:\n      - default: {{age: null}}\n      \
             - convert: {{field: at, from: epoch_seconds, to: date}}\n      - rename: {{Name: name}}\n      \
             - set: {{total: \".price * .count\"}}\n"
        );
    }
    text + "  - from: '*'\n    transform:\n      - default: {age: null}\n      - drop: [nobody]\n"
}

/// Runs both commands, as whole processes.
pub(crate) fn run(places: &Places, shape: &Shape, (lines, records): (usize, usize), rounds: usize) -> Result<Answers> {
    let corpus = Corpus::generate(&Shape { records, ..shape.clone() });
    let event = corpus.events(Batch::Records(records)).pop().ok_or("an event needs at least one record")?;
    let (file, of_event) = (places.output.join("pipeline.yaml"), places.output.join("event.json"));
    let text = pipeline(lines);
    let lines = text.lines().count();
    fs::write(&file, text)?;
    fs::write(&of_event, &event.body)?;
    let (file, of_event) = (file.as_os_str(), of_event.as_os_str());
    let timed = |arguments: &[&std::ffi::OsStr]| -> Result<f64> {
        let began = Instant::now();
        let mut asked = Command::new(command(places)?);
        asked.args(arguments).env("TIDELOCK_TARGET", "opensearch+http://localhost").stdin(Stdio::null());
        let output = asked.output()?;
        let taken = began.elapsed().as_secs_f64() * 1_000.0;
        if !output.status.success() || output.stdout.is_empty() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("{arguments:?}: {}: {said}", output.status).into());
        }
        Ok(taken)
    };
    let (mut check, mut explain) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        check.push(timed(&["check".as_ref(), file])?);
        explain.push(timed(&["explain".as_ref(), of_event, "--pipeline".as_ref(), file])?);
    }
    eprintln!("answers: {lines} lines checked, {records} records explained, {rounds} times");
    Ok(Answers { lines, records, rounds, check_ms: median(&check), explain_ms: median(&explain) })
}
