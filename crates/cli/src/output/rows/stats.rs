//! `stats`: one row a container, refreshed by the caller.

use types::units::{bytes_size, human_size_with_precision};

use super::super::table::{FormatError, Layout, Row, Titles, render};
use super::super::template::Value;
use super::super::text::short_id;
use super::containers::ListFlags;

const TABLE: &str = "table {{.ID}}\\t{{.Name}}\\t{{.CPUPerc}}\\t{{.MemUsage}}\\t{{.MemPerc}}\\t\
                     {{.NetIO}}\\t{{.BlockIO}}\\t{{.PIDs}}";
const TITLES: &Titles = &[
    ("Container", "CONTAINER"),
    ("Name", "NAME"),
    ("ID", "CONTAINER ID"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];
const MEMBERS: &[&str] = &[
    "BlockIO",
    "CPUPerc",
    "Container",
    "ID",
    "MemPerc",
    "MemUsage",
    "Name",
    "NetIO",
    "PIDs",
];
/// What stands for a figure that is not known.
const UNKNOWN: &str = "--";

/// What a container uses.
#[derive(Clone, Debug, Default)]
pub(crate) struct StatsRow {
    /// As the user named it.
    pub(crate) container: String,
    /// Its name.
    pub(crate) name: String,
    /// Its id.
    pub(crate) id: String,
    /// The figures; `None` when they could not be read.
    pub(crate) figures: Option<Figures>,
}

/// The figures of a [`StatsRow`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// Of one CPU.
    pub(crate) cpu_percent: f64,
    /// Bytes in use, caches apart.
    pub(crate) memory_bytes: f64,
    /// The limit, or the machine's memory.
    pub(crate) memory_limit_bytes: f64,
    /// Bytes received and sent.
    pub(crate) network_bytes: (f64, f64),
    /// Bytes read from and written to disks.
    pub(crate) block_bytes: (f64, f64),
    /// Processes and threads.
    pub(crate) pids: u64,
}

/// The text of one refresh of `stats`.
pub(crate) fn list(rows: &[StatsRow], flags: ListFlags<'_>) -> Result<String, FormatError> {
    let format = if matches!(flags.format, "" | "table") {
        TABLE
    } else {
        flags.format
    };
    let layout = Layout {
        format,
        titles: TITLES,
        escape_control: flags.escape_control,
    };
    if rows.is_empty() {
        // As Docker: a field that there is not is told though no container runs.
        render(layout, [row(&StatsRow::default(), true)])?;
    }
    render(layout, rows.iter().map(|stats| row(stats, !flags.no_trunc)))
}

fn row(stats: &StatsRow, truncate: bool) -> Row {
    let id = if truncate {
        short_id(&stats.id)
    } else {
        &stats.id
    };
    let name = if stats.name.is_empty() {
        UNKNOWN
    } else {
        &stats.name
    };
    let sizes = |(first, second): (f64, f64)| {
        let [first, second] = [first, second].map(|size| human_size_with_precision(size, 3));
        format!("{first} / {second}")
    };
    let shown = |text: fn(&Figures) -> String| {
        stats
            .figures
            .as_ref()
            .map_or_else(|| UNKNOWN.to_owned(), text)
    };
    let memory = match &stats.figures {
        None => "-- / --".to_owned(),
        Some(figures) => {
            let [used, limit] = [figures.memory_bytes, figures.memory_limit_bytes].map(bytes_size);
            format!("{used} / {limit}")
        }
    };
    let transfers = |pick: fn(&Figures) -> (f64, f64)| {
        stats
            .figures
            .as_ref()
            .map_or_else(|| UNKNOWN.to_owned(), |figures| sizes(pick(figures)))
    };
    let values = [
        transfers(|figures| figures.block_bytes),
        shown(|figures| format!("{:.2}%", figures.cpu_percent)),
        stats.container.clone(),
        id.to_owned(),
        shown(|figures| {
            let part = match figures.memory_limit_bytes {
                0.0 => 0.0,
                limit => figures.memory_bytes / limit * 100.0,
            };
            format!("{part:.2}%")
        }),
        memory,
        name.to_owned(),
        transfers(|figures| figures.network_bytes),
        shown(|figures| figures.pids.to_string()),
    ];
    Row::new(
        "*container.statsContext",
        MEMBERS,
        values.map(Value::string).to_vec(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    // Compared with `docker stats --no-stream` 28.2.2.
    #[test]
    fn figures_print_as_docker_stats() {
        let stats = StatsRow {
            container: "x".to_owned(),
            name: "x".to_owned(),
            id: "c".repeat(64),
            figures: Some(Figures {
                cpu_percent: 2.0,
                memory_bytes: 100_000_000.0,
                memory_limit_bytes: 1_073_741_824.0,
                network_bytes: (1000.0, 2000.0),
                block_bytes: (1024.0, 2048.0),
                pids: 2,
            }),
        };
        let gone = StatsRow {
            figures: None,
            name: String::new(),
            ..stats.clone()
        };
        assert_eq!(
            list(&[stats, gone], ListFlags::default()).unwrap(),
            "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O     BLOCK I/O         PIDS\n\
             cccccccccccc   x         2.00%     95.37MiB / 1GiB     9.31%     1kB / 2kB   1.02kB / 2.05kB   2\n\
             cccccccccccc   --        --        -- / --             --        --          --                --\n"
        );
    }
}
