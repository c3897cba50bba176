//! Transforms: what becomes of an item's fields on their way into a document.
//!
//! ```yaml
//! transform:
//!   - default: {age: null}
//!   - convert: {field: created_at, from: epoch_seconds, to: date}
//!   - rename: {Name: name}
//!   - drop: [password]
//! ```
//!
//! Steps are carried out in order. They are known when the function starts, and so are the fields at the top of an item that they
//! name: all others go straight from the source's text into the document, as without a transform.

mod convert;
mod path;
mod step;
mod trace;
mod value;

use crate::cause::Cause;
use crate::encode::{Fault, Sink, Written};
use std::collections::BTreeSet;
use step::Step;

pub(crate) use step::{Fields, Otherwise, RawStep};
pub use trace::Traced;
pub(crate) use value::Value;

/// The steps of a route, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Transform {
    steps: Vec<Step>,
    /// Fields at the top that steps name; `None`: they may need any.
    names: Option<BTreeSet<String>>,
    /// Some step keeps only what it names.
    keeps: bool,
}

/// What becomes of a field at the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    /// It goes into the document as it is.
    Untouched,
    /// Steps may need it.
    Touched,
    /// It does not go into the document.
    Dropped,
}

/// One that leaves items as they are.
impl Default for Transform {
    fn default() -> Self {
        Self { steps: Vec::new(), names: Some(BTreeSet::new()), keeps: false }
    }
}

impl Transform {
    /// Checks steps as they are written.
    ///
    /// # Errors
    /// Everything that is wrong with them, each with the number of its step.
    pub(crate) fn read(
        steps: Vec<RawStep>,
        missing: Option<Otherwise>,
        wrong: Option<Otherwise>,
    ) -> Result<Self, Vec<String>> {
        let (missing, wrong) = (missing.unwrap_or(Otherwise::Skip), wrong.unwrap_or(Otherwise::Park));
        let mut problems = Vec::new();
        let mut read = Vec::new();
        for (index, step) in steps.into_iter().enumerate() {
            match step.read(missing, wrong) {
                Ok(step) => read.push(step),
                Err(problem) => problems.push(format!("transform[{index}]: {problem}")),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let names = read.iter().map(Step::names).collect::<Option<Vec<_>>>();
        let names = names.map(|names| names.into_iter().flatten().map(str::to_owned).collect());
        let keeps = read.iter().any(|step| matches!(step, Step::Keep(_)));
        Ok(Self { steps: read, names, keeps })
    }

    /// What becomes of a field at the top of an item.
    pub(crate) fn touch(&self, name: &str) -> Touch {
        match &self.names {
            Some(names) if !names.contains(name) => {
                if self.keeps {
                    Touch::Dropped
                } else {
                    Touch::Untouched
                }
            }
            _ => Touch::Touched,
        }
    }

    /// Carries out the steps on the fields that they may need.
    ///
    /// # Errors
    /// When the record is to be parked: with the step's number, the path, the kind of value and the rule.
    pub(crate) fn run(&self, fields: &mut Fields, hash: &dyn Fn(&Value) -> Option<String>) -> Written {
        for (index, step) in self.steps.iter().enumerate() {
            step.apply(fields, hash).map_err(|wrong| {
                let detail = format!("transform[{index}] ({}), field `{}`: {}", step.name(), wrong.path, wrong.words);
                Fault::new(Cause::TransformFailed, detail)
            })?;
        }
        Ok(())
    }
}

/// Tells a sink of fields.
///
/// # Errors
/// When the format has no exact form for one of them.
pub(crate) fn write_fields<S: Sink>(sink: &mut S, fields: &Fields) -> Written {
    fields.iter().try_for_each(|(name, value)| value::write_member(sink, name, value))
}

#[cfg(test)]
mod tests;
