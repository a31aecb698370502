//! The client: manifests, blobs and tags of a repository, from its mirrors or its registry.
//!
//! A [`Client`] belongs to one command and may be used by several threads of it. The first address
//! of a repository that answers is asked first from then on. An answer of the registry itself is
//! final; whatever a mirror answers wrongly is asked of the next one.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde::Deserialize;
use storage::blobs::Hasher;
use types::digest::{Algorithm, Digest};
use types::reference::{DEFAULT_TAG, Reference, is_tag};

use crate::auth::{self, Challenge};
use crate::blob::BlobReader;
use crate::config::{Endpoint, Registries, Trust};
use crate::error::{RegistryError, Result};
use crate::http::{Answer, Ask, Body, Method, Transport, origin};
use crate::refusal::{self, Asked, accept, prefer, refusal};

/// As the distribution specification: a registry need not accept larger ones.
pub const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// The longest wait that a registry may ask of us before we give up.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);
/// Attempts at one address.
pub(crate) const ATTEMPTS_MAX: u32 = 5;
const BACK_OFF: Duration = Duration::from_millis(200);
const TAGS_BYTES_MAX: u64 = 16 << 20;
/// Tags of one repository that are listed.
pub const TAGS_MAX: usize = 100_000;
pub(crate) const PAGE_ENTRIES: usize = 1000;
const PAGES_MAX: usize = 1000;
const QUERY_BYTES_MAX: usize = 2048;

/// Every kind of manifest that we understand, and schema 1 last so that it can be refused by name.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// A client for all registries, with what it learned of them.
#[derive(Debug)]
pub struct Client {
    pub(crate) transport: Transport,
    registries: Registries,
    /// `Authorization` by address and subject.
    authorizations: Mutex<BTreeMap<(String, String), String>>,
    back_off: Duration,
}

/// A manifest or index as the registry gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedManifest {
    /// The bytes, to be kept as they are.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
    /// What the registry says they are; may be empty.
    pub media_type: String,
}

/// The tags of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagList {
    /// Sorted.
    pub tags: Vec<String>,
    /// Whether these are all; else the registry has more than [`TAGS_MAX`].
    pub is_whole: bool,
}

/// A tag or a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector<'a> {
    /// A tag.
    Tag(&'a str),
    /// A digest.
    Digest(&'a Digest),
}

impl<'a> Selector<'a> {
    /// What a reference asks for: its digest, else its tag, else `latest`.
    pub fn of(reference: &'a Reference) -> Self {
        match (reference.digest(), reference.tag()) {
            (Some(digest), _) => Self::Digest(digest),
            (None, tag) => Self::Tag(tag.unwrap_or(DEFAULT_TAG)),
        }
    }

    pub(crate) fn as_str(self) -> &'a str {
        match self {
            Self::Tag(tag) => tag,
            Self::Digest(digest) => digest.as_str(),
        }
    }
}

/// What is to be done in a repository: what a token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Pull,
    Push,
}

impl Access {
    fn actions(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
        }
    }
}

/// In whose name something is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who<'a> {
    /// The registry as references name it, whose account it is.
    pub(crate) domain: &'a str,
    /// What a token is kept for.
    pub(crate) subject: &'a str,
    /// What a token is asked for where the registry does not say.
    pub(crate) scope: &'a str,
}

/// A repository in a registry.
#[derive(Debug)]
pub struct Repository<'c> {
    client: &'c Client,
    name: Reference,
    endpoints: Vec<Endpoint>,
    preferred: AtomicUsize,
    /// Whether an address has answered already.
    is_met: AtomicBool,
    access: Access,
}

/// What is asked of a repository, without its address.
#[derive(Clone, Copy)]
pub(crate) struct Want<'a> {
    pub(crate) method: Method,
    /// After `/v2/<name>/`.
    pub(crate) path: &'a str,
    pub(crate) accept: Option<&'a str>,
    pub(crate) offset: u64,
    pub(crate) body: Option<Body<'a>>,
}

impl<'a> Want<'a> {
    pub(crate) fn new(method: Method, path: &'a str) -> Self {
        Self {
            method,
            path,
            accept: None,
            offset: 0,
            body: None,
        }
    }
}

