//! Files become one merged tree: several files, several documents, `include` and `extends`.
//!
//! The order is Docker Compose's. Each document is interpolated, gets its includes and what it
//! extends, and is merged onto what came before; the result is checked against the schema and put
//! into long form after every document.

mod extends;
mod include;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use crate::canonical::{self, Unreadable};
use crate::dotenv;
use crate::error::{ComposeError, Fault, Mark, Step};
use crate::files::{FileKind, Files};
use crate::interpolate::{Lookup, interpolate};
use crate::merge::{keep_last, merge};
use crate::normalize;
use crate::places::{Place, Resolver};
use crate::reset::Resets;
use crate::schema;
use crate::tree::{Map, Node, Path};
use crate::yaml;

/// The most files that one project may be made of, env files not counted.
pub(crate) const FILES_MAX: usize = 1000;
/// The most files that may include each other, and services that may extend each other.
pub(crate) const NESTING_MAX: usize = 32;

/// What the loader does and leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Replace variables.
    pub interpolate: bool,
    /// Name things and make what is implied explicit.
    pub normalize: bool,
    /// Make paths absolute.
    pub resolve_paths: bool,
    /// Check that what is referred to exists.
    pub check_consistency: bool,
    /// Read the env files of services.
    pub resolve_environment: bool,
    /// Check against the schema.
    pub validate: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            interpolate: true,
            normalize: true,
            resolve_paths: true,
            check_consistency: true,
            resolve_environment: true,
            validate: true,
        }
    }
}

/// One of the files of a project.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    /// Its content, if it is none that can be read (standard input).
    pub(crate) content: Option<Vec<u8>>,
}

/// Variables, with a list of those that were missing.
pub(crate) struct Env<'a> {
    pub(crate) vars: BTreeMap<String, String>,
    pub(crate) warnings: &'a RefCell<BTreeSet<String>>,
}

impl Lookup for Env<'_> {
    fn lookup(&self, name: &str) -> Option<&str> {
        self.vars.lookup(name)
    }

    fn missing(&self, name: &str) {
        self.warnings.borrow_mut().insert(format!(
            "The {name:?} variable is not set. Defaulting to a blank string."
        ));
    }
}

/// What one loading keeps track of.
pub(crate) struct Loader<'a> {
    pub(crate) files: &'a dyn Files,
    pub(crate) options: Options,
    /// The paths that [`Mark::file`] counts.
    pub(crate) sources: RefCell<Vec<String>>,
    pub(crate) warnings: RefCell<BTreeSet<String>>,
    pub(crate) opened: Cell<usize>,
}

/// How a set of files is read.
#[derive(Clone, Copy)]
pub(super) struct Mode {
    pub(super) include: bool,
    pub(super) extends: bool,
    pub(super) validate: bool,
}

