//! Commands that talk to registries, but for `pull`.

use std::process::ExitCode;

use engine::Engine;
use engine::config::LayerCompression;
use engine::image::ImageError;
use engine::image::push::{self, PushOptions, PushReport};
use registry::{FoundRepository, TAGS_MAX, TagList};
use types::filter::Filters;
use types::reference::{DEFAULT_DOMAIN, Reference};

use super::image::platform;
use super::progress::{Progress, Stream};
use super::{fail_text, print_line};
use crate::errors;
use crate::flags::parse::Program;
use crate::flags::{Invocation, Verb};
use crate::output::rows::containers::ListFlags;
use crate::output::rows::objects;
use crate::output::template::escape_control;
use crate::terminal;

/// The only argument as a reference.
fn reference(invocation: &Invocation) -> Result<Reference, ExitCode> {
    let name = invocation.matches.args.first().map_or("", String::as_str);
    Reference::parse_normalized(name).map_err(|error| {
        errors::complain(&error.to_string());
        ExitCode::from(1)
    })
}

/// Says why a registry did not do it. Docker's engine sends such an error in the stream of progress,
/// so that its client prints it bare.
pub(super) fn fail(invocation: &Invocation, domain: &str, error: ImageError) -> ExitCode {
    let is_denied = error.is_denied();
    match invocation.program {
        Program::Docker => errors::complain(&errors::chain(&error)),
        Program::Caisson => errors::report(invocation.program, &error.into()),
    }
    if is_denied {
        let program = invocation.program.name();
        let server = match domain {
            DEFAULT_DOMAIN => String::new(),
            domain => format!(" {domain}"),
        };
        errors::complain(&format!(
            "hint: sign in with an account that may do this: {program} login{server}"
        ));
    }
    ExitCode::from(1)
}

pub(crate) fn push(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let reference = match reference(invocation) {
        Ok(reference) => reference,
        Err(code) => return code,
    };
    let all = matches.get_bool("all-tags");
    let quiet = matches.get_bool("quiet");
    let has_tag = reference.tag().is_some() || reference.digest().is_some();
    if all && has_tag {
        errors::complain("tag can't be used with --all-tags/-a");
        return ExitCode::from(1);
    }
    let compression = match matches.get_str("compression") {
        "" => None,
        "gzip" => Some(LayerCompression::Gzip),
        "zstd" => Some(LayerCompression::Zstd),
        other => {
            let text = format!("--compression is gzip or zstd, not {other:?}");
            return fail_text(invocation, &text);
        }
    };
    let options = match platform(invocation) {
        Ok(platform) => PushOptions {
            platform,
            compression,
        },
        Err(code) => return code,
    };
    let progress = Progress::new(Stream::Output, quiet);
    let say = |text: &str| {
        if !quiet {
            print_line(text);
        }
    };
    if !all && !has_tag {
        say("Using default tag: latest");
    }
    say(&format!(
        "The push refers to repository [{}]",
        reference.name()
    ));
    let told = |report: &PushReport| {
        let tag = report.reference.tag().unwrap_or_default();
        say(&format!(
            "{tag}: digest: {} size: {}",
            report.digest, report.size
        ));
        hint_at_form(report);
    };
    let context = engine.images();
    let pushed = if all {
        push::push_all_tags(&context, &reference, &options, &progress, &mut |report| {
            told(report);
        })
    } else {
        push::push(&context, &reference, &options, &progress).map(|report| told(&report))
    };
    match pushed {
        Ok(()) if quiet && all => print_line(&reference.canonical()),
        Ok(()) if quiet => print_line(&reference.with_default_tag().canonical()),
        Ok(()) => {}
        Err(error) => return fail(invocation, reference.domain(), error),
    }
    ExitCode::SUCCESS
}

/// Says so where a digest that people may have pinned was not pushed.
fn hint_at_form(report: &PushReport) {
    if report.is_remade {
        errors::complain(&format!(
            "hint: {} was not pushed as it was pulled: some layers were here in another compression, and cannot be \
             fetched as they were",
            report.reference.familiar()
        ));
    }
}

/// How many repositories are asked for where nobody says, as Docker's registry has it.
const SEARCH_LIMIT: i64 = 25;
const SEARCH_LIMIT_MAX: i64 = 100;

/// `HOST/term` asks that host, a bare term Docker Hub or what stands in for it.
fn split_term(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((host, term)) if host.contains(['.', ':']) || host == "localhost" => {
            let host = if host == "index.docker.io" {
                DEFAULT_DOMAIN
            } else {
                host
            };
            (host, term)
        }
        _ => (DEFAULT_DOMAIN, text),
    }
}

/// `search` and `tags`: what a registry has.
pub(crate) fn look(engine: &Engine, invocation: &Invocation) -> ExitCode {
    match invocation.command.verb {
        Verb::Tags => tags(engine, invocation),
        _ => search(engine, invocation),
    }
}

