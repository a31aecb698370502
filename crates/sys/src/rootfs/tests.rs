//! Goal: no path leaves the root, by openat2 and by the walk alike. Method: one table of paths over
//! a tree full of links, with a canary directory outside.

use super::*;
use std::os::unix::fs::symlink;

struct Fixture {
    base: PathBuf,
}

impl Fixture {
    fn new(name: &str) -> Self {
        let base =
            std::env::temp_dir().join(format!("caisson-rootfs-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&base);
        std::fs::create_dir_all(base.join("root/a/b")).unwrap();
        std::fs::create_dir_all(base.join("outside")).unwrap();
        std::fs::write(base.join("outside/secret"), "host").unwrap();
        std::fs::write(base.join("root/a/file"), "image").unwrap();
        let link =
            |target: &str, name: &str| symlink(target, base.join("root").join(name)).unwrap();
        link("/a", "abs");
        link("../../../../../outside", "escape");
        link(base.join("outside").to_str().unwrap(), "host");
        link("b/../file", "a/tofile");
        link("loop2", "loop1");
        link("loop1", "loop2");
        link("/new/deep", "dangling");
        link("/proc/self/root", "magic");
        Self { base }
    }

    fn root(&self) -> Dir {
        Dir::open(&self.base.join("root")).unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.base);
    }
}

fn id(fd: &OwnedFd) -> (u64, u64) {
    let stat = rustix::fs::fstat(fd).unwrap();
    (stat.st_dev, stat.st_ino)
}

#[test]
fn openat2_and_the_walk_find_the_same_and_never_leave_the_root() {
    let fixture = Fixture::new("table");
    let root = fixture.root();
    let in_root = |path: &str| {
        let file = std::fs::File::open(fixture.base.join("root").join(path)).unwrap();
        Some(id(&OwnedFd::from(file)))
    };
    let cases: &[(&str, Option<&str>, Errno)] = &[
        ("", Some(""), Errno::IO),
        ("/", Some(""), Errno::IO),
        ("..", Some(""), Errno::IO),
        ("../../..", Some(""), Errno::IO),
        ("a/..", Some(""), Errno::IO),
        ("a/b/../b", Some("a/b"), Errno::IO),
        ("abs/b", Some("a/b"), Errno::IO),
        ("/abs/../abs/b/..", Some("a"), Errno::IO),
        ("abs/tofile", Some("a/file"), Errno::IO),
        ("a/tofile", Some("a/file"), Errno::IO),
        ("escape", None, Errno::NOENT),
        ("escape/secret", None, Errno::NOENT),
        ("host", None, Errno::NOENT),
        ("host/secret", None, Errno::NOENT),
        ("../outside/secret", None, Errno::NOENT),
        ("loop1", None, Errno::LOOP),
        ("loop1/x", None, Errno::LOOP),
        ("a/file/x", None, Errno::NOTDIR),
        ("dangling", None, Errno::NOENT),
        ("magic/etc", None, Errno::NOENT),
        ("a\0b", None, Errno::INVAL),
    ];
    for (path, expected, errno) in cases {
        let at_once = root
            .resolve_at_once(Path::new(path), OFlags::PATH, 0)
            .unwrap();
        let walked = root.resolve_by_walk("find", Path::new(path), OFlags::PATH, 0);
        match expected {
            Some(place) => {
                assert_eq!(
                    Some(id(&at_once.unwrap())),
                    in_root(place),
                    "openat2 {path:?}"
                );
                assert_eq!(Some(id(&walked.unwrap())), in_root(place), "walk {path:?}");
            }
            None => {
                assert_eq!(at_once.unwrap_err(), *errno, "openat2 {path:?}");
                assert_eq!(walked.unwrap_err().errno, *errno, "walk {path:?}");
            }
        }
    }
    for flags in [
        OFlags::PATH | OFlags::NOFOLLOW,
        OFlags::RDONLY | OFlags::NOFOLLOW,
    ] {
        let at_once = root.resolve_at_once(Path::new("abs"), flags, 0).unwrap();
        let walked = root.resolve_by_walk("find", Path::new("abs"), flags, 0);
        assert_eq!(
            at_once.map(|fd| id(&fd)),
            walked.map(|fd| id(&fd)).map_err(|e| e.errno)
        );
    }
}

#[test]
fn beneath_a_root_links_that_stay_are_followed_and_others_refused() {
    let fixture = Fixture::new("beneath");
    let root = fixture.root();
    symlink("a/b", fixture.base.join("root/near")).unwrap();
    let found = root.open_path_beneath(Path::new("near/../tofile")).unwrap();
    let file = std::fs::File::open(fixture.base.join("root/a/file")).unwrap();
    assert_eq!(id(&found), id(&file.into()));
    for (path, errno) in [
        ("escape/secret", Errno::XDEV),
        ("host/secret", Errno::XDEV),
        ("abs/b", Errno::XDEV),
        ("magic/etc", Errno::XDEV),
        ("a/../..", Errno::XDEV),
        ("none", Errno::NOENT),
        ("loop1", Errno::LOOP),
    ] {
        let error = root.open_path_beneath(Path::new(path)).unwrap_err();
        assert_eq!(error.errno, errno, "{path}");
    }
}

#[test]
fn directories_and_mount_places_are_made_where_links_lead_within_the_root() {
    let fixture = Fixture::new("make");
    let root = fixture.root();
    let mut made = Vec::new();
    let fd = root
        .mkdir_all_reporting(Path::new("dangling/x/../y"), 0o750, &mut |path| {
            made.push(path.to_path_buf());
        })
        .unwrap();
    assert_eq!(
        made,
        ["new", "new/deep", "new/deep/x", "new/deep/y"].map(PathBuf::from)
    );
    let place = std::fs::File::open(fixture.base.join("root/new/deep/y")).unwrap();
    assert_eq!(id(&fd), id(&OwnedFd::from(place)));
    assert_eq!(rustix::fs::fstat(&fd).unwrap().st_mode & 0o7777, 0o750);
    root.mkdir_all(Path::new("escape/in"), 0o755).unwrap();
    root.create_file_for_mount(Path::new("host/file")).unwrap();
    assert!(!fixture.base.join("outside/in").exists());
    assert!(!fixture.base.join("outside/file").exists());
    assert!(fixture.base.join("root/outside/in").is_dir());
    let error = root.mkdir_all(Path::new("abs/file/x"), 0o755).unwrap_err();
    assert_eq!(
        (error.errno, error.path),
        (Errno::NOTDIR, PathBuf::from("a/file"))
    );
    let error = root.create_file_for_mount(Path::new("a/b")).unwrap_err();
    assert_eq!(error.errno, Errno::ISDIR);
    symlink("made-by-link", fixture.base.join("root/a/tomake")).unwrap();
    root.create_file_for_mount(Path::new("abs/tomake")).unwrap();
    assert!(fixture.base.join("root/a/made-by-link").is_file());
    let text = root
        .mkdir_all(Path::new("loop1/x"), 0o755)
        .unwrap_err()
        .to_string();
    assert!(text.starts_with("cannot make directory"), "{text}");
}

#[test]
fn reading_is_limited_and_never_blocks() {
    let fixture = Fixture::new("read");
    let root = fixture.root();
    let fifo = fixture.base.join("root/fifo");
    rustix::fs::mkfifoat(CWD, &fifo, Mode::from_raw_mode(0o644)).unwrap();
    std::fs::write(fixture.base.join("root/binary"), [0xff, 0xfe]).unwrap();
    let cases: &[(&str, usize, Result<&str, Errno>)] = &[
        ("a/tofile", 5, Ok("image")),
        ("a/tofile", 4, Err(Errno::FBIG)),
        ("fifo", 100, Err(Errno::INVAL)),
        ("a", 100, Err(Errno::INVAL)),
        ("host/secret", 100, Err(Errno::NOENT)),
        ("binary", 100, Err(Errno::ILSEQ)),
    ];
    for (path, max, expected) in cases {
        let answer = root.read_to_string_limited(Path::new(path), *max);
        assert_eq!(answer.as_deref().map_err(|e| e.errno), *expected, "{path}");
    }
}

#[test]
fn parents_are_split_by_text_and_resolved_in_root() {
    let cases: &[(&str, Option<(&str, &str)>)] = &[
        ("a", Some(("", "a"))),
        ("/a", Some(("/", "a"))),
        ("a/b//", Some(("a/", "b"))),
        ("a/b/.", Some(("a/", "b"))),
        ("a/../b", Some(("a/../", "b"))),
        ("", None),
        ("/", None),
        ("./", None),
        ("a/..", None),
    ];
    for (path, expected) in cases {
        let expected = expected.map(|(parent, name)| (Path::new(parent), OsStr::new(name)));
        assert_eq!(split_last(Path::new(path)), expected, "{path}");
    }
    let fixture = Fixture::new("parent");
    let (parent, name) = fixture.root().open_parent(Path::new("abs/tofile")).unwrap();
    assert_eq!(name, "tofile");
    let stat = stat_nofollow(parent.as_fd(), &name).unwrap();
    assert_eq!(FileType::from_raw_mode(stat.st_mode), FileType::Symlink);
    assert_eq!(fixture.root().read_link(Path::new("abs")).unwrap(), "/a");
}

#[test]
fn removal_follows_no_link_and_masters_deep_trees() {
    let fixture = Fixture::new("remove");
    let root = fixture.root();
    // Deeper than PATH_MAX and than any limit on open files.
    let mut ladder = Ladder::new(root.as_fd()).unwrap();
    for _ in 0..3_000 {
        rustix::fs::mkdirat(ladder.current(), "deep", Mode::from_raw_mode(0o755)).unwrap();
        ladder.down(OsStr::new("deep")).unwrap();
    }
    assert_eq!(ladder.depth(), 3_000);
    rustix::fs::symlinkat(&fixture.base, ladder.current(), "up").unwrap();
    while ladder.up().unwrap() {}
    root.remove_all(Path::new("deep")).unwrap();
    root.remove_all(Path::new("host")).unwrap();
    root.remove_all(Path::new("absent/x")).unwrap();
    assert_eq!(
        root.remove_all(Path::new("a/..")).unwrap_err().errno,
        Errno::INVAL
    );
    let names: Vec<_> = root.read_dir(Path::new("")).unwrap();
    assert!(
        !names
            .iter()
            .any(|item| item.name == "deep" || item.name == "host")
    );
    assert!(names.iter().any(|item| item.name == "a"));
    remove_contents(root.as_fd()).unwrap();
    assert!(root.read_dir(Path::new("")).unwrap().is_empty());
    assert_eq!(
        std::fs::read(fixture.base.join("outside/secret")).unwrap(),
        b"host"
    );
}

#[test]
fn a_directory_exchanged_by_a_link_all_the_time_never_leads_outside() {
    let fixture = Fixture::new("race");
    let base = fixture.base.clone();
    symlink(base.join("outside"), base.join("root/swap")).unwrap();
    std::fs::create_dir(base.join("root/swapped")).unwrap();
    let done = std::sync::Arc::new(AtomicBool::new(false));
    let racer = std::thread::spawn({
        let (done, root) = (done.clone(), fixture.root());
        move || {
            while !done.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(&root, "swap", &root, "swapped", flags).unwrap();
            }
        }
    });
    let root = fixture.root();
    for _ in 0..2_000 {
        let _ = root.mkdir_all(Path::new("swap/in/../x"), 0o755);
        let _ = root.create_file_for_mount(Path::new("swap/../swap/file"));
        let _ = root
            .resolve_by_walk("find", Path::new("swap/secret"), OFlags::RDONLY, 0)
            .map(|_| panic!("read the host's file"));
        let _ = root.remove_all(Path::new("swap/secret"));
    }
    done.store(true, Ordering::Relaxed);
    racer.join().unwrap();
    let outside: Vec<_> = std::fs::read_dir(base.join("outside")).unwrap().collect();
    assert_eq!(outside.len(), 1);
}
