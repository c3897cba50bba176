//! The sweep: documents that are older than the delete of their location are removed, and fences that have expired.
//!
//! Each database has a watermark of its own, a document of the fences' collection: how far the last pass has come. A pass
//! that was cut short is taken up behind the last fence it has compared.

use crate::MongoDbTarget;
use crate::answer::Answer;
use crate::caller::{Caller, Shared, Stop};
use crate::clear::Clearing;
use crate::error::Trouble;
use crate::fence::{self, COLLECTION, ID, SHARD_KEY, WRITTEN};
use crate::login::Credentials;
use crate::lookup::{self, Query, Unchanged};
use crate::spot::Spot;
use mongodb::bson::{Bson, Document, RawBsonRef, RawDocument, doc, error::Error as BsonError};
use std::collections::BTreeMap;
use std::time::Instant;
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::encode::MARK_FIELD;
use tidelock_core::fence::{Cleared, FENCE_COLLECTION, Swept, Window, is_of_namespace, overtakes};
use tidelock_core::target::Call;
use tidelock_core::version::Mark;

/// Fences compared at a time.
const PAGE: usize = 500;

/// How often documents are looked at again because another writer was faster.
pub(crate) const RACES: usize = 5;

/// The watermark's id; fences' ids are longer.
const WATERMARK: &str = "watermark";

/// How far the collection of a namespace's fence has been cleared, beside the watermark.
const CLEARING: &str = "clearing";

pub(crate) async fn sweep<C: Credentials>(
    target: &MongoDbTarget<C>,
    window: Window,
    call: Call,
) -> Result<Swept, Failure> {
    let shared = Shared::new(&target.connector, call.deadline);
    let now = Instant::now();
    // What is begun must be finished in time.
    let stop = now + shared.limit.saturating_duration_since(now).mul_f64(0.8);
    let mut swept = Swept { complete: true, ..Swept::default() };
    let mut failed = None;
    for database in target.databases() {
        let caller = Caller::new(&shared);
        let mut pass = Pass { target, caller, database, window, stop, swept: &mut swept, held: None, clearing: None };
        match pass.run().await {
            Ok(complete) => swept.complete &= complete,
            // Time was over in the middle of a call.
            Err(failure) if matches!(failure.cause, Cause::Deadline | Cause::TimedOut) && Instant::now() >= stop => {
                swept.complete = false;
            }
            // The other databases are swept all the same.
            Err(failure) => failed = failed.or(Some(failure)),
        }
    }
    match failed {
        Some(failure) => Err(failure),
        None => Ok(swept),
    }
}

/// How far a pass has come.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    /// The time its last fence was written at.
    written: i64,
    /// Its last fence, where it was cut short.
    last: Option<Bson>,
}

/// A fence, as the sweep needs it.
#[derive(Debug)]
struct Row {
    id: Bson,
    written: i64,
    /// Collection and spot of the document.
    location: Option<(String, Spot)>,
    mark: Option<Mark>,
    unchanged: Unchanged,
}

impl Row {
    fn of(document: &RawDocument) -> Result<Self, BsonError> {
        let value = |name: &str| document.get(name)?.map(Bson::try_from).transpose();
        // A query for a range finds numbers of every type.
        let written = match document.get(WRITTEN)? {
            Some(RawBsonRef::Int64(written)) => written,
            Some(RawBsonRef::Int32(written)) => i64::from(written),
            Some(RawBsonRef::Double(written)) => written as i64,
            Some(RawBsonRef::Decimal128(written)) => {
                written.to_string().parse::<f64>().map_or(0, |written| written as i64)
            }
            _ => 0,
        };
        let collection = document.get(COLLECTION)?.and_then(|value| value.as_str());
        let shard_key = fence::shard_key(value(SHARD_KEY)?);
        let spot = value(ID)?.map(|id| Spot { id, shard_key });
        let location = collection.map(str::to_owned).zip(spot);
        let stored = lookup::stored(document)?;
        let id = value("_id")?.unwrap_or(Bson::Null);
        Ok(Self { id, written, location, mark: stored.mark, unchanged: stored.unchanged })
    }
}

