//! Letters of records that cannot be read, whose items have been corrected since.

use super::*;

#[test]
fn the_source_tells_what_the_record_does_not() {
    let mut bench = Bench::new();
    bench.source = Some(Table);
    let poison = || Memory::of([letter("a", "poison")]);
    let queue = poison();
    let redriven = bench.drain(&queue, &Order::default());
    assert_eq!(redriven.parked, BTreeMap::from([("unknown_type".to_owned(), 1)]), "as it says it is of no use");
    let order = Order { mode: Mode::Truth, ..Order::default() };
    let queue = poison();
    let redriven = bench.drain(&queue, &order);
    assert_eq!((redriven.applied, redriven.completed, queue.bodies().len()), (1, 1, 0), "{redriven:?}");
    assert!(redriven.parked.is_empty());
    // Nobody knows what an operation does that nobody knows.
    let mut unknown = record("b", "8", "ok");
    unknown["eventName"] = json!("TRUNCATE");
    let queue = Memory::of([letter_of(&unknown, "2025-12-31T00:00:00.000Z")]);
    let redriven = bench.drain(&queue, &order);
    assert_eq!(redriven.parked, BTreeMap::from([("unknown_event".to_owned(), 1)]), "{redriven:?}");
}
