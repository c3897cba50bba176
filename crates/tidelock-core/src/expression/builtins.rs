//! The functions of expressions.

use super::number::{Decimal, Rounding};
use super::run::{Each, Halt, Machine, Run, Scope};
use super::term::Term;
use super::value::{from_json, insert, is_deeper, json, kind, size, text, truth, viewed, word};
use crate::transform::{From, To, Value, convert};
use std::borrow::Cow;
use std::cmp::Ordering;

macro_rules! builtins {
    ($($name:literal $arity:literal $variant:ident;)+) => {
        /// A function that is no other term in disguise.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Builtin {
            $($variant,)+
        }

        /// Their names, with the number of their arguments.
        pub(super) const BUILTINS: &[(&str, usize, Builtin)] = &[$(($name, $arity, Builtin::$variant),)+];
    };
}

builtins! {
    "error" 0 Error;
    "error" 1 ErrorWith;
    "not" 0 Not;
    "length" 0 Length;
    "utf8bytelength" 0 ByteLength;
    "type" 0 Type;
    "keys" 0 Keys;
    "keys_unsorted" 0 KeysUnsorted;
    "has" 1 Has;
    "in" 1 In;
    "contains" 1 Contains;
    "inside" 1 Inside;
    "add" 0 Add;
    "any" 2 Any;
    "all" 2 All;
    "isempty" 1 IsEmpty;
    "first" 1 First;
    "limit" 2 Limit;
    "range" 3 Range;
    "getpath" 1 GetPath;
    "flatten" 1 Flatten;
    "floor" 0 Floor;
    "ceil" 0 Ceil;
    "round" 0 Round;
    "trunc" 0 Trunc;
    "abs" 0 Abs;
    "round" 1 RoundTo;
    "divide" 2 Divide;
    "tostring" 0 ToString;
    "tonumber" 0 ToNumber;
    "toboolean" 0 ToBoolean;
    "tojson" 0 ToJson;
    "fromjson" 0 FromJson;
    "todate" 0 ToDate;
    "fromdate" 0 FromDate;
    "ascii_downcase" 0 Downcase;
    "ascii_upcase" 0 Upcase;
    "ltrimstr" 1 TrimStart;
    "rtrimstr" 1 TrimEnd;
    "trim" 0 Trim;
    "ltrim" 0 TrimLeft;
    "rtrim" 0 TrimRight;
    "startswith" 1 StartsWith;
    "endswith" 1 EndsWith;
    "split" 1 Split;
    "join" 1 Join;
    "explode" 0 Explode;
    "implode" 0 Implode;
    "index" 1 IndexOf;
    "rindex" 1 LastIndexOf;
    "indices" 1 Indices;
    "reverse" 0 Reverse;
    "sort_by" 1 SortBy;
    "group_by" 1 GroupBy;
    "unique_by" 1 UniqueBy;
    "min_by" 1 MinBy;
    "max_by" 1 MaxBy;
    "to_entries" 0 ToEntries;
    "from_entries" 0 FromEntries;
    "@text" 0 AsText;
    "@json" 0 AsJson;
    "@csv" 0 AsCsv;
    "@tsv" 0 AsTsv;
    "@uri" 0 AsUri;
    "@base64" 0 AsBase64;
    "@base64d" 0 FromBase64;
}

fn number(length: usize) -> Value {
    Value::Number(length.to_string())
}

fn no(value: &Value, what: &str) -> Halt {
    format!("{} {what}", word(value)).into()
}

