//! Steps, and what each does with the fields of an item.

use super::convert::{From, To, convert, convert_number};
use super::field::{Fields, Held, at_top, exists, get, put, put_below, take, take_all, visit_opened, visit_path};
use super::path::{Part, Path};
use super::set::Set;
use super::value::Value;
use crate::hex::hex;
use crate::json::canonical_text;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use sha2::Sha256;

/// What is done where a field is missing, or not of the type that a step needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Otherwise {
    /// The step leaves the item as it is.
    Skip,
    /// The step's `default` is put there, or null.
    Default,
    /// The record is parked.
    Park,
}

/// A step that has been checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    Default(Vec<(Path, Value)>),
    Convert {
        fields: Vec<Path>,
        from: Option<From>,
        to: To,
        scale: u8,
        default: Value,
        missing: Otherwise,
        wrong: Otherwise,
    },
    Move {
        pairs: Vec<(Path, Path)>,
        copy: bool,
    },
    Keep(Vec<Path>),
    Drop(Vec<Path>),
    Flatten {
        field: Path,
        separator: String,
    },
    Nest {
        fields: Vec<Path>,
        into: Path,
    },
    Split {
        field: Path,
        separator: String,
        to: Path,
        wrong: Otherwise,
    },
    Join {
        fields: Vec<Path>,
        separator: String,
        to: Path,
        wrong: Otherwise,
    },
    Mask {
        fields: Vec<Path>,
        keep_last: usize,
        with: String,
        wrong: Otherwise,
    },
    Hash {
        fields: Vec<Path>,
    },
    Set(Set),
}

/// What is wrong with a value: path and words.
pub(crate) struct Wrong {
    pub(crate) path: String,
    pub(crate) words: String,
}

/// Keeps of a value what the paths lead to.
fn keep_within(value: &mut Value, wanted: &[&[Part]]) {
    if wanted.iter().any(|rest| rest.is_empty()) {
        return;
    }
    value.open();
    match value {
        Value::Map(members) => members.retain_mut(|(name, value)| {
            let below: Vec<&[Part]> = wanted
                .iter()
                .filter_map(|rest| match rest.split_first() {
                    Some((Part::Name(own), rest)) if own == name => Some(rest),
                    _ => None,
                })
                .collect();
            keep_within(value, &below);
            !below.is_empty()
        }),
        Value::List(items) => {
            let mut index = 0;
            items.retain_mut(|value| {
                let below: Vec<&[Part]> = wanted
                    .iter()
                    .filter_map(|rest| match rest.split_first() {
                        Some((Part::Each, rest)) => Some(rest),
                        Some((Part::Index(own), rest)) if *own == index => Some(rest),
                        _ => None,
                    })
                    .collect();
                index += 1;
                keep_within(value, &below);
                !below.is_empty()
            });
        }
        _ => {}
    }
}

