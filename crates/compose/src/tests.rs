//! The loader as a whole, on files in memory.

use crate::golden::MemoryFiles;
use crate::{ComposeError, Format, Loaded, Request};

fn load(files: &[(&str, &str)]) -> Loaded {
    MemoryFiles::of(files).load().unwrap()
}

fn refuse(files: &[(&str, &str)]) -> ComposeError {
    MemoryFiles::of(files).load().unwrap_err()
}

fn yaml(loaded: &Loaded) -> String {
    crate::show(&loaded.project, Format::Yaml)
}

#[test]
fn a_project_is_printed_as_docker_compose_prints_it() {
    let loaded = load(&[(
        "compose.yaml",
        "services:\n  web:\n    image: nginx\n    ports: ['8080:80']\n    volumes: ['data:/data', './x:/x:ro']\n    command: echo hi\nvolumes:\n  data:\n",
    )]);
    let expected = "\
name: p
services:
  web:
    command:
      - echo
      - hi
    image: nginx
    networks:
      default: null
    ports:
      - mode: ingress
        target: 80
        published: \"8080\"
        protocol: tcp
    volumes:
      - type: volume
        source: data
        target: /data
        volume: {}
      - type: bind
        source: /p/x
        target: /x
        read_only: true
        bind: {}
networks:
  default:
    name: p_default
volumes:
  data:
    name: p_data
";
    assert_eq!(yaml(&loaded), expected);
}

#[test]
fn later_files_override_reset_and_replace_earlier_ones() {
    let loaded = load(&[
        (
            "compose.yaml",
            "services:\n  a:\n    image: x\n    environment: {A: 1, B: 2}\n    ports: ['1:1', '2:2']\n    expose: ['5']\n    labels: [k=v]\n",
        ),
        (
            "compose.override.yml",
            "services:\n  a:\n    environment: [B=3, C=4]\n    ports: !override ['9:9']\n    expose: !reset []\n    labels: {k: w}\n",
        ),
    ]);
    let service = &loaded.project.services["a"];
    let value = |name: &str| service.environment.0[name].as_deref();
    assert_eq!(
        (value("A"), value("B"), value("C")),
        (Some("1"), Some("3"), Some("4"))
    );
    let ports: Vec<_> = service
        .ports
        .iter()
        .map(|port| port.published.as_str())
        .collect();
    assert_eq!(ports, ["9"]);
    assert!(service.expose.is_empty());
    assert_eq!(service.labels.0["k"], "w");
}

#[test]
fn includes_and_extends_keep_their_own_directories() {
    let loaded = load(&[
        (
            "compose.yaml",
            "include: [sub/part.yaml]\nservices:\n  web:\n    extends: {file: base/base.yaml, service: base}\n    environment: {OWN: 1}\n",
        ),
        (
            "sub/part.yaml",
            "services:\n  db:\n    image: ${DB}\n    volumes: ['./d:/d']\n",
        ),
        ("sub/.env", "DB=postgres"),
        (
            "base/base.yaml",
            "services:\n  base:\n    build: ./ctx\n    env_file: [vars.env]\n",
        ),
        ("base/vars.env", "FROM=file"),
    ]);
    let services = &loaded.project.services;
    assert_eq!(services["db"].image, "postgres");
    assert_eq!(services["db"].volumes[0].source, "/p/sub/d");
    assert_eq!(
        services["web"].build.as_ref().unwrap().context,
        "/p/base/ctx"
    );
    assert_eq!(
        services["web"].environment.0["FROM"].as_deref(),
        Some("file")
    );
    assert_eq!(services["web"].environment.0["OWN"].as_deref(), Some("1"));
}

#[test]
fn errors_carry_place_and_way_out() {
    let error = refuse(&[(
        "compose.yaml",
        "services:\n  web:\n    image: a\n    networks: [bakc]\nnetworks:\n  back:\n",
    )]);
    assert_eq!(
        error.to_string(),
        "/p/compose.yaml:4:16: service \"web\" refers to undefined network bakc"
    );
    assert_eq!(error.hint.unwrap(), "did you mean `back`?");
    let error = refuse(&[(
        "compose.yaml",
        "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [a]}\n",
    )]);
    assert!(
        error
            .to_string()
            .ends_with("dependency cycle detected: a -> b -> a"),
        "{error}"
    );
    let error = refuse(&[
        ("compose.yaml", "services: {a: {image: x, env_file: [e]}}"),
        ("e", "A=1\nB B=2\n"),
    ]);
    assert_eq!(error.to_string(), "/p/e:2:1: key cannot contain a space");
    let error = refuse(&[("compose.yaml", "services:\n  a: {image: '${V:?set it}'}\n")]);
    assert_eq!(
        error.to_string(),
        "/p/compose.yaml:2:14: error while interpolating services.a.image: required variable V is missing a value: set it"
    );
    let error = refuse(&[("compose.yaml", "include: ['https://example.org/x.yaml']")]);
    assert!(
        error
            .text
            .contains("files of other machines are not fetched")
    );
    for remote in [
        "oci://r/a:1",
        "https://h/a.git",
        "git@h:a",
        "github.com/a/b",
    ] {
        let request = crate::Request {
            working_dir: "/p".to_owned(),
            files: vec![remote.to_owned()],
            ..crate::Request::default()
        };
        let error = crate::load(&request, &MemoryFiles::default()).unwrap_err();
        let text = format!("remote resource {remote:?}: files of other machines are not fetched");
        assert_eq!(error.to_string(), text);
    }
    let error = refuse(&[("compose.yaml", "include: [compose.yaml]")]);
    assert!(error.text.contains("include cycle detected"));
    let error = refuse(&[(
        "compose.yaml",
        "services:\n  a: {extends: b, image: x}\n  b: {extends: a}\n",
    )]);
    assert!(
        error
            .text
            .contains("Circular reference:\n  a in /p/compose.yaml\n  extends b"),
        "{error}"
    );
    let error = refuse(&[("other.yaml", "")]);
    assert_eq!(error.text, "no configuration file provided: not found");
}

