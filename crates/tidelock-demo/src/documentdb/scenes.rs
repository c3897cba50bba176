//! The scenes. Each of them sends real requests, and waits for what must come of them.

use crate::client::{self, Answer};
use crate::stack::{COLLECTION, DATABASE, PATIENCE, Progress, Stack};
use crate::{Arguments, Failure, stores};
use serde_json::{Value, json};
use std::fmt::Display;
use std::time::{Duration, Instant};
use tidelock_demo::Terminal;

/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(200);

/// The demonstration on its way.
struct Play<'a> {
    arguments: &'a Arguments,
    stack: Stack,
    terminal: Terminal,
    scenes: usize,
    /// Documents written, changed and deleted so far: each is one change event.
    written: u64,
    /// What the mapping had done when it was last told of.
    told: Progress,
}

/// Plays all scenes.
///
/// # Errors
/// The first thing that is not as it must be.
pub(crate) async fn play(arguments: &Arguments) -> Result<(), Failure> {
    let stack = Stack::start(arguments).await?;
    let (terminal, told) = (Terminal::new(), Progress::default());
    let mut play = Play { arguments, stack, terminal, scenes: 0, written: 0, told };
    let played = play.all().await;
    if played.is_err() {
        eprint!("{}", play.stack.logs());
    }
    played
}

