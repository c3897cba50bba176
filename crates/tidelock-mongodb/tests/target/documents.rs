//! Documents written as an application writes them.

use crate::events::run;
use crate::scripted::{Reply, Scripted, found, name, refused};
use crate::servers::servers;
use mongodb::bson::{Bson, Document, doc};
use std::time::{Duration, Instant};
use tidelock_core::cause::Cause;
use tidelock_core::settings::Secret;
use tidelock_mongodb::{Documents, FromUri, Inserted, MongoDbSourceConfig};

fn documents(uri: &str, database: &str) -> Documents {
    let config = MongoDbSourceConfig { uri: Secret::new(uri), ca_file: None };
    Documents::new(&config, FromUri, database, "c").expect("valid settings")
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

#[test]
fn a_document_is_inserted_replaced_and_deleted() {
    for server in servers() {
        run(async {
            let database = server.database().await;
            let collection = documents(&database.uri, database.database.name());
            let document = doc! {"_id": 7, "name": "John", "n": 1_i64};
            assert_eq!(collection.insert(&document, soon()).await, Ok(Inserted::Stored), "{}", server.name);
            assert_eq!(database.only().await, document, "{}", server.name);
            assert_eq!(collection.insert(&document, soon()).await, Ok(Inserted::Duplicate), "{}", server.name);
            // Numbers are equal by value, whatever their type.
            let id = Bson::Int64(7);
            assert_eq!(collection.replace(&id, &doc! {"name": "Johnny"}, soon()).await, Ok(true), "{}", server.name);
            assert_eq!(database.only().await, doc! {"_id": 7, "name": "Johnny"}, "{}", server.name);
            let other = Bson::from("7");
            assert_eq!(collection.replace(&other, &doc! {"name": "x"}, soon()).await, Ok(false), "{}", server.name);
            assert_eq!(collection.delete(&other, soon()).await, Ok(false), "{}", server.name);
            assert_eq!(collection.delete(&id, soon()).await, Ok(true), "{}", server.name);
            assert_eq!(collection.delete(&id, soon()).await, Ok(false), "{}", server.name);
            assert!(database.find(doc! {}).await.is_empty(), "{}", server.name);
            database.drop().await;
        });
    }
}

/// A server that keeps one document, and loses its answer to the first command.
async fn forgetful(stored: Document) -> Scripted {
    let mut first = true;
    Scripted::start(move |command| {
        let lost = std::mem::replace(&mut first, false);
        match name(command).as_str() {
            "insert" | "delete" if lost => Reply::Close,
            "insert" => Reply::Answer(
                doc! {"n": 0, "writeErrors": [{"index": 0, "code": 11000, "errmsg": "E11000 duplicate key"}], "ok": 1},
            ),
            "delete" => Reply::Answer(doc! {"n": 0, "ok": 1}),
            "find" => found(vec![stored.clone()]),
            other => panic!("{other}"),
        }
    })
    .await
}

#[test]
fn an_insert_whose_answer_was_lost_is_told_from_anothers() {
    run(async {
        let own = doc! {"_id": 7, "name": "John"};
        let server = forgetful(own.clone()).await;
        assert_eq!(documents(&server.uri(""), "d").insert(&own, soon()).await, Ok(Inserted::Stored));
        assert_eq!(server.names(), ["insert", "insert", "find"]);
        let concern = doc! {"w": "majority"};
        assert_eq!(server.log()[0].get_document("writeConcern").ok(), Some(&concern));
        let server = forgetful(doc! {"_id": 7, "name": "Tom"}).await;
        assert_eq!(documents(&server.uri(""), "d").insert(&own, soon()).await, Ok(Inserted::Duplicate));
        let server = forgetful(own).await;
        assert_eq!(documents(&server.uri(""), "d").delete(&Bson::Int32(7), soon()).await, Ok(true));
    });
}

#[test]
fn refusals_say_what_they_are() {
    run(async {
        for (code, cause) in [(13, Cause::Forbidden), (121, Cause::InvalidDocument), (10334, Cause::DocumentTooLarge)] {
            let server = Scripted::start(move |_| refused(code)).await;
            let failure = documents(&server.uri(""), "d").insert(&doc! {"_id": 1}, soon()).await.expect_err("refused");
            assert_eq!(failure.cause, cause);
        }
        let unmet = doc! {"n": 1, "writeConcernError": {"code": 64, "errmsg": "waiting"}, "ok": 1};
        let server = Scripted::start(move |_| Reply::Answer(unmet.clone())).await;
        let deadline = Instant::now() + Duration::from_secs(1);
        let failure =
            documents(&server.uri(""), "d").insert(&doc! {"_id": 1}, deadline).await.expect_err("no majority");
        assert_eq!(failure.cause, Cause::TimedOut);
    });
}
