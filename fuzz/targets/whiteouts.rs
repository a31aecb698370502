//! Layers of directories, files, links and deletions in any order, unpacked in a cage twice over:
//! the second time the tree is there already. A pair of bytes is an entry: its kind, its name.
#![no_main]

use std::cell::OnceCell;

use caisson_fuzz::Cage;
use libfuzzer_sys::fuzz_target;
use storage::layer::unpack::{ApplyMode, UnpackOptions, unpack};
use storage::tar::{Entry, Kind, TarWriter};
use sys::rootfs::Dir;

const ENTRIES_MAX: usize = 64;
const NAMES: [&str; 32] = [
    "a",
    "b",
    "a/b",
    "a/b/c",
    "b/a",
    "b/a/c",
    "./a",
    "/a",
    "a/../b",
    "../canary",
    "../../canary",
    "a/../../canary",
    ".wh.a",
    "a/.wh.b",
    ".wh..wh..opq",
    "a/.wh..wh..opq",
    "a/b/.wh..wh..opq",
    ".wh.",
    ".wh..",
    ".wh...",
    "a/.wh.",
    "a/.wh...",
    ".wh..wh.plnk",
    ".wh..wh.aufs/x",
    ".",
    "..",
    "",
    "a/.wh.b/c",
    ".wh.a/.wh.b",
    ".wh..wh..wh..opq",
    "canary",
    "b/canary",
];

thread_local! {
    static CAGE: OnceCell<Cage> = const { OnceCell::new() };
}

fuzz_target!(|data: &[u8]| {
    let Some((mode, entries)) = data.split_first() else {
        return;
    };
    let Ok(archive) = archive(entries) else {
        return;
    };
    let options = UnpackOptions {
        mode: if mode & 1 == 0 {
            ApplyMode::Layer
        } else {
            ApplyMode::Merged
        },
        bytes_max: 1 << 20,
        ..UnpackOptions::default()
    };
    CAGE.with(|cage| {
        let cage = cage.get_or_init(|| Cage::new("whiteouts"));
        let root = Dir::open(&cage.root()).expect("a root");
        let first = unpack(&archive[..], &root, &options);
        cage.check();
        if mode & 2 != 0 && first.is_ok() {
            let again = UnpackOptions {
                mode: ApplyMode::Merged,
                ..options
            };
            let _ = unpack(&archive[..], &root, &again);
            cage.check();
        }
        cage.clear();
    });
});

fn archive(entries: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut writer = TarWriter::new(Vec::new());
    for pair in entries.chunks_exact(2).take(ENTRIES_MAX) {
        let kind = match pair[0] % 7 {
            0 => Kind::File,
            1 => Kind::HardLink,
            2 => Kind::Symlink,
            3 => Kind::CharDevice,
            4 => Kind::Fifo,
            _ => Kind::Directory,
        };
        let is_link = matches!(kind, Kind::HardLink | Kind::Symlink);
        let target = NAMES[usize::from(pair[0] / 7) % NAMES.len()];
        let data: &[u8] = if kind == Kind::File { b"data" } else { b"" };
        let entry = Entry {
            path: NAMES[usize::from(pair[1]) % NAMES.len()]
                .as_bytes()
                .to_vec(),
            link: if is_link {
                target.as_bytes().to_vec()
            } else {
                Vec::new()
            },
            kind,
            mode: 0o755,
            size: data.len() as u64,
            ..Entry::default()
        };
        writer.append_bytes(&entry, data)?;
    }
    writer.finish()
}
