//! Logins that are outdated, wrong or missing.

use crate::events::{Change, apply, config, run};
use crate::scripted::{Reply, Scripted, done, name};
use crate::servers::{service, with_database};
use mongodb::bson::doc;
use std::cell::RefCell;
use std::time::{Duration, Instant};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::settings::{Auth, Secret};
use tidelock_core::target::{Done, Outcome};
use tidelock_mongodb::{Credentials, Login, MongoDbConfig, MongoDbTarget};

/// Gives one password until it is asked to refresh, then another.
struct Rotating<'a> {
    first: Option<&'a str>,
    then: Option<&'a str>,
    asked: &'a RefCell<Vec<bool>>,
}

impl Credentials for Rotating<'_> {
    async fn login(&self, refresh: bool) -> Result<Option<Login>, String> {
        self.asked.borrow_mut().push(refresh);
        let password = if self.asked.borrow().contains(&true) { self.then } else { self.first };
        Ok(password.map(|password| Login { username: "tester".to_owned(), password: Secret::new(password) }))
    }
}

struct Broken;

impl Credentials for Broken {
    async fn login(&self, _refresh: bool) -> Result<Option<Login>, String> {
        Err("AccessDenied for secret/name".to_owned())
    }
}

fn failure(outcomes: &[Outcome]) -> &Failure {
    outcomes[0].as_ref().expect_err("a failure")
}

/// Refuses every login.
async fn refusing() -> Scripted {
    Scripted::start(|command| match name(command).as_str() {
        "saslStart" => Reply::Answer(
            doc! {"ok": 0, "code": 18, "codeName": "AuthenticationFailed", "errmsg": "Authentication failed."},
        ),
        _ => done(command),
    })
    .await
}

#[test]
fn a_refused_login_is_read_anew_once() {
    run(async {
        for (then, expected) in [(Some("second-secret"), vec![false, true]), (None, vec![false, true])] {
            let server = refusing().await;
            let asked = RefCell::default();
            let credentials = Rotating { first: Some("first-secret"), then, asked: &asked };
            let config = MongoDbConfig { bulk_bytes: 65_536, ..config(&server.uri("")) };
            let target = MongoDbTarget::new(config, credentials).expect("valid settings");
            // Several commands at a time: still only one refresh.
            let changes: Vec<_> = (0..400).map(|n| Change::put(&format!("k{n}"), 5, &"x".repeat(500))).collect();
            let begun = Instant::now();
            let outcomes = apply(&target, &changes).await;
            for outcome in &outcomes {
                let failure = outcome.as_ref().expect_err("refused");
                assert_eq!(failure.cause, Cause::Unauthenticated, "{failure}");
                assert!(
                    failure.detail.starts_with(server.address()) && !failure.detail.contains("secret"),
                    "{failure}"
                );
            }
            assert!(begun.elapsed() < Duration::from_secs(5), "a wrong password is not tried again and again");
            assert_eq!(*asked.borrow(), expected);
        }
    });
}

#[test]
fn a_secret_that_cannot_be_read_or_is_missing_is_said() {
    run(async {
        let server = refusing().await;
        let target = MongoDbTarget::new(config(&server.uri("")), Broken).expect("valid settings");
        let outcomes = apply(&target, &[Change::put("a", 1, "v")]).await;
        assert_eq!(failure(&outcomes).cause, Cause::Unauthenticated);
        assert!(failure(&outcomes).detail.contains("AccessDenied for secret/name"));
        let basic = MongoDbConfig { auth: Auth::Basic, ..config(&server.uri("")) };
        let target = MongoDbTarget::new(basic, tidelock_mongodb::FromUri).expect("valid settings");
        let outcomes = apply(&target, &[Change::put("a", 1, "v")]).await;
        assert!(failure(&outcomes).detail.contains("TIDELOCK_TARGET_AUTH is basic"), "{}", failure(&outcomes));
        assert!(server.log().is_empty(), "nothing is sent without a login");
        let none = MongoDbConfig { auth: Auth::None, ..config(&server.uri("")) };
        let target = MongoDbTarget::new(none, Broken).expect("valid settings");
        assert_eq!(apply(&target, &[Change::put("a", 1, "v")]).await, [Ok(Done::Applied)], "no secret is read");
    });
}

#[test]
fn a_password_that_was_changed_while_the_function_ran() {
    let (Some(uri), Some(ca)) = (service("TIDELOCK_TEST_FERRETDB_TLS"), service("TIDELOCK_TEST_FERRETDB_CA")) else {
        return;
    };
    run(async {
        let place = uri.split_once('@').map_or(uri.as_str(), |(_, place)| place);
        let config = || MongoDbConfig {
            ca_file: Some(ca.clone()),
            ..config(&with_database(&format!("mongodb://{place}"), "tidelock_login"))
        };
        let sequence =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis() as u64;

        let asked = RefCell::default();
        let rotated = Rotating { first: Some("outdated"), then: Some("s3cret"), asked: &asked };
        let config = || MongoDbConfig { bulk_bytes: 65_536, ..config() };
        let target = MongoDbTarget::new(config(), rotated).expect("valid settings");
        // Several commands at a time meet the refusal.
        let changes: Vec<_> = (0..400).map(|n| Change::put(&format!("k{n}"), sequence, &"x".repeat(500))).collect();
        for _ in 0..2 {
            let outcomes = apply(&target, &changes).await;
            assert!(outcomes.iter().all(|outcome| *outcome == Ok(Done::Applied)), "{outcomes:?}");
        }
        assert_eq!(*asked.borrow(), [false, true]);

        let asked = RefCell::default();
        let wrong = Rotating { first: Some("outdated"), then: Some("also-wrong"), asked: &asked };
        let target = MongoDbTarget::new(config(), wrong).expect("valid settings");
        let outcomes = apply(&target, &[Change::put("k", sequence + 2, "v")]).await;
        assert_eq!(failure(&outcomes).cause, Cause::Unauthenticated, "{}", failure(&outcomes));
        assert!(!failure(&outcomes).detail.contains("wrong") && !failure(&outcomes).detail.contains("outdated"));
        let pinged = target.connect(Instant::now() + Duration::from_secs(10)).await.expect_err("still wrong");
        assert_eq!(pinged.cause, Cause::Unauthenticated, "{pinged}");
        assert_eq!(*asked.borrow(), [false, true, true]);
    });
}
