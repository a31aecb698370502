//! The journal of events, written and read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use storage::store::Store;
use types::event::Event;

use crate::Engine;

/// The longest line of the journal that is read.
const LINE_BYTES_MAX: usize = 1 << 20;

/// The journal of a store.
pub(crate) fn journal(store: &Store) -> PathBuf {
    store.run_root().join("events")
}

/// Appends an event. That nobody can be told must not fail what happened.
pub(crate) fn append(journal: &Path, event: &Event) {
    if let Ok(line) = serde_json::to_string(event) {
        let _ = sys::journal::append(journal, &line);
    }
}

/// Objects of a kind were pruned.
pub(crate) fn prune(kind: &str, reclaimed_bytes: u64) -> Event {
    Event {
        kind: kind.into(),
        action: "prune".into(),
        id: String::new(),
        attributes: BTreeMap::from([("reclaimed".into(), reclaimed_bytes.to_string())]),
        time_ns: sys::journal::now_ns(),
    }
}

impl Engine {
    /// Appends an event.
    pub fn append_event(&self, event: &Event) {
        append(&self.journal(), event);
    }

    /// Tells that objects of a kind were pruned, and how many bytes that gave back.
    pub fn announce_prune(&self, kind: &str, reclaimed_bytes: u64) {
        self.append_event(&prune(kind, reclaimed_bytes));
    }

    /// Reads the events of the journal that are kept, oldest first, then (with `follow`) what
    /// comes, until `take` says enough or `until_ns` has passed.
    pub fn events(
        &self,
        follow_until_ns: Option<i64>,
        take: &mut dyn FnMut(&Event) -> std::ops::ControlFlow<()>,
    ) {
        let path = self.journal();
        if let Ok(file) = File::open(path.with_extension("1"))
            && read_lines(&mut BufReader::new(file), take)
        {
            return;
        }
        let mut reader = File::open(&path).ok().map(BufReader::new);
        loop {
            if let Some(open) = &mut reader {
                if read_lines(open, take) {
                    return;
                }
                let same = rustix::fs::fstat(open.get_ref())
                    .ok()
                    .map(|stat| stat.st_ino)
                    == rustix::fs::stat(&path).ok().map(|stat| stat.st_ino);
                if !same {
                    reader = None;
                }
            }
            match follow_until_ns {
                None => return,
                Some(until) if sys::journal::now_ns() >= until => return,
                Some(_) => std::thread::sleep(std::time::Duration::from_millis(20)),
            }
            if reader.is_none() {
                reader = File::open(&path).ok().map(BufReader::new);
            }
        }
    }
}

/// Reads to the present end; true where the taker has enough.
fn read_lines(
    reader: &mut BufReader<File>,
    take: &mut dyn FnMut(&Event) -> std::ops::ControlFlow<()>,
) -> bool {
    let mut line = String::new();
    loop {
        line.clear();
        match reader.read_line(&mut line) {
            Ok(1..) if line.len() <= LINE_BYTES_MAX => {}
            _ => return false,
        }
        if let Ok(event) = serde_json::from_str(&line)
            && take(&event).is_break()
        {
            return true;
        }
    }
}
