//! Commands on volumes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::process::ExitCode;

use engine::storage_volumes::{VolumeError, VolumeRecord};
use engine::volume::VolumeRequest;
use engine::{Engine, EngineError};
use serde_json::{Value, json};
use types::filter::Filters;
use types::timestamp::Timestamp;

use super::{fail_text, print, print_line, refuse_text};
use crate::client_config::{self, ClientConfig};
use crate::errors;
use crate::flags::Invocation;
use crate::output::inspect::Inspector;
use crate::output::rows::containers::ListFlags;
use crate::output::rows::objects::{VolumeRow, volumes};
use crate::output::typed::others::VOLUME;
use crate::terminal;

const FILTERS: &[&str] = &["dangling", "driver", "label", "name"];

fn fail(invocation: &Invocation, error: &EngineError) -> ExitCode {
    errors::report(invocation.program, error);
    ExitCode::from(1)
}

/// Reports an error, or prints what was done.
fn told(invocation: &Invocation, result: Result<String, EngineError>) -> ExitCode {
    match result {
        Ok(line) => {
            print_line(&line);
            ExitCode::SUCCESS
        }
        Err(error) => fail(invocation, &error),
    }
}

fn argument(invocation: &Invocation, index: usize) -> &str {
    let argument = invocation.matches.args.get(index);
    argument.map_or("", String::as_str)
}

pub(crate) fn create(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let pair = |text: &String| match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (text.clone(), String::new()),
    };
    let request = VolumeRequest {
        name: argument(invocation, 0).to_owned(),
        driver: matches.get_str("driver").to_owned(),
        options: matches.get_list("opt").iter().map(pair).collect(),
        labels: matches.get_list("label").iter().map(pair).collect(),
    };
    told(
        invocation,
        engine.create_volume(request).map(|record| record.name),
    )
}

/// A volume as lists show it; `usage` is counted only where it is asked for.
pub(crate) fn row(engine: &Engine, record: &VolumeRecord, with_usage: bool) -> VolumeRow {
    let usage = with_usage.then(|| {
        let users = engine
            .volume_users(&record.name)
            .map_or(0, |users| users.len());
        let bytes = engine.volume_size(&record.name);
        (users as i64, i64::try_from(bytes).unwrap_or(i64::MAX))
    });
    VolumeRow {
        name: record.name.clone(),
        driver: "local".to_owned(),
        scope: "local".to_owned(),
        mountpoint: mountpoint(engine, record),
        labels: record.labels.clone(),
        usage,
    }
}

fn mountpoint(engine: &Engine, record: &VolumeRecord) -> String {
    engine
        .store()
        .volume_data(&record.name)
        .display()
        .to_string()
}

type AndDamage = (Vec<VolumeRecord>, Vec<EngineError>);

fn all(engine: &Engine) -> Result<AndDamage, EngineError> {
    let (all, damaged) = engine.store().volumes_and_damage()?;
    Ok((all, damaged.into_iter().map(EngineError::from).collect()))
}

pub(crate) fn ls(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let filters = match Filters::parse(matches.get_list("filter"))
        .and_then(|filters| filters.check_keys(FILTERS).map(|()| filters))
    {
        Ok(filters) => filters,
        Err(error) => return fail_text(invocation, &error.to_string()),
    };
    let wants_dangling = match filters.boolean("dangling", false) {
        Ok(wanted) => filters.contains("dangling").then_some(wanted),
        Err(error) => return fail_text(invocation, &error.to_string()),
    };
    let (records, damaged) = match all(engine) {
        Ok(found) => found,
        Err(error) => return fail(invocation, &error),
    };
    let is_wanted = |record: &&VolumeRecord| {
        filters.matches_pattern("name", &record.name)
            && filters.matches_exactly("driver", "local")
            && filters.matches_labels("label", &record.labels)
            && wants_dangling.is_none_or(|wanted| {
                let users = engine.volume_users(&record.name);
                wanted == users.is_ok_and(|users| users.is_empty())
            })
    };
    let rows: Vec<VolumeRow> = records
        .iter()
        .filter(is_wanted)
        .map(|record| row(engine, record, false))
        .collect();
    let config = ClientConfig::load();
    let flags = ListFlags {
        format: client_config::format(matches.get_str("format"), &config.volumes_format),
        quiet: matches.get_bool("quiet"),
        no_trunc: true,
        escape_control: terminal::is_terminal(rustix::stdio::stdout()),
    };
    let code = super::print_list(volumes(&rows, flags));
    super::name_damaged(invocation.program, damaged, code)
}

/// A volume's time as Docker has it.
fn whole_seconds(time: &str) -> String {
    Timestamp::parse_rfc3339(time).map_or_else(
        |_| time.to_owned(),
        |time| Timestamp::from_unix(time.unix_seconds(), 0).rfc3339(),
    )
}

fn map_or_null(map: &BTreeMap<String, String>) -> Value {
    match map.is_empty() {
        true => Value::Null,
        false => json!(map),
    }
}

