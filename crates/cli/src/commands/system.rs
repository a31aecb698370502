//! `info` and `version`.

use std::process::ExitCode;

use engine::Engine;
use serde_json::{Value, json};
use types::state::Status;
use types::timestamp::Timestamp;

use super::print;
use crate::errors;
use crate::flags::Invocation;
use crate::flags::parse::Program;
use crate::output::rows::{info, version};
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
        "NetworkShortcut": facts.shortcut,
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
