//! The guards on a real database file, and every kind of value through it.

mod guards;
mod support;
mod tables;
mod values;
