//! `_bulk`: reading the lines, doing the writes one by one, answering for each.

use super::Damage;
use super::index::{Guard, PRIMARY_TERM, Write, Written};
use super::reply::Problem;
use super::store::Store;
use super::trace::{FNV, fnv};
use crate::path::Parameters;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::rc::Rc;
use tidelock_opensearch::Response;
use tokio::time::Instant;

const MAX_ID: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Index,
    Create,
    Delete,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Create => "create",
            Self::Delete => "delete",
        }
    }
}

/// One action, read and found valid.
#[derive(Debug)]
struct Action<'a> {
    verb: Verb,
    index: String,
    id: Option<String>,
    routing: Option<String>,
    guard: Guard,
    source: &'a [u8],
}

impl Store {
    pub(super) fn bulk(
        &mut self,
        now: Instant,
        index: Option<&str>,
        parameters: &Parameters,
        body: &[u8],
        damage: Damage,
    ) -> Response {
        let actions = match actions(body, index) {
            Ok(actions) => actions,
            Err(problem) => return problem.whole(),
        };
        let (mut items, mut errors) = (Vec::with_capacity(actions.len()), false);
        for action in &actions {
            let refused = damage == Damage::Half && self.rng.bool();
            let (id, done) = self.act(now, action, refused);
            self.note_action(now, action, &id, &done);
            errors |= done.is_err();
            items.push(item(action, &id, done).to_string());
        }
        if parameters.get("refresh").is_some_and(|when| when != "false") {
            for action in &actions {
                self.refresh(now, &action.index);
            }
        }
        if damage == Damage::Garble {
            items.remove(self.rng.usize(..items.len()));
        }
        // In the engine's own order, which a JSON tree would not keep.
        let text = format!("{{\"took\":1,\"errors\":{errors},\"items\":[{}]}}", items.join(","));
        Response { status: 200, body: Bytes::from(text) }
    }

    fn act(&mut self, now: Instant, action: &Action<'_>, refused: bool) -> (String, Result<Written, Problem>) {
        let id = action.id.clone().unwrap_or_else(|| self.new_id());
        if refused {
            return (id, Err(Problem::rejected()));
        }
        let done = self.write(now, action, &id);
        (id, done)
    }

    fn write(&mut self, now: Instant, action: &Action<'_>, id: &str) -> Result<Written, Problem> {
        let (verb, guard) = (action.verb, action.guard);
        // A delete makes no index, unless it leaves a version to remember.
        if verb != Verb::Delete || matches!(guard, Guard::External { .. }) {
            self.make_index(&action.index)?;
        }
        self.check_block(&action.index, now)?;
        if verb != Verb::Delete
            && let Ok(source) = serde_json::from_slice(action.source)
        {
            self.check_poison(&action.index, &source)?;
        }
        let remembered = if verb == Verb::Delete { self.remembered(now) } else { now };
        let index = self.index(&action.index).ok_or_else(|| Problem::no_index(&action.index))?;
        let write = if verb == Verb::Delete {
            Write::Delete
        } else {
            let source: Value = serde_json::from_slice(action.source)
                .map_err(|error| Problem::new(400, "mapper_parsing_exception", format!("failed to parse: {error}")))?;
            let Value::Object(fields) = &source else {
                return Err(Problem::new(400, "mapper_parsing_exception", "failed to parse: no object"));
            };
            index.mapping.learn(fields)?;
            match verb {
                Verb::Create => Write::Create(Rc::new(source)),
                _ => Write::Index(Rc::new(source)),
            }
        };
        index.write(id, action.routing.as_deref(), write, guard, now, remembered)
    }

    fn note_action(&mut self, now: Instant, action: &Action<'_>, id: &str, done: &Result<Written, Problem>) {
        let since = now.saturating_duration_since(self.start);
        let (verb, index, guard) = (action.verb.name(), &action.index, action.guard);
        let source = fnv(FNV, action.source);
        match done {
            Ok(Written { status, result, version, seq_no }) => self.trace.note(
                since,
                format_args!("{verb} {index}/{id} {guard:?} {source:016x}: {status} {result} v{version} s{seq_no}"),
            ),
            Err(problem) => self.trace.note(
                since,
                format_args!("{verb} {index}/{id} {guard:?} {source:016x}: {} {}", problem.status, problem.reason),
            ),
        }
    }
}

fn item(action: &Action<'_>, id: &str, done: Result<Written, Problem>) -> Value {
    let index = &action.index;
    let said = match done {
        Ok(Written { status, result, version, seq_no }) => json!({
            "_index": index, "_id": id, "_version": version, "result": result,
            "_shards": {"total": 2, "successful": 1, "failed": 0},
            "_seq_no": seq_no, "_primary_term": PRIMARY_TERM, "status": status,
        }),
        Err(problem) => json!({"_index": index, "_id": id, "status": problem.status, "error": problem.item(index)}),
    };
    let mut item = Map::new();
    item.insert(action.verb.name().to_owned(), said);
    Value::Object(item)
}

