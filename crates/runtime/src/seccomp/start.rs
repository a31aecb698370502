//! Whether a user's filter lets a program start at all.
//!
//! Between the filter and the program are calls of ours. One that is forbidden ends the process, or fails and
//! leaves no way to say so, because what it would be said by is forbidden as well. So it is asked before.

use super::interpreter::{Call, run};
use super::{Action, Machine, Program, arch};
use crate::failure::{Failure, FailureKind};
use crate::spec::Process;

const PR_SET_KEEPCAPS: u64 = 8;

/// What is called once the filter is there; with `no_new_privs` it comes last of all.
const LAST: [(&str, u64); 1] = [("execve", 0)];
const BEFORE: [(&str, u64); 5] = [
    ("prctl", PR_SET_KEEPCAPS),
    ("setgroups", 0),
    ("setresgid", 0),
    ("setresuid", 0),
    ("capset", 0),
];

/// Asks a filter about the calls that starting a program takes.
///
/// # Errors
/// The first that it forbids.
pub(crate) fn check(program: &Program, process: &Process, machine: Machine) -> Result<(), Failure> {
    let before = match process.no_new_privileges {
        true => &BEFORE[..0],
        false => &BEFORE[..],
    };
    for (name, argument) in LAST.iter().chain(before) {
        let Some(number) = machine.native().number(arch::find(name)) else {
            continue;
        };
        let call = Call {
            arch: machine.native().audit(),
            number,
            arguments: [*argument, 0, 0, 0, 0, 0],
        };
        let Some(action) = run(program, &call).and_then(|(verdict, _)| refusal(verdict)) else {
            continue;
        };
        let of = process.args.first().map_or("", String::as_str);
        return Err(Failure {
            kind: FailureKind::NotExecutable,
            text: format!(
                "exec: \"{of}\": operation not permitted: the seccomp profile answers {name} with {action}, and \
                 no program starts without it; allow it in the profile (--security-opt seccomp=FILE)"
            ),
        });
    }
    Ok(())
}

/// The name of an action that does not let a call through.
fn refusal(verdict: u32) -> Option<&'static str> {
    const ERRNO: u32 = Action::Errno(0).value();
    const TRAP: u32 = Action::Trap.value();
    match verdict & 0xffff_0000 {
        _ if verdict == Action::KillProcess.value() => Some("SCMP_ACT_KILL_PROCESS"),
        _ if verdict == Action::KillThread.value() => Some("SCMP_ACT_KILL"),
        ERRNO => Some("SCMP_ACT_ERRNO"),
        TRAP => Some("SCMP_ACT_TRAP"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Profile, Target};
    use super::*;
    use crate::capabilities::CapSet;

    fn told(profile: &str, no_new_privileges: bool) -> Option<String> {
        let target = Target {
            machine: Machine::X86_64,
            capabilities: CapSet::EMPTY,
            kernel: (6, 1),
        };
        let program = Profile::parse(profile)
            .unwrap()
            .unwrap()
            .program(&target)
            .unwrap();
        let process = Process {
            args: vec!["true".into()],
            no_new_privileges,
            ..Process::default()
        };
        let failure = check(&program, &process, Machine::X86_64).err()?;
        assert_eq!(failure.kind, FailureKind::NotExecutable);
        let (_, rest) = failure.text.split_once("the seccomp profile answers ")?;
        Some(rest.split(',').next().unwrap_or_default().to_owned())
    }

    #[test]
    fn a_filter_under_which_nothing_starts_is_told() {
        let denies = |call: &str, action: &str| {
            format!(
                r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": ["{call}"], "action": "{action}"}}]}}"#
            )
        };
        let none = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}"#;
        for (profile, no_new_privileges, words) in [
            (
                denies("execve", "SCMP_ACT_ERRNO"),
                false,
                Some("execve with SCMP_ACT_ERRNO"),
            ),
            (
                denies("execve", "SCMP_ACT_KILL_PROCESS"),
                true,
                Some("execve with SCMP_ACT_KILL_PROCESS"),
            ),
            (
                denies("execve", "SCMP_ACT_KILL"),
                false,
                Some("execve with SCMP_ACT_KILL"),
            ),
            (
                denies("execve", "SCMP_ACT_TRAP"),
                false,
                Some("execve with SCMP_ACT_TRAP"),
            ),
            (denies("execve", "SCMP_ACT_LOG"), false, None),
            (
                denies("capset", "SCMP_ACT_ERRNO"),
                false,
                Some("capset with SCMP_ACT_ERRNO"),
            ),
            (denies("capset", "SCMP_ACT_ERRNO"), true, None),
            (denies("chmod", "SCMP_ACT_KILL_PROCESS"), false, None),
            (none.to_owned(), false, Some("execve with SCMP_ACT_ERRNO")),
        ] {
            assert_eq!(
                told(&profile, no_new_privileges).as_deref(),
                words,
                "{profile}"
            );
        }
    }
}
