//! Indices when they are first used: their names, what they are, and the mapping of the field that Tidelock adds.

mod place;

use crate::error::by_status;
use crate::{Request, Transport};
use bytes::Bytes;
pub(crate) use place::{own_fields, unsuitable, with_own_fields};
use serde_json::Map;
use std::time::Instant;
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::encode::MARK_FIELD;
use tidelock_core::fence::FENCE_INDEX;
use tidelock_core::pipeline::{Index, Indexes, Pipeline, Refusal};

/// A field that is kept in the source alone: neither parsed nor indexed, so it costs next to nothing and cannot conflict.
pub(crate) const UNPARSED: &str = r#"{"type":"object","enabled":false}"#;

/// Fences are found by the time they were written at, and by nothing else.
const FENCES: &str = concat!(
    r#"{"mappings":{"dynamic":false,"properties":{"written":{"type":"long"},"#,
    r#""_tidelock":{"type":"object","enabled":false}}}}"#
);

/// What is wrong with a name, by the engine's own
/// [rules](https://docs.opensearch.org/latest/api-reference/index-apis/create-index/#index-naming-restrictions).
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    name_problem(name).map_or(Ok(()), |problem| {
        let hint = "route the source to another name in TIDELOCK_PIPELINE (routes: from, to)";
        Err(format!("`{name}` cannot be an index: {problem}; {hint}"))
    })
}

/// What OpenSearch refuses of a pipeline: names that no index can have, and Tidelock's own.
#[must_use]
pub fn refusals(pipeline: &Pipeline) -> Vec<Refusal> {
    let refused = pipeline.destinations().filter_map(|destination| {
        let name = destination.sample();
        let own = (name == FENCE_INDEX).then_some("it is Tidelock's own");
        let problem = own.or_else(|| name_problem(&name))?;
        let (shown, hint) = match destination.to {
            Some(to) => (to, ""),
            None => (destination.from, "; write `to`"),
        };
        Some(Refusal { path: destination.path(), words: format!("`{shown}` cannot be an index: {problem}{hint}") })
    });
    refused.collect()
}

/// Why a name can be no index's, by the engine's own rules.
#[must_use]
pub fn name_problem(name: &str) -> Option<&'static str> {
    let forbidden =
        |c: char| matches!(c, '\\' | '/' | '*' | '?' | '"' | '<' | '>' | '|' | ',' | '#' | ':') || c.is_whitespace();
    if name.is_empty() || name.len() > 255 {
        Some("it must have 1 to 255 bytes")
    } else if name.chars().any(char::is_uppercase) {
        Some("it must be lower case")
    } else if name.starts_with(['_', '-', '+']) || name == "." || name == ".." {
        Some("it must not begin with _, - or +")
    } else if name.contains(forbidden) {
        Some("it must not contain any of \\ / * ? \" < > | , # : or a blank")
    } else {
        None
    }
}

