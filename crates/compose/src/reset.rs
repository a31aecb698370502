//! `!reset` and `!override`: what a later file takes back of earlier ones.

use crate::tree::{Node, Order, Value};

/// The paths that one document resets in what came before it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resets(Vec<Vec<String>>);

impl Resets {
    /// Takes the tags off a document; what `!reset` stands on is gone from it.
    pub(crate) fn take(document: &mut Node) -> Self {
        let mut resets = Self::default();
        let mut path = Vec::new();
        resets.visit(document, &mut path);
        resets
    }

    /// Whether the node stays in its document.
    fn visit(&mut self, node: &mut Node, path: &mut Vec<String>) -> bool {
        match std::mem::take(&mut node.order) {
            Order::None => {}
            Order::Reset => {
                self.0.push(path.clone());
                return false;
            }
            Order::Override => {
                self.0.push(path.clone());
                return true;
            }
        }
        match &mut node.value {
            Value::Map(map) => map.0.retain(|key, entry| {
                path.push(key.clone());
                let stays = self.visit(&mut entry.node, path);
                path.pop();
                stays
            }),
            Value::List(list) => list.retain_mut(|node| {
                path.push("[]".to_owned());
                let stays = self.visit(node, path);
                path.pop();
                stays
            }),
            _ => {}
        }
        true
    }

    /// Forgets what the document resets.
    pub(crate) fn apply(&self, node: &mut Node) {
        self.apply_below(node, &[]);
    }

    /// As [`Self::apply`], for a node that stands at `prefix`.
    pub(crate) fn apply_below(&self, node: &mut Node, prefix: &[&str]) {
        for path in &self.0 {
            let below = path
                .iter()
                .zip(prefix)
                .all(|(ours, theirs)| ours == theirs)
                .then(|| path.get(prefix.len()..))
                .flatten();
            if let Some(path) = below {
                remove(node, path);
            }
        }
    }
}

fn remove(node: &mut Node, path: &[String]) {
    let Some(map) = node.as_map_mut() else { return };
    match path {
        [] => {}
        [key] => {
            map.remove(key);
        }
        [key, rest @ ..] => {
            if let Some(node) = map.get_mut(key) {
                remove(node, rest);
            }
        }
    }
}
