//! From jq's text to terms. The grammar is jaq's; what a term may be is decided here.

use super::Comparison;
use super::builtins::{BUILTINS, Builtin};
use super::number::Math;
use super::term::{Assignment, Fold, FoldKind, Part, Pattern, Piece, Term, What};
use crate::json::canonical_text;
use crate::transform::Value;
use jaq_core::load::lex::{self, Lexer, StrPart, Tok, Token};
use jaq_core::load::parse::{self, BinaryOp, Parser, Pattern as Bound, Term as Read};
use jaq_core::{ops, path};
use std::fmt;

/// Bytes of an expression.
const MAX_LENGTH: usize = 10_000;
/// Brackets within one another. jaq's reader calls itself for each.
const MAX_BRACKETS: usize = 40;
/// Operators and keywords. Each may be one more term within another.
const MAX_OPERATORS: usize = 100;

/// What is wrong, and the text at which it begins.
type Wrong<'t> = (&'t str, String);

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The character at which it begins, from 1.
    pub(crate) place: usize,
    /// What is wrong.
    pub(crate) words: String,
    /// It follows jq's grammar; what it names is not known, or not to be had.
    pub(crate) is_read: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "character {}: {}", self.place, self.words)
    }
}

/// Reads an expression.
///
/// # Errors
/// What is wrong with it.
pub(super) fn compile(text: &str) -> Result<Term, Problem> {
    let problem = |(at, words): Wrong<'_>, is_read| {
        // What is wrong is a part of the text: where it begins is how far its address is from the text's.
        let offset = (at.as_ptr() as usize).checked_sub(text.as_ptr() as usize);
        let place = offset.and_then(|offset| text.get(..offset)).map_or(0, |before| before.chars().count()) + 1;
        Problem { place, words, is_read }
    };
    check_brackets(text).map_err(|wrong| problem(wrong, false))?;
    let tokens = Lexer::new(text).lex().map_err(|problems| problem(unread(text, problems), false))?;
    if operators(&tokens, false) > MAX_OPERATORS {
        return Err(problem((text, format!("more than {MAX_OPERATORS} operators")), false));
    }
    let read = Parser::new(&tokens).parse(Parser::term);
    let read = read.map_err(|problems| problem(unparsed(text, problems), false))?;
    Compiler { variables: Vec::new() }.term(read).map_err(|wrong| problem(wrong, true))
}

/// Refuses what jaq's reader would have to go too deep for.
fn check_brackets(text: &str) -> Result<(), Wrong<'_>> {
    if text.len() > MAX_LENGTH {
        return Err((text, format!("longer than {MAX_LENGTH} bytes")));
    }
    let mut open = Vec::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match (open.last(), character) {
            (Some('"'), '\\') => match characters.next() {
                Some((_, '(')) => open.push('('),
                _ => continue,
            },
            (Some('"'), '"') => drop(open.pop()),
            (Some('"'), _) => {}
            (_, '#') => {
                return Err((
                    text.get(at..).unwrap_or_default(),
                    "comments belong into the file, with YAML's `#`".to_owned(),
                ));
            }
            (_, '"' | '(' | '[' | '{') => open.push(character),
            (_, ')' | ']' | '}') => drop(open.pop()),
            _ => {}
        }
        if open.len() > MAX_BRACKETS {
            let words = format!("more than {MAX_BRACKETS} brackets in one another");
            return Err((text.get(at..).unwrap_or_default(), words));
        }
    }
    Ok(())
}

fn operators(tokens: &[Token<&str>], in_map: bool) -> usize {
    let count = |Token(text, token): &Token<&str>| match token {
        Tok::Sym => usize::from(
            !(text.starts_with('.') || matches!(*text, ":" | ";" | "?" | ")" | "]" | "}") || (in_map && *text == ",")),
        ),
        Tok::Word => usize::from(KEYWORDS.contains(text)),
        Tok::Block(inner) => operators(inner, text.starts_with('{')),
        Tok::Str(parts) => parts
            .iter()
            .map(|part| match part {
                StrPart::Term(token) => operators(std::slice::from_ref(token), false),
                StrPart::Str(_) | StrPart::Char(_) => 0,
            })
            .sum(),
        Tok::Var | Tok::Fmt | Tok::Num => 0,
    };
    tokens.iter().map(count).sum()
}

