//! One record of a DynamoDB Streams event.

use super::attribute::{Reserved, Stop, item, shortened, stop, transformed};
use super::key::{check_key, key_value};
use super::origin;
use crate::batch::{Batch, Before, Content, Order, Slot};
use crate::cause::{Cause, Failure};
use crate::encode::{Format, Sink};
use crate::image::Notation;
use crate::json::{Cursor, Malformed, unescape};
use crate::key::{KeyWriter, push_part};
use crate::source::Transforms;
use crate::transform::{Fields, Transform};
use crate::version::Sequence;
use std::ops::Range;

/// What has been read of the record at hand.
#[derive(Default)]
struct Partial {
    event_name: Option<Range<usize>>,
    at: i64,
    position: Option<Range<usize>>,
    sequence: Option<Sequence>,
    key: Option<Range<usize>>,
    /// The key is a single attribute named `_id`.
    id_is_key: bool,
    /// The image lies here but the key had not been read when it came.
    later_image: Option<usize>,
    document: Option<Range<usize>>,
    /// Whose transform has made the document.
    made_for: Option<usize>,
    new_image: Option<Range<usize>>,
    old_image: Option<Range<usize>>,
    origin: Option<usize>,
    has_change: bool,
    failure: Option<Box<Failure>>,
}

impl Partial {
    /// The first failure stands: what follows from it is no news.
    fn fail(&mut self, cause: Cause, detail: impl Into<String>) {
        if self.failure.is_none() {
            self.failure = Some(Box::new(Failure::new(cause, detail)));
        }
    }

    /// Passes a structural fault on; notes any other and moves the cursor behind the value that began at `start`.
    fn recover(&mut self, cursor: &mut Cursor<'_>, start: usize, result: Result<(), Stop>) -> Result<(), Malformed> {
        match result {
            Ok(()) => Ok(()),
            Err(Stop::Structure(error)) => Err(error),
            Err(Stop::Value(fault)) => {
                let failure = fault.into_failure();
                self.fail(failure.cause, failure.detail);
                cursor.rewind(start);
                cursor.skip().map(drop)
            }
        }
    }
}

/// What is made of items.
#[derive(Clone, Copy)]
pub(super) enum Making<'p> {
    /// Documents of the same fields.
    Plain,
    /// Nothing: documents are made later.
    Later,
    /// Documents as transforms want them; none where the transform depends on the item.
    Transformed(&'p Transforms<'p>),
}

/// Decodes records into a batch.
pub(super) struct RecordDecoder<'p, S> {
    payload: &'p [u8],
    sink: S,
    format: Format,
    /// The whole payload is valid UTF-8, so that no record needs a check of its own.
    utf8: bool,
    making: Making<'p>,
    /// The transform that all items of an origin have.
    transforms: Vec<Option<&'p Transform>>,
    /// Where the record before came from.
    last_origin: Option<usize>,
    /// Storage of the fields that a transform touches.
    fields: Fields<'p>,
    keys: KeyWriter,
    batch: Batch,
}

impl<'p, S: Sink> RecordDecoder<'p, S> {
    pub(super) fn new(payload: &'p [u8], sink: S, format: Format, utf8: bool, making: Making<'p>) -> Self {
        let mut batch = Batch::new(crate::version::dynamodb::KIND, Notation::DynamoDb);
        batch.slots.reserve(payload.len() / 512);
        let (transforms, fields, keys) = (Vec::new(), Fields::new(), KeyWriter::default());
        Self { payload, sink, format, utf8, making, transforms, last_origin: None, fields, keys, batch }
    }

    pub(super) fn finish(mut self) -> Batch {
        self.batch.documents = self.sink.into_bytes();
        self.batch
    }

    /// Walks over one record and adds its slot.
    pub(super) fn record(&mut self, cursor: &mut Cursor<'p>) -> Result<(), Malformed> {
        cursor.peek();
        let start = cursor.at();
        let document_start = self.sink.position();
        let mut partial = Partial::default();
        if cursor.take(b'{') {
            if !cursor.take(b'}') {
                loop {
                    let name = cursor.name()?;
                    cursor.peek();
                    match name.raw {
                        b"eventName" => partial.event_name = self.string_range(cursor)?,
                        b"eventSourceARN" => self.origin(cursor, &mut partial)?,
                        b"dynamodb" => self.change(cursor, &mut partial)?,
                        _ => {
                            cursor.skip()?;
                        }
                    }
                    if !cursor.more(b'}')? {
                        break;
                    }
                }
            }
        } else {
            cursor.skip()?;
            partial.fail(Cause::MalformedRecord, "the record is not a JSON object");
        }
        if let Some(image) = partial.later_image.take() {
            let mut back = cursor.clone();
            back.rewind(image);
            self.image(&mut back, &mut partial)?;
        }
        if partial.made_for.is_some() && partial.made_for != partial.origin {
            partial.document = None;
        }
        let raw = start..cursor.at();
        if !self.utf8 && self.payload.get(raw.clone()).is_none_or(|text| std::str::from_utf8(text).is_err()) {
            partial.key = None;
            partial.failure = Some(Box::new(Failure::new(Cause::MalformedRecord, "the record is not UTF-8")));
        }
        self.add(raw, partial, document_start);
        Ok(())
    }

