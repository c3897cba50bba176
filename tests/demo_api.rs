//! `demo-writer` and `demo-reader`: documents are posted to a collection and found in an index.

use crate::support::function::{Running, function, target};
use crate::support::index::Index;
use crate::support::proxy::{Fault, Proxy, error};
use crate::support::queue::sdk;
use crate::support::scripted::{Scripted, name, refused};
use crate::support::{eventually, repository_file, services, unique};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use mongodb::bson::{Bson, Document, doc};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tidelock_local::function::Invocation;

fn sample(name: &str) -> Value {
    serde_json::from_str(&repository_file(&format!("events/demo/{name}.json"))).unwrap()
}

/// Status and body of an answer.
async fn ask(function: &Running, event: &Value) -> (u64, Value) {
    let invocation = function.invoke(event.to_string()).await;
    let Invocation::Response(body) = &invocation else { panic!("{invocation:?}\n{}", function.log()) };
    let answer: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(
        (&answer["headers"]["content-type"], &answer["isBase64Encoded"]),
        (&json!("application/json"), &json!(false))
    );
    (answer["statusCode"].as_u64().unwrap(), serde_json::from_str(answer["body"].as_str().unwrap()).unwrap())
}

/// A request with a body, and an id in its path.
fn with_body(method: &str, id: Option<&str>, body: &str) -> Value {
    let mut event = sample("post-rest");
    event["httpMethod"] = method.into();
    event["body"] = body.into();
    if let Some(id) = id {
        event["pathParameters"] = json!({"id": id});
    }
    event
}

fn post(body: &str) -> Value {
    with_body("POST", None, body)
}

fn writer(uri: &str) -> Option<Running> {
    Some(function("demo-writer", "")?.with("TIDELOCK_SOURCE", uri).start())
}

/// A writer on a database of its own, and the documents in it.
struct Collection {
    function: Running,
    database: mongodb::Database,
}

impl Collection {
    async fn at(uri: &str) -> Option<Self> {
        let name = unique("demo").replace('-', "_");
        let function = function("demo-writer", "")?
            .with("TIDELOCK_SOURCE", uri)
            .with("TIDELOCK_DEMO_DATABASE", &name)
            .with("TIDELOCK_DEMO_COLLECTION", "things");
        let client = mongodb::Client::with_uri_str(uri).await.unwrap();
        Some(Self { function: function.start(), database: client.database(&name) })
    }

    async fn ask(&self, event: &Value) -> (u64, Value) {
        ask(&self.function, event).await
    }

    async fn get(&self, id: impl Into<Bson>) -> Option<Document> {
        self.database.collection("things").find_one(doc! {"_id": id.into()}).await.unwrap()
    }
}

