//! Rows about blobs: which there are, and which repositories show them.

use types::digest::Digest;

use super::{Database, DatabaseError, Doing, now};

/// A blob that a repository shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlobRow {
    /// Its bytes.
    pub(crate) size: u64,
    /// When it was last asked for, uploaded or mounted, or noted as such.
    pub(crate) last_used: i64,
    /// Collection has chosen it; its bytes go soon.
    pub(crate) is_marked: bool,
    /// Where its bytes are, as the storage said; empty where the digest says it.
    pub(crate) location: String,
}

impl Database {
    /// The blob, if this repository shows it.
    pub(crate) async fn blob(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<BlobRow>, DatabaseError> {
        let row: Option<(i64, i64, Option<i64>, String)> = sqlx::query_as(
            "SELECT b.size, r.last_used, b.marked_at, b.location FROM repository_blobs r \
             JOIN blobs b ON b.digest = r.digest WHERE r.repository = $1 AND r.digest = $2",
        )
        .bind(repository)
        .bind(digest.as_str())
        .fetch_optional(self.readers())
        .await
        .doing("look for a blob")?;
        Ok(row.map(|(size, last_used, marked_at, location)| BlobRow {
            size: size as u64,
            last_used,
            is_marked: marked_at.is_some(),
            location,
        }))
    }

    /// Notes that a blob's bytes are there, and that this repository shows it. Returns where they are
    /// from now on: elsewhere, if the same bytes were there already.
    pub(crate) async fn add_blob(
        &self,
        repository: &str,
        digest: &Digest,
        (size, location): (u64, &str),
    ) -> Result<String, DatabaseError> {
        let doing = "record a blob";
        let mut transaction = self.begin().await?;
        // One that collection has chosen may lose its bytes this moment: these take their place.
        let (kept,): (String,) = sqlx::query_as(
            "INSERT INTO blobs (digest, size, last_used, marked_at, location) \
             VALUES ($1, $2, $3, NULL, $4) ON CONFLICT (digest) DO UPDATE SET last_used = $3, \
             location = CASE WHEN blobs.marked_at IS NULL THEN blobs.location ELSE $4 END, \
             marked_at = NULL RETURNING location",
        )
        .bind(digest.as_str())
        .bind(size as i64)
        .bind(now())
        .bind(location)
        .fetch_one(&mut *transaction)
        .await
        .doing(doing)?;
        show(&mut transaction, repository, digest).await?;
        transaction.commit().await.doing(doing)?;
        Ok(kept)
    }

    /// Makes a blob visible in one more repository, if it is there and not chosen by collection.
    pub(crate) async fn mount_blob(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<bool, DatabaseError> {
        let doing = "mount a blob";
        let mut transaction = self.begin().await?;
        let touched =
            sqlx::query("UPDATE blobs SET last_used = $2 WHERE digest = $1 AND marked_at IS NULL")
                .bind(digest.as_str())
                .bind(now())
                .execute(&mut *transaction)
                .await
                .doing(doing)?;
        if touched.rows_affected() == 0 {
            return Ok(false);
        }
        show(&mut transaction, repository, digest).await?;
        transaction.commit().await.doing(doing)?;
        Ok(true)
    }

    /// Keeps a blob from collection for another grace. False if it was chosen already.
    pub(crate) async fn touch_blob(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<bool, DatabaseError> {
        self.mount_blob(repository, digest).await
    }

    /// Takes a blob out of a repository. False if it was not there.
    pub(crate) async fn hide_blob(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<bool, DatabaseError> {
        let gone =
            sqlx::query("DELETE FROM repository_blobs WHERE repository = $1 AND digest = $2")
                .bind(repository)
                .bind(digest.as_str())
                .execute(self.writer())
                .await
                .doing("remove a blob from a repository")?;
        Ok(gone.rows_affected() > 0)
    }

    /// Repositories that show a blob, a few of them.
    pub(crate) async fn repositories_of_blob(
        &self,
        digest: &Digest,
        limit: i64,
    ) -> Result<Vec<String>, DatabaseError> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT repository FROM repository_blobs WHERE digest = $1 ORDER BY repository LIMIT $2",
        )
        .bind(digest.as_str())
        .bind(limit)
        .fetch_all(self.readers())
        .await
        .doing("look for a blob's repositories")?;
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }
}

async fn show(
    transaction: &mut super::Transaction<'_>,
    repository: &str,
    digest: &Digest,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO repository_blobs (repository, digest, last_used) VALUES ($1, $2, $3) \
         ON CONFLICT (repository, digest) DO UPDATE SET last_used = $3",
    )
    .bind(repository)
    .bind(digest.as_str())
    .bind(now())
    .execute(&mut **transaction)
    .await
    .doing("show a blob in a repository")?;
    Ok(())
}
