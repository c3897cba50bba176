use super::*;
use crate::encode::Format;
use crate::source::dynamodb::decode;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::ops::Range;

/// A batch of this many records, numbered from `first` on.
fn event(first: usize, count: usize) -> String {
    let records: Vec<String> = (first..first + count).map(|n| format!(r#"{{"eventID":"{n}"}}"#)).collect();
    format!(r#"{{"Records":[{}],"more":1}}"#, records.join(","))
}

/// Environments, one after the other, and what they share.
#[derive(Default)]
struct World {
    /// Records that end the process when they are worked on.
    poisons: BTreeSet<usize>,
    /// Those of them that end it also when they are read for their letter.
    unreadable: BTreeSet<usize>,
    /// Environments end by themselves when they have taken so many steps, one after the other.
    accidents: Vec<usize>,
    entry: Option<String>,
    applied: Vec<usize>,
    parked: Vec<usize>,
    deaths: usize,
}

impl World {
    /// A batch from `first` on, taken by a fresh environment. `true` when it has answered.
    fn invoke(&mut self, first: usize, count: usize) -> bool {
        let survived = self.work(first, count);
        self.deaths += usize::from(!survived);
        survived
    }

    fn work(&mut self, first: usize, count: usize) -> bool {
        let payload = event(first, count);
        let envelope = Envelope::find(payload.as_bytes()).expect("an event");
        assert_eq!(envelope.records.len(), count);
        let mut accident = self.accidents.pop().unwrap_or(usize::MAX);
        let Some(entry) = self.entry.clone() else {
            self.entry = Some(Journal::new(payload.as_bytes(), &envelope.records).text(0));
            return self.finish(first..first + count, accident == 0);
        };
        let (mut journal, _) = Journal::resume(&entry, 0, payload.as_bytes(), &envelope.records);
        while let Some(step) = journal.step() {
            self.entry = Some(journal.text(0));
            if accident == 0 {
                return false;
            }
            accident -= 1;
            match step {
                Step::Try(range) => {
                    let part = envelope.part(payload.as_bytes(), range.clone());
                    assert_eq!(String::from_utf8(part).expect("text"), event(first + range.start, range.len()));
                    let records = first + range.start..first + range.end;
                    if records.clone().any(|record| self.poisons.contains(&record)) {
                        return false;
                    }
                    self.applied.extend(records);
                }
                Step::Park { record, readable } => {
                    if readable && self.unreadable.contains(&(first + record)) {
                        return false;
                    }
                    assert!(journal.has_passed() || count == self.poisons.len(), "parked too early");
                    self.parked.push(first + record);
                }
            }
            journal.passes();
        }
        self.entry = None;
        true
    }

    fn finish(&mut self, records: Range<usize>, accident: bool) -> bool {
        if accident || records.clone().any(|record| self.poisons.contains(&record)) {
            return false;
        }
        self.applied.extend(records);
        self.entry = None;
        true
    }
}

/// How many deaths find a poison among so many records: the batch, its parts, and the record twice by itself.
fn depth(mut records: usize) -> usize {
    let mut deaths = 2;
    while records > 1 {
        records = records.div_ceil(10);
        deaths += 1;
    }
    deaths
}

proptest! {
    #[test]
    fn exactly_the_poisons_are_parked(
        count in 1_usize..=200,
        places in proptest::collection::btree_set(0_usize..200, 0..=3),
        unreadable in 0_usize..8,
    ) {
        let poisons: BTreeSet<usize> = places.into_iter().filter(|&place| place < count).collect();
        let unreadable: BTreeSet<usize> = poisons.iter().copied().enumerate().filter(|(at, _)| unreadable >> at & 1 == 1).map(|(_, one)| one).collect();
        let mut world = World { poisons: poisons.clone(), unreadable: unreadable.clone(), ..World::default() };
        let most = poisons.len() * depth(count) + unreadable.len();
        while !world.invoke(0, count) {
            prop_assert!(world.deaths <= most, "{} deaths, {most} at most", world.deaths);
        }
        prop_assert_eq!(&world.parked.iter().copied().collect::<BTreeSet<_>>(), &poisons);
        prop_assert_eq!(world.parked.len(), poisons.len(), "once each");
        let good: Vec<usize> = (0..count).filter(|record| !poisons.contains(record)).collect();
        world.applied.sort_unstable();
        prop_assert_eq!(world.applied, good, "once each, too: what has passed is not tried again");
    }

    #[test]
    fn an_environment_that_ends_for_another_reason_condemns_nobody(
        count in 1_usize..=200,
        first in 0_usize..40,
        second in 20_usize..60,
        poison in proptest::option::of(0_usize..200),
    ) {
        let poisons: BTreeSet<usize> = poisons_of(poison, count);
        let accidents = if count == 1 { vec![first] } else { vec![second, first] };
        let mut world = World { poisons: poisons.clone(), accidents, ..World::default() };
        while !world.invoke(0, count) {
            prop_assert!(world.deaths < 60);
        }
        let parked: BTreeSet<usize> = world.parked.iter().copied().collect();
        prop_assert!(parked.is_superset(&poisons));
        let all: BTreeSet<usize> = world.applied.iter().chain(&world.parked).copied().collect();
        prop_assert_eq!(all, (0..count).collect(), "every record is accounted for");
        prop_assert!(parked.difference(&poisons).count() == 0, "{:?} beside {:?}", parked, poisons);
    }

    #[test]
    fn a_batch_that_comes_again_longer_or_shorter_converges(
        counts in proptest::collection::vec(1_usize..=120, 1..12),
        poison in 0_usize..20,
    ) {
        let mut world = World { poisons: [poison].into(), ..World::default() };
        let mut done = 0;
        // From the first record that is not answered for, however many there are.
        for count in counts.iter().chain([&120; 20]) {
            if world.invoke(done, *count) {
                done += count;
            }
            let known: BTreeSet<usize> = world.applied.iter().chain(&world.parked).copied().collect();
            prop_assert!((0..done).all(|record| known.contains(&record)), "{:?} of {}", known, done);
            // Another batch has an entry of its own.
            if done > poison {
                break;
            }
        }
        prop_assert!(done > poison, "never parked");
        prop_assert_eq!(world.parked, [poison]);
    }
}

fn poisons_of(poison: Option<usize>, count: usize) -> BTreeSet<usize> {
    poison.filter(|poison| *poison < count).into_iter().collect()
}

#[test]
fn one_among_a_hundred_takes_four_deaths() {
    let mut world = World { poisons: [57].into(), ..World::default() };
    while !world.invoke(0, 100) {}
    assert_eq!((world.deaths, world.parked.as_slice(), world.applied.len()), (4, &[57][..], 99));
}

#[test]
fn a_pause_is_no_death_and_what_is_behind_a_cut_comes_again() {
    let payload = event(0, 20);
    let envelope = Envelope::find(payload.as_bytes()).expect("an event");
    let resume = |text: &str| Journal::resume(text, 0, payload.as_bytes(), &envelope.records);
    let (mut journal, dead) = resume(&Journal::new(payload.as_bytes(), &envelope.records).text(0));
    assert_eq!(dead, Some(0..20));
    assert_eq!(journal.step(), Some(Step::Try(0..2)));
    journal.passes();
    assert_eq!(journal.step(), Some(Step::Try(2..4)));
    journal.pauses();
    let (mut journal, dead) = resume(&journal.text(0));
    assert_eq!((dead, journal.step()), (None, Some(Step::Try(2..4))));
    // Half an hour later the target may be another.
    let (mut late, _) = Journal::resume(&journal.text(0), 30 * 60_000 + 1, payload.as_bytes(), &envelope.records);
    assert_eq!((late.step(), late.has_passed()), (Some(Step::Try(0..2)), false));
    journal.step();
    journal.cut();
    assert_eq!((journal.step(), journal.has_passed()), (None, true));
}

#[test]
fn what_is_about_other_records_is_not_known() {
    let (old, new) = (event(0, 20), event(0, 20).replace("\"7\"", "\"x\""));
    let envelope = Envelope::find(old.as_bytes()).expect("an event");
    let (mut journal, _) =
        Journal::resume(&Journal::new(old.as_bytes(), &envelope.records).text(0), 0, old.as_bytes(), &envelope.records);
    for _ in 0..5 {
        journal.step();
        journal.passes();
    }
    journal.step();
    let envelope = Envelope::find(new.as_bytes()).expect("an event");
    let (mut journal, dead) = Journal::resume(&journal.text(0), 0, new.as_bytes(), &envelope.records);
    assert_eq!(dead, Some(6..20), "the fourth part holds another record");
    assert_eq!(journal.step(), Some(Step::Try(6..7)));
    for damaged in ["", "{}", "[]", r#"{"trial":7,"parking":true,"parts":[]}"#] {
        let (mut journal, _) = Journal::resume(damaged, 0, new.as_bytes(), &envelope.records);
        assert!(matches!(journal.step(), Some(Step::Try(range)) if range.start == 0), "{damaged}");
    }
}

#[test]
fn without_neighbours_that_pass_three_are_parked_in_an_hour() {
    let mut known: Option<String> = None;
    for at in [0, 1_000, 2_000] {
        known = alone(known.as_deref(), at);
        assert!(known.is_some(), "{at}");
    }
    assert_eq!(alone(known.as_deref(), 3_000), None);
    assert_eq!(alone(known.as_deref(), HOUR_MS).as_deref(), Some(format!("[1000,2000,{HOUR_MS}]").as_str()));
    assert_eq!(alone(Some("damaged"), 7).as_deref(), Some("[7]"));
}

#[test]
fn a_record_that_is_spared_is_tried_again() {
    let payload = event(0, 1);
    let envelope = Envelope::find(payload.as_bytes()).expect("an event");
    let mut text = Journal::new(payload.as_bytes(), &envelope.records).text(0);
    for deaths in 1..6 {
        let (mut journal, dead) = Journal::resume(&text, 0, payload.as_bytes(), &envelope.records);
        assert_eq!(dead, Some(0..1));
        let mut step = journal.step().expect("a step");
        assert_eq!(matches!(step, Step::Park { .. }), deaths > 1, "{step:?}");
        if deaths > 1 {
            journal.spares();
            step = journal.step().expect("a step");
        }
        assert_eq!((step, journal.has_passed()), (Step::Try(0..1), false));
        text = journal.text(0);
    }
}

#[test]
fn events_are_taken_apart_whoever_they_are_from() {
    let documentdb =
        r#"{"eventSourceArn":"a","events":[ {"event":{"x":[1]}}, {"event":{}} ],"eventSource":"aws:docdb"}"#;
    let envelope = Envelope::find(documentdb.as_bytes()).expect("an event");
    let part = |range| String::from_utf8(envelope.part(documentdb.as_bytes(), range)).expect("text");
    assert_eq!(part(1..2), r#"{"eventSourceArn":"a","events":[ {"event":{}} ],"eventSource":"aws:docdb"}"#);
    assert_eq!(part(0..0), r#"{"eventSourceArn":"a","events":[  ],"eventSource":"aws:docdb"}"#);
    for none in ["", "{}", "[]", r#"{"Records":[]}"#, r#"{"Records":[{}"#, r#"{"Records":{}}"#, r#"{"Records":[1]}x"#] {
        assert_eq!(Envelope::find(none.as_bytes()), None, "{none}");
    }
}

#[test]
fn what_is_parked_keeps_its_key_and_loses_what_could_kill() {
    let stream = "arn:aws:dynamodb:us-east-1:1:table/t/stream/2012-01-01T00:00:01.000";
    let record = format!(
        r#"{{"eventName":"MODIFY","eventSourceARN":"{stream}","dynamodb":{{"Keys":{{"k":{{"S":"c"}}}},"NewImage":{{"k":{{"S":"c"}}}},"OldImage":{{}},"SequenceNumber":"6"}}}}"#
    );
    let payload = format!(r#"{{"Records":[{record}]}}"#);
    let read = condemned(decode(payload.as_bytes(), Format::Json).expect("an event"), 0..0);
    let slot = &read.slots[0];
    assert!(slot.key.is_some() && slot.order.is_some() && slot.image.is_none() && slot.before == Before::Absent);
    let bare = condemned(decode(br#"{"Records":[]}"#, Format::Json).expect("an event"), 12..12 + record.len());
    assert_eq!(&payload[bare.slots[0].raw.clone()], record);
    for batch in [read, bare] {
        assert!(matches!(&batch.slots[0].content, Content::Failed(failure) if failure.cause == Cause::CrashedFunction));
    }
}
