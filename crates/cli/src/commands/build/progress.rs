//! What a build is doing, on standard error: lines, or documents, or lines that move (see `screen`).
//!
//! Plain lines are BuildKit's: a number per step, `#3 [2/5] RUN make`, its output with the seconds
//! since it began, `#3 CACHED` or `#3 DONE 0.3s`; and a line of ours that says why it was done.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use engine::build::{BuildEvent, BuildObserver, BuildRequest, LintWarning, Outcome, Stream};
use engine::observer::Observer;
use types::excerpt::excerpt;
use types::reference::Reference;

use super::rawjson::RawJson;
use super::screen::{Key, Screen};
use crate::commands::progress as pulls;
use crate::errors;
use crate::output::template::escape_control;
use crate::terminal;

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
    /// Lines that move, on a terminal.
    Tty,
    Quiet,
    /// One JSON document a line.
    RawJson,
}

impl Style {
    /// Where nobody asks for another.
    pub(crate) fn auto() -> Self {
        match moves() {
            true => Self::Tty,
            false => Self::Plain,
        }
    }

    /// The style that flags ask for.
    pub(crate) fn of(name: &str, is_quiet: bool) -> Result<Self, String> {
        match name {
            _ if is_quiet => Ok(Self::Quiet),
            "auto" | "tty" => Ok(Self::auto()),
            "plain" => Ok(Self::Plain),
            "quiet" | "none" => Ok(Self::Quiet),
            "rawjson" => Ok(Self::RawJson),
            other => Err(format!(
                "invalid progress mode {other}: it is auto, plain, tty, quiet or rawjson"
            )),
        }
    }
}

/// Whether lines can be written over.
fn moves() -> bool {
    let is_dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
    !is_dumb && terminal::is_terminal(rustix::stdio::stderr())
}

/// What builds that go on at once have in common: the numbers of their steps, and the screen.
#[derive(Clone)]
pub(crate) struct Board {
    style: Style,
    last: Arc<AtomicUsize>,
    screen: Option<Screen>,
}

impl Board {
    pub(crate) fn new(style: Style) -> Self {
        Self {
            style,
            last: Arc::default(),
            screen: (style == Style::Tty).then(Screen::new),
        }
    }

    fn next(&self) -> usize {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A line that is no progress: it is told in every style.
    pub(crate) fn tell(&self, text: &str) {
        match &self.screen {
            Some(screen) => screen.say(text),
            None => errors::complain(text),
        }
    }
}

/// Shows progress.
pub(crate) struct Progress {
    /// What this build is called among others; empty where it is alone.
    name: String,
    board: Board,
    state: Mutex<State>,
    pulls: pulls::Progress,
    raw: Option<RawJson>,
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
    fn number(&mut self, step: usize, board: &Board) -> usize {
        *self.numbers.entry(step).or_insert_with(|| board.next())
    }

    fn seconds(&self, step: usize) -> f64 {
        let begun = self.begun.get(&step);
        begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64())
    }
}

impl Progress {
    /// Of a build that is called so among others; of one that is alone, with an empty name.
    pub(crate) fn new(name: &str, board: &Board) -> Self {
        Self {
            name: name.to_owned(),
            board: board.clone(),
            state: Mutex::default(),
            pulls: pulls::Progress::new(pulls::Stream::Error, board.style != Style::Plain),
            raw: (board.style == Style::RawJson).then(|| RawJson::new(name)),
        }
    }

