//! Whole expressions.

use super::*;
use serde_json::json;

mod limits;

fn literal(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Boolean(*value),
        serde_json::Value::Number(number) => Value::Number(number.to_string()),
        serde_json::Value::String(text) => Value::Text(text.clone()),
        serde_json::Value::Array(items) => Value::List(items.iter().map(literal).collect()),
        serde_json::Value::Object(members) => {
            Value::Map(members.iter().map(|(name, value)| (name.clone(), literal(value))).collect())
        }
    }
}

pub(super) fn item() -> Value {
    let mut item = literal(&json!({
        "first": "Ada", "last": "Lovelace", "total": 100.5, "vip": true, "gone": null, "no": false, "tags": ["b", "a", "b"],
        "lines": [{"price": 1.5, "n": 2, "sku": "x"}, {"price": 2.25, "n": 4, "sku": "y"}], "address": {"zip": 1010, "city": "Wien"},
        "text": "a,b,c", "deep": [[1, [2]], [3]], "old name": "x", "zero": 0, "größe": "m",
    }));
    if let Value::Map(members) = &mut item {
        members.push(("long".to_owned(), Value::Number("12345678901234567890123456789012345678".to_owned())));
        members.push(("date".to_owned(), Value::Date(1_588_166_528_250)));
        members.push(("bytes".to_owned(), Value::Binary(vec![1, 2, 255])));
        members.push(("double".to_owned(), Value::Double(0.1)));
    }
    item
}

/// The results of an expression in a list, as JSON's text.
fn all(text: &str) -> Result<String, String> {
    let expression = Expression::parse(&format!("[{text}]")).map_err(|problem| problem.to_string())?;
    let value = expression.run(&item())?.ok_or("nothing")?;
    value::json(&value)
}

