//! What functions remember: the stores of this build behind one type, and the one in a file.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Instant;
use tidelock_core::settings::{StateAddress, state_address};
use tidelock_core::state::{Draft, Entry, MemoryState, State};
use tidelock_lambda::{Environment, Fatal};

/// Any store that this build has.
pub enum AnyState {
    #[cfg(feature = "aws")]
    /// A table of DynamoDB.
    DynamoDb(Box<tidelock_dynamodb::DynamoDbState<tidelock_aws::AwsCredentials>>),
    /// A file.
    File(FileState),
    /// Nothing, once the process ends.
    Memory(MemoryState),
}

impl AnyState {
    /// Opens the store that this address names, as `TIDELOCK_STATE` would.
    ///
    /// # Errors
    /// When the address is of no known form.
    pub fn open(address: &str, environment: &Environment) -> Result<Self, Fatal> {
        let found = state_address(address);
        let found =
            found.map_err(|forms| Fatal::new("Tidelock.Settings", format!("`{address}` is not one of {forms}")))?;
        Self::new(found, &crate::authentication::Authentication::bare(environment), environment)
    }

    /// The store that `TIDELOCK_STATE` names.
    #[cfg_attr(not(feature = "aws"), expect(unused_variables, reason = "only tables authenticate"))]
    pub(crate) fn new(
        address: StateAddress,
        authentication: &crate::authentication::Authentication,
        environment: &Environment,
    ) -> Result<Self, Fatal> {
        match address {
            StateAddress::File(path) => Ok(Self::File(FileState { path: path.into() })),
            StateAddress::Memory => Ok(Self::Memory(MemoryState::default())),
            #[cfg(feature = "aws")]
            StateAddress::DynamoDb(table) => crate::source::state(table, authentication, environment),
            #[cfg(not(feature = "aws"))]
            StateAddress::DynamoDb(_) => Err(Fatal::new(
                "Tidelock.Settings",
                "TIDELOCK_STATE: dynamodb: needs a build with the feature `aws`; use file:PATH",
            )),
        }
    }
}

impl State for AnyState {
    async fn read(&self, name: &str, deadline: Instant) -> Result<Option<Entry>, String> {
        match self {
            #[cfg(feature = "aws")]
            Self::DynamoDb(state) => state.read(name, deadline).await,
            Self::File(state) => state.read(name, deadline).await,
            Self::Memory(state) => state.read(name, deadline).await,
        }
    }

    async fn write(
        &self,
        name: &str,
        value: &str,
        expected: Option<&str>,
        deadline: Instant,
    ) -> Result<Option<String>, String> {
        match self {
            #[cfg(feature = "aws")]
            Self::DynamoDb(state) => state.write(name, value, expected, deadline).await,
            Self::File(state) => state.write(name, value, expected, deadline).await,
            Self::Memory(state) => state.write(name, value, expected, deadline).await,
        }
    }

    async fn remove(&self, name: &str, expected: &str, deadline: Instant) -> Result<bool, String> {
        match self {
            #[cfg(feature = "aws")]
            Self::DynamoDb(state) => state.remove(name, expected, deadline).await,
            Self::File(state) => state.remove(name, expected, deadline).await,
            Self::Memory(state) => state.remove(name, expected, deadline).await,
        }
    }

    async fn names(&self, prefix: &str, deadline: Instant) -> Result<Vec<String>, String> {
        match self {
            #[cfg(feature = "aws")]
            Self::DynamoDb(state) => state.names(prefix, deadline).await,
            Self::File(state) => state.names(prefix, deadline).await,
            Self::Memory(state) => state.names(prefix, deadline).await,
        }
    }

    async fn read_many(&self, names: &[String], deadline: Instant) -> Result<Vec<Option<Entry>>, String> {
        match self {
            #[cfg(feature = "aws")]
            Self::DynamoDb(state) => state.read_many(names, deadline).await,
            Self::File(state) => state.read_many(names, deadline).await,
            Self::Memory(state) => state.read_many(names, deadline).await,
        }
    }

    async fn write_many(&self, drafts: &[Draft], deadline: Instant) -> Vec<Result<Option<String>, String>> {
        match self {
            #[cfg(feature = "aws")]
            Self::DynamoDb(state) => state.write_many(drafts, deadline).await,
            Self::File(state) => state.write_many(drafts, deadline).await,
            Self::Memory(state) => state.write_many(drafts, deadline).await,
        }
    }
}

/// A JSON file of names, each with a revision and a value: for the laptop. A lock beside it keeps processes apart.
pub struct FileState {
    path: PathBuf,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Entries {
    /// Writes so far: a name that was removed and is written again has another revision.
    writes: u64,
    values: BTreeMap<String, (u64, String)>,
}

impl Entries {
    fn put(&mut self, name: &str, value: &str, expected: Option<&str>) -> Option<String> {
        let known = self.values.get(name).map(|(revision, _)| revision.to_string());
        if known.as_deref() != expected {
            return None;
        }
        self.writes += 1;
        self.values.insert(name.to_owned(), (self.writes, value.to_owned()));
        Some(self.writes.to_string())
    }
}

impl FileState {
    fn load(&self) -> Result<Entries, String> {
        match fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| format!("`{}` holds no state: {error}; remove it to begin anew", self.path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Entries::default()),
            Err(error) => Err(self.because(&error)),
        }
    }

