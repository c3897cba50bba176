//! The client: built at first use, and anew when the server has refused the login.

use crate::config::{Access, Address};
use crate::error::Trouble;
use crate::login::{Credentials, Login};
use mongodb::Client;
use mongodb::bson::doc;
use std::cell::{Cell, RefCell};
use std::future::IntoFuture as _;
use std::time::{Duration, Instant};
use tidelock_core::cause::{Cause, Failure};
use tokio::sync::Mutex;

/// How long a writable server is looked for, so that the error comes well before the function's time is over.
const SERVER_SELECTION: Duration = Duration::from_secs(5);

/// A client, and which one it is.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    /// Grows with each new login.
    pub(crate) generation: u64,
    has_login: bool,
}

#[derive(Debug)]
pub(crate) struct Connector<C> {
    pub(crate) address: Address,
    credentials: C,
    current: Mutex<Option<Connection>>,
    /// Every login there has been, to keep their passwords out of messages.
    logins: RefCell<Vec<Login>>,
    /// The server has turned read concern `majority` down.
    pub(crate) no_majority_reads: Cell<bool>,
}

impl<C: Credentials> Connector<C> {
    pub(crate) fn new<'a>(access: impl Into<Access<'a>>, credentials: C) -> Result<Self, Vec<String>> {
        Ok(Self {
            address: Address::new(access)?,
            credentials,
            current: Mutex::new(None),
            logins: RefCell::default(),
            no_majority_reads: Cell::new(false),
        })
    }

    /// The client in use, built if there is none yet.
    pub(crate) async fn connection(&self, limit: Instant) -> Result<Connection, Trouble> {
        let mut current = self.current.lock().await;
        if let Some(connection) = current.as_ref() {
            return Ok(connection.clone());
        }
        let connection = self.build(false, 0, limit).await?;
        Ok(current.insert(connection).clone())
    }

    /// Takes the login of connection `refused` as outdated: the next connection uses one that is read anew.
    ///
    /// `false` when there is no other login to be had.
    pub(crate) async fn refresh(&self, refused: u64, limit: Instant) -> Result<bool, Trouble> {
        let mut current = self.current.lock().await;
        if current.as_ref().is_some_and(|connection| connection.generation != refused) {
            return Ok(true);
        }
        let connection = self.build(true, refused + 1, limit).await?;
        let other = connection.has_login;
        if other {
            *current = Some(connection);
        }
        Ok(other)
    }

    async fn build(&self, refresh: bool, generation: u64, limit: Instant) -> Result<Connection, Trouble> {
        let left = limit.saturating_duration_since(Instant::now());
        // A client outlives the invocation, so that one with little time left must not make it impatient for good.
        let selection = SERVER_SELECTION.min(left.mul_f64(0.6)).max(Duration::from_millis(500));
        let building = async {
            let login = if self.address.wants_no_login() {
                None
            } else {
                let unreadable =
                    |why| Trouble::new(Cause::Unauthenticated, format!("the secret cannot be read: {why}"));
                self.credentials.login(refresh).await.map_err(unreadable)?
            };
            if login.is_none() && self.address.needs_login() {
                let text = "TIDELOCK_TARGET_AUTH is basic, but neither the secret nor TIDELOCK_TARGET names a user";
                return Err(Trouble::new(Cause::Unauthenticated, text));
            }
            let has_login = login.is_some();
            let options = self.address.options(login.as_ref(), selection).await;
            self.remember(login);
            let client = options.and_then(Client::with_options).map_err(|error| Trouble::of_driver(&error))?;
            Ok(Connection { client, generation, has_login })
        };
        match tokio::time::timeout_at(limit.into(), building).await {
            Ok(built) => built,
            Err(_) => Err(Trouble::new(Cause::TimedOut, "the login or the servers' names could not be had in time")),
        }
    }

    pub(crate) async fn ping(&self, deadline: Instant) -> Result<(), Failure> {
        let mut refreshed = false;
        loop {
            let connection = self.connection(deadline).await.map_err(|trouble| self.failure(&trouble))?;
            let database = connection.client.database("admin");
            let trouble =
                match tokio::time::timeout_at(deadline.into(), database.run_command(doc! {"ping": 1}).into_future())
                    .await
                {
                    Ok(Ok(_)) => return Ok(()),
                    Ok(Err(error)) => Trouble::of_driver(&error),
                    Err(_) => Trouble::new(Cause::TimedOut, "no answer in time"),
                };
            let outdated = trouble.is_refused_login() && !refreshed;
            refreshed = true;
            if !outdated
                || !self.refresh(connection.generation, deadline).await.map_err(|trouble| self.failure(&trouble))?
            {
                return Err(self.failure(&trouble));
            }
        }
    }

    /// The failure, its detail with the servers' names and without passwords.
    pub(crate) fn failure(&self, trouble: &Trouble) -> Failure {
        self.describe(trouble.cause(), &trouble.text)
    }

    pub(crate) fn describe(&self, cause: Cause, text: &str) -> Failure {
        let text = format!("{}: {text}", self.address.hosts);
        Failure::new(cause, self.address.without_passwords(&text, &self.logins.borrow()))
    }

    fn remember(&self, login: Option<Login>) {
        let mut logins = self.logins.borrow_mut();
        if let Some(login) = login.filter(|login| !logins.contains(login)) {
            logins.push(login);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MongoDbConfig;
    use tidelock_core::settings::{Auth, Secret};

    struct Counting<'a>(&'a Cell<u32>);

    impl Credentials for Counting<'_> {
        async fn login(&self, _refresh: bool) -> Result<Option<Login>, String> {
            self.0.set(self.0.get() + 1);
            Ok(Some(Login { username: "user".to_owned(), password: Secret::new(format!("password-{}", self.0.get())) }))
        }
    }

    #[test]
    fn a_login_is_read_anew_once_for_all_who_were_refused() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let uri = Secret::new("mongodb://127.0.0.1:9/d");
            let config = MongoDbConfig {
                uri,
                auth: Auth::Auto,
                ca_file: None,
                bulk_bytes: 1,
                in_flight: 1,
                fences: true,
                guards: true,
                databases: Vec::new(),
            };
            let asked = Cell::new(0);
            let connector = Connector::new(&config, Counting(&asked)).expect("valid settings");
            let limit = Instant::now() + Duration::from_secs(10);
            for _ in 0..2 {
                assert_eq!(connector.connection(limit).await.expect("a client").generation, 0);
            }
            for _ in 0..2 {
                assert_eq!(connector.refresh(0, limit).await, Ok(true));
                assert_eq!(connector.connection(limit).await.expect("a client").generation, 1);
            }
            assert_eq!(asked.get(), 2);
            let failure = connector.describe(Cause::Unavailable, "password-1 password-2 words");
            assert_eq!(failure.detail, "127.0.0.1:9: *** *** words", "both passwords are known");
        });
    }
}
