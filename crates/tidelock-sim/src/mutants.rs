//! Ways to break the promise, each of which somebody has taken for right.

/// One replaced text.
pub(crate) struct Mutant {
    pub(crate) name: &'static str,
    /// What it breaks.
    pub(crate) breaks: &'static str,
    pub(crate) file: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
}

const LANE: &str = "crates/tidelock-opensearch/src/lane.rs";
const BULK: &str = "crates/tidelock-opensearch/src/bulk.rs";
const PACE_RS: &str = "crates/tidelock-opensearch/src/pace.rs";
const TARGET: &str = "crates/tidelock-opensearch/src/target.rs";
const SLOW: &str = "crates/tidelock-core/src/slow.rs";
const FENCE: &str = "crates/tidelock-core/src/fence.rs";
const DELIVER: &str = "crates/tidelock-core/src/batch/deliver.rs";
const DELIVERY: &str = "crates/tidelock-core/src/batch/delivery.rs";
const PLAN: &str = "crates/tidelock-core/src/batch/plan.rs";
const BATCH: &str = "crates/tidelock-core/src/batch/mod.rs";
const WRITING: &str = "crates/tidelock-core/src/batch/writing.rs";
const SHAPE: &str = "crates/tidelock-core/src/pipeline/shape.rs";
const RULES: &str = "crates/tidelock-core/src/pipeline/rules.rs";
const DRAIN: &str = "crates/tidelock-core/src/slow/drain.rs";
const DESK: &str = "crates/tidelock-core/src/redrive/desk.rs";
const RUN: &str = "crates/tidelock-core/src/redrive/run.rs";
const SURVEY: &str = "crates/tidelock-core/src/redrive/survey.rs";
const POST: &str = "crates/tidelock-core/src/letter/post.rs";
const DYNAMODB: &str = "crates/tidelock-core/src/version/dynamodb.rs";

