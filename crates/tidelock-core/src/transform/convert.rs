//! `convert`: a value in another form, exactly or not at all.

use super::value::Value;
use crate::hex::hex;
use crate::json::{Number, canonical_text};
use serde::Deserialize;

/// What the value is taken for; left out, what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum From {
    /// Seconds since 1970, with or without a fraction of at most three digits.
    EpochSeconds,
    /// Milliseconds since 1970.
    EpochMilliseconds,
    /// Microseconds since 1970; what is below a millisecond must be zero.
    EpochMicroseconds,
    /// RFC 3339, such as `2020-04-29T13:22:08Z` or `2020-04-29T15:22:08+02:00`.
    Rfc3339,
    /// Text that is binary in base64.
    Base64,
    /// Text that is binary in hexadecimal digits.
    Hex,
}

/// What it becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum To {
    /// A date: BSON's, or RFC 3339 text with milliseconds where the target's documents are JSON.
    Date,
    EpochSeconds,
    EpochMilliseconds,
    EpochMicroseconds,
    /// A number as text, every digit of it; also booleans and dates.
    #[serde(alias = "exact_text", alias = "exact-text")]
    Text,
    /// A text as number.
    Number,
    /// A double: refused where it would not be exact to 15 digits.
    Double,
    /// An integer of 64 bits.
    Long,
    /// A number times a power of ten, `scale`, as an integer of 64 bits: cents of euros.
    Scaled,
    /// Binary of text in base64 or hexadecimal digits.
    Binary,
    /// Base64 text of binary.
    Base64,
    /// Hexadecimal text of binary.
    Hex,
    /// A text that is true or false, a number that is 1 or 0.
    Boolean,
}

/// Why a value cannot be converted: what it is, and the rule.
pub(crate) type Wrong = String;

/// Converts a value. Dates have milliseconds: what is finer is refused.
///
/// # Errors
/// When it has no exact form, or is of the wrong type.
pub(crate) fn convert(value: &Value, from: Option<From>, to: To, scale: u8) -> Result<Value, Wrong> {
    if let Value::Number(text) = value {
        return convert_number(text, from, to, scale);
    }
    match to {
        To::Date | To::EpochSeconds | To::EpochMilliseconds | To::EpochMicroseconds => {
            milliseconds(value, from).map(|milliseconds| time(milliseconds, to))
        }
        To::Text => match value {
            Value::Text(text) => Ok(Value::Text(text.clone())),
            Value::Boolean(value) => Ok(Value::Text(value.to_string())),
            Value::Date(milliseconds) => Ok(Value::Text(crate::letter::timestamp(*milliseconds))),
            other => Err(format!("{other} has no text")),
        },
        To::Binary => match (value, from) {
            (Value::Binary(bytes), _) => Ok(Value::Binary(bytes.clone())),
            (Value::Text(text), Some(From::Hex)) => hex_bytes(text)
                .map(Value::Binary)
                .ok_or_else(|| format!("`{text}` has other than pairs of hexadecimal digits")),
            (Value::Text(text), _) => crate::encode::base64_bytes(text.as_bytes())
                .map(Value::Binary)
                .ok_or_else(|| format!("`{text}` is not base64")),
            (other, _) => Err(format!("{other} is neither binary nor text")),
        },
        To::Number | To::Double | To::Long | To::Scaled => match value {
            Value::Text(text) => decimal(text, to, scale),
            Value::Boolean(value) => Ok(Value::Number(u8::from(*value).to_string())),
            other => Err(format!("{other} is no number")),
        },
        To::Base64 | To::Hex => match value {
            Value::Binary(bytes) if to == To::Hex => Ok(Value::Text(hex(bytes))),
            Value::Binary(bytes) => Ok(Value::Text(crate::encode::base64_text(bytes))),
            other => Err(format!("{other} is not binary")),
        },
        To::Boolean => match value {
            Value::Boolean(value) => Ok(Value::Boolean(*value)),
            Value::Text(text) if text == "true" => Ok(Value::Boolean(true)),
            Value::Text(text) if text == "false" => Ok(Value::Boolean(false)),
            other => Err(format!("{other} is neither true nor false")),
        },
    }
}

