//! Parameters and secrets, from real stores and from ones that say no.

use super::server::{Reply, Server};
use super::{Role, SHORT, sdk, service, soon, unique};
use crate::queue::Place;
use crate::service::secret;
use crate::{Keys, Secrets, ServiceConfig, parameter};
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Instant;
use tidelock_http::{HttpConfig, HttpTransport, Request, Scheme, SettingNames};

fn at(url: &str) -> ServiceConfig {
    ServiceConfig { region: "us-east-1".to_owned(), endpoint: Some(url.to_owned()), fips: false, ca_pem: None }
}

/// Stores a parameter.
async fn put(url: &str, body: &Value) {
    let place = Place::of("https://ssm.us-east-1.amazonaws.com", Some(url), "us-east-1").expect("a place");
    let scheme = Scheme::SigV4 { service: "ssm", region: place.region };
    let (host, port, tls) = (place.host, place.port, place.tls);
    let http = HttpConfig { host, port, tls, ca_pem: None, scheme, gzip: false };
    let http = HttpTransport::with_names(http, Role(true), SettingNames::TARGET).expect("a client");
    let (path, content_type) = ("/".to_owned(), "application/x-amz-json-1.1");
    let request = Request { method: "POST", path, content_type, body: Bytes::from(body.to_string()) };
    let answer = http.send_with(request, &[("x-amz-target", "AmazonSSM.PutParameter")], soon()).await;
    assert_eq!(answer.expect("an answer").status, 200);
}

#[tokio::test]
async fn a_parameter_is_read_decrypted() {
    let Some(url) = service() else { return };
    let name = format!("/tidelock/{}", unique("parameter"));
    let text = "version: 1\nroutes: [{from: \"ü\\n\"}]";
    let body = json!({"Name": name, "Value": text, "Type": "SecureString"});
    put(&url, &body).await;
    assert_eq!(parameter(at(&url), Role(true), &name, soon()).await.as_deref(), Ok(text));
    let missing = parameter(at(&url), Role(true), "/tidelock/absent", soon()).await.expect_err("there is none");
    assert!(missing.starts_with("the parameter `/tidelock/absent`: ParameterNotFound"), "{missing}");
    assert!(missing.ends_with("; check its name and the region"), "{missing}");
}

#[tokio::test]
async fn what_passes_is_asked_again_and_what_does_not_is_told() {
    let server = Server::start(|number, _| match number {
        0 => Reply::Cut,
        1 => Reply::Text(400, json!({"__type": "ThrottlingException"}).to_string()),
        2 => Reply::Text(500, String::new()),
        _ => Reply::Text(200, json!({"Parameter": {"Name": "a", "Value": "b", "Version": 1}}).to_string()),
    })
    .await;
    assert_eq!(parameter(at(&server.url), Role(true), "a\"b", soon()).await.as_deref(), Ok("b"));
    let asked = server.asked();
    let body: Value = serde_json::from_str(&asked[3].body).expect("JSON");
    assert_eq!(body, json!({"Name": "a\"b", "WithDecryption": true}));
    assert!(asked[3].headers.contains("x-amz-target: amazonssm.getparameter"), "{}", asked[3].headers);
    assert!(asked[3].headers.contains("/us-east-1/ssm/aws4_request"), "{}", asked[3].headers);
    let denied = Server::start(|_, _| Reply::Text(400, json!({"__type": "AccessDeniedException"}).to_string())).await;
    let words = parameter(at(&denied.url), Role(true), "a", soon()).await.expect_err("denied");
    assert_eq!(words, "the parameter `a`: AccessDeniedException; allow ssm:GetParameter on it to the function's role");
    let silent = Server::start(|_, _| Reply::Cut).await;
    assert!(parameter(at(&silent.url), Role(true), "a", Instant::now() + SHORT).await.is_err());
}

#[tokio::test]
async fn a_secret_is_read_as_it_is_now() {
    let Some(url) = service() else { return };
    let client = aws_sdk_secretsmanager::Client::new(&sdk(&url).await);
    let name = unique("secret");
    let made = client.create_secret().name(&name).secret_string("first").send().await.expect("a secret");
    client.put_secret_value().secret_id(&name).secret_string("ü\"\n").send().await.expect("rotated");
    for name in [name.as_str(), made.arn().expect("an ARN")] {
        assert_eq!(secret(at(&url), Role(true), name, soon()).await.as_deref(), Ok("ü\"\n"), "{name}");
    }
    let bytes = aws_sdk_secretsmanager::primitives::Blob::new([0, 255]);
    client.put_secret_value().secret_id(&name).secret_binary(bytes).send().await.expect("stored");
    let words = secret(at(&url), Role(true), &name, soon()).await.expect_err("no text");
    assert_eq!(words, format!("the secret `{name}` cannot be read: it holds no text"));
    let missing = secret(at(&url), Role(true), "absent", soon()).await.expect_err("there is none");
    assert!(missing.starts_with("the secret `absent` cannot be read: ResourceNotFoundException: "), "{missing}");
    assert!(missing.ends_with("; check its name and the region"), "{missing}");
}

#[tokio::test]
async fn a_secret_is_asked_for_as_the_service_wants_it() {
    let server = Server::start(|number, _| match number {
        0 => Reply::Text(500, json!({"__type": "InternalServiceError"}).to_string()),
        _ => Reply::Text(200, json!({"Name": "a", "SecretString": "b"}).to_string()),
    })
    .await;
    assert_eq!(secret(at(&server.url), Role(true), "a\"b", soon()).await.as_deref(), Ok("b"));
    let asked = server.asked();
    assert_eq!(serde_json::from_str::<Value>(&asked[1].body).expect("JSON"), json!({"SecretId": "a\"b"}));
    assert!(asked[1].headers.contains("x-amz-target: secretsmanager.getsecretvalue"), "{}", asked[1].headers);
    assert!(asked[1].headers.contains("/us-east-1/secretsmanager/aws4_request"), "{}", asked[1].headers);
    let refusal = json!({"__type": "AccessDeniedException", "Message": "User: arn is not authorized"}).to_string();
    let denied = Server::start(move |_, _| Reply::Text(400, refusal.clone())).await;
    let words = secret(at(&denied.url), Role(true), "a", soon()).await.expect_err("denied");
    assert!(
        words.contains("AccessDeniedException: User: arn is not authorized; allow secretsmanager:GetSecretValue"),
        "{words}"
    );
}

#[tokio::test]
async fn without_a_region_a_secret_says_so() {
    let secrets = Secrets::new(Err("it needs AWS_REGION".to_owned()), Keys::new(None));
    let words = secrets.text("a").await.expect_err("no region");
    assert_eq!(words, "the secret `a` cannot be read: it needs AWS_REGION");
}
