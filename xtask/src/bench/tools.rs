//! The peers: how each is called, and what it needs before it can be measured.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

use super::run;
use crate::packages::is_there;

/// A container engine with Docker's words.
#[derive(Clone)]
pub(super) struct Tool {
    pub(super) name: &'static str,
    program: PathBuf,
    global: Vec<String>,
    run_flags: Vec<&'static str>,
    environment: Vec<(&'static str, PathBuf)>,
}

impl Tool {
    /// Us, in a store of our own.
    pub(super) fn caisson(binary: PathBuf, scratch: &Path) -> Self {
        Self {
            name: "caisson",
            program: binary,
            global: Vec::new(),
            run_flags: Vec::new(),
            environment: vec![
                ("CAISSON_ROOT", scratch.join("root")),
                ("CAISSON_RUN_ROOT", scratch.join("run")),
            ],
        }
    }

    /// Podman over runc: its crun refuses the hybrid control groups of our machines.
    pub(super) fn podman(scratch: &Path) -> Option<Self> {
        (is_there("podman") && is_there("runc")).then(|| {
            let store = scratch.join("podman");
            let words = [
                "--root",
                &store.join("root").display().to_string(),
                "--runroot",
                &store.join("run").display().to_string(),
                "--runtime",
                "runc",
                "--cgroup-manager",
                "cgroupfs",
                "--events-backend",
                "file",
            ];
            Self {
                name: "podman + runc",
                program: "podman".into(),
                global: words.map(str::to_owned).into(),
                // As root it raises limits, which needs CAP_SYS_RESOURCE, unless told others.
                run_flags: vec![
                    "--ulimit",
                    "nofile=20000:20000",
                    "--ulimit",
                    "nproc=20000:20000",
                ],
                environment: Vec::new(),
            }
        })
    }

    /// Docker, where somebody runs its daemon.
    pub(super) fn docker() -> Option<Self> {
        let answers = is_there("docker")
            && Command::new("docker")
                .arg("version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success());
        answers.then(|| Self {
            name: "docker",
            program: "docker".into(),
            global: Vec::new(),
            run_flags: Vec::new(),
            environment: Vec::new(),
        })
    }

    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.global);
        if let Some((first, rest)) = words.split_first() {
            command.arg(first);
            if matches!(*first, "run" | "build") {
                command.args(&self.run_flags);
            }
            command.args(rest);
        }
        // It says where a peer's daemon is; we act on this machine only and would refuse.
        if self.name == "caisson" {
            command.env_remove("DOCKER_HOST");
        }
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if std::env::var_os("BENCH_VERBOSE").is_some() {
            command.stderr(Stdio::inherit());
        }
        command
    }

    /// The one line that a command prints.
    pub(super) fn line(&self, words: &[&str]) -> anyhow::Result<String> {
        let output = self.command(words).stdout(Stdio::piped()).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Ends and removes all containers that have names of ours.
    pub(super) fn clean(&self) {
        let list = ["ps", "-aq", "--filter", "name=caisson-bench"];
        for id in self.line(&list).unwrap_or_default().split_whitespace() {
            let _ = self.command(&["rm", "-f", id]).status();
        }
    }
}

/// A bundle for a bare OCI runtime.
pub(super) fn bundle(scratch: &Path, tree: &Path) -> anyhow::Result<PathBuf> {
    let bundle = scratch.join("bundle");
    std::fs::create_dir_all(&bundle)?;
    run(Command::new("runc").arg("spec").current_dir(&bundle))?;
    let path = bundle.join("config.json");
    let mut spec: serde_json::Value = serde_json::from_slice(&std::fs::read(&path)?)
        .context("runc's own specification cannot be read")?;
    spec["process"]["terminal"] = false.into();
    spec["process"]["args"] = serde_json::json!(["true"]);
    spec["root"]["path"] = tree.display().to_string().into();
    spec["root"]["readonly"] = false.into();
    if let Some(process) = spec["process"].as_object_mut() {
        process.remove("rlimits");
    }
    std::fs::write(&path, serde_json::to_vec(&spec)?)?;
    Ok(bundle)
}
