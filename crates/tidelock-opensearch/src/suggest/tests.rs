use super::*;
use serde_json::{Value, json};
use tidelock_core::pipeline::Pipeline;

fn observed(documents: &[Value]) -> Observed {
    let mut observed = Observed::new("orders", None);
    let binary = BTreeSet::from(["bytes".to_owned()]);
    for (number, document) in documents.iter().enumerate() {
        let (at, id) = (format!("f {}", number + 1), format!("k{}", number + 1));
        observed.take(document.to_string().as_bytes(), &at, &id, &binary).expect("JSON");
    }
    observed
}

#[test]
fn a_mapping_is_proposed() {
    let observed = observed(&[
        json!({
            "id": "a1", "name": "John Doe", "n": 5, "price": 1.25, "at": "2026-01-02T03:04:05Z", "day": "2026-01-02",
            "ok": true, "bytes": "AAE=", "tags": ["x", "y"], "rows": [{"sku": "a", "count": 1}, {"sku": "b", "gift": null}],
            "address": {"zip": "1010", "geo": {"lat": 48.2, "lon": 16.3}}, "year": "2026", "mixed": 1, "when": "2026-01-02",
            "nothing": [], "odd name": "x", "yes": 1, "either": {"a": 1}, "empty": {}, "a.b": 1,
        }),
        json!({"id": "a2", "name": "x", "price": 2, "mixed": "y", "when": "soon", "either": "text", "a": {"c": 2}}),
    ]);
    let text = section([&observed]);
    assert_eq!(
        text,
        r#"indexes:
  orders:  # from 2 documents
    mappings:
      date_detection: false
      properties:
        a:
          properties:
            b: {type: long}
            c: {type: long}
        address:
          properties:
            geo:
              properties:
                lat: {type: double}  # {type: scaled_float, scaling_factor: 10} is smaller, where there are never more than 1 digits behind the point
                lon: {type: double}  # {type: scaled_float, scaling_factor: 10} is smaller, where there are never more than 1 digits behind the point
            zip: {type: keyword, ignore_above: 8191}
        at: {type: date}
        bytes: {type: binary}  # base64; not searched
        day: {type: date}
        either: {type: object, enabled: false}  # an object here, a value there: kept, not searched
        empty:
          properties: {}
        id: {type: keyword, ignore_above: 8191}
        mixed: {type: keyword, ignore_above: 8191}  # long and text in the samples
        "n": {type: long}
        name: {type: text, fields: {keyword: {type: keyword, ignore_above: 256}}}
        # nothing: null or empty wherever it was seen
        "odd name": {type: keyword, ignore_above: 8191}
        ok: {type: boolean}
        price: {type: double}  # {type: scaled_float, scaling_factor: 100} is smaller, where there are never more than 2 digits behind the point
        rows:  # entries of a list: add `type: nested` where fields of one entry must match together
          properties:
            count: {type: long}
            # gift: null or empty wherever it was seen
            sku: {type: keyword, ignore_above: 8191}
        tags: {type: keyword, ignore_above: 8191}
        when: {type: keyword, ignore_above: 8191}
        year: {type: keyword, ignore_above: 8191}
        "yes": {type: long}
"#
    );
    let pipeline =
        Pipeline::parse(&format!("version: 1\nroutes: [{{from: t}}]\n{text}")).expect("it can be pasted as it is");
    let mappings = &pipeline.indexes().of("orders").expect("an index").mappings;
    assert_eq!(mappings["properties"]["yes"], json!({"type": "long"}));
    assert_eq!(mappings["date_detection"], json!(false));
}

