//! The handler of `backfill`: a slice of a scan, for a state machine that goes on where it ends.

use crate::backfill::{Backfiller, Job, Pace, Segmented};
use crate::metrics::emit_parked;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tidelock_lambda::{Environment, Fatal, Handler, Invocation};

/// How long a slice waits for a target that takes nothing: whoever invokes it waits for less.
const PATIENCE: Duration = Duration::from_secs(60);

/// Works on a segment until its time is nearly over, and says where to go on.
pub struct BackfillSlice(Backfiller);

/// What is to be done: a survey, or a slice.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    /// A table's name, or `database.collection`.
    origin: String,
    /// Into how many segments the scan is divided.
    segments: u32,
    /// Which segment, from 0; without it the event asks for a survey.
    #[serde(default)]
    segment: Option<u32>,
    /// Where the slice begins: as the answer before it said, or at the segment's beginning.
    #[serde(default)]
    position: Option<String>,
    /// What the survey answered. May be left out for tables of DynamoDB, and for one segment.
    #[serde(default)]
    job: Option<Job>,
    /// Read capacity units a second that this segment may use.
    #[serde(default)]
    rcu: Option<f64>,
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// Of a survey: goes into every slice's event.
    Survey {
        /// What is scanned.
        job: Job,
    },
    /// Of a slice.
    Slice(Segmented),
}

impl Handler for BackfillSlice {
    type Answer = Answer;

    async fn start(environment: &Environment) -> Result<Self, Fatal> {
        Backfiller::start(environment).await.map(Self)
    }

    async fn handle(&self, event: Bytes, invocation: Invocation) -> Result<Answer, Fatal> {
        let wrong = |why: String| Fatal::new("Tidelock.Request", why);
        let event: Event = serde_json::from_slice(&event).map_err(|error| {
            wrong(format!(
                "the event cannot be read: {error}; it must be like {{\"origin\":\"mytable\",\"segments\":8,\"segment\":0,\"position\":null}}"
            ))
        })?;
        let job = match event.job {
            Some(job) if job.origin == event.origin && job.segments == event.segments => job,
            Some(_) => return Err(wrong("`job` is of another origin, or of other segments".to_owned())),
            None if event.segment.is_some() && event.segments > 1 && !self.0.is_repeatable() => {
                return Err(wrong(
                    "`job` is missing: invoke once without `segment`, and give what it answers to every segment"
                        .to_owned(),
                ));
            }
            None => self.0.survey(&event.origin, event.segments, invocation.deadline).await?,
        };
        let Some(segment) = event.segment else { return Ok(Answer::Survey { job }) };
        if segment >= event.segments {
            return Err(wrong(format!("segment {segment} of {}: they are counted from 0", event.segments)));
        }
        let began = Segmented { position: event.position, ..Segmented::default() };
        let pace = Pace::new(event.rcu);
        let time = (invocation.deadline, PATIENCE);
        let done = self.0.segment(&job, segment, began.clone(), &pace, time, async |_| {}).await;
        emit_parked(&self.0.app.function, &done.counts.reasons);
        match &done.stopped {
            // Whoever has come on says how far; who has not fails, and is invoked again after a while.
            Some(why) if done.counts == began.counts => Err(Fatal::new("Tidelock.Backfill", why.clone())),
            _ => Ok(Answer::Slice(done)),
        }
    }
}
