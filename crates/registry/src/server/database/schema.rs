//! The tables.

use std::time::Duration;

use sqlx::Executor as _;

use super::{DatabaseError, Doing, Kind, Pool};

/// Of these tables. A database of a newer one is refused, an older one is brought forward here.
const VERSION: i64 = 2;

/// Times are seconds since 1970. `repository` and `user_name` are names, which never change.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS users (
    name TEXT PRIMARY KEY, password TEXT NOT NULL, is_admin BIGINT NOT NULL,
    created_at BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS repositories (
    name TEXT PRIMARY KEY, namespace TEXT NOT NULL, description TEXT NOT NULL, readme TEXT NOT NULL,
    is_private BIGINT NOT NULL, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL,
    pulls BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS members (
    repository TEXT NOT NULL, user_name TEXT NOT NULL, role TEXT NOT NULL,
    PRIMARY KEY (repository, user_name));
CREATE TABLE IF NOT EXISTS blobs (
    digest TEXT PRIMARY KEY, size BIGINT NOT NULL, last_used BIGINT NOT NULL, marked_at BIGINT);
CREATE TABLE IF NOT EXISTS repository_blobs (
    repository TEXT NOT NULL, digest TEXT NOT NULL, last_used BIGINT NOT NULL,
    PRIMARY KEY (repository, digest));
CREATE INDEX IF NOT EXISTS repository_blobs_digest ON repository_blobs (digest);
CREATE TABLE IF NOT EXISTS manifests (
    repository TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL,
    artifact_type TEXT NOT NULL, subject TEXT, content_size BIGINT NOT NULL, body BLOB NOT NULL,
    pushed_at BIGINT NOT NULL, PRIMARY KEY (repository, digest));
CREATE INDEX IF NOT EXISTS manifests_subject ON manifests (repository, subject, digest);
CREATE TABLE IF NOT EXISTS manifest_blobs (
    repository TEXT NOT NULL, manifest TEXT NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (repository, manifest, digest));
CREATE INDEX IF NOT EXISTS manifest_blobs_digest ON manifest_blobs (digest, repository);
CREATE TABLE IF NOT EXISTS tags (
    repository TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, pushed_at BIGINT NOT NULL,
    pushed_by TEXT NOT NULL, PRIMARY KEY (repository, name));
CREATE INDEX IF NOT EXISTS tags_digest ON tags (repository, digest);
CREATE TABLE IF NOT EXISTS sessions (
    hash TEXT PRIMARY KEY, user_name TEXT NOT NULL, expires_at BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS tokens (
    hash TEXT PRIMARY KEY, id TEXT NOT NULL, user_name TEXT NOT NULL, description TEXT NOT NULL,
    scope TEXT NOT NULL, created_at BIGINT NOT NULL, expires_at BIGINT, used_at BIGINT);
CREATE INDEX IF NOT EXISTS tokens_user ON tokens (user_name);
CREATE TABLE IF NOT EXISTS organisations (
    name TEXT PRIMARY KEY, description TEXT NOT NULL, created_at BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS organisation_members (
    organisation TEXT NOT NULL, user_name TEXT NOT NULL, role TEXT NOT NULL,
    PRIMARY KEY (organisation, user_name));
CREATE INDEX IF NOT EXISTS organisation_members_user ON organisation_members (user_name);
CREATE TABLE IF NOT EXISTS stars (
    repository TEXT NOT NULL, user_name TEXT NOT NULL, PRIMARY KEY (repository, user_name));
CREATE TABLE IF NOT EXISTS webhooks (
    id TEXT PRIMARY KEY, repository TEXT NOT NULL, url TEXT NOT NULL, secret TEXT NOT NULL,
    created_at BIGINT NOT NULL);
CREATE INDEX IF NOT EXISTS webhooks_repository ON webhooks (repository);
CREATE TABLE IF NOT EXISTS deliveries (
    id TEXT PRIMARY KEY, webhook TEXT NOT NULL, body TEXT NOT NULL, created_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL, next_at BIGINT, outcome TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS deliveries_next ON deliveries (next_at);
CREATE INDEX IF NOT EXISTS deliveries_webhook ON deliveries (webhook, created_at);
CREATE TABLE IF NOT EXISTS audit (
    id TEXT PRIMARY KEY, at BIGINT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
    name TEXT NOT NULL, detail TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS audit_at ON audit (at, id);
CREATE TABLE IF NOT EXISTS uploads (
    id TEXT PRIMARY KEY, repository TEXT NOT NULL, state TEXT NOT NULL, tail BLOB NOT NULL,
    updated_at BIGINT NOT NULL, holder TEXT NOT NULL, held_until BIGINT NOT NULL);
";

/// From version 1: blobs may lie elsewhere than their digest says, and repositories may be copies of
/// another registry's.
const SECOND: [&str; 3] = [
    "ALTER TABLE blobs ADD COLUMN location TEXT NOT NULL DEFAULT ''",
    "CREATE INDEX blobs_location ON blobs (location)",
    "ALTER TABLE repositories ADD COLUMN is_copy BIGINT NOT NULL DEFAULT 0",
];

/// The same in PostgreSQL's words. Names sort as bytes do, as clients page through them.
fn tables(kind: Kind) -> String {
    match kind {
        Kind::Sqlite => TABLES.to_owned(),
        Kind::Postgres => TABLES
            .replace(" TEXT", " TEXT COLLATE \"C\"")
            .replace(" BLOB", " BYTEA"),
    }
}

/// Replicas that start at once make the same tables; whoever comes second tries again.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(300);

/// Makes the tables that are missing, and brings an older database forward.
pub(super) async fn prepare(pool: &Pool, kind: Kind) -> Result<(), DatabaseError> {
    let mut tries = 1;
    loop {
        match bring_forward(pool, kind).await {
            Err(_) if kind == Kind::Postgres && tries < TRIES => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}

async fn bring_forward(pool: &Pool, kind: Kind) -> Result<(), DatabaseError> {
    let making = "make the tables of the registry's database";
    pool.execute(tables(kind).as_str()).await.doing(making)?;
    let found = setting(pool, "version", "1").await?;
    if found == VERSION.to_string() {
        return Ok(());
    }
    if found != "1" {
        return Err(sqlx::Error::Configuration(
            format!("it is of version {found}, and this program knows {VERSION}").into(),
        ))
        .doing("use the registry's database");
    }
    // One transaction, so that it is of one version or the other whenever we are killed.
    let mut transaction = pool.begin().await.doing(making)?;
    for sql in SECOND {
        transaction.execute(sql).await.doing(making)?;
    }
    sqlx::query("UPDATE settings SET value = $1 WHERE name = 'version'")
        .bind(VERSION.to_string())
        .execute(&mut *transaction)
        .await
        .doing(making)?;
    transaction.commit().await.doing(making)
}

/// Reads a setting; where there is none, it becomes `first`.
pub(super) async fn setting(pool: &Pool, name: &str, first: &str) -> Result<String, DatabaseError> {
    let reading = "read the registry's settings";
    sqlx::query("INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(name)
        .bind(first)
        .execute(pool)
        .await
        .doing(reading)?;
    let (value,): (String,) = sqlx::query_as("SELECT value FROM settings WHERE name = $1")
        .bind(name)
        .fetch_one(pool)
        .await
        .doing(reading)?;
    Ok(value)
}
