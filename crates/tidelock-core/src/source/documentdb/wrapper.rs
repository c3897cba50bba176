//! Types in the form of objects: `{"$oid":"…"}`.

use super::date::milliseconds;
use super::extended::{map, plain, stop};
use crate::bson::{Decimal, kind};
use crate::cause::Cause;
use crate::encode::{BsonSink, Sink, base64_bytes, close};
use crate::json::{Cursor, RawStr, is_number};
use crate::source::dynamodb::{Stop, shortened};
use std::borrow::Cow;

/// Writes the value of the type that an object stands for whose first name is `name`; the cursor stands behind its colon. `false`
/// where it is the name of no type, so that the object is a document.
///
/// # Errors
/// When it is the name of a type, and the object is not of its form.
pub(super) fn wrapper<S: Sink>(cursor: &mut Cursor<'_>, sink: &mut S, name: &str, level: u32) -> Result<bool, Stop> {
    match name {
        "$oid" => {
            let id = hex::<12>(quoted(cursor, name)?.raw, name)?;
            end(cursor, name)?;
            sink.bson(kind::OBJECT_ID, &id)?;
        }
        "$date" => {
            let date = date(cursor)?;
            end(cursor, name)?;
            sink.date(date)?;
        }
        "$numberInt" => {
            let number: i32 = integer(cursor, name)?;
            end(cursor, name)?;
            sink.bson(kind::INT32, &number.to_le_bytes())?;
        }
        "$numberLong" => {
            let number: i64 = integer(cursor, name)?;
            end(cursor, name)?;
            sink.bson(kind::INT64, &number.to_le_bytes())?;
        }
        "$numberDouble" => {
            let number = quoted(cursor, name)?.raw;
            end(cursor, name)?;
            match number {
                b"NaN" => sink.bson(kind::DOUBLE, &f64::NAN.to_le_bytes())?,
                b"Infinity" => sink.bson(kind::DOUBLE, &f64::INFINITY.to_le_bytes())?,
                b"-Infinity" => sink.bson(kind::DOUBLE, &f64::NEG_INFINITY.to_le_bytes())?,
                _ if is_number(number) => sink.double_text(number)?,
                _ => return Err(bad(name, number)),
            }
        }
        "$numberDecimal" => {
            let number = plain(quoted(cursor, name)?)?;
            end(cursor, name)?;
            let bits = Decimal::parse(&number).ok_or_else(|| bad(name, number.as_bytes()))?;
            sink.bson(kind::DECIMAL128, &bits.to_le_bytes())?;
        }
        "$binary" => binary(cursor, sink)?,
        "$uuid" => {
            let text = quoted(cursor, name)?.raw;
            end(cursor, name)?;
            let digits: Vec<u8> = text.iter().copied().filter(|byte| *byte != b'-').collect();
            push_binary(sink, 4, &hex::<16>(&digits, name)?)?;
        }
        "$symbol" => {
            let symbol = plain(quoted(cursor, name)?)?;
            end(cursor, name)?;
            sink.bson(kind::SYMBOL, &string(&symbol))?;
        }
        "$code" => code(cursor, sink, level)?,
        "$timestamp" => {
            let (t, i) = timestamp(cursor)?;
            end(cursor, name)?;
            sink.bson(kind::TIMESTAMP, &[i.to_le_bytes(), t.to_le_bytes()].concat())?;
        }
        "$regularExpression" => {
            let [pattern, options] = pair(cursor, name, ["pattern", "options"])?;
            end(cursor, name)?;
            if pattern.contains('\0') || options.contains('\0') {
                return Err(stop(Cause::InvalidValue, "a regular expression with a NUL character"));
            }
            sink.bson(kind::REGEX, &[pattern.as_bytes(), b"\0", options.as_bytes(), b"\0"].concat())?;
        }
        "$dbPointer" => pointer(cursor, sink)?,
        "$minKey" | "$maxKey" => {
            literal(cursor, name, b"1")?;
            sink.bson(if name == "$minKey" { kind::MIN_KEY } else { kind::MAX_KEY }, &[])?;
        }
        "$undefined" => {
            literal(cursor, name, b"true")?;
            sink.bson(kind::UNDEFINED, &[])?;
        }
        // Of the older form, fields of a type come in any order.
        "$type" | "$scope" => {
            let other = if name == "$type" { "$binary" } else { "$code" };
            return match second(cursor)? {
                Some(second) if second == other => {
                    Err(stop(Cause::InvalidValue, format!("`{name}` in front of `{other}`: no form of a value")))
                }
                _ => Ok(false),
            };
        }
        // A regular expression of the older form, or a query that somebody keeps.
        "$regex" if cursor.peek() == Some(b'"') => {
            let why = "`$regex` with a text may be a regular expression or a document: nobody can tell";
            return Err(stop(Cause::InvalidValue, why));
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// The value of `$date`, milliseconds since 1970: a text, a `$numberLong`, or in the older form a number.
fn date(cursor: &mut Cursor<'_>) -> Result<i64, Stop> {
    const NAME: &str = "$date";
    match cursor.peek() {
        Some(b'"') => {
            let text = plain(cursor.string()?)?;
            milliseconds(&text).ok_or_else(|| bad(NAME, text.as_bytes()))
        }
        Some(b'{') => {
            cursor.take(b'{');
            if cursor.peek() != Some(b'"') || cursor.name()?.raw != b"$numberLong" {
                return Err(stop(Cause::InvalidValue, "`$date` must be a text, a number or a `$numberLong`"));
            }
            let date = integer(cursor, "$numberLong")?;
            end(cursor, "$numberLong")?;
            Ok(date)
        }
        _ => {
            let text = cursor.skip()?;
            std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(|| bad(NAME, text))
        }
    }
}

/// A date that stands as `{"$date":…}`.
pub(super) fn wrapped_date(cursor: &mut Cursor<'_>) -> Result<i64, Stop> {
    open(cursor, "$date")?;
    let date = date(cursor)?;
    end(cursor, "$date")?;
    Ok(date)
}

/// A timestamp that stands as `{"$timestamp":{"t":…,"i":…}}`: its two parts.
pub(super) fn wrapped_timestamp(cursor: &mut Cursor<'_>) -> Result<(u32, u32), Stop> {
    open(cursor, "$timestamp")?;
    let parts = timestamp(cursor)?;
    end(cursor, "$timestamp")?;
    Ok(parts)
}

fn open(cursor: &mut Cursor<'_>, name: &str) -> Result<(), Stop> {
    if cursor.take(b'{') && cursor.peek() == Some(b'"') && cursor.name()?.raw == name.as_bytes() {
        return Ok(());
    }
    Err(stop(Cause::InvalidValue, format!("it must be `{{\"{name}\":…}}`")))
}

fn timestamp(cursor: &mut Cursor<'_>) -> Result<(u32, u32), Stop> {
    let (mut t, mut i, mut only) = (None, None, true);
    if cursor.peek() != Some(b'{') {
        return Err(bad("$timestamp", cursor.skip()?));
    }
    cursor.members(|cursor, name| {
        let text = std::str::from_utf8(cursor.skip()?).unwrap_or_default();
        match name.raw {
            b"t" => t = text.parse().ok(),
            b"i" => i = text.parse().ok(),
            _ => only = false,
        }
        Ok(())
    })?;
    t.zip(i).filter(|_| only).ok_or_else(|| {
        stop(Cause::InvalidValue, "`$timestamp` must be `{\"t\":…,\"i\":…}` with two numbers of 32 bits without a sign")
    })
}

/// `{"base64":"…","subType":"…"}`, or in the older form a text with `$type` behind it.
fn binary<S: Sink>(cursor: &mut Cursor<'_>, sink: &mut S) -> Result<(), Stop> {
    const NAME: &str = "$binary";
    let (base64, subtype) = if cursor.peek() == Some(b'"') {
        let base64 = plain(cursor.string()?)?;
        if !cursor.more(b'}')? || cursor.name()?.raw != b"$type" {
            return Err(stop(Cause::InvalidValue, "`$binary` with a text needs `$type` behind it, and nothing else"));
        }
        (base64, plain(quoted(cursor, "$type")?)?)
    } else {
        let [base64, subtype] = pair(cursor, NAME, ["base64", "subType"])?;
        (base64, subtype)
    };
    end(cursor, NAME)?;
    let digits = subtype.len();
    let number = u8::from_str_radix(&subtype, 16).ok().filter(|_| (1..=2).contains(&digits));
    let number = number.ok_or_else(|| bad("subType", subtype.as_bytes()))?;
    if number == 0 {
        return Ok(sink.binary(base64.as_bytes())?);
    }
    let bytes = base64_bytes(base64.as_bytes());
    let bytes = bytes.ok_or_else(|| stop(Cause::InvalidValue, "binary that is not base64"))?;
    push_binary(sink, number, &bytes)
}

fn push_binary<S: Sink>(sink: &mut S, subtype: u8, bytes: &[u8]) -> Result<(), Stop> {
    let length = |length: usize| i32::try_from(length).unwrap_or(i32::MAX).to_le_bytes();
    // The old subtype repeats the length.
    let (old, inner) = (subtype == kind::OLD_BINARY, length(bytes.len()));
    let inner = if old { &inner[..] } else { &[] };
    let raw = [&length(bytes.len() + inner.len()), &[subtype][..], inner, bytes].concat();
    Ok(sink.bson(kind::BINARY, &raw)?)
}

/// JavaScript, and the variables it uses.
fn code<S: Sink>(cursor: &mut Cursor<'_>, sink: &mut S, level: u32) -> Result<(), Stop> {
    let code = plain(quoted(cursor, "$code")?)?;
    if !cursor.more(b'}')? {
        return Ok(sink.bson(kind::CODE, &string(&code))?);
    }
    if cursor.name()?.raw != b"$scope" || cursor.peek() != Some(b'{') {
        return Err(stop(Cause::InvalidValue, "`$code` may have `$scope` beside it, a document, and nothing else"));
    }
    let mut scope = BsonSink::default();
    map(cursor, &mut scope, level)?;
    end(cursor, "$code")?;
    let mut raw = vec![0; 4];
    raw.extend_from_slice(&string(&code));
    raw.extend_from_slice(&scope.into_bytes());
    close(&mut raw, 0);
    Ok(sink.bson(kind::CODE_WITH_SCOPE, &raw)?)
}

/// `{"$ref":"…","$id":{"$oid":"…"}}`.
fn pointer<S: Sink>(cursor: &mut Cursor<'_>, sink: &mut S) -> Result<(), Stop> {
    const NAME: &str = "$dbPointer";
    let (mut namespace, mut id) = (None, None);
    if !cursor.take(b'{') || cursor.peek() != Some(b'"') {
        return Err(stop(Cause::InvalidValue, "`$dbPointer` must be a document with `$ref` and `$id`"));
    }
    loop {
        match cursor.name()?.raw {
            b"$ref" => namespace = Some(plain(quoted(cursor, "$ref")?)?),
            b"$id" => {
                open(cursor, "$oid")?;
                id = Some(hex::<12>(quoted(cursor, "$oid")?.raw, "$oid")?);
                end(cursor, "$oid")?;
            }
            _ => return Err(stop(Cause::InvalidValue, "`$dbPointer` has `$ref` and `$id`, and nothing else")),
        }
        if !cursor.more(b'}')? {
            break;
        }
    }
    end(cursor, NAME)?;
    let (Some(namespace), Some(id)) = (namespace, id) else {
        return Err(stop(Cause::InvalidValue, "`$dbPointer` needs `$ref` and `$id`"));
    };
    Ok(sink.bson(kind::DB_POINTER, &[&string(&namespace)[..], &id].concat())?)
}

/// The two texts of an object that has nothing else, in any order.
fn pair<'p>(cursor: &mut Cursor<'p>, name: &str, names: [&str; 2]) -> Result<[Cow<'p, str>; 2], Stop> {
    let [first, second] = names;
    let wrong = || stop(Cause::InvalidValue, format!("`{name}` must be `{{\"{first}\":\"…\",\"{second}\":\"…\"}}`"));
    let (mut one, mut two) = (None, None);
    if !cursor.take(b'{') || cursor.peek() != Some(b'"') {
        return Err(wrong());
    }
    loop {
        let member = cursor.name()?.raw;
        let value = plain(quoted(cursor, name)?)?;
        if member == first.as_bytes() {
            one = Some(value);
        } else if member == second.as_bytes() {
            two = Some(value);
        } else {
            return Err(wrong());
        }
        if !cursor.more(b'}')? {
            return Ok([one.ok_or_else(wrong)?, two.ok_or_else(wrong)?]);
        }
    }
}

/// The name of the member behind the value that comes next; nothing is consumed.
fn second<'p>(cursor: &Cursor<'p>) -> Result<Option<Cow<'p, str>>, Stop> {
    let mut ahead = cursor.clone();
    ahead.skip()?;
    if ahead.more(b'}')? { plain(ahead.name()?).map(Some) } else { Ok(None) }
}

