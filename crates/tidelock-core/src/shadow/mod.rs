//! What a target holds against what it would hold if the changes of a batch were written now. The target is only looked at.

use crate::batch::{Batch, Delivery, Fate, Plan, Round, Slot};
use crate::cause::{Cause, Disposition, Failure};
use crate::diff::{Change, Node, diff};
use crate::encode::Format;
use crate::explain::{event_name, id, reader, recalls, records};
use crate::pipeline::Pipeline;
use crate::slow::{Fenced, answers, merged, whole};
use crate::source::EnvelopeError;
use crate::target::{Call, Deletes, Done, Found, Manner, Operation, Place, Store, Write};
use crate::version::Mark;
use std::cmp::Ordering;

/// A key at one of its places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// The number of the record whose change it is: the newest of the key in its batch.
    pub record: usize,
    /// The source's name of the operation.
    pub event: Option<String>,
    /// The name that routes match: the table's.
    pub source: String,
    /// The key as JSON in the source's notation.
    pub key: String,
    /// Where it is, or would be.
    pub place: Place,
    /// The document's id there, as JSON.
    pub id: String,
    /// The version of the change.
    pub version: Mark,
    /// The version of what is stored, where it has one that can be read.
    pub stored: Option<Mark>,
    /// What the comparison says.
    pub verdict: Verdict,
}

/// What is stored against what would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The same, or nothing where nothing would be.
    Same,
    /// Other values: what is stored comes first.
    Differs(Vec<Change>),
    /// Nothing is there.
    Missing,
    /// Something is there that would be deleted.
    Unwanted,
    /// What is stored is newer than the change.
    Newer,
    /// Other values, in a document that has no version of this source.
    Foreign(Vec<Change>),
    /// It could not be looked at, or nobody knows what would be there.
    Unknown(Failure),
}

impl Verdict {
    /// It is not as it would be, or nobody knows.
    #[must_use]
    pub fn is_other(&self) -> bool {
        !matches!(self, Self::Same | Self::Newer)
    }
}

/// A change that would become a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The number of its record.
    pub record: usize,
    /// The name that routes match, where the record has one.
    pub source: Option<String>,
    /// The key as JSON in the source's notation, where it can be read.
    pub key: Option<String>,
    /// Why.
    pub failure: Failure,
}

/// A batch, compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparison {
    /// Records of the event.
    pub records: usize,
    /// The keys whose changes would be written, place by place.
    pub keys: Vec<Compared>,
    /// Changes that would become dead letters.
    pub refused: Vec<Refused>,
    /// Changes that the pipeline leaves out.
    pub filtered: usize,
    /// Records of changes that only the source could tell the items of: nothing is compared.
    pub unread: Vec<usize>,
    /// Changes that leave places which only the [state](crate::locate) knows: these are not compared.
    pub recalled: usize,
}

/// Compares a batch. Nothing is written.
///
/// `truth` says that the function reads the source again where a change came without its item; `check` what can be told of an operation before
/// it is sent; `call` gives the circumstances of a look; `settle` is waited
/// for, and what differs is looked at once more, because a function may be about to write it.
///
/// # Errors
/// When the payload is no event: as the function's own.
pub async fn compare<S: Store>(
    store: &S,
    payload: &[u8],
    pipeline: &Pipeline,
    truth: bool,
    check: impl Fn(&Operation<'_>) -> Result<(), Failure>,
    call: impl Fn() -> Call,
    settle: impl Future<Output = ()>,
) -> Result<Comparison, EnvelopeError> {
    let format = store.format();
    let batch = pipeline.decode(&reader(payload), payload, format)?;
    let numbers = records(&batch);
    let number = |slot: usize| numbers.get(slot).copied().unwrap_or_default();
    let plan = Plan::new(payload, &batch, pipeline);
    let mut delivery = Delivery::new(&batch, &plan, truth);
    let (planned, unread) = planned(&mut delivery, check);
    let store = &Fenced::new(store, plan.fences_namespaces);
    let operations: Vec<Operation<'_>> = planned.iter().map(|(_, operation)| *operation).collect();
    let mut verdicts = look(store, &operations, format, call()).await;
    let other: Vec<usize> = (0..verdicts.len())
        .filter(|&index| verdicts.get(index).is_some_and(|(verdict, _)| verdict.is_other()))
        .collect();
    if !other.is_empty() {
        settle.await;
        let again: Vec<Operation<'_>> = other.iter().filter_map(|&index| operations.get(index).copied()).collect();
        for (&index, verdict) in other.iter().zip(look(store, &again, format, call()).await) {
            if let Some(place) = verdicts.get_mut(index) {
                *place = verdict;
            }
        }
    }
    let keys = planned.iter().zip(verdicts).filter_map(|((slot, operation), (verdict, stored))| {
        let record = number(*slot);
        compared(payload, &batch, *slot, operation, format).map(|known| Compared { record, verdict, stored, ..known })
    });
    let mut comparison = Comparison {
        records: numbers.last().map_or(0, |last| last + 1),
        keys: keys.collect(),
        refused: Vec::new(),
        filtered: 0,
        unread: unread.into_iter().map(number).collect(),
        recalled: 0,
    };
    for ((index, fate), slot) in delivery.fates().iter().enumerate().zip(&batch.slots) {
        let origin = batch.origin(slot);
        let rules = slot.origin.and_then(|origin| plan.rules.get(origin));
        comparison.recalled += usize::from(recalls(rules) && slot.key.is_some());
        match fate {
            Fate::Failed(failure) if failure.cause.disposition() == Disposition::Park => {
                comparison.refused.push(Refused {
                    record: number(index),
                    source: origin.map(|origin| origin.name.clone()),
                    key: key_text(&batch, slot),
                    failure: failure.clone(),
                });
            }
            Fate::Filtered if origin.is_some_and(|origin| origin.branch == 0) => comparison.filtered += 1,
            _ => {}
        }
    }
    Ok(comparison)
}

/// An operation, with the slot whose change it is.
type Planned<'b> = (usize, Operation<'b>);

