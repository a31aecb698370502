//! Compose: three services with a network, a volume and a port; and a hundred.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Bench, run, timed};
use crate::packages::is_there;

const ROUNDS: usize = 9;
const FEW: usize = 3;
const MANY: usize = 100;
const THREE: &str = "services:
  db: {image: busybox, command: sleep 3600, stop_signal: SIGKILL, volumes: [data:/data]}
  api: {image: busybox, command: sleep 3600, stop_signal: SIGKILL, depends_on: [db], environment: {DB: db}}
  web: {image: busybox, command: sleep 3600, stop_signal: SIGKILL, depends_on: [api], ports: ['127.0.0.1:18090:80']}
volumes: {data: {}}
";

/// All of it.
pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let root = bench.scratch.join("compose");
    let three = folder(&root.join("caisson-bench-three"), THREE)?;
    // Docker Compose 1 has its words in a program of its own, and asks Docker's daemon.
    let has_peer =
        is_there("docker-compose") && bench.peers.iter().any(|peer| peer.name == "docker");
    let theirs = |folder: &Path, words: &[&str]| {
        let mut command = Command::new("docker-compose");
        command
            .args(words)
            .current_dir(folder)
            .stderr(Stdio::null());
        command
    };
    run(&mut ours(bench, &three, &["up", "-d"]))?;
    run(&mut ours(bench, &three, &["down", "-v"]))?;
    // What comes before, untimed; the job; its words.
    let jobs: [(&[&str], &str, &[&str]); 4] = [
        (
            &["down", "-v"],
            "compose `up -d` of 3 services",
            &["up", "-d"],
        ),
        (
            &["up", "-d"],
            "compose `up -d` again, nothing changed",
            &["up", "-d"],
        ),
        (
            &["up", "-d"],
            "compose `down -v` of 3 services",
            &["down", "-v"],
        ),
        (&["up", "-d"], "compose `config` of 3 services", &["config"]),
    ];
    for (before, job, words) in jobs {
        let mut own = Vec::new();
        for _ in 0..ROUNDS {
            run(&mut ours(bench, &three, before))?;
            own.push(timed(&mut ours(bench, &three, words))?);
        }
        let median = bench.row(job, "caisson", &own, None);
        run(&mut ours(bench, &three, &["down", "-v"]))?;
        if has_peer {
            let mut times = Vec::new();
            for _ in 0..FEW {
                run(&mut theirs(&three, before))?;
                times.push(timed(&mut theirs(&three, words))?);
            }
            bench.row(job, "docker-compose 1.29", &times, Some(median));
            run(&mut theirs(&three, &["down", "-v"]))?;
        }
    }
    measure_many(bench, &root)
}

fn ours(bench: &Bench, folder: &Path, words: &[&str]) -> Command {
    let mut all = vec!["compose"];
    all.extend(words);
    let mut command = bench.ours.command(&all);
    command.current_dir(folder);
    command
}

fn measure_many(bench: &mut Bench, root: &Path) -> anyhow::Result<()> {
    let mut text = "services:\n".to_owned();
    for number in 0..MANY {
        let _ = writeln!(
            text,
            "  s{number}: {{image: busybox, command: sleep 3600, stop_signal: SIGKILL, \
             environment: {{N: '{number}'}}, labels: [a.b=c]}}"
        );
    }
    let many = folder(&root.join("caisson-bench-many"), &text)?;
    let (mut shown, mut up, mut down) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..FEW {
        shown.push(timed(&mut ours(bench, &many, &["config"]))?);
        up.push(timed(&mut ours(bench, &many, &["up", "-d"]))?);
        down.push(timed(&mut ours(bench, &many, &["down"]))?);
    }
    bench.row("compose `config` of 100 services", "caisson", &shown, None);
    bench.row("compose `up -d` of 100 services", "caisson", &up, None);
    bench.row("compose `down` of 100 services", "caisson", &down, None);
    Ok(())
}

fn folder(path: &Path, text: &str) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(path)?;
    std::fs::write(path.join("docker-compose.yml"), text)?;
    Ok(path.to_owned())
}
