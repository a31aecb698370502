//! Goal: what is packed and unpacked again is the same tree, and a layer of a real overlay stands
//! for the same changes. Method: round trips compared line by line; the kernel's overlayfs, mounted
//! in a mount namespace of its own, as the oracle.

use std::fs;
use std::path::Path;

use sys::rootfs::Dir;

use super::super::snapshot::{archive, outline, snapshot};
use super::super::unpack::tests::{furnish, run};
use super::super::unpack::{ApplyMode, UnpackOptions, Whiteouts, unpack};
use super::*;
use crate::tar::{Limits, TarReader};

const PLAIN: PackOptions = PackOptions {
    mode: PackMode::Plain,
    include_root: true,
    nanoseconds: true,
    mounts: super::Mounts::Enter,
};

fn pack(path: &Path, options: &PackOptions) -> Result<(Vec<u8>, PackReport), PackError> {
    let mut bytes = Vec::new();
    let report = pack_tree(Dir::open(path).unwrap().as_fd(), b"", &mut bytes, options)?;
    Ok((bytes, report))
}

fn entries(bytes: &[u8]) -> Vec<String> {
    let mut reader = TarReader::new(bytes, Limits::default());
    let mut entry = Entry::default();
    let mut all = Vec::new();
    while reader.next_entry(&mut entry).unwrap() {
        all.push(String::from_utf8_lossy(&entry.path).into_owned());
    }
    all
}

#[test]
fn a_tree_survives_packing_and_unpacking_and_packs_the_same_again() {
    let outer = tempfile::tempdir().unwrap();
    let (tree, copy) = (outer.path().join("tree"), outer.path().join("copy"));
    fs::create_dir(&tree).unwrap();
    fs::create_dir(&copy).unwrap();
    furnish(&tree);
    let socket = std::os::unix::net::UnixListener::bind(tree.join("ro/socket")).unwrap();
    let (bytes, report) = pack(&tree, &PLAIN).unwrap();
    drop(socket);
    run(
        "sh",
        &["-c", "rm ro/socket; touch -d '2010-10-10 10:10:10.1' ro"],
        &tree,
    );
    let (bytes_again, _) = pack(&tree, &PLAIN).unwrap();
    assert_eq!((report.sockets, report.vanished, report.shrunk), (1, 0, 0));
    let options = UnpackOptions {
        whiteouts: Whiteouts::Literal,
        ..UnpackOptions::default()
    };
    let unpacked = unpack(bytes_again.as_slice(), &Dir::open(&copy).unwrap(), &options).unwrap();
    assert_eq!(
        (unpacked.entries, unpacked.bytes),
        (report.entries, report.bytes)
    );
    assert_eq!(snapshot(&copy), snapshot(&tree));
    assert!(snapshot(&copy).len() > 20);
    assert!(
        pack(&copy, &PLAIN).unwrap().0 == bytes_again,
        "packing is not deterministic"
    );
    assert_ne!(bytes, bytes_again, "the time of ro differs");
    // GNU tar understands it too.
    let theirs = outer.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    fs::write(outer.path().join("t.tar"), &bytes_again).unwrap();
    let arguments = [
        "--xattrs",
        "--xattrs-include=*",
        "--numeric-owner",
        "-xpf",
        "../t.tar",
    ];
    if run("tar", &arguments, &theirs) {
        assert_eq!(snapshot(&theirs), snapshot(&tree));
    }
}

/// Mounts an overlay in its own mount namespace, runs the script in it, copies the merged tree.
pub(in crate::layer) fn in_overlay(outer: &Path, script: &str) -> bool {
    let options =
        "lowerdir=top:base,upperdir=upper,workdir=work,redirect_dir=off,metacopy=off,index=off";
    let whole = format!(
        "set -e; mkdir -p base top upper work merged; {LOWER}
         mount -t overlay overlay -o {options} merged
         (cd merged; {script}); cp -a merged result; umount merged"
    );
    run("unshare", &["-m", "sh", "-c", &whole], outer)
}

