//! How far a command has come: a bar on a terminal, nothing elsewhere.

use std::cell::Cell;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Cells of the bar.
const WIDTH: u64 = 30;

/// Drawn at most this often.
const EVERY: Duration = Duration::from_millis(100);

/// A bar on standard error.
pub(crate) struct Progress {
    what: &'static str,
    total: u64,
    began: Instant,
    drawn: Cell<Option<Instant>>,
    visible: bool,
}

impl Progress {
    /// A bar that ends at about `total`. Nothing is drawn where standard error is no terminal, or with `quiet`.
    pub(crate) fn new(what: &'static str, total: u64, quiet: bool) -> Self {
        let visible = !quiet && io::stderr().is_terminal();
        Self { what, total, began: Instant::now(), drawn: Cell::default(), visible }
    }

    /// Draws the bar. What was done `before` this run says nothing about its speed.
    pub(crate) fn at(&self, done: u64, before: u64) {
        let now = Instant::now();
        if self.visible && self.drawn.get().is_none_or(|drawn| now - drawn >= EVERY) {
            self.drawn.set(Some(now));
            eprint!("\r{}\x1b[K", bar(self.what, done, before, self.total, self.began.elapsed()));
            let _ = io::stderr().flush();
        }
    }

    /// Clears the line.
    pub(crate) fn end(&self) {
        if self.drawn.get().is_some() {
            eprint!("\r\x1b[K");
            let _ = io::stderr().flush();
        }
    }
}

fn bar(what: &str, done: u64, before: u64, total: u64, time: Duration) -> String {
    let total = total.max(done).max(1);
    let filled = done * WIDTH / total;
    let cells: String = (0..WIDTH).map(|cell| if cell < filled { '#' } else { '.' }).collect();
    let seconds = time.as_secs_f64().max(0.001);
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let (rate, left) = (done.saturating_sub(before) as f64 / seconds, (total - done) as f64);
    let eta = if rate > 0.0 { format!(", {:.0} s left", left / rate) } else { String::new() };
    format!("{what} [{cells}] {done}/{total}, {rate:.0}/s{eta}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_tells_how_far_and_how_long() {
        let half = bar("letters", 50, 0, 100, Duration::from_secs(5));
        assert_eq!(half, "letters [###############...............] 50/100, 10/s, 5 s left");
        assert!(bar("letters", 0, 0, 0, Duration::ZERO).contains("0/1, 0/s"));
        assert!(bar("letters", 7, 2, 3, Duration::from_secs(1)).contains("7/7, 5/s"), "the total was a guess");
    }
}
