//! Method and path of a request, and what they ask for.

use std::collections::BTreeMap;

/// The parameters behind a path's question mark.
pub(crate) type Parameters = BTreeMap<String, String>;

/// What is asked for. Indices are decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Bulk(Option<String>, Parameters),
    MultiGet(Option<String>, Parameters),
    Search(String, Parameters),
    GetMapping(String),
    PutMapping(String),
    CreateIndex(String),
    GetIndex(String),
    Refresh(String),
    GetDocument(String, String),
    PutDocument(String, String),
    Unknown,
}

impl Route {
    pub(crate) fn of(method: &str, path: &str) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let Some(segments) = path.split('/').filter(|part| !part.is_empty()).map(decode).collect::<Option<Vec<_>>>()
        else {
            return Self::Unknown;
        };
        let Some(parameters) = parameters(query) else { return Self::Unknown };
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (method, segments.as_slice()) {
            ("POST" | "PUT", ["_bulk"]) => Self::Bulk(None, parameters),
            ("POST" | "PUT", [index, "_bulk"]) => Self::Bulk(Some((*index).to_owned()), parameters),
            ("POST" | "GET", ["_mget"]) => Self::MultiGet(None, parameters),
            ("POST" | "GET", [index, "_mget"]) => Self::MultiGet(Some((*index).to_owned()), parameters),
            ("POST" | "GET", [index, "_search"]) => Self::Search((*index).to_owned(), parameters),
            ("GET", [index, "_mapping"]) => Self::GetMapping((*index).to_owned()),
            ("PUT" | "POST", [index, "_mapping"]) => Self::PutMapping((*index).to_owned()),
            ("POST" | "GET", [index, "_refresh"]) => Self::Refresh((*index).to_owned()),
            ("GET", [index, "_doc", id]) => Self::GetDocument((*index).to_owned(), (*id).to_owned()),
            ("PUT" | "POST", [index, "_doc", id]) => Self::PutDocument((*index).to_owned(), (*id).to_owned()),
            ("PUT", [index]) => Self::CreateIndex((*index).to_owned()),
            ("GET", [index]) if !index.starts_with('_') => Self::GetIndex((*index).to_owned()),
            _ => Self::Unknown,
        }
    }
}

fn parameters(query: &str) -> Option<Parameters> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(&name.replace('+', " "))?, decode(&value.replace('+', " "))?))
        })
        .collect()
}

/// Takes the percent-encoding off; `None` when it is none.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first == b'%' {
            let (pair, tail) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for() {
        let bulk = Route::of("POST", "/a%2B%C3%A9/_bulk?filter_path=errors,items.*.status&refresh");
        let Route::Bulk(Some(index), parameters) = bulk else { panic!("{bulk:?}") };
        assert_eq!(index, "a+é");
        assert_eq!(parameters["filter_path"], "errors,items.*.status");
        assert_eq!(parameters["refresh"], "");
        assert_eq!(Route::of("PUT", "/x"), Route::CreateIndex("x".into()));
        assert_eq!(Route::of("GET", "/x/_mapping?filter_path=*.a"), Route::GetMapping("x".into()));
        assert_eq!(Route::of("GET", "/x/_doc/1"), Route::GetDocument("x".into(), "1".into()));
        assert_eq!(Route::of("PUT", "/x/_doc/1"), Route::PutDocument("x".into(), "1".into()));
        assert_eq!(Route::of("POST", "/_mget"), Route::MultiGet(None, Parameters::new()));
        for (method, path) in [("DELETE", "/x"), ("GET", "/_cat"), ("GET", "/%zz"), ("GET", "/%C3"), ("GET", "/a%2")] {
            assert_eq!(Route::of(method, path), Route::Unknown, "{method} {path}");
        }
    }
}
