//! Goal: every archive ends as it should and none touches the host. Method: short archives with the
//! tree they must give; the corpus of hostile ones with canaries outside; GNU tar as the oracle.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::XattrFlags;

use super::super::snapshot::{archive, outline, snapshot, xattrs};
use super::*;
use crate::tar::TarWriter;

fn unpack_at(
    path: &Path,
    bytes: &[u8],
    options: &UnpackOptions,
) -> Result<UnpackReport, UnpackError> {
    unpack(bytes, &Dir::open(path).unwrap(), options)
}

fn names(paths: &[PathBuf]) -> Vec<&str> {
    paths.iter().map(|path| path.to_str().unwrap()).collect()
}

#[test]
fn a_layer_becomes_a_directory_for_overlayfs() {
    // The archive, the tree, the directories it implies, the links it cannot resolve.
    type Case = (
        &'static [&'static str],
        &'static [&'static str],
        &'static [&'static str],
        &'static [&'static str],
    );
    let cases: &[Case] = &[
        (
            &["a/", "a/f", "a/g=a/f", "s>a"],
            &["a d", "a/f f", "a/g f", "s l"],
            &[],
            &[],
        ),
        (
            &["/etc/f", "../../g", "x/../h"],
            &["etc d", "etc/f f", "g f", "h f"],
            &["etc"],
            &[],
        ),
        // Deletions.
        (
            &["a/.wh.x", ".wh.y"],
            &["a d", "a/x c0", "y c0"],
            &["a"],
            &[],
        ),
        (
            &["a/", "a/.wh..wh..opq", "a/f"],
            &["a d!", "a/f f"],
            &[],
            &[],
        ),
        (&["a/f", "a/.wh..wh..opq"], &["a d!", "a/f f"], &["a"], &[]),
        (&[".wh..wh..opq", "f"], &["f f"], &[], &[]),
        (
            &[".wh..wh.plnk/", ".wh..wh.plnk/1", ".wh..wh.aufs", "f"],
            &["f f"],
            &[],
            &[],
        ),
        // A deletion only concerns lower layers, in whatever order.
        (
            &["f", ".wh.f", "d/", "d/g", ".wh.d"],
            &["d d!", "d/g f", "f f"],
            &[],
            &[],
        ),
        (
            &[".wh.f", "f", ".wh.d", "d/", "d/g"],
            &["d d!", "d/g f", "f f"],
            &[],
            &[],
        ),
        (
            &[".wh.d", "d/e/g"],
            &["d d!", "d/e d", "d/e/g f"],
            &["d", "d/e"],
            &[],
        ),
        (
            &["s>d", ".wh.d", "s/g"],
            &["d d!", "d/g f", "s l"],
            &["d"],
            &[],
        ),
        // The later entry counts.
        (&["x/", "x/f", "x"], &["x f"], &[], &[]),
        (&["x", "x/", "x/f"], &["x d!", "x/f f"], &[], &[]),
        (&["x>/etc", "x"], &["x f"], &[], &[]),
        (&["x>y", "x/", "x/f"], &["x d!", "x/f f"], &[], &[]),
        (
            &["d/", "d/f", "d>e", "d/g"],
            &["d l", "e d", "e/g f"],
            &["e"],
            &[],
        ),
        (&["p|", "p"], &["p f"], &[], &[]),
        (&["x/f", "x", "x"], &["x f"], &[], &[]),
        // Links are resolved within the root.
        (
            &["x>/tmp", "x/f"],
            &["tmp d", "tmp/f f", "x l"],
            &["tmp"],
            &[],
        ),
        (
            &["a/", "a/b>../../../../tmp", "a/b/f"],
            &["a d", "a/b l", "tmp d", "tmp/f f"],
            &["tmp"],
            &[],
        ),
        (
            &["a>.", "a/b>..", "a/b/b/b/tmp/f"],
            &["a l", "b l", "tmp d", "tmp/f f"],
            &["tmp"],
            &[],
        ),
        // Hard links.
        (&["h=/etc/passwd", "f"], &["f f"], &[], &["h"]),
        (&["h=../../../etc/passwd"], &[], &[], &["h"]),
        (&["s>/etc/passwd", "h=s", "h"], &["h f", "s l"], &[], &[]),
        (&["f", "f=f"], &["f f"], &[], &[]),
        (&["f", "g=f", "g=f"], &["f f", "g f"], &[], &[]),
        (&["d/f", "d=d/f"], &[], &[], &["d"]),
        (&[".wh.f", "h=f"], &["f c0"], &[], &["h"]),
        (
            &["a/", "a/f", "s>a", "h=s/f"],
            &["a d", "a/f f", "h f", "s l"],
            &[],
            &[],
        ),
        // The root only gets metadata.
        (&["./", "/", ".", "f"], &["f f"], &[], &[]),
    ];
    for (words, tree, implied, unresolved) in cases {
        let directory = tempfile::tempdir().unwrap();
        let report =
            unpack_at(directory.path(), &archive(words), &UnpackOptions::default()).unwrap();
        assert_eq!(outline(directory.path()), *tree, "{words:?}");
        assert_eq!(names(&report.implied_dirs), *implied, "{words:?}");
        assert_eq!(
            names(&report.unresolved_hardlinks),
            *unresolved,
            "{words:?}"
        );
        assert_eq!(report.entries, words.len() as u64);
        assert_eq!(report.opaque_root, words[0] == ".wh..wh..opq");
    }
}

