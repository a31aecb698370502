//! Sizes of files and functions, as a ratchet: nothing new may cross the line, and what crosses it
//! already (`xtask/ratchet.txt`) may only shrink.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;

use super::source::Source;
use crate::house;

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const LIST: &str = "xtask/ratchet.txt";
const HEADER: &str = "\
# Files above 600 lines of code and functions above 70, tests apart. Each may only shrink.
# Written by `cargo xtask tidy --shrink`; `--accept` admits a new one, and review asks why.
";

/// What to do with the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Update {
    /// Leave it.
    None,
    /// Write smaller sizes down.
    Shrink,
    /// Write all present crossers down.
    Accept,
}

/// Crossers with their sizes: `crates/x/src/y.rs` or `crates/x/src/y.rs:function`.
type Sizes = BTreeMap<String, usize>;

/// Checks the sizes against the list.
pub(crate) fn check(
    sources: &[Source],
    update: Update,
    faults: &mut Vec<String>,
) -> anyhow::Result<()> {
    let found = crossers(sources);
    let mut listed = parse(&house::read(Path::new(LIST))?);
    match update {
        Update::None => {}
        Update::Accept => listed.clone_from(&found),
        Update::Shrink => {
            listed.retain(|name, size| {
                let now = found.get(name).copied().unwrap_or_default();
                *size = now.min(*size);
                now > 0
            });
        }
    }
    if update != Update::None {
        std::fs::write(house::root().join(LIST), print(&listed))
            .with_context(|| format!("cannot write {LIST}"))?;
    }
    compare(&found, &listed, faults);
    Ok(())
}

fn crossers(sources: &[Source]) -> Sizes {
    let mut sizes = Sizes::new();
    for source in sources {
        let path = source.path.display();
        let lines = source.code_lines();
        if lines > FILE_LINES_MAX {
            sizes.insert(path.to_string(), lines);
        }
        for function in source.functions() {
            if function.lines > FUNCTION_LINES_MAX {
                sizes.insert(format!("{path}:{}", function.name), function.lines);
            }
        }
    }
    sizes
}

fn compare(found: &Sizes, listed: &Sizes, faults: &mut Vec<String>) {
    for (name, size) in found {
        let line = if name.contains(':') {
            FUNCTION_LINES_MAX
        } else {
            FILE_LINES_MAX
        };
        match listed.get(name) {
            None => faults.push(format!(
                "{name} has {size} lines of code, more than {line}: divide it"
            )),
            Some(before) if size > before => faults.push(format!(
                "{name} grew from {before} to {size} lines: it may only shrink"
            )),
            Some(_) => {}
        }
    }
    for (name, before) in listed {
        let now = found.get(name).copied().unwrap_or_default();
        if now < *before {
            faults.push(format!(
                "{name} shrank from {before} lines: well done, write it down with `cargo xtask tidy --shrink`"
            ));
        }
    }
}

fn parse(text: &str) -> Sizes {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (size, name) = line.split_once(' ')?;
            Some((name.to_owned(), size.parse().ok()?))
        })
        .collect()
}

fn print(sizes: &Sizes) -> String {
    let mut text = HEADER.to_owned();
    for (name, size) in sizes {
        let _ = writeln!(text, "{size} {name}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratchet_only_turns_one_way() {
        let sizes = |pairs: &[(&str, usize)]| -> Sizes {
            pairs
                .iter()
                .map(|(name, size)| ((*name).to_owned(), *size))
                .collect()
        };
        let found = sizes(&[
            ("a.rs", 700),
            ("b.rs", 650),
            ("c.rs:long", 80),
            ("d.rs", 601),
        ]);
        let listed = sizes(&[
            ("a.rs", 700),
            ("b.rs", 640),
            ("c.rs:long", 90),
            ("gone.rs", 900),
        ]);
        let mut faults = Vec::new();
        compare(&found, &listed, &mut faults);
        let starts = [
            "b.rs grew",
            "d.rs has 601",
            "c.rs:long shrank",
            "gone.rs shrank",
        ];
        assert_eq!(faults.len(), starts.len(), "{faults:?}");
        for (fault, start) in faults.iter().zip(starts) {
            assert!(fault.starts_with(start), "{fault}");
        }
        assert_eq!(parse(&print(&listed)), listed);
    }
}
