//! What happened, as lines, and a running hash over them.

use std::time::Duration;

/// FNV-1a, 64 bits.
pub(crate) fn fnv(mut hash: u64, bytes: &[u8]) -> u64 {
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

/// Where [`fnv`] begins.
pub(crate) const FNV: u64 = 0xcbf2_9ce4_8422_2325;

pub(crate) struct Trace {
    hash: u64,
    lines: Vec<String>,
    keep: bool,
}

impl Trace {
    pub(crate) fn new(keep: bool) -> Self {
        Self { hash: FNV, lines: Vec::new(), keep }
    }

    pub(crate) fn note(&mut self, since: Duration, what: std::fmt::Arguments<'_>) {
        let line = format!("{:.3} {what}", since.as_secs_f64());
        self.hash = fnv(fnv(self.hash, line.as_bytes()), b"\n");
        if self.keep {
            self.lines.push(line);
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }
}
