//! Which changes belong together: one group per source key and place, ordered by version.
//!
//! As a rule a key has one place and a change does one thing there. Where the place depends on the item, a change may do two:
//! *enter* the place of its new image and *leave* that of its old one. Each place is settled by itself, the newest act first:
//! whatever becomes of the new image, the old place is left.

use super::endings::Ending;
use super::policy::Policies;
use super::{Batch, Before, Content, Order, Slot};
use crate::cause::{Cause, Failure};
use crate::image::Image;
use crate::key::Key;
use crate::locate::Located;
use crate::pipeline::{ItemRules, Pipeline, Routed, Rules};
use crate::target::{Deletes, Manner, Outcome, Place};
use std::collections::HashMap;
use std::ops::Range;

/// What a change does at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Act {
    /// Whose change.
    pub slot: usize,
    /// Nothing of the key remains at the place, whatever the change's content. Otherwise the content decides.
    pub leaves: bool,
}

/// Acts of one key at one place, as a range of [`Plan::acts`]: oldest version first, delivery order among equals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Where the group lies among the acts.
    pub members: Range<usize>,
    /// Where its changes come from.
    pub origin: usize,
    /// Index into [`Plan::places`].
    pub place: usize,
    /// The newest change is not the one that was delivered last, which says that numbers of items have begun anew: only the
    /// source can tell.
    pub disputed: bool,
    /// The newest two changes have one number: only the order of delivery says which is the newer one, where there is one.
    pub tied: bool,
}

/// Groups of a batch.
#[derive(Debug)]
pub struct Plan<'p> {
    /// What changes do, group by group.
    pub acts: Vec<Act>,
    /// The groups in the order in which they first occur.
    pub groups: Vec<Group>,
    /// Where documents go, and have been.
    pub places: Vec<Place>,
    /// The rules of each origin.
    pub rules: Vec<Rules<'p>>,
    /// By slot, in order: what became of single items on the way to their place.
    pub decided: Vec<(usize, Routed)>,
    /// Slots of which [what is remembered](crate::locate) says what becomes of them.
    pub settled: Vec<(usize, Outcome)>,
    /// Slots that go to the fallback queue whatever the target's state.
    pub buffered: Vec<usize>,
    /// By slot, whether fields that the target has no place for may be [set aside](crate::salvage); none where it is empty.
    pub salvaged: Vec<bool>,
    /// By slot, how its route wants it written; none where it is empty.
    pub manners: Vec<Option<&'p Manner>>,
    /// All documents that events of the batch take with them.
    pub endings: Vec<Ending>,
    /// Fences of [whole namespaces](crate::fence::namespace_key) count.
    pub fences_namespaces: bool,
}

/// Gathers acts.
struct Planner<'b, 'p> {
    payload: &'b [u8],
    batch: &'b Batch,
    /// By slot, what is left out; slots behind its end are not.
    left_out: &'b [bool],
    /// What is remembered of the places that documents have been in.
    located: Option<&'b Located>,
    plan: Plan<'p>,
    /// Of each origin the first one of its space: a stream that was enabled anew is the same source.
    spaces: Vec<usize>,
    groups: HashMap<(usize, &'b [u8], usize), usize>,
    /// Index of each place.
    places: HashMap<Place, usize>,
    /// Group and act.
    members: Vec<(usize, Act)>,
}

impl<'p> Plan<'p> {
    /// Groups a batch's changes. Slots without a key, a position, a stream, or a route are in no group.
    ///
    /// `payload` is what the batch was decoded from.
    #[must_use]
    pub fn new(payload: &[u8], batch: &Batch, pipeline: &'p Pipeline) -> Self {
        Self::without(payload, batch, pipeline, &[])
    }

    /// [`Plan::new`] for the slots that go to the target now. By slot, `buffered` says which do not; it may be empty.
    #[must_use]
    pub fn without(payload: &[u8], batch: &Batch, pipeline: &'p Pipeline, buffered: &[bool]) -> Self {
        Self::located(payload, batch, pipeline, buffered, None)
    }

    /// [`Plan::without`], where it is known what is [remembered](crate::locate). Where it is not, such changes leave nothing.
    #[must_use]
    pub fn located(
        payload: &[u8],
        batch: &Batch,
        pipeline: &'p Pipeline,
        buffered: &[bool],
        located: Option<&Located>,
    ) -> Self {
        let rules: Vec<_> = batch.origins.iter().map(|origin| pipeline.rules(&origin.name, origin.branch)).collect();
        let first = |space: &str| batch.origins.iter().position(|first| first.space == space).unwrap_or_default();
        let is_buffered = |slot: &usize| buffered.get(*slot) == Some(&true);
        let buffered_slots = (0..buffered.len()).filter(is_buffered).collect();
        let manners = if pipeline.has_manners() { manners(payload, batch, &rules) } else { Vec::new() };
        let plan = Self {
            acts: Vec::new(),
            groups: Vec::new(),
            places: Vec::new(),
            rules,
            decided: Vec::new(),
            settled: Vec::new(),
            buffered: buffered_slots,
            salvaged: Policies::salvaged(payload, batch, pipeline),
            manners,
            endings: Ending::of(batch, pipeline, buffered),
            fences_namespaces: pipeline.may_delete_all(),
        };
        let mut planner = Planner {
            payload,
            batch,
            left_out: buffered,
            located,
            plan,
            spaces: batch.origins.iter().map(|origin| first(&origin.space)).collect(),
            groups: HashMap::with_capacity(batch.slots.len()),
            places: HashMap::new(),
            members: Vec::with_capacity(batch.slots.len()),
        };
        planner.gather();
        let mut plan = planner.finish();
        plan.ignore(batch, pipeline);
        plan
    }

