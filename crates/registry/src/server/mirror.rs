//! A cache of another registry: what is not here is fetched there, once for all who ask at the same
//! time, checked against its digest, kept, and served from here from then on, also while the other one
//! cannot be reached.
//!
//! Names that belong to somebody here, or that something was pushed to, are never asked for elsewhere.
//! What was fetched is a repository that nobody pushes to. A tag is looked at again after a minute. A blob
//! is fetched when it is asked for, and only if a manifest that was fetched names it; whoever asks
//! reads along as it arrives, all but its last byte, which follows once the digest was found right.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::{Semaphore, mpsc, watch};
use types::digest::Digest;
use types::reference::Reference;

use super::api::error::ApiError;
use super::database::copies::ROW_BYTES;
use super::database::manifests::{NewManifest, Pushed};
use super::database::repositories::Facts;
use super::storage::{Storage, Stored};
use super::{Registry, chain, collection, manifest};
use crate::{
    Account, Client, Credentials, FetchedManifest, Registries, RegistryConfig, RegistryError,
    Selector,
};

/// What the other registry is called in our client.
const NAME: &str = "mirror.invalid";
/// For so long a tag is believed.
const FRESH: Duration = Duration::from_secs(60);
/// For so long a registry that cannot be reached is not asked again, where there is something to serve.
const ABSENT: Duration = Duration::from_secs(30);
const TAGS_MAX: usize = 10_000;
/// Of the other registry at once.
const DOWNLOADS_MAX: usize = 8;
const QUESTIONS_MAX: usize = 8;
const PIECE_BYTES: usize = 256 * 1024;
const PIECES: usize = 4;
/// How long a reader waits before it looks again whether there is more.
const WAIT: Duration = Duration::from_millis(50);

/// The other registry.
pub(crate) struct Mirror {
    client: Client,
    /// When tags were last looked at, by `name:tag`.
    seen: Mutex<HashMap<String, Instant>>,
    absent_since: Mutex<Option<Instant>>,
    /// Manifests that are being fetched; whoever asks too waits for the end.
    asking: Mutex<HashMap<String, watch::Receiver<()>>>,
    flights: Mutex<HashMap<Digest, Arc<Flight>>>,
    /// Each download holds a thread, and each question.
    downloads: Semaphore,
    questions: Semaphore,
    /// What manifests took that were fetched since room was last made for them.
    fetched: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mirror {
    /// A cache of the registry at this address.
    pub(crate) fn new(url: &str, account: Option<(String, String)>) -> Self {
        let config = RegistryConfig {
            location: Some(url.to_owned()),
            ..RegistryConfig::default()
        };
        let mut credentials = Credentials::default();
        if let Some((user, password)) = account {
            credentials.insert(NAME, Account::new(user, password));
        }
        let client = Client::new(Registries {
            by_name: BTreeMap::from([(NAME.to_owned(), config)]),
            credentials,
        });
        Self {
            client,
            seen: Mutex::default(),
            absent_since: Mutex::default(),
            asking: Mutex::default(),
            flights: Mutex::default(),
            downloads: Semaphore::new(DOWNLOADS_MAX),
            questions: Semaphore::new(QUESTIONS_MAX),
            fetched: AtomicU64::default(),
        }
    }

    /// Whether a repository is, or would be, a copy of the other registry's.
    pub(crate) fn covers(facts: &Facts) -> bool {
        facts.is_copy || (!facts.exists && !facts.has_owner)
    }

    /// Notes that this was looked at now, by `name:tag` or `name:digest`.
    fn see(&self, key: String) {
        let mut seen = lock(&self.seen);
        if seen.len() >= TAGS_MAX {
            seen.clear();
        }
        seen.insert(key, Instant::now());
    }

    fn is_absent(&self) -> bool {
        lock(&self.absent_since).is_some_and(|since| since.elapsed() < ABSENT)
    }

    /// Looks whether the other registry has this manifest, or another one under this tag, and keeps it.
    /// Where it cannot be asked, what is here is good enough.
    pub(crate) async fn refresh(
        registry: &Arc<Registry>,
        name: &str,
        reference: &str,
    ) -> Result<(), ApiError> {
        let Some(mirror) = &registry.mirror else {
            return Ok(());
        };
        let known = registry.database.manifest(name, reference).await?;
        let known = known.map(|manifest| manifest.digest);
        let key = format!("{name}:{reference}");
        let is_fresh = lock(&mirror.seen)
            .get(&key)
            .is_some_and(|seen| seen.elapsed() < FRESH);
        let is_digest = reference.contains(':');
        if let Some(digest) = known.as_ref().filter(|_| !is_fresh) {
            // It is served all the same, also from a disk that is full.
            let noted = registry.database.use_copied_manifest(name, digest).await;
            if let Err(error) = noted {
                registry.trouble(&chain(&error));
            }
            if is_digest {
                mirror.see(key.clone());
            }
        }
        if known.is_some() && (is_digest || is_fresh || mirror.is_absent()) {
            return Ok(());
        }
        let mut waiting = None;
        let leader = {
            let mut asking = lock(&mirror.asking);
            match asking.get(&key) {
                Some(other) => {
                    waiting = Some(other.clone());
                    None
                }
                None => {
                    let (sender, receiver) = watch::channel(());
                    asking.insert(key.clone(), receiver);
                    Some(sender)
                }
            }
        };
        if let Some(mut waiting) = waiting {
            // It never sends: its end is what is waited for.
            let _ = waiting.changed().await;
            return Ok(());
        }
        // In a task of its own: whoever asked first may go away.
        let work = {
            let (registry, name) = (registry.clone(), name.to_owned());
            let reference = reference.to_owned();
            async move {
                let result = fetch_manifest(&registry, &name, &reference, known).await;
                if let Some(mirror) = &registry.mirror {
                    lock(&mirror.asking).remove(&key);
                    if result.is_ok() {
                        mirror.see(key);
                    }
                }
                drop(leader);
                result
            }
        };
        tokio::spawn(work).await.unwrap_or_else(|error| {
            Err(unreachable(&format!(
                "cannot ask the mirrored registry: {error}"
            )))
        })
    }
}

fn unreachable(text: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_GATEWAY, "UNKNOWN", text)
}

