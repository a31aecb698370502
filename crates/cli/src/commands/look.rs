//! `top`, `stats`, `port`, `diff` and `events`.

use std::process::ExitCode;

use engine::container::watch::{ProcessRow, Usage};
use engine::{Engine, EngineError, StoredContainer};
use types::filter::Filters;
use types::timestamp::Timestamp;

use super::list::published;
use super::{fail_text, is_printed, print, refuse_text};
use crate::client_config::{self, ClientConfig};
use crate::errors;
use crate::flags::Invocation;
use crate::output::rows::Clock;
use crate::output::rows::containers::ListFlags;
use crate::output::rows::events::EventPrinter;
use crate::output::rows::stats::{self, Figures, StatsRow};
use crate::output::rows::{objects, ports};
use crate::output::text::short_id;
use crate::terminal;

const STATS_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
const STATS_FIRST_PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

fn to_terminal() -> bool {
    terminal::is_terminal(rustix::stdio::stdout())
}

fn fail(invocation: &Invocation, error: &engine::EngineError) -> ExitCode {
    errors::report(invocation.program, error);
    ExitCode::from(1)
}

pub(crate) fn top(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let Some((key, options)) = invocation.matches.args.split_first() else {
        return ExitCode::from(1);
    };
    let columns = match columns(options) {
        Ok(columns) => columns,
        Err(text) => return fail_text(invocation, &text),
    };
    match engine.top(key) {
        Ok(rows) => {
            let titles: Vec<String> = columns.iter().map(|column| column.0.to_string()).collect();
            let cells: Vec<Vec<String>> = rows
                .iter()
                .map(|row| columns.iter().map(|column| (column.1)(row)).collect())
                .collect();
            print(&objects::top(&titles, &cells, to_terminal()));
            ExitCode::SUCCESS
        }
        Err(error) => fail(invocation, &error),
    }
}

/// Titles and cells of a container's processes, as `ps -ef` has them.
pub(crate) fn processes(
    engine: &Engine,
    key: &str,
) -> Result<(Vec<&'static str>, Vec<Vec<String>>), EngineError> {
    let columns = columns(&[]).map_err(EngineError::invalid)?;
    let rows = engine.top(key)?;
    let cells = rows
        .iter()
        .map(|row| columns.iter().map(|column| (column.1)(row)).collect());
    Ok((
        columns.iter().map(|column| column.0).collect(),
        cells.collect(),
    ))
}

