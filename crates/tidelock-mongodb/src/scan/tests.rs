//! A model of a server that compares, sorts and brackets as MongoDB does, and every way to cut what it holds.

use super::bracket::{Bracket, Outline, Span, bounds};
use super::id::{Id, elements};
use super::place::Place;
use super::*;
use crate::{FromUri, MongoDbSourceConfig};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::{BinarySubtype, ElementType};
use mongodb::bson::{Binary, DateTime, Decimal128, Document, JavaScriptCodeWithScope, Regex, Timestamp, doc};
use proptest::prelude::*;
use std::cmp::Ordering;
use tidelock_core::bson::{Decimal, Elements, Value};
use tidelock_core::settings::Secret;

fn id(value: impl Into<Bson>) -> Id {
    let document = RawDocumentBuf::try_from(&doc! {"_id": value.into()}).expect("serializable");
    Id::of(&document).expect("an id")
}

fn text_of(bytes: &[u8]) -> Vec<u8> {
    let length = i32::try_from(bytes.len() + 1).expect("short");
    [&length.to_le_bytes(), bytes, &[0]].concat()
}

fn pointer(namespace: &str, last: u8) -> Id {
    Id::new(ElementType::DbPointer, [text_of(namespace.as_bytes()), vec![0; 11], vec![last]].concat())
}

/// A number, as exact as the generated ones need it.
enum Exact {
    Whole(i128),
    Double(f64),
}

fn exact(value: Value<'_>) -> Option<Exact> {
    Some(match value {
        Value::Int32(number) => Exact::Whole(number.into()),
        Value::Int64(number) => Exact::Whole(number.into()),
        Value::Double(number) => Exact::Double(number),
        Value::Decimal128(bits) => match Decimal::from_bits(bits) {
            Decimal::Finite { negative, coefficient, exponent } => {
                let whole =
                    i128::try_from(coefficient).expect("small") * 10_i128.pow(exponent.try_into().expect("whole"));
                Exact::Whole(if negative { -whole } else { whole })
            }
            Decimal::Infinite { negative } => Exact::Double(if negative { f64::NEG_INFINITY } else { f64::INFINITY }),
            Decimal::NotANumber => Exact::Double(f64::NAN),
        },
        _ => return None,
    })
}

/// NaN is below all numbers, as in an index.
fn compare_numbers(a: &Exact, b: &Exact) -> Ordering {
    match (a, b) {
        (Exact::Whole(a), Exact::Whole(b)) => a.cmp(b),
        (Exact::Double(a), Exact::Double(b)) => a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan())),
        (Exact::Whole(_), Exact::Double(_)) => compare_numbers(b, a).reverse(),
        (Exact::Double(a), Exact::Whole(_)) if a.is_nan() => Ordering::Less,
        // Whole numbers here are far below 2^127, where doubles saturate.
        (Exact::Double(a), Exact::Whole(b)) => {
            (*a as i128).cmp(b).then(a.fract().partial_cmp(&0.0).unwrap_or(Ordering::Equal))
        }
    }
}

/// The order of values of one type.
fn compare_values(a: Value<'_>, b: Value<'_>) -> Ordering {
    if let (Some(a), Some(b)) = (exact(a), exact(b)) {
        return compare_numbers(&a, &b);
    }
    match (a, b) {
        (Value::String(a) | Value::Symbol(a), Value::String(b) | Value::Symbol(b)) => a.cmp(b),
        (Value::Code(a), Value::Code(b)) => a.cmp(b),
        (Value::Document(a), Value::Document(b)) => compare_documents(a, b),
        (Value::Binary { subtype: s, bytes: a }, Value::Binary { subtype: t, bytes: b }) => {
            (a.len(), s, a).cmp(&(b.len(), t, b))
        }
        (Value::ObjectId(a), Value::ObjectId(b)) => a.cmp(&b),
        (Value::Boolean(a), Value::Boolean(b)) => a.cmp(&b),
        (Value::DateTime(a), Value::DateTime(b)) => a.cmp(&b),
        (Value::Timestamp { t, i }, Value::Timestamp { t: u, i: j }) => (t, i).cmp(&(u, j)),
        (Value::DbPointer { namespace: a, id: i }, Value::DbPointer { namespace: b, id: j }) => {
            (a.len(), a, i).cmp(&(b.len(), b, j))
        }
        (Value::CodeWithScope { code: a, scope: s }, Value::CodeWithScope { code: b, scope: t }) => {
            a.cmp(b).then_with(|| compare_documents(s, t))
        }
        _ => Ordering::Equal,
    }
}

