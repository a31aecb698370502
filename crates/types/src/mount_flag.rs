//! `--mount type=bind,source=…,target=…` and `--tmpfs DIR[:OPTIONS]`.
//!
//! [`MountFlag::parse`] is the grammar of Docker's command line (CLI 29, held to
//! `corpus/golden/mountflag-golden.jsonl`): it knows keys and values but not what can be mounted.
//! [`MountFlag::to_spec`] then checks what Docker's engine would check. [`parse_mount`] is both.

use std::collections::BTreeMap;

use crate::csv::{CsvError, format_record, parse_record};
use crate::go_syntax::{parse_uint, quote};
use crate::lexical_path;
use crate::mount::{BindOptions, ImageOptions, MountKind, MountSpec, TmpfsOptions, VolumeOptions};
use crate::units::memory_bytes;
use crate::volume_flag::{MountProblem, VolumeError, check_target, check_volume_name};

/// The longest `--mount` value looked at.
pub const MOUNT_FLAG_BYTES_MAX: usize = 64 * 1024;

const PROPAGATIONS: [&str; 6] = [
    "private", "rprivate", "shared", "rshared", "slave", "rslave",
];
const CONSISTENCIES: [&str; 4] = ["default", "consistent", "cached", "delegated"];

/// Why a `--mount` or `--tmpfs` is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MountFlagError {
    /// No text.
    #[error("value is empty")]
    Empty,
    /// Longer than [`MOUNT_FLAG_BYTES_MAX`].
    #[error("value is longer than {MOUNT_FLAG_BYTES_MAX} bytes")]
    TooLong,
    /// Not a record of comma-separated values.
    #[error(transparent)]
    Csv(#[from] CsvError),
    /// Blanks around a key.
    #[error("invalid option '{key}' in '{field}': option should not have whitespace")]
    BlankInKey {
        /// The key without them.
        key: String,
        /// The whole field.
        field: String,
    },
    /// `key=`.
    #[error("invalid value for '{0}': value is empty")]
    EmptyValue(String),
    /// Blanks around a value.
    #[error("invalid value for '{key}' in '{field}': value should not have whitespace")]
    BlankInValue {
        /// The key.
        key: String,
        /// The whole field.
        field: String,
    },
    /// A key that needs a value.
    #[error("invalid field '{0}' must be a key=value pair")]
    NoValue(String),
    /// A key that there is not.
    #[error("unknown option '{key}' in '{field}'")]
    UnknownKey {
        /// The key.
        key: String,
        /// The whole field.
        field: String,
    },
    /// Neither true nor false.
    #[error(
        "invalid value for '{key}': invalid boolean value ({}): must be one of \"true\", \"1\", \
         \"false\", or \"0\" (default \"true\")",
        quote(.value)
    )]
    Boolean {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// A size or a mode that is none.
    #[error("invalid value for {key}: {value}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// A word that `bind-recursive` does not know.
    #[error(
        "invalid value for bind-recursive: {0} (must be \"enabled\", \"disabled\", \"writable\", \
         or \"readonly\")"
    )]
    BindRecursive(String),
    /// A key that Docker has given up.
    #[error("bind-nonrecursive is deprecated, use bind-recursive=disabled instead")]
    BindNonRecursive,
    /// Options of one kind on a mount of another.
    #[error("cannot mix '{family}-*' options with mount type '{kind}'")]
    Mixed {
        /// `bind`, `volume`, `image` or `tmpfs`.
        family: &'static str,
        /// The mount's kind.
        kind: String,
    },
    /// `bind-recursive=` without what it needs.
    #[error("option 'bind-recursive={option}' requires '{needs}' to be specified in conjunction")]
    BindRecursiveNeeds {
        /// The value.
        option: &'static str,
        /// What is missing.
        needs: &'static str,
    },
    /// No target.
    #[error("target is required")]
    NoTarget,
    /// A kind that there is not.
    #[error("invalid mount config for type {}: mount type unknown", quote(.0))]
    UnknownKind(String),
    /// A mount that the engine cannot make.
    #[error("invalid mount config for type \"{kind}\": {problem}")]
    Config {
        /// The mount's kind.
        kind: String,
        /// What is wrong.
        problem: ConfigProblem,
    },
    /// A volume's name that is none.
    #[error(transparent)]
    VolumeName(VolumeError),
    /// A `--tmpfs` option that there is not.
    #[error("invalid tmpfs option {}", quote(.0))]
    TmpfsOption(String),
}

