//! `_search`: over what was refreshed, sorted and page by page.

use super::index::{Document, Index, PRIMARY_TERM};
use super::query::{Query, compare, values};
use super::reply::{Problem, answer};
use super::source::SourceFilter;
use super::store::Store;
use crate::path::Parameters;
use serde_json::{Map, Value, json};
use std::cmp::Ordering;
use tidelock_opensearch::Response;

/// `index.max_result_window`.
const MAX_RESULT_WINDOW: usize = 10_000;

/// A search, read.
struct Search {
    query: Query,
    sort: Vec<Sort>,
    after: Option<Vec<Value>>,
    from: usize,
    size: usize,
    source: SourceFilter,
    version: bool,
    seq_no: bool,
}

struct Sort {
    field: String,
    descending: bool,
    /// The type to sort as when the field is not mapped.
    unmapped: Option<String>,
}

impl Store {
    pub(super) fn search(&mut self, name: &str, parameters: &Parameters, body: &[u8]) -> Response {
        let Some(index) = self.index(name) else { return Problem::no_index(name).whole() };
        match read(parameters, body) {
            Ok(search) => find(index, name, &search),
            Err(problem) => problem.whole(),
        }
    }
}

fn read(parameters: &Parameters, body: &[u8]) -> Result<Search, Problem> {
    let mut search = Search {
        query: Query::All,
        sort: Vec::new(),
        after: None,
        from: 0,
        size: 10,
        source: SourceFilter::of_parameters(parameters),
        version: false,
        seq_no: false,
    };
    if body.is_empty() {
        return Ok(search);
    }
    let body: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|error| Problem::new(400, "parsing_exception", format!("no search: {error}")))?;
    let number = |value: &Value| {
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        number.ok_or_else(|| Problem::argument(format!("[{value}] is no size")))
    };
    for (name, value) in &body {
        match name.as_str() {
            "query" => search.query = Query::read(value)?,
            "sort" => search.sort = sorts(value)?,
            "search_after" => search.after = value.as_array().cloned(),
            "from" => search.from = number(value)?,
            "size" => search.size = number(value)?,
            "version" => search.version = value == &Value::Bool(true),
            "seq_no_primary_term" => search.seq_no = value == &Value::Bool(true),
            "_source" => {
                search.source =
                    SourceFilter::of_json(value).ok_or_else(|| Problem::unknown("this form of `_source`"))?;
            }
            "track_total_hits" | "timeout" => {}
            _ => return Err(Problem::unknown(&format!("`{name}` of a search"))),
        }
    }
    if search.from + search.size > MAX_RESULT_WINDOW {
        return Err(Problem::argument(format!(
            "Result window is too large, from + size must be less than or equal to: [{MAX_RESULT_WINDOW}]"
        )));
    }
    if search.after.as_ref().is_some_and(|after| after.len() != search.sort.len()) {
        return Err(Problem::argument("search_after has another number of values than sort"));
    }
    if search.after.is_some() && search.from > 0 {
        return Err(Problem::argument("`from` parameter must be set to 0 when `search_after` is used"));
    }
    Ok(search)
}

fn sorts(given: &Value) -> Result<Vec<Sort>, Problem> {
    let list = given.as_array().map_or(std::slice::from_ref(given), Vec::as_slice);
    let mut sorts = Vec::new();
    for entry in list {
        match entry {
            Value::String(field) => sorts.push(Sort { field: field.clone(), descending: false, unmapped: None }),
            Value::Object(fields) => {
                for (field, how) in fields {
                    let order = how.get("order").unwrap_or(how);
                    let descending = match order.as_str() {
                        Some("asc") => false,
                        Some("desc") => true,
                        None if how.is_object() => false,
                        _ => return Err(Problem::unknown("this order of a sort")),
                    };
                    let unmapped = how.get("unmapped_type").and_then(Value::as_str).map(str::to_owned);
                    sorts.push(Sort { field: field.clone(), descending, unmapped });
                }
            }
            _ => return Err(Problem::unknown("this form of `sort`")),
        }
    }
    Ok(sorts)
}

