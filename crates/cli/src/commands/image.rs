//! Commands on images.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::ExitCode;

use api::docker_json::container_inspect::GraphDriver;
use api::docker_json::image_inspect::{DescriptorView, ImageView, image_inspect};
use engine::image::builtin::BuiltinReport;
use engine::image::remove::Removed;
use engine::image::{self, list::ListOptions, pull::PullOptions, remove::RemoveOptions};
use engine::{Engine, EngineError};
use serde_json::Value;
use types::filter::Filters;
use types::platform::Platform;
use types::reference::Reference;
use types::timestamp::Timestamp;

use super::copy::{check_output, to_file};
use super::progress::{Progress, Stream};
use super::{fail_text, print_line, refuse_text};
use crate::client_config::{self, ClientConfig};
use crate::errors;
use crate::flags::Invocation;
use crate::flags::parse::Program;
use crate::output::rows::containers::ListFlags;
use crate::output::rows::{Clock, images as rows, objects};
use crate::terminal;

fn fail(invocation: &Invocation, error: &EngineError) -> ExitCode {
    errors::report(invocation.program, error);
    ExitCode::from(1)
}

/// Pulls one image, telling what goes on; falls back to the built-in one where that is meant.
pub(super) fn fetch(
    engine: &Engine,
    name: &str,
    platform: Option<Platform>,
    stream: Stream,
    quiet: bool,
) -> Result<(), EngineError> {
    let progress = Progress::new(stream, quiet);
    let pulled = pull_one(engine, name, platform, &progress)?;
    finish(&progress, &pulled);
    Ok(())
}

/// Pulls one image, telling all but the last lines.
pub(crate) fn pull_one(
    engine: &Engine,
    name: &str,
    platform: Option<Platform>,
    progress: &Progress,
) -> Result<BuiltinReport, EngineError> {
    let reference = Reference::parse_normalized(name)
        .map_err(|error| EngineError::invalid(error.to_string()))?
        .with_default_tag();
    let options = PullOptions { platform };
    Ok(image::builtin::pull_or_builtin(
        &engine.images(),
        &reference,
        &options,
        progress,
    )?)
}

/// The last lines of a pull.
pub(crate) fn finish(progress: &Progress, pulled: &BuiltinReport) {
    match &pulled.note {
        Some(note) => {
            errors::complain(note);
            progress.finish_builtin(&pulled.report);
        }
        None => progress.finish(&pulled.report),
    }
}

pub(crate) fn pull(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let name = matches.args.first().map_or("", String::as_str);
    let platform = match platform(invocation) {
        Ok(platform) => platform,
        Err(code) => return code,
    };
    let reference = match Reference::parse_normalized(name) {
        Ok(reference) => reference,
        Err(error) => {
            errors::complain(&error.to_string());
            return ExitCode::from(1);
        }
    };
    let quiet = matches.get_bool("quiet");
    if matches.get_bool("all-tags") {
        if reference.tag().is_some() || reference.digest().is_some() {
            errors::complain("tag can't be used with --all-tags/-a");
            return ExitCode::from(1);
        }
        let progress = Progress::new(Stream::Output, quiet);
        let options = PullOptions { platform };
        return match image::pull::pull_all_tags(&engine.images(), &reference, &options, &progress) {
            Ok(reports) => {
                reports.iter().for_each(|report| progress.finish(report));
                ExitCode::SUCCESS
            }
            Err(error) => fail(invocation, &error.into()),
        };
    }
    let had_tag = reference.tag().is_some() || reference.digest().is_some();
    let full = reference.with_default_tag();
    if !had_tag && !quiet {
        print_line("Using default tag: latest");
    }
    // In full: the short form of docker.io/a.b/c is a.b/c, which means another registry.
    match fetch(engine, &full.canonical(), platform, Stream::Output, quiet) {
        Ok(()) => {
            print_line(&full.canonical());
            ExitCode::SUCCESS
        }
        Err(error) => fail(invocation, &error),
    }
}

fn flags<'a>(invocation: &'a Invocation) -> ListFlags<'a> {
    let matches = &invocation.matches;
    ListFlags {
        format: matches.get_str("format"),
        quiet: matches.get_bool("quiet"),
        no_trunc: matches.get_bool("no-trunc"),
        escape_control: terminal::is_terminal(rustix::stdio::stdout()),
    }
}