/// The same for a number, by its text.
///
/// # Errors
/// As of [`convert`].
pub(crate) fn convert_number(text: &str, from: Option<From>, to: To, scale: u8) -> Result<Value, Wrong> {
    match to {
        To::Date | To::EpochSeconds | To::EpochMilliseconds | To::EpochMicroseconds => match from {
            None => Err("a number is a time only when `from` says which".to_owned()),
            Some(From::Rfc3339 | From::Base64 | From::Hex) => Err("a number is no time".to_owned()),
            Some(from) => epoch(text, from).map(|milliseconds| time(milliseconds, to)),
        },
        To::Text => {
            let plain = canonical_text(text.as_bytes()).ok_or_else(|| format!("`{text}` is out of range"))?;
            Ok(Value::Text(plain.into_owned()))
        }
        To::Number | To::Double | To::Long | To::Scaled => decimal(text, to, scale),
        To::Boolean if text == "1" => Ok(Value::Boolean(true)),
        To::Boolean if text == "0" => Ok(Value::Boolean(false)),
        To::Boolean => Err("a number is neither true nor false".to_owned()),
        To::Binary => Err("a number is neither binary nor text".to_owned()),
        To::Base64 | To::Hex => Err("a number is not binary".to_owned()),
    }
}

fn time(milliseconds: i64, to: To) -> Value {
    match to {
        To::Date => Value::Date(milliseconds),
        To::EpochMilliseconds => Value::Number(milliseconds.to_string()),
        To::EpochMicroseconds => Value::Number((i128::from(milliseconds) * 1_000).to_string()),
        _ => Value::Number(scaled(milliseconds, 3)),
    }
}

/// The number that a text tells of.
fn decimal(text: &str, to: To, scale: u8) -> Result<Value, Wrong> {
    let text = text.trim();
    if to == To::Scaled
        && let Some(integer) = short_scaled(text, scale)
    {
        return Ok(Value::Number(integer.to_string()));
    }
    let number = Number::parse(text.as_bytes()).ok_or_else(|| format!("`{text}` is no number"))?;
    let plain = || String::from_utf8(number.plain()).unwrap_or_default();
    match to {
        To::Number => Ok(Value::Number(plain())),
        To::Long => plain()
            .parse::<i64>()
            .map(|integer| Value::Number(integer.to_string()))
            .map_err(|_| format!("`{text}` is no integer of 64 bits")),
        To::Scaled => {
            let exponent = number.exponent + i32::from(scale);
            let plain = String::from_utf8(Number { exponent, ..number }.plain()).unwrap_or_default();
            let integer = plain.parse::<i64>().map(|integer| Value::Number(integer.to_string()));
            integer.map_err(|_| format!("`{text}` times 10^{scale} is no integer of 64 bits"))
        }
        _ => double(text, &number),
    }
}

fn double(text: &str, number: &Number) -> Result<Value, Wrong> {
    let value: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    // Fifteen digits survive the way into a double and back.
    if !value.is_finite() || number.digits.len() > 15 {
        return Err(format!("`{text}` is not exact as a double, which holds 15 digits"));
    }
    Ok(Value::Double(value))
}

/// The years 0 to 9999, which every target can write.
const YEARS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

/// The milliseconds since 1970 that a value stands for which is no number.
fn milliseconds(value: &Value, from: Option<From>) -> Result<i64, Wrong> {
    match (value, from) {
        (Value::Date(milliseconds), None) => Ok(*milliseconds),
        (Value::Text(text), None | Some(From::Rfc3339)) => {
            rfc3339(text).ok_or_else(|| format!("`{text}` is no time of RFC 3339 with milliseconds at most"))
        }
        (Value::Text(text), Some(from @ (From::EpochSeconds | From::EpochMilliseconds | From::EpochMicroseconds))) => {
            epoch(text, from)
        }
        (other, _) => Err(format!("{other} is no time")),
    }
}

