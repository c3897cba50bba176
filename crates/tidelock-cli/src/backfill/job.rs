//! What a backfill remembers: what it scans, and how far each segment has come. One at a time.

use super::{BAD_OPTIONS, FAILED, SEGMENTS};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidelock_core::letter::{fingerprint, timestamp};
use tidelock_core::state::{Entry, Lease, Leased, State as _, give_back, lease};
use tidelock_lambda::Environment;
use tidelock_sync::{AnyState, Backfiller, Job, Segmented};

/// How long a backfill that has died keeps the next one waiting.
const LEASE: Duration = Duration::from_secs(60);

/// How long reading or writing the state may take.
const STATE_TIME: Duration = Duration::from_secs(20);

const DEFAULT: &str = "file:tidelock-backfill.json";

/// Why the subcommand ends early.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) code: u8,
    pub(super) message: String,
}

impl Stop {
    pub(super) fn options(message: impl Into<String>) -> Self {
        Self { code: BAD_OPTIONS, message: message.into() }
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self { code: FAILED, message: message.into() }
    }
}

/// Where it is remembered.
pub(super) struct Memory {
    state: AnyState,
    place: String,
}

/// What is remembered of a backfill as a whole.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    job: Job,
    /// Where it writes to: another target or pipeline is another backfill.
    into: String,
    started_at: String,
}

/// A backfill that is under way.
pub(super) struct Running<'a> {
    pub(super) job: Job,
    pub(super) segments: Vec<Segmented>,
    memory: &'a Memory,
    lease: RefCell<Lease>,
    owner: String,
    /// By segment, the revision of what is remembered of it.
    revisions: RefCell<HashMap<u32, String>>,
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    i64::try_from(now).unwrap_or(i64::MAX)
}

fn soon() -> Instant {
    Instant::now() + STATE_TIME
}

fn name(origin: &str) -> String {
    format!("backfill/{origin}")
}

fn segment_name(origin: &str, number: u32) -> String {
    format!("backfill/{origin}/{number}")
}

fn lease_name(origin: &str) -> String {
    format!("lease/backfill/{origin}")
}

/// What a backfill writes to, without what may be secret: a hash of the settings that decide it.
fn into(environment: &Environment) -> String {
    let settings = ["TIDELOCK_TARGET", "TIDELOCK_PIPELINE", "TIDELOCK_SOURCE"].map(|name| {
        let value = environment.get(name).unwrap_or_default();
        // A pipeline in a file is what the file says.
        std::fs::read_to_string(value).unwrap_or_else(|_| value.to_owned())
    });
    fingerprint(&settings.each_ref().map(String::as_bytes))
}

impl Memory {
    pub(super) fn open(state: Option<&str>, environment: &Environment) -> Result<Self, Stop> {
        let place = state.or_else(|| environment.get("TIDELOCK_STATE")).unwrap_or(DEFAULT).to_owned();
        let state = AnyState::open(&place, environment).map_err(|error| Stop::options(error.message))?;
        Ok(Self { state, place })
    }

    fn failed(&self, why: &str) -> Stop {
        Stop::failed(format!("{}: {why}", self.place))
    }

    async fn read(&self, name: &str) -> Result<Option<Entry>, Stop> {
        self.state.read(name, soon()).await.map_err(|why| self.failed(&why))
    }

    async fn forget(&self, name: &str) -> Result<(), Stop> {
        if let Some(entry) = self.read(name).await? {
            self.state.remove(name, &entry.revision, soon()).await.map_err(|why| self.failed(&why))?;
        }
        Ok(())
    }

    async fn known(&self, origin: &str) -> Result<Option<Known>, Stop> {
        let Some(entry) = self.read(&name(origin)).await? else { return Ok(None) };
        let known = serde_json::from_str(&entry.value);
        known
            .map(Some)
            .map_err(|error| self.failed(&format!("what is remembered cannot be read: {error}; use --restart")))
    }

    /// How far the backfill of an origin has come.
    pub(super) async fn progress(&self, origin: &str) -> Result<Option<(Job, Vec<Segmented>)>, Stop> {
        let Some(known) = self.known(origin).await? else { return Ok(None) };
        let (segments, _) = self.segments(&known.job).await?;
        Ok(Some((known.job, segments)))
    }

    /// Whether a backfill of an origin, with these settings, has begun and is not at its end.
    pub(super) async fn is_interrupted(&self, origin: &str, environment: &Environment) -> Result<bool, Stop> {
        let Some(known) = self.known(origin).await? else { return Ok(false) };
        let (segments, _) = self.segments(&known.job).await?;
        Ok(known.into == into(environment) && segments.iter().any(|segment| !segment.done))
    }

    async fn segments(&self, job: &Job) -> Result<(Vec<Segmented>, HashMap<u32, String>), Stop> {
        let mut segments = Vec::new();
        let mut revisions = HashMap::new();
        for number in 0..job.segments {
            let entry = self.read(&segment_name(&job.origin, number)).await?;
            segments.push(match &entry {
                None => Segmented::default(),
                Some(entry) => serde_json::from_str(&entry.value).map_err(|error| {
                    self.failed(&format!("segment {number} cannot be read: {error}; use --restart"))
                })?,
            });
            revisions.extend(entry.map(|entry| (number, entry.revision)));
        }
        Ok((segments, revisions))
    }

