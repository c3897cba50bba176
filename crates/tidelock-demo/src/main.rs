//! Shows what Tidelock does: changes of a table reach a target through the real function and a local event source mapping
//! that behaves as Lambda's does.

mod documents;
mod records;
mod screen;

use clap::Parser;
use documents::Store;
use records::{Change, record};
use screen::Screen;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tidelock_local::mapping::{LocalMapping, MappingSettings, OnFailure, Pace, Step};
use tidelock_local::runtime_api::{FunctionSettings, LogRing, LogSink, ProcessFunction};
use tidelock_local::source::file::FileSource;

/// Runs the demonstration.
#[derive(Debug, Parser)]
struct Arguments {
    /// The built function (`dynamodb-sync`).
    #[arg(long)]
    function: PathBuf,
    /// Where documents go: sqlite:PATH, opensearch+http://HOST:PORT or mongodb://HOST:PORT/DATABASE.
    #[arg(long)]
    target: String,
    /// An empty folder for dead letters and on-failure records.
    #[arg(long)]
    folder: PathBuf,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the demonstration failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One step: what happens in the table, and what must stand in the target afterwards.
struct Scene {
    title: &'static str,
    changes: Vec<Change>,
    /// Whether the function has a dead-letter queue.
    queue: bool,
    expected: &'static [(&'static str, &'static str)],
}

fn scenes() -> Vec<Scene> {
    use Change::{Insert, Modify, Poison, Remove};
    const JOHN: (&str, &str) = ("1", r#"{"id":1,"Name":"John","created_at":1588166528}"#);
    const JOHNNY: (&str, &str) = ("1", r#"{"id":1,"Name":"Johnny","created_at":1588166528}"#);
    const CLARE: (&str, &str) = ("2", r#"{"id":2,"Name":"Clare","created_at":1588166535}"#);
    const TOM: (&str, &str) = ("3", r#"{"id":3,"Name":"Tom","created_at":1588166541}"#);
    const THOMAS: (&str, &str) = ("3", r#"{"id":3,"Name":"Thomas","created_at":1588166541}"#);
    const ZOE: (&str, &str) = ("5", r#"{"id":5,"Name":"Zoe","created_at":1588166560}"#);
    vec![
        Scene {
            title: "three items are inserted into the table `mytable`",
            changes: vec![
                Insert(1, "John", 1_588_166_528),
                Insert(2, "Clare", 1_588_166_535),
                Insert(3, "Tom", 1_588_166_541),
            ],
            queue: false,
            expected: &[JOHN, CLARE, TOM],
        },
        Scene {
            title: "one item is modified",
            changes: vec![Modify(1, "Johnny", 1_588_166_528)],
            queue: false,
            expected: &[JOHNNY, CLARE, TOM],
        },
        Scene { title: "one item is removed", changes: vec![Remove(2)], queue: false, expected: &[JOHNNY, TOM] },
        Scene {
            title: "a poison record comes in the middle of a batch, and there is no dead-letter queue",
            changes: vec![Modify(3, "Thomas", 1_588_166_541), Poison(4), Insert(5, "Zoe", 1_588_166_560)],
            queue: false,
            expected: &[JOHNNY, THOMAS, ZOE],
        },
        Scene {
            title: "the same, with a dead-letter queue (here a file)",
            changes: vec![Modify(1, "John", 1_588_166_528), Poison(4), Remove(5)],
            queue: true,
            expected: &[JOHN, THOMAS],
        },
    ]
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let store = Store::open(&arguments.target).await?;
    store.clear().await?;
    let screen = Arc::new(Screen::new());
    let letters = arguments.folder.join("dead-letters.jsonl");
    let failures = arguments.folder.join("on-failure.jsonl");
    let mut sequence = 0;
    for (number, scene) in scenes().into_iter().enumerate() {
        screen.scene(number + 1, scene.title);
        for change in &scene.changes {
            screen.change(&change.to_string());
        }
        let records = scene.changes.iter().map(|change| {
            sequence += 1;
            record(change, sequence)
        });
        let records = records.collect::<Result<Vec<_>, _>>()?;
        let logs = LogRing::new(200);
        let mut settings = FunctionSettings::new(&arguments.function);
        settings.name = "dynamodb-sync".to_owned();
        settings.timeout = Duration::from_secs(20);
        settings.logs = LogSink::Ring(logs.clone());
        settings.environment.insert("TIDELOCK_TARGET".to_owned(), arguments.target.clone());
        if scene.queue {
            settings.environment.insert("TIDELOCK_DEAD_LETTERS".to_owned(), format!("file:{}", letters.display()));
        }
        let function = ProcessFunction::new(settings)?;
        // Two attempts only: a real mapping has no limit but an age.
        let mapping = MappingSettings {
            maximum_retry_attempts: 1,
            bisect_on_error: true,
            report_batch_item_failures: true,
            ..MappingSettings::default()
        };
        let watcher = Arc::clone(&screen);
        let mut mapping = LocalMapping::new(mapping, FileSource::from_records(records), function)?
            .pace(Pace::fast())
            .on_failure(OnFailure::JsonLines(failures.clone()))
            .observer(move |step: &Step<'_>| watcher.step(step));
        mapping.run_until_idle().await?;
        mapping.function().shut_down().await;
        if scene.queue {
            screen.letters(&std::fs::read_to_string(&letters)?);
        }
        let found = store.documents().await?;
        screen.documents(store.place(), &found);
        let expected: Vec<_> =
            scene.expected.iter().map(|&(id, document)| (id.to_owned(), document.to_owned())).collect();
        if !documents::same(&found, &expected) {
            for line in logs.lines() {
                eprintln!("{line}");
            }
            return Err(format!("the target holds {found:?}, it should hold {expected:?}").into());
        }
    }
    screen.end();
    Ok(())
}
