//! Values as
//! [extended JSON](https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md).

use super::plain::double;
use super::{Decimal, Elements, Value, kind, uuid};
use crate::encode::base64_text;
use crate::hex::hex;
use crate::json::write_string;
use crate::letter::timestamp;
use std::io::Write as _;

/// 9999-12-31T23:59:59.999Z: later dates, and those before 1970, are written as numbers.
const LAST_DATE: i64 = 253_402_300_799_999;

/// Appends a value whose containers have been checked, in the relaxed form.
///
/// Different values have different texts, as long as no name in them begins with `$`.
pub fn write_extended(out: &mut Vec<u8>, value: Value<'_>) {
    write(out, value, false);
}

/// The same in the canonical form, in which each value has its type.
pub fn write_canonical(out: &mut Vec<u8>, value: Value<'_>) {
    write(out, value, true);
}

fn write(out: &mut Vec<u8>, value: Value<'_>, canonical: bool) {
    match value {
        Value::Double(number) if number.is_finite() && canonical => write_only(out, "$numberDouble", &double(number)),
        Value::Int32(number) if canonical => write_only(out, "$numberInt", &number.to_string()),
        Value::Int64(number) if canonical => write_only(out, "$numberLong", &number.to_string()),
        Value::Double(number) if number.is_finite() => out.extend_from_slice(double(number).as_bytes()),
        Value::Double(number) if number.is_nan() => write_only(out, "$numberDouble", "NaN"),
        Value::Double(number) => {
            write_only(out, "$numberDouble", if number > 0.0 { "Infinity" } else { "-Infinity" });
        }
        Value::Int32(number) => write_number(out, i64::from(number)),
        Value::Int64(number) => write_number(out, number),
        Value::Decimal128(bits) => write_only(out, "$numberDecimal", &Decimal::from_bits(bits).to_string()),
        Value::String(text) => write_string(out, text),
        Value::Symbol(text) => write_only(out, "$symbol", text),
        Value::Code(code) => write_only(out, "$code", code),
        Value::CodeWithScope { code, scope } => {
            out.extend_from_slice(b"{\"$code\":");
            write_string(out, code);
            out.extend_from_slice(b",\"$scope\":");
            write_map(out, scope, canonical);
            out.push(b'}');
        }
        Value::ObjectId(id) => write_only(out, "$oid", &hex(&id)),
        Value::Boolean(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Value::Null => out.extend_from_slice(b"null"),
        Value::DateTime(ms) if (0..=LAST_DATE).contains(&ms) && !canonical => write_only(out, "$date", &timestamp(ms)),
        Value::DateTime(ms) => {
            out.extend_from_slice(b"{\"$date\":");
            write_only(out, "$numberLong", &ms.to_string());
            out.push(b'}');
        }
        Value::Binary { subtype, bytes } => match uuid(bytes).filter(|_| subtype == kind::UUID && !canonical) {
            Some(text) => write_only(out, "$uuid", &text),
            None => {
                let (text, subtype) = (base64_text(bytes), hex(&[subtype]));
                write_pair(out, "$binary", ("base64", &text), ("subType", &subtype));
            }
        },
        Value::Regex { pattern, options } => {
            write_pair(out, "$regularExpression", ("pattern", pattern), ("options", options));
        }
        Value::DbPointer { namespace, id } => {
            out.extend_from_slice(b"{\"$dbPointer\":{\"$ref\":");
            write_string(out, namespace);
            out.extend_from_slice(b",\"$id\":");
            write_only(out, "$oid", &hex(&id));
            out.extend_from_slice(b"}}");
        }
        // Writing to a Vec cannot fail.
        Value::Timestamp { t, i } => drop(write!(out, "{{\"$timestamp\":{{\"t\":{t},\"i\":{i}}}}}")),
        Value::Undefined => out.extend_from_slice(b"{\"$undefined\":true}"),
        Value::MinKey => out.extend_from_slice(b"{\"$minKey\":1}"),
        Value::MaxKey => out.extend_from_slice(b"{\"$maxKey\":1}"),
        Value::Document(elements) => write_map(out, elements, canonical),
        Value::Array(elements) => {
            out.push(b'[');
            for (index, element) in elements.flatten().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(out, element.value, canonical);
            }
            out.push(b']');
        }
    }
}

fn write_map(out: &mut Vec<u8>, elements: Elements<'_>, canonical: bool) {
    out.push(b'{');
    for (index, element) in elements.flatten().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(out, element.name);
        out.push(b':');
        write(out, element.value, canonical);
    }
    out.push(b'}');
}

fn write_number(out: &mut Vec<u8>, number: i64) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{number}");
}

/// `{"NAME":"TEXT"}`.
pub(super) fn write_only(out: &mut Vec<u8>, name: &str, text: &str) {
    out.push(b'{');
    write_string(out, name);
    out.push(b':');
    write_string(out, text);
    out.push(b'}');
}

/// `{"NAME":{"A":"TEXT","B":"TEXT"}}`.
fn write_pair(out: &mut Vec<u8>, name: &str, a: (&str, &str), b: (&str, &str)) {
    out.push(b'{');
    write_string(out, name);
    out.extend_from_slice(b":{");
    for (index, (name, text)) in [a, b].into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(out, name);
        out.push(b':');
        write_string(out, text);
    }
    out.extend_from_slice(b"}}");
}
