//! Items that change their tables in a stream without old images: `locate: state` remembers where they are. Invocations end, or
//! stand still, between any two steps, the state fails, batches are given up and come after all that is newer.

use crate::support::{Folder, NOW, by, run, soon};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use tidelock_core::batch::{Circumstances, Delivery, Fate, Lane, PATIENCE, Plan, Posts, deliver_located};
use tidelock_core::encode::Format;
use tidelock_core::fence::{FENCE_LIFE_MS, SWEEP_AGE_MS, Window};
use tidelock_core::locate::{Located, Recall};
use tidelock_core::pipeline::Pipeline;
use tidelock_core::queue::Nowhere;
use tidelock_core::slow::NoSource;
use tidelock_core::source::dynamodb::READER;
use tidelock_core::state::{Entry, MemoryState, State};
use tidelock_core::target::Store as _;
use tidelock_sqlite::{SqliteTarget, documents};

const PIPELINE: &str = "
version: 1
routes:
  - {from: t, where: .hidden | not, to: 't-{home}', locate: state, also: [copy]}
  - {name: copy, to: 'copy-{home}', where: .home != \"b\", locate: state}
";
const HOMES: [&str; 3] = ["a", "b", "c"];
const KEYS: [&str; 2] = ["k", "l"];

/// What becomes of a call of the state.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// It is carried out, or not, and then nothing more is heard of the invocation.
    Stands { done: bool },
    /// It is carried out, or not, and an error is all that is heard.
    Fails { done: bool },
}

/// One invocation's view of the state: its calls are counted, and one of them meets a fault.
struct View<'s> {
    state: &'s MemoryState,
    fault: Cell<Option<(usize, Fault)>>,
    calls: Cell<usize>,
    /// An invocation that stood still goes on.
    released: Rc<Cell<bool>>,
}

