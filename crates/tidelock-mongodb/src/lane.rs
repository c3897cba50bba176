//! One command at a time: send, judge the answer, send again what needs it, until every operation has its outcome.

use crate::answer::Answer;
use crate::apply::{Chunk, Group, Mode, Run};
use crate::caller::{Caller, Stop};
use crate::command::{Condition, Kind, Statement, build};
use crate::error::{Meaning, Trouble};
use crate::login::Credentials;
use crate::lookup::{Found, Stored};
use crate::spot::Spot;
use crate::store;
use mongodb::bson::{Bson, Document};
use std::collections::VecDeque;
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::target::{Done, Operation};
use tidelock_core::version::{Judgement, Version};

/// How often an operation with an error of no known meaning is tried.
const TRIES: u8 = 3;

/// How often an operation is judged anew because another writer was faster.
const RACES: u8 = 5;

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
    pub(crate) fn new(operation: usize, condition: Condition) -> Self {
        Self { operation, condition, tries: 0, races: 0, failure: None }
    }

    /// The failure to report: that time was over says less than what stood in the way before.
    fn cause_of(&mut self, failure: &Failure) -> Failure {
        match self.failure.take() {
            Some(earlier) if matches!(failure.cause, Cause::Deadline | Cause::TimedOut) => earlier,
            _ => failure.clone(),
        }
    }
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
pub(crate) enum Verdict {
    Done(Done),
    OrderConflict,
    /// The document is another source's, and left to the caller.
    Foreign,
    Again(Condition),
    /// It is another index than the one on `_id` that refuses the document.
    UniqueConflict,
}

/// Judges an operation that the guard, a unique index or another writer has stopped, on what is stored now.
///
/// `guard` is the condition that it is sent with while nothing is known of what is stored.
fn verdict(
    kind: Kind,
    tried: &Condition,
    guard: &Condition,
    duplicate: bool,
    stored: Option<&Stored>,
    version: &Version<'_>,
) -> Verdict {
    let Some(stored) = stored else {
        return match kind {
            Kind::Delete => Verdict::Done(Done::Applied),
            // It has expired since.
            Kind::Fence if *tried == Condition::Absent => Verdict::Again(guard.clone()),
            _ if duplicate => Verdict::UniqueConflict,
            _ => Verdict::Again(guard.clone()),
        };
    };
    match version.judge(stored.mark.as_ref()) {
        Judgement::Stale => Verdict::Done(Done::Stale),
        // A fence is written anew: a write of before may have landed since, and the sweep must come to this one again.
        Judgement::Replay if kind == Kind::Upsert => Verdict::Done(Done::Applied),
        Judgement::OrderConflict => Verdict::OrderConflict,
        Judgement::Tie if *guard == Condition::OwnOlder && kind != Kind::Fence => Verdict::OrderConflict,
        Judgement::Foreign if *guard == Condition::OwnOlder => Verdict::Foreign,
        // A compare-and-set inserts nothing, so that it is not `_id` that is there twice.
        _ if duplicate && tried.compares() => Verdict::UniqueConflict,
        // A live change wins a tie: of equal numbers, the one delivered later counts as the newer one.
        Judgement::Replay | Judgement::Newer | Judgement::Tie | Judgement::Foreign => {
            Verdict::Again(Condition::Stored(stored.unchanged.clone()))
        }
    }
}

/// One of the commands in flight, with a session of its own.
pub(crate) struct Lane<'r, 'a, C> {
    run: &'r Run<'a, C>,
    caller: Caller<'r, 'a, C>,
}

