//! Recovery: what waits is applied, what would expire is sent anew, what is swept is swept.

use crate::app::{App, now_ms, read_settings};
use crate::authentication::Authentication;
use crate::metrics::{Recovered, emit_letters, emit_parked, emit_recovered};
use crate::remembered::AnyState;
use crate::source::AnyStreams;
use crate::waiting::{AnyBucket, AnyQueue};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidelock_core::fence::Swept;
use tidelock_core::letter::{parse_timestamp, timestamp};
use tidelock_core::queue::{Message, Queue as _, QueueFacts};
use tidelock_core::redrive::{
    Desk, Filter, Mode, Order, Outlets, PATIENCE, Redriven, Renewal, Survey, drain_queue, redrive_failures,
    redrive_messages, survey,
};
use tidelock_core::settings::{FailuresAddress, Settings};
use tidelock_core::source::KINDS;
use tidelock_core::state::{Leased, State as _, give_back, lease};
use tidelock_core::target::{Call, Store as _};
use tidelock_lambda::{Environment, Fatal, Invocation};

/// The name of the lease that keeps one redrive at a time.
const LEASE: &str = "lease/redrive";

/// Under this name the state remembers when queues were looked through.
const SURVEYED: &str = "redrive/surveyed";

/// Under this name the state remembers when the fallback queue was last seen empty.
const EMPTY: &str = "redrive/fallback-empty";

/// How often queues are looked through: days before anything in them could expire.
const SURVEY_EVERY_MS: i64 = 6 * 3_600_000;

/// How long the target may take to answer a ping.
const PING_TIME: Duration = Duration::from_secs(10);

/// What a lease is longer than the run.
const MARGIN: Duration = Duration::from_secs(30);

/// Where Lambda's on-failure records lie.
enum Failures {
    Bucket(AnyBucket, String),
    Queue(AnyQueue),
}

/// The parts of `redrive`, made once.
pub struct Recovery {
    app: App,
    failures: Option<Failures>,
    streams: Option<AnyStreams>,
}

/// What can be redriven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Held changes: `TIDELOCK_FALLBACK`.
    Fallback,
    /// Dead letters: `TIDELOCK_DEAD_LETTERS`.
    DeadLetters,
    /// Lambda's on-failure records: `TIDELOCK_FAILURES`.
    Failures,
}

/// A redrive on demand.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What is redriven, in this order.
    pub redrive: Vec<What>,
    /// `payload` (default) or `truth`.
    #[serde(default)]
    pub mode: Mode,
    /// Only told.
    #[serde(default)]
    pub dry_run: bool,
    /// Also what is older than fences live.
    #[serde(default)]
    pub force: bool,
    /// Messages at most, of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Any of these reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reason: Vec<String>,
    /// The source's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The record's key, or the target's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The letter's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letter_id: Option<String>,
    /// Failed first before this time (RFC 3339, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Failed first at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl Request {
    /// What is asked for, in the core's words.
    ///
    /// # Errors
    /// When a time cannot be read.
    pub fn order(&self) -> Result<Order, String> {
        let time = |name: &str, text: &Option<String>| match text.as_deref().map(|text| (text, parse_timestamp(text))) {
            Some((text, None)) => Err(format!("`{name}`: `{text}` is no time like 2026-01-31T23:59:59Z")),
            Some((_, time)) => Ok(time),
            None => Ok(None),
        };
        Ok(Order {
            filter: Filter {
                reasons: self.reason.clone(),
                source: self.source.clone(),
                key: self.key.clone(),
                id: self.letter_id.clone(),
                before_ms: time("before", &self.before)?,
                after_ms: time("after", &self.after)?,
            },
            mode: self.mode,
            dry_run: self.dry_run,
            force: self.force,
            limit: self.limit,
        })
    }
}

