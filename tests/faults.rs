//! Faults between the function and OpenSearch, made by a proxy in front of the real server.

mod items;
mod login;
mod signature;
mod sizes;
mod time;
mod tls;
mod whole;

use crate::support::function::{Sync, dynamodb_sync, target};
use crate::support::index::Index;
use crate::support::proxy::{Fault, Proxy, Seen};
use crate::support::queue::{letters, reasons};
use crate::support::{Folder, services};
use std::time::Duration;

/// A function whose requests pass a proxy, with its index and a file for letters.
struct Bench {
    sync: Sync,
    index: Index,
    proxy: Proxy,
    folder: Folder,
}

impl Bench {
    /// The script sees all requests; a function has three seconds unless told otherwise.
    async fn new(purpose: &str, script: impl Fn(&Seen) -> Fault + Send + std::marker::Sync + 'static) -> Option<Self> {
        let url = services::opensearch()?;
        let (index, folder) = (Index::new(&url, purpose), Folder::new());
        let proxy = Proxy::before(&url, script).await;
        let letters = format!("file:{}", folder.path("letters"));
        let sync = dynamodb_sync(&target(&proxy.url))?.into(index.name()).with("TIDELOCK_DEAD_LETTERS", &letters);
        Some(Self { sync: sync.timeout(Duration::from_secs(3)), index, proxy, folder })
    }

    /// As [`Self::new`], with a script for bulk requests alone, and with an index that is there already.
    async fn bulk(purpose: &str, script: impl Fn(&Seen) -> Fault + Send + std::marker::Sync + 'static) -> Option<Self> {
        let bench = Self::new(purpose, move |seen| if seen.bulk > 0 { script(seen) } else { Fault::None }).await?;
        bench.index.prepare().await;
        Some(bench)
    }
}

/// Reason and position of the letters so far.
fn parked(folder: &Folder) -> Vec<(String, Option<String>)> {
    reasons(&letters(&folder.path("letters")))
}
