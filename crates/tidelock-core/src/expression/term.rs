//! What an expression is made of, once it is read and checked.

use super::Comparison;
use super::builtins::Builtin;
use super::number::Math;
use crate::transform::Value;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Term {
    /// `.`
    Identity,
    /// `..`
    Recurse,
    /// `empty`
    Empty,
    Constant(Value),
    /// `$x`
    Variable(String),
    /// `[…]`
    List(Box<Self>),
    /// `{…}`
    Map(Vec<(Self, Self)>),
    /// `"…\(…)…"`: texts, and what is put between them in a format.
    Text(Builtin, Vec<Piece>),
    Negated(Box<Self>),
    /// `a | b`
    Pipe(Box<Self>, Box<Self>),
    /// `a as $x | b`
    Bind(Box<Self>, Pattern, Box<Self>),
    Comma(Box<Self>, Box<Self>),
    /// `a // b`
    Alternative(Box<Self>, Box<Self>),
    /// `and`; with `true`, `or`: what the first says when it alone decides.
    Logic(Box<Self>, bool, Box<Self>),
    Math(Box<Self>, Math, Box<Self>),
    Compare(Box<Self>, Comparison, Box<Self>),
    Assign(Box<Self>, Assignment, Box<Self>),
    /// `del(path)`
    Delete(Box<Self>),
    If(Box<Self>, Box<Self>, Box<Self>),
    /// `try a catch b`
    Try(Box<Self>, Option<Box<Self>>),
    Fold(Box<Fold>),
    Path(Box<Self>, Vec<Part>),
    Call(Builtin, Vec<Self>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Fixed(String),
    Term(Term),
}

/// `reduce` and `foreach`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fold {
    pub(super) of: Term,
    pub(super) pattern: Pattern,
    pub(super) start: Term,
    pub(super) update: Term,
    pub(super) kind: FoldKind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum FoldKind {
    Reduce,
    /// With what is told of each state.
    Foreach(Term),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Pattern {
    Variable(String),
    /// Each is found at an index or name.
    Inside(Vec<(Term, Self)>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    pub(super) what: What,
    /// `?`: what cannot be done gives nothing.
    pub(super) optional: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    Name(String),
    Index(Term),
    Each,
    Slice(Option<Term>, Option<Term>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Assignment {
    /// `=`
    Set,
    /// `|=`
    Update,
    /// `+=` and its like
    Math(Math),
    /// `//=`
    Alternative,
}
