//! Goal: steps, configuration, history and warnings of every real Dockerfile are BuildKit's.
//! Method: the corpus' recorded answers over a stub of base images; then what the corpus has not.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use types::digest::Digest;
use types::image::{ContainerDefaults, ImageConfig};
use types::platform::Platform;
use types::reference::Reference;

use super::*;
use crate::dockerfile::parse;
use crate::golden;
use crate::graph::*;

/// BuildKit asks what is allowed later, when it solves.
const ALL: Allowed = Allowed {
    host_network: true,
    insecure: true,
};

/// Every image is the one of the goldens.
struct Stub;

impl Resolver for Stub {
    fn image(&mut self, reference: &str, platform: &Platform) -> Result<ResolvedImage, String> {
        let reference =
            Reference::parse_normalized(reference).map_err(|error| error.to_string())?;
        if reference.path() == "library/missing" {
            return Err("no such image".to_owned());
        }
        let mut bytes = [0; 32];
        for (at, byte) in reference.to_string().bytes().enumerate() {
            bytes[at % 32] ^= byte.rotate_left(u32::try_from(at / 32).unwrap());
        }
        let id = Digest::sha256_from_bytes(&bytes);
        let mut config = ImageConfig {
            architecture: "amd64".to_owned(),
            os: "linux".to_owned(),
            config: ContainerDefaults {
                env: vec![
                    format!("PATH={}", super::bases::DEFAULT_PATH),
                    "BASEVAR=frombase".to_owned(),
                ],
                cmd: Some(vec!["/bin/sh".to_owned()]),
                labels: BTreeMap::from([("base".to_owned(), "yes".to_owned())]),
                ..ContainerDefaults::default()
            },
            ..ImageConfig::default()
        };
        if reference.path() == "library/onbuild" {
            config.config.on_build = vec![
                "RUN echo one".to_owned(),
                "COPY --from=tools /a /b".to_owned(),
                "RUN <<E\ntwo\nE".to_owned(),
            ];
        }
        config.rootfs.diff_ids.push(id.clone());
        let _ = platform;
        Ok(ResolvedImage {
            source: ImageSource {
                reference: reference.with_default_tag().to_string(),
                id,
            },
            manifest: None,
            config,
        })
    }

    fn oci_layout(
        &mut self,
        _: &Path,
        reference: &str,
        platform: &Platform,
    ) -> Result<ResolvedImage, String> {
        self.image(reference, platform)
    }
}

fn amd64() -> Platform {
    Platform::new("linux", "amd64", "")
}

fn lowered(source: &[u8]) -> Result<(Graph, Lowered), String> {
    let dockerfile = parse(source).map_err(|error| error.located("Dockerfile"))?;
    let mut request = Request::new(&dockerfile, amd64());
    request.wishes.allowed = ALL;
    lower_with(request)
}

fn lower_with(request: Request) -> Result<(Graph, Lowered), String> {
    let mut graph = Graph::default();
    match lower(&request, &mut Stub, &mut graph) {
        Ok(lowered) => Ok((graph, lowered)),
        Err(LowerError::Dockerfile(error)) => Err(error.located("Dockerfile")),
        Err(error) => Err(error.to_string()),
    }
}

/// The steps that the result needs, in the form of the goldens.
fn plan(graph: &Graph) -> Vec<Value> {
    let needed = graph.needed();
    let steps = graph.steps.iter().zip(needed).filter(|(_, needed)| *needed);
    steps
        .flat_map(|(step, _)| step_plan(graph, &step.op))
        .collect()
}

fn step_plan(graph: &Graph, op: &Op) -> Vec<Value> {
    match op {
        Op::Scratch => Vec::new(),
        Op::Image(image) => vec![source(&format!("docker-image://{}", image.reference))],
        Op::Context(_) => vec![source("local://context")],
        Op::Http(http) => vec![source(&http.url)],
        Op::Git(git) => {
            let remote = git
                .remote
                .split_once("://")
                .map_or(git.remote.as_str(), |(_, rest)| rest);
            let mut id = format!("git://{remote}");
            if !git.reference.is_empty() || !git.subdirectory.is_empty() {
                id.push_str(&format!("#{}", git.reference));
            }
            if !git.subdirectory.is_empty() {
                id.push_str(&format!(":{}", git.subdirectory));
            }
            vec![source(&id)]
        }
        Op::MakeDirectory(make) => vec![json!({"op": "mkdir", "path": make.path, "mode": 0o755})],
        Op::Copy(copy) => copy_plan(graph, copy),
        Op::Run(run) => run_plan(run),
    }
}

