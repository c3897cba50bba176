//! State in a table: an item for each name, written only over the revision that was read.
//!
//! ```text
//! read   GetItem (ConsistentRead)                    value and revision; of many, BatchGetItem
//! write  PutItem if nothing is there, or `expected`  a new revision ─ refused ─▶ read back: ours after all?
//! remove DeleteItem if `expected` is there
//! names  Scan with begins_with                       page by page
//! ```
//!
//! The table: partition key `name` (S), no sort key; time to live, if wanted, by the attribute `expires`. Items:
//! `{"name":{"S":…},"value":{"S":…},"revision":{"S":…},"expires":{"N":…}}`. Operations:
//! [GetItem](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_GetItem.html),
//! [BatchGetItem](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html),
//! [PutItem](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PutItem.html),
//! [DeleteItem](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_DeleteItem.html), with
//! [conditions](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html).

use crate::answer::answer;
use crate::client::{Client, DynamoDbConfig, Tries};
use crate::endpoint::ConfigError;
use crate::error::{NOT_FOUND, Trouble, whole};
use crate::json::{elements, members, quoted, raw, texts};
use crate::question::MAX_KEYS;
use futures_util::StreamExt as _;
use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidelock_core::credentials::Credentials;
use tidelock_core::json::{Cursor, Malformed};
use tidelock_core::state::{Draft, Entry, State};

const BATCH_GET_ITEM: &str = "DynamoDB_20120810.BatchGetItem";
const GET_ITEM: &str = "DynamoDB_20120810.GetItem";
const PUT_ITEM: &str = "DynamoDB_20120810.PutItem";
const DELETE_ITEM: &str = "DynamoDB_20120810.DeleteItem";
const SCAN: &str = "DynamoDB_20120810.Scan";

/// A condition was not met.
const REFUSED: &str = "ConditionalCheckFailedException";

/// Reads of many at a time.
const READS_IN_FLIGHT: usize = 4;

/// Writes of many at a time.
const WRITES_IN_FLIGHT: usize = 16;

/// How long an entry is kept that nobody writes any more, where the table's time to live is on.
const KEPT: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// What functions remember, in a DynamoDB table.
pub struct DynamoDbState<C> {
    client: Client<C>,
    table: String,
}

impl<C: Credentials> DynamoDbState<C> {
    /// Prepares a client that signs with the credentials' AWS keys; nothing is connected yet. `table` is the table's name, or
    /// its ARN where it is another account's.
    ///
    /// # Errors
    /// When region, endpoint or certificates cannot be used.
    pub fn new(config: DynamoDbConfig, table: String, credentials: C) -> Result<Self, ConfigError> {
        Ok(Self { client: Client::new("dynamodb", config, credentials)?, table })
    }

    /// With another limit for one attempt.
    #[cfg(test)]
    pub(crate) fn with_attempt(self, attempt: Duration) -> Self {
        Self { client: self.client.with_attempt(attempt), ..self }
    }

    fn failed(&self, trouble: &Trouble) -> String {
        let way_out = if trouble.kind == NOT_FOUND {
            "; create it with the partition key `name` (S) alone, or correct its name"
        } else {
            ""
        };
        format!("state table `{}` at {}: {}{way_out}", self.table, self.client.place(), trouble.words)
    }

