//! What a sync function holds for the life of its environment.

use crate::authentication::Authentication;
use crate::check::read_pipeline;
use crate::metrics::{Batch as Metrics, emit, emit_sweep};
use crate::remembered::AnyState;
use crate::source::{AnySource, Open, parameter};
use crate::targets::AnyTarget;
use crate::trial::Diary;
use crate::waiting::{AnyBucket, AnyQueue};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidelock_core::batch::{Batch, BatchResponse, Circumstances, Fate, PATIENCE, Posts, deliver_located};
use tidelock_core::cause::Cause;
use tidelock_core::fence::{Swept, Window};
use tidelock_core::pipeline::{OnOutage, Pipeline};
use tidelock_core::settings::{PipelineSource, QueueAddress, Secret, Settings};
use tidelock_core::source::Reader;
use tidelock_core::target::{Call, Store as _, Target as _};
use tidelock_lambda::{Environment, Fatal, Invocation};

/// How long changes are tried that may be held, once the target was found down: a probe.
const PROBE: Duration = Duration::from_secs(1);

/// The parts of a function that writes, made once; `R` is what can be read again.
pub(crate) struct App<R = AnySource> {
    pub(crate) function: String,
    pub(crate) pipeline: Pipeline,
    pub(crate) target: AnyTarget,
    pub(crate) source: Option<R>,
    pub(crate) dead_letters: Option<AnyQueue>,
    pub(crate) fallback: Option<AnyQueue>,
    pub(crate) bucket: Option<AnyBucket>,
    pub(crate) state: Option<Rc<AnyState>>,
    pub(crate) fence_life_ms: i64,
    /// Which batches are on trial, where that is written down.
    pub(crate) diary: Option<Diary>,
    /// How long changes are tried that may be held.
    patience: Cell<Duration>,
}

impl<R: Open> App<R> {
    /// Makes the parts from the environment.
    ///
    /// # Errors
    /// When settings are wrong (all problems at once) or a client cannot be made.
    pub(crate) async fn start(environment: &Environment) -> Result<Self, Fatal> {
        let settings = read_settings(environment)?;
        let authentication = Authentication::new(&settings, environment);
        Self::with(&settings, &authentication, environment).await?.located()
    }

    /// The same, where documents are written.
    ///
    /// # Errors
    /// When the pipeline needs a state and there is none.
    pub(crate) fn located(self) -> Result<Self, Fatal> {
        if self.state.is_none() && self.pipeline.locates() {
            let problem = "TIDELOCK_STATE is not set, and a route of the pipeline keeps there where its documents are (`locate: state`); name a table, dynamodb:TABLE";
            return Err(Fatal::new("Tidelock.Settings", problem));
        }
        Ok(self)
    }

    pub(crate) async fn with(
        settings: &Settings,
        authentication: &Authentication,
        environment: &Environment,
    ) -> Result<Self, Fatal> {
        let fetched = match &settings.pipeline {
            Some(PipelineSource::Parameter(name)) => Some(parameter(name, authentication, environment).await?),
            _ => None,
        };
        let pipeline = read_pipeline(settings.pipeline.as_ref(), fetched, &settings.target)?;
        let pipeline = with_hash_key(pipeline, settings.hash_secret.as_deref(), authentication).await?;
        let target = AnyTarget::start(settings, &pipeline, authentication, environment).await?;
        let pipeline = pipeline.within(target.namespaces());
        let source = R::open(settings, authentication, environment)?;
        if source.is_none() && pipeline.counts() {
            let problem = "TIDELOCK_SOURCE is not set, and a route of the pipeline orders changes by a number of the item (`version`): what is older by number is read again; set it to where the items are, dynamodb: or mongodb://…";
            return Err(Fatal::new("Tidelock.Settings", problem));
        }
        let fence_life_ms = i64::try_from(settings.fence_days).unwrap_or(i64::MAX).saturating_mul(86_400_000);
        let queue = |setting, address: &Option<QueueAddress>| {
            address.clone().map(|address| AnyQueue::new(address, setting, authentication, environment)).transpose()
        };
        let dead_letters = queue("TIDELOCK_DEAD_LETTERS", &settings.dead_letters)?;
        let fallback = queue("TIDELOCK_FALLBACK", &settings.fallback)?;
        let bucket = settings.letters_bucket.clone();
        let bucket = bucket.map(|name| AnyBucket::new(name, "TIDELOCK_LETTERS_BUCKET", authentication, environment));
        let state = settings.state.clone();
        let state = state.map(|address| AnyState::new(address, authentication, environment)).transpose()?.map(Rc::new);
        let function = environment.get("AWS_LAMBDA_FUNCTION_NAME").unwrap_or("tidelock").to_owned();
        Ok(Self {
            function,
            pipeline,
            target,
            source,
            dead_letters,
            fallback,
            bucket: bucket.transpose()?,
            state,
            fence_life_ms,
            diary: None,
            patience: Cell::new(PATIENCE),
        })
    }

    /// The same, where changes are followed as they come.
    ///
    /// # Errors
    /// As of [`App::start`], and when changes are to be held and there is no queue for them.
    pub(crate) async fn following(environment: &Environment) -> Result<Self, Fatal> {
        let problem = "TIDELOCK_FALLBACK is not set, and a route of the pipeline holds its changes (`on_outage`)";
        Self::with_diary(environment).await?.with_fallback(problem)
    }

