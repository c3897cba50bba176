//! Both payloads, and what is odd about them.

use super::*;
use aws_lambda_events::apigw::{ApiGatewayProxyRequest, ApiGatewayV2httpRequest};
use aws_lambda_events::cloudformation::CloudFormationCustomResourceRequest;
use serde_json::json;

fn request(event: Value) -> Option<Request> {
    Request::of(event.as_object().expect("an object"))
}

#[test]
fn both_payloads_are_the_same_request() {
    let of_1 = json!({
        "resource": "/demo-data/{id}", "path": "/demo-data/a%20b", "httpMethod": "PUT",
        "headers": {"X-Odd": "\u{1F600}\n"}, "multiValueHeaders": null,
        "queryStringParameters": {"q": "john", "size": "5"}, "pathParameters": {"id": "a b"},
        "requestContext": {"stage": "prod"}, "body": "{}", "isBase64Encoded": false,
    });
    let of_2 = json!({
        "version": "2.0", "routeKey": "PUT /demo-data/{id}", "rawPath": "/prod/demo-data/a%20b",
        "rawQueryString": "q=john&size=5", "queryStringParameters": {"q": "john", "size": "5"},
        "requestContext": {"http": {"method": "put", "path": "/demo-data/a%20b"}}, "body": "e30=", "isBase64Encoded": true,
    });
    let (of_1, of_2) = (request(of_1).expect("a request"), request(of_2).expect("a request"));
    for request in [of_1, of_2] {
        assert_eq!((request.method.as_str(), request.id.as_deref()), ("PUT", Some("a b")));
        assert_eq!(request.query["q"], "john");
        assert_eq!(request.body(10).expect("a body").as_ref(), b"{}");
    }
}

#[test]
fn what_is_left_out_is_empty() {
    let bare = json!({"httpMethod": "GET", "queryStringParameters": null, "pathParameters": null, "body": null});
    let bare = request(bare).expect("a request");
    assert!(bare.id.is_none() && bare.query.is_empty() && bare.body(0).expect("none").is_empty());
    for other in [json!({"database": "d"}), json!({"requestContext": {}}), json!({"Records": []})] {
        assert_eq!(request(other), None);
    }
    assert!(Request::read(b"no JSON").is_err() && Request::read(b"[]").is_err());
}

#[test]
fn bodies_are_refused_that_are_too_large_or_no_base64() {
    let body = |body: &str, base64: bool| {
        let event = json!({"httpMethod": "POST", "body": body, "isBase64Encoded": base64});
        request(event).expect("a request").body(4).map(|body| body.into_owned())
    };
    assert_eq!(body("12345", false).expect_err("too large").status, 413);
    // It is the body that counts, not its base64.
    assert_eq!(body("MTIzNA==", true).expect("fits"), b"1234");
    assert_eq!(body("MTIzNDU=", true).expect_err("too large").status, 413);
    assert_eq!(body("%%", true).expect_err("no base64").code, "invalid_body");
}

#[test]
fn errors_are_told_without_particulars() {
    let failure = Failure::new(Cause::Forbidden, "10.0.0.7:27017: user tester may not");
    let response: ApiGatewayProxyResponse = Refused::failed("the database", &failure).into();
    let Some(Body::Text(body)) = &response.body else { panic!("{response:?}") };
    assert_eq!(response.status_code, 503);
    assert!(body.starts_with(r#"{"error":"unavailable","message":"the database"#) && !body.contains("10.0"), "{body}");
    let response: ApiGatewayProxyResponse = Refused::method("GET", "POST").into();
    assert_eq!((response.status_code, &response.headers[ALLOW]), (405, &HeaderValue::from_static("POST")));
    let text = serde_json::to_string(&response).expect("JSON");
    assert!(text.contains(r#""statusCode":405"#) && text.contains("method_not_allowed"), "{text}");
}

/// The sample events are what these types, made from AWS's own, take them for.
#[test]
fn sample_events_have_the_form_that_others_know() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
    let mut seen = 0;
    for folder in [folder.join("demo"), folder.join("enable-change-streams")] {
        for file in std::fs::read_dir(folder).expect("events") {
            let path = file.expect("a file").path();
            let text = std::fs::read(&path).expect("an event");
            let event: Value = serde_json::from_slice(&text).expect("JSON");
            let own = Request::read(&text).ok();
            let method = if event.get("RequestType").is_some() {
                let request: Result<CloudFormationCustomResourceRequest, _> = serde_json::from_slice(&text);
                assert!(request.is_ok(), "{}: {request:?}", path.display());
                None
            } else if event.get("httpMethod").is_some() {
                let request: ApiGatewayProxyRequest = serde_json::from_slice(&text).expect("payload 1.0");
                Some(request.http_method)
            } else if event.get("version").is_some() {
                let request: ApiGatewayV2httpRequest = serde_json::from_slice(&text).expect("payload 2.0");
                Some(request.request_context.http.method)
            } else {
                None
            };
            assert_eq!(own.map(|own| own.method), method.map(|method| method.to_string()), "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 18, "{seen}");
}
