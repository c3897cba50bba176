//! Documents that keep a part of what is stored: `write: merge`, and deletes that leave the document.

use crate::bson::{Elements, kind};
use crate::encode::{BsonSink, Format, JsonSink, MARK_FIELD, Sink};
use crate::json::{Cursor, RawStr, unescape, write_string};
use crate::target::Deletes;

/// A member of a document: its name, and all of it as it is written.
type Member<'d> = (String, &'d [u8]);

/// The members of a whole document, but for what is the target's own or Tidelock's. `None` where it cannot be read.
fn members(format: Format, document: &[u8]) -> Option<Vec<Member<'_>>> {
    let mut found: Vec<Member<'_>> = Vec::new();
    match format {
        Format::Json => {
            let mut cursor = Cursor::new(document);
            if !cursor.take(b'{') {
                return None;
            }
            let mut more = !cursor.take(b'}');
            while more {
                cursor.peek()?;
                let from = cursor.at();
                let name = unescape(cursor.name().ok()?)?;
                cursor.skip().ok()?;
                found.push((name.into_owned(), cursor.slice(from, cursor.at())));
                more = cursor.more(b'}').ok()?;
            }
        }
        Format::Bson => {
            for element in Elements::new(document).ok()? {
                let element = element.ok()?;
                found.push((element.name.to_owned(), element.whole));
            }
        }
    }
    found.retain(|(name, _)| name != MARK_FIELD && !(format == Format::Bson && name == "_id"));
    Some(found)
}

/// A document as a [sink](Sink) writes it, made whole.
pub(crate) fn whole(format: Format, document: &[u8]) -> Vec<u8> {
    match format {
        Format::Json => [document, b"}"].concat(),
        Format::Bson => {
            let length = i32::try_from(document.len() + 5).unwrap_or(i32::MAX).to_le_bytes();
            [&length[..], document, b"\0"].concat()
        }
    }
}

/// Members as a sink writes a document of them.
fn written<'d>(format: Format, members: impl Iterator<Item = &'d [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    if format == Format::Json {
        out.push(b'{');
    }
    for member in members {
        if format == Format::Json && out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(member);
    }
    out
}

/// The new document with the fields `preserve` as they are stored; `stored` is a whole document, the new one as a sink writes it.
/// `None` where one of them cannot be read.
pub(super) fn merged(format: Format, new: &[u8], stored: &[u8], preserve: &[String]) -> Option<Vec<u8>> {
    let new = whole(format, new);
    let kept: Vec<Member<'_>> =
        members(format, stored)?.into_iter().filter(|(name, _)| preserve.contains(name)).collect();
    let own = members(format, &new)?;
    let own = own.iter().filter(|(name, _)| !kept.iter().any(|(kept, _)| kept == name));
    Some(written(format, own.chain(&kept).map(|(_, raw)| *raw)))
}

/// A document that says that it is deleted, since `at_ms`; as a sink writes it. `document` is a whole one. `None` where it cannot be
/// read.
pub(crate) fn softened(format: Format, document: &[u8], deletes: &Deletes, at_ms: i64) -> Option<Vec<u8>> {
    let Deletes::Soft { flag, at } = deletes else { return None };
    let members = members(format, document)?;
    let own = members.iter().filter(|(name, _)| name != flag && name != at);
    let mut out = written(format, own.map(|(_, raw)| *raw));
    match format {
        Format::Json => {
            let told = told(JsonSink::with_capacity(64), flag, at, at_ms)?;
            if out.len() > 1 {
                out.push(b',');
            }
            out.extend_from_slice(told.get(1..).unwrap_or_default());
        }
        Format::Bson => out.extend_from_slice(&told(BsonSink::with_capacity(64), flag, at, at_ms)?),
    }
    Some(out)
}

/// [`softened`], of a document as a sink writes it.
pub(crate) fn softened_new(format: Format, document: &[u8], deletes: &Deletes, at_ms: i64) -> Option<Vec<u8>> {
    softened(format, &whole(format, document), deletes, at_ms)
}

/// Whether a whole document says that it is deleted.
pub(super) fn is_soft(format: Format, document: &[u8], deletes: &Deletes) -> bool {
    let Deletes::Soft { flag, .. } = deletes else { return false };
    let is_true = |raw: &[u8]| match format {
        Format::Json => raw.ends_with(b"true"),
        Format::Bson => raw.first() == Some(&kind::BOOLEAN) && raw.last() == Some(&1),
    };
    members(format, document).is_some_and(|members| members.iter().any(|(name, raw)| name == flag && is_true(raw)))
}

