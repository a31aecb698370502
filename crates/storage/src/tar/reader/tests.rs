//! Goal: archives of other writers are understood, damaged ones refused, and none panics. Method:
//! GNU tar makes archives in each of its formats; proptest mutates them.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::super::{TarWriter, Time};
use super::*;

fn read_all(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
    let mut reader = TarReader::new(bytes, Limits::default());
    let mut entry = Entry::default();
    let mut all = Vec::new();
    while reader.next_entry(&mut entry)? {
        let mut data = Vec::new();
        loop {
            let chunk = reader.chunk(1000)?;
            if chunk.is_empty() {
                break;
            }
            data.extend_from_slice(chunk);
        }
        all.push((entry.clone(), data));
    }
    Ok(all)
}

fn gnu_tar(directory: &Path, arguments: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new("tar")
        .arg("-C")
        .arg(directory)
        .arg("-c")
        .args(arguments)
        .output();
    match output {
        Ok(output) if output.status.success() => Some(output.stdout),
        Ok(output) => panic!("tar: {}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => {
            println!("skipped: no tar");
            None
        }
    }
}

/// Names of awkward lengths, a sparse file of many pieces, links.
fn sample(directory: &Path) {
    for length in [1, 99, 100, 101, 154, 155, 156, 200, 255] {
        let name = "n".repeat(length);
        std::fs::write(directory.join(&name), &name).unwrap();
        std::os::unix::fs::symlink(&name, directory.join(format!("l{length}"))).unwrap();
    }
    let deep = directory.join(format!("{}/{}", "d".repeat(120), "e".repeat(120)));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("file"), "deep").unwrap();
    std::fs::hard_link(deep.join("file"), directory.join("hard")).unwrap();
    let latin: &std::ffi::OsStr = OsStrExt::from_bytes(b"caf\xe9");
    std::fs::write(directory.join(latin), "bytes").unwrap();
    let sparse = std::fs::File::create(directory.join("sparse")).unwrap();
    sparse.set_len(4_000_123).unwrap();
    for piece in 0..40u64 {
        sparse
            .write_at(&[piece as u8 + 1; 4096], piece * 98_304)
            .unwrap();
    }
}

fn expand(entry: &Entry, data: &[u8]) -> Vec<u8> {
    let Some(segments) = &entry.sparse else {
        return data.to_vec();
    };
    let mut whole = vec![0; entry.size as usize];
    let mut from = 0;
    for segment in segments {
        let (offset, length) = (segment.offset as usize, segment.length as usize);
        whole[offset..offset + length].copy_from_slice(&data[from..from + length]);
        from += length;
    }
    whole
}

