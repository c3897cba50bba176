//! A proxy in front of a server of MongoDB's
//! [wire protocol](https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/): it does what a script says to each
//! `insert`, `update` and `delete`, and passes all else on.

use mongodb::bson::{Bson, Document, doc};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::task::AbortHandle;

/// The one kind of message that carries commands.
const OP_MSG: i32 = 2013;

/// Length, id, id of what is answered, kind: 32 bits each.
const HEADER: usize = 16;

/// An `insert`, `update` or `delete` as the proxy got it.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    /// `insert`, `update` or `delete`.
    pub(crate) name: String,
    pub(crate) database: String,
    pub(crate) collection: String,
    body: Document,
}

impl Command {
    /// The command of a message, if it is one that writes.
    fn read(message: &[u8]) -> Option<Self> {
        if number(message, 12) != OP_MSG {
            return None;
        }
        // Behind 32 bits of flags, the first section is the body.
        let section = &message[HEADER + 4..];
        assert_eq!(section[0], 0, "a message that does not begin with its body");
        let body = Document::from_reader(&section[1..]).unwrap();
        let name = body.keys().next().unwrap().clone();
        let text = |name: &str| body.get_str(name).unwrap_or_default().to_owned();
        let (collection, database) = (text(&name), text("$db"));
        matches!(name.as_str(), "insert" | "update" | "delete").then_some(Self { name, database, collection, body })
    }

    /// Whether it writes documents, as against deleting them.
    pub(crate) fn writes(&self) -> bool {
        matches!(self.name.as_str(), "insert" | "update")
    }

    /// The ids, all of them texts, that its statements name.
    pub(crate) fn ids(&self) -> Vec<String> {
        let inserts = self.name == "insert";
        let list = if inserts { "documents".to_owned() } else { format!("{}s", self.name) };
        let id = |statement: &Bson| {
            let statement = statement.as_document().unwrap();
            let named = if inserts { statement } else { statement.get_document("q").unwrap() };
            named.get_str("_id").unwrap().to_owned()
        };
        self.body.get_array(list).unwrap().iter().map(id).collect()
    }

    /// What is to be run to send it once more: without what belongs to a session.
    pub(crate) fn again(&self) -> Document {
        let mut command = self.body.clone();
        for name in ["lsid", "$clusterTime", "txnNumber", "$db", "$readPreference"] {
            command.remove(name);
        }
        command
    }
}

/// What happens to a command.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// It is passed on.
    Pass,
    /// It is answered so, and not passed on.
    Answer(Document),
    /// The connection is closed instead of passing it on.
    CutBefore,
    /// It is passed on; the connection is closed instead of answering.
    CutAfter,
    /// It stops half-way for so long, unless the client goes away: before it is passed on, or when it has been `applied`.
    Stop { applied: bool, reached: Arc<Notify>, time: Duration },
}

/// The answer of a server that refuses a command as a whole.
pub(crate) fn refusal(code: i32, name: &str) -> Reply {
    Reply::Answer(doc! {"ok": 0.0, "code": code, "codeName": name, "errmsg": "said so"})
}

type Script = Box<dyn Fn(&Command) -> Reply + Send + Sync>;

/// The proxy. It takes no more connections when this value is gone.
pub(crate) struct Wire {
    /// Host and port.
    pub(crate) address: String,
    server: AbortHandle,
}

impl Wire {
    /// In front of the server at `upstream` (host and port).
    pub(crate) async fn before(upstream: &str, script: impl Fn(&Command) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (script, upstream): (Arc<Script>, _) = (Arc::new(Box::new(script)), upstream.to_owned());
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (script, upstream) = (script.clone(), upstream.clone());
                tokio::spawn(async move {
                    // A server that is down closes the door at once.
                    if let Ok(server) = TcpStream::connect(&upstream).await {
                        converse(client, server, &script).await;
                    }
                });
            }
        });
        Self { address, server: server.abort_handle() }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// What is to be done with answers, by the id of what they answer.
type Awaited = Mutex<HashMap<i32, Reply>>;

/// One connection, until either side closes it or the script cuts it.
async fn converse(client: TcpStream, server: TcpStream, script: &Script) {
    let _ = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (to_client, awaited) = (AsyncMutex::new(to_client), Awaited::default());
    tokio::select! {
        _ = requests(from_client, to_server, &to_client, script, &awaited) => {}
        _ = answers(from_server, &to_client, &awaited) => {}
    }
}

/// `None` ends the connection.
async fn requests(
    mut from_client: OwnedReadHalf,
    mut to_server: OwnedWriteHalf,
    to_client: &AsyncMutex<OwnedWriteHalf>,
    script: &Script,
    awaited: &Awaited,
) -> Option<()> {
    loop {
        let message = receive(&mut from_client).await?;
        let id = number(&message, 4);
        match Command::read(&message).map_or(Reply::Pass, |command| script(&command)) {
            Reply::Pass => {}
            Reply::Answer(answer) => {
                to_client.lock().await.write_all(&reply(id, &answer)).await.ok()?;
                continue;
            }
            Reply::CutBefore => return None,
            Reply::Stop { applied: false, reached, time } => {
                reached.notify_one();
                let mut next = [0];
                tokio::select! {
                    () = tokio::time::sleep(time) => {}
                    // A client that waits for an answer says nothing: this is its end.
                    _ = from_client.peek(&mut next) => return None,
                }
            }
            later @ (Reply::CutAfter | Reply::Stop { .. }) => drop(awaited.lock().unwrap().insert(id, later)),
        }
        to_server.write_all(&message).await.ok()?;
    }
}

/// `None` ends the connection.
async fn answers(
    mut from_server: OwnedReadHalf,
    to_client: &AsyncMutex<OwnedWriteHalf>,
    awaited: &Awaited,
) -> Option<()> {
    loop {
        let message = receive(&mut from_server).await?;
        let fate = awaited.lock().unwrap().remove(&number(&message, 8));
        match fate {
            Some(Reply::CutAfter) => return None,
            // The other direction notices when the client goes.
            Some(Reply::Stop { reached, time, .. }) => {
                reached.notify_one();
                tokio::time::sleep(time).await;
            }
            _ => {}
        }
        to_client.lock().await.write_all(&message).await.ok()?;
    }
}

/// A whole message.
async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut message = vec![0; HEADER];
    stream.read_exact(&mut message).await.ok()?;
    message.resize(usize::try_from(number(&message, 0)).unwrap(), 0);
    stream.read_exact(&mut message[HEADER..]).await.ok()?;
    Some(message)
}

fn reply(to: i32, answer: &Document) -> Vec<u8> {
    let body = answer.to_vec().unwrap();
    let mut message = Vec::with_capacity(HEADER + 5 + body.len());
    for number in [i32::try_from(HEADER + 5 + body.len()).unwrap(), 0, to, OP_MSG, 0] {
        message.extend_from_slice(&number.to_le_bytes());
    }
    message.push(0);
    message.extend_from_slice(&body);
    message
}

fn number(message: &[u8], at: usize) -> i32 {
    i32::from_le_bytes(message[at..at + 4].try_into().unwrap())
}
