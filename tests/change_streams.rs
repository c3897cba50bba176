//! `enable-change-streams`: people, API Gateway and CloudFormation ask for change streams.
//!
//! The commands are Amazon DocumentDB's alone; here a server of our own knows them, by script. What becomes of servers without
//! them is tried on real ones.

use crate::support::function::{Running, function};
use crate::support::proxy::{Fault, Proxy};
use crate::support::scripted::{Reply, Scripted, found, name, refused};
use crate::support::{repository_file, services, unique};
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tidelock_local::function::Invocation;

/// The function, for a cluster at this address.
fn enabler(uri: &str, timeout: Duration) -> Option<Running> {
    let function = function("enable-change-streams", "")?.with("TIDELOCK_SOURCE", uri);
    Some(function.timeout(timeout).start())
}

const MINUTE: Duration = Duration::from_secs(60);

/// A sample event.
fn sample(name: &str) -> Value {
    serde_json::from_str(&repository_file(&format!("events/enable-change-streams/{name}.json"))).unwrap()
}

async fn ask(function: &Running, event: &Value) -> Value {
    let invocation = function.invoke(event.to_string()).await;
    let Invocation::Response(body) = &invocation else { panic!("{invocation:?}\n{}", function.log()) };
    serde_json::from_slice(body).unwrap()
}

/// Status and body of an answer to API Gateway.
async fn api(function: &Running, event: &Value) -> (u64, Value) {
    let answer = ask(function, event).await;
    assert_eq!(answer["headers"]["content-type"], "application/json", "{answer}");
    (answer["statusCode"].as_u64().unwrap(), serde_json::from_str(answer["body"].as_str().unwrap()).unwrap())
}

/// A cluster that knows the commands.
async fn documentdb() -> Scripted {
    let (mut collections, mut on) = (BTreeSet::new(), BTreeSet::new());
    let text = |command: &Document, field: &str| command.get_str(field).unwrap().to_owned();
    Scripted::start(move |command| match name(command).as_str() {
        "listCollections" => {
            let wanted = text(command.get_document("filter").unwrap(), "name");
            found(collections.get(&wanted).map(|name: &String| doc! {"name": name}).into_iter().collect())
        }
        "create" => {
            collections.insert(text(command, "create"));
            Reply::Answer(doc! {"ok": 1})
        }
        "modifyChangeStreams" => {
            let scope = (text(command, "database"), text(command, "collection"));
            match command.get_bool("enable").unwrap() {
                true => on.insert(scope),
                false => on.remove(&scope),
            };
            Reply::Answer(doc! {"ok": 1})
        }
        "aggregate" => found(
            on.iter().map(|(database, collection)| doc! {"database": database, "collection": collection}).collect(),
        ),
        other => panic!("{other}"),
    })
    .await
}

/// CloudFormation's side of a custom resource.
struct Stack {
    bucket: Proxy,
}

impl Stack {
    async fn new() -> Self {
        Self { bucket: Proxy::alone(|_| Fault::Answer(200, String::new())).await }
    }

    /// A request as CloudFormation sends it, with these properties.
    fn request(&self, kind: &str, id: Option<&str>, properties: Value) -> Value {
        let mut event = sample(&kind.to_lowercase());
        event["ResponseURL"] =
            format!("{}/arn%3Aaws%3Acloudformation/x%7Cy?Signature=a%2Fb%3D", self.bucket.url).into();
        event["ResourceProperties"] = properties;
        if let Some(id) = id {
            event["PhysicalResourceId"] = id.into();
        }
        event
    }

    /// What has been answered, in order. Asserts the form that the pre-signed URL asks for.
    fn answers(&self) -> Vec<Value> {
        let read = |seen: &crate::support::proxy::Seen| {
            assert_eq!(seen.method, "PUT");
            assert_eq!(seen.path, "/arn%3Aaws%3Acloudformation/x%7Cy?Signature=a%2Fb%3D");
            assert_eq!(seen.header("content-type"), Some(""));
            assert_eq!(seen.header("authorization"), None);
            assert!(seen.body.len() < 4_096);
            serde_json::from_slice(&seen.body).unwrap()
        };
        self.bucket.seen().iter().map(read).collect()
    }

