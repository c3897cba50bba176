//! Where a function's output goes.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// Where a function's standard output and standard error go.
#[derive(Clone, Debug, Default)]
pub enum LogSink {
    /// Both to this process's standard error, so that standard output stays the caller's.
    #[default]
    Inherit,
    /// Nowhere.
    Null,
    /// Appended to a file.
    File(PathBuf),
    /// The latest lines, kept in memory.
    Ring(LogRing),
}

/// The latest lines of a function's output; clones share them.
#[derive(Clone, Debug)]
pub struct LogRing {
    lines: Arc<Mutex<VecDeque<String>>>,
    capacity: usize,
}

impl LogRing {
    /// A ring that keeps this many lines.
    pub fn new(capacity: usize) -> Self {
        Self { lines: Arc::default(), capacity }
    }

    /// The lines kept, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn push(&self, line: String) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        while lines.len() >= self.capacity.max(1) {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// Reads an output to its end. It lasts as long as the process does.
    pub(crate) fn follow(&self, output: impl AsyncRead + Unpin + Send + 'static) {
        let ring = self.clone();
        tokio::spawn(async move {
            let mut reader = BufReader::new(output);
            let mut line = Vec::new();
            while let Ok(read) = reader.read_until(b'\n', &mut line).await {
                if read == 0 {
                    break;
                }
                ring.push(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
                line.clear();
            }
        });
    }
}

impl LogSink {
    /// The two ends a process is started with: standard output and standard error.
    pub(crate) fn open(&self) -> io::Result<(Stdio, Stdio)> {
        Ok(match self {
            Self::Inherit => (Stdio::from(io::stderr()), Stdio::inherit()),
            Self::Null => (Stdio::null(), Stdio::null()),
            Self::Ring(_) => (Stdio::piped(), Stdio::piped()),
            Self::File(path) => {
                let file: File = OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
                    io::Error::new(error.kind(), format!("opening the log file {}: {error}", path.display()))
                })?;
                (Stdio::from(file.try_clone()?), Stdio::from(file))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_keeps_the_latest_lines() {
        let ring = LogRing::new(2);
        for line in ["a", "b", "c"] {
            ring.push(line.into());
        }
        assert_eq!(ring.lines(), ["b", "c"]);
    }
}
