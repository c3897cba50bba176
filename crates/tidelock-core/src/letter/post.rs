//! Sending: what fits goes into the message, what does not into a bucket.

use super::{Letter, MAX_LETTER_BYTES, hash};
use crate::queue::{Bucket, Outbox};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How objects' names begin.
const PREFIX: &str = "letters/";

/// A queue, and the bucket beside it.
#[derive(Debug)]
pub struct Post<'a, Q, B> {
    /// Where messages go.
    pub queue: &'a Q,
    /// Where what does not fit goes; `None`: it is not sent.
    pub bucket: Option<&'a B>,
}

impl<Q, B> Clone for Post<'_, Q, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Q, B> Copy for Post<'_, Q, B> {}

/// Stores letters durably, and says of each, by position, whether it is stored.
///
/// An object is named after its content, so that the same letter sent again is the same object. Nothing deletes objects but
/// the bucket's own rules: they outlive the messages that point at them.
pub async fn post<Q: Outbox, B: Bucket>(
    to: Post<'_, Q, B>,
    letters: Vec<Letter>,
    delay: Duration,
    deadline: Instant,
) -> Vec<Result<(), String>> {
    let mut results: Vec<Result<(), String>> = Vec::with_capacity(letters.len());
    let mut fitting = Vec::with_capacity(letters.len());
    let mut sent = Vec::with_capacity(letters.len());
    for letter in letters {
        let position = results.len();
        results.push(Err("the queue gave no answer for this letter".to_owned()));
        let letter =
            if letter.body.len() > MAX_LETTER_BYTES { shorten(to.bucket, letter, deadline).await } else { Ok(letter) };
        match letter {
            Ok(letter) => {
                fitting.push(letter);
                sent.push(position);
            }
            // What cannot be sent must not hold back the others.
            Err(why) => set(&mut results, position, Err(why)),
        }
    }
    if !fitting.is_empty() {
        for (position, result) in sent.into_iter().zip(to.queue.send(&fitting, delay, deadline).await) {
            set(&mut results, position, result);
        }
    }
    results
}

fn set(results: &mut [Result<(), String>], position: usize, result: Result<(), String>) {
    if let Some(place) = results.get_mut(position) {
        *place = result;
    }
}

/// Puts a letter into the bucket, and gives the one that points at it.
async fn shorten<B: Bucket>(bucket: Option<&B>, letter: Letter, deadline: Instant) -> Result<Letter, String> {
    let size = letter.body.len();
    let bucket = bucket.ok_or_else(|| {
        format!("the letter has {size} bytes, a message at most {MAX_LETTER_BYTES}; set TIDELOCK_LETTERS_BUCKET")
    })?;
    let name = format!("{PREFIX}{}.json", hash([letter.body.as_bytes()]));
    let pointer = pointer(&letter.body, bucket.name(), &name).ok_or("the letter cannot be shortened")?;
    bucket.put(&name, letter.body.into_bytes(), deadline).await?;
    Ok(Letter { body: pointer, ..letter })
}

/// The letter without what makes it long, and with where that is.
fn pointer(body: &str, bucket: &str, name: &str) -> Option<String> {
    /// The most that a member may weigh which stays in the message.
    const MAX_MEMBER: usize = 16 * 1_024;
    let mut members: BTreeMap<&str, &RawValue> = serde_json::from_str(body).ok()?;
    members.retain(|name, value| !matches!(*name, "record" | "records") && value.get().len() <= MAX_MEMBER);
    let place = serde_json::json!({"bucket": bucket, "key": name, "bytes": body.len()}).to_string();
    let place = RawValue::from_string(place).ok()?;
    members.insert("s3", &place);
    serde_json::to_string(&members).ok()
}

#[cfg(test)]
mod tests {
    use super::super::{Contents, read};
    use super::*;
    use crate::queue::{Names, Nowhere};
    use crate::testing::block_on;
    use std::cell::RefCell;

    #[derive(Default)]
    struct Box(RefCell<Vec<Letter>>);

    impl Outbox for Box {
        async fn send(&self, letters: &[Letter], _: Duration, _: Instant) -> Vec<Result<(), String>> {
            self.0.borrow_mut().extend_from_slice(letters);
            letters.iter().map(|_| Ok(())).collect()
        }
    }

    #[derive(Default)]
    struct Shelf {
        objects: RefCell<BTreeMap<String, Vec<u8>>>,
        full: bool,
    }

    impl Bucket for Shelf {
        fn name(&self) -> &str {
            "shelf"
        }

        async fn put(&self, name: &str, body: Vec<u8>, _: Instant) -> Result<(), String> {
            if self.full {
                return Err("the shelf is full".to_owned());
            }
            self.objects.borrow_mut().insert(name.to_owned(), body);
            Ok(())
        }

        async fn get(&self, _: &str, _: Instant) -> Result<Option<Vec<u8>>, String> {
            Ok(None)
        }

        async fn delete(&self, _: &str, _: Instant) -> Result<(), String> {
            Ok(())
        }

        async fn list(&self, _: &str, _: Option<&str>, _: Instant) -> Result<Names, String> {
            Ok(Names::default())
        }
    }

    fn letter(size: usize) -> Letter {
        let body = serde_json::json!({
            "tidelock": 1, "letter_id": "x", "reason": "unknown_type", "source": {"kind": "dynamodb", "name": "t"},
            "record": "r".repeat(size), "attempts": 1, "first_failed_at": "2026-01-01T00:00:00.000Z",
        });
        Letter { reason: "unknown_type".into(), source: "t".to_owned(), body: body.to_string() }
    }

    #[test]
    fn what_does_not_fit_lies_in_the_bucket_before_its_message_is_sent() {
        let (queue, bucket) = (Box::default(), Shelf::default());
        let to = Post { queue: &queue, bucket: Some(&bucket) };
        let letters = vec![letter(10), letter(MAX_LETTER_BYTES), letter(20)];
        let results = block_on(post(to, letters.clone(), Duration::ZERO, Instant::now()));
        assert_eq!(results, [Ok(()), Ok(()), Ok(())]);
        let sent = queue.0.borrow();
        assert_eq!((&sent[0], &sent[2]), (&letters[0], &letters[2]));
        let parcel = read(&sent[1].body).expect("a letter");
        let Contents::Elsewhere { bucket: name, key } = &parcel.contents else { panic!("{parcel:?}") };
        assert_eq!((&**name, parcel.reason.as_ref(), sent[1].body.len() < 1_000), ("shelf", "unknown_type", true));
        assert_eq!(bucket.objects.borrow()[&**key], letters[1].body.as_bytes());
    }

    #[test]
    fn what_cannot_be_stored_holds_nothing_back() {
        for (bucket, words) in
            [(None, "TIDELOCK_LETTERS_BUCKET"), (Some(Shelf { full: true, ..Shelf::default() }), "full")]
        {
            let queue = Box::default();
            let to = Post { queue: &queue, bucket: bucket.as_ref() };
            let letters = vec![letter(MAX_LETTER_BYTES), letter(1)];
            let results = block_on(post(to, letters, Duration::ZERO, Instant::now()));
            assert!(results[0].as_ref().is_err_and(|why| why.contains(words)), "{results:?}");
            assert_eq!((&results[1], queue.0.borrow().len()), (&Ok(()), 1));
        }
        let queue = Box::default();
        let to = Post { queue: &queue, bucket: None::<&Nowhere> };
        assert!(block_on(post(to, vec![letter(MAX_LETTER_BYTES)], Duration::ZERO, Instant::now()))[0].is_err());
    }
}
