//! A function's process group: everything it starts ends with it.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;

/// The process group of one execution environment. Dropping it kills the group.
#[derive(Debug)]
pub(crate) struct ProcessGroup {
    leader: Option<Pid>,
}

impl ProcessGroup {
    /// The group led by a child that was started with `process_group(0)`.
    pub(crate) fn of(child: &Child) -> Self {
        Self { leader: child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) }
    }

    /// Another handle that signals the group but does not end it when dropped.
    pub(crate) fn handle(&self) -> GroupHandle {
        GroupHandle { leader: self.leader }
    }

    /// Kills whatever is left of the group, once.
    pub(crate) fn kill(&mut self) {
        if let Some(leader) = self.leader.take() {
            // The group may have ended by itself.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Stops, continues and asks a group to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupHandle {
    leader: Option<Pid>,
}

impl GroupHandle {
    pub(crate) fn freeze(&self) {
        self.send(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.send(Signal::CONT);
    }

    pub(crate) fn terminate(&self) {
        self.send(Signal::TERM);
    }

    fn send(&self, signal: Signal) {
        if let Some(leader) = self.leader {
            // A group that has ended is noticed where its leader is waited for.
            let _ = kill_process_group(leader, signal);
        }
    }
}

/// How a process ended, in words: `exit status: 1`, `signal: 9 (SIGKILL)`.
pub(crate) fn describe(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) if status.signal() == Some(9) => "signal: 9 (SIGKILL): killed, perhaps for want of memory".into(),
        Ok(status) => status.to_string(),
        Err(error) => format!("its end could not be read: {error}"),
    }
}
