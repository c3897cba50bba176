//! From a document's BSON to what a target takes, in one pass. The rules are the module's.

use super::ID_FIELD;
use crate::bson::{Element, Elements, MAX_LEVELS, Malformed, Plain, Value, plain};
use crate::cause::{Cause, Failure};
use crate::encode::{BsonSink, Fault, Format, JsonSink, MARK_FIELD, Sink, Written, base64_text};
use crate::json::write_string;
use crate::transform::{Fields, Held, Touch, Transform, Value as TransformValue, write_fields};
use std::io::Write as _;

/// The document as the format's [sink](crate::encode::Sink) writes one; `bson` is the whole document.
///
/// # Errors
/// When it is no BSON, or the target cannot hold it: with the field that is at fault.
pub fn document(bson: &[u8], format: Format) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::with_capacity(bson.len());
    write(&mut out, bson, format).map_err(|fault| fault.into_failure())?;
    Ok(out)
}

/// A value as JSON.
///
/// # Errors
/// When JSON has no form for it.
pub(crate) fn write_json(out: &mut Vec<u8>, kind: u8, raw: &[u8]) -> Written {
    value(out, crate::bson::value(kind, raw).map_err(malformed)?, 1)
}

/// The document that a transform makes of a document; `bson` is the whole of it.
///
/// # Errors
/// When it is no BSON, a step cannot be done, or the target cannot hold what comes of it.
pub(crate) fn transformed(bson: &[u8], transform: &Transform, format: Format) -> Result<Vec<u8>, Failure> {
    let capacity = bson.len();
    let written = match format {
        Format::Json => transform_into(JsonSink::with_capacity(capacity), bson, transform),
        Format::Bson => transform_into(BsonSink::with_capacity(capacity), bson, transform),
    };
    written.map_err(|fault| fault.into_failure())
}

fn transform_into<S: Sink>(mut sink: S, bson: &[u8], transform: &Transform) -> Result<Vec<u8>, Box<Fault>> {
    sink.begin_document();
    let mut fields = Fields::new();
    for element in Elements::new(bson).map_err(malformed)? {
        let element = element.map_err(malformed)?;
        if element.name == ID_FIELD {
            continue;
        }
        check(element.value, 1).map_err(|fault| at(fault, element.name))?;
        match transform.touch(element.name.as_bytes()) {
            Touch::Dropped => {}
            // Written at the end, where they come in their own order.
            Touch::Untouched | Touch::Touched(_) => {
                fields.push((element.name.into(), Held::from(TransformValue::element(&element))))
            }
        }
    }
    transform.run(&mut fields)?;
    if let Some((name, _)) = fields.iter().find(|(name, _)| name == ID_FIELD || name == MARK_FIELD) {
        return Err(Fault::new(Cause::ReservedField, format!("`{name}` is the target's own field, or tidelock's")));
    }
    write_fields(&mut sink, &fields)?;
    Ok(sink.into_bytes())
}

fn write(out: &mut Vec<u8>, bson: &[u8], format: Format) -> Written {
    if format == Format::Json {
        out.push(b'{');
    }
    let mut first = true;
    for element in Elements::new(bson).map_err(malformed)? {
        let element = element.map_err(malformed)?;
        if element.name == ID_FIELD {
            continue;
        }
        if element.name == MARK_FIELD {
            let detail = format!("`{MARK_FIELD}` is the field that tidelock adds");
            return Err(Fault::new(Cause::ReservedField, detail));
        }
        match format {
            Format::Json => member(out, &element, &mut first, 1)?,
            Format::Bson => {
                check(element.value, 1).map_err(|fault| at(fault, element.name))?;
                out.extend_from_slice(element.whole);
            }
        }
    }
    Ok(())
}

/// Fails where something inside is no BSON, or nested too deeply.
pub(super) fn check(value: Value<'_>, level: u32) -> Written {
    let elements = match value {
        Value::Document(elements) | Value::Array(elements) | Value::CodeWithScope { scope: elements, .. } => elements,
        _ => return Ok(()),
    };
    check_level(level)?;
    for element in elements {
        let element = element.map_err(malformed)?;
        check(element.value, level + 1).map_err(|fault| at(fault, element.name))?;
    }
    Ok(())
}

/// Writes name and value, with a comma where it is needed.
fn member(out: &mut Vec<u8>, element: &Element<'_>, first: &mut bool, level: u32) -> Written {
    if !std::mem::take(first) {
        out.push(b',');
    }
    write_string(out, element.name);
    out.push(b':');
    value(out, element.value, level).map_err(|fault| at(fault, element.name))
}

fn map(out: &mut Vec<u8>, elements: Elements<'_>, level: u32) -> Written {
    check_level(level)?;
    out.push(b'{');
    let mut first = true;
    for element in elements {
        member(out, &element.map_err(malformed)?, &mut first, level + 1)?;
    }
    out.push(b'}');
    Ok(())
}

fn value(out: &mut Vec<u8>, of: Value<'_>, level: u32) -> Written {
    match plain(of) {
        Plain::Null => out.extend_from_slice(b"null"),
        Plain::Boolean(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Plain::Number(number) => out.extend_from_slice(number.as_bytes()),
        Plain::Text(text) => write_string(out, &text),
        Plain::Binary(bytes) => write_string(out, &base64_text(bytes)),
        Plain::Map(elements) => map(out, elements, level)?,
        Plain::List(elements) => {
            check_level(level)?;
            out.push(b'[');
            for (index, element) in elements.enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                let element = element.map_err(malformed)?;
                value(out, element.value, level + 1).map_err(|fault| at(fault, &index.to_string()))?;
            }
            out.push(b']');
        }
        // Writing to a Vec cannot fail.
        Plain::Timestamp { t, i } => drop(write!(out, "{{\"t\":{t},\"i\":{i}}}")),
        Plain::CodeWithScope { code, scope } => {
            out.extend_from_slice(b"{\"code\":");
            write_string(out, code);
            out.extend_from_slice(b",\"scope\":");
            map(out, scope, level)?;
            out.push(b'}');
        }
        Plain::Nothing(what) => {
            return Err(Fault::new(Cause::UnrepresentableValue, format!("JSON has no form for {what}")));
        }
    }
    Ok(())
}

fn check_level(level: u32) -> Written {
    if level > MAX_LEVELS {
        return Err(Fault::new(Cause::NestedTooDeeply, format!("nested more than {MAX_LEVELS} levels deep")));
    }
    Ok(())
}

pub(super) fn malformed(error: Malformed) -> Box<Fault> {
    Fault::new(Cause::MalformedRecord, error.to_string())
}

/// Adds a step to the path of a fault on its way out.
pub(super) fn at(mut fault: Box<Fault>, step: &str) -> Box<Fault> {
    fault.path.push(step.to_owned());
    fault
}
