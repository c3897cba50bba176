//! A sync function under test: its real bootstrap in an execution environment like Lambda's.

use super::{eventually, services};
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tidelock_local::function::{Function as _, Invocation};
use tidelock_local::runtime_api::{FunctionSettings, LogRing, LogSink, ProcessFunction};

/// The settings of a function that is to be started.
pub(crate) struct Sync {
    settings: FunctionSettings,
    logs: LogRing,
}

/// `dynamodb-sync` with this target.
pub(crate) fn dynamodb_sync(target: &str) -> Option<Sync> {
    function("dynamodb-sync", target)
}

/// A function of this name with this target.
pub(crate) fn function(name: &str, target: &str) -> Option<Sync> {
    let logs = LogRing::new(20_000);
    let mut settings = FunctionSettings::new(services::bootstrap(name)?);
    settings.logs = LogSink::Ring(logs.clone());
    settings.timeout = Duration::from_secs(30);
    let sync = Sync { settings, logs };
    Some(
        sync.with("TIDELOCK_TARGET", target)
            .with("AWS_ACCESS_KEY_ID", "test")
            .with("AWS_SECRET_ACCESS_KEY", "test")
            .with("AWS_EC2_METADATA_DISABLED", "true"),
    )
}

/// The `TIDELOCK_TARGET` of an OpenSearch at this URL.
pub(crate) fn target(url: &str) -> String {
    format!("opensearch+{url}")
}

/// A pipeline that sends every table to one index.
pub(crate) fn all_to(index: &str) -> String {
    format!("version: 1\nroutes: [{{from: '*', to: {index}}}]\n")
}

impl Sync {
    /// Sets a variable; an empty value takes it away.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        if value.is_empty() {
            self.settings.environment.remove(name);
        } else {
            self.settings.environment.insert(name.to_owned(), value.to_owned());
        }
        self
    }

    /// Sets a variable to nothing, as templates do with parameters that are left out.
    pub(crate) fn with_empty(mut self, name: &str) -> Self {
        self.settings.environment.insert(name.to_owned(), String::new());
        self
    }

    /// Sends every table to one index.
    pub(crate) fn into(self, index: &str) -> Self {
        self.with("TIDELOCK_PIPELINE", &all_to(index))
    }

    /// The function's timeout; 30 seconds by default.
    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// Starts it with so many KiB of address space, as a function with little memory has.
    pub(crate) fn within(mut self, kib: u64, folder: &super::Folder) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let (path, real) = (folder.path("bootstrap"), std::path::absolute(&self.settings.bootstrap).unwrap());
        std::fs::write(&path, format!("#!/bin/sh\nulimit -v {kib}\nexec '{}'\n", real.display())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        self.settings.bootstrap = path.into();
        self
    }

    pub(crate) fn start(self) -> Running {
        let process = Arc::new(ProcessFunction::new(self.settings).unwrap());
        Running { process, logs: self.logs, invocations: AtomicUsize::new(0) }
    }
}

/// A function that can be invoked. Its process ends with this value.
pub(crate) struct Running {
    pub(crate) process: Arc<ProcessFunction>,
    logs: LogRing,
    invocations: AtomicUsize,
}

impl Running {
    pub(crate) async fn invoke(&self, event: impl Into<Bytes>) -> Invocation {
        self.invocations.fetch_add(1, Ordering::Relaxed);
        self.process.invoke(event.into()).await
    }

    /// Invokes the function, which must answer in the form that event source mappings know. Returns the sequence number
    /// that is to come again.
    pub(crate) async fn answer(&self, event: impl Into<Bytes>) -> Option<String> {
        let invocation = self.invoke(event).await;
        let Invocation::Response(body) = &invocation else { panic!("{invocation:?}\n{}", self.log()) };
        reported(body)
    }

    /// As [`Self::answer`], and everything must be done.
    pub(crate) async fn succeed(&self, event: impl Into<Bytes>) {
        let reported = self.answer(event).await;
        assert_eq!(reported, None, "{}", self.log());
    }

    /// What the function has printed so far.
    pub(crate) fn log(&self) -> String {
        self.logs.lines().join("\n")
    }

    /// Waits until the log has a line that contains all of these.
    pub(crate) async fn logged(&self, parts: &[&str]) -> String {
        let found = async || self.logs.lines().into_iter().find(|line| parts.iter().all(|part| line.contains(part)));
        eventually(&format!("{parts:?} in the log:\n{}", self.log()), found).await
    }

    /// The metrics of the latest invocation. Reads them once they are there: output takes its own way.
    pub(crate) async fn metrics(&self) -> Value {
        let count = self.invocations.load(Ordering::Relaxed);
        let found = async || {
            let lines = self.logs.lines();
            let mut metrics = lines.iter().filter(|line| line.starts_with("{\"_aws\""));
            metrics.nth(count - 1).map(|line| serde_json::from_str(line).unwrap())
        };
        eventually("the metrics of an invocation", found).await
    }
}

/// The sequence number that an answer reports: it names one at most, and nothing else.
pub(crate) fn reported(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).unwrap();
    let failures = answer["batchItemFailures"].as_array().unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
    assert!(failures.len() <= 1, "{answer}");
    failures.first().map(|failure| {
        assert_eq!(failure.as_object().unwrap().len(), 1, "{answer}");
        let identifier = failure["itemIdentifier"].as_str().unwrap();
        assert!(!identifier.is_empty(), "{answer}");
        identifier.to_owned()
    })
}
