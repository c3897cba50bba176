//! Measurements against the stubs: processor time, cold starts, memory, sizes. Subjects take turns in every round, so that
//! what else happens on the machine falls on all of them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use crate::corpus::{Batch, Corpus, Event, FULL_EVENT, Shape, Source};
use crate::function::{Function, Result};
use crate::processors::OneProcessor;
use crate::results::{Cold, Cpu, Memory, Size, median, range};
use crate::subjects::{EXCHANGES, Places, Subject};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// Records of a round.
    pub(crate) records: usize,
    /// Invocations of a round with one record each.
    pub(crate) single_invokes: usize,
    /// Pairs of a guarded and an unguarded run.
    pub(crate) pairs: usize,
}

/// A batch of one.
pub(crate) const SINGLE: &str = "1";

/// A batch of one with all processors, and the usual one: what waking each other across them takes is in it.
pub(crate) const SPREAD: &str = "1, all processors";
pub(crate) const SPREAD_USUAL: &str = "500, all processors";

/// The batches of the tables, with their names.
pub(crate) const BATCHES: &[(&str, Batch)] = &[
    (SINGLE, Batch::Records(1)),
    ("100", Batch::Records(100)),
    ("500", Batch::Records(500)),
    ("1,000", Batch::Records(1_000)),
    ("6 MB", FULL_EVENT),
];

/// The batch that is Lambda's usual choice for streams and the one that most figures are given for.
pub(crate) const USUAL: &str = "500";

/// The same changes as each source tells them, in some form.
struct BySource<T> {
    items: T,
    documents: T,
}

impl<T> BySource<T> {
    fn new(make: impl Fn(Source) -> Result<T>) -> Result<Self> {
        Ok(Self { items: make(Source::DynamoDb)?, documents: make(Source::DocumentDb)? })
    }

    fn of(&self, source: Source) -> &T {
        match source {
            Source::DynamoDb => &self.items,
            Source::DocumentDb => &self.documents,
        }
    }
}

/// Milliseconds of a duration.
fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Processor time per record of warm functions, for every batch size.
pub(crate) fn cpu(subjects: &[Subject], places: &Places, shape: &Shape, effort: Effort) -> Result<Vec<Cpu>> {
    let one = OneProcessor::claim()?;
    let mut rows = take_turns(subjects, places, shape, effort, BATCHES)?;
    one.release()?;
    let batches = [(SPREAD, Batch::Records(1)), (SPREAD_USUAL, Batch::Records(500))];
    rows.extend(take_turns(subjects, places, shape, effort, &batches)?);
    Ok(rows)
}

fn take_turns(
    subjects: &[Subject],
    places: &Places,
    shape: &Shape,
    effort: Effort,
    batches: &[(&str, Batch)],
) -> Result<Vec<Cpu>> {
    let loads = BySource::new(|source| {
        let corpus = Corpus::generate(&Shape { records: effort.records, source, ..shape.clone() });
        let mut loads = batches.iter().map(|(_, batch)| corpus.events(*batch)).collect::<Vec<_>>();
        loads[0].truncate(effort.single_invokes);
        Ok(loads)
    })?;
    let mut functions =
        subjects.iter().map(|subject| Function::start(&subject.launch, &places.logs())).collect::<Result<Vec<_>>>()?;
    let mut micros = vec![vec![Vec::new(); subjects.len()]; batches.len()];
    // Whatever the batch, the exchanges alone would be those of one document.
    let is_left_out = |subject: &Subject, position: usize| subject.id == EXCHANGES && position > 0;
    // Round 0 warms up: compilers, caches and heaps of the functions come to rest in it.
    for round in 0..=effort.rounds {
        for (position, micros) in micros.iter_mut().enumerate() {
            for turn in 0..subjects.len() {
                let subject = (turn + round) % subjects.len();
                if is_left_out(&subjects[subject], position) {
                    continue;
                }
                let events = &loads.of(subjects[subject].source)[position];
                let spent = spent(&mut functions[subject], events)?;
                if round > 0 {
                    micros[subject].push(spent.as_secs_f64() * 1e6);
                }
            }
        }
        eprintln!("cpu: round {round} of {}", effort.rounds);
    }
    let mut rows = Vec::new();
    for (position, subject) in subjects.iter().enumerate() {
        for (((batch, _), events), micros) in batches.iter().zip(loads.of(subject.source)).zip(&micros) {
            let totals = &micros[position];
            if events.is_empty() || totals.is_empty() {
                continue;
            }
            let records = events.iter().map(|event| event.records).sum::<usize>();
            let (lowest, highest) = range(totals);
            rows.push(Cpu {
                subject: subject.id.into(),
                label: subject.label.into(),
                batch: (*batch).into(),
                rounds: effort.rounds,
                records_per_round: records,
                micros_per_record: median(totals) / records as f64,
                micros_per_invoke: median(totals) / events.len() as f64,
                lowest: lowest / records as f64,
                highest: highest / records as f64,
                by_round: totals.iter().map(|total| total / records as f64).collect(),
            });
        }
    }
    Ok(rows)
}

fn spent(function: &mut Function, events: &[Event]) -> Result<Duration> {
    let before = function.cpu()?;
    for event in events {
        function.invoke(event)?;
    }
    Ok(function.cpu()?.saturating_sub(before))
}

