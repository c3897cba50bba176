//! Finding the end of a string: the one place where single bytes are too slow.

/// Offset of the first quote, backslash or control character at or after `from`, or the text's length.
#[inline]
pub(super) fn find_special(text: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(chunk) = text.get(at..).and_then(<[u8]>::first_chunk::<16>) {
        let hits = special(chunk);
        if hits != 0 {
            return at + hits.trailing_zeros() as usize;
        }
        at += 16;
    }
    let tail = text.get(at..).unwrap_or_default();
    at + tail.iter().position(|&byte| is_special(byte)).unwrap_or(tail.len())
}

/// How many bytes of the chunk come before the first special one.
#[inline]
pub(super) fn plain(chunk: &[u8; 16]) -> usize {
    special(chunk).trailing_zeros().min(16) as usize
}

#[inline]
fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..=0x1f)
}

/// The chunk's bytes, the first one lowest.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn load(chunk: &[u8; 16]) -> std::arch::x86_64::__m128i {
    let word = u128::from_le_bytes(*chunk);
    std::arch::x86_64::_mm_set_epi64x((word >> 64) as i64, word as i64)
}

/// A bit for each special byte of the chunk, the first byte's lowest.
#[cfg(target_arch = "x86_64")]
#[inline]
#[expect(unsafe_code, reason = "the compiler asks for it although SSE2 is part of every x86-64 processor")]
fn special(chunk: &[u8; 16]) -> u32 {
    // SAFETY: SSE2 belongs to the x86-64 baseline, so the feature is always there.
    unsafe { special_sse2(chunk) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn special_sse2(chunk: &[u8; 16]) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8};
    let bytes = load(chunk);
    let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
    let slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
    let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, slash), control)) as u32
}

/// A bit for each special byte of the chunk, the first byte's lowest.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn special(chunk: &[u8; 16]) -> u32 {
    let mut hits = 0;
    for (index, &byte) in chunk.iter().enumerate() {
        hits |= u32::from(is_special(byte)) << index;
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_a_byte_loop_finds(text in proptest::collection::vec(any::<u8>(), 0..80), from in 0usize..80) {
            let from = from.min(text.len());
            let slow = text[from..].iter().position(|&b| is_special(b)).map_or(text.len(), |i| from + i);
            prop_assert_eq!(find_special(&text, from), slow);
        }

        #[test]
        fn finds_it_behind_long_text(before in 0usize..100, special in prop_oneof![Just(b'"'), Just(b'\\'), 0u8..0x20], plain in 0x80u8..) {
            let mut text = vec![plain; before];
            text.push(special);
            text.extend([plain; 20]);
            prop_assert_eq!(find_special(&text, 0), before);
        }
    }
}
