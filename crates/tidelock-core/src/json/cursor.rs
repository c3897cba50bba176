//! The cursor itself: strings are found sixteen bytes at a time.

use super::escape::unescape_until_quote;
use super::find::{find_special, plain};
use super::nesting::{array_length, object_length};
use super::number::NumberForm;
use std::borrow::Cow;
use std::fmt;

/// Containers nested deeper than this are refused: DynamoDB allows 32 levels of attributes, each two JSON levels deep.
const MAX_DEPTH: u32 = 256;

/// The text is not JSON at this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// Byte offset in the text.
    pub at: usize,
    /// What was expected there.
    pub expected: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not JSON at byte {}: expected {}", self.at, self.expected)
    }
}

impl std::error::Error for Malformed {}

/// The text between the quotes of a JSON string, as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawStr<'a> {
    /// The bytes between the quotes.
    pub raw: &'a [u8],
    /// Whether a backslash occurs, so that `raw` is not the string's value.
    pub escaped: bool,
}

/// A position in JSON text.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of `text`.
    #[must_use]
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// Byte offset of the next unread byte.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Moves to an offset that [`Cursor::at`] gave before.
    pub fn rewind(&mut self, at: usize) {
        self.at = at;
    }

    /// The text between two offsets.
    #[must_use]
    pub fn slice(&self, from: usize, to: usize) -> &'a [u8] {
        self.text.get(from..to).unwrap_or_default()
    }

    /// An error that names the current place.
    #[must_use]
    pub fn malformed(&self, expected: &'static str) -> Malformed {
        Malformed { at: self.at, expected }
    }

    /// The next byte that is no white space, not consumed.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Consumes `byte` if it comes next.
    #[inline]
    pub fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Consumes `byte`.
    ///
    /// # Errors
    /// When another byte comes next.
    #[inline]
    pub fn expect(&mut self, byte: u8, name: &'static str) -> Result<(), Malformed> {
        if self.take(byte) { Ok(()) } else { Err(self.malformed(name)) }
    }

    /// After a member or an item: `true` when another follows, `false` when `close` ended the container.
    ///
    /// # Errors
    /// When neither a comma nor `close` comes next.
    #[inline]
    pub fn more(&mut self, close: u8) -> Result<bool, Malformed> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.malformed("a comma or the container's end")),
        }
    }

    /// Walks over the members of the object that comes next; `member` has to walk over each value.
    ///
    /// # Errors
    /// When no object comes next, and whatever `member` says.
    #[inline]
    pub fn members(
        &mut self,
        mut member: impl FnMut(&mut Self, RawStr<'a>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.expect(b'{', "an object")?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let name = self.name()?;
            member(self, name)?;
            if !self.more(b'}')? {
                return Ok(());
            }
        }
    }

    /// Walks over the elements of the array that comes next; `element` has to walk over each.
    ///
    /// # Errors
    /// When no array comes next, and whatever `element` says.
    #[inline]
    pub fn elements(&mut self, mut element: impl FnMut(&mut Self) -> Result<(), Malformed>) -> Result<(), Malformed> {
        self.expect(b'[', "an array")?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            element(self)?;
            if !self.more(b']')? {
                return Ok(());
            }
        }
    }

    /// The start of an object whose first name has a single letter and no white space around it, `{"S":`: the letter. Nothing
    /// is consumed when anything else stands here.
    #[inline]
    pub fn short_object(&mut self) -> Option<&'a [u8]> {
        match self.text.get(self.at..)?.first_chunk::<5>()? {
            [b'{', b'"', letter, b'"', b':'] if letter.is_ascii_alphabetic() => {
                self.at += 5;
                Some(std::slice::from_ref(letter))
            }
            _ => None,
        }
    }

    /// A member's name and the colon after it.
    ///
    /// # Errors
    /// When no string or no colon comes next.
    #[inline]
    pub fn name(&mut self) -> Result<RawStr<'a>, Malformed> {
        match self.short_name() {
            Some(raw) => Ok(RawStr { raw, escaped: false }),
            None => self.any_name(),
        }
    }

    /// A name of at most 16 bytes without an escape, and without white space around it; else nothing is consumed.
    #[inline]
    fn short_name(&mut self) -> Option<&'a [u8]> {
        let rest = self.text.get(self.at..)?;
        let [b'"', chunk @ ..] = rest.first_chunk::<17>()? else { return None };
        let length = plain(chunk);
        if rest.get(length + 1..length + 3) != Some(b"\":") {
            return None;
        }
        self.at += length + 3;
        rest.get(1..=length)
    }

    #[inline(never)]
    fn any_name(&mut self) -> Result<RawStr<'a>, Malformed> {
        let name = self.string()?;
        self.expect(b':', "a colon")?;
        Ok(name)
    }

    /// A string.
    ///
    /// # Errors
    /// When no string comes next, it does not end, or it holds a bare control character.
    #[inline]
    pub fn string(&mut self) -> Result<RawStr<'a>, Malformed> {
        self.expect(b'"', "a string")?;
        let from = self.at;
        let mut escaped = false;
        loop {
            self.at = find_special(self.text, self.at);
            match self.text.get(self.at) {
                Some(b'"') => {
                    let raw = self.slice(from, self.at);
                    self.at += 1;
                    return Ok(RawStr { raw, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.at += 2;
                }
                Some(_) => return Err(self.malformed("no control character in a string")),
                None => return Err(self.malformed("the string's end")),
            }
        }
    }

    /// The value of a string, found and unescaped in one pass: for long texts that hold escapes throughout. UTF-8 in, UTF-8 out.
    ///
    /// # Errors
    /// As of [`Cursor::string`], and when an escape is invalid or names a lone surrogate.
    #[inline(never)]
    pub fn text(&mut self) -> Result<Cow<'a, [u8]>, Malformed> {
        self.expect(b'"', "a string")?;
        let from = self.at;
        let end = find_special(self.text, from);
        if self.text.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(Cow::Borrowed(self.slice(from, end)));
        }
        let (value, length) = unescape_until_quote(self.text.get(from..).unwrap_or_default())
            .map_err(|(at, expected)| Malformed { at: from + at, expected })?;
        self.at += length;
        Ok(Cow::Owned(value))
    }

    /// A number without an exponent that is no part of a longer word, and its form; else nothing is consumed.
    #[inline]
    pub(crate) fn decimal(&mut self) -> Option<(&'a [u8], NumberForm)> {
        let rest = self.text.get(self.at..)?;
        let decimal = NumberForm::at_start(rest)?;
        let (text, behind) = rest.split_at_checked(decimal.length)?;
        if !matches!(behind.first(), Some(b',' | b'}' | b']')) {
            return None;
        }
        self.at += decimal.length;
        Some((text, decimal))
    }

    /// A number without an exponent between quotes; else nothing is consumed.
    #[inline]
    pub(crate) fn quoted_decimal(&mut self) -> Option<&'a [u8]> {
        let rest = self.text.get(self.at..)?.strip_prefix(b"\"")?;
        let (text, behind) = rest.split_at_checked(NumberForm::at_start(rest)?.length)?;
        if behind.first() != Some(&b'"') {
            return None;
        }
        self.at += text.len() + 2;
        Some(text)
    }

    /// The text of a number, `true`, `false` or `null`.
    ///
    /// # Errors
    /// When something else comes next.
    pub fn scalar(&mut self) -> Result<&'a [u8], Malformed> {
        self.peek();
        let from = self.at;
        while let Some(b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z') = self.text.get(self.at) {
            self.at += 1;
        }
        let text = self.slice(from, self.at);
        if matches!(text, b"true" | b"false" | b"null") || super::is_number(text) {
            return Ok(text);
        }
        self.at = from;
        Err(self.malformed("a value"))
    }

    /// Walks over one value of any kind and gives its text.
    ///
    /// # Errors
    /// When it is not JSON or nested too deeply.
    pub fn skip(&mut self) -> Result<&'a [u8], Malformed> {
        self.peek();
        let from = self.at;
        self.skip_value(0)?;
        Ok(self.slice(from, self.at))
    }

    /// Walks over an array by its brackets and strings alone, and gives its text: whether it is JSON within, whoever reads it
    /// has to see. `None`, and nothing is consumed, when no array comes next or it has no end.
    pub fn skip_array_unread(&mut self) -> Option<&'a [u8]> {
        self.peek();
        let rest = self.text.get(self.at..)?;
        let array = rest.get(..array_length(rest)?)?;
        self.at += array.len();
        Some(array)
    }

    /// The same for an object and its braces.
    pub fn skip_object_unread(&mut self) -> Option<&'a [u8]> {
        self.peek();
        let rest = self.text.get(self.at..)?;
        let object = rest.get(..object_length(rest)?)?;
        self.at += object.len();
        Some(object)
    }

    fn skip_value(&mut self, depth: u32) -> Result<(), Malformed> {
        if depth > MAX_DEPTH {
            return Err(self.malformed("less nesting"));
        }
        match self.peek() {
            Some(b'"') => {
                self.string()?;
            }
            Some(b'{') => {
                self.at += 1;
                if self.take(b'}') {
                    return Ok(());
                }
                loop {
                    self.name()?;
                    self.skip_value(depth + 1)?;
                    if !self.more(b'}')? {
                        break;
                    }
                }
            }
            Some(b'[') => {
                self.at += 1;
                if self.take(b']') {
                    return Ok(());
                }
                loop {
                    self.skip_value(depth + 1)?;
                    if !self.more(b']')? {
                        break;
                    }
                }
            }
            _ => {
                self.scalar()?;
            }
        }
        Ok(())
    }

    /// Succeeds when only white space is left.
    ///
    /// # Errors
    /// When more text follows.
    pub fn end(&mut self) -> Result<(), Malformed> {
        if self.peek().is_none() { Ok(()) } else { Err(self.malformed("the end of the text")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn skips_exactly_what_serde_reads(text in r#"[\[\]\{\}",:0-9a-e.\\ -]{0,24}"#) {
            let ours = { let mut c = Cursor::new(text.as_bytes()); c.skip().and_then(|_| c.end()).is_ok() };
            let theirs = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            // Escapes and number range are not the cursor's business, so it may accept more, never less.
            prop_assert!(ours || !theirs, "{text}");
        }
    }

    proptest! {
        #[test]
        fn texts_are_what_serde_reads(text in r#"([a-zü]{0,40}|\\["\\/bfnrtx]|\\u(00fc|d83d\\ude00|d800|12)|["\x01]){0,12}"#) {
            let text = format!("\"{text}\"");
            let mut cursor = Cursor::new(text.as_bytes());
            let ours = cursor.text().ok().map(Cow::into_owned).filter(|_| cursor.end().is_ok());
            prop_assert_eq!(ours, serde_json::from_str::<String>(&text).ok().map(String::into_bytes), "{}", text);
        }
    }

    proptest! {
        #[test]
        fn names_are_the_same_however_they_are_found(text in r#"[a-zü]{0,20}(\\["nu]|["\x01 ])?[a-z]{0,3}" ?:?"#, behind in "[ 0-9,}]{0,20}") {
            let text = format!("\"{text}{behind}");
            let (mut short, mut any) = (Cursor::new(text.as_bytes()), Cursor::new(text.as_bytes()));
            prop_assert_eq!(short.name().ok(), any.any_name().ok(), "{}", &text);
            if short.at() != any.at() {
                prop_assert!(Cursor::new(text.as_bytes()).name().is_err());
            }
        }

        #[test]
        fn numbers_are_the_same_however_they_are_found(text in r"-?[0-9.]{0,20}([eE][+-]?[0-9]{0,2})?[a-z \]]?") {
            let (quoted, item) = (format!("\"{text}\""), format!("{text},"));
            let (mut fast, mut slow) = (Cursor::new(quoted.as_bytes()), Cursor::new(quoted.as_bytes()));
            if let Some(number) = fast.quoted_decimal() {
                prop_assert_eq!(slow.string().map(|text| text.raw), Ok(number));
                prop_assert!(super::super::is_number(number) && fast.at() == slow.at());
            }
            let (mut fast, mut slow) = (Cursor::new(item.as_bytes()), Cursor::new(item.as_bytes()));
            if let Some((number, form)) = fast.decimal() {
                prop_assert_eq!(slow.scalar(), Ok(number));
                prop_assert_eq!(fast.at(), slow.at());
                let digits = |text: &str| text.trim_start_matches('-').len();
                let (integer, fraction) = std::str::from_utf8(number).expect("digits").split_once('.').unwrap_or((&text[..number.len()], ""));
                prop_assert_eq!((form.integer, form.fraction), (digits(integer), fraction.len()));
            } else {
                prop_assert_eq!(fast.at(), 0);
            }
        }
    }

    #[test]
    fn plain_names_and_numbers_take_the_short_way() {
        let text = br#""a":"12.50","name":-7,"sixteen__letters":[1.5],"seventeen_letters":0"#;
        let mut cursor = Cursor::new(text);
        assert_eq!(cursor.short_name(), Some(&b"a"[..]));
        assert_eq!(cursor.quoted_decimal(), Some(&b"12.50"[..]));
        assert_eq!((cursor.take(b','), cursor.short_name()), (true, Some(&b"name"[..])));
        assert_eq!(cursor.decimal(), Some((&b"-7"[..], NumberForm { length: 2, integer: 1, fraction: 0 })));
        assert_eq!((cursor.take(b','), cursor.short_name()), (true, Some(&b"sixteen__letters"[..])));
        assert!(cursor.take(b'['));
        assert_eq!(cursor.decimal(), Some((&b"1.5"[..], NumberForm { length: 3, integer: 1, fraction: 1 })));
        assert_eq!((cursor.take(b']'), cursor.take(b','), cursor.short_name()), (true, true, None));
        assert_eq!(cursor.name().map(|name| name.raw), Ok(&b"seventeen_letters"[..]));
    }

    #[test]
    fn long_texts_are_what_serde_reads() {
        let pieces = ["{\"S\":\"ü 配送先\"}", "plain text of some length, ", "\\", "\n", "\u{1}", "😀", "\"\"\"\""];
        let mut state = 7_usize;
        for length in [10, 300, 3_000, 30_000] {
            let mut text = String::new();
            for _ in 0..length {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(pieces[(state >> 33) % if length % 20 == 10 { 2 } else { pieces.len() }]);
            }
            let written = serde_json::to_string(&text).expect("JSON");
            let mut cursor = Cursor::new(written.as_bytes());
            let read = cursor.text().expect("a string").into_owned();
            assert!(String::from_utf8(read).is_ok_and(|read| read == text), "{length}");
            assert_eq!(cursor.end(), Ok(()));
        }
    }

    #[test]
    fn refuses_what_is_no_json() {
        for text in ["", "{", "[1,]", "{\"a\"}", "\"a", "\"a\u{1}\"", "tru", "01", "{\"a\":1,}", "nulll"] {
            let mut cursor = Cursor::new(text.as_bytes());
            assert!(cursor.skip().and_then(|_| cursor.end()).is_err(), "{text}");
        }
        let deep = "[".repeat(10_000);
        assert!(Cursor::new(deep.as_bytes()).skip().is_err());
    }
}
