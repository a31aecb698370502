//! `buildx create`, `inspect`, `ls`, `rm`, `stop`, `use` and `version`: what scripts ask of builders before
//! and after they build. There is one builder and nothing of it is kept, so every name means it.

use std::process::ExitCode;

use serde_json::json;

use super::refuse;
use crate::commands::{print, print_line, print_list};
use crate::errors;
use crate::flags::{BuilderAction, Invocation};
use crate::output::table::{Layout, Row, Titles, is_table, render};
use crate::output::template::Value;

/// The versions of Docker's build client and of BuildKit that Docker 28.2.2 comes with, whose behaviour this
/// follows; scripts compare them.
const BUILDX_VERSION: &str = "v0.24.0";
const BUILDKIT_VERSION: &str = "v0.22.0";
const DEFAULT: &str = "default";
const DRIVER: &str = "docker";
const TABLE: &str =
    "table {{.Name}}\t{{.DriverEndpoint}}\t{{.Status}}\t{{.Buildkit}}\t{{.Platforms}}";

pub(crate) fn builders(invocation: &Invocation, action: BuilderAction) -> ExitCode {
    let matches = &invocation.matches;
    let name = matches.args.first().map(String::as_str);
    match action {
        BuilderAction::Create => return create(invocation, name),
        BuilderAction::Inspect => {
            let named = Some(matches.get_str("builder")).filter(|name| !name.is_empty());
            print(&inspected(name.or(named).unwrap_or(DEFAULT), &platforms()));
        }
        BuilderAction::List => return list(invocation),
        // To standard error, as Docker's.
        BuilderAction::Remove => matches
            .args
            .iter()
            .for_each(|name| errors::complain(&format!("{name} removed"))),
        BuilderAction::Stop | BuilderAction::Use => {}
        BuilderAction::Version => print_line(&format!(
            "github.com/docker/buildx {BUILDX_VERSION} caisson-{}",
            env!("CARGO_PKG_VERSION")
        )),
    }
    ExitCode::SUCCESS
}

fn create(invocation: &Invocation, endpoint: Option<&str>) -> ExitCode {
    let matches = &invocation.matches;
    let driver = matches.get_str("driver");
    if !matches!(driver, "" | DRIVER | "docker-container") {
        return refuse(&format!(
            "driver {driver} is not supported: builds happen on this machine"
        ));
    }
    if let Some(endpoint) = endpoint.filter(|endpoint| *endpoint != DEFAULT) {
        return refuse(&format!(
            "{endpoint}: builds happen on this machine, and not elsewhere"
        ));
    }
    match matches.get_str("name") {
        "" => print_line(DEFAULT),
        name => print_line(name),
    }
    ExitCode::SUCCESS
}

fn platforms() -> Vec<String> {
    let all = engine::build::platforms();
    all.iter().map(ToString::to_string).collect()
}

fn inspected(name: &str, platforms: &[String]) -> String {
    format!(
        "Name:   {name}\nDriver: {DRIVER}\n\nNodes:\nName:             {name}\nEndpoint:         {DEFAULT}\n\
         Status:           running\nBuildKit version: {BUILDKIT_VERSION}\nPlatforms:        {}\n",
        platforms.join(", ")
    )
}

fn list(invocation: &Invocation) -> ExitCode {
    let format = invocation.matches.get_str("format");
    let platforms = platforms();
    if format == "json" {
        let node = json!({
            "Name": DEFAULT, "Endpoint": DEFAULT, "Status": "running", "Version": BUILDKIT_VERSION,
            "Platforms": platforms,
        });
        let builder = json!({
            "Current": true, "Driver": DRIVER, "Dynamic": false,
            "LastActivity": "0001-01-01T00:00:00Z", "Name": DEFAULT, "Nodes": [node],
        });
        print_line(&builder.to_string());
        return ExitCode::SUCCESS;
    }
    let format = match format {
        "" | "table" => TABLE,
        given => given,
    };
    let layout = Layout {
        format,
        titles: TITLES,
        escape_control: false,
    };
    print_list(render(
        layout,
        rows(is_table(format), &platforms.join(", ")),
    ))
}

const TITLES: &Titles = &[
    ("Buildkit", "BUILDKIT"),
    ("DriverEndpoint", "DRIVER/ENDPOINT"),
    ("LastActivity", "LAST ACTIVITY"),
    ("Name", "NAME/NODE"),
    ("Platforms", "PLATFORMS"),
    ("Status", "STATUS"),
];

/// The builder, and its one node below it.
fn rows(is_table: bool, platforms: &str) -> [Row; 2] {
    const MEMBERS: &[&str] = &[
        "Buildkit",
        "DriverEndpoint",
        "Error",
        "LastActivity",
        "Name",
        "Platforms",
        "Status",
    ];
    let (current, indent) = if is_table { ("*", " \\_ ") } else { ("", "") };
    let row = |values: [&str; 7]| {
        let values = values.into_iter().map(Value::string).collect();
        Row::new("*commands.lsContext", MEMBERS, values)
    };
    let (name, node) = (format!("{DEFAULT}{current}"), format!("{indent}{DEFAULT}"));
    [
        row(["", DRIVER, "", "", &name, "", ""]),
        row([BUILDKIT_VERSION, &node, "", "", &node, platforms, "running"]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builders_are_shown_as_docker_shows_them() {
        let layout = |format| Layout {
            format,
            titles: TITLES,
            escape_control: false,
        };
        let table = render(layout(TABLE), rows(true, "linux/amd64, linux/386")).expect("a table");
        assert_eq!(
            table,
            "NAME/NODE     DRIVER/ENDPOINT   STATUS    BUILDKIT   PLATFORMS\n\
             default*      docker                                 \n \
             \\_ default    \\_ default       running   v0.22.0    linux/amd64, linux/386\n"
        );
        let names = render(layout("{{.Name}} {{.Status}}"), rows(false, "")).expect("names");
        assert_eq!(names, "default \ndefault running\n");
        let shown = inspected("mine", &["linux/amd64".to_owned()]);
        assert!(
            shown.starts_with("Name:   mine\nDriver: docker\n\nNodes:\n"),
            "{shown}"
        );
        assert!(
            shown.ends_with("\nPlatforms:        linux/amd64\n"),
            "{shown}"
        );
    }
}
