//! The rules of a DocumentDB mapping, one by one, without I/O: what it does not share with a stream's.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tidelock_local::function::{Invocation, MAX_PAYLOAD};
use tidelock_local::mapping::{
    Batch, Condition, Decision, Failure, MappingSettings, Pace, ShardState, Take, Verdict, judge,
};
use tidelock_local::source::FailureHandling;

use crate::shard_rules::{at, record};

const PACE: Pace = Pace {
    poll_interval: Duration::from_millis(1),
    first_backoff: Duration::from_secs(1),
    longest_backoff: Duration::from_secs(60),
    idle_after: Duration::from_millis(1),
    shard_interval: Duration::from_millis(1),
    source_patience: Duration::from_millis(1),
};

/// Three hours, DocumentDB's default.
const RETENTION: u64 = 10_800;

const FRAME: usize = 14;

fn shard(settings: &MappingSettings) -> ShardState {
    let failures = FailureHandling::RetryWhole { retention: Duration::from_secs(RETENTION) };
    ShardState::with_failures(settings, &PACE, FRAME, failures)
}

fn numbers(batch: &Batch) -> Vec<u64> {
    batch.sequences().iter().map(|sequence| sequence.as_str().parse().unwrap()).collect()
}

#[track_caller]
fn invoke(shard: &mut ShardState, now: tidelock_local::clock::Moment) -> Vec<u64> {
    match shard.take(0, now) {
        Take::Invoke(batch) => numbers(batch),
        other => panic!("{other:?}"),
    }
}

fn error() -> Verdict {
    Verdict::Failed(Failure::Function { error_type: "E".into(), message: "m".into() })
}

#[test]
fn a_hundred_events_or_half_a_second() {
    let mut shard = shard(&MappingSettings::default());
    assert_eq!((shard.lanes(), shard.room()), (1, 100));
    shard.push([record(1, 1, at(0), 1)], at(0));
    let half = at(0).plus(Duration::from_millis(500));
    assert!(matches!(shard.take(0, at(0)), Take::Wait(moment) if moment == half));
    shard.push((2..=101).map(|number| record(number, number, at(0), 1)), at(0));
    assert_eq!(invoke(&mut shard, at(0)).len(), 100, "full: the window is over");
    assert!(matches!(shard.take(0, at(9)), Take::Nothing), "one invocation at a time");
    shard.settle(0, Verdict::Done, at(9));
    // The window begins with the end of the invocation.
    let half = at(9).plus(Duration::from_millis(500));
    assert!(matches!(shard.take(0, at(9)), Take::Wait(moment) if moment == half));
    assert_eq!(invoke(&mut shard, half), [101]);
}

