//! `$date`'s text.

use crate::letter::parse_timestamp;

/// Milliseconds since 1970 of a date as [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339) writes it, with an offset or `Z`.
pub(super) fn milliseconds(text: &str) -> Option<i64> {
    if text.ends_with('Z') {
        return parse_timestamp(text);
    }
    let (_, time) = text.split_once('T')?;
    let sign = time.rfind(['+', '-'])?;
    let at = text.len() - time.len() + sign;
    let (local, offset) = (text.get(..at)?, text.get(at..)?);
    let digits: String = offset.chars().skip(1).filter(|c| *c != ':').collect();
    let number = |range: std::ops::Range<usize>| digits.get(range).and_then(|part| part.parse::<i64>().ok());
    let minutes = match digits.len() {
        2 => number(0..2)? * 60,
        4 => number(0..2)? * 60 + number(2..4)?,
        _ => return None,
    };
    let minutes = if offset.starts_with('-') { -minutes } else { minutes };
    parse_timestamp(&format!("{local}Z"))?.checked_sub(minutes * 60_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_with_and_without_an_offset() {
        for (text, ms) in [
            ("2020-04-29T13:22:08Z", Some(1_588_166_528_000)),
            ("2020-04-29T13:22:08.123Z", Some(1_588_166_528_123)),
            ("2020-04-29T15:22:08.5+02:00", Some(1_588_166_528_500)),
            ("2020-04-29T15:22:08+0200", Some(1_588_166_528_000)),
            ("2020-04-29T08:22:08-05", Some(1_588_166_528_000)),
            ("2020-04-29T13:22:08", None),
            ("2020-04-29", None),
            ("x", None),
            ("", None),
            ("2020-04-29T13:22:08+", None),
        ] {
            assert_eq!(milliseconds(text), ms, "{text}");
        }
    }
}