impl Client {
    /// A client that knows these registries.
    pub fn new(registries: Registries) -> Self {
        Self {
            transport: Transport::default(),
            registries,
            authorizations: Mutex::default(),
            back_off: BACK_OFF,
        }
    }

    /// The same, waiting so long before the second attempt; tests wait less.
    #[must_use]
    pub fn with_back_off(mut self, back_off: Duration) -> Self {
        self.back_off = back_off;
        self
    }

    /// The repository of a reference.
    ///
    /// # Errors
    /// Where the configuration names an address that is none, or plain HTTP that is not allowed.
    pub fn repository(&self, reference: &Reference) -> Result<Repository<'_>> {
        self.repository_for(reference, Access::Pull)
    }

    /// The same to push to: mirrors are left out.
    ///
    /// # Errors
    /// As [`Self::repository`].
    pub fn push_repository(&self, reference: &Reference) -> Result<Repository<'_>> {
        self.repository_for(reference, Access::Push)
    }

    fn repository_for(&self, reference: &Reference, access: Access) -> Result<Repository<'_>> {
        let mut endpoints = self.registries.endpoints(reference.domain())?;
        if access == Access::Push {
            endpoints.retain(|endpoint| endpoint.is_origin);
        }
        let name = reference.clone().without_tag_and_digest();
        Ok(Repository {
            client: self,
            name,
            endpoints,
            preferred: AtomicUsize::new(0),
            is_met: AtomicBool::new(false),
            access,
        })
    }

    /// Starts the download of any `http` or `https` address, as `import` has it. Returns the length
    /// if it is told.
    ///
    /// # Errors
    /// Where nobody answers, or not with success.
    pub fn download(&self, url: &str) -> Result<(Option<u64>, Box<dyn Read + Send>)> {
        if origin(url).is_none_or(|(scheme, ..)| !matches!(scheme.as_str(), "http" | "https")) {
            return Err(RegistryError::InvalidUrl {
                url: url.to_owned(),
            });
        }
        let ask = Ask {
            method: Method::Get,
            url,
            trust: Trust::Verified,
            plain: url.starts_with("http://"),
            authorization: None,
            accept: None,
            offset: 0,
            body: None,
        };
        let answer = self.retry(|| {
            let answer = self.transport.send(&ask)?;
            if answer.status() == 200 {
                Ok(answer)
            } else {
                Err(refusal(answer))
            }
        })?;
        Ok((answer.length(), Box::new(answer.into_reader())))
    }

    pub(crate) fn retry<T>(&self, attempt: impl Fn() -> Result<T>) -> Result<T> {
        let mut number = 0;
        loop {
            match attempt() {
                Err(error) if number + 1 < ATTEMPTS_MAX && error.is_transient() => {
                    let asked = match &error {
                        RegistryError::TooManyRequests { retry_after, .. } => *retry_after,
                        _ => None,
                    };
                    std::thread::sleep(asked.unwrap_or_else(|| self.wait(number)));
                    number += 1;
                }
                other => return other,
            }
        }
    }

    /// Asks an address that belongs to `endpoint`, and once more with what it wants for
    /// authentication. Elsewhere nothing is said of who we are.
    pub(crate) fn ask_url(
        &self,
        who: &Who<'_>,
        endpoint: &Endpoint,
        url: &str,
        want: &Want<'_>,
    ) -> Result<Answer> {
        let is_own = origin(url) == origin(&endpoint.base);
        let key = (endpoint.base.clone(), who.subject.to_owned());
        let known = self.authorizations().get(&key).cloned();
        let send = |authorization: Option<&str>| {
            self.transport.send(&Ask {
                method: want.method,
                url,
                trust: endpoint.trust,
                plain: endpoint.trust == Trust::Any,
                authorization: authorization.filter(|_| is_own),
                accept: want.accept,
                offset: want.offset,
                body: want.body,
            })
        };
        let answer = send(known.as_deref())?;
        if answer.status() != 401 || !is_own {
            return accept(answer);
        }
        let challenge = answer
            .headers("www-authenticate")
            .find_map(Challenge::parse);
        let Some(challenge) = challenge else {
            return accept(answer);
        };
        let account = endpoint
            .is_origin
            .then(|| self.registries.credentials.get(who.domain))
            .flatten();
        let answered = auth::answer(
            &self.transport,
            &challenge,
            endpoint,
            who.scope,
            account.as_ref(),
        )?;
        let Some(authorization) = answered else {
            return accept(answer);
        };
        let answer = send(Some(&authorization))?;
        // That something is not there is an answer too.
        if answer.status() != 401 {
            self.authorizations().insert(key, authorization);
        }
        accept(answer)
    }

    fn authorizations(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), String>> {
        // A poisoned map is still a map: a panic elsewhere leaves no half-written entry.
        self.authorizations
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Asks the registry of a domain itself, by path from its root, and reads the answer.
    pub(crate) fn ask_registry<T>(
        &self,
        who: &Who<'_>,
        want: &Want<'_>,
        read: impl Fn(&Endpoint, Answer) -> Result<T>,
    ) -> Result<T> {
        let mut failure = None;
        let mut endpoints = self.registries.endpoints(who.domain)?;
        endpoints.retain(|endpoint| endpoint.is_origin);
        for endpoint in &endpoints {
            let url = format!("{}{}", endpoint.base, want.path);
            let ask = || {
                let answer = self.ask_url(who, endpoint, &url, want)?;
                read(endpoint, answer)
            };
            match ask() {
                Err(error) if error.is_unreachable() => failure = Some(error),
                Err(error) if error.is_transient() => return self.retry(ask),
                other => return other,
            }
        }
        Err(failure.unwrap_or_else(|| RegistryError::InvalidUrl {
            url: who.domain.to_owned(),
        }))
    }

    pub(crate) fn registries(&self) -> &Registries {
        &self.registries
    }

    /// The pause after a failed attempt: twice as long each time.
    pub(crate) fn wait(&self, number: u32) -> Duration {
        self.back_off.saturating_mul(1 << number.min(8))
    }
}

