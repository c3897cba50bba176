//! Fences in OpenSearch: an index of their own, looked into and swept.

use crate::bulk::{Guard, TEXT};
use crate::error::by_status;
use crate::judge::{Asked, Seen, Stored};
use crate::pace::now;
use crate::target::OpenSearchTarget;
use crate::{Request, Response, Transport};
use bytes::Bytes;
use serde::Deserialize;
use std::time::Duration;
use tidelock_core::cause::{Cause, Disposition, Failure};
use tidelock_core::fence::{FENCE_INDEX, Swept, Window, fence_id, is_of_namespace, overtakes};
use tidelock_core::json::write_string;
use tidelock_core::target::Call;
use tidelock_core::version::Mark;

/// Fences read at a time.
const PAGE: usize = 500;

/// How often documents that change while they are swept are looked at again.
pub(crate) const LOOKS: usize = 5;

/// Time that a page may take: less is not begun with.
pub(crate) const PAGE_TIME: Duration = Duration::from_secs(2);

/// The id under which the index remembers how far the last sweep came.
const WATERMARK: &str = "watermark";

/// The id of a location's fence.
pub(crate) fn id(index: &str, id: &str) -> String {
    fence_id(&[index.as_bytes(), b"", id.as_bytes()])
}

/// What a search finds, each of which is an `H`.
#[derive(Deserialize)]
pub(crate) struct Answer<H> {
    pub(crate) hits: Hits<H>,
}

#[derive(Deserialize)]
pub(crate) struct Hits<H> {
    pub(crate) hits: Vec<H>,
}

/// A fence as a search finds it.
#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_seq_no")]
    seq_no: i64,
    #[serde(rename = "_primary_term")]
    primary_term: i64,
    #[serde(rename = "_source")]
    source: Fence,
    sort: (i64, i64),
}

#[derive(Deserialize)]
struct Fence {
    index: String,
    id: String,
    routing: Option<String>,
    #[serde(rename = "_tidelock")]
    mark: Mark,
}

impl Fence {
    fn index(&self) -> &str {
        self.index.strip_prefix(TEXT).unwrap_or(&self.index)
    }

    fn id(&self) -> &str {
        self.id.strip_prefix(TEXT).unwrap_or(&self.id)
    }

    /// What decides the document's shard, where that is not its id.
    fn routing(&self) -> Option<&str> {
        self.routing.as_deref().map(|routing| routing.strip_prefix(TEXT).unwrap_or(routing))
    }
}

#[derive(Deserialize)]
struct Watermark {
    #[serde(rename = "_source")]
    source: WatermarkSource,
}

/// How far sweeps have come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
struct WatermarkSource {
    /// All fences written before this have been compared.
    #[serde(default)]
    watermark: Option<i64>,
    /// A pass that was cut short goes on behind this one. It goes back no further: a crowd of fences of one time would
    /// never be passed.
    #[serde(default)]
    resume: Option<(i64, i64)>,
    /// Something before that could not be looked at.
    #[serde(default)]
    skipped: bool,
    /// The index of this fence, of this version, has been cleared up to this sequence number.
    #[serde(default)]
    clearing: Option<(String, i64)>,
}

/// What a pass leaves behind.
#[derive(Debug, Default)]
struct Left {
    /// Something could not be looked at.
    skipped: bool,
    /// See [`WatermarkSource::clearing`].
    clearing: Option<(String, i64)>,
    /// Time was over before an index was cleared.
    uncleared: bool,
}

impl WatermarkSource {
    /// A pass was cut short, and goes on behind a fence.
    fn cut(&self, after: Option<(i64, i64)>, left: &Left) -> Self {
        let (skipped, clearing) = (left.skipped, left.clearing.clone());
        Self { watermark: self.watermark, resume: after, skipped, clearing }
    }
}

#[derive(Deserialize)]
struct BulkAnswer {
    items: Vec<std::collections::BTreeMap<String, BulkItem>>,
}

#[derive(Deserialize)]
struct BulkItem {
    status: u16,
}

/// Where the page after a hit begins. Sequence numbers count in each shard for itself, so that two fences can have the same:
/// the hit comes once more, and none is left out.
fn behind(hit: &Hit) -> (i64, i64) {
    (hit.sort.0, hit.sort.1 - 1)
}

/// Whether an error of one document may pass by itself.
fn passes(kind: &str) -> bool {
    ["shard", "timeout", "rejected", "circuit_breaking", "unavailable", "node_"].iter().any(|part| kind.contains(part))
}

