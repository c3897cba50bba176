//! JSON with exact numbers: two values are equal when no digit differs, whatever the notation.

use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// A JSON value whose numbers keep every digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exact {
    Null,
    Bool(bool),
    Number(Decimal),
    Text(String),
    List(Vec<Exact>),
    Map(BTreeMap<String, Exact>),
}

/// `±digits × 10^exponent`, `digits` without zeros at either end; zero has no digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// Reads a number of JSON's or DynamoDB's notation.
    pub(crate) fn parse(text: &str) -> Self {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, power) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let power: i64 = power.parse().unwrap_or_else(|_| panic!("`{text}` is no number"));
        let all = format!("{whole}{fraction}");
        assert!(!all.is_empty() && all.bytes().all(|byte| byte.is_ascii_digit()), "`{text}` is no number");
        let significant = all.trim_start_matches('0').trim_end_matches('0').to_owned();
        if significant.is_empty() {
            return Self { negative: false, digits: String::new(), exponent: 0 };
        }
        let zeros = all.len() - all.trim_end_matches('0').len();
        let exponent = power - i64::try_from(fraction.len()).unwrap() + i64::try_from(zeros).unwrap();
        Self { negative, digits: significant, exponent }
    }
}

impl Exact {
    /// Reads a JSON text.
    pub(crate) fn parse(text: &str) -> Self {
        Self::of(serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}")))
    }

    /// A number from its text.
    pub(crate) fn number(text: &str) -> Self {
        Self::Number(Decimal::parse(text))
    }

    fn of(raw: &RawValue) -> Self {
        let text = raw.get();
        match text.as_bytes()[0] {
            b'{' => {
                let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).unwrap();
                Self::Map(members.into_iter().map(|(name, value)| (name, Self::of(value))).collect())
            }
            b'[' => {
                let items: Vec<&RawValue> = serde_json::from_str(text).unwrap();
                Self::List(items.into_iter().map(Self::of).collect())
            }
            b'"' => Self::Text(serde_json::from_str(text).unwrap()),
            b't' | b'f' => Self::Bool(text == "true"),
            b'n' => Self::Null,
            _ => Self::number(text),
        }
    }

    /// Takes a member out of an object.
    pub(crate) fn take(&mut self, name: &str) -> Option<Self> {
        match self {
            Self::Map(members) => members.remove(name),
            _ => None,
        }
    }

    /// A member of an object.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(members) => members.get(name),
            _ => None,
        }
    }
}

impl From<Value> for Exact {
    fn from(value: Value) -> Self {
        Self::parse(&value.to_string())
    }
}

impl fmt::Debug for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(Decimal { negative, digits, exponent }) => {
                write!(f, "{}{digits}e{exponent}", if *negative { "-" } else { "" })
            }
            Self::Text(text) => write!(f, "{text:?}"),
            Self::List(items) => f.debug_list().entries(items).finish(),
            Self::Map(members) => f.debug_map().entries(members).finish(),
        }
    }
}

#[test]
fn notation_is_no_difference_and_the_last_digit_is_one() {
    for (a, b) in [("1E+2", "100"), ("0.10", "1e-1"), ("-0", "0.000"), ("12.50", "1250e-2")] {
        assert_eq!(Exact::parse(a), Exact::parse(b), "{a} {b}");
    }
    for (a, b) in [
        ("12345678901234567890123456789012345678", "12345678901234567890123456789012345679"),
        ("1", "-1"),
        ("1", "\"1\""),
        ("9007199254740993", "9007199254740992"),
    ] {
        assert_ne!(Exact::parse(a), Exact::parse(b), "{a} {b}");
    }
}
