//! Programs at an interface (tcx, kernel 6.6) and the tables that they look things up in. Attached ones
//! live as long as the interface.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use crate::error::{Context, SysError};
use crate::process::{BpfInstruction, check};

const MAP_CREATE: u64 = 0;
const MAP_UPDATE: u64 = 2;
const MAP_DELETE: u64 = 3;
const PROGRAM_LOAD: u64 = 5;
const PROGRAM_ATTACH: u64 = 8;
const PROGRAM_BY_ID: u64 = 13;
const MAP_BY_ID: u64 = 14;
const INFO: u64 = 15;
const PROGRAM_QUERY: u64 = 16;

const HASH: u32 = 1;
/// Memory for what is in it only.
const NO_PREALLOC: u32 = 1;
const SCHED_CLS: u32 = 3;

/// Bytes of a name with its NUL.
const NAME_BYTES: usize = 16;
/// More programs at one interface than that are not looked at.
const PROGRAMS_MAX: u32 = 16;

/// Where a program sees packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What leaves by it.
    Egress = 47,
}

/// `union bpf_attr`: fields at their offsets, the rest zero.
#[repr(C, align(8))]
struct Request([u8; 128]);

impl Request {
    fn new() -> Self {
        Self([0; 128])
    }

    fn number(mut self, at: usize, value: u32) -> Self {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn fd(self, at: usize, fd: impl AsFd) -> Self {
        self.number(at, fd.as_fd().as_raw_fd() as u32)
    }

    fn pointer<T>(mut self, at: usize, value: *const T) -> Self {
        self.0[at..at + 8].copy_from_slice(&(value as u64).to_ne_bytes());
        self
    }

    fn name(mut self, at: usize, name: &str) -> Self {
        let length = name.len().min(NAME_BYTES - 1);
        self.0[at..at + length].copy_from_slice(&name.as_bytes()[..length]);
        self
    }

    fn read(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.0[at..at + 4]);
        u32::from_ne_bytes(bytes)
    }

    /// What the pointers point to must live through the call, and be writable where the kernel answers
    /// there, as large as the request says.
    unsafe fn call(&mut self, command: u64) -> Result<i64, rustix::io::Errno> {
        // SAFETY: the record lives through the call and its size is told; for what it points to, the
        // caller vouches.
        // WHY: neither libc nor rustix has bpf(2).
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *self, size_of::<Self>()) };
        check(result)
    }

    /// As [`Self::call`], for a command that answers with a descriptor.
    unsafe fn open(&mut self, command: u64) -> Result<OwnedFd, rustix::io::Errno> {
        // SAFETY: the caller's.
        let fd = unsafe { self.call(command) }?;
        // SAFETY: a fresh descriptor (close-on-exec by itself) that nobody else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
    }
}

/// Makes an empty table of keys and values of so many bytes.
///
/// # Errors
/// `EPERM` without CAP_BPF.
pub fn new_table(
    name: &str,
    (key, value): (u32, u32),
    entries_max: u32,
) -> Result<OwnedFd, SysError> {
    let mut request = Request::new()
        .number(0, HASH)
        .number(4, key)
        .number(8, value)
        .number(12, entries_max)
        .number(16, NO_PREALLOC)
        .name(28, name);
    // SAFETY: the request points nowhere.
    unsafe { request.open(MAP_CREATE) }.on("make", "table of a traffic program")
}

/// Puts an entry into a table, over one with the same key. Key and value must have the table's sizes.
///
/// # Errors
/// `E2BIG` where it is full.
pub fn set<const K: usize, const V: usize>(
    table: impl AsFd,
    key: &[u8; K],
    value: &[u8; V],
) -> Result<(), SysError> {
    let sizes = sizes(&table)?;
    if sizes != (K as u32, V as u32) {
        return Err(SysError::new(
            "fill",
            "table of a traffic program",
            rustix::io::Errno::INVAL,
        ));
    }
    let mut request = Request::new()
        .fd(0, table)
        .pointer(8, key.as_ptr())
        .pointer(16, value.as_ptr());
    // SAFETY: both are as large as the table's (asked above) and only read.
    let result = unsafe { request.call(MAP_UPDATE) };
    result.map(drop).on("fill", "table of a traffic program")
}

/// Removes an entry.
///
/// # Errors
/// `ENOENT` where there is none.
pub fn remove<const K: usize>(table: impl AsFd, key: &[u8; K]) -> Result<(), SysError> {
    if sizes(&table)?.0 != K as u32 {
        return Err(SysError::new(
            "empty",
            "table of a traffic program",
            rustix::io::Errno::INVAL,
        ));
    }
    let mut request = Request::new().fd(0, table).pointer(8, key.as_ptr());
    // SAFETY: the key is as large as the table's (asked above) and only read.
    let result = unsafe { request.call(MAP_DELETE) };
    result.map(drop).on("empty", "table of a traffic program")
}