const KEYWORDS: &[&str] =
    &["if", "then", "elif", "else", "try", "catch", "reduce", "foreach", "as", "and", "or", "def", "label"];

fn unread<'t>(text: &'t str, problems: Vec<lex::Error<&'t str>>) -> Wrong<'t> {
    match problems.into_iter().next() {
        Some((lex::Expect::Delim(open), _)) => (open, format!("`{open}` is not closed")),
        Some((lex::Expect::Token, rest)) => {
            let found = rest.split_whitespace().next().unwrap_or_default();
            let why = match found.chars().next() {
                Some('\'') => "texts stand in double quotes",
                Some(')' | ']' | '}') => "nothing is open that it could close",
                _ => "names with other characters than letters, digits and _ stand in quotes, `.\"name\"`",
            };
            (rest, format!("`{found}` is not expected here: {why}"))
        }
        Some((lex::Expect::Escape | lex::Expect::Unicode, rest)) => {
            (rest, "expected a text with JSON's escapes".to_owned())
        }
        Some((expected, rest)) => (rest, format!("expected a {}", expected.as_str())),
        None => (text, "no expression".to_owned()),
    }
}

fn unparsed<'t>(text: &'t str, problems: Vec<parse::TError<'_, &'t str>>) -> Wrong<'t> {
    let end = text.get(text.len()..).unwrap_or_default();
    let Some((expected, found)) = problems.into_iter().next() else { return (text, "no expression".to_owned()) };
    let expected = match expected {
        parse::Expect::Just(token) if !token.is_empty() => format!("`{token}`"),
        parse::Expect::Just(_) | parse::Expect::Nothing => "an operator, or the end".to_owned(),
        parse::Expect::Term => "a path such as `.name`, a text in double quotes, a number, or a function".to_owned(),
        parse::Expect::Key => "a name".to_owned(),
        parse::Expect::ElseOrEnd => "`elif`, `else` or `end`".to_owned(),
        other => format!("a {}", other.as_str()),
    };
    match found {
        Some(Token(found, _)) => {
            let shown: String = found.chars().take(20).collect();
            (found, format!("expected {expected}, found `{shown}`"))
        }
        None => (end, format!("expected {expected}, found the end")),
    }
}

struct Compiler<'t> {
    /// Those that are bound here.
    variables: Vec<&'t str>,
}

type Compiled<'t, T = Term> = Result<T, Wrong<'t>>;

fn boxed(term: Term) -> Box<Term> {
    Box::new(term)
}

fn each() -> Term {
    path_of(What::Each)
}

fn path_of(what: What) -> Term {
    Term::Path(boxed(Term::Identity), vec![Part { what, optional: false }])
}

fn integer(number: i64) -> Term {
    Term::Constant(Value::Number(number.to_string()))
}

fn text(text: &str) -> Term {
    Term::Constant(Value::Text(text.to_owned()))
}

