//! What one world is like.

use super::given_up::GivesUp;
use super::history::{Shape, Step};
use super::routing::Routing;
use std::ops::Range;
use std::time::Duration;
use tidelock_core::fence::FENCE_LIFE_MS;

const DAY_MS: i64 = 86_400_000;

/// What one world is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Climate {
    pub(crate) shape: Shape,
    /// Functions can read the table again.
    pub(crate) source: bool,
    pub(crate) batch: usize,
    pub(crate) timeout: Duration,
    /// A fault in so many requests.
    pub(crate) fault_every: u32,
    /// An invocation in so many dies half-way.
    pub(crate) kill_every: u32,
    /// A batch in so many is delivered again after it was done.
    pub(crate) duplicate_every: u32,
    /// What each route does while the target cannot be reached.
    pub(crate) on_outage: [&'static str; 2],
    /// What routes do with documents of which the target refuses a field.
    pub(crate) on_conflict: &'static str,
    /// When mappings give batches up, if ever.
    pub(crate) gives_up: Option<GivesUp>,
    /// Seconds between the redrives of the schedule; `None`: there is none while the stream is followed.
    pub(crate) schedule: Option<(u64, u64)>,
    /// How long fences are said to live.
    pub(crate) fence_life_ms: i64,
}

impl Climate {
    pub(crate) fn new(rng: &mut fastrand::Rng) -> Self {
        let source = rng.u32(..10) < 7;
        let routing = Routing::draw(rng, source);
        let shape = Shape {
            changes: rng.usize(2_000..2_200),
            keys: rng.usize(50..90),
            step: *rng.choice(&[Step::Huge, Step::One, Step::Mixed]).unwrap_or(&Step::Huge),
            shards: rng.usize(1..4),
            relabel: rng.u32(..4) == 0,
            clock_steps: rng.u32(..4) == 0,
            // Where an item was that has no image, only fixed places tell.
            keys_only: source && !routing.old_images && rng.u32(..3) == 0,
            poison: rng.u32(..30),
            large: rng.bool(),
            routing,
        };
        let on_outage = match rng.u32(..20) {
            0..8 => ["retry", "retry"],
            8..15 => ["hold", "hold"],
            15 => ["always_hold", "always_hold"],
            16 => ["hold", "retry"],
            17 => ["retry", "hold"],
            18 => ["always_hold", "hold"],
            _ => ["retry", "always_hold"],
        };
        let on_conflict = if rng.u32(..3) == 0 { "salvage" } else { "park" };
        let seconds = |rng: &mut fastrand::Rng, range: Range<u64>| Duration::from_secs(rng.u64(range));
        let gives_up = rng.bool().then(|| {
            // Now and then less than until somebody asks.
            let retention = if rng.bool() { 30..300 } else { 80_000..86_400 };
            GivesUp { after: rng.usize(2..7), whole: rng.u32(..3) == 0, retention: seconds(rng, retention) }
        });
        // In every third world a redrive is not there when it is needed.
        let schedule = (rng.u32(..3) > 0).then(|| {
            let shortest = rng.u64(5..120);
            (shortest, shortest + rng.u64(1..60))
        });
        Self {
            shape,
            source,
            batch: rng.usize(5..120),
            timeout: seconds(rng, 3..30),
            fault_every: rng.u32(6..30),
            kill_every: rng.u32(8..40),
            duplicate_every: rng.u32(6..30),
            on_outage,
            on_conflict,
            gives_up,
            schedule,
            // What is old is redriven by truth alone.
            fence_life_ms: if rng.u32(..5) == 0 { DAY_MS + rng.i64(10_000..600_000) } else { FENCE_LIFE_MS },
        }
    }
}