#[test]
fn an_archive_is_merged_into_a_tree() {
    let literal = UnpackOptions {
        mode: ApplyMode::Merged,
        whiteouts: Whiteouts::Literal,
        ..UnpackOptions::default()
    };
    let apply = UnpackOptions {
        whiteouts: Whiteouts::Apply,
        ..literal.clone()
    };
    let based = UnpackOptions {
        base: "/s/in".into(),
        root_metadata: false,
        ..literal.clone()
    };
    // Before: d/{e/f,g} and the link s -> d.
    let before = ["d d", "d/e d", "d/e/f f", "d/g f", "d/in d", "s l"];
    type Case<'a> = (&'a [&'a str], &'a UnpackOptions, &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        (
            &[".wh.d"],
            &literal,
            &[
                ".wh.d f", "d d", "d/e d", "d/e/f f", "d/g f", "d/in d", "s l",
            ],
        ),
        (&[".wh.d", ".wh.s", ".wh.absent"], &apply, &[]),
        (
            &["s/.wh.g", "d/.wh.e", "absent/.wh.x"],
            &apply,
            &["d d", "d/in d", "s l"],
        ),
        (
            &["d/new", "d/.wh..wh..opq"],
            &apply,
            &["d d", "d/new f", "s l"],
        ),
        (
            &["d/.wh..wh..opq", "d/e/new"],
            &apply,
            &["d d", "d/e d", "d/e/new f", "s l"],
        ),
        (
            &["d/e/new", ".wh.d"],
            &apply,
            &["d d", "d/e d", "d/e/new f", "s l"],
        ),
        (
            &["s/g=d/e/f", "h=/s/e/f"],
            &apply,
            &["d d", "d/e d", "d/e/f f", "d/g f", "d/in d", "h f", "s l"],
        ),
        (
            &["s/"],
            &apply,
            &["d d", "d/e d", "d/e/f f", "d/g f", "d/in d", "s d"],
        ),
        (
            &["./", "../../f", "/abs", "l>/d/g"],
            &based,
            &[
                "d d",
                "d/e d",
                "d/e/f f",
                "d/g f",
                "d/in d",
                "d/in/abs f",
                "d/in/f f",
                "d/in/l l",
                "s l",
            ],
        ),
    ];
    for (words, options, tree) in cases {
        let directory = tempfile::tempdir().unwrap();
        let start = archive(&["d/e/f", "d/g", "d/in/", "s>d"]);
        unpack_at(directory.path(), &start, &literal).unwrap();
        assert_eq!(outline(directory.path()), before);
        unpack_at(directory.path(), &archive(words), options).unwrap();
        assert_eq!(outline(directory.path()), *tree, "{words:?}");
    }
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let merged = UnpackOptions {
        mode: ApplyMode::Merged,
        ..UnpackOptions::default()
    };
    let strict = UnpackOptions {
        replace: Replace::SameKind,
        ..merged.clone()
    };
    let small = UnpackOptions {
        bytes_max: 3,
        ..UnpackOptions::default()
    };
    let few = UnpackOptions {
        limits: Limits {
            entries_max: 5,
            ..Limits::default()
        },
        ..UnpackOptions::default()
    };
    let owner = UnpackOptions {
        base: "absent".into(),
        ..UnpackOptions::default()
    };
    let default = UnpackOptions::default();
    let cases: &[(&[&str], &UnpackOptions, &str)] = &[
        (&["a/.wh..."], &default, "deletes no name"),
        (&[".wh."], &default, "deletes no name"),
        (&[".wh..."], &merged, "deletes no name"),
        (
            &["f", "f/g"],
            &default,
            "cannot make directory \"f\": Not a directory",
        ),
        (&["d/", "h=d"], &default, "cannot link \"h\""),
        (
            &["h=f"],
            &merged,
            "cannot link \"h\" to \"f\": there is no such file",
        ),
        (&["x>"], &default, "cannot make \"x\""),
        (&["d/", "d"], &strict, "cannot overwrite \"d\""),
        (&["f", "f/"], &strict, "cannot overwrite \"f\""),
        (&["a", "bcd"], &small, "the size of all files exceeds 3"),
        (
            &["a/b/c/d/e/f"],
            &few,
            "the number of files and directories exceeds 5",
        ),
        (&["f"], &owner, "cannot open directory \"absent\""),
        (&["l>l", "l/f"], &default, "Too many levels"),
    ];
    for (words, options, text) in cases {
        let directory = tempfile::tempdir().unwrap();
        let error = unpack_at(directory.path(), &archive(words), options)
            .unwrap_err()
            .to_string();
        assert!(error.contains(text), "{words:?}: {error}");
    }
    let error = UnpackError::UnknownKind {
        path: to_path(b"\x1b[2J"),
        flag: 'M',
    }
    .to_string();
    assert!(!error.contains('\x1b'), "{error}");
}

