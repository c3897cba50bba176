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
        (json!({"split": {"field": "m", "separator": ","}}), "a map is no text"),
        (json!({"default": {"a.b": 1}}), "a text stands where a map is needed"),
    ] {
        let told = made(json!([step]), item.clone()).expect_err(words);
        assert!(told.starts_with("transform_failed") && told.contains(words), "{told}");
    }
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
