//! Answers of the streams' service: an iterator, a page of records.

use crate::error::{Trouble, whole};
use crate::json::{elements, members, string};
use tidelock_core::json::{Cursor, Malformed};
use tidelock_core::version::Sequence;

/// A record as Lambda's event has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Its sequence number as it stands and as a number; `None` where it has none.
    pub(super) number: Option<(String, Sequence)>,
    pub(super) text: String,
}

/// A part of a shard.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) records: Vec<Record>,
    /// `None` when the shard is closed and at its end.
    pub(super) next: Option<String>,
}

/// Reads `{"ShardIterator":"…"}`.
pub(super) fn iterator(body: &[u8]) -> Result<String, Trouble> {
    let mut found = None;
    whole(body, |body| {
        let mut cursor = Cursor::new(body);
        members(&mut cursor, |name, cursor| {
            match name {
                b"ShardIterator" => found = string(cursor)?,
                _ => drop(cursor.skip()?),
            }
            Ok(())
        })?;
        cursor.end()
    })?;
    found.ok_or_else(|| Trouble::senseless("it lacks the iterator"))
}

/// Reads `{"Records":[RECORD,…],"NextShardIterator":"…"}`. `arn` is the stream's, as JSON.
pub(super) fn page(body: &[u8], arn: &str) -> Result<Page, Trouble> {
    let (mut records, mut next) = (None::<Vec<_>>, None);
    whole(body, |body| {
        let mut cursor = Cursor::new(body);
        members(&mut cursor, |name, cursor| {
            match name {
                b"Records" => {
                    let records = records.get_or_insert_default();
                    elements(cursor, |cursor| {
                        records.push(record(cursor, arn)?);
                        Ok(())
                    })?;
                }
                b"NextShardIterator" => next = string(cursor)?,
                _ => drop(cursor.skip()?),
            }
            Ok(())
        })?;
        cursor.end()
    })?;
    records.map(|records| Page { records, next }).ok_or_else(|| Trouble::senseless("it lacks the records"))
}

fn record(cursor: &mut Cursor<'_>, arn: &str) -> Result<Record, Malformed> {
    let raw = cursor.skip()?;
    let mut number = None;
    let mut empty = true;
    members(&mut Cursor::new(raw), |name, cursor| {
        empty = false;
        if name != b"dynamodb" || cursor.peek() != Some(b'{') {
            return cursor.skip().map(drop);
        }
        members(cursor, |name, cursor| {
            match name {
                b"SequenceNumber" => number = string(cursor)?,
                _ => drop(cursor.skip()?),
            }
            Ok(())
        })
    })?;
    let number = number.and_then(|text| Sequence::parse(text.as_bytes()).map(|number| (text, number)));
    let members = String::from_utf8_lossy(raw.get(1..).unwrap_or_default());
    let comma = if empty { "" } else { "," };
    Ok(Record { number, text: format!(r#"{{"eventSourceARN":{arn}{comma}{members}"#) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        let body = br#"{"NextShardIterator":"i\/1","Records":[ {"eventName":"REMOVE","dynamodb":{"Keys":{},"SequenceNumber":"007"}},
            {"dynamodb":{"SequenceNumber":"x"}}, {"dynamodb":7}, {} ]}"#;
        let page = page(body, "\"arn\"").expect("a page");
        assert_eq!(page.next.as_deref(), Some("i/1"));
        let texts: Vec<&str> = page.records.iter().map(|record| &*record.text).collect();
        assert_eq!(
            texts,
            [
                r#"{"eventSourceARN":"arn","eventName":"REMOVE","dynamodb":{"Keys":{},"SequenceNumber":"007"}}"#,
                r#"{"eventSourceARN":"arn","dynamodb":{"SequenceNumber":"x"}}"#,
                r#"{"eventSourceARN":"arn","dynamodb":7}"#,
                r#"{"eventSourceARN":"arn"}"#,
            ]
        );
        let numbers: Vec<_> = page.records.into_iter().map(|record| record.number).collect();
        assert_eq!(numbers, [Sequence::parse(b"7").map(|number| ("007".to_owned(), number)), None, None, None]);
    }

    #[test]
    fn what_is_no_page() {
        for senseless in [&b"{}"[..], br#"{"NextShardIterator":"i"}"#] {
            assert!(page(senseless, "\"arn\"").is_err_and(|trouble| !trouble.passing));
        }
        for damaged in
            [&b""[..], b"[]", br#"{"Records":[{]}"#, br#"{"Records":[7]}"#, br#"{"Records":[]"#, b"{\"a\":\"\xff\"}"]
        {
            let trouble = page(damaged, "\"arn\"").expect_err("damaged");
            assert!(trouble.passing, "{}", String::from_utf8_lossy(damaged));
        }
        assert_eq!(iterator(br#"{"ShardIterator":"i"}"#), Ok("i".to_owned()));
        assert!(iterator(b"{").is_err_and(|trouble| trouble.passing));
        assert!(iterator(b"{}").is_err_and(|trouble| !trouble.passing));
    }
}
