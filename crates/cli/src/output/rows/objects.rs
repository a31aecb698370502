//! Lists with few columns: history, diff, search, volumes, networks, build cache, contexts, top.

use std::collections::BTreeMap;

use types::units::{human_size, human_size_with_precision};

use super::super::table::{FormatError, Layout, Row, Titles, align, render};
use super::super::template::{Value, escape_control};
use super::super::text::{ellipsis, short_id};
use super::containers::ListFlags;
use super::{Clock, labels_text};

fn text(text: impl AsRef<str>) -> Value {
    Value::string(text.as_ref())
}

fn layout<'a>(format: &'a str, titles: &'a Titles, flags: ListFlags<'_>) -> Layout<'a> {
    Layout {
        format,
        titles,
        escape_control: flags.escape_control,
    }
}

/// The default for an empty format or `table`, ids alone for `-q`.
fn pick<'a>(flags: ListFlags<'a>, table: &'a str, quiet: &'a str) -> &'a str {
    match flags.format {
        "" | "table" if flags.quiet => quiet,
        "" | "table" => table,
        custom => custom,
    }
}

/// A step of an image's history.
#[derive(Clone, Debug, Default)]
pub(crate) struct HistoryRow {
    /// The image's id, or `<missing>`.
    pub(crate) id: String,
    /// Seconds since 1970.
    pub(crate) created_s: i64,
    /// What made it.
    pub(crate) created_by: String,
    /// Bytes it added.
    pub(crate) size_bytes: i64,
    /// Its comment.
    pub(crate) comment: String,
}

/// Images from before 2000 have no believable date.
const YEAR_2000_S: i64 = 946_684_800;
/// Width of CREATED BY and of a search's DESCRIPTION.
const DESCRIPTION_COLUMNS: usize = 45;

/// The text of `history`; `human` is `--human`.
pub(crate) fn history(
    rows: &[HistoryRow],
    flags: ListFlags<'_>,
    human: bool,
    clock: &Clock,
) -> Result<String, FormatError> {
    const TITLES: &Titles = &[
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ];
    const MEMBERS: &[&str] = &[
        "Comment",
        "CreatedAt",
        "CreatedBy",
        "CreatedSince",
        "ID",
        "Size",
    ];
    let table = if human {
        "table {{.ID}}\\t{{.CreatedSince}}\\t{{.CreatedBy}}\\t{{.Size}}\\t{{.Comment}}"
    } else {
        "table {{.ID}}\\t{{.CreatedAt}}\\t{{.CreatedBy}}\\t{{.Size}}\\t{{.Comment}}"
    };
    let rows = rows.iter().map(|step| {
        let created_at = clock.rfc3339(step.created_s);
        let since = match (human, step.created_s) {
            (false, _) => created_at.clone(),
            (true, ..=YEAR_2000_S) => "N/A".to_owned(),
            (true, created) => clock.ago(created),
        };
        let created_by = step.created_by.replace('\t', " ");
        let size = if human {
            human_size_with_precision(step.size_bytes as f64, 3)
        } else {
            step.size_bytes.to_string()
        };
        let (id, created_by) = if flags.no_trunc {
            (step.id.as_str(), created_by)
        } else {
            (
                short_id(&step.id),
                ellipsis(&created_by, DESCRIPTION_COLUMNS),
            )
        };
        let values = vec![
            text(&step.comment),
            text(created_at),
            text(created_by),
            text(since),
            text(id),
            text(size),
        ];
        Row::new("*image.historyContext", MEMBERS, values)
    });
    render(layout(pick(flags, table, "{{.ID}}"), TITLES, flags), rows)
}

/// What `diff` prints: `A`, `C` or `D` and the path, a line each.
pub(crate) fn diff(
    changes: &[(char, String)],
    flags: ListFlags<'_>,
) -> Result<String, FormatError> {
    const TITLES: &Titles = &[("Type", "CHANGE TYPE"), ("Path", "PATH")];
    let rows = changes.iter().map(|(kind, path)| {
        Row::new(
            "*container.diffContext",
            &["Path", "Type"],
            vec![text(path), text(kind.to_string())],
        )
    });
    let format = if flags.format.is_empty() {
        "{{.Type}} {{.Path}}"
    } else {
        flags.format
    };
    render(layout(format, TITLES, flags), rows)
}

/// A repository that a search found.
#[derive(Clone, Debug, Default)]
pub(crate) struct SearchRow {
    /// Its name.
    pub(crate) name: String,
    /// Its description.
    pub(crate) description: String,
    /// How many like it.
    pub(crate) stars: i64,
    /// Kept by the registry itself.
    pub(crate) is_official: bool,
}