    /// Leaves out what is no change of a document, where the pipeline says so.
    fn ignore(&mut self, batch: &Batch, pipeline: &Pipeline) {
        let is_ignored = |slot: &Slot| match (&slot.content, batch.origin(slot)) {
            (Content::Failed(failure), Some(origin)) if failure.cause.is_of_a_collection() => {
                pipeline.ignores(failure.cause, &origin.name)
            }
            _ => false,
        };
        let ignored = batch.slots.iter().enumerate().filter(|(_, slot)| is_ignored(slot));
        let before = self.decided.len();
        self.decided.extend(ignored.map(|(index, _)| (index, Routed::Filtered)));
        if self.decided.len() > before {
            self.decided.sort_by_key(|(slot, _)| *slot);
        }
    }

    /// The place of a group.
    #[must_use]
    pub fn place(&self, group: usize) -> Option<&Place> {
        self.groups.get(group).and_then(|group| self.places.get(group.place))
    }

    /// Where a change is meant to go, as far as that is one place: for letters.
    #[must_use]
    pub fn place_of(&self, slot: usize) -> Option<&Place> {
        let of_slot = |group: &&Group| {
            let acts = self.acts.get(group.members.clone()).unwrap_or_default();
            acts.iter().find(|act| act.slot == slot).map(|act| (act.leaves, group.place))
        };
        let found = self.groups.iter().filter_map(|group| of_slot(&group)).min_by_key(|(leaves, _)| *leaves)?;
        self.places.get(found.1)
    }
}

impl<'b> Planner<'b, '_> {
    fn gather(&mut self) {
        // Rules are the plan's own; they are looked at while it grows.
        let rules = std::mem::take(&mut self.plan.rules);
        let places: Vec<Option<usize>> = rules
            .iter()
            .map(|rules| match rules {
                Rules::Same(Routed::To(place), ..) => Some(self.place(place)),
                _ => None,
            })
            .collect();
        for (index, slot) in self.batch.slots.iter().enumerate() {
            if self.left_out.get(index) == Some(&true) {
                continue;
            }
            let (Some(key), Some(origin), Some(_)) = (self.batch.key(slot), slot.origin, &slot.order) else {
                continue;
            };
            if let Some(outcome) = self.located.and_then(|located| located.settled(index)) {
                self.plan.settled.push((index, outcome));
                continue;
            }
            let manner = self.plan.manners.get(index).copied().flatten();
            if slot.content == Content::Delete && manner.is_some_and(|manner| manner.deletes == Deletes::Ignore) {
                self.plan.decided.push((index, Routed::Filtered));
                continue;
            }
            match (rules.get(origin), places.get(origin).copied().flatten()) {
                (_, Some(place)) => self.add(origin, key.as_bytes(), place, Act { slot: index, leaves: false }),
                (Some(Rules::ByItem(rules)), _) => self.move_of(index, slot, origin, key, rules),
                _ => {}
            }
        }
        self.plan.rules = rules;
    }

    fn place(&mut self, place: &Place) -> usize {
        if let Some(&known) = self.places.get(place) {
            return known;
        }
        let next = self.plan.places.len();
        self.plan.places.push(place.clone());
        self.places.insert(place.clone(), next);
        next
    }

    fn add(&mut self, origin: usize, key: &'b [u8], place: usize, act: Act) {
        let space = self.spaces.get(origin).copied().unwrap_or_default();
        let next = self.groups.len();
        let group = *self.groups.entry((space, key, place)).or_insert(next);
        self.members.push((group, act));
    }

