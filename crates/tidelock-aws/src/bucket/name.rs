//! Names of buckets and objects.

use crate::ConfigError;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// Beginnings that no bucket has.
const RESERVED_PREFIXES: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];

/// Endings of what is no general purpose bucket, and speaks in other ways. The alias of an access point (`-s3alias`) may stand
/// for its bucket.
const RESERVED_SUFFIXES: [&str; 4] = ["--ol-s3", ".mrap", "--x-s3", "--table-s3"];

/// The longest name of an object, in
/// [bytes of UTF-8](https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html).
const MAX_OBJECT_NAME: usize = 1_024;

/// Checks the name of a general purpose bucket
/// ([rules](https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html)).
///
/// # Errors
/// When no bucket can have this name; the text says why.
pub fn check_bucket_name(name: &str) -> Result<(), ConfigError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    let alphanumeric = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let why = if !(3..=63).contains(&name.len()) {
        "it must have 3 to 63 characters"
    } else if !name.bytes().all(allowed) {
        "only lower case letters, digits, `.` and `-` are allowed"
    } else if !alphanumeric(name.bytes().next()) || !alphanumeric(name.bytes().last()) {
        "it must begin and end with a letter or digit"
    } else if name.contains("..") {
        "two periods may not follow each other"
    } else if name.parse::<Ipv4Addr>().is_ok() {
        "it may not look like an IP address"
    } else if RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        "no bucket may begin like this (xn--, sthree-, amzn-s3-demo-)"
    } else if RESERVED_SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
        "a general purpose bucket is needed (no directory or table bucket, no multi-region or Object Lambda access point)"
    } else {
        return Ok(());
    };
    Err(ConfigError(format!("`{name}` is no S3 bucket's name: {why}")))
}

/// An object's path behind the bucket: every byte encoded, but for `/` and what
/// [RFC 3986](https://www.rfc-editor.org/rfc/rfc3986#section-2.3) leaves unreserved, as the signature wants it.
///
/// # Errors
/// When no object can have this name. An empty one would make the request one about the bucket itself.
pub(super) fn object_path(name: &str) -> Result<String, String> {
    if name.is_empty() || name.len() > MAX_OBJECT_NAME {
        return Err(format!("an object's name has 1 to {MAX_OBJECT_NAME} bytes, this one has {}", name.len()));
    }
    let mut path = String::with_capacity(name.len() + 1);
    path.push('/');
    encode(name, b"/", &mut path);
    Ok(path)
}

/// Appends a query's value.
pub(super) fn encode_value(value: &str, query: &mut String) {
    encode(value, b"", query);
}

fn encode(text: &str, kept: &[u8], encoded: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
}

/// A name as `encoding-type=url` writes it: like a form's field, with `+` for a space.
///
/// # Errors
/// When it is damaged.
pub(super) fn decode(text: &str) -> Result<String, String> {
    let damaged = || format!("`{text}` is no encoded name");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
                let value = digit().zip(digit()).map(|(high, low)| high * 16 + low);
                value.and_then(|value| u8::try_from(value).ok()).ok_or_else(damaged)?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| damaged())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names() {
        let long = "a".repeat(63);
        for name in ["abc", "a.b-c.9", "9-letters", "letters-s3alias", "1.2.3.4.5", "a-.b", &long] {
            assert_eq!(check_bucket_name(name), Ok(()), "{name}");
        }
        let too_long = "a".repeat(64);
        for (name, why) in [
            ("", "3 to 63"),
            ("ab", "3 to 63"),
            (&too_long, "3 to 63"),
            ("Letters", "lower case"),
            ("a_b", "lower case"),
            ("a/b", "lower case"),
            ("bücket", "lower case"),
            ("s3://letters", "lower case"),
            ("-ab", "begin and end"),
            ("ab.", "begin and end"),
            ("a..b", "two periods"),
            ("192.168.5.4", "IP address"),
            ("xn--abc", "begin like this"),
            ("sthree-abc", "begin like this"),
            ("amzn-s3-demo-bucket", "begin like this"),
            ("letters--use1-az4--x-s3", "general purpose"),
            ("letters--ol-s3", "general purpose"),
            ("letters--table-s3", "general purpose"),
            ("letters.mrap", "general purpose"),
        ] {
            let refused = check_bucket_name(name).expect_err(name).to_string();
            assert!(refused.starts_with(&format!("`{name}` is no")) && refused.contains(why), "{refused}");
        }
    }

    #[test]
    fn object_names() {
        let path = |name: &str| object_path(name);
        assert_eq!(path("letters/2024-01~_.json").as_deref(), Ok("/letters/2024-01~_.json"));
        assert_eq!(path("/a//b c").as_deref(), Ok("//a//b%20c"));
        assert_eq!(path("+%&=?#\n\u{fc}").as_deref(), Ok("/%2B%25%26%3D%3F%23%0A%C3%BC"));
        assert!(path(&"a".repeat(1_024)).is_ok());
        assert!(path(&"ü".repeat(513)).is_err_and(|error| error.contains("1024 bytes, this one has 1026")));
        assert!(path("").is_err_and(|error| error.contains("this one has 0")));
        let mut query = String::new();
        encode_value("a/b c", &mut query);
        assert_eq!(query, "a%2Fb%20c");
    }

    #[test]
    fn names_come_back() {
        for name in ["a b+c", "ü/%41&=", "\u{0}\u{7f}\u{1F600}", ""] {
            let mut encoded = String::new();
            encode_value(name, &mut encoded);
            assert_eq!(decode(&encoded).as_deref(), Ok(name));
            assert_eq!(decode(&encoded.replace("%20", "+")).as_deref(), Ok(name));
        }
        for damaged in ["%", "%4", "%zz", "%+1", "%FF", "a%C3"] {
            assert!(decode(damaged).is_err(), "{damaged}");
        }
    }
}