/// A set of files and where they stand.
pub(super) struct Group<'a> {
    pub(super) sources: &'a [Source],
    pub(super) place: Place,
    pub(super) env: &'a Env<'a>,
    /// The files that included this one.
    pub(super) included: Vec<String>,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(files: &'a dyn Files, options: Options) -> Self {
        Self {
            files,
            options,
            sources: RefCell::default(),
            warnings: RefCell::default(),
            opened: Cell::new(0),
        }
    }

    /// The merged tree of a project's own files.
    pub(crate) fn model(&self, sources: &[Source], directory: &str, env: &Env<'_>) -> Step<Node> {
        let place = Place {
            absolute: directory.to_owned(),
            written: directory.to_owned(),
        };
        let group = Group {
            sources,
            place,
            env,
            included: Vec::new(),
        };
        let model = self.group(&group)?;
        if model.as_map().is_none_or(|map| map.0.is_empty()) {
            let at = Mark::file(0);
            return Err(Fault::at(at, "empty compose file"));
        }
        Ok(model)
    }

    /// The error that a fault is, with the name of its file.
    pub(crate) fn error(&self, fault: Fault) -> ComposeError {
        let sources = self.sources.borrow();
        let file = fault
            .at
            .and_then(|at| sources.get(usize::from(at.file)))
            .cloned();
        ComposeError {
            position: fault
                .at
                .filter(|at| at.line > 0)
                .map(|at| (at.line, at.column)),
            file,
            text: fault.text,
            hint: fault.hint,
        }
    }

    pub(super) fn group(&self, group: &Group<'_>) -> Step<Node> {
        let mode = Mode {
            include: true,
            extends: true,
            validate: self.options.validate,
        };
        let mut model = Node::map(Map::default(), Mark::default());
        for source in group.sources {
            model = self.file(source, group, mode, model)?.0;
        }
        canonical::set_defaults(&mut model, Path::root());
        if self.options.validate {
            canonical::validate(&model, Path::root())?;
        }
        if self.options.resolve_paths {
            self.resolve_paths(&mut model, &group.place.written, group.env)?;
        }
        if let Some(map) = model.as_map_mut() {
            normalize::resolve_environment(map, group.env);
        }
        Ok(model)
    }

    pub(super) fn resolve_paths(&self, model: &mut Node, base: &str, env: &dyn Lookup) -> Step<()> {
        let real_path = |path: &str| self.files.real_path(path).ok();
        let resolver = Resolver {
            base,
            home: env.lookup("HOME"),
            real_path: &real_path,
        };
        resolver.resolve(model, Path::root())
    }

    /// Reads one file onto `model`; also tells what its last document resets.
    pub(super) fn file(
        &self,
        source: &Source,
        group: &Group<'_>,
        mode: Mode,
        mut model: Node,
    ) -> Step<(Node, Resets)> {
        let (file, text) = self.open(source)?;
        let mut resets = Resets::default();
        for mut document in yaml::parse(&text, file)? {
            resets = Resets::take(&mut document);
            let at = document.at;
            if document.as_map().is_none() {
                return Err(Fault::at(at, "top-level object must be a mapping"));
            }
            if self.options.interpolate {
                interpolate(&mut document, Path::root(), group.env)?;
            }
            if mode.include {
                self.include(&mut document, source, group, &resets)?;
            }
            resets.apply(&mut model);
            if mode.extends {
                self.extend_all(&mut document, source, group, &resets)?;
            }
            model = merge(model, document, Path::root())?;
            keep_last(&mut model, Path::root())?;
            if mode.validate {
                schema::validate(&model)?;
                self.drop_version(&mut model, &source.path);
            }
            canonical::canonical(&mut model, Path::root(), self.unreadable())?;
            if let Some(map) = model.as_map_mut() {
                canonical::omit_empty(map);
            }
            keep_last(&mut model, Path::root())?;
        }
        Ok((model, resets))
    }

    fn unreadable(&self) -> Unreadable {
        match self.options.interpolate {
            true => Unreadable::Refuse,
            false => Unreadable::Leave,
        }
    }

    fn drop_version(&self, model: &mut Node, path: &str) {
        let version = model.as_map_mut().and_then(|map| map.remove("version"));
        if version.is_some() {
            self.warnings.borrow_mut().insert(format!(
                "{path}: the attribute `version` is obsolete, it will be ignored, please remove it to avoid potential confusion"
            ));
        }
    }

    fn open(&self, source: &Source) -> Step<(u16, String)> {
        self.opened.set(self.opened.get() + 1);
        if self.opened.get() > FILES_MAX {
            let text = format!("more than {FILES_MAX} files are included or extended");
            return Err(Fault::of_project(text));
        }
        let file = self.register(&source.path);
        let at = Mark::file(file);
        let content = match &source.content {
            Some(content) => content.clone(),
            None => self.read(&source.path, yaml::YAML_BYTES_MAX, at)?,
        };
        Ok((file, text_of(content, at)?))
    }

    fn register(&self, path: &str) -> u16 {
        let mut sources = self.sources.borrow_mut();
        let known = sources.iter().position(|known| known == path);
        let index = known.unwrap_or_else(|| {
            sources.push(path.to_owned());
            sources.len() - 1
        });
        u16::try_from(index).unwrap_or(u16::MAX)
    }

    fn read(&self, path: &str, bytes_max: usize, at: Mark) -> Step<Vec<u8>> {
        self.is_readable(path, at)?;
        self.files
            .read(path, bytes_max)
            .map_err(|error| Fault::at(at, format!("open {path}: {error}")))
    }

    /// Whether a path is a file, asked before it is opened.
    pub(super) fn is_readable(&self, path: &str, at: Mark) -> Step<()> {
        match wrong(self.files.kind(path)) {
            Some(wrong) => Err(Fault::at(at, format!("open {path}: {wrong}"))),
            None => Ok(()),
        }
    }

    /// Reads env files over each other, `outer` answering before them.
    pub(crate) fn env_files(
        &self,
        paths: &[String],
        outer: &dyn Lookup,
        at: Option<Mark>,
    ) -> Step<BTreeMap<String, String>> {
        let mut vars = BTreeMap::new();
        for path in paths {
            self.env_file(path, &mut vars, outer, at)?;
        }
        Ok(vars)
    }

    /// Reads one env file into `vars`.
    pub(crate) fn env_file(
        &self,
        path: &str,
        vars: &mut BTreeMap<String, String>,
        outer: &dyn Lookup,
        at: Option<Mark>,
    ) -> Step<()> {
        let (file, text) = self.env_text(path, at)?;
        dotenv::parse(&text, vars, outer).map_err(|error| {
            let (line, column) = (error.line, 1);
            Fault::at(
                Mark {
                    line,
                    column,
                    ..file
                },
                error.text,
            )
        })
    }

    /// Reads an env file without quotes and variables: everything behind `=` is the value.
    pub(crate) fn raw_env_file(
        &self,
        path: &str,
        vars: &mut BTreeMap<String, String>,
        at: Option<Mark>,
    ) -> Step<()> {
        let (file, text) = self.env_text(path, at)?;
        // Line by line, so that a fault has its place.
        for (line, content) in (1..).zip(text.split('\n')) {
            let lookup = |name: &str| vars.get(name).cloned();
            let column = 1;
            let pairs =
                types::env::parse_env_file(content.as_bytes(), lookup).map_err(|error| {
                    Fault::at(
                        Mark {
                            line,
                            column,
                            ..file
                        },
                        error.to_string(),
                    )
                })?;
            for pair in pairs {
                let (key, value) = types::env::split_key_value(&pair);
                vars.insert(key.to_owned(), value.to_owned());
            }
        }
        Ok(())
    }

    /// The text of an env file, and the mark of its start.
    fn env_text(&self, path: &str, at: Option<Mark>) -> Step<(Mark, String)> {
        let kind = self.files.kind(path);
        if kind != FileKind::File {
            let text = match (kind, wrong(kind)) {
                (FileKind::Missing, _) | (_, None) => format!("couldn't find env file: {path}"),
                (_, Some(wrong)) => format!("{path} {wrong}"),
            };
            return Err(Fault {
                at,
                ..Fault::of_project(text)
            });
        }
        let file = Mark::file(self.register(path));
        let content = self.read(path, dotenv::ENV_FILE_BYTES_MAX, at.unwrap_or(file))?;
        Ok((file, text_of(content, file)?))
    }
}

