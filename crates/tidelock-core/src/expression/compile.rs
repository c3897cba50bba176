//! From jq's terms, as jaq reads them, to terms that can be run.

use super::Comparison;
use super::builtins::{BUILTINS, Builtin};
use super::functions::{ALWAYS, boxed, disguised, integer, path_of, unknown};
use super::number::Math;
use super::read::Wrong;
use super::term::{Assignment, Fold, FoldKind, Part, Pattern, Piece, Term, What};
use crate::json::canonical_text;
use crate::transform::Value;
use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern as Bound, Term as Read};
use jaq_core::{ops, path};

/// Checks what has been read.
///
/// # Errors
/// What is not known, or not to be had.
pub(super) fn compile(read: Read<&str>) -> Result<Term, Wrong<'_>> {
    Compiler { variables: Vec::new() }.term(read)
}

struct Compiler<'t> {
    /// Those that are bound here.
    variables: Vec<&'t str>,
}

type Compiled<'t, T = Term> = Result<T, Wrong<'t>>;

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
