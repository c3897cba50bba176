//! Documents written without the fields that their index has no place for (`on_conflict: salvage`).
//!
//! An index refuses a whole document for one value that does not fit its mapping. Where the route wants it, that field is set aside
//! under `_rejected`, which no target parses, and the rest is written, under the same guards. A letter of reason
//! [`Salvaged`](Cause::Salvaged) tells of it.

mod document;

pub use document::REJECTED;

use crate::cause::{Cause, Failure};
use crate::encode::Format;
use crate::fence::{Cleared, Swept, Window};
use crate::key::Key;
use crate::target::{Call, Found, Operation, Outcome, Place, Put, Salvage, Store, Target, Write};
use crate::version::Mark;
use document::Remains;
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Instant;

/// How often a document is written with less. An index names one field at a time.
const ROUNDS: usize = 16;

/// Most fields that a letter names.
const MAX_NAMED: usize = 20;

/// A store that writes what it can of documents, where operations allow it. Everything else it leaves to the store behind it.
pub struct Salvaging<'a, S> {
    store: &'a S,
    /// What was set aside, by location.
    notes: RefCell<HashMap<(Place, Vec<u8>), Failure>>,
}

/// A document that is tried with less and less.
struct Trial {
    /// Index into the operations.
    index: usize,
    remains: Remains,
    /// As it is sent.
    document: Vec<u8>,
    /// Why it was refused whole.
    why: String,
}

impl<'a, S: Store> Salvaging<'a, S> {
    /// Writes to `store`.
    #[must_use]
    pub fn new(store: &'a S) -> Self {
        Self { store, notes: RefCell::default() }
    }

    /// What the document that was written last at a location lacks; asked once.
    #[must_use]
    pub fn note(&self, into: &Place, key: Key<'_>) -> Option<Failure> {
        if self.notes.borrow().is_empty() {
            return None;
        }
        self.notes.borrow_mut().remove(&location(into, key))
    }