/// The milliseconds since 1970 that a number's text stands for.
fn epoch(text: &str, from: From) -> Result<i64, Wrong> {
    // As nearly all are written.
    if let (Ok(whole), true) = (text.parse::<i64>(), text.len() < 16) {
        let milliseconds = match from {
            From::EpochSeconds => Some(whole.saturating_mul(1_000)),
            From::EpochMicroseconds => (whole % 1_000 == 0).then_some(whole / 1_000),
            _ => Some(whole),
        };
        if let Some(milliseconds) = milliseconds.filter(|milliseconds| YEARS.contains(milliseconds)) {
            return Ok(milliseconds);
        }
    }
    let mut number = Number::parse(text.as_bytes()).ok_or_else(|| format!("`{text}` is no number"))?;
    number.exponent += match from {
        From::EpochSeconds => 3,
        From::EpochMicroseconds => -3,
        From::EpochMilliseconds | From::Rfc3339 | From::Base64 | From::Hex => 0,
    };
    let plain = String::from_utf8(number.plain()).unwrap_or_default();
    let milliseconds =
        plain.parse::<i64>().map_err(|_| format!("`{text}` is finer than a millisecond, or out of range"))?;
    YEARS
        .contains(&milliseconds)
        .then_some(milliseconds)
        .ok_or_else(|| format!("`{text}` is not in the years 0 to 9999"))
}

/// A short decimal such as `12.34`, scaled; `None` where it is longer, or has more places than are asked for.
fn short_scaled(text: &str, scale: u8) -> Option<i64> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let missing = u32::from(scale).checked_sub(u32::try_from(places.len()).ok()?)?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = !whole.is_empty() && digits(whole) && digits(places) && text.len() < 10 && scale < 10;
    let value = |text: &str| text.bytes().fold(0_i64, |value, byte| value * 10 + i64::from(byte - b'0'));
    let integer = plain.then(|| value(whole) * 10_i64.pow(places.len() as u32) + value(places))?;
    integer.checked_mul(10_i64.checked_pow(missing)?)
}

/// Milliseconds since 1970 of a time with or without an offset; what is finer than a millisecond, or no day of the calendar, is none.
pub(crate) fn rfc3339(text: &str) -> Option<i64> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i64>().ok())?;
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let (time, offset_minutes) = match time.strip_suffix(['Z', 'z']) {
        Some(time) => (time, 0),
        None => {
            let at = time.rfind(['+', '-'])?;
            let (time, offset) = time.split_at(at);
            let (hours, minutes) = offset.get(1..)?.split_once(':')?;
            let minutes = digits(hours).filter(|hours| *hours < 24)? * 60 + digits(minutes).filter(|m| *m < 60)?;
            (time, if offset.starts_with('-') { -minutes } else { minutes })
        }
    };
    let (whole, fraction) = time.split_once('.').unwrap_or((time, "0"));
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (milliseconds, finer) = fraction.split_at(fraction.len().min(3));
    if finer.bytes().any(|byte| byte != b'0') {
        return None;
    }
    let utc = format!("{date}T{whole}.{milliseconds:0<3}Z");
    let parsed = crate::letter::parse_timestamp(&utc)?;
    // A day that the calendar does not have would come back as another one. A leap second is none that milliseconds can tell.
    (crate::letter::timestamp(parsed) == utc).then(|| parsed - offset_minutes * 60_000)
}

fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