const LOWER: &str = "
    mkdir -p base/keep base/gone/deep base/replaced base/hidden/in base/meta;
    echo 1 > base/keep/same; echo 1 > base/keep/file; echo 1 > base/gone/deep/f; echo 1 > base/meta/f;
    echo 1 > base/replaced/old; echo 1 > base/replaced/both; echo 1 > base/hidden/in/f; ln -s keep base/link;
    echo 1 > base/linked; ln base/linked base/linked2; mkdir -p top/keep top/replaced;
    echo 2 > top/keep/top; mknod top/keep/masked c 0 0; echo x > base/keep/masked; echo 2 > top/replaced/top;
    find base top -exec touch -h -d 2020-01-01 {} +;";

pub(in crate::layer) const CHANGES: &str = "
    echo 2 >> keep/file; echo new > keep/new; rm -r gone; rm -r replaced; mkdir replaced; echo 3 > replaced/both;
    rm link; mkdir link; echo f > link/f; rm -r hidden; echo file > hidden; mkdir -p added/deep; echo f > added/deep/f;
    chmod 0700 meta; ln keep/file added/hard; mkfifo added/fifo; ln linked added/linked3;
    mknod added/null c 1 3; rm -r keep/top; touch keep/masked; mkdir tmp; rmdir tmp; echo x > .who; chown 1:2 .who";

#[test]
fn the_layer_of_a_real_overlay_stands_for_its_changes() {
    let outer = tempfile::tempdir().unwrap();
    if !in_overlay(outer.path(), CHANGES) {
        return;
    }
    let path = |name: &str| outer.path().join(name);
    let (bytes, report) = pack(&path("upper"), &PackOptions::default()).unwrap();
    let names = entries(&bytes);
    for name in [
        ".wh.gone",
        "replaced/.wh..wh..opq",
        "link/.wh..wh..opq",
        "hidden",
        "keep/.wh.top",
    ] {
        assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
    }
    assert_eq!(report.entries, names.len() as u64);
    let mut sorted = names.clone();
    sorted.sort_by(|a, b| {
        a.trim_end_matches('/')
            .split('/')
            .cmp(b.trim_end_matches('/').split('/'))
    });
    // A mark stands where the name it deletes would, all else is in order.
    sorted.retain(|name| !name.contains(".wh."));
    let unmarked: Vec<_> = names
        .iter()
        .filter(|name| !name.contains(".wh."))
        .cloned()
        .collect();
    assert_eq!(unmarked, sorted);
    // As a layer again: what overlayfs had written.
    fs::create_dir(path("again")).unwrap();
    unpack(
        bytes.as_slice(),
        &Dir::open(&path("again")).unwrap(),
        &UnpackOptions::default(),
    )
    .unwrap();
    assert_eq!(outline(&path("again")), outline(&path("upper")));
    assert!(pack(&path("again"), &PackOptions::default()).unwrap().0 == bytes);
    // Merged onto the lower trees: what a container saw.
    run(
        "sh",
        &[
            "-c",
            "cp -a base flat; rm flat/keep/masked; cp -a top/keep/top flat/keep; cp -a top/replaced/top flat/replaced",
        ],
        outer.path(),
    );
    let merged = UnpackOptions {
        mode: ApplyMode::Merged,
        ..UnpackOptions::default()
    };
    unpack(
        bytes.as_slice(),
        &Dir::open(&path("flat")).unwrap(),
        &merged,
    )
    .unwrap();
    let without_root = |name: &str| snapshot(&path(name)).split_off(1);
    assert_eq!(without_root("flat"), without_root("result"));
}

