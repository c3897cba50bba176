//! Index names, and the mapping of the field that Tidelock adds.

use crate::error::by_status;
use crate::{Request, Transport};
use bytes::Bytes;
use std::time::Instant;
use tidelock_core::cause::Failure;
use tidelock_core::encode::MARK_FIELD;
use tidelock_core::fence::FENCE_INDEX;
use tidelock_core::pipeline::{Pipeline, Refusal};
use tidelock_core::salvage::REJECTED;

/// A field that is kept in the source alone: neither parsed nor indexed, so it costs next to nothing and cannot conflict.
const UNPARSED: &str = r#"{"type":"object","enabled":false}"#;

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

fn name_problem(name: &str) -> Option<&'static str> {
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

/// Sees to it that Tidelock's fields are mapped in an index, and creates the index if there is none. `salvage`: also the field
/// under which it sets aside what the index refuses.
///
/// Best effort: where the rights are missing the index is used as it is, and the mapping grows by itself.
pub(crate) async fn prepare<T: Transport>(
    transport: &T,
    name: &str,
    salvage: bool,
    deadline: Instant,
) -> Result<(), Failure> {
    let path = path_segment(name);
    let own = if salvage && name != FENCE_INDEX { &[MARK_FIELD, REJECTED][..] } else { &[MARK_FIELD][..] };
    let found = transport.send(look(&path, own), deadline).await?;
    let put = |fields: &[&str]| request("PUT", format!("/{path}/_mapping"), properties(fields));
    let answer = match found.status {
        404 => {
            let create = match name {
                FENCE_INDEX => FENCES.to_owned(),
                _ => format!("{{\"mappings\":{}}}", properties(own)),
            };
            let created = transport.send(request("PUT", format!("/{path}"), create), deadline).await?;
            if created.status == 400 && contains(&created.body, "resource_already_exists") {
                // Another function was faster.
                transport.send(put(own), deadline).await?
            } else {
                created
            }
        }
        200 => {
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
            answer = %String::from_utf8_lossy(answer.body.get(..answer.body.len().min(300)).unwrap_or_default()),
            "the mapping of {} could not be set; allow indices:admin/mapping, or map it as {UNPARSED}", own.join(" and "),
        );
    }
    Ok(())
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

fn request(method: &'static str, path: String, body: String) -> Request {
    Request { method, path, content_type: "application/json", body: Bytes::from(body) }
}

fn contains(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["orders", "orders-2026.11", "é", "a+b"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", "Orders", "_x", "-x", "a b", "a,b", "a*", "..", &"x".repeat(256)] {
            assert!(check_name(name).expect_err(name).contains("cannot be an index"), "{name}");
        }
        assert_eq!(path_segment("a+é"), "a%2B%C3%A9");
    }
    #[test]
    fn a_pipeline_is_refused_for_names_that_no_index_can_have() {
        let refused = |route: &str| {
            let pipeline = Pipeline::parse(&format!("version: 1\nroutes: [{{{route}}}]")).expect("valid");
            refusals(&pipeline).pop().map(|refusal| format!("{}: {}", refusal.path, refusal.words))
        };
        for (route, expected) in [
            ("from: a", None),
            ("from: '*'", None),
            ("from: 'A*', to: '{kind}'", None),
            ("from: a, to: 'shop.orders-{x}'", None),
            ("from: 'A*'", Some("routes[0].from: `A*` cannot be an index: it must be lower case; write `to`")),
            ("from: a, to: '-{x}'", Some("routes[0].to: `-{x}` cannot be an index: it must not begin with _, - or +")),
            (
                "from: a, to: tidelock-fences",
                Some("routes[0].to: `tidelock-fences` cannot be an index: it is Tidelock's own"),
            ),
        ] {
            assert_eq!(refused(route).as_deref(), expected, "{route}");
        }
    }
}
