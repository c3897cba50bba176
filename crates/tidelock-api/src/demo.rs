//! The demo: documents are posted to a collection, and found in the index that its change stream leads to.

#[cfg(feature = "mongodb")]
mod document;
#[cfg(feature = "opensearch")]
mod reader;
#[cfg(feature = "mongodb")]
mod writer;

#[cfg(feature = "opensearch")]
pub use reader::DemoReader;
#[cfg(feature = "mongodb")]
pub use writer::DemoWriter;
