//! Functions that are other terms, and those that there are not.

use super::Comparison;
use super::builtins::{BUILTINS, Builtin};
use super::number::Math;
use super::term::{Assignment, Part, Pattern, Term, What};
use crate::transform::Value;

pub(super) fn boxed(term: Term) -> Box<Term> {
    Box::new(term)
}

fn each() -> Term {
    path_of(What::Each)
}

pub(super) fn path_of(what: What) -> Term {
    Term::Path(boxed(Term::Identity), vec![Part { what, optional: false }])
}

pub(super) fn integer(number: i64) -> Term {
    Term::Constant(Value::Number(number.to_string()))
}

fn text(text: &str) -> Term {
    Term::Constant(Value::Text(text.to_owned()))
}

/// Functions that are other terms, as jq's manual defines them.
const DISGUISED: &[(&str, usize)] = &[
    ("null", 0),
    ("true", 0),
    ("false", 0),
    ("empty", 0),
    ("recurse", 0),
    ("add", 1),
    ("map", 1),
    ("map_values", 1),
    ("select", 1),
    ("values", 0),
    ("nulls", 0),
    ("booleans", 0),
    ("numbers", 0),
    ("strings", 0),
    ("arrays", 0),
    ("objects", 0),
    ("iterables", 0),
    ("scalars", 0),
    ("any", 0),
    ("any", 1),
    ("all", 0),
    ("all", 1),
    ("first", 0),
    ("last", 0),
    ("last", 1),
    ("nth", 1),
    ("nth", 2),
    ("range", 1),
    ("range", 2),
    ("flatten", 0),
    ("sort", 0),
    ("unique", 0),
    ("min", 0),
    ("max", 0),
    ("with_entries", 1),
    ("walk", 1),
    ("del", 1),
];

pub(super) fn disguised(name: &str, first: Option<Term>, second: Option<Term>, third: Option<Term>) -> Option<Term> {
    let pipe = |a: Term, b: Term| Term::Pipe(boxed(a), boxed(b));
    let select = |condition: Term| Term::If(boxed(condition), boxed(Term::Identity), boxed(Term::Empty));
    let map = |f: Term| Term::List(boxed(Term::Pipe(boxed(each()), boxed(f))));
    let kind =
        |name: &str| Term::Compare(boxed(Term::Call(Builtin::Type, vec![])), Comparison::Equal, boxed(text(name)));
    let call = Term::Call;
    let constant = |value: Value| Some(Term::Constant(value));
    let identity = || Term::Identity;
    Some(match (name, first, second, third) {
        ("null", None, ..) => return constant(Value::Null),
        ("true", None, ..) => return constant(Value::Boolean(true)),
        ("false", None, ..) => return constant(Value::Boolean(false)),
        ("empty", None, ..) => Term::Empty,
        ("recurse", None, ..) => Term::Recurse,
        ("add", Some(f), None, _) => pipe(Term::List(boxed(f)), call(Builtin::Add, vec![])),
        ("map", Some(f), None, _) => map(f),
        ("map_values", Some(f), None, _) => Term::Assign(boxed(each()), Assignment::Update, boxed(f)),
        ("walk", Some(f), None, _) => Term::Assign(boxed(Term::Recurse), Assignment::Update, boxed(f)),
        ("select", Some(condition), None, _) => select(condition),
        ("values", None, ..) => {
            select(Term::Compare(boxed(identity()), Comparison::NotEqual, boxed(Term::Constant(Value::Null))))
        }
        ("nulls", None, ..) => select(kind("null")),
        ("booleans", None, ..) => select(kind("boolean")),
        ("numbers", None, ..) => select(kind("number")),
        ("strings", None, ..) => select(kind("string")),
        ("arrays", None, ..) => select(kind("array")),
        ("objects", None, ..) => select(kind("object")),
        ("iterables", None, ..) => select(Term::Logic(boxed(kind("array")), true, boxed(kind("object")))),
        ("scalars", None, ..) => {
            let iterable = Term::Logic(boxed(kind("array")), true, boxed(kind("object")));
            Term::If(boxed(iterable), boxed(Term::Empty), boxed(identity()))
        }
        ("any", None, ..) => call(Builtin::Any, vec![each(), identity()]),
        ("any", Some(f), None, _) => call(Builtin::Any, vec![each(), f]),
        ("all", None, ..) => call(Builtin::All, vec![each(), identity()]),
        ("all", Some(f), None, _) => call(Builtin::All, vec![each(), f]),
        ("first", None, ..) => path_of(What::Index(integer(0))),
        ("last", None, ..) => path_of(What::Index(integer(-1))),
        // What there is of it is kept in a list of one.
        ("last", Some(f), None, _) => pipe(
            Term::List(boxed(f)),
            Term::Path(
                boxed(Term::Identity),
                vec![
                    Part { what: What::Slice(Some(integer(-1)), None), optional: false },
                    Part { what: What::Each, optional: false },
                ],
            ),
        ),
        ("nth", Some(n), None, _) => path_of(What::Index(n)),
        ("nth", Some(n), Some(f), None) => {
            let count = Term::Math(boxed(n.clone()), Math::Add, boxed(integer(1)));
            let found = Term::List(boxed(call(Builtin::Limit, vec![count, f])));
            let slice = Part { what: What::Slice(Some(Term::Variable("n".to_owned())), None), optional: false };
            let rest = Term::Path(boxed(Term::Identity), vec![slice, Part { what: What::Each, optional: false }]);
            Term::Bind(boxed(n), Pattern::Variable("n".to_owned()), boxed(pipe(found, rest)))
        }
        ("range", Some(to), None, _) => call(Builtin::Range, vec![integer(0), to, integer(1)]),
        ("range", Some(from), Some(to), None) => call(Builtin::Range, vec![from, to, integer(1)]),
        ("flatten", None, ..) => call(Builtin::Flatten, vec![integer(1_000)]),
        ("sort", None, ..) => call(Builtin::SortBy, vec![identity()]),
        ("unique", None, ..) => call(Builtin::UniqueBy, vec![identity()]),
        ("min", None, ..) => call(Builtin::MinBy, vec![identity()]),
        ("max", None, ..) => call(Builtin::MaxBy, vec![identity()]),
        ("with_entries", Some(f), None, _) => {
            pipe(pipe(call(Builtin::ToEntries, vec![]), map(f)), call(Builtin::FromEntries, vec![]))
        }
        ("del", Some(path), None, _) => Term::Delete(boxed(path)),
        _ => return None,
    })
}