fn compare_documents(mut a: Elements<'_>, mut b: Elements<'_>) -> Ordering {
    loop {
        match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, _) => return Ordering::Less,
            (_, None) => return Ordering::Greater,
            (Some(a), Some(b)) => {
                let (a, b) = (a.expect("sound"), b.expect("sound"));
                let is_text = |value| matches!(value, Value::String(_));
                let types = is_text(a.value).cmp(&is_text(b.value));
                let order = types.then(a.name.cmp(b.name)).then_with(|| compare_values(a.value, b.value));
                if order.is_ne() {
                    return order;
                }
            }
        }
    }
}

/// A value, as a server has read it.
struct Stored {
    id: Id,
    document: RawDocumentBuf,
    /// Where its type is in the order; symbols are texts, NaN is a number.
    rank: usize,
}

impl Stored {
    fn new(id: Id) -> Self {
        let document = elements([("_id", &id)]).expect("a document");
        let bracket = Bracket::of(&id).expect("an `_id` of a type that there is");
        let bracket = if bracket == Bracket::NotANumber { Bracket::Number } else { bracket };
        let rank = Bracket::ALL.iter().position(|one| *one == bracket).expect("a rank");
        Self { id, document, rank }
    }

    fn value(&self) -> Value<'_> {
        let element = Elements::new(self.document.as_bytes()).expect("a document").next().expect("an element");
        element.expect("sound").value
    }

    fn order(&self, other: &Self) -> Ordering {
        self.rank.cmp(&other.rank).then_with(|| compare_values(self.value(), other.value()))
    }

    /// Whether a query's comparison takes it.
    fn meets(&self, operator: &str, operand: &Self) -> bool {
        if self.rank != operand.rank || self.id.is_nan() != operand.id.is_nan() {
            return false;
        }
        let order = compare_values(self.value(), operand.value());
        match operator {
            "$eq" => order.is_eq(),
            "$gt" => order.is_gt() && !self.id.is_nan(),
            "$gte" => order.is_ge(),
            "$lt" => order.is_lt() && !self.id.is_nan(),
            other => panic!("unknown operator {other}"),
        }
    }
}

/// A collection's `_id`s, in their order.
struct Collection(Vec<Stored>);

impl Collection {
    fn new(ids: Vec<Id>) -> Self {
        let mut stored: Vec<Stored> = ids.into_iter().map(Stored::new).collect();
        stored.sort_by(Stored::order);
        stored.dedup_by(|a, b| a.order(b).is_eq());
        Self(stored)
    }

    fn ids(&self) -> Vec<Id> {
        self.0.iter().map(|stored| stored.id.clone()).collect()
    }

    fn rare(&self) -> bool {
        [self.0.first(), self.0.last()]
            .into_iter()
            .flatten()
            .filter_map(|one| Bracket::of(&one.id))
            .any(Bracket::is_rare)
    }

    fn find(&self, filter: &RawDocumentBuf, limit: usize) -> Vec<Id> {
        let Ok(Some(Value::Document(conditions))) = Elements::new(filter.as_bytes())
            .expect("a document")
            .next()
            .map(|one| one.map(|one| one.value))
            .transpose()
        else {
            panic!("no condition in {filter:?}");
        };
        let conditions: Vec<(String, Stored)> = conditions
            .map(|one| {
                let one = one.expect("sound");
                (one.name.to_owned(), Stored::new(Id::new(ElementType::from(one.kind).expect("a type"), one.raw)))
            })
            .collect();
        assert!(!conditions.is_empty(), "nothing keeps the query within a bracket");
        let met = self.0.iter().filter(|one| conditions.iter().all(|(operator, operand)| one.meets(operator, operand)));
        met.take(limit).map(|one| one.id.clone()).collect()
    }

