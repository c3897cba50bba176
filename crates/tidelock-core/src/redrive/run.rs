//! Taking messages and seeing to each of them.

use super::desk::{Desk, Load, Mode, Settled, is_outage};
use super::order::{Order, Outlets, Redriven};
use super::survey::{Renewal, send_anew};
use crate::cause::{Cause, Failure};
use crate::letter::{Contents, History, Letter, Parcel, Post, lost_records, post, read};
use crate::queue::{Bucket, Message, Outbox, Queue};
use crate::slow::Source;
use crate::source::{Kind, Streams};
use crate::state::State;
use crate::target::{Call, Store};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::time::Duration;

/// Records' text that is applied together.
const LOAD_BYTES: usize = 3_000_000;

/// Messages that are seen to together.
const LOAD_MESSAGES: usize = 200;

/// Messages that are taken before anything is known of their size.
const FIRST_TAKE: usize = 10;

/// The most that a message may weigh which points at an object.
const MAX_POINTER: usize = 256 * 1_024;

/// Most messages that a run hides: [SQS](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html)
/// allows 120,000 in flight.
pub(super) const MAX_HIDDEN: usize = 100_000;

/// Time that a load may take: less is not begun with.
const LOAD_TIME: Duration = Duration::from_secs(5);

/// How long a load may take.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// The same behind a load of which nothing could be applied.
const PROBE: Duration = Duration::from_secs(5);

/// Loads of which nothing could be applied, one behind the other, before the run ends: the target is down.
const MAX_FAILING: usize = 3;

/// Time that is kept for what follows a load's writes: letters are stored, messages deleted. Without it a slow target would use
/// up every run, and all that was written would come again.
const RESERVE: Duration = Duration::from_secs(2);

/// Why a run stops that could go on.
const TIME_OVER: &str = "time was over";

/// How long messages stay hidden behind the end of a run that has died.
const MARGIN: Duration = Duration::from_secs(2);

/// When a message comes again that a mapping has brought and that could not be seen to.
const AGAIN: Duration = Duration::from_secs(60);

/// Takes messages from a queue until there are none, time is over, or the target does not take any more.
pub async fn drain_queue<T: Store, R: Source, M: State, Q: Queue, B: Bucket, S: Streams>(
    desk: &Desk<'_, T, R, M>,
    queue: &Q,
    outlets: Outlets<'_, Q, B, S>,
    order: &Order,
    call: Call,
) -> Redriven {
    let mut run = Run::new(desk, Some(queue), outlets, order, call);
    let mut hidden: Vec<String> = Vec::new();
    let mut seen: HashSet<String> = HashSet::new();
    let mut empty = 0;
    while run.redriven.stopped.is_none() && empty < 2 {
        if run.time_is_over() {
            break;
        }
        let limit = order.limit.map_or(LOAD_MESSAGES, |limit| limit.saturating_sub(run.redriven.messages));
        if limit == 0 {
            break;
        }
        if hidden.len() > MAX_HIDDEN {
            run.redriven.stopped = Some(format!("{MAX_HIDDEN} messages are out of the queue"));
            break;
        }
        let messages = run.take(queue, limit.min(LOAD_MESSAGES)).await;
        empty = if messages.is_empty() { empty + 1 } else { 0 };
        // What has come before comes again when somebody else gave it back: it has had its turn.
        let (messages, again): (Vec<Message>, Vec<Message>) =
            messages.into_iter().partition(|message| seen.insert(message.id.clone()));
        hidden.extend(again.into_iter().map(|message| message.receipt));
        let (receipts, taken): (Vec<String>, Vec<Taken>) = messages
            .into_iter()
            .map(|message| (message.receipt, Taken { name: message.id, text: message.body }))
            .unzip();
        let done = run.see_to(taken).await;
        let (done, stay): (Vec<_>, Vec<_>) = receipts.into_iter().zip(done).partition(|(_, done)| *done);
        hidden.extend(stay.into_iter().map(|(receipt, _)| receipt));
        let done: Vec<String> = done.into_iter().map(|(receipt, _)| receipt).collect();
        run.delete(queue, &done).await;
        (desk.watch)(&run.redriven);
    }
    if !hidden.is_empty() {
        queue.hide(&hidden, Duration::ZERO, call.deadline).await;
    }
    run.end()
}

