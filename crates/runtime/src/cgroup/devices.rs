//! Which devices a container may use: Docker's list and what was added to it, as v1's text rules or
//! as a BPF program for v2.

use std::os::fd::AsFd;

use sys::SysError;
use sys::process::BpfInstruction;

use super::CgroupError;
use super::directory::Directory;

/// Rules beside Docker's own.
const EXTRA_MAX: usize = 1024;

/// Which devices a container may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceRules {
    /// All of them (`--privileged`).
    pub all: bool,
    /// Rules of the form `c 1:3 rwm`, added to Docker's list.
    pub extra: Vec<String>,
}

/// What Docker and runc allow to every container: any node may be made, these may be used.
const DEFAULT: [&str; 12] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
    "c 10:200 rwm",
];

/// One rule, parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    /// `None` is character and block devices.
    kind: Option<Kind>,
    major: Option<u32>,
    minor: Option<u32>,
    /// [`READ`], [`WRITE`], [`MAKE`].
    access: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Block = 1,
    Character = 2,
}

const MAKE: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;

impl Rule {
    /// `c 1:3 rwm`, `b 8:* r`, `a *:* rwm`.
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split(' ');
        let kind = match fields.next()? {
            "a" => None,
            "b" => Some(Kind::Block),
            "c" => Some(Kind::Character),
            _ => return None,
        };
        let number = |text: &str| match text {
            "*" => Some(None),
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().map(Some)
            }
            _ => None,
        };
        let (major, minor) = fields.next()?.split_once(':')?;
        let (major, minor) = (number(major)?, number(minor)?);
        let letters = fields.next()?;
        if fields.next().is_some() || letters.is_empty() || letters.len() > 3 {
            return None;
        }
        let mut access = 0;
        for letter in letters.bytes() {
            access |= match letter {
                b'm' => MAKE,
                b'r' => READ,
                b'w' => WRITE,
                _ => return None,
            };
        }
        Some(Self {
            kind,
            major,
            minor,
            access,
        })
    }

    fn allows_everything(&self) -> bool {
        *self
            == Self {
                kind: None,
                major: None,
                minor: None,
                access: MAKE | READ | WRITE,
            }
    }
}

impl DeviceRules {
    /// Whether every rule can be understood. Docker's words.
    pub(super) fn check(&self) -> Result<(), CgroupError> {
        let bad = self.extra.iter().find(|rule| Rule::parse(rule).is_none());
        match bad {
            Some(rule) => Err(CgroupError::DeviceRule(rule.clone())),
            None if self.extra.len() > EXTRA_MAX => Err(CgroupError::TooManyDeviceRules),
            None => Ok(()),
        }
    }

    /// Whether there is nothing to forbid.
    fn allow_everything(&self) -> bool {
        let rules = self.extra.iter().filter_map(|rule| Rule::parse(rule));
        self.all || rules.into_iter().any(|rule| rule.allows_everything())
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        DEFAULT
            .into_iter()
            .chain(self.extra.iter().map(String::as_str))
    }

    /// Writes the rules of a new v1 group, which has those of its parent.
    pub(super) fn write_v1(&self, group: &Directory) -> Result<(), SysError> {
        if self.allow_everything() {
            return Ok(());
        }
        group.write("devices.deny", "a")?;
        group.write_each("devices.allow", self.texts())
    }

    /// Attaches the program of a new v2 group; without one everything is allowed.
    pub(super) fn attach_v2(&self, group: &Directory) -> Result<(), SysError> {
        if self.allow_everything() {
            return Ok(());
        }
        let program = sys::bpf::load_device_program(&self.program())?;
        sys::bpf::attach_device_program(&program, group.as_fd())
    }

    /// The program: allows what a rule allows in whole, and nothing else.
    fn program(&self) -> Vec<BpfInstruction> {
        let mut code = vec![
            // r2: kind (lower half of the first word), r3: access (upper half), r4: major, r5: minor.
            instruction(LOAD_WORD, 2, 1, 0, 0),
            instruction(AND, 2, 0, 0, 0xffff),
            instruction(LOAD_WORD, 3, 1, 0, 0),
            instruction(SHIFT_RIGHT, 3, 0, 0, 16),
            instruction(LOAD_WORD, 4, 1, 4, 0),
            instruction(LOAD_WORD, 5, 1, 8, 0),
        ];
        for rule in self.texts().filter_map(Rule::parse) {
            append_rule(&mut code, rule);
        }
        code.push(instruction(MOVE, 0, 0, 0, 0));
        code.push(instruction(EXIT, 0, 0, 0, 0));
        code
    }
}

// Extended BPF: class, operation and source of the operand in one byte.
const LOAD_WORD: u8 = 0x61;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const MOVE: u8 = 0xb4;
const MOVE_REGISTER: u8 = 0xbc;
const JUMP_NOT_EQUAL: u8 = 0x56;
const EXIT: u8 = 0x95;

fn instruction(code: u8, to: u8, from: u8, offset: i16, value: u32) -> BpfInstruction {
    let [o0, o1] = offset.to_ne_bytes();
    let [v0, v1, v2, v3] = value.to_ne_bytes();
    let registers = if cfg!(target_endian = "little") {
        from << 4 | to
    } else {
        to << 4 | from
    };
    [code, registers, o0, o1, v0, v1, v2, v3]
}

