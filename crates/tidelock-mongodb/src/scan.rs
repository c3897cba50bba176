//! A collection read from its first document to its last, in segments that are read side by side.
//!
//! ```text
//! listCollections ─ is it there? ─▶ find, from both ends ─▶ the version, whether there are rare types
//! count, $sample  ─ bounds       ─▶ the segments' `_id`s
//! find {_id: {$gt: …, $lt: …}} sorted by _id ─ one batch ─▶ a page, and the `_id` that the next one begins behind
//! ```
//!
//! **No document is left out.** A query's `$gt` and `$lt` compare values of one *bracket* alone: texts with texts, numbers of
//! all types with numbers. "Behind the last `_id`" therefore ends with the last of its type, and what follows in the index
//! would be lost. So a collection is cut into *spans*, each a range within one bracket, and read span by span:
//!
//! - Every type that an `_id` can have is in one bracket (`Bracket::of`, a match over all types of BSON).
//! - A bracket's spans are all of it. It is one value (null, NaN, MinKey, MaxKey), or all that is not below its lowest value,
//!   or it is cut at bounds: below the first, from each to below the next, from the last. That is everything whatever the
//!   bounds and their order, as `Bracket::cut` says.
//! - Later segments have one range each of the bracket that the bounds are of; the first segment has its first range, and all
//!   other brackets.
//! - Within a span documents come sorted by `_id`, and the next page asks for what is behind the last of them. Only an answer
//!   without any document ends the span, for one that is short may have been cut at the size of a message.
//!
//! So a document that is there throughout is read at least once, and once only on a server that sorts as it compares. One
//! that comes meanwhile may be missed: the stream brings it. Types that hardly any `_id` has (MinKey, DBPointer, code,
//! MaxKey) lie at the ends of the order and are asked for where the first or the last `_id` is of one of them; this alone
//! relies on the [order of the types](https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/). Of
//! documents of a sharded collection that have the same `_id`, which are one key, one may be left out.
//!
//! Nothing but `$eq`, `$gt`, `$gte` and `$lt` is asked for: `min` and `max`, which know no brackets, are not to be had on
//! DocumentDB, and its `$not` and `$nor`
//! [use no index](https://docs.aws.amazon.com/documentdb/latest/developerguide/functional-differences.html).

mod bracket;
mod id;
mod place;
#[cfg(test)]
mod tests;
mod walk;

use self::bracket::{Bracket, Outline, Span, bounds};
use self::id::Id;
use self::place::{PAGE_BYTES, Place};
pub(crate) use self::walk::{Walk, end_of};
use crate::caller::{Caller, Shared};
use crate::login::Credentials;
use crate::source::{MongoDbSource, item, namespace, unreadable};
use mongodb::bson::{Bson, RawDocument, RawDocumentBuf, Timestamp, cstr, rawdoc};
use mongodb::error::Error;
use mongodb::raw_batch_cursor::RawBatch;
use std::time::{Duration, Instant};
use tidelock_core::backfill::{Page, Scan, Scanned, ScannedItem, Segment};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::encode::Format;
use tidelock_core::source::mongodb::DocumentKey;
use tidelock_core::version::mongodb::{ClusterTime, space};
use tidelock_core::version::{Mark, Position as _};

/// `_id`s drawn for each segment.
const DRAWN: usize = 20;

/// How long the server may count, or draw a sample: a scan does without.
const PATIENCE: Duration = Duration::from_secs(10);

/// The oldest cluster time there is: none has fewer seconds than one.
const OLDEST: Timestamp = Timestamp { time: 1, increment: 0 };

/// Which documents to read.
struct Question<'q> {
    filter: &'q RawDocumentBuf,
    /// 1 or -1.
    order: i32,
    /// At most so many.
    documents: usize,
    /// Nothing but their `_id`s.
    only_ids: bool,
    /// Not as they were before.
    since: Option<Timestamp>,
}

impl Question<'_> {
    fn command(&self, collection: &str, majority: bool) -> RawDocumentBuf {
        let mut concern = rawdoc! {"level": (if majority { "majority" } else { "local" })};
        // What a primary itself has is never older than what a majority of the replica set has.
        if let Some(since) = self.since.filter(|_| majority) {
            concern.append(cstr!("afterClusterTime"), since);
        }
        let documents = i64::try_from(self.documents).unwrap_or(i64::MAX);
        let mut command = rawdoc! {
            "find": collection, "filter": (self.filter.clone()), "sort": {"_id": (self.order)},
            "limit": documents, "batchSize": documents, "singleBatch": true, "readConcern": concern,
        };
        if self.only_ids {
            command.append(cstr!("projection"), rawdoc! {"_id": 1});
        }
        command
    }
}

/// The documents of an answer, where they lie.
pub(crate) fn documents(batches: &[RawBatch]) -> Result<Vec<&RawDocument>, Error> {
    let mut documents = Vec::new();
    for batch in batches {
        for value in batch.doc_slices()? {
            let document = value?.as_document().ok_or_else(|| Error::custom("the answer holds what is no document"))?;
            documents.push(document);
        }
    }
    Ok(documents)
}

