//! The kernel's classic BPF machine, as far as filters use it, for tests. Refuses what the kernel's
//! checker refuses: jumps out of the program, unaligned loads, no return.

use super::Program;

/// What a filter sees of a call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Call {
    pub(super) arch: u32,
    pub(super) number: u32,
    pub(super) arguments: [u64; 6],
}

/// The filter's verdict, and how many instructions it took.
pub(super) fn run(program: &Program, call: &Call) -> (u32, usize) {
    let mut data = [0u8; 64];
    data[0..4].copy_from_slice(&call.number.to_le_bytes());
    data[4..8].copy_from_slice(&call.arch.to_le_bytes());
    for (index, argument) in call.arguments.iter().enumerate() {
        data[16 + 8 * index..24 + 8 * index].copy_from_slice(&argument.to_le_bytes());
    }
    let mut accumulator = 0u32;
    let mut at = 0;
    for steps in 1..=4096 {
        let [c0, c1, if_true, if_false, k0, k1, k2, k3] = program.instructions[at];
        let operand = u32::from_ne_bytes([k0, k1, k2, k3]);
        let jump = |holds: bool| usize::from(if holds { if_true } else { if_false });
        at += 1;
        match u16::from_ne_bytes([c0, c1]) {
            0x20 => {
                assert_eq!(operand % 4, 0);
                let place = operand as usize;
                accumulator = u32::from_le_bytes(data[place..place + 4].try_into().unwrap());
            }
            0x05 => at += operand as usize,
            0x15 => at += jump(accumulator == operand),
            0x25 => at += jump(accumulator > operand),
            0x35 => at += jump(accumulator >= operand),
            0x45 => at += jump(accumulator & operand != 0),
            0x54 => accumulator &= operand,
            0x06 => return (operand, steps),
            other => panic!("unknown instruction {other:#x}"),
        }
    }
    panic!("the program has no end")
}