/// Docker's document of a volume, with its snapshots.
pub(crate) fn document(engine: &Engine, name: &str) -> Result<Value, EngineError> {
    let record = engine.store().volume(name)?;
    let snapshots = engine.store().snapshots(name);
    let mut document = json!({
        "CreatedAt": whole_seconds(&record.created),
        "Driver": "local",
        "Labels": map_or_null(&record.labels),
        "Mountpoint": mountpoint(engine, &record),
        "Name": record.name,
        "Options": map_or_null(&record.options),
        "Scope": "local",
    });
    if !snapshots.is_empty() {
        document["Status"] = json!({ "Snapshots": snapshots });
    }
    Ok(document)
}

pub(crate) fn inspect(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let escape = terminal::is_terminal(rustix::stdio::stdout());
    let mut inspector = match Inspector::new(invocation.matches.get_str("format"), escape) {
        Ok(inspector) => inspector,
        Err(error) => {
            errors::complain(&error.to_string());
            return ExitCode::from(64);
        }
    };
    let mut failures = Vec::new();
    for name in &invocation.matches.args {
        match document(engine, name) {
            Ok(document) => {
                if let Err(error) = inspector.add(&VOLUME, document) {
                    failures.push(error.to_string());
                }
            }
            Err(error) => failures.push(errors::line(invocation.program, &error)),
        }
    }
    print(&inspector.finish());
    for failure in &failures {
        errors::complain(failure);
    }
    ExitCode::from(u8::from(!failures.is_empty()))
}

pub(crate) fn rm(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let force = invocation.matches.get_bool("force");
    let mut is_failed = false;
    for name in &invocation.matches.args {
        let removed = match engine.remove_volume(name) {
            Err(EngineError::Volume(VolumeError::Damaged { .. })) if force => {
                engine.remove_damaged_volume(name)
            }
            other => other,
        };
        match removed {
            Ok(()) => print_line(name),
            Err(EngineError::Volume(VolumeError::Missing(_))) if force => print_line(name),
            Err(error) => {
                errors::report(invocation.program, &error);
                is_failed = true;
            }
        }
    }
    ExitCode::from(u8::from(is_failed))
}

pub(crate) fn snapshot(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let (name, tag) = (argument(invocation, 0), matches.args.get(1));
    if matches.get_bool("list") {
        return match document(engine, name) {
            Ok(_) => {
                engine
                    .store()
                    .snapshots(name)
                    .iter()
                    .for_each(|tag| print_line(tag));
                ExitCode::SUCCESS
            }
            Err(error) => fail(invocation, &error),
        };
    }
    if matches.get_bool("rm") {
        let Some(tag) = tag else {
            return fail_text(invocation, "which snapshot? give its tag after the volume");
        };
        let removed = engine.remove_snapshot(name, tag).map(|()| tag.clone());
        return told(invocation, removed);
    }
    told(
        invocation,
        engine.snapshot_volume(name, tag.map(String::as_str)),
    )
}

pub(crate) fn restore(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let (name, tag) = (argument(invocation, 0), argument(invocation, 1));
    told(
        invocation,
        engine.restore_volume(name, tag).map(|()| name.to_owned()),
    )
}

pub(crate) fn clone(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let (name, new) = (argument(invocation, 0), argument(invocation, 1));
    told(
        invocation,
        engine.clone_volume(name, new).map(|()| new.to_owned()),
    )
}

pub(crate) fn rename(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let (name, new) = (argument(invocation, 0), argument(invocation, 1));
    told(
        invocation,
        engine.rename_volume(name, new).map(|()| new.to_owned()),
    )
}

pub(crate) fn export(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let (name, output) = (
        argument(invocation, 0),
        invocation.matches.get_str("output"),
    );
    if output.is_empty() && terminal::is_terminal(rustix::stdio::stdout()) {
        return fail_text(
            invocation,
            "cannot write an archive to a terminal: use -o FILE or redirect",
        );
    }
    if let Err(text) = super::copy::check_output(output) {
        return refuse_text(invocation, &format!("failed to export volume: {text}"));
    }
    let written = match output {
        "" => engine.export_volume(name, &mut std::io::stdout().lock()),
        path => super::copy::to_file(path, |sink: &mut dyn Write| {
            engine.export_volume(name, sink)
        }),
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(invocation, &error),
    }
}

pub(crate) fn import(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let (name, input) = (argument(invocation, 0), invocation.matches.get_str("input"));
    let source: Result<Box<dyn Read + Send>, std::io::Error> = match input {
        "" | "-" => Ok(Box::new(std::io::stdin())),
        path => File::open(path).map(|file| Box::new(file) as Box<dyn Read + Send>),
    };
    match source {
        Ok(source) => {
            let imported = engine.import_volume(name, source);
            told(invocation, imported.map(|()| name.to_owned()))
        }
        Err(error) => fail_text(invocation, &format!("cannot read {input}: {error}")),
    }
}
