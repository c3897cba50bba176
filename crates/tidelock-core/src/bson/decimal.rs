//! Decimal128 read from its binary integer form
//! ([specification](https://github.com/mongodb/specifications/blob/master/source/bson-decimal128/decimal128.md)).

use std::fmt;

const EXPONENT_BIAS: i32 = 6176;

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
            let theirs = bson::Decimal128::from_bytes(bits.to_le_bytes()).to_string();
            prop_assert_eq!(text, theirs);
        }
    }
}
