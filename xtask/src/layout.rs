//! `layout`: which functions lie first in the binary.
//!
//! A command that lives for a few milliseconds pays for each 64 KiB of the binary that it touches with a page
//! fault; its functions lie among those of a registry, a builder and a database. So what a container's
//! start, exec and end execute is recorded, instruction by instruction, and written as a script of the linker
//! that puts it in front. The names in it are without what changes from compiler to compiler; one
//! that is stale is ignored, and costs a page fault.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::bench::{make_tree, run};
use crate::house::{cargo, release_binary, root};

/// Where the script lies, and who reads it: the build script beside it.
const SCRIPT: &str = "crates/cli/layout.ld";
const STEP: &str = include_str!("layout/step.c");
/// What many functions are called (each closure of a function, what drops a value) is written out in
/// full, hash and all, if all that are called so have more than twice the bytes of those that ran, and this.
const SHARED_NAME_BYTES: u64 = 512;
/// Set for ourselves in the network that is thrown away.
const WITHIN: &str = "CAISSON_LAYOUT_WITHIN";
/// The commands whose start matters.
const RECORDED: &[&[&str]] = &[
    &["run", "--rm", "--network", "none", "busybox", "true"],
    &["run", "-d", "--name", CONTAINER, "busybox", "sleep", "9999"],
    &["exec", CONTAINER, "true"],
    &["ps"],
    &["rm", "-f", CONTAINER],
];
const CONTAINER: &str = "recorded";

/// A piece of code that the linker places as one.
#[derive(Debug)]
struct Section {
    address: u64,
    bytes: u64,
    object: String,
    name: String,
}

/// Records, and writes the script. Needs root, and up to twenty minutes.
pub(crate) fn command() -> anyhow::Result<()> {
    // In a network of its own, with which the recorded container's bridge goes.
    if std::env::var_os(WITHIN).is_none() {
        let this = std::env::current_exe().context("cannot find this program")?;
        let mut within = Command::new("unshare");
        return run(within
            .args(["--net", "--"])
            .arg(this)
            .arg("layout")
            .env(WITHIN, "1"));
    }
    let scratch = tempfile::tempdir_in("/var/tmp")?;
    let map = scratch.path().join("map");
    let link = format!("link-arg=-Wl,-Map={}", map.display());
    let words = [
        "rustc",
        "--release",
        "--quiet",
        "--package",
        "caisson",
        "--bin",
        "caisson",
        "--",
        "-C",
    ];
    run(cargo().args(words).arg(link))?;
    let map = std::fs::read_to_string(map).context("cannot read the linker's map")?;
    let sections = sections(&map);
    let (Some(first), Some(last)) = (sections.first(), sections.last()) else {
        bail!("the linker's map names no code");
    };
    let end = last.address + last.bytes;
    let mut executed = Vec::new();
    for addresses in record(scratch.path(), first.address, end)? {
        let text = std::fs::read_to_string(addresses)?;
        executed.extend(
            text.lines()
                .filter_map(|line| u64::from_str_radix(line, 16).ok()),
        );
    }
    std::fs::write(root().join(SCRIPT), script(&sections, &executed))?;
    Ok(())
}

fn in_store(scratch: &Path, program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("CAISSON_ROOT", scratch.join("root"))
        .env("CAISSON_RUN_ROOT", scratch.join("run"));
    command
}

/// However the recording ends, its container does not outlive it, nor keep its store from being removed.
struct Cleared<'a> {
    scratch: &'a Path,
    binary: &'a Path,
}

impl Drop for Cleared<'_> {
    fn drop(&mut self) {
        // It is gone already where all went well.
        let _ = in_store(self.scratch, self.binary)
            .args(["rm", "-f", CONTAINER])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status();
    }
}

/// Files with what each command executed.
fn record(scratch: &Path, lowest: u64, end: u64) -> anyhow::Result<Vec<PathBuf>> {
    let (source, step) = (scratch.join("step.c"), scratch.join("step"));
    std::fs::write(&source, STEP)?;
    run(Command::new("cc")
        .args(["-O2", "-o"])
        .args([&step, &source]))?;
    let tree = make_tree(scratch)?;
    let archive = scratch.join("busybox.tar");
    run(Command::new("tar")
        .arg("-C")
        .arg(tree)
        .arg("-cf")
        .arg(&archive)
        .arg("."))?;
    let in_our_store = |program: &Path| in_store(scratch, program);
    let binary = release_binary()?;
    let _cleared = Cleared {
        scratch,
        binary: &binary,
    };
    run(in_our_store(&binary)
        .arg("import")
        .arg(archive)
        .arg("busybox:latest"))?;
    let mut files = Vec::new();
    for (index, words) in RECORDED.iter().enumerate() {
        eprintln!("caisson {}", words.join(" "));
        let file = scratch.join(format!("executed-{index}"));
        let mut command = in_our_store(&step);
        command
            .arg(&file)
            .args([format!("{lowest:x}"), format!("{end:x}")]);
        run(command.arg(&binary).args(*words))?;
        files.push(file);
    }
    Ok(files)
}

/// The sections of code in a map of lld, by address. Lines are `VMA LMA SIZE ALIGN OBJECT:(SECTION)`.
fn sections(map: &str) -> Vec<Section> {
    let mut found: Vec<Section> = map.lines().filter_map(section).collect();
    found.sort_by_key(|section| section.address);
    found
}