    /// Goes through a segment, in pages of these sizes over and over; what is kept between them is text.
    fn walk(&self, facts: &str, segment: Segment, sizes: &[usize]) -> Vec<Id> {
        let spans = spans(facts, segment).expect("spans");
        let (mut seen, mut place, mut sizes) = (Vec::new(), Place::default(), sizes.iter().cycle());
        while let Some(span) = spans.get(place.span) {
            let found =
                self.find(&span.filter(place.after.as_ref()).expect("a filter"), *sizes.next().expect("a size"));
            if found.is_empty() {
                place = place.of_next_span();
                continue;
            }
            let ids: Vec<Option<Id>> = found.iter().cloned().map(Some).collect();
            let next = place.behind(span, &ids, 100).expect("a place");
            place = Place::parse(&next.to_text()).expect("what was written");
            assert_eq!(place, next);
            seen.extend(found);
        }
        seen
    }

    /// How often each `_id` is seen.
    fn counts(&self, outline: &Outline, of: u32, sizes: &[usize]) -> Vec<usize> {
        let facts = outline.to_text();
        assert_eq!(Outline::parse(&facts).as_ref(), Some(outline));
        let seen: Vec<Id> = (0..of).flat_map(|number| self.walk(&facts, Segment { number, of }, sizes)).collect();
        let counts: Vec<usize> = self.0.iter().map(|one| seen.iter().filter(|id| **id == one.id).count()).collect();
        assert_eq!(counts.iter().sum::<usize>(), seen.len(), "something was seen that is not there");
        counts
    }
}

fn decimal(text: &str) -> Id {
    id(Bson::Decimal128(text.parse::<Decimal128>().expect("a decimal")))
}

fn any_number() -> impl Strategy<Value = Id> {
    prop_oneof![
        (-3_i32..3).prop_map(id),
        any::<i32>().prop_map(id),
        any::<i64>().prop_map(id),
        (-9_i64..9).prop_map(|quarters| id(quarters as f64 / 4.0)),
        any::<f64>().prop_map(id),
        prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0)].prop_map(id),
        (-5_i32..5, 0_u32..6).prop_map(|(digits, zeros)| decimal(&format!("{digits}E+{zeros}"))),
        prop_oneof![Just("NaN"), Just("Infinity"), Just("-Infinity")].prop_map(decimal),
    ]
}

fn any_text() -> impl Strategy<Value = Id> {
    prop_oneof!["[0-9]{0,3}", "[a-c]{0,3}", "\\PC{0,4}"].prop_flat_map(|text| {
        let symbol = Id::new(ElementType::Symbol, text_of(text.as_bytes()));
        prop_oneof![4 => Just(id(text)), 1 => Just(symbol)]
    })
}

fn any_document() -> impl Strategy<Value = Id> {
    let field = prop_oneof![(0_i32..3).prop_map(Bson::from), "[ab]{0,2}".prop_map(Bson::from)];
    proptest::collection::vec(("[ab]", field), 0..3).prop_map(|fields| id(fields.into_iter().collect::<Document>()))
}

