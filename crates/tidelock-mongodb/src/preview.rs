//! What an operation would be sent as, without anybody to send it to.

use crate::apply::{check_size, location_in};
use crate::command::{Condition, Kind, MAX_COMMAND_BYTES, Statement, build, takes_inserts};
use crate::fence::Fence;
use tidelock_core::bson::{Elements, Value, write_extended};
use tidelock_core::cause::Failure;
use tidelock_core::fence::FENCE_COLLECTION;
use tidelock_core::target::{Operation, Write};

/// A command of one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The database that it is sent to.
    pub database: String,
    /// The command as relaxed
    /// [extended JSON](https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md).
    pub command: String,
}

/// The commands for an operation alone, in their order: a delete's fence comes first. `database` is that of names that give none,
/// `now_ms` the time that a fence is written at; without `guards` nothing compares versions, without `fences` none is written.
///
/// # Errors
/// What can be told before anything is sent: an id, a name or a document that the server does not take.
pub fn commands(
    operation: &Operation<'_>,
    database: Option<&str>,
    (guards, fences): (bool, bool),
    now_ms: i64,
) -> Result<Vec<Command>, Failure> {
    let (database, collection) = location_in(database, operation)?;
    check_size(operation)?;
    let guard = match operation.write {
        Write::Upsert(_) if guards && operation.fresh && takes_inserts(operation) => Condition::Absent,
        _ if guards => Condition::Older,
        _ => Condition::Always,
    };
    let mut commands = Vec::new();
    let mut push = |kind: Kind, collection: &str, statement: Statement<'_>, condition: &Condition| {
        let size = statement.bytes();
        let built = build(kind, collection, std::iter::once((statement, condition)), MAX_COMMAND_BYTES, size);
        let mut text = Vec::with_capacity(built.bytes.len() * 2);
        if let Ok(elements) = Elements::new(&built.bytes) {
            write_extended(&mut text, Value::Document(elements));
        }
        let command = String::from_utf8_lossy(&text).into_owned();
        commands.push(Command { database: database.to_owned(), command });
    };
    if fences && operation.write == Write::Delete {
        let fence = Fence::of(operation, collection, now_ms);
        push(Kind::Fence, FENCE_COLLECTION, Statement::Fence(fence), &Condition::Absent);
    }
    push(Kind::of(operation.write), collection, Statement::Document(operation), &guard);
    Ok(commands)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidelock_core::cause::Cause;
    use tidelock_core::encode::Format;
    use tidelock_core::explain::{Becomes, explain};
    use tidelock_core::pipeline::Pipeline;

    #[test]
    fn shows_the_commands_and_refuses_what_has_no_database() {
        let event = br#"{"Records":[
            {"eventName":"INSERT","eventSourceARN":"arn:aws:dynamodb:us-east-1:1:table/t/stream/2012-01-01T00:00:01.000",
            "dynamodb":{"Keys":{"k":{"S":"a"}},"NewImage":{"k":{"S":"a"},"n":{"N":"7"}},"SequenceNumber":"1"}},
            {"eventName":"REMOVE","eventSourceARN":"arn:aws:dynamodb:us-east-1:1:table/t/stream/2012-01-01T00:00:01.000",
            "dynamodb":{"Keys":{"k":{"S":"b"}},"SequenceNumber":"2"}},
            {"eventName":"MODIFY","eventSourceARN":"arn:aws:dynamodb:us-east-1:1:table/t/stream/2012-01-01T00:00:01.000",
            "dynamodb":{"Keys":{"k":{"S":"c"}},"NewImage":{"k":{"S":"c"}},"SequenceNumber":"3"}}]}"#;
        let told = |database: Option<&str>| {
            let request = |operation: &Operation<'_>| commands(operation, database, (true, true), 7);
            explain(event, &Pipeline::default(), Format::Bson, false, request).expect("an event")
        };
        let shown = told(Some("shop"));
        let sent = |index: usize| match &shown[index].acts[0].becomes {
            Becomes::Sent { request, .. } => request.clone(),
            other => panic!("{other:?}"),
        };
        let [insert] = &sent(0)[..] else { panic!("{shown:?}") };
        assert_eq!(insert.database, "shop");
        assert!(insert.command.starts_with(r#"{"insert":"t","ordered":false,"writeConcern":{"w":"majority"},"documents":[{"_id":"a","k":"a","n":7,"_tidelock":{"#), "{}", insert.command);
        let [fence, delete] = &sent(1)[..] else { panic!("{shown:?}") };
        assert!(
            fence.command.starts_with(r#"{"insert":"tidelock_fences""#) && fence.command.contains(r#""written":7"#)
        );
        assert!(delete.command.starts_with(r#"{"delete":"t""#));
        let [update] = &sent(2)[..] else { panic!("{shown:?}") };
        assert!(update.command.starts_with(r#"{"update":"t","ordered":false,"writeConcern":{"w":"majority"},"updates":[{"q":{"_id":"c","_tidelock.space":"dynamodb:us-east-1:1:t","#), "{}", update.command);
        assert!(update.command.contains(r#""u":{"_id":"c","k":"c","_tidelock":{"#), "{}", update.command);
        assert_eq!(shown[0].acts[0].id, r#""a""#);
        let refused = &told(None)[0].acts[0].becomes;
        assert!(matches!(refused, Becomes::Refused(failure) if failure.cause == Cause::InvalidTargetName));
    }
}
