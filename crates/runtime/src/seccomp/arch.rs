//! Architectures: the machine we run on, those whose calls it can make, and their system calls.

use super::syscalls::{NONE, SYSCALLS};

/// The index of a name that no architecture here has.
pub(super) const UNKNOWN: u16 = u16::MAX;

/// The mark of x32 calls, which come under the audit number of x86_64.
pub(super) const X32_MARK: u32 = 0x4000_0000;

/// The machine a filter runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// x86_64, which also makes calls of x86 and x32.
    X86_64,
    /// aarch64, which also makes calls of arm.
    Aarch64,
}

impl Machine {
    /// The machine this program was built for.
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Self = Self::X86_64;
    /// The machine this program was built for.
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Self = Self::Aarch64;

    /// Its own calls.
    pub(super) const fn native(self) -> Arch {
        match self {
            Self::X86_64 => Arch::X86_64,
            Self::Aarch64 => Arch::Aarch64,
        }
    }

    /// The name in a profile's `includes` and `excludes` (Go's).
    pub(super) const fn go_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// The architectures that Docker's default profile covers.
    pub(super) const fn default_architectures(self) -> &'static [Arch] {
        match self {
            Self::X86_64 => &[Arch::X86_64, Arch::X86, Arch::X32],
            Self::Aarch64 => &[Arch::Aarch64, Arch::Arm],
        }
    }
}

/// A set of system calls. The order is that of the columns of [`SYSCALLS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arch {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
}

impl Arch {
    /// Libseccomp's name; `Ok(None)` for an architecture that none of our machines can run.
    pub(super) fn parse(name: &str) -> Result<Option<Self>, ()> {
        const FOREIGN: [&str; 18] = [
            "LOONGARCH64",
            "M68K",
            "MIPS",
            "MIPS64",
            "MIPS64N32",
            "MIPSEL",
            "MIPSEL64",
            "MIPSEL64N32",
            "PARISC",
            "PARISC64",
            "PPC",
            "PPC64",
            "PPC64LE",
            "RISCV64",
            "S390",
            "S390X",
            "SH",
            "SHEB",
        ];
        match name.strip_prefix("SCMP_ARCH_").ok_or(())? {
            "X86_64" => Ok(Some(Self::X86_64)),
            "X86" => Ok(Some(Self::X86)),
            "X32" => Ok(Some(Self::X32)),
            "AARCH64" => Ok(Some(Self::Aarch64)),
            "ARM" => Ok(Some(Self::Arm)),
            other if FOREIGN.contains(&other) => Ok(None),
            _ => Err(()),
        }
    }

    /// `AUDIT_ARCH_*`, what a filter sees.
    pub(super) const fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// The number of a call, without x32's mark.
    pub(super) fn number(self, call: u16) -> Option<u32> {
        let number = SYSCALLS.get(usize::from(call))?.1[self as usize];
        (number != NONE).then_some(number)
    }
}

/// The index of a call by name.
pub(super) fn find(name: &str) -> u16 {
    SYSCALLS
        .binary_search_by(|row| row.0.cmp(name))
        .map_or(UNKNOWN, |index| index as u16)
}

/// The indices of calls by name, at compile time.
pub(super) const fn resolve<const N: usize>(names: [&str; N]) -> [u16; N] {
    let mut indices = [UNKNOWN; N];
    let mut at = 0;
    while at < N {
        let (mut low, mut high) = (0, SYSCALLS.len());
        while low < high {
            let middle = (low + high) / 2;
            match compare(SYSCALLS[middle].0.as_bytes(), names[at].as_bytes()) {
                0 => {
                    indices[at] = middle as u16;
                    break;
                }
                1 => high = middle,
                _ => low = middle + 1,
            }
        }
        at += 1;
    }
    indices
}

/// 0 for equal, 1 for greater, -1 for less.
const fn compare(left: &[u8], right: &[u8]) -> i8 {
    let mut at = 0;
    while at < left.len() && at < right.len() {
        if left[at] != right[at] {
            return if left[at] > right[at] { 1 } else { -1 };
        }
        at += 1;
    }
    if left.len() == right.len() {
        0
    } else if left.len() > right.len() {
        1
    } else {
        -1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_found_the_same_way_at_compile_time() {
        assert!(SYSCALLS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (index, row) in SYSCALLS.iter().enumerate() {
            assert_eq!(find(row.0), index as u16);
            assert_eq!(resolve([row.0, "no_such_call"]), [index as u16, UNKNOWN]);
        }
        assert_eq!(find(""), UNKNOWN);
    }

    #[test]
    fn numbers_are_those_of_the_kernel_headers() {
        let include = std::path::Path::new("/usr/include");
        let mut checked = 0;
        for (arch, file, prefix, mark) in [
            (Arch::X86_64, "x86_64-linux-gnu/asm/unistd_64.h", "__NR_", 0),
            (Arch::X86, "x86_64-linux-gnu/asm/unistd_32.h", "__NR_", 0),
            (
                Arch::X32,
                "x86_64-linux-gnu/asm/unistd_x32.h",
                "__NR_",
                X32_MARK,
            ),
            (Arch::Aarch64, "asm-generic/unistd.h", "__NR_", 0),
        ] {
            let Ok(text) = std::fs::read_to_string(include.join(file)) else {
                println!("skipped: no {file}");
                continue;
            };
            for line in text.lines() {
                let words: Vec<_> = line.split_whitespace().collect();
                // `#define __NR_read 0`, `#define __NR_read (__X32_SYSCALL_BIT + 0)`.
                let ["#define", name, .., value] = words[..] else {
                    continue;
                };
                // Another name for a number that the 32-bit machines have too.
                if value.starts_with("__NR3264") {
                    continue;
                }
                let Some(name) = name.strip_prefix(prefix) else {
                    continue;
                };
                let value = value.trim_matches(|c: char| !c.is_ascii_digit());
                let Ok(value) = value.parse::<u32>() else {
                    continue;
                };
                if matches!(name, "syscalls" | "arch_specific_syscall") {
                    continue;
                }
                let number = match arch.number(find(name)) {
                    Some(number) => number,
                    // The generic header holds calls that other machines opt into.
                    None if arch == Arch::Aarch64 => continue,
                    None => panic!("{arch:?} lacks {name}"),
                };
                assert_eq!(number, value & !mark, "{arch:?} {name}");
                checked += 1;
            }
        }
        println!("{checked} numbers checked");
    }

    #[test]
    fn numbers_are_those_of_libc() {
        #[cfg(target_arch = "x86_64")]
        for (name, number) in [
            ("clone3", libc::SYS_clone3),
            ("mseal", 462),
            ("futex_wake", 454),
        ] {
            assert_eq!(
                i64::from(Machine::NATIVE.native().number(find(name)).unwrap()),
                number
            );
        }
        assert_eq!(Arch::Arm.number(find("set_tls")), Some(0xf0005));
    }
}