#[test]
fn archives_of_gnu_tar_are_understood_in_each_format() {
    let directory = tempfile::tempdir().unwrap();
    sample(directory.path());
    let variants: &[&[&str]] = &[
        &["--format=gnu", "."],
        &["--format=gnu", "-S", "."],
        &["--format=oldgnu", "-S", "."],
        &["--format=pax", "."],
        &["--format=pax", "-S", "--sparse-version=0.0", "."],
        &["--format=pax", "-S", "--sparse-version=0.1", "."],
        &["--format=pax", "-S", "--sparse-version=1.0", "."],
    ];
    for variant in variants {
        let Some(bytes) = gnu_tar(directory.path(), variant) else {
            return;
        };
        let all = read_all(&bytes).unwrap();
        let count = all.len();
        assert!(count > 22, "{variant:?}: {count}");
        for (entry, data) in all {
            let path = directory
                .path()
                .join(std::ffi::OsStr::from_bytes(&entry.path));
            match entry.kind {
                Kind::File => {
                    let whole = expand(&entry, &data);
                    assert!(
                        std::fs::read(&path).unwrap() == whole,
                        "{variant:?} {path:?}"
                    );
                    if entry.path.ends_with(b"sparse") && variant.contains(&"-S") {
                        assert_eq!(data.len(), 40 * 4096, "{variant:?}");
                    }
                }
                Kind::Symlink => {
                    let target = std::fs::read_link(&path).unwrap();
                    assert_eq!(target.as_os_str().as_bytes(), entry.link);
                }
                Kind::HardLink => assert!(!entry.link.is_empty()),
                Kind::Directory => assert!(path.is_dir()),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_v7_name_with_a_slash_is_a_directory_and_large_numbers_are_read() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("d")).unwrap();
    let Some(bytes) = gnu_tar(directory.path(), &["--format=v7", "d"]) else {
        return;
    };
    let all = read_all(&bytes).unwrap();
    assert_eq!(
        (all[0].0.kind, all[0].0.path.as_slice()),
        (Kind::Directory, &b"d/"[..])
    );
    let arguments = [
        "--format=gnu",
        "--owner=:3000000",
        "--group=:2147483647",
        "--mtime=@-5",
        "d",
    ];
    let bytes = gnu_tar(directory.path(), &arguments).unwrap();
    let entry = &read_all(&bytes).unwrap()[0].0;
    assert_eq!((entry.uid, entry.gid), (3_000_000, 2_147_483_647));
    assert_eq!(
        entry.mtime,
        Time {
            seconds: -5,
            nanoseconds: 0
        }
    );
}

fn archive() -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    let long = Entry {
        path: vec![b'n'; 300],
        size: 700,
        ..Entry::default()
    };
    writer.append_bytes(&long, &[b'x'; 700]).unwrap();
    let link = Entry {
        path: b"l".to_vec(),
        kind: Kind::Symlink,
        link: b"t".to_vec(),
        ..Entry::default()
    };
    writer.append(&link).unwrap();
    writer.finish().unwrap()
}

fn reseal(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

#[test]
fn truncation_is_seen_wherever_it_happens() {
    let bytes = archive();
    let whole = bytes.len() - 2 * BLOCK_BYTES;
    for keep in (1..=whole).step_by(64).chain([whole]) {
        let answer = read_all(&bytes[..keep]);
        assert!(
            matches!(answer, Err(TarError::Truncated { .. })),
            "cut at {keep}"
        );
    }
    assert!(
        read_all(&bytes[..whole + BLOCK_BYTES]).is_ok(),
        "one zero block will do"
    );
    assert!(read_all(&[]).unwrap().is_empty());
    let limits = Limits {
        may_lack_end: true,
        ..Limits::default()
    };
    let mut reader = TarReader::new(&bytes[..whole], limits);
    let mut entry = Entry::default();
    assert!(reader.next_entry(&mut entry).unwrap() && reader.next_entry(&mut entry).unwrap());
    assert!(!reader.next_entry(&mut entry).unwrap());
}

#[test]
fn damage_and_excess_are_refused_by_name() {
    // What is written over the plain header at byte 0 of an archive, and what the error must say.
    let cases: &[(usize, &[u8], &str)] = &[
        (
            124,
            b"\x80\0\0\0\x40\0\0\0\0\0\0\0",
            "the size of a file exceeds",
        ),
        (
            124,
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            "invalid size",
        ),
        (108, b"\x80\0\0\0\xff\xff\xff\xff", "invalid uid"),
        (108, b"9999999\0", "invalid uid"),
        (156, b"x", "invalid pax record"),
        (156, b"S", "invalid sparse map"),
    ];
    let mut writer = TarWriter::new(Vec::new());
    let plain = Entry {
        path: b"f".to_vec(),
        size: 700,
        ..Entry::default()
    };
    writer.append_bytes(&plain, &[b'x'; 700]).unwrap();
    let bytes = writer.finish().unwrap();
    for (at, over, text) in cases {
        let mut bytes = bytes.clone();
        bytes[*at..at + over.len()].copy_from_slice(over);
        assert!(
            matches!(read_all(&bytes), Err(TarError::Checksum { at: 0 })),
            "{text}"
        );
        reseal(&mut bytes[..BLOCK_BYTES]);
        let error = read_all(&bytes).unwrap_err().to_string();
        assert!(error.contains(text), "{error} / {text}");
    }
    let mut reader = TarReader::new(
        bytes.as_slice(),
        Limits {
            entries_max: 0,
            ..Limits::default()
        },
    );
    let error = reader
        .next_entry(&mut Entry::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("the number of entries exceeds 0"), "{error}");
    let mut with_rest = bytes.clone();
    with_rest.extend([1; 5000]);
    let mut reader = TarReader::new(with_rest.as_slice(), Limits::default());
    while reader.next_entry(&mut Entry::default()).unwrap() {}
    assert_eq!(reader.drain(10_000).unwrap(), 5000);
}

#[test]
fn sparse_bombs_of_headers_are_limited() {
    let mut writer = TarWriter::new(Vec::new());
    writer
        .append(&Entry {
            path: b"f".to_vec(),
            ..Entry::default()
        })
        .unwrap();
    let mut header = writer.finish().unwrap()[..BLOCK_BYTES].to_vec();
    header[156] = b'g';
    reseal(&mut header);
    let error = read_all(&header.repeat(1000)).unwrap_err().to_string();
    assert!(error.contains("extended headers"), "{error}");
    header[124..136].copy_from_slice(b"00007777777\0");
    reseal(&mut header);
    let error = read_all(&header).unwrap_err().to_string();
    assert!(error.contains("the size of an extended header"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn mutated_archives_never_panic(
        changes in prop::collection::vec((0usize..8192, any::<u8>(), any::<bool>()), 1..8),
        keep in 0usize..8192,
    ) {
        let mut bytes = archive();
        for (at, value, mend) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
            if mend {
                let block = at / BLOCK_BYTES * BLOCK_BYTES;
                reseal(&mut bytes[block..block + BLOCK_BYTES]);
            }
        }
        let keep = keep.min(bytes.len());
        let _ = read_all(&bytes);
        let _ = read_all(&bytes[..keep]);
    }

    #[test]
    fn pax_records_never_panic(text in "[0-9]{1,3} (path|size|mtime|uid|GNU.sparse.(map|major|offset|numbytes|realsize|name)|SCHILY.xattr.user.x)=[-0-9.,a\\n]{0,12}\\n") {
        let mut overrides = Overrides::default();
        let _ = overrides.parse(text.as_bytes(), 0);
    }
}
