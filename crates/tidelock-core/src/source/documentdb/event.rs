//! One change event.

use super::Want;
use super::extended::{document, image, plain, value};
use super::wrapper::{wrapped_date, wrapped_timestamp};
use crate::batch::{Batch, Before, Content, Order, Origin, Slot};
use crate::bson::kind;
use crate::cause::{Cause, Failure};
use crate::encode::{BsonSink, Sink};
use crate::image::Notation;
use crate::json::{Cursor, Malformed, RawStr};
use crate::key::{KeyKind, push_part};
use crate::source::dynamodb::{Stop, shortened};
use crate::source::mongodb::{DocumentKey, ID_FIELD};
use crate::version::mongodb::{ClusterTime, KIND, cluster_of_arn, space};
use std::borrow::Cow;
use std::ops::Range;

/// What has been read of the event at hand.
#[derive(Default)]
struct Partial {
    operation: Option<Range<usize>>,
    time: Option<ClusterTime>,
    at: Option<i64>,
    /// The token in the payload, and in the batch's keys.
    token: Option<(Range<usize>, Range<usize>)>,
    origin: Option<usize>,
    key: Option<Range<usize>>,
    has_event: bool,
    document: Option<Range<usize>>,
    image: Option<Range<usize>>,
    before: Option<Range<usize>>,
    failure: Option<Box<Failure>>,
}

impl Partial {
    /// The first failure stands: what follows from it is no news.
    fn fail(&mut self, cause: Cause, detail: impl Into<String>) {
        if self.failure.is_none() {
            self.failure = Some(Box::new(Failure::new(cause, detail)));
        }
    }

    /// Notes a fault and moves the cursor behind the value that began at `start`; passes on that it is no JSON.
    fn recover(&mut self, cursor: &mut Cursor<'_>, start: usize, result: Result<(), Stop>) -> Result<(), Malformed> {
        match result {
            Ok(()) => Ok(()),
            Err(Stop::Value(fault)) => {
                let failure = fault.into_failure();
                self.fail(failure.cause, failure.detail);
                behind(cursor, start)
            }
            // What is JSON must not fail the whole event, whatever a reader of it expected.
            Err(Stop::Structure(error)) => {
                cursor.rewind(start);
                cursor.skip()?;
                self.fail(Cause::InvalidValue, format!("extended JSON that cannot be read: {error}"));
                Ok(())
            }
        }
    }
}

/// Moves behind the value that began at `start`, however deeply it is nested.
fn behind(cursor: &mut Cursor<'_>, start: usize) -> Result<(), Malformed> {
    cursor.rewind(start);
    if cursor.skip_object_unread().is_none() {
        cursor.skip()?;
    }
    Ok(())
}

/// Decodes events into a batch.
pub(super) struct EventDecoder<'p, S> {
    payload: &'p [u8],
    /// The documents; nothing where they are made later.
    sink: S,
    images: BsonSink,
    /// The key at hand.
    id: BsonSink,
    want: Want,
    /// The whole payload is valid UTF-8, so that no event needs a check of its own.
    utf8: bool,
    batch: Batch,
    /// The first slot and origin of the envelope at hand.
    from: (usize, usize),
}

impl<'p, S: Sink> EventDecoder<'p, S> {
    pub(super) fn new(payload: &'p [u8], sink: S, want: Want) -> Self {
        let mut batch = Batch::new(KIND, Notation::Bson);
        batch.slots.reserve(payload.len() / 512);
        let utf8 = simdutf8::basic::from_utf8(payload).is_ok();
        let images = BsonSink::with_capacity(if want == Want::Documents { 0 } else { payload.len() * 2 / 3 });
        Self { payload, sink, images, id: BsonSink::default(), want, utf8, batch, from: (0, 0) }
    }

    pub(super) fn finish(mut self) -> Batch {
        self.batch.documents = self.sink.into_bytes();
        self.batch.images = self.images.into_bytes();
        self.batch
    }

    /// An envelope begins.
    pub(super) fn begin(&mut self) {
        self.from = (self.batch.slots.len(), self.batch.origins.len());
    }