    /// What a change does whose place depends on the item.
    fn move_of(&mut self, index: usize, slot: &Slot, origin: usize, key: Key<'b>, rules: &ItemRules<'_>) {
        // Where it goes nobody knows, so neither whether it leaves.
        let Some(entered) = entered(self.payload, self.batch, slot, key, rules) else { return };
        let remembered = self.located.and_then(|located| located.left(index));
        let left = match remembered.map_or_else(|| self.left(slot, key, rules), |left| Ok(left.to_vec())) {
            Ok(left) => left,
            Err(failure) => return self.plan.decided.push((index, Routed::Refused(failure))),
        };
        let entered: Vec<usize> = match entered {
            Entered::Nothing => Vec::new(),
            Entered::Places(places) => places.iter().map(|place| self.place(place)).collect(),
            Entered::Not(other) => {
                self.plan.decided.push((index, other));
                Vec::new()
            }
        };
        for &place in &entered {
            self.add(origin, key.as_bytes(), place, Act { slot: index, leaves: false });
        }
        for place in left {
            let place = self.place(&place);
            if !entered.contains(&place) {
                self.add(origin, key.as_bytes(), place, Act { slot: index, leaves: true });
            }
        }
        if matches!(slot.content, Content::Delete) && self.members.last().is_none_or(|(_, act)| act.slot != index) {
            self.plan.decided.push((index, Routed::Filtered));
        }
    }

    /// The places in which the document may have been.
    fn left(&self, slot: &Slot, key: Key<'_>, rules: &ItemRules<'_>) -> Result<Vec<Place>, Failure> {
        match &slot.before {
            Before::Absent => Ok(Vec::new()),
            Before::Image(range) => Ok(match rules.locate(&self.image(range), key) {
                Routed::To(place) => vec![place],
                // It never went anywhere.
                Routed::Filtered | Routed::Refused(_) => Vec::new(),
            }),
            // The state knows, and has not been asked.
            Before::Unknown if rules.are_located() => Ok(Vec::new()),
            Before::Unknown => rules.places(key).ok_or_else(|| {
                let why = "where the document was depends on its old image, which the record does not carry";
                let help = "the stream's view type must be NEW_AND_OLD_IMAGES, or the route's `locate` be `state`";
                Failure::new(Cause::MissingOldImage, format!("{why}: {help}"))
            }),
        }
    }

    fn image(&self, range: &Range<usize>) -> Image<'b> {
        self.batch.image(self.payload, range)
    }
}

impl<'p> Planner<'_, 'p> {
    fn finish(self) -> Plan<'p> {
        let Self { batch, mut plan, groups, mut members, .. } = self;
        members.sort_unstable_by(|&(a_group, a), &(b_group, b)| {
            let versions = || batch.compare(a.slot, b.slot);
            a_group.cmp(&b_group).then_with(versions).then(a.slot.cmp(&b.slot))
        });
        let mut places = vec![0; groups.len()];
        for ((_, _, place), group) in groups {
            if let Some(slot) = places.get_mut(group) {
                *slot = place;
            }
        }
        plan.acts = members.iter().map(|&(_, act)| act).collect();
        plan.groups = Vec::with_capacity(places.len());
        let mut from = 0;
        for (run, place) in members.chunk_by(|a, b| a.0 == b.0).zip(places) {
            let last = run.last().and_then(|(_, act)| batch.slots.get(act.slot));
            let origin = last.and_then(|slot| slot.origin).unwrap_or_default();
            let counts = last.is_some_and(|slot| matches!(slot.order, Some(Order::Field(..))));
            let delivered = || run.iter().map(|(_, act)| act.slot).max();
            let disputed = counts && run.last().map(|(_, act)| act.slot) != delivered();
            let tied = match run {
                [.., (_, one), (_, last)] => one.slot != last.slot && batch.is_tie(one.slot, last.slot),
                _ => false,
            };
            plan.groups.push(Group { members: from..from + run.len(), origin, place, disputed, tied });
            from += run.len();
        }
        plan
    }
}

/// The places that a change's document enters.
#[derive(Debug)]
pub(crate) enum Entered {
    /// It deletes.
    Nothing,
    /// As a rule one. Without its image it may be any of them: the source will tell.
    Places(Vec<Place>),
    /// None, for this reason.
    Not(Routed),
}

/// The places that a change enters whose place depends on the item; `None` where nobody knows.
pub(crate) fn entered(
    payload: &[u8],
    batch: &Batch,
    slot: &Slot,
    key: Key<'_>,
    rules: &ItemRules<'_>,
) -> Option<Entered> {
    match (&slot.content, &slot.image) {
        (Content::Failed(failure), _) if failure.cause == Cause::UnknownEvent || failure.cause.is_of_a_collection() => {
            None
        }
        (Content::Delete, _) => Some(Entered::Nothing),
        (_, Some(range)) => Some(match rules.locate(&batch.image(payload, range), key) {
            Routed::To(place) => Entered::Places(vec![place]),
            other => Entered::Not(other),
        }),
        (_, None) => rules.places(key).map(Entered::Places),
    }
}

/// By slot, how its route wants it written.
fn manners<'p>(payload: &[u8], batch: &Batch, rules: &[Rules<'p>]) -> Vec<Option<&'p Manner>> {
    let of = |slot: &Slot| {
        let image = slot.image.as_ref().or(slot.before.image()).map(|range| batch.image(payload, range));
        rules.get(slot.origin?)?.manner(image.as_ref())
    };
    batch.slots.iter().map(of).collect()
}
