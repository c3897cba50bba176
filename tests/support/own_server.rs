//! A server that a test starts for itself, because it is to be stopped in the middle.

use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Command, Stdio};

/// The folder of the scripts that start servers.
const SERVICES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/services");

/// Removes what the scripts leave of a server: its folder, its lock and its database's files.
const REMOVE: &str = r#"source "$0/../environment.sh"
cd "${BASE:-$TIDELOCK_CACHE/services}" && rm -rf --one-file-system "$1-$2" "$1-$2.lock" debian-*/var/lib/"tidelock-$2""#;

/// A server on a port of its own. It is stopped, and its data removed, with this value.
pub(crate) struct OwnServer {
    service: &'static str,
    port: String,
    /// Where it answers.
    pub(crate) url: String,
}

impl OwnServer {
    /// Started by `scripts/services/SERVICE.sh` on one of these ports.
    pub(crate) async fn start(service: &'static str, ports: RangeInclusive<u16>) -> Self {
        // A port that was free may be taken by the time the server wants it.
        for _ in 0..2 {
            let mut server = Self { service, port: free_port(ports.clone()), url: String::new() };
            match server.tried("fresh").await {
                Ok(url) => {
                    server.url = url;
                    return server;
                }
                Err(why) => eprintln!("{service} on port {}: {why}", server.port),
            }
        }
        let mut server = Self { service, port: free_port(ports), url: String::new() };
        server.url = server.run("fresh").await;
        server
    }

    /// Ends its process; what it has stored stays.
    pub(crate) async fn stop(&self) {
        self.run("stop").await;
    }

    /// Starts it again with what it had stored; returns when it answers.
    pub(crate) async fn up(&self) {
        assert_eq!(self.run("up").await, self.url);
    }

    async fn run(&self, action: &str) -> String {
        self.tried(action).await.unwrap_or_else(|why| panic!("{action}: {why}"))
    }

    async fn tried(&self, action: &str) -> Result<String, String> {
        let mut command = self.command(action);
        let ran = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output().unwrap()).await.unwrap();
        let said = String::from_utf8(ran.stdout).unwrap();
        match ran.status.success() {
            true => Ok(said.trim().to_owned()),
            false => Err(format!("{}{said}", String::from_utf8_lossy(&ran.stderr))),
        }
    }

    fn command(&self, action: &str) -> Command {
        let script = format!("{SERVICES}/{}.sh", self.service);
        assert!(Path::new(&script).is_file(), "{script}");
        let mut command = Command::new(script);
        command.args([action, &self.port]).env("HEAP", "512m");
        command
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let _ = self.command("stop").output();
        let _ = Command::new("bash").args(["-c", REMOVE, SERVICES, self.service, &self.port]).output();
    }
}

/// A port on which nobody listens, not always the same one: another run may be looking for one, too.
fn free_port(ports: RangeInclusive<u16>) -> String {
    let mut ports: Vec<u16> = ports.collect();
    fastrand::shuffle(&mut ports);
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.into_iter().find(is_free).expect("a free port").to_string()
}
