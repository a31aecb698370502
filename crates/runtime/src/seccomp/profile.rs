//! Profiles as JSON, in Docker's form (`archMap`, `includes`, `excludes`) and the OCI's.
//!
//! Read whole and checked when the profile is named, so that a bad one is refused before anything is
//! made; the conditions are decided when the target is known.

use serde::Deserialize;

use super::arch::{self, Arch};
use super::compile::{Source, compile};
use super::{Action, Comparison, Condition, Program, Rule, Target};
use crate::capabilities::CapSet;

/// A profile's text; Docker's own has 13 KiB.
const PROFILE_BYTES_MAX: usize = 1024 * 1024;
const ARGUMENTS_MAX: u32 = 6;
/// As much of a rule's name as an error shows.
const NAME_SHOWN_MAX: usize = 64;
const EPERM: u16 = 1;

/// Why a profile is refused.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Longer than any sensible profile.
    #[error("seccomp profile has {0} bytes; at most {PROFILE_BYTES_MAX} are read")]
    TooLarge(usize),
    /// Not JSON, or not of the form. Docker's words.
    #[error("Decoding seccomp profile failed: {0}")]
    Decode(types::json::Fault),
    /// Docker's words.
    #[error(
        "both 'architectures' and 'archMap' are specified in the seccomp profile, use either \
         'architectures' or 'archMap'"
    )]
    ArchitecturesTwice,
    /// Docker's words.
    #[error(
        "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'"
    )]
    NamesTwice,
    /// A rule for nothing.
    #[error("a rule of the seccomp profile names no system call")]
    NoName,
    /// No such action.
    #[error("invalid action {0:?} in the seccomp profile")]
    Action(String),
    /// Needs a process that answers for the container.
    #[error(
        "action SCMP_ACT_NOTIFY in the seccomp profile is not supported: there is no agent to \
         notify; use SCMP_ACT_ERRNO or SCMP_ACT_TRACE"
    )]
    Notify,
    /// No such operator.
    #[error("invalid operator {0:?} in the seccomp profile")]
    Operator(String),
    /// System calls have six arguments.
    #[error("invalid argument index {0} in the seccomp profile: the last one is 5")]
    ArgumentIndex(u32),
    /// No such architecture.
    #[error("invalid architecture {0:?} in the seccomp profile")]
    Architecture(String),
    /// No such flag.
    #[error("invalid flag {0:?} in the seccomp profile")]
    Flag(String),
    /// Docker's words.
    #[error("invalid kernel version: {0:?}, expected \"<kernel>.<major>\"")]
    Kernel(String),
    /// What is wrong with one rule.
    #[error("{fault}, in {place}")]
    Rule {
        /// Its place in the document and its first name: `syscalls[3] (mkdir)`.
        place: String,
        /// What is wrong.
        fault: Box<ProfileError>,
    },
    /// The kernel takes 4096 instructions.
    #[error("the seccomp profile is too long for the kernel: it makes more than 4096 instructions")]
    TooLong,
}

