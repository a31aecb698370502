//! `system df`.

use std::rc::Rc;

use types::units::{human_size, human_size_with_precision};

use super::super::table::{FormatError, Layout, Row, Titles, render, template_text};
use super::super::template::{
    ANY_LIST, Field, GoType, Options, StructType, StructValue, Template, Value,
};
use super::super::text::short_id;
use super::Clock;
use super::containers::{self, ContainerRow, ListFlags};
use super::images::{self, ImageRow};
use super::objects::{VOLUME_TITLES, VolumeRow, volume_row};

const TABLE: &str =
    "table {{.Type}}\\t{{.TotalCount}}\\t{{.Active}}\\t{{.Size}}\\t{{.Reclaimable}}";
const RAW: &str = "type: {{.Type}}
total: {{.TotalCount}}
active: {{.Active}}
size: {{.Size}}
reclaimable: {{.Reclaimable}}
";
const TITLES: &Titles = &[
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];
const IMAGES_TABLE: &str = "table {{.Repository}}\\t{{.Tag}}\\t{{.ID}}\\t{{.CreatedSince}}\\t\
                            {{.Size}}\\t{{.SharedSize}}\\t{{.UniqueSize}}\\t{{.Containers}}";
const CONTAINERS_TABLE: &str = "table {{.ID}}\\t{{.Image}}\\t{{.Command}}\\t{{.LocalVolumes}}\\t\
                                {{.Size}}\\t{{.RunningFor}}\\t{{.Status}}\\t{{.Names}}";
const VOLUMES_TABLE: &str = "table {{.Name}}\\t{{.Links}}\\t{{.Size}}";
const CACHE_TABLE: &str = "table {{.ID}}\\t{{.CacheType}}\\t{{.Size}}\\t{{.CreatedSince}}\\t\
                           {{.LastUsedSince}}\\t{{.UsageCount}}\\t{{.Shared}}";
const CACHE_TITLES: &Titles = &[
    ("ID", "CACHE ID"),
    ("Parent", "PARENT"),
    ("CacheType", "CACHE TYPE"),
    ("Size", "SIZE"),
    ("CreatedSince", "CREATED"),
    ("LastUsedSince", "LAST USED"),
    ("UsageCount", "USAGE"),
    ("InUse", "IN USE"),
    ("Shared", "SHARED"),
    ("Description", "DESCRIPTION"),
];

/// What a template sees with `-v`.
static LISTS: StructType = StructType {
    name: "formatter.diskUsageContext",
    fields: &[
        list_of("Images"),
        list_of("Containers"),
        list_of("Volumes"),
        list_of("BuildCache"),
    ],
};
static LISTS_TYPE: GoType = GoType::Struct(&LISTS);

const fn list_of(name: &'static str) -> Field {
    Field {
        name,
        json: name,
        ty: &ANY_LIST,
        omit_empty: false,
        embedded: false,
    }
}

/// What takes room.
#[derive(Clone, Debug, Default)]
pub(crate) struct DiskUsage {
    /// Bytes of all layers, each counted once.
    pub(crate) layers_bytes: i64,
    /// Images, with shared sizes and containers counted.
    pub(crate) images: Vec<ImageRow>,
    /// Containers, with sizes.
    pub(crate) containers: Vec<ContainerRow>,
    /// Volumes, with usage.
    pub(crate) volumes: Vec<VolumeRow>,
    /// Records of the build cache.
    pub(crate) build_cache: Vec<CacheRow>,
    /// What was removed and can come back.
    pub(crate) kept: Vec<KeptRow>,
}

/// Something that was removed and can come back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeptRow {
    /// A volume, else a container or a network.
    pub(crate) is_volume: bool,
    /// Its bytes.
    pub(crate) size_bytes: i64,
}

impl DiskUsage {
    /// Bytes of volumes, or of everything else, that could come back: nobody needs them.
    fn kept_bytes(&self, is_volume: bool) -> i64 {
        let kept = self.kept.iter().filter(|kept| kept.is_volume == is_volume);
        kept.map(|kept| kept.size_bytes).sum()
    }
}

/// A record of the build cache.
#[derive(Clone, Debug, Default)]
pub(crate) struct CacheRow {
    /// Its id.
    pub(crate) id: String,
    /// The records it is built on.
    pub(crate) parents: Vec<String>,
    /// `regular`, `source.local` …
    pub(crate) kind: String,
    /// What it is.
    pub(crate) description: String,
    /// Used by a build now.
    pub(crate) in_use: bool,
    /// Shared with an image.
    pub(crate) is_shared: bool,
    /// Its bytes.
    pub(crate) size_bytes: i64,
    /// Seconds since 1970.
    pub(crate) created_s: i64,
    /// Seconds since 1970, if ever used.
    pub(crate) last_used_s: Option<i64>,
    /// How often it was used.
    pub(crate) usage_count: i64,
}