/// What would be written if nothing newer were known, and the slots for which the source would be read.
fn planned<'b>(
    delivery: &mut Delivery<'b>,
    check: impl Fn(&Operation<'_>) -> Result<(), Failure>,
) -> (Vec<Planned<'b>>, Vec<usize>) {
    let (mut planned, mut unread) = (Vec::new(), Vec::new());
    loop {
        let Round { groups, operations, wishes } = delivery.round();
        if operations.is_empty() && wishes.is_empty() {
            return (planned, unread);
        }
        let newest = |delivery: &Delivery<'_>, group: usize| delivery.members(group).last().map(|act| act.slot);
        for (group, operation) in groups.into_iter().zip(operations) {
            let slot = newest(delivery, group).unwrap_or_default();
            let checked = check(&operation);
            if checked.is_ok() {
                planned.push((slot, operation));
            }
            delivery.settle(group, &checked.map(|()| Done::Applied));
        }
        for (group, _) in wishes {
            unread.extend(newest(delivery, group));
            delivery.settle(group, &Ok(Done::Applied));
        }
    }
}

fn compared(payload: &[u8], batch: &Batch, slot: usize, operation: &Operation<'_>, format: Format) -> Option<Compared> {
    let slot = batch.slots.get(slot)?;
    Some(Compared {
        record: 0,
        event: payload.get(slot.raw.clone()).and_then(event_name),
        source: batch.origin(slot)?.name.clone(),
        key: key_text(batch, slot)?,
        place: operation.into.clone(),
        id: id(format, operation.key),
        version: operation.version.mark(),
        stored: None,
        verdict: Verdict::Same,
    })
}

fn key_text(batch: &Batch, slot: &Slot) -> Option<String> {
    let mut key = Vec::new();
    batch.key(slot)?.write_json(&mut key);
    Some(String::from_utf8_lossy(&key).into_owned())
}

/// Looks at each operation's location, and says what is there.
async fn look<S: Store>(
    store: &S,
    operations: &[Operation<'_>],
    format: Format,
    call: Call,
) -> Vec<(Verdict, Option<Mark>)> {
    // What makes a store read documents whole.
    let manner = Manner { deletes: Deletes::Soft { flag: String::new(), at: String::new() }, ..Manner::default() };
    let asked: Vec<Operation<'_>> =
        operations.iter().map(|operation| Operation { manner: Some(&manner), ..*operation }).collect();
    if asked.is_empty() {
        return Vec::new();
    }
    let found = answers(store.look(&asked, call).await, asked.len());
    operations
        .iter()
        .zip(found)
        .map(|(operation, found)| match found {
            Ok(found) => {
                let mark = found.document.as_ref().and_then(|stored| stored.mark.clone());
                (judge(operation, &found, format).unwrap_or_else(Verdict::Unknown), mark)
            }
            Err(failure) => (Verdict::Unknown(failure), None),
        })
        .collect()
}

fn judge<W>(operation: &Operation<'_>, found: &Found<W>, format: Format) -> Result<Verdict, Failure> {
    let order = |mark: &Mark| mark.compare(&operation.version.mark());
    let deleted_since = found.fence.as_ref().and_then(order).is_some_and(|order| order != Ordering::Less);
    let (document, stored) = match (operation.write, &found.document) {
        (Write::Delete, None) => return Ok(Verdict::Same),
        (Write::Upsert(_), None) => return Ok(if deleted_since { Verdict::Newer } else { Verdict::Missing }),
        (write, Some(stored)) => (write, stored),
    };
    let order = stored.mark.as_ref().and_then(order);
    if order == Some(Ordering::Greater) {
        return Ok(Verdict::Newer);
    }
    let Write::Upsert(own) = document else { return Ok(Verdict::Unwanted) };
    let merged = merged(operation, found, format)?;
    let would_be = Node::document(format, &whole(format, merged.as_deref().unwrap_or(own)));
    let is = stored.body.as_ref().and_then(|body| Node::document(format, body));
    let (Some(would_be), Some(is)) = (would_be, is) else {
        return Err(Failure::new(Cause::UnexpectedAnswer, "the stored document cannot be read"));
    };
    let changes = diff(&is, &would_be);
    Ok(match order {
        _ if changes.is_empty() => Verdict::Same,
        Some(_) => Verdict::Differs(changes),
        None => Verdict::Foreign(changes),
    })
}

#[cfg(test)]
mod tests;
