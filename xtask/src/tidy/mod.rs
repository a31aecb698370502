//! The house's own rules: edges between rooms, where `unsafe` may be, sizes, listed tests.

pub(crate) mod binary;
mod edges;
pub(crate) mod promises;
mod sizes;

use std::path::Path;

use anyhow::bail;

use crate::house::{read, rust_files};

/// Checks everything; `--accept` admits what is too large today, `--shrink` tightens the ratchet.
pub(crate) fn command(words: &[&str]) -> anyhow::Result<()> {
    let mut faults = Vec::new();
    edges::check(&mut faults)?;
    check_texts(&mut faults)?;
    check_listed_tests(&mut faults)?;
    match words {
        [] => sizes::check(&mut faults)?,
        ["--accept" | "--shrink"] => sizes::write()?,
        other => bail!("tidy does not know {other:?}"),
    }
    promises::check(&mut faults)?;
    if !faults.is_empty() {
        bail!("{} faults:\n{}", faults.len(), faults.join("\n"));
    }
    Ok(())
}

/// Words that must not be in code, wherever it is.
fn check_texts(faults: &mut Vec<String>) -> anyhow::Result<()> {
    // Put together here, so that this file does not hold them itself.
    let refused = [
        concat!("to", "do!("),
        concat!("db", "g!("),
        concat!("unimpl", "emented!("),
    ];
    for file in rust_files()? {
        let text = read(&file)?;
        for word in refused {
            if text.contains(word) {
                faults.push(format!("{}: holds {word}", file.display()));
            }
        }
        let in_sys = file.starts_with("crates/sys");
        let uses_unsafe = text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or("");
            ["unsafe {", "unsafe fn", "unsafe impl"]
                .iter()
                .any(|form| code.find(form).is_some_and(|at| !code[..at].contains('"')))
        });
        if uses_unsafe && !in_sys && !file.starts_with("xtask") {
            faults.push(format!(
                "{}: unsafe code lives in crates/sys only",
                file.display()
            ));
        }
    }
    Ok(())
}

fn check_listed_tests(faults: &mut Vec<String>) -> anyhow::Result<()> {
    let main = read(Path::new("tests/it/main.rs"))?;
    for file in rust_files()?
        .iter()
        .filter(|file| file.starts_with("tests/it"))
    {
        let Some(name) = file.file_stem().and_then(|name| name.to_str()) else {
            continue;
        };
        let depth = file.components().count();
        if depth == 3 && name != "main" && !main.contains(&format!("mod {name};")) {
            faults.push(format!(
                "{}: not listed in tests/it/main.rs",
                file.display()
            ));
        }
    }
    Ok(())
}
