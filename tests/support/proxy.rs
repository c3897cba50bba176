//! An HTTP server that stands in front of a real one, or in place of it, and does what a script says to each request.

use bytes::Bytes;
use flate2::read::GzDecoder;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io::Read as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// A request as the proxy got it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// The body as it came.
    pub(crate) wire: Bytes,
    /// The body, decompressed.
    pub(crate) body: Bytes,
    /// 1 for the first bulk request, and so on; 0 for all others.
    pub(crate) bulk: usize,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The actions of a bulk body: id and lines.
    pub(crate) fn actions(&self) -> Vec<(String, String)> {
        let mut lines = std::str::from_utf8(&self.body).unwrap().lines();
        let mut actions = Vec::new();
        while let Some(line) = lines.next() {
            let action: Value = serde_json::from_str(line).unwrap();
            let (kind, head) = action.as_object().unwrap().iter().next().unwrap();
            let mut text = format!("{line}\n");
            if kind == "index" {
                text.push_str(lines.next().unwrap());
                text.push('\n');
            }
            actions.push((head["_id"].as_str().unwrap().to_owned(), text));
        }
        actions
    }

    /// The ids of a bulk body, in order.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.actions().into_iter().map(|(id, _)| id).collect()
    }
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It is passed on.
    None,
    /// It is answered so, and not passed on.
    Answer(u16, String),
    /// The connection is closed instead of passing it on.
    CutBefore,
    /// It is passed on; the connection is closed instead of answering.
    CutAfter,
    /// It is passed on after so long, unless the client has gone by then.
    Hold(Duration),
    /// It stops half-way for so long, unless the client goes away: before it is passed on, or when it has been `applied`.
    Stop { applied: bool, reached: Arc<Notify>, time: Duration },
    /// It is passed on once so many bulk requests have been under way at one time.
    Meet(usize),
    /// These items are refused with this status and error, all others passed on.
    Refuse(Vec<String>, u16, Value),
    /// It is passed on; the answer lacks its last item.
    LoseItem,
}

type Script = Box<dyn Fn(&Seen) -> Fault + Send + std::marker::Sync>;

struct State {
    /// Host and port of the real server.
    upstream: Option<String>,
    /// A name that functions use, and what the server knows it by.
    rename: Option<(&'static str, String)>,
    script: Script,
    seen: Mutex<Vec<Seen>>,
    answered: Mutex<Vec<Instant>>,
    under_way: AtomicUsize,
    most: AtomicUsize,
    abandoned: AtomicUsize,
}

/// The server. It ends with this value.
pub(crate) struct Proxy {
    pub(crate) url: String,
    state: Arc<State>,
    server: AbortHandle,
}

impl Proxy {
    /// In front of the server at `upstream` (a URL).
    pub(crate) async fn before(
        upstream: &str,
        script: impl Fn(&Seen) -> Fault + Send + std::marker::Sync + 'static,
    ) -> Self {
        Self::start(Some(upstream.trim_start_matches("http://").to_owned()), Box::new(script), None, None).await
    }

    /// As [`Self::before`]; a name in paths and bodies becomes another one on the way to the server, so that functions with
    /// one name for all have something of a test's own.
    pub(crate) async fn renaming(
        upstream: &str,
        rename: (&'static str, String),
        script: impl Fn(&Seen) -> Fault + Send + std::marker::Sync + 'static,
    ) -> Self {
        let upstream = upstream.trim_start_matches("http://").to_owned();
        Self::start(Some(upstream), Box::new(script), None, Some(rename)).await
    }

    /// As [`Self::before`], speaking TLS.
    pub(crate) async fn behind_tls(
        upstream: &str,
        tls: ServerConfig,
        script: impl Fn(&Seen) -> Fault + Send + std::marker::Sync + 'static,
    ) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        Self::start(Some(upstream.trim_start_matches("http://").to_owned()), Box::new(script), Some(acceptor), None)
            .await
    }

    /// Without a server behind it: the script must answer everything.
    pub(crate) async fn alone(script: impl Fn(&Seen) -> Fault + Send + std::marker::Sync + 'static) -> Self {
        Self::start(None, Box::new(script), None, None).await
    }

    async fn start(
        upstream: Option<String>,
        script: Script,
        tls: Option<TlsAcceptor>,
        rename: Option<(&'static str, String)>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            upstream,
            rename,
            script,
            seen: Mutex::default(),
            answered: Mutex::default(),
            under_way: AtomicUsize::default(),
            most: AtomicUsize::default(),
            abandoned: AtomicUsize::default(),
        });
        let shared = state.clone();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, tls) = (shared.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => converse(stream, state).await,
                        // A client that does not trust the certificate goes away here.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                converse(stream, state).await;
                            }
                        }
                    }
                });
            }
        });
        Self { url, state, server: server.abort_handle() }
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// The bulk requests so far.
    pub(crate) fn bulks(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.bulk > 0).collect()
    }

    /// When requests were answered, in order.
    pub(crate) fn answered(&self) -> Vec<Instant> {
        self.state.answered.lock().unwrap().clone()
    }

    /// How many bulk requests were under way at one time, at most.
    pub(crate) fn most(&self) -> usize {
        self.state.most.load(Ordering::SeqCst)
    }

    /// How many bulk requests were given up by the client before they were answered.
    pub(crate) fn abandoned(&self) -> usize {
        self.state.abandoned.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A bulk request under way. Its service is dropped when the client closes the connection.
struct UnderWay<'a> {
    state: &'a State,
    finished: bool,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.state.under_way.fetch_sub(1, Ordering::SeqCst);
        if !self.finished {
            self.state.abandoned.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// The script wants the connection closed.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut")
    }
}

