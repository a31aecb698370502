//! Why a container must be made anew, in words.

use types::container::ContainerSpec;

/// What is different, in words: the first thing that is.
pub(super) fn difference(wanted: &ContainerSpec, there: &ContainerSpec) -> String {
    if wanted.image != there.image {
        return format!("image changed from {} to {}", there.image, wanted.image);
    }
    let has = |spec: &ContainerSpec, pair: &str| spec.env.iter().any(|known| known == pair);
    let changed: Vec<&str> = wanted
        .env
        .iter()
        .filter(|pair| !has(there, pair))
        .map(|pair| pair.split('=').next().unwrap_or_default())
        .collect();
    if !changed.is_empty() {
        return format!("environment {} changed", changed.join(", "));
    }
    let lists = [
        ("ports", wanted.publish == there.publish),
        (
            "volumes",
            wanted.binds == there.binds && wanted.mounts == there.mounts,
        ),
        ("command", wanted.cmd.is_none() || wanted.cmd == there.cmd),
        (
            "entrypoint",
            wanted.entrypoint.is_none() || wanted.entrypoint == there.entrypoint,
        ),
        ("networks", wanted.networks == there.networks),
        (
            "labels",
            wanted.labels.iter().all(|(key, value)| {
                key.starts_with("com.docker.compose.") || there.labels.get(key) == Some(value)
            }),
        ),
        ("restart", wanted.restart == there.restart),
        ("limits", wanted.resources == there.resources),
        ("hostname", wanted.hostname == there.hostname),
        ("user", wanted.user.is_empty() || wanted.user == there.user),
    ];
    let changed: Vec<&str> = lists
        .iter()
        .filter(|(_, same)| !same)
        .map(|(name, _)| *name)
        .collect();
    match changed.is_empty() {
        true => "its configuration changed".to_owned(),
        false => format!("{} changed", changed.join(", ")),
    }
}
