//! How often a guarded write is refused and has to be judged on what is stored: neighbouring sequence numbers that are close
//! share a version, which the engine takes for no newer one.

use std::collections::HashMap;

use serde_json::Value;

use super::guards::one_at_a_time;
use super::{Load, OpenSearch, Target as _, expect_documents};
use crate::corpus::{Batch, Shape, Step};
use crate::function::{Function, Result};
use crate::opensearch::{Bulk, Recorder, actions};
use crate::results::Conflicts;
use crate::subjects::{Places, TIDELOCK};

const STEPS: [Step; 3] = [Step::Wide, Step::Mixed, Step::One];

/// How long the server remembers a delete. By default it is a minute, which a write over a remembered delete of the same
/// version waits out, batch for batch.
const DELETES_REMEMBERED: &str = "1s";

/// Sends a corpus of every step through a recording proxy and counts what the server refuses.
pub(crate) fn run(places: &Places, server: &OpenSearch, shape: &Shape, records: usize) -> Result<Vec<Conflicts>> {
    let mut rows = Vec::new();
    for step in STEPS {
        let load = Load::new(&Shape { step, ..shape.clone() }, records, Batch::Records(500))?;
        let recorder = Recorder::start(server.host())?;
        let target = format!("opensearch+http://{}", recorder.host());
        server.fresh()?;
        server.remember_deletes_for(DELETES_REMEMBERED)?;
        let subject = one_at_a_time(places, TIDELOCK, target, &[]);
        let mut function = Function::start(&subject.launch, &places.logs())?;
        load.warm_up(&mut function)?;
        recorder.take();
        let mut row = Conflicts { step: step.label().into(), changes: load.records, ..Conflicts::default() };
        for event in &load.events {
            function.invoke(event)?;
            count(&recorder.take(), &mut row)?;
        }
        expect_documents(server, load.documents)?;
        eprintln!("conflicts, steps of {}: {} of {} changes", row.step, row.documents, row.changes);
        rows.push(row);
    }
    server.delete_indices()?;
    Ok(rows)
}

/// Adds up the writes of one invocation that their guard refused. An invocation writes a document once, unless it has to
/// write it again; a second refusal means that the server remembers a delete and nothing can be done but wait.
fn count(bulks: &[Bulk], into: &mut Conflicts) -> Result<()> {
    let mut refusals = HashMap::<(bool, String), usize>::new();
    for bulk in bulks {
        for place in refused(bulk)? {
            *refusals.entry(place).or_default() += 1;
        }
    }
    for ((fence, _), times) in refusals {
        match fence {
            true => into.fences += 1,
            false => {
                into.documents += 1;
                into.waited += usize::from(times > 1);
            }
        }
    }
    Ok(())
}

/// The ids that a bulk answer refuses because of their guard, each with whether it is a fence's.
///
/// # Errors
/// An answer that does not answer for every action.
fn refused(bulk: &Bulk) -> Result<Vec<(bool, String)>> {
    let answer: Value = serde_json::from_slice(&bulk.answer)?;
    let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let actions = actions(&bulk.body).map(serde_json::from_slice).collect::<std::result::Result<Vec<Value>, _>>()?;
    if items.len() != actions.len() {
        return Err(format!("a bulk request got {} items for {} actions", items.len(), actions.len()).into());
    }
    let mut refused = Vec::new();
    for (action, item) in actions.iter().zip(items) {
        if inner(item)["status"] == 409 {
            let id = inner(action)["_id"].as_str().ok_or("an action has no id")?;
            refused.push((inner(action).get("_index").is_some(), id.to_owned()));
        }
    }
    Ok(refused)
}

/// What `{"index":…}` or `{"delete":…}` holds.
fn inner(value: &Value) -> &Value {
    value.as_object().and_then(|object| object.values().next()).unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes document 1, deletes document 2 with its fence, and writes document 3.
    fn bulk(statuses: [u16; 4]) -> Bulk {
        let body = b"{\"index\":{\"_id\":\"1\"}}\n{}\n{\"delete\":{\"_id\":\"2\"}}\n\
            {\"index\":{\"_index\":\"tidelock-fences\",\"_id\":\"2\"}}\n{}\n{\"index\":{\"_id\":\"3\"}}\n{}\n";
        let items = statuses.map(|status| format!(r#"{{"index":{{"status":{status}}}}}"#)).join(",");
        let answer = format!(r#"{{"errors":true,"items":[{items}]}}"#).into_bytes().into();
        Bulk { target: "/bench/_bulk".into(), body: body.to_vec(), answer }
    }

    #[test]
    fn refused_documents_and_refused_fences_are_counted_apart() {
        let mut found = Conflicts::default();
        count(&[bulk([409, 409, 409, 200])], &mut found).expect("well formed");
        assert_eq!((found.documents, found.waited, found.fences), (2, 0, 1));
        count(&[bulk([201, 404, 201, 409])], &mut found).expect("well formed");
        assert_eq!((found.documents, found.waited, found.fences), (3, 0, 1));
    }

    #[test]
    fn a_write_that_is_refused_again_counts_once_and_as_waiting() {
        let mut found = Conflicts::default();
        count(&[bulk([409, 200, 201, 200]), bulk([409, 200, 201, 409])], &mut found).expect("well formed");
        assert_eq!((found.documents, found.waited, found.fences), (2, 1, 0));
    }

    #[test]
    fn an_answer_with_too_few_items_is_no_answer() {
        for items in ["", r#"{"index":{"status":200}}"#] {
            let answer = format!(r#"{{"errors":false,"items":[{items}]}}"#).into_bytes().into();
            assert!(refused(&Bulk { answer, ..bulk([200; 4]) }).is_err(), "{items}");
        }
    }
}
