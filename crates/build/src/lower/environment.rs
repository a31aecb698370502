//! Variables in an order, found by name.

use std::collections::HashMap;
use std::rc::Rc;

use crate::dockerfile::words::Variables;

/// Variables. A stage's have the order in which they were last set, an image's that in which they
/// were first set; both as BuildKit has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    index: HashMap<Rc<str>, usize>,
    /// A variable that moved left a hole.
    entries: Vec<Option<(Rc<str>, Rc<str>)>>,
    bytes: usize,
}

impl Environment {
    /// Reads `NAME=value` pairs; a name alone has an empty value.
    pub(super) fn from_pairs<T: AsRef<str>>(pairs: &[T]) -> Self {
        let mut environment = Self::default();
        for pair in pairs {
            let pair = pair.as_ref();
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            environment.replace(name, value);
        }
        environment
    }

    /// Sets a variable; a new one goes to the end, a known one stays where it is.
    pub(super) fn replace(&mut self, name: &str, value: &str) {
        self.bytes += name.len() + value.len() + 1;
        match self.index.get(name) {
            Some(&at) => {
                if let Some((name, old)) = self.entries.get_mut(at).and_then(Option::as_mut) {
                    self.bytes -= name.len() + old.len() + 1;
                    *old = value.into();
                }
            }
            None => self.push(name, value),
        }
    }

    /// Sets a variable, which goes to the end.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.bytes += name.len() + value.len() + 1;
        self.push(name, value);
    }

    pub(super) fn remove(&mut self, name: &str) {
        let hole = self.index.remove(name);
        if let Some(hole) = hole.and_then(|at| self.entries.get_mut(at))
            && let Some((name, value)) = hole.take()
        {
            self.bytes -= name.len() + value.len() + 1;
        }
    }

    fn push(&mut self, name: &str, value: &str) {
        if self.entries.len() > 2 * self.index.len() + 16 {
            self.entries.retain(Option::is_some);
            for (at, (name, _)) in self.entries.iter().flatten().enumerate() {
                self.index.insert(Rc::clone(name), at);
            }
        }
        let name: Rc<str> = name.into();
        self.index.insert(Rc::clone(&name), self.entries.len());
        self.entries.push(Some((name, value.into())));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.entries.iter().flatten();
        entries.map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// The names, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(name, _)| name)
    }

    /// `NAME=value` of each.
    pub(super) fn pairs(&self) -> Vec<String> {
        self.iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    /// What the pairs take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Variables for Environment {
    fn get(&self, name: &str) -> Option<&str> {
        let entry = self.entries.get(*self.index.get(name)?)?.as_ref()?;
        Some(&entry.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_keep_the_order_that_is_asked_for() {
        let mut environment = Environment::from_pairs(&["A=1", "B", "A=2"]);
        assert_eq!(environment.pairs(), ["A=2", "B="]);
        environment.set("A", "3");
        assert_eq!(environment.pairs(), ["B=", "A=3"]);
        for round in 0..100 {
            environment.set("A", &round.to_string());
            environment.set("C", "x");
        }
        environment.remove("C");
        assert_eq!(environment.pairs(), ["B=", "A=99"]);
        assert_eq!(environment.get("A"), Some("99"));
        assert_eq!(environment.get("C"), None);
        assert!(environment.entries.len() < 30);
        let bytes: usize = environment.pairs().iter().map(String::len).sum();
        assert_eq!(environment.bytes(), bytes);
    }
}
