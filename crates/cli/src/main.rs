//! The front door: words in, words out. Parses, calls one verb of the engine, prints, exits.

mod cause;
mod client_config;
mod commands;
#[cfg(test)]
#[path = "../../../testkit/src/corpus.rs"]
mod corpus;
mod errors;
mod flags;
#[allow(
    dead_code,
    reason = "shapes of later issues' objects stand beside today's"
)]
mod output;
mod run_flags;
mod streams;
mod terminal;

use std::process::ExitCode;

use flags::Outcome;

fn main() -> ExitCode {
    // Our own processes first: a monitor parses no flags.
    let Some(argv) = commands::internal::monitor(std::env::args_os().collect()) else {
        return ExitCode::SUCCESS;
    };
    engine::outlive_file_size_limit();
    let code = match flags::parse(&argv) {
        Outcome::Run(invocation) => commands::dispatch(&invocation),
        Outcome::Print(text) => {
            commands::print(&text);
            ExitCode::SUCCESS
        }
        Outcome::Fail(failure) => {
            errors::complain(&failure.text);
            ExitCode::from(failure.exit_code)
        }
    };
    streams::code_with_losses(code)
}
