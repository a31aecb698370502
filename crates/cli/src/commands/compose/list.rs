//! Lists: `compose ps`, `ls`, `images`, `volumes`, `top`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use engine::compose::container::labels;
use engine::compose::{label, project_of};
use engine::{Engine, StoredContainer};
use serde_json::{Value, json};
use types::reference::Reference;
use types::timestamp::Timestamp;
use types::units::human_size_with_precision;

use super::{Done, Failure, OneOff, containers, is_oneoff, project_or_name};
use crate::commands::list::row;
use crate::commands::look::processes;
use crate::commands::{print, print_line, print_list};
use crate::flags::Invocation;
use crate::output::rows::Clock;
use crate::output::rows::containers::ContainerRow;
use crate::output::rows::ports::ports_text;
use crate::output::table::{Layout, Row, Titles, align, render};
use crate::output::template::{Value as Cell, escape_control};
use crate::output::text::{ellipsis, short_id};

fn clock() -> Clock {
    Clock::local(Timestamp::now().unix_ns() as i64)
}

/// Columns of lists that look as those of Docker's own commands.
const NARROW: (usize, usize) = (10, 3);
/// Columns of Compose's own lists.
const WIDE: (usize, usize) = (20, 3);

/// Prints a table with columns of at least so many characters, and so many spaces after the longest.
fn table((width_min, padding): (usize, usize), titles: &[&str], rows: &[Vec<String>]) {
    let mut text = titles.join("\t") + "\n";
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .map(|cell| escape_control(cell).replace(['\t', '\n'], " "))
            .collect();
        text.push_str(&cells.join("\t"));
        text.push('\n');
    }
    let aligned = align(&text, width_min, padding);
    print(&aligned);
}

