//! `registry serve` and `registry collect`. No store is opened: a registry has a directory of its own.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use registry::server::{self, CollectOutcome, Event, Options, Report, Tls};
use serde_json::json;
use types::timestamp::Timestamp;

use super::print_line;
use crate::errors;
use crate::flags::Invocation;
use crate::flags::parse::Program;

pub(crate) fn serve(invocation: &Invocation) -> ExitCode {
    let options = match options(invocation) {
        Ok(options) => options,
        Err(text) => return fail(&text),
    };
    let program = match invocation.program {
        Program::Docker => "docker",
        Program::Caisson => "caisson",
    };
    let report: Report = Arc::new(move |event: &Event<'_>| tell(program, event));
    match server::serve(options, report) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&errors::chain(&error)),
    }
}

pub(crate) fn collect(invocation: &Invocation) -> ExitCode {
    let options = Options {
        root: path(invocation, "root"),
        config: path(invocation, "config"),
        storage: text(invocation, "storage"),
        database: text(invocation, "database"),
        ..Options::default()
    };
    match server::collect(options) {
        Ok(CollectOutcome::Told { pid }) => {
            print_line(&format!(
                "The registry that runs (process {pid}) collects now."
            ));
            ExitCode::SUCCESS
        }
        Ok(CollectOutcome::Done {
            blobs,
            bytes,
            marked,
        }) => {
            print_line(&format!(
                "Removed {blobs} blobs of {bytes} bytes; {marked} more go once their grace is over."
            ));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&errors::chain(&error)),
    }
}

fn fail(text: &str) -> ExitCode {
    errors::complain(&format!("caisson: {text}"));
    if text.contains("Permission denied") && engine::lack() == Some(engine::Lack::Root) {
        errors::complain(
            "hint: a registry needs no root: give it a directory of yours with --root",
        );
    }
    ExitCode::from(1)
}

fn path(invocation: &Invocation, flag: &str) -> Option<PathBuf> {
    text(invocation, flag).map(PathBuf::from)
}

fn text(invocation: &Invocation, flag: &str) -> Option<String> {
    let text = invocation.matches.get_str(flag);
    (!text.is_empty()).then(|| text.to_owned())
}

fn options(invocation: &Invocation) -> Result<Options, String> {
    let matches = &invocation.matches;
    let self_signed = matches.get_bool("tls-self-signed");
    let tls = match (path(invocation, "tls-cert"), path(invocation, "tls-key")) {
        (None, None) if self_signed => Tls::SelfSigned,
        (None, None) => Tls::None,
        (Some(certificate), Some(key)) if !self_signed => Tls::Files { certificate, key },
        (Some(_), Some(_)) => {
            return Err("--tls-self-signed and --tls-cert exclude each other".to_owned());
        }
        _ => return Err("--tls-cert and --tls-key go together: give both".to_owned()),
    };
    Ok(Options {
        listen: text(invocation, "listen"),
        root: path(invocation, "root"),
        config: path(invocation, "config"),
        tls,
        open: matches.get_bool("open"),
        closed: matches.get_bool("closed"),
        storage: text(invocation, "storage"),
        database: text(invocation, "database"),
        mirror: text(invocation, "mirror"),
    })
}

/// People read where the page is, on standard output; programs read a line of JSON for everything
/// else, on standard error.
fn tell(program: &str, event: &Event<'_>) {
    let document = match event {
        Event::Listening {
            url,
            is_fresh,
            anonymous_writes,
        } => {
            print_line(&welcome(program, url, *is_fresh, *anonymous_writes));
            return;
        }
        Event::Request(request) => json!({
            "event": "request", "peer": request.peer, "user": request.user,
            "method": request.method, "path": request.path, "status": request.status,
            "ms": request.micros as f64 / 1000.0,
        }),
        Event::Collected { blobs, bytes } => {
            json!({"event": "collected", "blobs": blobs, "bytes": bytes})
        }
        Event::Trouble(text) => json!({"event": "trouble", "text": text}),
        Event::Stopping => json!({"event": "stopping"}),
    };
    let mut line = json!({"time": Timestamp::now().rfc3339()});
    if let (Some(line), Some(more)) = (line.as_object_mut(), document.as_object()) {
        line.extend(more.clone());
    }
    // In one write, so that lines of several threads do not mix. JSON escapes control characters.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Where the page is, and what to type next.
fn welcome(program: &str, url: &str, is_fresh: bool, anonymous_writes: bool) -> String {
    let host = url.split_once("://").map_or(url, |(_, host)| host);
    let mut lines = vec![format!("The registry is at {host}, its page at {url}")];
    if is_fresh {
        lines.push(format!(
            "  sign up:  {url}/signup  (the first user is the administrator)"
        ));
    }
    let user = if anonymous_writes { "" } else { "USER/" };
    if !anonymous_writes || !is_fresh {
        lines.push(format!("  sign in:  {program} login {host}"));
    }
    lines.push(format!("  push:     {program} tag IMAGE {host}/{user}NAME"));
    lines.push(format!("            {program} push {host}/{user}NAME"));
    lines.push(format!("  search:   {program} search {host}/NAME"));
    if anonymous_writes {
        lines.push("Whoever reaches this address may push what is not a user's.".to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_say_what_to_type_with_the_right_host() {
        let text = welcome("docker", "http://127.0.0.1:5000", true, true);
        assert!(text.contains("http://127.0.0.1:5000/signup"), "{text}");
        assert!(text.contains("docker push 127.0.0.1:5000/NAME"), "{text}");
        let text = welcome("caisson", "https://hub.example.org", false, false);
        assert!(text.contains("caisson login hub.example.org"), "{text}");
        assert!(
            text.contains("caisson push hub.example.org/USER/NAME"),
            "{text}"
        );
        assert!(
            !text.contains("signup") && !text.contains("Whoever"),
            "{text}"
        );
    }
}
