//! Texts in Systems Manager's Parameter Store, by a request of our own: the service's SDK is larger than a function.

use crate::ConfigError;
use crate::bucket::pause;
use crate::queue::{Place, refusal};
use bytes::Bytes;
use serde_json::Value;
use std::time::{Duration, Instant};
use tidelock_core::cause::Cause;
use tidelock_core::credentials::Credentials;
use tidelock_core::json::write_string;
use tidelock_http::{HttpConfig, HttpTransport, Request, Scheme, SettingNames};

/// The longest that one attempt may take. Who is silent for longer is asked again.
const ATTEMPT: Duration = Duration::from_secs(3);

/// Where parameters are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterConfig {
    /// `AWS_REGION`.
    pub region: String,
    /// `AWS_ENDPOINT_URL_SSM`, else `AWS_ENDPOINT_URL`, where set: `http[s]://HOST[:PORT]`.
    pub endpoint: Option<String>,
    /// PEM text of the certificates to trust (`AWS_CA_BUNDLE`); `None` trusts the public ones.
    pub ca_pem: Option<Vec<u8>>,
}

/// The value of a parameter, decrypted if it is a SecureString
/// ([GetParameter](https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html)). `name` may have a
/// version behind a colon, or be an ARN.
///
/// # Errors
/// When it cannot be read until `deadline`, with what to do.
pub async fn parameter<C: Credentials>(
    config: ParameterConfig,
    credentials: C,
    name: &str,
    deadline: Instant,
) -> Result<String, String> {
    let suffix = if config.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let public = format!("https://ssm.{}.{suffix}", config.region);
    let words = |error: ConfigError| error.to_string();
    let place = Place::of(&public, config.endpoint.as_deref(), &config.region).map_err(words)?;
    let http = HttpConfig {
        host: place.host,
        port: place.port,
        tls: place.tls,
        ca_pem: config.ca_pem,
        scheme: Scheme::SigV4 { service: "ssm", region: place.region },
        gzip: false,
    };
    let names = SettingNames { ca_file: "AWS_CA_BUNDLE", ..SettingNames::TARGET };
    let http = HttpTransport::with_names(http, credentials, names).map_err(|error| error.to_string())?;
    let mut body = b"{\"WithDecryption\":true,\"Name\":".to_vec();
    write_string(&mut body, name);
    body.push(b'}');
    let body = Bytes::from(body);
    let mut pauses = 0;
    loop {
        let (path, content_type) = ("/".to_owned(), "application/x-amz-json-1.1");
        let request = Request { method: "POST", path, content_type, body: body.clone() };
        let until = deadline.min(Instant::now() + ATTEMPT);
        let (passing, why) = match http.send_with(request, &[("x-amz-target", "AmazonSSM.GetParameter")], until).await {
            Ok(answer) if answer.status == 200 => {
                let found: Option<Value> = serde_json::from_slice(&answer.body).ok();
                match found.as_ref().and_then(|found| found.pointer("/Parameter/Value")?.as_str()) {
                    Some(value) => return Ok(value.to_owned()),
                    None => (true, "the answer holds no value".to_owned()),
                }
            }
            Ok(answer) => {
                let (kind, message) = refusal(&answer.body);
                let passing = answer.status >= 500 || answer.status == 429 || kind.contains("Throttl");
                let what = if kind.is_empty() { format!("HTTP status {}", answer.status) } else { kind.clone() };
                let message = if message.is_empty() { message } else { format!(": {message}") };
                (passing, format!("{what}{message}{}", hint(&kind)))
            }
            Err(failure) => (matches!(failure.cause, Cause::Unreachable | Cause::TimedOut), failure.detail),
        };
        if !passing || !pause(pauses, deadline).await {
            return Err(format!("the parameter `{name}`: {why}"));
        }
        pauses += 1;
    }
}

/// What to do about a refusal.
fn hint(kind: &str) -> &'static str {
    match kind {
        _ if kind.contains("AccessDenied") => "; allow ssm:GetParameter on it to the function's role",
        "ParameterNotFound" | "ParameterVersionNotFound" => "; check its name and the region",
        "InvalidKeyId" => "; allow kms:Decrypt on its key to the function's role",
        _ => "",
    }
}
