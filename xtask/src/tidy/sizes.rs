//! Sizes, as a ratchet: nothing new may cross the line, what has crossed it may only shrink.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;

use crate::house::{read, root, rust_files};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const RATCHET: &str = "xtask/ratchet.txt";

/// What is too large: `path` or `path:function`, and its lines.
fn crossers() -> anyhow::Result<BTreeMap<String, usize>> {
    let mut found = BTreeMap::new();
    for file in rust_files()? {
        let text = read(&file)?;
        let is_test = file.ends_with("tests.rs") || file.starts_with("tests");
        // The tests of a file stand at its end.
        let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or("");
        let lines = code.lines().count();
        if !is_test && lines > FILE_LINES_MAX {
            found.insert(file.display().to_string(), lines);
        }
        for (name, lines) in functions(code) {
            if lines > FUNCTION_LINES_MAX {
                let entry = found
                    .entry(format!("{}:{name}", file.display()))
                    .or_insert(0);
                *entry = (*entry).max(lines);
            }
        }
    }
    Ok(found)
}

/// Functions of formatted code: from the line with `fn` to the brace at the same depth.
fn functions(code: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let indent = &line[..line.len() - trimmed.len()];
        let Some(rest) = ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn "]
            .iter()
            .find_map(|prefix| trimmed.strip_prefix(prefix))
        else {
            continue;
        };
        let name = rest.split(['(', '<']).next().unwrap_or("").to_owned();
        let end = format!("{indent}}}");
        let length = lines[at..]
            .iter()
            .position(|line| *line == end)
            .map_or(0, |length| length + 1);
        found.push((name, length));
    }
    found
}

/// Compares with the ratchet.
pub(crate) fn check(faults: &mut Vec<String>) -> anyhow::Result<()> {
    let accepted = accepted()?;
    for (place, lines) in crossers()? {
        match accepted.get(&place) {
            Some(limit) if lines <= *limit => {}
            Some(limit) => faults.push(format!("{place}: {lines} lines, accepted were {limit}")),
            None => faults.push(format!("{place}: {lines} lines")),
        }
    }
    Ok(())
}

fn accepted() -> anyhow::Result<BTreeMap<String, usize>> {
    let text = read(Path::new(RATCHET)).unwrap_or_default();
    text.lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (lines, place) = line
                .split_once(' ')
                .context("ratchet lines are `LINES PLACE`")?;
            Ok((place.to_owned(), lines.parse()?))
        })
        .collect()
}

/// Writes the ratchet as things are.
pub(crate) fn write() -> anyhow::Result<()> {
    let mut text = String::from("# What is larger than the style wants; may only shrink.\n");
    for (place, lines) in crossers()? {
        let _ = writeln!(text, "{lines} {place}");
    }
    Ok(std::fs::write(root().join(RATCHET), text)?)
}
