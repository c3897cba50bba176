//! How long `tidelock deadletters list` takes.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Load, command};
use crate::corpus::{Batch, Shape};
use crate::function::{Function, Result};
use crate::results::{Letters, median};
use crate::sqs::Sqs;
use crate::subjects::{Places, TIDELOCK, tidelock};

/// What a request for ten messages takes in SQS's own region, roughly.
const DELAY: Duration = Duration::from_millis(20);

/// No record has the field that its index is named after.
const REFUSES: &str = r#"{"version":1,"routes":[{"from":"*","to":"bench-{absent}"}]}"#;

/// Lists `count` letters, which the function has written itself.
pub(crate) fn run(places: &Places, shape: &Shape, count: usize, rounds: usize) -> Result<Letters> {
    let shape = Shape { delete_share: 0.0, hot_share: 0.0, ..shape.clone() };
    let load = Load::new(&shape, count, Batch::Records(500))?;
    let mut seconds = Vec::new();
    for round in 1..=rounds {
        let sqs = Sqs::start(DELAY)?;
        let settings = [
            ("TIDELOCK_TARGET", "stdout:".to_owned()),
            ("TIDELOCK_PIPELINE", REFUSES.to_owned()),
            ("TIDELOCK_DEAD_LETTERS", sqs.queue()),
            ("AWS_ENDPOINT_URL_SQS", sqs.url()),
        ];
        let mut function = Function::start(&tidelock(places, TIDELOCK, "Tidelock", &settings).launch, &places.logs())?;
        for event in &load.events {
            function.invoke(event)?;
        }
        let began = Instant::now();
        let output = Command::new(command(places)?)
            .args(["deadletters", "list", "--json", "--queue", &sqs.queue()])
            .env("AWS_ENDPOINT_URL_SQS", sqs.url())
            .envs([("AWS_ACCESS_KEY_ID", "bench"), ("AWS_SECRET_ACCESS_KEY", "bench"), ("AWS_REGION", "us-east-1")])
            .stdin(Stdio::null())
            .output()?;
        let taken = began.elapsed().as_secs_f64();
        let listed = output.stdout.iter().filter(|byte| **byte == b'\n').count();
        if !output.status.success() || listed != load.records {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("{listed} of {} letters were listed: {said}", load.records).into());
        }
        eprintln!("letters: round {round} of {rounds}: {listed} listed in {taken:.2} s");
        seconds.push(taken);
    }
    Ok(Letters { letters: load.records, rounds, seconds: median(&seconds) })
}
