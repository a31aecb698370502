//! YAML: text to trees with positions, and trees to text as Docker Compose writes it.
//!
//! The events of saphyr's parser are put together here, not by saphyr, because its own loader
//! copies the target of every alias without a limit. Here each node is counted, also those that
//! an alias repeats, so that a bomb of aliases ends at [`YAML_NODES_MAX`].

pub(crate) mod emit;
mod scalar;

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use crate::error::{Fault, Mark, Step};
use crate::tree::{Entry, Map, Node, Order, Value};

pub(crate) use scalar::resolve_plain;

/// The largest file.
pub(crate) const YAML_BYTES_MAX: usize = 4 << 20;
/// The most values in one file, those that aliases repeat counted each time.
pub(crate) const YAML_NODES_MAX: usize = 200_000;
/// The most mappings and lists within each other.
pub(crate) const YAML_DEPTH_MAX: usize = 64;

/// Reads all documents of one file.
pub(crate) fn parse(text: &str, file: u16) -> Step<Vec<Node>> {
    if text.len() > YAML_BYTES_MAX {
        return Err(Fault::at(
            Mark::file(file),
            format!("the file is larger than {} MiB", YAML_BYTES_MAX >> 20),
        ));
    }
    let mut builder = Builder {
        events: Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)),
        file,
        anchors: HashMap::new(),
        nodes: 0,
    };
    builder.documents()
}

struct Builder<'a> {
    events: Parser<'a, StrInput<'a>>,
    file: u16,
    /// Anchors with the number of their nodes.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

impl<'a> Builder<'a> {
    fn documents(&mut self) -> Step<Vec<Node>> {
        let mut documents = Vec::new();
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(documents),
                Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                Event::DocumentStart(_) => {
                    self.anchors.clear();
                    let first = self.next()?;
                    documents.push(self.node(first, 0)?);
                }
                _ => return Err(Fault::at(self.mark(span), "unexpected YAML")),
            }
        }
    }

    fn next(&mut self) -> Step<(Event<'a>, Span)> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let at = self.mark_of(error.marker().line(), error.marker().col());
                Err(Fault::at(at, format!("invalid YAML: {}", error.info())))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn mark(&self, span: Span) -> Mark {
        self.mark_of(span.start.line(), span.start.col())
    }

    fn mark_of(&self, line: usize, column: usize) -> Mark {
        Mark {
            file: self.file,
            line: line as u32,
            column: column as u32 + 1,
        }
    }

    fn count(&mut self, nodes: usize, at: Mark) -> Step<()> {
        self.nodes += nodes;
        if self.nodes > YAML_NODES_MAX {
            return Err(Fault::at(
                at,
                format!("more than {YAML_NODES_MAX} values, those counted that aliases repeat"),
            ));
        }
        Ok(())
    }

    fn node(&mut self, (event, span): (Event<'a>, Span), depth: usize) -> Step<Node> {
        let at = self.mark(span);
        if depth > YAML_DEPTH_MAX {
            let text = format!("more than {YAML_DEPTH_MAX} mappings and lists within each other");
            return Err(Fault::at(at, text));
        }
        let before = self.nodes;
        self.count(1, at)?;
        let (anchor, tag, value) = match event {
            Event::Alias(anchor) => return self.alias(anchor, at),
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar_value(text, style, tag.as_deref(), at)?;
                (anchor, tag, value)
            }
            Event::SequenceStart(anchor, tag) => (anchor, tag, self.list(depth)?),
            Event::MappingStart(anchor, tag) => (anchor, tag, self.mapping(depth)?),
            _ => return Err(Fault::at(at, "unexpected YAML")),
        };
        let mut node = Node::new(value, at);
        node.order = order_of(tag.as_deref());
        if anchor > 0 {
            let nodes = self.nodes - before;
            self.anchors.insert(anchor, (node.clone(), nodes));
            self.count(nodes, at)?;
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, at: Mark) -> Step<Node> {
        let Some(&(_, nodes)) = self.anchors.get(&anchor) else {
            // Inside the anchor's own value: it would contain itself.
            return Err(Fault::at(
                at,
                "this alias refers to a value that contains it",
            ));
        };
        self.count(nodes, at)?;
        let (node, _) = &self.anchors[&anchor];
        Ok(node.clone())
    }

    fn list(&mut self, depth: usize) -> Step<Value> {
        let mut list = Vec::new();
        loop {
            let next = self.next()?;
            if next.0 == Event::SequenceEnd {
                return Ok(Value::List(list));
            }
            list.push(self.node(next, depth + 1)?);
        }
    }

    fn mapping(&mut self, depth: usize) -> Step<Value> {
        let mut map = Map::default();
        let mut merged = None;
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let key_at = self.mark(span);
            let is_merge =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = self.node((event, span), depth + 1)?;
            let value = self.next()?;
            let node = self.node(value, depth + 1)?;
            if is_merge {
                if merged.replace(node).is_some() {
                    return Err(Fault::at(key_at, "mapping key \"<<\" is already defined"));
                }
                continue;
            }
            let Value::Text(key) = key.value else {
                return Err(
                    Fault::at(key_at, format!("a key is a {}, not a string", key.kind()))
                        .with_hint("put it in quotes"),
                );
            };
            if let Some(first) = map.0.get(&key) {
                let line = first.key_at.line;
                let text = format!("mapping key \"{key}\" already defined at line {line}");
                return Err(Fault::at(key_at, text));
            }
            map.0.insert(key, Entry { key_at, node });
        }
        if let Some(node) = merged {
            merge_into(&mut map, node)?;
        }
        Ok(Value::Map(map))
    }
}