/// It says something of the index, not of the moment.
fn is_of_the_index(failure: &Failure) -> bool {
    failure.cause.needs_mending() || failure.cause.disposition() == Disposition::Park || failure.cause == Cause::Blocked
}

/// A document to delete if it is still the one that was read.
pub(crate) struct Doomed<'a> {
    pub(crate) index: &'a str,
    pub(crate) id: &'a str,
    pub(crate) routing: Option<&'a str>,
    pub(crate) seen: Seen,
}

impl<T: Transport> OpenSearchTarget<T> {
    /// Compares young fences with the documents at their locations, then drops the fences that have expired.
    pub(crate) async fn sweep_fences(&self, window: Window, call: Call) -> Result<Swept, Failure> {
        let mut swept = Swept::default();
        let refreshed = self.ask("POST", format!("/{FENCE_INDEX}/_refresh"), Vec::new(), call).await?;
        // Serverless answers 404 as well, because it knows no refresh: there, fences have become visible long ago.
        if refreshed.status == 404 && self.whole(&refreshed).detail.contains("index_not_found_exception") {
            return Ok(Swept { complete: true, ..swept });
        }
        let known = self.watermark(call).await?;
        let from = window.from_ms(known.watermark);
        let mut left = Left { skipped: known.skipped, clearing: known.clearing.clone(), uncleared: false };
        let mut after = known.resume;
        loop {
            if now() + PAGE_TIME > call.deadline {
                self.set_watermark(known.cut(after, &left), call).await?;
                return Ok(swept);
            }
            let compared = match self.page(from, window.until_ms, after, call).await {
                Ok(page) => match page.last() {
                    None => break,
                    Some(last) => {
                        let compared = self.compare(&page, &mut swept, &mut left, call).await;
                        compared.map(|()| (page.len() == PAGE).then(|| behind(last)))
                    }
                },
                // Nothing has been deleted yet. A watermark would make an index without a mapping.
                Err(failure) if failure.cause == Cause::TargetMissing => {
                    return Ok(Swept { complete: true, ..swept });
                }
                Err(failure) => Err(failure),
            };
            match compared {
                Ok(None) => break,
                Ok(last) => after = last,
                Err(failure) => {
                    // The next sweep need not begin where this one did.
                    self.set_watermark(known.cut(after, &left), call).await?;
                    return Err(failure);
                }
            }
        }
        // What could not be looked at is looked at again, each time: by who may, or when it is open again.
        let watermark = if left.skipped { known.watermark } else { Some(window.until_ms) };
        let clearing = left.clearing.filter(|_| left.skipped);
        self.set_watermark(WatermarkSource { watermark, clearing, ..WatermarkSource::default() }, call).await?;
        let mut after = None;
        loop {
            if now() + PAGE_TIME > call.deadline {
                return Ok(swept);
            }
            let page = self.page(i64::MIN, window.expired_ms, after, call).await?;
            let Some(last) = page.last() else { break };
            after = Some(behind(last));
            let last_page = page.len() < PAGE;
            let doomed: Vec<Doomed<'_>> = page
                .iter()
                .map(|hit| Doomed {
                    index: FENCE_INDEX,
                    id: &hit.id,
                    routing: None,
                    seen: Seen { seq_no: hit.seq_no, primary_term: hit.primary_term, version: 0 },
                })
                .collect();
            // One that has been written anew meanwhile has not expired.
            let gone = self.delete(&doomed, call).await?;
            swept.expired += gone.iter().filter(|gone| **gone).count();
            if last_page {
                break;
            }
        }
        swept.complete = !left.uncleared;
        Ok(swept)
    }

