//! State in a table.

use super::server::{Reply, Server};
use super::table::{Table, service};
use super::{LONG, Role, SHORT, config, refusal};
use crate::DynamoDbState;
use serde_json::{Value, json};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidelock_core::state::{Draft, Entry, Leased, State as _, give_back, lease};

fn state(url: &str, table: &str) -> DynamoDbState<Role> {
    DynamoDbState::new(config(url), table.to_owned(), Role(true)).expect("a state")
}

fn soon() -> Instant {
    Instant::now() + LONG
}

async fn table(url: &str) -> Table {
    Table::create(url, &[("name", "S")]).await
}

#[tokio::test]
async fn an_entry_is_written_only_over_the_revision_that_was_read() {
    let Some(url) = service() else { return };
    let table = table(&url).await;
    let state = state(&url, &table.name);
    let (name, value) = ("a/\"ü\n", r#"{"n":1,"s":"\"\u0000"}"#);
    assert_eq!(state.read(name, soon()).await, Ok(None));
    assert_eq!(state.write(name, value, Some("unknown"), soon()).await, Ok(None));
    assert_eq!(state.remove(name, "unknown", soon()).await, Ok(false));

    let first = state.write(name, value, None, soon()).await.expect("no error").expect("written");
    let entry = |value: &str, revision: &str| Some(Entry { value: value.to_owned(), revision: revision.to_owned() });
    assert_eq!(state.read(name, soon()).await, Ok(entry(value, &first)));
    assert_eq!(state.write(name, "{}", None, soon()).await, Ok(None));

    let second = state.write(name, "{}", Some(&first), soon()).await.expect("no error").expect("written");
    assert_ne!(first, second);
    assert_eq!(state.write(name, "[]", Some(&first), soon()).await, Ok(None));
    assert_eq!(state.remove(name, &first, soon()).await, Ok(false));
    assert_eq!(state.read(name, soon()).await, Ok(entry("{}", &second)));
    assert_eq!(state.remove(name, &second, soon()).await, Ok(true));
    assert_eq!(state.read(name, soon()).await, Ok(None));
    assert_eq!(state.remove(name, &second, soon()).await, Ok(false));
}

#[tokio::test]
async fn of_many_writers_one_is_the_fastest() {
    let Some(url) = service() else { return };
    let table = table(&url).await;
    let writers: Vec<_> = (0..8).map(|_| state(&url, &table.name)).collect();
    let mut expected = None::<String>;
    for _ in 0..5 {
        let writes = writers.iter().enumerate().map(async |(number, writer)| {
            writer.write("n", &number.to_string(), expected.as_deref(), soon()).await.expect("no error")
        });
        let revisions = futures_util::future::join_all(writes).await;
        let won: Vec<_> = revisions.iter().enumerate().filter_map(|(n, r)| Some((n, r.clone()?))).collect();
        let [(number, revision)] = &won[..] else { panic!("{won:?}") };
        let found = writers[0].read("n", soon()).await.expect("no error").expect("an entry");
        assert_eq!((found.value, &found.revision), (number.to_string(), revision));
        expected = Some(revision.clone());
    }
}

#[tokio::test]
async fn entries_expire_ninety_days_after_they_were_written() {
    let Some(url) = service() else { return };
    let table = table(&url).await;
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() + 90 * 86_400;
    let before = now();
    state(&url, &table.name).write("n", "{}", None, soon()).await.expect("no error").expect("written");
    let key = json!({"TableName": table.name, "Key": {"name": {"S": "n"}}});
    let found = table.call("DynamoDB_20120810.GetItem", &key).await;
    let expires: u64 = found["Item"]["expires"]["N"].as_str().expect("a number").parse().expect("seconds");
    assert!((before..=now()).contains(&expires), "{expires}");
}

fn draft(name: String, expected: Option<String>, lasting: bool) -> Draft {
    Draft { value: format!("\"{name}\""), name, expected, lasting }
}

#[tokio::test]
async fn many_are_written_and_read_together_each_for_itself() {
    let Some(url) = service() else { return };
    let table = table(&url).await;
    let state = state(&url, &table.name);
    let names: Vec<String> = (0..230).map(|number| format!("places/{number}")).collect();
    assert_eq!(state.read_many(&names, soon()).await, Ok(vec![None; 230]));
    assert_eq!(state.read_many(&[], soon()).await, Ok(Vec::new()));
    let drafts: Vec<Draft> = names.iter().step_by(2).map(|name| draft(name.clone(), None, true)).collect();
    let written = state.write_many(&drafts, soon()).await;
    let revisions: Vec<String> = written.into_iter().map(|written| written.expect("no error").expect("new")).collect();
    let found = state.read_many(&names, soon()).await.expect("readable");
    for (number, (name, found)) in names.iter().zip(found).enumerate() {
        let entry = |revision: &String| Entry { value: format!("\"{name}\""), revision: revision.clone() };
        assert_eq!(found, (number % 2 == 0).then(|| entry(&revisions[number / 2])), "{name}");
    }
    // One is refused, its neighbours are written.
    let again = [
        draft(names[0].clone(), None, false),
        draft(names[1].clone(), None, false),
        draft(names[2].clone(), Some(revisions[1].clone()), false),
    ];
    let written = state.write_many(&again, soon()).await;
    assert!(matches!(&written[..], [Ok(None), Ok(Some(_)), Ok(Some(_))]), "{written:?}");
    // What must last does not expire.
    for (name, expires) in [(&names[0], false), (&names[1], true)] {
        let key = json!({"TableName": table.name, "Key": {"name": {"S": name}}});
        let found = table.call("DynamoDB_20120810.GetItem", &key).await;
        assert_eq!(found["Item"].get("expires").is_some(), expires, "{name}");
    }
}

#[tokio::test]
async fn entries_that_were_not_processed_are_asked_for_again() {
    let item = |name: &str| json!({"name": {"S": name}, "value": {"S": "{}"}, "revision": {"S": "r"}});
    let server = Server::start(move |number, _| {
        let left = json!({"t": {"Keys": [{"name": {"S": "b"}}], "ConsistentRead": true}});
        let answer = match number {
            0 => json!({"Responses": {"t": [item("a")]}, "UnprocessedKeys": left}),
            1 => json!({"Responses": {}, "UnprocessedKeys": {}}),
            _ => json!({"Responses": {"t": [item("b")]}, "UnprocessedKeys": {}}),
        };
        Reply::Text(200, answer.to_string())
    })
    .await;
    let names = ["a", "b", "c"].map(str::to_owned);
    let why = state(&server.url, "t").read_many(&names, soon()).await.expect_err("it lacks the table");
    assert!(why.contains("it lacks the table"), "{why}");
    let asked = server.asked();
    let keys = |index: usize| asked[index].body["RequestItems"]["t"]["Keys"].as_array().expect("keys").len();
    assert_eq!((keys(0), keys(1), &asked[0].body["RequestItems"]["t"]["ConsistentRead"]), (3, 1, &json!(true)));
    let found = state(&server.url, "t").read_many(&names[1..2], soon()).await.expect("readable");
    assert_eq!(found, [Some(Entry { value: "{}".to_owned(), revision: "r".to_owned() })]);
}

#[tokio::test]
async fn names_are_found_page_by_page_and_in_order() {
    let Some(url) = service() else { return };
    let table = table(&url).await;
    let state = state(&url, &table.name);
    // 3 MB, where a page has one at most.
    let long = format!("\"{}\"", "x".repeat(250_000));
    for number in 0..12 {
        state.write(&format!("b/{number:02}"), &long, None, soon()).await.expect("no error").expect("written");
    }
    for name in ["a", "b", "c"] {
        state.write(name, "{}", None, soon()).await.expect("no error").expect("written");
    }
    let some: Vec<String> = (0..12).map(|number| format!("b/{number:02}")).collect();
    assert_eq!(state.names("b/", soon()).await.as_ref(), Ok(&some));
    let all = [&["a".to_owned(), "b".to_owned()][..], &some, &["c".to_owned()]].concat();
    assert_eq!(state.names("", soon()).await, Ok(all));
    assert_eq!(state.names("d", soon()).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_lease_is_one_functions_alone() {
    let Some(url) = service() else { return };
    let table = table(&url).await;
    let state = state(&url, &table.name);
    let ask = |owner: &'static str| lease(&state, "redrive", owner, 0, Duration::from_secs(60), soon());
    let Ok(Leased::Ours(ours)) = ask("a").await else { panic!("it is free") };
    assert_eq!(ask("b").await, Ok(Leased::Taken { owner: "a".to_owned(), until_ms: 60_000 }));
    give_back(&state, &ours, soon()).await.expect("no error");
    assert!(matches!(ask("b").await, Ok(Leased::Ours(_))));
}

#[tokio::test]
async fn a_table_that_is_not_there() {
    let Some(url) = service() else { return };
    let why = state(&url, "not-there").read("n", soon()).await.expect_err("no table");
    assert!(why.starts_with("entry `n`: state table `not-there` at 127.0.0.1:"), "{why}");
    assert!(why.ends_with("; create it with the partition key `name` (S) alone, or correct its name"), "{why}");
}

/// The operation of a request, by its body.
fn is_put(body: &Value) -> bool {
    body.get("Item").is_some()
}

fn done() -> Reply {
    Reply::Text(200, "{}".to_owned())
}

fn conflict() -> Reply {
    refusal(400, "ConditionalCheckFailedException")
}

fn item(revision: &str) -> Reply {
    let item = json!({"name": {"S": "n"}, "value": {"S": "{}"}, "revision": {"S": revision}, "expires": {"N": "1"}});
    Reply::Text(200, json!({"Item": item}).to_string())
}

#[tokio::test]
async fn the_requests_are_the_services_own() {
    let server = Server::start(|_, _| done()).await;
    let state = state(&server.url, "t");
    assert_eq!(state.read("n", soon()).await, Ok(None));
    let revision = state.write("n", "{}", None, soon()).await.expect("no error").expect("written");
    state.write("n", "{}", Some(&revision), soon()).await.expect("no error").expect("written");
    assert_eq!(state.remove("n", &revision, soon()).await, Ok(true));
    let [read, first, second, remove] = &server.asked()[..] else { panic!("four requests") };
    let key = json!({"name": {"S": "n"}});
    assert_eq!(read.body, json!({"TableName": "t", "Key": key, "ConsistentRead": true}));
    assert_eq!(first.body["Item"]["revision"], json!({"S": revision}));
    assert_eq!(first.body["ConditionExpression"], "attribute_not_exists(#n)");
    assert_eq!(first.body["ExpressionAttributeNames"], json!({"#n": "name"}));
    assert_eq!(first.body.get("ExpressionAttributeValues"), None);
    let condition = json!({
        "TableName": "t",
        "Key": key,
        "ConditionExpression": "#r = :r",
        "ExpressionAttributeNames": {"#r": "revision"},
        "ExpressionAttributeValues": {":r": {"S": revision}},
    });
    assert_eq!(second.body["ExpressionAttributeValues"], condition["ExpressionAttributeValues"]);
    assert_eq!(remove.body, condition);
    for (asked, operation) in [(read, "getitem"), (first, "putitem"), (second, "putitem"), (remove, "deleteitem")] {
        assert!(asked.head.contains(&format!("x-amz-target: dynamodb_20120810.{operation}\r\n")), "{}", asked.head);
    }
}

/// A server that carries out the first put and loses the answer; what is read back then has the revision `read` makes of it.
async fn losing(lost: Reply, read: fn(&str) -> Option<String>) -> Server {
    let (lost, stored) = (Mutex::new(Some(lost)), Mutex::new(String::new()));
    Server::start(move |_, body| {
        if !is_put(body) {
            return read(&stored.lock().expect("no panic")).map_or_else(done, |revision| item(&revision));
        }
        match lost.lock().expect("no panic").take() {
            Some(lost) => {
                *stored.lock().expect("no panic") = body["Item"]["revision"]["S"].as_str().expect("text").to_owned();
                lost
            }
            None => conflict(),
        }
    })
    .await
}

#[tokio::test]
async fn a_put_whose_answer_was_lost_knows_its_own_write() {
    for lost in [Reply::Cut, Reply::Silence, refusal(500, "InternalServerError"), Reply::Text(502, String::new())] {
        let server = losing(lost, |ours| Some(ours.to_owned())).await;
        let state = state(&server.url, "t").with_attempt(SHORT);
        let revision = state.write("n", "{}", Some("old"), soon()).await.expect("no error").expect("ours");
        let asked = server.asked();
        assert_eq!(asked.len(), 3);
        assert!(asked[..2].iter().all(|asked| asked.body["Item"]["revision"]["S"] == *revision));
        assert_eq!(asked[2].body["ConsistentRead"], true);
    }
}

#[tokio::test]
async fn a_lost_race_is_told_whatever_has_become_of_the_winner() {
    for read in [|_: &str| Some("theirs".to_owned()), |_: &str| None] {
        let server = losing(Reply::Cut, read).await;
        assert_eq!(state(&server.url, "t").write("n", "{}", Some("old"), soon()).await, Ok(None));
    }
}

#[tokio::test]
async fn what_passes_is_waited_for() {
    let server = Server::start(|number, body| match number % 3 {
        0 => refusal(400, "ProvisionedThroughputExceededException"),
        1 if is_put(body) => refusal(400, "ThrottlingException"),
        1 => Reply::Text(200, r#"{"Item":{"name""#.to_owned()),
        _ if is_put(body) => done(),
        _ => item("r"),
    })
    .await;
    let state = state(&server.url, "t");
    assert_eq!(state.read("n", soon()).await, Ok(Some(Entry { value: "{}".to_owned(), revision: "r".to_owned() })));
    assert!(state.write("n", "{}", None, soon()).await.is_ok_and(|revision| revision.is_some()));
    assert_eq!(server.asked().len(), 6);
}

#[tokio::test]
async fn a_write_of_which_nothing_is_known_is_an_error() {
    for reply in [|| Reply::Cut, || refusal(400, "ThrottlingException"), || refusal(400, "ValidationException")] {
        let server = Server::start(move |_, _| reply()).await;
        let state = state(&server.url, "t");
        let why = state.write("n", "{}", None, Instant::now() + SHORT).await.expect_err("unknown");
        assert!(why.starts_with("entry `n`: state table `t` at 127.0.0.1:"), "{why}");
        assert!(state.remove("n", "r", Instant::now() + SHORT).await.is_err());
    }
    // Refused, and what is there cannot be read.
    let server = Server::start(|_, body| if is_put(body) { conflict() } else { refusal(400, "AccessDeniedException") });
    let why = state(&server.await.url, "t").write("n", "{}", None, soon()).await.expect_err("unknown");
    assert!(why.ends_with(": AccessDeniedException: its words"), "{why}");
}

#[tokio::test]
async fn what_is_gone_after_a_lost_answer_has_been_removed() {
    for (first, there, removed) in [
        (Some(Reply::Cut), false, true),
        (Some(refusal(500, "InternalServerError")), false, true),
        (Some(Reply::Cut), true, false),
        // Throttled is not carried out: then another one has removed it.
        (Some(refusal(400, "ThrottlingException")), false, false),
        (None, false, false),
    ] {
        let first = Mutex::new(first);
        let server = Server::start(move |_, body| match first.lock().expect("no panic").take() {
            Some(reply) => reply,
            None if body.get("ConditionExpression").is_some() => conflict(),
            None if there => item("theirs"),
            None => done(),
        })
        .await;
        assert_eq!(state(&server.url, "t").remove("n", "r", soon()).await, Ok(removed), "{:?}", server.asked());
    }
}

#[tokio::test]
async fn an_item_of_somebody_else_is_no_entry() {
    for item in [json!({"name": {"S": "n"}}), json!({"name": {"S": "n"}, "value": {"S": "{}"}, "revision": {"N": "1"}})]
    {
        let server = Server::start(move |_, _| Reply::Text(200, json!({"Item": item}).to_string())).await;
        let why = state(&server.url, "t").read("n", soon()).await.expect_err("no entry");
        assert!(why.contains("the item lacks a `value` or a `revision`"), "{why}");
    }
}

#[tokio::test]
async fn an_answer_without_items_has_no_names() {
    let server = Server::start(|number, _| match number {
        0 => Reply::Text(
            200,
            json!({"Items": [{"name": {"S": "b"}}], "LastEvaluatedKey": {"name": {"S": "b"}}}).to_string(),
        ),
        1 => Reply::Text(200, r#"{"Items":[{"name":{"S":"a"}},{"na"#.to_owned()),
        2 => Reply::Text(200, json!({"Items": [{"name": {"S": "a"}}], "LastEvaluatedKey": null}).to_string()),
        _ => done(),
    })
    .await;
    let state = state(&server.url, "t");
    assert_eq!(state.names("", soon()).await, Ok(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(server.asked()[1].body["ExclusiveStartKey"], json!({"name": {"S": "b"}}));
    let why = state.names("x", soon()).await.expect_err("no items");
    assert!(why.starts_with("names `x…`: state table `t` at ") && why.ends_with("it lacks the items"), "{why}");
}
