//! A server that answers as it is told to, and remembers what it was asked.

use serde_json::Value;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with a request.
pub(crate) enum Reply {
    /// This status and text.
    Text(u16, String),
    /// The connection is closed.
    Cut,
    /// Nothing comes.
    Silence,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Request line and headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: Value,
}

type Script = dyn Fn(usize, &Value) -> Reply + Send + Sync;

/// It ends with the test's runtime.
pub(crate) struct Server {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Starts a server; `script` gets each request's number, from 0, and its body.
    pub(crate) async fn start(script: impl Fn(usize, &Value) -> Reply + Send + Sync + 'static) -> Self {
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
        match script(number, &asked.body) {
            Reply::Text(status, text) => {
                let length = text.len();
                let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{text}");
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Reply::Cut => return,
            Reply::Silence => {
                // Until the client hangs up.
                let _ = stream.read_to_end(&mut Vec::new()).await;
                return;
            }
        }
    }
}

/// The next request of a connection.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Asked> {
    loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse::<usize>().ok()?;
            let (from, to) = (end + 4, end + 4 + length);
            if buffer.len() >= to {
                let body = serde_json::from_slice(&buffer[from..to]).expect("a JSON body");
                buffer.drain(..to);
                return Some(Asked { head, body });
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}
