//! Measures the built functions as whole processes: a Runtime API feeds them, stubs stand for their targets, and their
//! processor time and memory are read from outside. Handlers in Node and Python run beside them in the same rounds.

mod bars;
mod chart;
mod corpus;
mod end_to_end;
mod exchanges;
mod function;
mod http;
mod image;
mod measure;
mod mongodb;
mod opensearch;
mod processors;
mod random;
mod report;
mod results;
mod runtime_api;
mod sqs;
mod subjects;
mod tls;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Args, Parser, Subcommand};

use corpus::{Batch, Corpus, Shape, Source, Step};
use end_to_end::backfill::DynamoDb;
use end_to_end::{MongoDb, OpenSearch};
use function::Result;
use measure::Effort;
use results::{Conditions, Results};
use subjects::{Places, Stubs, Subject};

/// Measures the built functions as whole processes, without changing them.
#[derive(Debug, Parser)]
#[command(name = "tidelock-bench")]
struct Cli {
    #[command(subcommand)]
    command: What,
    /// Rounds in which the subjects take turns; figures are medians over them.
    #[arg(long, global = true)]
    rounds: Option<usize>,
    /// Few rounds of few records: shows that everything runs, not how fast.
    #[arg(long, global = true)]
    quick: bool,
    /// Only subjects whose name contains this text.
    #[arg(long, global = true, default_value = "")]
    only: String,
    /// The function to measure.
    #[arg(long, global = true, default_value = "target/lambda/dynamodb-sync/bootstrap")]
    function: PathBuf,
    /// The cache folder that benches/peers/install.sh has installed the handlers into [default: ~/.cache/tidelock].
    #[arg(long, global = true, env = "TIDELOCK_CACHE")]
    cache: Option<PathBuf>,
    /// Folder for results and logs.
    #[arg(long, global = true, default_value = "target/bench")]
    output: PathBuf,
    #[command(flatten)]
    corpus: CorpusArguments,
}

#[derive(Debug, Args)]
struct CorpusArguments {
    /// Seed of the generated changes.
    #[arg(long, global = true, default_value_t = 1)]
    seed: u64,
    /// Share of REMOVE among the changes.
    #[arg(long, global = true, default_value_t = 0.1)]
    deletes: f64,
    /// Share of the changes that fall on ten hot keys [default: 0; 0.2 end to end].
    #[arg(long, global = true)]
    hot: Option<f64>,
    /// Distance of neighbouring sequence numbers.
    #[arg(long, global = true, value_enum, default_value_t = Step::Wide)]
    step: Step,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Everything; what goes into real servers only when they are named.
    All(ServerArguments),
    /// Processor time per record and batch size.
    Cpu,
    /// Init and first invocation of fresh processes.
    Cold,
    /// Peak memory of fresh processes.
    Memory,
    /// Size of the artifacts and of their zip files.
    Size,
    /// Changes per second into a real OpenSearch beside the ceiling.
    EndToEnd(ServerArguments),
    /// What guards and fences cost end to end, and how often a write has to be judged.
    Guards(ServerArguments),
    /// What records that the target refuses take from the rate of a change stream; without a server into a stub.
    Poison(ServerArguments),
    /// What draining held changes costs beside writing them as they come.
    Drain(ServerArguments),
    /// What a backfill reads in a second beside a bare parallel Scan.
    Backfill(ServerArguments),
    /// How long a change of a collection takes until a real OpenSearch shows it.
    Latency(ServerArguments),
    /// How long listing dead letters takes.
    Letters,
    /// How long checking a file and explaining an event take.
    Answers,
    /// Prints one event of the corpus.
    Event {
        /// Records of the event.
        #[arg(long, default_value_t = 500)]
        records: usize,
        /// Whose change stream it is.
        #[arg(long, value_enum, default_value_t = Source::DynamoDb)]
        source: Source,
    },
    /// Runs as a function that makes the exchanges of an invocation and does nothing else.
    #[command(hide = true)]
    Exchanges {
        /// `HOST:PORT` of the target.
        target: String,
        /// `HOST:PORT` of the Runtime API.
        #[arg(long, env = "AWS_LAMBDA_RUNTIME_API")]
        api: String,
    },
    /// Writes the last results into the page and its chart.
    Report {
        /// The page, with markers around its tables; the chart goes beside it.
        #[arg(long, default_value = "docs/performance.md")]
        page: PathBuf,
    },
}