#[tokio::test]
async fn documents_are_written_changed_and_deleted() {
    for uri in [services::ferretdb(), services::secantusdb()] {
        let Some(uri) = uri else { continue };
        let Some(collection) = Collection::at(&uri).await else { return };
        for event in ["post-rest", "post-http", "post-base64"] {
            let (status, body) = collection.ask(&sample(event)).await;
            assert_eq!(status, 201, "{uri} {event}: {body}");
            let id = body["id"].as_str().unwrap();
            assert_eq!(body["_id"], json!({"$oid": id}));
            let stored = collection.get(mongodb::bson::oid::ObjectId::parse_str(id).unwrap()).await.unwrap();
            assert_eq!((stored.get_str("name").unwrap(), stored.get_i32("age").unwrap()), ("John", 42));
        }
        let extended = r#"{"_id":"x y","amount":{"$numberDecimal":"0.10"},"z":1,"a":2}"#;
        let (status, body) = collection.ask(&post(extended)).await;
        assert_eq!((status, &body["id"]), (201, &json!("x y")));
        let stored = collection.get("x y").await.unwrap();
        assert_eq!(stored.keys().collect::<Vec<_>>(), ["_id", "amount", "z", "a"]);
        assert!(matches!(stored.get("amount"), Some(Bson::Decimal128(_))));
        let (status, body) = collection.ask(&post(extended)).await;
        assert_eq!((status, &body["error"]), (409, &json!("duplicate")));

        let (status, body) = collection.ask(&with_body("PUT", Some("x y"), r#"{"name":"Johnny"}"#)).await;
        assert_eq!((status, body), (200, json!({"id": "x y"})));
        assert_eq!(collection.get("x y").await, Some(doc! {"_id": "x y", "name": "Johnny"}));
        assert_eq!(collection.ask(&with_body("PUT", Some("absent"), "{}")).await.0, 404);
        assert_eq!(collection.ask(&with_body("PUT", Some("x y"), r#"{"_id":"y"}"#)).await.0, 400);
        assert_eq!(collection.ask(&with_body("DELETE", Some("x y"), "")).await.0, 200);
        assert_eq!(collection.ask(&with_body("DELETE", Some("x y"), "")).await.0, 404);
        assert_eq!(collection.get("x y").await, None);
        collection.database.drop().await.unwrap();
    }
}

/// As with DocumentDB: TLS by an authority of its own, and a secret that is rotated.
#[tokio::test]
async fn the_login_comes_from_the_secret_and_the_server_is_known_by_its_certificate() {
    let (Some((uri, ca)), Some(aws)) = (services::ferretdb_tls(), services::aws()) else { return };
    let (scheme, rest) = uri.split_once("://").unwrap();
    let (user_info, rest) = rest.split_once('@').unwrap();
    let (user, password) = user_info.split_once(':').unwrap();
    let (place, options) = rest.split_once('?').unwrap();
    let options: Vec<&str> = options.split('&').filter(|option| !option.starts_with("tlsCAFile=")).collect();
    let bare = format!("{scheme}://{place}?{}", options.join("&"));
    let secrets = aws_sdk_secretsmanager::Client::new(&sdk(&aws).await);
    let name = unique("cluster");
    let secret = |password: &str| json!({"username": user, "password": password}).to_string();
    secrets.create_secret().name(&name).secret_string(secret("outdated-password")).send().await.unwrap();
    let database = unique("login").replace('-', "_");
    let start = |function_name: &str, ca: &str| {
        let function = function(function_name, "")?
            .with("TIDELOCK_SOURCE", &bare)
            .with("TIDELOCK_SOURCE_SECRET", &name)
            .with("TIDELOCK_SOURCE_CA_FILE", ca)
            .with("TIDELOCK_DEMO_DATABASE", &database)
            .with("TIDELOCK_DEMO_COLLECTION", "things")
            .with("AWS_ENDPOINT_URL", &aws)
            .with("AWS_REGION", "us-east-1");
        Some(function.timeout(Duration::from_secs(8)).start())
    };
    let (Some(writer), Some(enabler)) = (start("demo-writer", &ca), start("enable-change-streams", &ca)) else {
        return;
    };
    let (status, body) = ask(&writer, &post(r#"{"_id":1}"#)).await;
    assert_eq!(
        (status, body["message"].as_str().unwrap()),
        (503, "the database does not let this function in; its log says why")
    );
    let invocation = enabler.invoke("{}").await;
    let Invocation::FunctionError { message, .. } = &invocation else { panic!("{invocation:?}") };
    assert!(message.contains("check TIDELOCK_SOURCE_SECRET"), "{message}");
    secrets.put_secret_value().secret_id(&name).secret_string(secret(password)).send().await.unwrap();
    // A secret is not asked for more often than every ten seconds.
    let body = post(r#"{"_id":1}"#);
    eventually("a document written with the new secret", async || (ask(&writer, &body).await.0 == 201).then_some(()))
        .await;
    let state = eventually("change streams enabled with the new secret", async || match enabler.invoke("{}").await {
        Invocation::Response(state) => Some(state),
        _ => None,
    });
    let state = state.await;
    assert!(String::from_utf8_lossy(&state).contains("\"always_on\""), "{state:?}");
    // Whom nobody has vouched for is not told the password.
    let stranger = start("demo-writer", "").unwrap();
    assert_eq!(ask(&stranger, &post(r#"{"_id":2}"#)).await.0, 503);
    for log in [writer.log(), enabler.log(), stranger.log()] {
        assert!(!log.contains(password) && !log.contains("outdated-password"), "{log}");
    }
    let client = mongodb::Client::with_uri_str(&uri).await.unwrap();
    client.database(&database).drop().await.unwrap();
}

#[tokio::test]
async fn bodies_that_are_no_document_never_reach_the_database() {
    let server = Scripted::start(|command| panic!("{command}")).await;
    let Some(function) = writer(&server.uri("")) else { return };
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(4_000_000));
    for (body, status, code) in [
        ("", 400, "empty_body"),
        ("{\"a\":", 400, "invalid_json"),
        ("[1]", 400, "no_object"),
        ("\"text\"", 400, "no_object"),
        (r#"{"$set":{"a":1}}"#, 400, "invalid_name"),
        (r#"{"a.b":1}"#, 400, "invalid_name"),
        (r#"{"_id":[1]}"#, 400, "invalid_id"),
        (r#"{"n":123456789012345678901}"#, 400, "invalid_number"),
        (large.as_str(), 413, "body_too_large"),
    ] {
        let (answered, told) = ask(&function, &post(body)).await;
        assert_eq!((answered, told["error"].as_str().unwrap()), (status, code), "{told}");
        assert!(told["message"].as_str().unwrap().len() > 10, "{told}");
    }
    let mut odd = post("%%%");
    odd["isBase64Encoded"] = true.into();
    assert_eq!(ask(&function, &odd).await.0, 400);
    odd["body"] = STANDARD.encode(&large).into();
    assert_eq!(ask(&function, &odd).await.0, 413);
    for (method, id, status) in
        [("GET", None, 405), ("PUT", None, 405), ("POST", Some("x"), 405), ("PATCH", Some("x"), 405)]
    {
        assert_eq!(ask(&function, &with_body(method, id, "{}")).await.0, status, "{method}");
    }
    let invocation = function.invoke(r#"{"Records":[]}"#).await;
    let Invocation::FunctionError { error_type, .. } = &invocation else { panic!("{invocation:?}") };
    assert_eq!(error_type, "Tidelock.Request");
}

#[tokio::test]
async fn a_database_that_is_away_or_refuses_is_told_without_particulars() {
    let forbidding = Scripted::start(|_| refused(13)).await;
    let validating = Scripted::start(|command| match name(command).as_str() {
        "insert" => refused(121),
        _ => refused(13),
    });
    let validating = validating.await;
    let nobody = "mongodb://user:hush@127.0.0.1:9/?directConnection=true&serverSelectionTimeoutMS=500";
    for (uri, status, address) in [
        (forbidding.uri(""), 503, forbidding.address()),
        (validating.uri(""), 400, validating.address()),
        (nobody.to_owned(), 503, "127.0.0.1"),
    ] {
        let Some(function) = function("demo-writer", "") else { return };
        let function = function.with("TIDELOCK_SOURCE", &uri).timeout(Duration::from_secs(4)).start();
        let started = Instant::now();
        let (answered, body) = ask(&function, &post("{}")).await;
        assert_eq!(answered, status, "{uri}: {body}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        let body = body.to_string();
        assert!(!body.contains(address) && !body.contains("hush") && !function.log().contains("hush"), "{body}");
    }
}

#[tokio::test]
async fn documents_are_found_page_by_page() {
    let Some(url) = services::opensearch() else { return };
    let index = Index::new(&url, "demo");
    let Some(function) = function("demo-reader", &target(&url)) else { return };
    let function = function.with("TIDELOCK_DEMO_INDEX", index.name()).start();
    let get = |query: Value| {
        let mut event = sample("get-rest");
        event["queryStringParameters"] = query;
        event
    };
    // What nobody has written yet is empty.
    let empty = (200, json!({"total": 0, "documents": [], "next": null}));
    assert_eq!(ask(&function, &get(json!(null))).await, empty);
    for number in 0..25 {
        let name = if number % 2 == 0 { "John Doe" } else { "Clare" };
        let mark = json!({"space": "s", "label": "l", "exact": "John", "at": 1});
        let document = json!({"name": name, "n": number, "when": "2020-01-01", "_tidelock": mark});
        if number == 0 {
            index.prepare().await;
        }
        index.put(&format!("id-{number:02}"), None, document).await;
    }
    assert_eq!(index.documents().await.len(), 25);
    let (status, first) = ask(&function, &sample("get-http")).await;
    assert_eq!((status, &first["total"], first["documents"].as_array().unwrap().len()), (200, &json!(25), 10));
    assert_eq!(
        first["documents"][0],
        json!({"id": "id-24", "document": {"name": "John Doe", "n": 24, "when": "2020-01-01"}})
    );
    // Every document once, the last ids first, however large the pages are.
    for size in [1, 7, 25, 100] {
        let (mut ids, mut after, mut pages) = (Vec::new(), Value::Null, 0);
        loop {
            let mut query = json!({"size": size.to_string()});
            if let Some(token) = after.as_str() {
                query["after"] = token.into();
            }
            let (status, page) = ask(&function, &get(query)).await;
            assert_eq!((status, &page["total"]), (200, &json!(25)), "{page}");
            let documents = page["documents"].as_array().unwrap();
            ids.extend(documents.iter().map(|document| document["id"].as_str().unwrap().to_owned()));
            pages += 1;
            after = page["next"].clone();
            if after.is_null() {
                break;
            }
        }
        let expected: Vec<String> = (0..25).rev().map(|number| format!("id-{number:02}")).collect();
        assert_eq!((ids, pages), (expected, 25_usize.div_ceil(size)));
    }
    for (query, total) in [
        ("john", 13),
        ("clare", 12),
        ("john doe", 13),
        ("john | clare", 25),
        ("jo*", 13),
        ("nobody", 0),
        // Neither a text in a number nor half a query is an error, and `_tidelock` is not searched.
        ("24", 1),
        ("\"john", 13),
        ("l", 0),
        ("2020-01-01", 25),
    ] {
        let (status, page) = ask(&function, &get(json!({"q": query}))).await;
        assert_eq!((status, &page["total"]), (200, &json!(total)), "{query}: {page}");
        assert!(!page.to_string().contains("_tidelock"), "{page}");
    }
    for (name, value, code) in [
        ("size", "0", "invalid_size"),
        ("size", "1e2", "invalid_size"),
        ("after", "!", "invalid_after"),
        ("from", "3", "unknown_parameter"),
    ] {
        let (status, body) = ask(&function, &get(json!({name: value}))).await;
        assert_eq!((status, &body["error"]), (400, &json!(code)));
    }
    assert_eq!(ask(&function, &with_body("POST", None, "{}")).await.0, 405);
}

#[tokio::test]
async fn numbers_of_documents_keep_their_digits() {
    let Some(url) = services::opensearch() else { return };
    let index = Index::new(&url, "digits");
    let Some(function) = function("demo-reader", &target(&url)) else { return };
    let function = function.with("TIDELOCK_DEMO_INDEX", index.name()).start();
    index.create(json!({"mappings": {"enabled": false}})).await;
    let exact = r#"{"n":12345678901234567890.123450}"#;
    index.request(opensearch::http::Method::Put, "/_doc/1?refresh=true", exact).await;
    let invocation = function.invoke(sample("get-rest").to_string()).await;
    let Invocation::Response(body) = &invocation else { panic!("{invocation:?}") };
    let body: Value = serde_json::from_slice(body).unwrap();
    assert!(body["body"].as_str().unwrap().contains(exact), "{body}");
}

#[tokio::test]
async fn a_search_engine_that_is_away_or_refuses_is_told_without_particulars() {
    let secret = error(StatusCode::FORBIDDEN, "security_exception", "no permissions for arn:aws:iam::1:role/x");
    let clauses = error(StatusCode::BAD_REQUEST, "search_phase_execution_exception", "too many clauses");
    let (forbidding, picky) =
        (Proxy::alone(move |_| secret.clone()).await, Proxy::alone(move |_| clauses.clone()).await);
    let broken = Proxy::alone(|_| Fault::Answer(200, "<html>".to_owned())).await;
    for (url, status, code) in [
        (forbidding.url.as_str(), 503, "unavailable"),
        (picky.url.as_str(), 400, "invalid_query"),
        (broken.url.as_str(), 503, "unavailable"),
        ("http://127.0.0.1:9", 503, "unavailable"),
    ] {
        let Some(function) = function("demo-reader", &target(url)) else { return };
        let function = function.timeout(Duration::from_secs(4)).start();
        let (answered, body) = ask(&function, &sample("get-http")).await;
        assert_eq!((answered, &body["error"]), (status, &json!(code)), "{url}: {body}");
        assert!(!body.to_string().contains("arn:aws") && !body.to_string().contains("127.0.0.1"), "{body}");
    }
}

#[tokio::test]
async fn wrong_settings_of_the_demo_are_named_at_start() {
    for (name, changes, parts) in [
        (
            "demo-writer",
            vec![("TIDELOCK_SOURC", "x")],
            vec!["did you mean TIDELOCK_SOURCE?", "TIDELOCK_SOURCE is not set"],
        ),
        (
            "demo-writer",
            vec![
                ("TIDELOCK_SOURCE", "mongodb://h"),
                ("TIDELOCK_DEMO_DATABASE", "a b"),
                ("TIDELOCK_DEMO_COLLECTION", "a$"),
            ],
            vec!["TIDELOCK_DEMO_DATABASE: ", "TIDELOCK_DEMO_COLLECTION: "],
        ),
        (
            "demo-reader",
            vec![("TIDELOCK_DEMO_INDX", "x")],
            vec!["did you mean TIDELOCK_DEMO_INDEX?", "TIDELOCK_TARGET is not set"],
        ),
        ("demo-reader", vec![("TIDELOCK_TARGET", "mongodb://h/d")], vec!["this function searches OpenSearch"]),
        (
            "demo-reader",
            vec![("TIDELOCK_TARGET", "opensearch+http://h"), ("TIDELOCK_DEMO_INDEX", "Upper")],
            vec!["TIDELOCK_DEMO_INDEX: `Upper` cannot be an index: it must be lower case"],
        ),
    ] {
        let Some(function) = function(name, "") else { return };
        let function = changes.iter().fold(function, |function, (name, value)| function.with(name, value)).start();
        let outcome = function.process.warm_up().await;
        assert!(matches!(outcome, Err(Invocation::InitError { .. })), "{name}: {outcome:?}");
        function.logged(&[&["ERROR", "Tidelock.Settings"], parts.as_slice()].concat()).await;
    }
}
