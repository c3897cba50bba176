//! Just enough HTTP/1.1 on blocking sockets for the servers and clients of a benchmark: keep-alive, bodies with a length
//! or in chunks (RFC 9112).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A request as it came, with header names in lower case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// What a server answers or a client receives. The length is written by the server.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Arc<[u8]>,
}

impl Response {
    pub(crate) fn json(status: u16, body: impl Into<Arc<[u8]>>) -> Self {
        Self { status, headers: vec![("content-type", "application/json".into())], body: body.into() }
    }
}

/// Answers the requests of one connection.
pub(crate) type Handler = Box<dyn FnMut(Request) -> Response + Send>;

/// What a server runs on: a plain socket or a TLS session.
pub(crate) trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// Makes the stream of a connection from its socket.
pub(crate) type Accept = Box<dyn Fn(TcpStream) -> io::Result<Box<dyn Stream>> + Send>;

/// A listener on 127.0.0.1 with a thread per connection; it stops listening when dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

impl Listener {
    /// Runs `connection` on a thread of its own for every connection.
    pub(crate) fn start(connection: impl Fn(TcpStream) + Send + Sync + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let stopped = Arc::new(AtomicBool::new(false));
        let (seen, connection) = (Arc::clone(&stopped), Arc::new(connection));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if seen.load(Ordering::Relaxed) {
                    return;
                }
                let connection = Arc::clone(&connection);
                thread::spawn(move || {
                    // An answer in two segments must not wait for an acknowledgement.
                    if stream.set_nodelay(true).is_ok() {
                        connection(stream);
                    }
                });
            }
        });
        Ok(Self { address, stopped })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // The thread waits in `accept`: a last connection lets it see that it has to stop.
        let _ = TcpStream::connect(self.address);
    }
}

/// Starts an HTTP server; `handler` makes what answers one connection.
pub(crate) fn serve(accept: Accept, handler: impl Fn() -> Handler + Send + Sync + 'static) -> io::Result<Listener> {
    let accept = std::sync::Mutex::new(accept);
    Listener::start(move |socket| {
        let stream = match accept.lock() {
            Ok(accept) => accept(socket),
            Err(_) => return,
        };
        if let Ok(stream) = stream {
            // A client that goes away ends its connection, which is no fault of the server.
            let _ = serve_connection(stream, handler());
        }
    })
}

/// Streams of a server without TLS.
pub(crate) fn plain() -> Accept {
    Box::new(|socket| Ok(Box::new(socket)))
}

/// A body up to this goes into one segment with its head; a larger one is not copied for it.
const ONE_WRITE: usize = 16 * 1024;

fn serve_connection(stream: Box<dyn Stream>, mut handler: Handler) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    let mut out = Vec::new();
    while let Some(request) = read_request(&mut reader)? {
        let head_only = request.method == "HEAD";
        let response = handler(request);
        out.clear();
        write!(out, "HTTP/1.1 {} {}\r\n", response.status, reason(response.status))?;
        for (name, value) in &response.headers {
            write!(out, "{name}: {value}\r\n")?;
        }
        write!(out, "content-length: {}\r\n\r\n", response.body.len())?;
        let body = if head_only { &[] } else { &*response.body };
        let (copied, rest) = if body.len() > ONE_WRITE { (&[][..], body) } else { (body, &[][..]) };
        out.extend_from_slice(copied);
        let stream = reader.get_mut();
        stream.write_all(&out)?;
        stream.write_all(rest)?;
        stream.flush()?;
    }
    Ok(())
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        404 => "Not Found",
        _ => "Other",
    }
}

/// The next request, or nothing when the client has closed the connection.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let Some((start, headers)) = read_head(reader)? else { return Ok(None) };
    let mut parts = start.split(' ');
    let (Some(method), Some(target)) = (parts.next(), parts.next()) else {
        return Err(malformed("request line", &start));
    };
    let body = read_body(reader, &headers)?;
    Ok(Some(Request { method: method.into(), target: target.into(), headers, body }))
}

type Headers = Vec<(String, String)>;

