//! `search`: repositories of a registry by a word.
//!
//! | question | who answers |
//! |---|---|
//! | `GET /v1/search?q=<word>&n=<limit>` | Docker Hub, hubs like ours |
//! | `GET /v2/_catalog?n=…&last=…` | registries that know no search: names alone, looked through here |

use serde::Deserialize;
use types::reference::DEFAULT_DOMAIN;

use crate::client::{Client, PAGE_ENTRIES, Want, Who, next_query};
use crate::error::{RegistryError, Result};
use crate::http::{Method, encode_query};
use crate::refusal::printable;

const ANSWER_BYTES_MAX: u64 = 8 << 20;
/// A catalog is read so far and no further.
const CATALOG_PAGES_MAX: usize = 50;
/// Where Docker Hub answers a search.
const HUB_SEARCH: &str = "index.docker.io";

/// A repository that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct FoundRepository {
    /// Its name.
    pub name: String,
    /// What its owner says of it.
    pub description: String,
    /// How many people like it.
    #[serde(rename = "star_count")]
    pub stars: i64,
    /// Whether the registry itself vouches for it.
    pub is_official: bool,
    /// An old word for being built from a source repository.
    pub is_automated: bool,
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<FoundRepository>,
}

#[derive(Deserialize)]
struct Catalog {
    /// May be null, but is there: other services answer this path too.
    #[serde(deserialize_with = "Option::deserialize")]
    repositories: Option<Vec<String>>,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The repositories.
    pub repositories: Vec<FoundRepository>,
    /// So many names of a registry that knows no search were looked through, and it has more.
    pub names_read: Option<usize>,
}

impl Client {
    /// Repositories of the registry of `domain` that have to do with `term`, at most `limit`.
    ///
    /// # Errors
    /// Where nobody answers, or not with a list.
    pub fn search(&self, domain: &str, term: &str, limit: usize) -> Result<Found> {
        let is_hub = domain == DEFAULT_DOMAIN
            && self
                .registries()
                .by_name
                .get(domain)
                .is_none_or(|config| config.location.is_none());
        let who = Who {
            domain: if is_hub { HUB_SEARCH } else { domain },
            subject: "",
            scope: "",
        };
        let path = format!("/v1/search?q={}&n={limit}", encode_query(term));
        let found = self.ask_registry(&who, &Want::new(Method::Get, &path), |_, answer| {
            let url = answer.url.clone();
            let bytes = answer.read(ANSWER_BYTES_MAX)?;
            let parsed: Answer =
                serde_json::from_slice(&bytes).map_err(|_| RegistryError::Protocol {
                    url,
                    what: "it gives no list of repositories".to_owned(),
                })?;
            Ok(Found {
                repositories: parsed.results,
                names_read: None,
            })
        });
        let mut found = match found {
            Err(
                RegistryError::Status {
                    status: 400..=405 | 501,
                    ..
                }
                | RegistryError::Protocol { .. },
            ) if !is_hub => self.search_catalog(domain, term, limit)?,
            found => found?,
        };
        found.repositories.truncate(limit);
        for one in &mut found.repositories {
            one.name = printable(&one.name);
            one.description = printable(&one.description);
        }
        Ok(found)
    }

    fn search_catalog(&self, domain: &str, term: &str, limit: usize) -> Result<Found> {
        let who = Who {
            domain,
            subject: "",
            scope: "registry:catalog:*",
        };
        let mut found = Found::default();
        let mut read = 0;
        let mut path = format!("/v2/_catalog?n={PAGE_ENTRIES}");
        for _ in 0..CATALOG_PAGES_MAX {
            let want = Want::new(Method::Get, &path);
            let (names, next) = self.ask_registry(&who, &want, |_, answer| {
                let url = answer.url.clone();
                let next = answer.header("link").and_then(next_query);
                let bytes = answer.read(ANSWER_BYTES_MAX)?;
                let parsed: Catalog =
                    serde_json::from_slice(&bytes).map_err(|_| RegistryError::Protocol {
                        url,
                        what: "it knows no search, and its catalog is no list of repositories"
                            .to_owned(),
                    })?;
                Ok((parsed.repositories.unwrap_or_default(), next))
            })?;
            read += names.len();
            let named = names.into_iter().filter(|name| name.contains(term));
            found.repositories.extend(named.map(|name| FoundRepository {
                name,
                ..FoundRepository::default()
            }));
            let next = next.map(|query| format!("/v2/_catalog?{query}"));
            match next {
                // A page that leads to itself is the last one.
                Some(next) if next != path && found.repositories.len() < limit => path = next,
                _ => return Ok(found),
            }
        }
        found.names_read = Some(read);
        Ok(found)
    }
}
