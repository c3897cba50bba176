//! What a scan asks for, and what it makes of answers: a scripted server.

use crate::events::run;
use crate::scan::{OLDEST, Scan, page, soon};
use crate::scripted::{Reply, Scripted, found, name, refused};
use crate::source::{key_of, source};
use mongodb::bson::{Bson, Document, Timestamp, doc};
use std::time::{Duration, Instant};
use tidelock_core::backfill::{Page, Scan as _, Segment};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::encode::Format;
use tidelock_core::version::Position as _;
use tidelock_core::version::mongodb::ClusterTime;
use tidelock_mongodb::MongoDbSource;

/// Answers to a survey's questions about a collection with two documents.
fn surveyed(command: &Document, time: Option<Timestamp>) -> Reply {
    let Reply::Answer(mut answer) = (match name(command).as_str() {
        "listCollections" => {
            let name = command.get_document("filter").and_then(|filter| filter.get_str("name")).expect("a name");
            found(vec![doc! {"name": name, "type": "collection"}])
        }
        "find" => found(vec![doc! {"_id": "a"}]),
        "count" => Reply::Answer(doc! {"n": 5_000.0, "ok": 1}),
        "aggregate" => found((0..80).map(|n| doc! {"_id": format!("{n:02}")}).collect()),
        other => panic!("unexpected {other}"),
    }) else {
        unreachable!("an answer")
    };
    if let Some(time) = time {
        answer.insert("operationTime", time);
    }
    Reply::Answer(answer)
}

/// The conditions on `_id` that the `find`s after the first ones have named.
fn asked(server: &Scripted, skip: usize) -> Vec<Bson> {
    let finds = server.log().into_iter().filter(|command| name(command) == "find");
    let condition = |command: Document| {
        let filter = command.get_document("filter").expect("a filter");
        filter.get("_id").expect("a condition").clone()
    };
    finds.skip(skip).map(condition).collect()
}

#[test]
fn a_survey_and_a_page_are_asked_for_like_this() {
    run(async {
        let time = Timestamp { time: 1_588_166_528, increment: 7 };
        let server = Scripted::start(move |command| surveyed(command, Some(time))).await;
        let source = source(&server.uri("?readPreference=secondaryPreferred&readConcernLevel=local"));
        let scan = Scan::begin(&source, "shop.or.ders".to_owned(), 4).await;
        let expected = ClusterTime::new(time.time, time.increment).expect("a time");
        assert_eq!(scan.scanned.version.exact, expected.exact());
        assert_eq!((scan.scanned.version.at, scan.scanned.items), (1_588_166_528_000, Some(5_000)));
        let log = server.log();
        let names: Vec<String> = log.iter().map(name).collect();
        assert_eq!(names, ["listCollections", "find", "find", "count", "aggregate"]);
        for (command, order) in log[1..3].iter().zip([1, -1]) {
            assert_eq!(command.get("sort"), Some(&doc! {"_id": order}.into()));
            assert_eq!(command.get("projection"), Some(&doc! {"_id": 1}.into()));
            assert_eq!(
                command.get("readConcern"),
                Some(&doc! {"level": "majority"}.into()),
                "before any time is known"
            );
        }
        let sample = doc! {"$sample": {"size": 80_i64}};
        assert_eq!(log[4].get_array("pipeline").expect("a pipeline")[0], sample.into());
        for command in &log[3..] {
            let most = command.get_i64("maxTimeMS").expect("a limit");
            assert!((1..=10_000).contains(&most), "{command}");
        }

        let first = page(&source, &scan, 1, None).await;
        page(&source, &scan, 1, first.next.as_deref()).await;
        assert_eq!(asked(&server, 2), [doc! {"$gte": "20", "$lt": "40"}.into(), doc! {"$gt": "a", "$lt": "40"}.into()]);
        let log = server.log();
        for (command, limit) in log[5..].iter().zip([100_i64, 1_000]) {
            assert_eq!((command.get("$db"), command.get("find")), (Some(&"shop".into()), Some(&"or.ders".into())));
            let expected = doc! {"level": "majority", "afterClusterTime": time};
            assert_eq!(command.get("readConcern"), Some(&expected.into()));
            assert_eq!((command.get("sort"), command.get("projection")), (Some(&doc! {"_id": 1}.into()), None));
            assert_eq!((command.get("limit"), command.get("singleBatch")), (Some(&limit.into()), Some(&true.into())));
            let preference = command.get_document("$readPreference").ok().and_then(|one| one.get_str("mode").ok());
            assert!(matches!(preference, None | Some("primary")), "{command}");
        }
        // The last segment has no end, and the first has all other types.
        page(&source, &scan, 3, None).await;
        page(&source, &scan, 0, None).await;
        assert_eq!(asked(&server, 4), [doc! {"$gte": "60"}.into(), doc! {"$eq": Bson::Null}.into()]);
    });
}

