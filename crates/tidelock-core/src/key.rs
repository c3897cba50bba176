//! The key of a source record, in one form for each key: equal keys have equal bytes, different keys never do.
//!
//! A key is a list of parts sorted by attribute name (an event does not say which attribute is the partition key).

use crate::bson;
use crate::hex::hex;
use std::borrow::Cow;

/// The type of a key attribute. Part of the key's identity: the number `1` is not the text `"1"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Text.
    Text,
    /// A number, in [canonical](crate::json::canonical_number) notation.
    Number,
    /// Bytes.
    Binary,
    /// A BSON value of the type with this byte, in the form that
    /// [keys of MongoDB documents](crate::source::mongodb::DocumentKey) have.
    Bson(u8),
}

/// One attribute of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPart<'a> {
    /// The attribute's name.
    pub name: &'a str,
    /// The attribute's type.
    pub kind: KeyKind,
    /// The value: UTF-8 for text and numbers, the bytes themselves for binary, BSON's bytes for BSON.
    pub value: &'a [u8],
}

impl KeyPart<'_> {
    /// The value as an id's text: binary as base64url without padding, BSON as [`bson::id_text`] has it.
    fn text(&self) -> Cow<'_, str> {
        match self.kind {
            KeyKind::Text | KeyKind::Number => String::from_utf8_lossy(self.value),
            KeyKind::Binary => Cow::Owned(base64url(self.value)),
            KeyKind::Bson(kind) => match bson::value(kind, self.value) {
                Ok(value) => Cow::Owned(bson::id_text(value)),
                // Keys are checked when they are made.
                Err(_) => Cow::Owned(hex(self.value)),
            },
        }
    }
}

/// A key as stored in a batch; see [`KeyWriter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key<'a>(&'a [u8]);

impl<'a> Key<'a> {
    /// The key in bytes that [`KeyWriter`] wrote.
    #[must_use]
    pub fn from_bytes(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes: equal for equal keys only.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The parts, sorted by name.
    pub fn parts(&self) -> impl Iterator<Item = KeyPart<'a>> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (&tag, tail) = rest.split_first()?;
            let (name, tail) = take(tail)?;
            let (value, tail) = take(tail)?;
            rest = tail;
            let (kind, value) = match tag {
                b'S' => (KeyKind::Text, value),
                b'N' => (KeyKind::Number, value),
                b'B' => (KeyKind::Binary, value),
                _ => value.split_first().map(|(&kind, value)| (KeyKind::Bson(kind), value))?,
            };
            Some(KeyPart { name: std::str::from_utf8(name).ok()?, kind, value })
        })
    }

    /// The only part, if the key has just one.
    #[must_use]
    pub fn single(&self) -> Option<KeyPart<'a>> {
        let mut parts = self.parts();
        let first = parts.next()?;
        parts.next().is_none().then_some(first)
    }

    /// The id for targets whose ids are text: one part as it is; several escaped (`\` → `\\`, `|` → `\|`) and joined by `|`.
    #[must_use]
    pub fn text_id(&self) -> String {
        if let Some(part) = self.single() {
            return part.text().into_owned();
        }
        let mut id = String::new();
        for (index, part) in self.parts().enumerate() {
            if index > 0 {
                id.push('|');
            }
            for c in part.text().chars() {
                if matches!(c, '\\' | '|') {
                    id.push('\\');
                }
                id.push(c);
            }
        }
        id
    }

    /// The key as JSON in the source's own notation, for letters and logs: `{"id":{"N":"1"}}`, and extended JSON of BSON,
    /// `{"_id":{"$oid":"…"}}`.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (index, part) in self.parts().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            crate::json::write_string(out, part.name);
            out.push(b':');
            let (tag, value): (&[u8], _) = match part.kind {
                KeyKind::Text => (b"{\"S\":", String::from_utf8_lossy(part.value)),
                KeyKind::Number => (b"{\"N\":", String::from_utf8_lossy(part.value)),
                KeyKind::Binary => (b"{\"B\":", Cow::Owned(crate::encode::base64_text(part.value))),
                KeyKind::Bson(kind) => {
                    match bson::value(kind, part.value) {
                        Ok(value) => bson::write_extended(out, value),
                        Err(_) => out.extend_from_slice(b"null"),
                    }
                    continue;
                }
            };
            out.extend_from_slice(tag);
            crate::json::write_string(out, &value);
            out.push(b'}');
        }
        out.push(b'}');
    }
}

