//! DynamoDB Streams: the stream's label, then the sequence number.
//!
//! A sequence number does not fit 63 bits, so the coarse version is a summary, and neighbours may share one. Neither the
//! time of change nor the low digits enter it: both are known to reorder neighbours.

use super::{Position, Version};
use std::fmt;

/// First part of the space.
pub const KIND: &str = "dynamodb";

/// The space of a table's streams. Replicas of a global table count for themselves.
#[must_use]
pub fn space(region: &str, account: &str, table: &str) -> String {
    format!("{KIND}:{region}:{account}:{table}")
}

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
    ///
    /// That two streams of a table are never enabled within one second is taken for granted: such a pair would share the
    /// seconds, and the summary of the older stream's number could be the higher one.
    #[must_use]
    pub fn coarse(&self, sequence: &Sequence) -> i64 {
        ((i64::from(self.seconds) << 32) | i64::from(sequence.coarse())).max(1)
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, after
/// [Hinnant](https://howardhinnant.github.io/date_algorithms.html#days_from_civil).
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A change's place in the order of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// When the stream was enabled.
    pub label: &'a StreamLabel,
    /// The change's number.
    pub sequence: &'a Sequence,
}

impl Position for Place<'_> {
    fn label(&self) -> &str {
        self.label.as_str()
    }

    fn exact(&self) -> &str {
        self.sequence.as_str()
    }

    fn coarse(&self) -> i64 {
        self.label.coarse(self.sequence)
    }
}

/// The oldest version there is: that of an item which a scan has found, and of which no change is known.
#[must_use]
pub fn oldest(space: &str) -> Version<'_> {
    const ZERO: &str = "0000000000000000000000000000000000000000";
    Version { space, label: "2012-01-01T00:00:00.000", exact: ZERO, token: "", coarse: 1, at: 0 }
}

/// The coarse version of what is stored.
pub(super) fn coarse(label: &str, exact: &str) -> Option<i64> {
    // Of another width, the text would not compare like the number.
    let sequence = Some(exact).filter(|text| text.len() == 40).and_then(|text| Sequence::parse(text.as_bytes()))?;
    Some(StreamLabel::parse(label)?.coarse(&sequence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::tests::agrees;
    use proptest::prelude::*;

    fn label(text: &str) -> StreamLabel {
        StreamLabel::parse(text).expect(text)
    }

    fn sequence(number: u128) -> Sequence {
        Sequence::parse(number.to_string().as_bytes()).expect("digits")
    }

    proptest! {
        #[test]
        fn coarse_is_weakly_monotone(a in "[0-9]{1,40}", b in "[0-9]{1,40}", la in 0i64..60, lb in 0i64..60) {
            let (sa, sb) = (Sequence::parse(a.as_bytes()).expect("digits"), Sequence::parse(b.as_bytes()).expect("digits"));
            let name = |s: i64| label(&format!("2026-01-01T00:00:{s:02}.000"));
            let (la, lb) = (name(la), name(lb));
            let space = space("us-east-1", "123456789012", "t");
            agrees(&space, &Place { label: &la, sequence: &sa }, &Place { label: &lb, sequence: &sb })?;
            // Pairs of any length seldom differ in their low digits alone.
            agrees(&space, &Place { label: &la, sequence: &sa }, &Place { label: &la, sequence: &sb })?;
        }

        #[test]
        fn neighbours_are_weakly_monotone(a in any::<u128>(), step in 0u128..1_000_000_000_000_000_000_000) {
            let (low, high) = (sequence(a), sequence(a.saturating_add(step)));
            let label = label("2026-01-01T00:00:00.000");
            let (low, high) = (Place { label: &label, sequence: &low }, Place { label: &label, sequence: &high });
            agrees(&space("us-east-1", "123456789012", "t"), &low, &high)?;
        }

        #[test]
        fn order_is_numeric(a in any::<u128>(), b in any::<u128>()) {
            prop_assert_eq!(sequence(a).cmp(&sequence(b)), a.cmp(&b));
            prop_assert_eq!(sequence(a).as_str().cmp(sequence(b).as_str()), a.cmp(&b));
        }
    }

    /// How many of 1,000 changes share the coarse version with the one before.
    fn shared(start: u128, step: impl Fn(u32) -> u128) -> usize {
        let label = label("2026-01-01T00:00:00.000");
        let mut number = start;
        let mut coarse = Vec::with_capacity(1_001);
        for change in 0..=1_000 {
            coarse.push(label.coarse(&sequence(number)));
            number += step(change);
        }
        coarse.windows(2).filter(|pair| pair[0] == pair[1]).count()
    }

    #[test]
    fn steps_as_the_service_makes_them_have_coarse_versions_of_their_own() {
        let wide = 100_000_000_000_000_000_000;
        for start in
            [300_000_000_000_000_499_659, 1_405_400_000_000_002_063_282_832, 99_999_999_999_999_999_999_999_999]
        {
            assert_eq!(shared(start, |_| wide), 0, "from {start}");
            // What shares one is judged on the exact number, at the price of a request.
            assert!(shared(start, |_| 1) >= 999, "from {start}");
            let mixed = shared(start, |change| if change % 2 == 0 { wide } else { 1 });
            assert!((499..=500).contains(&mixed), "{mixed} from {start}");
        }
        // With 28 digits, 26 bits no longer tell steps of 10^20 apart.
        let some = shared(4_421_584_500_000_000_017_450_439_091, |_| wide);
        assert!((1..1_000).contains(&some), "{some}");
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
        assert_eq!(label("2012-01-01T00:00:00.000").coarse(&sequence(0)), 1);
    }

    #[test]
    fn refuses_a_stored_number_of_another_width() {
        let label = "2026-01-01T00:00:00.000";
        assert!(coarse(label, &format!("{:040}", 5)).is_some());
        for (label, exact) in [(label, "5"), (label, &*format!("{:041}", 5)), (label, ""), ("", &*format!("{:040}", 5))]
        {
            assert_eq!(coarse(label, exact), None, "{label} {exact}");
        }
    }
}
