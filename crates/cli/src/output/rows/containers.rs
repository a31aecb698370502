//! `ps`: one row a container.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use types::reference::Reference;
use types::state::Status;
use types::units::{human_duration, human_size_with_precision};

use super::super::table::{FormatError, Layout, Row, Titles, render};
use super::super::template::{
    Context, GoType, Options, StructType, Template, TemplateError, Value, quoted,
};
use super::super::text::{ellipsis, short_id};
use super::ports::{Port, ports_text};
use super::{Clock, labels_text};

/// Width of the COMMAND column, quotes apart.
const COMMAND_COLUMNS: usize = 20;
/// Width of a mount's name.
const MOUNT_COLUMNS: usize = 15;

const TABLE: &str = "table {{.ID}}\\t{{.Image}}\\t{{.Command}}\\t{{.RunningFor}}\\t{{.Status}}\\t\
                     {{.Ports}}\\t{{.Names}}";

const RAW: &str = "container_id: {{.ID}}
image: {{.Image}}
command: {{.Command}}
created_at: {{.CreatedAt}}
state: {{- pad .State 1 0}}
status: {{- pad .Status 1 0}}
names: {{.Names}}
labels: {{- pad .Labels 1 0}}
ports: {{- pad .Ports 1 0}}
";

pub(super) const TITLES: &Titles = &[
    ("ID", "CONTAINER ID"),
    ("Names", "NAMES"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
];

const TYPE_NAME: &str = "*formatter.ContainerContext";

const MEMBERS: &[&str] = &[
    "Command",
    "CreatedAt",
    "ID",
    "Image",
    "Labels",
    "LocalVolumes",
    "Mounts",
    "Names",
    "Networks",
    "Platform",
    "Ports",
    "RunningFor",
    "Size",
    "State",
    "Status",
];

static PLATFORM: GoType = GoType::Struct(&StructType {
    name: "formatter.Platform",
    fields: &[],
});

/// A container in a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContainerRow {
    /// The full id.
    pub(crate) id: String,
    /// Names without a leading slash, the container's own first.
    pub(crate) names: Vec<String>,
    /// The image as it was asked for.
    pub(crate) image: String,
    /// The image's id.
    pub(crate) image_id: String,
    /// Program and arguments, joined by spaces.
    pub(crate) command: String,
    /// Seconds since 1970.
    pub(crate) created_s: i64,
    /// Exposed and published ports.
    pub(crate) ports: Vec<Port>,
    /// Labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Docker's word: `running`, `exited` …
    pub(crate) state: String,
    /// The text of [`status_text`].
    pub(crate) status: String,
    /// Mounts.
    pub(crate) mounts: Vec<MountName>,
    /// Names of its networks.
    pub(crate) networks: Vec<String>,
    /// Bytes it wrote, when asked for.
    pub(crate) size_rw: i64,
    /// Bytes of its whole file system, when asked for; 0 is not shown.
    pub(crate) size_root_fs: i64,
}

/// A mount in a list of containers.
#[derive(Clone, Debug, Default)]
pub(crate) struct MountName {
    /// A volume's name, or empty.
    pub(crate) name: String,
    /// Path on the host.
    pub(crate) source: String,
    /// A volume's driver, or empty.
    pub(crate) driver: String,
}

/// How `ps` was called.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ListFlags<'a> {
    /// `--format`, or the configured one, or empty.
    pub(crate) format: &'a str,
    /// `-q`
    pub(crate) quiet: bool,
    /// `--no-trunc`
    pub(crate) no_trunc: bool,
    /// Standard output is a terminal.
    pub(crate) escape_control: bool,
}

/// The text of `ps`; `with_size` is `-s` or [`format_uses_size`].
pub(crate) fn list(
    rows: &[ContainerRow],
    flags: ListFlags<'_>,
    with_size: bool,
    clock: &Clock,
) -> Result<String, FormatError> {
    let format = format(flags.format, flags.quiet, with_size);
    let layout = Layout {
        format: &format,
        titles: TITLES,
        escape_control: flags.escape_control,
    };
    render(
        layout,
        rows.iter()
            .map(|container| row(container, !flags.no_trunc, clock)),
    )
}

