//! The upload of one blob, resumed where it breaks off.
//!
//! | client | registry |
//! |---|---|
//! | `POST blobs/uploads/?mount=<digest>&from=<repository>` | 201: mounted; 202: no, send it, `Location` |
//! | small: `PUT <location>?digest=<digest>` with the bytes | 201 |
//! | large: `PATCH <location>` with `Content-Range: <first>-<last>` | 202, `Range: 0-<last>`, next `Location` |
//! | … and `PUT <location>?digest=<digest>` | 201 |
//! | after a cut connection: `GET <location>` | 204, `Range: 0-<last>` |
//!
//! A large blob goes in one piece; where that is refused for its size, or breaks off again and again,
//! in smaller ones: proxies have limits of which they do not tell. A `Location` may be relative, on
//! another host (which then learns nothing of our account), and have a query already.

use std::fmt;
use std::io::{self, Read};

use types::digest::Digest;

use crate::client::{ATTEMPTS_MAX, Repository, Want};
use crate::error::{RegistryError, Result};
use crate::http::{Answer, Body, Content, Method, check_step, encode_query, resolve};
use crate::push::check_digest;
use crate::refusal::{Asked, explain};

/// Up to here a blob is sent in the request that also names its digest.
const MONOLITH_BYTES_MAX: u64 = 4 << 20;
/// The sizes of pieces that are tried in turn.
const PIECES: [u64; 3] = [u64::MAX, 64 << 20, 5 << 20];
/// Breaks of one upload, progress or not: a server must not keep us busy for ever.
const BREAKS_MAX: u32 = 100;
const OCTETS: &str = "application/octet-stream";

/// Where the bytes of a blob come from.
pub trait BlobContent: Sync {
    /// Opens them from an offset on. Called again after every break.
    ///
    /// # Errors
    /// Where they cannot be read.
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + '_>>;
}

/// A blob to be sent.
#[derive(Clone, Copy)]
pub struct BlobSource<'a> {
    /// What the bytes are.
    pub digest: &'a Digest,
    /// How many there are.
    pub size: u64,
    /// The bytes.
    pub content: &'a dyn BlobContent,
}

impl fmt::Debug for BlobSource<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "BlobSource({}, {})", self.digest, self.size)
    }
}

/// How a blob came to be in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uploaded {
    /// The registry had it in the other repository.
    Mounted,
    /// It was sent.
    Sent,
}

/// An upload that has begun.
struct Session {
    location: String,
    /// Bytes that the registry has.
    offset: u64,
    /// The least that it takes in a piece, but for the last.
    piece_min: u64,
}

