//! Sync functions put together: settings, target, dead letters, metrics, and the handler of each source.

mod app;
mod authentication;
mod backfill;
mod check;
mod documentdb;
mod dynamodb;
#[cfg(all(feature = "opensearch", feature = "mongodb"))]
mod explain;
mod folder;
#[cfg(all(feature = "opensearch", feature = "aws"))]
mod indexes;
mod letters;
mod lines;
mod metrics;
mod recovery;
mod redrive;
mod remembered;
#[cfg(all(feature = "opensearch", feature = "mongodb"))]
mod shadow;
mod slice;
mod source;
mod stdout;
mod targets;
mod waiting;

pub use backfill::{Backfiller, Counts, Job, Pace, Segmented};
pub use check::check;
pub use documentdb::DocumentDbSync;
pub use dynamodb::DynamoDbSync;
#[cfg(all(feature = "opensearch", feature = "mongodb"))]
pub use explain::{Explainer, Sent};
#[cfg(all(feature = "opensearch", feature = "aws"))]
pub use indexes::IndexAdmin;
pub use letters::Letters;
pub use recovery::{Recovery, Request, What};
pub use redrive::Redrive;
pub use remembered::AnyState;
#[cfg(all(feature = "opensearch", feature = "mongodb"))]
pub use shadow::Shadow;
pub use slice::BackfillSlice;