impl Step {
    /// The fields at the top that it reads or writes; `None`: whichever there are.
    pub(crate) fn names(&self) -> Option<Vec<&str>> {
        fn tops<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Vec<&'p str> {
            paths.into_iter().map(|path| path.top.as_str()).collect()
        }
        Some(match self {
            Self::Default(defaults) => tops(defaults.iter().map(|(path, _)| path)),
            Self::Convert { fields, .. } | Self::Mask { fields, .. } | Self::Hash { fields } => tops(fields),
            Self::Move { pairs, .. } => tops(pairs.iter().flat_map(|(from, to)| [from, to])),
            Self::Keep(paths) | Self::Drop(paths) => tops(paths),
            // Their names are made of the item's.
            Self::Flatten { .. } => return None,
            Self::Nest { fields, into } => tops(fields.iter().chain([into])),
            Self::Split { field, to, .. } => tops([field, to]),
            Self::Join { fields, to, .. } => tops(fields.iter().chain([to])),
            Self::Set(set) => return set.names(),
        })
    }

    /// Its name in the file.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Default(_) => "default",
            Self::Convert { .. } => "convert",
            Self::Move { copy: false, .. } => "rename",
            Self::Move { copy: true, .. } => "copy",
            Self::Keep(_) => "keep",
            Self::Drop(_) => "drop",
            Self::Flatten { .. } => "flatten",
            Self::Nest { .. } => "nest",
            Self::Split { .. } => "split",
            Self::Join { .. } => "join",
            Self::Mask { .. } => "mask",
            Self::Hash { .. } => "hash",
            Self::Set(_) => "set",
        }
    }

    /// Does it. `key` is that of keyed hashes.
    ///
    /// # Errors
    /// When a field is missing or of the wrong type and the record is to be parked for it.
    pub(crate) fn apply<'a>(&'a self, fields: &mut Fields<'a>, key: Option<&[u8]>) -> Result<(), Wrong> {
        let refused = |path: &Path, words: String| Wrong { path: path.to_string(), words };
        match self {
            Self::Default(defaults) => {
                for (path, value) in defaults {
                    if !exists(fields, path) {
                        put(fields, path, value.clone().into()).map_err(|words| refused(path, words))?;
                    }
                }
            }
            Self::Convert { fields: paths, from, to, scale, default, missing, wrong } => {
                for path in paths {
                    // Nearly all are numbers that nobody has looked into.
                    if let Some(held) = at_top(fields, path)
                        && let Some(Ok(converted)) = held.number().map(|text| convert_number(text, *from, *to, *scale))
                    {
                        *held = converted.into();
                        continue;
                    }
                    let found = visit_opened(fields, path, &mut |value| {
                        match convert(value, *from, *to, *scale) {
                            Ok(converted) => {
                                *value = converted;
                                Ok(())
                            }
                            // What is not there in other systems is null here.
                            Err(_) if *value == Value::Null => Ok(()),
                            Err(words) => otherwise(*wrong, value, default, words),
                        }
                    });
                    if found.map_err(|words| refused(path, words))? == 0 && !path.is_many() {
                        absent(fields, path, *missing, default)?;
                    }
                }
            }
            Self::Move { pairs, copy } => {
                let mut value = |from: &Path| if *copy { get(fields, from) } else { take(fields, from) };
                if let [(from, to)] = pairs.as_slice() {
                    let value = value(from);
                    return value
                        .map_or(Ok(()), |value| put_new(fields, to, value))
                        .map_err(|words| refused(to, words));
                }
                // All at once: names may change places.
                let moved: Vec<_> = pairs.iter().filter_map(|(from, to)| Some((to, value(from)?))).collect();
                for (to, value) in moved {
                    put_new(fields, to, value).map_err(|words| refused(to, words))?;
                }
            }
            Self::Keep(paths) => fields.retain_mut(|(name, held)| {
                let below: Vec<&[Part]> =
                    paths.iter().filter(|path| path.top == *name).map(|path| path.rest.as_slice()).collect();
                if !below.iter().any(|rest| rest.is_empty()) {
                    keep_within(held.open(), &below);
                }
                !below.is_empty()
            }),
            Self::Drop(paths) => {
                for path in paths {
                    take_all(fields, path);
                }
            }
            Self::Flatten { field, separator } => {
                let Some(Value::Map(members)) = get(fields, field).map(Held::into_opened) else { return Ok(()) };
                take(fields, field);
                let mut flat = Vec::new();
                flatten(&mut flat, last_name(field), members, separator);
                for (name, value) in flat {
                    let path = beside(field, name);
                    if exists(fields, &path) {
                        return Err(refused(&path, THERE_ALREADY.to_owned()));
                    }
                    put_below(fields, path.top.clone().into(), &path.rest, value.into())
                        .map_err(|words| refused(&path, words))?;
                }
            }
            Self::Nest { fields: paths, into } => {
                for path in paths {
                    if let Some(value) = take(fields, path) {
                        let mut inner = into.clone();
                        inner.rest.push(Part::Name(last_name(path).to_owned()));
                        if exists(fields, &inner) {
                            return Err(refused(&inner, THERE_ALREADY.to_owned()));
                        }
                        put_below(fields, into.top.as_str().into(), &inner.rest, value)
                            .map_err(|words| refused(&inner, words))?;
                    }
                }
            }
            Self::Split { field, separator, to, wrong } => match get(fields, field).map(Held::into_opened) {
                None | Some(Value::Null) => {}
                Some(Value::Text(text)) => {
                    let parts = text.split(separator.as_str()).map(|part| Value::Text(part.to_owned())).collect();
                    put(fields, to, Value::List(parts).into()).map_err(|words| refused(to, words))?;
                }
                Some(_) if *wrong == Otherwise::Skip => {}
                Some(_) if *wrong == Otherwise::Default => {
                    put(fields, to, Value::Null.into()).map_err(|words| refused(to, words))?;
                }
                Some(other) => return Err(refused(field, format!("{other} is no text that can be split"))),
            },
            Self::Join { fields: paths, separator, to, wrong } => {
                let mut parts = Vec::new();
                for path in paths {
                    let joined = visit_path(fields, path, &mut |value| match &value.opened() {
                        Value::Null => Ok(()),
                        Value::List(items) => {
                            items.iter().try_for_each(|item| text(&item.opened()).map(|text| parts.push(text)))
                        }
                        other => text(other).map(|text| parts.push(text)),
                    });
                    match (joined, wrong) {
                        (Ok(_), _) | (Err(_), Otherwise::Skip) => {}
                        (Err(words), Otherwise::Park) => return Err(refused(path, words)),
                        (Err(_), Otherwise::Default) => {
                            return put(fields, to, Value::Null.into()).map_err(|words| refused(to, words));
                        }
                    }
                }
                if !parts.is_empty() {
                    put(fields, to, Value::Text(parts.join(separator)).into()).map_err(|words| refused(to, words))?;
                }
            }
            Self::Mask { fields: paths, keep_last, with, wrong } => {
                for path in paths {
                    visit_path(fields, path, &mut |value| match value.opened() {
                        Value::Null => Ok(()),
                        Value::Text(text) | Value::Number(text) => {
                            let hidden = text.chars().count().saturating_sub(*keep_last);
                            let kept: String = text.chars().skip(hidden).collect();
                            *value = Value::Text(with.repeat(hidden) + &kept);
                            Ok(())
                        }
                        // What cannot be masked must not be shown.
                        other => otherwise(*wrong, value, &Value::Null, format!("{other} cannot be masked")),
                    })
                    .map_err(|words| refused(path, words))?;
                }
            }
            Self::Set(set) => set.apply(fields)?,
            Self::Hash { fields: paths } => {
                for path in paths {
                    visit_opened(fields, path, &mut |value| {
                        if *value != Value::Null {
                            *value = Value::Text(hashed(value, key)?);
                        }
                        Ok(())
                    })
                    .map_err(|words| refused(path, words))?;
                }
            }
        }
        Ok(())
    }
}

