//! A bootstrap to drive the Runtime API with: this test binary itself, started again by a small shell script, speaking
//! HTTP by hand. What it does is said by the field `do` of each event, of its first record or of a change stream's first
//! document, and by the variable
//! `BOOTSTRAP_INIT` before that.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{env, fs, process, thread};

use serde_json::{Value, json};

/// A folder of a test's own, removed with everything in it.
pub(crate) struct TestFolder(PathBuf);

impl TestFolder {
    pub(crate) fn new(name: &str) -> Self {
        let folder = env::temp_dir().join(format!("tidelock-local-{}-{name}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The scripted bootstrap, in a folder named as the function.
    pub(crate) fn bootstrap(&self) -> PathBuf {
        let script = format!(
            "#!/bin/sh\nexec '{}' --exact bootstrap::scripted_bootstrap --nocapture\n",
            env::current_exe().unwrap().display()
        );
        self.script(&script)
    }

    pub(crate) fn script(&self, text: &str) -> PathBuf {
        let folder = self.0.join("scripted");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("bootstrap");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

fn call(address: &str, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: {address}\r\n{headers}content-length: {}\r\n\r\n", body.len())
        .unwrap();
    stream.write_all(body).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    Answer { status, headers, body }
}

fn hang() -> ! {
    loop {
        thread::park();
    }
}

/// No test of its own: the body of the bootstrap process. Without a Runtime API it has nothing to do.
#[test]
#[expect(clippy::zombie_processes, reason = "the child is left behind on purpose, for the server to end")]
fn scripted_bootstrap() {
    let Ok(address) = env::var("AWS_LAMBDA_RUNTIME_API") else { return };
    let runtime = "/2018-06-01/runtime";
    match env::var("BOOTSTRAP_INIT").as_deref() {
        Ok("error") => {
            let body = json!({"errorType": "Config.Missing", "errorMessage": "TIDELOCK_TARGET is not set"}).to_string();
            let answer = call(&address, "POST", &format!("{runtime}/init/error"), "", body.as_bytes());
            assert_eq!(answer.status, 202);
            process::exit(1);
        }
        Ok("exit") => process::exit(3),
        Ok("hang") => hang(),
        Ok("slow_once") => {
            let marker = env::var("BOOTSTRAP_MARKER").unwrap();
            if !Path::new(&marker).exists() {
                fs::write(marker, "").unwrap();
                hang();
            }
        }
        Ok("extension") => {
            let headers = "lambda-extension-name: graceful\r\n";
            let answer = call(&address, "POST", "/2020-01-01/extension/register", headers, br#"{"events":[]}"#);
            assert_eq!(answer.status, 200);
            assert!(answer.headers.contains_key("lambda-extension-identifier"));
        }
        _ => {}
    }
    let mut count = 0;
    loop {
        let next = call(&address, "GET", &format!("{runtime}/invocation/next"), "", b"");
        count += 1;
        let id = &next.headers["lambda-runtime-aws-request-id"];
        let event: Value = serde_json::from_slice(&next.body).unwrap();
        let respond = |body: &[u8]| call(&address, "POST", &format!("{runtime}/invocation/{id}/response"), "", body);
        let first = match event.get("events") {
            Some(events) => &events[0]["event"]["fullDocument"],
            None => &event["Records"][0],
        };
        match event["do"].as_str().or_else(|| first["do"].as_str()) {
            Some("report") => {
                let items: Vec<Value> = first["report"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|identifier| json!({ "itemIdentifier": identifier }))
                    .collect();
                respond(json!({ "batchItemFailures": items }).to_string().as_bytes());
            }
            Some("headers") => {
                respond(json!(next.headers).to_string().as_bytes());
            }
            Some("pid") => {
                respond(json!({"pid": process::id(), "count": count}).to_string().as_bytes());
            }
            Some("env") => {
                let variables: BTreeMap<String, String> = env::vars().collect();
                respond(json!(variables).to_string().as_bytes());
            }
            Some("error") => {
                let body =
                    json!({"errorType": "Target.Down", "errorMessage": "no answer", "stackTrace": []}).to_string();
                let headers = "lambda-runtime-function-error-type: Header\r\n";
                let path = format!("{runtime}/invocation/{id}/error");
                assert_eq!(call(&address, "POST", &path, headers, body.as_bytes()).status, 202);
            }
            Some("fail_until") if !Path::new(first["marker"].as_str().unwrap()).exists() => {
                let body = json!({"errorType": "Target.Down", "errorMessage": "not yet"}).to_string();
                let path = format!("{runtime}/invocation/{id}/error");
                assert_eq!(call(&address, "POST", &path, "", body.as_bytes()).status, 202);
            }
            Some("exit") => process::exit(7),
            Some("abort") => process::abort(),
            Some("hang") => hang(),
            Some("print_pid_and_hang") => {
                println!("pid={}", process::id());
                hang();
            }
            Some("sleep") => {
                let ms = event["ms"].as_u64().or_else(|| first["ms"].as_u64()).unwrap();
                thread::sleep(std::time::Duration::from_millis(ms));
                respond(b"slept");
            }
            Some("size") => {
                let size = usize::try_from(event["bytes"].as_u64().unwrap()).unwrap();
                println!("status {}", respond(&vec![b' '; size]).status);
            }
            Some("child") => {
                let child = process::Command::new("sleep").arg("1000").spawn().unwrap();
                respond(child.id().to_string().as_bytes());
            }
            Some("print") => {
                println!("to standard output");
                eprintln!("to standard error");
                respond(b"");
            }
            Some("wrong_id") => {
                let path = format!("{runtime}/invocation/another/response");
                let refused = call(&address, "POST", &path, "", b"x");
                respond(format!("{} {}", refused.status, String::from_utf8(refused.body).unwrap()).as_bytes());
            }
            Some("respond_and_exit") => {
                respond(b"bye");
                process::exit(0);
            }
            _ => {
                respond(&next.body);
            }
        }
    }
}
