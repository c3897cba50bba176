//! `_bulk` bodies: an action line per operation, a document line for writes.

use crate::judge::Seen;
use tidelock_core::encode::MARK_FIELD;
use tidelock_core::fence::FENCE_INDEX;
use tidelock_core::json::write_string;
use tidelock_core::target::{Operation, Salvage, Write};

/// How a write is guarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// The engine compares the coarse version with the document's own, strictly.
    External,
    /// The document must still be the one that was read.
    CompareAndSet(Seen),
    /// Nothing compares: for measurement only.
    Off,
}

/// Which of an operation's writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The document itself.
    Document,
    /// The fence of a delete.
    Fence,
}

/// Appends one operation to a body.
pub(crate) fn push_action(body: &mut Vec<u8>, operation: &Operation<'_>, id: &str, guard: Guard) {
    body.extend_from_slice(match operation.write {
        Write::Upsert(_) => b"{\"index\":{\"_id\":",
        Write::Delete => b"{\"delete\":{\"_id\":",
    });
    write_string(body, id);
    if let Some(routing) = &operation.into.routing {
        body.extend_from_slice(b",\"routing\":");
        write_string(body, routing);
    }
    if let (Write::Upsert(_), Some(name)) =
        (operation.write, operation.manner.and_then(|manner| manner.ingest_pipeline.as_ref()))
    {
        body.extend_from_slice(b",\"pipeline\":");
        write_string(body, name);
    }
    push_guard(body, operation, guard);
    if let Write::Upsert(document) = operation.write {
        body.extend_from_slice(document);
        body.extend_from_slice(if document.len() > 1 { b",\"" } else { b"\"" });
        body.extend_from_slice(MARK_FIELD.as_bytes());
        body.extend_from_slice(b"\":");
        operation.version.write_json(body);
        if operation.salvage == Salvage::Done {
            // Into the mark, before its end.
            body.pop();
            body.extend_from_slice(b",\"part\":true}");
        }
        body.extend_from_slice(b"}\n");
    }
}

/// Stands before names and ids in a fence. An index that was deleted by hand comes back without its mapping, and OpenSearch
/// would make a date field of the first id that looks like one.
pub(crate) const TEXT: char = '=';

/// Appends the fence of a delete: where the document was, and the version that ended it.
pub(crate) fn push_fence(
    body: &mut Vec<u8>,
    operation: &Operation<'_>,
    id: &str,
    fence: &str,
    guard: Guard,
    now_ms: i64,
) {
    body.extend_from_slice(b"{\"index\":{\"_index\":\"");
    body.extend_from_slice(FENCE_INDEX.as_bytes());
    body.extend_from_slice(b"\",\"_id\":");
    write_string(body, fence);
    push_guard(body, operation, guard);
    body.extend_from_slice(b"{\"index\":");
    write_string(body, &format!("{TEXT}{}", operation.into.name));
    body.extend_from_slice(b",\"id\":");
    write_string(body, &format!("{TEXT}{id}"));
    if let Some(routing) = &operation.into.routing {
        body.extend_from_slice(b",\"routing\":");
        write_string(body, &format!("{TEXT}{routing}"));
    }
    body.extend_from_slice(b",\"key\":");
    let mut key = Vec::with_capacity(64);
    operation.key.write_json(&mut key);
    write_string(body, &String::from_utf8_lossy(&key));
    body.extend_from_slice(b",\"written\":");
    push_integer(body, now_ms);
    body.extend_from_slice(b",\"");
    body.extend_from_slice(MARK_FIELD.as_bytes());
    body.extend_from_slice(b"\":");
    operation.version.write_json(body);
    body.extend_from_slice(b"}\n");
}

/// Ends an action line.
fn push_guard(body: &mut Vec<u8>, operation: &Operation<'_>, guard: Guard) {
    match guard {
        Guard::External => {
            body.extend_from_slice(b",\"version\":");
            push_integer(body, operation.version.coarse);
            body.extend_from_slice(b",\"version_type\":\"external\"}}\n");
        }
        Guard::CompareAndSet(seen) => {
            body.extend_from_slice(b",\"if_seq_no\":");
            push_integer(body, seen.seq_no);
            body.extend_from_slice(b",\"if_primary_term\":");
            push_integer(body, seen.primary_term);
            body.extend_from_slice(b"}}\n");
        }
        Guard::Off => body.extend_from_slice(b"}}\n"),
    }
}

