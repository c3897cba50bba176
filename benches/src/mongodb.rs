//! A stub that speaks MongoDB's wire protocol and accepts every write at once.
//! <https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/>

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;

use bson::{RawDocument, RawDocumentBuf, rawdoc};

use crate::http::Listener;

const OP_REPLY: i32 = 1;
const OP_QUERY: i32 = 2004;
const OP_MSG: i32 = 2013;

/// Flag bits of OP_MSG.
const CHECKSUM_PRESENT: u32 = 1;
const MORE_TO_COME: u32 = 1 << 1;

/// Starts the server.
pub(crate) fn stub() -> io::Result<Listener> {
    Listener::start(|socket| {
        // A driver that closes its connection is no fault of the stub.
        let _ = serve_connection(socket);
    })
}

fn serve_connection(socket: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(64 * 1024, socket);
    let mut next_id = 1;
    let mut message = Vec::new();
    loop {
        let mut head = [0; 16];
        reader.read_exact(&mut head)?;
        let [length, request, _, code] = std::array::from_fn(|field| int(&head[field * 4..]));
        let length = usize::try_from(length).ok().and_then(|length| length.checked_sub(head.len()));
        message.resize(length.ok_or_else(|| malformed("message length"))?, 0);
        reader.read_exact(&mut message)?;
        let mut reply = vec![0; head.len()];
        let answer_code = match code {
            OP_MSG => {
                let (flags, answer) = answer_message(&message)?;
                if flags & MORE_TO_COME != 0 {
                    continue;
                }
                reply.extend_from_slice(&0u32.to_le_bytes());
                reply.push(0);
                reply.extend_from_slice(answer.as_bytes());
                OP_MSG
            }
            // Drivers open a connection with the older form of `hello`.
            OP_QUERY => {
                reply.extend_from_slice(&[0; 16]);
                reply.extend_from_slice(&1u32.to_le_bytes());
                reply.extend_from_slice(hello().as_bytes());
                OP_REPLY
            }
            _ => return Err(malformed("operation code")),
        };
        let length = i32::try_from(reply.len()).map_err(|_| malformed("reply length"))?;
        for (field, value) in [length, next_id, request, answer_code].into_iter().enumerate() {
            reply[field * 4..][..4].copy_from_slice(&value.to_le_bytes());
        }
        next_id += 1;
        reader.get_mut().write_all(&reply)?;
    }
}

fn int(bytes: &[u8]) -> i32 {
    i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed {what}"))
}

/// Flags of a message and the answer to its command.
fn answer_message(message: &[u8]) -> io::Result<(u32, RawDocumentBuf)> {
    if message.len() < 4 {
        return Err(malformed("message"));
    }
    let flags = int(message) as u32;
    let end = message.len() - if flags & CHECKSUM_PRESENT != 0 { 4 } else { 0 };
    let mut rest = &message[4..end];
    let mut body = None;
    let mut in_sequences = 0;
    while let Some((kind, section)) = rest.split_first() {
        let length = section.get(..4).map(int).and_then(|length| usize::try_from(length).ok());
        let content = length.and_then(|length| section.get(..length)).ok_or_else(|| malformed("section"))?;
        match kind {
            0 => body = Some(RawDocument::from_bytes(content).map_err(io::Error::other)?),
            1 => in_sequences += count_sequence(content)?,
            _ => return Err(malformed("section kind")),
        }
        rest = &section[content.len()..];
    }
    let body = body.ok_or_else(|| malformed("message without a body"))?;
    Ok((flags, answer_command(body, in_sequences)))
}

/// How many documents a document sequence holds: length, name, then the documents.
fn count_sequence(section: &[u8]) -> io::Result<usize> {
    let name_end = memchr::memchr(0, section.get(4..).unwrap_or_default()).ok_or_else(|| malformed("sequence"))?;
    let mut rest = &section[4 + name_end + 1..];
    let mut count = 0;
    while !rest.is_empty() {
        let length =
            rest.get(..4).map(int).and_then(|length| usize::try_from(length).ok()).filter(|length| *length >= 5);
        rest = length.and_then(|length| rest.get(length..)).ok_or_else(|| malformed("document in a sequence"))?;
        count += 1;
    }
    Ok(count)
}

