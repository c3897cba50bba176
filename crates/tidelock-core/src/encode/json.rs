//! Documents as JSON text: strings and numbers are copied as they stand.

use super::{Fault, Sink, Written, is_base64, parsed_double};
use crate::bson::kind::{DOUBLE, INT64, OBJECT_ID};
use crate::cause::Cause;
use crate::hex::push_hex;
use crate::json::{NumberForm, RawStr, check_escapes, write_string};
use std::io::Write as _;

/// Writes `{"a":1,…` : the document's opening brace and members, without the closing brace.
#[derive(Debug, Default)]
pub struct JsonSink {
    out: Vec<u8>,
    /// Whether a value or name at this place needs a comma before it.
    comma: bool,
}

impl JsonSink {
    /// A sink with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { out: Vec::with_capacity(capacity), comma: false }
    }

    #[inline]
    fn separate(&mut self) {
        if self.comma {
            self.out.push(b',');
        }
        self.comma = true;
    }

    #[inline]
    fn quoted(&mut self, raw: &[u8]) {
        self.out.reserve(raw.len() + 2);
        self.out.push(b'"');
        self.out.extend_from_slice(raw);
        self.out.push(b'"');
    }
}

/// Whether a number with a point is written as the double that is read of it would be: of at most 15 digits, the last of which is no
/// zero that could be left out, every double has them in its shortest form.
#[inline]
fn is_shortest(text: &[u8], form: NumberForm) -> bool {
    if form.length != text.len() || form.fraction == 0 || form.integer + form.fraction > 15 {
        return false;
    }
    let (integer, fraction) = text.split_at(text.len() - form.fraction);
    match fraction {
        b"0" => true,
        [.., b'0'] => false,
        // Below 0.0001 it has an exponent.
        _ => !matches!(integer, b"0." | b"-0.") || fraction.iter().take(4).any(|byte| *byte != b'0'),
    }
}

fn bad_escape() -> Box<Fault> {
    Fault::new(Cause::InvalidValue, "text with an invalid escape sequence")
}

impl Sink for JsonSink {
    fn begin_document(&mut self) {
        self.out.push(b'{');
        self.comma = false;
    }

    fn position(&self) -> usize {
        self.out.len()
    }

    fn truncate(&mut self, position: usize) {
        self.out.truncate(position);
    }

    fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    #[inline]
    fn name(&mut self, name: RawStr<'_>) -> Written {
        if !check_escapes(name) {
            return Err(bad_escape());
        }
        self.separate();
        self.quoted(name.raw);
        self.out.push(b':');
        self.comma = false;
        Ok(())
    }

    #[inline]
    fn text(&mut self, text: RawStr<'_>) -> Written {
        if !check_escapes(text) {
            return Err(bad_escape());
        }
        self.separate();
        self.quoted(text.raw);
        Ok(())
    }

    #[inline]
    fn number(&mut self, text: &[u8]) -> Written {
        self.separate();
        self.out.extend_from_slice(text);
        Ok(())
    }

    #[inline]
    fn string(&mut self, text: &str) -> Written {
        self.separate();
        write_string(&mut self.out, text);
        Ok(())
    }

    #[inline]
    fn double_text(&mut self, text: &[u8]) -> Written {
        match NumberForm::at_start(text) {
            Some(form) => self.short_double(text, form),
            None => self.bson(DOUBLE, &parsed_double(text)?.to_le_bytes()),
        }
    }

    #[inline]
    fn short_double(&mut self, text: &[u8], form: NumberForm) -> Written {
        if is_shortest(text, form) {
            return self.number(text);
        }
        self.bson(DOUBLE, &parsed_double(text)?.to_le_bytes())
    }

    #[inline]
    fn binary(&mut self, base64: &[u8]) -> Written {
        if !is_base64(base64) {
            return Err(Fault::new(Cause::InvalidValue, "binary that is not base64"));
        }
        self.separate();
        self.quoted(base64);
        Ok(())
    }

    #[inline]
    fn bson(&mut self, kind: u8, raw: &[u8]) -> Written {
        self.separate();
        match (kind, raw.try_into()) {
            // By far the most of them.
            (OBJECT_ID, _) => {
                self.out.push(b'"');
                push_hex(&mut self.out, raw);
                self.out.push(b'"');
            }
            (INT64, Ok(number)) => drop(write!(self.out, "{}", i64::from_le_bytes(number))),
            _ => return crate::source::mongodb::write_json(&mut self.out, kind, raw),
        }
        Ok(())
    }

    fn date(&mut self, milliseconds: i64) -> Written {
        self.separate();
        self.out.push(b'"');
        crate::letter::write_timestamp(&mut self.out, milliseconds);
        self.out.push(b'"');
        Ok(())
    }

    fn double(&mut self, value: f64) -> Written {
        if !value.is_finite() {
            return Err(Fault::new(Cause::UnrepresentableValue, "JSON has no number that is not finite"));
        }
        self.separate();
        // The shortest text that is read back as the same double.
        self.out.extend_from_slice(serde_json::to_string(&value).unwrap_or_default().as_bytes());
        Ok(())
    }

    #[inline]
    fn boolean(&mut self, value: bool) {
        self.separate();
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    #[inline]
    fn null(&mut self) {
        self.separate();
        self.out.extend_from_slice(b"null");
    }

    #[inline]
    fn begin_map(&mut self) {
        self.separate();
        self.out.push(b'{');
        self.comma = false;
    }

    #[inline]
    fn end_map(&mut self) {
        self.out.push(b'}');
        self.comma = true;
    }

    #[inline]
    fn begin_list(&mut self) {
        self.separate();
        self.out.push(b'[');
        self.comma = false;
    }

    #[inline]
    fn end_list(&mut self) {
        self.out.push(b']');
        self.comma = true;
    }
}
