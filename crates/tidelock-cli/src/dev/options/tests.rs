//! Command lines that can be used, and those that cannot.

use tidelock_local::source::documentdb::{ExtendedJson, FullDocument};

use super::*;

fn nothing(_: &str) -> Option<String> {
    None
}

fn text(value: &str) -> Option<String> {
    Some(value.into())
}

/// A command line that can be used.
fn usable() -> Args {
    Args {
        table: text("orders"),
        invoke_url: text("http://127.0.0.1:9000/2015-03-31/functions/f/invocations"),
        ..Args::default()
    }
}

#[test]
fn defaults_are_those_of_the_mapping() {
    let plan = check(usable(), nothing).unwrap();
    assert_eq!(plan.settings, MappingSettings::default());
    assert_eq!(plan.pace.first_backoff, Duration::from_millis(500));
    assert!(!plan.until_idle && !plan.json && plan.on_failure.is_none());
    assert!(matches!(plan.origin, Origin::Table { name, .. } if name == "orders"));
}

#[test]
fn every_option_reaches_the_settings() {
    let args = Args {
        batch_size: text("7"),
        maximum_batching_window_in_seconds: text("3"),
        parallelization_factor: text("2"),
        maximum_retry_attempts: text("-1"),
        maximum_record_age_in_seconds: text("600"),
        bisect_batch_on_function_error: true,
        function_response_types: text("ReportBatchItemFailures"),
        starting_position: text("LATEST"),
        on_failure: text("failures.jsonl"),
        backoff_ms: text("1"),
        backoff_cap_ms: text("2"),
        until_idle: true,
        json: true,
        ..usable()
    };
    let plan = check(args, nothing).unwrap();
    assert_eq!(
        plan.settings,
        MappingSettings {
            batch_size: 7,
            batching_window: Some(3),
            parallelization_factor: 2,
            maximum_retry_attempts: -1,
            maximum_record_age: 600,
            bisect_on_error: true,
            report_batch_item_failures: true,
            starting_position: StartingPosition::Latest,
        }
    );
    assert_eq!(
        (plan.pace.first_backoff, plan.pace.longest_backoff),
        (Duration::from_millis(1), Duration::from_millis(2))
    );
    assert_eq!(plan.on_failure, Some(OnFailure::JsonLines("failures.jsonl".into())));
    assert!(plan.until_idle && plan.json);
}

#[test]
fn every_problem_is_reported_at_once_with_what_is_allowed() {
    let args = Args {
        stream_arn: text("orders"),
        table: None,
        function: Some("/nowhere/bootstrap".into()),
        invoke_url: None,
        endpoint_url: text("127.0.0.1:8000"),
        variables: vec!["NAME".into(), "=x".into()],
        env_file: Some("/nowhere/env.json".into()),
        timeout: text("901"),
        memory_size: text("big"),
        batch_size: text("0"),
        maximum_batching_window_in_seconds: text("301"),
        parallelization_factor: text("11"),
        maximum_retry_attempts: text("-2"),
        maximum_record_age_in_seconds: text("604801"),
        function_response_types: text("Report"),
        starting_position: text("OLDEST"),
        backoff_ms: text("-1"),
        ..Args::default()
    };
    let problems = check(args, nothing).unwrap_err();
    for part in [
        "--stream-arn orders: arn:aws:dynamodb:",
        "--function /nowhere/bootstrap: no such file",
        "--endpoint-url 127.0.0.1:8000: http://",
        "--env NAME: KEY=VALUE",
        "--env =x: KEY=VALUE",
        "--env-file /nowhere/env.json: ",
        "--timeout 901: 1 to 900",
        "--memory-size big: 128 to 10240",
        "--batch-size 0: 1 to 10000",
        "--maximum-batching-window-in-seconds 301: 0 to 300",
        "--parallelization-factor 11: 1 to 10",
        "--maximum-retry-attempts -2: -1 to 10000",
        "--maximum-record-age-in-seconds 604801: -1 to 604800",
        "--function-response-types Report: ReportBatchItemFailures",
        "--starting-position OLDEST: TRIM_HORIZON or LATEST",
        "--backoff-ms -1: 0 to 3600000",
    ] {
        assert!(problems.iter().any(|problem| problem.contains(part)), "{part} in {problems:#?}");
    }
    assert_eq!(problems.len(), 16, "{problems:#?}");
}

