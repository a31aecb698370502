//! `--tmpfs DIR[:OPTIONS]`, such as `/run:rw,noexec,size=64k`.

use crate::mount_flag::{ConfigProblem, MountFlagError};
use crate::volume_flag::check_target;

/// What a tmpfs has unless its options say otherwise.
const DEFAULTS: [&str; 3] = ["noexec", "nosuid", "nodev"];

/// Options without a value, by the property they set; of each only the last counts.
const FLAGS: [(&str, &[&str]); 9] = [
    ("write", &["rw", "ro"]),
    ("suid", &["suid", "nosuid"]),
    ("dev", &["dev", "nodev"]),
    ("exec", &["exec", "noexec"]),
    ("sync", &["sync", "async"]),
    ("dirsync", &["dirsync"]),
    ("mand", &["mand", "nomand"]),
    (
        "atime",
        &[
            "atime",
            "noatime",
            "relatime",
            "norelatime",
            "strictatime",
            "nostrictatime",
        ],
    ),
    ("diratime", &["diratime", "nodiratime"]),
];

/// Options with a value.
const KEYS: [&str; 7] = [
    "size",
    "mode",
    "uid",
    "gid",
    "nr_inodes",
    "nr_blocks",
    "mpol",
];

/// A `--tmpfs` value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TmpfsFlag {
    /// Absolute, clean path in the container.
    pub target: String,
    /// The options as given.
    pub options: String,
}

impl TmpfsFlag {
    /// Reads and checks `DIR[:OPTIONS]`.
    pub fn parse(text: &str) -> Result<Self, MountFlagError> {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let target = check_target(target).map_err(|problem| MountFlagError::Config {
            kind: "tmpfs".to_owned(),
            problem: ConfigProblem::Path(problem),
        })?;
        merge_tmpfs_options(options)?;
        Ok(Self {
            target,
            options: options.to_owned(),
        })
    }
}

/// Merges a user's tmpfs options with the defaults (`noexec,nosuid,nodev`), the later of two that
/// contradict each other winning: the option list of an OCI mount. A `size` is the kernel's own
/// grammar (`64k`, `50%`), which checks it.
pub fn merge_tmpfs_options(options: &str) -> Result<Vec<String>, MountFlagError> {
    let given = options.split(',').filter(|option| !option.is_empty());
    let all: Vec<&str> = DEFAULTS.into_iter().chain(given).collect();
    let mut seen: Vec<&str> = Vec::new();
    let mut merged: Vec<String> = Vec::new();
    for option in all.into_iter().rev() {
        let property = match option.split_once('=') {
            Some((key, _)) => KEYS.into_iter().find(|known| *known == key),
            None => FLAGS
                .iter()
                .find(|(_, names)| names.contains(&option))
                .map(|(name, _)| *name),
        };
        let property = property.ok_or_else(|| {
            let name = option.split('=').next().unwrap_or(option);
            MountFlagError::TmpfsOption(name.to_owned())
        })?;
        if !seen.contains(&property) {
            seen.push(property);
            merged.push(option.to_owned());
        }
    }
    merged.reverse();
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tmpfs_flags_are_read_and_merged_with_the_defaults() {
        let flag = TmpfsFlag::parse("/run/:rw,exec,size=64k").unwrap();
        assert_eq!(
            (flag.target.as_str(), flag.options.as_str()),
            ("/run", "rw,exec,size=64k")
        );
        for (options, want) in [
            ("", "noexec,nosuid,nodev"),
            ("rw,exec,size=64k", "nosuid,nodev,rw,exec,size=64k"),
            (
                "size=1m,size=50%,mode=1777",
                "noexec,nosuid,nodev,size=50%,mode=1777",
            ),
            ("ro,rw", "noexec,nosuid,nodev,rw"),
        ] {
            assert_eq!(merge_tmpfs_options(options).unwrap().join(","), want);
        }
    }

    #[test]
    fn bad_tmpfs_flags_are_refused() {
        for (text, want) in [
            ("/a:bad", "invalid tmpfs option \"bad\""),
            ("/a:lowerdir=/x", "invalid tmpfs option \"lowerdir\""),
            ("/a:bind", "invalid tmpfs option \"bind\""),
            (
                "a",
                "invalid mount config for type \"tmpfs\": invalid mount path: 'a' mount path must \
                 be absolute",
            ),
            (
                "/",
                "invalid mount config for type \"tmpfs\": invalid specification: destination \
                 can't be '/'",
            ),
        ] {
            assert_eq!(TmpfsFlag::parse(text).unwrap_err().to_string(), want);
        }
    }
}
