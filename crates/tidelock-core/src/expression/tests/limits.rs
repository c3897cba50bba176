//! What is refused, when it is read and when it is run.

use super::super::*;
use super::{item, one};
use std::borrow::Cow;
use std::time::{Duration, Instant};

#[test]
fn an_expression_gives_one_result_or_none() {
    assert_eq!(one(".first"), Ok(Some(Value::Text("Ada".to_owned()))));
    assert_eq!(one("empty"), Ok(None));
    assert_eq!(one(".tags[] | select(. == \"z\")"), Ok(None));
    assert!(one(".tags[]").expect_err("several").contains("more than one result"));
    assert_eq!(one("1, error(\"late\")"), Err("late".to_owned()));
}

#[test]
fn what_is_only_moved_is_not_changed() {
    for name in ["date", "bytes", "double", "long"] {
        let value = value::member(Cow::Owned(item()), name).into_owned();
        assert_eq!(one(&format!("{{a: [.{name}]}} | .a[0]")), Ok(Some(value)), "{name}");
    }
    // An ObjectId is text where it is looked at.
    let id = Value::Map(vec![("id".to_owned(), Value::Raw(7, vec![0xAB; 12]))]);
    let expression = Expression::parse("if .id == \"abababababababababababab\" then {id} else 0 end").expect("read");
    assert_eq!(expression.run(&id), Ok(Some(id.clone())));
}

#[test]
fn what_cannot_be_done_says_why() {
    for (text, words) in [
        (".first + 1", "a text and a number cannot be added"),
        (".first - .vip", "a text and a boolean cannot be subtracted"),
        (".date + 1", "a date and a number cannot be added"),
        (".bytes | tostring", "`@base64` writes binary"),
        ("{a: .bytes} | tojson", "`@base64` writes binary"),
        (".total / 7", "write `divide(by; decimals)`"),
        (".total / 0", "division by zero"),
        ("error(\"x\") // 3", "x"),
        (".long * 11", "more than 38 digits"),
        (".first[]", "`[]` needs a list or a map, not a text"),
        (".first.a = 1", "a text has no member `a`"),
        (".tags[-9] = 1", "the list has no element [-9]"),
        (".tags | has(\"a\")", "a list cannot have a text as a key"),
        ("\"five\" | tonumber", "`five` is no number"),
        ("\"x\" | todate", "no time of RFC 3339"),
        ("1588166528.0001 | todate", "finer than a millisecond"),
        ("error({a: 1})", "{\"a\":1}"),
        (".bytes | error", "an error of binary"),
        ("{(1): 2}", "a number cannot be a name"),
        ("\"[1\" | fromjson", "not JSON"),
        ("[[1]] | join(\",\")", "a list cannot be joined"),
        ("[[1]] | @csv", "a list cannot be in a row"),
        ("1 | divide(3; 99)", "0 to 34"),
        ("[55296] | implode", "is no character"),
    ] {
        let told = one(text).expect_err(text);
        assert!(told.contains(words), "{text}: {told}");
    }
}

#[test]
fn says_where_an_expression_is_wrong() {
    for (text, words) in [
        ("", "character 1: expected a path such as `.name`"),
        ("lenght", "character 1: there is no function `lenght`: is `length` meant"),
        (".ä | leng", "character 2: `ä` is not expected here: names with other characters"),
        ("\"ä\" | first | titel", "character 15: there is no function `titel`: a field is written `.titel`"),
        ("(.a", "character 1: `(` is not closed"),
        (".a + [1, {b: 2]", "character 10: `{` is not closed"),
        (".a)", "character 3: `)` is not expected here: nothing is open"),
        ("\"abc", "character 1: `\"` is not closed"),
        (".a == 'x'", "texts stand in double quotes"),
        (".a +", "character 5: expected a path"),
        ("if .a then 1", "expected `elif`, `else` or `end`, found the end"),
        (".a | $x", "character 6: `$x` is not known"),
        ("$ENV", "an item must always give the same document"),
        (". as $x | 1 | (. as $y | 2) | $y", "character 31: `$y` is not known"),
        ("now", "`now` is not available here: an item must always give the same document"),
        (".a | test(\"x\")", "character 6: `test` is not available here: there are no regular expressions"),
        ("[repeat(1)]", "character 2: `repeat` is not available here: nothing may go on without an end"),
        ("[recurse(.a)]", "`recurse` takes 0 arguments, not 1"),
        ("def f: f; f", "character 5: functions of one's own (`def`) are not available"),
        ("label $x | break $x", "`label` and `break` are not available"),
        ("split(\"a\"; \"b\")", "`split` takes 1 argument, not 2"),
        ("@html", "there is no function `@html`"),
        ("@sh \"x\\(1)\"", "there is no function `@sh`"),
        ("1 = 2", "what stands left of an assignment must be a path"),
        ("del(1)", "`del` takes a path"),
        ("reduce .[] as $x (0)", "`reduce` takes `(start; update)`"),
        ("1 .b", "character 4: a number has no fields"),
        (".a # b", "comments belong into the file"),
        ("1e99999", "character 1: `1e99999` is no number, or out of range"),
        ("1 2", "expected an operator, or the end, found `2`"),
    ] {
        let problem = Expression::parse(text).expect_err(text).to_string();
        assert!(problem.contains(words), "{text}: {problem}");
    }
}

