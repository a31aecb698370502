//! What the registry knows about its bytes: repositories, tags, manifests, users.
//!
//! SQLite with a write-ahead log, or PostgreSQL. The SQL is what both understand (numbered parameters,
//! `ON CONFLICT`, no row ids); what differs stands in this file and in `schema` alone.
//!
//! Changes of several steps come one after the other: in SQLite one connection writes, in PostgreSQL a
//! lock is taken first, so that they mean the same with one process as with many. A transaction that
//! was committed is on the disk (`synchronous=FULL`): acknowledged means kept.

pub(crate) mod accounts;
pub(crate) mod audit;
pub(crate) mod blobs;
pub(crate) mod collect;
pub(crate) mod copies;
pub(crate) mod manifests;
pub(crate) mod organisations;
pub(crate) mod repositories;
mod schema;
pub(crate) mod uploads;
pub(crate) mod webhooks;

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{ConnectOptions as _, Executor as _};

/// The pool of connections.
pub(crate) type Pool = sqlx::AnyPool;
/// A transaction.
pub(crate) type Transaction<'a> = sqlx::Transaction<'a, sqlx::Any>;

const READERS: u32 = 2;
/// A server answers from elsewhere, and its answers are not kept here.
const READERS_REMOTE: u32 = 8;
const WAIT: Duration = Duration::from_secs(30);
/// For each connection to SQLite.
const SQLITE: &str = "PRAGMA busy_timeout = 30000; PRAGMA journal_mode = WAL; \
     PRAGMA synchronous = FULL; PRAGMA cache_size = -512";
/// For each to PostgreSQL: a replica that hangs in a transaction does not hold up the others for ever.
const POSTGRES: &str = "SET idle_in_transaction_session_timeout = '30s'; SET lock_timeout = '30s'";
/// Held by whoever changes something in PostgreSQL. Readers do not mind.
const POSTGRES_LOCK: &str = "LOCK TABLE settings IN EXCLUSIVE MODE";

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// The database did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}")]
pub(crate) struct DatabaseError {
    operation: &'static str,
    #[source]
    source: sqlx::Error,
}

impl DatabaseError {
    /// Whether the database's disk is full.
    pub(crate) fn is_full(&self) -> bool {
        let told = self.source.as_database_error();
        // SQLite's and PostgreSQL's words.
        told.is_some_and(|error| {
            let text = error.message();
            text.contains("disk is full") || text.contains("No space left")
        })
    }
}

/// Names what was tried.
pub(crate) trait Doing<T> {
    /// `operation` completes "cannot …".
    fn doing(self, operation: &'static str) -> Result<T, DatabaseError>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, operation: &'static str) -> Result<T, DatabaseError> {
        self.map_err(|source| DatabaseError { operation, source })
    }
}

/// The open database.
#[derive(Clone)]
pub(crate) struct Database {
    kind: Kind,
    writer: Pool,
    readers: Pool,
}

impl Database {
    /// Opens the file, making it and its tables where they are missing.
    pub(crate) async fn open(path: &Path) -> Result<Self, DatabaseError> {
        let mut url = String::from("sqlite://");
        for byte in path.as_os_str().as_encoded_bytes() {
            let is_plain = byte.is_ascii_alphanumeric() || b"/-_.".contains(byte);
            let _ = match is_plain {
                true => write!(url, "{}", char::from(*byte)),
                false => write!(url, "%{byte:02X}"),
            };
        }
        url.push_str("?mode=rwc");
        Self::connect(Kind::Sqlite, &url).await
    }

    /// Connects to a PostgreSQL server. The host in the address is an address, or a socket's directory.
    pub(crate) async fn open_postgres(url: &str) -> Result<Self, DatabaseError> {
        Self::connect(Kind::Postgres, url).await
    }

    async fn connect(kind: Kind, url: &str) -> Result<Self, DatabaseError> {
        sqlx::any::install_default_drivers();
        let opening = "open the registry's database";
        let options: AnyConnectOptions = url.parse().doing(opening)?;
        let (prelude, readers) = match kind {
            Kind::Sqlite => (SQLITE, READERS),
            Kind::Postgres => (POSTGRES, READERS_REMOTE),
        };
        let pool = |connections| {
            AnyPoolOptions::new()
                .min_connections(1)
                .max_connections(connections)
                .acquire_timeout(WAIT)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(kind == Kind::Postgres)
                .after_connect(move |connection, _| {
                    Box::pin(async move { connection.execute(prelude).await.map(drop) })
                })
        };
        let writer = match pool(1).connect_with(options.clone()).await {
            // The pool waits for a server that is just starting, and does not say why in vain.
            Err(sqlx::Error::PoolTimedOut) => match options.connect().await {
                Err(error) => Err(error),
                Ok(_) => Err(sqlx::Error::PoolTimedOut),
            },
            result => result,
        };
        let writer = writer.doing(opening)?;
        schema::prepare(&writer, kind).await?;
        let readers = pool(readers).connect_with(options).await.doing(opening)?;
        Ok(Self {
            kind,
            writer,
            readers,
        })
    }

    /// Whether others may write to it at the same time.
    pub(crate) fn is_shared(&self) -> bool {
        self.kind == Kind::Postgres
    }

    /// Reads a setting; where there is none, it becomes `first`.
    pub(crate) async fn setting(&self, name: &str, first: &str) -> Result<String, DatabaseError> {
        schema::setting(&self.writer, name, first).await
    }

    /// For questions.
    pub(crate) fn readers(&self) -> &Pool {
        &self.readers
    }

    /// For single changes.
    pub(crate) fn writer(&self) -> &Pool {
        &self.writer
    }

    /// Begins a change of several steps. Dropped without a commit, nothing of it happens.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static>, DatabaseError> {
        let doing = "begin a transaction";
        let mut transaction = self.writer.begin().await.doing(doing)?;
        if self.kind == Kind::Postgres {
            transaction.execute(POSTGRES_LOCK).await.doing(doing)?;
        }
        Ok(transaction)
    }

    /// Writes everything into the one file and closes it.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs() as i64)
}

/// A pattern for `LIKE … ESCAPE '\'` that finds the text anywhere.
pub(crate) fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}