fn search(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let text = matches.args.first().map_or("", String::as_str);
    let limit = match matches.get_int("limit") {
        0 => SEARCH_LIMIT,
        limit @ 1..=SEARCH_LIMIT_MAX => limit,
        limit => {
            let text = format!("limit {limit} is outside the range of [1, {SEARCH_LIMIT_MAX}]");
            return fail_text(invocation, &text);
        }
    };
    let wanted = match SearchFilter::parse(matches.get_list("filter")) {
        Ok(wanted) => wanted,
        Err(text) => return fail_text(invocation, &text),
    };
    let (domain, term) = split_term(text);
    let client = engine.images().client();
    let found = match client.search(domain, term, usize::try_from(limit).unwrap_or(1)) {
        Ok(found) => found,
        Err(error) => return fail(invocation, domain, error.into()),
    };
    if let Some(names) = found.names_read {
        errors::complain(&format!(
            "WARNING: {domain} knows no search; its first {names} names were looked through, and it has more"
        ));
    }
    let rows: Vec<objects::SearchRow> = found
        .repositories
        .into_iter()
        .filter(|one| wanted.accepts(one))
        .map(|one| objects::SearchRow {
            name: match domain {
                DEFAULT_DOMAIN => one.name,
                domain => format!("{domain}/{}", one.name),
            },
            description: one.description,
            stars: one.stars,
            is_official: one.is_official,
        })
        .collect();
    let flags = ListFlags {
        format: matches.get_str("format"),
        quiet: false,
        no_trunc: matches.get_bool("no-trunc"),
        escape_control: terminal::is_terminal(rustix::stdio::stdout()),
    };
    super::print_list(objects::search(&rows, flags))
}

/// `--filter` of `search`.
#[derive(Debug, Default, PartialEq, Eq)]
struct SearchFilter {
    stars: i64,
    is_official: Option<bool>,
    is_automated: Option<bool>,
}

impl SearchFilter {
    fn parse(flags: &[String]) -> Result<Self, String> {
        let filters = Filters::parse(flags).map_err(|error| error.to_string())?;
        filters
            .check_keys(&["is-automated", "is-official", "stars"])
            .map_err(|error| error.to_string())?;
        let boolean = |key: &str| -> Result<Option<bool>, String> {
            let is_there = filters.contains(key);
            let value = filters.boolean(key, false);
            let value = value.map_err(|error| error.to_string())?;
            Ok(is_there.then_some(value))
        };
        let mut stars = 0;
        for text in filters.values("stars") {
            let number: i64 = text
                .parse()
                .map_err(|_| filters.bad_value("stars").to_string())?;
            stars = stars.max(number);
        }
        Ok(Self {
            stars,
            is_official: boolean("is-official")?,
            is_automated: boolean("is-automated")?,
        })
    }

    fn accepts(&self, one: &FoundRepository) -> bool {
        one.stars >= self.stars
            && self
                .is_official
                .is_none_or(|wanted| wanted == one.is_official)
            && self
                .is_automated
                .is_none_or(|wanted| wanted == one.is_automated)
    }
}

fn tags(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let reference = match reference(invocation) {
        Ok(reference) => reference.without_tag_and_digest(),
        Err(code) => return code,
    };
    let client = engine.images().client();
    let tags = client
        .repository(&reference)
        .and_then(|repository| repository.tags());
    let TagList { tags, is_whole } = match tags {
        Ok(list) => list,
        Err(error) => return fail(invocation, reference.domain(), error.into()),
    };
    let name = reference.familiar_name();
    if !is_whole {
        errors::complain(&format!(
            "WARNING: {name} has more tags than the {TAGS_MAX} that are listed"
        ));
    }
    let lines: Vec<String> = match invocation.matches.get_str("format") {
        "json" => tags
            .iter()
            .map(|tag| serde_json::json!({ "Repository": name, "Tag": tag }).to_string())
            .collect(),
        "" => tags.iter().map(|tag| printable(tag)).collect(),
        other => {
            let text = format!("--format of tags is json or nothing, not {other:?}");
            return fail_text(invocation, &text);
        }
    };
    lines.iter().for_each(|line| print_line(line));
    ExitCode::SUCCESS
}

/// What a registry says is no command to the terminal.
fn printable(text: &str) -> String {
    if terminal::is_terminal(rustix::stdio::stdout()) {
        escape_control(text).into_owned()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_with_a_host_asks_that_host() {
        assert_eq!(split_term("ocr"), ("docker.io", "ocr"));
        assert_eq!(split_term("me/ocr"), ("docker.io", "me/ocr"));
        assert_eq!(split_term("localhost/ocr"), ("localhost", "ocr"));
        assert_eq!(split_term("r.lan:5000/me/ocr"), ("r.lan:5000", "me/ocr"));
    }

    #[test]
    fn a_search_is_filtered_by_stars_and_office() {
        let flags = |texts: &[&str]| {
            texts
                .iter()
                .map(|&text| text.to_owned())
                .collect::<Vec<_>>()
        };
        let wanted = SearchFilter::parse(&flags(&["stars=3", "is-official=true"])).unwrap();
        let one = |stars, is_official| FoundRepository {
            stars,
            is_official,
            ..FoundRepository::default()
        };
        assert!(wanted.accepts(&one(3, true)));
        assert!(!wanted.accepts(&one(2, true)) && !wanted.accepts(&one(9, false)));
        assert!(SearchFilter::parse(&flags(&["colour=blue"])).is_err());
        assert!(SearchFilter::parse(&flags(&["stars=many"])).is_err());
    }
}
