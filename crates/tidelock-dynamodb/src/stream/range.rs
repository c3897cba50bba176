//! Which of a shard's records are asked for, and how far they have come.

use super::Fetched;
use super::page::Record;
use tidelock_core::version::Sequence;

/// Where a new iterator begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start<'a> {
    At(&'a str),
    After(&'a str),
    /// The oldest record that the stream still has.
    Horizon,
}

/// The last record that was taken.
#[derive(Debug)]
struct Last {
    text: String,
    number: Sequence,
    /// Where it lies among those taken.
    index: usize,
}

/// The records from one sequence number to another, both included.
#[derive(Debug)]
pub(super) struct Range {
    from: (String, Sequence),
    to: Sequence,
    limit: usize,
    bytes: usize,
    /// The first one has been met, or is known to be missing.
    begun: bool,
    last: Option<Last>,
    trimmed: bool,
    fetched: Fetched,
}

impl Range {
    pub(super) fn new(from: &str, to: &str, limit: usize) -> Result<Self, String> {
        let parse = |text: &str| {
            let none = || format!("`{text}` is no sequence number: it must be a number of at most 40 digits");
            Sequence::parse(text.as_bytes()).ok_or_else(none)
        };
        let (first, last) = (parse(from)?, parse(to)?);
        if first > last {
            return Err(format!("the range is empty: it begins with {from} and ends with {to}"));
        }
        Ok(Self {
            from: (from.to_owned(), first),
            to: last,
            limit,
            bytes: 0,
            begun: false,
            last: None,
            trimmed: false,
            fetched: Fetched::default(),
        })
    }

    pub(super) fn start(&self) -> Start<'_> {
        match &self.last {
            _ if self.trimmed => Start::Horizon,
            Some(last) => Start::After(&last.text),
            None => Start::At(&self.from.0),
        }
    }

    /// Takes what belongs to the range; gives whether nothing more does, or has room.
    pub(super) fn take(&mut self, records: Vec<Record>) -> bool {
        for Record { number, text } in records {
            // One without a number is the decoder's to refuse.
            let Some((name, number)) = number else {
                self.push(text);
                continue;
            };
            if number < self.from.1 || self.last.as_ref().is_some_and(|last| number <= last.number) {
                continue;
            }
            if !self.begun && number > self.from.1 {
                self.forgotten(&format!("its oldest record in the range is {name}, not {}", self.from.0));
            }
            self.begun = true;
            if number > self.to {
                return true;
            }
            if !self.fetched.records.is_empty() && self.bytes.saturating_add(text.len()) > self.limit {
                self.fetched.next = Some(name);
                return true;
            }
            self.last = Some(Last { text: name, number, index: self.fetched.records.len() });
            self.trimmed = false;
            self.push(text);
            if number == self.to {
                return true;
            }
        }
        false
    }

    fn push(&mut self, text: String) {
        self.bytes = self.bytes.saturating_add(text.len());
        self.fetched.records.push(text);
    }

    /// The stream has forgotten what comes next: on with the oldest that it has.
    pub(super) fn trimmed(&mut self, why: &str) {
        self.trimmed = true;
        self.forgotten(why);
    }

    /// Records of the range are missing for good. The first reason stands.
    pub(super) fn forgotten(&mut self, why: &str) {
        self.begun = true;
        self.fetched.forgotten.get_or_insert_with(|| why.to_owned());
    }

    /// What has been got, when there is no more.
    pub(super) fn finish(mut self) -> Fetched {
        if !self.begun {
            let words = format!("the shard holds no record of the range, which begins with {}", self.from.0);
            self.forgotten(&words);
        }
        self.fetched
    }

    /// What has been got, when there is more and it cannot be read now: all but the last one, from which to go on.
    pub(super) fn break_off(mut self) -> Option<Fetched> {
        let last = self.last.take()?;
        self.fetched.records.truncate(last.index);
        self.fetched.next = Some(last.text);
        (!self.fetched.records.is_empty()).then_some(self.fetched)
    }
}