/// What is wrong with a mount that is well written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigProblem {
    /// A kind of mount that needs a source.
    #[error("field Source must not be empty")]
    NoSource,
    /// A kind of mount that has none.
    #[error("field Source must not be specified")]
    SourceNotAllowed,
    /// A path that is relative or the root.
    #[error(transparent)]
    Path(#[from] MountProblem),
    /// A word that is no propagation.
    #[error("invalid propagation mode: {0}")]
    Propagation(String),
    /// A word that is no consistency.
    #[error("invalid consistency mode: {0}")]
    Consistency(String),
    /// Read-only and anonymous: nobody could ever write it.
    #[error("must not set ReadOnly mode when using anonymous volumes")]
    ReadOnlyAnonymous,
    /// A path within a volume that nobody has filled.
    #[error("must not set Subpath when using anonymous volumes")]
    SubpathAnonymous,
    /// A subpath that leads out of its volume or image.
    #[error("subpath must be a relative path within the volume: {0}")]
    SubpathEscapes(String),
    /// A negative size.
    #[error("tmpfs size must not be negative")]
    NegativeSize,
}

/// A `--mount` value, read but not yet checked against what can be mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountFlag {
    /// The value of `type`, lower case; `volume` where none was given.
    pub kind: String,
    /// The value of `source`.
    pub source: String,
    /// The value of `target`; may be missing.
    pub target: String,
    /// `readonly`.
    pub read_only: bool,
    /// The value of `consistency`, lower case.
    pub consistency: String,
    /// The `bind-*` keys, if there were any.
    pub bind: Option<BindOptions>,
    /// The `volume-*` keys, if there were any.
    pub volume: Option<VolumeOptions>,
    /// The `image-*` keys, if there were any.
    pub image: Option<ImageOptions>,
    /// The `tmpfs-*` keys, if there were any.
    pub tmpfs: Option<TmpfsOptions>,
}

/// Reads and checks a `--mount` value. A source such as `./x` stays relative; see
/// [`make_source_absolute`].
pub fn parse_mount(text: &str) -> Result<MountSpec, MountFlagError> {
    MountFlag::parse(text)?.to_spec()
}

/// Resolves the relative source of a bind mount against the user's working directory.
pub fn make_source_absolute(mount: &mut MountSpec, working_directory: &str) {
    if mount.kind == MountKind::Bind {
        mount.source = lexical_path::absolute(&mount.source, working_directory);
    }
}