#[test]
fn what_is_too_deep_is_not_read_and_what_is_read_runs() {
    let deep = |text: &str, times: usize| text.repeat(times);
    for text in [
        deep("(", 100_000),
        deep("[", 9_999),
        deep("- ", 4_000) + "1",
        deep("1|", 4_000) + "1",
        deep("try ", 2_000) + "1",
        deep("if 1 then ", 900),
        deep("1+", 4_000) + "1",
        deep("\"\\(", 2_000),
        deep("1 as $x|", 1_000) + "1",
        deep("reduce ", 1_000),
    ] {
        assert!(Expression::parse(&text).is_err(), "{}", &text[..20]);
    }
    for text in [
        deep("(", 40) + "1" + &deep(")", 40),
        deep("[", 40) + "1" + &deep("]", 40),
        deep("- ", 100) + "1",
        deep("1|", 100) + "1",
        deep("1+", 100) + "1",
        deep("1//", 100) + "1",
        deep("try ", 100) + "1",
        deep("1 as $x|", 50) + "1",
        ".".to_owned() + &deep("[0]", 250),
        deep(".a", 4_000),
        deep("if .vip then ", 33) + "1" + &deep(" else 1 end", 33),
        deep("[", 39) + &deep("- ", 100) + "1" + &deep("]", 39),
    ] {
        assert!(one(&text).is_ok(), "{}: {:?}", &text[..20], one(&text));
    }
}

#[test]
fn nothing_goes_on_for_ever() {
    for text in [
        "[range(1e18)]",
        "range(1e18) | empty",
        "first(range(1e18) | select(. < 0))",
        "[limit(1e18; range(1e18))]",
        ".tags[1000000000] = 1",
        "reduce range(1000000) as $i (0; [.])",
        "reduce range(1000000) as $i ({}; {a: .})",
        "reduce range(1000000) as $i ([1]; group_by(1))",
        "reduce range(1000000) as $i (null; .a = {b: .})",
        "reduce range(100) as $i (\"x\"; . + .)",
        "reduce range(100) as $i ([1]; . + .)",
        "reduce range(100) as $i (\"x\"; \"\\(.)\\(.)\")",
        "reduce range(100) as $i ([1]; [.[], .[]])",
        "[range(0; 1; 0)]",
        "reduce range(100) as $i (\"x\"; [., .] | join(\"y\"))",
        "try ([range(1e18)]) catch 1",
        "([range(1e18)])?",
        "[range(1e18)] // 1",
        "any(range(1e18); . < 0)",
        "isempty(range(1e18) | empty)",
        "[range(2000)] | [.[] as $x | .[] as $y | 1]",
        "[range(100000)] | . - .",
        "[range(100000)] | sort",
        "reduce range(300000) as $i ({}; .[$i | tostring] = 1)",
        "foreach range(1e18) as $x (0; .) | empty",
    ] {
        let begun = Instant::now();
        let told = one(text).map(|_| ()).expect_err(text);
        assert!(told.contains("too many") || told.contains("too deep"), "{text}: {told}");
        // Debug builds take some tenths of a second.
        assert!(begun.elapsed() < Duration::from_secs(20), "{text}: {:?}", begun.elapsed());
    }
    for text in [".[0]".repeat(2_000), format!("{} = 1", ".a".repeat(4_000)), format!("del({})", ".[0]".repeat(2_000))]
    {
        assert!(
            one(&text).is_ok_and(|_| text.starts_with("del")) || one(&text).expect_err("deep").contains("too deep")
        );
    }
    let product = "(.,.)|".repeat(30);
    assert!(one(&format!("{product}empty")).expect_err("too much").contains("too many steps"));
    assert!(one(&format!("[{product}.a?]")).expect_err("too much").contains("too many steps"));
}