impl View<'_> {
    async fn pass<T>(&self, call: impl Future<Output = Result<T, String>>) -> Result<T, String> {
        let number = self.calls.replace(self.calls.get() + 1);
        let fault = self.fault.get().filter(|(at, _)| *at == number).map(|(_, fault)| fault);
        match fault {
            None => call.await,
            Some(Fault::Fails { done }) => {
                if done {
                    call.await?;
                }
                Err("lost".to_owned())
            }
            Some(Fault::Stands { done: true }) => {
                let result = call.await;
                self.stand().await;
                result
            }
            Some(Fault::Stands { done: false }) => {
                self.stand().await;
                call.await
            }
        }
    }

    async fn stand(&self) {
        std::future::poll_fn(|_| if self.released.get() { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

impl State for View<'_> {
    async fn read(&self, name: &str, deadline: Instant) -> Result<Option<Entry>, String> {
        self.pass(self.state.read(name, deadline)).await
    }

    async fn write(
        &self,
        name: &str,
        value: &str,
        expected: Option<&str>,
        deadline: Instant,
    ) -> Result<Option<String>, String> {
        self.pass(self.state.write(name, value, expected, deadline)).await
    }

    async fn remove(&self, name: &str, expected: &str, deadline: Instant) -> Result<bool, String> {
        self.state.remove(name, expected, deadline).await
    }

    async fn names(&self, prefix: &str, deadline: Instant) -> Result<Vec<String>, String> {
        self.state.names(prefix, deadline).await
    }
}

/// What an item is: its home, and whether it is hidden. `None`: it is not there.
type Item = Option<(usize, bool)>;

/// A change of one of the keys.
type Change = (usize, Item);

fn record(number: usize, (key, item): Change) -> Value {
    let key = KEYS[key];
    let mut change = json!({
        "ApproximateCreationDateTime": 1_000, "Keys": {"id": {"S": key}}, "SequenceNumber": (number + 1).to_string(),
    });
    if let Some((home, hidden)) = item {
        change["NewImage"] = json!({
            "id": {"S": key}, "n": {"N": number.to_string()}, "home": {"S": HOMES[home]}, "hidden": {"BOOL": hidden},
        });
    }
    let arn = "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/2026-01-01T00:00:00.000";
    let name = if item.is_some() { "MODIFY" } else { "REMOVE" };
    json!({"eventName": name, "dynamodb": change, "eventSourceARN": arn})
}

/// Key, table, and the number of the change that wrote the document.
type Stored = BTreeSet<(String, String, u64)>;

fn stored(folder: &Folder) -> Stored {
    let mut found = Stored::new();
    for table in ["t", "copy"].iter().flat_map(|table| HOMES.map(|home| format!("{table}-{home}"))) {
        for document in documents(folder.database(), &table).expect("readable") {
            let document: Value = serde_json::from_str(&document.document).expect("JSON");
            let key = document["id"].as_str().expect("a text").to_owned();
            found.insert((key, table.clone(), document["n"].as_u64().expect("a number")));
        }
    }
    found
}

/// Where the last change of each key wants it.
fn fold(changes: &[Change]) -> Stored {
    let mut expected = Stored::new();
    for (key, name) in KEYS.iter().enumerate() {
        let last = changes.iter().enumerate().rfind(|(_, change)| change.0 == key);
        let Some((number, (_, Some((home, false))))) = last else { continue };
        let mut add =
            |table: &str| expected.insert(((*name).to_owned(), format!("{table}-{}", HOMES[*home]), number as u64));
        add("t");
        if HOMES[*home] != "b" {
            add("copy");
        }
    }
    expected
}

type Invocation<'w> = Pin<Box<dyn Future<Output = bool> + 'w>>;

struct World {
    pipeline: Pipeline,
    target: SqliteTarget,
    state: MemoryState,
}

impl World {
    fn view(&self, fault: Option<(usize, Fault)>, released: &Rc<Cell<bool>>) -> View<'_> {
        View { state: &self.state, fault: Cell::new(fault), calls: Cell::new(0), released: Rc::clone(released) }
    }

    /// An invocation; whether all of it was done.
    async fn deliver(&self, records: Vec<Value>, view: View<'_>) -> bool {
        let payload = json!({"Records": records}).to_string();
        let batch = self.pipeline.decode(&READER, payload.as_bytes(), Format::Json).expect("an event");
        let started = Instant::now();
        let at = Circumstances { function: "f", now_ms: NOW, started, deadline: soon(), patience: PATIENCE };
        let posts = Posts { dead_letters: None::<&Nowhere>, fallback: None, bucket: None::<&Nowhere> };
        let (source, state) = (None::<&NoSource>, Some(&view));
        let report =
            deliver_located(payload.as_bytes(), &batch, &self.pipeline, &self.target, source, posts, state, at).await;
        is_done(&report.fates)
    }

    /// As redrive does it.
    async fn redrive(&self, record: &Value, view: View<'_>) -> bool {
        let payload = json!({"Records": [record]}).to_string();
        let batch = self.pipeline.decode(&READER, payload.as_bytes(), Format::Json).expect("an event");
        let (text, state) = (payload.as_bytes(), Some(&view));
        let located = Located::recall(text, &batch, &self.pipeline, state, Recall::News, soon()).await;
        let plan = Plan::located(text, &batch, &self.pipeline, &[], located.as_ref());
        let mut delivery = Delivery::new(&batch, &plan, false);
        delivery.write(&self.target, None::<&NoSource>, Lane::Drain, by(soon()), by(soon())).await;
        if let Some(located) = located {
            located.shrink(&view, delivery.fates(), soon()).await;
        }
        is_done(delivery.fates())
    }
}

fn is_done(fates: &[Fate]) -> bool {
    fates.iter().all(|fate| matches!(fate, Fate::Done(_) | Fate::Filtered))
}

/// Runs an invocation until it ends or stands still.
fn poll(invocation: &mut Invocation<'_>) -> Poll<bool> {
    invocation.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[derive(Debug, Clone)]
struct Piece {
    size: usize,
    back: usize,
    fault: Option<(usize, Fault)>,
    /// Lambda gives the batch up: its records come again when all is over.
    given_up: bool,
    /// When one that stands still goes on: behind so many further pieces. `None`: its process is gone.
    after: Option<usize>,
}

fn piece() -> impl Strategy<Value = Piece> {
    let fault = (0..9_usize, any::<bool>(), any::<bool>())
        .prop_map(|(at, stands, done)| (at, if stands { Fault::Stands { done } } else { Fault::Fails { done } }));
    let after = proptest::option::of(0..4_usize);
    (1..5_usize, 0..3_usize, proptest::option::of(fault), proptest::bool::weighted(0.2), after)
        .prop_map(|(size, back, fault, given_up, after)| Piece { size, back, fault, given_up, after })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn an_item_is_nowhere_but_where_its_newest_change_wants_it(
        changes in proptest::collection::vec(
            (0..2_usize, proptest::option::weighted(0.8, (0..3_usize, proptest::bool::weighted(0.2)))), 1..12),
        pieces in proptest::collection::vec(piece(), 1..10),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 12),
    ) {
        let folder = Folder::new();
        let target = SqliteTarget::open(folder.database()).expect("open");
        let world = World { pipeline: Pipeline::parse(PIPELINE).expect("a pipeline"), target, state: MemoryState::default() };
        let records: Vec<Value> = changes.iter().enumerate().map(|(number, change)| record(number, *change)).collect();
        let (mut from, mut lost) = (0, Vec::new());
        let mut standing: Vec<(usize, Rc<Cell<bool>>, Invocation<'_>)> = Vec::new();
        let last = Piece { size: records.len(), back: 0, fault: None, given_up: false, after: None };
        for piece in pieces.into_iter().chain([last]) {
            let to = records.len().min(from + piece.size);
            let released = Rc::new(Cell::new(false));
            let mut invocation: Invocation<'_> =
                Box::pin(world.deliver(records[from..to].to_vec(), world.view(piece.fault, &released)));
            let mut done = false;
            match (poll(&mut invocation), piece.after) {
                (Poll::Ready(all), _) => done = all,
                (Poll::Pending, Some(after)) => standing.push((after, released, invocation)),
                (Poll::Pending, None) => {}
            }
            if !done && piece.given_up {
                lost.extend(records[from..to].iter().cloned());
            } else if !done {
                let again = world.deliver(records[from..to].to_vec(), world.view(None, &Rc::default()));
                prop_assert!(run(again), "all of it is done the second time");
            }
            from = if to == records.len() { to } else { to.saturating_sub(piece.back) };
            let mut index = 0;
            while let Some((after, released, invocation)) = standing.get_mut(index) {
                if *after > 0 {
                    *after -= 1;
                    index += 1;
                    continue;
                }
                released.set(true);
                prop_assert!(poll(invocation).is_ready());
                drop(standing.remove(index));
            }
        }
        let mut order = order.into_iter();
        while !lost.is_empty() {
            let index = order.next().map_or(0, |index| index.index(lost.len()));
            let record = lost.remove(index);
            prop_assert!(run(world.redrive(&record, world.view(None, &Rc::default()))), "{record}");
        }
        for (_, released, mut invocation) in standing {
            released.set(true);
            prop_assert!(poll(&mut invocation).is_ready());
        }
        // What was brought back by those is taken away again.
        let window = Window::at(NOW + SWEEP_AGE_MS + 1, FENCE_LIFE_MS);
        run(world.target.sweep(window, by(soon()))).expect("a sweep");
        prop_assert_eq!(stored(&folder), fold(&changes));
    }
}
