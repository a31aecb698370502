//! What a registry's refusals mean.

use std::time::Duration;

use serde::Deserialize;
use types::digest::Digest;

use crate::client::Selector;
use crate::error::{RegistryError, Result};
use crate::http::{Answer, origin};

const ERROR_BYTES_MAX: u64 = 64 << 10;
const MESSAGE_CHARACTERS_MAX: usize = 300;

/// Of several failures the one that says more: an answer rather than silence.
pub(crate) fn prefer(old: Option<RegistryError>, new: RegistryError) -> RegistryError {
    match old {
        Some(old) if !old.is_unreachable() && new.is_unreachable() => old,
        _ => new,
    }
}

/// An answer that is a success.
pub(crate) fn accept(answer: Answer) -> Result<Answer> {
    if matches!(answer.status(), 200 | 201 | 202 | 204 | 206) {
        Ok(answer)
    } else {
        Err(refusal(answer))
    }
}

/// The error that an answer other than success is.
pub(crate) fn refusal(answer: Answer) -> RegistryError {
    let (url, status) = (answer.url.clone(), answer.status());
    let seconds = answer
        .header("retry-after")
        .and_then(|text| text.trim().parse().ok());
    let retry_after = seconds.map(Duration::from_secs);
    let Words { code, message } = words(&answer.read(ERROR_BYTES_MAX).unwrap_or_default());
    if status == 429 {
        let host = origin(&url).map_or_else(String::new, |(_, host, _)| host);
        return RegistryError::TooManyRequests {
            host,
            retry_after,
            message,
        };
    }
    RegistryError::Status {
        url,
        status,
        code,
        message,
    }
}

/// What was asked of a repository.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked<'a> {
    Manifest(Selector<'a>),
    Blob(&'a Digest),
    /// To take something.
    Push,
}

/// Turns a bare status into what it means where so much was asked of a repository.
pub(crate) fn explain(repository: String, error: RegistryError, asked: Asked<'_>) -> RegistryError {
    let RegistryError::Status {
        status,
        code,
        message,
        url,
    } = error
    else {
        return error;
    };
    match (status, asked) {
        (401, Asked::Push) => RegistryError::Denied {
            words: said(&code, &message, "unauthorized: authentication required"),
        },
        (403, Asked::Push) => RegistryError::Denied {
            words: said(
                &code,
                &message,
                "denied: requested access to the resource is denied",
            ),
        },
        (507, Asked::Push) => RegistryError::NoSpace {
            repository,
            message,
        },
        (401 | 403, _) => RegistryError::AccessDenied {
            repository,
            message,
        },
        (404, Asked::Blob(digest)) => RegistryError::BlobUnknown {
            repository,
            digest: digest.clone(),
        },
        (404, Asked::Manifest(selector)) => {
            let is_repository = code == "NAME_UNKNOWN" || message.starts_with("repository name");
            let reference = match selector {
                _ if is_repository => None,
                Selector::Tag("") => None,
                Selector::Tag(tag) => Some(format!("{repository}:{tag}")),
                Selector::Digest(digest) => Some(format!("{repository}@{digest}")),
            };
            match reference {
                Some(reference) => RegistryError::ManifestUnknown { reference, message },
                None => RegistryError::NameUnknown {
                    repository,
                    message,
                },
            }
        }
        (404, Asked::Push) => RegistryError::NameUnknown {
            repository,
            message,
        },
        _ => RegistryError::Status {
            status,
            code,
            message,
            url,
        },
    }
}

/// In Docker's words: `denied: …`, `unauthorized: …`.
fn said(code: &str, message: &str, otherwise: &str) -> String {
    let code = code.to_lowercase().replace('_', " ");
    match (code.as_str(), message) {
        ("", "") => otherwise.to_owned(),
        ("", message) => message.to_owned(),
        (code, "") => code.to_owned(),
        (code, message) => format!("{code}: {message}"),
    }
}

/// The registry's own words, fit for a line on a terminal.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    /// Such as `NAME_UNKNOWN`; may be empty.
    pub(crate) code: String,
    /// May be empty.
    pub(crate) message: String,
}

/// Reads the body of a refusal.
pub(crate) fn words(body: &[u8]) -> Words {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        #[serde(default)]
        message: String,
        #[serde(default)]
        code: String,
    }
    let Ok(errors) = serde_json::from_slice::<Errors>(body) else {
        return Words::default();
    };
    let Some(item) = errors.errors.into_iter().next() else {
        return Words::default();
    };
    Words {
        code: printable(&item.code),
        message: printable(&item.message),
    }
}

/// A text of strangers: short and without control characters.
pub(crate) fn printable(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(MESSAGE_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_registry_are_short_and_printable() {
        let body = br#"{"errors":[{"code":"DENIED","message":"no\u001b[31m way"}]}"#;
        let said = words(body);
        assert_eq!(
            (said.code.as_str(), said.message.as_str()),
            ("DENIED", "no [31m way")
        );
        for body in [&br#"{"errors":[]}"#[..], b"<html>", b""] {
            assert_eq!(words(body), Words::default());
        }
        let long = format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "x".repeat(1000));
        assert_eq!(words(long.as_bytes()).message.len(), MESSAGE_CHARACTERS_MAX);
    }

    #[test]
    fn a_refused_push_is_told_in_dockers_words() {
        let said = |status, code: &str, message: &str| {
            let status = RegistryError::Status {
                url: "https://r.lan/x".into(),
                status,
                code: code.into(),
                message: message.into(),
            };
            explain("r.lan/x".into(), status, Asked::Push).to_string()
        };
        let denied = "denied: requested access to the resource is denied";
        assert_eq!(said(403, "", ""), denied);
        assert_eq!(
            said(401, "DENIED", "requested access to the resource is denied"),
            denied
        );
        assert_eq!(said(401, "", ""), "unauthorized: authentication required");
        assert_eq!(said(403, "", "no"), "no");
        assert_eq!(said(400, "", ""), "https://r.lan/x answers 400");
        let full = said(507, "UNKNOWN", "the disk is full");
        assert!(
            full.starts_with(
                "no space left in the registry of r.lan/x (507): the disk is full; push"
            )
        );
    }
}
