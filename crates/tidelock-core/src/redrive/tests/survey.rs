//! Looking through queues.

use super::*;

fn look_through(queue: &Memory, bucket: &Shelf, renewal: Option<Renewal>, stop_at: usize) -> (Survey, usize) {
    let mut visited = 0;
    let survey = block_on(survey(
        queue,
        Some(bucket),
        renewal,
        Instant::now,
        Instant::now() + Duration::from_secs(600),
        |_, _| {
            visited += 1;
            visited < stop_at
        },
    ));
    (survey, visited)
}

#[test]
fn a_survey_counts_and_changes_nothing() {
    let all = [
        letter("a", "ok"),
        letter("b", "ok"),
        pack(&[record("c", "1", "ok")]),
        "foreign".to_owned(),
        letter("d", "ok"),
    ];
    let queue = Memory::of(all.clone());
    let (survey, visited) = look_through(&queue, &Shelf::default(), None, 100);
    assert_eq!((survey.messages, survey.unreadable, survey.oldest_ms, visited), (5, 1, Some(NOW_MS - DAY_MS), 5));
    assert_eq!(survey.reasons, BTreeMap::from([("mapping_conflict".to_owned(), 3), ("unreachable".to_owned(), 1)]));
    assert_eq!(queue.bodies(), all);
    assert!(look_through(&queue, &Shelf::default(), None, 1).1 <= 3, "it ends with what was taken");
}

#[test]
fn what_would_expire_is_sent_anew_before_it_is_deleted_and_its_object_with_it() {
    let bucket = Shelf::default();
    let mut pointer: Value = serde_json::from_str(&letter("a", "ok")).expect("JSON");
    pointer.as_object_mut().expect("an object").remove("record");
    pointer["s3"] = json!({"bucket": "shelf", "key": "letters/1"});
    bucket.0.borrow_mut().insert("letters/1".to_owned(), b"whole".to_vec());
    let all = [letter("b", "ok"), pointer.to_string(), "foreign".to_owned()];
    let renewal = Some(Renewal::at(NOW_MS, 14 * DAY_MS));
    for (age, renewed) in [(9, 0), (11, 3)] {
        let queue = Memory { sent_ms: NOW_MS - age * DAY_MS, ..Memory::of(all.clone()) };
        let (survey, _) = look_through(&queue, &bucket, renewal, 3);
        assert_eq!((survey.renewed, queue.bodies()), (renewed, all.to_vec()), "{survey:?}");
        assert_eq!(queue.messages.borrow().keys().all(|&id| id > 2), renewed > 0, "other messages, the same letters");
    }
    let queue = Memory { sent_ms: 1, broken: true, ..Memory::of(all.clone()) };
    let (survey, _) = look_through(&queue, &bucket, renewal, 3);
    assert!((survey.renewed, queue.bodies()) == (0, all.to_vec()) && survey.trouble.is_some(), "{survey:?}");
}

#[test]
fn only_what_is_meant_is_discarded() {
    let all = [letter("a", "ok"), "foreign".to_owned(), pack(&[record("c", "1", "ok")]), letter("d", "ok")];
    let run = |filter: &Filter, unreadable| {
        let queue = Memory::of(all.clone());
        let deadline = Instant::now() + Duration::from_secs(600);
        let discarded = block_on(discard(&queue, filter, unreadable, Instant::now, deadline, |_| {}));
        (discarded.messages, queue.bodies())
    };
    let reason = Filter { reasons: vec!["unreachable".to_owned()], ..Filter::default() };
    assert_eq!(run(&reason, false), (1, vec![all[0].clone(), all[1].clone(), all[3].clone()]));
    assert_eq!(run(&Filter::default(), false), (3, vec![all[1].clone()]), "what nobody can read nobody has meant");
    assert_eq!(run(&Filter::default(), true), (1, vec![all[0].clone(), all[2].clone(), all[3].clone()]));
}

/// A queue without an end.
#[derive(Default)]
struct Endless(Cell<usize>);

impl Outbox for Endless {
    async fn send(&self, _: &[Letter], _: Duration, _: Instant) -> Vec<Result<(), String>> {
        Vec::new()
    }
}

impl Queue for Endless {
    async fn take(&self, most: usize, _: Duration, _: Instant) -> Result<Vec<Message>, String> {
        let from = self.0.replace(self.0.get() + most);
        let message = |id: usize| Message {
            id: id.to_string(),
            receipt: id.to_string(),
            body: String::new(),
            sent_ms: 0,
            taken: 1,
        };
        Ok((from..from + most).map(message).collect())
    }

    async fn delete(&self, _: &[String], _: Instant) -> Vec<Result<(), String>> {
        Vec::new()
    }

    async fn hide(&self, _: &[String], _: Duration, _: Instant) {}

    async fn facts(&self, _: Instant) -> Result<QueueFacts, String> {
        Ok(QueueFacts::default())
    }
}

#[test]
fn who_has_not_seen_the_whole_queue_says_so() {
    let deadline = Instant::now() + Duration::from_secs(600);
    let bucket = None::<&Shelf>;
    let survey = block_on(survey(&Endless::default(), bucket, None, Instant::now, deadline, |_, _| true));
    assert!(survey.messages >= 100_000 && survey.trouble.is_some_and(|why| why.contains("looked at")));
    let discarded = block_on(discard(&Endless::default(), &Filter::default(), false, Instant::now, deadline, |_| {}));
    assert!(discarded.messages == 0 && discarded.trouble.is_some());
}
