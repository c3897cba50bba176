//! Documents as the transforms of their routes want them.

use super::{Pipeline, Route, Routed, Rules};
use crate::batch::{Batch, Before, Content, Counted, Order, Origin, Slot};
use crate::cause::{Cause, Failure};
use crate::encode::{BsonSink, Format, JsonSink};
use crate::image::{Field, Image, Notation};
use crate::key::Key;
use crate::slow::softened_new;
use crate::source::dynamodb::transformed;
use crate::source::{EnvelopeError, Reader};
use crate::target::Deletes;
use crate::transform::Transform;
use crate::version::field::{self, FieldVersion, Rank};
use std::ops::Range;

impl Pipeline {
    /// Reads an event and makes of it what the pipeline wants.
    ///
    /// # Errors
    /// When the payload is no event of the source.
    pub fn decode(&self, reader: &Reader, payload: &[u8], format: Format) -> Result<Batch, EnvelopeError> {
        let as_it_is = Transform::default();
        let transforms = self.file.iter().flat_map(|file| &file.routes).any(|route| route.transform.is_some());
        let (mut batch, made) = match reader.decode_transformed {
            _ if !transforms && self.looks_at_items() => ((reader.decode_with_images)(payload, format)?, false),
            _ if !transforms => ((reader.decode)(payload, format)?, false),
            None => ((reader.decode_deferred)(payload, format)?, false),
            Some(decode) => {
                let transform = |origin: &Origin| {
                    self.common_transform(&origin.name).map(|transform| transform.unwrap_or(&as_it_is))
                };
                (decode(payload, format, &transform)?, true)
            }
        };
        self.shape(payload, &mut batch, format, made);
        Ok(batch)
    }

    /// What becomes of the fields of all items of a source; `None`: that depends on the item, or several things become of it.
    fn common_transform(&self, name: &str) -> Option<Option<&Transform>> {
        match self.rules(name, 0) {
            Rules::Same(_, route) if self.branches(name) == 1 => Some(route.and_then(|route| route.transform.as_ref())),
            _ => None,
        }
    }

    /// Makes of a decoded batch what the pipeline wants of it: a slot for every route that a change takes, and the documents that
    /// their transforms make of the items. An item of which one makes nothing fails alone. `payload` is what the batch was decoded
    /// from; `made` says that the documents that are there are made by transforms.
    fn shape(&self, payload: &[u8], batch: &mut Batch, format: Format, made: bool) {
        self.count(payload, batch);
        self.fan_out(batch);
        let has_work = |route: &Route| route.transform.is_some() || route.manner.deletes != Deletes::Hard;
        if !self.file.iter().flat_map(|file| &file.routes).any(has_work) {
            return;
        }
        let rules: Vec<Rules<'_>> =
            batch.origins.iter().map(|origin| self.rules(&origin.name, origin.branch)).collect();
        let notation = batch.notation;
        let as_it_is = Transform::default();
        let Batch { slots, documents, keys, images, .. } = batch;
        let text = match notation {
            Notation::DynamoDb => payload,
            Notation::Bson => images,
        };
        for slot in slots {
            let Some(rules) = slot.origin.and_then(|origin| rules.get(origin)) else { continue };
            let Some(key) = slot.key.clone().and_then(|range| keys.get(range)).map(Key::from_bytes) else { continue };
            let image = |range: &Range<usize>| Image { notation, bytes: text.get(range.clone()).unwrap_or_default() };
            if made && matches!(slot.content, Content::Upsert(_)) {
                continue;
            }
            let document = match (&slot.content, &slot.image) {
                (Content::Delete, _) => match soft(slot, rules, &image, format, key) {
                    None => continue,
                    // The item is told of as it was.
                    Some(Ok((old, document))) => {
                        slot.image = Some(old);
                        Ok(document)
                    }
                    Some(Err(failure)) => Err(failure),
                },
                // The source might say that it is gone, and nobody what that means.
                (Content::Failed(failure), None)
                    if failure.cause == Cause::MissingImage
                        && slot.before.image().is_none()
                        && rules.deletes(None).is_none() =>
                {
                    Err(Failure::new(Cause::MissingOldImage, DIFFERENT))
                }
                (content, Some(range)) if has_values(content) => {
                    let image = image(range);
                    match rules.transform(&image) {
                        Some(transform) => document(&image, transform, format, key),
                        None if *content == Content::Deferred => document(&image, &as_it_is, format, key),
                        None => continue,
                    }
                }
                _ => continue,
            };
            slot.content = match document {
                Ok(document) => {
                    let from = documents.len();
                    documents.extend_from_slice(&document);
                    Content::Upsert(from..documents.len())
                }
                Err(failure) => Content::Failed(Box::new(failure)),
            };
        }
    }

