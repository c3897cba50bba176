//! A custom resource of CloudFormation: change streams that come and go with a stack.
//!
//! [Requests](https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-requesttypes.html). CloudFormation
//! deletes a resource whose physical id changes: so the id is made of the scope alone, and an update to another scope is
//! followed by the delete of the one before.

use super::report::{explained, note};
use super::wish::{RESOURCE_NAMES, Wish};
use super::{EnableChangeStreams, Trouble, reply};
use aws_lambda_events::cloudformation::{
    CloudFormationCustomResourceResponse, CloudFormationCustomResourceResponseStatus as Status,
};
use futures_util::FutureExt as _;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};
use tidelock_core::cause::{Cause, Failure};
use tidelock_lambda::Fatal;
use tidelock_mongodb::Scope;

/// Properties besides those of the wish.
const OTHERS: [&str; 3] = ["ServiceToken", "ServiceTimeout", ON_DELETE];

const ON_DELETE: &str = "OnDelete";

/// What no scope is called: nothing was done, and nothing is to be undone.
const NOTHING: &str = "change-streams/none";

/// CloudFormation takes 4096 bytes in all.
const MAX_REASON: usize = 1_000;

/// Most time that is kept to answer.
const ANSWER_TIME: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Create,
    Update,
    Delete,
}

/// A request. Whoever has sent it waits for an answer, whatever else it holds.
#[derive(Debug)]
pub(super) struct ResourceRequest<'e> {
    event: &'e Map<String, Value>,
    url: &'e str,
}

/// How it ended: why, if that is worth a word; the physical id; what `Fn::GetAtt` gives.
struct Outcome {
    status: Status,
    reason: Option<String>,
    id: String,
    data: HashMap<String, String>,
}

impl<'e> ResourceRequest<'e> {
    /// The request that an event is; `None` where it is another kind of event.
    pub(super) fn of(event: &'e Map<String, Value>) -> Option<Self> {
        let url = event.get("ResponseURL")?.as_str()?;
        Some(Self { event, url })
    }

    fn text(&self, name: &str) -> &'e str {
        self.event.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn kind(&self) -> Result<Kind, String> {
        match self.text("RequestType") {
            "Create" => Ok(Kind::Create),
            "Update" => Ok(Kind::Update),
            "Delete" => Ok(Kind::Delete),
            other => Err(format!("RequestType `{other}` is none of Create, Update and Delete")),
        }
    }

    /// The id that the resource has had so far.
    fn known_id(&self) -> String {
        match self.text("PhysicalResourceId") {
            "" => NOTHING.to_owned(),
            id => id.to_owned(),
        }
    }

    /// What the properties ask for, and whether it is to be undone when the resource is deleted.
    fn wish(&self) -> Result<(Wish, bool), Vec<String>> {
        let Some(properties) = self.event.get("ResourceProperties").and_then(Value::as_object) else {
            return Err(vec!["the request has no ResourceProperties".to_owned()]);
        };
        let undo = match properties.get(ON_DELETE).and_then(Value::as_str) {
            None if !properties.contains_key(ON_DELETE) => Ok(false),
            Some("keep") => Ok(false),
            Some("disable") => Ok(true),
            _ => Err(format!("`{ON_DELETE}` is neither keep nor disable")),
        };
        match (Wish::read(properties, &RESOURCE_NAMES, &OTHERS, None), undo) {
            (Ok(wish), Ok(undo)) => Ok((wish, undo)),
            (Ok(_), Err(problem)) => Err(vec![problem]),
            (Err(problems), undo) => Err(problems.into_iter().chain(undo.err()).collect()),
        }
    }
}

/// The id of a scope: the same whenever it is asked for.
fn physical_id(scope: &Scope) -> String {
    let name = |name: &str| if name.is_empty() { "*".to_owned() } else { name.to_owned() };
    format!("change-streams/{}/{}", name(scope.database()), name(scope.collection()))
}