fn any_id() -> impl Strategy<Value = Id> {
    let binary = (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..3))
        .prop_filter("subtype 2 has a length of its own", |(subtype, _)| *subtype != 2)
        .prop_map(|(subtype, bytes)| id(Binary { subtype: BinarySubtype::from(subtype), bytes }));
    let scoped =
        ("[ab]{0,2}", 0_i32..2).prop_map(|(code, x)| id(JavaScriptCodeWithScope { code, scope: doc! {"x": x} }));
    prop_oneof![
        4 => any_number(),
        3 => any_text(),
        2 => any_document(),
        2 => binary,
        4 => any::<[u8; 12]>().prop_map(|bytes| id(ObjectId::from_bytes(bytes))),
        1 => any::<bool>().prop_map(id),
        1 => prop_oneof![any::<i64>(), -2_i64..2].prop_map(|ms| id(DateTime::from_millis(ms))),
        1 => (any::<u32>(), any::<u32>()).prop_map(|(time, increment)| id(Timestamp { time, increment })),
        1 => prop_oneof![Just(id(Bson::Null)), Just(id(Bson::MinKey)), Just(id(Bson::MaxKey))],
        1 => ("[ab]{0,2}", any::<u8>()).prop_map(|(namespace, last)| pointer(&namespace, last)),
        1 => "[ab]{0,2}".prop_map(|code| id(Bson::JavaScriptCode(code))),
        1 => scoped,
    ]
}

/// `_id`s of all types, of all but the rare ones, of some, or of one.
fn any_ids() -> impl Strategy<Value = Vec<Id>> {
    let common = any_id().prop_filter("rare", |id| !Bracket::of(id).is_some_and(Bracket::is_rare));
    prop_oneof![
        proptest::collection::vec(any_id(), 0..60),
        proptest::collection::vec(common, 0..60),
        proptest::collection::vec(any_number(), 0..60),
        proptest::collection::vec(prop_oneof![any_text(), any_number()], 0..60),
    ]
}

proptest! {
    #[test]
    fn each_document_is_seen_once(
        ids in any_ids(),
        drawn in proptest::collection::vec(any::<prop::sample::Index>(), 0..40),
        of in 1_u32..7,
        sizes in proptest::collection::vec(1_usize..9, 1..5),
    ) {
        let collection = Collection::new(ids);
        let all = collection.ids();
        let mut drawn: Vec<usize> = if all.is_empty() { Vec::new() } else { drawn.iter().map(|one| one.index(all.len())).collect() };
        drawn.sort_unstable();
        let sample: Vec<Id> = drawn.into_iter().map(|index| all[index].clone()).collect();
        let outline = Outline { bounds: bounds(&sample, of as usize), rare: collection.rare() };
        prop_assert!(outline.bounds.len() < of as usize);
        let counts = collection.counts(&outline, of, &sizes);
        prop_assert!(counts.iter().all(|count| *count == 1), "{outline:?}: {counts:?} of {all:?}");
    }

    /// Also by bounds that nobody has sorted, and that are no `_id`s of the collection.
    #[test]
    fn no_document_is_left_out_whatever_the_bounds(
        ids in any_ids(),
        others in proptest::collection::vec(any_id(), 0..30),
        kind in any::<prop::sample::Index>(),
        sizes in proptest::collection::vec(1_usize..9, 1..5),
    ) {
        let collection = Collection::new(ids);
        let divisible = |id: &Id| matches!(Outline { bounds: vec![id.clone()], rare: true }.spans(1)[..], [Span::Range { .. }]);
        let others: Vec<Id> = others.into_iter().filter(|id| Bracket::of(id) != Some(Bracket::NotANumber) && divisible(id)).collect();
        let bounds: Vec<Id> = match others.is_empty() {
            true => Vec::new(),
            false => {
                let bracket = Bracket::of(kind.get(&others));
                others.iter().filter(|id| Bracket::of(id) == bracket).cloned().collect()
            }
        };
        let of = u32::try_from(bounds.len() + 1).expect("few");
        let outline = Outline { bounds, rare: collection.rare() };
        let counts = collection.counts(&outline, of + 2, &sizes);
        prop_assert!(counts.iter().all(|count| *count > 0), "{outline:?}: {counts:?} of {:?}", collection.ids());
    }

    #[test]
    fn an_id_is_kept_byte_for_byte(id in any_id(), before in "[a-z]{0,3}") {
        prop_assert_eq!(Id::parse(&id.to_text()), Some(id.clone()));
        // It need not come first.
        let other = self::id(before.as_str());
        let document = elements([(&*format!("x{before}"), &other), ("_id", &id)]).expect("a document");
        prop_assert_eq!(Id::of(&document), Some(id));
    }
}

