//! `dynamodb-sync`: keeps a search index or a document store locked to a DynamoDB table's stream.
//!
//! Event: a DynamoDB Streams batch. Answer: `batchItemFailures` with the lowest failed sequence number. Settings: README.

fn main() -> std::process::ExitCode {
    tidelock_lambda::run::<tidelock_sync::DynamoDbSync>()
}
