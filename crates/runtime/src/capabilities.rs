//! Capabilities: their names, Docker's defaults, and what `--cap-add` and `--cap-drop` make of them.
//!
//! Pure: asking the kernel and dropping are done through `sys::process`. Called by the engine when
//! it makes a specification, by the runtime when it reads one, and by `seccomp` for its conditions.

use std::fmt;

/// Names by bit number, without the `CAP_` prefix.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The 14 that Docker leaves to a container.
const DOCKER_DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

const fn equal(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// The set of one capability by its exact name, at compile time.
pub(crate) const fn only(name: &str) -> CapSet {
    set_of(&[name])
}

const fn set_of(names: &[&str]) -> CapSet {
    let mut set = 0;
    let mut at = 0;
    while at < names.len() {
        let mut bit = 0;
        while !equal(names[at], NAMES[bit]) {
            bit += 1;
        }
        set |= 1 << bit;
        at += 1;
    }
    CapSet(set)
}

/// A set of capabilities, one bit each, as the kernel numbers them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CapSet(pub u64);

impl CapSet {
    /// No capability.
    pub const EMPTY: Self = Self(0);
    /// Every capability that has a name here.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);
    /// The 14 that Docker leaves to a container.
    pub const DOCKER_DEFAULT: Self = set_of(&DOCKER_DEFAULT);

    /// The set of one capability by its name, with or without `CAP_`, in any case.
    pub fn of_name(name: &str) -> Option<Self> {
        let name = strip_prefix(name.trim());
        let bit = NAMES
            .iter()
            .position(|known| known.eq_ignore_ascii_case(name))?;
        Some(Self(1 << bit))
    }

    /// The union of the named capabilities; names that are not known are left out.
    ///
    /// For reading a specification written by others, where a name may be newer than we are.
    pub fn of_names<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Self {
        let sets = names
            .into_iter()
            .filter_map(|name| Self::of_name(name.as_ref()));
        sets.fold(Self::EMPTY, Self::union)
    }

    /// The full names (`CAP_CHOWN`) in the order of their numbers.
    pub fn names(self) -> Vec<String> {
        let names = NAMES.iter().enumerate();
        names
            .filter(|(bit, _)| self.0 >> bit & 1 == 1)
            .map(|(_, name)| format!("CAP_{name}"))
            .collect()
    }

    /// Whether every capability of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Capabilities in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Capabilities in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Capabilities of this set that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Display for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(","))
    }
}

/// Why a list of capabilities is refused. The words are Docker's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityError {
    /// No such capability.
    #[error("invalid {list}: unknown capability: {name:?}")]
    Unknown {
        /// `CapAdd` or `CapDrop`.
        list: &'static str,
        /// The full name.
        name: String,
    },
    /// The kernel, or what we were given ourselves, lacks it.
    #[error(
        "invalid {list}: capability not supported by your kernel or not available in the current \
         environment: {name:?}"
    )]
    Unavailable {
        /// `CapAdd` or `CapDrop`.
        list: &'static str,
        /// The full name.
        name: String,
    },
}

/// What `--cap-add` and `--cap-drop` leave of Docker's defaults, by Docker's rules.
///
/// `add` holding `ALL` gives all but the dropped ones; else `drop` holding `ALL` gives what is
/// added; else the defaults lose the dropped ones and gain the added ones, so that what is both
/// dropped and added stays. `available` is our own bounding set: privileged containers and `ALL` get
/// what there is, a default that is not there is left out, and asking for one by name is an error.
///
/// # Errors
/// Names that no kernel or not this environment knows.
pub fn resolve(
    add: &[String],
    drop: &[String],
    privileged: bool,
    available: CapSet,
) -> Result<CapSet, CapabilityError> {
    if privileged {
        return Ok(CapSet::ALL.intersection(available));
    }
    let drop = Request::parse("CapDrop", drop, available)?;
    let add = Request::parse("CapAdd", add, available)?;
    if add.all {
        return Ok(CapSet::ALL.intersection(available).without(drop.named));
    }
    if drop.all {
        return Ok(add.named);
    }
    Ok(CapSet::DOCKER_DEFAULT
        .intersection(available)
        .without(drop.named)
        .union(add.named))
}

/// One list of names.
struct Request {
    all: bool,
    named: CapSet,
}

impl Request {
    fn parse(
        list: &'static str,
        names: &[String],
        available: CapSet,
    ) -> Result<Self, CapabilityError> {
        let mut request = Self {
            all: false,
            named: CapSet::EMPTY,
        };
        for name in names {
            let bare = strip_prefix(name.trim());
            if bare.eq_ignore_ascii_case("ALL") {
                request.all = true;
                continue;
            }
            let name = || format!("CAP_{}", bare.to_ascii_uppercase());
            let set = CapSet::of_name(bare)
                .ok_or_else(|| CapabilityError::Unknown { list, name: name() })?;
            if !available.contains(set) {
                return Err(CapabilityError::Unavailable { list, name: name() });
            }
            request.named = request.named.union(set);
        }
        Ok(request)
    }
}

