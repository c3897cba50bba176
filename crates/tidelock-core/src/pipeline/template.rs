//! `to` and `routing`: texts in which `{field}` stands for a field of the item, and `{field:%Y.%m}` for a part of its date.

use super::rules::Known;
use crate::cause::{Cause, Failure};
use crate::image::Field;
use crate::json::Number;
use crate::letter::{parse_timestamp, timestamp};
use crate::target::Place;
use crate::transform::rfc3339;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Fixed(String),
    Field(Vec<String>),
    /// A date in a format of `%Y`, `%m`, `%d`, `%H` and text.
    Date(Vec<String>, String),
}

/// A part of a template's text.
pub(super) enum Part<'a> {
    /// As it is; never empty.
    Fixed(&'a str),
    /// What stands between braces.
    Placeholder(&'a str),
}

/// The parts of a template's text; an error is the last.
pub(super) fn parts(text: &str) -> impl Iterator<Item = Result<Part<'_>, &'static str>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let at = rest.find(['{', '}']).unwrap_or(rest.len());
        if at > 0 {
            let (fixed, tail) = rest.split_at(at);
            rest = tail;
            return Some(Ok(Part::Fixed(fixed)));
        }
        let tail = std::mem::take(&mut rest);
        if tail.is_empty() {
            return None;
        }
        let Some(inner) = tail.strip_prefix('{') else { return Some(Err("a `}` without its `{`")) };
        let Some((inner, tail)) = inner.split_once('}') else { return Some(Err("a `{` without its `}`")) };
        rest = tail;
        Some(Ok(Part::Placeholder(inner)))
    })
}

/// The path that a placeholder names; `None` where it names none.
pub(super) fn path(name: &str) -> Option<Vec<String>> {
    let path: Vec<String> = name.split('.').map(str::to_owned).collect();
    (!path.iter().any(String::is_empty) && !name.contains(['{', ':', '%'])).then_some(path)
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    text: String,
    /// The text with `*` for every field.
    outline: String,
    pieces: Vec<Piece>,
    /// A dot in a field's value separates nothing; one in the fixed text before it does.
    literal: bool,
}

/// Seconds since 1970 below this are seconds; milliseconds are above it. It is the year 5138.
const MOST_SECONDS: i64 = 100_000_000_000;

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        for part in parts(text) {
            pieces.push(match part? {
                Part::Fixed(text) => Piece::Fixed(text.to_owned()),
                Part::Placeholder(inner) => {
                    let (name, format) =
                        inner.split_once(':').map_or((inner, None), |(name, format)| (name, Some(format)));
                    let forms = "{name}, {name.inner} or {name:%Y.%m}";
                    let path = path(name).ok_or_else(|| format!("`{{{inner}}}` is no field: write {forms}"))?;
                    match format {
                        None => Piece::Field(path),
                        Some(format) => {
                            check_format(format).map_err(|problem| format!("`{{{inner}}}`: {problem}"))?;
                            Piece::Date(path, format.to_owned())
                        }
                    }
                }
            });
        }
        Self::new(text, pieces)
    }

    fn new(text: &str, pieces: Vec<Piece>) -> Result<Self, String> {
        let begins = match pieces.first() {
            None => return Err("must not be empty".to_owned()),
            Some(Piece::Fixed(begins)) => begins.as_str(),
            Some(_) => "",
        };
        let varies = pieces.iter().any(|piece| !matches!(piece, Piece::Fixed(_)));
        let dot_later = pieces.iter().skip(1).any(|piece| matches!(piece, Piece::Fixed(text) if text.contains('.')));
        if varies && dot_later && !begins.contains('.') {
            return Err(format!("`{text}`: no field can stand before the dot that ends the database's name"));
        }
        let outline = pieces.iter().map(|piece| match piece {
            Piece::Fixed(text) => text.as_str(),
            Piece::Field(_) | Piece::Date(..) => "*",
        });
        Ok(Self { text: text.to_owned(), outline: outline.collect(), literal: varies && !begins.contains('.'), pieces })
    }

    /// As the file has it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What all its places have in common: `*` stands for every field.
    pub(crate) fn outline(&self) -> &str {
        &self.outline
    }

    /// The fields that it is made of.
    pub(super) fn fields(&self) -> impl Iterator<Item = &[String]> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Fixed(_) => None,
            Piece::Field(path) | Piece::Date(path, _) => Some(path.as_slice()),
        })
    }

    /// The place, where it is the same for every item.
    pub(crate) fn fixed(&self) -> Option<Place> {
        match self.pieces.as_slice() {
            [Piece::Fixed(name)] => Some(Place::new(name.clone(), false)),
            _ => None,
        }
    }

    /// The place of an item; `None` where it depends on one that is not known.
    ///
    /// # Errors
    /// When a field is missing, or none that a name can be made of.
    pub(super) fn place(&self, known: Known<'_>) -> Result<Option<Place>, Failure> {
        let Some(name) = self.fill(known, "to")? else { return Ok(None) };
        let own = name.split_once('.').filter(|_| !self.literal).map_or(name.as_str(), |(_, own)| own);
        if self.fixed().is_none() && (own.starts_with('.') || own.starts_with("system.")) {
            let detail = format!("`{own}`, which `to: {}` makes of the item, is a name of the target's own", self.text);
            return Err(Failure::new(Cause::Unroutable, detail));
        }
        Ok(Some(Place::new(name, self.literal)))
    }

    /// The text for an item; `None` where it depends on one that is not known. `setting` is the template's name, for messages.
    ///
    /// # Errors
    /// When a field is missing, or none that a text can be made of.
    pub(super) fn fill(&self, known: Known<'_>, setting: &str) -> Result<Option<String>, Failure> {
        let mut text = String::with_capacity(self.text.len() + 16);
        for piece in &self.pieces {
            let (path, format) = match piece {
                Piece::Fixed(fixed) => {
                    text.push_str(fixed);
                    continue;
                }
                Piece::Field(path) => (path, None),
                Piece::Date(path, format) => (path, Some(format)),
            };
            let Some(field) = known.field(path) else { return Ok(None) };
            let part = match format {
                None => part(field),
                Some(format) => date(field, format),
            };
            let part = part.map_err(|words| {
                let field = path.join(".");
                Failure::new(Cause::Unroutable, format!("field `{field}` is {words} of `{setting}: {}`", self.text))
            })?;
            text.push_str(&part);
        }
        Ok(Some(text))
    }
}

