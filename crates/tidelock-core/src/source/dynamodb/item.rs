//! One item as DynamoDB's API gives it, `{"id":{"N":"1"},…}`: the same grammar and the same rules as a record's image.

use super::attribute::{self, Reserved, Stop, item, stop};
use super::key::{check_key, key_value};
use crate::cause::{Cause, Failure};
use crate::encode::{BsonSink, Format, JsonSink, Sink};
use crate::json::{Cursor, unescape};
use crate::key::{Key, KeyWriter};
use crate::transform::{Fields, Transform};

/// An item that has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its key; compare with [`Key::as_bytes`].
    pub key: Vec<u8>,
    /// The document as the format's [sink](crate::encode::Sink) writes it, or why the target cannot hold it.
    pub document: Result<Vec<u8>, Failure>,
}

/// Decodes an item whose key is made of the attributes `names`. `text` is the item alone.
///
/// # Errors
/// When its key cannot be read: then nobody knows whose document it is.
pub fn decode_item(text: &[u8], names: &[&str], format: Format) -> Result<Item, Failure> {
    let key = item_key(text, names)?;
    let document = match format {
        Format::Json => document(text, &key, names, format, JsonSink::with_capacity(text.len())),
        Format::Bson => document(text, &key, names, format, BsonSink::with_capacity(text.len())),
    };
    let document = document.map_err(failure);
    Ok(Item { key, document })
}

/// The key of an item, or of a map that holds nothing else: the attributes `names`. Compare with [`Key::as_bytes`].
///
/// # Errors
/// When one of them is missing or cannot be a key, or the text is no item.
pub fn item_key(text: &[u8], names: &[&str]) -> Result<Vec<u8>, Failure> {
    if simdutf8::basic::from_utf8(text).is_err() {
        return Err(Failure::new(Cause::MalformedRecord, "the item is not UTF-8"));
    }
    key(text, names).map_err(failure)
}

fn key(text: &[u8], names: &[&str]) -> Result<Vec<u8>, Stop> {
    let mut cursor = Cursor::new(text);
    if !cursor.take(b'{') {
        return Err(stop(Cause::MalformedRecord, "the item is not a map of attributes"));
    }
    let mut writer = KeyWriter::default();
    let mut missing = names.to_vec();
    if !cursor.take(b'}') {
        loop {
            let name = cursor.name()?;
            let unescaped = if name.escaped { unescape(name) } else { None };
            let plain = unescaped.as_deref().map_or(name.raw, str::as_bytes);
            if let Some(at) = missing.iter().position(|name| name.as_bytes() == plain) {
                let name = missing.swap_remove(at);
                let (kind, value) = key_value(&mut cursor, name)?;
                writer.part(name, kind, &value);
            } else {
                cursor.skip()?;
            }
            if !cursor.more(b'}')? {
                break;
            }
        }
    }
    cursor.end()?;
    if let Some(name) = missing.first() {
        return Err(stop(Cause::MissingKey, format!("the item has no key attribute `{name}`")));
    }
    let mut key = Vec::new();
    writer.finish(&mut key);
    Ok(key)
}

fn document<S: Sink>(text: &[u8], key: &[u8], names: &[&str], format: Format, mut sink: S) -> Result<Vec<u8>, Stop> {
    for part in Key::from_bytes(key).parts() {
        check_key(format, part.name, part.kind, part.value)?;
    }
    let reserved = Reserved { id: format == Format::Bson, id_is_key: names == ["_id"] };
    item(&mut Cursor::new(text), &mut sink, reserved)?;
    Ok(sink.into_bytes())
}

/// The document that a transform makes of an item.
///
/// # Errors
/// When the item cannot be read, a step cannot be done, or the target cannot hold what comes of it.
pub(crate) fn transformed<S: Sink>(
    text: &[u8],
    transform: &Transform,
    format: Format,
    id_is_key: bool,
    mut sink: S,
) -> Result<Vec<u8>, Failure> {
    let reserved = Reserved { id: format == Format::Bson, id_is_key };
    let mut fields = Fields::new();
    attribute::transformed(&mut Cursor::new(text), &mut sink, reserved, transform, &mut fields).map_err(failure)?;
    Ok(sink.into_bytes())
}

