//! Services that answer one question in JSON, asked by requests of our own: each one's SDK is larger than a function.

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

/// Where a service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConfig {
    /// `AWS_REGION`.
    pub region: String,
    /// `AWS_ENDPOINT_URL_SERVICE`, else `AWS_ENDPOINT_URL`, where set: `http[s]://HOST[:PORT]`.
    pub endpoint: Option<String>,
    /// `AWS_USE_FIPS_ENDPOINT`: the endpoint with validated cryptography.
    pub fips: bool,
    /// PEM text of the certificates to trust (`AWS_CA_BUNDLE`); `None` trusts the public ones.
    pub ca_pem: Option<Vec<u8>>,
}

impl ServiceConfig {
    /// The endpoint that AWS offers everybody.
    fn public(&self, service: &str) -> String {
        let fips = if self.fips { "-fips" } else { "" };
        let suffix = if self.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("https://{service}{fips}.{}.{suffix}", self.region)
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Parameter,
    Secret,
}

impl Asked {
    /// The first part of the host's name, which is the signing name, too.
    fn service(self) -> &'static str {
        match self {
            Self::Parameter => "ssm",
            Self::Secret => "secretsmanager",
        }
    }

    /// The operation, as the header `x-amz-target` names it.
    fn target(self) -> &'static str {
        match self {
            Self::Parameter => "AmazonSSM.GetParameter",
            Self::Secret => "secretsmanager.GetSecretValue",
        }
    }

    fn body(self, name: &str) -> Bytes {
        let opening: &[u8] = match self {
            Self::Parameter => b"{\"WithDecryption\":true,\"Name\":",
            Self::Secret => b"{\"SecretId\":",
        };
        let mut body = opening.to_vec();
        write_string(&mut body, name);
        body.push(b'}');
        Bytes::from(body)
    }

    fn text(self, answer: &Value) -> Option<&str> {
        match self {
            Self::Parameter => answer.pointer("/Parameter/Value"),
            Self::Secret => answer.get("SecretString"),
        }?
        .as_str()
    }

    /// What to do about a refusal.
    fn hint(self, kind: &str) -> &'static str {
        match (self, kind) {
            (Self::Parameter, _) if kind.contains("AccessDenied") => {
                "; allow ssm:GetParameter on it to the function's role"
            }
            (Self::Secret, _) if kind.contains("AccessDenied") => {
                "; allow secretsmanager:GetSecretValue on it (and kms:Decrypt on a key of your own) to the function's role"
            }
            (_, "ParameterNotFound" | "ParameterVersionNotFound" | "ResourceNotFoundException") => {
                "; check its name and the region"
            }
            (_, "InvalidKeyId" | "DecryptionFailure") => "; allow kms:Decrypt on its key to the function's role",
            _ => "",
        }
    }
}

/// The value of a parameter of Systems Manager, decrypted if it is a SecureString
/// ([GetParameter](https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html)). `name` may have a
/// version behind a colon, or be an ARN.
///
/// # Errors
/// When it cannot be read until `deadline`, with what to do.
pub async fn parameter<C: Credentials>(
    config: ServiceConfig,
    credentials: C,
    name: &str,
    deadline: Instant,
) -> Result<String, String> {
    let answer = ask(config, credentials, Asked::Parameter, name, deadline).await;
    answer.map_err(|why| format!("the parameter `{name}`: {why}"))
}

/// The text of a secret of Secrets Manager, its current version
/// ([GetSecretValue](https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html)). `name` may be an ARN.
///
/// # Errors
/// When it cannot be read until `deadline` or holds no text, with what to do.
pub(crate) async fn secret<C: Credentials>(
    config: ServiceConfig,
    credentials: C,
    name: &str,
    deadline: Instant,
) -> Result<String, String> {
    let answer = ask(config, credentials, Asked::Secret, name, deadline).await;
    answer.map_err(|why| format!("the secret `{name}` cannot be read: {why}"))
}

async fn ask<C: Credentials>(
    config: ServiceConfig,
    credentials: C,
    asked: Asked,
    name: &str,
    deadline: Instant,
) -> Result<String, String> {
    let words = |error: ConfigError| error.to_string();
    let place =
        Place::of(&config.public(asked.service()), config.endpoint.as_deref(), &config.region).map_err(words)?;
    let http = HttpConfig {
        host: place.host,
        port: place.port,
        tls: place.tls,
        ca_pem: config.ca_pem,
        scheme: Scheme::SigV4 { service: asked.service(), region: place.region },
        gzip: false,
    };
    let names = SettingNames { ca_file: "AWS_CA_BUNDLE", ..SettingNames::TARGET };
    let http = HttpTransport::with_names(http, credentials, names).map_err(|error| error.to_string())?;
    let body = asked.body(name);
    let mut pauses = 0;
    loop {
        let (path, content_type) = ("/".to_owned(), "application/x-amz-json-1.1");
        let request = Request { method: "POST", path, content_type, body: body.clone() };
        let until = deadline.min(Instant::now() + ATTEMPT);
        let (passing, why) = match http.send_with(request, &[("x-amz-target", asked.target())], until).await {
            Ok(answer) if answer.status == 200 => match serde_json::from_slice::<Value>(&answer.body) {
                Ok(found) => match asked.text(&found) {
                    Some(text) => return Ok(text.to_owned()),
                    None => (false, "it holds no text".to_owned()),
                },
                Err(_) => (true, "the answer is no JSON".to_owned()),
            },
            Ok(answer) => {
                let (kind, message) = refusal(&answer.body);
                let passing = answer.status >= 500 || answer.status == 429 || kind.contains("Throttl");
                let what = if kind.is_empty() { format!("HTTP status {}", answer.status) } else { kind.clone() };
                let message = if message.is_empty() { message } else { format!(": {message}") };
                (passing, format!("{what}{message}{}", asked.hint(&kind)))
            }
            Err(failure) => (matches!(failure.cause, Cause::Unreachable | Cause::TimedOut), failure.detail),
        };
        if !passing || !pause(pauses, deadline).await {
            return Err(why);
        }
        pauses += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_endpoints() {
        for (region, fips, expected) in [
            ("eu-west-1", false, "https://ssm.eu-west-1.amazonaws.com"),
            ("us-east-1", true, "https://ssm-fips.us-east-1.amazonaws.com"),
            ("cn-north-1", false, "https://ssm.cn-north-1.amazonaws.com.cn"),
        ] {
            let config = ServiceConfig { region: region.to_owned(), endpoint: None, fips, ca_pem: None };
            assert_eq!(config.public("ssm"), expected);
        }
    }
}