pub(crate) fn clock() -> Clock {
    Clock::local(Timestamp::now().unix_ns() as i64)
}

pub(crate) fn images(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let filters = match Filters::parse(matches.get_list("filter")) {
        Ok(filters) => filters,
        Err(error) => return fail_text(invocation, &error.to_string()),
    };
    let options = ListOptions {
        name: matches.args.first().cloned(),
        filters,
    };
    let list = match image::list::list(&engine.images(), &options) {
        Ok(list) => list,
        Err(error) => return fail(invocation, &error.into()),
    };
    let config = ClientConfig::load();
    let mut flags = flags(invocation);
    flags.format = client_config::format(flags.format, &config.images_format);
    let code = super::print_list(rows::list(
        &grouped(&list.rows),
        flags,
        matches.get_bool("digests"),
        &clock(),
    ));
    let damaged = list.damaged.into_iter().map(EngineError::from);
    super::name_damaged(invocation.program, damaged, code)
}

/// One row an image, with all its names, newest first as they came.
fn grouped(all: &[image::list::ImageRow]) -> Vec<rows::ImageRow> {
    let mut grouped: Vec<rows::ImageRow> = Vec::new();
    for one in all {
        let id = one.id.to_string();
        // The rows of an image come one after the other.
        if grouped.last().is_none_or(|row| row.id != id) {
            grouped.push(rows::ImageRow {
                id,
                created_s: one.created.map_or(0, Timestamp::unix_seconds),
                size_bytes: i64::try_from(one.size_bytes).unwrap_or(i64::MAX),
                shared_size_bytes: -1,
                containers: -1,
                ..rows::ImageRow::default()
            });
        }
        let Some(row) = grouped.last_mut() else {
            continue;
        };
        if let (Some(repository), Some(tag)) = (&one.repository, &one.tag) {
            row.repo_tags.push(format!("{repository}:{tag}"));
        }
        if let (Some(repository), Some(digest)) = (&one.repository, &one.digest) {
            let text = format!("{repository}@{digest}");
            if !row.repo_digests.contains(&text) {
                row.repo_digests.push(text);
            }
        }
    }
    grouped
}

pub(crate) fn tag(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let [source, target] = invocation.matches.args.as_slice() else {
        return ExitCode::from(1);
    };
    if let Err(error) = Reference::parse_normalized(target) {
        errors::complain(&format!(
            "Error parsing reference: \"{target}\" is not a valid repository/tag: {error}"
        ));
        return ExitCode::from(1);
    }
    match image::tag::tag(&engine.images(), source, target) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            let code = fail(invocation, &error.into());
            // People mix the two up.
            if let Ok(stored) = engine.container(source) {
                errors::complain(&format!(
                    "hint: {source} is a container ({}); to make an image of it: {program} commit {source} {target}",
                    stored.record.name,
                    program = invocation.program.name()
                ));
            }
            code
        }
    }
}

pub(crate) fn rmi(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let options = RemoveOptions {
        force: invocation.matches.get_bool("force"),
    };
    let mut failed = false;
    for name in &invocation.matches.args {
        let users = || engine.image_users();
        match image::remove::remove(&engine.images(), name, options, &users) {
            Ok(lines) => lines.iter().for_each(|line| match line {
                Removed::Warning(text) => errors::complain(&format!("WARNING: {text}")),
                line => print_line(&removed_line(line)),
            }),
            Err(error) => {
                let error = EngineError::from(error);
                let absent = error.to_string().starts_with("No such image");
                errors::report(invocation.program, &error);
                failed |= !(options.force && absent);
            }
        }
    }
    ExitCode::from(u8::from(failed))
}

fn removed_line(line: &Removed) -> String {
    match line {
        Removed::Untagged(name) => format!("Untagged: {name}"),
        Removed::Deleted(digest) => format!("Deleted: {digest}"),
        Removed::Warning(text) => text.clone(),
    }
}

/// The same as prune words it.
pub(crate) fn removed_line_lower(line: &Removed) -> String {
    match line {
        Removed::Untagged(name) => format!("untagged: {name}"),
        Removed::Deleted(digest) => format!("deleted: {digest}"),
        Removed::Warning(text) => text.clone(),
    }
}

