//! Steps of a run: each is timed, its commands shown, the first failure ends the run.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// A run of steps.
#[derive(Default)]
pub(crate) struct Steps {
    times: Vec<(String, Duration)>,
    results: Vec<String>,
    failures: Vec<String>,
    skips: Vec<String>,
}

impl Steps {
    /// Runs a step that is a function.
    pub(crate) fn run(
        &mut self,
        name: &str,
        step: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        eprintln!("== {name}");
        let begin = Instant::now();
        let outcome = step();
        self.times.push((name.to_owned(), begin.elapsed()));
        outcome.with_context(|| format!("step '{name}' failed"))
    }

    /// Runs a command as a step.
    pub(crate) fn command(&mut self, name: &str, command: &mut Command) -> anyhow::Result<()> {
        self.run(name, || {
            let status = command
                .status()
                .with_context(|| format!("cannot run {command:?}"))?;
            if !status.success() {
                bail!("{} ended with {status}", shown(command));
            }
            Ok(())
        })
    }

    /// Runs tests as a step: what they print is passed on, and their results are kept for the end.
    pub(crate) fn tests(&mut self, name: &str, command: &mut Command) -> anyhow::Result<()> {
        let (mut results, mut skips) = (Vec::new(), Vec::new());
        let mut failures = Failures::default();
        let outcome = self.run(name, || {
            let mut child = command
                .stdout(Stdio::piped())
                .spawn()
                .with_context(|| format!("cannot run {command:?}"))?;
            let stdout = child
                .stdout
                .take()
                .context("invariant: standard output is a pipe")?;
            for line in BufReader::new(stdout).split(b'\n') {
                let line =
                    String::from_utf8_lossy(&line.context("cannot read tests")?).into_owned();
                println!("{line}");
                failures.see(&line);
                if line.starts_with("test result:") && !line.contains(" 0 passed; 0 failed") {
                    results.push(line.clone());
                }
                if let Some(at) = line.find("skipped: ") {
                    skips.push(line[at..].to_owned());
                }
            }
            let status = child.wait().context("cannot wait for tests")?;
            if !status.success() {
                bail!("{} ended with {status}", shown(command));
            }
            Ok(())
        });
        self.results.extend(results);
        self.skips.extend(skips);
        self.failures.extend(failures.lines);
        outcome
    }

    /// What was skipped, as the tests said it.
    pub(crate) fn skips(&self) -> &[String] {
        &self.skips
    }

    /// Prints where the time went, and at the end what the tests said.
    pub(crate) fn summary(&self) {
        println!("\n{:<44} {:>9}", "where the time went", "seconds");
        for (name, time) in &self.times {
            println!("{name:<44} {:>9.1}", time.as_secs_f64());
        }
        let total: Duration = self.times.iter().map(|(_, time)| *time).sum();
        println!("{:<44} {:>9.1}\n", "in all", total.as_secs_f64());
        for skip in &self.skips {
            println!("{skip}");
        }
        for line in self.results.iter().chain(&self.failures) {
            println!("{line}");
        }
    }
}

/// What failed tests said: repeated at the end, where whoever reads only that finds it.
#[derive(Default)]
struct Failures {
    lines: Vec<String>,
    are_told: bool,
}

impl Failures {
    /// Lines that are kept at most, of each step.
    const LINES: usize = 60;

    /// Takes a line of the test harness in: what failed tests printed lies between the first `failures:`
    /// and their names, which the second one heads.
    fn see(&mut self, line: &str) {
        if line == "failures:" {
            self.are_told = !self.are_told;
        } else if self.are_told && !line.is_empty() && self.lines.len() < Self::LINES {
            self.lines.push(format!("failed: {line}"));
        }
    }
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::Failures;

    #[test]
    fn what_failed_tests_said_is_kept() {
        let mut failures = Failures::default();
        for line in "test a ... ok\nfailures:\n\n---- b stdout ----\nwent wrong\n\nfailures:\n    b\n\ntest result: FAILED".lines() {
            failures.see(line);
        }
        assert_eq!(
            failures.lines,
            ["failed: ---- b stdout ----", "failed: went wrong"]
        );
    }
}
