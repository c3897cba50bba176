//! Functions that follow no stream: people, API Gateway and CloudFormation call them.
//!
//! ```text
//! EnableChangeStreams  change streams of a cluster, turned on and off
//! DemoWriter           POST, PUT and DELETE demo-data: a document of the demo's collection
//! DemoReader           GET demo-data: documents of the demo's index
//! ```
//!
//! Events are read field by field, not through the types of `aws_lambda_events`: those refuse a whole event for a header that
//! is no text or a request type they do not know, and then a client is told nothing and a stack waits for an hour. Answers
//! are those types.

#[cfg(feature = "mongodb")]
mod change_streams;
#[cfg(any(feature = "mongodb", feature = "opensearch"))]
mod demo;
#[cfg(any(feature = "mongodb", feature = "opensearch"))]
mod gateway;

#[cfg(feature = "mongodb")]
pub use change_streams::{Answer, EnableChangeStreams, Report};
#[cfg(feature = "opensearch")]
pub use demo::DemoReader;
#[cfg(feature = "mongodb")]
pub use demo::DemoWriter;
