//! The command line of `tidelock dev`. Every option is taken as text first, so that all that can't be used is reported
//! at once.

mod change_stream;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidelock_local::clock::Moment;
use tidelock_local::http_invoke::HttpInvoke;
use tidelock_local::mapping::{MappingSettings, OnFailure, Pace, StartingPosition};
use tidelock_local::runtime_api::{FunctionSettings, LogSink};
use tidelock_local::source::FailureHandling;
use tidelock_local::source::documentdb::ChangeStreamSettings;
use tidelock_local::source::dynamodb::Connection;

use self::change_stream::ChangeStreamArgs;
use super::{destination, environment};

/// Run a function on this machine, driven by a stream as Lambda's event source mapping drives it
///
/// Reads a DynamoDB stream (of AWS or of DynamoDB Local), a DocumentDB change stream (or a MongoDB server's) or a file of
/// records, builds the events Lambda builds, invokes the function and treats its answer as Lambda does: partial answers,
/// retries, bisecting, age limits, on-failure records; for a change stream none of these, but endless retries until its
/// events expire. The function gets the TIDELOCK_* and AWS_* variables of the caller's environment.
///
/// Exit status: 0 all records are done, 1 the function or the source failed, 2 bad options, 3 records were given up,
/// 4 the mapping has disabled itself.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Read this DynamoDB stream
    #[arg(long, value_name = "ARN", help_heading = "Source (one of)")]
    stream_arn: Option<String>,
    /// Read the newest stream of this DynamoDB table
    #[arg(long, value_name = "NAME", help_heading = "Source (one of)")]
    table: Option<String>,
    /// Read records from a file: an event with `Records` or `events`, a JSON array, or one record a line
    #[arg(long, value_name = "FILE", help_heading = "Source (one of)")]
    records: Option<PathBuf>,
    #[command(flatten)]
    change_stream: ChangeStreamArgs,

    /// Where DynamoDB is, such as http://127.0.0.1:8000. The function gets it as AWS_ENDPOINT_URL_DYNAMODB
    #[arg(long, value_name = "URL", help_heading = "DynamoDB")]
    endpoint_url: Option<String>,
    /// The region. Default: the stream ARN's, or what the AWS configuration says
    #[arg(long, value_name = "REGION", help_heading = "DynamoDB")]
    region: Option<String>,

    /// Run this bootstrap, such as target/lambda/dynamodb-sync/bootstrap
    #[arg(long, value_name = "PATH", help_heading = "Function (one of --function, --invoke-url)")]
    function: Option<PathBuf>,
    /// Invoke a function that `cargo lambda watch` serves:
    /// http://127.0.0.1:9000/2015-03-31/functions/NAME/invocations
    #[arg(long, value_name = "URL", help_heading = "Function (one of --function, --invoke-url)")]
    invoke_url: Option<String>,
    /// The function's name. Default: the executable's, or its folder's if it is called `bootstrap`
    #[arg(long, value_name = "NAME", help_heading = "Function (one of --function, --invoke-url)")]
    function_name: Option<String>,
    /// A variable of the function's environment; may be repeated
    #[arg(long = "env", value_name = "KEY=VALUE", help_heading = "Function (one of --function, --invoke-url)")]
    variables: Vec<String>,
    /// Variables from a JSON file, flat or by function as `sam local` takes it
    #[arg(long, value_name = "FILE", help_heading = "Function (one of --function, --invoke-url)")]
    env_file: Option<PathBuf>,
    /// The function's timeout in seconds, 1 to 900 [default: 60]
    #[arg(
        long,
        value_name = "SECONDS",
        allow_hyphen_values = true,
        help_heading = "Function (one of --function, --invoke-url)"
    )]
    timeout: Option<String>,
    /// The function's memory in MB, 128 to 10240; told to it, not enforced [default: 1024]
    #[arg(
        long,
        value_name = "MB",
        allow_hyphen_values = true,
        help_heading = "Function (one of --function, --invoke-url)"
    )]
    memory_size: Option<String>,
    /// Where the function's output goes: `inherit` (standard error), `null`, or a file [default: inherit]
    #[arg(long, value_name = "SINK", help_heading = "Function (one of --function, --invoke-url)")]
    function_logs: Option<String>,

    /// Records of an event at most, 1 to 10000 [default: 100]
    #[arg(long, value_name = "N", allow_hyphen_values = true, help_heading = "Mapping (as in CloudFormation)")]
    batch_size: Option<String>,
    /// Seconds to wait for a batch to fill, 0 to 300 [default: 0; for a change stream, half a second]
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, help_heading = "Mapping (as in CloudFormation)")]
    maximum_batching_window_in_seconds: Option<String>,
    /// Batches of one shard at a time, 1 to 10 [default: 1]
    #[arg(long, value_name = "N", allow_hyphen_values = true, help_heading = "Mapping (as in CloudFormation)")]
    parallelization_factor: Option<String>,
    /// Retries of a failed batch, 0 to 10000, or -1 for no limit [default: -1]
    #[arg(long, value_name = "N", allow_hyphen_values = true, help_heading = "Mapping (as in CloudFormation)")]
    maximum_retry_attempts: Option<String>,
    /// The oldest record that is still given to the function, up to 604800, or -1 for no limit; Lambda itself refuses 0
    /// to 59 [default: -1]
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, help_heading = "Mapping (as in CloudFormation)")]
    maximum_record_age_in_seconds: Option<String>,
    /// Halve a batch when the function fails
    #[arg(long, help_heading = "Mapping (as in CloudFormation)")]
    bisect_batch_on_function_error: bool,
    /// `ReportBatchItemFailures`: heed the answer's `batchItemFailures`
    #[arg(long, value_name = "TYPE", help_heading = "Mapping (as in CloudFormation)")]
    function_response_types: Option<String>,
    /// Where to begin: TRIM_HORIZON or LATEST, for a change stream AT_TIMESTAMP too [default: TRIM_HORIZON]
    #[arg(long, value_name = "POSITION", help_heading = "Mapping (as in CloudFormation)")]
    starting_position: Option<String>,
    /// The time of AT_TIMESTAMP, in seconds since 1970
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, help_heading = "Mapping (as in CloudFormation)")]
    starting_position_timestamp: Option<String>,
    /// Where on-failure records go: a file (.json, .jsonl, .ndjson), or a folder laid out like the S3 bucket
    #[arg(long, value_name = "PATH", help_heading = "Mapping (as in CloudFormation)")]
    on_failure: Option<String>,

    /// Stop when the stream is drained; a file always ends so
    #[arg(long, help_heading = "Run")]
    until_idle: bool,
    /// Milliseconds before the first retry, doubled for each further one [default: 500]
    #[arg(long, value_name = "MS", allow_hyphen_values = true, help_heading = "Run")]
    backoff_ms: Option<String>,
    /// The longest wait before a retry, in milliseconds [default: 60000]
    #[arg(long, value_name = "MS", allow_hyphen_values = true, help_heading = "Run")]
    backoff_cap_ms: Option<String>,
    /// Write JSON, one object a line, instead of text
    #[arg(long, help_heading = "Run")]
    json: bool,
}