/// All images that can be read, and how many containers use each.
pub(crate) fn rows_with_users(
    engine: &Engine,
    program: Program,
    containers: &[engine::StoredContainer],
) -> Result<Vec<rows::ImageRow>, EngineError> {
    let list = image::list::list(&engine.images(), &ListOptions::default())?;
    let damaged = list.damaged.into_iter().map(EngineError::from);
    super::name_damaged(program, damaged, ExitCode::SUCCESS);
    let mut rows = grouped(&list.rows);
    for row in &mut rows {
        let users = containers
            .iter()
            .filter(|stored| stored.record.image_id == row.id)
            .count();
        row.containers = i64::try_from(users).unwrap_or(i64::MAX);
    }
    Ok(rows)
}

pub(crate) fn history(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let name = matches.args.first().map_or("", String::as_str);
    let found = match image::history::history(&engine.images(), name) {
        Ok(found) => found,
        Err(error) => return fail(invocation, &error.into()),
    };
    let steps: Vec<objects::HistoryRow> = found
        .into_iter()
        .map(|step| objects::HistoryRow {
            id: step
                .id
                .map_or_else(|| "<missing>".to_string(), |id| id.to_string()),
            created_s: step.created.map_or(0, Timestamp::unix_seconds),
            created_by: step.created_by,
            size_bytes: i64::try_from(step.size_bytes).unwrap_or(i64::MAX),
            comment: step.comment,
        })
        .collect();
    super::print_list(objects::history(
        &steps,
        flags(invocation),
        matches.get_bool("human"),
        &clock(),
    ))
}

/// Docker's document of an image.
pub(crate) fn inspect_document(engine: &Engine, name: &str) -> Result<Value, EngineError> {
    let details = image::inspect::inspect(&engine.images(), name)?;
    let lowers: Vec<String> = details
        .lowers
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let mut data = BTreeMap::new();
    if let Some((top, below)) = lowers.split_first() {
        data.insert("UpperDir".to_string(), top.clone());
        if !below.is_empty() {
            data.insert("LowerDir".to_string(), below.join(":"));
        }
    }
    let diff_ids: Vec<String> = details
        .record
        .layers
        .iter()
        .map(|layer| layer.diff_id.to_string())
        .collect();
    let id = details.record.id.to_string();
    let digest = details
        .descriptor
        .as_ref()
        .map(|blob| blob.digest.to_string());
    Ok(image_inspect(&ImageView {
        id: &id,
        repo_tags: &details.repo_tags,
        repo_digests: &details.repo_digests,
        parent: "",
        comment: &details.comment,
        created: details.config.created.as_deref().unwrap_or(""),
        docker_version: "",
        author: &details.config.author,
        config: &details.record.config,
        architecture: &details.record.architecture,
        variant: &details.record.variant,
        os: &details.record.os,
        size_bytes: i64::try_from(details.record.size_bytes).unwrap_or(i64::MAX),
        graph_driver: &GraphDriver {
            name: "overlay2".into(),
            data: Some(data),
        },
        diff_ids: &diff_ids,
        last_tag_time: &details
            .last_tagged
            .map(Timestamp::rfc3339)
            .unwrap_or_default(),
        descriptor: details
            .descriptor
            .as_ref()
            .zip(digest.as_deref())
            .map(|(blob, digest)| DescriptorView {
                media_type: &blob.media_type,
                digest,
                size_bytes: i64::try_from(blob.size).unwrap_or(i64::MAX),
            }),
    }))
}

/// What an archive is called that was read from `path`.
fn name_of(path: &str) -> &str {
    match path {
        "" | "-" => "standard input",
        path => path,
    }
}

/// The bytes of `-i FILE`, `-` or standard input.
fn input(path: &str) -> Result<Box<dyn Read + Send>, String> {
    if path.is_empty() || path == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    let opened = std::fs::File::open(path);
    let file = opened.map_err(|error| format!("open {path}: {}", crate::cause::cause(&error)))?;
    if file.metadata().is_ok_and(|found| found.is_dir()) {
        return Err(format!(
            "read {path}: is a directory; an archive of it is imported by: tar -C {path} -c . | caisson import -"
        ));
    }
    Ok(Box::new(file))
}

