//! A server that answers as it is told to, and remembers what it was asked.

use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with a request.
pub(crate) enum Reply {
    /// This status and text.
    Text(u16, String),
    /// Status 200 and this text, and then the connection is closed although more was announced.
    Half(String),
    /// The connection is closed.
    Cut,
    /// Nothing comes.
    Silence,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Method and path.
    pub(crate) line: String,
    /// Headers, in lower case.
    pub(crate) headers: String,
    pub(crate) body: String,
}

type Script = dyn Fn(usize, &Asked) -> Reply + Send + Sync;

/// It ends with the test's runtime.
pub(crate) struct Server {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Starts a server; `script` gets each request and its number, from 0.
    pub(crate) async fn start(script: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let (log, script) = (Arc::clone(&asked), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                tokio::spawn(async move { serve(stream, &log, &*script).await });
            }
        });
        Self { url, asked }
    }

    /// The requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }
}

/// Serves one connection until either side ends it.
async fn serve(mut stream: TcpStream, log: &Mutex<Vec<Asked>>, script: &Script) {
    let mut buffer = Vec::new();
    while let Some(asked) = request(&mut stream, &mut buffer).await {
        let number = {
            let mut log = log.lock().expect("no panic");
            log.push(asked.clone());
            log.len() - 1
        };
        let (status, text, missing) = match script(number, &asked) {
            Reply::Text(status, text) => (status, text, 0),
            Reply::Half(text) => (200, text, 1),
            Reply::Cut => return,
            Reply::Silence => {
                // Until the client hangs up.
                let _ = stream.read_to_end(&mut Vec::new()).await;
                return;
            }
        };
        let length = text.len() + missing;
        let head = if status == 204 { String::new() } else { format!("content-length: {length}\r\n") };
        let answer = format!("HTTP/1.1 {status} x\r\n{head}\r\n{text}");
        if stream.write_all(answer.as_bytes()).await.is_err() || missing > 0 {
            return;
        }
    }
}

/// The next request of a connection.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Asked> {
    loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let (line, headers) = head.split_once("\r\n")?;
            let (line, headers) = (line.trim_end_matches(" HTTP/1.1").to_owned(), headers.to_lowercase());
            let length = headers.lines().find_map(|header| header.strip_prefix("content-length: "));
            let length = length.map_or(Some(0), |length| length.parse::<usize>().ok())?;
            let (from, to) = (end + 4, end + 4 + length);
            if buffer.len() >= to {
                let body = String::from_utf8_lossy(&buffer[from..to]).into_owned();
                buffer.drain(..to);
                return Some(Asked { line, headers, body });
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}
