//! Rows about manifests and tags. A manifest's bytes are a column: they, the tag that leads to them
//! and what they refer to become visible in one transaction.

use types::digest::Digest;

use super::audit::{self, Deed};
use super::{Database, DatabaseError, Doing, Transaction, now, webhooks};
use crate::server::manifest::Parsed;

/// A manifest as it was pushed.
#[derive(Clone, Debug)]
pub(crate) struct StoredManifest {
    /// Of exactly these bytes.
    pub(crate) digest: String,
    /// As pushed.
    pub(crate) media_type: String,
    /// The bytes.
    pub(crate) body: Vec<u8>,
}

/// A manifest on its way in.
#[derive(Debug)]
pub(crate) struct NewManifest<'a> {
    pub(crate) repository: &'a str,
    pub(crate) digest: &'a Digest,
    pub(crate) parsed: &'a Parsed,
    pub(crate) body: &'a [u8],
    /// Tags that shall lead to it.
    pub(crate) tags: &'a [String],
    /// Who pushes; empty is nobody known.
    pub(crate) user: &'a str,
    /// It comes from another registry, whose blobs are fetched when they are asked for.
    pub(crate) is_copy: bool,
    /// Where the pages are, for what webhooks are told.
    pub(crate) base: &'a str,
}

/// What became of a push.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is there.
    Done,
    /// Something that it refers to is not in the repository.
    Unknown(Digest),
    /// A descriptor's size is not that of the blob.
    WrongSize(Digest),
}

/// A tag, as pages list it.
#[derive(Clone, Debug)]
pub(crate) struct TagRow {
    pub(crate) name: String,
    pub(crate) digest: String,
    pub(crate) media_type: String,
    pub(crate) content_size: i64,
    pub(crate) pushed_at: i64,
    pub(crate) pushed_by: String,
    pub(crate) pulled_at: Option<i64>,
}

