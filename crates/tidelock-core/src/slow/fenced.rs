//! A target whose fences are those of documents and of whole namespaces.

use super::answers;
use crate::cause::Failure;
use crate::encode::Format;
use crate::fence::{Cleared, Swept, Window, namespace_key};
use crate::key::Key;
use crate::target::{Call, Found, Operation, Outcome, Place, Put, Store, Target, Write};
use crate::version::{Mark, mongodb};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Instant;

/// Looks at the fence of each operation's namespace beside that of its document: the newer one counts. Where nobody wants
/// namespaces deleted, nothing more is read.
#[derive(Debug)]
pub(crate) struct Fenced<'a, S> {
    store: &'a S,
    /// Some route wants to delete the documents of collections that are gone.
    wanted: bool,
}

impl<'a, S: Store> Fenced<'a, S> {
    pub(crate) fn new(store: &'a S, wanted: bool) -> Self {
        Self { store, wanted }
    }

    /// By position, the fence of the operation's namespace, where it is newer than the operation. Each is read once.
    async fn namespaces(&self, operations: &[Operation<'_>], call: Call) -> Vec<Result<Option<Mark>, Failure>> {
        let mut all: Vec<(Place, Vec<u8>, &Operation<'_>)> = Vec::new();
        let mut known: HashMap<(&str, bool, &str), usize> = HashMap::new();
        let mut of: Vec<Option<usize>> = Vec::with_capacity(operations.len());
        for operation in operations {
            let space = operation.version.space;
            let is_own = self.wanted && space.strip_prefix(mongodb::KIND).is_some_and(|rest| rest.starts_with(':'));
            of.push(is_own.then(|| {
                let place = operation.into;
                *known.entry((&place.name, place.literal, space)).or_insert_with(|| {
                    all.push((place.whole(), namespace_key(space), operation));
                    all.len() - 1
                })
            }));
        }
        if all.is_empty() {
            return operations.iter().map(|_| Ok(None)).collect();
        }
        let asked: Vec<Operation<'_>> = all.iter().map(|(place, key, one)| fence_of(place, key, one)).collect();
        let fences = answers(self.store.fences(&asked, call).await, asked.len());
        let newer =
            |(operation, index): (&Operation<'_>, Option<usize>)| match index.and_then(|index| fences.get(index)) {
                None => Ok(None),
                Some(Err(failure)) => Err(failure.clone()),
                Some(Ok(fence)) => {
                    let is_newer = |fence: &&Mark| fence.compare(&operation.version.mark()) == Some(Ordering::Greater);
                    Ok(fence.as_ref().filter(is_newer).cloned())
                }
            };
        operations.iter().zip(of).map(newer).collect()
    }
}

/// What reads a namespace's fence.
fn fence_of<'o>(into: &'o Place, key: &'o [u8], one: &Operation<'o>) -> Operation<'o> {
    let (key, version) = (Key::from_bytes(key), one.version);
    Operation::plain(into, key, Write::Delete, version)
}

/// The fence that counts.
fn newer(own: Option<Mark>, namespace: Option<Mark>) -> Option<Mark> {
    match (own, namespace) {
        (Some(own), Some(namespace)) => {
            let stays = matches!(own.compare(&namespace), Some(Ordering::Greater | Ordering::Equal));
            Some(if stays { own } else { namespace })
        }
        (own, namespace) => own.or(namespace),
    }
}

impl<S: Store> Target for Fenced<'_, S> {
    fn format(&self) -> Format {
        self.store.format()
    }

    async fn apply(&self, operations: &[Operation<'_>], call: Call) -> Vec<Outcome> {
        self.store.apply(operations, call).await
    }

    async fn misfits(&self, refused: &[(Operation<'_>, &Failure)], deadline: Instant) -> Vec<Vec<String>> {
        self.store.misfits(refused, deadline).await
    }
}

impl<S: Store> Store for Fenced<'_, S> {
    type Witness = S::Witness;

    async fn look(&self, operations: &[Operation<'_>], call: Call) -> Vec<Result<Found<S::Witness>, Failure>> {
        let found = self.store.look(operations, call).await;
        if !self.wanted || operations.is_empty() {
            return found;
        }
        let found = answers(found, operations.len()).into_iter();
        let both = found.zip(self.namespaces(operations, call).await);
        both.map(|(found, namespace)| {
            let found = found?;
            Ok(Found { fence: newer(found.fence, namespace?), document: found.document })
        })
        .collect()
    }

    async fn fences(&self, operations: &[Operation<'_>], call: Call) -> Vec<Result<Option<Mark>, Failure>> {
        let fences = self.store.fences(operations, call).await;
        if !self.wanted || operations.is_empty() {
            return fences;
        }
        let fences = answers(fences, operations.len()).into_iter();
        fences.zip(self.namespaces(operations, call).await).map(|(own, all)| Ok(newer(own?, all?))).collect()
    }

    async fn ping(&self, deadline: Instant) -> Result<(), Failure> {
        self.store.ping(deadline).await
    }

    async fn put(&self, puts: &[Put<'_, S::Witness>], call: Call) -> Vec<Result<bool, Failure>> {
        self.store.put(puts, call).await
    }

    async fn sweep(&self, window: Window, call: Call) -> Result<Swept, Failure> {
        self.store.sweep(window, call).await
    }

    async fn clear(&self, into: &Place, fence: &Mark, call: Call) -> Result<Cleared, Failure> {
        self.store.clear(into, fence, call).await
    }
}
