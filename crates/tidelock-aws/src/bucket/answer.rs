//! What S3 says: pages of names, and refusals.
//!
//! [Error responses](https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html),
//! [ListObjectsV2](https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html).

use super::name::decode;
use super::xml::leaves;

/// Errors that pass although their status (400, 409) says otherwise.
const PASSING: [&str; 5] =
    ["ConditionalRequestConflict", "IncompleteBody", "OperationAborted", "RequestTimeout", "SlowDown"];

/// Most characters of the service's words that are passed on.
const MAX_WORDS: usize = 400;

/// A request that did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Asking again may help.
    pub(super) passing: bool,
    /// What happened, in the service's words where it has said any, and what to do.
    pub(super) words: String,
}

/// A refusal's code, message and hints; empty where there are none.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    pub(super) code: String,
    message: String,
    /// The bucket's own region, or the host to ask.
    elsewhere: String,
}

impl Refusal {
    /// Reads `<Error><Code>…</Code><Message>…</Message>…</Error>`; whatever else answers has said nothing.
    pub(super) fn read(body: &[u8]) -> Self {
        let mut refusal = Self::default();
        let read = leaves(std::str::from_utf8(body).unwrap_or_default(), |path, text| {
            let place = match path {
                ["Error", "Code"] => &mut refusal.code,
                ["Error", "Message"] => &mut refusal.message,
                ["Error", "Region" | "Endpoint"] => &mut refusal.elsewhere,
                _ => return,
            };
            text.clone_into(place);
        });
        if read.is_ok() { refusal } else { Self::default() }
    }

    /// `right` is what the function's role needs for the request.
    pub(super) fn trouble(self, status: u16, right: &str) -> Trouble {
        let Self { code, message, elsewhere } = self;
        let passing = status >= 500 && status != 501 || status == 429 || PASSING.contains(&code.as_str());
        let what = if code.is_empty() { format!("HTTP status {status}") } else { code.clone() };
        let message = match message.char_indices().nth(MAX_WORDS) {
            Some((end, _)) => format!(": {}…", message.get(..end).unwrap_or_default()),
            None if message.is_empty() => String::new(),
            None => format!(": {message}"),
        };
        let redirected =
            matches!(status, 301 | 307 | 308) || code == "AuthorizationHeaderMalformed" && !elsewhere.is_empty();
        let hint = if redirected {
            let place = if elsewhere.is_empty() { String::new() } else { format!(" ({elsewhere})") };
            format!("; the bucket is in another region{place}: use one in the function's region")
        } else if code == "NoSuchBucket" {
            "; check the bucket's name".to_owned()
        } else if code == "AccessDenied" || status == 403 && code.is_empty() {
            format!("; allow {right} to the function's role")
        } else {
            String::new()
        };
        Trouble { passing, words: format!("{what}{message}{hint}") }
    }
}

/// One page of a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) names: Vec<String>,
    pub(super) more: bool,
    /// What asks for the next page.
    pub(super) next: Option<String>,
}

