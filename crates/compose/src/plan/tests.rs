//! Plans as lines, each with its reason.

use super::*;
use crate::container::{self, Instance};
use crate::golden::MemoryFiles;
use crate::hash::{network_hash, service_hash};
use crate::model::Project;

fn project(text: &str) -> Project {
    MemoryFiles::of(&[("compose.yaml", text)])
        .load()
        .unwrap()
        .project
}

fn lines(plan: &Plan) -> Vec<String> {
    let verb = |action: &Action| match action {
        Action::CreateNetwork { .. }
        | Action::CreateVolume { .. }
        | Action::CreateContainer { .. } => "create",
        Action::RemoveNetwork { .. } | Action::RemoveContainer { .. } => "remove",
        Action::RenameContainer { .. } => "rename",
        Action::StartContainer { .. } => "start",
        Action::HandOverPorts { .. } => "hand over the ports of",
        Action::StopContainer { .. } => "stop",
    };
    let line = |step: &Step| {
        format!(
            "{} {} {:?}: {}",
            verb(&step.action),
            step.subject,
            step.after,
            step.reason
        )
    };
    plan.steps.iter().map(line).collect()
}

/// What is there after a plan was carried out.
fn settled(project: &Project) -> Observed {
    let mut observed = Observed::default();
    for (name, service) in &project.services {
        for number in 1..=service.replicas() {
            let spec = container::container(project, name, Instance::Number(number))
                .unwrap()
                .spec;
            observed.containers.push(ObservedContainer {
                id: format!("id-{name}-{number}"),
                name: container::container_name(project, name, number),
                service: name.clone(),
                number,
                is_oneoff: false,
                config_hash: service_hash(service),
                image_id: String::new(),
                status: Status::Running,
                exit_code: 0,
                networks: spec
                    .networks
                    .iter()
                    .map(|network| network.target.clone())
                    .collect(),
                spec,
            });
        }
    }
    for network in project.networks.values() {
        let (project, config_hash) = (project.name.clone(), network_hash(network));
        observed.networks.insert(
            network.name.clone(),
            ObservedNetwork {
                project,
                config_hash,
            },
        );
    }
    for volume in project.volumes.values() {
        let project = project.name.clone();
        observed
            .volumes
            .insert(volume.name.clone(), ObservedVolume { project });
    }
    observed
}

const THREE: &str = "services:\n  web: {image: w, depends_on: [db], ports: ['8080:80']}\n  db: {image: d, volumes: ['data:/d'], environment: {A: 1}}\nvolumes: {data: }\n";

#[test]
fn nothing_there_makes_everything_in_order() {
    let plan = plan(
        &project(THREE),
        &Observed::default(),
        &PlanOptions::default(),
    )
    .unwrap();
    assert_eq!(
        lines(&plan),
        [
            "create Network p_default []: not there yet",
            "create Volume p_data []: not there yet",
            "create Container p-db-1 [0, 1]: not there yet",
            "start Container p-db-1 [2]: new",
            "create Container p-web-1 [0]: not there yet",
            "start Container p-web-1 [4, 3]: new",
        ]
    );
}

#[test]
fn what_is_as_wanted_is_left_alone() {
    let project = project(THREE);
    let plan = plan(&project, &settled(&project), &PlanOptions::default()).unwrap();
    assert_eq!(plan, Plan::default());
}

#[test]
fn a_change_is_named_and_only_its_container_is_made_anew() {
    let observed = settled(&project(THREE));
    let changed = project(&THREE.replace("A: 1", "A: 2"));
    let plan = plan(&changed, &observed, &PlanOptions::default()).unwrap();
    assert_eq!(
        lines(&plan),
        [
            "create Container p-db-1 []: environment A changed",
            "stop Container p-db-1 [0]: replaced by the new one",
            "remove Container p-db-1 [1]: replaced by the new one",
            "rename Container p-db-1 [2]: takes the place of the old one",
            "start Container p-db-1 [3]: new",
        ]
    );
}

