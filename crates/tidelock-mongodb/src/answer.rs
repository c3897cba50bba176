//! Answers of `insert`, `update` and `delete`.
//!
//! Form: [write command output](https://www.mongodb.com/docs/manual/reference/command/update/#output). An answer that is
//! `ok` may still hold errors of single statements, or say that the write concern was not met.

use mongodb::bson::{Bson, Document};

/// An error of one statement, or of the write concern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerError {
    pub(crate) code: i32,
    pub(crate) message: String,
}

/// An answer that fits what was sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// How many statements have changed, inserted or removed a document, or have found it as it was to become.
    pub(crate) n: usize,
    /// By statement: its error, if it has one.
    pub(crate) errors: Vec<Option<ServerError>>,
    /// Why the write concern was not met.
    pub(crate) concern: Option<ServerError>,
}

impl Answer {
    /// Reads the answer to a command of `sent` statements.
    ///
    /// # Errors
    /// What about the answer does not fit.
    pub(crate) fn read(answer: &Document, sent: usize) -> Result<Self, String> {
        let n = answer
            .get("n")
            .and_then(integer)
            .and_then(|n| usize::try_from(n).ok())
            .ok_or("the answer has no count `n`")?;
        let mut errors = vec![None; sent];
        let listed = match answer.get("writeErrors") {
            None | Some(Bson::Null) => &[][..],
            Some(Bson::Array(listed)) => listed,
            Some(_) => return Err("`writeErrors` is no list".to_owned()),
        };
        for error in listed {
            let error = error.as_document().ok_or("`writeErrors` holds something else than errors")?;
            let index = error.get("index").and_then(integer).and_then(|index| usize::try_from(index).ok());
            let slot =
                index.and_then(|index| errors.get_mut(index)).ok_or("an error names a statement that was not sent")?;
            if slot.replace(server_error(error)?).is_some() {
                return Err("a statement has two errors".to_owned());
            }
        }
        let good = sent - listed.len();
        if n > good {
            return Err(format!("the answer counts {n} writes of {good} statements without an error"));
        }
        let concern = match answer.get("writeConcernError") {
            None | Some(Bson::Null) => None,
            Some(Bson::Document(error)) => Some(server_error(error)?),
            Some(_) => return Err("`writeConcernError` is no error".to_owned()),
        };
        Ok(Self { n, errors, concern })
    }
}

fn server_error(error: &Document) -> Result<ServerError, String> {
    let code =
        error.get("code").and_then(integer).and_then(|code| i32::try_from(code).ok()).ok_or("an error has no code")?;
    Ok(ServerError { code, message: error.get_str("errmsg").unwrap_or_default().to_owned() })
}

/// A whole number in whichever numeric type the server likes.
fn integer(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        Bson::Double(number) if number.fract() == 0.0 && number.abs() < 1e15 => Some(*number as i64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongodb::bson::doc;

    fn error(code: i32) -> ServerError {
        ServerError { code, message: "m".to_owned() }
    }

    #[test]
    fn reads_counts_and_errors_by_statement() {
        let answer = doc! {"n": 3_i64, "nModified": 1, "ok": 1.0, "upserted": [{"index": 1, "_id": "b"}]};
        assert_eq!(Answer::read(&answer, 3), Ok(Answer { n: 3, errors: vec![None, None, None], concern: None }));
        let answer = doc! {"n": 1.0, "writeErrors": [{"index": 2, "code": 11000, "errmsg": "m", "keyPattern": {"_id": 1}}, {"index": 0_i64, "code": 121.0, "errmsg": "m"}]};
        let errors = vec![Some(error(121)), None, Some(error(11000))];
        assert_eq!(Answer::read(&answer, 3), Ok(Answer { n: 1, errors, concern: None }));
        let answer =
            doc! {"n": 0, "writeErrors": Bson::Null, "writeConcernError": {"code": 64, "errmsg": "m", "errInfo": {}}};
        assert_eq!(Answer::read(&answer, 1), Ok(Answer { n: 0, errors: vec![None], concern: Some(error(64)) }));
    }

    #[test]
    fn what_does_not_fit_is_no_answer() {
        for answer in [
            doc! {},
            doc! {"ok": 1},
            doc! {"n": "2"},
            doc! {"n": -1},
            doc! {"n": 1.5},
            doc! {"n": 3},
            doc! {"n": 2, "writeErrors": [{"index": 0, "code": 1}]},
            doc! {"n": 0, "writeErrors": [{"index": 2, "code": 1}]},
            doc! {"n": 0, "writeErrors": [{"index": -1, "code": 1}]},
            doc! {"n": 0, "writeErrors": [{"code": 1}]},
            doc! {"n": 0, "writeErrors": [{"index": 0, "errmsg": "no code"}]},
            doc! {"n": 0, "writeErrors": [{"index": 0, "code": 1}, {"index": 0, "code": 1}]},
            doc! {"n": 0, "writeErrors": ["x"]},
            doc! {"n": 0, "writeErrors": {"index": 0, "code": 1}},
            doc! {"n": 2, "writeConcernError": "x"},
            doc! {"n": 2, "writeConcernError": {}},
        ] {
            assert!(Answer::read(&answer, 2).is_err(), "{answer}");
        }
    }
}
