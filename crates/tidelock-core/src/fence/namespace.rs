//! Fences of whole namespaces: what has been deleted with its collection.
//!
//! Such a fence is an ordinary one, of a location that no document can have: the place that the namespace's documents go to, and
//! an id made of their version space. Its version is that of the event that ended the collection.

use super::fence_id;
use crate::bson::{self, kind};
use crate::cause::{Cause, Failure};
use crate::key::{Key, KeyKind, push_part};
use crate::version::Mark;

/// What ids of namespaces begin with.
pub const NAMESPACE_ID: &str = "tidelock:all:";

/// The name of the key's part. No source has an attribute without a name.
const PART: &str = "";

/// The id that stands for all documents of a version space.
#[must_use]
pub fn namespace_id(space: &str) -> String {
    format!("{NAMESPACE_ID}{}", fence_id(&[space.as_bytes()]))
}

/// The same in the form of a [`Key`].
#[must_use]
pub fn namespace_key(space: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(80);
    push_part(&mut key, PART, KeyKind::Text, namespace_id(space).as_bytes());
    key
}

/// Whether a fence at this id is that of its whole namespace.
#[must_use]
pub fn is_of_namespace(id: &str, fence: &Mark) -> bool {
    id.starts_with(NAMESPACE_ID) && id == namespace_id(&fence.space)
}

/// Refuses a document whose id would be taken for that of a namespace: with its delete, all others would go.
///
/// # Errors
/// [`Cause::InvalidId`].
pub fn check_id(key: Key<'_>) -> Result<(), Failure> {
    let Some(part) = key.single().filter(|part| part.name != PART) else { return Ok(()) };
    let is_taken = match part.kind {
        KeyKind::Text => part.value.starts_with(NAMESPACE_ID.as_bytes()),
        KeyKind::Bson(kind::STRING) => {
            bson::value(kind::STRING, part.value).is_ok_and(|value| bson::id_text(value).starts_with(NAMESPACE_ID))
        }
        _ => false,
    };
    if !is_taken {
        return Ok(());
    }
    let detail = format!("ids that begin with `{NAMESPACE_ID}` are tidelock's own");
    Err(Failure::new(Cause::InvalidId, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(space: &str) -> Mark {
        let (label, token) = (String::new(), String::new());
        Mark { space: space.to_owned(), label, exact: String::new(), token, at: 0, part: false }
    }

    #[test]
    fn a_namespace_has_an_id_of_its_own() {
        let id = namespace_id("mongodb:c:a.b");
        assert_eq!(Key::from_bytes(&namespace_key("mongodb:c:a.b")).text_id(), id);
        assert!(id.starts_with(NAMESPACE_ID) && id.len() < 100, "{id}");
        assert!(is_of_namespace(&id, &mark("mongodb:c:a.b")));
        for other in ["mongodb:c:a.c", "", "mongodb:c:a"] {
            assert!(!is_of_namespace(&id, &mark(other)), "{other}");
        }
        assert!(!is_of_namespace("a", &mark("mongodb:c:a.b")));
    }

    #[test]
    fn no_document_can_have_it() {
        let own = namespace_key("s");
        assert_eq!(check_id(Key::from_bytes(&own)), Ok(()));
        let id = namespace_id("s");
        let string = [&i32::try_from(id.len() + 1).expect("short").to_le_bytes()[..], id.as_bytes(), b"\0"].concat();
        for (name, kind, value) in [
            ("id", KeyKind::Text, id.as_bytes()),
            ("_id", KeyKind::Bson(kind::STRING), &string),
            ("id", KeyKind::Text, NAMESPACE_ID.as_bytes()),
        ] {
            let mut key = Vec::new();
            push_part(&mut key, name, kind, value);
            let refused = check_id(Key::from_bytes(&key)).expect_err("taken");
            assert_eq!(refused.cause, Cause::InvalidId, "{name}");
            // Of several parts, the id is another one.
            push_part(&mut key, "z", KeyKind::Number, b"1");
            assert_eq!(check_id(Key::from_bytes(&key)), Ok(()));
        }
        for other in ["tidelock:al", "a", ""] {
            let mut key = Vec::new();
            push_part(&mut key, "id", KeyKind::Text, other.as_bytes());
            assert_eq!(check_id(Key::from_bytes(&key)), Ok(()), "{other}");
        }
    }
}
