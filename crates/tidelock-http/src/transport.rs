//! The HTTP client: a few keep-alive connections, nothing in the background.
//!
//! A connection is used by one request at a time. A request that is given up takes its connection with it, closed hard
//! (linger 0), so that no late write reaches the service.

use crate::digest::Digests;
use crate::sign::{Scheme, login_header, sign_request};
use crate::{Request, Response, Transport};
use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{HeaderValue, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use std::cell::RefCell;
use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::credentials::Credentials;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep_until, timeout_at};
use tokio_rustls::TlsConnector;

/// The longest a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest that start-up waits for a first connection.
const WARM_TIMEOUT: Duration = Duration::from_secs(1);

/// Bodies below this gain nothing from compression.
const GZIP_FROM: usize = 4_096;

/// Where and how to connect.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Host name, IPv4 address, or IPv6 address in brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether to speak TLS.
    pub tls: bool,
    /// PEM text of the certificates to trust; `None` trusts the public ones.
    pub ca_pem: Option<Vec<u8>>,
    /// How requests are authenticated.
    pub scheme: Scheme,
    /// Whether large bodies are compressed.
    pub gzip: bool,
}

/// What the settings are called that messages tell the operator to correct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingNames {
    /// Gives the certificates to trust.
    pub ca_file: &'static str,
    /// Gives the login.
    pub secret: &'static str,
}

impl SettingNames {
    /// A target's.
    pub const TARGET: Self = Self { ca_file: "TIDELOCK_TARGET_CA_FILE", secret: "TIDELOCK_TARGET_SECRET" };
}

/// The certificates to trust cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

/// The client; see the module.
pub struct HttpTransport<C> {
    config: HttpConfig,
    names: SettingNames,
    /// Host and port, as in the `Host` header and in messages.
    authority: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    credentials: C,
    idle: RefCell<Vec<Lane>>,
    login: RefCell<Option<HeaderValue>>,
    digests: Digests,
}

/// An open connection and the task that drives it.
struct Lane {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
    /// Ends requests that take too long. It is kept because a timer that is moved to a later time, as each request does, costs
    /// nothing, and a new one a call of the kernel.
    timer: Pin<Box<Sleep>>,
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Most bytes of a request that are encrypted before they are handed to the kernel.
const TLS_BUFFER: usize = 1024 * 1024;

impl<C: Credentials> HttpTransport<C> {
    /// Prepares a target's client; nothing is connected yet.
    ///
    /// # Errors
    /// When the certificates or the host's name cannot be used.
    pub fn new(config: HttpConfig, credentials: C) -> Result<Self, TlsError> {
        Self::with_names(config, credentials, SettingNames::TARGET)
    }

    /// Prepares a client whose settings have these names; nothing is connected yet.
    ///
    /// # Errors
    /// When the certificates or the host's name cannot be used.
    pub fn with_names(config: HttpConfig, credentials: C, names: SettingNames) -> Result<Self, TlsError> {
        let bare = config.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = if config.tls {
            let name = ServerName::try_from(bare)
                .map_err(|_| TlsError(format!("`{}` is no name a certificate can have", config.host)))?;
            Some((tls_connector(config.ca_pem.as_deref(), names.ca_file)?, name))
        } else {
            None
        };
        let default_port = if config.tls { 443 } else { 80 };
        let authority =
            if config.port == default_port { config.host.clone() } else { format!("{}:{}", config.host, config.port) };
        Ok(Self {
            config,
            names,
            authority,
            tls,
            credentials,
            idle: RefCell::default(),
            login: RefCell::default(),
            digests: Digests::default(),
        })
    }

    /// [`Transport::send`] with more headers, names in lower case. A signature covers those that begin with `x-amz-`.
    ///
    /// # Errors
    /// When there is no answer: no connection, no credentials, or no time.
    pub async fn send_with(
        &self,
        request: Request,
        headers: &[(&'static str, &'static str)],
        deadline: Instant,
    ) -> Result<Response, Failure> {
        let compressed =
            if self.config.gzip && request.body.len() >= GZIP_FROM { gzip(&request.body).ok() } else { None };
        let gzipped = compressed.is_some();
        let body = compressed.unwrap_or_else(|| request.body.clone());
        let built = self.build(&request, headers, &body, gzipped, false).await?;
        let response = self.exchange(built, deadline).await?;
        if response.status == 401 && self.config.scheme == Scheme::Login {
            // The secret may have been rotated: once more with a fresh one.
            let built = self.build(&request, headers, &body, gzipped, true).await?;
            return self.exchange(built, deadline).await;
        }
        Ok(response)
    }

    /// Opens a connection ahead of the first request, so that no invocation pays for the handshake. A failure is left to the
    /// first request to report.
    pub async fn warm(&self) {
        if let Ok(lane) = self.lane(&self.authority, Instant::now() + WARM_TIMEOUT).await {
            self.idle.borrow_mut().push(lane);
        }
    }