fn source(id: &str) -> Value {
    let id = match id.split_once("@sha256:") {
        Some((name, _)) => name,
        None => id,
    };
    json!({"op": "source", "id": id})
}

fn copy_plan(graph: &Graph, copy: &Copy) -> Vec<Value> {
    let mut plan = Vec::new();
    let octal = copy.chmod.as_ref().map(|mode| i64::from_str_radix(mode, 8));
    let mode = octal.clone().unwrap_or(Ok(-1)).unwrap_or(0);
    let symbolic = match octal {
        Some(Err(_)) => copy.chmod.clone().unwrap_or_default(),
        _ => String::new(),
    };
    for from in &copy.sources {
        let (src, is_local, include) = match from {
            CopySource::Files { pattern, .. } if copy.keeps_parents => {
                let (start, kept) = split_pivot(pattern);
                (start.to_owned(), true, json!([kept]))
            }
            CopySource::Files { pattern, from, .. } => {
                let is_git = matches!(graph.step(from.step()).op, Op::Git(_));
                (pattern.clone(), !is_git, Value::Null)
            }
            CopySource::Download { name, .. } => (format!("/{name}"), false, Value::Null),
            CopySource::Inline { name, data } => {
                plan.push(json!({
                    "op": "mkfile",
                    "path": format!("/{name}"),
                    "mode": 0o644,
                    "data": String::from_utf8_lossy(data),
                }));
                (format!("/{name}"), false, Value::Null)
            }
        };
        let exclude = match copy.excludes.is_empty() {
            true => Value::Null,
            false => json!(copy.excludes),
        };
        plan.push(json!({
            "op": "copy",
            "src": src,
            "dest": copy.destination,
            "dircontents": is_local,
            "wildcard": is_local,
            "include": include,
            "exclude": exclude,
            "mode": mode,
            "modestr": symbolic,
            "owner": owner(copy.chown.as_deref()),
            "unpack": is_local && copy.unpack != Unpack::Never,
        }));
    }
    // Upon nothing, a layer of its own is the whole.
    if copy.is_linked && graph.step(copy.root.step()).op != Op::Scratch {
        plan.push(json!({"op": "merge"}));
    }
    plan
}

fn owner(chown: Option<&str>) -> String {
    let Some(chown) = chown else {
        return "<nil>".to_owned();
    };
    let id = |text: &str| match text.parse::<u32>() {
        _ if text == "root" => "{byID:0}".to_owned(),
        Ok(number) => format!("{{byID:{number}}}"),
        Err(_) => format!("{{byName:{{name:{text:?}}}}}"),
    };
    match chown.split_once(':') {
        Some((user, group)) => format!("user:{} group:{}", id(user), id(group)),
        None => format!("user:{}", id(chown)),
    }
}

fn run_plan(run: &Run) -> Vec<Value> {
    let mut plan = Vec::new();
    let mut mounts = vec![json!({"dest": "/", "ro": false, "type": "BIND"})];
    for mount in &run.mounts {
        let target = &mount.target;
        let with_selector = |mut found: Value, selector: &str| {
            if selector != "/" {
                found["selector"] = json!(selector);
            }
            found
        };
        mounts.push(match &mount.kind {
            MountKind::Bind {
                source,
                is_writable,
                ..
            } => with_selector(
                json!({"dest": target, "ro": !is_writable, "type": "BIND"}),
                source,
            ),
            MountKind::Cache(cache) => with_selector(
                json!({"dest": target, "ro": cache.is_read_only, "type": "CACHE"}),
                &cache.source,
            ),
            MountKind::Tmpfs { .. } => json!({"dest": target, "ro": false, "type": "TMPFS"}),
            MountKind::Secret(secret) if !secret.is_file => continue,
            MountKind::Secret(_) => json!({"dest": target, "ro": false, "type": "SECRET"}),
            MountKind::Ssh(_) => json!({"dest": target, "ro": false, "type": "SSH"}),
            MountKind::File { data, mode } => {
                let name = target.trim_start_matches("/dev/pipes");
                plan.push(json!({
                    "op": "mkfile",
                    "path": name,
                    "mode": mode,
                    "data": String::from_utf8_lossy(data),
                }));
                json!({"dest": "/dev/pipes/", "ro": true, "type": "BIND", "selector": "/"})
            }
        });
    }
    plan.push(json!({
        "op": "exec",
        "args": run.args,
        "cwd": run.cwd,
        "env": run.env,
        "mounts": mounts,
        "net": match run.network { Network::Default => "UNSET", Network::None => "NONE", Network::Host => "HOST" },
        "sec": match run.security { Security::Sandbox => "SANDBOX", Security::Insecure => "INSECURE" },
        "user": run.user,
    }));
    plan
}

