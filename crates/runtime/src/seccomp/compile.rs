//! The compiler: rules become a decision per call number, runs of equal decisions become a binary
//! search, decisions with conditions become straight comparisons at its leaves.
//!
//! ```text
//! load architecture
//! is it A? no: on to B …        load number, binary search over A's runs: return, or compare and return
//! none: end the thread
//! ```
//! A call that is always allowed is decided from number and architecture alone, so that the kernel's
//! own cache of such calls (5.11) applies.

use super::arch::{Arch, Machine, X32_MARK};
use super::{Action, Comparison, Condition, Rule, arch};
use sys::process::BpfInstruction;

/// The kernel's limit on a program.
const INSTRUCTIONS_MAX: usize = 4096;

/// Room for every number; arm's private calls (0xf0000…) are kept at the end.
const CELLS: usize = 1024;
const PRIVATE_CELL: u32 = 960;
const ARM_PRIVATE: u32 = 0xf_0000;

const ENOSYS: u16 = 38;

const LOAD_WORD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGUMENTS: u32 = 16;

/// The program would be longer than the kernel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// What is to be compiled.
pub(super) struct Source<'a> {
    pub(super) machine: Machine,
    pub(super) default: Action,
    /// Beside the machine's own.
    pub(super) architectures: &'a [Arch],
    pub(super) rules: &'a [Rule<'a>],
}

pub(super) fn compile(source: &Source<'_>) -> Result<Vec<BpfInstruction>, TooLong> {
    let mut assembler = Assembler::default();
    assembler.push(LOAD_WORD, 0, 0, OFFSET_ARCH);
    for arch in [Arch::X86_64, Arch::Aarch64, Arch::X86, Arch::Arm] {
        let has = |arch: Arch| source.architectures.contains(&arch);
        let native = arch == source.machine.native();
        // x32 shares its audit number with x86_64, which is always there where x32 can be.
        if !native && (!has(arch) || arch == Arch::X86_64) {
            continue;
        }
        let mut table = Table::new(source, arch);
        let mut runs = table.runs(0);
        if arch == Arch::X86_64 {
            append_x32(source, &mut table, &mut runs, has(Arch::X32));
        }
        assembler.push(JUMP_EQUAL, 1, 0, arch.audit());
        let over = assembler.push(JUMP, 0, 0, 0);
        assembler.push(LOAD_WORD, 0, 0, OFFSET_NUMBER);
        assembler.search(&runs, &table.leaves, source)?;
        assembler.set_jump(over);
    }
    assembler.give(Action::KillThread);
    if assembler.code.len() > INSTRUCTIONS_MAX {
        return Err(TooLong);
    }
    Ok(assembler.finish())
}

/// The numbers above x86_64's: x32's calls, or the end of the thread where the profile lacks x32.
fn append_x32(source: &Source<'_>, table: &mut Table, runs: &mut Vec<Run>, covered: bool) {
    if covered {
        let mut x32 = Table::new(source, Arch::X32);
        let first = table.leaves.len() as u16;
        let shifted = x32.runs(X32_MARK);
        runs.extend(shifted.iter().map(|run| Run {
            leaf: run.leaf + first,
            ..*run
        }));
        table.leaves.append(&mut x32.leaves);
        return;
    }
    let kill = table.leaf_of(Action::KillThread);
    runs.push(Run {
        start: X32_MARK,
        leaf: kill,
    });
    // -1 is how a tracer skips a call.
    runs.push(Run {
        start: u32::MAX,
        leaf: DEFAULT_LEAF,
    });
}

/// What is decided for a number.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Leaf {
    Give(Action),
    /// The first rule whose conditions hold decides, else the default.
    Chain(Vec<Link>),
}

/// A rule in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link {
    rule: u16,
    call: u16,
    /// x86 only: the sub-call of `socketcall` or `ipc` that stands in for the rule's conditions.
    multiplexed: Option<u32>,
}

const DEFAULT_LEAF: u16 = 0;

