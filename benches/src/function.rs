//! A function as a process of its own: started as Lambda starts it, fed through a Runtime API, and measured from outside.

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::corpus::Event;
use crate::runtime_api::{RuntimeApi, Signal};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How to start a function.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// Settings of the function on top of what Lambda sets.
    pub(crate) settings: Vec<(String, String)>,
}

/// How long a start or an invocation may take before the run is given up.
const LIMIT: Duration = Duration::from_secs(120);

/// Names of Lambda's variables and values as a function with 1 GB sees them.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime>
const LAMBDA_SETTINGS: &[(&str, &str)] = &[
    ("AWS_LAMBDA_FUNCTION_NAME", "bench"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1024"),
    ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/bench"),
    ("AWS_LAMBDA_LOG_STREAM_NAME", "2025/11/24/[$LATEST]00000000000000000000000000000000"),
    ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
    ("AWS_REGION", "eu-central-1"),
    ("AWS_DEFAULT_REGION", "eu-central-1"),
    ("AWS_ACCESS_KEY_ID", "ASIAIOSFODNN7EXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ("LANG", "en_US.UTF-8"),
    ("TZ", ":UTC"),
    ("_HANDLER", "bootstrap"),
];

/// Bytes of the session token in the function's environment: about what AWS hands out.
const SESSION_TOKEN_BYTES: usize = 1_024;

/// A running function that waits for its next event.
#[derive(Debug)]
pub(crate) struct Function {
    child: Child,
    api: RuntimeApi,
    clock: ClockId,
    log: PathBuf,
    /// From the start of the process to its first request for an event.
    pub(crate) init: Duration,
}

impl Function {
    /// Starts the process and waits until it asks for its first event. What it prints goes to `logs/NAME.log`.
    pub(crate) fn start(launch: &Launch, logs: &Path) -> Result<Self> {
        let api = RuntimeApi::start()?;
        fs::create_dir_all(logs)?;
        let log = logs.join(format!("{}.log", launch.name));
        let output = File::create(&log)?;
        let mut command = Command::new(&launch.program);
        command
            .args(&launch.arguments)
            .env_clear()
            .envs(search_path())
            .env("AWS_LAMBDA_RUNTIME_API", api.address().to_string())
            .env("AWS_SESSION_TOKEN", "T".repeat(SESSION_TOKEN_BYTES))
            .envs(LAMBDA_SETTINGS.iter().copied())
            .envs(launch.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let started = Instant::now();
        let child = command.spawn().map_err(|error| format!("{}: cannot start: {error}", launch.program.display()))?;
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(child.id())?))?;
        let mut function = Self { child, api, clock, log, init: Duration::ZERO };
        function.init = function.ready()?.duration_since(started);
        Ok(function)
    }

    /// Sends an event and waits for the answer and for the next request. Tells how long the answer took.
    ///
    /// # Errors
    /// An answer that reports failed records, an error of the function, its end, or no answer in time.
    pub(crate) fn invoke(&mut self, event: &Event) -> Result<Duration> {
        let sent = Instant::now();
        self.api.push(event.body.clone());
        Ok(self.answered()?.0.duration_since(sent))
    }

    /// The same, and tells how long it took until the function asked for the next event.
    ///
    /// # Errors
    /// As [`Function::invoke`].
    pub(crate) fn cycle(&mut self, event: &Event) -> Result<Duration> {
        let sent = Instant::now();
        self.api.push(event.body.clone());
        Ok(self.answered()?.1.duration_since(sent))
    }

    /// Sends events that wait from the start, so that each is there when the function asks for it: what the benchmark's own
    /// threads take to hand over the next one is no part of what they take in all.
    ///
    /// # Errors
    /// As [`Function::invoke`].
    pub(crate) fn invoke_all(&mut self, events: &[Event]) -> Result<()> {
        events.iter().for_each(|event| self.api.push(event.body.clone()));
        events.iter().try_for_each(|_| self.answered().map(drop))
    }

    /// When the answer to the oldest event came, and the next request.
    fn answered(&mut self) -> Result<(Instant, Instant)> {
        let (answered, body) = match self.signal()? {
            Signal::Answer(at, body) => (at, body),
            other => return Err(self.fault(&format!("expected an answer, got {other:?}"))),
        };
        let answer: serde_json::Value = serde_json::from_slice(&body)?;
        let failures = answer.get("batchItemFailures").and_then(serde_json::Value::as_array);
        if failures.is_none_or(|failures| !failures.is_empty()) {
            return Err(self.fault(&format!("expected an answer without failures, got {answer}")));
        }
        Ok((answered, self.ready()?))
    }

    /// Sends an event that is no batch, and waits for the answer and for the next request.
    ///
    /// # Errors
    /// An error of the function, its end, or no answer in time.
    pub(crate) fn ask(&mut self, event: &Event) -> Result<serde_json::Value> {
        self.api.push(event.body.clone());
        let body = match self.signal()? {
            Signal::Answer(_, body) => body,
            other => return Err(self.fault(&format!("expected an answer, got {other:?}"))),
        };
        self.ready()?;
        Ok(serde_json::from_slice(&body)?)
    }

    fn ready(&mut self) -> Result<Instant> {
        match self.signal()? {
            Signal::Ready(at) => Ok(at),
            other => Err(self.fault(&format!("expected a request for the next event, got {other:?}"))),
        }
    }

    fn signal(&mut self) -> Result<Signal> {
        let given_up = Instant::now() + LIMIT;
        while Instant::now() < given_up {
            if let Some(signal) = self.api.signal(Duration::from_millis(200)) {
                return match signal {
                    Signal::Failed(text) => Err(self.fault(&format!("reported an error: {text}"))),
                    signal => Ok(signal),
                };
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(self.fault(&format!("ended with {status}")));
            }
        }
        Err(self.fault(&format!("gave no sign for {} s", LIMIT.as_secs())))
    }

    fn fault(&self, what: &str) -> Box<dyn Error + Send + Sync> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines = log.lines().collect::<Vec<_>>();
        let end = lines[lines.len().saturating_sub(10)..].join("\n");
        format!("{}: {what}\n{end}", self.log.display()).into()
    }

    /// Processor time of all threads since the start, user and kernel, those that have ended included. It is read once
    /// the process has come to rest.
    ///
    /// The kernel counts it in nanoseconds (`clock_getcpuclockid`), where `/proc/PID/stat` counts in ticks of 10 ms.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        const REST: Duration = Duration::from_millis(2);
        let given_up = Instant::now() + Duration::from_millis(200);
        let mut last = self.cpu_now()?;
        loop {
            thread::sleep(REST);
            let now = self.cpu_now()?;
            if now == last || Instant::now() > given_up {
                return Ok(now);
            }
            last = now;
        }
    }

    fn cpu_now(&self) -> Result<Duration> {
        Ok(clock_gettime(self.clock)?.into())
    }

    /// The most memory that was resident at a time, in bytes: `VmHWM` of `/proc/PID/status`.
    pub(crate) fn peak_memory(&self) -> Result<u64> {
        memory(self.child.id(), "VmHWM:")
    }
}