/// What to do, checked.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) origin: Origin,
    pub(super) target: Target,
    pub(super) settings: MappingSettings,
    pub(super) pace: Pace,
    pub(super) on_failure: Option<OnFailure>,
    pub(super) until_idle: bool,
    pub(super) json: bool,
}

#[derive(Debug)]
pub(super) enum Origin {
    Stream { arn: String, connection: Connection },
    Table { name: String, connection: Connection },
    Cluster(ChangeStreamSettings),
    File(PathBuf),
}

#[derive(Debug)]
pub(super) enum Target {
    Process(FunctionSettings),
    Http(HttpInvoke),
}

/// The problems found so far.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    /// A whole number within a range, or the default.
    fn number(&mut self, option: &str, text: Option<&str>, allowed: (i64, i64), default: i64) -> i64 {
        let Some(text) = text else { return default };
        match text.trim().parse::<i64>() {
            Ok(number) if (allowed.0..=allowed.1).contains(&number) => number,
            _ => {
                self.add(format!("--{option} {text}: {} to {} is allowed", allowed.0, allowed.1));
                default
            }
        }
    }

    /// The given option that can't be used here.
    fn refuse(&mut self, option: &str, is_given: bool, reason: &str) {
        if is_given {
            self.add(format!("--{option}: {reason}"));
        }
    }
}