#[test]
fn every_type_has_its_bracket() {
    for kind in (0..=u8::MAX).filter_map(ElementType::from) {
        match Bracket::of(&Id::new(kind, [0; 16])) {
            Some(bracket) => assert!(Bracket::ALL.contains(&bracket), "{kind:?}"),
            None => assert!(
                matches!(kind, ElementType::Array | ElementType::RegularExpression | ElementType::Undefined),
                "{kind:?}"
            ),
        }
    }
    // Nothing common lies beyond what is rare, so the first and the last `_id` tell whether there is anything rare.
    let common = |bracket: &Bracket| !bracket.is_rare();
    let first = Bracket::ALL.iter().position(common).expect("something common");
    let last = Bracket::ALL.iter().rposition(common).expect("something common");
    assert!(Bracket::ALL[first..=last].iter().all(common));
    for nan in [id(f64::NAN), id(-f64::NAN), decimal("NaN")] {
        assert_eq!(Bracket::of(&nan), Some(Bracket::NotANumber));
    }
}

#[test]
fn what_is_no_text_and_no_tree_is_kept_all_the_same() {
    let broken = Id::new(ElementType::String, text_of(b"a\xff"));
    let document = elements([("_id", &broken)]).expect("a document");
    assert_eq!(Id::of(&document), Some(broken.clone()));
    assert_eq!(Id::parse(&broken.to_text()), Some(broken.clone()));
    assert!(Elements::new(document.as_bytes()).expect("a document").next().expect("an element").is_err());
    let twice = elements([("a", &id(1)), ("a", &id(2))]).expect("a document").into_bytes();
    let twice = Id::new(ElementType::EmbeddedDocument, twice);
    let filter = Outline::default().spans(0).iter().find_map(|span| match span {
        Span::Range { bracket: Bracket::Document, .. } => span.filter(Some(&twice)).ok(),
        _ => None,
    });
    let condition = elements([("$gt", &twice)]).expect("a document");
    assert_eq!(filter, Some(rawdoc! {"_id": condition}));
}

#[test]
fn a_lowest_value_is_a_value() {
    let spans = Outline { bounds: Vec::new(), rare: true }.spans(0);
    assert_eq!(spans.len(), Bracket::ALL.len() + 1, "dates are two");
    for span in spans {
        let ends = match span {
            Span::Only(id) => vec![id],
            Span::Range { bracket, from, below } => {
                let ends: Vec<Id> = from.into_iter().chain(below).collect();
                assert!(!ends.is_empty() && ends.iter().all(|end| Bracket::of(end) == Some(bracket)), "{bracket:?}");
                ends
            }
        };
        for end in ends {
            let document = elements([("_id", &end)]).expect("a document");
            Document::try_from(&*document).expect("sound");
        }
    }
}

#[test]
fn bounds_are_of_the_largest_bracket_and_short() {
    let sample: Vec<Id> = (0..10).map(id).chain((0..80).map(|n| id(format!("{n:02}")))).collect();
    assert_eq!(bounds(&sample, 4), [id("20"), id("40"), id("60")]);
    assert_eq!(bounds(&sample, 1), []);
    assert_eq!(bounds(&[], 4), []);
    assert_eq!(bounds(&[id("a"), id("a")], 9), [id("a")]);
    assert_eq!(bounds(&[id(Bson::Null)], 2), []);
    let long = id("x".repeat(2_000));
    assert_eq!(bounds(&[id(5), long.clone(), long], 2), [id(5)]);
}

