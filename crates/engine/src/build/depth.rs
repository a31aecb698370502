//! `**` in the sources of `COPY --parents`, as BuildKit's include patterns have it.

use std::collections::HashSet;
use std::path::PathBuf;

use super::files::{Content, Match};

/// Any number of directories, in a pattern of `--parents`.
pub(super) const ANY_DEPTH: &str = "**";

/// A pattern in which `**` stands alone, and never last: `a/**` is all in `a`, as `a/*` with what is
/// beneath, and `**.c` is `**/*.c`.
pub(super) fn deep(names: Vec<String>) -> Vec<String> {
    let mut all: Vec<String> = Vec::with_capacity(names.len() + 1);
    for name in names {
        let rest = name.strip_prefix(ANY_DEPTH).map(str::to_owned);
        if rest.is_none() {
            all.push(name);
            continue;
        }
        if all.last().is_none_or(|last| last != ANY_DEPTH) {
            all.push(ANY_DEPTH.to_owned());
        }
        if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
            all.push(format!("*{rest}"));
        }
    }
    if let Some(last) = all.last_mut()
        && last == ANY_DEPTH
    {
        *last = "*".to_owned();
    }
    all
}

/// What lies in a directory that was found is there with it.
pub(super) fn drop_nested(matches: &mut Vec<Match>) {
    let directories: HashSet<PathBuf> = matches
        .iter()
        .filter(|one| matches!(one.node.content, Content::Directory(_)))
        .map(|one| one.path.clone())
        .collect();
    matches.retain(|one| {
        let mut above = one.path.ancestors().skip(1);
        !above.any(|path| directories.contains(path))
    });
}

#[cfg(test)]
mod tests {
    use super::deep;

    #[test]
    fn two_stars_stand_alone_and_never_last() {
        for (pattern, expected) in [
            ("a/b", "a/b"),
            ("**/package.json", "**/package.json"),
            ("a/**", "a/*"),
            ("**", "*"),
            ("a/**/**/b", "a/**/b"),
            ("**.c", "**/*.c"),
            ("a/**/*", "a/**/*"),
            ("a*/b**", "a*/b**"),
        ] {
            let names = pattern.split('/').map(str::to_owned).collect();
            assert_eq!(deep(names).join("/"), expected, "{pattern}");
        }
    }
}
