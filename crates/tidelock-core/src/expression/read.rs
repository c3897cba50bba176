//! From text to jq's terms, by jaq's reader; and what is wrong with a text.

use super::compile::compile;
use super::term::Term;
use jaq_core::load::lex::{self, Lexer, StrPart, Tok, Token};
use jaq_core::load::parse::{self, Parser};
use std::fmt;

/// Bytes of an expression.
const MAX_LENGTH: usize = 10_000;
/// Brackets within one another. jaq's reader calls itself for each.
const MAX_BRACKETS: usize = 40;
/// Operators and keywords. Each may be one more term within another.
const MAX_OPERATORS: usize = 100;

/// What is wrong, and the text at which it begins.
pub(super) type Wrong<'t> = (&'t str, String);

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
pub(super) fn read(text: &str) -> Result<Term, Problem> {
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
    compile(read).map_err(|wrong| problem(wrong, true))
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
