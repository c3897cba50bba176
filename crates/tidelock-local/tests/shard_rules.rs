//! The rules of one shard, one by one, without I/O.

use std::time::Duration;

use tidelock_local::clock::Moment;
use tidelock_local::mapping::SequenceNumber;
use tidelock_local::mapping::{Batch, Condition, Decision, Failure, MappingSettings, Pace, ShardState, Take, Verdict};
use tidelock_local::source::SourceRecord;

const PACE: Pace = Pace {
    poll_interval: Duration::from_millis(1),
    first_backoff: Duration::from_secs(1),
    longest_backoff: Duration::from_secs(4),
    idle_after: Duration::from_millis(1),
    shard_interval: Duration::from_millis(1),
    source_patience: Duration::from_millis(1),
};

pub(crate) fn at(seconds: u64) -> Moment {
    Moment::from_epoch(Duration::from_secs(1_000_000 + seconds))
}

pub(crate) fn record(number: u64, key: u64, arrival: Moment, size: usize) -> SourceRecord {
    let filler = "x".repeat(size);
    SourceRecord {
        raw: serde_json::value::to_raw_value(&filler).unwrap(),
        sequence: SequenceNumber::new(number.to_string()),
        ordering_key: key.to_string().into_bytes().into(),
        arrival,
    }
}

fn shard(settings: &MappingSettings, records: u64) -> ShardState {
    let mut shard = ShardState::new(settings, &PACE, 14);
    shard.push((1..=records).map(|number| record(number, number, at(0), 1)), at(0));
    shard
}

fn numbers(batch: &Batch) -> Vec<u64> {
    batch.sequences().iter().map(|sequence| sequence.as_str().parse().unwrap()).collect()
}

/// The batch that lane 0 invokes at this moment.
fn invoke(shard: &mut ShardState, now: Moment) -> Vec<u64> {
    match shard.take(0, now) {
        Take::Invoke(batch) => numbers(batch),
        other => panic!("{other:?}"),
    }
}

fn discard(shard: &mut ShardState, now: Moment) -> (Vec<u64>, Condition, u32) {
    let found = match shard.take(0, now) {
        Take::Discard(batch, condition) => (numbers(batch), condition, batch.invocations()),
        other => panic!("{other:?}"),
    };
    shard.skip(0, now);
    found
}

fn error() -> Verdict {
    Verdict::Failed(Failure::Function { error_type: "E".into(), message: "m".into() })
}

fn invalid() -> Verdict {
    Verdict::Failed(Failure::InvalidResponse("r".into()))
}

fn partial(first_failed: usize) -> Verdict {
    Verdict::Partial { first_failed }
}

fn checkpoint(shard: &ShardState) -> Option<u64> {
    shard.checkpoint().map(|sequence| sequence.as_str().parse().unwrap())
}

fn settings() -> MappingSettings {
    MappingSettings { batch_size: 4, ..MappingSettings::default() }
}

#[test]
fn one_batch_at_a_time_in_order() {
    let mut shard = shard(&settings(), 10);
    for expected in [vec![1, 2, 3, 4], vec![5, 6, 7, 8], vec![9, 10]] {
        assert_eq!(invoke(&mut shard, at(0)), expected);
        assert!(matches!(shard.take(0, at(0)), Take::Nothing));
        assert_eq!(shard.settle(0, Verdict::Done, at(0)), Decision::Complete);
        assert_eq!(checkpoint(&shard), expected.last().copied());
    }
    assert!(matches!(shard.take(0, at(0)), Take::Nothing));
    assert!(shard.is_drained());
}

#[test]
fn a_failed_batch_comes_again_whole_after_a_growing_wait() {
    let mut shard = shard(&settings(), 5);
    let mut now = at(0);
    for wait in [1, 2, 4, 4] {
        assert_eq!(invoke(&mut shard, now), [1, 2, 3, 4]);
        let decision = shard.settle(0, error(), now);
        assert!(matches!(decision, Decision::Retry { done: 0, again: 4, cut: false, failure: Some(_), .. }));
        let due = now.plus(Duration::from_secs(wait));
        assert!(matches!(shard.take(0, now), Take::Wait(moment) if moment == due));
        now = due;
    }
    assert_eq!(checkpoint(&shard), None);
    assert_eq!(invoke(&mut shard, now), [1, 2, 3, 4]);
    shard.settle(0, Verdict::Done, now);
    assert_eq!(invoke(&mut shard, now), [5]);
    // The wait starts anew after a success.
    shard.settle(0, error(), now);
    assert!(matches!(shard.take(0, now), Take::Wait(moment) if moment == now.plus(Duration::from_secs(1))));
}