fn answer_command(body: &RawDocument, in_sequences: usize) -> RawDocumentBuf {
    let name = body.iter().next().and_then(Result::ok).map(|(name, _)| name.as_str().to_owned()).unwrap_or_default();
    let writes = |list: &str| {
        let inline = body.get_array(list).map_or(0, |list| list.into_iter().count());
        let count = i32::try_from(inline + in_sequences).unwrap_or(i32::MAX);
        rawdoc! { "ok": 1.0, "n": count }
    };
    match name.as_str() {
        "hello" | "isMaster" | "ismaster" => hello(),
        "update" => {
            let mut answer = writes("updates");
            answer.append(bson::raw::cstr!("nModified"), 0);
            answer
        }
        "delete" => writes("deletes"),
        "insert" => writes("documents"),
        "find" | "aggregate" => {
            rawdoc! { "ok": 1.0, "cursor": { "id": 0_i64, "ns": "bench.bench", "firstBatch": [] } }
        }
        _ => rawdoc! { "ok": 1.0 },
    }
}

/// A standalone server of MongoDB 7.0 that is ready for writes.
fn hello() -> RawDocumentBuf {
    rawdoc! {
        "isWritablePrimary": true,
        "ismaster": true,
        "helloOk": true,
        "maxBsonObjectSize": 16_777_216,
        "maxMessageSizeBytes": 48_000_000,
        "maxWriteBatchSize": 100_000,
        "minWireVersion": 0,
        "maxWireVersion": 21,
        "logicalSessionTimeoutMinutes": 30,
        "readOnly": false,
        "ok": 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(kind: u8, content: &[u8]) -> Vec<u8> {
        [&[kind], content].concat()
    }

    fn sequence(name: &str, documents: &[RawDocumentBuf]) -> Vec<u8> {
        let mut content = [name.as_bytes(), &[0]].concat();
        documents.iter().for_each(|document| content.extend_from_slice(document.as_bytes()));
        let length = i32::try_from(content.len() + 4).expect("short");
        [&length.to_le_bytes()[..], &content].concat()
    }

    #[test]
    fn writes_are_counted_in_the_body_and_in_sequences() {
        let one = rawdoc! { "q": { "_id": "1" }, "u": { "a": 1 }, "upsert": true };
        let flags = 0u32.to_le_bytes();
        let body = rawdoc! { "update": "bench", "updates": [one.clone(), one.clone()], "$db": "bench" };
        let inline = [&flags[..], &section(0, body.as_bytes())].concat();
        let (_, answer) = answer_message(&inline).expect("well formed");
        assert_eq!(answer.get_i32("n").expect("a count"), 2);

        let body = rawdoc! { "delete": "bench", "$db": "bench" };
        let documents = [one.clone(), one.clone(), one];
        let split = [&flags[..], &section(1, &sequence("deletes", &documents)), &section(0, body.as_bytes())].concat();
        let (_, answer) = answer_message(&split).expect("well formed");
        assert_eq!(answer.get_i32("n").expect("a count"), 3);
        assert!((answer.get_f64("ok").expect("ok") - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_cut_message_is_refused() {
        assert!(answer_message(&[0, 0]).is_err());
        assert!(answer_message(&[0, 0, 0, 0]).is_err());
        assert!(answer_message(&[0, 0, 0, 0, 0, 99, 0, 0, 0]).is_err());
        assert!(answer_message(&[0, 0, 0, 0, 1, 9, 0, 0, 0, b'a', 0, 7, 0, 0, 0]).is_err());
    }

    #[test]
    fn a_connection_answers_hello_in_both_forms() {
        let stub = stub().expect("it starts");
        let mut socket = TcpStream::connect(stub.address()).expect("it accepts");
        let hello = rawdoc! { "hello": 1, "$db": "admin" };
        let message = [&0u32.to_le_bytes()[..], &section(0, hello.as_bytes())].concat();
        let query = [&[0; 4][..], b"admin.$cmd\0", &[0; 8], hello.as_bytes()].concat();
        for (code, content, skip) in [(OP_MSG, message, 5), (OP_QUERY, query, 20)] {
            let length = i32::try_from(content.len() + 16).expect("short");
            let head = [length, 7, 0, code].map(i32::to_le_bytes).concat();
            socket.write_all(&[head, content].concat()).expect("sent");
            let mut head = [0; 16];
            socket.read_exact(&mut head).expect("answered");
            assert_eq!(int(&head[8..]), 7, "the answer names its request");
            let mut answer = vec![0; usize::try_from(int(&head)).expect("a length") - 16];
            socket.read_exact(&mut answer).expect("whole");
            let document = RawDocument::from_bytes(&answer[skip..]).expect("BSON");
            assert!(document.get_bool("isWritablePrimary").expect("a flag"));
        }
    }
}