/// Titles of `table {{.Name}}`, of every list.
const TITLES: &Titles = &[
    ("Command", "COMMAND"),
    ("ConfigFiles", "CONFIG FILES"),
    ("ContainerName", "CONTAINER"),
    ("Created", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Driver", "DRIVER"),
    ("ExitCode", "EXIT CODE"),
    ("Health", "HEALTH"),
    ("ID", "ID"),
    ("Image", "IMAGE"),
    ("Labels", "LABELS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Mounts", "MOUNTS"),
    ("Name", "NAME"),
    ("Names", "NAMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
    ("Ports", "PORTS"),
    ("Project", "PROJECT"),
    ("Publishers", "PUBLISHERS"),
    ("Repository", "REPOSITORY"),
    ("RunningFor", "CREATED"),
    ("Service", "SERVICE"),
    ("Size", "SIZE"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Tag", "TAG"),
];

/// How a list is written as JSON.
enum Json {
    /// A document a line.
    Lines,
    /// One array.
    Array,
}

/// Prints a list as `--format` wants it: as JSON, or by a Go template, which may name what the JSON form
/// has. `None` where the table is wanted.
fn by_format(
    invocation: &Invocation,
    json: &Json,
    (type_name, members): (&'static str, &'static [&'static str]),
    rows: impl Iterator<Item = Value>,
) -> Option<ExitCode> {
    let format = match (invocation.matches.get_str("format"), json) {
        ("" | "table", _) => return None,
        ("json", Json::Lines) => {
            rows.for_each(|one| print_line(&one.to_string()));
            return Some(ExitCode::SUCCESS);
        }
        ("json", Json::Array) => {
            print_line(&Value::Array(rows.collect()).to_string());
            return Some(ExitCode::SUCCESS);
        }
        (template, _) => template,
    };
    let layout = Layout {
        format,
        titles: TITLES,
        escape_control: crate::terminal::is_terminal(rustix::stdio::stdout()),
    };
    let row = |json: Value| {
        let values = members.iter().map(|name| Cell::from_json(&json[*name]));
        Row::new(type_name, members, values.collect())
    };
    Some(print_list(render(layout, rows.map(row))))
}

fn running_for(row: &ContainerRow) -> String {
    let seconds = Timestamp::now().unix_ns() as i64 / 1_000_000_000 - row.created_s;
    format!(
        "{} ago",
        types::units::human_duration(seconds.max(0).saturating_mul(1_000_000_000))
    )
}

pub(super) fn ps(engine: &Engine, invocation: &Invocation) -> Done {
    let matches = &invocation.matches;
    let project = project_or_name(invocation)?;
    let mut found = containers(engine, &project, &matches.args, OneOff::With)?;
    let statuses = statuses(invocation)?;
    let is_wanted = |stored: &StoredContainer| {
        let status = stored.state.status;
        let is_shown = matches.get_bool("all") || !statuses.is_empty() || status.is_live();
        let is_known = matches.get_bool("orphans")
            || project
                .any_service(label(stored, labels::SERVICE))
                .is_some();
        is_shown
            && is_known
            && (statuses.is_empty() || statuses.contains(status.as_str()))
            && (!is_oneoff(stored) || matches.get_bool("all"))
    };
    found.retain(is_wanted);
    found.sort_by(|one, other| one.record.name.cmp(&other.record.name));
    if matches.get_bool("quiet") {
        found
            .iter()
            .for_each(|stored| print_line(&stored.record.id));
        return Ok(ExitCode::SUCCESS);
    }
    if matches.get_bool("services") {
        let names: BTreeSet<&str> = found
            .iter()
            .map(|stored| label(stored, labels::SERVICE))
            .collect();
        names.iter().for_each(|name| print_line(name));
        return Ok(ExitCode::SUCCESS);
    }
    let clock = clock();
    let rows: Vec<ContainerRow> = found
        .iter()
        .map(|stored| row(engine, stored, &clock, false))
        .collect();
    let documents = found
        .iter()
        .zip(&rows)
        .map(|(stored, row)| ps_json(stored, row));
    let kind = ("*formatter.ContainerContext", PS_MEMBERS);
    if let Some(code) = by_format(invocation, &Json::Lines, kind, documents) {
        return Ok(code);
    }
    ps_table(&found, &rows, matches.get_bool("no-trunc"));
    Ok(ExitCode::SUCCESS)
}

fn ps_table(found: &[StoredContainer], rows: &[ContainerRow], is_whole: bool) {
    let cells = |(stored, row): (&StoredContainer, &ContainerRow)| {
        let command = match is_whole {
            true => row.command.clone(),
            false => ellipsis(&row.command, 20),
        };
        vec![
            stored.record.name.clone(),
            row.image.clone(),
            format!("{command:?}"),
            label(stored, labels::SERVICE).to_owned(),
            running_for(row),
            row.status.clone(),
            ports_text(&row.ports),
        ]
    };
    let rows: Vec<Vec<String>> = found.iter().zip(rows).map(cells).collect();
    table(
        NARROW,
        &[
            "NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS",
        ],
        &rows,
    );
}

fn statuses(invocation: &Invocation) -> Result<BTreeSet<String>, Failure> {
    let matches = &invocation.matches;
    let mut all: BTreeSet<String> = matches.get_list("status").iter().cloned().collect();
    for filter in matches.get_list("filter") {
        match filter.split_once('=') {
            Some(("status", status)) => all.insert(status.to_owned()),
            Some(("source", _)) | None | Some(_) => {
                return Err(Failure::text(format!(
                    "unknown filter {filter:?}: there is status=…"
                )));
            }
        };
    }
    Ok(all)
}

const PS_MEMBERS: &[&str] = &[
    "Command",
    "CreatedAt",
    "ExitCode",
    "Health",
    "ID",
    "Image",
    "Labels",
    "LocalVolumes",
    "Mounts",
    "Name",
    "Names",
    "Networks",
    "Ports",
    "Project",
    "Publishers",
    "RunningFor",
    "Service",
    "Size",
    "State",
    "Status",
];

fn ps_json(stored: &StoredContainer, row: &ContainerRow) -> Value {
    let state = &stored.state;
    let publishers: Vec<Value> = row
        .ports
        .iter()
        .map(|port| json!({ "URL": port.ip, "TargetPort": port.private, "PublishedPort": port.public, "Protocol": port.protocol }))
        .collect();
    let labels_text: Vec<String> = row
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let mounts: Vec<&str> = row
        .mounts
        .iter()
        .map(|mount| {
            if mount.name.is_empty() {
                mount.source.as_str()
            } else {
                mount.name.as_str()
            }
        })
        .collect();
    let volumes = row
        .mounts
        .iter()
        .filter(|mount| !mount.name.is_empty())
        .count();
    json!({
        "Command": format!("{:?}", ellipsis(&row.command, 20)),
        "CreatedAt": types::timestamp::Timestamp::from_unix(row.created_s, 0).docker(),
        "ExitCode": state.exit_code,
        "Health": state.health.as_ref().map_or("", |health| health.status.as_str()),
        "ID": short_id(&stored.record.id),
        "Image": row.image,
        "Labels": labels_text.join(","),
        "LocalVolumes": volumes.to_string(),
        "Mounts": mounts.join(","),
        "Name": stored.record.name,
        "Names": stored.record.name,
        "Networks": row.networks.join(","),
        "Ports": ports_text(&row.ports),
        "Project": label(stored, labels::PROJECT),
        "Publishers": publishers,
        "RunningFor": running_for(row),
        "Service": label(stored, labels::SERVICE),
        "Size": "0B",
        "State": row.state,
        "Status": row.status,
    })
}

pub(super) fn ls(engine: &Engine, invocation: &Invocation) -> Done {
    let matches = &invocation.matches;
    let mut projects: BTreeMap<String, Vec<StoredContainer>> = BTreeMap::new();
    for stored in engine.containers()? {
        let name = project_of(&stored).to_owned();
        if !name.is_empty() && !is_oneoff(&stored) {
            projects.entry(name).or_default().push(stored);
        }
    }
    let is_named = |name: &str| {
        let mut filters = matches
            .get_list("filter")
            .iter()
            .filter_map(|filter| filter.strip_prefix("name="))
            .peekable();
        filters.peek().is_none() || filters.any(|wanted| name.contains(wanted))
    };
    projects.retain(|name, containers| {
        is_named(name)
            && (matches.get_bool("all")
                || containers
                    .iter()
                    .any(|stored| stored.state.status.is_live()))
    });
    if matches.get_bool("quiet") {
        projects.keys().for_each(|name| print_line(name));
        return Ok(ExitCode::SUCCESS);
    }
    let status = |containers: &[StoredContainer]| {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for stored in containers {
            *counts.entry(stored.state.status.as_str()).or_default() += 1;
        }
        let texts: Vec<String> = counts
            .iter()
            .map(|(status, count)| format!("{status}({count})"))
            .collect();
        texts.join(", ")
    };
    let files = |containers: &[StoredContainer]| {
        let all: BTreeSet<&str> = containers
            .iter()
            .map(|stored| label(stored, labels::CONFIG_FILES))
            .collect();
        all.into_iter().collect::<Vec<_>>().join(",")
    };
    let documents = projects.iter().map(|(name, containers)| {
        json!({ "Name": name, "Status": status(containers), "ConfigFiles": files(containers) })
    });
    let kind = ("compose.Stack", &["ConfigFiles", "Name", "Status"][..]);
    if let Some(code) = by_format(invocation, &Json::Array, kind, documents) {
        return Ok(code);
    }
    let rows: Vec<Vec<String>> = projects
        .iter()
        .map(|(name, containers)| vec![name.clone(), status(containers), files(containers)])
        .collect();
    table(WIDE, &["NAME", "STATUS", "CONFIG FILES"], &rows);
    Ok(ExitCode::SUCCESS)
}

pub(super) fn images(engine: &Engine, invocation: &Invocation) -> Done {
    let matches = &invocation.matches;
    let project = project_or_name(invocation)?;
    let found = containers(engine, &project, &matches.args, OneOff::Without)?;
    if matches.get_bool("quiet") {
        let ids: BTreeSet<&str> = found
            .iter()
            .map(|stored| stored.record.image_id.trim_start_matches("sha256:"))
            .collect();
        ids.iter().for_each(|id| print_line(id));
        return Ok(ExitCode::SUCCESS);
    }
    let seen: Vec<SeenImage> = found
        .iter()
        .map(|stored| seen_image(engine, stored))
        .collect();
    let documents = seen.iter().map(|image| {
        json!({
            "ID": image.id, "ContainerName": image.container, "Repository": image.repository,
            "Tag": image.tag, "Platform": image.platform, "Size": image.size, "Created": image.created
        })
    });
    let kind = ("compose.Image", IMAGE_MEMBERS);
    if let Some(code) = by_format(invocation, &Json::Array, kind, documents) {
        return Ok(code);
    }
    let titles = [
        "CONTAINER",
        "REPOSITORY",
        "TAG",
        "PLATFORM",
        "IMAGE ID",
        "SIZE",
        "CREATED",
    ];
    let rows: Vec<Vec<String>> = seen.into_iter().map(SeenImage::cells).collect();
    table(WIDE, &titles, &rows);
    Ok(ExitCode::SUCCESS)
}

const IMAGE_MEMBERS: &[&str] = &[
    "ContainerName",
    "Created",
    "ID",
    "Platform",
    "Repository",
    "Size",
    "Tag",
];

/// The image of a container.
struct SeenImage {
    container: String,
    repository: String,
    tag: String,
    platform: String,
    id: String,
    size: u64,
    created: String,
}

fn seen_image(engine: &Engine, stored: &StoredContainer) -> SeenImage {
    let record = &stored.record;
    let name = Reference::parse_normalized(&record.spec.image).map(Reference::with_default_tag);
    let (repository, tag) = match &name {
        Ok(name) => (
            name.familiar_name(),
            name.tag().unwrap_or("<none>").to_owned(),
        ),
        Err(_) => (record.spec.image.clone(), "<none>".to_owned()),
    };
    let image = engine.image(&record.image_id);
    SeenImage {
        container: record.name.clone(),
        repository,
        tag,
        platform: record.platform.clone(),
        id: record.image_id.clone(),
        size: engine.image_size(&record.image_id),
        created: image.map(|image| image.created).unwrap_or_default(),
    }
}

impl SeenImage {
    fn cells(self) -> Vec<String> {
        let since = match Timestamp::parse_rfc3339(&self.created) {
            Ok(time) => {
                let age = (Timestamp::now().unix_ns() - time.unix_ns()) as i64;
                format!("{} ago", types::units::human_duration(age))
            }
            Err(_) => "N/A".to_owned(),
        };
        vec![
            self.container,
            self.repository,
            self.tag,
            self.platform,
            short_id(self.id.trim_start_matches("sha256:")).to_owned(),
            human_size_with_precision(self.size as f64, 3),
            since,
        ]
    }
}

pub(super) fn volumes(engine: &Engine, invocation: &Invocation) -> Done {
    let matches = &invocation.matches;
    let project = project_or_name(invocation)?;
    let mut names = engine.project_volumes(&project.name)?;
    if !matches.args.is_empty() {
        let found = containers(engine, &project, &matches.args, OneOff::Without)?;
        names.retain(|name| {
            found.iter().any(|stored| {
                stored
                    .record
                    .volumes
                    .iter()
                    .any(|volume| volume.name == *name)
            })
        });
    }
    if matches.get_bool("quiet") {
        names.iter().for_each(|name| print_line(name));
        return Ok(ExitCode::SUCCESS);
    }
    let documents = names
        .iter()
        .map(|name| json!({ "Driver": "local", "Name": name }));
    let kind = ("*formatter.volumeContext", &["Driver", "Name"][..]);
    if let Some(code) = by_format(invocation, &Json::Lines, kind, documents) {
        return Ok(code);
    }
    let rows: Vec<Vec<String>> = names
        .into_iter()
        .map(|name| vec!["local".to_owned(), name])
        .collect();
    table(NARROW, &["DRIVER", "VOLUME NAME"], &rows);
    Ok(ExitCode::SUCCESS)
}

pub(super) fn top(engine: &Engine, invocation: &Invocation) -> Done {
    let project = project_or_name(invocation)?;
    let mut found = containers(engine, &project, &invocation.matches.args, OneOff::With)?;
    found.retain(|stored| stored.state.status.is_live());
    found.sort_by(|one, other| one.record.name.cmp(&other.record.name));
    let mut titles = vec!["SERVICE", "#"];
    let mut rows = Vec::new();
    for stored in &found {
        let (columns, processes) = processes(engine, &stored.record.id)?;
        if titles.len() == 2 {
            titles.extend(columns);
        }
        for cells in processes {
            let mut row = vec![
                label(stored, labels::SERVICE).to_owned(),
                label(stored, labels::NUMBER).to_owned(),
            ];
            row.extend(cells);
            rows.push(row);
        }
    }
    if !rows.is_empty() {
        table((4, 2), &titles, &rows);
    }
    Ok(ExitCode::SUCCESS)
}
