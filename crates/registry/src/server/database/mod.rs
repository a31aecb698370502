//! What the registry knows about its bytes: repositories, tags, manifests, users.
//!
//! SQLite with a write-ahead log. The SQL is what PostgreSQL understands too (numbered parameters,
//! `ON CONFLICT`, no row ids); what differs stands in this file alone.
//!
//! One connection writes, so that no transaction meets a lock; a few read. A transaction that was
//! committed is on the disk (`synchronous=FULL`): acknowledged means kept.

pub(crate) mod accounts;
pub(crate) mod blobs;
pub(crate) mod collect;
pub(crate) mod manifests;
pub(crate) mod repositories;
mod schema;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

/// The pool of connections.
pub(crate) type Pool = SqlitePool;
/// A transaction.
pub(crate) type Transaction<'a> = sqlx::Transaction<'a, sqlx::Sqlite>;

const READERS: u32 = 2;
const WAIT: Duration = Duration::from_secs(30);

/// The database did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}")]
pub(crate) struct DatabaseError {
    operation: &'static str,
    #[source]
    source: sqlx::Error,
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
    writer: Pool,
    readers: Pool,
}

impl Database {
    /// Opens the file, making it and its tables where they are missing.
    pub(crate) async fn open(path: &Path) -> Result<Self, DatabaseError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(WAIT)
            .pragma("cache_size", "-512");
        let pool = |connections| {
            SqlitePoolOptions::new()
                .min_connections(1)
                .max_connections(connections)
                .acquire_timeout(WAIT)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        let opening = "open the registry's database";
        let writer = pool(1).connect_with(options.clone()).await.doing(opening)?;
        schema::prepare(&writer).await?;
        let readers = pool(READERS).connect_with(options).await.doing(opening)?;
        Ok(Self { writer, readers })
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
        self.writer.begin().await.doing("begin a transaction")
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
