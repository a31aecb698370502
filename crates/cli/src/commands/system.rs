//! `info`, `version`, and pruning.

use std::io::{BufRead, Write};
use std::process::ExitCode;

use engine::{Engine, EngineError, StoredContainer};
use serde_json::{Value, json};
use types::filter::Filters;
use types::state::Status;
use types::timestamp::Timestamp;

use super::{fail_text, list, print};
use crate::errors;
use crate::flags::Invocation;
use crate::flags::parse::Program;
use crate::output::rows::{info, prune, version};
use crate::output::table::FormatError;

/// The version of Docker whose behaviour this follows; tools compare it.
const DOCKER_VERSION: &str = "28.2.2";
const API_VERSION: &str = "1.50";
const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

fn answer(result: Result<String, FormatError>) -> ExitCode {
    match result {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            let code = if matches!(error, FormatError::Parse(_)) {
                64
            } else {
                1
            };
            if matches!(error, FormatError::ExecutePlain(_)) {
                print("\n");
            }
            errors::complain(&error.to_string());
            ExitCode::from(code)
        }
    }
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn shown_version(program: Program) -> &'static str {
    match program {
        Program::Docker => DOCKER_VERSION,
        Program::Caisson => OWN_VERSION,
    }
}

pub(crate) fn version(invocation: &Invocation) -> ExitCode {
    let shown = shown_version(invocation.program);
    let commit = format!("caisson-{OWN_VERSION}");
    let details = json!({
        "ApiVersion": API_VERSION, "Arch": arch(), "BuildTime": "", "Experimental": "false",
        "GitCommit": commit, "GoVersion": "none (Rust)", "KernelVersion": engine::kernel_release(),
        "MinAPIVersion": "1.24", "Os": "linux",
    });
    let document = json!({
        "Client": {
            "Version": shown, "ApiVersion": API_VERSION, "DefaultAPIVersion": API_VERSION,
            "GitCommit": commit, "GoVersion": "none (Rust)", "Os": "linux", "Arch": arch(),
            "BuildTime": "", "Context": "default",
        },
        "Server": {
            "Platform": {"Name": format!("Caisson {OWN_VERSION} (no daemon)")},
            "Components": [{"Name": "Engine", "Version": shown, "Details": details}],
            "Version": shown, "ApiVersion": API_VERSION, "MinAPIVersion": "1.24",
            "GitCommit": commit, "GoVersion": "none (Rust)", "Os": "linux", "Arch": arch(),
            "KernelVersion": engine::kernel_release(), "BuildTime": "",
        },
    });
    answer(version::version(
        &document,
        invocation.matches.get_str("format"),
    ))
}

pub(crate) fn info(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let document = info_document(engine, invocation.program);
    let format = invocation.matches.get_str("format");
    if !format.is_empty() {
        return answer(info::info_format(&document, format));
    }
    let text = info::info_text(&document);
    print(&text.out);
    if !text.err.is_empty() {
        errors::complain(text.err.trim_end());
    }
    ExitCode::SUCCESS
}

