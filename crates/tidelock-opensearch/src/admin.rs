//! Management of indices, for people: what there is, what the pipeline wants, and what lies between. Functions do not use it.
//!
//! ```text
//! GET NAME ─▶ Standing ─ plan ─▶ steps (each one request) ─ carry_out ─▶ done, or refused by the server
//!                             └▶ refusals (with the way out), notes
//! ```

mod alias;
mod mapping;
mod plan;
mod settings;
mod state;

pub use alias::{Move, unusable_alias};
pub(crate) use mapping::expanded;
pub use plan::{Plan, Refusal, Step, index_plan, template_name, template_plan};
pub(crate) use settings::flat as flat_settings;
pub use state::{Standing, State, standing};

use crate::error::{by_status, classify};
use crate::index::{path_segment, request};
use crate::pace::pause;
use crate::{Response, Transport, answer::whole_error};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::pipeline::{Index, Pipeline};

/// How long one request may take, with what it is repeated for. Creating an index waits for its shards.
const PATIENCE: Duration = Duration::from_secs(60);

/// An OpenSearch whose indices are managed.
#[derive(Debug)]
pub struct Admin<T> {
    transport: T,
}

/// An answer that the server gave, whatever it says.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: Value,
    /// What it means where it is no success.
    failure: Option<Failure>,
}

impl Answer {
    fn done(self) -> Result<Value, Failure> {
        self.failure.map_or(Ok(self.body), Err)
    }
}

impl<T: Transport> Admin<T> {
    /// Management over `transport`.
    #[must_use]
    pub fn new(transport: T) -> Self {
        Self { transport }
    }

    /// Where it is.
    pub fn place(&self) -> &str {
        self.transport.place()
    }

    async fn ask(&self, method: &'static str, path: &str, body: Option<&Value>) -> Result<Answer, Failure> {
        let deadline = Instant::now() + PATIENCE;
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut pauses = 0;
        loop {
            let answer = self.transport.send(request(method, path.to_owned(), body.clone()), deadline).await?;
            let answer = self.read(&answer);
            let busy = |failure: &Failure| matches!(failure.cause, Cause::Throttled | Cause::Unavailable);
            if !answer.failure.as_ref().is_some_and(busy) || !pause(pauses, deadline).await {
                return Ok(answer);
            }
            pauses += 1;
        }
    }

    fn read(&self, response: &Response) -> Answer {
        let status = response.status;
        let body = serde_json::from_slice(&response.body);
        let failure = match &body {
            Ok(_) if (200..300).contains(&status) => None,
            _ => Some(match whole_error(&response.body) {
                Some((kind, reason)) => Failure::new(classify(status, &kind, &reason), reason),
                None => {
                    let text =
                        String::from_utf8_lossy(response.body.get(..response.body.len().min(200)).unwrap_or_default());
                    let cause = if status == 200 { Cause::UnexpectedAnswer } else { by_status(status) };
                    Failure::new(cause, format!("{}: status {status}: {text}", self.transport.place()))
                }
            }),
        };
        Answer { status, body: body.unwrap_or_default(), failure }
    }

