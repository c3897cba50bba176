//! `where`: which items a route is for.
//!
//! [jq](https://jqlang.org/manual/). What most conditions are made of is looked up in the record's bytes: paths, literals,
//! comparisons, `and`, `or`, `not`. Any other one is an [expression](crate::expression), for which the fields that it names are
//! taken apart.
//!
//! ```text
//! .status == "paid" and (.total >= 100 or .customer.vip) and (.deleted | not)
//! .tags | any(. == "new")
//! ```
//!
//! Values are ordered as in jq: null, false, true, numbers, texts, all else. Numbers are compared exactly, whatever their
//! length. A path that leads nowhere gives null. Null and false do not hold, all else does.

use crate::bson::Elements;
use crate::cause::{Cause, Failure};
use crate::expression::{Comparison, Expression};
use crate::image::{Field, Image, Notation};
use crate::json::{Cursor, Number, unescape};
use crate::transform::Value;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// A parsed condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    Or(Box<Self>, Box<Self>),
    And(Box<Self>, Box<Self>),
    Not(Box<Self>),
    Holds(Operand),
    Compare(Operand, Comparison, Operand),
    /// What the others cannot say.
    Expression(Expression),
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
    /// When two values would have to be compared that have no order here, or an expression cannot be run on the item.
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
            Self::Expression(expression) => {
                let held = expression.holds(&item(image, expression.names()));
                held.map_err(|words| Failure::new(Cause::InvalidValue, format!("`where`: {words}")))?
            }
        })
    }
}