    /// Clears the index of a namespace's fence, in a part of the time that is left: one that is large must not leave the other
    /// fences unswept.
    async fn clear_swept(&self, hit: &Hit, swept: &mut Swept, left: &mut Left, call: Call) -> Result<(), Failure> {
        let own = format!("{}:{}", hit.id, hit.source.mark.exact);
        let known = left.clearing.as_ref().filter(|(fence, _)| *fence == own).map(|(_, after)| *after);
        let deadline = now() + call.deadline.saturating_duration_since(now()) / 2;
        let reached = self.clear_index(hit.source.index(), &hit.source.mark, known, Call { deadline, ..call }).await;
        match reached {
            Ok(reached) => {
                swept.removed += reached.cleared.removed;
                if reached.cleared.complete {
                    left.clearing = left.clearing.take().filter(|(fence, _)| *fence != own);
                } else {
                    (left.skipped, left.uncleared) = (true, true);
                    left.clearing = reached.after.map(|after| (own, after));
                }
                Ok(())
            }
            Err(_) if now() >= deadline => {
                (left.skipped, left.uncleared) = (true, true);
                Ok(())
            }
            Err(failure) if is_of_the_index(&failure) => {
                tracing::warn!(index = hit.source.index(), %failure, "the sweep cannot clear this index");
                left.skipped = true;
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    /// Deletes what a page of fences overtakes.
    async fn compare(&self, page: &[Hit], swept: &mut Swept, left: &mut Left, call: Call) -> Result<(), Failure> {
        let of_namespace = |hit: &&Hit| is_of_namespace(hit.source.id(), &hit.source.mark);
        let (namespaces, mut open): (Vec<&Hit>, Vec<&Hit>) = page.iter().partition(of_namespace);
        swept.compared += page.len();
        for hit in namespaces {
            self.clear_swept(hit, swept, left, call).await?;
        }
        for _ in 0..LOOKS {
            if open.is_empty() {
                return Ok(());
            }
            let places = open
                .iter()
                .map(|hit| Asked { routing: hit.source.routing(), ..Asked::new(hit.source.index(), hit.source.id()) });
            let stored = self.read(FENCE_INDEX, places, call.deadline).await?;
            let mut doomed = Vec::new();
            let mut of = Vec::new();
            for (hit, stored) in open.iter().zip(stored) {
                match stored {
                    Stored::Document(seen, mark) if overtakes(&hit.source.mark, mark.as_ref()) => {
                        let (index, id, routing) = (hit.source.index(), hit.source.id(), hit.source.routing());
                        doomed.push(Doomed { index, id, routing, seen });
                        of.push(*hit);
                    }
                    Stored::Document(..) | Stored::Nothing => {}
                    Stored::Unknown(kind, reason) if passes(&kind) => {
                        return Err(Failure::new(Cause::Unavailable, format!("{kind}: {reason}")));
                    }
                    // A closed index, or one of another pipeline of the domain: no reason to leave the others unswept.
                    Stored::Unknown(kind, reason) => {
                        tracing::warn!(
                            index = hit.source.index(),
                            kind,
                            reason,
                            "the sweep cannot look into this index"
                        );
                        left.skipped = true;
                    }
                }
            }
            let gone = self.delete(&doomed, call).await?;
            swept.removed += gone.iter().filter(|gone| **gone).count();
            open = of.into_iter().zip(gone).filter(|(_, gone)| !gone).map(|(hit, _)| hit).collect();
        }
        match open.first() {
            None => Ok(()),
            Some(hit) => {
                let detail = format!("`{}` in `{}` was changed {LOOKS} times", hit.source.id(), hit.source.index());
                Err(Failure::new(Cause::LostRace, detail))
            }
        }
    }

    /// Fences written in a span of time, oldest first.
    async fn page(&self, from: i64, until: i64, after: Option<(i64, i64)>, call: Call) -> Result<Vec<Hit>, Failure> {
        let after = after.map_or(String::new(), |(written, seq_no)| format!(r#","search_after":[{written},{seq_no}]"#));
        let body = format!(
            r#"{{"size":{PAGE},"seq_no_primary_term":true,"_source":["index","id","routing","_tidelock"],"query":{{"range":{{"written":{{"gte":{from},"lt":{until}}}}}}},"sort":[{{"written":{{"order":"asc","unmapped_type":"long"}}}},{{"_seq_no":"asc"}}]{after}}}"#
        );
        let path = format!("/{FENCE_INDEX}/_search?allow_partial_search_results=false");
        let answer = self.ask("POST", path, body.into_bytes(), call).await?;
        let answer: Answer<Hit> = self.parse(&answer, "_search")?;
        Ok(answer.hits.hits)
    }

    /// Deletes what is still the same; says of each, by position, whether it is gone.
    pub(crate) async fn delete(&self, doomed: &[Doomed<'_>], call: Call) -> Result<Vec<bool>, Failure> {
        if doomed.is_empty() {
            return Ok(Vec::new());
        }
        let mut body = Vec::new();
        for Doomed { index, id, routing, seen } in doomed {
            body.extend_from_slice(b"{\"delete\":{\"_index\":");
            write_string(&mut body, index);
            body.extend_from_slice(b",\"_id\":");
            write_string(&mut body, id);
            if let Some(routing) = routing {
                body.extend_from_slice(b",\"routing\":");
                write_string(&mut body, routing);
            }
            body.extend_from_slice(
                format!(",\"if_seq_no\":{},\"if_primary_term\":{}}}}}\n", seen.seq_no, seen.primary_term).as_bytes(),
            );
        }
        let path = format!("/{FENCE_INDEX}/_bulk?filter_path=errors,items.*.status,items.*.error");
        let answer = self.ask("POST", path, body, call).await?;
        let answer: BulkAnswer = self.parse(&answer, "_bulk")?;
        if answer.items.len() != doomed.len() {
            let detail = format!("{} items for {} deletes", answer.items.len(), doomed.len());
            return Err(Failure::new(Cause::UnexpectedAnswer, detail));
        }
        let status =
            |item: &std::collections::BTreeMap<String, BulkItem>| item.values().next().map_or(0, |item| item.status);
        answer
            .items
            .iter()
            .map(status)
            .map(|status| match status {
                200..=299 | 404 => Ok(true),
                409 => Ok(false),
                status => Err(Failure::new(by_status(status), format!("a delete of the sweep was answered {status}"))),
            })
            .collect()
    }

    async fn watermark(&self, call: Call) -> Result<WatermarkSource, Failure> {
        let answer = self.ask("GET", format!("/{FENCE_INDEX}/_doc/{WATERMARK}"), Vec::new(), call).await?;
        if answer.status == 404 {
            return Ok(WatermarkSource::default());
        }
        // One that cannot be read costs a sweep of everything, and no more.
        Ok(serde_json::from_slice::<Watermark>(&answer.body).map(|found| found.source).unwrap_or_default())
    }

    async fn set_watermark(&self, known: WatermarkSource, call: Call) -> Result<(), Failure> {
        let number = |number: Option<i64>| number.map_or("null".to_owned(), |number| number.to_string());
        let resume = known.resume.map_or("null".to_owned(), |(written, seq_no)| format!("[{written},{seq_no}]"));
        let mut body = format!(r#"{{"watermark":{},"resume":{resume}"#, number(known.watermark)).into_bytes();
        if known.skipped {
            body.extend_from_slice(b",\"skipped\":true");
        }
        if let Some((fence, after)) = &known.clearing {
            body.extend_from_slice(b",\"clearing\":[");
            write_string(&mut body, fence);
            body.extend_from_slice(format!(",{after}]").as_bytes());
        }
        body.push(b'}');
        let answer = self.ask("PUT", format!("/{FENCE_INDEX}/_doc/{WATERMARK}"), body, call).await?;
        if (200..300).contains(&answer.status) { Ok(()) } else { Err(self.whole(&answer)) }
    }

    /// Sends a request; an answer that is no success, but for 404, is its failure.
    pub(crate) async fn ask(
        &self,
        method: &'static str,
        path: String,
        body: Vec<u8>,
        call: Call,
    ) -> Result<Response, Failure> {
        let content_type = if path.contains("/_bulk") { "application/x-ndjson" } else { "application/json" };
        let request = Request { method, path, content_type, body: Bytes::from(body) };
        let response = self.transport.send(request, call.deadline).await?;
        match response.status {
            200..=299 | 404 => Ok(response),
            _ => Err(self.whole(&response)),
        }
    }

    pub(crate) fn parse<A: serde::de::DeserializeOwned>(&self, response: &Response, api: &str) -> Result<A, Failure> {
        if response.status == 404 {
            return Err(self.whole(response));
        }
        serde_json::from_slice(&response.body).map_err(|error| {
            let place = self.transport.place();
            Failure::new(Cause::UnexpectedAnswer, format!("{place}: the {api} answer cannot be read: {error}"))
        })
    }

    /// How a slow lane's write over what was seen is guarded.
    ///
    /// A compare-and-set raises `_version` by one only. Where that would leave it below the coarse version of what is written,
    /// and so open to older writes, the external version is the guard, which refuses all that is not older.
    pub(crate) fn guard_over(coarse: i64, over: Option<Seen>) -> Guard {
        match over {
            Some(seen) if seen.version >= coarse => Guard::CompareAndSet(seen),
            _ => Guard::External,
        }
    }
}
