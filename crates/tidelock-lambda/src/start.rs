//! From process start to the runtime's loop.

use crate::body::Bodies;
use crate::{Environment, environment, init_logs};
use bytes::Bytes;
use lambda_runtime::{Diagnostic, LambdaEvent, Runtime};
use serde::Serialize;
use std::fmt;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::LocalOptions;
use tower::service_fn;

/// What is known of one invocation.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Lambda's id of the request.
    pub request_id: String,
    /// When work must end so that there is time to answer.
    pub deadline: Instant,
}

/// Why a function could not start, or an invocation fails as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fatal {
    /// A stable name: `Tidelock.Settings`, `Tidelock.Event`, `Tidelock.Batch`.
    pub kind: &'static str,
    /// What is wrong and what to do. Never a credential.
    pub message: String,
}

impl Fatal {
    /// A fatal error of this kind.
    #[must_use]
    pub fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl std::error::Error for Fatal {}

/// A function: made once per environment, called for every invocation.
#[expect(async_fn_in_trait, reason = "functions run on one thread, so the futures need not be Send")]
pub trait Handler: Sized {
    /// What an invocation answers.
    type Answer: Serialize;

    /// Makes the function from its environment.
    ///
    /// # Errors
    /// When the settings are wrong or a client cannot be made.
    async fn start(environment: &Environment) -> Result<Self, Fatal>;

    /// Handles one event.
    ///
    /// # Errors
    /// When the event as a whole has failed and must come again.
    async fn handle(&self, payload: Bytes, invocation: Invocation) -> Result<Self::Answer, Fatal>;
}

/// Time kept to send the answer: a twentieth of what is left, 100 ms at least, two seconds at most.
fn work_until(deadline_ms: u64) -> Instant {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let left = Duration::from_millis(deadline_ms.saturating_sub(u64::try_from(now_ms).unwrap_or(u64::MAX)));
    let reserve = (left / 20).clamp(Duration::from_millis(100), Duration::from_secs(2));
    Instant::now() + left.saturating_sub(reserve)
}

/// Runs a function until Lambda ends the environment.
///
/// A function that cannot start says so in the log, and exits.
#[must_use]
pub fn run<H: Handler + 'static>() -> ExitCode {
    keep_heap();
    let environment = environment();
    init_logs(&environment);
    if environment.get("AWS_LAMBDA_RUNTIME_API").is_none() {
        tracing::error!(
            "this is a Lambda function: AWS_LAMBDA_RUNTIME_API is not set; run it by `tidelock dev`, `cargo lambda watch` or in Lambda"
        );
        return ExitCode::FAILURE;
    }
    // One thread: a second would cost more than the little there is to overlap.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no async runtime");
            return ExitCode::FAILURE;
        }
    };
    // A task of its own: what `block_on` polls itself is woken by way of the kernel, several times an invocation.
    let life = runtime.spawn_local(live::<H>(environment));
    match runtime.block_on(life) {
        Ok(code) => code,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// Starts the function and hands it one event after another.
async fn live<H: Handler + 'static>(environment: Environment) -> ExitCode {
    // Boxed, as below: the clients' futures are deep, and the compiler lays each out whole.
    let handler = match Box::pin(H::start(&environment)).await {
        Ok(handler) => Rc::new(handler),
        Err(fatal) => {
            tracing::error!(kind = fatal.kind, "{}", fatal.message);
            return ExitCode::FAILURE;
        }
    };
    let bodies = Bodies::default();
    let taken = bodies.clone();
    let service = service_fn(move |event: LambdaEvent<()>| {
        let (handler, payload) = (Rc::clone(&handler), taken.take(&event.context.request_id));
        async move {
            let invocation =
                Invocation { deadline: work_until(event.context.deadline), request_id: event.context.request_id };
            Box::pin(handler.handle(payload, invocation)).await.map_err(|fatal| {
                // The runtime logs it.
                Diagnostic { error_type: fatal.kind.to_owned(), error_message: fatal.message }
            })
        }
    });
    match Runtime::new(service).layer(bodies).run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the runtime has ended");
            ExitCode::FAILURE
        }
    }
}

/// Tells glibc to keep freed memory: giving a batch's large buffers back after each invocation and faulting them in again
/// costs 0.2 to 0.4 µs per record.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "mallopt has no safe form; it only sets two numbers of the allocator")]
fn keep_heap() {
    const KEPT: libc::c_int = 256 << 20;
    // SAFETY: called before any other thread exists, with parameters from mallopt(3).
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}

#[cfg(not(target_env = "gnu"))]
fn keep_heap() {}
