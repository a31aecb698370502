//! Flags whose value is one of a few words or one pair: namespaces, `--pull`, `--link`,
//! `--sysctl`, `--storage-opt`, `--mac-address`.

/// Why such a flag is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModeError {
    /// A word that the namespace flag does not know.
    #[error("--{flag}: invalid {name} mode")]
    Namespace {
        /// `pid`, `ipc` …
        flag: &'static str,
        /// `PID`, `IPC` …
        name: &'static str,
    },
    /// A word that `--pull` does not know.
    #[error("invalid pull option: '{0}': must be one of \"always\", \"missing\" or \"never\"")]
    Pull(String),
    /// `--link ""`.
    #[error("empty string specified for links")]
    EmptyLink,
    /// More than `name:alias`.
    #[error("bad format for links: {0}")]
    Link(String),
    /// A kernel parameter that containers do not have for themselves.
    #[error("sysctl '{0}' is not allowed")]
    Sysctl(String),
    /// No `key=value`.
    #[error("invalid storage option")]
    StorageOption,
    /// No six bytes.
    #[error("{0} is not a valid mac address")]
    MacAddress(String),
}

/// The flags that choose a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceFlag {
    /// `--pid`.
    Pid,
    /// `--ipc`.
    Ipc,
    /// `--uts`.
    Uts,
    /// `--userns`.
    User,
    /// `--cgroupns`.
    Cgroup,
}

/// Checks the value of a namespace flag; empty is the default.
pub fn check_namespace_mode(flag: NamespaceFlag, text: &str) -> Result<(), ModeError> {
    let of_container = || {
        text.strip_prefix("container:")
            .is_some_and(|container| !container.is_empty())
    };
    let (flag, name, is_valid) = match flag {
        NamespaceFlag::Pid => ("pid", "PID", text == "host" || of_container()),
        NamespaceFlag::Ipc => {
            let words = ["none", "private", "shareable", "host"];
            ("ipc", "IPC", words.contains(&text) || of_container())
        }
        NamespaceFlag::Uts => ("uts", "UTS", text == "host"),
        NamespaceFlag::User => ("userns", "USER", text == "host"),
        NamespaceFlag::Cgroup => ("cgroupns", "CGROUP", matches!(text, "host" | "private")),
    };
    let is_valid = is_valid || text.is_empty();
    if is_valid {
        Ok(())
    } else {
        Err(ModeError::Namespace { flag, name })
    }
}

/// When `run` and `create` fetch the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// Each time.
    Always,
    /// Where it is not here.
    #[default]
    Missing,
    /// Not at all.
    Never,
}

/// Reads `--pull`.
pub fn parse_pull_policy(text: &str) -> Result<PullPolicy, ModeError> {
    match text {
        "always" => Ok(PullPolicy::Always),
        "missing" | "" => Ok(PullPolicy::Missing),
        "never" => Ok(PullPolicy::Never),
        _ => Err(ModeError::Pull(text.to_owned())),
    }
}

/// Reads `--link name[:alias]`; gives name and alias. `/name:/other/alias` is how Docker's API
/// gives links back.
pub fn parse_link(text: &str) -> Result<(String, String), ModeError> {
    if text.is_empty() {
        return Err(ModeError::EmptyLink);
    }
    let (name, alias) = match text.split_once(':') {
        None => (text, text),
        Some((_, alias)) if alias.contains(':') => return Err(ModeError::Link(text.to_owned())),
        Some((name, alias)) => match name.strip_prefix('/') {
            Some(name) => (name, alias.rsplit('/').next().unwrap_or(alias)),
            None => (name, alias),
        },
    };
    if name.is_empty() || alias.is_empty() {
        return Err(ModeError::Link(text.to_owned()));
    }
    Ok((name.to_owned(), alias.to_owned()))
}

const SYSCTLS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];
const SYSCTL_PREFIXES: [&str; 2] = ["net.", "fs.mqueue."];

