//! The release binary: static, small, and without the C library's resolver.

use anyhow::{Context, bail};

use crate::house::release_binary;

const BYTES_MAX: u64 = 20 << 20;

/// Checks what a build made.
pub(crate) fn check() -> anyhow::Result<()> {
    let path = release_binary()?;
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() as u64 > BYTES_MAX {
        bail!(
            "the binary has {} bytes, at most {BYTES_MAX} are promised",
            bytes.len()
        );
    }
    if has_interpreter(&bytes) {
        bail!("the binary wants a dynamic loader: it must be static");
    }
    Ok(())
}

/// Whether an ELF file of 64 bits names a program interpreter.
fn has_interpreter(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, length: usize| {
        elf.get(at..at + length).map_or(0, |bytes| {
            bytes
                .iter()
                .rev()
                .fold(0u64, |n, byte| n << 8 | u64::from(*byte))
        })
    };
    let (table, size, count) = (
        number(32, 8) as usize,
        number(54, 2) as usize,
        number(56, 2) as usize,
    );
    (0..count).any(|index| number(table + index * size, 4) == u64::from(PT_INTERP))
}