/// Reads a `ListBucketResult`.
pub(super) fn page(body: &[u8]) -> Result<Page, String> {
    let text = std::str::from_utf8(body).map_err(|_| "it is not UTF-8".to_owned())?;
    let (mut names, mut next, mut truncated, mut encoded) = (Vec::new(), None, None, false);
    leaves(text, |path, text| match path {
        ["ListBucketResult", "Contents", "Key"] => names.push(text.to_owned()),
        ["ListBucketResult", "IsTruncated"] => truncated = Some(text.to_owned()),
        ["ListBucketResult", "NextContinuationToken"] => next = Some(text.to_owned()),
        ["ListBucketResult", "EncodingType"] => encoded = text == "url",
        _ => {}
    })?;
    // Servers that do not know the parameter leave names as they are.
    if encoded {
        names = names.iter().map(|name| decode(name)).collect::<Result<_, _>>()?;
    }
    let more = match truncated.as_deref() {
        Some("true") => true,
        Some("false") => false,
        _ => return Err("it does not say whether there is more".to_owned()),
    };
    if more && names.is_empty() && next.is_none() {
        return Err("it says that there is more, and not where".to_owned());
    }
    Ok(Page { names, more, next })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(status: u16, body: &str) -> (bool, String) {
        let Trouble { passing, words } = Refusal::read(body.as_bytes()).trouble(status, "s3:GetObject on its objects");
        (passing, words)
    }

    fn error(code: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>the &quot;words&quot;</Message><Key>k</Key></Error>"
        )
    }

    #[test]
    fn refusals() {
        for (status, code, passing) in [
            (503, "SlowDown", true),
            (503, "ServiceUnavailable", true),
            (500, "InternalError", true),
            (400, "RequestTimeout", true),
            (400, "IncompleteBody", true),
            (409, "OperationAborted", true),
            (501, "NotImplemented", false),
            (400, "KeyTooLongError", false),
            (403, "SignatureDoesNotMatch", false),
            (403, "InvalidObjectState", false),
        ] {
            assert_eq!(words(status, &error(code)), (passing, format!("{code}: the \"words\"")));
        }
        let (passing, denied) = words(403, &error("AccessDenied"));
        assert!(!passing && denied.ends_with("; allow s3:GetObject on its objects to the function's role"), "{denied}");
        let (passing, missing) = words(404, &error("NoSuchBucket"));
        assert!(!passing && missing.ends_with("; check the bucket's name"), "{missing}");
    }

    #[test]
    fn a_bucket_of_another_region() {
        for (status, code, hint, place) in [
            (
                301,
                "PermanentRedirect",
                "<Endpoint>letters.s3.eu-west-1.amazonaws.com</Endpoint>",
                " (letters.s3.eu-west-1.amazonaws.com)",
            ),
            (307, "TemporaryRedirect", "", ""),
            (400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>", " (eu-west-1)"),
        ] {
            let (passing, words) = words(status, &error(code).replace("<Key>k</Key>", hint));
            let end = format!("; the bucket is in another region{place}: use one in the function's region");
            assert!(!passing && words.ends_with(&end), "{words}");
        }
        assert!(!words(400, &error("AuthorizationHeaderMalformed")).1.contains("another region"));
    }

    #[test]
    fn whatever_answers() {
        for (status, body, passing, expected) in [
            (502, "<html>", true, "HTTP status 502"),
            (429, "", true, "HTTP status 429"),
            (403, "{}", false, "HTTP status 403; allow s3:GetObject on its objects to the function's role"),
            (404, "<html><body>Error</body></html>", false, "HTTP status 404"),
            // It breaks off: what it says first may be anything.
            (400, "<Error><Code>SlowDown</Code>", false, "HTTP status 400"),
        ] {
            assert_eq!(words(status, body), (passing, expected.to_owned()));
        }
        let long = format!("<Error><Code>B</Code><Message>{}</Message></Error>", "ü".repeat(1_000));
        assert_eq!(words(400, &long).1, format!("B: {}…", "ü".repeat(MAX_WORDS)));
    }

    #[test]
    fn pages() {
        // As S3 writes it.
        let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
            <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><Prefix>a</Prefix>\
            <KeyCount>2</KeyCount><MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
            <NextContinuationToken>1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=</NextContinuationToken>\
            <Contents><Key>a+b%2B%C3%BC/c</Key><ETag>&quot;x&quot;</ETag><Owner><ID>Key</ID></Owner></Contents>\
            <Contents><Key>a%26%3C</Key></Contents><CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes></ListBucketResult>";
        let names = vec!["a b+ü/c".to_owned(), "a&<".to_owned()];
        let next = Some("1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=".to_owned());
        assert_eq!(page(body.as_bytes()), Ok(Page { names, more: true, next }));
        // Without the encoding, names are what they are.
        let raw = body.replace("<EncodingType>url</EncodingType>", "").replace(">true<", ">false<");
        let raw = page(raw.as_bytes()).expect("a page");
        assert_eq!((raw.names[0].as_str(), raw.more), ("a+b%2B%C3%BC/c", false));
        for wrong in [
            body.replace("<IsTruncated>true</IsTruncated>", ""),
            body.replace(">true<", ">maybe<"),
            body.replace("a%26", "a%2"),
            body.replace("ListBucketResult", "Other"),
            body.replace("</ListBucketResult>", ""),
            "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>".to_owned(),
            String::new(),
        ] {
            assert!(page(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
