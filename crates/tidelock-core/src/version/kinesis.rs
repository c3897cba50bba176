//! Kinesis Data Streams for DynamoDB: the time of the change.
//!
//! The records carry no sequence number of the table, and duplicates and disorder are normal: the time is all there is to
//! order them by. Two changes of the same time are told apart by the token, the record's `eventID`; which of them is the
//! newer one only the table can say, so their [`Tie`](super::Judgement::Tie) is solved by reading the source again.
//!
//! Form: [ApproximateCreationDateTimePrecision](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/kds.html).
//! A stream whose precision is raised goes on in order, since a time in milliseconds is not later than the same in
//! microseconds.

use super::{Exact, Position, Refusal, fixed, integer};

/// First part of the space.
pub const KIND: &str = "kinesis-dynamodb";

/// The space of a table's records, whichever stream they come through.
#[must_use]
pub fn space(region: &str, account: &str, table: &str) -> String {
    format!("{KIND}:{region}:{account}:{table}")
}

/// `ApproximateCreationDateTime`, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CreationTime {
    micros: i64,
    exact: Exact,
}

impl CreationTime {
    /// A time in microseconds since 1970.
    ///
    /// # Errors
    /// When it is 0 or does not fit 63 bits.
    pub fn from_micros(micros: u64) -> Result<Self, Refusal> {
        match i64::try_from(micros) {
            Ok(number @ 1..) => Ok(Self { micros: number, exact: Exact::number(micros) }),
            Ok(_) => Err(Refusal::new("ApproximateCreationDateTime is 0")),
            Err(_) => Err(Refusal::new("ApproximateCreationDateTime does not fit 63 bits as microseconds")),
        }
    }

    /// Reads the record's `ApproximateCreationDateTime` and `ApproximateCreationDateTimePrecision`, which is milliseconds
    /// where a record does not name it.
    ///
    /// # Errors
    /// When the time is missing or no whole number above 0, or the precision is an unknown one.
    pub fn parse(time: Option<&str>, precision: Option<&str>) -> Result<Self, Refusal> {
        let scale = match precision {
            None | Some("MILLISECOND") => 1_000,
            Some("MICROSECOND") => 1,
            Some(other) => return Err(Refusal::of("ApproximateCreationDateTimePrecision", other, "is not known")),
        };
        let time = integer("ApproximateCreationDateTime", time)?;
        Self::from_micros(time.saturating_mul(scale))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn at(&self) -> i64 {
        self.micros / 1_000
    }
}

impl Position for CreationTime {
    fn exact(&self) -> &str {
        self.exact.as_str()
    }

    fn coarse(&self) -> i64 {
        self.micros
    }
}

/// The coarse version of what is stored.
pub(super) fn coarse(label: &str, exact: &str) -> Option<i64> {
    let micros = fixed(exact, 20).filter(|_| label.is_empty())?;
    CreationTime::from_micros(micros).ok().map(|time| time.coarse())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::tests::{agrees, refuses};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn order_is_that_of_the_time(a in 1..=i64::MAX as u64, b in 1..=i64::MAX as u64, near in 0u64..3) {
            let time = |micros: u64| CreationTime::from_micros(micros).expect("in range");
            let space = space("us-east-1", "123456789012", "t");
            for b in [b, a.saturating_add(near).min(i64::MAX as u64)] {
                agrees(&space, &time(a), &time(b))?;
                prop_assert_eq!(time(a).exact().cmp(time(b).exact()), a.cmp(&b));
                prop_assert_eq!(time(a).coarse().cmp(&time(b).coarse()), a.cmp(&b));
            }
        }

        #[test]
        fn milliseconds_are_not_later_than_the_same_in_microseconds(millis in 1u64..9_000_000_000_000_000, rest in 0u64..1_000) {
            let read = |time: u64, precision| CreationTime::parse(Some(&time.to_string()), precision).expect("a time");
            let (coarse, fine) = (read(millis, None), read(millis * 1_000 + rest, Some("MICROSECOND")));
            prop_assert!(coarse <= fine);
            prop_assert_eq!(coarse.at(), fine.at());
        }
    }

    #[test]
    fn both_precisions_give_microseconds() {
        for (time, precision, exact) in [
            ("1733000000123", None, "00001733000000123000"),
            ("1733000000123", Some("MILLISECOND"), "00001733000000123000"),
            ("1733000000123456", Some("MICROSECOND"), "00001733000000123456"),
            ("1.733E12", None, "00001733000000000000"),
        ] {
            let read = CreationTime::parse(Some(time), precision).expect(time);
            assert_eq!(read.exact(), exact);
            assert_eq!(read.label(), "");
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        refuses(|text| CreationTime::parse(text, None).err());
        for (time, precision) in [
            (Some("0"), None),
            (Some("9223372036854776"), None),
            (Some("9223372036854775808"), Some("MICROSECOND")),
            (Some("1733000000123"), Some("NANOSECOND")),
            (Some("1733000000123"), Some("")),
        ] {
            assert!(CreationTime::parse(time, precision).is_err(), "{time:?} {precision:?}");
        }
    }

    #[test]
    fn refuses_a_stored_number_of_another_form() {
        assert_eq!(coarse("", "00001733000000123000"), Some(1_733_000_000_123_000));
        for (label, exact) in [("", "1733000000123000"), ("x", "00001733000000123000"), ("", "00000000000000000000")] {
            assert_eq!(coarse(label, exact), None, "{label} {exact}");
        }
    }
}
