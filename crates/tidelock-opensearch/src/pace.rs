//! How fast an environment sends: slower with every refusal, faster again with every request that is taken.
//!
//! Many environments share a target, and none knows of the others. What each learns from refusals (429, an open circuit breaker)
//! is all that keeps them from asking, together, so often that refusing is all the target still does. So a [`Pace`] is kept from
//! one invocation to the next: how many requests may be under way, how large they may be, and how long to wait before each.
//!
//! Requests become fewer by halves and more by steps that are the same for all
//! ([AIMD](https://www.rfc-editor.org/rfc/rfc5681#section-3.1)), so that environments come to share what the target can take. Waits
//! have [full jitter](https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/), so that they do not
//! come together. `tidelock-sim --fleet` shows what becomes of a hundred functions.

use std::cell::Cell;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::{sleep, sleep_until, timeout_at};

/// The wait after a first refusal, at most.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// The longest wait for what else may pass by itself.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The longest wait of an environment after refusals.
const LONGEST_SPACING: Duration = Duration::from_secs(8);

/// By how much an environment sends more often after a request that was taken: by so many requests in the time of an answer. A
/// quick target, which has room, is soon sent to at full speed again.
const STEP: f64 = 0.1;

/// A wait that is shorter than this part of an answer's time makes no difference any more.
const NO_WAIT: u32 = 4;

/// By what part of their size requests grow after one that was taken.
const GROWTH: usize = 4;

/// After so many refusals in a row, a request may be one that the target can never take.
const PATIENCE: u32 = 8;

/// Below this a refused request becomes smaller only if nothing else helps: many small ones keep a server busier than it is.
const SMALL_BULK: usize = 768 * 1024;

/// What a server that refuses nothing is sent at a time, at least.
const SMALLEST_SHARE: usize = 384 * 1024;

/// A server that has taken so many requests in a row has room.
const CALM: u32 = 16;

/// No request need be smaller than this.
const SMALLEST_BULK: usize = 64 * 1024;

/// What became of a request, as far as it tells how busy the target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reception {
    /// The target has taken it.
    Taken,
    /// The target was too busy for some of it.
    RefusedInPart,
    /// The target was too busy for it, or for one of its size.
    Refused,
    /// It is not there.
    Gone,
    /// It does not tell.
    Unknown,
}

impl Reception {
    pub(crate) fn is_refusal(self) -> bool {
        matches!(self, Self::Refused | Self::RefusedInPart)
    }
}

/// The pace of one environment.
#[derive(Debug)]
pub(crate) struct Pace {
    full: Limits,
    /// Whether refusals change anything.
    paced: bool,
    state: Cell<State>,
    /// A request has ended.
    ended: Notify,
}

/// What may be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    /// Requests at a time.
    requests: usize,
    /// Bytes of each.
    bytes: usize,
}

#[derive(Debug, Clone, Copy)]
struct State {
    under_way: usize,
    limits: Limits,
    /// Refusals since a request was taken.
    refused: u32,
    /// Requests taken since one was refused.
    taken: u32,
    /// The longest wait before a request; zero: there is none.
    spacing: Duration,
    /// When the next request may be sent.
    not_before: Option<Instant>,
    /// When this was last slowed down. What was sent before tells nothing about the pace since.
    slowed: Option<Instant>,
    /// How long answers take.
    answer_time: Duration,
    /// That of the last request.
    deadline: Option<Instant>,
}

impl Pace {
    /// Full speed: so many requests of so many bytes at a time.
    pub(crate) fn new(bytes: usize, requests: usize, paced: bool) -> Self {
        let full = Limits { requests: requests.max(1), bytes };
        let state = State {
            under_way: 0,
            limits: full,
            refused: 0,
            taken: 0,
            spacing: Duration::ZERO,
            not_before: None,
            slowed: None,
            answer_time: Duration::ZERO,
            deadline: None,
        };
        Self { full, paced, state: Cell::new(state), ended: Notify::new() }
    }

    /// Most bytes of a request.
    pub(crate) fn bytes(&self) -> usize {
        self.state.get().limits.bytes
    }

    /// Below this a request is not split just to use another connection.
    ///
    /// Two of half the size are written faster than one by a server with more than one core, even into a single shard: half a megabyte,
    /// the usual batch of 500 documents of 1 KB, in three quarters of the time. One that refuses has no core left for it.
    pub(crate) fn smallest_share(&self) -> usize {
        if self.state.get().taken >= CALM { SMALLEST_SHARE } else { SMALL_BULK }
    }

    /// Whether requests must be smaller than they may be at full speed.
    pub(crate) fn is_shrunk(&self) -> bool {
        self.bytes() < self.full.bytes
    }

