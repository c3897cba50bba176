//! Sequence numbers: decimal numbers of up to 40 digits, which fit no machine integer.

use std::cmp::Ordering;
use std::fmt;

/// A record's position in its shard, as the source writes it. Ordered as a number, never as text: `9` comes before
/// `10`. Texts that are no numbers come after all numbers, in the order of their bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SequenceNumber(Box<str>);

impl SequenceNumber {
    /// A sequence number as the source writes it.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The number as the source writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits without leading zeros; `None` if it is no number.
    fn digits(&self) -> Option<&str> {
        let is_number = !self.0.is_empty() && self.0.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| self.0.trim_start_matches('0'))
    }
}

impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_value = match (self.digits(), other.digits()) {
            (Some(a), Some(b)) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        // `7` and `007` are different texts of one number: told apart so that the order agrees with equality.
        by_value.then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_by_value() {
        let rising = [
            "0",
            "9",
            "10",
            "099",
            "100",
            "000000000000000000001000",
            "999999999999999999999999999999999999999",
            "1000000000000000000000000000000000000000",
            "1000000000000000000000000000000000000001",
            "",
            "a",
        ];
        for (index, low) in rising.iter().enumerate() {
            for high in &rising[index + 1..] {
                assert!(SequenceNumber::new(*low) < SequenceNumber::new(*high), "{low} < {high}");
            }
        }
        assert_ne!(SequenceNumber::new("7"), SequenceNumber::new("007"));
        assert_ne!(SequenceNumber::new("7").cmp(&SequenceNumber::new("007")), Ordering::Equal);
    }
}
