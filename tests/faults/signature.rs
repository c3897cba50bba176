//! Requests signed by AWS Signature Version 4, checked by an implementation of its own
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).

use super::Bench;
use crate::support::event::{Stream, apart, event, named};
use crate::support::function::{dynamodb_sync, target};
use crate::support::index::Index;
use crate::support::proxy::{Fault, Proxy, Seen};
use crate::support::{services, unique};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "FwoGZXIvYXdzEXAMPLE//token+with=signs==";

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Percent-encodes all but the unreserved characters.
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

/// Says what is wrong with a request's signature.
fn verify(seen: &Seen, service: &str) -> Result<(), String> {
    let header = |name: &str| seen.header(name).ok_or_else(|| format!("no header {name}"));
    let authorization = header("authorization")?;
    let rest = authorization.strip_prefix("AWS4-HMAC-SHA256 ").ok_or("another algorithm")?;
    let part = |name: &str| {
        let found = rest.split(", ").find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        found.ok_or_else(|| format!("no {name}"))
    };
    let date = header("x-amz-date")?;
    let scope = format!("{}/us-east-1/{service}/aws4_request", &date[..8]);
    if part("Credential")? != format!("AKIDEXAMPLE/{scope}") {
        return Err(format!("credential {}", part("Credential")?));
    }
    let body_hash = hex(Sha256::digest(&seen.wire));
    if header("x-amz-content-sha256")? != body_hash {
        return Err("the body's hash differs".into());
    }
    if header("x-amz-security-token")? != TOKEN {
        return Err("the session token differs".into());
    }
    let signed = part("SignedHeaders")?;
    for name in ["host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"] {
        if !signed.split(';').any(|other| other == name) {
            return Err(format!("{name} is not signed"));
        }
    }
    let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
    let path: Vec<String> = path.split('/').map(encoded).collect();
    let mut query: Vec<String> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            pair.split_once('=')
                .map_or_else(|| format!("{}=", encoded(pair)), |(a, b)| format!("{}={}", encoded(a), encoded(b)))
        })
        .collect();
    query.sort();
    let mut canonical = format!("{}\n{}\n{}\n", seen.method, path.join("/"), query.join("&"));
    for name in signed.split(';') {
        canonical.push_str(&format!("{name}:{}\n", header(name)?.trim()));
    }
    canonical.push_str(&format!("\n{signed}\n{body_hash}"));
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(Sha256::digest(canonical.as_bytes())));
    let mut key = format!("AWS4{SECRET}").into_bytes();
    for step in scope.split('/') {
        key = hmac(&key, step);
    }
    let expected = hex(hmac(&key, &to_sign));
    if part("Signature")? == expected { Ok(()) } else { Err(format!("the signature differs, for\n{canonical}")) }
}

fn checked(service: &'static str) -> impl Fn(&Seen) -> Fault + Send + Sync + 'static {
    move |seen| match verify(seen, service) {
        Ok(()) => Fault::None,
        Err(problem) => Fault::Answer(403, format!("{{\"message\":{problem:?}}}")),
    }
}

#[tokio::test]
async fn every_request_is_signed_for_its_service() {
    for (auth, service) in [("sigv4", "es"), ("sigv4-serverless", "aoss")] {
        for gzip in ["false", "true"] {
            let Some(Bench { sync, index, proxy, folder: _folder }) = Bench::new("signed", checked(service)).await
            else {
                return;
            };
            let function = sync
                .with("TIDELOCK_TARGET_AUTH", auth)
                .with("TIDELOCK_BULK_GZIP", gzip)
                .with("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
                .with("AWS_SECRET_ACCESS_KEY", SECRET)
                .with("AWS_SESSION_TOKEN", TOKEN)
                .start();
            let stream = Stream::of("mytable");
            let large = "x".repeat(10_000);
            function
                .succeed(event(&[stream.upsert(&apart(1), "1", "one"), stream.upsert(&apart(2), "2", &large)]))
                .await;
            // Once more, so that the stored versions are asked for too.
            function.succeed(event(&[stream.upsert(&apart(0), "1", "old")])).await;
            assert_eq!(function.metrics().await["Stale"], 1, "{}", function.log());
            assert_eq!(index.get("1").await.unwrap().fields, named(1, "one"));
            let paths: Vec<String> =
                proxy.seen().into_iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect();
            for part in ["GET /", "PUT /", "/_bulk?", "/_mget?"] {
                assert!(paths.iter().any(|path| path.contains(part)), "{paths:?}");
            }
            assert!(!function.log().contains(SECRET) && !function.log().contains(TOKEN));
        }
    }
}

#[tokio::test]
async fn names_that_need_escapes_are_signed_as_they_are_sent() {
    let Some(url) = services::opensearch() else { return };
    let proxy = Proxy::before(&url, checked("es")).await;
    let Some(sync) = dynamodb_sync(&target(&proxy.url)) else { return };
    let index = Index::named(&url, format!("{}+é", unique("escaped")));
    let function = sync
        .into(index.name())
        .with("TIDELOCK_TARGET_AUTH", "sigv4")
        .with("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .with("AWS_SECRET_ACCESS_KEY", SECRET)
        .with("AWS_SESSION_TOKEN", TOKEN)
        .start();
    function.succeed(event(&[Stream::of("mytable").upsert(&apart(1), "1", "one")])).await;
    assert_eq!(index.get("1").await.unwrap().fields, named(1, "one"));
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_the_record_reported() {
    let Some(Bench { sync, index, proxy: _proxy, folder: _folder }) = Bench::new("wrong", checked("es")).await else {
        return;
    };
    let function = sync
        .with("TIDELOCK_TARGET_AUTH", "sigv4")
        .with("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .with("AWS_SECRET_ACCESS_KEY", "another key")
        .with("AWS_SESSION_TOKEN", TOKEN)
        .start();
    assert_eq!(function.answer(event(&[Stream::of("mytable").upsert(&apart(1), "1", "one")])).await, Some(apart(1)));
    assert_eq!(function.metrics().await["Failures"]["forbidden"]["count"], 1);
    assert!(!index.exists().await);
}
