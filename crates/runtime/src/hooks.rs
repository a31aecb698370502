//! Programs of the host that take part in a start: the OCI specification's `createContainer` hooks.
//!
//! They run as the container's first process's children, in its namespaces, while the root is still
//! attached beneath the staging directory (config.md, "POSIX-platform Hooks").

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;
use sys::Context;

use crate::failure::Failure;
use crate::launch::{Launch, RootSource};
use crate::spec::Hook;

/// What a hook may take that names no time.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(1);
/// How much of what a failed hook printed is told.
const OUTPUT_BYTES_MAX: u64 = 2048;

/// Runs a container's hooks in order; the first that fails ends the start.
pub(crate) fn run(launch: &Launch) -> Result<(), Failure> {
    let hooks = &launch.spec.hooks.create_container;
    if hooks.is_empty() {
        return Ok(());
    }
    let bundle = bundle(launch);
    write_bundle(launch, &bundle)?;
    let state = state(launch, &bundle);
    hooks.iter().try_for_each(|hook| run_one(hook, &state))
}

/// Where a hook finds `config.json`: the container's own directory in the store.
fn bundle(launch: &Launch) -> PathBuf {
    let of_root = match &launch.root {
        RootSource::Layers(layers) => layers.upper.parent(),
        RootSource::Directory => Path::new(&launch.spec.root.path).parent(),
    };
    of_root.unwrap_or(&launch.staging).to_owned()
}

fn write_bundle(launch: &Launch, bundle: &Path) -> Result<(), Failure> {
    let mut spec = launch.spec.clone();
    spec.root.path = launch.staging.display().to_string();
    let bytes = serde_json::to_vec(&spec).expect("invariant: plain maps and strings");
    let path = bundle.join("config.json");
    std::fs::write(&path, bytes)
        .map_err(|error| Failure::setup(format!("cannot write {}: {error}", path.display())))
}

fn state(launch: &Launch, bundle: &Path) -> Vec<u8> {
    // The procfs that is mounted here is still the host's: the number is the one that it knows.
    let pid = std::fs::read_link("/proc/self").unwrap_or_default();
    let pid: i32 = pid.to_string_lossy().parse().unwrap_or(0);
    let state = serde_json::json!({
        "ociVersion": launch.spec.oci_version,
        "id": launch.cgroup.id,
        "status": "creating",
        "pid": pid,
        "bundle": bundle,
        "annotations": launch.spec.annotations,
    });
    state.to_string().into_bytes()
}

fn run_one(hook: &Hook, state: &[u8]) -> Result<(), Failure> {
    let failed = |why: String| Failure::setup(format!("hook {} failed: {why}", hook.path));
    let input = memory_file(state)?;
    let mut output = memory_file(b"")?;
    let copy = || output.try_clone().map(Stdio::from);
    let (stdout, stderr) = match (copy(), copy()) {
        (Ok(stdout), Ok(stderr)) => (stdout, stderr),
        (Err(error), _) | (_, Err(error)) => return Err(failed(error.to_string())),
    };
    let mut command = Command::new(&hook.path);
    if let Some((name, arguments)) = hook.args.split_first() {
        command.arg0(name).args(arguments);
    }
    let pairs = hook.env.iter().filter_map(|pair| pair.split_once('='));
    command.env_clear().envs(pairs).current_dir("/");
    command.stdin(input).stdout(stdout).stderr(stderr);
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let limit = hook.timeout.map(|s| Duration::from_secs(s.into()));
    let limit = limit.unwrap_or(TIMEOUT_DEFAULT);
    match wait(&mut child, limit) {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(failed(describe(status, &printed(&mut output)))),
        None => Err(failed(format!("not done after {} s", limit.as_secs()))),
    }
}

fn memory_file(content: &[u8]) -> Result<File, Failure> {
    let fd: OwnedFd = rustix::fs::memfd_create("hook", MemfdFlags::CLOEXEC).on("make", "file")?;
    let mut file = File::from(fd);
    file.write_all(content)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .map_err(|error| Failure::setup(format!("cannot tell a hook its container: {error}")))?;
    Ok(file)
}

/// `None` where it was killed because its time was over.
fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < end => std::thread::sleep(POLL),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

/// What it printed, in one line.
fn printed(output: &mut File) -> String {
    let mut bytes = Vec::new();
    let _ = output.seek(SeekFrom::Start(0));
    let _ = output.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

fn describe(status: ExitStatus, printed: &str) -> String {
    let ended = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or(0)),
    };
    match printed {
        "" => ended,
        printed => format!("{ended}: {printed}"),
    }
}
