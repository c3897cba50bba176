//! What searches see, find and how they page.

use crate::support::{Client, lines};
use serde_json::{Value, json};
use tidelock_sim::{EngineConfig, run};

/// An index of fences: their times are searchable, their marks are not.
async fn client() -> Client {
    let client = Client::new(EngineConfig::default());
    let mapping = json!({"mappings": {"properties": {
        "_tidelock": {"type": "object", "enabled": false}, "at": {"type": "long"}, "name": {"type": "keyword"},
    }}});
    client.send("PUT", "/i", mapping.to_string()).await;
    let documents = [("d", 40), ("b", 20), ("a", 20), ("c", i64::MAX), ("e", -5)];
    let write = |(id, at): (&str, i64)| {
        (
            json!({"index": {"_id": id, "version": 7, "version_type": "external"}}),
            Some(json!({"at": at, "name": id, "_tidelock": {"at": at}})),
        )
    };
    client.send("POST", "/i/_bulk", lines(&documents.map(write))).await;
    client.send("POST", "/i/_refresh", "").await;
    client
}

async fn ids(client: &Client, body: Value) -> Vec<String> {
    let (status, answer) = client.send("POST", "/i/_search", body.to_string()).await;
    assert_eq!(status, 200, "{answer}");
    let hits = answer["hits"]["hits"].as_array().expect("hits");
    hits.iter().map(|hit| hit["_id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn only_what_was_refreshed_is_seen() {
    run(4, async {
        let client = client().await;
        let all = json!({"query": {"match_all": {}}, "sort": ["_id"]});
        client.one("index", "f", json!({})).await;
        client.one("delete", "a", json!({})).await;
        client.one("index", "b", json!({"version": 9, "version_type": "external"})).await;
        assert_eq!(ids(&client, all.clone()).await, ["a", "b", "c", "d", "e"]);
        let (_, answer) = client
            .send("POST", "/i/_search", json!({"query": {"ids": {"values": ["b"]}}, "version": true}).to_string())
            .await;
        assert_eq!(
            (&answer["hits"]["hits"][0]["_version"], &answer["hits"]["hits"][0]["_source"]["at"]),
            (&json!(7), &json!(20))
        );
        client.send("POST", "/i/_refresh", "").await;
        assert_eq!(ids(&client, all.clone()).await, ["b", "c", "d", "e", "f"]);
        client.send("POST", "/i/_bulk?refresh=true", lines(&[(json!({"delete": {"_id": "f"}}), None)])).await;
        assert_eq!(ids(&client, all).await, ["b", "c", "d", "e"]);
    });
}

#[test]
fn ranges_and_other_queries() {
    run(4, async {
        let client = client().await;
        let range = |bounds: Value| json!({"range": {"at": bounds}});
        for (query, found) in [
            (json!({"match_all": {}}), "abcde"),
            (range(json!({"gte": 20, "lt": 40})), "ab"),
            (range(json!({"gt": 20})), "cd"),
            (range(json!({"lte": 20})), "abe"),
            (range(json!({"gte": i64::MIN})), "abcde"),
            (range(json!({"gt": i64::MAX - 1})), "c"),
            (range(json!({"gte": null, "lte": 20.5})), "abe"),
            (json!({"bool": {"filter": [range(json!({"gte": 20})), range(json!({"lte": 40}))]}}), "abd"),
            (json!({"bool": {"filter": range(json!({"gte": 20})), "must_not": {"term": {"name": "a"}}}}), "bcd"),
            (json!({"bool": {"should": [{"term": {"name": {"value": "a"}}}, {"terms": {"name": ["e", "x"]}}]}}), "ae"),
            (json!({"exists": {"field": "at"}}), "abcde"),
            // What is kept in the source alone is found by nothing.
            (json!({"range": {"_tidelock.at": {"gte": 0}}}), ""),
            (json!({"exists": {"field": "_tidelock"}}), ""),
            (json!({"range": {"unheard_of": {"gte": 0}}}), ""),
        ] {
            assert_eq!(ids(&client, json!({"query": query, "sort": ["_id"]})).await.concat(), found, "{query}");
        }
    });
}

#[test]
fn pages_in_the_order_asked_for() {
    run(4, async {
        let client = client().await;
        let mut search = json!({
            "size": 2, "query": {"range": {"at": {"gte": -100}}}, "sort": [{"at": "asc"}, {"_id": "asc"}],
            "seq_no_primary_term": true, "version": true, "_source": ["at"],
        });
        let mut seen = Vec::new();
        for _ in 0..4 {
            let (_, answer) = client.send("POST", "/i/_search", search.to_string()).await;
            assert_eq!(answer["hits"]["total"]["value"], 5);
            let hits = answer["hits"]["hits"].as_array().expect("hits").clone();
            if let Some(last) = hits.last() {
                search["search_after"] = last["sort"].clone();
            }
            seen.extend(hits);
        }
        let order: Vec<_> =
            seen.iter().map(|hit| (hit["_id"].as_str().expect("an id"), hit["sort"][0].as_i64())).collect();
        assert_eq!(order, [("e", Some(-5)), ("a", Some(20)), ("b", Some(20)), ("d", Some(40)), ("c", Some(i64::MAX))]);
        let first = json!({
            "_index": "i", "_id": "e", "_score": null, "_version": 7, "_seq_no": 4, "_primary_term": 1,
            "_source": {"at": -5}, "sort": [-5, "e"],
        });
        assert_eq!(seen[0], first);
        assert_eq!(
            ids(&client, json!({"sort": [{"at": {"order": "desc"}}, {"name": "desc"}]})).await.concat(),
            "cdbae"
        );
        assert_eq!(ids(&client, json!({"sort": [{"_seq_no": "desc"}], "from": 1, "size": 3})).await.concat(), "cab");
        assert_eq!(ids(&client, json!({})).await.concat(), "dbace");
    });
}

#[test]
fn documents_without_the_field_come_last() {
    run(4, async {
        let client = client().await;
        client.engine.plant("i", "x", json!({}), 1);
        let by_at = json!({"query": {"range": {"at": {"lte": 40}}}, "sort": ["at", "_id"]});
        assert_eq!(ids(&client, by_at).await.concat(), "eabd", "and no range finds them");
        for (sort, order, value) in [
            (json!({"at": "asc"}), "eabdxc", json!(i64::MAX)),
            (json!({"at": "desc"}), "cdbaex", json!(i64::MIN)),
            (json!({"name": "asc"}), "abcdex", Value::Null),
            (json!({"name": "desc"}), "edcbax", Value::Null),
        ] {
            // Ids break ties, so that the one without the field can be paged over.
            let tie = if sort["at"] == "asc" { json!({"_id": "desc"}) } else { json!({"_id": "asc"}) };
            let (_, answer) = client.send("POST", "/i/_search", json!({"sort": [sort, tie]}).to_string()).await;
            let hits = answer["hits"]["hits"].as_array().expect("hits");
            let found: Vec<_> = hits.iter().map(|hit| hit["_id"].as_str().expect("an id")).collect();
            if sort["at"].is_null() {
                assert_eq!(found.concat(), order, "{sort}");
            } else {
                assert_eq!(found.iter().position(|id| *id == "x"), order.find('x'), "{sort}");
            }
            assert_eq!(hits.iter().find(|hit| hit["_id"] == "x").map(|hit| &hit["sort"][0]), Some(&value), "{sort}");
        }
        let after = json!({"sort": ["name", "_id"], "search_after": [null, "w"]});
        assert_eq!(ids(&client, after).await.concat(), "x");
    });
}

#[test]
fn what_cannot_be_sorted_or_read_is_refused() {
    run(4, async {
        let client = client().await;
        client.engine.plant("i", "x", json!({"text": "b"}), 1);
        for (body, kind) in [
            (json!({"sort": ["_tidelock.at"]}), "search_phase_execution_exception"),
            (json!({"sort": ["unheard_of"]}), "search_phase_execution_exception"),
            (json!({"sort": ["text"]}), "search_phase_execution_exception"),
            (json!({"size": 10_001}), "illegal_argument_exception"),
            (json!({"sort": ["at"], "search_after": [1, 2]}), "illegal_argument_exception"),
            (json!({"sort": ["at"], "search_after": [1], "from": 1}), "illegal_argument_exception"),
            (json!({"query": {"fuzzy": {"name": "a"}}}), "parsing_exception"),
            (json!({"aggs": {}}), "parsing_exception"),
        ] {
            let (status, answer) = client.send("POST", "/i/_search", body.to_string()).await;
            assert_eq!((status, &answer["error"]["type"]), (400, &json!(kind)), "{body}: {answer}");
        }
        assert_eq!(client.send("POST", "/gone/_search", "{}").await.0, 404);
        assert_eq!(
            ids(&client, json!({"query": {"term": {"text.keyword": "b"}}, "sort": ["text.keyword"]})).await,
            ["x"]
        );
        let unmapped = json!({"sort": [{"unheard_of": {"order": "asc", "unmapped_type": "long"}}, "_id"]});
        assert_eq!(ids(&client, unmapped).await.concat(), "abcdex");
    });
}
