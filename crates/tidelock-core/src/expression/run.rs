//! Running an expression: every result is told to a function as it is found.
//!
//! What runs is bounded by construction: each term, each value that is copied and each text that is made is counted, and a run
//! that has counted too much ends. Such an end is not an error that `try` could catch.

use super::number::Decimal;
use super::term::{Fold, FoldKind, Pattern, Piece, Term};
use super::value::{compare, is_deeper, opened, size, truth, word};
use crate::transform::Value;
use std::borrow::Cow;
use std::cell::Cell;

/// What a run may count: some 50 ms, and some 64 MB of text.
pub(super) const MAX_WORK: u64 = 1_000_000;
/// Terms within one another.
const MAX_DEPTH: u32 = 300;
/// Levels of lists and maps that a `reduce` may build.
const MAX_LEVELS: usize = 100;
/// How many times a `reduce` goes on before its levels are counted again.
const LEVELS_EVERY: u32 = 16;

/// Why a run does not go on.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Halt {
    /// `try` catches it.
    Error(Value),
    /// Nothing catches it.
    Bound(&'static str),
    /// Whoever wanted results has enough of them, or knows why not.
    Enough,
}

impl From<String> for Halt {
    fn from(words: String) -> Self {
        Self::Error(Value::Text(words))
    }
}

pub(super) type Run<T = ()> = Result<T, Halt>;

/// What is told of each result.
pub(super) type Each<'c, 'v> = &'c mut dyn FnMut(Cow<'v, Value>) -> Run;

/// Variables, the innermost first.
#[derive(Clone, Copy)]
pub(super) struct Scope<'s> {
    bound: Option<(&'s str, &'s Value)>,
    outer: Option<&'s Self>,
}

impl<'s> Scope<'s> {
    pub(super) const EMPTY: Self = Self { bound: None, outer: None };

    fn with(&'s self, name: &'s str, value: &'s Value) -> Self {
        Self { bound: Some((name, value)), outer: Some(self) }
    }

    fn get(&self, name: &str) -> Option<&'s Value> {
        let mut scope = Some(self);
        while let Some(Self { bound, outer }) = scope {
            match bound {
                Some((own, value)) if *own == name => return Some(value),
                _ => scope = *outer,
            }
        }
        None
    }
}

