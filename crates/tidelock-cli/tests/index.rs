//! `tidelock index` on a real OpenSearch, with tables of DynamoDB Local behind it.

use std::fs;
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::backfill::{ask, dynamodb, table};
use crate::bootstrap::TestFolder;

/// An OpenSearch, and names that nobody else has there.
struct Engine {
    url: String,
    stem: String,
    folder: TestFolder,
}

impl Engine {
    /// OpenSearch, or a loud note. Where services are required, its absence is a failure.
    fn new(test: &str) -> Option<Self> {
        let url = std::env::var("TIDELOCK_TEST_OPENSEARCH").ok().filter(|url| !url.is_empty());
        let Some(url) = url else {
            assert!(std::env::var("TIDELOCK_REQUIRE_SERVICES").is_err(), "TIDELOCK_TEST_OPENSEARCH is not set");
            eprintln!("\n*** SKIPPED: set TIDELOCK_TEST_OPENSEARCH to run this test ***\n");
            return None;
        };
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let stem = format!("cli-{test}-{}-{nanos:x}", std::process::id());
        Some(Self { url, stem, folder: TestFolder::new(&format!("index-{test}")) })
    }

    /// Status and body of a request. `@` in path and body stands for the test's own names.
    fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-g", "-w", "\n%{http_code}", "-X", method, &format!("{}{}", self.url, self.named(path))]);
        if !body.is_null() {
            curl.args(["-H", "Content-Type: application/json", "-d", &self.named(&body.to_string())]);
        }
        let output = curl.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
    }

    fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call(method, path, body);
        assert!(status < 300, "{method} {path}: {answer}");
        answer
    }

    fn get(&self, path: &str) -> Value {
        self.done("GET", path, &Value::Null)
    }

    fn named(&self, text: &str) -> String {
        text.replace('@', &self.stem)
    }

    fn command(&self, arguments: &[&str], pipeline: &str) -> Output {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        fs::write(path("pipeline.yaml"), self.named(pipeline)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidelock"));
        command
            .args(arguments.iter().map(|argument| self.named(argument)))
            .env_clear()
            .env("TIDELOCK_TARGET", self.url.replace("http://", "opensearch+http://"))
            .env("TIDELOCK_PIPELINE", path("pipeline.yaml"))
            .env("TIDELOCK_STATE", format!("file:{}", path("state")))
            .env("TIDELOCK_DEAD_LETTERS", format!("file:{}", path("letters")))
            .env("TIDELOCK_SOURCE", "dynamodb:")
            .env("AWS_ENDPOINT_URL_DYNAMODB", std::env::var("TIDELOCK_TEST_DYNAMODB").unwrap_or_default())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test");
        command.output().unwrap()
    }

    /// What a command prints, which must end with this status.
    fn told(&self, status: i32, arguments: &[&str], pipeline: &str) -> String {
        let output = self.command(arguments, pipeline);
        let told = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}\n{told}");
        told.replace(&self.stem, "@")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.call("DELETE", "/_data_stream/@*", &Value::Null);
        let (_, indices) = self.call("GET", "/_cat/indices/@*?format=json&h=index", &Value::Null);
        for index in indices.as_array().into_iter().flatten() {
            self.call("DELETE", &format!("/{}", index["index"].as_str().unwrap_or_default()), &Value::Null);
        }
        let (_, templates) = self.call("GET", "/_index_template/*@*", &Value::Null);
        for template in templates["index_templates"].as_array().into_iter().flatten() {
            self.call(
                "DELETE",
                &format!("/_index_template/{}", template["name"].as_str().unwrap_or_default()),
                &Value::Null,
            );
        }
    }
}

const FILE: &str = "
version: 1
routes:
  - {from: t, where: .x == 1, to: '@-orders'}
  - {from: t, to: '@-by-{country}'}
indexes:
  '@-orders':
    settings: {number_of_shards: 2, refresh_interval: 5s, analysis: {analyzer: {a: {type: custom, tokenizer: standard, filter: [lowercase]}}}}
    mappings:
      date_detection: false
      properties:
        id: {type: keyword}
        name: {type: text, analyzer: a, fields: {raw: {type: keyword, ignore_above: 256}}}
        address.zip: {type: keyword}
        total: {type: scaled_float, scaling_factor: 100}
    aliases: {'@-search': {routing: x}}
  '@-by-*':
    settings: {number_of_shards: 1, index: {refresh_interval: 7s}}
    mappings: {dynamic: false, properties: {id: {type: keyword}}}
    aliases: {'@-all': {}}