    /// Begins a backfill, or goes on with one.
    pub(super) async fn begin(
        &self,
        backfiller: &Backfiller,
        origin: &str,
        segments: Option<u32>,
        restart: bool,
        environment: &Environment,
    ) -> Result<Running<'_>, Stop> {
        let owner = format!("process {}, started at {}", std::process::id(), timestamp(now_ms()));
        let taken = lease(&self.state, &lease_name(origin), &owner, now_ms(), LEASE, soon()).await;
        let held = match taken.map_err(|why| self.failed(&why))? {
            Leased::Ours(lease) => lease,
            Leased::Taken { owner, .. } => {
                return Err(Stop::failed(format!(
                    "a backfill of `{origin}` is running ({owner}); if it has died, wait a minute and start again"
                )));
            }
        };
        let found = self.find(backfiller, origin, segments, restart, environment).await;
        match found {
            Ok((job, segments, revisions)) => Ok(Running {
                job,
                segments,
                memory: self,
                lease: RefCell::new(held),
                owner,
                revisions: RefCell::new(revisions),
            }),
            Err(stop) => {
                let _ = give_back(&self.state, &held, soon()).await;
                Err(stop)
            }
        }
    }

    async fn find(
        &self,
        backfiller: &Backfiller,
        origin: &str,
        segments: Option<u32>,
        restart: bool,
        environment: &Environment,
    ) -> Result<(Job, Vec<Segmented>, HashMap<u32, String>), Stop> {
        let into = into(environment);
        if restart {
            // The segments first: what is remembered as a whole tells that there are any.
            let names =
                self.state.names(&format!("{}/", name(origin)), soon()).await.map_err(|why| self.failed(&why))?;
            for name in names {
                self.forget(&name).await?;
            }
            self.forget(&name(origin)).await?;
        }
        if let Some(known) = self.known(origin).await? {
            let started = &known.started_at;
            if known.into != into {
                return Err(Stop::options(format!(
                    "the backfill of `{origin}` that began at {started} has another target, pipeline or source; --restart begins anew"
                )));
            }
            if segments.is_some_and(|segments| segments != known.job.segments) {
                return Err(Stop::options(format!(
                    "the backfill that began at {started} has {} segments; leave --segments out, or use --restart",
                    known.job.segments
                )));
            }
            let (segments, revisions) = self.segments(&known.job).await?;
            let done = segments.iter().filter(|segment| segment.done).count();
            if done == segments.len() {
                return Err(Stop::failed(format!(
                    "the backfill of `{origin}` that began at {started} is done; --restart begins anew"
                )));
            }
            eprintln!(
                "going on with the backfill that began at {started}: {done} of {} segments are done",
                segments.len()
            );
            return Ok((known.job, segments, revisions));
        }
        let segments = segments.unwrap_or(SEGMENTS);
        let job = backfiller.survey(origin, segments, soon()).await.map_err(|error| Stop::failed(error.message))?;
        let known = Known { job, into, started_at: timestamp(now_ms()) };
        let value = serde_json::to_string(&known).map_err(|error| self.failed(&error.to_string()))?;
        let written = self.state.write(&name(origin), &value, None, soon()).await.map_err(|why| self.failed(&why))?;
        if written.is_none() {
            return Err(self.failed("somebody else has begun a backfill at the same time"));
        }
        let count = known.job.segments as usize;
        Ok((known.job, vec![Segmented::default(); count], HashMap::new()))
    }
}

impl Running<'_> {
    /// Notes how far a segment has come.
    pub(super) async fn remember(&self, number: u32, state: &Segmented) -> Result<(), String> {
        let value = serde_json::to_string(state).map_err(|error| error.to_string())?;
        let known = self.revisions.borrow().get(&number).cloned();
        let name = segment_name(&self.job.origin, number);
        match self.memory.state.write(&name, &value, known.as_deref(), soon()).await? {
            Some(revision) => {
                self.revisions.borrow_mut().insert(number, revision);
                Ok(())
            }
            None => Err("somebody else has written it".to_owned()),
        }
    }

    /// Renews the lease for as long as it is polled; ends when somebody else has it.
    pub(super) async fn keep(&self) -> String {
        loop {
            tokio::time::sleep(LEASE / 3).await;
            let name = lease_name(&self.job.origin);
            match lease(&self.memory.state, &name, &self.owner, now_ms(), LEASE, soon()).await {
                Ok(Leased::Ours(renewed)) => drop(self.lease.replace(renewed)),
                Ok(Leased::Taken { owner, .. }) => return format!("somebody else has taken it over ({owner})"),
                // It may be back before the lease runs out; two at a time only do the work twice.
                Err(why) => eprintln!("warning: the lease is not renewed: {why}"),
            }
        }
    }

    /// Gives the lease back.
    pub(super) async fn end(&self) {
        let lease = self.lease.borrow().clone();
        if let Err(why) = give_back(&self.memory.state, &lease, soon()).await {
            eprintln!("warning: the lease is not given back: {why}");
        }
    }
}
