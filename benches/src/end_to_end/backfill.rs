//! What `tidelock backfill` reads in a second, beside a bare parallel Scan of the same table.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use memchr::memmem;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::servers::host;
use super::{OpenSearch, Target, command, expect_documents};
use crate::function::{Result, resident_memory};
use crate::http::{Client, plain};
use crate::opensearch::stub;
use crate::results::{Backfill, median};
use crate::subjects::Places;

/// Segments of both scans: what the command takes where nothing else is said.
const SEGMENTS: usize = 8;

/// The table that is filled and scanned.
const TABLE: &str = "bench";

/// Items of a BatchWriteItem: the most that DynamoDB takes.
const BATCH: usize = 25;

/// A DynamoDB Local that may hold the table.
pub(crate) struct DynamoDb {
    host: String,
}

impl DynamoDb {
    /// # Errors
    /// A URL other than `http://HOST:PORT`.
    pub(crate) fn new(url: &str) -> Result<Self> {
        Ok(Self { host: host(url)? })
    }

    fn connect(&self) -> Result<Connection> {
        let client = Client::connect(&self.host).map_err(|error| format!("http://{}: {error}", self.host))?;
        Ok(Connection { client })
    }

    /// Fills a new table with small items, some 130 bytes each.
    fn fill(&self, items: usize) -> Result<()> {
        let mut connection = self.connect()?;
        self.drop_table()?;
        let table = json!({
            "TableName": TABLE, "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        });
        connection.expect("CreateTable", &table.to_string())?;
        side_by_side(|worker| {
            let mut connection = self.connect()?;
            for first in (0..items).step_by(BATCH).skip(worker).step_by(SEGMENTS) {
                let puts =
                    (first..items.min(first + BATCH)).map(|number| json!({"PutRequest": {"Item": item(number)}}));
                let request = json!({"RequestItems": {TABLE: puts.collect::<Vec<_>>()}}).to_string();
                let answer: Value = serde_json::from_slice(&connection.expect("BatchWriteItem", &request)?)?;
                if answer["UnprocessedItems"].as_object().is_some_and(|left| !left.is_empty()) {
                    return Err(format!("the table could not be filled: {answer}").into());
                }
            }
            Ok(0)
        })?;
        Ok(())
    }

    fn drop_table(&self) -> Result<()> {
        let answer = self.connect()?.ask("DeleteTable", &json!({"TableName": TABLE}).to_string())?;
        if answer.0 == 200 || memmem::find(&answer.1, b"ResourceNotFoundException").is_some() {
            return Ok(());
        }
        Err(format!("DeleteTable: {}", String::from_utf8_lossy(&answer.1)).into())
    }

    /// Reads all pages of all segments, side by side, and makes nothing of them.
    fn scan(&self) -> Result<usize> {
        side_by_side(|segment| {
            let mut connection = self.connect()?;
            let (mut read, mut from) = (0, None::<String>);
            loop {
                let start = from.map_or(String::new(), |key| format!(r#","ExclusiveStartKey":{key}"#));
                let request =
                    format!(r#"{{"TableName":"{TABLE}","Segment":{segment},"TotalSegments":{SEGMENTS}{start}}}"#);
                let page = connection.expect("Scan", &request)?;
                read += number_after(&page, br#""Count":"#).ok_or("a page without a count")?;
                from = memmem::rfind(&page, br#""LastEvaluatedKey":"#).and_then(|at| key_at(&page[at + 19..]));
                if from.is_none() {
                    return Ok(read);
                }
            }
        })
    }
}

/// A small item.
fn item(number: usize) -> Value {
    json!({
        "id": {"S": format!("item-{number:09}")}, "name": {"S": format!("Name of item {number}")},
        "price": {"N": format!("{}.{:02}", number % 1_000, number % 100)}, "stock": {"N": (number % 500).to_string()},
        "active": {"BOOL": number.is_multiple_of(2)}, "tags": {"SS": ["small", if number.is_multiple_of(3) { "red" } else { "blue" }]},
    })
}

fn number_after(page: &[u8], name: &[u8]) -> Option<usize> {
    let digits = &page[memmem::rfind(page, name)? + name.len()..];
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

/// The key, which is an object of one object, at the beginning of the text.
fn key_at(text: &[u8]) -> Option<String> {
    let end = memmem::find(text, b"}}")? + 2;
    String::from_utf8(text[..end].to_vec()).ok()
}

/// The sum of what each worker returns.
fn side_by_side(work: impl Fn(usize) -> Result<usize> + Sync) -> Result<usize> {
    thread::scope(|scope| {
        let workers: Vec<_> = (0..SEGMENTS)
            .map(|worker| {
                scope.spawn({
                    let work = &work;
                    move || work(worker)
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().map_err(|_| "a worker panicked")?).sum()
    })
}

struct Connection {
    client: Client,
}

impl Connection {
    fn ask(&mut self, operation: &str, body: &str) -> Result<(u16, Vec<u8>)> {
        // DynamoDB Local wants to see a signature, and does not check it.
        let target = format!("DynamoDB_20120810.{operation}");
        let signed = "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0";
        let headers = [("x-amz-target", target.as_str()), ("authorization", signed)];
        let answer = self.client.send_with("POST", "/", &headers, "application/x-amz-json-1.0", body.as_bytes())?;
        Ok((answer.status, answer.body.to_vec()))
    }

    fn expect(&mut self, operation: &str, body: &str) -> Result<Vec<u8>> {
        match self.ask(operation, body)? {
            (200, body) => Ok(body),
            (status, body) => Err(format!("{operation}: {status} {}", String::from_utf8_lossy(&body)).into()),
        }
    }
}

/// What a run of the command has taken.
struct Run {
    seconds: f64,
    cpu: f64,
    /// The most memory seen in each half of the time.
    megabytes: (f64, f64),
}

/// Runs the command into a target.
fn backfill(places: &Places, dynamodb: &DynamoDb, target: &str, items: usize) -> Result<Run> {
    let program = command(places)?;
    let state = places.output.join("backfill.json");
    let began = Instant::now();
    let mut child = Command::new(&program)
        .args(["backfill", TABLE, "--restart", "--json", "--state"])
        .arg(format!("file:{}", state.display()))
        .envs([
            ("TIDELOCK_TARGET", target),
            ("TIDELOCK_PIPELINE", r#"{"version":1,"routes":[{"from":"*","to":"bench"}]}"#),
            ("TIDELOCK_SOURCE", "dynamodb:"),
            ("AWS_ENDPOINT_URL_DYNAMODB", &format!("http://{}", dynamodb.host)),
            ("AWS_ACCESS_KEY_ID", "bench"),
            ("AWS_SECRET_ACCESS_KEY", "bench"),
            ("AWS_REGION", "us-east-1"),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(child.id())?))?;
    // Each with its time: how much of the whole that is only the end tells.
    let mut seen = Vec::new();
    let mut cpu = Duration::ZERO;
    while child.try_wait()?.is_none() {
        if let (Ok(memory), Ok(used)) = (resident_memory(child.id()), clock_gettime(clock)) {
            seen.push((began.elapsed(), memory as f64 / 1e6));
            cpu = used.into();
        }
        thread::sleep(Duration::from_millis(20));
    }
    let seconds = began.elapsed();
    let output = child.wait_with_output()?;
    let told: Value = serde_json::from_slice(&output.stdout)?;
    if told["counts"]["written"].as_u64() != Some(items as u64) {
        return Err(format!("{items} items were there, and backfill says {told}").into());
    }
    let most = |from: Duration, to: Duration| {
        let within = seen.iter().filter(|(at, _)| (from..to).contains(at));
        within.map(|(_, memory)| *memory).fold(0.0, f64::max)
    };
    let megabytes = (most(Duration::ZERO, seconds / 2), most(seconds / 2, seconds));
    Ok(Run { seconds: seconds.as_secs_f64(), cpu: cpu.as_secs_f64(), megabytes })
}

/// Measures `rounds` pairs of a bare scan and a backfill into a stub, and one backfill into the real server.
pub(crate) fn run(
    places: &Places,
    dynamodb: &DynamoDb,
    server: Option<&OpenSearch>,
    items: usize,
    rounds: usize,
) -> Result<Backfill> {
    std::fs::create_dir_all(&places.output)?;
    eprintln!("backfill: filling a table with {items} items");
    dynamodb.fill(items)?;
    let stub = stub(plain())?;
    let target = format!("opensearch+http://{}", stub.address());
    let (mut bare, mut filled, mut ratios, mut last) = (Vec::new(), Vec::new(), Vec::new(), None);
    for round in 1..=rounds {
        let began = Instant::now();
        let read = dynamodb.scan()?;
        if read != items {
            return Err(format!("a bare scan reads {read} of {items} items").into());
        }
        let scan = began.elapsed().as_secs_f64();
        let run = backfill(places, dynamodb, &target, items)?;
        eprintln!(
            "backfill: round {round} of {rounds}: scan {scan:.1} s, backfill {:.1} s, CPU {:.1} s, {:?} MB",
            run.seconds, run.cpu, run.megabytes
        );
        bare.push(items as f64 / scan);
        filled.push(items as f64 / run.seconds);
        ratios.push(scan / run.seconds);
        last = Some(run);
    }
    let run = last.ok_or("no round was run")?;
    let real = match server {
        None => None,
        Some(server) => {
            server.fresh()?;
            let real = backfill(places, dynamodb, &server.setting(), items)?;
            expect_documents(server, items as u64)?;
            Some(items as f64 / real.seconds)
        }
    };
    dynamodb.drop_table()?;
    Ok(Backfill {
        items,
        rounds,
        scanned_per_second: median(&bare),
        items_per_second: median(&filled),
        ratio: median(&ratios),
        micros: run.cpu * 1e6 / items as f64,
        first_half_megabytes: run.megabytes.0,
        second_half_megabytes: run.megabytes.1,
        opensearch_per_second: real,
    })
}
