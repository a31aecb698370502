//! `extends`: services made from other services.

use super::{Group, Loader, Mode, NESTING_MAX, Source, local};
use crate::error::{Fault, Mark, Step};
use crate::merge::merge;
use crate::places;
use crate::reset::Resets;
use crate::schema;
use crate::tree::{Map, Node, Path, Value};

impl Loader<'_> {
    pub(super) fn extend_all(
        &self,
        document: &mut Node,
        source: &Source,
        group: &Group<'_>,
        resets: &Resets,
    ) -> Step<()> {
        let Some(services) = document
            .as_map_mut()
            .and_then(|map| map.get_mut("services"))
        else {
            return Ok(());
        };
        let at = services.at;
        let Some(services) = services.as_map_mut() else {
            return Err(Fault::at(at, "services must be a mapping"));
        };
        let names: Vec<String> = services.0.keys().cloned().collect();
        let context = Extending { source, group };
        for name in names {
            self.extend(&name, services, &context, &[], resets)?;
        }
        Ok(())
    }

    /// Merges a service onto what it extends, and keeps the result in `services`.
    fn extend(
        &self,
        name: &str,
        services: &mut Map,
        context: &Extending<'_>,
        chain: &[(String, String)],
        resets: &Resets,
    ) -> Step<Node> {
        let Some(service) = services.get(name) else {
            return Ok(Node::null(Mark::default()));
        };
        let at = service.at;
        let extends = match &service.value {
            Value::Null => return Ok(service.clone()),
            Value::Map(map) => map.get("extends").cloned(),
            _ => return Err(Fault::at(at, format!("services.{name} must be a mapping"))),
        };
        let Some(extends) = extends else {
            return Ok(service.clone());
        };
        let (target, file) = extended(&extends, name)?;
        let file_name = file.clone().unwrap_or_else(|| context.source.path.clone());
        let chain = follow(chain, &file_name, name, extends.at)?;
        let base = match file {
            Some(file) => {
                let (mut others, resets) = self.base_file(&file, &extends, context)?;
                require(&others, &target, name, &file, extends.at)?;
                self.extend(&target, &mut others, context, &chain, &resets)?
            }
            None => {
                require(services, &target, name, &context.source.path, extends.at)?;
                self.extend(&target, services, context, &chain, resets)?
            }
        };
        let Some(service) = services.get(name).cloned() else {
            return Ok(Node::null(at));
        };
        if base.is_null() {
            return Ok(service);
        }
        let mut base = base;
        resets.apply_below(&mut base, &["services", name]);
        let path = Path::root().next("services").next("x");
        let mut merged = merge(base, service, path)?;
        if let Some(map) = merged.as_map_mut() {
            map.remove("extends");
        }
        merged.at = at;
        services.insert(name, merged.clone());
        Ok(merged)
    }

    /// The services of a file that is extended, their paths as seen from here.
    fn base_file(
        &self,
        file: &str,
        extends: &Node,
        context: &Extending<'_>,
    ) -> Step<(Map, Resets)> {
        let group = context.group;
        let source = local(file, &group.place.absolute, Some(extends.at))?;
        // Who asks for it is to blame, not the file that is not there.
        self.is_readable(&source.path, extends.at)?;
        let directory = places::directory(&source.path);
        let written = places::relative(&group.place.absolute, &directory);
        let mode = Mode {
            include: false,
            extends: false,
            validate: false,
        };
        let empty = Node::map(Map::default(), Mark::default());
        let (mut model, resets) = self
            .file(&source, group, mode, empty)
            .map_err(|fault| fault.or_at(extends.at))?;
        self.resolve_paths(&mut model, &written, group.env)?;
        let services = model.as_map_mut().and_then(|map| map.remove("services"));
        match services.map(|node| node.value) {
            Some(Value::Map(services)) => Ok((services, resets)),
            _ => Err(Fault::at(
                extends.at,
                format!("{file} has no services to extend"),
            )),
        }
    }
}

/// Who extends: the file, and the group that paths are relative to.
struct Extending<'a> {
    source: &'a Source,
    group: &'a Group<'a>,
}

/// What `extends` says: a service, and the file if it is another.
fn extended(extends: &Node, name: &str) -> Step<(String, Option<String>)> {
    match &extends.value {
        Value::Text(service) => Ok((service.clone(), None)),
        Value::Map(map) => match map.text("service") {
            Some(service) => Ok((service.to_owned(), map.text("file").map(str::to_owned))),
            None => Err(Fault::at(
                extends.at,
                format!("extends.{name}.service is required"),
            )),
        },
        _ => Err(Fault::at(
            extends.at,
            "extends must be a service's name or a mapping",
        )),
    }
}

fn require(services: &Map, target: &str, name: &str, file: &str, at: Mark) -> Step<()> {
    if services.has(target) {
        return Ok(());
    }
    let text = format!("cannot extend service {name:?} in {file}: service {target:?} not found");
    let near = services
        .0
        .keys()
        .min_by_key(|known| schema::distance(known, target));
    let fault = Fault::at(at, text);
    Err(
        match near.filter(|near| schema::distance(near, target) <= 2) {
            Some(near) => fault.with_hint(format!("did you mean `{near}`?")),
            None => fault,
        },
    )
}

/// One more service in a chain of those that extend each other; a circle is drawn.
fn follow(
    chain: &[(String, String)],
    file: &str,
    service: &str,
    at: Mark,
) -> Step<Vec<(String, String)>> {
    let step = (file.to_owned(), service.to_owned());
    let mut longer = chain.to_vec();
    let is_known = longer.contains(&step);
    longer.push(step);
    if !is_known && longer.len() <= NESTING_MAX {
        return Ok(longer);
    }
    let mut text = String::from("Circular reference:");
    for (index, (file, service)) in longer.iter().enumerate() {
        let word = if index == 0 { "" } else { "extends " };
        text.push_str(&format!("\n  {word}{service} in {file}"));
    }
    Err(Fault::at(at, text))
}
