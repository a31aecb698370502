//! Pages: links between them lead somewhere, and the changelog has a place for what comes next.

use std::path::Path;

use crate::house;

/// Checks all pages.
pub(crate) fn check(faults: &mut Vec<String>) -> anyhow::Result<()> {
    for page in house::pages()? {
        let text = house::read(&page)?;
        for target in links(&text) {
            let path = target.split('#').next().unwrap_or_default();
            let directory = page.parent().unwrap_or_else(|| Path::new(""));
            if !path.is_empty() && !house::root().join(directory).join(path).exists() {
                faults.push(format!(
                    "{}: the link to {target} leads nowhere",
                    page.display()
                ));
            }
        }
    }
    let rooms = std::fs::read_dir(house::root().join("crates"))?.flatten();
    let architecture = house::read(Path::new("ARCHITECTURE.md"))?;
    for room in rooms {
        let name = room.file_name().to_string_lossy().into_owned();
        if !architecture.contains(&name) {
            faults.push(format!("ARCHITECTURE.md does not name crates/{name}"));
        }
    }
    if !house::read(Path::new("CHANGELOG.md"))?
        .lines()
        .any(|line| line == "## Unreleased")
    {
        faults.push("CHANGELOG.md has no section Unreleased".to_owned());
    }
    Ok(())
}

/// Targets of the links in a page that stay in the checkout; code is left out.
fn links(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let ends = line.match_indices("](").map(|(at, _)| &line[at + 2..]);
        found.extend(
            ends.filter_map(|rest| rest.split(')').next())
                .filter(|target| !target.contains("://") && !target.starts_with("mailto:")),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_are_found() {
        let text = "[a](docs/a.md) and [b](https://x/) [c](#here)\n```\n[d](e)\n```\n";
        assert_eq!(links(text), ["docs/a.md", "#here"]);
    }
}
