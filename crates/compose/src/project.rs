//! From a request to a project: which files, which variables, which name, which services.

use std::collections::BTreeMap;

use crate::check;
use crate::decode::decode;
use crate::error::{ComposeError, Fault, Mark, Step};
use crate::files::{FileKind, Files};
use crate::interpolate::{Variable, substitute, variables};
use crate::load::{Env, Loader, Options, Source, local};
use crate::model::Project;
use crate::normalize;
use crate::places;
use crate::select;
use crate::tree::{Node, Value};
use crate::yaml;

const FILE_NAMES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
];
const OVERRIDE_NAMES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// What a command wants loaded.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The caller's directory.
    pub working_dir: String,
    /// `--project-directory`.
    pub project_directory: Option<String>,
    /// `--file`, `-` for standard input.
    pub files: Vec<String>,
    /// What standard input says, if a file is `-`.
    pub stdin: Option<Vec<u8>>,
    /// `--project-name`.
    pub project_name: Option<String>,
    /// `--env-file`.
    pub env_files: Vec<String>,
    /// `--profile`.
    pub profiles: Vec<String>,
    /// The services asked for, none for all.
    pub services: Vec<String>,
    /// The caller's environment.
    pub environment: BTreeMap<String, String>,
    /// What to do and what to leave.
    pub options: Options,
}

/// A project and what was learnt on the way.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The project.
    pub project: Project,
    /// What the user should hear: variables that are not set, keys that mean nothing.
    pub warnings: Vec<String>,
    tree: Node,
    sources: Vec<String>,
}

/// Loads a project.
pub fn load(request: &Request, files: &dyn Files) -> Result<Loaded, ComposeError> {
    let loader = Loader::new(files, request.options);
    let result = Loading {
        request,
        loader: &loader,
        files: Vec::new(),
        vars: request.environment.clone(),
    }
    .run();
    match result {
        Ok((project, tree)) => Ok(Loaded {
            project,
            tree,
            warnings: loader.warnings.take().into_iter().collect(),
            sources: loader.sources.take(),
        }),
        Err(fault) => Err(loader.error(fault)),
    }
}

/// A text as the name of a project: lower case, and nothing but letters, digits, `_` and `-`.
pub fn normalize_project_name(text: &str) -> String {
    let kept: String = text
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(*c))
        .collect();
    kept.trim_start_matches(['_', '-']).to_owned()
}

struct Loading<'a> {
    request: &'a Request,
    loader: &'a Loader<'a>,
    files: Vec<String>,
    vars: BTreeMap<String, String>,
}

