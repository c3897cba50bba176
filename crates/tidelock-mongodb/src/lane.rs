//! One command at a time: send, judge the answer, send again what needs it, until every operation has its outcome.

use crate::answer::Answer;
use crate::apply::{Chunk, Group, Run};
use crate::command::{Condition, Kind, build, statement_bytes};
use crate::error::{Meaning, Trouble};
use crate::login::Credentials;
use crate::lookup::{self, Found, Stored};
use mongodb::bson::{Document, RawDocumentBuf};
use mongodb::error::{Error, ErrorKind};
use mongodb::{Client, ClientSession};
use std::collections::VecDeque;
use std::future::IntoFuture as _;
use std::time::{Duration, Instant};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::key::Key;
use tidelock_core::target::{Done, Operation};
use tidelock_core::version::{Judgement, Version};

/// How often an operation with an error of no known meaning is tried.
const TRIES: u8 = 3;

/// How often an operation is judged anew because another writer was faster.
const RACES: u8 = 5;

/// After this a connection is taken for dead, such as one whose other end was forgotten while the function was frozen.
const ANSWER_TIME: Duration = Duration::from_secs(20);

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// An operation on its way.
#[derive(Debug)]
pub(crate) struct Item {
    operation: usize,
    condition: Condition,
    tries: u8,
    races: u8,
    /// Why the last attempt came to nothing.
    failure: Option<Failure>,
}

impl Item {
    pub(crate) fn new(operation: usize) -> Self {
        Self { operation, condition: Condition::Older, tries: 0, races: 0, failure: None }
    }

    /// The failure to report: that time was over says less than what stood in the way before.
    fn cause_of(&mut self, failure: &Failure) -> Failure {
        match self.failure.take() {
            Some(earlier) if matches!(failure.cause, Cause::Deadline | Cause::TimedOut) => earlier,
            _ => failure.clone(),
        }
    }
}

/// Why a call has no result.
enum Stop {
    /// What stood in the way has been removed: call again.
    Again,
    Trouble(Trouble),
}

/// What a round leaves to do.
#[derive(Default)]
struct Round {
    again: Vec<Item>,
    /// The server needs time.
    pause: bool,
    /// To be judged on what is stored; the text is the server's, where a unique index has refused the document.
    judge: Vec<(Item, Option<String>)>,
}

impl Round {
    fn retry(&mut self, mut item: Item, failure: &Failure) {
        item.failure = Some(item.cause_of(failure));
        self.again.push(item);
        self.pause = true;
    }
}

/// What is to be done about an operation that had no effect.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Done(Done),
    OrderConflict,
    Again(Condition),
    /// It is another index than the one on `_id` that refuses the document.
    UniqueConflict,
}

/// Judges an operation that the guard, a unique index or another writer has stopped, on what is stored now.
fn verdict(kind: Kind, tried: &Condition, duplicate: bool, stored: Option<&Stored>, version: &Version<'_>) -> Verdict {
    let Some(stored) = stored else {
        return match kind {
            Kind::Delete => Verdict::Done(Done::Applied),
            Kind::Upsert if duplicate => Verdict::UniqueConflict,
            Kind::Upsert => Verdict::Again(Condition::Older),
        };
    };
    match version.judge(stored.mark.as_ref()) {
        Judgement::Stale => Verdict::Done(Done::Stale),
        Judgement::Replay if kind == Kind::Upsert => Verdict::Done(Done::Applied),
        Judgement::OrderConflict => Verdict::OrderConflict,
        // A compare-and-set inserts nothing, so that it is not `_id` that is there twice.
        _ if duplicate && *tried != Condition::Older => Verdict::UniqueConflict,
        Judgement::Replay | Judgement::Newer | Judgement::Foreign => {
            Verdict::Again(Condition::Stored(stored.unchanged.clone()))
        }
    }
}

