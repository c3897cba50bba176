//! Change streams turned on and off: the commands of Amazon DocumentDB, which no server here knows, by script; what becomes
//! of collections, and of servers without the commands, on real ones.

use crate::events::run;
use crate::scripted::{Reply, Scripted, found, name, refused};
use crate::servers::servers;
use mongodb::bson::{Document, doc};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::settings::Secret;
use tidelock_mongodb::{ChangeStreams, FromUri, MongoDbSourceConfig, Scope, State};

fn scope(database: &str, collection: &str) -> Scope {
    Scope::new(database, collection).expect("a scope")
}

fn streams(uri: &str) -> ChangeStreams {
    let config = MongoDbSourceConfig { uri: Secret::new(uri), ca_file: None };
    ChangeStreams::new(&config, FromUri).expect("valid settings")
}

async fn set(uri: &str, scope: &Scope, enable: bool) -> Result<State, Failure> {
    streams(uri).set(scope, enable, enable, Instant::now() + Duration::from_secs(5)).await
}

fn text<'c>(command: &'c Document, field: &str) -> &'c str {
    command.get_str(field).expect(field)
}

/// A cluster with these collections that turns change streams on and off as its documentation says.
async fn documentdb(collections: &[&str]) -> Scripted {
    let mut collections: BTreeSet<String> = collections.iter().map(|name| (*name).to_owned()).collect();
    let mut on: BTreeSet<(String, String)> = BTreeSet::new();
    Scripted::start(move |command| match name(command).as_str() {
        "listCollections" => {
            let wanted = text(command.get_document("filter").expect("a filter"), "name").to_owned();
            found(collections.get(&wanted).map(|name| doc! {"name": name, "type": "collection"}).into_iter().collect())
        }
        "create" if collections.insert(text(command, "create").to_owned()) => Reply::Answer(doc! {"ok": 1}),
        "create" => refused(48),
        "modifyChangeStreams" => {
            assert_eq!(text(command, "$db"), "admin");
            let scope = (text(command, "database").to_owned(), text(command, "collection").to_owned());
            match command.get_bool("enable").expect("enable") {
                true => drop(on.insert(scope)),
                false => drop(on.remove(&scope)),
            }
            Reply::Answer(doc! {"ok": 1})
        }
        "aggregate" => {
            assert_eq!(text(command, "$db"), "admin");
            assert_eq!(command.get_array("pipeline").ok(), Some(&vec![doc! {"$listChangeStreams": 1}.into()]));
            found(
                on.iter().map(|(database, collection)| doc! {"database": database, "collection": collection}).collect(),
            )
        }
        other => panic!("{other}"),
    })
    .await
}

#[test]
fn a_collection_is_made_and_its_change_stream_enabled_once_and_again() {
    run(async {
        let server = documentdb(&[]).await;
        let (uri, wanted) = (server.uri(""), scope("shop", "orders"));
        let state = set(&uri, &wanted, true).await.expect("enabled");
        assert_eq!(state, State { created: true, enabled: true, listed: Some(vec![wanted.clone()]) });
        assert_eq!(server.names(), ["listCollections", "create", "modifyChangeStreams", "aggregate"]);
        let created = &server.log()[1];
        assert_eq!((text(created, "create"), text(created, "$db")), ("orders", "shop"));
        let state = set(&uri, &wanted, true).await.expect("enabled");
        assert_eq!(state, State { created: false, enabled: true, listed: Some(vec![wanted.clone()]) });
        let state = set(&uri, &wanted, false).await.expect("disabled");
        assert_eq!(state, State { created: false, enabled: false, listed: Some(Vec::new()) });
        let before = server.names().len();
        let state = set(&uri, &wanted, false).await.expect("disabled");
        assert!(!state.enabled);
        assert_eq!(server.names()[before..], ["aggregate"], "what is off is not turned off again");
        let soon = Instant::now() + Duration::from_secs(5);
        let state = streams(&uri).set(&scope("shop", "later"), false, true, soon).await.expect("made");
        assert_eq!(state, State { created: true, enabled: false, listed: Some(Vec::new()) });
    });
}

#[test]
fn nothing_is_made_for_a_database_for_all_or_to_be_disabled() {
    run(async {
        let server = documentdb(&[]).await;
        let uri = server.uri("");
        for (wanted, enable) in [(scope("", ""), true), (scope("shop", ""), true), (scope("shop", "orders"), false)] {
            assert!(!set(&uri, &wanted, enable).await.expect("done").created);
        }
        assert!(!server.names().iter().any(|name| name == "create" || name == "listCollections"));
        // All are on, and one of them cannot be turned off alone.
        let state = set(&uri, &scope("shop", "orders"), false).await.expect("done");
        assert!(state.enabled && state.listed == Some(vec![scope("", ""), scope("shop", "")]), "{state:?}");
    });
}

