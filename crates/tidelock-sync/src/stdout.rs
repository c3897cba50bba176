//! Standard output as a target: one JSON line per change, to see what a pipeline does.

use std::io::Write as _;
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::encode::Format;
use tidelock_core::json::write_string;
use tidelock_core::target::{Call, Done, Operation, Outcome, Target, Write};

/// Writes `{"op":"upsert","into":"…","id":"…","document":{…},"version":{…}}`.
#[derive(Debug, Default)]
pub(crate) struct StdoutTarget;

/// An operation as a line of JSON.
pub(crate) fn line(operation: &Operation<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(match operation.write {
        Write::Upsert(_) => b"{\"op\":\"upsert\",\"into\":",
        Write::Delete => b"{\"op\":\"delete\",\"into\":",
    });
    write_string(&mut out, &operation.into.name);
    out.extend_from_slice(b",\"id\":");
    write_string(&mut out, &operation.key.text_id());
    if let Write::Upsert(document) = operation.write {
        out.extend_from_slice(b",\"document\":");
        out.extend_from_slice(document);
        out.push(b'}');
    }
    out.extend_from_slice(b",\"version\":");
    operation.version.write_json(&mut out);
    out.extend_from_slice(b"}\n");
    out
}

impl Target for StdoutTarget {
    fn format(&self) -> Format {
        Format::Json
    }

    async fn apply(&self, operations: &[Operation<'_>], _call: Call) -> Vec<Outcome> {
        let mut out = std::io::stdout().lock();
        let mut write = |operation: &Operation<'_>| match out.write_all(&line(operation)) {
            Ok(()) => Ok(Done::Applied),
            Err(error) => Err(Failure::new(Cause::Unavailable, format!("standard output: {error}"))),
        };
        operations.iter().map(&mut write).collect()
    }
}