/// Sees to messages that Lambda has taken from `queue` for its mapping; says of each, by position, whether it is done with and can be
/// deleted. The others come again in a minute, not only when the mapping's time for them is over (six times the function's); what is
/// old by then is sent anew: nobody else would do it in time, because the mapping has them all the time.
pub async fn redrive_messages<T: Store, R: Source, M: State, Q: Queue, B: Bucket, S: Streams>(
    desk: &Desk<'_, T, R, M>,
    messages: Vec<Message>,
    queue: Option<&Q>,
    renewal: Option<Renewal>,
    outlets: Outlets<'_, Q, B, S>,
    order: &Order,
    call: Call,
) -> (Vec<bool>, Redriven) {
    let mut run = Run::new(desk, queue, outlets, order, call);
    let is_old = |message: &Message| renewal.is_some_and(|renewal| renewal.takes(message));
    let old: Vec<(usize, String)> = messages
        .iter()
        .enumerate()
        .filter(|(_, message)| is_old(message))
        .map(|(index, message)| (index, message.body.clone()))
        .collect();
    let (receipts, taken): (Vec<String>, Vec<Taken>) =
        messages.into_iter().map(|message| (message.receipt, Taken { name: message.id, text: message.body })).unzip();
    let mut done = run.see_to(taken).await;
    run.redriven.completed = done.iter().filter(|done| **done).count();
    for (index, body) in old {
        let Some(queue) = queue.filter(|_| done.get(index) == Some(&false)) else { continue };
        match send_anew(queue, outlets.bucket, &body, call.deadline).await {
            Ok(()) => set(&mut done, index, true),
            Err(why) => run.redriven.keep("", format!("it could not be sent anew: {why}")),
        }
    }
    let stay = receipts.into_iter().zip(&done).filter(|(receipt, done)| !**done && !receipt.is_empty());
    let stay: Vec<String> = stay.map(|(receipt, _)| receipt).collect();
    if let Some(queue) = queue.filter(|_| !stay.is_empty()) {
        queue.hide(&stay, AGAIN, call.deadline).await;
    }
    (done, run.end())
}

/// Redrives the on-failure records that Lambda has put into a bucket, in order of their names.
pub async fn redrive_failures<T: Store, R: Source, M: State, Q: Outbox, B: Bucket, F: Bucket, S: Streams>(
    desk: &Desk<'_, T, R, M>,
    failures: &F,
    prefix: &str,
    outlets: Outlets<'_, Q, B, S>,
    order: &Order,
    call: Call,
) -> Redriven {
    let mut run = Run::new(desk, None, outlets, order, call);
    let mut after: Option<String> = None;
    loop {
        let page = match failures.list(prefix, after.as_deref(), call.deadline).await {
            Ok(page) => page,
            Err(why) => {
                run.redriven.stopped = Some(why);
                return run.end();
            }
        };
        after = page.names.last().cloned();
        for name in page.names {
            let enough = order.limit.is_some_and(|limit| run.redriven.messages >= limit);
            if enough || run.redriven.stopped.is_some() || run.time_is_over() {
                return run.end();
            }
            run.object(failures, name).await;
            (desk.watch)(&run.redriven);
        }
        if !page.more {
            return run.end();
        }
    }
}

/// A message, or an object that is one.
struct Taken {
    name: String,
    text: String,
}

/// The event in an on-failure record.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "Records")]
    records: &'a RawValue,
}

/// Records of a message.
struct Loaded<'a> {
    /// Which message's.
    index: usize,
    kind: Kind,
    stream: &'a str,
    text: &'a str,
    history: History,
}

