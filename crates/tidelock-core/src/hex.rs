//! Bytes as lower-case hexadecimal digits.

/// The digits as text.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    digits(bytes).map(char::from).collect()
}

/// Appends the digits.
pub fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(digits(bytes));
}

fn digits(bytes: &[u8]) -> impl Iterator<Item = u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_two_digits() {
        let bytes: Vec<u8> = (0..=255).collect();
        let expected: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex(&bytes), expected);
        let mut out = b"0x".to_vec();
        push_hex(&mut out, &bytes);
        assert_eq!(out, format!("0x{expected}").into_bytes());
    }
}
