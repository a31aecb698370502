//! `RUN --mount`.

use types::lexical_path::clean;

use crate::dockerfile::command::Run;
use crate::dockerfile::error::{DockerfileError, Problem};
use crate::dockerfile::mount::{self, Mount, MountFault, MountKind};
use crate::dockerfile::place::Origin;
use crate::graph::{
    self, CacheMount, ContextSource, Input, Op, SecretMount, Sharing, SshMount, Step, StepId,
};

use super::Lowering;
use super::stages::Planned;

/// Where secrets are found when nobody says.
const SECRETS: &str = "/run/secrets";
/// Where sockets of agents are.
const AGENTS: &str = "/run/buildkit/ssh_agent";
const CACHE_MODE: u32 = 0o755;
const SECRET_MODE: u32 = 0o400;
const AGENT_MODE: u32 = 0o600;

/// An error on its way out of a mount's text.
enum Fault {
    Mount(MountFault),
    Word(DockerfileError),
}

impl From<MountFault> for Fault {
    fn from(fault: MountFault) -> Self {
        Self::Mount(fault)
    }
}

impl Lowering<'_> {
    /// The mounts with their variables replaced.
    pub(super) fn mount_flags(
        &mut self,
        at: usize,
        run: &Run,
        origin: &Origin,
    ) -> Result<Vec<Mount>, DockerfileError> {
        let mut mounts = Vec::with_capacity(run.mounts.len());
        for flag in &run.mounts {
            let read = flag.mount(|word| self.word(at, word, origin).map_err(Fault::Word));
            mounts.push(read.map_err(|fault| match fault {
                Fault::Word(error) => error,
                Fault::Mount(fault) => DockerfileError {
                    did_you_mean: fault.did_you_mean.map(str::to_owned),
                    ..DockerfileError::at(fault.problem.into(), origin, &flag.text)
                },
            })?);
        }
        Ok(mounts)
    }

    /// The mounts of a step: files in the order of their targets, then secrets and agents.
    pub(super) fn mounts(
        &mut self,
        at: usize,
        planned: &Planned,
        flags: &[Mount],
    ) -> Result<Vec<graph::Mount>, DockerfileError> {
        let origin = &planned.instruction.origin;
        let (mut files, mut secrets, mut agents) = (Vec::new(), Vec::new(), Vec::new());
        for (number, mount) in flags.iter().enumerate() {
            match mount.kind {
                MountKind::Secret => secrets.push(secret(mount)),
                MountKind::Ssh => agents.push(agent(mount, agents.len())),
                MountKind::Bind | MountKind::Cache | MountKind::Tmpfs => {
                    let source = planned.sources.get(number).copied().flatten();
                    files.push(self.files(at, mount, source, origin)?);
                }
            }
        }
        // What is mounted above another one's target comes first.
        files.sort_by(|one, other| one.target.cmp(&other.target));
        files.append(&mut secrets);
        files.append(&mut agents);
        Ok(files)
    }

    fn files(
        &mut self,
        at: usize,
        mount: &Mount,
        source: Option<usize>,
        origin: &Origin,
    ) -> Result<graph::Mount, DockerfileError> {
        let from = match source {
            Some(source) => Some(self.source_root(at, source, &mount.from, origin)?),
            None => None,
        };
        let target = target(mount, &self.states[at].directory);
        if target == "/" {
            let problem = Problem::MountTarget(mount.target.clone());
            return Err(DockerfileError::at(problem, origin, "--mount"));
        }
        let source = clean(&format!("/{}", mount.source));
        let kind = match mount.kind {
            MountKind::Tmpfs => graph::MountKind::Tmpfs {
                size_bytes: u64::try_from(mount.size_bytes).unwrap_or_default(),
            },
            MountKind::Cache => graph::MountKind::Cache(CacheMount {
                id: self.cache_id(mount),
                sharing: match mount.sharing {
                    None | Some(mount::Sharing::Shared) => Sharing::Shared,
                    Some(mount::Sharing::Private) => Sharing::Private,
                    Some(mount::Sharing::Locked) => Sharing::Locked,
                },
                from: from.map(Input::new),
                source,
                is_read_only: mount.read_only,
                mode: mount.mode.unwrap_or(CACHE_MODE),
                uid: mount.uid.unwrap_or_default(),
                gid: mount.gid.unwrap_or_default(),
            }),
            _ => {
                let from = match from {
                    Some(from) => from,
                    None => self.context_step(),
                };
                graph::MountKind::Bind {
                    from: Input::new(from),
                    source,
                    is_writable: !mount.read_only,
                }
            }
        };
        Ok(graph::Mount { target, kind })
    }

    /// The name of a cache: its target if it has no other, and the namespace of the build.
    fn cache_id(&self, mount: &Mount) -> String {
        let id = match mount.id.as_str() {
            "" => clean(&mount.target),
            id => id.to_owned(),
        };
        match self
            .request
            .wishes
            .build_arguments
            .get("BUILDKIT_CACHE_MOUNT_NS")
        {
            Some(namespace) if !namespace.is_empty() => format!("{namespace}/{id}"),
            _ => id,
        }
    }

    /// The files of another stage, which must be before this one.
    pub(super) fn source_root(
        &mut self,
        at: usize,
        source: usize,
        name: &str,
        origin: &Origin,
    ) -> Result<StepId, DockerfileError> {
        if !self.states[source].is_done || source == at {
            let problem = Problem::LaterStage {
                from: name.to_owned(),
                stage: self.states[at].label.clone(),
            };
            return Err(DockerfileError::at(problem, origin, name));
        }
        Ok(self.root(source).step())
    }

    /// The files of the build's context.
    pub(super) fn context_step(&mut self) -> StepId {
        self.graph.add(Step {
            op: Op::Context(ContextSource {
                name: String::new(),
                ignore: self.request.wishes.ignore.clone(),
            }),
            name: "[internal] load build context".to_owned(),
            place: None,
            ignores_cache: false,
        })
    }
}

