//! Assignments: what a path leads to is put in place of what was there.

use super::number::{Decimal, Math};
use super::run::{Halt, Machine, Run, Scope};
use super::term::{Assignment, Part, Term, What};
use super::value::{GONE, bounds, insert, opened, size, sweep, truth, viewed, word};
use crate::transform::Value;
use std::borrow::Cow;

/// What becomes of a value; [`GONE`] takes it away.
type Change<'c> = &'c mut dyn FnMut(Value) -> Run<Value>;

/// A part of a path whose indices are known.
enum Place {
    Names(Vec<Value>),
    Each,
    Slices(Vec<(Option<i64>, Option<i64>)>),
}

struct Step {
    place: Place,
    optional: bool,
}

impl Term {
    /// Whether what it gives are places in its input, so that it can stand at the left of an assignment.
    pub(super) fn is_path(&self) -> bool {
        match self {
            Self::Identity | Self::Recurse | Self::Empty => true,
            Self::Path(of, _) => of.is_path(),
            Self::Pipe(a, b) | Self::Comma(a, b) | Self::Alternative(a, b) | Self::If(_, a, b) => {
                a.is_path() && b.is_path()
            }
            Self::Bind(_, _, inside) => inside.is_path(),
            _ => false,
        }
    }
}

impl Machine {
    /// Carries out an assignment, or `del`.
    pub(super) fn assign(
        &self,
        term: &Term,
        scope: &Scope<'_>,
        input: Value,
        each: &mut dyn FnMut(Value) -> Run,
    ) -> Run {
        match term {
            Term::Delete(path) => match self.changed(path, scope, input, true, &mut |_| Ok(GONE))? {
                None => each(Value::Null),
                Some(value) => each(value),
            },
            Term::Assign(path, Assignment::Update, update) => {
                let changed = self.changed(path, scope, input, false, &mut |value| {
                    let mut first = None;
                    let ran = self.run_owned(update, scope, value, &mut |value| {
                        first = Some(value);
                        Err(Halt::Enough)
                    });
                    match ran {
                        Err(Halt::Enough) | Ok(()) => Ok(first.unwrap_or(GONE)),
                        Err(halt) => Err(halt),
                    }
                })?;
                changed.map_or(Ok(()), each)
            }
            Term::Assign(path, assignment, operand) => {
                let mut operands = self.all(operand, scope, &input)?;
                let last = operands.pop();
                for operand in operands {
                    let input = self.own(Cow::Borrowed(&input))?;
                    self.assign_one(path, *assignment, scope, input, &operand)?.map_or(Ok(()), &mut *each)?;
                }
                let Some(operand) = last else { return Ok(()) };
                self.assign_one(path, *assignment, scope, input, &operand)?.map_or(Ok(()), each)
            }
            _ => Ok(()),
        }
    }

    fn assign_one(
        &self,
        path: &Term,
        assignment: Assignment,
        scope: &Scope<'_>,
        input: Value,
        operand: &Value,
    ) -> Run<Option<Value>> {
        let own = || self.own(Cow::Borrowed(operand));
        let calculated = |math: Math, value: Value| self.calculate(math, value, operand);
        self.changed(path, scope, input, false, &mut |value| match assignment {
            Assignment::Math(math) => calculated(math, value),
            Assignment::Alternative if truth(&value) => Ok(value),
            _ => own(),
        })
    }

    /// The input with the change made at every place of the path; `None` where the whole of it is gone.
    fn changed(
        &self,
        path: &Term,
        scope: &Scope<'_>,
        input: Value,
        delete: bool,
        change: Change<'_>,
    ) -> Run<Option<Value>> {
        let mut gone = false;
        let mut value = self.update(path, scope, input, delete, &mut |value| {
            let changed = change(value)?;
            gone |= changed == GONE;
            Ok(changed)
        })?;
        if value == GONE {
            return Ok(None);
        }
        if gone {
            self.count(size(&value))?;
            sweep(&mut value);
        }
        Ok(Some(value))
    }

    fn update(&self, path: &Term, scope: &Scope<'_>, value: Value, delete: bool, change: Change<'_>) -> Run<Value> {
        self.count(1)?;
        match path {
            Term::Identity => change(value),
            Term::Recurse => self.update_all(value, change),
            Term::Path(of, parts) => {
                let steps: Vec<Step> = parts.iter().map(|part| self.step(part, scope, &value)).collect::<Run<_>>()?;
                self.update(of, scope, value, delete, &mut |value| self.change_at(&steps, value, delete, change))
            }
            Term::Pipe(first, second) => {
                self.update(first, scope, value, delete, &mut |value| self.update(second, scope, value, delete, change))
            }
            Term::Comma(first, second) => {
                let value = self.update(first, scope, value, delete, change)?;
                self.update(second, scope, value, delete, change)
            }
            Term::Alternative(first, second) => {
                let chosen = if self.all(first, scope, &value)?.iter().any(truth) { first } else { second };
                self.update(chosen, scope, value, delete, change)
            }
            Term::If(condition, then, otherwise) => {
                self.all(condition, scope, &value)?.iter().try_fold(value, |value, held| {
                    self.update(if truth(held) { then } else { otherwise }, scope, value, delete, change)
                })
            }
            Term::Bind(of, pattern, inside) => {
                let bound = self.all(of, scope, &value)?;
                let mut value = value;
                for one in &bound {
                    let before = std::mem::replace(&mut value, Value::Null);
                    let input = self.own(Cow::Borrowed(&before))?;
                    let mut before = Some(before);
                    self.bind(&[(pattern, one)], scope, &input, &mut |scope| {
                        let current = before.take().unwrap_or(Value::Null);
                        before = Some(self.update(inside, scope, current, delete, change)?);
                        Ok(())
                    })?;
                    value = before.unwrap_or(Value::Null);
                }
                Ok(value)
            }
            _ => Ok(value),
        }
    }