/// Reads a body. What is wrong with one action's line is wrong with the whole request.
fn actions<'a>(body: &'a [u8], index: Option<&str>) -> Result<Vec<Action<'a>>, Problem> {
    if body.is_empty() {
        return Err(Problem::new(400, "parse_exception", "request body is required"));
    }
    let Some(body) = body.strip_suffix(b"\n") else {
        return Err(Problem::argument("The bulk request must be terminated by a newline [\\n]"));
    };
    let mut lines = body.split(|byte| *byte == b'\n').enumerate();
    let mut actions = Vec::new();
    while let Some((number, line)) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let mut action = action(number + 1, line, index)?;
        if action.verb != Verb::Delete {
            let Some((_, source)) = lines.next() else { break };
            action.source = source;
        }
        actions.push(action);
    }
    if actions.is_empty() {
        return Err(Problem::validation("no requests added"));
    }
    Ok(actions)
}

fn action(number: usize, line: &[u8], index: Option<&str>) -> Result<Action<'static>, Problem> {
    let malformed = || Problem::argument(format!("Malformed action/metadata line [{number}]"));
    let tree: Map<String, Value> = serde_json::from_slice(line).map_err(|_| malformed())?;
    let mut members = tree.into_iter();
    let (Some((verb, Value::Object(meta))), None) = (members.next(), members.next()) else { return Err(malformed()) };
    let verb = match verb.as_str() {
        "index" => Verb::Index,
        "create" => Verb::Create,
        "delete" => Verb::Delete,
        "update" => return Err(Problem::unknown("the bulk action update")),
        _ => {
            let reason = "expected one of [create, delete, index, update]";
            return Err(Problem::argument(format!(
                "Malformed action/metadata line [{number}], {reason} but found [{verb}]"
            )));
        }
    };
    let known = ["_index", "_id", "routing", "version", "version_type", "if_seq_no", "if_primary_term"];
    if let Some(name) = meta.keys().find(|name| !known.contains(&name.as_str())) {
        let reason = format!("Action/metadata line [{number}] contains an unknown parameter [{name}]");
        return Err(Problem::argument(reason));
    }
    let text = |name: &str| match meta.get(name) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => Some(other.to_string()),
    };
    let number = |name: &str| match text(name).map(|text| text.parse::<i64>()) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => Err(malformed()),
    };
    let guard =
        guard(verb, number("version")?, text("version_type"), number("if_seq_no")?, number("if_primary_term")?)?;
    let Some(index) = text("_index").or_else(|| index.map(str::to_owned)) else {
        return Err(Problem::validation("index is missing"));
    };
    let id = text("_id");
    match &id {
        Some(id) if id.is_empty() => Err(Problem::argument("if _id is specified it must not be empty")),
        Some(id) if id.len() > MAX_ID => Err(Problem::validation(&format!(
            "id [{id}] is too long, must be no longer than {MAX_ID} bytes but was: {}",
            id.len()
        ))),
        None if verb == Verb::Delete => Err(Problem::validation("id is missing")),
        _ => Ok(Action { verb, index, id, routing: text("routing"), guard, source: b"" }),
    }
}

/// Reads the guard, with the engine's own validation of combinations.
fn guard(
    verb: Verb,
    version: Option<i64>,
    version_type: Option<String>,
    seq_no: Option<i64>,
    primary_term: Option<i64>,
) -> Result<Guard, Problem> {
    let or_equal = match version_type.as_deref() {
        None | Some("internal") => None,
        Some("external" | "external_gt") => Some(false),
        Some("external_gte") => Some(true),
        Some(other) => return Err(Problem::argument(format!("No version type match [{other}]"))),
    };
    if verb == Verb::Create && (or_equal.is_some() || version.is_some()) {
        return Err(Problem::validation("create operations only support internal versioning. use index instead"));
    }
    if verb == Verb::Create && seq_no.is_some() {
        return Err(Problem::validation("create operations do not support compare and set. use index instead"));
    }
    match (or_equal, version, seq_no, primary_term) {
        (None, Some(_), ..) => Err(Problem::validation(
            "internal versioning can not be used for optimistic concurrency control. \
             Please use `if_seq_no` and `if_primary_term` instead",
        )),
        (Some(_), _, Some(_), _) => Err(Problem::validation("compare and write operations can not use versioning")),
        (_, _, Some(_), None | Some(0)) => Err(Problem::validation("ifSeqNo is set, but primary term is [0]")),
        (_, _, None, Some(term)) if term != 0 => {
            Err(Problem::validation(&format!("ifSeqNo is unassigned, but primary term is [{term}]")))
        }
        (Some(or_equal), Some(version), None, _) if version >= 0 => Ok(Guard::External { version, or_equal }),
        (Some(_), version, None, _) => Err(Problem::validation(&format!(
            "illegal version value [{}] for version type [EXTERNAL]",
            version.unwrap_or(-3)
        ))),
        (None, None, Some(seq_no), Some(primary_term)) => Ok(Guard::Seen { seq_no, primary_term }),
        (None, None, None, _) => Ok(Guard::None),
    }
}
