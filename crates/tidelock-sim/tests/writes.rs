//! `_bulk` itself: its forms, where it writes to, and what it refuses.

use crate::support::{Client, lines};
use serde_json::{Value, json};
use tidelock_sim::{EngineConfig, run};

#[test]
fn answers_are_shaped_like_the_engines() {
    run(2, async {
        let client = Client::new(EngineConfig::default());
        client.engine.plant("i", "b", json!({}), 9);
        let body = lines(&[
            (json!({"index": {"_id": "a", "version": 4, "version_type": "external"}}), Some(json!({"x": 1}))),
            (json!({"delete": {"_id": "b", "version": 4, "version_type": "external"}}), None),
            (json!({"create": {"_id": "c", "routing": "r"}}), Some(json!({}))),
        ]);
        let path = "/i/_bulk?filter_path=errors,items.*.status,items.*.error";
        let response = client.try_send("POST", path, body).await.expect("an answer");
        assert!(response.body.starts_with(br#"{"took":1,"errors":true,"items":[{"index":{"#));
        let answer: Value = serde_json::from_slice(&response.body).expect("JSON");
        let (index, delete, create) =
            (&answer["items"][0]["index"], &answer["items"][1]["delete"], &answer["items"][2]["create"]);
        for (member, value) in [
            ("_index", json!("i")),
            ("_id", json!("a")),
            ("_version", json!(4)),
            ("_seq_no", json!(1)),
            ("status", json!(201)),
        ] {
            assert_eq!(index[member], value, "{member}");
        }
        assert_eq!(delete["status"], 409);
        let reason = "[b]: version conflict, current version [9] is higher or equal to the one provided [4]";
        assert_eq!(delete["error"]["reason"], reason);
        assert_eq!((&create["status"], &create["_seq_no"]), (&json!(201), &json!(2)), "a refusal takes no number");
    });
}

#[test]
fn each_index_counts_for_itself_and_comes_by_itself() {
    run(2, async {
        let client = Client::new(EngineConfig::default());
        let guarded =
            |id: &str, index: &str| json!({"_index": index, "_id": id, "version": 7, "version_type": "external"});
        let body = lines(&[
            (json!({"index": guarded("a", "one")}), Some(json!({}))),
            (json!({"index": guarded("a", "two")}), Some(json!({}))),
            (json!({"delete": guarded("a", "three")}), None),
            (json!({"delete": {"_index": "four", "_id": "a"}}), None),
            (json!({"index": guarded("a", "_five")}), Some(json!({}))),
        ]);
        let (_, answer) = client.send("POST", "/_bulk", &*body.leak()).await;
        let found: Vec<_> = (0..5)
            .map(|position| {
                let item =
                    answer["items"][position].as_object().and_then(|item| item.values().next()).expect("an item");
                (item["status"].as_u64(), item["_seq_no"].as_i64(), item["error"]["type"].as_str().unwrap_or_default())
            })
            .collect();
        let expected = [
            (Some(201), Some(0), ""),
            (Some(201), Some(0), ""),
            (Some(404), Some(0), ""),
            (Some(404), None, "index_not_found_exception"),
            (Some(400), None, "invalid_index_name_exception"),
        ];
        assert_eq!(found, expected);
        assert_eq!(client.engine.indices(), ["one", "three", "two"]);
    });
}

#[test]
fn indices_are_decoded_and_routing_is_kept() {
    run(2, async {
        let client = Client::new(EngineConfig::default());
        let body = lines(&[(json!({"index": {"_id": "a", "routing": "r"}}), Some(json!({"x": 1})))]);
        client.send("POST", "/a%2B%C3%A9/_bulk", body).await;
        assert_eq!(client.engine.documents("a+é")["a"], (1, json!({"x": 1})));
        let body = json!({"docs": [{"_index": "a+é", "_id": "a", "routing": "r"}]});
        let (_, answer) = client.send("POST", "/_mget", body.to_string()).await;
        assert_eq!(answer["docs"][0]["_routing"], "r");
    });
}

#[test]
fn one_bad_line_sinks_the_request() {
    run(2, async {
        let client = Client::new(EngineConfig::default());
        let good = lines(&[(json!({"index": {"_id": "good"}}), Some(json!({})))]);
        for (line, kind) in [
            (json!({"update": {"_id": "a"}}), "parsing_exception"),
            (json!({"upsert": {"_id": "a"}}), "illegal_argument_exception"),
            (json!({"delete": {"_id": "a", "colour": 1}}), "illegal_argument_exception"),
            (json!({"delete": {"_id": "a", "version": 1, "version_type": "force"}}), "illegal_argument_exception"),
            (json!({"delete": {"_id": ""}}), "illegal_argument_exception"),
            (json!({"delete": {}}), "action_request_validation_exception"),
            (json!({"delete": {"_id": "x".repeat(513)}}), "action_request_validation_exception"),
            (json!({"delete": {"_id": "a", "version": 3}}), "action_request_validation_exception"),
            (json!({"delete": {"_id": "a", "version_type": "external"}}), "action_request_validation_exception"),
            (
                json!({"delete": {"_id": "a", "version": -1, "version_type": "external"}}),
                "action_request_validation_exception",
            ),
            (json!({"delete": {"_id": "a", "if_seq_no": 1}}), "action_request_validation_exception"),
            (json!({"delete": {"_id": "a", "if_primary_term": 1}}), "action_request_validation_exception"),
            (
                json!({"delete": {"_id": "a", "if_seq_no": 1, "if_primary_term": 1, "version": 1, "version_type": "external"}}),
                "action_request_validation_exception",
            ),
            (
                json!({"create": {"_id": "a", "version": 1, "version_type": "external"}}),
                "action_request_validation_exception",
            ),
        ] {
            let (status, answer) = client.send("POST", "/i/_bulk", format!("{good}{line}\n")).await;
            assert_eq!((status, &answer["error"]["type"]), (400, &json!(kind)), "{line}: {answer}");
        }
        for body in ["", "\n", "{\"delete\":{\"_id\":\"a\"}}", "[]\n", "<html>\n"] {
            assert_eq!(client.send("POST", "/i/_bulk", body).await.0, 400, "{body}");
        }
        let nowhere = lines(&[(json!({"delete": {"_id": "a"}}), None)]);
        assert_eq!(client.send("POST", "/_bulk", nowhere).await.0, 400);
        assert!(client.engine.indices().is_empty(), "nothing of them was applied");
    });
}

#[test]
fn a_document_that_cannot_be_read_fails_alone() {
    run(2, async {
        let client = Client::new(EngineConfig::default());
        let body = "{\"index\":{\"_id\":\"a\"}}\n[1]\n{\"index\":{\"_id\":\"b\"}}\n{\n{\"index\":{}}\n{\"x\":1}\n";
        let (status, answer) = client.send("POST", "/i/_bulk", body).await;
        let statuses: Vec<_> = (0..3).map(|position| answer["items"][position]["index"]["status"].as_u64()).collect();
        assert_eq!((status, statuses), (200, vec![Some(400), Some(400), Some(201)]));
        assert_eq!(answer["items"][0]["index"]["error"]["type"], "mapper_parsing_exception");
        assert_eq!(client.engine.documents("i").len(), 1);
    });
}
