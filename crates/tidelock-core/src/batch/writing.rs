//! The rounds of a delivery, written to a target.

use super::{Delivery, Round};
use crate::cause::{Cause, Failure};
use crate::pipeline::Rules;
use crate::salvage::Salvaging;
use crate::slow::{Fenced, Source, Told, Wish, drain, merge, settle, truth};
use crate::target::{Call, Done, Manner, Operation, Outcome, Store};

/// How changes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// As news: guarded by version, otherwise blind.
    Live,
    /// As news that has waited: guarded by version, between two looks at the fences ([`drain`]).
    Drain,
    /// As what may be old: looked at before and after ([`settle`]).
    Slow,
    /// By reading the source again ([`truth`]).
    Truth,
}

impl Delivery<'_> {
    /// Writes until every change has its fate; gives how many operations that took. The `first` round of writes has a time of
    /// its own.
    pub async fn write<T: Store, R: Source>(
        &mut self,
        target: &T,
        source: Option<&R>,
        lane: Lane,
        mut first: Call,
        call: Call,
    ) -> usize {
        let fenced = Fenced::new(target, self.plan.fences_namespaces);
        let target = &Salvaging::new(&fenced);
        let mut sent = 0;
        loop {
            let Round { mut groups, mut operations, mut wishes } = self.round();
            if operations.is_empty() && wishes.is_empty() {
                return sent;
            }
            if lane == Lane::Truth && source.is_some() {
                for group in groups.drain(..) {
                    match self.wish(group) {
                        Some(wish) => wishes.push((group, wish)),
                        None => self
                            .settle(group, &Err(Failure::new(Cause::SourceUnreadable, "there is nothing to ask for"))),
                    }
                }
                operations.clear();
            }
            if !operations.is_empty() {
                sent += operations.len();
                // What is rare is boxed: it is deep, and the live lane's future would be as large.
                let mut outcomes = match lane {
                    Lane::Live => live(target, &operations, std::mem::replace(&mut first, call)).await,
                    Lane::Drain => Box::pin(drain(target, &operations, call)).await,
                    Lane::Slow | Lane::Truth => Box::pin(settle(target, &operations, call)).await,
                };
                if outcomes.len() != operations.len() {
                    let detail = format!("{} outcomes for {} operations", outcomes.len(), operations.len());
                    outcomes = vec![Err(Failure::new(Cause::UnexpectedAnswer, detail)); operations.len()];
                }
                self.blame_the_items(&groups, &mut outcomes);
                for ((&group, operation), outcome) in groups.iter().zip(&operations).zip(&outcomes) {
                    match only_the_source_can_tell(outcome).then(|| self.wish(group)).flatten() {
                        Some(wish) if source.is_some() => wishes.push((group, wish)),
                        _ => self.settle_noted(group, outcome, target.note(operation.into, operation.key)),
                    }
                }
            }
            if let Some(source) = source
                && !wishes.is_empty()
            {
                sent += wishes.len();
                let (groups, wishes): (Vec<usize>, Vec<Wish<'_>>) = wishes.into_iter().unzip();
                let told = Box::pin(truth(target, source, &wishes, call)).await;
                for ((&group, wish), Told { outcome, nowhere }) in groups.iter().zip(&wishes).zip(told) {
                    let note = target.note(wish.into, wish.into.key(wish.key));
                    self.settle_noted(group, &outcome, nowhere.or(note));
                }
            }
        }
    }

    /// Takes an outcome in. What is to be told of the change although it was applied, is told as well.
    fn settle_noted(&mut self, group: usize, outcome: &Outcome, note: Option<Failure>) {
        let asked = self.member(group);
        self.settle(group, outcome);
        if let (Some(failure), Ok(Done::Applied)) = (note, outcome)
            && let Some(fate) = asked.and_then(|act| self.fates.get_mut(act.slot))
        {
            fate.absorb(&Err(failure));
        }
    }

    /// A place that an item's own fields have made, and that is closed or missing while others take their documents, is the
    /// item's fault: it must not hold back its neighbours.
    fn blame_the_items(&self, groups: &[usize], outcomes: &mut [Outcome]) {
        let place = |group: usize| self.plan.groups.get(group).map(|group| group.place);
        let mut open =
            groups.iter().zip(&*outcomes).filter(|(_, outcome)| outcome.is_ok()).map(|(group, _)| place(*group));
        let Some(first) = open.next() else { return };
        let second = open.find(|place| *place != first);
        for (&group, outcome) in groups.iter().zip(outcomes) {
            let Err(failure) = outcome else { continue };
            let others_pass = place(group) != first || second.is_some();
            if others_pass
                && matches!(failure.cause, Cause::Forbidden | Cause::TargetMissing | Cause::UnsuitableTarget)
                && self.is_made(group)
            {
                *failure = Failure::new(Cause::Unroutable, failure.to_string());
            }
        }
    }

    /// The group's document is about to enter a place that fields of its item have made.
    fn is_made(&self, group: usize) -> bool {
        let origin = self.plan.groups.get(group).and_then(|group| self.plan.rules.get(group.origin));
        let made = matches!(origin, Some(Rules::ByItem(rules)) if rules.makes_names());
        made && self.member(group).is_some_and(|act| !act.leaves)
    }
}

/// Writes news. What keeps parts of the document that is stored has to look at it first; numbers of items may begin anew below a
/// fence, which the guard does not know.
async fn live<S: Store>(target: &S, operations: &[Operation<'_>], call: Call) -> Vec<Outcome> {
    let merges = |operation: &Operation<'_>| operation.manner.is_some_and(Manner::needs_stored);
    let counts = |operation: &Operation<'_>| operation.version.is_of_an_item();
    if !operations.iter().any(|operation| merges(operation) || counts(operation)) {
        return target.apply(operations, call).await;
    }
    let mut outcomes: Vec<Option<Outcome>> = vec![None; operations.len()];
    let mut told = |indices: Vec<usize>, written: Vec<Outcome>| {
        for (index, outcome) in indices.into_iter().zip(written) {
            if let Some(place) = outcomes.get_mut(index) {
                *place = Some(outcome);
            }
        }
    };
    let those = |wanted: &dyn Fn(&Operation<'_>) -> bool| -> (Vec<usize>, Vec<Operation<'_>>) {
        operations
            .iter()
            .enumerate()
            .filter(|(_, operation)| wanted(operation))
            .map(|(index, one)| (index, *one))
            .unzip()
    };
    let (plain, some) = those(&|operation| !merges(operation) && !counts(operation));
    if !some.is_empty() {
        told(plain, target.apply(&some, call).await);
    }
    let (merged, some) = those(&|operation| merges(operation) && !counts(operation));
    if !some.is_empty() {
        told(merged, Box::pin(merge(target, &some, call)).await);
    }
    let (counted, some) = those(&counts);
    if !some.is_empty() {
        told(counted, Box::pin(drain(target, &some, call)).await);
    }
    outcomes.into_iter().map_while(|outcome| outcome).collect()
}

/// Whether versions cannot settle it: another source's document, or a change that is older by number and newer by time.
fn only_the_source_can_tell(outcome: &Outcome) -> bool {
    matches!(outcome, Err(failure) if matches!(failure.cause, Cause::ForeignDocument | Cause::OrderConflict))
}
