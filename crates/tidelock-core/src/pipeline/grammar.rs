//! The grammar of `where`.

use super::condition::{Condition, Operand};
use crate::expression::{Comparison, Expression};
use crate::json::{RawStr, canonical_text, unescape};

/// Parentheses deeper than this are refused.
const MAX_DEPTH: u32 = 50;

/// Reads a condition.
///
/// # Errors
/// What was expected, and at which character.
pub(super) fn condition(text: &str) -> Result<Condition, String> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    let words = match simple(&mut reader) {
        Ok(condition) => return Ok(condition),
        Err(words)
            if reader.text.get(reader.at..).is_some_and(|rest| rest.starts_with('=') && !rest.starts_with("==")) =>
        {
            return Err(format!("{words} (`==` compares)"));
        }
        Err(words) => words,
    };
    match Expression::parse(text) {
        Ok(expression) if expression.assigns() => Err("`=` assigns: `==` compares".to_owned()),
        Ok(expression) => Ok(Condition::Expression(expression)),
        // Whoever has got further knows better.
        Err(problem) if problem.is_read || problem.place > reader.place() => Err(problem.to_string()),
        Err(_) => Err(words),
    }
}

/// A condition that needs no expression.
fn simple(reader: &mut Reader<'_>) -> Result<Condition, String> {
    let condition = reader.piped()?;
    match reader.rest() {
        "" => Ok(condition),
        _ => Err(reader.expected("`and`, `or`, a comparison, or the end")),
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: u32,
}

impl<'t> Reader<'t> {
    /// What is left, behind white space.
    fn rest(&mut self) -> &'t str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at = self.text.len() - rest.trim_start().len();
        rest.trim_start()
    }

    fn expected(&mut self, what: &str) -> String {
        let rest = self.rest();
        let place = self.place();
        match rest.split_whitespace().next() {
            Some(word) => format!("character {place}: expected {what}, found `{word}`"),
            None => format!("character {place}: expected {what}, found the end"),
        }
    }

    /// The character that comes next, counted from 1.
    fn place(&self) -> usize {
        self.text.get(..self.at).unwrap_or_default().chars().count() + 1
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    /// Takes a word that does not go on.
    fn word(&mut self, word: &str) -> bool {
        let rest = self.rest();
        let ends = rest.strip_prefix(word).is_some_and(|rest| !rest.starts_with(is_name));
        self.at += if ends { word.len() } else { 0 };
        ends
    }

    fn piped(&mut self) -> Result<Condition, String> {
        let mut condition = self.either()?;
        while self.take("|") {
            if !self.word("not") {
                return Err(self.expected("`not`, all that can follow `|`"));
            }
            condition = Condition::Not(Box::new(condition));
        }
        Ok(condition)
    }

    fn either(&mut self) -> Result<Condition, String> {
        let mut condition = self.both()?;
        while self.word("or") {
            condition = Condition::Or(Box::new(condition), Box::new(self.both()?));
        }
        Ok(condition)
    }

    fn both(&mut self) -> Result<Condition, String> {
        let mut condition = self.comparison()?;
        while self.word("and") {
            condition = Condition::And(Box::new(condition), Box::new(self.comparison()?));
        }
        Ok(condition)
    }

    fn comparison(&mut self) -> Result<Condition, String> {
        if self.take("(") {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(format!("more than {MAX_DEPTH} parentheses in one another"));
            }
            let condition = self.piped()?;
            self.depth -= 1;
            return if self.take(")") { Ok(condition) } else { Err(self.expected("`)`")) };
        }
        let left = self.operand()?;
        let comparisons = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        for (token, comparison) in comparisons {
            if self.take(token) {
                return Ok(Condition::Compare(left, comparison, self.operand()?));
            }
        }
        Ok(Condition::Holds(left))
    }

    fn operand(&mut self) -> Result<Operand, String> {
        for (word, operand) in
            [("null", Operand::Null), ("true", Operand::Boolean(true)), ("false", Operand::Boolean(false))]
        {
            if self.word(word) {
                return Ok(operand);
            }
        }
        match self.rest().chars().next() {
            Some('"') => self.string().map(Operand::Text),
            Some('-' | '0'..='9') => self.number(),
            Some('.') => self.path().map(Operand::Path),
            _ => Err(self.expected("a path such as `.name`, a text in double quotes, a number, true, false or null")),
        }
    }

    fn path(&mut self) -> Result<Vec<String>, String> {
        let mut path = Vec::new();
        loop {
            let begun = !path.is_empty();
            let rest = self.text.get(self.at..).unwrap_or_default();
            if rest.starts_with('[') || (!begun && rest.starts_with(".[")) {
                self.at += if begun { 1 } else { 2 };
                path.push(self.string()?);
                if !self.take("]") {
                    return Err(self.expected("`]`"));
                }
            } else if let Some(rest) = rest.strip_prefix('.') {
                self.at += 1;
                if rest.starts_with('"') {
                    path.push(self.string()?);
                    continue;
                }
                let name: String = rest.chars().take_while(|c| is_name(*c)).collect();
                if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
                    return Err(self.expected("a field's name; others than letters, digits and _ stand in quotes"));
                }
                self.at += name.len();
                path.push(name);
            } else {
                return Ok(path);
            }
        }
    }

    fn string(&mut self) -> Result<String, String> {
        if !self.take("\"") {
            return Err(self.expected("a text in double quotes"));
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        let (mut end, mut escaped) = (None, false);
        let mut bytes = rest.bytes().enumerate();
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'"' => {
                    end = Some(at);
                    break;
                }
                b'\\' => {
                    escaped = true;
                    bytes.next();
                }
                _ => {}
            }
        }
        let raw = end.and_then(|end| rest.get(..end)).ok_or_else(|| self.expected("a closing quote"))?;
        let text = unescape(RawStr { raw: raw.as_bytes(), escaped });
        let text = text.ok_or_else(|| self.expected("a text with JSON's escapes"))?.into_owned();
        self.at += raw.len() + 1;
        Ok(text)
    }

    fn number(&mut self) -> Result<Operand, String> {
        let rest = self.rest();
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let text = rest.split(|c| !part(c)).next().unwrap_or_default();
        let number = canonical_text(text.as_bytes()).ok_or_else(|| self.expected("a number"))?;
        self.at += text.len();
        Ok(Operand::Number(number.into_owned()))
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_where_a_condition_is_wrong() {
        for (text, words) in [
            ("", "character 1: expected a path"),
            (".a ==", "character 6: expected a path"),
            (".a = 1", "character 4: expected `and`, `or`, a comparison, or the end, found `=` (`==` compares)"),
            (".b and .a = 1", "character 11: expected"),
            (".a | length == 1 and (.b = 1)", "`==` compares"),
            (".a == 1 .b", "character 10: a number has no fields"),
            ("(.a", "expected `)`"),
            (".a | lenght", "character 6: there is no function `lenght`: is `length` meant"),
            (".a | length ==", "character 15: expected a path"),
            (".a | now", "`now` is not available"),
            (".a == \"x", "expected a closing quote"),
            (".a == 'x'", "found `'x'`"),
            (".7", "a field's name"),
            (".a.", "a field's name"),
            (".a == 1x", "character 8: expected an operator, or the end, found `x`"),
            (".a == \"\\q\"", "JSON's escapes"),
            ("status == 1", "character 1: there is no function `status`: a field is written `.status`"),
            ("ä == 1", "character 1"),
        ] {
            let problem = condition(text).expect_err(text);
            assert!(problem.contains(words), "{text}: {problem}");
        }
        let deep = "(".repeat(100_000);
        assert!(condition(&deep).expect_err("too deep").contains("parentheses"));
    }
}
