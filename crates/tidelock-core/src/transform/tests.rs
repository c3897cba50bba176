//! Steps on items as DynamoDB writes them.

use super::*;
use crate::encode::{Format, JsonSink};
use crate::image::{Image, Notation};
use crate::pipeline::{Pipeline, Problem};
use crate::source::dynamodb::transformed;
use serde_json::{Value as Json, json};

fn transform(steps: &Json) -> Result<Transform, Vec<String>> {
    let text = json!({"version": 1, "routes": [{"from": "t", "transform": steps}]}).to_string();
    let problems = |problems: Vec<Problem>| {
        problems.iter().map(|problem| problem.message().replace("routes[0].", "")).collect::<Vec<_>>()
    };
    let pipeline = Pipeline::parse(&text).map_err(problems)?;
    Ok(pipeline.rules("t", 0).transform(&Image { notation: Notation::DynamoDb, bytes: b"{}" }).expect("steps").clone())
}

/// The document that the steps make of an item.
fn made(steps: Json, item: Json) -> Result<Json, String> {
    let transform = transform(&steps).expect("steps");
    let text = item.to_string();
    let document = transformed(text.as_bytes(), &transform, Format::Json, false, JsonSink::default());
    let mut document = document.map_err(|failure| failure.to_string())?;
    document.push(b'}');
    Ok(serde_json::from_slice(&document).expect("JSON"))
}

#[test]
fn the_replicators_steps() {
    let steps = json!([{"default": {"age": null}}, {"convert": {"field": "created_at", "from": "epoch_seconds", "to": "date"}}]);
    let item = json!({"id": {"N": "1"}, "Name": {"S": "John"}, "created_at": {"N": "1588166528"}});
    assert_eq!(
        made(steps, item),
        Ok(json!({"id": 1, "Name": "John", "age": null, "created_at": "2020-04-29T13:22:08.000Z"}))
    );
}

#[test]
fn each_step_does_what_it_says() {
    let item = json!({
        "a": {"S": "x"}, "b": {"N": "2"}, "m": {"M": {"c": {"S": "y"}, "d": {"M": {"e": {"N": "3"}}}}},
        "l": {"L": [{"M": {"p": {"N": "1.50"}, "q": {"S": "no"}}}, {"M": {"p": {"N": "2"}}}]}, "t": {"S": "1,2"}, "z": {"NULL": true},
    });
    let whole = json!({"a": "x", "b": 2, "m": {"c": "y", "d": {"e": 3}}, "l": [{"p": 1.50, "q": "no"}, {"p": 2}], "t": "1,2", "z": null});
    let changed = |changes: Json| {
        let mut expected = whole.clone();
        for (name, value) in changes.as_object().expect("an object") {
            match value {
                Json::String(text) if text == "GONE" => drop(expected.as_object_mut().expect("an object").remove(name)),
                value => expected[name] = value.clone(),
            }
        }
        expected
    };
    for (step, changes) in [
        (
            json!({"default": {"a": 1, "n": {"x": []}, "m.f": true}}),
            json!({"n": {"x": []}, "m": {"c": "y", "d": {"e": 3}, "f": true}}),
        ),
        (json!({"convert": {"field": "l[].p", "to": "text"}}), json!({"l": [{"p": "1.5", "q": "no"}, {"p": "2"}]})),
        (
            json!({"convert": {"field": "nothing", "to": "text", "on_missing": "default", "default": "-"}}),
            json!({"nothing": "-"}),
        ),
        (json!({"convert": {"field": "a", "to": "long", "on_wrong_type": "default"}}), json!({"a": null})),
        (json!({"rename": {"a": "b", "b": "a"}}), json!({"a": 2, "b": "x"})),
        (json!({"rename": {"m.d.e": "e"}}), json!({"m": {"c": "y", "d": {}}, "e": 3})),
        (json!({"copy": {"a": "m.a"}}), json!({"m": {"c": "y", "d": {"e": 3}, "a": "x"}})),
        (
            json!({"keep": ["a", "m.d", "l[].p"]}),
            json!({"b": "GONE", "t": "GONE", "z": "GONE", "m": {"d": {"e": 3}}, "l": [{"p": 1.50}, {"p": 2}]}),
        ),
        (
            json!({"drop": ["a", "m.c", "l[].q", "nothing"]}),
            json!({"a": "GONE", "m": {"d": {"e": 3}}, "l": [{"p": 1.50}, {"p": 2}]}),
        ),
        (json!({"flatten": {"field": "m"}}), json!({"m": "GONE", "m_c": "y", "m_d_e": 3})),
        (
            json!({"nest": {"fields": ["a", "b"], "into": "n"}}),
            json!({"a": "GONE", "b": "GONE", "n": {"a": "x", "b": 2}}),
        ),
        (json!({"split": {"field": "t", "separator": ","}}), json!({"t": ["1", "2"]})),
        (json!({"join": {"fields": ["a", "b", "z"], "separator": "-", "to": "j"}}), json!({"j": "x-2"})),
        (json!({"mask": {"field": "t", "keep_last": 1}}), json!({"t": "**2"})),
    ] {
        assert_eq!(made(json!([step]), item.clone()), Ok(changed(changes)), "{step}");
    }
}