/// A name as part of a path.
pub(crate) fn path_segment(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// What tells where writes to a name would go.
const PLACE: &str = concat!(
    "*.data_stream,*.aliases,*.settings.index.lifecycle.rollover_alias,",
    "*.settings.index.*.index_state_management.rollover_alias"
);

/// Sees to it that an index can take changes: that it keeps its documents where they are, that Tidelock's fields are mapped, and
/// that there is one, as `indexes` wants it. `salvage`: also the field under which it sets aside what the index refuses.
///
/// Best effort: where the rights are missing the index is used as it is, and the mapping grows by itself.
pub(crate) async fn prepare<T: Transport>(
    transport: &T,
    name: &str,
    salvage: bool,
    indexes: &Indexes,
    deadline: Instant,
) -> Result<(), Failure> {
    let path = path_segment(name);
    let own = if name == FENCE_INDEX { own_fields(false) } else { own_fields(salvage) };
    let filters: Vec<String> = own.iter().map(|field| format!(",*.mappings.properties.{field}")).collect();
    let whole = request("GET", format!("/{path}?filter_path={PLACE}{}", filters.concat()), String::new());
    let mut found = transport.send(whole, deadline).await?;
    if found.status == 403 {
        // The right to see mappings alone is enough for the rest.
        found = transport.send(look(&path, own), deadline).await?;
    }
    let put = |fields: &[&str]| request("PUT", format!("/{path}/_mapping"), properties(fields));
    let answer = match found.status {
        404 => {
            let index = indexes.of(name).filter(|_| name != FENCE_INDEX);
            let create = match index {
                _ if name == FENCE_INDEX => FENCES.to_owned(),
                Some(index) => body(transport, index, own, deadline).await?,
                None => format!("{{\"mappings\":{}}}", properties(own)),
            };
            let created = transport.send(request("PUT", format!("/{path}"), create), deadline).await?;
            if created.status == 400 && contains(&created.body, "resource_already_exists") {
                // Another function was faster.
                transport.send(put(own), deadline).await?
            } else if created.status == 400 && contains(&created.body, "creates data streams only") {
                let detail = format!("`{name}` would be a data stream: a template of the cluster says so");
                return Err(Failure::new(Cause::UnsuitableTarget, detail));
            } else if let (400, Some(index)) = (created.status, index) {
                // A first write would make it by dynamic mapping, and nobody could take that back.
                let detail = format!(
                    "{}: index `{name}` cannot be made as `indexes.{}` of the pipeline says: {}",
                    transport.place(),
                    index.name,
                    beginning(&created.body)
                );
                return Err(Failure::new(Cause::TargetMissing, detail));
            } else {
                created
            }
        }
        200 => {
            if let Some(problem) =
                serde_json::from_slice(&found.body).ok().and_then(|indices| unsuitable(name, &indices))
            {
                return Err(Failure::new(Cause::UnsuitableTarget, problem));
            }
            let is_missing = |field: &&str| !contains(&found.body, &format!("\"{field}\""));
            let missing: Vec<&str> = own.iter().copied().filter(is_missing).collect();
            if missing.is_empty() {
                return Ok(());
            }
            transport.send(put(&missing), deadline).await?
        }
        _ => found,
    };
    if answer.status == 429 || answer.status >= 500 {
        // Used as it is, the index would get a mapping of the mark that nobody can take back.
        let detail = format!("{}: status {} while looking at index `{name}`", transport.place(), answer.status);
        return Err(Failure::new(by_status(answer.status), detail));
    }
    if !(200..300).contains(&answer.status) {
        tracing::warn!(
            index = name,
            status = answer.status,
            answer = %beginning(&answer.body),
            "the mapping of {} could not be set; allow indices:admin/mapping, or map it as {UNPARSED}", own.join(" and "),
        );
    }
    Ok(())
}

/// What an index is made of. An alias that another index holds stays there: it would stand for both.
async fn body<T: Transport>(transport: &T, index: &Index, own: &[&str], deadline: Instant) -> Result<String, Failure> {
    let mut aliases = Map::new();
    for (alias, definition) in &index.aliases {
        if !index.is_template() {
            let look = request("GET", format!("/_alias/{}?filter_path=*.aliases", path_segment(alias)), String::new());
            match transport.send(look, deadline).await?.status {
                404 => {}
                status @ (429 | 500..) => {
                    let detail = format!("{}: status {status} while looking at alias `{alias}`", transport.place());
                    return Err(Failure::new(by_status(status), detail));
                }
                _ => continue,
            }
        }
        aliases.insert(alias.clone(), definition.clone());
    }
    let mappings = with_own_fields(&index.mappings, own);
    Ok(serde_json::json!({"settings": index.settings, "mappings": mappings, "aliases": aliases}).to_string())
}

fn beginning(body: &[u8]) -> String {
    String::from_utf8_lossy(body.get(..body.len().min(300)).unwrap_or_default()).into_owned()
}

/// A mapping of fields that are kept in the source alone.
fn properties(fields: &[&str]) -> String {
    let fields: Vec<String> = fields.iter().map(|field| format!("\"{field}\":{UNPARSED}")).collect();
    format!("{{\"properties\":{{{}}}}}", fields.join(","))
}

/// Whether there is no such index. What cannot be found out counts as there.
pub(crate) async fn is_missing<T: Transport>(transport: &T, name: &str, deadline: Instant) -> bool {
    let found = transport.send(look(&path_segment(name), &[MARK_FIELD]), deadline).await;
    found.is_ok_and(|found| found.status == 404)
}

fn look(path: &str, fields: &[&str]) -> Request {
    let filters: Vec<String> = fields.iter().map(|field| format!("*.mappings.properties.{field}")).collect();
    request("GET", format!("/{path}/_mapping?filter_path={}", filters.join(",")), String::new())
}

pub(crate) fn request(method: &'static str, path: String, body: String) -> Request {
    Request { method, path, content_type: "application/json", body: Bytes::from(body) }
}

fn contains(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}

#[cfg(test)]
mod tests;
