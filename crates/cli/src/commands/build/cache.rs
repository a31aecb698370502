//! What builds left in the cache: shown, and removed.

use std::process::ExitCode;
use std::time::Duration;

use engine::Engine;
use engine::build::{CachePrune, CachedStep};
use types::units::human_size;

use crate::commands::prune::confirmed;
use crate::commands::{fail_text, print, print_list};
use crate::errors;
use crate::flags::Invocation;
use crate::output::table::{Layout, Row, Titles, render};
use crate::output::template::Value;

const QUESTION: &str =
    "WARNING! This will remove all dangling build cache. Are you sure you want to continue? [y/N] ";
const QUESTION_ALL: &str =
    "WARNING! This will remove all build cache. Are you sure you want to continue? [y/N] ";

pub(crate) fn builder_prune(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let all = matches.get_bool("all");
    let mut prune = CachePrune {
        all,
        ..CachePrune::default()
    };
    for text in matches.get_list("filter") {
        let Some(("until", value)) = text.split_once('=') else {
            return fail_text(
                invocation,
                &format!("invalid filter '{text}': until=24h is known"),
            );
        };
        let Ok(ns) = types::units::parse_duration(value) else {
            return fail_text(invocation, &format!("invalid filter '{text}': no duration"));
        };
        prune.unused_for = Some(Duration::from_nanos(u64::try_from(ns).unwrap_or(0)));
    }
    for flag in ["keep-storage", "max-used-space", "reserved-space"] {
        if matches.is_set(flag) {
            prune.keep_bytes = u64::try_from(matches.get_bytes(flag)).ok();
        }
    }
    if !confirmed(invocation, if all { QUESTION_ALL } else { QUESTION }) {
        return ExitCode::SUCCESS;
    }
    match engine.prune_cache(&prune) {
        Ok((keys, bytes)) => {
            if !keys.is_empty() {
                print("Deleted build cache objects:\n");
                let short = |key: &String| key.chars().take(25).collect::<String>();
                keys.iter()
                    .for_each(|key| print(&format!("{}\n", short(key))));
                print("\n");
            }
            print(&format!(
                "Total reclaimed space: {}\n",
                human_size(bytes as f64)
            ));
            ExitCode::SUCCESS
        }
        Err(error) => {
            errors::report(invocation.program, &error);
            ExitCode::from(1)
        }
    }
}

pub(crate) fn buildx_du(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let mut steps = match engine.cached_steps() {
        Ok(steps) => steps,
        Err(error) => {
            errors::report(invocation.program, &error);
            return ExitCode::from(1);
        }
    };
    for text in matches.get_list("filter") {
        let filter = match DuFilter::parse(text) {
            Ok(filter) => filter,
            Err(error) => return fail_text(invocation, &error),
        };
        steps.retain(|step| filter.takes(step));
    }
    let format = matches.get_str("format");
    if !format.is_empty() {
        let layout = Layout {
            format,
            titles: DU_TITLES,
            escape_control: crate::terminal::is_terminal(rustix::stdio::stdout()),
        };
        return print_list(render(layout, steps.iter().rev().map(du_row)));
    }
    let mut sum = 0;
    let mut shared = 0;
    let is_verbose = matches.get_bool("verbose");
    if !is_verbose {
        print(&format!(
            "{:<42}{:<16}{:<12}{}\n",
            "ID", "RECLAIMABLE", "SIZE", "DESCRIPTION"
        ));
    }
    for step in steps.iter().rev() {
        let key: String = step.key.chars().take(25).collect();
        let size = human_size(step.size_bytes as f64);
        sum += step.size_bytes;
        shared += if step.is_shared { step.size_bytes } else { 0 };
        let description = step.description.replace('\n', " ");
        match is_verbose {
            true => print(&format!(
                "ID:          {}\nType:        {}\nReclaimable: {}\nSize:        {size}\nDescription: {description}\n\n",
                step.key, step.kind, !step.is_shared
            )),
            false => print(&format!(
                "{key:<42}{:<16}{size:<12}{description}\n",
                !step.is_shared
            )),
        }
    }
    print(&format!("Shared:\t\t{}\n", human_size(shared as f64)));
    print(&format!(
        "Private:\t{}\n",
        human_size((sum - shared) as f64)
    ));
    print(&format!(
        "Reclaimable:\t{}\n",
        human_size((sum - shared) as f64)
    ));
    print(&format!("Total:\t\t{}\n", human_size(sum as f64)));
    ExitCode::SUCCESS
}

/// What `--filter` of `buildx du` chooses by, as BuildKit.
enum DuFilter<'a> {
    Id(&'a str),
    Type(&'a str),
    Description(&'a str),
    Shared(bool),
}

impl<'a> DuFilter<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let flag = || match value {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(format!("invalid filter '{text}': it is true or false")),
        };
        match key {
            "id" => Ok(Self::Id(value)),
            "type" => Ok(Self::Type(value)),
            "description" => Ok(Self::Description(value)),
            "shared" => flag().map(Self::Shared),
            "private" => flag().map(|is_private| Self::Shared(!is_private)),
            _ => Err(format!(
                "invalid filter '{text}': id, type, description, shared and private are known"
            )),
        }
    }

    fn takes(&self, step: &CachedStep) -> bool {
        match self {
            Self::Id(start) => step.key.starts_with(start),
            Self::Type(kind) => step.kind == *kind,
            Self::Description(text) => step.description == *text,
            Self::Shared(is_shared) => step.is_shared == *is_shared,
        }
    }
}

const DU_TITLES: &Titles = &[
    ("Description", "DESCRIPTION"),
    ("ID", "ID"),
    ("Reclaimable", "RECLAIMABLE"),
    ("Shared", "SHARED"),
    ("Size", "SIZE"),
    ("Type", "TYPE"),
];

/// A step for `--format`.
fn du_row(step: &CachedStep) -> Row {
    const MEMBERS: &[&str] = &["Description", "ID", "Reclaimable", "Shared", "Size", "Type"];
    let values = vec![
        Value::string(step.description.as_str()),
        Value::string(step.key.as_str()),
        Value::from_json(&(!step.is_shared).into()),
        Value::from_json(&step.is_shared.into()),
        Value::string(human_size(step.size_bytes as f64)),
        Value::string(step.kind.as_str()),
    ];
    Row::new("*commands.duContext", MEMBERS, values)
}
