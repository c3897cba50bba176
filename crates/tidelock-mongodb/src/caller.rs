//! Calls to the server: connection, session, login and patience.

use crate::connection::Connector;
use crate::error::Trouble;
use crate::login::Credentials;
use crate::lookup::{self, Found, IDS_PER_QUERY, Query, id_bytes, portions};
use crate::spot::Spot;
use futures_util::StreamExt as _;
use mongodb::bson::{Document, RawDocument, RawDocumentBuf, error::Error as BsonError};
use mongodb::error::{Error, ErrorKind};
use mongodb::raw_batch_cursor::RawBatch;
use mongodb::{Client, ClientSession, Database};
use std::cell::Cell;
use std::future::IntoFuture as _;
use std::time::{Duration, Instant};
use tidelock_core::cause::{Cause, Failure};
use tokio::sync::Mutex;

/// After this a connection is taken for dead, such as one whose other end was forgotten while the function was frozen.
const ANSWER_TIME: Duration = Duration::from_secs(20);

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Why a call has no result.
#[derive(Debug)]
pub(crate) enum Stop {
    /// What stood in the way has been removed: call again.
    Again,
    Trouble(Trouble),
}

impl From<BsonError> for Stop {
    fn from(error: BsonError) -> Self {
        Self::Trouble(Trouble::new(Cause::UnexpectedAnswer, error.to_string()))
    }
}

/// What all callers share that serve one call of the target or the source.
#[derive(Debug)]
pub(crate) struct Shared<'a, C> {
    pub(crate) connector: &'a Connector<C>,
    /// When waiting ends, so that there is time left to answer.
    pub(crate) limit: Instant,
    /// Which connection's login was refused, and whether there was another. At most one is asked for.
    refreshed: Mutex<Option<(u64, bool)>>,
    /// The server knows no sessions.
    no_sessions: Cell<bool>,
}

impl<'a, C> Shared<'a, C> {
    pub(crate) fn new(connector: &'a Connector<C>, deadline: Instant) -> Self {
        let limit = limit(deadline, Instant::now());
        Self { connector, limit, refreshed: Mutex::new(None), no_sessions: Cell::new(false) }
    }
}

/// Time kept to answer: a twentieth of what is left, at most half a second.
fn limit(deadline: Instant, now: Instant) -> Instant {
    let reserve = (deadline.saturating_duration_since(now) / 20).min(Duration::from_millis(500));
    deadline.checked_sub(reserve).unwrap_or(deadline)
}

/// Makes one call at a time, in a session of its own.
pub(crate) struct Caller<'r, 'a, C> {
    shared: &'r Shared<'a, C>,
    /// Of the connection with this generation.
    session: Option<(u64, Option<ClientSession>)>,
}

impl<'r, 'a, C: Credentials> Caller<'r, 'a, C> {
    pub(crate) fn new(shared: &'r Shared<'a, C>) -> Self {
        Self { shared, session: None }
    }

    /// What all callers of this call share.
    pub(crate) fn shared(&self) -> &'r Shared<'a, C> {
        self.shared
    }