/// What a run on the schedule has done.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Another run has the lease; this one has done nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<String>,
    /// The target did not answer: nothing was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_down: Option<String>,
    /// The sweep of fences.
    #[serde(skip_serializing_if = "Option::is_none")]
    sweep: Option<Sweep>,
    /// What was redriven.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    redriven: BTreeMap<What, Redriven>,
    /// What waits still.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    waiting: BTreeMap<What, Waiting>,
}

/// What the sweep has done; see [`Swept`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Sweep {
    compared: usize,
    removed: usize,
    expired: usize,
    complete: bool,
}

impl From<Swept> for Sweep {
    fn from(Swept { compared, removed, expired, complete }: Swept) -> Self {
        Self { compared, removed, expired, complete }
    }
}

/// What a queue holds.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Waiting {
    /// Messages, about.
    pub(crate) messages: u64,
    /// By reason, where the queue has been looked through.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) reasons: BTreeMap<String, usize>,
    /// When the oldest of them failed first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oldest: Option<String>,
    #[serde(skip)]
    pub(crate) oldest_ms: Option<i64>,
    /// Messages that cannot be read.
    pub(crate) unreadable: usize,
    /// Sent anew, because they would have expired.
    pub(crate) renewed: usize,
    /// Why this is not the whole truth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trouble: Option<String>,
}

impl Waiting {
    fn of(facts: Result<QueueFacts, String>, survey: Option<Survey>) -> Self {
        let (messages, trouble) = match facts {
            Ok(facts) => (facts.waiting + facts.hidden + facts.delayed, None),
            Err(why) => (0, Some(why)),
        };
        let survey = survey.unwrap_or_default();
        Self {
            messages,
            reasons: survey.reasons,
            oldest: survey.oldest_ms.map(timestamp),
            oldest_ms: survey.oldest_ms,
            unreadable: survey.unreadable,
            renewed: survey.renewed,
            trouble: survey.trouble.or(trouble),
        }
    }
}

impl Recovery {
    /// Makes the parts from the environment.
    ///
    /// # Errors
    /// When settings are wrong (all problems at once) or a client cannot be made.
    pub async fn start(environment: &Environment) -> Result<Self, Fatal> {
        let settings: Settings = read_settings(environment)?;
        let authentication = Authentication::new(&settings, environment);
        let app = App::with(&settings, &authentication, environment).await?.located()?;
        let failures = match settings.failures.clone() {
            None => None,
            Some(FailuresAddress::Queue(queue)) => {
                Some(Failures::Queue(AnyQueue::new(queue, "TIDELOCK_FAILURES", &authentication, environment)?))
            }
            Some(FailuresAddress::Bucket(bucket, prefix)) => {
                let bucket = AnyBucket::new(bucket, "TIDELOCK_FAILURES", &authentication, environment)?;
                Some(Failures::Bucket(bucket, prefix))
            }
        };
        let streams = AnyStreams::start(&authentication, environment)?;
        Ok(Self { app, failures, streams })
    }