#[test]
fn an_interrupted_replacement_is_finished() {
    let project = project(THREE);
    let mut observed = settled(&project);
    let mut new = observed.containers[0].clone();
    observed.containers[0].config_hash = "old".to_owned();
    new.id = "new".to_owned();
    new.name = "0123_p-db-1".to_owned();
    new.status = Status::Created;
    observed.containers.push(new);
    let plan = plan(&project, &observed, &PlanOptions::default()).unwrap();
    assert_eq!(
        lines(&plan),
        [
            "stop Container p-db-1 []: left over by an interrupted command",
            "remove Container p-db-1 [0]: left over by an interrupted command",
            "rename Container p-db-1 [1]: left half-made by an interrupted command",
            "start Container p-db-1 [2]: not running: created",
        ]
    );
}

#[test]
fn a_rolling_update_starts_before_it_stops_one_after_another() {
    let text = "services: {a: {image: x, scale: 2, ports: ['80'], environment: {A: 1}}}";
    let observed = settled(&project(text));
    let options = PlanOptions {
        rolling: true,
        ..PlanOptions::default()
    };
    let changed = project(&text.replace("A: 1", "A: 2"));
    let found = plan(&changed, &observed, &options).unwrap();
    assert_eq!(
        lines(&found),
        [
            "create Container p-a-1 []: environment A changed",
            "start Container p-a-1 [0]: new",
            "hand over the ports of Container p-a-1 [1]: the new one is ready",
            "stop Container p-a-1 [2]: the new one is ready",
            "remove Container p-a-1 [3]: the new one is ready",
            "rename Container p-a-1 [4]: takes the place of the old one",
            "create Container p-a-2 [5]: environment A changed",
            "start Container p-a-2 [6]: new",
            "hand over the ports of Container p-a-2 [7]: the new one is ready",
            "stop Container p-a-2 [8]: the new one is ready",
            "remove Container p-a-2 [9]: the new one is ready",
            "rename Container p-a-2 [10]: takes the place of the old one",
        ]
    );
    assert_eq!(found.steps[2].conditions[0].kind, ConditionKind::Ready);
    let fixed = text.replace("ports: ['80']", "network_mode: host");
    let error = plan(&project(&fixed), &observed, &options).unwrap_err();
    assert!(error.text.contains("services.a.network_mode"), "{error}");
}

#[test]
fn an_interrupted_rolling_update_hands_the_ports_over_before_it_removes() {
    let project = project("services: {a: {image: x, ports: ['80']}}");
    let mut observed = settled(&project);
    let mut new = observed.containers[0].clone();
    observed.containers[0].config_hash = "old".to_owned();
    let replaced = observed.containers[0].id.clone();
    new.id = "new".to_owned();
    new.name = "0123_p-a-1".to_owned();
    let label = crate::container::labels::REPLACE.to_owned();
    new.spec.labels.insert(label, replaced);
    observed.containers.push(new);
    let found = plan(&project, &observed, &PlanOptions::default()).unwrap();
    assert_eq!(
        lines(&found),
        [
            "hand over the ports of Container p-a-1 []: left over by an interrupted command",
            "stop Container p-a-1 [0]: left over by an interrupted command",
            "remove Container p-a-1 [1]: left over by an interrupted command",
            "rename Container p-a-1 [2]: left half-made by an interrupted command",
        ]
    );
    observed.containers[1].status = Status::Exited;
    let found = plan(&project, &observed, &PlanOptions::default()).unwrap();
    assert!(
        !lines(&found)[0].starts_with("hand over"),
        "{:?}",
        lines(&found)
    );
}

#[test]
fn scale_and_orphans() {
    let observed = settled(&project(
        "services: {a: {image: x, scale: 3}, gone: {image: x}}",
    ));
    let now = project("services: {a: {image: x, scale: 1}}");
    let options = PlanOptions {
        remove_orphans: true,
        ..PlanOptions::default()
    };
    let plan = plan(&now, &observed, &options).unwrap();
    let removed: Vec<String> = lines(&plan)
        .into_iter()
        .filter(|line| line.starts_with("remove"))
        .collect();
    assert_eq!(
        removed,
        [
            "remove Container p-a-2 [0]: fewer containers are wanted",
            "remove Container p-a-3 [2]: fewer containers are wanted",
            "remove Container p-gone-1 [4]: its service is not in the files",
        ]
    );
}