#[test]
fn large_items_are_not_too_much() {
    let numbers: Vec<Value> = (0..20_000).map(|number| Value::Number(number.to_string())).collect();
    let item = Value::Map(vec![("a".to_owned(), Value::List(numbers))]);
    for text in [
        ".a | map(. * 2) | add",
        ".a | map(select(. % 2 == 0)) | length",
        "reduce .a[] as $x (0; . + $x)",
        "reduce .a[:1500][] as $x ({}; .[$x | tostring] += 1) | length",
        ".a | sort_by(-.) | first",
        ".a[5] += 1 | .a[5]",
    ] {
        let made = Expression::parse(text).expect(text).run(&item);
        assert!(matches!(made, Ok(Some(Value::Number(_)))), "{text}: {made:?}");
    }
}

#[test]
fn names_are_those_that_it_needs() {
    for (text, names) in [
        (".a", Some("a")),
        (".a.b + .c[0].d", Some("a c")),
        ("if .a then .b else .c end", Some("a b c")),
        ("if . then .b else 1 end", Some("b")),
        ("{a, x: .b, (.c | tostring): .d}", Some("a b c d")),
        ("\"\\(.a) \\(.b | length)\"", Some("a b")),
        (".a as $x | [.b] | map(. + $x)", Some("a b")),
        ("select(.a) | .b", Some("a b")),
        ("[.tags[] | .x | type] | length", Some("tags")),
        ("has(\"a\") and (.address | has(\"c\"))", Some("a address")),
        ("reduce .tags[] as $x (.first; . + $x)", Some("first tags")),
        ("any(.lines[]; .n > 3) or isempty(.b)", Some("b lines")),
        ("[(., .a) | .b]", Some("a b")),
        ("try .a catch .", Some("a")),
        (".a // .b", Some("a b")),
        (".[\"old name\"]", Some("old name")),
        ("[limit(1; .tags[])]", Some("tags")),
        ("1", Some("")),
        (".", None),
        (".[.a]", None),
        ("keys", None),
        ("to_entries", None),
        (". as $x | $x.a", None),
        ("{a: .}", None),
        (".a = 1", None),
        ("..", None),
        (".[]", None),
        ("[.] | .[0].a", None),
        ("with_entries(.value)", None),
        ("if .a then . else 1 end", None),
        (". == .a", None),
        ("any(., .a; .b)", Some("a b")),
        ("[., .a] | length", None),
    ] {
        let expression = Expression::parse(text).expect(text);
        let found = expression.names().map(|names| names.iter().cloned().collect::<Vec<_>>().join(" "));
        assert_eq!(found.as_deref(), names, "{text}");
        // Without the others it gives the same.
        if let Some(names) = expression.names() {
            let Value::Map(members) = item() else { panic!("no map") };
            let few = Value::Map(members.into_iter().filter(|(name, _)| names.contains(name)).collect());
            assert_eq!(expression.run(&few), expression.run(&item()), "{text}");
        }
    }
}

/// `cargo test --profile sim -p tidelock-core --lib -- --ignored --nocapture time_of_a_run`
#[test]
#[ignore = "measures, and asserts nothing"]
fn time_of_a_run() {
    let item = item();
    for text in [
        ".first == \"Ada\" and .total >= 100",
        ".first + \" \" + .last",
        "reduce (.lines[] | .price * .n) as $x (0; . + $x)",
        "[.lines[] | .price * .n] | add",
        "if .vip then \"gold\" else \"plain\" end",
    ] {
        let expression = Expression::parse(text).expect(text);
        let (begun, times) = (Instant::now(), 200_000);
        for _ in 0..times {
            assert!(std::hint::black_box(&expression).run(std::hint::black_box(&item)).is_ok());
        }
        println!("{text}: {:?}", begun.elapsed() / times);
    }
}
