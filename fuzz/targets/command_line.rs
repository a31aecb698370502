//! Command lines: the first byte chooses a command, the rest are its words, one a line. Refusals
//! have Docker's codes and nothing that steers a terminal.
#![no_main]
#![allow(dead_code, unused_imports)]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/cli/src/cause.rs"]
mod cause;
#[path = "../../crates/cli/src/flags/mod.rs"]
mod flags;
#[path = "../../crates/cli/src/run_flags/mod.rs"]
mod run_flags;

use flags::{Invocation, Outcome, Verb};
use run_flags::{Caller, FlagError};

const WORDS_MAX: usize = 64;

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    let commands: Vec<_> = flags::commands().collect();
    let mut argv = vec![OsString::from(if choice & 128 == 0 {
        "docker"
    } else {
        "caisson"
    })];
    if let Some(command) = commands.get(usize::from(choice & 127)) {
        argv.extend(command.path.iter().map(OsString::from));
    }
    let words = rest.split(|byte| *byte == b'\n').take(WORDS_MAX);
    argv.extend(words.map(|word| OsString::from_vec(word.to_vec())));
    match flags::parse(&argv) {
        Outcome::Run(invocation) => carry_out(&invocation),
        Outcome::Print(text) => assert!(!text.is_empty()),
        Outcome::Fail(failure) => check(&failure),
    }
});

fn carry_out(invocation: &Invocation) {
    let variable = |name: &str| (name.len() == 4).then(|| "value".to_owned());
    let caller = Caller {
        working_directory: "/work",
        variable: &variable,
        stdin_is_terminal: false,
        console_size: [24, 80],
        cpus: 2,
    };
    let matches = &invocation.matches;
    let (name, refused): (&str, Option<FlagError>) = match invocation.command.verb {
        Verb::Run => ("run", run_flags::container_request(matches, &caller).err()),
        Verb::Create => (
            "create",
            run_flags::container_request(matches, &caller).err(),
        ),
        Verb::Exec => ("exec", run_flags::exec_request(matches, &caller).err()),
        Verb::Update => ("update", run_flags::update_request(matches, &caller).err()),
        _ => return,
    };
    if let Some(error) = refused {
        check(&error.failure(invocation.program, name));
    }
}

fn check(failure: &flags::Failure) {
    assert!([1, 125].contains(&failure.exit_code), "{failure:?}");
    let steers = |c: char| c.is_control() && !matches!(c, '\t' | '\n');
    assert!(
        !failure.text.is_empty() && !failure.text.contains(steers),
        "{failure:?}"
    );
}
