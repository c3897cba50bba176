//! Authentication of requests: a login in a header, or an AWS signature.
//!
//! Signature: [AWS Signature Version 4](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html), services `es`
//! (OpenSearch Service), `aoss` (OpenSearch Serverless) and `dynamodb`.

use aws_credential_types::Credentials as SdkCredentials;
use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use http::{HeaderValue, Request, header};
use std::time::SystemTime;
use tidelock_core::credentials::{AwsKeys, Login};

/// How requests are authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// Not at all.
    None,
    /// A user and password, or an API key, from the credentials.
    Login,
    /// Signed for this service (`es`, `aoss`, `dynamodb`) in this region.
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

/// Signs a request over its method, path, query, host, headers named `x-amz-…`, and body.
pub(crate) fn sign_request<B>(
    request: &mut Request<B>,
    body: &[u8],
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
    let own = request.headers().iter().filter(|(name, _)| name.as_str().starts_with("x-amz-"));
    let own = own.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let headers = [("host", host)].into_iter().chain(own);
    let signable = SignableRequest::new(request.method().as_str(), uri, headers, SignableBody::Bytes(body))
        .map_err(|error| format!("the request cannot be signed: {error}"))?;
    let (instructions, _) =
        sign(signable, &parameters).map_err(|error| format!("the request cannot be signed: {error}"))?.into_parts();
    instructions.apply_to_request_http1x(request);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
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
        sign_request(&mut request, b"", &keys, "service", "us-east-1", now).expect("signed");
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
        sign_request(&mut request, b"{}", &keys, "dynamodb", "us-east-1", now).expect("signed");
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
    fn logins() {
        let basic =
            login_header(&Login::Password { user: "me".into(), password: Secret::new("pw") }).expect("a header");
        assert_eq!(basic, "Basic bWU6cHc=");
        assert!(basic.is_sensitive());
        assert_eq!(login_header(&Login::ApiKey(Secret::new("k"))).expect("a header"), "ApiKey k");
        assert!(login_header(&Login::ApiKey(Secret::new("k\n"))).is_err());
    }
}