/// A collection that is looked at or read.
struct Reader<'r, 'a, C> {
    caller: Caller<'r, 'a, C>,
    database: &'a str,
    collection: &'a str,
}

impl<C: Credentials> Reader<'_, '_, C> {
    /// Fails where there is no such collection: to a query, one that is missing is empty.
    async fn check(&mut self) -> Result<(), Failure> {
        let (database, name) = (self.database, self.collection);
        let command = rawdoc! {"listCollections": 1, "filter": {"name": name}, "nameOnly": true}.into_bytes();
        let answer = self.caller.patiently(async |caller| caller.command(database, command.clone()).await).await;
        let answer = answer.map_err(|failure| self.unreadable(&failure))?;
        let listed = answer.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
        let mut listed = listed.into_iter().flatten().filter_map(Bson::as_document);
        let found = listed.find(|one| one.get_str("name").ok() == Some(name));
        match found.map(|found| found.get_str("type").unwrap_or("collection")) {
            Some("collection") => Ok(()),
            Some(kind) => Err(self.refused(&format!("it is a {kind}; name the collection that its documents are in"))),
            None => {
                Err(self.refused("there is no such collection; check both names, DATABASE.COLLECTION, and their case"))
            }
        }
    }

    async fn find(&mut self, question: &Question<'_>) -> Result<Vec<RawBatch>, Failure> {
        let (database, collection) = (self.database, self.collection);
        let command = |majority| question.command(collection, majority);
        let found = self.caller.patiently(async |caller| caller.read(database, command).await).await;
        found.map_err(|failure| self.unreadable(&failure))
    }

    fn documents<'b>(&self, batches: &'b [RawBatch]) -> Result<Vec<&'b RawDocument>, Failure> {
        documents(batches).map_err(|error| self.refused(&format!("the answer cannot be used: {error}")))
    }

    /// The first `_id` or, in descending order, the last; and the time of what was read.
    async fn end(&mut self, order: i32) -> Result<(Option<Id>, Option<Timestamp>), Failure> {
        let filter = &RawDocumentBuf::new();
        let batches = self.find(&Question { filter, order, documents: 1, only_ids: true, since: None }).await?;
        let time = batches.first().and_then(|batch| batch.as_raw_document().get_timestamp("operationTime").ok());
        let id = self.documents(&batches)?.first().copied().and_then(Id::of);
        Ok((id, time))
    }

    /// How many documents there are, roughly; `None` when the server does not tell in time.
    async fn count(&mut self) -> Option<u64> {
        let command = rawdoc! {"count": (self.collection), "maxTimeMS": (self.patience())}.into_bytes();
        match self.caller.command(self.database, command).await.ok()?.get("n")? {
            Bson::Int32(n) => u64::try_from(*n).ok(),
            Bson::Int64(n) => u64::try_from(*n).ok(),
            Bson::Double(n) => Some(*n as u64),
            _ => None,
        }
    }

    /// So many `_id`s drawn at random, in their order; none where the server draws none in time.
    async fn sample(&mut self, size: usize) -> Vec<Id> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let command = rawdoc! {
            "aggregate": (self.collection), "cursor": {"batchSize": size}, "maxTimeMS": (self.patience()),
            "pipeline": [{"$sample": {"size": size}}, {"$project": {"_id": 1}}, {"$sort": {"_id": 1}}],
        };
        let batches = self.caller.batches(self.database, command).await.unwrap_or_default();
        documents(&batches).unwrap_or_default().into_iter().filter_map(Id::of).collect()
    }

    /// In milliseconds; it leaves some time for what follows.
    fn patience(&self) -> i64 {
        let left = self.caller.shared().limit.saturating_duration_since(Instant::now());
        i64::try_from(PATIENCE.min(left / 3).as_millis()).unwrap_or(i64::MAX).max(1)
    }

    fn unreadable(&self, failure: &Failure) -> Failure {
        unreadable((self.database, self.collection), failure)
    }

    fn refused(&self, why: &str) -> Failure {
        self.unreadable(&self.caller.shared().connector.describe(Cause::SourceUnreadable, why))
    }
}

impl<C: Credentials> MongoDbSource<C> {
    fn reader<'r, 'a>(
        &'a self,
        shared: &'r Shared<'a, C>,
        (database, collection): (&'a str, &'a str),
    ) -> Reader<'r, 'a, C> {
        Reader { caller: Caller::new(shared), database, collection }
    }

    /// The version of what is scanned, of the `operationTime` of the survey's own read.
    ///
    /// That was a read of what a majority has, so nothing up to its time can be taken back; the time in an answer to `hello`
    /// promises less. Every page is read as of that time or later: it holds all changes up to it, which are stale when the
    /// stream brings them afterwards, and each later change is newer than the version. A server that names no time (one
    /// without a replica set, FerretDB), or that cannot read what a majority has, gives the oldest version there is. That is
    /// safe because nothing that the stream brings is older: every change wins over what was scanned. While the stream lags
    /// behind the scan, documents may then go back in time, until it has caught up.
    fn version(&self, (database, collection): (&str, &str), time: Option<Timestamp>) -> Option<Mark> {
        let time = time.filter(|_| !self.connector.no_majority_reads.get());
        let of = |Timestamp { time, increment }| ClusterTime::new(time, increment).ok();
        let time = time.and_then(of).or_else(|| of(OLDEST))?;
        Some(time.version(&space(&self.cluster(), database, collection), "", time.at()).mark())
    }
}