/// Comparisons that lead behind the rule where one fails, then "allowed".
fn append_rule(code: &mut Vec<BpfInstruction>, rule: Rule) {
    // Each entry: what comes before the comparison, the register, the value.
    let mut tests: Vec<(Option<BpfInstruction>, u8, u32)> = Vec::new();
    if let Some(kind) = rule.kind {
        tests.push((None, 2, kind as u32));
    }
    if rule.access != MAKE | READ | WRITE {
        // Nothing is asked for beyond what the rule allows: (access & !allowed) == 0.
        tests.push((Some(instruction(AND, 1, 0, 0, !rule.access)), 1, 0));
    }
    if let Some(major) = rule.major {
        tests.push((None, 4, major));
    }
    if let Some(minor) = rule.minor {
        tests.push((None, 5, minor));
    }
    let sizes = tests
        .iter()
        .map(|(before, _, _)| if before.is_some() { 3 } else { 1 });
    let mut left: usize = sizes.sum::<usize>() + 2;
    for (before, register, value) in tests {
        if let Some(before) = before {
            code.push(instruction(MOVE_REGISTER, 1, 3, 0, 0));
            code.push(before);
            left -= 2;
        }
        left -= 1;
        // At most eight instructions: always within the offset's range.
        code.push(instruction(JUMP_NOT_EQUAL, register, 0, left as i16, value));
    }
    code.push(instruction(MOVE, 0, 0, 0, 1));
    code.push(instruction(EXIT, 0, 0, 0, 0));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The machine, as far as the program uses it.
    fn run(program: &[BpfInstruction], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0u32; 11];
        let mut at = 0usize;
        for _ in 0..10_000 {
            let [code, pair, o0, o1, v0, v1, v2, v3] = program[at];
            let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
            let offset = i16::from_ne_bytes([o0, o1]);
            let value = u32::from_ne_bytes([v0, v1, v2, v3]);
            at += 1;
            match code {
                LOAD_WORD => registers[to] = context[offset as usize / 4],
                AND => registers[to] &= value,
                SHIFT_RIGHT => registers[to] >>= value,
                MOVE => registers[to] = value,
                MOVE_REGISTER => registers[to] = registers[from],
                JUMP_NOT_EQUAL if registers[to] != value => at += offset as usize,
                JUMP_NOT_EQUAL => {}
                EXIT => return registers[0] == 1,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
        panic!("the program has no end");
    }

    #[test]
    fn the_program_allows_dockers_list_and_what_was_added() {
        let rules = DeviceRules {
            all: false,
            extra: vec!["b 8:* r".into(), "c 10:229 rw".into(), "a 42:7 rwm".into()],
        };
        rules.check().unwrap();
        let program = rules.program();
        let (block, character) = (Kind::Block as u32, Kind::Character as u32);
        for (what, kind, access, major, minor, expected) in [
            ("null", character, READ | WRITE, 1, 3, true),
            ("null as a block device", block, READ, 1, 3, false),
            ("mem", character, READ, 1, 1, false),
            ("mknod mem", character, MAKE, 1, 1, true),
            ("mknod and read mem", character, MAKE | READ, 1, 1, false),
            ("mknod a disk", block, MAKE, 8, 0, true),
            ("read a disk that was added", block, READ, 8, 3, true),
            (
                "write a disk that was added to read",
                block,
                READ | WRITE,
                8,
                3,
                false,
            ),
            ("another disk", block, READ, 9, 0, false),
            ("pts", character, READ | WRITE, 136, 77, true),
            ("ptmx", character, READ | WRITE, 5, 2, true),
            ("tun", character, READ | WRITE, 10, 200, true),
            (
                "fuse, added without mknod",
                character,
                READ | WRITE,
                10,
                229,
                true,
            ),
            ("kvm", character, READ, 10, 232, false),
            ("either kind", block, READ | WRITE, 42, 7, true),
            ("either kind", character, MAKE, 42, 7, true),
            ("its neighbour", block, READ, 42, 8, false),
        ] {
            assert_eq!(
                run(&program, kind, access, major, minor),
                expected,
                "{what}"
            );
        }
    }

    #[test]
    fn rules_that_docker_refuses_are_refused() {
        for text in [
            "",
            "c",
            "c 1:3",
            "c 1:3 ",
            "c 1:3 rwx",
            "c 1:3 rwmr",
            "d 1:3 r",
            "c 1 r",
            "c 1:3 r ",
            " c 1:3 r",
            "c  1:3 r",
            "c -1:3 r",
            "c 1:4294967296 r",
            "c 1:3 r\n",
            "c +1:3 r",
        ] {
            let rules = DeviceRules {
                all: false,
                extra: vec![text.to_string()],
            };
            let error = rules.check().unwrap_err().to_string();
            assert_eq!(
                error,
                format!("invalid device cgroup rule format: '{text}'")
            );
        }
        let many = DeviceRules {
            all: false,
            extra: vec!["c 1:3 r".into(); EXTRA_MAX + 1],
        };
        assert!(many.check().is_err());
    }

    #[test]
    fn everything_is_allowed_where_it_was_asked_for() {
        let rules = |all, extra: &[&str]| DeviceRules {
            all,
            extra: extra.iter().map(ToString::to_string).collect(),
        };
        assert!(rules(true, &[]).allow_everything());
        assert!(rules(false, &["c 1:1 r", "a *:* rwm"]).allow_everything());
        assert!(!rules(false, &["a *:* rw"]).allow_everything());
        assert!(!rules(false, &[]).allow_everything());
    }
}
