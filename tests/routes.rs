//! What routes can do with a change, by the built function on real targets.

use crate::support::event::{AT, Stream, apart, event};
use crate::support::function::{Sync, function, target};
use crate::support::index::{Index, expected};
use crate::support::queue::letters;
use crate::support::table::{Table, attributes, drain};
use crate::support::{Folder, mongo, services, unique};
use aws_sdk_dynamodb::types::StreamViewType;
use mongodb::bson::{Document, doc};
use opensearch::http::Method;
use serde_json::{Value, json};
use tidelock_local::mapping::MappingSettings;

/// A record of a table with the key `pk`, `sk`.
fn record(
    stream: &Stream,
    sequence: u32,
    name: &str,
    keys: (&str, u32),
    old: Option<Value>,
    new: Option<Value>,
) -> Value {
    let key = json!({"pk": {"S": keys.0}, "sk": {"N": keys.1.to_string()}});
    let whole = |fields: Value| {
        let mut image = key.clone();
        image.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        image
    };
    let mut record = stream.record(name, &apart(sequence), AT + i64::from(sequence), key.clone(), new.map(whole));
    if let Some(old) = old {
        record["dynamodb"]["OldImage"] = whole(old);
    }
    record
}

fn pipeline(routes: Value) -> String {
    json!({"version": 1, "routes": routes}).to_string()
}

fn started(sync: Sync, routes: Value) -> crate::support::function::Running {
    sync.with("TIDELOCK_PIPELINE", &pipeline(routes)).start()
}

#[tokio::test]
async fn ids_of_parts_and_routing_in_opensearch() {
    let Some(url) = services::opensearch() else { return };
    let Some(sync) = function("dynamodb-sync", &target(&url)) else { return };
    let (index, stream) = (Index::new(&url, "routes"), Stream::of(unique("table")));
    index.create(json!({
        "settings": {"number_of_shards": 3},
        "mappings": {"_routing": {"required": true}, "properties": {"_tidelock": {"type": "object", "enabled": false}}},
    })).await;
    let routes = json!([{
        "from": stream.table, "to": index.name(), "id": "{tenant}|{pk}|{sk}", "routing": "{tenant}",
    }]);
    let function = started(sync, routes);
    let tenant = |name: &str| json!({"tenant": {"S": name}});
    let insert = |n, key, new| record(&stream, n, "INSERT", key, None, Some(new));
    function
        .succeed(event(&[
            insert(1, ("a|b", 1), tenant("x")),
            insert(2, ("c", 2), tenant("y")),
            insert(3, ("d", 3), tenant("x")),
        ]))
        .await;
    let document = |tenant: &str, pk: &str, sk: u32| json!({"tenant": tenant, "pk": pk, "sk": sk});
    let all =
        [(r"x|a\|b|1", document("x", "a|b", 1)), ("y|c|2", document("y", "c", 2)), ("x|d|3", document("x", "d", 3))];
    assert_eq!(index.fields().await, expected(all.clone()));
    // An item that changes its tenant leaves its old id on its old shard; a delete finds its own. Replayed, nothing changes.
    let moved = record(&stream, 4, "MODIFY", ("a|b", 1), Some(tenant("x")), Some(tenant("z")));
    let gone = record(&stream, 5, "REMOVE", ("c", 2), Some(tenant("y")), None);
    for _ in 0..2 {
        function.succeed(event(&[insert(1, ("a|b", 1), tenant("x")), moved.clone(), gone.clone()])).await;
        assert_eq!(
            index.fields().await,
            expected([(r"z|a\|b|1", document("z", "a|b", 1)), ("x|d|3", document("x", "d", 3))])
        );
    }
    // Alone, an older change finds fence and document by the same routing.
    function.succeed(event(&[insert(1, ("a|b", 1), tenant("x")), insert(2, ("c", 2), tenant("y"))])).await;
    assert_eq!(index.fields().await.len(), 2);
}

#[tokio::test]
async fn an_id_without_the_whole_key_or_with_a_foreign_routing_is_refused_for_its_record() {
    let Some(url) = services::opensearch() else { return };
    let Some(sync) = function("dynamodb-sync", &target(&url)) else { return };
    let (index, stream, folder) = (Index::new(&url, "routes"), Stream::of(unique("table")), Folder::new());
    let path = folder.path("letters");
    let sync = sync.with("TIDELOCK_DEAD_LETTERS", &format!("file:{path}"));
    let function = started(
        sync,
        json!([
            {"from": stream.table, "to": index.name(), "where": ".kind == 1", "id": "{pk}"},
            {"from": stream.table, "to": index.name(), "where": ".kind == 2", "routing": "{tenant}"},
        ]),
    );
    let insert = |n, new| record(&stream, n, "INSERT", ("a", n), None, Some(new));
    function
        .succeed(event(&[
            insert(1, json!({"kind": {"N": "1"}})),
            insert(2, json!({"kind": {"N": "2"}, "tenant": {"S": "x"}})),
        ]))
        .await;
    let letters = letters(&path);
    let detail = |index: usize| letters[index]["detail"].as_str().unwrap();
    assert_eq!(letters.iter().map(|letter| &letter["reason"]).collect::<Vec<_>>(), ["unroutable", "unroutable"]);
    assert!(detail(0).contains("does not hold the key's attribute `sk`"), "{}", detail(0));
    assert!(detail(1).contains("`routing` needs field `tenant`"), "{}", detail(1));
    assert!(!index.exists().await);
}

