//! `-v [SOURCE:]TARGET[:OPTIONS]`.
//!
//! Two grammars meet here. Docker's command line and Compose first split the text in a lenient
//! way ([`ShortVolume`], held to `corpus/golden/volumes-golden.jsonl`); Docker's engine then reads
//! it strictly. [`VolumeFlag::parse`] asks both, so that what `docker run` refuses is refused in
//! the same words.

use std::fmt;

use crate::lexical_path;
use crate::mount::{BindOptions, MountKind, MountSpec, VolumeOptions};

/// The longest name of a volume: a directory is called so.
pub const VOLUME_NAME_BYTES_MAX: usize = 255;

const PROPAGATIONS: [&str; 6] = [
    "private", "rprivate", "shared", "rshared", "slave", "rslave",
];
const CONSISTENCIES: [&str; 4] = ["default", "consistent", "cached", "delegated"];

/// Why a `-v` is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    /// No text.
    #[error("invalid empty volume spec")]
    Empty,
    /// `a::b`.
    #[error("invalid spec: {0}: empty section between colons")]
    EmptySection(String),
    /// More than three parts.
    #[error("invalid spec: {0}: too many colons")]
    TooManyColons(String),
    /// Refused by the engine's own grammar.
    #[error("invalid volume specification: '{0}'")]
    Specification(String),
    /// Options that there are not, or that contradict each other.
    #[error("invalid mode: {0}")]
    Mode(String),
    /// A target or a source that cannot be mounted.
    #[error(
        "invalid volume specification: '{spec}': invalid mount config for type \"{kind}\": {problem}"
    )]
    Mount {
        /// What was given.
        spec: String,
        /// `bind` or `volume`.
        kind: &'static str,
        /// What is wrong with it.
        problem: MountProblem,
    },
    /// A volume's name of one character.
    #[error("volume name is too short, names should be at least two alphanumeric characters")]
    NameTooShort,
    /// A volume's name that is more than a directory's name can hold.
    #[error("volume name is too long: more than {VOLUME_NAME_BYTES_MAX} bytes")]
    NameTooLong,
    /// A volume's name that is none.
    #[error(
        "create {0}: \"{0}\" includes invalid characters for a local volume name, only \
         \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use \
         absolute path"
    )]
    NameCharacters(String),
    /// A text that cannot tell snapshots apart.
    #[error(
        "invalid snapshot tag {0:?}: only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed, at most \
         {VOLUME_NAME_BYTES_MAX} of them"
    )]
    SnapshotTag(String),
}

/// What the engine finds wrong with a mount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MountProblem {
    /// A relative path.
    #[error("invalid mount path: '{0}' mount path must be absolute")]
    NotAbsolute(String),
    /// The root itself.
    #[error("invalid specification: destination can't be '/'")]
    Root,
    /// How mounts travel, for what is no bind.
    #[error("field BindOptions must not be specified")]
    Propagation,
}

/// A volume in the terms of Compose's short syntax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShortVolume {
    /// `Bind` where the source is a path, else `Volume`.
    pub kind: MountKind,
    /// Path, volume name, or empty.
    pub source: String,
    /// Target, not yet checked.
    pub target: String,
    /// `ro`.
    pub read_only: bool,
    /// Bind options; Compose has them on volumes too, if an option names them.
    pub bind: Option<ShortBind>,
    /// Volume options, likewise.
    pub volume: Option<ShortVolumeOptions>,
}

/// Bind options of the short syntax.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShortBind {
    /// `rshared` and the like, or empty.
    pub propagation: String,
    /// `z`, `Z` or empty.
    pub selinux: String,
    /// The missing source is made as a directory: true for binds by path.
    pub create_host_path: bool,
}

/// Volume options of the short syntax.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShortVolumeOptions {
    /// `nocopy`.
    pub no_copy: bool,
}

impl ShortVolume {
    /// Reads the short syntax. A single letter before a colon belongs to what follows, because it
    /// may be a Windows drive, unless a path and nothing else follows.
    pub fn parse(spec: &str) -> Result<Self, VolumeError> {
        let mut volume = Self {
            kind: MountKind::Volume,
            source: String::new(),
            target: String::new(),
            read_only: false,
            bind: None,
            volume: None,
        };
        match spec.len() {
            0 => return Err(VolumeError::Empty),
            1 | 2 => {
                volume.target = spec.to_owned();
                return Ok(volume);
            }
            _ => {}
        }
        let sections = split_sections(spec);
        let last = sections.len() - 1;
        for (index, section) in sections.into_iter().enumerate() {
            if section.is_empty() {
                return Err(VolumeError::EmptySection(spec.to_owned()));
            }
            match index {
                0 if index == last => volume.target = section.to_owned(),
                0 => volume.source = section.to_owned(),
                1 => volume.target = section.to_owned(),
                _ if index < last => return Err(VolumeError::TooManyColons(spec.to_owned())),
                _ => section.split(',').for_each(|option| volume.apply(option)),
            }
        }
        volume.settle_kind();
        Ok(volume)
    }

