//! Contexts that are no directory of the user's: an archive, a repository, something from the network.

use std::io::Read;
use std::path::PathBuf;

use build::gitref;
use build::graph::{GitSource, HttpSource};
use storage::compression;
use storage::layer::unpack::{ApplyMode, Replace, UnpackOptions, Whiteouts, unpack};
use storage::store::TemporaryDirectory;
use sys::Context;
use sys::rootfs::Dir;
use types::digest::Algorithm;

use super::request::ContextDirectory;
use super::{archive, git};
use crate::Engine;
use crate::error::{EngineError, text};

/// A download may be so long.
const DOWNLOAD_BYTES_MAX: u64 = 64 << 30;
/// A Dockerfile that comes in place of an archive may be so long.
const DOCKERFILE_BYTES_MAX: u64 = 8 << 20;
const COPY_BYTES: usize = 256 << 10;

/// What was given in place of a directory.
pub enum Fetched {
    /// A context; it goes with this value.
    Context(FetchedContext),
    /// A Dockerfile, and no context.
    Dockerfile(Vec<u8>),
}

/// A context that lasts as long as this value.
pub struct FetchedContext {
    /// Where it is.
    pub directory: ContextDirectory,
    _temporary: TemporaryDirectory,
}

impl Engine {
    /// Takes an archive, compressed or not, as a context; a text is a Dockerfile.
    ///
    /// # Errors
    /// A damaged archive, or the disk's answer.
    pub fn context_of_stream(
        &self,
        source: &mut (dyn Read + Send),
    ) -> Result<Fetched, EngineError> {
        let (compression, mut decoded) =
            compression::decode(source).map_err(|error| text("read the context", &error))?;
        let mut block = [0_u8; archive::BLOCK_BYTES];
        let mut length = 0;
        while length < block.len() {
            match decoded.read(&mut block[length..]) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) => return Err(text("read the context", &error)),
            }
        }
        let whole = std::io::Cursor::new(block)
            .take(length as u64)
            .chain(decoded);
        let is_empty_archive = length == block.len() && block.iter().all(|byte| *byte == 0);
        if archive::is_header(&block) || is_empty_archive {
            return self.context_of_archive(whole);
        }
        if compression != compression::Compression::None {
            return Err(EngineError::invalid(
                "the context is compressed and no archive",
            ));
        }
        let mut bytes = Vec::new();
        whole
            .take(DOCKERFILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| text("read the Dockerfile", &error))?;
        match bytes.len() as u64 > DOCKERFILE_BYTES_MAX {
            true => Err(EngineError::invalid(format!(
                "the Dockerfile is longer than {DOCKERFILE_BYTES_MAX} bytes"
            ))),
            false => Ok(Fetched::Dockerfile(bytes)),
        }
    }

    fn context_of_archive(&self, source: impl Read) -> Result<Fetched, EngineError> {
        let temporary = self.store().tmp()?;
        let path = temporary.path().join("context");
        std::fs::create_dir(&path).on("create", path.display())?;
        let root = Dir::open(&path).map_err(sys::SysError::from)?;
        let options = UnpackOptions {
            mode: ApplyMode::Merged,
            whiteouts: Whiteouts::Literal,
            replace: Replace::Anything,
            root_metadata: false,
            owner: Some((0, 0)),
            ..UnpackOptions::default()
        };
        unpack(source, &root, &options).map_err(|error| text("unpack the context", &error))?;
        Ok(fetched(temporary, path, None))
    }

    /// Fetches a context from the network: a repository, an archive, or a Dockerfile. Of a repository
    /// with its `.git` if the address says so, or says nothing and `keeps_git_directory` does.
    ///
    /// # Errors
    /// Where it is not to be had.
    pub fn context_of_address(
        &self,
        address: &str,
        keeps_git_directory: bool,
    ) -> Result<Fetched, EngineError> {
        match gitref::parse(address) {
            Ok(git) => {
                let source = GitSource {
                    remote: git.remote,
                    reference: git.reference,
                    subdirectory: git.subdirectory,
                    checksum: git.checksum,
                    keeps_git_directory: git.keep_git_directory.unwrap_or(keeps_git_directory),
                    submodules: git.submodules.unwrap_or(true),
                };
                let temporary = self.store().tmp()?;
                let made = git::checkout(&source, &temporary.path().join("git"))?;
                return Ok(fetched(temporary, made.path, Some(made.time)));
            }
            Err(error) if error.is_meant_as_git() => {
                return Err(EngineError::invalid(format!("{address}: {error}")));
            }
            Err(_) => {}
        }
        let mut source = crate::image::import::download(&self.images(), address)?;
        self.context_of_stream(&mut source)
    }

    /// Downloads a file of `ADD`.
    pub(crate) fn download_to(
        &self,
        source: &HttpSource,
        path: &std::path::Path,
    ) -> Result<(), EngineError> {
        let mut from = crate::image::import::download(&self.images(), &source.url)?;
        let mut file = std::fs::File::create(path).on("create", path.display())?;
        let algorithm = source
            .checksum
            .as_ref()
            .map_or(Algorithm::Sha256, |one| one.algorithm());
        let mut hasher = storage::blobs::Hasher::new(algorithm);
        let mut buffer = vec![0_u8; COPY_BYTES];
        let mut left = DOWNLOAD_BYTES_MAX;
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(text(&format!("download {}", source.url), &error)),
            };
            left = left.checked_sub(count as u64).ok_or_else(|| {
                EngineError::invalid(format!(
                    "{} is longer than {DOWNLOAD_BYTES_MAX} bytes",
                    source.url
                ))
            })?;
            hasher.update(&buffer[..count]);
            std::io::Write::write_all(&mut file, &buffer[..count]).on("write", path.display())?;
        }
        let digest = hasher.finish();
        match &source.checksum {
            Some(wanted) if *wanted != digest => Err(EngineError::invalid(format!(
                "digest mismatch for {}: got {digest}, expected {wanted}",
                source.url
            ))),
            _ => Ok(()),
        }
    }
}

fn fetched(temporary: TemporaryDirectory, path: PathBuf, commit_s: Option<i64>) -> Fetched {
    Fetched::Context(FetchedContext {
        directory: ContextDirectory {
            path,
            is_remembered: false,
            commit_s,
        },
        _temporary: temporary,
    })
}
