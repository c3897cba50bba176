//! What operators and oracles do with the engine itself.

use crate::support::Client;
use serde_json::json;
use tidelock_sim::{EngineConfig, run};

#[test]
fn planted_documents_were_always_there() {
    run(5, async {
        let client = Client::new(EngineConfig::default());
        client.engine.plant("i", "a", json!({"x": 1}), 77);
        assert_eq!(client.engine.documents("i"), [("a".to_owned(), (77, json!({"x": 1})))].into());
        let (_, answer) = client.send("POST", "/i/_search", "").await;
        assert_eq!(answer["hits"]["total"]["value"], 1, "searches see it");
        assert_eq!(client.one("index", "a", json!({"version": 77, "version_type": "external"})).await, (409, 0));
        assert_eq!(client.one("index", "a", json!({"if_seq_no": 0, "if_primary_term": 1})).await, (200, 78));
        assert!(client.engine.documents("gone").is_empty());
    });
}

#[test]
fn a_copy_has_versions_of_its_own_or_the_same() {
    run(5, async {
        let client = Client::new(EngineConfig::default());
        client.engine.plant("from", "a", json!({"x": 1}), 70);
        client.engine.plant("from", "b", json!({"x": 2}), 80);
        client.engine.plant("kept", "b", json!({"x": 3}), 80);
        assert_eq!(client.engine.reindex("from", "fresh", false), 2);
        let versions = |index: &str| -> Vec<_> {
            client.engine.documents(index).into_iter().map(|(id, (version, source))| (id, version, source)).collect()
        };
        assert_eq!(versions("fresh"), [("a".into(), 1, json!({"x": 1})), ("b".into(), 1, json!({"x": 2}))]);
        assert_eq!(client.engine.reindex("from", "kept", true), 1, "what is not older stays");
        assert_eq!(versions("kept"), [("a".into(), 70, json!({"x": 1})), ("b".into(), 80, json!({"x": 3}))]);
        assert_eq!(client.engine.reindex("from", "fresh", false), 2);
        assert_eq!(versions("fresh")[0].1, 2, "over what is there, versions count on");
        assert_eq!(client.engine.reindex("gone", "fresh", false), 0);
        let (_, answer) = client.send("POST", "/fresh/_search", "").await;
        assert_eq!(answer["hits"]["total"]["value"], 0, "not refreshed");
        client.engine.refresh("fresh");
        let (_, answer) = client.send("POST", "/fresh/_search", "").await;
        assert_eq!(answer["hits"]["total"]["value"], 2);
    });
}