#[test]
fn owners_modes_times_and_attributes_are_those_of_the_entry() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = TarWriter::new(Vec::new());
    let time = Time {
        seconds: 1_600_000_000,
        nanoseconds: 123_456_789,
    };
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    let xattrs_of_image = vec![
        (b"security.capability".to_vec(), capability),
        (b"trusted.x".to_vec(), b"1".to_vec()),
        (b"user.empty".to_vec(), Vec::new()),
    ];
    let mut all = xattrs_of_image.clone();
    for foreign in [
        "trusted.overlay.redirect",
        "trusted.overlay.opaque",
        "user.overlay.opaque",
        "security.selinux",
        "system.posix_acl_access",
    ] {
        all.push((foreign.into(), b"y".to_vec()));
    }
    let base = Entry {
        uid: 12,
        gid: 34,
        mtime: time,
        mode: 0o6755,
        ..Entry::default()
    };
    let kinds = [
        ("d", Kind::Directory, all.clone()),
        ("d/f", Kind::File, all),
        ("d/s", Kind::Symlink, xattrs_of_image[1..2].to_vec()),
        ("d/p", Kind::Fifo, xattrs_of_image[1..2].to_vec()),
        ("d/c", Kind::CharDevice, Vec::new()),
        ("d/b", Kind::BlockDevice, Vec::new()),
        (
            "bad",
            Kind::File,
            vec![(b"security.capability".to_vec(), b"junk".to_vec())],
        ),
    ];
    for (path, kind, xattrs) in kinds {
        let link = if kind == Kind::Symlink {
            b"/etc/passwd".to_vec()
        } else {
            Vec::new()
        };
        let device = if matches!(kind, Kind::CharDevice | Kind::BlockDevice) {
            (1, 300)
        } else {
            (0, 0)
        };
        writer
            .append(&Entry {
                path: path.into(),
                kind,
                xattrs,
                link,
                device,
                ..base.clone()
            })
            .unwrap();
    }
    let report = unpack_at(
        directory.path(),
        &writer.finish().unwrap(),
        &UnpackOptions::default(),
    )
    .unwrap();
    assert_eq!(report.xattrs_refused, 1);
    let lines = snapshot(directory.path());
    assert_eq!(lines.len(), 8);
    for line in &lines[1..] {
        let mode = if line.contains(" link ") {
            "777"
        } else {
            "6755"
        };
        let expected = format!(" {mode} 12:34 1600000000.123456789 ");
        assert!(line.contains(&expected), "{line}");
        assert!(
            !line.contains("overlay") && !line.contains("selinux"),
            "{line}"
        );
    }
    for path in ["d", "d/f"] {
        let found: Vec<String> = xattrs(&directory.path().join(path))
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(found, ["security.capability", "trusted.x", "user.empty"]);
    }
    assert_eq!(
        xattrs(&directory.path().join("d/p")),
        [("trusted.x".into(), "1".into())]
    );
    assert_eq!(
        xattrs(&directory.path().join("d/s")),
        [("trusted.x".into(), "1".into())]
    );
    let owned = UnpackOptions {
        owner: Some((7, 8)),
        mode: ApplyMode::Merged,
        ..UnpackOptions::default()
    };
    unpack_at(directory.path(), &archive(&["d/f"]), &owned).unwrap();
    let meta = fs::metadata(directory.path().join("d/f")).unwrap();
    assert_eq!(
        (meta.uid(), meta.gid(), meta.mode() & 0o7777),
        (7, 8, 0o644)
    );
}