    fn because(&self, error: &io::Error) -> String {
        format!("`{}` cannot be used: {error}", self.path.display())
    }

    /// Changes the entries under the lock; they are stored where `change` says so.
    fn change<T>(&self, change: impl FnOnce(&mut Entries) -> (bool, T)) -> Result<T, String> {
        let mut path = self.path.clone().into_os_string();
        path.push(".lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path);
        let lock = lock.and_then(|lock| lock.lock().map(|()| lock)).map_err(|error| self.because(&error))?;
        let mut entries = self.load()?;
        let (changed, result) = change(&mut entries);
        if changed {
            self.store(&entries).map_err(|error| self.because(&error))?;
        }
        drop(lock);
        Ok(result)
    }

    fn store(&self, entries: &Entries) -> io::Result<()> {
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(entries)?)?;
        file.sync_all()?;
        fs::rename(new, &self.path)
    }
}

impl State for FileState {
    async fn read(&self, name: &str, _: Instant) -> Result<Option<Entry>, String> {
        let entry = |(revision, value): (u64, String)| Entry { value, revision: revision.to_string() };
        Ok(self.load()?.values.remove(name).map(entry))
    }

    async fn write(
        &self,
        name: &str,
        value: &str,
        expected: Option<&str>,
        _: Instant,
    ) -> Result<Option<String>, String> {
        self.change(|entries| {
            let revision = entries.put(name, value, expected);
            (revision.is_some(), revision)
        })
    }

    async fn remove(&self, name: &str, expected: &str, _: Instant) -> Result<bool, String> {
        self.change(|entries| {
            let ours = entries.values.get(name).is_some_and(|(revision, _)| revision.to_string() == expected);
            if ours {
                entries.values.remove(name);
            }
            (ours, ours)
        })
    }

    async fn names(&self, prefix: &str, _: Instant) -> Result<Vec<String>, String> {
        Ok(self.load()?.values.into_keys().filter(|name| name.starts_with(prefix)).collect())
    }
    async fn read_many(&self, names: &[String], _: Instant) -> Result<Vec<Option<Entry>>, String> {
        let mut values = self.load()?.values;
        let entry = |(revision, value): (u64, String)| Entry { value, revision: revision.to_string() };
        Ok(names.iter().map(|name| values.remove(name).map(entry)).collect())
    }

    async fn write_many(&self, drafts: &[Draft], _: Instant) -> Vec<Result<Option<String>, String>> {
        let written = self.change(|entries| {
            let put = |draft: &Draft| entries.put(&draft.name, &draft.value, draft.expected.as_deref());
            let revisions: Vec<Option<String>> = drafts.iter().map(put).collect();
            (revisions.iter().any(Option::is_some), revisions)
        });
        match written {
            Ok(revisions) => revisions.into_iter().map(Ok).collect(),
            Err(why) => drafts.iter().map(|_| Err(why.clone())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        match std::pin::pin!(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(output) => output,
            std::task::Poll::Pending => panic!("a file does not wait"),
        }
    }

    #[test]
    fn only_who_knows_the_revision_writes() {
        let path = std::env::temp_dir().join(format!("tidelock-state-{}", std::process::id()));
        let (one, two) = (FileState { path: path.clone() }, FileState { path: path.clone() });
        let soon = Instant::now();
        let first = block_on(one.write("a", "1", None, soon)).expect("a file").expect("nothing was there");
        assert_eq!(block_on(two.write("a", "2", None, soon)), Ok(None));
        assert_eq!(block_on(two.read("a", soon)), Ok(Some(Entry { value: "1".into(), revision: first.clone() })));
        let second = block_on(two.write("a", "2", Some(&first), soon)).expect("a file").expect("the revision is known");
        assert_eq!(block_on(one.write("a", "3", Some(&first), soon)), Ok(None));
        assert_eq!(block_on(one.remove("a", &first, soon)), Ok(false));
        block_on(one.write("ab", "x", None, soon)).expect("a file");
        assert_eq!(block_on(one.names("a", soon)), Ok(vec!["a".to_owned(), "ab".to_owned()]));
        assert_eq!(block_on(one.remove("a", &second, soon)), Ok(true));
        assert_eq!(block_on(one.read("a", soon)), Ok(None));
        fs::write(&path, "damaged").expect("written");
        assert!(block_on(one.read("a", soon)).is_err_and(|why| why.contains("remove it")));
        fs::remove_file(path).expect("removed");
    }
}