impl Play<'_> {
    async fn all(&mut self) -> Result<(), Failure> {
        self.config().await?;
        let (john, clare) = self.first_documents().await?;
        self.changes(&john, &clare).await?;
        let poison = self.poison().await?;
        self.corrected(&poison).await?;
        self.outage(&john).await?;
        self.compare().await
    }

    async fn config(&mut self) -> Result<(), Failure> {
        self.scene("change streams are enabled");
        let wish = json!({"database": DATABASE, "collection": COLLECTION, "enable": true});
        let answer = self.send(200, "POST", "/config", &wish).await?;
        ensure(answer.body["enabled"] == true, || format!("change streams are not enabled: {}", answer.body))
    }

    async fn first_documents(&mut self) -> Result<(String, String), Failure> {
        self.scene("three documents are posted, and found");
        let john = self.post(&json!({"name": "John", "since": 2020})).await?;
        let clare = self.post(&json!({"name": "Clare", "since": 2013})).await?;
        self.post(&json!({"name": "Tom", "since": 2006})).await?;
        self.settle().await?;
        self.find("/demo-data", &["Clare", "John", "Tom"]).await?;
        Ok((john, clare))
    }

    async fn changes(&mut self, john: &str, clare: &str) -> Result<(), Failure> {
        self.scene("one is replaced, one is deleted");
        self.put(john, &json!({"name": "Johnny", "since": 2021})).await?;
        self.send(200, "DELETE", &format!("/demo-data/{clare}"), &Value::Null).await?;
        self.written += 1;
        self.settle().await?;
        self.find("/demo-data", &["Johnny", "Tom"]).await?;
        self.find("/demo-data?q=johnny", &["Johnny"]).await?;
        self.find("/demo-data?q=clare", &[]).await
    }

    async fn poison(&mut self) -> Result<[String; 2], Failure> {
        self.scene("two of four documents cannot be indexed: they stop nobody");
        self.post(&json!({"name": "Grace", "since": 2014})).await?;
        let mallory = self.post(&json!({"name": "Mallory", "since": "nobody knows"})).await?;
        let trent = self.post(&json!({"name": "Trent", "since": {"$numberDouble": "NaN"}})).await?;
        self.post(&json!({"name": "Heidi", "since": 2007})).await?;
        self.settle().await?;
        self.find("/demo-data", &["Grace", "Heidi", "Johnny", "Tom"]).await?;
        let letters = lines(&self.stack.letters)?;
        for letter in &letters {
            let text = format!("{}: {}", plain(&letter["reason"]), plain(&letter["detail"]));
            self.say("letter", self.terminal.paint("33", &text));
        }
        let mut reasons: Vec<_> = letters.iter().map(|letter| plain(&letter["reason"])).collect();
        reasons.sort();
        ensure(reasons == ["mapping_conflict", "unrepresentable_value"], || format!("dead letters: {letters:?}"))?;
        Ok([mallory, trent])
    }

    async fn corrected(&mut self, [mallory, trent]: &[String; 2]) -> Result<(), Failure> {
        self.scene("they are corrected, and arrive");
        self.put(mallory, &json!({"name": "Mallory", "since": 1999})).await?;
        self.put(trent, &json!({"name": "Trent", "since": 2001})).await?;
        self.settle().await?;
        self.find("/demo-data", &["Grace", "Heidi", "Johnny", "Mallory", "Tom", "Trent"]).await
    }

    async fn outage(&mut self, john: &str) -> Result<(), Failure> {
        self.scene("OpenSearch is stopped, and documents are written on");
        stores::open_search(self.arguments, "stop").await?;
        self.say("OpenSearch", self.terminal.paint("31", "is stopped"));
        self.send(503, "GET", "/demo-data", &Value::Null).await?;
        self.post(&json!({"name": "Ivan", "since": 2023})).await?;
        self.post(&json!({"name": "Judy", "since": 2024})).await?;
        self.put(john, &json!({"name": "John", "since": 2022})).await?;
        self.settle().await?;
        let held = lines(&self.stack.held)?;
        let reasons: Vec<_> = held.iter().map(|pack| plain(&pack["reason"])).collect();
        self.say("queue", format!("holds {} message(s), reason {}", held.len(), reasons.join(", ")));
        ensure(!held.is_empty(), || "nothing is held".to_owned())?;

        self.scene("OpenSearch is started again, and `redrive` is invoked");
        stores::open_search(self.arguments, "up").await?;
        self.say("OpenSearch", self.terminal.paint("32", "is started"));
        let told = self.redrive("fallback", &json!({"redrive": ["fallback"]})).await?;
        ensure(told["applied"] == 3, || format!("three changes were held, and of them are applied {told}"))?;
        let left = lines(&self.stack.held)?;
        ensure(left.is_empty(), || format!("what is still held: {left:?}"))?;
        self.find("/demo-data", &["Grace", "Heidi", "Ivan", "John", "Judy", "Mallory", "Tom", "Trent"]).await
    }

    async fn compare(&mut self) -> Result<(), Failure> {
        let (expected, found) = (stores::collection(self.arguments).await?, stores::index(self.arguments).await?);
        ensure(!expected.is_empty() && found == expected, || {
            format!("the index holds {found:?}, and the collection {expected:?}")
        })?;
        let progress = self.stack.progress();
        ensure(progress.events == self.written && progress.failed == 0, || {
            format!("the mapping has done {progress:?}")
        })?;
        let text = format!(
            "The index equals the collection: {} documents after {} changes, and no batch has failed.",
            found.len(),
            self.written
        );
        println!("\n{}", self.terminal.paint("1", &text));
        Ok(())
    }

    fn scene(&mut self, title: &str) {
        self.scenes += 1;
        self.terminal.scene(self.scenes, title);
    }

    fn say(&self, who: &str, what: impl Display) {
        println!("   {who:<10} {what}");
    }

    /// Sends a request to the API, and shows it with its answer.
    async fn send(&self, expected: u16, method: &str, path: &str, body: &Value) -> Result<Answer, Failure> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.say(method, format!("{path} {body}").trim_end());
        let answer = client::send(&self.stack.api, method, path, &body).await?;
        self.say("", format!("{} {}", answer.status, self.terminal.paint("36", &answer.text)));
        ensure(answer.status == expected, || format!("{method} {path} must be answered with {expected}: {answer:?}"))?;
        Ok(answer)
    }

    /// Posts a document; its id.
    async fn post(&mut self, document: &Value) -> Result<String, Failure> {
        let answer = self.send(201, "POST", "/demo-data", document).await?;
        self.written += 1;
        Ok(plain(&answer.body["id"]))
    }

    async fn put(&mut self, id: &str, document: &Value) -> Result<(), Failure> {
        self.send(200, "PUT", &format!("/demo-data/{id}"), document).await?;
        self.written += 1;
        Ok(())
    }

    /// Waits until the change stream has brought everything that was written.
    async fn settle(&mut self) -> Result<(), Failure> {
        let now = self.stack.settled(self.written).await?;
        let (invocations, events) = (now.invocations - self.told.invocations, now.events - self.told.events);
        let failed = now.failed - self.told.failed;
        let text =
            format!("has invoked documentdb-sync {invocations} time(s): {events} changes done, {failed} failures");
        self.say("mapping", text);
        self.told = now;
        Ok(())
    }

    /// Asks the API until it finds the documents of these names, and no others.
    async fn find(&self, path: &str, names: &[&str]) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            let answer = client::send(&self.stack.api, "GET", path, "").await?;
            let documents = answer.body["documents"].as_array().cloned().unwrap_or_default();
            let mut found: Vec<_> = documents.iter().map(|found| plain(&found["document"]["name"])).collect();
            found.sort();
            if answer.status == 200 && found == names {
                self.say("GET", path);
                self.say("", format!("200, {} document(s)", found.len()));
                for document in &documents {
                    let text = self.terminal.paint("32", &document["document"].to_string());
                    self.say("", format!("  {} {text}", plain(&document["id"])));
                }
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("GET {path} must find {names:?}: {} {}", answer.status, answer.body).into());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Invokes `redrive`; what it says of the queue. Nothing may be parked or left waiting.
    async fn redrive(&self, queue: &str, request: &Value) -> Result<Value, Failure> {
        self.say("redrive", request);
        let answer = self.stack.redrive(request).await?;
        let told = &answer["redriven"][queue];
        let count = |name: &str| told[name].as_u64().unwrap_or_default();
        let text = format!(
            "{} applied, {} stale, {} left",
            count("applied"),
            count("stale"),
            count("kept") + count("waiting")
        );
        self.say("", self.terminal.paint("36", &text));
        let parked = told["parked"].as_object().is_none_or(|parked| !parked.is_empty());
        ensure(!parked && count("kept") + count("waiting") == 0, || format!("redrive of {queue}: {answer}"))?;
        Ok(told.clone())
    }
}

/// The messages of a queue that is a file.
fn lines(path: &std::path::Path) -> Result<Vec<Value>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}
