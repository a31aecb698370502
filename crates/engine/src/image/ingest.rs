//! A layer's archive on its way into the store: hashed, decompressed, hashed again, unpacked.
//!
//! ```text
//! source ─ raw hash, kept as blob ─ decompress ─ diff id ─ unpack ─ layer
//! ```
//! One pass, no temporary tar. The two digests are compared before anything gets a name.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::rc::Rc;

use storage::blobs::Hasher;
use storage::compression;
use storage::layer::unpack::{UnpackError, UnpackOptions, UnpackReport, unpack};
use storage::layers::LayerWork;
use storage::tar::TarError;
use sys::rootfs::Dir;
use types::digest::{Algorithm, Digest};

use super::error::{ImageError, Result};

/// What any archive may become when it is decompressed.
const EXPANSION_FREE_BYTES: u64 = 2 << 30;
/// Beyond that, as a multiple of the compressed bytes: gzip cannot do more than 1,032.
const EXPANSION_RATIO_MAX: u64 = 1100;
const DRAIN_BUFFER_BYTES: usize = 64 << 10;

/// Unpacks an archive of unknown compression beneath `root`, and returns its diff id by `algorithm`.
/// The source is read to its very end. It need not be sent between threads.
pub(crate) fn unpack_archive(
    source: impl Read + Send,
    root: &Dir,
    algorithm: Algorithm,
    id: &str,
) -> Result<(UnpackReport, Digest)> {
    let unpack_error = |source| ImageError::Unpack {
        id: id.to_owned(),
        source,
    };
    let fetch_error = |source| ImageError::Fetch {
        id: id.to_owned(),
        source,
    };
    let counter = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let mut source = Counted {
        source,
        count: counter.clone(),
    };
    let (report, diff_id) = {
        let (_, decoded) = compression::decode(&mut source).map_err(fetch_error)?;
        let hasher = Rc::new(Cell::new(Some(Hasher::new(algorithm))));
        let guarded = Guarded {
            source: decoded,
            hasher: hasher.clone(),
            decoded: 0,
            counter,
        };
        let report = unpack(guarded, root, &UnpackOptions::default()).map_err(unpack_error)?;
        let hasher = hasher
            .take()
            .expect("invariant: the hasher is put back after every read");
        (report, hasher.finish())
    };
    // After the last member of a compressed stream there may be padding, which is hashed too.
    let mut buffer = [0; DRAIN_BUFFER_BYTES];
    while source.read(&mut buffer).map_err(fetch_error)? > 0 {}
    Ok((report, diff_id))
}

/// [`unpack_archive`] into a claimed layer, whose diff id it must have.
pub(crate) fn fill_layer(
    source: impl Read + Send,
    work: &LayerWork,
    id: &str,
) -> Result<UnpackReport> {
    let expected = work.key();
    let root = work.root()?;
    let (report, actual) = unpack_archive(source, &root, expected.algorithm(), id)?;
    if actual != *expected {
        let (id, expected) = (id.to_owned(), expected.clone());
        return Err(ImageError::DiffIdMismatch {
            id,
            expected,
            actual,
        });
    }
    Ok(report)
}

/// Whether an error of unpacking is really one of the source, such as a broken connection.
pub(crate) fn source_error(error: ImageError) -> ImageError {
    match error {
        ImageError::Unpack {
            id,
            source: UnpackError::Tar(TarError::Read { source, .. }),
        } => ImageError::Fetch { id, source },
        other => other,
    }
}

/// Copies what is read to a sink.
pub(crate) struct Tee<R, W> {
    pub(crate) source: R,
    pub(crate) sink: W,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.sink.write_all(&buffer[..count])?;
        Ok(count)
    }
}

/// Counts what is read, for the ratio.
struct Counted<R> {
    source: R,
    count: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.count
            .fetch_add(count as u64, std::sync::atomic::Ordering::Relaxed);
        Ok(count)
    }
}

/// Hashes the decompressed bytes and refuses bombs.
struct Guarded<R> {
    source: R,
    hasher: Rc<Cell<Option<Hasher>>>,
    decoded: u64,
    counter: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

impl<R: Read> Read for Guarded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.decoded += count as u64;
        if self.decoded > EXPANSION_FREE_BYTES {
            let raw = self.counter.load(std::sync::atomic::Ordering::Relaxed);
            if self.decoded / EXPANSION_RATIO_MAX > raw {
                let text = format!(
                    "it is a decompression bomb: {raw} bytes became {} and more",
                    self.decoded
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
        if let Some(mut hasher) = self.hasher.take() {
            hasher.update(&buffer[..count]);
            self.hasher.set(Some(hasher));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_grows_without_measure_is_refused() {
        let raw = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(1000));
        let hasher = Rc::new(Cell::new(None));
        let source = io::repeat(0);
        let decoded = EXPANSION_FREE_BYTES - 5;
        let mut guarded = Guarded {
            source,
            hasher,
            decoded,
            counter: raw.clone(),
        };
        let mut buffer = [0; 10];
        let error = guarded.read(&mut buffer).unwrap_err().to_string();
        assert!(error.contains("bomb"), "{error}");
        raw.store(2 << 30, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(guarded.read(&mut buffer).unwrap(), 10);
    }
}