impl<'c> Repository<'c> {
    /// The digest that a tag means now, where the registry tells without sending the manifest.
    ///
    /// # Errors
    /// As [`Self::manifest`].
    pub fn head(&self, selector: Selector<'_>) -> Result<Option<Digest>> {
        let path = format!("manifests/{}", selector.as_str());
        let want = Want {
            accept: Some(ACCEPT),
            ..Want::new(Method::Head, &path)
        };
        let answer = self
            .ask(&want)
            .map_err(|error| self.explain(error, selector))?;
        Ok(answer
            .header("docker-content-digest")
            .and_then(|text| Digest::parse(text).ok()))
    }

    /// Fetches a manifest or index and checks its bytes against its digest.
    ///
    /// # Errors
    /// Where it is not there, may not be read, is too large, or is not what its digest says.
    pub fn manifest(&self, selector: Selector<'_>) -> Result<FetchedManifest> {
        let path = format!("manifests/{}", selector.as_str());
        let want = Want {
            accept: Some(ACCEPT),
            ..Want::new(Method::Get, &path)
        };
        let read = |answer: Answer| {
            let url = answer.url.clone();
            let media_type = answer.header("content-type").unwrap_or_default();
            let media_type = media_type
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned();
            if media_type.eq_ignore_ascii_case("text/html") {
                let what = "it gives a web page, not a manifest".to_owned();
                return Err(RegistryError::Protocol { url, what });
            }
            let told = answer.header("docker-content-digest").map(Digest::parse);
            let bytes = answer.read(MANIFEST_BYTES_MAX)?;
            let expected = match (selector, told) {
                (Selector::Digest(digest), _) => Some(digest.clone()),
                (Selector::Tag(_), Some(Ok(digest))) => Some(digest),
                (Selector::Tag(_), Some(Err(error))) => {
                    return Err(RegistryError::Protocol {
                        url,
                        what: error.to_string(),
                    });
                }
                (Selector::Tag(_), None) => None,
            };
            let algorithm = expected
                .as_ref()
                .map_or(Algorithm::Sha256, Digest::algorithm);
            let mut hasher = Hasher::new(algorithm);
            hasher.update(&bytes);
            let digest = hasher.finish();
            match expected {
                Some(expected) if expected != digest => Err(RegistryError::DigestMismatch {
                    url,
                    expected,
                    actual: digest,
                }),
                _ => Ok(FetchedManifest {
                    bytes,
                    digest,
                    media_type,
                }),
            }
        };
        self.ask_and(&want, read)
            .map_err(|error| self.explain(error, selector))
    }

