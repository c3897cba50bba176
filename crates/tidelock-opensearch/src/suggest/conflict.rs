//! What an index would refuse, or take in a form that searches do not expect, if it mapped the samples by itself.

use super::Sample;
use super::field::{Field, Kind, LONGEST_TERM};
use super::mapped::{Mapped, Standing, of_typed};

/// Near the limit: this part of it.
const NEAR: (usize, usize) = (4, 5);

/// Something that would conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The field's path; empty where it is the index as a whole.
    pub field: String,
    /// What conflicts.
    pub what: String,
    /// An example.
    pub one: String,
    /// The example that does not go with it.
    pub other: String,
    /// What can be done.
    pub way_out: String,
}

impl Conflict {
    pub(super) fn new(
        field: &str,
        what: impl Into<String>,
        one: &Sample,
        other: Option<&Sample>,
        way_out: impl Into<String>,
    ) -> Self {
        Self {
            field: field.to_owned(),
            what: what.into(),
            one: one.told(),
            other: other.map(Sample::told).unwrap_or_default(),
            way_out: way_out.into(),
        }
    }
}

pub(super) fn unusable_name(above: &str, name: &str, sample: &Sample) -> Conflict {
    let way_out = "give it a name: the document is refused as it is (`rename` or `drop`)";
    Conflict::new(&format!("{above}\"{name}\""), "a name that is empty, or a part of it is", sample, None, way_out)
}

pub(super) fn too_deep(path: &str, depth: usize, sample: &Sample) -> Conflict {
    let way_out = "`flatten`, or index.mapping.depth.limit, or map an object above it as flat_object";
    Conflict::new(path, format!("{depth} levels deep; 20 are allowed"), sample, None, way_out)
}

/// Conflicts of the fields below `field`; `above` is its path with a dot behind it.
pub(super) fn find(field: &Field, above: &str, mapped: &Mapped, found: &mut Vec<Conflict>) {
    for (name, child) in &field.children {
        let path = format!("{above}{name}");
        match mapped.standing(&path) {
            Standing::Unparsed => continue,
            Standing::Typed(kind) => {
                of_typed(child, &path, kind, found);
                continue;
            }
            Standing::Object => {
                let value = child.kinds.iter().find(|(kind, _)| **kind != Kind::Object);
                found.extend(value.map(|(kind, sample)| {
                    let what = format!("{} where the pipeline says object", kind.told());
                    Conflict::new(&path, what, sample, None, "`rename` one of them")
                }));
            }
            Standing::Forbidden => {
                let sample = child.kinds.values().next();
                found.extend(sample.map(|sample| {
                    let way_out = "add it to `indexes`, or `drop` it";
                    Conflict::new(&path, "not in the mapping, which is strict", sample, None, way_out)
                }));
                continue;
            }
            Standing::Dynamic => of_field(child, &path, mapped.detects_dates(), found),
        }
        find(child, &format!("{path}."), mapped, found);
    }
}

/// Kinds of which a field can have only one.
fn first_of<'f>(field: &'f Field, kinds: &[Kind]) -> Option<(Kind, &'f Sample)> {
    kinds.iter().find_map(|kind| field.kinds.get(kind).map(|sample| (*kind, sample)))
}