/// The object ends here.
fn end(cursor: &mut Cursor<'_>, name: &str) -> Result<(), Stop> {
    if cursor.more(b'}')? {
        let why = format!("`{name}` with another field beside it is neither a value nor surely a document");
        return Err(stop(Cause::InvalidValue, why));
    }
    Ok(())
}

fn literal(cursor: &mut Cursor<'_>, name: &str, expected: &[u8]) -> Result<(), Stop> {
    let found = cursor.skip()?;
    if found != expected {
        return Err(bad(name, found));
    }
    end(cursor, name)
}

fn quoted<'p>(cursor: &mut Cursor<'p>, name: &str) -> Result<RawStr<'p>, Stop> {
    if cursor.peek() == Some(b'"') {
        return Ok(cursor.string()?);
    }
    Err(stop(Cause::InvalidValue, format!("what belongs to `{name}` must be a text")))
}

fn integer<N: std::str::FromStr>(cursor: &mut Cursor<'_>, name: &str) -> Result<N, Stop> {
    let text = quoted(cursor, name)?.raw;
    // Rust would read a plus sign, too.
    let parsed =
        std::str::from_utf8(text).ok().filter(|text| !text.starts_with('+')).and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| bad(name, text))
}

fn hex<const N: usize>(text: &[u8], name: &str) -> Result<[u8; N], Stop> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut out = [0; N];
    if text.len() != 2 * N {
        return Err(bad(name, text));
    }
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return Err(bad(name, text)) };
        *byte = digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low).ok_or_else(|| bad(name, text))?;
    }
    Ok(out)
}

/// A text as BSON stores it.
fn string(text: &str) -> Vec<u8> {
    let length = i32::try_from(text.len() + 1).unwrap_or(i32::MAX);
    [&length.to_le_bytes(), text.as_bytes(), b"\0"].concat()
}

fn bad(name: &str, found: &[u8]) -> Stop {
    stop(Cause::InvalidValue, format!("`{name}` cannot be `{}`", shortened(found)))
}