#[tokio::test]
async fn a_change_goes_to_further_routes_each_with_its_own_shape() {
    let Some(url) = services::opensearch() else { return };
    let Some(sync) = function("dynamodb-sync", &target(&url)) else { return };
    let (index, stream) = (Index::new(&url, "routes"), Stream::of(unique("table")));
    let (audit, vips) = (index.beside("audit"), index.beside("vips-2020.04"));
    let routes = json!([
        {"from": stream.table, "to": index.name(), "also": ["audit", "vips"]},
        {"name": "audit", "to": audit.name(), "deletes": "ignore", "transform": [{"drop": ["secret"]}]},
        {"name": "vips", "where": ".vip", "to": format!("{}-vips-{{at:%Y.%m}}", index.name())},
    ]);
    let function = started(sync, routes);
    let item = |vip: bool| json!({"vip": {"BOOL": vip}, "secret": {"S": "s"}, "at": {"N": "1588166528"}});
    let whole = |vip: bool, sk: u32| json!({"pk": "a", "sk": sk, "vip": vip, "secret": "s", "at": 1_588_166_528});
    let audited = |vip: bool, sk: u32| json!({"pk": "a", "sk": sk, "vip": vip, "at": 1_588_166_528});
    let insert = |n, sk, vip| record(&stream, n, "INSERT", ("a", sk), None, Some(item(vip)));
    function.succeed(event(&[insert(1, 1, true), insert(2, 2, true), insert(3, 3, false)])).await;
    assert_eq!(index.fields().await.len(), 3);
    assert_eq!(vips.fields().await, expected([("a|1", whole(true, 1)), ("a|2", whole(true, 2))]));
    let demoted = record(&stream, 4, "MODIFY", ("a", 1), Some(item(true)), Some(item(false)));
    let gone = record(&stream, 5, "REMOVE", ("a", 2), Some(item(true)), None);
    function.succeed(event(&[demoted, gone])).await;
    assert_eq!(index.fields().await, expected([("a|1", whole(false, 1)), ("a|3", whole(false, 3))]));
    assert_eq!(vips.fields().await, expected([]));
    let kept = [("a|1", audited(false, 1)), ("a|2", audited(true, 2)), ("a|3", audited(false, 3))];
    assert_eq!(audit.fields().await, expected(kept), "what is ignored stays");
}

#[tokio::test]
async fn deletes_that_leave_the_document_and_ids_that_are_too_long() {
    let Some(url) = services::opensearch() else { return };
    let Some(sync) = function("dynamodb-sync", &target(&url)) else { return };
    let (index, stream) = (Index::new(&url, "routes"), Stream::of(unique("table")));
    let routes = json!([{
        "from": stream.table, "to": index.name(), "deletes": "soft", "soft": {"flag": "_deleted", "at": "_deleted_at"},
        "long_id": "hash", "transform": [{"rename": {"n": "name"}}],
    }]);
    let function = started(sync, routes);
    let long = "k".repeat(600);
    let name = |text: &str| json!({"n": {"S": text}});
    let insert = |n, key, text| record(&stream, n, "INSERT", key, None, Some(name(text)));
    function.succeed(event(&[insert(1, ("a", 1), "one"), insert(2, (&long, 2), "two")])).await;
    let found = index.fields().await;
    assert_eq!(found.len(), 2);
    let hashed = found.keys().find(|id| id.starts_with("sha256-")).expect("a hashed id").clone();
    assert_eq!(found[&hashed], json!({"pk": long, "sk": 2, "name": "two"}).into());
    let gone = |n, key, text| record(&stream, n, "REMOVE", key, Some(name(text)), None);
    // The change before the delete need not have come: the delete says what the item was.
    function.succeed(event(&[gone(4, ("a", 1), "changed"), gone(5, (&long, 2), "two")])).await;
    let found = index.fields().await;
    let at = |n: i64| tidelock_core::letter::timestamp((AT + n) * 1_000);
    assert_eq!(
        found["a|1"],
        json!({"pk": "a", "sk": 1, "name": "changed", "_deleted": true, "_deleted_at": at(4)}).into()
    );
    assert_eq!(
        found[&hashed],
        json!({"pk": long, "sk": 2, "name": "two", "_deleted": true, "_deleted_at": at(5)}).into()
    );
    // Older news do not bring it back, newer do.
    let old = record(&stream, 3, "MODIFY", ("a", 1), Some(name("one")), Some(name("changed")));
    function.succeed(event(&[old, insert(6, (&long, 2), "again")])).await;
    let found = index.fields().await;
    assert_eq!(
        found["a|1"],
        json!({"pk": "a", "sk": 1, "name": "changed", "_deleted": true, "_deleted_at": at(4)}).into()
    );
    assert_eq!(found[&hashed], json!({"pk": long, "sk": 2, "name": "again"}).into());
}

