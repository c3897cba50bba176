//! `to`: the name of an index or collection, in which `{field}` stands for a field of the item.

use crate::cause::{Cause, Failure};
use crate::image::{Field, Image};
use crate::target::Place;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Fixed(String),
    Field(Vec<String>),
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

impl Template {
    pub(super) fn new(text: &str, pieces: Vec<Piece>) -> Result<Self, String> {
        let begins = match pieces.first() {
            None => return Err("must not be empty".to_owned()),
            Some(Piece::Fixed(begins)) => begins.as_str(),
            Some(Piece::Field(_)) => "",
        };
        let varies = pieces.iter().any(|piece| matches!(piece, Piece::Field(_)));
        let dot_later = pieces.iter().skip(1).any(|piece| matches!(piece, Piece::Fixed(text) if text.contains('.')));
        if varies && dot_later && !begins.contains('.') {
            return Err(format!("`{text}`: no field can stand before the dot that ends the database's name"));
        }
        let outline = pieces.iter().map(|piece| match piece {
            Piece::Fixed(text) => text.as_str(),
            Piece::Field(_) => "*",
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

    /// The place, where it is the same for every item.
    pub(crate) fn fixed(&self) -> Option<Place> {
        match self.pieces.as_slice() {
            [Piece::Fixed(name)] => Some(Place::new(name.clone(), false)),
            _ => None,
        }
    }

    /// The place of an item.
    ///
    /// # Errors
    /// When a field is missing, or none that a name can be made of.
    pub(crate) fn place(&self, image: &Image<'_>) -> Result<Place, Failure> {
        let mut name = String::with_capacity(self.text.len() + 16);
        for piece in &self.pieces {
            match piece {
                Piece::Fixed(text) => name.push_str(text),
                Piece::Field(path) => name.push_str(&part(image, path, &self.text)?),
            }
        }
        let own = name.split_once('.').filter(|_| !self.literal).map_or(name.as_str(), |(_, own)| own);
        if self.fixed().is_none() && (own.starts_with('.') || own.starts_with("system.")) {
            let detail = format!("`{own}`, which `to: {}` makes of the item, is a name of the target's own", self.text);
            return Err(Failure::new(Cause::Unroutable, detail));
        }
        Ok(Place::new(name, self.literal))
    }
}

fn part(image: &Image<'_>, path: &[String], template: &str) -> Result<String, Failure> {
    let kind = match image.field(path) {
        Field::Text(text) if text.is_empty() => "an empty text",
        Field::Text(text) | Field::Number(text) => return Ok(text.into_owned()),
        Field::Boolean(value) => return Ok(value.to_string()),
        Field::Missing => "missing",
        Field::Null => "null",
        Field::Other(kind) => kind,
    };
    let field = path.join(".");
    Err(Failure::new(
        Cause::Unroutable,
        format!("field `{field}` is {kind}; `to: {template}` needs a text or a number"),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::grammar::template;
    use super::*;
    use crate::image::Notation;

    fn place(text: &str, item: &str) -> Result<Place, Failure> {
        let image = Image { notation: Notation::DynamoDb, bytes: item.as_bytes() };
        template(text).expect(text).place(&image)
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
            assert!(!template(text).expect(text).outline().contains(['{', '}']));
            assert_eq!(place(text, item), Ok(Place::new(name.to_owned(), literal)), "{text}");
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