/// Init and first invocation of fresh processes.
pub(crate) fn cold(subjects: &[Subject], places: &Places, shape: &Shape, starts: usize) -> Result<Vec<Cold>> {
    let events = BySource::new(|source| {
        let corpus = Corpus::generate(&Shape { records: 500, source, ..shape.clone() });
        Ok(corpus.events(Batch::Records(500)).pop().ok_or("the corpus has no event")?)
    })?;
    let mut samples = vec![[const { Vec::new() }; 4]; subjects.len()];
    for start in 0..starts {
        for turn in 0..subjects.len() {
            let subject = (turn + start) % subjects.len();
            let mut function = Function::start(&subjects[subject].launch, &places.logs())?;
            let init_cpu = function.cpu()?;
            let first = function.invoke(events.of(subjects[subject].source))?;
            let first_cpu = function.cpu()?.saturating_sub(init_cpu);
            for (samples, value) in samples[subject].iter_mut().zip([function.init, init_cpu, first, first_cpu]) {
                samples.push(millis(value));
            }
        }
    }
    eprintln!("cold: {starts} starts");
    let rows = subjects.iter().zip(&samples).map(|(subject, [init, init_cpu, first, first_cpu])| Cold {
        subject: subject.id.into(),
        label: subject.label.into(),
        starts,
        init_ms: median(init),
        init_cpu_ms: median(init_cpu),
        first_invoke_ms: median(first),
        first_invoke_cpu_ms: median(first_cpu),
    });
    Ok(rows.collect())
}

/// Peak memory of fresh processes that get the whole corpus in batches of one size.
pub(crate) fn memory(subjects: &[Subject], places: &Places, shape: &Shape, effort: Effort) -> Result<Vec<Memory>> {
    let corpora =
        BySource::new(|source| Ok(Corpus::generate(&Shape { records: effort.records, source, ..shape.clone() })))?;
    let runs = effort.rounds.min(3);
    let mut rows = Vec::new();
    for (name, batch) in BATCHES.iter().skip(2) {
        let loads = BySource::new(|source| Ok(corpora.of(source).events(*batch)))?;
        for subject in subjects {
            let mut megabytes = Vec::new();
            for _ in 0..runs {
                let mut function = Function::start(&subject.launch, &places.logs())?;
                for event in loads.of(subject.source) {
                    function.invoke(event)?;
                }
                megabytes.push(function.peak_memory()? as f64 / 1e6);
            }
            rows.push(Memory {
                subject: subject.id.into(),
                label: subject.label.into(),
                batch: (*name).into(),
                runs,
                megabytes: median(&megabytes),
            });
        }
        eprintln!("memory: batches of {name}");
    }
    Ok(rows)
}

/// Sizes of what is deployed.
pub(crate) fn size(subjects: &[Subject]) -> Result<Vec<Size>> {
    let mut rows = Vec::<Size>::new();
    for subject in subjects {
        let mut zip = Zip::default();
        zip.add(&subject.artifact, "")?;
        let (bytes, zip_bytes) = (zip.bytes, zip.zipped + END_OF_DIRECTORY);
        rows.push(Size { subject: subject.id.into(), label: subject.label.into(), bytes, zip_bytes });
    }
    Ok(rows)
}

/// Sizes of a zip file's parts beside names and contents (APPNOTE 6.3.10, 4.3.7, 4.3.12, 4.3.16).
const LOCAL_HEADER: u64 = 30;
const DIRECTORY_ENTRY: u64 = 46;
const END_OF_DIRECTORY: u64 = 22;

/// Adds up what a zip file of the usual compression would hold, without writing one.
#[derive(Debug, Default)]
struct Zip {
    bytes: u64,
    zipped: u64,
}

impl Zip {
    fn add(&mut self, path: &Path, name: &str) -> Result<()> {
        if path.is_dir() {
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                self.add(&entry.path(), &format!("{name}/{}", entry.file_name().to_string_lossy()))?;
            }
            return Ok(());
        }
        let content = fs::read(path)?;
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
        std::io::Write::write_all(&mut deflate, &content)?;
        let name = if name.is_empty() { "bootstrap" } else { name.trim_start_matches('/') };
        self.bytes += content.len() as u64;
        self.zipped += deflate.finish()?.len() as u64 + LOCAL_HEADER + DIRECTORY_ENTRY + 2 * name.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zip_counts_every_file_of_a_folder_with_its_headers() {
        let folder = std::env::temp_dir().join(format!("tidelock-bench-zip-{}", std::process::id()));
        fs::create_dir_all(folder.join("b")).expect("a folder");
        fs::write(folder.join("a"), [0; 100_000]).expect("a file");
        fs::write(folder.join("b/c"), b"").expect("a file");
        let mut zip = Zip::default();
        zip.add(&folder, "").expect("readable");
        assert_eq!(zip.bytes, 100_000);
        let headers = 2 * (LOCAL_HEADER + DIRECTORY_ENTRY) + 2 * ("a".len() + "b/c".len()) as u64;
        assert!(zip.zipped > headers && zip.zipped < headers + 1_000, "{}", zip.zipped);
        fs::remove_dir_all(folder).expect("ours");
    }
}
