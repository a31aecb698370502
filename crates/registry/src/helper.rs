//! Credential helpers: programs of other people that keep accounts in a keychain.
//!
//! `docker-credential-NAME get|store|erase|list`, one JSON document or a server's name on standard
//! input, an answer on standard output. Found in `PATH` as Docker finds them. The account is in no
//! argument and no environment, so that no list of processes shows it.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::credentials::Account;
use crate::error::{RegistryError, Result};
use crate::refusal::printable;

const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// The user name by which helpers say that the secret is an identity token.
pub(crate) const TOKEN_USER: &str = "<token>";
/// What all helpers answer where there is no account.
const NOT_FOUND: &str = "credentials not found in native keychain";

#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(rename = "ServerURL", default)]
    server: String,
    #[serde(rename = "Username")]
    user: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// The account at a server, if the helper has one.
pub(crate) fn get(helper: &str, server: &str) -> Result<Option<Account>> {
    let answer = match run(helper, "get", server.as_bytes()) {
        Err(RegistryError::Helper { what, .. }) if what.contains(NOT_FOUND) => return Ok(None),
        answer => answer?,
    };
    let entry: Entry = serde_json::from_slice(&answer).map_err(|_| RegistryError::Helper {
        helper: helper.to_owned(),
        what: "its answer is not understood".to_owned(),
    })?;
    Ok(Some(if entry.user == TOKEN_USER {
        Account::with_identity_token(String::new(), entry.secret)
    } else {
        Account::new(entry.user, entry.secret)
    }))
}

/// Hands an account over.
pub(crate) fn store(helper: &str, server: &str, user: &str, secret: &str) -> Result<()> {
    let entry = Entry {
        server: server.to_owned(),
        user: user.to_owned(),
        secret: secret.to_owned(),
    };
    let bytes = serde_json::to_vec(&entry).map_err(|error| RegistryError::Helper {
        helper: helper.to_owned(),
        what: error.to_string(),
    })?;
    run(helper, "store", &bytes).map(drop)
}

/// Forgets an account.
pub(crate) fn erase(helper: &str, server: &str) -> Result<()> {
    match run(helper, "erase", server.as_bytes()) {
        Err(RegistryError::Helper { what, .. }) if what.contains(NOT_FOUND) => Ok(()),
        answer => answer.map(drop),
    }
}

fn run(helper: &str, action: &str, input: &[u8]) -> Result<Vec<u8>> {
    let failed = |what: String| RegistryError::Helper {
        helper: helper.to_owned(),
        what,
    };
    // A name with a slash would be a path instead of a program of `PATH`.
    if helper.is_empty() || helper.contains('/') {
        return Err(failed("that is no name of a helper".to_owned()));
    }
    let mut child = Command::new(format!("docker-credential-{helper}"))
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not want to hear it says why in its answer.
        let _ = stdin.write_all(input);
    }
    let mut answer = Vec::new();
    let read = match child.stdout.take() {
        Some(stdout) => stdout.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut answer),
        None => Ok(0),
    };
    if answer.len() as u64 > ANSWER_BYTES_MAX {
        let _ = child.kill();
        let _ = child.wait();
        return Err(failed("it says too much".to_owned()));
    }
    let status = child.wait().map_err(|error| failed(error.to_string()))?;
    read.map_err(|error| failed(error.to_string()))?;
    if status.success() {
        return Ok(answer);
    }
    let said = printable(String::from_utf8_lossy(&answer).trim());
    Err(failed(if said.is_empty() {
        status.to_string()
    } else {
        said
    }))
}