fn info_document(engine: &Engine, program: Program) -> Value {
    let all = engine.containers().unwrap_or_default();
    let count = |wanted: &dyn Fn(Status) -> bool| {
        all.iter()
            .filter(|stored| wanted(stored.state.status))
            .count()
    };
    let facts = engine.facts();
    let plugins = json!({
        "Volume": ["local"], "Network": ["bridge", "host", "null"], "Authorization": null, "Log": ["json-file", "local", "none"],
    });
    let mut document = json!({
        "ID": facts.id,
        "Containers": all.len(),
        "ContainersRunning": count(&|status| status == Status::Running || status == Status::Restarting),
        "ContainersPaused": count(&|status| status == Status::Paused),
        "ContainersStopped": count(&|status| !status.is_live()),
        "Images": facts.images,
        "Driver": "overlay2",
        "DriverStatus": [["Backing Filesystem", facts.filesystem], ["Using metacopy", "false"], ["Native Overlay Diff", "true"]],
        "Plugins": plugins,
        "MemoryLimit": facts.has("memory"), "SwapLimit": facts.has("memory"),
        "CpuCfsPeriod": facts.has("cpu"), "CpuCfsQuota": facts.has("cpu"), "CPUShares": facts.has("cpu"),
        "CPUSet": facts.has("cpuset"), "PidsLimit": facts.has("pids"), "OomKillDisable": !facts.unified && facts.has("memory"),
    });
    let more = json!({
        "IPv4Forwarding": true, "Debug": false, "NFd": 0, "NGoroutines": 0,
        "SystemTime": Timestamp::now().rfc3339(),
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs", "CgroupVersion": if facts.unified { "2" } else { "1" },
        "NEventsListener": 0,
        "KernelVersion": engine::kernel_release(),
        "OperatingSystem": facts.operating_system, "OSVersion": facts.os_version, "OSType": "linux",
        "Architecture": std::env::consts::ARCH,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": {"IndexConfigs": {}, "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"], "Mirrors": facts.mirrors},
        "NCPU": facts.cpus, "MemTotal": engine::host_memory_bytes(),
        "DockerRootDir": engine.store().root().display().to_string(),
    });
    let rest = json!({
        "HttpProxy": "", "HttpsProxy": "", "NoProxy": "",
        "Name": facts.hostname, "Labels": [], "ExperimentalBuild": false,
        "ServerVersion": shown_version(program),
        "Runtimes": {"caisson": {"path": "built in"}}, "DefaultRuntime": "caisson",
        "Swarm": {"NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": false, "Error": "", "RemoteManagers": null},
        "LiveRestoreEnabled": true, "Isolation": "", "InitBinary": "built in",
        "SecurityOptions": facts.security_options,
        "Warnings": facts.warnings,
        "ClientInfo": {
            "Debug": false, "Context": "default", "Plugins": [], "Warnings": null,
            "Version": shown_version(program), "Platform": {"Name": ""},
        },
    });
    for part in [more, rest] {
        if let (Some(all), Value::Object(part)) = (document.as_object_mut(), part) {
            all.extend(part);
        }
    }
    document
}

