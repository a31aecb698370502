//! A Debian package: an `ar` archive of two compressed tars.

use anyhow::Context;
use md5_of::hex_digest;

use super::Release;
use super::archive::{self, Entry};

const MAINTAINER: &str = "The Caisson authors <caisson@localhost>";
const SUMMARY: &str = "container engine without a daemon, with Docker's commands";
const DETAILS: &str = " Runs, builds and shares Linux containers with Docker's own commands and files.\n \
A command does its work and ends; a running container costs one small process.\n";
/// Units are known and, on a first installation, enabled.
const POSTINST: &str = "#!/bin/sh\nset -e\nif [ \"$1\" = configure ] && [ -d /run/systemd/system ]; then\n    \
systemctl daemon-reload || true\n    [ -n \"$2\" ] || systemctl enable caisson-boot.service || true\nfi\n";
const PRERM: &str = "#!/bin/sh\nset -e\nif [ \"$1\" = remove ] && [ -d /run/systemd/system ]; then\n    \
systemctl disable caisson-boot.service || true\nfi\n";

/// Writes the package.
pub(super) fn write(release: &Release, files: &[Entry]) -> anyhow::Result<()> {
    let name = format!(
        "caisson_{}_{}.deb",
        release.version, release.debian_architecture
    );
    let bytes = package(release, files)?;
    let path = release.place.join(name);
    std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn package(release: &Release, files: &[Entry]) -> anyhow::Result<Vec<u8>> {
    let size: usize = files
        .iter()
        .map(|file| file.bytes.len().div_ceil(1024))
        .sum();
    let control = format!(
        "Package: caisson\nVersion: {}\nArchitecture: {}\nMaintainer: {MAINTAINER}\nInstalled-Size: {size}\n\
         Recommends: ca-certificates\nSection: admin\nPriority: optional\nDescription: {SUMMARY}\n{DETAILS}",
        release.version, release.debian_architecture
    );
    let sums: String = files
        .iter()
        .map(|file| format!("{}  usr/{}\n", hex_digest(&file.bytes), file.path))
        .collect();
    let control = [
        Entry::file("control", control.into_bytes(), 0o644),
        Entry::file("md5sums", sums.into_bytes(), 0o644),
        Entry::file("postinst", POSTINST.as_bytes().to_vec(), 0o755),
        Entry::file("prerm", PRERM.as_bytes().to_vec(), 0o755),
    ];
    let control = archive::gzip(&archive::tar(&control, "./", release.epoch)?)?;
    let data = archive::gzip(&archive::tar(files, "./usr/", release.epoch)?)?;
    let members = [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar.gz", control),
        ("data.tar.gz", data),
    ];
    Ok(ar(&members, release.epoch))
}

/// The common format of `ar`, which Debian's packages use.
fn ar(members: &[(&str, Vec<u8>)], epoch: u64) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, bytes) in members {
        let header = format!(
            "{name:<16}{epoch:<12}{:<6}{:<6}{:<8}{:<10}`\n",
            0,
            0,
            100_644,
            bytes.len()
        );
        out.extend(header.as_bytes());
        out.extend(bytes);
        if bytes.len() % 2 == 1 {
            out.push(b'\n');
        }
    }
    out
}

/// MD5, which the format wants for its list of files; nothing relies on its strength.
mod md5_of {
    const SHIFTS: [u32; 16] = [7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21];

    pub(super) fn hex_digest(bytes: &[u8]) -> String {
        super::super::hex(&digest(bytes))
    }

    fn digest(bytes: &[u8]) -> [u8; 16] {
        // The table is defined by this sine.
        let table: Vec<u32> = (1..=64_u32)
            .map(|n| (f64::from(n).sin().abs() * 4_294_967_296.0) as u32)
            .collect();
        let mut message = bytes.to_vec();
        message.push(0x80);
        while message.len() % 64 != 56 {
            message.push(0);
        }
        message.extend(((bytes.len() as u64) * 8).to_le_bytes());
        let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
        for block in message.chunks_exact(64) {
            state = rounds(state, block, &table);
        }
        let mut out = [0; 16];
        for (word, place) in state.iter().zip(out.chunks_exact_mut(4)) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    fn rounds(state: [u32; 4], block: &[u8], table: &[u32]) -> [u32; 4] {
        let word = |index: usize| {
            let bytes = [0, 1, 2, 3].map(|byte| block[index * 4 + byte]);
            u32::from_le_bytes(bytes)
        };
        let [mut a, mut b, mut c, mut d] = state;
        for (step, constant) in table.iter().enumerate() {
            let (mixed, index) = match step / 16 {
                0 => ((b & c) | (!b & d), step),
                1 => ((d & b) | (!d & c), (5 * step + 1) % 16),
                2 => (b ^ c ^ d, (3 * step + 5) % 16),
                _ => (c ^ (b | !d), (7 * step) % 16),
            };
            let sum = a
                .wrapping_add(mixed)
                .wrapping_add(*constant)
                .wrapping_add(word(index));
            let shift = SHIFTS[step / 16 * 4 + step % 4];
            (a, d, c, b) = (d, c, b, b.wrapping_add(sum.rotate_left(shift)));
        }
        [
            state[0].wrapping_add(a),
            state[1].wrapping_add(b),
            state[2].wrapping_add(c),
            state[3].wrapping_add(d),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_md5s() {
        for (text, sum) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ] {
            assert_eq!(hex_digest(text.as_bytes()), sum, "{text}");
        }
    }

    #[test]
    fn members_are_padded_to_even_lengths() {
        let bytes = ar(&[("a", b"odd".to_vec()), ("b", b"even".to_vec())], 7);
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with(
            "!<arch>\na               7           0     0     100644  3         `\nodd\n"
        ));
        assert!(text.ends_with("4         `\neven"));
    }
}
