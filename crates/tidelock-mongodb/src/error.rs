//! What each error means: one table for the codes of MongoDB and of servers that speak its protocol.
//!
//! Codes: [error_codes.yml](https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml). The code decides,
//! not the message: messages differ between servers and versions.

use crate::answer::ServerError;
use mongodb::error::{Error, ErrorKind};
use tidelock_core::cause::{Cause, Disposition};

/// What an error stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A row of the table of causes.
    Cause(Cause),
    /// A unique index, the one on `_id` among them, already holds the value.
    Duplicate,
    /// A code that is not in the table.
    Unknown,
}

/// An error, with words for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) meaning: Meaning,
    pub(crate) text: String,
    /// The server's own number, where it was the server that said so.
    pub(crate) code: Option<i32>,
}

/// Longer messages repeat the document.
const MAX_MESSAGE: usize = 600;

impl Trouble {
    pub(crate) fn new(cause: Cause, text: impl Into<String>) -> Self {
        Self { meaning: Meaning::Cause(cause), text: text.into(), code: None }
    }

    pub(crate) fn of_server(error: &ServerError) -> Self {
        Self {
            meaning: meaning(error.code, &error.message),
            text: format!("{} (code {})", shortened(&error.message), error.code),
            code: Some(error.code),
        }
    }

    pub(crate) fn of_driver(error: &Error) -> Self {
        let (meaning, text) = match &*error.kind {
            ErrorKind::Command(command) => {
                let error = ServerError { code: command.code, message: command.message.clone() };
                return Self::of_server(&error);
            }
            ErrorKind::Authentication { message, .. } => (Cause::Unauthenticated, message.clone()),
            ErrorKind::Io(io) if io.kind() == std::io::ErrorKind::TimedOut => (Cause::TimedOut, io.to_string()),
            ErrorKind::Io(io) => (Cause::Unreachable, io.to_string()),
            ErrorKind::ConnectionPoolCleared { message, .. } => (Cause::Unreachable, message.clone()),
            ErrorKind::ServerSelection { message, .. } if message.contains("None of the available servers") => {
                (Cause::NotPrimary, message.clone())
            }
            ErrorKind::ServerSelection { message, .. } => (Cause::Unreachable, message.clone()),
            ErrorKind::DnsResolve { message, .. } | ErrorKind::InvalidTlsConfig { message, .. } => {
                (Cause::Unreachable, message.clone())
            }
            other => (Cause::UnexpectedAnswer, other.to_string()),
        };
        Self::new(meaning, shortened(&text))
    }

    /// The cause, where an unknown error is to be tried again.
    pub(crate) fn cause(&self) -> Cause {
        match self.meaning {
            Meaning::Cause(cause) => cause,
            Meaning::Duplicate | Meaning::Unknown => Cause::UnexpectedAnswer,
        }
    }

    /// The login was not accepted.
    pub(crate) fn is_refused_login(&self) -> bool {
        self.meaning == Meaning::Cause(Cause::Unauthenticated)
    }

    /// A single document is at fault: the others of its command may pass without it.
    pub(crate) fn is_of_one_document(&self) -> bool {
        match self.meaning {
            Meaning::Cause(cause) => cause.disposition() == Disposition::Park && cause != Cause::InvalidTargetName,
            Meaning::Duplicate | Meaning::Unknown => false,
        }
    }

    /// It may pass within seconds.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(
            self.meaning,
            Meaning::Cause(
                Cause::Throttled
                    | Cause::Unavailable
                    | Cause::Unreachable
                    | Cause::TimedOut
                    | Cause::NotPrimary
                    | Cause::LostRace
            )
        )
    }
}

fn shortened(message: &str) -> String {
    match message.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
        None => message.to_owned(),
    }
}