/// A profile that was read and found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    default: Action,
    architectures: Vec<Arch>,
    /// Native architecture, then those that come with it.
    arch_map: Vec<(Arch, Vec<Arch>)>,
    flags: u32,
    rules: Vec<ProfileRule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ProfileRule {
    calls: Vec<u16>,
    action: Action,
    conditions: Vec<Condition>,
    includes: Requirement,
    excludes: Requirement,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Requirement {
    /// Each name as a set; a name that is not known is an empty set that nobody holds.
    capabilities: Vec<Option<CapSet>>,
    machines: Vec<String>,
    kernel_min: Option<(u32, u32)>,
}

impl Profile {
    /// Reads a profile; `None` where it has neither a default action nor rules, which Docker takes
    /// as "no filter".
    ///
    /// # Errors
    /// Text that is no profile; the error names what is wrong.
    pub fn parse(text: &str) -> Result<Option<Self>, ProfileError> {
        if text.len() > PROFILE_BYTES_MAX {
            return Err(ProfileError::TooLarge(text.len()));
        }
        let document: Document =
            types::json::read(text.as_bytes()).map_err(ProfileError::Decode)?;
        let names = document.architectures.unwrap_or_default();
        let map = document.arch_map.unwrap_or_default();
        let rules = document.syscalls.unwrap_or_default();
        if document.default_action.is_empty() && rules.is_empty() {
            return Ok(None);
        }
        if !names.is_empty() && !map.is_empty() {
            return Err(ProfileError::ArchitecturesTwice);
        }
        let mut arch_map = Vec::new();
        for entry in map {
            let subordinates = architectures(&entry.sub_architectures.unwrap_or_default())?;
            if let Some(native) = architecture(&entry.architecture)? {
                arch_map.push((native, subordinates));
            }
        }
        let rules: Result<_, _> = rules
            .into_iter()
            .enumerate()
            .map(|(at, rule)| {
                let place = rule.place(at);
                ProfileRule::from_document(rule).map_err(|fault| ProfileError::Rule {
                    place,
                    fault: Box::new(fault),
                })
            })
            .collect();
        Ok(Some(Self {
            default: action(&document.default_action, document.default_errno_ret)?,
            architectures: architectures(&names)?,
            arch_map,
            flags: flags(&document.flags.unwrap_or_default())?,
            rules: rules?,
        }))
    }

    /// The program for `target`.
    ///
    /// # Errors
    /// A profile that makes more instructions than the kernel takes.
    pub fn program(&self, target: &Target) -> Result<Program, ProfileError> {
        let native = target.machine.native();
        let mapped = self.arch_map.iter().find(|(arch, _)| *arch == native);
        let architectures = mapped.map_or(&self.architectures, |(_, subordinates)| subordinates);
        let mut rules = Vec::with_capacity(self.rules.len());
        for rule in self.rules.iter().filter(|rule| rule.applies(target)) {
            let whole = Rule {
                calls: &rule.calls,
                action: rule.action,
                conditions: &rule.conditions,
            };
            if rule.repeats_an_argument() {
                // Several conditions on one argument are alternatives, as in runc.
                rules.extend(rule.conditions.chunks(1).map(|conditions| Rule {
                    conditions,
                    ..whole
                }));
            } else {
                rules.push(whole);
            }
        }
        let source = Source {
            machine: target.machine,
            default: self.default,
            architectures,
            rules: &rules,
        };
        let instructions = compile(&source).map_err(|_| ProfileError::TooLong)?;
        Ok(Program {
            instructions,
            flags: self.flags,
        })
    }
}

impl ProfileRule {
    fn from_document(rule: RuleDocument) -> Result<Self, ProfileError> {
        let names = rule.names.unwrap_or_default();
        let names = match rule.name.filter(|name| !name.is_empty()) {
            Some(_) if !names.is_empty() => return Err(ProfileError::NamesTwice),
            Some(name) => vec![name],
            None => names,
        };
        if names.iter().any(String::is_empty) {
            return Err(ProfileError::NoName);
        }
        let conditions = rule.args.unwrap_or_default();
        Ok(Self {
            // Names that no kernel of ours knows are for others, or newer than we are.
            calls: names
                .iter()
                .map(|name| arch::find(name))
                .filter(|call| *call != arch::UNKNOWN)
                .collect(),
            action: action(&rule.action, rule.errno_ret)?,
            conditions: conditions.iter().map(condition).collect::<Result<_, _>>()?,
            includes: Requirement::from_document(rule.includes)?,
            excludes: Requirement::from_document(rule.excludes)?,
        })
    }

    fn applies(&self, target: &Target) -> bool {
        let machine = target.machine.go_name();
        let has = |set: &Option<CapSet>| set.is_some_and(|set| target.capabilities.contains(set));
        let (includes, excludes) = (&self.includes, &self.excludes);
        let excluded = excludes.machines.iter().any(|name| name == machine)
            || excludes.capabilities.iter().any(has)
            || excludes
                .kernel_min
                .is_some_and(|least| target.kernel >= least);
        let included = (includes.machines.is_empty()
            || includes.machines.iter().any(|name| name == machine))
            && includes.capabilities.iter().all(has)
            && includes
                .kernel_min
                .is_none_or(|least| target.kernel >= least);
        included && !excluded
    }

    fn repeats_an_argument(&self) -> bool {
        let indices = self.conditions.iter().map(|condition| condition.index);
        indices
            .enumerate()
            .any(|(at, index)| self.conditions[..at].iter().any(|c| c.index == index))
    }
}

impl Requirement {
    fn from_document(document: Option<RequirementDocument>) -> Result<Self, ProfileError> {
        let Some(document) = document else {
            return Ok(Self::default());
        };
        let names = document.caps.unwrap_or_default();
        let exact =
            |name: &String| CapSet::of_name(name).filter(|set| set.names() == [name.as_str()]);
        Ok(Self {
            capabilities: names.iter().map(exact).collect(),
            machines: document.arches.unwrap_or_default(),
            kernel_min: match document.min_kernel.filter(|version| !version.is_empty()) {
                Some(version) => Some(kernel_version(&version)?),
                None => None,
            },
        })
    }
}

fn kernel_version(text: &str) -> Result<(u32, u32), ProfileError> {
    let parse = |part: &str| part.parse::<u8>().ok().map(u32::from);
    let version = text
        .split_once('.')
        .and_then(|(kernel, major)| Some((parse(kernel)?, parse(major)?)));
    version
        .filter(|version| *version != (0, 0))
        .ok_or_else(|| ProfileError::Kernel(text.to_string()))
}

fn architecture(name: &str) -> Result<Option<Arch>, ProfileError> {
    Arch::parse(name).map_err(|()| ProfileError::Architecture(name.to_string()))
}

fn architectures(names: &[String]) -> Result<Vec<Arch>, ProfileError> {
    names
        .iter()
        .filter_map(|name| architecture(name).transpose())
        .collect()
}

fn flags(names: &[String]) -> Result<u32, ProfileError> {
    let mut flags = 0;
    for name in names {
        flags |= match name.as_str() {
            // One thread is filtered, before it starts others.
            "SECCOMP_FILTER_FLAG_TSYNC" => 0,
            "SECCOMP_FILTER_FLAG_LOG" => 2,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => 4,
            _ => return Err(ProfileError::Flag(name.clone())),
        };
    }
    Ok(flags)
}

fn action(name: &str, errno: Option<u16>) -> Result<Action, ProfileError> {
    Ok(match name {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_ERRNO" => Action::Errno(errno.unwrap_or(EPERM)),
        "SCMP_ACT_TRACE" => Action::Trace(errno.unwrap_or(EPERM)),
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_NOTIFY" => return Err(ProfileError::Notify),
        other => return Err(ProfileError::Action(other.to_string())),
    })
}

fn condition(argument: &ArgumentDocument) -> Result<Condition, ProfileError> {
    if argument.index >= ARGUMENTS_MAX {
        return Err(ProfileError::ArgumentIndex(argument.index));
    }
    let comparison = match argument.op.as_str() {
        "SCMP_CMP_NE" => Comparison::NotEqual,
        "SCMP_CMP_LT" => Comparison::Less,
        "SCMP_CMP_LE" => Comparison::LessOrEqual,
        "SCMP_CMP_EQ" => Comparison::Equal,
        "SCMP_CMP_GE" => Comparison::GreaterOrEqual,
        "SCMP_CMP_GT" => Comparison::Greater,
        "SCMP_CMP_MASKED_EQ" => Comparison::MaskedEqual,
        other => return Err(ProfileError::Operator(other.to_string())),
    };
    // Bits of the second value that the mask takes away never decide, as in libseccomp.
    let second = match comparison {
        Comparison::MaskedEqual => argument.value_two & argument.value,
        _ => argument.value_two,
    };
    Ok(Condition::new(
        argument.index as u8,
        comparison,
        argument.value,
        second,
    ))
}

/// The document; members that we do not know (comments, a listener's path) have no effect on a filter.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object with defaultAction")]
struct Document {
    #[serde(default)]
    default_action: String,
    default_errno_ret: Option<u16>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<ArchDocument>>,
    flags: Option<Vec<String>>,
    syscalls: Option<Vec<RuleDocument>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object with architecture")]
struct ArchDocument {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(
    rename_all = "camelCase",
    expecting = "an object with names and action"
)]
struct RuleDocument {
    name: Option<String>,
    names: Option<Vec<String>>,
    #[serde(default)]
    action: String,
    errno_ret: Option<u16>,
    args: Option<Vec<ArgumentDocument>>,
    includes: Option<RequirementDocument>,
    excludes: Option<RequirementDocument>,
}

impl RuleDocument {
    /// Where it stands, for whoever looks for it.
    fn place(&self, at: usize) -> String {
        let listed = self.names.iter().flatten();
        let name = self.name.iter().chain(listed).find(|name| !name.is_empty());
        match name {
            Some(name) => {
                let name: String = name.chars().take(NAME_SHOWN_MAX).collect();
                format!("syscalls[{at}] ({name})")
            }
            None => format!("syscalls[{at}]"),
        }
    }
}

#[derive(Deserialize)]
#[serde(
    rename_all = "camelCase",
    expecting = "an object with caps, arches or minKernel"
)]
struct RequirementDocument {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

#[derive(Deserialize)]
#[serde(
    rename_all = "camelCase",
    expecting = "an object with index, value and op"
)]
struct ArgumentDocument {
    index: u32,
    #[serde(default)]
    value: u64,
    #[serde(default)]
    value_two: u64,
    #[serde(default)]
    op: String,
}