#[test]
fn down_stops_dependents_first() {
    let project = project(THREE);
    let plan = plan_down(&project, &settled(&project), false);
    assert_eq!(
        lines(&plan),
        [
            "stop Container p-web-1 []: down",
            "remove Container p-web-1 [0]: down",
            "stop Container p-db-1 [1]: down",
            "remove Container p-db-1 [2]: down",
        ]
    );
}

#[test]
fn who_wants_to_restarts_with_what_it_depends_on() {
    let text = "services:\n  a: {image: x, depends_on: {b: {condition: service_started, restart: true}}}\n  b: {image: x, user: '1'}\n";
    let observed = settled(&project(text));
    let plan = plan(
        &project(&text.replace("'1'", "'2'")),
        &observed,
        &PlanOptions::default(),
    )
    .unwrap();
    let last = lines(&plan).split_off(5);
    assert_eq!(
        last,
        [
            "stop Container p-a-1 []: service b, which it depends on, is made anew",
            "start Container p-a-1 [5, 4]: service b, which it depends on, is made anew",
        ]
    );
}

fn refused(text: &str, options: &PlanOptions) -> String {
    let error = plan(&project(text), &Observed::default(), options).unwrap_err();
    format!("{error}; {}", error.hint.clone().unwrap_or_default())
}

#[test]
fn what_is_missing_or_fights_is_told_with_its_places_before_anything_is_made() {
    let up = PlanOptions::default();
    let two = |first: &str, second: &str| {
        format!(
            "services:\n  a:\n    image: x\n    ports: [{first}]\n  b:\n    image: x\n    ports: [{second}]\n"
        )
    };
    for (first, second, expected) in [
        (
            "'8080:80'",
            "'90:80', '127.0.0.1:8080:81'",
            "/p/compose.yaml:7:22: services.b: port 127.0.0.1:8080/tcp of this machine is published by service a already (/p/compose.yaml:4:13); give one of them another port, or another address of this machine",
        ),
        (
            "'8000-8002:80-82'",
            "'8001:80'",
            "/p/compose.yaml:7:13: services.b: port 8001 of",
        ),
    ] {
        let error = refused(&two(first, second), &up);
        assert!(error.starts_with(expected), "{error}");
    }
    for (first, second) in [
        ("'8080:80'", "'8080:80/udp'"),
        ("'127.0.0.1:8080:80'", "'127.0.0.2:8080:80'"),
        ("'8080:80'", "'8080-8081:80'"),
        ("'80'", "'80'"),
    ] {
        plan(&project(&two(first, second)), &Observed::default(), &up).unwrap();
    }
    // What is not started, or has ended before, publishes nothing.
    let no_start = PlanOptions {
        no_start: true,
        ..PlanOptions::default()
    };
    let twice = two("'8080:80'", "'8080:80'");
    plan(&project(&twice), &Observed::default(), &no_start).unwrap();
    let after =
        format!("{twice}    depends_on: {{a: {{condition: service_completed_successfully}}}}\n");
    plan(&project(&after), &Observed::default(), &up).unwrap();
    let many = "services: {a: {image: x, scale: 2, ports: ['8080:80']}}\n";
    assert_eq!(
        refused(many, &up),
        "/p/compose.yaml:1:44: services.a: 2 containers cannot all publish port 8080 of this machine; publish a range with a port for each, \"8080-8081:80\", or none: \"80\""
    );
    for (text, expected) in [
        (
            "services: {a: {image: x, networks: [n]}}\nnetworks:\n  n: {external: true, name: far}\n",
            "/p/compose.yaml:3:3: network far declared as external, but could not be found; make it: network create far",
        ),
        (
            "services: {a: {image: x, volumes: ['v:/v']}}\nvolumes:\n  v: {external: true}\n",
            "/p/compose.yaml:3:3: external volume \"v\" not found; make it: volume create v",
        ),
        (
            "services: {a: {image: x, secrets: [s]}}\nsecrets:\n  s: {environment: NOT_SET}\n",
            "/p/compose.yaml:3:3: environment variable \"NOT_SET\" required by secret \"s\" is not set; set it: export NOT_SET=… or a line NOT_SET=… in .env",
        ),
    ] {
        assert_eq!(refused(text, &up), expected);
    }
}