#[test]
fn a_partial_answer_moves_the_checkpoint_and_repeats_the_rest() {
    let mut shard = shard(&settings(), 5);
    assert_eq!(invoke(&mut shard, at(0)), [1, 2, 3, 4]);
    let decision = shard.settle(0, partial(2), at(0));
    assert_eq!(
        decision,
        Decision::Retry { done: 2, again: 2, after: Duration::from_secs(1), cut: false, failure: None }
    );
    assert_eq!(checkpoint(&shard), Some(2));
    assert_eq!(invoke(&mut shard, at(1)), [3, 4]);
    shard.settle(0, Verdict::Done, at(1));
    assert_eq!(invoke(&mut shard, at(1)), [5]);
}

#[test]
fn attempts_end_in_a_discard_and_the_next_batch() {
    for (attempts, invocations) in [(0, 1), (1, 2), (3, 4)] {
        for verdict in [error(), invalid(), partial(0)] {
            let mut shard = shard(&MappingSettings { maximum_retry_attempts: attempts, ..settings() }, 5);
            for number in 1..=invocations {
                let now = at(10 * number);
                assert_eq!(invoke(&mut shard, now), [1, 2, 3, 4]);
                let decision = shard.settle(0, verdict.clone(), now);
                let is_exhausted = matches!(decision, Decision::Exhausted { done: 0, discarded: 4, .. });
                assert_eq!(is_exhausted, number == invocations, "{decision:?}");
            }
            assert_eq!(checkpoint(&shard), None, "before the discard is recorded");
            let (records, condition, count) = discard(&mut shard, at(100));
            assert_eq!((records, condition), (vec![1, 2, 3, 4], Condition::RetryAttemptsExhausted));
            assert_eq!(u64::from(count), invocations);
            assert_eq!(checkpoint(&shard), Some(4));
            assert_eq!(invoke(&mut shard, at(100)), [5]);
        }
    }
}

#[test]
fn exhausted_partial_answers_keep_what_was_done() {
    let mut shard = shard(&MappingSettings { maximum_retry_attempts: 1, ..settings() }, 4);
    invoke(&mut shard, at(0));
    assert!(matches!(shard.settle(0, partial(1), at(0)), Decision::Retry { .. }));
    assert_eq!(invoke(&mut shard, at(10)), [2, 3, 4]);
    assert_eq!(shard.settle(0, partial(2), at(10)), Decision::Exhausted { done: 2, discarded: 1, failure: None });
    assert_eq!(checkpoint(&shard), Some(3));
    assert_eq!(discard(&mut shard, at(10)).0, [4]);
    assert!(shard.is_drained());
}

#[test]
fn bisect_halves_on_function_errors_without_using_attempts() {
    let mut shard = shard(&MappingSettings { bisect_on_error: true, maximum_retry_attempts: 1, ..settings() }, 5);
    // 3 is poison: every batch with it fails.
    let mut invocations = Vec::new();
    let mut discarded = Vec::new();
    for round in 0.. {
        let now = at(100 * round);
        match shard.take(0, now) {
            Take::Invoke(batch) => {
                let batch = numbers(batch);
                let verdict = if batch.contains(&3) { error() } else { Verdict::Done };
                shard.settle(0, verdict, now);
                invocations.push(batch);
            }
            Take::Discard(batch, _) => {
                discarded = numbers(batch);
                shard.skip(0, now);
            }
            Take::Nothing => break,
            Take::Wait(_) => {}
            other @ Take::Disable(_) => panic!("{other:?}"),
        }
    }
    assert_eq!(invocations, [vec![1, 2, 3, 4], vec![1, 2], vec![3, 4], vec![3], vec![3], vec![4], vec![5]]);
    assert_eq!(discarded, [3]);
    assert_eq!(checkpoint(&shard), Some(5));
}