#[test]
fn what_was_not_written_is_not_read() {
    let refused = |facts: &str, of: u32| spans(facts, Segment { number: 0, of }).expect_err(facts);
    let mixed = format!(r#"{{"bounds":["{}","{}"],"rare":false}}"#, id(1).to_text(), id("a").to_text());
    let list = format!(r#"{{"bounds":["{}"],"rare":false}}"#, id(vec![1]).to_text());
    for facts in ["", "{}", r#"{"bounds":[1],"rare":false}"#, r#"{"bounds":["AA=="],"rare":false}"#, &mixed, &list] {
        assert!(refused(facts, 9).contains("begin the scan anew"), "{facts}");
    }
    let three = Outline { bounds: vec![id(1), id(2)], rare: false }.to_text();
    assert!(refused(&three, 2).contains("divided into 3 segments"));
    let spans = |number| spans(&three, Segment { number, of: 5 }).expect("spans").len();
    assert_eq!((spans(1), spans(2), spans(3), spans(4)), (1, 1, 0, 0));
    assert!(spans(0) > 9);
    for place in
        ["", "5", r#"{"span":0}"#, r#"{"span":-1,"after":null,"size":0}"#, r#"{"span":0,"after":"AA==","size":0}"#]
    {
        assert_eq!(Place::parse(place), None, "{place}");
    }
    // A text without its end, with bytes behind it, and no base64.
    for text in ["AgIAAABh", "AgIAAABhAAA=", "?"] {
        assert_eq!(Id::parse(text), None, "{text}");
    }
}

#[test]
fn a_page_is_of_about_equal_size() {
    let spans = Outline::default().spans(0);
    let numbers =
        spans.iter().find(|span| matches!(span, Span::Range { bracket: Bracket::Number, .. })).expect("numbers");
    let after =
        |bytes| Place::default().behind(numbers, &[Some(id(1)), Some(id(2))], bytes).expect("a place").documents();
    assert_eq!(Place::default().documents(), 100);
    assert_eq!((after(200), after(20_000), after(20_000_000)), (1_000, 400, 1));
}

#[test]
fn what_nothing_is_behind_of_is_passed_by_what_is_next_to_it() {
    let spans = Outline::default().spans(0);
    let numbers =
        spans.iter().find(|span| matches!(span, Span::Range { bracket: Bracket::Number, .. })).expect("numbers");
    let list = || Some(id(vec![1]));
    let regex = || Some(id(Regex { pattern: cstr!("a").to_owned(), options: cstr!("").to_owned() }));
    let behind = |ids: &[Option<Id>]| Place::default().behind(numbers, ids, 9);
    assert_eq!(behind(&[Some(id(1)), Some(id(2)), list(), None]).and_then(|place| place.after), Some(id(2)));
    assert_eq!(behind(&[list(), None, regex(), Some(id("a")), Some(id(f64::NAN))]), None);
}

#[test]
fn the_time_of_a_version_is_read_back() {
    let mark = |time, increment| {
        let time = ClusterTime::new(time, increment).expect("in range");
        time.version(&space("rs0", "shop", "orders"), "", time.at()).mark()
    };
    let time = Timestamp { time: 1_550_582_659, increment: u32::MAX };
    assert_eq!(since(&mark(time.time, time.increment)), Some(time));
    assert_eq!(since(&mark(1, 1)), Some(Timestamp { time: 1, increment: 1 }));
    assert_eq!(since(&mark(1, 0)), None);
}

#[test]
fn a_cluster_is_called_by_its_hosts_in_their_order() {
    let config = |uri: &str| MongoDbSourceConfig { uri: Secret::new(uri), ca_file: None };
    let of = |uri: &str| MongoDbSource::new(config(uri), FromUri).expect("valid");
    assert_eq!(of("mongodb://user:pass@b.example:1,a.example/d").cluster(), "a.example:27017,b.example:1");
    assert_eq!(of("mongodb://b,a/").of_cluster("rs0").cluster(), "rs0");
    let endpoint = "mongodb://shop.cluster-c1a2b3.us-east-1.docdb.amazonaws.com:27017/?replicaSet=rs0";
    let arn = "arn:aws:rds:us-east-1:123456789012:cluster:shop";
    assert_eq!(of(endpoint).cluster(), "shop.us-east-1");
    assert_eq!(of("mongodb://b,a/").of_cluster(arn).cluster(), of(endpoint).cluster(), "as change events say");
}
