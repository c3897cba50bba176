//! What a scan of the source has found.

use super::{Source, Told, Wish, answers, operation, truth};
use crate::cause::{Cause, Failure};
use crate::target::{Call, Done, Found, Operation, Outcome, Store, Write};

/// Writes what a scan of the source has found. `items` are documents by position of their wishes, whose version is the
/// oldest there is. What has become of each, by position.
///
/// Where the target holds neither document nor fence, the scanned item goes in, and every change that the stream still
/// brings is newer. Anywhere else the scan may be older than what is there, so the source is read again.
pub async fn backfill<S: Store, R: Source>(
    store: &S,
    source: &R,
    wishes: &[Wish<'_>],
    items: &[&[u8]],
    call: Call,
) -> Vec<Told> {
    let mut told: Vec<Option<Told>> = vec![None; wishes.len()];
    let operations: Vec<Operation<'_>> =
        wishes.iter().zip(items).map(|(wish, item)| operation(wish, Write::Upsert(item), wish.version)).collect();
    let looked = answers(store.look(&operations, call).await, operations.len());
    let (mut empty, mut known) = (Vec::new(), Vec::new());
    for (index, (operation, found)) in operations.iter().zip(looked).enumerate() {
        match found {
            Ok(Found { document: None, fence: None }) => empty.push((index, *operation)),
            Ok(_) => known.push(index),
            Err(failure) => tell(&mut told, index, Err(failure)),
        }
    }
    let (indices, some): (Vec<usize>, Vec<Operation<'_>>) = empty.into_iter().unzip();
    let applied = match some.is_empty() {
        true => Vec::new(),
        false => answers(store.apply(&some, Call { truth: true, ..call }).await, some.len()),
    };
    let mut check = Vec::new();
    for ((&index, operation), outcome) in indices.iter().zip(&some).zip(applied) {
        match outcome {
            Ok(Done::Applied) => check.push((index, *operation)),
            Err(failure) if matches!(failure.cause, Cause::ForeignDocument | Cause::OrderConflict) => known.push(index),
            outcome => tell(&mut told, index, outcome),
        }
    }
    // A delete that came meanwhile has left a fence: then only the source knows.
    let (indices, some): (Vec<usize>, Vec<Operation<'_>>) = check.into_iter().unzip();
    for (&index, fence) in indices.iter().zip(answers(store.fences(&some, call).await, some.len())) {
        match fence {
            Ok(None) => tell(&mut told, index, Ok(Done::Applied)),
            Ok(Some(_)) => known.push(index),
            Err(failure) => tell(&mut told, index, Err(failure)),
        }
    }
    let some: Vec<Wish<'_>> = known.iter().filter_map(|&index| wishes.get(index).copied()).collect();
    for (index, found) in known.iter().zip(truth(store, source, &some, call).await) {
        if let Some(place) = told.get_mut(*index) {
            *place = Some(found);
        }
    }
    let lost = || Told { outcome: Err(Failure::new(Cause::LostRace, "nothing is known of it")), nowhere: None };
    told.into_iter().map(|told| told.unwrap_or_else(lost)).collect()
}

fn tell(told: &mut [Option<Told>], index: usize, outcome: Outcome) {
    if let Some(place) = told.get_mut(index) {
        *place = Some(Told { outcome, nowhere: None });
    }
}
