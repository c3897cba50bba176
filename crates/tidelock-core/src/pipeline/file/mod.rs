//! The pipeline's file: a tree with marks, and what is wrong with it.

mod deserialize;
mod node;
mod problem;
mod read;
mod scalar;
#[cfg(test)]
mod tests;

pub(super) use deserialize::deserialize;
pub(crate) use node::{Mark, Member, Node, Value, joined};
pub use problem::{Problem, Severity};
pub(crate) use problem::{Problems, has_room};
pub(super) use read::read;
