//! Variables and labels, from flags and from the files that flags name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};

use types::env::{
    ENV_FILE_BYTES_MAX, EnvError, parse_env_file, parse_env_flag, parse_label_file, split_key_value,
};

use super::{Caller, FlagError};
use crate::cause::cause;
use crate::flags::Matches;

/// `--env-file`, then `--env`, as the container's own variables.
pub(super) fn variables(matches: &Matches, caller: &Caller<'_>) -> Result<Vec<String>, FlagError> {
    let mut variables = Vec::new();
    for path in matches.get_list("env-file") {
        variables.extend(read(path, |content| {
            parse_env_file(content, caller.variable)
        })?);
    }
    for text in matches.get_list("env") {
        variables.push(parse_env_flag(text, caller.variable).map_err(FlagError::usage)?);
    }
    Ok(variables)
}

/// `--label-file`, then `--label`; the later wins.
pub(super) fn labels(matches: &Matches) -> Result<BTreeMap<String, String>, FlagError> {
    let mut labels = BTreeMap::new();
    for path in matches.get_list("label-file") {
        labels.extend(read(path, parse_label_file)?.iter().map(|text| pair(text)));
    }
    labels.extend(matches.get_list("label").iter().map(|text| pair(text)));
    Ok(labels)
}

/// `key=value`, owned.
pub(super) fn pair(text: &str) -> (String, String) {
    let (key, value) = split_key_value(text);
    (key.to_owned(), value.to_owned())
}

fn read(
    path: &str,
    parse: impl FnOnce(&[u8]) -> Result<Vec<String>, EnvError>,
) -> Result<Vec<String>, FlagError> {
    let file = File::open(path)
        .map_err(|error| FlagError::Usage(format!("open {path}: {}", cause(&error))))?;
    // Docker says "env file" of both sorts.
    let invalid = |text: String| FlagError::Usage(format!("invalid env file ({path}): {text}"));
    let content = read_bounded(file, ENV_FILE_BYTES_MAX + 1)
        .map_err(|error| invalid(format!("read {path}: {}", cause(&error))))?;
    parse(&content).map_err(|error| invalid(error.to_string()))
}

/// At most `bytes_max` bytes of a file.
pub(super) fn read_bounded(file: File, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(bytes_max as u64).read_to_end(&mut content)?;
    Ok(content)
}
