//! News that has waited: written as the live lane writes, between two looks at the fences.

use super::{News, Step, answers, finish, is_another, set, settle, step};
use crate::cause::{Cause, Failure};
use crate::fence::overtakes;
use crate::target::{Call, Done, Found, Manner, Operation, Outcome, Store, Write};
use crate::version::Mark;
use std::cmp::Ordering;

/// Writes what the operations say, each on a location of its own, unless something newer is known. One outcome each, by
/// position.
///
/// The same as [`settle`], for many changes of which few are old: the live lane's guard judges them against the documents that
/// are there, so that only the fences must be looked at, before the write and after it. What the guard cannot settle, and what
/// a fence has something to say about, goes to [`settle`].
pub async fn drain<S: Store>(store: &S, operations: &[Operation<'_>], call: Call) -> Vec<Outcome> {
    let mut outcomes: Vec<Option<Outcome>> = vec![None; operations.len()];
    let mut careful = Vec::new();
    let mut plain = Vec::new();
    let fences = answers(store.fences(operations, call).await, operations.len());
    for (index, (operation, fence)) in operations.iter().zip(fences).enumerate() {
        match fence {
            Ok(_) if merges(operation) => careful.push(index),
            Ok(fence) if is_newer(operation, fence.as_ref()) => plain.push((index, *operation)),
            Ok(_) => careful.push(index),
            Err(failure) => set(&mut outcomes, index, Err(failure)),
        }
    }
    let (indices, written): (Vec<usize>, Vec<Operation<'_>>) = plain.into_iter().unzip();
    // What only the source could settle is handed back, so that a slow lane's rules decide.
    let applied = apply(store, &written, Call { truth: true, ..call }).await;
    let mut check = Vec::new();
    for ((&index, operation), outcome) in indices.iter().zip(&written).zip(applied) {
        match outcome {
            Ok(Done::Applied) if operation.write != Write::Delete => check.push((index, *operation)),
            Err(failure) if matches!(failure.cause, Cause::ForeignDocument | Cause::OrderConflict) => {
                careful.push(index)
            }
            outcome => set(&mut outcomes, index, outcome),
        }
    }
    // A delete that came meanwhile has left a fence: what was written must give way to it.
    let (indices, written): (Vec<usize>, Vec<Operation<'_>>) = check.into_iter().unzip();
    let fences = answers(store.fences(&written, call).await, written.len());
    for ((&index, operation), fence) in indices.iter().zip(&written).zip(fences) {
        match fence {
            Ok(Some(fence)) if overtakes(&fence, Some(&operation.version.mark())) => careful.push(index),
            Ok(_) => set(&mut outcomes, index, Ok(Done::Applied)),
            Err(failure) => set(&mut outcomes, index, Err(failure)),
        }
    }
    let some: Vec<Operation<'_>> = careful.iter().filter_map(|&index| operations.get(index).copied()).collect();
    for (&index, outcome) in careful.iter().zip(settle(store, &some, call).await) {
        set(&mut outcomes, index, outcome);
    }
    finish(outcomes)
}

/// What is stored must be looked at, too.
fn merges(operation: &Operation<'_>) -> bool {
    operation.manner.is_some_and(Manner::needs_stored)
}

/// Nothing that is known of deletes speaks against the change.
fn is_newer(operation: &Operation<'_>, fence: Option<&Mark>) -> bool {
    let order = fence.and_then(|fence| fence.compare(&operation.version.mark()));
    match order {
        Some(Ordering::Greater) => false,
        // A delete finds its own fence; an upsert of equal version is settled exactly.
        Some(Ordering::Equal) => {
            operation.write == Write::Delete && !fence.is_some_and(|fence| is_another(&operation.version, fence))
        }
        Some(Ordering::Less) | None => true,
    }
}

async fn apply<S: Store>(store: &S, operations: &[Operation<'_>], call: Call) -> Vec<Outcome> {
    if operations.is_empty() {
        return Vec::new();
    }
    answers(store.apply(operations, call).await, operations.len())
}

/// What would become of operations if they were written now; nothing is.
pub async fn foretell<S: Store>(store: &S, operations: &[Operation<'_>], call: Call) -> Vec<Outcome> {
    let looked = answers(store.look(operations, call).await, operations.len());
    let foretold = |(operation, found): (&Operation<'_>, Result<Found<S::Witness>, Failure>)| match step(
        operation,
        &found?,
        true,
        News::No,
    ) {
        Step::Done(outcome) => outcome,
        Step::Write(_) => Ok(Done::Applied),
        Step::Remove(..) => Ok(Done::Stale),
    };
    operations.iter().zip(looked).map(foretold).collect()
}