type Column = (&'static str, fn(&ProcessRow) -> String);

fn clock_text(seconds: u64) -> String {
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

const COLUMNS: [(&str, Column); 19] = [
    ("uid", ("UID", |row| row.user.clone())),
    ("user", ("USER", |row| row.user.clone())),
    ("euser", ("EUSER", |row| row.user.clone())),
    ("pid", ("PID", |row| row.pid.to_string())),
    ("ppid", ("PPID", |row| row.parent.to_string())),
    ("c", ("C", |_| "0".into())),
    ("%cpu", ("%CPU", |_| "0.0".into())),
    ("%mem", ("%MEM", |_| "0.0".into())),
    ("vsz", ("VSZ", |row| row.virtual_kib.to_string())),
    ("rss", ("RSS", |row| row.resident_kib.to_string())),
    ("tty", ("TTY", |row| row.terminal.clone())),
    ("stat", ("STAT", |row| row.state.clone())),
    ("s", ("S", |row| row.state.clone())),
    ("stime", ("STIME", |row| started(row))),
    ("start", ("START", |row| started(row))),
    ("time", ("TIME", |row| clock_text(row.cpu_s))),
    ("comm", ("COMMAND", |row| row.name.clone())),
    ("args", ("COMMAND", |row| row.command.clone())),
    ("cmd", ("CMD", |row| row.command.clone())),
];

fn started(row: &ProcessRow) -> String {
    Clock::local(0)
        .rfc3339(row.started_s)
        .get(11..16)
        .unwrap_or("")
        .to_string()
}

/// The columns that ps options ask for; processes are read by us, so that the options of ps(1) that
/// choose columns are understood and others refused.
fn columns(options: &[String]) -> Result<Vec<Column>, String> {
    let pick = |names: &[&str]| -> Result<Vec<Column>, String> {
        names
            .iter()
            .map(|name| {
                let found = COLUMNS.iter().find(|(known, _)| known == name).map(|(_, column)| *column);
                found.ok_or_else(|| format!("top: column {name:?} is not known; known are uid, pid, ppid, tty, stat, stime, time, rss, vsz, comm, args"))
            })
            .collect()
    };
    let words: Vec<&str> = options.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["-ef" | "-e" | "-f" | "ef" | "-eF"] => {
            pick(&["uid", "pid", "ppid", "c", "stime", "tty", "time", "cmd"])
        }
        ["aux" | "-aux" | "axu" | "u"] => pick(&[
            "user", "pid", "%cpu", "%mem", "vsz", "rss", "tty", "stat", "start", "time", "args",
        ]),
        ["-o" | "o" | "-eo" | "-Ao", list] => pick(&list.split(',').collect::<Vec<_>>()),
        ["-e" | "-A" | "ax", "-o" | "o", list] => pick(&list.split(',').collect::<Vec<_>>()),
        [one] if one.starts_with("-o") => pick(&one[2..].split(',').collect::<Vec<_>>()),
        _ => Err(format!(
            "top: the ps options {:?} are not known; use -ef, aux or -o COLUMNS",
            words.join(" ")
        )),
    }
}

pub(crate) fn port(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let args = &invocation.matches.args;
    let key = args.first().map_or("", String::as_str);
    match engine.container(key) {
        Ok(stored) => match ports::port_lines(
            key,
            &published(engine, &stored),
            args.get(1).map(String::as_str),
        ) {
            Ok(text) => {
                print(&text);
                ExitCode::SUCCESS
            }
            Err(text) => {
                errors::complain(&text);
                ExitCode::from(1)
            }
        },
        Err(error) => fail(invocation, &error),
    }
}

pub(crate) fn diff(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let key = invocation.matches.args.first().map_or("", String::as_str);
    let changes = match engine.diff(key) {
        Ok(changes) => changes,
        Err(error) => return fail(invocation, &error),
    };
    let flags = ListFlags {
        escape_control: to_terminal(),
        ..ListFlags::default()
    };
    match objects::diff(&changes, flags) {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => refuse_text(invocation, &error.to_string()),
    }
}

pub(crate) fn image_diff(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let [old, new] = invocation.matches.args.as_slice() else {
        return ExitCode::from(1);
    };
    let changes = match engine::image::compare::compare(&engine.images(), old, new) {
        Ok(changes) => changes,
        Err(error) => return fail(invocation, &error.into()),
    };
    let changes: Vec<(char, String)> = changes
        .iter()
        .map(|change| (change.kind.letter(), change.path.to_string_lossy().into()))
        .collect();
    let flags = ListFlags {
        escape_control: to_terminal(),
        ..ListFlags::default()
    };
    match objects::diff(&changes, flags) {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => refuse_text(invocation, &error.to_string()),
    }
}

pub(crate) fn stats(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let config = ClientConfig::load();
    let flags = ListFlags {
        format: client_config::format(matches.get_str("format"), &config.stats_format),
        quiet: false,
        no_trunc: matches.get_bool("no-trunc"),
        escape_control: to_terminal(),
    };
    let mut before = match gather(engine, invocation) {
        Ok(all) => all,
        Err(error) => return fail(invocation, &error),
    };
    let once = matches.get_bool("no-stream");
    let mut pause = STATS_FIRST_PAUSE;
    loop {
        std::thread::sleep(pause);
        pause = STATS_PAUSE;
        let now = match gather(engine, invocation) {
            Ok(all) => all,
            Err(error) => return fail(invocation, &error),
        };
        let rows: Vec<StatsRow> = now.iter().map(|one| stats_row(one, &before)).collect();
        let is_read = match stats::list(&rows, flags) {
            Ok(text) if once || !flags.escape_control => is_printed(&text),
            // Home, and clear what the last picture left.
            Ok(text) => is_printed(&format!("\u{1b}[H\u{1b}[J{text}")),
            Err(error) => return super::print_list(Err(error)),
        };
        if once || !is_read {
            return ExitCode::SUCCESS;
        }
        before = now;
    }
}

/// A container at one moment.
struct Sample {
    /// As Docker calls it in `.Container`: as the user did, else the short id.
    key: String,
    stored: StoredContainer,
    /// None where it does not run, or just ended.
    usage: Option<Usage>,
}

fn gather(engine: &Engine, invocation: &Invocation) -> Result<Vec<Sample>, engine::EngineError> {
    let matches = &invocation.matches;
    let mut all = Vec::new();
    if matches.args.is_empty() {
        all = engine.containers()?;
        all.retain(|stored| matches.get_bool("all") || stored.state.status.is_live());
    } else {
        for key in &matches.args {
            all.push(engine.container(key)?);
        }
    }
    let mut keys = matches.args.iter();
    let sample = |stored: StoredContainer| Sample {
        key: keys
            .next()
            .map_or_else(|| short_id(&stored.record.id).to_owned(), String::clone),
        usage: match stored.state.pid {
            0 => None,
            _ => engine.usage(&stored).ok(),
        },
        stored,
    };
    Ok(all.into_iter().map(sample).collect())
}

fn stats_row(sample: &Sample, before: &[Sample]) -> StatsRow {
    let Sample { key, stored, usage } = sample;
    let earlier = before
        .iter()
        .find(|other| other.stored.record.id == stored.record.id)
        .and_then(|other| other.usage.as_ref());
    let used = usage.as_ref().map(|usage| {
        let cpu_percent = earlier.map_or(0.0, |earlier| {
            let cpu = usage
                .cgroup
                .cpu_total_ns
                .saturating_sub(earlier.cgroup.cpu_total_ns) as f64;
            let time = (usage.time_ns - earlier.time_ns).max(1) as f64;
            100.0 * cpu / time
        });
        Figures {
            cpu_percent,
            memory_bytes: usage.cgroup.memory_usage_bytes as f64,
            memory_limit_bytes: usage
                .cgroup
                .memory_limit_bytes
                .unwrap_or_else(engine::host_memory_bytes) as f64,
            network_bytes: (usage.network.0 as f64, usage.network.1 as f64),
            block_bytes: (
                usage.cgroup.blkio_read_bytes as f64,
                usage.cgroup.blkio_write_bytes as f64,
            ),
            pids: usage.cgroup.pids_current,
        }
    });
    // What does not run uses nothing, and that is known.
    let figures = used.or_else(|| (stored.state.pid == 0).then(Figures::default));
    StatsRow {
        container: key.clone(),
        name: stored.record.name.clone(),
        id: stored.record.id.clone(),
        figures,
    }
}

pub(crate) fn events(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let printer = match EventPrinter::new(matches.get_str("format"), to_terminal()) {
        Ok(printer) => printer,
        Err(text) => {
            errors::complain(&text);
            return ExitCode::from(64);
        }
    };
    let filters = match Filters::parse(matches.get_list("filter"))
        .and_then(|filters| filters.check_keys(&EVENT_KEYS).map(|()| filters))
    {
        Ok(filters) => filters,
        Err(error) => return fail_text(invocation, &error.to_string()),
    };
    let now = Timestamp::now();
    let time = |flag: &str| match matches.get_str(flag) {
        "" => Ok(None),
        text => Timestamp::parse_relative(text, now, engine::zone::offset_s())
            .map(|time| Some(time.unix_ns() as i64)),
    };
    let (since, until) = match (time("since"), time("until")) {
        (Ok(since), Ok(until)) => (since, until),
        (Err(error), _) | (_, Err(error)) => {
            errors::refuse(invocation.program, &error.to_string());
            return ExitCode::from(1);
        }
    };
    let since = since.unwrap_or(now.unix_ns() as i64);
    let clock = Clock::local(now.unix_ns() as i64);
    // `--until` in the past reads what is there; else the journal is followed.
    let follow = match until {
        Some(until) if until <= now.unix_ns() as i64 => None,
        Some(until) => Some(until),
        None => Some(i64::MAX),
    };
    engine.events(follow, &mut |event| {
        if until.is_some_and(|until| event.time_ns > until) {
            return std::ops::ControlFlow::Break(());
        }
        if event.time_ns >= since && is_wanted(event, &filters) {
            match printer.line(event, &clock) {
                Ok(line) if !is_printed(&line) => return std::ops::ControlFlow::Break(()),
                Ok(_) => {}
                Err(error) => errors::complain(&error.to_string()),
            }
        }
        std::ops::ControlFlow::Continue(())
    });
    ExitCode::SUCCESS
}

const EVENT_KEYS: [&str; 14] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

fn is_wanted(event: &types::event::Event, filters: &Filters) -> bool {
    let name = event.attributes.get("name").map_or("", String::as_str);
    let is_object = |kind: &str| {
        filters.any(kind, |wanted| {
            event.kind == kind
                && (wanted == name || (!wanted.is_empty() && event.id.starts_with(wanted)))
        })
    };
    let image_of = |wanted: &str| {
        let image = event.attributes.get("image").map_or("", String::as_str);
        wanted == image || wanted == event.id || image.split(':').next() == Some(wanted)
    };
    filters.any("type", |kind| kind == event.kind)
        // `exec_start` means every `exec_start: …`.
        && filters.any("event", |action| {
            event.action == action || event.action.split(':').next() == Some(action)
        })
        && filters.matches_labels("label", &event.attributes)
        && is_object("container")
        && is_object("volume")
        && is_object("network")
        && filters.any("image", image_of)
        && filters.any("scope", |scope| scope == "local")
        && filters.any("daemon", |_| event.kind == "daemon")
}