    async fn connect(&self) -> Result<Lane, String> {
        let host = self.config.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, self.config.port)).await.map_err(|error| error.to_string())?;
        // Small requests must not wait for an acknowledgement; a lane that is dropped must not send what is left.
        stream.set_nodelay(true).and_then(|()| stream.set_zero_linger()).map_err(|error| error.to_string())?;
        match &self.tls {
            Some((connector, name)) => {
                let mut stream =
                    connector.connect(name.clone(), stream).await.map_err(|error| format!("TLS: {error}"))?;
                // A bulk request goes to the kernel in one or two calls instead of one for each 64 KiB.
                stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER));
                open(TokioIo::new(stream)).await
            }
            None => open(TokioIo::new(stream)).await,
        }
    }

    async fn lane(&self, place: &str, deadline: Instant) -> Result<Lane, Failure> {
        let until = deadline.min(Instant::now() + CONNECT_TIMEOUT).into();
        // Boxed: a handshake is rare and deep, and every future that may need one would be as large.
        match timeout_at(until, Box::pin(self.connect())).await {
            Ok(Ok(lane)) => Ok(lane),
            Ok(Err(error)) => Err(Failure::new(Cause::Unreachable, format!("{place}: {error}"))),
            Err(_) => Err(Failure::new(Cause::Unreachable, format!("{place}: no connection in time"))),
        }
    }

    /// The request as it goes over the wire.
    async fn build(
        &self,
        request: &Request,
        headers: &[(&'static str, &'static str)],
        body: &Bytes,
        gzipped: bool,
        refresh: bool,
    ) -> Result<http::Request<Full<Bytes>>, Failure> {
        let mut built = http::Request::builder()
            .method(request.method)
            .uri(request.path.as_str())
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, request.content_type);
        for (name, value) in headers {
            built = built.header(*name, *value);
        }
        if gzipped {
            built = built.header(header::CONTENT_ENCODING, "gzip");
        }
        let mut built = built.body(Full::new(body.clone())).map_err(|error| {
            Failure::new(Cause::InvalidTargetName, format!("no request can be made of it: {error}"))
        })?;
        let unauthenticated = |why: String| Failure::new(Cause::Unauthenticated, format!("{}: {why}", self.authority));
        match &self.config.scheme {
            Scheme::None => {}
            Scheme::Login => {
                let known = self.login.borrow().clone().filter(|_| !refresh);
                let header = match known {
                    Some(header) => header,
                    None => {
                        let login = self.credentials.login(refresh).await.map_err(unauthenticated)?;
                        let login = login
                            .ok_or_else(|| unauthenticated(format!("there is no login; set {}", self.names.secret)))?;
                        let header = login_header(&login).map_err(unauthenticated)?;
                        self.login.replace(Some(header.clone()));
                        header
                    }
                };
                built.headers_mut().insert(header::AUTHORIZATION, header);
            }
            Scheme::SigV4 { service, region } => {
                let keys = self.credentials.aws_keys().await.map_err(unauthenticated)?;
                let digest = self.digests.of(body).await;
                sign_request(&mut built, &digest, &keys, service, region, SystemTime::now())
                    .map_err(unauthenticated)?;
            }
        }
        Ok(built)
    }

    /// Sends over an idle connection if there is one, else over a new one.
    async fn exchange(&self, request: http::Request<Full<Bytes>>, deadline: Instant) -> Result<Response, Failure> {
        // An idle connection may have been closed by the other side while the environment was frozen: then a new one is
        // tried at once. Guarded writes may be sent twice.
        while let Some(lane) = self.take_idle() {
            match self.over(lane, request.clone(), deadline).await {
                Err(Broken::Connection(_)) => {}
                Err(Broken::Time) => return Err(self.timed_out()),
                Ok(response) => return Ok(response),
            }
        }
        let lane = self.lane(&self.authority, deadline).await?;
        self.over(lane, request, deadline).await.map_err(|broken| match broken {
            Broken::Time => self.timed_out(),
            Broken::Connection(error) => Failure::new(Cause::Unreachable, format!("{}: {error}", self.authority)),
        })
    }

    fn take_idle(&self) -> Option<Lane> {
        self.idle.borrow_mut().pop()
    }

    fn timed_out(&self) -> Failure {
        Failure::new(Cause::TimedOut, format!("{}: no answer within the invocation's time", self.authority))
    }

    async fn over(
        &self,
        mut lane: Lane,
        request: http::Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<Response, Broken> {
        let Lane { sender, timer, .. } = &mut lane;
        timer.as_mut().reset(deadline.into());
        let answer = async {
            sender.ready().await?;
            let response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await?.to_bytes();
            Ok::<_, hyper::Error>(Response { status, body })
        };
        let answered = match select(pin!(answer), timer.as_mut()).await {
            Either::Left((answered, _)) => answered,
            Either::Right(_) => return Err(Broken::Time),
        };
        match answered {
            Ok(response) => {
                if !lane.sender.is_closed() {
                    self.idle.borrow_mut().push(lane);
                }
                Ok(response)
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map_or(String::new(), |source| format!(": {source}"));
                Err(Broken::Connection(format!("{error}{cause}")))
            }
        }
    }
}