    /// Invokes the function and gives what CloudFormation has been told.
    async fn told(&self, function: &Running, event: &Value) -> Value {
        let before = self.answers().len();
        ask(function, event).await;
        let answers = self.answers();
        assert_eq!(answers.len(), before + 1, "{answers:?}");
        let answer = answers.last().unwrap().clone();
        for field in ["StackId", "RequestId", "LogicalResourceId"] {
            assert_eq!(answer[field], event[field], "{answer}");
        }
        answer
    }
}

#[tokio::test]
async fn a_collections_change_stream_is_enabled_by_whoever_asks() {
    let server = documentdb().await;
    let Some(function) = enabler(&server.uri(""), MINUTE) else { return };
    let state = ask(&function, &sample("direct")).await;
    let wanted = json!({"database": "demo-database", "collection": "demo-collection"});
    let expected = json!({"database": "demo-database", "collection": "demo-collection", "enabled": true,
        "state": "modified", "created": true, "change_streams": [wanted]});
    assert_eq!(state, expected);
    // Once more, through both kinds of API: nothing is left to be made.
    for event in ["config-rest", "config-http"] {
        let (status, state) = api(&function, &sample(event)).await;
        assert_eq!((status, &state["created"], &state["change_streams"]), (200, &json!(false), &json!([wanted])));
    }
    let names: Vec<String> = server.names();
    assert_eq!(names.iter().filter(|name| *name == "create").count(), 1, "{names:?}");
    let off =
        ask(&function, &json!({"database": "demo-database", "collection": "demo-collection", "enable": false})).await;
    assert_eq!((&off["enabled"], &off["change_streams"]), (&json!(false), &json!([])));
    let all = ask(&function, &sample("direct-all")).await;
    assert_eq!(all["change_streams"], json!([{"database": "", "collection": ""}]));
}

#[tokio::test]
async fn a_resource_comes_changes_and_goes() {
    let (server, stack) = (documentdb().await, Stack::new().await);
    let Some(function) = enabler(&server.uri(""), MINUTE) else { return };
    let properties = |collection: &str| json!({"ServiceToken": "t", "Database": "d", "Collection": collection, "OnDelete": "disable"});
    let created = stack.told(&function, &stack.request("Create", None, properties("a"))).await;
    assert_eq!((&created["Status"], &created["PhysicalResourceId"]), (&json!("SUCCESS"), &json!("change-streams/d/a")));
    assert_eq!(created["Data"], json!({"Enabled": "true", "Created": "true", "AlwaysOn": "false"}));
    // Lambda may invoke it twice.
    let again = stack.told(&function, &stack.request("Create", None, properties("a"))).await;
    assert_eq!(again["PhysicalResourceId"], "change-streams/d/a");
    // Another scope is another resource: CloudFormation deletes the one before.
    let id = Some("change-streams/d/a");
    let updated = stack.told(&function, &stack.request("Update", id, properties("b"))).await;
    assert_eq!((&updated["Status"], &updated["PhysicalResourceId"]), (&json!("SUCCESS"), &json!("change-streams/d/b")));
    let deleted = stack.told(&function, &stack.request("Delete", id, properties("a"))).await;
    assert_eq!((&deleted["Status"], &deleted["PhysicalResourceId"]), (&json!("SUCCESS"), &json!("change-streams/d/a")));
    assert_eq!(deleted["Data"]["Enabled"], "false");
    // Unless told otherwise, change streams stay on: others may read them.
    let kept = json!({"ServiceToken": "t", "Database": "d", "Collection": "b"});
    let before = server.log().len();
    let deleted = stack.told(&function, &stack.request("Delete", Some("change-streams/d/b"), kept)).await;
    assert_eq!((&deleted["Status"], server.log().len()), (&json!("SUCCESS"), before));
}

#[tokio::test]
async fn a_walk_through_makes_the_collection_first_and_enables_it_by_a_call_that_names_nothing() {
    let (server, stack) = (documentdb().await, Stack::new().await);
    let Some(function) = function("enable-change-streams", "") else { return };
    let function = function
        .with("TIDELOCK_SOURCE", &server.uri(""))
        .with("TIDELOCK_DEMO_DATABASE", "d")
        .with("TIDELOCK_DEMO_COLLECTION", "c")
        .start();
    let properties = json!({"ServiceTimeout": "600", "Database": "d", "Collection": "c", "Enable": "false"});
    let created = stack.told(&function, &stack.request("Create", None, properties)).await;
    assert_eq!(created["Status"], "SUCCESS", "{created}");
    assert_eq!(created["Data"], json!({"Enabled": "false", "Created": "true", "AlwaysOn": "false"}));
    let mut config = sample("config-http");
    config.as_object_mut().unwrap().remove("body");
    let (status, state) = api(&function, &config).await;
    assert_eq!((status, &state["enabled"], &state["created"]), (200, &json!(true), &json!(false)));
    assert_eq!(state["change_streams"], json!([{"database": "d", "collection": "c"}]));
    assert_eq!(ask(&function, &json!({"enable": false})).await["change_streams"], json!([]));
}