    /// Changes all that is inside, then the value itself.
    fn update_all(&self, value: Value, change: Change<'_>) -> Run<Value> {
        self.count(1)?;
        let mut value = opened(Cow::Owned(value)).into_owned();
        let mut inside = |value: &mut Value| -> Run {
            *value = self.update_all(std::mem::replace(value, Value::Null), change)?;
            Ok(())
        };
        match &mut value {
            Value::List(items) => items.iter_mut().try_for_each(&mut inside)?,
            Value::Map(members) => members.iter_mut().try_for_each(|(_, value)| inside(value))?,
            _ => {}
        }
        sweep_here(&mut value);
        change(value)
    }

    fn step(&self, part: &Part, scope: &Scope<'_>, input: &Value) -> Run<Step> {
        let place = match &part.what {
            What::Name(name) => Place::Names(vec![Value::Text(name.clone())]),
            What::Index(index) => Place::Names(self.all(index, scope, input)?),
            What::Each => Place::Each,
            What::Slice(from, to) => Place::Slices(self.slice_bounds(from.as_ref(), to.as_ref(), scope, input)?),
        };
        Ok(Step { place, optional: part.optional })
    }

    fn change_at(&self, steps: &[Step], value: Value, delete: bool, change: Change<'_>) -> Run<Value> {
        match steps.split_first() {
            None => change(value),
            Some((step, rest)) => self.deeper(|| self.change_part(step, rest, value, delete, change)),
        }
    }

    fn change_part(&self, step: &Step, rest: &[Step], value: Value, delete: bool, change: Change<'_>) -> Run<Value> {
        let lenient = step.optional || delete;
        let mut value = opened(Cow::Owned(value)).into_owned();
        match &step.place {
            Place::Each => {
                let mut inside = |value: &mut Value| -> Run {
                    *value = self.change_at(rest, std::mem::replace(value, Value::Null), delete, change)?;
                    Ok(())
                };
                match &mut value {
                    Value::List(items) => items.iter_mut().try_for_each(&mut inside)?,
                    Value::Map(members) => members.iter_mut().try_for_each(|(_, value)| inside(value))?,
                    _ if lenient => {}
                    other => return Err(format!("`[]` needs a list or a map, not {}", word(other)).into()),
                }
            }
            Place::Names(indices) => {
                for index in indices {
                    value = match viewed(index).as_ref() {
                        Value::Text(name) => self.change_member(name, rest, value, lenient, delete, change)?,
                        index => {
                            self.change_element(Decimal::of(index)?.floor_i64(), rest, value, lenient, delete, change)?
                        }
                    };
                }
            }
            Place::Slices(slices) => {
                for (from, to) in slices {
                    value = match value {
                        Value::List(mut items) => {
                            let (from, to) = bounds(items.len(), *from, *to);
                            let part = items.drain(from..to).collect();
                            match self.change_at(rest, Value::List(part), delete, change)? {
                                Value::List(part) => drop(items.splice(from..from, part)),
                                gone if gone == GONE => {}
                                other => return Err(format!("a part of a list cannot be {}", word(&other)).into()),
                            }
                            Value::List(items)
                        }
                        other if lenient => other,
                        other => return Err(format!("{} has no part `[from:to]`", word(&other)).into()),
                    };
                }
            }
        }
        Ok(value)
    }

    fn change_member(
        &self,
        name: &str,
        rest: &[Step],
        value: Value,
        lenient: bool,
        delete: bool,
        change: Change<'_>,
    ) -> Run<Value> {
        let mut members = match value {
            Value::Map(members) => members,
            Value::Null if !delete => Vec::new(),
            other if lenient => return Ok(other),
            other => return Err(format!("{} has no member `{name}`", word(&other)).into()),
        };
        self.count(members.len() as u64 / 16)?;
        match members.iter_mut().find(|(own, _)| own == name) {
            Some((_, place)) => {
                *place = self.change_at(rest, std::mem::replace(place, Value::Null), delete, change)?;
            }
            None if delete => {}
            None => match self.change_at(rest, Value::Null, delete, change)? {
                gone if gone == GONE => {}
                made => insert(&mut members, name.to_owned(), made),
            },
        }
        Ok(Value::Map(members))
    }

    fn change_element(
        &self,
        index: i64,
        rest: &[Step],
        value: Value,
        lenient: bool,
        delete: bool,
        change: Change<'_>,
    ) -> Run<Value> {
        let mut items = match value {
            Value::List(items) => items,
            Value::Null if !delete => Vec::new(),
            other if lenient => return Ok(other),
            other => return Err(format!("{} has no element [{index}]", word(&other)).into()),
        };
        let back = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
        let at = if index < 0 { items.len().checked_sub(back) } else { Some(back) };
        match at {
            Some(at) if at >= items.len() && !delete => {
                // What would have to be made in between counts before it is made.
                self.count((at - items.len()) as u64)?;
                items.resize(at + 1, Value::Null);
            }
            None if !lenient => return Err(format!("the list has no element [{index}]").into()),
            _ => {}
        }
        if let Some(place) = at.and_then(|at| items.get_mut(at)) {
            *place = self.change_at(rest, std::mem::replace(place, Value::Null), delete, change)?;
        }
        Ok(Value::List(items))
    }
}

/// Sweeps out what has been taken away at this level.
fn sweep_here(value: &mut Value) {
    match value {
        Value::List(items) => items.retain(|item| *item != GONE),
        Value::Map(members) => members.retain(|(_, value)| *value != GONE),
        _ => {}
    }
}
