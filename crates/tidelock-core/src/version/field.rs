//! A version field of the item: the user's own number.
//!
//! A delete has no new number: it carries the one of the image that it ends, and ranks above an upsert of the same number.

use super::{Exact, Mark, Position, Refusal, fixed, integer};

/// First part of the space.
pub const KIND: &str = "field";

/// The highest number.
pub const MAX: u64 = 1 << 61;

/// The space of a field: `name` is that of the table, collection or topic. The number goes with the item, so that it stays
/// the same when the item comes another way.
#[must_use]
pub fn space(name: &str, field: &str) -> String {
    format!("{KIND}:{name}:{field}")
}

/// Whether a space is [that of a field](space).
#[must_use]
pub(super) fn is_space(text: &str) -> bool {
    text.strip_prefix(KIND).is_some_and(|rest| rest.starts_with(':'))
}

/// What ranks among changes of equal number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A document.
    Upsert,
    /// A document's end.
    Delete,
}

/// The number of a change, and its rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldVersion {
    number: i64,
    rank: Rank,
    exact: Exact,
}

impl FieldVersion {
    /// A version of its two parts.
    ///
    /// # Errors
    /// When the number is over [`MAX`].
    pub fn new(number: u64, rank: Rank) -> Result<Self, Refusal> {
        let signed = i64::try_from(number).ok().filter(|_| number <= MAX);
        let Some(signed) = signed else {
            return Err(Refusal::of("the version field", &number.to_string(), "is over 2^61"));
        };
        Ok(Self::of(signed, number, rank))
    }

    /// The version of the lowest number.
    #[must_use]
    pub fn lowest(rank: Rank) -> Self {
        Self::of(0, 0, rank)
    }

    /// The end of the item with this number.
    #[must_use]
    pub fn ended(self) -> Self {
        Self::of(self.number, self.number.unsigned_abs(), Rank::Delete)
    }

    fn of(signed: i64, number: u64, rank: Rank) -> Self {
        let suffix = u64::from(rank == Rank::Delete);
        Self { number: signed, rank, exact: Exact::number(number).byte(b'.').digits(suffix, 1) }
    }

    /// Reads a version field, given as a number's text: `7`, `7.0` and `7e0` are one number.
    ///
    /// # Errors
    /// When it is missing, no number, no integer, negative or over [`MAX`].
    pub fn parse(number: Option<&str>, rank: Rank) -> Result<Self, Refusal> {
        Self::new(integer("the version field", number)?, rank)
    }
}

impl Position for FieldVersion {
    fn exact(&self) -> &str {
        self.exact.as_str()
    }

    /// Number and rank together, except that the lowest counts as 1.
    fn coarse(&self) -> i64 {
        ((self.number << 1) | i64::from(self.rank == Rank::Delete)).max(1)
    }
}

/// The version to write what the source says now with, which is at least as new as `bound`; `None` where the version is of
/// another space, or there is none above it.
///
/// Numbers may begin anew, so that nothing newer need have a higher one. Hence what is written gets one above a delete's, and a
/// delete one above a document's (`over`: the document that it ends has this very version): no change that is delivered again, and
/// no write that lands late, passes for what came after it. What is `fenced`, a delete or a leave, ranks as a delete.
#[must_use]
pub(crate) fn above(bound: &Mark, rank: Rank, over: bool, fenced: bool) -> Option<Mark> {
    if !is_space(&bound.space) {
        return None;
    }
    let (number, bound_rank) = read(&bound.label, &bound.exact)?;
    let bound_rank = if fenced { Rank::Delete } else { bound_rank };
    let further = match (rank, bound_rank) {
        (Rank::Upsert, Rank::Delete) => 1,
        (Rank::Delete, Rank::Delete) => u64::from(over),
        (_, Rank::Upsert) => 0,
    };
    let next = FieldVersion::new(number.checked_add(further)?, rank).ok()?;
    Some(Mark { exact: next.exact().to_owned(), ..bound.clone() })
}

/// The coarse version of what is stored.
pub(super) fn coarse(label: &str, exact: &str) -> Option<i64> {
    let (number, rank) = read(label, exact)?;
    FieldVersion::new(number, rank).ok().map(|version| version.coarse())
}

fn read(label: &str, exact: &str) -> Option<(u64, Rank)> {
    let (number, rank) = exact.split_once('.').filter(|_| label.is_empty())?;
    let rank = match rank {
        "0" => Rank::Upsert,
        "1" => Rank::Delete,
        _ => return None,
    };
    Some((fixed(number, 20)?, rank))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::tests::{agrees, refuses};
    use proptest::prelude::*;

    fn rank(delete: bool) -> Rank {
        if delete { Rank::Delete } else { Rank::Upsert }
    }

    proptest! {
        #[test]
        fn order_is_number_then_rank(a in 0..=MAX, b in 0..=MAX, da in any::<bool>(), db in any::<bool>(), near in 0u64..3) {
            let version = |number, delete| FieldVersion::new(number, rank(delete)).expect("in range");
            for (a, b) in [(a, b), (a, a), (a, a.saturating_add(near).min(MAX)), (0, near)] {
                let (left, right) = (version(a, da), version(b, db));
                agrees(&space("orders", "_version"), &left, &right)?;
                prop_assert_eq!(left.exact().cmp(right.exact()), (a, da).cmp(&(b, db)));
            }
        }
    }

    #[test]
    fn integers_in_any_spelling_are_read() {
        for (text, rank, exact, coarse) in [
            ("0", Rank::Upsert, "00000000000000000000.0", 1),
            ("0", Rank::Delete, "00000000000000000000.1", 1),
            ("-0", Rank::Upsert, "00000000000000000000.0", 1),
            ("7", Rank::Upsert, "00000000000000000007.0", 14),
            ("7", Rank::Delete, "00000000000000000007.1", 15),
            ("1.0", Rank::Upsert, "00000000000000000001.0", 2),
            ("1e3", Rank::Upsert, "00000000000000001000.0", 2_000),
            ("1.5E+1", Rank::Upsert, "00000000000000000015.0", 30),
            ("2305843009213693952", Rank::Delete, "02305843009213693952.1", (1 << 62) | 1),
        ] {
            let version = FieldVersion::parse(Some(text), rank).expect(text);
            assert_eq!((version.label(), version.exact(), version.coarse()), ("", exact, coarse), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_version() {
        refuses(|text| FieldVersion::parse(text, Rank::Upsert).err());
        for (text, reason) in [
            (Some("2305843009213693953"), "the version field `2305843009213693953` is over 2^61"),
            (Some("1.5"), "the version field `1.5` is no integer"),
            (Some("15e-1"), "the version field `15e-1` is no integer"),
            (Some("-1"), "the version field `-1` is negative"),
            (Some("seven"), "the version field `seven` is no number"),
            (None, "the version field is missing"),
        ] {
            let refusal = FieldVersion::parse(text, Rank::Delete).expect_err(reason);
            assert_eq!(refusal.to_string(), reason);
        }
    }

    #[test]
    fn refuses_a_stored_number_of_another_form() {
        assert_eq!(coarse("", "00000000000000000007.1"), Some(15));
        for exact in ["7.1", "00000000000000000007", "00000000000000000007.2", "00000000000000000007.", "", "."] {
            assert_eq!(coarse("", exact), None, "{exact}");
        }
        assert_eq!(coarse("x", "00000000000000000007.1"), None);
    }
}