struct Run<'a, T, R, M, Q, B, S> {
    desk: &'a Desk<'a, T, R, M>,
    /// Where the rest of a message goes of which some records are done; without it the message stays whole.
    queue: Option<&'a Q>,
    outlets: Outlets<'a, Q, B, S>,
    order: &'a Order,
    call: Call,
    redriven: Redriven,
    /// What this run has sent itself, by id and attempts: it has had its turn.
    sent: HashSet<(String, u32)>,
    /// How long the next load may take.
    patience: Duration,
    /// How many loads failed as a whole, one behind the other, and why.
    failing: usize,
    outage: Option<String>,
}

impl<'a, T: Store, R: Source, M: State, Q: Outbox, B: Bucket, S: Streams> Run<'a, T, R, M, Q, B, S> {
    fn new(
        desk: &'a Desk<'a, T, R, M>,
        queue: Option<&'a Q>,
        outlets: Outlets<'a, Q, B, S>,
        order: &'a Order,
        call: Call,
    ) -> Self {
        let (redriven, sent) = (Redriven::default(), HashSet::new());
        Self { desk, queue, outlets, order, call, redriven, sent, patience: desk.patience, failing: 0, outage: None }
    }

    /// What has been done; when the last that was tried failed as a whole, that is why no more was.
    fn end(mut self) -> Redriven {
        if self.redriven.stopped.is_none() {
            self.redriven.stopped = self.outage;
        }
        self.redriven
    }

    fn time_is_over(&mut self) -> bool {
        let over = (self.desk.clock)() + LOAD_TIME > self.call.deadline;
        if over {
            self.redriven.stopped = Some(TIME_OVER.to_owned());
        }
        over
    }

    fn left(&self) -> Duration {
        self.call.deadline.saturating_duration_since((self.desk.clock)())
    }

    /// Takes as many messages as make a load.
    async fn take(&mut self, queue: &impl Queue, limit: usize) -> Vec<Message> {
        let mut messages: Vec<Message> = Vec::new();
        let mut bytes = 0;
        while messages.len() < limit && bytes < LOAD_BYTES {
            // Where messages are large, few are taken at a time.
            let average = bytes.checked_div(messages.len());
            let fitting = average.map_or(FIRST_TAKE, |average| (LOAD_BYTES - bytes) / average.max(1) + 1);
            let most = fitting.min(limit - messages.len());
            match queue.take(most, self.left() + MARGIN, self.call.deadline).await {
                Ok(found) if found.is_empty() => break,
                Ok(found) => {
                    bytes += found.iter().map(|message| message.body.len()).sum::<usize>();
                    messages.extend(found);
                }
                Err(why) => {
                    self.redriven.stopped = Some(why);
                    break;
                }
            }
        }
        messages
    }

    async fn delete(&mut self, queue: &impl Queue, done: &[String]) {
        if done.is_empty() {
            return;
        }
        for result in queue.delete(done, self.call.deadline).await {
            match result {
                Ok(()) => self.redriven.completed += 1,
                // It comes again, and every record of it will be stale.
                Err(why) => self.redriven.keep("", format!("it is done with, and could not be deleted: {why}")),
            }
        }
    }

    /// Sees to an on-failure record in a bucket.
    async fn object(&mut self, failures: &impl Bucket, name: String) {
        let text = match failures.get(&name, self.call.deadline).await {
            // Somebody else was faster.
            Ok(None) => return,
            Ok(Some(body)) => String::from_utf8(body).map_err(|_| "it is no text".to_owned()),
            Err(why) => Err(why),
        };
        let text = match text {
            Ok(text) => text,
            Err(why) => return self.redriven.keep(&name, why),
        };
        if self.see_to(vec![Taken { name: name.clone(), text }]).await.first() == Some(&true) {
            match failures.delete(&name, self.call.deadline).await {
                Ok(()) => self.redriven.completed += 1,
                Err(why) => {
                    self.redriven.keep(&name, format!("it is done with, and could not be deleted: {why}"));
                }
            }
        }
    }

