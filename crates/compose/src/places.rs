//! Relative paths become paths from the project's directory.

use types::lexical_path;

use crate::error::{Fault, Step};
use crate::tree::{Map, Node, Path, Value};

/// The directory that paths in a file are relative to.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Where it is.
    pub(crate) absolute: String,
    /// How paths into it are written: relative to the file that includes or extends, so that
    /// whoever comes last decides whether paths become absolute.
    pub(crate) written: String,
}

/// What resolving paths needs to know.
pub(crate) struct Resolver<'a> {
    pub(crate) base: &'a str,
    pub(crate) home: Option<&'a str>,
    /// Follows symbolic links, where the path exists.
    pub(crate) real_path: &'a dyn Fn(&str) -> Option<String>,
}

/// Joins as Go's `filepath.Join` does.
pub(crate) fn join(base: &str, path: &str) -> String {
    match (base, path) {
        ("", path) => lexical_path::clean(path),
        (base, "") => lexical_path::clean(base),
        (base, path) => lexical_path::clean(&format!("{base}/{path}")),
    }
}

/// The directory of a path.
pub(crate) fn directory(path: &str) -> String {
    match path.rsplit_once('/') {
        Some(("", _)) => "/".to_owned(),
        Some((directory, _)) => lexical_path::clean(directory),
        None => ".".to_owned(),
    }
}

/// How to write the absolute `path` from the absolute `base`.
pub(crate) fn relative(base: &str, path: &str) -> String {
    let (base, path) = (lexical_path::clean(base), lexical_path::clean(path));
    let parts = |text: &str| -> Vec<String> {
        text.split('/')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let (base, path) = (parts(&base), parts(&path));
    let shared = base.iter().zip(&path).take_while(|(a, b)| a == b).count();
    let up = base[shared..].iter().map(|_| "..");
    let down = path[shared..].iter().map(String::as_str);
    let joined = up.chain(down).collect::<Vec<_>>().join("/");
    if joined.is_empty() {
        ".".to_owned()
    } else {
        joined
    }
}

impl Resolver<'_> {
    /// Rewrites every path of a tree.
    pub(crate) fn resolve(&self, node: &mut Node, path: Path<'_>) -> Step<()> {
        if path.is_deep() {
            return Ok(());
        }
        match path.keys() {
            ["services", _, "build", "context"]
            | ["services", _, "build", "additional_contexts", _] => {
                return self.rewrite(node, |text| {
                    (!is_remote_context(text)).then(|| self.absolute(text))
                });
            }
            ["services", _, "env_file", _, "path"]
            | ["services", _, "label_file", _]
            | ["services", _, "extends", "file"] => {
                return self.rewrite(node, |text| Some(self.absolute(text)));
            }
            ["services", _, "build", "ssh", _] | ["configs" | "secrets", _, "file"] => {
                return self.rewrite(node, |text| Some(self.unix(text)));
            }
            ["services", _, "develop", "watch", _, "path"] => {
                return self.rewrite(node, |text| {
                    let path = self.absolute(text);
                    Some((self.real_path)(&path).unwrap_or(path))
                });
            }
            ["services", _, "volumes", _] => return self.mount(node),
            ["volumes", _] => return self.driver_options(node),
            _ => {}
        }
        match &mut node.value {
            Value::Map(map) => map
                .iter_mut()
                .try_for_each(|(key, node)| self.resolve(node, path.next(key))),
            Value::List(list) => list
                .iter_mut()
                .try_for_each(|node| self.resolve(node, path.next("[]"))),
            _ => Ok(()),
        }
    }

    fn rewrite(&self, node: &mut Node, change: impl Fn(&str) -> Option<String>) -> Step<()> {
        if let Value::Text(text) = &mut node.value
            && let Some(new) = change(text)
        {
            *text = new;
        }
        Ok(())
    }

    /// `~` is the caller's home.
    fn expand_home(&self, path: &str) -> String {
        match (path.strip_prefix('~'), self.home) {
            (Some(rest), Some(home)) => join(home, rest),
            _ => path.to_owned(),
        }
    }

    fn absolute(&self, path: &str) -> String {
        let path = self.expand_home(path);
        if path.is_empty() || path.starts_with('/') {
            return path;
        }
        join(self.base, &path)
    }

    /// As [`Self::absolute`]; paths of Windows are left alone.
    fn unix(&self, path: &str) -> String {
        let path = self.expand_home(path);
        if path.starts_with('/') || is_windows_absolute(&path) {
            return path;
        }
        join(self.base, &path)
    }

    fn mount(&self, node: &mut Node) -> Step<()> {
        let at = node.at;
        let Some(map) = node.as_map_mut() else {
            return Ok(());
        };
        if map.text("type") != Some("bind") {
            return Ok(());
        }
        match map.get_mut("source").map(|node| &mut node.value) {
            Some(Value::Text(source)) => {
                *source = self.unix(source);
                Ok(())
            }
            _ => {
                let text = "invalid mount config for type \"bind\": field Source must not be empty";
                Err(Fault::at(at, text))
            }
        }
    }

    /// A local volume that is a bind mount in truth.
    fn driver_options(&self, node: &mut Node) -> Step<()> {
        let Some(volume) = node
            .as_map_mut()
            .filter(|map| map.text("driver") == Some("local"))
        else {
            return Ok(());
        };
        let options = volume.get_mut("driver_opts").and_then(Node::as_map_mut);
        let Some(options) = options.filter(|options: &&mut Map| options.text("o") == Some("bind"))
        else {
            return Ok(());
        };
        match options.get_mut("device") {
            Some(device) => self.rewrite(device, |text| Some(self.unix(text))),
            None => Ok(()),
        }
    }
}

/// A git repository, an address, another service's image.
pub(crate) fn is_remote_context(text: &str) -> bool {
    let prefixes = [
        "https://",
        "http://",
        "git://",
        "ssh://",
        "github.com/",
        "git@",
        "service:",
    ];
    text.contains("://") || prefixes.iter().any(|prefix| text.starts_with(prefix))
}

fn is_windows_absolute(path: &str) -> bool {
    let bytes = path.as_bytes();
    let is_drive =
        matches!(bytes, [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic());
    is_drive || path.starts_with("\\\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_from_one_directory_to_another() {
        assert_eq!(relative("/a/b", "/a/c/d"), "../c/d");
        assert_eq!(relative("/a", "/a"), ".");
        assert_eq!(relative("/", "/x"), "x");
        assert_eq!(join("/a/b", "../c"), "/a/c");
        assert_eq!(join("sub", "./x"), "sub/x");
        assert_eq!(directory("/a"), "/");
    }
}
