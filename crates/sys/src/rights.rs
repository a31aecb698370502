//! What a process needs to run containers, and may lack. Asked once something was refused, to say what to
//! do; never to refuse anything itself.

/// Why the kernel refuses to do a container's mounts and namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The user is not root.
    Root,
    /// The user is root in a user namespace only.
    HostRoot,
    /// Root without CAP_SYS_ADMIN.
    Capability,
}

const CAP_SYS_ADMIN: u64 = 1 << 21;

/// What this process lacks.
pub fn lack() -> Option<Lack> {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    lack_of(
        rustix::process::geteuid().is_root(),
        &map,
        crate::process::capabilities().0,
    )
}

fn lack_of(is_root: bool, uid_map: &str, effective: u64) -> Option<Lack> {
    let map: Vec<&str> = uid_map.split_whitespace().collect();
    if !is_root {
        Some(Lack::Root)
    } else if !map.is_empty() && map != ["0", "0", "4294967295"] {
        Some(Lack::HostRoot)
    } else if effective & CAP_SYS_ADMIN == 0 {
        Some(Lack::Capability)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_told_apart() {
        let whole = "         0          0 4294967295\n";
        assert_eq!(lack_of(false, whole, 0), Some(Lack::Root));
        assert_eq!(lack_of(true, "0 1000 1\n", u64::MAX), Some(Lack::HostRoot));
        assert_eq!(lack_of(true, whole, !CAP_SYS_ADMIN), Some(Lack::Capability));
        assert_eq!(lack_of(true, whole, u64::MAX), None);
        assert_eq!(lack_of(true, "", u64::MAX), None);
    }
}