    /// Sees to some messages; by position, whether each is done with.
    async fn see_to(&mut self, taken: Vec<Taken>) -> Vec<bool> {
        let mut done = vec![false; taken.len()];
        let mut whole = Vec::with_capacity(taken.len());
        for message in taken {
            whole.push(self.whole(message).await);
        }
        let mut parcels: Vec<(usize, Parcel<'_>, Mode)> = Vec::with_capacity(whole.len());
        for (index, message) in whole.iter().enumerate() {
            let Some(Taken { name, text }) = message else { continue };
            match self.parcel(text) {
                Ok(Some((parcel, mode))) => parcels.push((index, parcel, mode)),
                Ok(None) => {}
                Err(why) => self.redriven.keep(name, why),
            }
        }
        let name = |index: usize| whole.get(index).and_then(Option::as_ref).map_or("", |message| message.name.as_str());
        let text = |index: usize| whole.get(index).and_then(Option::as_ref).map_or("", |message| message.text.as_str());
        let mut fetched: Vec<Option<String>> = Vec::with_capacity(parcels.len());
        for (index, parcel, _) in &parcels {
            let records = match &parcel.contents {
                Contents::Batch(batch) if batch.payload.is_none() => self.fetch(parcel, text(*index)).await.map(Some),
                _ => Ok(None),
            };
            fetched.push(records.unwrap_or_else(|why| {
                self.redriven.keep(name(*index), why);
                None
            }));
        }
        let modes = [Mode::Payload, Mode::Truth];
        for (mode, &kind) in modes.iter().flat_map(|&mode| self.desk.kinds.iter().map(move |kind| (mode, kind))) {
            let mut load: Vec<Loaded<'_>> = Vec::new();
            let own = |parcel: &Parcel<'_>, how: Mode| how == mode && parcel.source_kind == kind.name;
            let own = parcels.iter().zip(&fetched).filter(|((_, parcel, how), _)| own(parcel, *how));
            for ((index, parcel, _), fetched) in own {
                let history = History { attempts: parcel.attempts, first_failed_ms: parcel.first_failed_ms };
                match records(parcel, fetched.as_deref()) {
                    Ok(Some(text)) => {
                        load.push(Loaded { index: *index, kind, stream: &parcel.stream, text, history });
                    }
                    Ok(None) => {}
                    Err(why) => self.redriven.keep(name(*index), why),
                }
            }
            if !load.is_empty() {
                let settled = self.settle(&load, mode, &name).await;
                self.finish(settled, &mut done).await;
            }
        }
        done
    }

    /// A message, with the object it points at in its place; `None` when it is kept.
    async fn whole(&mut self, message: Taken) -> Option<Taken> {
        // Pointers are short, and most messages are none.
        if message.text.len() > MAX_POINTER || !message.text.contains("\"s3\"") {
            return Some(message);
        }
        let (place, key) = match read(&message.text) {
            Ok(parcel) if !self.order.filter.takes(&parcel) => return Some(message),
            Ok(Parcel { contents: Contents::Elsewhere { bucket, key }, .. }) => (bucket.into_owned(), key.into_owned()),
            _ => return Some(message),
        };
        let found = match self.outlets.bucket.filter(|bucket| bucket.name() == place) {
            None => Err(format!("it lies in bucket `{place}`; set TIDELOCK_LETTERS_BUCKET to it")),
            Some(bucket) => match bucket.get(&key, self.call.deadline).await {
                Ok(Some(body)) => String::from_utf8(body).map_err(|_| format!("object `{key}` is no text")),
                Ok(None) => Err(format!("object `{key}` is missing in bucket `{place}`")),
                Err(why) => Err(why),
            },
        };
        match found {
            Ok(text) => Some(Taken { text, ..message }),
            Err(why) => {
                self.redriven.keep(&message.name, why);
                None
            }
        }
    }

    /// Reads a message that the filter takes, and says how it is to be redriven.
    fn parcel<'t>(&mut self, text: &'t str) -> Result<Option<(Parcel<'t>, Mode)>, String> {
        let parcel = match read(text) {
            Ok(parcel) => parcel,
            // Nobody has asked for what cannot be read.
            Err(_) if !self.order.filter.is_empty() => return Ok(None),
            Err(why) => return Err(why.to_string()),
        };
        let own = || self.sent.contains(&(parcel.id.to_string(), parcel.attempts));
        if !self.order.filter.takes(&parcel) || own() {
            return Ok(None);
        }
        self.redriven.messages += 1;
        // What it holds is no record of the source, but Lambda's word of which records there were.
        if parcel.reason == Cause::RecordsLost.code() {
            return Err(format!("its records are lost ({}): {}", parcel.detail, Cause::RecordsLost.action()));
        }
        let Order { mut mode, force, .. } = *self.order;
        // The part may be of what the source said, and then bear a newer version than the record.
        if parcel.reason == Cause::Salvaged.code() && self.desk.source.is_some() {
            mode = Mode::Truth;
        }
        let mode = self.desk.mode(&parcel.source_kind, mode, parcel.first_failed_ms, force, self.call.now_ms)?;
        Ok(Some((parcel, mode)))
    }

