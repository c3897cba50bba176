//! Clearing a collection: all documents that are older than the end of the collection they are from.

use crate::MongoDbTarget;
use crate::caller::{Caller, Shared};
use crate::login::Credentials;
use crate::lookup;
use crate::scan::{Walk, documents, end_of};
use crate::sweep::{RACES, delete, delete_of};
use mongodb::bson::{Bson, Document, RawDocument, RawDocumentBuf};
use mongodb::raw_batch_cursor::RawBatch;
use std::time::Instant;
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::fence::{Cleared, FENCE_COLLECTION, overtakes};
use tidelock_core::target::{Call, Place};
use tidelock_core::version::Mark;

/// Clears the collection of a place.
pub(crate) async fn clear<C: Credentials>(
    target: &MongoDbTarget<C>,
    into: &Place,
    fence: &Mark,
    call: Call,
) -> Result<Cleared, Failure> {
    let Some((database, collection)) = into.namespace(target.default_database()) else {
        return Ok(Cleared { complete: true, ..Cleared::default() });
    };
    let shared = Shared::new(&target.connector, call.deadline);
    let now = Instant::now();
    // What is begun must be finished in time.
    let stop = now + shared.limit.saturating_duration_since(now).mul_f64(0.8);
    let mut clearing = Clearing { caller: &mut Caller::new(&shared), database, collection, stop };
    Ok(clearing.run(fence, None).await?.0)
}

/// A collection that is cleared until it is time to stop.
pub(crate) struct Clearing<'c, 'r, 'a, C> {
    pub(crate) caller: &'c mut Caller<'r, 'a, C>,
    pub(crate) database: &'c str,
    pub(crate) collection: &'c str,
    pub(crate) stop: Instant,
}

impl<C: Credentials> Clearing<'_, '_, '_, C> {
    /// Gives what has been done, and, where that is not all, where to go on.
    pub(crate) async fn run(&mut self, fence: &Mark, from: Option<&str>) -> Result<(Cleared, String), Failure> {
        let mut cleared = Cleared::default();
        if self.collection == FENCE_COLLECTION {
            return Ok((Cleared { complete: true, ..cleared }, String::new()));
        }
        let collection = self.collection;
        let first = self.read(|majority| end_of(collection, 1, majority)).await?;
        let last = self.read(|majority| end_of(collection, -1, majority)).await?;
        let ends = [self.found(&first)?, self.found(&last)?].concat();
        let mut walk = Walk::new(ends, from);
        let mut races = 0;
        while Instant::now() < self.stop {
            let Some(command) = walk.command(collection, true) else {
                cleared.complete = true;
                break;
            };
            let unwritten = |error: mongodb::bson::error::Error| self.refused(&error.to_string());
            let majority = command.map_err(unwritten)?;
            let local = walk.command(collection, false).and_then(Result::ok).unwrap_or_default();
            let batches = self.read(|wanted| if wanted { majority.clone() } else { local.clone() }).await?;
            let page = self.found(&batches)?;
            let doomed = doomed(&page, fence)?;
            let removed = match doomed.as_slice() {
                [] => 0,
                doomed => delete(self.caller, self.database, collection, doomed).await?,
            };
            cleared.removed += removed;
            // Some have changed meanwhile, and may be older again.
            if removed < doomed.len() {
                races += 1;
                if races > RACES {
                    return Ok((cleared, walk.to_text()));
                }
                continue;
            }
            races = 0;
            if !walk.step(&page) {
                return Err(self.refused("its documents have `_id`s that no page can begin behind"));
            }
        }
        Ok((cleared, walk.to_text()))
    }

    async fn read(&mut self, command: impl Fn(bool) -> RawDocumentBuf) -> Result<Vec<RawBatch>, Failure> {
        let database = self.database;
        self.caller.patiently(async |caller| caller.read(database, &command).await).await
    }

    fn found<'b>(&self, batches: &'b [RawBatch]) -> Result<Vec<&'b RawDocument>, Failure> {
        documents(batches).map_err(|error| self.refused(&error.to_string()))
    }

    fn refused(&self, why: &str) -> Failure {
        let why = format!("`{}.{}` cannot be cleared: {why}", self.database, self.collection);
        self.caller.shared().connector.describe(Cause::UnexpectedAnswer, &why)
    }
}

/// The deletes of those that the fence overtakes.
fn doomed(page: &[&RawDocument], fence: &Mark) -> Result<Vec<Document>, Failure> {
    let mut doomed = Vec::new();
    for document in page {
        let Ok(stored) = lookup::stored(document) else { continue };
        let id = document.get("_id").ok().flatten().and_then(|id| Bson::try_from(id).ok());
        if let Some(id) = id.filter(|_| overtakes(fence, stored.mark.as_ref())) {
            doomed.push(delete_of(&id, &stored.unchanged, Document::new())?);
        }
    }
    Ok(doomed)
}
