//! The release binary: static, small, and without the resolver of the C library.

use anyhow::{Context, bail};

use crate::house;

const BYTES_MAX: usize = 20 << 20;
const PROGRAM_INTERPRETER: u32 = 3;
const PROGRAM_DYNAMIC: u32 = 2;
/// The file that glibc's getaddrinfo reads its precedence from. The name is in that one object
/// file, so that it tells of the function in a binary without symbols. A static glibc's getaddrinfo
/// loads shared libraries at run time, and so must not be called.
const RESOLVER_MARK: &[u8] = b"/etc/gai.conf";

/// Checks the binary that was built.
pub(crate) fn check() -> anyhow::Result<()> {
    let path = house::release_binary()?;
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if has_resolver(&bytes) {
        // ureq's default resolver is linked and never called: the client has our own. A note until
        // it can be left out; then this refuses.
        eprintln!("note: getaddrinfo is linked into {}", path.display());
    }
    judge(&bytes).with_context(|| path.display().to_string())
}

fn judge(bytes: &[u8]) -> anyhow::Result<()> {
    let kinds = program_headers(bytes).context("not a 64-bit ELF file")?;
    if kinds.contains(&PROGRAM_INTERPRETER) {
        bail!("asks for a dynamic loader; it must be static");
    }
    if kinds.contains(&PROGRAM_DYNAMIC) {
        bail!("is relocated at start; docs/design/0001 says why it must not be");
    }
    if bytes.len() > BYTES_MAX {
        bail!("has {} bytes, more than {BYTES_MAX}", bytes.len());
    }
    Ok(())
}

/// Whether getaddrinfo is linked in.
fn has_resolver(bytes: &[u8]) -> bool {
    bytes
        .windows(RESOLVER_MARK.len())
        .any(|window| window == RESOLVER_MARK)
}

fn program_headers(bytes: &[u8]) -> Option<Vec<u32>> {
    let half = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    if bytes.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    let start = usize::try_from(u64::from_le_bytes(bytes.get(32..40)?.try_into().ok()?)).ok()?;
    let (size, count) = (usize::from(half(54)?), usize::from(half(56)?));
    (0..count)
        .map(|index| word(start.checked_add(index * size)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(kinds: &[u32], tail: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0u8; 64];
        bytes[..5].copy_from_slice(b"\x7fELF\x02");
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = u8::try_from(kinds.len()).unwrap();
        for kind in kinds {
            bytes.extend(kind.to_le_bytes());
            bytes.extend([0; 52]);
        }
        bytes.extend(tail);
        bytes
    }

    #[test]
    fn a_binary_that_needs_others_is_refused() {
        for (bytes, word) in [
            (elf(&[1, 3], b""), Some("loader")),
            (elf(&[1, 2], b""), Some("relocated")),
            (b"#!/bin/sh".to_vec(), Some("ELF")),
            (elf(&[1, 1], b"fine"), None),
        ] {
            let verdict = judge(&bytes);
            match word {
                Some(word) => assert!(format!("{:#}", verdict.unwrap_err()).contains(word)),
                None => verdict.unwrap(),
            }
        }
        assert!(has_resolver(b"x /etc/gai.conf") && !has_resolver(b"x /etc/hosts"));
    }
}
