//! Expressions: [jq](https://jqlang.org/manual/), for conditions and for steps of a transform.
//!
//! ```text
//! .first + " " + .last
//! [.lines[] | .price * .count] | add
//! if .vip then "gold" else "plain" end
//! ```
//!
//! The grammar is that of [jaq](https://github.com/01mf02/jaq), whose reader is used. What runs the terms is Tidelock's own:
//! numbers are exact at any step, dates and binary are values of their own, and no expression runs without an end.
//! `docs/expressions.md` has the language and the reasons.

mod access;
mod builtins;
mod compile;
mod functions;
mod names;
mod number;
mod read;
mod run;
mod term;
mod text;
mod update;
mod value;

use crate::transform::Value;
pub(crate) use read::Problem;
use run::{Halt, Machine, Scope};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use term::Term;

/// An operator that compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    pub(crate) fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// An expression that has been read.
#[derive(Clone)]
pub(crate) struct Expression(Arc<Program>);

struct Program {
    text: String,
    term: Term,
    names: Option<BTreeSet<String>>,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.0.text).finish()
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for Expression {}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let term = read::read(text)?;
        let names = names::names(&term);
        Ok(Self(Arc::new(Program { text: text.to_owned(), term, names })))
    }

    /// The fields at the top of an item that it may need; `None`: any.
    pub(crate) fn names(&self) -> Option<&BTreeSet<String>> {
        self.0.names.as_ref()
    }

    /// Whether it assigns where a condition would compare: `.a = 1`.
    pub(crate) fn assigns(&self) -> bool {
        fn assigns(term: &Term) -> bool {
            match term {
                Term::Assign(_, term::Assignment::Set, _) => true,
                Term::Pipe(a, b)
                | Term::Logic(a, _, b)
                | Term::Comma(a, b)
                | Term::Alternative(a, b)
                | Term::If(_, a, b) => assigns(a) || assigns(b),
                _ => false,
            }
        }
        assigns(&self.0.term)
    }

    /// What it makes of a value; `None` where it gives nothing. The same value always gives the same.
    ///
    /// # Errors
    /// Its own error's words; also when it gives more than one result, or would take too long.
    pub(crate) fn run(&self, input: &Value) -> Result<Option<Value>, String> {
        let (machine, mut found, mut more) = (Machine::new(), None, false);
        let ran = machine.run(&self.0.term, &Scope::EMPTY, input, &mut |value| {
            if found.is_some() {
                more = true;
                return Err(Halt::Enough);
            }
            found = Some(machine.own(value)?);
            Ok(())
        });
        match ran {
            _ if more => {
                Err("the expression gives more than one result: `[…]` makes a list of them, `first(…)` takes one"
                    .to_owned())
            }
            Err(Halt::Error(error)) => Err(words(&error)),
            Err(Halt::Bound(words)) => Err(words.to_owned()),
            Err(Halt::Enough) | Ok(()) => match found {
                Some(value) if builtins::is_too_deep(&value) => Err("the result has too many levels".to_owned()),
                found => Ok(found),
            },
        }
    }

    /// Whether its result holds: null and false do not, nor does nothing.
    ///
    /// # Errors
    /// As [`Expression::run`].
    pub(crate) fn holds(&self, input: &Value) -> Result<bool, String> {
        Ok(self.run(input)?.is_some_and(|value| value::truth(&value)))
    }
}

/// An error's words.
fn words(error: &Value) -> String {
    match value::text(error) {
        Ok(text) => text,
        Err(_) => format!("an error of {}", value::word(error)),
    }
}

#[cfg(test)]
mod tests;