#[test]
fn implied_directories_do_not_inherit_a_group_and_files_have_theirs() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = TarWriter::new(Vec::new());
    let set_gid = Entry {
        path: b"d".to_vec(),
        kind: Kind::Directory,
        gid: 99,
        mode: 0o2755,
        ..Entry::default()
    };
    writer.append(&set_gid).unwrap();
    for path in ["d/f", "d/e/f"] {
        writer
            .append(&Entry {
                path: path.into(),
                mode: 0o664,
                ..Entry::default()
            })
            .unwrap();
    }
    unpack_at(
        directory.path(),
        &writer.finish().unwrap(),
        &UnpackOptions::default(),
    )
    .unwrap();
    for (path, mode, gid) in [
        ("d", 0o2755, 99),
        ("d/f", 0o664, 0),
        ("d/e", 0o755, 0),
        ("d/e/f", 0o664, 0),
    ] {
        let meta = fs::metadata(directory.path().join(path)).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.gid()), (mode, gid), "{path}");
    }
}

/// What the hostile archives are after.
fn host_canary() -> Vec<String> {
    let mut seen = Vec::new();
    for path in [
        "/etc/passwd",
        "/etc/shadow",
        "/etc",
        "/proc/sys/kernel/core_pattern",
        "/proc/self/exe",
    ] {
        let meta = fs::metadata(path).unwrap();
        seen.push(format!(
            "{path} {} {:o} {} {}",
            meta.ino(),
            meta.mode(),
            meta.uid(),
            meta.nlink()
        ));
    }
    seen.push(fs::read_to_string("/etc/passwd").unwrap());
    seen.push(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap());
    for entry in fs::read_dir("/tmp").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.contains("evil") {
            seen.push(name);
        }
    }
    seen
}

