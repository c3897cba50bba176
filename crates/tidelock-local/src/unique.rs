//! Identifiers as Lambda makes them: request ids and mapping ids are UUIDs (RFC 9562, version 4).

/// A random UUID, version 4. It names an invocation; nothing secret depends on it.
pub(crate) fn uuid() -> String {
    let bits = (fastrand::u128(..) & !(0xf << 76) & !(0b11 << 62)) | (0x4 << 76) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    #[test]
    fn uuids_carry_version_and_variant() {
        for _ in 0..1000 {
            let id = super::uuid();
            assert_eq!(id.len(), 36);
            assert_eq!(&id[14..15], "4");
            assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
        }
        assert_ne!(super::uuid(), super::uuid());
    }
}
