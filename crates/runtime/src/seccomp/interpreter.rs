//! The kernel's classic BPF machine, as far as filters use it: for tests, and to know before a start whether
//! a user's filter lets it happen. Refuses what the kernel's checker refuses: jumps out of the program,
//! unaligned loads, no return.

use super::Program;

/// What a filter sees of a call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Call {
    pub(super) arch: u32,
    pub(super) number: u32,
    pub(super) arguments: [u64; 6],
}

/// The filter's verdict, and how many instructions it took; `None` for a program that the kernel refuses.
pub(super) fn run(program: &Program, call: &Call) -> Option<(u32, usize)> {
    let mut data = [0u8; 64];
    data[0..4].copy_from_slice(&call.number.to_le_bytes());
    data[4..8].copy_from_slice(&call.arch.to_le_bytes());
    for (index, argument) in call.arguments.iter().enumerate() {
        data[16 + 8 * index..24 + 8 * index].copy_from_slice(&argument.to_le_bytes());
    }
    let mut accumulator = 0u32;
    let mut at = 0;
    for steps in 1..=4096 {
        let [c0, c1, if_true, if_false, k0, k1, k2, k3] = *program.instructions.get(at)?;
        let operand = u32::from_ne_bytes([k0, k1, k2, k3]);
        let jump = |holds: bool| usize::from(if holds { if_true } else { if_false });
        at += 1;
        match u16::from_ne_bytes([c0, c1]) {
            0x20 => {
                let (words, _) = data.as_chunks::<4>();
                let word = words.get(operand as usize / 4).filter(|_| operand % 4 == 0);
                accumulator = u32::from_le_bytes(*word?);
            }
            0x05 => at += operand as usize,
            0x15 => at += jump(accumulator == operand),
            0x25 => at += jump(accumulator > operand),
            0x35 => at += jump(accumulator >= operand),
            0x45 => at += jump(accumulator & operand != 0),
            0x54 => accumulator &= operand,
            0x06 => return Some((operand, steps)),
            _ => return None,
        }
    }
    None
}
