//! Commands on one container of a service: the plain command does the work.

use std::process::ExitCode;

use engine::compose::container::{container_name, labels};
use engine::compose::{Project, label};
use engine::{Engine, StoredContainer};

use super::{Done, Failure, OneOff, containers, plain, project_or_name};
use crate::commands::list::published;
use crate::commands::print_line;
use crate::flags::Invocation;
use crate::terminal;

/// The container of a service with the index asked for, else its first.
fn chosen(
    engine: &Engine,
    invocation: &Invocation,
    project: &Project,
    service: &str,
) -> Result<StoredContainer, Failure> {
    let index = match invocation.matches.has("index") && invocation.matches.is_set("index") {
        true => invocation.matches.get_int("index"),
        false => 0,
    };
    let found = containers(engine, project, &[service.to_owned()], OneOff::Without)?;
    let is_it =
        |stored: &StoredContainer| index == 0 || label(stored, labels::NUMBER) == index.to_string();
    let mut ours = found.into_iter().filter(is_it).collect::<Vec<_>>();
    ours.sort_by_key(|stored| !stored.state.status.is_live());
    ours.into_iter().next().ok_or_else(|| {
        let number = index.max(1);
        Failure::text(match project.any_service(service) {
            Some(_) => format!(
                "service {service:?} is not running: there is no container {}",
                container_name(project, service, number)
            ),
            None => format!("no such service: {service}"),
        })
    })
}

/// The name of the container that a command on one is about.
pub(super) fn name_of_chosen(engine: &Engine, invocation: &Invocation) -> Result<String, Failure> {
    let project = project_or_name(invocation)?;
    let service = invocation.matches.args.first().map_or("", String::as_str);
    Ok(chosen(engine, invocation, &project, service)?.record.name)
}

fn id(stored: &StoredContainer) -> String {
    stored.record.id.clone()
}

pub(super) fn exec(engine: &Engine, invocation: &Invocation) -> Done {
    let matches = &invocation.matches;
    let project = project_or_name(invocation)?;
    let service = matches.args.first().cloned().unwrap_or_default();
    let stored = chosen(engine, invocation, &project, &service)?;
    if !stored.state.status.is_live() {
        return Err(Failure::text(format!("service {service:?} is not running")));
    }
    let mut words = vec!["exec".to_owned()];
    let mut switch = |is_on: bool, flag: &str| {
        if is_on {
            words.push(flag.to_owned());
        }
    };
    let detach = matches.get_bool("detach");
    let has_terminal = terminal::is_terminal(rustix::stdio::stdin())
        && terminal::is_terminal(rustix::stdio::stdout());
    switch(detach, "--detach");
    switch(matches.get_bool("interactive") && !detach, "--interactive");
    switch(
        matches.get_bool("tty") && !matches.get_bool("no-tty") && has_terminal && !detach,
        "--tty",
    );
    switch(matches.get_bool("privileged"), "--privileged");
    for value in matches.get_list("env") {
        words.push(format!("--env={value}"));
    }
    for flag in ["user", "workdir"] {
        if matches.is_set(flag) {
            words.push(format!("--{flag}={}", matches.get_str(flag)));
        }
    }
    words.push(id(&stored));
    words.extend(matches.args.iter().skip(1).cloned());
    Ok(plain(engine, invocation, &words))
}

pub(super) fn attach(engine: &Engine, invocation: &Invocation) -> Done {
    let matches = &invocation.matches;
    let project = project_or_name(invocation)?;
    let stored = chosen(engine, invocation, &project, &matches.args[0])?;
    let mut words = vec![
        "attach".to_owned(),
        format!("--no-stdin={}", matches.get_bool("no-stdin")),
    ];
    words.push(format!("--sig-proxy={}", matches.get_bool("sig-proxy")));
    if matches.is_set("detach-keys") {
        words.push(format!("--detach-keys={}", matches.get_str("detach-keys")));
    }
    words.push(id(&stored));
    Ok(plain(engine, invocation, &words))
}

pub(super) fn commit(engine: &Engine, invocation: &Invocation) -> Done {
    let matches = &invocation.matches;
    let project = project_or_name(invocation)?;
    let stored = chosen(engine, invocation, &project, &matches.args[0])?;
    let mut words = vec![
        "commit".to_owned(),
        format!("--pause={}", matches.get_bool("pause")),
    ];
    for flag in ["author", "message"] {
        if matches.is_set(flag) {
            words.push(format!("--{flag}={}", matches.get_str(flag)));
        }
    }
    words.extend(
        matches
            .get_list("change")
            .iter()
            .map(|change| format!("--change={change}")),
    );
    words.push(id(&stored));
    words.extend(matches.args.iter().skip(1).cloned());
    Ok(plain(engine, invocation, &words))
}

