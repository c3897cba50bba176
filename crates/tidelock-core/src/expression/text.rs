//! The functions of texts.

use super::builtins::Builtin;
use super::number::Decimal;
use super::run::{Halt, Machine, Run};
use super::value::{compare, json, size, text, viewed, word};
use crate::encode::{base64_bytes, base64_text};
use crate::transform::Value;
use std::fmt::Write as _;

impl Machine {
    /// Functions of a text alone, and formats.
    pub(super) fn text_of(&self, builtin: Builtin, value: &Value) -> Run<Value> {
        let changed = |change: &dyn Fn(&str) -> String| match value {
            Value::Text(text) => Ok(Value::Text(change(text))),
            other => Err(Halt::from(format!("{} is no text", word(other)))),
        };
        match builtin {
            Builtin::ByteLength => match value {
                Value::Text(text) => Ok(Value::Number(text.len().to_string())),
                other => Err(format!("{} is no text", word(other)).into()),
            },
            Builtin::Downcase => changed(&str::to_ascii_lowercase),
            Builtin::Upcase => changed(&str::to_ascii_uppercase),
            Builtin::Trim => changed(&|text| text.trim().to_owned()),
            Builtin::TrimLeft => changed(&|text| text.trim_start().to_owned()),
            Builtin::TrimRight => changed(&|text| text.trim_end().to_owned()),
            Builtin::Explode => match value {
                Value::Text(text) => {
                    Ok(Value::List(text.chars().map(|c| Value::Number(u32::from(c).to_string())).collect()))
                }
                other => Err(format!("{} is no text", word(other)).into()),
            },
            Builtin::Implode => match value {
                Value::List(codes) => {
                    let character = |code: &Value| -> Result<char, String> {
                        let code = Decimal::of(&viewed(code))?;
                        let found = u32::try_from(code.floor_i64()).ok().and_then(char::from_u32);
                        found.filter(|_| code.is_integer()).ok_or_else(|| format!("{} is no character", code.text()))
                    };
                    Ok(Value::Text(codes.iter().map(character).collect::<Result<String, String>>()?))
                }
                other => Err(format!("{} is no list of characters", word(other)).into()),
            },
            format => self.formatted(format, value).map(Value::Text),
        }
    }

