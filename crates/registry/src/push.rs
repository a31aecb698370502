//! What is sent to a repository: manifests, and the questions before a blob is sent.
//!
//! | question | answer |
//! |---|---|
//! | `HEAD blobs/<digest>` | 200: it is there, 404: it is not |
//! | `PUT manifests/<tag or digest>` | 201, the digest of what was kept |

use types::digest::Digest;

use crate::client::{Repository, Selector, Want};
use crate::error::{RegistryError, Result};
use crate::http::{Answer, Body, Content, Method};
use crate::refusal::{Asked, explain};

impl Repository<'_> {
    /// Whether the repository has a blob.
    ///
    /// # Errors
    /// Where it may not be asked, or nobody answers.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let path = format!("blobs/{digest}");
        self.is_there(&Want::new(Method::Head, &path))
    }

    /// Whether the repository has a manifest.
    ///
    /// # Errors
    /// As [`Self::has_blob`].
    pub fn has_manifest(&self, digest: &Digest) -> Result<bool> {
        let path = format!("manifests/{digest}");
        let want = Want {
            accept: Some(crate::client::ACCEPT),
            ..Want::new(Method::Head, &path)
        };
        self.is_there(&want)
    }

    /// The digest that a tag means there now; `None` where it means nothing, or nobody says what.
    ///
    /// # Errors
    /// As [`Self::has_blob`].
    pub fn tagged(&self, tag: &str) -> Result<Option<Digest>> {
        match self.head(Selector::Tag(tag)) {
            Ok(digest) => Ok(digest),
            Err(RegistryError::ManifestUnknown { .. } | RegistryError::NameUnknown { .. }) => {
                Ok(None)
            }
            // Some registries refuse to tell of what is not there: sending it shows who is right.
            Err(RegistryError::AccessDenied { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a manifest or index, whose parts are there.
    ///
    /// # Errors
    /// Where the registry refuses it, or keeps something else.
    pub fn put_manifest(
        &self,
        selector: Selector<'_>,
        media_type: &str,
        bytes: &[u8],
        digest: &Digest,
    ) -> Result<()> {
        self.put_referrer(selector, media_type, bytes, digest)
            .map(drop)
    }

    /// As [`Repository::put_manifest`], of a manifest with a subject; whether the registry lists it among
    /// the subject's referrers.
    ///
    /// # Errors
    /// As [`Repository::put_manifest`].
    pub fn put_referrer(
        &self,
        selector: Selector<'_>,
        media_type: &str,
        bytes: &[u8],
        digest: &Digest,
    ) -> Result<bool> {
        let path = format!("manifests/{}", selector.as_str());
        let length = bytes.len() as u64;
        let want = Want {
            body: Some(Body {
                media_type,
                range: None,
                length,
                content: Content::Bytes(bytes),
            }),
            ..Want::new(Method::Put, &path)
        };
        let answer = self.ask(&want).map_err(|error| match error {
            RegistryError::Status { status: 413, .. } => RegistryError::BodyTooLarge {
                repository: self.familiar(),
                what: "manifest",
                size: length,
            },
            error => explain(self.familiar(), error, Asked::Push),
        })?;
        check_digest(&answer, digest)?;
        Ok(answer.header("oci-subject").is_some())
    }

    fn is_there(&self, want: &Want<'_>) -> Result<bool> {
        match self.ask(want) {
            Ok(_) => Ok(true),
            Err(RegistryError::Status { status: 404, .. }) => Ok(false),
            Err(error) => Err(explain(self.familiar(), error, Asked::Push)),
        }
    }
}

/// A registry says what it kept; one that kept something else is not believed any further.
pub(crate) fn check_digest(answer: &Answer, expected: &Digest) -> Result<()> {
    let told = answer.header("docker-content-digest").map(Digest::parse);
    match told {
        Some(Ok(actual)) if actual != *expected && actual.algorithm() == expected.algorithm() => {
            Err(RegistryError::DigestMismatch {
                url: answer.url.clone(),
                expected: expected.clone(),
                actual,
            })
        }
        _ => Ok(()),
    }
}