#[derive(Debug, Args)]
struct ServerArguments {
    /// `http://HOST:PORT` of an OpenSearch that nothing else uses: the indices `bench`, `bench-…` and `tidelock-fences` are deleted.
    #[arg(long, env = "TIDELOCK_TEST_OPENSEARCH")]
    opensearch: Option<String>,
    /// Connection string of a MongoDB or FerretDB, with `authSource` if it names a user: the database `bench` is dropped.
    #[arg(long, env = "TIDELOCK_TEST_FERRETDB", hide_env_values = true)]
    mongodb: Option<String>,
    /// `http://HOST:PORT` of a DynamoDB Local: the table `bench` is deleted and made again.
    #[arg(long, env = "TIDELOCK_TEST_DYNAMODB")]
    dynamodb: Option<String>,
    /// Connection string of a server with change streams, such as SecantusDB: the database `bench` is dropped.
    #[arg(long, env = "TIDELOCK_TEST_SECANTUSDB", hide_env_values = true)]
    cluster: Option<String>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidelock-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let file = cli.output.join("results.json");
    let mut results = Results::load(&file)?;
    match &cli.command {
        What::Event { records, source } => return print_event(cli, *records, *source),
        What::Report { page } => return write_report(&results, page),
        What::Exchanges { target, api } => return exchanges::run(api, target),
        _ => {}
    }
    measure(cli, &places(cli)?, &mut results, &file)?;
    println!("{}", report::tables(&results));
    eprintln!("results in {}", file.display());
    Ok(())
}

/// Runs what the command asks for. Every part is saved when it is done: a later one may fail.
fn measure(cli: &Cli, places: &Places, results: &mut Results, file: &Path) -> Result<()> {
    let shape = shape(cli, 0.0)?;
    let effort = effort(cli);
    let found = conditions();
    let Conditions { opensearch, mongodb, .. } = std::mem::take(&mut results.conditions);
    results.conditions = Conditions { opensearch, mongodb, ..found };
    let stubs = Stubs::start(places)?;
    let all = matches!(cli.command, What::All(_));
    let chosen = chosen(cli, &stubs, places)?;
    let without = |left_out: fn(&Subject) -> bool| {
        chosen.iter().filter(|subject| !left_out(subject)).cloned().collect::<Vec<_>>()
    };
    // A bundle differs from its sources only in cold starts and sizes.
    let warm = without(|subject| subject.id == subjects::NODE_BUNDLED);
    let whole = without(Subject::is_variant);
    if all || matches!(cli.command, What::Cpu) {
        results.cpu = measure::cpu(&warm, places, &shape, effort)?;
        results.save(file)?;
    }
    let any = !whole.is_empty();
    if any && (all || matches!(cli.command, What::Cold)) {
        let starts = if cli.quick { 3 } else { 3 * effort.rounds };
        results.cold = measure::cold(&whole, places, &shape, starts)?;
        results.save(file)?;
    }
    if any && (all || matches!(cli.command, What::Memory)) {
        let subjects = without(|subject| subject.id == subjects::NODE_BUNDLED || subject.is_variant());
        results.memory = measure::memory(&subjects, places, &shape, effort)?;
        results.save(file)?;
    }
    if any && (all || matches!(cli.command, What::Size)) {
        results.size = measure::size(&whole)?;
        results.save(file)?;
    }
    if let What::All(servers) | What::EndToEnd(servers) | What::Guards(servers) = &cli.command {
        let guards = !matches!(cli.command, What::EndToEnd(_));
        if servers.opensearch.is_none() && !all && !(guards && servers.mongodb.is_some()) {
            let other = if guards { ", --mongodb mongodb://HOST:PORT or TIDELOCK_TEST_FERRETDB" } else { "" };
            let text = format!("name a server: --opensearch http://HOST:PORT or TIDELOCK_TEST_OPENSEARCH{other}");
            return Err(text.into());
        }
        let ceiling = !matches!(cli.command, What::Guards(_));
        match &servers.opensearch {
            Some(url) => into_opensearch(cli, places, url, (ceiling, guards), results, file)?,
            None => eprintln!("a real OpenSearch is left out: TIDELOCK_TEST_OPENSEARCH names none"),
        }
        match &servers.mongodb {
            Some(uri) if guards => into_mongodb(cli, places, uri, results)?,
            None if guards => eprintln!("a real MongoDB is left out: TIDELOCK_TEST_FERRETDB names none"),
            _ => {}
        }
    }
    if let What::All(servers) | What::Poison(servers) = &cli.command {
        let server = servers.opensearch.as_deref().map(OpenSearch::new).transpose()?;
        if places.beside("documentdb-sync").exists() {
            let shape = self::shape(cli, 0.2)?;
            let found = end_to_end::poison::run(places, server.as_ref(), &shape, effort.records, effort.pairs)?;
            results.poison = Some(found);
            results.save(file)?;
        } else {
            eprintln!("poison is left out: {} is missing", places.beside("documentdb-sync").display());
        }
    }
    if let What::All(servers) | What::Latency(servers) = &cli.command {
        match (&servers.cluster, &servers.opensearch) {
            (Some(cluster), Some(url)) => results.latency = timed(cli, places, cluster, url)?,
            _ => eprintln!("latency is left out: TIDELOCK_TEST_SECANTUSDB or TIDELOCK_TEST_OPENSEARCH names no server"),
        }
        results.save(file)?;
    }
    if let What::All(servers) | What::Drain(servers) = &cli.command {
        match &servers.opensearch {
            Some(url) => results.drain = Some(drained(cli, places, url)?),
            None => eprintln!("draining is left out: TIDELOCK_TEST_OPENSEARCH names no server"),
        }
    }
    if all || matches!(cli.command, What::Letters) {
        let (letters, rounds) = if cli.quick { (500, 1) } else { (10_000, cli.rounds.unwrap_or(3).max(1)) };
        results.letters = Some(end_to_end::letters::run(places, &shape, letters, rounds)?);
    }
    if all || matches!(cli.command, What::Answers) {
        let (sizes, rounds) = if cli.quick { ((100, 50), 1) } else { ((1_000, 1_000), 3 * effort.rounds) };
        results.answers = Some(end_to_end::answers::run(places, &shape, sizes, rounds)?);
    }
    if let What::All(servers) | What::Backfill(servers) = &cli.command {
        results.save(file)?;
        match &servers.dynamodb {
            Some(url) => results.backfill = Some(filled(cli, places, url, servers.opensearch.as_deref())?),
            None => eprintln!("backfill is left out: TIDELOCK_TEST_DYNAMODB names no server"),
        }
    }
    results.save(file)
}

