//! Versions: which of two changes of a key is the newer one.
//!
//! A version is a pure function of the event, the same on every retry and in every process. It has a **space** (whose
//! numbers these are), a **label** and an **exact** number; within one space, `(label, exact)` compared as text is the
//! source's order, because each source writes both in a form of fixed width. The **coarse** version is a 63-bit summary for
//! targets that guard with an integer (OpenSearch's external versions): weakly monotone in the exact order, so a higher
//! coarse version implies a newer change, and an equal one says nothing.

use std::cmp::Ordering;
use std::fmt;

/// A DynamoDB Streams sequence number: up to 40 digits, which fit no machine integer.
///
/// Kept as 40 ASCII digits with leading zeros, so that comparing the bytes compares the numbers. Source: [GetRecords,
/// `SequenceNumber`](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_StreamRecord.html).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence([u8; 40]);

impl Sequence {
    /// Reads a decimal number of at most 40 digits, leading zeros not counted; `None` for anything else.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let zeros = text.iter().take_while(|&&byte| byte == b'0').count();
        let digits = text.get(zeros..)?;
        if text.is_empty() || digits.len() > 40 || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let mut padded = [b'0'; 40];
        padded.get_mut(40 - digits.len()..)?.copy_from_slice(digits);
        Some(Self(padded))
    }

    /// The number as 40 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII digits get in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// 32 bits that order like the numbers do, as far as they can: the count of digits (6 bits), then the first 11 digits,
    /// left-aligned, scaled to 26 bits.
    fn coarse(&self) -> u32 {
        let zeros = self.0.iter().take_while(|&&byte| byte == b'0').count();
        let count = 40 - zeros;
        let mut first = 0u64;
        for i in 0..11 {
            let digit = self.0.get(zeros + i).map_or(0, |byte| u64::from(byte - b'0'));
            first = first * 10 + digit;
        }
        let scaled = u128::from(first) * (1 << 26) / 100_000_000_000;
        (u32::try_from(count).unwrap_or(63) << 26) | u32::try_from(scaled).unwrap_or((1 << 26) - 1)
    }
}

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// When a DynamoDB stream was enabled, as its label says: `2015-05-11T21:21:33.291`, UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamLabel {
    text: String,
    /// Whole seconds since 2012-01-01, the year DynamoDB appeared; 31 bits.
    seconds: u32,
}

impl StreamLabel {
    /// Reads a label; `None` when it is not of the form `YYYY-MM-DDTHH:MM:SS.mmm` or lies before 2012 or after 2079.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let fixed = b"dddd-dd-ddTdd:dd:dd.ddd";
        let fits = bytes.len() == fixed.len()
            && bytes.iter().zip(fixed).all(|(b, f)| if *f == b'd' { b.is_ascii_digit() } else { b == f });
        if !fits {
            return None;
        }
        let number = |from: usize, to: usize| text.get(from..to).and_then(|t| t.parse::<i64>().ok());
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let days = days_from_civil(year, month, day) - days_from_civil(2012, 1, 1);
        let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
        let seconds = u32::try_from(seconds).ok().filter(|&s| s < 1 << 31)?;
        Some(Self { text: text.to_owned(), seconds })
    }

    /// The label as the stream's ARN has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The coarse version of a change of this stream: seconds of the label, then the summary of the sequence number.
    #[must_use]
    pub fn coarse(&self, sequence: &Sequence) -> i64 {
        (i64::from(self.seconds) << 32) | i64::from(sequence.coarse())
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, after
/// [Hinnant](https://howardhinnant.github.io/date_algorithms.html#days_from_civil).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The version of one change, as a target needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version<'a> {
    /// Whose numbers these are; versions of different spaces do not compare.
    pub space: &'a str,
    /// The source's own epoch: a stream's label, a change event's token, a log file.
    pub label: &'a str,
    /// The number whole, in a form whose text order is its order.
    pub exact: &'a str,
    /// 63 bits, weakly monotone in `(label, exact)`.
    pub coarse: i64,
    /// The source's time of the change, milliseconds since 1970.
    pub at: i64,
}

/// What a target has stored of the version that last wrote a document: the `_tidelock` field.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Mark {
    /// See [`Version::space`].
    pub space: String,
    /// See [`Version::label`].
    pub label: String,
    /// See [`Version::exact`].
    pub exact: String,
    /// See [`Version::at`].
    #[serde(default)]
    pub at: i64,
}

