//! One transaction per call: read what is stored, judge, write.

use crate::error::of_table;
use crate::store::refuse_reserved;
use crate::{Safeguards, fence, transaction};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params, types::Value};
use std::collections::HashMap;
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::fence::check_id;
use tidelock_core::target::{Call, Done, Operation, Outcome, Write};
use tidelock_core::version::{Judgement, Mark, Version};

pub(crate) fn apply(
    connection: &Connection,
    operations: &[Operation<'_>],
    call: Call,
    safeguards: Safeguards,
) -> Vec<Outcome> {
    let mut tables: HashMap<&str, Result<Table, Failure>> = HashMap::new();
    let behavior = TransactionBehavior::Immediate;
    transaction::each(connection, behavior, call.deadline, operations, |transaction, operation| {
        let name = operation.into.name.as_str();
        let table = tables.entry(name).or_insert_with(|| Table::prepare(transaction, name));
        table.as_ref().map_err(Failure::clone)?.write(transaction, operation, call, safeguards)
    })
}

/// The statements for one table.
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) select: String,
    /// The whole document of an id.
    pub(crate) select_document: String,
    upsert: String,
    delete: String,
}

impl Table {
    pub(crate) fn new(name: &str) -> Self {
        let quoted = quoted(name);
        Self {
            name: name.to_owned(),
            select: format!("SELECT _tidelock FROM {quoted} WHERE _id = ?1"),
            select_document: format!("SELECT document FROM {quoted} WHERE _id = ?1"),
            upsert: format!(
                "INSERT INTO {quoted} (_id, document, _tidelock) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (_id) DO UPDATE SET document = excluded.document, _tidelock = excluded._tidelock"
            ),
            delete: format!("DELETE FROM {quoted} WHERE _id = ?1"),
        }
    }

    /// Creates the table where it is missing.
    pub(crate) fn prepare(transaction: &Transaction<'_>, name: &str) -> Result<Self, Failure> {
        refuse_reserved(name)?;
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
        Ok(Self::new(name))
    }

    fn write(
        &self,
        transaction: &Transaction<'_>,
        operation: &Operation<'_>,
        call: Call,
        safeguards: Safeguards,
    ) -> Outcome {
        check_id(operation.key)?;
        let id = operation.key.text_id();
        if safeguards.fences && operation.write == Write::Delete {
            fence::write(transaction, operation, call.now_ms, true)?;
        }
        if safeguards.guards
            && let Some(stored) = self.stored(transaction, &id)?
        {
            // What is no mark counts as none.
            let mark = read_mark(&stored);
            match (operation.version.judge(mark.as_ref()), operation.write) {
                (Judgement::Stale, _) => return Ok(Done::Stale),
                (Judgement::Replay, Write::Upsert(_)) => return Ok(Done::Applied),
                (Judgement::OrderConflict, _) => return Err(order_conflict(operation, &stored)),
                (Judgement::Tie, _) if call.truth => return Err(order_conflict(operation, &stored)),
                (Judgement::Foreign, _) if call.truth => return Err(foreign(operation, mark.as_ref())),
                // A live change wins a tie: of equal numbers, the one delivered later counts as the newer one.
                (Judgement::Newer | Judgement::Tie | Judgement::Foreign, _) | (Judgement::Replay, Write::Delete) => {}
            }
        }
        self.carry_out(transaction, operation, &id)?;
        Ok(Done::Applied)
    }

    /// Writes or deletes, whatever is stored.
    pub(crate) fn carry_out(
        &self,
        transaction: &Transaction<'_>,
        operation: &Operation<'_>,
        id: &str,
    ) -> Result<(), Failure> {
        let Write::Upsert(members) = operation.write else { return self.remove(transaction, id) };
        let (document, mark) = (document(members)?, mark_text(&operation.version));
        let upsert = transaction.prepare_cached(&self.upsert);
        upsert
            .and_then(|mut upsert| upsert.execute(params![id, document, mark]))
            .map(|_| ())
            .map_err(|error| of_table(&self.name, &error))
    }

    pub(crate) fn remove(&self, transaction: &Transaction<'_>, id: &str) -> Result<(), Failure> {
        let delete = transaction.prepare_cached(&self.delete);
        delete.and_then(|mut delete| delete.execute([id])).map(|_| ()).map_err(|error| of_table(&self.name, &error))
    }
}

/// A stored mark; `None` where it is none, as another program may have left it.
pub(crate) fn read_mark(stored: &Value) -> Option<Mark> {
    let Value::Text(text) = stored else { return None };
    serde_json::from_str(text).ok()
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

pub(crate) fn mark_text(version: &Version<'_>) -> String {
    let mut bytes = Vec::with_capacity(160);
    version.write_json(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn order_conflict(operation: &Operation<'_>, stored: &Value) -> Failure {
    let version = &operation.version;
    let stored = if let Value::Text(text) = stored { text.as_str() } else { "" };
    let detail = format!(
        "the change has {} {} of {} ms, the stored document {stored}",
        version.label, version.exact, version.at
    );
    Failure::new(Cause::OrderConflict, detail)
}

fn foreign(operation: &Operation<'_>, mark: Option<&Mark>) -> Failure {
    let space = operation.version.space;
    let detail = match mark {
        Some(mark) => format!("the document was written by `{}`, the change is of `{space}`", mark.space),
        None => "the document has no version that can be read".to_owned(),
    };
    Failure::new(Cause::ForeignDocument, detail)
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
        let into = Place::new("t".to_owned(), false);
        let mut operations = Vec::new();
        for slot in &batch.slots {
            let Content::Upsert(range) = &slot.content else { panic!("not an upsert") };
            let (key, version) = (batch.key(slot).expect("key"), batch.version(slot).expect("version"));
            let write = Write::Upsert(&batch.documents[range.clone()]);
            operations.push(Operation::plain(&into, key, write, version));
        }
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        let call = Call { deadline, now_ms: 0, truth: false };
        let outcomes = apply(&connection, &operations, call, Safeguards::ALL);
        assert_eq!(outcomes[1].as_ref().expect_err("too large").cause, Cause::DocumentTooLarge);
        assert_eq!((&outcomes[0], &outcomes[2]), (&Ok(Done::Applied), &Ok(Done::Applied)));
        let count: i64 = connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("count");
        assert_eq!(count, 2);
    }
}