/// Where a mount goes; what is relative, in the step's directory.
fn target(mount: &Mount, directory: &str) -> String {
    if mount.target.starts_with('/') {
        clean(&mount.target)
    } else {
        clean(&format!("/{directory}/{}", mount.target))
    }
}

fn secret(mount: &Mount) -> graph::Mount {
    let id = [&mount.source, &mount.id]
        .into_iter()
        .find(|id| !id.is_empty())
        .cloned()
        .unwrap_or_else(|| base_name(&mount.target));
    let is_file = mount.env.is_none() || !mount.target.is_empty();
    let target = match mount.target.as_str() {
        "" if is_file => format!("{SECRETS}/{}", base_name(&id)),
        "" => String::new(),
        target => clean(&format!("/{target}")),
    };
    graph::Mount {
        target,
        kind: graph::MountKind::Secret(SecretMount {
            id,
            env: mount.env.clone(),
            is_file,
            is_required: mount.required,
            mode: mount.mode.unwrap_or(SECRET_MODE),
            uid: mount.uid.unwrap_or_default(),
            gid: mount.gid.unwrap_or_default(),
        }),
    }
}

fn agent(mount: &Mount, number: usize) -> graph::Mount {
    let target = match mount.target.as_str() {
        "" => format!("{AGENTS}.{number}"),
        target => clean(&format!("/{target}")),
    };
    graph::Mount {
        target,
        kind: graph::MountKind::Ssh(SshMount {
            id: match mount.id.as_str() {
                "" => "default".to_owned(),
                id => id.to_owned(),
            },
            is_required: mount.required,
            mode: mount.mode.unwrap_or(AGENT_MODE),
            uid: mount.uid.unwrap_or_default(),
            gid: mount.gid.unwrap_or_default(),
        }),
    }
}

/// The last part of a path.
fn base_name(path: &str) -> String {
    let cleaned = clean(path);
    cleaned.rsplit('/').next().unwrap_or_default().to_owned()
}