#[test]
fn trees_that_are_no_layer_are_refused_and_overlays_own_attributes_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("f");
    fs::write(&file, "x").unwrap();
    let set = |name: &str, value: &[u8]| {
        rustix::fs::setxattr(&file, name, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    set("trusted.overlay.origin", b"abc");
    set("trusted.overlay.impure", b"y");
    set("user.mine", b"1");
    let (bytes, _) = pack(directory.path(), &PackOptions::default()).unwrap();
    let mut reader = TarReader::new(bytes.as_slice(), Limits::default());
    let mut entry = Entry::default();
    assert!(reader.next_entry(&mut entry).unwrap());
    assert_eq!(entry.xattrs, [(b"user.mine".to_vec(), b"1".to_vec())]);
    for name in ["trusted.overlay.redirect", "trusted.overlay.metacopy"] {
        set(name, b"/elsewhere");
        let error = pack(directory.path(), &PackOptions::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(name), "{error}");
        assert!(pack(directory.path(), &PLAIN).is_ok());
        rustix::fs::removexattr(&file, name).unwrap();
    }
    fs::write(directory.path().join(".wh.x"), "").unwrap();
    let error = pack(directory.path(), &PackOptions::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("\".wh.x\""), "{error}");
    assert_eq!(
        entries(&pack(directory.path(), &PLAIN).unwrap().0),
        ["./", ".wh.x", "f"]
    );
}

#[test]
fn an_object_is_packed_under_another_name() {
    let outer = tempfile::tempdir().unwrap();
    let root = Dir::open(outer.path()).unwrap();
    let start = archive(&["d/", "d/e/f", "l>d", "f"]);
    let options = UnpackOptions {
        mode: ApplyMode::Merged,
        ..UnpackOptions::default()
    };
    unpack(start.as_slice(), &root, &options).unwrap();
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "d",
            "new/name",
            &["new/name/", "new/name/e/", "new/name/e/f"],
        ),
        ("l", "link", &["link"]),
        ("f", "g", &["g"]),
    ];
    for (name, to, expected) in cases {
        let mut bytes = Vec::new();
        pack_object(
            root.as_fd(),
            OsStr::new(name),
            to.as_bytes(),
            &mut bytes,
            &PLAIN,
        )
        .unwrap();
        assert_eq!(entries(&bytes), *expected);
    }
    let error = pack_object(root.as_fd(), OsStr::new("absent"), b"x", Vec::new(), &PLAIN);
    assert!(matches!(
        error,
        Err(PackError::Object {
            source: Errno::NOENT,
            ..
        })
    ));
}

#[test]
fn a_capability_of_the_true_root_is_written_as_revision_2() {
    let third = |root: u8| {
        let mut value = vec![1, 0, 0, 3];
        value.extend([9; 16]);
        value.extend([root, 0, 0, 0]);
        value
    };
    let mut second = vec![1, 0, 0, 2];
    second.extend([9; 16]);
    assert_eq!(portable_capability(third(0)), second);
    assert_eq!(portable_capability(third(5)), third(5));
    assert_eq!(portable_capability(second.clone()), second);
    assert_eq!(portable_capability(Vec::new()), Vec::<u8>::new());
}

#[test]
fn a_layer_too_deep_for_a_path_is_refused_and_a_plain_tree_is_not() {
    let outer = tempfile::tempdir().unwrap();
    let root = Dir::open(outer.path()).unwrap();
    let mut ladder = Ladder::new(root.as_fd()).unwrap();
    for _ in 0..2_200 {
        rustix::fs::mkdirat(ladder.current(), "d", Mode::from_raw_mode(0o755)).unwrap();
        ladder.down(OsStr::new("d")).unwrap();
    }
    let error = pack(outer.path(), &PackOptions::default())
        .map(|(bytes, _)| bytes.len())
        .unwrap_err();
    assert!(matches!(error, PackError::PathTooLong { .. }), "{error}");
    // What is read level by level holds any depth.
    assert!(pack(outer.path(), &PLAIN).is_ok());
    sys::rootfs::remove_contents(root.as_fd()).unwrap();
}
