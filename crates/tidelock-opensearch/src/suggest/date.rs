//! Texts that are dates.

/// Whether OpenSearch takes a text for a date when it maps it by itself: `strict_date_optional_time` with at least a month, or
/// `yyyy/MM/dd`.
pub(super) fn is_date_like(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.get(4) == Some(&b'/') {
        return bytes.len() == 10 && bytes.get(7) == Some(&b'/') && day(&text.replace('/', "-")).is_some();
    }
    match text.split_once('T') {
        None => month(text).is_some() || day(text).is_some(),
        Some((date, time)) => day(date).is_some() && is_time(time, true),
    }
}

/// Whether a text is a full date or a date with time and zone as of RFC 3339, in a form that OpenSearch reads.
pub(super) fn is_rfc3339(text: &str) -> bool {
    match text.split_once('T') {
        None => day(text).is_some(),
        Some((date, time)) => day(date).is_some() && is_time(time, false),
    }
}

fn digits(text: &str, count: usize) -> Option<u32> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// `2026-01`.
fn month(text: &str) -> Option<(u32, u32)> {
    let (year, month) = text.split_once('-')?;
    Some((digits(year, 4)?, digits(month, 2).filter(|month| (1..=12).contains(month))?))
}

/// `2026-01-31`.
fn day(text: &str) -> Option<()> {
    let (front, day) = text.rsplit_once('-')?;
    let (year, month) = month(front)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    digits(day, 2).filter(|day| (1..=last).contains(day)).map(drop)
}

/// `03:04:05.678+02:00`; `short`: seconds, minutes, zone and its colon may be missing.
fn is_time(text: &str, short: bool) -> bool {
    let (clock, zone) = match text.find(['Z', '+', '-']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let zone = match (zone.strip_prefix(['+', '-']), zone) {
        (_, "Z") => true,
        (_, "") => short,
        (None, _) => false,
        (Some(offset), _) => {
            let (hours, minutes) = match offset.split_once(':') {
                Some((hours, minutes)) => (hours, Some(minutes)),
                None if short && offset.len() == 4 => {
                    offset.split_at_checked(2).map_or((offset, None), |(h, m)| (h, Some(m)))
                }
                None => (offset, None),
            };
            digits(hours, 2).is_some_and(|hours| hours <= 18)
                && minutes.map_or(short, |minutes| digits(minutes, 2).is_some_and(|minutes| minutes < 60))
        }
    };
    let mut parts = clock.split(':');
    let below = |part: Option<&str>, limit| part.map(|part| digits(part, 2).is_some_and(|part| part < limit));
    let hour = below(parts.next(), 24) == Some(true);
    let minute = below(parts.next(), 60);
    let (second, fraction) =
        match parts.next().map(|last| last.split_once('.').map_or((last, None), |(s, f)| (s, Some(f)))) {
            None => (None, None),
            Some((second, fraction)) => (below(Some(second), 60), fraction),
        };
    let fraction = fraction
        .is_none_or(|fraction| (1..=9).contains(&fraction.len()) && fraction.bytes().all(|byte| byte.is_ascii_digit()));
    let whole = |part: Option<bool>| part.unwrap_or(short);
    zone && hour && whole(minute) && whole(second) && fraction && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_server_takes_them() {
        // Each as OpenSearch 3.8 has mapped it; the second says whether all of RFC 3339 is there.
        for (text, like, whole) in [
            ("2026", false, false),
            ("2026-01", true, false),
            ("2026-01-02", true, true),
            ("2026-01-02T03:04", true, false),
            ("2026-01-02 03:04:05", false, false),
            ("2026-01-02T03:04:05.123456789+02:00", true, true),
            ("2026-01-02T03:04:05Z", true, true),
            ("2026/01/02", true, false),
            ("2026/01/02 03:04:05 +0000", false, false),
            ("12:30", false, false),
            ("2026-1-2", false, false),
            ("2026-13-02", false, false),
            ("T03", false, false),
            ("2026-W01", false, false),
            ("2026-01-02T03:04:05z", false, false),
            ("2026-01-02T24:00:00Z", false, false),
            ("2026-01-02T03", true, false),
            ("2026-02-30", false, false),
            ("2024-02-29", true, true),
            ("2026-01-02T03:04:05.1+0200", true, false),
            ("2026-01-02T03:04:05+02", true, false),
            ("2026-001", false, false),
            ("99999-01-01", false, false),
            ("", false, false),
            ("2026/0é/02", false, false),
            ("2026-01-02Té:04:05Z", false, false),
        ] {
            assert_eq!((is_date_like(text), is_rfc3339(text)), (like, whole), "{text}");
        }
    }
}
