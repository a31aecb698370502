//! What a pull or push is doing: lines as Docker prints them, moving ones on a terminal.

use std::collections::HashMap;
use std::sync::Mutex;

use engine::image::pull::{PullOutcome, PullReport};
use engine::observer::{Event, LayerProgress, Observer, PushProgress};
use types::units::human_size;

use crate::errors;
use crate::terminal;

/// Where the lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// `pull`.
    Output,
    /// `run`, whose output is the container's.
    Error,
}

/// Prints progress.
pub(crate) struct Progress {
    stream: Stream,
    quiet: bool,
    moving: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Layers in the order that they were told, and what was last shown of each.
    order: Vec<String>,
    shown: HashMap<String, String>,
    digest: String,
}

impl Progress {
    pub(crate) fn new(stream: Stream, quiet: bool) -> Self {
        let moving = match stream {
            Stream::Output => terminal::is_terminal(rustix::stdio::stdout()),
            Stream::Error => terminal::is_terminal(rustix::stdio::stderr()),
        };
        Self {
            stream,
            quiet,
            moving,
            state: Mutex::default(),
        }
    }

    fn say(&self, text: &str) {
        if self.quiet {
            return;
        }
        match self.stream {
            Stream::Output => super::print(text),
            Stream::Error => errors::complain(text.trim_end_matches('\n')),
        }
    }

    /// The last lines of a pull.
    pub(crate) fn finish(&self, report: &PullReport) {
        let name = report.reference.familiar();
        let text = match report.outcome {
            PullOutcome::UpToDate => format!("Status: Image is up to date for {name}\n"),
            PullOutcome::Downloaded => format!("Status: Downloaded newer image for {name}\n"),
        };
        self.say(&format!("Digest: {}\n", report.target));
        self.say(&text);
    }

    /// The last line of a pull that came to the image in this binary: no registry has a digest of it.
    pub(crate) fn finish_builtin(&self, report: &PullReport) {
        if self.stream == Stream::Error {
            // `run`, where the note is enough.
            return;
        }
        let name = report.reference.familiar();
        self.say(&match report.outcome {
            PullOutcome::UpToDate => format!("Status: Image is up to date for {name}\n"),
            PullOutcome::Downloaded => format!("Status: Built-in image taken for {name}\n"),
        });
    }

    fn pulled(&self, progress: LayerProgress) -> Option<String> {
        Some(match progress {
            LayerProgress::Waiting => "Pulling fs layer".to_string(),
            LayerProgress::Exists => "Already exists".into(),
            LayerProgress::Downloading { .. } if !self.moving => return None,
            LayerProgress::Downloading { received, size } => parts("Downloading", received, size),
            LayerProgress::Downloaded => "Download complete".into(),
            LayerProgress::Complete => "Pull complete".into(),
        })
    }

    fn pushed(&self, progress: PushProgress) -> Option<String> {
        Some(match progress {
            PushProgress::Preparing => "Preparing".into(),
            PushProgress::Packing if !self.moving => return None,
            PushProgress::Packing => "Compressing".into(),
            PushProgress::Pushing { .. } if !self.moving => return None,
            PushProgress::Pushing { sent, size } => parts("Pushing", sent, size),
            PushProgress::Pushed => "Pushed".into(),
            PushProgress::Exists => "Layer already exists".into(),
            PushProgress::Mounted(from) => format!("Mounted from {from}"),
        })
    }

    fn layer(&self, state: &mut State, id: &str, text: Option<String>) {
        let Some(text) = text else {
            return;
        };
        let line = format!("{id}: {text}");
        if !self.moving {
            return self.say(&format!("{line}\n"));
        }
        let at = match state.order.iter().position(|other| other == id) {
            Some(at) => at,
            None => {
                state.order.push(id.to_string());
                self.say(&format!("{line}\n"));
                state.shown.insert(id.to_string(), line);
                return;
            }
        };
        if state.shown.get(id) == Some(&line) {
            return;
        }
        let up = state.order.len() - at;
        // Up to the layer's line, clear it, write it anew, and back down.
        self.raw(&format!("\u{1b}[{up}A\r\u{1b}[2K{line}\u{1b}[{up}B\r"));
        state.shown.insert(id.to_string(), line);
    }

    fn raw(&self, text: &str) {
        if self.quiet {
            return;
        }
        let fd = match self.stream {
            Stream::Output => rustix::stdio::stdout(),
            Stream::Error => rustix::stdio::stderr(),
        };
        crate::streams::write_all(fd, text.as_bytes());
    }
}

fn parts(what: &str, so_far: u64, all: u64) -> String {
    format!(
        "{what}  {}/{}",
        human_size(so_far as f64),
        human_size(all as f64)
    )
}

impl Observer for Progress {
    fn event(&self, event: Event) {
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        match event {
            Event::Pulling {
                selector,
                repository,
            } => {
                self.say(&format!("{selector}: Pulling from {repository}\n"));
                // Several images may share the screen: the lines of layers move around this one.
                state.order.push(String::new());
            }
            Event::Layer { id, progress } => self.layer(&mut state, &id, self.pulled(progress)),
            Event::Push { id, progress } => self.layer(&mut state, &id, self.pushed(progress)),
            Event::Resolved { digest } => state.digest = digest.to_string(),
            Event::Archive { .. } => {}
        }
    }
}
