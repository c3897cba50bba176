//! Which messages are meant.

use crate::letter::Parcel;

/// What a message must be like; what is left out does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Any of these reasons.
    pub reasons: Vec<String>,
    /// The source's name.
    pub source: Option<String>,
    /// The record's key in the source's notation (`{"id":{"N":"1"}}`), or the target's id.
    pub key: Option<String>,
    /// The letter's own id.
    pub id: Option<String>,
    /// Failed first before this, milliseconds since 1970.
    pub before_ms: Option<i64>,
    /// Failed first at this time or later, milliseconds since 1970.
    pub after_ms: Option<i64>,
}

impl Filter {
    /// Whether it leaves nothing out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a message is meant.
    #[must_use]
    pub fn takes(&self, parcel: &Parcel<'_>) -> bool {
        let equals = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        (self.reasons.is_empty() || self.reasons.iter().any(|reason| *reason == parcel.reason))
            && equals(&self.source, &parcel.source)
            && equals(&self.id, &parcel.id)
            && self.before_ms.is_none_or(|before| parcel.first_failed_ms < before)
            && self.after_ms.is_none_or(|after| parcel.first_failed_ms >= after)
            && self.key.as_deref().is_none_or(|key| is_of(parcel, key))
    }
}

fn is_of(parcel: &Parcel<'_>, key: &str) -> bool {
    if parcel.target.as_ref().is_some_and(|(_, id)| id == key) {
        return true;
    }
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    parcel.key.is_some_and(|found| value(found.get()).is_some_and(|found| Some(found) == value(key)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::letter::read;

    #[test]
    fn what_is_left_out_does_not_matter() {
        let text = serde_json::json!({
            "tidelock": 1, "letter_id": "00ff", "reason": "mapping_conflict", "source": {"kind": "dynamodb", "name": "t"},
            "key": {"id": {"N": "1"}, "range": {"S": "a"}}, "record": {}, "attempts": 1,
            "first_failed_at": "1970-01-01T00:00:01.000Z", "target": {"index": "i", "id": "1|a"},
        });
        let text = text.to_string();
        let parcel = read(&text).expect("a letter");
        let is = |filter: Filter| filter.takes(&parcel);
        let text = |text: &str| Some(text.to_owned());
        assert!(is(Filter::default()) && Filter::default().is_empty());
        assert!(is(Filter { reasons: vec!["x".into(), "mapping_conflict".into()], ..Filter::default() }));
        assert!(is(Filter { source: text("t"), id: text("00ff"), ..Filter::default() }));
        for key in ["1|a", r#"{"id":{"N":"1"},"range":{"S":"a"}}"#, r#"{ "range":{"S":"a"}, "id":{"N":"1"} }"#] {
            assert!(is(Filter { key: text(key), ..Filter::default() }), "{key}");
        }
        assert!(is(Filter { before_ms: Some(1_001), after_ms: Some(1_000), ..Filter::default() }));
        for other in [
            Filter { reasons: vec!["x".into()], ..Filter::default() },
            Filter { source: text("u"), ..Filter::default() },
            Filter { key: text("1"), ..Filter::default() },
            Filter { id: text("1"), ..Filter::default() },
            Filter { before_ms: Some(1_000), ..Filter::default() },
            Filter { after_ms: Some(1_001), ..Filter::default() },
        ] {
            assert!(!is(other.clone()), "{other:?}");
        }
    }
}