pub(crate) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "409 means stale",
        breaks: "a tie, a foreign document and the memory of a delete lose changes",
        file: LANE,
        from: "                Item { status: 409, .. } => {\n                    rest.passed += 1;\n                    rest.conflicts.push(pending);\n                }",
        to: "                Item { status: 409, .. } => endings.push((pending.index, pending.part, Ended::Done(Done::Stale))),",
    },
    Mutant {
        name: "external_gte",
        breaks: "an older change of equal coarse version wins",
        file: BULK,
        from: "version_type\\\":\\\"external\\\"}}",
        to: "version_type\\\":\\\"external_gte\\\"}}",
    },
    Mutant {
        name: "a tombstone means stale",
        breaks: "what is written after a delete of equal coarse version is lost",
        file: LANE,
        from: "                    let id = work.id(pending.index);\n                    rest.later.push(tombstone(pending, id));\n                }\n            }\n        }\n    }\n}",
        to: "                    endings.push((pending.index, pending.part, Ended::Done(Done::Stale)));\n                }\n            }\n        }\n    }\n}",
    },
    Mutant {
        name: "no fences",
        breaks: "deletes are forgotten after a minute",
        file: TARGET,
        from: "guards: true, fences: true, salvage: false }",
        to: "guards: true, fences: false, salvage: false }",
    },
    Mutant {
        name: "a delete is done without its fence",
        breaks: "a fence that could not be written is missing when a late write lands",
        file: TARGET,
        from: "        let Ended::Failed(failure) = ended else { continue };\n        if",
        to: "        let Ended::Failed(failure) = ended else { continue };\n        if position > usize::MAX - 1 && ",
    },
    Mutant {
        name: "no guards",
        breaks: "whatever lands last wins",
        file: TARGET,
        from: "guards: true, fences: true, salvage: false }",
        to: "guards: false, fences: true, salvage: false }",
    },
    Mutant {
        name: "no sweep",
        breaks: "a write that lands late brings a deleted document back",
        file: FENCE,
        from: "document.and_then(|document| fence.compare(document)) == Some(Ordering::Greater)",
        to: "false && document.and_then(|document| fence.compare(document)) == Some(Ordering::Greater)",
    },
    Mutant {
        name: "a slow lane ignores newer documents",
        breaks: "a redriven letter overwrites what is newer",
        file: SLOW,
        from: "        Some(Ordering::Greater) => Step::Done(Ok(Done::Stale)),",
        to: "        Some(Ordering::Greater) => over(),",
    },
    Mutant {
        name: "a slow lane ignores fences",
        breaks: "a redriven letter brings a deleted document back",
        file: SLOW,
        from: "    if let Some(fence) = &found.fence\n        && matches!",
        to: "    if let Some(fence) = &found.fence\n        && found.document.is_none() && operation.key.as_bytes().is_empty()\n        && matches!",
    },
    Mutant {
        name: "complete before the post-check",
        breaks: "a delete that comes between look and write is undone",
        file: SLOW,
        from: "                    *flag = fence.is_none();\n                }\n                open.push(*index);",
        to: "                    *flag = fence.is_none();\n                }\n                set(outcomes, *index, Ok(Done::Applied));",
    },
    Mutant {
        name: "truth reads the source first",
        breaks: "what is written over may be newer than what was read",
        file: SLOW,
        from: "        let looked = answers(store.look(&probes, call).await, asked.len());\n        // The target has been read; only now the source.\n        let items = read(source, &asked, store.format(), call.deadline).await;",
        to: "        let items = read(source, &asked, store.format(), call.deadline).await;\n        let looked = answers(store.look(&probes, call).await, asked.len());",
    },
    Mutant {
        name: "truth is eventually consistent",
        breaks: "a replica's old item is written as the newest",
        file: "crates/tidelock-sim/src/world/table.rs",
        from: "        let at = self.began.elapsed();\n        let found",
        to: "        let at = self.began.elapsed().saturating_sub(Duration::from_secs(20));\n        let found",
    },
    Mutant {
        name: "truth with the change's own version",
        breaks: "an item read later is written as older than what it replaces",
        file: SLOW,
        from: "        if known.compare(&bound) == Some(Ordering::Greater) && known.version().is_some() {",
        to: "        if false && known.compare(&bound) == Some(Ordering::Greater) && known.version().is_some() {",
    },
    Mutant {
        name: "low digits in the coarse version",
        breaks: "the engine refuses newer changes and takes older ones",
        file: DYNAMODB,
        from: "self.0.get(zeros + i)",
        to: "self.0.get(29 + i)",
    },
    Mutant {
        name: "a clock in the coarse version",
        breaks: "changes within a second, or after a step of the clock, pass each other",
        file: BATCH,
        from: "coarse: label.coarse(sequence),",
        to: "coarse: slot.at.max(1),",
    },
    Mutant {
        name: "numbers compared as text",
        breaks: "a number of one digit more counts as older",
        file: DYNAMODB,
        from: "padded.get_mut(40 - digits.len()..)?.copy_from_slice(digits);",
        to: "padded.get_mut(..digits.len())?.copy_from_slice(digits);",
    },
    Mutant {
        name: "the last by position stands",
        breaks: "a repeated older record stands for the newer one",
        file: PLAN,
        from: "a_group.cmp(&b_group).then_with(versions).then(a.slot.cmp(&b.slot))",
        to: "a_group.cmp(&b_group).then(a.slot.cmp(&b.slot))",
    },
    Mutant {
        name: "grouped by target key",
        breaks: "a document that moves stays where it was, too",
        file: PLAN,
        from: "            if !entered.contains(&place) {",
        to: "            if false && !entered.contains(&place) {",
    },
    Mutant {
        name: "what is filtered does not leave",
        breaks: "a document that its route no longer wants stays",
        file: PLAN,
        from: "                self.plan.decided.push((index, other));\n                Vec::new()",
        to: "                self.plan.decided.push((index, other));\n                return;",
    },
    Mutant {
        name: "fence per key",
        breaks: "the fence of a place that was left keeps writes from the place that was entered",
        file: "crates/tidelock-opensearch/src/fence.rs",
        from: "fence_id(&[index.as_bytes(), b\"\", id.as_bytes()])",
        to: "fence_id(&[b\"\", b\"\", if index.is_empty() { b\"\" } else { id.as_bytes() }])",
    },
    Mutant {
        name: "truth is written wherever it is asked for",
        breaks: "a document that has moved on is written to where it was",
        file: SLOW,
        from: "                Routed::To(place) if place == *self.into => {}",
        to: "                Routed::To(place) if place == *self.into || !place.name.is_empty() => {}",
    },
    Mutant {
        name: "the highest failure is reported",
        breaks: "what failed below it is never sent again",
        file: DELIVERY,
        from: "|lowest| lowest.min(point)",
        to: "|lowest| lowest.max(point)",
    },
    Mutant {
        name: "acknowledged before it is parked",
        breaks: "a letter that could not be stored is lost",
        file: DELIVER,
        from: "                Err(why) => Fate::Failed(Failure::new(Cause::NotParked, format!(\"{why} ({failure})\"))),",
        to: "                Err(_) => Fate::Parked(failure.cause),",
    },
    Mutant {
        name: "no way back to the previous image",
        breaks: "a delete before a refused insert never happens",
        file: DELIVERY,
        from: "            if let Some(count) = self.left.get_mut(group) {\n                *count -= 1;\n            }\n            return;",
        to: "            let start = self.plan.groups.get(group).map_or(0, |group| group.members.start);\n            for act in self.plan.acts.get(start..start + left).unwrap_or_default() {\n                if let Some(fate @ Fate::Pending) = self.fates.get_mut(act.slot) {\n                    *fate = Fate::Done(Done::Stale);\n                }\n            }\n            if let Some(count) = self.left.get_mut(group) {\n                *count = 0;\n            }\n            return;",
    },
    Mutant {
        name: "drain does not look before it writes",
        breaks: "a held change that is written late lands below a fence that has been swept",
        file: DRAIN,
        from: "            Ok(fence) if is_newer(operation, fence.as_ref()) => plain",
        to: "            Ok(fence) if index < usize::MAX || is_newer(operation, fence.as_ref()) => plain",
    },
    Mutant {
        name: "drain completes without its second look",
        breaks: "a delete that comes between look and write is undone",
        file: DRAIN,
        from: "            Ok(Some(fence)) if overtakes(&fence, Some(&operation.version.mark())) => careful.push(index),",
        to: "            Ok(Some(fence)) if index == usize::MAX && overtakes(&fence, Some(&operation.version.mark())) => careful.push(index),",
    },
    Mutant {
        name: "deleted before it is seen to",
        breaks: "a redrive that dies takes its messages with it",
        file: RUN,
        from: "        let done = run.see_to(taken).await;\n        let (done, stay)",
        to: "        run.delete(queue, &receipts).await;\n        let done = run.see_to(taken).await;\n        let (done, stay)",
    },
    Mutant {
        name: "deleted although nothing was stored",
        breaks: "what is refused, or waits on, is lost with its message",
        file: RUN,
        from: "            set(done, index, !lost.contains(&index));",
        to: "            set(done, index, true || lost.contains(&index));",
    },
    Mutant {
        name: "the rest of a pack is dropped",
        breaks: "of a pack that could be applied in part, the other part is lost",
        file: RUN,
        from: "        lost.extend(self.store(self.queue, rests).await);",
        to: "        drop(rests);\n        lost.sort_unstable();",
    },
    Mutant {
        name: "what waits whole is deleted",
        breaks: "a message of which nothing could be applied is lost",
        file: RUN,
        from: "            if self.order.dry_run || waits_whole {",
        to: "            if self.order.dry_run || (waits_whole && index == usize::MAX) {",
    },
    Mutant {
        name: "a foreign message is deleted",
        breaks: "what somebody else has sent to the queue is lost",
        file: RUN,
        from: "                Ok(None) => {}\n                Err(why) => self.redriven.keep(name, why),\n            }\n        }\n        let name",
        to: "                Ok(None) => {}\n                Err(why) => {\n                    self.redriven.keep(name, why);\n                    set(&mut done, index, true);\n                }\n            }\n        }\n        let name",
    },
    Mutant {
        name: "lost records are told to nobody",
        breaks: "a batch that Lambda gave up and the stream has forgotten vanishes",
        file: RUN,
        from: "match post(to, vec![letter], Duration::ZERO, self.call.deadline).await.pop() {",
        to: "match Some(Ok::<(), String>(drop((to, letter)))) {",
    },
    Mutant {
        name: "lost records are redriven as one",
        breaks: "Lambda's word of which records there were is taken for a record that is malformed",
        file: RUN,
        from: "        if parcel.reason == Cause::RecordsLost.code() {",
        to: "        if parcel.reason.is_empty() {",
    },
    Mutant {
        name: "outcomes go to another message",
        breaks: "a message is deleted by what became of its neighbour's record",
        file: DESK,
        from: "take_while(|slot| slot.raw.end <= end)",
        to: "take_while(|slot| slot.raw.end < end)",
    },
    Mutant {
        name: "held although the queue refused it",
        breaks: "a change is acknowledged and waits nowhere",
        file: DELIVER,
        from: "                    Err(why) => Fate::Failed(Failure::new(Cause::NotHeld, format!(\"{why} ({failure})\"))),",
        to: "                    Err(_) => Fate::Held(failure.cause),",
    },
    Mutant {
        name: "renewal deletes before it sends",
        breaks: "a message that could not be sent anew is lost",
        file: SURVEY,
        from: "    send(queue, bucket, &message.body, parcel, deadline).await?;",
        to: "    let _ = queue.delete(std::slice::from_ref(&message.receipt), deadline).await;\n    send(queue, bucket, &message.body, parcel, deadline).await?;",
    },
    Mutant {
        name: "a letter points at what is not stored",
        breaks: "an object that the bucket has refused is missing when its letter is read",
        file: POST,
        from: "    bucket.put(&name, letter.body.into_bytes(), deadline).await?;",
        to: "    let _ = bucket.put(&name, letter.body.into_bytes(), deadline).await;",
    },
    Mutant {
        name: "salvaged and told to nobody",
        breaks: "a document is there only in part, and no letter says so",
        file: WRITING,
        from: "        if let (Some(failure), Ok(Done::Applied)) = (note, outcome)",
        to: "        if let (Some(failure), Ok(Done::Stale)) = (note, outcome)",
    },
    Mutant {
        name: "a part counts as the whole",
        breaks: "what was salvaged is never written whole, although its letter is redriven",
        file: LANE,
        from: "if mark.as_ref().is_some_and(|mark| mark.part) => {",
        to: "if mark.as_ref().is_some_and(|mark| mark.part && mark.space.is_empty()) => {",
    },
    Mutant {
        name: "a part does not say that it is one",
        breaks: "where the route does not salvage any more, what is there in part is taken for the whole",
        file: BULK,
        from: "if operation.salvage == Salvage::Done {",
        to: "if operation.salvage == Salvage::Done && body.is_empty() {",
    },
    Mutant {
        name: "a changed id does not leave its old place",
        breaks: "an item whose id changes is there twice",
        file: PLAN,
        from: "            if !entered.contains(&place) {",
        to: "            let name = |place: usize| self.plan.places.get(place).map(|place| &place.name);\n            if !entered.iter().any(|&other| name(other) == name(place)) {",
    },
    Mutant {
        name: "truth by the source's key",
        breaks: "a document with an id of its own is written under the source's key",
        file: SLOW,
        from: "(wish.into.key(wish.key), wish.salvage, wish.manner)",
        to: "(wish.key, wish.salvage, wish.manner)",
    },
    Mutant {
        name: "a record is done when its first route is",
        breaks: "what a further route could not write yet is never sent again",
        file: DELIVERY,
        from: "            if retries && !but(index) {",
        to: "            let origin = self.batch.slots.get(index).and_then(|slot| self.batch.origin(slot));\n            if retries && origin.is_none_or(|origin| origin.branch == 0) && !but(index) {",
    },
    Mutant {
        name: "a held change is done when its first route is",
        breaks: "what a further route could not write yet is deleted with its message",
        file: DESK,
        from: "                Fate::Failed(failure) => held.push(Held { slot: index, failure }),",
        to: "                Fate::Failed(_) if batch.origin(slot).is_some_and(|origin| origin.branch > 0) => settled.stale += 1,\n                Fate::Failed(failure) => held.push(Held { slot: index, failure }),",
    },
    Mutant {
        name: "a further route forgets its where",
        breaks: "what its condition does not want is there",
        file: RULES,
        from: "Some(route) if std::ptr::eq(route, self.takes) || route.holds(image)? => Ok(Some(route)),",
        to: "Some(route) => Ok(Some(route)),",
    },
    Mutant {
        name: "every route leads to the further ones",
        breaks: "what is not of a route that says `also` is there",
        file: RULES,
        from: ".filter(|index| route.also.contains(index)).and_then(",
        to: "\n                .filter(|_| route.name.is_none())\n                .and_then(",
    },
    Mutant {
        name: "a soft delete deletes",
        breaks: "a document that should say that it is deleted is gone",
        file: SHAPE,
        from: "        Some(deletes @ Deletes::Soft { .. }) => deletes,",
        to: "        Some(Deletes::Soft { flag, .. }) if !flag.is_empty() => return None,\n        Some(deletes @ Deletes::Soft { .. }) => deletes,",
    },
    Mutant {
        name: "an older truth undoes a soft delete",
        breaks: "what says that it is deleted goes, or says it with a wrong time",
        file: SLOW,
        from: "            Judgement::Stale => return Ok(true),",
        to: "            Judgement::Stale if wish.origin.is_empty() => return Ok(true),",
    },
    Mutant {
        name: "ignored deletes delete",
        breaks: "what should stay is gone",
        file: PLAN,
        from: "manner.deletes == Deletes::Ignore)",
        to: "manner.deletes == Deletes::Ignore && index == usize::MAX)",
    },
    Mutant {
        name: "truth does not ignore deletes",
        breaks: "what should stay is gone when an old change is redriven",
        file: SLOW,
        from: "        (None, _, Deletes::Ignore) if item.gone => return Ok(true),",
        to: "        (None, _, Deletes::Ignore) if item.gone && body.is_none() => return Ok(true),",
    },
    Mutant {
        name: "merges write blind",
        breaks: "what users have written is gone with the next change",
        file: SLOW,
        from: "                operation.write = Write::Upsert(content);",
        to: "                let _ = content;",
    },
    Mutant {
        name: "truth writes over what users own",
        breaks: "what users have written is gone when the source is read",
        file: SLOW,
        from: "        (Some(document), Some(body), _) if !manner.preserve.is_empty() => {",
        to: "        (Some(document), Some(body), _) if manner.preserve.len() > 9 => {",
    },
    Mutant {
        name: "drain merges blind",
        breaks: "what users have written is gone when held changes are drained",
        file: DRAIN,
        from: "            Ok(_) if merges(operation) => careful.push(index),",
        to: "            Ok(_) if merges(operation) && index == usize::MAX => careful.push(index),",
    },
];

/// Ways to overload a target together, which fleets show.
pub(crate) const PACE: &[Mutant] = &[
    Mutant {
        name: "the pace heeds no refusal",
        breaks: "a fleet asks so often that refusing is all its server does",
        file: PACE_RS,
        from: "                Reception::Refused => state.slower(now, true),",
        to: "                Reception::Refused => state,",
    },
    Mutant {
        name: "the pace keeps the size of requests",
        breaks: "requests that are too large are refused for ever",
        file: PACE_RS,
        from: "bytes: if whole {",
        to: "bytes: if whole && bytes == 0 {",
    },
    Mutant {
        name: "the pace ends with the first success",
        breaks: "what was learned from refusals is forgotten, and the storm goes on",
        file: PACE_RS,
        from: "let spacing = self.closer();",
        to: "let spacing = Duration::ZERO;",
    },
];