fn filled(cli: &Cli, places: &Places, url: &str, opensearch: Option<&str>) -> Result<results::Backfill> {
    let (dynamodb, server) = (DynamoDb::new(url)?, opensearch.map(OpenSearch::new).transpose()?);
    let (items, rounds) = if cli.quick { (20_000, 1) } else { (1_000_000, cli.rounds.unwrap_or(3).max(1)) };
    end_to_end::backfill::run(places, &dynamodb, server.as_ref(), items, rounds)
}

fn timed(cli: &Cli, places: &Places, cluster: &str, url: &str) -> Result<Vec<results::Latency>> {
    let changes = if cli.quick { 20 } else { 100 };
    end_to_end::latency::run(places, cluster, &OpenSearch::new(url)?, changes, cli.corpus.seed)
}

fn drained(cli: &Cli, places: &Places, url: &str) -> Result<results::Drain> {
    let (server, shape) = (OpenSearch::new(url)?, shape(cli, 0.2)?);
    let (changes, rounds) = if cli.quick { (5_000, 1) } else { (100_000, cli.rounds.unwrap_or(3).max(1)) };
    end_to_end::drain::run(places, &server, &shape, changes, rounds)
}

fn into_opensearch(
    cli: &Cli,
    places: &Places,
    url: &str,
    (ceiling, guards): (bool, bool),
    results: &mut Results,
    file: &Path,
) -> Result<()> {
    let (server, shape, effort) = (OpenSearch::new(url)?, shape(cli, 0.2)?, effort(cli));
    results.conditions.opensearch = server.version()?;
    if ceiling {
        // A server's own moods outweigh a function's.
        let rounds = if cli.quick { effort.rounds } else { 3 * effort.rounds };
        results.end_to_end = end_to_end::ceiling::run(places, &server, &shape, effort.records, rounds)?;
        results.save(file)?;
    }
    if guards {
        let cost = end_to_end::guards::run(places, &server, bars::OPENSEARCH, &shape, effort.records, effort.pairs)?;
        results.set_guards(cost);
        results.save(file)?;
        results.conflicts = end_to_end::conflicts::run(places, &server, &shape, effort.records)?;
        results.save(file)?;
    }
    Ok(())
}

