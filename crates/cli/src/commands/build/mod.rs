//! `build`, `builder prune`, and the commands of `buildx`.

mod annotations;
mod builders;
mod cache;
mod calls;
mod debug;
mod inputs;
mod outputs;
mod progress;
mod rawjson;
mod resources;
mod screen;
mod secrets;

use std::path::Path;
use std::process::ExitCode;

use engine::build::{BuildFailure, BuildReport, BuildRequest, Wanted};
use engine::{Engine, EngineError};

use super::{print, print_line};
use crate::errors;
use crate::flags::Invocation;
use progress::{Progress, Style};

pub(crate) use builders::builders;
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
        Wanted::Image => style,
        _ if style == Style::Tty => Style::Plain,
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
    let call = inputs::Call::of(matches.get_str("call"));
    match request.wanted {
        Wanted::Targets => print(&calls::targets(request, &report.targets, call.is_json)),
        Wanted::Outline => print(&calls::outline(request, &report.outline, call.is_json)),
        _ => return finish_build(invocation, request, progress, report),
    }
    ExitCode::SUCCESS
}

/// A build, an explanation or a check.
fn finish_build(
    invocation: &Invocation,
    request: &BuildRequest,
    progress: &Progress,
    report: &BuildReport,
) -> ExitCode {
    let matches = &invocation.matches;
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
    if !report.unused_arguments.is_empty() {
        let names = report.unused_arguments.join(" ");
        progress.warn(&format!(
            "[Warning] One or more build-args [{names}] were not consumed"
        ));
    }
    if !is_check {
        progress.lint(request, &report.warnings);
    }
    if request.wanted == Wanted::Explanation && report.causes.is_empty() {
        progress.note("every step is in the cache");
    }
    if let (true, Some(image)) = (matches.get_bool("quiet"), &report.image) {
        print_line(&image.to_string());
    }
    let call = inputs::Call::of(matches.get_str("call"));
    if is_check {
        print(&calls::check(request, report, call.is_json));
        let is_good = report.warnings.is_empty() || call.ignores_status;
        return if is_good {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(FAILED)
        };
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
    progress.failed(*step, name, &text);
    let tail = progress.tail(*step);
    if !tail.is_empty() || !excerpt.is_empty() {
        progress.tell(&format!("------\n{}", Progress::heading(name)));
        tail.iter().for_each(|line| progress.tell(line));
        progress.tell("------");
    }
    if !excerpt.is_empty() {
        progress.tell(excerpt.trim_end_matches('\n'));
    }
    progress.tell(&format!("ERROR: failed to solve: {text}"));
}