/// An upper bound of what [`push_action`] and [`push_fence`] append for an operation.
pub(crate) fn action_size(operation: &Operation<'_>, id: &str) -> usize {
    let version = &operation.version;
    let mark = version.space.len() + version.label.len() + version.exact.len() + version.token.len() + 100;
    let pipeline =
        operation.manner.and_then(|manner| manner.ingest_pipeline.as_ref()).map_or(0, |name| name.len() * 2 + 16);
    let routing = operation.into.routing.as_ref().map_or(0, |routing| routing.len() * 4 + 32);
    let content = match operation.write {
        Write::Upsert(document) => document.len() + mark,
        Write::Delete => 160 + operation.into.name.len() * 2 + id.len() * 2 + operation.key.as_bytes().len() * 3 + mark,
    };
    // An id may double by escaping in the common case; control characters, which take six bytes, are rare enough to ignore.
    content + pipeline + routing + id.len() * 2 + 112
}

fn push_integer(body: &mut Vec<u8>, number: i64) {
    use std::io::Write as _;
    // Writing to a Vec cannot fail.
    let _ = write!(body, "{number}");
}

/// A request's operations as indices, and its size in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Chunk {
    /// Indices of the operations, in order.
    pub(crate) members: Vec<usize>,
    /// An upper bound of the body's size.
    pub(crate) bytes: usize,
}

/// The most actions of one request.
const MAX_ACTIONS: usize = 5_000;

