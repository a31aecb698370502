//! The tables as lines for other tools: `caisson internal docs --tables`, from which the page of
//! Docker's commands is made.
//!
//! ```text
//! C  name  spellings  stops|goes    a command; whether its first argument ends the flags
//! F  long  short  switch|value  verdict  reason
//! M  name  verdict  reason          a command of Docker's that is not there
//! ```
//! Columns are separated by tabs, spellings by commas.

use std::fmt::Write as _;

use super::refused::{MISSING, Missing};
use super::table_compose::COMPOSE_FLAGS;
use super::{Flag, GLOBAL_FLAGS, Kind, Status, commands};

/// All tables.
pub(super) fn tables() -> String {
    let mut out = String::from("C\t\t\tgoes\n");
    flags(&mut out, GLOBAL_FLAGS);
    out.push_str("C\tcompose\t\tstops\n");
    flags(&mut out, COMPOSE_FLAGS);
    for command in commands().filter(|command| !command.hidden) {
        let stops = if command.stop_at_positional {
            "stops"
        } else {
            "goes"
        };
        let spellings = command.aliases.join(",");
        let _ = writeln!(out, "C\t{}\t{spellings}\t{stops}", command.name());
        flags(&mut out, command.flags);
    }
    for (name, missing) in MISSING {
        let (verdict, reason) = match missing {
            Missing::Later(with) => ("not yet", format!("comes with {with}")),
            Missing::Swarm => ("refused", "Caisson has no Swarm".to_owned()),
            Missing::Never(reason) => ("refused", (*reason).to_owned()),
        };
        let _ = writeln!(out, "M\t{name}\t{verdict}\t{reason}");
    }
    out
}

fn flags(out: &mut String, table: &[Flag]) {
    for flag in table {
        let (verdict, reason) = match flag.status {
            Status::Works => ("done", ""),
            Status::Partly(note) => ("in part", note),
            Status::Accepted(reason) => ("no effect", reason),
            Status::Refused(reason) => ("refused", reason),
        };
        let short = flag.short.map(String::from).unwrap_or_default();
        let kind = match flag.kind {
            Kind::Bool => "switch",
            _ => "value",
        };
        for long in std::iter::once(&flag.long).chain(flag.aliases) {
            let reason = reason.replace(['\t', '\n'], " ");
            let _ = writeln!(out, "F\t{long}\t{short}\t{kind}\t{verdict}\t{reason}");
        }
    }
}