    /// The members that name table and entry.
    fn place_of(&self, name: &str) -> String {
        format!(r#""TableName":{},"Key":{{"name":{{"S":{}}}}}"#, quoted(&self.table), quoted(name))
    }
}

/// The members that ask for a revision: `None` asks that there be nothing.
fn condition(expected: Option<&str>) -> String {
    match expected {
        None => {
            r##""ConditionExpression":"attribute_not_exists(#n)","ExpressionAttributeNames":{"#n":"name"}"##.to_owned()
        }
        Some(revision) => {
            let names = r##""ConditionExpression":"#r = :r","ExpressionAttributeNames":{"#r":"revision"}"##;
            format!(r#"{names},"ExpressionAttributeValues":{{":r":{{"S":{}}}}}"#, quoted(revision))
        }
    }
}

/// Reads `{"Item":{"value":{"S":…},"revision":{"S":…},…}}`; `{}` is an answer too: there is none.
fn entry(body: &[u8]) -> Result<Option<Entry>, Trouble> {
    let (mut there, mut value, mut revision) = (false, None, None);
    whole(body, |body| {
        let mut cursor = Cursor::new(body);
        members(&mut cursor, |name, cursor| match name {
            b"Item" => {
                there = true;
                texts(cursor, |attribute, text| match attribute {
                    b"value" => value = Some(text),
                    b"revision" => revision = Some(text),
                    _ => {}
                })
            }
            _ => cursor.skip().map(drop),
        })?;
        cursor.end()
    })?;
    match (there, value, revision) {
        (false, ..) => Ok(None),
        (true, Some(value), Some(revision)) => Ok(Some(Entry { value, revision })),
        (true, ..) => {
            Err(Trouble::senseless("the item lacks a `value` or a `revision`; who else writes into the table?"))
        }
    }
}

/// The entries of an answer's items, by name.
fn entries(body: &[u8], found: &mut HashMap<String, Entry>, open: &mut Vec<&String>) -> Result<bool, Trouble> {
    let answer = whole(body, answer)?;
    // What is absent was never written: an answer that does not speak of the table proves no absence.
    if answer.items.is_none() && answer.unprocessed.len() < open.len() {
        return Err(Trouble::senseless("it lacks the table"));
    }
    let of = |item: &[u8]| {
        let (mut name, mut value, mut revision) = (None, None, None);
        texts(&mut Cursor::new(item), |attribute, text| match attribute {
            b"name" => name = Some(text),
            b"value" => value = Some(text),
            b"revision" => revision = Some(text),
            _ => {}
        })
        .map_err(|_| Trouble::senseless("an item is no JSON"))?;
        Ok::<_, Trouble>((name, value, revision))
    };
    for item in answer.items.into_iter().flatten() {
        let (Some(name), Some(value), Some(revision)) = of(item)? else {
            let why = "an item lacks a `name`, a `value` or a `revision`; who else writes into the table?";
            return Err(Trouble::senseless(why));
        };
        found.insert(name, Entry { value, revision });
    }
    let mut unprocessed = Vec::with_capacity(answer.unprocessed.len());
    for key in answer.unprocessed {
        unprocessed.extend(of(key)?.0);
    }
    let before = open.len();
    open.retain(|name| unprocessed.contains(name));
    if open.len() != unprocessed.len() {
        return Err(Trouble::senseless("it speaks of a name that was not asked for"));
    }
    Ok(open.len() < before)
}

/// Reads `{"Items":[{"name":{"S":…}},…],"LastEvaluatedKey":KEY}`: adds the names, gives the key to go on from.
fn page(body: &[u8], names: &mut Vec<String>) -> Result<Option<String>, Trouble> {
    let (mut found, mut there, mut next) = (Vec::new(), false, None);
    let mut item = |cursor: &mut Cursor<'_>| -> Result<(), Malformed> {
        texts(cursor, |attribute, text| {
            if attribute == b"name" {
                found.push(text);
            }
        })
    };
    whole(body, |body| {
        let mut cursor = Cursor::new(body);
        members(&mut cursor, |name, cursor| {
            match name {
                b"Items" => {
                    there = true;
                    elements(cursor, &mut item)?;
                }
                b"LastEvaluatedKey" => next = raw(cursor)?,
                _ => drop(cursor.skip()?),
            }
            Ok(())
        })?;
        cursor.end()
    })?;
    if !there {
        return Err(Trouble::senseless("it lacks the items"));
    }
    names.append(&mut found);
    Ok(next)
}

impl<C: Credentials> DynamoDbState<C> {
    /// Reads up to [`MAX_KEYS`] entries, each of a name of its own.
    async fn read_some(&self, names: &[String], deadline: Instant) -> Result<HashMap<String, Entry>, String> {
        let (mut found, mut tries) = (HashMap::with_capacity(names.len()), Tries::default());
        let mut open: Vec<&String> = names.iter().collect();
        loop {
            let keys: Vec<String> = open.iter().map(|name| format!(r#"{{"name":{{"S":{}}}}}"#, quoted(name))).collect();
            let body = format!(
                r#"{{"RequestItems":{{{}:{{"ConsistentRead":true,"Keys":[{}]}}}}}}"#,
                quoted(&self.table),
                keys.join(",")
            );
            let answer = self.client.attempt(BATCH_GET_ITEM, body.into(), deadline, &mut tries).await;
            let trouble = match answer.and_then(|answer| entries(&answer, &mut found, &mut open)) {
                Err(trouble) => trouble,
                Ok(_) if open.is_empty() => return Ok(found),
                Ok(progress) => {
                    if progress {
                        tries.progress();
                    }
                    Trouble::passing(format!("{} entries were left unprocessed: the table is busy", open.len()))
                }
            };
            let again = tries.again(trouble, deadline).await;
            again.map_err(|trouble| format!("{} entries: {}", open.len(), self.failed(&trouble)))?;
        }
    }

    async fn write_draft(&self, draft: &Draft, deadline: Instant) -> Result<Option<String>, String> {
        let Draft { name, value, expected, lasting } = draft;
        self.put(name, value, expected.as_deref(), *lasting, deadline).await
    }

    async fn put(
        &self,
        name: &str,
        value: &str,
        expected: Option<&str>,
        lasting: bool,
        deadline: Instant,
    ) -> Result<Option<String>, String> {
        let revision = format!("{:032x}", fastrand::u128(..));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires = match lasting {
            true => String::new(),
            false => format!(r#","expires":{{"N":"{}"}}"#, (now + KEPT).as_secs()),
        };
        let body = format!(
            r#"{{"TableName":{},"Item":{{"name":{{"S":{}}},"value":{{"S":{}}},"revision":{{"S":{}}}{expires}}},{}}}"#,
            quoted(&self.table),
            quoted(name),
            quoted(value),
            quoted(&revision),
            condition(expected),
        );
        match self.client.call(PUT_ITEM, body.into(), deadline, |_| Ok(())).await {
            Ok(()) => Ok(Some(revision)),
            // The same request may have been carried out before, and its answer lost: then what is there is ours.
            Err(trouble) if trouble.kind == REFUSED => {
                let there = self.read(name, deadline).await?;
                Ok(there.filter(|entry| entry.revision == revision).map(|_| revision))
            }
            Err(trouble) => Err(format!("entry `{name}`: {}", self.failed(&trouble))),
        }
    }
}

impl<C: Credentials> State for DynamoDbState<C> {
    async fn read(&self, name: &str, deadline: Instant) -> Result<Option<Entry>, String> {
        let body = format!(r#"{{{},"ConsistentRead":true}}"#, self.place_of(name));
        let found = self.client.call(GET_ITEM, body.into(), deadline, entry).await;
        found.map_err(|trouble| format!("entry `{name}`: {}", self.failed(&trouble)))
    }

    async fn write(
        &self,
        name: &str,
        value: &str,
        expected: Option<&str>,
        deadline: Instant,
    ) -> Result<Option<String>, String> {
        self.put(name, value, expected, false, deadline).await
    }

    async fn read_many(&self, names: &[String], deadline: Instant) -> Result<Vec<Option<Entry>>, String> {
        let asked = names.chunks(MAX_KEYS).map(|names| self.read_some(names, deadline));
        let answers: Vec<_> = futures_util::stream::iter(asked).buffer_unordered(READS_IN_FLIGHT).collect().await;
        let mut found = HashMap::with_capacity(names.len());
        for answer in answers {
            found.extend(answer?);
        }
        Ok(names.iter().map(|name| found.remove(name)).collect())
    }

    async fn write_many(&self, drafts: &[Draft], deadline: Instant) -> Vec<Result<Option<String>, String>> {
        let writes = drafts.iter().map(|draft| self.write_draft(draft, deadline));
        futures_util::stream::iter(writes).buffered(WRITES_IN_FLIGHT).collect().await
    }

    async fn remove(&self, name: &str, expected: &str, deadline: Instant) -> Result<bool, String> {
        let body = format!("{{{},{}}}", self.place_of(name), condition(Some(expected)));
        let body = bytes::Bytes::from(body);
        let mut tries = Tries::default();
        loop {
            match self.client.attempt(DELETE_ITEM, body.clone(), deadline, &mut tries).await {
                Ok(_) => return Ok(true),
                // What is gone after a request without an answer has been removed by that.
                Err(trouble) if trouble.kind == REFUSED => {
                    return Ok(tries.unanswered && self.read(name, deadline).await?.is_none());
                }
                Err(trouble) => {
                    let again = tries.again(trouble, deadline).await;
                    again.map_err(|trouble| format!("entry `{name}`: {}", self.failed(&trouble)))?;
                }
            }
        }
    }

    async fn names(&self, prefix: &str, deadline: Instant) -> Result<Vec<String>, String> {
        // The service knows no empty text to begin with.
        let filter = if prefix.is_empty() {
            String::new()
        } else {
            let prefix = quoted(prefix);
            format!(
                r##","FilterExpression":"begins_with(#n, :p)","ExpressionAttributeValues":{{":p":{{"S":{prefix}}}}}"##
            )
        };
        let what = r##""ConsistentRead":true,"ProjectionExpression":"#n","ExpressionAttributeNames":{"#n":"name"}"##;
        let (mut names, mut from) = (Vec::new(), String::new());
        loop {
            let body = format!(r#"{{"TableName":{},{what}{filter}{from}}}"#, quoted(&self.table));
            let next = self.client.call(SCAN, body.into(), deadline, |answer| page(answer, &mut names)).await;
            match next.map_err(|trouble| format!("names `{prefix}…`: {}", self.failed(&trouble)))? {
                Some(key) => from = format!(r#","ExclusiveStartKey":{key}"#),
                None => break,
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}
