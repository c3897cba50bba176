//! What is wrong with a file, and where.

use super::node::{Mark, Node, joined};
use std::fmt;

/// Whether a problem keeps the pipeline from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Functions do not start.
    Error,
    /// Allowed, but likely not what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// Something that is wrong with a pipeline's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether functions refuse the file for it.
    pub severity: Severity,
    /// From one.
    pub line: usize,
    /// From one, in characters.
    pub column: usize,
    /// Such as `routes[2].transform[0].convert.to`; empty where the whole file is meant.
    pub path: String,
    /// What is wrong.
    pub words: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Problem {
    /// An error at a place of the file.
    pub(crate) fn error(mark: Mark, words: String) -> Self {
        let Mark { line, column } = mark;
        Self { severity: Severity::Error, line, column, path: String::new(), words, help: None }
    }

    /// The message without its place.
    #[must_use]
    pub fn message(&self) -> String {
        let path = if self.path.is_empty() { "" } else { &format!("{}: ", self.path) };
        let help = self.help.as_ref().map_or(String::new(), |help| format!("; {help}"));
        format!("{path}{}{help}", self.words)
    }
}

/// `12:7: routes[0].to: must not be empty`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message())
    }
}

/// More problems than this are not told; one of them is an error where any is.
const MAX_PROBLEMS: usize = 1_000;

/// Whether another problem is to be told.
pub(crate) fn has_room(found: &[Problem], severity: Severity) -> bool {
    found.len() < MAX_PROBLEMS
        || (severity == Severity::Error && found.iter().all(|problem| problem.severity == Severity::Warning))
}

/// Problems of a file whose tree is known.
#[derive(Debug)]
pub(crate) struct Problems<'n> {
    tree: &'n Node,
    pub(crate) found: Vec<Problem>,
}

impl<'n> Problems<'n> {
    pub(crate) fn new(tree: &'n Node, found: Vec<Problem>) -> Self {
        Self { tree, found }
    }

    /// An error at what a path leads to. Words that begin with `character N: ` move it to that character of a text.
    pub(crate) fn wrong(&mut self, path: impl Into<String>, words: impl Into<String>) {
        self.add(Severity::Error, path.into(), words.into(), false);
    }

    /// The same at the name of what a path leads to.
    pub(crate) fn wrong_name(&mut self, path: impl Into<String>, words: impl Into<String>) {
        self.add(Severity::Error, path.into(), words.into(), true);
    }

    /// What is allowed, but suspicious.
    pub(crate) fn suspicious(&mut self, path: impl Into<String>, words: impl Into<String>) {
        self.add(Severity::Warning, path.into(), words.into(), false);
    }

    /// Whether the file has what a path leads to.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.tree.find(path).whole
    }

    /// The line of what a path leads to.
    pub(crate) fn line(&self, path: &str) -> usize {
        self.tree.find(path).name.line
    }

    /// The path of a member of an object, and of one of its list's items.
    pub(crate) fn join(path: &str, name: &str) -> String {
        joined(path, name)
    }

    fn add(&mut self, severity: Severity, path: String, words: String, at_name: bool) {
        if !has_room(&self.found, severity) {
            return;
        }
        let found = self.tree.find(&path);
        let inside = words.strip_prefix("character ").and_then(|rest| rest.split_once(": "));
        let inside = inside.and_then(|(number, rest)| Some((number.parse::<usize>().ok()?, rest.to_owned())));
        let (mark, words) = match (inside, found.node.spelled) {
            _ if at_name => (found.name, words),
            (Some((character, rest)), Some(Mark { line, column })) if found.whole => {
                (Mark { line, column: column + character.saturating_sub(1) }, rest)
            }
            _ => (found.node.mark, words),
        };
        self.found.push(Problem { severity, path, ..Problem::error(mark, words) });
    }
}