#[test]
fn hostile_archives_obey_their_verdicts_and_never_touch_the_host() {
    let Some(corpus) = crate::corpus::corpus("evil") else {
        return;
    };
    let manifest = fs::read(corpus.join("manifest.json")).unwrap();
    let cases: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    // The archives name this very file, so another run of this test must not remove it meanwhile.
    let lock = fs::File::create("/tmp/caisson-canary.lock").unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    fs::write("/tmp/evil-victim", "canary").unwrap();
    let before = host_canary();
    let mut count = 0;
    for case in cases.as_array().unwrap() {
        let file = case["file"].as_str().unwrap();
        if file.starts_with("load-") || file.starts_with("oci-") {
            continue;
        }
        count += 1;
        let bytes = fs::read(corpus.join(file)).unwrap();
        for mode in [ApplyMode::Layer, ApplyMode::Merged] {
            let outer = tempfile::tempdir().unwrap();
            let root = outer.path().join("a/b/root");
            fs::create_dir_all(&root).unwrap();
            let start = Instant::now();
            let answer = unpack_at(
                &root,
                &bytes,
                &UnpackOptions {
                    mode,
                    ..UnpackOptions::default()
                },
            );
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "{file} took too long"
            );
            if case["verdict"] == "reject" {
                assert!(answer.is_err(), "{file} was not refused");
            }
            assert_eq!(host_canary(), before, "{file} reached the host");
            assert_eq!(
                fs::read_dir(outer.path().join("a/b")).unwrap().count(),
                1,
                "{file}"
            );
            assert_eq!(fs::metadata(&root).unwrap().mode() & 0o700, 0o700, "{file}");
            // Whatever was made can be removed again, also 2,000 levels deep.
            sys::rootfs::remove_contents(Dir::open(&root).unwrap().as_fd()).unwrap();
            assert_eq!(fs::read_dir(&root).unwrap().count(), 0, "{file}");
        }
    }
    assert!(count >= 20, "only {count} archives");
    fs::remove_file("/tmp/evil-victim").unwrap();
}

pub(in crate::layer) fn run(program: &str, arguments: &[&str], directory: &Path) -> bool {
    match Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
    {
        Ok(output) if output.status.success() => true,
        Ok(output) => panic!(
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && directory.exists() => {
            println!("skipped: no {program}");
            false
        }
        Err(error) => panic!("{program} in {}: {error}", directory.display()),
    }
}

/// A tree with one of everything.
pub(in crate::layer) fn furnish(tree: &Path) {
    let script = r#"
        umask 022
        mkdir -p "dir/sub dir" ro setgid "$(printf 'd%.0s' $(seq 150))/$(printf 'e%.0s' $(seq 150))"
        echo hello > dir/file; ln dir/file dir/hard; ln dir/file "dir/sub dir/hard2"
        ln -s file dir/link; ln -s /etc/passwd abs; ln -s "$(printf 'l%.0s' $(seq 300))" longlink
        ln dir/link dir/hardlink-of-link
        echo long > "$(printf 'd%.0s' $(seq 150))/$(printf 'e%.0s' $(seq 150))/$(printf 'f%.0s' $(seq 200))"
        printf 'b' > "$(printf 'caf\351 \001')"
        echo suid > suid; chown 1000:2000 suid; chmod 6755 suid
        echo big > ids; chown 3000000:4000000 ids
        chmod 1777 dir; chmod 0555 ro; chown 5:6 setgid; chmod 2775 setgid; : > empty; chmod 0 empty
        mknod null c 1 3; mknod disk b 8 300; mkfifo fifo; chmod 0666 null
        truncate -s 3000000 sparse; echo end >> sparse; printf x | dd of=sparse bs=1 seek=1000000 conv=notrunc 2>/dev/null
        head -c 700000 /dev/urandom > random
        touch -d '1980-02-03 04:05:06.789' dir/file; touch -d '1960-01-01 00:00:00.5' empty
        touch -h -d '2001-01-01 01:01:01.000000001' dir/link; touch -d '2010-10-10 10:10:10.1' dir ro .
    "#;
    run("sh", &["-c", script], tree);
    let set = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::lsetxattr(tree.join(path), name, value, XattrFlags::empty()).unwrap();
    };
    set("random", "user.note", b"\0bytes\n=");
    set("dir", "trusted.dir", b"1");
    set(
        "suid",
        "security.capability",
        b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    );
    set("dir/link", "trusted.link", &[7; 3000]);
}

