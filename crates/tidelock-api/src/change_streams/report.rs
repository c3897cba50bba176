//! What people are told.

use super::wish::Wish;
use serde::Serialize;
use tidelock_core::cause::{Cause, Failure};
use tidelock_mongodb::{Scope, State};

/// How it is with the change streams that were asked for.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    database: String,
    collection: String,
    enabled: bool,
    /// `modified`: as was asked for; `always_on`: the server, such as MongoDB, does not turn them on and off.
    state: &'static str,
    /// The collection was missing and has been made.
    created: bool,
    /// All that change streams are on for.
    #[serde(skip_serializing_if = "Option::is_none")]
    change_streams: Option<Vec<Listed>>,
    /// What may surprise.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
struct Listed {
    database: String,
    collection: String,
}

impl Report {
    pub(super) fn of(wish: &Wish, state: &State) -> Self {
        let listed =
            |scope: &Scope| Listed { database: scope.database().to_owned(), collection: scope.collection().to_owned() };
        Self {
            database: wish.scope.database().to_owned(),
            collection: wish.scope.collection().to_owned(),
            enabled: state.enabled,
            state: if state.listed.is_some() { "modified" } else { "always_on" },
            created: state.created,
            change_streams: state.listed.as_ref().map(|scopes| scopes.iter().map(listed).collect()),
            note: note(wish, state),
        }
    }
}

/// What is otherwise than asked for, and why.
pub(super) fn note(wish: &Wish, state: &State) -> Option<String> {
    if wish.enable || !state.enabled {
        return None;
    }
    Some(match &state.listed {
        None => "this server's change streams are always on: it knows no modifyChangeStreams".to_owned(),
        Some(listed) => {
            let wider = listed.iter().filter(|scope| scope.covers(&wish.scope)).map(ToString::to_string);
            format!("still on for {}", wider.collect::<Vec<_>>().join(", "))
        }
    })
}

/// What has happened in general, and what to do: nothing of the particulars.
pub(super) fn told(cause: Cause) -> String {
    let (what, action) = match cause {
        Cause::Unauthenticated => (
            "the cluster does not accept the login, or the secret cannot be read",
            "check TIDELOCK_SOURCE_SECRET, the right to read it, and the way to Secrets Manager",
        ),
        Cause::Forbidden => (
            "the cluster's user may not do this",
            "use the cluster's primary user, or one that may create the collection and modify change streams",
        ),
        Cause::InvalidTargetName => ("no collection can have this name", "choose another"),
        Cause::UnexpectedAnswer => (
            "the cluster refuses it",
            "see the detail in the function's log; elastic clusters of DocumentDB have no change streams",
        ),
        Cause::Throttled | Cause::Unavailable | Cause::NotPrimary => ("the cluster is not ready", "try again"),
        Cause::Unreachable | Cause::TimedOut | Cause::Deadline => (
            "the cluster cannot be reached",
            "check the host in TIDELOCK_SOURCE, that the function is in the cluster's VPC, that the cluster's security \
             group admits the function's, and that TIDELOCK_SOURCE_CA_FILE holds the certificates",
        ),
        other => (other.meaning(), other.action()),
    };
    format!("{what}: {action}")
}

/// The same, with the particulars.
pub(super) fn explained(failure: &Failure) -> String {
    format!("{} ({})", told(failure.cause), failure.detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(database: &str, collection: &str) -> Scope {
        Scope::new(database, collection).expect("a scope")
    }

    #[test]
    fn what_is_still_on_is_told() {
        let off = Wish { scope: scope("d", "c"), enable: false, create: false };
        let state = |listed: Option<Vec<Scope>>| {
            let enabled = listed.as_ref().is_none_or(|listed| !listed.is_empty());
            State { created: false, enabled, listed }
        };
        let said = |state: &State| serde_json::to_string(&Report::of(&off, state)).expect("JSON");
        let gone = said(&state(Some(Vec::new())));
        let expected = r#"{"database":"d","collection":"c","enabled":false,"state":"modified","created":false,"change_streams":[]}"#;
        assert_eq!(gone, expected);
        let wider = said(&state(Some(vec![scope("d", "")])));
        assert!(wider.contains(r#""enabled":true"#) && wider.contains("still on for database `d`"), "{wider}");
        let always = said(&state(None));
        assert!(always.contains("always_on") && always.contains("knows no modifyChangeStreams"), "{always}");
    }
}