/// There is no cluster any more, or none of what was enabled.
fn is_gone(failure: &Failure) -> bool {
    matches!(failure.cause, Cause::Unreachable | Cause::TimedOut | Cause::Deadline | Cause::TargetMissing)
}

impl Outcome {
    fn done(id: String, reason: Option<String>) -> Self {
        Self { status: Status::Success, reason, id, data: HashMap::new() }
    }

    fn failed(id: String, reason: impl Into<String>) -> Self {
        Self { status: Status::Failed, reason: Some(reason.into()), id, data: HashMap::new() }
    }

    fn response(self, request: &ResourceRequest<'_>) -> CloudFormationCustomResourceResponse {
        let mut response = CloudFormationCustomResourceResponse::default();
        response.status = self.status;
        response.reason = self.reason.map(|reason| reason.chars().take(MAX_REASON).collect());
        response.physical_resource_id = self.id;
        response.stack_id = request.text("StackId").to_owned();
        response.request_id = request.text("RequestId").to_owned();
        response.logical_resource_id = request.text("LogicalResourceId").to_owned();
        response.data = self.data;
        response
    }
}

impl EnableChangeStreams {
    /// Does what a resource asks for, and tells CloudFormation.
    ///
    /// # Errors
    /// When CloudFormation cannot be told: Lambda invokes the function again.
    pub(super) async fn resource(
        &self,
        request: &ResourceRequest<'_>,
        deadline: Instant,
    ) -> Result<CloudFormationCustomResourceResponse, Fatal> {
        let left = deadline.saturating_duration_since(Instant::now());
        let until = deadline.checked_sub((left * 2 / 5).min(ANSWER_TIME)).unwrap_or(deadline);
        let work = AssertUnwindSafe(self.outcome(request, until)).catch_unwind();
        let outcome = match tokio::time::timeout_at(until.into(), work).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Outcome::failed(request.known_id(), "the function has failed; see its log"),
            Err(_) => {
                let reason = "the cluster has not answered in the function's time: raise the function's timeout, or see \
                              whether it can reach the cluster";
                Outcome::failed(request.known_id(), reason)
            }
        };
        let response = outcome.response(request);
        if response.status == Status::Failed {
            tracing::error!(reason = response.reason, "the resource has failed");
        }
        reply::deliver(request.url, &response, deadline).await.map_err(|why| Fatal::new("Tidelock.Answer", why))?;
        Ok(response)
    }

    async fn outcome(&self, request: &ResourceRequest<'_>, deadline: Instant) -> Outcome {
        let kind = match request.kind() {
            Ok(kind) => kind,
            Err(problem) => return Outcome::failed(request.known_id(), problem),
        };
        let (mut wish, undo) = match request.wish() {
            Ok(wish) => wish,
            // What cannot be read has never been enabled.
            Err(_) if kind == Kind::Delete => return Outcome::done(request.known_id(), None),
            Err(problems) => return Outcome::failed(request.known_id(), problems.join("; ")),
        };
        if kind == Kind::Delete {
            // A create that was refused is deleted, too.
            if !undo || !wish.enable || request.known_id() == NOTHING {
                return Outcome::done(request.known_id(), None);
            }
            wish.enable = false;
        }
        // A mapping can be made for a collection whose changes somebody enables later.
        wish.create = kind != Kind::Delete;
        match self.set(&wish, deadline).await {
            Ok(state) => {
                let id = if kind == Kind::Delete { request.known_id() } else { physical_id(&wish.scope) };
                let data = HashMap::from([
                    ("Enabled".to_owned(), state.enabled.to_string()),
                    ("Created".to_owned(), state.created.to_string()),
                    ("AlwaysOn".to_owned(), state.listed.is_none().to_string()),
                ]);
                Outcome { data, ..Outcome::done(id, note(&wish, &state)) }
            }
            Err(Trouble::Cluster(failure)) if kind == Kind::Delete && is_gone(&failure) => {
                let reason = format!("{} could not be disabled and is left as it is: {}", wish.scope, failure.detail);
                tracing::warn!("{reason}");
                Outcome::done(request.known_id(), Some(reason))
            }
            Err(Trouble::Cluster(failure)) => Outcome::failed(request.known_id(), explained(&failure)),
            Err(Trouble::Settings(fatal)) => Outcome::failed(request.known_id(), fatal.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(kind: &str, properties: Value) -> Map<String, Value> {
        let event = json!({
            "RequestType": kind, "ResponseURL": "https://h/p?q", "StackId": "s", "RequestId": "r",
            "LogicalResourceId": "l", "PhysicalResourceId": "change-streams/d/c", "ResourceProperties": properties,
        });
        event.as_object().expect("an object").clone()
    }

    fn outcome(event: &Map<String, Value>) -> Outcome {
        let function = EnableChangeStreams {
            streams: Err(Fatal::new("Tidelock.Settings", "TIDELOCK_SOURCE is not set")),
            default: None,
        };
        let request = ResourceRequest::of(event).expect("a request");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(function.outcome(&request, Instant::now() + Duration::from_secs(1)))
    }

    #[test]
    fn ids_tell_scopes_apart() {
        let id = |database: &str, collection: &str| physical_id(&Scope::new(database, collection).expect("a scope"));
        assert_eq!(id("d", "c"), "change-streams/d/c");
        assert_eq!(id("d", ""), "change-streams/d/*");
        assert_eq!(id("", ""), "change-streams/*/*");
    }

    #[test]
    fn wrong_settings_and_properties_are_told_and_never_keep_a_stack_from_being_deleted() {
        let good = json!({"ServiceToken": "t", "Database": "d", "Collection": "c", "Enable": "true"});
        let disabled = json!({"ServiceToken": "t", "Database": "d", "Collection": "c", "OnDelete": "disable"});
        let bad = json!({"ServiceToken": "t", "Databse": "d", "OnDelete": "maybe"});
        for (kind, properties, status, words) in [
            ("Create", &good, Status::Failed, "TIDELOCK_SOURCE is not set"),
            ("Update", &good, Status::Failed, "TIDELOCK_SOURCE is not set"),
            ("Delete", &good, Status::Success, ""),
            ("Delete", &disabled, Status::Failed, "TIDELOCK_SOURCE is not set"),
            ("Create", &bad, Status::Failed, "`OnDelete` is neither keep nor disable"),
            ("Create", &bad, Status::Failed, "`Databse` is not known"),
            ("Create", &json!("text"), Status::Failed, "no ResourceProperties"),
            ("Delete", &bad, Status::Success, ""),
            ("Replace", &good, Status::Failed, "RequestType `Replace`"),
        ] {
            let outcome = outcome(&event(kind, properties.clone()));
            assert_eq!(outcome.status, status, "{kind} {properties}");
            let reason = outcome.reason.unwrap_or_default();
            assert!(reason.contains(words) && reason.is_empty() == words.is_empty(), "{kind} {properties}: {reason}");
            assert_eq!(outcome.id, "change-streams/d/c", "a failure keeps the id");
        }
    }

    #[test]
    fn what_was_never_made_is_deleted_without_a_word_to_the_cluster() {
        let mut event = event("Delete", json!({"Database": "d", "OnDelete": "disable"}));
        event.insert("PhysicalResourceId".to_owned(), NOTHING.into());
        assert_eq!(outcome(&event).status, Status::Success);
    }

    #[test]
    fn an_answer_stays_below_what_cloudformation_takes() {
        let event = event("Create", json!({}));
        let request = ResourceRequest::of(&event).expect("a request");
        let response = Outcome::failed(NOTHING.to_owned(), "é".repeat(5_000)).response(&request);
        let text = serde_json::to_string(&response).expect("JSON");
        assert!(text.len() < 4_096 && text.contains(r#""Status":"FAILED""#), "{}", text.len());
        assert_eq!((response.stack_id.as_str(), response.request_id.as_str()), ("s", "r"));
    }
}
