//! Versions: which of two changes of a key is the newer one.
//!
//! A version is a pure function of the event, the same on every retry and in every process. It has a **space** (whose
//! numbers these are), a **label** and an **exact** number; within one space, `(label, exact)` compared as text is the
//! source's order, because each source writes both in a form of fixed width. The **coarse** version is a 63-bit summary for
//! targets that guard with an integer (OpenSearch's external versions): weakly monotone in the exact order, so a higher
//! coarse version implies a newer change, and an equal one says nothing. A **token** tells changes apart that a source gives
//! the same number.
//!
//! Each source has a module; the first part of a space names it, so that a stored version can be read without its source.

pub mod debezium;
pub mod dynamodb;
pub mod field;
pub mod kafka;
pub mod kinesis;
pub mod mongodb;

mod number;

pub use dynamodb::{Sequence, StreamLabel};
pub use number::{Exact, Refusal};
use number::{fixed, integer};

use std::cmp::Ordering;

/// A change's place in its source's order.
pub trait Position {
    /// See [`Version::label`]; empty for sources without epochs of their own.
    fn label(&self) -> &str {
        ""
    }

    /// See [`Version::exact`].
    fn exact(&self) -> &str;

    /// See [`Version::coarse`].
    fn coarse(&self) -> i64;

    /// The version of the change at this place.
    fn version<'a>(&'a self, space: &'a str, token: &'a str, at: i64) -> Version<'a> {
        Version { space, label: self.label(), exact: self.exact(), token, coarse: self.coarse(), at }
    }
}

/// The version of one change, as a target needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version<'a> {
    /// Whose numbers these are; versions of different spaces do not compare.
    pub space: &'a str,
    /// The source's own epoch: a stream's label, a log file.
    pub label: &'a str,
    /// The number whole, in a form whose text order is its order.
    pub exact: &'a str,
    /// Tells changes of equal `(label, exact)` apart, without ordering them; empty where the source has none.
    pub token: &'a str,
    /// 63 bits, above 0, weakly monotone in `(label, exact)`.
    pub coarse: i64,
    /// The source's time of the change, milliseconds since 1970.
    pub at: i64,
}

/// What a target has stored of the version that last wrote a document: the `_tidelock` field.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mark {
    /// See [`Version::space`].
    pub space: String,
    /// See [`Version::label`].
    pub label: String,
    /// See [`Version::exact`].
    pub exact: String,
    /// See [`Version::token`].
    #[serde(default)]
    pub token: String,
    /// See [`Version::at`].
    #[serde(default)]
    pub at: i64,
    /// Fields of the document have been [set aside](crate::salvage), so that an equal version is written once more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub part: bool,
}

impl Mark {
    /// The coarse version, computed anew; `None` when the space is of no known source, or label and exact number are not of
    /// the form that the source writes.
    #[must_use]
    pub fn coarse(&self) -> Option<i64> {
        let (kind, _) = self.space.split_once(':')?;
        let coarse = match kind {
            dynamodb::KIND => dynamodb::coarse,
            kinesis::KIND => kinesis::coarse,
            mongodb::KIND => mongodb::coarse,
            debezium::POSTGRESQL => debezium::postgresql_coarse,
            debezium::MYSQL => debezium::mysql_coarse,
            kafka::KIND => kafka::coarse,
            field::KIND => field::coarse,
            _ => return None,
        };
        coarse(&self.label, &self.exact)
    }

    /// The version that was stored; `None` when its [coarse version](Self::coarse) cannot be read.
    #[must_use]
    pub fn version(&self) -> Option<Version<'_>> {
        Some(Version {
            space: &self.space,
            label: &self.label,
            exact: &self.exact,
            token: &self.token,
            coarse: self.coarse()?,
            at: self.at,
        })
    }

    /// The source's order of two stored versions; `None` when they are of different spaces, or one of them is not of the form
    /// that its source writes: as texts of different forms they would compare, but not in any order.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        let comparable = self.space == other.space && self.coarse().is_some() && other.coarse().is_some();
        comparable.then(|| (&self.label, &self.exact).cmp(&(&other.label, &other.exact)))
    }
}

/// What the stored version says about a change that a guard has refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// The document was written by a newer change: nothing to do.
    Stale,
    /// The document was written by this very change.
    Replay,
    /// The document was written by another change of equal number: which of them is the newer one, the version does not say.
    Tie,
    /// The document is older: write it, provided it is still the one that was read.
    Newer,
    /// Stale by number, which proves nothing: it is later by the source's time, by two seconds or more, or the number is the
    /// item's own and may have begun anew.
    OrderConflict,
    /// The document carries no version of this space: a live change takes it over.
    Foreign,
}

