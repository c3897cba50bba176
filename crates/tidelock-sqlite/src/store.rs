//! For slow lanes: what is stored at operations' locations, and writes that meet nothing else than that.

use crate::apply::{Table, read_mark};
use crate::error::of_table;
use crate::{fence, transaction};
use rusqlite::{Connection, Transaction, TransactionBehavior, types::Value};
use std::collections::HashMap;
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::fence::check_id;
use tidelock_core::target::{Call, Found, Manner, Operation, Put, Stored, Write};
use tidelock_core::version::Judgement;

/// A document's `_tidelock` as it was read: it is the same as long as the document is. And the whole document, where its users
/// own a part of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Unchanged(Value, Option<String>);

pub(crate) fn look(
    connection: &Connection,
    operations: &[Operation<'_>],
    call: Call,
) -> Vec<Result<Found<Unchanged>, Failure>> {
    transaction::each(connection, TransactionBehavior::Deferred, call.deadline, operations, |transaction, operation| {
        let (table, id) = (operation.into.name.as_str(), operation.key.text_id());
        refuse_reserved(table)?;
        check_id(operation.key)?;
        let whole = operation.manner.is_some_and(Manner::needs_stored);
        let table_of = Table::new(table);
        let (stored, body) = match fence::exists(transaction, table)? {
            true => (table_of.stored(transaction, &id)?, if whole { table_of.body(transaction, &id)? } else { None }),
            false => (None, None),
        };
        let document = stored.map(|value| Stored {
            mark: read_mark(&value),
            witness: Unchanged(value, body.clone()),
            body: body.map(String::into_bytes),
        });
        Ok(Found { document, fence: fence::read(transaction, table, &id)? })
    })
}

pub(crate) fn put(
    connection: &Connection,
    puts: &[Put<'_, Unchanged>],
    call: Call,
    fences: bool,
) -> Vec<Result<bool, Failure>> {
    let mut tables = HashMap::new();
    transaction::each(connection, TransactionBehavior::Immediate, call.deadline, puts, |transaction, put| {
        let name = put.operation.into.name.as_str();
        let table = tables.entry(name).or_insert_with(|| Table::prepare(transaction, name));
        let table = table.as_ref().map_err(Failure::clone)?;
        put_one(table, transaction, put, call, fences)
    })
}

fn put_one(
    table: &Table,
    transaction: &Transaction<'_>,
    put: &Put<'_, Unchanged>,
    call: Call,
    fences: bool,
) -> Result<bool, Failure> {
    let operation = &put.operation;
    check_id(operation.key)?;
    if fences && operation.write == Write::Delete {
        fence::write(transaction, operation, call.now_ms, false)?;
    }
    let id = operation.key.text_id();
    let stored = table.stored(transaction, &id)?;
    let may_write = match (&put.over, &stored) {
        (_, None) if operation.write == Write::Delete => return Ok(true),
        (Some(Unchanged(witness, body)), stored) => {
            stored.as_ref() == Some(witness) && (body.is_none() || *body == table.body(transaction, &id)?)
        }
        (None, None) => true,
        // What came meanwhile may have something that is to be kept.
        (None, Some(_)) if operation.manner.is_some_and(Manner::needs_stored) => false,
        (None, Some(stored)) => operation.version.judge(read_mark(stored).as_ref()) == Judgement::Newer,
    };
    if may_write {
        table.carry_out(transaction, operation, &id)?;
    }
    Ok(may_write)
}

/// The failure of documents that would be written among the fences.
pub(crate) fn refuse_reserved(table: &str) -> Result<(), Failure> {
    if !fence::is_reserved(table) {
        return Ok(());
    }
    Err(Failure::new(Cause::InvalidTargetName, format!("`{table}`: this table is Tidelock's own")))
}

impl Table {
    /// The stored document, if it is there.
    fn body(&self, transaction: &Transaction<'_>, id: &str) -> Result<Option<String>, Failure> {
        use rusqlite::OptionalExtension as _;
        transaction
            .query_row(&self.select_document, [id], |row| row.get(0))
            .optional()
            .map_err(|error| of_table(&self.name, &error))
    }

    /// The stored mark, if the document is there.
    pub(crate) fn stored(&self, transaction: &Transaction<'_>, id: &str) -> Result<Option<Value>, Failure> {
        use rusqlite::OptionalExtension as _;
        transaction
            .prepare_cached(&self.select)
            .and_then(|mut select| select.query_row([id], |row| row.get(0)).optional())
            .map_err(|error| of_table(&self.name, &error))
    }
}
