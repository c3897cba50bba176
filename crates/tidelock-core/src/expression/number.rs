//! Exact arithmetic on decimals.

use super::value::{number_text, word};
use crate::json::Number;
use crate::transform::Value;
use std::cmp::Ordering;

/// Significant digits of a result: as many as DynamoDB's numbers have. Decimal128 has 34.
const MAX_DIGITS: u32 = 38;
/// Significant digits of a quotient: as many as Decimal128 has.
const MAX_QUOTIENT_DIGITS: u32 = 34;
/// Powers of ten that a result may have: Decimal128's.
const MAX_POWER: i32 = 6_144;

/// An operator of arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Math {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Math {
    /// What two values cannot be, for messages.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Add => "added",
            Self::Subtract => "subtracted",
            Self::Multiply => "multiplied",
            Self::Divide | Self::Remainder => "divided",
        }
    }
}

/// Where a number is rounded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rounding {
    Down,
    Up,
    /// To the nearest; what is halfway goes away from zero.
    Nearest,
    TowardsZero,
}

/// `±coefficient × 10^exponent`; the coefficient does not end in a zero, and zero is `+0 × 10^0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    coefficient: u128,
    exponent: i32,
}

fn too_long() -> String {
    format!("the result has more than {MAX_DIGITS} digits")
}

fn power(exponent: u32) -> Option<u128> {
    10u128.checked_pow(exponent)
}

