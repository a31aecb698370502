//! `--secret` and `--ssh`.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use engine::build::{Inputs, SecretSource};

use crate::flags::Matches;

/// Reads both into the inputs.
pub(super) fn read(matches: &Matches, inputs: &mut Inputs) -> Result<(), String> {
    for text in matches.get_list("secret") {
        let (id, source) = secret(text)?;
        inputs.secrets.insert(id, source);
    }
    for text in matches.get_list("ssh") {
        let (id, socket) = agent(text)?;
        inputs.ssh.insert(id, socket);
    }
    Ok(())
}

fn secret(text: &str) -> Result<(String, SecretSource), String> {
    let mut fields: BTreeMap<&str, &str> = BTreeMap::new();
    for field in text.split(',') {
        let Some((key, value)) = field.split_once('=') else {
            return Err(format!("invalid field '{field}' must be a key=value pair"));
        };
        let key = match key {
            "source" => "src",
            "id" | "src" | "env" | "type" => key,
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        };
        fields.insert(key, value);
    }
    let id = fields
        .get("id")
        .ok_or_else(|| format!("invalid secret {text:?}: it has no id"))?;
    let source = fields.get("src");
    let kind = fields.get("type").copied().unwrap_or_default();
    let variable = match (fields.get("env"), kind) {
        (Some(name), "" | "env") => Some(*name),
        (None, "env") => Some(*source.unwrap_or(id)),
        (None, "") if source.is_none() && std::env::var_os(id).is_some() => Some(*id),
        (_, "" | "file") => None,
        (_, other) => return Err(format!("unsupported secret type {other:?}")),
    };
    let secret = match variable {
        Some(name) => {
            let value = std::env::var_os(name)
                .ok_or_else(|| format!("secret {id}: the variable {name} is not set"))?;
            SecretSource::Bytes(value.into_vec())
        }
        None => {
            let path = source.copied().unwrap_or(id);
            if !Path::new(path).exists() {
                return Err(format!("secret {id}: {path}: no such file or directory"));
            }
            SecretSource::File(path.into())
        }
    };
    Ok(((*id).to_owned(), secret))
}

/// The socket of an agent.
fn agent(text: &str) -> Result<(String, PathBuf), String> {
    let (id, path) = text.split_once('=').unwrap_or((text, ""));
    let socket = match path {
        "" => std::env::var("SSH_AUTH_SOCK").map_err(|_| {
            "invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set".to_owned()
        })?,
        given => given.to_owned(),
    };
    match std::fs::metadata(&socket) {
        Ok(metadata) if metadata.file_type().is_socket() => Ok((id.to_owned(), socket.into())),
        Ok(_) => Err(format!(
            "--ssh {text}: {socket} is no socket of an agent; private keys are not read here: give \
             them to ssh-agent with ssh-add"
        )),
        Err(error) => Err(format!("--ssh {text}: {socket}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_said_in_known_words() {
        let file = SecretSource::File("/dev/null".into());
        for text in ["id=a,src=/dev/null", "type=file,id=a,source=/dev/null"] {
            assert_eq!(secret(text), Ok(("a".to_owned(), file.clone())));
        }
        let path = std::env::var_os("PATH").expect("PATH").into_vec();
        let path = SecretSource::Bytes(path);
        for text in ["id=a,env=PATH", "id=a,type=env,src=PATH"] {
            assert_eq!(secret(text), Ok(("a".to_owned(), path.clone())));
        }
        for (text, part) in [
            ("id=a,srcc=x", "unexpected key 'srcc'"),
            ("id=a,x", "key=value"),
            ("src=x", "no id"),
            ("id=a,type=vault", "type \"vault\""),
            ("id=a,src=/nonexistent", "no such file"),
            ("id=a,env=NO_SUCH_VARIABLE", "is not set"),
        ] {
            let error = secret(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn agents_are_sockets() {
        let error = agent("default=/nonexistent").expect_err("none");
        assert!(error.contains("/nonexistent"), "{error}");
        let error = agent("default=/dev/null").expect_err("no socket");
        assert!(error.contains("no socket"), "{error}");
    }
}
