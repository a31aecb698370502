//! Processes in the container besides its first: health probes, and those of `exec`.

use types::container::RestartKind;
use types::state::Probe;

use super::Monitor;
use crate::health::Checker;
use crate::joined::{self, Process, Purpose};
use crate::protocol::{self, Ended, Kind};
use crate::state::{self, now};
use crate::watch::is_readable;

impl Monitor {
    pub(super) fn begin_probe(&mut self, now_ns: i64) {
        let (Some(checker), Some(container)) = (&mut self.checker, &self.container) else {
            return;
        };
        checker.due_ns = None;
        let shell = ["/bin/sh".to_string(), "-c".to_string()];
        let Some(command) = checker.command(&shell) else {
            return;
        };
        let timeout_ns = checker.timeout_ns();
        let random = sys::host::random_bytes();
        let id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        self.announce_exec(&command, &id);
        match joined::probe(&self.job, container, command, id, now_ns + timeout_ns) {
            Ok(process) => self.processes.push(process),
            Err(failure) => {
                let probe = Probe {
                    start: now(),
                    end: now(),
                    exit_code: -1,
                    output: failure.text.clone(),
                };
                self.record_probe(probe);
            }
        }
    }

    /// Tells of a process that is about to join, in Docker's form: program, space, arguments.
    pub(crate) fn announce_exec(&self, command: &[String], id: &str) {
        let (program, rest) = command
            .split_first()
            .map_or(("", &[][..]), |(one, rest)| (one, rest));
        for action in ["exec_create", "exec_start"] {
            let action = format!("{action}: {program} {}", rest.join(" "));
            state::announce(&self.job, &action, &[("execID", id.to_owned())]);
        }
    }

    pub(super) fn record_probe(&mut self, probe: Probe) {
        let (Some(checker), Some(health)) = (&mut self.checker, &mut self.state.health) else {
            return;
        };
        let changed = checker.record(health, probe, sys::journal::now_ns());
        let status = health.status.clone();
        state::save(&self.job, &self.state);
        if changed {
            state::announce(&self.job, &format!("health_status: {status}"), &[]);
            if status == "unhealthy" && self.job.restart.kind == RestartKind::OnUnhealthy {
                self.end_the_unhealthy();
            }
        }
    }

    /// Ends the container as a stop would, but for that the user did not want it: the policy starts
    /// it again.
    fn end_the_unhealthy(&mut self) {
        let Some(container) = &self.container else {
            return;
        };
        let _ = sys::process::signal(&container.pidfd, self.job.stop_signal);
        self.announce_kill(self.job.stop_signal);
        let grace_ns = self.job.stop_timeout_s.max(0).saturating_mul(1_000_000_000);
        self.kill_at_ns =
            (self.job.stop_timeout_s >= 0).then(|| sys::journal::now_ns().saturating_add(grace_ns));
    }

    pub(super) fn probe_printed(&mut self, index: usize) {
        if let Some(Process {
            purpose: Purpose::Probe(probe),
            ..
        }) = self.processes.get_mut(index)
        {
            probe.read();
        }
    }

    pub(super) fn process_ended(&mut self, index: usize) {
        let Some(process) = self.processes.get(index) else {
            return;
        };
        match sys::process::reap(&process.pidfd, false) {
            Ok(None) => {}
            Ok(Some(exit)) => self.finish_process(index, Some(exit)),
            Err(_) => self.finish_process(index, None),
        }
    }

    /// Docker's words.
    fn timed_out(&self) -> String {
        let timeout_ns = self.checker.as_ref().map_or(0, Checker::timeout_ns);
        let timeout = types::units::format_duration(timeout_ns);
        format!("Health check exceeded timeout ({timeout})")
    }

    pub(super) fn finish_process(&mut self, index: usize, exit: Option<sys::process::Exit>) {
        let process = self.processes.remove(index);
        let code = exit.map_or(255, sys::process::Exit::shell_code);
        let more = [("execID", process.id), ("exitCode", code.to_string())];
        state::announce(&self.job, "exec_die", &more);
        match process.purpose {
            Purpose::Probe(mut probe) => {
                if is_readable(&probe.reader) {
                    probe.read();
                }
                let output = match probe.timed_out {
                    true => self.timed_out(),
                    false => String::from_utf8_lossy(&probe.output).into_owned(),
                };
                let exit_code = probe.exit_code(exit);
                self.record_probe(Probe {
                    start: probe.start,
                    end: now(),
                    exit_code,
                    output,
                });
            }
            Purpose::Command { client } => {
                let client = client.and_then(|number| self.client_by_number(number));
                if let Some(client) = client {
                    client.send(protocol::json_packet(Kind::Ended, &Ended { code }));
                }
            }
        }
    }
}
