//! What a shadow has found: a line for each key that differs, and the counts.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::explain::json::{Field, fields};
use crate::explain::text::{Colour, Paint, changes, cut};
use serde::Serialize;
use serde_json::value::RawValue;
use tidelock_core::cause::Failure;
use tidelock_core::diff::Change;
use tidelock_core::shadow::{Compared, Comparison, Refused, Verdict};
use tidelock_core::target::Place;
use tidelock_core::version::Mark;

/// The form of the output.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Text(Paint),
    Json,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
struct Counts {
    records: usize,
    keys: usize,
    same: usize,
    newer: usize,
    differs: usize,
    missing: usize,
    unwanted: usize,
    foreign: usize,
    unknown: usize,
    refused: usize,
    filtered: usize,
    unread: usize,
    recalled: usize,
}

/// Counts, and tells as it goes; or at the end, where a later batch may have the last word on a key.
pub(super) struct Tally {
    form: Form,
    counts: Counts,
    kept: Option<Kept>,
}

/// The newest comparison of each location, in the order in which they first came.
#[derive(Default)]
struct Kept {
    all: Vec<Compared>,
    /// Where each is, by place and id.
    index: HashMap<(Place, String), usize>,
}

impl Kept {
    fn take(&mut self, key: Compared) {
        let next = self.all.len();
        let at = *self.index.entry((key.place.clone(), key.id.clone())).or_insert(next);
        match self.all.get_mut(at) {
            Some(known) if key.version.compare(&known.version) == Some(Ordering::Less) => {}
            Some(known) => *known = key,
            None => self.all.push(key),
        }
    }
}

#[derive(Serialize)]
struct Object<'a> {
    found: &'static str,
    place: &'a str,
    id: Option<Box<RawValue>>,
    event: Option<&'a str>,
    source: &'a str,
    key: Option<Box<RawValue>>,
    version: &'a Mark,
    stored: Option<&'a Mark>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Field<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl Tally {
    /// With `at_end`, keys are told of at the end, each once.
    pub(super) fn new(form: Form, at_end: bool) -> Self {
        Self { form, counts: Counts::default(), kept: at_end.then(Kept::default) }
    }

    /// Records so far.
    pub(super) fn records(&self) -> usize {
        self.counts.records
    }

    /// Nothing differs, and all could be compared. What would become a dead letter is no difference of the target's.
    pub(super) fn is_clean(&self) -> bool {
        let Counts { differs, missing, unwanted, foreign, unknown, .. } = self.counts;
        differs + missing + unwanted + foreign + unknown == 0
    }

    pub(super) fn take(&mut self, comparison: Comparison) {
        let counts = &mut self.counts;
        counts.records += comparison.records;
        counts.refused += comparison.refused.len();
        counts.filtered += comparison.filtered;
        counts.unread += comparison.unread.len();
        counts.recalled += comparison.recalled;
        for key in comparison.keys {
            match &mut self.kept {
                Some(kept) => kept.take(key),
                None => self.tell(&key),
            }
        }
        for Refused { source, key, failure, .. } in &comparison.refused {
            let (source, key) = (source.as_deref(), key.as_deref());
            match self.form {
                Form::Json => {
                    let key = key.and_then(|key| serde_json::from_str::<serde_json::Value>(key).ok());
                    let why = told(failure);
                    println!("{}", serde_json::json!({"found": "refused", "source": source, "key": key, "why": why}));
                }
                Form::Text(paint) => {
                    let refused = paint.paint(Colour::Yellow, "refused ");
                    println!(
                        "{refused}  {} {}  {}",
                        source.unwrap_or("?"),
                        cut(key.unwrap_or("?")),
                        cut(&told(failure))
                    );
                }
            }
        }
    }

    fn tell(&mut self, key: &Compared) {
        let counts = &mut self.counts;
        counts.keys += 1;
        let (word, count) = match &key.verdict {
            Verdict::Same => ("same", &mut counts.same),
            Verdict::Newer => ("newer", &mut counts.newer),
            Verdict::Differs(_) => ("differs", &mut counts.differs),
            Verdict::Missing => ("missing", &mut counts.missing),
            Verdict::Unwanted => ("unwanted", &mut counts.unwanted),
            Verdict::Foreign(_) => ("foreign", &mut counts.foreign),
            Verdict::Unknown(_) => ("unknown", &mut counts.unknown),
        };
        *count += 1;
        match self.form {
            Form::Json if key.verdict != Verdict::Same => println!("{}", json(word, key)),
            Form::Text(paint) if key.verdict.is_other() => print!("{}", text(word, key, paint)),
            _ => {}
        }
    }

    /// Tells the counts, and what is to be told before them.
    pub(super) fn end(&mut self) {
        for key in self.kept.take().unwrap_or_default().all {
            self.tell(&key);
        }
        let counts = self.counts;
        if let Form::Json = self.form {
            println!("{}", serde_json::json!({ "summary": counts }));
            return;
        }
        println!("{} records, {} keys", counts.records, counts.keys);
        for (count, what) in [
            (counts.same, "same"),
            (counts.newer, "newer in the target"),
            (counts.differs, "differ"),
            (counts.missing, "missing"),
            (counts.unwanted, "should not be there"),
            (counts.foreign, "differ, in documents of another writer"),
            (counts.unknown, "could not be looked at"),
            (counts.refused, "would become dead letters"),
            (counts.filtered, "left out by the pipeline"),
            (counts.unread, "came without their items: only the source knows"),
            (
                counts.recalled,
                "may have left places that only the state knows (`locate: state`): those are not looked at",
            ),
        ] {
            if count > 0 {
                println!("{count:>10}  {what}");
            }
        }
    }
}

