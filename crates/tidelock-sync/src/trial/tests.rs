use super::*;
use crate::source::AnySource;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tidelock_core::batch::Batch;
use tidelock_core::encode::Format;
use tidelock_core::source::dynamodb::{READER, decode, decode_deferred};
use tidelock_core::source::{Decode, EnvelopeError};
use tidelock_lambda::Environment;

fn block_on<F: Future>(future: F) -> F::Output {
    match std::pin::pin!(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("nothing here waits"),
    }
}

fn survives(payload: &[u8]) {
    assert!(!String::from_utf8_lossy(payload).contains("deadly"), "a record that is not survived");
}

/// A reader that does not survive some records. A panic that the runtime catches ends an invocation as a death does.
const DEADLY: Reader = {
    fn read(payload: &[u8], format: Format) -> Result<Batch, EnvelopeError> {
        survives(payload);
        decode(payload, format)
    }
    fn read_deferred(payload: &[u8], format: Format) -> Result<Batch, EnvelopeError> {
        survives(payload);
        decode_deferred(payload, format)
    }
    let (decode, decode_deferred): (Decode, Decode) = (read, read_deferred);
    Reader { decode, decode_with_images: decode, decode_deferred, decode_transformed: None }
};

fn app(letters: &str) -> App<AnySource> {
    let variables = [("TIDELOCK_TARGET", "stdout:"), ("TIDELOCK_STATE", "memory:"), ("TIDELOCK_DEAD_LETTERS", letters)];
    let variables: Environment =
        variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    block_on(App::following(&variables)).expect("valid settings")
}

fn invoke(app: &App<AnySource>, payload: &str, reader: &Reader) -> Option<Result<BatchResponse, Fatal>> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let invocation = Invocation { request_id: "r".to_owned(), deadline };
    catch_unwind(AssertUnwindSafe(|| block_on(app.sync(payload.as_bytes(), &invocation, reader)))).ok()
}

fn event(names: impl IntoIterator<Item = &'static str>) -> String {
    let arn = "arn:aws:dynamodb:us-east-1:1:table/t/stream/2012-01-01T00:00:01.000";
    let record = |(at, name): (usize, &str)| {
        format!(
            r#"{{"eventName":"INSERT","eventSourceARN":"{arn}","dynamodb":{{"Keys":{{"k":{{"N":"{at}"}}}},"NewImage":{{"k":{{"N":"{at}"}},"n":{{"S":"{name}"}}}},"SequenceNumber":"{at}"}}}}"#
        )
    };
    let records: Vec<String> = names.into_iter().enumerate().map(record).collect();
    format!(r#"{{"Records":[{}]}}"#, records.join(","))
}

fn entries(app: &App<AnySource>) -> Vec<String> {
    let state = &app.diary.as_ref().expect("a diary").state;
    block_on(state.names("journal/", Instant::now())).expect("a state in memory")
}

#[test]
fn a_record_that_cannot_even_be_read_becomes_a_letter_of_its_bare_text() {
    let path = std::env::temp_dir().join(format!("tidelock-trial-{}", std::process::id()));
    let app = app(&format!("file:{}", path.display()));
    let good = event(["one", "two"]);
    assert_eq!(invoke(&app, &good, &DEADLY), Some(Ok(BatchResponse::success())));
    assert_eq!(entries(&app), Vec::<String>::new());
    let deadly = event((0..30).map(|at| if at == 17 { "deadly" } else { "good" }));
    assert_eq!(invoke(&app, &deadly, &DEADLY), None, "not written down: the environment was warm");
    assert_eq!(entries(&app), Vec::<String>::new());
    let mut deaths = 0;
    let answer = loop {
        match invoke(&app, &deadly, &DEADLY) {
            None => deaths += 1,
            Some(answer) => break answer,
        }
        assert_eq!(entries(&app).len(), 1);
        assert!(deaths < 10);
    };
    // The batch, its part, the record twice by itself, and its letter.
    assert_eq!((answer, deaths), (Ok(BatchResponse::success()), 5));
    assert_eq!(entries(&app), Vec::<String>::new());
    let letters = std::fs::read_to_string(&path).expect("letters");
    std::fs::remove_file(path).expect("removed");
    let letters: Vec<serde_json::Value> =
        letters.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(letters.len(), 1, "{letters:?}");
    let letter = letters[0].get("body").unwrap_or(&letters[0]);
    assert_eq!((&letter["reason"], &letter["source"]["kind"]), (&"crashed_function".into(), &"dynamodb".into()));
    assert_eq!(letter["record"]["dynamodb"]["SequenceNumber"], "17");
    assert_eq!((&letter["key"], &letter["version"]), (&serde_json::Value::Null, &serde_json::Value::Null));
}

#[test]
fn an_environment_that_has_seen_a_batch_through_is_trusted() {
    let app = app("file:/dev/null");
    let trusted = || app.diary.as_ref().expect("a diary").trusted.get();
    assert!(!trusted());
    assert!(invoke(&app, "{}", &READER).is_some_and(|answer| answer.is_err()));
    assert_eq!(invoke(&app, &event(["one"]), &READER), Some(Ok(BatchResponse::success())));
    assert!(trusted());
    assert_eq!(invoke(&app, &event(["deadly"]), &DEADLY), None);
    assert!(!trusted(), "nobody knows what state it is in");
    assert_eq!(invoke(&app, &event(["one"]), &READER), Some(Ok(BatchResponse::success())));
    assert!(trusted());
}

#[test]
fn a_letter_that_cannot_be_stored_keeps_the_batch_coming_and_what_has_passed_is_remembered() {
    let app = app("file:/nowhere/letters");
    let deadly = event((0..3).map(|at| if at == 1 { "deadly" } else { "good" }));
    for _ in 0..4 {
        assert_eq!(invoke(&app, &deadly, &DEADLY), None);
    }
    // Without a position the whole batch comes again.
    for _ in 0..2 {
        let answer = invoke(&app, &deadly, &DEADLY).expect("it is orderly");
        assert!(answer.is_err_and(|fatal| fatal.kind == "Tidelock.Batch"));
        assert_eq!(entries(&app).len(), 1);
    }
}