/// `--platform`.
pub(super) fn platform(invocation: &Invocation) -> Result<Option<Platform>, ExitCode> {
    match invocation.matches.get_str("platform") {
        "" => Ok(None),
        text => Platform::parse(text)
            .map(Some)
            .map_err(|error| fail_text(invocation, &error.to_string())),
    }
}

pub(crate) fn load(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let path = invocation.matches.get_str("input");
    if path.is_empty() && terminal::is_terminal(rustix::stdio::stdin()) {
        errors::complain("requested load from stdin, but stdin is empty");
        return ExitCode::from(1);
    }
    let options = match platform(invocation) {
        Ok(platform) => image::load::LoadOptions { platform },
        Err(code) => return code,
    };
    let source = match input(path) {
        Ok(source) => source,
        Err(text) => {
            errors::complain(&text);
            return ExitCode::from(1);
        }
    };
    match image::load::load(
        &engine.images(),
        source,
        &options,
        &engine::observer::Silent,
    ) {
        Ok(loaded) => {
            loaded.iter().for_each(tell_loaded);
            ExitCode::SUCCESS
        }
        Err(error) => fail(invocation, &error.of_archive(name_of(path)).into()),
    }
}

fn tell_loaded(one: &image::load::LoadedImage) {
    for (name, old) in &one.renamed {
        print_line(&format!(
            "The image {} already exists, renaming the old one with ID {old} to empty string",
            name.familiar()
        ));
    }
    if one.names.is_empty() {
        print_line(&format!("Loaded image ID: {}", one.id));
    }
    for name in &one.names {
        print_line(&format!("Loaded image: {}", name.familiar()));
    }
}

pub(crate) fn save(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let path = matches.get_str("output");
    if path.is_empty() && terminal::is_terminal(rustix::stdio::stdout()) {
        errors::complain("cowardly refusing to save to a terminal. Use the -o flag or redirect");
        return ExitCode::from(1);
    }
    let options = match platform(invocation) {
        Ok(platform) => image::save::SaveOptions {
            platform,
            ..image::save::SaveOptions::default()
        },
        Err(code) => return code,
    };
    if let Err(text) = check_output(path) {
        return refuse_text(invocation, &format!("failed to save image: {text}"));
    }
    let write = |sink: &mut dyn std::io::Write| -> Result<(), EngineError> {
        let silent = engine::observer::Silent;
        image::save::save(&engine.images(), &matches.args, &options, sink, &silent)?;
        Ok(())
    };
    let result = if path.is_empty() {
        write(&mut std::io::BufWriter::with_capacity(
            1 << 20,
            std::io::stdout().lock(),
        ))
    } else {
        to_file(path, write)
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(invocation, &error),
    }
}

/// `SOURCE_DATE_EPOCH`, the time that everything made from the same sources has.
fn source_date() -> Option<Timestamp> {
    let seconds = std::env::var("SOURCE_DATE_EPOCH").ok()?.parse().ok()?;
    Some(Timestamp::from_unix(seconds, 0))
}

pub(crate) fn import(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let source = matches.args.first().map_or("", String::as_str);
    let reference = match matches
        .args
        .get(1)
        .map(|text| Reference::parse_normalized(text))
    {
        None => None,
        Some(Ok(reference)) => Some(reference),
        Some(Err(error)) => {
            errors::complain(&error.to_string());
            return ExitCode::from(1);
        }
    };
    let is_url = source.starts_with("http://") || source.starts_with("https://");
    let options = match platform(invocation) {
        Ok(platform) => image::import::ImportOptions {
            reference,
            changes: matches.get_list("change").to_vec(),
            message: matches.get_str("message").to_string(),
            platform,
            // Not a path: an image tells others nothing of the machine that it was made on.
            source: if is_url { source } else { "-" }.to_string(),
            created: source_date(),
        },
        Err(code) => return code,
    };
    let reader = if is_url {
        image::import::download(&engine.images(), source)
            .map_err(|error| fail(invocation, &error.into()))
    } else {
        input(source).map_err(|text| {
            errors::complain(&text);
            ExitCode::from(1)
        })
    };
    let imported = match reader {
        Ok(reader) => image::import::import(&engine.images(), reader, &options),
        Err(code) => return code,
    };
    match imported {
        Ok(id) => {
            print_line(&id.to_string());
            ExitCode::SUCCESS
        }
        Err(error) => fail(invocation, &error.of_archive(name_of(source)).into()),
    }
}
