//! The protocol: which part of a batch is tried next, and what a death says.

use crate::letter::fingerprint;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How many deaths by itself a record is parked after.
const DEATHS: u8 = 2;

/// Into how many parts one is split that has died.
const PARTS: usize = 10;

/// How long it is believed that records have passed: longer than an invocation and the wait for the next, and not so long that
/// somebody could meanwhile have emptied the target, to fill it again from the stream.
const BELIEVED_MS: i64 = 30 * 60_000;

/// What is to be done next; it is on trial once [`Journal::text`] is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// These records are worked on.
    Try(Range<usize>),
    /// This record is parked; without reading it, where that has killed as well.
    Park {
        /// Its place in the batch.
        record: usize,
        /// Its key and version may be read.
        readable: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Open,
    /// Everything in it is applied, parked or held.
    Passed,
    /// Parked, because it kills.
    Parked,
}

/// Records that follow each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    records: usize,
    state: State,
    /// Of a record by itself: how often it has died.
    deaths: u8,
    /// Of a record by itself: reading it for its letter has killed, too.
    unreadable: bool,
    /// A fingerprint of the records' text; empty where nobody has looked at it: then it is the whole batch.
    print: String,
}

/// What the state keeps.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Entry {
    /// When it was written, milliseconds since 1970.
    at: i64,
    /// Which part was being worked on.
    trial: Option<usize>,
    /// It was being parked.
    parking: bool,
    parts: Vec<Part>,
}

/// What is known of a batch: its parts, from the first record to the last.
#[derive(Debug)]
pub struct Journal<'a> {
    payload: &'a [u8],
    records: &'a [Range<usize>],
    entry: Entry,
}

impl<'a> Journal<'a> {
    /// A batch of which nothing is known: all of it is on trial. `records` are ranges of the payload.
    #[must_use]
    pub fn new(payload: &'a [u8], records: &'a [Range<usize>]) -> Self {
        let mut journal = Self { payload, records, entry: Entry::default() };
        let print = if records.len() == 1 { journal.print(0..1) } else { String::new() };
        journal.entry.trial = Some(0);
        journal.entry.parts =
            vec![Part { records: records.len(), state: State::Open, deaths: 0, unreadable: false, print }];
        journal
    }

    /// A batch of which an earlier environment has left word. What was on trial then has died: beside the journal stand its
    /// records. What cannot be read, or is about other records, is not known; what has passed long ago is tried again.
    #[must_use]
    pub fn resume(
        text: &str,
        now_ms: i64,
        payload: &'a [u8],
        records: &'a [Range<usize>],
    ) -> (Self, Option<Range<usize>>) {
        let left: Entry = serde_json::from_str(text).unwrap_or_default();
        let mut journal = Self { payload, records, entry: Entry::default() };
        let believed = now_ms.saturating_sub(left.at) <= BELIEVED_MS;
        let mut from = 0;
        for mut part in left.parts {
            let to = from + part.records.min(records.len());
            let whole = part.print.is_empty() && part.records == records.len();
            if part.records == 0 || to > records.len() || !(whole || part.print == journal.print(from..to)) {
                break;
            }
            if !believed {
                part.state = State::Open;
            }
            journal.entry.parts.push(part);
            from = to;
        }
        let known = journal.entry.parts.len();
        if from < records.len() {
            let rest = journal.part(from..records.len());
            journal.entry.parts.push(rest);
        }
        let dead = left.trial.map(|trial| trial.min(known)).filter(|dead| *dead < journal.entry.parts.len());
        let range = dead.map(|dead| journal.range(dead));
        if let Some(dead) = dead {
            journal.dies(dead, dead < known, left.parking);
        }
        (journal, range)
    }

    /// A part has died: it is split, or counts one death more where it is one record, known to have been by itself.
    fn dies(&mut self, dead: usize, known: bool, parking: bool) {
        let range = self.range(dead);
        if range.len() > 1 {
            let count = range.len().min(PARTS);
            let cut = |index: usize| range.start + range.len() * index / count;
            let parts: Vec<Part> = (0..count).map(|index| self.part(cut(index)..cut(index + 1))).collect();
            self.entry.parts.splice(dead..=dead, parts);
        } else if let Some(part) = self.entry.parts.get_mut(dead).filter(|_| known) {
            part.deaths = part.deaths.saturating_add(u8::from(!parking));
            part.unreadable |= parking;
        }
    }

    fn part(&self, range: Range<usize>) -> Part {
        let print = self.print(range.clone());
        Part { records: range.len(), state: State::Open, deaths: 0, unreadable: false, print }
    }

    fn print(&self, range: Range<usize>) -> String {
        let records = self.records.get(range).unwrap_or_default();
        let texts: Vec<&[u8]> =
            records.iter().map(|record| self.payload.get(record.clone()).unwrap_or_default()).collect();
        fingerprint(&texts)
    }

    fn range(&self, part: usize) -> Range<usize> {
        let lengths = || self.entry.parts.iter().map(|part| part.records);
        let from = lengths().take(part).sum();
        from..from + lengths().nth(part).unwrap_or_default()
    }

    /// What is to be done next, from the first record on, records that are to be parked last; `None` when all is done.
    pub fn step(&mut self) -> Option<Step> {
        let condemned = |part: &Part| part.records == 1 && part.deaths >= DEATHS;
        let open = |part: &Part| part.state == State::Open;
        let parts = &self.entry.parts;
        let next = parts.iter().position(|part| open(part) && !condemned(part));
        let next = next.or_else(|| parts.iter().position(open))?;
        let part = parts.get(next)?;
        let (parking, readable) = (condemned(part), !part.unreadable);
        let range = self.range(next);
        (self.entry.trial, self.entry.parking) = (Some(next), parking);
        Some(if parking { Step::Park { record: range.start, readable } } else { Step::Try(range) })
    }

    /// What was on trial is done.
    pub fn passes(&mut self) {
        let state = if self.entry.parking { State::Parked } else { State::Passed };
        if let Some(part) = self.entry.trial.take().and_then(|trial| self.entry.parts.get_mut(trial)) {
            part.state = state;
        }
    }

    /// Nothing is on trial: the batch comes again, and nobody has died.
    pub fn pauses(&mut self) {
        self.entry.trial = None;
    }

    /// The record that was to be parked is tried once more instead.
    pub fn spares(&mut self) {
        if let Some(part) = self.entry.trial.take().and_then(|trial| self.entry.parts.get_mut(trial)) {
            part.deaths = DEATHS - 1;
        }
    }

    /// What was on trial comes again, and all behind it: what is before it is still to be finished.
    pub fn cut(&mut self) {
        let trial = self.entry.trial.take();
        self.entry.parts.truncate(trial.unwrap_or(usize::MAX));
    }

    /// Some records of the batch have passed, now or before: it is not the function alone that is to blame.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.entry.parts.iter().any(|part| part.state == State::Passed)
    }

    /// What the state is to keep.
    #[must_use]
    pub fn text(&mut self, now_ms: i64) -> String {
        self.entry.at = now_ms;
        serde_json::to_string(&self.entry).unwrap_or_default()
    }
}
