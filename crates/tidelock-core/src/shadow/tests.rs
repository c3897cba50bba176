use super::*;
use crate::fence::{Cleared, Swept, Window};
use crate::target::{Outcome, Put, Stored, Target};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Instant;

const ARN: &str = "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/2020-04-29T13:00:00.000";

/// Documents by id, and how often it was looked at. Whoever writes to it fails the test.
#[derive(Default)]
struct Seen {
    documents: RefCell<HashMap<String, Value>>,
    fences: HashMap<String, Mark>,
    looks: Cell<usize>,
}

impl Target for Seen {
    fn format(&self) -> Format {
        Format::Json
    }

    async fn apply(&self, _: &[Operation<'_>], _: Call) -> Vec<Outcome> {
        panic!("a shadow writes nothing")
    }
}

impl Store for Seen {
    type Witness = ();

    async fn look(&self, operations: &[Operation<'_>], _: Call) -> Vec<Result<Found<()>, Failure>> {
        self.looks.set(self.looks.get() + 1);
        let found = operations.iter().map(|operation| {
            assert!(operation.manner.is_some_and(Manner::needs_stored), "documents are read whole");
            let id = operation.key.text_id();
            let document = self.documents.borrow().get(&id).map(|body| Stored {
                witness: (),
                mark: serde_json::from_value(body["_tidelock"].clone()).ok(),
                body: Some(body.to_string().into_bytes()),
            });
            Ok(Found { document, fence: self.fences.get(&id).cloned() })
        });
        found.collect()
    }

    async fn ping(&self, _: Instant) -> Result<(), Failure> {
        Ok(())
    }

    async fn put(&self, _: &[Put<'_, ()>], _: Call) -> Vec<Result<bool, Failure>> {
        panic!("a shadow writes nothing")
    }

    async fn sweep(&self, _: Window, _: Call) -> Result<Swept, Failure> {
        panic!("a shadow writes nothing")
    }

    async fn clear(&self, _: &Place, _: &Mark, _: Call) -> Result<Cleared, Failure> {
        unreachable!("nothing is written")
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    match std::pin::pin!(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("nothing waits here"),
    }
}

fn mark(number: u32) -> Mark {
    Mark {
        space: "dynamodb:us-east-1:123456789012:t".to_owned(),
        label: "2020-04-29T13:00:00.000".to_owned(),
        exact: format!("{number:040}"),
        token: String::new(),
        at: 0,
        part: false,
    }
}

fn event() -> String {
    let record = |name: &str, key: &str, number: u32, image: Option<Value>| {
        let mut change = json!({"Keys": {"id": {"S": key}}, "SequenceNumber": number.to_string()});
        if let Some(image) = image {
            change["NewImage"] = image;
        }
        json!({"eventName": name, "eventSourceARN": ARN, "dynamodb": change})
    };
    let item = |key: &str, n: &str| Some(json!({"id": {"S": key}, "n": {"N": n}}));
    let records = [
        record("INSERT", "same", 1, item("same", "1.50")),
        record("INSERT", "other", 2, item("other", "2")),
        record("INSERT", "missing", 3, item("missing", "3")),
        record("REMOVE", "unwanted", 4, None),
        record("INSERT", "newer", 5, item("newer", "5")),
        record("INSERT", "foreign", 6, item("foreign", "6")),
        record("REMOVE", "gone", 7, None),
        record("INSERT", "fenced", 8, item("fenced", "8")),
        record("INSERT", "bad", 9, Some(json!({"id": {"S": "bad"}, "n": {"Q": "1"}}))),
        record("INSERT", "long", 10, item("long", "10")),
    ];
    json!({"Records": records}).to_string()
}

fn target() -> Seen {
    let document =
        |id: &str, n: Value, number: u32| (id.to_owned(), json!({"id": id, "n": n, "_tidelock": mark(number)}));
    let documents = HashMap::from([
        document("same", json!(1.5), 1),
        document("other", json!(7), 1),
        document("unwanted", json!(0), 1),
        document("newer", json!(9), 50),
        ("foreign".to_owned(), json!({"id": "foreign", "extra": true})),
    ]);
    let fences = HashMap::from([("fenced".to_owned(), mark(80))]);
    Seen { documents: RefCell::new(documents), fences, looks: Cell::new(0) }
}

fn shadowed(target: &Seen, pipeline: &str, settle: impl Future<Output = ()>) -> Comparison {
    let pipeline =
        if pipeline.is_empty() { Pipeline::default() } else { Pipeline::parse(pipeline).expect("a pipeline") };
    let check = |operation: &Operation<'_>| match operation.key.text_id().as_str() {
        "long" => Err(Failure::new(crate::cause::Cause::InvalidId, "too long")),
        _ => Ok(()),
    };
    let call = || Call { deadline: Instant::now(), now_ms: 0, truth: false };
    block_on(compare(target, event().as_bytes(), &pipeline, false, check, call, settle)).expect("an event")
}

#[test]
fn what_only_the_source_knows_is_not_compared() {
    let record = json!({"eventName": "INSERT", "eventSourceARN": ARN, "dynamodb": {"Keys": {"id": {"S": "a"}}, "SequenceNumber": "1"}});
    let event = json!({"Records": [record]}).to_string();
    let of = |truth: bool| {
        let call = || Call { deadline: Instant::now(), now_ms: 0, truth: false };
        let seen = Seen::default();
        block_on(compare(&seen, event.as_bytes(), &Pipeline::default(), truth, |_| Ok(()), call, async {}))
            .expect("an event")
    };
    assert_eq!((of(true).unread, of(true).refused.len()), (vec![0], 0));
    assert_eq!((of(false).unread, of(false).refused.len()), (vec![], 1));
}

fn names(comparison: &Comparison) -> Vec<(String, &'static str)> {
    let name = |verdict: &Verdict| match verdict {
        Verdict::Same => "same",
        Verdict::Differs(_) => "differs",
        Verdict::Missing => "missing",
        Verdict::Unwanted => "unwanted",
        Verdict::Newer => "newer",
        Verdict::Foreign(_) => "foreign",
        Verdict::Unknown(_) => "unknown",
    };
    comparison.keys.iter().map(|key| (key.id.trim_matches('"').to_owned(), name(&key.verdict))).collect()
}

#[test]
fn each_key_is_compared_with_what_is_there() {
    let comparison = shadowed(&target(), "", async {});
    let expected = [
        ("same", "same"),
        ("other", "differs"),
        ("missing", "missing"),
        ("unwanted", "unwanted"),
        ("newer", "newer"),
        ("foreign", "foreign"),
        ("gone", "same"),
        ("fenced", "newer"),
    ];
    assert_eq!(names(&comparison), expected.map(|(id, name)| (id.to_owned(), name)));
    let change = |path: &str, before: Option<&str>, after: Option<&str>| Change {
        path: path.to_owned(),
        before: before.map(str::to_owned),
        after: after.map(str::to_owned),
    };
    assert_eq!(comparison.keys[1].verdict, Verdict::Differs(vec![change("n", Some("7"), Some("2"))]));
    let foreign = vec![change("extra", Some("true"), None), change("n", None, Some("6"))];
    assert_eq!(comparison.keys[5].verdict, Verdict::Foreign(foreign));
    assert_eq!(comparison.refused.iter().map(|refused| refused.record).collect::<Vec<_>>(), [8, 9]);
    assert_eq!((comparison.records, comparison.filtered), (10, 0));
    assert_eq!(comparison.keys[4].stored, Some(mark(50)));
}

#[test]
fn what_heals_while_it_settles_is_no_difference() {
    let target = target();
    let heal = async {
        let healed = json!({"id": "other", "n": 2, "_tidelock": mark(2)});
        target.documents.borrow_mut().insert("other".to_owned(), healed);
    };
    let comparison = shadowed(&target, "", heal);
    assert_eq!((names(&comparison)[1].1, target.looks.get()), ("same", 2));
    let rest = Seen { documents: RefCell::default(), ..Seen::default() };
    let comparison = shadowed(&rest, "{version: 1, routes: [{from: other}]}", async { panic!("nothing differs") });
    assert_eq!((comparison.filtered, rest.looks.get()), (10, 0));
}

#[test]
fn fields_that_users_own_are_taken_as_they_are_stored() {
    let target = target();
    let stored = json!({"id": "other", "n": 2, "note": "theirs", "_tidelock": mark(1)});
    target.documents.borrow_mut().insert("other".to_owned(), stored);
    let of = |pipeline: &str| names(&shadowed(&target, pipeline, async {}))[1].1;
    assert_eq!(of("{version: 1, routes: [{from: t, write: merge, preserve: [note]}]}"), "same");
    assert_eq!(of("{version: 1, routes: [{from: t}]}"), "differs");
}
