//! `RUN --mount` and `RUN --device`.

use types::csv::parse_record;
use types::go_syntax::{parse_bool, parse_uint};
use types::units::ram_in_bytes;

use super::error::MountProblem;
use super::suggest::nearest;

/// A `--mount` as written. Its values may hold variables, so it is read when the step is made;
/// only where it comes from is known before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountFlag {
    /// The text.
    pub text: String,
    /// `from=`: a stage, an image or a named context.
    pub from: Option<String>,
}

/// A mount for one RUN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// `from=`; empty for the build context or for nothing.
    pub from: String,
    /// A path in what it comes from. For a secret its id.
    pub source: String,
    /// Where; may be empty for secrets and agents.
    pub target: String,
    /// Whether the step may not write to it.
    pub read_only: bool,
    /// The limit of a tmpfs in bytes; 0 is none.
    pub size_bytes: i64,
    /// `id=`; empty where none is given.
    pub id: String,
    /// Who may use a cache at the same time.
    pub sharing: Option<Sharing>,
    /// The step fails without the secret or agent.
    pub required: bool,
    /// The variable that holds the secret.
    pub env: Option<String>,
    /// Permissions.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
}

/// Kinds of [`Mount`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the language's own words")]
pub enum MountKind {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

pub(super) const KINDS: [(&str, MountKind); 5] = [
    ("bind", MountKind::Bind),
    ("cache", MountKind::Cache),
    ("tmpfs", MountKind::Tmpfs),
    ("secret", MountKind::Secret),
    ("ssh", MountKind::Ssh),
];

impl MountKind {
    /// The name in `type=`.
    pub fn name(self) -> &'static str {
        KINDS
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("", |(name, _)| name)
    }
}

/// How several steps share a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// All use it at once.
    Shared,
    /// Each of them gets one of its own.
    Private,
    /// One after the other.
    Locked,
}

pub(super) const SHARINGS: [(&str, Sharing); 3] = [
    ("shared", Sharing::Shared),
    ("private", Sharing::Private),
    ("locked", Sharing::Locked),
];

pub(super) const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

/// A problem with a field, and perhaps what was meant.
#[derive(Debug)]
pub struct MountFault {
    /// The problem.
    pub problem: MountProblem,
    /// What was meant.
    pub did_you_mean: Option<&'static str>,
}

impl From<MountProblem> for MountFault {
    fn from(problem: MountProblem) -> Self {
        Self {
            problem,
            did_you_mean: None,
        }
    }
}

impl MountFlag {
    /// Reads what can be known before variables have values.
    pub(super) fn parse(text: &str) -> Result<Self, MountFault> {
        let mut from = None;
        for field in parse_record(text).map_err(MountProblem::Csv)? {
            let Some((key, value)) = field.split_once('=') else {
                continue;
            };
            if key.eq_ignore_ascii_case("from") {
                let dollar = value.find('$');
                if dollar.is_some_and(|at| at + 1 != value.len()) {
                    return Err(MountProblem::FromVariable.into());
                }
                from = Some(value.to_owned());
            }
        }
        Ok(Self {
            text: text.to_owned(),
            from: from.filter(|from| !from.is_empty()),
        })
    }

    /// Reads the mount; `expand` replaces variables in its values.
    pub fn mount<E: From<MountFault>>(
        &self,
        mut expand: impl FnMut(&str) -> Result<String, E>,
    ) -> Result<Mount, E> {
        let mut mount = Mount::default();
        let mut read_only = None;
        for field in parse_record(&self.text).map_err(|error| MountProblem::Csv(error).into())? {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_lowercase(), Some(expand(value)?)),
                None => (field.to_lowercase(), None),
            };
            match value {
                Some(value) => mount.set(&key, value, &field, &mut read_only)?,
                None => mount.set_word(&key, &field, &mut read_only)?,
            }
        }
        mount.read_only =
            read_only.unwrap_or(!matches!(mount.kind, MountKind::Cache | MountKind::Tmpfs));
        mount.check()?;
        Ok(mount)
    }
}

impl From<MountProblem> for Box<MountFault> {
    fn from(problem: MountProblem) -> Self {
        Self::new(problem.into())
    }
}

impl Mount {
    /// A key without value.
    fn set_word(
        &mut self,
        key: &str,
        field: &str,
        read_only: &mut Option<bool>,
    ) -> Result<(), MountFault> {
        match key {
            "readonly" | "ro" => *read_only = Some(true),
            "readwrite" | "rw" => *read_only = Some(false),
            "required" => {
                self.check_key(key, &[MountKind::Secret, MountKind::Ssh])?;
                self.required = true;
            }
            _ => return Err(MountProblem::NotPair(field.to_owned()).into()),
        }
        Ok(())
    }

