//! Addresses in settings.

use super::{
    BucketAddress, Endpoint, FailuresAddress, QueueAddress, Secret, SourceAddress, StateAddress, TargetAddress,
};

/// What a target's address may be.
pub(super) const TARGET_FORMS: &str =
    "opensearch+https://HOST[:PORT], opensearch+http://HOST[:PORT], mongodb://…, mongodb+srv://…, sqlite:PATH, stdout:";

/// Where documents go. The value is never repeated in the message: it may hold a password.
///
/// # Errors
/// What is wrong with it.
pub fn target_address(text: &str) -> Result<TargetAddress, String> {
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

/// A text with every `%XX` decoded (RFC 3986, section 2.1); what is no such triplet stays as it is.
#[must_use]
pub fn percent_decoded(text: &str) -> String {
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

fn path<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    text.strip_prefix(scheme).filter(|path| !path.is_empty())
}

/// An SQS queue's URL, or a file.
///
/// # Errors
/// What is allowed, where it is neither.
pub fn queue_address(text: &str) -> Result<QueueAddress, &'static str> {
    const FORMS: &str = "an SQS queue's URL (https://…), file:PATH";
    if let Some(path) = path(text, "file:") {
        return Ok(QueueAddress::File(path.to_owned()));
    }
    let url = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match url {
        // Such a queue gives no more out of a group before the first of it is done, and letters have no order.
        Some(url) if url.ends_with(".fifo") => {
            Err("a standard queue's URL; this is a FIFO queue, which letters do not need")
        }
        Some(url) if url.contains('/') => Ok(QueueAddress::Sqs(text.to_owned())),
        _ => Err(FORMS),
    }
}

/// A bucket's name, or a folder.
///
/// # Errors
/// What is allowed, where it is neither.
pub fn bucket_address(text: &str) -> Result<BucketAddress, &'static str> {
    const FORMS: &str =
        "a bucket's name (3 to 63 of a-z, 0-9, `.` and `-`, beginning and ending with a letter or digit), file:FOLDER";
    if let Some(path) = path(text, "file:") {
        return Ok(BucketAddress::Folder(path.to_owned()));
    }
    // https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [text.bytes().next(), text.bytes().last()].into_iter().flatten();
    let valid = (3..=63).contains(&text.len())
        && text.bytes().all(|byte| plain(byte) || matches!(byte, b'.' | b'-'))
        && ends.into_iter().all(plain)
        && !text.contains("..");
    if valid { Ok(BucketAddress::S3(text.to_owned())) } else { Err(FORMS) }
}

/// How the names of Lambda's on-failure records begin.
const ON_FAILURE_PREFIX: &str = "aws/lambda/";

/// A bucket, with or without a prefix, or a queue.
pub(super) fn failures_address(text: &str) -> Result<FailuresAddress, &'static str> {
    const FORMS: &str = "s3://BUCKET[/PREFIX], an SQS queue's URL (https://…), file:FOLDER";
    if let Some(path) = path(text, "file:") {
        return Ok(FailuresAddress::Bucket(BucketAddress::Folder(path.to_owned()), ON_FAILURE_PREFIX.to_owned()));
    }
    if let Some(place) = text.strip_prefix("s3://") {
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let prefix = if prefix.is_empty() { ON_FAILURE_PREFIX } else { prefix };
        let bucket = bucket_address(bucket).map_err(|_| FORMS)?;
        return Ok(FailuresAddress::Bucket(bucket, prefix.to_owned()));
    }
    queue_address(text).map(FailuresAddress::Queue).map_err(|_| FORMS)
}

/// Where functions remember.
///
/// # Errors
/// What is allowed, where it is none of it.
pub fn state_address(text: &str) -> Result<StateAddress, &'static str> {
    match (path(text, "dynamodb:"), path(text, "file:")) {
        (Some(table), _) => Ok(StateAddress::DynamoDb(table.to_owned())),
        (None, Some(path)) => Ok(StateAddress::File(path.to_owned())),
        (None, None) if text == "memory:" => Ok(StateAddress::Memory),
        (None, None) => Err("dynamodb:TABLE, file:PATH, memory:"),
    }
}

/// The pipeline as given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PipelineSource {
    /// The text itself.
    Text(String),
    /// A file's path.
    Path(String),
    /// The name of a parameter of Systems Manager that holds the text.
    Parameter(String),
}

impl PipelineSource {
    /// What `TIDELOCK_PIPELINE` says.
    #[must_use]
    pub fn of(text: String) -> Self {
        match text.strip_prefix("ssm:") {
            Some(name) => Self::Parameter(name.to_owned()),
            None if is_inline(&text) => Self::Text(text),
            None => Self::Path(text),
        }
    }
}

/// Whether `TIDELOCK_PIPELINE` is the pipeline itself, and no path.
#[must_use]
pub fn is_inline(text: &str) -> bool {
    text.contains('\n') || text.trim_start().starts_with('{') || text.trim_start().starts_with("version:")
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

    #[test]
    fn queues_buckets_and_state() {
        let url = "https://sqs.us-east-1.amazonaws.com/123456789012/letters";
        assert_eq!(queue_address(url), Ok(QueueAddress::Sqs(url.to_owned())));
        assert_eq!(queue_address("file:a/b"), Ok(QueueAddress::File("a/b".to_owned())));
        assert!(queue_address(&format!("{url}.fifo")).is_err_and(|why| why.contains("FIFO")));
        let s3 = |name: &str| BucketAddress::S3(name.to_owned());
        assert_eq!(bucket_address("my-bucket.1"), Ok(s3("my-bucket.1")));
        assert_eq!(bucket_address("file:x"), Ok(BucketAddress::Folder("x".to_owned())));
        let bucket = |name: &str, prefix: &str| Ok(FailuresAddress::Bucket(s3(name), prefix.to_owned()));
        assert_eq!(failures_address("s3://my-bucket"), bucket("my-bucket", "aws/lambda/"));
        assert_eq!(failures_address("s3://my-bucket/a/b"), bucket("my-bucket", "a/b"));
        assert_eq!(failures_address(url), Ok(FailuresAddress::Queue(QueueAddress::Sqs(url.to_owned()))));
        assert_eq!(state_address("dynamodb:t"), Ok(StateAddress::DynamoDb("t".to_owned())));
        assert_eq!(state_address("file:x"), Ok(StateAddress::File("x".to_owned())));
        assert_eq!(state_address("memory:"), Ok(StateAddress::Memory));
        for wrong in ["", "file:", "https://", "my_queue", "ftp://a/b"] {
            assert!(queue_address(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "ab", "My-bucket", "-ab", "ab-", "a..b", "s3://my-bucket"] {
            assert!(bucket_address(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "s3://", "my-bucket", "s3://B/x"] {
            assert!(failures_address(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "dynamodb:", "file:", "memory", "t"] {
            assert!(state_address(wrong).is_err(), "{wrong}");
        }
    }
}
