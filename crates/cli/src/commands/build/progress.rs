//! What a build is doing, on standard error.
//!
//! Plain lines are BuildKit's: a number per step, `#3 [2/5] RUN make`, its output with the seconds
//! since it began, `#3 CACHED` or `#3 DONE 0.3s`; and a line of ours that says why it was done.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use engine::build::{BuildEvent, BuildObserver, Outcome, Stream};
use engine::observer::Observer;
use types::excerpt::excerpt;
use types::reference::Reference;

use crate::commands::progress as pulls;
use crate::output::template::escape_control;

/// So many lines of a failed step are shown again.
const TAIL_LINES: usize = 20;
/// And so much of each of them, and of a step's name.
const SHOWN_BYTES_MAX: usize = 1024;
/// A program that writes no line end is shown in pieces.
const LINE_BYTES_MAX: usize = 16 << 10;

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Quiet,
    /// One JSON document a line.
    RawJson,
}

impl Style {
    /// The style that flags ask for.
    pub(crate) fn of(name: &str, is_quiet: bool) -> Result<Self, String> {
        match name {
            _ if is_quiet => Ok(Self::Quiet),
            "auto" | "plain" | "tty" => Ok(Self::Plain),
            "quiet" | "none" => Ok(Self::Quiet),
            "rawjson" => Ok(Self::RawJson),
            other => Err(format!(
                "invalid progress mode {other}: it is auto, plain, tty, quiet or rawjson"
            )),
        }
    }
}

/// The numbers of steps, which builds that go on at once have in common.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers(Arc<AtomicUsize>);

impl Numbers {
    fn next(&self) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Shows progress.
pub(crate) struct Progress {
    style: Style,
    /// What this build is called among others; empty where it is alone.
    name: String,
    numbers: Numbers,
    state: Mutex<State>,
    pulls: pulls::Progress,
}

#[derive(Default)]
struct State {
    /// Numbers as shown, by step.
    numbers: HashMap<usize, usize>,
    begun: HashMap<usize, Instant>,
    /// Output that is no whole line yet.
    partial: HashMap<(usize, bool), Vec<u8>>,
    tail: HashMap<usize, VecDeque<String>>,
}

impl State {
    fn number(&mut self, step: usize, all: &Numbers) -> usize {
        *self.numbers.entry(step).or_insert_with(|| all.next())
    }

    fn seconds(&self, step: usize) -> f64 {
        let begun = self.begun.get(&step);
        begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64())
    }
}

impl Progress {
    pub(crate) fn new(style: Style) -> Self {
        Self {
            style,
            name: String::new(),
            numbers: Numbers::default(),
            state: Mutex::default(),
            pulls: pulls::Progress::new(pulls::Stream::Error, style != Style::Plain),
        }
    }

    /// One of several builds.
    pub(crate) fn named(mut self, name: &str, numbers: &Numbers) -> Self {
        self.name = name.to_owned();
        self.numbers = numbers.clone();
        self
    }