/// Why a request got no answer on a connection.
enum Broken {
    Connection(String),
    Time,
}

async fn open<I>(io: I) -> Result<Lane, String>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(io).await.map_err(|error| error.to_string())?;
    // It ends with the connection; errors reach the request that is under way.
    let driver = tokio::spawn(async move { drop(connection.await) });
    Ok(Lane { sender, driver, timer: Box::pin(sleep_until(Instant::now().into())) })
}

fn tls_connector(ca_pem: Option<&[u8]>, setting: &str) -> Result<TlsConnector, TlsError> {
    let mut roots = rustls::RootCertStore::empty();
    match ca_pem {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate =
                    certificate.map_err(|error| TlsError(format!("{setting} is no PEM file: {error:?}")))?;
                roots.add(certificate).map_err(|error| TlsError(format!("{setting}: {error}")))?;
            }
            if roots.is_empty() {
                return Err(TlsError(format!("{setting} holds no certificate")));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn gzip(body: &[u8]) -> std::io::Result<Bytes> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 2), flate2::Compression::fast());
    encoder.write_all(body)?;
    encoder.finish().map(Bytes::from)
}

impl<C: Credentials> Transport for HttpTransport<C> {
    async fn send(&self, request: Request, deadline: Instant) -> Result<Response, Failure> {
        self.send_with(request, &[], deadline).await
    }

    fn place(&self) -> &str {
        &self.authority
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidelock_core::credentials::{AwsKeys, Login};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    struct Nobody;

    impl Credentials for Nobody {
        async fn login(&self, _: bool) -> Result<Option<Login>, String> {
            Ok(None)
        }

        async fn aws_keys(&self) -> Result<AwsKeys, String> {
            Err("there are none".to_owned())
        }
    }

    fn config(ca_pem: Option<&[u8]>) -> HttpConfig {
        let ca_pem = ca_pem.map(<[u8]>::to_vec);
        HttpConfig { host: "localhost".to_owned(), port: 1, tls: true, ca_pem, scheme: Scheme::Login, gzip: false }
    }

    /// A server that answers each connection's requests after these times, and then no more.
    async fn server(answers: &'static [Duration]) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = [0; 1024];
                    for wait in answers {
                        if stream.read(&mut request).await? == 0 {
                            return Ok(());
                        }
                        tokio::time::sleep(*wait).await;
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
                    }
                    while stream.read(&mut request).await? > 0 {}
                    Ok::<_, std::io::Error>(())
                });
            }
        });
        port
    }

    #[tokio::test]
    async fn each_request_of_a_connection_has_its_own_time() {
        let late = Duration::from_millis(400);
        let port = server(const { &[Duration::ZERO, Duration::from_millis(400)] }).await;
        let config =
            HttpConfig { host: "127.0.0.1".to_owned(), port, tls: false, scheme: Scheme::None, ..config(None) };
        let transport = HttpTransport::new(config, Nobody).expect("no certificates");
        let ask = async |time: Duration| {
            let request =
                Request { method: "GET", path: "/".to_owned(), content_type: "text/plain", body: Bytes::new() };
            let began = Instant::now();
            let answer = transport.send(request, began + time).await.map(|response| response.status);
            (answer.map_err(|failure| failure.cause), began.elapsed())
        };
        // The first one's time ends before the second one's answer, which is none of its business.
        assert_eq!(ask(late / 2).await.0, Ok(200));
        assert_eq!(ask(100 * late).await.0, Ok(200));
        // An earlier end than the one before.
        let (answer, took) = ask(late / 4).await;
        assert_eq!(answer, Err(Cause::TimedOut));
        assert!((late / 4..50 * late).contains(&took), "{took:?}");
        assert!(transport.idle.borrow().is_empty(), "what has not answered is not used again");
        assert_eq!(ask(100 * late).await.0, Ok(200));
    }

    #[tokio::test]
    async fn messages_name_the_setting_to_correct() {
        let names = SettingNames { ca_file: "A_CA_FILE", secret: "A_SECRET" };
        let refused = |made: Result<HttpTransport<Nobody>, TlsError>| made.err().map(|error| error.to_string());
        let other = refused(HttpTransport::with_names(config(Some(b"")), Nobody, names));
        assert_eq!(other.as_deref(), Some("A_CA_FILE holds no certificate"));
        let target = refused(HttpTransport::new(config(Some(b"")), Nobody));
        assert_eq!(target.as_deref(), Some("TIDELOCK_TARGET_CA_FILE holds no certificate"));

        let transport = HttpTransport::with_names(config(None), Nobody, names).expect("public certificates");
        let request = Request { method: "GET", path: "/".to_owned(), content_type: "text/plain", body: Bytes::new() };
        let failure = transport.send(request, Instant::now() + CONNECT_TIMEOUT).await.expect_err("no login");
        assert_eq!((failure.cause, failure.detail.ends_with("set A_SECRET")), (Cause::Unauthenticated, true));
    }
}