impl MountFlag {
    /// Reads a `--mount` value.
    pub fn parse(text: &str) -> Result<Self, MountFlagError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(MountFlagError::Empty);
        }
        if text.len() > MOUNT_FLAG_BYTES_MAX {
            return Err(MountFlagError::TooLong);
        }
        let mut flag = Self {
            kind: "volume".to_owned(),
            ..Self::default()
        };
        for field in parse_record(text)? {
            flag.apply(&Field::split(&field)?)?;
        }
        flag.check_families()?;
        Ok(flag)
    }

    fn apply(&mut self, field: &Field<'_>) -> Result<(), MountFlagError> {
        let text = || field.value.to_owned();
        let bind = &mut self.bind;
        let volume = &mut self.volume;
        match field.key.as_str() {
            "type" => self.kind = field.value.to_lowercase(),
            "source" | "src" => self.source = text(),
            "target" | "dst" | "destination" => self.target = text(),
            "readonly" | "ro" => self.read_only = field.boolean()?,
            "consistency" => self.consistency = field.value.to_lowercase(),
            "bind-propagation" => {
                bind.get_or_insert_default().propagation = field.value.to_lowercase();
            }
            "bind-nonrecursive" => return Err(MountFlagError::BindNonRecursive),
            "bind-recursive" => match field.value {
                "enabled" => {}
                "disabled" => bind.get_or_insert_default().non_recursive = true,
                "writable" => bind.get_or_insert_default().read_only_non_recursive = true,
                "readonly" => bind.get_or_insert_default().read_only_force_recursive = true,
                _ => return Err(MountFlagError::BindRecursive(text())),
            },
            "bind-create-src" => {
                bind.get_or_insert_default().create_mountpoint = field.boolean()?;
            }
            "volume-subpath" => volume.get_or_insert_default().subpath = text(),
            "volume-nocopy" => volume.get_or_insert_default().no_copy = field.boolean()?,
            "volume-label" => insert(&mut volume.get_or_insert_default().labels, field.value),
            "volume-driver" => volume.get_or_insert_default().driver = text(),
            "volume-opt" => {
                insert(
                    &mut volume.get_or_insert_default().driver_options,
                    field.value,
                );
            }
            "image-subpath" => self.image.get_or_insert_default().subpath = text(),
            "tmpfs-size" => {
                let size = memory_bytes(field.value).map_err(|_| field.bad_value())?;
                self.tmpfs.get_or_insert_default().size_bytes = size;
            }
            "tmpfs-mode" => {
                let mode = parse_uint(field.value, 8, 32).map_err(|_| field.bad_value())?;
                self.tmpfs.get_or_insert_default().mode = mode as u32;
            }
            key => {
                let (key, field) = (key.to_owned(), field.text.to_owned());
                return Err(MountFlagError::UnknownKey { key, field });
            }
        }
        Ok(())
    }

    fn check_families(&self) -> Result<(), MountFlagError> {
        for (family, is_given) in [
            ("bind", self.bind.is_some()),
            ("volume", self.volume.is_some()),
            ("image", self.image.is_some()),
            ("tmpfs", self.tmpfs.is_some()),
        ] {
            if is_given && self.kind != family {
                return Err(MountFlagError::Mixed {
                    family,
                    kind: self.kind.clone(),
                });
            }
        }
        let Some(bind) = &self.bind else {
            return Ok(());
        };
        let needs = |option, needs| Err(MountFlagError::BindRecursiveNeeds { option, needs });
        if bind.read_only_non_recursive && !self.read_only {
            return needs("writable", "readonly");
        }
        if bind.read_only_force_recursive && !self.read_only {
            return needs("readonly", "readonly");
        }
        if bind.read_only_force_recursive && bind.propagation != "rprivate" {
            return needs("readonly", "bind-propagation=rprivate");
        }
        Ok(())
    }

    /// Checks that there is such a mount, as Docker's engine does.
    pub fn to_spec(&self) -> Result<MountSpec, MountFlagError> {
        if self.target.is_empty() {
            return Err(MountFlagError::NoTarget);
        }
        let kind =
            parse_kind(&self.kind).ok_or_else(|| MountFlagError::UnknownKind(self.kind.clone()))?;
        let refuse = |problem| MountFlagError::Config {
            kind: self.kind.clone(),
            problem,
        };
        let target = check_target(&self.target).map_err(|problem| refuse(problem.into()))?;
        self.check_source(kind).map_err(refuse)?;
        self.check_options().map_err(refuse)?;
        if kind == MountKind::Volume && !self.source.is_empty() {
            check_volume_name(&self.source).map_err(MountFlagError::VolumeName)?;
        }
        Ok(MountSpec {
            kind,
            source: self.source.clone(),
            target,
            read_only: self.read_only,
            consistency: self.consistency.clone(),
            bind: self.bind.clone(),
            volume: self.volume.clone(),
            image: self.image.clone(),
            tmpfs: self.tmpfs.clone(),
        })
    }

    fn check_source(&self, kind: MountKind) -> Result<(), ConfigProblem> {
        let is_relative_by_name = self.source.starts_with('.');
        match kind {
            MountKind::Bind | MountKind::Image | MountKind::Npipe | MountKind::Cluster
                if self.source.is_empty() =>
            {
                Err(ConfigProblem::NoSource)
            }
            MountKind::Bind if !self.source.starts_with('/') && !is_relative_by_name => {
                Err(MountProblem::NotAbsolute(self.source.clone()).into())
            }
            MountKind::Tmpfs if !self.source.is_empty() => Err(ConfigProblem::SourceNotAllowed),
            MountKind::Volume if self.source.is_empty() && self.read_only => {
                Err(ConfigProblem::ReadOnlyAnonymous)
            }
            _ => Ok(()),
        }
    }

    fn check_options(&self) -> Result<(), ConfigProblem> {
        if !self.consistency.is_empty() && !CONSISTENCIES.contains(&self.consistency.as_str()) {
            return Err(ConfigProblem::Consistency(self.consistency.clone()));
        }
        if let Some(bind) = &self.bind {
            let propagation = bind.propagation.as_str();
            if !propagation.is_empty() && !PROPAGATIONS.contains(&propagation) {
                return Err(ConfigProblem::Propagation(bind.propagation.clone()));
            }
        }
        if let Some(volume) = &self.volume {
            if self.source.is_empty() && !volume.subpath.is_empty() {
                return Err(ConfigProblem::SubpathAnonymous);
            }
            check_subpath(&volume.subpath)?;
        }
        if let Some(image) = &self.image {
            check_subpath(&image.subpath)?;
        }
        match &self.tmpfs {
            Some(tmpfs) if tmpfs.size_bytes < 0 => Err(ConfigProblem::NegativeSize),
            _ => Ok(()),
        }
    }
}

