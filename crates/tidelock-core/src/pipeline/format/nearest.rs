//! "Did you mean": the known word that is nearest to a wrong one.

use crate::settings::distance;

/// The known word within few enough edits of a wrong one: at most one for every two of its letters.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let length = word.chars().count();
    // A longer word is none that somebody has misspelled.
    if length > 40 {
        return None;
    }
    let lower = word.to_lowercase().replace('-', "_");
    let near = known.into_iter().map(|other| (distance(&lower, other), other));
    near.filter(|(edits, _)| edits * 2 <= length.max(2)).min().map(|(_, other)| other)
}

/// `a, b or c`, each in backquotes.
pub(super) fn listed<'k>(words: impl IntoIterator<Item = &'k str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} or {last}", before.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_and_no_far_one() {
        let known = ["from", "to", "where", "on_outage", "transform"];
        for (word, expected) in [
            ("form", Some("from")),
            ("too", Some("to")),
            ("onOutage", Some("on_outage")),
            ("on-outage", Some("on_outage")),
            ("transforms", Some("transform")),
            ("index", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
        assert_eq!(nearest(&"to".repeat(100), known), None);
        assert_eq!(listed(["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