    /// Applies one option; what is unknown is passed over, as Compose does.
    fn apply(&mut self, option: &str) {
        match option {
            "ro" => self.read_only = true,
            "rw" => self.read_only = false,
            "nocopy" => self.volume = Some(ShortVolumeOptions { no_copy: true }),
            "z" | "Z" => self.bind.get_or_insert_default().selinux = option.to_owned(),
            _ if PROPAGATIONS.contains(&option) => {
                self.bind.get_or_insert_default().propagation = option.to_owned();
            }
            _ => {}
        }
    }

    fn settle_kind(&mut self) {
        if is_host_path(&self.source) {
            self.kind = MountKind::Bind;
            self.bind.get_or_insert_default().create_host_path = true;
        } else {
            self.volume.get_or_insert_default();
        }
    }
}

fn split_sections(spec: &str) -> Vec<&str> {
    let mut sections = Vec::new();
    let mut start = 0;
    for (index, _) in spec.match_indices(':') {
        let rest = &spec[index + 1..];
        // `d:/data` is a volume with a short name: there are no drives here, and Compose would make an
        // anonymous volume of it. With another path behind, it is the drive that was meant.
        let is_name = start == 0 && rest.starts_with('/') && !rest.contains(":/");
        if is_name || !is_drive_letter(&spec[start..index]) {
            sections.push(&spec[start..index]);
            start = index + 1;
        }
    }
    sections.push(&spec[start..]);
    sections
}

fn is_drive_letter(section: &str) -> bool {
    let mut characters = section.chars();
    characters.next().is_some_and(char::is_alphabetic) && characters.next().is_none()
}

fn is_host_path(source: &str) -> bool {
    let is_drive = |(drive, _): (&str, &str)| is_drive_letter(drive);
    source.starts_with(['.', '/', '~'])
        || source.starts_with("\\\\")
        || source.split_once(':').is_some_and(is_drive)
}

/// Who else may use the content under SELinux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelinuxLabel {
    /// `z`: every container.
    Shared,
    /// `Z`: this one.
    Private,
}

/// The options behind the last colon of `-v`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeMode {
    /// `ro`.
    pub read_only: bool,
    /// `z` or `Z`.
    pub selinux: Option<SelinuxLabel>,
    /// `rshared` and the like, or empty.
    pub propagation: String,
    /// `nocopy`.
    pub no_copy: bool,
    /// `consistent`, `cached`, `delegated` (without effect on Linux), or empty.
    pub consistency: String,
}

impl VolumeMode {
    /// Reads `ro,z,rshared`; of each sort at most one.
    pub fn parse(text: &str) -> Result<Self, VolumeError> {
        let mut mode = Self::default();
        if text.is_empty() {
            return Ok(mode);
        }
        let mut seen = [false; 5];
        for option in text.split(',') {
            let sort = match option {
                "ro" | "rw" => {
                    mode.read_only = option == "ro";
                    0
                }
                "z" | "Z" => {
                    let private = option == "Z";
                    mode.selinux = Some(if private {
                        SelinuxLabel::Private
                    } else {
                        SelinuxLabel::Shared
                    });
                    1
                }
                "nocopy" => {
                    mode.no_copy = true;
                    2
                }
                _ if PROPAGATIONS.contains(&option) => {
                    mode.propagation = option.to_owned();
                    3
                }
                _ if CONSISTENCIES.contains(&option) => {
                    mode.consistency = option.to_owned();
                    4
                }
                _ => return Err(VolumeError::Mode(text.to_owned())),
            };
            if std::mem::replace(&mut seen[sort], true) {
                return Err(VolumeError::Mode(text.to_owned()));
            }
        }
        Ok(mode)
    }
}

/// A `-v` that can be mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeFlag {
    /// `Bind` or `Volume`.
    pub kind: MountKind,
    /// Path on the host (relative until [`Self::make_absolute`]), a volume's name, or empty for
    /// an anonymous volume.
    pub source: String,
    /// Absolute, clean path in the container.
    pub target: String,
    /// The options, read.
    pub mode: VolumeMode,
    /// The options as given.
    pub mode_text: String,
}