/// A golden's plan without what names nothing that is built.
fn golden_plan(case: &Value) -> Vec<Value> {
    let mut steps = Vec::new();
    for step in case["plan"].as_array().into_iter().flatten() {
        let mut step = step.clone();
        if step["op"] == "source" {
            step = source(step["id"].as_str().unwrap());
        }
        for mount in step
            .get_mut("mounts")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            // Paths of secrets are made absolute before anybody uses them.
            let target =
                types::lexical_path::clean(&format!("/{}", mount["dest"].as_str().unwrap()));
            let is_scripts = target == "/dev/pipes";
            mount["dest"] = if is_scripts {
                json!("/dev/pipes/")
            } else {
                json!(target)
            };
        }
        steps.push(step);
    }
    steps
}

/// The value with the members of its objects in the order of their names.
fn canonical(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<String, Value> = members
                .into_iter()
                .map(|(name, value)| (name, canonical(value)))
                .collect();
            json!(sorted)
        }
        Value::Array(values) => values.into_iter().map(canonical).collect(),
        other => other,
    }
}

fn sorted(steps: Vec<Value>) -> Vec<String> {
    let steps = steps.into_iter().map(|step| canonical(step).to_string());
    let mut steps: Vec<String> = steps.collect();
    steps.sort();
    steps.dedup();
    steps
}

fn history(graph: &Graph) -> Value {
    let lines = graph.results[0].history.iter();
    lines
        .map(|line| json!({"created_by": line.created_by, "empty": line.step.is_none()}))
        .collect()
}

/// The members of a golden's answer that differ from ours.
fn differences(
    case: &Value,
    found: &(Graph, Lowered),
    all: &[Warning],
) -> Vec<(&'static str, String)> {
    let (graph, _) = found;
    let mut differences = Vec::new();
    let mut compare = |what, found: Value, want: &Value| {
        if found != *want && !(want.is_null() && found == json!([])) {
            differences.push((what, format!("\n  found {found}\n  want  {want}")));
        }
    };
    if case["convert_error"].is_null() {
        let config = serde_json::to_value(&graph.results[0].config.config).unwrap();
        compare("config", config, &case["config"]);
        compare("history", history(graph), &case["history"]);
        let (found, want) = (sorted(plan(graph)), sorted(golden_plan(case)));
        let missing: Vec<_> = want.iter().filter(|step| !found.contains(step)).collect();
        let extra: Vec<_> = found.iter().filter(|step| !want.contains(step)).collect();
        compare("plan", json!(extra), &json!(missing));
    }
    compare("lint", lint_summary(all), &lint_golden(case));
    differences
}

fn lint_summary(warnings: &[Warning]) -> Value {
    let mut lines: Vec<String> = warnings
        .iter()
        .map(|warning| {
            format!(
                "{} {} {}",
                warning.lines.start,
                warning.rule.name(),
                warning.detail
            )
        })
        .collect();
    lines.sort();
    json!(lines)
}

fn lint_golden(case: &Value) -> Value {
    let warnings = case["lint"].as_array().into_iter().flatten();
    let mut lines: Vec<String> = warnings
        .map(|warning| {
            let text = |key: &str| warning[key].as_str().unwrap().to_owned();
            format!("{} {} {}", warning["line"], text("rule"), text("detail"))
        })
        .collect();
    lines.sort();
    json!(lines)
}

#[test]
fn what_goes_beyond_confinement_must_be_allowed() {
    let allowed = |host_network, insecure| Allowed {
        host_network,
        insecure,
    };
    for (flag, lacks, enough, entitlement) in [
        (
            "--security=insecure",
            allowed(true, false),
            allowed(false, true),
            "security.insecure",
        ),
        (
            "--network=host",
            allowed(false, true),
            allowed(true, false),
            "network.host",
        ),
    ] {
        let text = format!("FROM a\nRUN {flag} true\n");
        let dockerfile = parse(text.as_bytes()).unwrap();
        let lowered = |allowed| {
            let mut request = Request::new(&dockerfile, amd64());
            request.wishes.allowed = allowed;
            lower_with(request)
        };
        let refused = lowered(lacks).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("{entitlement} is not allowed")),
            "{refused}"
        );
        assert!(lowered(enough).is_ok());
    }
}