#[test]
fn what_cannot_be_done_parks_the_record_and_says_where() {
    let item = json!({"a": {"S": "x"}, "m": {"M": {"c": {"BOOL": true}}}, "m_c": {"S": "there"}});
    for (step, words) in [
        (json!({"convert": {"field": "a", "to": "long"}}), "transform[0] (convert), field `a`: `x` is no number"),
        (json!({"convert": {"field": "b", "to": "long", "on_missing": "park"}}), "field `b`: the field is missing"),
        (json!({"flatten": {"field": "m"}}), "field `m_c`: the item has such a field already"),
        (json!({"rename": {"a": "m_c"}}), "field `m_c`: the item has such a field already"),
        (json!({"rename": {"a": "x", "m.c": "m_c"}}), "field `m_c`: the item has such a field already"),
        (json!({"copy": {"a": "m.c"}}), "field `m.c`: the item has such a field already"),
        (json!({"split": {"field": "m", "separator": ","}}), "a map is no text"),
        (json!({"default": {"a.b": 1}}), "a text stands where a map is needed"),
    ] {
        let told = made(json!([step]), item.clone()).expect_err(words);
        assert!(told.starts_with("transform_failed") && told.contains(words), "{told}");
    }
    let item = json!({"c": {"S": "x"}, "m": {"M": {"c": {"S": "y"}}}});
    let told = made(json!([{"nest": {"fields": ["c"], "into": "m"}}]), item).expect_err("it is there");
    assert!(told.contains("field `m.c`: the item has such a field already"), "{told}");
}

#[test]
fn steps_that_make_no_sense_are_refused_at_once() {
    let steps = json!([
        {"convert": {"field": "a[", "to": "text"}}, {"drop": ["a"], "keep": ["b"]}, {}, {"copy": {"a": "b", "b.c": "a"}},
        {"rename": {"l[].a": "b"}},
    ]);
    let problems = transform(&steps).expect_err("problems");
    assert_eq!(problems.len(), 5, "{problems:?}");
    assert!(problems[0].starts_with("transform[0].convert.field: `a[`"), "{problems:?}");
    assert!(transform(&json!([{"convrt": {}}])).expect_err("unknown")[0].contains("convrt"));
}