#[test]
fn without_majority_reads_every_change_wins() {
    for sessions in [true, false] {
        run(async move {
            let script = |command: &Document| {
                let concern = command.get_document("readConcern").and_then(|concern| concern.get_str("level"));
                match concern {
                    Ok("majority") => refused(148),
                    _ => surveyed(command, Some(Timestamp { time: 1_588_166_528, increment: 7 })),
                }
            };
            let server = match sessions {
                true => Scripted::start(script).await,
                false => Scripted::without_sessions(script).await,
            };
            let source = source(&server.uri(""));
            let scan = Scan::begin(&source, "d.c".to_owned(), 1).await;
            assert_eq!(scan.scanned.version.exact, OLDEST);
            page(&source, &scan, 0, None).await;
            let last = server.log().pop().expect("a command");
            assert_eq!(last.get("readConcern"), Some(&doc! {"level": "local"}.into()));
        });
    }
}

#[test]
fn a_scan_does_without_counts_and_samples() {
    run(async {
        let server = Scripted::start(|command| match name(command).as_str() {
            "count" | "aggregate" => refused(50),
            _ => surveyed(command, None),
        })
        .await;
        let source = source(&server.uri(""));
        let scan = Scan::begin(&source, "d.c".to_owned(), 4).await;
        assert_eq!(scan.scanned.items, None);
        assert!(server.names().contains(&"aggregate".to_owned()), "nobody knows that there are few");
        let names = server.names().len();
        for number in 1..4 {
            assert!(page(&source, &scan, number, None).await.next.is_none());
        }
        assert_eq!(server.names().len(), names, "the first segment has it all");
        assert!(page(&source, &scan, 0, None).await.next.is_some());
    });
    run(async {
        // A count without a query is an estimate, and may be an old one.
        let server = Scripted::start(|command| match name(command).as_str() {
            "count" => Reply::Answer(doc! {"n": 0, "ok": 1}),
            _ => surveyed(command, None),
        })
        .await;
        let source = source(&server.uri(""));
        let scan = Scan::begin(&source, "d.c".to_owned(), 4).await;
        assert!(page(&source, &scan, 3, None).await.next.is_some(), "it is divided");
        let scan = Scan::begin(&source, "d.c".to_owned(), 1).await;
        assert!(page(&source, &scan, 0, None).await.next.is_some());
        assert_eq!(server.names().iter().filter(|name| *name == "aggregate").count(), 1, "one segment needs no sample");
    });
}

async fn assert_refused(origin: &str, script: impl FnMut(&Document) -> Reply + Send + 'static, words: &str) {
    let server = Scripted::start(script).await;
    let failure = source(&server.uri("")).survey(origin, 2, soon()).await.expect_err(words);
    assert_eq!(failure.cause, Cause::SourceUnreadable);
    assert!(failure.detail.contains(words), "{failure}");
}

#[test]
fn what_cannot_be_surveyed_is_said() {
    run(async {
        let listed = |name: &str, kind: &str| found(vec![doc! {"name": name, "type": kind}]);
        assert_refused("d.c", |_| refused(13), "said so (code 13)").await;
        assert_refused("d.c", move |_| listed("c", "view"), "it is a view").await;
        assert_refused("d.c", move |_| listed("other", "collection"), "there is no such collection").await;
        let no_reads = |command: &Document| if name(command) == "find" { refused(13) } else { surveyed(command, None) };
        assert_refused("d.c", no_reads, "said so (code 13)").await;
        assert_refused("c", |_| refused(13), "does not name a database and a collection").await;

        let server = Scripted::start(|_| Reply::Silence).await;
        let deadline = Instant::now() + Duration::from_millis(500);
        let failure = source(&server.uri("")).survey("d.c", 2, deadline).await.expect_err("no answer");
        assert!(Instant::now() < deadline && failure.cause == Cause::SourceUnreadable, "{failure}");
    });
}

/// A server whose collection has these documents among its numbers.
async fn with_numbers(documents: Vec<Document>) -> Scripted {
    Scripted::start(move |command| {
        let condition = command.get_document("filter").and_then(|filter| filter.get_document("_id"));
        match condition.and_then(|condition| condition.get_f64("$gte")) {
            Ok(f64::NEG_INFINITY) => found(documents.clone()),
            _ => surveyed_empty(command),
        }
    })
    .await
}