    /// Waits until a request may be sent; `None` when it could not be answered before the deadline.
    ///
    /// The first request before each deadline is sent in any case, unless it had to wait for more than half of the time until then, so
    /// that a target which has become faster is found out; those for which there seems to be no time wait for what it finds out.
    pub(crate) async fn turn(&self, deadline: Instant) -> Option<Turn<'_>> {
        loop {
            let (state, now) = (self.state.get(), now());
            let latest = deadline.checked_sub(state.answer_time).unwrap_or(now);
            let wait = state.not_before.filter(|until| *until > now);
            let is_first = state.deadline != Some(deadline);
            let limit = match (is_first, wait) {
                (true, None) => deadline,
                // For half of the time that there is it may wait, however long answers have been taking.
                (true, Some(_)) => latest.max(now + deadline.saturating_duration_since(now) / 2),
                (false, _) => latest,
            };
            if wait.is_none() && state.under_way < state.limits.requests && now < limit {
                self.state.set(State { under_way: state.under_way + 1, deadline: Some(deadline), ..state });
                return Some(Turn { pace: self, sent: now });
            }
            let too_late = wait.unwrap_or(now) >= limit;
            if now >= deadline || too_late && state.under_way == 0 {
                return None;
            }
            match wait {
                Some(until) if !too_late => sleep_until(until.into()).await,
                // Whether one has ended, or time is over, is looked at above.
                _ => drop(timeout_at(deadline.into(), self.ended.notified()).await),
            }
        }
    }
}

impl State {
    /// After a refusal: of a whole request, which may have been too large, or of some of its items.
    fn slower(self, now: Instant, whole: bool) -> Self {
        let Limits { requests, bytes } = self.limits;
        let refused = self.refused + 1;
        let smallest = if refused > PATIENCE { SMALLEST_BULK } else { SMALL_BULK };
        // First fewer at a time; the last one more and more seldom.
        let spacing = if requests > 1 { self.spacing } else { (self.spacing * 2).clamp(FIRST_WAIT, LONGEST_SPACING) };
        Self {
            limits: Limits {
                requests: (requests / 2).max(1),
                bytes: if whole { (bytes / 2).max(smallest).min(bytes) } else { bytes },
            },
            refused,
            taken: 0,
            spacing,
            not_before: Some(now + jitter(spacing.max(FIRST_WAIT))),
            slowed: Some(now),
            ..self
        }
    }

    /// After a request that was taken.
    fn faster(self, now: Instant, full: Limits) -> Self {
        let Limits { requests, bytes } = self.limits;
        let spacing = self.closer();
        Self {
            limits: Limits {
                requests: if self.spacing.is_zero() { (requests + 1).min(full.requests) } else { requests },
                bytes: bytes.saturating_add(bytes / GROWTH).min(full.bytes),
            },
            refused: 0,
            taken: self.taken.saturating_add(1),
            spacing,
            // Who has been taken waits, too: it would else be first for ever where there is one place for many.
            not_before: (!spacing.is_zero()).then(|| now + jitter(spacing)),
            ..self
        }
    }

    /// The spacing after a request that was taken.
    fn closer(self) -> Duration {
        if self.spacing.is_zero() {
            return Duration::ZERO;
        }
        let answers = self.spacing.div_duration_f64(self.answer_time.max(FIRST_WAIT));
        let closer = self.spacing.div_f64(1.0 + STEP * answers);
        let none = (self.answer_time / NO_WAIT).clamp(FIRST_WAIT, LONGEST_PAUSE);
        if closer < none { Duration::ZERO } else { closer }
    }
}

/// The right to have a request under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'p> {
    pace: &'p Pace,
    sent: Instant,
}

impl Turn<'_> {
    /// The request has ended, and the pace changes accordingly.
    pub(crate) fn end(self, reception: Reception) {
        let (cell, now) = (&self.pace.state, now());
        let mut state = cell.get();
        if reception == Reception::Gone {
            // Who comes back may be faster, and has to be asked to be found out.
            state.answer_time = Duration::ZERO;
        } else if reception != Reception::Unknown {
            let took = now.saturating_duration_since(self.sent);
            // Slow answers count at once, fast ones little by little; refusals are fast.
            let less =
                if reception == Reception::Taken { state.answer_time.saturating_sub(took) / 4 } else { Duration::ZERO };
            state.answer_time = took.max(state.answer_time - less);
        }
        if self.pace.paced && state.slowed.is_none_or(|slowed| self.sent >= slowed) {
            state = match reception {
                Reception::Taken => state.faster(now, self.pace.full),
                Reception::RefusedInPart => state.slower(now, false),
                Reception::Refused => state.slower(now, true),
                Reception::Gone | Reception::Unknown => state,
            };
        }
        cell.set(state);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let state = self.pace.state.get();
        self.pace.state.set(State { under_way: state.under_way.saturating_sub(1), ..state });
        self.pace.ended.notify_waiters();
    }
}

/// The time by the runtime's clock, which simulations drive.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Waits before what may pass by itself is tried again; `false` when there is no time left for it.
pub(crate) async fn pause(pauses: u32, deadline: Instant) -> bool {
    let wait = jitter(FIRST_WAIT.saturating_mul(1 << pauses.min(10)).min(LONGEST_PAUSE));
    if now() + wait >= deadline {
        return false;
    }
    sleep(wait).await;
    true
}

/// Any time up to this one.
fn jitter(longest: Duration) -> Duration {
    longest.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod sending;
#[cfg(test)]
mod tests;
