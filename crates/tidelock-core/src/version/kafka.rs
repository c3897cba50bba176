//! Plain Kafka: the offset within a partition.
//!
//! A key stays in its partition as long as the topic keeps their number. A topic that is created anew begins at 0 again: its
//! changes are stale by number and later by time, an order conflict.

use super::{Exact, Position, Refusal, fixed, integer};

/// First part of the space.
pub const KIND: &str = "kafka";

/// The space of a partition.
#[must_use]
pub fn space(topic: &str, partition: u32) -> String {
    format!("{KIND}:{topic}:{partition}")
}

/// A record's offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset {
    offset: i64,
    exact: Exact,
}

impl Offset {
    /// An offset.
    ///
    /// # Errors
    /// When it does not fit 63 bits.
    pub fn new(offset: u64) -> Result<Self, Refusal> {
        match i64::try_from(offset) {
            Ok(number) => Ok(Self { offset: number, exact: Exact::number(offset) }),
            Err(_) => Err(Refusal::new("the offset does not fit 63 bits")),
        }
    }

    /// Reads an offset.
    ///
    /// # Errors
    /// When it is missing or no whole number of 63 bits.
    pub fn parse(offset: Option<&str>) -> Result<Self, Refusal> {
        Self::new(integer("offset", offset)?)
    }
}

impl Position for Offset {
    fn exact(&self) -> &str {
        self.exact.as_str()
    }

    /// The offset itself, except that the first one counts as 1.
    fn coarse(&self) -> i64 {
        self.offset.max(1)
    }
}

/// The coarse version of what is stored.
pub(super) fn coarse(label: &str, exact: &str) -> Option<i64> {
    let offset = fixed(exact, 20).filter(|_| label.is_empty())?;
    Offset::new(offset).ok().map(|offset| offset.coarse())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::tests::{agrees, refuses};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn order_is_that_of_the_offset(a in 0..=i64::MAX as u64, b in 0..=i64::MAX as u64, near in 0u64..3) {
            let offset = |number: u64| Offset::new(number).expect("in range");
            for (a, b) in [(a, b), (a, a.saturating_add(near).min(i64::MAX as u64)), (near, near + 1), (0, near)] {
                agrees(&space("orders", 3), &offset(a), &offset(b))?;
                prop_assert_eq!(offset(a).exact().cmp(offset(b).exact()), a.cmp(&b));
            }
        }
    }

    #[test]
    fn the_coarse_version_is_the_offset() {
        for (text, exact, coarse) in [
            ("0", "00000000000000000000", 1),
            ("1", "00000000000000000001", 1),
            ("2", "00000000000000000002", 2),
            ("9223372036854775807", "09223372036854775807", i64::MAX),
        ] {
            let offset = Offset::parse(Some(text)).expect(text);
            assert_eq!((offset.label(), offset.exact(), offset.coarse()), ("", exact, coarse));
        }
        assert_eq!(space("orders", 3), "kafka:orders:3");
    }

    #[test]
    fn refuses_what_is_no_offset() {
        refuses(|text| Offset::parse(text).err());
        assert!(Offset::parse(Some("9223372036854775808")).is_err());
        for (label, exact) in [("", "5"), ("x", "00000000000000000005"), ("", "0000000000000000000x")] {
            assert_eq!(coarse(label, exact), None, "{label} {exact}");
        }
    }
}