fn strip_prefix(name: &str) -> &str {
    match name.get(..4) {
        Some(prefix) if prefix.eq_ignore_ascii_case("CAP_") => &name[4..],
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn bits_are_those_of_the_kernel_header() {
        assert_eq!(CapSet::of_name("CAP_CHOWN"), Some(CapSet(1)));
        assert_eq!(CapSet::of_name("cap_sys_admin"), Some(CapSet(1 << 21)));
        assert_eq!(CapSet::of_name("CHECKPOINT_RESTORE"), Some(CapSet(1 << 40)));
        assert_eq!(CapSet::of_name("CAP_CAP_CHOWN"), None);
        assert_eq!(CapSet::of_name(""), None);
        assert_eq!(CapSet::of_name("Käse"), None);
        assert_eq!(CapSet::ALL.0, 0x1ff_ffff_ffff);
        // What `grep Cap /proc/self/status` shows inside a Docker container.
        assert_eq!(CapSet::DOCKER_DEFAULT.0, 0xa804_25fb);
        let Ok(header) = std::fs::read_to_string("/usr/include/linux/capability.h") else {
            println!("skipped: no kernel headers");
            return;
        };
        let mut found = 0;
        for line in header.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            if let ["#define", name, number] = words[..]
                && let (true, Ok(bit)) = (name.starts_with("CAP_"), number.parse::<u32>())
            {
                assert_eq!(CapSet::of_name(name), Some(CapSet(1 << bit)), "{name}");
                found += 1;
            }
        }
        assert_eq!(found, NAMES.len());
    }

    #[test]
    fn names_and_bits_are_each_others_inverse() {
        let names = CapSet::ALL.names();
        assert_eq!(names.len(), 41);
        assert_eq!(CapSet::of_names(&names), CapSet::ALL);
        assert_eq!(
            CapSet::of_names(["CAP_KILL", "CAP_FROM_TOMORROW"]).names(),
            ["CAP_KILL"]
        );
        assert_eq!(
            CapSet::of_names(["CHOWN", "KILL"]).to_string(),
            "CAP_CHOWN,CAP_KILL"
        );
    }

    #[test]
    fn adding_and_dropping_follow_dockers_rules() {
        let default = CapSet::DOCKER_DEFAULT;
        let of = |names: &[&str]| CapSet::of_names(names);
        for (add, drop, expected) in [
            (&[][..], &[][..], default),
            (&["NET_ADMIN"], &[], default.union(of(&["NET_ADMIN"]))),
            (
                &["cap_net_admin", " sys_time "],
                &[],
                default.union(of(&["NET_ADMIN", "SYS_TIME"])),
            ),
            (
                &[],
                &["CHOWN", "CAP_KILL"],
                default.without(of(&["CHOWN", "KILL"])),
            ),
            (&[], &["NET_ADMIN"], default),
            (&["CHOWN"], &["CHOWN"], default),
            (&[], &["ALL"], CapSet::EMPTY),
            (&["CHOWN"], &["ALL"], of(&["CHOWN"])),
            (&["CHOWN"], &["all", "CHOWN"], of(&["CHOWN"])),
            (&["ALL"], &[], CapSet::ALL),
            (
                &["ALL"],
                &["SYS_ADMIN"],
                CapSet::ALL.without(of(&["SYS_ADMIN"])),
            ),
            (
                &["All", "CHOWN"],
                &["CHOWN"],
                CapSet::ALL.without(of(&["CHOWN"])),
            ),
            (&["ALL"], &["ALL"], CapSet::ALL),
            (&["CAP_ALL"], &[], CapSet::ALL),
        ] {
            let result = resolve(&strings(add), &strings(drop), false, CapSet::ALL);
            assert_eq!(result, Ok(expected), "+{add:?} -{drop:?}");
        }
    }

    #[test]
    fn privileged_gets_what_there_is_and_no_more() {
        let resource = CapSet::of_names(["SYS_RESOURCE"]);
        let here = CapSet::ALL.without(resource);
        assert_eq!(resolve(&[], &strings(&["ALL"]), true, here), Ok(here));
        assert_eq!(resolve(&strings(&["ALL"]), &[], false, here), Ok(here));
        // A kernel that knows capabilities which we do not.
        assert_eq!(resolve(&[], &[], true, CapSet(u64::MAX)), Ok(CapSet::ALL));
        let few = CapSet::of_names(["CHOWN", "SYS_TIME"]);
        assert_eq!(
            resolve(&[], &[], false, few),
            Ok(CapSet::of_names(["CHOWN"]))
        );
    }

    #[test]
    fn unknown_and_missing_names_are_refused_in_dockers_words() {
        let refuse = |name: &str, available| {
            let add = resolve(&strings(&[name]), &[], false, available)
                .unwrap_err()
                .to_string();
            let drop = resolve(&[], &strings(&[name]), false, available)
                .unwrap_err()
                .to_string();
            assert_eq!(add, drop.replacen("CapDrop", "CapAdd", 1));
            add
        };
        assert_eq!(
            refuse("chwon", CapSet::ALL),
            "invalid CapAdd: unknown capability: \"CAP_CHWON\""
        );
        assert!(refuse("", CapSet::ALL).ends_with("unknown capability: \"CAP_\""));
        assert!(refuse("x\u{7}\"", CapSet::ALL).ends_with("\"CAP_X\\u{7}\\\"\""));
        let here = CapSet::ALL.without(CapSet::of_names(["SYS_RESOURCE"]));
        assert!(refuse("SYS_RESOURCE", here).ends_with(
            "not supported by your kernel or not available in the current environment: \
             \"CAP_SYS_RESOURCE\""
        ));
    }
}