#[test]
fn real_dockerfiles_become_what_buildkit_makes_of_them() {
    let mut wrong: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut count = 0;
    for case in golden::read("dockerfile-golden.jsonl") {
        let file = case["file"].as_str().unwrap();
        if !case["parse_error"].is_null() || !case["instr_error"].is_null() {
            continue;
        }
        count += 1;
        let source = std::fs::read(golden::corpus(file).unwrap()).unwrap();
        let found = lowered(&source);
        if found.is_err() == case["convert_error"].is_null() {
            let error = found.err();
            let text = format!("{file}: found {error:?}, want {}", case["convert_error"]);
            wrong.entry("error").or_default().push(text);
            continue;
        }
        let Ok(found) = found else { continue };
        // A check without target looks at all stages.
        let dockerfile = parse(&source).unwrap();
        let mut request = Request::new(&dockerfile, amd64());
        request.wishes.allowed = ALL;
        request.checks_all_stages = true;
        let (_, all) = lower_with(request).unwrap();
        for (what, difference) in differences(&case, &found, &all.warnings) {
            let text = format!("{file}: {difference}");
            wrong.entry(what).or_default().push(text);
        }
    }
    for (what, texts) in &wrong {
        eprintln!("== {what}: {} of {count} differ", texts.len());
        for text in texts {
            eprintln!("{text}");
        }
    }
    assert!(wrong.is_empty());
}

/// The texts of the steps that the result needs, by their names.
fn names(graph: &Graph) -> Vec<String> {
    let needed = graph.needed();
    let steps = graph.steps.iter().zip(needed).filter(|(_, needed)| *needed);
    steps.map(|(step, _)| step.name.clone()).collect()
}

/// The commands and environments of the RUN steps that the result needs.
fn runs(graph: &Graph) -> Vec<(String, Vec<String>)> {
    let needed = graph.needed();
    let steps = graph.steps.iter().zip(needed).filter(|(_, needed)| *needed);
    steps
        .filter_map(|(step, _)| match &step.op {
            Op::Run(run) => Some((run.args.last().unwrap().clone(), run.env.clone())),
            _ => None,
        })
        .collect()
}

fn created_by(graph: &Graph) -> Vec<&str> {
    let lines = graph.results[0].history.iter();
    lines.map(|line| line.created_by.as_str()).collect()
}

#[test]
fn only_stages_that_the_target_needs_are_lowered() {
    let source = b"FROM a AS one\nRUN 1\nFROM b AS two\nRUN 2\nFROM missing AS three\nRUN 3\n\
                   FROM one\nCOPY --from=two /x /y\nWORKDIR /\n";
    let (graph, lowered) = lowered(source).unwrap();
    assert_eq!(
        names(&graph),
        [
            "[one 1/2] FROM docker.io/library/a:latest",
            "[two 1/2] FROM docker.io/library/b:latest",
            "[one 2/2] RUN 1",
            "[two 2/2] RUN 2",
            "[stage-3 1/2] COPY --from=two /x /y",
        ]
    );
    assert_eq!(lowered.warnings, []);
    let dockerfile = parse(source).unwrap();
    let mut request = Request::new(&dockerfile, amd64());
    request.wishes.target = "TWO".to_owned();
    let (graph, _) = lower_with(request.clone()).unwrap();
    assert_eq!(runs(&graph).len(), 1);
    request.wishes.target = "tow".to_owned();
    let error = lower_with(request).unwrap_err();
    assert_eq!(
        error,
        "target stage \"tow\" could not be found (did you mean two?)"
    );
    let one = parse(b"FROM a\nRUN x\n").unwrap();
    let (graph, _) = lower_with(Request::new(&one, amd64())).unwrap();
    assert_eq!(names(&graph)[1], "[2/2] RUN x");
}

#[test]
fn arguments_are_seen_where_they_are_declared() {
    let source = b"ARG A=global\nARG B=b-$A\nFROM base:$B AS one\nRUN 0 $A\nARG A\nARG C=$A-c\n\
                   RUN 1\nFROM one\nENV C=env\nRUN 2\n";
    let (graph, _) = lowered(source).unwrap();
    let base = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let runs = runs(&graph);
    assert_eq!(
        runs[0],
        (
            "0 $A".to_owned(),
            vec![base.to_owned(), "BASEVAR=frombase".to_owned()]
        )
    );
    assert_eq!(runs[1].1[2..], ["A=global", "C=global-c"]);
    // What a stage inherits from another one are its arguments, too; ENV wins over them.
    assert_eq!(runs[2].1, ["A=global", base, "BASEVAR=frombase", "C=env"]);
    assert_eq!(
        created_by(&graph)[4..],
        ["ENV C=env", "RUN |2 A=global C=env /bin/sh -c 2 # buildkit"]
    );
    let dockerfile = parse(source).unwrap();
    let mut request = Request::new(&dockerfile, amd64());
    for (name, value) in [
        ("A", "x"),
        ("NOBODY", "y"),
        ("HTTP_PROXY", "p"),
        ("BUILDKIT_X", ""),
    ] {
        request
            .wishes
            .build_arguments
            .insert(name.to_owned(), value.to_owned());
    }
    let (graph, lowered) = lower_with(request).unwrap();
    assert_eq!(lowered.unused_arguments, ["NOBODY"]);
    assert_eq!(
        names(&graph)[0],
        "[one 1/3] FROM docker.io/library/base:b-x"
    );
    let Op::Run(run) = &graph.steps.last().unwrap().op else {
        panic!("no RUN");
    };
    // A proxy is seen, but is in no history and no key.
    assert_eq!(run.uncounted_env, ["HTTP_PROXY=p", "http_proxy=p"]);
    assert!(!run.env.iter().any(|pair| pair.contains("PROXY")));
    assert!(!format!("{:?}", graph.results[0].history).contains("PROXY"));
}

