//! The pace by itself.

use super::*;

const MIB: usize = 1024 * 1024;
const SECOND: Duration = Duration::from_secs(1);

/// Sends a request as soon as it may be sent, which ends like this after a time; `false` when it may not be sent at all.
async fn send(pace: &Pace, reception: Reception, takes: Duration, deadline: Instant) -> bool {
    let Some(turn) = pace.turn(deadline).await else { return false };
    sleep(takes).await;
    turn.end(reception);
    true
}

#[tokio::test(start_paused = true)]
async fn refusals_halve_what_is_under_way_and_successes_bring_it_back() {
    let pace = Pace::new(5 * MIB, 4, true);
    let far = now() + 1_000 * SECOND;
    let limits = || (pace.state.get().limits.requests, pace.bytes());
    assert!(send(&pace, Reception::Taken, SECOND, far).await);
    assert_eq!(limits(), (4, 5 * MIB));
    assert!(send(&pace, Reception::Refused, SECOND, far).await);
    assert_eq!(limits(), (2, 5 * MIB / 2));
    assert!(pace.is_shrunk());
    // Items that a full queue refuses say nothing against the request's size.
    assert!(send(&pace, Reception::RefusedInPart, SECOND, far).await);
    assert_eq!(limits(), (1, 5 * MIB / 2));
    for _ in 2..PATIENCE {
        assert!(send(&pace, Reception::Refused, SECOND, far).await);
    }
    assert_eq!(limits(), (1, SMALL_BULK));
    // It may be the size after all.
    assert!(send(&pace, Reception::Refused, SECOND, far).await);
    assert_eq!(limits(), (1, SMALL_BULK / 2));
    for _ in 0..10 {
        assert!(send(&pace, Reception::Refused, SECOND, far).await);
    }
    assert_eq!((limits(), pace.state.get().spacing), ((1, SMALLEST_BULK), LONGEST_SPACING));
    for _ in 0..50 {
        assert!(send(&pace, Reception::Taken, SECOND, far).await);
    }
    assert_eq!((limits(), pace.is_shrunk(), pace.state.get().not_before), ((4, 5 * MIB), false, None));
}

#[tokio::test(start_paused = true)]
async fn one_event_slows_down_once() {
    let pace = Pace::new(MIB, 4, true);
    let far = now() + 1_000 * SECOND;
    let all = [pace.turn(far).await, pace.turn(far).await, pace.turn(far).await, pace.turn(far).await];
    let mut receptions = [Reception::Refused, Reception::Refused, Reception::Taken, Reception::Unknown].into_iter();
    for turn in all {
        sleep(SECOND).await;
        turn.expect("four at a time").end(receptions.next().expect("four"));
    }
    let state = pace.state.get();
    assert_eq!((state.limits.requests, state.refused, state.spacing, state.under_way), (2, 1, Duration::ZERO, 0));
    assert_eq!(state.answer_time, 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_under_way_than_may_be() {
    let pace = Pace::new(MIB, 2, true);
    let far = now() + 1_000 * SECOND;
    let (first, second) = (pace.turn(far).await.expect("a turn"), pace.turn(far).await.expect("a turn"));
    let began = now();
    let third = async {
        let turn = pace.turn(far).await.expect("a turn");
        (turn, now() - began)
    };
    let ends = async {
        sleep(5 * SECOND).await;
        drop(first);
    };
    let ((_third, after), ()) = futures_util::future::join(third, ends).await;
    assert_eq!((after, pace.state.get().under_way), (5 * SECOND, 2));
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn waits_are_random_and_double() {
    let far = now() + 100_000 * SECOND;
    let mut waits = Vec::new();
    for _ in 0..200 {
        let pace = Pace::new(MIB, 1, true);
        let mut of_one = Vec::new();
        for _ in 0..9 {
            assert!(send(&pace, Reception::Refused, Duration::ZERO, far).await);
            of_one.push(pace.state.get().not_before.expect("a wait") - now());
        }
        waits.push(of_one);
    }
    for refusals in 0..9 {
        let of = waits.iter().map(|waits| waits[refusals]);
        let ceiling = (FIRST_WAIT * (1 << refusals)).min(LONGEST_SPACING);
        let (longest, shortest) = (of.clone().max().expect("waits"), of.min().expect("waits"));
        assert!(longest <= ceiling && longest > ceiling / 2 && shortest < ceiling / 4, "{shortest:?} {longest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_end_in_time_is_not_waited_for() {
    let pace = Pace::new(MIB, 1, true);
    assert!(send(&pace, Reception::Taken, 3 * SECOND, now() + 100 * SECOND).await);
    // Less time is left than answers take: one request finds out whether they still do.
    let deadline = now() + 2 * SECOND;
    assert!(send(&pace, Reception::Unknown, Duration::ZERO, deadline).await);
    assert!(!send(&pace, Reception::Unknown, Duration::ZERO, deadline).await);
    // A first one waits for a short time after a refusal, and for a long one not at all.
    assert!(send(&pace, Reception::Refused, Duration::ZERO, deadline + SECOND).await);
    assert!(send(&pace, Reception::Unknown, Duration::ZERO, deadline + SECOND / 2).await);
    let began = now();
    pace.state.set(State { not_before: Some(began + SECOND), ..pace.state.get() });
    assert!(!send(&pace, Reception::Taken, SECOND, began + SECOND + SECOND / 2).await);
    assert_eq!(now(), began);
}

#[tokio::test(start_paused = true)]
async fn where_time_seems_short_the_first_ones_answer_decides() {
    for (takes, sent) in [(SECOND / 10, true), (100 * SECOND, false)] {
        let pace = Pace::new(MIB, 4, true);
        // The last answer never came.
        assert!(send(&pace, Reception::Refused, 3 * SECOND, now() + 3 * SECOND).await);
        sleep(SECOND).await;
        pace.state.set(State { limits: Limits { requests: 2, bytes: MIB }, ..pace.state.get() });
        let began = now();
        let deadline = began + 3 * SECOND;
        let first = async {
            let turn = pace.turn(deadline).await.expect("a turn");
            sleep(takes.min(3 * SECOND)).await;
            turn.end(Reception::Taken);
        };
        let second = async { pace.turn(deadline).await.is_some() };
        let ((), second) = tokio::join!(first, second);
        assert_eq!(second, sent, "{takes:?}");
        assert!(sent || now() == deadline);
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_gone_is_asked_as_often_as_ever() {
    let pace = Pace::new(MIB, 1, true);
    assert!(send(&pace, Reception::Refused, 3 * SECOND, now() + 3 * SECOND).await);
    sleep(SECOND).await;
    let deadline = now() + 3 * SECOND;
    for _ in 0..20 {
        assert!(send(&pace, Reception::Gone, SECOND / 10, deadline).await);
    }
}