impl std::error::Error for Cut {}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: S, state: Arc<State>) {
    let service = service_fn(move |request| serve(state.clone(), request));
    // Ends with an error wherever the script cuts the connection.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

type Answer = Result<Response<Full<Bytes>>, Cut>;

async fn serve(state: Arc<State>, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let wire = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let gzipped = head.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip");
    let body = if gzipped { unzipped(&wire) } else { wire.clone() };
    let path = head.uri.to_string();
    let is_bulk = path.contains("/_bulk");
    let seen = {
        let mut all = state.seen.lock().unwrap();
        let bulk = if is_bulk { all.iter().filter(|seen| seen.bulk > 0).count() + 1 } else { 0 };
        let seen = Seen { method: head.method, path, headers: head.headers, wire, body, bulk };
        all.push(seen.clone());
        seen
    };
    let mut under_way = is_bulk.then(|| {
        let now = state.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        state.most.fetch_max(now, Ordering::SeqCst);
        UnderWay { state: &state, finished: false }
    });
    let answer = carry_out(&state, &seen).await;
    if let Some(under_way) = &mut under_way {
        under_way.finished = true;
    }
    state.answered.lock().unwrap().push(Instant::now());
    answer
}

fn unzipped(wire: &[u8]) -> Bytes {
    let mut body = Vec::new();
    GzDecoder::new(wire).read_to_end(&mut body).unwrap();
    body.into()
}

async fn carry_out(state: &State, seen: &Seen) -> Answer {
    match (state.script)(seen) {
        Fault::None => pass(state, seen).await,
        Fault::Answer(status, body) => Ok(json_answer(status, body.into())),
        Fault::CutBefore => Err(Cut),
        Fault::CutAfter => {
            pass(state, seen).await?;
            Err(Cut)
        }
        Fault::Hold(time) => {
            tokio::time::sleep(time).await;
            pass(state, seen).await
        }
        Fault::Stop { applied, reached, time } => {
            let answer = if applied { Some(pass(state, seen).await?) } else { None };
            reached.notify_one();
            tokio::time::sleep(time).await;
            match answer {
                Some(answer) => Ok(answer),
                None => pass(state, seen).await,
            }
        }
        Fault::Meet(count) => {
            for _ in 0..500 {
                if state.most.load(Ordering::SeqCst) >= count {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // A moment longer, so that one too many would be seen.
            tokio::time::sleep(Duration::from_millis(50)).await;
            pass(state, seen).await
        }
        Fault::Refuse(refused, status, error) => {
            refuse(state, seen, &refused.into_iter().collect(), status, &error).await
        }
        Fault::LoseItem => {
            let mut answer = items(pass(state, seen).await?).await;
            answer["items"].as_array_mut().unwrap().pop();
            Ok(json_answer(200, answer.to_string().into()))
        }
    }
}

fn json_answer(status: u16, body: Bytes) -> Response<Full<Bytes>> {
    Response::builder().status(status).header(CONTENT_TYPE, "application/json").body(Full::new(body)).unwrap()
}

async fn items(answer: Response<Full<Bytes>>) -> Value {
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

/// Passes all other actions on and puts a refusal into the place of each of these.
async fn refuse(state: &State, seen: &Seen, refused: &HashSet<String>, status: u16, error: &Value) -> Answer {
    let actions = seen.actions();
    let rest: String = actions.iter().filter(|(id, _)| !refused.contains(id)).map(|(_, text)| text.as_str()).collect();
    let mut passed = Vec::new();
    if !rest.is_empty() {
        let mut headers = seen.headers.clone();
        headers.remove(CONTENT_ENCODING);
        let part = Seen { wire: rest.clone().into(), body: rest.into(), headers, ..seen.clone() };
        let answer = items(pass(state, &part).await?).await;
        passed = answer["items"].as_array().unwrap().clone();
    }
    let mut passed = passed.into_iter();
    let all: Vec<Value> = actions
        .iter()
        .map(|(id, _)| match refused.contains(id) {
            true => json!({"index": {"status": status, "error": error}}),
            false => passed.next().unwrap(),
        })
        .collect();
    Ok(json_answer(200, json!({"errors": true, "items": all}).to_string().into()))
}

async fn pass(state: &State, seen: &Seen) -> Answer {
    let authority = state.upstream.as_deref().expect("a script that answers everything");
    let stream = TcpStream::connect(authority).await.map_err(|_| Cut)?;
    stream.set_nodelay(true).map_err(|_| Cut)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|_| Cut)?;
    let driver = tokio::spawn(connection);
    let (mut path, mut wire) = (seen.path.clone(), seen.wire.clone());
    if let Some((name, other)) = &state.rename {
        path = path.replace(name, other);
        wire = std::str::from_utf8(&wire).expect("no gzip where names change").replace(name, other).into();
    }
    let mut request = Request::builder().method(&seen.method).uri(path).header(HOST, authority);
    for (name, value) in &seen.headers {
        if ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION].contains(name) {
            request = request.header(name, value);
        }
    }
    let request = request.body(Full::new(wire)).unwrap();
    let response = sender.send_request(request).await.map_err(|_| Cut)?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    driver.abort();
    let mut answer = Response::builder().status(head.status);
    if let Some(kind) = head.headers.get(CONTENT_TYPE) {
        answer = answer.header(CONTENT_TYPE, kind);
    }
    Ok(answer.body(Full::new(body)).unwrap())
}

/// An error answer as OpenSearch gives it for a whole request.
pub(crate) fn error(status: StatusCode, kind: &str, reason: &str) -> Fault {
    let error = json!({"type": kind, "reason": reason});
    Fault::Answer(status.as_u16(), json!({"error": error, "status": status.as_u16()}).to_string())
}