/// From `start` up to the next run, `leaf` decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    start: u32,
    leaf: u16,
}

/// The decisions for one architecture.
struct Table {
    cells: [u16; CELLS],
    leaves: Vec<Leaf>,
    /// One past the greatest number that the profile names, private calls apart.
    end: u32,
    private: bool,
    default: Action,
}

impl Table {
    fn new(source: &Source<'_>, arch: Arch) -> Self {
        let mut table = Self {
            cells: [DEFAULT_LEAF; CELLS],
            leaves: vec![Leaf::Give(source.default)],
            end: 0,
            private: false,
            default: source.default,
        };
        for (index, rule) in source.rules.iter().enumerate() {
            // A rule that says what happens anyway still tells which calls the profile knows.
            let redundant = rule.action == source.default;
            let leaf = table.leaf_of(rule.action);
            for call in rule.calls {
                if let Some(number) = arch.number(*call) {
                    let cell = table.cell(number);
                    if !redundant {
                        let link = Link {
                            rule: index as u16,
                            call: *call,
                            multiplexed: None,
                        };
                        table.set(cell, leaf, (!rule.conditions.is_empty()).then_some(link));
                    }
                }
                if arch == Arch::X86 && !redundant {
                    table.add_multiplexed(index, rule, *call);
                }
            }
        }
        table
    }

    /// The cell of a number, which is noted as known to the profile.
    fn cell(&mut self, number: u32) -> usize {
        if number >= ARM_PRIVATE {
            self.private = true;
            return (PRIVATE_CELL + (number - ARM_PRIVATE)) as usize % CELLS;
        }
        self.end = self.end.max(number + 1);
        number as usize % CELLS
    }

    /// The leaf that returns `action`.
    fn leaf_of(&mut self, action: Action) -> u16 {
        let leaf = Leaf::Give(action);
        let found = self.leaves.iter().position(|other| *other == leaf);
        found.unwrap_or_else(|| {
            self.leaves.push(leaf);
            self.leaves.len() - 1
        }) as u16
    }

    /// A rule without conditions wins over those with, and the first of its kind over later ones,
    /// as in libseccomp.
    fn set(&mut self, cell: usize, leaf: u16, link: Option<Link>) {
        let current = self.cells[cell];
        let chained = matches!(self.leaves[usize::from(current)], Leaf::Chain(_));
        match link {
            None if chained || current == DEFAULT_LEAF => self.cells[cell] = leaf,
            None => {}
            Some(link) => match &mut self.leaves[usize::from(current)] {
                Leaf::Chain(links) => links.push(link),
                Leaf::Give(_) if current == DEFAULT_LEAF => {
                    self.cells[cell] = self.leaves.len() as u16;
                    self.leaves.push(Leaf::Chain(vec![link]));
                }
                Leaf::Give(_) => {}
            },
        }
    }

    /// On x86 socket and System V calls also exist as sub-calls of `socketcall` and `ipc`, whose
    /// further arguments lie in memory, where a filter cannot look. A rule without conditions covers
    /// the sub-call too; one with conditions only where it forbids, since allowing the sub-call
    /// would allow what the conditions meant to exclude.
    fn add_multiplexed(&mut self, index: usize, rule: &Rule<'_>, call: u16) {
        let Some((multiplexer, sub_call)) = multiplexed(call) else {
            return;
        };
        if !rule.conditions.is_empty() && rule.action.permits() {
            return;
        }
        let Some(number) = Arch::X86.number(arch::find(multiplexer)) else {
            return;
        };
        let cell = self.cell(number);
        let link = Link {
            rule: index as u16,
            call,
            multiplexed: Some(sub_call),
        };
        self.set(cell, DEFAULT_LEAF, Some(link));
    }

