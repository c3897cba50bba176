//! Which keys go into which request, and the request's body.

use bytes::Bytes;
use std::collections::HashSet;
use tidelock_core::json::write_string;
use tidelock_core::key::{Key, KeyKind};

/// The service's limit for one request.
pub(crate) const MAX_KEYS: usize = 100;

/// Keys that are asked for together: of one shape, none of them twice.
#[derive(Debug, PartialEq)]
pub(crate) struct Question<'a> {
    /// Names of the key's attributes.
    pub(crate) names: Vec<&'a str>,
    pub(crate) keys: Vec<Key<'a>>,
}

/// Names and types of a key's attributes.
type Shape<'a> = Vec<(&'a str, KeyKind)>;

/// The shape of a key. A request with a key of another shape than the table's is refused whole, so that
/// keys of two shapes (the table has been replaced by another) must not meet in one.
fn shape<'a>(key: &Key<'a>) -> Shape<'a> {
    key.parts().map(|part| (part.name, part.kind)).collect()
}

/// Sorts keys into requests.
pub(crate) fn questions<'a>(keys: &[Key<'a>]) -> Vec<Question<'a>> {
    let mut seen = HashSet::with_capacity(keys.len());
    let mut shapes: Vec<(Shape<'a>, Vec<Key<'a>>)> = Vec::new();
    for &key in keys {
        if !seen.insert(key) {
            continue;
        }
        let shape = shape(&key);
        match shapes.iter_mut().find(|(known, _)| *known == shape) {
            Some((_, keys)) => keys.push(key),
            None => shapes.push((shape, vec![key])),
        }
    }
    let question = |shape: &Shape<'a>, keys: &[Key<'a>]| Question {
        names: shape.iter().map(|(name, _)| *name).collect(),
        keys: keys.to_vec(),
    };
    shapes.iter().flat_map(|(shape, keys)| keys.chunks(MAX_KEYS).map(|keys| question(shape, keys))).collect()
}

/// The request that asks `table` for `keys`.
pub(crate) fn body(table: &str, keys: &[Key<'_>]) -> Bytes {
    let mut out = Vec::with_capacity(128 + table.len() + keys.len() * 64);
    out.extend_from_slice(br#"{"RequestItems":{"#);
    write_string(&mut out, table);
    out.extend_from_slice(br#":{"ConsistentRead":true,"Keys":["#);
    for (index, key) in keys.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        key.write_json(&mut out);
    }
    out.extend_from_slice(b"]}}}");
    out.into()
}
