//! Counters, as Prometheus reads them.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use super::database::collect::Usage;

/// Something that only grows.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All of them.
#[derive(Default)]
pub(crate) struct Metrics {
    pub(crate) pulls: Counter,
    pub(crate) pushes: Counter,
    pub(crate) uploads: Counter,
    pub(crate) collected_blobs: Counter,
    pub(crate) collected_bytes: Counter,
    /// By the first digit of the status.
    pub(crate) requests: [Counter; 6],
    pub(crate) micros: Counter,
}

impl Metrics {
    /// Counts an answered request.
    pub(crate) fn answered(&self, status: u16, micros: u64) {
        if let Some(counter) = self.requests.get(usize::from(status / 100)) {
            counter.add(1);
        }
        self.micros.add(micros);
    }

    fn counters(&self) -> [(&'static str, &'static str, &Counter); 6] {
        [
            (
                "caisson_registry_pulls_total",
                "Manifests that were read.",
                &self.pulls,
            ),
            (
                "caisson_registry_pushes_total",
                "Manifests that were pushed.",
                &self.pushes,
            ),
            (
                "caisson_registry_uploads_total",
                "Blobs that were uploaded.",
                &self.uploads,
            ),
            (
                "caisson_registry_collected_blobs_total",
                "Blobs that were collected.",
                &self.collected_blobs,
            ),
            (
                "caisson_registry_collected_bytes_total",
                "Bytes that were collected.",
                &self.collected_bytes,
            ),
            (
                "caisson_registry_request_micros_total",
                "Time until the first byte of all answers.",
                &self.micros,
            ),
        ]
    }

    /// The page of Prometheus' text format.
    pub(crate) fn text(&self, usage: &Usage) -> String {
        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, value: u64| {
            let _ = write!(
                text,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
            );
        };
        for (name, help, counter) in self.counters() {
            metric(name, "counter", help, counter.get());
        }
        for (name, help, value) in gauges(usage) {
            metric(name, "gauge", help, value as u64);
        }
        let name = "caisson_registry_requests_total";
        let _ = write!(
            text,
            "# HELP {name} Answered requests.\n# TYPE {name} counter\n"
        );
        for (digit, counter) in self.requests.iter().enumerate().skip(1) {
            let _ = writeln!(text, "{name}{{status=\"{digit}xx\"}} {}", counter.get());
        }
        text
    }
}

fn gauges(usage: &Usage) -> [(&'static str, &'static str, i64); 6] {
    [
        (
            "caisson_registry_blobs",
            "Blobs that are kept.",
            usage.blobs,
        ),
        (
            "caisson_registry_blob_bytes",
            "Bytes of all blobs.",
            usage.bytes,
        ),
        (
            "caisson_registry_marked_blobs",
            "Blobs that are about to go.",
            usage.marked,
        ),
        (
            "caisson_registry_repositories",
            "Repositories.",
            usage.repositories,
        ),
        ("caisson_registry_tags", "Tags.", usage.tags),
        ("caisson_registry_users", "Users.", usage.users),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_metric_that_was_announced() {
        let metrics = Metrics::default();
        metrics.answered(404, 7);
        let text = metrics.text(&Usage::default());
        assert!(text.contains("caisson_registry_requests_total{status=\"4xx\"} 1\n"));
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split([' ', '{']).next().unwrap();
            assert!(text.contains(&format!("# TYPE {name} ")), "{line}");
        }
    }
}
