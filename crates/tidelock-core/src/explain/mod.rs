//! What would become of an event, record by record, as far as it can be known without the target.
//!
//! The same decoder, routes, transforms and plan as a function uses; the rounds of a delivery are gone through with a target that
//! takes everything but what it could tell from the operation alone.

use crate::batch::{Batch, Content, Delivery, Fate, Plan, Round, Slot, buffered};
use crate::bson::{Elements, write_extended};
use crate::cause::{Cause, Disposition, Failure};
use crate::diff::quoted;
use crate::encode::{Format, write_bson_key};
use crate::image::Image;
use crate::json::{Cursor, unescape};
use crate::key::Key;
use crate::pipeline::{Asked, Pipeline, Rules};
use crate::source::{EnvelopeError, Reader, kind_of};
use crate::target::{Deletes, Done, Manner, Operation, Place, Write};
use crate::transform::Traced;
use std::ops::Range;

/// A record, or what one of the further routes makes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation<B> {
    /// The record's number in the event, from 0.
    pub record: usize,
    /// Which of the routes that take it this is about: 0, or one that some `also` names.
    pub branch: usize,
    /// The source's name of the operation: `INSERT`.
    pub event: Option<String>,
    /// The position as the record has it.
    pub position: Option<String>,
    /// The name that routes match: the table's.
    pub source: Option<String>,
    /// The stream's own name in full.
    pub stream: Option<String>,
    /// The key as JSON in the source's notation.
    pub key: Option<String>,
    /// The version that guards what is written.
    pub version: Option<Guarding>,
    /// What the routes say to the item as it is now, or as it was where the change deletes it.
    pub routes: Vec<Asked>,
    /// What they say to the item as it was before, where it took another route then; else empty.
    pub routes_before: Vec<Asked>,
    /// What the steps of the route's `transform` change.
    pub steps: Vec<Traced>,
    /// What the change does, place by place.
    pub acts: Vec<Act<B>>,
    /// It leaves further places: those that the [state remembers](crate::locate).
    pub recalls: bool,
    /// What becomes of it.
    pub outlook: Outlook,
}

/// See [`Version`](crate::version::Version).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarding {
    /// Whose numbers these are.
    pub space: String,
    /// The source's own epoch.
    pub label: String,
    /// The number whole.
    pub exact: String,
    /// The 63 bits that OpenSearch compares.
    pub coarse: i64,
    /// The source's time of the change, milliseconds since 1970.
    pub at: i64,
}

/// What a change does at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act<B> {
    /// Nothing of the key remains at the place.
    pub leaves: bool,
    /// Where.
    pub place: Place,
    /// The document's id there, as JSON.
    pub id: String,
    /// How its route wants it written; `None`: plainly.
    pub manner: Option<Manner>,
    /// What comes of it.
    pub becomes: Becomes<B>,
}

/// What comes of an act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Becomes<B> {
    /// An operation is sent.
    Sent {
        /// What the target makes of it.
        request: B,
        /// It deletes, or leaves a fence.
        deletes: bool,
        /// Records of the batch that it stands for: older changes of the key.
        stands_for: Vec<usize>,
    },
    /// The source is asked what the item is now, and that is written.
    Read {
        /// Records of the batch that this stands for.
        stands_for: Vec<usize>,
    },
    /// A newer change of the key stands for it: that of this record.
    StoodFor(usize),
    /// Nothing: it cannot be written.
    Refused(Failure),
}

/// What becomes of a change, unless the target says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outlook {
    /// It is written, or a newer change that stands for it is.
    Written,
    /// All older documents of its collection go from these places.
    DeletesAll(Vec<Place>),
    /// It is left out, and why.
    Filtered(String),
    /// It waits in the fallback queue, and is written by `redrive` alone.
    Held,
    /// It becomes a dead letter.
    Parked(Failure),
    /// It comes again.
    Retried(Failure),
}

/// How an event is read whose items are looked at, by its shape.
pub(crate) fn reader(payload: &[u8]) -> Reader {
    let reader = kind_of(payload).reader;
    Reader { decode: reader.decode_with_images, ..reader }
}