impl<'t> Compiler<'t> {
    fn boxed(&mut self, term: Read<&'t str>) -> Compiled<'t, Box<Term>> {
        self.term(term).map(Box::new)
    }

    fn term(&mut self, term: Read<&'t str>) -> Compiled<'t> {
        Ok(match term {
            Read::Id => Term::Identity,
            Read::Recurse => Term::Recurse,
            Read::Num(number) => {
                let digits = number.trim_start_matches('0');
                let digits = if digits.starts_with(|c: char| c.is_ascii_digit()) {
                    digits.to_owned()
                } else {
                    format!("0{digits}")
                };
                match canonical_text(digits.as_bytes()) {
                    Some(plain) => Term::Constant(Value::Number(plain.into_owned())),
                    None => return Err((number, format!("`{number}` is no number, or out of range"))),
                }
            }
            Read::Str(format, parts) => {
                let format = match format {
                    None => Builtin::ToString,
                    Some(name) => BUILTINS
                        .iter()
                        .find(|(own, ..)| *own == name)
                        .map(|(_, _, builtin)| *builtin)
                        .ok_or_else(|| (name, unknown(name, 0)))?,
                };
                self.text(format, parts)?
            }
            Read::Arr(None) => Term::Constant(Value::List(Vec::new())),
            Read::Arr(Some(inside)) => Term::List(self.boxed(*inside)?),
            Read::Obj(members) => {
                Term::Map(members.into_iter().map(|member| self.member(member)).collect::<Result<_, _>>()?)
            }
            Read::Neg(inside) => match self.term(*inside)? {
                Term::Constant(Value::Number(number)) if number != "0" && !number.starts_with('-') => {
                    Term::Constant(Value::Number(format!("-{number}")))
                }
                inside => Term::Negated(boxed(inside)),
            },
            Read::BinOp(left, operator, right) => self.binary(*left, operator, *right)?,
            Read::Label(name, _) | Read::Break(name) => {
                return Err((
                    name,
                    "`label` and `break` are not available here: `first(…)` or `limit(n; …)` may do".to_owned(),
                ));
            }
            Read::Fold(kind, of, pattern, arguments) => self.fold(kind, *of, pattern, arguments)?,
            Read::TryCatch(inside, caught) => {
                let inside = self.boxed(*inside)?;
                Term::Try(inside, caught.map(|caught| self.boxed(*caught)).transpose()?)
            }
            Read::IfThenElse(branches, otherwise) => {
                let mut term = match otherwise {
                    Some(otherwise) => self.term(*otherwise)?,
                    None => Term::Identity,
                };
                for (condition, then) in branches.into_iter().rev() {
                    term = Term::If(self.boxed(condition)?, self.boxed(then)?, boxed(term));
                }
                term
            }
            Read::Def(definitions, _) => {
                let name = definitions.first().map_or("", |definition| definition.name);
                return Err((name, "functions of one's own (`def`) are not available here".to_owned()));
            }
            Read::Call(name, arguments) => self.call(name, arguments)?,
            Read::Var(name) => {
                if !self.variables.contains(&name) {
                    let words = match name {
                        "$ENV" | "$__loc__" => format!("`{name}` is not available here: {ALWAYS}"),
                        _ => format!("`{name}` is not known: bind it first, `… as {name} | …`"),
                    };
                    return Err((name, words));
                }
                Term::Variable(name.to_owned())
            }
            Read::Path(of, parts) => {
                let of = self.boxed(*of)?;
                if let (Term::Constant(Value::Number(_)), Some((path::Part::Index(name), _))) =
                    (of.as_ref(), parts.0.first())
                {
                    return Err((
                        start(name),
                        "a number has no fields: is an operator missing before this?".to_owned(),
                    ));
                }
                let parts = parts.0.into_iter().map(|(part, optional)| {
                    let what = match part {
                        path::Part::Index(index) => match self.term(index)? {
                            Term::Constant(Value::Text(name)) => What::Name(name),
                            index => What::Index(index),
                        },
                        path::Part::Range(None, None) => What::Each,
                        path::Part::Range(from, to) => What::Slice(
                            from.map(|from| self.term(from)).transpose()?,
                            to.map(|to| self.term(to)).transpose()?,
                        ),
                    };
                    Ok(Part { what, optional: matches!(optional, path::Opt::Optional) })
                });
                Term::Path(of, parts.collect::<Result<_, _>>()?)
            }
        })
    }

    fn text(&mut self, format: Builtin, parts: Vec<StrPart<&'t str, Read<&'t str>>>) -> Compiled<'t> {
        let mut pieces = Vec::new();
        let mut fixed = String::new();
        for part in parts {
            match part {
                StrPart::Str(text) => fixed.push_str(text),
                StrPart::Char(character) => fixed.push(character),
                StrPart::Term(term) => {
                    if !fixed.is_empty() {
                        pieces.push(Piece::Fixed(std::mem::take(&mut fixed)));
                    }
                    pieces.push(Piece::Term(self.term(term)?));
                }
            }
        }
        if pieces.is_empty() {
            return Ok(Term::Constant(Value::Text(fixed)));
        }
        if !fixed.is_empty() {
            pieces.push(Piece::Fixed(fixed));
        }
        Ok(Term::Text(format, pieces))
    }

    fn member(&mut self, (name, value): (Read<&'t str>, Option<Read<&'t str>>)) -> Compiled<'t, (Term, Term)> {
        if let (Read::Var(variable), None) = (&name, &value) {
            let name = variable.trim_start_matches('$').to_owned();
            let value = self.term(Read::Var(variable))?;
            return Ok((Term::Constant(Value::Text(name)), value));
        }
        let name = self.term(name)?;
        let value = match (value, &name) {
            (Some(value), _) => self.term(value)?,
            (None, Term::Constant(Value::Text(name))) => path_of(What::Name(name.clone())),
            (None, name) => path_of(What::Index(name.clone())),
        };
        Ok((name, value))
    }

