//! Differential test: libseccomp's decisions beside ours, where its headers and a compiler are
//! installed. Where we differ on purpose is said at the place.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::arch::{self, Arch, X32_MARK};
use super::compile::{Source, compile};
use super::interpreter::{Call, run};
use super::syscalls::SYSCALLS;
use super::{Action, Comparison, Condition, Machine, Program, Rule, Target, default};
use crate::capabilities::CapSet;

/// Reads `default V`, `arch NAME`, `rule V NAME (INDEX OP A B)*` lines and writes the program.
const HELPER: &str = r#"
#include <seccomp.h>
#include <stdio.h>
#include <stdint.h>
#include <inttypes.h>
int main(void) {
    static char line[4096];
    scmp_filter_ctx ctx = NULL;
    while (fgets(line, sizeof line, stdin)) {
        char word[64]; uint32_t value; int used = 0;
        if (sscanf(line, "default %" SCNu32, &value) == 1) {
            if (!(ctx = seccomp_init(value))) return 2;
        } else if (sscanf(line, "arch %63s", word) == 1) {
            int rc = seccomp_arch_add(ctx, seccomp_arch_resolve_name(word));
            if (rc && rc != -17) return 3;
        } else if (sscanf(line, "rule %" SCNu32 " %63s%n", &value, word, &used) == 2) {
            int nr = seccomp_syscall_resolve_name(word);
            if (nr == __NR_SCMP_ERROR) { fprintf(stderr, "%s\n", word); continue; }
            struct scmp_arg_cmp args[6];
            unsigned count = 0, index;
            int op, more;
            uint64_t a, b;
            char *rest = line + used;
            while (count < 6 && sscanf(rest, " %u %d %" SCNu64 " %" SCNu64 "%n",
                                       &index, &op, &a, &b, &more) == 4) {
                args[count++] = SCMP_CMP64(index, op, a, b);
                rest += more;
            }
            int rc = seccomp_rule_add_array(ctx, value, nr, count, args);
            if (rc && rc != -17) return 5;
        }
    }
    return seccomp_export_bpf(ctx, 1) ? 4 : 0;
}
"#;

struct Oracle {
    directory: PathBuf,
}

