//! For tests: everything about a tree, as lines that can be compared.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::tar::{Entry, Kind, TarWriter};

/// One line an object: path, kind, mode, owner, time, device, link group, attributes, content.
pub(crate) fn snapshot(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut links = HashMap::new();
    visit(root, root, &mut links, &mut lines);
    lines
}

fn visit(root: &Path, path: &Path, links: &mut HashMap<u64, String>, lines: &mut Vec<String>) {
    let name = path
        .strip_prefix(root)
        .unwrap()
        .as_os_str()
        .as_bytes()
        .escape_ascii()
        .to_string();
    let meta = std::fs::symlink_metadata(path).unwrap();
    let kind = meta.file_type();
    let content = if kind.is_file() {
        let bytes = std::fs::read(path).unwrap();
        let sum = bytes
            .iter()
            .fold(7u64, |sum, &b| sum.wrapping_mul(31).wrapping_add(b.into()));
        format!("file {} {sum:x}", bytes.len())
    } else if kind.is_symlink() {
        format!("link {:?}", std::fs::read_link(path).unwrap())
    } else if kind.is_dir() {
        "dir".into()
    } else if kind.is_fifo() {
        "fifo".into()
    } else {
        format!(
            "{} {:x}",
            if kind.is_char_device() {
                "char"
            } else {
                "block"
            },
            meta.rdev()
        )
    };
    let group = if meta.nlink() > 1 && !kind.is_dir() {
        links
            .entry(meta.ino())
            .or_insert_with(|| name.clone())
            .clone()
    } else {
        String::new()
    };
    lines.push(format!(
        "{name} {content} {:o} {}:{} {}.{:09} [{group}] {:?}",
        meta.mode() & 0o7777,
        meta.uid(),
        meta.gid(),
        meta.mtime(),
        meta.mtime_nsec(),
        xattrs(path),
    ));
    if kind.is_dir() {
        let mut children: Vec<_> = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        children.sort();
        for child in children {
            visit(root, &child, links, lines);
        }
    }
}

pub(crate) fn xattrs(path: &Path) -> Vec<(String, String)> {
    let mut list = vec![0; 65536];
    let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap();
    let mut all: Vec<_> = list[..length]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 65536];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            (
                name.escape_ascii().to_string(),
                value[..length].escape_ascii().to_string(),
            )
        })
        .collect();
    all.sort();
    all
}

/// Each path with the letter of its kind (`c0` for a deletion mark), and `!` where it is opaque.
pub(crate) fn outline(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for line in snapshot(root).iter().skip(1) {
        let mut words = line.split(' ');
        let (name, kind) = (words.next().unwrap(), words.next().unwrap());
        let device = words.next().unwrap();
        let opaque = if line.contains("trusted.overlay.opaque") {
            "!"
        } else {
            ""
        };
        let mark = if kind == "char" && device == "0" {
            "0"
        } else {
            ""
        };
        lines.push(format!("{name} {}{mark}{opaque}", &kind[..1]));
    }
    lines
}

/// An archive from short words: `name/` a directory, `name>target` a symbolic and `name=target` a
/// hard link, `name|` a FIFO, `name` a file that holds its own name.
pub(crate) fn archive(words: &[&str]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    for word in words {
        let mut entry = Entry {
            mode: 0o644,
            ..Entry::default()
        };
        entry.mtime.seconds = 1_700_000_000;
        let mut data = Vec::new();
        if let Some((name, target)) = word.split_once('>') {
            entry.kind = Kind::Symlink;
            (entry.path, entry.link) = (name.into(), target.into());
        } else if let Some((name, target)) = word.split_once('=') {
            entry.kind = Kind::HardLink;
            (entry.path, entry.link) = (name.into(), target.into());
        } else if let Some(name) = word.strip_suffix('|') {
            (entry.kind, entry.path) = (Kind::Fifo, name.into());
        } else if word.ends_with('/') || word.is_empty() || *word == "." {
            (entry.kind, entry.path, entry.mode) = (Kind::Directory, (*word).into(), 0o750);
        } else {
            data = word.as_bytes().to_vec();
            (entry.path, entry.size) = (data.clone(), data.len() as u64);
        }
        writer.append_bytes(&entry, &data).unwrap();
    }
    writer.finish().unwrap()
}