/// What a run has counted.
pub(super) struct Machine {
    work: Cell<u64>,
    depth: Cell<u32>,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self { work: Cell::new(0), depth: Cell::new(0) }
    }

    /// Counts work before it is done.
    pub(super) fn count(&self, work: u64) -> Run {
        let done = self.work.get().saturating_add(work);
        self.work.set(done);
        if done > MAX_WORK {
            Err(Halt::Bound("the expression takes too many steps, or makes too much of the item"))
        } else {
            Ok(())
        }
    }

    /// A value of one's own.
    pub(super) fn own(&self, value: Cow<'_, Value>) -> Run<Value> {
        if let Cow::Borrowed(value) = &value {
            self.count(size(value))?;
        }
        Ok(value.into_owned())
    }

    /// Compares, and counts it.
    pub(super) fn compare(&self, a: &Value, b: &Value) -> Run<std::cmp::Ordering> {
        if !matches!((a, b), (Value::Number(_) | Value::Boolean(_) | Value::Null, _)) {
            self.count(size(a).min(size(b)))?;
        }
        Ok(compare(a, b))
    }

    /// Goes one level deeper.
    pub(super) fn deeper<T>(&self, inside: impl FnOnce() -> Run<T>) -> Run<T> {
        self.count(1)?;
        let depth = self.depth.get();
        if depth > MAX_DEPTH {
            return Err(Halt::Bound("the expression goes too deep"));
        }
        self.depth.set(depth + 1);
        let done = inside();
        self.depth.set(depth);
        done
    }

    /// Tells `each` of every result of a term.
    pub(super) fn run<'v>(&self, term: &Term, scope: &Scope<'_>, input: &'v Value, each: Each<'_, 'v>) -> Run {
        self.deeper(|| self.run_term(term, scope, input, each))
    }

    fn run_term<'v>(&self, term: &Term, scope: &Scope<'_>, input: &'v Value, each: Each<'_, 'v>) -> Run {
        match term {
            Term::Identity => each(Cow::Borrowed(input)),
            Term::Empty => Ok(()),
            Term::Constant(value) => each(Cow::Owned(self.own(Cow::Borrowed(value))?)),
            Term::Variable(name) => match scope.get(name) {
                Some(value) => each(Cow::Owned(self.own(Cow::Borrowed(value))?)),
                None => Err(format!("${name} is not known").into()),
            },
            Term::Recurse => self.recurse(Cow::Borrowed(input), each),
            Term::List(inside) => {
                let mut items = Vec::new();
                self.run(inside, scope, input, &mut |value| {
                    items.push(self.own(value)?);
                    Ok(())
                })?;
                each(Cow::Owned(Value::List(items)))
            }
            Term::Map(members) => self.map(members, scope, input, Vec::new(), each),
            Term::Text(format, pieces) => self.text(*format, pieces, scope, input, String::new(), each),
            Term::Negated(inside) => self.run(inside, scope, input, &mut |value| {
                let value = opened(value);
                each(Cow::Owned(Decimal::of(&value)?.negated().like(&[&value])))
            }),
            Term::Pipe(first, second) => self.run(first, scope, input, &mut |value| match value {
                Cow::Borrowed(value) => self.run(second, scope, value, each),
                Cow::Owned(value) => self.run_owned(second, scope, value, &mut |value| each(Cow::Owned(value))),
            }),
            Term::Bind(of, pattern, inside) => self.run(of, scope, input, &mut |value| {
                self.bind(&[(pattern, &value)], scope, input, &mut |scope| self.run(inside, scope, input, each))
            }),
            Term::Comma(first, second) => {
                self.run(first, scope, input, each)?;
                self.run(second, scope, input, each)
            }
            Term::Alternative(first, second) => self.alternative(first, second, scope, input, each),
            Term::Logic(first, decides, second) => self.run(first, scope, input, &mut |value| {
                if truth(&value) == *decides {
                    return each(Cow::Owned(Value::Boolean(*decides)));
                }
                self.run(second, scope, input, &mut |value| each(Cow::Owned(Value::Boolean(truth(&value)))))
            }),
            // As in jq, the second operand is the outer loop.
            Term::Math(first, math, second) => self.operands(first, second, scope, input, &mut |left, right| {
                each(Cow::Owned(self.calculate(*math, self.own(left)?, right)?))
            }),
            Term::Compare(first, comparison, second) => {
                self.operands(first, second, scope, input, &mut |left, right| {
                    each(Cow::Owned(Value::Boolean(comparison.holds(self.compare(&left, right)?))))
                })
            }
            Term::Assign(..) | Term::Delete(_) => {
                let input = self.own(Cow::Borrowed(input))?;
                self.assign(term, scope, input, &mut |value| each(Cow::Owned(value)))
            }
            Term::If(condition, then, otherwise) => self.run(condition, scope, input, &mut |value| {
                self.run(if truth(&value) { then } else { otherwise }, scope, input, each)
            }),
            Term::Try(inside, caught) => self.attempt(inside, caught.as_deref(), scope, input, each),
            Term::Fold(fold) => self.fold(fold, scope, input, each),
            Term::Path(of, parts) => {
                // A variable's value is copied no further than the path needs.
                if let Term::Variable(name) = of.as_ref()
                    && let Some(value) = scope.get(name)
                {
                    let mut own = |value: Cow<'_, Value>| each(Cow::Owned(self.own(value)?));
                    return self.walk(parts, scope, input, Cow::Borrowed(value), &mut own);
                }
                self.run(of, scope, input, &mut |value| self.walk(parts, scope, input, value, each))
            }
            Term::Call(builtin, arguments) => self.call(*builtin, arguments, scope, input, each),
        }
    }

    /// As [`Machine::run`], of a value that nobody else needs.
    pub(super) fn run_owned(
        &self,
        term: &Term,
        scope: &Scope<'_>,
        input: Value,
        each: &mut dyn FnMut(Value) -> Run,
    ) -> Run {
        match term {
            Term::Identity => each(input),
            Term::Assign(..) | Term::Delete(_) => self.assign(term, scope, input, each),
            Term::Math(first, math, second) if **first == Term::Identity => {
                let mut operands = Vec::new();
                self.run(second, scope, &input, &mut |value| {
                    operands.push(self.own(value)?);
                    Ok(())
                })?;
                let last = operands.pop();
                for operand in &operands {
                    each(self.calculate(*math, self.own(Cow::Borrowed(&input))?, operand)?)?;
                }
                last.map_or(Ok(()), |operand| each(self.calculate(*math, input, &operand)?))
            }
            Term::Pipe(first, second) => {
                self.run_owned(first, scope, input, &mut |value| self.run_owned(second, scope, value, each))
            }
            term => self.run(term, scope, &input, &mut |value| each(self.own(value)?)),
        }
    }

    /// The first result of a term.
    pub(super) fn first(&self, term: &Term, scope: &Scope<'_>, input: &Value) -> Run<Option<Value>> {
        let mut first = None;
        let ran = self.run(term, scope, input, &mut |value| {
            first = Some(self.own(value)?);
            Err(Halt::Enough)
        });
        match ran {
            Err(Halt::Enough) | Ok(()) => Ok(first),
            Err(halt) => Err(halt),
        }
    }

    /// All results of a term.
    pub(super) fn all(&self, term: &Term, scope: &Scope<'_>, input: &Value) -> Run<Vec<Value>> {
        let mut all = Vec::new();
        self.run(term, scope, input, &mut |value| {
            all.push(self.own(value)?);
            Ok(())
        })?;
        Ok(all)
    }

    /// Tells of each pair of operands.
    fn operands<'v>(
        &self,
        first: &Term,
        second: &Term,
        scope: &Scope<'_>,
        input: &'v Value,
        each: &mut dyn FnMut(Cow<'v, Value>, &Value) -> Run,
    ) -> Run {
        match second {
            Term::Constant(right) => self.run(first, scope, input, &mut |left| each(left, right)),
            second => self
                .run(second, scope, input, &mut |right| self.run(first, scope, input, &mut |left| each(left, &right))),
        }
    }

    /// Tells of the value and of all within it.
    fn recurse<'v>(&self, value: Cow<'v, Value>, each: Each<'_, 'v>) -> Run {
        self.count(1)?;
        match opened(value) {
            Cow::Borrowed(value) => {
                each(Cow::Borrowed(value))?;
                match value {
                    Value::List(items) => items.iter().try_for_each(|item| self.recurse(Cow::Borrowed(item), each)),
                    Value::Map(members) => {
                        members.iter().try_for_each(|(_, value)| self.recurse(Cow::Borrowed(value), each))
                    }
                    _ => Ok(()),
                }
            }
            Cow::Owned(value) => {
                each(Cow::Owned(self.own(Cow::Borrowed(&value))?))?;
                match value {
                    Value::List(items) => items.into_iter().try_for_each(|item| self.recurse(Cow::Owned(item), each)),
                    Value::Map(members) => {
                        members.into_iter().try_for_each(|(_, value)| self.recurse(Cow::Owned(value), each))
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    fn map<'v>(
        &self,
        members: &[(Term, Term)],
        scope: &Scope<'_>,
        input: &Value,
        made: Vec<(String, Value)>,
        each: Each<'_, 'v>,
    ) -> Run {
        let Some(((name, value), rest)) = members.split_first() else {
            return each(Cow::Owned(Value::Map(made)));
        };
        self.run(name, scope, input, &mut |name| {
            let name = match opened(name).into_owned() {
                Value::Text(name) => name,
                other => return Err(format!("{} cannot be a name in a map", word(&other)).into()),
            };
            self.run(value, scope, input, &mut |value| {
                self.count(made.len() as u64 / 16)?;
                let mut made = made.clone();
                super::value::insert(&mut made, name.clone(), self.own(value)?);
                self.map(rest, scope, input, made, each)
            })
        })
    }

    fn text<'v>(
        &self,
        format: super::builtins::Builtin,
        pieces: &[Piece],
        scope: &Scope<'_>,
        input: &Value,
        made: String,
        each: Each<'_, 'v>,
    ) -> Run {
        match pieces.split_first() {
            None => each(Cow::Owned(Value::Text(made))),
            Some((Piece::Fixed(fixed), rest)) => self.text(format, rest, scope, input, made + fixed, each),
            Some((Piece::Term(term), rest)) => self.run(term, scope, input, &mut |value| {
                let text = self.formatted(format, &value)?;
                self.count((made.len() + text.len()) as u64 / 64)?;
                self.text(format, rest, scope, input, format!("{made}{text}"), each)
            }),
        }
    }

    /// Binds what patterns name, and runs what is inside.
    pub(super) fn bind(
        &self,
        patterns: &[(&Pattern, &Value)],
        scope: &Scope<'_>,
        input: &Value,
        inside: &mut dyn FnMut(&Scope<'_>) -> Run,
    ) -> Run {
        let Some(((pattern, value), rest)) = patterns.split_first() else { return inside(scope) };
        match pattern {
            Pattern::Variable(name) => self.bind(rest, &scope.with(name, value), input, inside),
            Pattern::Inside(parts) => self.bind_parts(parts, value, rest, scope, input, inside),
        }
    }

    fn bind_parts(
        &self,
        parts: &[(Term, Pattern)],
        value: &Value,
        rest: &[(&Pattern, &Value)],
        scope: &Scope<'_>,
        input: &Value,
        inside: &mut dyn FnMut(&Scope<'_>) -> Run,
    ) -> Run {
        let Some(((index, pattern), parts)) = parts.split_first() else { return self.bind(rest, scope, input, inside) };
        self.run(index, scope, input, &mut |index| {
            let found = self.own(self.index(Cow::Borrowed(value), &index)?)?;
            self.bind(&[(pattern, &found)], scope, input, &mut |scope| {
                self.bind_parts(parts, value, rest, scope, input, inside)
            })
        })
    }

    fn alternative<'v>(
        &self,
        first: &Term,
        second: &Term,
        scope: &Scope<'_>,
        input: &'v Value,
        each: Each<'_, 'v>,
    ) -> Run {
        let mut any = false;
        self.run(first, scope, input, &mut |value| {
            if !truth(&value) {
                return Ok(());
            }
            any = true;
            each(value)
        })?;
        if any { Ok(()) } else { self.run(second, scope, input, each) }
    }

    /// `try`: catches what goes wrong inside, not what goes wrong with the results elsewhere.
    fn attempt<'v>(
        &self,
        inside: &Term,
        caught: Option<&Term>,
        scope: &Scope<'_>,
        input: &'v Value,
        each: Each<'_, 'v>,
    ) -> Run {
        let mut outer = None;
        let ran = self.run(inside, scope, input, &mut |value| {
            each(value).map_err(|halt| {
                outer = Some(halt);
                Halt::Enough
            })
        });
        match (outer, ran, caught) {
            (Some(halt), ..) => Err(halt),
            (None, Err(Halt::Error(_)), None) => Ok(()),
            (None, Err(Halt::Error(error)), Some(caught)) => {
                self.run_owned(caught, scope, error, &mut |value| each(Cow::Owned(value)))
            }
            (None, ran, _) => ran,
        }
    }

    /// As in jq, what goes on is the update's last result; where there is none, null is what remains.
    fn fold<'v>(&self, fold: &Fold, scope: &Scope<'_>, input: &'v Value, each: Each<'_, 'v>) -> Run {
        for start in self.all(&fold.start, scope, input)? {
            let (mut state, mut times) = (Some(start), 0);
            self.run(&fold.of, scope, input, &mut |value| {
                self.bind(&[(&fold.pattern, &value)], scope, input, &mut |scope| {
                    let Some(own) = state.take() else { return Ok(()) };
                    let mut next = None;
                    self.run_owned(&fold.update, scope, own, &mut |value| {
                        times += 1;
                        if times % LEVELS_EVERY == 0 {
                            self.check_levels(&value)?;
                        }
                        if let FoldKind::Foreach(extract) = &fold.kind {
                            self.run(extract, scope, &value, &mut |value| each(Cow::Owned(self.own(value)?)))?;
                        }
                        next = Some(value);
                        Ok(())
                    })?;
                    state = next;
                    Ok(())
                })
            })?;
            if fold.kind == FoldKind::Reduce {
                each(Cow::Owned(state.unwrap_or(Value::Null)))?;
            }
        }
        Ok(())
    }

    fn check_levels(&self, value: &Value) -> Run {
        let mut visited = 0;
        let deeper = is_deeper(value, MAX_LEVELS, &mut visited);
        self.count(visited / 64)?;
        if deeper { Err(Halt::Bound("the expression nests too many lists and maps")) } else { Ok(()) }
    }
}