/// Loads a program that sees packets.
///
/// # Errors
/// `EPERM` without CAP_BPF and CAP_NET_ADMIN, `EINVAL` or `EACCES` where the kernel's checker refuses it.
pub fn load(name: &str, program: &[BpfInstruction]) -> Result<OwnedFd, SysError> {
    let license = c"Apache-2.0";
    let mut request = Request::new()
        .number(0, SCHED_CLS)
        .number(4, u32::try_from(program.len()).unwrap_or(u32::MAX))
        .pointer(8, program.as_ptr())
        .pointer(16, license.as_ptr())
        .name(48, name);
    // SAFETY: program and license live through the call, which only reads them.
    unsafe { request.open(PROGRAM_LOAD) }.on("load", "traffic program")
}

/// Attaches a program to an interface, behind those that are there.
///
/// # Errors
/// `EEXIST` where it is there already, `EINVAL` where the kernel is older than 6.6.
pub fn attach(program: impl AsFd, interface: u32, side: Side) -> Result<(), SysError> {
    let mut request = Request::new()
        .number(0, interface)
        .fd(4, program)
        .number(8, side as u32);
    // SAFETY: the request points nowhere.
    let result = unsafe { request.call(PROGRAM_ATTACH) };
    result.map(drop).on("attach", "traffic program")
}

/// The numbers of the programs at an interface.
///
/// # Errors
/// `ENODEV` without the interface, `EINVAL` where the kernel is older than 6.6.
pub fn programs(interface: u32, side: Side) -> Result<Vec<u32>, SysError> {
    let mut numbers = vec![0u32; PROGRAMS_MAX as usize];
    let mut request = Request::new()
        .number(0, interface)
        .number(4, side as u32)
        .pointer(16, numbers.as_mut_ptr())
        .number(24, PROGRAMS_MAX);
    // SAFETY: there is room for as many numbers as the request says.
    match unsafe { request.call(PROGRAM_QUERY) } {
        Err(rustix::io::Errno::NOENT) => return Ok(Vec::new()),
        other => other.on("list", "traffic programs")?,
    };
    numbers.truncate(request.read(24) as usize);
    Ok(numbers)
}

/// A program that is loaded: its name and the numbers of its tables.
#[derive(Debug)]
pub struct Program {
    /// Itself.
    pub fd: OwnedFd,
    /// Its name.
    pub name: String,
    /// Its tables' numbers.
    pub tables: Vec<u32>,
}

/// The program of a number.
///
/// # Errors
/// `ENOENT` where there is none (any more).
pub fn program(number: u32) -> Result<Program, SysError> {
    const TABLES_MAX: u32 = 4;
    let mut request = Request::new().number(0, number);
    // SAFETY: the request points nowhere.
    let fd = unsafe { request.open(PROGRAM_BY_ID) }.on("open", "traffic program")?;
    let mut tables = vec![0u32; TABLES_MAX as usize];
    // struct bpf_prog_info up to its name: what it asks for is pointed to.
    let mut info = Request::new()
        .number(52, TABLES_MAX)
        .pointer(56, tables.as_mut_ptr());
    ask(&fd, &mut info, 80)?;
    tables.truncate(info.read(52) as usize);
    let name = &info.0[64..64 + NAME_BYTES];
    let end = name
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(NAME_BYTES);
    let name = String::from_utf8_lossy(&name[..end]).into_owned();
    Ok(Program { fd, name, tables })
}

/// The table of a number.
///
/// # Errors
/// `ENOENT` where there is none (any more).
pub fn table(number: u32) -> Result<OwnedFd, SysError> {
    let mut request = Request::new().number(0, number);
    // SAFETY: the request points nowhere.
    unsafe { request.open(MAP_BY_ID) }.on("open", "table of a traffic program")
}

/// The bytes of a table's keys and values.
fn sizes(table: impl AsFd) -> Result<(u32, u32), SysError> {
    // struct bpf_map_info: kind, number, bytes of a key, bytes of a value.
    let mut info = Request::new();
    ask(table, &mut info, 16)?;
    Ok((info.read(8), info.read(12)))
}

fn ask(of: impl AsFd, info: &mut Request, bytes: u32) -> Result<(), SysError> {
    let mut request = Request::new()
        .fd(0, of)
        .number(4, bytes)
        .pointer(8, &raw mut info.0);
    // SAFETY: the answer has room for so many bytes; what it points to is its maker's, with the room
    // that it says.
    let result = unsafe { request.call(INFO) };
    result.map(drop).on("look at", "traffic program")
}