    /// The slot of a record that has been walked over.
    fn add(&mut self, raw: Range<usize>, mut partial: Partial, document_start: usize) {
        if !partial.has_change {
            partial.fail(Cause::MalformedRecord, "the record has no `dynamodb` object");
        }
        if partial.origin.is_none() {
            partial.fail(Cause::InvalidSource, "the record has no `eventSourceARN`");
        }
        if partial.sequence.is_none() {
            partial.fail(Cause::InvalidPosition, "`dynamodb.SequenceNumber` is missing");
        }
        if partial.key.is_none() {
            partial.fail(Cause::MissingKey, "`dynamodb.Keys` is missing");
        }
        let event_name = partial.event_name.clone().and_then(|range| self.payload.get(range));
        let before = match (event_name, partial.old_image) {
            (Some(b"MODIFY" | b"REMOVE"), Some(range)) => Before::Image(range),
            (Some(b"MODIFY" | b"REMOVE"), None) => Before::Unknown,
            _ => Before::Absent,
        };
        let content = match (partial.failure, event_name) {
            (Some(failure), _) => Content::Failed(failure),
            (None, Some(b"REMOVE")) => Content::Delete,
            (None, Some(b"INSERT" | b"MODIFY")) => match partial.document {
                Some(document) => Content::Upsert(document),
                None if partial.new_image.is_some() => Content::Deferred,
                None => Content::Failed(Box::new(Failure::new(
                    Cause::MissingImage,
                    "there is no `dynamodb.NewImage`: the stream's view type must be NEW_IMAGE or NEW_AND_OLD_IMAGES",
                ))),
            },
            (None, Some(other)) => Content::Failed(Box::new(Failure::new(
                Cause::UnknownEvent,
                format!("eventName is `{}`, not INSERT, MODIFY or REMOVE", shortened(other)),
            ))),
            (None, None) => Content::Failed(Box::new(Failure::new(Cause::UnknownEvent, "there is no `eventName`"))),
        };
        if !matches!(content, Content::Upsert(_)) {
            self.sink.truncate(document_start);
        }
        self.batch.slots.push(Slot {
            raw,
            position: partial.position,
            sequence: partial.sequence,
            order: partial.sequence.map(|_| Order::Sequence),
            at: partial.at,
            origin: partial.origin,
            key: partial.key,
            content,
            image: partial.new_image,
            before,
        });
    }

    /// The range of a string's text, or `None` when another value stands there.
    fn string_range(&self, cursor: &mut Cursor<'p>) -> Result<Option<Range<usize>>, Malformed> {
        if cursor.peek() != Some(b'"') {
            cursor.skip()?;
            return Ok(None);
        }
        let from = cursor.at() + 1;
        let text = cursor.string()?;
        Ok(Some(from..from + text.raw.len()))
    }

    fn origin(&mut self, cursor: &mut Cursor<'p>, partial: &mut Partial) -> Result<(), Malformed> {
        let Some(range) = self.string_range(cursor)? else {
            partial.fail(Cause::InvalidSource, "`eventSourceARN` is not a string");
            return Ok(());
        };
        let arn = self.payload.get(range).unwrap_or_default();
        // All records of an event come from one stream as a rule.
        if let Some(known) = self.batch.origins.iter().rposition(|origin| origin.arn.as_bytes() == arn) {
            partial.origin = Some(known);
        } else if let Some(new) = std::str::from_utf8(arn).ok().and_then(origin) {
            partial.origin = Some(self.batch.origins.len());
            self.transforms.push(match self.making {
                Making::Transformed(transforms) => transforms(&new),
                Making::Plain | Making::Later => None,
            });
            self.batch.origins.push(new);
        } else {
            partial.fail(
                Cause::InvalidSource,
                format!("`{}` is not the ARN of a DynamoDB stream", String::from_utf8_lossy(arn)),
            );
        }
        self.last_origin = partial.origin.or(self.last_origin);
        Ok(())
    }

    /// The `dynamodb` member.
    fn change(&mut self, cursor: &mut Cursor<'p>, partial: &mut Partial) -> Result<(), Malformed> {
        partial.has_change = true;
        if !cursor.take(b'{') {
            cursor.skip()?;
            partial.fail(Cause::MalformedRecord, "`dynamodb` is not an object");
            return Ok(());
        }
        if cursor.take(b'}') {
            return Ok(());
        }
        loop {
            let name = cursor.name()?;
            cursor.peek();
            let start = cursor.at();
            match name.raw {
                b"ApproximateCreationDateTime" => partial.at = milliseconds(cursor.skip()?),
                b"Keys" => {
                    let result = self.keys(cursor, partial);
                    partial.recover(cursor, start, result)?;
                }
                // The image needs to know whether `_id` is the key, so it waits for the key where that comes later.
                b"NewImage" if partial.key.is_some() => self.image(cursor, partial)?,
                b"NewImage" => {
                    partial.later_image = Some(start);
                    cursor.skip()?;
                }
                b"OldImage" => {
                    cursor.skip()?;
                    partial.old_image = Some(start..cursor.at());
                }
                b"SequenceNumber" => self.sequence(cursor, partial)?,
                _ => {
                    cursor.skip()?;
                }
            }
            if !cursor.more(b'}')? {
                return Ok(());
            }
        }
    }