/// Two seconds: DynamoDB cuts the time of change to whole seconds, so a smaller difference proves nothing.
const CLOCK_GRAIN_MS: i64 = 2_000;

impl Version<'_> {
    /// Judges this change against what the target has stored (`None`: no readable `_tidelock`).
    #[must_use]
    pub fn judge(&self, stored: Option<&Mark>) -> Judgement {
        let Some(stored) = stored.filter(|mark| mark.space == self.space && mark.coarse().is_some()) else {
            return Judgement::Foreign;
        };
        match (self.label, self.exact).cmp(&(stored.label.as_str(), stored.exact.as_str())) {
            Ordering::Greater => Judgement::Newer,
            Ordering::Equal if self.is_other(&stored.token) => Judgement::Tie,
            Ordering::Equal => Judgement::Replay,
            // Numbers may have begun anew: only the source can tell.
            Ordering::Less if self.is_of_an_item() => Judgement::OrderConflict,
            Ordering::Less if self.at >= stored.at.saturating_add(CLOCK_GRAIN_MS) => Judgement::OrderConflict,
            Ordering::Less => Judgement::Stale,
        }
    }

    /// Its number is one that [items hold](field).
    #[must_use]
    pub fn is_of_an_item(&self) -> bool {
        field::is_space(self.space)
    }

    /// Whether a token of the same number is that of another change. One that is missing proves nothing.
    fn is_other(&self, token: &str) -> bool {
        !self.token.is_empty() && !token.is_empty() && self.token != token
    }

    /// What a target stores of it.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark {
            space: self.space.to_owned(),
            label: self.label.to_owned(),
            exact: self.exact.to_owned(),
            token: self.token.to_owned(),
            at: self.at,
            part: false,
        }
    }

    /// Writes the `_tidelock` object as JSON.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"space\":");
        crate::json::write_string(out, self.space);
        out.extend_from_slice(b",\"label\":");
        crate::json::write_string(out, self.label);
        out.extend_from_slice(b",\"exact\":");
        crate::json::write_string(out, self.exact);
        if !self.token.is_empty() {
            out.extend_from_slice(b",\"token\":");
            crate::json::write_string(out, self.token);
        }
        out.extend_from_slice(b",\"at\":");
        out.extend_from_slice(self.at.to_string().as_bytes());
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::TestCaseError;

    /// Checks what holds for any two changes of a space.
    pub(super) fn agrees(space: &str, a: &impl Position, b: &impl Position) -> Result<(), TestCaseError> {
        let (a, b) = (a.version(space, "a", 5), b.version(space, "", 6));
        let exact = (a.label, a.exact).cmp(&(b.label, b.exact));
        let coarse = a.coarse.cmp(&b.coarse);
        prop_assert!(coarse == Ordering::Equal || coarse == exact, "{a:?} {b:?}");
        prop_assert!(a.coarse > 0 && b.coarse > 0, "{a:?} {b:?}");
        prop_assert_eq!(a.mark().compare(&b.mark()), Some(exact));
        for version in [a, b] {
            let mark = version.mark();
            prop_assert_eq!(mark.coarse(), Some(version.coarse));
            prop_assert_eq!(mark.version(), Some(version));
            let exact = Exact::new(version.exact);
            prop_assert_eq!(exact.as_ref().map(Exact::as_str), Some(version.exact));
        }
        Ok(())
    }

    /// Checks that what is no number of 64 bits is refused, and that the reason says what was found.
    pub(super) fn refuses(read: impl Fn(Option<&str>) -> Option<Refusal>) {
        let long = "1".repeat(10_000);
        for text in [
            "",
            " ",
            "x",
            "null",
            "-1",
            "+1",
            "1.5",
            "1e-1",
            "0x1",
            "NaN",
            "01",
            "1 ",
            "18446744073709551616",
            "1e20",
            "1e6000",
            "1e99999",
            &long,
        ] {
            let refusal = read(Some(text)).unwrap_or_else(|| panic!("`{text}` is accepted")).to_string();
            assert!(refusal.len() < 160, "{refusal}");
            assert!(!refusal.is_empty());
        }
        assert!(read(None).is_some());
    }

    fn mark(space: &str, label: &str, exact: &str, token: &str, at: i64) -> Mark {
        Mark { space: space.into(), label: label.into(), exact: exact.into(), token: token.into(), at, part: false }
    }

    const VERSION: Version<'static> = Version { space: "s", label: "b", exact: "5", token: "t", coarse: 1, at: 10_000 };

    const TABLE: &str = "dynamodb:us-east-1:1:t";

    /// What a stream enabled on a day stores of a number.
    fn stored(day: u8, number: u8, token: &str, at: i64) -> Mark {
        mark(TABLE, &format!("2020-04-{day:02}T13:00:00.000"), &format!("{number:040}"), token, at)
    }

    #[test]
    fn judges_on_the_stored_value_alone() {
        let own = stored(2, 5, "t", 10_000);
        let version = own.version().expect("a version");
        for (stored, judgement) in [
            (None, Judgement::Foreign),
            (Some(Mark { space: "dynamodb:us-east-1:1:other".into(), ..stored(2, 9, "t", 0) }), Judgement::Foreign),
            (Some(own.clone()), Judgement::Replay),
            (Some(stored(2, 5, "", 10_000)), Judgement::Replay),
            (Some(stored(2, 5, "u", 10_000)), Judgement::Tie),
            (Some(stored(2, 4, "t", 10_000)), Judgement::Newer),
            (Some(stored(2, 4, "u", 10_000)), Judgement::Newer),
            (Some(stored(1, 9, "t", 10_000)), Judgement::Newer),
            (Some(stored(2, 6, "u", 10_000)), Judgement::Stale),
            (Some(stored(2, 6, "t", 8_001)), Judgement::Stale),
            (Some(stored(2, 6, "t", 8_000)), Judgement::OrderConflict),
            (Some(stored(3, 1, "t", 8_000)), Judgement::OrderConflict),
            // Of no form that the source writes: as text the first would be newer for ever.
            (Some(Mark { exact: "9".into(), ..stored(2, 6, "t", 10_000) }), Judgement::Foreign),
            (Some(Mark { label: "z".into(), ..stored(2, 6, "t", 10_000) }), Judgement::Foreign),
        ] {
            assert_eq!(version.judge(stored.as_ref()), judgement, "{stored:?}");
        }
        let without = Version { token: "", ..version };
        assert_eq!(without.judge(Some(&stored(2, 5, "u", 10_000))), Judgement::Replay);
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        for (token, json) in [
            ("t\"", r#"{"space":"s","label":"b","exact":"5","token":"t\"","at":10000}"#),
            ("", r#"{"space":"s","label":"b","exact":"5","at":10000}"#),
        ] {
            let version = Version { token, ..VERSION };
            let mut out = Vec::new();
            version.write_json(&mut out);
            assert_eq!(String::from_utf8(out.clone()).expect("text"), json);
            assert_eq!(serde_json::from_slice::<Mark>(&out).expect("a mark"), version.mark());
            let mut document = vec![0; 4];
            crate::encode::write_bson_mark(&mut document, &version);
            document.push(0);
            let length = i32::try_from(document.len()).expect("short");
            document[..4].copy_from_slice(&length.to_le_bytes());
            let document = bson::Document::from_reader(document.as_slice()).expect("a document");
            let stored = document.get_document("_tidelock").expect("a mark");
            let stored: serde_json::Value = serde_json::to_value(stored).expect("JSON");
            assert_eq!(stored, serde_json::from_slice::<serde_json::Value>(&out).expect("JSON"));
        }
    }

    #[test]
    fn marks_of_different_spaces_do_not_compare() {
        let number = |space| mark(space, "", "00000000000000000005", "", 0);
        assert_eq!(number("kafka:t:0").compare(&number("kafka:t:0")), Some(Ordering::Equal));
        assert_eq!(number("kafka:t:0").compare(&number("kafka:t:1")), None);
        assert_eq!(stored(1, 9, "", 0).compare(&stored(2, 1, "", 0)), Some(Ordering::Less));
        assert_eq!(stored(1, 9, "", 0).compare(&stored(1, 1, "", 0)), Some(Ordering::Greater));
        let damaged = Mark { exact: "9".into(), ..stored(1, 9, "", 0) };
        assert_eq!((damaged.compare(&stored(1, 1, "", 0)), stored(1, 1, "", 0).compare(&damaged)), (None, None));
    }

    #[test]
    fn the_space_says_how_to_read_a_mark() {
        let exact = "00000000000000000005";
        for (space, coarse) in [
            ("kafka:t:0", Some(5)),
            ("kinesis-dynamodb:us-east-1:1:t", Some(5)),
            ("debezium-postgresql:pg:public.t", Some(5)),
            // A cluster time of 1970, too few digits, no place in a binary log, no rank.
            ("mongodb:rs0:d.c", None),
            ("dynamodb:us-east-1:1:t", None),
            ("debezium-mysql:m:b:t", None),
            ("field:t:v", None),
            ("kafka", None),
            ("other:t", None),
            ("", None),
        ] {
            let stored = mark(space, "", exact, "", 7);
            assert_eq!(stored.coarse(), coarse, "{space}");
            assert_eq!(stored.version().map(|version| version.coarse), coarse, "{space}");
        }
    }
}