impl Loading<'_> {
    fn run(mut self) -> Step<(Project, Node)> {
        self.files = self.request.files.clone();
        self.vars
            .insert("PWD".to_owned(), self.request.working_dir.clone());
        self.read_env_files()?;
        self.find_files()?;
        self.read_env_files()?;
        self.given_name()?;
        if self.files.is_empty() {
            let text = "no configuration file provided: not found";
            return Err(Fault::of_project(text)
                .with_hint("make a compose.yaml here, or name a file with -f"));
        }
        let directory = self.directory();
        let sources = self.sources()?;
        let name = self.name(&sources, &directory)?;
        self.vars
            .insert("COMPOSE_PROJECT_NAME".to_owned(), name.clone());
        let env = Env {
            vars: std::mem::take(&mut self.vars),
            warnings: &self.loader.warnings,
        };
        let mut tree = self.loader.model(&sources, &directory, &env)?;
        if name.is_empty() && self.request.options.validate {
            return Err(Fault::of_project("project name must not be empty"));
        }
        if let Some(root) = tree.as_map_mut() {
            root.insert("name", Node::text(name.as_str(), Mark::default()));
            if self.request.options.normalize {
                normalize::normalize(root, &name, &env);
            }
        }
        let mut project: Project = decode(&tree)?;
        project.name = name;
        project.working_dir = directory;
        project.files = sources.into_iter().map(|source| source.path).collect();
        project.env_files = self
            .request
            .env_files
            .iter()
            .map(|path| types::lexical_path::absolute(path, &self.request.working_dir))
            .collect();
        project.environment = env.vars;
        self.finish(&mut project, &tree)?;
        Ok((project, tree))
    }

    fn finish(&self, project: &mut Project, tree: &Node) -> Step<()> {
        select::take_secret_values(project);
        select::enable_profiles(project, self.profiles(&project.environment));
        if self.request.options.check_consistency {
            check::consistency(project, tree)?;
        }
        select::select(project, &self.request.services)?;
        if self.request.options.resolve_environment {
            select::resolve_environment(project, self.loader, tree)?;
        }
        select::resolve_labels(project, self.loader, tree)?;
        let sources = self.loader.sources.borrow();
        let place = |path: &[&str]| {
            let at = check::locate(tree, path).filter(|at| at.line > 0)?;
            let file = sources.get(usize::from(at.file))?;
            Some((path.join("."), (file.clone(), at.line, at.column)))
        };
        let services = project.services.keys().map(|name| ("services", name));
        let networks = project.networks.keys().map(|name| ("networks", name));
        let volumes = project.volumes.keys().map(|name| ("volumes", name));
        let secrets = project.secrets.keys().map(|name| ("secrets", name));
        let configs = project.configs.keys().map(|name| ("configs", name));
        let all = services.chain(networks).chain(volumes);
        let all = all.chain(secrets).chain(configs);
        let mut places: BTreeMap<_, _> = all
            .filter_map(|(section, name)| place(&[section, name]))
            .collect();
        for (name, service) in &project.services {
            let ports = (0..service.ports.len()).map(|index| index.to_string());
            places.extend(ports.filter_map(|index| place(&["services", name, "ports", &index])));
            let said = tree
                .as_map()
                .and_then(|root| root.get("services")?.as_map());
            let said = said.and_then(|services| services.get(name)?.as_map());
            let keys = said.into_iter().flat_map(|map| map.iter());
            places.extend(keys.filter_map(|(key, _)| place(&["services", name, key])));
        }
        project.places = places;
        Ok(())
    }

    fn profiles(&self, vars: &BTreeMap<String, String>) -> Vec<String> {
        if !self.request.profiles.is_empty() {
            return self.request.profiles.clone();
        }
        let set = vars.get("COMPOSE_PROFILES").map_or("", String::as_str);
        set.split(',')
            .map(|profile| profile.trim().to_owned())
            .collect()
    }

    /// The directory of the project: as told, or that of its first file.
    fn directory(&self) -> String {
        let absolute = |path: &str| types::lexical_path::absolute(path, &self.request.working_dir);
        if let Some(directory) = &self.request.project_directory {
            return absolute(directory);
        }
        match self.files.iter().find(|file| *file != "-") {
            Some(file) => places::directory(&absolute(file)),
            None => self.request.working_dir.clone(),
        }
    }

    fn sources(&self) -> Step<Vec<Source>> {
        let source = |file: &String| match file.as_str() {
            "-" => Ok(Source {
                path: "-".to_owned(),
                content: Some(self.request.stdin.clone().unwrap_or_default()),
            }),
            file => local(file, &self.request.working_dir, None),
        };
        self.files.iter().map(source).collect()
    }

    /// `--env-file`, `COMPOSE_ENV_FILES`, or the project's `.env`. What is set already stays.
    fn read_env_files(&mut self) -> Step<()> {
        let mut paths = self.request.env_files.clone();
        if paths.is_empty() {
            let set = self
                .vars
                .get("COMPOSE_ENV_FILES")
                .filter(|set| !set.is_empty());
            paths = set.map_or_else(Vec::new, |set| set.split(',').map(str::to_owned).collect());
        }
        let paths: Vec<String> = if paths.is_empty() {
            let disabled = self
                .vars
                .get("COMPOSE_DISABLE_ENV_FILE")
                .map(String::as_str);
            if matches!(disabled, Some("1" | "t" | "T" | "true" | "TRUE" | "True")) {
                return Ok(());
            }
            let default = places::join(&self.directory(), ".env");
            match self.loader.files.kind(&default) {
                FileKind::File => vec![default],
                _ => return Ok(()),
            }
        } else {
            let absolute =
                |path: String| types::lexical_path::absolute(&path, &self.request.working_dir);
            paths.into_iter().map(absolute).collect()
        };
        let found = self.loader.env_files(&paths, &self.vars, None)?;
        for (name, value) in found {
            self.vars.entry(name).or_insert(value);
        }
        Ok(())
    }

    /// `-f`, `COMPOSE_FILE`, or the file with the usual name here or above.
    fn find_files(&mut self) -> Step<()> {
        if !self.files.is_empty() {
            return Ok(());
        }
        let kind = |path: &str| self.loader.files.kind(path);
        if let Some(set) = self.vars.get("COMPOSE_FILE") {
            let separator = self
                .vars
                .get("COMPOSE_PATH_SEPARATOR")
                .filter(|text| !text.is_empty());
            let separator = separator.map_or(":", String::as_str);
            self.files = set.split(separator).map(str::to_owned).collect();
            return Ok(());
        }
        let mut directory = self.directory();
        loop {
            let found = |names: [&str; 4]| -> Vec<String> {
                let paths = names.iter().map(|name| places::join(&directory, name));
                paths
                    .filter(|path| kind(path) != FileKind::Missing)
                    .collect()
            };
            for (names, what) in [(FILE_NAMES, "config"), (OVERRIDE_NAMES, "override")] {
                let candidates = found(names);
                if candidates.len() > 1 {
                    let text = format!(
                        "Found multiple {what} files with supported names: {}. Using {}",
                        candidates.join(", "),
                        candidates[0]
                    );
                    self.loader.warnings.borrow_mut().insert(text);
                }
                match candidates.into_iter().next() {
                    Some(file) => self.files.push(file),
                    None => break,
                }
            }
            let parent = places::directory(&directory);
            if !self.files.is_empty() || parent == directory {
                return Ok(());
            }
            directory = parent;
        }
    }

    /// `-p`, or `COMPOSE_PROJECT_NAME`.
    fn given_name(&self) -> Step<Option<String>> {
        let set = self
            .vars
            .get("COMPOSE_PROJECT_NAME")
            .filter(|name| !name.is_empty());
        let given = self
            .request
            .project_name
            .as_ref()
            .filter(|name| !name.is_empty());
        match given.or(set) {
            Some(name) if normalize_project_name(name) != *name => Err(Fault::of_project(format!(
                "invalid project name {name:?}: must consist only of lowercase alphanumeric characters, hyphens, and underscores as well as start with a letter or number"
            ))),
            name => Ok(name.cloned()),
        }
    }

    /// The given name, what a file says, or what the directory is called.
    fn name(&self, sources: &[Source], directory: &str) -> Step<String> {
        if let Some(name) = self.given_name()? {
            return Ok(name);
        }
        let mut said = None;
        for source in sources {
            said = self.said_name(source).or(said);
        }
        match said {
            Some((name, at)) => {
                let name = match self.request.options.interpolate {
                    true => substitute(&name, &self.vars).map_err(|error| {
                        Fault::at(at, format!("error while interpolating name: {error}"))
                    })?,
                    false => name,
                };
                Ok(normalize_project_name(&name))
            }
            None => {
                let last = directory.rsplit('/').next().unwrap_or_default();
                Ok(normalize_project_name(last))
            }
        }
    }

    /// The `name` at the top of a file. What cannot be read is told when the file is loaded.
    fn said_name(&self, source: &Source) -> Option<(String, Mark)> {
        let content = match &source.content {
            Some(content) => content.clone(),
            None => match self.loader.files.kind(&source.path) {
                FileKind::File => self
                    .loader
                    .files
                    .read(&source.path, yaml::YAML_BYTES_MAX)
                    .ok()?,
                _ => return None,
            },
        };
        let text = String::from_utf8(content).ok()?;
        // A second reading is only worth it where the key can be.
        if !text.lines().any(|line| {
            line.trim_start_matches(['{', '"', '\'', ' '])
                .starts_with("name")
        }) {
            return None;
        }
        let documents = yaml::parse(&text, 0).ok()?;
        let mut names = documents.iter().filter_map(|document| {
            let name = document.as_map()?.get("name")?;
            Some((name.scalar_text()?, name.at))
        });
        names.rfind(|(name, _)| !name.is_empty())
    }
}

