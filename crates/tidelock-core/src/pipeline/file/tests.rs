//! Files: what is read of them, and what is told of those that are wrong.

use super::{Node, Value, deserialize, read};
use crate::encode::Format;
use crate::image::{Image, Notation};
use crate::pipeline::format::{FILE, Object, Shape, objects};
use crate::pipeline::{Checked, Pipeline, RawRoute, Severity};
use crate::transform::RawStep;
use proptest::prelude::*;

fn told(text: &str) -> Vec<String> {
    let checked = Pipeline::check(text);
    let sign = |severity| if severity == Severity::Warning { "warning " } else { "" };
    checked.problems().iter().map(|problem| format!("{}{problem}", sign(problem.severity))).collect()
}

/// A file with one route, which begins in the third line.
fn route(fields: &str) -> String {
    format!("version: 1\nroutes:\n  - from: t\n    {}\n", fields.replace('\n', "\n    "))
}

#[test]
fn json_is_read_as_yaml_is() {
    let yaml = "version: 1\nroutes:\n- from: t\n  transform:\n  - default: {a: [1, -2, 1.50, \"x\\ty\", null, true]}\n";
    let json = "\u{feff}{\n\t\"version\": 1,\r\n\t\"routes\": [{\"from\": \"t\", \"transform\": [\n\t\t{\"default\": {\"a\": [1, -2, 1.50, \"x\\ty\", null, true]}}\n\t]}]\n}";
    assert_eq!(told(json), Vec::<String>::new());
    assert_eq!(Pipeline::parse(json), Pipeline::parse(yaml));
}