/// Fields that the target's users own, on OpenSearch.
#[tokio::test]
async fn what_the_targets_users_own_is_kept_in_opensearch() {
    let Some(url) = services::opensearch() else { return };
    let Some(sync) = function("dynamodb-sync", &target(&url)) else { return };
    let (index, stream) = (Index::new(&url, "routes"), Stream::of(unique("table")));
    let routes = json!([{"from": stream.table, "to": index.name(), "write": "merge", "preserve": ["note", "rank"]}]);
    let function = started(sync, routes);
    let fields = |text: &str| json!({"n": {"S": text}, "rank": {"N": "1"}});
    // One was there before anything was synchronized.
    index.put("a|2", None, json!({"note": "theirs", "left": 1})).await;
    let insert = |n, sk, text| record(&stream, n, "INSERT", ("a", sk), None, Some(fields(text)));
    function.succeed(event(&[insert(1, 1, "one"), insert(2, 2, "two")])).await;
    let both = [
        ("a|1", json!({"pk": "a", "sk": 1, "n": "one", "rank": 1})),
        ("a|2", json!({"pk": "a", "sk": 2, "n": "two", "rank": 1, "note": "theirs"})),
    ];
    assert_eq!(index.fields().await, expected(both));
    index
        .request(
            Method::Post,
            "/_update/a%7C1?refresh=true",
            &json!({"doc": {"rank": 0.10, "note": ["more", "x"], "junk": 1}}).to_string(),
        )
        .await;
    let changed = record(&stream, 3, "MODIFY", ("a", 1), Some(fields("one")), Some(fields("new")));
    for _ in 0..2 {
        function.succeed(event(&[insert(1, 1, "one"), changed.clone()])).await;
        let one = json!({"pk": "a", "sk": 1, "n": "new", "rank": 0.1, "note": ["more", "x"]});
        assert_eq!(index.fields().await["a|1"], one.into());
    }
    function.succeed(event(&[record(&stream, 4, "REMOVE", ("a", 1), Some(fields("new")), None)])).await;
    function.succeed(event(&[changed])).await;
    assert_eq!(index.fields().await.len(), 1, "deleted stays deleted");
}

/// The same, and ids of several parts, on a server that speaks MongoDB's protocol.
async fn kept_in_mongodb(uri: Option<String>) {
    let Some(uri) = uri else { return };
    let client = mongodb::Client::with_uri_str(&uri).await.unwrap();
    let database = client.database(&unique("routes"));
    let Some(sync) = function("dynamodb-sync", &mongo::address(&uri, database.name())) else { return };
    let stream = Stream::of(unique("table"));
    let routes = json!([
        {"from": stream.table, "where": ".kind == 1", "to": "merged", "write": "merge", "preserve": ["note", "rank"]},
        {"from": stream.table, "to": "parts", "id": "{tenant}{sk}{pk}", "deletes": "soft"},
    ]);
    let function = started(sync, routes);
    let found = async |collection: &str| mongo::documents(&database.collection(collection), "sk").await;
    let kind = |text: &str| json!({"n": {"S": text}, "rank": {"N": "1"}, "kind": {"N": "1"}});
    let tenant = |name: &str| json!({"tenant": {"S": name}, "kind": {"N": "2"}});
    let insert = |n, key, new| record(&stream, n, "INSERT", key, None, Some(new));
    function.succeed(event(&[insert(1, ("a", 1), kind("one")), insert(2, ("b", 2), tenant("x"))])).await;
    let parts = doc! {"_id": {"tenant": "x", "sk": 2, "pk": "b"}, "pk": "b", "sk": 2, "tenant": "x", "kind": 2};
    assert_eq!(found("parts").await, std::slice::from_ref(&parts));
    let update = doc! {"$set": {"rank": 9, "note": {"x": [1]}, "junk": 1}};
    database.collection::<Document>("merged").update_one(doc! {"sk": 1}, update).await.unwrap();
    let changed = record(&stream, 3, "MODIFY", ("a", 1), Some(kind("one")), Some(kind("new")));
    let gone = record(&stream, 4, "REMOVE", ("b", 2), Some(tenant("x")), None);
    for _ in 0..2 {
        function.succeed(event(&[changed.clone(), gone.clone()])).await;
        let key = doc! {"pk": "a", "sk": 1};
        let merged = doc! {"_id": key, "pk": "a", "sk": 1, "n": "new", "kind": 1, "rank": 9, "note": {"x": [1]}};
        let there = found("merged").await;
        assert_eq!(there.len(), 1);
        assert!(mongo::same(&there[0], &merged), "{there:?}");
        let mut soft = parts.clone();
        soft.insert("_deleted", true);
        assert_eq!(found("parts").await, [soft]);
    }
    // What users have taken away comes from the source again, and what they have changed meanwhile stands.
    let taken = doc! {"$unset": {"rank": ""}, "$set": {"note": ["a", "b"]}};
    database.collection::<Document>("merged").update_one(doc! {"sk": 1}, taken).await.unwrap();
    let newest = record(&stream, 6, "MODIFY", ("a", 1), Some(kind("new")), Some(kind("newest")));
    function.succeed(event(&[newest])).await;
    let there = found("merged").await;
    assert_eq!((there[0].get_str("n").ok(), there[0].get_i32("rank").ok()), (Some("newest"), Some(1)), "{there:?}");
    assert_eq!(there[0].get("note"), Some(&mongodb::bson::bson!(["a", "b"])));
    database.drop().await.unwrap();
}