impl VolumeFlag {
    /// Reads the value of `-v`.
    pub fn parse(spec: &str) -> Result<Self, VolumeError> {
        ShortVolume::parse(spec)?;
        let invalid = || VolumeError::Specification(spec.to_owned());
        let parts: Vec<&str> = spec.splitn(4, ':').collect();
        let (source, target, mode_text) = match parts[..] {
            [target] => ("", target, ""),
            // A mode needs a source: `/a:ro` would be read as the target `ro`.
            [_, mode] if VolumeMode::parse(mode).is_ok() => return Err(invalid()),
            [source, target] => (source, target, ""),
            [source, target, mode] => (source, target, mode),
            _ => return Err(invalid()),
        };
        if parts[0].is_empty() {
            return Err(invalid());
        }
        let mode = VolumeMode::parse(mode_text)?;
        let kind = if source.starts_with(['/', '.']) {
            MountKind::Bind
        } else {
            MountKind::Volume
        };
        let kind_name = if kind == MountKind::Bind {
            "bind"
        } else {
            "volume"
        };
        let refuse = |problem| VolumeError::Mount {
            spec: spec.to_owned(),
            kind: kind_name,
            problem,
        };
        let target = check_target(target).map_err(refuse)?;
        if kind == MountKind::Volume && !source.is_empty() {
            check_volume_name(source)?;
            if !mode.propagation.is_empty() {
                return Err(refuse(MountProblem::Propagation));
            }
        }
        Ok(Self {
            kind,
            source: source.to_owned(),
            target,
            mode,
            mode_text: mode_text.to_owned(),
        })
    }

    /// Resolves a relative source against the user's working directory, an absolute path.
    pub fn make_absolute(&mut self, working_directory: &str) {
        if self.kind == MountKind::Bind {
            self.source = lexical_path::absolute(&self.source, working_directory);
        }
    }

    /// The same in the terms of `--mount`; SELinux labels have no place there.
    pub fn to_mount(&self) -> MountSpec {
        let is_bind = self.kind == MountKind::Bind;
        MountSpec {
            kind: self.kind,
            source: self.source.clone(),
            target: self.target.clone(),
            read_only: self.mode.read_only,
            consistency: self.mode.consistency.clone(),
            bind: is_bind.then(|| BindOptions {
                propagation: self.mode.propagation.clone(),
                create_mountpoint: true,
                ..BindOptions::default()
            }),
            volume: (!is_bind).then(|| VolumeOptions {
                no_copy: self.mode.no_copy,
                ..VolumeOptions::default()
            }),
            image: None,
            tmpfs: None,
        }
    }
}

impl fmt::Display for VolumeFlag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.source.is_empty() {
            write!(formatter, "{}:", self.source)?;
        }
        formatter.write_str(&self.target)?;
        if !self.mode_text.is_empty() {
            write!(formatter, ":{}", self.mode_text)?;
        }
        Ok(())
    }
}

/// Checks a path in the container and cleans it.
pub(crate) fn check_target(target: &str) -> Result<String, MountProblem> {
    if !target.starts_with('/') {
        return Err(MountProblem::NotAbsolute(target.to_owned()));
    }
    let target = lexical_path::clean(target);
    if target == "/" {
        Err(MountProblem::Root)
    } else {
        Ok(target)
    }
}

/// Checks a volume's name: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
pub fn check_volume_name(name: &str) -> Result<(), VolumeError> {
    if name.len() == 1 {
        return Err(VolumeError::NameTooShort);
    }
    if name.len() > VOLUME_NAME_BYTES_MAX {
        return Err(VolumeError::NameTooLong);
    }
    if crate::id::is_restricted_name(name) {
        Ok(())
    } else {
        Err(VolumeError::NameCharacters(name.to_owned()))
    }
}

