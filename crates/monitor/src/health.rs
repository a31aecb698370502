//! The health check: probes run in the container, and what follows from them.

use types::container::Healthcheck;
use types::state::{Health, Probe};

/// Probes that are remembered.
const PROBES_KEPT: usize = 5;
/// What of a probe's output is kept.
pub(crate) const OUTPUT_BYTES_MAX: usize = 4096;

/// When the next probe is due, and what earlier ones mean.
#[derive(Debug)]
pub(crate) struct Checker {
    check: Healthcheck,
    /// When the container was started.
    started_ns: i64,
    /// When the next probe is due; `None` while one runs.
    pub(crate) due_ns: Option<i64>,
    healthy_once: bool,
}

impl Checker {
    pub(crate) fn new(check: Healthcheck, now_ns: i64) -> Self {
        let mut checker = Self {
            check,
            started_ns: now_ns,
            due_ns: None,
            healthy_once: false,
        };
        checker.due_ns = Some(now_ns + checker.pause_ns(now_ns));
        checker
    }

    /// Program and arguments of a probe.
    pub(crate) fn command(&self, shell: &[String]) -> Option<Vec<String>> {
        let (first, rest) = self.check.test.split_first()?;
        match first.as_str() {
            "CMD" => (!rest.is_empty()).then(|| rest.to_vec()),
            "CMD-SHELL" => {
                let mut command = shell.to_vec();
                command.extend(rest.iter().cloned());
                (!rest.is_empty()).then_some(command)
            }
            _ => None,
        }
    }

    pub(crate) fn timeout_ns(&self) -> i64 {
        self.check.timeout_ns
    }

    fn in_start_period(&self, now_ns: i64) -> bool {
        !self.healthy_once && now_ns - self.started_ns < self.check.start_period_ns
    }

    /// Time between two probes: short while the container starts, if such a time was asked for.
    fn pause_ns(&self, now_ns: i64) -> i64 {
        if self.in_start_period(now_ns) && self.check.start_interval_ns > 0 {
            self.check.start_interval_ns
        } else {
            self.check.interval_ns
        }
    }

    /// Takes a probe's result; returns whether the status changed.
    pub(crate) fn record(&mut self, health: &mut Health, probe: Probe, now_ns: i64) -> bool {
        let before = health.status.clone();
        if probe.exit_code == 0 {
            self.healthy_once = true;
            health.failing_streak = 0;
            health.status = "healthy".into();
        } else if !self.in_start_period(now_ns) {
            health.failing_streak += 1;
            if health.failing_streak >= self.check.retries {
                health.status = "unhealthy".into();
            }
        }
        health.log.push(probe);
        if health.log.len() > PROBES_KEPT {
            health.log.remove(0);
        }
        self.due_ns = Some(now_ns + self.pause_ns(now_ns));
        health.status != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(exit_code: i32) -> Probe {
        Probe {
            exit_code,
            ..Probe::default()
        }
    }

    fn check() -> Healthcheck {
        Healthcheck {
            test: vec!["CMD-SHELL".into(), "true".into()],
            interval_ns: 30,
            timeout_ns: 30,
            start_period_ns: 100,
            start_interval_ns: 5,
            retries: 2,
        }
    }

    #[test]
    fn failures_count_only_after_the_start_period_and_a_success_ends_it() {
        let mut checker = Checker::new(check(), 0);
        assert_eq!(checker.due_ns, Some(5));
        let mut health = Health {
            status: "starting".into(),
            ..Health::default()
        };
        assert!(!checker.record(&mut health, probe(1), 10));
        assert_eq!((health.failing_streak, checker.due_ns), (0, Some(15)));
        assert!(checker.record(&mut health, probe(0), 20));
        assert_eq!(
            (health.status.as_str(), checker.due_ns),
            ("healthy", Some(50))
        );
        assert!(!checker.record(&mut health, probe(1), 50));
        assert!(checker.record(&mut health, probe(-1), 80));
        assert_eq!(
            (health.status.as_str(), health.failing_streak),
            ("unhealthy", 2)
        );
    }

    #[test]
    fn five_probes_are_kept_and_the_shell_comes_from_the_image() {
        let mut checker = Checker::new(check(), 0);
        let mut health = Health::default();
        for number in 0..9 {
            checker.record(&mut health, probe(number), 0);
        }
        assert_eq!(
            health.log.iter().map(|p| p.exit_code).collect::<Vec<_>>(),
            [4, 5, 6, 7, 8]
        );
        let shell = ["/bin/sh".to_string(), "-c".to_string()];
        assert_eq!(checker.command(&shell).unwrap(), ["/bin/sh", "-c", "true"]);
    }
}
