//! A body as a document of MongoDB: plain or extended JSON, its fields in their order.

use crate::gateway::Refused;
use mongodb::bson::{Bson, Document, oid::ObjectId, uuid::Uuid};
use tidelock_core::encode::MARK_FIELD;
use tidelock_core::source::mongodb::DocumentKey;

/// Reads a body. The document has its `_id` in front: the body's, or a new ObjectId.
///
/// # Errors
/// What is wrong with it, for whoever has sent it.
pub(super) fn read(body: &[u8]) -> Result<Document, Refused> {
    let mut document = fields(body)?;
    let id = document.remove("_id").unwrap_or_else(|| Bson::ObjectId(ObjectId::new()));
    let mut whole = Document::new();
    whole.insert("_id", id);
    whole.extend(document);
    text_id(&whole)?;
    Ok(whole)
}

/// Reads a body that replaces the document of this id. The document has no `_id`.
///
/// # Errors
/// As of [`read`], and when it is of another id.
pub(super) fn read_for(id: &Bson, body: &[u8]) -> Result<Document, Refused> {
    let mut document = fields(body)?;
    if let Some(own) = document.remove("_id") {
        let key = |id: &Bson| text_id(&Document::from_iter([("_id".to_owned(), id.clone())]));
        if key(&own)? != key(id)? {
            let message = "`_id` is not that of the path; a document's `_id` cannot be changed";
            return Err(Refused::bad("invalid_id", message));
        }
    }
    Ok(document)
}

fn fields(body: &[u8]) -> Result<Document, Refused> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Refused::bad("empty_body", "the body is empty; send a JSON object"));
    }
    if let Some(number) = beyond_64_bits(body) {
        let message =
            format!("{number} has more than 64 bits; write {{\"$numberDecimal\":\"{number}\"}} to keep its digits");
        return Err(Refused::bad("invalid_number", message));
    }
    let parsed = serde_json::from_slice(body);
    let parsed = parsed.map_err(|error| Refused::bad("invalid_json", format!("the body cannot be read: {error}")))?;
    let document = match parsed {
        Bson::Document(document) => document,
        Bson::Array(_) => return Err(Refused::bad("no_object", "the body is a list; send one JSON object at a time")),
        _ => return Err(Refused::bad("no_object", "the body is no JSON object")),
    };
    if document.contains_key(MARK_FIELD) {
        return Err(Refused::bad("invalid_name", format!("`{MARK_FIELD}` is a name that Tidelock needs for itself")));
    }
    check_names(&document)?;
    Ok(document)
}

/// The rules of DocumentDB, which are stricter than MongoDB's.
fn check_names(document: &Document) -> Result<(), Refused> {
    for (name, value) in document {
        let problem = match name.as_str() {
            "" => "is empty",
            name if name.starts_with('$') => "begins with `$`",
            name if name.contains('.') => "has a dot",
            name if name.contains('\0') => "has a NUL",
            _ => {
                check_value(value)?;
                continue;
            }
        };
        return Err(Refused::bad("invalid_name", format!("a field's name {problem}: `{}`", name.escape_debug())));
    }
    Ok(())
}

fn check_value(value: &Bson) -> Result<(), Refused> {
    match value {
        Bson::Document(document) => check_names(document),
        Bson::Array(values) => values.iter().try_for_each(check_value),
        _ => Ok(()),
    }
}

/// The first whole number of a JSON text that would lose digits.
fn beyond_64_bits(json: &[u8]) -> Option<String> {
    let mut rest = json;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'"' => {
                while let Some((&byte, tail)) = rest.split_first() {
                    rest = if byte == b'\\' { tail.get(1..).unwrap_or_default() } else { tail };
                    if byte == b'"' {
                        break;
                    }
                }
            }
            b'-' | b'0'..=b'9' => {
                let of_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
                let more = tail.iter().take_while(|byte| of_number(byte)).count();
                let (more, behind) = tail.split_at(more);
                rest = behind;
                let number = format!("{}{}", char::from(byte), String::from_utf8_lossy(more));
                if !number.contains(['.', 'e', 'E']) && number.parse::<i64>().is_err() {
                    return Some(number);
                }
            }
            _ => {}
        }
    }
    None
}

/// The id as text, as the target of the document's changes has it.
///
/// # Errors
/// When no document can have this `_id`.
pub(super) fn text_id(document: &Document) -> Result<String, Refused> {
    let bytes = document.to_vec().map_err(|error| Refused::bad("invalid_document", error.to_string()))?;
    let key = DocumentKey::of(&bytes).map_err(|failure| Refused::bad("invalid_id", failure.detail))?;
    Ok(key.key().text_id())
}

