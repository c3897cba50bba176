//! A server that answers as its script says, in MongoDB's
//! [wire protocol](https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/).

use mongodb::bson::{Bson, Document, doc};
use std::sync::{Arc, Mutex};
use tidelock_core::fence::FENCE_COLLECTION;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const OP_MSG: i32 = 2013;

/// What the script says to a command.
pub(crate) enum Reply {
    Answer(Document),
    /// Closes the connection.
    Close,
    /// Says nothing, ever.
    Silence,
    /// Answers when this many commands wait, or after a while.
    WithOthers(usize, Document),
}

type Script = Box<dyn FnMut(&Document) -> Reply + Send>;

#[derive(Default)]
struct Waiting {
    now: usize,
    most: usize,
}

struct Shared {
    script: Mutex<Script>,
    log: Mutex<Vec<Document>>,
    waiting: Mutex<Waiting>,
    sessions: bool,
    address: String,
}

/// A running server. It ends with the runtime.
pub(crate) struct Scripted {
    shared: Arc<Shared>,
}

impl Scripted {
    pub(crate) async fn start(script: impl FnMut(&Document) -> Reply + Send + 'static) -> Self {
        Self::begin(Box::new(script), true).await
    }

    pub(crate) async fn without_sessions(script: impl FnMut(&Document) -> Reply + Send + 'static) -> Self {
        Self::begin(Box::new(script), false).await
    }

    async fn begin(script: Script, sessions: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let shared =
            Shared { script: Mutex::new(script), log: Mutex::default(), waiting: Mutex::default(), sessions, address };
        let shared = Arc::new(shared);
        let server = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&server)));
            }
        });
        Self { shared }
    }

    pub(crate) fn address(&self) -> &str {
        &self.shared.address
    }

    /// With the database `d`, and options such as `?readPreference=secondary`.
    pub(crate) fn uri(&self, options: &str) -> String {
        format!("mongodb://{}/d{options}", self.shared.address)
    }

    /// The commands received, those of the handshake left out.
    pub(crate) fn log(&self) -> Vec<Document> {
        self.shared.log.lock().expect("the log").clone()
    }

    /// The commands received that are not about fences.
    pub(crate) fn of_documents(&self) -> Vec<Document> {
        self.log().into_iter().filter(|command| !of_fences(command)).collect()
    }

    /// The names of the commands received.
    pub(crate) fn names(&self) -> Vec<String> {
        self.log().iter().map(name).collect()
    }

    /// The most commands that waited for their answers at one time.
    pub(crate) fn most_waiting(&self) -> usize {
        self.shared.waiting.lock().expect("the count").most
    }
}

pub(crate) fn name(command: &Document) -> String {
    command.keys().next().cloned().unwrap_or_default()
}

/// Whether it is the fences' collection that a command is about.
pub(crate) fn of_fences(command: &Document) -> bool {
    command.get_str(name(command)).ok() == Some(FENCE_COLLECTION)
}

/// The ids that an `insert`, `update` or `delete` names.
pub(crate) fn ids(command: &Document) -> Vec<String> {
    let lists = ["updates", "deletes", "documents"];
    let list = lists.iter().find_map(|name| command.get_array(name).ok()).expect("statements");
    let id = |statement: &Bson| {
        let statement = statement.as_document().expect("a document");
        let id = statement.get_document("q").unwrap_or(statement).get("_id").expect("an id");
        id.as_str().map_or_else(|| id.to_string(), str::to_owned)
    };
    list.iter().map(id).collect()
}

/// All statements have had their effect.
pub(crate) fn done(command: &Document) -> Reply {
    Reply::Answer(doc! {"n": ids(command).len() as i32, "ok": 1})
}

/// These statements have errors (index, code), the others have had their effect.
pub(crate) fn errors(command: &Document, errors: &[(i32, i32)]) -> Document {
    let list: Vec<Bson> =
        errors.iter().map(|(index, code)| doc! {"index": *index, "code": *code, "errmsg": "said so"}.into()).collect();
    doc! {"n": (ids(command).len() - errors.len()) as i32, "writeErrors": list, "ok": 1}
}

