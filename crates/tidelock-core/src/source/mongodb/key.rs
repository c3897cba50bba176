//! The key of a document: its `_id`, of any type that an `_id` can have.

use super::ID_FIELD;
use super::document::{at, check, malformed};
use crate::bson::{Decimal, Element, Elements, Value, kind};
use crate::cause::{Cause, Failure};
use crate::encode::{Fault, Written, close, push_integer, push_number};
use crate::json::Number;
use crate::key::{Key, KeyKind, push_part};

/// A document's key, kept.
///
/// MongoDB compares numbers by value, whatever their type, also those inside of an `_id` that is a document
/// ([comparison](https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/#numeric-types)): of equal numbers
/// one stands for all, an Int32 where it can, else an Int64, a double, a Decimal128. All else is kept byte for byte; the
/// fields of a document have an order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DocumentKey(Vec<u8>);

impl DocumentKey {
    /// The key of a document in BSON, or of one that holds nothing else.
    ///
    /// # Errors
    /// When it is no BSON, has no `_id`, or one that
    /// [MongoDB does not allow](https://www.mongodb.com/docs/manual/core/document/#the-_id-field): a list, a regular
    /// expression, `undefined`, or a document with a name that begins with `$`.
    pub fn of(document: &[u8]) -> Result<Self, Failure> {
        Self::read(document).map_err(|fault| fault.into_failure())
    }

    /// The key of a document whose `_id` has this type's byte and these bytes.
    ///
    /// # Errors
    /// As of [`DocumentKey::of`].
    pub(crate) fn of_value(kind: u8, raw: &[u8]) -> Result<Self, Failure> {
        let mut document = vec![0; 4];
        document.push(kind);
        document.extend_from_slice(b"_id\0");
        document.extend_from_slice(raw);
        document.push(0);
        close(&mut document, 0);
        Self::of(&document)
    }

    fn read(document: &[u8]) -> Result<Self, Box<Fault>> {
        for element in Elements::new(document).map_err(malformed)? {
            let element = element.map_err(malformed)?;
            if element.name != ID_FIELD {
                continue;
            }
            if matches!(element.value, Value::Array(_) | Value::Regex { .. } | Value::Undefined) {
                let detail = "`_id` is of a type that none can have: a list, a regular expression or `undefined`";
                return Err(Fault::new(Cause::MissingKey, detail));
            }
            let mut value = Vec::with_capacity(element.raw.len());
            let kind = check(element.value, 1)
                .and_then(|()| push_canonical(&mut value, &element))
                .map_err(|fault| at(fault, ID_FIELD))?;
            let mut key = Vec::with_capacity(value.len() + 16);
            push_part(&mut key, ID_FIELD, KeyKind::Bson(kind), &value);
            return Ok(Self(key));
        }
        Err(Fault::new(Cause::MissingKey, "the document has no `_id`"))
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> Key<'_> {
        Key::from_bytes(&self.0)
    }
}

/// Appends the bytes that stand for a value and all that are equal to it; gives their type.
fn push_canonical(out: &mut Vec<u8>, element: &Element<'_>) -> Result<u8, Box<Fault>> {
    match element.value {
        Value::Int32(number) => return Ok(push_integer(out, i64::from(number))),
        Value::Int64(number) => return Ok(push_integer(out, number)),
        Value::Double(number) => return Ok(push_double(out, number)),
        Value::Decimal128(bits) => return Ok(push_decimal(out, Decimal::from_bits(bits))),
        Value::Document(elements) | Value::Array(elements) => {
            let start = out.len();
            out.extend_from_slice(&[0; 4]);
            let list = element.kind == kind::ARRAY;
            for (index, element) in elements.enumerate() {
                let element = element.map_err(malformed)?;
                let tag = out.len();
                out.push(0);
                // The names in a list mean nothing.
                if list {
                    out.extend_from_slice(index.to_string().as_bytes());
                } else {
                    refuse_operator(element.name)?;
                    out.extend_from_slice(element.name.as_bytes());
                }
                out.push(0);
                let kind = push_canonical(out, &element).map_err(|fault| at(fault, element.name))?;
                if let Some(byte) = out.get_mut(tag) {
                    *byte = kind;
                }
            }
            out.push(0);
            close(out, start);
        }
        Value::CodeWithScope { scope, .. } => {
            check_names(scope)?;
            out.extend_from_slice(element.raw);
        }
        _ => out.extend_from_slice(element.raw),
    }
    Ok(element.kind)
}

/// Fails where a name inside begins with `$`. The elements have been checked.
fn check_names(elements: Elements<'_>) -> Written {
    for element in elements.flatten() {
        refuse_operator(element.name)?;
        if let Value::Document(inner) | Value::Array(inner) | Value::CodeWithScope { scope: inner, .. } = element.value
        {
            check_names(inner)?;
        }
    }
    Ok(())
}

/// In a filter it would be an operator, and in extended JSON a type.
fn refuse_operator(name: &str) -> Written {
    if name.starts_with('$') {
        let detail = format!("the name `{name}` begins with `$`, as none in an `_id` may");
        return Err(Fault::new(Cause::MissingKey, detail));
    }
    Ok(())
}

fn push_double(out: &mut Vec<u8>, number: f64) -> u8 {
    /// 2^63, the first double beyond 64 bits.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if number.fract() == 0.0 && (-BEYOND..BEYOND).contains(&number) {
        return push_integer(out, number as i64);
    }
    // There are many ways not to be a number.
    let number = if number.is_nan() { f64::NAN } else { number };
    out.extend_from_slice(&number.to_le_bytes());
    kind::DOUBLE
}

fn push_decimal(out: &mut Vec<u8>, number: Decimal) -> u8 {
    let text = match number {
        Decimal::NotANumber => return push_double(out, f64::NAN),
        Decimal::Infinite { negative: false } => return push_double(out, f64::INFINITY),
        Decimal::Infinite { negative: true } => return push_double(out, f64::NEG_INFINITY),
        Decimal::Finite { .. } => number.to_string(),
    };
    if let Some(double) = exact_double(&text) {
        return push_double(out, double);
    }
    // What has come out of a Decimal128 fits into one.
    push_number(out, text.as_bytes()).unwrap_or(kind::NULL)
}

/// The double that is this very number, if one is.
fn exact_double(text: &str) -> Option<f64> {
    let double = text.parse::<f64>().ok().filter(|double| double.is_finite())?;
    // A double has at most 1,074 decimal places.
    let exact = format!("{double:.1074}");
    (Number::parse(exact.as_bytes())? == Number::parse(text.as_bytes())?).then_some(double)
}