    /// Runs of numbers that share a leaf, from `base` on; the last one goes on without end.
    fn runs(&mut self, base: u32) -> Vec<Run> {
        // A number that the profile does not know is "no such call" rather than "forbidden".
        let beyond = if self.default.permits() || self.end == 0 {
            DEFAULT_LEAF
        } else {
            self.leaf_of(Action::Errno(ENOSYS))
        };
        let mut runs = Vec::with_capacity(128);
        let mut last = None;
        let mut push = |start, leaf| {
            if last != Some(leaf) {
                last = Some(leaf);
                runs.push(Run { start, leaf });
            }
        };
        for number in 0..self.end.min(PRIVATE_CELL) {
            push(base + number, self.cells[number as usize]);
        }
        if self.private {
            push(base + self.end, beyond);
            let private = &self.cells[PRIVATE_CELL as usize..];
            let known = private
                .iter()
                .rposition(|leaf| *leaf != DEFAULT_LEAF)
                .map_or(0, |at| at + 1);
            for (at, leaf) in private.iter().take(known).enumerate() {
                push(ARM_PRIVATE + at as u32, *leaf);
            }
            push(ARM_PRIVATE + known as u32, beyond);
        } else {
            push(base + self.end, beyond);
        }
        runs
    }
}

/// The multiplexer and sub-call number of a call on x86.
fn multiplexed(call: u16) -> Option<(&'static str, u32)> {
    const SOCKETCALLS: [u16; 20] = arch::resolve([
        "socket",
        "bind",
        "connect",
        "listen",
        "accept",
        "getsockname",
        "getpeername",
        "socketpair",
        "send",
        "recv",
        "sendto",
        "recvfrom",
        "shutdown",
        "setsockopt",
        "getsockopt",
        "sendmsg",
        "recvmsg",
        "accept4",
        "recvmmsg",
        "sendmmsg",
    ]);
    const IPCS: [(u16, u32); 12] = {
        let calls = arch::resolve([
            "semop",
            "semget",
            "semctl",
            "semtimedop",
            "msgsnd",
            "msgrcv",
            "msgget",
            "msgctl",
            "shmat",
            "shmdt",
            "shmget",
            "shmctl",
        ]);
        let numbers = [1, 2, 3, 4, 11, 12, 13, 14, 21, 22, 23, 24];
        let mut pairs = [(0, 0); 12];
        let mut at = 0;
        while at < 12 {
            pairs[at] = (calls[at], numbers[at]);
            at += 1;
        }
        pairs
    };
    if call == arch::UNKNOWN {
        return None;
    }
    if let Some(at) = SOCKETCALLS.iter().position(|other| *other == call) {
        return Some(("socketcall", at as u32 + 1));
    }
    IPCS.iter()
        .find(|(other, _)| *other == call)
        .map(|(_, number)| ("ipc", *number))
}

/// Instructions, as (code, jump if true, jump if false, operand).
#[derive(Default)]
struct Assembler {
    code: Vec<(u16, u8, u8, u32)>,
    /// Comparisons that decide and do not lead to a return yet, in the order of their places.
    pending: Vec<Pending>,
}

/// A comparison that decides when it comes out as `side`.
struct Pending {
    at: usize,
    side: bool,
    action: Action,
}

/// So far lead conditional jumps, less room for a return of each kind.
const REACH: usize = 240;

/// How many instructions a run takes at most: the comparison that leads to it, and seven for a condition.
fn length(run: &Run, leaves: &[Leaf], source: &Source<'_>) -> usize {
    let Leaf::Chain(links) = &leaves[usize::from(run.leaf)] else {
        return 1;
    };
    let conditions = |link: &Link| source.rules[usize::from(link.rule)].conditions.len().max(1);
    2 + links
        .iter()
        .map(|link| 7 * conditions(link) + 1)
        .sum::<usize>()
}

impl Assembler {
    fn push(&mut self, code: u16, if_true: u8, if_false: u8, operand: u32) -> usize {
        self.code.push((code, if_true, if_false, operand));
        self.code.len() - 1
    }

    fn give(&mut self, action: Action) {
        self.push(RETURN, 0, 0, action.value());
    }

    /// Lets the jump at `from` lead to the next instruction.
    fn set_jump(&mut self, from: usize) {
        self.code[from].3 = (self.code.len() - from - 1) as u32;
    }

