//! Which fields at the top of an item an expression can need.

use super::builtins::Builtin;
use super::term::{Fold, FoldKind, Part, Pattern, Piece, Term, What};
use crate::transform::Value;
use std::collections::BTreeSet;

/// What a term gives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gives {
    /// Perhaps the item itself.
    Item,
    /// Something else, or only whether it holds.
    Other,
}

/// The names; `None` where it may need any. Every use of the item must be a path that begins with a name.
pub(super) fn names(term: &Term) -> Option<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    match look(term, true, &mut found)? {
        Gives::Item => None,
        Gives::Other => Some(found),
    }
}

fn either(a: Gives, b: Gives) -> Gives {
    if a == Gives::Item { a } else { b }
}

/// A term whose results are looked into.
fn inner(term: &Term, at_item: bool, found: &mut BTreeSet<String>) -> Option<Gives> {
    (look(term, at_item, found)? == Gives::Other).then_some(Gives::Other)
}

/// A term of whose results only the truth counts: the item always holds.
fn truth(term: &Term, at_item: bool, found: &mut BTreeSet<String>) -> Option<Gives> {
    look(term, at_item, found).map(|_| Gives::Other)
}

fn look(term: &Term, at_item: bool, found: &mut BTreeSet<String>) -> Option<Gives> {
    let own = if at_item { Gives::Item } else { Gives::Other };
    match term {
        Term::Identity => Some(own),
        Term::Empty | Term::Constant(_) | Term::Variable(_) => Some(Gives::Other),
        Term::Recurse => (!at_item).then_some(Gives::Other),
        Term::List(inside) | Term::Negated(inside) => inner(inside, at_item, found),
        Term::Map(members) => {
            for (name, value) in members {
                inner(name, at_item, found)?;
                inner(value, at_item, found)?;
            }
            Some(Gives::Other)
        }
        Term::Text(_, pieces) => {
            for piece in pieces {
                if let Piece::Term(term) = piece {
                    inner(term, at_item, found)?;
                }
            }
            Some(Gives::Other)
        }
        Term::Pipe(first, second) => {
            let first = look(first, at_item, found)?;
            look(second, first == Gives::Item, found)
        }
        Term::Bind(of, pattern, inside) => {
            inner(of, at_item, found)?;
            bound(pattern, at_item, found)?;
            look(inside, at_item, found)
        }
        Term::Comma(first, second) | Term::Alternative(first, second) => {
            Some(either(look(first, at_item, found)?, look(second, at_item, found)?))
        }
        Term::Logic(first, _, second) => {
            truth(first, at_item, found)?;
            truth(second, at_item, found)
        }
        Term::Math(first, _, second) | Term::Compare(first, _, second) => {
            inner(first, at_item, found)?;
            inner(second, at_item, found)
        }
        // What comes of it is the whole item.
        Term::Assign(path, _, value) => {
            if at_item {
                return None;
            }
            look(path, false, found)?;
            look(value, false, found)
        }
        Term::Delete(path) => {
            if at_item {
                None
            } else {
                look(path, false, found)
            }
        }
        Term::If(condition, then, otherwise) => {
            truth(condition, at_item, found)?;
            Some(either(look(then, at_item, found)?, look(otherwise, at_item, found)?))
        }
        Term::Try(inside, caught) => {
            if let Some(caught) = caught {
                look(caught, false, found)?;
            }
            look(inside, at_item, found)
        }
        Term::Fold(fold) => {
            let Fold { of, pattern, start, update, kind } = fold.as_ref();
            inner(of, at_item, found)?;
            bound(pattern, at_item, found)?;
            inner(start, at_item, found)?;
            look(update, false, found)?;
            match kind {
                FoldKind::Reduce => Some(Gives::Other),
                FoldKind::Foreach(extract) => look(extract, false, found),
            }
        }
        Term::Path(of, parts) => {
            for part in parts {
                indices(part, at_item, found)?;
            }
            match (look(of, at_item, found)?, parts.first().map(|part| &part.what)) {
                (Gives::Item, Some(What::Name(name))) => {
                    found.insert(name.clone());
                    Some(Gives::Other)
                }
                (Gives::Item, _) => None,
                (Gives::Other, _) => Some(Gives::Other),
            }
        }
        Term::Call(builtin, arguments) => call(*builtin, arguments, at_item, found),
    }
}

fn call(builtin: Builtin, arguments: &[Term], at_item: bool, found: &mut BTreeSet<String>) -> Option<Gives> {
    match (builtin, arguments) {
        (Builtin::Not, _) => Some(Gives::Other),
        (Builtin::ErrorWith, [words]) => inner(words, at_item, found),
        (Builtin::IsEmpty, [of]) => truth(of, at_item, found),
        (Builtin::First, [of]) => look(of, at_item, found),
        (Builtin::Limit, [count, of]) => {
            inner(count, at_item, found)?;
            look(of, at_item, found)
        }
        (Builtin::Any | Builtin::All, [of, condition]) => {
            let of = look(of, at_item, found)?;
            truth(condition, of == Gives::Item, found)
        }
        (Builtin::Range, bounds) => {
            for bound in bounds {
                inner(bound, at_item, found)?;
            }
            Some(Gives::Other)
        }
        (Builtin::Has, [Term::Constant(Value::Text(name))]) => {
            if at_item {
                found.insert(name.clone());
            }
            Some(Gives::Other)
        }
        _ if at_item => None,
        (_, arguments) => {
            for argument in arguments {
                look(argument, false, found)?;
            }
            Some(Gives::Other)
        }
    }
}

fn indices(part: &Part, at_item: bool, found: &mut BTreeSet<String>) -> Option<Gives> {
    match &part.what {
        What::Name(_) | What::Each => {}
        What::Index(index) => drop(inner(index, at_item, found)?),
        What::Slice(from, to) => {
            for bound in [from, to].into_iter().flatten() {
                inner(bound, at_item, found)?;
            }
        }
    }
    Some(Gives::Other)
}

fn bound(pattern: &Pattern, at_item: bool, found: &mut BTreeSet<String>) -> Option<Gives> {
    if let Pattern::Inside(parts) = pattern {
        for (index, pattern) in parts {
            inner(index, at_item, found)?;
            bound(pattern, at_item, found)?;
        }
    }
    Some(Gives::Other)
}
