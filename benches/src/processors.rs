//! On which processors the benchmark's threads run, and the processes that they start.

use std::fs;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::function::Result;

/// Keeps this process and whatever it starts on one processor, until that is released.
///
/// A function, its Runtime API and its target wake each other several times an invocation. What that takes across the processors of a
/// virtual machine differs by half from one minute to the next, and the kernel books most of it to the function.
#[derive(Debug)]
pub(crate) struct OneProcessor {
    before: CpuSet,
}

impl OneProcessor {
    /// Moves all threads onto the last processor they may run on: interrupts mostly go to the first.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn claim() -> Result<Self> {
        let before = sched_getaffinity(Pid::from_raw(0))?;
        let mut one = CpuSet::new();
        let last = (0..CpuSet::count()).rev().find(|&processor| before.is_set(processor).unwrap_or(false));
        one.set(last.ok_or("there is no processor to run on")?)?;
        set(&one)?;
        Ok(Self { before })
    }

    /// Allows again what was allowed before.
    ///
    /// # Errors
    /// When the kernel refuses: what is measured from here on would still share one processor.
    pub(crate) fn release(self) -> Result<()> {
        set(&self.before)
    }
}

/// Sets the processors of every thread: those that are there keep theirs otherwise, new ones inherit them.
fn set(processors: &CpuSet) -> Result<()> {
    for thread in fs::read_dir("/proc/self/task")? {
        let Some(thread) = thread?.file_name().to_str().and_then(|id| id.parse().ok()) else { continue };
        match sched_setaffinity(Pid::from_raw(thread), processors) {
            // It has ended since.
            Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
            Err(error) => return Err(format!("thread {thread} cannot be kept on a processor: {error}").into()),
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::process::Command;
    use std::sync::Mutex;
    use std::sync::mpsc::channel;
    use std::thread;

    /// Held by tests that move all threads, or that other threads must not keep waiting.
    pub(crate) static ALONE: Mutex<()> = Mutex::new(());

    fn allowed() -> usize {
        let processors = sched_getaffinity(Pid::from_raw(0)).expect("readable");
        (0..CpuSet::count()).filter(|&processor| processors.is_set(processor).unwrap_or(false)).count()
    }

    #[test]
    fn all_threads_and_new_processes_share_one_processor_until_the_end() {
        let _alone = ALONE.lock();
        let before = allowed();
        let (ask, asked) = channel::<()>();
        let (tell, told) = channel();
        let older = thread::spawn(move || {
            while asked.recv().is_ok() {
                tell.send(allowed()).expect("somebody listens");
            }
        });
        let seen = || {
            ask.send(()).expect("it runs");
            told.recv().expect("it answers")
        };
        assert_eq!(seen(), before);
        let one = OneProcessor::claim().expect("allowed");
        let mut count = Command::new("nproc");
        let child =
            count.env_remove("OMP_NUM_THREADS").env_remove("OMP_THREAD_LIMIT").output().expect("it runs").stdout;
        assert_eq!((seen(), allowed(), String::from_utf8_lossy(&child).trim()), (1, 1, "1"));
        one.release().expect("allowed");
        assert_eq!((seen(), allowed()), (before, before));
        drop(ask);
        older.join().expect("it ends");
    }
}