#[test]
fn numbers_that_no_double_keeps_stay_whole() {
    let mut observed = Observed::new("x", None);
    for (name, number) in [
        ("beyond", "9223372036854775808"),
        ("long", "1234567890123456"),
        ("fits", "123456789012345"),
        ("fine", "0.1234567890123456"),
        ("big", "-1E+40"),
    ] {
        observed.take(format!("{{\"{name}\":{number}}}").as_bytes(), "f 1", "k", &BTreeSet::new()).expect("JSON");
    }
    let text = section([&observed]);
    for line in [
        "beyond: {type: keyword, ignore_above: 8191}  # 9223372036854775808 has more digits than a double keeps",
        "long: {type: keyword, ignore_above: 8191}  # 1234567890123456 has more",
        "fits: {type: long}\n",
        "fine: {type: keyword, ignore_above: 8191}  # 0.1234567890123456 has more",
        "big: {type: double}\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let conflicts = observed.conflicts();
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    assert_eq!(conflicts[0].what, "an integer beyond a long, which is refused");
}

#[test]
fn conflicts_name_both_examples_and_the_way_out() {
    let conflicts: Vec<(String, Conflict)> = observed(&[
        json!({"o": 1, "n": 5, "d": "2026-01-02", "b": true, "t": 1, "x": {"y": 1}, "": 1, "s": "a", "c.d": 1}),
        json!({"o": {"a": 1}, "n": 5.5, "d": "none", "b": "yes", "t": "a", "x.y": "z", "a..b": 1, "c": "v"}),
    ])
    .conflicts()
    .into_iter()
    .map(|conflict| ("orders".to_owned(), conflict))
    .collect();
    let rows: Vec<Vec<String>> = table(&conflicts)
        .lines()
        .map(|line| line.split("  ").map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect())
        .collect();
    let no_name = "give it a name: the document is refused as it is (`rename` or `drop`)";
    let empty = "a name that is empty, or a part of it is";
    let expected = [
        ["INDEX", "FIELD", "CONFLICT", "ONE", "OTHER", "WAY OUT"],
        ["orders", "\"\"", empty, "f 1 (id k1)", "-", no_name],
        ["orders", "\"a..b\"", empty, "f 2 (id k2)", "-", no_name],
        [
            "orders",
            "b",
            "boolean and text",
            "f 1 (id k1): true",
            "f 2 (id k2): yes",
            "map it as keyword (proposed), or `convert: {field: b, to: text}`",
        ],
        [
            "orders",
            "c",
            "text and object: a dot in a name stands for an object",
            "f 2 (id k2): v",
            "f 1 (id k1): `c.d`",
            "`rename` one of them",
        ],
        [
            "orders",
            "d",
            "date and text: mapped by the first, a date refuses other text",
            "f 1 (id k1): 2026-01-02",
            "f 2 (id k2): none",
            "date_detection: false, and map it as text or keyword (proposed)",
        ],
        [
            "orders",
            "n",
            "long and double: mapped by the first, a long cuts fractions off in searches",
            "f 1 (id k1): 5",
            "f 2 (id k2): 5.5",
            "map it as double (proposed), or `convert: {field: n, to: double}`",
        ],
        [
            "orders",
            "o",
            "long and object",
            "f 1 (id k1): 1",
            "f 2 (id k2): {…}",
            "`rename` one of them; or {type: object, enabled: false}, which is not searched (proposed)",
        ],
        [
            "orders",
            "t",
            "long and text",
            "f 1 (id k1): 1",
            "f 2 (id k2): a",
            "map it as keyword (proposed), or `convert: {field: t, to: text}`",
        ],
        [
            "orders",
            "x.y",
            "long and text",
            "f 1 (id k1): 1",
            "f 2 (id k2): z",
            "map it as keyword (proposed), or `convert: {field: x.y, to: text}`",
        ],
    ];
    assert_eq!(rows, expected);
}

#[test]
fn depth_and_number_of_fields() {
    let mut deep = json!(1);
    for _ in 0..20 {
        deep = json!({"a": deep});
    }
    let conflicts = observed(&[json!({"r": deep}), deep.clone()]).conflicts();
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    assert!(conflicts[0].what.contains("21 levels deep") && conflicts[0].field.starts_with("r.a.a"), "{conflicts:?}");
    // Each text is two fields.
    let many = |count: usize| -> Value {
        (0..count).map(|n| (format!("f{n}"), json!("x"))).collect::<serde_json::Map<_, _>>().into()
    };
    assert_eq!(observed(&[many(399)]).conflicts(), []);
    assert_eq!(observed(&[many(400)]).conflicts()[0].what, "801 fields, near the limit of 1000");
    assert_eq!(observed(&[many(500)]).conflicts()[0].what, "1001 fields, over the limit of 1000");
    let file = "{version: 1, routes: [{from: t}], indexes: {o: {settings: {index: {mapping.total_fields.limit: 9}}}}}";
    let pipeline = Pipeline::parse(file).expect("a pipeline");
    let mut own = Observed::new("o", pipeline.indexes().of("o"));
    own.take(many(5).to_string().as_bytes(), "f 1", "k", &BTreeSet::new()).expect("JSON");
    assert_eq!(own.conflicts()[0].what, "11 fields, over the limit of 9");
}

#[test]
fn a_text_that_no_term_holds() {
    let long = "x".repeat(40_000);
    let conflicts = observed(&[json!({"t": long})]).conflicts();
    assert!(conflicts[0].what.contains("over 32766 bytes") && conflicts[0].one.len() < 60, "{conflicts:?}");
    assert!(Observed::new("x", None).take(b"[1]", "f", "k", &BTreeSet::new()).is_err());
}

#[test]
fn what_the_pipeline_maps_is_held_against_its_types() {
    let file = "
version: 1
routes: [{from: t}]
indexes:
  x:
    mappings:
      date_detection: false
      properties:
        n: {type: double}
        mixed: {type: keyword}
        either: {type: object, enabled: false}
        o.typed: {type: long}
        at: {type: date}
        part: {dynamic: strict, properties: {a: {type: long}}}
        free: {dynamic: false, properties: {}}
        big: {type: long}
        flag: {type: boolean}
";
    let pipeline = Pipeline::parse(file).expect("a pipeline");
    let take = |documents: &[Value]| {
        let mut observed = Observed::new("x", pipeline.indexes().of("x"));
        for (number, document) in documents.iter().enumerate() {
            let at = format!("f {}", number + 1);
            observed.take(document.to_string().as_bytes(), &at, "k", &BTreeSet::new()).expect("JSON");
        }
        observed
            .conflicts()
            .into_iter()
            .map(|conflict| format!("{}: {}", conflict.field, conflict.what))
            .collect::<Vec<_>>()
    };
    let fine = [
        json!({"n": 1, "mixed": 1, "either": 1, "o": {"typed": 5}, "at": "2026-01-02", "free": {"q": 1}, "day": "2026-01-02"}),
        json!({"n": 1.5, "mixed": "a", "either": {"z": {"y": 1}}, "at": 1_700_000_000_000_u64, "free": {"q": {"r": 1}}, "day": "none"}),
    ];
    assert_eq!(take(&fine), [""; 0]);
    let wrong = json!({
        "n": "x", "mixed": {"a": 1}, "o": {"typed": 1.5}, "at": "soon", "part": {"b": 1}, "big": 9_223_372_036_854_775_808_u64, "flag": 1,
    });
    assert_eq!(
        take(&[wrong, json!({"o": 1})]),
        [
            "at: text where the pipeline says date",
            "big: an integer beyond a long where the pipeline says long",
            "flag: long where the pipeline says boolean",
            "mixed: object where the pipeline says keyword",
            "n: text where the pipeline says double",
            "o: long where the pipeline says object",
            "o.typed: double where the pipeline says long",
            "part.b: not in the mapping, which is strict",
        ]
    );
}
