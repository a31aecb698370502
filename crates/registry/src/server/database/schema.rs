//! The tables.

use std::time::Duration;

use sqlx::Executor as _;

use super::{DatabaseError, Doing, Kind, Pool};

/// Of these tables. A database of a newer one is refused, an older one is brought forward here.
const VERSION: usize = MIGRATIONS.len() + 1;

/// Of version 1. Times are seconds since 1970. `repository` and `user_name` are names, which never change.
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

/// What each version adds to the one before.
const MIGRATIONS: [&[&str]; 2] = [
    // Blobs may lie elsewhere than their digest says, and repositories may be copies of another
    // registry's.
    &[
        "ALTER TABLE blobs ADD COLUMN location TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX blobs_location ON blobs (location)",
        "ALTER TABLE repositories ADD COLUMN is_copy BIGINT NOT NULL DEFAULT 0",
    ],
    // When a tag was last pulled.
    &["ALTER TABLE tags ADD COLUMN pulled_at BIGINT"],
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
    let known = found
        .parse()
        .ok()
        .filter(|found| (1..VERSION).contains(found));
    let Some(known) = known else {
        return Err(sqlx::Error::Configuration(
            format!("it is of version {found}, and this program knows {VERSION}").into(),
        ))
        .doing("use the registry's database");
    };
    // One transaction, so that it is of one version or the other whenever we are killed.
    let mut transaction = pool.begin().await.doing(making)?;
    for sql in MIGRATIONS.iter().skip(known - 1).copied().flatten() {
        transaction.execute(*sql).await.doing(making)?;
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::server::database::Database;
    use crate::server::database::audit::Deed;
    use crate::server::database::repositories::Pulls;

    #[tokio::test]
    async fn an_older_database_is_brought_forward_and_a_newer_one_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("registry.db");
        let version = |database: &Database| {
            let database = database.clone();
            async move { database.setting("version", "").await.unwrap() }
        };
        let database = Database::open(&path).await.unwrap();
        assert_eq!(version(&database).await, VERSION.to_string());
        // Back to the first version, with a tag in it.
        for sql in [
            "ALTER TABLE tags DROP COLUMN pulled_at",
            "DROP INDEX blobs_location",
            "ALTER TABLE blobs DROP COLUMN location",
            "ALTER TABLE repositories DROP COLUMN is_copy",
            "INSERT INTO repositories VALUES ('a/b', 'a', '', '', 0, 1, 1, 7)",
            "INSERT INTO manifests VALUES ('a/b', 'sha256:1', 't', '', NULL, 3, '', 1)",
            "INSERT INTO tags VALUES ('a/b', 'one', 'sha256:1', 1, 'a')",
            "INSERT INTO tags VALUES ('a/b', 'two', 'sha256:1', 1, 'a')",
            "UPDATE settings SET value = '1' WHERE name = 'version'",
        ] {
            database.writer().execute(sql).await.unwrap();
        }
        let database = Database::open(&path).await.unwrap();
        assert_eq!(version(&database).await, VERSION.to_string());
        let pulled = || async {
            let tags = database.tags("a/b", 9, 0).await.unwrap();
            tags.iter().map(|tag| tag.pulled_at).collect::<Vec<_>>()
        };
        assert_eq!(pulled().await, [None, None]);
        for (reference, at, expected) in [
            ("two", 5, [None, Some(5)]),
            ("sha256:1", 6, [Some(6), Some(6)]),
            ("one", 4, [Some(6), Some(6)]),
        ] {
            let last = HashMap::from([(reference.to_owned(), at)]);
            let pulls = HashMap::from([("a/b".to_owned(), Pulls { count: 1, last })]);
            database.add_pulls(&pulls).await.unwrap();
            assert_eq!(pulled().await, expected);
        }
        let row = database.repository("a/b").await.unwrap().unwrap();
        assert_eq!(row.pulls, 10);
        database
            .writer()
            .execute("UPDATE settings SET value = '99' WHERE name = 'version'")
            .await
            .unwrap();
        let error = Database::open(&path).await.err().unwrap();
        let text = std::error::Error::source(&error).unwrap().to_string();
        assert!(text.contains("it is of version 99"), "{text}");
    }

    #[tokio::test]
    async fn deeds_of_one_second_stay_in_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(&directory.path().join("registry.db")).await;
        let database = database.unwrap();
        for number in 0..20 {
            let deed = Deed {
                actor: "a",
                action: "repo.create",
                name: "a/b",
                detail: &number.to_string(),
            };
            database.audit(deed).await.unwrap();
        }
        let deeds = database.deeds("", 20, 0).await.unwrap();
        let told: Vec<usize> = deeds
            .iter()
            .map(|row| row.detail.parse().unwrap())
            .collect();
        assert_eq!(told, (0..20).rev().collect::<Vec<_>>());
    }
}
