//! What steps mean together: what can never do anything, what overwrites, what no target can hold.

use super::convert::{From, To};
use super::path::{Part, Path};
use super::step::{Otherwise, Step};
use super::{Transform, Value};
use crate::encode::{BsonSink, Format, JsonSink, MARK_FIELD, Sink, Written};
use crate::json::RawStr;
use crate::pipeline::Problems;

/// What steps have done so far.
enum Event<'s> {
    Added(&'s Path),
    /// By which step.
    Removed(&'s Path, usize),
    Kept(&'s [Path], usize),
    /// Fields of any name were added.
    Anything,
}

/// Whether an element of one path may be one of the other.
fn meets(a: &Part, b: &Part) -> bool {
    a == b || matches!((a, b), (Part::Each, Part::Index(_)) | (Part::Index(_), Part::Each))
}

/// Whether `inner` lies at `outer` or below it.
fn below(outer: &Path, inner: &Path) -> bool {
    outer.top == inner.top
        && outer.rest.len() <= inner.rest.len()
        && outer.rest.iter().zip(&inner.rest).all(|(a, b)| meets(a, b))
}

/// The same, where every element that `inner` names is one of `outer`'s.
fn covers(outer: &Path, inner: &Path) -> bool {
    let all = |(a, b): (&Part, &Part)| a == b || matches!((a, b), (Part::Each, Part::Index(_)));
    below(outer, inner) && outer.rest.iter().zip(&inner.rest).all(all)
}

fn related(a: &Path, b: &Path) -> bool {
    below(a, b) || below(b, a)
}

/// The step that has certainly taken a field away.
fn gone(events: &[Event<'_>], path: &Path) -> Option<usize> {
    for event in events.iter().rev() {
        match event {
            Event::Anything => return None,
            Event::Added(added) if related(added, path) => return None,
            Event::Removed(removed, step) if covers(removed, path) => return Some(*step),
            Event::Kept(kept, step) if !kept.iter().any(|kept| related(kept, path)) => return Some(*step),
            _ => {}
        }
    }
    None
}

/// The fields that a step reads, each with its path in the file, from the step on.
fn reads(step: &Step) -> Vec<(String, &Path)> {
    fn listed(field: String, paths: &[Path]) -> Vec<(String, &Path)> {
        paths.iter().enumerate().map(|(index, path)| (format!("{field}[{index}]"), path)).collect()
    }
    let name = step.name();
    match step {
        Step::Convert { fields, .. } | Step::Mask { fields, .. } | Step::Hash { fields } => {
            listed(format!("{name}.field"), fields)
        }
        Step::Keep(fields) | Step::Drop(fields) => listed(name.to_owned(), fields),
        Step::Nest { fields, .. } | Step::Join { fields, .. } => listed(format!("{name}.fields"), fields),
        Step::Move { pairs, .. } => {
            pairs.iter().map(|(from, _)| (Problems::join(name, &from.to_string()), from)).collect()
        }
        Step::Flatten { field, .. } | Step::Split { field, .. } => vec![(format!("{name}.field"), field)],
        _ => Vec::new(),
    }
}

/// The fields that a step writes, each with its path in the file.
fn writes(step: &Step) -> Vec<(String, &Path)> {
    let name = step.name();
    match step {
        Step::Default(defaults) => {
            defaults.iter().map(|(path, _)| (Problems::join(name, &path.to_string()), path)).collect()
        }
        Step::Move { pairs, .. } => {
            pairs.iter().map(|(from, to)| (Problems::join(name, &from.to_string()), to)).collect()
        }
        Step::Set(set) => set.paths().map(|path| (Problems::join(name, &path.to_string()), path)).collect(),
        Step::Nest { into, .. } => vec![(format!("{name}.into"), into)],
        Step::Split { to, .. } | Step::Join { to, .. } => vec![(format!("{name}.to"), to)],
        Step::Convert { missing: Otherwise::Default, .. } => reads(step),
        _ => Vec::new(),
    }
}

/// Tells of all that is odd about the steps of a route, with nothing in the place of those that are not known. `list` is their path
/// in the file.
pub(super) fn check(steps: &[Option<Step>], list: &str, problems: &mut Problems<'_>) {
    let mut events: Vec<Event<'_>> = Vec::new();
    let mut moved: Vec<(&Path, usize)> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let Some(step) = step else {
            events.push(Event::Anything);
            continue;
        };
        let own = format!("{list}[{index}]");
        let (reads, writes) = (reads(step), writes(step));
        for (at, (rest, field)) in reads.iter().enumerate() {
            let place = place(&own, rest, problems);
            let puts_default = writes.iter().any(|(_, written)| written == field);
            if let Some(taken) = gone(&events, field).filter(|_| !puts_default) {
                let by = steps.get(taken).and_then(Option::as_ref).map_or("", Step::name);
                let line = problems.line(&format!("{list}[{taken}]"));
                let words =
                    format!("there is no `{field}` any more: transform[{taken}] ({by}, line {line}) takes it away");
                problems.wrong_name(place, words);
            } else if takes(step) && field.split_last().is_none() {
                let words = format!("`{field}`: {} takes members of maps away, no elements of lists", step.name());
                problems.wrong_name(place, words);
            } else if reads.iter().take(at).any(|(_, earlier)| earlier == field) {
                problems.suspicious(place, format!("`{field}` is there twice"));
            }
        }
        for (at, (rest, field)) in writes.iter().enumerate() {
            let place = place(&own, rest, problems);
            if field.top == MARK_FIELD {
                problems.wrong(place, format!("`{MARK_FIELD}` is the field that tidelock adds"));
            } else if let (Step::Move { .. }, Some((_, other))) =
                (step, writes.iter().take(at).find(|(_, other)| related(other, field)))
            {
                let words = format!("`{field}` and `{other}` are one place: what is put there first is lost");
                problems.wrong(place, words);
            } else if let (Step::Move { .. }, Some((_, earlier))) =
                (step, moved.iter().find(|(other, _)| other == field))
            {
                let words =
                    format!("`{field}` is where transform[{earlier}] puts a field, which is lost where both are there");
                problems.suspicious(place, words);
            }
        }
        match step {
            Step::Convert { from, to, missing, wrong, .. } => {
                let uses_default = [missing, wrong].contains(&&Otherwise::Default);
                conversion(&own, *from, *to, uses_default, problems);
            }
            Step::Split { separator, .. } if separator.is_empty() => {
                problems.suspicious(format!("{own}.split.separator"), "an empty separator splits between all letters");
            }
            _ => {}
        }
        moved.retain(|(place, _)| !reads.iter().any(|(_, read)| related(read, place)));
        match step {
            Step::Keep(fields) => events.push(Event::Kept(fields, index)),
            // Names that are made of the item's.
            _ if step.names().is_none() => events.push(Event::Anything),
            _ if takes(step) => events.extend(reads.iter().map(|(_, field)| Event::Removed(field, index))),
            _ => {}
        }
        if matches!(step, Step::Move { .. }) {
            moved.extend(writes.iter().map(|(_, to)| (*to, index)));
        }
        events.extend(writes.iter().map(|(_, field)| Event::Added(field)));
    }
}

/// Whether the fields that a step reads are gone afterwards.
fn takes(step: &Step) -> bool {
    matches!(step, Step::Drop(_) | Step::Move { copy: false, .. } | Step::Nest { .. } | Step::Flatten { .. })
}

/// The path of a part of a step. One field may stand there without a list.
fn place(own: &str, rest: &str, problems: &Problems<'_>) -> String {
    let whole = format!("{own}.{rest}");
    match whole.strip_suffix("[0]") {
        Some(alone) if !problems.has(&whole) => alone.to_owned(),
        _ => whole,
    }
}

fn conversion(own: &str, from: Option<From>, to: To, uses_default: bool, problems: &mut Problems<'_>) {
    let is_time = matches!(to, To::Date | To::EpochSeconds | To::EpochMilliseconds | To::EpochMicroseconds);
    let same = matches!(
        (from, to),
        (Some(From::EpochSeconds), To::EpochSeconds)
            | (Some(From::EpochMilliseconds), To::EpochMilliseconds)
            | (Some(From::EpochMicroseconds), To::EpochMicroseconds)
    );
    let of_binary = matches!(from, Some(From::Base64 | From::Hex));
    if of_binary && to != To::Binary {
        problems.wrong(format!("{own}.convert.from"), "is the text of binary, and `to` is not binary");
    } else if from.is_some() && !is_time && !of_binary {
        let words =
            "says how a time is told, and `to` makes no time of it: leave `from` out, or convert to a time first";
        problems.wrong(format!("{own}.convert.from"), words);
    } else if same {
        problems.suspicious(format!("{own}.convert.to"), "is what `from` says: nothing changes but what is refused");
    }
    let default = format!("{own}.convert.default");
    if !uses_default && problems.has(&default) {
        problems.suspicious(default, "is never used: neither `on_missing` nor `on_wrong_type` is `default`");
    }
}

impl Transform {
    /// The values in the steps that documents of a format cannot hold: where, and why.
    pub(crate) fn unwritable(&self, format: Format) -> Vec<(String, String)> {
        fn written<S: Sink>(mut sink: S, value: &Value) -> Written {
            sink.begin_document();
            sink.name(RawStr { raw: b"value", escaped: false })?;
            value.write(&mut sink)
        }
        let values = self.steps.iter().enumerate().flat_map(|(index, step)| match step {
            Step::Default(defaults) => defaults
                .iter()
                .map(|(path, value)| (Problems::join(&format!("transform[{index}].default"), &path.to_string()), value))
                .collect(),
            Step::Convert { default, .. } => vec![(format!("transform[{index}].convert.default"), default)],
            _ => Vec::new(),
        });
        let unwritable = values.filter_map(|(path, value)| {
            let written = match format {
                Format::Json => written(JsonSink::default(), value),
                Format::Bson => written(BsonSink::default(), value),
            };
            written.err().map(|fault| (path, fault.into_failure().detail))
        });
        unwritable.collect()
    }
}