    fn binary(&mut self, left: Read<&'t str>, operator: BinaryOp<&'t str>, right: Read<&'t str>) -> Compiled<'t> {
        let at = start(&left);
        let first = self.boxed(left)?;
        if let BinaryOp::Pipe(Some(pattern)) = operator {
            return self.bound(pattern, |compiler, pattern| Ok(Term::Bind(first, pattern, compiler.boxed(right)?)));
        }
        let second = self.boxed(right)?;
        let assigned = |first: Box<Term>, assignment, second| {
            if !first.is_path() {
                let words = "what stands left of an assignment must be a path such as `.a.b`";
                return Err((at, words.to_owned()));
            }
            Ok(Term::Assign(first, assignment, second))
        };
        Ok(match operator {
            BinaryOp::Pipe(_) => Term::Pipe(first, second),
            BinaryOp::Comma => Term::Comma(first, second),
            BinaryOp::Alt => Term::Alternative(first, second),
            BinaryOp::Or => Term::Logic(first, true, second),
            BinaryOp::And => Term::Logic(first, false, second),
            BinaryOp::Math(operator) => Term::Math(first, math(operator), second),
            BinaryOp::Cmp(operator) => Term::Compare(first, comparison(operator), second),
            BinaryOp::Assign => assigned(first, Assignment::Set, second)?,
            BinaryOp::Update => assigned(first, Assignment::Update, second)?,
            BinaryOp::UpdateMath(operator) => assigned(first, Assignment::Math(math(operator)), second)?,
            BinaryOp::UpdateAlt => assigned(first, Assignment::Alternative, second)?,
        })
    }

    /// Binds a pattern's variables for what is inside.
    fn bound<T>(
        &mut self,
        pattern: Bound<&'t str>,
        inside: impl FnOnce(&mut Self, Pattern) -> Compiled<'t, T>,
    ) -> Compiled<'t, T> {
        let before = self.variables.len();
        let pattern = self.pattern(pattern)?;
        let compiled = inside(self, pattern);
        self.variables.truncate(before);
        compiled
    }

