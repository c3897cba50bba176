//! Numbers as texts: those that events bring, and those that versions are made of.

use std::borrow::Cow;
use std::fmt;

/// Why a version cannot be read from an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(Cow<'static, str>);

impl Refusal {
    pub(super) fn new(reason: &'static str) -> Self {
        Self(Cow::Borrowed(reason))
    }

    pub(super) fn of(name: &str, text: &str, reason: &str) -> Self {
        let shown: String = text.chars().take(40).collect();
        let more = if shown.len() < text.len() { "…" } else { "" };
        Self(Cow::Owned(format!("{name} `{shown}{more}` {reason}")))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// An exact number as its text of fixed width, in place: at most 40 bytes.
///
/// The order is that of the text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Exact {
    /// Zero beyond the text, and so below any longer one.
    bytes: [u8; 40],
    length: u8,
}

impl Exact {
    const EMPTY: Self = Self { bytes: [0; 40], length: 0 };

    /// The text that a source gives; `None` when it is longer than any does.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let mut exact = Self::EMPTY;
        exact.bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        exact.length = u8::try_from(text.len()).ok()?;
        Some(exact)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only whole texts get in.
        self.bytes.get(..usize::from(self.length)).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// 20 digits, which hold any number of 64 bits.
    pub(super) fn number(number: u64) -> Self {
        Self::EMPTY.digits(number, 20)
    }

    pub(super) fn digits(mut self, mut number: u64, width: u8) -> Self {
        for offset in (0..width).rev() {
            if let Some(byte) = self.bytes.get_mut(usize::from(self.length + offset)) {
                *byte = b'0' + (number % 10) as u8;
            }
            number /= 10;
        }
        self.length += width;
        self
    }

    pub(super) fn byte(mut self, byte: u8) -> Self {
        if let Some(place) = self.bytes.get_mut(usize::from(self.length)) {
            *place = byte;
        }
        self.length += 1;
        self
    }
}

impl fmt::Debug for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads a whole number of 64 bits, in any of JSON's spellings: `7`, `7.0`, `7e0`.
pub(super) fn integer(name: &str, text: Option<&str>) -> Result<u64, Refusal> {
    let Some(text) = text else {
        return Err(Refusal(Cow::Owned(format!("{name} is missing"))));
    };
    let refuse = |reason| Refusal::of(name, text, reason);
    let number = crate::json::Number::parse(text.as_bytes()).ok_or_else(|| refuse("is no number"))?;
    if number.negative {
        return Err(refuse("is negative"));
    }
    let zeros = usize::try_from(number.exponent).map_err(|_| refuse("is no integer"))?;
    let mut plain = number.digits.iter().copied().chain(std::iter::repeat_n(b'0', zeros));
    plain
        .try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
        .ok_or_else(|| refuse("is too large"))
}

/// Reads a number of exactly `width` digits, as an exact version has it.
pub(super) fn fixed(text: &str, width: usize) -> Option<u64> {
    (text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_padded_and_ordered_as_text() {
        assert_eq!(Exact::number(u64::MAX).as_str(), "18446744073709551615");
        let joined = Exact::number(7).byte(b'.').digits(3, 10);
        assert_eq!(joined.as_str(), "00000000000000000007.0000000003");
        assert!(Exact::number(9) < Exact::number(10) && joined > Exact::number(7));
    }

    #[test]
    fn whole_numbers_in_any_spelling() {
        for (text, number) in
            [("0", 0), ("0.0", 0), ("70", 70), ("7.0", 7), ("7e1", 70), ("18446744073709551615", u64::MAX)]
        {
            assert_eq!(integer("n", Some(text)), Ok(number), "{text}");
        }
        let refusal = integer("n", Some(&"é".repeat(50))).expect_err("no number");
        assert_eq!(refusal.to_string(), format!("n `{}…` is no number", "é".repeat(40)));
    }

    #[test]
    fn only_the_width_asked_for() {
        assert_eq!(fixed("0042", 4), Some(42));
        for text in ["42", "00042", "004x", "+042", ""] {
            assert_eq!(fixed(text, 4), None, "{text}");
        }
    }

    #[test]
    fn a_text_that_is_too_long_is_no_exact_number() {
        assert_eq!(Exact::new(&"1".repeat(41)), None);
        assert_eq!(Exact::new(&"1".repeat(40)).expect("fits").as_str(), "1".repeat(40));
        assert_eq!(Exact::new("").expect("fits").as_str(), "");
    }
}