fn part(field: Field<'_>) -> Result<String, String> {
    let kind = match field {
        Field::Text(text) if text.is_empty() => "an empty text",
        Field::Text(text) | Field::Number(text) => return Ok(text.into_owned()),
        Field::Boolean(value) => return Ok(value.to_string()),
        Field::Missing => "missing",
        Field::Null => "null",
        Field::Other(kind) => kind,
    };
    Err(format!("{kind}, not the text or number"))
}

fn check_format(format: &str) -> Result<(), String> {
    let mut characters = format.chars();
    let mut some = false;
    while let Some(c) = characters.next() {
        if c != '%' {
            continue;
        }
        match characters.next() {
            Some('Y' | 'm' | 'd' | 'H') => some = true,
            Some(other) => return Err(format!("`%{other}` is not known: there are %Y, %m, %d and %H")),
            None => return Err("a `%` at the end".to_owned()),
        }
    }
    if some { Ok(()) } else { Err("a date's format has %Y, %m, %d or %H".to_owned()) }
}

/// A part of a date in UTC: of a time of RFC 3339, or of a number of seconds or milliseconds since 1970.
fn date(field: Field<'_>, format: &str) -> Result<String, String> {
    let no_time = |what: &str| format!("{what}, not the time (RFC 3339, or seconds or milliseconds since 1970)");
    let milliseconds = match field {
        Field::Text(text) => {
            rfc3339(&text).or_else(|| parse_timestamp(&text)).ok_or_else(|| no_time(&format!("`{text}`")))?
        }
        Field::Number(text) => {
            let whole = Number::parse(text.as_bytes()).map(|number| number.plain());
            let whole = whole.and_then(|plain| {
                let text = String::from_utf8(plain).ok()?;
                text.split('.').next().and_then(|whole| whole.parse::<i64>().ok())
            });
            match whole {
                Some(seconds @ 0..MOST_SECONDS) => seconds * 1_000,
                Some(milliseconds @ MOST_SECONDS..100_000_000_000_000) => milliseconds,
                _ => return Err(no_time(&format!("`{text}`"))),
            }
        }
        Field::Missing => return Err(no_time("missing")),
        Field::Null => return Err(no_time("null")),
        Field::Boolean(_) => return Err(no_time("a boolean")),
        Field::Other(kind) => return Err(no_time(kind)),
    };
    let text = timestamp(milliseconds);
    let parts = (text.get(0..4), text.get(5..7), text.get(8..10), text.get(11..13));
    let (Some(year), Some(month), Some(day), Some(hour)) = parts else { return Err(no_time("out of range")) };
    if text.len() != 24 {
        return Err(no_time("a time outside of the years 0 to 9999"));
    }
    Ok(format.replace("%Y", year).replace("%m", month).replace("%d", day).replace("%H", hour))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Image, Notation};
    use crate::key::Key;

    fn place(text: &str, item: &str) -> Result<Place, Failure> {
        let image = Image { notation: Notation::DynamoDb, bytes: item.as_bytes() };
        let known = Known { image: Some(image), key: Key::from_bytes(b"") };
        Template::parse(text).expect(text).place(known).map(|place| place.expect("nothing is unknown"))
    }

    #[test]
    fn a_name_is_made_of_fields() {
        let item = r#"{"c":{"S":"at.x"},"n":{"N":"7.0"},"m":{"M":{"i":{"S":"in"}}},"b":{"BOOL":true}}"#;
        for (text, name, literal) in [
            ("orders", "orders", false),
            ("shop.orders", "shop.orders", false),
            ("orders-{c}", "orders-at.x", true),
            ("shop.orders-{c}", "shop.orders-at.x", false),
            ("shop.{c}.x", "shop.at.x.x", false),
            ("{n}-{m.i}{b}", "7-intrue", true),
        ] {
            assert!(!Template::parse(text).expect(text).outline().contains(['{', '}']));
            assert_eq!(place(text, item), Ok(Place::new(name.to_owned(), literal)), "{text}");
        }
    }

    #[test]
    fn dates_give_names_by_their_parts() {
        let item = r#"{"t":{"S":"2020-04-29T13:22:08Z"},"s":{"N":"1588166528"},"ms":{"N":"1588166528123"},"f":{"N":"1588166528.9"},"x":{"S":"soon"},"o":{"S":"2026-02-01T00:30:00+01:00"},"p":{"S":"2020-04-29T13:22:08.123456Z"},"neg":{"N":"-1"}}"#;
        for (text, name) in [
            ("o-{t:%Y.%m}", "o-2020.04"),
            ("o-{s:%Y-%m-%d}", "o-2020-04-29"),
            ("o-{ms:%Y.%m.%d-%H}", "o-2020.04.29-13"),
            ("o-{f:%d}", "o-29"),
            ("o-{o:%Y-%m-%d}", "o-2026-01-31"),
            ("o-{p:%H}", "o-13"),
        ] {
            assert_eq!(place(text, item).map(|place| place.name), Ok(name.to_owned()), "{text}");
        }
        for (text, words) in
            [("o-{x:%Y}", "field `x` is `soon`, not the time"), ("o-{neg:%Y}", "`-1`"), ("o-{no:%Y}", "missing")]
        {
            let failure = place(text, item).expect_err(text);
            assert!(failure.cause == Cause::Unroutable && failure.detail.contains(words), "{failure}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_template() {
        for (text, words) in [
            ("a-{b", "without its `}`"),
            ("a-b}", "without its `{`"),
            ("a-{}", "is no field"),
            ("a-{b..c}", "is no field"),
            ("a-{at:%y}", "`%y` is not known"),
            ("a-{at:Y}", "has %Y"),
            ("a-{at:%}", "at the end"),
            ("{db}.orders", "before the dot"),
            ("", "must not be empty"),
        ] {
            let problem = Template::parse(text).expect_err(text);
            assert!(problem.contains(words), "{text}: {problem}");
        }
    }

    #[test]
    fn no_item_names_what_is_the_targets_own() {
        for (text, value) in
            [("{c}", ".kibana"), ("{c}", "system.js"), ("shop.{c}", "system.views"), ("shop.{c}", ".x")]
        {
            let failure = place(text, &format!(r#"{{"c":{{"S":"{value}"}}}}"#)).expect_err(value);
            assert!(failure.cause == Cause::Unroutable && failure.detail.contains(value), "{failure}");
        }
    }

    #[test]
    fn what_no_name_can_be_made_of_is_named() {
        let item = r#"{"e":{"S":""},"z":{"NULL":true},"l":{"L":[]}}"#;
        for (field, kind) in [("e", "an empty text"), ("z", "null"), ("l", "a list"), ("x", "missing")] {
            let failure = place(&format!("o-{{{field}}}"), item).expect_err(field);
            assert_eq!(failure.cause, Cause::Unroutable);
            assert!(failure.detail.contains(&format!("field `{field}` is {kind}")), "{failure}");
        }
    }
}
