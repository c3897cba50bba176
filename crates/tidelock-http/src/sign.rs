//! Authentication of requests: a login in a header, or an AWS signature.
//!
//! Signature: [AWS Signature Version 4](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html), services `es`
//! (OpenSearch Service), `aoss` (OpenSearch Serverless), `dynamodb` and `s3`.

use crate::digest::Digest;
use aws_credential_types::Credentials as SdkCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use http::{HeaderValue, Request, header};
use std::time::SystemTime;
use tidelock_core::credentials::{AwsKeys, Login};
use tidelock_core::hex::hex;

/// The one service with rules of its own
/// ([S3](https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html)).
const S3: &str = "s3";

/// How requests are authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// Not at all.
    None,
    /// A user and password, or an API key, from the credentials.
    Login,
    /// Signed for this service (`es`, `aoss`, `dynamodb`, `s3`) in this region.
    SigV4 {
        /// The service's signing name.
        service: &'static str,
        /// The region the endpoint is in.
        region: String,
    },
}

/// The `Authorization` header of a login.
pub(crate) fn login_header(login: &Login) -> Result<HeaderValue, String> {
    let text = match login {
        Login::Password { user, password } => {
            format!(
                "Basic {}",
                base64::engine::general_purpose::STANDARD.encode(format!("{user}:{}", password.expose()))
            )
        }
        Login::ApiKey(key) => format!("ApiKey {}", key.expose()),
    };
    let mut value =
        HeaderValue::from_str(&text).map_err(|_| "the login holds characters that no header can carry".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// Signs a request over its method, path, query, host, headers named `x-amz-…`, and the digest of its body; for S3, over its media
/// type too.
pub(crate) fn sign_request<B>(
    request: &mut Request<B>,
    digest: &Digest,
    keys: &AwsKeys,
    service: &str,
    region: &str,
    now: SystemTime,
) -> Result<(), String> {
    let token = keys.session_token.as_ref().map(|token| token.expose().to_owned());
    let identity =
        SdkCredentials::new(&keys.access_key_id, keys.secret_access_key.expose(), token, None, "tidelock").into();
    let mut settings = SigningSettings::default();
    // Serverless demands the header; OpenSearch Service accepts it.
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    if service == S3 {
        // A path is an object's name and stands for itself: it is not encoded a second time, and `a//../b` stays as it is.
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    }
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(now)
        .settings(settings)
        .build()
        .map_err(|error| format!("the request cannot be signed: {error}"))?
        .into();
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let uri = format!("https://{host}{}", request.uri());
    let covered = |name: &str| name.starts_with("x-amz-") || service == S3 && name == header::CONTENT_TYPE.as_str();
    let own = request.headers().iter().filter(|(name, _)| covered(name.as_str()));
    let own = own.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let headers = [("host", host)].into_iter().chain(own);
    let body = SignableBody::Precomputed(hex(digest));
    let signable = SignableRequest::new(request.method().as_str(), uri, headers, body)
        .map_err(|error| format!("the request cannot be signed: {error}"))?;
    let (instructions, _) =
        sign(signable, &parameters).map_err(|error| format!("the request cannot be signed: {error}"))?.into_parts();
    instructions.apply_to_request_http1x(request);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};
    use std::time::{Duration, UNIX_EPOCH};
    use tidelock_core::settings::Secret;

    #[test]
    fn signs_like_a_published_vector() {
        // AWS's test suite for Signature Version 4, "get-vanilla", with the body's hash as a header on top.
        let keys = AwsKeys {
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: None,
        };
        let mut request = Request::get("/").header("host", "example.amazonaws.com").body(()).expect("a request");
        let now = UNIX_EPOCH + Duration::from_secs(1_440_938_160);
        sign_request(&mut request, &Sha256::digest(b"").into(), &keys, "service", "us-east-1", now).expect("signed");
        let header = |name: &str| request.headers()[name].to_str().expect("text").to_owned();
        assert_eq!(header("x-amz-date"), "20150830T123600Z");
        assert_eq!(header("x-amz-content-sha256"), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let authorization = header("authorization");
        assert!(authorization.starts_with(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature="
        ), "{authorization}");
        // Computed from the specification by an independent implementation (Python's hmac and hashlib).
        assert!(
            authorization.ends_with("726c5c4879a6b4ccbbd3b24edbd6b8826d34f87450fbbf4e85546fc7ba9c1642"),
            "{authorization}"
        );
    }

    #[test]
    fn signs_the_services_own_headers() {
        let keys = AwsKeys {
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: Some(Secret::new("TOKEN")),
        };
        let request = Request::post("/")
            .header("host", "dynamodb.us-east-1.amazonaws.com")
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", "DynamoDB_20120810.BatchGetItem");
        let mut request = request.body(()).expect("a request");
        let now = UNIX_EPOCH + Duration::from_secs(1_440_938_160);
        sign_request(&mut request, &Sha256::digest(b"{}").into(), &keys, "dynamodb", "us-east-1", now).expect("signed");
        let authorization = request.headers()["authorization"].to_str().expect("text");
        let (signed, signature) = authorization.rsplit_once(", Signature=").expect("a signature");
        assert!(
            signed.ends_with("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token;x-amz-target"),
            "{signed}"
        );
        // Computed from the specification by an independent implementation (Python's hmac and hashlib).
        assert_eq!(signature, "6b888b2290b00df23163649cdf28a64fff2d2b2608ef83c8ed67a40d5db6499c");
    }

    #[test]
    fn signs_for_s3_as_it_is_documented() {
        let keys = |token: Option<&str>| AwsKeys {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            session_token: token.map(Secret::new),
        };
        let now = UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        let signature = |mut request: Request<()>, body: &[u8], keys: &AwsKeys| {
            request.headers_mut().insert("host", HeaderValue::from_static("examplebucket.s3.amazonaws.com"));
            sign_request(&mut request, &Sha256::digest(body).into(), keys, "s3", "us-east-1", now).expect("signed");
            let authorization = request.headers()["authorization"].to_str().expect("text").to_owned();
            let (_, signed) = authorization.split_once("SignedHeaders=").expect("signed headers");
            let (headers, signature) = signed.split_once(", Signature=").expect("a signature");
            (headers.to_owned(), signature.to_owned())
        };
        let list =
            "/?list-type=2&encoding-type=url&prefix=a%2Fb%20%2B%C3%BC&start-after=a%3D~&continuation-token=t%2F%3D";
        for (path, expected) in [
            // The documentation's examples whose headers are the ones signed here: "GET Bucket Lifecycle" and "GET Bucket".
            ("/?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            ("/?max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
            // Computed as the one below.
            (list, "24ed0079456ec9efbfb7e04d3161a75db3a27d2cc7252638eb8efcf2eb867210"),
        ] {
            let signed = signature(Request::get(path).body(()).expect("a request"), b"", &keys(None));
            assert_eq!(signed, ("host;x-amz-content-sha256;x-amz-date".to_owned(), expected.to_owned()), "{path}");
        }
        // A name that would be another one if it were encoded twice or normalised. Computed by botocore's `S3SigV4Auth`, and
        // from the specification by Python's hmac and hashlib.
        let path = "/a%20b//%2B%25%26%3D/../%C3%BC";
        let request = Request::put(path).header("content-type", "application/json").body(()).expect("a request");
        let (headers, signature) = signature(request, b"{}", &keys(Some("TOKEN")));
        assert_eq!(headers, "content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token");
        assert_eq!(signature, "af42b74e46fa2a1fed69df5c60bf8fbc884c67a1ed3fde252bd7b56ba2f6937d");
    }

    #[test]
    fn logins() {
        let basic =
            login_header(&Login::Password { user: "me".into(), password: Secret::new("pw") }).expect("a header");
        assert_eq!(basic, "Basic bWU6cHc=");
        assert!(basic.is_sensitive());
        assert_eq!(login_header(&Login::ApiKey(Secret::new("k"))).expect("a header"), "ApiKey k");
        assert!(login_header(&Login::ApiKey(Secret::new("k\n"))).is_err());
    }
}