/// One pass through one database's fences.
struct Pass<'p, 'r, 'a, C> {
    target: &'a MongoDbTarget<C>,
    caller: Caller<'r, 'a, C>,
    database: &'a str,
    window: Window,
    stop: Instant,
    swept: &'p mut Swept,
    /// What is not to be passed: the place before a namespace's fence whose collection is not cleared yet.
    held: Option<Place>,
    /// Which fence's collection is being cleared, and how far that has come.
    clearing: Option<(String, String)>,
}

impl<C: Credentials> Pass<'_, '_, '_, C> {
    /// `false` when time was over.
    async fn run(&mut self) -> Result<bool, Failure> {
        self.create_index().await;
        let mut place = self.start().await?;
        loop {
            if Instant::now() >= self.stop {
                return Ok(false);
            }
            let fences = self.page(self.after(&place), PAGE).await?;
            self.clear(&place, &fences).await?;
            if !self.compare(&fences).await? {
                return Ok(false);
            }
            let full = fences.len() == PAGE;
            match fences.into_iter().next_back().filter(|_| full) {
                Some(last) => place = Place { written: last.written, last: Some(last.id) },
                None => break,
            }
            self.keep(&place).await?;
        }
        self.keep(&Place { written: self.window.until_ms, last: None }).await?;
        if self.held.is_some() {
            return Ok(false);
        }
        // Only what has been compared may expire.
        self.expire().await?;
        Ok(true)
    }

    /// An index for the sweep's queries, once in a process; without it they are slower.
    async fn create_index(&self) -> Option<()> {
        if !self.target.indexed.borrow_mut().insert(self.database.to_owned()) {
            return None;
        }
        let index = doc! {"key": {WRITTEN: 1, "_id": 1}, "name": "written"};
        let command = doc! {"createIndexes": FENCE_COLLECTION, "indexes": [index]};
        // In a call of its own: whatever comes of it, the pass goes on.
        let shared = self.caller.shared();
        Caller::new(shared).command(self.database, command.to_vec().ok()?).await.ok().map(|_| ())
    }

    /// Where the last pass has come to, and this one begins.
    async fn start(&mut self) -> Result<Place, Failure> {
        let database = self.database;
        let watermark = self
            .caller
            .patiently(async |caller| {
                let mut found = None;
                let projection = Some(doc! {WATERMARK: 1, "last": 1, CLEARING: 1});
                let query = Query { filter: doc! {"_id": WATERMARK}, projection, sort: None, limit: None };
                caller
                    .query(database, FENCE_COLLECTION, query, |document| {
                        found = Some(Document::try_from(document)?);
                        Ok(())
                    })
                    .await?;
                Ok(found)
            })
            .await?
            .unwrap_or_default();
        let clearing = watermark.get_document(CLEARING).ok();
        let text = |name: &str| clearing.and_then(|clearing| clearing.get_str(name).ok()).map(str::to_owned);
        self.clearing = text("fence").zip(text("place"));
        let reached = watermark.get_i64(WATERMARK).ok();
        Ok(match (reached, watermark.get("last")) {
            // No overlap: else a crowd of fences of one time could never be passed.
            (Some(written), Some(last)) if written < self.window.until_ms => {
                Place { written, last: Some(last.clone()) }
            }
            _ => Place { written: self.window.from_ms(reached), last: None },
        })
    }

    /// The fences of the window that are still to be compared.
    fn after(&self, place: &Place) -> Document {
        let until = self.window.until_ms;
        match &place.last {
            None => doc! {WRITTEN: {"$gte": place.written, "$lt": until}},
            Some(last) => doc! {"$or": [
                {WRITTEN: place.written, "_id": {"$gt": last.clone()}},
                {WRITTEN: {"$gt": place.written, "$lt": until}},
            ]},
        }
    }

    async fn page(&mut self, filter: Document, size: usize) -> Result<Vec<Row>, Failure> {
        let database = self.database;
        let limit = i64::try_from(size).ok();
        self.caller
            .patiently(async |caller| {
                let mut rows = Vec::new();
                let projection = Some(doc! {WRITTEN: 1, COLLECTION: 1, ID: 1, SHARD_KEY: 1, MARK_FIELD: 1});
                let sort = Some(doc! {WRITTEN: 1, "_id": 1});
                let query = Query { filter: filter.clone(), projection, sort, limit };
                caller
                    .query(database, FENCE_COLLECTION, query, |document| {
                        rows.push(Row::of(document)?);
                        Ok(())
                    })
                    .await?;
                Ok(rows)
            })
            .await
    }

    /// Clears the collections of namespaces' fences, each in a part of the time that is left: one that is large must not leave the
    /// other fences unswept.
    async fn clear(&mut self, before: &Place, fences: &[Row]) -> Result<(), Failure> {
        let mut before = before.clone();
        for fence in fences {
            let own = Place { written: fence.written, last: Some(fence.id.clone()) };
            let before = std::mem::replace(&mut before, own);
            let (Some((collection, spot)), Some(mark)) = (&fence.location, &fence.mark) else { continue };
            if !spot.id.as_str().is_some_and(|id| is_of_namespace(id, mark)) {
                continue;
            }
            let name = format!("{}:{}", fence.id, mark.exact);
            let from = self.clearing.take_if(|(known, _)| *known == name).map(|(_, place)| place);
            let now = Instant::now();
            let stop = now + self.stop.saturating_duration_since(now) / 2;
            let mut clearing = Clearing { caller: &mut self.caller, database: self.database, collection, stop };
            let (cleared, place) = match clearing.run(mark, from.as_deref()).await {
                Ok(done) => done,
                Err(failure) if matches!(failure.cause, Cause::Deadline | Cause::TimedOut) => {
                    (Cleared::default(), from.unwrap_or_default())
                }
                Err(failure) => return Err(failure),
            };
            self.swept.removed += cleared.removed;
            if !cleared.complete {
                self.clearing = Some((name, place));
                self.held.get_or_insert(before);
            }
        }
        Ok(())
    }

    /// Removes the documents that these fences overtake. `false` when another writer was always faster.
    async fn compare(&mut self, fences: &[Row]) -> Result<bool, Failure> {
        let mut by_collection: BTreeMap<&str, Vec<(&Spot, &Mark)>> = BTreeMap::new();
        for fence in fences {
            if let (Some((collection, spot)), Some(mark)) = (&fence.location, &fence.mark) {
                by_collection.entry(collection).or_default().push((spot, mark));
            }
        }
        for (collection, mut open) in by_collection {
            let (mut races, compared) = (0, open.len());
            loop {
                let (still_open, doomed) = self.overtaken(collection, open).await?;
                if doomed.is_empty() {
                    break;
                }
                if races == RACES {
                    return Ok(false);
                }
                races += 1;
                let removed = self.delete(collection, &doomed).await?;
                self.swept.removed += removed;
                if removed == doomed.len() {
                    break;
                }
                // Once more: what has changed meanwhile may be older again.
                open = still_open;
            }
            self.swept.compared += compared;
        }
        Ok(true)
    }

    /// The fences that overtake a document, and the documents' deletes.
    async fn overtaken<'f>(
        &mut self,
        collection: &str,
        fences: Vec<(&'f Spot, &'f Mark)>,
    ) -> Result<(Vec<(&'f Spot, &'f Mark)>, Vec<Document>), Failure> {
        let database = self.database;
        let spots: Vec<Spot> = fences.iter().map(|(spot, _)| (*spot).clone()).collect();
        let found =
            self.caller.patiently(async |caller| caller.find(database, collection, &spots, false).await).await?;
        let (mut open, mut doomed) = (Vec::new(), Vec::new());
        for (spot, mark) in fences {
            let stored = spot.identity().ok().and_then(|identity| found.get(&identity));
            if let Some(stored) = stored.filter(|stored| overtakes(mark, stored.mark.as_ref())) {
                doomed.push(delete_of(&spot.id, &stored.unchanged, spot.shard_key.clone())?);
                open.push((spot, mark));
            }
        }
        Ok((open, doomed))
    }

    async fn delete(&mut self, collection: &str, deletes: &[Document]) -> Result<usize, Failure> {
        delete(&mut self.caller, self.database, collection, deletes).await
    }

    async fn keep(&mut self, place: &Place) -> Result<(), Failure> {
        let place = self.held.as_ref().unwrap_or(place);
        let mut document = doc! {"_id": WATERMARK, WATERMARK: place.written};
        if let Some(last) = &place.last {
            document.insert("last", last.clone());
        }
        if let Some((fence, place)) = &self.clearing {
            document.insert(CLEARING, doc! {"fence": fence, "place": place});
        }
        let update = doc! {"q": {"_id": WATERMARK}, "u": document, "upsert": true};
        let concern = doc! {"w": "majority"};
        let command = doc! {"update": FENCE_COLLECTION, "writeConcern": concern, "updates": [update]};
        write(&mut self.caller, self.database, command, 1).await.map(|_| ())
    }

    /// Drops fences that have expired, each only if it is still the one that was read.
    async fn expire(&mut self) -> Result<(), Failure> {
        let expired = doc! {WRITTEN: {"$lt": self.window.expired_ms.min(self.window.until_ms)}};
        while Instant::now() < self.stop {
            let fences = self.page(expired.clone(), PAGE).await?;
            let deletes = fences.iter().map(|fence| delete_of(&fence.id, &fence.unchanged, expired.clone()));
            let deletes = deletes.collect::<Result<Vec<_>, _>>()?;
            if deletes.is_empty() {
                break;
            }
            let gone = self.delete(FENCE_COLLECTION, &deletes).await?;
            self.swept.expired += gone;
            if gone == 0 || fences.len() < PAGE {
                break;
            }
        }
        Ok(())
    }
}