/// Explains an event. `truth` says whether the source could be read again; `request` gives what the target would be sent for an
/// operation, or why it would not be.
///
/// # Errors
/// When the payload is no event: as the function's own.
pub fn explain<B: Clone>(
    payload: &[u8],
    pipeline: &Pipeline,
    format: Format,
    truth: bool,
    request: impl Fn(&Operation<'_>) -> Result<B, Failure>,
) -> Result<Vec<Explanation<B>>, EnvelopeError> {
    let batch = pipeline.decode(&reader(payload), payload, format)?;
    let held = buffered(payload, &batch, pipeline);
    let records = records(&batch);
    let mut acts: Vec<Vec<Act<B>>> = batch.slots.iter().map(|_| Vec::new()).collect();
    let live = Plan::without(payload, &batch, pipeline, &held);
    let mut delivery = Delivery::new(&batch, &live, truth);
    go_through(&mut delivery, &batch, &live, format, &records, &request, &mut acts);
    if held.contains(&true) {
        // As a redrive would write them, all of them together.
        let others: Vec<bool> = held.iter().map(|held| !held).collect();
        let later = Plan::without(payload, &batch, pipeline, &others);
        go_through(&mut Delivery::new(&batch, &later, truth), &batch, &later, format, &records, &request, &mut acts);
    }
    let teller = Teller { payload, batch: &batch, pipeline, plan: &live };
    let told = batch.slots.iter().enumerate().zip(&records).zip(acts).map(|(((index, slot), &record), acts)| {
        teller.tell(index, slot, record, acts, delivery.fates().get(index).unwrap_or(&Fate::Pending))
    });
    Ok(told.filter(|told| !is_of_another_route(told)).collect())
}

/// A further route has nothing to say to an item whose own route does not name it.
fn is_of_another_route<B>(told: &Explanation<B>) -> bool {
    told.branch > 0
        && told.acts.is_empty()
        && matches!(told.outlook, Outlook::Filtered(_))
        && !told.routes.iter().any(|asked| asked.asked)
}

/// By slot, the number of its record: slots of one record are neighbours.
pub(crate) fn records(batch: &Batch) -> Vec<usize> {
    let mut number = 0;
    let mut last: Option<&Range<usize>> = None;
    let mut records = Vec::with_capacity(batch.slots.len());
    for slot in &batch.slots {
        number += usize::from(last.is_some_and(|last| *last != slot.raw));
        last = Some(&slot.raw);
        records.push(number);
    }
    records
}

fn go_through<'b, B: Clone>(
    delivery: &mut Delivery<'b>,
    batch: &'b Batch,
    plan: &'b Plan<'b>,
    format: Format,
    records: &[usize],
    request: &impl Fn(&Operation<'_>) -> Result<B, Failure>,
    told: &mut [Vec<Act<B>>],
) {
    let record = |slot: usize| records.get(slot).copied().unwrap_or_default();
    let mut add = |slot: usize, group: usize, leaves: bool, becomes: Becomes<B>| {
        let (Some(key), Some(place)) = (batch.slots.get(slot).and_then(|slot| batch.key(slot)), plan.place(group))
        else {
            return;
        };
        let manner = plan.manners.get(slot).copied().flatten().filter(|_| !leaves).cloned();
        let Some(acts) = told.get_mut(slot) else { return };
        acts.push(Act { leaves, place: place.clone(), id: id(format, place.key(key)), manner, becomes });
    };
    let own_failure = |slot: usize| match batch.slots.get(slot).map(|slot| &slot.content) {
        Some(Content::Failed(failure)) => Some(Failure::clone(failure)),
        _ => None,
    };
    let mut open: Vec<usize> = plan.groups.iter().map(|group| group.members.len()).collect();
    loop {
        let Round { groups, operations, wishes } = delivery.round();
        if operations.is_empty() && wishes.is_empty() {
            break;
        }
        let sent = groups.into_iter().zip(operations.into_iter().map(Some));
        let read = wishes.into_iter().map(|(group, _)| (group, None));
        for (group, operation) in sent.chain(read) {
            let acts = delivery.members(group).to_vec();
            let Some((act, older)) = acts.split_last() else { continue };
            // Newer changes that could not be tried.
            let all = plan.groups.get(group).and_then(|group| plan.acts.get(group.members.clone())).unwrap_or_default();
            let Some(left) = open.get_mut(group) else { continue };
            for skipped in all.get(acts.len()..*left).unwrap_or_default() {
                if let Some(failure) = own_failure(skipped.slot) {
                    add(skipped.slot, group, skipped.leaves, Becomes::Refused(failure));
                }
            }
            let made = operation.as_ref().map(request).transpose();
            let ended = made.as_ref().map(|_| Done::Applied).map_err(Failure::clone);
            *left = match &ended {
                Err(failure) if failure.cause.disposition() == Disposition::Park => older.len(),
                _ => 0,
            };
            let usable = |slot: usize, leaves: bool| {
                leaves || own_failure(slot).is_none_or(|failure| failure.cause == Cause::MissingImage)
            };
            let stands_for =
                older.iter().filter(|act| usable(act.slot, act.leaves)).map(|act| record(act.slot)).collect();
            let failure = made.as_ref().err().cloned();
            add(
                act.slot,
                group,
                act.leaves,
                match (made, &operation) {
                    (Err(failure), _) => Becomes::Refused(failure),
                    (Ok(Some(request)), Some(operation)) => {
                        Becomes::Sent { request, deletes: operation.write == Write::Delete, stands_for }
                    }
                    (Ok(_), _) => Becomes::Read { stands_for },
                },
            );
            for older in older.iter().take(if *left == 0 { older.len() } else { 0 }) {
                let becomes = match (usable(older.slot, older.leaves), &failure) {
                    (false, _) => own_failure(older.slot).map(Becomes::Refused),
                    (true, Some(failure)) => Some(Becomes::Refused(failure.clone())),
                    (true, None) => Some(Becomes::StoodFor(record(act.slot))),
                };
                if let Some(becomes) = becomes {
                    add(older.slot, group, older.leaves, becomes);
                }
            }
            delivery.settle(group, &ended);
        }
    }
    // Groups of which nothing could be tried.
    for (group, left) in open.into_iter().enumerate() {
        let all = plan.groups.get(group).and_then(|group| plan.acts.get(group.members.clone())).unwrap_or_default();
        for act in all.iter().take(left) {
            if let Some(failure) = own_failure(act.slot) {
                add(act.slot, group, act.leaves, Becomes::Refused(failure));
            }
        }
    }
}

/// The id of a document as JSON.
pub(crate) fn id(format: Format, key: Key<'_>) -> String {
    if format == Format::Json {
        return quoted(&key.text_id());
    }
    let mut document = vec![0; 4];
    write_bson_key(&mut document, "_id", key);
    document.push(0);
    let length = i32::try_from(document.len()).unwrap_or(i32::MAX).to_le_bytes();
    if let Some(start) = document.get_mut(..4) {
        start.copy_from_slice(&length);
    }
    let mut out = Vec::new();
    if let Some(Ok(element)) = Elements::new(&document).ok().and_then(|mut elements| elements.next()) {
        write_extended(&mut out, element.value);
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Tells of slots.
struct Teller<'a> {
    payload: &'a [u8],
    batch: &'a Batch,
    pipeline: &'a Pipeline,
    plan: &'a Plan<'a>,
}

impl Teller<'_> {
    fn tell<B>(&self, index: usize, slot: &Slot, record: usize, acts: Vec<Act<B>>, fate: &Fate) -> Explanation<B> {
        let origin = self.batch.origin(slot);
        let before = slot.before.image().map(|range| self.image(range));
        let now = slot.image.as_ref().map(|range| self.image(range));
        let image = now.or(before);
        let ask = |image: Option<&Image<'_>>| {
            origin.map(|origin| self.pipeline.ask(&origin.name, origin.branch, image)).unwrap_or_default()
        };
        let routes = ask(image.as_ref());
        let taken = |routes: &[Asked]| routes.iter().find(|asked| asked.takes).map(|asked| asked.route);
        let earlier = before.filter(|_| now.is_some() && now != before).map(|before| ask(Some(&before)));
        let routes_before = earlier.filter(|earlier| taken(earlier) != taken(&routes)).unwrap_or_default();
        let rules = slot.origin.and_then(|origin| self.plan.rules.get(origin));
        let shown = match &slot.content {
            Content::Delete => None,
            _ => now,
        };
        let transform = rules.zip(shown.as_ref()).and_then(|(rules, image)| rules.transform(image));
        let steps = transform.zip(shown.as_ref()).and_then(|(transform, image)| transform.trace(image));
        let version = self.batch.version(slot).map(|version| Guarding {
            space: version.space.to_owned(),
            label: version.label.to_owned(),
            exact: version.exact.to_owned(),
            coarse: version.coarse,
            at: version.at,
        });
        let text = |range: &Range<usize>| {
            self.payload.get(range.clone()).map(|text| String::from_utf8_lossy(text).into_owned())
        };
        let key = self.batch.key(slot).map(|key| {
            let mut out = Vec::new();
            key.write_json(&mut out);
            String::from_utf8_lossy(&out).into_owned()
        });
        let outlook = self.outlook(index, slot, &routes, rules.and_then(|rules| rules.manner(image.as_ref())), fate);
        Explanation {
            record,
            branch: origin.map_or(0, |origin| origin.branch),
            event: self.payload.get(slot.raw.clone()).and_then(event_name),
            position: slot.position.as_ref().and_then(text),
            source: origin.map(|origin| origin.name.clone()),
            stream: origin.map(|origin| origin.arn.clone()),
            key,
            version,
            routes,
            routes_before,
            steps: steps.unwrap_or_default(),
            acts,
            recalls: recalls(rules) && slot.key.is_some(),
            outlook,
        }
    }

    fn image(&self, range: &Range<usize>) -> Image<'_> {
        self.batch.image(self.payload, range)
    }

    fn outlook(&self, index: usize, slot: &Slot, routes: &[Asked], manner: Option<&Manner>, fate: &Fate) -> Outlook {
        let ended: Vec<Place> =
            self.plan.endings.iter().filter(|ending| ending.slot == index).map(|ending| ending.place.clone()).collect();
        match fate {
            Fate::Pending if !ended.is_empty() => Outlook::DeletesAll(ended),
            Fate::Failed(failure) if failure.cause == Cause::Buffered => Outlook::Held,
            Fate::Failed(failure) => match failure.cause.disposition() {
                Disposition::Park => Outlook::Parked(failure.clone()),
                Disposition::Retry => Outlook::Retried(failure.clone()),
            },
            Fate::Filtered => {
                let ignores = manner.is_some_and(|manner| manner.deletes == Deletes::Ignore);
                let recalls = recalls(slot.origin.and_then(|origin| self.plan.rules.get(origin)));
                let is_command =
                    matches!(&slot.content, Content::Failed(failure) if failure.cause.is_of_a_collection());
                Outlook::Filtered(
                    match routes.iter().find(|asked| asked.takes) {
                        _ if is_command => "no document changes, and the pipeline ignores such events",
                        Some(_) if slot.content == Content::Delete && ignores => "the route ignores deletes",
                        _ if slot.content == Content::Delete && recalls => {
                            "unless the state remembers a place of it, which it leaves then"
                        }
                        Some(_) => "it has no place here",
                        None if slot.content == Content::Delete => "no route has taken the item that it deletes",
                        None => "no route takes it",
                    }
                    .to_owned(),
                )
            }
            _ => Outlook::Written,
        }
    }
}

