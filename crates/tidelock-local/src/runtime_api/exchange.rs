//! What an environment's API server and the invocations share: the runtime's open poll, and the invocation it works on.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use super::Request;
use super::process::GroupHandle;
use crate::function::Invocation;

/// An event on its way to the runtime, with what the headers say.
#[derive(Debug)]
pub(crate) struct Dispatch {
    pub(crate) request_id: String,
    pub(crate) deadline_ms: u128,
    pub(crate) payload: Bytes,
}

/// The state of one environment's conversation.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The runtime's open `next` request.
    poll: Option<oneshot::Sender<Dispatch>>,
    current: Option<Current>,
    init_error: Option<(String, String)>,
    /// Set once the process runs; empty when it is not to be frozen.
    group: Option<GroupHandle>,
    freeze: bool,
    has_extension: bool,
}

#[derive(Debug)]
struct Current {
    request_id: String,
    answer: oneshot::Sender<Invocation>,
}

/// Why an environment is not going to poll.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InitFailure {
    pub(crate) error_type: String,
    pub(crate) message: String,
}

impl Exchange {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the exchange which process it serves.
    pub(crate) fn attach(&self, group: GroupHandle, freeze: bool) {
        let mut state = self.lock();
        state.group = Some(group);
        state.freeze = freeze;
    }

    /// The runtime asks for its next event: the receiver yields it. With that the environment is idle, and frozen.
    pub(crate) fn poll(&self) -> oneshot::Receiver<Dispatch> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.lock();
        state.poll = Some(sender);
        if let (true, Some(group)) = (state.freeze, &state.group) {
            group.freeze();
        }
        drop(state);
        self.changed.notify_waiters();
        receiver
    }

    /// The runtime reported that it can't start.
    pub(crate) fn fail_init(&self, error_type: String, message: String) {
        self.lock().init_error = Some((error_type, message));
        self.changed.notify_waiters();
    }

    /// The environment is about to end: from now on it is not frozen, so that it can.
    pub(crate) fn keep_awake(&self) {
        let mut state = self.lock();
        state.freeze = false;
        if let Some(group) = &state.group {
            group.thaw();
        }
    }

    /// An extension registered: this function is told before it is ended.
    pub(crate) fn register_extension(&self) {
        self.lock().has_extension = true;
    }

    /// Whether an extension has registered.
    pub(crate) fn has_extension(&self) -> bool {
        self.lock().has_extension
    }

    /// Waits until the runtime polls or reports that it can't start.
    pub(crate) async fn ready(&self) -> Result<(), InitFailure> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the state is read, so that no change between the two is missed.
            changed.as_mut().enable();
            {
                let state = self.lock();
                if let Some((error_type, message)) = &state.init_error {
                    return Err(InitFailure { error_type: error_type.clone(), message: message.clone() });
                }
                if state.poll.as_ref().is_some_and(|poll| !poll.is_closed()) {
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    /// Hands an event to the polling runtime; `None` if nobody polls any more.
    pub(crate) fn dispatch(&self, request: &Request, time_left: Duration) -> Option<oneshot::Receiver<Invocation>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut state = self.lock();
        let poll = state.poll.take()?;
        let (answer, receiver) = oneshot::channel();
        state.current = Some(Current { request_id: request.id.clone(), answer });
        if let Some(group) = &state.group {
            group.thaw();
        }
        let dispatch = Dispatch {
            request_id: request.id.clone(),
            deadline_ms: (now + time_left).as_millis(),
            payload: request.payload.clone(),
        };
        if poll.send(dispatch).is_err() {
            state.current = None;
            return None;
        }
        Some(receiver)
    }

    /// Whether this is the request being worked on.
    pub(crate) fn is_current(&self, request_id: &str) -> bool {
        self.lock().current.as_ref().is_some_and(|current| current.request_id == request_id)
    }

    /// The runtime answered; `false` if it is not working on that request.
    pub(crate) fn answer(&self, request_id: &str, invocation: Invocation) -> bool {
        let mut state = self.lock();
        match state.current.take_if(|current| current.request_id == request_id) {
            // The one who waited may have given up; to the runtime that makes no difference.
            Some(current) => {
                let _ = current.answer.send(invocation);
                true
            }
            None => false,
        }
    }
}
