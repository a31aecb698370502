//! `images`: one row a tag (or digest) of an image.

use types::reference::Reference;
use types::units::{human_size, human_size_with_precision};

use super::super::table::{FormatError, Layout, Titles, is_table, render};
use super::super::template::{Context, Value};
use super::super::text::short_id;
use super::Clock;
use super::containers::ListFlags;

const TABLE: &str = "table {{.Repository}}\\t{{.Tag}}\\t{{.ID}}\\t{{if .CreatedSince }}\
                     {{.CreatedSince}}{{else}}N/A{{end}}\\t{{.Size}}";
const TABLE_WITH_DIGEST: &str = "table {{.Repository}}\\t{{.Tag}}\\t{{.Digest}}\\t{{.ID}}\\t\
                                 {{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\\t\
                                 {{.Size}}";

pub(super) const TITLES: &Titles = &[
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];

const MEMBERS: &[&str] = &[
    "Containers",
    "CreatedAt",
    "CreatedSince",
    "Digest",
    "ID",
    "Repository",
    "SharedSize",
    "Size",
    "Tag",
    "UniqueSize",
    "VirtualSize",
];

const NONE: &str = "<none>";
/// Seconds of Go's zero time, which shows as no date.
const ZERO_TIME_S: i64 = -62_135_596_800;

/// An image in a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct ImageRow {
    /// The image's id, `sha256:…`.
    pub(crate) id: String,
    /// Names with tags.
    pub(crate) repo_tags: Vec<String>,
    /// Names with digests.
    pub(crate) repo_digests: Vec<String>,
    /// Seconds since 1970.
    pub(crate) created_s: i64,
    /// Bytes of its layers.
    pub(crate) size_bytes: i64,
    /// Bytes it shares with other images; -1 when not counted.
    pub(crate) shared_size_bytes: i64,
    /// How many containers use it; -1 when not counted.
    pub(crate) containers: i64,
}

/// The text of `images`; `digests` is `--digests`.
pub(crate) fn list(
    rows: &[ImageRow],
    flags: ListFlags<'_>,
    digests: bool,
    clock: &Clock,
) -> Result<String, FormatError> {
    let format = format(flags.format, flags.quiet, digests);
    let show_digests = digests || format.contains("{{.Digest}}");
    let layout = Layout {
        format: &format,
        titles: TITLES,
        escape_control: flags.escape_control,
    };
    let all = rows.iter().flat_map(|image| {
        names(image, show_digests, digests)
            .into_iter()
            .map(|name| row(image, &name, !flags.no_trunc, clock))
    });
    render(layout, all)
}

/// The format that flags ask for.
pub(super) fn format(source: &str, quiet: bool, digests: bool) -> String {
    match source {
        "" | "table" if quiet => "{{.ID}}".to_owned(),
        "" | "table" => if digests { TABLE_WITH_DIGEST } else { TABLE }.to_owned(),
        "raw" if quiet => "image_id: {{.ID}}".to_owned(),
        "raw" => {
            let digest = if digests { "digest: {{.Digest}}\n" } else { "" };
            format!(
                "repository: {{{{ .Repository }}}}\ntag: {{{{.Tag}}}}\n{digest}image_id: \
                 {{{{.ID}}}}\ncreated_at: {{{{.CreatedAt}}}}\nvirtual_size: {{{{.Size}}}}\n"
            )
        }
        custom if is_table(custom) && digests && !custom.contains("{{.Digest}}") => {
            format!("{custom}\t{{{{.Digest}}}}")
        }
        custom => custom.to_owned(),
    }
}

/// One line's name of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) repository: String,
    pub(super) tag: String,
    pub(super) digest: String,
}

impl Name {
    pub(super) fn none() -> Self {
        Self {
            repository: NONE.to_owned(),
            tag: NONE.to_owned(),
            digest: NONE.to_owned(),
        }
    }
}

/// The lines of an image: each tag (with each digest of its repository when digests are shown),
/// then repositories that are known by digest only.
fn names(image: &ImageRow, show_digests: bool, row_per_digest: bool) -> Vec<Name> {
    let is_none = |texts: &[String], none| texts.is_empty() || texts == [none];
    if is_none(&image.repo_tags, "<none>:<none>".to_owned())
        && is_none(&image.repo_digests, "<none>@<none>".to_owned())
    {
        return vec![Name::none()];
    }
    let parse = |text: &String| Reference::parse_normalized(text).ok();
    let tags: Vec<(String, String)> = image
        .repo_tags
        .iter()
        .filter_map(parse)
        .filter_map(|name| Some((name.familiar_name(), name.tag()?.to_owned())))
        .collect();
    let digests: Vec<(String, String)> = image
        .repo_digests
        .iter()
        .filter_map(parse)
        .filter_map(|name| Some((name.familiar_name(), name.digest()?.to_string())))
        .collect();
    let mut names = Vec::new();
    for (repository, tag) in &tags {
        let mut own = digests
            .iter()
            .filter(|(other, _)| show_digests && other == repository)
            .peekable();
        let name = |digest: &str| Name {
            repository: repository.clone(),
            tag: tag.clone(),
            digest: digest.to_owned(),
        };
        if own.peek().is_none() {
            names.push(name(NONE));
        }
        names.extend(own.map(|(_, digest)| name(digest)));
    }
    let mut seen: Vec<&str> = tags
        .iter()
        .map(|(repository, _)| repository.as_str())
        .collect();
    for (repository, digest) in &digests {
        if tags.iter().any(|(other, _)| other == repository) {
            continue;
        }
        if row_per_digest || !seen.contains(&repository.as_str()) {
            names.push(Name {
                repository: repository.clone(),
                tag: NONE.to_owned(),
                digest: if row_per_digest {
                    digest.clone()
                } else {
                    String::new()
                },
            });
        }
        seen.push(repository);
    }
    names
}

