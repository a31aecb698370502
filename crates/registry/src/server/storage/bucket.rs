//! Bytes in a bucket of S3, which several registries share.
//!
//! An upload's place in the bucket is its own from its beginning, and stays the blob's: `blobs/<first two
//! digits of its id>/<id>`. Which digest is where is known to the database, so that removing one
//! place never meets somebody who is about to use it. What an upload has reached (its parts in S3, the
//! bytes that do not make a part yet, the state of its hash) is a row: any registry takes the next chunk.
//! Whoever writes to an upload holds it for a while by name; whoever is killed holds it no longer
//! than that.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http_body_util::BodyExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore as _, ObjectStoreExt as _, PutPayload};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use types::digest::{Algorithm, Digest};

use super::hash::Hasher;
use super::{StorageError, Stored};
use crate::server::database::uploads::UploadRow;
use crate::server::database::{Database, now};

mod http;

/// A part of S3's multipart upload; 10,000 of them are allowed, and none but the last below 5 MiB.
const PART_BYTES: usize = 8 << 20;
/// Parts that are gathered in memory at once.
const GATHERING_MAX: usize = 16;
/// For so long an upload is its holder's without another word.
const HOLD_SECONDS: i64 = 15;
/// How long a request waits for another that writes to the same upload, dead or alive.
const BUSY_WAIT: Duration = Duration::from_secs(20);
const BUSY_PAUSE: Duration = Duration::from_millis(200);
/// What has a place and no row may be about to get one.
const STRAY_AGE_MIN: Duration = Duration::from_secs(600);

/// The bucket did not do what was asked.
fn failed(operation: &'static str) -> impl Fn(object_store::Error) -> StorageError {
    move |error| super::io(operation)(std::io::Error::other(error))
}

/// A bucket, or a folder in one.
pub(crate) struct Bucket {
    store: AmazonS3,
    prefix: String,
    database: Database,
    limit: u64,
    gathering: Arc<Semaphore>,
}

/// What an upload has reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    offset: u64,
    hasher: Hasher,
    /// S3's name of the upload of parts, once there is one.
    multipart: Option<String>,
    parts: Vec<String>,
}

impl Bucket {
    /// Opens `s3://bucket/prefix`. Keys, region and another endpoint than Amazon's come from the
    /// environment, as every program of S3 reads them.
    pub(crate) fn open(url: &str, database: Database, limit: u64) -> Result<Self, StorageError> {
        let rest = url.strip_prefix("s3://").unwrap_or(url);
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]
            .iter()
            .find_map(|name| std::env::var(name).ok());
        let endpoint = endpoint.unwrap_or_default();
        let store = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            // Whoever writes `http:` in the environment means it.
            .with_allow_http(endpoint.starts_with("http://"))
            .with_http_connector(http::Connector)
            .build()
            .map_err(failed("open the bucket"))?;
        Ok(Self {
            store,
            prefix: prefix.trim_matches('/').to_owned(),
            database,
            limit,
            gathering: Arc::new(Semaphore::new(GATHERING_MAX)),
        })
    }

    fn path(&self, location: &str) -> Path {
        let shard = location.get(..2).unwrap_or_default();
        Path::from(format!("{}/blobs/{shard}/{location}", self.prefix))
    }

    /// Begins an upload.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        id: &str,
        repository: &str,
        algorithm: Algorithm,
    ) -> Result<Box<Session>, StorageError> {
        let state = State {
            offset: 0,
            hasher: Hasher::new(algorithm),
            multipart: None,
            parts: Vec::new(),
        };
        let session = self.session(id, state, Vec::new());
        let row = session.row();
        self.database.add_upload(repository, &row).await?;
        Ok(session)
    }

    fn session(self: &Arc<Self>, id: &str, state: State, tail: Vec<u8>) -> Box<Session> {
        Box::new(Session {
            bucket: self.clone(),
            id: id.to_owned(),
            holder: crate::server::random_hex::<16>(),
            state,
            tail,
            is_held: true,
        })
    }

    /// Finds an upload and waits until it is ours.
    pub(crate) async fn resume(
        self: &Arc<Self>,
        id: &str,
        repository: &str,
    ) -> Result<Box<Session>, StorageError> {
        let empty = State {
            offset: 0,
            hasher: Hasher::new(Algorithm::Sha256),
            multipart: None,
            parts: Vec::new(),
        };
        let mut session = self.session(id, empty, Vec::new());
        session.is_held = false;
        let begin = std::time::Instant::now();
        loop {
            let until = now() + HOLD_SECONDS;
            let taken = self
                .database
                .take_upload(id, repository, (&session.holder, until))
                .await?;
            match taken {
                None => return Err(StorageError::Unknown),
                Some(None) if begin.elapsed() > BUSY_WAIT => return Err(StorageError::Busy),
                Some(None) => tokio::time::sleep(BUSY_PAUSE).await,
                Some(Some((state, tail))) => {
                    session.is_held = true;
                    session.state = serde_json::from_str(&state).map_err(|error| {
                        super::io("read an upload's state")(std::io::Error::other(error))
                    })?;
                    session.tail = tail;
                    return Ok(session);
                }
            }
        }
    }

    /// Ends an upload whatever it has reached.
    pub(crate) async fn discard(&self, id: &str) {
        // What cannot be removed now goes with the old uploads.
        if let Ok(Some(state)) = self.database.remove_upload(id).await {
            self.forget_parts(id, &state).await;
        }
    }

    async fn forget_parts(&self, id: &str, state: &str) {
        let state: Option<State> = serde_json::from_str(state).ok();
        if let Some(multipart) = state.and_then(|state| state.multipart) {
            let _ = self.store.abort_multipart(&self.path(id), &multipart).await;
        }
    }

    /// Removes uploads that nothing was written to for so long.
    pub(crate) async fn sweep_uploads(&self, idle: Duration) -> Result<(), StorageError> {
        let before = now() - i64::try_from(idle.as_secs()).unwrap_or(i64::MAX);
        for id in self.database.idle_uploads(before).await? {
            self.discard(&id).await;
        }
        Ok(())
    }

    /// Removes bytes.
    pub(crate) async fn remove(&self, location: &str) -> Result<(), StorageError> {
        match self.store.delete(&self.path(location)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed("remove a blob")(error)),
        }
    }

    /// All places that are older than so long.
    pub(crate) async fn list(&self, age: Duration) -> Result<Vec<Stored>, StorageError> {
        let before = SystemTime::now() - age.max(STRAY_AGE_MIN);
        let prefix = Path::from(format!("{}/blobs", self.prefix));
        let all = self.store.list(Some(&prefix));
        let old = all.try_filter(|object| {
            std::future::ready(SystemTime::from(object.last_modified) < before)
        });
        let places = old.map_ok(|object| object.location.filename().map(str::to_owned));
        let places: Vec<Option<String>> =
            places.try_collect().await.map_err(failed("list blobs"))?;
        Ok(places.into_iter().flatten().map(Stored::Location).collect())
    }

    /// A part of a blob, as it comes.
    pub(crate) async fn read(
        &self,
        location: &str,
        start: u64,
        length: u64,
    ) -> Result<Body, StorageError> {
        if length == 0 {
            return Ok(Body::empty());
        }
        let options = GetOptions::default().with_range(Some(start..start + length));
        let found = self.store.get_opts(&self.path(location), options).await;
        let found = found.map_err(failed("read a blob"))?;
        Ok(Body::from_stream(found.into_stream()))
    }
}

