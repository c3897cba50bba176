//! Reading back what a refused statement has met: `_id` and `_tidelock`, from the primary.

use crate::identity::identity;
use mongodb::bson::{
    Bson, Document, RawBson, RawBsonRef, RawDocument, RawDocumentBuf, cstr, doc, error::Error as BsonError,
};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{ReadConcern, ReadPreference, SelectionCriteria};
use mongodb::{ClientSession, Collection};
use std::collections::HashMap;
use tidelock_core::encode::{MARK_FIELD, write_bson_key};
use tidelock_core::key::Key;
use tidelock_core::version::Mark;

/// A document that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// The version that wrote it; `None` when there is none that can be read.
    pub(crate) mark: Option<Mark>,
    /// The operator expression that `_tidelock` meets as long as it is what was read.
    pub(crate) unchanged: Vec<u8>,
}

/// What is stored, by [identity].
pub(crate) type Found = HashMap<Vec<u8>, Stored>;

/// Ids of one query: at most 3 KB each, as DynamoDB's keys are, they stay far below a command's limit.
const IDS_PER_QUERY: usize = 1_000;

/// The identity of the id that a key becomes.
pub(crate) fn identity_of(key: Key<'_>) -> Result<Vec<u8>, BsonError> {
    let id = id_document(key)?;
    identity(id.get("_id")?.unwrap_or(RawBsonRef::Null))
}

fn id_document(key: Key<'_>) -> Result<RawDocumentBuf, BsonError> {
    let mut bytes = vec![0; 4];
    write_bson_key(&mut bytes, "_id", key);
    bytes.push(0);
    let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_le_bytes();
    if let Some(start) = bytes.get_mut(..4) {
        start.copy_from_slice(&length);
    }
    RawDocumentBuf::from_bytes(bytes)
}

/// Reads the documents of these keys.
///
/// With `majority`, only what no failover can take back is seen; together with the session's causal consistency that
/// includes what the refused statements have met.
pub(crate) async fn find(
    collection: &Collection<RawDocumentBuf>,
    keys: &[Key<'_>],
    majority: bool,
    mut session: Option<&mut ClientSession>,
) -> Result<Found, Error> {
    let mut found = Found::with_capacity(keys.len());
    for keys in keys.chunks(IDS_PER_QUERY) {
        let ids: Vec<Bson> = keys.iter().map(|key| id(*key)).collect::<Result<_, _>>()?;
        let concern = if majority { ReadConcern::majority() } else { ReadConcern::local() };
        // Whatever read preference the connection string names: a secondary may not have it yet.
        let primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
        let find = collection
            .find(doc! {"_id": {"$in": ids}})
            .projection(doc! {"_id": 1, MARK_FIELD: 1})
            .selection_criteria(primary)
            .read_concern(concern)
            .batch_size(1_000);
        match session.as_deref_mut() {
            Some(session) => {
                let mut cursor = find.session(&mut *session).await?;
                while cursor.advance(&mut *session).await? {
                    note(&mut found, cursor.current())?;
                }
            }
            None => {
                let mut cursor = find.await?;
                while cursor.advance().await? {
                    note(&mut found, cursor.current())?;
                }
            }
        }
    }
    Ok(found)
}

/// The server does not know read concern `majority`, or cannot give it.
pub(crate) fn is_of_read_concern(error: &Error) -> bool {
    // BadValue, FailedToParse, InvalidOptions, ReadConcernMajorityNotEnabled, NotImplemented, an unknown field.
    matches!(&*error.kind, ErrorKind::Command(command) if matches!(command.code, 2 | 9 | 72 | 148 | 238 | 40415))
}

fn id(key: Key<'_>) -> Result<Bson, BsonError> {
    let document = Document::try_from(&id_document(key)?)?;
    Ok(document.get("_id").cloned().unwrap_or(Bson::Null))
}

fn note(found: &mut Found, document: &RawDocument) -> Result<(), BsonError> {
    if let Some(id) = document.get("_id")? {
        found.insert(identity(id)?, stored(document)?);
    }
    Ok(())
}

fn stored(document: &RawDocument) -> Result<Stored, BsonError> {
    let Some(value) = document.get(MARK_FIELD)? else {
        let mut missing = RawDocumentBuf::new();
        missing.append(cstr!("$exists"), false);
        return Ok(Stored { mark: None, unchanged: missing.into_bytes() });
    };
    // `$eq` takes any value for what it is, be it a pattern or a document with operators in it.
    let mut unchanged = RawDocumentBuf::new();
    unchanged.append(cstr!("$eq"), RawBson::from(value));
    Ok(Stored { mark: value.as_document().and_then(mark), unchanged: unchanged.into_bytes() })
}

fn mark(document: &RawDocument) -> Option<Mark> {
    let text = |name: &str| document.get_str(name).ok().map(str::to_owned);
    let at = match document.get("at").ok()? {
        None => 0,
        Some(RawBsonRef::Int32(at)) => i64::from(at),
        Some(RawBsonRef::Int64(at)) => at,
        Some(_) => return None,
    };
    Some(Mark { space: text("space")?, label: text("label")?, exact: text("exact")?, at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongodb::bson::Regex;

    fn of(document: &Document) -> Stored {
        let bytes = document.to_vec().expect("serializable");
        stored(RawDocument::from_bytes(&bytes).expect("a document")).expect("readable")
    }

    #[test]
    fn a_whole_mark_is_read() {
        let mark = doc! {"space": "s", "label": "l", "exact": "e", "at": 5_i64};
        let stored = of(&doc! {"_id": 1, "_tidelock": mark.clone()});
        let expected = Mark { space: "s".to_owned(), label: "l".to_owned(), exact: "e".to_owned(), at: 5 };
        assert_eq!(stored.mark, Some(expected));
        assert_eq!(stored.unchanged, doc! {"$eq": mark}.to_vec().expect("serializable"));
        let small = of(&doc! {"_tidelock": {"space": "s", "label": "l", "exact": "e", "at": 5}});
        assert_eq!(small.mark.map(|mark| mark.at), Some(5));
    }

    #[test]
    fn what_is_no_mark_is_none_and_can_still_be_compared() {
        for damaged in [
            Bson::Null,
            Bson::from("text"),
            Bson::from(vec![1]),
            Bson::from(doc! {}),
            Bson::from(doc! {"space": "s", "label": "l", "at": 5_i64}),
            Bson::from(doc! {"space": 1, "label": "l", "exact": "e", "at": 5_i64}),
            Bson::from(doc! {"space": "s", "label": "l", "exact": "e", "at": "now"}),
            Bson::from(doc! {"$gt": 1}),
            Bson::from(Regex { pattern: cstr!("a").to_owned(), options: cstr!("i").to_owned() }),
        ] {
            let stored = of(&doc! {"_id": 1, "_tidelock": damaged.clone()});
            assert_eq!(stored.mark, None, "{damaged}");
            assert_eq!(stored.unchanged, doc! {"$eq": damaged}.to_vec().expect("serializable"));
        }
        let missing = of(&doc! {"_id": 1});
        assert_eq!((missing.mark, missing.unchanged), (None, doc! {"$exists": false}.to_vec().expect("serializable")));
    }
}