/// As [`surveyed`], and no documents.
fn surveyed_empty(command: &Document) -> Reply {
    if name(command) == "find" { found(Vec::new()) } else { surveyed(command, None) }
}

#[test]
fn a_document_that_cannot_be_held_or_has_no_key_fails_alone() {
    run(async {
        let documents =
            vec![doc! {"_id": 1}, doc! {"_id": vec![1]}, doc! {"_id": 2, "a": {"b": f64::NAN}}, doc! {"v": 1}];
        let server = with_numbers(documents).await;
        let source = source(&server.uri(""));
        let scan = Scan::begin(&source, "d.c".to_owned(), 1).await;
        let segment = Segment { number: 0, of: 1 };
        let page = source.page(&scan.origin, &scan.scanned, segment, None, Format::Json, soon()).await.expect("a page");
        let causes: Vec<Option<Cause>> = page
            .items
            .iter()
            .map(|item| match item {
                Ok(item) => item.item.document.as_ref().err().map(|failure| failure.cause),
                Err(failure) => {
                    assert!(failure.detail.starts_with("a document of `d.c`: "), "{failure}");
                    Some(failure.cause)
                }
            })
            .collect();
        assert_eq!(causes, [None, Some(Cause::MissingKey), Some(Cause::UnrepresentableValue), Some(Cause::MissingKey)]);
        assert_eq!(page.items[0].as_ref().expect("readable").key, key_of(1).key().as_bytes());
        // It goes on behind the last number.
        let rest = source.page(&scan.origin, &scan.scanned, segment, page.next.as_deref(), Format::Json, soon()).await;
        let rest = rest.expect("a page");
        assert!(rest.items.is_empty() && rest.next.is_none());
        assert!(asked(&server, 2).contains(&doc! {"$gt": 2}.into()));
    });
    run(async {
        let server = with_numbers(vec![doc! {"_id": vec![1]}, doc! {"v": 1}]).await;
        let source = source(&server.uri(""));
        let scan = Scan::begin(&source, "d.c".to_owned(), 1).await;
        let failure = page_of(&source, &scan, None).await.expect_err("no way on");
        assert!(failure.detail.contains("the next 2 documents have `_id`s"), "{failure}");
    });
}

async fn page_of(source: &MongoDbSource, scan: &Scan, from: Option<&str>) -> Result<Page, Failure> {
    source.page(&scan.origin, &scan.scanned, Segment { number: 0, of: scan.of }, from, Format::Bson, soon()).await
}

#[test]
fn a_page_that_breaks_off_is_asked_for_again() {
    run(async {
        let mut finds = 0;
        let server = Scripted::start(move |command| {
            finds += u32::from(name(command) == "find");
            match finds {
                3 => refused(11600),
                4 => Reply::Close,
                _ => surveyed(command, None),
            }
        })
        .await;
        let source = source(&server.uri(""));
        let scan = Scan::begin(&source, "d.c".to_owned(), 1).await;
        assert_eq!(page_of(&source, &scan, None).await.expect("a page").items.len(), 1);
        assert_eq!(asked(&server, 2), vec![Bson::from(doc! {"$eq": Bson::Null}); 3]);
    });
}

#[test]
fn what_another_scan_has_kept_is_refused() {
    run(async {
        let server = Scripted::start(|command| surveyed(command, None)).await;
        let source = source(&server.uri(""));
        let mut scan = Scan::begin(&source, "d.c".to_owned(), 4).await;
        let refusal = |result: Result<Page, Failure>| {
            let failure = result.expect_err("refused");
            assert_eq!(failure.cause, Cause::SourceUnreadable);
            failure.detail
        };
        for position in ["", "{}", r#"{"LastEvaluatedKey":1}"#] {
            let why = refusal(page_of(&source, &scan, Some(position)).await);
            assert!(why.contains("begin the segment anew"), "{why}");
        }
        scan.of = 2;
        assert!(refusal(page_of(&source, &scan, None).await).contains("divided into 4 segments"));
        scan.scanned.facts = "{}".to_owned();
        assert!(refusal(page_of(&source, &scan, None).await).contains("begin the scan anew"));
    });
}

#[test]
fn a_cluster_is_called_as_it_is_named() {
    run(async {
        let server = Scripted::start(|command| surveyed(command, None)).await;
        let source = source(&server.uri("")).of_cluster("rs0");
        let scanned = source.survey("shop.or.ders", 1, soon()).await.expect("surveyed");
        assert_eq!(scanned.version.space, "mongodb:rs0:shop.or.ders");
    });
}
