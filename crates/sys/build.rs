//! Builds the tiny static programs of `programs/` that are embedded in the binary.
//!
//! By calling the compiler directly: they have neither the standard library nor a C library, and a
//! crate of their own would need another target or another set of flags.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const PROGRAMS: [&str; 2] = ["init", "hello"];

fn main() -> ExitCode {
    let output = PathBuf::from(variable("OUT_DIR"));
    let sources = Path::new(&variable("CARGO_MANIFEST_DIR")).join("programs");
    println!("cargo::rerun-if-changed=programs");
    println!("cargo::rerun-if-changed=build.rs");
    for name in PROGRAMS {
        if let Err(error) = build(name, &sources, &output) {
            println!("cargo::error=cannot build embedded program {name}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn build(name: &str, sources: &Path, output: &Path) -> Result<(), String> {
    let mut command = Command::new(variable("RUSTC"));
    // The source directory is the working directory, so that no path of this machine gets in.
    command.current_dir(sources);
    command
        .arg(format!("{name}.rs"))
        .arg("-o")
        .arg(output.join(name));
    command.arg("--target").arg(variable("TARGET"));
    command.args([
        "--edition",
        "2024",
        "--crate-type",
        "bin",
        "--crate-name",
        name,
    ]);
    command.args(["-D", "warnings"]);
    for option in [
        "panic=abort",
        "opt-level=s",
        "codegen-units=1",
        "debuginfo=0",
        "strip=symbols",
        "overflow-checks=off",
        "debug-assertions=off",
        "relocation-model=static",
        "target-feature=+crt-static",
        "force-unwind-tables=no",
        "link-arg=-nostdlib",
        "link-arg=-nostartfiles",
        "link-arg=-static",
        "link-arg=-Wl,--build-id=none,-z,norelro,-z,noseparate-code,-z,noexecstack",
        "link-arg=-Wl,--gc-sections,--no-eh-frame-hdr",
    ] {
        command.arg("-C").arg(option);
    }
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = OsString::from("linker=");
        option.push(linker);
        command.arg("-C").arg(option);
    }
    // The flags of the workspace are for the workspace's own programs.
    command
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    let result = command
        .output()
        .map_err(|error| format!("cannot start rustc: {error}"))?;
    if result.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&result.stderr).replace('\n', " "))
}

fn variable(name: &str) -> OsString {
    env::var_os(name).unwrap_or_else(|| panic!("invariant: cargo sets {name} for build scripts"))
}
