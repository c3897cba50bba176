//! The part of the query language that the model knows.

use super::index::Document;
use super::mapping::Mapping;
use super::reply::Problem;
use serde_json::{Map, Value};
use std::cmp::Ordering;

/// A query, read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Query {
    All,
    Ids(Vec<String>),
    Exists(String),
    Terms(String, Vec<Value>),
    /// Each bound with the orders of a value to it that pass.
    Range(String, Vec<(Value, &'static [Ordering])>),
    Bool {
        must: Vec<Self>,
        must_not: Vec<Self>,
        should: Vec<Self>,
    },
}

impl Query {
    pub(crate) fn read(given: &Value) -> Result<Self, Problem> {
        let (kind, body) = single(given)?;
        match (kind, body) {
            ("match_all", _) => Ok(Self::All),
            ("ids", Value::Object(body)) => match body.get("values").and_then(Value::as_array) {
                Some(ids) => Ok(Self::Ids(ids.iter().filter_map(Value::as_str).map(str::to_owned).collect())),
                None => Err(Problem::unknown("this form of `ids`")),
            },
            ("exists", Value::Object(body)) => match body.get("field").and_then(Value::as_str) {
                Some(field) => Ok(Self::Exists(field.to_owned())),
                None => Err(Problem::unknown("this form of `exists`")),
            },
            ("term", body) => {
                let (field, wanted) = single(body)?;
                let wanted = wanted.get("value").unwrap_or(wanted);
                Ok(Self::Terms(field.to_owned(), vec![wanted.clone()]))
            }
            ("terms", body) => {
                let (field, wanted) = single(body)?;
                let wanted = wanted.as_array().ok_or_else(|| Problem::unknown("this form of `terms`"))?;
                Ok(Self::Terms(field.to_owned(), wanted.clone()))
            }
            ("range", body) => range(body),
            ("bool", Value::Object(body)) => boolean(body),
            _ => Err(Problem::unknown(&format!("the query `{kind}`"))),
        }
    }

    pub(crate) fn matches(&self, mapping: &Mapping, id: &str, document: &Document) -> bool {
        let any =
            |field: &str, wanted: &dyn Fn(&Value) -> bool| values(mapping, field, id, document).iter().any(wanted);
        match self {
            Self::All => true,
            Self::Ids(ids) => ids.iter().any(|wanted| wanted == id),
            Self::Exists(field) => any(field, &|value| !value.is_null()),
            Self::Terms(field, wanted) => {
                any(field, &|value| wanted.iter().any(|wanted| compare(value, wanted) == Some(Ordering::Equal)))
            }
            Self::Range(field, bounds) => any(field, &|value| {
                bounds.iter().all(|(bound, pass)| compare(value, bound).is_some_and(|order| pass.contains(&order)))
            }),
            Self::Bool { must, must_not, should } => {
                let matches = |query: &Self| query.matches(mapping, id, document);
                must.iter().all(matches)
                    && !must_not.iter().any(matches)
                    && (should.is_empty() || !must.is_empty() || should.iter().any(matches))
            }
        }
    }
}

fn single(given: &Value) -> Result<(&str, &Value), Problem> {
    let mut members = given.as_object().into_iter().flatten();
    match (members.next(), members.next()) {
        (Some((name, value)), None) => Ok((name, value)),
        _ => Err(Problem::unknown("a query that is no object of one member")),
    }
}

fn range(body: &Value) -> Result<Query, Problem> {
    let (field, limits) = single(body)?;
    let mut bounds = Vec::new();
    for (name, bound) in limits.as_object().into_iter().flatten() {
        let pass: &[Ordering] = match name.as_str() {
            "gt" => &[Ordering::Greater],
            "gte" => &[Ordering::Greater, Ordering::Equal],
            "lt" => &[Ordering::Less],
            "lte" => &[Ordering::Less, Ordering::Equal],
            "format" | "boost" => continue,
            _ => return Err(Problem::unknown(&format!("`{name}` of a range"))),
        };
        // An open end may be given as null.
        if !bound.is_null() {
            bounds.push((bound.clone(), pass));
        }
    }
    Ok(Query::Range(field.to_owned(), bounds))
}

fn boolean(body: &Map<String, Value>) -> Result<Query, Problem> {
    let list = |value: &Value| match value {
        Value::Array(queries) => queries.iter().map(Query::read).collect::<Result<Vec<_>, _>>(),
        one => Ok(vec![Query::read(one)?]),
    };
    let (mut must, mut must_not, mut should) = (Vec::new(), Vec::new(), Vec::new());
    for (name, value) in body {
        match name.as_str() {
            "must" | "filter" => must.extend(list(value)?),
            "must_not" => must_not.extend(list(value)?),
            "should" => should.extend(list(value)?),
            "boost" => {}
            _ => return Err(Problem::unknown(&format!("`{name}` of a bool query"))),
        }
    }
    Ok(Query::Bool { must, must_not, should })
}

/// The values of a field that are indexed; none where the mapping does not index it.
pub(crate) fn values(mapping: &Mapping, field: &str, id: &str, document: &Document) -> Vec<Value> {
    match field {
        "_id" => return vec![Value::from(id)],
        "_seq_no" => return vec![Value::from(document.seq_no)],
        _ => {}
    }
    if mapping.field(field).is_none() {
        return Vec::new();
    }
    // A text's exact form has a name of its own.
    let path = match field.rsplit_once('.') {
        Some((parent, _)) if mapping.field(parent).is_some() => parent,
        _ => field,
    };
    let mut found = vec![&*document.source];
    for part in path.split('.') {
        found = found.into_iter().flat_map(flat).filter_map(|value| value.get(part)).collect();
    }
    found.into_iter().flat_map(flat).filter(|value| !value.is_null()).cloned().collect()
}

fn flat(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

/// The order of two values of one kind.
pub(crate) fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    let whole = |value: &Value| value.as_i64().map(i128::from).or(value.as_u64().map(i128::from));
    match (a, b) {
        (Value::Number(_), Value::Number(_)) => match (whole(a), whole(b)) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
        },
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        _ => None,
    }
}
