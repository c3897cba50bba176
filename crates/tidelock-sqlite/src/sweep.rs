//! The sweep: documents that are older than the delete of their location are removed, and fences that have expired.
//!
//! Page by page, each in a transaction of its own, which holds the write lock: nothing changes in between.

use crate::apply::{Table, read_mark};
use crate::clear::clear_within;
use crate::error::of_table;
use crate::fence;
use crate::transaction::{begin, has_time};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params, types::Value};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::fence::{FENCE_COLLECTION, Swept, Window, is_of_namespace, overtakes};
use tidelock_core::target::Call;

/// Fences compared at a time.
const PAGE: usize = 500;

/// Where the last pass has come to: the time its last fence was written at, and which it was, where it was cut short.
type Place = (i64, Option<String>);

pub(crate) fn sweep(connection: &Connection, window: Window, call: Call) -> Result<Swept, Failure> {
    let mut swept = Swept::default();
    let mut place: Option<Place> = None;
    while !swept.complete {
        let transaction = match begin(connection, TransactionBehavior::Immediate, call.deadline) {
            Ok(transaction) => transaction,
            Err(failure) if failure.cause == Cause::Deadline => return Ok(swept),
            Err(failure) => return Err(failure),
        };
        fence::prepare(&transaction)?;
        let from = match place.take() {
            Some(place) => place,
            None => start(&transaction, window)?,
        };
        let mut page = swept;
        let reached = compare(&transaction, window, &from, &mut page, call)?;
        page.complete = reached.is_none();
        let reached = reached.unwrap_or((window.until_ms, None));
        keep(&transaction, &reached)?;
        transaction.commit().map_err(explain)?;
        (swept, place) = (page, Some(reached));
    }
    // Only what has been compared may expire.
    let sql = format!(
        "DELETE FROM {FENCE_COLLECTION} WHERE _id IN \
         (SELECT _id FROM {FENCE_COLLECTION} WHERE written < ?1 ORDER BY written LIMIT {PAGE})"
    );
    while has_time(call.deadline) {
        let gone = connection.execute(&sql, [window.expired_ms.min(window.until_ms)]).map_err(explain)?;
        swept.expired += gone;
        if gone < PAGE {
            break;
        }
    }
    Ok(swept)
}

fn explain(error: rusqlite::Error) -> Failure {
    fence::unwritten(of_table(FENCE_COLLECTION, &error))
}

fn start(transaction: &Transaction<'_>, window: Window) -> Result<Place, Failure> {
    let sql = format!("SELECT watermark, id FROM {FENCE_COLLECTION} WHERE _id = 'watermark'");
    let row: Option<(Option<i64>, Option<String>)> =
        transaction.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?))).optional().map_err(explain)?;
    Ok(match row.unwrap_or_default() {
        // No overlap: else a crowd of fences of one time could never be passed.
        (Some(written), Some(last)) if written < window.until_ms => (written, Some(last)),
        (reached, _) => (window.from_ms(reached), None),
    })
}

fn keep(transaction: &Transaction<'_>, (written, last): &Place) -> Result<(), Failure> {
    let sql = format!(
        "INSERT INTO {FENCE_COLLECTION} (_id, watermark, id) VALUES ('watermark', ?1, ?2) \
         ON CONFLICT (_id) DO UPDATE SET watermark = excluded.watermark, id = excluded.id"
    );
    transaction.execute(&sql, params![written, last]).map(|_| ()).map_err(explain)
}

/// Compares a page of fences; gives its last one, or nothing where there are no more. A fence of a whole namespace for which time
/// was over is not passed.
fn compare(
    transaction: &Transaction<'_>,
    window: Window,
    (written, last): &Place,
    swept: &mut Swept,
    call: Call,
) -> Result<Option<Place>, Failure> {
    let sql = format!(
        "SELECT _id, written, collection, id, _tidelock FROM {FENCE_COLLECTION} \
         WHERE (written, _id) > (?1, ?2) AND written < ?3 ORDER BY written, _id LIMIT {PAGE}"
    );
    type Row = (String, i64, Option<String>, Option<String>, Value);
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?));
    // No id is below the empty one.
    let from = params![written, last.as_deref().unwrap_or_default(), window.until_ms];
    let mut select = transaction.prepare_cached(&sql).map_err(explain)?;
    let rows: Vec<Row> = select.query_map(from, read).and_then(|rows| rows.collect()).map_err(explain)?;
    let mut reached = (*written, last.clone());
    for (fence, written, collection, id, mark) in &rows {
        let before = std::mem::replace(&mut reached, (*written, Some(fence.clone())));
        let (Some(collection), Some(id), Some(mark)) = (collection, id, read_mark(mark)) else { continue };
        if is_of_namespace(id, &mark) {
            let cleared = clear_within(transaction, collection, &mark, call.deadline)?;
            swept.removed += cleared.removed;
            if !cleared.complete {
                return Ok(Some(before));
            }
        }
        swept.compared += 1;
        if fence::is_reserved(collection) || !fence::exists(transaction, collection)? {
            continue;
        }
        let table = Table::new(collection);
        let stored = table.stored(transaction, id)?;
        if overtakes(&mark, stored.as_ref().and_then(read_mark).as_ref()) {
            table.remove(transaction, id)?;
            swept.removed += 1;
        }
    }
    Ok((rows.len() == PAGE).then_some(reached))
}
