//! Transforms: what becomes of an item's fields on their way into a document.
//!
//! ```yaml
//! transform:
//!   - default: {age: null}
//!   - convert: {field: created_at, from: epoch_seconds, to: date}
//!   - rename: {Name: name}
//!   - drop: [password]
//!   - set: {full_name: '.first + " " + .last'}
//! ```
//!
//! Steps are carried out in order. They are known when the function starts, and so are the fields at the top of an item that they
//! name: all others go straight from the source's text into the document, as without a transform.

mod check;
mod convert;
mod field;
mod literal;
mod names;
mod path;
mod raw;
mod set;
mod step;
mod trace;
mod value;

use crate::cause::Cause;
use crate::encode::{Fault, Written};
use crate::pipeline::Problems;
use names::Names;
use std::fmt;
use std::sync::Arc;
use step::Step;

pub(crate) use convert::{From, To, convert, rfc3339};
pub(crate) use field::{Fields, Held, write_fields};
pub(crate) use literal::EXACT;
pub(crate) use path::{Part, Path};
pub(crate) use raw::RawStep;
pub(crate) use step::Otherwise;
pub use trace::Traced;
pub(crate) use value::Value;

/// The steps of a route, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Transform {
    steps: Vec<Step>,
    /// Fields at the top that steps name; `None`: they may need any.
    names: Option<Names>,
    /// Some step keeps only what it names.
    keeps: bool,
    /// What values are hashed with.
    key: Option<HashKey>,
}

/// The key of `hash` steps.
#[derive(Clone, PartialEq, Eq)]
struct HashKey(Arc<[u8]>);

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What becomes of a field at the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch<'t> {
    /// It goes into the document as it is.
    Untouched,
    /// Steps may need it; its name, where they know it.
    Touched(Option<&'t str>),
    /// It does not go into the document.
    Dropped,
}

/// One that leaves items as they are.
impl Default for Transform {
    fn default() -> Self {
        Self { steps: Vec::new(), names: Some(Names::default()), keeps: false, key: None }
    }
}

impl Transform {
    /// Checks the steps as they are written, with nothing in the place of those that cannot be used; `list` is their path in the
    /// file. Everything that is wrong with them is told; `None` where not all of them can be used.
    pub(crate) fn read(
        steps: Vec<Option<RawStep>>,
        missing: Option<Otherwise>,
        wrong: Option<Otherwise>,
        list: &str,
        problems: &mut Problems<'_>,
    ) -> Option<Self> {
        let (missing, wrong) = (missing.unwrap_or(Otherwise::Skip), wrong.unwrap_or(Otherwise::Park));
        let read = steps.into_iter().enumerate().map(|(index, step)| {
            let step = step?.read(missing, wrong);
            // Words that begin with a path, as `convert.field: …`, speak of that part of the step.
            step.map_err(|words| match words.split_once(": ").filter(|(path, _)| !path.contains([' ', '`'])) {
                Some((path, words)) => problems.wrong(format!("{list}[{index}].{path}"), words),
                None => problems.wrong(format!("{list}[{index}]"), words),
            })
            .ok()
        });
        let read: Vec<Option<Step>> = read.collect();
        check::check(&read, list, problems);
        let steps: Vec<Step> = read.into_iter().collect::<Option<_>>()?;
        let names = Names::of(&steps);
        let keeps = steps.iter().any(|step| matches!(step, Step::Keep(_)));
        Some(Self { steps, names, keeps, key: None })
    }

    /// Whether a step hashes values.
    pub(crate) fn hashes(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Hash { .. }))
    }

    /// Hashes with this key.
    pub(crate) fn set_hash_key(&mut self, key: &[u8]) {
        self.key = Some(HashKey(key.into()));
    }

    /// Whether the field of this name certainly goes into the document as it is.
    pub(crate) fn is_untouched(&self, name: &[u8]) -> bool {
        !self.keeps && self.names.as_ref().is_some_and(|names| names.lack(name))
    }

    /// What becomes of a field at the top of an item.
    pub(crate) fn touch(&self, name: &[u8]) -> Touch<'_> {
        let Some(names) = &self.names else { return Touch::Touched(None) };
        match names.find(name) {
            Some(known) if known.dropped => Touch::Dropped,
            Some(known) => Touch::Touched(Some(&known.name)),
            None if self.keeps => Touch::Dropped,
            None => Touch::Untouched,
        }
    }

    /// Carries out the steps on the fields that they may need.
    ///
    /// # Errors
    /// When the record is to be parked: with the step's number, the path, the kind of value and the rule.
    pub(crate) fn run<'a>(&'a self, fields: &mut Fields<'a>) -> Written {
        let key = self.key.as_ref().map(|key| &*key.0);
        for (index, step) in self.steps.iter().enumerate() {
            step.apply(fields, key).map_err(|wrong| {
                let detail = format!("transform[{index}] ({}), field `{}`: {}", step.name(), wrong.path, wrong.words);
                Fault::new(Cause::TransformFailed, detail)
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