fn into_mongodb(cli: &Cli, places: &Places, uri: &str, results: &mut Results) -> Result<()> {
    let (server, shape, effort) = (MongoDb::new(uri)?, shape(cli, 0.2)?, effort(cli));
    results.conditions.mongodb = server.version()?;
    let cost = end_to_end::guards::run(places, &server, bars::MONGODB, &shape, effort.records, effort.pairs)?;
    results.set_guards(cost);
    server.drop_database()
}

/// Subjects that are there and asked for.
fn chosen(cli: &Cli, stubs: &Stubs, places: &Places) -> Result<Vec<Subject>> {
    let (present, absent) = stubs.subjects(places);
    for text in absent {
        eprintln!("left out: {text}");
    }
    let chosen = present.into_iter().filter(|subject| subject.id.contains(&cli.only)).collect::<Vec<_>>();
    if chosen.iter().all(|subject| subject.id == subjects::EXCHANGES) {
        return Err("nothing to measure: build the functions, or run benches/peers/install.sh".into());
    }
    Ok(chosen)
}

fn places(cli: &Cli) -> Result<Places> {
    let cache = match &cli.cache {
        Some(folder) => folder.clone(),
        None => std::env::home_dir()
            .ok_or("there is no home folder; name the cache folder with --cache")?
            .join(".cache/tidelock"),
    };
    Ok(Places { function: cli.function.clone(), peers: cache.join("bench-peers"), output: cli.output.clone() })
}

fn shape(cli: &Cli, hot: f64) -> Result<Shape> {
    let CorpusArguments { seed, deletes, hot: asked, step } = &cli.corpus;
    let hot_share = asked.unwrap_or(hot);
    if !(0.0..=0.9).contains(&hot_share) || !(0.0..=0.4).contains(deletes) {
        return Err("--hot goes from 0 to 0.9, --deletes from 0 to 0.4".into());
    }
    Ok(Shape { seed: *seed, delete_share: *deletes, hot_share, step: *step, ..Shape::default() })
}

fn effort(cli: &Cli) -> Effort {
    let (rounds, records, single_invokes, pairs) = if cli.quick { (3, 5_000, 200, 3) } else { (7, 20_000, 1_000, 9) };
    let asked = |rounds: usize| cli.rounds.unwrap_or(rounds).max(1);
    Effort { rounds: asked(rounds), records, single_invokes, pairs: asked(pairs) }
}

fn print_event(cli: &Cli, records: usize, source: Source) -> Result<()> {
    let corpus = Corpus::generate(&Shape { records, source, ..shape(cli, 0.0)? });
    let event = corpus.events(Batch::Records(records)).pop().ok_or("an event needs at least one record")?;
    Ok(std::io::stdout().write_all(&event.body)?)
}

fn write_report(results: &Results, page: &Path) -> Result<()> {
    let text = fs::read_to_string(page).map_err(|error| format!("{}: {error}", page.display()))?;
    let new =
        report::replace(&text, &report::tables(results)).map_err(|error| format!("{}: {error}", page.display()))?;
    fs::write(page, new)?;
    let chart = chart::draw(results).ok_or("there are no results to draw; measure first")?;
    Ok(fs::write(page.with_extension("svg"), chart)?)
}

fn conditions() -> Conditions {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|name| name.trim_matches([' ', '\t', ':']).to_owned());
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    Conditions {
        processor: processor.filter(|name| !name.is_empty()).unwrap_or_else(|| std::env::consts::ARCH.into()),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        kernel: read("/proc/sys/kernel/osrelease").trim().into(),
        node: format!("Node {}", version("node").trim_start_matches('v')),
        python: version("python3"),
        opensearch: String::new(),
        mongodb: String::new(),
        load: read("/proc/loadavg").split(' ').take(2).collect::<Vec<_>>().join(" and "),
    }
}