    /// Starts the download of a blob of `size` bytes. What is read is not verified here.
    ///
    /// # Errors
    /// Where it is not there or may not be read.
    pub fn blob<'r>(&'r self, digest: &Digest, size: u64) -> Result<BlobReader<'r, 'c>> {
        BlobReader::open(self, digest, size)
    }

    /// The tags, fetched page by page up to [`TAGS_MAX`].
    ///
    /// # Errors
    /// Where they may not be read, or never end.
    pub fn tags(&self) -> Result<TagList> {
        let mut all = Vec::new();
        let mut path = format!("tags/list?n={PAGE_ENTRIES}");
        for _ in 0..PAGES_MAX {
            let want = Want::new(Method::Get, &path);
            let read = |answer: Answer| {
                let url = answer.url.clone();
                let next = answer.header("link").and_then(next_query);
                let bytes = answer.read(TAGS_BYTES_MAX)?;
                let what = "it gives no list of tags".to_owned();
                let found = tags(&bytes).ok_or(RegistryError::Protocol { url, what })?;
                Ok((found, next))
            };
            let (found, next) = self
                .ask_and(&want, read)
                .map_err(|error| self.explain(error, Selector::Tag("")))?;
            all.extend(found);
            let next = next.map(|query| format!("tags/list?{query}"));
            match next {
                // It would lead here for ever.
                Some(next) if next == path => break,
                Some(next) if all.len() < TAGS_MAX => path = next,
                next => {
                    let is_whole = next.is_none() && all.len() <= TAGS_MAX;
                    // As specified; not all registries keep to it.
                    all.sort();
                    all.truncate(TAGS_MAX);
                    return Ok(TagList {
                        tags: all,
                        is_whole,
                    });
                }
            }
        }
        Err(RegistryError::Protocol {
            url: self.familiar(),
            what: "its list of tags does not end".to_owned(),
        })
    }

    /// All tags.
    ///
    /// # Errors
    /// As [`Self::tags`], and where there are more than [`TAGS_MAX`].
    pub fn all_tags(&self) -> Result<Vec<String>> {
        let list = self.tags()?;
        if list.is_whole {
            return Ok(list.tags);
        }
        Err(RegistryError::TooManyTags {
            repository: self.familiar(),
            limit: TAGS_MAX,
        })
    }

    pub(crate) fn client(&self) -> &'c Client {
        self.client
    }

    pub(crate) fn familiar(&self) -> String {
        self.name.familiar_name()
    }

    pub(crate) fn ask(&self, want: &Want<'_>) -> Result<Answer> {
        self.ask_and(want, Ok)
    }

    /// Asks the addresses in turn and reads the answer of the first that has one.
    pub(crate) fn ask_and<T>(
        &self,
        want: &Want<'_>,
        read: impl Fn(Answer) -> Result<T>,
    ) -> Result<T> {
        let first = self.preferred.load(Ordering::Relaxed);
        let order = (first..self.endpoints.len()).chain(0..first);
        let last = (first + self.endpoints.len() - 1) % self.endpoints.len().max(1);
        let mut failure = None;
        for at in order {
            let endpoint = &self.endpoints[at];
            let ask = || self.ask_endpoint(endpoint, want).and_then(&read);
            // Who was never met may speak no TLS at all, which looks like a broken connection: as
            // long as there is another address, nobody waits for this one.
            let answer = if at == last || self.is_met.load(Ordering::Relaxed) {
                self.client.retry(ask)
            } else {
                match ask() {
                    Err(error) if !error.is_unreachable() && error.is_transient() => {
                        self.client.retry(ask)
                    }
                    other => other,
                }
            };
            match answer {
                Ok(value) => {
                    self.preferred.store(at, Ordering::Relaxed);
                    self.is_met.store(true, Ordering::Relaxed);
                    return Ok(value);
                }
                // The registry has spoken. What a mirror says, the registry may know better.
                Err(error) if endpoint.is_origin && !error.is_unreachable() => {
                    if self.access == Access::Push {
                        self.preferred.store(at, Ordering::Relaxed);
                    }
                    return Err(error);
                }
                Err(error) => failure = Some(prefer(failure, error)),
            }
        }
        Err(failure.unwrap_or_else(|| RegistryError::InvalidUrl {
            url: self.familiar(),
        }))
    }

    /// The address that answered last.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoints[self.preferred.load(Ordering::Relaxed)]
    }

    /// Asks one address.
    fn ask_endpoint(&self, endpoint: &Endpoint, want: &Want<'_>) -> Result<Answer> {
        let url = format!("{}/v2/{}/{}", endpoint.base, self.name.path(), want.path);
        self.ask_url(endpoint, &url, want)
    }

    /// Asks an address that belongs to `endpoint`.
    pub(crate) fn ask_url(
        &self,
        endpoint: &Endpoint,
        url: &str,
        want: &Want<'_>,
    ) -> Result<Answer> {
        let path = self.name.path();
        let who = Who {
            domain: self.name.domain(),
            subject: path,
            scope: &format!("repository:{path}:{}", self.access.actions()),
        };
        self.client.ask_url(&who, endpoint, url, want)
    }

    fn explain(&self, error: RegistryError, selector: Selector<'_>) -> RegistryError {
        refusal::explain(self.familiar(), error, Asked::Manifest(selector))
    }
}