/// Writes a mount as a `--mount` value that [`parse_mount`] reads back.
pub fn format_mount(mount: &MountSpec) -> String {
    let mut fields = vec![format!("type={}", kind_name(mount.kind))];
    let mut push = |key: &str, value: &str| {
        if !value.is_empty() {
            fields.push(format!("{key}={value}"));
        }
    };
    let truth = |yes: bool| if yes { "true" } else { "" };
    push("source", &mount.source);
    push("target", &mount.target);
    push("readonly", truth(mount.read_only));
    push("consistency", &mount.consistency);
    if let Some(bind) = &mount.bind {
        push("bind-propagation", &bind.propagation);
        push(
            "bind-recursive",
            if bind.non_recursive { "disabled" } else { "" },
        );
        push(
            "bind-recursive",
            if bind.read_only_non_recursive {
                "writable"
            } else {
                ""
            },
        );
        push(
            "bind-recursive",
            if bind.read_only_force_recursive {
                "readonly"
            } else {
                ""
            },
        );
        push(
            "bind-create-src",
            if bind.create_mountpoint {
                "true"
            } else {
                "false"
            },
        );
    }
    if let Some(volume) = &mount.volume {
        push(
            "volume-nocopy",
            if volume.no_copy { "true" } else { "false" },
        );
        push("volume-subpath", &volume.subpath);
        push("volume-driver", &volume.driver);
        for (key, value) in &volume.labels {
            push("volume-label", &format!("{key}={value}"));
        }
        for (key, value) in &volume.driver_options {
            push("volume-opt", &format!("{key}={value}"));
        }
    }
    if let Some(image) = &mount.image {
        push("image-subpath", &image.subpath);
    }
    if let Some(tmpfs) = &mount.tmpfs {
        push("tmpfs-size", &tmpfs.size_bytes.to_string());
        push("tmpfs-mode", &format!("{:o}", tmpfs.mode));
    }
    format_record(&fields)
}

struct Field<'a> {
    /// Lower case.
    key: String,
    value: &'a str,
    has_value: bool,
    text: &'a str,
}

