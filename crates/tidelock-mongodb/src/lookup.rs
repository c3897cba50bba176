//! Reading what is stored, from the primary: `_id` and `_tidelock`.

use crate::spot::{Spot, identity_in};
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

/// An operator expression, as BSON, that a document's `_tidelock` meets as long as it is what was read; and the whole document,
/// where it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unchanged(pub(crate) Vec<u8>, pub(crate) Option<Vec<u8>>);

/// A document that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// The version that wrote it; `None` when there is none that can be read.
    pub(crate) mark: Option<Mark>,
    /// Proves that it is still what was read.
    pub(crate) unchanged: Unchanged,
    /// All of it, where all was read.
    pub(crate) body: Option<Vec<u8>>,
}

/// What is stored, by [identity](Spot::identity).
pub(crate) type Found = HashMap<Vec<u8>, Stored>;

/// Ids of one query.
pub(crate) const IDS_PER_QUERY: usize = 1_000;

/// Bytes of the ids of one query, which stays far below a command's limit. A single id may have more.
const ID_BYTES: usize = 1_000_000;

/// Cuts what has ids where a query would become too large: at most `count` of them, of the given sizes.
pub(crate) fn portions<T>(all: &[T], count: usize, size: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let (mut portions, mut rest) = (Vec::new(), all);
    let (mut taken, mut bytes) = (0, 0);
    for one in all {
        let size = size(one);
        if taken == count || (taken > 0 && bytes + size > ID_BYTES) {
            let (portion, others) = rest.split_at(taken);
            portions.push(portion);
            (rest, taken, bytes) = (others, 0, 0);
        }
        taken += 1;
        bytes += size;
    }
    if !rest.is_empty() {
        portions.push(rest);
    }
    portions
}

/// About how many bytes an id takes.
pub(crate) fn id_bytes(id: &Bson) -> usize {
    match id {
        Bson::String(text) => text.len(),
        Bson::Binary(binary) => binary.bytes.len(),
        Bson::Document(document) => document.to_vec().map_or(ID_BYTES, |bytes| bytes.len()),
        _ => 16,
    }
}

/// What to read.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) filter: Document,
    /// The fields to read; `None` reads all.
    pub(crate) projection: Option<Document>,
    pub(crate) sort: Option<Document>,
    pub(crate) limit: Option<i64>,
}

impl Query {
    /// The marks of these documents, and of others of the same ids; `fields` tell them apart.
    pub(crate) fn of(spots: &[Spot], fields: &[Vec<String>]) -> Self {
        let mut projection = doc! {"_id": 1, MARK_FIELD: 1};
        for field in fields.iter().flatten() {
            projection.insert(field.clone(), 1);
        }
        let ids: Vec<&Bson> = spots.iter().map(|spot| &spot.id).collect();
        Self { filter: doc! {"_id": {"$in": ids}}, projection: Some(projection), sort: None, limit: None }
    }

    /// The documents of these ids, whole.
    pub(crate) fn of_documents(ids: &[Bson]) -> Self {
        Self { filter: doc! {"_id": {"$in": ids}}, projection: None, sort: None, limit: None }
    }
}

/// The id that a key becomes.
pub(crate) fn id(key: Key<'_>) -> Result<Bson, BsonError> {
    let mut document = document(|out| write_bson_key(out, "_id", key))?;
    Ok(document.remove("_id").unwrap_or(Bson::Null))
}

/// The document of elements that are appended as bytes.
pub(crate) fn document(elements: impl FnOnce(&mut Vec<u8>)) -> Result<Document, BsonError> {
    let mut bytes = vec![0; 4];
    elements(&mut bytes);
    bytes.push(0);
    let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_le_bytes();
    if let Some(start) = bytes.get_mut(..4) {
        start.copy_from_slice(&length);
    }
    Document::try_from(&RawDocumentBuf::from_bytes(bytes)?)
}

/// Reads documents, each handed on as it comes.
///
/// With `majority`, only what no failover can take back is seen; together with the session's causal consistency that
/// includes what the session's writes have met.
pub(crate) async fn run(
    collection: &Collection<RawDocumentBuf>,
    query: Query,
    majority: bool,
    session: Option<&mut ClientSession>,
    mut each: impl FnMut(&RawDocument) -> Result<(), BsonError>,
) -> Result<(), Error> {
    let concern = if majority { ReadConcern::majority() } else { ReadConcern::local() };
    // Whatever read preference the connection string names: a secondary may not have it yet.
    let primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
    let mut find = collection.find(query.filter).selection_criteria(primary).read_concern(concern).batch_size(1_000);
    if let Some(projection) = query.projection {
        find = find.projection(projection);
    }
    if let Some(sort) = query.sort {
        find = find.sort(sort);
    }
    if let Some(limit) = query.limit {
        find = find.limit(limit);
    }
    match session {
        Some(session) => {
            let mut cursor = find.session(&mut *session).await?;
            while cursor.advance(&mut *session).await? {
                each(cursor.current())?;
            }
        }
        None => {
            let mut cursor = find.await?;
            while cursor.advance().await? {
                each(cursor.current())?;
            }
        }
    }
    Ok(())
}

