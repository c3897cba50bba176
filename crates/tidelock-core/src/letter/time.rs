//! Times in letters.

use crate::version::dynamodb::days_from_civil;
use std::io::Write as _;

/// Milliseconds since 1970 as `2019-02-19T13:24:19.184Z` ([RFC 3339](https://www.rfc-editor.org/rfc/rfc3339)); years that
/// four digits do not hold with a sign and at least six, as
/// [ECMAScript](https://tc39.es/ecma262/#sec-expanded-years) writes them.
#[must_use]
pub fn timestamp(ms: i64) -> String {
    let mut text = Vec::with_capacity(24);
    write_timestamp(&mut text, ms);
    String::from_utf8(text).unwrap_or_default()
}

/// Appends a [`timestamp`].
pub(crate) fn write_timestamp(out: &mut Vec<u8>, ms: i64) {
    let (days, of_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    // Hinnant's civil_from_days.
    let z = days + 719_468;
    let (era, of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (seconds, millis) = (of_day / 1000, of_day % 1000);
    if (0..=9999).contains(&year) {
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
        let pairs = [year / 100, year % 100, month, day, hours, minutes, seconds % 60, millis / 10];
        for (at, value) in [0, 2, 5, 8, 11, 14, 17, 20].into_iter().zip(pairs) {
            text[at] += (value / 10) as u8;
            text[at + 1] += (value % 10) as u8;
        }
        text[22] += (millis % 10) as u8;
        out.extend_from_slice(&text);
        return;
    }
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        "{year:+07}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{millis:03}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
}

/// Milliseconds since 1970 of a time as [`timestamp`] writes it, or as others write
/// [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339) in UTC: with any number of decimals, or none.
#[must_use]
pub fn parse_timestamp(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (rest, day) = date.rsplit_once('-')?;
    let (year, month) = rest.rsplit_once('-')?;
    let number = |text: &str| text.parse::<i64>().ok();
    let (year, month, day) = (number(year)?, number(month)?, number(day)?);
    let (time, decimals) = time.split_once('.').unwrap_or((time, "0"));
    let mut parts = time.split(':').map(number);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let plausible = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second)
        && (-300_000..=300_000).contains(&year)
        && parts.next().is_none()
        && decimals.bytes().all(|byte| byte.is_ascii_digit());
    if !plausible {
        return None;
    }
    let millis: String = decimals.chars().chain("000".chars()).take(3).collect();
    let days = days_from_civil(year, month, day);
    Some(((days * 24 + hour) * 60 + minute) * 60_000 + second * 1_000 + number(&millis)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_rfc_3339() {
        assert_eq!(timestamp(1_550_582_659_184), "2019-02-19T13:24:19.184Z");
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(timestamp(1_709_164_800_000), "2024-02-29T00:00:00.000Z");
        assert_eq!(timestamp(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(timestamp(-62_167_219_200_000), "0000-01-01T00:00:00.000Z");
        assert_eq!(timestamp(-62_167_219_200_001), "-000001-12-31T23:59:59.999Z");
        assert_eq!(timestamp(253_402_300_799_999), "9999-12-31T23:59:59.999Z");
        assert_eq!(timestamp(253_402_300_800_000), "+010000-01-01T00:00:00.000Z");
        assert_eq!(timestamp(i64::MAX), "+292278994-08-17T07:12:55.807Z");
        assert_eq!(timestamp(i64::MIN), "-292275055-05-16T16:47:04.192Z");
    }

    #[test]
    fn timestamps_are_read_as_they_are_written() {
        for ms in [0, -1, 1_550_582_659_184, 1_709_164_800_000, 253_402_300_800_000, -62_167_219_200_001] {
            assert_eq!(parse_timestamp(&timestamp(ms)), Some(ms), "{}", timestamp(ms));
        }
        assert_eq!(parse_timestamp("2019-11-14T00:13:19Z"), Some(1_573_690_399_000));
        assert_eq!(parse_timestamp("2019-11-14T00:13:19.7Z"), Some(1_573_690_399_700));
        assert_eq!(parse_timestamp("2019-11-14T00:13:19.123456Z"), Some(1_573_690_399_123));
        for text in [
            "",
            "Z",
            "2019-11-14",
            "2019-13-14T00:00:00Z",
            "2019-11-14T00:00:00",
            "2019-11-14T24:00:00Z",
            "2019-11-14T0:x:0Z",
        ] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
    }
}
