//! Sync functions put together: settings, target, dead letters, metrics, and the handler of each source.

mod app;
mod authentication;
mod backfill;
mod check;
#[cfg(any(feature = "opensearch", feature = "mongodb"))]
mod connections;
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
mod trial;
mod waiting;

#[cfg(all(not(feature = "aws"), any(feature = "opensearch", feature = "mongodb")))]
pub use authentication::WithoutAws;
pub use backfill::{Backfiller, Counts, Job, Pace, Segmented};
pub use check::check;
#[cfg(feature = "mongodb")]
pub use connections::{MongoDbLogin, cluster_login};
#[cfg(feature = "opensearch")]
pub use connections::{OpenSearchTransport, open_search};
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
