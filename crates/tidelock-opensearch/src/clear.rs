//! Clearing an index: all documents that are older than the end of the collection they are from.
//!
//! Their versions cannot be searched for, so the index is read through in the order in which it was written: what changes
//! meanwhile comes once more.

use crate::fence::{Answer, Doomed, LOOKS, PAGE_TIME};
use crate::index::path_segment;
use crate::judge::{Asked, Seen, Stored};
use crate::pace::now;
use crate::target::OpenSearchTarget;
use crate::{Response, Transport};
use serde::Deserialize;
use serde_json::value::RawValue;
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::fence::{Cleared, overtakes};
use tidelock_core::target::Call;
use tidelock_core::version::Mark;

/// Documents read at a time: more than an index has shards, in each of which sequence numbers count for themselves.
const PAGE: usize = 1_000;

/// A document as a search finds it.
#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_index")]
    index: String,
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_routing")]
    routing: Option<String>,
    #[serde(rename = "_seq_no")]
    seq_no: i64,
    #[serde(rename = "_primary_term")]
    primary_term: i64,
    #[serde(rename = "_source")]
    source: Option<Source>,
}

#[derive(Deserialize)]
struct Source {
    #[serde(rename = "_tidelock")]
    mark: Option<Box<RawValue>>,
}

impl Hit {
    fn mark(&self) -> Option<Mark> {
        serde_json::from_str(self.source.as_ref()?.mark.as_ref()?.get()).ok()
    }

    fn doomed(&self, seen: Seen) -> Doomed<'_> {
        Doomed { index: &self.index, id: &self.id, routing: self.routing.as_deref(), seen }
    }
}

/// How far an index has been cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reached {
    pub(crate) cleared: Cleared,
    /// Behind which sequence number the rest begins.
    pub(crate) after: Option<i64>,
}

impl<T: Transport> OpenSearchTarget<T> {
    /// Deletes what a namespace's fence overtakes, beginning behind a sequence number.
    pub(crate) async fn clear_index(
        &self,
        index: &str,
        fence: &Mark,
        after: Option<i64>,
        call: Call,
    ) -> Result<Reached, Failure> {
        let mut reached = Reached { after, ..Reached::default() };
        let refreshed = self.ask("POST", format!("/{}/_refresh", path_segment(index)), Vec::new(), call).await;
        match refreshed {
            Ok(answer) if self.is_missing(&answer) => return Ok(whole(reached)),
            // Without that right, and in Serverless, what was written a moment ago is left to the sweep.
            Err(failure) if failure.cause != Cause::Forbidden => return Err(failure),
            _ => {}
        }
        loop {
            if now() + PAGE_TIME > call.deadline {
                return Ok(reached);
            }
            let Some(page) = self.page_of(index, reached.after, call).await? else { return Ok(whole(reached)) };
            reached.cleared.removed += self.remove(&page, fence, call).await?;
            let Some(last) = page.last().filter(|_| page.len() == PAGE) else { return Ok(whole(reached)) };
            // Two documents can have the same number: they come once more, and none is left out.
            let behind = last.seq_no - 1;
            reached.after = Some(if reached.after == Some(behind) { last.seq_no } else { behind });
        }
    }

    /// Deletes those of a page that the fence overtakes; gives how many.
    async fn remove(&self, page: &[Hit], fence: &Mark, call: Call) -> Result<usize, Failure> {
        let seen = |hit: &Hit| Seen { seq_no: hit.seq_no, primary_term: hit.primary_term, version: 0 };
        let mut open: Vec<(&Hit, Seen)> =
            page.iter().filter(|hit| overtakes(fence, hit.mark().as_ref())).map(|hit| (hit, seen(hit))).collect();
        let mut removed = 0;
        for _ in 0..LOOKS {
            let doomed: Vec<Doomed<'_>> = open.iter().map(|(hit, seen)| hit.doomed(*seen)).collect();
            let gone = self.delete(&doomed, call).await?;
            removed += gone.iter().filter(|gone| **gone).count();
            let changed: Vec<&Hit> =
                open.iter().zip(&gone).filter(|(_, gone)| !**gone).map(|((hit, _), _)| *hit).collect();
            let Some(first) = changed.first() else { return Ok(removed) };
            // What has changed meanwhile may be older again.
            let asked =
                changed.iter().map(|hit| Asked { routing: hit.routing.as_deref(), ..Asked::new(&hit.index, &hit.id) });
            let stored = self.read(&first.index, asked, call.deadline).await?;
            open = changed
                .iter()
                .zip(stored)
                .filter_map(|(hit, stored)| match stored {
                    Stored::Document(seen, mark) if overtakes(fence, mark.as_ref()) => Some((*hit, seen)),
                    _ => None,
                })
                .collect();
        }
        match open.first() {
            None => Ok(removed),
            Some((hit, _)) => {
                let detail = format!("`{}` in `{}` was changed {LOOKS} times", hit.id, hit.index);
                Err(Failure::new(Cause::LostRace, detail))
            }
        }
    }

    /// Documents behind a sequence number; `None` where there is no such index.
    async fn page_of(&self, index: &str, after: Option<i64>, call: Call) -> Result<Option<Vec<Hit>>, Failure> {
        let after = after.map_or(String::new(), |after| format!(r#","search_after":[{after}]"#));
        let body = format!(
            r#"{{"size":{PAGE},"seq_no_primary_term":true,"track_total_hits":false,"_source":["_tidelock"],"query":{{"match_all":{{}}}},"sort":[{{"_seq_no":"asc"}}]{after}}}"#
        );
        let path = format!("/{}/_search?allow_partial_search_results=false", path_segment(index));
        let answer = self.ask("POST", path, body.into_bytes(), call).await?;
        if self.is_missing(&answer) {
            return Ok(None);
        }
        let answer: Answer<Hit> = self.parse(&answer, "_search")?;
        Ok(Some(answer.hits.hits))
    }

    fn is_missing(&self, answer: &Response) -> bool {
        answer.status == 404 && self.whole(answer).detail.contains("index_not_found_exception")
    }
}

/// Everything has been looked at.
fn whole(reached: Reached) -> Reached {
    Reached { cleared: Cleared { complete: true, ..reached.cleared }, after: None }
}