impl Repository<'_> {
    /// Brings a blob into the repository: mounted from another one of the same registry where that
    /// is said to have it, else sent.
    ///
    /// # Errors
    /// Where the registry refuses it, or the source cannot be read.
    pub fn upload(&self, source: &BlobSource<'_>, from: Option<&str>) -> Result<Uploaded> {
        let Some(mut session) = self.begin(source.digest, from)? else {
            return Ok(Uploaded::Mounted);
        };
        let (mut failures, mut breaks, mut piece) = (0, 0, 0);
        loop {
            let before = session.offset;
            let Err(error) = self.advance(&mut session, source, PIECES[piece]) else {
                return Ok(Uploaded::Sent);
            };
            if session.offset > before {
                failures = 0;
            }
            breaks += 1;
            failures += 1;
            let is_too_large = matches!(error, RegistryError::Status { status: 413, .. });
            let may_resume = error.is_transient()
                || matches!(
                    error,
                    RegistryError::Status {
                        status: 404 | 416,
                        ..
                    }
                );
            if is_too_large && piece + 1 < PIECES.len() {
                piece += 1;
            } else if is_too_large {
                return Err(RegistryError::BodyTooLarge {
                    repository: self.familiar(),
                    what: "blob",
                    size: source.size.min(PIECES[piece]),
                });
            } else if !may_resume || failures >= ATTEMPTS_MAX || breaks >= BREAKS_MAX {
                return Err(self.explain_upload(error, &session, source));
            } else {
                if failures > 1 {
                    std::thread::sleep(self.client().wait(failures - 2));
                    piece = (piece + 1).min(PIECES.len() - 1);
                }
                match self.resume(&session, source)? {
                    Some(next) => session = next,
                    None => return Ok(Uploaded::Sent),
                }
            }
        }
    }

    /// Begins an upload; `None`: the blob was mounted.
    fn begin(&self, digest: &Digest, from: Option<&str>) -> Result<Option<Session>> {
        if let Some(from) = from {
            let (digest, from) = (encode_query(digest.as_str()), encode_query(from));
            let path = format!("blobs/uploads/?mount={digest}&from={from}");
            match self.ask(&Want::new(Method::Post, &path)) {
                Ok(answer) if answer.status() == 201 => return Ok(None),
                Ok(answer) => return self.session(&answer).map(Some),
                // One may not read there, or it is not there any more: then it is sent.
                Err(RegistryError::Status {
                    status: 400..500, ..
                }) => {}
                Err(error) => return Err(explain(self.familiar(), error, Asked::Push)),
            }
        }
        let answer = self.ask(&Want::new(Method::Post, "blobs/uploads/"));
        let answer = answer.map_err(|error| explain(self.familiar(), error, Asked::Push))?;
        self.session(&answer).map(Some)
    }

    fn session(&self, answer: &Answer) -> Result<Session> {
        let minimum = answer.header("oci-chunk-min-length");
        Ok(Session {
            location: self.location(answer)?,
            offset: 0,
            piece_min: minimum.and_then(|text| text.parse().ok()).unwrap_or(0),
        })
    }

    /// Where an answer says that the next request goes.
    fn location(&self, answer: &Answer) -> Result<String> {
        let text = answer.header("location").unwrap_or_default();
        let target = resolve(&answer.url, text).ok_or_else(|| RegistryError::Protocol {
            url: answer.url.clone(),
            what: "it does not say where to send the blob".into(),
        })?;
        let plain = self.endpoint().trust == crate::config::Trust::Any;
        check_step(&answer.url, &target, plain)?;
        Ok(target)
    }

    /// Sends what is missing.
    fn advance(&self, session: &mut Session, source: &BlobSource<'_>, piece: u64) -> Result<()> {
        let piece = piece.max(session.piece_min);
        let is_whole = session.offset == 0 && source.size <= piece.min(MONOLITH_BYTES_MAX);
        if is_whole {
            return self.put(session, source, source.size);
        }
        while session.offset < source.size {
            self.patch(session, source, piece)?;
        }
        self.put(session, source, 0)
    }

    fn patch(&self, session: &mut Session, source: &BlobSource<'_>, piece: u64) -> Result<()> {
        let first = session.offset;
        let length = (source.size - first).min(piece);
        let last = first + length - 1;
        let want = Want {
            body: Some(Body {
                media_type: OCTETS,
                range: Some((first, last)),
                length,
                content: Content::Blob(source.content, first),
            }),
            ..Want::new(Method::Patch, "")
        };
        let answer = self.ask_url(self.endpoint(), &session.location, &want)?;
        session.location = self.location(&answer)?;
        session.offset = match received(&answer) {
            Some(offset) if offset > last + 1 || offset <= first => {
                return Err(RegistryError::Protocol {
                    url: answer.url.clone(),
                    what: format!("it was sent bytes {first}-{last} and says it has {offset}"),
                });
            }
            Some(offset) => offset,
            None => last + 1,
        };
        Ok(())
    }

    /// Sends the rest, of `length` bytes, and names the digest.
    fn put(&self, session: &Session, source: &BlobSource<'_>, length: u64) -> Result<()> {
        let separator = if session.location.contains('?') {
            '&'
        } else {
            '?'
        };
        let digest = encode_query(source.digest.as_str());
        let url = format!("{}{separator}digest={digest}", session.location);
        let want = Want {
            body: Some(Body {
                media_type: OCTETS,
                range: None,
                length,
                content: if length == 0 {
                    Content::Bytes(&[])
                } else {
                    Content::Blob(source.content, 0)
                },
            }),
            ..Want::new(Method::Put, "")
        };
        let answer = self.ask_url(self.endpoint(), &url, &want)?;
        check_digest(&answer, source.digest)
    }

    /// Asks how far a broken upload came; `None`: the blob is there. One that the registry does not
    /// know any more is begun anew.
    fn resume(&self, session: &Session, source: &BlobSource<'_>) -> Result<Option<Session>> {
        let endpoint = self.endpoint();
        let want = Want::new(Method::Get, "");
        let asked = self
            .client()
            .retry(|| self.ask_url(endpoint, &session.location, &want));
        match asked {
            Ok(answer) => {
                let offset = received(&answer).unwrap_or(0);
                // A registry that tells another place means it; most repeat the old one.
                let location = match answer.header("location") {
                    Some(_) => self.location(&answer)?,
                    None => session.location.clone(),
                };
                if offset > source.size {
                    return self.begin(source.digest, None);
                }
                Ok(Some(Session {
                    location,
                    offset,
                    piece_min: session.piece_min,
                }))
            }
            Err(RegistryError::Status {
                status: 400..500, ..
            }) => {
                if self.has_blob(source.digest)? {
                    return Ok(None);
                }
                self.begin(source.digest, None)
            }
            Err(error) => Err(self.explain_upload(error, session, source)),
        }
    }

    fn explain_upload(
        &self,
        error: RegistryError,
        session: &Session,
        source: &BlobSource<'_>,
    ) -> RegistryError {
        match error {
            RegistryError::Unreachable {
                source: ureq::Error::Io(cause),
                ..
            } => RegistryError::Interrupted {
                url: format!("{}/blobs/{}", self.familiar(), source.digest),
                received: session.offset,
                size: source.size,
                source: cause,
            },
            error => explain(self.familiar(), error, Asked::Push),
        }
    }
}

/// How many bytes the registry has, from `Range: 0-<last>`. An upload of nothing is told as `0-0` too.
fn received(answer: &Answer) -> Option<u64> {
    let range = answer.header("range")?;
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    let last: u64 = range.strip_prefix("0-")?.parse().ok()?;
    Some(if last == 0 { 0 } else { last.checked_add(1)? })
}