fn told(failure: &Failure) -> String {
    format!("{}: {}", failure.cause.code(), failure.detail)
}

fn of(verdict: &Verdict) -> (&[Change], Option<String>) {
    match verdict {
        Verdict::Differs(changes) | Verdict::Foreign(changes) => (changes, None),
        Verdict::Unknown(failure) => (&[], Some(told(failure))),
        Verdict::Same | Verdict::Newer | Verdict::Missing | Verdict::Unwanted => (&[], None),
    }
}

fn json(word: &'static str, key: &Compared) -> String {
    let raw = |text: &str| RawValue::from_string(text.to_owned()).ok();
    let (changed, why) = of(&key.verdict);
    let object = Object {
        found: word,
        place: &key.place.name,
        id: raw(&key.id),
        event: key.event.as_deref(),
        source: &key.source,
        key: raw(&key.key),
        version: &key.version,
        stored: key.stored.as_ref(),
        fields: fields(changed).unwrap_or_default(),
        why,
    };
    serde_json::to_string(&object).unwrap_or_default()
}

fn text(word: &str, key: &Compared, paint: Paint) -> String {
    let version = |mark: &Mark| mark.exact.trim_start_matches('0').to_owned();
    let stored = match &key.stored {
        Some(mark) if mark.space == key.version.space => format!(", stored {}", version(mark)),
        Some(mark) => format!(", stored by {}", mark.space),
        None => String::new(),
    };
    let event = key.event.as_deref().unwrap_or("?");
    let (colour, word) = (if word == "unknown" { Colour::Yellow } else { Colour::Red }, format!("{word:<8}"));
    let mut out = format!(
        "{}  {} {}  {event} {} {}  version {}{stored}\n",
        paint.paint(colour, &word),
        key.place.name,
        cut(&key.id),
        key.source,
        cut(&key.key),
        version(&key.version),
    );
    let (changed, why) = of(&key.verdict);
    for line in changes(changed, ("missing", "missing"), paint).chain(why) {
        out.push_str("          ");
        out.push_str(&line);
        out.push('\n');
    }
    out
}
