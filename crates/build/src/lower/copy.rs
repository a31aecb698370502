//! COPY and ADD.

use types::digest::Digest;
use types::lexical_path::clean;

use crate::dockerfile::command::{Add, Copy, Sources};
use crate::dockerfile::error::{DockerfileError, Problem};
use crate::dockerfile::place::Origin;
use crate::dockerfile::words::Lexer;
use crate::gitref::{self, GitReference};
use crate::graph::{self, CopySource, GitSource, HttpSource, Input, Op, Step, StepId, Unpack};

use super::stages::Planned;
use super::{Lowering, chmod, lints};

/// What ADD and COPY have in common, and what one of them has more; values expanded.
struct Plan {
    sources: Sources,
    chown: String,
    chmod: String,
    link: bool,
    parents: bool,
    exclude: Vec<String>,
    /// The state that COPY copies from.
    from: Option<StepId>,
    add: Option<AddPlan>,
}

struct AddPlan {
    checksum: String,
    keep_git_directory: Option<bool>,
    unpack: Option<bool>,
}

impl Lowering<'_> {
    pub(super) fn add(
        &mut self,
        at: usize,
        planned: &Planned,
        add: &Add,
    ) -> Result<(), DockerfileError> {
        let origin = &planned.instruction.origin;
        let plan = Plan {
            chown: self.word(at, &add.chown, origin)?,
            chmod: self.word(at, &add.chmod, origin)?,
            add: Some(AddPlan {
                checksum: self.word(at, &add.checksum, origin)?,
                keep_git_directory: add.keep_git_directory,
                unpack: add.unpack,
            }),
            sources: self.sources(at, &add.sources, origin)?,
            link: add.link,
            parents: false,
            exclude: add.exclude.clone(),
            from: None,
        };
        self.copy_files(at, planned, plan)
    }

    pub(super) fn copy(
        &mut self,
        at: usize,
        planned: &Planned,
        copy: &Copy,
    ) -> Result<(), DockerfileError> {
        let origin = &planned.instruction.origin;
        let from = match planned.sources.first().copied().flatten() {
            Some(source) => Some(self.source_root(at, source, &copy.from, origin)?),
            None => None,
        };
        let plan = Plan {
            chown: self.word(at, &copy.chown, origin)?,
            chmod: self.word(at, &copy.chmod, origin)?,
            sources: self.sources(at, &copy.sources, origin)?,
            link: copy.link,
            parents: copy.parents,
            exclude: copy.exclude.clone(),
            from,
            add: None,
        };
        self.copy_files(at, planned, plan)
    }

    /// Sources and destination with their variables replaced, and those in here-documents.
    fn sources(
        &mut self,
        at: usize,
        sources: &Sources,
        origin: &Origin,
    ) -> Result<Sources, DockerfileError> {
        let mut inline = sources.inline.clone();
        for file in inline.iter_mut().filter(|file| file.expand) {
            let lexer = Lexer {
                ignore_quotes: true,
                ..Lexer::new('\\')
            };
            let environment = &self.states[at].environment;
            let expanded = lexer.expand(&file.content, environment).map_err(|source| {
                let text = super::arguments::shortened(&file.content);
                DockerfileError::at(Problem::Expansion { text, source }, origin, "<<")
            })?;
            lints::undefined(self, at, &expanded.unmatched, origin);
            self.charge(expanded.text.len(), origin)?;
            file.content = expanded.text;
        }
        Ok(Sources {
            paths: self.words(at, &sources.paths, origin)?,
            destination: self.word(at, &sources.destination, origin)?,
            inline,
        })
    }

    fn copy_files(
        &mut self,
        at: usize,
        planned: &Planned,
        plan: Plan,
    ) -> Result<(), DockerfileError> {
        let origin = &planned.instruction.origin;
        if !plan.chmod.is_empty() {
            chmod::check(&plan.chmod)
                .map_err(|error| DockerfileError::at(error.into(), origin, "--chmod"))?;
        }
        let digest = check_checksum(&plan, origin)?;
        let lexer = Lexer::new(self.escape);
        let shown = self.shown(lexer, origin.code(), &self.states[at].environment);
        let platform = self.states[at].platform.clone();
        let name = self.step_name(at, &shown, platform.as_ref(), planned.is_trigger);
        let mut sources = Vec::new();
        for path in &plan.sources.paths {
            sources.push(self.copy_source(&plan, path, &name, digest.as_ref(), origin)?);
        }
        for file in &plan.sources.inline {
            let data = file.content.clone().into_bytes();
            let name = clean(&format!("/{}", file.name))[1..].to_owned();
            sources.push(CopySource::Inline { name, data });
        }
        let optional = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let op = Op::Copy(Box::new(graph::Copy {
            root: self.root(at),
            sources,
            destination: destination(&plan.sources.destination, &self.states[at].directory),
            chown: optional(&owner(&plan.chown)),
            chmod: optional(&plan.chmod),
            is_linked: plan.link,
            keeps_parents: plan.parents,
            excludes: plan.exclude.clone(),
            unpack: match plan.add.as_ref().map(|add| add.unpack) {
                None | Some(Some(false)) => Unpack::Never,
                Some(None) => Unpack::Local,
                Some(Some(true)) => Unpack::Always,
            },
        }));
        let bytes: usize = plan.sources.paths.iter().map(|path| path.len() + 64).sum();
        self.charge(bytes + 512, origin)?;
        let ignores_cache = self.states[at].ignores_cache;
        let step = self.add_step(at, op, name, origin, ignores_cache);
        self.note(at, history_line(&plan), Some(step), origin)
    }

    fn copy_source(
        &mut self,
        plan: &Plan,
        path: &str,
        name: &str,
        digest: Option<&Digest>,
        origin: &Origin,
    ) -> Result<CopySource, DockerfileError> {
        let fail = |problem| DockerfileError::at(problem, origin, path);
        let git = match gitref::parse(path) {
            Err(error) if error.is_meant_as_git() => return Err(fail(error.into())),
            Err(_) => None,
            Ok(git) => Some(git).filter(|git| !git.may_be_local),
        };
        let is_web = path.starts_with("http://") || path.starts_with("https://");
        let op = match (git, &plan.add) {
            (Some(_), None) => return Err(fail(Problem::CopyGit)),
            (Some(git), Some(add)) => Op::Git(git_source(git, add).map_err(fail)?),
            (None, None) if is_web => return Err(fail(Problem::CopyUrl)),
            (None, Some(_)) if is_web => Op::Http(HttpSource {
                url: path.to_owned(),
                checksum: digest.cloned(),
            }),
            _ => return Ok(self.local_source(plan, path, origin)),
        };
        let is_download = matches!(op, Op::Http(_));
        let step = self.graph.add(Step {
            op,
            name: name.to_owned(),
            place: None,
            ignores_cache: false,
        });
        let from = Input::new(step);
        Ok(if is_download {
            let name = file_of_url(path);
            CopySource::Download { from, name }
        } else {
            CopySource::Files {
                from,
                pattern: "/".to_owned(),
                may_be_missing: false,
            }
        })
    }

    fn local_source(&mut self, plan: &Plan, path: &str, origin: &Origin) -> CopySource {
        let from = match plan.from {
            Some(from) => from,
            None => {
                lints::ignored_source(self, path, plan.add.is_some(), origin);
                self.context_step()
            }
        };
        let pattern = match path.split_once("/./").filter(|_| plan.parents) {
            Some((parent, rest)) => {
                let parent = clean(&format!("/{parent}"));
                let parent = parent.trim_end_matches('/');
                format!("{parent}/.{}", clean(&format!("/{rest}")))
            }
            None => clean(&format!("/{path}")),
        };
        CopySource::Files {
            from: Input::new(from),
            may_be_missing: has_wildcards(&pattern),
            pattern,
        }
    }
}

