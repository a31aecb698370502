//! `docker inspect` of an image.

use serde_json::{Map, Value, json};

use super::container_inspect::{GraphDriver, graph_driver};
use super::{Members, time_or_zero};

/// What `inspect` shows of an image, gathered by the engine.
#[derive(Clone, Debug)]
pub struct ImageView<'a> {
    /// The image's id, `sha256:…`.
    pub id: &'a str,
    /// Familiar names with tags.
    pub repo_tags: &'a [String],
    /// Familiar names with digests.
    pub repo_digests: &'a [String],
    /// Id of the image it was built on, or empty.
    pub parent: &'a str,
    /// The commit's message, or empty: the last entry of the history may have one.
    pub comment: &'a str,
    /// RFC 3339, or empty.
    pub created: &'a str,
    /// Version of the program that made it, or empty.
    pub docker_version: &'a str,
    /// Author, or empty.
    pub author: &'a str,
    /// The `config` member of the image's configuration document.
    pub config: &'a Value,
    /// CPU architecture.
    pub architecture: &'a str,
    /// CPU variant, or empty.
    pub variant: &'a str,
    /// Operating system.
    pub os: &'a str,
    /// Bytes of its layers, unpacked.
    pub size_bytes: i64,
    /// Where its top layer lies.
    pub graph_driver: &'a GraphDriver,
    /// Digests of its unpacked layers, lowest first.
    pub diff_ids: &'a [String],
    /// When it was last tagged, RFC 3339, or empty.
    pub last_tag_time: &'a str,
    /// Its manifest, where known.
    pub descriptor: Option<DescriptorView<'a>>,
}

/// A reference to a document in a registry.
#[derive(Clone, Copy, Debug)]
pub struct DescriptorView<'a> {
    /// Its media type.
    pub media_type: &'a str,
    /// Its digest.
    pub digest: &'a str,
    /// Its bytes.
    pub size_bytes: i64,
}

/// The members of an image's configuration that Docker shows, in its order.
const CONFIG_MEMBERS: [&str; 13] = [
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "ArgsEscaped",
    "Healthcheck",
    "OnBuild",
    "Shell",
];

/// The document `GET /images/{name}/json` answers and `docker inspect` prints in an array.
#[must_use]
pub fn image_inspect(input: &ImageView<'_>) -> Value {
    let mut document = Members::default();
    document
        .add("Id", input.id)
        .add("RepoTags", input.repo_tags)
        .add("RepoDigests", input.repo_digests)
        .add("Parent", input.parent)
        .add("Comment", input.comment)
        .add_filled("Created", input.created)
        .add("DockerVersion", input.docker_version)
        .add("Author", input.author)
        .add("Config", config(input.config))
        .add("Architecture", input.architecture)
        .add_filled("Variant", input.variant)
        .add("Os", input.os)
        .add("Size", input.size_bytes)
        .add("GraphDriver", graph_driver(input.graph_driver))
        .add("RootFS", root_fs(input.diff_ids))
        .add(
            "Metadata",
            json!({ "LastTagTime": time_or_zero(input.last_tag_time) }),
        );
    if let Some(descriptor) = input.descriptor {
        document.add(
            "Descriptor",
            json!({
                "mediaType": descriptor.media_type,
                "digest": descriptor.digest,
                "size": descriptor.size_bytes,
            }),
        );
    }
    document.build()
}

/// The configuration without what is empty or unknown to Docker; maps sorted as Go sorts them.
fn config(document: &Value) -> Value {
    let mut members = Members::default();
    for name in CONFIG_MEMBERS {
        if let Some(value) = document.get(name) {
            let value = if name == "Healthcheck" {
                value.clone()
            } else {
                sorted(value)
            };
            members.add_filled(name, value);
        }
    }
    members.build()
}

fn sorted(value: &Value) -> Value {
    let Value::Object(members) = value else {
        return value.clone();
    };
    let mut entries: Vec<(&String, &Value)> = members.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
        .into_iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect::<Map<_, _>>()
        .into()
}

fn root_fs(diff_ids: &[String]) -> Value {
    Members::default()
        .add("Type", "layers")
        .add_filled("Layers", diff_ids)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    // The order is that of the engine's structs at API 1.50; `Config` has lost its empty members.
    #[test]
    fn members_stand_in_dockers_order() {
        let config = json!({
            "Hostname": "x", "Cmd": ["sh"], "Env": ["PATH=/bin"], "Entrypoint": null,
            "Labels": {"b": "1", "a": "2"}, "Volumes": {}, "OnBuild": null
        });
        let document = image_inspect(&ImageView {
            id: "sha256:aa",
            repo_tags: &["nginx:latest".to_owned()],
            repo_digests: &[],
            parent: "",
            comment: "",
            created: "2024-01-01T00:00:00Z",
            docker_version: "",
            author: "",
            config: &config,
            architecture: "amd64",
            variant: "",
            os: "linux",
            size_bytes: 7,
            graph_driver: &GraphDriver {
                name: "overlay2".to_owned(),
                data: None,
            },
            diff_ids: &["sha256:dd".to_owned()],
            last_tag_time: "",
            descriptor: None,
        });
        assert_eq!(
            document.to_string(),
            concat!(
                r#"{"Id":"sha256:aa","RepoTags":["nginx:latest"],"RepoDigests":[],"Parent":"","#,
                r#""Comment":"","Created":"2024-01-01T00:00:00Z","DockerVersion":"","#,
                r#""Author":"","Config":{"Env":["PATH=/bin"],"Cmd":["sh"],"#,
                r#""Labels":{"a":"2","b":"1"}},"Architecture":"amd64","Os":"linux","Size":7,"#,
                r#""GraphDriver":{"Data":null,"Name":"overlay2"},"#,
                r#""RootFS":{"Type":"layers","Layers":["sha256:dd"]},"#,
                r#""Metadata":{"LastTagTime":"0001-01-01T00:00:00Z"}}"#
            )
        );
    }
}