fn find(index: &Index, name: &str, search: &Search) -> Response {
    for sort in &search.sort {
        let mapped = index.mapping.field(&sort.field);
        let why = match (sort.field.as_str(), mapped, &sort.unmapped) {
            ("_id" | "_seq_no" | "_doc", ..) => continue,
            (field, Some("text"), _) => format!("Text fields are not optimised for operations like sorting: [{field}]"),
            (field, None, None) => format!("No mapping found for [{field}] in order to sort on"),
            _ => continue,
        };
        return all_shards_failed(&why);
    }
    let matching = index.visible().iter().filter(|(id, document)| search.query.matches(&index.mapping, id, document));
    let mut found: Vec<(Vec<Value>, &String, &Document)> = matching
        .map(|(id, document)| {
            let keys = search.sort.iter().map(|sort| key(index, sort, id, document));
            (keys.collect(), id, document)
        })
        .collect();
    let total = found.len();
    // Without another order, and among equals, in the order of writing.
    found.sort_by(|a, b| order(&search.sort, &a.0, &b.0).then(a.2.seq_no.cmp(&b.2.seq_no)));
    if let Some(after) = &search.after {
        found.retain(|(keys, ..)| order(&search.sort, keys, after) == Ordering::Greater);
    }
    let page = found.into_iter().skip(search.from).take(search.size);
    let hits: Vec<Value> = page.map(|(keys, id, document)| hit(name, search, keys, id, document)).collect();
    answer(
        200,
        &json!({
            "took": 1, "timed_out": false,
            "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0},
            "hits": {"total": {"value": total, "relation": "eq"}, "max_score": null, "hits": hits},
        }),
    )
}

fn all_shards_failed(why: &str) -> Response {
    let cause = json!({"type": "query_shard_exception", "reason": why});
    let error = json!({
        "root_cause": [cause], "type": "search_phase_execution_exception", "reason": "all shards failed",
        "phase": "query", "failed_shards": [{"shard": 0, "reason": cause}],
    });
    answer(400, &json!({"error": error, "status": 400}))
}

/// What a document is sorted by: the least of several values, or the greatest in a descending order.
fn key(index: &Index, sort: &Sort, id: &str, document: &Document) -> Value {
    if sort.field == "_doc" {
        return Value::from(document.seq_no);
    }
    let values = values(&index.mapping, &sort.field, id, document);
    let ordered = |a: &Value, b: &Value| compare(a, b).unwrap_or(Ordering::Equal);
    let chosen = if sort.descending { values.into_iter().max_by(ordered) } else { values.into_iter().min_by(ordered) };
    // Documents without the field come last.
    chosen.unwrap_or_else(|| match index.mapping.field(&sort.field).or(sort.unmapped.as_deref()) {
        Some("keyword" | "text") => Value::Null,
        _ if sort.descending => Value::from(i64::MIN),
        _ => Value::from(i64::MAX),
    })
}

fn order(sorts: &[Sort], a: &[Value], b: &[Value]) -> Ordering {
    for ((sort, a), b) in sorts.iter().zip(a).zip(b) {
        let order = match (a, b) {
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Null, _) => Ordering::Greater,
            (_, Value::Null) => Ordering::Less,
            _ => {
                let order = compare(a, b).unwrap_or(Ordering::Equal);
                if sort.descending { order.reverse() } else { order }
            }
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

fn hit(name: &str, search: &Search, keys: Vec<Value>, id: &str, document: &Document) -> Value {
    let mut hit = json!({"_index": name, "_id": id, "_score": null});
    if search.version {
        hit["_version"] = Value::from(document.version);
    }
    if search.seq_no {
        hit["_seq_no"] = Value::from(document.seq_no);
        hit["_primary_term"] = Value::from(PRIMARY_TERM);
    }
    if let Some(routing) = &document.routing {
        hit["_routing"] = Value::from(routing.clone());
    }
    if let Some(source) = search.source.apply(&document.source) {
        hit["_source"] = source;
    }
    if !keys.is_empty() {
        hit["sort"] = Value::Array(keys);
    }
    hit
}
