//! What functions remember between invocations: leases, checkpoints, and how far a scan has come.
//!
//! Nothing of that is needed for safety. A lease that two hold, or a checkpoint that is lost, costs work and no data: every
//! write is guarded by its version. Places that are kept for [`locate: state`](crate::locate) are: without them nobody knows
//! where a document is.

use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// A value with what proves that nobody has changed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// JSON text.
    pub value: String,
    /// Changes with every write.
    pub revision: String,
}

/// A value that is to be stored; see [`State::write_many`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Under which name.
    pub name: String,
    /// JSON text.
    pub value: String,
    /// See [`State::write`].
    pub expected: Option<String>,
    /// It must not expire, however long nobody writes it.
    pub lasting: bool,
}

/// A small store of texts by name.
#[expect(async_fn_in_trait, reason = "functions run on one thread, so the futures need not be Send")]
pub trait State {
    /// What is stored under a name, read consistently; `None` where there is nothing.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn read(&self, name: &str, deadline: Instant) -> Result<Option<Entry>, String>;

    /// Stores a value if the revision is still `expected` (`None`: if there is nothing). Gives the new revision, or `None`
    /// where somebody else was faster.
    ///
    /// # Errors
    /// When it is not known whether it is stored.
    async fn write(
        &self,
        name: &str,
        value: &str,
        expected: Option<&str>,
        deadline: Instant,
    ) -> Result<Option<String>, String>;

    /// Removes a value if the revision is still `expected`; `false` where it is not.
    ///
    /// # Errors
    /// When it may still be there.
    async fn remove(&self, name: &str, expected: &str, deadline: Instant) -> Result<bool, String>;

    /// The names that begin with `prefix`, in order.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn names(&self, prefix: &str, deadline: Instant) -> Result<Vec<String>, String>;

    /// [`State::read`] of several names, none of them twice, by position.
    ///
    /// # Errors
    /// When one of them cannot be read.
    async fn read_many(&self, names: &[String], deadline: Instant) -> Result<Vec<Option<Entry>>, String> {
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            found.push(self.read(name, deadline).await?);
        }
        Ok(found)
    }

    /// [`State::write`] of several values, each for itself, by position.
    async fn write_many(&self, drafts: &[Draft], deadline: Instant) -> Vec<Result<Option<String>, String>> {
        let mut written = Vec::with_capacity(drafts.len());
        for draft in drafts {
            written.push(self.write(&draft.name, &draft.value, draft.expected.as_deref(), deadline).await);
        }
        written
    }
}

/// Nothing is remembered.
#[derive(Debug, Clone, Copy)]
pub enum NoState {}

impl State for NoState {
    async fn read(&self, _: &str, _: Instant) -> Result<Option<Entry>, String> {
        match *self {}
    }

    async fn write(&self, _: &str, _: &str, _: Option<&str>, _: Instant) -> Result<Option<String>, String> {
        match *self {}
    }

    async fn remove(&self, _: &str, _: &str, _: Instant) -> Result<bool, String> {
        match *self {}
    }

    async fn names(&self, _: &str, _: Instant) -> Result<Vec<String>, String> {
        match *self {}
    }
}

/// Who works on something, and until when nobody else should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LeaseEntry {
    owner: String,
    /// Milliseconds since 1970.
    until_ms: i64,
}

/// A lease that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    name: String,
    revision: String,
}

/// What came of asking for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leased {
    /// It is ours.
    Ours(Lease),
    /// Somebody else has it.
    Taken {
        /// Who.
        owner: String,
        /// Until when, milliseconds since 1970.
        until_ms: i64,
    },
}

/// How often a race for a lease is run.
const TRIES: usize = 8;