    /// A binary search; the runs are sorted and the first one starts at zero.
    fn search(
        &mut self,
        runs: &[Run],
        leaves: &[Leaf],
        source: &Source<'_>,
    ) -> Result<(), TooLong> {
        self.subtree(runs, leaves, source)?;
        self.give_pending();
        Ok(())
    }

    /// Nothing falls through to what comes before or behind it.
    fn subtree(
        &mut self,
        runs: &[Run],
        leaves: &[Leaf],
        source: &Source<'_>,
    ) -> Result<(), TooLong> {
        if self.code.len() > INSTRUCTIONS_MAX {
            return Err(TooLong);
        }
        let [only] = runs else {
            let (left, right) = runs.split_at(runs.len() / 2);
            let Some(first) = right.first() else {
                return Ok(());
            };
            let at = self.push(JUMP_GREATER_OR_EQUAL, 0, 0, first.start);
            self.branch(at, false, left, leaves, source)?;
            return self.branch(at, true, right, leaves, source);
        };
        match &leaves[usize::from(only.leaf)] {
            Leaf::Give(action) => self.give(*action),
            Leaf::Chain(links) => {
                for link in links {
                    self.link(*link, &source.rules[usize::from(link.rule)]);
                    if self.code.len() > INSTRUCTIONS_MAX {
                        return Err(TooLong);
                    }
                }
                self.give(source.default);
            }
        }
        Ok(())
    }

    /// Where the comparison at `at` leads when it comes out as `side`.
    fn branch(
        &mut self,
        at: usize,
        side: bool,
        runs: &[Run],
        leaves: &[Leaf],
        source: &Source<'_>,
    ) -> Result<(), TooLong> {
        if let [only] = runs
            && let Leaf::Give(action) = leaves[usize::from(only.leaf)]
        {
            self.pending.push(Pending { at, side, action });
            return Ok(());
        }
        // What is decided before a part that is too long is given before it, so that no jump leads from
        // before a part into it: a plain jump may still be put at its start.
        let length: usize = runs.iter().map(|run| length(run, leaves, source)).sum();
        let oldest = self.pending.iter().map(|one| one.at).min();
        if oldest.is_some_and(|oldest| self.code.len() - oldest + length > REACH) {
            self.give_pending();
        }
        let distance = self.code.len() - at - 1;
        match u8::try_from(distance) {
            Ok(distance) => self.set_branch(at, side, distance),
            Err(_) => {
                // Conditional jumps reach 255 instructions; further goes a plain one.
                let other = if side {
                    self.code[at].2
                } else {
                    self.code[at].1
                };
                self.set_branch(at, !side, other + 1);
                self.set_branch(at, side, 0);
                self.code.insert(at + 1, (JUMP, 0, 0, distance as u32));
                let behind = self.pending.iter_mut().filter(|one| one.at > at);
                behind.for_each(|one| one.at += 1);
            }
        }
        self.subtree(runs, leaves, source)
    }

    fn set_branch(&mut self, at: usize, side: bool, distance: u8) {
        match side {
            true => self.code[at].1 = distance,
            false => self.code[at].2 = distance,
        }
    }

    /// Lets comparisons that decide lead to returns, one of each kind: the kernel takes time for every
    /// instruction when a container starts.
    fn give_pending(&mut self) {
        let mut given: Vec<(Action, usize)> = Vec::new();
        for Pending { at, side, action } in std::mem::take(&mut self.pending) {
            let found = given.iter().find(|(other, _)| *other == action);
            let place = found.map_or(self.code.len(), |(_, place)| *place);
            if place == self.code.len() {
                self.give(action);
                given.push((action, place));
            }
            self.set_branch(at, side, (place - at - 1).min(255) as u8);
        }
    }