/// The text of `system df`; `verbose` is `-v`.
pub(crate) fn disk_usage(
    usage: &DiskUsage,
    flags: ListFlags<'_>,
    verbose: bool,
    clock: &Clock,
) -> Result<String, FormatError> {
    match (verbose, flags.format) {
        (true, "" | "table") => tables(usage, flags, clock),
        (true, format) => template(usage, flags, format, clock),
        (false, format) => {
            let format = match format {
                "" | "table" => TABLE,
                "raw" => RAW,
                custom => custom,
            };
            let layout = Layout {
                format,
                titles: TITLES,
                escape_control: flags.escape_control,
            };
            render(layout, summary(usage))
        }
    }
}

fn summary(usage: &DiskUsage) -> Vec<Row> {
    vec![
        images_sum(usage),
        containers_sum(usage),
        volumes_sum(usage),
        cache_sum(usage),
    ]
}

/// One line of the summary.
struct Sum {
    kind: &'static str,
    type_name: &'static str,
    total: usize,
    active: usize,
    size_bytes: i64,
    reclaimable: String,
}

impl Sum {
    fn row(self) -> Row {
        const MEMBERS: &[&str] = &["Active", "Reclaimable", "Size", "TotalCount", "Type"];
        let values = [
            self.active.to_string(),
            self.reclaimable,
            human_size(self.size_bytes as f64),
            self.total.to_string(),
            self.kind.to_owned(),
        ];
        Row::new(self.type_name, MEMBERS, values.map(Value::string).to_vec())
    }
}

fn images_sum(usage: &DiskUsage) -> Row {
    let images = &usage.images;
    let kept: i64 = images
        .iter()
        .filter(|image| image.containers != 0)
        .filter(|image| image.size_bytes != -1 && image.shared_size_bytes != -1)
        .map(|image| image.size_bytes - image.shared_size_bytes)
        .sum();
    Sum {
        kind: "Images",
        type_name: "*formatter.diskUsageImagesContext",
        total: images.len(),
        active: images.iter().filter(|image| image.containers > 0).count(),
        size_bytes: usage.layers_bytes,
        reclaimable: reclaimable(usage.layers_bytes - kept, usage.layers_bytes),
    }
    .row()
}

fn containers_sum(usage: &DiskUsage) -> Row {
    let containers = &usage.containers;
    let active: Vec<&ContainerRow> = containers
        .iter()
        .filter(|container| {
            matches!(
                container.state.as_str(),
                "running" | "paused" | "restarting"
            )
        })
        .collect();
    let written: i64 = containers.iter().map(|container| container.size_rw).sum();
    let written = written + usage.kept_bytes(false);
    let in_use: i64 = active.iter().map(|container| container.size_rw).sum();
    Sum {
        kind: "Containers",
        type_name: "*formatter.diskUsageContainersContext",
        total: containers.len(),
        active: active.len(),
        size_bytes: written,
        reclaimable: reclaimable(written - in_use, written),
    }
    .row()
}

fn volumes_sum(usage: &DiskUsage) -> Row {
    let volumes = || usage.volumes.iter().filter_map(|volume| volume.usage);
    let sized = || volumes().filter(|(_, size)| *size != -1);
    let total_bytes: i64 = sized().map(|(_, size)| size).sum();
    let unused_bytes: i64 = sized()
        .filter(|(links, _)| *links == 0)
        .map(|(_, size)| size)
        .sum();
    let kept = usage.kept_bytes(true);
    let (total_bytes, unused_bytes) = (total_bytes + kept, unused_bytes + kept);
    Sum {
        kind: "Local Volumes",
        type_name: "*formatter.diskUsageVolumesContext",
        total: usage.volumes.len(),
        active: volumes().filter(|(links, _)| *links > 0).count(),
        size_bytes: total_bytes,
        reclaimable: reclaimable(unused_bytes, total_bytes),
    }
    .row()
}

fn cache_sum(usage: &DiskUsage) -> Row {
    let cache = &usage.build_cache;
    let in_use: i64 = cache
        .iter()
        .filter(|record| record.in_use && !record.is_shared)
        .map(|record| record.size_bytes)
        .sum();
    let size_bytes = cache_size(usage);
    Sum {
        kind: "Build Cache",
        type_name: "*formatter.diskUsageBuilderContext",
        total: cache.len(),
        active: cache.iter().filter(|record| record.in_use).count(),
        size_bytes,
        reclaimable: human_size((size_bytes - in_use) as f64),
    }
    .row()
}

/// Bytes of the cache that are no image's too.
fn cache_size(usage: &DiskUsage) -> i64 {
    let own = usage.build_cache.iter().filter(|record| !record.is_shared);
    own.map(|record| record.size_bytes).sum()
}

