//! One execution environment: a process and the API server it talks to.

use std::io;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::exchange::Exchange;
use super::logs::LogSink;
use super::process::{ProcessGroup, describe};
use super::server::{self, Identity};
use super::settings::FunctionSettings;
use super::{Request, SHUTDOWN_GRACE};
use crate::clock::Moment;
use crate::function::Invocation;
use crate::unique;

/// A running environment. Dropping it kills the process and closes the server.
#[derive(Debug)]
pub(crate) struct Environment {
    child: Child,
    group: ProcessGroup,
    exchange: Arc<Exchange>,
    server: AbortHandle,
}

/// What became of an initialisation.
#[derive(Debug)]
pub(crate) enum Start {
    Ready(Environment),
    Failed { error_type: String, message: String },
    TimedOut,
}

/// What became of an invocation in an environment.
#[derive(Debug)]
pub(crate) enum Served {
    Answered {
        invocation: Invocation,
        reusable: bool,
    },
    /// The process ended, in this way, before it took the event.
    Gone(String),
}

impl Environment {
    /// Starts the process and waits until it asks for its first event.
    pub(crate) async fn start(settings: &FunctionSettings, limit: Duration) -> Start {
        let mut environment = match Self::spawn(settings).await {
            Ok(environment) => environment,
            Err(error) => {
                return Start::Failed {
                    error_type: "Runtime.InvalidEntrypoint".into(),
                    message: format!("starting {}: {error}", settings.bootstrap.display()),
                };
            }
        };
        let Environment { child, exchange, group, .. } = &mut environment;
        tokio::select! {
            biased;
            outcome = exchange.ready() => match outcome {
                Ok(()) => Start::Ready(environment),
                Err(failure) => Start::Failed { error_type: failure.error_type, message: failure.message },
            },
            status = child.wait() => {
                group.kill();
                Start::Failed {
                    error_type: "Runtime.ExitError".into(),
                    message: format!("the process ended before it asked for an event: {}", describe(status)),
                }
            }
            () = sleep(limit) => Start::TimedOut,
        }
    }

    async fn spawn(settings: &FunctionSettings) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?.to_string();
        let today = Moment::now().calendar();
        let log_stream = format!(
            "{:04}/{:02}/{:02}/[$LATEST]{}",
            today.year,
            today.month,
            today.day,
            unique::uuid().replace('-', "")
        );
        // Absolute, because a bare file name would be looked up on PATH.
        let bootstrap = std::path::absolute(&settings.bootstrap)?;
        let variables = settings.process_environment(&address, &log_stream);
        let mut attempts_left = 50;
        let mut child = loop {
            let (stdout, stderr) = settings.logs.open()?;
            let started = Command::new(&bootstrap)
                .env_clear()
                .envs(&variables)
                .stdin(Stdio::null())
                .stdout(stdout)
                .stderr(stderr)
                .process_group(0)
                .kill_on_drop(true)
                .spawn();
            match started {
                // Someone is still writing the file: a build that is just finishing, or a fork that holds it open.
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && attempts_left > 0 => {
                    attempts_left -= 1;
                    sleep(Duration::from_millis(20)).await;
                }
                started => break started?,
            }
        };
        let group = ProcessGroup::of(&child);
        if let LogSink::Ring(ring) = &settings.logs {
            if let Some(output) = child.stdout.take() {
                ring.follow(output);
            }
            if let Some(output) = child.stderr.take() {
                ring.follow(output);
            }
        }
        let exchange = Arc::new(Exchange::default());
        exchange.attach(group.handle(), settings.freeze);
        // Connections made before this line wait in the listener's queue.
        let identity = Identity { arn: settings.arn(), name: settings.name.clone() };
        let server = tokio::spawn(server::serve(listener, exchange.clone(), identity)).abort_handle();
        Ok(Self { child, group, exchange, server })
    }

    /// Hands the event to the process and waits for its answer. An environment that has not answered at the deadline is
    /// killed.
    pub(crate) async fn serve(&mut self, request: &Request, deadline: Instant) -> Served {
        let Self { child, group, exchange, .. } = self;
        let timeout = |group: &mut ProcessGroup| {
            group.kill();
            Served::Answered { invocation: Invocation::Timeout, reusable: false }
        };
        let answer = loop {
            // After an invocation a reused environment may take its time to ask for the next.
            tokio::select! {
                biased;
                status = child.wait() => {
                    group.kill();
                    return Served::Gone(describe(status));
                }
                outcome = exchange.ready() => if let Err(failure) = outcome {
                    group.kill();
                    return Served::Answered {
                        invocation: Invocation::InitError { error_type: failure.error_type, message: failure.message },
                        reusable: false,
                    };
                },
                () = sleep_until(deadline) => return timeout(group),
            }
            let time_left = deadline.saturating_duration_since(Instant::now());
            if let Some(answer) = exchange.dispatch(request, time_left) {
                break answer;
            }
        };
        tokio::select! {
            // An answer given just before the process ended counts.
            biased;
            answer = answer => match answer {
                Ok(invocation) => Served::Answered { invocation, reusable: true },
                Err(_) => timeout(group),
            },
            status = child.wait() => {
                group.kill();
                let invocation = Invocation::Crashed { status: describe(status) };
                Served::Answered { invocation, reusable: false }
            }
            () = sleep_until(deadline) => timeout(group),
        }
    }

    /// Ends the environment; with an extension it is asked first.
    pub(crate) async fn shut_down(mut self) {
        if self.exchange.has_extension() {
            self.exchange.keep_awake();
            self.group.handle().terminate();
            // Whether it ended by itself or not, what is left is killed next.
            let _ = tokio::time::timeout(SHUTDOWN_GRACE, self.child.wait()).await;
        }
        self.group.kill();
        let _ = self.child.wait().await;
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.server.abort();
    }
}