impl Machine {
    pub(super) fn call<'v>(
        &self,
        builtin: Builtin,
        arguments: &[Term],
        scope: &Scope<'_>,
        input: &'v Value,
        each: Each<'_, 'v>,
    ) -> Run {
        let told = |value: Value| Cow::Owned(value);
        match (builtin, arguments) {
            (Builtin::Any | Builtin::All, [of, condition]) => {
                let decides = builtin == Builtin::Any;
                let decided = self.run(of, scope, input, &mut |value| {
                    self.run(condition, scope, &value, &mut |held| {
                        if truth(&held) == decides { Err(Halt::Enough) } else { Ok(()) }
                    })
                });
                match decided {
                    Err(Halt::Enough) => each(told(Value::Boolean(decides))),
                    decided => decided.and_then(|()| each(told(Value::Boolean(!decides)))),
                }
            }
            (Builtin::IsEmpty, [of]) => each(told(Value::Boolean(self.first(of, scope, input)?.is_none()))),
            (Builtin::First, [of]) => self.first(of, scope, input)?.map_or(Ok(()), |value| each(told(value))),
            (Builtin::Limit, [count, of]) => self.run(count, scope, input, &mut |count| {
                let (count, mut found) = (Decimal::of(&viewed(&count))?.floor_i64(), Vec::new());
                let limit = usize::try_from(count).unwrap_or(0);
                let ran = if limit == 0 {
                    Ok(())
                } else {
                    self.run(of, scope, input, &mut |value| {
                        found.push(self.own(value)?);
                        if found.len() < limit { Ok(()) } else { Err(Halt::Enough) }
                    })
                };
                match ran {
                    Err(halt) if halt != Halt::Enough => Err(halt),
                    _ => found.into_iter().try_for_each(|value| each(told(value))),
                }
            }),
            (Builtin::Range, [from, to, by]) => self.run(from, scope, input, &mut |from| {
                self.run(to, scope, input, &mut |to| {
                    self.run(by, scope, input, &mut |by| self.range(&from, &to, &by, each))
                })
            }),
            (Builtin::SortBy | Builtin::GroupBy | Builtin::UniqueBy | Builtin::MinBy | Builtin::MaxBy, [by]) => {
                each(told(self.ordered(builtin, by, scope, input)?))
            }
            (Builtin::Divide, [by, decimals]) => self.run(by, scope, input, &mut |by| {
                self.run(decimals, scope, input, &mut |decimals| {
                    let (by, input) = (viewed(&by), viewed(input));
                    let divided = Decimal::of(&input)?.divide_rounded(Decimal::of(&by)?, places(&decimals)?)?;
                    each(told(divided.like(&[&input, &by])))
                })
            }),
            (builtin, [argument]) => self.run(argument, scope, input, &mut |argument| {
                self.count(1 + size(&argument))?;
                each(told(self.with_one(builtin, input, &argument)?))
            }),
            (builtin, _) => {
                self.count(size(input))?;
                each(told(self.with_none(builtin, input)?))
            }
        }
    }

    fn range<'v>(&self, from: &Value, to: &Value, by: &Value, each: Each<'_, 'v>) -> Run {
        let (mut at, to, by) = (Decimal::of(from)?, Decimal::of(to)?, Decimal::of(by)?);
        let zero = Decimal::integer(0);
        loop {
            let left = to.add(at.negated())?;
            if left == zero || (by != zero && left.is_negative() != by.is_negative()) {
                return Ok(());
            }
            self.count(1)?;
            each(Cow::Owned(at.value()))?;
            at = at.add(by)?;
        }
    }

    /// Those that put a list into an order.
    fn ordered(&self, builtin: Builtin, by: &Term, scope: &Scope<'_>, input: &Value) -> Run<Value> {
        let list = viewed(input);
        let Value::List(items) = list.as_ref() else { return Err(no(input, "is no list")) };
        let mut keyed = Vec::with_capacity(items.len());
        let mut weight = 0;
        for item in items {
            let key = Value::List(self.all(by, scope, item)?);
            weight += size(&key);
            keyed.push((key, self.own(Cow::Borrowed(item))?));
        }
        // So many comparisons, each of two keys.
        self.count(weight.saturating_mul(u64::from(items.len().checked_ilog2().unwrap_or(0)) + 1) / 4)?;
        let compare = |(a, _): &(Value, Value), (b, _): &(Value, Value)| super::value::compare(a, b);
        let found = match builtin {
            Builtin::MinBy => keyed.into_iter().min_by(compare),
            Builtin::MaxBy => keyed.into_iter().max_by(compare),
            _ => {
                keyed.sort_by(compare);
                let values = |group: Vec<(Value, Value)>| group.into_iter().map(|(_, value)| value).collect::<Vec<_>>();
                let mut groups: Vec<Vec<(Value, Value)>> = Vec::new();
                if builtin == Builtin::SortBy {
                    return Ok(Value::List(values(keyed)));
                }
                for one in keyed {
                    match groups.last_mut() {
                        Some(group) if group.first().is_some_and(|first| compare(first, &one) == Ordering::Equal) => {
                            if builtin == Builtin::GroupBy {
                                group.push(one);
                            }
                        }
                        _ => groups.push(vec![one]),
                    }
                }
                return Ok(Value::List(match builtin {
                    Builtin::GroupBy => groups.into_iter().map(|group| Value::List(values(group))).collect(),
                    _ => groups.into_iter().flat_map(values).collect(),
                }));
            }
        };
        Ok(found.map_or(Value::Null, |(_, value)| value))
    }

    /// Functions of the input alone.
    pub(super) fn with_none(&self, builtin: Builtin, input: &Value) -> Run<Value> {
        let value = viewed(input);
        let value = value.as_ref();
        let rounded = |rounding| -> Run<Value> { Ok(Decimal::of(value)?.rounded(0, rounding)?.like(&[value])) };
        Ok(match builtin {
            Builtin::Error => return Err(Halt::Error(value.clone())),
            Builtin::Not => Value::Boolean(!truth(value)),
            Builtin::Length => match value {
                Value::Null => number(0),
                Value::Text(text) => number(text.chars().count()),
                Value::Binary(bytes) => number(bytes.len()),
                Value::List(items) => number(items.len()),
                Value::Map(members) => number(members.len()),
                Value::Number(_) | Value::Double(_) => return self.with_none(Builtin::Abs, value),
                other => return Err(no(other, "has no length")),
            },
            Builtin::Type => Value::Text(kind(value).to_owned()),
            Builtin::Keys | Builtin::KeysUnsorted => match value {
                Value::List(items) => Value::List((0..items.len()).map(number).collect()),
                Value::Map(members) => {
                    let mut names: Vec<_> = members.iter().map(|(name, _)| name.clone()).collect();
                    if builtin == Builtin::Keys {
                        names.sort();
                    }
                    Value::List(names.into_iter().map(Value::Text).collect())
                }
                other => return Err(no(other, "has no keys")),
            },
            Builtin::Add => {
                let mut sum = Value::Null;
                self.children(Cow::Borrowed(value), false, &mut |item| {
                    let before = std::mem::replace(&mut sum, Value::Null);
                    sum = self.calculate(super::number::Math::Add, before, &item)?;
                    Ok(())
                })?;
                sum
            }
            Builtin::Floor => rounded(Rounding::Down)?,
            Builtin::Ceil => rounded(Rounding::Up)?,
            Builtin::Round => rounded(Rounding::Nearest)?,
            Builtin::Trunc => rounded(Rounding::TowardsZero)?,
            Builtin::Abs => match Decimal::of(value)? {
                number if number.is_negative() => number.negated().like(&[value]),
                _ => value.clone(),
            },
            Builtin::ToString | Builtin::AsText => Value::Text(text(value)?),
            Builtin::ToNumber => match value {
                Value::Number(_) | Value::Double(_) => value.clone(),
                value => convert(value, None, To::Number, 0)?,
            },
            Builtin::ToBoolean => match value {
                Value::Boolean(_) | Value::Text(_) => convert(value, None, To::Boolean, 0)?,
                other => return Err(no(other, "is neither true nor false")),
            },
            Builtin::ToJson | Builtin::AsJson => Value::Text(json(value)?),
            Builtin::FromJson => match value {
                Value::Text(text) => from_json(text).ok_or_else(|| Halt::from("the text is not JSON".to_owned()))?,
                other => return Err(no(other, "is not JSON's text")),
            },
            Builtin::ToDate => match value {
                Value::Double(_) | Value::Number(_) => {
                    convert(&Value::Number(Decimal::of(value)?.text()), Some(From::EpochSeconds), To::Date, 0)?
                }
                value => convert(value, None, To::Date, 0)?,
            },
            Builtin::FromDate => convert(value, None, To::EpochSeconds, 0)?,
            Builtin::Reverse => match value {
                Value::Null => Value::List(Vec::new()),
                Value::List(items) => Value::List(items.iter().rev().cloned().collect()),
                Value::Text(text) => Value::Text(text.chars().rev().collect()),
                other => return Err(no(other, "cannot be reversed")),
            },
            Builtin::ToEntries => match value {
                Value::Map(members) => Value::List(
                    members
                        .iter()
                        .map(|(name, value)| {
                            let name = ("key".to_owned(), Value::Text(name.clone()));
                            Value::Map(vec![name, ("value".to_owned(), value.clone())])
                        })
                        .collect(),
                ),
                other => return Err(no(other, "is no map")),
            },
            Builtin::FromEntries => self.made_of_entries(value)?,
            builtin => self.text_of(builtin, value)?,
        })
    }

    fn made_of_entries(&self, value: &Value) -> Run<Value> {
        let mut members = Vec::new();
        self.children(Cow::Borrowed(value), false, &mut |entry| {
            let part = |names: &[&str]| {
                let mut found = names.iter().map(|name| super::value::member(Cow::Borrowed(entry.as_ref()), name));
                found.find(|value| **value != Value::Null).map_or(Value::Null, Cow::into_owned)
            };
            let name = match viewed(&part(&["key", "k", "name", "Name", "Key", "K"])).into_owned() {
                Value::Null => "null".to_owned(),
                name @ (Value::Text(_) | Value::Boolean(_) | Value::Number(_) | Value::Double(_)) => text(&name)?,
                other => return Err(no(&other, "cannot be a name in a map")),
            };
            self.count(members.len() as u64 / 16)?;
            insert(&mut members, name, part(&["value", "v", "Value", "V"]));
            Ok(())
        })?;
        Ok(Value::Map(members))
    }

    /// Functions of the input and one argument.
    fn with_one(&self, builtin: Builtin, input: &Value, argument: &Value) -> Run<Value> {
        let (value, argument) = (viewed(input), viewed(argument));
        Ok(match (builtin, value.as_ref(), argument.as_ref()) {
            (Builtin::ErrorWith, _, argument) => return Err(Halt::Error(argument.clone())),
            (Builtin::Has, value, key) => self.has(value, key)?,
            (Builtin::In, key, value) => self.has(value, key)?,
            (Builtin::Contains, value, part) | (Builtin::Inside, part, value) => {
                Value::Boolean(self.contains(value, part)?)
            }
            (Builtin::GetPath, value, Value::List(path)) => {
                let mut found = Cow::Borrowed(value);
                for index in path {
                    found = self.index(found, index)?;
                }
                self.own(found)?
            }
            (Builtin::Flatten, Value::List(items), levels) => {
                let levels = Decimal::of(levels)?.floor_i64();
                let mut flat = Vec::new();
                self.flatten(items, levels, &mut flat)?;
                Value::List(flat)
            }
            (Builtin::RoundTo, value, decimals) => {
                Decimal::of(value)?.rounded(places(decimals)?, Rounding::Nearest)?.like(&[value])
            }
            (builtin, value, argument) => self.text_with(builtin, value, argument)?,
        })
    }

    fn has(&self, value: &Value, key: &Value) -> Run<Value> {
        Ok(Value::Boolean(match (value, key) {
            (Value::Map(members), Value::Text(name)) => {
                self.count(members.len() as u64 / 16)?;
                members.iter().any(|(own, _)| own == name)
            }
            (Value::List(items), index @ (Value::Number(_) | Value::Double(_))) => {
                usize::try_from(Decimal::of(index)?.floor_i64()).is_ok_and(|index| index < items.len())
            }
            (value, key) => return Err(format!("{} cannot have {} as a key", word(value), word(key)).into()),
        }))
    }

    fn contains(&self, value: &Value, part: &Value) -> Run<bool> {
        self.count(1)?;
        let (value, part) = (viewed(value), viewed(part));
        Ok(match (value.as_ref(), part.as_ref()) {
            (Value::Text(text), Value::Text(part)) => {
                self.count(text.len() as u64 / 64)?;
                text.contains(part.as_str())
            }
            (Value::List(items), Value::List(parts)) => {
                for part in parts {
                    let mut found = false;
                    for item in items {
                        found = found || self.same_kind(item, part) && self.contains(item, part)?;
                    }
                    if !found {
                        return Ok(false);
                    }
                }
                true
            }
            (Value::Map(members), Value::Map(parts)) => {
                for (name, part) in parts {
                    self.count(members.len() as u64 / 16)?;
                    match members.iter().find(|(own, _)| own == name) {
                        Some((_, value)) if self.same_kind(value, part) && self.contains(value, part)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            (value, part) if kind(value) == kind(part) => self.compare(value, part)?.is_eq(),
            (value, part) => {
                return Err(format!("{} and {} cannot contain one another", word(value), word(part)).into());
            }
        })
    }

    fn same_kind(&self, a: &Value, b: &Value) -> bool {
        kind(a) == kind(b)
    }

    fn flatten(&self, items: &[Value], levels: i64, flat: &mut Vec<Value>) -> Run {
        for item in items {
            match viewed(item).as_ref() {
                Value::List(inner) if levels > 0 => self.flatten(inner, levels - 1, flat)?,
                _ => flat.push(self.own(Cow::Borrowed(item))?),
            }
        }
        Ok(())
    }
}

/// How many decimals an argument asks for.
fn places(value: &Value) -> Result<u32, String> {
    let places = Decimal::of(&viewed(value))?;
    match u32::try_from(places.floor_i64()) {
        Ok(places) if places <= 34 => Ok(places),
        _ => Err("decimals are a number of 0 to 34".to_owned()),
    }
}

/// Whether a result can be put into a document: no deeper than any item is.
pub(super) fn is_too_deep(value: &Value) -> bool {
    is_deeper(value, 100, &mut 0)
}