    fn set(
        &mut self,
        key: &str,
        value: String,
        field: &str,
        read_only: &mut Option<bool>,
    ) -> Result<(), MountFault> {
        match key {
            "type" => self.kind = kind(&value)?,
            "from" => self.from = value,
            "source" | "src" => self.source = value,
            "target" | "dst" | "destination" => self.target = value,
            "readonly" | "ro" => *read_only = Some(boolean(key, &value)?),
            "readwrite" | "rw" => *read_only = Some(!boolean(key, &value)?),
            "required" => {
                self.check_key(key, &[MountKind::Secret, MountKind::Ssh])?;
                self.required = boolean(key, &value)?;
            }
            "size" => {
                self.check_key(key, &[MountKind::Tmpfs])?;
                self.size_bytes = ram_in_bytes(&value).map_err(|_| wrong(key, &value))?;
            }
            "id" => self.id = value,
            "sharing" => self.sharing = Some(sharing(&value)?),
            "mode" => self.mode = Some(number(key, &value, 8)?),
            "uid" => self.uid = Some(number(key, &value, 10)?),
            "gid" => self.gid = Some(number(key, &value, 10)?),
            "env" => self.env = Some(value),
            _ => {
                return Err(MountFault {
                    problem: MountProblem::Key {
                        key: key.to_owned(),
                        field: field.to_owned(),
                    },
                    did_you_mean: nearest(key, KEYS),
                });
            }
        }
        Ok(())
    }

    fn check_key(&self, key: &str, kinds: &[MountKind]) -> Result<(), MountFault> {
        if kinds.contains(&self.kind) {
            return Ok(());
        }
        let kind = self.kind.name();
        let key = key.to_owned();
        Err(MountProblem::KeyForType { key, kind }.into())
    }

    fn check(&self) -> Result<(), MountFault> {
        let kind = self.kind.name();
        let is_secret = self.kind == MountKind::Secret;
        let problem = if matches!(self.kind, MountKind::Bind | MountKind::Tmpfs)
            && (self.mode.is_some() || self.uid.is_some() || self.gid.is_some())
        {
            let key = match (self.mode, self.uid) {
                (Some(_), _) => "mode",
                (None, Some(_)) => "uid",
                (None, None) => "gid",
            };
            MountProblem::NotForType { key, kind }
        } else if is_secret && !self.from.is_empty() {
            MountProblem::SecretFrom
        } else if is_secret && self.sharing.is_some() {
            MountProblem::SecretSharing
        } else if is_secret
            && self.source.is_empty()
            && self.target.is_empty()
            && self.id.is_empty()
        {
            MountProblem::SecretNothing
        } else if is_secret && !self.source.is_empty() && !self.id.is_empty() {
            MountProblem::SecretBoth
        } else if self.kind == MountKind::Ssh && !self.source.is_empty() {
            MountProblem::SshSource
        } else if self.sharing.is_some() && self.kind != MountKind::Cache {
            MountProblem::SharingForType(kind)
        } else {
            return Ok(());
        };
        Err(problem.into())
    }
}

fn kind(value: &str) -> Result<MountKind, MountFault> {
    let lower = value.to_lowercase();
    let known = KINDS.iter().find(|(name, _)| *name == lower);
    known.map(|(_, kind)| *kind).ok_or_else(|| MountFault {
        problem: MountProblem::Type(value.to_owned()),
        did_you_mean: nearest(value, KINDS.map(|(name, _)| name)),
    })
}

fn sharing(value: &str) -> Result<Sharing, MountFault> {
    let lower = value.to_lowercase();
    let known = SHARINGS.iter().find(|(name, _)| *name == lower);
    known.map(|(_, mode)| *mode).ok_or_else(|| MountFault {
        problem: MountProblem::Sharing(value.to_owned()),
        did_you_mean: nearest(value, SHARINGS.map(|(name, _)| name)),
    })
}

fn wrong(key: &str, value: &str) -> MountProblem {
    MountProblem::Value {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

fn boolean(key: &str, value: &str) -> Result<bool, MountFault> {
    parse_bool(value).map_err(|_| wrong(key, value).into())
}

fn number(key: &str, value: &str, radix: u32) -> Result<u32, MountFault> {
    let number = parse_uint(value, radix, u32::BITS);
    number
        .ok()
        .and_then(|number| u32::try_from(number).ok())
        .ok_or_else(|| wrong(key, value).into())
}

/// A device for one RUN, by its CDI name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// The name.
    pub name: String,
    /// The step fails without it.
    pub required: bool,
}

impl Device {
    /// Reads `--device`.
    pub(super) fn parse(text: &str) -> Result<Self, MountFault> {
        let mut device = Self::default();
        for field in parse_record(text).map_err(MountProblem::Csv)? {
            match field.split_once('=') {
                None if field.eq_ignore_ascii_case("required") => device.required = true,
                None if device.name.is_empty() => device.name = field,
                None => return Err(MountProblem::NotPair(field).into()),
                Some((key, value)) if key.eq_ignore_ascii_case("name") => {
                    if !device.name.is_empty() {
                        return Err(MountProblem::DeviceName(device.name).into());
                    }
                    device.name = value.to_owned();
                }
                Some((key, value)) if key.eq_ignore_ascii_case("required") => {
                    device.required = boolean("required", value)?;
                }
                // A CDI name has a `=` itself.
                Some(_) if device.name.is_empty() => device.name = field,
                Some((key, _)) => {
                    return Err(MountFault {
                        did_you_mean: nearest(key, ["name", "required"]),
                        problem: MountProblem::Key {
                            key: key.to_owned(),
                            field: field.clone(),
                        },
                    });
                }
            }
        }
        Ok(device)
    }
}
