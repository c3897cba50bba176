//! Where an array ends, in wide steps: a bit for each byte of 64 at a time, as simdjson finds structure
//! ([Langdale and Lemire, 2019](https://arxiv.org/abs/1902.08318)).

/// Bytes that are looked at together.
const BLOCK: usize = 64;

/// A bit for each byte of a block, the first byte's lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Marks {
    quotes: u64,
    slashes: u64,
    opening: u64,
    closing: u64,
}

/// The length of the array that begins here, up to its closing bracket. Strings are respected and brackets counted; whether
/// it is JSON within is not looked at. `None` where no array begins, or it does not end.
pub(super) fn array_length(text: &[u8]) -> Option<usize> {
    length::<b'[', b']'>(text)
}

/// The same of an object, and its braces.
pub(super) fn object_length(text: &[u8]) -> Option<usize> {
    length::<b'{', b'}'>(text)
}

fn length<const OPENING: u8, const CLOSING: u8>(text: &[u8]) -> Option<usize> {
    if text.first() != Some(&OPENING) {
        return None;
    }
    let (mut depth, mut in_string, mut escaped) = (0_u64, 0_u64, false);
    let mut tail = [0; BLOCK];
    for at in (0..text.len()).step_by(BLOCK) {
        let rest = text.get(at..).unwrap_or_default();
        let block = rest.first_chunk::<BLOCK>().unwrap_or_else(|| {
            tail[..rest.len()].copy_from_slice(rest);
            &tail
        });
        let Marks { quotes, slashes, opening, closing } = marks::<OPENING, CLOSING>(block);
        let quotes = match slashes == 0 && !escaped {
            true => quotes,
            false => quotes & !behind_slashes(slashes, &mut escaped),
        };
        // From each quote on: within a string, until the next.
        let within = up_to_each(quotes) ^ in_string;
        in_string = 0_u64.wrapping_sub(within >> 63);
        let (opening, mut closing) = (opening & !within, closing & !within);
        let closes = u64::from(closing.count_ones());
        if depth > closes {
            depth = depth + u64::from(opening.count_ones()) - closes;
            continue;
        }
        // It may end in this block.
        let mut before = 0;
        while closing != 0 {
            let bit = closing.trailing_zeros();
            depth += u64::from((opening & ((1 << bit) - 1) & !before).count_ones());
            before = (1 << bit) - 1;
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some(at + bit as usize + 1);
            }
            closing &= closing - 1;
        }
        depth += u64::from((opening & !before).count_ones());
    }
    None
}

/// Bytes that an odd number of backslashes stands before.
fn behind_slashes(slashes: u64, escaped: &mut bool) -> u64 {
    let mut behind = 0;
    for bit in 0..BLOCK {
        let slash = slashes >> bit & 1 == 1;
        behind |= u64::from(*escaped) << bit;
        *escaped = slash && !*escaped;
    }
    behind
}

/// Each bit is the sum, without carry, of those up to it.
fn up_to_each(bits: u64) -> u64 {
    let mut sum = bits;
    for shift in [1, 2, 4, 8, 16, 32] {
        sum ^= sum << shift;
    }
    sum
}

/// Marks the bytes of a block that count.
#[cfg(target_arch = "x86_64")]
#[inline]
#[expect(unsafe_code, reason = "the compiler asks for it although SSE2 is part of every x86-64 processor")]
fn marks<const OPENING: u8, const CLOSING: u8>(block: &[u8; BLOCK]) -> Marks {
    // SAFETY: SSE2 belongs to the x86-64 baseline, so the feature is always there.
    unsafe { marks_sse2::<OPENING, CLOSING>(block) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn marks_sse2<const OPENING: u8, const CLOSING: u8>(block: &[u8; BLOCK]) -> Marks {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set1_epi8};
    let mut marks = Marks { quotes: 0, slashes: 0, opening: 0, closing: 0 };
    for (piece, shift) in block.as_chunks::<16>().0.iter().zip([0, 16, 32, 48]) {
        let bytes = super::find::load(piece);
        let mask = |byte: u8| u64::from(_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8))) as u32);
        marks.quotes |= mask(b'"') << shift;
        marks.slashes |= mask(b'\\') << shift;
        marks.opening |= mask(OPENING) << shift;
        marks.closing |= mask(CLOSING) << shift;
    }
    marks
}

/// Marks the bytes of a block that count.
#[cfg(not(target_arch = "x86_64"))]
fn marks<const OPENING: u8, const CLOSING: u8>(block: &[u8; BLOCK]) -> Marks {
    let mask = |wanted: u8| {
        let bits = block.iter().enumerate();
        bits.fold(0, |mask, (bit, &byte)| mask | u64::from(byte == wanted) << bit)
    };
    Marks { quotes: mask(b'"'), slashes: mask(b'\\'), opening: mask(OPENING), closing: mask(CLOSING) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Cursor;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i32>().prop_map(Value::from),
            r#"[a-z\[\]\\"{},ü]{0,30}"#.prop_map(Value::from),
            r#"(\\|"){0,140}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 60, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                inner.prop_map(|value| json!({ "[": value })),
            ]
        })
    }

    #[test]
    fn objects_end_at_their_own_brace() {
        for (text, length) in
            [("{}", Some(2)), (r#"{"a":{"}":"{\"}"}} , {"#, Some(18)), ("[{}]", None), ("{", None), (r#"{"}"#, None)]
        {
            assert_eq!(object_length(text.as_bytes()), length, "{text}");
        }
        let long = format!("{{{}}}", vec![r#""k":{"M":{"x":{"S":"}}{{"}}}"#; 50].join(","));
        assert_eq!(object_length(format!("{long}}}}}").as_bytes()), Some(long.len()));
    }

    proptest! {
        #[test]
        fn arrays_end_where_a_cursor_says(values in proptest::collection::vec(value(), 0..8), behind in "[\\]\\[\", a]{0,70}") {
            let array = Value::from(values).to_string();
            let text = format!("{array}{behind}");
            prop_assert_eq!(array_length(text.as_bytes()), Some(array.len()));
            prop_assert_eq!(Cursor::new(text.as_bytes()).skip().map(<[u8]>::len), Ok(array.len()));
            prop_assert_eq!(array_length(&array.as_bytes()[..array.len() - 1]), None);
        }
    }

    #[test]
    fn what_is_no_array_has_no_end() {
        for text in ["", "{}", "\"[]\"", "[", "[\"]", "[\"\\\"]", "[[]"] {
            assert_eq!(array_length(text.as_bytes()), None, "{text}");
        }
    }
}
