//! The tables.

use sqlx::Executor as _;

use super::{DatabaseError, Doing, Pool};

/// Of these tables. A database of a newer one is refused, an older one is brought forward here.
const VERSION: i64 = 1;

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
";

/// Makes the tables that are missing.
pub(super) async fn prepare(pool: &Pool) -> Result<(), DatabaseError> {
    let making = "make the tables of the registry's database";
    pool.execute(TABLES).await.doing(making)?;
    let found = setting(pool, "version", &VERSION.to_string()).await?;
    if found != VERSION.to_string() {
        return Err(sqlx::Error::Configuration(
            format!("it is of version {found}, and this program knows {VERSION}").into(),
        ))
        .doing("use the registry's database");
    }
    Ok(())
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
