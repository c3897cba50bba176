//! A table read from its first item to its last, in segments that are read side by side.
//!
//! ```text
//! DescribeTable ─ description ─▶ names of the key's attributes, items, space of the versions
//! Scan (ConsistentRead, segment, position) ─ one walk ─▶ items by decode_item, next position, units
//!      ▲ throttled, cut, late, damaged: jittered pause
//! ```
//!
//! Operations: [DescribeTable](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_DescribeTable.html),
//! [Scan](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Scan.html). A position is `LastEvaluatedKey` as
//! it came. A page is what the service gives in one answer, 1 MB at most: a smaller one would cost more requests.

use crate::error::{NOT_FOUND, Trouble, whole};
use crate::json::{elements, members, number, quoted, raw, string};
use crate::source::DynamoDbSource;
use bytes::Bytes;
use std::time::Instant;
use tidelock_core::backfill::{Page, Scan, Scanned, ScannedItem, Segment};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::credentials::Credentials;
use tidelock_core::encode::Format;
use tidelock_core::image::Notation;
use tidelock_core::json::{Cursor, Malformed};
use tidelock_core::slow::Item;
use tidelock_core::source::dynamodb::decode_item;
use tidelock_core::version::dynamodb::{oldest, space};

const DESCRIBE_TABLE: &str = "DynamoDB_20120810.DescribeTable";
const SCAN: &str = "DynamoDB_20120810.Scan";

/// What a table says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
struct Description {
    status: String,
    arn: String,
    /// Counted anew every six hours or so.
    items: Option<u64>,
    /// Names of the key's attributes.
    key: Vec<String>,
}

/// Reads `{"Table":{"TableStatus":…,"TableArn":…,"ItemCount":…,"KeySchema":[{"AttributeName":…}],…}}`.
fn description(body: &[u8]) -> Result<Description, Malformed> {
    let mut found = Description::default();
    let mut cursor = Cursor::new(body);
    members(&mut cursor, |name, cursor| match name {
        b"Table" => members(cursor, |name, cursor| {
            match name {
                b"TableStatus" => found.status = string(cursor)?.unwrap_or_default(),
                b"TableArn" => found.arn = string(cursor)?.unwrap_or_default(),
                b"ItemCount" => found.items = number(cursor)?,
                b"KeySchema" => elements(cursor, |cursor| {
                    members(cursor, |name, cursor| {
                        match name {
                            b"AttributeName" => found.key.extend(string(cursor)?),
                            _ => drop(cursor.skip()?),
                        }
                        Ok(())
                    })
                })?,
                _ => drop(cursor.skip()?),
            }
            Ok(())
        }),
        _ => cursor.skip().map(drop),
    })?;
    cursor.end()?;
    Ok(found)
}

