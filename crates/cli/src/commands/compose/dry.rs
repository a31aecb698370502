//! `--dry-run` of commands whose plan is no plan of the project's: a line for each thing that they would do.
//!
//! Nothing is changed, pulled or made; what is asked for is looked at as the command itself does.

use std::process::ExitCode;

use engine::{Engine, StoredContainer};
use types::state::Status;

use super::{Done, Failure, down, one, run};
use crate::commands::print_line;
use crate::flags::{ComposeAction, Invocation};
use crate::output::template::escape_control;

/// Tells what a command would do. `None` where the command tells it itself, or only reads.
pub(super) fn dry(engine: &Engine, invocation: &Invocation, action: ComposeAction) -> Option<Done> {
    let live: fn(&StoredContainer) -> bool = |stored| stored.state.status.is_live();
    let each = |verb: &str, why: &str, is_meant: fn(&StoredContainer) -> bool| {
        let found = down::meant_by(engine, invocation, action)?;
        let names = found.iter().filter(|stored| is_meant(stored));
        names.for_each(|stored| tell(verb, &format!("Container {}", stored.record.name), why));
        Ok(ExitCode::SUCCESS)
    };
    let stops = invocation.matches.has("stop") && invocation.matches.get_bool("stop");
    Some(match action {
        ComposeAction::Stop => each("Stop", "asked for", live),
        ComposeAction::Restart => each("Restart", "asked for", |_| true),
        ComposeAction::Kill => each("Kill", invocation.matches.get_str("signal"), live),
        ComposeAction::Pause => each("Pause", "it runs", |stored| {
            stored.state.status == Status::Running
        }),
        ComposeAction::Unpause => each("Unpause", "it is paused", |stored| {
            stored.state.status == Status::Paused
        }),
        ComposeAction::Rm if stops => each("Remove", "asked for", |_| true),
        ComposeAction::Rm => each("Remove", "it does not run", |stored| {
            !stored.state.status.is_live()
        }),
        ComposeAction::Attach
        | ComposeAction::Commit
        | ComposeAction::Exec
        | ComposeAction::Export => of_one(engine, invocation, action),
        ComposeAction::Copy => {
            let name = |stored: &StoredContainer| stored.record.name.clone();
            one::copies(engine, invocation, name).map(|all| {
                all.iter()
                    .for_each(|ends| tell("Copy", &ends.join(" to "), "asked for"));
                ExitCode::SUCCESS
            })
        }
        ComposeAction::Pull => run::pull_dry(engine, invocation),
        ComposeAction::Push => run::push_dry(invocation),
        ComposeAction::Run => run::run_dry(engine, invocation),
        ComposeAction::Watch => Err(Failure::text(
            "--dry-run: what watch does depends on what changes; `config` shows its rules",
        )),
        _ => return None,
    })
}

/// Commands on one container of a service.
fn of_one(engine: &Engine, invocation: &Invocation, action: ComposeAction) -> Done {
    let name = one::name_of_chosen(engine, invocation)?;
    let verb = match action {
        ComposeAction::Attach => "Attach to",
        ComposeAction::Commit => "Commit",
        ComposeAction::Export => "Export",
        _ => "Execute in",
    };
    let rest = invocation.matches.args.get(1..).unwrap_or_default();
    let why = match rest.is_empty() {
        true => "asked for".to_owned(),
        false => rest.join(" "),
    };
    tell(verb, &format!("Container {name}"), &why);
    Ok(ExitCode::SUCCESS)
}

/// One line, as those of plans are.
pub(super) fn tell(verb: &str, subject: &str, why: &str) {
    print_line(&escape_control(&format!("{verb} {subject}: {why}")));
}
