//! What reaches the index, and what does not: no faults but those of the records themselves.

mod keys;
mod places;
mod refusals;
mod samples;
mod versions;