/// A repository's name there.
fn reference_of(name: &str) -> Result<Reference, ApiError> {
    format!("{NAME}/{name}").parse().map_err(|_| {
        ApiError::bad(
            "NAME_INVALID",
            "the name is not one of the other registry's",
        )
    })
}

async fn fetch_manifest(
    registry: &Arc<Registry>,
    name: &str,
    reference: &str,
    known: Option<String>,
) -> Result<(), ApiError> {
    let there = reference_of(name)?;
    let (asker, wanted, have) = (registry.clone(), reference.to_owned(), known.clone());
    let ask = move || -> Result<Option<FetchedManifest>, RegistryError> {
        let Some(mirror) = &asker.mirror else {
            return Ok(None);
        };
        let repository = mirror.client.repository(&there)?;
        if let Ok(digest) = Digest::parse(&wanted) {
            return repository.manifest(Selector::Digest(&digest)).map(Some);
        }
        let selector = Selector::Tag(&wanted);
        if have.is_some() && repository.head(selector)?.map(|digest| digest.to_string()) == have {
            return Ok(None);
        }
        repository.manifest(selector).map(Some)
    };
    let turn = match &registry.mirror {
        Some(mirror) => mirror.questions.acquire().await.ok(),
        None => None,
    };
    let answer = tokio::task::spawn_blocking(ask)
        .await
        .map_err(|error| unreachable(&error.to_string()))?;
    drop(turn);
    let fetched = match answer {
        Ok(Some(fetched)) => fetched,
        Ok(None) => return Ok(()),
        Err(error) => return missing(registry, &error, known.is_some()),
    };
    if let Some(mirror) = &registry.mirror {
        *lock(&mirror.absent_since) = None;
    }
    let parsed = manifest::parse(&fetched.bytes, &fetched.media_type)
        .map_err(|error| unreachable(&format!("the mirrored registry's manifest: {error}")))?;
    let tags = match reference.contains(':') {
        true => Vec::new(),
        false => vec![reference.to_owned()],
    };
    let _change = registry.cache.change();
    let pushed = registry
        .database
        .put_manifest(&NewManifest {
            repository: name,
            digest: &fetched.digest,
            parsed: &parsed,
            body: &fetched.bytes,
            tags: &tags,
            user: "",
            is_copy: true,
            base: "",
        })
        .await?;
    match pushed {
        Pushed::Done => {
            make_room(registry, fetched.bytes.len() as u64 + ROW_BYTES);
            Ok(())
        }
        _ => Err(unreachable("the mirrored manifest cannot be kept")),
    }
}

