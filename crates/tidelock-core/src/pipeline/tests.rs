//! Routes: what they match, and where they lead.

use super::*;
use crate::image::{Image, Notation};
use crate::key::{Key, KeyKind, push_part};
use crate::target::ShardValue;

#[test]
fn patterns() {
    for (pattern, name, expected) in [
        ("orders", "orders", true),
        ("orders", "order", false),
        ("*", "", true),
        ("o*s", "orders", true),
        ("o*s*", "orders", true),
        ("o?ders", "orders", true),
        ("?", "", false),
        ("*a*b", "xxaxxab", true),
        ("*a*b", "xxaxxabc", false),
    ] {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
    }
}

fn to(name: &str, literal: bool) -> Routed {
    Routed::To(Place::new(name.to_owned(), literal))
}

fn same(pipeline: &Pipeline, name: &str) -> Routed {
    match pipeline.rules(name, 0) {
        Rules::Same(routed, ..) => routed,
        Rules::ByItem(rules) => panic!("{rules:?}"),
    }
}

fn located(rules: &Rules<'_>, item: &str) -> Routed {
    rules.locate(&Image { notation: crate::image::Notation::DynamoDb, bytes: item.as_bytes() }, Key::from_bytes(b""))
}

#[test]
fn first_match_wins_and_the_rest_is_filtered_or_refused() {
    let text = "version: 1\nroutes:\n  - {name: o, from: 'orders-*', to: orders}\n  - {from: customers}\n";
    let pipeline = Pipeline::parse(text).expect("valid");
    assert_eq!(same(&pipeline, "orders-eu"), to("orders", false));
    assert_eq!(same(&pipeline, "customers"), to("customers", true));
    assert_eq!(same(&pipeline, "other"), Routed::Filtered);
    let strict = Pipeline::parse(&format!("unmatched: error\n{text}")).expect("valid");
    assert!(matches!(same(&strict, "other"), Routed::Refused(_)));
    assert_eq!(same(&Pipeline::default(), "other"), to("other", true));
}

