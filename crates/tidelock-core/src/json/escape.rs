//! Escapes in JSON strings: checked where text is copied as it stands, resolved where the value itself is needed.

use super::RawStr;
use super::find::{find_special, plain};
use std::borrow::Cow;

/// The value of a string, or `None` when an escape is invalid or names a lone surrogate, or the text is not UTF-8.
#[must_use]
pub fn unescape(text: RawStr<'_>) -> Option<Cow<'_, str>> {
    match unescape_bytes(text)? {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

/// As [`unescape`], for callers that check the text's UTF-8 elsewhere: UTF-8 in, UTF-8 out.
#[must_use]
pub fn unescape_bytes(text: RawStr<'_>) -> Option<Cow<'_, [u8]>> {
    if !text.escaped {
        return Some(Cow::Borrowed(text.raw));
    }
    let mut out = Vec::with_capacity(text.raw.len());
    let mut rest = text.raw;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let mut utf8 = [0; 4];
        out.extend_from_slice(escaped(&mut rest)?.encode_utf8(&mut utf8).as_bytes());
    }
    Some(Cow::Owned(out))
}

/// A text in the making. Short runs between escapes are copied in pieces of 16 bytes, behind which the next ones are written: calls
/// to copy a few bytes each would take longer than all the rest.
#[derive(Debug, Default)]
pub(super) struct Unescaped {
    /// Longer than what is written, by a piece at least.
    out: Vec<u8>,
    written: usize,
}

impl Unescaped {
    const PIECE: usize = 16;

    #[inline]
    fn room(&mut self) {
        if self.written + 2 * Self::PIECE > self.out.len() {
            self.out.resize((self.out.len() * 2).max(256), 0);
        }
    }

    /// Copies what stands from `from` up to the next quote, backslash or control character; gives its length.
    #[inline]
    pub(super) fn copy(&mut self, text: &[u8], from: usize) -> usize {
        let mut at = from;
        loop {
            self.room();
            let Some(piece) = text.get(at..).and_then(<[u8]>::first_chunk::<{ Self::PIECE }>) else { break };
            let length = plain(piece);
            if let Some(place) = self.out.get_mut(self.written..self.written + Self::PIECE) {
                place.copy_from_slice(piece);
            }
            self.written += length;
            at += length;
            if length < Self::PIECE {
                return at - from;
            }
        }
        let tail = text.get(at..).unwrap_or_default();
        let length = find_special(tail, 0);
        for &byte in tail.get(..length).unwrap_or_default() {
            self.push(byte);
        }
        at + length - from
    }

    #[inline]
    pub(super) fn push(&mut self, byte: u8) {
        self.room();
        if let Some(place) = self.out.get_mut(self.written) {
            *place = byte;
        }
        self.written += 1;
    }

    /// Appends what an escape stands for; `rest` begins behind its backslash, and ends up behind the escape.
    #[inline]
    pub(super) fn escaped(&mut self, rest: &mut &[u8]) -> Option<()> {
        let value = escaped(rest)?;
        self.room();
        let place = self.out.get_mut(self.written..self.written + 4)?;
        self.written += value.encode_utf8(place).len();
        Some(())
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.out.truncate(self.written);
        self.out
    }
}

/// What an escape stands for; `rest` begins behind its backslash, and ends up behind the escape.
#[inline]
fn escaped(rest: &mut &[u8]) -> Option<char> {
    let (&escape, tail) = rest.split_first()?;
    *rest = tail;
    Some(match escape {
        b'"' | b'\\' | b'/' => char::from(escape),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let mut code = u32::from(hex4(rest)?);
            if (0xd800..0xdc00).contains(&code) {
                *rest = rest.strip_prefix(b"\\u")?;
                let low = u32::from(hex4(rest)?);
                if !(0xdc00..0xe000).contains(&low) {
                    return None;
                }
                code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            }
            char::from_u32(code)?
        }
        _ => return None,
    })
}

/// Whether every escape of the string is one that JSON knows and surrogates come in pairs.
#[must_use]
pub fn check_escapes(text: RawStr<'_>) -> bool {
    !text.escaped || unescape_bytes(text).is_some()
}

fn hex4(rest: &mut &[u8]) -> Option<u16> {
    let (digits, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    digits.iter().try_fold(0, |code, &digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            b'A'..=b'F' => digit - b'A' + 10,
            _ => return None,
        };
        Some(code << 4 | u16::from(value))
    })
}

/// Writes `text` as a JSON string with its quotes.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    // Nearly no text needs an escape, and finding that out is a pass the compiler can do in wide steps.
    let plain = text.bytes().fold(true, |plain, byte| plain & (byte >= 0x20) & (byte != b'"') & (byte != b'\\'));
    if plain {
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..=0x1f => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn raw(text: &str) -> RawStr<'_> {
        RawStr { raw: text.as_bytes(), escaped: text.contains('\\') }
    }

    proptest! {
        #[test]
        fn reads_back_what_serde_writes(text in any::<String>()) {
            let json = serde_json::to_string(&text).expect("strings serialize");
            prop_assert_eq!(unescape(raw(&json[1..json.len() - 1])).expect("valid"), text.as_str());
            let mut ours = Vec::new();
            write_string(&mut ours, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&ours).expect("valid"), text);
        }

        #[test]
        fn agrees_with_serde_on_escapes(text in r#"(\\[ubnx"/]|[0-9a-fdD8]){0,12}"#) {
            let theirs = serde_json::from_str::<String>(&format!("\"{text}\"")).ok();
            prop_assume!(!text.contains('"') || theirs.is_some());
            prop_assert_eq!(unescape(raw(&text)).map(Cow::into_owned), theirs);
        }
    }
}
