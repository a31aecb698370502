//! Fuzz targets take modules of the command line in by `#[path]`: what such a module uses of its
//! crate must be in the target too. The compiler would say so, but only at night.

use std::path::Path;

use anyhow::Context;

use crate::house;

/// Checks every target.
pub(crate) fn check(faults: &mut Vec<String>) -> anyhow::Result<()> {
    let sources = house::rust_files()?;
    let targets = house::root().join("fuzz/targets");
    for entry in std::fs::read_dir(targets)
        .context("cannot list fuzz/targets")?
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let target = house::read(&Path::new("fuzz/targets").join(&name))?;
        for taken in taken_in(&target) {
            let beneath = taken.strip_suffix("/mod.rs").unwrap_or(taken);
            let is_part = |file: &Path| file == Path::new(taken) || file.starts_with(beneath);
            for file in sources.iter().filter(|file| is_part(file)) {
                let is_test = file.components().any(|part| part.as_os_str() == "tests.rs");
                let text = house::read(file)?;
                for used in text.lines().filter(|_| !is_test).filter_map(of_the_crate) {
                    if !target.contains(&format!("mod {used};")) {
                        faults.push(format!(
                            "fuzz/targets/{name} takes in {} without the module {used} that it uses",
                            file.display()
                        ));
                    }
                }
            }
        }
    }
    Ok(())
}

fn taken_in(target: &str) -> impl Iterator<Item = &str> {
    target
        .lines()
        .filter_map(|line| line.strip_prefix("#[path = \"../../")?.strip_suffix("\"]"))
}

/// The module of the crate that a line names first.
fn of_the_crate(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("crate::")?;
    let end = rest.find(|character: char| !(character.is_ascii_lowercase() || character == '_'));
    Some(&rest[..end.unwrap_or(rest.len())]).filter(|name| !name.is_empty())
}