fn told<S: Sink>(mut sink: S, flag: &str, at: &str, at_ms: i64) -> Option<Vec<u8>> {
    let name = |sink: &mut S, name: &str| {
        let mut quoted = Vec::with_capacity(name.len() + 2);
        write_string(&mut quoted, name);
        let raw = quoted.get(1..quoted.len() - 1).unwrap_or_default();
        sink.name(RawStr { raw, escaped: raw.contains(&b'\\') }).ok()
    };
    sink.begin_document();
    name(&mut sink, flag)?;
    sink.boolean(true);
    if !at.is_empty() {
        name(&mut sink, at)?;
        sink.date(at_ms).ok()?;
    }
    Some(sink.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::{Belongs, Wish, as_wanted};
    use super::*;
    use crate::key::Key;
    use crate::pipeline::Pipeline;
    use crate::target::{Found, Place, Salvage, Stored};
    use crate::version::Version;
    use crate::version::dynamodb::oldest;

    #[test]
    fn stored_fields_of_the_users_stay_as_they_are() {
        let merged = |new: &str, stored: &str| {
            let preserve = ["note".to_owned(), "rank".to_owned()];
            merged(Format::Json, new.as_bytes(), stored.as_bytes(), &preserve)
                .map(|text| String::from_utf8(text).expect("UTF-8"))
        };
        let stored = r#"{"a":1, "note" : "kept\n", "gone":2,"_tidelock":{"x":{}}}"#;
        assert_eq!(merged(r#"{"a":2,"rank":7"#, stored).as_deref(), Some(r#"{"a":2,"rank":7,"note" : "kept\n""#));
        assert_eq!(merged(r#"{"note":"new""#, stored).as_deref(), Some(r#"{"note" : "kept\n""#));
        assert_eq!(merged("{", "{}").as_deref(), Some("{"));
        assert_eq!(merged("{", "[1]"), None);
    }

    #[test]
    fn bson_keeps_its_elements_byte_for_byte() {
        let new = bson::doc! {"a": 2, "rank": 7}.to_vec().expect("BSON");
        let stored = bson::doc! {"_id": 1, "a": 1, "note": {"deep": [1, 2.5]}, "_tidelock": {"space": "s"}};
        let made = merged(
            Format::Bson,
            &new[4..new.len() - 1],
            &stored.to_vec().expect("BSON"),
            &["note".to_owned(), "rank".to_owned()],
        );
        let made: bson::Document =
            bson::deserialize_from_slice(&whole(Format::Bson, &made.expect("a document"))).expect("BSON");
        assert_eq!(made, bson::doc! {"a": 2, "rank": 7, "note": {"deep": [1, 2.5]}});
    }

    #[test]
    fn what_a_newer_change_has_written_outlives_the_truth_of_an_older_one() {
        let version = |exact: &'static str| Version { exact, coarse: 5, ..oldest("dynamodb:us-east-1:1:t") };
        let [older, own, newer] = [
            "0000000000000000000000000000000000000004",
            "0000000000000000000000000000000000000005",
            "0000000000000000000000000000000000000006",
        ];
        // Whether the change enters the place or leaves it, and the item is gone or elsewhere.
        for (deletes, stored, enters, gone, stays) in [
            ("ignore", newer, false, true, true),
            ("soft", newer, false, true, true),
            ("soft", newer, true, true, true),
            ("soft", newer, true, false, true),
            ("ignore", own, true, false, true),
            ("hard", newer, false, true, false),
            ("ignore", own, false, false, false),
            ("ignore", older, false, true, false),
            ("ignore", older, true, false, false),
        ] {
            let text = format!("{{version: 1, routes: [{{from: t, to: 'x-{{home}}', deletes: {deletes}}}]}}");
            let pipeline = Pipeline::parse(&text).expect("a pipeline");
            let (rules, into) = (pipeline.rules("t", 0), Place::new("x-a".to_owned(), false));
            let (key, salvage) = (Key::from_bytes(b""), Salvage::Never);
            let manner = rules.manner(None).filter(|_| enters);
            let wish = Wish { origin: "t", rules: &rules, into: &into, key, version: version(own), salvage, manner };
            let mark = Some(version(stored).mark());
            let found = Found { document: Some(Stored { witness: (), mark, body: None }), fence: None };
            let mut item = Belongs { gone, ..Belongs::default() };
            let told = as_wanted(&wish, &found, &mut item, Format::Json);
            assert_eq!(told, Ok(stays), "{deletes} {stored} {enters} {gone}");
        }
    }

    #[test]
    fn a_deleted_document_says_so() {
        let soft = Deletes::Soft { flag: "_deleted".to_owned(), at: "_at".to_owned() };
        let made = softened(Format::Json, br#"{"a":1,"_deleted":false,"_tidelock":{}}"#, &soft, 1_000).expect("JSON");
        assert_eq!(String::from_utf8_lossy(&made), r#"{"a":1,"_deleted":true,"_at":"1970-01-01T00:00:01.000Z""#);
        let made = whole(Format::Json, &made);
        assert!(is_soft(Format::Json, &made, &soft) && !is_soft(Format::Json, br#"{"_deleted":false}"#, &soft));
        let document = bson::doc! {"_id": 1, "a": 1}.to_vec().expect("BSON");
        let made = whole(Format::Bson, &softened(Format::Bson, &document, &soft, 1_000).expect("BSON"));
        assert!(is_soft(Format::Bson, &made, &soft));
        let made: bson::Document = bson::deserialize_from_slice(&made).expect("BSON");
        assert_eq!(made, bson::doc! {"a": 1, "_deleted": true, "_at": bson::DateTime::from_millis(1_000)});
        assert_eq!(
            softened_new(Format::Json, b"{", &Deletes::Soft { flag: "d".to_owned(), at: String::new() }, 0).as_deref(),
            Some(&b"{\"d\":true"[..])
        );
    }
}