#[test]
fn bisect_cuts_at_the_reported_record_without_using_attempts() {
    let mut shard = shard(&MappingSettings { bisect_on_error: true, maximum_retry_attempts: 0, ..settings() }, 4);
    invoke(&mut shard, at(0));
    assert!(matches!(shard.settle(0, partial(1), at(0)), Decision::Retry { done: 1, again: 3, cut: true, .. }));
    assert_eq!(invoke(&mut shard, at(10)), [2, 3, 4]);
    assert!(matches!(shard.settle(0, partial(1), at(10)), Decision::Retry { done: 1, again: 2, cut: true, .. }));
    assert_eq!(invoke(&mut shard, at(20)), [3, 4]);
    // The first record again: nothing to cut, so this is a failed attempt.
    assert!(matches!(shard.settle(0, partial(0), at(20)), Decision::Exhausted { done: 0, discarded: 2, .. }));
}

#[test]
fn an_invalid_response_is_no_reason_to_halve() {
    let mut shard = shard(&MappingSettings { bisect_on_error: true, ..settings() }, 4);
    invoke(&mut shard, at(0));
    assert!(matches!(shard.settle(0, invalid(), at(0)), Decision::Retry { done: 0, again: 4, cut: false, .. }));
    assert_eq!(invoke(&mut shard, at(1)), [1, 2, 3, 4]);
}

#[test]
fn records_past_their_age_are_discarded_before_and_between_invocations() {
    let mut shard = ShardState::new(&MappingSettings { maximum_record_age: 60, ..settings() }, &PACE, 14);
    shard.push([record(1, 1, at(0), 1), record(2, 2, at(10), 1), record(3, 3, at(100), 1)], at(65));
    let (expired, condition, count) = discard(&mut shard, at(65));
    assert_eq!((expired, condition, count), (vec![1], Condition::RecordAgeExceeded, 0));
    assert_eq!(invoke(&mut shard, at(65)), [2, 3]);
    shard.settle(0, error(), at(65));
    // At exactly 60 s a record still counts.
    assert_eq!(invoke(&mut shard, at(70)), [2, 3]);
    shard.settle(0, error(), at(70));
    let (expired, condition, count) = discard(&mut shard, at(75));
    assert_eq!((expired, condition, count), (vec![2], Condition::RecordAgeExceeded, 2));
    assert_eq!(invoke(&mut shard, at(75)), [3]);
    shard.settle(0, Verdict::Done, at(75));
    assert_eq!(checkpoint(&shard), Some(3));
}

#[test]
fn the_window_waits_for_a_full_batch() {
    let settings = MappingSettings { batching_window: Some(30), ..settings() };
    let mut shard = ShardState::new(&settings, &PACE, 14);
    shard.push([record(1, 1, at(0), 1)], at(0));
    assert!(matches!(shard.take(0, at(0)), Take::Wait(moment) if moment == at(30)));
    shard.push([record(2, 2, at(5), 1)], at(5));
    assert!(matches!(shard.take(0, at(5)), Take::Wait(moment) if moment == at(30)));
    assert_eq!(invoke(&mut shard, at(30)), [1, 2]);
    shard.push([record(3, 3, at(31), 1)], at(31));
    shard.settle(0, Verdict::Done, at(40));
    // The next window begins with the end of the invocation.
    assert!(matches!(shard.take(0, at(40)), Take::Wait(moment) if moment == at(70)));
    shard.push((4..=6).map(|number| record(number, number, at(41), 1)), at(41));
    assert_eq!(invoke(&mut shard, at(41)), [3, 4, 5, 6]);
    shard.settle(0, Verdict::Done, at(42));
    // Nothing more comes: no reason to wait.
    shard.push([record(7, 7, at(43), 1)], at(43));
    assert!(matches!(shard.take(0, at(43)), Take::Wait(_)));
    shard.close();
    assert_eq!(invoke(&mut shard, at(43)), [7]);
}

