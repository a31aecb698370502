//! Commands that talk to registries, but for `pull`.

use std::process::ExitCode;

use engine::Engine;
use engine::config::LayerCompression;
use engine::image::ImageError;
use engine::image::push::{self, PushOptions, PushReport};
use types::reference::{DEFAULT_DOMAIN, Reference};

use super::image::platform;
use super::progress::{Progress, Stream};
use super::{fail_text, print_line};
use crate::errors;
use crate::flags::Invocation;
use crate::flags::parse::Program;

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
fn fail(invocation: &Invocation, domain: &str, error: ImageError) -> ExitCode {
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
    say(&format!("The push refers to repository [{}]", reference.name()));
    let told = |report: &PushReport| {
        let tag = report.reference.tag().unwrap_or_default();
        say(&format!("{tag}: digest: {} size: {}", report.digest, report.size));
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
