//! Documents as the transforms of their routes want them.

use super::{Pipeline, Rules};
use crate::batch::{Batch, Content};
use crate::cause::{Cause, Failure};
use crate::encode::{BsonSink, Format, JsonSink};
use crate::image::{Image, Notation};
use crate::key::Key;
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
            let (true, Some(range), Some(origin)) = (has_values(&slot.content), &slot.image, slot.origin) else {
                continue;
            };
            let image = Image { notation, bytes: payload.get(range.clone()).unwrap_or_default() };
            let Some(transform) = rules.get(origin).and_then(|rules| rules.transform(&image)) else { continue };
            let Some(key) = slot.key.clone().and_then(|range| keys.get(range)).map(Key::from_bytes) else { continue };
            slot.content = match document(&image, transform, format, key) {
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

/// Whether it is an item, although the target may have no form for a value that a transform may change.
fn has_values(content: &Content) -> bool {
    match content {
        Content::Upsert(_) => true,
        Content::Delete => false,
        Content::Failed(failure) => matches!(
            failure.cause,
            Cause::UnrepresentableValue
                | Cause::ReservedField
                | Cause::NestedTooDeeply
                | Cause::UnknownType
                | Cause::InvalidValue
        ),
    }
}

/// What a transform makes of an item with this key.
///
/// # Errors
/// When a step cannot be done, or the target cannot hold what comes of it.
pub(crate) fn document(
    image: &Image<'_>,
    transform: &Transform,
    format: Format,
    key: Key<'_>,
) -> Result<Vec<u8>, Failure> {
    let id_is_key = key.parts().map(|part| part.name).eq(["_id"]);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::dynamodb::decode;
    use serde_json::{Value, json};

    fn record(key: &str, image: &Value) -> Value {
        json!({
            "eventName": "INSERT",
            "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/2020-04-29T13:00:00.000",
            "dynamodb": {"Keys": {"id": {"S": key}}, "NewImage": image, "SequenceNumber": "42"},
        })
    }

    #[test]
    fn each_item_takes_its_routes_steps_and_fails_alone() {
        let text = "
version: 1
routes:
  - {from: t, where: .kind == 1, transform: [{drop: [big]}, {convert: {field: n, to: long}}]}
  - {from: t}
";
        let pipeline = Pipeline::parse(text).expect("a pipeline");
        let big = "1".repeat(39);
        let images = [
            json!({"id": {"S": "a"}, "kind": {"N": "1"}, "n": {"S": "7"}, "big": {"N": big}}),
            json!({"id": {"S": "b"}, "kind": {"N": "1"}, "n": {"S": "x"}}),
            json!({"id": {"S": "c"}, "kind": {"N": "2"}, "n": {"S": "x"}}),
            json!({"id": {"S": "d"}, "kind": {"N": "2"}, "big": {"N": big}}),
        ];
        let records: Vec<Value> =
            ["a", "b", "c", "d"].iter().zip(&images).map(|(key, image)| record(key, image)).collect();
        let payload = json!({"Records": records}).to_string();
        let mut batch = decode(payload.as_bytes(), Format::Bson).expect("an event");
        pipeline.shape(payload.as_bytes(), &mut batch, Format::Bson);
        let failed = |index: usize| match &batch.slots[index].content {
            Content::Failed(failure) => Some(failure.cause),
            _ => None,
        };
        assert_eq!(
            [failed(0), failed(1)],
            [None, Some(Cause::TransformFailed)],
            "what the target cannot hold is gone in time"
        );
        assert_eq!([failed(2), failed(3)], [None, Some(Cause::UnrepresentableValue)]);
        let Content::Upsert(range) = batch.slots[0].content.clone() else { panic!("no document") };
        let elements = &batch.documents[range];
        let length = i32::try_from(elements.len() + 5).expect("short").to_le_bytes();
        let document = [&length[..], elements, b"\0"].concat();
        let document: bson::Document = bson::deserialize_from_slice(&document).expect("BSON");
        assert_eq!(document, bson::doc! {"id": "a", "kind": 1, "n": 7});
    }
}