/// What the stored version says about a change that a guard has refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// The document was written by a newer change: nothing to do.
    Stale,
    /// The document was written by this very change.
    Replay,
    /// The document is older: write it, provided it is still the one that was read.
    Newer,
    /// Stale by number although later by the source's time, by two seconds or more.
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
        let Some(stored) = stored.filter(|mark| mark.space == self.space) else {
            return Judgement::Foreign;
        };
        match (self.label, self.exact).cmp(&(stored.label.as_str(), stored.exact.as_str())) {
            Ordering::Greater => Judgement::Newer,
            Ordering::Equal => Judgement::Replay,
            Ordering::Less if self.at >= stored.at.saturating_add(CLOCK_GRAIN_MS) => Judgement::OrderConflict,
            Ordering::Less => Judgement::Stale,
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
        out.extend_from_slice(b",\"at\":");
        out.extend_from_slice(self.at.to_string().as_bytes());
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn label(text: &str) -> StreamLabel {
        StreamLabel::parse(text).expect(text)
    }

    proptest! {
        #[test]
        fn coarse_is_weakly_monotone(a in "[0-9]{1,40}", b in "[0-9]{1,40}", la in 0i64..60, lb in 0i64..60) {
            let (sa, sb) = (Sequence::parse(a.as_bytes()).expect("digits"), Sequence::parse(b.as_bytes()).expect("digits"));
            let name = |s: i64| label(&format!("2026-01-01T00:00:{s:02}.000"));
            let (la, lb) = (name(la), name(lb));
            let exact = (la.as_str(), sa).cmp(&(lb.as_str(), sb));
            let coarse = la.coarse(&sa).cmp(&lb.coarse(&sb));
            prop_assert!(coarse == Ordering::Equal || coarse == exact);
            prop_assert!(la.coarse(&sa) > 0);
        }

        #[test]
        fn order_is_numeric(a in any::<u128>(), b in any::<u128>()) {
            let parse = |n: u128| Sequence::parse(n.to_string().as_bytes()).expect("digits");
            prop_assert_eq!(parse(a).cmp(&parse(b)), a.cmp(&b));
        }
    }

    #[test]
    fn refuses_what_is_no_sequence_number() {
        for text in ["", "12ab", "-1", "1.0", " 1", &"1".repeat(41)] {
            assert_eq!(Sequence::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Sequence::parse("0".repeat(60).as_bytes()), Sequence::parse(b"0"));
    }

    #[test]
    fn refuses_what_is_no_label() {
        for text in ["", "2015-05-11", "2015-13-11T21:21:33.291", "2011-12-31T23:59:59.999", "2015-05-11T21:21:33,291"]
        {
            assert_eq!(StreamLabel::parse(text), None, "{text}");
        }
        assert_eq!(label("2012-01-01T00:00:00.000").seconds, 0);
        assert_eq!(label("2012-03-01T00:00:01.000").seconds, 60 * 86_400 + 1);
        assert_eq!(label("2026-11-21T04:00:00.123").seconds, 469_857_600);
    }

    #[test]
    fn judges_on_the_stored_value_alone() {
        let version = Version { space: "s", label: "b", exact: "5", coarse: 1, at: 10_000 };
        let mark = |space: &str, label: &str, exact: &str, at| Mark {
            space: space.into(),
            label: label.into(),
            exact: exact.into(),
            at,
        };
        for (stored, judgement) in [
            (None, Judgement::Foreign),
            (Some(mark("other", "b", "9", 0)), Judgement::Foreign),
            (Some(mark("s", "b", "5", 10_000)), Judgement::Replay),
            (Some(mark("s", "b", "4", 10_000)), Judgement::Newer),
            (Some(mark("s", "a", "9", 10_000)), Judgement::Newer),
            (Some(mark("s", "b", "6", 10_000)), Judgement::Stale),
            (Some(mark("s", "b", "6", 8_001)), Judgement::Stale),
            (Some(mark("s", "b", "6", 8_000)), Judgement::OrderConflict),
            (Some(mark("s", "c", "1", 8_000)), Judgement::OrderConflict),
        ] {
            assert_eq!(version.judge(stored.as_ref()), judgement, "{stored:?}");
        }
    }
}