/// Takes a lease for `time`, unless somebody has it. One that has run out, or cannot be read, is nobody's.
///
/// # Errors
/// When the store cannot be read or written.
pub async fn lease<S: State>(
    state: &S,
    name: &str,
    owner: &str,
    now_ms: i64,
    time: Duration,
    deadline: Instant,
) -> Result<Leased, String> {
    let until_ms = now_ms.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
    let value = serde_json::to_string(&LeaseEntry { owner: owner.to_owned(), until_ms }).map_err(|e| e.to_string())?;
    for _ in 0..TRIES {
        let found = state.read(name, deadline).await?;
        let held = found.as_ref().and_then(|entry| serde_json::from_str::<LeaseEntry>(&entry.value).ok());
        if let Some(LeaseEntry { owner, until_ms }) = held.filter(|held| held.until_ms > now_ms && held.owner != owner)
        {
            return Ok(Leased::Taken { owner, until_ms });
        }
        let expected = found.as_ref().map(|entry| entry.revision.as_str());
        if let Some(revision) = state.write(name, &value, expected, deadline).await? {
            return Ok(Leased::Ours(Lease { name: name.to_owned(), revision }));
        }
    }
    Err(format!("others were faster {TRIES} times"))
}

/// Gives a lease back. One that has gone to somebody else meanwhile stays theirs.
///
/// # Errors
/// When the store cannot be written: the lease runs out by itself.
pub async fn give_back<S: State>(state: &S, lease: &Lease, deadline: Instant) -> Result<(), String> {
    state.remove(&lease.name, &lease.revision, deadline).await.map(drop)
}

/// A store in memory: for tests, and where nothing needs to outlive the process.
#[derive(Debug, Default)]
pub struct MemoryState {
    entries: std::cell::RefCell<std::collections::BTreeMap<String, (String, u64)>>,
    writes: std::cell::Cell<u64>,
}

impl State for MemoryState {
    async fn read(&self, name: &str, _: Instant) -> Result<Option<Entry>, String> {
        let entry = |(value, revision): &(String, u64)| Entry { value: value.clone(), revision: revision.to_string() };
        Ok(self.entries.borrow().get(name).map(entry))
    }

    async fn write(
        &self,
        name: &str,
        value: &str,
        expected: Option<&str>,
        _: Instant,
    ) -> Result<Option<String>, String> {
        let mut entries = self.entries.borrow_mut();
        let revision = entries.get(name).map(|(_, revision)| revision.to_string());
        if revision.as_deref() != expected {
            return Ok(None);
        }
        self.writes.set(self.writes.get() + 1);
        entries.insert(name.to_owned(), (value.to_owned(), self.writes.get()));
        Ok(Some(self.writes.get().to_string()))
    }

    async fn remove(&self, name: &str, expected: &str, _: Instant) -> Result<bool, String> {
        let mut entries = self.entries.borrow_mut();
        let ours = entries.get(name).is_some_and(|(_, revision)| revision.to_string() == expected);
        if ours {
            entries.remove(name);
        }
        Ok(ours)
    }

    async fn names(&self, prefix: &str, _: Instant) -> Result<Vec<String>, String> {
        Ok(self.entries.borrow().keys().filter(|name| name.starts_with(prefix)).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::block_on;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn one_at_a_time_until_it_runs_out_or_is_given_back() {
        let state = MemoryState::default();
        let deadline = Instant::now() + MINUTE;
        let ask = |owner: &'static str, now_ms| block_on(lease(&state, "redrive", owner, now_ms, MINUTE, deadline));
        let Ok(Leased::Ours(first)) = ask("a", 0) else { panic!("it is free") };
        assert_eq!(ask("b", 59_999), Ok(Leased::Taken { owner: "a".into(), until_ms: 60_000 }));
        let Ok(Leased::Ours(second)) = ask("b", 60_000) else { panic!("it has run out") };
        block_on(give_back(&state, &first, deadline)).expect("no error");
        assert!(matches!(ask("a", 60_001), Ok(Leased::Taken { .. })), "what has gone to another is not given back");
        block_on(give_back(&state, &second, deadline)).expect("no error");
        assert!(matches!(ask("a", 60_001), Ok(Leased::Ours(_))));
        assert!(matches!(ask("a", 60_002), Ok(Leased::Ours(_))), "the owner's own is renewed");
    }

    #[test]
    fn what_cannot_be_read_is_nobodys() {
        let state = MemoryState::default();
        let deadline = Instant::now() + MINUTE;
        block_on(state.write("redrive", "damaged", None, deadline)).expect("no error");
        assert!(matches!(block_on(lease(&state, "redrive", "a", 0, MINUTE, deadline)), Ok(Leased::Ours(_))));
    }
}
