//! Options that are kept as the user typed them, understood.

use runtime::SeccompRequest;
use runtime::spec::Mount;
use types::mount::{MountKind, MountSpec};

use crate::error::EngineError;

/// `--security-opt`, all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SecurityOptions {
    pub(crate) no_new_privileges: bool,
    pub(crate) seccomp: SeccompRequest,
    pub(crate) apparmor: String,
    pub(crate) label: String,
    pub(crate) system_paths_unconfined: bool,
    pub(crate) writable_cgroups: bool,
}

impl SecurityOptions {
    /// Reads the options.
    ///
    /// # Errors
    /// One that is not known, in Docker's words.
    pub(crate) fn parse(options: &[String]) -> Result<Self, EngineError> {
        let mut parsed = Self::default();
        for option in options {
            parsed.take(option)?;
        }
        Ok(parsed)
    }

    fn take(&mut self, option: &str) -> Result<(), EngineError> {
        let invalid = || EngineError::invalid(format!("invalid --security-opt: {option:?}"));
        // Docker takes both `key=value` and the older `key:value`.
        let at = option.find(['=', ':']);
        let (key, value) = at.map_or((option, None), |at| {
            (&option[..at], Some(&option[at + 1..]))
        });
        let flag = match value {
            None | Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        };
        match (key, value) {
            ("no-new-privileges", _) => self.no_new_privileges = flag.ok_or_else(invalid)?,
            ("writable-cgroups", _) => self.writable_cgroups = flag.ok_or_else(invalid)?,
            ("seccomp", Some("unconfined")) => self.seccomp = SeccompRequest::Unconfined,
            ("seccomp", Some("builtin")) => self.seccomp = SeccompRequest::Default,
            ("seccomp", Some(profile)) => {
                self.seccomp = SeccompRequest::Profile(profile.to_string());
            }
            ("systempaths", Some("unconfined")) => self.system_paths_unconfined = true,
            ("apparmor", Some("unconfined")) => self.apparmor.clear(),
            ("apparmor", Some(profile)) => self.apparmor = profile.to_string(),
            ("label", Some(value)) => self.label = value.to_string(),
            _ => return Err(invalid()),
        }
        Ok(())
    }
}

/// Mount options of `-v SRC:DST:OPTIONS`.
pub(crate) fn bind_options(text: &str) -> Vec<String> {
    let mut options = vec!["rbind".to_string()];
    let mut propagation = "rprivate";
    for option in text.split(',').filter(|option| !option.is_empty()) {
        match option {
            // Read-only is so for what is mounted below as well, where the kernel can.
            "ro" | "readonly" => options.push("rro".into()),
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                propagation = option;
            }
            // Labels and caching hints of other systems; volumes' nocopy.
            _ => {}
        }
    }
    options.push(propagation.into());
    options
}

/// A mount of `--mount`, as the runtime takes it.
pub(crate) fn mount_of(request: &MountSpec) -> Result<Mount, EngineError> {
    match request.kind {
        MountKind::Bind => Ok(bind_of(request)),
        MountKind::Tmpfs => Ok(tmpfs_of(request)),
        MountKind::Image => Ok(image_of(request)),
        MountKind::Volume | MountKind::Npipe | MountKind::Cluster => {
            Err(EngineError::invalid(format!(
                "cannot mount on {}: type {:?} does not exist on Linux without Swarm",
                request.target, request.kind
            )))
        }
    }
}

fn bind_of(request: &MountSpec) -> Mount {
    let bind = request.bind.clone().unwrap_or_default();
    let mut options = vec![if bind.non_recursive { "bind" } else { "rbind" }.to_string()];
    if request.read_only {
        options.push(
            if bind.read_only_non_recursive {
                "ro"
            } else {
                "rro"
            }
            .into(),
        );
    }
    let propagation = if bind.propagation.is_empty() {
        "rprivate"
    } else {
        &bind.propagation
    };
    options.push(propagation.to_string());
    Mount {
        destination: request.target.clone(),
        kind: "bind".into(),
        source: request.source.clone(),
        options,
        ..Mount::default()
    }
}

/// An image is for many: it is only read, whatever was asked for.
fn image_of(request: &MountSpec) -> Mount {
    let image = request.image.clone().unwrap_or_default();
    Mount {
        destination: request.target.clone(),
        kind: "image".into(),
        source: request.source.clone(),
        subpath: image.subpath,
        options: vec!["ro".into()],
        ..Mount::default()
    }
}

fn tmpfs_of(request: &MountSpec) -> Mount {
    let tmpfs = request.tmpfs.clone().unwrap_or_default();
    let mut options: Vec<String> = ["noexec", "nosuid", "nodev"].map(String::from).to_vec();
    if tmpfs.size_bytes > 0 {
        options.push(format!("size={}", tmpfs.size_bytes));
    }
    if tmpfs.mode != 0 {
        options.push(format!("mode={:o}", tmpfs.mode));
    }
    options.extend(
        tmpfs
            .options
            .split(',')
            .filter(|o| !o.is_empty())
            .map(String::from),
    );
    if request.read_only {
        options.push("ro".into());
    }
    Mount {
        destination: request.target.clone(),
        kind: "tmpfs".into(),
        source: "tmpfs".into(),
        options,
        ..Mount::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_options_are_understood_or_refused_by_name() {
        let parse = |text: &str| SecurityOptions::parse(&[text.to_string()]);
        assert!(parse("no-new-privileges").unwrap().no_new_privileges);
        assert!(!parse("no-new-privileges=false").unwrap().no_new_privileges);
        assert!(parse("no-new-privileges:true").unwrap().no_new_privileges);
        assert_eq!(
            parse("seccomp=unconfined").unwrap().seccomp,
            SeccompRequest::Unconfined
        );
        let profile = SeccompRequest::Profile("{\"a\":1}".into());
        assert_eq!(parse("seccomp={\"a\":1}").unwrap().seccomp, profile);
        for bad in ["nonsense", "no-new-privileges=maybe", "systempaths=all", ""] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_read_only_bind_is_so_all_the_way_down() {
        assert_eq!(bind_options("ro,z"), ["rbind", "rro", "rprivate"]);
        assert_eq!(bind_options("rslave"), ["rbind", "rslave"]);
    }
}
