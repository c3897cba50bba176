//! Time as a run sees it.

use tokio::time::Instant;

use crate::clock::Moment;

/// Wall-clock time that never steps back while the mapping lives.
#[derive(Clone, Copy)]
pub(super) struct SteadyClock {
    wall: Moment,
    steady: Instant,
}

impl SteadyClock {
    pub(super) fn start() -> Self {
        Self { wall: Moment::now(), steady: Instant::now() }
    }

    pub(super) fn now(&self) -> Moment {
        self.wall.plus(self.steady.elapsed())
    }
}

/// The earliest moment at which there is something to do.
#[derive(Default)]
pub(super) struct Wake {
    pub(super) earliest: Option<Moment>,
}

impl Wake {
    pub(super) fn at(&mut self, moment: Moment) {
        self.earliest = Some(self.earliest.map_or(moment, |earliest| earliest.min(moment)));
    }
}