    /// What a name is.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn standing(&self, name: &str) -> Result<Standing, Failure> {
        let path = format!("/{}?flat_settings=true&include_defaults=true", path_segment(name));
        let answer = self.ask("GET", &path, None).await?;
        if answer.status == 404 {
            return Ok(Standing::Missing);
        }
        Ok(standing(name, &answer.done()?))
    }

    /// The indices whose names match a pattern, and the data streams.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn matching(&self, pattern: &str) -> Result<(Vec<State>, BTreeSet<String>), Failure> {
        let segment = path_segment(pattern).replace("%2A", "*");
        let answer = self.ask("GET", &format!("/{segment}?flat_settings=true&include_defaults=true"), None).await?;
        if answer.status == 404 {
            return Ok(Default::default());
        }
        let body = answer.done()?;
        let indices = body.as_object().into_iter().flatten();
        let (mut states, mut streams) = (Vec::new(), BTreeSet::new());
        for (name, index) in indices {
            match index.get("data_stream").and_then(Value::as_str) {
                Some(stream) => drop(streams.insert(stream.to_owned())),
                None => states.push(State::read(name, index)),
            }
        }
        Ok((states, streams))
    }

    /// The index with the parameters of its fields that nobody has set.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn with_fields(&self, mut state: State) -> Result<State, Failure> {
        let path = format!("/{}/_mapping/field/*?include_defaults=true", path_segment(&state.name));
        let body = self.ask("GET", &path, None).await?.done()?;
        state.learn_fields(&body);
        Ok(state)
    }

    /// Which indices hold each of these aliases.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn holders<'a>(
        &self,
        aliases: impl IntoIterator<Item = &'a String>,
    ) -> Result<BTreeMap<String, Vec<String>>, Failure> {
        let mut holders = BTreeMap::new();
        for alias in aliases {
            let answer = self.ask("GET", &format!("/_alias/{}", path_segment(alias)), None).await?;
            if answer.status != 404 {
                let body = answer.done()?;
                holders.insert(
                    alias.clone(),
                    body.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect(),
                );
            }
        }
        Ok(holders)
    }

    /// What has to be done for all indices of a pipeline.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn plans(&self, pipeline: &Pipeline, salvage: bool) -> Result<Vec<Plan>, Failure> {
        let mut plans = Vec::new();
        let mut seen = BTreeSet::new();
        for index in pipeline.indexes().iter() {
            if index.is_template() {
                let found = self.template(&template_name(&index.name)).await?;
                plans.push(template_plan(index, found.as_ref(), salvage));
                let (states, _) = self.matching(&index.name).await?;
                for state in states {
                    let wanted = pipeline.indexes().of(&state.name).filter(|wanted| wanted.name == index.name);
                    if wanted.is_some() && seen.insert(state.name.clone()) {
                        let state = self.with_fields(state).await?;
                        plans.push(index_plan(&state.name, index, Some(&state), &BTreeMap::new(), salvage));
                    }
                }
            } else if seen.insert(index.name.clone()) {
                plans.push(self.plan(index, salvage).await?);
            }
        }
        let (places, _) = pipeline.targets();
        for place in places {
            if place.contains('*') {
                let (_, streams) = self.matching(place).await?;
                plans.extend(streams.iter().map(|stream| Plan::unsuitable(stream, &Standing::stream(stream))));
            } else if seen.insert(place.to_owned()) {
                let standing = self.standing(place).await?;
                plans.extend(standing.problem().map(|problem| Plan::unsuitable(place, &problem)));
            }
        }
        Ok(plans)
    }

    /// What has to be done for one index.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn plan(&self, index: &Index, salvage: bool) -> Result<Plan, Failure> {
        let name = index.name.as_str();
        let state = match self.standing(name).await? {
            Standing::Missing => None,
            Standing::Index(state) => Some(self.with_fields(*state).await?),
            other => {
                let behind = format!("`{name}` is an alias; `indexes` describes indices themselves");
                return Ok(Plan::unsuitable(name, &other.problem().unwrap_or(behind)));
            }
        };
        let holders = self.holders(index.aliases.keys()).await?;
        Ok(index_plan(name, index, state.as_ref(), &holders, salvage))
    }

    async fn template(&self, name: &str) -> Result<Option<Value>, Failure> {
        let answer =
            self.ask("GET", &format!("/_index_template/{}?flat_settings=true", path_segment(name)), None).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        let mut body = answer.done()?;
        Ok(body.pointer_mut("/index_templates/0/index_template").map(Value::take))
    }

    /// Does one step; the server's words where it refuses it.
    ///
    /// # Errors
    /// When the server cannot be asked, or does not let the caller in.
    pub async fn carry_out(&self, step: &Step) -> Result<Result<(), String>, Failure> {
        let answer = self.ask("PUT", &step.path, Some(&step.body)).await?;
        match (answer.status, answer.failure) {
            (_, None) => Ok(Ok(())),
            (400, Some(failure)) if step.creates && failure.detail.contains("already exists") => {
                Ok(Err(format!("{}: somebody has made it meanwhile; run this again", failure.detail)))
            }
            (400, Some(failure)) => Ok(Err(failure.detail)),
            (_, Some(failure)) => Err(failure),
        }
    }

    /// How many documents an index, or an alias, holds, those included that have just been written.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn count(&self, name: &str) -> Result<u64, Failure> {
        let segment = path_segment(name);
        self.ask("POST", &format!("/{segment}/_refresh"), None).await?.done()?;
        let body = self.ask("GET", &format!("/{segment}/_count"), None).await?.done()?;
        let unread = || Failure::new(Cause::UnexpectedAnswer, "the answer of _count cannot be read");
        body.get("count").and_then(Value::as_u64).ok_or_else(unread)
    }

    /// Moves an alias, in one request: no search sees it nowhere or twice.
    ///
    /// # Errors
    /// When the server refuses it, or cannot be asked.
    pub async fn move_alias(&self, change: &Move) -> Result<(), Failure> {
        self.ask("POST", "/_aliases", Some(&change.body())).await?.done().map(drop)
    }
}

/// Members of a JSON object; none of anything else.
fn object(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}
