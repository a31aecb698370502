//! `doctor` and `system boot`.

use std::fmt::Write as _;
use std::process::ExitCode;

use engine::Engine;
use engine::doctor::{Finding, Leave, Severity};
use serde_json::json;

use super::{fail_text, print, print_line};
use crate::errors;
use crate::flags::Invocation;

pub(crate) fn doctor(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let leave = match invocation.matches.get_bool("fix") {
        true => Leave::Mend,
        false => Leave::Look,
    };
    let format = invocation.matches.get_str("format");
    if !matches!(format, "" | "json") {
        return fail_text(invocation, "doctor prints text, or json with --format json");
    }
    let findings = engine.doctor(leave);
    match format {
        "json" => findings.iter().for_each(|one| print_line(&document(one))),
        _ => print(&text(&findings)),
    }
    let is_wrong = |one: &Finding| one.severity > Severity::Note && one.mended != Some(true);
    ExitCode::from(u8::from(findings.iter().any(is_wrong)))
}

fn document(finding: &Finding) -> String {
    json!({
        "Severity": finding.severity.to_string(),
        "Area": finding.area.to_string(),
        "Text": finding.text,
        "Commands": finding.commands,
        "Mendable": finding.is_mendable(),
        "Mended": finding.mended,
    })
    .to_string()
}

fn text(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "Nothing is missing, nothing was left over, and nothing is open to the world.\n"
            .into();
    }
    let mut out = String::new();
    for finding in findings {
        let mended = match finding.mended {
            Some(true) => " (mended)",
            Some(false) => " (could not be mended)",
            None => "",
        };
        // Names in it come from anywhere.
        let line = crate::output::template::escape_control(&finding.text).into_owned();
        let _ = writeln!(
            out,
            "{} [{}] {line}{mended}",
            finding.severity, finding.area
        );
        if finding.mended != Some(true) {
            for command in &finding.commands {
                let _ = writeln!(out, "    {command}");
            }
        }
    }
    out
}

pub(crate) fn boot(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let booted = match engine.boot() {
        Ok(booted) => booted,
        Err(error) => {
            errors::report(invocation.program, &error);
            return ExitCode::from(1);
        }
    };
    let mut is_failed = false;
    for (name, result) in booted {
        match result {
            Ok(()) => print_line(&name),
            Err(error) => {
                let text = errors::chain(&error);
                errors::complain(&format!("caisson: cannot start {name}: {text}"));
                is_failed = true;
            }
        }
    }
    ExitCode::from(u8::from(is_failed))
}
