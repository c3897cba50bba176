//! Decimal128 read from its binary integer form
//! ([specification](https://github.com/mongodb/specifications/blob/master/source/bson-decimal128/decimal128.md)).

use std::fmt;

const EXPONENT_BIAS: i32 = 6176;

/// The largest exponent.
const MAX_EXPONENT: i32 = 6111;

/// The first coefficient of 35 digits: those from here on stand for zero.
const TOO_LARGE: u128 = 10_u128.pow(34);

/// What 128 bits stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decimal {
    /// `±coefficient × 10^exponent`, trailing zeros of the coefficient included.
    Finite {
        /// Below zero, or the zero of the negative numbers.
        negative: bool,
        /// At most 34 digits.
        coefficient: u128,
        /// The power of ten.
        exponent: i32,
    },
    /// Beyond all numbers.
    Infinite {
        /// Below them.
        negative: bool,
    },
    /// Not a number.
    NotANumber,
}

impl Decimal {
    /// The bits of a number's text as the specification writes it, trailing zeros and the zero's sign included; `None` when it is
    /// none, or has more digits or a larger exponent than there is room for: never rounded.
    #[must_use]
    pub fn parse(text: &str) -> Option<u128> {
        let (negative, rest) = match text.as_bytes() {
            [b'-', ..] => (1 << 127, text.get(1..)?),
            [b'+', ..] => (0, text.get(1..)?),
            _ => (0, text),
        };
        match rest {
            "Infinity" | "infinity" | "Inf" | "inf" => return Some(negative | 0x78 << 120),
            "NaN" | "nan" => return Some(0x7c << 120),
            _ => {}
        }
        let (mantissa, power) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = || integer.bytes().chain(fraction.bytes());
        if digits().next().is_none() || !digits().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let mut exponent = power.parse::<i32>().ok()?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        let mut coefficient = 0_u128;
        for digit in digits() {
            coefficient = coefficient.checked_mul(10)?.checked_add(u128::from(digit - b'0'))?;
        }
        while coefficient >= TOO_LARGE && coefficient.is_multiple_of(10) {
            (coefficient, exponent) = (coefficient / 10, exponent.checked_add(1)?);
        }
        // A zero has every exponent that there is.
        if coefficient == 0 {
            exponent = exponent.clamp(-EXPONENT_BIAS, MAX_EXPONENT);
        }
        while exponent > MAX_EXPONENT && coefficient < TOO_LARGE / 10 {
            (coefficient, exponent) = (coefficient * 10, exponent - 1);
        }
        while exponent < -EXPONENT_BIAS && coefficient.is_multiple_of(10) {
            (coefficient, exponent) = (coefficient / 10, exponent + 1);
        }
        let biased = u128::try_from(exponent.checked_add(EXPONENT_BIAS)?).ok()?;
        (coefficient < TOO_LARGE && exponent <= MAX_EXPONENT).then_some(negative | biased << 113 | coefficient)
    }

    /// Reads the bits.
    #[must_use]
    pub fn from_bits(bits: u128) -> Self {
        let negative = bits >> 127 == 1;
        match bits >> 122 & 0x1f {
            0x1e => return Self::Infinite { negative },
            0x1f => return Self::NotANumber,
            _ => {}
        }
        // In the second form the exponent lies two bits lower, and the coefficient is too large in any case.
        let second = bits >> 125 & 3 == 3;
        let coefficient = if second { TOO_LARGE } else { bits & ((1 << 113) - 1) };
        let biased = if second { bits >> 111 } else { bits >> 113 } & 0x3fff;
        Self::Finite {
            negative,
            coefficient: if coefficient < TOO_LARGE { coefficient } else { 0 },
            exponent: i32::try_from(biased).unwrap_or_default() - EXPONENT_BIAS,
        }
    }
}

