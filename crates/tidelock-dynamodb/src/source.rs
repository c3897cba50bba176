//! Asking until every key has an answer.

use crate::answer::answer;
use crate::endpoint::{ConfigError, Endpoint};
use crate::error::{Trouble, refusal};
use crate::question::{Question, body, questions};
use bytes::Bytes;
use futures_util::StreamExt as _;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::credentials::Credentials;
use tidelock_core::encode::Format;
use tidelock_core::image::Notation;
use tidelock_core::key::Key;
use tidelock_core::slow::{Item, ReadResult, Source};
use tidelock_core::source::dynamodb::{decode_item, item_key};
use tidelock_http::{HttpConfig, HttpTransport, Request, Scheme, SettingNames, Transport as _};

/// Requests at a time: each answer may have 16 MB.
const IN_FLIGHT: usize = 4;

/// The longest that one attempt may take. An answer of 16 MB takes a second or two; who is silent for longer is asked again.
const ATTEMPT: Duration = Duration::from_secs(10);

const BACKOFF_BASE: Duration = Duration::from_millis(50);
const BACKOFF_CAP: Duration = Duration::from_secs(2);

const HEADERS: [(&str, &str); 1] = [("x-amz-target", "DynamoDB_20120810.BatchGetItem")];

/// Where the tables are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamoDbConfig {
    /// The region of the stream (`AWS_REGION`): a replica in another one may be older than the change.
    pub region: String,
    /// `AWS_ENDPOINT_URL_DYNAMODB`, else `AWS_ENDPOINT_URL`, where set: `http[s]://HOST[:PORT]`.
    pub endpoint: Option<String>,
    /// PEM text of the certificates to trust (`AWS_CA_BUNDLE`); `None` trusts the public ones.
    pub ca_pem: Option<Vec<u8>>,
}

/// Reads DynamoDB tables. An origin is a table's name, or its ARN where it is another account's.
pub struct DynamoDbSource<C> {
    http: HttpTransport<C>,
    attempt: Duration,
}

impl<C: Credentials> DynamoDbSource<C> {
    /// Prepares a client that signs with the credentials' AWS keys; nothing is connected yet.
    ///
    /// # Errors
    /// When region, endpoint or certificates cannot be used.
    pub fn new(config: DynamoDbConfig, credentials: C) -> Result<Self, ConfigError> {
        let endpoint = match &config.endpoint {
            Some(url) => Endpoint::parse(url)?,
            None => Endpoint::of_region(&config.region)?,
        };
        let http = HttpConfig {
            host: endpoint.host,
            port: endpoint.port,
            tls: endpoint.tls,
            ca_pem: config.ca_pem,
            scheme: Scheme::SigV4 { service: "dynamodb", region: config.region },
            gzip: false,
        };
        let names = SettingNames { ca_file: "AWS_CA_BUNDLE", ..SettingNames::TARGET };
        let http =
            HttpTransport::with_names(http, credentials, names).map_err(|error| ConfigError(error.to_string()))?;
        Ok(Self { http, attempt: ATTEMPT })
    }

    /// With another limit for one attempt.
    #[cfg(test)]
    pub(crate) fn with_attempt(self, attempt: Duration) -> Self {
        Self { attempt, ..self }
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
        let mut pauses = 0;
        // What the last attempt that said something said.
        let mut reason = None;
        let trouble = loop {
            let request = body(table, &open);
            let trouble = match self.attempt(request, deadline, &mut reason).await {
                Err(trouble) => trouble,
                Ok(answer) => match read(&answer, &names, &mut open, format, &mut found) {
                    Err(trouble) => trouble,
                    Ok(_) if open.is_empty() => return found,
                    Ok(progress) => {
                        if progress {
                            pauses = 0;
                        }
                        let words = format!("{} keys were left unprocessed: the table is busy", open.len());
                        Trouble { passing: true, words }
                    }
                },
            };
            if !trouble.passing || !pause(pauses, deadline).await {
                break trouble;
            }
            reason = Some(trouble.words);
            pauses += 1;
        };
        let detail = format!("table `{table}` at {}: {}", self.http.place(), trouble.words);
        let failed = |key| (key, Err(Failure::new(Cause::SourceUnreadable, detail.clone())));
        found.extend(open.into_iter().map(failed));
        found
    }

    /// Sends a request once; gives the body of an answer.
    async fn attempt(&self, body: Bytes, deadline: Instant, before: &mut Option<String>) -> Result<Bytes, Trouble> {
        let request =
            Request { method: "POST", path: "/".to_owned(), content_type: "application/x-amz-json-1.0", body };
        let until = deadline.min(Instant::now() + self.attempt);
        match self.http.send_with(request, &HEADERS, until).await {
            Ok(response) if response.status == 200 => Ok(response.body),
            Ok(response) => Err(refusal(response.status, &response.body)),
            Err(failure) => {
                let passing = matches!(failure.cause, Cause::Unreachable | Cause::TimedOut);
                // An attempt that the deadline cut short says less than the one before it.
                let earlier = before.take().filter(|_| failure.cause == Cause::TimedOut);
                let prefix = format!("{}: ", self.http.place());
                let words = failure.detail.strip_prefix(&prefix).unwrap_or(&failure.detail);
                Err(Trouble { passing, words: earlier.unwrap_or_else(|| words.to_owned()) })
            }
        }
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
    let trouble = |passing, why: String| Trouble { passing, words: format!("the answer cannot be used: {why}") };
    // A damaged answer may come whole the next time; one that makes no sense would come again.
    let damaged = |why| trouble(true, why);
    let senseless = |why| trouble(false, why);
    if simdutf8::basic::from_utf8(body).is_err() {
        return Err(damaged("it is not UTF-8".to_owned()));
    }
    let answer = answer(body).map_err(|error| damaged(error.to_string()))?;
    let mut items = HashMap::with_capacity(open.len());
    for text in answer.items.iter().flatten() {
        let item = decode_item(text, names, format).map_err(|failure| senseless(failure.to_string()))?;
        let read = Item { document: item.document, notation: Notation::DynamoDb, bytes: text.to_vec() };
        items.insert(item.key, read);
    }
    let unprocessed = answer.unprocessed.iter().map(|text| item_key(text, names));
    let unprocessed: HashSet<Vec<u8>> =
        unprocessed.collect::<Result<_, _>>().map_err(|failure| senseless(failure.to_string()))?;
    // What is absent is deleted: an answer that speaks of other keys, or not of the table, proves no absence.
    let asked: HashSet<&[u8]> = open.iter().map(Key::as_bytes).collect();
    if items.keys().chain(&unprocessed).any(|key| !asked.contains(key.as_slice())) {
        return Err(senseless("it speaks of a key that was not asked for".to_owned()));
    }
    if answer.items.is_none() && unprocessed.len() < open.len() {
        return Err(senseless("it lacks the table".to_owned()));
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

/// Waits, longer each time and never for all at once; `false` when the deadline would come first.
async fn pause(pauses: u32, deadline: Instant) -> bool {
    let ceiling = BACKOFF_BASE.saturating_mul(1 << pauses.min(10)).min(BACKOFF_CAP);
    let wait = ceiling.mul_f64(fastrand::f64());
    if Instant::now() + wait >= deadline {
        return false;
    }
    tokio::time::sleep(wait).await;
    true
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
