//! Items read again by their keys.
//!
//! ```text
//! keys ─ question ─▶ BatchGetItem (ConsistentRead) ─ answer ─ by key ─▶ document in the target's format
//!                        ▲ throttled, cut, late            └ UnprocessedKeys ─┐
//!                        └──────────────── jittered pause ◀───────────────────┘
//! ```
//!
//! The operation:
//! [BatchGetItem](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html).

use crate::answer::answer;
use crate::client::{Client, DynamoDbConfig, Tries};
use crate::endpoint::ConfigError;
use crate::error::{Trouble, whole};
use crate::question::{Question, body, questions};
use futures_util::StreamExt as _;
use std::collections::{HashMap, HashSet};
use std::time::Instant;
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::credentials::Credentials;
use tidelock_core::encode::Format;
use tidelock_core::image::Notation;
use tidelock_core::key::Key;
use tidelock_core::slow::{Item, ReadResult, Source};
use tidelock_core::source::dynamodb::{decode_item, item_key};

/// Requests at a time: each answer may have 16 MB.
const IN_FLIGHT: usize = 4;

const BATCH_GET_ITEM: &str = "DynamoDB_20120810.BatchGetItem";

/// Reads DynamoDB tables. An origin is a table's name, or its ARN where it is another account's.
pub struct DynamoDbSource<C> {
    pub(crate) client: Client<C>,
}

impl<C: Credentials> DynamoDbSource<C> {
    /// Prepares a client that signs with the credentials' AWS keys; nothing is connected yet.
    ///
    /// # Errors
    /// When region, endpoint or certificates cannot be used.
    pub fn new(config: DynamoDbConfig, credentials: C) -> Result<Self, ConfigError> {
        Ok(Self { client: Client::new("dynamodb", config, credentials)? })
    }

    /// With another limit for one attempt.
    #[cfg(test)]
    pub(crate) fn with_attempt(self, attempt: std::time::Duration) -> Self {
        Self { client: self.client.with_attempt(attempt) }
    }

    /// A table that could not be read.
    pub(crate) fn unreadable(&self, table: &str, words: &str) -> Failure {
        Failure::new(Cause::SourceUnreadable, format!("table `{table}` at {}: {words}", self.client.place()))
    }

    /// Asks one question until each of its keys has an answer.
    async fn ask<'a>(
        &self,
        table: &str,
        question: Question<'a>,
        format: Format,
        deadline: Instant,
    ) -> Vec<(Key<'a>, ReadResult)> {
        let Question { names, keys: mut open } = question;
        let mut found = Vec::with_capacity(open.len());
        let mut tries = Tries::default();
        let trouble = loop {
            let answer = self.client.attempt(BATCH_GET_ITEM, body(table, &open), deadline, &mut tries).await;
            let trouble = match answer.and_then(|answer| read(&answer, &names, &mut open, format, &mut found)) {
                Err(trouble) => trouble,
                Ok(_) if open.is_empty() => return found,
                Ok(progress) => {
                    if progress {
                        tries.progress();
                    }
                    Trouble::passing(format!("{} keys were left unprocessed: the table is busy", open.len()))
                }
            };
            if let Err(trouble) = tries.again(trouble, deadline).await {
                break trouble;
            }
        };
        let failure = self.unreadable(table, &trouble.words);
        found.extend(open.into_iter().map(|key| (key, Err(failure.clone()))));
        found
    }
}

/// Takes what an answer says; leaves the unprocessed keys open. Gives whether any key has been answered.
fn read<'a>(
    body: &[u8],
    names: &[&str],
    open: &mut Vec<Key<'a>>,
    format: Format,
    found: &mut Vec<(Key<'a>, ReadResult)>,
) -> Result<bool, Trouble> {
    let answer = whole(body, answer)?;
    let mut items = HashMap::with_capacity(open.len());
    for text in answer.items.iter().flatten() {
        let item = decode_item(text, names, format).map_err(Trouble::senseless)?;
        let read = Item { document: item.document, notation: Notation::DynamoDb, bytes: text.to_vec() };
        items.insert(item.key, read);
    }
    let unprocessed = answer.unprocessed.iter().map(|text| item_key(text, names));
    let unprocessed: HashSet<Vec<u8>> = unprocessed.collect::<Result<_, _>>().map_err(Trouble::senseless)?;
    // What is absent is deleted: an answer that speaks of other keys, or not of the table, proves no absence.
    let asked: HashSet<&[u8]> = open.iter().map(Key::as_bytes).collect();
    if items.keys().chain(&unprocessed).any(|key| !asked.contains(key.as_slice())) {
        return Err(Trouble::senseless("it speaks of a key that was not asked for"));
    }
    if answer.items.is_none() && unprocessed.len() < open.len() {
        return Err(Trouble::senseless("it lacks the table"));
    }
    let before = open.len();
    open.retain(|key| {
        let answered = match items.remove(key.as_bytes()) {
            Some(item) => Ok(Some(item)),
            None if unprocessed.contains(key.as_bytes()) => return true,
            None => Ok(None),
        };
        found.push((*key, answered));
        false
    });
    Ok(open.len() < before)
}

impl<C: Credentials> Source for DynamoDbSource<C> {
    async fn read(&self, origin: &str, keys: &[Key<'_>], format: Format, deadline: Instant) -> Vec<ReadResult> {
        let asked = questions(keys).into_iter().map(|question| self.ask(origin, question, format, deadline));
        let answers: Vec<_> = futures_util::stream::iter(asked).buffer_unordered(IN_FLIGHT).collect().await;
        let mut found: HashMap<Key<'_>, ReadResult> = answers.into_iter().flatten().collect();
        let distinct = found.len() == keys.len();
        // Documents are copied only where a key was asked for twice.
        let of = |key| if distinct { found.remove(key) } else { found.get(key).cloned() };
        let unanswered = || Err(Failure::new(Cause::SourceUnreadable, "the key has no answer"));
        keys.iter().map(of).map(|answer| answer.unwrap_or_else(unanswered)).collect()
    }
}
