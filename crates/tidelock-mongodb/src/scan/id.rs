//! An `_id` as it is stored, byte for byte.
//!
//! As a tree of values it could become another one: a document may hold a name twice, a text may be no UTF-8. What a scan
//! resumes behind must be the very `_id` that was read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mongodb::bson::spec::ElementType;
use mongodb::bson::{RawDocument, RawDocumentBuf, error::Error as BsonError};
use tidelock_core::bson::Decimal;
use tidelock_core::encode::base64_text;
use tidelock_core::source::mongodb::ID_FIELD;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Id {
    kind: ElementType,
    raw: Vec<u8>,
}

impl Id {
    /// A value of these bytes.
    pub(super) fn new(kind: ElementType, raw: impl Into<Vec<u8>>) -> Self {
        Self { kind, raw: raw.into() }
    }

    /// The `_id` of a document; `None` when there is none to be found. What is inside of it is not looked at.
    pub(super) fn of(document: &RawDocument) -> Option<Self> {
        // Behind the document's length. An element is its type, its name, a NUL and its value.
        let mut start = 4;
        for element in document.iter_elements() {
            let element = element.ok()?;
            let value = start + element.key().len() + 2;
            let end = value + element.size();
            if element.key().as_str() == ID_FIELD {
                return Some(Self::new(element.element_type(), document.as_bytes().get(value..end)?));
            }
            start = end;
        }
        None
    }

    pub(super) fn kind(&self) -> ElementType {
        self.kind
    }

    /// How many bytes the value takes.
    pub(super) fn len(&self) -> usize {
        self.raw.len()
    }

    /// NaN, of whichever type.
    pub(super) fn is_nan(&self) -> bool {
        match self.kind {
            ElementType::Double => self.raw.as_slice().try_into().is_ok_and(|bytes| f64::from_le_bytes(bytes).is_nan()),
            ElementType::Decimal128 => {
                let of = |bytes| Decimal::from_bits(u128::from_le_bytes(bytes)) == Decimal::NotANumber;
                self.raw.as_slice().try_into().is_ok_and(of)
            }
            _ => false,
        }
    }

    /// Appends it as an element of this name.
    fn push(&self, out: &mut Vec<u8>, name: &str) {
        out.push(self.kind as u8);
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.extend_from_slice(&self.raw);
    }

    /// As text: base64 of the type's byte and the value's.
    pub(super) fn to_text(&self) -> String {
        let mut bytes = vec![self.kind as u8];
        bytes.extend_from_slice(&self.raw);
        base64_text(&bytes)
    }

    /// Reads what [`to_text`](Self::to_text) has written.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        let (&kind, raw) = bytes.split_first()?;
        let id = Self::new(ElementType::from(kind)?, raw);
        // One whole value, and nothing behind it.
        let document = elements([(ID_FIELD, &id)]).ok()?;
        let whole = document.iter_elements().count() == 1;
        Self::of(&document).filter(|read| whole && *read == id)
    }
}

/// A document of these elements.
pub(super) fn elements<'a>(elements: impl IntoIterator<Item = (&'a str, &'a Id)>) -> Result<RawDocumentBuf, BsonError> {
    let mut bytes = vec![0; 4];
    for (name, id) in elements {
        id.push(&mut bytes, name);
    }
    bytes.push(0);
    let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_le_bytes();
    if let Some(start) = bytes.get_mut(..4) {
        start.copy_from_slice(&length);
    }
    RawDocumentBuf::from_bytes(bytes)
}
