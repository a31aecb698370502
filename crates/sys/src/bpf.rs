//! Programs for the kernel (extended BPF): those that guard the devices of a control group (version 2,
//! kernel 4.15), made by `runtime::cgroup`, and in [`traffic`] those that see the packets of an
//! interface. Only the calls are here.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use crate::error::{Context, SysError};
use crate::process::{BpfInstruction, check};

pub mod traffic;

const BPF_PROG_LOAD: u64 = 5;
const BPF_PROG_ATTACH: u64 = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// Programs of parent groups are asked too, and each must agree.
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The head of `union bpf_attr` for loading; what follows is zero for the kernel.
#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
}

/// The head of `union bpf_attr` for attaching.
#[repr(C)]
#[derive(Default)]
struct AttachAttributes {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

/// Loads a device program (extended BPF, eight bytes an instruction).
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN or CAP_BPF, `EINVAL` where the kernel's checker refuses it.
pub fn load_device_program(program: &[BpfInstruction]) -> Result<OwnedFd, SysError> {
    let license = c"Apache-2.0";
    let attributes = LoadAttributes {
        program_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(program.len()).unwrap_or(u32::MAX),
        instructions: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        ..LoadAttributes::default()
    };
    // SAFETY: the record, the program and the license live through the call, which only reads them;
    // its size is told.
    // WHY: neither libc nor rustix has bpf(2).
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            &raw const attributes,
            size_of::<LoadAttributes>(),
        )
    };
    let fd = check(result).on("load", "device program")?;
    // SAFETY: a fresh descriptor (close-on-exec by itself) that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Attaches a loaded program to the cgroup2 directory `group` for as long as that exists.
///
/// # Errors
/// `EBADF` where `group` is no cgroup2 directory, `EPERM` without CAP_NET_ADMIN or CAP_SYS_ADMIN.
pub fn attach_device_program(program: impl AsFd, group: impl AsFd) -> Result<(), SysError> {
    let attributes = AttachAttributes {
        target: group.as_fd().as_raw_fd() as u32,
        program: program.as_fd().as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: the record lives through the call, which only reads it; its size is told.
    // WHY: neither libc nor rustix has bpf(2).
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_ATTACH,
            &raw const attributes,
            size_of::<AttachAttributes>(),
        )
    };
    check(result).map(drop).on("attach", "device program")
}