/// Runs a `delete`; gives how many there were.
pub(crate) async fn delete<C: Credentials>(
    caller: &mut Caller<'_, '_, C>,
    database: &str,
    collection: &str,
    deletes: &[Document],
) -> Result<usize, Failure> {
    let concern = doc! {"w": "majority"};
    let command = doc! {"delete": collection, "ordered": false, "writeConcern": concern, "deletes": deletes};
    write(caller, database, command, deletes.len()).await
}

/// Runs a write command of so many statements; gives how many had an effect.
async fn write<C: Credentials>(
    caller: &mut Caller<'_, '_, C>,
    database: &str,
    command: Document,
    statements: usize,
) -> Result<usize, Failure> {
    let command = command.to_vec().map_err(|error| Failure::new(Cause::UnexpectedAnswer, error.to_string()))?;
    let mut written = 0;
    caller
        .patiently(async |caller| {
            let answer = caller.command(database, command.clone()).await?;
            let fits = |why| Stop::Trouble(Trouble::new(Cause::UnexpectedAnswer, why));
            let answer = Answer::read(&answer, statements).map_err(fits)?;
            written += answer.n;
            match answer.errors.into_iter().flatten().next().or(answer.concern) {
                Some(error) => Err(Stop::Trouble(Trouble::of_server(&error))),
                None => Ok(()),
            }
        })
        .await?;
    Ok(written)
}

/// A statement that deletes a document whose `_tidelock` is still what was read.
pub(crate) fn delete_of(id: &Bson, unchanged: &Unchanged, mut filter: Document) -> Result<Document, Failure> {
    let expression = Document::from_reader(unchanged.0.as_slice())
        .map_err(|error| Failure::new(Cause::UnexpectedAnswer, error.to_string()))?;
    filter.insert("_id", id.clone());
    filter.insert(MARK_FIELD, expression);
    Ok(doc! {"q": filter, "limit": 1})
}