impl Database {
    /// Finds a manifest by digest or tag.
    pub(crate) async fn manifest(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<Option<StoredManifest>, DatabaseError> {
        // A tag has no colon, a digest always has one.
        let sql = if reference.contains(':') {
            "SELECT digest, media_type, body FROM manifests WHERE repository = $1 AND digest = $2"
        } else {
            "SELECT m.digest, m.media_type, m.body FROM tags t JOIN manifests m \
             ON m.repository = t.repository AND m.digest = t.digest \
             WHERE t.repository = $1 AND t.name = $2"
        };
        let row: Option<(String, String, Vec<u8>)> = sqlx::query_as(sql)
            .bind(repository)
            .bind(reference)
            .fetch_optional(self.readers())
            .await
            .doing("read a manifest")?;
        Ok(row.map(|(digest, media_type, body)| StoredManifest {
            digest,
            media_type,
            body,
        }))
    }

    /// Makes a manifest visible, if all that it refers to is.
    pub(crate) async fn put_manifest(
        &self,
        new: &NewManifest<'_>,
    ) -> Result<Pushed, DatabaseError> {
        let mut transaction = self.begin().await?;
        if new.is_copy && !may_be_copy(&mut transaction, new.repository).await? {
            return Ok(Pushed::Unknown(new.digest.clone()));
        }
        if !new.is_copy
            && let Some(refusal) = check(&mut transaction, new).await?
        {
            return Ok(refusal);
        }
        record(&mut transaction, new).await?;
        for tag in new.tags {
            sqlx::query(
                "INSERT INTO tags (repository, name, digest, pushed_at, pushed_by) \
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT (repository, name) \
                 DO UPDATE SET digest = $3, pushed_at = $4, pushed_by = $5",
            )
            .bind(new.repository)
            .bind(tag)
            .bind(new.digest.as_str())
            .bind(now())
            .bind(new.user)
            .execute(&mut *transaction)
            .await
            .doing("record a tag")?;
            if !new.is_copy {
                tell_of_push(&mut transaction, new, tag).await?;
            }
        }
        transaction.commit().await.doing("record a manifest")?;
        Ok(Pushed::Done)
    }

    /// The size of a blob as a manifest of this repository tells it, whether the blob is here or not.
    pub(crate) async fn named_size(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<u64>, DatabaseError> {
        let found: Option<(Vec<u8>,)> = sqlx::query_as(
            "SELECT m.body FROM manifest_blobs b JOIN manifests m \
             ON m.repository = b.repository AND m.digest = b.manifest \
             WHERE b.repository = $1 AND b.digest = $2 LIMIT 1",
        )
        .bind(repository)
        .bind(digest.as_str())
        .fetch_optional(self.readers())
        .await
        .doing("look for a manifest that names a blob")?;
        let body: serde_json::Value = found
            .and_then(|(body,)| serde_json::from_slice(&body).ok())
            .unwrap_or_default();
        let layers = body["layers"].as_array().into_iter().flatten();
        let named = layers
            .chain([&body["config"]])
            .find(|part| part["digest"].as_str() == Some(digest.as_str()));
        Ok(named.and_then(|part| part["size"].as_u64()))
    }

    /// Removes a tag. False if there is none.
    pub(crate) async fn remove_tag(
        &self,
        repository: &str,
        tag: &str,
    ) -> Result<bool, DatabaseError> {
        let gone = sqlx::query("DELETE FROM tags WHERE repository = $1 AND name = $2")
            .bind(repository)
            .bind(tag)
            .execute(self.writer())
            .await
            .doing("remove a tag")?;
        Ok(gone.rows_affected() > 0)
    }

    /// Removes a manifest and the tags that lead to it. False if there is none.
    pub(crate) async fn remove_manifest(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<bool, DatabaseError> {
        let mut transaction = self.begin().await?;
        let mut count = 0;
        for sql in [
            "DELETE FROM tags WHERE repository = $1 AND digest = $2",
            "DELETE FROM manifest_blobs WHERE repository = $1 AND manifest = $2",
            "DELETE FROM manifests WHERE repository = $1 AND digest = $2",
        ] {
            let gone = sqlx::query(sql)
                .bind(repository)
                .bind(digest.as_str())
                .execute(&mut *transaction)
                .await
                .doing("remove a manifest")?;
            count = gone.rows_affected();
        }
        transaction.commit().await.doing("remove a manifest")?;
        Ok(count > 0)
    }

    /// Names of tags after `last`, sorted as bytes are.
    pub(crate) async fn tag_names(
        &self,
        repository: &str,
        last: &str,
        limit: i64,
    ) -> Result<Vec<String>, DatabaseError> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT name FROM tags WHERE repository = $1 AND name > $2 ORDER BY name LIMIT $3",
        )
        .bind(repository)
        .bind(last)
        .bind(limit)
        .fetch_all(self.readers())
        .await
        .doing("list tags")?;
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }

    /// Tags with what pages show of them, the newest first.
    pub(crate) async fn tags(
        &self,
        repository: &str,
        limit: i64,
        offset: i64,
    ) -> Result<Vec<TagRow>, DatabaseError> {
        type Columns = (String, String, String, i64, i64, String, Option<i64>);
        let rows: Vec<Columns> = sqlx::query_as(
            "SELECT t.name, t.digest, m.media_type, m.content_size, t.pushed_at, t.pushed_by, \
             t.pulled_at FROM tags t JOIN manifests m ON m.repository = t.repository AND m.digest = t.digest \
             WHERE t.repository = $1 ORDER BY t.pushed_at DESC, t.name LIMIT $2 OFFSET $3",
        )
        .bind(repository)
        .bind(limit)
        .bind(offset)
        .fetch_all(self.readers())
        .await
        .doing("list tags")?;
        let tag = |row: Columns| {
            let (name, digest, media_type, content_size, pushed_at, pushed_by, pulled_at) = row;
            TagRow {
                name,
                digest,
                media_type,
                content_size,
                pushed_at,
                pushed_by,
                pulled_at,
            }
        };
        Ok(rows.into_iter().map(tag).collect())
    }

    /// Manifests whose subject is this digest, after the digest `last`.
    pub(crate) async fn referrers(
        &self,
        repository: &str,
        subject: &Digest,
        artifact_type: Option<&str>,
        (last, limit): (&str, i64),
    ) -> Result<Vec<StoredManifest>, DatabaseError> {
        let rows: Vec<(String, String, Vec<u8>)> = sqlx::query_as(
            "SELECT digest, media_type, body FROM manifests WHERE repository = $1 \
             AND subject = $2 AND digest > $3 AND ($4 = '' OR artifact_type = $4) \
             ORDER BY digest LIMIT $5",
        )
        .bind(repository)
        .bind(subject.as_str())
        .bind(last)
        .bind(artifact_type.unwrap_or_default())
        .bind(limit)
        .fetch_all(self.readers())
        .await
        .doing("list referrers")?;
        let manifest = |(digest, media_type, body)| StoredManifest {
            digest,
            media_type,
            body,
        };
        Ok(rows.into_iter().map(manifest).collect())
    }
}

/// Whether nobody made a repository of that name here meanwhile.
async fn may_be_copy(
    transaction: &mut Transaction<'_>,
    repository: &str,
) -> Result<bool, DatabaseError> {
    let (own,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM repositories WHERE name = $1 AND is_copy = 0")
            .bind(repository)
            .fetch_one(&mut **transaction)
            .await
            .doing("look whose a repository is")?;
    Ok(own == 0)
}

/// Notes who pushed a tag, and what webhooks shall be told: in the words of Docker Hub's.
async fn tell_of_push(
    transaction: &mut Transaction<'_>,
    new: &NewManifest<'_>,
    tag: &str,
) -> Result<(), DatabaseError> {
    let deed = Deed {
        actor: new.user,
        action: "repo.tag.push",
        name: new.repository,
        detail: &format!("{tag} {}", new.digest),
    };
    audit::note(&mut **transaction, deed).await?;
    let (namespace, name) = new
        .repository
        .rsplit_once('/')
        .unwrap_or(("", new.repository));
    let body = serde_json::json!({
        "push_data": {"pushed_at": now(), "pusher": new.user, "tag": tag,
            "digest": new.digest.as_str(), "media_type": new.parsed.media_type},
        "repository": {"name": name, "namespace": namespace, "repo_name": new.repository,
            "repo_url": format!("{}/r/{}", new.base, new.repository)},
    });
    webhooks::announce(transaction, new.repository, &body.to_string()).await
}

/// Whether all blobs and manifests that it refers to are in the repository. A blob that collection
/// has chosen is as good as gone (design, section 10).
async fn check(
    transaction: &mut Transaction<'_>,
    new: &NewManifest<'_>,
) -> Result<Option<Pushed>, DatabaseError> {
    let doing = "check what a manifest refers to";
    for blob in &new.parsed.blobs {
        let found: Option<(i64,)> = sqlx::query_as(
            "SELECT b.size FROM repository_blobs r JOIN blobs b ON b.digest = r.digest \
             WHERE r.repository = $1 AND r.digest = $2 AND b.marked_at IS NULL",
        )
        .bind(new.repository)
        .bind(blob.digest.as_str())
        .fetch_optional(&mut **transaction)
        .await
        .doing(doing)?;
        match found {
            None => return Ok(Some(Pushed::Unknown(blob.digest.clone()))),
            Some((size,)) if size as u64 != blob.size => {
                return Ok(Some(Pushed::WrongSize(blob.digest.clone())));
            }
            Some(_) => {}
        }
    }
    for child in &new.parsed.manifests {
        let found: Option<(i64,)> = sqlx::query_as(
            "SELECT content_size FROM manifests WHERE repository = $1 AND digest = $2",
        )
        .bind(new.repository)
        .bind(child.digest.as_str())
        .fetch_optional(&mut **transaction)
        .await
        .doing(doing)?;
        if found.is_none() {
            return Ok(Some(Pushed::Unknown(child.digest.clone())));
        }
    }
    Ok(None)
}

async fn record(
    transaction: &mut Transaction<'_>,
    new: &NewManifest<'_>,
) -> Result<(), DatabaseError> {
    let doing = "record a manifest";
    let namespace = new
        .repository
        .split_once('/')
        .map_or("", |(first, _)| first);
    sqlx::query(
        "INSERT INTO repositories (name, namespace, description, readme, is_private, created_at, \
         updated_at, pulls, is_copy) VALUES ($1, $2, '', '', 0, $3, $3, 0, $4) \
         ON CONFLICT (name) DO UPDATE SET updated_at = $3",
    )
    .bind(new.repository)
    .bind(namespace)
    .bind(now())
    .bind(i64::from(new.is_copy))
    .execute(&mut **transaction)
    .await
    .doing(doing)?;
    sqlx::query(
        "INSERT INTO manifests (repository, digest, media_type, artifact_type, subject, \
         content_size, body, pushed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (repository, digest) DO UPDATE SET media_type = $3, pushed_at = $8",
    )
    .bind(new.repository)
    .bind(new.digest.as_str())
    .bind(new.parsed.media_type.as_str())
    .bind(new.parsed.artifact_type.as_str())
    .bind(new.parsed.subject.as_ref().map(Digest::as_str))
    .bind(new.parsed.content_size() as i64)
    .bind(new.body)
    .bind(now())
    .execute(&mut **transaction)
    .await
    .doing(doing)?;
    for blob in &new.parsed.blobs {
        sqlx::query(
            "INSERT INTO manifest_blobs (repository, manifest, digest) VALUES ($1, $2, $3) \
             ON CONFLICT DO NOTHING",
        )
        .bind(new.repository)
        .bind(new.digest.as_str())
        .bind(blob.digest.as_str())
        .execute(&mut **transaction)
        .await
        .doing(doing)?;
    }
    Ok(())
}
