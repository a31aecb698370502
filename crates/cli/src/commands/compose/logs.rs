//! `compose logs` and `events`: the output of several containers, each line with its container.

use std::io::Write;
use std::process::ExitCode;

use engine::Engine;
use engine::compose::container::labels;
use engine::compose::{Project, label};
use engine::container::logs::{LogRequest, Next};
use serde_json::json;
use types::timestamp::Timestamp;

use super::{Done, Failure, OneOff, containers, project_or_name};
use crate::commands::is_printed;
use crate::flags::Invocation;
use crate::output::template::escape_control;

/// Prints lines with the name of the container that they come from.
pub(super) struct Printer {
    prefixes: Vec<String>,
    /// The own part of each name is what comes after this.
    project: String,
    width: usize,
    has_prefix: bool,
    timestamps: bool,
    /// What was written to standard error goes to ours.
    errors_apart: bool,
}

impl Printer {
    /// Of containers with these names, of which none is shown yet.
    pub(super) fn new(
        project: &Project,
        names: &[String],
        has_prefix: bool,
        timestamps: bool,
    ) -> Self {
        let mut printer = Self {
            prefixes: Vec::new(),
            project: format!("{}-", project.name),
            width: 0,
            has_prefix,
            timestamps,
            errors_apart: false,
        };
        let widths = names.iter().map(|name| printer.own(name).chars().count());
        printer.width = widths.max().unwrap_or_default();
        printer
    }

    /// What was written to standard error goes there too, as `up` has it; `logs` has one stream.
    pub(super) fn with_errors_apart(self) -> Self {
        Self {
            errors_apart: true,
            ..self
        }
    }

    /// A container's name without that of its project.
    pub(super) fn own<'a>(&self, name: &'a str) -> &'a str {
        name.strip_prefix(&self.project).unwrap_or(name)
    }

    /// One more container, whose place is the number of those before it.
    pub(super) fn add(&mut self, name: &str) {
        let (own, width) = (self.own(name), self.width);
        self.prefixes.push(match self.has_prefix {
            true => format!("{own:<width$}  | "),
            false => String::new(),
        });
    }

    /// Prints one entry of a log.
    pub(super) fn take(&self, index: usize, entry: &monitor::log::Entry) -> Next {
        let stamp = match (self.timestamps, Timestamp::parse_rfc3339(&entry.time)) {
            (true, Ok(time)) => format!("{} ", time.rfc3339_fixed()),
            _ => String::new(),
        };
        let text = entry.log.trim_end_matches('\n');
        let line = format!("{}{stamp}{text}\n", self.prefixes[index]);
        if entry.stream == "stderr" && self.errors_apart {
            let _ = std::io::stderr().write_all(line.as_bytes());
            return Next::More;
        }
        match is_printed(&line) {
            true => Next::More,
            false => Next::Stop,
        }
    }
}

impl Printer {
    /// Prints a line of what has no log.
    pub(super) fn line(&self, index: usize, text: &str) {
        let text = text.trim_end_matches(['\n', '\r']);
        is_printed(&format!("{}{text}\n", self.prefixes[index]));
    }
}

pub(super) fn logs(engine: &Engine, invocation: &Invocation) -> Done {
    let matches = &invocation.matches;
    let project = project_or_name(invocation)?;
    let mut found = containers(engine, &project, &matches.args, OneOff::Without)?;
    if matches.is_set("index") {
        let index = matches.get_int("index").to_string();
        found.retain(|stored| label(stored, labels::NUMBER) == index);
    }
    let names = found.iter().map(|stored| stored.record.name.clone());
    let names: Vec<String> = names.collect();
    let mut printer = Printer::new(
        &project,
        &names,
        !matches.get_bool("no-log-prefix"),
        matches.get_bool("timestamps"),
    );
    names.iter().for_each(|name| printer.add(name));
    let time = |flag: &str| match matches.get_str(flag) {
        "" => Ok(None),
        text => Timestamp::parse_relative(text, Timestamp::now(), 0)
            .map(Some)
            .map_err(|error| Failure::text(format!("invalid value for {flag:?}: {error}"))),
    };
    let request = LogRequest {
        tail: matches.get_str("tail").parse().ok(),
        since: time("since")?,
        until: time("until")?,
        follow: matches.get_bool("follow"),
    };
    let ids: Vec<String> = found
        .iter()
        .map(|stored| stored.record.id.clone())
        .collect();
    engine.logs_together(
        &ids,
        &request,
        None,
        &mut |index, entry| printer.take(index, entry),
        &mut || Next::More,
    )?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn events(engine: &Engine, invocation: &Invocation) -> Done {
    let matches = &invocation.matches;
    let project = project_or_name(invocation)?;
    let now = Timestamp::now();
    let time = |flag: &str| match matches.get_str(flag) {
        "" => Ok(None),
        text => Timestamp::parse_relative(text, now, 0)
            .map(|time| Some(time.unix_ns() as i64))
            .map_err(|error| Failure::text(format!("invalid value for {flag:?}: {error}"))),
    };
    let now_ns = now.unix_ns() as i64;
    let since = time("since")?.unwrap_or(now_ns);
    let until = time("until")?;
    let follow = match until {
        Some(until) if until <= now_ns => None,
        until => Some(until.unwrap_or(i64::MAX)),
    };
    engine.events(follow, &mut |event| {
        if until.is_some_and(|until| event.time_ns > until) {
            return std::ops::ControlFlow::Break(());
        }
        let get = |key: &str| event.attributes.get(key).map_or("", String::as_str);
        let service = get(labels::SERVICE);
        let is_wanted = event.kind == "container"
            && event.time_ns >= since
            && get(labels::PROJECT) == project.name
            && [labels::CONFIG_HASH, labels::HOOK]
                .iter()
                .any(|key| !get(key).is_empty())
            && (matches.args.is_empty() || matches.args.iter().any(|name| name == service));
        if !is_wanted {
            return std::ops::ControlFlow::Continue(());
        }
        let own = event
            .attributes
            .iter()
            .filter(|(key, _)| !key.starts_with("com.docker.compose."));
        let time = Timestamp::from_unix_ns(i128::from(event.time_ns));
        let line = if matches.get_bool("json") {
            let attributes: serde_json::Map<String, serde_json::Value> = own
                .map(|(key, value)| (key.clone(), json!(value)))
                .collect();
            json!({
                "action": event.action, "attributes": attributes, "id": event.id,
                "service": service, "time": time.rfc3339(), "type": "container"
            })
            .to_string()
        } else {
            let attributes: Vec<String> =
                own.map(|(key, value)| format!("{key}={value}")).collect();
            let time = time.rfc3339_fixed().replace('T', " ");
            escape_control(&format!(
                "{time} container {} {} ({})",
                event.action,
                event.id,
                attributes.join(", ")
            ))
            .into_owned()
        };
        match is_printed(&format!("{line}\n")) {
            true => std::ops::ControlFlow::Continue(()),
            false => std::ops::ControlFlow::Break(()),
        }
    });
    Ok(ExitCode::SUCCESS)
}