    /// One rule of a chain: returns where all its conditions hold, else goes on behind itself.
    fn link(&mut self, link: Link, rule: &Rule<'_>) {
        let mut failures = Vec::new();
        match link.multiplexed {
            Some(sub_call) => {
                let condition = Condition::new(0, Comparison::Equal, u64::from(sub_call), 0);
                self.condition(&condition, Width::Low, &mut failures);
            }
            None => {
                for condition in rule.conditions {
                    let width = width(link.call, condition);
                    self.condition(condition, width, &mut failures);
                }
            }
        }
        self.give(rule.action);
        for Failure { at, when } in failures {
            // Six conditions of at most seven instructions: always in reach.
            let distance = (self.code.len() - at - 1).min(255) as u8;
            self.set_branch(at, when, distance);
        }
    }

    /// Compares one argument; what does not hold jumps to a place still unknown.
    fn condition(&mut self, condition: &Condition, width: Width, failures: &mut Vec<Failure>) {
        use Comparison::{
            Equal, Greater, GreaterOrEqual, Less, LessOrEqual, MaskedEqual, NotEqual,
        };
        let low = OFFSET_ARGUMENTS + 8 * u32::from(condition.index);
        let (mask, value) = match condition.comparison {
            MaskedEqual => (condition.value, condition.second),
            _ => (u64::MAX, condition.value),
        };
        let (high_value, low_value) = ((value >> 32) as u32, value as u32);
        let comparison = condition.comparison;
        // The upper half either decides, or is equal and leaves it to the lower half.
        let mut holds = Vec::new();
        if width == Width::Full {
            self.push(LOAD_WORD, 0, 0, low + 4);
            match comparison {
                Equal | MaskedEqual => {
                    self.mask((mask >> 32) as u32);
                    failures.push(self.fail_unless(JUMP_EQUAL, high_value));
                }
                NotEqual => holds.push((self.push(JUMP_EQUAL, 0, 0, high_value), false)),
                Greater | GreaterOrEqual => {
                    holds.push((self.push(JUMP_GREATER, 0, 0, high_value), true));
                    failures.push(self.fail_unless(JUMP_EQUAL, high_value));
                }
                Less | LessOrEqual => {
                    failures.push(self.fail_if(JUMP_GREATER, high_value));
                    holds.push((self.push(JUMP_EQUAL, 0, 0, high_value), false));
                }
            }
        }
        self.push(LOAD_WORD, 0, 0, low);
        failures.push(match comparison {
            Equal | MaskedEqual => {
                self.mask(mask as u32);
                self.fail_unless(JUMP_EQUAL, low_value)
            }
            NotEqual => self.fail_if(JUMP_EQUAL, low_value),
            Greater => self.fail_unless(JUMP_GREATER, low_value),
            GreaterOrEqual => self.fail_unless(JUMP_GREATER_OR_EQUAL, low_value),
            Less => self.fail_if(JUMP_GREATER_OR_EQUAL, low_value),
            LessOrEqual => self.fail_if(JUMP_GREATER, low_value),
        });
        for (at, when) in holds {
            let distance = (self.code.len() - at - 1) as u8;
            self.set_branch(at, when, distance);
        }
    }

    fn mask(&mut self, mask: u32) {
        if mask != u32::MAX {
            self.push(AND, 0, 0, mask);
        }
    }

    fn fail_if(&mut self, code: u16, value: u32) -> Failure {
        Failure {
            at: self.push(code, 0, 0, value),
            when: true,
        }
    }

    fn fail_unless(&mut self, code: u16, value: u32) -> Failure {
        Failure {
            at: self.push(code, 0, 0, value),
            when: false,
        }
    }

    fn finish(self) -> Vec<BpfInstruction> {
        let encode = |(code, if_true, if_false, operand): (u16, u8, u8, u32)| {
            let [c0, c1] = code.to_ne_bytes();
            let [k0, k1, k2, k3] = operand.to_ne_bytes();
            [c0, c1, if_true, if_false, k0, k1, k2, k3]
        };
        self.code.into_iter().map(encode).collect()
    }
}

/// A comparison that leaves its rule when it comes out as `when`.
struct Failure {
    at: usize,
    when: bool,
}