fn read_head(reader: &mut impl BufRead) -> io::Result<Option<(String, Headers)>> {
    let mut start = String::new();
    if reader.read_line(&mut start)? == 0 {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(Some((start.trim_end().into(), headers)));
        }
        let Some((name, value)) = line.split_once(':') else { return Err(malformed("header", line)) };
        headers.push((name.to_ascii_lowercase(), value.trim().into()));
    }
}

/// The value of a header.
pub(crate) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(candidate, _)| candidate == name).map(|(_, value)| value.as_str())
}

fn read_body(reader: &mut impl BufRead, headers: &[(String, String)]) -> io::Result<Vec<u8>> {
    if header(headers, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return read_chunks(reader);
    }
    let Some(length) = header(headers, "content-length") else { return Ok(Vec::new()) };
    let length = length.parse().map_err(|_| malformed("content-length", length))?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body)
}

fn read_chunks(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = line.trim_end().split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(|_| malformed("chunk size", size))?;
        let start = body.len();
        body.resize(start + size, 0);
        reader.read_exact(&mut body[start..])?;
        let mut end = String::new();
        reader.read_line(&mut end)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

fn malformed(what: &str, text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed {what}: {text:?}"))
}

/// A client on one kept connection.
#[derive(Debug)]
pub(crate) struct Client {
    host: String,
    reader: BufReader<TcpStream>,
    out: Vec<u8>,
}

impl Client {
    /// Connects to `HOST:PORT`.
    pub(crate) fn connect(host: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        Ok(Self { host: host.into(), reader: BufReader::with_capacity(64 * 1024, stream), out: Vec::new() })
    }

    /// Sends a request and waits for the whole answer.
    pub(crate) fn send(&mut self, method: &str, target: &str, content_type: &str, body: &[u8]) -> io::Result<Response> {
        self.send_with(method, target, &[], content_type, body)
    }

    /// The same, with headers of the caller's.
    pub(crate) fn send_with(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        content_type: &str,
        body: &[u8],
    ) -> io::Result<Response> {
        self.out.clear();
        write!(self.out, "{method} {target} HTTP/1.1\r\nhost: {}\r\n", self.host)?;
        for (name, value) in headers {
            write!(self.out, "{name}: {value}\r\n")?;
        }
        if !body.is_empty() {
            write!(self.out, "content-type: {content_type}\r\n")?;
        }
        write!(self.out, "content-length: {}\r\n\r\n", body.len())?;
        self.out.extend_from_slice(body);
        self.reader.get_mut().write_all(&self.out)?;
        let Some((start, headers)) = read_head(&mut self.reader)? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let status = start.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| malformed("status line", &start))?;
        let body = if method == "HEAD" { Vec::new() } else { read_body(&mut self.reader, &headers)? };
        Ok(Response::json(status, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_and_a_server_exchange_bodies_on_one_connection() {
        let server = serve(plain(), || {
            let mut seen = 0;
            Box::new(move |request| {
                seen += 1;
                Response::json(
                    200,
                    format!("{seen} {} {} {}", request.method, request.target, request.body.len()).into_bytes(),
                )
            })
        })
        .expect("a server starts");
        let mut client = Client::connect(&server.address().to_string()).expect("it accepts");
        let first = client.send("POST", "/a?b=c", "text/plain", &[0; 300_000]).expect("it answers");
        assert_eq!(&*first.body, b"1 POST /a?b=c 300000");
        assert_eq!(client.send("HEAD", "/", "", b"").expect("it answers").body.len(), 0);
        assert_eq!(&*client.send("GET", "/x", "", b"").expect("it answers").body, b"3 GET /x 0");
    }

    #[test]
    fn chunks_are_joined_and_malformed_heads_refused() {
        let mut text =
            &b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"[..];
        let request = read_request(&mut text).expect("well formed").expect("a request");
        assert_eq!(request.body, b"abcde");
        assert!(read_request(&mut &b"GET\r\n\r\n"[..]).is_err());
        assert!(read_request(&mut &b"GET / HTTP/1.1\r\nnonsense\r\n\r\n"[..]).is_err());
        assert!(read_request(&mut &b""[..]).expect("closed").is_none());
    }
}