/// The fields of an item that are named; all of them for `None`. What is not well-formed is not there: the decoder has refused
/// the record for it.
fn item(image: &Image<'_>, names: Option<&BTreeSet<String>>) -> Value {
    let wanted = |name: &str| names.is_none_or(|names| names.contains(name));
    let mut fields = Vec::new();
    match image.notation {
        Notation::DynamoDb => {
            // What is at fault ends the walk.
            let _ = Cursor::new(image.bytes).members(|cursor, name| {
                let name = unescape(name).filter(|name| wanted(name));
                let text = cursor.skip()?;
                if let Some((name, value)) = name.zip(Value::attribute(&mut Cursor::new(text))) {
                    fields.push((name.into_owned(), value));
                }
                Ok(())
            });
        }
        Notation::Bson => {
            for element in Elements::new(image.bytes).into_iter().flatten().flatten() {
                if wanted(element.name) {
                    fields.push((element.name.to_owned(), Value::element(&element)));
                }
            }
        }
    }
    Value::Map(fields)
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
    use proptest::prelude::*;

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

    #[test]
    fn what_no_simple_condition_says_is_an_expression() {
        for (text, expected) in [
            (".total * 2 == 201", true),
            (".status | length == 4", true),
            (".set | contains([\"a\"])", true),
            (".set | any(. == \"b\")", false),
            (".list == []", true),
            (".customer | has(\"vip\")", true),
            ("(.status | startswith(\"pa\")) and .total > 100", true),
            (".long + 1 == 12345678901234567890123456789012345679", true),
            (".set[] | select(. == \"b\")", false),
            (".nothing // \"x\" == \"x\"", true),
        ] {
            assert!(matches!(condition(text), Ok(Condition::Expression(_) | Condition::Compare(..))), "{text}");
            assert_eq!(holds(text), Ok(expected), "{text}");
        }
        let failure = holds(".status + 1 == 2").expect_err("a text and a number");
        assert_eq!(
            (failure.cause, failure.detail.as_str()),
            (Cause::InvalidValue, "`where`: a text and a number cannot be added")
        );
    }

    /// Each simple condition, as the expression that it also is.
    fn both(text: &str, image: &Image<'_>) -> Option<(bool, bool)> {
        let simple = condition(text).expect(text);
        assert!(!matches!(simple, Condition::Expression(_)), "{text}");
        let expression =
            Condition::Expression(Expression::parse(text).map_err(|problem| problem.to_string()).expect(text));
        Some((simple.holds(image).ok()?, expression.holds(image).expect(text)))
    }

    fn operand() -> impl Strategy<Value = String> {
        const PATHS: &[&str] = &[
            ".status",
            ".total",
            ".long",
            ".customer",
            ".customer.vip",
            ".customer.\"old name\"",
            ".gone",
            ".no",
            ".list",
            ".set",
            ".nothing",
            ".status.more",
            ".list.more",
            ".double",
            ".date",
            ".id",
            ".binary",
            ".int",
            "[\"status\"]",
        ];
        const LITERALS: &[&str] = &[
            "null",
            "true",
            "false",
            "0",
            "-0",
            "100.5",
            "1005e-1",
            "12345678901234567890123456789012345678",
            "-7",
            "0.1",
            "1e-3",
            "\"\"",
            "\"paid\"",
            "\"pa\\u0069d\"",
            "\"x\"",
            "\"2020-04-29T13:22:08.000Z\"",
            "\"abababababababababababab\"",
        ];
        let path = (0..PATHS.len()).prop_map(|at| match PATHS[at].strip_prefix('[') {
            Some(_) => format!(".{}", PATHS[at]),
            None => PATHS[at].to_owned(),
        });
        prop_oneof![path, (0..LITERALS.len()).prop_map(|at| LITERALS[at].to_owned())]
    }

    fn simple() -> impl Strategy<Value = String> {
        let comparison = prop_oneof![Just("=="), Just("!="), Just("<"), Just("<="), Just(">"), Just(">=")];
        let leaf =
            prop_oneof![operand(), (operand(), comparison, operand()).prop_map(|(a, b, c)| format!("{a} {b} {c}"))];
        leaf.prop_recursive(4, 16, 2, |inner| {
            prop_oneof![
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) and ({b})")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} or {b}")),
                inner.prop_map(|a| format!("({a} | not)")),
            ]
        })
    }

    fn document() -> Vec<u8> {
        let document = bson::doc! {
            "status": "paid", "total": 100.5, "long": "1234567890123456789012345678901234".parse::<bson::Decimal128>().expect("a number"),
            "customer": {"vip": true, "old name": "x"}, "gone": null, "no": false, "list": [], "set": ["a"],
            "double": 0.1, "date": bson::DateTime::from_millis(1_588_166_528_000), "id": bson::oid::ObjectId::from_bytes([0xAB; 12]),
            "binary": bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![1] }, "int": 7_i64,
        };
        document.to_vec().expect("BSON")
    }

    /// `cargo test --profile sim -p tidelock-core --lib -- --ignored --nocapture time_per_evaluation`
    #[test]
    #[ignore = "measures, and asserts nothing"]
    fn time_per_evaluation() {
        let document = document();
        let images = [
            Image { notation: Notation::DynamoDb, bytes: ITEM.as_bytes() },
            Image { notation: Notation::Bson, bytes: &document },
        ];
        for (image, text) in images.iter().flat_map(|image| {
            let texts = [
                ".status == \"paid\" and .total >= 100",
                ".customer.vip",
                ".total * 2 > 100",
                ".set | any(. == \"a\")",
                "(.status + \" \" + .customer.\"old name\") == \"paid x\"",
            ];
            texts.map(|text| (image, text))
        }) {
            let time = |condition: &Condition| {
                let (begun, times) = (std::time::Instant::now(), 200_000);
                for _ in 0..times {
                    assert!(std::hint::black_box(condition).holds(std::hint::black_box(image)).is_ok());
                }
                begun.elapsed() / times
            };
            let expression =
                Condition::Expression(Expression::parse(text).map_err(|problem| problem.to_string()).expect(text));
            let simple = condition(text).expect(text);
            let simple = matches!(simple, Condition::Expression(_))
                .then_some("-".to_owned())
                .unwrap_or_else(|| format!("{:?}", time(&simple)));
            println!("{:?} {text}: simple {simple}, expression {:?}", image.notation, time(&expression));
        }
    }

    proptest! {
        #[test]
        fn both_ways_agree(text in simple()) {
            let document = document();
            for image in [
                Image { notation: Notation::DynamoDb, bytes: ITEM.as_bytes() },
                Image { notation: Notation::Bson, bytes: &document },
            ] {
                if let Some((simple, expression)) = both(&text, &image) {
                    prop_assert_eq!(simple, expression, "{} {:?}", text, image.notation);
                }
            }
        }
    }
}
