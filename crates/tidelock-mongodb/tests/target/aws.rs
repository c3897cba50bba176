//! MONGODB-AWS, with a server that checks the signature as AWS STS would, by
//! [the specification](https://github.com/mongodb/specifications/blob/master/source/auth/auth.md#mongodb-aws).

use crate::events::{Change, apply, config, run};
use crate::scripted::{Reply, Scripted, done, name};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use mongodb::bson::{Binary, Document, doc, spec::BinarySubtype};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::process::Command;
use tidelock_core::cause::Cause;
use tidelock_core::settings::Auth;
use tidelock_core::target::Done;
use tidelock_mongodb::{FromUri, MongoDbConfig, MongoDbTarget};

const ACCESS_KEY: &str = "AKIDEXAMPLE";
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "a-session-token";
const HOST: &str = "sts.eu-central-1.amazonaws.com";
const BODY: &str = "Action=GetCallerIdentity&Version=2011-06-15";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The signature STS computes for the request that the server would send on.
fn signature(date: &str, nonce: &[u8], signed: &str) -> String {
    let mut canonical = "POST\n/\n\n".to_owned();
    for header in signed.split(';') {
        let value = match header {
            "content-length" => BODY.len().to_string(),
            "content-type" => "application/x-www-form-urlencoded".to_owned(),
            "host" => HOST.to_owned(),
            "x-amz-date" => date.to_owned(),
            "x-amz-security-token" => TOKEN.to_owned(),
            "x-mongodb-gs2-cb-flag" => "n".to_owned(),
            "x-mongodb-server-nonce" => STANDARD.encode(nonce),
            other => panic!("unknown header {other}"),
        };
        let _ = writeln!(canonical, "{header}:{value}");
    }
    let _ = write!(canonical, "\n{signed}\n{}", hex(&Sha256::digest(BODY)));
    let day = &date[..8];
    let to_sign =
        format!("AWS4-HMAC-SHA256\n{date}\n{day}/eu-central-1/sts/aws4_request\n{}", hex(&Sha256::digest(canonical)));
    let key = [day, "eu-central-1", "sts", "aws4_request"]
        .iter()
        .fold(format!("AWS4{SECRET_KEY}").into_bytes(), |key, part| keyed(&key, part));
    hex(&keyed(&key, &to_sign))
}

fn payload(command: &Document) -> Document {
    Document::from_reader(command.get_binary_generic("payload").expect("a payload").as_slice()).expect("a document")
}

fn binary(document: &Document) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: document.to_vec().expect("serializable") }
}

/// A server that lets in who signs with the secret key, and nobody else.
async fn signed() -> Scripted {
    let mut nonce = Vec::new();
    Scripted::start(move |command| match name(command).as_str() {
        "saslStart" => {
            assert_eq!(command.get_str("mechanism").ok(), Some("MONGODB-AWS"));
            assert_eq!(command.get_str("$db").ok(), Some("$external"));
            nonce = payload(command).get_binary_generic("r").expect("a nonce").clone();
            nonce.extend_from_slice(&[7; 32]);
            let first = doc! {"s": Binary { subtype: BinarySubtype::Generic, bytes: nonce.clone() }, "h": HOST};
            Reply::Answer(doc! {"conversationId": 1, "done": false, "payload": binary(&first), "ok": 1})
        }
        "saslContinue" => {
            let second = payload(command);
            let authorization = second.get_str("a").expect("a signature");
            assert!(authorization.contains(&format!("Credential={ACCESS_KEY}/")), "{authorization}");
            let part = |from: &str| authorization.split(from).nth(1).and_then(|rest| rest.split(',').next());
            let headers = part("SignedHeaders=").expect("signed headers");
            assert!(headers.contains("x-mongodb-server-nonce") && headers.contains("x-mongodb-gs2-cb-flag"));
            assert_eq!(second.get_str("t").ok(), headers.contains("x-amz-security-token").then_some(TOKEN));
            let expected = signature(second.get_str("d").expect("a date"), &nonce, headers);
            if part("Signature=") == Some(expected.as_str()) {
                Reply::Answer(doc! {"conversationId": 1, "done": true, "payload": binary(&doc! {}), "ok": 1})
            } else {
                Reply::Answer(doc! {"ok": 0, "code": 18, "codeName": "AuthenticationFailed", "errmsg": "signature"})
            }
        }
        _ => done(command),
    })
    .await
}

#[test]
fn keys_of_the_connection_string_sign_the_login() {
    run(async {
        let server = signed().await;
        let uri = |secret: &str| {
            let (secret, address) = (secret.replace('/', "%2F").replace('+', "%2B"), server.address());
            format!("mongodb://{ACCESS_KEY}:{secret}@{address}/d?authMechanism=MONGODB-AWS&authSource=$external")
        };
        let target = MongoDbTarget::new(config(&uri(SECRET_KEY)), FromUri).expect("valid settings");
        assert_eq!(apply(&target, &[Change::put("a", 1, "v")]).await, [Ok(Done::Applied)]);
        let target = MongoDbTarget::new(config(&uri("another")), FromUri).expect("valid settings");
        let failure = apply(&target, &[Change::put("a", 1, "v")]).await.remove(0).expect_err("refused");
        assert_eq!(failure.cause, Cause::Unauthenticated, "{failure}");
        assert!(!failure.detail.contains("another"), "{failure}");
    });
}

#[test]
#[expect(clippy::disallowed_methods, reason = "tests read their own settings")]
fn keys_of_the_environment_sign_the_login() {
    const CHILD: &str = "TIDELOCK_MONGODB_AWS_CHILD";
    if std::env::var_os(CHILD).is_none() {
        // The environment of a running process cannot be changed safely: the test runs itself in one that has keys.
        let child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "aws::keys_of_the_environment_sign_the_login"])
            .envs([
                (CHILD, "1"),
                ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
                ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
                ("AWS_SESSION_TOKEN", TOKEN),
                ("AWS_REGION", "eu-central-1"),
            ])
            .output()
            .expect("the test runs");
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && output.contains("1 passed"), "{output}");
        return;
    }
    run(async {
        let server = signed().await;
        let config = MongoDbConfig { auth: Auth::MongoDbAws, ..config(&server.uri("")) };
        let target = MongoDbTarget::new(config, FromUri).expect("valid settings");
        assert_eq!(apply(&target, &[Change::put("a", 1, "v")]).await, [Ok(Done::Applied)]);
    });
}