    /// The envelope ends: now it is known whose the events are.
    pub(super) fn end(&mut self, arn: Option<&str>) {
        let (slots, origins) = self.from;
        let cluster = arn.and_then(cluster_of_arn);
        for origin in self.batch.origins.iter_mut().skip(origins) {
            origin.arn = arn.unwrap_or_default().to_owned();
            let (database, collection) = origin.name.split_once('.').unwrap_or((&origin.name, ""));
            origin.space = space(cluster.as_deref().unwrap_or_default(), database, collection);
        }
        if cluster.is_some() {
            return;
        }
        let detail = match arn {
            Some(arn) => format!("`{}` is not the ARN of a DocumentDB cluster", shortened(arn.as_bytes())),
            None => "the event has no `eventSourceArn`".to_owned(),
        };
        for slot in self.batch.slots.iter_mut().skip(slots) {
            if !matches!(slot.content, Content::Failed(_)) {
                slot.content = Content::Failed(Box::new(Failure::new(Cause::InvalidSource, detail.clone())));
            }
        }
    }

    /// Walks over one element of `events`, `{"event":{…}}`, and adds its slot.
    pub(super) fn event(&mut self, cursor: &mut Cursor<'p>) -> Result<(), Malformed> {
        cursor.peek();
        let start = cursor.at();
        let written = (self.sink.position(), self.images.position());
        let mut partial = Partial::default();
        if cursor.peek() == Some(b'{') {
            cursor.members(|cursor, name| {
                if name.raw == b"event" && cursor.peek() == Some(b'{') {
                    partial.has_event = true;
                    return self.change(cursor, &mut partial);
                }
                cursor.skip().map(drop)
            })?;
        } else {
            cursor.skip()?;
        }
        if !partial.has_event {
            partial.fail(Cause::MalformedRecord, "there is no `event` object");
        }
        let raw = start..cursor.at();
        if !self.utf8 && self.payload.get(raw.clone()).is_none_or(|text| std::str::from_utf8(text).is_err()) {
            partial.key = None;
            partial.failure = Some(Box::new(Failure::new(Cause::MalformedRecord, "the event is not UTF-8")));
        }
        self.add(raw, partial, written);
        Ok(())
    }

    fn change(&mut self, cursor: &mut Cursor<'p>, partial: &mut Partial) -> Result<(), Malformed> {
        cursor.members(|cursor, name| {
            cursor.peek();
            let start = cursor.at();
            let result = match name.raw {
                b"_id" => self.token(cursor, partial),
                b"clusterTime" => time(cursor).map(|time| partial.time = Some(time)),
                b"wallTime" => wrapped_date(cursor).map(|at| partial.at = Some(at)),
                b"operationType" => self.operation(cursor, partial),
                b"ns" => self.namespace(cursor, partial),
                b"documentKey" => self.key(cursor, partial),
                b"fullDocument" if cursor.peek() == Some(b'{') => self.document(cursor, partial),
                b"fullDocumentBeforeChange" if cursor.peek() == Some(b'{') && self.want != Want::Documents => {
                    self.image(cursor).map(|image| partial.before = Some(image))
                }
                // There is a document already, so of these nothing is needed.
                b"updateDescription" => return behind(cursor, start),
                _ => cursor.skip().map(drop).map_err(Stop::Structure),
            };
            // What is only told besides costs no change.
            if result.is_err() && matches!(name.raw, b"wallTime" | b"fullDocumentBeforeChange") {
                return behind(cursor, start);
            }
            partial.recover(cursor, start, result)
        })
    }

