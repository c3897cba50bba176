//! Documents that change their place with a field of their own.

use super::{Before, Content, Delivery, Fate, Lane, Plan};
use crate::batch::Batch;
use crate::cause::{Cause, Failure};
use crate::encode::Format;
use crate::fence::{Cleared, Swept, Window};
use crate::image::Notation;
use crate::key::Key;
use crate::pipeline::Pipeline;
use crate::slow::{self, NoSource, ReadResult, Source};
use crate::source::dynamodb::decode;
use crate::target::{Call, Done, Found, Namespaces, Operation, Outcome, Place, Put, Store, Target, Write};
use crate::testing::block_on;
use crate::version::Mark;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::time::Instant;

const MOVES: &str = "version: 1\nroutes: [{from: t, where: .hidden | not, to: 't-{home}'}]";
const HIDES: &str = "version: 1\nroutes: [{from: t, where: .hidden | not, to: t}]";

/// An item: its home, and whether it is hidden.
type Item = Option<(&'static str, bool)>;

fn image(item: (&str, bool)) -> Value {
    json!({"id": {"S": "k"}, "home": {"S": item.0}, "hidden": {"BOOL": item.1}})
}

/// A change of the one key, from what it was to what it is; its number is its place in the history.
fn record(number: usize, was: Item, is: Item, old_images: bool) -> Value {
    let mut change = json!({"Keys": {"id": {"S": "k"}}, "SequenceNumber": (100 + number).to_string()});
    if let Some(item) = is {
        change["NewImage"] = image(item);
    }
    if let Some(item) = was.filter(|_| old_images) {
        change["OldImage"] = image(item);
    }
    let name = match (was, is) {
        (None, _) => "INSERT",
        (_, Some(_)) => "MODIFY",
        (_, None) => "REMOVE",
    };
    json!({
        "eventName": name,
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/2020-04-29T13:00:00.000",
        "dynamodb": change,
    })
}

/// The records of a history that begins with nothing.
fn history(items: &[Item], old_images: bool) -> Vec<Value> {
    let was = std::iter::once(&None).chain(items);
    was.zip(items).enumerate().map(|(number, (was, is))| record(number, *was, *is, old_images)).collect()
}

struct Told {
    /// Per round and operation: place, `put` or `delete`, and the number of the change that stands.
    operations: Vec<(String, &'static str, usize)>,
    fates: Vec<Fate>,
}

/// Delivers records; `answer` says what becomes of an operation.
fn deliver(pipeline: &str, records: &[Value], answer: impl Fn(&str, &str, usize) -> Outcome) -> Told {
    deliver_to(pipeline, Namespaces::Single, records, answer)
}

fn deliver_to(
    pipeline: &str,
    namespaces: Namespaces,
    records: &[Value],
    answer: impl Fn(&str, &str, usize) -> Outcome,
) -> Told {
    let payload = json!({"Records": records}).to_string();
    let batch: Batch = decode(payload.as_bytes(), Format::Json).expect("an event");
    let pipeline = Pipeline::parse(pipeline).expect("a pipeline").within(namespaces);
    let plan = Plan::new(payload.as_bytes(), &batch, &pipeline);
    let mut delivery = Delivery::new(&batch, &plan, false);
    let mut operations = Vec::new();
    loop {
        let round = delivery.round();
        if round.operations.is_empty() {
            break;
        }
        for (group, operation) in round.groups.into_iter().zip(round.operations) {
            let what = if operation.write == Write::Delete { "delete" } else { "put" };
            let number = operation.version.exact.parse::<usize>().expect("a number") - 100;
            delivery.settle(group, &answer(&operation.into.name, what, number));
            operations.push((operation.into.name.clone(), what, number));
        }
    }
    operations.sort();
    Told { operations, fates: delivery.fates().to_vec() }
}

fn applied(_: &str, _: &str, _: usize) -> Outcome {
    Ok(Done::Applied)
}

fn told(operations: &[(&str, &'static str, usize)]) -> Vec<(String, &'static str, usize)> {
    operations.iter().map(|&(place, what, number)| (place.to_owned(), what, number)).collect()
}

#[test]
fn every_place_that_was_left_is_cleared_at_the_version_that_left_it() {
    let at = |home| Some((home, false));
    for (items, expected) in [
        (&[at("a"), at("b")][..], &[("t-a", "delete", 1), ("t-b", "put", 1)][..]),
        (&[at("a"), at("a")], &[("t-a", "put", 1)]),
        (&[at("a"), at("b"), at("a")], &[("t-a", "put", 2), ("t-b", "delete", 2)]),
        (&[at("a"), at("b"), at("c")], &[("t-a", "delete", 1), ("t-b", "delete", 2), ("t-c", "put", 2)]),
        (&[at("a"), at("b"), None], &[("t-a", "delete", 1), ("t-b", "delete", 2)]),
        (&[at("a"), Some(("b", true))], &[("t-a", "delete", 1)]),
        (&[at("a"), Some(("b", true)), at("b")], &[("t-a", "delete", 1), ("t-b", "put", 2)]),
        (&[Some(("a", true))], &[]),
        (&[at("a"), None, at("b")], &[("t-a", "delete", 1), ("t-b", "put", 2)]),
    ] {
        let outcome = deliver(MOVES, &history(items, true), applied);
        assert_eq!(outcome.operations, told(expected), "{items:?}");
        assert!(outcome.fates.iter().all(|fate| matches!(fate, Fate::Done(_) | Fate::Filtered)), "{:?}", outcome.fates);
    }
}

#[test]
fn the_last_of_a_batch_is_no_less_a_move() {
    // The batch begins in the middle of the history.
    let records = history(&[Some(("a", false)), Some(("b", false)), None], true);
    assert_eq!(deliver(MOVES, &records[1..2], applied).operations, told(&[("t-a", "delete", 1), ("t-b", "put", 1)]));
    assert_eq!(deliver(MOVES, &records[2..], applied).operations, told(&[("t-b", "delete", 2)]));
}

#[test]
fn what_is_filtered_stands_for_nothing_but_leaves() {
    let hidden = Some(("a", true));
    let shown = Some(("a", false));
    let outcome = deliver(HIDES, &history(&[shown, hidden], true), applied);
    assert_eq!(outcome.operations, told(&[("t", "delete", 1)]));
    // An insert of what nobody wants, and its end, touch nothing.
    let outcome = deliver(HIDES, &history(&[hidden, hidden, None], true), applied);
    assert_eq!((outcome.operations, outcome.fates), (Vec::new(), vec![Fate::Filtered; 3]));
}

#[test]
fn without_old_images_every_known_place_is_left() {
    let hidden = Some(("a", true));
    let records = history(&[hidden, hidden, None], false);
    assert_eq!(deliver(HIDES, &records[..1], applied).fates, [Fate::Filtered]);
    assert_eq!(deliver(HIDES, &records[1..2], applied).operations, told(&[("t", "delete", 1)]));
    assert_eq!(deliver(HIDES, &records[2..], applied).operations, told(&[("t", "delete", 2)]));
}

#[test]
fn without_old_images_a_place_made_of_fields_is_refused_and_says_so() {
    let at = |home| Some((home, false));
    let outcome = deliver(MOVES, &history(&[at("a"), at("b"), None], false), applied);
    assert_eq!(outcome.operations, told(&[("t-a", "put", 0)]));
    for fate in &outcome.fates[1..] {
        let Fate::Failed(failure) = fate else { panic!("{fate:?}") };
        assert_eq!(failure.cause, Cause::MissingOldImage);
        assert!(failure.detail.contains("NEW_AND_OLD_IMAGES"), "{failure}");
    }
}

#[test]
fn a_move_whose_image_is_refused_leaves_all_the_same() {
    let at = |home| Some((home, false));
    let refused = |place: &str, what: &str, number: usize| match (place, what, number) {
        ("t-b", "put", 1) => Err(Failure::new(Cause::MappingConflict, "no")),
        _ => Ok(Done::Applied),
    };
    let outcome = deliver(MOVES, &history(&[at("a"), at("b")], true), refused);
    assert_eq!(outcome.operations, told(&[("t-a", "delete", 1), ("t-b", "put", 1)]));
    assert_eq!(outcome.fates[0], Fate::Done(Done::Applied));
    assert!(matches!(&outcome.fates[1], Fate::Failed(failure) if failure.cause == Cause::MappingConflict));
    // A move back that is refused: what is left of the key is its leaving.
    let refused = |place: &str, what: &str, number: usize| match (place, what, number) {
        ("t-a", "put", 2) => Err(Failure::new(Cause::MappingConflict, "no")),
        _ => Ok(Done::Applied),
    };
    let outcome = deliver(MOVES, &history(&[at("a"), at("b"), at("a")], true), refused);
    assert_eq!(outcome.operations, told(&[("t-a", "delete", 1), ("t-a", "put", 2), ("t-b", "delete", 2)]));
}

#[test]
fn one_of_two_that_must_come_again_brings_the_whole_change_again() {
    let at = |home| Some((home, false));
    for place in ["t-a", "t-b"] {
        let busy = |name: &str, _: &str, number: usize| match (name == place, number) {
            (true, 1) => Err(Failure::new(Cause::Throttled, "busy")),
            _ => Ok(Done::Applied),
        };
        let outcome = deliver(MOVES, &history(&[at("a"), at("b")], true), busy);
        assert!(matches!(&outcome.fates[1], Fate::Failed(failure) if failure.cause == Cause::Throttled), "{place}");
    }
    // Refused here and busy there: first it comes again, and is parked when nothing else is left to do.
    let both = |name: &str, _: &str, _: usize| {
        Err(Failure::new(if name == "t-a" { Cause::Throttled } else { Cause::MappingConflict }, "no"))
    };
    let outcome = deliver(MOVES, &history(&[at("a"), at("b")], true)[1..], both);
    assert!(matches!(&outcome.fates[0], Fate::Failed(failure) if failure.cause == Cause::Throttled));
}

#[test]
fn a_place_that_cannot_be_is_left_without_ado() {
    let at = |home| Some((home, false));
    let refused = |name: &str, _: &str, _: usize| match name {
        "t-A" => Err(Failure::new(Cause::InvalidTargetName, "upper case")),
        _ => Ok(Done::Applied),
    };
    let records = history(&[at("A"), at("a")], true);
    assert_eq!(deliver(MOVES, &records[1..], refused).fates, [Fate::Done(Done::Applied)]);
    let entered = deliver(MOVES, &records[..1], refused);
    assert!(matches!(&entered.fates[0], Fate::Failed(failure) if failure.cause == Cause::InvalidTargetName));
}

#[test]
fn an_item_without_the_field_is_parked_and_leaves() {
    let mut records = history(&[Some(("a", false)), Some(("a", false))], true);
    records[1]["dynamodb"]["NewImage"].as_object_mut().expect("an image").remove("home");
    let outcome = deliver(MOVES, &records[1..], applied);
    assert_eq!(outcome.operations, told(&[("t-a", "delete", 1)]));
    let Fate::Failed(failure) = &outcome.fates[0] else { panic!("{:?}", outcome.fates) };
    assert!(failure.cause == Cause::Unroutable && failure.detail.contains("`home`"), "{failure}");
}

#[test]
fn what_cannot_be_decoded_leaves_its_old_place() {
    let mut records = history(&[Some(("a", false)), Some(("b", false))], true);
    records[1]["dynamodb"]["NewImage"]["bad"] = json!({"X": "?"});
    let outcome = deliver(MOVES, &records[1..], applied);
    assert_eq!(outcome.operations, told(&[("t-a", "delete", 1)]));
    assert!(matches!(&outcome.fates[0], Fate::Failed(failure) if failure.cause == Cause::UnknownType));
}

/// Two routes may name one place in different ways: what is entered must not be left.
#[test]
fn one_place_is_one_place_however_it_is_named() {
    let at = |home| Some((home, false));
    let routes = "version: 1\nroutes: [{from: t, where: .home == \"A\", to: x.t-a}, {from: t, to: 'x.t-{home}'}]";
    let default = "version: 1\nroutes: [{from: t, where: .home == \"A\", to: x.t-a}, {from: t, to: 't-{home}'}]";
    let own = "version: 1\nroutes: [{from: t, where: .home == \"A\", to: t}, {from: t}]";
    let databases = |name: &str| Namespaces::Databases(Some(name.to_owned()));
    for (pipeline, namespaces, place) in [
        (routes, Namespaces::Single, "x.t-a"),
        (routes, databases("y"), "x.t-a"),
        (default, databases("x"), "x.t-a"),
        (own, Namespaces::AsWritten, "t"),
        (own, Namespaces::Single, "t"),
        (own, databases("y"), "y.t"),
    ] {
        let outcome = deliver_to(pipeline, namespaces, &history(&[at("A"), at("a")], true), applied);
        assert_eq!(outcome.operations, told(&[(place, "put", 1)]), "{pipeline}");
    }
    let outcome = deliver_to(default, databases("y"), &history(&[at("A"), at("a")], true), applied);
    assert_eq!(outcome.operations, told(&[("x.t-a", "delete", 1), ("y.t-a", "put", 1)]));
}

/// What was changed may have stayed where it was.
#[test]
fn without_any_new_image_a_place_made_of_fields_is_not_left() {
    let mut records = history(&[Some(("a", false)), Some(("a", false))], true);
    records[1]["dynamodb"].as_object_mut().expect("an object").remove("NewImage");
    let outcome = deliver(MOVES, &records[1..], applied);
    assert_eq!(outcome.operations, told(&[]));
    assert!(matches!(&outcome.fates[0], Fate::Failed(failure) if failure.cause == Cause::MissingImage));
}

#[test]
fn what_nobody_wants_need_not_be_held() {
    let mut records = history(&[Some(("a", true)), Some(("a", false))], true);
    for record in &mut records {
        record["dynamodb"]["NewImage"]["_tidelock"] = json!({"S": "x"});
    }
    let fates = deliver(MOVES, &records, applied).fates;
    assert_eq!(fates[0], Fate::Filtered);
    assert!(matches!(&fates[1], Fate::Failed(failure) if failure.cause == Cause::ReservedField), "{fates:?}");
    // What `where` itself may depend on is not taken for unwanted.
    records[0]["dynamodb"]["NewImage"]["other"] = json!({"X": "?"});
    records[0]["dynamodb"]["NewImage"].as_object_mut().expect("an image").remove("_tidelock");
    let fates = deliver(MOVES, &records[..1], applied).fates;
    assert!(matches!(&fates[0], Fate::Failed(failure) if failure.cause == Cause::UnknownType), "{fates:?}");
}

/// Nothing is ever there; some places answer with a failure.
struct Shelf {
    busy: &'static str,
    failure: Cause,
    puts: RefCell<Vec<(String, &'static str)>>,
}

impl Target for Shelf {
    fn format(&self) -> Format {
        Format::Json
    }

    async fn apply(&self, operations: &[Operation<'_>], _: Call) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for operation in operations {
            let what = if operation.write == Write::Delete { "delete" } else { "put" };
            self.puts.borrow_mut().push((operation.into.name.clone(), what));
            let busy = operation.into.name == self.busy;
            outcomes.push(if busy { Err(Failure::new(self.failure, "busy")) } else { Ok(Done::Applied) });
        }
        outcomes
    }
}

impl Store for Shelf {
    type Witness = ();

    async fn look(&self, operations: &[Operation<'_>], _: Call) -> Vec<Result<Found<()>, Failure>> {
        operations.iter().map(|_| Ok(Found { document: None, fence: None })).collect()
    }

    async fn put(&self, puts: &[Put<'_, ()>], call: Call) -> Vec<Result<bool, Failure>> {
        let operations: Vec<_> = puts.iter().map(|put| put.operation).collect();
        self.apply(&operations, call).await.into_iter().map(|outcome| outcome.map(|_| true)).collect()
    }

    async fn ping(&self, _: Instant) -> Result<(), Failure> {
        Ok(())
    }

    async fn sweep(&self, _: Window, _: Call) -> Result<Swept, Failure> {
        Ok(Swept::default())
    }

    async fn clear(&self, _: &Place, _: &Mark, _: Call) -> Result<Cleared, Failure> {
        unreachable!("nothing ends")
    }
}

/// A source that holds one item, which the target can hold or not.
struct One(&'static str, Result<Vec<u8>, Failure>);

impl Source for One {
    async fn read(&self, _: &str, keys: &[Key<'_>], _: Format, _: Instant) -> Vec<ReadResult> {
        let (document, bytes) = (self.1.clone(), self.0.as_bytes().to_vec());
        let item = slow::Item { document, notation: Notation::DynamoDb, bytes };
        keys.iter().map(|_| Ok(Some(item.clone()))).collect()
    }
}

/// Delivers one change that came without images, to a source that holds this.
fn by_truth(pipeline: &str, one: One, busy: &'static str) -> (Vec<(String, &'static str)>, Vec<Fate>) {
    let mut record = record(1, Some(("a", false)), Some(("a", false)), false);
    record["dynamodb"].as_object_mut().expect("an object").remove("NewImage");
    let payload = json!({"Records": [record]}).to_string();
    let batch = decode(payload.as_bytes(), Format::Json).expect("an event");
    let pipeline = Pipeline::parse(pipeline).expect("a pipeline");
    let plan = Plan::new(payload.as_bytes(), &batch, &pipeline);
    let shelf = Shelf { busy, failure: Cause::Unavailable, puts: RefCell::default() };
    let mut delivery = Delivery::new(&batch, &plan, true);
    let call = Call { deadline: Instant::now(), now_ms: 0, truth: true };
    {
        block_on(delivery.write(&shelf, Some(&one), Lane::Live, call, call));
    }
    let mut puts = shelf.puts.into_inner();
    puts.sort();
    (puts, delivery.fates().to_vec())
}

const KINDS: &str = "version: 1\nunmatched: error\n\
    routes: [{from: t, where: .kind == \"a\", to: x}, {from: t, where: .kind == \"b\", to: y}]";

#[test]
fn a_truth_that_belongs_nowhere_clears_every_place_and_is_told() {
    let (puts, fates) = by_truth(KINDS, One(r#"{"kind":{"S":"b"}}"#, Ok(b"{".to_vec())), "");
    assert_eq!(
        (puts, fates),
        (vec![("x".to_owned(), "delete"), ("y".to_owned(), "put")], vec![Fate::Done(Done::Applied)])
    );
    let (puts, fates) = by_truth(KINDS, One(r#"{"kind":{"S":"c"}}"#, Ok(b"{".to_vec())), "");
    assert_eq!(puts, [("x".to_owned(), "delete"), ("y".to_owned(), "delete")]);
    assert!(matches!(&fates[0], Fate::Failed(failure) if failure.cause == Cause::Unmatched), "{fates:?}");
}

#[test]
fn a_truth_that_cannot_be_held_here_and_waits_there_comes_again() {
    let unheld = || Err(Failure::new(Cause::UnrepresentableValue, "38 digits"));
    for (kind, busy) in [("a", "y"), ("b", "x")] {
        let item = if kind == "a" { r#"{"kind":{"S":"a"}}"# } else { r#"{"kind":{"S":"b"}}"# };
        let (_, fates) = by_truth(KINDS, One(item, unheld()), busy);
        assert!(matches!(&fates[0], Fate::Failed(failure) if failure.cause == Cause::Unavailable), "{kind}: {fates:?}");
    }
}

/// An index that the function may not write to, of a name that a field makes, must not hold the shard.
#[test]
fn a_place_that_an_item_makes_and_nobody_may_enter_is_the_items_fault() {
    let run = |pipeline: &str, records: &[Value], failure: Cause| {
        let payload = json!({"Records": records}).to_string();
        let batch = decode(payload.as_bytes(), Format::Json).expect("an event");
        let pipeline = Pipeline::parse(pipeline).expect("a pipeline");
        let plan = Plan::new(payload.as_bytes(), &batch, &pipeline);
        let shelf = Shelf { busy: "t-b", failure, puts: RefCell::default() };
        let mut delivery = Delivery::new(&batch, &plan, false);
        let call = Call { deadline: Instant::now(), now_ms: 0, truth: false };
        {
            block_on(delivery.write(&shelf, None::<&NoSource>, Lane::Live, call, call));
        }
        delivery.fates().to_vec()
    };
    let at = |home| Some((home, false));
    let cause = |fate: &Fate| match fate {
        Fate::Failed(failure) => Some(failure.cause),
        _ => None,
    };
    let mut other = record(9, None, at("c"), true);
    other["dynamodb"]["Keys"]["id"] = json!({"S": "other"});
    let enters = record(1, None, at("b"), true);
    let leaves = record(1, at("b"), at("a"), true);
    let fixed = "version: 1\nroutes: [{from: t, where: .home == \"b\", to: t-b}, {from: t, to: t-c}]";
    for (pipeline, records, failure, expected) in [
        (MOVES, vec![enters.clone(), other.clone()], Cause::Forbidden, Some(Cause::Unroutable)),
        (MOVES, vec![enters.clone(), other.clone()], Cause::TargetMissing, Some(Cause::Unroutable)),
        (MOVES, vec![enters.clone(), other.clone()], Cause::Unavailable, Some(Cause::Unavailable)),
        // Alone nobody knows whose fault it is; nor where the names are the pipeline's own. What is to be left must be.
        (MOVES, vec![enters.clone()], Cause::Forbidden, Some(Cause::Forbidden)),
        (fixed, vec![enters, other.clone()], Cause::Forbidden, Some(Cause::Forbidden)),
        (MOVES, vec![leaves, other], Cause::Forbidden, Some(Cause::Forbidden)),
    ] {
        assert_eq!(cause(&run(pipeline, &records, failure)[0]), expected, "{pipeline} {failure} {}", records.len());
    }
}

#[test]
fn the_decoder_says_what_was_there_before() {
    let records = history(&[Some(("a", false)), Some(("b", false)), None], true);
    let payload = json!({"Records": records}).to_string();
    let batch = decode(payload.as_bytes(), Format::Json).expect("an event");
    let text = |range: &std::ops::Range<usize>| serde_json::from_str::<Value>(&payload[range.clone()]).expect("JSON");
    let [insert, modify, remove] = batch.slots.as_slice() else { panic!("three slots") };
    assert_eq!(insert.before, Before::Absent);
    for (slot, home) in [(modify, "a"), (remove, "b")] {
        let Before::Image(range) = &slot.before else { panic!("{:?}", slot.before) };
        assert_eq!(text(range), image((home, false)));
    }
    assert_eq!(insert.image.as_ref().map(text), Some(image(("a", false))));
    assert_eq!((&remove.image, &remove.content), (&None, &Content::Delete));
}