impl Decimal {
    /// The number that a value is.
    ///
    /// # Errors
    /// When it is none, or too long to calculate with.
    pub(super) fn of(value: &Value) -> Result<Self, String> {
        match number_text(value) {
            Some(text) => Self::parse(&text),
            None => Err(format!("{} is no number", word(value))),
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let number = Number::parse(text.as_bytes()).ok_or_else(|| format!("`{text}` is no number"))?;
        let digits = std::str::from_utf8(&number.digits).unwrap_or_default();
        if digits.len() > MAX_DIGITS as usize {
            return Err(format!("`{text}` has more than {MAX_DIGITS} digits"));
        }
        let coefficient = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| too_long())? };
        Ok(Self { negative: number.negative, coefficient, exponent: number.exponent })
    }

    pub(super) fn integer(number: i64) -> Self {
        Self { negative: number < 0, coefficient: u128::from(number.unsigned_abs()), exponent: 0 }.shortened()
    }

    fn shortened(mut self) -> Self {
        if self.coefficient == 0 {
            return Self { negative: false, coefficient: 0, exponent: 0 };
        }
        while self.coefficient.is_multiple_of(10) {
            self.coefficient /= 10;
            self.exponent += 1;
        }
        self
    }

    fn checked(self, digits: u32) -> Result<Self, String> {
        let short = self.shortened();
        let length = short.coefficient.checked_ilog10().map_or(1, |log| log + 1);
        if length > digits {
            return Err(too_long());
        }
        if short.exponent.unsigned_abs() > MAX_POWER.unsigned_abs() {
            return Err("the result is too large or too small".to_owned());
        }
        Ok(short)
    }

    /// Its text, without exponent.
    pub(super) fn text(&self) -> String {
        let digits = match self.coefficient {
            0 => Vec::new(),
            coefficient => coefficient.to_string().into_bytes(),
        };
        let number = Number { negative: self.negative, digits, exponent: self.exponent };
        String::from_utf8(number.plain()).unwrap_or_default()
    }

    pub(super) fn value(&self) -> Value {
        Value::Number(self.text())
    }

    pub(super) fn negated(self) -> Self {
        Self { negative: !self.negative && self.coefficient != 0, ..self }
    }

    pub(super) fn is_negative(self) -> bool {
        self.negative
    }

    /// The next integer below. Beyond the range of 64 bits, the range's end.
    pub(super) fn floor_i64(self) -> i64 {
        self.rounded(0, Rounding::Down).map_or(0, Self::integer_i64)
    }

    /// The next integer above.
    pub(super) fn ceil_i64(self) -> i64 {
        self.rounded(0, Rounding::Up).map_or(0, Self::integer_i64)
    }

    fn integer_i64(self) -> i64 {
        let whole = self.aligned(0).ok().and_then(|whole| i64::try_from(whole).ok());
        match whole {
            Some(whole) if self.negative => -whole,
            Some(whole) => whole,
            None if self.negative => i64::MIN,
            None => i64::MAX,
        }
    }

    pub(super) fn is_integer(self) -> bool {
        self.exponent >= 0
    }

    fn aligned(self, exponent: i32) -> Result<u128, String> {
        let scale = u32::try_from(self.exponent - exponent).ok().and_then(power);
        match self.coefficient {
            0 => Ok(0),
            coefficient => scale.and_then(|scale| coefficient.checked_mul(scale)).ok_or_else(too_long),
        }
    }

    pub(super) fn add(self, other: Self) -> Result<Self, String> {
        let exponent = match (self.coefficient, other.coefficient) {
            (0, _) => return Ok(other),
            (_, 0) => return Ok(self),
            _ => self.exponent.min(other.exponent),
        };
        let (a, b) = (self.aligned(exponent)?, other.aligned(exponent)?);
        let (negative, coefficient) = if self.negative == other.negative {
            (self.negative, a.checked_add(b).ok_or_else(too_long)?)
        } else if a >= b {
            (self.negative, a - b)
        } else {
            (other.negative, b - a)
        };
        Self { negative, coefficient, exponent }.checked(MAX_DIGITS)
    }

    pub(super) fn multiply(self, other: Self) -> Result<Self, String> {
        let (mut a, mut b, mut exponent) = (self.coefficient, other.coefficient, self.exponent + other.exponent);
        if a == 0 || b == 0 {
            return Ok(Self::integer(0));
        }
        // Twos of the one and fives of the other only make zeros at the end.
        for _ in 0..2 {
            while a.is_multiple_of(2) && b.is_multiple_of(5) {
                (a, b, exponent) = (a / 2, b / 5, exponent + 1);
            }
            std::mem::swap(&mut a, &mut b);
        }
        let coefficient = a.checked_mul(b).ok_or_else(too_long)?;
        Self { negative: self.negative != other.negative, coefficient, exponent }.checked(MAX_DIGITS)
    }

    /// Exactly, or not at all.
    pub(super) fn divide(self, other: Self) -> Result<Self, String> {
        let (mut a, mut b) = (self.coefficient, other.coefficient);
        if b == 0 {
            return Err("division by zero".to_owned());
        }
        if a == 0 {
            return Ok(self);
        }
        let common = greatest_common_divisor(a, b);
        (a, b) = (a / common, b / common);
        let (mut exponent, mut twos, mut fives) = (self.exponent - other.exponent, 0, 0);
        while b.is_multiple_of(2) {
            (b, twos) = (b / 2, twos + 1);
        }
        while b.is_multiple_of(5) {
            (b, fives) = (b / 5, fives + 1);
        }
        let inexact = || {
            let digits = MAX_QUOTIENT_DIGITS;
            format!("the quotient has no end within {digits} digits: write `divide(by; decimals)`, which rounds it")
        };
        if b != 1 {
            return Err(inexact());
        }
        let places = twos.max(fives);
        let factor = |base: u128, times: u32| base.checked_pow(times);
        let scaled = factor(2, places - twos)
            .zip(factor(5, places - fives))
            .and_then(|(two, five)| a.checked_mul(two)?.checked_mul(five))
            .ok_or_else(inexact)?;
        exponent -= i32::try_from(places).map_err(|_| inexact())?;
        Self { negative: self.negative != other.negative, coefficient: scaled, exponent }
            .checked(MAX_QUOTIENT_DIGITS)
            .map_err(|_| inexact())
    }

    /// Rounded to so many decimals.
    pub(super) fn divide_rounded(self, other: Self, decimals: u32) -> Result<Self, String> {
        if other.coefficient == 0 {
            return Err("division by zero".to_owned());
        }
        if self.coefficient == 0 {
            return Ok(self);
        }
        // quotient × 10^decimals = a × 10^shift / b, of which the remainder tells how to round.
        let shift = i64::from(self.exponent) - i64::from(other.exponent) + i64::from(decimals);
        let negative = self.negative != other.negative;
        let mut exponent = -i32::try_from(decimals).map_err(|_| too_long())?;
        let (a, mut b) = (self.coefficient, other.coefficient);
        if shift < 0 {
            let scale = u32::try_from(shift.unsigned_abs()).ok().and_then(power);
            match scale.and_then(|scale| b.checked_mul(scale)) {
                Some(scaled) => b = scaled,
                // The divisor is more than twice what is divided.
                None => return Ok(Self::integer(0)),
            }
        }
        let (mut whole, mut rest) = (a / b, a % b);
        for place in 0..shift.max(0) {
            if rest == 0 {
                exponent += i32::try_from(shift - place).map_err(|_| too_long())?;
                break;
            }
            let next = rest.checked_mul(10).ok_or_else(too_long)?;
            whole = whole.checked_mul(10).and_then(|whole| whole.checked_add(next / b)).ok_or_else(too_long)?;
            rest = next % b;
        }
        let coefficient = whole + u128::from(rest > 0 && rest >= b - rest);
        Self { negative, coefficient, exponent }.checked(MAX_DIGITS)
    }

    /// Of what is before the point, as in jq: the sign is that of the first.
    pub(super) fn remainder(self, other: Self) -> Result<Self, String> {
        let (a, b) = (self.rounded(0, Rounding::TowardsZero)?, other.rounded(0, Rounding::TowardsZero)?);
        let (a, b) = (a.aligned(0).map(|whole| (a.negative, whole))?, b.aligned(0)?);
        match b {
            0 => Err("division by zero".to_owned()),
            b => Self { negative: a.0, coefficient: a.1 % b, exponent: 0 }.checked(MAX_DIGITS),
        }
    }

    pub(super) fn rounded(self, decimals: u32, rounding: Rounding) -> Result<Self, String> {
        let places = i64::from(self.exponent) + i64::from(decimals);
        if places >= 0 {
            return Ok(self);
        }
        let scale = u32::try_from(places.unsigned_abs()).ok().and_then(power);
        let (whole, rest, half) = match scale {
            Some(scale) => {
                let rest = self.coefficient % scale;
                (self.coefficient / scale, rest, rest >= scale - rest)
            }
            None => (0, self.coefficient, false),
        };
        let up = match rounding {
            Rounding::Down => self.negative && rest > 0,
            Rounding::Up => !self.negative && rest > 0,
            Rounding::Nearest => half,
            Rounding::TowardsZero => false,
        };
        let exponent = -i32::try_from(decimals).map_err(|_| too_long())?;
        Self { negative: self.negative, coefficient: whole + u128::from(up), exponent }.checked(MAX_DIGITS)
    }

    /// Of two numbers. Where one is a double, so is the result if a double is read back as it to the digit.
    pub(super) fn calculate(math: Math, left: &Value, right: &Value) -> Result<Value, String> {
        let (a, b) = (Self::of(left)?, Self::of(right)?);
        let result = match math {
            Math::Add => a.add(b),
            Math::Subtract => a.add(b.negated()),
            Math::Multiply => a.multiply(b),
            Math::Divide => a.divide(b),
            Math::Remainder => a.remainder(b),
        }?;
        Ok(result.like(&[left, right]))
    }

    /// The value of a result of these operands.
    pub(super) fn like(&self, operands: &[&Value]) -> Value {
        let double =
            || self.text().parse::<f64>().ok().filter(|double| Self::parse(&format!("{double:?}")) == Ok(*self));
        match operands.iter().any(|operand| matches!(operand, Value::Double(_))) {
            true => double().map_or_else(|| self.value(), Value::Double),
            false => self.value(),
        }
    }
}