/// The merge key: what the mapping itself says wins, then the first of several.
fn merge_into(map: &mut Map, node: Node) -> Step<()> {
    match node.value {
        Value::Map(other) => {
            for (key, entry) in other.0 {
                map.0.entry(key).or_insert(entry);
            }
            Ok(())
        }
        Value::List(list) if list.iter().all(|node| node.as_map().is_some()) => {
            list.into_iter().try_for_each(|node| merge_into(map, node))
        }
        _ => Err(Fault::at(
            node.at,
            "a merge key << takes a mapping or a list of mappings",
        )),
    }
}

fn order_of(tag: Option<&Tag>) -> Order {
    match tag {
        Some(tag) if tag.handle == "!" && tag.suffix == "reset" => Order::Reset,
        Some(tag) if tag.handle == "!" && tag.suffix == "override" => Order::Override,
        _ => Order::None,
    }
}

fn scalar_value(
    text: Cow<'_, str>,
    style: ScalarStyle,
    tag: Option<&Tag>,
    at: Mark,
) -> Step<Value> {
    let core = tag.filter(|tag| tag.is_yaml_core_schema());
    match core.map(|tag| tag.suffix.as_str()) {
        None if style == ScalarStyle::Plain
            && tag.is_none_or(|tag| order_of(Some(tag)) != Order::None) =>
        {
            Ok(resolve_plain(&text))
        }
        None | Some("str" | "binary" | "timestamp") => Ok(Value::Text(text.into_owned())),
        Some(sort) => scalar::resolve_as(sort, &text)
            .ok_or_else(|| Fault::at(at, format!("cannot read `{text}` as a !!{sort}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Fault {
        parse(text, 0).unwrap_err()
    }

    #[test]
    fn a_bomb_of_aliases_ends_at_the_limit() {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..12 {
            let below = format!("*a{}", level - 1);
            let ten = vec![below; 10].join(",");
            text.push_str(&format!("a{level}: &a{level} [{ten}]\n"));
        }
        assert!(fault(&text).text.contains("200000 values"));
    }

    #[test]
    fn depth_and_self_reference_are_refused() {
        let deep: String = (0..100).map(|level| " ".repeat(level) + "a:\n").collect();
        assert!(fault(&deep).text.contains("within each other"));
        // Brackets end at the parser's own limit, which is lower than any stack's.
        fault(&"[".repeat(100_000));
        assert!(fault("a: &x [*x]").text.contains("contains it"));
    }

    #[test]
    fn a_key_twice_is_an_error_with_both_places() {
        let fault = fault("a: 1\nb: 2\na: 3\n");
        assert_eq!(fault.text, "mapping key \"a\" already defined at line 1");
        let at = fault.at.unwrap();
        assert_eq!((at.line, at.column), (3, 1));
    }

    #[test]
    fn merge_keys_fill_what_is_absent() {
        let tree = parse(
            "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [*a, {z: 4}]}",
            0,
        )
        .unwrap();
        let root = tree[0].as_map().unwrap();
        let b = root.get("b").unwrap().as_map().unwrap();
        assert_eq!(b.get("y").unwrap().scalar_text().unwrap(), "3");
        assert_eq!(b.get("x").unwrap().scalar_text().unwrap(), "1");
        assert!(root.get("c").unwrap().as_map().unwrap().has("z"));
    }
}
