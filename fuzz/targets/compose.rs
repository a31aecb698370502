//! Compose files, their overrides, includes and env files: whatever they say, the loader ends,
//! and what it loads can be shown, hashed and put in order.
#![no_main]

use std::collections::BTreeMap;
use std::io;

use compose::{FileKind, Files, Format, Request};
use libfuzzer_sys::fuzz_target;

struct Memory(BTreeMap<String, Vec<u8>>);

impl Files for Memory {
    fn kind(&self, path: &str) -> FileKind {
        match self.0.contains_key(path) {
            true => FileKind::File,
            false => FileKind::Missing,
        }
    }

    fn read(&self, path: &str, _bytes_max: usize) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn real_path(&self, path: &str) -> io::Result<String> {
        Ok(path.to_owned())
    }
}

fuzz_target!(|data: &[u8]| {
    let names = ["compose.yaml", "compose.override.yml", ".env", "other.yaml"];
    let parts = data.split(|byte| *byte == 0);
    let files = names.iter().zip(parts);
    let files = Memory(files.map(|(name, text)| (format!("/p/{name}"), text.to_vec())).collect());
    let request = Request {
        working_dir: "/p".to_owned(),
        ..Request::default()
    };
    let Ok(loaded) = compose::load(&request, &files) else {
        return;
    };
    let project = &loaded.project;
    for format in [Format::Yaml, Format::Json] {
        let _ = compose::show(project, format);
    }
    for service in project.services.values() {
        assert_eq!(compose::service_hash(service).len(), 64);
    }
    let order = compose::dependency_order(project).expect("a loaded project has no circle");
    assert_eq!(order.len(), project.services.len());
    let _ = loaded.explain("services");
    let _ = loaded.variables();
});
