//! `--call`: what is told of a Dockerfile in place of a build, in BuildKit's words, and as JSON in its form.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::build::{BuildReport, BuildRequest, Lines, Outline, OutlineMount, Target};
use serde_json::{Value, json};

use crate::output::template::escape_control;
use crate::output::text;

/// The answer to `--call=targets`.
pub(super) fn targets(request: &BuildRequest, targets: &[Target], is_json: bool) -> String {
    if is_json {
        let all: Vec<Value> = targets.iter().map(target_document).collect();
        return pretty(&json!({ "targets": all, "sources": [source(request)] }));
    }
    let mut rows = vec![["TARGET".to_owned(), "DESCRIPTION".to_owned()]];
    for target in targets {
        let name = match (&target.name, target.is_default) {
            (None, true) => "(default)".to_owned(),
            (Some(name), true) => format!("{name} (default)"),
            (name, false) => name.clone().unwrap_or_default(),
        };
        rows.push([name, target.description.clone()]);
    }
    table(&rows, 1)
}

fn target_document(target: &Target) -> Value {
    let mut document = json!({ "location": location(target.lines) });
    let texts = [
        ("name", target.name.as_deref().unwrap_or_default()),
        ("description", target.description.as_str()),
        ("base", target.base.as_str()),
        ("platform", target.platform.as_deref().unwrap_or_default()),
    ];
    fill(&mut document, &texts);
    if target.is_default {
        document["default"] = true.into();
    }
    document
}

/// The answer to `--call=outline`.
pub(super) fn outline(request: &BuildRequest, outline: &Outline, is_json: bool) -> String {
    if is_json {
        return pretty(&outline_document(request, outline));
    }
    let mut shown = String::new();
    if !outline.name.is_empty() || !outline.description.is_empty() {
        let name = match outline.name.as_str() {
            "" => "(default)",
            name => name,
        };
        let mut rows = vec![["TARGET:".to_owned(), name.to_owned()]];
        if !outline.description.is_empty() {
            rows.push(["DESCRIPTION:".to_owned(), outline.description.clone()]);
        }
        shown = table(&rows, 1) + "\n";
    }
    if !outline.arguments.is_empty() {
        let mut rows = vec![["BUILD ARG", "VALUE", "DESCRIPTION"].map(str::to_owned)];
        let own = outline.arguments.iter();
        rows.extend(own.map(|one| [&one.name, &one.value, &one.description].map(String::clone)));
        shown += &(table(&rows, 3) + "\n");
    }
    for (title, mounts) in [("SECRET", &outline.secrets), ("SSH", &outline.agents)] {
        if mounts.is_empty() {
            continue;
        }
        let mut rows = vec![[title.to_owned(), "REQUIRED".to_owned()]];
        rows.extend(mounts.iter().map(|mount| {
            let required = if mount.is_required { "true" } else { "" };
            [mount.id.clone(), required.to_owned()]
        }));
        shown += &(table(&rows, 3) + "\n");
    }
    shown
}

fn outline_document(request: &BuildRequest, outline: &Outline) -> Value {
    let mut document = json!({ "sources": [source(request)] });
    let texts = [
        ("name", outline.name.as_str()),
        ("description", outline.description.as_str()),
    ];
    fill(&mut document, &texts);
    let arguments = outline.arguments.iter().map(|one| {
        let mut document = json!({ "name": one.name, "location": location(one.lines) });
        let texts = [
            ("value", one.value.as_str()),
            ("description", one.description.as_str()),
        ];
        fill(&mut document, &texts);
        document
    });
    let mounts = |mounts: &[OutlineMount]| -> Vec<Value> {
        let document = |mount: &OutlineMount| {
            let mut document = json!({ "name": mount.id, "location": location(mount.lines) });
            if mount.is_required {
                document["required"] = true.into();
            }
            document
        };
        mounts.iter().map(document).collect()
    };
    let lists = [
        ("args", arguments.collect()),
        ("secrets", mounts(&outline.secrets)),
        ("ssh", mounts(&outline.agents)),
    ];
    for (key, list) in lists {
        if !list.is_empty() {
            document[key] = list.into();
        }
    }
    document
}

/// The answer to `--check`: as BuildKit's, and what to write instead.
pub(super) fn check(request: &BuildRequest, report: &BuildReport, is_json: bool) -> String {
    let file = &request.dockerfile_name;
    if is_json {
        return pretty(&check_document(request, report));
    }
    let mut text = match report.warnings.len() {
        0 => "Check complete, no warnings found.\n".to_owned(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        count => format!("Check complete, {count} warnings have been found!\n"),
    };
    for warning in &report.warnings {
        let _ = write!(text, "\nWARNING: {}", warning.rule.name());
        if let Some(url) = warning.rule.url() {
            let _ = write!(text, " - {url}");
        }
        let excerpt = warning.excerpt(file, &request.dockerfile);
        let (detail, fix) = (&warning.detail, &warning.fix);
        let _ = write!(text, "\n{detail}\nfix: {fix}\n{excerpt}");
    }
    text
}

fn check_document(request: &BuildRequest, report: &BuildReport) -> Value {
    let warnings = report.warnings.iter().map(|warning| {
        let mut document = json!({
            "ruleName": warning.rule.name(), "description": warning.rule.description(),
            "detail": warning.detail, "location": location(warning.lines),
            // Ours: what to write instead.
            "fix": warning.fix,
        });
        if let Some(url) = warning.rule.url() {
            document["url"] = url.into();
        }
        document
    });
    let warnings: Vec<Value> = warnings.collect();
    let file = json!({
        "filename": request.dockerfile_name, "language": "Dockerfile", "data": source(request),
    });
    json!({ "warnings": warnings, "sources": [file] })
}

fn source(request: &BuildRequest) -> Value {
    STANDARD.encode(&request.dockerfile).into()
}

fn location(lines: Lines) -> Value {
    json!({ "ranges": [{ "start": { "line": lines.start }, "end": { "line": lines.end } }] })
}

/// Members that have something to say.
fn fill(document: &mut Value, texts: &[(&str, &str)]) {
    for (key, text) in texts.iter().filter(|(_, text)| !text.is_empty()) {
        document[*key] = (*text).into();
    }
}

fn pretty(document: &Value) -> String {
    format!("{document:#}\n")
}

/// Columns as Go's writer makes them, so many blanks apart.
fn table<const N: usize>(rows: &[[String; N]], padding: usize) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = text::width(&escape_control(cell)).max(*width);
        }
    }
    let mut table = String::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            let cell = escape_control(cell);
            table.push_str(&cell);
            if at + 1 < N {
                table.push_str(&" ".repeat(widths[at] + padding - text::width(&cell)));
            }
        }
        table.push('\n');
    }
    table
}
