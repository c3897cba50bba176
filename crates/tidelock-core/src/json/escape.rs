//! Escapes in JSON strings: checked where text is copied as it stands, resolved where the value itself is needed.

use super::RawStr;
use super::find::{find_special, plain};
use super::squeeze::Squeeze;
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

/// Bytes that are copied at once. Calls to copy a few bytes each would take longer than all the rest.
const PIECE: usize = 16;

/// Text that is unescaped before the output is looked at again for room: what is unescaped never grows.
const STRETCH: usize = 4_096;

/// The value of the string whose text begins here, behind its quote, and the length of the text with the quote at its end.
///
/// # Errors
/// Where it is no string's text, and what was expected there.
pub(super) fn unescape_until_quote(text: &[u8]) -> Result<(Vec<u8>, usize), (usize, &'static str)> {
    let squeeze = Squeeze::new();
    let mut out: Vec<u8> = Vec::new();
    let (mut at, mut written) = (0, 0);
    loop {
        // An escape may end behind the stretch, and a piece behind what is written of it.
        out.resize((written + STRETCH + 4 * PIECE).max(out.len()), 0);
        let stop = at + STRETCH;
        while at < stop {
            if let (Some(text), Some(place)) = (text.get(at..stop.min(text.len())), out.get_mut(written..)) {
                let (read, filled) = squeeze.quotes(text, place);
                at += read;
                written += filled;
            }
            let plain = match text.get(at..).and_then(<[u8]>::first_chunk::<PIECE>) {
                Some(piece) => {
                    if let Some(place) = out.get_mut(written..).and_then(<[u8]>::first_chunk_mut::<PIECE>) {
                        *place = *piece;
                    }
                    plain(piece)
                }
                None => {
                    let tail = text.get(at..).unwrap_or_default();
                    let length = find_special(tail, 0);
                    if let (Some(place), Some(tail)) = (out.get_mut(written..written + length), tail.get(..length)) {
                        place.copy_from_slice(tail);
                    }
                    length
                }
            };
            at += plain;
            written += plain;
            match text.get(at..) {
                Some([b'\\', escape @ (b'"' | b'\\' | b'/'), ..]) => {
                    if let Some(place) = out.get_mut(written) {
                        *place = *escape;
                    }
                    written += 1;
                    at += 2;
                }
                Some([b'"', ..]) => {
                    out.truncate(written);
                    return Ok((out, at + 1));
                }
                Some([b'\\', rest @ ..]) => {
                    let mut rest = rest;
                    let value = escaped(&mut rest).ok_or((at, "a valid escape"))?;
                    if let Some(place) = out.get_mut(written..written + 4) {
                        written += value.encode_utf8(place).len();
                    }
                    at = text.len() - rest.len();
                }
                Some([byte, ..]) if *byte < 0x20 => return Err((at, "no control character in a string")),
                Some([_, ..]) => {}
                _ => return Err((at, "the string's end")),
            }
        }
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
