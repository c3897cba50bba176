//! One transaction for each call, which holds the write lock from its start.

use crate::LOCK_WAIT;
use crate::error::failure;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::time::{Duration, Instant};
use tidelock_core::cause::{Cause, Failure};

/// Time kept for the commit and the answer.
const RESERVE: Duration = Duration::from_millis(200);

/// Whether there is time for more than the commit and the answer.
pub(crate) fn has_time(deadline: Instant) -> bool {
    deadline.saturating_duration_since(Instant::now()) > RESERVE
}

pub(crate) fn out_of_time() -> Failure {
    Failure::new(Cause::Deadline, "the time for this invocation was over before the write")
}

/// Waits for the lock as long as there is time.
pub(crate) fn begin(
    connection: &Connection,
    behavior: TransactionBehavior,
    deadline: Instant,
) -> Result<Transaction<'_>, Failure> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left <= RESERVE {
        return Err(out_of_time());
    }
    connection
        .busy_timeout(LOCK_WAIT.min(left - RESERVE))
        .and_then(|()| Transaction::new_unchecked(connection, behavior))
        .map_err(|error| failure(&error))
}

/// Does each step within one transaction: a step that fails leaves the others alone, a commit that fails undoes them all.
pub(crate) fn each<S, T>(
    connection: &Connection,
    behavior: TransactionBehavior,
    deadline: Instant,
    steps: &[S],
    mut step: impl FnMut(&Transaction<'_>, &S) -> Result<T, Failure>,
) -> Vec<Result<T, Failure>> {
    let all = |failure: &Failure| steps.iter().map(|_| Err(failure.clone())).collect();
    let transaction = match begin(connection, behavior, deadline) {
        Ok(transaction) => transaction,
        Err(failure) => return all(&failure),
    };
    let mut results = Vec::with_capacity(steps.len());
    for one in steps {
        results.push(if has_time(deadline) { step(&transaction, one) } else { Err(out_of_time()) });
        if transaction.is_autocommit() {
            // A full disk or a damaged file ends the transaction as a whole: nothing of it has been written.
            let why = results.last().and_then(|last| last.as_ref().err()).cloned();
            return all(&why.unwrap_or_else(out_of_time));
        }
    }
    if let Err(error) = transaction.commit() {
        let failure = failure(&error);
        for result in results.iter_mut().filter(|result| result.is_ok()) {
            *result = Err(failure.clone());
        }
    }
    results
}