/// The specification's text, which keeps trailing zeros. That of a finite number follows JSON's grammar.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (negative, coefficient, exponent) = match *self {
            Self::NotANumber => return f.write_str("NaN"),
            Self::Infinite { negative } => return f.write_str(if negative { "-Infinity" } else { "Infinity" }),
            Self::Finite { negative, coefficient, exponent } => (negative, coefficient, exponent),
        };
        if negative {
            f.write_str("-")?;
        }
        let digits = coefficient.to_string();
        let length = i32::try_from(digits.len()).unwrap_or(i32::MAX);
        let adjusted = exponent + length - 1;
        if exponent > 0 || adjusted < -6 {
            let (first, rest) = digits.split_at(1);
            let point = if rest.is_empty() { "" } else { "." };
            return write!(f, "{first}{point}{rest}E{adjusted:+}");
        }
        let places = usize::try_from(exponent.unsigned_abs()).unwrap_or_default();
        match digits.split_at_checked(digits.len().saturating_sub(places)) {
            _ if places == 0 => f.write_str(&digits),
            Some((integer, fraction)) if !integer.is_empty() => write!(f, "{integer}.{fraction}"),
            _ => write!(f, "0.{digits:0>places$}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(bits: u128) -> String {
        Decimal::from_bits(bits).to_string()
    }

    #[test]
    fn special_values_and_forms() {
        assert_eq!(of(0x7800 << 112), "Infinity");
        assert_eq!(of(0xf800 << 112), "-Infinity");
        assert_eq!(of(0x7c00 << 112), "NaN");
        assert_eq!(of(0xfc00 << 112 | 5), "NaN");
        // 35 digits and the second form stand for zero.
        assert_eq!(of(0x3040 << 112 | TOO_LARGE), "0");
        assert_eq!(of(0x6c10 << 112), "0");
        assert_eq!(of(0), "0E-6176");
        assert_eq!(of(0x3040 << 112), "0");
        assert_eq!(of(0xb03c << 112 | 150), "-1.50");
        assert_eq!(of(0x3042 << 112 | 15), "1.5E+2");
        assert_eq!(of(0x3034 << 112 | 1), "0.000001");
        assert_eq!(of(0x3032 << 112 | 1), "1E-7");
    }

    #[test]
    fn texts_are_exact_or_none() {
        for (text, bits) in [
            ("NaN", Some(0x7c00 << 112)),
            ("-Infinity", Some(0xf800 << 112)),
            ("1.50", Some(0x303c << 112 | 150)),
            ("-0", Some(0xb040 << 112)),
            ("1E+6112", Some(0x5ffe << 112 | 10)),
            ("1E+6145", None),
            ("10E-6177", Some(1)),
            ("1E-6177", None),
            ("0E+99999", Some(0x5ffe << 112)),
            ("12345678901234567890123456789012345", None),
            (
                "12345678901234567890123456789012340",
                Some(0x3042 << 112 | 1_234_567_890_123_456_789_012_345_678_901_234),
            ),
            ("", None),
            (".", None),
            ("1x", None),
            ("1E", None),
            ("1E99999999999", None),
        ] {
            assert_eq!(Decimal::parse(text), bits, "{text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_bson_crate(bits in any::<u128>()) {
            let theirs = bson::Decimal128::from_bytes(bits.to_le_bytes()).to_string();
            prop_assert_eq!(of(bits), theirs);
        }

        #[test]
        fn reads_what_is_written(coefficient in 0..TOO_LARGE, exponent in 0_u128..12_288, negative in any::<bool>()) {
            let bits = u128::from(negative) << 127 | exponent << 113 | coefficient;
            let text = of(bits);
            prop_assert!(crate::json::is_number(text.as_bytes()), "{}", text);
            prop_assert_eq!(Decimal::parse(&text), Some(bits), "{}", text);
            let theirs = bson::Decimal128::from_bytes(bits.to_le_bytes()).to_string();
            prop_assert_eq!(text, theirs);
        }
    }
}
