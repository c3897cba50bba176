//! Logins: from the address, from a secret, and from a secret that has been rotated.

use super::{Bench, parked};
use crate::support::event::{Stream, apart, event, named};
use crate::support::function::target;
use crate::support::proxy::{Fault, Proxy, Seen};
use crate::support::queue::sdk;
use crate::support::{eventually, services, unique};
use aws_sdk_secretsmanager::Client;
use base64::Engine as _;
use bytes::Bytes;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn one() -> Bytes {
    event(&[Stream::of("mytable").upsert(&apart(1), "1", "one")])
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

/// Lets only requests with this header in; the value may change.
fn guarded(expected: &Arc<Mutex<String>>) -> impl Fn(&Seen) -> Fault + Send + Sync + 'static {
    let expected = expected.clone();
    move |seen| match seen.header("authorization") {
        Some(given) if given == *expected.lock().unwrap() => Fault::None,
        _ => Fault::Answer(401, "Unauthorized".into()),
    }
}

/// A secret, and a proxy before Secrets Manager that counts who asks.
struct Secret {
    client: Client,
    name: String,
    proxy: Proxy,
}

impl Secret {
    async fn create(text: &str) -> Option<Self> {
        let url = services::aws()?;
        let client = Client::new(&sdk(&url).await);
        let name = unique("secret");
        client.create_secret().name(&name).secret_string(text).send().await.unwrap();
        Some(Self { client, name, proxy: Proxy::before(&url, |_| Fault::None).await })
    }

    async fn rotate(&self, text: &str) {
        self.client.put_secret_value().secret_id(&self.name).secret_string(text).send().await.unwrap();
    }

    fn reads(&self) -> usize {
        self.proxy.seen().len()
    }
}

#[tokio::test]
async fn a_login_in_the_address_goes_into_every_request_and_into_no_log() {
    let expected = Arc::new(Mutex::new(basic("admin", "s3cr3t@ü!")));
    let Some(Bench { sync, index, proxy, folder }) = Bench::new("url", guarded(&expected)).await else { return };
    let address = target(&proxy.url).replace("//", "//admin:s3cr3t%40%C3%BC%21@");
    let function = sync.with("TIDELOCK_TARGET", &address).start();
    function.succeed(one()).await;
    assert_eq!(index.get("1").await.unwrap().fields, named(1, "one"));
    assert!(proxy.seen().iter().all(|seen| seen.header("authorization").is_some()));
    // A login that is refused: an operator must look at it, and the record must not be lost.
    *expected.lock().unwrap() = basic("admin", "another");
    assert_eq!(function.answer(one()).await, Some(apart(1)));
    let failures = &function.metrics().await["Failures"];
    assert_eq!(failures["unauthenticated"]["count"], 1, "{failures}");
    assert_eq!(parked(&folder), []);
    for secret in ["s3cr3t", basic("admin", "s3cr3t@ü!").as_str()] {
        assert!(!function.log().contains(secret), "{}", function.log());
    }
}

#[tokio::test]
async fn logins_from_a_secret() {
    for (text, header) in [
        (json!({"username": "writer", "password": "pw", "engine": "other", "port": 9200}), basic("writer", "pw")),
        (json!({"apikey": "a2V5"}), "ApiKey a2V5".to_owned()),
    ] {
        let Some(secret) = Secret::create(&text.to_string()).await else { return };
        let Some(Bench { sync, index, proxy: _proxy, folder: _folder }) =
            Bench::new("secret", guarded(&Arc::new(Mutex::new(header)))).await
        else {
            return;
        };
        let sync = sync.with("TIDELOCK_TARGET_SECRET", &secret.name);
        let function = sync.with("AWS_ENDPOINT_URL_SECRETS_MANAGER", &secret.proxy.url).start();
        for _ in 0..3 {
            function.succeed(one()).await;
        }
        assert_eq!(index.get("1").await.unwrap().fields, named(1, "one"));
        assert_eq!(secret.reads(), 1, "read once per environment");
    }
}

#[tokio::test]
async fn a_secret_that_cannot_be_used_is_named_and_not_shown() {
    for (text, part) in
        [(Some("hunter2"), "is not JSON"), (Some("{\"user\":\"hunter2\"}"), "has neither"), (None, "cannot be read")]
    {
        let Some(secret) = Secret::create(text.unwrap_or("x")).await else { return };
        let name = if text.is_some() { secret.name.clone() } else { unique("absent") };
        let Some(Bench { sync, index: _index, proxy, folder: _folder }) = Bench::new("unusable", |_| Fault::None).await
        else {
            return;
        };
        let sync = sync.with("TIDELOCK_TARGET_SECRET", &name);
        let function = sync.with("AWS_ENDPOINT_URL_SECRETS_MANAGER", &secret.proxy.url).start();
        assert_eq!(function.answer(one()).await, Some(apart(1)));
        let example = function.metrics().await["Failures"]["unauthenticated"]["example"].to_string();
        assert!(example.contains(&name) && example.contains(part), "{example}");
        assert!(!function.log().contains("hunter2"), "{}", function.log());
        assert_eq!(proxy.seen().len(), 0, "nothing is sent without the login");
    }
}

#[tokio::test]
async fn a_rotated_secret_is_read_once_more_and_no_record_is_lost() {
    let Some(secret) = Secret::create(&json!({"username": "u", "password": "old"}).to_string()).await else { return };
    let expected = Arc::new(Mutex::new(basic("u", "old")));
    let Some(Bench { sync, index, proxy: _proxy, folder }) = Bench::new("rotated", guarded(&expected)).await else {
        return;
    };
    let sync = sync.with("TIDELOCK_TARGET_SECRET", &secret.name).timeout(Duration::from_secs(10));
    let function = sync.with("AWS_ENDPOINT_URL_SECRETS_MANAGER", &secret.proxy.url).start();
    function.succeed(one()).await;
    secret.rotate(&json!({"username": "u", "password": "new"}).to_string()).await;
    *expected.lock().unwrap() = basic("u", "new");
    // Several requests at a time, so that several refusals come in at once.
    let stream = Stream::of("mytable");
    let records: Vec<_> = (2..6).map(|n| stream.upsert(&apart(n), &n.to_string(), &"x".repeat(250_000))).collect();
    let records = event(&records);
    // A secret is not asked for more often than every ten seconds: until then the batch comes again.
    eventually("a batch that passes with the new secret", async || {
        let answer = function.answer(records.clone()).await;
        assert!(answer.is_none() || answer == Some(apart(2)), "{answer:?}");
        answer.is_none().then_some(())
    })
    .await;
    assert_eq!(index.fields().await.len(), 5);
    assert_eq!(secret.reads(), 2, "one reading serves all");
    assert_eq!(parked(&folder), []);
}
