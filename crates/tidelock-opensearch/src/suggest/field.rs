//! What has been seen of a field.

use super::Sample;
use super::date::{is_date_like, is_rfc3339};
use std::collections::BTreeMap;
use tidelock_core::json::Number;

/// Digits that a double keeps.
const EXACT_DIGITS: usize = 15;

/// Bytes of the longest term.
pub(super) const LONGEST_TERM: usize = 32_766;

/// What a value is to a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Boolean,
    /// A number without a fraction.
    Integer,
    /// A number with one.
    Decimal,
    /// A text that OpenSearch would take for a date.
    Date,
    Text,
    /// A text that is base64.
    Binary,
    Object,
}

impl Kind {
    pub(super) fn told(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "long",
            Self::Decimal => "double",
            Self::Date => "date",
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Object => "object",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Field {
    /// Each kind with the first value of it.
    pub(super) kinds: BTreeMap<Kind, Sample>,
    pub(super) children: BTreeMap<String, Self>,
    /// It is an object because of a dot in another field's name.
    pub(super) dotted: bool,
    /// Objects that are entries of a list.
    pub(super) objects_in_lists: bool,
    /// An integer that no long holds.
    pub(super) beyond_long: Option<Sample>,
    /// A number of more digits than a double keeps.
    pub(super) long_number: Option<Sample>,
    /// The most digits behind the point.
    pub(super) scale: usize,
    /// Every text is a date as of RFC 3339.
    pub(super) all_rfc3339: Option<bool>,
    /// Some text has white space, or is too long to be looked up as a whole.
    pub(super) is_prose: bool,
    /// A text longer than a term may be.
    pub(super) long_text: Option<Sample>,
}

impl Field {
    pub(super) fn see(&mut self, kind: Kind, sample: impl FnOnce() -> Sample) {
        self.kinds.entry(kind).or_insert_with(sample);
    }

    pub(super) fn see_number(&mut self, text: &str, sample: impl Fn() -> Sample) {
        let is_integer = !text.contains(['.', 'e', 'E']);
        self.see(if is_integer { Kind::Integer } else { Kind::Decimal }, &sample);
        if is_integer && text.parse::<i64>().is_err() {
            self.beyond_long.get_or_insert_with(&sample);
        }
        let Some(number) = Number::parse(text.as_bytes()) else { return };
        let digits = number.digits.len();
        let whole = if is_integer { text.trim_start_matches('-').len() } else { digits };
        if whole.max(digits) > EXACT_DIGITS {
            self.long_number.get_or_insert_with(&sample);
        }
        self.scale = self.scale.max(usize::try_from(number.exponent.saturating_neg()).unwrap_or(0));
    }

    pub(super) fn see_text(&mut self, text: &str, sample: impl Fn() -> Sample) {
        self.see(if is_date_like(text) { Kind::Date } else { Kind::Text }, &sample);
        self.all_rfc3339 = Some(self.all_rfc3339.unwrap_or(true) && is_rfc3339(text));
        self.is_prose |= text.chars().any(char::is_whitespace) || text.chars().count() > 256;
        if text.len() > LONGEST_TERM {
            self.long_text.get_or_insert_with(sample);
        }
    }

    pub(super) fn has(&self, kind: Kind) -> bool {
        self.kinds.contains_key(&kind)
    }

    /// Whether all its values are of these kinds, and there are some.
    pub(super) fn is_only(&self, kinds: &[Kind]) -> bool {
        !self.kinds.is_empty() && self.kinds.keys().all(|kind| kinds.contains(kind))
    }
}