    /// `[2/5] RUN make` is `[web 2/5] RUN make` among others, as Bake shows it.
    fn title(&self, name: &str) -> String {
        // A name that is several lines long is one of a here-document.
        let line = excerpt(name.lines().next().unwrap_or_default(), SHOWN_BYTES_MAX);
        match (self.name.as_str(), line.strip_prefix('[')) {
            ("", _) => line.into_owned(),
            (own, Some(rest)) => format!("[{own} {rest}"),
            (own, None) => format!("[{own}] {line}"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, text: &str) {
        if self.style == Style::Plain {
            write_line(&escape_control(text));
        }
    }

    fn json(&self, document: &serde_json::Value) {
        if self.style == Style::RawJson {
            write_line(&document.to_string());
        }
    }

    /// Something that may be wrong.
    pub(crate) fn warn(&self, text: &str) {
        self.line(text);
        self.json(&serde_json::json!({ "warning": text }));
    }

    /// Something else worth a line.
    pub(crate) fn note(&self, text: &str) {
        self.line(text);
        self.json(&serde_json::json!({ "note": text }));
    }

    /// The image is there.
    pub(crate) fn exported(&self, id: &str, tags: &[Reference]) {
        let number = self.numbers.next();
        let title = self.title("exporting to image");
        self.line(&format!("#{number} {title}"));
        self.line(&format!("#{number} writing image {id} done"));
        for tag in tags {
            let name = tag.clone().with_default_tag().canonical();
            self.line(&format!("#{number} naming to {name} done"));
        }
        self.line(&format!("#{number} DONE"));
        self.json(&serde_json::json!({
            "image": id,
            "names": tags.iter().map(|tag| tag.clone().with_default_tag().canonical()).collect::<Vec<_>>(),
        }));
    }

    /// A step failed.
    pub(crate) fn failed(&self, step: usize, text: &str) {
        let number = self.lock().number(step, &self.numbers);
        self.line(&format!("#{number} ERROR: {text}"));
        self.json(&serde_json::json!({ "vertex": number, "error": text }));
    }

    /// A step above the end of its output.
    pub(crate) fn heading(name: &str) -> String {
        escape_control(&format!(" > {}:", excerpt(name, SHOWN_BYTES_MAX))).into_owned()
    }

    /// The last lines of a step's output.
    pub(crate) fn tail(&self, step: usize) -> Vec<String> {
        let mut state = self.lock();
        let tail = state.tail.remove(&step).unwrap_or_default();
        tail.into_iter()
            .map(|line| escape_control(&line).into_owned())
            .collect()
    }

    fn step(&self, step: usize, name: &str, outcome: Outcome<'_>) {
        let mut state = self.lock();
        if outcome == Outcome::Begun {
            state.begun.insert(step, Instant::now());
            return;
        }
        let is_new = !state.numbers.contains_key(&step);
        let number = state.number(step, &self.numbers);
        if is_new {
            self.line(&format!("#{number} {}", self.title(name)));
        }
        let seconds = state.seconds(step);
        self.json(&step_document(number, name, outcome, seconds));
        match outcome {
            Outcome::Begun | Outcome::Failed => {}
            Outcome::Cached => self.line(&format!("#{number} CACHED\n")),
            Outcome::Missed(cause) => self.line(&format!("#{number} not cached: {cause}")),
            Outcome::Done => {
                for is_error in [false, true] {
                    let rest = state.partial.remove(&(step, is_error)).unwrap_or_default();
                    if !rest.is_empty() {
                        self.output_line(&mut state, step, number, is_error, &rest);
                    }
                }
                state.tail.remove(&step);
                self.line(&format!("#{number} DONE {seconds:.1}s\n"));
            }
        }
        if outcome == Outcome::Failed {
            for is_error in [false, true] {
                let rest = state.partial.remove(&(step, is_error)).unwrap_or_default();
                if !rest.is_empty() {
                    self.output_line(&mut state, step, number, is_error, &rest);
                }
            }
        }
    }

    fn output(&self, step: usize, stream: Stream, bytes: &[u8]) {
        let is_error = stream == Stream::Error;
        let mut state = self.lock();
        let number = state.number(step, &self.numbers);
        let mut rest = state.partial.remove(&(step, is_error)).unwrap_or_default();
        rest.extend_from_slice(bytes);
        let mut from = 0;
        while let Some(end) = rest[from..].iter().position(|byte| *byte == b'\n') {
            let line = rest[from..from + end].to_vec();
            self.output_line(&mut state, step, number, is_error, &line);
            from += end + 1;
        }
        rest.drain(..from);
        if rest.len() > LINE_BYTES_MAX {
            self.output_line(&mut state, step, number, is_error, &rest);
            rest.clear();
        }
        state.partial.insert((step, is_error), rest);
    }

    fn output_line(
        &self,
        state: &mut State,
        step: usize,
        number: usize,
        is_error: bool,
        line: &[u8],
    ) {
        let text = String::from_utf8_lossy(line);
        // Of a line that writes over itself the last state is of interest.
        let text = text
            .trim_end_matches('\r')
            .rsplit('\r')
            .next()
            .unwrap_or("");
        let line = format!("{:.3} {text}", state.seconds(step));
        self.line(&format!("#{number} {line}"));
        self.json(&serde_json::json!({
            "vertex": number,
            "stream": if is_error { 2 } else { 1 },
            "data": text,
        }));
        let tail = state.tail.entry(step).or_default();
        tail.push_back(excerpt(&line, SHOWN_BYTES_MAX).into_owned());
        if tail.len() > TAIL_LINES {
            tail.pop_front();
        }
    }
}

fn step_document(
    number: usize,
    name: &str,
    outcome: Outcome<'_>,
    seconds: f64,
) -> serde_json::Value {
    let name = excerpt(name, SHOWN_BYTES_MAX);
    let mut document = serde_json::json!({ "vertex": number, "name": name });
    match outcome {
        Outcome::Begun => {}
        Outcome::Cached => document["cached"] = true.into(),
        Outcome::Missed(cause) => document["cause"] = cause.into(),
        Outcome::Done => document["completed"] = seconds.into(),
        Outcome::Failed => document["failed"] = true.into(),
    }
    document
}

fn write_line(text: &str) {
    let line = format!("{text}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

impl BuildObserver for Progress {
    fn event(&self, event: BuildEvent<'_>) {
        match event {
            BuildEvent::Step {
                step,
                name,
                outcome,
            } => self.step(step, name, outcome),
            BuildEvent::Output {
                step,
                stream,
                bytes,
            } => self.output(step, stream, bytes),
            BuildEvent::Note(text) => self.note(&text),
            BuildEvent::Warning(text) => self.warn(&text),
        }
    }

    fn images(&self) -> &dyn Observer {
        &self.pulls
    }
}