    /// Sends what was refused again, with less, until it is taken or nothing more can be set aside.
    async fn salvage<R>(
        &self,
        operations: &[Operation<'_>],
        results: &mut [Result<R, Failure>],
        deadline: Instant,
        send: impl AsyncFn(&[(usize, Write<'_>)]) -> Vec<Result<R, Failure>>,
    ) {
        let mut trials: Vec<Trial> = operations
            .iter()
            .zip(&*results)
            .enumerate()
            .filter_map(|(index, (operation, result))| match (operation.write, result) {
                (Write::Upsert(document), Err(failure))
                    if operation.salvage == Salvage::Allowed && is_of_a_field(failure) =>
                {
                    Some((index, document, failure.to_string()))
                }
                _ => None,
            })
            .filter_map(|(index, document, why)| {
                let remains = Remains::of(document)?;
                Some(Trial { index, remains, document: document.to_vec(), why })
            })
            .collect();
        for _ in 0..ROUNDS {
            if trials.is_empty() {
                return;
            }
            let refused: Vec<(Operation<'_>, &Failure)> = trials
                .iter()
                .filter_map(|trial| match (operations.get(trial.index), results.get(trial.index)) {
                    (Some(operation), Some(Err(failure))) => {
                        Some((Operation { write: Write::Upsert(&trial.document), ..*operation }, failure))
                    }
                    _ => None,
                })
                .collect();
            let misfits = self.store.misfits(&refused, deadline).await;
            let mut smaller = Vec::with_capacity(trials.len());
            for (mut trial, paths) in trials.into_iter().zip(misfits) {
                let mut taken = 0;
                for path in &paths {
                    taken += usize::from(trial.remains.set_aside(path));
                }
                if taken > 0 {
                    trial.document = trial.remains.document();
                    smaller.push(trial);
                }
            }
            trials = smaller;
            if trials.is_empty() {
                return;
            }
            let writes: Vec<(usize, Write<'_>)> =
                trials.iter().map(|trial| (trial.index, Write::Upsert(&trial.document))).collect();
            let answers = send(&writes).await;
            if answers.len() != writes.len() {
                return;
            }
            let mut open = Vec::new();
            for (trial, answer) in trials.into_iter().zip(answers) {
                let (Some(result), Some(operation)) = (results.get_mut(trial.index), operations.get(trial.index))
                else {
                    continue;
                };
                *result = answer;
                match result {
                    Ok(_) => {
                        self.notes.borrow_mut().insert(location(operation.into, operation.key), trial.note());
                    }
                    Err(failure) if is_of_a_field(failure) => open.push(trial),
                    Err(_) => {}
                }
            }
            trials = open;
        }
    }

    /// What is about to be written anew lacks nothing yet.
    fn forget<'o>(&self, operations: impl Iterator<Item = &'o Operation<'o>>) {
        let mut notes = self.notes.borrow_mut();
        if !notes.is_empty() {
            operations.for_each(|operation| drop(notes.remove(&location(operation.into, operation.key))));
        }
    }
}

impl Trial {
    fn note(&self) -> Failure {
        let named: Vec<String> = self.remains.paths().take(MAX_NAMED).map(|path| format!("`{path}`")).collect();
        let more = self.remains.paths().count() - named.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let detail = format!("written with {}{more} under `{REJECTED}`: {}", named.join(", "), self.why);
        Failure::new(Cause::Salvaged, detail)
    }
}

fn location(into: &Place, key: Key<'_>) -> (Place, Vec<u8>) {
    (into.clone(), key.as_bytes().to_vec())
}

/// Whether a document may have been refused for one of its fields.
fn is_of_a_field(failure: &Failure) -> bool {
    matches!(failure.cause, Cause::MappingConflict | Cause::FieldLimit | Cause::InvalidDocument)
}

impl<S: Store> Target for Salvaging<'_, S> {
    fn format(&self) -> Format {
        self.store.format()
    }

    async fn apply(&self, operations: &[Operation<'_>], call: Call) -> Vec<Outcome> {
        self.forget(operations.iter());
        let mut outcomes = self.store.apply(operations, call).await;
        if outcomes.len() == operations.len() && outcomes.iter().any(Result::is_err) {
            let send = async |writes: &[(usize, Write<'_>)]| {
                let mut some: Vec<Operation<'_>> = Vec::with_capacity(writes.len());
                for &(index, write) in writes {
                    some.extend(operations.get(index).map(|operation| Operation {
                        write,
                        salvage: Salvage::Done,
                        ..*operation
                    }));
                }
                self.store.apply(&some, call).await
            };
            Box::pin(self.salvage(operations, &mut outcomes, call.deadline, send)).await;
        }
        outcomes
    }
}

impl<S: Store> Store for Salvaging<'_, S> {
    type Witness = S::Witness;

    async fn look(&self, operations: &[Operation<'_>], call: Call) -> Vec<Result<Found<S::Witness>, Failure>> {
        self.store.look(operations, call).await
    }

    async fn fences(&self, operations: &[Operation<'_>], call: Call) -> Vec<Result<Option<Mark>, Failure>> {
        self.store.fences(operations, call).await
    }

    async fn ping(&self, deadline: Instant) -> Result<(), Failure> {
        self.store.ping(deadline).await
    }

    async fn put(&self, puts: &[Put<'_, S::Witness>], call: Call) -> Vec<Result<bool, Failure>> {
        self.forget(puts.iter().map(|put| &put.operation));
        let mut results = self.store.put(puts, call).await;
        if results.len() == puts.len() && results.iter().any(Result::is_err) {
            let operations: Vec<Operation<'_>> = puts.iter().map(|put| put.operation).collect();
            let send = async |writes: &[(usize, Write<'_>)]| {
                let mut some: Vec<Put<'_, S::Witness>> = Vec::with_capacity(writes.len());
                for &(index, write) in writes {
                    let put = puts
                        .get(index)
                        .map(|put| (Operation { write, salvage: Salvage::Done, ..put.operation }, put.over.clone()));
                    some.extend(put.map(|(operation, over)| Put { operation, over }));
                }
                self.store.put(&some, call).await
            };
            Box::pin(self.salvage(&operations, &mut results, call.deadline, send)).await;
        }
        results
    }

    async fn sweep(&self, window: Window, call: Call) -> Result<Swept, Failure> {
        self.store.sweep(window, call).await
    }

    async fn clear(&self, into: &Place, fence: &Mark, call: Call) -> Result<Cleared, Failure> {
        self.store.clear(into, fence, call).await
    }
}

#[cfg(test)]
mod tests;
