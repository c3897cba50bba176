//! Functions behind an invoke URL.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tidelock_local::function::{Function as _, Invocation};
use tidelock_local::http_invoke::HttpInvoke;

/// Serves one request with this answer; returns the URL and, at the end, what was received.
fn serve_once(answer: &'static str) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/2015-03-31/functions/orders/invocations", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut received = Vec::new();
        let mut buffer = [0; 4096];
        while !received.ends_with(b"{\"a\":1}") {
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0);
            received.extend_from_slice(&buffer[..read]);
        }
        if answer.is_empty() {
            // Held open until the client gives up.
            let _ = stream.read(&mut buffer);
        } else {
            stream.write_all(answer.as_bytes()).unwrap();
        }
        String::from_utf8(received).unwrap()
    });
    (url, server)
}

async fn invoke(url: &str, timeout: Duration) -> Invocation {
    HttpInvoke::new(url, timeout).unwrap().invoke(Bytes::from("{\"a\":1}")).await
}

#[tokio::test]
async fn answers_errors_and_refusals_are_told_apart() {
    let cases = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnull", Invocation::Response(Bytes::from("null"))),
        (
            "HTTP/1.1 200 OK\r\nX-Amz-Function-Error: Unhandled\r\ncontent-length: 38\r\n\r\n\
             {\"errorType\":\"T\",\"errorMessage\":\"msg\"}",
            Invocation::FunctionError {
                error_type: "T".into(),
                message: "msg".into(),
                raw: Bytes::from("{\"errorType\":\"T\",\"errorMessage\":\"msg\"}"),
            },
        ),
        (
            "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 4\r\n\r\nbusy",
            Invocation::FunctionError {
                error_type: "Http.502".into(),
                message: "busy".into(),
                raw: Bytes::from("busy"),
            },
        ),
    ];
    for (answer, expected) in cases {
        let (url, server) = serve_once(answer);
        assert_eq!(invoke(&url, Duration::from_secs(10)).await, expected);
        let request = server.join().unwrap();
        assert!(request.starts_with("POST /2015-03-31/functions/orders/invocations HTTP/1.1\r\n"), "{request}");
        assert!(request.to_ascii_lowercase().contains("content-type: application/json"), "{request}");
    }
}

#[tokio::test]
async fn no_answer_is_a_timeout_and_nobody_there_says_where() {
    let (url, server) = serve_once("");
    assert_eq!(invoke(&url, Duration::from_millis(200)).await, Invocation::Timeout);
    server.join().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let probed = HttpInvoke::new(&format!("http://{free}/x"), Duration::from_secs(1)).unwrap().probe().await;
    assert!(probed.unwrap_err().contains("is the function being served at"));
    match invoke(&format!("http://{free}/x"), Duration::from_secs(10)).await {
        Invocation::InitError { error_type, message } => {
            assert_eq!(error_type, "Invoke.Unreachable");
            assert!(message.contains(&free.to_string()), "{message}");
        }
        other => panic!("{other:?}"),
    }
}
