//! `logs`.

use std::io::Write;
use std::process::ExitCode;

use engine::Engine;
use engine::container::logs::{LogRequest, Next};
use types::timestamp::Timestamp;

use crate::errors;
use crate::flags::Invocation;
use crate::streams;

pub(crate) fn logs(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let request = match request(invocation) {
        Ok(request) => request,
        Err(text) => {
            errors::refuse(invocation.program, &text);
            return ExitCode::from(1);
        }
    };
    let key = matches.args.first().map_or("", String::as_str);
    let stamps = matches.get_bool("timestamps");
    let details = if matches.get_bool("details") {
        detail_text(engine, key)
    } else {
        String::new()
    };
    // Written in one go per read, each stream to its own place and in their order.
    let mut out = std::io::BufWriter::with_capacity(64 * 1024, std::io::stdout().lock());
    let follow = request.follow;
    let result = engine.logs(key, &request, &mut |entry| {
        let stamp = if stamps {
            pad_stamp(&entry.time)
        } else {
            String::new()
        };
        let line = format!("{stamp}{details}{}", entry.log);
        if entry.stream == "stderr" {
            let _ = out.flush();
            streams::write_all(rustix::stdio::stderr(), line.as_bytes());
            return Next::More;
        }
        match out
            .write_all(line.as_bytes())
            .and_then(|()| if follow { out.flush() } else { Ok(()) })
        {
            Ok(()) => Next::More,
            // Nobody reads any more, or nothing more can be written.
            Err(error) => {
                streams::note_lost("/dev/stdout", &error);
                Next::Stop
            }
        }
    });
    if let Err(error) = out.flush() {
        streams::note_lost("/dev/stdout", &error);
    }
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            errors::report(invocation.program, &error);
            ExitCode::from(1)
        }
    }
}

/// Docker shows nine digits always, so that lines align.
fn pad_stamp(time: &str) -> String {
    match Timestamp::parse_rfc3339(time) {
        Ok(time) => format!("{} ", time.rfc3339_fixed()),
        Err(_) => format!("{time} "),
    }
}

fn detail_text(engine: &Engine, key: &str) -> String {
    let Ok(stored) = engine.container(key) else {
        return String::new();
    };
    let options = &stored.record.spec.log_options;
    let wanted: Vec<&str> = options
        .get("labels")
        .map_or("", String::as_str)
        .split(',')
        .collect();
    let labels = stored
        .record
        .spec
        .labels
        .iter()
        .filter(|(key, _)| wanted.contains(&key.as_str()));
    let text: Vec<String> = labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!("{} ", text.join(","))
}

fn request(invocation: &Invocation) -> Result<LogRequest, String> {
    let matches = &invocation.matches;
    let time = |flag: &str| match matches.get_str(flag) {
        "" => Ok(None),
        text => Timestamp::parse_relative(text, Timestamp::now(), engine::zone::offset_s())
            .map(Some)
            .map_err(|error| format!("invalid value for \"{flag}\": {error}")),
    };
    let tail = match matches.get_str("tail") {
        "" | "all" => None,
        // As Docker: what is no number, or negative, is all.
        text => text.parse::<u64>().ok(),
    };
    Ok(LogRequest {
        tail,
        since: time("since")?,
        until: time("until")?,
        follow: matches.get_bool("follow"),
    })
}
