//! Every file of `tests/it` is a module of its one binary: one that is not would never run.

use std::path::Path;

use anyhow::Context;

use crate::house;

/// Checks the list.
pub(crate) fn check(faults: &mut Vec<String>) -> anyhow::Result<()> {
    let main = house::read(Path::new("tests/it/main.rs"))?;
    let directory = house::root().join("tests/it");
    for entry in std::fs::read_dir(directory)
        .context("cannot list tests/it")?
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "main") else {
            continue;
        };
        if !main
            .lines()
            .any(|line| line.trim() == format!("mod {module};"))
        {
            faults.push(format!("tests/it/{name} is not listed in tests/it/main.rs"));
        }
    }
    Ok(())
}
