//! What people keep for Docker's command line in `~/.docker/config.json`: formats of lists, detach
//! keys, proxies. Accounts are the registry client's business.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::errors;

const CONFIG_BYTES_MAX: u64 = 4 << 20;

/// The file, as far as this program uses it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ClientConfig {
    /// `--format` of `ps`.
    pub(crate) ps_format: String,
    /// `--format` of `images`.
    pub(crate) images_format: String,
    /// `volumesFormat`.
    pub(crate) volumes_format: String,
    /// `networksFormat`.
    pub(crate) networks_format: String,
    /// `--format` of `stats`.
    pub(crate) stats_format: String,
    /// `--detach-keys`.
    pub(crate) detach_keys: String,
    /// Proxies per engine; `default` is ours.
    proxies: BTreeMap<String, Proxies>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Proxies {
    http_proxy: String,
    https_proxy: String,
    no_proxy: String,
    ftp_proxy: String,
    all_proxy: String,
}

impl ClientConfig {
    /// Reads the file; none is an empty one, and a broken one is said and ignored, as Docker does.
    pub(crate) fn load() -> Self {
        match registry::docker_config::path() {
            Some(path) => Self::read(&path),
            None => Self::default(),
        }
    }

    fn read(path: &Path) -> Self {
        let Ok(file) = std::fs::File::open(path) else {
            return Self::default();
        };
        let mut text = String::new();
        let read = std::io::Read::read_to_string(
            &mut std::io::Read::take(file, CONFIG_BYTES_MAX),
            &mut text,
        );
        let parsed = match read {
            Ok(_) => types::json::read(text.as_bytes()).map_err(|fault| fault.to_string()),
            Err(error) => Err(error.to_string()),
        };
        parsed.unwrap_or_else(|error| {
            errors::complain(&format!(
                "WARNING: Error loading config file: {}: {error}",
                path.display()
            ));
            Self::default()
        })
    }

    /// Adds the proxies to a container's environment, in upper and lower case, where the user has
    /// not set the variable.
    pub(crate) fn add_proxies(&self, environment: &mut Vec<String>) {
        let Some(proxies) = self.proxies.get("default") else {
            return;
        };
        for (name, value) in [
            ("HTTP_PROXY", &proxies.http_proxy),
            ("HTTPS_PROXY", &proxies.https_proxy),
            ("NO_PROXY", &proxies.no_proxy),
            ("FTP_PROXY", &proxies.ftp_proxy),
            ("ALL_PROXY", &proxies.all_proxy),
        ] {
            for name in [name.to_owned(), name.to_lowercase()] {
                let is_set = environment
                    .iter()
                    .any(|pair| pair.split('=').next() == Some(&name));
                if !value.is_empty() && !is_set {
                    environment.push(format!("{name}={value}"));
                }
            }
        }
    }
}

/// What the flag says, else what the file says.
pub(crate) fn format<'a>(flag: &'a str, of_file: &'a str) -> &'a str {
    match flag {
        "" => of_file,
        flag => flag,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_go_in_both_cases_where_nothing_was_said() {
        let config: ClientConfig = serde_json::from_str(
            r#"{"auths": {}, "psFormat": "{{.ID}}", "proxies": {"default":
               {"httpProxy": "http://p:3128", "noProxy": "*.test"}, "tcp://other": {"ftpProxy": "x"}}}"#,
        )
        .unwrap();
        let mut environment = vec!["http_proxy=mine".to_owned(), "A=1".to_owned()];
        config.add_proxies(&mut environment);
        assert_eq!(
            environment,
            [
                "http_proxy=mine",
                "A=1",
                "HTTP_PROXY=http://p:3128",
                "NO_PROXY=*.test",
                "no_proxy=*.test"
            ]
        );
        assert_eq!(format("", &config.ps_format), "{{.ID}}");
        assert_eq!(format("json", &config.ps_format), "json");
    }

    #[test]
    fn a_missing_or_broken_file_is_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        assert_eq!(ClientConfig::read(&path), ClientConfig::default());
        std::fs::write(&path, "{\"psFormat\": 7").unwrap();
        assert_eq!(ClientConfig::read(&path), ClientConfig::default());
    }
}
