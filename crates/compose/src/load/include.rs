//! `include`: whole projects under another.

use super::{Env, Group, Loader, NESTING_MAX, Source, local};
use crate::error::{Fault, Step};
use crate::files::FileKind;
use crate::merge::merge;
use crate::places::{self, Place};
use crate::reset::Resets;
use crate::tree::{Map, Node, Path, Value};

impl Loader<'_> {
    /// The nodes of `include`, each read and put under the document.
    pub(super) fn include(
        &self,
        document: &mut Node,
        source: &Source,
        group: &Group<'_>,
        resets: &Resets,
    ) -> Step<()> {
        let Some(includes) = document.as_map_mut().and_then(|map| map.remove("include")) else {
            return Ok(());
        };
        let Value::List(list) = includes.value else {
            if includes.is_null() {
                return Ok(());
            }
            return Err(Fault::at(includes.at, "`include` must be a list"));
        };
        let mut chain = group.included.clone();
        chain.push(source.path.clone());
        if chain.len() > NESTING_MAX {
            let text = format!("more than {NESTING_MAX} files include each other");
            return Err(Fault::at(includes.at, text));
        }
        for include in list {
            let imported = self.included(&include, group, &chain)?;
            import(imported, document, resets)?;
        }
        Ok(())
    }

    fn included(&self, include: &Node, group: &Group<'_>, chain: &[String]) -> Step<Node> {
        let at = include.at;
        let include = Include::read(include)?;
        let sources: Vec<Source> = include
            .paths
            .iter()
            .map(|path| local(path, &group.place.absolute, Some(at)))
            .collect::<Step<_>>()?;
        let Some(main) = sources.first().map(|source| source.path.as_str()) else {
            return Err(Fault::at(at, "`include` needs a path"));
        };
        if chain.iter().any(|known| known == main) {
            let text = format!(
                "include cycle detected:\n{}\n include {main}",
                chain.join("\n include ")
            );
            return Err(Fault::at(at, text));
        }
        for source in &sources {
            self.is_readable(&source.path, at)?;
        }
        let absolute = match include.directory.as_str() {
            "" => places::directory(main),
            directory => types::lexical_path::absolute(directory, &group.place.absolute),
        };
        let written = places::relative(&group.place.absolute, &absolute);
        let written = places::join(&group.place.written, &written);
        let env_files = self.include_env_files(&include, &absolute, &group.place.absolute);
        let mut vars = self.env_files(&env_files, group.env, Some(at))?;
        vars.extend(group.env.vars.clone());
        let env = Env {
            vars,
            warnings: &self.warnings,
        };
        let inner = Group {
            sources: &sources,
            place: Place { absolute, written },
            env: &env,
            included: chain.to_vec(),
        };
        self.group(&inner)
    }

    fn include_env_files(&self, include: &Include, directory: &str, outer: &str) -> Vec<String> {
        if include.env_files.is_empty() {
            let default = places::join(directory, ".env");
            let is_there = self.files.kind(&default) == FileKind::File;
            return if is_there { vec![default] } else { Vec::new() };
        }
        let given = include.env_files.iter().filter(|path| *path != "/dev/null");
        given
            .map(|path| types::lexical_path::absolute(path, outer))
            .collect()
    }
}

/// An entry of `include`.
struct Include {
    paths: Vec<String>,
    directory: String,
    env_files: Vec<String>,
}

impl Include {
    fn read(node: &Node) -> Step<Self> {
        let texts = |node: Option<&Node>| -> Vec<String> {
            match node.map(|node| &node.value) {
                Some(Value::Text(text)) => vec![text.clone()],
                Some(Value::List(list)) => list
                    .iter()
                    .filter_map(Node::as_text)
                    .map(str::to_owned)
                    .collect(),
                _ => Vec::new(),
            }
        };
        match &node.value {
            Value::Text(path) => Ok(Self {
                paths: vec![path.clone()],
                directory: String::new(),
                env_files: Vec::new(),
            }),
            Value::Map(map) => Ok(Self {
                paths: texts(map.get("path")),
                directory: map.text("project_directory").unwrap_or_default().to_owned(),
                env_files: texts(map.get("env_file")),
            }),
            _ => Err(Fault::at(
                node.at,
                "an entry of `include` must be a path or a mapping",
            )),
        }
    }
}

/// Puts what was included under the document that includes it; the document wins.
fn import(imported: Node, document: &mut Node, resets: &Resets) -> Step<()> {
    let (Value::Map(imported), Some(target)) = (imported.value, document.as_map_mut()) else {
        return Ok(());
    };
    for (section, entry) in imported.0 {
        let is_resource = matches!(
            section.as_str(),
            "services" | "volumes" | "networks" | "secrets" | "configs" | "models"
        );
        let Value::Map(resources) = entry.node.value else {
            continue;
        };
        if !is_resource {
            continue;
        }
        if target
            .get(&section)
            .is_none_or(|node| node.as_map().is_none())
        {
            target.insert(section.clone(), Node::map(Map::default(), entry.node.at));
        }
        let Some(known) = target.get_mut(&section).and_then(Node::as_map_mut) else {
            continue;
        };
        for (name, resource) in resources.0 {
            let mut base = resource.node;
            let merged = match known.remove(&name) {
                None => base,
                Some(own) => {
                    resets.apply_below(&mut base, &[&section, &name]);
                    merge(base, own, Path::root().next(&section).next(&name))?
                }
            };
            known.insert(name, merged);
        }
    }
    Ok(())
}
