//! Sync functions put together: settings, target, dead letters, metrics, and the handler of each source.

mod app;
mod authentication;
mod backfill;
mod check;
mod dynamodb;
mod folder;
#[cfg(all(feature = "opensearch", feature = "aws"))]
mod indexes;
mod letters;
mod lines;
mod metrics;
mod recovery;
mod redrive;
mod remembered;
mod slice;
mod source;
mod stdout;
mod targets;
mod waiting;

pub use backfill::{Backfiller, Counts, Job, Pace, Segmented};
pub use check::check;
pub use dynamodb::DynamoDbSync;
#[cfg(all(feature = "opensearch", feature = "aws"))]
pub use indexes::IndexAdmin;
pub use letters::Letters;
pub use recovery::{Recovery, Request, What};
pub use redrive::Redrive;
pub use remembered::AnyState;
pub use slice::BackfillSlice;