/// The server does not know read concern `majority`, or cannot give it.
pub(crate) fn is_of_read_concern(error: &Error) -> bool {
    // BadValue, FailedToParse, InvalidOptions, ReadConcernMajorityNotEnabled, NotImplemented, an unknown field.
    matches!(&*error.kind, ErrorKind::Command(command) if matches!(command.code, 2 | 9 | 72 | 148 | 238 | 40415))
}

/// Keeps what was read, under each way to tell documents apart.
pub(crate) fn note(
    found: &mut Found,
    fields: &[Vec<String>],
    document: &RawDocument,
    whole: bool,
) -> Result<(), BsonError> {
    for fields in fields {
        if let Some(identity) = identity_in(document, fields)? {
            let body = whole.then(|| document.as_bytes().to_vec());
            found.insert(identity, Stored { body, ..stored(document)? });
        }
    }
    Ok(())
}

/// What a document's `_tidelock` says.
pub(crate) fn stored(document: &RawDocument) -> Result<Stored, BsonError> {
    let Some(value) = document.get(MARK_FIELD)? else {
        let mut missing = RawDocumentBuf::new();
        missing.append(cstr!("$exists"), false);
        return Ok(Stored { mark: None, unchanged: Unchanged(missing.into_bytes(), None), body: None });
    };
    // `$eq` takes any value for what it is, be it a pattern or a document with operators in it.
    let mut unchanged = RawDocumentBuf::new();
    unchanged.append(cstr!("$eq"), RawBson::from(value));
    Ok(Stored {
        mark: value.as_document().and_then(mark),
        unchanged: Unchanged(unchanged.into_bytes(), None),
        body: None,
    })
}

fn mark(document: &RawDocument) -> Option<Mark> {
    let text = |name: &str| document.get_str(name).ok().map(str::to_owned);
    let at = match document.get("at").ok()? {
        None => 0,
        Some(RawBsonRef::Int32(at)) => i64::from(at),
        Some(RawBsonRef::Int64(at)) => at,
        Some(_) => return None,
    };
    let token = match document.get("token").ok()? {
        None => String::new(),
        Some(token) => token.as_str()?.to_owned(),
    };
    Some(Mark { space: text("space")?, label: text("label")?, exact: text("exact")?, token, at, part: false })
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
    fn ids_are_cut_by_count_and_size() {
        let text = |length: usize| Bson::from("x".repeat(length));
        let cut = |ids: &[Bson]| portions(ids, 3, id_bytes).iter().map(|portion| portion.len()).collect::<Vec<_>>();
        assert_eq!(cut(&[]), [0; 0]);
        assert_eq!(cut(&[const { Bson::Null }; 7]), [3, 3, 1]);
        let large = doc! {"a": "x".repeat(600_000)};
        assert_eq!(
            cut(&[text(400_000), text(600_000), text(1), large.into(), text(2_000_000), 1.into()]),
            [2, 2, 1, 1]
        );
    }

    #[test]
    fn a_whole_mark_is_read() {
        let mark = doc! {"space": "s", "label": "l", "exact": "e", "at": 5_i64};
        let stored = of(&doc! {"_id": 1, "_tidelock": mark.clone()});
        let expected = Mark {
            space: "s".to_owned(),
            label: "l".to_owned(),
            exact: "e".to_owned(),
            token: String::new(),
            at: 5,
            part: false,
        };
        assert_eq!(stored.mark, Some(expected.clone()));
        let with_token = of(&doc! {"_tidelock": {"space": "s", "label": "l", "exact": "e", "token": "t", "at": 5_i64}});
        assert_eq!(with_token.mark, Some(Mark { token: "t".to_owned(), ..expected }));
        assert_eq!(stored.unchanged.0, doc! {"$eq": mark}.to_vec().expect("serializable"));
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
            Bson::from(doc! {"space": "s", "label": "l", "exact": "e", "token": 1, "at": 5_i64}),
            Bson::from(doc! {"$gt": 1}),
            Bson::from(Regex { pattern: cstr!("a").to_owned(), options: cstr!("i").to_owned() }),
        ] {
            let stored = of(&doc! {"_id": 1, "_tidelock": damaged.clone()});
            assert_eq!(stored.mark, None, "{damaged}");
            assert_eq!(stored.unchanged.0, doc! {"$eq": damaged}.to_vec().expect("serializable"));
        }
        let missing = of(&doc! {"_id": 1});
        assert_eq!(
            (missing.mark, missing.unchanged.0),
            (None, doc! {"$exists": false}.to_vec().expect("serializable"))
        );
    }
}
