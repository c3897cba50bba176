//! Functions behind an HTTP API, as API Gateway puts them there: a request becomes an event of payload format 2.0
//! (<https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>), and the
//! function's answer a response.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::function::{Function, Invocation};
use crate::unique;

/// The largest body an HTTP API takes: 10 MB.
const MAX_BODY: usize = 10 * 1024 * 1024;

/// Which requests invoke which function.
#[derive(Debug)]
pub struct Route<F> {
    /// `GET`, `POST` and so on.
    pub method: &'static str,
    /// The path, such as `/demo-data` or `/demo-data/{id}`: one part in braces stands for any text without a slash.
    pub path: &'static str,
    /// What is invoked.
    pub function: Arc<F>,
}

/// Serves requests until the task is dropped.
pub async fn serve<F: Function>(listener: TcpListener, routes: Vec<Route<F>>) {
    let routes = Arc::new(routes);
    // Dropped with this task.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        let routes = Arc::clone(&routes);
        connections.spawn(async move {
            let service = service_fn(|request| {
                let routes = Arc::clone(&routes);
                async move { Ok::<_, Infallible>(respond(request, &routes).await) }
            });
            // A connection that breaks is the client's affair.
            let _ = hyper::server::conn::http1::Builder::new()
                .header_read_timeout(None)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn respond<F: Function>(request: Request<Incoming>, routes: &[Route<F>]) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let found = routes.iter().filter(|route| route.method == head.method.as_str());
    let found = found.filter_map(|route| Some((route, parameters(route.path, path)?)));
    // A path that is there as it stands goes before one that fits.
    let Some((route, parameters)) = found.min_by_key(|(_, parameters)| parameters.len()) else {
        return message(StatusCode::NOT_FOUND, "Not Found");
    };
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Too Long");
        }
        Err(_) => return message(StatusCode::BAD_REQUEST, "Bad Request"),
    };
    let event = event(&head, &format!("{} {}", route.method, route.path), parameters, &body);
    match route.function.invoke(event.to_string().into()).await {
        Invocation::Response(answer) => response(&answer).unwrap_or_else(failed),
        _ => failed(),
    }
}

/// What API Gateway says of a function that fails, or answers nonsense.
fn failed() -> Response<Full<Bytes>> {
    message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
}

fn message(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(json!({"message": text}).to_string().into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The parts of a path that a route leaves open; `None` where the path is another.
fn parameters(route: &str, path: &str) -> Option<Map<String, Value>> {
    let mut parameters = Map::new();
    let (mut expected, mut found) = (route.split('/'), path.split('/'));
    loop {
        match (expected.next(), found.next()) {
            (None, None) => return Some(parameters),
            (Some(expected), Some(found)) => match expected.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some(name) if !found.is_empty() => drop(parameters.insert(name.to_owned(), decoded(found).into())),
                None if expected == found => {}
                _ => return None,
            },
            _ => return None,
        }
    }
}

fn event(head: &Parts, route_key: &str, parameters: Map<String, Value>, body: &Bytes) -> Value {
    let path = decoded(head.uri.path());
    let query = head.uri.query().unwrap_or_default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let user_agent = head.headers.get("user-agent").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut event = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers(&head.headers),
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "domainName": "127.0.0.1",
            "domainPrefix": "127",
            "http": {
                "method": head.method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": user_agent,
            },
            "requestId": unique::uuid(),
            "routeKey": route_key,
            "stage": "$default",
            "timeEpoch": u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        },
        "isBase64Encoded": false,
    });
    // What there is none of is left out.
    if !query.is_empty() {
        event["queryStringParameters"] = Value::Object(joined(query.split('&').map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")))
        })));
    }
    if !parameters.is_empty() {
        event["pathParameters"] = Value::Object(parameters);
    }
    if !body.is_empty() {
        match std::str::from_utf8(body) {
            Ok(text) => event["body"] = text.into(),
            Err(_) => {
                event["body"] = STANDARD.encode(body).into();
                event["isBase64Encoded"] = true.into();
            }
        }
    }
    event
}

fn headers(headers: &HeaderMap) -> Map<String, Value> {
    joined(
        headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())),
    )
}

/// What is given more than once is one text with commas.
fn joined(pairs: impl Iterator<Item = (String, String)>) -> Map<String, Value> {
    let mut all = Map::new();
    for (name, value) in pairs {
        let whole = match all.get(&name).and_then(Value::as_str) {
            Some(before) => format!("{before},{value}"),
            None => value,
        };
        all.insert(name, whole.into());
    }
    all
}

fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        let escaped = tail.get(..2).filter(|_| byte == b'%').and_then(hex);
        out.push(escaped.unwrap_or(byte));
        rest = tail.get(if escaped.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The response that an answer describes; `None` where it describes none.
fn response(answer: &[u8]) -> Option<Response<Full<Bytes>>> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let status = u16::try_from(answer.get("statusCode")?.as_u64()?).ok()?;
    let text = answer.get("body").and_then(Value::as_str).unwrap_or_default();
    let is_base64 = answer.get("isBase64Encoded").and_then(Value::as_bool).unwrap_or_default();
    let body = if is_base64 { STANDARD.decode(text).ok()? } else { text.as_bytes().to_vec() };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    for (name, value) in answer.get("headers").and_then(Value::as_object).into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        response
            .headers_mut()
            .insert(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(&value).ok()?);
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_becomes_an_event() {
        let request = Request::put("/demo-data/a%20b?q=x+y&size=2&q=%7Bz")
            .header("User-Agent", "curl")
            .header("X-Two", "1")
            .header("X-Two", "2")
            .body(())
            .unwrap();
        let (head, ()) = request.into_parts();
        let parameters = parameters("/demo-data/{id}", head.uri.path()).unwrap();
        let found = event(&head, "PUT /demo-data/{id}", parameters, &Bytes::from_static(b"{}"));
        assert_eq!(found["version"], "2.0");
        assert_eq!(found["rawPath"], "/demo-data/a b");
        assert_eq!(found["pathParameters"], json!({"id": "a b"}));
        assert_eq!(found["queryStringParameters"], json!({"q": "x y,{z", "size": "2"}));
        assert_eq!(found["headers"], json!({"user-agent": "curl", "x-two": "1,2"}));
        assert_eq!(found["requestContext"]["http"]["method"], "PUT");
        assert_eq!((&found["body"], &found["isBase64Encoded"]), (&json!("{}"), &json!(false)));
        let binary = event(&head, "", Map::new(), &Bytes::from_static(b"\xff"));
        assert_eq!((&binary["body"], &binary["isBase64Encoded"]), (&json!("/w=="), &json!(true)));
        assert_eq!(binary.get("pathParameters"), None);
    }

    #[test]
    fn paths_are_told_apart() {
        assert_eq!(parameters("/a", "/a"), Some(Map::new()));
        for (route, path) in
            [("/a", "/b"), ("/a", "/a/b"), ("/a/{id}", "/a"), ("/a/{id}", "/a/"), ("/a/{id}", "/a/b/c")]
        {
            assert_eq!(parameters(route, path), None, "{route} {path}");
        }
    }

    #[tokio::test]
    async fn an_answer_becomes_a_response_and_nonsense_an_error() {
        let answer =
            br#"{"statusCode":201,"headers":{"content-type":"text/plain"},"body":"aGk=","isBase64Encoded":true}"#;
        let found = response(answer).unwrap();
        assert_eq!(
            (found.status(), found.headers()[CONTENT_TYPE].as_bytes()),
            (StatusCode::CREATED, b"text/plain".as_slice())
        );
        assert_eq!(found.into_body().collect().await.unwrap().to_bytes(), "hi");
        for nonsense in
            ["", "[]", r#"{"body":"x"}"#, r#"{"statusCode":7}"#, r#"{"statusCode":200,"headers":{"a b":"c"}}"#]
        {
            assert!(response(nonsense.as_bytes()).is_none(), "{nonsense}");
        }
    }

    #[tokio::test]
    async fn requests_reach_the_function_of_their_route() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let echo = crate::function::from_fn(|payload: Bytes| async move {
            let event: Value = serde_json::from_slice(&payload).unwrap();
            match event["pathParameters"]["id"].as_str() {
                Some("fail") => Invocation::Timeout,
                id => Invocation::Response(json!({"statusCode": 200, "body": id}).to_string().into()),
            }
        });
        let echo = Arc::new(echo);
        let routes = vec![Route { method: "GET", path: "/things/{id}", function: echo }];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, routes));
        for (line, status, ends) in [
            ("GET /things/7", "200 OK", "7"),
            ("GET /things/fail", "500 Internal Server Error", r#"{"message":"Internal Server Error"}"#),
            ("GET /others/7", "404 Not Found", r#"{"message":"Not Found"}"#),
            ("POST /things/7", "404 Not Found", r#"{"message":"Not Found"}"#),
        ] {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let request = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}\r\n")) && answer.ends_with(ends),
                "{line}: {answer}"
            );
        }
        server.abort();
    }
}
