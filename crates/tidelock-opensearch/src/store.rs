//! The target as slow lanes see it: look, then write over what was seen.

use crate::fence;
use crate::judge::{self, Asked, Seen, Stored as Read};
use crate::lane::{Ended, Judging};
use crate::target::OpenSearchTarget;
use crate::{Request, Transport};
use bytes::Bytes;
use std::time::Instant;
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::fence::{Cleared, FENCE_INDEX, Swept, Window};
use tidelock_core::target::{Call, Found, Manner, Operation, Place, Put, Store, Stored};
use tidelock_core::version::Mark;

/// Operations looked at with one request.
const LOOK: usize = 500;

/// Fences looked at with one request; most are not there.
const FENCES: usize = 1_000;

impl<T: Transport> OpenSearchTarget<T> {
    async fn look_at(&self, operations: &[Operation<'_>], call: Call) -> Vec<Result<Found<Seen>, Failure>> {
        let ids: Vec<(String, String)> = operations
            .iter()
            .map(|operation| {
                let id = operation.key.text_id();
                let fence = fence::id(&operation.into.name, &id);
                (id, fence)
            })
            .collect();
        let document = |operation: &Operation<'_>| operation.manner.is_some_and(Manner::needs_stored);
        let places: Vec<Asked<'_>> = operations
            .iter()
            .zip(&ids)
            .flat_map(|(operation, (id, fence))| {
                let (routing, whole) = (operation.into.routing.as_deref(), document(operation));
                [Asked { routing, whole, ..Asked::new(&operation.into.name, id) }, Asked::new(FENCE_INDEX, fence)]
            })
            .collect();
        let index = operations.first().map_or(FENCE_INDEX, |operation| operation.into.name.as_str());
        match self.read_as(index, places.into_iter(), call.deadline, judge::read_whole).await {
            Ok(stored) => {
                let mut stored = stored.into_iter();
                ids.iter()
                    .zip(operations)
                    .map(|((id, _), operation)| match (stored.next(), stored.next()) {
                        (Some((read, body)), Some((fence, _))) => {
                            found(read, body.filter(|_| document(operation)), fence, id)
                        }
                        _ => Err(Failure::new(Cause::UnexpectedAnswer, "too few documents in the answer")),
                    })
                    .collect()
            }
            Err(failure) => operations.iter().map(|_| Err(failure.clone())).collect(),
        }
    }

    async fn fences_of(&self, operations: &[Operation<'_>], call: Call) -> Vec<Result<Option<Mark>, Failure>> {
        let ids: Vec<String> =
            operations.iter().map(|operation| fence::id(&operation.into.name, &operation.key.text_id())).collect();
        match self.read(FENCE_INDEX, ids.iter().map(|id| Asked::new(FENCE_INDEX, id)), call.deadline).await {
            Ok(stored) => operations
                .iter()
                .zip(stored)
                .map(|(operation, read)| fence_of(read, || operation.key.text_id()))
                .collect(),
            Err(failure) => operations.iter().map(|_| Err(failure.clone())).collect(),
        }
    }
}

fn unknown(kind: &str, reason: &str) -> Failure {
    // Who looks before writing comes to know of it here.
    let several = kind == "illegal_argument_exception" && reason.contains("more than one ind");
    let cause = if several { Cause::UnsuitableTarget } else { Cause::Unavailable };
    Failure::new(cause, format!("{kind}: {reason}"))
}

fn found(document: Read, body: Option<Vec<u8>>, fence: Read, id: &str) -> Result<Found<Seen>, Failure> {
    let document = match document {
        Read::Nothing => None,
        Read::Document(witness, mark) => Some(Stored { witness, mark, body }),
        Read::Unknown(kind, reason) => return Err(unknown(&kind, &reason)),
    };
    Ok(Found { document, fence: fence_of(fence, || id.to_owned())? })
}

/// The delete that a fence remembers; `id` names its document.
fn fence_of(fence: Read, id: impl FnOnce() -> String) -> Result<Option<Mark>, Failure> {
    match fence {
        Read::Nothing => Ok(None),
        Read::Document(_, Some(mark)) => Ok(Some(mark)),
        Read::Document(_, None) => {
            let detail =
                format!("the fence of `{}` in {FENCE_INDEX} has no _tidelock that can be read; delete it", id());
            Err(Failure::new(Cause::FenceUnwritten, detail))
        }
        Read::Unknown(kind, reason) => Err(unknown(&kind, &reason)),
    }
}

impl<T: Transport> Store for OpenSearchTarget<T> {
    type Witness = Seen;

    async fn look(&self, operations: &[Operation<'_>], call: Call) -> Vec<Result<Found<Seen>, Failure>> {
        let mut found = Vec::with_capacity(operations.len());
        for some in operations.chunks(LOOK) {
            found.extend(self.look_at(some, call).await);
        }
        found
    }

    async fn fences(&self, operations: &[Operation<'_>], call: Call) -> Vec<Result<Option<Mark>, Failure>> {
        let mut found = Vec::with_capacity(operations.len());
        for some in operations.chunks(FENCES) {
            found.extend(self.fences_of(some, call).await);
        }
        found
    }

    async fn ping(&self, deadline: Instant) -> Result<(), Failure> {
        let request =
            Request { method: "GET", path: "/".to_owned(), content_type: "application/json", body: Bytes::new() };
        let response = self.transport.send(request, deadline).await?;
        match response.status {
            // Serverless knows no such page: whoever gets that far is let in.
            200..=299 | 404 => Ok(()),
            _ => Err(self.whole(&response)),
        }
    }

    async fn put(&self, puts: &[Put<'_, Seen>], call: Call) -> Vec<Result<bool, Failure>> {
        let guards: Vec<_> = puts.iter().map(|put| Self::guard_over(put.operation.version.coarse, put.over)).collect();
        let work = self.work(puts.iter().map(|put| put.operation).collect(), call, Judging::Slow);
        let result = |ended| match ended {
            Ended::Done(_) => Ok(true),
            Ended::Changed => Ok(false),
            Ended::Failed(failure) => Err(failure),
        };
        self.carry_out(&work, &guards).await.into_iter().map(result).collect()
    }

    async fn sweep(&self, window: Window, call: Call) -> Result<Swept, Failure> {
        self.sweep_fences(window, call).await
    }

    async fn clear(&self, into: &Place, fence: &Mark, call: Call) -> Result<Cleared, Failure> {
        Ok(self.clear_index(&into.name, fence, None, call).await?.cleared)
    }
}
