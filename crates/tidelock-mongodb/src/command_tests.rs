//! The bytes are those that the bson crate writes for the same command.

use super::*;
use mongodb::bson::{Document, doc};
use std::str::FromStr as _;
use tidelock_core::batch::{Batch, Content};
use tidelock_core::encode::Format;
use tidelock_core::source::dynamodb;
use tidelock_core::target::Place;

const SPACE: &str = "dynamodb:eu-west-1:1:t";
const LABEL: &str = "2026-01-01T00:00:00.000";

fn batch(records: &[(&str, Option<&str>)]) -> Batch {
    let record = |(key, image): &(&str, Option<&str>)| {
        let image = image.map_or(String::new(), |image| format!(r#","NewImage":{image}"#));
        let name = if image.is_empty() { "REMOVE" } else { "INSERT" };
        format!(
            r#"{{"eventName":"{name}","eventSourceARN":"arn:aws:dynamodb:eu-west-1:1:table/t/stream/{LABEL}","dynamodb":{{"ApproximateCreationDateTime":7,"SequenceNumber":"42","Keys":{key}{image}}}}}"#
        )
    };
    let event = format!(r#"{{"Records":[{}]}}"#, records.iter().map(record).collect::<Vec<_>>().join(","));
    dynamodb::decode(event.as_bytes(), Format::Bson).expect("an event")
}

fn operations<'a>(batch: &'a Batch, into: &'a Place) -> Vec<Operation<'a>> {
    let mut operations = Vec::new();
    for slot in &batch.slots {
        let write = match &slot.content {
            Content::Upsert(range) => Write::Upsert(&batch.documents[range.clone()]),
            Content::Delete => Write::Delete,
            Content::Failed(failure) => panic!("{failure}"),
            Content::Deferred => panic!("no document was made"),
        };
        let (key, version) = (batch.key(slot).expect("a key"), batch.version(slot).expect("a version"));
        operations.push(Operation::plain(into, key, write, version));
    }
    operations
}

fn place() -> Place {
    Place::new("c".to_owned(), true)
}

fn exact() -> String {
    format!("{:0>40}", 42)
}

fn mark() -> Document {
    doc! {"space": SPACE, "label": LABEL, "exact": exact(), "at": 7_000_i64}
}

/// The id, and that what is stored is older.
fn older(id: impl Into<mongodb::bson::Bson>) -> Document {
    doc! {
        "_id": id,
        "_tidelock.space": SPACE,
        "_tidelock.label": LABEL,
        "_tidelock.exact": {"$lt": exact()},
    }
}

fn bytes(document: &Document) -> Vec<u8> {
    document.to_vec().expect("serializable")
}

fn stored(expression: &Document) -> Condition {
    Condition::Stored(Unchanged(bytes(expression), None))
}

fn whole(kind: Kind, operations: &[Operation<'_>], conditions: &[Condition]) -> Built {
    build(kind, "c", operations.iter().map(Statement::Document).zip(conditions), usize::MAX, 0)
}

#[test]
fn an_update_command_is_the_one_that_bson_writes() {
    let big = "12345678901234567890123456789012";
    let batch = batch(&[
        (r#"{"id":{"S":"a"}}"#, Some(r#"{"id":{"S":"a"},"n":{"N":"5"},"l":{"L":[{"BOOL":true},{"NULL":true}]}}"#)),
        (&format!(r#"{{"id":{{"N":"{big}"}}}}"#), Some(r#"{"m":{"M":{"b":{"B":"AAE="}}}}"#)),
        (r#"{"sk":{"N":"7000000000"},"pk":{"B":"AP8="}}"#, Some("{}")),
    ]);
    let into = place();
    let operations = operations(&batch, &into);
    let built = whole(Kind::Upsert, &operations, &[Condition::Older, Condition::Older, Condition::Older]);
    let binary = |bytes: &[u8]| mongodb::bson::Binary {
        subtype: mongodb::bson::spec::BinarySubtype::Generic,
        bytes: bytes.to_vec(),
    };
    let decimal = mongodb::bson::Decimal128::from_str(big).expect("a decimal");
    let composite = doc! {"pk": binary(&[0, 255]), "sk": 7_000_000_000_i64};
    let expected = doc! {
        "update": "c",
        "ordered": false,
        "writeConcern": {"w": "majority"},
        "updates": [
            {"q": older("a"), "u": {"_id": "a", "id": "a", "n": 5, "l": [true, null], "_tidelock": mark()}, "upsert": true},
            {"q": older(decimal), "u": {"_id": decimal, "m": {"b": binary(&[0, 1])}, "_tidelock": mark()}, "upsert": true},
            {"q": older(composite.clone()), "u": {"_id": composite, "_tidelock": mark()}, "upsert": true},
        ],
    };
    assert_eq!(built.count, 3);
    assert_eq!(Document::from_reader(built.bytes.as_slice()).expect("a document"), expected);
    assert_eq!(built.bytes, bytes(&expected));
}

#[test]
fn an_insert_command_is_the_one_that_bson_writes_and_ends_where_others_begin() {
    let image = Some(r#"{"n":{"N":"5"}}"#);
    let keys = [r#"{"id":{"S":"a"}}"#, r#"{"id":{"S":"b"}}"#, r#"{"id":{"S":"c"}}"#];
    let batch = batch(&keys.map(|key| (key, image)));
    let into = place();
    let operations = operations(&batch, &into);
    let inserts = whole(Kind::Upsert, &operations, &[Condition::Absent, Condition::Absent, Condition::Older]);
    let expected = doc! {
        "insert": "c",
        "ordered": false,
        "writeConcern": {"w": "majority"},
        "documents": [{"_id": "a", "n": 5, "_tidelock": mark()}, {"_id": "b", "n": 5, "_tidelock": mark()}],
    };
    assert_eq!((inserts.count, inserts.bytes), (2, bytes(&expected)));
    let update = whole(Kind::Upsert, &operations, &[Condition::Older, Condition::Absent, Condition::Absent]);
    let update = (update.count, Document::from_reader(update.bytes.as_slice()).expect("a document"));
    assert_eq!((update.0, update.1.get_array("updates").expect("statements").len()), (1, 1));
}

#[test]
fn what_servers_replace_by_other_rules_than_they_insert_is_not_inserted() {
    let images = [
        (r#"{"price":{"S":"$5"},"a":{"M":{"b":{"S":"$"}}},"list":{"L":[{"S":"$"}]}}"#, true),
        (r#"{"$price":{"N":"5"}}"#, false),
        (r#"{"a":{"N":"5"},"$b":{"M":{}}}"#, false),
        ("{}", true),
    ];
    let batch = batch(&images.map(|(image, _)| (r#"{"id":{"S":"$id"}}"#, Some(image))));
    let into = place();
    for (operation, (image, inserted)) in operations(&batch, &into).iter().zip(images) {
        assert_eq!(takes_inserts(operation), inserted, "{image}");
    }
}

#[test]
fn a_delete_command_and_compare_and_set_are_the_ones_that_bson_writes() {
    let batch = batch(&[(r#"{"id":{"S":"a"}}"#, None), (r#"{"id":{"N":"1"}}"#, None)]);
    let into = place();
    let operations = operations(&batch, &into);
    let found = doc! {"$eq": {"space": "other"}};
    let built = whole(Kind::Delete, &operations, &[Condition::Older, stored(&found)]);
    let expected = doc! {
        "delete": "c",
        "ordered": false,
        "writeConcern": {"w": "majority"},
        "deletes": [
            {"q": older("a"), "limit": 1},
            {"q": {"_id": 1, "_tidelock": found}, "limit": 1},
        ],
    };
    assert_eq!(built.bytes, bytes(&expected));

    let batch = self::batch(&[(r#"{"id":{"S":"a"}}"#, Some("{}"))]);
    let operations = self::operations(&batch, &into);
    let missing = doc! {"$exists": false};
    let built = whole(Kind::Upsert, &operations, &[stored(&missing)]);
    let update =
        doc! {"q": {"_id": "a", "_tidelock": missing}, "u": {"_id": "a", "_tidelock": mark()}, "upsert": false};
    let expected = doc! {"update": "c", "ordered": false, "writeConcern": {"w": "majority"}, "updates": [update]};
    assert_eq!(built.bytes, bytes(&expected), "a compare-and-set never inserts");
}

#[test]
fn a_command_is_cut_at_its_limit_and_holds_at_least_one_statement() {
    let keys: Vec<String> = (0..1_200).map(|n| format!(r#"{{"id":{{"S":"key-{n}"}}}}"#)).collect();
    let records: Vec<(&str, Option<&str>)> =
        keys.iter().map(|key| (key.as_str(), Some(r#"{"text":{"S":"some text"}}"#))).collect();
    let batch = batch(&records);
    let into = place();
    let operations = operations(&batch, &into);
    for max_bytes in [1, 10_000, 65_536, 200_000] {
        let mut rest = operations.as_slice();
        while !rest.is_empty() {
            let built = build(
                Kind::Upsert,
                "c",
                rest.iter().map(|one| (Statement::Document(one), &Condition::Older)),
                max_bytes,
                0,
            );
            assert!(built.count > 0);
            assert!(built.bytes.len() <= max_bytes || built.count == 1, "{} bytes", built.bytes.len());
            let command = Document::from_reader(built.bytes.as_slice()).expect("a document");
            assert_eq!(command.get_array("updates").expect("updates").len(), built.count);
            rest = &rest[built.count..];
        }
    }
}

#[test]
fn sizes_are_known_before_building() {
    let batch = batch(&[(r#"{"id":{"S":"a"}}"#, Some(r#"{"text":{"S":"some text"}}"#)), (r#"{"id":{"S":"b"}}"#, None)]);
    let into = place();
    let operations = operations(&batch, &into);
    let Write::Upsert(elements) = operations[0].write else { panic!("an upsert") };
    let stored = doc! {"_id": "a", "text": "some text", "_tidelock": mark()};
    assert_eq!(document_bytes(operations[0].key, elements, &operations[0].version), bytes(&stored).len());
    for operation in &operations {
        let built = whole(Kind::of(operation.write), std::slice::from_ref(operation), &[Condition::Older]);
        let about = statement_bytes(operation);
        assert!(about.abs_diff(built.bytes.len()) < 200, "{about} {}", built.bytes.len());
    }
}

#[test]
fn a_guard_is_the_same_whoever_judges_or_is_left_out() {
    let batch = batch(&[(r#"{"id":{"S":"a"}}"#, None), (r#"{"id":{"S":"b"}}"#, None)]);
    let into = place();
    let operations = operations(&batch, &into);
    let built = whole(Kind::Delete, &operations, &[Condition::OwnOlder, Condition::Always]);
    let expected = doc! {
        "delete": "c",
        "ordered": false,
        "writeConcern": {"w": "majority"},
        "deletes": [{"q": older("a"), "limit": 1}, {"q": {"_id": "b"}, "limit": 1}],
    };
    assert_eq!(built.bytes, bytes(&expected));
}

#[test]
fn a_fence_is_a_document_of_its_own() {
    let batch = batch(&[(r#"{"sk":{"N":"5"},"pk":{"S":"a"}}"#, None)]);
    let into = place();
    let operations = operations(&batch, &into);
    let fence = Fence::of(&operations[0], "c", 77);
    let statements = [(Statement::Fence(fence), &Condition::Older)];
    let built = build(Kind::Fence, "tidelock_fences", statements.into_iter(), usize::MAX, 0);
    let id = doc! {"pk": "a", "sk": 5};
    let element = bytes(&doc! {"_id": id.clone()});
    // The element alone: without the length before it and the zero after it.
    let fence_id = tidelock_core::fence::fence_id(&[b"c", &element[4..element.len() - 1]]);
    let document = doc! {
        "_id": fence_id.as_str(), "collection": "c", "id": id, "key": r#"{"pk":{"S":"a"},"sk":{"N":"5"}}"#,
        "written": 77_i64, "_tidelock": mark(),
    };
    let expected = doc! {
        "update": "tidelock_fences",
        "ordered": false,
        "writeConcern": {"w": "majority"},
        "updates": [{"q": older(fence_id), "u": document, "upsert": true}],
    };
    assert_eq!(Document::from_reader(built.bytes.as_slice()).expect("a document"), expected);
    assert_eq!(built.bytes, bytes(&expected));
    let about = Statement::Fence(fence).bytes();
    assert!(about.abs_diff(built.bytes.len()) < 300, "{about} {}", built.bytes.len());
}
