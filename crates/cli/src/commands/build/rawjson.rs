//! `--progress rawjson`: what a build is doing, for programs. A line is a `SolveStatus` of BuildKit's client,
//! as `docker buildx build --progress rawjson` writes it: steps are vertexes, known by a digest; what they do
//! is in statuses, what they write in logs (bytes in base64). Why a step is not in the cache is a status
//! of ours, `not cached: …`.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::build::{LintWarning, Outcome, Stream, digest_of_parts};
use engine::observer::{Event, LayerProgress, Observer};
use serde_json::{Value, json};
use types::timestamp::Timestamp;

use super::progress::write_line;

/// Writes the documents of one build.
pub(super) struct RawJson {
    /// What the build is called among others: its steps are not theirs.
    name: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Steps that run: their vertexes as they began.
    steps: HashMap<usize, Value>,
    /// What is pulled.
    pulls: Vec<Value>,
}

impl RawJson {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn digest(&self, number: usize, title: &str) -> String {
        let number = number.to_string();
        let parts = [self.name.as_bytes(), number.as_bytes(), title.as_bytes()];
        digest_of_parts(parts).to_string()
    }

    /// A vertex that begins now.
    fn begun(&self, number: usize, title: &str) -> Value {
        json!({ "digest": self.digest(number, title), "name": title, "started": now() })
    }

    /// One that ends as it begins, with what was done for it.
    fn moment(&self, title: &str, done: &[String]) {
        let mut vertex = self.begun(usize::MAX, title);
        vertex["completed"] = now().into();
        let statuses: Vec<Value> = done.iter().map(|id| status(id, &vertex)).collect();
        write(&json!({ "vertexes": [vertex] }));
        if !statuses.is_empty() {
            write(&json!({ "statuses": statuses }));
        }
    }

    pub(super) fn step(&self, step: usize, title: &str, outcome: Outcome<'_>) {
        let mut state = self.lock();
        match outcome {
            Outcome::Begun => {
                // Steps begin when all that they stand on was pulled.
                end_pulls(&mut state);
                let vertex = self.begun(step, title);
                write(&json!({ "vertexes": [&vertex] }));
                state.steps.insert(step, vertex);
            }
            Outcome::Missed(cause) => {
                let vertex = state.steps.get(&step).unwrap_or(&Value::Null);
                let status = status(&format!("not cached: {cause}"), vertex);
                write(&json!({ "statuses": [status] }));
            }
            Outcome::Cached | Outcome::Done => {
                let vertex = state.steps.remove(&step);
                let mut vertex = vertex.unwrap_or_else(|| self.begun(step, title));
                vertex["completed"] = now().into();
                if outcome == Outcome::Cached {
                    vertex["cached"] = true.into();
                }
                write(&json!({ "vertexes": [vertex] }));
            }
            // Why is told by `failed`.
            Outcome::Failed => {}
        }
    }

    pub(super) fn failed(&self, step: usize, title: &str, error: &str) {
        let vertex = self.lock().steps.remove(&step);
        let mut vertex = vertex.unwrap_or_else(|| self.begun(step, title));
        vertex["completed"] = now().into();
        vertex["error"] = error.into();
        write(&json!({ "vertexes": [vertex] }));
    }

    pub(super) fn output(&self, step: usize, stream: Stream, bytes: &[u8]) {
        let state = self.lock();
        let vertex = state.steps.get(&step).map(|vertex| &vertex["digest"]);
        let number = if stream == Stream::Error { 2 } else { 1 };
        let log = json!({
            "vertex": vertex, "stream": number, "data": STANDARD.encode(bytes), "timestamp": now(),
        });
        write(&json!({ "logs": [log] }));
    }

    pub(super) fn warn(&self, text: &str) {
        write(&json!({ "warnings": [{ "level": 1, "short": STANDARD.encode(text) }] }));
    }

    /// What a lint rule found, with the file that it found it in.
    pub(super) fn lint(&self, warning: &LintWarning, file: &str, source: &[u8]) {
        let rule = warning.rule;
        let (first, last) = (warning.lines.start, warning.lines.end);
        let short = format!("{}: {} (line {first})", rule.name(), warning.detail);
        let details = [rule.description(), &warning.fix].map(|text| STANDARD.encode(text));
        let mut document = json!({
            "level": 1, "short": STANDARD.encode(short), "detail": details,
            "sourceInfo": { "filename": file, "data": STANDARD.encode(source), "language": "Dockerfile" },
            "range": [{ "start": { "line": first }, "end": { "line": last } }],
        });
        if let Some(url) = rule.url() {
            document["url"] = url.into();
        }
        write(&json!({ "warnings": [document] }));
    }

    pub(super) fn note(&self, text: &str) {
        self.moment(text, &[]);
    }

    pub(super) fn exported(&self, title: &str, done: &[String]) {
        end_pulls(&mut self.lock());
        self.moment(title, done);
    }
}

fn end_pulls(state: &mut State) {
    for mut pull in std::mem::take(&mut state.pulls) {
        pull["completed"] = now().into();
        write(&json!({ "vertexes": [pull] }));
    }
}

/// What is pulled for a build: a vertex an image, a status a layer.
impl Observer for RawJson {
    fn event(&self, event: Event) {
        let mut state = self.lock();
        match event {
            Event::Pulling {
                selector,
                repository,
            } => {
                let vertex = self.begun(usize::MAX, &format!("pull {repository}:{selector}"));
                write(&json!({ "vertexes": [&vertex] }));
                state.pulls.push(vertex);
            }
            Event::Layer { id, progress } => {
                let Some(vertex) = state.pulls.last() else {
                    return;
                };
                let mut status = status(&id, vertex);
                match progress {
                    LayerProgress::Downloading { received, size } => {
                        status["current"] = received.into();
                        status["total"] = size.into();
                    }
                    LayerProgress::Complete | LayerProgress::Exists => {
                        return write(&json!({ "statuses": [status] }));
                    }
                    LayerProgress::Waiting | LayerProgress::Downloaded => {}
                }
                if let Some(status) = status.as_object_mut() {
                    status.remove("completed");
                }
                write(&json!({ "statuses": [status] }));
            }
            Event::Resolved { .. } | Event::Push { .. } | Event::Archive { .. } => {}
        }
    }
}

/// Something that is done for a vertex.
fn status(id: &str, vertex: &Value) -> Value {
    let now = now();
    json!({
        "id": id, "vertex": vertex["digest"], "current": 0, "timestamp": now, "started": now,
        "completed": now,
    })
}

fn now() -> String {
    Timestamp::now().rfc3339()
}

fn write(document: &Value) {
    write_line(&document.to_string());
}
