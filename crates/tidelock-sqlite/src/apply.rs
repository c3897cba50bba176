//! One transaction per call: read what is stored, judge, write.

use crate::LOCK_WAIT;
use crate::error::{failure, of_table};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::target::{Done, Operation, Outcome, Write};
use tidelock_core::version::{Judgement, Mark};

/// Time kept for the commit and the answer.
const RESERVE: Duration = Duration::from_millis(200);

pub(crate) fn apply(connection: &Connection, operations: &[Operation<'_>], deadline: Instant) -> Vec<Outcome> {
    let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| *left > RESERVE) else {
        return vec![Err(out_of_time()); operations.len()];
    };
    let begun = connection
        .busy_timeout(LOCK_WAIT.min(left - RESERVE))
        .and_then(|()| Transaction::new_unchecked(connection, TransactionBehavior::Immediate));
    let transaction = match begun {
        Ok(transaction) => transaction,
        Err(error) => return vec![Err(failure(&error)); operations.len()],
    };
    let mut tables: HashMap<&str, Result<Table, Failure>> = HashMap::new();
    let mut outcomes = Vec::with_capacity(operations.len());
    for operation in operations {
        if deadline.saturating_duration_since(Instant::now()) <= RESERVE {
            outcomes.push(Err(out_of_time()));
            continue;
        }
        let name = operation.into.name.as_str();
        let table = tables.entry(name).or_insert_with(|| Table::prepare(&transaction, name));
        let outcome = table.as_ref().map_err(Failure::clone).and_then(|table| table.write(&transaction, operation));
        outcomes.push(outcome);
        if transaction.is_autocommit() {
            // A full disk or a damaged file ends the transaction as a whole: nothing of it has been written.
            let why = outcomes.last().and_then(|last| last.as_ref().err()).cloned();
            return vec![Err(why.unwrap_or_else(out_of_time)); operations.len()];
        }
    }
    if let Err(error) = transaction.commit() {
        let failure = failure(&error);
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
            *outcome = Err(failure.clone());
        }
    }
    outcomes
}

fn out_of_time() -> Failure {
    Failure::new(Cause::Deadline, "the time for this invocation was over before the write")
}

/// The statements for one table.
struct Table {
    name: String,
    select: String,
    upsert: String,
    delete: String,
}

impl Table {
    /// Creates the table where it is missing.
    fn prepare(transaction: &Transaction<'_>, name: &str) -> Result<Self, Failure> {
        let explain = |error| of_table(name, &error);
        // To SQLite `Orders` and `orders` are one table; to a source they are two, whose keys must not meet.
        let sql = "SELECT name FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE AND type IN ('table', 'view')";
        let existing: Option<String> =
            transaction.query_row(sql, [name], |row| row.get(0)).optional().map_err(explain)?;
        if let Some(existing) = existing.filter(|existing| existing != name) {
            let detail = format!(
                "table `{name}`: there is a table `{existing}`, and SQLite does not tell the case of letters apart"
            );
            return Err(Failure::new(Cause::InvalidTargetName, detail));
        }
        let quoted = quoted(name);
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {quoted} (_id TEXT PRIMARY KEY NOT NULL, document TEXT NOT NULL, _tidelock TEXT NOT NULL)"
        );
        transaction.execute(&create, []).map_err(explain)?;
        Ok(Self {
            name: name.to_owned(),
            select: format!("SELECT _tidelock FROM {quoted} WHERE _id = ?1"),
            upsert: format!(
                "INSERT INTO {quoted} (_id, document, _tidelock) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (_id) DO UPDATE SET document = excluded.document, _tidelock = excluded._tidelock"
            ),
            delete: format!("DELETE FROM {quoted} WHERE _id = ?1"),
        })
    }

    fn write(&self, transaction: &Transaction<'_>, operation: &Operation<'_>) -> Outcome {
        let explain = |error| of_table(&self.name, &error);
        let id = operation.key.text_id();
        let stored: Option<String> = transaction
            .prepare_cached(&self.select)
            .and_then(|mut select| select.query_row([&id], |row| Ok(text(row.get_ref(0)?))).optional())
            .map_err(explain)?;
        if let Some(stored) = &stored {
            // What is no mark counts as none: the live change takes the document over.
            let mark: Option<Mark> = serde_json::from_str(stored).ok();
            match (operation.version.judge(mark.as_ref()), operation.write) {
                (Judgement::Stale, _) => return Ok(Done::Stale),
                (Judgement::Replay, Write::Upsert(_)) => return Ok(Done::Applied),
                (Judgement::OrderConflict, _) => return Err(order_conflict(operation, stored)),
                (Judgement::Newer | Judgement::Foreign, _) | (Judgement::Replay, Write::Delete) => {}
            }
        }
        match operation.write {
            Write::Upsert(members) => {
                let (document, mark) = (document(members)?, mark(operation));
                let mut upsert = transaction.prepare_cached(&self.upsert).map_err(explain)?;
                upsert.execute(params![id, document, mark]).map_err(explain)?;
            }
            Write::Delete if stored.is_some() => {
                let mut delete = transaction.prepare_cached(&self.delete).map_err(explain)?;
                delete.execute([&id]).map_err(explain)?;
            }
            Write::Delete => {}
        }
        Ok(Done::Applied)
    }
}