/// The time that pages must not be older than; `None` where the server has named none.
fn since(version: &Mark) -> Option<Timestamp> {
    let whole = u64::try_from(version.coarse()?).ok()?;
    let time =
        Timestamp { time: u32::try_from(whole >> 32).ok()?, increment: u32::try_from(whole & 0xffff_ffff).ok()? };
    (time != OLDEST).then_some(time)
}

impl<C: Credentials> Scan for MongoDbSource<C> {
    /// The version is the cluster time of what the survey has read, and the oldest there is on a server that tells none
    /// (a standalone one, FerretDB), where every change of the stream wins over what was scanned. Its space is that of
    /// [`of_cluster`](MongoDbSource::of_cluster).
    async fn survey(&self, origin: &str, segments: u32, deadline: Instant) -> Result<Scanned, Failure> {
        let namespace = namespace(origin)?;
        let shared = Shared::new(&self.connector, deadline);
        let mut reader = self.reader(&shared, namespace);
        reader.check().await?;
        let (first, time) = reader.end(1).await?;
        let (last, _) = reader.end(-1).await?;
        let rare = [first, last].iter().flatten().filter_map(Bracket::of).any(Bracket::is_rare);
        let items = reader.count().await;
        let segments = usize::try_from(segments).unwrap_or(usize::MAX);
        // Whatever the count says: it may be an old estimate.
        let sample = if segments > 1 { reader.sample(segments.saturating_mul(DRAWN)).await } else { Vec::new() };
        let outline = Outline { bounds: bounds(&sample, segments), rare };
        let version = self.version(namespace, time).ok_or_else(|| reader.refused("it has no version"))?;
        Ok(Scanned { version, items, facts: outline.to_text() })
    }

    async fn page(
        &self,
        origin: &str,
        scanned: &Scanned,
        segment: Segment,
        from: Option<&str>,
        format: Format,
        deadline: Instant,
    ) -> Result<Page, Failure> {
        let shared = Shared::new(&self.connector, deadline);
        let mut reader = self.reader(&shared, namespace(origin)?);
        let spans = spans(&scanned.facts, segment).map_err(|why| reader.refused(&why))?;
        let mut place = match from {
            None => Place::default(),
            Some(text) => Place::parse(text)
                .ok_or_else(|| reader.refused(&format!("the position `{text}` is none; begin the segment anew")))?,
        };
        let since = since(&scanned.version);
        while let Some(span) = spans.get(place.span) {
            let unwritten = |error| reader.refused(&format!("its `_id`s cannot be asked for: {error}"));
            let filter = &span.filter(place.after.as_ref()).map_err(unwritten)?;
            let question = Question { filter, order: 1, documents: place.documents(), only_ids: false, since };
            let batches = reader.find(&question).await?;
            let found = reader.documents(&batches)?;
            if found.is_empty() {
                place = place.of_next_span();
                continue;
            }
            let (mut page, mut ids, mut bytes) = (Page::default(), Vec::new(), 0);
            for document in found {
                let size = document.as_bytes().len();
                if bytes + size > PAGE_BYTES && !ids.is_empty() {
                    break;
                }
                bytes += size;
                ids.push(Id::of(document));
                page.items.push(scanned_item(document, format, origin));
            }
            let next = place.behind(span, &ids, bytes).ok_or_else(|| {
                let why = format!("the next {} documents have `_id`s that no page can begin behind", ids.len());
                reader.refused(&format!("{why} (lists, regular expressions, broken BSON): repair or remove them"))
            })?;
            page.next = spans.get(next.span).map(|_| next.to_text());
            return Ok(page);
        }
        Ok(Page::default())
    }
}

/// What a segment reads, by the survey's facts.
fn spans(facts: &str, segment: Segment) -> Result<Vec<Span>, String> {
    let outline = Outline::parse(facts).ok_or("the facts of its survey cannot be read; begin the scan anew")?;
    let segments = outline.bounds.len() + 1;
    if usize::try_from(segment.of).is_ok_and(|of| of < segments) {
        return Err(format!("it was divided into {segments} segments, and {} would not see all of it", segment.of));
    }
    Ok(outline.spans(usize::try_from(segment.number).unwrap_or(usize::MAX)))
}

fn scanned_item(document: &RawDocument, format: Format, origin: &str) -> Result<ScannedItem, Failure> {
    let key = DocumentKey::of(document.as_bytes())
        .map_err(|failure| Failure::new(failure.cause, format!("a document of `{origin}`: {}", failure.detail)))?;
    Ok(ScannedItem { key: key.key().as_bytes().to_vec(), item: item(document.as_bytes().to_vec(), format) })
}