pub(super) fn export(engine: &Engine, invocation: &Invocation) -> Done {
    let matches = &invocation.matches;
    let project = project_or_name(invocation)?;
    let stored = chosen(engine, invocation, &project, &matches.args[0])?;
    let mut words = vec!["export".to_owned()];
    if matches.is_set("output") {
        words.push(format!("--output={}", matches.get_str("output")));
    }
    words.push(id(&stored));
    Ok(plain(engine, invocation, &words))
}

/// Copies from the service's first container, or to all of its containers.
pub(super) fn copy(engine: &Engine, invocation: &Invocation) -> Done {
    let mut words = vec!["cp".to_owned()];
    for flag in ["archive", "follow-link"] {
        if invocation.matches.get_bool(flag) {
            words.push(format!("--{flag}"));
        }
    }
    for ends in copies(engine, invocation, id)? {
        let words = [words.clone(), ends.to_vec()].concat();
        let code = plain(engine, invocation, &words);
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// From where to where `cp` copies, containers called as `call` says.
pub(super) fn copies(
    engine: &Engine,
    invocation: &Invocation,
    call: fn(&StoredContainer) -> String,
) -> Result<Vec<[String; 2]>, Failure> {
    let matches = &invocation.matches;
    let project = project_or_name(invocation)?;
    let [source, target] = matches.args.as_slice() else {
        return Err(Failure::text("copy from one place to one other"));
    };
    let from = match of_service(source) {
        Some((service, inside)) => {
            let stored = chosen(engine, invocation, &project, service)?;
            format!("{}:{inside}", call(&stored))
        }
        None => source.clone(),
    };
    let Some((service, inside)) = of_service(target) else {
        return Ok(vec![[from, target.clone()]]);
    };
    let oneoff = match matches.get_bool("all") {
        true => OneOff::With,
        false => OneOff::Without,
    };
    let to = match matches.is_set("index") {
        true => vec![chosen(engine, invocation, &project, service)?],
        false => containers(engine, &project, &[service.to_owned()], oneoff)?,
    };
    if to.is_empty() {
        // For its words about what is missing.
        chosen(engine, invocation, &project, service)?;
    }
    let each = |stored| [from.clone(), format!("{}:{inside}", call(stored))];
    Ok(to.iter().map(each).collect())
}

/// The service and the path of `SERVICE:PATH`, where a path of this machine may have a colon too.
fn of_service(path: &str) -> Option<(&str, &str)> {
    path.split_once(':')
        .filter(|(name, _)| !name.is_empty() && !name.contains('/') && !name.starts_with('.'))
}

pub(super) fn port(engine: &Engine, invocation: &Invocation) -> Done {
    let matches = &invocation.matches;
    let project = project_or_name(invocation)?;
    let (service, wanted) = (&matches.args[0], &matches.args[1]);
    let stored = chosen(engine, invocation, &project, service)?;
    let key = match wanted.contains('/') {
        true => wanted.clone(),
        false => format!("{wanted}/{}", matches.get_str("protocol")),
    };
    let all = published(engine, &stored);
    match all.get(&key).and_then(|bindings| bindings.first()) {
        Some((address, port)) if address.contains(':') => {
            print_line(&format!("[{address}]:{port}"))
        }
        Some((address, port)) => print_line(&format!("{address}:{port}")),
        None => {
            return Err(Failure::text(format!(
                "no port {key} for container {}: it publishes {}",
                stored.record.name,
                said(&all)
            )));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn said(all: &crate::output::rows::ports::Published) -> String {
    let keys: Vec<&str> = all.keys().map(String::as_str).collect();
    if keys.is_empty() {
        "none".to_owned()
    } else {
        keys.join(", ")
    }
}

pub(super) fn stats(engine: &Engine, invocation: &Invocation) -> Done {
    let matches = &invocation.matches;
    let project = project_or_name(invocation)?;
    let found = containers(engine, &project, &matches.args, OneOff::Without)?;
    let mut words = vec!["stats".to_owned()];
    for flag in ["all", "no-stream", "no-trunc"] {
        if matches.get_bool(flag) {
            words.push(format!("--{flag}"));
        }
    }
    if matches.is_set("format") {
        words.push(format!("--format={}", matches.get_str("format")));
    }
    let live = found
        .iter()
        .filter(|stored| matches.get_bool("all") || stored.state.status.is_live());
    let ids: Vec<String> = live.map(id).collect();
    if ids.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    words.extend(ids);
    Ok(plain(engine, invocation, &words))
}