fn reclaimable(free: i64, total: i64) -> String {
    let size = human_size(free as f64);
    if total > 0 {
        format!("{size} ({}%)", free * 100 / total)
    } else {
        size
    }
}

fn container_row(container: &ContainerRow, truncate: bool, clock: &Clock) -> Row {
    // The size of the image below is the image's matter here.
    let own = ContainerRow {
        size_root_fs: 0,
        ..container.clone()
    };
    containers::row(&own, truncate, clock)
}

fn tables(usage: &DiskUsage, flags: ListFlags<'_>, clock: &Clock) -> Result<String, FormatError> {
    let layout = |format, titles| Layout {
        format,
        titles,
        escape_control: flags.escape_control,
    };
    let images = usage
        .images
        .iter()
        .map(|image| images::row(image, &images::first_name(image), true, clock));
    let containers = usage
        .containers
        .iter()
        .map(|container| container_row(container, true, clock));
    let cache = sorted_cache(usage)
        .into_iter()
        .map(|record| cache_row(record, true, clock));
    let images = render(layout(IMAGES_TABLE, images::TITLES), images)?;
    let containers = render(layout(CONTAINERS_TABLE, containers::TITLES), containers)?;
    let volumes = render(
        layout(VOLUMES_TABLE, VOLUME_TITLES),
        usage.volumes.iter().map(volume_row),
    )?;
    let cache = render(layout(CACHE_TABLE, CACHE_TITLES), cache)?;
    let cache_size = human_size(cache_size(usage) as f64);
    let kept = kept_line(usage);
    Ok(format!(
        "Images space usage:\n\n{images}\nContainers space usage:\n\n{containers}\nLocal Volumes \
         space usage:\n\n{volumes}\nBuild cache usage: {cache_size}\n\n{cache}{kept}"
    ))
}

fn kept_line(usage: &DiskUsage) -> String {
    let bytes = usage.kept_bytes(true) + usage.kept_bytes(false);
    match usage.kept.len() {
        0 => String::new(),
        count => format!(
            "\nRemoved, and kept for `caisson undo`: {count}, {}\n",
            human_size(bytes as f64)
        ),
    }
}

/// `-v` with a template: it sees four lists of rows at once.
fn template(
    usage: &DiskUsage,
    flags: ListFlags<'_>,
    format: &str,
    clock: &Clock,
) -> Result<String, FormatError> {
    let text = template_text(format);
    let list = |rows: Vec<Value>| Value::List(&ANY_LIST, Some(rows.into()));
    let images = usage
        .images
        .iter()
        .map(|image| images::row(image, &images::first_name(image), false, clock));
    let containers = usage
        .containers
        .iter()
        .map(|container| container_row(container, false, clock));
    let cache = sorted_cache(usage)
        .into_iter()
        .map(|record| cache_row(record, false, clock));
    let fields = vec![
        list(images.map(Value::object).collect()),
        list(containers.map(Value::object).collect()),
        list(
            usage
                .volumes
                .iter()
                .map(volume_row)
                .map(Value::object)
                .collect(),
        ),
        list(cache.map(Value::object).collect()),
    ];
    let lists = Value::Struct(Rc::new(StructValue { ty: &LISTS, fields }));
    let data = Value::Ptr(&LISTS_TYPE, Some(Rc::new(lists)));
    let options = Options {
        escape_control: flags.escape_control,
        ..Options::default()
    };
    let template = Template::parse(&text).map_err(FormatError::Parse)?;
    template
        .execute(&data, options)
        .map_err(FormatError::ExecutePlain)
}

fn sorted_cache(usage: &DiskUsage) -> Vec<&CacheRow> {
    let mut records: Vec<&CacheRow> = usage.build_cache.iter().collect();
    records.sort_by(|a, b| (a.last_used_s, &a.id).cmp(&(b.last_used_s, &b.id)));
    records
}