    fn add(&mut self, raw: Range<usize>, mut partial: Partial, written: (usize, usize)) {
        let operation = partial.operation.clone().and_then(|range| self.payload.get(range)).unwrap_or_default();
        let command = match operation {
            b"drop" => Some((Cause::CollectionDropped, "the collection was dropped")),
            b"rename" => Some((Cause::CollectionRenamed, "the collection was renamed")),
            b"dropDatabase" => Some((Cause::DatabaseDropped, "the database was dropped")),
            b"invalidate" => Some((Cause::StreamInvalidated, "the change stream has ended")),
            _ => None,
        };
        let known = matches!(operation, b"insert" | b"update" | b"replace" | b"delete");
        if let Some((cause, detail)) = command {
            partial.fail(cause, detail);
        } else if partial.operation.is_none() {
            partial.fail(Cause::UnknownEvent, "there is no `operationType`");
        } else if !known {
            let detail =
                format!("operationType is `{}`, which changes no document that is known", shortened(operation));
            partial.fail(Cause::UnknownEvent, detail);
        }
        if partial.origin.is_none() {
            partial.fail(Cause::InvalidSource, "the event has no `ns` with database and collection");
            // A stream that ends has no name, and routes say what becomes of that. Of all else nobody may think that no route wants it.
            partial.origin = (operation == b"invalidate").then(|| self.origin("", None));
        }
        if partial.time.is_none() {
            partial.fail(Cause::InvalidPosition, "`clusterTime` is missing");
        }
        if partial.token.is_none() {
            partial.fail(Cause::InvalidPosition, "`_id._data` is missing");
        }
        if partial.key.is_none() {
            partial.fail(Cause::MissingKey, "`documentKey._id` is missing");
        }
        let before = match (operation, partial.before) {
            (b"insert", _) => Before::Absent,
            (_, Some(range)) => Before::Image(range),
            (_, None) => Before::Unknown,
        };
        let content = match (partial.failure, operation) {
            (Some(failure), _) => Content::Failed(failure),
            (None, b"delete") => Content::Delete,
            (None, _) => match (partial.document, &partial.image) {
                (Some(document), _) => Content::Upsert(document),
                (None, Some(_)) => Content::Deferred,
                (None, None) => Content::Failed(Box::new(Failure::new(Cause::MissingImage, NO_DOCUMENT))),
            },
        };
        if !matches!(content, Content::Upsert(_)) {
            self.sink.truncate(written.0);
        }
        let time = partial.time;
        let (position, token) = partial.token.unzip();
        self.batch.slots.push(Slot {
            raw,
            position,
            // From no position can anything be retried.
            sequence: None,
            order: time.zip(token).map(|(time, token)| Order::Cluster(time, token)),
            at: partial.at.or(time.map(|time| time.at())).unwrap_or_default(),
            origin: partial.origin,
            key: partial.key,
            content,
            // A delete has none, whatever stands in the event.
            image: partial.image.filter(|_| operation != b"delete"),
            before,
        });
    }

    fn operation(&self, cursor: &mut Cursor<'p>, partial: &mut Partial) -> Result<(), Stop> {
        partial.operation = Some(text_range(cursor)?.0);
        Ok(())
    }

    /// `{"_data":"…"}`: the text, or what else stands there as it is written.
    fn token(&mut self, cursor: &mut Cursor<'p>, partial: &mut Partial) -> Result<(), Stop> {
        if cursor.peek() != Some(b'{') {
            return Ok(cursor.skip().map(drop)?);
        }
        Ok(cursor.members(|cursor, name| {
            if name.raw != b"_data" || matches!(cursor.peek(), Some(b'n')) {
                return cursor.skip().map(drop);
            }
            let (range, text) = text_range(cursor)?;
            let from = self.batch.keys.len();
            self.batch.keys.extend_from_slice(text);
            if !text.is_empty() {
                partial.token = Some((range, from..self.batch.keys.len()));
            }
            Ok(())
        })?)
    }

    /// `{"db":"…","coll":"…"}`; of a database that was dropped, without a collection.
    fn namespace(&mut self, cursor: &mut Cursor<'p>, partial: &mut Partial) -> Result<(), Stop> {
        let (mut database, mut collection) = (None, None);
        if cursor.peek() != Some(b'{') {
            return Ok(cursor.skip().map(drop)?);
        }
        cursor.members(|cursor, name| {
            match name.raw {
                b"db" if cursor.peek() == Some(b'"') => database = Some(cursor.string()?),
                b"coll" if cursor.peek() == Some(b'"') => collection = Some(cursor.string()?),
                _ => drop(cursor.skip()?),
            }
            Ok(())
        })?;
        let read = |text: Option<RawStr<'p>>| text.map(plain).transpose();
        if let Some(database) = read(database)?.filter(|name| !name.is_empty()) {
            let collection = read(collection)?.filter(|name| !name.is_empty());
            partial.origin = Some(self.origin(&database, collection));
        }
        Ok(())
    }