    fn desk<'a>(
        &'a self,
        watch: &'a dyn Fn(&Redriven),
    ) -> Desk<'a, crate::targets::AnyTarget, crate::source::AnySource, AnyState> {
        Desk {
            pipeline: &self.app.pipeline,
            target: &self.app.target,
            source: self.app.source.as_ref(),
            state: self.app.state.as_deref(),
            function: &self.app.function,
            fence_life_ms: self.app.fence_life_ms,
            kinds: KINDS,
            patience: PATIENCE,
            clock: Instant::now,
            watch,
        }
    }

    fn outlets(&self) -> Outlets<'_, AnyQueue, AnyBucket, AnyStreams> {
        Outlets {
            dead_letters: self.app.dead_letters.as_ref(),
            bucket: self.app.bucket.as_ref(),
            streams: self.streams.as_ref(),
        }
    }

    fn call(&self, deadline: Instant) -> Call {
        Call { deadline, now_ms: now_ms(), truth: self.app.source.is_some() }
    }

    /// Redrives what an order says; nothing where the setting is left out.
    async fn redrive(
        &self,
        what: What,
        order: &Order,
        deadline: Instant,
        watch: &dyn Fn(&Redriven),
    ) -> Option<Redriven> {
        let (desk, outlets, call) = (self.desk(watch), self.outlets(), self.call(deadline));
        match (what, &self.failures) {
            (What::Fallback, _) => Some(drain_queue(&desk, self.app.fallback.as_ref()?, outlets, order, call).await),
            (What::DeadLetters, _) => {
                Some(drain_queue(&desk, self.app.dead_letters.as_ref()?, outlets, order, call).await)
            }
            (What::Failures, Some(Failures::Queue(queue))) => {
                Some(drain_queue(&desk, queue, outlets, order, call).await)
            }
            (What::Failures, Some(Failures::Bucket(bucket, prefix))) => {
                Some(redrive_failures(&desk, bucket, prefix, outlets, order, call).await)
            }
            (What::Failures, None) => None,
        }
    }

    /// Takes the lease, works, and gives it back. Without a state everybody works.
    async fn alone<O>(
        &self,
        invocation: &Invocation,
        work: impl AsyncFnOnce() -> Result<O, Fatal>,
    ) -> Result<Result<O, String>, Fatal> {
        let Some(state) = self.app.state.as_deref() else { return work().await.map(Ok) };
        let time = invocation.deadline.saturating_duration_since(Instant::now()) + MARGIN;
        let taken = lease(state, LEASE, &invocation.request_id, now_ms(), time, invocation.deadline).await;
        let lease = match taken {
            Ok(Leased::Ours(lease)) => Some(lease),
            Ok(Leased::Taken { owner, until_ms }) => {
                return Ok(Err(format!(
                    "another run ({owner}) is at work, until {} at the latest",
                    timestamp(until_ms)
                )));
            }
            // It is for economy; what it would have kept from happening harms nothing.
            Err(why) => {
                tracing::warn!(why, "the lease cannot be taken; going on without it");
                None
            }
        };
        let result = work().await;
        if let Some(lease) = lease
            && let Err(why) = give_back(state, &lease, invocation.deadline).await
        {
            tracing::warn!(why, "the lease cannot be given back; it runs out by itself");
        }
        result.map(Ok)
    }

    /// A run on the schedule.
    ///
    /// # Errors
    /// When fences could not be swept although the target answers.
    pub async fn scheduled(&self, invocation: &Invocation) -> Result<Report, Fatal> {
        match self.alone(invocation, async || self.run(invocation).await).await? {
            Ok(report) => Ok(report),
            Err(why) => Ok(Report { skipped: Some(why), ..Report::default() }),
        }
    }

    async fn run(&self, invocation: &Invocation) -> Result<Report, Fatal> {
        let began = Instant::now();
        let left = invocation.deadline.saturating_duration_since(began);
        let mut report = Report::default();
        // What would expire comes first: it can be kept whatever the target does.
        self.look_through(&mut report, began + left / 4).await;
        let ping = self.app.target.ping(invocation.deadline.min(Instant::now() + PING_TIME)).await;
        let mut swept = Ok(());
        match ping {
            Err(failure) => report.target_down = Some(format!("{failure}; {}", failure.cause.action())),
            Ok(()) => {
                match self.app.sweep(invocation, began + left / 2).await {
                    Ok(done) => report.sweep = Some(done.into()),
                    Err(error) => swept = Err(error),
                }
                for what in [What::Fallback, What::Failures] {
                    if let Some(redriven) = self.redrive(what, &Order::default(), invocation.deadline, &|_| {}).await {
                        self.tell_parked([&redriven]);
                        report.redriven.insert(what, redriven);
                    }
                }
            }
        }
        let total = |count: fn(&Redriven) -> usize| report.redriven.values().map(count).sum();
        let recovered = Recovered {
            redriven: total(|done| done.applied + done.stale + done.filtered),
            parked: total(|done| done.parked.values().sum()),
            kept: total(|done| done.kept) + report.waiting.values().map(|waiting| waiting.unreadable).sum::<usize>(),
            resent: report.waiting.values().map(|waiting| waiting.renewed).sum(),
            held_waiting: report.waiting.get(&What::Fallback).map_or(0, |waiting| waiting.messages),
            letters_waiting: report.waiting.get(&What::DeadLetters).map_or(0, |waiting| waiting.messages),
            target_down: usize::from(report.target_down.is_some()),
        };
        emit_recovered(&self.app.function, &invocation.request_id, &recovered);
        for (what, waiting) in &report.waiting {
            emit_letters(&self.app.function, *what, waiting, now_ms());
        }
        swept.map(|()| report)
    }

    /// Looks through the queues from time to time, and says what they hold.
    async fn look_through(&self, report: &mut Report, deadline: Instant) {
        let due = self.survey_is_due(deadline).await;
        let failures = match &self.failures {
            Some(Failures::Queue(queue)) => Some(queue),
            _ => None,
        };
        let queues = [
            (What::DeadLetters, self.app.dead_letters.as_ref()),
            (What::Fallback, self.app.fallback.as_ref()),
            (What::Failures, failures),
        ];
        for (what, queue) in queues {
            let Some(queue) = queue else { continue };
            let facts = queue.facts(deadline).await;
            let retention = facts.as_ref().ok().and_then(|facts| facts.retention_ms);
            let waits = facts.as_ref().is_ok_and(|facts| facts.waiting > 0);
            let since = match (what, &facts) {
                (What::Fallback, Ok(facts)) => self.waiting_since(queue, facts, deadline).await,
                _ => None,
            };
            let looked = match due && waits && !is_young(since, retention) {
                true => {
                    let renewal = retention.map(|retention| Renewal::at(now_ms(), retention));
                    Some(survey(queue, self.app.bucket.as_ref(), renewal, Instant::now, deadline, |_, _| true).await)
                }
                false => None,
            };
            let mut waiting = Waiting::of(facts, looked);
            // Not older than this, where nobody has looked.
            waiting.oldest_ms = waiting.oldest_ms.or(since);
            report.waiting.insert(what, waiting);
        }
        let whole = report.waiting.values().all(|waiting| waiting.trouble.is_none());
        if due && whole {
            self.surveyed(deadline).await;
        }
    }

    /// When the fallback queue was last seen empty: nothing in it is older. `None` when it is empty, or nobody remembers.
    async fn waiting_since(&self, queue: &AnyQueue, facts: &QueueFacts, deadline: Instant) -> Option<i64> {
        let state = self.app.state.as_deref()?;
        let known = state.read(EMPTY, deadline).await.ok()?;
        if facts.waiting + facts.hidden + facts.delayed > 0 || !self.gives_nothing(queue, deadline).await {
            return known?.value.parse().ok();
        }
        let revision = known.as_ref().map(|entry| entry.revision.as_str());
        if let Err(why) = state.write(EMPTY, &now_ms().to_string(), revision, deadline).await {
            tracing::warn!(
                why,
                "that the fallback queue is empty is not remembered; it will be looked through too early"
            );
        }
        None
    }

    /// Whether a queue that counts nothing gives nothing, either: its counts are
    /// [approximate](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueAttributes.html).
    async fn gives_nothing(&self, queue: &AnyQueue, deadline: Instant) -> bool {
        match queue.take(1, Duration::from_secs(1), deadline).await {
            Ok(found) => {
                let receipts: Vec<String> = found.into_iter().map(|message| message.receipt).collect();
                if !receipts.is_empty() {
                    queue.hide(&receipts, Duration::ZERO, deadline).await;
                }
                receipts.is_empty()
            }
            Err(_) => false,
        }
    }

    async fn survey_is_due(&self, deadline: Instant) -> bool {
        let Some(state) = self.app.state.as_deref() else { return true };
        let last =
            state.read(SURVEYED, deadline).await.ok().flatten().and_then(|entry| entry.value.parse::<i64>().ok());
        last.is_none_or(|last| !(0..SURVEY_EVERY_MS).contains(&(now_ms() - last)))
    }

    async fn surveyed(&self, deadline: Instant) {
        let Some(state) = self.app.state.as_deref() else { return };
        let known = state.read(SURVEYED, deadline).await.ok().flatten();
        let revision = known.as_ref().map(|entry| entry.revision.as_str());
        if let Err(why) = state.write(SURVEYED, &now_ms().to_string(), revision, deadline).await {
            tracing::warn!(why, "when the queues were looked through is not remembered; the next run does it again");
        }
    }

    /// Redrives on demand; `watch` is told how far it has come.
    ///
    /// # Errors
    /// When the request cannot be carried out as it is: a setting is missing, a time cannot be read, another run is at work.
    pub async fn on_demand(
        &self,
        request: &Request,
        invocation: &Invocation,
        watch: &dyn Fn(&Redriven),
    ) -> Result<BTreeMap<What, Redriven>, Fatal> {
        let refused = |why: String| Fatal::new("Tidelock.Request", why);
        let order = request.order().map_err(refused)?;
        if request.redrive.is_empty() {
            return Err(refused("`redrive` names nothing; allowed: fallback, dead-letters, failures".to_owned()));
        }
        let work = async || {
            let mut all = BTreeMap::new();
            for &what in &request.redrive {
                let redriven = self.redrive(what, &order, invocation.deadline, watch).await;
                let setting = match what {
                    What::Fallback => "TIDELOCK_FALLBACK",
                    What::DeadLetters => "TIDELOCK_DEAD_LETTERS",
                    What::Failures => "TIDELOCK_FAILURES",
                };
                all.insert(what, redriven.ok_or_else(|| refused(format!("{setting} is not set")))?);
            }
            Ok(all)
        };
        self.alone(invocation, work).await?.map_err(refused)
    }

    /// Tells of letters by reason, as metrics.
    pub(crate) fn tell_parked<'r>(&self, redriven: impl IntoIterator<Item = &'r Redriven>) {
        redriven.into_iter().for_each(|redriven| emit_parked(&self.app.function, &redriven.parked));
    }

    /// What would be sent anew of messages that Lambda has taken. Young ones need no question.
    async fn renewal(&self, messages: &[Message], deadline: Instant) -> Option<Renewal> {
        let queue = self.app.fallback.as_ref()?;
        let a_day_ago = now_ms() - 86_400_000;
        messages.iter().find(|message| (1..a_day_ago).contains(&message.sent_ms))?;
        let retention = queue.facts(deadline).await.ok()?.retention_ms?;
        Some(Renewal::at(now_ms(), retention))
    }

    /// Sees to messages of the fallback queue, which Lambda reads: the ids of those that must come again.
    pub async fn messages(&self, messages: Vec<Message>, invocation: &Invocation) -> (Vec<String>, Redriven) {
        let ids: Vec<String> = messages.iter().map(|message| message.id.clone()).collect();
        let (desk, outlets, call) = (self.desk(&|_| {}), self.outlets(), self.call(invocation.deadline));
        let order = Order::default();
        let renewal = self.renewal(&messages, invocation.deadline).await;
        let (done, redriven) =
            redrive_messages(&desk, messages, self.app.fallback.as_ref(), renewal, outlets, &order, call).await;
        self.tell_parked([&redriven]);
        (ids.into_iter().zip(done).filter(|(_, done)| !done).map(|(id, _)| id).collect(), redriven)
    }
}

/// Nothing in a queue that was empty then is old enough to expire soon. What is held is whole batches, which nobody should
/// download in vain, again and again while an outage lasts.
fn is_young(since: Option<i64>, retention_ms: Option<i64>) -> bool {
    // Before that, `Renewal` sends nothing anew.
    let enough = |retention: i64| retention / 14 * 9;
    since.zip(retention_ms).is_some_and(|(since, retention)| now_ms() - since < enough(retention))
}