/// How much of an argument counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    Full,
    Low,
}

/// The kernel takes the arguments of `socket` as 32-bit numbers and ignores their upper halves. A
/// comparison of all 64 bits (as libseccomp makes it) would let `socket(1 << 32 | AF_ALG, …)` pass a
/// profile that allows "greater than 40".
fn width(call: u16, condition: &Condition) -> Width {
    const SOCKET: u16 = arch::resolve(["socket"])[0];
    let fits = condition.value <= u64::from(u32::MAX) && condition.second <= u64::from(u32::MAX);
    if call == SOCKET && condition.index < 3 && fits {
        Width::Low
    } else {
        Width::Full
    }
}

#[cfg(test)]
mod tests {
    use super::super::interpreter::{Call, run};
    use super::super::{Profile, Program, Target, default_program};
    use super::*;
    use crate::capabilities::CapSet;

    const ALLOW: u32 = 0x7fff_0000;
    const DENY: u32 = 0x0005_0001;
    const NO_CALL: u32 = 0x0005_0026;
    const KILL: u32 = 0;

    const X86_64: u32 = 0xc000_003e;
    const X86: u32 = 0x4000_0003;
    const AARCH64: u32 = 0xc000_00b7;
    const ARM: u32 = 0x4000_0028;

    fn target(capabilities: CapSet) -> Target {
        Target {
            machine: Machine::X86_64,
            capabilities,
            kernel: (6, 1),
        }
    }

    fn verdict(program: &Program, arch: u32, number: u32, first: u64) -> u32 {
        run(
            program,
            &Call {
                arch,
                number,
                arguments: [first, 0, 0, 0, 0, 0],
            },
        )
        .unwrap()
        .0
    }

    #[test]
    fn the_default_profile_decides_as_docker_documents() {
        let plain = default_program(&target(CapSet::DOCKER_DEFAULT));
        let admin = default_program(&target(CapSet::of_names(["SYS_ADMIN"])));
        let all = default_program(&target(CapSet::ALL));
        for (what, arch, number, first, expected) in [
            ("read", X86_64, 0, 0, [ALLOW, ALLOW, ALLOW]),
            ("execve", X86_64, 59, 0, [ALLOW, ALLOW, ALLOW]),
            ("ptrace, kernel 4.8", X86_64, 101, 0, [ALLOW, ALLOW, ALLOW]),
            ("chroot", X86_64, 161, 0, [ALLOW, DENY, ALLOW]),
            ("mount", X86_64, 165, 0, [DENY, ALLOW, ALLOW]),
            ("reboot", X86_64, 169, 0, [DENY, DENY, ALLOW]),
            ("keyctl", X86_64, 250, 0, [DENY, DENY, DENY]),
            ("kexec_load", X86_64, 246, 0, [DENY, DENY, DENY]),
            ("unshare", X86_64, 272, 0, [DENY, ALLOW, ALLOW]),
            ("io_uring_setup", X86_64, 425, 0, [DENY, DENY, DENY]),
            ("clone", X86_64, 56, 0x11, [ALLOW, ALLOW, ALLOW]),
            (
                "clone, new user namespace",
                X86_64,
                56,
                0x1000_0011,
                [DENY, ALLOW, ALLOW],
            ),
            ("clone3", X86_64, 435, 0, [NO_CALL, ALLOW, ALLOW]),
            ("socket, AF_INET", X86_64, 41, 2, [ALLOW, ALLOW, ALLOW]),
            ("socket, AF_ALG", X86_64, 41, 38, [DENY, DENY, DENY]),
            ("socket, 39", X86_64, 41, 39, [ALLOW, ALLOW, ALLOW]),
            ("socket, AF_VSOCK", X86_64, 41, 40, [DENY, DENY, DENY]),
            ("socket, 41", X86_64, 41, 41, [ALLOW, ALLOW, ALLOW]),
            (
                "socket, AF_ALG, upper half set",
                X86_64,
                41,
                1 << 32 | 38,
                [DENY, DENY, DENY],
            ),
            ("personality 8", X86_64, 135, 8, [ALLOW, ALLOW, ALLOW]),
            ("personality 1", X86_64, 135, 1, [DENY, DENY, DENY]),
            (
                "personality, query",
                X86_64,
                135,
                0xffff_ffff,
                [ALLOW, ALLOW, ALLOW],
            ),
            (
                "personality, upper half",
                X86_64,
                135,
                1 << 32 | 8,
                [DENY, DENY, DENY],
            ),
            (
                "newer than the profile",
                X86_64,
                4000,
                0,
                [NO_CALL, NO_CALL, NO_CALL],
            ),
            ("-1", X86_64, u32::MAX, 0, [NO_CALL, NO_CALL, NO_CALL]),
            ("read, x86", X86, 3, 0, [ALLOW, ALLOW, ALLOW]),
            ("mount, x86", X86, 21, 0, [DENY, ALLOW, ALLOW]),
            ("socketcall, x86", X86, 102, 1, [ALLOW, ALLOW, ALLOW]),
            ("clone3, x86", X86, 435, 0, [NO_CALL, ALLOW, ALLOW]),
            ("newer, x86", X86, 4000, 0, [NO_CALL, NO_CALL, NO_CALL]),
            ("read, x32", X86_64, 0x4000_0000, 0, [ALLOW, ALLOW, ALLOW]),
            (
                "execve, x32",
                X86_64,
                0x4000_0000 + 520,
                0,
                [ALLOW, ALLOW, ALLOW],
            ),
            (
                "mount, x32",
                X86_64,
                0x4000_0000 + 165,
                0,
                [DENY, ALLOW, ALLOW],
            ),
            (
                "newer, x32",
                X86_64,
                0x4000_0000 + 1000,
                0,
                [NO_CALL, NO_CALL, NO_CALL],
            ),
            ("another machine", AARCH64, 0, 0, [KILL, KILL, KILL]),
        ] {
            for (program, expected) in [&plain, &admin, &all].into_iter().zip(expected) {
                assert_eq!(verdict(program, arch, number, first), expected, "{what}");
            }
        }
    }