    /// The origin of a collection, of a database, or of what has no name.
    fn origin(&mut self, database: &str, collection: Option<Cow<'_, str>>) -> usize {
        let first = self.from.1;
        let same = |origin: &Origin| match &collection {
            // No database has a point in its name.
            Some(collection) => {
                let rest = origin.name.strip_prefix(database).and_then(|rest| rest.strip_prefix('.'));
                rest == Some(collection)
            }
            None => origin.name == database,
        };
        let known = self.batch.origins.get(first..).and_then(|origins| origins.iter().rposition(same));
        if let Some(known) = known {
            return first + known;
        }
        let name = match &collection {
            Some(collection) => format!("{database}.{collection}"),
            None => database.to_owned(),
        };
        self.batch.origins.push(Origin { name, arn: String::new(), space: String::new(), label: None, branch: 0 });
        self.batch.origins.len() - 1
    }

    /// `{"_id":…}`; of a sharded collection with the fields of the shard key, which are no part of the key.
    fn key(&mut self, cursor: &mut Cursor<'p>, partial: &mut Partial) -> Result<(), Stop> {
        if !cursor.take(b'{') || cursor.take(b'}') {
            return Ok(());
        }
        loop {
            let name = cursor.name()?;
            if plain(name)? == ID_FIELD {
                let from = self.batch.keys.len();
                self.id.truncate(0);
                self.id.begin_document();
                self.id.name(RawStr { raw: ID_FIELD.as_bytes(), escaped: false })?;
                value(cursor, &mut self.id, 1)?;
                self.push_key()?;
                partial.key = Some(from..self.batch.keys.len());
            } else {
                cursor.skip()?;
            }
            if !cursor.more(b'}')? {
                return Ok(());
            }
        }
    }

    fn push_key(&mut self) -> Result<(), Stop> {
        let Some((&kind, element)) = self.id.written().split_first() else { return Ok(()) };
        let value = element.get(ID_FIELD.len() + 1..).unwrap_or_default();
        // Of these, no two values are equal whose bytes are not.
        if matches!(kind, kind::OBJECT_ID | kind::STRING | kind::INT32) {
            push_part(&mut self.batch.keys, ID_FIELD, KeyKind::Bson(kind), value);
            return Ok(());
        }
        let key = DocumentKey::of_value(kind, value).map_err(|failure| {
            let failure = Failure { detail: format!("`documentKey`: {}", failure.detail), ..failure };
            super::extended::stop(failure.cause, failure.detail)
        })?;
        self.batch.keys.extend_from_slice(key.key().as_bytes());
        Ok(())
    }

    /// The document as the change has left it, or a later one.
    fn document(&mut self, cursor: &mut Cursor<'p>, partial: &mut Partial) -> Result<(), Stop> {
        let start = cursor.at();
        if self.want != Want::Documents {
            partial.image = Some(self.image(cursor)?);
        }
        if self.want == Want::Images {
            return Ok(());
        }
        cursor.rewind(start);
        let from = self.sink.position();
        document(cursor, &mut self.sink)?;
        partial.document = Some(from..self.sink.position());
        Ok(())
    }

    fn image(&mut self, cursor: &mut Cursor<'p>) -> Result<Range<usize>, Stop> {
        let from = self.images.position();
        if let Err(stop) = image(cursor, &mut self.images) {
            self.images.truncate(from);
            return Err(stop);
        }
        Ok(from..self.images.position())
    }
}

const NO_DOCUMENT: &str = "there is no `fullDocument`: the document is gone meanwhile, or the mapping's FullDocument is not UpdateLookup; with TIDELOCK_SOURCE it is read again";

fn time(cursor: &mut Cursor<'_>) -> Result<ClusterTime, Stop> {
    let refused = |why: String| super::extended::stop(Cause::InvalidPosition, format!("`clusterTime`: {why}"));
    match wrapped_timestamp(cursor) {
        Ok((t, i)) => ClusterTime::new(t, i).map_err(|refusal| refused(refusal.to_string())),
        Err(Stop::Value(fault)) => Err(refused(fault.detail)),
        Err(structure) => Err(structure),
    }
}

/// A text without its quotes, or another value as it is: where it lies, and its bytes.
fn text_range<'p>(cursor: &mut Cursor<'p>) -> Result<(Range<usize>, &'p [u8]), Malformed> {
    let quoted = cursor.peek() == Some(b'"');
    let from = cursor.at() + usize::from(quoted);
    let text = if quoted { cursor.string()?.raw } else { cursor.skip()? };
    Ok((from..from + text.len(), text))
}
