//! `where`: which items a route is for.
//!
//! A part of [jq](https://jqlang.org/manual/): paths, literals, comparisons, `and`, `or`, `not`.
//!
//! ```text
//! .status == "paid" and (.total >= 100 or .customer.vip) and (.deleted | not)
//! ```
//!
//! Values are ordered as in jq: null, false, true, numbers, texts, all else. Numbers are compared exactly, whatever their
//! length. A path that leads nowhere gives null. Null and false do not hold, all else does.

use crate::cause::{Cause, Failure};
use crate::expression::{Comparison, Expression};
use crate::image::{Field, Image};
use crate::json::Number;
use std::borrow::Cow;
use std::cmp::Ordering;

/// A parsed condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    Or(Box<Self>, Box<Self>),
    And(Box<Self>, Box<Self>),
    Not(Box<Self>),
    Holds(Operand),
    Compare(Operand, Comparison, Operand),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operand {
    Path(Vec<String>),
    Null,
    Boolean(bool),
    /// In canonical notation.
    Number(String),
    Text(String),
}

impl Condition {
    /// Whether it holds for an item.
    ///
    /// # Errors
    /// When two values would have to be compared that have no order here.
    pub(crate) fn holds(&self, image: &Image<'_>) -> Result<bool, Failure> {
        Ok(match self {
            Self::Or(a, b) => a.holds(image)? || b.holds(image)?,
            Self::And(a, b) => a.holds(image)? && b.holds(image)?,
            Self::Not(a) => !a.holds(image)?,
            Self::Holds(operand) => !matches!(operand.of(image), Field::Missing | Field::Null | Field::Boolean(false)),
            Self::Compare(a, comparison, b) => {
                let (left, right) = (a.of(image), b.of(image));
                let order = compare(&left, &right).ok_or_else(|| {
                    let what = "`where` compares two values that are neither text, number, boolean nor null";
                    Failure::new(Cause::InvalidValue, format!("{what}: {} and {}", a.show(), b.show()))
                })?;
                comparison.holds(order)
            }
        })
    }
}

impl Operand {
    fn of<'a>(&'a self, image: &Image<'a>) -> Field<'a> {
        match self {
            Self::Path(path) => image.field(path),
            Self::Null => Field::Null,
            Self::Boolean(value) => Field::Boolean(*value),
            Self::Number(text) => Field::Number(Cow::Borrowed(text)),
            Self::Text(text) => Field::Text(Cow::Borrowed(text)),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Path(path) => format!("`.{}`", path.join(".")),
            other => format!("{other:?}"),
        }
    }
}

/// jq's order; `None` where both are lists, maps or bytes.
fn compare(a: &Field<'_>, b: &Field<'_>) -> Option<Ordering> {
    let rank = |field: &Field<'_>| match field {
        Field::Missing | Field::Null => 0,
        Field::Boolean(false) => 1,
        Field::Boolean(true) => 2,
        Field::Number(_) => 3,
        Field::Text(_) => 4,
        Field::Other(_) => 5,
    };
    match (a, b) {
        (Field::Number(a), Field::Number(b)) => Some(Number::parse(a.as_bytes())?.cmp(&Number::parse(b.as_bytes())?)),
        (Field::Text(a), Field::Text(b)) => Some(a.cmp(b)),
        (Field::Other(_), Field::Other(_)) => None,
        _ => Some(rank(a).cmp(&rank(b))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::grammar::condition;
    use super::*;
    use crate::image::Notation;

    const ITEM: &str = r#"{"status":{"S":"paid"},"total":{"N":"100.50"},"long":{"N":"12345678901234567890123456789012345678"},
        "customer":{"M":{"vip":{"BOOL":true},"old name":{"S":"x"}}},"gone":{"NULL":true},"no":{"BOOL":false},
        "list":{"L":[]},"set":{"SS":["a"]}}"#;

    fn holds(text: &str) -> Result<bool, Failure> {
        let image = Image { notation: Notation::DynamoDb, bytes: ITEM.as_bytes() };
        condition(text).expect(text).holds(&image)
    }

    #[test]
    fn conditions_hold_as_in_jq() {
        for (text, expected) in [
            (r#".status == "paid""#, true),
            (r#".status != "paid""#, false),
            (r#"  .status=="paid"  and .total>=100.5 "#, true),
            (".total == 1005e-1", true),
            (".total < 100.5", false),
            (".total <= 100.5", true),
            (".total > -3", true),
            (".long > 12345678901234567890123456789012345677", true),
            (".long < 12345678901234567890123456789012345679", true),
            (".customer.vip", true),
            (r#".customer."old name" == "x""#, true),
            (r#".["customer"]["old name"] == "x""#, true),
            (".customer.vip | not", false),
            (".nothing", false),
            (".nothing == null", true),
            (".gone == null", true),
            (".no == false", true),
            (".no", false),
            ("(.no or .gone) | not", true),
            (".no and .total or .status", true),
            (".no and (.total or .status)", false),
            // Null, false, true, numbers, texts, all else.
            (".gone < .no", true),
            (".no < true", true),
            ("true < 0", true),
            (".total < .status", true),
            (".status < .list", true),
            (".list == null", false),
            (".list", true),
            ("true", true),
            ("null", false),
            (r#""\u0070aid" == .status"#, true),
        ] {
            assert_eq!(holds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_has_no_order_is_refused() {
        let failure = holds(".list == .set").expect_err("no order");
        assert!(failure.detail.contains("`.list`") && failure.detail.contains("`.set`"), "{failure}");
    }
}
