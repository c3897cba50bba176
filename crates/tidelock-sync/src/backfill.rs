//! Backfill: segments of a scan, written page by page.

use crate::app::{App, now_ms};
use crate::source::AnySource;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidelock_core::backfill::{Backfill, Page, Scan as _, Scanned, Segment, Written};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::target::{Call, Target as _};
use tidelock_lambda::{Environment, Fatal};

/// The least time that a page is begun with.
const PAGE_TIME: Duration = Duration::from_secs(10);

/// The longest that one page may take to read and write.
const PAGE_LIMIT: Duration = Duration::from_secs(120);

/// Pauses before a page is written again, while the target is busy.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// The parts of a backfill, made once.
pub struct Backfiller {
    pub(crate) app: App,
    source: AnySource,
}

/// What is scanned, in how many parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// A table's name, or `database.collection`.
    pub origin: String,
    /// Into how many segments the scan is divided.
    pub segments: u32,
    /// What the scan was when it began: the same for all segments.
    pub scanned: Scanned,
}

/// Items, by what has become of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Read.
    pub scanned: usize,
    /// The target holds them now.
    pub written: usize,
    /// The target holds something newer.
    pub stale: usize,
    /// The pipeline leaves them out.
    pub filtered: usize,
    /// Dead letters.
    pub parked: usize,
    /// The same by cause.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, usize>,
}

impl Counts {
    fn take(&mut self, page: &Page, written: &Written) {
        self.scanned += page.items.len();
        self.written += written.applied;
        self.stale += written.stale;
        self.filtered += written.filtered;
        self.parked += written.parked.values().sum::<usize>();
        for (&reason, count) in &written.parked {
            *self.reasons.entry(reason.to_owned()).or_default() += count;
        }
    }

    /// Adds another segment's.
    pub fn add(&mut self, other: &Self) {
        self.scanned += other.scanned;
        self.written += other.written;
        self.stale += other.stale;
        self.filtered += other.filtered;
        self.parked += other.parked;
        for (reason, count) in &other.reasons {
            *self.reasons.entry(reason.clone()).or_default() += count;
        }
    }
}

/// How far a segment has come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Segmented {
    /// It is at its end.
    pub done: bool,
    /// Where it goes on.
    #[serde(default)]
    pub position: Option<String>,
    /// What has been done.
    #[serde(flatten)]
    pub counts: Counts,
    /// Why it has stopped before its end, where that was not time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

/// Keeps segments together to so many units of the source's capacity in a second.
#[derive(Debug)]
pub struct Pace {
    per_second: Option<f64>,
    next: Cell<Instant>,
}

impl Pace {
    /// So many units a second; `None`: as fast as it goes.
    #[must_use]
    pub fn new(per_second: Option<f64>) -> Self {
        Self { per_second, next: Cell::new(Instant::now()) }
    }

    /// Waits until what has been used is paid for.
    async fn used(&self, units: f64, deadline: Instant) {
        let Some(per_second) = self.per_second.filter(|per_second| *per_second > 0.0) else { return };
        let now = Instant::now();
        let next = self.next.get().max(now) + Duration::from_secs_f64((units / per_second).clamp(0.0, 3_600.0));
        self.next.set(next);
        tokio::time::sleep_until(next.min(deadline).into()).await;
    }
}

impl Backfiller {
    /// Makes the parts from the environment.
    ///
    /// # Errors
    /// When settings are wrong (all problems at once), or no source is named.
    pub async fn start(environment: &Environment) -> Result<Self, Fatal> {
        let mut app = App::start(environment).await?;
        let missing = "TIDELOCK_SOURCE is not set: say what is scanned, dynamodb: or mongodb://…";
        let source = app.source.take().ok_or_else(|| Fatal::new("Tidelock.Settings", missing))?;
        Ok(Self { app, source })
    }

    /// Whether every survey of the same origin gives the same segments.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.source.scheme() == "dynamodb:"
    }

    /// Looks at what is to be scanned.
    ///
    /// # Errors
    /// When it does not exist, or may not be read.
    pub async fn survey(&self, origin: &str, segments: u32, deadline: Instant) -> Result<Job, Fatal> {
        if segments == 0 || segments > 1_000_000 {
            return Err(Fatal::new("Tidelock.Request", format!("{segments} segments: allowed are 1 to 1000000")));
        }
        let scanned = self.source.survey(origin, segments, deadline).await;
        let scanned = scanned.map_err(|failure| Fatal::new("Tidelock.Source", explained(&failure)))?;
        Ok(Job { origin: origin.to_owned(), segments, scanned })
    }

    /// Scans a segment from where it was left, until its end or the deadline. `watch` is told after every page; only what it
    /// has been told is surely written. While a page cannot be written, it is told why (`stopped`); after `patience` without
    /// progress, or when somebody has to mend something, the segment ends with that.
    pub async fn segment(
        &self,
        job: &Job,
        number: u32,
        mut state: Segmented,
        pace: &Pace,
        (deadline, patience): (Instant, Duration),
        mut watch: impl AsyncFnMut(&Segmented),
    ) -> Segmented {
        state.stopped = None;
        let mut progressed = Instant::now();
        let segment = Segment { number, of: job.segments };
        let mut pause = PAUSE;
        let mut unwritten: Option<Page> = None;
        while !state.done {
            let now = Instant::now();
            if now + PAGE_TIME > deadline {
                break;
            }
            let until = deadline.min(now + PAGE_LIMIT.min(patience));
            let page = match unwritten.take() {
                Some(page) => page,
                None => {
                    let (from, format) = (state.position.as_deref(), self.app.target.format());
                    let page = self.source.page(&job.origin, &job.scanned, segment, from, format, until).await;
                    match page {
                        Ok(page) => page,
                        Err(failure) => {
                            state.stopped = Some(explained(&failure));
                            break;
                        }
                    }
                }
            };
            let written = self.write(job, &page, until).await;
            if let Some(failure) = &written.again {
                // The target is busy: the page waits, and is not read again.
                let wait = pause.mul_f64(fastrand::f64());
                pause = (pause * 2).min(LONGEST_PAUSE);
                state.stopped = Some(explained(failure));
                let now = Instant::now();
                let no_queue = failure.cause == Cause::NotParked && self.app.dead_letters.is_none();
                let given_up = no_queue || failure.cause.needs_mending() || now.duration_since(progressed) > patience;
                if given_up || now + wait + PAGE_TIME > deadline {
                    break;
                }
                watch(&state).await;
                tokio::time::sleep(wait).await;
                unwritten = Some(page);
                continue;
            }
            pause = PAUSE;
            progressed = Instant::now();
            state.stopped = None;
            state.counts.take(&page, &written);
            state.done = page.next.is_none();
            state.position = page.next;
            watch(&state).await;
            pace.used(page.units, deadline).await;
        }
        state
    }

    async fn write(&self, job: &Job, page: &Page, deadline: Instant) -> Written {
        let backfill = Backfill {
            origin: &job.origin,
            scanned: &job.scanned,
            pipeline: &self.app.pipeline,
            target: &self.app.target,
            source: &self.source,
            state: self.app.state.as_deref(),
            dead_letters: self.app.dead_letters.as_ref(),
            bucket: self.app.bucket.as_ref(),
            function: &self.app.function,
        };
        backfill.write(page, Call { deadline, now_ms: now_ms(), truth: true }).await
    }
}

fn explained(failure: &Failure) -> String {
    format!("{failure}; {}", failure.cause.action())
}
