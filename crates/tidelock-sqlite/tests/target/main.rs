//! The guards on a real database file, and every kind of value through it.

mod counted;
mod endings;
mod fences;
mod guards;
mod located;
mod moves;
mod slow;
mod store;
mod support;
mod sweep;
mod tables;
mod values;
