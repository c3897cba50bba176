//! The `dynamodb-sync` function.
fn main() {}
