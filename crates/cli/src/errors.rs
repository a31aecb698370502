//! Errors for people: one line on standard error, a hint where there is one.

use std::error::Error;
use std::io::Write;

use engine::{EngineError, FailureKind, Lack};

use crate::cause::without_number;
use crate::flags::parse::Program;
use crate::output::template::escape_control;

/// Writes lines to standard error; a closed or full one is no reason to fail. Names in them come from
/// anywhere and shall not steer the terminal.
pub(crate) fn complain(text: &str) {
    // In one write: lines of commands that run at once must not mix.
    let line = format!("{}\n", escape_control(text));
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Says what failed. Called as `docker`, in Docker's words, which scripts look for.
pub(crate) fn report(program: Program, error: &EngineError) {
    complain(&line(program, error));
    hint_at_cause(program, &chain(error));
}

/// Says who may do what the kernel refused, where it is this user who may not, and what makes room on a
/// full disk.
pub(crate) fn hint_at_cause(program: Program, text: &str) {
    if ["No space left on device", "Disk quota exceeded"]
        .iter()
        .any(|words| text.contains(words))
    {
        let program = program.name();
        complain(&format!(
            "hint: `{program} system df` tells what the store uses, `{program} system prune` frees what nothing \
             uses"
        ));
    }
    let refused = ["Permission denied", "Operation not permitted"];
    if refused.iter().any(|words| text.contains(words))
        && let Some(lack) = engine::lack()
    {
        complain(&format!("hint: {}", right_needed(lack, program.name())));
    }
}

fn right_needed(lack: Lack, program: &str) -> String {
    match lack {
        Lack::Root => format!("only root may do this: sudo {program} …"),
        Lack::HostRoot => {
            "only the machine's own root may do this, and this is a user namespace".to_owned()
        }
        Lack::Capability => {
            "root has no CAP_SYS_ADMIN here, which containers need; within a container of another \
             engine: --privileged"
                .to_owned()
        }
    }
}

/// What the command line itself finds wrong: no word of Docker's daemon.
pub(crate) fn refuse(program: Program, text: &str) {
    match program {
        Program::Docker => complain(text),
        Program::Caisson => complain(&format!("caisson: {text}")),
    }
}

/// [`report`] for `run`, whose errors Docker begins with its own name.
pub(crate) fn report_run(program: Program, error: &EngineError) {
    // What Docker's layers add to a command that cannot be started; scripts know the whole line.
    const NOT_STARTED: &str = "failed to create task for container: failed to create shim task: OCI \
        runtime create failed: runc create failed: unable to start container process: error during \
        container init: ";
    match program {
        Program::Docker if is_about_command(error) => complain(&format!(
            "docker: Error response from daemon: {NOT_STARTED}{}: unknown\n\nRun 'docker run --help' for more \
             information",
            chain(error)
        )),
        Program::Docker => complain(&format!(
            "docker: {}\n\nRun 'docker run --help' for more information",
            line(program, error)
        )),
        Program::Caisson => complain(&line(program, error)),
    }
    hint_at_cause(program, &chain(error));
}

/// The code of a `run` that did not come to its command. As in Docker's client, what the
/// text says of files counts, even where it is not the command's. A start tells it in the kernel's words, which
/// differ from Docker's by a capital letter; what the store says in them is no word of a container.
pub(crate) fn run_code(error: &EngineError) -> u8 {
    match error {
        EngineError::Start(failure) if failure.kind != FailureKind::Setup => {
            u8::try_from(error.start_code()).unwrap_or(125)
        }
        EngineError::Start(failure) => run_code_of_text(&failure.text.to_lowercase()),
        _ => run_code_of_text(&chain(error)),
    }
}

fn run_code_of_text(text: &str) -> u8 {
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&[
        "executable file not found",
        "no such file or directory",
        "system cannot find the file specified",
    ]) {
        127
    } else if says(&["permission denied", "is a directory"]) {
        126
    } else {
        125
    }
}

/// What `run` itself finds wrong, in Docker's form and with its code.
pub(crate) fn refuse_run(program: Program, text: &str) -> u8 {
    let name = program.name();
    complain(&format!(
        "{name}: {text}\n\nRun '{name} run --help' for more information"
    ));
    run_code_of_text(text)
}

/// [`report`] for `exec`.
pub(crate) fn report_exec(program: Program, error: &EngineError) {
    if program == Program::Docker && is_about_command(error) {
        return complain(&format!(
            "OCI runtime exec failed: exec failed: unable to start container process: {}: unknown",
            chain(error)
        ));
    }
    report(program, error);
}

/// Whether it is the user's command that cannot be executed, and not we who failed.
fn is_about_command(error: &EngineError) -> bool {
    matches!(error, EngineError::Start(failure) if failure.kind != FailureKind::Setup)
}

/// The line for an error.
pub(crate) fn line(program: Program, error: &EngineError) -> String {
    let prefix = match program {
        Program::Docker => "Error response from daemon: ",
        Program::Caisson => "caisson: ",
    };
    format!("{prefix}{}", chain(error))
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = without_number(&error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = without_number(&error.to_string());
        // The library that speaks HTTP says so of the system's errors.
        let more = more.strip_prefix("io: ").unwrap_or(&more);
        // Causes that the outer text already tells are not told twice.
        if !text.contains(more) {
            text.push_str(": ");
            text.push_str(more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_standard_library_has_no_number() {
        let error = std::io::Error::from_raw_os_error(13);
        assert_eq!(chain(&error), "Permission denied");
    }

    #[test]
    fn who_may_not_is_told_who_may() {
        let hint = right_needed(Lack::Root, "docker");
        assert_eq!(hint, "only root may do this: sudo docker …");
    }

    #[test]
    fn the_code_of_run_follows_the_text_as_in_dockers_client() {
        for (text, code) in [
            (
                "error gathering device information: no such file or directory",
                127,
            ),
            ("exec: \"x\": executable file not found in $PATH", 127),
            ("open /x: permission denied", 126),
            ("open /x: is a directory", 126),
            ("bind source path does not exist: /x", 125),
        ] {
            assert_eq!(run_code_of_text(text), code, "{text}");
        }
        let failure = |kind| {
            EngineError::Start(engine::Failure {
                kind,
                text: "permission denied".into(),
            })
        };
        for (text, code) in [
            (
                "cannot set sysctl net.nosuch=1: No such file or directory",
                127,
            ),
            (
                "cannot set sysctl kernel.domainname=x: Permission denied",
                126,
            ),
            ("cannot mount on /etc/passwd: Not a directory", 125),
        ] {
            let error = EngineError::Start(engine::Failure::setup(text));
            assert_eq!(run_code(&error), code, "{text}");
        }
        assert_eq!(run_code(&failure(FailureKind::NotFound)), 127);
        assert_eq!(run_code(&failure(FailureKind::NotExecutable)), 126);
    }
}