/// One of the commands in flight, with a session of its own.
pub(crate) struct Lane<'r, 'a, C> {
    run: &'r Run<'a, C>,
    /// Of the connection with this generation.
    session: Option<(u64, Option<ClientSession>)>,
}

impl<'r, 'a, C: Credentials> Lane<'r, 'a, C> {
    pub(crate) fn new(run: &'r Run<'a, C>) -> Self {
        Self { run, session: None }
    }

    /// Brings every operation of the chunk to an outcome, or defers it. In the `last` pass nothing is deferred.
    pub(crate) async fn deliver(&mut self, chunk: Chunk, last: bool) {
        let Some(group) = self.run.groups.get(chunk.group) else { return };
        let (mut pending, mut pauses) = (chunk.items, 0);
        while !pending.is_empty() {
            let mut round = self.send(group, pending).await;
            let judge = std::mem::take(&mut round.judge);
            if !judge.is_empty() {
                self.judge(chunk.group, group, judge, last, &mut round).await;
            }
            pending = round.again;
            if round.pause && !pending.is_empty() {
                pauses += 1;
                if !self.pause(pauses).await {
                    let deadline = Failure::new(Cause::Deadline, "no time was left for another attempt");
                    for item in pending {
                        self.fail(item, &deadline);
                    }
                    return;
                }
            }
        }
    }

    /// Sends all items, in as many commands as it takes.
    async fn send(&mut self, group: &Group<'a>, items: Vec<Item>) -> Round {
        let mut round = Round::default();
        let mut rest = VecDeque::from(items);
        let mut most = usize::MAX;
        while !rest.is_empty() {
            let (bytes, count) = self.build(group, &rest, most);
            let trouble = match self.call(group.database, bytes).await {
                Ok(answer) => {
                    self.sort(group.kind, rest.drain(..count).collect(), &answer, &mut round);
                    most = most.saturating_mul(2);
                    continue;
                }
                Err(Stop::Again) => continue,
                Err(Stop::Trouble(trouble)) => trouble,
            };
            let failure = self.run.target.connector.failure(&trouble);
            let of_no_known_cause = matches!(trouble.meaning, Meaning::Unknown | Meaning::Duplicate);
            if of_no_known_cause && rest.front().is_some_and(|item| item.tries + 1 < TRIES) {
                for mut item in rest {
                    item.tries += 1;
                    round.retry(item, &failure);
                }
                return round;
            }
            if trouble.is_of_one_document() || of_no_known_cause {
                // One of them is at fault: halve, until it stands alone.
                if count > 1 {
                    most = count / 2;
                    continue;
                }
                if let Some(item) = rest.pop_front() {
                    if of_no_known_cause {
                        self.run.suspect(item.operation, failure.clone());
                    } else {
                        self.fail(item, &failure);
                    }
                }
                if self.run.has_passed() {
                    continue;
                }
                if self.run.is_hopeless() {
                    rest.drain(..).for_each(|item| self.fail(item, &failure));
                }
                // Others from all over, so that a few bad ones in a row do not speak for all.
                rest.rotate_left(rest.len() / 2);
                continue;
            }
            if trouble.is_transient() {
                *self.run.obstacle.borrow_mut() = Some(failure.clone());
            }
            for item in rest.drain(..) {
                if trouble.is_transient() {
                    round.retry(item, &failure);
                } else {
                    self.fail(item, &failure);
                }
            }
        }
        round
    }

    fn build(&self, group: &Group<'a>, items: &VecDeque<Item>, most: usize) -> (Vec<u8>, usize) {
        let statements = || items.iter().take(most).filter_map(|item| Some((self.operation(item)?, &item.condition)));
        let expected = statements().map(|(operation, _)| statement_bytes(operation)).sum::<usize>() + 200;
        let built = build(group.kind, group.collection, statements(), self.run.target.bulk_bytes, expected);
        (built.bytes, built.count)
    }

    fn operation(&self, item: &Item) -> Option<&'a Operation<'a>> {
        self.run.operations.get(item.operation)
    }

