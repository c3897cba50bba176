//! How a function is started, and the environment it sees.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::logs::LogSink;

/// How a function is started and what it is told about itself.
#[derive(Clone, Debug)]
pub struct FunctionSettings {
    /// The executable, such as `target/lambda/dynamodb-sync/bootstrap`.
    pub bootstrap: PathBuf,
    /// The function's name. Default: the name of the executable, or of its folder if it is called `bootstrap`.
    pub name: String,
    /// MB, 128 to 10,240. Told to the function, not enforced. Default 1,024.
    pub memory_size: u32,
    /// The function's timeout, up to 900 s. Default 60 s. Lambda counts in whole seconds; tests may have less than one.
    pub timeout: Duration,
    /// The region the function is told. Default: `us-east-1`.
    pub region: String,
    /// Variables of the function's own. They win over those Lambda sets.
    pub environment: BTreeMap<String, String>,
    /// The most environments at a time, 1 to 1,000. Further invocations wait. Default 10.
    pub concurrency: usize,
    /// Where the function's output goes. Default: this process's standard error.
    pub logs: LogSink,
    /// Whether a waiting environment is stopped until its next invocation, as on Lambda. Default true.
    pub freeze: bool,
    /// How long an environment may take to ask for its first event. Default 10 s, as on Lambda.
    pub init_timeout: Duration,
}

/// Settings a function can't have: every problem, in words for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidFunction(pub Vec<String>);

impl fmt::Display for InvalidFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for InvalidFunction {}

impl FunctionSettings {
    /// The defaults for a bootstrap.
    pub fn new(bootstrap: impl Into<PathBuf>) -> Self {
        let bootstrap = bootstrap.into();
        let file = bootstrap.file_name().filter(|name| *name != "bootstrap");
        let named = file.or_else(|| bootstrap.parent().and_then(|folder| folder.file_name()));
        let name = named.map_or_else(|| "function".into(), |name| name.to_string_lossy().into_owned());
        Self {
            bootstrap,
            name,
            memory_size: 1024,
            timeout: Duration::from_secs(60),
            region: "us-east-1".into(),
            environment: BTreeMap::new(),
            concurrency: 10,
            logs: LogSink::Inherit,
            freeze: true,
            init_timeout: Duration::from_secs(10),
        }
    }

    /// Checks the ranges Lambda has
    /// (<https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html>).
    ///
    /// # Errors
    /// Every problem at once.
    pub fn validate(&self) -> Result<(), InvalidFunction> {
        let mut problems = Vec::new();
        if !self.bootstrap.is_file() {
            problems.push(format!("`{}` is not a file: build the function first", self.bootstrap.display()));
        }
        if self.timeout.is_zero() || self.timeout > Duration::from_secs(900) {
            problems.push(format!("timeout {} s is not allowed: 1 to 900", self.timeout.as_secs()));
        }
        if !(128..=10_240).contains(&self.memory_size) {
            problems.push(format!("memory size {} MB is not allowed: 128 to 10240", self.memory_size));
        }
        if !(1..=1_000).contains(&self.concurrency) {
            problems.push(format!("concurrency {} is not allowed: 1 to 1000", self.concurrency));
        }
        if problems.is_empty() { Ok(()) } else { Err(InvalidFunction(problems)) }
    }

    /// The function's ARN.
    pub fn arn(&self) -> String {
        format!("arn:aws:lambda:{}:000000000000:function:{}", self.region, self.name)
    }

    /// The process's environment: what Lambda sets
    /// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>), `PATH` and `HOME` of the caller,
    /// then the function's own variables.
    pub(crate) fn process_environment(&self, runtime_api: &str, log_stream: &str) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::new();
        let mut set = |name: &str, value: String| variables.insert(name.to_owned(), value);
        for name in ["PATH", "HOME"] {
            if let Some(value) = callers(name) {
                set(name, value);
            }
        }
        let task_root = self.bootstrap.parent().and_then(|folder| std::path::absolute(folder).ok()).unwrap_or_default();
        set("AWS_LAMBDA_RUNTIME_API", runtime_api.into());
        set("AWS_LAMBDA_FUNCTION_NAME", self.name.clone());
        set("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".into());
        set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", self.memory_size.to_string());
        set("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".into());
        set("AWS_LAMBDA_LOG_FORMAT", "Text".into());
        set("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", self.name));
        set("AWS_LAMBDA_LOG_STREAM_NAME", log_stream.into());
        set("AWS_REGION", self.region.clone());
        set("AWS_DEFAULT_REGION", self.region.clone());
        set("LAMBDA_TASK_ROOT", task_root.to_string_lossy().into_owned());
        set("LANG", "en_US.UTF-8".into());
        set("TZ", ":UTC".into());
        set("_HANDLER", "bootstrap".into());
        variables.extend(self.environment.clone());
        variables
    }
}

/// A variable of this process: text, or it can't be handed on as text.
#[expect(clippy::disallowed_methods, reason = "handed on to the function's process, not read as a setting")]
fn callers(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_reported_at_once() {
        let mut settings = FunctionSettings::new("/nowhere/orders-sync/bootstrap");
        assert_eq!(settings.name, "orders-sync");
        assert_eq!(FunctionSettings::new("target/debug/orders-sync").name, "orders-sync");
        assert_eq!(FunctionSettings::new("bootstrap").name, "function");
        settings.timeout = Duration::from_secs(901);
        settings.memory_size = 64;
        settings.concurrency = 0;
        let text = settings.validate().unwrap_err().to_string();
        for part in ["build the function first", "timeout 901 s", "memory size 64 MB", "concurrency 0"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn own_variables_win_and_the_callers_are_not_inherited() {
        let mut settings = FunctionSettings::new("/task/f/bootstrap");
        settings.environment.insert("AWS_LAMBDA_LOG_FORMAT".into(), "JSON".into());
        let variables = settings.process_environment("127.0.0.1:1", "stream");
        assert_eq!(variables["AWS_LAMBDA_LOG_FORMAT"], "JSON");
        assert_eq!(variables["AWS_LAMBDA_RUNTIME_API"], "127.0.0.1:1");
        assert_eq!(variables["LAMBDA_TASK_ROOT"], "/task/f");
        assert!(!variables.contains_key("CARGO_MANIFEST_DIR"));
    }
}