    /// Runs a command; an answer that is not `ok` is trouble.
    pub(crate) async fn command(&mut self, database: &str, command: Vec<u8>) -> Result<Document, Stop> {
        let (client, generation) = self.connect().await?;
        let command = RawDocumentBuf::from_bytes(command)?;
        let (database, answer_by) = (client.database(database), self.answer_by());
        let mut call = database.run_raw_command(command);
        if let Some((_, Some(session))) = &mut self.session {
            call = call.session(session);
        }
        let result = tokio::time::timeout_at(answer_by, call.into_future()).await;
        match result {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.stop(generation, &error).await),
            Err(_) => Err(self.no_answer()),
        }
    }

    /// Reads documents from the primary, as a majority has them.
    pub(crate) async fn query(
        &mut self,
        database: &str,
        collection: &str,
        query: Query,
        each: impl FnMut(&RawDocument) -> Result<(), BsonError>,
    ) -> Result<(), Stop> {
        let (client, generation) = self.connect().await?;
        let collection = client.database(database).collection(collection);
        let majority = !self.shared.connector.no_majority_reads.get();
        let answer_by = self.answer_by();
        let session = self.session.as_mut().and_then(|(_, session)| session.as_mut());
        let result = tokio::time::timeout_at(answer_by, lookup::run(&collection, query, majority, session, each)).await;
        match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.stop_of_read(generation, majority, &error).await),
            Err(_) => Err(self.no_answer()),
        }
    }

    /// Runs a command that reads, from the primary and as a majority has it, and gives the documents as they have come. The
    /// command is made for reading what a majority has, or for a server that knows no such thing.
    pub(crate) async fn read(
        &mut self,
        database: &str,
        command: impl FnOnce(bool) -> RawDocumentBuf,
    ) -> Result<Vec<RawBatch>, Stop> {
        let (client, generation) = self.connect().await?;
        let majority = !self.shared.connector.no_majority_reads.get();
        let batches = all_batches(client.database(database), command(majority));
        match tokio::time::timeout_at(self.answer_by(), batches).await {
            Ok(Ok(batches)) => Ok(batches),
            Ok(Err(error)) => Err(self.stop_of_read(generation, majority, &error).await),
            Err(_) => Err(self.no_answer()),
        }
    }

    /// Runs a command that answers with documents, as it is: when it is refused, it is for its caller to say what for.
    pub(crate) async fn batches(&mut self, database: &str, command: RawDocumentBuf) -> Result<Vec<RawBatch>, Stop> {
        let (client, generation) = self.connect().await?;
        let batches = all_batches(client.database(database), command);
        match tokio::time::timeout_at(self.answer_by(), batches).await {
            Ok(Ok(batches)) => Ok(batches),
            Ok(Err(error)) => Err(self.stop(generation, &error).await),
            Err(_) => Err(self.no_answer()),
        }
    }

    /// What is stored at these spots: marks, or `whole` documents.
    pub(crate) async fn find(
        &mut self,
        database: &str,
        collection: &str,
        spots: &[Spot],
        whole: bool,
    ) -> Result<Found, Stop> {
        let mut found = Found::with_capacity(spots.len());
        for spots in portions(spots, IDS_PER_QUERY, |spot| id_bytes(&spot.id)) {
            let mut fields: Vec<Vec<String>> = spots.iter().map(Spot::fields).collect();
            fields.sort_unstable();
            fields.dedup();
            let query = Query::of(spots, &fields);
            let query = Query { projection: query.projection.filter(|_| !whole), ..query };
            let each = |document: &RawDocument| lookup::note(&mut found, &fields, document, whole);
            self.query(database, collection, query, each).await?;
        }
        Ok(found)
    }

    /// Tries until it succeeds, as long as what stands in the way may pass and there is time.
    pub(crate) async fn patiently<T>(
        &mut self,
        mut attempt: impl AsyncFnMut(&mut Self) -> Result<T, Stop>,
    ) -> Result<T, Failure> {
        let (mut pauses, mut earlier) = (0, None);
        loop {
            let trouble = match attempt(self).await {
                Ok(result) => return Ok(result),
                Err(Stop::Again) => continue,
                Err(Stop::Trouble(trouble)) => trouble,
            };
            let failure = self.shared.connector.failure(&trouble);
            // That time was over says less than what stood in the way before.
            let failure = match earlier.take() {
                Some(earlier) if matches!(failure.cause, Cause::Deadline | Cause::TimedOut) => earlier,
                _ => failure,
            };
            pauses += 1;
            if !trouble.is_transient() || !self.pause(pauses).await {
                return Err(failure);
            }
            earlier = Some(failure);
        }
    }

    /// Waits for a random part of a time that doubles; `false` when there is no time for it.
    pub(crate) async fn pause(&self, count: u32) -> bool {
        let longest = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(count.min(16))).min(LONGEST_PAUSE);
        let pause = longest.mul_f64(fastrand::f64());
        let fits = Instant::now() + pause < self.shared.limit;
        if fits {
            tokio::time::sleep(pause).await;
        }
        fits
    }

    /// The client, with a session where the server has any: what is read in it includes what was written in it.
    async fn connect(&mut self) -> Result<(Client, u64), Stop> {
        let shared = self.shared;
        if Instant::now() >= shared.limit {
            return Err(Stop::Trouble(Trouble::new(Cause::Deadline, "no time was left to call the server")));
        }
        let connection = shared.connector.connection(shared.limit).await.map_err(Stop::Trouble)?;
        if self.session.as_ref().is_none_or(|(generation, _)| *generation != connection.generation) {
            let session = if shared.no_sessions.get() { None } else { connection.client.start_session().await.ok() };
            self.session = Some((connection.generation, session));
        }
        Ok((connection.client, connection.generation))
    }

    fn answer_by(&self) -> tokio::time::Instant {
        self.shared.limit.min(Instant::now() + ANSWER_TIME).into()
    }

    /// The call was dropped and its connection with it; what it asked for may still happen, and the guards allow for that.
    fn no_answer(&mut self) -> Stop {
        self.session = None;
        Stop::Trouble(Trouble::new(Cause::TimedOut, "no answer in time"))
    }

    /// As [`stop`](Self::stop); what was refused for its read concern is read once more without the majority.
    async fn stop_of_read(&mut self, generation: u64, majority: bool, error: &Error) -> Stop {
        if lookup::is_of_read_concern(error) {
            // Refused without it, too, it was something else that was refused.
            self.shared.connector.no_majority_reads.set(majority);
            if majority {
                return Stop::Again;
            }
        }
        self.stop(generation, error).await
    }

    async fn stop(&mut self, generation: u64, error: &Error) -> Stop {
        let shared = self.shared;
        // Callers run side by side, so each that has begun a session finds out by itself.
        if matches!(*error.kind, ErrorKind::SessionsNotSupported) && matches!(self.session, Some((_, Some(_)))) {
            shared.no_sessions.set(true);
            self.session = None;
            return Stop::Again;
        }
        let trouble = Trouble::of_driver(error);
        if !trouble.is_refused_login() {
            return Stop::Trouble(trouble);
        }
        let mut refreshed = shared.refreshed.lock().await;
        match *refreshed {
            None => {
                let result = shared.connector.refresh(generation, shared.limit).await;
                *refreshed = Some((generation, matches!(result, Ok(true))));
                match result {
                    Ok(true) => Stop::Again,
                    Ok(false) => Stop::Trouble(trouble),
                    Err(trouble) => Stop::Trouble(trouble),
                }
            }
            Some((refused, true)) if refused == generation => Stop::Again,
            Some(_) => Stop::Trouble(trouble),
        }
    }
}

/// All that a command answers with: a cursor that was left open would be closed behind the caller's back.
async fn all_batches(database: Database, command: RawDocumentBuf) -> Result<Vec<RawBatch>, Error> {
    let mut cursor = database.run_raw_cursor_command(command).batch().await?;
    let mut batches = Vec::new();
    while let Some(batch) = cursor.next().await {
        batches.push(batch?);
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_little_time_is_kept_to_answer() {
        let now = Instant::now();
        let kept = |left: u64| {
            let deadline = now + Duration::from_millis(left);
            deadline - limit(deadline, now)
        };
        assert_eq!(kept(60_000), Duration::from_millis(500));
        assert_eq!(kept(2_000), Duration::from_millis(100));
        assert_eq!(kept(0), Duration::ZERO);
        assert_eq!(limit(now, now + Duration::from_secs(1)), now);
    }
}
