//! `tidelock index suggest`.

use super::{LEFT, Place, Stop};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use tidelock_core::batch::{Batch, Content, Slot};
use tidelock_core::encode::Format;
use tidelock_core::image::Notation;
use tidelock_core::pipeline::{Pipeline, Routed};
use tidelock_core::source::{Reader, kind_of};
use tidelock_lambda::Environment;
use tidelock_opensearch::suggest::{Conflict, Observed, section, table};
use tidelock_sync::IndexAdmin;

/// Propose mappings from sample events, and predict what would conflict
///
/// The items go through the pipeline's routes and transforms as in the function. The proposal, an `indexes` section, is printed on
/// standard output; what would conflict with the mappings that the pipeline has, and where it has none, if OpenSearch mapped the
/// fields by itself, on standard error, with both examples. Asks no server.
///
/// Exit status: 0 nothing conflicts, 1 something would, 2 a file or the pipeline could not be used.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Events of DynamoDB Streams as Lambda delivers them, or their records, one after another; - is standard input
    #[arg(value_name = "EVENTS", required = true)]
    events: Vec<String>,
    /// The pipeline. Default: TIDELOCK_PIPELINE, else every source to an index of its own name
    #[arg(long, value_name = "FILE")]
    pipeline: Option<String>,
}

/// What has been read.
#[derive(Default)]
struct Samples {
    indices: BTreeMap<String, Observed>,
    /// Records that are no item of any index, by reason.
    left_out: BTreeMap<String, usize>,
}

pub(super) fn run(args: &Args, environment: &Environment) -> Result<u8, Stop> {
    let place = Place { pipeline: args.pipeline.clone(), target: None };
    let pipeline = IndexAdmin::pipeline(&place.over(environment)).map_err(|error| Stop::failed(error.message))?;
    let mut samples = Samples::default();
    for file in &args.events {
        samples.file(file, &pipeline).map_err(|why| Stop::failed(format!("`{file}`: {why}")))?;
    }
    for (why, count) in &samples.left_out {
        eprintln!("note: {count} records: {why}");
    }
    if samples.indices.is_empty() {
        return Err(Stop::failed("no record of these events leads an item to an index"));
    }
    print!("{}", section(samples.indices.values()));
    let conflicts: Vec<(String, Conflict)> = samples
        .indices
        .values()
        .flat_map(|observed| observed.conflicts().into_iter().map(|conflict| (observed.name.clone(), conflict)))
        .collect();
    if conflicts.is_empty() {
        return Ok(0);
    }
    eprint!("{}", table(&conflicts));
    Ok(LEFT)
}

impl Samples {
    fn file(&mut self, file: &str, pipeline: &Pipeline) -> Result<(), String> {
        let mut text = Vec::new();
        if file == "-" {
            std::io::stdin().lock().read_to_end(&mut text).map_err(|error| error.to_string())?;
        } else {
            text = std::fs::read(file).map_err(|error| error.to_string())?;
        }
        let mut record = 0;
        for value in serde_json::Deserializer::from_slice(&text).into_iter::<Box<RawValue>>() {
            let value = value.map_err(|error| format!("not JSON: {error}"))?;
            for event in events(value.get())? {
                self.event(&event, (file, &mut record), pipeline)?;
            }
        }
        Ok(())
    }

    fn event(&mut self, payload: &str, (file, record): (&str, &mut usize), pipeline: &Pipeline) -> Result<(), String> {
        let reader = kind_of(payload.as_bytes()).reader;
        let reader = Reader { decode: reader.decode_with_images, ..reader };
        let batch = pipeline.decode(&reader, payload.as_bytes(), Format::Json).map_err(|error| error.message)?;
        for slot in &batch.slots {
            // A record has a slot for each of its routes.
            *record += usize::from(batch.origin(slot).is_none_or(|origin| origin.branch == 0));
            if let Err(why) = self.slot(payload, &batch, slot, &format!("{file} {record}"), pipeline) {
                *self.left_out.entry(why).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Takes one item in, or says why it is none.
    fn slot(&mut self, payload: &str, batch: &Batch, slot: &Slot, at: &str, pipeline: &Pipeline) -> Result<(), String> {
        let document = match &slot.content {
            Content::Upsert(range) => batch.documents.get(range.clone()).unwrap_or_default(),
            Content::Deferred => return Err("of which no document was made".to_owned()),
            Content::Delete => return Err("deletes, which say nothing of fields".to_owned()),
            Content::Failed(failure) => return Err(format!("cannot be applied ({failure})")),
        };
        let range = slot.image.clone().unwrap_or_default();
        let image_of = batch.image(payload.as_bytes(), &range);
        let origin = batch.origin(slot).ok_or("of no known table")?;
        let key = batch.key(slot).ok_or("without a key")?;
        let routed = pipeline.rules(&origin.name, origin.branch).locate(&image_of, key);
        let place = match routed {
            Routed::To(place) => place.name,
            Routed::Filtered => return Err("left out by the pipeline".to_owned()),
            Routed::Refused(failure) => return Err(format!("have no place ({failure})")),
        };
        let name = pipeline.outline_of(&place).to_owned();
        let observed =
            self.indices.entry(name).or_insert_with_key(|name| Observed::new(name, pipeline.indexes().of(name)));
        let mut binary = BTreeSet::new();
        if image_of.notation == Notation::DynamoDb
            && let Ok(Value::Object(attributes)) = serde_json::from_slice(image_of.bytes)
        {
            attributes.iter().for_each(|(name, value)| binaries(name, value, &mut binary));
        }
        let id = key.text_id();
        // As the sinks write it, its closing brace is missing.
        let whole = [document, b"}"].concat();
        observed.take(&whole, at, &id, &binary).map_err(|error| error.to_string())
    }
}

/// Whole events, of what a file may hold: events, records, and lists of either.
fn events(text: &str) -> Result<Vec<String>, String> {
    let read = |error: serde_json::Error| error.to_string();
    if text.starts_with('[') {
        let values: Vec<Box<RawValue>> = serde_json::from_str(text).map_err(read)?;
        let found: Result<Vec<Vec<String>>, String> = values.iter().map(|value| events(value.get())).collect();
        return Ok(found?.concat());
    }
    let members: Option<BTreeMap<String, Box<RawValue>>> = serde_json::from_str(text).ok();
    match members {
        Some(members) if members.contains_key("Records") => Ok(vec![text.to_owned()]),
        Some(members) if members.contains_key("events") => Ok(vec![text.to_owned()]),
        Some(members) if members.contains_key("dynamodb") => Ok(vec![format!("{{\"Records\":[{text}]}}")]),
        _ => Err("neither an event (`Records`, `events`) nor a record (`dynamodb`) of DynamoDB Streams".to_owned()),
    }
}

/// Paths of the attributes that are binary.
fn binaries(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    for (kind, value) in value.as_object().into_iter().flatten() {
        match (kind.as_str(), value) {
            ("B" | "BS", _) => drop(found.insert(path.to_owned())),
            ("M", Value::Object(members)) => {
                members.iter().for_each(|(name, value)| binaries(&format!("{path}.{name}"), value, found));
            }
            ("L", Value::Array(values)) => values.iter().for_each(|value| binaries(path, value, found)),
            _ => {}
        }
    }
}
