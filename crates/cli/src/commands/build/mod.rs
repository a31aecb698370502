//! `build`, `builder prune`, `buildx du`.

mod cache;
mod debug;
mod inputs;
mod outputs;
mod progress;
mod screen;
mod secrets;

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use engine::build::{BuildFailure, BuildReport, BuildRequest, Target, Wanted};
use engine::{Engine, EngineError};

use super::{print, print_line};
use crate::errors;
use crate::flags::Invocation;
use crate::output::template::escape_control;
use crate::output::text;
use progress::{Progress, Style};

pub(crate) use cache::{builder_prune, buildx_du};
pub(crate) use inputs::Given;
pub(crate) use progress::{Board, Style as ProgressStyle};

/// Where a failed build ends: Docker's code.
const FAILED: u8 = 1;

pub(crate) fn build(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let style = match Style::of(matches.get_str("progress"), matches.get_bool("quiet")) {
        Ok(style) => style,
        Err(text) => return refuse(&text),
    };
    let request = debug::check(invocation)
        .and_then(|()| inputs::request(engine, matches, inputs::Given::default()));
    let request = match request {
        Ok(request) => request,
        Err(text) => return refuse(&text),
    };
    let style = match request.build.wanted {
        // What is told of such a build are lines alone.
        Wanted::Explanation | Wanted::Check | Wanted::Targets if style == Style::Tty => {
            Style::Plain
        }
        _ => style,
    };
    let progress = Progress::new("", &Board::new(style));
    for warning in &request.warnings {
        progress.warn(warning);
    }
    let answer = engine.build(&request.build, &progress);
    match answer {
        Ok(report) => finish(invocation, &request.build, &progress, &report),
        Err(error) => {
            fail(&progress, &error);
            if let EngineError::Build(failure) = &error
                && let Some(image) = &failure.image
            {
                debug::shell(engine, invocation, image);
            }
            ExitCode::from(FAILED)
        }
    }
}

/// One of several builds that go on at once.
pub(crate) struct Part<'a> {
    /// What its lines are called.
    pub(crate) name: &'a str,
    /// How and where they are shown.
    pub(crate) board: &'a Board,
    /// What is given beside the flags.
    pub(crate) given: Given,
}

/// Builds for somebody else, with the flags of `build`. `Err` was told already.
pub(crate) fn build_part(
    engine: &Engine,
    invocation: &Invocation,
    part: Part<'_>,
) -> Result<Option<String>, ExitCode> {
    let asked = inputs::request(engine, &invocation.matches, part.given);
    let progress = Progress::new(part.name, part.board);
    let request = asked.map_err(|text| {
        progress.tell(&format!("ERROR: {}: {text}", part.name));
        ExitCode::from(FAILED)
    })?;
    for warning in &request.warnings {
        progress.warn(warning);
    }
    match engine.build(&request.build, &progress) {
        Ok(report) => {
            let code = finish(invocation, &request.build, &progress, &report);
            let is_bad_check = request.build.wanted == Wanted::Check && !report.warnings.is_empty();
            match report.image {
                _ if is_bad_check => Err(code),
                image => Ok(image.map(|image| image.to_string())),
            }
        }
        Err(error) => {
            fail(&progress, &error);
            Err(ExitCode::from(FAILED))
        }
    }
}

fn refuse(text: &str) -> ExitCode {
    errors::complain(&format!("ERROR: {text}"));
    ExitCode::from(FAILED)
}

fn finish(
    invocation: &Invocation,
    request: &BuildRequest,
    progress: &Progress,
    report: &BuildReport,
) -> ExitCode {
    let matches = &invocation.matches;
    if request.wanted == Wanted::Targets {
        print(&targets_table(&report.targets));
        return ExitCode::SUCCESS;
    }
    if let Some(image) = &report.image {
        let id = image.to_string();
        progress.exported(&id, &request.tags);
        if let Err(code) = write_results(progress, matches.get_str("iidfile"), &id) {
            return code;
        }
    }
    let metadata = matches.get_str("metadata-file");
    if !metadata.is_empty() {
        let text = metadata_document(request, report);
        if let Err(code) = write_results(progress, metadata, &text) {
            return code;
        }
    }
    let is_check = request.wanted == Wanted::Check;
    show_warnings(progress, request, report, is_check);
    if request.wanted == Wanted::Explanation && report.causes.is_empty() {
        progress.note("every step is in the cache");
    }
    if let (true, Some(image)) = (matches.get_bool("quiet"), &report.image) {
        print_line(&image.to_string());
    }
    if is_check && !report.warnings.is_empty() {
        return ExitCode::from(FAILED);
    }
    if let Some(unequal) = &report.unequal {
        let path = format!("{:?}", unequal.path);
        progress.tell(&format!(
            "ERROR: not reproducible: {} gave something else the second time: {path} differs in {}",
            unequal.step, unequal.what
        ));
        return ExitCode::from(FAILED);
    }
    if request.verifies {
        progress.note("verified: every step gave the same twice");
    }
    ExitCode::SUCCESS
}

