//! The house's tools: `cargo xtask <command>`.
//!
//! One program without heavy dependencies instead of make and shell. `.ci/run` calls
//! `cargo xtask test`, which asks everything that a reviewer would.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for developers: talking is its job"
)]

mod bench;
mod compat;
mod compat_compose;
mod compat_dockerfile;
mod dist;
mod docs;
mod fuzz;
mod house;
mod layout;
mod packages;
mod steps;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask COMMAND

  test                 Everything CI asks: packages, format, clippy, tidy, unit and real-kernel tests
  ready                What review will ask, without the kernel: format, clippy, tidy, unit tests
  tidy                 The house's own rules; --shrink tightens the ratchet, --accept admits crossers
  it [FILTER...]       Real-kernel tests whose names contain a filter
  crash [--kills N]    The crash tests with N kills (1000)
  bench [quick|full]   Us and the peers in one run; writes docs/benchmarks.md
  bench containers     Containers alone, without the thousand; prints
  bench network        Networks alone; prints
  bench sharing        Pushes, pulls and registries alone; prints
  bench build          Builds alone; prints
  bench compose        Compose alone; prints
  dist [--check]       What is handed out, into target/dist; --check makes it twice and compares
  docs [--check]       Generated pages; --check refuses stale ones
  layout               What lies in front in the binary, recorded anew (root, up to twenty minutes)
  fuzz --seconds N [TARGET…]   Every fuzz target, or these, for N seconds each (needs the nightly compiler)
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["test"] => test::everything(),
        ["ready"] => test::ready(),
        ["tidy", rest @ ..] => tidy::command(rest),
        ["it", filters @ ..] => test::real_kernel(filters),
        ["crash"] => test::crash(test::NIGHTLY_KILLS),
        ["crash", "--kills", count] => match count.parse() {
            Ok(count) => test::crash(count),
            Err(_) => return usage(),
        },
        ["bench"] | ["bench", "quick"] => bench::command(bench::Extent::Quick),
        ["bench", "full"] => bench::command(bench::Extent::Full),
        ["bench", "containers"] => bench::command(bench::Extent::Containers),
        ["bench", "network"] => bench::command(bench::Extent::Network),
        ["bench", "sharing"] => bench::command(bench::Extent::Sharing),
        ["bench", "build"] => bench::command(bench::Extent::Build),
        ["bench", "compose"] => bench::command(bench::Extent::Compose),
        ["dist"] => dist::command(dist::Mode::Make),
        ["dist", "--check"] => dist::command(dist::Mode::Check),
        ["docs"] => docs::command(docs::Mode::Write),
        ["docs", "--check"] => docs::command(docs::Mode::Check),
        ["layout"] => layout::command(),
        ["fuzz", "--seconds", seconds, targets @ ..] => match seconds.parse() {
            Ok(seconds) => fuzz::command(seconds, targets),
            Err(_) => return usage(),
        },
        _ => return usage(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprint!("{USAGE}");
    ExitCode::from(2)
}