#[test]
fn whoever_makes_the_collection_meanwhile_is_no_obstacle() {
    run(async {
        let mut raced = false;
        let server = Scripted::start(move |command| match name(command).as_str() {
            "listCollections" => found(Vec::new()),
            "create" if !std::mem::replace(&mut raced, true) => refused(48),
            "modifyChangeStreams" => Reply::Answer(doc! {"ok": 1}),
            "aggregate" => found(vec![doc! {"database": "d", "collection": "c"}]),
            other => panic!("{other}"),
        })
        .await;
        let state = set(&server.uri(""), &scope("d", "c"), true).await.expect("enabled");
        assert!(!state.created && state.enabled);
    });
}

#[test]
fn a_user_who_may_make_no_collections_enables_those_there_are() {
    run(async {
        for (exists, may_list) in [(true, true), (false, true), (false, false)] {
            let server = Scripted::start(move |command| match name(command).as_str() {
                "listCollections" if !may_list => refused(13),
                "listCollections" => found(if exists { vec![doc! {"name": "c"}] } else { Vec::new() }),
                "create" => refused(13),
                "modifyChangeStreams" => Reply::Answer(doc! {"ok": 1}),
                "aggregate" => found(vec![doc! {"database": "d", "collection": "c"}]),
                other => panic!("{other}"),
            })
            .await;
            match set(&server.uri(""), &scope("d", "c"), true).await {
                Ok(state) => assert!(exists && state.enabled),
                Err(failure) => {
                    assert!(!exists && failure.cause == Cause::Forbidden, "{failure}");
                    assert!(failure.detail.contains("collection `d.c` cannot be created"), "{failure}");
                }
            }
        }
    });
}

#[test]
fn an_answer_is_believed_when_the_list_shows_it() {
    run(async {
        let mut looks = 0;
        let server = Scripted::start(move |command| match name(command).as_str() {
            "modifyChangeStreams" => Reply::Answer(doc! {"ok": 1}),
            "aggregate" => {
                looks += 1;
                found(if looks > 2 { vec![doc! {"database": "d", "collection": ""}] } else { Vec::new() })
            }
            other => panic!("{other}"),
        })
        .await;
        assert!(set(&server.uri(""), &scope("d", ""), true).await.expect("enabled").enabled);
        let forgetful = Scripted::start(|command| match name(command).as_str() {
            "modifyChangeStreams" => Reply::Answer(doc! {"ok": 1}),
            _ => found(Vec::new()),
        })
        .await;
        let failure = set(&forgetful.uri(""), &scope("d", ""), true).await.expect_err("not enabled");
        assert_eq!(failure.cause, Cause::UnexpectedAnswer);
        assert!(failure.detail.contains("the change stream of database `d` is on, and does not say so"), "{failure}");
    });
}

#[test]
fn what_passes_is_waited_for_and_what_does_not_is_told() {
    run(async {
        let mut refusals = vec![10107, 91];
        let server = Scripted::start(move |command| match name(command).as_str() {
            "modifyChangeStreams" => refusals.pop().map_or(Reply::Answer(doc! {"ok": 1}), refused),
            _ => found(vec![doc! {"database": "d", "collection": ""}]),
        })
        .await;
        assert!(set(&server.uri(""), &scope("d", ""), true).await.expect("enabled").enabled);
        for (code, cause) in [(13, Cause::Forbidden), (303, Cause::UnexpectedAnswer), (18, Cause::Unauthenticated)] {
            let server = Scripted::start(move |_| refused(code)).await;
            let failure = set(&server.uri(""), &scope("d", ""), true).await.expect_err("refused");
            assert_eq!(failure.cause, cause, "{failure}");
        }
        let started = Instant::now();
        let nobody = streams("mongodb://127.0.0.1:9/d");
        let failure =
            nobody.set(&scope("d", "c"), true, true, started + Duration::from_secs(1)).await.expect_err("nobody");
        assert!(matches!(failure.cause, Cause::Unreachable | Cause::TimedOut), "{failure}");
        assert!(started.elapsed() < Duration::from_secs(3));
    });
}

#[test]
fn servers_without_the_command_are_always_on() {
    for server in servers() {
        run(async {
            let database = server.database().await;
            let wanted = scope(database.database.name(), "orders");
            for created in [true, false] {
                let state = set(&database.uri, &wanted, true).await.expect("a state");
                assert_eq!(state, State { created, enabled: true, listed: None }, "{}", server.name);
            }
            let collections = database.database.list_collection_names().await.expect("names");
            assert_eq!(collections, ["orders"], "{}", server.name);
            let state = set(&database.uri, &wanted, false).await.expect("a state");
            assert!(state.enabled && state.listed.is_none(), "{}", server.name);
            database.drop().await;
        });
    }
}
