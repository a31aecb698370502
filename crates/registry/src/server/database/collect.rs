//! The database's part of collection (design, section 10): what nothing needs is marked after a
//! grace, in one transaction, and removed after a second one.

use types::digest::Digest;

use super::{Database, DatabaseError, Doing, now};
use crate::server::storage::Stored;

/// What the registry holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) blobs: i64,
    pub(crate) bytes: i64,
    pub(crate) repositories: i64,
    pub(crate) tags: i64,
    pub(crate) users: i64,
    /// Blobs that collection has chosen.
    pub(crate) marked: i64,
}

/// A blob that collection has chosen.
#[derive(Clone, Debug)]
pub(crate) struct MarkedBlob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) location: String,
}

impl Database {
    /// Marks blobs that no manifest refers to and nobody used since `before`, and takes away
    /// repositories' leave to show what they do not refer to. Returns how many were marked.
    pub(crate) async fn mark(&self, before: i64) -> Result<u64, DatabaseError> {
        let doing = "mark unused blobs";
        let mut transaction = self.begin().await?;
        sqlx::query(
            "DELETE FROM repository_blobs WHERE last_used < $1 AND NOT EXISTS (SELECT 1 FROM \
             manifest_blobs m WHERE m.digest = repository_blobs.digest \
             AND m.repository = repository_blobs.repository)",
        )
        .bind(before)
        .execute(&mut *transaction)
        .await
        .doing(doing)?;
        let marked = sqlx::query(
            "UPDATE blobs SET marked_at = $2 WHERE marked_at IS NULL AND last_used < $1 \
             AND NOT EXISTS (SELECT 1 FROM manifest_blobs m WHERE m.digest = blobs.digest)",
        )
        .bind(before)
        .bind(now())
        .execute(&mut *transaction)
        .await
        .doing(doing)?;
        transaction.commit().await.doing(doing)?;
        Ok(marked.rows_affected())
    }

    /// Blobs that were marked before then, a batch of them.
    pub(crate) async fn marked(
        &self,
        before: i64,
        limit: i64,
    ) -> Result<Vec<MarkedBlob>, DatabaseError> {
        let rows: Vec<(String, i64, String)> = sqlx::query_as(
            "SELECT digest, size, location FROM blobs WHERE marked_at < $1 ORDER BY digest LIMIT $2",
        )
        .bind(before)
        .bind(limit)
        .fetch_all(self.readers())
        .await
        .doing("list marked blobs")?;
        let parse = |(digest, size, location): (String, i64, String)| {
            Some(MarkedBlob {
                digest: Digest::parse(&digest).ok()?,
                size: size as u64,
                location,
            })
        };
        Ok(rows.into_iter().filter_map(parse).collect())
    }

    /// Forgets a blob that is still marked. False if an upload brought it back meanwhile.
    pub(crate) async fn forget_blob(&self, blob: &MarkedBlob) -> Result<bool, DatabaseError> {
        self.delete_blob(blob, None).await
    }

    /// Deletes a blob's row and what says which repositories have it, if it is as it was when it was listed: last
    /// used then, or, without a time, marked. Whether it was.
    pub(super) async fn delete_blob(
        &self,
        blob: &MarkedBlob,
        last_used: Option<i64>,
    ) -> Result<bool, DatabaseError> {
        let doing = "forget a blob";
        let mut transaction = self.begin().await?;
        let as_it_was = match last_used {
            Some(_) => "last_used = $3 AND marked_at IS NULL",
            None => "marked_at IS NOT NULL",
        };
        let sql = format!("DELETE FROM blobs WHERE digest = $1 AND location = $2 AND {as_it_was}");
        let mut query = sqlx::query(&sql)
            .bind(blob.digest.as_str())
            .bind(&blob.location);
        if let Some(last_used) = last_used {
            query = query.bind(last_used);
        }
        let gone = query.execute(&mut *transaction).await.doing(doing)?;
        if gone.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query("DELETE FROM repository_blobs WHERE digest = $1")
            .bind(blob.digest.as_str())
            .execute(&mut *transaction)
            .await
            .doing(doing)?;
        transaction.commit().await.doing(doing)?;
        Ok(true)
    }

    /// Whether a row leads to these bytes: by their digest, or where they lie.
    pub(crate) async fn knows_stored(&self, stored: &Stored) -> Result<bool, DatabaseError> {
        let (sql, value) = match stored {
            Stored::Digest(digest) => (
                "SELECT COUNT(*) FROM blobs WHERE digest = $1",
                digest.as_str(),
            ),
            Stored::Location(location) => (
                "SELECT COUNT(*) FROM blobs WHERE location = $1",
                location.as_str(),
            ),
        };
        let (count,): (i64,) = sqlx::query_as(sql)
            .bind(value)
            .fetch_one(self.readers())
            .await
            .doing("look for a blob")?;
        Ok(count > 0)
    }

    /// What there is.
    pub(crate) async fn usage(&self) -> Result<Usage, DatabaseError> {
        let (blobs, bytes, repositories, tags, users, marked): (i64, i64, i64, i64, i64, i64) =
            sqlx::query_as(
                "SELECT (SELECT COUNT(*) FROM blobs), \
                 (SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM blobs), \
                 (SELECT COUNT(*) FROM repositories), (SELECT COUNT(*) FROM tags), \
                 (SELECT COUNT(*) FROM users), \
                 (SELECT COUNT(*) FROM blobs WHERE marked_at IS NOT NULL)",
            )
            .fetch_one(self.readers())
            .await
            .doing("measure the registry")?;
        Ok(Usage {
            blobs,
            bytes,
            repositories,
            tags,
            users,
            marked,
        })
    }
}