    fn image(&mut self, cursor: &mut Cursor<'p>, partial: &mut Partial) -> Result<(), Malformed> {
        cursor.peek();
        let (start, from) = (cursor.at(), self.sink.position());
        let reserved = Reserved { id: self.format == Format::Bson, id_is_key: partial.id_is_key };
        let making = self.making;
        match making {
            Making::Plain => {
                let result = item(cursor, &mut self.sink, reserved);
                if result.is_ok() {
                    partial.document = Some(from..self.sink.position());
                } else {
                    self.sink.truncate(from);
                }
                partial.recover(cursor, start, result)?;
            }
            Making::Transformed(_) if self.transformed(cursor, partial, reserved) => {}
            Making::Transformed(_) | Making::Later => {
                // Whether it is an item, whoever makes its document has to see.
                if cursor.skip_object_unread().is_none() {
                    cursor.skip()?;
                }
            }
        }
        partial.new_image = Some(start..cursor.at());
        Ok(())
    }

    /// Makes the document that the transform wants; `false`, and nothing is consumed, where it is made later. If it cannot be
    /// made, whoever tries then has to say why.
    fn transformed(&mut self, cursor: &mut Cursor<'p>, partial: &mut Partial, reserved: Reserved) -> bool {
        let (start, from) = (cursor.at(), self.sink.position());
        // The stream's name comes behind the image, and is nearly always that of the record before.
        let Some(origin) = partial.origin.or(self.last_origin) else {
            partial.later_image = Some(start);
            return false;
        };
        let Some(transform) = self.transforms.get(origin).copied().flatten() else { return false };
        self.fields.clear();
        if transformed(cursor, &mut self.sink, reserved, transform, &mut self.fields).is_err() {
            cursor.rewind(start);
            return false;
        }
        partial.document = Some(from..self.sink.position());
        partial.made_for = Some(origin);
        true
    }

    fn sequence(&mut self, cursor: &mut Cursor<'p>, partial: &mut Partial) -> Result<(), Malformed> {
        let Some(range) = self.string_range(cursor)? else {
            partial.fail(Cause::InvalidPosition, "`dynamodb.SequenceNumber` is not a string");
            return Ok(());
        };
        let text = self.payload.get(range.clone()).unwrap_or_default();
        partial.sequence = Sequence::parse(text);
        if partial.sequence.is_none() {
            partial.fail(
                Cause::InvalidPosition,
                format!("`dynamodb.SequenceNumber` is `{}`, not a number of at most 40 digits", shortened(text)),
            );
        }
        if !range.is_empty() {
            partial.position = Some(range);
        }
        Ok(())
    }

    /// The `Keys` member: one or two attributes of type S, N or B.
    fn keys(&mut self, cursor: &mut Cursor<'p>, partial: &mut Partial) -> Result<(), Stop> {
        if !cursor.take(b'{') {
            return Err(stop(Cause::MissingKey, "`dynamodb.Keys` is not an object"));
        }
        if cursor.take(b'}') {
            return Err(stop(Cause::MissingKey, "`dynamodb.Keys` is empty"));
        }
        self.keys.clear();
        let from = self.batch.keys.len();
        let mut first = true;
        loop {
            let raw_name = cursor.name()?;
            let name =
                unescape(raw_name).ok_or_else(|| stop(Cause::MissingKey, "a key's name has an invalid escape"))?;
            let (kind, value) = key_value(cursor, &name)?;
            check_key(self.format, &name, kind, &value)?;
            let last = !cursor.more(b'}')?;
            if first && last {
                // Most keys are one attribute, which needs no sorting.
                push_part(&mut self.batch.keys, &name, kind, &value);
                partial.id_is_key = name == "_id";
                break;
            }
            self.keys.part(&name, kind, &value);
            first = false;
            if last {
                self.keys.finish(&mut self.batch.keys);
                break;
            }
        }
        partial.key = Some(from..self.batch.keys.len());
        Ok(())
    }
}

/// `ApproximateCreationDateTime`, seconds since 1970 with or without a fraction, as milliseconds.
fn milliseconds(text: &[u8]) -> i64 {
    let Ok(text) = std::str::from_utf8(text) else { return 0 };
    if let Ok(seconds) = text.parse::<i64>() {
        return seconds.saturating_mul(1000);
    }
    // A double holds milliseconds of this era exactly enough to round to.
    text.parse::<f64>().map_or(0, |seconds| (seconds * 1000.0).round() as i64)
}