    /// Fetches the records that Lambda's on-failure record only names. A letter tells of what the stream has forgotten.
    async fn fetch(&mut self, parcel: &Parcel<'_>, text: &str) -> Result<String, String> {
        let Contents::Batch(lost) = &parcel.contents else { return Err("it names no records".to_owned()) };
        let streams = self.outlets.streams;
        let streams = streams.ok_or_else(|| "this build cannot fetch its records from the stream".to_owned())?;
        let found = streams.records(&lost.batch, self.call.deadline).await.map_err(|failure| failure.to_string())?;
        let Some(why) = found.forgotten else { return Ok(found.records) };
        let failure = Failure::new(Cause::RecordsLost, format!("{}: {why}", parcel.detail));
        let queue = self.outlets.dead_letters.filter(|_| !self.order.dry_run);
        let queue = queue.ok_or_else(|| failure.to_string())?;
        let history = History { attempts: 1, first_failed_ms: parcel.first_failed_ms };
        let letter = lost_records(lost, text, &failure, self.desk.function, history);
        let to = Post { queue, bucket: self.outlets.bucket };
        match post(to, vec![letter], Duration::ZERO, self.call.deadline).await.pop() {
            Some(Ok(())) => {
                self.redriven.park(failure.cause.code());
                Ok(found.records)
            }
            Some(Err(why)) => Err(format!("{failure}; its letter was not stored: {why}")),
            None => Err(format!("{failure}; its letter was not stored")),
        }
    }

    /// Applies a load; beside each message's index stands what has become of it. A message that spoils the others is seen to
    /// alone.
    async fn settle<'n>(
        &mut self,
        load: &[Loaded<'_>],
        mode: Mode,
        name: &impl Fn(usize) -> &'n str,
    ) -> Vec<(usize, Settled)> {
        let reserve = RESERVE.min(self.left() / 3);
        let end = self.call.deadline.checked_sub(reserve).unwrap_or(self.call.deadline);
        let call = Call { deadline: end.min((self.desk.clock)() + self.patience), ..self.call };
        let mut parts = vec![load];
        let mut settled = Vec::with_capacity(load.len());
        while let Some(part) = parts.pop() {
            if (self.desk.clock)() >= call.deadline {
                if call.deadline == end {
                    self.redriven.stopped.get_or_insert_with(|| TIME_OVER.to_owned());
                }
                break;
            }
            let Some(first) = part.first() else { continue };
            let work = Load {
                kind: first.kind,
                streams: part.iter().map(|loaded| loaded.stream).collect(),
                records: part.iter().map(|loaded| loaded.text).collect(),
                histories: part.iter().map(|loaded| loaded.history).collect(),
                mode,
            };
            let result = match self.order.dry_run {
                true => self.desk.foretell(&work, call).await,
                false => self.desk.apply(&work, call).await,
            };
            match (result, part) {
                (Ok(found), _) => settled.extend(part.iter().map(|loaded| loaded.index).zip(found)),
                (Err(why), [alone]) => self.redriven.keep(name(alone.index), why),
                (Err(_), _) => {
                    let (front, back) = part.split_at(part.len() / 2);
                    parts.extend([back, front]);
                }
            }
        }
        settled
    }

