//! What plain words of YAML are: its core schema.

use super::node::Value;
use std::borrow::Cow;

/// The value that a scalar is. `tag` is the name of a core tag, or `?` for any other.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn value(text: Cow<'_, str>, plain: bool, tag: Option<&str>) -> Result<Value, String> {
    match tag {
        None => {}
        Some("str") => return Ok(Value::Text(text.into_owned())),
        Some("null" | "bool" | "int" | "float") if plain => {}
        Some(_) => return Err("tags other than !!str mean nothing here".to_owned()),
    }
    if !plain {
        return Ok(Value::Text(text.into_owned()));
    }
    Ok(match &*text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Boolean(true),
        "false" | "False" | "FALSE" => Value::Boolean(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "-.inf" | "-.Inf" | "-.INF" | ".nan" | ".NaN" | ".NAN" => {
            return Err(format!("`{text}` is no number that a document can hold; put it in quotes if it is a text"));
        }
        word => match number(word)? {
            Some(number) => Value::Number(number),
            None => Value::Text(text.into_owned()),
        },
    })
}

/// A number in JSON's grammar; `None` where the word is none.
fn number(word: &str) -> Result<Option<String>, String> {
    if !word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Ok(None);
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = word.strip_prefix(prefix).filter(|digits| digits.chars().all(|c| c.is_digit(radix))) {
            let parsed = u128::from_str_radix(digits, radix);
            return match parsed {
                Ok(number) => Ok(Some(number.to_string())),
                Err(_) if digits.is_empty() => Ok(None),
                Err(_) => Err(format!("`{word}` is too long; write it in decimal digits")),
            };
        }
    }
    let (minus, rest) = match word.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", word.strip_prefix('+').unwrap_or(word)),
    };
    let (mantissa, exponent) = rest.find(['e', 'E']).map_or((rest, ""), |at| rest.split_at(at));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let power = exponent.get(1..).unwrap_or_default();
    let power = power.strip_prefix(['+', '-']).unwrap_or(power);
    if !digits(whole)
        || !digits(fraction)
        || !digits(power)
        || (whole.is_empty() && fraction.is_empty())
        || (power.is_empty() && !exponent.is_empty())
    {
        return Ok(None);
    }
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        significant => significant,
    };
    let point = if fraction.is_empty() { "" } else { "." };
    Ok(Some(format!("{minus}{whole}{point}{fraction}{exponent}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_are_what_the_core_schema_says() {
        let number = |text: &str| Value::Number(text.to_owned());
        for (word, expected) in [
            ("", Value::Null),
            ("~", Value::Null),
            ("True", Value::Boolean(true)),
            ("no", Value::Text("no".to_owned())),
            ("12345678901234567890123456789012345678", number("12345678901234567890123456789012345678")),
            ("-1.50", number("-1.50")),
            ("+7", number("7")),
            ("007", number("7")),
            (".5", number("0.5")),
            ("5.", number("5")),
            ("1e+3", number("1e+3")),
            ("0x1F", number("31")),
            ("0o17", number("15")),
            ("1e", Value::Text("1e".to_owned())),
            ("-", Value::Text("-".to_owned())),
            (".", Value::Text(".".to_owned())),
            (".a", Value::Text(".a".to_owned())),
            ("1.2.3", Value::Text("1.2.3".to_owned())),
            ("2020-04-29", Value::Text("2020-04-29".to_owned())),
            ("1_000", Value::Text("1_000".to_owned())),
        ] {
            assert_eq!(value(Cow::Borrowed(word), true, None), Ok(expected), "{word}");
        }
        assert_eq!(value(Cow::Borrowed("7"), false, None), Ok(Value::Text("7".to_owned())));
        assert_eq!(value(Cow::Borrowed("7"), true, Some("str")), Ok(Value::Text("7".to_owned())));
        for word in [".inf", "-.inf", ".nan", "0xfffffffffffffffffffffffffffffffff"] {
            assert!(value(Cow::Borrowed(word), true, None).is_err(), "{word}");
        }
        assert!(value(Cow::Borrowed("x"), true, Some("?")).is_err());
    }
}
