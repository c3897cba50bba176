//! The proposal: an `indexes` section of the pipeline, with the reasons beside it.

use super::Observed;
use super::field::{Field, Kind};
use std::fmt::Write as _;

/// Characters that a keyword keeps: at four bytes each below the longest term.
const WHOLE_KEYWORD: &str = "{type: keyword, ignore_above: 8191}";

/// `indexes:` as YAML.
#[must_use]
pub fn section<'a>(observed: impl IntoIterator<Item = &'a Observed>) -> String {
    let mut out = "indexes:\n".to_owned();
    for index in observed {
        let _ = writeln!(out, "  {}:  # from {} documents", name(&index.name), index.documents);
        out.push_str("    mappings:\n      date_detection: false\n");
        properties(&index.root, 6, &mut out);
    }
    out
}

fn properties(field: &Field, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    if !field.children.values().any(|child| !child.kinds.is_empty()) {
        let _ = writeln!(out, "{pad}properties: {{}}");
    } else {
        let _ = writeln!(out, "{pad}properties:");
    }
    for (own, child) in &field.children {
        let own = name(own);
        if child.kinds.is_empty() {
            let _ = writeln!(out, "{pad}  # {own}: null or empty wherever it was seen");
            continue;
        }
        if child.is_only(&[Kind::Object]) {
            let list = "  # entries of a list: add `type: nested` where fields of one entry must match together";
            let _ = writeln!(out, "{pad}  {own}:{}", if child.objects_in_lists { list } else { "" });
            properties(child, indent + 4, out);
            continue;
        }
        let (definition, why) = definition(child);
        let why = if why.is_empty() { String::new() } else { format!("  # {why}") };
        let _ = writeln!(out, "{pad}  {own}: {definition}{why}");
    }
}

/// The definition of a field that is no plain object, and what is to be said of it.
fn definition(field: &Field) -> (String, String) {
    let told = |definition: &str, why: &str| (definition.to_owned(), why.to_owned());
    let digits =
        field.long_number.as_ref().map(|sample| format!("{} has more digits than a double keeps", sample.value));
    if field.has(Kind::Object) {
        return told("{type: object, enabled: false}", "an object here, a value there: kept, not searched");
    }
    if field.is_only(&[Kind::Boolean]) {
        return told("{type: boolean}", "");
    }
    if field.is_only(&[Kind::Binary]) {
        return told("{type: binary}", "base64; not searched");
    }
    if field.is_only(&[Kind::Integer, Kind::Decimal]) {
        return match digits {
            Some(why) => (WHOLE_KEYWORD.to_owned(), why),
            None if !field.has(Kind::Decimal) => told("{type: long}", ""),
            None => {
                let scale = u32::try_from(field.scale).unwrap_or(u32::MAX);
                let why = match 10_u64.checked_pow(scale).filter(|_| (1..=4).contains(&scale)) {
                    Some(factor) => format!(
                        "{{type: scaled_float, scaling_factor: {factor}}} is smaller, where there are never more than {scale} \
                         digits behind the point"
                    ),
                    None => String::new(),
                };
                ("{type: double}".to_owned(), why)
            }
        };
    }
    if field.is_only(&[Kind::Text, Kind::Date]) {
        return if field.all_rfc3339 == Some(true) {
            told("{type: date}", "")
        } else if field.is_prose {
            told("{type: text, fields: {keyword: {type: keyword, ignore_above: 256}}}", "")
        } else {
            told(WHOLE_KEYWORD, "")
        };
    }
    let kinds: Vec<&str> = field.kinds.keys().map(|kind| kind.told()).collect();
    (WHOLE_KEYWORD.to_owned(), format!("{} in the samples", kinds.join(" and ")))
}

/// A name as YAML reads it as text.
fn name(text: &str) -> String {
    let mut letters = text.chars();
    let begins = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    let plain = begins && letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word));
    if plain && !word { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}
