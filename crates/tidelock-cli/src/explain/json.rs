//! Explanations as JSON: docs/explain.md names the fields.

use serde::Serialize;
use serde_json::value::RawValue;
use tidelock_core::cause::Failure;
use tidelock_core::diff::Change;
use tidelock_core::explain::{Act, Becomes, Explanation, Outlook};
use tidelock_core::pipeline::Asked;
use tidelock_core::target::ShardValue;
use tidelock_sync::Sent;

/// JSON text as it is, digit for digit.
type Raw = Box<RawValue>;

#[derive(Serialize)]
struct Object<'a> {
    record: usize,
    branch: usize,
    event: Option<&'a str>,
    position: Option<&'a str>,
    source: Option<&'a str>,
    stream: Option<&'a str>,
    key: Option<Raw>,
    version: Option<Version<'a>>,
    routes: Vec<Route<'a>>,
    routes_before: Vec<Route<'a>>,
    transform: Vec<Step<'a>>,
    acts: Vec<ActObject<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    recalls: bool,
    outcome: &'static str,
    /// Places that all older documents of the collection go from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    from: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Refusal<'a>>,
}

#[derive(Serialize)]
struct Version<'a> {
    space: &'a str,
    label: &'a str,
    exact: &'a str,
    coarse: i64,
    at: i64,
}

#[derive(Serialize)]
struct Route<'a> {
    route: usize,
    name: Option<&'a str>,
    said: &'a str,
    takes: bool,
}

#[derive(Serialize)]
struct Step<'a> {
    step: usize,
    name: &'static str,
    changes: Vec<Field<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a str>,
}

/// A field that differs: `before` and `after` are missing where the field is.
#[derive(Serialize)]
pub(crate) struct Field<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Raw>,
}

#[derive(Serialize)]
struct ActObject<'a> {
    does: &'static str,
    place: &'a str,
    id: Raw,
    #[serde(skip_serializing_if = "Option::is_none")]
    routing: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shard_key: Vec<(&'a str, Raw)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ingest_pipeline: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    preserve: Vec<&'a str>,
    becomes: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'static str>,
    #[serde(skip_serializing_if = "<[usize]>::is_empty")]
    stands_for: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    stood_for_by: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Refusal<'a>>,
}

#[derive(Serialize)]
struct Refusal<'a> {
    cause: &'static str,
    detail: &'a str,
    action: &'static str,
}

impl<'a> Refusal<'a> {
    fn of(failure: &'a Failure) -> Self {
        Self { cause: failure.cause.code(), detail: &failure.detail, action: failure.cause.action() }
    }
}

fn raw(text: &str) -> Result<Raw, String> {
    RawValue::from_string(text.to_owned()).map_err(|error| format!("`{text}` is not JSON: {error}"))
}

pub(crate) fn fields(changes: &[Change]) -> Result<Vec<Field<'_>>, String> {
    let value = |value: &Option<String>| value.as_deref().map(raw).transpose();
    changes
        .iter()
        .map(|change| Ok(Field { path: &change.path, before: value(&change.before)?, after: value(&change.after)? }))
        .collect()
}

/// One line for an explanation.
///
/// # Errors
/// When a part of it is no JSON, which would be a fault of this program.
pub(super) fn object(told: &Explanation<Sent>) -> Result<String, String> {
    let (outcome, why, failure) = match &told.outlook {
        Outlook::Written => ("written", None, None),
        Outlook::DeletesAll(_) => ("deletes_all", None, None),
        Outlook::Filtered(why) => ("filtered", Some(why.as_str()), None),
        Outlook::Held => ("held", None, None),
        Outlook::Parked(failure) => ("parked", None, Some(failure)),
        Outlook::Retried(failure) => ("retried", None, Some(failure)),
    };
    let from = match &told.outlook {
        Outlook::DeletesAll(places) => places.iter().map(|place| place.name.as_str()).collect(),
        _ => Vec::new(),
    };
    let steps = told.steps.iter().map(|step| {
        Ok(Step { step: step.step, name: step.name, changes: fields(&step.changes)?, failure: step.failure.as_deref() })
    });
    let object = Object {
        record: told.record,
        branch: told.branch,
        event: told.event.as_deref(),
        position: told.position.as_deref(),
        source: told.source.as_deref(),
        stream: told.stream.as_deref(),
        key: told.key.as_deref().map(raw).transpose()?,
        version: told.version.as_ref().map(|version| Version {
            space: &version.space,
            label: &version.label,
            exact: &version.exact,
            coarse: version.coarse,
            at: version.at,
        }),
        routes: routes(&told.routes),
        routes_before: routes(&told.routes_before),
        transform: steps.collect::<Result<_, String>>()?,
        acts: told.acts.iter().map(act).collect::<Result<_, String>>()?,
        recalls: told.recalls,
        outcome,
        from,
        why,
        failure: failure.map(Refusal::of),
    };
    serde_json::to_string(&object).map(|line| line + "\n").map_err(|error| error.to_string())
}

fn routes(asked: &[Asked]) -> Vec<Route<'_>> {
    asked
        .iter()
        .map(|asked| Route { route: asked.route, name: asked.name.as_deref(), said: &asked.said, takes: asked.takes })
        .collect()
}

fn act(act: &Act<Sent>) -> Result<ActObject<'_>, String> {
    let mut object = ActObject {
        does: if act.leaves { "leaves" } else { "enters" },
        place: &act.place.name,
        id: raw(&act.id)?,
        routing: act.place.routing.as_deref(),
        shard_key: Vec::new(),
        ingest_pipeline: act.manner.as_ref().and_then(|manner| manner.ingest_pipeline.as_deref()),
        preserve: act.manner.iter().flat_map(|manner| &manner.preserve).map(String::as_str).collect(),
        becomes: "",
        operation: None,
        stands_for: &[],
        stood_for_by: None,
        to: None,
        lines: Vec::new(),
        failure: None,
    };
    for (field, value) in &act.place.shard_key {
        let value = match value {
            ShardValue::Null => "null".to_owned(),
            ShardValue::Boolean(value) => value.to_string(),
            ShardValue::Number(text) => text.clone(),
            ShardValue::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        };
        object.shard_key.push((field, raw(&value)?));
    }
    match &act.becomes {
        Becomes::Sent { request, deletes, stands_for } => {
            object.becomes = "sent";
            object.operation = Some(if *deletes { "delete" } else { "upsert" });
            object.stands_for = stands_for;
            object.to = Some(&request.to);
            object.lines = request.lines.iter().map(|line| raw(line)).collect::<Result<_, _>>()?;
        }
        Becomes::Read { stands_for } => {
            object.becomes = "read";
            object.stands_for = stands_for;
        }
        Becomes::StoodFor(record) => {
            object.becomes = "stood_for";
            object.stood_for_by = Some(*record);
        }
        Becomes::Refused(failure) => {
            object.becomes = "refused";
            object.failure = Some(Refusal::of(failure));
        }
    }
    Ok(object)
}