#[test]
fn a_failing_batch_comes_again_whole_for_hours_and_nothing_passes_it() {
    let mut shard = shard(&MappingSettings { batch_size: 2, batching_window: Some(0), ..MappingSettings::default() });
    shard.push((1..=3).map(|number| record(number, number, at(0), 1)), at(0));
    let mut now = at(0);
    let mut waits = Vec::new();
    while now < at(RETENTION) {
        assert_eq!(invoke(&mut shard, now), [1, 2]);
        match shard.settle(0, error(), now) {
            Decision::Retry { done: 0, again: 2, after, cut: false, failure: Some(_) } => waits.push(after.as_secs()),
            other => panic!("{other:?}"),
        }
        assert_eq!(shard.checkpoint(), None);
        now = now.plus(PACE.backoff(u32::try_from(waits.len()).unwrap()));
    }
    assert_eq!(waits[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
    assert!(waits.len() > 100);
}

#[test]
fn the_mapping_is_disabled_when_the_oldest_event_of_a_failing_batch_has_expired() {
    let mut shard = shard(&MappingSettings { batching_window: Some(0), ..MappingSettings::default() });
    shard.push([record(1, 1, at(0), 1), record(2, 2, at(500), 1)], at(500));
    assert_eq!(invoke(&mut shard, at(500)), [1, 2]);
    shard.settle(0, error(), at(RETENTION - 1));
    // To the second of its end an event still counts.
    assert_eq!(invoke(&mut shard, at(RETENTION)), [1, 2]);
    shard.settle(0, error(), at(RETENTION));
    for later in [RETENTION + 2, RETENTION + 100_000] {
        match shard.take(0, at(later)) {
            Take::Disable(batch) => assert_eq!((numbers(batch), batch.invocations()), (vec![1, 2], 2)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(shard.checkpoint(), None, "nothing was skipped");
    assert!(!shard.is_drained());
}

#[test]
fn an_old_event_that_never_failed_is_delivered() {
    let mut shard = shard(&MappingSettings { batching_window: Some(0), ..MappingSettings::default() });
    shard.push([record(1, 1, at(0), 1)], at(RETENTION));
    assert_eq!(invoke(&mut shard, at(RETENTION + 10)), [1]);
    shard.settle(0, Verdict::Done, at(2 * RETENTION));
    assert!(shard.is_drained());
}

#[test]
fn an_event_over_six_megabytes_is_dropped_between_its_neighbours() {
    let mut shard = shard(&MappingSettings { batching_window: Some(0), ..MappingSettings::default() });
    // Two quotes and the frame: this one fills 6 MB to the byte, the next has one too many.
    let largest = MAX_PAYLOAD - FRAME - 2;
    for (number, size) in [(1, 1), (2, largest), (3, largest + 1), (4, 1)] {
        shard.push([record(number, number, at(0), size)], at(0));
    }
    let mut seen = Vec::new();
    loop {
        match shard.take(0, at(0)) {
            Take::Invoke(batch) => {
                seen.push(numbers(batch));
                shard.settle(0, Verdict::Done, at(0));
            }
            Take::Discard(batch, condition) => {
                assert_eq!((numbers(batch), condition), (vec![3], Condition::MaximumPayloadSizeExceeded));
                shard.skip(0, at(0));
            }
            Take::Nothing => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, [[1], [2], [4]]);
    assert_eq!(shard.checkpoint().unwrap().as_str(), "4");
}

#[test]
fn whatever_the_function_answers_the_batch_is_done() {
    let first = record(1, 1, at(0), 1).sequence;
    for body in ["", "null", "no JSON", r#"{"batchItemFailures":[{"itemIdentifier":"1"}]}"#] {
        let answer = Invocation::Response(Bytes::from(body));
        assert_eq!(judge(&answer, &[&first], None), Verdict::Done, "{body}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever fails, batches come in the order of the stream, none before all earlier ones are done, and none is lost.
    #[test]
    fn the_stream_is_delivered_in_order_without_a_gap(
        batch_size in 1u32..8,
        events in 1u64..40,
        failures in prop::collection::vec(any::<bool>(), 0..60),
        pushes in prop::collection::vec(1usize..10, 40),
    ) {
        let mut shard = shard(&MappingSettings { batch_size, ..MappingSettings::default() });
        let mut rest = (1..=events).map(|number| record(number, number, at(0), 1));
        let (mut failures, mut pushes) = (failures.into_iter(), pushes.into_iter());
        let mut now = at(0);
        let mut done = 0;
        while done < events {
            shard.push(rest.by_ref().take(pushes.next().unwrap_or(40)).collect::<Vec<_>>(), now);
            match shard.take(0, now) {
                Take::Invoke(batch) => {
                    let batch = numbers(batch);
                    prop_assert!(batch.len() <= batch_size as usize);
                    prop_assert_eq!(batch[0], done + 1);
                    prop_assert!(batch.windows(2).all(|pair| pair[1] == pair[0] + 1));
                    let failed = failures.next().unwrap_or(false);
                    shard.settle(0, if failed { error() } else { Verdict::Done }, now);
                    if !failed {
                        done = *batch.last().unwrap();
                    }
                }
                Take::Wait(moment) => now = moment,
                Take::Nothing => {}
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            }
            let checkpoint = shard.checkpoint().map_or(0, |number| number.as_str().parse::<u64>().unwrap());
            prop_assert_eq!(checkpoint, done);
        }
        prop_assert!(shard.is_drained());
    }
}