#[test]
fn literals_keep_every_digit() {
    let digits = "12345678901234567890123456789012345678";
    let text = route(&format!("transform:\n  - default: {{a: {digits}, b: 0.{digits}, c: [-{digits}]}}"));
    let pipeline = Pipeline::parse(&text).expect("a pipeline");
    let rules = pipeline.rules("t", 0);
    let image = Image { notation: Notation::DynamoDb, bytes: b"{}" };
    let transform = rules.transform(&image).expect("steps");
    let document =
        crate::source::dynamodb::transformed(b"{}", transform, Format::Json, false, crate::encode::JsonSink::default());
    let document = String::from_utf8(document.expect("a document")).expect("UTF-8");
    assert_eq!(document, format!(r#"{{"a":{digits},"b":0.{digits},"c":[-{digits}]"#));
    // MongoDB's numbers have 34 digits.
    let refused: Vec<String> = pipeline.unwritable(Format::Bson).into_iter().map(|refusal| refusal.path).collect();
    assert_eq!(refused, ["a", "b", "c"].map(|name| format!("routes[0].transform[0].default.{name}")));
    assert_eq!(pipeline.unwritable(Format::Json), []);
}

#[test]
fn other_structs_take_numbers_as_serde_has_them() {
    let (tree, _) = read("{a: 1.5, b: -3, c: 18446744073709551616, d: [null, x]}");
    let value: serde_json::Value = deserialize(&tree.expect("a tree")).expect("a value");
    assert_eq!(value, serde_json::json!({"a": 1.5, "b": -3, "c": 18_446_744_073_709_551_616_f64, "d": [null, "x"]}));
}

#[test]
fn what_is_no_tree_is_told_with_its_place() {
    for (text, expected) in [
        ("", "1:1: the file is empty"),
        ("# nothing\n", "1:1: the file is empty"),
        ("a: [", "2:1: this is neither YAML nor JSON"),
        ("a: 1\n---\nb: 2", "2:1: a second document"),
        ("a: &x [*x]", "1:8: the alias stands for what is not complete yet"),
        ("a: *x", "1:4: this is neither YAML nor JSON"),
        ("? [a]\n: b", "1:3: a name must be a text"),
        (": b", "1:1: a name is missing"),
        ("a: !point x", "1:4: tags"),
        ("a: .nan", "1:4: `.nan` is no number"),
        ("- a", "1:1: expected an object with `version` and `routes`, found a list"),
        ("{---", "2:1"),
    ] {
        let found = told(text);
        assert!(found.first().is_some_and(|first| first.starts_with(expected)), "{text:?}: {found:?}");
    }
    let twice = "version: 1\nroutes:\n  - {from: a}\n\"version\": 1\n";
    assert_eq!(told(twice), ["4:1: version: stands here for the second time; the first is in line 1, column 1"]);
    let bytes = Checked::of_bytes(b"version: 1\nname: \xff");
    assert_eq!(bytes.problems()[0].to_string(), "2:7: this is no text: the file must be UTF-8");
}

#[test]
fn what_takes_long_is_refused_soon() {
    let laughs: String =
        (0..40).map(|n| format!("a{}: &a{} [{}]\n", n + 1, n + 1, vec![format!("*a{n}"); 9].join(", "))).collect();
    let found = told(&format!("a0: &a0 lol\n{laughs}"));
    assert!(found[0].contains("more than 20000 values"), "{found:?}");
    for (open, words) in [("[", "in one another"), ("{a: ", "in one another"), ("- ", "in one another")] {
        let found = told(&open.repeat(100_000));
        assert!(found[0].contains(words) || found[0].contains("neither"), "{open}: {found:?}");
    }
    assert!(told(&"#".repeat(2 << 20))[0].contains("bytes"));
    let fields = (0..501).map(|n| format!("f{n}: f{}", n + 1)).collect::<Vec<_>>().join(", ");
    assert!(
        told(&route(&format!("transform: [{{copy: {{{fields}}}}}]")))[0].contains("there are 501; 500 are allowed")
    );
    let fields = vec!["f"; 1_001].join(", ");
    assert!(
        told(&route(&format!("transform: [{{keep: [{fields}]}}]")))[0].contains("there are 1001; 1000 are allowed")
    );
    let many: String = (0..1_500).map(|n| format!("k{n}: 1\n")).collect();
    assert_eq!(told(&many).len(), 1_000);
    let suspicious: String = (0..1_100).map(|n| format!("  - {{from: a{n}, on_missing: park}}\n")).collect();
    let last = Pipeline::parse(&format!("version: 1\nroutes:\n{suspicious}  - {{from: b, to: ''}}\n"));
    assert_eq!(last.expect_err("an error").len(), 1, "warnings hide no error");
    let many: String = "  - from: a*\n".repeat(2_001);
    assert!(told(&format!("version: 1\nroutes:\n{many}"))[0].contains("2000 are allowed"));
}

#[test]
fn a_file_of_a_thousand_lines_is_checked_whole() {
    let route = |n: usize| {
        format!(
            "  - name: route {n}\n    from: table-{n}\n    where: .kind == {n} and (.gone | not)\n    to: \"index-{n}-{{country}}\"\n    \
             transform:\n      - default: {{age: null, n: {n}}}\n      - convert: {{field: at, from: epoch_seconds, to: date}}\n      - drop: [secret]\n"
        )
    };
    let text = format!("version: 1\nroutes:\n{}", (0..125).map(route).collect::<String>());
    assert_eq!((text.lines().count(), told(&text)), (1_002, Vec::new()));
    let broken = text.replace("drop: [secret]", "drop: [at]").replace("from: epoch", "form: epoch");
    let found = told(&broken);
    assert_eq!(found.len(), 125);
    let last = "1001:30: routes[124].transform[1].convert.form: `convert` has no such field; did you mean `from`?";
    assert_eq!(found.last().map(String::as_str), Some(last));
}

#[test]
fn aliases_stand_for_what_they_name() {
    let text = "version: 1\nroutes:\n  - from: &t orders\n    transform: &steps\n      - drop: [a]\n  - from: customers\n    to: *t\n    transform: *steps\n";
    assert_eq!(told(text), Vec::<String>::new());
}

#[test]
fn a_character_of_a_text_has_a_place() {
    for (line, column) in [
        ("where: .a =", 15),
        ("where: '.a ='", 16),
        ("where: \".a =\"", 16),
        // Where the text is not spelled as it is, its beginning is.
        ("where: \"\\x2ea =\"", 12),
        ("where: 'ü .a ='", 13),
    ] {
        let found = told(&route(line));
        assert!(found[0].starts_with(&format!("4:{column}: routes[0].where: ")), "{line}: {found:?}");
    }
    let block = told(&route("where: >\n  .a =\n  1"));
    assert!(block[0].starts_with("5:7: routes[0].where: character 4: expected"), "{block:?}");
}

#[test]
fn steps_are_looked_at_together() {
    for (steps, expected) in [
        ("[{drop: [a]}, {convert: {field: a, to: text}}]", &["convert.field: there is no `a` any more"][..]),
        ("[{drop: [a]}, {convert: {field: [b, a.c], to: text}}]", &["convert.field[1]: there is no `a.c` any more"]),
        ("[{keep: [a, b.c]}, {drop: [b.d]}, {mask: {field: b}}]", &["transform[1].drop[0]: there is no `b.d`"]),
        ("[{rename: {a: b}}, {copy: {a: c}}]", &["transform[1].copy.a: there is no `a` any more"]),
        ("[{drop: ['l[].a']}, {mask: {field: 'l[0].a'}}]", &["mask.field: there is no `l[0].a`"]),
        ("[{drop: ['l[0].a']}, {mask: {field: 'l[].a'}}]", &[]),
        ("[{drop: [a]}, {default: {a: 1}}, {convert: {field: a, to: text}}]", &[]),
        ("[{drop: [a]}, {convert: {field: a, to: text, on_missing: default, default: x}}]", &[]),
        ("[{drop: [a]}, {flatten: {field: m}}, {mask: {field: a}}]", &[]),
        ("[{rename: {a: b, b: a}}, {mask: {field: [a, b]}}]", &[]),
        ("[{rename: {a: c, b: c}}]", &["rename.b: `c` and `c` are one place"]),
        ("[{copy: {a: c, b: c.d}}]", &["copy.b: `c.d` and `c` are one place"]),
        ("[{copy: {a: c}}, {copy: {b: c}}]", &["warning", "transform[1].copy.b: `c` is where transform[0]"]),
        ("[{copy: {a: c}}, {mask: {field: c}}, {copy: {b: c}}]", &[]),
        ("[{drop: ['l[0]']}]", &["takes members of maps away"]),
        ("[{rename: {a: _tidelock}}]", &["is the field that tidelock adds"]),
        ("[{convert: {field: a, from: epoch_seconds, to: text}}]", &["convert.from: says how a time is told"]),
        ("[{convert: {field: a, from: epoch_seconds, to: epoch_seconds}}]", &["warning", "nothing changes"]),
        ("[{convert: {field: a, to: text, default: 1}}]", &["warning", "convert.default: is never used"]),
        ("[{drop: [a, b, a]}]", &["warning", "drop[2]: `a` is there twice"]),
        ("[{split: {field: a, separator: ''}}]", &["warning", "split.separator"]),
    ] {
        let found = told(&route(&format!("transform: {steps}")));
        match expected {
            [] => assert_eq!(found, Vec::<String>::new(), "{steps}"),
            _ => {
                assert!(found.len() == 1 && expected.iter().all(|words| found[0].contains(words)), "{steps}: {found:?}")
            }
        }
    }
}

#[test]
fn places_that_never_change_need_not_be_remembered() {
    let hint = "locate: has nothing to remember";
    for (routes, told_of) in [
        ("{from: a, locate: state}", true),
        ("{from: a, to: x, locate: state}, {from: b}", true),
        ("{from: a, to: 'x-{f}', locate: state}", false),
        ("{from: a, where: .f, locate: state}", false),
        ("{from: a, where: .f}, {from: 'a*', locate: state}", false),
        ("{from: a, id: '{k}{f}', locate: state}", false),
        ("{from: a}", false),
    ] {
        let found = told(&format!("version: 1\nroutes: [{routes}]\n"));
        assert_eq!(
            found.iter().any(|told| told.starts_with("warning") && told.contains(hint)),
            told_of,
            "{routes}: {found:?}"
        );
        assert_eq!(found.len(), usize::from(told_of), "{found:?}");
    }
}

#[test]
fn routes_are_looked_at_together() {
    let text = "version: 1\nroutes:\n  - {from: 'o*', name: x}\n  - {from: orders, name: x}\n  - {from: c, where: .a, on_missing: park}\n  - {from: c, where: .a}\n";
    assert_eq!(
        told(text),
        [
            "4:12: routes[1].from: `orders` is never reached: routes[0] (line 3) takes all of it; leave `from` out if only `also` is to lead here",
            "4:26: routes[1].name: `x` is the name of routes[0] (line 3) already",
            "warning 5:38: routes[2].on_missing: is for the steps of a `transform`, which the route has not",
            "6:12: routes[3].from: `c` is never reached: routes[2] (line 5) takes all of it",
        ]
    );
    for (earlier, later, covers) in [
        ("o*", "o*", true),
        ("o*", "o?x*", true),
        ("*", "?", true),
        ("o?", "o?", true),
        ("?*", "a", true),
        ("o?", "o*", false),
        ("o??", "o*", false),
        ("?*", "*", false),
        ("*a", "*", false),
        ("a*b", "a*", false),
        ("oa", "o?", false),
    ] {
        let found = told(&format!("version: 1\nroutes: [{{from: '{earlier}'}}, {{from: '{later}'}}]"));
        assert_eq!(found.len(), usize::from(covers), "{earlier} {later}: {found:?}");
    }
}

/// What serde's derived code knows, from the message in which it lists it.
fn known<T: serde::de::DeserializeOwned>(text: &str) -> Vec<String> {
    let (tree, _) = read(text);
    let error = deserialize::<T>(&tree.expect("a tree")).err().expect("an unknown field");
    let (_, list) = error.split_once("expected").expect("a list");
    let mut names: Vec<String> = list.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn the_table_says_what_the_structs_do() {
    let rows = |object: &Object| {
        let mut names: Vec<String> = object.fields.iter().map(|field| field.name.to_owned()).collect();
        names.sort();
        names
    };
    for object in objects() {
        let expected = match object.name {
            "file" => continue,
            "route" => known::<RawRoute>("zzz: 1"),
            "index" => known::<crate::pipeline::RawIndex>("zzz: 1"),
            "soft" => known::<RawRoute>("{from: a, soft: {zzz: 1}}"),
            "version" => known::<crate::pipeline::RawVersionField>("zzz: 1"),
            "step" => known::<RawStep>("zzz: 1"),
            step => known::<RawStep>(&format!("{step}: {{zzz: 1}}")),
        };
        assert_eq!(expected, rows(object), "{}", object.name);
    }
    assert_eq!(rows(&FILE), ["$schema", "indexes", "routes", "unmatched", "version"]);
}

#[test]
fn every_value_of_the_table_is_one_of_the_structs() {
    let steps = r#"[
        {default: {a: {b: [1]}}}, {rename: {c: d}}, {copy: {e: f}}, {nest: {fields: [g], into: h}}, {flatten: {field: i, separator: "-"}},
        {split: {field: j, separator: ",", to: k}}, {join: {fields: [l], separator: "", to: m}}, {mask: {field: n, keep_last: 2, with: x}},
        {hash: {field: [o]}}, {drop: [p]}, {keep: [q]}
    ]"#;
    assert_eq!(told(&route(&format!("transform: {steps}"))), Vec::<String>::new());
    for object in objects() {
        for field in object.fields {
            let Shape::OneOf(choices) = &field.shape else { continue };
            for choice in *choices {
                let value = choice.value;
                let name = field.name;
                let text = match object.name {
                    "file" => format!("{name}: {value}\n{}", route("")),
                    // What needs another field beside it.
                    "route" if value == "merge" => format!("{}\n    preserve: [a]", route("write: merge").trim_end()),
                    "route" => route(&format!("{name}: {value}")),
                    _ if ["base64", "hex"].contains(&value) && name == "from" => {
                        route(&format!("transform: [{{convert: {{field: a, to: binary, from: {value}}}}}]"))
                    }
                    _ if value == "scaled" => route("transform: [{convert: {field: a, to: scaled, scale: 2}}]"),
                    _ if name == "to" => route(&format!("transform: [{{convert: {{field: a, to: {value}}}}}]")),
                    _ => route(&format!("transform: [{{convert: {{field: a, to: date, {name}: {value}}}}}]")),
                };
                let errors = told(&text).into_iter().filter(|told| !told.starts_with("warning"));
                assert_eq!(errors.collect::<Vec<_>>(), Vec::<String>::new(), "{text}");
            }
        }
    }
}

const VALID: &str = r#"version: 1
unmatched: error
routes:
  - name: orders
    from: orders-*
    where: .status == "paid" and (.deleted | not)
    to: "orders-{country}"   # a field
    on_outage: hold
    transform: &steps
      - default: {age: null, n: [1.5, {x: "ü\n"}]}
      - convert: {field: [a, "l[].b"], from: epoch_seconds, to: date}
      - rename: {Name: name, '["a.b"]': c}
  - {from: customers, shard_key: [country, address.zip], transform: *steps}
"#;

#[test]
fn the_valid_file_is_valid() {
    assert_eq!(told(VALID), Vec::<String>::new());
}

/// A tree's marks lie in the text.
fn inside(node: &Node, lines: usize) -> bool {
    node.mark.line <= lines
        && match &node.value {
            Value::List(items) => items.iter().all(|item| inside(item, lines)),
            Value::Map(members) => members.iter().all(|member| inside(&member.node, lines)),
            _ => true,
        }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let checked = Checked::of_bytes(&bytes);
        prop_assert!(checked.problems().iter().all(|problem| problem.line > 0 && problem.column > 0));
    }

    #[test]
    fn no_words_of_yaml_break_it(words in proptest::collection::vec(
        proptest::sample::select(vec!["a", ": ", "- ", "\n", "  ", "[", "]", "{", "}", ",", "&x ", "*x", "!", "|", ">", "\"", "'", "#", "? ",
            "---", "...", "%", "\t", "1", "\r", "version: 1", "routes:", "from: t", "\u{feff}", "é", "\\", "!!str ", "<<: "]), 0..60)
    ) {
        let text: String = words.concat();
        let _ = Pipeline::check(&text);
        if let (Some(tree), _) = read(&text) {
            // A carriage return alone ends a line of YAML, too; an empty block is in the line behind the last.
            prop_assert!(inside(&tree, text.split(['\n', '\r']).count() + 1));
        }
    }

    #[test]
    fn no_mutation_of_a_file_breaks_it(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0..4usize, any::<u8>()), 1..8)
    ) {
        let mut bytes = VALID.as_bytes().to_vec();
        for (at, kind, byte) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => drop(bytes.remove(at)),
                1 => bytes.insert(at, byte),
                2 => bytes[at] = b"[]{}:,-&*!|>'\"%@` \n\t#"[usize::from(byte) % 21],
                _ => bytes.truncate(at.max(20)),
            }
        }
        let checked = Checked::of_bytes(&bytes);
        prop_assert_eq!(
            checked.pipeline().is_none(),
            checked.problems().iter().any(|problem| problem.severity == Severity::Error)
        );
    }
}
