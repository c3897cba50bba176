//! Servers that go away: the answer says which and why, and never with which password.

use crate::events::{Change, apply, apply_within, config, is_hinted, run, target, whatever_the_hint};
use crate::servers::{servers, service, with_database};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tidelock_core::cause::Cause;
use tidelock_core::target::Done;
use tidelock_mongodb::{FromUri, MongoDbConfig, MongoDbTarget};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Passes bytes on to a server, until it is told to drop what comes.
pub(crate) struct Relay {
    pub(crate) address: String,
    pub(crate) down: Arc<AtomicBool>,
    /// How many answers of the server are still passed on before each connection is cut.
    cut_after: Arc<AtomicUsize>,
}

impl Relay {
    pub(crate) async fn to(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let relay = Self { address, down: Arc::default(), cut_after: Arc::new(AtomicUsize::new(usize::MAX)) };
        let (down, cut_after, upstream) = (Arc::clone(&relay.down), Arc::clone(&relay.cut_after), upstream.to_owned());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !down.load(Ordering::SeqCst) {
                    tokio::spawn(relay_one(client, upstream.clone(), Arc::clone(&down), Arc::clone(&cut_after)));
                }
            }
        });
        relay
    }
}

async fn relay_one(mut client: TcpStream, upstream: String, down: Arc<AtomicBool>, cut_after: Arc<AtomicUsize>) {
    let Ok(mut server) = TcpStream::connect(&upstream).await else { return };
    let (mut from_client, mut from_server) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => match read {
                Ok(count @ 1..) if !down.load(Ordering::SeqCst) => {
                    if server.write_all(&from_client[..count]).await.is_err() { return }
                }
                _ => return,
            },
            read = server.read(&mut from_server) => match read {
                Ok(count @ 1..) if !down.load(Ordering::SeqCst) => {
                    let left = cut_after.load(Ordering::SeqCst);
                    if left == 0 { return }
                    if left != usize::MAX { cut_after.store(left - 1, Ordering::SeqCst); }
                    if client.write_all(&from_server[..count]).await.is_err() { return }
                }
                _ => return,
            },
        }
    }
}

fn address(uri: &str) -> String {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default().replace("localhost", "127.0.0.1")
}

fn puts(from: usize, sequence: u64) -> Vec<Change> {
    (from..from + 200).map(|n| Change::put(&format!("{n:04}"), sequence, "v")).collect()
}

/// Commands of a few documents each.
fn small_commands(uri: &str, ca_file: Option<String>) -> MongoDbTarget {
    MongoDbTarget::new(MongoDbConfig { bulk_bytes: 10_000, ca_file, ..config(uri) }, FromUri).expect("valid settings")
}

async fn stop_in_the_middle(target: &MongoDbTarget, relay: &Relay) {
    assert!(apply(target, &puts(0, 5)).await.iter().all(|outcome| *outcome == Ok(Done::Applied)));
    relay.cut_after.store(5, Ordering::SeqCst);
    let outcomes = apply_within(target, "c", &puts(0, 6), Duration::from_secs(3)).await;
    let failures: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert!(!failures.is_empty() && failures.len() < outcomes.len(), "{} failures", failures.len());
    for failure in failures {
        assert!(matches!(failure.cause, Cause::Unreachable | Cause::TimedOut), "{failure}");
        assert!(failure.detail.starts_with(&relay.address) && !failure.detail.contains("s3cret"), "{failure}");
    }
    relay.down.store(true, Ordering::SeqCst);
    let outcomes = apply_within(target, "c", &puts(0, 7), Duration::from_secs(2)).await;
    assert!(outcomes.iter().all(Result::is_err), "{outcomes:?}");
    relay.down.store(false, Ordering::SeqCst);
    relay.cut_after.store(usize::MAX, Ordering::SeqCst);
    let outcomes = apply(target, &puts(100, 6)).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Ok(Done::Applied)), "{outcomes:?}");
}

#[test]
fn a_server_that_stops_in_the_middle_leaves_the_rest_to_be_retried() {
    for server in servers() {
        run(async {
            let database = server.database().await;
            let relay = Relay::to(&address(&database.uri)).await;
            let uri = format!("mongodb://{}/{}?directConnection=true", relay.address, database.database.name());
            stop_in_the_middle(&small_commands(&uri, None), &relay).await;
            let values = database.values().await;
            assert_eq!(values.len(), 300, "{}", server.name);
            database.drop().await;
        });
    }
}