    /// Gives each of a command's items its outcome, or its place in the next round.
    fn sort(&self, kind: Kind, items: Vec<Item>, answer: &Document, round: &mut Round) {
        let connector = &self.run.target.connector;
        let answer = match Answer::read(answer, items.len()) {
            Ok(answer) => answer,
            Err(why) => return self.unmatched(items, &why, round),
        };
        let good = answer.errors.iter().filter(|error| error.is_none()).count();
        let short = good - answer.n.min(good);
        let may_miss = |item: &Item| kind == Kind::Delete || item.condition != Condition::Older;
        let missing_at_most =
            items.iter().zip(&answer.errors).filter(|(item, error)| error.is_none() && may_miss(item)).count();
        if short > missing_at_most {
            return self.unmatched(
                items,
                &format!("{good} statements without an error, but only {} writes", answer.n),
                round,
            );
        }
        // Nothing is known to last until the write concern is met, a refusal as little as a write.
        let concern = answer.concern.map(|error| connector.failure(&concern_trouble(&Trouble::of_server(&error))));
        for (mut item, error) in items.into_iter().zip(answer.errors) {
            let trouble = error.map(|error| Trouble::of_server(&error));
            let refused_alone = trouble.as_ref().is_some_and(Trouble::is_of_one_document);
            if let Some(failure) = concern.as_ref().filter(|_| !refused_alone) {
                round.retry(item, failure);
                continue;
            }
            let Some(trouble) = trouble else {
                if short > 0 && may_miss(&item) {
                    round.judge.push((item, None));
                } else {
                    self.run.settle(item.operation, Ok(Done::Applied));
                }
                continue;
            };
            let failure = connector.failure(&trouble);
            match trouble.meaning {
                Meaning::Duplicate if kind == Kind::Upsert => round.judge.push((item, Some(trouble.text))),
                Meaning::Unknown | Meaning::Duplicate if item.tries + 1 < TRIES => {
                    item.tries += 1;
                    round.retry(item, &failure);
                }
                Meaning::Unknown | Meaning::Duplicate => self.run.suspect(item.operation, failure),
                Meaning::Cause(_) if trouble.is_transient() => round.retry(item, &failure),
                Meaning::Cause(_) => self.fail(item, &failure),
            }
        }
    }

    /// The answer does not fit: nothing is known of any of these.
    fn unmatched(&self, items: Vec<Item>, why: &str, round: &mut Round) {
        let failure = self.run.target.connector.describe(Cause::UnexpectedAnswer, why);
        for mut item in items {
            item.tries += 1;
            if item.tries < TRIES {
                round.retry(item, &failure);
            } else {
                self.fail(item, &failure);
            }
        }
    }

    async fn judge(
        &mut self,
        index: usize,
        group: &Group<'a>,
        items: Vec<(Item, Option<String>)>,
        last: bool,
        round: &mut Round,
    ) {
        let keys: Vec<Key<'_>> = items.iter().filter_map(|(item, _)| Some(self.operation(item)?.key)).collect();
        let found = loop {
            match self.look_up(group, &keys).await {
                Ok(found) => break Ok(found),
                Err(Stop::Again) => {}
                Err(Stop::Trouble(trouble)) => break Err(trouble),
            }
        };
        let found = match found {
            Ok(found) => found,
            Err(trouble) => {
                let failure = self.run.target.connector.failure(&trouble);
                for (item, _) in items {
                    if trouble.is_transient() {
                        round.retry(item, &failure);
                    } else {
                        self.fail(item, &failure);
                    }
                }
                return;
            }
        };
        for (mut item, duplicate) in items {
            let Some(operation) = self.operation(&item) else { continue };
            let stored = lookup::identity_of(operation.key).ok().and_then(|identity| found.get(&identity));
            match verdict(group.kind, &item.condition, duplicate.is_some(), stored, &operation.version) {
                Verdict::Done(done) => self.run.settle(item.operation, Ok(done)),
                Verdict::OrderConflict => self.fail(item, &order_conflict(operation, stored)),
                Verdict::Again(_) if item.races == RACES => {
                    let failure = Failure::new(Cause::LostRace, format!("another writer was faster {RACES} times"));
                    self.fail(item, &failure);
                }
                Verdict::Again(condition) => {
                    item.races += 1;
                    item.condition = condition;
                    round.again.push(item);
                }
                Verdict::UniqueConflict if last => {
                    let failure = Failure::new(Cause::UniqueConflict, duplicate.unwrap_or_default());
                    self.fail(item, &failure);
                }
                Verdict::UniqueConflict => self.run.defer(index, Item::new(item.operation)),
            }
        }
    }

