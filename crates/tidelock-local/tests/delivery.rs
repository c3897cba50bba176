//! The promise of the mapping, whatever the function does: every record is delivered at least once, in order for each
//! key, and the checkpoint never passes a record that was not finished.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use tidelock_local::function::Invocation;
use tidelock_local::mapping::{MappingSettings, Pace, ShardState, Take, judge};

use crate::shard_rules::{at, record};

/// What the function does with one batch.
#[derive(Clone, Debug)]
enum Behaviour {
    Succeed,
    Fail,
    Timeout,
    Crash,
    /// Reports these records of the batch, counted from its start (modulo its size), in this order.
    Report(Vec<usize>),
    ReportUnknown,
    ReportEmpty,
}

impl Behaviour {
    fn invocation(&self, batch: &[u64]) -> Invocation {
        let report = |identifiers: Vec<Value>| {
            let items: Vec<Value> = identifiers.into_iter().map(|number| json!({ "itemIdentifier": number })).collect();
            Invocation::Response(Bytes::from(json!({ "batchItemFailures": items }).to_string()))
        };
        match self {
            Self::Succeed => Invocation::Response(Bytes::new()),
            Self::Fail => Invocation::FunctionError { error_type: "E".into(), message: "m".into(), raw: Bytes::new() },
            Self::Timeout => Invocation::Timeout,
            Self::Crash => Invocation::Crashed { status: "signal: 6".into() },
            Self::Report(places) => {
                report(places.iter().map(|place| json!(batch[place % batch.len()].to_string())).collect())
            }
            Self::ReportUnknown => report(vec![json!("999999999")]),
            Self::ReportEmpty => report(vec![json!("")]),
        }
    }

    /// What the function answered for: everything before the lowest record it reported.
    fn answered<'a>(&self, batch: &'a [u64], reporting: bool) -> &'a [u64] {
        match self {
            Self::Succeed => batch,
            Self::Report(places) if reporting => {
                let lowest = places.iter().map(|place| place % batch.len()).min().unwrap_or(batch.len());
                &batch[..lowest]
            }
            Self::Report(_) | Self::ReportUnknown | Self::ReportEmpty if !reporting => batch,
            _ => &[],
        }
    }
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop_oneof![
        3 => Just(Behaviour::Succeed),
        2 => Just(Behaviour::Fail),
        1 => Just(Behaviour::Timeout),
        1 => Just(Behaviour::Crash),
        4 => prop::collection::vec(0usize..20, 0..4).prop_map(Behaviour::Report),
        1 => Just(Behaviour::ReportUnknown),
        1 => Just(Behaviour::ReportEmpty),
    ]
}

fn any_settings() -> impl Strategy<Value = MappingSettings> {
    (
        1u32..12,
        1u32..5,
        prop_oneof![Just(-1), 0i32..4],
        prop_oneof![Just(-1), 60i32..120],
        any::<bool>(),
        any::<bool>(),
        0u32..3,
    )
        .prop_map(|(batch_size, lanes, attempts, age, bisect, report, window)| MappingSettings {
            batch_size,
            batching_window: Some(window),
            parallelization_factor: lanes,
            maximum_retry_attempts: attempts,
            maximum_record_age: age,
            bisect_on_error: bisect,
            report_batch_item_failures: report,
            ..MappingSettings::default()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn at_least_once_in_order_and_never_past_a_failure(
        settings in any_settings(),
        keys in prop::collection::vec(0u64..6, 1..60),
        script in prop::collection::vec(behaviour(), 0..60),
        pushes in prop::collection::vec(1usize..10, 60),
        steps in prop::collection::vec(0u64..3000, 1..40),
    ) {
        let identified = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let mut shard = ShardState::new(&settings, &Pace::fast(), 14);
        let mut records = keys.iter().zip(1u64..);
        let mut pushes = pushes.into_iter();
        let mut script = script.into_iter();
        let mut steps = steps.iter().cycle();
        let mut out: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        let mut now = at(0);
        let mut delivered = BTreeSet::<u64>::new();
        let (mut answered, mut discarded) = (delivered.clone(), delivered.clone());
        let mut all_pushed = false;
        let mut rounds = 0;
        while !(all_pushed && shard.is_drained()) {
            rounds += 1;
            prop_assert!(rounds < 20_000, "no end");
            if !all_pushed {
                let page: Vec<_> = records.by_ref().take(pushes.next().unwrap_or(60))
                    .map(|(key, number)| record(number, *key, now, 1)).collect();
                all_pushed = page.is_empty();
                shard.push(page, now);
                if all_pushed {
                    shard.close();
                }
            }
            for lane in 0..shard.lanes() {
                match shard.take(lane, now) {
                    Take::Invoke(batch) => {
                        let batch: Vec<u64> = batch.sequences().iter().map(|n| n.as_str().parse().unwrap()).collect();
                        prop_assert!(!batch.is_empty() && batch.len() <= settings.batch_size as usize);
                        prop_assert!(batch.is_sorted());
                        for number in &batch {
                            // Every earlier record of the key is finished, or comes before it in this batch.
                            let key = keys[*number as usize - 1];
                            let earlier = (1..*number).filter(|n| keys[*n as usize - 1] == key);
                            for n in earlier {
                                prop_assert!(
                                    answered.contains(&n) || discarded.contains(&n) || batch.contains(&n),
                                    "{number} delivered before {n}"
                                );
                            }
                            prop_assert!(!out.values().flatten().any(|n| n == number), "{number} is out twice");
                        }
                        delivered.extend(batch.iter().copied());
                        out.insert(lane, batch);
                    }
                    Take::Discard(batch, _) => {
                        let batch: Vec<u64> = batch.sequences().iter().map(|n| n.as_str().parse().unwrap()).collect();
                        prop_assert!(settings.maximum_retry_attempts >= 0 || settings.maximum_record_age >= 0);
                        prop_assert!(batch.iter().all(|n| !answered.contains(n)));
                        discarded.extend(batch);
                        shard.skip(lane, now);
                    }
                    Take::Wait(_) | Take::Nothing => {}
                    other @ Take::Disable(_) => return Err(TestCaseError::fail(format!("{other:?}"))),
                }
            }
            now = now.plus(Duration::from_millis(*steps.next().unwrap()));
            // One of the batches that are out comes back, not always the first.
            let turn = usize::try_from(now.since_epoch().subsec_millis()).unwrap() % out.len().max(1);
            if let Some(lane) = out.keys().nth(turn).copied() {
                let batch = out.remove(&lane).unwrap();
                let behaviour = script.next().unwrap_or(Behaviour::Succeed);
                let reporting = settings.report_batch_item_failures;
                let verdict = judge(
                    &behaviour.invocation(&batch),
                    &shard.out(lane).unwrap().sequences(),
                    reporting.then_some(&identified),
                );
                answered.extend(behaviour.answered(&batch, reporting));
                shard.settle(lane, verdict, now);
            }
            let checkpoint = shard.checkpoint().map_or(0, |number| number.as_str().parse().unwrap());
            for number in 1..=checkpoint {
                prop_assert!(answered.contains(&number) || discarded.contains(&number), "checkpoint past {number}");
            }
        }
        for number in 1..=keys.len() as u64 {
            let is_expired = discarded.contains(&number) && settings.maximum_record_age >= 0;
            prop_assert!(delivered.contains(&number) || is_expired, "{number} was never delivered");
            prop_assert!(answered.contains(&number) != discarded.contains(&number));
        }
        prop_assert_eq!(shard.checkpoint().unwrap().as_str(), keys.len().to_string());
    }
}
