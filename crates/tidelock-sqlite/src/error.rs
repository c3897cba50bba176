//! What each SQLite result code means ([list](https://www.sqlite.org/rescode.html)).

use rusqlite::{Error, ErrorCode, ffi};
use std::path::Path;
use tidelock_core::cause::{Cause, Failure};

/// The failure that an error of SQLite stands for.
pub(crate) fn failure(error: &Error) -> Failure {
    Failure::new(cause(error), error.to_string())
}

/// The failure of opening or reading a file.
pub(crate) fn at(path: &Path, error: &Error) -> Failure {
    Failure::new(cause(error), format!("{}: {error}", path.display()))
}

/// The failure of a statement that names a table: here SQLite's general error says that the table cannot be used.
pub(crate) fn of_table(table: &str, error: &Error) -> Failure {
    let cause = match code(error) {
        Some(code) if code.code == ErrorCode::Unknown => Cause::InvalidTargetName,
        _ => cause(error),
    };
    Failure::new(cause, format!("table `{table}`: {error}"))
}

fn code(error: &Error) -> Option<&ffi::Error> {
    match error {
        Error::SqliteFailure(code, _) | Error::SqlInputError { error: code, .. } => Some(code),
        _ => None,
    }
}

fn cause(error: &Error) -> Cause {
    let Some(code) = code(error) else { return Cause::UnexpectedAnswer };
    match code.code {
        ErrorCode::ConstraintViolation
            if matches!(code.extended_code, ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY) =>
        {
            Cause::UniqueConflict
        }
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::FileLockingProtocolFailed
        | ErrorCode::SchemaChanged
        | ErrorCode::OperationInterrupted
        | ErrorCode::OperationAborted
        | ErrorCode::OutOfMemory => Cause::Unavailable,
        ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::ReadOnly => Cause::Blocked,
        ErrorCode::CannotOpen => Cause::Unreachable,
        ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied => Cause::Forbidden,
        ErrorCode::TooBig => Cause::DocumentTooLarge,
        ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch => Cause::InvalidDocument,
        // Among them a damaged file, and one that is no database.
        _ => Cause::UnexpectedAnswer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_code(code: i32) -> Error {
        Error::SqliteFailure(ffi::Error::new(code), Some("message".to_owned()))
    }

    #[test]
    fn every_code_has_its_cause() {
        for (code, expected) in [
            (ffi::SQLITE_BUSY, Cause::Unavailable),
            (ffi::SQLITE_BUSY_SNAPSHOT, Cause::Unavailable),
            (ffi::SQLITE_LOCKED, Cause::Unavailable),
            (ffi::SQLITE_PROTOCOL, Cause::Unavailable),
            (ffi::SQLITE_NOMEM, Cause::Unavailable),
            (ffi::SQLITE_FULL, Cause::Blocked),
            (ffi::SQLITE_IOERR_WRITE, Cause::Blocked),
            (ffi::SQLITE_READONLY, Cause::Blocked),
            (ffi::SQLITE_CANTOPEN, Cause::Unreachable),
            (ffi::SQLITE_PERM, Cause::Forbidden),
            (ffi::SQLITE_CORRUPT, Cause::UnexpectedAnswer),
            (ffi::SQLITE_NOTADB, Cause::UnexpectedAnswer),
            (ffi::SQLITE_TOOBIG, Cause::DocumentTooLarge),
            (ffi::SQLITE_CONSTRAINT_UNIQUE, Cause::UniqueConflict),
            (ffi::SQLITE_CONSTRAINT_CHECK, Cause::InvalidDocument),
            (ffi::SQLITE_ERROR, Cause::UnexpectedAnswer),
        ] {
            let failure = failure(&with_code(code));
            assert_eq!(failure.cause, expected, "{code}");
            assert!(failure.detail.contains("message"), "{failure}");
        }
        assert_eq!(of_table("t", &with_code(ffi::SQLITE_ERROR)).cause, Cause::InvalidTargetName);
        assert_eq!(of_table("t", &with_code(ffi::SQLITE_BUSY)).cause, Cause::Unavailable);
    }
}