impl<'r, 'a, C: Credentials> Lane<'r, 'a, C> {
    pub(crate) fn new(run: &'r Run<'a, C>) -> Self {
        Self { run, caller: Caller::new(&run.shared) }
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
                if !self.caller.pause(pauses).await {
                    let deadline = Failure::new(Cause::Deadline, "no time was left for another attempt");
                    for item in pending {
                        self.fail(group.kind, item, &deadline);
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
            let trouble = match self.caller.command(group.database, bytes).await {
                Ok(answer) => {
                    self.sort(group.kind, rest.drain(..count).collect(), &answer, &mut round);
                    most = most.saturating_mul(2);
                    continue;
                }
                Err(Stop::Again) => continue,
                Err(Stop::Trouble(trouble)) => trouble,
            };
            let failure = self.run.shared.connector.failure(&trouble);
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
                        self.run.suspect(item.operation, group.kind, failure.clone());
                    } else {
                        self.fail(group.kind, item, &failure);
                    }
                }
                if self.run.has_passed(group.kind) {
                    continue;
                }
                if self.run.is_hopeless(group.kind) {
                    rest.drain(..).for_each(|item| self.fail(group.kind, item, &failure));
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
                    self.fail(group.kind, item, &failure);
                }
            }
        }
        round
    }

    fn build(&self, group: &Group<'a>, items: &VecDeque<Item>, most: usize) -> (Vec<u8>, usize) {
        let statement = |item: &Item| self.run.statement(group.kind, item.operation);
        let statements = || items.iter().take(most).filter_map(|item| Some((statement(item)?, &item.condition)));
        let expected = statements().map(|(statement, _): (Statement<'_>, _)| statement.bytes()).sum::<usize>() + 200;
        let built = build(group.kind, group.collection, statements(), self.run.target.bulk_bytes, expected);
        (built.bytes, built.count)
    }

    /// Gives each of a command's items its outcome, or its place in the next round.
    fn sort(&self, kind: Kind, items: Vec<Item>, answer: &Document, round: &mut Round) {
        let connector = &self.run.shared.connector;
        let answer = match Answer::read(answer, items.len()) {
            Ok(answer) => answer,
            Err(why) => return self.unmatched(kind, items, &why, round),
        };
        if kind == Kind::Fence && items.first().is_some_and(|item| item.condition == Condition::Absent) {
            let met =
                answer.errors.iter().flatten().filter(|error| Trouble::of_server(error).meaning == Meaning::Duplicate);
            self.run.has_met_fences(met.count(), items.len());
        }
        let good = answer.errors.iter().filter(|error| error.is_none()).count();
        let short = good - answer.n.min(good);
        let may_miss = |item: &Item| kind == Kind::Delete || item.condition.compares();
        let missing_at_most =
            items.iter().zip(&answer.errors).filter(|(item, error)| error.is_none() && may_miss(item)).count();
        if short > missing_at_most {
            return self.unmatched(
                kind,
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
                // What was to be deleted unconditionally is gone, however few were there.
                if short > 0 && may_miss(&item) && item.condition != Condition::Always {
                    round.judge.push((item, None));
                } else {
                    self.run.settle(item.operation, kind, Ok(Done::Applied));
                }
                continue;
            };
            let failure = connector.failure(&trouble);
            match trouble.meaning {
                Meaning::Duplicate if kind != Kind::Delete => round.judge.push((item, Some(trouble.text))),
                Meaning::Unknown | Meaning::Duplicate if item.tries + 1 < TRIES => {
                    item.tries += 1;
                    round.retry(item, &failure);
                }
                Meaning::Unknown | Meaning::Duplicate => self.run.suspect(item.operation, kind, failure),
                Meaning::Cause(_) if trouble.is_transient() => round.retry(item, &failure),
                Meaning::Cause(_) => self.fail(kind, item, &failure),
            }
        }
    }

    /// The answer does not fit: nothing is known of any of these.
    fn unmatched(&self, kind: Kind, items: Vec<Item>, why: &str, round: &mut Round) {
        let failure = self.run.shared.connector.describe(Cause::UnexpectedAnswer, why);
        for mut item in items {
            item.tries += 1;
            if item.tries < TRIES {
                round.retry(item, &failure);
            } else {
                self.fail(kind, item, &failure);
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
        let found = loop {
            match self.look_up(group, &items).await {
                Ok(found) => break Ok(found),
                Err(Stop::Again) => {}
                Err(Stop::Trouble(trouble)) => break Err(trouble),
            }
        };
        let found = match found {
            Ok(found) => found,
            Err(trouble) => {
                let failure = self.run.shared.connector.failure(&trouble);
                for (item, _) in items {
                    if trouble.is_transient() {
                        round.retry(item, &failure);
                    } else {
                        self.fail(group.kind, item, &failure);
                    }
                }
                return;
            }
        };
        for (mut item, duplicate) in items {
            let Some(operation) = self.run.operations.get(item.operation) else { continue };
            let spot = self.spot(group.kind, &item).and_then(|spot| Ok(spot.identity()?));
            let stored = spot.ok().and_then(|identity| found.get(&identity));
            let guard = self.run.guard(group.kind, item.operation);
            let (kind, duplicated) = (group.kind, duplicate.is_some());
            let verdict = match (self.run.mode, kind) {
                (Mode::Put(_), Kind::Upsert | Kind::Delete) => {
                    store::verdict(kind, &item.condition, duplicated, stored, &operation.version)
                }
                (mode, _) => match verdict(kind, &item.condition, &guard, duplicated, stored, &operation.version) {
                    // Whatever the clocks say: a fence is never lowered.
                    Verdict::OrderConflict if matches!(mode, Mode::Put(_)) => Verdict::Done(Done::Stale),
                    verdict => verdict,
                },
            };
            match verdict {
                Verdict::Done(done) => self.run.settle(item.operation, kind, Ok(done)),
                Verdict::OrderConflict => self.fail(kind, item, &order_conflict(operation, stored)),
                Verdict::Foreign => self.fail(kind, item, &foreign(operation, stored)),
                Verdict::Again(_) if item.races == RACES => {
                    if let (Mode::Put(_), Kind::Upsert | Kind::Delete) = (self.run.mode, kind) {
                        self.run.settle(item.operation, kind, Ok(Done::Stale));
                        continue;
                    }
                    let failure = Failure::new(Cause::LostRace, format!("another writer was faster {RACES} times"));
                    self.fail(kind, item, &failure);
                }
                Verdict::Again(condition) => {
                    item.races += 1;
                    item.condition = condition;
                    round.again.push(item);
                }
                // A fence's only unique index should be the one on `_id`.
                Verdict::UniqueConflict if last || kind == Kind::Fence => {
                    let failure = Failure::new(Cause::UniqueConflict, duplicate.unwrap_or_default());
                    self.fail(kind, item, &failure);
                }
                Verdict::UniqueConflict => self.run.defer(index, Item::new(item.operation, guard)),
            }
        }
    }

    async fn look_up(&mut self, group: &Group<'a>, items: &[(Item, Option<String>)]) -> Result<Found, Stop> {
        let spots = items.iter().map(|(item, _)| self.spot(group.kind, item)).collect::<Result<Vec<_>, _>>()?;
        self.caller.find(group.database, group.collection, &spots, false).await
    }

    /// Where an item writes.
    fn spot(&self, kind: Kind, item: &Item) -> Result<Spot, Stop> {
        match self.run.statement(kind, item.operation) {
            Some(Statement::Document(operation)) => Ok(Spot::of(operation)?),
            Some(Statement::Fence(fence)) => Ok(Spot::of_id(fence.id().into())),
            None => Ok(Spot::of_id(Bson::Null)),
        }
    }

    fn fail(&self, kind: Kind, mut item: Item, failure: &Failure) {
        let mut failure = item.cause_of(failure);
        if failure.cause == Cause::Deadline
            && let Some(obstacle) = self.run.obstacle.borrow().as_ref()
        {
            failure = obstacle.clone();
        }
        self.run.settle(item.operation, kind, Err(failure));
    }
}

/// Whatever the write concern's error, its statements are to be sent again.
fn concern_trouble(trouble: &Trouble) -> Trouble {
    let cause = if trouble.is_transient() { trouble.cause() } else { Cause::Unavailable };
    Trouble::new(cause, format!("write concern: {}", trouble.text))
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

fn foreign(operation: &Operation<'_>, stored: Option<&Stored>) -> Failure {
    let space = operation.version.space;
    let detail = match stored.and_then(|stored| stored.mark.as_ref()) {
        Some(mark) => format!("the document was written by `{}`, the change is of `{space}`", mark.space),
        None => "the document has no version that can be read".to_owned(),
    };
    Failure::new(Cause::ForeignDocument, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::Unchanged;
    use tidelock_core::version::Mark;

    const VERSION: Version<'static> =
        Version { space: "kafka:s:0", label: "", exact: "00000000000000000005", token: "", coarse: 5, at: 10_000 };

    fn stored(mark: Option<(&str, &str, i64)>) -> Stored {
        let mark = mark.map(|(space, exact, at)| Mark {
            space: format!("kafka:{space}:0"),
            label: String::new(),
            exact: format!("{exact:0>20}"),
            token: String::new(),
            at,
            part: false,
        });
        Stored { mark, unchanged: Unchanged(vec![7], None), body: None }
    }

    fn judged(kind: Kind, tried: &Condition, duplicate: bool, stored: Option<&Stored>) -> Verdict {
        verdict(kind, tried, &Condition::Older, duplicate, stored, &VERSION)
    }

    #[test]
    fn where_the_source_can_be_read_others_documents_are_left_to_the_caller() {
        let guard = Condition::OwnOlder;
        let compare = Condition::Stored(Unchanged(vec![1], None));
        for kind in [Kind::Upsert, Kind::Delete] {
            for foreign in [stored(Some(("other", "9", 10_000))), stored(None)] {
                for (tried, duplicate) in [(&guard, false), (&guard, true), (&compare, true)] {
                    let verdict = verdict(kind, tried, &guard, duplicate, Some(&foreign), &VERSION);
                    assert_eq!(verdict, Verdict::Foreign);
                }
            }
            let older = stored(Some(("s", "4", 10_000)));
            let again = Verdict::Again(Condition::Stored(Unchanged(vec![7], None)));
            assert_eq!(verdict(kind, &guard, &guard, kind == Kind::Upsert, Some(&older), &VERSION), again);
        }
        assert_eq!(verdict(Kind::Upsert, &compare, &guard, false, None, &VERSION), Verdict::Again(guard.clone()));
        // Two changes of one number: only the source knows which is the later one.
        let mut tie = stored(Some(("s", "5", 10_000)));
        tie.mark = tie.mark.map(|mark| Mark { token: "t".to_owned(), ..mark });
        let other = Version { token: "u", ..VERSION };
        let judged = |kind, guard| verdict(kind, &Condition::Older, guard, true, Some(&tie), &other);
        for kind in [Kind::Upsert, Kind::Delete] {
            assert_eq!(judged(kind, &guard), Verdict::OrderConflict);
            assert_eq!(judged(kind, &Condition::Older), Verdict::Again(Condition::Stored(Unchanged(vec![7], None))));
        }
    }

    #[test]
    fn judges_on_what_is_stored() {
        let again = || Verdict::Again(Condition::Stored(Unchanged(vec![7], None)));
        let cas = Condition::Stored(Unchanged(vec![1], None));
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
            for met in [Condition::Older, Condition::Absent] {
                assert_eq!(judged(Kind::Upsert, &met, true, Some(&stored)), by_guard, "{met:?} {mark:?}");
            }
            assert_eq!(judged(Kind::Upsert, &cas, true, Some(&stored)), by_unique, "{mark:?}");
            assert_eq!(judged(Kind::Upsert, &cas, false, Some(&stored)), lost, "{mark:?}");
            assert_eq!(judged(Kind::Delete, &Condition::Older, false, Some(&stored)), delete, "{mark:?}");
        }
        for met in [Condition::Older, Condition::Absent] {
            assert_eq!(judged(Kind::Upsert, &met, true, None), Verdict::UniqueConflict);
        }
        assert_eq!(judged(Kind::Upsert, &cas, false, None), Verdict::Again(Condition::Older));
        assert_eq!(judged(Kind::Delete, &cas, false, None), applied());
    }
}
