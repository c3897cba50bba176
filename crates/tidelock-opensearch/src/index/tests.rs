use super::*;
use crate::Response;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use tidelock_core::pipeline::Pipeline;

/// Answers in order, and notes what was asked.
struct Script {
    answers: RefCell<VecDeque<(u16, &'static str)>>,
    asked: RefCell<Vec<String>>,
}

impl Transport for Script {
    async fn send(&self, request: Request, _: Instant) -> Result<Response, Failure> {
        let (path, _) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let body = String::from_utf8_lossy(&request.body);
        self.asked.borrow_mut().push(format!("{} {path} {body}", request.method).trim_end().to_owned());
        let (status, body) = self.answers.borrow_mut().pop_front().expect("an answer is left");
        Ok(Response { status, body: Bytes::from_static(body.as_bytes()) })
    }

    fn place(&self) -> &str {
        "h:1"
    }
}

/// What becomes of an index, and what was asked for it.
fn prepared(name: &str, answers: &[(u16, &'static str)]) -> (Result<(), Failure>, Vec<String>) {
    let file = "
version: 1
routes: [{from: t}]
indexes:
  orders: {settings: {number_of_shards: 3}, mappings: {properties: {a: {type: long}}}, aliases: {al: {}}}
  by-*: {aliases: {all: {}}}
";
    let pipeline = Pipeline::parse(file).expect("a pipeline");
    let script = Script { answers: RefCell::new(answers.iter().copied().collect()), asked: RefCell::default() };
    let done = {
        let mut future = pin!(prepare(&script, name, false, pipeline.indexes(), Instant::now()));
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => done,
            Poll::Pending => panic!("nothing waits"),
        }
    };
    assert!(script.answers.borrow().is_empty(), "fewer requests than answers");
    (done, script.asked.into_inner())
}

const THERE: &str = r#"{"orders":{"aliases":{},"mappings":{"properties":{"_tidelock":{"enabled":false}}}}}"#;
const OWN: &str = r#""_tidelock":{"enabled":false,"type":"object"}"#;

#[test]
fn names() {
    for name in ["orders", "orders-2026.11", "é", "a+b"] {
        assert_eq!(check_name(name), Ok(()), "{name}");
    }
    for name in ["", "Orders", "_x", "-x", "a b", "a,b", "a*", "..", &"x".repeat(256)] {
        assert!(check_name(name).expect_err(name).contains("cannot be an index"), "{name}");
    }
    assert_eq!(path_segment("a+é"), "a%2B%C3%A9");
}

#[test]
fn an_index_that_is_as_it_should_be_costs_one_request() {
    assert_eq!(prepared("orders", &[(200, THERE)]), (Ok(()), vec!["GET /orders".to_owned()]));
}

#[test]
fn the_right_to_see_mappings_is_enough() {
    let (done, asked) = prepared("orders", &[(403, "{}"), (200, "{}"), (200, "{}")]);
    assert_eq!((done, asked.len()), (Ok(()), 3));
    assert_eq!(asked[1], "GET /orders/_mapping");
    assert!(asked[2].starts_with("PUT /orders/_mapping"), "{asked:?}");
    // Where nothing may be seen it is used as it is.
    assert_eq!(prepared("orders", &[(403, "{}"), (403, "{}")]).0, Ok(()));
}

#[test]
fn what_is_missing_is_made_as_described() {
    let (done, asked) = prepared("orders", &[(404, "{}"), (404, "{}"), (200, "{}")]);
    assert_eq!(done, Ok(()));
    assert_eq!(asked[1], "GET /_alias/al");
    assert_eq!(
        asked[2],
        format!(
            r#"PUT /orders {{"aliases":{{"al":{{}}}},"mappings":{{"properties":{{{OWN},"a":{{"type":"long"}}}}}},"settings":{{"number_of_shards":3}}}}"#
        )
    );
    let (_, asked) = prepared("orders", &[(404, "{}"), (200, r#"{"old":{}}"#), (200, "{}")]);
    assert!(asked[2].contains(r#""aliases":{}"#), "an alias that another index holds stays there: {asked:?}");
    let busy = prepared("orders", &[(404, "{}"), (503, "{}")]).0.expect_err("an alias would be forgotten");
    assert_eq!(busy.cause, Cause::Unavailable);
    // Of a pattern, an alias is all indices'.
    let (_, asked) = prepared("by-at", &[(404, "{}"), (200, "{}")]);
    assert!(asked[1].contains(r#""aliases":{"all":{}}"#), "{asked:?}");
    let (_, asked) = prepared("other", &[(404, "{}"), (200, "{}")]);
    assert_eq!(asked[1], format!("PUT /other {{\"mappings\":{}}}", properties(&["_tidelock"])));
}

#[test]
fn who_is_second_or_may_not_create_goes_on() {
    let exists = (400, r#"{"error":{"type":"resource_already_exists_exception"}}"#);
    let (done, asked) = prepared("orders", &[(404, "{}"), (404, "{}"), exists, (200, "{}")]);
    assert_eq!(done, Ok(()));
    assert!(asked[3].starts_with("PUT /orders/_mapping"), "{asked:?}");
    assert_eq!(prepared("orders", &[(404, "{}"), (404, "{}"), (403, "{}")]).0, Ok(()));
}

#[test]
fn nothing_is_made_by_dynamic_mapping_in_the_place_of_what_is_described() {
    let wrong = (400, r#"{"error":{"type":"mapper_parsing_exception","reason":"No handler for type [nosuch]"}}"#);
    let failure = prepared("orders", &[(404, "{}"), (404, "{}"), wrong]).0.expect_err("a failure");
    assert_eq!(failure.cause, Cause::TargetMissing);
    assert!(failure.detail.contains("`indexes.orders`") && failure.detail.contains("[nosuch]"), "{failure}");
    assert_eq!(prepared("other", &[(404, "{}"), wrong]).0, Ok(()), "what is not described is used as it is");
}

#[test]
fn a_place_that_keeps_no_key_where_it_is() {
    let stream = (400, r#"{"error":{"reason":"matches with template [t] that creates data streams only, use …"}}"#);
    for (name, answers) in [
        ("ds", vec![(200, r#"{".ds-ds-000001":{"data_stream":"ds"}}"#)]),
        ("ds", vec![(404, "{}"), stream]),
        ("al", vec![(200, r#"{"a":{"aliases":{"al":{}}},"b":{"aliases":{"al":{"is_write_index":true}}}}"#)]),
    ] {
        let failure = prepared(name, &answers).0.expect_err("a failure");
        assert_eq!(failure.cause, Cause::UnsuitableTarget, "{failure}");
    }
    let busy = prepared("orders", &[(503, "{}")]).0.expect_err("a failure");
    assert_eq!(busy.cause, Cause::Unavailable);
}

#[test]
fn a_pipeline_is_refused_for_names_that_no_index_can_have() {
    let refused = |route: &str| {
        let pipeline = Pipeline::parse(&format!("version: 1\nroutes: [{{{route}}}]")).expect("valid");
        refusals(&pipeline).pop().map(|refusal| format!("{}: {}", refusal.path, refusal.words))
    };
    for (route, expected) in [
        ("from: a", None),
        ("from: '*'", None),
        ("from: 'A*', to: '{kind}'", None),
        ("from: a, to: 'shop.orders-{x}'", None),
        ("from: 'A*'", Some("routes[0].from: `A*` cannot be an index: it must be lower case; write `to`")),
        ("from: a, to: '-{x}'", Some("routes[0].to: `-{x}` cannot be an index: it must not begin with _, - or +")),
        (
            "from: a, to: tidelock-fences",
            Some("routes[0].to: `tidelock-fences` cannot be an index: it is Tidelock's own"),
        ),
    ] {
        assert_eq!(refused(route).as_deref(), expected, "{route}");
    }
}
