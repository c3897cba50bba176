//! What the tests are made with.

pub(crate) mod bucket;
pub(crate) mod collection;
pub(crate) mod event;
pub(crate) mod exact;
pub(crate) mod function;
pub(crate) mod index;
pub(crate) mod mongo;
pub(crate) mod own_server;
pub(crate) mod proxy;
pub(crate) mod queue;
/// The server of MongoDB's protocol that the client's own tests script.
#[path = "../../crates/tidelock-mongodb/tests/target/scripted.rs"]
#[allow(dead_code, reason = "the client's own tests use more of it")]
pub(crate) mod scripted;
pub(crate) mod services;
pub(crate) mod table;
pub(crate) mod wire;

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A name that no other test has, in this run or another: lower case, digits and hyphens.
pub(crate) fn unique(purpose: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("it-{purpose}-{:x}-{:x}-{}", nanos, std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Waits until `look` finds what it looks for, for 20 seconds at most.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let search = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), search).await.unwrap_or_else(|_| panic!("never seen: {what}"))
}

/// A file of the repository.
pub(crate) fn repository_file(path: &str) -> String {
    let path = crate::tidy::repository().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A folder of a test's own, removed with everything in it.
pub(crate) struct Folder(std::path::PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(unique("folder"));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
