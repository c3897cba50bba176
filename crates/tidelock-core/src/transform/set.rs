//! `set`: fields made by expressions.

use super::field::{Fields, Held, put};
use super::path::Path;
use super::step::{Otherwise, Wrong};
use super::value::Value;
use crate::expression::Expression;
use crate::pipeline::Problems;
use std::collections::BTreeMap;

/// Where the results go. Every expression sees the item as it is before the step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Set {
    fields: Vec<(Path, Expression)>,
    missing: Otherwise,
}

impl Set {
    /// Checks paths and expressions.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(super) fn read(fields: &BTreeMap<String, String>, missing: Otherwise) -> Result<Self, String> {
        let read = |(to, text): (&String, &String)| {
            let own = Problems::join("set", to);
            let path = Path::parse(to).map_err(|problem| format!("{own}: {problem}"))?;
            if path.is_many() {
                return Err(format!("{own}: `[]` names many places, where one is needed"));
            }
            let expression = Expression::parse(text).map_err(|problem| format!("{own}: {problem}"))?;
            Ok((path, expression))
        };
        Ok(Self { fields: fields.iter().map(read).collect::<Result<_, String>>()?, missing })
    }

    /// Where results go.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.fields.iter().map(|(path, _)| path)
    }

    /// The fields at the top that it reads or writes; `None`: whichever there are.
    pub(super) fn names(&self) -> Option<Vec<&str>> {
        let mut names = Vec::new();
        for (path, expression) in &self.fields {
            names.push(path.top.as_str());
            names.extend(expression.names()?.iter().map(String::as_str));
        }
        Some(names)
    }

    /// Does it.
    ///
    /// # Errors
    /// When an expression fails, gives nothing where that parks the record, or its result has no place.
    pub(super) fn apply<'a>(&'a self, fields: &mut Fields<'a>) -> Result<(), Wrong> {
        let item = Value::Map(fields.drain(..).map(|(name, held)| (name.into_owned(), held.into_read())).collect());
        let results: Vec<_> = self.fields.iter().map(|(_, expression)| expression.run(&item)).collect();
        if let Value::Map(members) = item {
            fields.extend(members.into_iter().map(|(name, value)| (name.into(), Held::from(value))));
        }
        for ((path, _), result) in self.fields.iter().zip(results) {
            let refused = |words: String| Wrong { path: path.to_string(), words };
            let value = match (result.map_err(refused)?, self.missing) {
                (Some(value), _) => value,
                (None, Otherwise::Skip) => continue,
                (None, Otherwise::Default) => Value::Null,
                (None, Otherwise::Park) => return Err(refused("the expression gives nothing".to_owned())),
            };
            put(fields, path, value.into()).map_err(refused)?;
        }
        Ok(())
    }
}
