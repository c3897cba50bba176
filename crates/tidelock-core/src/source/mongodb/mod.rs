//! Documents of MongoDB and Amazon DocumentDB, as BSON.
//!
//! In BSON a document arrives byte for byte. In JSON by these rules:
//!
//! | BSON | JSON |
//! | --- | --- |
//! | text, symbol, JavaScript | text |
//! | true, false, null | the same |
//! | integer of 32 or 64 bits | its digits |
//! | double | the shortest number that is read back as it, never without a fraction or exponent: `1.0`, `1e300` |
//! | Decimal128 | the number exactly, trailing zeros included: `1.50`, `1E+3` |
//! | NaN, ±Infinity | refused |
//! | date | UTC with milliseconds, `2020-04-29T13:22:08.000Z`; years beyond 0000 to 9999 as `+010000`, `-000001` |
//! | ObjectId | its 24 hex digits |
//! | binary of subtype 4 and 16 bytes (UUID) | `0123abcd-…` |
//! | other binary | base64; the subtype is left out |
//! | document, list | the same; a list's elements in their order, whatever their names |
//! | timestamp | `{"t":1588166528,"i":1}` |
//! | regular expression | `/pattern/options` |
//! | JavaScript with scope | `{"code":"…","scope":{…}}` |
//! | MinKey, MaxKey, DBPointer, undefined | refused |
//!
//! In both, `_id` is left out: the target's id is made of it ([`DocumentKey`]; as text by [`id_text`](crate::bson::id_text)).

mod document;
mod key;

pub use document::document;
pub(crate) use document::{transformed, write_json};
pub use key::DocumentKey;

/// The field that is a document's key.
pub const ID_FIELD: &str = "_id";

#[cfg(test)]
mod tests;