/// The format that flags ask for.
pub(super) fn format(source: &str, quiet: bool, with_size: bool) -> String {
    let (text, size) = match source {
        "raw" if quiet => return "container_id: {{.ID}}".to_owned(),
        _ if quiet => return "{{.ID}}".to_owned(),
        "" | "table" => (TABLE, "\\t{{.Size}}"),
        "raw" => (RAW, "size: {{.Size}}\\n"),
        custom => return custom.to_owned(),
    };
    if with_size {
        format!("{text}{size}")
    } else {
        text.to_owned()
    }
}

/// Checks a `--format` before anything is listed and says whether it shows sizes, which are costly.
/// The errors are `ps`'s own: `failed to parse template: …`, `failed to execute template: …`.
pub(crate) fn format_uses_size(format: &str) -> Result<bool, String> {
    let template =
        Template::parse(format).map_err(|error| format!("failed to parse template: {error}"))?;
    let probe = Rc::new(SizeProbe::default());
    let data = Value::Object(Rc::clone(&probe) as Rc<dyn Context>);
    template
        .execute(&data, Options::default())
        .map_err(|error: TemplateError| format!("failed to execute template: {error}"))?;
    Ok(probe.used.get())
}

/// An empty container that notices when its size is asked for.
#[derive(Default)]
struct SizeProbe {
    used: Cell<bool>,
}

impl Context for SizeProbe {
    fn type_name(&self) -> &'static str {
        TYPE_NAME
    }

    fn members(&self) -> &'static [&'static str] {
        MEMBERS
    }

    fn get(&self, member: &str) -> Value {
        if member == "Size" {
            self.used.set(true);
        }
        Value::string("")
    }

    fn has_label(&self) -> bool {
        true
    }
}

/// A container as templates see it.
pub(super) fn row(container: &ContainerRow, truncate: bool, clock: &Clock) -> Row {
    let command = if truncate {
        quoted(&ellipsis(&container.command, COMMAND_COLUMNS))
    } else {
        quoted(&container.command)
    };
    let id = if truncate {
        short_id(&container.id)
    } else {
        &container.id
    };
    let local = container
        .mounts
        .iter()
        .filter(|mount| mount.driver == "local")
        .count();
    let values = vec![
        Value::string(command),
        Value::string(clock.go_time(container.created_s)),
        Value::string(id),
        Value::string(image_text(container, truncate)),
        Value::string(labels_text(&container.labels)),
        Value::string(local.to_string()),
        Value::string(mounts_text(&container.mounts, truncate)),
        Value::string(names_text(&container.names, truncate)),
        Value::string(container.networks.join(",")),
        // Only engines with a containerd store know it.
        Value::Ptr(&PLATFORM, None),
        Value::string(ports_text(&container.ports)),
        Value::string(clock.ago(container.created_s)),
        Value::string(size_text(container)),
        Value::string(container.state.as_str()),
        Value::string(container.status.as_str()),
    ];
    let mut row = Row::new(TYPE_NAME, MEMBERS, values);
    row.labels = Some(container.labels.clone());
    row
}

fn names_text(names: &[String], truncate: bool) -> String {
    // A link's name has a slash inside; the container's own has none.
    match names.iter().find(|name| truncate && !name.contains('/')) {
        Some(own) => own.clone(),
        None => names.join(","),
    }
}

fn image_text(container: &ContainerRow, truncate: bool) -> String {
    let image = container.image.as_str();
    if image.is_empty() {
        return "<no image>".to_owned();
    }
    if !truncate {
        return image.to_owned();
    }
    if short_id(&container.image_id) == short_id(image) {
        return short_id(image).to_owned();
    }
    let Ok(reference) = Reference::parse_normalized(image) else {
        return image.to_owned();
    };
    let name = reference.familiar_name();
    match reference.tag() {
        Some(tag) => format!("{name}:{tag}"),
        None => name,
    }
}

fn mounts_text(mounts: &[MountName], truncate: bool) -> String {
    let names = mounts.iter().map(|mount| {
        let name = if mount.name.is_empty() {
            &mount.source
        } else {
            &mount.name
        };
        if truncate {
            ellipsis(name, MOUNT_COLUMNS)
        } else {
            name.clone()
        }
    });
    names.collect::<Vec<_>>().join(",")
}