/// Makes room for manifests where many were fetched since that was last done: to see whether there is enough
/// takes a look at all.
fn make_room(registry: &Arc<Registry>, fetched: u64) {
    let Some(mirror) = &registry.mirror else {
        return;
    };
    let step = registry.settings.mirror_bytes_max / collection::MANIFESTS_SHARE / 16;
    if mirror.fetched.fetch_add(fetched, Ordering::Relaxed) + fetched < step {
        return;
    }
    mirror.fetched.store(0, Ordering::Relaxed);
    let registry = registry.clone();
    tokio::spawn(async move {
        if let Err(text) = collection::make_room_for_manifests(&registry).await {
            registry.trouble(&text);
        }
    });
}

/// The other registry did not give it. What is here is served; what is not is not there.
fn missing(registry: &Registry, error: &RegistryError, is_here: bool) -> Result<(), ApiError> {
    if error.is_unreachable()
        && let Some(mirror) = &registry.mirror
    {
        *lock(&mirror.absent_since) = Some(Instant::now());
        registry.trouble(&format!("the mirrored registry: {}", chain(error)));
    }
    match error {
        _ if is_here => Ok(()),
        RegistryError::ManifestUnknown { .. }
        | RegistryError::NameUnknown { .. }
        | RegistryError::AccessDenied { .. } => Ok(()),
        error => Err(unreachable(&format!("the mirrored registry: {error}"))),
    }
}

/// How far a blob on its way has come.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Coming,
    /// Kept, with the right digest.
    Here,
    Failed(String),
}

/// A blob on its way here.
pub(crate) struct Flight {
    /// How many bytes it has.
    pub(crate) size: u64,
    /// The file that it arrives in, and the one that it becomes, where there are files.
    files: Option<[PathBuf; 2]>,
    stage: watch::Sender<Stage>,
}

/// The blob on its way to this repository: one that a manifest names, that is not here yet. Begun if
/// nobody has.
pub(crate) async fn flight(
    registry: &Arc<Registry>,
    name: &str,
    digest: &Digest,
    begins: bool,
) -> Result<Option<Arc<Flight>>, ApiError> {
    let Some(mirror) = &registry.mirror else {
        return Ok(None);
    };
    let Some(size) = registry.database.named_size(name, digest).await? else {
        return Ok(None);
    };
    if let Some(flight) = lock(&mirror.flights).get(digest) {
        return Ok(Some(flight.clone()));
    }
    let id = super::random_uuid();
    let files = match &registry.storage {
        Storage::Disk(disk) => Some([disk.upload_path(&id), disk.blob_path(digest)]),
        Storage::Bucket(_) => None,
    };
    let flight = Arc::new(Flight {
        size,
        files,
        stage: watch::channel(Stage::Coming).0,
    });
    if !begins {
        return Ok(Some(flight));
    }
    {
        let mut flights = lock(&mirror.flights);
        if let Some(other) = flights.get(digest) {
            return Ok(Some(other.clone()));
        }
        flights.insert(digest.clone(), flight.clone());
    }
    let work = {
        let (registry, name, digest) = (registry.clone(), name.to_owned(), digest.clone());
        let flight = flight.clone();
        async move {
            // It may have arrived between the asker's look and this flight's begin.
            let known = registry.database.blob(&name, &digest).await;
            let result = match known {
                Ok(Some(row)) if !row.is_marked => Ok(()),
                _ => fetch_blob(&registry, &name, &digest, (&id, size)).await,
            };
            if let Some(mirror) = &registry.mirror {
                lock(&mirror.flights).remove(&digest);
            }
            match result {
                Ok(()) => {
                    flight.stage.send_replace(Stage::Here);
                    if let Err(text) = collection::make_room(&registry).await {
                        registry.trouble(&text);
                    }
                }
                Err(text) => {
                    registry.storage.discard(&id).await;
                    registry.trouble(&format!("cannot mirror blob {digest}: {text}"));
                    flight.stage.send_replace(Stage::Failed(text));
                }
            }
        }
    };
    tokio::spawn(work);
    Ok(Some(flight))
}