fn take(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

fn base64url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// Writes keys into a batch's key storage.
#[derive(Debug, Default)]
pub struct KeyWriter {
    parts: Vec<(Vec<u8>, Vec<u8>)>,
}

impl KeyWriter {
    /// Adds an attribute of the key that is being written.
    pub fn part(&mut self, name: &str, kind: KeyKind, value: &[u8]) {
        let mut bytes = Vec::with_capacity(9 + name.len() + value.len());
        push_part(&mut bytes, name, kind, value);
        self.parts.push((name.as_bytes().to_vec(), bytes));
    }

    /// Forgets what was added.
    pub fn clear(&mut self) {
        self.parts.clear();
    }

    /// Appends the key to `out`, its parts sorted by name.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.parts.sort();
        for (_, bytes) in self.parts.drain(..) {
            out.extend_from_slice(&bytes);
        }
    }
}

/// Appends one part in the stored form: tag, name, value, both with their length. Of BSON, the type's byte is part of the
/// value.
pub(crate) fn push_part(out: &mut Vec<u8>, name: &str, kind: KeyKind, value: &[u8]) {
    let (tag, kind) = match kind {
        KeyKind::Text => (b'S', None),
        KeyKind::Number => (b'N', None),
        KeyKind::Binary => (b'B', None),
        KeyKind::Bson(kind) => (b'M', Some(kind)),
    };
    out.push(tag);
    push_length(out, name.len());
    out.extend_from_slice(name.as_bytes());
    push_length(out, value.len() + usize::from(kind.is_some()));
    out.extend(kind);
    out.extend_from_slice(value);
}

fn push_length(out: &mut Vec<u8>, length: usize) {
    // Payloads are far below 4 GB.
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(parts: &[(&str, KeyKind, &[u8])]) -> Vec<u8> {
        let (mut writer, mut out) = (KeyWriter::default(), Vec::new());
        for (name, kind, value) in parts {
            writer.part(name, *kind, value);
        }
        writer.finish(&mut out);
        out
    }

    #[test]
    fn order_of_attributes_does_not_matter() {
        let a = key(&[("pk", KeyKind::Text, b"a|b"), ("sk", KeyKind::Number, b"7")]);
        let b = key(&[("sk", KeyKind::Number, b"7"), ("pk", KeyKind::Text, b"a|b")]);
        assert_eq!(a, b);
        assert_eq!(Key::from_bytes(&a).text_id(), r"a\|b|7");
        let mut json = Vec::new();
        Key::from_bytes(&a).write_json(&mut json);
        assert_eq!(json, br#"{"pk":{"S":"a|b"},"sk":{"N":"7"}}"#);
    }

    #[test]
    fn kinds_are_part_of_the_identity() {
        assert_ne!(key(&[("id", KeyKind::Text, b"1")]), key(&[("id", KeyKind::Number, b"1")]));
    }

    proptest! {
        #[test]
        fn ids_of_different_keys_never_meet(a in "[a\\\\|]{0,4}", b in "[a\\\\|]{0,4}", c in "[a\\\\|]{0,4}", d in "[a\\\\|]{0,4}") {
            let one = key(&[("p", KeyKind::Text, a.as_bytes()), ("s", KeyKind::Text, b.as_bytes())]);
            let two = key(&[("p", KeyKind::Text, c.as_bytes()), ("s", KeyKind::Text, d.as_bytes())]);
            prop_assert_eq!(Key::from_bytes(&one).text_id() == Key::from_bytes(&two).text_id(), one == two);
        }
    }
}