#[test]
fn a_server_with_a_login_that_stops_in_the_middle_is_named_without_the_password() {
    let (Some(uri), Some(ca)) = (service("TIDELOCK_TEST_FERRETDB_TLS"), service("TIDELOCK_TEST_FERRETDB_CA")) else {
        return;
    };
    run(async {
        let relay = Relay::to(&address(uri.rsplit_once('@').map_or(uri.as_str(), |(_, place)| place))).await;
        let name = format!("tidelock_stop_{}", std::process::id());
        let uri = format!("mongodb://tester:s3cret@{}/{name}?directConnection=true&authSource=admin", relay.address);
        stop_in_the_middle(&small_commands(&uri, Some(ca)), &relay).await;
    });
}

#[test]
fn an_answer_that_is_lost_does_not_lose_the_write_nor_hide_it() {
    whatever_the_hint(|| {
        for server in servers() {
            run(async {
                let database = server.database().await;
                let relay = Relay::to(&address(&database.uri)).await;
                let uri = format!("mongodb://{}/{}?directConnection=true", relay.address, database.database.name());
                let target = target(&uri);
                // What is inserted must not be there yet.
                let before = if is_hinted() { vec![Change::put("other", 5, "v")] } else { puts(0, 5) };
                assert!(apply(&target, &before).await.iter().all(Result::is_ok), "{}", server.name);
                relay.cut_after.store(0, Ordering::SeqCst);
                let restore = async {
                    // Until the write has arrived, although its answer has not.
                    for _ in 0..1_000 {
                        let arrived =
                            database.find(mongodb::bson::doc! {"_tidelock.exact": format!("{:0>40}", 6)}).await.len();
                        if arrived == 200 {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    relay.cut_after.store(usize::MAX, Ordering::SeqCst);
                };
                let changes = puts(0, 6);
                let (outcomes, ()) = tokio::join!(apply(&target, &changes), restore);
                assert!(outcomes.iter().all(|outcome| *outcome == Ok(Done::Applied)), "{}: {outcomes:?}", server.name);
                database.drop().await;
            });
        }
    });
}

#[test]
fn a_host_that_is_not_there_is_unreachable() {
    run(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let target = target(&format!("mongodb://user:h%2Fushhush@{address}/d"));
        let outcomes = apply_within(&target, "c", &puts(0, 1), Duration::from_secs(2)).await;
        for outcome in outcomes {
            let failure = outcome.expect_err("no server");
            assert_eq!(failure.cause, Cause::Unreachable, "{failure}");
            assert!(
                failure.detail.starts_with(&address.to_string()) && failure.detail.contains("refused"),
                "{failure}"
            );
            assert!(!failure.detail.contains("hush"), "{failure}");
        }
    });
}

#[test]
fn tls_is_spoken_with_the_certificates_of_the_file_alone() {
    let (Some(uri), Some(ca)) = (service("TIDELOCK_TEST_FERRETDB_TLS"), service("TIDELOCK_TEST_FERRETDB_CA")) else {
        return;
    };
    run(async {
        let plain: String = uri.split('&').filter(|option| !option.starts_with("tls")).collect::<Vec<_>>().join("&");
        let uri = with_database(&plain, "tidelock_tls");
        let with_file = tidelock_mongodb::MongoDbConfig { ca_file: Some(ca), ..config(&uri) };
        let target =
            tidelock_mongodb::MongoDbTarget::new(with_file, tidelock_mongodb::FromUri).expect("valid settings");
        let outcomes = apply(&target, &[Change::put("k", 1, "v")]).await;
        assert!(outcomes[0].is_ok(), "{outcomes:?}");
        // The public certificates do not vouch for the test's own.
        let public = crate::events::target(&format!("{uri}&tls=true"));
        let outcomes = apply_within(&public, "c", &[Change::put("k", 3, "v")], Duration::from_secs(2)).await;
        let failure = outcomes[0].as_ref().expect_err("no trust");
        assert_eq!(failure.cause, Cause::Unreachable, "{failure}");
        assert!(failure.detail.contains("ertificate") && !failure.detail.contains("s3cret"), "{failure}");
    });
}
