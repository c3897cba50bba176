//! Parts of values, and what is calculated of them.

use super::number::{Decimal, Math};
use super::run::{Each, Halt, Machine, Run, Scope};
use super::term::{Part, Term, What};
use super::value::{bounds, compare, element, insert, member, opened, size, viewed, word};
use crate::transform::Value;
use std::borrow::Cow;

impl Machine {
    /// Follows a path. Indices are run on the term's input, not on what the path has reached.
    pub(super) fn walk<'v>(
        &self,
        parts: &[Part],
        scope: &Scope<'_>,
        input: &Value,
        value: Cow<'v, Value>,
        each: Each<'_, 'v>,
    ) -> Run {
        let (mut value, mut parts) = (value, parts);
        while let Some((Part { what: What::Name(name), .. }, rest)) = parts.split_first() {
            (value, parts) = (self.named(value, name)?, rest);
        }
        let Some((part, rest)) = parts.split_first() else { return each(value) };
        self.deeper(|| self.walk_part(part, rest, scope, input, value, each))
    }

    fn walk_part<'v>(
        &self,
        part: &Part,
        rest: &[Part],
        scope: &Scope<'_>,
        input: &Value,
        value: Cow<'v, Value>,
        each: Each<'_, 'v>,
    ) -> Run {
        match &part.what {
            What::Name(_) => Ok(()),
            What::Each => self.children(value, part.optional, &mut |child| self.walk(rest, scope, input, child, each)),
            What::Index(index) => {
                for index in &self.all(index, scope, input)? {
                    match self.index(self.shared(&value)?, index) {
                        Err(Halt::Error(_)) if part.optional => {}
                        found => self.walk(rest, scope, input, found?, each)?,
                    }
                }
                Ok(())
            }
            What::Slice(from, to) => {
                for (from, to) in self.slice_bounds(from.as_ref(), to.as_ref(), scope, input)? {
                    match self.slice(&value, from, to) {
                        Err(Halt::Error(_)) if part.optional => {}
                        found => self.walk(rest, scope, input, Cow::Owned(found?), each)?,
                    }
                }
                Ok(())
            }
        }
    }

    /// The value once more: what is borrowed stays so.
    fn shared<'v>(&self, value: &Cow<'v, Value>) -> Run<Cow<'v, Value>> {
        Ok(match value {
            Cow::Borrowed(value) => Cow::Borrowed(*value),
            Cow::Owned(value) => Cow::Owned(self.own(Cow::Borrowed(value))?),
        })
    }

    fn named<'v>(&self, value: Cow<'v, Value>, name: &str) -> Run<Cow<'v, Value>> {
        if let Value::Map(members) = value.as_ref() {
            self.count(members.len() as u64 / 16)?;
        } else if let Value::Raw(_, bytes) = value.as_ref() {
            self.count(bytes.len() as u64 / 256)?;
        }
        Ok(member(value, name))
    }

    /// `.[index]`
    pub(super) fn index<'v>(&self, value: Cow<'v, Value>, index: &Value) -> Run<Cow<'v, Value>> {
        match viewed(index).as_ref() {
            Value::Text(name) => self.named(value, name),
            index @ (Value::Number(_) | Value::Double(_)) => {
                if let Value::Raw(_, bytes) = value.as_ref() {
                    self.count(bytes.len() as u64 / 16)?;
                }
                Ok(element(value, Decimal::of(index)?.floor_i64()))
            }
            other => Err(format!("{} is no index", word(other)).into()),
        }
    }

    /// Tells of each element or member's value.
    pub(super) fn children<'v>(&self, value: Cow<'v, Value>, optional: bool, each: Each<'_, 'v>) -> Run {
        if let Value::Raw(_, bytes) = value.as_ref() {
            self.count(bytes.len() as u64 / 16)?;
        }
        match opened(value) {
            Cow::Borrowed(Value::List(items)) => items.iter().try_for_each(|item| each(Cow::Borrowed(item))),
            Cow::Borrowed(Value::Map(members)) => members.iter().try_for_each(|(_, value)| each(Cow::Borrowed(value))),
            Cow::Owned(Value::List(items)) => items.into_iter().try_for_each(|item| each(Cow::Owned(item))),
            Cow::Owned(Value::Map(members)) => members.into_iter().try_for_each(|(_, value)| each(Cow::Owned(value))),
            _ if optional => Ok(()),
            other => Err(format!("`[]` needs a list or a map, not {}", word(&other)).into()),
        }
    }

    pub(super) fn slice_bounds(
        &self,
        from: Option<&Term>,
        to: Option<&Term>,
        scope: &Scope<'_>,
        input: &Value,
    ) -> Run<Vec<(Option<i64>, Option<i64>)>> {
        let all = |term: Option<&Term>, up: bool| -> Run<Vec<Option<i64>>> {
            let Some(term) = term else { return Ok(vec![None]) };
            let read = |value: &Value| match viewed(value).as_ref() {
                Value::Null => Ok(None),
                value if up => Ok(Some(Decimal::of(value)?.ceil_i64())),
                value => Ok(Some(Decimal::of(value)?.floor_i64())),
            };
            self.all(term, scope, input)?.iter().map(read).collect()
        };
        let (from, to) = (all(from, false)?, all(to, true)?);
        Ok(to.iter().flat_map(|to| from.iter().map(move |from| (*from, *to))).collect())
    }

    /// `.[from:to]`: of a list, or of a text's characters.
    pub(super) fn slice(&self, value: &Value, from: Option<i64>, to: Option<i64>) -> Run<Value> {
        self.count(size(value))?;
        Ok(match viewed(value).as_ref() {
            Value::Null => Value::Null,
            Value::List(items) => {
                let (from, to) = bounds(items.len(), from, to);
                Value::List(items.get(from..to).unwrap_or_default().to_vec())
            }
            Value::Text(text) => {
                let (from, to) = bounds(text.chars().count(), from, to);
                Value::Text(text.chars().skip(from).take(to - from).collect())
            }
            other => return Err(format!("{} has no part `[from:to]`", word(other)).into()),
        })
    }

    pub(super) fn calculate(&self, math: Math, left: Value, right: &Value) -> Run<Value> {
        let left = opened(Cow::Owned(left)).into_owned();
        let right = viewed(right);
        self.count(match math {
            Math::Add => size(&right),
            _ => 1,
        })?;
        Ok(match (math, left, right.as_ref()) {
            (Math::Add, Value::Null, right) => right.clone(),
            (Math::Add, left, Value::Null) => left,
            (Math::Add, Value::Text(left), Value::Text(right)) => {
                self.count(left.len() as u64 / 1_024)?;
                Value::Text(left + right)
            }
            (Math::Add, Value::List(mut left), Value::List(right)) => {
                left.extend_from_slice(right);
                Value::List(left)
            }
            (Math::Add, Value::Map(mut left), Value::Map(right)) => {
                self.count(left.len() as u64 * right.len() as u64 / 16)?;
                for (name, value) in right {
                    insert(&mut left, name.clone(), value.clone());
                }
                Value::Map(left)
            }
            (Math::Subtract, Value::List(mut left), Value::List(right)) => {
                self.count(left.len() as u64 * right.iter().map(size).sum::<u64>())?;
                left.retain(|item| !right.iter().any(|gone| compare(item, gone).is_eq()));
                Value::List(left)
            }
            (Math::Divide, Value::Text(left), Value::Text(right)) => self.split(&left, right)?,
            (math, left, right) => {
                let is_number = |value: &Value| matches!(value, Value::Number(_) | Value::Double(_));
                if !is_number(&left) || !is_number(right) {
                    let (verb, left, right) = (math.verb(), word(&left), word(right));
                    return Err(format!("{left} and {right} cannot be {verb}").into());
                }
                Decimal::calculate(math, &left, right)?
            }
        })
    }
}