/// As BuildKit's front end prints it.
fn targets_table(targets: &[Target]) -> String {
    let mut rows = vec![("TARGET".to_owned(), "DESCRIPTION".to_owned())];
    for target in targets {
        let name = match (&target.name, target.is_default) {
            (None, true) => "(default)".to_owned(),
            (Some(name), true) => format!("{name} (default)"),
            (name, false) => name.clone().unwrap_or_default(),
        };
        let said = escape_control(&target.description).into_owned();
        rows.push((name, said));
    }
    let width = rows.iter().map(|(name, _)| text::width(name)).max();
    let width = width.unwrap_or(0) + 1;
    let mut table = String::new();
    for (name, said) in rows {
        let blanks = " ".repeat(width - text::width(&name));
        table.push_str(&format!("{name}{blanks}{said}\n"));
    }
    table
}

fn write_results(progress: &Progress, path: &str, text: &str) -> Result<(), ExitCode> {
    if path.is_empty() {
        return Ok(());
    }
    std::fs::write(Path::new(path), text).map_err(|error| {
        progress.tell(&format!("ERROR: cannot write {path}: {error}"));
        ExitCode::from(FAILED)
    })
}

fn metadata_document(request: &BuildRequest, report: &BuildReport) -> String {
    let image = report.image.as_ref().map(ToString::to_string);
    let manifest = report.manifest.as_ref().map(ToString::to_string);
    let names: Vec<String> = request
        .tags
        .iter()
        .map(|tag| tag.clone().with_default_tag().canonical())
        .collect();
    let misses: Vec<serde_json::Value> = report
        .causes
        .iter()
        .map(|(step, cause)| serde_json::json!({ "step": step, "cause": cause }))
        .collect();
    let document = serde_json::json!({
        "caisson.build.misses": misses,
        "containerimage.config.digest": image,
        "containerimage.digest": manifest.or(image.clone()),
        "image.name": names.join(","),
    });
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

fn show_warnings(
    progress: &Progress,
    request: &BuildRequest,
    report: &BuildReport,
    is_check: bool,
) {
    if !report.unused_arguments.is_empty() {
        let names = report.unused_arguments.join(" ");
        progress.warn(&format!(
            "[Warning] One or more build-args [{names}] were not consumed"
        ));
    }
    if is_check {
        print(&checked(
            &request.dockerfile_name,
            &request.dockerfile,
            report,
        ));
        return;
    }
    match report.warnings.len() {
        0 => return,
        1 => progress.warn("1 warning found:"),
        count => progress.warn(&format!("{count} warnings found:")),
    }
    for warning in &report.warnings {
        progress.warn(&format!(
            " - {}: {} ({}:{}); {}",
            warning.rule.name(),
            warning.detail,
            request.dockerfile_name,
            warning.lines.start,
            warning.fix
        ));
    }
}

/// What `--check` prints, as BuildKit does, and what to write instead.
fn checked(file: &str, source: &[u8], report: &BuildReport) -> String {
    let mut text = match report.warnings.len() {
        0 => "Check complete, no warnings found.\n".to_owned(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        count => format!("Check complete, {count} warnings have been found!\n"),
    };
    for warning in &report.warnings {
        let _ = write!(text, "\nWARNING: {}", warning.rule.name());
        if let Some(url) = warning.rule.url() {
            let _ = write!(text, " - {url}");
        }
        let excerpt = warning.excerpt(file, source);
        let (detail, fix) = (&warning.detail, &warning.fix);
        let _ = write!(text, "\n{detail}\nfix: {fix}\n{excerpt}");
    }
    text
}

/// What failed, with the last output and the lines of the instruction, as BuildKit shows it.
fn fail(progress: &Progress, error: &EngineError) {
    let EngineError::Build(failure) = error else {
        progress.tell(&format!("ERROR: failed to solve: {}", errors::chain(error)));
        return;
    };
    let BuildFailure {
        step,
        name,
        excerpt,
        error,
        ..
    } = failure.as_ref();
    let text = errors::chain(error);
    progress.failed(*step, &text);
    let tail = progress.tail(*step);
    if !tail.is_empty() {
        progress.tell(&format!("------\n{}", Progress::heading(name)));
        tail.iter().for_each(|line| progress.tell(line));
        progress.tell("------");
    }
    if !excerpt.is_empty() {
        progress.tell(excerpt.trim_end_matches('\n'));
    }
    progress.tell(&format!("ERROR: failed to solve: {text}"));
}
