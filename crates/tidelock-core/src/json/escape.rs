//! Escapes in JSON strings: checked where text is copied as it stands, resolved where the value itself is needed.

use super::RawStr;
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
        let (&escape, tail) = rest.split_first()?;
        rest = tail;
        out.push(match escape {
            b'"' | b'\\' | b'/' => escape,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut code = u32::from(hex4(&mut rest)?);
                if (0xd800..0xdc00).contains(&code) {
                    rest = rest.strip_prefix(b"\\u")?;
                    let low = u32::from(hex4(&mut rest)?);
                    if !(0xdc00..0xe000).contains(&low) {
                        return None;
                    }
                    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                }
                let mut utf8 = [0; 4];
                out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut utf8).as_bytes());
                continue;
            }
            _ => return None,
        });
    }
    Some(Cow::Owned(out))
}

/// Whether every escape of the string is one that JSON knows and surrogates come in pairs.
#[must_use]
pub fn check_escapes(text: RawStr<'_>) -> bool {
    !text.escaped || unescape_bytes(text).is_some()
}

fn hex4(rest: &mut &[u8]) -> Option<u16> {
    let (digits, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
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
