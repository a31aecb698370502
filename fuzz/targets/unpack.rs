//! Archives of any content unpacked in a cage: nothing outside may be touched. The first byte tells
//! how it is done.
#![no_main]

use std::cell::OnceCell;

use caisson_fuzz::Cage;
use libfuzzer_sys::fuzz_target;
use storage::layer::unpack::{ApplyMode, Replace, UnpackOptions, Whiteouts, unpack};
use storage::tar::Limits;
use sys::rootfs::Dir;

thread_local! {
    static CAGE: OnceCell<Cage> = const { OnceCell::new() };
}

fuzz_target!(|data: &[u8]| {
    let Some((mode, archive)) = data.split_first() else {
        return;
    };
    let mut archive = archive.to_vec();
    caisson_fuzz::repair_checksums(&mut archive);
    let is_set = |bit: u8| mode & (1 << bit) != 0;
    let options = UnpackOptions {
        mode: if is_set(0) {
            ApplyMode::Merged
        } else {
            ApplyMode::Layer
        },
        whiteouts: if is_set(1) {
            Whiteouts::Literal
        } else {
            Whiteouts::Apply
        },
        replace: if is_set(2) {
            Replace::SameKind
        } else {
            Replace::Anything
        },
        root_metadata: !is_set(3),
        owner: is_set(4).then_some((0, 0)),
        bytes_max: 1 << 20,
        limits: Limits {
            may_lack_end: true,
            entries_max: 64,
            ..Limits::default()
        },
        ..UnpackOptions::default()
    };
    CAGE.with(|cage| {
        let cage = cage.get_or_init(|| Cage::new("unpack"));
        let root = Dir::open(&cage.root()).expect("a root");
        let _ = unpack(&archive[..], &root, &options);
        cage.check();
        cage.clear();
    });
});
