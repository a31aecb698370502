use super::*;

const YAML: &str = r#"
cdiVersion: "0.5.0"
kind: nvidia.com/gpu
containerEdits:
  env: [NVIDIA_VISIBLE_DEVICES=void]
  mounts:
  - {hostPath: /usr/lib/libx.so, containerPath: /usr/lib/libx.so, options: [ro, nosuid, nodev, bind]}
  hooks:
  - hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
    args: [nvidia-cdi-hook, update-ldcache, --folder, /usr/lib]
devices:
- name: "0"
  containerEdits:
    deviceNodes: [{path: /dev/nvidia0, hostPath: /dev/null, fileMode: 438}]
- name: all
  containerEdits:
    deviceNodes: [{path: /dev/nvidia0, type: c, major: 195, minor: 0, permissions: rw}]
    additionalGids: [44, 0]
"#;

/// A directory with these files.
fn directory(files: &[(&str, &str)]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let paths = vec![directory.path().to_owned()];
    (directory, paths)
}

fn gpus(count: i64) -> DeviceRequest {
    DeviceRequest {
        count,
        capabilities: vec![vec!["gpu".into()]],
        ..Default::default()
    }
}

fn by_name(name: &str) -> DeviceRequest {
    DeviceRequest {
        driver: "cdi".into(),
        device_ids: vec![name.into()],
        ..Default::default()
    }
}

#[test]
fn what_a_file_describes_is_given() {
    let (_kept, paths) = directory(&[("nvidia.yaml", YAML)]);
    let all = resolve(&[gpus(-1)], Some(&paths)).unwrap();
    assert_eq!(all.env, ["NVIDIA_VISIBLE_DEVICES=void"]);
    assert_eq!(all.devices[0].1, "c 195:0 rw");
    assert_eq!(all.mounts[0].destination, "/usr/lib/libx.so");
    assert_eq!(all.hooks[0].args[1], "update-ldcache");
    assert_eq!(all.groups, ["44"]);

    // By number and by name it is the same device; the host tells what the file does not.
    let first = resolve(&[gpus(1), by_name("nvidia.com/gpu=0")], Some(&paths)).unwrap();
    let (node, rule) = &first.devices[0];
    assert_eq!((first.devices.len(), first.env.len()), (1, 1));
    assert_eq!(
        (node.path.as_str(), rule.as_str()),
        ("/dev/nvidia0", "c 1:3 rwm")
    );
    assert_eq!(node.file_mode, 0o666);
}

#[test]
fn a_later_directory_wins_and_one_directory_may_not_contradict_itself() {
    let json = |env: &str| {
        format!(
            r#"{{"cdiVersion":"1.0.0","kind":"a.com/x","devices":[{{"name":"n","containerEdits":{{"env":["{env}"]}}}}]}}"#
        )
    };
    let (_first, mut paths) = directory(&[("a.json", &json("V=1")), ("notes.txt", "{")]);
    let (_second, more) = directory(&[("a.json", &json("V=2"))]);
    paths.extend(more);
    let edits = resolve(&[by_name("a.com/x=n")], Some(&paths)).unwrap();
    assert_eq!(edits.env, ["V=2"]);

    let (_third, paths) = directory(&[("a.json", &json("V=1")), ("b.json", &json("V=2"))]);
    let error = resolve(&[by_name("a.com/x=n")], Some(&paths))
        .unwrap_err()
        .to_string();
    assert!(error.contains("described twice"), "{error}");
}

#[test]
fn what_is_missing_or_not_understood_is_named() {
    let edits = |edits: &str| {
        format!(
            "cdiVersion: 0.6.0\nkind: a.com/x\ndevices:\n- name: n\n  containerEdits: {edits}\n"
        )
    };
    for (text, want) in [
        (
            edits("{hooks: [{hookName: poststop, path: /x}]}"),
            "hook \"poststop\" is not supported",
        ),
        (
            edits("{mounts: [{hostPath: x, containerPath: /x}]}"),
            "\"x\" is not an absolute path",
        ),
        (
            edits("{mounts: [{containerPath: /x, type: proc}]}"),
            "type \"proc\"",
        ),
        (
            edits("{deviceNodes: [{path: /dev/not-there}]}"),
            "/dev/not-there: ",
        ),
        (
            edits("{deviceNodes: [{path: /etc/passwd}]}"),
            "is not a device node",
        ),
        (edits("{env: [NAME]}"), "has no value"),
        (
            edits("{netDevices: [{hostInterfaceName: e}]}"),
            "netDevices are not supported",
        ),
        (
            edits("{intelRdt: {closID: a}}"),
            "intelRdt is not supported",
        ),
        (
            edits("{env: 5}"),
            "devices[0].containerEdits.env: a list was expected, not the number 5",
        ),
        ("a: [".to_owned(), "a.yaml: "),
        (
            "cdiVersion: 9.0.0\nkind: a.com/x\n".to_owned(),
            "version \"9.0.0\"",
        ),
    ] {
        let (_kept, paths) = directory(&[("a.yaml", &text)]);
        let error = resolve(&[by_name("a.com/x=n")], Some(&paths))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("CDI device injection failed: ") && error.contains(want),
            "{error}"
        );
    }
    let error = resolve(&[gpus(-1)], Some(&[])).unwrap_err().to_string();
    assert!(
        error.starts_with("could not select device driver \"\" with capabilities: [[gpu]]"),
        "{error}"
    );
}
