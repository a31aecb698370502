//! Programs that see packets (BPF), put together by hand: a few dozen instructions each, which no compiler
//! has to be there for.

use sys::process::BpfInstruction;

// Instructions: what is done, with which width and from where.
pub(crate) const LOAD_WORD: u8 = 0x61;
pub(crate) const LOAD_HALF: u8 = 0x69;
pub(crate) const LOAD_BYTE: u8 = 0x71;
pub(crate) const STORE_WORD: u8 = 0x63;
pub(crate) const MOVE: u8 = 0xbf;
pub(crate) const MOVE_VALUE: u8 = 0xb7;
pub(crate) const ADD_VALUE: u8 = 0x07;
pub(crate) const AND_VALUE: u8 = 0x57;
pub(crate) const STORE_HALF_VALUE: u8 = 0x6a;
pub(crate) const LOAD_TABLE: u8 = 0x18;
pub(crate) const CALL: u8 = 0x85;
pub(crate) const EXIT: u8 = 0x95;
pub(crate) const JUMP: u8 = 0x05;
pub(crate) const JUMP_IF_GREATER: u8 = 0x2d;
pub(crate) const JUMP_UNLESS_EQUAL: u8 = 0x5d;
pub(crate) const JUMP_IF_VALUE: u8 = 0x16;
pub(crate) const JUMP_UNLESS_VALUE: u8 = 0x56;

/// The source register of [`LOAD_TABLE`] that says the value is a descriptor.
pub(crate) const TABLE_BY_DESCRIPTOR: u8 = 1;

// The kernel's functions.
pub(crate) const LOOK_UP: u32 = 1;
pub(crate) const STORE_BYTES: u32 = 9;
pub(crate) const REPLACE_CHECKSUM: u32 = 11;
pub(crate) const REDIRECT: u32 = 23;
pub(crate) const REDIRECT_PEER: u32 = 155;
/// For [`REDIRECT`]: as if it had arrived there.
pub(crate) const ARRIVE: u32 = 1;
/// The verdict that leaves a packet to others.
pub(crate) const NEXT: u32 = u32::MAX;

// `struct __sk_buff`.
pub(crate) const IS_TAGGED: i16 = 20;
pub(crate) const CAME_BY: i16 = 36;
pub(crate) const INTERFACE: i16 = 40;
pub(crate) const DATA: i16 = 76;
pub(crate) const DATA_END: i16 = 80;

// A frame: hardware addresses, protocol, IPv4 header.
pub(crate) const PROTOCOL: i16 = 12;
pub(crate) const FROM_IPV4: i16 = 26;
pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const TCP: u32 = 6;
pub(crate) const UDP: u32 = 17;

/// Instructions in the making. `M` names the places that jumps lead to.
pub(crate) struct Assembler<M> {
    code: Vec<BpfInstruction>,
    jumps: Vec<(usize, M)>,
    marks: Vec<(M, usize)>,
}

impl<M: Copy + PartialEq> Assembler<M> {
    pub(crate) fn new() -> Self {
        let (code, jumps, marks) = (Vec::new(), Vec::new(), Vec::new());
        Self { code, jumps, marks }
    }

    pub(crate) fn push(&mut self, code: u8, (to, from): (u8, u8), offset: i16, value: u32) {
        let ([o0, o1], [v0, v1, v2, v3]) = (offset.to_ne_bytes(), value.to_ne_bytes());
        self.code
            .push([code, to | from << 4, o0, o1, v0, v1, v2, v3]);
    }

    pub(crate) fn jump(&mut self, code: u8, registers: (u8, u8), value: u32, mark: M) {
        self.jumps.push((self.code.len(), mark));
        self.push(code, registers, 0, value);
    }

    pub(crate) fn mark(&mut self, mark: M) {
        self.marks.push((mark, self.code.len()));
    }

    /// Frames shorter than that go where the mark is. Afterwards register 6 is the packet's record, 7 and 8 are
    /// the frame and its end.
    pub(crate) fn begin(&mut self, bytes_min: u32, otherwise: M) {
        self.push(MOVE, (6, 1), 0, 0);
        self.push(LOAD_WORD, (7, 6), DATA, 0);
        self.push(LOAD_WORD, (8, 6), DATA_END, 0);
        self.only_longer(bytes_min, otherwise);
    }

    /// As [`Self::begin`], of a frame that is in register 7 and ends at register 8.
    pub(crate) fn only_longer(&mut self, bytes_min: u32, otherwise: M) {
        self.push(MOVE, (1, 7), 0, 0);
        self.push(ADD_VALUE, (1, 0), 0, bytes_min);
        self.jump(JUMP_IF_GREATER, (1, 8), 0, otherwise);
    }

    /// Leaves the packet to others: the last instructions of each.
    pub(crate) fn leave_to_others(&mut self) {
        self.push(MOVE_VALUE, (0, 0), 0, NEXT);
        self.push(EXIT, (0, 0), 0, 0);
    }

    pub(crate) fn finish(mut self) -> Vec<BpfInstruction> {
        for (at, mark) in &self.jumps {
            let found = self.marks.iter().find(|(one, _)| one == mark);
            let to = found.map_or(0, |(_, to)| *to);
            // Fewer than a hundred instructions, and all jumps lead forward.
            let offset = (to - at - 1) as i16;
            self.code[*at][2..4].copy_from_slice(&offset.to_ne_bytes());
        }
        self.code
    }
}

#[cfg(test)]
pub(crate) fn assert_jumps_lead_forward(code: &[BpfInstruction]) {
    let jumps = code
        .iter()
        .enumerate()
        .filter(|(_, one)| one[0] & 7 <= 6 && one[0] & 7 >= 5 && ![CALL, EXIT].contains(&one[0]));
    for (at, one) in jumps {
        let offset = i16::from_ne_bytes([one[2], one[3]]);
        assert!(offset >= 0, "{at}");
        assert!(at + 1 + (offset as usize) < code.len(), "{at}");
    }
}
