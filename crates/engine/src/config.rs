//! The configuration: files in TOML, later ones over earlier ones.
//!
//! `/etc/caisson/config.toml`, then `$XDG_CONFIG_HOME/caisson/config.toml`, then the file that
//! `CAISSON_CONFIG` names. A file that is not there is skipped, but the one that was named.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// The largest configuration file.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// All settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Persistent root.
    pub root: Option<PathBuf>,
    /// Run root.
    pub run_root: Option<PathBuf>,
    /// Registries by name, such as `docker.io`.
    pub registries: BTreeMap<String, RegistrySettings>,
    /// What of removed objects is kept for `undo`.
    pub undo: UndoSettings,
    /// Where device vendors' descriptions are, instead of `/etc/cdi` and `/var/run/cdi`.
    pub cdi_spec_dirs: Option<Vec<PathBuf>>,
}

/// What of removed objects is kept for `undo`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UndoSettings {
    /// How long, such as `1h`; `0s` keeps nothing.
    #[serde(deserialize_with = "duration")]
    pub keep: Option<Duration>,
    /// How much in all, such as `10GB`.
    #[serde(deserialize_with = "size")]
    pub max_size: Option<u64>,
}

fn duration<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
    use serde::de::Error;
    let text = String::deserialize(input)?;
    let parsed = types::units::parse_duration(&text).map_err(D::Error::custom)?;
    let ns = u64::try_from(parsed).map_err(|_| {
        D::Error::custom(format!("{text:?} is negative: give a time such as \"1h\""))
    })?;
    Ok(Some(Duration::from_nanos(ns)))
}

fn size<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    use serde::de::Error;
    let text = String::deserialize(input)?;
    let parsed = types::units::from_human_size(&text).map_err(D::Error::custom)?;
    Ok(Some(u64::try_from(parsed).unwrap_or(0)))
}

/// Settings of one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistrySettings {
    /// Asked first on pull, in order.
    pub mirrors: Vec<String>,
    /// Stands in for the registry altogether.
    pub location: Option<String>,
    /// Plain HTTP, or a certificate that nobody vouches for, is accepted.
    pub insecure: bool,
    /// What layers made here are compressed with when they are first pushed there.
    pub compression: Option<LayerCompression>,
}

/// What layers made here are compressed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerCompression {
    /// Understood by everybody.
    #[default]
    Gzip,
    /// Smaller and quicker.
    Zstd,
}

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] sys::SysError),
    /// It is not understood.
    #[error("cannot read configuration {path}: {text}")]
    Parse {
        /// The file.
        path: String,
        /// What is wrong, with line and column.
        text: String,
    },
}

/// Reads the files that apply.
///
/// # Errors
/// A file that is not understood, or the named one missing.
pub fn load(named: Option<&Path>, user: Option<&Path>) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    for path in [Some(Path::new("/etc/caisson/config.toml")), user]
        .into_iter()
        .flatten()
    {
        match sys::atomic::read_limited(path, CONFIG_BYTES_MAX) {
            Ok(bytes) => merge(&mut config, parse(path, &bytes)?),
            Err(error) if error.errno == rustix::io::Errno::NOENT => {}
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(path) = named {
        let bytes = sys::atomic::read_limited(path, CONFIG_BYTES_MAX)?;
        merge(&mut config, parse(path, &bytes)?);
    }
    Ok(config)
}

pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Config, ConfigError> {
    let fail = |text: String| ConfigError::Parse {
        path: path.display().to_string(),
        text,
    };
    let text = std::str::from_utf8(bytes).map_err(|error| fail(error.to_string()))?;
    toml::from_str(text).map_err(|error| fail(error.to_string().trim_end().to_string()))
}

pub(crate) fn merge(into: &mut Config, from: Config) {
    into.root = from.root.or(into.root.take());
    into.run_root = from.run_root.or(into.run_root.take());
    into.registries.extend(from.registries);
    into.undo.keep = from.undo.keep.or(into.undo.keep);
    into.undo.max_size = from.undo.max_size.or(into.undo.max_size);
    into.cdi_spec_dirs = from.cdi_spec_dirs.or(into.cdi_spec_dirs.take());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_file_wins_and_an_unknown_key_is_named_with_its_line() {
        let mut config = parse(
            Path::new("a"),
            b"[registries.\"docker.io\"]\nmirrors = [\"http://m\"]\n",
        )
        .unwrap();
        merge(
            &mut config,
            parse(
                Path::new("b"),
                b"[registries.\"docker.io\"]\nlocation = \"http://l\"\n",
            )
            .unwrap(),
        );
        assert_eq!(
            config.registries["docker.io"].location.as_deref(),
            Some("http://l")
        );
        merge(
            &mut config,
            parse(Path::new("c"), b"undo.keep = \"2h\"\n").unwrap(),
        );
        merge(
            &mut config,
            parse(Path::new("d"), b"undo.max_size = \"3MB\"\n").unwrap(),
        );
        assert_eq!(config.undo.keep, Some(Duration::from_secs(7200)));
        assert_eq!(config.undo.max_size, Some(3_000_000));
        let error = parse(Path::new("c"), b"[undo]\nkeep = \"long\"\n").unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
        let error = parse(Path::new("c.toml"), b"\nmirror = 1\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("c.toml") && error.contains("mirror") && error.contains("line 2"),
            "{error}"
        );
    }
}