    /// A line that is no progress: it is told in every style.
    pub(crate) fn tell(&self, text: &str) {
        self.board.tell(text);
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

    /// A line of the plain form.
    fn line(&self, text: &str) {
        if self.board.style == Style::Plain {
            write_line(&escape_control(text));
        }
    }

    /// A line in both forms for people.
    fn say(&self, text: &str) {
        match &self.board.screen {
            Some(screen) => screen.say(text),
            None => self.line(text),
        }
    }

    /// Something that may be wrong.
    pub(crate) fn warn(&self, text: &str) {
        match &self.raw {
            Some(raw) => raw.warn(text),
            None => self.say(text),
        }
    }

    /// What the rules found.
    pub(crate) fn lint(&self, request: &BuildRequest, warnings: &[LintWarning]) {
        let file = &request.dockerfile_name;
        if let Some(raw) = &self.raw {
            let source = &request.dockerfile;
            return warnings
                .iter()
                .for_each(|warning| raw.lint(warning, file, source));
        }
        match warnings.len() {
            0 => return,
            1 => self.say("1 warning found:"),
            count => self.say(&format!("{count} warnings found:")),
        }
        for warning in warnings {
            let (rule, line) = (warning.rule.name(), warning.lines.start);
            let (detail, fix) = (&warning.detail, &warning.fix);
            self.say(&format!(" - {rule}: {detail} ({file}:{line}); {fix}"));
        }
    }

    /// Something else worth a line.
    pub(crate) fn note(&self, text: &str) {
        match &self.raw {
            Some(raw) => raw.note(text),
            None => self.say(text),
        }
    }

    /// The image is there.
    pub(crate) fn exported(&self, id: &str, tags: &[Reference]) {
        let names = tags.iter().cloned().map(Reference::with_default_tag);
        let names: Vec<String> = names.map(|name| name.canonical()).collect();
        let title = self.title("exporting to image");
        let naming = names.iter().map(|name| format!("naming to {name}"));
        let done = std::iter::once(format!("writing image {id}")).chain(naming);
        if let Some(raw) = &self.raw {
            return raw.exported(&title, &done.collect::<Vec<_>>());
        }
        match &self.board.screen {
            Some(screen) => {
                screen.say(&format!(" => {title}"));
                done.for_each(|what| screen.say(&format!(" => => {what}")));
                screen.finished();
            }
            None => {
                let number = self.board.next();
                self.line(&format!("#{number} {title}"));
                done.for_each(|what| self.line(&format!("#{number} {what} done")));
                self.line(&format!("#{number} DONE"));
            }
        }
    }

    /// A step failed.
    pub(crate) fn failed(&self, step: usize, name: &str, text: &str) {
        if let Some(raw) = &self.raw {
            return raw.failed(step, &self.title(name), text);
        }
        let number = self.lock().number(step, &self.board);
        self.line(&format!("#{number} ERROR: {text}"));
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
        if let Some(raw) = &self.raw {
            raw.step(step, &self.title(name), outcome);
        }
        if let Some(screen) = &self.board.screen {
            return self.step_on(screen, &mut state, step, name, outcome);
        }
        if outcome == Outcome::Begun {
            state.begun.insert(step, Instant::now());
            return;
        }
        let is_new = !state.numbers.contains_key(&step);
        let number = state.number(step, &self.board);
        if is_new {
            self.line(&format!("#{number} {}", self.title(name)));
        }
        let seconds = state.seconds(step);
        match outcome {
            Outcome::Begun => {}
            Outcome::Cached => self.line(&format!("#{number} CACHED\n")),
            Outcome::Missed(cause) => self.line(&format!("#{number} not cached: {cause}")),
            Outcome::Failed => self.rest_of_output(&mut state, step),
            Outcome::Done => {
                self.rest_of_output(&mut state, step);
                state.tail.remove(&step);
                self.line(&format!("#{number} DONE {seconds:.1}s\n"));
            }
        }
    }

    fn step_on(
        &self,
        screen: &Screen,
        state: &mut State,
        step: usize,
        name: &str,
        outcome: Outcome<'_>,
    ) {
        let key = Key::Step(state.number(step, &self.board));
        match outcome {
            Outcome::Begun => {
                // Steps begin when all that they stand on was pulled.
                screen.end_pulls();
                state.begun.insert(step, Instant::now());
                screen.begin(key, &self.title(name));
            }
            Outcome::Missed(cause) => screen.cause(&key, cause),
            Outcome::Cached => screen.end(&key, "CACHED "),
            Outcome::Failed => {
                self.rest_of_output(state, step);
                screen.end(&key, "ERROR ");
            }
            Outcome::Done => {
                self.rest_of_output(state, step);
                state.tail.remove(&step);
                screen.end(&key, "");
            }
        }
    }

    /// What a program wrote after its last line.
    fn rest_of_output(&self, state: &mut State, step: usize) {
        let number = state.number(step, &self.board);
        for is_error in [false, true] {
            let rest = state.partial.remove(&(step, is_error)).unwrap_or_default();
            if !rest.is_empty() {
                self.output_line(state, step, number, &rest);
            }
        }
    }

    fn output(&self, step: usize, stream: Stream, bytes: &[u8]) {
        let is_error = stream == Stream::Error;
        let mut state = self.lock();
        let number = state.number(step, &self.board);
        if let Some(raw) = &self.raw {
            raw.output(step, stream, bytes);
        }
        let mut rest = state.partial.remove(&(step, is_error)).unwrap_or_default();
        rest.extend_from_slice(bytes);
        let mut from = 0;
        while let Some(end) = rest[from..].iter().position(|byte| *byte == b'\n') {
            let line = rest[from..from + end].to_vec();
            self.output_line(&mut state, step, number, &line);
            from += end + 1;
        }
        rest.drain(..from);
        if rest.len() > LINE_BYTES_MAX {
            self.output_line(&mut state, step, number, &rest);
            rest.clear();
        }
        state.partial.insert((step, is_error), rest);
    }

    fn output_line(&self, state: &mut State, step: usize, number: usize, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        // Of a line that writes over itself the last state is of interest.
        let text = text
            .trim_end_matches('\r')
            .rsplit('\r')
            .next()
            .unwrap_or("");
        let line = format!("{:.3} {text}", state.seconds(step));
        match &self.board.screen {
            Some(screen) => screen.output(&Key::Step(number), text),
            None => self.line(&format!("#{number} {line}")),
        }
        let tail = state.tail.entry(step).or_default();
        tail.push_back(excerpt(&line, SHOWN_BYTES_MAX).into_owned());
        if tail.len() > TAIL_LINES {
            tail.pop_front();
        }
    }
}

pub(super) fn write_line(text: &str) {
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
        match (&self.board.screen, &self.raw) {
            (Some(screen), _) => screen,
            (None, Some(raw)) => raw,
            (None, None) => &self.pulls,
        }
    }
}