/// Checks a command line. `variable` reads the caller's environment.
///
/// # Errors
/// Every problem at once, each with what is allowed.
pub(super) fn check(args: Args, variable: impl Fn(&str) -> Option<String>) -> Result<Plan, Vec<String>> {
    let mut problems = Problems::default();
    let settings = mapping_settings(&args, &mut problems);
    let pace = pace(&args, &mut problems);
    let region = region(&args, &variable);
    let origin = origin(&args, &region, &mut problems);
    if let Some(Origin::Cluster(stream)) = &origin {
        let rules = FailureHandling::RetryWhole { retention: stream.retention };
        // What is out of range has been said.
        let invalid = settings.validate_for(rules).err().into_iter().flat_map(|invalid| invalid.0);
        problems.0.extend(invalid);
        problems.refuse(
            "on-failure",
            args.on_failure.is_some(),
            "a DocumentDB mapping has no destination for failures",
        );
        let timeout = args.timeout.as_deref().and_then(|seconds| seconds.trim().parse::<i64>().ok());
        let is_too_long = timeout.is_some_and(|seconds| seconds > 840);
        problems.refuse("timeout", is_too_long, "a DocumentDB mapping's function has 840 seconds at most");
    }
    let target = target(&args, region, &variable, &mut problems);
    match (origin, target) {
        (Some(origin), Some(target)) if problems.0.is_empty() => Ok(Plan {
            until_idle: args.until_idle || matches!(origin, Origin::File(_)),
            origin,
            target,
            settings,
            pace,
            on_failure: args.on_failure.as_deref().map(destination),
            json: args.json,
        }),
        _ => Err(problems.0),
    }
}

fn mapping_settings(args: &Args, problems: &mut Problems) -> MappingSettings {
    let mut number =
        |option, text: &Option<String>, allowed, default| problems.number(option, text.as_deref(), allowed, default);
    let batch_size = number("batch-size", &args.batch_size, (1, 10_000), 100);
    let window = number("maximum-batching-window-in-seconds", &args.maximum_batching_window_in_seconds, (0, 300), 0);
    let begin = number("starting-position-timestamp", &args.starting_position_timestamp, (0, u32::MAX.into()), 0);
    let factor = number("parallelization-factor", &args.parallelization_factor, (1, 10), 1);
    let attempts = number("maximum-retry-attempts", &args.maximum_retry_attempts, (-1, 10_000), -1);
    let age = number("maximum-record-age-in-seconds", &args.maximum_record_age_in_seconds, (-1, 604_800), -1);
    if let Some(other) = args.function_response_types.as_deref().filter(|kind| *kind != "ReportBatchItemFailures") {
        problems.add(format!("--function-response-types {other}: ReportBatchItemFailures is allowed"));
    }
    let starting_position = match args.starting_position.as_deref() {
        None | Some("TRIM_HORIZON") => StartingPosition::TrimHorizon,
        Some("LATEST") => {
            problems.refuse("starting-position LATEST", args.records.is_some(), "a file is read from its start");
            StartingPosition::Latest
        }
        Some("AT_TIMESTAMP") if args.change_stream.is_chosen() => {
            if args.starting_position_timestamp.is_none() {
                problems.add("--starting-position AT_TIMESTAMP: --starting-position-timestamp says which");
            }
            let since = Duration::from_secs(u64::try_from(begin).unwrap_or(0));
            StartingPosition::AtTimestamp(Moment::from_epoch(since))
        }
        Some(other) => {
            let allowed = if args.change_stream.is_chosen() {
                "TRIM_HORIZON, LATEST or AT_TIMESTAMP"
            } else {
                "TRIM_HORIZON or LATEST"
            };
            problems.add(format!("--starting-position {other}: {allowed} is allowed"));
            StartingPosition::TrimHorizon
        }
    };
    let has_other_begin = !matches!(starting_position, StartingPosition::AtTimestamp(_));
    problems.refuse(
        "starting-position-timestamp",
        args.starting_position_timestamp.is_some() && has_other_begin,
        "only with --starting-position AT_TIMESTAMP",
    );
    // All within their ranges, which fit their types.
    MappingSettings {
        batch_size: u32::try_from(batch_size).unwrap_or(100),
        batching_window: args.maximum_batching_window_in_seconds.as_ref().and_then(|_| u32::try_from(window).ok()),
        parallelization_factor: u32::try_from(factor).unwrap_or(1),
        maximum_retry_attempts: i32::try_from(attempts).unwrap_or(-1),
        maximum_record_age: i32::try_from(age).unwrap_or(-1),
        bisect_on_error: args.bisect_batch_on_function_error,
        report_batch_item_failures: args.function_response_types.is_some(),
        starting_position,
    }
}

