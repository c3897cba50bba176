//! Dead letters: a queue, or outside Lambda a file.

use crate::authentication::Authentication;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::{Duration, Instant};
use tidelock_core::letter::Letter;
use tidelock_core::queue::Outbox;
use tidelock_core::settings::DeadLetterAddress;
use tidelock_lambda::Fatal;

/// Any store of letters that this build has.
pub(crate) enum AnyDeadLetters {
    #[cfg(feature = "aws")]
    Sqs(tidelock_aws::SqsDeadLetters),
    File(FileDeadLetters),
}

impl AnyDeadLetters {
    #[cfg_attr(not(feature = "aws"), expect(unused_variables, reason = "only queues authenticate"))]
    pub(crate) fn new(address: DeadLetterAddress, authentication: &Authentication) -> Result<Self, Fatal> {
        match address {
            DeadLetterAddress::File(path) => Ok(Self::File(FileDeadLetters { path })),
            #[cfg(feature = "aws")]
            DeadLetterAddress::Sqs(url) => {
                Ok(Self::Sqs(tidelock_aws::SqsDeadLetters::new(url, std::rc::Rc::clone(&authentication.sdk))))
            }
            #[cfg(not(feature = "aws"))]
            DeadLetterAddress::Sqs(_) => Err(Fatal::new(
                "Tidelock.Settings",
                "TIDELOCK_DEAD_LETTERS: queues need a build with the feature `aws`; use file:PATH",
            )),
        }
    }
}

impl Outbox for AnyDeadLetters {
    async fn send(&self, letters: &[Letter], delay: Duration, deadline: Instant) -> Vec<Result<(), String>> {
        match self {
            #[cfg(feature = "aws")]
            Self::Sqs(queue) => queue.send(letters, delay, deadline).await,
            Self::File(file) => file.send(letters, delay, deadline).await,
        }
    }
}

/// Letters as JSON lines in a file: for the laptop, where there is no queue.
pub(crate) struct FileDeadLetters {
    path: String,
}

impl FileDeadLetters {
    /// Durable before it returns.
    fn append(&self, letters: &[Letter]) -> std::io::Result<()> {
        let mut lines = String::new();
        for letter in letters {
            // A line break in JSON is white space between tokens; a record may come with some.
            lines.push_str(&letter.body.replace(['\n', '\r'], " "));
            lines.push('\n');
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        file.write_all(lines.as_bytes())?;
        file.sync_all()
    }
}

impl Outbox for FileDeadLetters {
    async fn send(&self, letters: &[Letter], _: Duration, _: Instant) -> Vec<Result<(), String>> {
        let written = self.append(letters).map_err(|error| format!("`{}` cannot be written: {error}", self.path));
        letters.iter().map(|_| written.clone()).collect()
    }
}
