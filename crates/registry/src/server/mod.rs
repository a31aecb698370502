//! A registry with a hub: `caisson registry serve`.
//!
//! One process serves the distribution API ([`api`]), tokens ([`auth`]), the pages of the hub
//! ([`hub`]) and a search as Docker's clients ask for it. Bytes are in files ([`storage`]), all else
//! is in a database ([`database`]). The async runtime exists inside [`serve`] alone.
//!
//! Called by `cli`. What must stay true: what was acknowledged is kept, nothing half-made is visible,
//! and a repository shows its blobs to those who may read it and to nobody else.

mod api;
mod auth;
mod cache;
mod collection;
mod database;
mod framing;
#[doc(hidden)]
pub mod fuzz;
mod hub;
mod listen;
mod manifest;
mod metrics;
mod mirror;
mod names;
mod options;
mod search;
mod storage;
mod webhooks;

use std::collections::HashMap;
use std::fs::{File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::{RwLock, Semaphore};

use api::error::ApiError;
use database::repositories::{Facts, Pulls};
use database::{Database, DatabaseError};
pub use options::{Options, OptionsError, Tls};
use storage::bucket::Bucket;
use storage::disk::Disk;
use storage::{Storage, StorageError};
pub(crate) use webhooks::is_public;

/// Threads of the runtime: sockets and JSON; disks have their own.
const THREADS_MAX: usize = 4;
/// Threads that wait for disks. Each has a stack and an arena of its own.
const DISK_THREADS_MAX: usize = 64;
/// For a form or a manifest: whoever drips bytes does not hold a connection.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often counts of pulls are written down.
const PULLS_EVERY: Duration = Duration::from_secs(10);

/// What happened, for whoever called [`serve`] to tell.
#[derive(Debug)]
pub enum Event<'a> {
    /// Requests are answered from now on.
    Listening {
        /// Where the page is.
        url: &'a str,
        /// Nobody has signed up yet.
        is_fresh: bool,
        /// Whoever reaches the registry may push.
        anonymous_writes: bool,
    },
    /// A request was answered.
    Request(&'a Request<'a>),
    /// Collection removed something.
    Collected {
        /// Blobs.
        blobs: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// Something is wrong here, not with a request.
    Trouble(&'a str),
    /// No more requests are taken; those under way are finished.
    Stopping,
}

/// One answered request.
#[derive(Debug)]
pub struct Request<'a> {
    /// Who asked, as an address.
    pub peer: &'a str,
    /// Who asked, as a user; or empty.
    pub user: &'a str,
    /// How.
    pub method: &'a str,
    /// For what, without the query, which may hold secrets.
    pub path: &'a str,
    /// The answer.
    pub status: u16,
    /// Until the answer's first byte.
    pub micros: u64,
}

/// Told of every event, by any thread.
pub type Report = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// Why there is no registry.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A setting.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// Another process has the directory.
    #[error("another registry is using {0}")]
    Taken(String),
    /// The directory, a socket, the runtime.
    #[error("cannot {operation}")]
    Io {
        /// What was tried.
        operation: String,
        /// The answer.
        #[source]
        source: std::io::Error,
    },
    /// The database or the storage.
    #[error("{operation}")]
    Open {
        /// What was tried.
        operation: String,
        /// The answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ServeError {
    fn io(operation: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        |source| Self::Io {
            operation: operation.into(),
            source,
        }
    }

    fn open(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Open {
            operation: "cannot open the registry".to_owned(),
            source: Box::new(source),
        }
    }
}

/// Everything that requests need.
pub(crate) struct Registry {
    settings: options::Settings,
    storage: Storage,
    database: Database,
    cache: cache::Cache,
    metrics: metrics::Metrics,
    report: Report,
    /// Signs tokens and forms.
    secret: Vec<u8>,
    remembered: auth::Remembered,
    logins: auth::limit::Logins,
    /// One password is hashed at a time.
    hashing: Semaphore,
    /// Read by uploads from the file's name to its row, written by collection around removals.
    publishing: RwLock<()>,
    has_users: AtomicBool,
    pulls: Mutex<HashMap<String, Pulls>>,
    /// The registry that this one is a cache of.
    mirror: Option<mirror::Mirror>,
    webhook_agent: ureq::Agent,
    /// The lock on the directory, for as long as we live; none where nothing is in it.
    _lock: Option<File>,
}

impl Registry {
    async fn open(settings: options::Settings, report: Report) -> Result<Arc<Self>, ServeError> {
        let lock = match settings.is_replica() {
            true => None,
            false => Some(lock(&settings.root)?),
        };
        let database = match &settings.database {
            Some(url) => Database::open_postgres(url).await,
            None => {
                let shown = settings.root.display();
                let failed = ServeError::io(format!("keep the database in {shown} private"));
                protect(&settings.root).map_err(failed)?;
                Database::open(&settings.root.join("registry.db")).await
            }
        };
        let database = database.map_err(ServeError::open)?;
        let limit = settings.blob_bytes_max;
        let storage = match &settings.storage {
            Some(url) => Bucket::open(url, database.clone(), limit)
                .map(|bucket| Storage::Bucket(Arc::new(bucket))),
            None => Disk::open(&settings.root, limit).map(|disk| Storage::Disk(Arc::new(disk))),
        };
        let storage = storage.map_err(ServeError::open)?;
        let secret = database
            .setting("secret", &random_hex::<32>())
            .await
            .map_err(ServeError::open)?;
        let mirror = settings.mirror.as_ref();
        let mirror = mirror.map(|url| mirror::Mirror::new(url, settings.mirror_account.clone()));
        Ok(Arc::new(Self {
            mirror,
            webhook_agent: crate::http::webhook_agent(settings.webhooks_private),
            cache: cache::Cache::new(database.is_shared()),
            settings,
            storage,
            database,
            metrics: metrics::Metrics::default(),
            report,
            secret: secret.into_bytes(),
            remembered: auth::Remembered::default(),
            logins: auth::limit::Logins::default(),
            hashing: Semaphore::new(1),
            publishing: RwLock::new(()),
            has_users: AtomicBool::new(false),
            pulls: Mutex::default(),
            _lock: lock,
        }))
    }

    /// Who may do what in a repository.
    async fn facts(&self, name: &str) -> Result<Arc<Facts>, DatabaseError> {
        if let Some(facts) = self.cache.facts(name) {
            return Ok(facts);
        }
        let generation = self.cache.generation();
        let facts = Arc::new(self.database.facts(name).await?);
        self.cache.keep_facts(generation, name, &facts);
        Ok(facts)
    }

    /// Whether anybody has an account. Once there is one there always is.
    async fn has_users(&self) -> Result<bool, DatabaseError> {
        if !self.has_users.load(Ordering::Relaxed) && self.database.count_users().await? > 0 {
            self.has_users.store(true, Ordering::Relaxed);
        }
        Ok(self.has_users.load(Ordering::Relaxed))
    }

    /// Whether `/v2/` asks for a token: where nobody has an account, or nothing may be done without
    /// one, there is no question worth asking.
    async fn asks_who_is_there(&self) -> Result<bool, DatabaseError> {
        Ok(!self.settings.anonymous_writes || self.has_users().await?)
    }

    /// Counts a pull of a tag or digest, in memory; written down together with others.
    fn count_pull(&self, name: &str, reference: &str) {
        self.metrics.pulls.add(1);
        let mut pulls = self
            .pulls
            .lock()
            .expect("invariant: nothing panics with this lock");
        // A second one takes no memory.
        match pulls.get_mut(name) {
            Some(known) => known.add(reference),
            None => pulls.entry(name.to_owned()).or_default().add(reference),
        }
    }

    async fn write_pulls(&self) {
        let pulls = {
            let mut pulls = self
                .pulls
                .lock()
                .expect("invariant: nothing panics with this lock");
            std::mem::take(&mut *pulls)
        };
        if !pulls.is_empty()
            && let Err(error) = self.database.add_pulls(&pulls).await
        {
            self.trouble(&chain(&error));
        }
    }

    /// Tells of something wrong with us.
    fn trouble(&self, text: &str) {
        (self.report)(&Event::Trouble(text));
    }
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Makes a directory that only its owner may look into.
fn make_private(path: &Path) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    // Of one that is there its owner has decided.
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(path)
}

/// The database holds what tokens are signed with, and hashes of passwords. What SQLite puts beside it gets its
/// mode.
fn protect(root: &Path) -> std::io::Result<()> {
    let name = root.join("registry.db");
    let mut options = File::options();
    options.create(true).append(true).mode(0o600).open(&name)?;
    for suffix in ["", "-wal", "-shm"] {
        let path = root.join(format!("registry.db{suffix}"));
        match std::fs::set_permissions(&path, Permissions::from_mode(0o600)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Two processes over one directory would not know of each other's changes.
fn lock(root: &Path) -> Result<File, ServeError> {
    let shown = root.display().to_string();
    make_private(root).map_err(ServeError::io(format!("make {shown}")))?;
    let mut file = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(root.join("lock"))
        .map_err(ServeError::io(format!("make the lock in {shown}")))?;
    let operation = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    match rustix::fs::flock(&file, operation) {
        Ok(()) => {
            let pid = format!("{:<12}\n", std::process::id());
            file.write_all(pid.as_bytes())
                .map_err(ServeError::io(format!("write the lock in {shown}")))?;
            Ok(file)
        }
        Err(rustix::io::Errno::WOULDBLOCK) => Err(ServeError::Taken(shown)),
        Err(errno) => Err(ServeError::io(format!("lock {shown}"))(errno.into())),
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// Settings that make no sense, a directory, a database or an address that cannot be used.
pub fn serve(options: Options, report: Report) -> Result<(), ServeError> {
    let settings = options::Settings::from_options(options)?;
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.min(THREADS_MAX))
        .max_blocking_threads(DISK_THREADS_MAX)
        .thread_keep_alive(Duration::from_secs(2))
        .enable_all()
        .build()
        .map_err(ServeError::io("start the runtime"))?;
    runtime.block_on(async {
        let registry = Registry::open(settings, report).await?;
        let background = tokio::spawn(look_after(registry.clone()));
        let result = listen::listen(&registry).await;
        background.abort();
        registry.write_pulls().await;
        registry.database.close().await;
        result
    })
}

/// What became of a wish to collect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectOutcome {
    /// A registry runs over this directory and does it.
    Told {
        /// Its process.
        pid: i32,
    },
    /// It is done.
    Done {
        /// Blobs removed.
        blobs: u64,
        /// Their bytes.
        bytes: u64,
        /// Blobs chosen, to be removed after their grace.
        marked: u64,
    },
}

/// Collects once, or tells the registry that is running to do so.
///
/// # Errors
/// Settings that make no sense, or a directory that is no registry's.
pub fn collect(options: Options) -> Result<CollectOutcome, ServeError> {
    let settings = options::Settings::from_options(options)?;
    let root = settings.root.clone();
    if !settings.is_replica()
        && let Some(told) = tell(&root)?
    {
        return Ok(told);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServeError::io("start the runtime"))?;
    runtime.block_on(async {
        let registry = Registry::open(settings, Arc::new(|_| {})).await?;
        let collected = collection::collect(&registry).await;
        registry.database.close().await;
        let collected =
            collected.map_err(|text| ServeError::io("collect")(std::io::Error::other(text)))?;
        Ok(CollectOutcome::Done {
            blobs: collected.blobs,
            bytes: collected.bytes,
            marked: collected.marked,
        })
    })
}

/// Tells the registry that runs over this directory to collect, if one does.
fn tell(root: &Path) -> Result<Option<CollectOutcome>, ServeError> {
    if !root.join("registry.db").exists() && !root.join("blobs").exists() {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(ServeError::io(format!(
            "find a registry in {}",
            root.display()
        ))(missing));
    }
    let Err(ServeError::Taken(shown)) = lock(root).map(drop) else {
        return Ok(None);
    };
    // Whoever holds the lock wrote its id there, and is alive.
    let text = std::fs::read_to_string(root.join("lock")).unwrap_or_default();
    let pid = text
        .trim()
        .parse()
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or(ServeError::Taken(shown))?;
    rustix::process::kill_process(pid, rustix::process::Signal::USR1)
        .map_err(|errno| ServeError::io("tell the registry to collect")(errno.into()))?;
    Ok(Some(CollectOutcome::Told {
        pid: pid.as_raw_nonzero().get(),
    }))
}

/// What happens without being asked for.
async fn look_after(registry: Arc<Registry>) {
    let every = registry.settings.collect_every;
    let (mut pulls, mut deliveries, mut collection) = (
        tokio::time::interval(PULLS_EVERY),
        tokio::time::interval(webhooks::EVERY),
        // The first tick of an interval is at once, and a start shall be quick.
        tokio::time::interval_at(tokio::time::Instant::now() + every, every),
    );
    let told = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::user_defined1());
    let Ok(mut told) = told else { return };
    loop {
        tokio::select! {
            _ = pulls.tick() => {
                registry.write_pulls().await;
                continue;
            }
            _ = deliveries.tick() => {
                if let Err(error) = webhooks::deliver(&registry).await {
                    registry.trouble(&chain(&error));
                }
                continue;
            }
            _ = collection.tick() => {}
            _ = told.recv() => {}
        }
        if let Err(error) = collection::collect(&registry).await {
            registry.trouble(&error);
        }
    }
}

/// Reads a body of at most so many bytes, in a time that is enough for them.
async fn read_body(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let too_large = || {
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "SIZE_INVALID",
            format!("at most {limit} bytes are read here"),
        )
    };
    // Whoever says that it is too large need not send it.
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let read = Limited::new(body, limit).collect();
    let Ok(read) = tokio::time::timeout(BODY_TIMEOUT, read).await else {
        return Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "UNKNOWN",
            "the body took too long",
        ));
    };
    match read {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(StorageError::Cut.into()),
    }
}

/// Bytes that nobody can guess.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        let flags = rustix::rand::GetRandomFlags::empty();
        match rustix::rand::getrandom(&mut bytes[filled..], flags) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => panic!("invariant: the kernel has random bytes: {errno}"),
        }
    }
    bytes
}

fn random_hex<const N: usize>() -> String {
    let hex = random::<N>().map(|byte| format!("{byte:02x}"));
    hex.concat()
}

/// A random UUID (RFC 9562, version 4), which the specification asks for in an upload's place.
fn random_uuid() -> String {
    let mut bytes = random::<16>();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = bytes.map(|byte| format!("{byte:02x}")).concat();
    let (a, b, c) = (&hex[..8], &hex[8..12], &hex[12..16]);
    format!("{a}-{b}-{c}-{}-{}", &hex[16..20], &hex[20..])
}