/// Where the documents of these routes have been is kept in the state.
pub(crate) fn recalls(rules: Option<&Rules<'_>>) -> bool {
    matches!(rules, Some(Rules::ByItem(rules)) if rules.are_located())
}

/// The source's name of a record's operation.
pub(crate) fn event_name(record: &[u8]) -> Option<String> {
    text_member(record, "eventName").or_else(|| {
        let mut cursor = Cursor::new(record);
        let mut inner = None;
        let walked = cursor.members(|cursor, name| {
            let value = cursor.skip()?;
            if name.raw == b"event" {
                inner = text_member(value, "operationType");
            }
            Ok(())
        });
        walked.ok().and(inner)
    })
}

/// A text at the top of a JSON object.
fn text_member(object: &[u8], wanted: &str) -> Option<String> {
    let mut cursor = Cursor::new(object);
    let mut found = None;
    if !cursor.take(b'{') || cursor.take(b'}') {
        return None;
    }
    loop {
        let name = cursor.name().ok()?;
        match cursor.peek() {
            Some(b'"') if name.raw == wanted.as_bytes() => {
                found = unescape(cursor.string().ok()?).map(|text| text.into_owned())
            }
            _ => drop(cursor.skip().ok()?),
        }
        if !cursor.more(b'}').ok()? {
            return found;
        }
    }
}

#[cfg(test)]
mod tests;
