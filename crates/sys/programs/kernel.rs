// The few system calls that our embedded programs need, without a C library. Included by path from
// each program. Numbers and flags are the kernel's ABI of x86_64 and aarch64.

use core::arch::{asm, global_asm};

// The kernel starts a process with the argument count at the stack pointer, then the argument
// pointers, a null, the environment pointers, a null.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {main}",
    "ud2",
    main = sym main,
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, #0",
    "mov x30, #0",
    "mov x0, sp",
    "bl {main}",
    "brk #1",
    main = sym main,
);

extern "C" fn main(stack: *mut usize) -> ! {
    // SAFETY: the kernel put the argument vector here; see above.
    let code = unsafe { run(stack) };
    exit(code)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(125)
}

/// The compiler calls this for large arrays; there is no C library to have it.
///
/// # Safety
/// `length` bytes at `to` are writable.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    for at in 0..length {
        // SAFETY: as promised by the caller.
        unsafe { *to.add(at) = byte as u8 };
    }
    to
}

/// The compiler calls this for large values; there is no C library to have it.
///
/// # Safety
/// `length` bytes at `to` are writable, those at `from` readable, and they do not overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    for at in 0..length {
        // SAFETY: as promised by the caller.
        unsafe { *to.add(at) = *from.add(at) };
    }
    to
}

/// System call numbers.
#[cfg(target_arch = "x86_64")]
mod number {
    pub const WRITE: usize = 1;
    pub const EXIT_GROUP: usize = 231;
}

/// System call numbers.
#[cfg(target_arch = "aarch64")]
mod number {
    pub const WRITE: usize = 64;
    pub const EXIT_GROUP: usize = 94;
}

/// Any system call of up to five arguments; a negative result is an errno.
///
/// # Safety
/// As the call itself demands.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn syscall(number: usize, a: usize, b: usize, c: usize, d: usize, e: usize) -> isize {
    let result: isize;
    // SAFETY: the kernel's calling convention; rcx and r11 are overwritten by it.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Any system call of up to five arguments; a negative result is an errno.
///
/// # Safety
/// As the call itself demands.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn syscall(number: usize, a: usize, b: usize, c: usize, d: usize, e: usize) -> isize {
    let result: isize;
    // SAFETY: the kernel's calling convention.
    unsafe {
        asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") a as isize => result,
            in("x1") b,
            in("x2") c,
            in("x3") d,
            in("x4") e,
            options(nostack),
        );
    }
    result
}

fn exit(code: i32) -> ! {
    // SAFETY: ends the process; has no preconditions.
    unsafe {
        syscall(number::EXIT_GROUP, code as usize, 0, 0, 0, 0);
    }
    loop {}
}

/// Writes everything; false where the other side is gone.
fn write_all(descriptor: usize, mut bytes: &[u8]) -> bool {
    const EINTR: isize = -4;
    while !bytes.is_empty() {
        // SAFETY: pointer and length are those of the slice.
        let written =
            unsafe { syscall(number::WRITE, descriptor, bytes.as_ptr() as usize, bytes.len(), 0, 0) };
        match written {
            EINTR => {}
            written if written <= 0 => return false,
            written => bytes = bytes.get(written as usize..).unwrap_or_default(),
        }
    }
    true
}
