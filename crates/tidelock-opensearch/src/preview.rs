//! What an operation would be sent as, without anybody to send it to.

use crate::bulk::{Guard, push_action, push_fence};
use crate::fence;
use crate::index::check_name;
use crate::target::{OpenSearchConfig, check};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::target::{Operation, Write};

/// The lines of a `_bulk` request that an operation adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkLines {
    /// The document's action, and the document where it is written.
    pub document: Vec<u8>,
    /// The fence of a delete and its action; empty where none is written.
    pub fence: Vec<u8>,
}

/// What an operation adds to the body of `POST /INDEX/_bulk`, where nothing is stored that it would have to be merged with.
/// `now_ms` is the time that a fence is written at.
///
/// # Errors
/// What can be told before anything is sent: an id, a name or a document that OpenSearch does not take.
pub fn bulk_lines(operation: &Operation<'_>, config: &OpenSearchConfig, now_ms: i64) -> Result<BulkLines, Failure> {
    let id = operation.key.text_id();
    check(operation, &id, config.bulk_bytes)?;
    let name = &operation.into.name;
    check_name(name).map_err(|problem| Failure::new(Cause::InvalidTargetName, problem))?;
    let (mut document, mut fence) = (Vec::new(), Vec::new());
    push_action(&mut document, operation, &id, if config.guards { Guard::External } else { Guard::Off });
    if config.fences && operation.write == Write::Delete {
        push_fence(&mut fence, operation, &id, &fence::id(name, &id), Guard::External, now_ms);
    }
    Ok(BulkLines { document, fence })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidelock_core::encode::Format;
    use tidelock_core::explain::{Becomes, explain};
    use tidelock_core::pipeline::Pipeline;

    #[test]
    fn shows_what_is_sent_and_refuses_what_is_not() {
        let record = |name: &str, key: &str, number: u32| {
            format!(
                r#"{{"eventName":"{name}","eventSourceARN":"arn:aws:dynamodb:us-east-1:1:table/t/stream/2012-01-01T00:00:01.000",
                "dynamodb":{{"Keys":{{"k":{{"S":"{key}"}}}},"NewImage":{{"k":{{"S":"{key}"}}}},"SequenceNumber":"{number}"}}}}"#
            )
        };
        let records = [record("INSERT", "a", 1), record("REMOVE", "b", 2), record("INSERT", &"x".repeat(513), 3)];
        let event = format!(r#"{{"Records":[{}]}}"#, records.join(","));
        let config = OpenSearchConfig::new(5_000_000, 1);
        let request = |operation: &Operation<'_>| bulk_lines(operation, &config, 7);
        let told = explain(event.as_bytes(), &Pipeline::default(), Format::Json, false, request).expect("an event");
        let becomes = |index: usize| &told[index].acts[0].becomes;
        let Becomes::Sent { request: insert, deletes: false, .. } = becomes(0) else { panic!("{told:?}") };
        assert!(insert.document.starts_with(b"{\"index\":{\"_id\":\"a\",\"version\":") && insert.fence.is_empty());
        let Becomes::Sent { request: remove, deletes: true, .. } = becomes(1) else { panic!("{told:?}") };
        assert!(remove.document.starts_with(b"{\"delete\":{\"_id\":\"b\","));
        assert!(String::from_utf8_lossy(&remove.fence).contains("\"written\":7"));
        assert!(matches!(becomes(2), Becomes::Refused(failure) if failure.cause == Cause::InvalidId));
    }
}
