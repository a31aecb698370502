//! `--log-opt`.

use std::collections::BTreeMap;

use crate::env::split_key_value;
use crate::go_syntax::{parse_atoi, parse_bool, quote};
use crate::units::from_human_size;

/// The most files that a log is rotated over.
pub const LOG_FILES_MAX: u32 = 1000;

/// Options of the `json-file` driver; `local` knows the first three.
const JSON_FILE_KEYS: [&str; 10] = [
    "max-size",
    "max-file",
    "compress",
    "labels",
    "labels-regex",
    "env",
    "env-regex",
    "tag",
    "mode",
    "max-buffer-size",
];

/// Why log options are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Options, and no log to which they could apply.
    #[error("invalid logging opts for driver none")]
    OptionsForNone,
    /// An option that the driver does not know.
    #[error("unknown log opt '{key}' for {driver} log driver")]
    UnknownOption {
        /// The option.
        key: String,
        /// The driver.
        driver: String,
    },
    /// A value that the option does not know.
    #[error("invalid value for log opt '{key}': {}", quote(.value))]
    Value {
        /// The option.
        key: &'static str,
        /// The value.
        value: String,
    },
    /// Less than one file.
    #[error("max-file cannot be less than 1")]
    TooFewFiles,
    /// More than [`LOG_FILES_MAX`].
    #[error("max-file cannot be more than {LOG_FILES_MAX}")]
    TooManyFiles,
    /// A size of nothing.
    #[error("max-size must be a positive number")]
    SizeNotPositive,
    /// A buffer for a log that does not use one.
    #[error("logger: max-buffer-size option is only supported with 'mode=non-blocking'")]
    BufferWithoutNonBlocking,
}

/// What the options of `json-file` and `local` say; `None` where they say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonFileOptions {
    /// `max-size` in bytes; `-1` (without limit) is `i64::MAX`.
    pub size_bytes_max: Option<i64>,
    /// `max-file`.
    pub files_max: Option<u32>,
    /// `compress`.
    pub compress: Option<bool>,
    /// `mode=non-blocking`.
    pub is_non_blocking: bool,
    /// `max-buffer-size` in bytes.
    pub buffer_bytes_max: Option<i64>,
}

/// Collects `--log-opt key=value`.
pub fn parse_log_options<T: AsRef<str>>(
    driver: &str,
    options: &[T],
) -> Result<BTreeMap<String, String>, LogError> {
    if driver == "none" && !options.is_empty() {
        return Err(LogError::OptionsForNone);
    }
    let pairs = options
        .iter()
        .map(|option| split_key_value(option.as_ref()));
    Ok(pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect())
}

/// Checks the options of the `json-file` or `local` driver and reads those with a meaning to us.
pub fn json_file_options(
    driver: &str,
    options: &BTreeMap<String, String>,
) -> Result<JsonFileOptions, LogError> {
    if let Some(key) = options
        .keys()
        .find(|key| !JSON_FILE_KEYS.contains(&key.as_str()))
    {
        return Err(LogError::UnknownOption {
            key: key.clone(),
            driver: driver.to_owned(),
        });
    }
    let get = |key: &'static str| options.get(key).map(|value| (key, value.as_str()));
    let bad = |(key, value): (&'static str, &str)| LogError::Value {
        key,
        value: value.to_owned(),
    };
    let mut read = JsonFileOptions::default();
    match get("max-size") {
        None => {}
        Some((_, "-1")) => read.size_bytes_max = Some(i64::MAX),
        Some(option) => {
            let size = from_human_size(option.1).map_err(|_| bad(option))?;
            read.size_bytes_max = Some(size).filter(|&size| size > 0);
            read.size_bytes_max.ok_or(LogError::SizeNotPositive)?;
        }
    }
    if let Some(option) = get("max-file") {
        let files = parse_atoi(option.1).map_err(|_| bad(option))?;
        if files < 1 {
            return Err(LogError::TooFewFiles);
        }
        let files = u32::try_from(files)
            .ok()
            .filter(|&files| files <= LOG_FILES_MAX);
        read.files_max = Some(files.ok_or(LogError::TooManyFiles)?);
    }
    if let Some(option) = get("compress") {
        read.compress = Some(parse_bool(option.1).map_err(|_| bad(option))?);
    }
    read.is_non_blocking = match get("mode") {
        None | Some((_, "" | "blocking")) => false,
        Some((_, "non-blocking")) => true,
        Some(option) => return Err(bad(option)),
    };
    if let Some(option) = get("max-buffer-size") {
        if !read.is_non_blocking {
            return Err(LogError::BufferWithoutNonBlocking);
        }
        let size = crate::units::memory_bytes(option.1)
            .ok()
            .filter(|&size| size > 0);
        read.buffer_bytes_max = Some(size.ok_or_else(|| bad(option))?);
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[&str]) -> Result<JsonFileOptions, String> {
        let options = parse_log_options("json-file", options).map_err(|error| error.to_string())?;
        json_file_options("json-file", &options).map_err(|error| error.to_string())
    }

    #[test]
    fn log_options_are_read() {
        let options = read(&[
            "max-size=10m",
            "max-file=3",
            "compress=true",
            "tag={{.Name}}",
        ]);
        let want = JsonFileOptions {
            size_bytes_max: Some(10_000_000),
            files_max: Some(3),
            compress: Some(true),
            ..JsonFileOptions::default()
        };
        assert_eq!(options, Ok(want));
        assert_eq!(
            read(&["max-size=-1"]).unwrap().size_bytes_max,
            Some(i64::MAX)
        );
        let options = read(&["mode=non-blocking", "max-buffer-size=1m"]).unwrap();
        assert_eq!(
            (options.is_non_blocking, options.buffer_bytes_max),
            (true, Some(1 << 20))
        );
        assert_eq!(read(&[]).unwrap(), JsonFileOptions::default());
    }

    #[test]
    fn bad_log_options_have_the_words_of_docker() {
        for (options, want) in [
            (&["x=1"][..], "unknown log opt 'x' for json-file log driver"),
            (&["max-file=0"], "max-file cannot be less than 1"),
            (
                &["max-file=x"],
                "invalid value for log opt 'max-file': \"x\"",
            ),
            (&["max-file=99999999"], "max-file cannot be more than 1000"),
            (&["max-size=0"], "max-size must be a positive number"),
            (
                &["max-size=99999999999p"],
                "max-size must be a positive number",
            ),
            (&["max-size"], "invalid value for log opt 'max-size': \"\""),
            (
                &["max-buffer-size=1m"],
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ),
        ] {
            assert_eq!(read(options).unwrap_err(), want);
        }
        assert_eq!(
            parse_log_options("none", &["a=b"]),
            Err(LogError::OptionsForNone)
        );
    }
}
