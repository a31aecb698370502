//! Rows about uploads to a bucket: what each has reached, and who holds it for the moment.

use super::{Database, DatabaseError, Doing, now};

/// What is written down of an upload.
#[derive(Debug)]
pub(crate) struct UploadRow<'a> {
    pub(crate) id: &'a str,
    /// The storage's.
    pub(crate) state: String,
    /// Bytes that are nowhere else yet.
    pub(crate) tail: &'a [u8],
    pub(crate) holder: &'a str,
    /// Until then nobody else takes it; 0 is now.
    pub(crate) held_until: i64,
}

impl Database {
    /// Writes a new upload down.
    pub(crate) async fn add_upload(
        &self,
        repository: &str,
        row: &UploadRow<'_>,
    ) -> Result<(), DatabaseError> {
        sqlx::query(
            "INSERT INTO uploads (id, repository, state, tail, updated_at, holder, held_until) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(row.id)
        .bind(repository)
        .bind(&row.state)
        .bind(row.tail)
        .bind(now())
        .bind(row.holder)
        .bind(row.held_until)
        .execute(self.writer())
        .await
        .doing("begin an upload")?;
        Ok(())
    }

    /// Takes an upload of a repository, unless somebody holds it (`Some(None)`).
    pub(crate) async fn take_upload(
        &self,
        id: &str,
        repository: &str,
        (holder, until): (&str, i64),
    ) -> Result<Option<Option<(String, Vec<u8>)>>, DatabaseError> {
        let doing = "take an upload";
        let taken: Option<(String, Vec<u8>)> = sqlx::query_as(
            "UPDATE uploads SET holder = $3, held_until = $4 WHERE id = $1 AND repository = $2 \
             AND held_until < $5 RETURNING state, tail",
        )
        .bind(id)
        .bind(repository)
        .bind(holder)
        .bind(until)
        .bind(now())
        .fetch_optional(self.writer())
        .await
        .doing(doing)?;
        if taken.is_some() {
            return Ok(Some(taken));
        }
        let (count,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM uploads WHERE id = $1 AND repository = $2")
                .bind(id)
                .bind(repository)
                .fetch_one(self.readers())
                .await
                .doing(doing)?;
        Ok((count > 0).then_some(None))
    }

    /// Writes down what its holder has reached. False if it is somebody else's by now, or gone.
    pub(crate) async fn save_upload(&self, row: &UploadRow<'_>) -> Result<bool, DatabaseError> {
        let saved = sqlx::query(
            "UPDATE uploads SET state = $3, tail = $4, updated_at = $5, held_until = $6 \
             WHERE id = $1 AND holder = $2",
        )
        .bind(row.id)
        .bind(row.holder)
        .bind(&row.state)
        .bind(row.tail)
        .bind(now())
        .bind(row.held_until)
        .execute(self.writer())
        .await
        .doing("note what an upload has reached")?;
        Ok(saved.rows_affected() > 0)
    }

    /// Lets go of an upload as it was last written down.
    pub(crate) async fn release_upload(&self, id: &str, holder: &str) -> Result<(), DatabaseError> {
        sqlx::query("UPDATE uploads SET held_until = 0 WHERE id = $1 AND holder = $2")
            .bind(id)
            .bind(holder)
            .execute(self.writer())
            .await
            .doing("let go of an upload")?;
        Ok(())
    }

    /// Ends an upload; its last state, if there was one.
    pub(crate) async fn remove_upload(&self, id: &str) -> Result<Option<String>, DatabaseError> {
        let row: Option<(String,)> =
            sqlx::query_as("DELETE FROM uploads WHERE id = $1 RETURNING state")
                .bind(id)
                .fetch_optional(self.writer())
                .await
                .doing("end an upload")?;
        Ok(row.map(|(state,)| state))
    }

    /// Uploads that nothing was written to since then.
    pub(crate) async fn idle_uploads(&self, before: i64) -> Result<Vec<String>, DatabaseError> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT id FROM uploads WHERE updated_at < $1 AND held_until < $2")
                .bind(before)
                .bind(now())
                .fetch_all(self.readers())
                .await
                .doing("look for old uploads")?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }
}