#[test]
fn source_and_function_are_chosen_once() {
    let refused = |args| check(args, nothing).unwrap_err().join("\n");
    assert!(refused(Args { table: None, ..usable() }).contains("no source"));
    assert!(refused(Args { stream_arn: text("a"), ..usable() }).contains("more than one source"));
    assert!(refused(Args { invoke_url: None, ..usable() }).contains("no function"));
    assert!(refused(Args { function: Some("f".into()), ..usable() }).contains("more than one function"));
    assert!(refused(Args { invoke_url: text("ftp://x"), ..usable() }).contains("--invoke-url: `ftp://x`"));
    let text = refused(Args { variables: vec!["A=b".into()], memory_size: text("128"), ..usable() });
    assert!(text.contains("--env: only with --function") && text.contains("--memory-size: only with"), "{text}");
    let file = Args {
        table: None,
        records: Some("/nowhere".into()),
        starting_position: super::tests::text("LATEST"),
        ..usable()
    };
    let text = refused(file);
    assert!(text.contains("--records /nowhere: no such file") && text.contains("read from its start"), "{text}");
}

#[test]
fn the_region_is_the_streams_unless_it_is_said() {
    let arn = |region: &str| text(&format!("arn:aws:dynamodb:{region}:000000000000:table/t/stream/l"));
    let told = |args: Args| (stream_region(&args), region(&args, |name| (name == "AWS_REGION").then(|| "env".into())));
    assert_eq!(told(Args { stream_arn: arn("eu-west-1"), ..Args::default() }), (text("eu-west-1"), "eu-west-1".into()));
    assert_eq!(told(Args { stream_arn: arn("ddblocal"), ..Args::default() }), (None, "env".into()));
    let both = Args { stream_arn: arn("eu-west-1"), region: text("said"), ..Args::default() };
    assert_eq!(told(both), (text("said"), "said".into()));
}

#[test]
fn a_local_endpoint_is_the_functions_too() {
    let args = Args { endpoint_url: text("http://127.0.0.1:8000"), variables: vec!["A=b=c".into()], ..Args::default() };
    let mut problems = Problems::default();
    let found = variables(&args, "f", "us-east-1", nothing, &mut problems);
    assert!(problems.0.is_empty());
    assert_eq!(found["AWS_ENDPOINT_URL_DYNAMODB"], "http://127.0.0.1:8000");
    assert_eq!(found["AWS_ACCESS_KEY_ID"], "local");
    assert_eq!(found["A"], "b=c");
}

/// A command line for a change stream.
fn of_cluster() -> Args {
    Args {
        table: None,
        change_stream: ChangeStreamArgs {
            cluster: text("mongodb://user:secret@h/?directConnection=true"),
            ..ChangeStreamArgs::default()
        },
        ..usable()
    }
}

#[test]
fn a_change_stream_has_its_own_options_and_defaults() {
    let plan = check(of_cluster(), nothing).unwrap();
    assert_eq!(plan.settings, MappingSettings::default());
    let Origin::Cluster(stream) = plan.origin else { panic!("{:?}", plan.origin) };
    assert_eq!((stream.database, stream.collection), (None, None));
    assert_eq!((stream.full_document, stream.form), (FullDocument::Default, ExtendedJson::Relaxed));
    assert_eq!(stream.retention, Duration::from_secs(10_800));
    assert_eq!(stream.arn, "arn:aws:rds:us-east-1:000000000000:cluster:local");

    let args = Args {
        change_stream: ChangeStreamArgs {
            database_name: text("db"),
            collection_name: text("coll"),
            full_document: text("UpdateLookup"),
            extended_json: text("canonical"),
            retention: text("3600"),
            ..of_cluster().change_stream
        },
        region: text("eu-west-1"),
        starting_position: text("AT_TIMESTAMP"),
        starting_position_timestamp: text("1700000000"),
        maximum_batching_window_in_seconds: text("0"),
        ..of_cluster()
    };
    let plan = check(args, nothing).unwrap();
    let begin = StartingPosition::AtTimestamp(Moment::from_epoch(Duration::from_secs(1_700_000_000)));
    assert_eq!((plan.settings.starting_position, plan.settings.batching_window), (begin, Some(0)));
    let Origin::Cluster(stream) = plan.origin else { panic!("{:?}", plan.origin) };
    assert_eq!((stream.database, stream.collection), (text("db"), text("coll")));
    assert_eq!((stream.full_document, stream.form), (FullDocument::UpdateLookup, ExtendedJson::Canonical));
    assert_eq!(stream.retention, Duration::from_secs(3_600));
    assert_eq!(stream.arn, "arn:aws:rds:eu-west-1:000000000000:cluster:local");
}