/// Splits the pattern of a copy that keeps parents at its pivot, `/./`: where it begins, and what
/// is matched and kept from there.
pub fn split_pivot(pattern: &str) -> (&str, &str) {
    match pattern.split_once("/./") {
        Some(("", rest)) => ("/", rest),
        Some((start, rest)) => (start, rest),
        None => ("/", pattern.trim_start_matches('/')),
    }
}

fn git_source(git: GitReference, add: &AddPlan) -> Result<GitSource, Problem> {
    let keeps = match (add.keep_git_directory, git.keep_git_directory) {
        (Some(one), Some(other)) if one != other => return Err(Problem::KeepGitDirectory),
        (one, other) => other.or(one).unwrap_or_default(),
    };
    if !add.checksum.is_empty() && !git.checksum.is_empty() && add.checksum != git.checksum {
        return Err(Problem::Checksums {
            one: add.checksum.clone(),
            other: git.checksum,
        });
    }
    let checksum = if git.checksum.is_empty() {
        add.checksum.clone()
    } else {
        git.checksum
    };
    // The commit is known: nobody needs to be asked which one the reference means.
    let reference = if git.fetch_by_commit && !checksum.is_empty() {
        checksum.clone()
    } else {
        git.reference
    };
    Ok(GitSource {
        remote: git.remote,
        reference,
        subdirectory: git.subdirectory,
        checksum,
        keeps_git_directory: keeps,
        submodules: git.submodules.unwrap_or(true),
    })
}