async fn fetch_blob(
    registry: &Arc<Registry>,
    name: &str,
    digest: &Digest,
    (id, size): (&str, u64),
) -> Result<(), String> {
    let there = reference_of(name).map_err(|error| error.message().to_owned())?;
    let _turn = match &registry.mirror {
        Some(mirror) => mirror.downloads.acquire().await.ok(),
        None => None,
    };
    let begun = registry.storage.begin(id, name, digest.algorithm()).await;
    let upload = begun.map_err(|error| chain(&error))?;
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(PIECES);
    let reading = {
        let (registry, digest) = (registry.clone(), digest.clone());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = pump(&registry, &there, (&digest, size), &sender) {
                let _ = sender.blocking_send(Err(io::Error::other(chain(&error))));
                return chain(&error);
            }
            String::new()
        })
    };
    let pieces = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    let appended = upload.append(Body::from_stream(pieces)).await;
    let said = reading.await.unwrap_or_else(|error| error.to_string());
    if !said.is_empty() {
        return Err(said);
    }
    let upload = appended.map_err(|error| chain(&error))?;
    let _published = registry.publishing.read().await;
    let published = registry.storage.publish(id, upload, digest).await;
    let (size, location) = published.map_err(|error| chain(&error))?;
    let kept = registry
        .database
        .add_blob(name, digest, (size, &location))
        .await
        .map_err(|error| chain(&error))?;
    if kept != location {
        let removed = registry.storage.remove(Stored::Location(location)).await;
        removed.map_err(|error| chain(&error))?;
    }
    Ok(())
}

/// Reads a blob there, in a thread.
fn pump(
    registry: &Registry,
    there: &Reference,
    (digest, size): (&Digest, u64),
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<(), RegistryError> {
    let Some(mirror) = &registry.mirror else {
        return Ok(());
    };
    let repository = mirror.client.repository(there)?;
    let mut reader = repository.blob(digest, size)?;
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let count = reader
            .read(&mut piece)
            .map_err(|source| RegistryError::Protocol {
                url: NAME.to_owned(),
                what: source.to_string(),
            })?;
        piece.truncate(count);
        if count == 0 || sender.blocking_send(Ok(piece.into())).is_err() {
            return Ok(());
        }
    }
}

/// A part of a blob on its way, as it arrives; nothing once it is here.
pub(crate) async fn read(flight: &Arc<Flight>, start: u64, length: u64) -> Option<Body> {
    if *flight.stage.borrow() == Stage::Here {
        return None;
    }
    let Some(files) = flight.files.clone() else {
        // In a bucket nothing can be read before its end.
        let mut stage = flight.stage.subscribe();
        let _ = stage.wait_for(|stage| *stage != Stage::Coming).await;
        return None;
    };
    let follower = Follower {
        flight: flight.clone(),
        files,
        file: None,
        at: start,
        end: start + length,
    };
    let pieces = stream::unfold(Some(follower), |follower| async {
        let mut follower = follower?;
        match follower.next().await {
            Ok(None) => None,
            Ok(Some(piece)) => Some((Ok(piece), Some(follower))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Some(Body::from_stream(pieces))
}

/// Reads a file that still grows. No thread waits for more of it.
struct Follower {
    flight: Arc<Flight>,
    files: [PathBuf; 2],
    file: Option<File>,
    at: u64,
    end: u64,
}

impl Follower {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut changes = self.flight.stage.subscribe();
        while self.at < self.end {
            let stage = changes.borrow_and_update().clone();
            let limit = match &stage {
                Stage::Failed(text) => return Err(io::Error::other(text.clone())),
                Stage::Here => self.end,
                // The last byte follows when the digest was found right.
                Stage::Coming => self.end.min(self.flight.size.saturating_sub(1)),
            };
            let room = limit.saturating_sub(self.at);
            let (file, piece) = read_piece(self.file.take(), &self.files, (self.at, room)).await?;
            self.file = file;
            if !piece.is_empty() {
                self.at += piece.len() as u64;
                return Ok(Some(piece));
            }
            if stage == Stage::Here {
                let text = "the blob is shorter than its manifest says";
                return Err(io::Error::other(text));
            }
            let _ = tokio::time::timeout(WAIT, changes.changed()).await;
        }
        Ok(None)
    }
}

/// What is there of a file from `at` on, `room` bytes at most.
async fn read_piece(
    file: Option<File>,
    [coming, here]: &[PathBuf; 2],
    (at, room): (u64, u64),
) -> io::Result<(Option<File>, Bytes)> {
    let (coming, here) = (coming.clone(), here.clone());
    let read = move || {
        let file = match file {
            Some(file) => Some(file),
            // An open file stays the same when it is renamed. It may have been before we looked.
            None => File::open(coming).or_else(|_| File::open(here)).ok(),
        };
        let Some(mut file) = file else {
            return Ok((None, Bytes::new()));
        };
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let mut piece = vec![0; room.min(PIECE_BYTES)];
        file.seek(SeekFrom::Start(at))?;
        let count = file.read(&mut piece)?;
        piece.truncate(count);
        Ok((Some(file), Bytes::from(piece)))
    };
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|error| Err(io::Error::other(error)))
}