    #[test]
    fn the_default_profile_on_aarch64_covers_arm() {
        let target = Target {
            machine: Machine::Aarch64,
            ..target(CapSet::DOCKER_DEFAULT)
        };
        let program = default_program(&target);
        for (what, arch, number, expected) in [
            ("read", AARCH64, 63, ALLOW),
            ("mount", AARCH64, 40, DENY),
            ("clone3", AARCH64, 435, NO_CALL),
            ("newer", AARCH64, 4000, NO_CALL),
            ("read, arm", ARM, 3, ALLOW),
            ("mount, arm", ARM, 21, DENY),
            ("set_tls, arm", ARM, 0xf0005, ALLOW),
            ("usr26, arm", ARM, 0xf0003, DENY),
            ("beyond the private calls", ARM, 0xf0100, NO_CALL),
            ("newer, arm", ARM, 4000, NO_CALL),
            ("another machine", X86_64, 0, KILL),
        ] {
            assert_eq!(verdict(&program, arch, number, 0), expected, "{what}");
        }
    }

    #[test]
    fn every_capability_alone_and_each_kernel_gives_a_short_program() {
        for machine in [Machine::X86_64, Machine::Aarch64] {
            for kernel in [(3, 10), (4, 8), (7, 0)] {
                for bit in 0..=41 {
                    let capabilities = CapSet((1 << bit) & CapSet::ALL.0);
                    let program = default_program(&Target {
                        machine,
                        capabilities,
                        kernel,
                    });
                    assert!(
                        program.instructions.len() < 512,
                        "{}",
                        program.instructions.len()
                    );
                }
            }
        }
        let old = Target {
            kernel: (4, 7),
            ..target(CapSet::EMPTY)
        };
        assert_eq!(verdict(&default_program(&old), X86_64, 101, 0), DENY);
    }