fn of_field(field: &Field, path: &str, detects_dates: bool, found: &mut Vec<Conflict>) {
    let scalars = [Kind::Integer, Kind::Decimal, Kind::Boolean, Kind::Date, Kind::Text, Kind::Binary];
    let texts = [Kind::Text, Kind::Date, Kind::Binary];
    let numbers = [Kind::Integer, Kind::Decimal];
    if let (Some((kind, one)), Some(object)) = (first_of(field, &scalars), field.kinds.get(&Kind::Object)) {
        let (what, way_out) = if field.dotted {
            let what = format!("{} and object: a dot in a name stands for an object", kind.told());
            (what, "`rename` one of them")
        } else {
            let way_out = "`rename` one of them; or {type: object, enabled: false}, which is not searched (proposed)";
            (format!("{} and object", kind.told()), way_out)
        };
        found.push(Conflict::new(path, what, one, Some(object), way_out));
        return;
    }
    let to_text = format!("map it as keyword (proposed), or `convert: {{field: {path}, to: text}}`");
    let number = first_of(field, &numbers);
    for (kind, one) in number.into_iter().chain(first_of(field, &[Kind::Boolean])) {
        if let Some((other_kind, other)) = first_of(field, &texts) {
            found.push(Conflict::new(
                path,
                format!("{} and {}", kind.told(), other_kind.told()),
                one,
                Some(other),
                &to_text,
            ));
        }
    }
    if let (Some((kind, one)), Some(other)) = (number, field.kinds.get(&Kind::Boolean)) {
        found.push(Conflict::new(path, format!("{} and boolean", kind.told()), one, Some(other), &to_text));
    }
    if let (Some(one), Some(other)) = (field.kinds.get(&Kind::Integer), field.kinds.get(&Kind::Decimal)) {
        let what = "long and double: mapped by the first, a long cuts fractions off in searches";
        let way_out = format!("map it as double (proposed), or `convert: {{field: {path}, to: double}}`");
        found.push(Conflict::new(path, what, one, Some(other), way_out));
    }
    if let (Some(one), Some(other)) =
        (field.kinds.get(&Kind::Date).filter(|_| detects_dates), field.kinds.get(&Kind::Text))
    {
        let what = "date and text: mapped by the first, a date refuses other text";
        let way_out = "date_detection: false, and map it as text or keyword (proposed)";
        found.push(Conflict::new(path, what, one, Some(other), way_out));
    }
    if let Some(one) = &field.beyond_long {
        found.push(Conflict::new(path, "an integer beyond a long, which is refused", one, None, &to_text));
    }
    if let Some(one) = &field.long_text {
        let what = format!("a text over {LONGEST_TERM} bytes: as keyword without ignore_above it is refused");
        found.push(Conflict::new(path, what, one, None, "map it as text, or as keyword with ignore_above (proposed)"));
    }
}

/// How many fields an index comes to have; the mark is one.
pub(super) fn fields(root: &Field, mapped: &Mapped) -> usize {
    fn below(field: &Field, above: &str, mapped: &Mapped) -> usize {
        let own = |field: &Field| match field.kinds.keys().next() {
            None => 0,
            // A text has a keyword below it.
            Some(Kind::Text | Kind::Binary) => 2,
            Some(_) => 1,
        };
        let children = field.children.iter().map(|(name, child)| {
            let path = format!("{above}{name}");
            match mapped.standing(&path) {
                Standing::Dynamic => own(child) + below(child, &format!("{path}."), mapped),
                Standing::Object => below(child, &format!("{path}."), mapped),
                _ => 0,
            }
        });
        children.sum()
    }
    below(root, "", mapped) + mapped.count() + 1
}

pub(super) fn too_many(fields: usize, limit: usize) -> Option<Conflict> {
    if fields * NEAR.1 < limit * NEAR.0 {
        return None;
    }
    let over = if fields > limit { "over" } else { "near" };
    Some(Conflict {
        field: String::new(),
        what: format!("{fields} fields, {over} the limit of {limit}"),
        one: String::new(),
        other: String::new(),
        way_out: "map objects with many names as flat_object, set `dynamic: false`, or raise index.mapping.total_fields.limit".to_owned(),
    })
}

/// Conflicts by index, as a table.
#[must_use]
pub fn table(conflicts: &[(String, Conflict)]) -> String {
    let head = ["INDEX", "FIELD", "CONFLICT", "ONE", "OTHER", "WAY OUT"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(head)
        .chain(conflicts.iter().map(|(index, conflict)| {
            let Conflict { field, what, one, other, way_out } = conflict.clone();
            [index.clone(), field, what, one, other, way_out]
                .map(|cell| if cell.is_empty() { "-".to_owned() } else { cell })
        }))
        .collect();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..6).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<String>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
