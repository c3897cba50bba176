//! The Runtime API with real processes.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::{Value, json};
use tidelock_local::function::{Function as _, Invocation, MAX_RESPONSE};
use tidelock_local::runtime_api::{FunctionSettings, LogRing, LogSink, ProcessFunction};
use tokio::time::sleep;

use crate::bootstrap::TestFolder;

fn settings(folder: &TestFolder) -> FunctionSettings {
    let mut settings = FunctionSettings::new(folder.bootstrap());
    settings.logs = LogSink::Null;
    settings.timeout = Duration::from_secs(20);
    settings
}

async fn invoke(function: &ProcessFunction, event: Value) -> Invocation {
    function.invoke(Bytes::from(event.to_string())).await
}

/// The response to an event, as JSON.
async fn answer(function: &ProcessFunction, event: Value) -> Value {
    match invoke(function, event).await {
        Invocation::Response(body) => serde_json::from_slice(&body).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// A process's state letter from /proc; `None` once it has ended.
fn process_state(pid: u64) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next().filter(|state| !matches!(state, 'Z' | 'X'))
}

/// Waits for a condition, for ten seconds at most.
async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_event_arrives_unchanged_with_its_headers() {
    let folder = TestFolder::new("headers");
    let function = ProcessFunction::new(settings(&folder)).unwrap();
    let event = r#"{ "z":1, "a" : 12345678901234567890 , "\u00fc": "\u00fc" }"#;
    assert_eq!(function.invoke(Bytes::from(event)).await, Invocation::Response(Bytes::from(event)));
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let body = match function.invoke_as("request-1", Bytes::from(r#"{"do":"headers"}"#)).await {
        Invocation::Response(body) => body,
        other => panic!("{other:?}"),
    };
    let headers: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(headers["lambda-runtime-aws-request-id"], "request-1");
    assert_eq!(headers["lambda-runtime-invoked-function-arn"], function.arn());
    assert_eq!(function.arn(), "arn:aws:lambda:us-east-1:000000000000:function:scripted");
    let deadline: u128 = headers["lambda-runtime-deadline-ms"].as_str().unwrap().parse().unwrap();
    assert!((before + 15_000..before + 25_000).contains(&deadline), "{deadline}");
    let trace = headers["lambda-runtime-trace-id"].as_str().unwrap();
    assert!(trace.starts_with("Root=1-") && trace.contains(";Parent="), "{trace}");
}

#[tokio::test]
async fn the_environment_is_lambdas_and_the_callers_own() {
    let folder = TestFolder::new("env");
    let mut settings = settings(&folder);
    settings.environment.insert("TIDELOCK_TARGET".into(), "stdout:".into());
    settings.memory_size = 512;
    settings.region = "eu-west-1".into();
    let function = ProcessFunction::new(settings).unwrap();
    let variables = answer(&function, json!({"do": "env"})).await;
    for (name, value) in [
        ("TIDELOCK_TARGET", "stdout:"),
        ("AWS_LAMBDA_FUNCTION_NAME", "scripted"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_DEFAULT_REGION", "eu-west-1"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/scripted"),
        ("LAMBDA_TASK_ROOT", folder.path().join("scripted").to_str().unwrap()),
    ] {
        assert_eq!(variables[name], value, "{name}");
    }
    assert!(variables["AWS_LAMBDA_LOG_STREAM_NAME"].as_str().unwrap().contains("/[$LATEST]"));
    assert!(variables["PATH"].is_string());
    assert!(variables["CARGO_PKG_NAME"].is_null(), "the caller's environment is not inherited");
}

#[tokio::test]
async fn environments_are_reused_frozen_in_between_and_ended_at_the_end() {
    let folder = TestFolder::new("reuse");
    let function = ProcessFunction::new(settings(&folder)).unwrap();
    function.warm_up().await.unwrap();
    let first = answer(&function, json!({"do": "pid"})).await;
    let pid = first["pid"].as_u64().unwrap();
    eventually("frozen after an answer", || process_state(pid) == Some('T')).await;
    let second = answer(&function, json!({"do": "pid"})).await;
    assert_eq!(second, json!({"pid": pid, "count": 2}));
    assert_eq!(function.idle_environments(), 1);
    function.shut_down().await;
    assert_eq!(process_state(pid), None);
    assert_ne!(answer(&function, json!({"do": "pid"})).await["pid"], pid, "a new one starts on demand");
}

#[tokio::test]
async fn dropping_the_function_ends_its_whole_process_group() {
    let folder = TestFolder::new("group");
    let function = ProcessFunction::new(settings(&folder)).unwrap();
    let pid = answer(&function, json!({"do": "pid"})).await["pid"].as_u64().unwrap();
    let child = answer(&function, json!({"do": "child"})).await.as_u64().unwrap();
    assert!(process_state(child).is_some());
    drop(function);
    eventually("the function ends", || process_state(pid).is_none()).await;
    eventually("what it started ends", || process_state(child).is_none()).await;
}

#[tokio::test]
async fn dropping_an_invocation_ends_its_process() {
    let folder = TestFolder::new("dropped");
    let function = ProcessFunction::new(settings(&folder)).unwrap();
    let pid = answer(&function, json!({"do": "pid"})).await["pid"].as_u64().unwrap();
    let hanging = tokio::time::timeout(Duration::from_millis(100), invoke(&function, json!({"do": "hang"}))).await;
    assert!(hanging.is_err());
    eventually("the function ends", || process_state(pid).is_none()).await;
}

#[tokio::test]
async fn parallel_invocations_get_environments_of_their_own_up_to_the_limit() {
    let folder = TestFolder::new("parallel");
    let mut settings = settings(&folder);
    settings.concurrency = 2;
    let function = Arc::new(ProcessFunction::new(settings).unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let function = function.clone();
        tasks.spawn(async move { invoke(&function, json!({"do": "sleep", "ms": 50})).await });
    }
    while let Some(outcome) = tasks.join_next().await {
        assert_eq!(outcome.unwrap(), Invocation::Response(Bytes::from("slept")));
    }
    assert_eq!(function.idle_environments(), 2);
}

#[tokio::test]
async fn function_errors_carry_type_and_message_and_keep_the_environment() {
    let folder = TestFolder::new("error");
    let function = ProcessFunction::new(settings(&folder)).unwrap();
    match invoke(&function, json!({"do": "error"})).await {
        Invocation::FunctionError { error_type, message, raw } => {
            assert_eq!((error_type.as_str(), message.as_str()), ("Target.Down", "no answer"));
            assert!(raw.starts_with(b"{"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(answer(&function, json!({"do": "pid"})).await["count"], 2);
}

#[tokio::test]
async fn a_timeout_kills_the_environment_and_the_next_one_is_fresh() {
    let folder = TestFolder::new("timeout");
    let mut settings = settings(&folder);
    settings.timeout = Duration::from_millis(1500);
    let function = ProcessFunction::new(settings).unwrap();
    let pid = answer(&function, json!({"do": "pid"})).await["pid"].as_u64().unwrap();
    let begin = Instant::now();
    assert_eq!(invoke(&function, json!({"do": "hang"})).await, Invocation::Timeout);
    assert!((1400..4000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
    eventually("killed", || process_state(pid).is_none()).await;
    assert_eq!(answer(&function, json!({"do": "pid"})).await["count"], 1);
}

#[tokio::test]
async fn a_process_that_ends_in_the_middle_is_a_crash() {
    let folder = TestFolder::new("crash");
    let function = ProcessFunction::new(settings(&folder)).unwrap();
    for (action, part) in [("exit", "exit status: 7"), ("abort", "signal: 6")] {
        match invoke(&function, json!({"do": action})).await {
            Invocation::Crashed { status } => assert!(status.contains(part), "{status}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(answer(&function, json!({"do": "pid"})).await["count"], 1);
    }
}

#[tokio::test]
async fn an_environment_that_ended_while_idle_is_replaced_unnoticed() {
    let folder = TestFolder::new("idle");
    let function = ProcessFunction::new(settings(&folder)).unwrap();
    for _ in 0..3 {
        let bye = invoke(&function, json!({"do": "respond_and_exit"})).await;
        assert_eq!(bye, Invocation::Response(Bytes::from("bye")));
    }
}

#[tokio::test]
async fn responses_are_limited_as_on_lambda() {
    let folder = TestFolder::new("size");
    let ring = LogRing::new(100);
    let mut settings = settings(&folder);
    settings.logs = LogSink::Ring(ring.clone());
    let function = ProcessFunction::new(settings).unwrap();
    match invoke(&function, json!({"do": "size", "bytes": MAX_RESPONSE})).await {
        Invocation::Response(body) => assert_eq!(body.len(), MAX_RESPONSE),
        other => panic!("{other:?}"),
    }
    match invoke(&function, json!({"do": "size", "bytes": MAX_RESPONSE + 1})).await {
        Invocation::FunctionError { error_type, message, .. } => {
            assert_eq!(error_type, "Function.ResponseSizeTooLarge");
            assert!(message.contains("6291556"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    eventually("the function is told", || ring.lines().iter().any(|line| line == "status 413")).await;
}

#[tokio::test]
async fn answers_to_other_requests_are_refused() {
    let folder = TestFolder::new("wrong-id");
    let function = ProcessFunction::new(settings(&folder)).unwrap();
    match invoke(&function, json!({"do": "wrong_id"})).await {
        Invocation::Response(body) => {
            let text = String::from_utf8_lossy(&body).into_owned();
            assert!(text.starts_with("400 ") && text.contains("InvalidRequestID"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn functions_that_cannot_start_say_why() {
    let folder = TestFolder::new("init");
    for (mode, error_type, part) in
        [("error", "Config.Missing", "TIDELOCK_TARGET is not set"), ("exit", "Runtime.ExitError", "exit status: 3")]
    {
        let mut settings = settings(&folder);
        settings.environment.insert("BOOTSTRAP_INIT".into(), mode.into());
        let function = ProcessFunction::new(settings).unwrap();
        for outcome in [function.warm_up().await.unwrap_err(), invoke(&function, json!({})).await] {
            match outcome {
                Invocation::InitError { error_type: found, message } => {
                    assert_eq!(found, error_type);
                    assert!(message.contains(part), "{message}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let not_executable = folder.path().join("text");
    fs::write(&not_executable, "hello").unwrap();
    let function = ProcessFunction::new(FunctionSettings::new(&not_executable)).unwrap();
    match function.warm_up().await.unwrap_err() {
        Invocation::InitError { error_type, message } => {
            assert_eq!(error_type, "Runtime.InvalidEntrypoint");
            assert!(message.contains(not_executable.to_str().unwrap()), "{message}");
        }
        other => panic!("{other:?}"),
    }
    assert!(ProcessFunction::new(FunctionSettings::new(Path::new("/nowhere/bootstrap"))).is_err());
}

#[tokio::test]
async fn a_slow_initialisation_is_begun_again_with_the_functions_timeout() {
    let folder = TestFolder::new("slow-init");
    let mut settings = settings(&folder);
    settings.init_timeout = Duration::from_millis(1000);
    settings.environment.insert("BOOTSTRAP_INIT".into(), "slow_once".into());
    let marker = folder.path().join("marker");
    settings.environment.insert("BOOTSTRAP_MARKER".into(), marker.to_str().unwrap().into());
    let function = ProcessFunction::new(settings.clone()).unwrap();
    assert_eq!(answer(&function, json!({"do": "pid"})).await["count"], 1);
    assert!(marker.exists());
    settings.init_timeout = Duration::from_millis(100);
    settings.timeout = Duration::from_millis(200);
    settings.environment.insert("BOOTSTRAP_INIT".into(), "hang".into());
    let function = ProcessFunction::new(settings).unwrap();
    assert_eq!(invoke(&function, json!({})).await, Invocation::Timeout);
}

#[tokio::test]
async fn output_goes_where_it_is_told() {
    let folder = TestFolder::new("logs");
    let file = folder.path().join("function.log");
    let mut settings = settings(&folder);
    settings.logs = LogSink::File(file.clone());
    let function = ProcessFunction::new(settings).unwrap();
    invoke(&function, json!({"do": "print"})).await;
    eventually("both streams in the file", || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        text.contains("to standard output\n") && text.contains("to standard error\n")
    })
    .await;
}

#[tokio::test]
async fn a_function_with_an_extension_is_asked_to_end() {
    let folder = TestFolder::new("extension");
    // `trap` in the shell that stays the group's leader writes a mark when it is asked to end.
    let mark = folder.path().join("asked");
    let script = fs::read_to_string(folder.bootstrap()).unwrap();
    let script = script.replace("exec ", &format!("trap 'touch {}; exit 0' TERM\n", mark.display()));
    let script = format!("{} & wait\n", script.trim_end());
    for (mode, is_asked) in [("none", false), ("extension", true)] {
        let mut settings = settings(&folder);
        settings.bootstrap = folder.script(&script);
        settings.environment.insert("BOOTSTRAP_INIT".into(), mode.into());
        let function = ProcessFunction::new(settings).unwrap();
        answer(&function, json!({"do": "pid"})).await;
        function.shut_down().await;
        assert_eq!(mark.exists(), is_asked, "{mode}");
    }
}
