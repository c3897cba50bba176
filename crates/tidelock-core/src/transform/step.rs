//! Steps as a pipeline's file has them, and what each does with the fields of an item.

use super::convert::{From, To, convert};
use super::path::{Part, Path, visit};
use super::set::Set;
use super::value::Value;
use serde::Deserialize;
use std::collections::BTreeMap;

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

/// A step as it is written: exactly one of the first is there.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawStep {
    default: Option<BTreeMap<String, serde_json::Value>>,
    convert: Option<RawConvert>,
    rename: Option<BTreeMap<String, String>>,
    copy: Option<BTreeMap<String, String>>,
    keep: Option<Vec<String>>,
    drop: Option<Vec<String>>,
    flatten: Option<RawFlatten>,
    nest: Option<RawNest>,
    split: Option<RawSplit>,
    join: Option<RawJoin>,
    mask: Option<RawMask>,
    hash: Option<RawHash>,
    set: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConvert {
    field: OneOrMany,
    from: Option<From>,
    to: To,
    #[serde(default)]
    default: serde_json::Value,
    on_missing: Option<Otherwise>,
    on_wrong_type: Option<Otherwise>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn texts(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFlatten {
    field: String,
    #[serde(default = "underscore")]
    separator: String,
}

fn underscore() -> String {
    "_".to_owned()
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNest {
    fields: Vec<String>,
    into: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSplit {
    field: String,
    separator: String,
    to: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawJoin {
    fields: Vec<String>,
    separator: String,
    to: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMask {
    field: OneOrMany,
    #[serde(default)]
    keep_last: usize,
    #[serde(default = "star")]
    with: String,
}

fn star() -> String {
    "*".to_owned()
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHash {
    field: OneOrMany,
}

/// The fields at the top of an item that some step names, in the item's order; behind them what steps have added.
pub(crate) type Fields = Vec<(String, Value)>;

/// A step that has been checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    Default(Vec<(Path, Value)>),
    Convert { fields: Vec<Path>, from: Option<From>, to: To, default: Value, missing: Otherwise, wrong: Otherwise },
    Move { pairs: Vec<(Path, Path)>, copy: bool },
    Keep(Vec<Path>),
    Drop(Vec<Path>),
    Flatten { field: Path, separator: String },
    Nest { fields: Vec<Path>, into: Path },
    Split { field: Path, separator: String, to: Path, wrong: Otherwise },
    Join { fields: Vec<Path>, separator: String, to: Path, wrong: Otherwise },
    Mask { fields: Vec<Path>, keep_last: usize, with: String, wrong: Otherwise },
    Hash { fields: Vec<Path> },
    Set(Set),
}

/// What is wrong with a value: path and words.
pub(crate) struct Wrong {
    pub(crate) path: String,
    pub(crate) words: String,
}

impl RawStep {
    /// Checks the step.
    ///
    /// # Errors
    /// What is wrong with it, with its field.
    pub(crate) fn read(self, missing: Otherwise, wrong: Otherwise) -> Result<Step, String> {
        let path = |field: &str, text: &str| Path::parse(text).map_err(|problem| format!("{field}: {problem}"));
        let paths =
            |field: &str, texts: &[String]| texts.iter().map(|text| path(field, text)).collect::<Result<Vec<_>, _>>();
        let pairs = |field: &str, pairs: &BTreeMap<String, String>| {
            let pairs = pairs.iter().map(|(from, to)| Ok((path(field, from)?, path(field, to)?)));
            let pairs = pairs.collect::<Result<Vec<(Path, Path)>, String>>()?;
            match pairs.iter().find(|(from, to)| from.is_many() || to.is_many()) {
                Some((from, to)) => {
                    Err(format!("{field}: `{from}` to `{to}`: `[]` names many places, where one is needed"))
                }
                None => Ok(pairs),
            }
        };
        let mut steps: Vec<Result<Step, String>> = Vec::new();
        if let Some(defaults) = &self.default {
            let defaults = defaults.iter().map(|(name, value)| Ok((path("default", name)?, Value::literal(value))));
            steps.push(defaults.collect::<Result<_, String>>().map(Step::Default));
        }
        if let Some(raw) = &self.convert {
            steps.push(paths("convert.field", raw.field.texts()).map(|fields| Step::Convert {
                fields,
                from: raw.from,
                to: raw.to,
                default: Value::literal(&raw.default),
                missing: raw.on_missing.unwrap_or(missing),
                wrong: raw.on_wrong_type.unwrap_or(wrong),
            }));
        }
        if let Some(renamed) = &self.rename {
            steps.push(pairs("rename", renamed).map(|pairs| Step::Move { pairs, copy: false }));
        }
        if let Some(copied) = &self.copy {
            steps.push(pairs("copy", copied).and_then(acyclic).map(|pairs| Step::Move { pairs, copy: true }));
        }
        if let Some(kept) = &self.keep {
            steps.push(paths("keep", kept).map(Step::Keep));
        }
        if let Some(dropped) = &self.drop {
            steps.push(paths("drop", dropped).map(Step::Drop));
        }
        if let Some(RawFlatten { field, separator }) = &self.flatten {
            let separator = separator.clone();
            steps.push(path("flatten.field", field).map(|field| Step::Flatten { field, separator }));
        }
        if let Some(RawNest { fields, into }) = &self.nest {
            let fields = paths("nest.fields", fields);
            steps.push(fields.and_then(|fields| Ok(Step::Nest { fields, into: path("nest.into", into)? })));
        }
        if let Some(RawSplit { field, separator, to }) = &self.split {
            let to = path("split.to", to.as_ref().unwrap_or(field));
            let separator = separator.clone();
            steps.push(to.and_then(|to| Ok(Step::Split { field: path("split.field", field)?, separator, to, wrong })));
        }
        if let Some(RawJoin { fields, separator, to }) = &self.join {
            let (fields, separator) = (paths("join.fields", fields), separator.clone());
            steps.push(fields.and_then(|fields| Ok(Step::Join { fields, separator, to: path("join.to", to)?, wrong })));
        }
        if let Some(RawMask { field, keep_last, with }) = &self.mask {
            let (keep_last, with) = (*keep_last, with.clone());
            steps.push(paths("mask.field", field.texts()).map(|fields| Step::Mask { fields, keep_last, with, wrong }));
        }
        if let Some(RawHash { field }) = &self.hash {
            steps.push(paths("hash.field", field.texts()).map(|fields| Step::Hash { fields }));
        }
        if let Some(set) = &self.set {
            steps.push(Set::read(set, missing).map(Step::Set));
        }
        match steps.len() {
            1 => steps.pop().unwrap_or_else(|| Err(String::new())),
            0 => Err(
                "a step has one of default, convert, rename, copy, keep, drop, flatten, nest, split, join, mask, hash, set"
                    .to_owned(),
            ),
            _ => Err("a step does one thing: begin the next with a `-`".to_owned()),
        }
    }
}

/// Refuses to copy a field into itself, over others or below itself.
fn acyclic(pairs: Vec<(Path, Path)>) -> Result<Vec<(Path, Path)>, String> {
    let below = |outer: &Path, inner: &Path| outer.top == inner.top && inner.rest.starts_with(&outer.rest);
    for (from, to) in &pairs {
        let mut reached = vec![to];
        let mut at = 0;
        while let Some(place) = reached.get(at).copied() {
            if below(place, from) || below(from, place) {
                return Err(format!("copy: `{from}` would be copied into itself"));
            }
            for (next, end) in &pairs {
                if below(next, place) && !reached.contains(&end) {
                    reached.push(end);
                }
            }
            at += 1;
        }
    }
    Ok(pairs)
}

fn top<'f>(fields: &'f mut Fields, name: &str) -> Option<&'f mut Value> {
    fields.iter_mut().find(|(own, _)| own == name).map(|(_, value)| value)
}

fn visit_path<E>(
    fields: &mut Fields,
    path: &Path,
    each: &mut impl FnMut(&mut Value) -> Result<(), E>,
) -> Result<usize, E> {
    match top(fields, &path.top) {
        Some(value) => visit(value, &path.rest, each),
        None => Ok(0),
    }
}

/// Takes a field away.
fn take(fields: &mut Fields, path: &Path) -> Option<Value> {
    match path.split_last()? {
        (None, name) => {
            let at = fields.iter().position(|(own, _)| own == name)?;
            Some(fields.remove(at).1)
        }
        (Some(holder), name) => {
            let mut taken = None;
            let _ = visit_path::<()>(fields, &holder, &mut |value| {
                value.open();
                if let Value::Map(members) = value
                    && let Some(at) = members.iter().position(|(own, _)| own == name)
                {
                    taken = Some(members.remove(at).1);
                }
                Ok(())
            });
            taken
        }
    }
}

fn get(fields: &mut Fields, path: &Path) -> Option<Value> {
    let mut found = None;
    let _ = visit_path::<()>(fields, path, &mut |value| {
        found.get_or_insert_with(|| value.clone());
        Ok(())
    });
    found
}

/// Puts a value at a path of names; maps on the way are made where nothing is.
pub(super) fn put(fields: &mut Fields, path: &Path, value: Value) -> Result<(), String> {
    fn below(place: &mut Value, rest: &[Part], value: Value) -> Result<(), String> {
        let Some((first, rest)) = rest.split_first() else {
            *place = value;
            return Ok(());
        };
        place.open();
        match (first, place) {
            (Part::Name(name), Value::Map(members)) => {
                let at = members.iter().position(|(own, _)| own == name).unwrap_or_else(|| {
                    members.push((name.clone(), Value::Map(Vec::new())));
                    members.len() - 1
                });
                match members.get_mut(at) {
                    Some((_, place)) => below(place, rest, value),
                    None => Ok(()),
                }
            }
            (Part::Index(index), Value::List(items)) => match items.get_mut(*index) {
                Some(place) => below(place, rest, value),
                None => Err(format!("the list has no element {index}")),
            },
            (_, other) => Err(format!("{other} stands where a map is needed")),
        }
    }
    let at = fields.iter().position(|(own, _)| *own == path.top).unwrap_or_else(|| {
        fields.push((path.top.clone(), Value::Map(Vec::new())));
        fields.len() - 1
    });
    match fields.get_mut(at) {
        Some((_, place)) => below(place, &path.rest, value),
        None => Ok(()),
    }
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
    pub(crate) fn apply(&self, fields: &mut Fields, hash: &dyn Fn(&Value) -> Option<String>) -> Result<(), Wrong> {
        let refused = |path: &Path, words: String| Wrong { path: path.to_string(), words };
        match self {
            Self::Default(defaults) => {
                for (path, value) in defaults {
                    if get(fields, path).is_none() {
                        put(fields, path, value.clone()).map_err(|words| refused(path, words))?;
                    }
                }
            }
            Self::Convert { fields: paths, from, to, default, missing, wrong } => {
                for path in paths {
                    let found = visit_path(fields, path, &mut |value| match convert(&value.opened(), *from, *to) {
                        Ok(converted) => {
                            *value = converted;
                            Ok(())
                        }
                        // What is not there in other systems is null here.
                        Err(_) if value.opened() == Value::Null => Ok(()),
                        Err(words) => otherwise(*wrong, value, default, words),
                    });
                    if found.map_err(|words| refused(path, words))? == 0 && !path.is_many() {
                        absent(fields, path, *missing, default)?;
                    }
                }
            }
            Self::Move { pairs, copy } => {
                // All at once: names may change places.
                let mut moved = Vec::new();
                for (from, to) in pairs {
                    let value = if *copy { get(fields, from) } else { take(fields, from) };
                    moved.extend(value.map(|value| (to, value)));
                }
                for (to, value) in moved {
                    put(fields, to, value).map_err(|words| refused(to, words))?;
                }
            }
            Self::Keep(paths) => fields.retain_mut(|(name, value)| {
                let below: Vec<&[Part]> =
                    paths.iter().filter(|path| path.top == *name).map(|path| path.rest.as_slice()).collect();
                keep_within(value, &below);
                !below.is_empty()
            }),
            Self::Drop(paths) => {
                for path in paths {
                    drop_all(fields, path);
                }
            }
            Self::Flatten { field, separator } => {
                let Some(Value::Map(members)) = get(fields, field).map(|value| value.opened()) else { return Ok(()) };
                take(fields, field);
                let mut flat = Vec::new();
                flatten(&mut flat, last_name(field), members, separator);
                for (name, value) in flat {
                    let path = beside(field, name);
                    if get(fields, &path).is_some() {
                        return Err(refused(&path, "the item has such a field already".to_owned()));
                    }
                    put(fields, &path, value).map_err(|words| refused(&path, words))?;
                }
            }
            Self::Nest { fields: paths, into } => {
                for path in paths {
                    if let Some(value) = take(fields, path) {
                        let mut inner = into.clone();
                        inner.rest.push(Part::Name(last_name(path).to_owned()));
                        put(fields, &inner, value).map_err(|words| refused(&inner, words))?;
                    }
                }
            }
            Self::Split { field, separator, to, wrong } => match get(fields, field).map(|value| value.opened()) {
                None | Some(Value::Null) => {}
                Some(Value::Text(text)) => {
                    let parts = text.split(separator.as_str()).map(|part| Value::Text(part.to_owned())).collect();
                    put(fields, to, Value::List(parts)).map_err(|words| refused(to, words))?;
                }
                Some(_) if *wrong == Otherwise::Skip => {}
                Some(other) => return Err(refused(field, format!("{other} is no text that can be split"))),
            },
            Self::Join { fields: paths, separator, to, wrong } => {
                let mut parts = Vec::new();
                for path in paths {
                    visit_path(fields, path, &mut |value| match &value.opened() {
                        Value::Null => Ok(()),
                        Value::List(items) => {
                            items.iter().try_for_each(|item| text(&item.opened()).map(|text| parts.push(text)))
                        }
                        other => text(other).map(|text| parts.push(text)),
                    })
                    .or_else(|words| if *wrong == Otherwise::Skip { Ok(0) } else { Err(refused(path, words)) })?;
                }
                if !parts.is_empty() {
                    put(fields, to, Value::Text(parts.join(separator))).map_err(|words| refused(to, words))?;
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
                    visit_path(fields, path, &mut |value| match hash(&value.opened()) {
                        Some(hash) => {
                            *value = Value::Text(hash);
                            Ok(())
                        }
                        None if value.opened() == Value::Null => Ok(()),
                        None => Err(format!("{value} cannot be hashed: only text, number, boolean and binary can")),
                    })
                    .map_err(|words| refused(path, words))?;
                }
            }
        }
        Ok(())
    }
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

fn absent(fields: &mut Fields, path: &Path, policy: Otherwise, default: &Value) -> Result<(), Wrong> {
    let refused = |words: String| Wrong { path: path.to_string(), words };
    match policy {
        Otherwise::Skip => Ok(()),
        Otherwise::Default => put(fields, path, default.clone()).map_err(refused),
        Otherwise::Park => Err(refused("the field is missing".to_owned())),
    }
}

fn drop_all(fields: &mut Fields, path: &Path) {
    let Some((holder, name)) = path.split_last() else { return };
    match holder {
        None => fields.retain(|(own, _)| own != name),
        Some(holder) => {
            let _ = visit_path::<()>(fields, &holder, &mut |value| {
                value.open();
                if let Value::Map(members) = value {
                    members.retain(|(own, _)| own != name);
                }
                Ok(())
            });
        }
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

fn flatten(out: &mut Fields, prefix: &str, members: Vec<(String, Value)>, separator: &str) {
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