impl<'a> Field<'a> {
    fn split(text: &'a str) -> Result<Self, MountFlagError> {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (text, None),
        };
        if key.trim() != key {
            let key = key.trim().to_owned();
            return Err(MountFlagError::BlankInKey {
                key,
                field: text.to_owned(),
            });
        }
        if value.is_some_and(|value| value.trim().is_empty()) {
            return Err(MountFlagError::EmptyValue(key.to_owned()));
        }
        if value.is_some_and(|value| value.trim() != value) {
            let (key, field) = (key.to_owned(), text.to_owned());
            return Err(MountFlagError::BlankInValue { key, field });
        }
        let key = key.to_lowercase();
        let may_stand_alone = matches!(
            key.as_str(),
            "readonly" | "ro" | "volume-nocopy" | "bind-nonrecursive" | "bind-create-src"
        );
        if value.is_none() && !may_stand_alone {
            return Err(MountFlagError::NoValue(text.to_owned()));
        }
        Ok(Self {
            key,
            value: value.unwrap_or_default(),
            has_value: value.is_some(),
            text,
        })
    }

    fn boolean(&self) -> Result<bool, MountFlagError> {
        match self.value {
            _ if !self.has_value => Ok(true),
            "1" | "true" => Ok(true),
            "0" | "false" => Ok(false),
            value => {
                let (key, value) = (self.key.clone(), value.to_owned());
                Err(MountFlagError::Boolean { key, value })
            }
        }
    }

    fn bad_value(&self) -> MountFlagError {
        MountFlagError::Value {
            key: self.key.clone(),
            value: self.value.to_owned(),
        }
    }
}

fn insert(map: &mut BTreeMap<String, String>, text: &str) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if !key.is_empty() {
        map.insert(key.to_owned(), value.to_owned());
    }
}

const KINDS: [(MountKind, &str); 6] = [
    (MountKind::Bind, "bind"),
    (MountKind::Volume, "volume"),
    (MountKind::Tmpfs, "tmpfs"),
    (MountKind::Image, "image"),
    (MountKind::Npipe, "npipe"),
    (MountKind::Cluster, "cluster"),
];

fn parse_kind(name: &str) -> Option<MountKind> {
    KINDS
        .iter()
        .find(|(_, known)| *known == name)
        .map(|&(kind, _)| kind)
}

/// The kind in Docker's words.
pub fn kind_name(kind: MountKind) -> &'static str {
    KINDS
        .iter()
        .find(|(known, _)| *known == kind)
        .map_or("", |&(_, name)| name)
}

