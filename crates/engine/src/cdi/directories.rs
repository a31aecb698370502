//! The files of all directories, and the devices that they describe.

use std::path::{Path, PathBuf};

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::Value;

use super::document::{DescribedDevice, Document};
use crate::error::EngineError;

const FILE_BYTES_MAX: u64 = 4 << 20;
const FILES_MAX: usize = 256;

/// A file that was understood.
pub(super) struct Described {
    pub(super) path: PathBuf,
    pub(super) document: Document,
    /// Its directory's place in the list: a later one wins.
    rank: usize,
}

/// All files.
pub(super) struct Registry {
    files: Vec<Described>,
    /// What could not be read, told where a device is missing.
    broken: Vec<String>,
    directories: Vec<PathBuf>,
}

impl Registry {
    /// Reads every `.json` and `.yaml` file. One that is broken concerns only those who ask for
    /// what is missing.
    pub(super) fn read(directories: &[PathBuf]) -> Self {
        let mut registry = Self {
            files: Vec::new(),
            broken: Vec::new(),
            directories: directories.to_vec(),
        };
        for (rank, directory) in directories.iter().enumerate() {
            for path in files(directory) {
                match read(&path) {
                    Ok(document) => registry.files.push(Described {
                        path,
                        document,
                        rank,
                    }),
                    Err(text) => registry.broken.push(format!("{}: {text}", path.display())),
                }
            }
        }
        registry
    }

    /// Whether any file describes devices of this kind (`vendor.com/class`).
    pub(super) fn has_kind(&self, kind: &str) -> bool {
        self.files.iter().any(|file| file.document.kind == kind)
    }

    /// The devices with these names.
    pub(super) fn all(
        &self,
        names: &[String],
    ) -> Result<Vec<(&Described, &DescribedDevice)>, EngineError> {
        let mut missing = Vec::new();
        let mut found = Vec::new();
        for name in names {
            match self.find(name)? {
                Some(device) => found.push(device),
                None => missing.push(name.as_str()),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let broken = match self.broken.first() {
            Some(broken) => format!(" ({broken})"),
            None => String::new(),
        };
        Err(EngineError::invalid(format!(
            "CDI device injection failed: unresolvable CDI devices {}: no file in {} describes \
             them{broken}",
            missing.join(", "),
            self.places()
        )))
    }

    /// The directories, for an error.
    pub(super) fn places(&self) -> String {
        let names = self
            .directories
            .iter()
            .map(|path| path.display().to_string());
        names.collect::<Vec<_>>().join(", ")
    }

    fn find(&self, name: &str) -> Result<Option<(&Described, &DescribedDevice)>, EngineError> {
        let Some((kind, device)) = name.split_once('=') else {
            return Ok(None);
        };
        let mut found: Vec<_> = self
            .files
            .iter()
            .filter(|file| file.document.kind == kind)
            .flat_map(|file| file.document.devices.iter().map(move |one| (file, one)))
            .filter(|(_, one)| one.name == device)
            .collect();
        let highest = found.iter().map(|(file, _)| file.rank).max();
        found.retain(|(file, _)| Some(file.rank) == highest);
        match found[..] {
            [(first, _), (second, _), ..] => Err(EngineError::invalid(format!(
                "CDI device injection failed: {name} is described twice, in {} and {}",
                first.path.display(),
                second.path.display()
            ))),
            _ => Ok(found.pop()),
        }
    }
}

/// In the order of their names.
fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let is_description = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("json" | "yaml"))
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = paths.filter(is_description).take(FILES_MAX).collect();
    paths.sort();
    paths
}

fn read(path: &Path) -> Result<Document, String> {
    let bytes =
        sys::atomic::read_limited(path, FILE_BYTES_MAX).map_err(|error| error.to_string())?;
    let is_json = path
        .extension()
        .is_some_and(|extension| extension == "json");
    let document = if is_json {
        types::json::read(&bytes).map_err(|error| error.to_string())?
    } else {
        from_yaml(&bytes)?
    };
    check(document)
}

fn check(document: Document) -> Result<Document, String> {
    let version = document.version.trim_start_matches('v');
    if !version.starts_with("0.") && !version.starts_with("1.") {
        return Err(format!("version {version:?} of CDI is not known"));
    }
    Ok(document)
}

fn from_yaml(bytes: &[u8]) -> Result<Document, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let documents = Yaml::load_from_str(text).map_err(|error| error.to_string())?;
    let [document] = &documents[..] else {
        return Err("one YAML document is expected".to_owned());
    };
    types::json::read_value(&value(document)).map_err(|error| error.to_string())
}

/// The same data as JSON, which the format is defined in.
fn value(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Value(Scalar::Boolean(flag)) => Value::from(*flag),
        Yaml::Value(Scalar::Integer(number)) => Value::from(*number),
        Yaml::Value(Scalar::FloatingPoint(number)) => Value::from(number.into_inner()),
        Yaml::Value(Scalar::String(text)) => Value::from(text.as_ref()),
        Yaml::Representation(text, ..) => Value::from(text.as_ref()),
        Yaml::Sequence(items) => items.iter().map(value).collect(),
        Yaml::Mapping(pairs) => pairs
            .iter()
            .filter_map(|(key, one)| Some((key.as_str()?.to_owned(), value(one))))
            .collect(),
        Yaml::Tagged(_, inner) => value(inner),
        Yaml::Value(Scalar::Null) | Yaml::Alias(_) | Yaml::BadValue => Value::Null,
    }
}