fn meaning(code: i32, message: &str) -> Meaning {
    Meaning::Cause(match code {
        // DuplicateKey, and its older codes.
        11000 | 11001 | 12582 => return Meaning::Duplicate,

        // NotWritablePrimary, NotPrimaryNoSecondaryOk, NotPrimary of old; InterruptedAtShutdown,
        // InterruptedDueToReplStateChange, NotPrimaryOrSecondary, PrimarySteppedDown, ShutdownInProgress.
        10107 | 13435 | 10058 | 11600 | 11602 | 13436 | 189 | 91 => Cause::NotPrimary,
        // HostUnreachable, HostNotFound and SocketException between the servers themselves;
        // ReadConcernMajorityNotAvailableYet, FailedToSatisfyReadPreference, a shard's or replica's stale view,
        // UnsatisfiableWriteConcern, and codes that the server marks as retryable.
        6 | 7 | 9001 | 134 | 133 | 63 | 150 | 13388 | 70 | 100 | 402 | 453 => Cause::Unavailable,
        // NetworkTimeout, MaxTimeMSExpired, ExceededTimeLimit, WriteConcernTimeout.
        89 | 50 | 262 | 64 => Cause::TimedOut,
        // WriteConflict.
        112 => Cause::LostRace,
        // LockTimeout, LockBusy, ExceededMemoryLimit, TemporarilyUnavailable, admission control, rate limits.
        24 | 46 | 146 | 365 | 433 | 449 | 450 | 462 | 16500 => Cause::Throttled,
        // OutOfDiskSpace, UserWritesBlocked.
        14031 | 371 => Cause::Blocked,
        // UserNotFound, AuthenticationFailed, ReauthenticationRequired.
        11 | 18 | 391 => Cause::Unauthenticated,
        // Unauthorized.
        13 => Cause::Forbidden,
        // AtlasError stands for several.
        8000 if message.contains("auth") => Cause::Unauthenticated,
        8000 if message.contains("quota") => Cause::Blocked,
        8000 => Cause::Forbidden,
        // NamespaceNotFound.
        26 => Cause::TargetMissing,
        // CommandNotFound, CommandNotSupported: another kind of server.
        59 | 115 => Cause::UnexpectedAnswer,

        // DocumentValidationFailure, ImmutableField, ShardKeyNotFound, InvalidBSON, DollarPrefixedFieldName, InvalidDBRef,
        // EmptyFieldName, DottedFieldName, CannotIndexParallelArrays, KeyTooLong, geo keys that cannot be extracted.
        121 | 66 | 61 | 22 | 52 | 55 | 56 | 57 | 171 | 17280 | 16755 | 16756 => Cause::InvalidDocument,
        // Overflow.
        15 => Cause::NestedTooDeeply,
        // BSONObjectTooLarge, and documents that grow beyond the limit.
        10334 | 17419 | 17420 => Cause::DocumentTooLarge,
        // InvalidNamespace, CommandNotSupportedOnView.
        73 | 166 => Cause::InvalidTargetName,
        _ => return Meaning::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(code: i32, message: &str) -> Trouble {
        Trouble::of_server(&ServerError { code, message: message.to_owned() })
    }

    #[test]
    fn every_code_has_its_cause() {
        for (cause, codes) in [
            (Cause::NotPrimary, &[10107, 13435, 10058, 11600, 11602, 13436, 189, 91][..]),
            (Cause::Unavailable, &[6, 7, 9001, 134, 133, 63, 150, 13388, 70, 100, 402, 453]),
            (Cause::TimedOut, &[89, 50, 262, 64]),
            (Cause::LostRace, &[112]),
            (Cause::Throttled, &[24, 46, 146, 365, 433, 449, 450, 462, 16500]),
            (Cause::Blocked, &[14031, 371]),
            (Cause::Unauthenticated, &[11, 18, 391]),
            (Cause::Forbidden, &[13]),
            (Cause::TargetMissing, &[26]),
            (Cause::UnexpectedAnswer, &[59, 115]),
            (Cause::InvalidDocument, &[121, 66, 61, 22, 52, 55, 56, 57, 171, 17280, 16755, 16756]),
            (Cause::NestedTooDeeply, &[15]),
            (Cause::DocumentTooLarge, &[10334, 17419, 17420]),
            (Cause::InvalidTargetName, &[73, 166]),
        ] {
            for &code in codes {
                let trouble = trouble(code, "words");
                assert_eq!(trouble.meaning, Meaning::Cause(cause), "{code}");
                assert_eq!(trouble.text, format!("words (code {code})"));
                let of_document =
                    matches!(cause, Cause::InvalidDocument | Cause::NestedTooDeeply | Cause::DocumentTooLarge);
                assert_eq!(trouble.is_of_one_document(), of_document, "{code}");
                let transient = matches!(
                    cause,
                    Cause::NotPrimary | Cause::Unavailable | Cause::TimedOut | Cause::LostRace | Cause::Throttled
                );
                assert_eq!(trouble.is_transient(), transient, "{code}");
            }
        }
        for code in [11000, 11001, 12582] {
            assert_eq!(trouble(code, "").meaning, Meaning::Duplicate);
        }
        for code in [0, 1, 2, 8, 9, 14, 4242, -5] {
            assert_eq!(trouble(code, "").meaning, Meaning::Unknown);
            assert_eq!(trouble(code, "").cause(), Cause::UnexpectedAnswer);
        }
    }

    #[test]
    fn one_code_of_atlas_stands_for_several_causes() {
        for (message, cause) in [
            ("bad auth : Authentication failed.", Cause::Unauthenticated),
            ("you are over your space quota, using 512 MB of 512 MB", Cause::Blocked),
            ("user is not allowed to do action [update]", Cause::Forbidden),
        ] {
            assert_eq!(trouble(8000, message).meaning, Meaning::Cause(cause));
        }
    }

    #[test]
    fn the_drivers_own_errors() {
        let of_io = |kind: std::io::ErrorKind| Trouble::of_driver(&Error::from(std::io::Error::from(kind))).meaning;
        assert_eq!(of_io(std::io::ErrorKind::ConnectionRefused), Meaning::Cause(Cause::Unreachable));
        assert_eq!(of_io(std::io::ErrorKind::TimedOut), Meaning::Cause(Cause::TimedOut));
        assert_eq!(Trouble::of_driver(&Error::custom("x")).meaning, Meaning::Cause(Cause::UnexpectedAnswer));
    }

    #[test]
    fn long_messages_are_cut() {
        let text = trouble(2, &"é".repeat(5_000)).text;
        assert!(text.chars().count() < 700 && text.contains('…'), "{text}");
    }
}