#[cfg(test)]
mod tests {
    use super::super::default_program;
    use super::super::interpreter::{Call, run};
    use super::*;
    use crate::seccomp::Machine;

    fn corpus(name: &str) -> Option<String> {
        let path = crate::corpus::corpus("schemas/moby__profiles/seccomp")?;
        Some(std::fs::read_to_string(path.join(name)).unwrap())
    }

    fn target(capabilities: CapSet) -> Target {
        Target {
            machine: Machine::X86_64,
            capabilities,
            kernel: (6, 1),
        }
    }

    #[test]
    fn the_constant_default_profile_is_dockers_file() {
        let Some(text) = corpus("default.json") else {
            return;
        };
        let profile = Profile::parse(&text).unwrap().unwrap();
        for machine in [Machine::X86_64, Machine::Aarch64] {
            for kernel in [(4, 7), (6, 1)] {
                let sets = (0..=41).map(|bit| CapSet((1 << bit) & CapSet::ALL.0));
                for capabilities in sets.chain([CapSet::ALL, CapSet::DOCKER_DEFAULT]) {
                    let target = Target {
                        machine,
                        capabilities,
                        kernel,
                    };
                    let program = profile.program(&target).unwrap();
                    assert!(program == default_program(&target), "{target:?}");
                }
            }
        }
    }

