//! Steps as a pipeline's file has them, and what is wrong with them.

use super::convert::{From, To};
use super::path::Path;
use super::set::Set;
use super::step::{Otherwise, Step};
use super::value::Value;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A step as it is written: exactly one of the first is there.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawStep {
    default: Option<BTreeMap<String, Value>>,
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
    scale: Option<u8>,
    #[serde(default)]
    default: Value,
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
    separator: Option<String>,
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
            let defaults = defaults.iter().map(|(name, value)| Ok((path("default", name)?, value.clone())));
            steps.push(defaults.collect::<Result<_, String>>().map(Step::Default));
        }
        if let Some(raw) = &self.convert {
            let scale = match (raw.to, raw.scale) {
                (To::Scaled, None) => Err("convert.scale: scaled needs it: 2 makes cents of euros".to_owned()),
                (To::Scaled, Some(19..)) => Err("convert.scale: 18 at most".to_owned()),
                (To::Scaled, _) | (_, None) => Ok(()),
                (_, Some(_)) => Err("convert.scale: is for `to: scaled` alone".to_owned()),
            };
            let fields = scale.and_then(|()| paths("convert.field", raw.field.texts()));
            steps.push(fields.map(|fields| Step::Convert {
                fields,
                from: raw.from,
                to: raw.to,
                scale: raw.scale.unwrap_or_default(),
                default: raw.default.clone(),
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
            let separator = separator.clone().unwrap_or_else(|| "_".to_owned());
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