fn cache_row(record: &CacheRow, truncate: bool, clock: &Clock) -> Row {
    const MEMBERS: &[&str] = &[
        "CacheType",
        "CreatedAt",
        "CreatedSince",
        "Description",
        "ID",
        "InUse",
        "LastUsedAt",
        "LastUsedSince",
        "Parent",
        "Shared",
        "Size",
        "UsageCount",
    ];
    let cut = |id: &str| {
        if truncate {
            short_id(id).to_owned()
        } else {
            id.to_owned()
        }
    };
    let mark = if record.in_use { "*" } else { "" };
    let values = [
        record.kind.clone(),
        clock.go_time(record.created_s),
        clock.ago(record.created_s),
        record.description.clone(),
        cut(&record.id) + mark,
        record.in_use.to_string(),
        record
            .last_used_s
            .map_or_else(String::new, |used| clock.go_time(used)),
        record
            .last_used_s
            .map_or_else(String::new, |used| clock.ago(used)),
        cut(&record.parents.join(", ")),
        record.is_shared.to_string(),
        human_size_with_precision(record.size_bytes as f64, 3),
        record.usage_count.to_string(),
    ];
    Row::new(
        "*formatter.buildCacheContext",
        MEMBERS,
        values.map(Value::string).to_vec(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage() -> DiskUsage {
        let image = |containers| ImageRow {
            id: "sha256:".to_owned() + &"a".repeat(64),
            repo_tags: vec!["nginx:latest".to_owned()],
            size_bytes: 1_000_000,
            shared_size_bytes: 0,
            containers,
            ..ImageRow::default()
        };
        let container = |state: &str| ContainerRow {
            id: "c".repeat(64),
            names: vec!["x".to_owned()],
            image: "nginx".to_owned(),
            command: "sh".to_owned(),
            state: state.to_owned(),
            status: "Up 3 minutes".to_owned(),
            size_rw: 500,
            size_root_fs: 1000,
            ..ContainerRow::default()
        };
        DiskUsage {
            layers_bytes: 2_000_000,
            images: vec![image(1), image(0)],
            containers: vec![container("running"), container("exited")],
            volumes: vec![VolumeRow {
                name: "v".to_owned(),
                usage: Some((0, 42)),
                ..VolumeRow::default()
            }],
            build_cache: vec![CacheRow {
                id: "abcdefghijklmnop".to_owned(),
                kind: "regular".to_owned(),
                in_use: true,
                size_bytes: 1234,
                usage_count: 3,
                ..CacheRow::default()
            }],
            kept: Vec::new(),
        }
    }

    // Compared with `docker system df` 28.2.2.
    #[test]
    fn sums_print_as_docker_system_df() {
        let clock = Clock::utc(7200 * 1_000_000_000);
        let text = |format, verbose| {
            let flags = ListFlags {
                format,
                ..ListFlags::default()
            };
            disk_usage(&usage(), flags, verbose, &clock).unwrap()
        };
        assert_eq!(
            text("", false),
            "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n\
             Images          2         1         2MB       1MB (50%)\n\
             Containers      2         1         1kB       500B (50%)\n\
             Local Volumes   1         0         42B       42B (100%)\n\
             Build Cache     1         1         1.234kB   0B\n"
        );
        assert_eq!(
            text("json", false).lines().next(),
            Some(
                r#"{"Active":"1","Reclaimable":"1MB (50%)","Size":"2MB","TotalCount":"2","Type":"Images"}"#
            )
        );
        let verbose = text("", true);
        assert!(
            verbose.starts_with(
                "Images space usage:\n\n\
                 REPOSITORY   TAG       IMAGE ID       CREATED       SIZE      SHARED SIZE   UNIQUE SIZE   CONTAINERS\n\
                 nginx        latest    aaaaaaaaaaaa   2 hours ago   1MB       0B            1MB           1\n"
            ),
            "{verbose}"
        );
        assert!(
            verbose.ends_with(
                "\nLocal Volumes space usage:\n\nVOLUME NAME   LINKS     SIZE\n\
                 v             0         42B\n\nBuild cache usage: 1.234kB\n\n\
                 CACHE ID        CACHE TYPE   SIZE      CREATED       LAST USED   USAGE     SHARED\n\
                 abcdefghijkl*   regular      1.23kB    2 hours ago               3         false\n"
            ),
            "{verbose}"
        );
        let mut with_kept = usage();
        with_kept.kept = vec![
            KeptRow {
                is_volume: true,
                size_bytes: 58,
            },
            KeptRow {
                is_volume: false,
                size_bytes: 1000,
            },
        ];
        let table = disk_usage(&with_kept, ListFlags::default(), false, &clock).unwrap();
        assert!(table.contains("2kB       1.5kB (75%)"), "{table}");
        assert!(table.contains("100B      100B (100%)"), "{table}");
        let table = disk_usage(&with_kept, ListFlags::default(), true, &clock).unwrap();
        assert!(table.ends_with("`caisson undo`: 2, 1.058kB\n"), "{table}");
        assert_eq!(text("{{range .Volumes}}{{.Name}}{{end}}", true), "v");
        let json = text("json", true);
        assert!(
            json.starts_with(r#"{"Images":[{"Containers":"1","CreatedAt":"1970-"#),
            "{json}"
        );
        assert!(
            json.ends_with(r#""Size":"1.23kB","UsageCount":"3"}]}"#),
            "{json}"
        );
        let flags = ListFlags {
            format: "{{.Nope}}",
            ..ListFlags::default()
        };
        assert_eq!(
            disk_usage(&usage(), flags, true, &clock)
                .unwrap_err()
                .to_string(),
            "template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type \
             *formatter.diskUsageContext"
        );
    }
}