    #[test]
    fn conditions_of_capability_and_kernel_decide_which_rules_count() {
        let Some(text) = corpus("fixtures/conditional_include.json") else {
            return;
        };
        let profile = Profile::parse(&text).unwrap().unwrap();
        for (capabilities, number, allowed) in [
            (&[][..], 90, true),
            (&[], 103, false),
            (&["SYSLOG"], 103, true),
            (&[], 101, true),
            (&["SYS_ADMIN"], 101, false),
        ] {
            let program = profile
                .program(&target(CapSet::of_names(capabilities)))
                .unwrap();
            let call = Call {
                arch: 0xc000_003e,
                number,
                arguments: [0; 6],
            };
            assert_eq!(
                run(&program, &call).unwrap().0 == Action::Allow.value(),
                allowed,
                "{number}"
            );
        }
    }

    #[test]
    fn old_forms_are_read() {
        for name in ["fixtures/default-old-format.json", "fixtures/example.json"] {
            let Some(text) = corpus(name) else { return };
            let profile = Profile::parse(&text).unwrap().unwrap();
            let program = profile.program(&target(CapSet::EMPTY)).unwrap();
            // openat is in the one; close is in both.
            let call = Call {
                arch: 0xc000_003e,
                number: 3,
                arguments: [0; 6],
            };
            assert_eq!(
                run(&program, &call).unwrap().0,
                Action::Allow.value(),
                "{name}"
            );
        }
    }

