//! What a service's container sees of the host and of the project: volumes, secrets, configs.

use types::container::ContainerSpec;
use types::mount::{BindOptions, ImageOptions, MountKind, MountSpec, TmpfsOptions, VolumeOptions};

use super::{InjectedFile, Maker, image_name};
use crate::error::ComposeError;
use crate::model::{self, FileReference, ServiceVolume};

impl Maker<'_> {
    pub(super) fn mounts(&self, spec: &mut ContainerSpec) -> Result<(), ComposeError> {
        for volume in &self.service.volumes {
            self.check_target(volume)?;
            match volume.kind.as_str() {
                "bind" if !needs_mount(volume) => {
                    spec.binds.push(bind_text(&volume.source, volume))
                }
                "volume"
                    if volume.source.is_empty()
                        && !volume.read_only
                        && volume.volume.as_ref().is_none_or(is_plain) =>
                {
                    spec.volumes.push(volume.target.clone());
                }
                "volume"
                    if !volume.source.is_empty() && volume.volume.as_ref().is_none_or(is_plain) =>
                {
                    spec.binds
                        .push(bind_text(self.volume_name(&volume.source), volume));
                }
                "bind" | "volume" | "tmpfs" | "image" => spec.mounts.push(self.mount(volume)),
                other => {
                    let text = format!(
                        "services.{}.volumes: type {other} is not supported",
                        self.name
                    );
                    return Err(ComposeError::of_project(text));
                }
            }
        }
        Ok(())
    }

    fn check_target(&self, volume: &ServiceVolume) -> Result<(), ComposeError> {
        let target = volume.target.as_str();
        if target.starts_with('/') {
            return Ok(());
        }
        let mut error = ComposeError::of_project(format!(
            "services.{}.volumes: invalid mount path: '{target}' mount path must be absolute",
            self.name
        ));
        error.hint = Some(format!("write the whole path, /{target}"));
        Err(error)
    }

    fn volume_name<'v>(&'v self, key: &'v str) -> &'v str {
        self.project
            .volumes
            .get(key)
            .map_or(key, |volume| volume.name.as_str())
    }

    fn mount(&self, volume: &ServiceVolume) -> MountSpec {
        let kind = match volume.kind.as_str() {
            "bind" => MountKind::Bind,
            "tmpfs" => MountKind::Tmpfs,
            "image" => MountKind::Image,
            _ => MountKind::Volume,
        };
        let source = match kind {
            MountKind::Volume => self.volume_name(&volume.source).to_owned(),
            MountKind::Image if self.project.any_service(&volume.source).is_some() => {
                image_name(self.project, &volume.source)
            }
            _ => volume.source.clone(),
        };
        MountSpec {
            kind,
            source,
            target: volume.target.clone(),
            read_only: volume.read_only,
            consistency: volume.consistency.clone(),
            bind: volume
                .bind
                .as_ref()
                .filter(|_| kind == MountKind::Bind)
                .map(|bind| BindOptions {
                    propagation: bind.propagation.clone(),
                    non_recursive: bind.recursive == "disabled",
                    create_mountpoint: bind.create_host_path,
                    read_only_non_recursive: bind.recursive == "writable",
                    read_only_force_recursive: bind.recursive == "readonly",
                }),
            volume: volume
                .volume
                .as_ref()
                .filter(|_| kind == MountKind::Volume)
                .map(|options| VolumeOptions {
                    no_copy: options.nocopy,
                    labels: options.labels.0.clone(),
                    subpath: options.subpath.clone(),
                    ..VolumeOptions::default()
                }),
            image: volume.image.as_ref().map(|image| ImageOptions {
                subpath: image.subpath.clone(),
            }),
            tmpfs: volume.tmpfs.as_ref().map(|tmpfs| TmpfsOptions {
                size_bytes: tmpfs.size.0,
                mode: u32::try_from(tmpfs.mode).unwrap_or_default(),
                options: String::new(),
            }),
        }
    }

    /// Secrets and configs: those with a file are mounted, the others are put in.
    pub(super) fn files(
        &self,
        spec: &mut ContainerSpec,
    ) -> Result<Vec<InjectedFile>, ComposeError> {
        let mut injected = Vec::new();
        let service = self.service;
        let secrets = service
            .secrets
            .iter()
            .map(|file| ("secret", "/run/secrets/", file, &self.project.secrets));
        let configs = service
            .configs
            .iter()
            .map(|file| ("config", "/", file, &self.project.configs));
        for (what, folder, reference, known) in secrets.chain(configs) {
            let Some(object) = known.get(&reference.source) else {
                continue;
            };
            let unsupported = [
                (object.external, "external"),
                (!object.driver.is_empty(), "driver"),
                (!object.template_driver.is_empty(), "template_driver"),
            ];
            for (is_said, key) in unsupported {
                if is_said {
                    let text = format!(
                        "{what} {} is not supported: {key} needs Swarm; use file, environment or content",
                        reference.source
                    );
                    return Err(ComposeError::of_project(text));
                }
            }
            let target = match reference.target.as_str() {
                "" => format!("{folder}{}", reference.source),
                target if target.starts_with('/') => target.to_owned(),
                target => format!("{folder}{target}"),
            };
            if spec.mounts.iter().any(|mount| mount.target == target) {
                continue;
            }
            if object.file.is_empty() {
                injected.push(self.injected(what, reference, object, target)?);
            } else {
                spec.mounts.push(MountSpec {
                    kind: MountKind::Bind,
                    source: object.file.clone(),
                    target,
                    read_only: true,
                    consistency: String::new(),
                    bind: Some(BindOptions::default()),
                    volume: None,
                    image: None,
                    tmpfs: None,
                });
            }
        }
        Ok(injected)
    }

    fn injected(
        &self,
        what: &str,
        reference: &FileReference,
        object: &model::FileObject,
        target: String,
    ) -> Result<InjectedFile, ComposeError> {
        let is_set = self.project.environment.contains_key(&object.environment);
        if !object.environment.is_empty() && !is_set {
            let text = format!(
                "environment variable {:?} required by {what} {:?} is not set",
                object.environment, reference.source
            );
            let key = format!("{what}s.{}", reference.source);
            let mut error = self.project.error_at(&key, text);
            let name = &object.environment;
            error.hint = Some(format!(
                "set it: export {name}=… or a line {name}=… in .env"
            ));
            return Err(error);
        }
        if self.service.read_only {
            let text = format!(
                "cannot create {what} {:?} in read-only service {}: `file` is the sole supported option",
                reference.source, self.name
            );
            return Err(ComposeError::of_project(text));
        }
        let number = |text: &str| text.parse().unwrap_or_default();
        Ok(InjectedFile {
            target,
            content: object.content.clone(),
            uid: number(&reference.uid),
            gid: number(&reference.gid),
            mode: reference
                .mode
                .map_or(0o444, |mode| u32::try_from(mode.0).unwrap_or(0o444)),
        })
    }
}

fn is_plain(options: &model::VolumeOptions) -> bool {
    options.labels.is_empty() && options.subpath.is_empty() && !options.nocopy
}

fn needs_mount(volume: &ServiceVolume) -> bool {
    let Some(bind) = &volume.bind else {
        return false;
    };
    !bind.create_host_path || !bind.propagation.is_empty() || !bind.recursive.is_empty()
}

fn bind_text(source: &str, volume: &ServiceVolume) -> String {
    let mut options = vec![if volume.read_only { "ro" } else { "rw" }];
    if let Some(bind) = volume.bind.as_ref().filter(|bind| !bind.selinux.is_empty()) {
        options.push(&bind.selinux);
    }
    format!("{source}:{}:{}", volume.target, options.join(","))
}
