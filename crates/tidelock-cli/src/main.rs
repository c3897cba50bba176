//! The `tidelock` command-line tool.
fn main() {}