fn failure(stop: Stop) -> Failure {
    match stop {
        Stop::Value(fault) => fault.into_failure(),
        Stop::Structure(error) => Failure::new(Cause::MalformedRecord, format!("the item cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;
    use crate::batch::Content;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const FORMATS: [Format; 2] = [Format::Json, Format::Bson];

    /// Key and content as the decoder of records sees them in an event.
    fn as_image(key: &Value, image: &Value, format: Format) -> (Option<Vec<u8>>, Result<Vec<u8>, Failure>) {
        let record = json!({
            "eventName": "INSERT",
            "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/2020-04-29T13:00:00.000",
            "dynamodb": {"Keys": key, "NewImage": image, "SequenceNumber": "42"},
        });
        let batch = decode(json!({"Records": [record]}).to_string().as_bytes(), format).expect("an event");
        let slot = &batch.slots[0];
        let content = match &slot.content {
            Content::Upsert(range) => Ok(batch.documents[range.clone()].to_vec()),
            Content::Failed(failure) => Err((**failure).clone()),
            Content::Delete | Content::Deferred => panic!("not a delete"),
        };
        (batch.key(slot).map(|key| key.as_bytes().to_vec()), content)
    }

    #[test]
    fn an_item_is_what_an_image_is() {
        let digits = "12345678901234567890123456789012345678";
        let nested = (0..40).fold(json!({"N": "1"}), |inner, _| json!({"L": [inner]}));
        for (names, item) in [
            (&["id"][..], json!({"id": {"N": "1.0"}, "a": {"S": "x\u{1F600}\n"}, "m": {"M": {"b": {"BS": ["AA=="]}}}})),
            (&["id"], json!({"n": {"N": digits}, "id": {"S": "1"}})),
            (&["id"], json!({"n": {"N": "1E+125"}, "id": {"S": "1"}})),
            (&["pk", "sk"], json!({"sk": {"B": "+/8="}, "pk": {"S": "a|b"}, "_id": {"S": "x"}})),
            (&["sk", "pk"], json!({"sk": {"N": "-0"}, "pk": {"S": "a|b"}})),
            (&["_id"], json!({"_id": {"N": "7"}, "v": {"NULL": true}})),
            (&["id"], json!({"id": {"S": "1"}, "_tidelock": {"S": "x"}})),
            (&["id"], json!({"id": {"S": "1"}, "a": {"M": {"b": {"X": "1"}}}})),
            (&["id"], json!({"id": {"S": "1"}, "deep": nested})),
        ] {
            let key: Value = names.iter().map(|name| ((*name).to_owned(), item[name].clone())).collect();
            for format in FORMATS {
                let found = decode_item(item.to_string().as_bytes(), names, format).expect("a key");
                assert_eq!((Some(found.key), found.document), as_image(&key, &item, format), "{item}");
            }
        }
    }

    #[test]
    fn a_key_that_the_target_cannot_hold_is_the_items_failure() {
        let item = br#"{"_id":{"N":"12345678901234567890123456789012345678"}}"#;
        let json = decode_item(item, &["_id"], Format::Json).expect("a key");
        assert_eq!(json.document.as_deref(), Ok(&b"{"[..]));
        let bson = decode_item(item, &["_id"], Format::Bson).expect("a key");
        assert_eq!(bson.key, json.key);
        assert_eq!(bson.document.map_err(|failure| failure.cause), Err(Cause::UnrepresentableValue));
    }

    #[test]
    fn an_escaped_name_is_the_same_name() {
        let escaped = item_key(br#"{"\u0069d":{"S":"\u0061"}}"#, &["id"]).expect("a key");
        assert_eq!(escaped, item_key(br#"{"id":{"S":"a"}}"#, &["id"]).expect("a key"));
    }

    #[test]
    fn without_its_key_an_item_is_nobodys() {
        for (text, cause) in [
            (&br#"{"a":{"S":"1"}}"#[..], Cause::MissingKey),
            (br#"{"id":{"BOOL":true}}"#, Cause::MissingKey),
            (br#"{"id":{"N":"x"}}"#, Cause::MissingKey),
            (b"{}", Cause::MissingKey),
            (b"[]", Cause::MalformedRecord),
            (br#"{"id":{"S":"1"}"#, Cause::MalformedRecord),
            (br#"{"id":{"S":"1"}}}"#, Cause::MalformedRecord),
            (b"{\"id\":{\"S\":\"\xff\"}}", Cause::MalformedRecord),
        ] {
            let failure = decode_item(text, &["id"], Format::Json).expect_err("no key");
            assert_eq!(failure.cause, cause, "{}", String::from_utf8_lossy(text));
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(text in r#"[\[\]\{\}",:0-9idSNBMLx]{0,60}"#) {
            for format in FORMATS {
                let _ = decode_item(text.as_bytes(), &["id"], format);
            }
        }
    }
}
