//! Mappings proposed from samples, and what would conflict if OpenSearch mapped them by itself. Functions do not use it.
//!
//! What counts as a date, a name or too deep was tried on OpenSearch 3.8 with dynamic mapping.

mod conflict;
mod date;
mod field;
mod mapped;
mod proposal;

pub use conflict::{Conflict, table};
pub use proposal::section;

use crate::admin::flat_settings;
use field::{Field, Kind};
use mapped::Mapped;
use std::collections::BTreeSet;
use tidelock_core::json::{Cursor, Malformed, unescape};
use tidelock_core::pipeline::Index;

/// Fields that an index takes where nobody has said more.
const FIELDS: usize = 1_000;

/// How deep a field may lie, its own name included.
const DEPTH: usize = 20;

/// Where a value was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// File and record.
    pub at: String,
    /// The document's id.
    pub id: String,
    /// The value, cut short.
    pub value: String,
}

impl Sample {
    /// For a table: `orders.json 3 (id 101): 5.5`.
    fn told(&self) -> String {
        let place = format!("{} (id {})", self.at, self.id);
        if self.value.is_empty() { place } else { format!("{place}: {}", self.value) }
    }
}

/// What the documents of one index have in common.
#[derive(Debug)]
pub struct Observed {
    /// The index, or the pattern of the indices.
    pub name: String,
    /// How many documents were seen.
    pub documents: usize,
    /// How many fields the index takes.
    limit: usize,
    mapped: Mapped,
    root: Field,
    /// Names that no index takes, and fields too deep.
    refused: Vec<Conflict>,
}

/// One document that is being looked at.
struct Document<'a> {
    at: &'a str,
    id: &'a str,
    /// Paths whose text is base64.
    binary: &'a BTreeSet<String>,
    refused: &'a mut Vec<Conflict>,
}

impl Observed {
    /// Nothing seen yet. `index`: what the pipeline says of it already.
    #[must_use]
    pub fn new(name: &str, index: Option<&Index>) -> Self {
        let limit = index.and_then(|index| {
            let settings = flat_settings(&index.settings);
            settings.get("index.mapping.total_fields.limit")?.as_str()?.parse().ok()
        });
        let mapped = index.map(|index| Mapped::new(&index.mappings)).unwrap_or_default();
        let (root, refused) = (Field::default(), Vec::new());
        Self { name: name.to_owned(), documents: 0, limit: limit.unwrap_or(FIELDS), mapped, root, refused }
    }

    /// Takes a document in: JSON text. `binary`: dotted paths whose text is base64 of bytes.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub fn take(&mut self, document: &[u8], at: &str, id: &str, binary: &BTreeSet<String>) -> Result<(), Malformed> {
        self.documents += 1;
        let mut document_of = Document { at, id, binary, refused: &mut self.refused };
        let mut cursor = Cursor::new(document);
        document_of.object(&mut cursor, &mut self.root, "", 0)?;
        cursor.end()
    }

    /// What would conflict with the pipeline's mapping, and where it says nothing, if OpenSearch mapped it by itself.
    #[must_use]
    pub fn conflicts(&self) -> Vec<Conflict> {
        let mut conflicts = self.refused.clone();
        conflict::find(&self.root, "", &self.mapped, &mut conflicts);
        conflicts.extend(conflict::too_many(conflict::fields(&self.root, &self.mapped), self.limit));
        conflicts
    }
}

impl Document<'_> {
    fn sample(&self, value: &str) -> Sample {
        let mut short: String = value.chars().take(32).map(|c| if c.is_control() { ' ' } else { c }).collect();
        if value.chars().nth(32).is_some() {
            short.push('…');
        }
        Sample { at: self.at.to_owned(), id: self.id.to_owned(), value: short }
    }

    /// Once for each field.
    fn refuse(&mut self, conflict: Conflict) {
        if !self.refused.iter().any(|known| known.field == conflict.field) {
            self.refused.push(conflict);
        }
    }

    /// Members of the object that begins here, into `field`; `above` is its path with a dot behind it.
    fn object(
        &mut self,
        cursor: &mut Cursor<'_>,
        field: &mut Field,
        above: &str,
        depth: usize,
    ) -> Result<(), Malformed> {
        cursor.members(|cursor, name| {
            let name = unescape(name).unwrap_or_default().into_owned();
            // The server drops what is empty behind the last dot.
            let parts: Vec<&str> = name.trim_end_matches('.').split('.').collect();
            let blank = |part: &&str| part.is_empty() || parts.len() > 1 && part.trim().is_empty();
            if parts.iter().any(blank) {
                self.refuse(conflict::unusable_name(above, &name, &self.sample("")));
                return cursor.skip().map(drop);
            }
            let (own, objects) = (parts.last().copied().unwrap_or_default(), parts.get(..parts.len() - 1));
            let (mut into, mut path) = (&mut *field, above.to_owned());
            for object in objects.into_iter().flatten() {
                path.push_str(object);
                into = into.children.entry((*object).to_owned()).or_default();
                into.see(Kind::Object, || Sample { value: format!("`{name}`"), ..self.sample("") });
                into.dotted = true;
                path.push('.');
            }
            path.push_str(own);
            let depth = depth + parts.len();
            if depth > DEPTH {
                self.refuse(conflict::too_deep(&path, depth, &self.sample("")));
                return cursor.skip().map(drop);
            }
            let into = into.children.entry(own.to_owned()).or_default();
            self.value(cursor, into, &path, depth, false)
        })
    }

    fn value(
        &mut self,
        cursor: &mut Cursor<'_>,
        field: &mut Field,
        path: &str,
        depth: usize,
        listed: bool,
    ) -> Result<(), Malformed> {
        match cursor.peek() {
            Some(b'{') => {
                field.see(Kind::Object, || self.sample("{…}"));
                field.objects_in_lists |= listed;
                self.object(cursor, field, &format!("{path}."), depth)
            }
            Some(b'[') => cursor.elements(|cursor| self.value(cursor, field, path, depth, true)),
            Some(b'"') => {
                let text = cursor.text()?;
                let text = String::from_utf8_lossy(&text);
                if self.binary.contains(path) {
                    field.see(Kind::Binary, || self.sample(&text));
                } else {
                    field.see_text(&text, || self.sample(&text));
                }
                Ok(())
            }
            _ => {
                let text = String::from_utf8_lossy(cursor.scalar()?).into_owned();
                match text.as_str() {
                    "null" => {}
                    "true" | "false" => field.see(Kind::Boolean, || self.sample(&text)),
                    number => field.see_number(number, || self.sample(number)),
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
