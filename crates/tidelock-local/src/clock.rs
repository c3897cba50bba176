//! Points in time as the mapping uses them, and the texts Lambda writes them as.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time: the span since 1970-01-01T00:00:00Z. Times before that are not needed and count as that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

/// The parts of a [`Moment`] in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Calendar {
    pub(crate) year: u64,
    pub(crate) month: u64,
    pub(crate) day: u64,
    pub(crate) hour: u64,
    pub(crate) minute: u64,
    pub(crate) second: u64,
    pub(crate) millisecond: u32,
}

impl Moment {
    /// The system clock's present.
    pub fn now() -> Self {
        Self(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    /// The moment this long after 1970-01-01T00:00:00Z.
    pub fn from_epoch(span: Duration) -> Self {
        Self(span)
    }

    /// The span since 1970-01-01T00:00:00Z.
    pub fn since_epoch(self) -> Duration {
        self.0
    }

    /// The moment this much later.
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// ISO 8601 in UTC, with milliseconds: `2019-11-14T00:13:49.717Z`.
    pub fn iso_milliseconds(self) -> String {
        let c = self.calendar();
        format!("{}.{:03}Z", iso_date_time(&c, ':'), c.millisecond)
    }

    /// ISO 8601 in UTC, with milliseconds only where there are any: `2019-11-14T00:13:49Z`.
    pub fn iso(self) -> String {
        let c = self.calendar();
        if c.millisecond == 0 { format!("{}Z", iso_date_time(&c, ':')) } else { self.iso_milliseconds() }
    }

    /// The calendar date and time of day in UTC (proleptic Gregorian).
    pub(crate) fn calendar(self) -> Calendar {
        let seconds = self.0.as_secs();
        let (days, time) = (seconds / 86_400, seconds % 86_400);
        // Counted in 400-year cycles of years that begin on 1 March, so that the leap day is the last of its year.
        let shifted = days + 719_468;
        let (cycle, day_of_cycle) = (shifted / 146_097, shifted % 146_097);
        let year_of_cycle =
            (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
        let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Calendar {
            year: cycle * 400 + year_of_cycle + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            hour: time / 3_600,
            minute: time / 60 % 60,
            second: time % 60,
            millisecond: self.0.subsec_millis(),
        }
    }
}

/// `2019-11-14T00:13:49`, with the given separator between the parts of the time.
pub(crate) fn iso_date_time(c: &Calendar, separator: char) -> String {
    format!(
        "{:04}-{:02}-{:02}T{:02}{separator}{:02}{separator}{:02}",
        c.year, c.month, c.day, c.hour, c.minute, c.second
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_573_690_429, "2019-11-14T00:13:49Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Moment::from_epoch(Duration::from_secs(seconds)).iso(), text);
        }
    }

    #[test]
    fn milliseconds_are_written_where_they_matter() {
        let moment = Moment::from_epoch(Duration::from_millis(1_573_690_429_017));
        assert_eq!(moment.iso_milliseconds(), "2019-11-14T00:13:49.017Z");
        assert_eq!(moment.iso(), "2019-11-14T00:13:49.017Z");
        assert_eq!(Moment::from_epoch(Duration::from_secs(1)).iso_milliseconds(), "1970-01-01T00:00:01.000Z");
    }
}
