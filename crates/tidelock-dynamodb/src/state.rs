//! State in a table: an item for each name, written only over the revision that was read.
//!
//! ```text
//! read   GetItem (ConsistentRead)                    value and revision
//! write  PutItem if nothing is there, or `expected`  a new revision ─ refused ─▶ read back: ours after all?
//! remove DeleteItem if `expected` is there
//! names  Scan with begins_with                       page by page
//! ```
//!
//! The table: partition key `name` (S), no sort key; time to live, if wanted, by the attribute `expires`. Items:
//! `{"name":{"S":…},"value":{"S":…},"revision":{"S":…},"expires":{"N":…}}`. Operations:
//! [GetItem](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_GetItem.html),
//! [PutItem](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PutItem.html),
//! [DeleteItem](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_DeleteItem.html), with
//! [conditions](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html).

use crate::client::{Client, DynamoDbConfig, Tries};
use crate::endpoint::ConfigError;
use crate::error::{NOT_FOUND, Trouble, whole};
use crate::json::{elements, members, quoted, raw, texts};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidelock_core::credentials::Credentials;
use tidelock_core::json::{Cursor, Malformed};
use tidelock_core::state::{Entry, State};

const GET_ITEM: &str = "DynamoDB_20120810.GetItem";
const PUT_ITEM: &str = "DynamoDB_20120810.PutItem";
const DELETE_ITEM: &str = "DynamoDB_20120810.DeleteItem";
const SCAN: &str = "DynamoDB_20120810.Scan";

/// A condition was not met.
const REFUSED: &str = "ConditionalCheckFailedException";

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
        let revision = format!("{:032x}", fastrand::u128(..));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let body = format!(
            r#"{{"TableName":{},"Item":{{"name":{{"S":{}}},"value":{{"S":{}}},"revision":{{"S":{}}},"expires":{{"N":"{}"}}}},{}}}"#,
            quoted(&self.table),
            quoted(name),
            quoted(value),
            quoted(&revision),
            (now + KEPT).as_secs(),
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
