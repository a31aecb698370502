//! Paths tidied as text, as Docker does with what a user types in `-v` and `--mount`.
//!
//! Only for paths of the host's user and for names of mount points. Never to find a file below a
//! root file system: there the kernel resolves (openat2), since links make text lie.

/// Removes doubled slashes, `.` and `..` as Go's `path.Clean` does; nothing becomes `.`.
pub fn clean(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|&last| last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// Makes a path absolute against a working directory, which must be absolute itself.
pub fn absolute(path: &str, working_directory: &str) -> String {
    if path.starts_with('/') {
        clean(path)
    } else {
        clean(&format!("{working_directory}/{path}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_cleans_them() {
        for (path, want) in [
            ("", "."),
            ("/", "/"),
            ("//a//b/", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/../..", "/"),
            ("a/..", "."),
            ("../../a", "../../a"),
            ("a/../../b", "../b"),
        ] {
            assert_eq!(clean(path), want, "{path}");
        }
        assert_eq!(absolute("./x/..", "/home/u"), "/home/u");
        assert_eq!(absolute("../x", "/home/u"), "/home/x");
        assert_eq!(absolute("/a/", "/home/u"), "/a");
    }
}