#[test]
fn we_unpack_as_gnu_tar_does() {
    let outer = tempfile::tempdir().unwrap();
    let tree = outer.path().join("tree");
    fs::create_dir(&tree).unwrap();
    furnish(&tree);
    let formats: &[&[&str]] = &[
        &["--format=pax", "-S", "--xattrs", "--xattrs-include=*"],
        &[
            "--format=pax",
            "-S",
            "--sparse-version=0.1",
            "--xattrs",
            "--xattrs-include=*",
        ],
        &["--format=gnu", "-S"],
        &["--format=gnu"],
    ];
    for (index, format) in formats.iter().enumerate() {
        let tar = outer.path().join("t.tar");
        let tar = tar.to_str().unwrap();
        if !run("tar", &[format, &["-cf", tar, "."][..]].concat(), &tree) {
            return;
        }
        let (theirs, ours) = (
            outer.path().join(format!("t{index}")),
            outer.path().join(format!("o{index}")),
        );
        fs::create_dir(&theirs).unwrap();
        fs::create_dir(&ours).unwrap();
        run(
            "tar",
            &[
                "--xattrs",
                "--xattrs-include=*",
                "--numeric-owner",
                "-xpf",
                tar,
            ],
            &theirs,
        );
        unpack_at(&ours, &fs::read(tar).unwrap(), &UnpackOptions::default()).unwrap();
        let expected = snapshot(&theirs);
        assert!(expected.len() > 20, "{expected:?}");
        assert_eq!(snapshot(&ours), expected, "{format:?}");
        let used = fs::metadata(ours.join("sparse")).unwrap().blocks();
        assert!(
            !format.contains(&"-S") || used < 100,
            "{format:?}: {used} blocks"
        );
    }
}

#[test]
fn a_container_that_exchanges_a_directory_by_a_link_gains_nothing() {
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("root");
    fs::create_dir_all(root.join("d")).unwrap();
    fs::create_dir(outer.path().join("host")).unwrap();
    std::os::unix::fs::symlink(outer.path().join("host"), root.join("l")).unwrap();
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let racer = std::thread::spawn({
        let (done, dir) = (done.clone(), Dir::open(&root).unwrap());
        move || {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let _ = rustix::fs::renameat_with(&dir, "d", &dir, "l", flags);
            }
        }
    });
    let bytes = archive(&[
        "d/", "d/f", "d/x/", "d/x/p|", "d/s>t", "d/h=d/f", "d/x/g", "d/.wh.f",
    ]);
    let options = UnpackOptions {
        mode: ApplyMode::Merged,
        ..UnpackOptions::default()
    };
    for _ in 0..500 {
        let _ = unpack_at(&root, &bytes, &options);
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    racer.join().unwrap();
    assert_eq!(fs::read_dir(outer.path().join("host")).unwrap().count(), 0);
}

/// Not a check: prints how long we and GNU tar take. `cargo test --release -- --ignored speed`.
#[test]
#[ignore = "a measurement"]
fn speed_beside_gnu_tar() {
    let outer = tempfile::tempdir().unwrap();
    let Ok(tar) = std::env::var("CAISSON_BENCH_TAR") else {
        return;
    };
    for round in 0..5 {
        let (ours, theirs) = (
            outer.path().join(format!("o{round}")),
            outer.path().join(format!("t{round}")),
        );
        fs::create_dir(&ours).unwrap();
        fs::create_dir(&theirs).unwrap();
        let start = Instant::now();
        let file = fs::File::open(&tar).unwrap();
        unpack(file, &Dir::open(&ours).unwrap(), &UnpackOptions::default()).unwrap();
        let mine = start.elapsed();
        let start = Instant::now();
        run("tar", &["-xpf", &tar], &theirs);
        println!("ours {mine:?}, tar {:?}", start.elapsed());
    }
}