    fn pattern(&mut self, pattern: Bound<&'t str>) -> Compiled<'t, Pattern> {
        Ok(match pattern {
            Bound::Var(name) => {
                self.variables.push(name);
                Pattern::Variable(name.to_owned())
            }
            Bound::Arr(patterns) => {
                let numbered = (0..).map(integer).zip(patterns);
                Pattern::Inside(numbered.map(|(index, one)| Ok((index, self.pattern(one)?))).collect::<Result<_, _>>()?)
            }
            Bound::Obj(patterns) => {
                let named = patterns.into_iter().map(|(name, one)| Ok((self.term(name)?, self.pattern(one)?)));
                Pattern::Inside(named.collect::<Result<_, _>>()?)
            }
        })
    }

    fn fold(
        &mut self,
        kind: &'t str,
        of: Read<&'t str>,
        pattern: Bound<&'t str>,
        arguments: Vec<Read<&'t str>>,
    ) -> Compiled<'t> {
        let mut arguments = arguments.into_iter();
        let (start, update, extract) = match (kind, arguments.next(), arguments.next(), arguments.next()) {
            ("reduce", Some(start), Some(update), None) => (start, update, None),
            ("foreach", Some(start), Some(update), extract) => (start, update, Some(extract)),
            _ => {
                return Err((
                    kind,
                    format!(
                        "`{kind}` takes `({})`",
                        if kind == "reduce" { "start; update" } else { "start; update; result" }
                    ),
                ));
            }
        };
        let (of, start) = (self.term(of)?, self.term(start)?);
        self.bound(pattern, |compiler, pattern| {
            let update = compiler.term(update)?;
            let kind = match extract {
                None => FoldKind::Reduce,
                Some(extract) => {
                    FoldKind::Foreach(extract.map_or(Ok(Term::Identity), |extract| compiler.term(extract))?)
                }
            };
            Ok(Term::Fold(Box::new(Fold { of, pattern, start, update, kind })))
        })
    }

    fn call(&mut self, name: &'t str, arguments: Vec<Read<&'t str>>) -> Compiled<'t> {
        let mut terms = arguments.into_iter().map(|argument| self.term(argument)).collect::<Result<Vec<_>, _>>()?;
        let builtin = BUILTINS.iter().find(|(own, arity, _)| *own == name && *arity == terms.len());
        if let Some((_, _, builtin)) = builtin {
            return Ok(Term::Call(*builtin, terms));
        }
        let count = terms.len();
        let (third, second, first) = match count {
            1 => (None, None, terms.pop()),
            2 => (None, terms.pop(), terms.pop()),
            3 => (terms.pop(), terms.pop(), terms.pop()),
            _ => (None, None, None),
        };
        let term = disguised(name, first, second, third).filter(|_| count <= 3);
        let term = term.ok_or_else(|| (name, unknown(name, count)))?;
        match &term {
            Term::Delete(path) if !path.is_path() => Err((name, "`del` takes a path such as `.a.b`".to_owned())),
            _ => Ok(term),
        }
    }
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

fn disguised(name: &str, first: Option<Term>, second: Option<Term>, third: Option<Term>) -> Option<Term> {
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

const ALWAYS: &str = "an item must always give the same document";

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
fn unknown(name: &str, count: usize) -> String {
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

/// Some text near a term's start, for messages.
fn start<'t>(term: &Read<&'t str>) -> &'t str {
    match term {
        Read::Num(text) | Read::Call(text, _) | Read::Var(text) | Read::Fold(text, ..) => text,
        Read::BinOp(left, ..) | Read::Path(left, _) | Read::TryCatch(left, _) | Read::Neg(left) => start(left),
        Read::Str(_, parts) => match parts.first() {
            Some(StrPart::Str(text)) => text,
            _ => "",
        },
        _ => "",
    }
}

fn math(operator: ops::Math) -> Math {
    match operator {
        ops::Math::Add => Math::Add,
        ops::Math::Sub => Math::Subtract,
        ops::Math::Mul => Math::Multiply,
        ops::Math::Div => Math::Divide,
        ops::Math::Rem => Math::Remainder,
    }
}

fn comparison(operator: ops::Cmp) -> Comparison {
    match operator {
        ops::Cmp::Lt => Comparison::Less,
        ops::Cmp::Le => Comparison::LessOrEqual,
        ops::Cmp::Gt => Comparison::Greater,
        ops::Cmp::Ge => Comparison::GreaterOrEqual,
        ops::Cmp::Eq => Comparison::Equal,
        ops::Cmp::Ne => Comparison::NotEqual,
    }
}