#[test]
fn platforms_are_arguments_and_choose_images() {
    let source = b"FROM --platform=$BUILDPLATFORM a AS build\nARG TARGETARCH\nARG TARGETSTAGE\n\
                   RUN $TARGETARCH\nFROM a\nCOPY --from=build /x /\n";
    let dockerfile = parse(source).unwrap();
    let mut request = Request::new(&dockerfile, amd64());
    request.platform = Some(Platform::new("linux", "arm64", ""));
    request.is_multi_platform = true;
    let (graph, lowered) = lower_with(request).unwrap();
    assert_eq!(
        names(&graph)[0],
        "[linux/amd64 build 1/2] FROM docker.io/library/a:latest"
    );
    assert!(runs(&graph)[0].1.contains(&"TARGETARCH=arm64".to_owned()));
    assert!(
        runs(&graph)[0]
            .1
            .contains(&"TARGETSTAGE=default".to_owned())
    );
    assert_eq!(
        graph.results[0].platform,
        Platform::new("linux", "arm64", "")
    );
    // The stub has but amd64.
    assert_eq!(lowered.warnings[0].rule, Rule::InvalidBaseImagePlatform);
}

#[test]
fn triggers_of_the_base_run_first_and_are_gone_after() {
    let source = b"FROM onbuild AS base\nONBUILD RUN child\nRUN own\nFROM base AS second\nRUN 2\n\
                   FROM second\nRUN 3\n";
    let (graph, _) = lowered(source).unwrap();
    let commands: Vec<String> = runs(&graph)
        .into_iter()
        .map(|(command, _)| command)
        .collect();
    assert_eq!(commands, ["echo one", "two\n", "own", "child", "2", "3"]);
    assert!(names(&graph).contains(&"[base 2/5] ONBUILD RUN echo one".to_owned()));
    assert!(
        names(&graph)
            .iter()
            .any(|name| name.ends_with("FROM docker.io/library/tools:latest"))
    );
    assert!(graph.results[0].config.config.on_build.is_empty());
    let (graph, _) = lowered(b"FROM a\nONBUILD COPY --from=0 a b\n").unwrap();
    assert_eq!(
        graph.results[0].config.config.on_build,
        ["COPY --from=0 a b"]
    );
}