#[test]
fn batches_are_cut_to_six_megabytes() {
    let mut shard = ShardState::new(&MappingSettings { batching_window: Some(300), ..settings() }, &PACE, 14);
    let third = 2 * 1024 * 1024;
    // Two quotes each, two commas, and a frame of 14 bytes: three of these fill 6 MB to the byte.
    let exact = [third - 2, third - 2, third - 2 - 16];
    shard.push(exact.iter().zip(1..).map(|(size, number)| record(number, number, at(0), *size)), at(0));
    shard.push([record(4, 4, at(0), 0)], at(0));
    assert_eq!(invoke(&mut shard, at(0)), [1, 2, 3], "full by size: the window is over");
    shard.settle(0, Verdict::Done, at(0));
    shard.push([record(5, 5, at(0), 6 * 1024 * 1024)], at(0));
    assert_eq!(invoke(&mut shard, at(0)), [4]);
    shard.settle(0, Verdict::Done, at(0));
    let (records, condition, count) = discard(&mut shard, at(0));
    assert_eq!((records, condition, count), (vec![5], Condition::MaximumPayloadSizeExceeded, 0));
    assert_eq!(checkpoint(&shard), Some(5));
}

#[test]
fn one_byte_too_many_is_too_many() {
    let mut shard = ShardState::new(&settings(), &PACE, 14);
    let half = 3 * 1024 * 1024;
    // Two quotes each, a comma, a frame of 14 bytes: one byte over 6 MB.
    shard.push([record(1, 1, at(0), half - 2), record(2, 2, at(0), half - 2 - 15 + 1)], at(0));
    assert_eq!(invoke(&mut shard, at(0)), [1]);
    shard.settle(0, Verdict::Done, at(0));
    assert_eq!(invoke(&mut shard, at(0)), [2]);
}

#[test]
fn lanes_keep_items_in_order_and_the_checkpoint_is_the_lowest_unfinished() {
    let settings = MappingSettings { parallelization_factor: 10, ..settings() };
    let mut shard = ShardState::new(&settings, &PACE, 14);
    shard.push((1..=40).map(|number| record(number, number % 8, at(0), 1)), at(0));
    let mut lane_of_key = std::collections::BTreeMap::new();
    let mut out = Vec::new();
    for lane in 0..shard.lanes() {
        if let Take::Invoke(batch) = shard.take(lane, at(0)) {
            let batch = numbers(batch);
            for number in &batch {
                assert_eq!(*lane_of_key.entry(number % 8).or_insert(lane), lane);
            }
            assert!(batch.is_sorted());
            out.push((lane, batch));
        }
    }
    assert!(out.len() > 1, "eight keys share more than one lane");
    let (slow, held_back) = out.iter().find(|(_, batch)| batch.contains(&1)).cloned().unwrap();
    for (lane, _) in out.iter().filter(|(lane, _)| *lane != slow) {
        shard.settle(*lane, Verdict::Done, at(0));
    }
    assert_eq!(checkpoint(&shard), None, "1 is not finished, whatever else is");
    shard.settle(slow, Verdict::Done, at(0));
    let finished: std::collections::BTreeSet<u64> =
        out.iter().flat_map(|(_, batch)| batch.clone()).chain(held_back).collect();
    let lowest_unfinished = (1..=40).find(|number| !finished.contains(number)).unwrap();
    assert_eq!(checkpoint(&shard), Some(lowest_unfinished - 1));
}

#[test]
fn a_recalled_batch_comes_again() {
    let mut shard = shard(&settings(), 5);
    assert_eq!(invoke(&mut shard, at(0)), [1, 2, 3, 4]);
    shard.recall(0);
    assert_eq!(invoke(&mut shard, at(0)), [1, 2, 3, 4]);
}

#[test]
fn room_is_what_the_lanes_can_use() {
    let mut shard = ShardState::new(&MappingSettings { parallelization_factor: 2, ..settings() }, &PACE, 14);
    assert_eq!(shard.room(), 8);
    shard.push((1..=3).map(|number| record(number, 1, at(0), 1)), at(0));
    assert_eq!(shard.room(), 5);
}
