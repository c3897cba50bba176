//! Messages of routes whose places are remembered.

use super::*;
use crate::state::{Entry, MemoryState, State};

const MOVES: &str = "version: 1\nroutes: [{from: t, to: 'x-{home}', locate: state}]";

/// A state that nobody reaches.
struct Away;

impl State for Away {
    async fn read(&self, _: &str, _: Instant) -> Result<Option<Entry>, String> {
        Err("no table".to_owned())
    }

    async fn write(&self, _: &str, _: &str, _: Option<&str>, _: Instant) -> Result<Option<String>, String> {
        Err("no table".to_owned())
    }

    async fn remove(&self, _: &str, _: &str, _: Instant) -> Result<bool, String> {
        Err("no table".to_owned())
    }

    async fn names(&self, _: &str, _: Instant) -> Result<Vec<String>, String> {
        Err("no table".to_owned())
    }
}

fn drain(bench: &Bench, state: &impl State, queue: &Memory, order: &Order) -> Redriven {
    let pipeline = Pipeline::parse(MOVES).expect("a pipeline");
    bench.with(async |desk, outlets, call| {
        let desk = Desk {
            pipeline: &pipeline,
            target: desk.target,
            source: desk.source,
            state: Some(state),
            function: desk.function,
            fence_life_ms: desk.fence_life_ms,
            kinds: desk.kinds,
            patience: desk.patience,
            clock: desk.clock,
            watch: desk.watch,
        };
        drain_queue(&desk, queue, outlets, order, call).await
    })
}

fn change(sequence: &str, action: &str, home: &str) -> Value {
    let mut record = record("k", sequence, action);
    match action {
        "remove" => drop(record["dynamodb"].as_object_mut().expect("an object").remove("NewImage")),
        _ => record["dynamodb"]["NewImage"]["home"] = json!({"S": home}),
    }
    record
}

#[test]
fn what_is_redriven_asks_where_it_was_and_is_stale_behind_what_is_newer() {
    let (bench, state) = (Bench::new(), MemoryState::default());
    let run = |record: Value, order: &Order| {
        let redriven = drain(&bench, &state, &Memory::of([pack(&[record])]), order);
        (redriven.applied, redriven.stale, redriven.completed, bench.target.writes.take())
    };
    let whole = Order::default();
    let (applied, .., writes) = run(change("100", "ok", "a"), &whole);
    assert_eq!((applied, writes), (1, vec![r#"x-a/k {"do":"ok","home":"a""#.to_owned()]));
    let names = || block_on(state.names("", Instant::now())).expect("names");
    let entry = || block_on(state.read(&names()[0], Instant::now())).expect("readable");
    let before = entry();
    let dry = Order { dry_run: true, ..Order::default() };
    assert_eq!(run(change("101", "ok", "b"), &dry), (1, 0, 0, Vec::new()));
    assert_eq!((entry(), names().len()), (before, 1), "nothing is remembered of what is only told");
    let (applied, _, _, writes) = run(change("102", "remove", ""), &whole);
    assert_eq!((applied, writes), (1, vec!["x-a/k delete".to_owned()]));
    // What was before that is late.
    assert_eq!(run(change("101", "ok", "b"), &whole), (0, 1, 1, Vec::new()));
}

#[test]
fn without_the_state_messages_wait() {
    let bench = Bench::new();
    let queue = Memory::of([pack(&[change("100", "ok", "a")])]);
    let redriven = drain(&bench, &Away, &queue, &Order::default());
    assert_eq!((redriven.applied, redriven.waiting, queue.bodies().len()), (0, 1, 1), "{redriven:?}");
    assert!(
        redriven.stopped.is_some_and(|why| why.contains("state_unreachable")) && bench.target.writes.take().is_empty()
    );
}
