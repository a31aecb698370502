//! tar and gzip as every release needs them: sorted, owned by root, of one time.

use std::io::Write;

use anyhow::Context;
use flate2::{Compression, GzBuilder};

/// A file of the release.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Relative path.
    pub(super) path: String,
    /// Its content.
    pub(super) bytes: Vec<u8>,
    /// Its mode.
    pub(super) mode: u32,
}

impl Entry {
    pub(super) fn file(path: &str, bytes: Vec<u8>, mode: u32) -> Self {
        Self {
            path: path.to_owned(),
            bytes,
            mode,
        }
    }
}

/// Entries beneath `prefix`, which ends with a slash or is empty, with the directories above them.
pub(super) fn tar(entries: &[Entry], prefix: &str, epoch: u64) -> anyhow::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut made = std::collections::BTreeSet::new();
    for entry in entries {
        let path = format!("{prefix}{}", entry.path);
        // `./` stands for the root of a Debian package, and is an entry of its own.
        for (at, _) in path.match_indices('/') {
            let directory = &path[..=at];
            if made.insert(directory.to_owned()) {
                let mut header = header(0, 0o755, epoch);
                header.set_entry_type(tar::EntryType::Directory);
                append(&mut builder, header, directory, &[])?;
            }
        }
        let size = entry.bytes.len() as u64;
        append(
            &mut builder,
            header(size, entry.mode, epoch),
            &path,
            &entry.bytes,
        )?;
    }
    builder.into_inner().context("cannot end an archive")
}

fn header(size: u64, mode: u32, epoch: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(epoch);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn append(
    builder: &mut tar::Builder<Vec<u8>>,
    mut header: tar::Header,
    path: &str,
    bytes: &[u8],
) -> anyhow::Result<()> {
    // By hand: the crate drops the leading `./` that dpkg wants.
    let field = &mut header
        .as_ustar_mut()
        .context("invariant: it is ustar")?
        .name;
    anyhow::ensure!(
        path.len() <= field.len(),
        "{path} is too long for a simple archive"
    );
    field[..path.len()].copy_from_slice(path.as_bytes());
    header.set_cksum();
    builder
        .append(&header, bytes)
        .with_context(|| format!("cannot pack {path}"))
}

/// Compressed, without name and time.
pub(super) fn gzip(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut writer = GzBuilder::new().write(Vec::new(), Compression::best());
    writer.write_all(bytes).context("cannot compress")?;
    writer.finish().context("cannot compress")
}

/// `2024-01-02T03:04:05Z`.
pub(super) fn date(epoch: u64) -> String {
    let (days, rest) = (epoch / 86_400, epoch % 86_400);
    // Days since 0000-03-01, in which leap days come last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest % 3600 / 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_and_archives_repeat() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(date(1_700_000_000), "2023-11-14T22:13:20Z");
        let entries = [Entry::file("a/b/c", b"text".to_vec(), 0o644)];
        let make = || gzip(&tar(&entries, "./usr/", 1_700_000_000).unwrap()).unwrap();
        assert_eq!(make(), make());
        let tar = tar(&entries, "./usr/", 0).unwrap();
        let mut archive = tar::Archive::new(&tar[..]);
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| String::from_utf8(entry.unwrap().path_bytes().into_owned()).unwrap())
            .collect();
        assert_eq!(
            names,
            ["./", "./usr/", "./usr/a/", "./usr/a/b/", "./usr/a/b/c"]
        );
    }
}
