//! The changes of a corpus as Lambda delivers them from an Amazon DocumentDB change stream: the same documents as the items of
//! DynamoDB, in relaxed extended JSON, with an ObjectId for the key and the item's key as a field.
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-documentdb.html>

use std::fmt::Write as _;

use super::Kind;

/// What stands around the changes of an event.
pub(super) const HEAD: &str = r#"{"eventSourceArn":"arn:aws:rds:eu-central-1:123456789012:cluster:bench","events":["#;
pub(super) const TAIL: &str = r#"],"eventSource":"aws:docdb"}"#;

/// A change as the stream tells it.
pub(super) struct Change<'a> {
    pub(super) kind: Kind,
    pub(super) key: &'a str,
    pub(super) collection: &'a str,
    /// Cluster time: seconds since 1970, and the place among the changes of that second.
    pub(super) time: (u64, u32),
    /// The document as an image of DynamoDB; a delete has none.
    pub(super) image: Option<&'a str>,
}

impl Change<'_> {
    /// The change as JSON, its members in the order of the service.
    pub(super) fn text(&self) -> String {
        let Self { kind, collection, time: (seconds, ordinal), .. } = self;
        let id = object_id(self.key);
        let mut out = String::with_capacity(2_048);
        let mut put = |text: std::fmt::Arguments<'_>| out.write_fmt(text).expect("writing to a string cannot fail");
        put(format_args!(
            r#"{{"event":{{"_id":{{"_data":"01{seconds:08x}{ordinal:08x}010000000100000001"}},"clusterTime":{{"$timestamp":{{"t":{seconds},"i":{ordinal}}}}},"documentKey":{{"_id":{{"$oid":"{id}"}}}},"#
        ));
        if let Some(image) = self.image {
            let document = relaxed(image);
            put(format_args!(r#""fullDocument":{{"_id":{{"$oid":"{id}"}},{},"#, &document[1..]));
        }
        put(format_args!(r#""ns":{{"db":"bench","coll":"{collection}"}},"operationType":"#));
        match kind {
            Kind::Insert => put(format_args!(r#""insert"}}}}"#)),
            Kind::Modify => put(format_args!(
                r#""update","updateDescription":{{"updatedFields":{{"updated_at":{seconds}}},"removedFields":[]}}}}}}"#
            )),
            Kind::Remove => put(format_args!(r#""delete"}}}}"#)),
        }
        out
    }
}

/// The digits of a key as an ObjectId; another for each key.
fn object_id(key: &str) -> String {
    let digits = key.split_once('-').map_or("", |(_, digits)| digits).replace('-', "");
    format!("{digits:0>24}")
}

/// An image of DynamoDB as a plain document: in relaxed extended JSON its values are themselves.
fn relaxed(image: &str) -> String {
    let mut out = String::with_capacity(image.len());
    let mut rest = image;
    map(&mut rest, &mut out);
    out
}

/// Passes on what stands before `end`, and `end` itself.
fn copy_past(rest: &mut &str, end: char, out: &mut String) {
    let at = rest.find(end).map_or(rest.len(), |at| at + end.len_utf8());
    out.push_str(&rest[..at]);
    *rest = &rest[at..];
}

fn skip(rest: &mut &str, bytes: usize) {
    *rest = &rest[bytes..];
}

/// A map of tagged values; none is empty.
fn map(rest: &mut &str, out: &mut String) {
    while !rest.is_empty() {
        copy_past(rest, ':', out);
        value(rest, out);
        copy_past(rest, if rest.starts_with(',') { ',' } else { '}' }, out);
        if out.ends_with('}') {
            return;
        }
    }
}

/// `{"TAG":…}`, of which the inner value stays.
fn value(rest: &mut &str, out: &mut String) {
    skip(rest, r#"{""#.len());
    let end = rest.find('"').unwrap_or(0);
    let tag = &rest[..end];
    skip(rest, end + r#"":"#.len());
    match tag {
        "M" => map(rest, out),
        "L" => list(rest, out),
        "S" => text(rest, out),
        "N" => number(rest, out),
        "NULL" => {
            out.push_str("null");
            skip(rest, "true".len());
        }
        // Sets of text, and truths, are what they are.
        "SS" => copy_past(rest, ']', out),
        "NS" => {
            let end = rest.find(']').map_or(rest.len(), |end| end + 1);
            out.extend(rest[..end].chars().filter(|letter| *letter != '"'));
            skip(rest, end);
        }
        _ => {
            let end = rest.find('}').unwrap_or(rest.len());
            out.push_str(&rest[..end]);
            skip(rest, end);
        }
    }
    skip(rest, "}".len());
}

fn list(rest: &mut &str, out: &mut String) {
    out.push('[');
    skip(rest, "[".len());
    while !rest.starts_with(']') {
        if rest.starts_with(',') {
            copy_past(rest, ',', out);
        }
        value(rest, out);
    }
    copy_past(rest, ']', out);
}

/// A text with its escapes as they are.
fn text(rest: &mut &str, out: &mut String) {
    let mut escaped = true;
    let end = rest.find(|letter| {
        let ends = letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        ends
    });
    let end = end.map_or(rest.len(), |end| end + 1);
    out.push_str(&rest[..end]);
    skip(rest, end);
}

fn number(rest: &mut &str, out: &mut String) {
    skip(rest, 1);
    let end = rest.find('"').unwrap_or(rest.len());
    out.push_str(&rest[..end]);
    skip(rest, end + 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_becomes_the_document_that_it_stands_for() {
        let image = r#"{"a":{"S":"x}\"{\\"},"b":{"N":"-1.5"},"c":{"BOOL":true},"d":{"NULL":true},"e":{"SS":["ä","b"]},"f":{"NS":["1","2"]},"g":{"M":{"h":{"M":{"i":{"N":"1"}}}}},"j":{"L":[{"S":""},{"M":{"k":{"N":"2"}}}]}}"#;
        let document =
            r#"{"a":"x}\"{\\","b":-1.5,"c":true,"d":null,"e":["ä","b"],"f":[1,2],"g":{"h":{"i":1}},"j":["",{"k":2}]}"#;
        assert_eq!(relaxed(image), document);
    }

    #[test]
    fn keys_of_both_kinds_become_object_ids() {
        assert_eq!(object_id("item-deadbeef-000012"), "0000000000deadbeef000012");
        assert_eq!(object_id("hot-0003"), "000000000000000000000003");
    }
}
