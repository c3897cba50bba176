//! Looking through a queue without changing what it means: counting, listing, sending anew what would expire.

use super::Filter;
use super::run::MAX_HIDDEN;
use crate::letter::{Contents, Letter, Parcel, Unreadable, read};
use crate::queue::{Bucket, Message, Outbox, Queue};
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

/// Messages taken at a time.
const TAKE: usize = 100;

/// How long messages stay hidden behind the end of a survey that has died.
const MARGIN: Duration = Duration::from_secs(30);

/// Time that taking some messages may need: less is not begun with.
const TAKE_TIME: Duration = Duration::from_secs(3);

/// When messages are sent anew: SQS deletes them at the end of the queue's retention, whoever needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// Messages sent before this, milliseconds since 1970.
    pub before_ms: i64,
}

impl Renewal {
    /// What has less than two sevenths of its time left: four days of fourteen.
    #[must_use]
    pub fn at(now_ms: i64, retention_ms: i64) -> Self {
        Self { before_ms: now_ms.saturating_sub(retention_ms / 7 * 5) }
    }

    /// Whether a message is to be sent anew. Where nobody knows when it was sent, it is not.
    #[must_use]
    pub fn takes(self, message: &Message) -> bool {
        message.sent_ms > 0 && message.sent_ms < self.before_ms
    }
}

/// What a queue holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// Messages that were seen.
    pub messages: usize,
    /// Readable ones, by reason.
    pub reasons: BTreeMap<String, usize>,
    /// The oldest first failure, milliseconds since 1970.
    pub oldest_ms: Option<i64>,
    /// Messages that cannot be read.
    pub unreadable: usize,
    /// Messages that were sent anew.
    pub renewed: usize,
    /// Why the survey is not whole, or a message could not be sent anew.
    pub trouble: Option<String>,
}

/// Looks through a queue. Everything is given back at the end, but for what has been sent anew.
///
/// `visit` sees each message once; it may ask to stop.
pub async fn survey<Q: Queue, B: Bucket>(
    queue: &Q,
    bucket: Option<&B>,
    renewal: Option<Renewal>,
    clock: fn() -> Instant,
    deadline: Instant,
    mut visit: impl FnMut(&Message, &Result<Parcel<'_>, Unreadable>) -> bool,
) -> Survey {
    let mut survey = Survey::default();
    let mut seen: HashSet<String> = HashSet::new();
    let mut hidden: Vec<String> = Vec::new();
    let (mut empty, mut more) = (0, true);
    while more && empty < 2 && hidden.len() < MAX_HIDDEN {
        let now = clock();
        if now + TAKE_TIME > deadline {
            survey.trouble = Some("time was over before all was seen".to_owned());
            break;
        }
        let found = match queue.take(TAKE, deadline.saturating_duration_since(now) + MARGIN, deadline).await {
            Ok(found) => found,
            Err(why) => {
                survey.trouble = Some(why);
                break;
            }
        };
        empty = if found.is_empty() { empty + 1 } else { 0 };
        for message in found {
            if seen.insert(message.id.clone()) {
                let parcel = read(&message.body);
                survey.count(&parcel);
                more &= visit(&message, &parcel);
                if renewal.is_some_and(|renewal| renewal.takes(&message))
                    && survey.renew(queue, bucket, &message, &parcel, deadline).await
                {
                    continue;
                }
            }
            hidden.push(message.receipt);
        }
    }
    if hidden.len() >= MAX_HIDDEN {
        survey.trouble.get_or_insert_with(not_all);
    }
    if !hidden.is_empty() {
        queue.hide(&hidden, Duration::ZERO, deadline).await;
    }
    survey
}

/// Why a queue is not seen whole.
fn not_all() -> String {
    format!("only {MAX_HIDDEN} messages were looked at: a queue hides no more at a time")
}

impl Survey {
    fn count(&mut self, parcel: &Result<Parcel<'_>, Unreadable>) {
        self.messages += 1;
        match parcel {
            Ok(parcel) => {
                *self.reasons.entry(parcel.reason.to_string()).or_default() += 1;
                let oldest = self.oldest_ms.unwrap_or(i64::MAX);
                self.oldest_ms = Some(oldest.min(parcel.first_failed_ms));
            }
            Err(_) => self.unreadable += 1,
        }
    }

    /// Sends a message anew, then deletes it; `false` when it is still there.
    async fn renew<Q: Queue, B: Bucket>(
        &mut self,
        queue: &Q,
        bucket: Option<&B>,
        message: &Message,
        parcel: &Result<Parcel<'_>, Unreadable>,
        deadline: Instant,
    ) -> bool {
        let result = renew(queue, bucket, message, parcel, deadline).await;
        match result {
            Ok(()) => self.renewed += 1,
            Err(ref why) => self.trouble = Some(format!("message {} could not be sent anew: {why}", message.id)),
        }
        result.is_ok()
    }
}

async fn renew<Q: Queue, B: Bucket>(
    queue: &Q,
    bucket: Option<&B>,
    message: &Message,
    parcel: &Result<Parcel<'_>, Unreadable>,
    deadline: Instant,
) -> Result<(), String> {
    send(queue, bucket, &message.body, parcel, deadline).await?;
    let deleted = queue.delete(std::slice::from_ref(&message.receipt), deadline).await;
    deleted.into_iter().next().unwrap_or_else(|| Err("the queue gave no answer".to_owned()))
}

/// Sends a message anew, which somebody else deletes then.
pub(super) async fn send_anew<Q: Outbox, B: Bucket>(
    queue: &Q,
    bucket: Option<&B>,
    body: &str,
    deadline: Instant,
) -> Result<(), String> {
    send(queue, bucket, body, &read(body), deadline).await
}

async fn send<Q: Outbox, B: Bucket>(
    queue: &Q,
    bucket: Option<&B>,
    body: &str,
    parcel: &Result<Parcel<'_>, Unreadable>,
    deadline: Instant,
) -> Result<(), String> {
    if let Ok(Parcel { contents: Contents::Elsewhere { bucket: place, key }, .. }) = parcel {
        // The object gets young again, too.
        let bucket = bucket.filter(|bucket| bucket.name() == place);
        let bucket =
            bucket.ok_or_else(|| format!("its object lies in bucket `{place}`; set TIDELOCK_LETTERS_BUCKET to it"))?;
        if let Some(body) = bucket.get(key, deadline).await? {
            bucket.put(key, body, deadline).await?;
        }
    }
    let (reason, source) = match parcel {
        Ok(parcel) => (parcel.reason.to_string(), parcel.source.to_string()),
        Err(_) => ("unreadable".to_owned(), String::new()),
    };
    let letter = Letter { reason: reason.into(), source, body: body.to_owned() };
    let sent = queue.send(&[letter], Duration::ZERO, deadline).await;
    sent.into_iter().next().unwrap_or_else(|| Err("the queue gave no answer".to_owned()))
}

/// What [`discard`] has done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Discarded {
    /// Messages that were deleted.
    pub messages: usize,
    /// Messages that should have been deleted.
    pub failed: usize,
    /// Why the queue was not seen whole, or a message could not be deleted.
    pub trouble: Option<String>,
}