/// Asks on standard error and reads the answer; the end of input is no.
pub(crate) fn confirmed(invocation: &Invocation, question: &str) -> bool {
    if invocation.matches.get_bool("force") {
        return true;
    }
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(question.as_bytes());
    let _ = err.flush();
    let mut line = String::new();
    let _ = std::io::stdin().lock().read_line(&mut line);
    matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Filters of a prune: labels, and until when.
pub(crate) struct PruneFilters {
    filters: Filters,
    until_ns: Option<i64>,
}

impl PruneFilters {
    pub(crate) fn read(invocation: &Invocation) -> Result<Self, String> {
        let filters = Filters::parse(invocation.matches.get_list("filter"))
            .and_then(|filters| {
                filters
                    .check_keys(&["label", "label!", "until"])
                    .map(|()| filters)
            })
            .map_err(|error| error.to_string())?;
        let until_ns = match filters.values("until") {
            [] => None,
            [text] => Some(
                Timestamp::parse_relative(text, Timestamp::now(), 0)
                    .map_err(|error| error.to_string())?
                    .unix_ns() as i64,
            ),
            _ => return Err("more than one until filter specified".into()),
        };
        Ok(Self { filters, until_ns })
    }

    pub(crate) fn takes(
        &self,
        labels: &std::collections::BTreeMap<String, String>,
        created_ns: i64,
    ) -> bool {
        self.until_ns.is_none_or(|until| created_ns < until)
            && self.filters.matches_labels("label", labels)
            && !(self.filters.contains("label!") && self.filters.matches_labels("label!", labels))
    }
}

/// Removes stopped containers; returns their ids and the bytes they held.
pub(crate) fn prune_stopped(
    engine: &Engine,
    filters: &PruneFilters,
) -> Result<(Vec<String>, u64), EngineError> {
    let is_stopped = |stored: &StoredContainer| !stored.state.status.is_live();
    let (mut ids, mut bytes) = (Vec::new(), 0);
    for stored in engine.containers()?.into_iter().filter(is_stopped) {
        let record = &stored.record;
        if !filters.takes(
            &record.spec.labels,
            list::time_ns(&record.created).unwrap_or(0),
        ) {
            continue;
        }
        let size = engine.container_sizes(&stored).0;
        // Started, or removed by another, meanwhile: not ours any more.
        let removed = engine
            .begin_remove(&record.id, false)
            .and_then(|r| engine.finish_remove(r));
        if removed.is_ok() {
            ids.push(record.id.clone());
            bytes += u64::try_from(size).unwrap_or(0);
        }
    }
    engine.sweep();
    engine.announce_prune("container", bytes);
    Ok((ids, bytes))
}

pub(crate) fn container_prune(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let filters = match PruneFilters::read(invocation) {
        Ok(filters) => filters,
        Err(text) => return fail_text(invocation, &text),
    };
    if !confirmed(invocation, prune::CONTAINERS_QUESTION) {
        return ExitCode::SUCCESS;
    }
    match prune_stopped(engine, &filters) {
        Ok((ids, bytes)) => {
            print(&prune::removed("Deleted Containers:", &ids));
            print(&prune::reclaimed(bytes));
            ExitCode::SUCCESS
        }
        Err(error) => {
            errors::report(invocation.program, &error);
            ExitCode::from(1)
        }
    }
}

pub(crate) fn system_prune(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let filters = match PruneFilters::read(invocation) {
        Ok(filters) => filters,
        Err(text) => return fail_text(invocation, &text),
    };
    let asked = prune::SystemPrune {
        all: matches.get_bool("all"),
        volumes: matches.get_bool("volumes"),
        filters: matches.get_list("filter").to_vec(),
    };
    if asked.volumes && filters.until_ns.is_some() {
        return fail_text(
            invocation,
            "ERROR: The \"until\" filter is not supported with \"--volumes\"",
        );
    }
    if !confirmed(invocation, &prune::system_question(&asked)) {
        return ExitCode::SUCCESS;
    }
    let result = prune_stopped(engine, &filters).and_then(|(ids, bytes)| {
        let networks = super::network::prune_unused(engine, &filters)?;
        let (volumes, volume_bytes) = match asked.volumes {
            true => super::volume::prune_unused(engine, &filters, false)?,
            false => (Vec::new(), 0),
        };
        let bytes = bytes + volume_bytes;
        let options = engine::image::prune::PruneOptions {
            all: asked.all,
            filters: filters.filters,
        };
        let users = || engine.image_users().unwrap_or_default();
        let report = engine::image::prune::prune(&engine.images(), &options, &users)?;
        Ok((ids, bytes, networks, volumes, report))
    });
    match result {
        Ok((ids, bytes, networks, volumes, report)) => {
            print(&prune::removed("Deleted Containers:", &ids));
            print(&prune::removed("Deleted Volumes:", &volumes));
            print(&prune::removed("Deleted Networks:", &networks));
            let lines: Vec<String> = report
                .removed
                .iter()
                .map(super::image::removed_line_lower)
                .collect();
            print(&prune::removed("Deleted Images:", &lines));
            print(&prune::reclaimed(bytes + report.reclaimed_bytes));
            ExitCode::SUCCESS
        }
        Err(error) => {
            errors::report(invocation.program, &error);
            ExitCode::from(1)
        }
    }
}

pub(crate) fn system_df(engine: &Engine, invocation: &Invocation) -> ExitCode {
    use crate::output::rows::Clock;
    use crate::output::rows::containers::ListFlags;
    use crate::output::rows::disk_usage::{DiskUsage, disk_usage};
    let clock = Clock::utc(Timestamp::now().unix_ns() as i64);
    let gathered = engine.containers().and_then(|all| {
        let images = super::image::rows_with_users(engine, &all)?;
        Ok(DiskUsage {
            layers_bytes: images.iter().map(|image| image.size_bytes).sum(),
            images,
            containers: all
                .iter()
                .map(|stored| list::row(engine, stored, &clock, true))
                .collect(),
            volumes: engine
                .store()
                .volumes()?
                .iter()
                .map(|record| super::volume::row(engine, record, true))
                .collect(),
            build_cache: Vec::new(),
        })
    });
    let usage = match gathered {
        Ok(usage) => usage,
        Err(error) => {
            errors::report(invocation.program, &error);
            return ExitCode::from(1);
        }
    };
    let matches = &invocation.matches;
    let flags = ListFlags {
        format: matches.get_str("format"),
        ..ListFlags::default()
    };
    match disk_usage(&usage, flags, matches.get_bool("verbose"), &clock) {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => fail_text(invocation, &error.to_string()),
    }
}
