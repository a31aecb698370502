//! Profiles of system calls: what is accepted compiles to a program that the kernel would take.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime::capabilities::CapSet;
use runtime::seccomp::{Machine, Profile, Target};

/// What the kernel takes.
const INSTRUCTIONS_MAX: usize = 4096;
const CLASS: u16 = 7;
const CLASS_JUMP: u16 = 5;
const CLASS_RETURN: u16 = 6;
const OPERATION: u16 = 0xf0;
const OPERATION_ALWAYS: u16 = 0;

fuzz_target!(|text: &str| {
    let Ok(Some(profile)) = Profile::parse(text) else {
        return;
    };
    for machine in [Machine::X86_64, Machine::Aarch64] {
        for capabilities in [CapSet::EMPTY, CapSet::ALL] {
            let target = Target {
                machine,
                capabilities,
                kernel: (6, 1),
            };
            let Ok(program) = profile.program(&target) else {
                continue;
            };
            let count = program.instructions.len();
            assert!((1..=INSTRUCTIONS_MAX).contains(&count));
            for (at, instruction) in program.instructions.iter().enumerate() {
                // As the kernel has it: code, two short jumps, a long one.
                let [low, high, yes, no, long @ ..] = *instruction;
                let code = u16::from_ne_bytes([low, high]);
                if code & CLASS == CLASS_JUMP {
                    let farthest = match code & OPERATION {
                        OPERATION_ALWAYS => u32::from_ne_bytes(long) as usize,
                        _ => usize::from(yes.max(no)),
                    };
                    assert!(at + 1 + farthest < count, "a jump out of the program");
                }
                let is_last = at + 1 == count;
                assert!(!is_last || code & CLASS == CLASS_RETURN, "it runs off its end");
            }
        }
    }
});