/// Splits operations of the given sizes into requests: none above `limit` bytes, and as many as `lanes` can carry at a time, but
/// no more than there are shares of `smallest` bytes. Operations above the limit must have been taken out before.
pub(crate) fn split(sizes: &[(usize, usize)], limit: usize, lanes: usize, smallest: usize) -> Vec<Chunk> {
    let total: usize = sizes.iter().map(|(_, size)| size).sum();
    let share = total.div_ceil(lanes.max(1)).max(smallest).min(limit);
    // Equal parts, so that the last one is no straggler.
    let share = total.div_ceil(total.div_ceil(share).max(1));
    let mut chunks: Vec<Chunk> = Vec::new();
    for &(index, size) in sizes {
        match chunks.last_mut() {
            Some(chunk) if chunk.bytes + size <= limit && chunk.bytes < share && chunk.members.len() < MAX_ACTIONS => {
                chunk.members.push(index);
                chunk.bytes += size;
            }
            _ => chunks.push(Chunk { members: vec![index], bytes: size }),
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidelock_core::encode::Format;
    use tidelock_core::pipeline::Pipeline;
    use tidelock_core::target::{Manner, Place};

    #[test]
    fn lines_the_engine_reads() {
        let event = br#"{"Records":[{"eventName":"INSERT","eventSourceARN":"arn:aws:dynamodb:us-east-1:1:table/t/stream/2012-01-01T00:00:01.000",
            "dynamodb":{"ApproximateCreationDateTime":7,"Keys":{"k":{"S":"a\"b"}},"NewImage":{"k":{"S":"a\"b"}},"SequenceNumber":"5"}},
            {"eventName":"REMOVE","eventSourceARN":"arn:aws:dynamodb:us-east-1:1:table/t/stream/2012-01-01T00:00:01.000",
            "dynamodb":{"Keys":{"k":{"S":"c"}},"SequenceNumber":"6"}}]}"#;
        let batch = tidelock_core::source::dynamodb::decode(event, Format::Json).expect("an event");
        let pipeline = Pipeline::default();
        let plan = tidelock_core::batch::Plan::new(event, &batch, &pipeline);
        let tidelock_core::batch::Round { operations, .. } =
            tidelock_core::batch::Delivery::new(&batch, &plan, false).round();
        let mut body = Vec::new();
        push_action(&mut body, &operations[0], &operations[0].key.text_id(), Guard::External);
        push_action(
            &mut body,
            &operations[1],
            "c",
            Guard::CompareAndSet(Seen { seq_no: 3, primary_term: 1, version: 9 }),
        );
        let lines: Vec<serde_json::Value> = String::from_utf8(body.clone())
            .expect("UTF-8")
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines[0]["index"]["_id"], "a\"b");
        assert_eq!(lines[0]["index"]["version"], (1i64 << 32) | (1 << 26) | (1 << 25));
        assert_eq!(lines[0]["index"]["version_type"], "external");
        let exact = format!("{:040}", 5);
        assert_eq!(
            lines[1],
            serde_json::json!({"k": "a\"b", "_tidelock": {"space": "dynamodb:us-east-1:1:t", "label": "2012-01-01T00:00:01.000", "exact": exact, "at": 7000}})
        );
        assert_eq!(lines[2], serde_json::json!({"delete": {"_id": "c", "if_seq_no": 3, "if_primary_term": 1}}));
        push_fence(&mut body, &operations[1], "c", "f", Guard::External, 99);
        let fence: Vec<serde_json::Value> = String::from_utf8(body.clone())
            .expect("UTF-8")
            .lines()
            .skip(3)
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(fence[0]["index"]["_index"], "tidelock-fences");
        assert_eq!(fence[0]["index"]["version_type"], "external");
        assert_eq!(
            (&fence[1]["index"], &fence[1]["id"], &fence[1]["key"], &fence[1]["written"]),
            (&"=t".into(), &"=c".into(), &r#"{"k":{"S":"c"}}"#.into(), &99.into())
        );
        assert_eq!(fence[1]["_tidelock"]["exact"], format!("{:040}", 6));
        let into = Place { routing: Some("r\"1".to_owned()), ..operations[0].into.clone() };
        let manner = Manner { ingest_pipeline: Some("enrich".to_owned()), ..Manner::default() };
        let routed = Operation { into: &into, manner: Some(&manner), ..operations[0] };
        let mut own = Vec::new();
        push_action(&mut own, &routed, "a", Guard::Off);
        assert!(own.starts_with(br#"{"index":{"_id":"a","routing":"r\"1","pipeline":"enrich"}}"#));
        own.clear();
        // What is deleted goes through no pipeline.
        push_action(&mut own, &Operation { write: Write::Delete, ..routed }, "a", Guard::Off);
        assert_eq!(own, b"{\"delete\":{\"_id\":\"a\",\"routing\":\"r\\\"1\"}}\n");
        own.clear();
        push_fence(&mut own, &Operation { write: Write::Delete, ..routed }, "a", "f", Guard::Off, 9);
        assert!(String::from_utf8_lossy(&own).contains(r#""routing":"=r\"1""#));
        let bound: usize = operations.iter().map(|operation| action_size(operation, &operation.key.text_id())).sum();
        assert!(body.len() <= bound, "{} <= {bound}", body.len());
    }

    #[test]
    fn splits_by_bytes_count_and_lanes() {
        let sizes = |count: usize, size: usize| (0..count).map(|index| (index, size)).collect::<Vec<_>>();
        let lengths = |chunks: Vec<Chunk>| chunks.iter().map(|chunk| chunk.members.len()).collect::<Vec<_>>();
        let split = |sizes: &[(usize, usize)], limit, lanes| super::split(sizes, limit, lanes, 250_000);
        assert_eq!(lengths(split(&sizes(10, 1000), 1_000_000, 4)), [10]);
        assert_eq!(lengths(split(&sizes(250, 1000), 5_000_000, 4)), [250]);
        assert_eq!(lengths(split(&sizes(500, 1000), 5_000_000, 4)), [250, 250]);
        assert_eq!(lengths(split(&sizes(2000, 1000), 5_000_000, 4)), [500, 500, 500, 500]);
        assert_eq!(lengths(split(&sizes(500, 1000), 5_000_000, 1)), [500]);
        assert_eq!(lengths(split(&sizes(10, 1000), 3000, 1)), [3, 3, 3, 1]);
        assert_eq!(lengths(split(&sizes(12, 1000), 5000, 1)), [4, 4, 4]);
        assert_eq!(lengths(split(&sizes(12_000, 1), 5_000_000, 1)), [5000, 5000, 2000]);
        assert!(split(&[], 1000, 4).is_empty());
    }
}