/// The command as a whole is refused.
pub(crate) fn refused(code: i32) -> Reply {
    Reply::Answer(doc! {"ok": 0, "code": code, "codeName": "Name", "errmsg": "said so"})
}

/// The answer of a `find`.
pub(crate) fn found(documents: Vec<Document>) -> Reply {
    Reply::Answer(doc! {"cursor": {"id": 0_i64, "ns": "d.c", "firstBatch": documents}, "ok": 1})
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    while let Some((id, command)) = receive(&mut stream).await {
        let answer = match name(&command).to_ascii_lowercase().as_str() {
            "hello" | "ismaster" => hello(&shared),
            "endsessions" => doc! {"ok": 1},
            _ => match scripted(&shared, command).await {
                Some(answer) => answer,
                None => return,
            },
        };
        if send(&mut stream, id, &answer).await.is_none() {
            return;
        }
    }
}

async fn scripted(shared: &Shared, command: Document) -> Option<Document> {
    let reply = (shared.script.lock().expect("the script"))(&command);
    shared.log.lock().expect("the log").push(command);
    let count = |change: fn(&mut usize)| {
        let mut waiting = shared.waiting.lock().expect("the count");
        change(&mut waiting.now);
        waiting.most = waiting.most.max(waiting.now);
        waiting.now
    };
    match reply {
        Reply::Answer(answer) => Some(answer),
        Reply::Close => None,
        Reply::Silence => std::future::pending().await,
        Reply::WithOthers(others, answer) => {
            count(|now| *now += 1);
            for _ in 0..30 {
                if count(|_| ()) >= others {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            // The others must see the count too before it falls.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            count(|now| *now -= 1);
            Some(answer)
        }
    }
}

fn hello(shared: &Shared) -> Document {
    let mut hello = doc! {
        "helloOk": true, "isWritablePrimary": true, "ismaster": true, "setName": "rs", "hosts": [&shared.address], "me": &shared.address,
        "setVersion": 1, "maxBsonObjectSize": 16_777_216, "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000,
        "minWireVersion": 0, "maxWireVersion": 21, "ok": 1,
    };
    if shared.sessions {
        hello.insert("logicalSessionTimeoutMinutes", 30);
    }
    hello
}

async fn receive(stream: &mut TcpStream) -> Option<(i32, Document)> {
    let mut header = [0; 16];
    stream.read_exact(&mut header).await.ok()?;
    let number = |from: usize| i32::from_le_bytes(header[from..from + 4].try_into().expect("four bytes"));
    let mut body = vec![0; usize::try_from(number(0)).ok()?.checked_sub(16)?];
    stream.read_exact(&mut body).await.ok()?;
    assert_eq!(number(12), OP_MSG);
    // Flags come first.
    Some((number(4), command(body.get(4..)?)))
}

/// A document, and lists that belong into it.
fn command(mut rest: &[u8]) -> Document {
    let mut whole = Document::new();
    while let Some((&kind, mut section)) = rest.split_first() {
        let next = |bytes: &mut &[u8]| Document::from_reader(&mut *bytes).expect("a document");
        if kind == 0 {
            let document = next(&mut section);
            rest = section;
            let lists = std::mem::replace(&mut whole, document);
            whole.extend(lists);
            continue;
        }
        let length = i32::from_le_bytes(section[..4].try_into().expect("four bytes")) as usize;
        (section, rest) = section.split_at(length);
        let end = section[4..].iter().position(|&byte| byte == 0).expect("a name") + 4;
        let name = std::str::from_utf8(&section[4..end]).expect("a name").to_owned();
        let (mut bytes, mut documents) = (&section[end + 1..], Vec::new());
        while !bytes.is_empty() {
            documents.push(next(&mut bytes));
        }
        whole.insert(name, documents);
    }
    whole
}

async fn send(stream: &mut TcpStream, to: i32, answer: &Document) -> Option<()> {
    let body = answer.to_vec().expect("serializable");
    let mut message = Vec::with_capacity(body.len() + 21);
    for number in [21 + i32::try_from(body.len()).expect("small"), 0, to, OP_MSG, 0] {
        message.extend_from_slice(&number.to_le_bytes());
    }
    message.push(0);
    message.extend_from_slice(&body);
    stream.write_all(&message).await.ok()
}
