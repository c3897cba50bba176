//! A cursor over JSON text ([RFC 8259]) that hands out slices of it instead of building a tree.
//!
//! It checks the structure it walks over; it does not unescape. UTF-8 is checked once for the whole payload by the caller.
//!
//! [RFC 8259]: https://www.rfc-editor.org/rfc/rfc8259

mod cursor;
mod escape;
mod find;
mod nesting;
mod number;
mod squeeze;

pub use cursor::{Cursor, Malformed, RawStr};
pub use escape::{check_escapes, unescape, unescape_bytes, write_string};
pub use number::{Number, NumberForm, canonical_number, canonical_text, is_number};