fn pace(args: &Args, problems: &mut Problems) -> Pace {
    let mut wait = |option, text: &Option<String>, default| {
        let milliseconds = problems.number(option, text.as_deref(), (0, 3_600_000), default);
        Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
    };
    let first_backoff = wait("backoff-ms", &args.backoff_ms, 500);
    let longest_backoff = wait("backoff-cap-ms", &args.backoff_cap_ms, 60_000);
    Pace { first_backoff, longest_backoff, idle_after: Duration::from_secs(2), ..Pace::default() }
}

fn origin(args: &Args, region: &str, problems: &mut Problems) -> Option<Origin> {
    let connection = Connection { endpoint_url: args.endpoint_url.clone(), region: stream_region(args) };
    if let Some(url) =
        args.endpoint_url.as_deref().filter(|url| !url.starts_with("http://") && !url.starts_with("https://"))
    {
        problems.add(format!("--endpoint-url {url}: http://HOST:PORT or https://HOST is allowed"));
    }
    let cluster = args.change_stream.settings(region, problems);
    match (&args.stream_arn, &args.table, &args.records, cluster) {
        (None, None, None, Some(settings)) => {
            problems.refuse("endpoint-url", args.endpoint_url.is_some(), "not with --cluster, which says where it is");
            Some(Origin::Cluster(settings))
        }
        (Some(arn), None, None, None) => {
            if !arn.starts_with("arn:") || !arn.contains("/stream/") {
                problems.add(format!(
                    "--stream-arn {arn}: arn:aws:dynamodb:REGION:ACCOUNT:table/NAME/stream/LABEL is allowed; with a \
                     table's name use --table"
                ));
            }
            Some(Origin::Stream { arn: arn.clone(), connection })
        }
        (None, Some(name), None, None) => Some(Origin::Table { name: name.clone(), connection }),
        (None, None, Some(path), None) => {
            problems.refuse("endpoint-url", args.endpoint_url.is_some(), "not with --records");
            if !path.is_file() {
                problems.add(format!("--records {}: no such file", path.display()));
            }
            Some(Origin::File(path.clone()))
        }
        (None, None, None, None) => {
            problems.add("no source: one of --stream-arn, --table, --cluster and --records is needed");
            None
        }
        _ => {
            problems.add("more than one source: one of --stream-arn, --table, --cluster and --records is allowed");
            None
        }
    }
}

/// The region to ask for the stream: DynamoDB Local's ARNs have one that does not exist.
fn stream_region(args: &Args) -> Option<String> {
    args.region.clone().or_else(|| {
        let region = args.stream_arn.as_deref()?.split(':').nth(3)?;
        (!region.is_empty() && region != "ddblocal").then(|| region.to_owned())
    })
}

/// The region the function is told.
fn region(args: &Args, variable: impl Fn(&str) -> Option<String>) -> String {
    stream_region(args)
        .or_else(|| variable("AWS_REGION"))
        .or_else(|| variable("AWS_DEFAULT_REGION"))
        .unwrap_or_else(|| "us-east-1".into())
}