impl Oracle {
    fn build(name: &str) -> Option<Self> {
        let directory = std::env::temp_dir().join(format!("caisson-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let oracle = Self { directory };
        let source = oracle.directory.join("oracle.c");
        std::fs::write(&source, HELPER).unwrap();
        let mut cc = Command::new("cc");
        cc.arg("-o")
            .arg(oracle.directory.join("oracle"))
            .arg(&source)
            .arg("-lseccomp");
        match cc.stderr(Stdio::null()).status() {
            Ok(status) if status.success() => Some(oracle),
            _ => {
                println!("skipped: no libseccomp-dev");
                None
            }
        }
    }

    /// libseccomp's program, and the names that it does not know.
    fn program(&self, case: &Case<'_>) -> (Program, Vec<String>) {
        let mut text = format!("default {}\n", case.default.value());
        for arch in case.architectures {
            writeln!(text, "arch {}", format!("{arch:?}").to_lowercase()).unwrap();
        }
        for rule in case.rules.iter().filter(|rule| rule.action != case.default) {
            for call in rule.calls.iter().filter(|call| **call != arch::UNKNOWN) {
                let name = SYSCALLS[usize::from(*call)].0;
                write!(text, "rule {} {name}", rule.action.value()).unwrap();
                for Condition {
                    index,
                    comparison,
                    value,
                    second,
                } in rule.conditions
                {
                    let operator = match comparison {
                        Comparison::NotEqual => 1,
                        Comparison::Less => 2,
                        Comparison::LessOrEqual => 3,
                        Comparison::Equal => 4,
                        Comparison::GreaterOrEqual => 5,
                        Comparison::Greater => 6,
                        Comparison::MaskedEqual => 7,
                    };
                    write!(text, " {index} {operator} {value} {second}").unwrap();
                }
                text.push('\n');
            }
        }
        let mut child = Command::new(self.directory.join("oracle"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{:?}\n{text}", output.status);
        let instructions = output
            .stdout
            .chunks(8)
            .map(|bytes| bytes.try_into().unwrap())
            .collect();
        let unknown = String::from_utf8(output.stderr).unwrap();
        (
            Program {
                instructions,
                flags: 0,
            },
            unknown.lines().map(str::to_string).collect(),
        )
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The first call after Linux 5.17, of which the libraries of our machines know.
const NEWER_THAN_LIBRARY: u32 = 451;
/// The first call that only x32 has.
const X32_OWN_FIRST: u32 = 512;

/// A small deterministic generator.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.next(from.len() as u64) as usize]
    }
}

const VALUES: [u64; 14] = [
    0,
    1,
    2,
    38,
    39,
    40,
    0x0200_0000,
    0x7e02_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x7e02_0000_0000_0000,
    u64::MAX - 1,
    u64::MAX,
];

struct Case<'a> {
    default: Action,
    architectures: &'a [Arch],
    rules: &'a [Rule<'a>],
}

/// Compares the decisions over all numbers and a sample of arguments; says how many were compared.
fn compare(oracle: &Oracle, case: &Case<'_>, random: &mut Random) -> usize {
    let (theirs, unknown) = oracle.program(case);
    let source = Source {
        machine: Machine::X86_64,
        default: case.default,
        architectures: case.architectures,
        rules: case.rules,
    };
    let ours = Program {
        instructions: compile(&source).unwrap(),
        flags: 0,
    };
    let mut compared = 0;
    for (arch, mark) in [
        (Arch::X86_64, 0),
        (Arch::X86, 0),
        (Arch::X32, X32_MARK),
        (Arch::Arm, 0),
    ] {
        let covered = arch == Arch::X86_64 || case.architectures.contains(&arch);
        let calls = case.rules.iter().flat_map(|rule| rule.calls);
        let end = calls
            .filter_map(|call| arch.number(*call))
            .max()
            .map_or(0, |greatest| greatest + 1);
        for number in 0..600u32 {
            // On some architectures the library lacks calls that came after it.
            if (NEWER_THAN_LIBRARY..end).contains(&number) && arch != Arch::X32
                || (NEWER_THAN_LIBRARY..X32_OWN_FIRST).contains(&number)
            {
                continue;
            }
            let name = SYSCALLS
                .iter()
                .enumerate()
                .find(|(index, _)| arch.number(*index as u16) == Some(number))
                .map_or("", |(_, row)| row.0);
            // Calls newer than the installed library, and those whose conditions it keeps in
            // another way (see `Table::add_multiplexed`).
            if unknown.iter().any(|other| other == name) || matches!(name, "socketcall" | "ipc") {
                continue;
            }
            for _ in 0..8 {
                let mut call = Call {
                    arch: arch.audit(),
                    number: number | mark,
                    arguments: [0; 6],
                };
                call.arguments = call.arguments.map(|_| random.pick(&VALUES));
                if arch != Arch::X86_64 || name == "socket" {
                    // What the kernel shows of 32-bit calls, all that libseccomp looks at on
                    // x32 (we look at the whole), and what the kernel takes of socket's.
                    call.arguments = call.arguments.map(|argument| argument & 0xffff_ffff);
                }
                let (our, their) = (run(&ours, &call).unwrap().0, run(&theirs, &call).unwrap().0);
                let tell = || format!("{arch:?} {number} {name} {call:x?}\n{:?}", case.rules);
                if covered && number >= end && end > 0 && !case.default.permits() {
                    // "No such call" is runc's addition, not libseccomp's.
                    let enosys = Action::Errno(38).value();
                    assert_eq!((our, their), (enosys, case.default.value()), "{}", tell());
                } else {
                    assert_eq!(our, their, "{}", tell());
                }
                compared += 1;
            }
        }
    }
    compared
}

#[test]
fn the_default_profile_decides_as_libseccomp_would() {
    let Some(oracle) = Oracle::build("oracle-default") else {
        return;
    };
    let mut random = Random(1);
    let mut compared = 0;
    for capabilities in [
        CapSet::DOCKER_DEFAULT,
        CapSet::EMPTY,
        CapSet::ALL,
        CapSet::of_names(["SYS_ADMIN"]),
        CapSet::of_names(["SYS_PTRACE", "BPF"]),
    ] {
        for kernel in [(4, 4), (6, 18)] {
            let target = Target {
                machine: Machine::X86_64,
                capabilities,
                kernel,
            };
            let rules = default::rules(&target);
            let case = Case {
                default: Action::Errno(1),
                architectures: Machine::X86_64.default_architectures(),
                rules: &rules,
            };
            compared += compare(&oracle, &case, &mut random);
        }
    }
    println!("{compared} decisions compared");
}

#[test]
fn random_profiles_decide_as_libseccomp_would() {
    let Some(oracle) = Oracle::build("oracle-random") else {
        return;
    };
    const COMPARISONS: [Comparison; 7] = [
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
        Comparison::MaskedEqual,
    ];
    let actions = [
        Action::Allow,
        Action::Errno(1),
        Action::KillProcess,
        Action::Trap,
        Action::Log,
    ];
    let mut compared = 0;
    for seed in 0..60 {
        let mut random = Random(seed);
        let default = random.pick(&actions);
        // One other action: on conflicts between several, libseccomp's order is its own.
        let action = random.pick(&actions);
        let mut owned = Vec::new();
        for _ in 0..1 + random.next(60) {
            let conditions: Vec<Condition> = (0..random.next(4))
                .map(|index| {
                    let comparison = random.pick(&COMPARISONS);
                    let value = random.pick(&VALUES);
                    let second = match comparison {
                        Comparison::MaskedEqual => random.pick(&VALUES) & value,
                        _ => 0,
                    };
                    Condition::new(index as u8 * 2, comparison, value, second)
                })
                .collect();
            // Few conditions in the end: most calls of a real profile have none.
            let conditions = if random.next(3) == 0 {
                conditions
            } else {
                Vec::new()
            };
            owned.push((random.next(SYSCALLS.len() as u64) as u16, conditions));
        }
        // On a 32-bit architecture libseccomp looks at the lower half of a value only; a value that
        // does not fit would be another condition there.
        let wide = owned
            .iter()
            .any(|(_, conditions)| conditions.iter().any(|c| c.value >> 32 != 0));
        let rules: Vec<Rule<'_>> = owned
            .iter()
            .map(|(call, conditions)| Rule {
                calls: std::slice::from_ref(call),
                action,
                conditions,
            })
            .collect();
        let architectures: &[Arch] = match (random.next(3), wide) {
            (0, false) => &[Arch::X86_64, Arch::X86, Arch::X32],
            (1, false) => &[Arch::X86_64, Arch::X86, Arch::Arm],
            _ => &[],
        };
        compared += compare(
            &oracle,
            &Case {
                default,
                architectures,
                rules: &rules,
            },
            &mut random,
        );
    }
    println!("{compared} decisions compared");
}
