//! Explanations for people.

use std::fmt::Write as _;

use tidelock_core::diff::Change;
use tidelock_core::explain::{Act, Becomes, Explanation, Outlook};
use tidelock_core::pipeline::Asked;
use tidelock_core::target::ShardValue;
use tidelock_core::transform::Traced;
use tidelock_sync::Sent;

/// Characters of a line that are shown.
const SHOWN: usize = 600;

/// Columns of the labels.
const LABEL: usize = 11;

/// So many routes of other sources are told one by one.
const SHORT_ROW: usize = 4;

/// As terminals number them.
#[derive(Clone, Copy)]
pub(crate) enum Colour {
    Bold = 1,
    Red = 31,
    Green = 32,
    Yellow = 33,
    Grey = 90,
}

/// Whether colours are wanted.
#[derive(Clone, Copy)]
pub(crate) struct Paint {
    pub(crate) colours: bool,
}

impl Paint {
    pub(crate) fn paint(self, colour: Colour, text: &str) -> String {
        if self.colours { format!("\x1b[{}m{text}\x1b[0m", colour as u8) } else { text.to_owned() }
    }
}

/// All of them, one after the other.
pub(super) fn page(told: &[Explanation<Sent>], paint: Paint) -> String {
    if told.is_empty() {
        return "the event has no records\n".to_owned();
    }
    let mut page = Page { out: String::new(), paint };
    for (index, told) in told.iter().enumerate() {
        if index > 0 {
            page.out.push('\n');
        }
        page.one(told);
    }
    page.out
}

struct Page {
    out: String,
    paint: Paint,
}

impl Page {
    /// Lines beside one label.
    fn lines(&mut self, label: &str, lines: impl IntoIterator<Item = String>) {
        for (index, line) in lines.into_iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            // Writing to a String cannot fail.
            let _ = writeln!(self.out, "  {label:<LABEL$}{line}");
        }
    }

    fn line(&mut self, label: &str, line: String) {
        self.lines(label, [line]);
    }

    fn one(&mut self, told: &Explanation<Sent>) {
        let absent = || "?".to_owned();
        let further = if told.branch > 0 { format!(" (further route {})", told.branch) } else { String::new() };
        let head = format!("Records[{}]{further}", told.record);
        let event = told.event.clone().unwrap_or_else(absent);
        let source = told.source.clone().unwrap_or_else(absent);
        let _ = writeln!(
            self.out,
            "{}  {event} {source} {}",
            self.paint.paint(Colour::Bold, &head),
            cut(&told.key.clone().unwrap_or_else(absent))
        );
        if let Some(stream) = &told.stream {
            self.line("stream", stream.clone());
        }
        match &told.version {
            Some(version) => {
                let exact = version.exact.trim_start_matches('0');
                self.line("version", format!("{} {exact} (coarse {})", version.label, version.coarse));
            }
            None => self.line("version", format!("none: position {}", told.position.clone().unwrap_or_else(absent))),
        }
        if told.routes.is_empty() && told.source.is_some() {
            self.line("route", "no pipeline: every source goes to a target of its own name".to_owned());
        }
        for (label, routes) in [("route", &told.routes), ("before", &told.routes_before)] {
            // Of those that were not asked there is nothing to learn.
            let asked = routes.iter().filter(|asked| asked.asked).collect::<Vec<_>>();
            let name = told.source.as_deref().unwrap_or_default();
            let lines = asked.chunk_by(|one, next| one.of_others && next.of_others);
            let lines = lines.flat_map(|run| self.asked_in_a_row(run, name)).collect::<Vec<_>>();
            self.lines(label, lines);
        }
        let steps = told.steps.iter().flat_map(|step| self.step(step)).collect::<Vec<_>>();
        self.lines("transform", steps);
        for act in &told.acts {
            self.act(act);
        }
        if told.recalls {
            let words = "where else it has been is kept in the state (`locate: state`), which is not asked here";
            self.line("leaves", self.paint.paint(Colour::Grey, words));
        }
        self.outlook(&told.outlook);
    }

    /// A long row of routes of other sources is one line.
    fn asked_in_a_row(&self, row: &[&Asked], source: &str) -> Vec<String> {
        match row {
            [first, .., last] if row.len() > SHORT_ROW => {
                let (first, last, count) = (first.route, last.route, row.len());
                let line =
                    format!("routes[{first}] to routes[{last}]: `from` of none of the {count} matches `{source}`");
                vec![self.paint.paint(Colour::Grey, &line)]
            }
            row => row.iter().map(|asked| self.asked(asked)).collect(),
        }
    }

    fn asked(&self, asked: &Asked) -> String {
        let name = asked.name.as_ref().map_or(String::new(), |name| format!(" {name}"));
        let line = format!("routes[{}]{name}: {}", asked.route, asked.said);
        if asked.takes {
            self.paint.paint(Colour::Green, &format!("{line}: taken"))
        } else {
            self.paint.paint(Colour::Grey, &line)
        }
    }

    fn step(&self, step: &Traced) -> Vec<String> {
        let mut lines = vec![format!("{} {}", step.step, step.name)];
        if step.changes.is_empty() && step.failure.is_none() {
            lines.push(self.paint.paint(Colour::Grey, "  changes nothing"));
        }
        lines.extend(changes(&step.changes, ("missing", "missing"), self.paint).map(|line| format!("  {line}")));
        lines.extend(step.failure.iter().map(|why| self.paint.paint(Colour::Red, &format!("  fails: {why}"))));
        lines
    }

    fn act(&mut self, act: &Act<Sent>) {
        let mut place = format!("{}  id {}", act.place.name, cut(&act.id));
        if let Some(routing) = &act.place.routing {
            let _ = write!(place, "  routing {routing}");
        }
        for (field, value) in &act.place.shard_key {
            let _ = write!(place, "  shard key {field}={}", shard_value(value));
        }
        self.line(if act.leaves { "leaves" } else { "enters" }, place);
        let manner = act.manner.iter().flat_map(|manner| {
            let kept =
                (!manner.preserve.is_empty()).then(|| format!(" and keeps {} of it", manner.preserve.join(", ")));
            let reads = "reads first what is stored";
            let merges = manner
                .needs_stored()
                .then(|| format!("{reads}{}; shown is what is sent where nothing is", kept.unwrap_or_default()));
            let through = manner.ingest_pipeline.as_ref().map(|name| format!("through the ingest pipeline {name}"));
            [merges, through].into_iter().flatten()
        });
        self.lines("", manner.collect::<Vec<_>>());
        match &act.becomes {
            Becomes::Sent { request, deletes, stands_for } => {
                if !stands_for.is_empty() {
                    self.line("", format!("stands for {}: older changes of the key", records(stands_for)));
                }
                self.line(if *deletes { "deletes" } else { "writes" }, request.to.clone());
                self.lines("", request.lines.iter().map(|line| cut(line)).collect::<Vec<_>>());
            }
            Becomes::Read { stands_for } => {
                if !stands_for.is_empty() {
                    self.line("", format!("stands for {}: older changes of the key", records(stands_for)));
                }
                self.line("reads", "the source, and writes what it holds then".to_owned());
            }
            Becomes::StoodFor(record) => {
                let line = format!("nothing: Records[{record}] stands for it, a newer change of the key");
                self.line("writes", line);
            }
            Becomes::Refused(failure) => {
                let line = format!("nothing: {}", failure.cause.code());
                let line = self.paint.paint(Colour::Red, &line);
                self.line("writes", line);
            }
        }
    }

    fn outlook(&mut self, outlook: &Outlook) {
        let (colour, line, failure) = match outlook {
            Outlook::Written => (Colour::Green, "done, unless the target holds something newer".to_owned(), None),
            Outlook::DeletesAll(places) => {
                let places = places.iter().map(|place| place.name.as_str()).collect::<Vec<_>>().join(", ");
                let line = format!("all documents of the collection that are older go from {places} (`delete-all`)");
                (Colour::Yellow, line, None)
            }
            Outlook::Filtered(why) => (Colour::Yellow, format!("left out: {why}"), None),
            Outlook::Held => {
                let line = "to the fallback queue (`on_outage: always_hold`); `redrive` writes it".to_owned();
                (Colour::Yellow, line, None)
            }
            Outlook::Parked(failure) => (Colour::Red, format!("dead letter: {}", failure.cause.code()), Some(failure)),
            Outlook::Retried(failure) => (Colour::Red, format!("comes again: {}", failure.cause.code()), Some(failure)),
        };
        let line = self.paint.paint(colour, &line);
        self.line("outcome", line);
        if let Some(failure) = failure {
            self.lines("", [cut(&failure.detail), format!("do: {}", failure.cause.action())]);
        }
    }
}

