//! `id`: the document's id, made of the key and of fields of the item.
//!
//! A lone placeholder keeps its type: a number stays a number in MongoDB. Several parts never collide: MongoDB gets a document of
//! them in the template's order, targets whose ids are text get them escaped and joined by `|`. The source's key must be in it,
//! or two items would share one document.

use super::rules::Known;
use super::template::{self, Part};
use crate::cause::{Cause, Failure};
use crate::image::{Field, Notation};
use crate::key::{Key, KeyKind, push_part};
use crate::source::mongodb::DocumentKey;

/// A parsed `id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdTemplate {
    text: String,
    /// Before and behind a lone placeholder.
    around: (String, String),
    parts: Vec<Vec<String>>,
}

impl IdTemplate {
    /// Reads `{field}`, `order-{field}`, `{a}{b}` or `{a}|{b}`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts: Vec<Vec<String>> = Vec::new();
        let mut fixed = vec![String::new()];
        for part in template::parts(text) {
            let name = match part? {
                Part::Fixed(text) => {
                    if let Some(last) = fixed.last_mut() {
                        last.push_str(text);
                    }
                    continue;
                }
                Part::Placeholder(name) => name,
            };
            let path = template::path(name)
                .ok_or_else(|| format!("`{{{name}}}` is no field: write {{name}} or {{name.inner}}"))?;
            if parts.contains(&path) {
                return Err(format!("`{{{name}}}` is there twice"));
            }
            if let Some(name) = path.last().filter(|name| parts.iter().any(|path| path.last() == Some(name))) {
                return Err(format!("two parts are called `{name}`, which MongoDB cannot tell apart"));
            }
            parts.push(path);
            fixed.push(String::new());
        }
        if parts.is_empty() {
            return Err(format!("`{text}` has no {{field}}: all items would share one document"));
        }
        if parts.len() > 1 {
            let ends = fixed.first().is_none_or(String::is_empty) && fixed.last().is_none_or(String::is_empty);
            if !ends || fixed.iter().any(|text| !matches!(text.as_str(), "" | "|")) {
                return Err(format!(
                    "`{text}`: several parts are joined by `|`, which the parts' own are told apart from; write them as `{{a}}|{{b}}`"
                ));
            }
        }
        let around = match fixed.as_slice() {
            [before, behind] => (before.clone(), behind.clone()),
            _ => (String::new(), String::new()),
        };
        Ok(Self { text: text.to_owned(), around, parts })
    }

    /// The fields that it is made of.
    pub(super) fn fields(&self) -> &[Vec<String>] {
        &self.parts
    }

    /// The id, in the form of a [`Key`]; outside `None` where it depends on an item that is not known, inside where it is the
    /// source's key as it is.
    ///
    /// # Errors
    /// When a field is missing or of a type that no id can be made of, or the id does not hold the whole key.
    pub(super) fn of(&self, known: Known<'_>) -> Result<Option<Option<Vec<u8>>>, Failure> {
        if let Some(part) = known.key.parts().find(|part| !self.parts.iter().any(|path| *path == [part.name])) {
            let detail = format!(
                "`id: {}` does not hold the key's attribute `{}`: two items would share one document; add `{{{}}}`",
                self.text, part.name, part.name
            );
            return Err(Failure::new(Cause::Unroutable, detail));
        }
        let mut id = Vec::with_capacity(known.key.as_bytes().len() + 32);
        for path in &self.parts {
            let name = path.last().map_or("", String::as_str);
            let of_key = known.key.parts().find(|part| *path == [part.name]);
            match (of_key, known.image) {
                (Some(part), _) => push_part(&mut id, name, part.kind, part.value),
                (None, None) => return Ok(None),
                (None, Some(_)) => self.push_field(&mut id, path, known)?,
            }
        }
        if self.around != (String::new(), String::new()) {
            let text = format!("{}{}{}", self.around.0, Key::from_bytes(&id).text_id(), self.around.1);
            let name = self.parts.first().and_then(|path| path.last()).map_or("", String::as_str);
            id.clear();
            push_part(&mut id, name, KeyKind::Text, text.as_bytes());
        }
        Ok(Some((id != known.key.as_bytes()).then_some(id)))
    }

    fn push_field(&self, id: &mut Vec<u8>, path: &[String], known: Known<'_>) -> Result<(), Failure> {
        let Some(image) = known.image else { return Ok(()) };
        let name = path.last().map_or("", String::as_str);
        let kind = match (image.notation, image.field(path)) {
            (_, Field::Missing) => "missing",
            (_, Field::Null) => "null",
            (Notation::Bson, Field::Other(kind @ ("a list" | "a map"))) => kind,
            // Of its own type.
            (Notation::Bson, _) => {
                let value = image.element(path).map(|value| DocumentKey::of_value(value.0, value.1));
                match value {
                    Some(Ok(own)) => {
                        own.key().parts().for_each(|part| push_part(id, name, part.kind, part.value));
                        return Ok(());
                    }
                    _ => "of a type that no id can have",
                }
            }
            (_, Field::Text(text)) if text.is_empty() => "an empty text",
            (_, Field::Text(text)) => {
                push_part(id, name, KeyKind::Text, text.as_bytes());
                return Ok(());
            }
            (_, Field::Number(text)) => {
                push_part(id, name, KeyKind::Number, text.as_bytes());
                return Ok(());
            }
            (_, Field::Boolean(_)) => "a boolean",
            (_, Field::Other(kind)) => kind,
        };
        let detail = format!("field `{}` is {kind}; `id: {}` needs a text or a number", path.join("."), self.text);
        Err(Failure::new(Cause::Unroutable, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Image;
    use crate::key::KeyWriter;

    fn key(parts: &[(&str, KeyKind, &str)]) -> Vec<u8> {
        let (mut writer, mut out) = (KeyWriter::default(), Vec::new());
        parts.iter().for_each(|(name, kind, value)| writer.part(name, *kind, value.as_bytes()));
        writer.finish(&mut out);
        out
    }

    /// The id as text, `KEY` where it is the key as it is.
    fn id(template: &str, key: &[u8], item: Option<&str>) -> Result<Option<String>, String> {
        let image = item.map(|item| Image { notation: Notation::DynamoDb, bytes: item.as_bytes() });
        let known = Known { image, key: Key::from_bytes(key) };
        let made = IdTemplate::parse(template).expect(template).of(known).map_err(|failure| failure.to_string())?;
        Ok(made.map(|id| id.map_or("KEY".to_owned(), |id| Key::from_bytes(&id).text_id())))
    }

    #[test]
    fn an_id_is_made_of_the_key_and_of_fields() {
        let one = key(&[("id", KeyKind::Number, "1")]);
        let two = key(&[("pk", KeyKind::Text, "a|b"), ("sk", KeyKind::Number, "7")]);
        let item = r#"{"t":{"S":"x"},"m":{"M":{"n":{"N":"2.0"}}},"e":{"S":""},"b":{"BOOL":true},"l":{"L":[]}}"#;
        let some = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(id("{id}", &one, None), some("KEY"), "the same id in the same form");
        assert_eq!(id("order-{id}", &one, None), some("order-1"));
        assert_eq!(id("{sk}|{pk}", &two, None), some(r"7|a\|b"));
        assert_eq!(id("{pk}{sk}", &two, None), some("KEY"));
        assert_eq!(id("{t}{id}", &one, Some(item)), some("x|1"));
        assert_eq!(id("{m.n}{id}", &one, Some(item)), some("2|1"));
        assert_eq!(id("{t}{id}", &one, None), Ok(None), "without its image nobody knows");
        for (template, words) in [
            ("{sk}", "does not hold the key's attribute `pk`"),
            ("{pk}{sk}{x}", "field `x` is missing"),
            ("{pk}{sk}{e}", "an empty text"),
            ("{pk}{sk}{b}", "a boolean"),
            ("{pk}{sk}{l}", "a list"),
        ] {
            let told = id(template, &two, Some(item)).expect_err(template);
            assert!(told.starts_with("unroutable") && told.contains(words), "{told}");
        }
    }

    #[test]
    fn a_number_keeps_its_type_and_prefixes_make_text() {
        let one = key(&[("id", KeyKind::Number, "1")]);
        let known = Known { image: None, key: Key::from_bytes(&one) };
        let made =
            IdTemplate::parse("x{id}").expect("a template").of(known).expect("an id").flatten().expect("its own");
        assert_eq!(Key::from_bytes(&made).single().map(|part| part.kind), Some(KeyKind::Text));
    }

    #[test]
    fn says_what_is_wrong_with_a_template() {
        for (text, words) in [
            ("", "has no {field}"),
            ("all", "has no {field}"),
            ("{a", "without its `}`"),
            ("a}", "without its `{`"),
            ("{}", "is no field"),
            ("{a:%Y}", "is no field"),
            ("{a}{a}", "twice"),
            ("{a.x}{b.x}", "two parts are called `x`"),
            ("{a}-{b}", "joined by `|`"),
            ("x{a}{b}", "joined by `|`"),
        ] {
            let problem = IdTemplate::parse(text).expect_err(text);
            assert!(problem.contains(words), "{text}: {problem}");
        }
    }
}
