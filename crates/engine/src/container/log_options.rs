//! What `--log-driver` and `--log-opt` ask for.

use monitor::job::LogOptions;
use types::container::ContainerSpec;

use crate::error::EngineError;

/// `--log-driver` and `--log-opt`.
///
/// # Errors
/// A driver or option that is not known, by name.
pub(crate) fn log_options(spec: &ContainerSpec) -> Result<LogOptions, EngineError> {
    let mut options = LogOptions::default();
    match spec.log_driver.as_str() {
        "" | "json-file" | "local" => {}
        "none" => options.disabled = true,
        other => {
            return Err(EngineError::invalid(format!(
                "logger: no log driver named '{other}' is registered (json-file, local and none are)"
            )));
        }
    }
    for (key, value) in &spec.log_options {
        let invalid =
            || EngineError::invalid(format!("invalid value {value:?} for log opt '{key}'"));
        match key.as_str() {
            "max-size" if value == "-1" => options.file_bytes_max = 0,
            "max-size" => {
                let bytes = types::units::from_human_size(value).map_err(|_| invalid())?;
                let bytes = u64::try_from(bytes).ok().filter(|bytes| *bytes > 0);
                options.file_bytes_max = bytes.ok_or_else(invalid)?;
            }
            "max-file" => {
                options.files_max = value.parse().ok().filter(|n| *n > 0).ok_or_else(invalid)?;
            }
            "compress" => {
                types::go_syntax::parse_bool(value).map_err(|_| invalid())?;
            }
            "mode" if matches!(value.as_str(), "" | "blocking" | "non-blocking") => {}
            "mode" => {
                return Err(EngineError::invalid(format!(
                    "logger: logging mode not supported: {value} (blocking and non-blocking are)"
                )));
            }
            "max-buffer-size" => {
                if spec.log_options.get("mode").map(String::as_str) != Some("non-blocking") {
                    return Err(EngineError::invalid(
                        "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
                    ));
                }
                types::units::ram_in_bytes(value).map_err(|_| invalid())?;
            }
            "labels" | "labels-regex" | "env" | "env-regex" | "tag" => {}
            other => {
                return Err(EngineError::invalid(format!(
                    "unknown log opt '{other}' for json-file log driver"
                )));
            }
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(options: &[(&str, &str)]) -> Result<LogOptions, String> {
        let pairs = options
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()));
        let spec = ContainerSpec {
            log_options: pairs.collect(),
            ..ContainerSpec::default()
        };
        log_options(&spec).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_asked_for_is_understood() {
        let options = with(&[("max-size", "10k"), ("max-file", "5")]).unwrap();
        assert_eq!((options.file_bytes_max, options.files_max), (10_000, 5));
        assert_eq!(with(&[("max-size", "-1")]).unwrap().file_bytes_max, 0);
        for known in [
            ("compress", "true"),
            ("mode", "blocking"),
            ("labels", "a"),
            ("tag", "x"),
        ] {
            assert!(with(&[known]).is_ok(), "{known:?}");
        }
        assert!(with(&[("mode", "non-blocking"), ("max-buffer-size", "4m")]).is_ok());
    }

    #[test]
    fn what_is_none_is_refused_by_name() {
        for (key, value, words) in [
            (
                "max-size",
                "0",
                "invalid value \"0\" for log opt 'max-size'",
            ),
            ("max-size", "-5", "invalid value \"-5\""),
            ("max-size", "", "invalid value \"\""),
            ("max-file", "0", "log opt 'max-file'"),
            ("compress", "maybe", "log opt 'compress'"),
            ("mode", "foo", "logging mode not supported: foo"),
            (
                "max-buffer-size",
                "4m",
                "only supported with 'mode=non-blocking'",
            ),
            ("bogus", "1", "unknown log opt 'bogus'"),
        ] {
            let error = with(&[(key, value)]).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let bad = with(&[("mode", "non-blocking"), ("max-buffer-size", "zz")]).unwrap_err();
        assert!(bad.contains("log opt 'max-buffer-size'"), "{bad}");
    }
}