    /// Orders changes by the numbers of their items where routes say so.
    fn count(&self, payload: &[u8], batch: &mut Batch) {
        if !self.counts() {
            return;
        }
        let counted = |origin: &Origin| {
            let field = self.version_field(&origin.name)?;
            Some((field, self.rules(&origin.name, 0)))
        };
        let counted: Vec<Option<(&[String], Rules<'_>)>> = batch.origins.iter().map(counted).collect();
        for (origin, counted) in batch.origins.iter_mut().zip(&counted) {
            if let Some((field, _)) = counted {
                origin.space = field::space(&origin.name, &field.join("."));
            }
        }
        for index in 0..batch.slots.len() {
            let Some(slot) = batch.slots.get(index) else { continue };
            let Some((field, rules)) = slot.origin.and_then(|origin| counted.get(origin)?.as_ref()) else { continue };
            let number = numbered(payload, batch, slot, field);
            // What no route wants needs no number.
            let number = match number {
                Err(_) if Self::filters(payload, batch, slot, rules) => Ok(FieldVersion::lowest(Rank::Upsert)),
                number => number,
            };
            let before = slot.before.image().filter(|_| slot.content != Content::Delete);
            let before = before.and_then(|range| item_version(&batch.image(payload, range), field, Rank::Upsert).ok());
            let token = match &slot.order {
                Some(Order::Cluster(_, token)) => token.clone(),
                _ => {
                    let from = batch.keys.len();
                    batch
                        .keys
                        .extend_from_slice(slot.position.clone().and_then(|at| payload.get(at)).unwrap_or_default());
                    from..batch.keys.len()
                }
            };
            let Some(slot) = batch.slots.get_mut(index) else { continue };
            slot.order = None;
            match number {
                Ok(version) => {
                    let rises = before.is_none_or(|before| before < version);
                    let leaving = before.map_or(version, |before| before.max(version)).ended();
                    slot.order = Some(Order::Field(Box::new(Counted { version, leaving, rises, token })));
                }
                Err(failure) => slot.content = Content::Failed(Box::new(failure)),
            }
            if slot.content == Content::Delete && slot.before.image().is_none() {
                let why = "the version of a delete is the number of the item's last image (`version: {field}`), which the record does not carry: the stream's view type must be NEW_AND_OLD_IMAGES, or TIDELOCK_SOURCE be set";
                slot.content = Content::Failed(Box::new(Failure::new(Cause::MissingImage, why)));
            }
        }
    }

    /// Whether no route wants what a record tells of, before or after.
    fn filters(payload: &[u8], batch: &Batch, slot: &Slot, rules: &Rules<'_>) -> bool {
        let Some(key) = batch.key(slot) else { return false };
        let mut images = slot.image.iter().chain(slot.before.image()).peekable();
        images.peek().is_some()
            && images.all(|range| matches!(rules.locate(&batch.image(payload, range), key), Routed::Filtered))
    }

    /// Gives a change a slot of its own for each further route that it may take.
    fn fan_out(&self, batch: &mut Batch) {
        let branches: Vec<usize> = batch.origins.iter().map(|origin| self.branches(&origin.name)).collect();
        if branches.iter().all(|branches| *branches == 1) {
            return;
        }
        // The origins of an origin's branches.
        let mut further: Vec<Vec<usize>> = Vec::new();
        for (index, branches) in branches.into_iter().enumerate() {
            let mut own = Vec::new();
            for branch in 1..branches {
                let Some(origin) = batch.origins.get(index).cloned() else { continue };
                own.push(batch.origins.len());
                batch.origins.push(Origin { branch, ..origin });
            }
            further.push(own);
        }
        let mut slots = Vec::with_capacity(batch.slots.len() * 2);
        for slot in batch.slots.drain(..) {
            let own = slot.origin.and_then(|origin| further.get(origin)).map_or(&[][..], Vec::as_slice);
            let usable = match &slot.content {
                Content::Failed(failure) => has_values(&slot.content) || failure.cause == Cause::MissingImage,
                _ => true,
            };
            let own = if usable { own } else { &[] };
            slots.push(slot.clone());
            slots.extend(own.iter().map(|&origin| Slot { origin: Some(origin), ..slot.clone() }));
        }
        batch.slots = slots;
    }
}

/// The number that an item holds, as the version of its change. Without an item to look at it is the lowest: the source tells what
/// there is, and the target what it is newer than.
fn numbered(payload: &[u8], batch: &Batch, slot: &Slot, field: &[String]) -> Result<FieldVersion, Failure> {
    match (&slot.content, &slot.before, &slot.image) {
        (Content::Delete, Before::Image(range), _) => item_version(&batch.image(payload, range), field, Rank::Delete),
        (Content::Delete, ..) => Ok(FieldVersion::lowest(Rank::Delete)),
        (_, _, Some(range)) => item_version(&batch.image(payload, range), field, Rank::Upsert),
        (_, _, None) => Ok(FieldVersion::lowest(Rank::Upsert)),
    }
}

/// The version of an item that holds its number.
///
/// # Errors
/// When there is none.
pub(crate) fn item_version(image: &Image<'_>, field: &[String], rank: Rank) -> Result<FieldVersion, Failure> {
    let refused = |why: String| Failure::new(Cause::InvalidVersion, format!("field `{}`: {why}", field.join(".")));
    match image.field(field) {
        Field::Number(text) => FieldVersion::parse(Some(&text), rank).map_err(|refusal| refused(refusal.to_string())),
        Field::Missing => Err(refused("the item has none, and no version without it".to_owned())),
        other => Err(refused(format!("it is {}, and must be a whole number", other.kind()))),
    }
}

const DIFFERENT: &str = "the routes differ in `deletes`, and the record has no image that says which of them the item took: the stream's view type must be NEW_AND_OLD_IMAGES";

/// An old image, and the document that is made of it.
type Softened = (Range<usize>, Vec<u8>);

/// The document that a delete leaves where its route wants it to, and the old image it is made of; `None` where it is a delete.
fn soft<'a>(
    slot: &Slot,
    rules: &Rules<'_>,
    image: &impl Fn(&Range<usize>) -> Image<'a>,
    format: Format,
    key: Key<'_>,
) -> Option<Result<Softened, Failure>> {
    let before = slot.before.image();
    let old = before.map(image);
    let deletes = match rules.deletes(old.as_ref()) {
        Some(deletes @ Deletes::Soft { .. }) => deletes,
        Some(_) => return None,
        None => {
            return Some(Err(Failure::new(Cause::MissingOldImage, DIFFERENT)));
        }
    };
    let (Some(range), Some(old)) = (before, old) else {
        let why = "`deletes: soft` keeps the item as it was, and the record has no old image: the stream's view type must be NEW_AND_OLD_IMAGES, or TIDELOCK_SOURCE be set";
        return Some(Err(Failure::new(Cause::MissingImage, why)));
    };
    let as_it_is = Transform::default();
    let transform = rules.transform(&old).unwrap_or(&as_it_is);
    Some(document(&old, transform, format, key).and_then(|document| {
        let soft = softened_new(format, &document, deletes, slot.at);
        let failure = || Failure::new(Cause::InvalidValue, "the item as it was cannot be read");
        soft.map(|document| (range.clone(), document)).ok_or_else(failure)
    }))
}

