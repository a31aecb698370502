//! Tests of [`crate::image`].

use serde_json::json;

use crate::container::Healthcheck;
use crate::image::*;
use crate::platform::Platform;

fn digest(character: char) -> String {
    format!("sha256:{}", character.to_string().repeat(64))
}

fn manifest() -> serde_json::Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MEDIA_DOCKER_MANIFEST,
        "config": {"mediaType": MEDIA_DOCKER_CONFIG, "digest": digest('a'), "size": 7},
        "layers": [{"mediaType": MEDIA_DOCKER_LAYER_GZIP, "digest": digest('b'), "size": 9}],
        "annotations": null,
        "future": {"x": 1},
    })
}

fn index() -> serde_json::Value {
    let entry = |character, architecture: &str| {
        json!({"mediaType": MEDIA_OCI_MANIFEST, "digest": digest(character), "size": 1,
            "platform": {"os": "linux", "architecture": architecture}})
    };
    let mut attestation = entry('c', "amd64");
    attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    json!({"schemaVersion": 2, "manifests": [attestation, entry('d', "arm64"), entry('e', "amd64")]})
}

fn parse(value: &serde_json::Value, media_type: Option<&str>) -> Result<Document, String> {
    Document::parse(value.to_string().as_bytes(), media_type).map_err(|error| error.to_string())
}

#[test]
fn manifests_and_indexes_are_read_and_keep_unknown_members() {
    let Ok(Document::Manifest(read)) = parse(&manifest(), Some(MEDIA_DOCKER_MANIFEST)) else {
        panic!("a manifest")
    };
    assert_eq!(read.layers[0].size, 9);
    assert_eq!(read.extra["future"]["x"], 1);
    let mut written = serde_json::to_value(&read).unwrap();
    written["annotations"] = json!(null);
    assert_eq!(written, manifest());
    let Ok(Document::Index(read)) = parse(&index(), Some("application/json")) else {
        panic!("an index")
    };
    let chosen = read.select(&Platform::new("linux", "amd64", "")).unwrap();
    assert_eq!(chosen.digest.to_string(), digest('e'));
    assert!(read.select(&Platform::new("linux", "s390x", "")).is_none());
    assert_eq!(read.platforms(), ["linux/arm64", "linux/amd64"]);
    let document = parse(&json!({"schemaVersion": 2}), Some(MEDIA_OCI_INDEX)).unwrap();
    assert_eq!(document.media_type(), MEDIA_OCI_INDEX);
}

#[test]
fn ambiguous_and_mislabelled_documents_are_refused() {
    let mut both = manifest();
    both["manifests"] = json!([]);
    let mut liar = manifest();
    liar["mediaType"] = MEDIA_OCI_INDEX.into();
    let mut no_type = manifest();
    no_type.as_object_mut().unwrap().remove("mediaType");
    for (value, media_type, want) in [
        (both, None, "it is both an index and an image manifest"),
        (
            liar,
            None,
            "media type application/vnd.oci.image.index.v1+json does not fit",
        ),
        (no_type, Some(MEDIA_OCI_INDEX), "does not fit its content"),
        (
            manifest(),
            Some(MEDIA_OCI_MANIFEST),
            "the server said application/vnd.oci",
        ),
        (
            json!({"schemaVersion": 1, "fsLayers": []}),
            None,
            "schema version 1 is not supported",
        ),
        (
            json!({"schemaVersion": 3, "layers": []}),
            None,
            "schema version 3 is not supported",
        ),
        (
            json!({"schemaVersion": 2}),
            None,
            "neither an index nor an image manifest",
        ),
        (json!([]), None, "cannot read manifest"),
    ] {
        let error = parse(&value, media_type).unwrap_err();
        assert!(error.contains(want), "{error}");
    }
    let charset = format!("{MEDIA_DOCKER_MANIFEST}; charset=utf-8");
    assert!(parse(&manifest(), Some(&charset)).is_ok());
}