#[tokio::test]
async fn what_the_targets_users_own_is_kept_in_ferretdb() {
    kept_in_mongodb(services::ferretdb()).await;
}

#[tokio::test]
async fn what_the_targets_users_own_is_kept_in_secantusdb() {
    kept_in_mongodb(services::secantusdb()).await;
}

/// The stream has new images alone: where a document has been, the state remembers.
#[tokio::test]
async fn without_old_images_documents_move_by_what_the_state_remembers() {
    let (Some(url), Some(dynamodb)) = (services::opensearch(), services::dynamodb()) else { return };
    let Some(sync) = function("dynamodb-sync", &target(&url)) else { return };
    let table = Table::create(&dynamodb, "located", StreamViewType::NewImage).await;
    let state = Table::for_state(&dynamodb).await;
    let base = Index::new(&url, "located");
    let at = |home: &str| base.beside(home);
    let (one, two, audit) = (at("one"), at("two"), at("audit-y"));
    let routes = json!([
        {"from": table.name, "where": "(.hidden // 0) == 0", "to": format!("{}-{{home}}", base.name()),
         "locate": "state", "also": ["audit"]},
        {"name": "audit", "to": format!("{}-audit-{{kind}}", base.name()), "locate": "state"},
    ]);
    let sync = sync
        .with("TIDELOCK_STATE", &format!("dynamodb:{state}"))
        .with("AWS_ENDPOINT_URL_DYNAMODB", &dynamodb)
        .with("AWS_REGION", "us-east-1");
    let put = async |id: &str, home: &str, kind: &str, hidden: u32| {
        table.put(id, attributes(&json!({"home": home, "kind": kind, "hidden": hidden}))).await;
    };
    for id in 0..130 {
        put(&format!("n{id}"), "one", "x", 0).await;
    }
    for id in ["a", "b", "c", "d"] {
        put(id, "one", "y", 0).await;
    }
    put("a", "two", "y", 0).await;
    put("b", "one", "y", 1).await;
    table.delete("c").await;
    put("d", "two", "y", 0).await;
    put("d", "one", "x", 0).await;
    for id in 0..130 {
        table.delete(&format!("n{id}")).await;
    }
    let document = |id, home: &str, kind: &str| (id, json!({"id": id, "home": home, "kind": kind, "hidden": 0}));
    let settings =
        || MappingSettings { batch_size: 50, report_batch_item_failures: true, ..MappingSettings::default() };
    let function = started(sync, routes);
    // From its beginning, and then once more: what is old is stale, or written over what it has become.
    for _ in 0..2 {
        drain(&table, settings(), &function).await;
        assert_eq!(one.fields().await, expected([document("d", "one", "x")]), "{}", function.log());
        assert_eq!(two.fields().await, expected([document("a", "two", "y")]));
        assert_eq!(audit.fields().await, expected([document("a", "two", "y")]));
    }
    // A change of long ago, of a batch that was lost, is stale: the state remembers that the item has gone since.
    let image = json!({"id": {"S": "c"}, "home": {"S": "three"}, "kind": {"S": "z"}, "hidden": {"N": "0"}});
    let stream = Stream::of(table.name.clone());
    let mut late = stream.record("MODIFY", "1", AT, json!({"id": {"S": "c"}}), Some(image));
    late["eventSourceARN"] = stream.arn().replace("us-east-1:123456789012", "ddblocal:000000000000").into();
    function.succeed(event(&[late])).await;
    assert!(!at("three").exists().await && !at("audit-z").exists().await);
}
