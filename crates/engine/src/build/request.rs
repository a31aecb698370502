//! What is asked of a build, and what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use build::dockerfile::command::Dockerfile;
use build::lint::Warning;
use build::lower::{Request, Wishes};
use types::digest::Digest;
use types::platform::Platform;
use types::reference::Reference;
use types::timestamp::Timestamp;

use crate::error::EngineError;

/// A secret may be so long, as BuildKit's.
const SECRET_BYTES_MAX: u64 = 500 << 10;

/// What is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// An image.
    #[default]
    Image,
    /// What would be done, and why.
    Explanation,
    /// What the rules say of the Dockerfile.
    Check,
    /// Which targets the Dockerfile has.
    Targets,
    /// What the target can be given.
    Outline,
}

/// A directory of files for a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContextDirectory {
    /// Where it is, absolute.
    pub path: PathBuf,
    /// Whether its files may be there unchanged the next time.
    pub is_remembered: bool,
    /// When its commit was made, for a checkout: seconds since 1970.
    pub commit_s: Option<i64>,
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file.
    File(PathBuf),
    /// Here.
    Bytes(Vec<u8>),
}

impl SecretSource {
    pub(crate) fn read(&self) -> Result<Vec<u8>, EngineError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::File(path) => Ok(sys::atomic::read_limited(path, SECRET_BYTES_MAX)?),
        }
    }
}

/// Devices that programs of a build may have, if they ask for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedDevices {
    /// Whether it is every one.
    pub is_all: bool,
    /// Else those with these names.
    pub names: BTreeSet<String>,
}

impl AllowedDevices {
    /// Whether a device is one of them.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        self.is_all || self.names.contains(name)
    }
}

/// Files and secrets of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Contexts by name; the build's own has none.
    pub contexts: BTreeMap<String, ContextDirectory>,
    /// `--secret`, by id.
    pub secrets: BTreeMap<String, SecretSource>,
    /// `--ssh`: sockets of agents, by id.
    pub ssh: BTreeMap<String, PathBuf>,
    /// `--allow device`: what `RUN --device` may have.
    pub devices: AllowedDevices,
    /// `--debug-on-failure`: the files of a program that failed are kept.
    pub keeps_failed: bool,
    /// `--keep-mtimes`: files have the times that they have in their contexts.
    pub keeps_mtimes: bool,
}

/// A build.
#[derive(Clone, Debug, Default)]
pub struct BuildRequest {
    /// What is wanted.
    pub wanted: Wanted,
    /// The file's bytes.
    pub dockerfile: Vec<u8>,
    /// Its name, for errors.
    pub dockerfile_name: String,
    /// Names for the image.
    pub tags: Vec<Reference>,
    /// What is said of the file's steps and result.
    pub wishes: Wishes,
    /// `--platform`; none is this machine's.
    pub platforms: Vec<Platform>,
    /// `--pull`.
    pub pulls_always: bool,
    /// Files and secrets.
    pub inputs: Inputs,
    /// `--output`; none is the image in the store.
    pub exports: Vec<super::Export>,
    /// `--push`: the names are pushed.
    pub pushes: bool,
    /// `--squash`.
    pub squashes: bool,
    /// `--verify`.
    pub verifies: bool,
    /// `--provenance`, `--sbom`: what is said about the image, beside it.
    pub attestations: super::Attestations,
    /// `--annotation`.
    pub annotations: Vec<super::Annotation>,
    /// The address that the context is from; empty for files of this machine.
    pub source: String,
    /// `--cache-from`.
    pub cache_from: Vec<super::CachePlace>,
    /// `--cache-to`.
    pub cache_to: Vec<super::CacheExport>,
}

impl BuildRequest {
    /// Whether an image is wanted, and not its files alone.
    pub(crate) fn wants_image(&self) -> bool {
        let is_image = |export: &super::Export| {
            matches!(
                export,
                super::Export::Image
                    | super::Export::ImageArchive(_)
                    | super::Export::ImageDirectory(_)
            )
        };
        self.pushes || self.exports.is_empty() || self.exports.iter().any(is_image)
    }

    /// When the build began. Attestations are kept with an image of the store, and nowhere else.
    pub(crate) fn begin(&self) -> Result<Timestamp, EngineError> {
        let what = match (self.attestations.is_any(), self.annotations.is_empty()) {
            (true, _) => "--provenance and --sbom",
            (false, false) => "annotations",
            (false, true) => return Ok(Timestamp::now()),
        };
        match self.wants_image() {
            true => Ok(Timestamp::now()),
            false => Err(EngineError::invalid(format!(
                "{what} are kept with an image, and this --output makes none; add --output type=image"
            ))),
        }
    }

    pub(crate) fn lowering<'a>(
        &self,
        dockerfile: &'a Dockerfile,
        platform: Option<Platform>,
    ) -> Request<'a> {
        Request {
            wishes: self.wishes.clone(),
            platform,
            is_multi_platform: self.platforms.len() > 1,
            checks_all_stages: self.wanted == Wanted::Check,
            ..Request::new(dockerfile, Platform::host().normalised())
        }
    }
}

/// What came of a build.
#[derive(Clone, Debug, Default)]
pub struct BuildReport {
    /// The image's id; none where none was wanted.
    pub image: Option<Digest>,
    /// What the rules found.
    pub warnings: Vec<Warning>,
    /// `--build-arg`s that nothing declares.
    pub unused_arguments: Vec<String>,
    /// The digest of its manifest, or of the index of several; where there is one.
    pub manifest: Option<Digest>,
    /// With `--verify`: what was not the same twice.
    pub unequal: Option<super::Unequal>,
    /// With [`Wanted::Targets`]: the targets.
    pub targets: Vec<super::Target>,
    /// With [`Wanted::Outline`]: what the target can be given.
    pub outline: super::Outline,
    /// Steps that were done, and why.
    pub causes: Vec<(String, String)>,
}

/// Reads a file of a context that somebody else made: no link of it leads out.
///
/// # Errors
/// As [`read_limited`].
pub fn read_beneath(
    directory: &std::path::Path,
    path: &std::path::Path,
    bytes_max: u64,
) -> std::io::Result<Vec<u8>> {
    let root =
        sys::rootfs::Dir::open(directory).map_err(|error| std::io::Error::from(error.errno))?;
    let max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    root.read_limited(path, max)
        .map_err(|error| std::io::Error::from(error.errno))
}

/// Reads a regular file of the user, of bounded length: nobody waits for whom a pipe waits for.
///
/// # Errors
/// As when it is opened or read; one that is too long, or is no regular file, is invalid data.
pub fn read_limited(path: &std::path::Path, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    use std::os::unix::fs::OpenOptionsExt;
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)?;
    match file.metadata()?.is_file() {
        true => read_to(file, bytes_max),
        false => Err(invalid("it is no regular file".to_owned())),
    }
}

/// Reads whatever the user names, of bounded length.
///
/// # Errors
/// As when it is opened or read; what is too long is invalid data.
pub fn read_any_limited(path: &std::path::Path, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    read_to(std::fs::File::open(path)?, bytes_max)
}

fn read_to(file: std::fs::File, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > bytes_max {
        true => Err(invalid(format!("longer than {bytes_max} bytes"))),
        false => Ok(bytes),
    }
}

fn invalid(why: String) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, why)
}