    #[test]
    fn a_decision_takes_few_instructions() {
        let program = default_program(&target(CapSet::DOCKER_DEFAULT));
        let calls = (0..470).map(|number| Call {
            arch: X86_64,
            number,
            arguments: [0; 6],
        });
        let most = calls
            .map(|call| run(&program, &call).unwrap().1)
            .max()
            .unwrap();
        assert!(most < 28, "{most}");
    }

    #[test]
    fn x32_is_ended_where_the_profile_lacks_it() {
        let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"}]}"#;
        let profile = Profile::parse(text).unwrap().unwrap();
        let program = profile.program(&target(CapSet::EMPTY)).unwrap();
        for (arch, number, expected) in [
            (X86_64, 0, ALLOW),
            (X86_64, 2, NO_CALL),
            (X86_64, 0x4000_0000, KILL),
            (X86_64, 0x7fff_ffff, KILL),
            (X86_64, u32::MAX, DENY),
            (X86, 3, KILL),
        ] {
            assert_eq!(
                verdict(&program, arch, number, 0),
                expected,
                "{arch:x} {number:x}"
            );
        }
    }

    #[test]
    fn forbidding_a_socket_call_also_forbids_its_sub_call_on_x86() {
        let program = |rule: &str| {
            let text = format!(
                r#"{{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"],
                    "syscalls": [{{"action": "SCMP_ACT_ERRNO", {rule}}}]}}"#
            );
            Profile::parse(&text)
                .unwrap()
                .unwrap()
                .program(&target(CapSet::EMPTY))
                .unwrap()
        };
        let listen = program(r#""names": ["listen", "shmat"]"#);
        assert_eq!(verdict(&listen, X86, 102, 4), DENY);
        assert_eq!(verdict(&listen, X86, 102, 2), ALLOW);
        assert_eq!(verdict(&listen, X86, 117, 21), DENY);
        assert_eq!(verdict(&listen, X86, 363, 0), DENY);
        let socket = program(
            r#""names": ["socket"], "args": [{"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]"#,
        );
        assert_eq!(verdict(&socket, X86, 102, 1), DENY);
        assert_eq!(verdict(&socket, X86, 359, 2), DENY);
        assert_eq!(verdict(&socket, X86, 359, 1), ALLOW);
    }

    #[test]
    fn a_program_beyond_the_kernels_limit_is_refused() {
        let arguments: Vec<String> = (0..2000)
            .map(|value| format!(r#"{{"index": 0, "value": {value}, "op": "SCMP_CMP_EQ"}}"#))
            .collect();
        let text = format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": ["read"],
                "action": "SCMP_ACT_ALLOW", "args": [{}]}}]}}"#,
            arguments.join(",")
        );
        let error = Profile::parse(&text)
            .unwrap()
            .unwrap()
            .program(&target(CapSet::EMPTY));
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("too long for the kernel")
        );
    }

    #[test]
    fn far_jumps_lead_to_the_right_place() {
        // Many different decisions in a row: more than 255 instructions between some nodes.
        let rules: Vec<String> = (0..300)
            .map(|number| {
                let (name, _) = super::super::syscalls::SYSCALLS
                    .iter()
                    .find(|(_, numbers)| numbers[0] == number)
                    .unwrap();
                format!(
                    r#"{{"names": ["{name}"], "action": "SCMP_ACT_ERRNO", "errnoRet": {}}}"#,
                    number + 2
                )
            })
            .collect();
        let text = format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{}]}}"#,
            rules.join(",")
        );
        let program = Profile::parse(&text)
            .unwrap()
            .unwrap()
            .program(&target(CapSet::EMPTY))
            .unwrap();
        for number in 0..300 {
            assert_eq!(verdict(&program, X86_64, number, 0), 0x5_0002 + number);
        }
        assert_eq!(verdict(&program, X86_64, 300, 0), ALLOW);
        assert_eq!(verdict(&program, X86_64, u32::MAX, 0), ALLOW);
    }
}
