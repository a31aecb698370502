//! `--cap-add` and `--cap-drop`.

use crate::go_syntax::quote;

/// The word for every capability there is.
pub const ALL_CAPABILITIES: &str = "ALL";

/// The capabilities of Linux 5.9 and later, by their number.
pub const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// A word that is no capability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown capability: {}", quote(.0))]
pub struct CapabilityError(String);

/// Reads `net_admin`, `CAP_NET_ADMIN` or `all`; gives `CAP_NET_ADMIN` or `ALL`.
pub fn normalise_capability(text: &str) -> Result<String, CapabilityError> {
    let upper = text.trim().to_ascii_uppercase();
    if upper == ALL_CAPABILITIES || upper == "CAP_ALL" {
        return Ok(ALL_CAPABILITIES.to_owned());
    }
    let name = if upper.starts_with("CAP_") {
        upper
    } else {
        format!("CAP_{upper}")
    };
    if CAPABILITIES.contains(&name.as_str()) {
        Ok(name)
    } else {
        Err(CapabilityError(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_normalised_and_known() {
        for (text, want) in [
            ("net_admin", "CAP_NET_ADMIN"),
            ("CAP_SYS_ADMIN", "CAP_SYS_ADMIN"),
            ("all", "ALL"),
            ("cap_all", "ALL"),
            ("checkpoint_restore", "CAP_CHECKPOINT_RESTORE"),
        ] {
            assert_eq!(normalise_capability(text).unwrap(), want);
        }
        for (text, want) in [
            ("x", "unknown capability: \"CAP_X\""),
            ("", "unknown capability: \"CAP_\""),
            ("CAP_CAP_KILL", "unknown capability: \"CAP_CAP_KILL\""),
        ] {
            assert_eq!(normalise_capability(text).unwrap_err().to_string(), want);
        }
        assert_eq!(CAPABILITIES[21], "CAP_SYS_ADMIN");
        assert_eq!(CAPABILITIES[40], "CAP_CHECKPOINT_RESTORE");
    }
}