/// Reads `--sysctl key=value`. Only what belongs to a namespace is let through: anything else would
/// change the host. The key becomes a path below /proc/sys, so it has no slash and no empty part.
pub fn check_sysctl(text: &str) -> Result<(String, String), ModeError> {
    let refuse = || ModeError::Sysctl(text.to_owned());
    let (key, value) = text.split_once('=').ok_or_else(refuse)?;
    let (key, value) = (key.trim(), value.trim());
    let known =
        SYSCTLS.contains(&key) || SYSCTL_PREFIXES.iter().any(|prefix| key.starts_with(prefix));
    let byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let is_plain = key.bytes().all(byte) && key.split('.').all(|part| !part.is_empty());
    if known && is_plain {
        Ok((key.to_owned(), value.to_owned()))
    } else {
        Err(refuse())
    }
}

/// Reads `--storage-opt key=value`.
pub fn parse_storage_option(text: &str) -> Result<(String, String), ModeError> {
    let (key, value) = text.split_once('=').ok_or(ModeError::StorageOption)?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Checks `--mac-address`: six bytes in hexadecimal, between colons or hyphens.
pub fn check_mac_address(text: &str) -> Result<(), ModeError> {
    let separator = if text.contains('-') { '-' } else { ':' };
    let parts: Vec<&str> = text.trim().split(separator).collect();
    let is_byte =
        |part: &&str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    if parts.len() == 6 && parts.iter().all(is_byte) {
        Ok(())
    } else {
        Err(ModeError::MacAddress(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespace_modes_are_checked() {
        use NamespaceFlag::{Cgroup, Ipc, Pid, User, Uts};
        for (flag, text) in [
            (Pid, ""),
            (Pid, "host"),
            (Pid, "container:x"),
            (Ipc, "shareable"),
            (Ipc, "none"),
            (Uts, "host"),
            (User, "host"),
            (Cgroup, "private"),
        ] {
            assert_eq!(check_namespace_mode(flag, text), Ok(()));
        }
        for (flag, text, want) in [
            (Pid, "container:", "--pid: invalid PID mode"),
            (Ipc, "x", "--ipc: invalid IPC mode"),
            (Uts, "private", "--uts: invalid UTS mode"),
            (User, "x", "--userns: invalid USER mode"),
            (Cgroup, "x", "--cgroupns: invalid CGROUP mode"),
        ] {
            assert_eq!(
                check_namespace_mode(flag, text).unwrap_err().to_string(),
                want
            );
        }
    }

    #[test]
    fn pull_policies_links_and_storage_options_are_read() {
        assert_eq!(parse_pull_policy("never"), Ok(PullPolicy::Never));
        assert_eq!(
            parse_pull_policy("bogus").unwrap_err().to_string(),
            "invalid pull option: 'bogus': must be one of \"always\", \"missing\" or \"never\""
        );
        for (text, name, alias) in [
            ("db", "db", "db"),
            ("db:a", "db", "a"),
            ("/db:/web/alias", "db", "alias"),
        ] {
            assert_eq!(parse_link(text), Ok((name.to_owned(), alias.to_owned())));
        }
        for text in ["", "a:b:c", ":a", "a:"] {
            assert!(parse_link(text).is_err(), "{text}");
        }
        assert_eq!(
            parse_storage_option("size=1g"),
            Ok(("size".into(), "1g".into()))
        );
        assert_eq!(parse_storage_option("x"), Err(ModeError::StorageOption));
    }

    #[test]
    fn only_sysctls_of_namespaces_are_allowed() {
        for (text, key) in [
            ("net.ipv4.ip_forward=1", "net.ipv4.ip_forward"),
            ("kernel.sem=1 2 3 4", "kernel.sem"),
            ("fs.mqueue.msg_max=5", "fs.mqueue.msg_max"),
        ] {
            assert_eq!(check_sysctl(text).unwrap().0, key);
        }
        for text in [
            "",
            "x",
            "=1",
            "kernel.core_pattern=|x",
            "net./../kernel/core_pattern=x",
            "net...x=1",
        ] {
            let error = check_sysctl(text).unwrap_err().to_string();
            assert_eq!(error, format!("sysctl '{text}' is not allowed"));
        }
    }

    #[test]
    fn mac_addresses_are_six_bytes() {
        assert!(check_mac_address("92:d0:C6:0a:29:33").is_ok());
        assert!(check_mac_address("92-d0-c6-0a-29-33").is_ok());
        for text in [
            "",
            "92:d0:c6:0a:29",
            "92:d0:c6:0a:29:3g",
            "92:d0-c6:0a:29:33",
        ] {
            assert!(check_mac_address(text).is_err(), "{text}");
        }
    }
}