#[test]
fn results_are_those_of_jq() {
    for (text, expected) in [
        (".first", r#"["Ada"]"#),
        (".address.zip", "[1010]"),
        (".[\"old name\"], .\"old name\"", r#"["x","x"]"#),
        (".nothing, .nothing.more, .gone", "[null,null,null]"),
        (".lines[0].sku, .lines[-1].sku, .lines[7]", r#"["x","y",null]"#),
        (".lines[].n", "[2,4]"),
        (".lines[1:] | .[].n", "[4]"),
        (".text[2:]", r#"["b,c"]"#),
        (".text[-1:], .text[:1], .tags[1:2]", r#"["c","a",["a"]]"#),
        (".first[]?", "[]"),
        (".first + \" \" + .last", r#"["Ada Lovelace"]"#),
        ("[.lines[] | .price * .n] | add", "[12]"),
        ("reduce .lines[] as $l (0; . + $l.price * $l.n)", "[12]"),
        ("foreach .lines[] as {$n, price: $p} (0; . + $n; [., $p])", "[[2,1.5],[6,2.25]]"),
        ("foreach (1, 2) as $x (0; . + $x)", "[1,3]"),
        ("if .vip then \"gold\" elif .no then 1 else \"plain\" end", r#"["gold"]"#),
        ("if .no then 1 end | type", r#"["object"]"#),
        (".gone // .no // 3", "[3]"),
        ("(1, null, 2) // 3", "[1,2]"),
        ("try error(\"x\") // 3", "[3]"),
        (".no or .vip, (.no and .vip), (.vip | not)", "[true,false,false]"),
        ("(1, 2) + (10, 20)", "[11,12,21,22]"),
        ("{a: 1, \"b\": 2, (\"c\" + \"d\"): 3}", r#"[{"a":1,"b":2,"cd":3}]"#),
        (
            "{first, \"old name\", n: (1, 2)}",
            r#"[{"first":"Ada","old name":"x","n":1},{"first":"Ada","old name":"x","n":2}]"#,
        ),
        (". as {first: $f, lines: [$l]} | $f, $l.n", r#"["Ada",2]"#),
        (".first as $first | {$first}", r#"[{"first":"Ada"}]"#),
        ("\"\\(.first)-\\(.total)-\\(.tags)\\u0041\"", r#"["Ada-100.5-[\"b\",\"a\",\"b\"]A"]"#),
        ("@base64 \"x\\(.first)\", @uri \"?q=\\(\"a b/ü\")\"", r#"["xQWRh","?q=a%20b%2F%C3%BC"]"#),
        ("try error(\"no\") catch . + \"!\"", r#"["no!"]"#),
        ("try error({a: 1}) catch .a", "[1]"),
        ("try error(\"no\")", "[]"),
        ("(1, error(\"no\"), 2)?", "[1]"),
        (".. | numbers", "[1010,1,2,3,2,1.5,4,2.25,100.5,0,12345678901234567890123456789012345678,0.1]"),
        ("1, 1.0, 1.50, 1e2, -3, 007", "[1,1,1.5,100,-3,7]"),
        (
            ".long + 1, .long - .long, -.long",
            "[12345678901234567890123456789012345679,0,-12345678901234567890123456789012345678]",
        ),
        ("0.1 + 0.2, 7 / 8, 7 % 4, -7 % 4, 1e3 * 1e-3", "[0.3,0.875,3,-3,1]"),
        (".double + 0.2", "[0.3]"),
        (
            "1 == 1.0, \"a\" < \"b\", null < false, [] < {}, {} > [], [1, 2] < [1, 3], {a: 1} == {a: 1.0}",
            "[true,true,true,true,true,true,true]",
        ),
        ("{a: 2, b: 1} < {a: 1, c: 0}, {b: 1} > {a: 2}", "[true,true]"),
        ("[3, null, \"a\", true, [1], {}, false, 1] | sort", r#"[[null,false,true,1,3,"a",[1],{}]]"#),
        (".lines | sort_by(-.n) | map(.sku)", r#"[["y","x"]]"#),
        (
            ".tags | sort, unique, group_by(.), reverse, length",
            r#"[["a","b","b"],["a","b"],[["a"],["b","b"]],["b","a","b"],3]"#,
        ),
        (
            ".lines | min_by(.n).sku, max_by(.n).sku, (map(.n) | min, max), unique_by(.n % 2)[0].sku",
            r#"["x","y",2,4,"x"]"#,
        ),
        ("[] | min, max, add, first, last, any, all", "[null,null,null,null,null,false,true]"),
        (
            ".address | keys, keys_unsorted, length, has(\"zip\"), has(\"x\")",
            r#"[["city","zip"],["city","zip"],2,true,false]"#,
        ),
        (
            ".tags | keys, has(2), has(3), first, last, nth(1), index(\"b\"), rindex(\"b\"), indices(\"b\")",
            r#"[[0,1,2],true,false,"b","b","a",0,2,[0,2]]"#,
        ),
        ("(\"zip\" | in({zip: 1})), (0 | in([]))", "[true,false]"),
        (".tags | contains([\"a\"]), contains([\"c\"]), inside([\"a\", \"b\", \"c\"])", "[true,false,true]"),
        ("{a: {b: \"xyz\"}, c: 1} | contains({a: {b: \"y\"}}), contains({c: 2})", "[true,false]"),
        (
            ".text | split(\",\"), length, index(\",\"), indices(\",\"), ltrimstr(\"a,\"), rtrimstr(\",c\"), startswith(\"a\"), endswith(\"a\")",
            r#"[["a","b","c"],5,1,[1,3],"b,c","a,b",true,false]"#,
        ),
        (".text / \",\" | join(\"-\")", r#"["a-b-c"]"#),
        ("[1, null, true, \"x\"] | join(\",\")", r#"["1,,true,x"]"#),
        (
            "\" Ab \" | trim, ltrim, rtrim, ascii_downcase, ascii_upcase, explode, (explode | implode)",
            r#"["Ab","Ab "," Ab"," ab "," AB ",[32,65,98,32]," Ab "]"#,
        ),
        (".deep | flatten, flatten(1)", "[[1,2,3],[1,[2],3]]"),
        (
            ".address | to_entries, with_entries(.key |= ascii_upcase), map_values(tostring)",
            r#"[[{"key":"city","value":"Wien"},{"key":"zip","value":1010}],{"CITY":"Wien","ZIP":1010},{"city":"Wien","zip":"1010"}]"#,
        ),
        ("[{k: \"a\", v: 1}, {name: \"b\", value: null}] | from_entries", r#"[{"a":1,"b":null}]"#),
        ("2.5 | floor, ceil, round, trunc, -. , (-. | round, abs)", "[2,3,3,2,-2.5,-3,2.5]"),
        ("1.005 | round(2)", "[1.01]"),
        ("10 | divide(3; 2), divide(4; 0)", "[3.33,3]"),
        ("\"12.50\", 3, \" 7 \" | tonumber", "[12.5,3,7]"),
        (
            ".long, 1.50, null, [1, \"a\"] | tostring",
            r#"["12345678901234567890123456789012345678","1.5","null","[1,\"a\"]"]"#,
        ),
        ("\"true\", false | toboolean", "[true,false]"),
        (
            "\"[1.50, {\\\"a\\\": 12345678901234567890}]\" | fromjson, (fromjson | tojson)",
            r#"[[1.5,{"a":12345678901234567890}],"[1.5,{\"a\":12345678901234567890}]"]"#,
        ),
        (".date | tostring, fromdate, type", r#"["2020-04-29T13:22:08.250Z",1588166528.25,"date"]"#),
        ("1588166528 | todate | ., tostring", r#"["2020-04-29T13:22:08.000Z","2020-04-29T13:22:08.000Z"]"#),
        ("\"2020-04-29T13:22:08Z\" | fromdate, (todate | type)", r#"[1588166528,"date"]"#),
        (".date > (1588166528 | todate), .date > \"2020\"", "[true,true]"),
        (".bytes | @base64, length, type", r#"["AQL/",3,"binary"]"#),
        ("\"QWRh\", \"QQ\" | @base64d", r#"["Ada","A"]"#),
        (
            "[1, \"a\\\"b\", null, true] | @csv, @tsv, @json, @text",
            r#"["1,\"a\"\"b\",,true","1\u0009a\"b\u0009\u0009true","[1,\"a\\\"b\",null,true]","[1,\"a\\\"b\",null,true]"]"#,
        ),
        ("[range(3)], [range(1; 3)], [range(5; 0; -2)], [range(0, 1; 1, 2)]", "[[0,1,2],[1,2],[5,3,1],[0,0,1,1]]"),
        (
            "first(range(10; 100)), [limit(2; range(10))], isempty(empty), isempty(1, error(\"x\")), last(1, 2), nth(1; 5, 6, 7)",
            "[10,[0,1],true,false,2,6]",
        ),
        ("first(empty), last(empty)", "[]"),
        (
            "any(.tags[]; . == \"a\"), all(.tags[]; . == \"a\"), (.tags | any(. == \"z\"), all(length == 1))",
            "[true,false,false,true]",
        ),
        ("add(.lines[].n)", "[6]"),
        ("[.[] | scalars] | length, ([1, [2], null] | map(values))", "[14,[1,[2]]]"),
        ("getpath([\"lines\", 1, \"sku\"])", r#"["y"]"#),
        (
            ".address | .zip = 1, .city |= ascii_upcase, .zip += 1, .x.y[1] = 2, .no //= 5",
            r#"[{"city":"Wien","zip":1},{"city":"WIEN","zip":1010},{"city":"Wien","zip":1011},{"city":"Wien","zip":1010,"x":{"y":[null,2]}},{"city":"Wien","zip":1010,"no":5}]"#,
        ),
        (".lines | del(.[0].price, .[1].sku) | .[]", r#"[{"n":2,"sku":"x"},{"n":4,"price":2.25}]"#),
        (
            ".tags | del(.[0, 2]), del(.[] | select(. == \"b\")), del(.[1:]), del(.[9])",
            r#"[["a"],["a"],["b"],["b","a","b"]]"#,
        ),
        (
            ".address | del(.zip), del(.x.y), del(.), (.zip |= empty)",
            r#"[{"city":"Wien"},{"city":"Wien","zip":1010},null,{"city":"Wien"}]"#,
        ),
        (".lines | (.[] | select(.n > 2) | .price) = 0 | map(.price)", "[[1.5,0]]"),
        (".deep | walk(if type == \"number\" then . + 1 else . end), (.. |= .)", "[[[2,[3]],[4]],[[1,[2]],[3]]]"),
        ("[1, 2, 3, 2] - [2]", "[[1,3]]"),
        ("{a: 1} + {b: 2, a: 3}, null + 1, [1] + [2]", r#"[{"a":3,"b":2},1,[1,2]]"#),
        ("[.[]?] | length", "[18]"),
        ("\"größe\" | length, utf8bytelength, .[2:4]", r#"[5,7,"öß"]"#),
    ] {
        assert_eq!(all(text).as_deref(), Ok(expected), "{text}");
    }
}

pub(super) fn one(text: &str) -> Result<Option<Value>, String> {
    Expression::parse(text).map_err(|problem| problem.to_string())?.run(&item())
}
