//! Decimal number texts, exact at any length.

use std::borrow::Cow;
use std::cmp::Ordering;

/// Exponents beyond this are refused: DynamoDB's numbers end at 10^125, BSON's Decimal128 at 10^6144.
const MAX_EXPONENT: i32 = 6_200;

/// Whether `text` follows JSON's number grammar.
#[must_use]
pub fn is_number(text: &[u8]) -> bool {
    let Some(NumberForm { length, .. }) = NumberForm::at_start(text) else { return false };
    let rest = text.get(length..).unwrap_or_default();
    if let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
        let exponent = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
        return !exponent.is_empty() && digits(exponent) == exponent.len();
    }
    rest.is_empty()
}

#[inline]
fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// A number without an exponent, at the start of some text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberForm {
    /// Its bytes.
    pub length: usize,
    /// Digits before the point.
    pub integer: usize,
    /// Digits behind the point; 0: there is no point.
    pub fraction: usize,
}

impl NumberForm {
    /// Reads it, in one pass; what stands behind it may make it another number, or none.
    #[inline]
    #[must_use]
    pub fn at_start(text: &[u8]) -> Option<Self> {
        let sign = usize::from(text.first() == Some(&b'-'));
        let integer = digits(text.get(sign..)?);
        if integer == 0 || (integer > 1 && text.get(sign) == Some(&b'0')) {
            return None;
        }
        let length = sign + integer;
        if text.get(length) != Some(&b'.') {
            return Some(Self { length, integer, fraction: 0 });
        }
        let fraction = digits(text.get(length + 1..)?);
        (fraction > 0).then_some(Self { length: length + 1 + fraction, integer, fraction })
    }
}

/// A decimal number taken apart: `±digits × 10^exponent`, without leading or trailing zeros in `digits`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    /// Below zero.
    pub negative: bool,
    /// Significant digits as ASCII; empty for zero.
    pub digits: Vec<u8>,
    /// Power of ten that `digits`, read as an integer, is multiplied with; 0 for zero.
    pub exponent: i32,
}

impl Number {
    /// Takes a number's text apart; `None` when it does not follow JSON's grammar or its exponent is out of any range.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if !is_number(text) {
            return None;
        }
        let (negative, rest) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match rest.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => {
                let (mantissa, exponent) = rest.split_at(at);
                (mantissa, std::str::from_utf8(exponent.get(1..)?).ok()?.parse::<i32>().ok()?)
            }
            None => (rest, 0),
        };
        let mut digits = Vec::with_capacity(mantissa.len());
        let mut fraction = 0i32;
        let mut point = false;
        for &byte in mantissa {
            if byte == b'.' {
                point = true;
                continue;
            }
            fraction += i32::from(point);
            if !(digits.is_empty() && byte == b'0') {
                digits.push(byte);
            }
        }
        let mut exponent = exponent.checked_sub(fraction)?;
        while digits.last() == Some(&b'0') {
            digits.pop();
            exponent = exponent.checked_add(1)?;
        }
        if digits.is_empty() {
            return Some(Self { negative: false, digits, exponent: 0 });
        }
        (exponent.abs() <= MAX_EXPONENT).then_some(Self { negative, digits, exponent })
    }

    /// The number in plain notation: no exponent, no superfluous zeros, no `-0`.
    #[must_use]
    pub fn plain(&self) -> Vec<u8> {
        if self.digits.is_empty() {
            return b"0".to_vec();
        }
        let mut out = Vec::with_capacity(self.digits.len() + 2);
        if self.negative {
            out.push(b'-');
        }
        let scale = usize::try_from(self.exponent.unsigned_abs()).unwrap_or(0);
        if self.exponent >= 0 {
            out.extend_from_slice(&self.digits);
            out.resize(out.len() + scale, b'0');
        } else if let Some(point) = self.digits.len().checked_sub(scale).filter(|&point| point > 0) {
            let (integer, fraction) = self.digits.split_at(point);
            out.extend_from_slice(integer);
            out.push(b'.');
            out.extend_from_slice(fraction);
        } else {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + (scale - self.digits.len()), b'0');
            out.extend_from_slice(&self.digits);
        }
        out
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| match (number.digits.is_empty(), number.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        // The power of ten of the first digit, then the digits as text: a shorter one goes on with zeros.
        let size = |number: &Self| i64::from(number.exponent) + number.digits.len() as i64;
        let magnitude = || size(self).cmp(&size(other)).then_with(|| self.digits.cmp(&other.digits));
        sign(self).cmp(&sign(other)).then_with(|| match sign(self) {
            0 => Ordering::Equal,
            1 => magnitude(),
            _ => magnitude().reverse(),
        })
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// One text for each number, so that equal numbers give equal ids; `None` when `text` is no number.
#[must_use]
pub fn canonical_number(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    let plain_integer = {
        let rest = text.strip_prefix(b"-").unwrap_or(text);
        !rest.is_empty() && digits(rest) == rest.len() && rest.first() != Some(&b'0')
    };
    if plain_integer {
        return Some(Cow::Borrowed(text));
    }
    Number::parse(text).map(|number| Cow::Owned(number.plain()))
}

/// As [`canonical_number`], as text.
#[must_use]
pub fn canonical_text(text: &[u8]) -> Option<Cow<'_, str>> {
    match canonical_number(text)? {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ordered_by_their_value() {
        let ordered = [
            "-1e100",
            "-12345678901234567890123456789012345678",
            "-10",
            "-9.5",
            "-9",
            "-0.1",
            "-0.01",
            "0",
            "1e-100",
            "0.01",
            "0.1",
            "0.11",
            "9",
            "10",
            "12345678901234567890123456789012345678",
            "12345678901234567890123456789012345679",
            "1e100",
        ];
        let number = |text: &str| Number::parse(text.as_bytes()).expect(text);
        for (i, a) in ordered.iter().enumerate() {
            for (j, b) in ordered.iter().enumerate() {
                assert_eq!(number(a).cmp(&number(b)), i.cmp(&j), "{a} {b}");
            }
        }
        assert_eq!(number("1.50").cmp(&number("15e-1")), Ordering::Equal);
    }

    #[test]
    fn one_text_for_each_number() {
        for (text, canonical) in [
            ("0", "0"),
            ("-0", "0"),
            ("0.00", "0"),
            ("1", "1"),
            ("1.0", "1"),
            ("10e-1", "1"),
            ("1E+3", "1000"),
            ("-12.50", "-12.5"),
            ("0.05", "0.05"),
            ("5e-2", "0.05"),
            ("100", "100"),
            ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
            ("1.2345E2", "123.45"),
        ] {
            assert_eq!(canonical_number(text.as_bytes()).expect(text), canonical.as_bytes(), "{text}");
        }
        for text in ["", "-", "01", "+1", "1.", ".5", "1e", "0x1", "NaN", "1 ", "1e99999", "--1"] {
            assert_eq!(canonical_number(text.as_bytes()), None, "{text}");
        }
    }
}