/// The text of `search`.
pub(crate) fn search(rows: &[SearchRow], flags: ListFlags<'_>) -> Result<String, FormatError> {
    const TITLES: &Titles = &[
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("StarCount", "STARS"),
        ("IsOfficial", "OFFICIAL"),
    ];
    const TABLE: &str = "table {{.Name}}\\t{{.Description}}\\t{{.StarCount}}\\t{{.IsOfficial}}";
    const MEMBERS: &[&str] = &["Description", "IsOfficial", "Name", "StarCount"];
    let rows = rows.iter().map(|found| {
        let description = found.description.replace(['\n', '\r'], " ");
        let description = if flags.no_trunc {
            description
        } else {
            ellipsis(&description, DESCRIPTION_COLUMNS)
        };
        let official = if found.is_official { "[OK]" } else { "" };
        let values = vec![
            text(description),
            text(official),
            text(&found.name),
            text(found.stars.to_string()),
        ];
        let mut row = Row::new("*registry.searchContext", MEMBERS, values);
        row.in_json = vec![("IsOfficial", text(found.is_official.to_string()))];
        row
    });
    render(layout(pick(flags, TABLE, TABLE), TITLES, flags), rows)
}

/// A volume in a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct VolumeRow {
    /// Its name.
    pub(crate) name: String,
    /// Its driver.
    pub(crate) driver: String,
    /// `local` or `global`.
    pub(crate) scope: String,
    /// Where it lies on the host.
    pub(crate) mountpoint: String,
    /// Labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Containers that use it and its bytes (-1 unknown), where counted.
    pub(crate) usage: Option<(i64, i64)>,
}

pub(super) const VOLUME_TITLES: &Titles = &[
    ("ID", "ID"),
    ("Name", "VOLUME NAME"),
    ("Group", "GROUP"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("Availability", "AVAILABILITY"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Size", "SIZE"),
    ("Status", "STATUS"),
];

/// The text of `volume ls`.
pub(crate) fn volumes(rows: &[VolumeRow], flags: ListFlags<'_>) -> Result<String, FormatError> {
    let format = match flags.format {
        "raw" if flags.quiet => "name: {{.Name}}",
        "raw" => "name: {{.Name}}\\ndriver: {{.Driver}}\\n",
        _ => pick(flags, "table {{.Driver}}\\t{{.Name}}", "{{.Name}}"),
    };
    render(
        layout(format, VOLUME_TITLES, flags),
        rows.iter().map(volume_row),
    )
}

pub(super) fn volume_row(volume: &VolumeRow) -> Row {
    const MEMBERS: &[&str] = &[
        "Availability",
        "Driver",
        "Group",
        "Labels",
        "Links",
        "Mountpoint",
        "Name",
        "Scope",
        "Size",
        "Status",
    ];
    let (links, size) = match volume.usage {
        None => ("N/A".to_owned(), "N/A".to_owned()),
        Some((links, size)) => (links.to_string(), human_size(size as f64)),
    };
    let values = vec![
        text("N/A"),
        text(&volume.driver),
        text("N/A"),
        text(labels_text(&volume.labels)),
        text(links),
        text(&volume.mountpoint),
        text(&volume.name),
        text(&volume.scope),
        text(size),
        text("N/A"),
    ];
    let mut row = Row::new("*formatter.volumeContext", MEMBERS, values);
    row.labels = Some(volume.labels.clone());
    row
}

/// A network in a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct NetworkRow {
    /// Its id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// Its driver.
    pub(crate) driver: String,
    /// `local` or `global`.
    pub(crate) scope: String,
    /// It has IPv4.
    pub(crate) ipv4: bool,
    /// It has IPv6.
    pub(crate) ipv6: bool,
    /// It has no way out.
    pub(crate) is_internal: bool,
    /// Labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Seconds since 1970.
    pub(crate) created_s: i64,
}

/// The text of `network ls`.
pub(crate) fn networks(
    rows: &[NetworkRow],
    flags: ListFlags<'_>,
    clock: &Clock,
) -> Result<String, FormatError> {
    const TITLES: &Titles = &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ];
    const MEMBERS: &[&str] = &[
        "CreatedAt",
        "Driver",
        "ID",
        "IPv4",
        "IPv6",
        "Internal",
        "Labels",
        "Name",
        "Scope",
    ];
    let format = match flags.format {
        "raw" if flags.quiet => "network_id: {{.ID}}",
        "raw" => {
            "network_id: {{.ID}}\\nname: {{.Name}}\\ndriver: {{.Driver}}\\nscope: {{.Scope}}\\n"
        }
        _ => pick(
            flags,
            "table {{.ID}}\\t{{.Name}}\\t{{.Driver}}\\t{{.Scope}}",
            "{{.ID}}",
        ),
    };
    let rows = rows.iter().map(|network| {
        let id = if flags.no_trunc {
            &network.id
        } else {
            short_id(&network.id)
        };
        let values = vec![
            text(clock.go_time(network.created_s)),
            text(&network.driver),
            text(id),
            text(network.ipv4.to_string()),
            text(network.ipv6.to_string()),
            text(network.is_internal.to_string()),
            text(labels_text(&network.labels)),
            text(&network.name),
            text(&network.scope),
        ];
        let mut row = Row::new("*network.networkContext", MEMBERS, values);
        row.labels = Some(network.labels.clone());
        row
    });
    render(layout(format, TITLES, flags), rows)
}