#[test]
fn numbers_and_untouched_fields_keep_every_digit() {
    let digits = "12345678901234567890123456789012345678";
    let transform = transform(&json!([{"rename": {"a": "b"}}])).expect("steps");
    let item = format!(r#"{{"a":{{"N":"{digits}"}},"c":{{"N":"{digits}"}},"d":{{"S":"\u00fc\n"}}}}"#);
    let document =
        transformed(item.as_bytes(), &transform, Format::Json, false, JsonSink::default()).expect("a document");
    let text = String::from_utf8(document).expect("UTF-8");
    assert_eq!(text, format!(r#"{{"c":{digits},"d":"\u00fc\n","b":{digits}"#));
}

#[test]
fn set_makes_fields_of_the_item_as_it_was() {
    let item = json!({
        "first": {"S": "Ada"}, "last": {"S": "Lovelace"}, "n": {"N": "12345678901234567890123456789012345678"},
        "address": {"M": {"zip": {"N": "1010"}}}, "other": {"S": "x"},
    });
    let set = json!([{"set": {
        "full": ".first + \" \" + .last", "address.zip": ".address.zip | tostring", "first": ".last", "last": ".first", "n": ".n + 1",
        "gone": ".nothing | select(. != null)",
    }}]);
    let expected = json!({
        "first": "Lovelace", "last": "Ada", "n": 12345678901234567890123456789012345679_f64, "address": {"zip": "1010"},
        "other": "x", "full": "Ada Lovelace",
    });
    assert_eq!(made(set.clone(), item.clone()), Ok(expected));
    // What it does not name goes straight into the document.
    let names = |steps: &Json| transform(steps).expect("steps").touch(b"other") == Touch::Untouched;
    assert!(names(&set) && !names(&json!([{"set": {"all": ". | tojson"}}])));
}

#[test]
fn set_parks_what_an_expression_cannot_do() {
    let item = json!({"a": {"S": "x"}});
    let told = made(json!([{"drop": ["b"]}, {"set": {"c.d": ".a + 1"}}]), item.clone()).expect_err("parked");
    assert!(told.contains("transform[1] (set), field `c.d`: a text and a number cannot be added"), "{told}");
    let told = made(json!([{"set": {"a.b": "1"}}]), item.clone()).expect_err("parked");
    assert!(told.contains("field `a.b`: a text stands where a map is needed"), "{told}");
    let with = |missing| {
        let route = json!({"from": "t", "on_missing": missing, "transform": [{"set": {"c": "empty"}}]});
        let pipeline = Pipeline::parse(&json!({"version": 1, "routes": [route]}).to_string()).expect("a pipeline");
        let rules = pipeline.rules("t", 0);
        let transform = rules.transform(&Image { notation: Notation::DynamoDb, bytes: b"{}" }).expect("steps");
        let text = item.to_string();
        transformed(text.as_bytes(), transform, Format::Json, false, JsonSink::default())
            .map(|document| String::from_utf8(document).expect("UTF-8"))
            .map_err(|failure| failure.to_string())
    };
    assert_eq!(with("skip").as_deref(), Ok(r#"{"a":"x""#));
    assert_eq!(with("default").as_deref(), Ok(r#"{"a":"x","c":null"#));
    assert!(with("park").expect_err("parked").contains("field `c`: the expression gives nothing"));
    let problems = transform(&json!([{"set": {"a": ".b |"}}, {"set": {"a[]": "1"}}, {"set": {"b": "lenght"}}]))
        .expect_err("problems");
    assert!(problems[0].starts_with("transform[0].set.a: expected a path"), "{problems:?}");
    assert!(problems[1].contains("many places"), "{problems:?}");
    assert!(problems[2].contains("is `length` meant"), "{problems:?}");
}

#[test]
fn hashes_are_keyed_and_told_from_nothing() {
    let item = json!({"a": {"S": "what do ya want for nothing?"}, "n": {"N": "1.0"}, "m": {"N": "1"}, "z": {"NULL": true}, "l": {"L": []}});
    let mut transform = transform(&json!([{"hash": {"field": ["a", "n", "m", "z", "no"]}}])).expect("steps");
    let run = |transform: &Transform| {
        let text = item.to_string();
        let made = transformed(text.as_bytes(), transform, Format::Json, false, JsonSink::default());
        made.map(|mut made| {
            made.push(b'}');
            serde_json::from_slice::<Json>(&made).expect("JSON")
        })
    };
    let told = run(&transform).expect_err("no key").to_string();
    assert!(told.contains("transform[0] (hash), field `a`: there is no key: set TIDELOCK_HASH_SECRET"), "{told}");
    transform.set_hash_key(b"Jefe");
    let made = run(&transform).expect("a document");
    // RFC 4231, test case 2.
    assert_eq!(made["a"], "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_eq!((&made["n"], &made["z"], &made["l"]), (&made["m"], &Json::Null, &json!([])));
    assert!(!format!("{transform:?}").contains("Jefe"));
    let told = made_with_list();
    assert!(told.contains("a list cannot be hashed"), "{told}");
}

fn made_with_list() -> String {
    made(json!([{"hash": {"field": "l"}}]), json!({"l": {"L": []}})).expect_err("parked")
}

#[test]
fn a_wrong_type_gives_null_where_the_route_says_default() {
    let item = json!({"a": {"S": "x"}, "m": {"M": {}}}).to_string();
    let made = |step: Json| {
        let route = json!({"from": "t", "on_wrong_type": "default", "transform": [step]});
        let pipeline = Pipeline::parse(&json!({"version": 1, "routes": [route]}).to_string()).expect("a pipeline");
        let rules = pipeline.rules("t", 0);
        let transform = rules.transform(&Image { notation: Notation::DynamoDb, bytes: b"{}" }).expect("steps");
        let made = transformed(item.as_bytes(), transform, Format::Json, false, JsonSink::default()).expect("made");
        serde_json::from_slice::<Json>(&[made.as_slice(), b"}"].concat()).expect("JSON")
    };
    let join = made(json!({"join": {"fields": ["m", "a"], "separator": "-", "to": "j"}}));
    assert_eq!(join, json!({"a": "x", "m": {}, "j": null}));
    let split = made(json!({"split": {"field": "m", "separator": "-", "to": "s"}}));
    assert_eq!(split, json!({"a": "x", "m": {}, "s": null}));
}

#[test]
fn what_is_dropped_first_is_gone_at_once_and_nothing_else() {
    let item = json!({"a": {"S": "x"}, "m": {"M": {"b": {"N": "1"}}}});
    for (steps, dropped, expected) in [
        (json!([{"drop": ["a"]}, {"default": {"a": 1}}]), ["a"].as_slice(), json!({"a": 1, "m": {"b": 1}})),
        (json!([{"drop": ["m.b", "m"]}]), &["m"], json!({"a": "x"})),
        (json!([{"copy": {"a": "c"}}, {"drop": ["a"]}]), &[], json!({"c": "x", "m": {"b": 1}})),
        (json!([{"set": {"c": ".m.b"}}, {"drop": ["m", "a"]}]), &["a"], json!({"c": 1})),
        (json!([{"drop": ["m.b"]}]), &[], json!({"a": "x", "m": {}})),
        (json!([{"flatten": {"field": "m"}}, {"drop": ["a"]}]), &[], json!({"m_b": 1})),
    ] {
        let transform = transform(&steps).expect("steps");
        let gone = ["a", "m", "c"].into_iter().filter(|name| transform.touch(name.as_bytes()) == Touch::Dropped);
        assert_eq!(gone.collect::<Vec<_>>(), dropped, "{steps}");
        assert_eq!(made(steps.clone(), item.clone()), Ok(expected), "{steps}");
    }
}