#[tokio::test]
async fn a_stack_is_always_answered_in_time() {
    let stack = Stack::new().await;
    let silent = Scripted::start(|_| Reply::Silence).await;
    let forbidding = Scripted::start(|_| refused(13)).await;
    let nobody = "mongodb://127.0.0.1:9/?directConnection=true".to_owned();
    let properties = json!({"ServiceToken": "t", "Database": "d", "Collection": "c", "Enable": "true"});
    let create = stack.request("Create", None, properties.clone());
    for (uri, reason) in [
        (silent.uri(""), "the cluster"),
        (nobody.clone(), "security group admits the function's"),
        (forbidding.uri(""), "the cluster's user may not do this"),
        (String::new(), "TIDELOCK_SOURCE is not set"),
        ("dynamodb:".to_owned(), "is no cluster"),
        ("mongodb://user:hush@h:port".to_owned(), "TIDELOCK_SOURCE"),
    ] {
        let Some(function) = enabler(&uri, Duration::from_secs(4)) else { return };
        let started = Instant::now();
        let answer = stack.told(&function, &create).await;
        assert!(started.elapsed() < Duration::from_secs(4), "{uri}: {:?}", started.elapsed());
        let text = answer["Reason"].as_str().unwrap();
        assert!(answer["Status"] == "FAILED" && text.contains(reason) && !text.contains("hush"), "{uri}: {answer}");
        assert_eq!(answer["PhysicalResourceId"], "change-streams/none");
    }
    let Some(function) = enabler(&nobody, Duration::from_secs(4)) else { return };
    for (event, status, reason) in [
        (stack.request("Create", None, json!({"Databse": "d"})), "FAILED", "`Databse` is not known"),
        (stack.request("Update", Some("change-streams/d/c"), properties.clone()), "FAILED", "cannot be reached"),
        // A cluster that is gone has nothing that could be disabled.
        (
            stack.request("Delete", Some("change-streams/d/c"), json!({"Database": "d", "OnDelete": "disable"})),
            "SUCCESS",
            "is left as it is",
        ),
        (stack.request("Delete", Some("change-streams/d/c"), json!({"Databse": "d"})), "SUCCESS", ""),
    ] {
        let answer = stack.told(&function, &event).await;
        assert_eq!(answer["Status"], status, "{answer}");
        assert!(answer["Reason"].as_str().unwrap_or_default().contains(reason), "{answer}");
        let id = if event["RequestType"] == "Create" { "change-streams/none" } else { "change-streams/d/c" };
        assert_eq!(answer["PhysicalResourceId"], id, "{answer}");
    }
}

#[tokio::test]
async fn an_answer_is_sent_until_it_is_taken() {
    let server = documentdb().await;
    let Some(function) = enabler(&server.uri(""), Duration::from_secs(10)) else { return };
    let properties = json!({"Database": "d"});
    let attempts = std::sync::atomic::AtomicUsize::new(0);
    let busy = Proxy::alone(move |_| match attempts.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => Fault::CutBefore,
        1 => Fault::Answer(503, "<Error/>".to_owned()),
        _ => Fault::Answer(200, String::new()),
    });
    let stack = Stack { bucket: busy.await };
    ask(&function, &stack.request("Create", None, properties.clone())).await;
    let answers = stack.answers();
    assert!(answers.len() == 3 && answers.windows(2).all(|two| two[0] == two[1]), "{answers:?}");
    // An expired URL is never taken: Lambda is told, and whoever reads the log.
    let stack = Stack { bucket: Proxy::alone(|_| Fault::Answer(403, "<Error/>".to_owned())).await };
    let invocation = function.invoke(stack.request("Create", None, properties).to_string()).await;
    let Invocation::FunctionError { error_type, message, .. } = &invocation else { panic!("{invocation:?}") };
    assert!(error_type == "Tidelock.Answer" && message.contains("answers 403"), "{error_type} {message}");
    assert!(!message.contains("Signature"), "{message}");
}