/// The memory of a running process that is resident now, in bytes: `VmRSS` of `/proc/PID/status`.
pub(crate) fn resident_memory(process: u32) -> Result<u64> {
    memory(process, "VmRSS:")
}

fn memory(process: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    Ok(memory_of(&status, name).ok_or_else(|| format!("/proc/PID/status has no {name}"))?)
}

/// Where the interpreters of the compared handlers are found.
#[expect(clippy::disallowed_methods, reason = "this is no setting: the child inherits it")]
fn search_path() -> Option<(&'static str, std::ffi::OsString)> {
    std::env::var_os("PATH").map(|path| ("PATH", path))
}

fn memory_of(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    Some(kibibytes * 1_024)
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn clock(child: &Child) -> ClockId {
        let pid = i32::try_from(child.id()).expect("a process id fits");
        ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).expect("the process has a clock")
    }

    fn spawn(script: &str) -> (Child, impl std::io::BufRead) {
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let output = child.stdout.take().expect("piped");
        (child, std::io::BufReader::new(output))
    }

    #[test]
    fn processor_time_counts_work_and_not_waiting() {
        let _alone = crate::processors::tests::ALONE.lock();
        use std::io::BufRead as _;
        let work = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done; read line";
        let (mut child, mut output) = spawn(work);
        let function = |child: Child| Function {
            clock: clock(&child),
            child,
            api: RuntimeApi::start().expect("it starts"),
            log: PathBuf::new(),
            init: Duration::ZERO,
        };
        let mut line = String::new();
        output.read_line(&mut line).expect("it prints");
        let stdin = child.stdin.take();
        let worker = function(child);
        let worked = worker.cpu().expect("alive");
        assert!(worked > Duration::from_millis(5), "{worked:?}");
        // While it waits for a line nothing is added.
        assert_eq!(worker.cpu().expect("alive"), worked);
        assert!(worker.peak_memory().expect("alive") > 100_000);
        drop(stdin);
    }

    #[test]
    fn peak_memory_is_read_in_bytes() {
        assert_eq!(memory_of("Name:\tx\nVmHWM:\t    7168 kB\nVmRSS:\t 10 kB\n", "VmHWM:"), Some(7_340_032));
        assert_eq!(memory_of("Name:\tx\n", "VmHWM:"), None);
    }

    #[test]
    fn a_function_that_ends_or_reports_an_error_says_so() {
        let logs = std::env::temp_dir().join(format!("tidelock-bench-{}", std::process::id()));
        let launch = Launch {
            name: "ends".into(),
            program: "sh".into(),
            arguments: vec!["-c".into(), "echo no such setting >&2; exit 3".into()],
            settings: Vec::new(),
        };
        let error = Function::start(&launch, &logs).expect_err("it ended").to_string();
        assert!(error.contains("exit status: 3") && error.contains("no such setting"), "{error}");
        fs::remove_dir_all(logs).expect("the folder is ours");
    }
}
