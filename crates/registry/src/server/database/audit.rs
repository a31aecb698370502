//! Rows about who did what, and when.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Database, DatabaseError, Doing};

/// Something that was done.
#[derive(Clone, Debug)]
pub(crate) struct AuditRow {
    pub(crate) at: i64,
    /// Empty is nobody known.
    pub(crate) actor: String,
    /// As Docker Hub names them, such as `repo.tag.push`.
    pub(crate) action: String,
    /// The repository, user or organisation.
    pub(crate) name: String,
    pub(crate) detail: String,
}

/// Something that is being done, to be noted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deed<'a> {
    pub(crate) actor: &'a str,
    pub(crate) action: &'a str,
    pub(crate) name: &'a str,
    pub(crate) detail: &'a str,
}

/// Notes a deed, alone or together with what it did.
pub(crate) async fn note<'e, E>(executor: E, deed: Deed<'_>) -> Result<(), DatabaseError>
where
    E: sqlx::Executor<'e, Database = sqlx::Any>,
{
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = since.unwrap_or_default();
    sqlx::query(
        "INSERT INTO audit (id, at, actor, action, name, detail) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    // Sorted as they were done, also within a second.
    .bind(format!(
        "{:020}-{}",
        since.as_nanos(),
        crate::server::random_hex::<4>()
    ))
    .bind(since.as_secs() as i64)
    .bind(deed.actor.to_owned())
    .bind(deed.action.to_owned())
    .bind(deed.name.to_owned())
    .bind(deed.detail.to_owned())
    .execute(executor)
    .await
    .doing("note who did what")?;
    Ok(())
}

impl Database {
    /// Notes a deed.
    pub(crate) async fn audit(&self, deed: Deed<'_>) -> Result<(), DatabaseError> {
        note(self.writer(), deed).await
    }

    /// What was done, the latest first, by whom or to what contains the text.
    pub(crate) async fn deeds(
        &self,
        text: &str,
        limit: i64,
        offset: i64,
    ) -> Result<Vec<AuditRow>, DatabaseError> {
        let pattern = super::containing(text);
        let rows: Vec<(i64, String, String, String, String)> = sqlx::query_as(
            "SELECT at, actor, action, name, detail FROM audit WHERE actor LIKE $1 ESCAPE '\\' \
             OR name LIKE $1 ESCAPE '\\' OR action LIKE $1 ESCAPE '\\' \
             ORDER BY at DESC, id DESC LIMIT $2 OFFSET $3",
        )
        .bind(pattern)
        .bind(limit)
        .bind(offset)
        .fetch_all(self.readers())
        .await
        .doing("list who did what")?;
        let deed = |(at, actor, action, name, detail)| AuditRow {
            at,
            actor,
            action,
            name,
            detail,
        };
        Ok(rows.into_iter().map(deed).collect())
    }

    /// Forgets what was done before then.
    pub(crate) async fn forget_deeds(&self, before: i64) -> Result<(), DatabaseError> {
        sqlx::query("DELETE FROM audit WHERE at < $1")
            .bind(before)
            .execute(self.writer())
            .await
            .doing("forget old deeds")?;
        Ok(())
    }
}
