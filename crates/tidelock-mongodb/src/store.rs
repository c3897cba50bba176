//! For slow lanes: what is stored at operations' locations, and writes that meet nothing else than that.

use crate::MongoDbTarget;
use crate::apply::{self, Mode, location};
use crate::caller::{Caller, Shared};
use crate::command::{Condition, Kind};
use crate::fence::{Fence, unwritten};
use crate::lane::Verdict;
use crate::login::Credentials;
use crate::lookup::{Stored, Unchanged};
use crate::spot::Spot;
use std::collections::HashMap;
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::fence::FENCE_COLLECTION;
use tidelock_core::target::{self, Call, Done, Found, Manner, Operation, Put};
use tidelock_core::version::{Mark, Version};

/// Where something is stored: database, collection and spot.
type Location<'a> = (&'a str, &'a str, Spot);

/// Reads the documents, then the fences: a delete that has taken a document away has left its fence before.
pub(crate) async fn look<C: Credentials>(
    target: &MongoDbTarget<C>,
    operations: &[Operation<'_>],
    call: Call,
) -> Vec<Result<Found<Unchanged>, Failure>> {
    let shared = Shared::new(&target.connector, call.deadline);
    let mut caller = Caller::new(&shared);
    let spots: Vec<_> = operations.iter().map(|operation| spot(target, operation)).collect();
    let whole = operations.iter().any(|operation| operation.manner.is_some_and(Manner::needs_stored));
    let documents = read(&mut caller, &spots, whole).await;
    let fences = read_fences(target, &mut caller, operations).await;
    let found = |(document, fence): (Result<Option<Stored>, Failure>, Result<Option<Mark>, Failure>)| {
        let document = document?.map(|stored| {
            let witness = Unchanged(stored.unchanged.0, stored.body.clone());
            target::Stored { witness, mark: stored.mark, body: stored.body }
        });
        Ok(Found { document, fence: fence? })
    };
    documents.into_iter().zip(fences).map(found).collect()
}

/// Reads the fences alone.
pub(crate) async fn fences<C: Credentials>(
    target: &MongoDbTarget<C>,
    operations: &[Operation<'_>],
    call: Call,
) -> Vec<Result<Option<Mark>, Failure>> {
    let shared = Shared::new(&target.connector, call.deadline);
    read_fences(target, &mut Caller::new(&shared), operations).await
}

async fn read_fences<C: Credentials>(
    target: &MongoDbTarget<C>,
    caller: &mut Caller<'_, '_, C>,
    operations: &[Operation<'_>],
) -> Vec<Result<Option<Mark>, Failure>> {
    let spots: Vec<_> = operations.iter().map(|operation| fence_spot(target, operation)).collect();
    let fences = read(caller, &spots, false).await;
    let mark = |(operation, fence): (&Operation<'_>, Result<Option<Stored>, Failure>)| {
        fence.map_err(unwritten)?.map(|stored| stored.mark.ok_or_else(|| unreadable(operation))).transpose()
    };
    operations.iter().zip(fences).map(mark).collect()
}

fn spot<'a, C>(target: &'a MongoDbTarget<C>, operation: &Operation<'a>) -> Result<Location<'a>, Failure> {
    let (database, collection) = location(target, operation)?;
    let spot = Spot::of(operation).map_err(|error| Failure::new(Cause::InvalidId, error.to_string()))?;
    Ok((database, collection, spot))
}

fn fence_spot<'a, C>(target: &'a MongoDbTarget<C>, operation: &Operation<'a>) -> Result<Location<'a>, Failure> {
    let (database, collection) = location(target, operation)?;
    Ok((database, FENCE_COLLECTION, Spot::of_id(Fence::of(operation, collection, 0).id().into())))
}

fn unreadable(operation: &Operation<'_>) -> Failure {
    let (name, id) = (&operation.into.name, operation.key.text_id());
    Failure::new(
        Cause::FenceUnwritten,
        format!("the fence of `{id}` in `{name}` cannot be read: it has no whole version"),
    )
}

/// What is stored at each spot, by position.
async fn read<C: Credentials>(
    caller: &mut Caller<'_, '_, C>,
    spots: &[Result<Location<'_>, Failure>],
    whole: bool,
) -> Vec<Result<Option<Stored>, Failure>> {
    let mut by_collection: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    let mut stored = Vec::with_capacity(spots.len());
    for (index, spot) in spots.iter().enumerate() {
        stored.push(spot.as_ref().map(|_| None).map_err(Failure::clone));
        if let Ok((database, collection, _)) = spot {
            by_collection.entry((database, collection)).or_default().push(index);
        }
    }
    for ((database, collection), members) in by_collection {
        let spot = |index: usize| spots.get(index)?.as_ref().ok().map(|(_, _, spot)| spot.clone());
        let wanted: Vec<Spot> = members.iter().filter_map(|&index| spot(index)).collect();
        let found = caller.patiently(async |caller| caller.find(database, collection, &wanted, whole).await).await;
        for (&index, spot) in members.iter().zip(&wanted) {
            let one = match (&found, spot.identity()) {
                (Ok(found), Ok(identity)) => Ok(found.get(&identity).cloned()),
                (Ok(_), Err(error)) => Err(Failure::new(Cause::InvalidId, error.to_string())),
                (Err(failure), _) => Err(failure.clone()),
            };
            if let Some(place) = stored.get_mut(index) {
                *place = one;
            }
        }
    }
    stored
}

/// Writes by compare-and-set; `false` where something else is stored than what was looked at.
pub(crate) async fn put<C: Credentials>(
    target: &MongoDbTarget<C>,
    puts: &[Put<'_, Unchanged>],
    call: Call,
) -> Vec<Result<bool, Failure>> {
    let operations: Vec<Operation<'_>> = puts.iter().map(|put| put.operation).collect();
    let outcomes = apply::apply(target, &operations, Mode::Put(puts), call).await;
    outcomes.into_iter().map(|outcome| outcome.map(|done| done == Done::Applied)).collect()
}

/// Judges a write that has met something else, or another unique index, or is one of several of which some had no effect.
///
/// `Stale` stands for what has changed and must be looked at again.
pub(crate) fn verdict(
    kind: Kind,
    tried: &Condition,
    duplicate: bool,
    stored: Option<&Stored>,
    version: &Version<'_>,
) -> Verdict {
    let Some(stored) = stored else {
        return match kind {
            Kind::Delete => Verdict::Done(Done::Applied),
            // Nothing is there, and still nothing could be inserted.
            _ if duplicate && !tried.compares() => Verdict::UniqueConflict,
            _ => Verdict::Done(Done::Stale),
        };
    };
    match tried {
        // The filter has matched, or nothing could have been in another one's way.
        Condition::StoredWith(witness) if duplicate && witness.0 == stored.unchanged.0 => Verdict::UniqueConflict,
        Condition::Stored(witness) if witness.0 == stored.unchanged.0 => {
            // Either it has been written with the version that was there, or it is as it was before: again does no harm.
            if duplicate { Verdict::UniqueConflict } else { Verdict::Again(tried.clone()) }
        }
        // An attempt whose answer was lost has succeeded.
        Condition::Stored(_) | Condition::StoredWith(_)
            if kind == Kind::Upsert && stored.mark.as_ref() == Some(&version.mark()) =>
        {
            Verdict::Done(Done::Applied)
        }
        _ => Verdict::Done(Done::Stale),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidelock_core::version::Mark;

    const VERSION: Version<'static> = Version { space: "s", label: "b", exact: "5", token: "", coarse: 1, at: 10_000 };

    fn stored(exact: &str, unchanged: u8) -> Stored {
        let mark = Mark { exact: exact.to_owned(), ..VERSION.mark() };
        Stored { mark: Some(mark), unchanged: Unchanged(vec![unchanged], None), body: None }
    }

    #[test]
    fn what_was_looked_at_is_compared_with_what_is_there() {
        let compare = Condition::Stored(Unchanged(vec![1], None));
        let again = || Verdict::Again(compare.clone());
        let (applied, changed) = (|| Verdict::Done(Done::Applied), || Verdict::Done(Done::Stale));
        // Where something was: upsert without effect, upsert refused by a unique index, delete without effect.
        for (now, missed, refused, deleted) in [
            (None, changed(), changed(), applied()),
            (Some(stored("4", 1)), again(), Verdict::UniqueConflict, again()),
            // The version written is the one that was there.
            (Some(stored("5", 1)), again(), Verdict::UniqueConflict, again()),
            (Some(stored("5", 2)), applied(), applied(), changed()),
            (Some(stored("4", 2)), changed(), changed(), changed()),
            (Some(stored("6", 2)), changed(), changed(), changed()),
        ] {
            let now = now.as_ref();
            assert_eq!(verdict(Kind::Upsert, &compare, false, now, &VERSION), missed, "{now:?}");
            assert_eq!(verdict(Kind::Upsert, &compare, true, now, &VERSION), refused, "{now:?}");
            assert_eq!(verdict(Kind::Delete, &compare, false, now, &VERSION), deleted, "{now:?}");
        }
        // Where nothing was.
        let guard = Condition::OwnOlder;
        for (now, refused, deleted) in
            [(None, Verdict::UniqueConflict, applied()), (Some(stored("5", 2)), changed(), changed())]
        {
            for met in [&guard, &Condition::Absent] {
                assert_eq!(verdict(Kind::Upsert, met, true, now.as_ref(), &VERSION), refused);
            }
            assert_eq!(verdict(Kind::Delete, &guard, false, now.as_ref(), &VERSION), deleted);
        }
    }
}
