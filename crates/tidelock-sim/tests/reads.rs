//! Documents by id, indices and mappings.

use crate::support::Client;
use serde_json::{Value, json};
use tidelock_sim::{EngineConfig, run};

#[test]
fn documents_by_id_as_they_are_now() {
    run(3, async {
        let client = Client::new(EngineConfig::default());
        client.one("index", "a", json!({"version": 6, "version_type": "external"})).await;
        client.one("index", "b", json!({})).await;
        client.one("delete", "b", json!({})).await;
        let (status, answer) = client.send("POST", "/i/_mget", r#"{"ids":["a","b","c"]}"#).await;
        let found = json!({
            "_index": "i", "_id": "a", "found": true, "_version": 6, "_seq_no": 0, "_primary_term": 1,
            "_source": {"of": {"_id": "a", "version": 6, "version_type": "external"}},
        });
        let missing = |id: &str| json!({"_index": "i", "_id": id, "found": false});
        assert_eq!((status, answer), (200, json!({"docs": [found, missing("b"), missing("c")]})));
        let (_, answer) = client.send("POST", "/i/_mget?realtime=false", r#"{"ids":["a"]}"#).await;
        assert_eq!(answer["docs"][0]["found"], false, "not refreshed yet");
    });
}

#[test]
fn documents_of_several_indices() {
    run(3, async {
        let client = Client::new(EngineConfig::default());
        client.engine.plant("one", "a", json!({"_tidelock": {"exact": "5"}, "x": 1}), 3);
        let body = json!({"docs": [{"_index": "one", "_id": "a"}, {"_index": "two", "_id": "a"}]}).to_string();
        let (_, answer) = client.send("POST", "/_mget?_source_includes=_tidelock", body).await;
        assert_eq!(answer["docs"][0]["_source"], json!({"_tidelock": {"exact": "5"}}));
        assert_eq!(answer["docs"][1]["error"]["type"], "index_not_found_exception");
        let (status, answer) = client.send("POST", "/gone/_mget", r#"{"ids":["a"]}"#).await;
        assert_eq!((status, &answer["docs"][0]["error"]["reason"]), (200, &json!("no such index [gone]")));
        for body in [r#"{"ids":["a"]}"#, r#"{"ids":[]}"#, r#"{"docs":[{"_index":"one"}]}"#, "{"] {
            assert_eq!(client.send("POST", "/_mget", body).await.0, 400, "{body}");
        }
    });
}

#[test]
fn an_index_is_created_once() {
    run(3, async {
        let client = Client::new(EngineConfig::default());
        assert_eq!(client.send("GET", "/i", "").await.0, 404);
        assert_eq!(client.send("GET", "/i/_mapping", "").await.1["error"]["type"], "index_not_found_exception");
        assert_eq!(client.send("PUT", "/i/_mapping", "{}").await.0, 404);
        assert_eq!(client.send("POST", "/i/_refresh", "").await.0, 404);
        let body = r#"{"mappings":{"properties":{"_tidelock":{"type":"object","enabled":false}}}}"#;
        assert_eq!(client.send("PUT", "/i", body).await.0, 200);
        let (status, answer) = client.send("PUT", "/i", body).await;
        assert_eq!((status, &answer["error"]["type"]), (400, &json!("resource_already_exists_exception")));
        let (status, answer) = client.send("GET", "/i/_mapping?filter_path=*.mappings", "").await;
        let mapped = json!({"i": {"mappings": {"properties": {"_tidelock": {"type": "object", "enabled": false}}}}});
        assert_eq!((status, answer), (200, mapped));
        assert_eq!(client.send("GET", "/i", "").await.0, 200);
        assert_eq!(client.send("PUT", "/Upper", "").await.1["error"]["type"], "invalid_index_name_exception");
        assert_eq!(client.engine.indices(), ["i"]);
    });
}

async fn properties(client: &Client) -> Value {
    client.send("GET", "/i/_mapping", "").await.1["i"]["mappings"]["properties"].clone()
}

#[test]
fn mappings_grow_and_never_change() {
    run(3, async {
        let client = Client::new(EngineConfig::default());
        let put = r#"{"properties":{"_tidelock":{"type":"object","enabled":false},"at":{"type":"date"}}}"#;
        client.send("PUT", "/i", "").await;
        assert_eq!(client.send("PUT", "/i/_mapping", put).await, (200, json!({"acknowledged": true})));
        assert_eq!(client.send("PUT", "/i/_mapping", put).await.0, 200, "the same again");
        let document = json!({"_tidelock": {"at": 1}, "at": 5, "n": 1, "f": 0.5, "t": "x", "o": {"p": [{"q": true}, {"r": 1}]}, "z": null});
        client.send("POST", "/i/_bulk", format!("{{\"index\":{{\"_id\":\"a\"}}}}\n{document}\n")).await;
        let text = json!({"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}});
        let grown = json!({
            "_tidelock": {"type": "object", "enabled": false}, "at": {"type": "date"}, "n": {"type": "long"},
            "f": {"type": "float"}, "t": text,
            "o": {"properties": {"p": {"properties": {"q": {"type": "boolean"}, "r": {"type": "long"}}}}},
        });
        assert_eq!(properties(&client).await, grown);
        for (body, status, kind) in [
            (r#"{"properties":{"n":{"type":"keyword"}}}"#, 400, "illegal_argument_exception"),
            (r#"{"properties":{"o":{"type":"object","enabled":false}}}"#, 500, "mapper_exception"),
            (r#"{"properties":{"n":1}}"#, 400, "mapper_parsing_exception"),
        ] {
            let (found, answer) = client.send("PUT", "/i/_mapping", body).await;
            assert_eq!((found, &answer["error"]["type"]), (status, &json!(kind)), "{body}");
        }
        assert_eq!(properties(&client).await, grown);
    });
}

#[test]
fn a_mapping_may_refuse_to_grow() {
    run(3, async {
        let client = Client::new(EngineConfig::default());
        let body = r#"{"mappings":{"dynamic":"strict","properties":{"n":{"type":"long"},"o":{"dynamic":false,"type":"object"}}}}"#;
        client.send("PUT", "/i", body).await;
        let write = |document: Value| format!("{{\"index\":{{\"_id\":\"a\"}}}}\n{document}\n");
        let (_, answer) = client.send("POST", "/i/_bulk", write(json!({"n": 1, "o": {"x": 1}}))).await;
        assert_eq!(answer["items"][0]["index"]["status"], 201);
        let (_, answer) = client.send("POST", "/i/_bulk", write(json!({"m": 1}))).await;
        assert_eq!(answer["items"][0]["index"]["error"]["type"], "strict_dynamic_mapping_exception");
        assert_eq!(
            properties(&client).await,
            json!({"n": {"type": "long"}, "o": {"type": "object", "dynamic": false}})
        );
    });
}

#[test]
fn what_the_model_does_not_know_says_so() {
    run(3, async {
        let client = Client::new(EngineConfig::default());
        let (status, answer) = client.send("POST", "/i/_update/a", "{}").await;
        assert_eq!(status, 400);
        assert_eq!(answer["error"]["reason"], "the model does not know POST /i/_update/a");
    });
}