impl Description {
    /// What [`Scan::survey`] tells of the table, or why it cannot be scanned.
    fn scanned(self) -> Result<Scanned, String> {
        let advice = match &*self.status {
            // A table that is being changed is read as ever.
            "ACTIVE" | "UPDATING" => None,
            "CREATING" => Some("wait until it is ACTIVE"),
            "DELETING" => Some("its items cannot be read any more"),
            "ARCHIVING" | "ARCHIVED" => Some("its KMS key was lost; restore it from its archival backup"),
            "INACCESSIBLE_ENCRYPTION_CREDENTIALS" => Some("give DynamoDB access to its KMS key again"),
            _ => Some("only an ACTIVE table can be scanned"),
        };
        if let Some(advice) = advice {
            return Err(format!("the table is {}: {advice}", self.status));
        }
        let space = space_of(&self.arn).ok_or_else(|| format!("`{}` is no table's ARN", self.arn))?;
        if self.key.is_empty() {
            return Err("its description names no key attributes".to_owned());
        }
        let names: Vec<String> = self.key.iter().map(|name| quoted(name)).collect();
        let facts = format!(r#"{{"key":[{}]}}"#, names.join(","));
        Ok(Scanned { version: oldest(&space).mark(), items: self.items, facts })
    }
}

/// The space of the versions of a table's changes, of `arn:PARTITION:dynamodb:REGION:ACCOUNT:table/TABLE`.
fn space_of(arn: &str) -> Option<String> {
    let mut parts = arn.strip_prefix("arn:")?.splitn(5, ':');
    let (_partition, service, region) = (parts.next()?, parts.next()?, parts.next()?);
    let (account, resource) = (parts.next()?, parts.next()?);
    let table = resource.strip_prefix("table/").filter(|table| !table.is_empty() && !table.contains('/'))?;
    (service == "dynamodb").then(|| space(region, account, table))
}

/// The key's names in a survey's facts.
fn key_names(facts: &str) -> Result<Vec<String>, Malformed> {
    let mut names = Vec::new();
    let mut cursor = Cursor::new(facts.as_bytes());
    members(&mut cursor, |name, cursor| match name {
        b"key" => elements(cursor, |cursor| {
            names.extend(string(cursor)?);
            Ok(())
        }),
        _ => cursor.skip().map(drop),
    })?;
    cursor.end()?;
    Ok(names)
}

/// Whether a position is a key and nothing more: it becomes a part of the request.
fn is_key(position: &str) -> bool {
    let mut cursor = Cursor::new(position.as_bytes());
    cursor.peek() == Some(b'{') && cursor.skip().and_then(|_| cursor.end()).is_ok()
}

fn request(table: &str, segment: Segment, from: Option<&str>) -> Bytes {
    let from = from.map(|key| format!(r#","ExclusiveStartKey":{key}"#)).unwrap_or_default();
    let Segment { number, of } = segment;
    let table = quoted(table);
    let settings = r#""ConsistentRead":true,"ReturnConsumedCapacity":"TOTAL""#;
    format!(r#"{{"TableName":{table},{settings},"Segment":{number},"TotalSegments":{of}{from}}}"#).into()
}

/// Reads `{"Items":[ITEM,…],"Count":…,"LastEvaluatedKey":KEY,"ConsumedCapacity":{"CapacityUnits":…}}`.
fn page(body: &[u8], names: &[&str], format: Format) -> Result<Page, Trouble> {
    let mut page = Page::default();
    let (mut items, mut count) = (None::<Vec<_>>, None);
    whole(body, |body| {
        let mut cursor = Cursor::new(body);
        members(&mut cursor, |name, cursor| {
            match name {
                b"Items" => {
                    let items = items.get_or_insert_default();
                    elements(cursor, |cursor| {
                        items.push(scanned_item(cursor.skip()?, names, format));
                        Ok(())
                    })?;
                }
                b"Count" => count = number::<usize>(cursor)?,
                b"LastEvaluatedKey" => page.next = raw(cursor)?,
                b"ConsumedCapacity" => members(cursor, |name, cursor| {
                    match name {
                        b"CapacityUnits" => page.units = number(cursor)?.unwrap_or_default(),
                        _ => drop(cursor.skip()?),
                    }
                    Ok(())
                })?,
                _ => drop(cursor.skip()?),
            }
            Ok(())
        })?;
        cursor.end()
    })?;
    // What an answer does not speak of would be missing in the target for good.
    page.items = items.ok_or_else(|| Trouble::senseless("it lacks the items"))?;
    match count {
        Some(count) if count != page.items.len() => {
            Err(Trouble::damaged(format!("it counts {count} items and holds {}", page.items.len())))
        }
        _ => Ok(page),
    }
}

fn scanned_item(text: &[u8], names: &[&str], format: Format) -> Result<ScannedItem, Failure> {
    let item = decode_item(text, names, format)?;
    let read = Item { document: item.document, notation: Notation::DynamoDb, bytes: text.to_vec() };
    Ok(ScannedItem { key: item.key, item: read })
}

impl<C: Credentials> Scan for DynamoDbSource<C> {
    async fn survey(&self, origin: &str, _: u32, deadline: Instant) -> Result<Scanned, Failure> {
        let body = format!(r#"{{"TableName":{}}}"#, quoted(origin)).into();
        let read = |answer: &[u8]| whole(answer, description);
        let found = self.client.call(DESCRIBE_TABLE, body, deadline, read).await.map_err(|trouble| {
            let way_out = if trouble.kind == NOT_FOUND { "; check the table's name, region and account" } else { "" };
            self.unreadable(origin, &format!("{}{way_out}", trouble.words))
        })?;
        found.scanned().map_err(|why| self.unreadable(origin, &why))
    }

    async fn page(
        &self,
        origin: &str,
        scanned: &Scanned,
        segment: Segment,
        from: Option<&str>,
        format: Format,
        deadline: Instant,
    ) -> Result<Page, Failure> {
        let refused = |why: String| Failure::new(Cause::SourceUnreadable, format!("the scan of `{origin}`: {why}"));
        let names = key_names(&scanned.facts)
            .map_err(|error| refused(format!("the facts of its survey cannot be read: {error}; begin it anew")))?;
        if let Some(position) = from.filter(|position| !is_key(position)) {
            return Err(refused(format!("the position `{position}` is no key; begin the segment anew")));
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let read = |answer: &[u8]| page(answer, &names, format);
        let found = self.client.call(SCAN, request(origin, segment, from), deadline, read).await;
        found.map_err(|trouble| self.unreadable(origin, &trouble.words))
    }
}
