//! `login`: whether a registry takes an account, before it is kept.
//!
//! | client | registry |
//! |---|---|
//! | `GET /v2/` | 200: it wants no account; 401: Basic, or a realm |
//! | Basic: the same with the account | 200, or 401: a wrong name or password |
//! | realm: a token with `offline_token=true` | `token`, and perhaps `refresh_token`, kept instead of the password |
//! | `GET /v2/` with the token | 200 |

use serde::Deserialize;

use crate::auth::{self, CLIENT_ID, Challenge};
use crate::client::Client;
use crate::config::{Endpoint, Trust};
use crate::credentials::Account;
use crate::error::{RegistryError, Result};
use crate::http::{Answer, Ask, Method};

const ANSWER_BYTES_MAX: u64 = 1 << 20;
const TOKEN_BYTES_MAX: usize = 16 << 10;

#[derive(Deserialize)]
struct Refresh {
    refresh_token: Option<String>,
}

impl Client {
    /// Signs in, and returns the account as it is to be kept.
    ///
    /// # Errors
    /// Where the registry is not there, is none, or does not take the account.
    pub fn login(&self, domain: &str, account: &Account) -> Result<Account> {
        let mut failure = None;
        let mut endpoints = self.registries().endpoints(domain)?;
        endpoints.retain(|endpoint| endpoint.is_origin);
        for endpoint in &endpoints {
            match self.login_at(endpoint, account) {
                Err(error) if error.is_unreachable() => failure = Some(error),
                other => return other,
            }
        }
        Err(failure.unwrap_or_else(|| RegistryError::InvalidUrl {
            url: domain.to_owned(),
        }))
    }

    fn login_at(&self, endpoint: &Endpoint, account: &Account) -> Result<Account> {
        let url = format!("{}/v2/", endpoint.base);
        let answer = self.ask_base(endpoint, &url, None)?;
        if answer.status() != 401 {
            check(answer, &url)?;
            return Ok(account.clone());
        }
        let challenge = answer
            .headers("www-authenticate")
            .find_map(Challenge::parse);
        let (kept, authorization) = match challenge {
            Some(Challenge::Basic) => (account.clone(), account.basic()),
            Some(Challenge::Bearer { realm, service, .. }) => {
                self.token(endpoint, &realm, service.as_deref(), account)?
            }
            None => {
                return Err(RegistryError::Protocol {
                    url,
                    what: "it wants an account and does not say how".to_owned(),
                });
            }
        };
        check(
            self.ask_base(endpoint, &url, authorization.as_deref())?,
            &url,
        )?;
        Ok(kept)
    }

    fn ask_base(&self, endpoint: &Endpoint, url: &str, who: Option<&str>) -> Result<Answer> {
        self.transport.send(&Ask {
            method: Method::Get,
            url,
            trust: endpoint.trust,
            plain: endpoint.trust == Trust::Any,
            authorization: who,
            accept: None,
            offset: 0,
            body: None,
        })
    }

    /// A token for nothing in particular: that there is one proves the account.
    fn token(
        &self,
        endpoint: &Endpoint,
        realm: &str,
        service: Option<&str>,
        account: &Account,
    ) -> Result<(Account, Option<String>)> {
        let user = account.user();
        let mut pairs = vec![
            ("account", user),
            ("client_id", CLIENT_ID),
            ("offline_token", "true"),
        ];
        pairs.extend(service.map(|service| ("service", service)));
        let answer = auth::ask_realm(&self.transport, realm, endpoint, &pairs, Some(account))?;
        if matches!(answer.status(), 401 | 403) {
            let url = format!("{}/v2/", endpoint.base);
            return Err(RegistryError::LoginFailed {
                words: format!("Get \"{url}\": unauthorized: incorrect username or password"),
            });
        }
        if answer.status() != 200 {
            return Err(crate::refusal::refusal(answer));
        }
        let bytes = answer.read(ANSWER_BYTES_MAX)?;
        let token = auth::token(&bytes).map_err(|what| RegistryError::Protocol {
            url: realm.to_owned(),
            what: what.to_owned(),
        })?;
        let refresh = serde_json::from_slice::<Refresh>(&bytes).ok();
        let refresh = refresh
            .and_then(|answer| answer.refresh_token)
            .filter(|token| !token.is_empty() && token.len() <= TOKEN_BYTES_MAX);
        let kept = match refresh {
            Some(refresh) => Account::with_identity_token(user.to_owned(), refresh),
            None => account.clone(),
        };
        Ok((kept, Some(format!("Bearer {token}"))))
    }
}

fn check(answer: Answer, url: &str) -> Result<()> {
    let media_type = answer.header("content-type").unwrap_or_default();
    match answer.status() {
        200 if media_type.to_ascii_lowercase().starts_with("text/html") => {
            Err(RegistryError::Protocol {
                url: url.to_owned(),
                what: "it gives a web page; there is no registry".to_owned(),
            })
        }
        200 => Ok(()),
        401 | 403 => Err(RegistryError::LoginFailed {
            words: format!(
                "login attempt to {url} failed with status: {} {}",
                answer.status(),
                if answer.status() == 401 {
                    "Unauthorized"
                } else {
                    "Forbidden"
                }
            ),
        }),
        404 => Err(RegistryError::Protocol {
            url: url.to_owned(),
            what: "there is no registry (404)".to_owned(),
        }),
        _ => Err(crate::refusal::refusal(answer)),
    }
}