    /// The same, where nothing of a batch can come again alone and a stream must not wait: changes are held unless a route says
    /// that they are to be retried.
    ///
    /// # Errors
    /// As of [`App::following`].
    pub(crate) async fn moving_on(environment: &Environment) -> Result<Self, Fatal> {
        let app = Self::with_diary(environment).await?;
        let problem = "TIDELOCK_FALLBACK is not set: this function holds changes there while the target cannot be reached, for its mapping knows no partial answer and is disabled once its events expire; with `on_outage: retry` in every route of a pipeline it needs no such queue, and whole batches come again";
        Self { pipeline: app.pipeline.holding(), ..app }.with_fallback(problem)
    }

    async fn with_diary(environment: &Environment) -> Result<Self, Fatal> {
        let settings = read_settings(environment)?;
        let authentication = Authentication::new(&settings, environment);
        let app = Self::with(&settings, &authentication, environment).await?.located()?;
        Ok(Self { diary: app.state.clone().map(Diary::new), ..app })
    }

    /// Refuses a pipeline that holds changes where there is no queue for them.
    fn with_fallback(self, problem: &str) -> Result<Self, Fatal> {
        if self.fallback.is_none() && self.pipeline.has(|policy| policy.on_outage != OnOutage::Retry) {
            return Err(Fatal::new("Tidelock.Settings", problem));
        }
        Ok(self)
    }

    /// Reads one batch and delivers it.
    ///
    /// # Errors
    /// When the payload is no event of the source, or the batch must come again as a whole.
    pub(crate) async fn work(
        &self,
        payload: &[u8],
        invocation: &Invocation,
        reader: &Reader,
    ) -> Result<BatchResponse, Fatal> {
        let started = Instant::now();
        let batch = self.pipeline.decode(reader, payload, self.target.format());
        let batch = batch.map_err(|error| Fatal::new("Tidelock.Event", error.message))?;
        self.deliver(payload, &batch, started, invocation).await
    }

    /// Delivers a batch that has been read.
    ///
    /// # Errors
    /// When the batch must come again as a whole.
    pub(crate) async fn deliver(
        &self,
        payload: &[u8],
        batch: &Batch,
        started: Instant,
        invocation: &Invocation,
    ) -> Result<BatchResponse, Fatal> {
        let decoded = started.elapsed();
        let now_ms = now_ms();
        let at = Circumstances {
            function: &self.function,
            now_ms,
            started,
            deadline: invocation.deadline,
            patience: self.patience.get(),
        };
        let posts = Posts {
            dead_letters: self.dead_letters.as_ref(),
            fallback: self.fallback.as_ref(),
            bucket: self.bucket.as_ref(),
        };
        let source = self.source.as_ref();
        let state = self.state.as_deref();
        let report = deliver_located(payload, batch, &self.pipeline, &self.target, source, posts, state, at).await;
        // While the target is down, or a part of it, every batch tries it for a moment only.
        let passes = report.fates.iter().any(|fate| matches!(fate, Fate::Done(_)));
        let of_one = |cause: &Cause| matches!(cause, Cause::Buffered | Cause::Tombstone | Cause::LostRace);
        let down = report.fates.iter().any(|fate| matches!(fate, Fate::Held(cause) if !of_one(cause)));
        if passes || down {
            self.patience.set(if down { PROBE } else { PATIENCE });
        }
        let metrics = Metrics::new(batch, &report, now_ms, decoded, started.elapsed());
        emit(&self.function, &invocation.request_id, &metrics);
        report.answer.map_err(|why| Fatal::new("Tidelock.Batch", why))
    }

    /// Compares fences with the documents at their locations; see [`tidelock_core::fence`].
    ///
    /// # Errors
    /// When the target cannot be read or written: the next run begins where this one did.
    pub(crate) async fn sweep(&self, invocation: &Invocation, deadline: Instant) -> Result<Swept, Fatal> {
        let now_ms = now_ms();
        let call = Call { deadline, now_ms, truth: false };
        let swept = self.target.sweep(Window::at(now_ms, self.fence_life_ms), call).await;
        let swept =
            swept.map_err(|failure| Fatal::new("Tidelock.Sweep", format!("{failure}; {}", failure.cause.action())))?;
        emit_sweep(&self.function, &invocation.request_id, &swept);
        Ok(swept)
    }
}

pub(crate) fn read_settings(environment: &Environment) -> Result<Settings, Fatal> {
    let variables = environment.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    Settings::read(variables).map_err(|problems| Fatal::new("Tidelock.Settings", problems.to_string()))
}

/// The time, milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    i64::try_from(now).unwrap_or(i64::MAX)
}

/// The key of `hash` steps that a file holds.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn hash_key_of(path: &str) -> Result<String, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim_end_matches(['\n', '\r']).to_owned()),
        Err(error) => Err(format!("`{path}` cannot be read: {error}")),
    }
}

/// The pipeline with the key of its `hash` steps.
async fn with_hash_key(
    pipeline: Pipeline,
    secret: Option<&str>,
    authentication: &Authentication,
) -> Result<Pipeline, Fatal> {
    let refused = |problem: String| Fatal::new("Tidelock.Settings", format!("TIDELOCK_HASH_SECRET: {problem}"));
    if !pipeline.hashes() {
        return Ok(pipeline);
    }
    let Some(secret) = secret else {
        return Err(refused("a step of the pipeline hashes values, and no secret holds its key".to_owned()));
    };
    let key = match secret.strip_prefix("file:") {
        Some(path) => hash_key_of(path).map(Secret::new).map_err(refused)?,
        None => authentication.secret_text(secret).await.map_err(refused)?,
    };
    if key.expose().is_empty() {
        return Err(refused("the key is empty".to_owned()));
    }
    Ok(pipeline.with_hash_key(key.expose().as_bytes()))
}