fn section(line: &str) -> Option<Section> {
    let (object, name) = line.trim_end().strip_suffix(')')?.rsplit_once(":(")?;
    let mut words = object.split_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let bytes = u64::from_str_radix(words.nth(1)?, 16).ok()?;
    let object = words.nth(1)?.to_owned();
    let is_code = name.starts_with(".text") && bytes > 0;
    is_code.then(|| Section {
        address,
        bytes,
        object,
        name: name.to_owned(),
    })
}

/// The script that puts what was executed in front, in the order of the first time.
fn script(sections: &[Section], executed: &[u64]) -> String {
    let by_address: BTreeMap<u64, &Section> =
        sections.iter().map(|one| (one.address, one)).collect();
    let ran = executed.iter().filter_map(|address| {
        let (_, section) = by_address.range(..=address).next_back()?;
        (*address < section.address + section.bytes).then_some(*section)
    });
    let mut seen = HashSet::new();
    let ran: Vec<&Section> = ran.filter(|section| seen.insert(section.address)).collect();
    let bytes_of_all = bytes_by_name(sections.iter());
    let bytes_that_ran = bytes_by_name(ran.iter().copied());
    let is_shared = |section: &Section| {
        let name = without_hash(&section.name);
        bytes_of_all[name] > 2 * bytes_that_ran[name] + SHARED_NAME_BYTES
    };
    let mut text = String::from(
        "/* Made by `cargo xtask layout`: what a container's start, exec and end execute lies in front. */\n\
         SECTIONS { .text.first : {\n",
    );
    let patterns = ran
        .iter()
        .filter_map(|section| pattern(section, is_shared(section)));
    let mut seen = HashSet::new();
    for pattern in patterns.filter(|pattern| seen.insert(pattern.clone())) {
        let _ = writeln!(text, "{pattern}");
    }
    text += "} } INSERT BEFORE .text;\n";
    text
}

fn bytes_by_name<'a>(sections: impl Iterator<Item = &'a Section>) -> HashMap<&'a str, u64> {
    let mut bytes = HashMap::new();
    for section in sections {
        *bytes.entry(without_hash(&section.name)).or_default() += section.bytes;
    }
    bytes
}

/// A Rust function's name up to the hash that tells instances apart, other names whole.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("17h") {
        Some((_, hash)) if hash.len() == 17 && hash.ends_with('E') => &name[..name.len() - 17],
        _ => name,
    }
}

/// How a script names a section; none for code without a name of its own.
fn pattern(section: &Section, is_shared: bool) -> Option<String> {
    let name = &section.name;
    let bare = without_hash(name);
    if bare != name {
        return Some(if is_shared {
            format!("*({name})")
        } else {
            format!("*({bare}*)")
        });
    }
    // The C library's objects hold a function each.
    let file = section.object.rsplit('/').next()?;
    match file.strip_suffix(')').and_then(|file| file.split_once('(')) {
        Some((library, member)) if library == "libc.a" => {
            Some(format!("*{library}:{member}({name})"))
        }
        _ => (name != ".text").then(|| format!("*({name})")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Cleared, script, sections};

    const MAP: &str = "\
             VMA              LMA     Size Align Out     In      Symbol
          736a00           736a00       31    16         /usr/lib/gcc/12/../../../x86_64-linux-gnu/libc.a(malloc.o):(.text)
          736a40           736a40       10    16         /t/libx.rlib(x.1.rcgu.o):(.text._ZN1x3run17h0123456789abcdefE)
          736a50           736a50       10    16         /t/libx.rlib(x.1.rcgu.o):(.text.unlikely._ZN1x4fail17h0123456789abcdefE)
          736a60           736a60       10    16         /t/libx.rlib(c.o):(.text.deflate)
          736a70           736a70      100    16         /t/libx.rlib(x.2.rcgu.o):(.text._ZN4core4drop17h1123456789abcdefE)
          737000           737000    20000    16         /t/libx.rlib(x.2.rcgu.o):(.text._ZN4core4drop17h2123456789abcdefE)
          800000           800000       10    16         /t/libx.rlib(x.2.rcgu.o):(.data.x)
";

    #[test]
    fn a_recording_that_fails_removes_its_container() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = tempfile::tempdir().unwrap();
        let (binary, told) = (scratch.path().join("caisson"), scratch.path().join("root"));
        std::fs::write(&binary, "#!/bin/sh\necho \"$@\" > $CAISSON_ROOT\n").unwrap();
        std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o755)).unwrap();
        let fails = || -> anyhow::Result<()> {
            let _cleared = Cleared {
                scratch: scratch.path(),
                binary: &binary,
            };
            anyhow::bail!("the recorder failed")
        };
        assert!(fails().is_err());
        assert_eq!(std::fs::read_to_string(told).unwrap(), "rm -f recorded\n");
    }

    #[test]
    fn what_ran_lies_in_front_in_its_order() {
        let sections = sections(MAP);
        assert_eq!(sections.len(), 6);
        let text = script(
            &sections,
            &[
                0x736a41, 0x736a02, 0x736a42, 0x736a70, 0x736a35, 0x736a61, 0x1,
            ],
        );
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "*(.text._ZN1x3run17h*)",
                "*libc.a:malloc.o(.text)",
                "*(.text._ZN4core4drop17h1123456789abcdefE)",
                "*(.text.deflate)",
                "} } INSERT BEFORE .text;"
            ]
        );
    }
}