/// Whether it is an item, although the target may have no form for a value that a transform may change.
fn has_values(content: &Content) -> bool {
    match content {
        Content::Upsert(_) | Content::Deferred => true,
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
mod passes;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::dynamodb::READER;
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
        let batch = pipeline.decode(&READER, payload.as_bytes(), Format::Bson).expect("an event");
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

    #[test]
    fn a_delete_of_which_nobody_knows_the_route_is_not_done_as_any_of_them_wants() {
        let delete = |old: Option<Value>| {
            let mut record = record("a", &json!({}));
            record["eventName"] = json!("REMOVE");
            let change = record["dynamodb"].as_object_mut().expect("an object");
            change.remove("NewImage");
            change.extend(old.map(|old| ("OldImage".to_owned(), old)));
            json!({"Records": [record]}).to_string()
        };
        let content = |routes: &str, payload: &str| {
            let pipeline = Pipeline::parse(&format!("version: 1\nroutes: [{routes}]")).expect("a pipeline");
            let batch = pipeline.decode(&READER, payload.as_bytes(), Format::Json).expect("an event");
            match batch.slots[0].content.clone() {
                Content::Failed(failure) => Err(failure.cause),
                Content::Upsert(range) => Ok(String::from_utf8_lossy(&batch.documents[range]).into_owned()),
                other => Ok(format!("{other:?}")),
            }
        };
        let (without, with) = (delete(None), delete(Some(json!({"id": {"S": "a"}, "kind": {"N": "1"}}))));
        for other in ["soft", "ignore"] {
            let routes = format!("{{from: t, where: .kind == 1, deletes: {other}}}, {{from: t}}");
            assert_eq!(content(&routes, &without), Err(Cause::MissingOldImage), "{other}");
            let known = if other == "soft" { r#"{"id":"a","kind":1,"_deleted":true"# } else { "Delete" };
            assert_eq!(content(&routes, &with).as_deref(), Ok(known));
        }
        let same = "{from: t, where: .kind == 1, to: x, deletes: ignore}, {from: t, deletes: ignore}";
        assert_eq!(content(same, &without).as_deref(), Ok("Delete"), "left out by the plan");
        assert_eq!(content("{from: t, deletes: soft}", &without), Err(Cause::MissingImage), "a source may tell");
    }

    #[test]
    fn changes_are_ordered_by_the_numbers_of_their_items() {
        let text = "{version: 1, routes: [{from: t, version: {field: rev.n}}]}";
        let pipeline = Pipeline::parse(text).expect("a pipeline");
        let item = |number: Value| json!({"id": {"S": "a"}, "rev": {"M": {"n": number}}});
        let change = |name: &str, old: Option<Value>, new: Option<Value>| {
            let mut record = record("a", &json!({}));
            record["eventName"] = json!(name);
            let images = record["dynamodb"].as_object_mut().expect("an object");
            images.remove("NewImage");
            images.extend(old.map(|old| ("OldImage".to_owned(), old)));
            images.extend(new.map(|new| ("NewImage".to_owned(), new)));
            record
        };
        let number = |number: &str| item(json!({"N": number}));
        let records = [
            change("INSERT", None, Some(number("7"))),
            change("REMOVE", Some(number("7")), None),
            change("REMOVE", None, None),
            change("MODIFY", None, Some(item(json!({"S": "7"})))),
            change("MODIFY", None, Some(json!({"id": {"S": "a"}}))),
            change("MODIFY", None, Some(number("1.5"))),
            change("MODIFY", None, None),
        ];
        let payload = json!({"Records": records}).to_string();
        let batch = pipeline.decode(&READER, payload.as_bytes(), Format::Json).expect("an event");
        let told = |index: usize| match (&batch.slots[index].content, batch.version(&batch.slots[index])) {
            (Content::Failed(failure), None) => format!("{}: {}", failure.cause, failure.detail),
            (Content::Failed(failure), Some(version)) => format!("{} at {}", failure.cause, version.exact),
            (_, Some(version)) => format!("{} {} {}", version.space, version.exact, version.token),
            other => format!("{other:?}"),
        };
        assert_eq!(told(0), "field:t:rev.n 00000000000000000007.0 42");
        assert_eq!(told(1), "field:t:rev.n 00000000000000000007.1 42");
        for (index, begins) in [
            (2, "missing_image at 00000000000000000000.1"),
            (3, "invalid_version: field `rev.n`: it is a text, and must be a whole number"),
            (4, "invalid_version: field `rev.n`: the item has none"),
            (5, "invalid_version: field `rev.n`: the version field `1.5` is no integer"),
            (6, "missing_image at 00000000000000000000.0"),
        ] {
            assert!(told(index).starts_with(begins), "{}", told(index));
        }
    }
}
