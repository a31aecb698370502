//! Goal: the list says what a container did. Method: the kernel's overlayfs records the changes of a
//! script; opaque and replaced directories are the hard cases.

use std::fs;

use super::super::pack::tests::{CHANGES, in_overlay};
use super::super::snapshot::archive;
use super::super::unpack::{UnpackOptions, unpack};
use super::*;

fn lines(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|c| format!("{} {}", c.kind.letter(), c.path.display()))
        .collect()
}

#[test]
fn the_changes_of_a_real_overlay_are_listed_as_docker_does() {
    let outer = tempfile::tempdir().unwrap();
    if !in_overlay(outer.path(), CHANGES) {
        return;
    }
    let open = |name: &str| Dir::open(&outer.path().join(name)).unwrap();
    let found = diff(&open("upper"), &[open("top"), open("base")]).unwrap();
    let expected = "A /.who|A /added|A /added/deep|A /added/deep/f|A /added/fifo|A /added/hard|\
        A /added/linked3|A /added/null|D /gone|C /hidden|C /keep|C /keep/file|A /keep/masked|\
        A /keep/new|D /keep/top|C /link|A /link/f|C /linked|C /meta|C /replaced|C /replaced/both|\
        D /replaced/old|D /replaced/top";
    assert_eq!(lines(&found).join("|"), expected);
}

#[test]
fn nothing_changed_is_an_empty_list_and_no_layers_mean_that_all_is_new() {
    let outer = tempfile::tempdir().unwrap();
    let make = |name: &str, words: &[&str]| {
        let path = outer.path().join(name);
        fs::create_dir(&path).unwrap();
        let dir = Dir::open(&path).unwrap();
        unpack(archive(words).as_slice(), &dir, &UnpackOptions::default()).unwrap();
        dir
    };
    let base = make("base", &["d/", "d/f", "g", "s>d"]);
    let copied_up = make("copied", &["d/", ".wh.absent"]);
    assert_eq!(diff(&copied_up, std::slice::from_ref(&base)).unwrap(), []);
    assert_eq!(
        lines(&diff(&base, &[]).unwrap()),
        ["A /d", "A /d/f", "A /g", "A /s"]
    );
    // Beneath a directory that is the same, and over what a middle layer deleted or replaced.
    let middle = make("middle", &[".wh.g", "s/"]);
    let upper = make("upper", &["d/", "d/f", "g", "s/", "s/f"]);
    assert_eq!(
        lines(&diff(&upper, &[middle, base]).unwrap()),
        ["C /d", "C /d/f", "A /g", "C /s", "A /s/f"]
    );
}

#[test]
fn a_stack_is_looked_up_as_overlayfs_does() {
    let outer = tempfile::tempdir().unwrap();
    let layers: Vec<Dir> = [
        &["d/", "o/", "o/.wh..wh..opq", "o/x", ".wh.gone", "file"][..],
        &["d/", "d/.wh.a", "d/b", "file/", "file/x"],
        &["d/", "d/a", "d/c", "o/y", "gone/f", "link>d"],
    ]
    .iter()
    .enumerate()
    .map(|(index, words)| {
        let path = outer.path().join(index.to_string());
        fs::create_dir(&path).unwrap();
        let dir = Dir::open(&path).unwrap();
        unpack(archive(words).as_slice(), &dir, &UnpackOptions::default()).unwrap();
        dir
    })
    .collect();
    let stack = LowerStack::new(&layers);
    let cases: &[(&str, Option<usize>)] = &[
        ("/", Some(0)),
        ("d", Some(0)),
        ("d/a", None),
        ("d/b", Some(1)),
        ("/d/c", Some(2)),
        ("o/x", Some(0)),
        ("o/y", None),
        ("gone", None),
        ("gone/f", None),
        ("file", Some(0)),
        ("file/x", None),
        ("link", Some(2)),
        ("link/c", None),
    ];
    for (path, layer) in cases {
        let found = stack.lookup(Path::new(path)).unwrap();
        assert_eq!(found.map(|entry| entry.layer), *layer, "{path}");
    }
    let root = stack.root().unwrap().unwrap();
    let mut names = stack.names(Path::new(""), &root.visible).unwrap();
    names.sort();
    assert_eq!(names, ["d", "file", "link", "o"]);
}
