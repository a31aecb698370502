//! Archives of `docker save` and OCI layouts. The pieces are members (their names below); each is
//! also a blob by its digest, and `@3@` and `#3#` in a piece stand for the digest and the size of
//! piece 3, which must come later. So a mutation reaches what lies behind the digests.
#![no_main]

use std::cell::OnceCell;

use caisson_fuzz::{Cage, pieces, sha256};
use engine::config::Config;
use engine::image::ImageContext;
use engine::image::load::{LoadOptions, load};
use engine::observer::Silent;
use libfuzzer_sys::fuzz_target;
use storage::store::Store;
use storage::tar::{Entry, TarWriter};

const NAMES: [&str; 8] = [
    "manifest.json",
    "index.json",
    "repositories",
    "config.json",
    "layer.tar",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/json",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/layer.tar",
    "oci-layout",
];
/// Placeholders could make a piece grow.
const PIECE_BYTES_MAX: usize = 64 << 10;

thread_local! {
    static CAGE: OnceCell<Cage> = const { OnceCell::new() };
}

fuzz_target!(|data: &[u8]| {
    let Ok(archive) = archive(&pieces(data)) else {
        return;
    };
    CAGE.with(|cage| {
        let cage = cage.get_or_init(|| Cage::new("archives"));
        let root = cage.root();
        let store = Store::open(&root.join("store"), &root.join("run")).expect("a store");
        let config = Config::default();
        let context = ImageContext::new(&store, &config);
        let loaded = load(&context, &archive[..], &LoadOptions::default(), &Silent);
        cage.check();
        // A store that holds something is not like a new one; a refused archive leaves nothing.
        if loaded.is_ok() {
            cage.clear();
        }
    });
});

fn archive(pieces: &[&[u8]]) -> std::io::Result<Vec<u8>> {
    let mut members: Vec<Vec<u8>> = pieces
        .iter()
        .take(NAMES.len())
        .map(|piece| piece.to_vec())
        .collect();
    for at in (0..members.len()).rev() {
        let (before, after) = members.split_at_mut(at + 1);
        for (offset, later) in after.iter().enumerate() {
            let number = at + 1 + offset;
            replace(&mut before[at], &format!("@{number}@"), &sha256(later));
            replace(
                &mut before[at],
                &format!("#{number}#"),
                &later.len().to_string(),
            );
        }
    }
    let mut writer = TarWriter::new(Vec::new());
    for (name, bytes) in NAMES.iter().zip(&members) {
        if bytes.is_empty() {
            continue;
        }
        for name in [
            (*name).to_owned(),
            format!("blobs/sha256/{}", sha256(bytes)),
        ] {
            let entry = Entry {
                path: name.into_bytes(),
                mode: 0o644,
                size: bytes.len() as u64,
                ..Entry::default()
            };
            writer.append_bytes(&entry, bytes)?;
        }
    }
    writer.finish()
}

/// Replaces text; a piece that is no text or too long stays.
fn replace(piece: &mut Vec<u8>, from: &str, to: &str) {
    let Ok(text) = std::str::from_utf8(piece) else {
        return;
    };
    if text.contains(from) && text.len() * to.len() <= PIECE_BYTES_MAX * 8 {
        *piece = text.replace(from, to).into_bytes();
    }
}