fn size_text(container: &ContainerRow) -> String {
    let written = human_size_with_precision(container.size_rw as f64, 3);
    if container.size_root_fs <= 0 {
        return written;
    }
    let total = human_size_with_precision(container.size_root_fs as f64, 3);
    format!("{written} (virtual {total})")
}

/// What the STATUS of a container is made of. Times are nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StatusParts<'a> {
    /// The state.
    pub(crate) status: Status,
    /// The last exit code; `None` when it could not be learnt.
    pub(crate) exit_code: Option<i32>,
    /// When it last started.
    pub(crate) started_ns: Option<i64>,
    /// When it last ended.
    pub(crate) finished_ns: Option<i64>,
    /// `starting`, `healthy` or `unhealthy`, where there is a check.
    pub(crate) health: Option<&'a str>,
}

/// `Up 3 minutes (healthy)`, `Exited (0) 2 hours ago` and so on, in Docker's words.
pub(crate) fn status_text(parts: StatusParts<'_>, clock: &Clock) -> String {
    let up = || {
        let since = clock
            .now_ns
            .saturating_sub(parts.started_ns.unwrap_or(clock.now_ns));
        format!("Up {}", human_duration(since))
    };
    let code = || {
        parts
            .exit_code
            .map_or_else(|| "unknown".to_owned(), |code| code.to_string())
    };
    let ended = || clock.ago_ns(parts.finished_ns.unwrap_or(clock.now_ns));
    match parts.status {
        Status::Created => "Created".to_owned(),
        Status::Running => match parts.health {
            None | Some("" | "none") => up(),
            Some("starting") => format!("{} (health: starting)", up()),
            Some(health) => format!("{} ({health})", up()),
        },
        Status::Paused => format!("{} (Paused)", up()),
        Status::Restarting => format!("Restarting ({}) {}", code(), ended()),
        Status::Removing => "Removal In Progress".to_owned(),
        Status::Dead => "Dead".to_owned(),
        // A container that failed to start never ran: Docker calls it created.
        Status::Exited if parts.started_ns.is_none() => "Created".to_owned(),
        Status::Exited => format!("Exited ({}) {}", code(), ended()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: i64 = 1_704_067_200 + 7200;

    fn container() -> ContainerRow {
        let port = |ip: &str, private, public| Port {
            ip: ip.to_owned(),
            private,
            public,
            protocol: "tcp".to_owned(),
        };
        ContainerRow {
            id: "c".repeat(64),
            names: vec!["y/alias".to_owned(), "x".to_owned()],
            image: "docker.io/library/nginx:1@sha256:".to_owned() + &"b".repeat(64),
            image_id: "sha256:".to_owned() + &"a".repeat(64),
            command: "docker-entrypoint.sh nginx -g 'daemon off;'".to_owned(),
            created_s: 1_704_067_200,
            ports: vec![
                port("0.0.0.0", 80, 8080),
                port("::", 80, 8080),
                port("", 443, 0),
            ],
            labels: [("b", "2"), ("a", "1")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
            state: "running".to_owned(),
            status: "Up 3 minutes".to_owned(),
            mounts: vec![MountName {
                name: "averyveryverylongvolumename".to_owned(),
                driver: "local".to_owned(),
                ..MountName::default()
            }],
            networks: vec!["bridge".to_owned()],
            size_rw: 12345,
            size_root_fs: 7_654_321,
        }
    }

    fn ps(flags: ListFlags<'_>, with_size: bool) -> String {
        list(
            &[container()],
            flags,
            with_size,
            &Clock::utc(NOW_S * 1_000_000_000),
        )
        .unwrap()
    }

    // Compared with `docker ps` 28.2.2 over the same list.
    #[test]
    fn lists_print_as_docker_ps() {
        assert_eq!(
            ps(ListFlags::default(), false),
            "CONTAINER ID   IMAGE     COMMAND                  CREATED       STATUS         PORTS                                              NAMES\n\
             cccccccccccc   nginx:1   \"docker-entrypoint.s…\"   2 hours ago   Up 3 minutes   443/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp   x\n"
        );
        assert_eq!(
            ps(
                ListFlags {
                    format: "json",
                    ..ListFlags::default()
                },
                false
            ),
            concat!(
                r#"{"Command":"\"docker-entrypoint.s…\"","CreatedAt":"2024-01-01 00:00:00 +0000 UTC","#,
                r#""ID":"cccccccccccc","Image":"nginx:1","Labels":"a=1,b=2","LocalVolumes":"1","#,
                r#""Mounts":"averyveryveryl…","Names":"x","Networks":"bridge","Platform":null,"#,
                r#""Ports":"443/tcp, 0.0.0.0:8080-\u003e80/tcp, [::]:8080-\u003e80/tcp","#,
                r#""RunningFor":"2 hours ago","Size":"12.3kB (virtual 7.65MB)","#,
                r#""State":"running","Status":"Up 3 minutes"}"#,
                "\n"
            )
        );
        let quiet = ListFlags {
            quiet: true,
            no_trunc: true,
            ..ListFlags::default()
        };
        assert_eq!(ps(quiet, false), "c".repeat(64) + "\n");
        let names = ListFlags {
            format: "{{.Names}}|{{.Label \"a\"}}",
            no_trunc: true,
            ..quiet
        };
        assert_eq!(
            ps(
                ListFlags {
                    quiet: false,
                    ..names
                },
                false
            ),
            "y/alias,x|1\n"
        );
        assert!(ps(ListFlags::default(), true).contains("NAMES     SIZE\n"));
        let raw = ps(
            ListFlags {
                format: "raw",
                ..ListFlags::default()
            },
            false,
        );
        assert!(
            raw.contains("\nstate: running\nstatus: Up 3 minutes\nnames: x\n"),
            "{raw}"
        );
    }

    #[test]
    fn a_format_is_checked_before_listing() {
        for (format, expected) in [
            ("table {{.ID}}", Ok(false)),
            ("{{.Size}}", Ok(true)),
            ("{{if .Names}}{{.Size}}{{end}}", Ok(false)),
            ("json", Ok(false)),
            ("{{json .}}", Ok(true)),
            (
                "{{.Bad",
                Err("failed to parse template: template: :1: unclosed action"),
            ),
            (
                "{{.Nope}}",
                Err(
                    "failed to execute template: template: :1:2: executing \"\" at <.Nope>: can't \
                     evaluate field Nope in type *formatter.ContainerContext",
                ),
            ),
        ] {
            assert_eq!(
                format_uses_size(format),
                expected.map_err(str::to_owned),
                "{format}"
            );
        }
    }

    #[test]
    fn status_is_told_in_dockers_words() {
        let clock = Clock::utc(10_000 * 1_000_000_000);
        let at = |seconds: i64| Some((10_000 - seconds) * 1_000_000_000);
        let parts = |status, started, finished| StatusParts {
            status,
            exit_code: Some(137),
            started_ns: started,
            finished_ns: finished,
            health: None,
        };
        let running = parts(Status::Running, at(180), None);
        for (parts, expected) in [
            (parts(Status::Created, None, None), "Created"),
            (running, "Up 3 minutes"),
            (
                StatusParts {
                    health: Some("healthy"),
                    ..running
                },
                "Up 3 minutes (healthy)",
            ),
            (
                StatusParts {
                    health: Some("starting"),
                    ..running
                },
                "Up 3 minutes (health: starting)",
            ),
            (parts(Status::Paused, at(5), None), "Up 5 seconds (Paused)"),
            (
                parts(Status::Restarting, at(9), at(3)),
                "Restarting (137) 3 seconds ago",
            ),
            (
                parts(Status::Exited, at(9000), at(7200)),
                "Exited (137) 2 hours ago",
            ),
            (parts(Status::Exited, None, None), "Created"),
            (
                StatusParts {
                    exit_code: None,
                    ..parts(Status::Exited, at(9), at(0))
                },
                "Exited (unknown) Less than a second ago",
            ),
            (parts(Status::Removing, None, None), "Removal In Progress"),
            (parts(Status::Dead, None, None), "Dead"),
        ] {
            assert_eq!(status_text(parts, &clock), expected);
        }
    }
}
