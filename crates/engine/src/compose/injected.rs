//! A secret's or config's content on its way into a container.

use ::compose::container::InjectedFile;

use crate::error::EngineError;

/// One file as a tar archive.
pub(super) fn archive(file: &InjectedFile) -> Result<Vec<u8>, EngineError> {
    let name = file.target.trim_start_matches('/');
    if name.is_empty() || name.len() > 100 {
        return Err(EngineError::invalid(format!(
            "the path {:?} is empty or too long for a secret or config",
            file.target
        )));
    }
    // Seven octal digits are the field.
    if file.uid.max(file.gid) > 0o7_777_777 {
        return Err(EngineError::invalid(format!(
            "the owner {}:{} of {} is too large for a secret or config",
            file.uid, file.gid, file.target
        )));
    }
    let mut header = [0_u8; 512];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, &format!("{:07o}", file.mode & 0o7777));
    put(108, &format!("{:07o}", file.uid));
    put(116, &format!("{:07o}", file.gid));
    put(124, &format!("{:011o}", file.content.len()));
    put(136, "00000000000");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut archive = header.to_vec();
    archive.extend_from_slice(file.content.as_bytes());
    let padding = file.content.len().next_multiple_of(512) - file.content.len();
    archive.resize(archive.len() + padding + 1024, 0);
    Ok(archive)
}
