//! Copies of another registry's blobs and manifests, which may go: they can be fetched again.

use types::digest::Digest;

use super::collect::MarkedBlob;
use super::{Database, DatabaseError, Doing, now};

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

/// What a manifest's rows take beside its bytes, about.
pub(crate) const ROW_BYTES: u64 = 256;

/// In a repository that is a copy.
const IS_COPIED: &str =
    "EXISTS (SELECT 1 FROM repositories p WHERE p.name = m.repository AND p.is_copy = 1)";

/// A manifest of a copy. It was last used when `pushed_at` says: nobody pushes a copy.
#[derive(Clone, Debug)]
pub(crate) struct CopiedManifest {
    repository: String,
    digest: String,
    last_used: i64,
    /// What it takes here.
    pub(crate) size: u64,
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

    /// What the manifests of all copies take.
    pub(crate) async fn copied_manifests_size(&self) -> Result<u64, DatabaseError> {
        let sql = format!(
            "SELECT CAST(COALESCE(SUM(LENGTH(m.body) + {ROW_BYTES}), 0) AS BIGINT) \
             FROM manifests m WHERE {IS_COPIED}"
        );
        let (size,): (i64,) = sqlx::query_as(&sql)
            .fetch_one(self.readers())
            .await
            .doing("measure copied manifests")?;
        Ok(size as u64)
    }

    /// Manifests that nobody asked for for longest, and not since `before`.
    pub(crate) async fn oldest_copied_manifests(
        &self,
        before: i64,
        limit: i64,
    ) -> Result<Vec<CopiedManifest>, DatabaseError> {
        let sql = format!(
            "SELECT m.repository, m.digest, m.pushed_at, CAST(LENGTH(m.body) AS BIGINT) \
             FROM manifests m WHERE m.pushed_at < $1 AND {IS_COPIED} \
             ORDER BY m.pushed_at, m.repository, m.digest LIMIT $2"
        );
        let rows: Vec<(String, String, i64, i64)> = sqlx::query_as(&sql)
            .bind(before)
            .bind(limit)
            .fetch_all(self.readers())
            .await
            .doing("list copied manifests")?;
        let row = |(repository, digest, last_used, size)| CopiedManifest {
            repository,
            digest,
            last_used,
            size: size as u64 + ROW_BYTES,
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// Forgets a copied manifest and its tags. False where somebody asked for it meanwhile, or where the
    /// repository became somebody's own.
    pub(crate) async fn forget_copied_manifest(
        &self,
        copy: &CopiedManifest,
    ) -> Result<bool, DatabaseError> {
        let doing = "forget a copied manifest";
        let mut transaction = self.begin().await?;
        let gone = sqlx::query(
            "DELETE FROM manifests WHERE repository = $1 AND digest = $2 AND pushed_at = $3 \
             AND EXISTS (SELECT 1 FROM repositories WHERE name = $1 AND is_copy = 1)",
        )
        .bind(&copy.repository)
        .bind(&copy.digest)
        .bind(copy.last_used)
        .execute(&mut *transaction)
        .await
        .doing(doing)?;
        if gone.rows_affected() == 0 {
            return Ok(false);
        }
        for sql in [
            "DELETE FROM tags WHERE repository = $1 AND digest = $2",
            "DELETE FROM manifest_blobs WHERE repository = $1 AND manifest = $2",
        ] {
            sqlx::query(sql)
                .bind(&copy.repository)
                .bind(&copy.digest)
                .execute(&mut *transaction)
                .await
                .doing(doing)?;
        }
        transaction.commit().await.doing(doing)?;
        Ok(true)
    }

    /// Notes that somebody asked for a copied manifest.
    pub(crate) async fn use_copied_manifest(
        &self,
        repository: &str,
        digest: &str,
    ) -> Result<(), DatabaseError> {
        sqlx::query(
            "UPDATE manifests SET pushed_at = $3 WHERE repository = $1 AND digest = $2 \
             AND EXISTS (SELECT 1 FROM repositories WHERE name = $1 AND is_copy = 1)",
        )
        .bind(repository)
        .bind(digest)
        .bind(now())
        .execute(self.writer())
        .await
        .doing("note the use of a copy")?;
        Ok(())
    }

    /// Forgets repositories that are copies of which nothing is left.
    pub(crate) async fn forget_empty_copies(&self) -> Result<(), DatabaseError> {
        let rest = ["manifests", "tags", "repository_blobs", "stars"].map(|table| {
            format!(
                " AND NOT EXISTS (SELECT 1 FROM {table} x WHERE x.repository = repositories.name)"
            )
        });
        let sql = format!(
            "DELETE FROM repositories WHERE is_copy = 1{}",
            rest.concat()
        );
        sqlx::query(&sql)
            .execute(self.writer())
            .await
            .doing("forget empty copies")?;
        Ok(())
    }
}
