//! Addresses in settings.

use super::{DeadLetterAddress, Endpoint, Secret, SourceAddress, TargetAddress};

/// What a target's address may be.
pub(super) const TARGET_FORMS: &str =
    "opensearch+https://HOST[:PORT], opensearch+http://HOST[:PORT], mongodb://…, mongodb+srv://…, sqlite:PATH, stdout:";

/// Where documents go. The value is never repeated in the message: it may hold a password.
pub(super) fn target_address(text: &str) -> Result<TargetAddress, String> {
    if is_mongodb(text) {
        return Ok(TargetAddress::MongoDb(Secret::new(text)));
    }
    if let Some(path) = text.strip_prefix("sqlite:") {
        return if path.is_empty() {
            Err("sqlite: needs a path".to_owned())
        } else {
            Ok(TargetAddress::Sqlite(path.to_owned()))
        };
    }
    if text == "stdout:" {
        return Ok(TargetAddress::Stdout);
    }
    let (tls, rest) = match (text.strip_prefix("opensearch+https://"), text.strip_prefix("opensearch+http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return Err(format!("not one of {TARGET_FORMS}")),
    };
    endpoint(tls, rest).map(TargetAddress::OpenSearch)
}

/// How the source is read again. The value is never repeated in the message: it may hold a password.
pub(super) fn source_address(text: &str) -> Result<SourceAddress, &'static str> {
    match text {
        "dynamodb:" => Ok(SourceAddress::DynamoDb),
        _ if is_mongodb(text) => Ok(SourceAddress::MongoDb(Secret::new(text))),
        _ => Err("not one of dynamodb:, mongodb://…, mongodb+srv://…"),
    }
}

fn is_mongodb(text: &str) -> bool {
    text.starts_with("mongodb://") || text.starts_with("mongodb+srv://")
}

/// Reads `[USER:PASSWORD@]HOST[:PORT][/]`.
fn endpoint(tls: bool, rest: &str) -> Result<Endpoint, String> {
    let (user, place) = match rest.rsplit_once('@') {
        Some((user, place)) => {
            let (name, password) =
                user.split_once(':').ok_or("the user before @ has no password (USER:PASSWORD@HOST)")?;
            (Some((percent_decoded(name), Secret::new(percent_decoded(password)))), place)
        }
        None => (None, rest),
    };
    let place = place.strip_suffix('/').unwrap_or(place);
    if place.contains(['/', '?', '#']) {
        return Err("nothing may follow the port: OpenSearch must be at the root of its host".to_owned());
    }
    let after_address = place.rfind(']').map_or(0, |end| end + 1);
    let (host, port) = match place.get(after_address..).and_then(|tail| tail.rfind(':')) {
        Some(colon) => {
            let (host, port) = place.split_at(after_address + colon);
            let port =
                port.trim_start_matches(':').parse().map_err(|_| "the port is no number from 1 to 65535".to_owned())?;
            (host, port)
        }
        None => (place, if tls { 443 } else { 80 }),
    };
    if host.is_empty() || port == 0 || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("there is no valid host".to_owned());
    }
    Ok(Endpoint { tls, host: host.to_owned(), port, user })
}

fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match tail.get(..2).filter(|_| byte == b'%').and_then(hex) {
            Some(decoded) => {
                out.push(decoded);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// An SQS queue's URL, or a file.
pub(super) fn dead_letter_address(text: &str) -> Option<DeadLetterAddress> {
    if let Some(path) = text.strip_prefix("file:") {
        return (!path.is_empty()).then(|| DeadLetterAddress::File(path.to_owned()));
    }
    let url = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    url.contains('/').then(|| DeadLetterAddress::Sqs(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let endpoint = |text: &str| match target_address(text) {
            Ok(TargetAddress::OpenSearch(endpoint)) => endpoint,
            other => panic!("{text}: {other:?}"),
        };
        let plain = endpoint("opensearch+https://search.example.com");
        assert_eq!((plain.tls, plain.host.as_str(), plain.port, plain.user), (true, "search.example.com", 443, None));
        let full = endpoint("opensearch+http://me:p%40ss@[::1]:9200/");
        assert_eq!((full.tls, full.host.as_str(), full.port), (false, "[::1]", 9200));
        assert_eq!(full.user, Some(("me".to_owned(), Secret::new("p@ss"))));
        for wrong in [
            "",
            "http://x",
            "opensearch+https://",
            "opensearch+https://h:0",
            "opensearch+https://h/path",
            "sqlite:",
            "opensearch+http://h:x",
        ] {
            assert!(target_address(wrong).is_err(), "{wrong}");
        }
    }
}