    /// A value in a format, `@text` among them.
    pub(super) fn formatted(&self, format: Builtin, value: &Value) -> Run<String> {
        self.count(size(value))?;
        let value = viewed(value);
        let value = value.as_ref();
        Ok(match format {
            Builtin::AsJson => json(value)?,
            Builtin::AsBase64 => match value {
                Value::Binary(bytes) => base64_text(bytes),
                value => base64_text(text(value)?.as_bytes()),
            },
            Builtin::FromBase64 => {
                let encoded = text(value)?;
                let padded = format!("{encoded}{}", "=".repeat((4 - encoded.len() % 4) % 4));
                let bytes = base64_bytes(padded.as_bytes()).ok_or_else(|| "the text is no base64".to_owned())?;
                String::from_utf8(bytes).map_err(|_| "what the base64 stands for is no text".to_owned())?
            }
            Builtin::AsUri => {
                let mut out = String::new();
                for byte in text(value)?.bytes() {
                    match byte {
                        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                            out.push(char::from(byte))
                        }
                        // Writing to a text does not fail.
                        byte => drop(write!(out, "%{byte:02X}")),
                    }
                }
                out
            }
            Builtin::AsCsv | Builtin::AsTsv => row(value, format == Builtin::AsCsv)?,
            _ => text(value)?,
        })
    }

    /// Functions of a text and one more.
    pub(super) fn text_with(&self, builtin: Builtin, value: &Value, argument: &Value) -> Run<Value> {
        self.count(size(value))?;
        Ok(match (builtin, value, argument) {
            // As in jq, what is no text is left as it is.
            (Builtin::TrimStart, Value::Text(text), Value::Text(part)) => {
                Value::Text(text.strip_prefix(part.as_str()).unwrap_or(text).to_owned())
            }
            (Builtin::TrimEnd, Value::Text(text), Value::Text(part)) => {
                Value::Text(text.strip_suffix(part.as_str()).unwrap_or(text).to_owned())
            }
            (Builtin::TrimStart | Builtin::TrimEnd, value, _) => value.clone(),
            (Builtin::StartsWith, Value::Text(text), Value::Text(part)) => {
                Value::Boolean(text.starts_with(part.as_str()))
            }
            (Builtin::EndsWith, Value::Text(text), Value::Text(part)) => Value::Boolean(text.ends_with(part.as_str())),
            (Builtin::Split, Value::Text(text), Value::Text(separator)) => self.split(text, separator)?,
            (Builtin::Join, Value::List(items), Value::Text(separator)) => {
                let mut out = String::new();
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push_str(separator);
                    }
                    match viewed(item).as_ref() {
                        Value::Null => {}
                        item @ (Value::List(_) | Value::Map(_)) => {
                            return Err(format!("{} cannot be joined", word(item)).into());
                        }
                        item => out.push_str(&text(item)?),
                    }
                    self.count(separator.len() as u64 / 64)?;
                }
                Value::Text(out)
            }
            (Builtin::IndexOf | Builtin::LastIndexOf | Builtin::Indices, Value::Null, _) => Value::Null,
            (Builtin::IndexOf | Builtin::LastIndexOf | Builtin::Indices, value, part) => {
                let found = self.places(value, part)?;
                match builtin {
                    Builtin::Indices => Value::List(found),
                    Builtin::IndexOf => found.into_iter().next().unwrap_or(Value::Null),
                    _ => found.into_iter().next_back().unwrap_or(Value::Null),
                }
            }
            (_, value, argument) => {
                return Err(format!("{} with {} is not what the function needs", word(value), word(argument)).into());
            }
        })
    }

    /// Where a part is: characters of a text, elements of a list.
    fn places(&self, value: &Value, part: &Value) -> Run<Vec<Value>> {
        let number = |at: usize| Value::Number(at.to_string());
        let found: Vec<usize> = match (value, part) {
            (Value::Text(text), Value::Text(part)) if !part.is_empty() => {
                self.count(text.len() as u64 / 16 * (1 + part.len() as u64 / 64))?;
                let is_here = |at: usize| text.get(at..).is_some_and(|rest| rest.starts_with(part.as_str()));
                let characters = text.char_indices().enumerate();
                characters.filter(|(_, (at, _))| is_here(*at)).map(|(index, _)| index).collect()
            }
            (Value::Text(_), Value::Text(_)) => Vec::new(),
            (Value::List(_), Value::List(part)) if part.is_empty() => Vec::new(),
            (Value::List(items), Value::List(part)) => {
                self.count(size(value).saturating_mul(part.len() as u64))?;
                let same = |window: &[Value]| window.iter().zip(part).all(|(a, b)| compare(a, b).is_eq());
                items.windows(part.len()).enumerate().filter(|(_, window)| same(window)).map(|(at, _)| at).collect()
            }
            (Value::List(items), part) => {
                let same = |item: &Value| compare(item, part).is_eq();
                items.iter().enumerate().filter(|(_, item)| same(item)).map(|(at, _)| at).collect()
            }
            (value, part) => return Err(format!("{} has no places of {}", word(value), word(part)).into()),
        };
        Ok(found.into_iter().map(number).collect())
    }

    pub(super) fn split(&self, text: &str, separator: &str) -> Run<Value> {
        let part = |part: &str| Value::Text(part.to_owned());
        self.count(text.len() as u64 / 64)?;
        Ok(Value::List(match (text, separator) {
            ("", _) => Vec::new(),
            (text, "") => {
                self.count(text.len() as u64)?;
                text.chars().map(|c| Value::Text(c.to_string())).collect()
            }
            (text, separator) => {
                self.count(text.matches(separator).count() as u64)?;
                text.split(separator).map(part).collect()
            }
        }))
    }
}

fn row(value: &Value, csv: bool) -> Result<String, String> {
    let Value::List(cells) = value else { return Err(format!("{} is no list: a row needs one", word(value))) };
    let cell = |cell: &Value| match viewed(cell).as_ref() {
        Value::Null => Ok(String::new()),
        cell @ (Value::List(_) | Value::Map(_)) => Err(format!("{} cannot be in a row", word(cell))),
        Value::Text(text) if csv => Ok(format!("\"{}\"", text.replace('"', "\"\""))),
        Value::Text(text) => {
            Ok(text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r"))
        }
        cell => text(cell),
    };
    Ok(cells.iter().map(cell).collect::<Result<Vec<_>, _>>()?.join(if csv { "," } else { "\t" }))
}