#[test]
fn named_contexts_stand_for_images_and_stages() {
    let source = b"FROM alpine AS build\nRUN make\nFROM debian\nCOPY --from=build /x /\n\
                   COPY --from=assets a /\nRUN --mount=from=assets,target=/m x\n";
    let dockerfile = parse(source).unwrap();
    let mut request = Request::new(&dockerfile, amd64());
    let contexts = [
        (
            "alpine",
            NamedContext::Image("docker.io/library/other:1".to_owned()),
        ),
        ("assets", NamedContext::Local),
        ("debian", NamedContext::Image("scratch".to_owned())),
    ];
    request.wishes.contexts = contexts
        .map(|(name, context)| (name.to_owned(), context))
        .into();
    let (graph, _) = lower_with(request.clone()).unwrap();
    let images: Vec<&str> = graph
        .steps
        .iter()
        .filter_map(|step| match &step.op {
            Op::Image(image) => Some(image.reference.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(images, ["docker.io/library/other:1"]);
    let local = graph
        .steps
        .iter()
        .find(|step| step.name == "[context assets] load");
    assert!(matches!(&local.unwrap().op, Op::Context(context) if context.name == "assets"));
    // One that has a stage's name stands for all of the stage.
    let stage = NamedContext::Image("elsewhere".to_owned());
    request.wishes.contexts.insert("build".to_owned(), stage);
    let (graph, _) = lower_with(request.clone()).unwrap();
    assert_eq!(runs(&graph).len(), 1);
    request.wishes.contexts = BTreeMap::from([(
        "assets".to_owned(),
        NamedContext::Target("build".to_owned()),
    )]);
    let (graph, _) = lower_with(request).unwrap();
    assert_eq!(runs(&graph).len(), 2);
    assert!(
        !names(&graph)
            .iter()
            .any(|name| name.contains("assets:latest"))
    );
}

#[test]
fn mounts_secrets_and_sources_become_what_the_worker_needs() {
    let source = br#"FROM a
WORKDIR /w
ARG ID=i
RUN --mount=type=cache,target=c,id=$ID,uid=5 --mount=type=secret,id=s,env=S --mount=type=ssh \
    --mount=type=tmpfs,target=/t,size=1m --mount=target=/b,source=sub,rw x $S
COPY --chown=u: --parents ./a/./*/b c/*.h /d/
ADD --keep-git-dir=true https://h/r.git?tag=v1&subdir=d#ignored /git
"#;
    // A fragment and a tag that differ are a conflict.
    assert!(lowered(source).unwrap_err().contains("ref conflicts"));
    let source = String::from_utf8_lossy(source).replace("#ignored", "");
    let (graph, _) = lowered(source.as_bytes()).unwrap();
    let run = graph.steps.iter().find_map(|step| match &step.op {
        Op::Run(run) => Some((run, &step.name)),
        _ => None,
    });
    let (run, name) = run.unwrap();
    assert!(name.ends_with("x ****"), "{name}");
    let targets: Vec<&str> = run
        .mounts
        .iter()
        .map(|mount| mount.target.as_str())
        .collect();
    assert_eq!(
        targets,
        ["/b", "/t", "/w/c", "", "/run/buildkit/ssh_agent.0"]
    );
    assert!(
        run.env
            .contains(&"SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0".to_owned())
    );
    let MountKind::Cache(cache) = &run.mounts[2].kind else {
        panic!("no cache");
    };
    assert_eq!((cache.id.as_str(), cache.uid, cache.mode), ("i", 5, 0o755));
    let copy = graph.steps.iter().find_map(|step| match &step.op {
        Op::Copy(copy) if copy.keeps_parents => Some(copy),
        _ => None,
    });
    let patterns: Vec<&str> = copy
        .unwrap()
        .sources
        .iter()
        .filter_map(|source| match source {
            CopySource::Files {
                pattern,
                may_be_missing: true,
                ..
            } => Some(pattern.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(patterns, ["/a/./*/b", "/c/*.h"]);
    assert_eq!(copy.unwrap().chown.as_deref(), Some("u:0"));
    let git = graph.steps.iter().find_map(|step| match &step.op {
        Op::Git(git) => Some(git),
        _ => None,
    });
    let git = git.unwrap();
    assert_eq!(
        (git.reference.as_str(), git.subdirectory.as_str()),
        ("refs/tags/v1", "d")
    );
    assert!(git.keeps_git_directory && git.submodules);
}

#[test]
fn what_cannot_be_lowered_is_refused_at_its_place() {
    let cases: [(&[u8], &str); 18] = [
        (
            b"FROM a\nCOPY --from=b$X /a /b\n",
            "2:13: variable expansion is not supported for --from",
        ),
        (
            b"FROM a AS x\nCOPY --from=y /a /b\nFROM b AS y\nCOPY --from=x /a /b\n",
            "circular dependency",
        ),
        (
            b"FROM a AS x\nCOPY --from=1 /a /b\nFROM b\nFROM x\n",
            "2:13: cannot copy from stage \"1\"",
        ),
        (
            b"FROM a\nCOPY --from=7 /a /b\n",
            "2:13: invalid stage index 7",
        ),
        (b"FROM missing\n", "1:6: missing: no such image"),
        (
            b"FROM a\nRUN x\nCOPY --from=missing /a /b\n",
            "3:13: missing: no such image",
        ),
        (
            b"FROM alpien:1 AS missing\nFROM missing:2\n",
            "2:6: missing:2: no such image",
        ),
        (b"FROM ${X}\n", "1:6: base name (${X}) should not be blank"),
        (
            b"FROM --platform=$TARGETPLATFROM a\n",
            "(did you mean TARGETPLATFORM?)",
        ),
        (b"FROM a\nENV A=\"x\n", "2:7: failed to process"),
        (
            b"FROM a\nRUN --mount=typ=cache,target=/x y\n",
            "2:13: unexpected key 'typ' in 'typ=cache' (did you mean type?)",
        ),
        (
            b"FROM a\nRUN --mount=type=cache,target=/ y\n",
            "2:5: invalid mount target \"/\"",
        ),
        (b"FROM a\nEXPOSE 80/tpc\n", "2:8: invalid port"),
        (b"FROM a\nSTOPSIGNAL NEVER\n", "2:12: "),
        (
            b"FROM a\nCOPY --chmod=9 a b\n",
            "2:6: invalid chmod parameter",
        ),
        (
            b"FROM a\nCOPY https://h/x /\n",
            "2:6: source can't be a URL for COPY",
        ),
        (
            b"FROM a\nADD --checksum=sha256:1 a b\n",
            "2:5: checksum requires HTTP(S) or Git sources",
        ),
        (
            b"FROM a\nRUN []\n",
            "2:1: RUN requires at least one argument",
        ),
    ];
    for (source, want) in cases {
        let text = String::from_utf8_lossy(source);
        let error = lowered(source).map(|_| ()).expect_err(&text);
        assert!(error.contains(want), "{text}: {error}");
    }
}

#[test]
fn a_bomb_of_arguments_is_refused() {
    let mut bomb = String::from("FROM a\nARG A0=xxxxxxxxxxxxxxxx\n");
    for round in 1..40 {
        let before = format!("$A{}", round - 1);
        bomb.push_str(&format!("ARG A{round}={}\n", before.repeat(16)));
    }
    let error = lowered(bomb.as_bytes()).map(|_| ()).unwrap_err();
    assert!(
        error.contains("becomes longer than 8388608 bytes"),
        "{error}"
    );
    let mut many = format!("FROM a\nENV A={}\n", "x".repeat(500_000));
    for number in 0..500 {
        many.push_str(&format!("RUN {number}\n"));
    }
    let error = lowered(many.as_bytes()).map(|_| ()).unwrap_err();
    assert!(error.contains("take more than 67108864 bytes"), "{error}");
    let mut stages = String::from("FROM a AS s0\nENV A=1\n");
    for number in 1..2000 {
        stages.push_str(&format!(
            "FROM s{} AS s{number}\nENV A{number}=1\n",
            number - 1
        ));
    }
    // Each stage takes over what is before it.
    assert!(lowered(stages.as_bytes()).is_err());
}

#[test]
fn the_epoch_is_read_and_comments_turn_rules_off() {
    let epoch = |text: &str| {
        let dockerfile = parse(b"FROM a\n").unwrap();
        let mut request = Request::new(&dockerfile, amd64());
        request.wishes.build_arguments =
            BTreeMap::from([("SOURCE_DATE_EPOCH".to_owned(), text.to_owned())]);
        lower_with(request).map(|(_, lowered)| lowered.epoch)
    };
    assert_eq!(epoch("86400"), Ok(Some(Epoch::Seconds(86400))));
    assert_eq!(epoch("context"), Ok(Some(Epoch::Context)));
    assert_eq!(epoch(""), Ok(None));
    assert_eq!(
        epoch("now"),
        Err("invalid SOURCE_DATE_EPOCH: now".to_owned())
    );
    let rules = |source: &str| {
        let (_, lowered) = lowered(source.as_bytes()).unwrap();
        let rules = lowered.warnings.into_iter();
        rules.map(|warning| warning.rule).collect::<Vec<_>>()
    };
    assert_eq!(rules("FROM a\nCMD x\n"), [Rule::JsonArgsRecommended]);
    assert_eq!(rules("# check=skip=all\nFROM a\nCMD x\n"), []);
    assert_eq!(
        rules("FROM a\n# check=skip=JSONArgsRecommended\nCMD x\n"),
        []
    );
    let error = lowered(b"# check=error=true\nFROM a\nCMD x\n")
        .map(|_| ())
        .unwrap_err();
    assert_eq!(error, "lint violation found for rules: JSONArgsRecommended");
}

#[test]
fn no_cache_counts_for_the_steps_of_its_stages() {
    let source = b"FROM a AS one\nRUN 1\nFROM a\nRUN 2\nCOPY --from=one /a /b\n";
    let dockerfile = parse(source).unwrap();
    let ignoring = |no_cache| {
        let mut request = Request::new(&dockerfile, amd64());
        request.wishes.no_cache = no_cache;
        let (graph, _) = lower_with(request).unwrap();
        let steps = graph.steps.iter().filter(|step| step.ignores_cache);
        steps.map(|step| step.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ignoring(NoCache::Never).len(), 0);
    assert_eq!(ignoring(NoCache::All).len(), 3);
    assert_eq!(
        ignoring(NoCache::Stages(vec!["ONE".to_owned()])),
        ["[one 2/2] RUN 1"]
    );
}

/// The samples of a rule's page: whether each is a bad one, and its text.
fn samples(page: &str) -> Vec<(bool, String)> {
    let mut samples = Vec::new();
    let mut is_bad = None;
    for (number, part) in page.split("```").enumerate() {
        if number % 2 == 0 {
            let said = part.rfind("❌ Bad").max(part.rfind("✅ Good"));
            is_bad = said.map(|at| part[at..].starts_with('❌')).or(is_bad);
        } else if let Some(text) = part.strip_prefix("dockerfile\n") {
            // One block for each sentence; what stands in notes is none.
            let Some(is_bad) = is_bad.take().filter(|_| !text.starts_with('>')) else {
                continue;
            };
            // What the pages leave out, and what their base has that ours has not.
            let text = text
                .replace("\n...", "\n")
                .replace("$PYTHON_VERSION", "$BASEVAR");
            let has_stage = text.to_uppercase().contains("FROM ");
            let start = if has_stage { "" } else { "FROM scratch\n" };
            samples.push((is_bad, format!("{start}{text}")));
        }
    }
    samples
}

#[test]
fn every_rule_finds_the_bad_samples_of_its_page_and_no_good_ones() {
    let Some(folder) = golden::corpus("dockerfile-lint-rules") else {
        return;
    };
    let mut count = 0;
    for rule in crate::lint::RULES {
        let (rule, name, page, about) = rule;
        if page.is_empty() {
            continue;
        }
        let page = std::fs::read_to_string(folder.join(format!("{page}.md"))).unwrap();
        assert!(page.contains(&format!("title: {name}\n")), "{name}");
        assert!(page.contains(about), "{name}: {about}");
        for (is_bad, text) in samples(&page) {
            // The page errs: this declares two arguments, and BuildKit says nothing of it, either.
            if text.contains("ARG foo bar\n") {
                continue;
            }
            let dockerfile = parse(text.as_bytes()).unwrap();
            let mut request = Request::new(&dockerfile, amd64());
            request.wishes.ignore = vec!["*/tmp/*".to_owned(), "tmp/*".to_owned()];
            let options = [("BUILDKIT_DOCKERFILE_CHECK", "experimental=all")];
            request.wishes.build_arguments = options
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
            // A sample may be wrong in other ways, too: what was found before is told.
            let warnings = check(&request, &mut Stub).warnings;
            let found = warnings.iter().any(|warning| warning.rule == rule);
            assert_eq!(found, is_bad, "{name}:\n{text}{warnings:?}");
            assert!(warnings.iter().all(|warning| !warning.fix.is_empty()));
            count += 1;
        }
    }
    assert!(count > 45, "{count}");
}

#[test]
fn the_fixes_of_warnings_can_be_pasted() {
    let source = b"FROM a as One\nENV A b c\nCMD nginx -g x\nCMD a | b\nEXPOSE 1:80/TCP\n\
                   MAINTAINER me\nrun x\nWORKDIR ./w\nENV API_TOKEN=x\n";
    let (_, lowered) = lowered(source).unwrap();
    let fixes: Vec<String> = lowered
        .warnings
        .iter()
        .map(|warning| format!("{} {}", warning.lines.start, warning.fix))
        .collect();
    assert_eq!(
        fixes,
        [
            "1 write one",
            "1 write AS",
            "7 write RUN",
            "2 write ENV A=\"b c\"",
            "3 write CMD [\"nginx\", \"-g\", \"x\"]",
            "3 remove it",
            "4 write CMD [\"/bin/sh\", \"-c\", \"exec a | b\"]",
            "5 write 1:80/tcp",
            "5 write 80/TCP, and publish it when the container is run",
            "6 write LABEL org.opencontainers.image.authors=\"me\"",
            "8 write WORKDIR /w",
            "9 build with --secret and use RUN --mount=type=secret,id=API_TOKEN,env=API_TOKEN",
        ]
    );
}

/// Unoptimised and beside other tests; see the module's promise for what it takes when released.
#[test]
fn an_ordinary_dockerfile_costs_little() {
    let source = "FROM a AS build\nARG V=1\nENV A=$V B=\"x y\"\nWORKDIR /src\n\
                  COPY go.mod go.sum ./\nRUN --mount=type=cache,target=/root/.cache make deps\n\
                  COPY . .\nRUN make \\\n  all \\\n  install\nFROM b\n\
                  COPY --from=build /out /usr/\nUSER 1000\nEXPOSE 80\nENTRYPOINT [\"/x\"]\n";
    let rounds = 100;
    let start = std::time::Instant::now();
    for _ in 0..rounds {
        lowered(source.as_bytes()).unwrap();
    }
    let each = start.elapsed() / rounds;
    eprintln!("parsing and lowering: {each:?}");
    assert!(each < std::time::Duration::from_millis(20), "{each:?}");
}