";

#[test]
fn what_is_missing_is_made_and_a_second_run_has_nothing_to_do() {
    let Some(engine) = Engine::new("apply") else { return };
    engine.done("PUT", "/@-by-at", &json!({"mappings": {"properties": {"more": {"type": "long"}}}}));
    let told = engine.told(1, &["index", "diff"], FILE);
    assert!(told.contains("+ @-orders: created: 5 settings, 4 fields"), "{told}");
    assert!(told.contains("+ template tidelock-@-by-~: created, for `@-by-*`"), "{told}");
    assert!(told.contains("  @-by-at: field `more` (long) is not in the file"), "{told}");
    assert_eq!(engine.call("GET", "/@-orders", &Value::Null).0, 404, "a comparison writes nothing");
    assert!(engine.told(2, &["index", "apply"], FILE).contains("give --yes"));
    let told = engine.told(0, &["index", "apply", "--yes"], FILE);
    for line in [
        "done: @-orders: created: 5 settings, 4 fields",
        "done: @-orders: alias `@-search` added",
        "done: template tidelock-@-by-~: created",
        "done: @-by-at: field `id` (keyword) added",
        "done: @-by-at: mapping: dynamic true → false",
        "done: @-by-at: index.refresh_interval 1s → 7s",
        "done: @-by-at: alias `@-all` added",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    assert!(engine.told(0, &["index", "apply"], FILE).contains("nothing to do"));
    assert!(engine.told(0, &["index", "diff"], FILE).contains("as the pipeline wants it"));
    // The template makes what comes to be later.
    engine.done("PUT", "/@-by-de/_doc/1?refresh=true", &json!({"id": "1", "other": {"x": 1}}));
    let made = &engine.get("/@-by-de")[engine.named("@-by-de")];
    assert_eq!(made["mappings"]["properties"]["_tidelock"], json!({"type": "object", "enabled": false}));
    assert_eq!(
        (&made["mappings"]["properties"]["other"], &made["aliases"][engine.named("@-all")]),
        (&Value::Null, &json!({}))
    );
    assert!(engine.told(0, &["index", "diff"], FILE).contains("as the pipeline wants it"));
}

#[test]
fn what_can_be_changed_is_and_the_rest_is_refused_with_the_way_out() {
    let Some(engine) = Engine::new("change") else { return };
    engine.told(0, &["index", "apply", "--yes"], FILE);
    engine.done("PUT", "/@-orders/_doc/1?refresh=true", &json!({"id": "1", "dynamic": {"x": 1.5}}));
    let changed = FILE
        .replace("refresh_interval: 5s", "refresh_interval: 9s, max_result_window: 500")
        .replace("number_of_shards: 2", "number_of_shards: 3")
        .replace("id: {type: keyword}\n        name", "id: {type: long}\n        at: {type: date}\n        name")
        .replace("ignore_above: 256}}}", "ignore_above: 100}, more: {type: keyword}}}")
        .replace("dynamic: false,", "dynamic: strict,");
    let answer: Value = serde_json::from_str(&engine.told(1, &["index", "diff", "--json"], &changed)).unwrap();
    let orders = answer.as_array().unwrap().iter().find(|plan| plan["index"] == "@-orders").unwrap();
    let mut changes: Vec<&str> =
        orders["changes"].as_array().unwrap().iter().map(|told| told.as_str().unwrap()).collect();
    changes.sort_unstable();
    assert_eq!(
        changes,
        [
            "field `at` (date) added",
            "field `name.more` (keyword) added",
            "field `name.raw`: ignore_above 256 → 100",
            "index.max_result_window 10000 → 500",
            "index.refresh_interval 5s → 9s",
        ]
    );
    assert_eq!(orders["notes"], json!(["field `dynamic` (object) is not in the file"]));
    let refused: Vec<&str> =
        orders["refused"].as_array().unwrap().iter().map(|refused| refused["what"].as_str().unwrap()).collect();
    assert_eq!(refused, ["index.number_of_shards", "field `id`"]);
    let told = engine.told(1, &["index", "apply", "--yes"], &changed);
    assert!(told.contains("! @-orders: field `id`: it is keyword, and a field's type never changes to long"), "{told}");
    assert!(told.contains("tidelock index swap"), "{told}");
    assert!(told.contains("done: @-orders: field `at` (date) added"), "{told}");
    assert!(told.contains("done: template tidelock-@-by-~: changed"), "{told}");
    let now = &engine.get("/@-orders?flat_settings=true")[engine.named("@-orders")];
    assert_eq!(now["settings"]["index.max_result_window"], "500");
    assert_eq!(now["mappings"]["properties"]["name"]["fields"]["raw"]["ignore_above"], 100);
    assert_eq!(now["mappings"]["properties"]["id"]["type"], "keyword");
    let told = engine.told(1, &["index", "apply"], &changed);
    assert!(told.contains("nothing else to do"), "{told}");
    // What only the server knows to be wrong.
    let wrong = FILE.replace("at: {type: date}", "").replace("total: {", "x: {type: nosuchtype}\n        total: {");
    let told = engine.told(1, &["index", "apply", "--yes"], &wrong);
    assert!(told.contains("! @-orders: the server refuses:") && told.contains("nosuchtype"), "{told}");
}

#[test]
fn the_mark_is_neither_searched_nor_counted() {
    let Some(engine) = Engine::new("mark") else { return };
    // Five fields with the mark, one of them made of two: no room for another.
    let file = FILE.replace("number_of_shards: 2", "number_of_shards: 1, mapping.total_fields.limit: 8");
    engine.told(0, &["index", "apply", "--yes"], &file);
    let mark: Value = (0..50).map(|n| (format!("f{n}"), json!({"deep": n}))).collect::<serde_json::Map<_, _>>().into();
    engine.done("PUT", "/@-orders/_doc/1?refresh=true&routing=x", &json!({"id": "1", "_tidelock": mark}));
    let refused = engine.call("PUT", "/@-orders/_doc/2", &json!({"id": "2", "one": 1, "two": 2}));
    assert!(refused.0 == 400 && refused.1.to_string().contains("total fields"), "the limit is a limit: {refused:?}");
    let found = |query: Value| {
        engine.done("POST", "/@-orders/_search", &json!({"query": query}))["hits"]["total"]["value"].clone()
    };
    assert_eq!(found(json!({"term": {"id": "1"}})), 1);
    for field in ["_tidelock.f1.deep", "_tidelock.f1", "_tidelock"] {
        assert_eq!(found(json!({"exists": {"field": field}})), 0, "{field}");
        assert_eq!(found(json!({"term": {field: 1}})), 0, "{field}");
    }
    let document = engine.get("/@-orders/_doc/1?routing=x");
    assert_eq!(document["_source"]["_tidelock"]["f49"]["deep"], 49, "it is kept");
    let fields = engine.get("/@-orders/_mapping/field/_tidelock*");
    assert_eq!(fields[engine.named("@-orders")]["mappings"], json!({}));
}

#[test]
fn an_alias_moves_to_an_index_that_has_been_filled() {
    let (Some(url), Some(engine)) = (dynamodb(), Engine::new("swap")) else { return };
    let name = table(&url, 120);
    let file = format!(
        "
version: 1
routes:
  - {{from: {name}, to: '@-v2'}}
indexes:
  '@-v1': {{}}
  '@-v2': {{mappings: {{properties: {{n: {{type: keyword}}}}}}, aliases: {{'@-orders': {{}}}}}}
"
    );
    engine.done("PUT", "/@-v1", &json!({"aliases": {"@-orders": {"filter": {"exists": {"field": "n"}}}}}));
    engine.done("PUT", "/@-v1/_doc/old?refresh=true", &json!({"n": 1}));
    // Applied, the alias stays: it would stand for both.
    let told = engine.told(1, &["index", "apply", "--yes"], &file);
    assert!(told.contains("`tidelock index swap @-orders --to @-v2`"), "{told}");
    assert_eq!(engine.get("/@-v2/_alias")[engine.named("@-v2")]["aliases"], json!({}));
    let told = engine.told(0, &["index", "swap", "@-orders", "--to", "@-v2"], &file);
    for line in [
        "120  items read that routes take",
        "120  documents in `@-v2`",
        "1  documents in `@-orders` (@-v1) until now",
        "`@-orders` is on `@-v2` now",
        "DELETE ",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    let aliases = engine.get("/_alias/@-orders");
    assert_eq!(aliases, json!({engine.named("@-v2"): {"aliases": {engine.named("@-orders"): {}}}}));
    let document = &engine.get("/@-v2/_search?size=1")["hits"]["hits"][0]["_source"];
    assert!(document["_tidelock"].is_object(), "guarded as any: {document}");
    assert_eq!(engine.get("/@-v1/_count")["count"], 1, "the old one is left");
    assert!(engine.told(0, &["index", "swap", "@-orders", "--to", "@-v2"], &file).contains("nothing to do"));
    assert!(engine.told(0, &["index", "diff"], &file).contains("as the pipeline wants it"));
    // And back, to an index that is filled already; its file says nothing of the alias, so the filter goes with it.
    let back = file.replace("to: '@-v2'", "to: '@-v1'");
    let told = engine.told(0, &["index", "swap", "@-orders", "--to", "@-v1", "--skip-backfill"], &back);
    assert!(!told.contains("items read") && told.contains("`@-orders` is on `@-v1` now"), "{told}");
    // What is not whole gets no alias, unless somebody says that it shall.
    let bad = file
        .replace("to: '@-v2'", "to: '@-v4'")
        .replace("'@-v1': {}", "'@-v4': {mappings: {properties: {n: {type: boolean}}}}");
    let told = engine.told(1, &["index", "swap", "@-orders", "--to", "@-v4"], &bad);
    assert!(told.contains("120 items") && told.contains("became dead letters"), "{told}");
    assert!(engine.get("/_alias/@-orders")[engine.named("@-v1")].is_object(), "it stays where it is");
    // A second backfill of the same source into another index begins anew.
    let told = engine.told(0, &["index", "swap", "@-orders", "--to", "@-v2", "--rcu", "100000"], &file);
    assert!(told.contains("120  newer in the target already") || told.contains("120  documents in `@-v2`"), "{told}");
    ask(&url, "DeleteTable", &json!({"TableName": name}));
}

#[test]
fn a_swap_that_would_lose_changes_is_refused() {
    let Some(engine) = Engine::new("refused") else { return };
    let file = "{version: 1, routes: [{from: t, to: '@-v2'}, {from: 'p-*', to: '@-v3'}, {from: s, to: '@-stream'}, {from: a, to: '@-two'}],
        indexes: {'@-v2': {}, '@-v3': {}}}";
    engine.done(
        "PUT",
        "/_index_template/@-t",
        &json!({"index_patterns": ["@-stream*"], "data_stream": {}, "priority": 900}),
    );
    engine.done("PUT", "/_data_stream/@-stream", &Value::Null);
    engine.done("PUT", "/@-plain", &json!({"aliases": {"@-two": {"is_write_index": true}}}));
    engine.done("PUT", "/@-other", &json!({"aliases": {"@-two": {}}}));
    let refused = |alias: &str, to: &str| engine.told(1, &["index", "swap", alias, "--to", to], file);
    let told = refused("@-a", "@-v1");
    assert!(
        told.contains("no route of the pipeline leads to `@-v1` directly") && told.contains("would come back"),
        "{told}"
    );
    assert!(refused("@-plain", "@-v2").contains("`@-plain` is an index itself"));
    assert!(refused("@-a", "@-stream").contains("is a data stream"));
    assert!(refused("@-a", "@-two").contains("alias of 2 indices"));
    assert!(refused("@-stream", "@-v2").contains("is a data stream"));
    let told = engine.told(2, &["index", "swap", "@-a", "--to", "@-v3"], file);
    assert!(told.contains("--from NAME"), "{told}");
    // What routes lead to is looked at by the others, too.
    for subcommand in [&["index", "diff"][..], &["index", "apply", "--yes"]] {
        let told = engine.told(1, subcommand, file);
        assert!(told.contains("`@-stream` is a data stream: it can only be appended to"), "{told}");
        assert!(told.contains("`@-two` is an alias of 2 indices (@-other, @-plain)"), "{told}");
    }
    assert!(engine.told(2, &["index", "diff"], "{version: 1, routes: [{from: t}]}").contains("no `indexes`"));
    let elsewhere = ["index", "diff", "--target", "opensearch+http://127.0.0.1:1"];
    assert!(engine.told(2, &elsewhere, file).contains("unreachable"));
    assert!(engine.told(2, &["index", "diff", "--target", "stdout:"], file).contains("TIDELOCK_TARGET"));
}

#[test]
fn the_first_write_makes_an_index_as_the_pipeline_says() {
    let (Some(url), Some(engine)) = (dynamodb(), Engine::new("first")) else { return };
    let name = table(&url, 3);
    let brought = |status: i32, to: &str, indexes: &str| {
        let file = format!("{{version: 1, routes: [{{from: '{name}', to: '{to}'}}], indexes: {{{indexes}}}}}");
        engine.told(status, &["backfill", &name, "--restart", "--segments", "1"], &file)
    };
    let described = "settings: {number_of_shards: 2}, mappings: {properties: {n: {type: keyword}}}";
    brought(0, "@-new", &format!("'@-new': {{{described}, aliases: {{'@-al': {{}}}}}}"));
    let made = &engine.get("/@-new?flat_settings=true")[engine.named("@-new")];
    assert_eq!(made["settings"]["index.number_of_shards"], "2");
    assert_eq!(made["mappings"]["properties"]["n"], json!({"type": "keyword"}));
    assert_eq!(made["mappings"]["properties"]["_tidelock"], json!({"type": "object", "enabled": false}));
    assert_eq!(made["aliases"], json!({engine.named("@-al"): {}}));
    // By a pattern; and an alias that another index holds stays there.
    brought(0, "@-p-1", &format!("'@-p-*': {{{described}}}"));
    assert_eq!(engine.get("/@-p-1/_mapping")[engine.named("@-p-1")]["mappings"]["properties"]["n"]["type"], "keyword");
    brought(0, "@-second", "'@-second': {aliases: {'@-al': {}}}");
    assert_eq!(engine.get("/@-second/_alias")[engine.named("@-second")]["aliases"], json!({}));
    // Nothing is made by dynamic mapping where the description is wrong.
    let told = brought(1, "@-wrong", "'@-wrong': {mappings: {properties: {n: {type: nosuchtype}}}}");
    assert!(
        told.contains("cannot be made as `indexes.@-wrong` of the pipeline says") && told.contains("nosuchtype"),
        "{told}"
    );
    assert_eq!(engine.call("GET", "/@-wrong", &Value::Null).0, 404);
    // Where a key has no place of its own.
    engine.done(
        "PUT",
        "/_index_template/@-t",
        &json!({"index_patterns": ["@-ds*"], "data_stream": {}, "priority": 900}),
    );
    engine.done("PUT", "/_data_stream/@-ds1", &Value::Null);
    engine.done("PUT", "/@-w1", &json!({"aliases": {"@-roll": {"is_write_index": true}}}));
    engine.done("PUT", "/@-w2", &json!({"aliases": {"@-roll": {}}}));
    for (to, why) in
        [("@-ds1", "is a data stream"), ("@-ds2", "would be a data stream"), ("@-roll", "more than one index")]
    {
        let told = brought(1, to, "");
        assert!(told.contains("unsuitable_target") && told.contains(why), "{told}");
    }
    assert_eq!(engine.get("/@-w1/_count")["count"], 0);
    // An alias of one index takes them.
    engine.done("DELETE", "/@-w2", &Value::Null);
    brought(0, "@-roll", "");
    engine.done("POST", "/@-w1/_refresh", &Value::Null);
    assert_eq!(engine.get("/@-w1/_count")["count"], 3);
    ask(&url, "DeleteTable", &json!({"TableName": name}));
}

fn sample(name: &str) -> String {
    format!("{}/../../events/dynamodb/{name}.json", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn what_is_proposed_takes_the_samples_and_dynamic_mapping_does_not() {
    let (Some(url), Some(engine)) = (dynamodb(), Engine::new("suggest")) else { return };
    let files = ["all-types", "numbers", "mapping-conflict"].map(sample);
    let table = engine.named("@-t");
    let create = json!({
        "TableName": table, "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "N"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    });
    ask(&url, "CreateTable", &create);
    let mut items = 0;
    for file in &files {
        let event: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        for record in event["Records"].as_array().unwrap() {
            ask(&url, "PutItem", &json!({"TableName": table, "Item": record["dynamodb"]["NewImage"]}));
            items += 1;
        }
    }
    let routes = "version: 1\nroutes:\n  - {from: mytable, to: '@-proposed'}\n  - {from: '@-t', to: '@-proposed'}\n";
    let plain = routes.replace("@-proposed", "@-dynamic");
    let arguments: Vec<&str> = ["index", "suggest"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let output = engine.command(&arguments, routes);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("age    ") && told.contains("long and object") && told.contains("(id 61)"), "{told}");
    let proposed = format!("{routes}{}", String::from_utf8(output.stdout).unwrap());
    engine.told(0, &["index", "apply", "--yes"], &proposed);
    assert!(engine.told(0, &["index", "diff"], &proposed).contains("as the pipeline wants it"));
    // With the proposal in the pipeline nothing conflicts any more.
    assert!(!engine.told(0, &arguments, &proposed).contains("CONFLICT"));
    let backfill = ["backfill", "@-t", "--restart", "--segments", "1", "--json"];
    let answer: Value = serde_json::from_str(&engine.told(0, &backfill, &proposed)).unwrap();
    assert_eq!((&answer["counts"]["written"], &answer["counts"]["parked"]), (&json!(items), &json!(0)), "{answer}");
    let answer: Value = serde_json::from_str(&engine.told(3, &backfill, &plain)).unwrap();
    assert!(answer["counts"]["reasons"]["mapping_conflict"].as_u64().unwrap() >= 2, "{answer}");
    ask(&url, "DeleteTable", &json!({"TableName": table}));
}

#[test]
fn mappings_are_proposed_by_route_and_behind_transforms() {
    let folder = TestFolder::new("index-lines");
    let path = folder.path().join("lines.jsonl");
    let line = |id: &str, image: &Value| {
        json!({
            "eventName": "INSERT", "eventSourceARN": "arn:aws:dynamodb:us-east-1:1:table/t/stream/2020-04-29T13:00:00.000",
            "dynamodb": {"Keys": {"id": {"S": id}}, "NewImage": image, "SequenceNumber": "5"},
        })
    };
    let lines = [
        line("a", &json!({"id": {"S": "a"}, "country": {"S": "at"}, "total": {"S": "1.5"}, "at": {"S": "2026-01-02"}})),
        line("b", &json!({"id": {"S": "b"}, "country": {"S": "de"}, "total": {"N": "2"}, "at": {"S": "soon"}})),
        json!({"Records": [line("c", &json!({"id": {"S": "c"}, "out": {"BOOL": true}}))]}),
    ];
    fs::write(&path, lines.map(|line| line.to_string()).join("\n")).unwrap();
    let suggest = |pipeline: &str, file: &str| {
        Command::new(env!("CARGO_BIN_EXE_tidelock"))
            .args(["index", "suggest", file])
            .env_clear()
            .env("TIDELOCK_PIPELINE", pipeline)
            .output()
            .unwrap()
    };
    let pipeline = "
version: 1
routes: [{from: t, where: .out != true, to: 'orders-{country}', transform: [{convert: {field: total, to: double}}]}]
";
    let output = suggest(pipeline, path.to_str().unwrap());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "indexes:
  \"orders-*\":  # from 2 documents
    mappings:
      date_detection: false
      properties:
        at: {type: keyword, ignore_above: 8191}
        country: {type: keyword, ignore_above: 8191}
        id: {type: keyword, ignore_above: 8191}
        total: {type: double}  # {type: scaled_float, scaling_factor: 10} is smaller, where there are never more than 1 digits behind the point
"
    );
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("note: 1 records: left out by the pipeline"), "{told}");
    assert!(told.contains("lines.jsonl 1 (id a): 2026-01-02") && told.contains("lines.jsonl 2 (id b): soon"), "{told}");
    for (file, why) in
        [("/nowhere", "nowhere"), (&sample("not-an-event"), "neither an event"), (&sample("empty"), "no record")]
    {
        let output = suggest("", file);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{output:?}");
    }
}
