//! Copies of another registry's blobs, which may go: they can be fetched again.

use types::digest::Digest;

use super::collect::MarkedBlob;
use super::{Database, DatabaseError, Doing};

/// A blob that repositories of this registry's own people neither show nor name, and collection has not chosen.
const IS_COPY: &str = "b.marked_at IS NULL \
     AND EXISTS (SELECT 1 FROM repository_blobs r WHERE r.digest = b.digest) \
     AND NOT EXISTS (SELECT 1 FROM repository_blobs r WHERE r.digest = b.digest AND NOT EXISTS \
     (SELECT 1 FROM repositories p WHERE p.name = r.repository AND p.is_copy = 1)) \
     AND NOT EXISTS (SELECT 1 FROM manifest_blobs m WHERE m.digest = b.digest AND NOT EXISTS \
     (SELECT 1 FROM repositories p WHERE p.name = m.repository AND p.is_copy = 1))";

/// A copy, and when it was last used.
#[derive(Clone, Debug)]
pub(crate) struct CopiedBlob {
    pub(crate) blob: MarkedBlob,
    pub(crate) last_used: i64,
}

impl Database {
    /// The bytes of all copies.
    pub(crate) async fn copies_size(&self) -> Result<u64, DatabaseError> {
        let sql =
            format!("SELECT CAST(COALESCE(SUM(b.size), 0) AS BIGINT) FROM blobs b WHERE {IS_COPY}");
        let (size,): (i64,) = sqlx::query_as(&sql)
            .fetch_one(self.readers())
            .await
            .doing("measure copies")?;
        Ok(size as u64)
    }

    /// Those that nobody used for longest, and not since `before`.
    pub(crate) async fn oldest_copies(
        &self,
        before: i64,
        limit: i64,
    ) -> Result<Vec<CopiedBlob>, DatabaseError> {
        let sql = format!(
            "SELECT b.digest, b.size, b.location, b.last_used FROM blobs b \
             WHERE b.last_used < $1 AND {IS_COPY} ORDER BY b.last_used, b.digest LIMIT $2"
        );
        let rows: Vec<(String, i64, String, i64)> = sqlx::query_as(&sql)
            .bind(before)
            .bind(limit)
            .fetch_all(self.readers())
            .await
            .doing("list copies")?;
        let parse = |(digest, size, location, last_used): (String, i64, String, i64)| {
            let blob = MarkedBlob {
                digest: Digest::parse(&digest).ok()?,
                size: size as u64,
                location,
            };
            Some(CopiedBlob { blob, last_used })
        };
        Ok(rows.into_iter().filter_map(parse).collect())
    }

    /// Forgets a copy's bytes; manifests go on naming it, and it is fetched again when somebody asks.
    /// False where it was used meanwhile, which everything that makes it more than a copy does too.
    pub(crate) async fn forget_copy(&self, copy: &CopiedBlob) -> Result<bool, DatabaseError> {
        self.delete_blob(&copy.blob, Some(copy.last_used)).await
    }
}