#[test]
fn hostile_documents_are_bounded() {
    let huge = vec![b' '; MANIFEST_BYTES_MAX + 1];
    assert!(matches!(
        Document::parse(&huge, None),
        Err(ImageError::TooLarge { .. })
    ));
    let huge = vec![b' '; CONFIG_BYTES_MAX + 1];
    assert!(matches!(
        ImageConfig::parse(&huge),
        Err(ImageError::TooLarge { .. })
    ));
    let deep = format!("{{\"schemaVersion\":2,\"layers\":{}", "[".repeat(100_000));
    assert!(matches!(
        Document::parse(deep.as_bytes(), None),
        Err(ImageError::Json { .. })
    ));
    let deep = format!("{{\"x\":{}", "{\"a\":".repeat(100_000));
    assert!(matches!(
        ImageConfig::parse(deep.as_bytes()),
        Err(ImageError::Json { .. })
    ));
    let mut many = manifest();
    many["layers"] = json!(vec![many["layers"][0].clone(); LAYERS_MAX + 1]);
    assert!(
        parse(&many, None)
            .unwrap_err()
            .contains("more than the limit")
    );
    for bad in ["-1", "1.5", "\"9\""] {
        let text = manifest()
            .to_string()
            .replace("\"size\":9", &format!("\"size\":{bad}"));
        assert!(Document::parse(text.as_bytes(), None).is_err(), "{bad}");
    }
    let mut escaping = manifest();
    escaping["config"]["digest"] = "sha256:../../etc/passwd".into();
    assert!(parse(&escaping, None).is_err());
    let twice = r#"{"schemaVersion":2,"schemaVersion":2,"layers":[]}"#;
    assert!(Document::parse(twice.as_bytes(), None).is_err());
}

#[test]
fn configurations_are_read_with_null_and_unknown_members() {
    let text = json!({
        "architecture": "arm64", "os": "linux", "variant": "v8",
        "created": "2024-01-01T00:00:00Z", "author": null, "container": "x",
        "config": {
            "Env": ["A=1"], "Cmd": ["sh"], "Entrypoint": null, "ExposedPorts": {"80/tcp": {}},
            "Volumes": null, "Labels": {"a": null}, "OnBuild": null, "Image": "sha256:x",
            "Healthcheck": {"Test": ["CMD", "x"], "Interval": 5, "Retries": -1},
        },
        "rootfs": {"type": "layers", "diff_ids": [digest('f')]},
        "history": [{"created_by": "ADD x", "empty_layer": true}],
    });
    let config = ImageConfig::parse(text.to_string().as_bytes()).unwrap();
    assert_eq!(config.platform().to_string(), "linux/arm64");
    assert_eq!(config.created_at().unwrap().unix_seconds(), 1_704_067_200);
    assert_eq!(config.extra["container"], "x");
    assert_eq!(config.config.extra["Image"], "sha256:x");
    assert_eq!(
        (config.config.cmd, config.config.entrypoint),
        (Some(vec!["sh".into()]), None)
    );
    assert!(config.history[0].empty_layer);
    let check = Healthcheck::from(config.config.healthcheck.as_ref().unwrap());
    assert_eq!((check.interval_ns, check.retries), (5, 0));
    assert_eq!(ImageHealthcheck::from(&check).test, ["CMD", "x"]);
    let empty = ImageConfig::parse(b"{\"config\":null,\"rootfs\":null,\"history\":null}").unwrap();
    assert_eq!(empty, ImageConfig::default());
    assert_eq!(empty.created_at(), None);
    let Ok(Document::Manifest(one_layer)) = parse(&manifest(), None) else {
        panic!()
    };
    assert!(empty.check_layers(&one_layer).is_err());
}

#[test]
fn written_configurations_are_read_back() {
    let config = ImageConfig {
        architecture: "amd64".to_owned(),
        os: "linux".to_owned(),
        created: Some("2024-01-01T00:00:00Z".to_owned()),
        ..ImageConfig::default()
    };
    let bytes = serde_json::to_vec(&config).unwrap();
    assert_eq!(ImageConfig::parse(&bytes).unwrap(), config);
}