    #[test]
    fn several_conditions_on_one_argument_are_alternatives() {
        let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"name": "read",
            "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
                {"index": 0, "value": 3, "op": "SCMP_CMP_EQ"}]},
            {"name": "write", "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
                {"index": 1, "value": 3, "op": "SCMP_CMP_EQ"}]}]}"#;
        let profile = Profile::parse(text).unwrap().unwrap();
        let program = profile.program(&target(CapSet::EMPTY)).unwrap();
        for (number, first, second, allowed) in [
            (0, 1, 0, true),
            (0, 3, 0, true),
            (0, 2, 0, false),
            (1, 1, 3, true),
            (1, 1, 0, false),
        ] {
            let arguments = [first, second, 0, 0, 0, 0];
            let (value, _) = run(
                &program,
                &Call {
                    arch: 0xc000_003e,
                    number,
                    arguments,
                },
            )
            .unwrap();
            assert_eq!(
                value == Action::Allow.value(),
                allowed,
                "{number} {arguments:?}"
            );
        }
    }

    #[test]
    fn every_action_and_flag_has_its_value() {
        for (name, value) in [
            ("SCMP_ACT_KILL", 0),
            ("SCMP_ACT_KILL_THREAD", 0),
            ("SCMP_ACT_KILL_PROCESS", 0x8000_0000),
            ("SCMP_ACT_TRAP", 0x3_0000),
            ("SCMP_ACT_ERRNO", 0x5_0001),
            ("SCMP_ACT_TRACE", 0x7ff0_0001),
            ("SCMP_ACT_LOG", 0x7ffc_0000),
        ] {
            let text = format!(
                r#"{{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"],
                    "syscalls": [{{"names": ["read", "no_such_call"], "action": "{name}"}}]}}"#
            );
            let profile = Profile::parse(&text).unwrap().unwrap();
            let program = profile.program(&target(CapSet::EMPTY)).unwrap();
            let call = |number| Call {
                arch: 0xc000_003e,
                number,
                arguments: [0; 6],
            };
            assert_eq!(run(&program, &call(0)).unwrap().0, value, "{name}");
            assert_eq!(run(&program, &call(5000)).unwrap().0, 0x7fff_0000, "{name}");
            assert_eq!(program.flags, 2);
        }
    }

    #[test]
    fn no_action_and_no_rule_means_no_filter() {
        for text in [
            "{}",
            r#"{"syscalls": []}"#,
            r#"{"defaultAction": "", "syscalls": null}"#,
        ] {
            assert_eq!(Profile::parse(text).unwrap(), None, "{text}");
        }
    }

    #[test]
    fn bad_profiles_are_refused_with_what_is_wrong() {
        let rule = |members: &str| {
            format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{{members}}}]}}"#)
        };
        let allow = r#""name": "read", "action": "SCMP_ACT_ALLOW""#;
        for (text, words) in [
            (String::new(), "Decoding seccomp profile failed"),
            ("[".repeat(100_000), "Decoding seccomp profile failed"),
            (" ".repeat(PROFILE_BYTES_MAX + 1), "at most"),
            (
                r#"{"defaultAction": "ALLOW"}"#.into(),
                "invalid action \"ALLOW\"",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#.into(),
                "SCMP_ACT_NOTIFY",
            ),
            (rule(r#""name": "read""#), "invalid action \"\""),
            (
                rule(r#""name": "read", "action": "SCMP_ACT_NOTIFY""#),
                "SCMP_ACT_NOTIFY",
            ),
            (
                rule(&format!(r#"{allow}, "names": ["write"]"#)),
                "both 'name' and 'names'",
            ),
            (
                rule(r#""names": [""], "action": "SCMP_ACT_ALLOW""#),
                "no system call",
            ),
            (
                rule(&format!(
                    r#"{allow}, "args": [{{"index": 6, "op": "SCMP_CMP_EQ"}}]"#
                )),
                "index 6",
            ),
            (
                rule(&format!(r#"{allow}, "args": [{{"index": 0, "op": "=="}}]"#)),
                "operator \"==\"",
            ),
            (
                rule(&format!(r#"{allow}, "errnoRet": 65536"#)),
                "Decoding seccomp profile failed",
            ),
            (
                rule(&format!(r#"{allow}, "includes": {{"minKernel": "5"}}"#)),
                "kernel version: \"5\"",
            ),
            (
                rule(&format!(r#"{allow}, "excludes": {{"minKernel": "0.0"}}"#)),
                "kernel version",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["x86"]}"#.into(),
                "invalid architecture \"x86\"",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"]}"#.into(),
                "invalid flag \"X\"",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"],
                    "archMap": [{"architecture": "SCMP_ARCH_ARM"}]}"#
                    .into(),
                "both 'architectures' and 'archMap'",
            ),
        ] {
            let error = Profile::parse(&text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let second = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW"}, {"names": ["mkdir", "rmdir"], "action": "X"}]}"#;
        let error = Profile::parse(second).unwrap_err().to_string();
        assert!(error.ends_with("in syscalls[1] (mkdir)"), "{error}");
    }
}