/// An upload that is ours for the moment.
pub(crate) struct Session {
    bucket: Arc<Bucket>,
    id: String,
    holder: String,
    state: State,
    /// Bytes after the last part.
    tail: Vec<u8>,
    is_held: bool,
}

impl Session {
    /// How many bytes there are.
    pub(crate) fn offset(&self) -> u64 {
        self.state.offset
    }

    fn row(&self) -> UploadRow<'_> {
        UploadRow {
            id: &self.id,
            state: serde_json::to_string(&self.state).unwrap_or_default(),
            tail: &self.tail,
            holder: &self.holder,
            held_until: now() + HOLD_SECONDS,
        }
    }

    /// Adds a body at the end. The work goes on until all that came is kept, also where this request is
    /// given up meanwhile.
    pub(crate) async fn append(mut self: Box<Self>, body: Body) -> Result<Box<Self>, StorageError> {
        let work = tokio::spawn(async move {
            match self.take(body).await {
                Ok(()) => Ok(self),
                Err(StorageError::Cut) => {
                    self.release().await?;
                    Err(StorageError::Cut)
                }
                Err(error) => Err(error),
            }
        });
        work.await
            .map_err(|error| super::io("write to an upload")(std::io::Error::other(error)))?
    }

    async fn take(&mut self, mut body: Body) -> Result<(), StorageError> {
        let turn = self.bucket.gathering.clone().acquire_owned().await;
        let _turn = turn.map_err(|_| StorageError::Busy)?;
        loop {
            let frame = tokio::time::timeout(super::read::IDLE, body.frame()).await;
            let Some(frame) = frame.map_err(|_| StorageError::Cut)? else {
                return Ok(());
            };
            let Ok(mut data) = frame.map_err(|_| StorageError::Cut)?.into_data() else {
                continue;
            };
            if self.state.offset + data.len() as u64 > self.bucket.limit {
                return Err(StorageError::TooLarge {
                    limit: self.bucket.limit,
                });
            }
            while !data.is_empty() {
                let room = PART_BYTES - self.tail.len();
                let piece = data.split_to(room.min(data.len()));
                self.state.hasher.update(&piece);
                self.state.offset += piece.len() as u64;
                self.tail.extend_from_slice(&piece);
                if self.tail.len() == PART_BYTES {
                    self.flush().await?;
                    self.save(false).await?;
                }
            }
        }
    }

    /// Sends the gathered bytes as a part.
    async fn flush(&mut self) -> Result<(), StorageError> {
        let bucket = &self.bucket;
        let path = bucket.path(&self.id);
        let multipart = match &self.state.multipart {
            Some(multipart) => multipart.clone(),
            None => {
                let begun = bucket.store.create_multipart(&path).await;
                begun.map_err(failed("begin an upload to the bucket"))?
            }
        };
        let part = PutPayload::from(Bytes::from(std::mem::take(&mut self.tail)));
        let number = self.state.parts.len();
        let sent = bucket.store.put_part(&path, &multipart, number, part).await;
        let sent = sent.map_err(failed("write to the bucket"))?;
        self.state.multipart = Some(multipart);
        self.state.parts.push(sent.content_id);
        Ok(())
    }

    /// Writes down what was reached.
    async fn save(&mut self, and_release: bool) -> Result<(), StorageError> {
        let mut row = self.row();
        if and_release {
            row.held_until = 0;
        }
        match self.bucket.database.save_upload(&row).await? {
            true => Ok(()),
            // We were too slow, and somebody took it.
            false => Err(StorageError::Busy),
        }
    }

    /// Writes down what was reached and lets go.
    pub(crate) async fn release(mut self: Box<Self>) -> Result<(), StorageError> {
        self.save(true).await?;
        self.is_held = false;
        Ok(())
    }

    /// Ends the upload and makes its place a blob's.
    pub(crate) async fn publish(
        mut self: Box<Self>,
        digest: &Digest,
    ) -> Result<(u64, String), StorageError> {
        let is_known = self.state.hasher.is(digest.algorithm());
        if is_known {
            let found = self.state.hasher.clone().finish();
            if found != *digest {
                self.abandon().await?;
                return Err(StorageError::Mismatch { found });
            }
        }
        self.complete().await?;
        let (id, size) = (self.id.clone(), self.state.offset);
        if !is_known {
            // It was begun with another hash in mind: read again what is there now.
            let found = self.bucket.hash(&id, size, digest.algorithm()).await?;
            if found != *digest {
                self.bucket.remove(&id).await?;
                self.abandon().await?;
                return Err(StorageError::Mismatch { found });
            }
        }
        self.bucket.database.remove_upload(&id).await?;
        self.is_held = false;
        Ok((size, id))
    }

    /// Makes one object of all parts.
    async fn complete(&mut self) -> Result<(), StorageError> {
        let bucket = self.bucket.clone();
        let path = bucket.path(&self.id);
        if self.state.multipart.is_none() {
            let whole = PutPayload::from(Bytes::from(std::mem::take(&mut self.tail)));
            let put = bucket.store.put(&path, whole).await;
            return put.map(drop).map_err(failed("write to the bucket"));
        }
        if !self.tail.is_empty() {
            self.flush().await?;
        }
        let multipart = self.state.multipart.clone().unwrap_or_default();
        let part = |content_id: &String| PartId {
            content_id: content_id.clone(),
        };
        let parts = self.state.parts.iter().map(part).collect();
        let completed = bucket
            .store
            .complete_multipart(&path, &multipart, parts)
            .await;
        let Err(error) = completed else {
            return Ok(());
        };
        // Whoever had it before us may have done so, and was killed before saying it.
        match bucket.store.head(&path).await {
            Ok(found) if found.size == self.state.offset => Ok(()),
            _ => Err(failed("end an upload to the bucket")(error)),
        }
    }

    /// Ends the upload; what there is of it goes.
    pub(crate) async fn abandon(mut self: Box<Self>) -> Result<(), StorageError> {
        self.is_held = false;
        if let Some(state) = self.bucket.database.remove_upload(&self.id).await? {
            self.bucket.forget_parts(&self.id, &state).await;
        }
        Ok(())
    }
}

impl Drop for Session {
    /// A request that was given up: the next one shall not wait for the hold to end.
    fn drop(&mut self) {
        if self.is_held
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (database, id) = (self.bucket.database.clone(), self.id.clone());
            let holder = self.holder.clone();
            runtime.spawn(async move { database.release_upload(&id, &holder).await });
        }
    }
}

impl Bucket {
    async fn hash(
        &self,
        location: &str,
        size: u64,
        algorithm: Algorithm,
    ) -> Result<Digest, StorageError> {
        let mut hasher = Hasher::new(algorithm);
        let mut bytes = self.read(location, 0, size).await?.into_data_stream();
        while let Some(piece) = bytes.next().await {
            let piece =
                piece.map_err(|error| super::io("read a blob")(std::io::Error::other(error)))?;
            hasher.update(&piece);
        }
        Ok(hasher.finish())
    }
}
