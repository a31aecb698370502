//! `undo`: brings back what was removed lately.

use std::process::ExitCode;

use engine::Engine;
use engine::storage_trash::TrashKind;
use engine::undo::Kept;
use types::units::{human_duration, human_size};

use super::print_line;
use crate::errors;
use crate::flags::Invocation;
use crate::output::table::{Layout, Row, Titles, render};
use crate::output::template::Value;

const TABLE: &str =
    "table {{.Kind}}\\t{{.Name}}\\t{{.ID}}\\t{{.Image}}\\t{{.Removed}}\\t{{.Size}}\\t{{.Left}}";
const TITLES: &Titles = &[
    ("Kind", "KIND"),
    ("Name", "NAME"),
    ("ID", "ID"),
    ("Image", "IMAGE"),
    ("Removed", "REMOVED"),
    ("Size", "SIZE"),
    ("Left", "KEPT FOR"),
    ("Command", "COMMAND"),
];

pub(crate) fn undo(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    if matches.get_bool("list") {
        return list(engine, invocation);
    }
    let undone = match engine.undo(&matches.args) {
        Ok(undone) => undone,
        Err(error) => {
            errors::report(invocation.program, &error);
            return ExitCode::from(1);
        }
    };
    let mut is_failed = false;
    for (name, kind, result) in undone {
        match result {
            Ok(()) => print_line(&name),
            Err(error) => {
                let text = errors::chain(&error);
                let what = word(kind);
                errors::complain(&format!("caisson: cannot bring back {what} {name}: {text}"));
                is_failed = true;
            }
        }
    }
    ExitCode::from(u8::from(is_failed))
}

fn word(kind: TrashKind) -> &'static str {
    match kind {
        TrashKind::Container => "container",
        TrashKind::Network => "network",
        TrashKind::Volume => "volume",
    }
}

fn list(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let format = match invocation.matches.get_str("format") {
        "" | "table" => TABLE,
        custom => custom,
    };
    let layout = Layout {
        format,
        titles: TITLES,
        escape_control: crate::terminal::is_terminal(rustix::stdio::stdout()),
    };
    super::print_list(render(layout, engine.kept().iter().map(row)))
}

fn row(kept: &Kept) -> Row {
    const MEMBERS: &[&str] = &[
        "Command", "ID", "Image", "Kind", "Left", "Name", "Removed", "Size",
    ];
    let ns = |time: std::time::Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    let values = [
        kept.command().to_owned(),
        kept.id.chars().take(12).collect(),
        kept.image.clone(),
        word(kept.kind()).to_owned(),
        human_duration(ns(kept.left)),
        kept.name.clone(),
        format!("{} ago", human_duration(ns(kept.age))),
        human_size(kept.bytes as f64),
    ];
    Row::new("*undo.Kept", MEMBERS, values.map(Value::string).to_vec())
}
