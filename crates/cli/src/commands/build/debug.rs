//! `--debug-on-failure`: a shell in the files of a program that failed, as it left them.
//!
//! The engine made an image of them, with the program's variables, user and directory; what is run is
//! a container of it that goes with its shell. Secrets, caches and other mounts of the step are not
//! there: they were never files of it.

use std::ffi::OsString;

use engine::Engine;
use engine::image::remove::{RemoveOptions, remove};
use types::digest::Digest;

use crate::errors;
use crate::flags::{self, Invocation, Outcome};
use crate::terminal;

/// Refuses where there is nobody to type.
pub(super) fn check(invocation: &Invocation) -> Result<(), String> {
    let is_terminal = terminal::is_terminal(rustix::stdio::stdin())
        && terminal::is_terminal(rustix::stdio::stdout());
    match invocation.matches.get_bool("debug-on-failure") && !is_terminal {
        true => Err(
            "--debug-on-failure opens a shell, and there is no terminal to type into: standard \
             input and output must be one"
                .into(),
        ),
        false => Ok(()),
    }
}

/// Runs the shell, and takes the image away afterwards.
pub(super) fn shell(engine: &Engine, invocation: &Invocation, image: &Digest) {
    let id = image.to_string();
    errors::complain("a shell in the files of the failed step; what is done here is thrown away");
    let network = match invocation.matches.get_str("network") {
        given @ ("host" | "none") => given,
        _ => "default",
    };
    let words = [
        invocation.program.name(),
        "run",
        "--rm",
        "-it",
        "--network",
        network,
        "--entrypoint",
        "/bin/sh",
        &id,
    ];
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    match flags::parse(&words) {
        Outcome::Run(run) => {
            let _ = super::super::run::run(engine, &run);
        }
        Outcome::Fail(failure) => errors::complain(&failure.text),
        Outcome::Print(_) => {}
    }
    let users = || engine.image_users();
    let options = RemoveOptions { force: true };
    if let Err(error) = remove(&engine.images(), &id, options, &users) {
        errors::complain(&format!("cannot remove the image {id}: {error}"));
    }
}
