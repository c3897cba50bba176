//! A queue in a file, one message a line: for the laptop, where there is no SQS.
//!
//! Messages are hidden only from this process; a lock beside the file keeps writers apart.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidelock_core::letter::Letter;
use tidelock_core::queue::{Message, Outbox, Queue, QueueFacts};

/// See the module.
pub(crate) struct LinesQueue {
    path: PathBuf,
    /// Lines that are taken, with how often each stands in the file as taken.
    taken: RefCell<HashMap<String, usize>>,
    /// Lines that were sent with a delay: this process does not take them.
    delayed: RefCell<HashMap<String, usize>>,
    /// Messages taken so far. Equal lines have no other difference than when they were taken.
    count: Cell<u64>,
}

impl LinesQueue {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), taken: RefCell::default(), delayed: RefCell::default(), count: Cell::default() }
    }

    /// Held while the file is written.
    fn lock(&self) -> io::Result<File> {
        let mut path = self.path.clone().into_os_string();
        path.push(".lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        file.lock()?;
        Ok(file)
    }

    /// Durable before it returns.
    fn append(&self, letters: &[Letter]) -> io::Result<()> {
        let mut lines = String::new();
        for letter in letters {
            lines.push_str(&line(&letter.body));
            lines.push('\n');
        }
        let _lock = self.lock()?;
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        file.write_all(lines.as_bytes())?;
        file.sync_all()
    }

    fn read(&self) -> io::Result<Vec<String>> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => Ok(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Removes one line for each of these; the file is replaced as a whole.
    fn remove(&self, lines: &[String]) -> io::Result<()> {
        let _lock = self.lock()?;
        let mut gone: HashMap<&str, usize> = HashMap::new();
        for line in lines {
            *gone.entry(line).or_default() += 1;
        }
        let mut rest = String::new();
        for line in self.read()? {
            match gone.get_mut(line.as_str()).filter(|count| **count > 0) {
                Some(count) => *count -= 1,
                None => {
                    rest.push_str(&line);
                    rest.push('\n');
                }
            }
        }
        let mut path = self.path.clone().into_os_string();
        path.push(".new");
        let mut file = File::create(&path)?;
        file.write_all(rest.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(path, &self.path)
    }

    fn because(&self, error: &io::Error) -> String {
        format!("`{}` cannot be used: {error}", self.path.display())
    }
}

/// A line break in JSON is white space between tokens; a record may come with some.
fn line(body: &str) -> String {
    body.replace(['\n', '\r'], " ")
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    i64::try_from(now).unwrap_or(i64::MAX)
}

impl Outbox for LinesQueue {
    async fn send(&self, letters: &[Letter], delay: Duration, _: Instant) -> Vec<Result<(), String>> {
        let written = self.append(letters).map_err(|error| self.because(&error));
        if !delay.is_zero() && written.is_ok() {
            let mut delayed = self.delayed.borrow_mut();
            letters.iter().for_each(|letter| *delayed.entry(line(&letter.body)).or_default() += 1);
        }
        letters.iter().map(|_| written.clone()).collect()
    }
}

impl Queue for LinesQueue {
    async fn take(&self, most: usize, _: Duration, _: Instant) -> Result<Vec<Message>, String> {
        let lines = self.read().map_err(|error| self.because(&error))?;
        let mut taken = self.taken.borrow_mut();
        let delayed = self.delayed.borrow();
        let mut met: HashMap<&str, usize> = HashMap::new();
        let mut messages = Vec::new();
        for line in &lines {
            if messages.len() >= most {
                break;
            }
            let count = met.entry(line).or_default();
            *count += 1;
            let hidden = taken.get(line).copied().unwrap_or_default() + delayed.get(line).copied().unwrap_or_default();
            if *count > hidden {
                *taken.entry(line.clone()).or_default() += 1;
                self.count.set(self.count.get() + 1);
                messages.push(Message {
                    id: self.count.get().to_string(),
                    receipt: line.clone(),
                    body: line.clone(),
                    sent_ms: now_ms(),
                    taken: 1,
                });
            }
        }
        Ok(messages)
    }

    async fn delete(&self, receipts: &[String], _: Instant) -> Vec<Result<(), String>> {
        let removed = self.remove(receipts).map_err(|error| self.because(&error));
        self.hide(receipts, Duration::ZERO, Instant::now()).await;
        receipts.iter().map(|_| removed.clone()).collect()
    }

    async fn hide(&self, receipts: &[String], _: Duration, _: Instant) {
        let mut taken = self.taken.borrow_mut();
        for receipt in receipts {
            if let Some(count) = taken.get_mut(receipt) {
                *count = count.saturating_sub(1);
            }
        }
    }

    async fn facts(&self, _: Instant) -> Result<QueueFacts, String> {
        let lines = self.read().map_err(|error| self.because(&error))?;
        let taken: usize = self.taken.borrow().values().sum();
        let count = |count: usize| u64::try_from(count).unwrap_or_default();
        Ok(QueueFacts {
            waiting: count(lines.len().saturating_sub(taken)),
            hidden: count(taken),
            delayed: 0,
            retention_ms: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(body: &str) -> Letter {
        Letter { reason: "unknown_type".into(), source: "t".to_owned(), body: body.to_owned() }
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        match std::pin::pin!(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(output) => output,
            std::task::Poll::Pending => panic!("a file does not wait"),
        }
    }

    #[test]
    fn what_is_taken_is_hidden_until_it_is_given_back_or_deleted() {
        let folder = std::env::temp_dir().join(format!("tidelock-lines-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let queue = LinesQueue::new(folder.join("letters"));
        let (soon, now) = (Instant::now(), Duration::ZERO);
        let bodies = |most| -> Vec<String> {
            block_on(queue.take(most, now, soon)).expect("a file").into_iter().map(|message| message.body).collect()
        };
        assert!(bodies(10).is_empty(), "there is no file yet");
        let sent = block_on(queue.send(&[letter("{\"a\":\n1}"), letter("b"), letter("b"), letter("c")], now, soon));
        assert!(sent.iter().all(Result::is_ok));
        assert_eq!(bodies(2), ["{\"a\": 1}", "b"]);
        assert_eq!(block_on(queue.facts(soon)).map(|facts| (facts.waiting, facts.hidden)), Ok((2, 2)));
        assert!(block_on(queue.delete(&["b".to_owned()], soon))[0].is_ok());
        assert_eq!(bodies(10), ["b", "c"]);
        block_on(queue.hide(&["{\"a\": 1}".to_owned(), "c".to_owned()], now, soon));
        assert_eq!(bodies(10), ["{\"a\": 1}", "c"]);
        block_on(queue.send(&[letter("d")], Duration::from_secs(1), soon));
        assert!(bodies(10).is_empty(), "what is delayed waits for the next process");
        let other = LinesQueue::new(folder.join("letters"));
        assert_eq!(block_on(other.take(10, now, soon)).expect("a file").len(), 4);
        std::fs::remove_dir_all(folder).expect("removed");
        let nowhere = LinesQueue::new("/nowhere/letters");
        assert!(
            block_on(nowhere.send(&[letter("x")], now, soon))[0].as_ref().is_err_and(|why| why.contains("/nowhere"))
        );
    }
}