/// HMAC-SHA256 ([RFC 2104](https://www.rfc-editor.org/rfc/rfc2104)) of a value's text or bytes, in hexadecimal digits.
fn hashed(value: &Value, key: Option<&[u8]>) -> Result<String, String> {
    let bytes = match value {
        Value::Text(text) => text.as_bytes().into(),
        // Equal numbers have equal hashes.
        Value::Number(text) => canonical_text(text.as_bytes()).ok_or("the number is out of range")?.as_bytes().to_vec(),
        Value::Boolean(value) => value.to_string().into_bytes(),
        Value::Binary(bytes) => bytes.clone(),
        other => return Err(format!("{other} cannot be hashed: only text, number, boolean and binary can")),
    };
    let key = key.ok_or("there is no key: set TIDELOCK_HASH_SECRET")?;
    let mut hash = Hmac::<Sha256>::new_from_slice(key).map_err(|error| error.to_string())?;
    hash.update(&bytes);
    Ok(hex(&hash.finalize().into_bytes()))
}

/// What one step would write over, another may have to drop: nothing is lost that no step says.
const THERE_ALREADY: &str = "the item has such a field already; a `drop` before the step takes it away";

/// Puts a value where there is none.
fn put_new<'a>(fields: &mut Fields<'a>, path: &'a Path, value: Held<'a>) -> Result<(), String> {
    if exists(fields, path) { Err(THERE_ALREADY.to_owned()) } else { put(fields, path, value) }
}

fn otherwise(policy: Otherwise, value: &mut Value, default: &Value, words: String) -> Result<(), String> {
    match policy {
        Otherwise::Skip => Ok(()),
        Otherwise::Default => {
            *value = default.clone();
            Ok(())
        }
        Otherwise::Park => Err(words),
    }
}

fn absent<'a>(fields: &mut Fields<'a>, path: &'a Path, policy: Otherwise, default: &Value) -> Result<(), Wrong> {
    let refused = |words: String| Wrong { path: path.to_string(), words };
    match policy {
        Otherwise::Skip => Ok(()),
        Otherwise::Default => put(fields, path, default.clone().into()).map_err(refused),
        Otherwise::Park => Err(refused("the field is missing".to_owned())),
    }
}

fn last_name(path: &Path) -> &str {
    path.split_last().map_or(&path.top, |(_, name)| name)
}

/// Another name beside a field.
fn beside(path: &Path, name: String) -> Path {
    match path.split_last() {
        Some((Some(mut holder), _)) => {
            holder.rest.push(Part::Name(name));
            holder
        }
        _ => Path { top: name, rest: Vec::new() },
    }
}

fn flatten(out: &mut Vec<(String, Value)>, prefix: &str, members: Vec<(String, Value)>, separator: &str) {
    for (name, value) in members {
        let name = format!("{prefix}{separator}{name}");
        match if matches!(value.opened(), Value::Map(_)) { value.opened() } else { value } {
            Value::Map(inner) if !inner.is_empty() => flatten(out, &name, inner, separator),
            value => out.push((name, value)),
        }
    }
}

fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) | Value::Number(text) => Ok(text.clone()),
        Value::Boolean(value) => Ok(value.to_string()),
        other => Err(format!("{other} cannot be joined")),
    }
}