/// The kernel resolves the subpath; this only refuses early what can never be meant.
fn check_subpath(subpath: &str) -> Result<(), ConfigProblem> {
    let climbs = subpath.split('/').any(|part| part == "..");
    if subpath.starts_with('/') || climbs {
        return Err(ConfigProblem::SubpathEscapes(subpath.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn docker_json(flag: &MountFlag) -> Value {
        let mut json = json!({"Type": flag.kind});
        for (key, value) in [
            ("Source", &flag.source),
            ("Target", &flag.target),
            ("Consistency", &flag.consistency),
        ] {
            if !value.is_empty() {
                json[key] = value.as_str().into();
            }
        }
        if flag.read_only {
            json["ReadOnly"] = true.into();
        }
        if let Some(bind) = &flag.bind {
            json["BindOptions"] = json!({});
            if !bind.propagation.is_empty() {
                json["BindOptions"]["Propagation"] = bind.propagation.as_str().into();
            }
        }
        if let Some(volume) = &flag.volume {
            json["VolumeOptions"] = json!({});
            if volume.no_copy {
                json["VolumeOptions"]["NoCopy"] = true.into();
            }
            if !volume.labels.is_empty() {
                json["VolumeOptions"]["Labels"] = json!(volume.labels);
            }
            if !volume.driver.is_empty() {
                json["VolumeOptions"]["DriverConfig"] =
                    json!({"Name": volume.driver, "Options": volume.driver_options});
            }
            if !volume.subpath.is_empty() {
                json["VolumeOptions"]["Subpath"] = volume.subpath.as_str().into();
            }
        }
        if let Some(image) = &flag.image {
            json["ImageOptions"] = json!({"Subpath": image.subpath});
        }
        json
    }

    #[test]
    fn recorded_mounts_agree() {
        for case in crate::golden::read("mountflag-golden.jsonl") {
            let text = case["in"].as_str().unwrap();
            match MountFlag::parse(text) {
                Ok(flag) => {
                    assert!(case["error"].is_null(), "{text}: {}", case["error"]);
                    assert_eq!(case["mount"], json!([docker_json(&flag)]), "{text}");
                }
                Err(error) => assert_eq!(case["error"], error.to_string(), "{text}"),
            }
        }
    }

    #[test]
    fn bad_mounts_have_the_words_of_docker() {
        for (text, want) in [
            ("", "value is empty"),
            ("type=bind,source=/nope", "target is required"),
            (
                "type=bad,target=/b",
                "invalid mount config for type \"bad\": mount type unknown",
            ),
            (
                "type=bind,target=/b",
                "invalid mount config for type \"bind\": field Source must not be empty",
            ),
            (
                "type=bind,source=a,target=/b",
                "invalid mount config for type \"bind\": invalid mount path: 'a' mount path must be absolute",
            ),
            (
                "type=tmpfs,target=b",
                "invalid mount config for type \"tmpfs\": invalid mount path: 'b' mount path must be absolute",
            ),
            (
                "type=tmpfs,target=/b/..",
                "invalid mount config for type \"tmpfs\": invalid specification: destination can't be '/'",
            ),
            (
                "type=tmpfs,source=x,target=/b",
                "invalid mount config for type \"tmpfs\": field Source must not be specified",
            ),
            (
                "type=bind,source=/a,target=/b,bind-propagation=x",
                "invalid mount config for type \"bind\": invalid propagation mode: x",
            ),
            (
                "source=v,target=/b",
                "volume name is too short, names should be at least two alphanumeric characters",
            ),
            (
                "source=vv,target=/b,volume-subpath=../x",
                "invalid mount config for type \"volume\": subpath must be a relative path within the volume: ../x",
            ),
            ("type=bind,what=/a", "unknown option 'what' in 'what=/a'"),
            ("type", "invalid field 'type' must be a key=value pair"),
            ("type=", "invalid value for 'type': value is empty"),
            (
                "type= bind",
                "invalid value for 'type' in 'type= bind': value should not have whitespace",
            ),
            (
                "type=bind, ro",
                "invalid option 'ro' in ' ro': option should not have whitespace",
            ),
            (
                "type=bind,src=/a,dst=/b,bind-recursive=readonly,ro",
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction",
            ),
            (
                "type=tmpfs,dst=/b,tmpfs-mode=9",
                "invalid value for tmpfs-mode: 9",
            ),
        ] {
            assert_eq!(parse_mount(text).unwrap_err().to_string(), want, "{text}");
        }
    }

    #[test]
    fn mounts_print_as_they_are_read() {
        for text in [
            "type=bind,source=/a,target=/b,readonly=true",
            "type=bind,source=/a,target=/b,readonly=true,bind-propagation=rprivate,bind-recursive=readonly,bind-create-src=true",
            "type=volume,source=vv,target=/b,volume-nocopy=true,volume-driver=local,\"volume-label=a=b,c\",volume-opt=type=nfs",
            "type=tmpfs,target=/b,tmpfs-size=65536,tmpfs-mode=1777",
            "type=image,source=alpine,target=/b,image-subpath=x",
        ] {
            assert_eq!(format_mount(&parse_mount(text).unwrap()), text);
        }
        let mut mount = parse_mount("type=bind,source=./x,target=/b").unwrap();
        make_source_absolute(&mut mount, "/home/user");
        assert_eq!(mount.source, "/home/user/x");
    }
}