    /// Stores what must wait on; only then are the messages done with.
    async fn finish(&mut self, settled: Vec<(usize, Settled)>, done: &mut [bool]) {
        let (mut letters, mut rests) = (Vec::new(), Vec::new());
        let mut finished = Vec::new();
        let (mut moved, mut outage) = (0, None);
        for (index, settled) in settled {
            self.redriven.count(&settled);
            if self.order.dry_run {
                settled.refused.iter().for_each(|letter| self.redriven.park(&letter.reason));
            }
            moved += settled.done() + settled.refused.len();
            if settled.again > 0 && outage.is_none() {
                outage = settled.example.filter(is_outage);
            }
            let waits_whole = settled.again > 0 && (settled.rest.is_empty() || self.queue.is_none());
            if self.order.dry_run || waits_whole {
                continue;
            }
            letters.extend(settled.refused.into_iter().map(|letter| (index, letter)));
            rests.extend(settled.rest.into_iter().map(|letter| (index, letter)));
            finished.push(index);
        }
        self.patience = if moved == 0 { PROBE.min(self.desk.patience) } else { self.desk.patience };
        self.outage = outage.filter(|_| moved == 0).map(|failure| failure.to_string());
        self.failing = if self.outage.is_some() { self.failing + 1 } else { 0 };
        if self.failing >= MAX_FAILING {
            self.redriven.stopped.clone_from(&self.outage);
        }
        let reasons: Vec<_> = letters.iter().map(|(index, letter)| (*index, letter.reason.clone())).collect();
        let mut lost = self.store(self.outlets.dead_letters, letters).await;
        reasons.iter().filter(|(index, _)| !lost.contains(index)).for_each(|(_, reason)| self.redriven.park(reason));
        lost.extend(self.store(self.queue, rests).await);
        for index in finished {
            set(done, index, !lost.contains(&index));
        }
    }

    /// Sends letters; the indices of messages of which one was not stored.
    async fn store(&mut self, queue: Option<&Q>, letters: Vec<(usize, Letter)>) -> Vec<usize> {
        if letters.is_empty() {
            return Vec::new();
        }
        let (indices, letters): (Vec<usize>, Vec<Letter>) = letters.into_iter().unzip();
        let own = letters.iter().filter_map(|letter| read(&letter.body).ok());
        self.sent.extend(own.map(|parcel| (parcel.id.into_owned(), parcel.attempts)));
        let results = match queue {
            Some(queue) => {
                let to = Post { queue, bucket: self.outlets.bucket };
                post(to, letters, Duration::ZERO, self.call.deadline).await
            }
            None => letters.iter().map(|_| Err("TIDELOCK_DEAD_LETTERS is not set".to_owned())).collect(),
        };
        let mut lost = Vec::new();
        for (index, result) in indices.into_iter().zip(results) {
            if let Err(why) = result {
                self.redriven.stopped.get_or_insert(format!("a letter was not stored: {why}"));
                lost.push(index);
            }
        }
        lost
    }
}

fn set(done: &mut [bool], index: usize, value: bool) {
    if let Some(place) = done.get_mut(index) {
        *place = value;
    }
}

/// The records of a parcel; `None` where they had to be fetched and were not.
fn records<'a>(parcel: &'a Parcel<'_>, fetched: Option<&'a str>) -> Result<Option<&'a str>, String> {
    match &parcel.contents {
        Contents::Record(record) | Contents::Records(record) => Ok(Some(record)),
        Contents::Elsewhere { .. } => Err("its object points at another object".to_owned()),
        Contents::Batch(batch) => match &batch.payload {
            None => Ok(fetched),
            Some(payload) => serde_json::from_str::<Event<'_>>(payload)
                .map(|event| Some(event.records.get()))
                .map_err(|error| format!("its payload is no event with Records: {error}")),
        },
    }
}
