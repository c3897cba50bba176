//! The model against what OpenSearch does, request by request, and the real client over it.

mod clearing;
mod faults;
mod fleet;
mod operators;
mod reads;
mod searches;
mod support;
mod target;
mod versions;
mod worlds;
mod writes;