#[test]
fn what_a_documentdb_mapping_does_not_have_is_refused_with_the_reason() {
    let args = Args {
        change_stream: ChangeStreamArgs {
            cluster: text("secret-host:27017"),
            collection_name: text("coll"),
            full_document: text("Lookup"),
            extended_json: text("v1"),
            retention: text("0"),
            ..ChangeStreamArgs::default()
        },
        endpoint_url: text("http://127.0.0.1:8000"),
        maximum_retry_attempts: text("3"),
        maximum_record_age_in_seconds: text("60"),
        parallelization_factor: text("2"),
        bisect_batch_on_function_error: true,
        function_response_types: text("ReportBatchItemFailures"),
        on_failure: text("failures.jsonl"),
        starting_position: text("AT_TIMESTAMP"),
        timeout: text("900"),
        ..of_cluster()
    };
    let problems = check(args, nothing).unwrap_err();
    for part in [
        "--cluster: mongodb://",
        "--collection-name: needs --database-name",
        "--full-document Lookup: Default or UpdateLookup",
        "--extended-json v1: relaxed or canonical",
        "--retention 0: 1 to 604800",
        "--endpoint-url: not with --cluster",
        "maximum retry attempts: not a setting of DocumentDB mappings",
        "maximum record age: not a setting",
        "parallelization factor: not a setting",
        "bisect batch on function error: not a setting",
        "report batch item failures: not a setting",
        "--on-failure: a DocumentDB mapping has no destination",
        "--starting-position-timestamp says which",
        "--timeout: a DocumentDB mapping's function has 840 seconds",
    ] {
        assert!(problems.iter().any(|problem| problem.contains(part)), "{part} in {problems:#?}");
    }
    assert_eq!(problems.len(), 14, "{problems:#?}");
    assert!(!problems.join("").contains("secret"), "{problems:?}");
}

#[test]
fn a_change_streams_options_are_no_others() {
    let refused = |args| check(args, nothing).unwrap_err().join("\n");
    let change_stream = ChangeStreamArgs { database_name: text("db"), ..ChangeStreamArgs::default() };
    assert_eq!(refused(Args { change_stream, ..usable() }), "--database-name: only with --cluster");
    assert!(refused(Args { table: text("t"), ..of_cluster() }).contains("more than one source"));
    let at = Args { starting_position: text("AT_TIMESTAMP"), starting_position_timestamp: text("1"), ..usable() };
    assert_eq!(
        refused(at),
        "--starting-position AT_TIMESTAMP: TRIM_HORIZON or LATEST is allowed\n\
         --starting-position-timestamp: only with --starting-position AT_TIMESTAMP"
    );
}

#[test]
fn the_cluster_is_the_functions_source_unless_it_has_one() {
    let mut problems = Problems::default();
    let found = variables(&of_cluster(), "f", "us-east-1", nothing, &mut problems);
    assert_eq!(found["TIDELOCK_SOURCE"], "mongodb://user:secret@h/?directConnection=true");
    let args = Args { variables: vec!["TIDELOCK_SOURCE=mongodb://other".into()], ..of_cluster() };
    assert_eq!(variables(&args, "f", "us-east-1", nothing, &mut problems)["TIDELOCK_SOURCE"], "mongodb://other");
    assert!(problems.0.is_empty());
}