#[tokio::test]
async fn requests_that_ask_for_nothing_are_refused() {
    let server = documentdb().await;
    let Some(function) = enabler(&server.uri(""), MINUTE) else { return };
    let post = |body: &str| {
        let mut event = sample("config-rest");
        event["body"] = body.into();
        event
    };
    for (event, status, code) in [
        (post(""), 400, "invalid_json"),
        (post("{"), 400, "invalid_json"),
        (post("[]"), 400, "no_object"),
        (post("{}"), 400, "invalid_request"),
        (post(r#"{"database":"d","colection":"c"}"#), 400, "invalid_request"),
        (post(r#"{"database":"","collection":"c"}"#), 400, "invalid_request"),
        (post(r#"{"database":"d","enable":"yes"}"#), 400, "invalid_request"),
        (post(&format!(r#"{{"database":"{}"}}"#, "x".repeat(20_000))), 413, "body_too_large"),
    ] {
        let (answered, body) = api(&function, &event).await;
        assert_eq!((answered, body["error"].as_str().unwrap()), (status, code), "{event} {body}");
    }
    let mut get = sample("config-http");
    get["requestContext"]["http"]["method"] = "GET".into();
    let answer = ask(&function, &get).await;
    assert_eq!((&answer["statusCode"], &answer["headers"]["allow"]), (&json!(405), &json!("POST")));
    for event in ["{}", r#"{"database":7}"#, "[]", "no JSON"] {
        let invocation = function.invoke(event).await;
        let Invocation::FunctionError { error_type, message, .. } = &invocation else { panic!("{invocation:?}") };
        assert!(error_type == "Tidelock.Request" && message.contains("send {"), "{message}");
    }
    assert!(server.names().is_empty(), "{:?}", server.names());
}

#[tokio::test]
async fn a_call_that_cannot_make_the_collection_says_so() {
    let server = Scripted::start(|command| match name(command).as_str() {
        "listCollections" => found(Vec::new()),
        "create" => refused(13),
        other => panic!("{other}"),
    })
    .await;
    let Some(function) = enabler(&server.uri(""), MINUTE) else { return };
    let (status, body) = api(&function, &sample("config-rest")).await;
    assert_eq!((status, &body["error"]), (502, &json!("cluster_refuses")));
    assert!(body["message"].as_str().unwrap().contains("may create the collection"), "{body}");
    assert!(!body.to_string().contains(server.address()), "{body}");
    let invocation = function.invoke(sample("direct").to_string()).await;
    let Invocation::FunctionError { error_type, message, .. } = &invocation else { panic!("{invocation:?}") };
    assert_eq!(error_type, "Tidelock.ChangeStreams");
    assert!(message.contains("collection `demo-database.demo-collection` cannot be created"), "{message}");
}

#[tokio::test]
async fn servers_that_know_no_such_command_are_always_on() {
    for uri in [services::ferretdb(), services::secantusdb()] {
        let Some(uri) = uri else { continue };
        let Some(function) = enabler(&uri, MINUTE) else { return };
        let database = unique("streams").replace('-', "_");
        let event = json!({"database": database, "collection": "c"});
        for created in [true, false] {
            let state = ask(&function, &event).await;
            let expected = json!({"database": database, "collection": "c", "enabled": true, "state": "always_on", "created": created});
            assert_eq!(state, expected, "{uri}");
        }
        let client = mongodb::Client::with_uri_str(&uri).await.unwrap();
        assert_eq!(client.database(&database).list_collection_names().await.unwrap(), ["c"]);
        client.database(&database).drop().await.unwrap();
    }
}

#[tokio::test]
async fn wrong_settings_are_said_at_start_and_to_whoever_asks() {
    let Some(function) = function("enable-change-streams", "") else { return };
    let function = function.with("TIDELOCK_SORCE", "mongodb://h").start();
    assert_eq!(function.process.warm_up().await, Ok(()));
    function
        .logged(&["ERROR", "Tidelock.Settings", "did you mean TIDELOCK_SOURCE?", "TIDELOCK_SOURCE is not set"])
        .await;
    let (status, body) = api(&function, &sample("config-rest")).await;
    assert_eq!((status, &body["error"]), (500, &json!("settings")));
    let invocation = function.invoke(sample("direct").to_string()).await;
    let Invocation::FunctionError { error_type, message, .. } = &invocation else { panic!("{invocation:?}") };
    assert!(error_type == "Tidelock.Settings" && message.contains("did you mean TIDELOCK_SOURCE?"), "{message}");
}
