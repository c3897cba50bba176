//! JSON within a JSON string, as queues carry it: nearly every escape is that of a quote, and there is one every few bytes.
//! Where the next one is cannot be foretold, so that looking for them one by one takes longer than all else. Here pieces of
//! 16 bytes are freed of their backslashes at once, without a branch that depends on where they are.

/// How text is squeezed on this processor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Squeeze {
    /// The processor can move the bytes of a piece freely (SSSE3).
    #[cfg(target_arch = "x86_64")]
    shuffles: bool,
}

impl Squeeze {
    pub(super) fn new() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            shuffles: std::arch::is_x86_feature_detected!("ssse3"),
        }
    }

    /// Copies text without the backslashes before quotes, as long as it holds no other escape, no bare quote and no control
    /// character. How many bytes were read, and how many of `out` are filled: some 16 bytes more are overwritten.
    ///
    /// It ends where something else comes, where less than 16 bytes are left or `out` is full; on some processors at once.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[expect(unsafe_code, reason = "the compiler cannot know that the processor was asked")]
    pub(super) fn quotes(self, text: &[u8], out: &mut [u8]) -> (usize, usize) {
        if !self.shuffles {
            return (0, 0);
        }
        // SAFETY: the processor has said that it has SSSE3.
        unsafe { x86::quotes(text, out) }
    }

    #[cfg(not(target_arch = "x86_64"))]
    #[inline]
    pub(super) fn quotes(self, _text: &[u8], _out: &mut [u8]) -> (usize, usize) {
        (0, 0)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::find::load;
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_cvtsi128_si64, _mm_min_epu8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8,
        _mm_shuffle_epi8,
    };

    /// For each set of backslashes among eight bytes: where the other bytes are, the first first.
    static OTHERS: [u64; 256] = others();

    const fn others() -> [u64; 256] {
        let mut table = [0; 256];
        let mut set = 0;
        while set < 256 {
            let (mut byte, mut shift) = (0, 0);
            while byte < 8 {
                if set >> byte & 1 == 0 {
                    table[set] |= byte << shift;
                    shift += 8;
                }
                byte += 1;
            }
            set += 1;
        }
        table
    }

    /// Eight times the same byte.
    const EACH: u64 = 0x0101_0101_0101_0101;

    #[target_feature(enable = "ssse3")]
    fn mask(bytes: __m128i) -> u32 {
        _mm_movemask_epi8(bytes) as u32
    }

    #[target_feature(enable = "ssse3")]
    pub(super) fn quotes(text: &[u8], out: &mut [u8]) -> (usize, usize) {
        let (quote, slash) = (_mm_set1_epi8(b'"' as i8), _mm_set1_epi8(b'\\' as i8));
        let control = _mm_set1_epi8(0x1f);
        let (mut at, mut filled) = (0, 0);
        while let (Some(piece), Some(place)) = (
            text.get(at..).and_then(<[u8]>::first_chunk::<16>),
            out.get_mut(filled..).and_then(<[u8]>::first_chunk_mut::<16>),
        ) {
            let bytes = load(piece);
            let quotes = mask(_mm_cmpeq_epi8(bytes, quote));
            let slashes = mask(_mm_cmpeq_epi8(bytes, slash));
            let controls = mask(_mm_cmpeq_epi8(_mm_min_epu8(bytes, control), bytes));
            // What a backslash at the end stands before is not in the piece: it waits for the next.
            let last = slashes >> 15;
            if controls != 0 || quotes != slashes << 1 & 0xffff {
                break;
            }
            let (low, high) = (slashes as usize & 0xff, slashes as usize >> 8);
            let order = _mm_set_epi64x((OTHERS[high] + 8 * EACH) as i64, OTHERS[low] as i64);
            let packed = _mm_shuffle_epi8(bytes, order);
            let low_size = 8 - low.count_ones() as usize;
            let high_half = _mm_cvtsi128_si64(_mm_shuffle_epi8(packed, _mm_set_epi64x(0, HIGH as i64))) as u64;
            place[..8].copy_from_slice(&(_mm_cvtsi128_si64(packed) as u64).to_le_bytes());
            place[low_size..low_size + 8].copy_from_slice(&high_half.to_le_bytes());
            at += 16 - last as usize;
            filled += low_size + 8 - high.count_ones() as usize;
        }
        (at, filled)
    }

    /// Where the upper eight bytes are.
    const HIGH: u64 = 0x0f0e_0d0c_0b0a_0908;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same byte by byte.
    fn slowly(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = text;
        loop {
            match rest {
                [b'\\', b'"', tail @ ..] => {
                    out.push(b'"');
                    rest = tail;
                }
                [b'"' | b'\\' | 0..=0x1f, ..] | [] => return out,
                [byte, tail @ ..] => {
                    out.push(*byte);
                    rest = tail;
                }
            }
        }
    }

    proptest! {
        #[test]
        fn quotes_are_freed_as_a_byte_loop_frees_them(
            text in r#"([a-z]{0,20}|\\"|ü|:\\"){0,40}(|\\n|"|\\\\|\x01)[a-z]{0,40}"#,
            room in 0usize..400,
        ) {
            let mut out = vec![0; room];
            let (read, filled) = Squeeze::new().quotes(text.as_bytes(), &mut out);
            let expected = slowly(text.as_bytes());
            prop_assert_eq!(&out[..filled], &expected[..filled]);
            // What is left begins where an escape does, not behind its backslash.
            prop_assert_eq!(slowly(&text.as_bytes()[read..]), &expected[filled..]);
            if cfg!(target_arch = "x86_64") && room >= text.len() + 16 {
                prop_assert!(expected.len() - filled < 16, "it ends {} bytes early", expected.len() - filled);
            }
        }
    }
}
