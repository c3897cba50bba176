//! Which letters are meant.

use super::Stop;
use std::time::{SystemTime, UNIX_EPOCH};
use tidelock_core::letter::{parse_timestamp, timestamp};
use tidelock_core::redrive::Filter;

/// Which letters; all that is given must hold.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Which letters (all of them by default)")]
pub(super) struct Which {
    /// With this reason; may be repeated
    #[arg(long, value_name = "REASON")]
    reason: Vec<String>,
    /// From this table, collection or topic
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Of this record: its key as in the source (`{"id":{"N":"1"}}`), or its id in the target
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The letter with this id
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// That failed first at least this long ago, such as 90m, 12h, 3d
    #[arg(long, value_name = "AGE")]
    older_than: Option<String>,
    /// That failed first less than this long ago
    #[arg(long, value_name = "AGE")]
    newer_than: Option<String>,
    /// That failed first before this time (2026-01-31T23:59:59Z)
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
    /// That failed first at this time or later
    #[arg(long, value_name = "TIME")]
    after: Option<String>,
}

/// Milliseconds of an age such as `90m`.
fn age_ms(text: &str) -> Option<i64> {
    let unit = text.chars().last()?;
    let number: i64 = text.strip_suffix(unit)?.parse().ok().filter(|number| *number >= 0)?;
    let factor = match unit {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        'w' => 7 * 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    i64::try_from(now).unwrap_or(i64::MAX)
}

impl Which {
    /// The filter.
    ///
    /// # Errors
    /// When an age or a time cannot be read, or two of them say the same thing differently.
    pub(super) fn filter(&self) -> Result<Filter, Stop> {
        let ago = |option: &str, text: &Option<String>| match text.as_deref().map(|text| (text, age_ms(text))) {
            Some((text, None)) => Err(Stop::options(format!("{option}: `{text}` is no age like 90m, 12h, 3d"))),
            Some((_, Some(age))) => Ok(Some(now_ms().saturating_sub(age))),
            None => Ok(None),
        };
        let time = |option: &str, text: &Option<String>| match text.as_deref().map(|text| (text, parse_timestamp(text)))
        {
            Some((text, None)) => {
                Err(Stop::options(format!("{option}: `{text}` is no time like 2026-01-31T23:59:59Z")))
            }
            Some((_, time)) => Ok(time),
            None => Ok(None),
        };
        let one = |first: Option<i64>, second: Option<i64>, options: &str| match (first, second) {
            (Some(_), Some(_)) => Err(Stop::options(format!("{options}: give one of them"))),
            (first, second) => Ok(first.or(second)),
        };
        let before =
            one(ago("--older-than", &self.older_than)?, time("--before", &self.before)?, "--older-than and --before")?;
        let after =
            one(ago("--newer-than", &self.newer_than)?, time("--after", &self.after)?, "--newer-than and --after")?;
        Ok(Filter {
            reasons: self.reason.clone(),
            source: self.source.clone(),
            key: self.key.clone(),
            id: self.id.clone(),
            before_ms: before,
            after_ms: after,
        })
    }

    /// As a request to `redrive`.
    pub(super) fn request(&self) -> Result<tidelock_sync::Request, Stop> {
        let filter = self.filter()?;
        Ok(tidelock_sync::Request {
            reason: filter.reasons,
            source: filter.source,
            key: filter.key,
            letter_id: filter.id,
            before: filter.before_ms.map(timestamp),
            after: filter.after_ms.map(timestamp),
            ..tidelock_sync::Request::default()
        })
    }
}

/// How long ago, for people.
pub(super) fn ago(first_failed_ms: i64) -> String {
    let seconds = (now_ms() - first_failed_ms).max(0) / 1_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        assert_eq!((age_ms("90m"), age_ms("3d"), age_ms("0s")), (Some(5_400_000), Some(259_200_000), Some(0)));
        for wrong in ["", "3", "d", "-1d", "1.5h", "3 d", "3y", "99999999999999999w"] {
            assert_eq!(age_ms(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_used_says_so() {
        let text = |text: &str| Some(text.to_owned());
        for (which, words) in [
            (Which { older_than: text("x"), ..Which::default() }, "--older-than"),
            (Which { after: text("yesterday"), ..Which::default() }, "--after"),
            (Which { older_than: text("3d"), before: text("2026-01-31T23:59:59Z"), ..Which::default() }, "one of them"),
        ] {
            let stop = which.filter().expect_err(words);
            assert!(stop.message.contains(words), "{stop:?}");
        }
        let which = Which { newer_than: text("1h"), before: text("2026-01-31T23:59:59Z"), ..Which::default() };
        let filter = which.filter().expect("both are usable");
        assert!(filter.after_ms.is_some() && filter.before_ms == Some(1_769_903_999_000));
        assert_eq!(which.request().expect("a request").before.as_deref(), Some("2026-01-31T23:59:59.000Z"));
    }
}