/// The text of `top`: titles and processes in columns of at least twenty.
pub(crate) fn top(titles: &[String], processes: &[Vec<String>], to_terminal: bool) -> String {
    let mut out = titles.join("\t") + "\n";
    for process in processes {
        out.push_str(&process.join("\t"));
        out.push('\n');
    }
    let aligned = align(&out, 20, 3);
    if to_terminal {
        escape_control(&aligned).into_owned()
    } else {
        aligned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(format: &str) -> ListFlags<'_> {
        ListFlags {
            format,
            ..ListFlags::default()
        }
    }

    // Compared with the Docker command line 28.2.2.
    #[test]
    fn lists_print_as_dockers() {
        let step = HistoryRow {
            id: "sha256:".to_owned() + &"a".repeat(64),
            created_s: 1_704_067_200,
            created_by: "RUN /bin/sh -c apt-get update\t&& apt-get install everything".to_owned(),
            size_bytes: 1,
            comment: "buildkit".to_owned(),
        };
        let clock = Clock::utc((1_704_067_200 + 7200) * 1_000_000_000);
        let steps = [
            step.clone(),
            HistoryRow {
                id: "<missing>".to_owned(),
                created_s: 0,
                ..step
            },
        ];
        assert_eq!(
            history(&steps, flags(""), true, &clock).unwrap(),
            "IMAGE          CREATED       CREATED BY                                      SIZE      COMMENT\n\
             aaaaaaaaaaaa   2 hours ago   RUN /bin/sh -c apt-get update && apt-get ins…   1B        buildkit\n\
             <missing>      N/A           RUN /bin/sh -c apt-get update && apt-get ins…   1B        buildkit\n"
        );
        assert_eq!(
            history(
                &steps[..1],
                flags("{{.CreatedSince}} {{.Size}}"),
                false,
                &clock
            )
            .unwrap(),
            "2024-01-01T00:00:00Z 1\n"
        );
        let changes = [('C', "/etc".to_owned()), ('A', "/etc/x".to_owned())];
        assert_eq!(diff(&changes, flags("")).unwrap(), "C /etc\nA /etc/x\n");
        let found = [SearchRow {
            name: "nginx".to_owned(),
            description: "Official build\nof Nginx.".to_owned(),
            stars: 5,
            is_official: true,
        }];
        assert_eq!(
            search(&found, flags("")).unwrap(),
            "NAME      DESCRIPTION                STARS     OFFICIAL\n\
             nginx     Official build of Nginx.   5         [OK]\n"
        );
        assert_eq!(
            search(&found, flags("json")).unwrap(),
            "{\"Description\":\"Official build of Nginx.\",\"IsOfficial\":\"true\",\"Name\":\
             \"nginx\",\"StarCount\":\"5\"}\n"
        );
    }

    #[test]
    fn short_lists_print_as_dockers() {
        let volume = VolumeRow {
            name: "v".to_owned(),
            driver: "local".to_owned(),
            ..VolumeRow::default()
        };
        assert_eq!(
            volumes(&[volume], flags("")).unwrap(),
            "DRIVER    VOLUME NAME\nlocal     v\n"
        );
        assert_eq!(
            networks(&[], flags("table"), &Clock::utc(0)).unwrap(),
            "NETWORK ID   NAME      DRIVER    SCOPE\n"
        );
        let titles = ["UID", "PID", "CMD"].map(str::to_owned);
        let process = ["root", "1", "sleep 1"].map(str::to_owned).to_vec();
        assert_eq!(
            top(&titles, &[process], false),
            "UID                 PID                 CMD\nroot                1                   sleep 1\n"
        );
    }
}