/// A stored mark; empty where it is no text, as another program may have left it.
fn text(value: rusqlite::types::ValueRef<'_>) -> String {
    value.as_str().map(str::to_owned).unwrap_or_default()
}

/// A name as an SQL identifier.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The document whole: the sink has left its closing brace off.
fn document(members: &[u8]) -> Result<String, Failure> {
    let mut bytes = Vec::with_capacity(members.len() + 1);
    bytes.extend_from_slice(members);
    bytes.push(b'}');
    // Decoders let no invalid UTF-8 through; SQLite would store it as it comes.
    String::from_utf8(bytes)
        .map_err(|error| Failure::new(Cause::InvalidDocument, format!("the document is not UTF-8: {error}")))
}

fn mark(operation: &Operation<'_>) -> String {
    let mut bytes = Vec::with_capacity(160);
    operation.version.write_json(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn order_conflict(operation: &Operation<'_>, stored: &str) -> Failure {
    let version = &operation.version;
    let detail = format!(
        "the change has {} {} of {} ms, the stored document {stored}",
        version.label, version.exact, version.at
    );
    Failure::new(Cause::OrderConflict, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::limits::Limit;
    use tidelock_core::batch::Content;
    use tidelock_core::encode::Format;
    use tidelock_core::source::dynamodb;
    use tidelock_core::target::Place;

    #[test]
    fn a_document_over_the_limit_is_refused_alone() {
        let connection = Connection::open_in_memory().expect("open");
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, 2_000).expect("limit");
        let arn = "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/2026-01-01T00:00:00.000";
        let record = |key: usize, size: usize| {
            serde_json::json!({"eventName": "INSERT", "eventSourceARN": arn, "dynamodb": {
                "ApproximateCreationDateTime": 1, "SequenceNumber": "1", "Keys": {"id": {"N": key.to_string()}},
                "NewImage": {"text": {"S": "x".repeat(size)}}}})
        };
        let event = serde_json::json!({"Records": [record(1, 10), record(2, 4_000), record(3, 10)]}).to_string();
        let batch = dynamodb::decode(event.as_bytes(), Format::Json).expect("an event");
        let into = Place { name: "t".to_owned(), literal: false };
        let mut operations = Vec::new();
        for slot in &batch.slots {
            let Content::Upsert(range) = &slot.content else { panic!("not an upsert") };
            let (key, version) = (batch.key(slot).expect("key"), batch.version(slot).expect("version"));
            let write = Write::Upsert(&batch.documents[range.clone()]);
            operations.push(Operation { into: &into, key, write, version });
        }
        let outcomes = apply(&connection, &operations, Instant::now() + Duration::from_secs(5));
        assert_eq!(outcomes[1].as_ref().expect_err("too large").cause, Cause::DocumentTooLarge);
        assert_eq!((&outcomes[0], &outcomes[2]), (&Ok(Done::Applied), &Ok(Done::Applied)));
        let count: i64 = connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("count");
        assert_eq!(count, 2);
    }
}