/// The query of the next page, from `Link: </v2/…?n=…&last=…>; rel="next"`. Only the query is taken:
/// where a list goes on is not for its last page to say.
pub(crate) fn next_query(link: &str) -> Option<String> {
    let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.contains("rel=\"next\"") || parameters.contains("rel=next");
    let (_, query) = target.split_once('?')?;
    let fits = query.len() <= QUERY_BYTES_MAX && query.bytes().all(|byte| byte.is_ascii_graphic());
    (is_next && fits && !query.contains('#')).then(|| query.to_owned())
}

/// The tags of a list of tags; `None` where it is none.
pub(crate) fn tags(body: &[u8]) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Tags {
        name: Option<String>,
        tags: Option<Vec<String>>,
    }
    let tags: Tags = serde_json::from_slice(body).ok()?;
    if tags.name.is_none() && tags.tags.is_none() {
        return None;
    }
    let tags = tags.tags.unwrap_or_default();
    // They are shown on terminals, and asked for by name.
    tags.iter().all(|tag| is_tag(tag)).then_some(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_query_of_the_next_page_is_taken() {
        let next = |link| next_query(link);
        assert_eq!(
            next("</v2/a/tags/list?n=2&last=b>; rel=\"next\"").unwrap(),
            "n=2&last=b"
        );
        assert_eq!(
            next("<http://evil.lan/x?last=b>; rel=\"next\"").unwrap(),
            "last=b"
        );
        for link in [
            "",
            "</v2/a?x>; rel=\"prev\"",
            "</v2/a>; rel=\"next\"",
            "<?a b>; rel=next",
        ] {
            assert_eq!(next(link), None, "{link}");
        }
    }

    #[test]
    fn a_list_of_tags_may_be_null_and_nothing_else() {
        let two = Some(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(tags(br#"{"name":"x","tags":["a","b"]}"#), two);
        assert_eq!(tags(br#"{"name":"x","tags":null}"#), Some(Vec::new()));
        for body in [
            &b"[]x"[..],
            b"",
            br#"{"tags":[1]}"#,
            br#"{"tags":"a"}"#,
            br#"{"tags":["a","b\u001b[31m"]}"#,
            br#"{"tags":["../x"]}"#,
        ] {
            assert_eq!(tags(body), None);
        }
    }
}