#[test]
fn where_and_fields_decide_item_by_item() {
    let text = r#"
version: 1
routes:
  - {from: orders, where: .status == "paid", to: "paid-{country}"}
  - {from: orders, where: .status == "new"}
  - {from: customers, to: people, shard_key: [country, address.zip]}
"#;
    let pipeline = Pipeline::parse(text).expect("valid");
    let orders = pipeline.rules("orders", 0);
    assert_eq!(located(&orders, r#"{"status":{"S":"paid"},"country":{"S":"at"}}"#), to("paid-at", true));
    assert_eq!(located(&orders, r#"{"status":{"S":"new"}}"#), to("orders", true));
    assert_eq!(located(&orders, "{}"), Routed::Filtered);
    assert!(
        matches!(located(&orders, r#"{"status":{"S":"paid"}}"#), Routed::Refused(failure) if failure.cause == Cause::Unroutable)
    );
    assert_eq!(located(&orders, r#"{"status":{"S":"paid"},"country":{"S":"at"}}"#), to("paid-at", true));
    let customers = pipeline.rules("customers", 0);
    let item = r#"{"country":{"S":"at"},"address":{"M":{"zip":{"N":"1010"}}}}"#;
    let mut place = Place::new("people".to_owned(), false);
    place.shard_key = vec![
        ("country".to_owned(), ShardValue::Text("at".to_owned())),
        ("address.zip".to_owned(), ShardValue::Number("1010".to_owned())),
    ];
    assert_eq!(located(&customers, item), Routed::To(place));
    assert!(matches!(located(&customers, r#"{"country":{"L":[]}}"#), Routed::Refused(_)));
}

#[test]
fn places_are_known_only_where_no_field_makes_them() {
    let places = |routes: &str| {
        let pipeline = Pipeline::parse(&format!("version: 1\nroutes: [{routes}]")).expect(routes);
        match pipeline.rules("t", 0) {
            Rules::ByItem(rules) => {
                rules.places(Key::from_bytes(b"")).map(|places| places.iter().map(|place| place.name.clone()).collect())
            }
            Rules::Same(routed, ..) => panic!("{routed:?}"),
        }
    };
    let names = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
    assert_eq!(places("{from: t, where: .a, to: x}, {from: t, where: .b}"), names(&["x", "t"]));
    assert_eq!(places("{from: t, where: .a, to: x}, {from: '*', to: x}"), names(&["x"]));
    assert_eq!(places("{from: t, to: 'x-{a}'}"), None);
    assert_eq!(places("{from: t, to: x, shard_key: [a]}"), None);
    // Behind a route that takes every item there is none.
    assert_eq!(places("{from: t, where: .a, to: x}, {from: '*', to: y}"), names(&["x", "y"]));
}

#[test]
fn a_route_says_what_becomes_of_what_cannot_be_applied() {
    let text = r#"
version: 1
routes:
  - {from: orders, where: .status == "paid", to: paid, on_outage: hold, on_conflict: salvage}
  - {from: orders, to: rest}
  - {from: far, on_outage: always_hold}
"#;
    let pipeline = Pipeline::parse(text).expect("valid");
    let image = |bytes: &'static str| Image { notation: crate::image::Notation::DynamoDb, bytes: bytes.as_bytes() };
    let outage = |name, images: &[&'static str]| {
        pipeline.rules(name, 0).policy(images.iter().map(|i| image(i)), Policy::default()).on_outage
    };
    let (paid, new) = (r#"{"status":{"S":"paid"}}"#, r#"{"status":{"S":"new"}}"#);
    assert_eq!(pipeline.rules("orders", 0).policy([image(paid)], Policy::default()).on_conflict, OnConflict::Salvage);
    assert_eq!(outage("orders", &[paid]), OnOutage::Hold);
    assert_eq!(outage("orders", &[new, paid]), OnOutage::Retry, "the new image's route");
    assert_eq!(outage("orders", &[]), OnOutage::Retry, "nobody knows which");
    assert_eq!(outage("far", &[]), OnOutage::AlwaysHold);
    assert_eq!(outage("unknown", &[paid]), OnOutage::Retry);
    assert!(pipeline.has(|policy| policy.on_outage == OnOutage::AlwaysHold));
    assert!(!Pipeline::default().has(|policy| policy.on_outage != OnOutage::Retry));
}

#[test]
fn says_all_that_is_wrong() {
    let problems = |text: &str| -> Vec<String> {
        Pipeline::parse(text).expect_err("invalid").iter().map(ToString::to_string).collect()
    };
    let found = problems("version: 2\nroutes: [{from: '*'}, {from: a, to: ''}]");
    assert_eq!(found.len(), 3, "{found:?}");
    let found = problems("version: 1\nroutes: [{from: a, to: '{x', where: .a =, shard_key: [b, b, '$c']}]");
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found[1].starts_with("2:40: routes[0].where: expected `and`"), "{found:?}");
    let found = problems("version: 1\nroutes: [{form: a}]");
    assert_eq!(found, ["2:11: routes[0].form: a route has no such field; did you mean `from`?"]);
}

#[test]
fn says_what_is_wrong_with_what_routes_do() {
    for (routes, words) in [
        ("{from: a, id: all}", "routes[0].id: `all` has no {field}"),
        ("{from: a, routing: '{'}", "routes[0].routing: a `{` without its `}`"),
        ("{from: a, ingest_pipeline: ''}", "routes[0].ingest_pipeline: must not be empty"),
        ("{from: a, write: merge}", "routes[0].write: merge needs `preserve`"),
        ("{from: a, preserve: [b]}", "routes[0].preserve: is for `write: merge` alone"),
        ("{from: a, write: merge, preserve: [a.b]}", "routes[0].preserve[0]: `a.b` is no field at the top"),
        ("{from: a, soft: {flag: b}}", "routes[0].soft: is for `deletes: soft` alone"),
        ("{from: a, deletes: soft, soft: {flag: _id}}", "routes[0].soft.flag: `_id` is no field"),
        ("{from: a, deletes: soft, soft: {flag: b, at: b}}", "routes[0].soft.at: `b` is the flag already"),
        (
            "{from: a, write: merge, preserve: [d], deletes: soft, soft: {flag: d}}",
            "routes[0].preserve[0]: `d` says that a document is deleted",
        ),
        ("{from: a, long_id: cut}", "routes[0].long_id: expected `park` or `hash`"),
        ("{from: a, also: [b]}", "routes[0].also[0]: there is no route with the name `b`"),
        ("{name: b, from: a, also: [b]}", "routes[0].also[0]: a route cannot name itself"),
        ("{from: a, also: [b, b]}, {name: b, to: x}", "routes[0].also[1]: `b` is there twice"),
        (
            "{from: a, also: [b]}, {name: b, to: x, also: [c]}, {name: c, to: y}",
            "routes[0].also[0]: `b` has an `also` itself",
        ),
        ("{from: a, to: x, also: [b]}, {name: b, to: x}", "routes[0].also[0]: `b` leads to the same documents"),
        ("{from: a, also: [b]}, {name: b}", "routes[1].to: is missing"),
        ("{from: a}, {name: b, to: x}", "routes[1].from: is missing, and no `also` names the route"),
        ("{from: a}, {name: b, from: a, to: x}", "leave `from` out if only `also` is to lead here"),
    ] {
        let found = Pipeline::parse(&format!("version: 1\nroutes: [{routes}]")).expect_err(routes);
        assert!(found.len() == 1 && found[0].message().contains(words), "{routes}: {found:?}");
    }
}

#[test]
fn ids_that_are_one_text_are_one_place_where_ids_are_texts() {
    let pipeline = Pipeline::parse("version: 1\nroutes: [{from: t, to: x, id: '{kind}|{k}'}]").expect("a pipeline");
    let mut key = Vec::new();
    push_part(&mut key, "k", KeyKind::Text, b"a");
    let place = |pipeline: &Pipeline, item: &str| {
        let image = Image { notation: Notation::DynamoDb, bytes: item.as_bytes() };
        match pipeline.rules("t", 0).locate(&image, Key::from_bytes(&key)) {
            Routed::To(place) => place,
            other => panic!("{other:?}"),
        }
    };
    let items = [r#"{"kind":{"N":"1"}}"#, r#"{"kind":{"S":"1"}}"#];
    let single = pipeline.clone().within(Namespaces::Single);
    assert_eq!(place(&single, items[0]), place(&single, items[1]));
    assert_eq!(place(&single, items[0]).key(Key::from_bytes(&key)).text_id(), "1|a");
    // MongoDB tells them apart.
    let databases = pipeline.within(Namespaces::Databases(None));
    assert_ne!(place(&databases, items[0]), place(&databases, items[1]));
}

#[test]
fn routes_of_one_source_have_one_order() {
    let file = |routes: &str| format!("version: 1\nroutes:\n{routes}");
    let told = |routes: &str| {
        let problems = Pipeline::parse(&file(routes)).expect_err("refused");
        problems.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let counted = "version: {field: n}";
    for (routes, words) in [
        (
            format!("  - {{from: a, where: .x, {counted}}}\n  - {{from: a}}\n"),
            "routes[1].from: `version`, which is left out, differs from that of routes[0] (line 3)",
        ),
        (
            format!("  - {{from: 'a*b', where: .x}}\n  - {{from: '*c?b', {counted}}}\n"),
            "routes[1].version: differs from that of routes[0] (line 3)",
        ),
        (
            format!("  - {{from: a, also: [x]}}\n  - {{name: x, to: y, {counted}}}\n"),
            "routes[1].version: is for routes with a `from`",
        ),
        ("  - {from: a, version: {field: a..b}}\n".to_owned(), "routes[0].version.field: `a..b` is no field"),
        (
            format!("  - {{from: a, to: 'x-{{y}}', locate: state, {counted}}}\n"),
            "routes[0].locate: state cannot be used with `version: {field}`",
        ),
        (
            format!("  - {{from: a, also: [x], {counted}}}\n  - {{name: x, to: 'x-{{y}}', locate: state}}\n"),
            "routes[0].also: a route that it leads to has `locate: state`",
        ),
        ("  - {from: a, version: atuo}\n".to_owned(), "routes[0].version: expected `auto`, found `atuo`"),
        ("  - {from: a, version: {felid: x}}\n".to_owned(), "felid"),
    ] {
        let told = told(&routes);
        assert!(told.iter().any(|problem| problem.contains(words)), "{routes}: {told:?}");
    }
    let fine = format!("  - {{from: 'a*', where: .x, {counted}}}\n  - {{from: b}}\n  - {{from: 'a?', {counted}}}\n");
    let pipeline = Pipeline::parse(&file(&fine)).expect("a pipeline");
    assert_eq!(pipeline.version_field("a1"), Some(&["n".to_owned()][..]));
    assert!(pipeline.counts() && pipeline.version_field("b").is_none());
    assert!(!Pipeline::parse(&file("  - {from: a, version: auto}\n")).expect("a pipeline").counts());
}

#[test]
fn sources_that_hold_hold_what_no_route_says() {
    let text = "version: 1\nroutes: [{from: a}, {from: b, on_outage: retry}, {from: c, on_outage: always_hold}]";
    let pipeline = Pipeline::parse(text).expect("a pipeline").holding();
    let outage = |name| pipeline.rules(name, 0).policy([], pipeline.default_policy()).on_outage;
    assert_eq!([outage("a"), outage("b"), outage("c")], [OnOutage::Hold, OnOutage::Retry, OnOutage::AlwaysHold]);
    let none = Pipeline::default().holding();
    assert_eq!(none.rules("a", 0).policy([], none.default_policy()).on_outage, OnOutage::Hold);
    assert!(none.has(|policy| policy.on_outage == OnOutage::Hold));
    let own = Pipeline::parse("version: 1\nroutes: [{from: b, on_outage: retry}]").expect("a pipeline").holding();
    assert!(!own.has(|policy| policy.on_outage != OnOutage::Retry));
}