/// Deletes messages that an operator does not want any more, for good. What cannot be read is deleted only if `unreadable`
/// says so; what the filter does not take stays.
pub async fn discard<Q: Queue>(
    queue: &Q,
    filter: &Filter,
    unreadable: bool,
    clock: fn() -> Instant,
    deadline: Instant,
    mut watch: impl FnMut(&Discarded),
) -> Discarded {
    let mut discarded = Discarded::default();
    let mut hidden: Vec<String> = Vec::new();
    let mut empty = 0;
    while empty < 2 && hidden.len() < MAX_HIDDEN {
        let now = clock();
        if now + TAKE_TIME > deadline {
            discarded.trouble = Some("time was over before all was seen".to_owned());
            break;
        }
        let found = match queue.take(TAKE, deadline.saturating_duration_since(now) + MARGIN, deadline).await {
            Ok(found) => found,
            Err(why) => {
                discarded.trouble = Some(why);
                break;
            }
        };
        empty = if found.is_empty() { empty + 1 } else { 0 };
        let meant = |message: &Message| match read(&message.body) {
            Ok(parcel) => filter.takes(&parcel) && !unreadable,
            Err(_) => unreadable,
        };
        let (doomed, others): (Vec<Message>, Vec<Message>) = found.into_iter().partition(meant);
        hidden.extend(others.into_iter().map(|message| message.receipt));
        let doomed: Vec<String> = doomed.into_iter().map(|message| message.receipt).collect();
        if doomed.is_empty() {
            continue;
        }
        for result in queue.delete(&doomed, deadline).await {
            match result {
                Ok(()) => discarded.messages += 1,
                Err(why) => {
                    discarded.failed += 1;
                    discarded.trouble = Some(why);
                }
            }
        }
        watch(&discarded);
    }
    if hidden.len() >= MAX_HIDDEN {
        discarded.trouble.get_or_insert_with(not_all);
    }
    if !hidden.is_empty() {
        queue.hide(&hidden, Duration::ZERO, deadline).await;
    }
    discarded
}
