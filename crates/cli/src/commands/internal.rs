//! `caisson internal …`: our own processes, and the generators of documents.

use std::ffi::OsString;
use std::process::ExitCode;

use engine::Engine;

use super::print;
use crate::errors;
use crate::flags::{Invocation, generate};

/// Becomes a monitor if that is what the arguments ask for. Returns the arguments with which this
/// process goes on; when the container has ended, as the command that removes it.
pub(crate) fn monitor(argv: Vec<OsString>) -> Option<Vec<OsString>> {
    if let [_, internal, step, cgroup] = argv.as_slice()
        && internal == "internal"
        && step == monitor::step::STEP
    {
        monitor::step::run(&cgroup.to_string_lossy());
        return None;
    }
    let [_, internal, monitor, _id, cgroup] = argv.as_slice() else {
        return Some(argv);
    };
    if internal != "internal" || monitor != "monitor" {
        return Some(argv);
    }
    let next = monitor::run(&cgroup.to_string_lossy())?;
    Some(next.into_iter().map(OsString::from).collect())
}

pub(crate) fn internal(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let words: Vec<&str> = invocation.matches.args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["reap", id] => match engine.reap(id) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                errors::report(invocation.program, &error);
                ExitCode::from(1)
            }
        },
        ["docs", "--man", directory] => man_pages(directory),
        ["docs", rest @ ..] => match generate::Form::parse(rest) {
            Some(form) => {
                for page in generate::pages(form) {
                    print(&page.text);
                }
                ExitCode::SUCCESS
            }
            None => ExitCode::from(1),
        },
        #[cfg(feature = "failpoints")]
        ["fail-points"] => {
            print(&engine::fail_points());
            ExitCode::SUCCESS
        }
        _ => ExitCode::from(1),
    }
}

/// Writes the manual pages into a directory.
fn man_pages(directory: &str) -> ExitCode {
    for page in generate::pages(generate::Form::Man) {
        let path = std::path::Path::new(directory).join(&page.file);
        if let Err(error) = std::fs::write(&path, &page.text) {
            errors::complain(&format!(
                "caisson: cannot write {}: {error}",
                path.display()
            ));
            return ExitCode::from(1);
        }
    }
    ExitCode::SUCCESS
}
