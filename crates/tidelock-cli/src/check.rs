//! `tidelock check`: what is wrong with a pipeline's file, before a function says it.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use serde_json::{Value, json};
use tidelock_core::pipeline::{Problem, Severity};
use tidelock_core::settings::{TargetAddress, target_address};
use tidelock_lambda::{Environment, environment};

/// Something is wrong with a file.
const REFUSED: u8 = 1;
/// Options that can't be used, or a file that can't be read; clap's own number for it.
const BAD_OPTIONS: u8 = 2;
/// What is looked at where nothing is named.
const DEFAULT_FILE: &str = "pipeline.yaml";
/// Longer lines of a file are not shown, in characters.
const SHOWN_LINE: usize = 160;

/// Check a pipeline's file: its shape and its meaning, all problems at once
///
/// Functions refuse to start with a file that is refused here, in the same words. With a target, what that kind of target refuses
/// is told, too; nothing is connected to.
///
/// Exit status: 0 nothing is wrong, 1 something is (with --strict also warnings), 2 bad options, or a file cannot be read.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The files; `-` is standard input. Default: TIDELOCK_PIPELINE, else pipeline.yaml
    #[arg(value_name = "FILE")]
    files: Vec<String>,
    /// Where documents are to go, as TIDELOCK_TARGET has it. Default: TIDELOCK_TARGET, else none
    #[arg(long, value_name = "URL", value_parser = NonEmptyStringValueParser::new())]
    target: Option<String>,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
    /// Refuse what is suspicious, too
    #[arg(long)]
    strict: bool,
}

/// Bytes to check, and their name in messages.
struct Source {
    name: String,
    bytes: Vec<u8>,
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args) -> ExitCode {
    let environment = environment();
    match check(args, &environment) {
        Ok(refused) => ExitCode::from(if refused { REFUSED } else { 0 }),
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(BAD_OPTIONS)
        }
    }
}

/// Checks the files and tells of them; whether one is refused.
fn check(args: &Args, environment: &Environment) -> Result<bool, String> {
    let target = target(args, environment)?;
    let sources = sources(args, environment)?;
    let found: Vec<(&Source, Vec<Problem>)> = sources
        .iter()
        .map(|source| (source, tidelock_sync::check(&source.bytes, target.as_ref()).problems().to_vec()))
        .collect();
    let count = |severity| found.iter().flat_map(|(_, problems)| problems).filter(|p| p.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let text = if args.json {
        let all = found.iter().flat_map(|(source, problems)| problems.iter().map(|problem| as_json(source, problem)));
        format!("{}\n", Value::Array(all.collect()))
    } else {
        let out = io::stdout();
        let colours = out.is_terminal() && environment.get("NO_COLOR").is_none_or(str::is_empty);
        let mut text = String::new();
        for (source, problems) in &found {
            let lines: Vec<&[u8]> = source.bytes.split(|&byte| byte == b'\n').collect();
            problems.iter().for_each(|problem| show(&mut text, source, &lines, problem, colours));
        }
        text + &summary(sources.len(), errors, warnings) + "\n"
    };
    // Whoever reads may stop early; the status tells the rest.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(errors > 0 || (args.strict && warnings > 0))
}

fn target(args: &Args, environment: &Environment) -> Result<Option<TargetAddress>, String> {
    let set = environment.get("TIDELOCK_TARGET").filter(|target| !target.is_empty());
    let (text, name) = match (&args.target, set) {
        (Some(text), _) => (text.as_str(), "--target"),
        (None, Some(text)) => (text, "TIDELOCK_TARGET"),
        (None, None) => return Ok(None),
    };
    target_address(text).map(Some).map_err(|problem| format!("{name}: {problem}"))
}

fn sources(args: &Args, environment: &Environment) -> Result<Vec<Source>, String> {
    let set = environment.get("TIDELOCK_PIPELINE").filter(|pipeline| !pipeline.is_empty());
    let files = match (args.files.as_slice(), set) {
        ([], Some(text)) if tidelock_core::settings::is_inline(text) => {
            return Ok(vec![Source { name: "TIDELOCK_PIPELINE".to_owned(), bytes: text.as_bytes().to_vec() }]);
        }
        ([], set) => vec![set.unwrap_or(DEFAULT_FILE)],
        (files, _) => files.iter().map(String::as_str).collect(),
    };
    files.into_iter().map(read).collect()
}

fn read(file: &str) -> Result<Source, String> {
    let mut bytes = Vec::new();
    let read = match file {
        "-" => io::stdin().read_to_end(&mut bytes).map(|_| ()),
        file => std::fs::read(file).map(|read| bytes = read),
    };
    let name = if file == "-" { "<stdin>" } else { file }.to_owned();
    read.map(|()| Source { name, bytes }).map_err(|error| format!("`{file}` cannot be read: {error}"))
}

fn as_json(source: &Source, problem: &Problem) -> Value {
    let Problem { severity, line, column, path, words, help } = problem;
    json!({
        "file": source.name, "line": line, "column": column, "severity": severity.to_string(), "path": path, "words": words,
        "help": help,
    })
}

/// A line for the problem, and below it the line of the file with a caret.
fn show(out: &mut String, source: &Source, lines: &[&[u8]], problem: &Problem, colours: bool) {
    let Problem { severity, line, column, .. } = problem;
    let (begin, end) = match (colours, severity) {
        (false, _) => ("", ""),
        (true, Severity::Error) => ("\x1b[1;31m", "\x1b[0m"),
        (true, Severity::Warning) => ("\x1b[1;33m", "\x1b[0m"),
    };
    let _ = writeln!(out, "{}:{line}:{column}: {begin}{severity}{end}: {}", source.name, problem.message());
    let text = lines.get(line - 1).map(|line| String::from_utf8_lossy(line)).unwrap_or_default();
    let text = text.trim_start_matches('\u{feff}').trim_end();
    if text.is_empty() || text.chars().count() > SHOWN_LINE || text.chars().any(|c| c.is_control() && c != '\t') {
        return;
    }
    // Tabs stay tabs, so that the caret stands where they put the text.
    let blank: String = text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let number = line.to_string();
    let gutter = " ".repeat(number.len());
    let _ = writeln!(out, "  {number} | {text}\n  {gutter} | {blank}{begin}^{end}");
}

fn summary(files: usize, errors: usize, warnings: usize) -> String {
    let counted = |count: usize, one: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    };
    let found = match (errors, warnings) {
        (0, 0) => "nothing is wrong".to_owned(),
        (errors, 0) => counted(errors, "error"),
        (0, warnings) => counted(warnings, "warning"),
        (errors, warnings) => format!("{}, {}", counted(errors, "error"), counted(warnings, "warning")),
    };
    format!("{}: {found}", counted(files, "file"))
}
