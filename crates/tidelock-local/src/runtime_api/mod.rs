//! Lambda's Runtime API, served to the real bootstrap process of a function
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).
//!
//! One execution environment is one process, in a process group of its own, with an API server of its own on
//! 127.0.0.1. [`ProcessFunction`] keeps them as Lambda does: an environment serves one invocation at a time, is frozen
//! (`SIGSTOP`) while it waits for the next one, is reused, and is killed when an invocation runs out of time. Parallel
//! invocations get environments of their own, up to a limit.
//!
//! Differences from Lambda: the memory size is told to the function but not enforced, and the working directory is the
//! caller's, so that relative paths in settings mean what they mean in the caller's shell (`LAMBDA_TASK_ROOT` is the
//! bootstrap's folder).

mod environment;
mod exchange;
mod logs;
mod process;
mod server;
mod settings;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub use self::logs::{LogRing, LogSink};
pub use self::settings::{FunctionSettings, InvalidFunction};

use self::environment::{Environment, Served, Start};
use crate::function::{Function, Invocation};
use crate::unique;

/// What an environment is handed for one invocation.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) payload: Bytes,
}

/// A function that runs as a process on this machine.
///
/// Every process it starts is killed, with its whole process group, when it is no longer needed: at the latest when
/// this value is dropped.
#[derive(Debug)]
pub struct ProcessFunction {
    settings: Arc<FunctionSettings>,
    idle: Mutex<Vec<Environment>>,
    permits: Semaphore,
}

impl ProcessFunction {
    /// A function with these settings. No process is started yet.
    ///
    /// # Errors
    /// Every setting that Lambda would refuse, at once.
    pub fn new(settings: FunctionSettings) -> Result<Self, InvalidFunction> {
        settings.validate()?;
        let permits = Semaphore::new(settings.concurrency);
        Ok(Self { settings: Arc::new(settings), idle: Mutex::default(), permits })
    }

    /// Starts an environment ahead of the first invocation.
    ///
    /// # Errors
    /// The [`Invocation::InitError`] or [`Invocation::Timeout`] that an invocation would have met.
    pub async fn warm_up(&self) -> Result<(), Invocation> {
        let environment = self.start().await?;
        self.put_back(environment);
        Ok(())
    }

    /// How many environments are waiting for an invocation.
    pub fn idle_environments(&self) -> usize {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Ends all waiting environments: a function with an extension gets `SIGTERM` and half a second, as on Lambda, all
    /// others are killed. An invocation that comes later starts a new environment.
    pub async fn shut_down(&self) {
        let environments = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for environment in environments {
            environment.shut_down().await;
        }
    }

    fn take_idle(&self) -> Option<Environment> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put_back(&self, environment: Environment) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(environment);
    }

    /// Starts an environment. An initialisation that takes longer than Lambda allows is begun again, once, with the
    /// function's own timeout as the limit
    /// (<https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>).
    async fn start(&self) -> Result<Environment, Invocation> {
        for limit in [self.settings.init_timeout, self.settings.timeout] {
            match Environment::start(&self.settings, limit).await {
                Start::Ready(environment) => return Ok(environment),
                Start::Failed { error_type, message } => return Err(Invocation::InitError { error_type, message }),
                Start::TimedOut => {}
            }
        }
        Err(Invocation::Timeout)
    }

    async fn serve(&self, request: Request) -> Invocation {
        // The semaphore is never closed, so the permit always comes.
        let _permit = self.permits.acquire().await;
        loop {
            let (mut environment, reused) = match self.take_idle() {
                Some(environment) => (environment, true),
                None => match self.start().await {
                    Ok(environment) => (environment, false),
                    Err(failure) => return failure,
                },
            };
            let deadline = Instant::now() + self.settings.timeout;
            match environment.serve(&request, deadline).await {
                Served::Answered { invocation, reusable } => {
                    if reusable {
                        self.put_back(environment);
                    }
                    return invocation;
                }
                // It ended while it was idle: that is no failure of this event.
                Served::Gone(_) if reused => {}
                Served::Gone(status) => return Invocation::Crashed { status },
            }
        }
    }
}

impl Function for ProcessFunction {
    async fn invoke(&self, payload: Bytes) -> Invocation {
        self.serve(Request { id: unique::uuid(), payload }).await
    }

    async fn invoke_as(&self, request_id: &str, payload: Bytes) -> Invocation {
        self.serve(Request { id: request_id.into(), payload }).await
    }

    fn arn(&self) -> String {
        self.settings.arn()
    }
}

/// How long a function with an extension has to end after `SIGTERM`.
pub(crate) const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);