/// What is wrong with a path that is no file.
fn wrong(kind: FileKind) -> Option<&'static str> {
    match kind {
        FileKind::File => None,
        FileKind::Missing => Some("no such file or directory"),
        FileKind::Directory => Some("is a directory"),
        FileKind::Loop => Some("is a symbolic link that leads back to itself"),
        FileKind::Other => Some("is not a regular file"),
    }
}

/// The content of a file as text; a fault has the place of the first byte that is none.
fn text_of(content: Vec<u8>, file: Mark) -> Step<String> {
    let (at, text) = match std::str::from_utf8(&content) {
        Err(error) => (error.valid_up_to(), "the file is not UTF-8 text"),
        Ok(text) => match text.find('\0') {
            Some(at) => (at, "a NUL byte is no text"),
            None => return Ok(String::from_utf8(content).unwrap_or_default()),
        },
    };
    let before = String::from_utf8_lossy(&content[..at]);
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |line| line.chars().count())
        + 1;
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let (line, column) = (number(line), number(column));
    Err(Fault::at(
        Mark {
            line,
            column,
            ..file
        },
        text,
    ))
}

/// A file of this machine; what lies elsewhere is refused by name.
pub(crate) fn local(path: &str, directory: &str, at: Option<Mark>) -> Step<Source> {
    let is_remote = path.contains("://")
        || path.starts_with("git@")
        || path.starts_with("github.com/")
        || path.starts_with("oci:");
    if is_remote {
        let text = format!("remote resource {path:?}: files of other machines are not fetched");
        let hint = "clone or download it, and give the path of the copy";
        let fault = Fault {
            at,
            ..Fault::of_project(text)
        };
        return Err(fault.with_hint(hint));
    }
    Ok(Source {
        path: types::lexical_path::absolute(path, directory),
        content: None,
    })
}