/// Where a value of a project comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The key, with dots between its parts.
    pub key: String,
    /// Its value, shortened to one line.
    pub value: String,
    /// File, line and column; none for what was made up.
    pub place: Option<(String, u32, u32)>,
}

impl Loaded {
    /// Where everything under a key (`services.web.environment`) was said.
    pub fn explain(&self, key: &str) -> Vec<Origin> {
        let mut node = &self.tree;
        for part in key.split('.').filter(|part| !part.is_empty()) {
            let next = match &node.value {
                Value::Map(map) => map.get(part),
                Value::List(list) => part.parse::<usize>().ok().and_then(|index| list.get(index)),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => return Vec::new(),
            }
        }
        let mut origins = Vec::new();
        self.origins(node, key.to_owned(), &mut origins);
        origins
    }

    fn origins(&self, node: &Node, key: String, origins: &mut Vec<Origin>) {
        let below = |part: &str| match key.as_str() {
            "" => part.to_owned(),
            key => format!("{key}.{part}"),
        };
        match &node.value {
            Value::Map(map) if !map.0.is_empty() => {
                for (part, node) in map.iter() {
                    self.origins(node, below(part), origins);
                }
            }
            Value::List(list) if !list.is_empty() => {
                for (index, node) in list.iter().enumerate() {
                    self.origins(node, below(&index.to_string()), origins);
                }
            }
            _ => {
                let value = match &node.value {
                    Value::Map(_) => "{}".to_owned(),
                    Value::List(_) => "[]".to_owned(),
                    Value::Null => "null".to_owned(),
                    _ => node.scalar_text().unwrap_or_default().replace('\n', "\\n"),
                };
                let place = (node.at.line > 0)
                    .then(|| self.sources.get(usize::from(node.at.file)))
                    .flatten()
                    .map(|file| (file.clone(), node.at.line, node.at.column));
                origins.push(Origin { key, value, place });
            }
        }
    }

    /// The merged tree as JSON, for `config --no-interpolate`.
    pub fn model(&self) -> serde_json::Value {
        crate::show::tree_json(&self.tree)
    }

    /// The variables that the files speak of; needs loading without interpolation.
    pub fn variables(&self) -> BTreeMap<String, Variable> {
        let mut all = BTreeMap::new();
        collect_variables(&self.tree, &mut all);
        all
    }
}

fn collect_variables(node: &Node, all: &mut BTreeMap<String, Variable>) {
    match &node.value {
        Value::Text(text) => variables(text, &mut |name, variable| {
            all.entry(name.to_owned()).or_insert(variable);
        }),
        Value::List(list) => list.iter().for_each(|node| collect_variables(node, all)),
        Value::Map(map) => map
            .iter()
            .for_each(|(_, node)| collect_variables(node, all)),
        _ => {}
    }
}
