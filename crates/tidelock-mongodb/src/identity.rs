//! Ids as the server compares them, so that what is read back finds the operation it belongs to.
//!
//! To the server `5` is one number whatever its type, and the fields of an id have an order
//! ([comparison order](https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/)).

use mongodb::bson::{RawBsonRef, RawDocument, error::Error};
use tidelock_core::json::canonical_number;

/// One form for each id: equal for ids that are one to the server.
pub(crate) fn identity(id: RawBsonRef<'_>) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(32);
    push(&mut out, id)?;
    Ok(out)
}

fn push(out: &mut Vec<u8>, value: RawBsonRef<'_>) -> Result<(), Error> {
    match value {
        RawBsonRef::Int32(number) => push_number(out, &number.to_string()),
        RawBsonRef::Int64(number) => push_number(out, &number.to_string()),
        // A double has at most 1,074 decimal places.
        RawBsonRef::Double(number) if number.is_finite() => push_number(out, &format!("{number:.1074}")),
        RawBsonRef::Double(number) => push_number(out, &number.to_string()),
        RawBsonRef::Decimal128(number) => push_number(out, &number.to_string()),
        RawBsonRef::Document(document) => push_members(out, b'{', document)?,
        RawBsonRef::Array(array) => {
            out.push(b'[');
            for value in array {
                push(out, value?)?;
            }
            out.push(0);
        }
        RawBsonRef::Binary(binary) => {
            out.extend_from_slice(&[b'b', u8::from(binary.subtype)]);
            push_bytes(out, binary.bytes);
        }
        RawBsonRef::String(text) => {
            out.push(b's');
            push_bytes(out, text.as_bytes());
        }
        // Equal only if all of it is.
        other => {
            out.push(b'?');
            push_bytes(out, format!("{other:?}").as_bytes());
        }
    }
    Ok(())
}

fn push_members(out: &mut Vec<u8>, kind: u8, document: &RawDocument) -> Result<(), Error> {
    out.push(kind);
    for element in document {
        let (name, value) = element?;
        out.push(b'f');
        push_bytes(out, name.as_str().as_bytes());
        push(out, value)?;
    }
    out.push(0);
    Ok(())
}

fn push_number(out: &mut Vec<u8>, text: &str) {
    out.push(b'n');
    match canonical_number(text.as_bytes()) {
        Some(canonical) => push_bytes(out, &canonical),
        None => push_bytes(out, text.as_bytes()),
    }
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongodb::bson::{Bson, Decimal128, doc, oid::ObjectId};
    use std::str::FromStr as _;

    fn of(id: impl Into<Bson>) -> Vec<u8> {
        let bytes = doc! {"_id": id.into()}.to_vec().expect("serializable");
        let document = RawDocument::from_bytes(&bytes).expect("a document");
        identity(document.get("_id").expect("readable").expect("there")).expect("readable")
    }

    fn decimal(text: &str) -> Decimal128 {
        Decimal128::from_str(text).expect(text)
    }

    #[test]
    fn a_number_is_one_whatever_its_type() {
        assert_eq!(of(5), of(5_i64));
        assert_eq!(of(5), of(5.0));
        assert_eq!(of(5), of(decimal("5.000")));
        assert_eq!(of(0.5), of(decimal("0.5")));
        assert_eq!(of(5_000_000_000_i64), of(decimal("5E+9")));
        assert_eq!(of(doc! {"a": 1, "b": [2]}), of(doc! {"a": 1.0, "b": [2_i64]}));
        assert_eq!(of(0), of(-0.0));
        // The double next to 0.1 is not 0.1.
        assert_ne!(of(0.1), of(decimal("0.1")));
    }

    #[test]
    fn all_else_differs_as_soon_as_anything_does() {
        let binary =
            |subtype: u8, bytes: &[u8]| mongodb::bson::Binary { subtype: subtype.into(), bytes: bytes.to_vec() };
        let ids = [
            of("5"),
            of(5),
            of(""),
            of("a"),
            of("A"),
            of(binary(0, b"a")),
            of(binary(4, b"a")),
            of(binary(0, b"")),
            of(doc! {"a": 1, "b": 2}),
            of(doc! {"b": 2, "a": 1}),
            of(doc! {"a": doc! {"b": 1}}),
            of(doc! {"a": {}, "b": 1}),
            of(doc! {"a": [1, 2]}),
            of(vec![1, 2]),
            of(vec![Bson::from(vec![1]), Bson::from(2)]),
            of(true),
            of(false),
            of(Bson::Null),
            of(ObjectId::from_bytes([1; 12])),
            of(f64::NAN),
            of(f64::INFINITY),
        ];
        for (index, id) in ids.iter().enumerate() {
            assert!(!ids[..index].contains(id), "{index}");
        }
    }
}