/// A line as templates see it. Its texts are made when they are asked for: lists are long.
pub(super) struct ImageLine {
    image: ImageRow,
    name: Name,
    truncate: bool,
    clock: Clock,
}

/// An image as templates see it.
pub(super) fn row(image: &ImageRow, name: &Name, truncate: bool, clock: &Clock) -> ImageLine {
    ImageLine {
        image: ImageRow {
            id: image.id.clone(),
            repo_tags: Vec::new(),
            repo_digests: Vec::new(),
            ..*image
        },
        name: name.clone(),
        truncate,
        clock: clock.clone(),
    }
}

impl Context for ImageLine {
    fn type_name(&self) -> &'static str {
        "*formatter.imageContext"
    }

    fn members(&self) -> &'static [&'static str] {
        MEMBERS
    }

    fn get(&self, member: &str) -> Value {
        let image = &self.image;
        let counted = |count: i64, text: String| match count {
            -1 => "N/A".to_owned(),
            _ => text,
        };
        let size = image.size_bytes as f64;
        Value::string(match member {
            "Containers" => counted(image.containers, image.containers.to_string()),
            "CreatedAt" => self.clock.go_time(image.created_s),
            "CreatedSince" if image.created_s == ZERO_TIME_S => String::new(),
            "CreatedSince" => self.clock.ago(image.created_s),
            "Digest" => self.name.digest.clone(),
            "ID" if self.truncate => short_id(&image.id).to_owned(),
            "ID" => image.id.clone(),
            "Repository" => self.name.repository.clone(),
            "SharedSize" => counted(
                image.shared_size_bytes,
                human_size(image.shared_size_bytes as f64),
            ),
            "Size" => human_size_with_precision(size, 3),
            "Tag" => self.name.tag.clone(),
            "UniqueSize" => match (image.size_bytes, image.shared_size_bytes) {
                (-1, _) | (_, -1) => "N/A".to_owned(),
                (size, shared) => human_size((size - shared) as f64),
            },
            "VirtualSize" => human_size(size),
            _ => return Value::Invalid,
        })
    }
}

/// The name that stands for an image where only one is shown: its first tag.
pub(super) fn first_name(image: &ImageRow) -> Name {
    let first = image
        .repo_tags
        .first()
        .and_then(|text| Reference::parse_normalized(text).ok());
    match first
        .as_ref()
        .map(|name| (name.familiar_name(), name.tag()))
    {
        Some((repository, Some(tag))) => Name {
            repository,
            tag: tag.to_owned(),
            digest: String::new(),
        },
        _ => Name {
            digest: String::new(),
            ..Name::none()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(tags: &[&str], digests: &[&str]) -> ImageRow {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        ImageRow {
            id: "sha256:".to_owned() + &"a".repeat(64),
            repo_tags: own(tags),
            repo_digests: own(digests),
            created_s: 0,
            size_bytes: 7_654_321,
            shared_size_bytes: -1,
            containers: -1,
        }
    }

    fn images(format: &str, digests: bool) -> String {
        let digest = "sha256:".to_owned() + &"b".repeat(64);
        let rows = [
            image(
                &["nginx:latest", "localhost:5000/app:1"],
                &[&format!("nginx@{digest}")],
            ),
            image(&[], &[]),
            image(&[], &[&format!("busybox@{digest}")]),
        ];
        let flags = ListFlags {
            format,
            ..ListFlags::default()
        };
        list(&rows, flags, digests, &Clock::utc(7200 * 1_000_000_000)).unwrap()
    }

    // Compared with `docker images` 28.2.2.
    #[test]
    fn lists_print_as_docker_images() {
        assert_eq!(
            images("", false),
            "REPOSITORY           TAG       IMAGE ID       CREATED       SIZE\n\
             nginx                latest    aaaaaaaaaaaa   2 hours ago   7.65MB\n\
             localhost:5000/app   1         aaaaaaaaaaaa   2 hours ago   7.65MB\n\
             <none>               <none>    aaaaaaaaaaaa   2 hours ago   7.65MB\n\
             busybox              <none>    aaaaaaaaaaaa   2 hours ago   7.65MB\n"
        );
        let digests = images("{{.Repository}} {{.Tag}} {{.Digest}}", true);
        let digest = "sha256:".to_owned() + &"b".repeat(64);
        assert_eq!(
            digests,
            format!(
                "nginx latest {digest}\nlocalhost:5000/app 1 <none>\n<none> <none> <none>\n\
                 busybox <none> {digest}\n"
            )
        );
        let json = images("json", false);
        assert_eq!(
            json.lines().next(),
            Some(
                r#"{"Containers":"N/A","CreatedAt":"1970-01-01 00:00:00 +0000 UTC","CreatedSince":"2 hours ago","Digest":"\u003cnone\u003e","ID":"aaaaaaaaaaaa","Repository":"nginx","SharedSize":"N/A","Size":"7.65MB","Tag":"latest","UniqueSize":"N/A","VirtualSize":"7.654MB"}"#
            )
        );
    }
}