fn greatest_common_divisor(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Compares the texts of two numbers by their value, at any length.
pub(super) fn compare_texts(a: &str, b: &str) -> Ordering {
    let plain = |text: &str| !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain(a) && plain(b) {
        return a.len().cmp(&b.len()).then_with(|| a.cmp(b));
    }
    Number::parse(a.as_bytes()).cmp(&Number::parse(b.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn calculated(math: Math, a: &str, b: &str) -> Result<String, String> {
        let number = |text: &str| Value::Number(text.to_owned());
        Decimal::calculate(math, &number(a), &number(b)).map(|value| match value {
            Value::Number(text) => text,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn results_are_exact_or_refused() {
        let long = "12345678901234567890123456789012345678";
        for (a, math, b, expected) in [
            ("0.1", Math::Add, "0.2", "0.3"),
            (long, Math::Add, "1", "12345678901234567890123456789012345679"),
            ("1e38", Math::Subtract, "1", "99999999999999999999999999999999999999"),
            ("-1.50", Math::Add, "1.5", "0"),
            ("1.1", Math::Multiply, "1.1", "1.21"),
            (
                "1267650600228229401496703205376",
                Math::Multiply,
                "7.888609052210118054117285652827862296732064351090230047702789306640625e-31",
                "1",
            ),
            ("1", Math::Divide, "8", "0.125"),
            ("-3", Math::Divide, "0.0006", "-5000"),
            ("0", Math::Divide, "7", "0"),
            ("7", Math::Remainder, "-3", "1"),
            ("-7.9", Math::Remainder, "3", "-1"),
            ("1e20", Math::Remainder, "7", "2"),
        ] {
            let result = calculated(math, a, b);
            if a.starts_with("12676") {
                assert!(result.expect_err("digits").contains("38 digits"));
            } else {
                assert_eq!(result, Ok(expected.to_owned()), "{a} {math:?} {b}");
            }
        }
        for (a, math, b, words) in [
            (long, Math::Multiply, "11", "38 digits"),
            (long, Math::Add, "0.1", "38 digits"),
            ("1e100", Math::Add, "1", "38 digits"),
            ("1", Math::Divide, "3", "no end within 34 digits"),
            ("1", Math::Divide, "0", "division by zero"),
            ("1", Math::Remainder, "0.5", "division by zero"),
            ("1e6000", Math::Multiply, "1e6000", "too large"),
        ] {
            let told = calculated(math, a, b).expect_err(words);
            assert!(told.contains(words), "{a} {math:?} {b}: {told}");
        }
    }

    #[test]
    fn rounds() {
        use Rounding::{Down, Nearest, TowardsZero, Up};
        for (text, decimals, rounding, expected) in [
            ("2.5", 0, Nearest, "3"),
            ("-2.5", 0, Nearest, "-3"),
            ("2.4999", 0, Nearest, "2"),
            ("2.5", 0, Down, "2"),
            ("-2.5", 0, Down, "-3"),
            ("2.1", 0, Up, "3"),
            ("-2.9", 0, Up, "-2"),
            ("-2.9", 0, TowardsZero, "-2"),
            ("1e-50", 0, Up, "1"),
            ("1e-50", 0, Nearest, "0"),
            ("1.005", 2, Nearest, "1.01"),
            ("12e3", 2, Down, "12000"),
        ] {
            let rounded = Decimal::parse(text).and_then(|number| number.rounded(decimals, rounding));
            assert_eq!(rounded.map(|number| number.text()), Ok(expected.to_owned()), "{text} {rounding:?}");
        }
        for (a, b, decimals, expected) in [
            ("10", "3", 2, "3.33"),
            ("20", "3", 2, "6.67"),
            ("-1", "8", 2, "-0.13"),
            ("1", "1e60", 2, "0"),
            ("1e30", "3e30", 5, "0.33333"),
            ("7", "7e-3", 0, "1000"),
            ("1e100", "4", 2, &format!("25{}", "0".repeat(98))),
            ("123456789012345678901234567890123456", "1000003", 2, "123456418643089749631985671933.11"),
        ] {
            let divided = Decimal::parse(a).and_then(|a| a.divide_rounded(Decimal::parse(b)?, decimals));
            assert_eq!(divided.map(|number| number.text()), Ok(expected.to_owned()), "{a} {b}");
        }
    }

    #[test]
    fn doubles_stay_doubles_where_that_is_exact() {
        let result = Decimal::calculate(Math::Add, &Value::Double(0.1), &Value::Double(0.2));
        assert_eq!(result, Ok(Value::Double(0.3)));
        let result =
            Decimal::calculate(Math::Multiply, &Value::Double(0.1), &Value::Number("1234567890123456789".to_owned()));
        assert_eq!(result, Ok(Value::Number("123456789012345678.9".to_owned())));
    }

    proptest! {
        #[test]
        fn as_integers_calculate(a in -1_000_000_000_000i128..1_000_000_000_000, b in -1_000_000_000_000i128..1_000_000_000_000) {
            let (x, y) = (a.to_string(), b.to_string());
            prop_assert_eq!(calculated(Math::Add, &x, &y), Ok((a + b).to_string()));
            prop_assert_eq!(calculated(Math::Subtract, &x, &y), Ok((a - b).to_string()));
            prop_assert_eq!(calculated(Math::Multiply, &x, &y), Ok((a * b).to_string()));
            if b != 0 {
                prop_assert_eq!(calculated(Math::Remainder, &x, &y), Ok((a % b).to_string()));
                prop_assert_eq!(calculated(Math::Divide, &(a * b).to_string(), &y), Ok(a.to_string()));
            }
            prop_assert_eq!(compare_texts(&x, &y), a.cmp(&b));
        }
    }
}