/// The `_id` that a text stands for: the way back from [`text_id`].
///
/// # Errors
/// When it is none.
pub(super) fn id(text: &str) -> Result<Bson, Refused> {
    let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    if lower
        && text.len() == 24
        && let Ok(id) = ObjectId::parse_str(text)
    {
        return Ok(Bson::ObjectId(id));
    }
    if lower
        && text.len() == 36
        && let Ok(id) = Uuid::parse_str(text)
    {
        return Ok(Bson::Binary(id.into()));
    }
    if let Ok(number) = text.parse::<i64>()
        && number.to_string() == text
    {
        return Ok(Bson::Int64(number));
    }
    if text.starts_with(['"', '{', '[']) || matches!(text, "true" | "false" | "null") {
        let refused = |error| Refused::bad("invalid_id", format!("the path's id cannot be read: {error}"));
        return serde_json::from_str(text).map_err(refused);
    }
    Ok(Bson::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongodb::bson::doc;

    fn code(body: &str) -> &'static str {
        match read(body.as_bytes()) {
            Err(refused) => refused.code,
            Ok(document) => panic!("{document}"),
        }
    }

    #[test]
    fn plain_and_extended_json_in_its_order() {
        let body =
            r#"{"z":1,"a":{"$numberDecimal":"0.1"},"when":{"$date":"2020-04-29T13:22:08Z"},"_id":"x","l":[1.5,null]}"#;
        let document = read(body.as_bytes()).expect("a document");
        assert_eq!(document.keys().collect::<Vec<_>>(), ["_id", "z", "a", "when", "l"]);
        assert!(matches!(document.get("a"), Some(Bson::Decimal128(_))));
        assert!(matches!(document.get("when"), Some(Bson::DateTime(_))));
        assert_eq!(document.get_str("_id").ok(), Some("x"));
        let new = read(br#"{"a":1}"#).expect("a document");
        assert_eq!(text_id(&new).expect("an id").len(), 24);
    }

    #[test]
    fn what_is_no_document_is_told_apart() {
        for (body, expected) in [
            ("", "empty_body"),
            (" \n", "empty_body"),
            ("{", "invalid_json"),
            (r#"{"a":1}{"#, "invalid_json"),
            ("[{}]", "no_object"),
            ("7", "no_object"),
            (r#""text""#, "no_object"),
            ("null", "no_object"),
            (r#"{"$oid":"5eb3f3a0e6d5a1b2c3d4e5f6"}"#, "no_object"),
            (r#"{"a":{"$oid":"no"}}"#, "invalid_json"),
            (r#"{"$set":{"a":1}}"#, "invalid_name"),
            (r#"{"a":[{"b":{"$set":1}}]}"#, "invalid_name"),
            (r#"{"a.b":1}"#, "invalid_name"),
            (r#"{"":1}"#, "invalid_name"),
            (r#"{"a\u0000":1}"#, "invalid_name"),
            (r#"{"_tidelock":{}}"#, "invalid_name"),
            (r#"{"_id":[1]}"#, "invalid_id"),
            (r#"{"_id":{"$regularExpression":{"pattern":"a","options":""}}}"#, "invalid_id"),
            (r#"{"n":9223372036854775808}"#, "invalid_number"),
            (r#"{"n":-12345678901234567890123}"#, "invalid_number"),
        ] {
            assert_eq!(code(body), expected, "{body}");
        }
        let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
        assert_eq!(code(&deep), "invalid_json");
    }

    #[test]
    fn numbers_that_fit_are_taken() {
        for body in
            [r#"{"n":9223372036854775807}"#, r#"{"n":"99999999999999999999"}"#, r#"{"n":"\"9999999999999999999 9"}"#]
        {
            assert!(read(body.as_bytes()).is_ok(), "{body}");
        }
    }

    #[test]
    fn ids_and_their_texts_lead_to_each_other() {
        for id_of in [
            doc! {"_id": ObjectId::parse_str("5eb3f3a0e6d5a1b2c3d4e5f6").expect("an id")},
            doc! {"_id": "5eb3f3a0e6d5a1b2c3d4e5f6"},
            doc! {"_id": "john"},
            doc! {"_id": 7},
            doc! {"_id": "7"},
            doc! {"_id": ""},
            doc! {"_id": true},
            doc! {"_id": {"b": 1, "a": "x"}},
            doc! {"_id": Uuid::parse_str("0123abcd-0123-4567-89ab-0123456789ab").expect("a UUID")},
        ] {
            let text = text_id(&id_of).expect("an id");
            let back = doc! {"_id": id(&text).expect("an id")};
            assert_eq!(text_id(&back).expect("an id"), text, "{id_of}");
            assert_eq!(back.get("_id").map(Bson::element_type), {
                let own = id_of.get("_id").map(Bson::element_type);
                own.map(|own| {
                    if own == mongodb::bson::spec::ElementType::Int32 {
                        mongodb::bson::spec::ElementType::Int64
                    } else {
                        own
                    }
                })
            });
        }
        assert!(id(r#"{"$oid":1}"#).is_err());
    }

    #[test]
    fn a_replacement_keeps_its_id() {
        let seven = Bson::Int64(7);
        assert_eq!(read_for(&seven, br#"{"_id":7,"a":1}"#).expect("the same"), doc! {"a": 1});
        assert_eq!(read_for(&seven, br#"{"a":1}"#).expect("none"), doc! {"a": 1});
        assert_eq!(read_for(&seven, br#"{"_id":"7","a":1}"#).expect_err("another").code, "invalid_id");
    }
}