/// Checks the tag of a volume's snapshot: as a volume's name, but one character is enough.
pub fn check_snapshot_tag(tag: &str) -> Result<(), VolumeError> {
    // With one more character in front, what is left of the rule is that on the rest.
    let begins_well = tag.starts_with(|first: char| first.is_ascii_alphanumeric());
    if begins_well
        && tag.len() <= VOLUME_NAME_BYTES_MAX
        && crate::id::is_restricted_name(&format!("v{tag}"))
    {
        Ok(())
    } else {
        Err(VolumeError::SnapshotTag(tag.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn compose_json(volume: &ShortVolume) -> Value {
        let bind = volume.kind == MountKind::Bind;
        let mut json = json!({"type": if bind { "bind" } else { "volume" }});
        json["target"] = volume.target.as_str().into();
        if !volume.source.is_empty() {
            json["source"] = volume.source.as_str().into();
        }
        if volume.read_only {
            json["read_only"] = true.into();
        }
        if let Some(bind) = &volume.bind {
            json["bind"] = json!({});
            for (key, value) in [
                ("propagation", &bind.propagation),
                ("selinux", &bind.selinux),
            ] {
                if !value.is_empty() {
                    json["bind"][key] = value.as_str().into();
                }
            }
            if !bind.create_host_path {
                json["bind"]["create_host_path"] = false.into();
            }
        }
        if let Some(options) = &volume.volume {
            json["volume"] = if options.no_copy {
                json!({"nocopy": true})
            } else {
                json!({})
            };
        }
        json
    }

    #[test]
    fn a_letter_before_a_path_is_a_volume() {
        let read =
            |text: &str| ShortVolume::parse(text).map(|one| (one.kind, one.source, one.target));
        let volume = |target: &str| Ok((MountKind::Volume, "d".to_owned(), target.to_owned()));
        assert_eq!(read("d:/data"), volume("/data"));
        assert_eq!(read("d:/data:ro"), volume("/data"));
        let (source, target) = ("d:/from".to_owned(), "/to".to_owned());
        assert_eq!(read("d:/from:/to"), Ok((MountKind::Bind, source, target)));
    }

    #[test]
    fn recorded_short_volumes_agree() {
        for case in crate::golden::read("volumes-golden.jsonl") {
            let text = case["in"].as_str().unwrap();
            match ShortVolume::parse(text) {
                Ok(volume) => {
                    assert!(case["error"].is_null(), "{text}: {}", case["error"]);
                    assert_eq!(case["compose"], compose_json(&volume), "{text}");
                }
                Err(error) => {
                    assert_eq!(case["error"], error.to_string(), "{text}");
                    assert!(VolumeFlag::parse(text).is_err(), "{text}");
                }
            }
        }
    }

    #[test]
    fn flags_become_mounts() {
        for (text, kind, source, target) in [
            ("/data", MountKind::Volume, "", "/data"),
            ("/a:/b", MountKind::Bind, "/a", "/b"),
            ("./a:/b/../c/", MountKind::Bind, "./a", "/c"),
            ("vol_1:/b:nocopy,ro", MountKind::Volume, "vol_1", "/b"),
        ] {
            let flag = VolumeFlag::parse(text).unwrap();
            assert_eq!(
                (flag.kind, flag.source.as_str(), flag.target.as_str()),
                (kind, source, target)
            );
        }
        let mut flag = VolumeFlag::parse("./a:/b:ro,Z,rshared").unwrap();
        flag.make_absolute("/home/user");
        assert_eq!(flag.to_string(), "/home/user/a:/b:ro,Z,rshared");
        assert_eq!(flag.mode.selinux, Some(SelinuxLabel::Private));
        let mount = flag.to_mount();
        assert!(mount.read_only);
        let bind = mount.bind.unwrap();
        assert_eq!(
            (bind.propagation.as_str(), bind.create_mountpoint),
            ("rshared", true)
        );
    }

    #[test]
    fn bad_flags_have_the_words_of_docker() {
        for (text, want) in [
            ("", "invalid empty volume spec"),
            (
                "bad:bad:bad:bad",
                "invalid spec: bad:bad:bad:bad: too many colons",
            ),
            ("/a:ro", "invalid volume specification: '/a:ro'"),
            ("/a:/b:bad", "invalid mode: bad"),
            ("/a:/b:ro,rw", "invalid mode: ro,rw"),
            ("/a:/b:U", "invalid mode: U"),
            (
                "/a:b",
                "invalid volume specification: '/a:b': invalid mount config for type \"bind\": \
                 invalid mount path: 'b' mount path must be absolute",
            ),
            (
                "vol:/b/..",
                "invalid volume specification: 'vol:/b/..': invalid mount config for type \
                 \"volume\": invalid specification: destination can't be '/'",
            ),
            (
                "v:/b",
                "volume name is too short, names should be at least two alphanumeric characters",
            ),
            (
                "~/a:/b",
                "create ~/a: \"~/a\" includes invalid characters for a local volume name, only \
                 \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host \
                 directory, use absolute path",
            ),
        ] {
            assert_eq!(
                VolumeFlag::parse(text).unwrap_err().to_string(),
                want,
                "{text}"
            );
        }
    }
}