/// Changes as `git diff` shows them; what stands where there is nothing, before and after.
pub(crate) fn changes<'c>(
    changes: &'c [Change],
    (no_before, no_after): (&'c str, &'c str),
    paint: Paint,
) -> impl Iterator<Item = String> + 'c {
    changes.iter().flat_map(move |Change { path, before, after }| {
        let path = if path.is_empty() { "." } else { path };
        let line = |sign: char, value: &Option<String>, none: &str| {
            format!("{sign} {path}: {}", value.as_deref().map_or(none.to_owned(), cut))
        };
        [
            paint.paint(Colour::Red, &line('-', before, no_before)),
            paint.paint(Colour::Green, &line('+', after, no_after)),
        ]
    })
}

fn records(numbers: &[usize]) -> String {
    numbers.iter().map(|number| format!("Records[{number}]")).collect::<Vec<_>>().join(", ")
}

fn shard_value(value: &ShardValue) -> String {
    match value {
        ShardValue::Null => "null".to_owned(),
        ShardValue::Boolean(value) => value.to_string(),
        ShardValue::Number(text) => text.clone(),
        ShardValue::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
    }
}

/// What of a text is shown on a line.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => {
            format!("{}… ({} bytes, whole with --json)", text.get(..at).unwrap_or_default(), text.len())
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_and_colours_are_asked_for() {
        assert_eq!(cut("é"), "é");
        let long = cut(&"é".repeat(700));
        assert!(long.starts_with("éé") && long.ends_with("é… (1400 bytes, whole with --json)"));
        let change = Change { path: "a".to_owned(), before: None, after: Some("1".to_owned()) };
        let lines = |colours| {
            changes(std::slice::from_ref(&change), ("missing", "gone"), Paint { colours }).collect::<Vec<_>>()
        };
        assert_eq!(lines(false), ["- a: missing", "+ a: 1"]);
        assert_eq!(lines(true), ["\x1b[31m- a: missing\x1b[0m", "\x1b[32m+ a: 1\x1b[0m"]);
    }
}