pub(super) const ALWAYS: &str = "an item must always give the same document";

/// Functions of jq that are left out, and why.
const LEFT_OUT: &[(&[&str], &str)] = &[
    (
        &[
            "now",
            "localtime",
            "mktime",
            "gmtime",
            "strftime",
            "strptime",
            "strflocaltime",
            "env",
            "input",
            "inputs",
            "debug",
            "stderr",
            "input_filename",
            "input_line_number",
            "halt",
            "halt_error",
        ],
        ALWAYS,
    ),
    (
        &["test", "match", "capture", "scan", "splits", "sub", "gsub"],
        "there are no regular expressions; `split`, `join`, `startswith`, `index` may do",
    ),
    (&["while", "until", "repeat"], "nothing may go on without an end; `reduce`, `foreach` and `range` may do"),
    (
        &["path", "paths", "pick", "setpath", "delpaths", "leaf_paths", "tostream", "fromstream"],
        "assignments (`.a.b = …`) and `del` may do",
    ),
    (
        &[
            "sqrt",
            "pow",
            "log",
            "log2",
            "log10",
            "exp",
            "exp2",
            "exp10",
            "sin",
            "cos",
            "tan",
            "infinite",
            "nan",
            "isnan",
            "isinfinite",
            "isnormal",
        ],
        "numbers are exact",
    ),
];

/// What is wrong with a function's name, or the number of its arguments.
pub(super) fn unknown(name: &str, count: usize) -> String {
    let known = || BUILTINS.iter().map(|(name, arity, _)| (*name, *arity)).chain(DISGUISED.iter().copied());
    let arities: Vec<String> = known().filter(|(own, _)| *own == name).map(|(_, arity)| arity.to_string()).collect();
    if !arities.is_empty() {
        let plural = if arities == ["1"] { "" } else { "s" };
        return format!("`{name}` takes {} argument{plural}, not {count}", arities.join(" or "));
    }
    if let Some((_, why)) = LEFT_OUT.iter().find(|(names, _)| names.contains(&name)) {
        return format!("`{name}` is not available here: {why}");
    }
    let near = known().map(|(own, _)| (distance(own, name), own)).min();
    match near {
        Some((distance, near)) if distance <= 2 && distance < name.len() => {
            format!("there is no function `{name}`: is `{near}` meant, or the field `.{name}`?")
        }
        _ => format!("there is no function `{name}`: a field is written `.{name}`, a text \"{name}\""),
    }
}

/// How many letters differ (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        for (place, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let above = *place;
            left = (above + 1).min(left + 1).min(corner + usize::from(x != y));
            corner = above;
            *place = left;
        }
    }
    if b.is_empty() { a.len() } else { row.last().copied().unwrap_or(a.len()) }
}
