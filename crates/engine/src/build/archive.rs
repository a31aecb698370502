//! `ADD` of an archive: known by its content, unpacked where it is one.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use storage::compression;
use storage::layer::unpack::{ApplyMode, Replace, UnpackOptions, Whiteouts, unpack as unpack_tar};
use sys::Context;

use super::copy::Copying;
use super::files::{Content, Files, Match, open_file, open_match};
use crate::error::{EngineError, text};

pub(crate) const BLOCK_BYTES: usize = 512;

/// Unpacks a match that is an archive into the destination; `false` where it is none.
pub(crate) fn unpack(
    copying: &Copying<'_>,
    files: &Files,
    one: &Match,
    destination: &str,
) -> Result<bool, EngineError> {
    if !matches!(one.node.content, Content::File { .. }) {
        return Ok(false);
    }
    let (parent, name) = open_match(files, &one.path)?;
    use std::os::fd::AsFd;
    let fd = open_file(parent.as_fd(), OsStr::new(&name)).on("open", one.path.display())?;
    let mut file = File::from(fd);
    if !is_archive(&mut file) {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(0))
        .on("read", one.path.display())?;
    copying.make_directories(Path::new(destination))?;
    let options = UnpackOptions {
        mode: ApplyMode::Merged,
        whiteouts: Whiteouts::Literal,
        replace: Replace::Anything,
        base: destination.into(),
        root_metadata: false,
        owner: copying.owner,
        ..UnpackOptions::default()
    };
    let (_, decoded) = compression::decode(file).on("read", one.path.display())?;
    unpack_tar(decoded, copying.root, &options)
        .map_err(|error| text(&format!("unpack {}", one.path.display()), &error))?;
    Ok(true)
}

/// Whether something begins with a tar header, as it is or compressed.
fn is_archive(file: &mut File) -> bool {
    let Ok((_, mut decoded)) = compression::decode(file) else {
        return false;
    };
    let mut block = [0_u8; BLOCK_BYTES];
    if decoded.read_exact(&mut block).is_err() {
        return false;
    }
    is_header(&block)
}

/// The checksum is over all bytes, those of its own field taken as spaces.
pub(crate) fn is_header(block: &[u8; BLOCK_BYTES]) -> bool {
    const CHECKSUM: std::ops::Range<usize> = 148..156;
    let digits: String = block[CHECKSUM]
        .iter()
        .filter(|byte| (b'0'..=b'7').contains(byte))
        .map(|byte| char::from(*byte))
        .collect();
    let Ok(said) = u32::from_str_radix(&digits, 8) else {
        return false;
    };
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| match CHECKSUM.contains(&at) {
            true => u32::from(b' '),
            false => u32::from(*byte),
        })
        .sum();
    said == sum
}
