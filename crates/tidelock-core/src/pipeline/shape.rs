//! Documents as the transforms of their routes want them.

use super::{Pipeline, Rules};
use crate::batch::{Batch, Content};
use crate::cause::Failure;
use crate::encode::{BsonSink, Format, JsonSink};
use crate::image::{Image, Notation};
use crate::source::dynamodb::transformed;
use crate::transform::Transform;

impl Pipeline {
    /// Whether some route has a transform.
    #[must_use]
    pub fn has_transforms(&self) -> bool {
        self.file.iter().flat_map(|file| &file.routes).any(|route| route.transform.is_some())
    }

    /// Puts what transforms make of the items of a batch in the place of its documents. An item of which one makes nothing
    /// fails alone. `payload` is what the batch was decoded from.
    pub fn shape(&self, payload: &[u8], batch: &mut Batch, format: Format) {
        if !self.has_transforms() {
            return;
        }
        let rules: Vec<Rules<'_>> = batch.origins.iter().map(|origin| self.rules(&origin.name)).collect();
        let notation = batch.notation;
        let Batch { slots, documents, keys, .. } = batch;
        for slot in slots {
            let (Content::Upsert(_), Some(range), Some(origin)) = (&slot.content, &slot.image, slot.origin) else {
                continue;
            };
            let image = Image { notation, bytes: payload.get(range.clone()).unwrap_or_default() };
            let Some(transform) = rules.get(origin).and_then(|rules| rules.transform(&image)) else { continue };
            let key = slot.key.clone().and_then(|range| keys.get(range)).map(crate::key::Key::from_bytes);
            let id_is_key = key.is_some_and(|key| key.parts().map(|part| part.name).eq(["_id"]));
            slot.content = match document(&image, transform, format, id_is_key) {
                Ok(document) => {
                    let from = documents.len();
                    documents.extend_from_slice(&document);
                    Content::Upsert(from..documents.len())
                }
                Err(failure) => Content::Failed(Box::new(failure)),
            };
        }
    }
}

/// What a transform makes of an item.
///
/// # Errors
/// When a step cannot be done, or the target cannot hold what comes of it.
pub(crate) fn document(
    image: &Image<'_>,
    transform: &Transform,
    format: Format,
    id_is_key: bool,
) -> Result<Vec<u8>, Failure> {
    let (text, capacity) = (image.bytes, image.bytes.len());
    match (image.notation, format) {
        (Notation::DynamoDb, Format::Json) => {
            transformed(text, transform, format, id_is_key, JsonSink::with_capacity(capacity))
        }
        (Notation::DynamoDb, Format::Bson) => {
            transformed(text, transform, format, id_is_key, BsonSink::with_capacity(capacity))
        }
        (Notation::Bson, _) => crate::source::mongodb::transformed(text, transform, format),
    }
}
