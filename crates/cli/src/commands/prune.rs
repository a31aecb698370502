//! The `prune` commands: what goes is told before, and asked for.

use std::io::{BufRead, Write};
use std::process::ExitCode;

use engine::Engine;
use engine::image::remove::Removed;
use engine::prune::{Mode, PruneRequest, Pruned, Volumes, check_filters};
use types::filter::Filters;

use super::{fail_text, print};
use crate::errors;
use crate::flags::Invocation;
use crate::output::rows::prune::{self as words, Count};

/// Asks on standard error and reads the answer; the end of input is no.
pub(crate) fn confirmed(invocation: &Invocation, question: &str) -> bool {
    if invocation.matches.get_bool("force") {
        return true;
    }
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(question.as_bytes());
    let _ = err.flush();
    let mut line = String::new();
    let _ = std::io::stdin().lock().read_line(&mut line);
    matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

pub(crate) fn containers(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let request = PruneRequest {
        containers: true,
        ..PruneRequest::default()
    };
    prune(engine, invocation, request, words::CONTAINERS_QUESTION)
}

pub(crate) fn images(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let all = invocation.matches.get_bool("all");
    let request = PruneRequest {
        images: true,
        all,
        ..PruneRequest::default()
    };
    let question = match all {
        true => words::IMAGES_QUESTION,
        false => words::DANGLING_IMAGES_QUESTION,
    };
    prune(engine, invocation, request, question)
}

pub(crate) fn networks(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let request = PruneRequest {
        networks: true,
        ..PruneRequest::default()
    };
    prune(engine, invocation, request, words::NETWORKS_QUESTION)
}

pub(crate) fn volumes(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let has_all = matches.get_bool("all");
    // Anything wrong with the filters is said by `prune`.
    let filters = Filters::parse(matches.get_list("filter")).unwrap_or_default();
    if has_all && filters.contains("all") {
        return fail_text(
            invocation,
            "conflicting options: cannot specify both --all and --filter all=1",
        );
    }
    let (which, question) = match has_all || filters.boolean("all", false) == Ok(true) {
        true => (Volumes::All, words::VOLUMES_QUESTION),
        false => (Volumes::Anonymous, words::ANONYMOUS_VOLUMES_QUESTION),
    };
    let request = PruneRequest {
        volumes: Some(which),
        ..PruneRequest::default()
    };
    prune(engine, invocation, request, question)
}

pub(crate) fn system(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let asked = words::SystemPrune {
        all: matches.get_bool("all"),
        volumes: matches.get_bool("volumes"),
        filters: matches.get_list("filter").to_vec(),
    };
    let has_until = |filter: &String| filter.trim_start().starts_with("until");
    if asked.volumes && asked.filters.iter().any(has_until) {
        return fail_text(
            invocation,
            "ERROR: The \"until\" filter is not supported with \"--volumes\"",
        );
    }
    let request = PruneRequest {
        containers: true,
        networks: true,
        volumes: asked.volumes.then_some(Volumes::Anonymous),
        images: true,
        all: asked.all,
        build_cache: true,
        ..PruneRequest::default()
    };
    prune(engine, invocation, request, &words::system_question(&asked))
}

fn prune(
    engine: &Engine,
    invocation: &Invocation,
    mut request: PruneRequest,
    question: &str,
) -> ExitCode {
    let matches = &invocation.matches;
    let filters = Filters::parse(matches.get_list("filter"));
    let checked = filters.and_then(|filters| {
        request.filters = filters;
        check_filters(&request)
    });
    if let Err(error) = checked {
        return fail_text(invocation, &error.to_string());
    }
    let only_looks = matches.get_bool("dry-run");
    if !only_looks && !matches.get_bool("force") {
        let told = match engine.prune(&request, Mode::Preview) {
            Ok(found) => words::with_forecast(question, &counts(&found), found.bytes),
            // The deed will say what is wrong.
            Err(_) => question.to_owned(),
        };
        if !confirmed(invocation, &told) {
            return ExitCode::SUCCESS;
        }
    }
    let mode = match only_looks {
        true => Mode::Preview,
        false => Mode::Remove,
    };
    match engine.prune(&request, mode) {
        Ok(pruned) => {
            // Docker's `network prune` says nothing of space.
            let with_space = only_looks || request.containers || !request.networks;
            print(&report(&pruned, mode, with_space));
            ExitCode::SUCCESS
        }
        Err(error) => {
            errors::report(invocation.program, &error);
            ExitCode::from(1)
        }
    }
}

fn counts(pruned: &Pruned) -> Vec<Count> {
    let is_image = |removed: &&Removed| matches!(removed, Removed::Deleted(_));
    let images = pruned.images.iter().filter(is_image).count();
    vec![
        Count(pruned.containers.len(), "container", "containers"),
        Count(pruned.networks.len(), "network", "networks"),
        Count(pruned.volumes.len(), "volume", "volumes"),
        Count(images, "image", "images"),
        Count(
            pruned.build_cache.len(),
            "build cache object",
            "build cache objects",
        ),
        Count(
            pruned.kept,
            "removed object that `undo` could bring back",
            "removed objects that `undo` could bring back",
        ),
    ]
}

fn report(pruned: &Pruned, mode: Mode, with_space: bool) -> String {
    let images: Vec<String> = pruned
        .images
        .iter()
        .map(super::image::removed_line_lower)
        .collect();
    let lists = [
        ("Containers:", &pruned.containers),
        ("Volumes:", &pruned.volumes),
        ("Networks:", &pruned.networks),
        ("Images:", &images),
        ("build cache objects:", &pruned.build_cache),
    ];
    let verb = match mode {
        Mode::Remove => "Deleted",
        Mode::Preview => "Would delete",
    };
    let mut text = String::new();
    for (what, lines) in lists {
        text += &words::removed(&format!("{verb} {what}"), lines);
    }
    if mode == Mode::Preview && pruned.kept > 0 {
        text += &format!(
            "Would give up {} removed objects that `undo` could bring back\n",
            pruned.kept
        );
    }
    match (with_space, mode) {
        (false, _) => text,
        (true, Mode::Remove) => text + &words::reclaimed(pruned.bytes),
        (true, Mode::Preview) => text + &words::reclaimable(pruned.bytes),
    }
}