/// `user[:group]`; a part that is empty is root, as in BuildKit.
fn owner(written: &str) -> String {
    let root = |part: &str| if part.is_empty() { "0" } else { part }.to_owned();
    match written.split_once(':') {
        Some((user, group)) => format!("{}:{}", root(user), root(group)),
        None => written.to_owned(),
    }
}

/// The digest in `--checksum`, where it is one of a download.
fn check_checksum(plan: &Plan, origin: &Origin) -> Result<Option<Digest>, DockerfileError> {
    let Some(add) = plan.add.as_ref().filter(|add| !add.checksum.is_empty()) else {
        return Ok(None);
    };
    let fail = |problem| DockerfileError::at(problem, origin, "--checksum");
    let [only] = &plan.sources.paths[..] else {
        return Err(fail(Problem::ChecksumSeveral));
    };
    if gitref::parse(only).is_ok() {
        return Ok(None);
    }
    if !only.starts_with("http://") && !only.starts_with("https://") {
        return Err(fail(Problem::ChecksumSource));
    }
    Digest::parse(&add.checksum)
        .map(Some)
        .map_err(|error| fail(error.into()))
}

/// The name of a downloaded file: the last part of the address' path.
fn file_of_url(url: &str) -> String {
    const UNNAMED: &str = "__unnamed__";
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let Some((_, path)) = rest.split_once('/') else {
        return UNNAMED.to_owned();
    };
    let path = gitref::unescape_path(path).unwrap_or_else(|| path.to_owned());
    let path = clean(&format!("/{path}"));
    match path.rsplit('/').next() {
        None | Some("") => UNNAMED.to_owned(),
        Some(name) => name.to_owned(),
    }
}

/// Where files go: absolute, with a slash at the end where it is a directory for sure.
fn destination(written: &str, directory: &str) -> String {
    let written = match written {
        "" | "." => "./",
        other => other,
    };
    let mut path = if written.starts_with('/') {
        clean(written)
    } else {
        clean(&format!("/{directory}/{written}"))
    };
    let ends_with_slash = path.ends_with('/');
    if written.ends_with('/') && !ends_with_slash {
        path.push('/');
    } else if written.ends_with("/.") {
        if !ends_with_slash {
            path.push('/');
        }
        path.push('.');
    }
    path
}

fn has_wildcards(path: &str) -> bool {
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        match character {
            '*' | '?' | '[' => return true,
            '\\' => {
                characters.next();
            }
            _ => {}
        }
    }
    false
}

fn history_line(plan: &Plan) -> String {
    let keyword = if plan.add.is_some() { "ADD" } else { "COPY" };
    let mut line = keyword.to_owned();
    if plan.parents {
        line.push_str(" --parents");
    }
    for (flag, value) in [("--chown", &plan.chown), ("--chmod", &plan.chmod)] {
        if !value.is_empty() {
            line.push_str(&format!(" {flag}={value}"));
        }
    }
    for path in &plan.sources.paths {
        line.push_str(&format!(" {path}"));
    }
    for file in &plan.sources.inline {
        line.push_str(&format!(" <<{}", file.name));
    }
    line.push_str(&format!(" {} # buildkit", plan.sources.destination));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_absolute_and_keep_what_says_directory() {
        for (written, directory, want) in [
            ("/a", "/w", "/a"),
            ("a/", "/w", "/w/a/"),
            (".", "/w", "/w/"),
            ("", "/", "/"),
            ("./", "/", "/"),
            ("/a/.", "/w", "/a/."),
            ("/.", "/w", "/."),
            ("../../x", "/w", "/x"),
        ] {
            assert_eq!(destination(written, directory), want, "{written}");
        }
    }

    #[test]
    fn a_download_is_called_as_its_address_ends() {
        for (url, want) in [
            ("https://h/a/b.tar.gz?x=1#y", "b.tar.gz"),
            ("https://h/a/b%20c/", "b c"),
            ("https://h", "__unnamed__"),
            ("https://h/?q", "__unnamed__"),
            ("https://h/a/..", "__unnamed__"),
        ] {
            assert_eq!(file_of_url(url), want, "{url}");
        }
    }

    #[test]
    fn a_pivot_splits_what_is_kept() {
        assert_eq!(split_pivot("/a/b"), ("/", "a/b"));
        assert_eq!(split_pivot("/x/./y/*.txt"), ("/x", "y/*.txt"));
        assert_eq!(split_pivot("/./y"), ("/", "y"));
        assert!(has_wildcards("a/*") && !has_wildcards("a\\*"));
    }
}
