//! The download of one blob, resumed where it breaks off.
//!
//! A connection may end at any byte of a layer of gigabytes. The reader then asks for the rest with
//! `Range`, and goes on where it was; a server that sends the whole again is read from the start
//! and the known part skipped. Whether the bytes are right is for the caller's hash to say.

use std::fmt;
use std::io::{self, Read};

use types::digest::Digest;

use crate::client::{ATTEMPTS_MAX, Repository, Want};
use crate::error::{RegistryError, Result};
use crate::http::{Answer, Method};
use crate::refusal::{Asked, explain};

/// Breaks of one download, progress or not: a server must not keep us busy for ever.
const BREAKS_MAX: u32 = 100;
const SKIP_BUFFER_BYTES: usize = 64 << 10;

/// A blob as it arrives.
pub struct BlobReader<'r, 'c> {
    repository: &'r Repository<'c>,
    digest: Digest,
    size: u64,
    received: u64,
    body: Option<Box<dyn Read + Send>>,
    /// Breaks since the last byte.
    failures: u32,
    breaks: u32,
}

impl fmt::Debug for BlobReader<'_, '_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "BlobReader({}, {}/{})",
            self.digest, self.received, self.size
        )
    }
}

impl<'r, 'c> BlobReader<'r, 'c> {
    pub(crate) fn open(repository: &'r Repository<'c>, digest: &Digest, size: u64) -> Result<Self> {
        let digest = digest.clone();
        let (received, body, failures, breaks) = (0, None, 0, 0);
        let mut reader = Self {
            repository,
            digest,
            size,
            received,
            body,
            failures,
            breaks,
        };
        if size > 0 {
            reader.connect()?;
        }
        Ok(reader)
    }

    fn path(&self) -> String {
        format!("blobs/{}", self.digest)
    }

    /// Asks for everything that did not come yet.
    fn connect(&mut self) -> Result<()> {
        let path = self.path();
        let want = Want {
            offset: self.received,
            ..Want::new(Method::Get, &path)
        };
        let answer = self
            .repository
            .ask(&want)
            .map_err(|error| self.explain(error))?;
        let skip = self.check(&answer)?;
        let mut body: Box<dyn Read + Send> = Box::new(answer.into_reader());
        let mut buffer = [0; SKIP_BUFFER_BYTES];
        let mut left = skip;
        while left > 0 {
            let wanted = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            match body.read(&mut buffer[..wanted]) {
                // A break while skipping is a break like any other.
                Ok(0) | Err(_) => return Ok(()),
                Ok(count) => left -= count as u64,
            }
        }
        self.body = Some(body);
        Ok(())
    }

    /// How many bytes of the answer are known already.
    fn check(&self, answer: &Answer) -> Result<u64> {
        let protocol = |what: String| RegistryError::Protocol {
            url: answer.url.clone(),
            what,
        };
        if answer.status() == 206 {
            let range = answer.header("content-range").unwrap_or_default();
            let start = range
                .strip_prefix("bytes ")
                .and_then(|rest| rest.split('-').next());
            return match start.and_then(|start| start.parse::<u64>().ok()) {
                Some(start) if start == self.received => Ok(0),
                _ => Err(protocol(format!(
                    "it was asked for byte {} and sends {range}",
                    self.received
                ))),
            };
        }
        match answer.length() {
            Some(length) if length != self.size => Err(protocol(format!(
                "the blob has {length} bytes, not {}",
                self.size
            ))),
            _ => Ok(self.received),
        }
    }

    fn explain(&self, error: RegistryError) -> RegistryError {
        explain(self.repository.familiar(), error, Asked::Blob(&self.digest))
    }

    fn broke(&mut self, source: io::Error) -> io::Result<()> {
        self.body = None;
        self.failures += 1;
        self.breaks += 1;
        if self.failures >= ATTEMPTS_MAX || self.breaks >= BREAKS_MAX {
            let (received, size) = (self.received, self.size);
            let url = format!("{}/{}", self.repository.familiar(), self.path());
            return Err(io::Error::other(RegistryError::Interrupted {
                url,
                received,
                size,
                source,
            }));
        }
        if self.failures > 1 {
            std::thread::sleep(self.repository.client().wait(self.failures - 2));
        }
        Ok(())
    }
}

impl Read for BlobReader<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = usize::try_from(self.size - self.received).unwrap_or(usize::MAX);
            let wanted = left.min(buffer.len());
            if wanted == 0 {
                return Ok(0);
            }
            let Some(body) = &mut self.body else {
                self.connect().map_err(io::Error::other)?;
                if self.body.is_none() {
                    self.broke(io::ErrorKind::UnexpectedEof.into())?;
                }
                continue;
            };
            match body.read(&mut buffer[..wanted]) {
                Ok(0) => self.broke(io::ErrorKind::UnexpectedEof.into())?,
                Ok(count) => {
                    self.received += count as u64;
                    self.failures = 0;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.broke(error)?,
            }
        }
    }
}