    /// Runs a command; an answer that is not `ok` is trouble.
    async fn call(&mut self, database: &str, command: Vec<u8>) -> Result<Document, Stop> {
        let (client, generation) = self.connect().await?;
        let command = RawDocumentBuf::from_bytes(command).map_err(|error| unexpected(&error))?;
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

    async fn look_up(&mut self, group: &Group<'a>, keys: &[Key<'_>]) -> Result<Found, Stop> {
        let (client, generation) = self.connect().await?;
        let collection = client.database(group.database).collection(group.collection);
        let majority = !self.run.target.no_majority_reads.get();
        let answer_by = self.answer_by();
        let session = self.session.as_mut().and_then(|(_, session)| session.as_mut());
        let result = tokio::time::timeout_at(answer_by, lookup::find(&collection, keys, majority, session)).await;
        match result {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => {
                if majority && lookup::is_of_read_concern(&error) {
                    self.run.target.no_majority_reads.set(true);
                    return Err(Stop::Again);
                }
                Err(self.stop(generation, &error).await)
            }
            Err(_) => Err(self.no_answer()),
        }
    }

    /// The client, with a session where the server has any: what is read in it includes what was written in it.
    async fn connect(&mut self) -> Result<(Client, u64), Stop> {
        if Instant::now() >= self.run.limit {
            return Err(Stop::Trouble(Trouble::new(Cause::Deadline, "no time was left to call the server")));
        }
        let connection = self.run.target.connector.connection(self.run.limit).await.map_err(Stop::Trouble)?;
        if self.session.as_ref().is_none_or(|(generation, _)| *generation != connection.generation) {
            let session = if self.run.no_sessions.get() { None } else { connection.client.start_session().await.ok() };
            self.session = Some((connection.generation, session));
        }
        Ok((connection.client, connection.generation))
    }

    fn answer_by(&self) -> tokio::time::Instant {
        self.run.limit.min(Instant::now() + ANSWER_TIME).into()
    }

    /// The call was dropped and its connection with it; what it asked for may still happen, and the guards allow for that.
    fn no_answer(&mut self) -> Stop {
        self.session = None;
        Stop::Trouble(Trouble::new(Cause::TimedOut, "no answer in time"))
    }

