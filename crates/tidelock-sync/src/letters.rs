//! A queue of letters as an operator sees it: looked through, shown whole, thrown away.

use crate::authentication::Authentication;
use crate::waiting::{AnyBucket, AnyQueue};
use std::time::{Duration, Instant};
use tidelock_core::letter::{Contents, Parcel, Unreadable, read};
use tidelock_core::queue::{Bucket as _, Message, Queue as _, QueueFacts};
use tidelock_core::redrive::{Discarded, Filter, Survey, discard, survey};
use tidelock_core::settings::{bucket_address, queue_address};
use tidelock_lambda::{Environment, Fatal};

/// The longest that looking through a queue may take; messages are hidden for as long.
const SURVEY_TIME: Duration = Duration::from_secs(600);

/// A queue of letters or packs, with the bucket beside it.
pub struct Letters {
    queue: AnyQueue,
    bucket: Option<AnyBucket>,
}

impl Letters {
    /// Opens the queue and the bucket that these addresses name, as `TIDELOCK_DEAD_LETTERS` and `TIDELOCK_LETTERS_BUCKET` would.
    ///
    /// # Errors
    /// When an address is of no known form.
    pub fn open(queue: &str, bucket: Option<&str>, environment: &Environment) -> Result<Self, Fatal> {
        let refused =
            |value: &str, forms: &str| Fatal::new("Tidelock.Settings", format!("`{value}` is not one of {forms}"));
        let authentication = Authentication::bare(environment);
        let address = queue_address(queue).map_err(|forms| refused(queue, forms))?;
        let opened = AnyQueue::new(address, "the queue", &authentication, environment)?;
        let bucket = bucket.map(|name| {
            let address = bucket_address(name).map_err(|forms| refused(name, forms))?;
            AnyBucket::new(address, "the bucket", &authentication, environment)
        });
        Ok(Self { queue: opened, bucket: bucket.transpose()? })
    }

    /// What the queue says of itself.
    ///
    /// # Errors
    /// When it cannot be reached, or does not allow it.
    pub async fn facts(&self) -> Result<QueueFacts, String> {
        self.queue.facts(Instant::now() + SURVEY_TIME).await
    }

    /// Looks through the queue; `visit` may ask to stop. Messages are hidden from others meanwhile.
    pub async fn survey(&self, visit: impl FnMut(&Message, &Result<Parcel<'_>, Unreadable>) -> bool) -> Survey {
        let deadline = Instant::now() + SURVEY_TIME;
        survey(&self.queue, self.bucket.as_ref(), None, Instant::now, deadline, visit).await
    }

    /// The whole text of a message that may point at an object.
    ///
    /// # Errors
    /// When the object cannot be had.
    pub async fn whole(&self, text: String) -> Result<String, String> {
        let (place, key) = match read(&text) {
            Ok(Parcel { contents: Contents::Elsewhere { bucket, key }, .. }) => (bucket.into_owned(), key.into_owned()),
            _ => return Ok(text),
        };
        let bucket = self.bucket.as_ref().filter(|bucket| bucket.name() == place);
        let bucket = bucket.ok_or_else(|| format!("it lies in bucket `{place}`: name it by --bucket"))?;
        let body = bucket.get(&key, Instant::now() + SURVEY_TIME).await?;
        let body = body.ok_or_else(|| format!("object `{key}` is missing in bucket `{place}`"))?;
        String::from_utf8(body).map_err(|_| format!("object `{key}` is no text"))
    }

    /// Deletes messages for good; see [`discard`].
    pub async fn discard(&self, filter: &Filter, unreadable: bool, watch: impl FnMut(&Discarded)) -> Discarded {
        discard(&self.queue, filter, unreadable, Instant::now, Instant::now() + SURVEY_TIME, watch).await
    }
}
