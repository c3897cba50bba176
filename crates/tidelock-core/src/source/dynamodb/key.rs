//! Key attributes, `{"N":"1"}`: read the same way from a record's `Keys` and from an item.

use super::attribute::{Stop, end_tag, quoted, shortened, stop, tag};
use crate::cause::Cause;
use crate::encode::{Format, base64_bytes, decimal128};
use crate::json::{Cursor, Number, canonical_number, unescape};
use crate::key::KeyKind;
use std::borrow::Cow;

/// The value of the key attribute `name`, in the form that keys are stored in; the cursor stands before it.
#[inline]
pub(super) fn key_value<'a>(cursor: &mut Cursor<'a>, name: &str) -> Result<(KeyKind, Cow<'a, [u8]>), Stop> {
    let fault = |detail: String| stop(Cause::MissingKey, format!("key `{name}`: {detail}"));
    let kind = match tag(cursor)? {
        b"S" => KeyKind::Text,
        b"N" => KeyKind::Number,
        b"B" => KeyKind::Binary,
        other => return Err(fault(format!("type `{}` is none a key can have", shortened(other)))),
    };
    let text = quoted(cursor)?;
    end_tag(cursor)?;
    let text: Cow<'a, [u8]> = match unescape(text).ok_or_else(|| fault("invalid escape".to_owned()))? {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    };
    let value = match kind {
        // DynamoDB has no BSON.
        KeyKind::Text | KeyKind::Bson(_) => text,
        KeyKind::Number => match &text {
            Cow::Borrowed(text) => canonical_number(text),
            Cow::Owned(text) => canonical_number(text).map(|number| Cow::Owned(number.into_owned())),
        }
        .ok_or_else(|| fault(format!("`{}` is no number", shortened(&text))))?,
        KeyKind::Binary => base64_bytes(&text).ok_or_else(|| fault("binary that is not base64".to_owned()))?.into(),
    };
    Ok((kind, value))
}

/// Refuses key attributes that the target has no exact form for.
pub(super) fn check_key(format: Format, name: &str, kind: KeyKind, value: &[u8]) -> Result<(), Stop> {
    if format == Format::Json {
        return Ok(());
    }
    if name.contains('\0') {
        return Err(stop(Cause::UnrepresentableValue, "BSON has no field names with a NUL character"));
    }
    if kind == KeyKind::Number && Number::parse(value).and_then(|number| decimal128(&number)).is_none() {
        return Err(stop(Cause::UnrepresentableValue, format!("key `{name}`: the number has no exact form in BSON")));
    }
    Ok(())
}