#[test]
fn profiles_turn_services_on() {
    let files = MemoryFiles::of(&[(
        "compose.yaml",
        "services:\n  a: {image: x}\n  b: {image: x, profiles: [dev], depends_on: [a]}\n  c: {image: x}\n",
    )]);
    let names = |profiles: &[&str], services: &[&str]| {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let request = Request {
            working_dir: "/p".to_owned(),
            profiles: texts(profiles),
            services: texts(services),
            ..Request::default()
        };
        let loaded = crate::load(&request, &files).unwrap();
        loaded
            .project
            .services
            .into_keys()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(names(&[], &[]), "a c");
    assert_eq!(names(&["dev"], &[]), "a b c");
    assert_eq!(names(&[], &["b"]), "a b");
    assert_eq!(names(&[], &["c"]), "c");
}

#[test]
fn explain_tells_who_said_what() {
    let loaded = load(&[
        (
            "compose.yaml",
            "services:\n  a:\n    image: x\n    environment:\n      A: 1\n",
        ),
        ("compose.override.yml", "services:\n  a:\n    image: y\n"),
    ]);
    let origins = loaded.explain("services.a");
    let shown: Vec<String> = origins
        .iter()
        .map(|origin| {
            let place = origin
                .place
                .as_ref()
                .map(|(file, line, column)| format!("{file}:{line}:{column}"));
            format!(
                "{}={} {}",
                origin.key,
                origin.value,
                place.unwrap_or_default()
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "services.a.environment.A=1 /p/compose.yaml:5:10",
            "services.a.image=y /p/compose.override.yml:3:12",
            "services.a.networks.default=null /p/compose.yaml:3:5",
        ]
    );
}

#[test]
fn names_come_from_files_and_directories() {
    let loaded = load(&[(
        "compose.yaml",
        "name: My ${X:-Pro}-1\nservices: {a: {image: x}}",
    )]);
    assert_eq!(loaded.project.name, "mypro-1");
    assert_eq!(crate::normalize_project_name("_-A b.C"), "abc");
}

#[test]
fn secrets_from_the_environment_are_not_shown() {
    let files = MemoryFiles::of(&[(
        "compose.yaml",
        "services: {a: {image: x, secrets: [s]}}\nsecrets: {s: {environment: S}}\n",
    )]);
    let request = Request {
        working_dir: "/p".to_owned(),
        environment: [("S".to_owned(), "hush".to_owned())].into(),
        ..Request::default()
    };
    let loaded = crate::load(&request, &files).unwrap();
    assert_eq!(loaded.project.secrets["s"].content, "hush");
    for format in [Format::Yaml, Format::Json] {
        assert!(!crate::show(&loaded.project, format).contains("hush"));
    }
}

#[test]
fn who_asks_for_a_file_that_is_not_there_is_to_blame() {
    for (text, place) in [
        (
            "services:\n  a:\n    extends: {file: nosuch.yaml, service: x}\n",
            "/p/compose.yaml:3:14: open /p/nosuch.yaml: no such file or directory",
        ),
        (
            "include:\n  - path: [b.yaml, nosuch.yaml]\nservices: {}\n",
            "/p/compose.yaml:2:5: open /p/nosuch.yaml: no such file or directory",
        ),
    ] {
        let error = refuse(&[("compose.yaml", text), ("b.yaml", "services: {}")]);
        assert_eq!(error.to_string(), place);
    }
}

#[test]
fn what_is_no_text_is_told_with_its_place() {
    let nul = refuse(&[("compose.yaml", "services:\n  a: {image: \"é\0\"}\n")]);
    assert_eq!(
        nul.to_string(),
        "/p/compose.yaml:2:16: a NUL byte is no text"
    );
    let text = "services: {a: {image: x, env_file: [e]}}\n";
    let nul = refuse(&[("compose.yaml", text), ("e", "A=1\nB=\0\n")]);
    assert_eq!(nul.to_string(), "/p/e:2:3: a NUL byte is no text");
    let text = "services: {a: {image: x, env_file: [{path: e, format: raw}]}}\n";
    for (content, expected) in [
        (
            "A=1\n\nB C=2\n",
            "/p/e:3:1: variable 'B C' contains whitespaces",
        ),
        ("A=\"1\n=x", "/p/e:2:1: no variable name on line '=x'"),
    ] {
        let error = refuse(&[("compose.yaml", text), ("e", content)]);
        assert_eq!(error.to_string(), expected);
    }
    let loaded = load(&[("compose.yaml", text), ("e", "A='1' # no\r\nB=$A\nA\n")]);
    let variables = &loaded.project.services["a"].environment.0;
    assert_eq!(variables["A"].as_deref(), Some("'1' # no"));
    assert_eq!(variables["B"].as_deref(), Some("$A"));
}

#[test]
fn what_no_machine_could_make_is_refused_before_it_is_made() {
    for (services, expected) in [
        (
            "a: {image: x, scale: 99999999999}",
            "1:26: services.a: a project has at most 20000 containers",
        ),
        (
            "a: {image: x, deploy: {replicas: 99999999999999999999}}",
            "1:35: services.a: a project has at most 20000 containers",
        ),
        (
            "a: {image: x, container_name: cc}, b: {image: x, container_name: cc}",
            "1:61: services.b: container name \"cc\" is already in use by service a",
        ),
        (
            "a: {image: x, container_name: p-b-2}, b: {image: x, scale: 2}",
            "1:26: services.a: container name \"p-b-2\" is already in use by service b",
        ),
        (
            "a: {image: x, ports: [80, {target: 99999}]}",
            "1:38: invalid containerPort: 99999",
        ),
        (
            "a: {image: x, ports: [{target: 80, published: many}]}",
            "1:34: invalid hostPort: many",
        ),
        (
            "a: {image: x, ports: ['127.0.0.1:1-65535:1-65535', '127.0.0.2:1-65535:1-65535', '127.0.0.3:1-65535:1-65535']}",
            "1:92: a service has at most 131072 ports",
        ),
        (
            "a: {image: x, ports: [{target: 0}]}",
            "1:34: invalid containerPort: 0: nothing can listen there",
        ),
    ] {
        let error = refuse(&[("compose.yaml", &format!("services: {{{services}}}"))]);
        assert_eq!(error.to_string(), format!("/p/compose.yaml:{expected}"));
    }
    load(&[(
        "compose.yaml",
        "services: {a: {image: x, container_name: p-b-3}, b: {image: x, scale: 2}}",
    )]);
}

#[test]
fn a_value_that_no_container_takes_is_told_with_its_service() {
    for (key, expected) in [
        (
            "runtime: kata",
            "services.a.runtime: unknown or invalid runtime name: kata",
        ),
        (
            "storage_opt: {size: 1G}",
            "services.a.storage_opt is not supported",
        ),
        (
            "userns_mode: other",
            "services.a.userns_mode: invalid mode \"other\"",
        ),
        (
            "restart: sometimes",
            "services.a.restart: invalid restart policy",
        ),
        (
            "mem_limit: -5",
            "services.a.mem_limit: must be greater than or equal to 0, not -5",
        ),
        (
            "cpus: .nan",
            "services.a.cpus: must be greater than or equal to 0, not NaN",
        ),
        ("cpus: .inf", "services.a.cpus: must be greater"),
        (
            "pids_limit: -2",
            "services.a.pids_limit: must be greater than or equal to -1, not -2",
        ),
        (
            "deploy: {resources: {limits: {pids: -2}}}",
            "services.a.deploy.resources.limits.pids: must be",
        ),
        ("tmpfs: [x]", "services.a.tmpfs: invalid mount path: 'x'"),
        ("dns: [x]", "services.a.dns: x is not an ip address"),
        (
            "extra_hosts: [\"a:999.1.1.1\"]",
            "services.a.extra_hosts: invalid IP address",
        ),
    ] {
        let text = format!("services:\n  a:\n    image: x\n    {key}\n");
        let project = load(&[("compose.yaml", &text)]).project;
        let error =
            crate::container::container(&project, "a", crate::container::Instance::Number(1));
        let error = error.map(|_| ()).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("/p/compose.yaml:4:5: {expected}")),
            "{error}"
        );
    }
    for key in [
        "runtime: runc",
        "restart: on-failure:3",
        "extra_hosts: [\"a:host-gateway\", \"b:[::1]\", \"c:1.2.3.4\"]",
        "ipc: shareable",
        "uts: host",
    ] {
        let text = format!("services:\n  a:\n    image: x\n    {key}\n");
        let project = load(&[("compose.yaml", &text)]).project;
        crate::container::container(&project, "a", crate::container::Instance::Number(1)).unwrap();
    }
}