/// `number / 10^places`, exactly.
fn scaled(number: i64, places: i32) -> String {
    let parsed = Number::parse(number.to_string().as_bytes());
    let plain = parsed.map(|mut parsed| {
        if !parsed.digits.is_empty() {
            parsed.exponent -= places;
        }
        parsed.plain()
    });
    plain.and_then(|plain| String::from_utf8(plain).ok()).unwrap_or_else(|| "0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Value {
        Value::Number(text.to_owned())
    }

    #[test]
    fn times_are_exact_or_refused() {
        let date = |value: &Value, from| convert(value, from, To::Date, 0);
        assert_eq!(date(&number("1588166528"), Some(From::EpochSeconds)), Ok(Value::Date(1_588_166_528_000)));
        assert_eq!(date(&number("1588166528.25"), Some(From::EpochSeconds)), Ok(Value::Date(1_588_166_528_250)));
        assert_eq!(date(&number("-1"), Some(From::EpochSeconds)), Ok(Value::Date(-1_000)));
        assert_eq!(date(&number("0"), Some(From::EpochSeconds)), Ok(Value::Date(0)));
        assert_eq!(
            date(&number("1588166528000000"), Some(From::EpochMicroseconds)),
            Ok(Value::Date(1_588_166_528_000))
        );
        let text = Value::Text("2020-04-29T13:22:08Z".to_owned());
        assert_eq!(date(&text, None), Ok(Value::Date(1_588_166_528_000)));
        for (value, from) in [
            (number("1588166528.0001"), Some(From::EpochSeconds)),
            (number("1588166528000001"), Some(From::EpochMicroseconds)),
            (number("1588166528"), None),
            (number("1e300"), Some(From::EpochSeconds)),
            (Value::Boolean(true), Some(From::EpochSeconds)),
            (Value::Text("yesterday".to_owned()), None),
        ] {
            assert!(date(&value, from).is_err(), "{value:?}");
        }
        assert_eq!(convert(&Value::Date(1_250), None, To::EpochSeconds, 0), Ok(number("1.25")));
    }

    #[test]
    fn numbers_keep_their_digits_or_are_refused() {
        let digits = "12345678901234567890123456789012345678";
        assert_eq!(convert(&number(digits), None, To::Text, 0), Ok(Value::Text(digits.to_owned())));
        assert_eq!(convert(&Value::Text("1.50".to_owned()), None, To::Number, 0), Ok(number("1.5")));
        assert_eq!(convert(&number("0.1"), None, To::Double, 0), Ok(Value::Double(0.1)));
        assert_eq!(convert(&number("9223372036854775807"), None, To::Long, 0), Ok(number("9223372036854775807")));
        for (value, to) in [
            (number(digits), To::Double),
            (number("9223372036854775808"), To::Long),
            (number("1.5"), To::Long),
            (Value::Text("five".to_owned()), To::Number),
            (Value::Null, To::Text),
        ] {
            assert!(convert(&value, None, to, 0).is_err(), "{value:?} {to:?}");
        }
    }

    #[test]
    fn times_with_offsets_are_told_exactly() {
        let date = |text: &str| convert(&Value::Text(text.to_owned()), Some(From::Rfc3339), To::Date, 0);
        for text in [
            "2020-04-29T13:22:08Z",
            "2020-04-29t13:22:08.000000z",
            "2020-04-29 15:22:08+02:00",
            "2020-04-28T21:52:08.0-15:30",
        ] {
            assert_eq!(date(text), Ok(Value::Date(1_588_166_528_000)), "{text}");
        }
        for text in [
            "2020-04-29T13:22:08",
            "2020-04-29",
            "2020-02-30T00:00:00Z",
            "2020-04-29T13:22:08.0001Z",
            "2020-04-29T13:22:08.Z",
            "2020-04-29T13:22:60Z",
            "2020-04-29T13:22:08+2:0x",
            "2020-04-29T13:22:08+24:00",
            "",
        ] {
            assert!(date(text).is_err(), "{text}: {:?}", date(text));
        }
    }

    #[test]
    fn scaled_numbers_and_encoded_binary_are_exact_or_refused() {
        let scaled = |text: &str, scale| convert(&number(text), None, To::Scaled, scale);
        assert_eq!(scaled("12.34", 2), Ok(number("1234")));
        assert_eq!(scaled("-0.5", 1), Ok(number("-5")));
        assert_eq!(scaled("0", 3), Ok(number("0")));
        assert!(scaled("12.345", 2).is_err() && scaled("9223372036854775807", 1).is_err());
        let binary = |text: &str, from| convert(&Value::Text(text.to_owned()), from, To::Binary, 0);
        assert_eq!(binary("AP8=", None), Ok(Value::Binary(vec![0, 255])));
        assert_eq!(binary("00fF", Some(From::Hex)), Ok(Value::Binary(vec![0, 255])));
        for (text, from) in [("AP8", None), ("0", Some(From::Hex)), ("zz", Some(From::Hex))] {
            assert!(binary(text, from).is_err(), "{text}");
        }
    }
}