fn target(
    args: &Args,
    region: String,
    variable: impl Fn(&str) -> Option<String>,
    problems: &mut Problems,
) -> Option<Target> {
    let seconds = problems.number("timeout", args.timeout.as_deref(), (1, 900), 60);
    let timeout = Duration::from_secs(u64::try_from(seconds).unwrap_or(60));
    let memory_size = problems.number("memory-size", args.memory_size.as_deref(), (128, 10_240), 1_024);
    match (&args.function, &args.invoke_url) {
        (Some(path), None) => {
            if !path.is_file() {
                problems.add(format!("--function {}: no such file; build the function first", path.display()));
            }
            let mut settings = FunctionSettings::new(path);
            if let Some(name) = &args.function_name {
                settings.name.clone_from(name);
            }
            settings.timeout = timeout;
            settings.memory_size = u32::try_from(memory_size).unwrap_or(1_024);
            settings.logs = match args.function_logs.as_deref() {
                None | Some("inherit") => LogSink::Inherit,
                Some("null") => LogSink::Null,
                Some(path) => LogSink::File(path.into()),
            };
            settings.environment = variables(args, &settings.name, &region, variable, problems);
            settings.region = region;
            Some(Target::Process(settings))
        }
        (None, Some(url)) => {
            for (option, is_given) in [
                ("env", !args.variables.is_empty()),
                ("env-file", args.env_file.is_some()),
                ("function-name", args.function_name.is_some()),
                ("function-logs", args.function_logs.is_some()),
                ("memory-size", args.memory_size.is_some()),
            ] {
                problems.refuse(option, is_given, "only with --function; set it where the function is served");
            }
            match HttpInvoke::new(url, timeout) {
                Ok(function) => Some(Target::Http(function)),
                Err(problem) => {
                    problems.add(format!("--invoke-url: {problem}"));
                    None
                }
            }
        }
        (None, None) => {
            problems.add("no function: one of --function and --invoke-url is needed");
            None
        }
        (Some(_), Some(_)) => {
            problems.add("more than one function: one of --function and --invoke-url is allowed");
            None
        }
    }
}

/// The function's variables: the caller's, then what belongs to the endpoint, then the file's, then the command line's.
fn variables(
    args: &Args,
    function: &str,
    region: &str,
    variable: impl Fn(&str) -> Option<String>,
    problems: &mut Problems,
) -> BTreeMap<String, String> {
    let mut variables = environment::handed_on();
    if args.region.is_some() {
        variables.insert("AWS_REGION".into(), region.into());
        variables.insert("AWS_DEFAULT_REGION".into(), region.into());
    }
    if let Some(url) = &args.endpoint_url {
        // A function that reads the table again must read it where its stream is.
        variables.insert("AWS_ENDPOINT_URL_DYNAMODB".into(), url.clone());
        if variable("AWS_ACCESS_KEY_ID").is_none() && variable("AWS_PROFILE").is_none() {
            for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
                variables.insert(name.into(), "local".into());
            }
        }
    }
    if let Some(uri) = args.change_stream.uri() {
        // A function that reads documents again finds them in the same place, unless it is told another.
        variables.entry("TIDELOCK_SOURCE".into()).or_insert_with(|| uri.into());
    }
    if let Some(path) = &args.env_file {
        match read_env_file(path, function) {
            Ok(found) => variables.extend(found),
            Err(found) => problems.0.extend(found),
        }
    }
    for pair in &args.variables {
        match pair.split_once('=') {
            Some((name, value)) if !name.is_empty() => drop(variables.insert(name.into(), value.into())),
            _ => problems.add(format!("--env {pair}: KEY=VALUE is allowed")),
        }
    }
    variables
}

fn read_env_file(path: &Path, function: &str) -> Result<BTreeMap<String, String>, Vec<String>> {
    let name = |problem: String| format!("--env-file {}: {problem}", path.display());
    let text = fs::read_to_string(path).map_err(|error| vec![name(error.to_string())])?;
    environment::parse_file(&text, function).map_err(|problems| problems.into_iter().map(name).collect())
}

#[cfg(test)]
mod tests;