    async fn stop(&mut self, generation: u64, error: &Error) -> Stop {
        // Lanes run side by side, so each that has begun a session finds out by itself.
        if matches!(*error.kind, ErrorKind::SessionsNotSupported) && matches!(self.session, Some((_, Some(_)))) {
            self.run.no_sessions.set(true);
            self.session = None;
            return Stop::Again;
        }
        let trouble = Trouble::of_driver(error);
        if !trouble.is_refused_login() {
            return Stop::Trouble(trouble);
        }
        let mut refreshed = self.run.refreshed.lock().await;
        match *refreshed {
            None => {
                let result = self.run.target.connector.refresh(generation, self.run.limit).await;
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

    /// Waits for a random part of a time that doubles; `false` when there is no time for it.
    async fn pause(&self, count: u32) -> bool {
        let longest = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(count.min(16))).min(LONGEST_PAUSE);
        let pause = longest.mul_f64(fastrand::f64());
        let fits = Instant::now() + pause < self.run.limit;
        if fits {
            tokio::time::sleep(pause).await;
        }
        fits
    }

    fn fail(&self, mut item: Item, failure: &Failure) {
        let mut failure = item.cause_of(failure);
        if failure.cause == Cause::Deadline
            && let Some(obstacle) = self.run.obstacle.borrow().as_ref()
        {
            failure = obstacle.clone();
        }
        self.run.settle(item.operation, Err(failure));
    }
}

/// Whatever the write concern's error, its statements are to be sent again.
fn concern_trouble(trouble: &Trouble) -> Trouble {
    let cause = if trouble.is_transient() { trouble.cause() } else { Cause::Unavailable };
    Trouble::new(cause, format!("write concern: {}", trouble.text))
}

fn unexpected(error: &mongodb::bson::error::Error) -> Stop {
    Stop::Trouble(Trouble::new(Cause::UnexpectedAnswer, error.to_string()))
}

fn order_conflict(operation: &Operation<'_>, stored: Option<&Stored>) -> Failure {
    let Version { label, exact, at, .. } = operation.version;
    let stored = stored.and_then(|stored| stored.mark.as_ref());
    let stored = stored.map_or(String::new(), |mark| format!("{} {} of {} ms", mark.label, mark.exact, mark.at));
    Failure::new(
        Cause::OrderConflict,
        format!("the change has {label} {exact} of {at} ms, the stored document {stored}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidelock_core::version::Mark;

    const VERSION: Version<'static> = Version { space: "s", label: "b", exact: "5", coarse: 1, at: 10_000 };

    fn stored(mark: Option<(&str, &str, i64)>) -> Stored {
        let mark = mark.map(|(space, exact, at)| Mark {
            space: space.to_owned(),
            label: "b".to_owned(),
            exact: exact.to_owned(),
            at,
        });
        Stored { mark, unchanged: vec![7] }
    }

    #[test]
    fn judges_on_what_is_stored() {
        let again = || Verdict::Again(Condition::Stored(vec![7]));
        let cas = Condition::Stored(vec![1]);
        let (applied, stale) = (|| Verdict::Done(Done::Applied), || Verdict::Done(Done::Stale));
        // Upsert refused by the guard; compare-and-set refused by a unique index; compare-and-set without effect; delete.
        for (mark, by_guard, by_unique, lost, delete) in [
            (Some(("s", "6", 10_000)), stale(), stale(), stale(), stale()),
            (Some(("s", "5", 10_000)), applied(), applied(), applied(), again()),
            (
                Some(("s", "6", 8_000)),
                Verdict::OrderConflict,
                Verdict::OrderConflict,
                Verdict::OrderConflict,
                Verdict::OrderConflict,
            ),
            (Some(("s", "4", 10_000)), again(), Verdict::UniqueConflict, again(), again()),
            (Some(("other", "9", 10_000)), again(), Verdict::UniqueConflict, again(), again()),
            (None, again(), Verdict::UniqueConflict, again(), again()),
        ] {
            let stored = stored(mark);
            assert_eq!(verdict(Kind::Upsert, &Condition::Older, true, Some(&stored), &VERSION), by_guard, "{mark:?}");
            assert_eq!(verdict(Kind::Upsert, &cas, true, Some(&stored), &VERSION), by_unique, "{mark:?}");
            assert_eq!(verdict(Kind::Upsert, &cas, false, Some(&stored), &VERSION), lost, "{mark:?}");
            assert_eq!(verdict(Kind::Delete, &Condition::Older, false, Some(&stored), &VERSION), delete, "{mark:?}");
        }
        assert_eq!(verdict(Kind::Upsert, &Condition::Older, true, None, &VERSION), Verdict::UniqueConflict);
        assert_eq!(verdict(Kind::Upsert, &cas, false, None, &VERSION), Verdict::Again(Condition::Older));
        assert_eq!(verdict(Kind::Delete, &cas, false, None, &VERSION), applied());
    }
}
