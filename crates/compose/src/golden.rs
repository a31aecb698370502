//! Files and projects for the tests of this crate.

use std::collections::BTreeMap;
use std::io;

use crate::corpus::{corpus, read};
use crate::{FileKind, Files, Format, Options, Request};

/// The files of this machine.
pub(crate) struct HostFiles;

impl Files for HostFiles {
    fn kind(&self, path: &str) -> FileKind {
        match std::fs::metadata(path) {
            Ok(data) if data.is_file() => FileKind::File,
            Ok(data) if data.is_dir() => FileKind::Directory,
            Ok(_) => FileKind::Other,
            Err(_) => FileKind::Missing,
        }
    }

    fn read(&self, path: &str, _bytes_max: usize) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn real_path(&self, path: &str) -> io::Result<String> {
        let path = std::fs::canonicalize(path)?;
        Ok(path.to_str().unwrap().to_owned())
    }
}

/// Files in memory.
#[derive(Default)]
pub(crate) struct MemoryFiles(pub(crate) BTreeMap<String, String>);

impl MemoryFiles {
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let pair = |(path, text): &(&str, &str)| (format!("/p/{path}"), (*text).to_owned());
        Self(files.iter().map(pair).collect())
    }

    pub(crate) fn load(&self) -> Result<crate::Loaded, crate::ComposeError> {
        let request = Request {
            working_dir: "/p".to_owned(),
            ..Request::default()
        };
        crate::load(&request, self)
    }
}

impl Files for MemoryFiles {
    fn kind(&self, path: &str) -> FileKind {
        match self.0.contains_key(path) {
            true => FileKind::File,
            false => FileKind::Missing,
        }
    }

    fn read(&self, path: &str, _bytes_max: usize) -> io::Result<Vec<u8>> {
        Ok(self.0[path].clone().into_bytes())
    }

    fn real_path(&self, path: &str) -> io::Result<String> {
        Ok(path.to_owned())
    }
}

/// Answers that we give differently on purpose, each with the reason.
const EXCEPTIONS: [(&str, &str); 4] = [
    (
        "compose/compose-spec__compose-go/cli/testdata/env-file/compose-with-env-files.yaml",
        NO_DOT_ENV,
    ),
    (
        "compose/docker__compose/pkg/e2e/fixtures/dotenv/development/compose.yaml",
        NO_DOT_ENV,
    ),
    (
        "compose/docker__compose/pkg/e2e/fixtures/nested/compose.yaml",
        NO_DOT_ENV,
    ),
    (
        "compose/docker__compose/pkg/e2e/fixtures/build-test/ssh/compose.yaml",
        "nothing recorded: theirs does not print the keys of build.ssh as JSON",
    ),
];
const NO_DOT_ENV: &str = "recorded without the .env beside the file, which Docker Compose reads";

fn load_case(file: &str, profiles: &[String]) -> Result<crate::Loaded, crate::ComposeError> {
    let path = std::fs::canonicalize(corpus(file).unwrap()).unwrap();
    let environment = [
        ("HOME", "/root"),
        ("PWD", path.parent().unwrap().to_str().unwrap()),
    ];
    let request = Request {
        working_dir: path.parent().unwrap().to_str().unwrap().to_owned(),
        files: vec![path.to_str().unwrap().to_owned()],
        project_name: Some("golden".to_owned()),
        profiles: profiles.to_vec(),
        environment: environment
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        options: Options::default(),
        ..Request::default()
    };
    crate::load(&request, &HostFiles)
}

#[test]
fn every_recorded_project_is_ours_byte_for_byte() {
    let root = corpus("").map(|path| std::fs::canonicalize(path).unwrap());
    let root = root.map(|path| path.to_str().unwrap().to_owned());
    let mut wrong = Vec::new();
    let cases = read("compose-golden.jsonl");
    for case in &cases {
        let file = case["file"].as_str().unwrap();
        let profiles: Vec<String> = case["profiles"]
            .as_array()
            .unwrap()
            .iter()
            .map(|profile| profile.as_str().unwrap().to_owned())
            .collect();
        let root = root.as_ref().unwrap();
        match (load_case(file, &profiles), case["error"].as_str()) {
            (Err(_), Some(_)) => {}
            (Ok(loaded), None) => {
                let ours = crate::show(&loaded.project, Format::Json).replace(root, "@ROOT@");
                // Parsed and written again: only the spaces differ from what was recorded.
                let ours: serde_json::Value = serde_json::from_str(&ours).unwrap();
                let (ours, theirs) = (ours.to_string(), case["config"].to_string());
                if ours != theirs {
                    wrong.push(format!(
                        "{file} {profiles:?}\n  ours   {ours}\n  theirs {theirs}"
                    ));
                }
            }
            (Ok(_), Some(error)) => wrong.push(format!("{file} loads, instead of: {error}")),
            (Err(error), None) => wrong.push(format!("{file} {profiles:?}: {error}")),
        }
    }
    wrong.retain(|text| !EXCEPTIONS.iter().any(|(file, _)| text.starts_with(file)));
    assert!(
        wrong.is_empty(),
        "{} of {} differ:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}
