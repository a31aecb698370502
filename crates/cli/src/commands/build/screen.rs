//! What a build is doing, on a terminal: what runs moves on its last lines, what is done stays above.
//!
//! The form is BuildKit's: ` => [2/5] RUN make` with the seconds at the right, the end of the output of
//! what runs below it. A line that is done is never touched again, so that all of them can be read
//! back however small the terminal is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engine::observer::{Event, LayerProgress, Observer};
use types::units::human_size;

use crate::output::template::escape_control;
use crate::output::text;
use crate::terminal;

/// How often what moves is shown anew.
const FRAME: Duration = Duration::from_millis(100);
/// So many lines of the output of what runs are shown.
const TAIL_LINES: usize = 6;
/// A terminal that does not tell its size.
const ROWS: usize = 24;
const COLUMNS: usize = 80;
/// For the seconds, at the right.
const SECONDS_COLUMNS: usize = 8;

/// What runs. An order of its own: what is pulled comes before the steps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// An image.
    Pull(String),
    /// A step, by its number.
    Step(usize),
}

/// The last lines of a terminal. Builds that go on at once share it.
#[derive(Clone)]
pub(super) struct Screen(Arc<Ticker>);

/// Shows the lines anew until the last build is done.
struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    region: Mutex<Region>,
    ended: Condvar,
}

struct Region {
    began: Instant,
    rows: BTreeMap<Key, Row>,
    /// Of layers that are pulled: bytes so far, and all.
    layers: BTreeMap<String, (u64, u64)>,
    done: usize,
    /// Lines of ours that are on the terminal now.
    shown: usize,
    has_ended: bool,
}

struct Row {
    title: String,
    began: Instant,
    cause: Option<String>,
    tail: VecDeque<String>,
}

impl Screen {
    pub(super) fn new() -> Self {
        let shared = Arc::new(Shared {
            region: Mutex::new(Region {
                began: Instant::now(),
                rows: BTreeMap::new(),
                layers: BTreeMap::new(),
                done: 0,
                shown: 0,
                has_ended: false,
            }),
            ended: Condvar::new(),
        });
        let ticking = shared.clone();
        // Without a thread, only what is done is shown.
        let thread = std::thread::Builder::new()
            .name("screen".into())
            .spawn(move || ticking.tick())
            .ok();
        Self(Arc::new(Ticker { shared, thread }))
    }

    /// A line that stays, above what moves.
    pub(super) fn say(&self, text: &str) {
        self.0.shared.lock().say(text);
    }

    /// Something runs.
    pub(super) fn begin(&self, key: Key, title: &str) {
        let row = Row {
            title: title.to_owned(),
            began: Instant::now(),
            cause: None,
            tail: VecDeque::new(),
        };
        self.0.shared.lock().rows.insert(key, row);
    }

    /// Why it runs.
    pub(super) fn cause(&self, key: &Key, cause: &str) {
        if let Some(row) = self.0.shared.lock().rows.get_mut(key) {
            row.cause = Some(cause.to_owned());
        }
    }

    /// A line of its output.
    pub(super) fn output(&self, key: &Key, line: &str) {
        if let Some(row) = self.0.shared.lock().rows.get_mut(key) {
            row.tail.push_back(line.to_owned());
            if row.tail.len() > TAIL_LINES {
                row.tail.pop_front();
            }
        }
    }

    /// It is done: its line stays, after `mark` (`CACHED `, `ERROR `, or nothing).
    pub(super) fn end(&self, key: &Key, mark: &str) {
        let mut region = self.0.shared.lock();
        if let Some(row) = region.rows.remove(key) {
            region.done += 1;
            let title = format!("{mark}{}", row.title);
            let mut line = timed(&title, row.began, size().1);
            if let Some(cause) = row.cause {
                line.push_str(&format!("\n => => not cached: {cause}"));
            }
            region.say(&line);
        }
    }

    /// All that was pulled is there.
    pub(super) fn end_pulls(&self) {
        let region = self.0.shared.lock();
        let is_pull = |key: &&Key| matches!(key, Key::Pull(_));
        let pulls: Vec<Key> = region.rows.keys().filter(is_pull).cloned().collect();
        drop(region);
        pulls.iter().for_each(|key| self.end(key, ""));
    }

    /// The last line of a build.
    pub(super) fn finished(&self) {
        let mut region = self.0.shared.lock();
        let line = region.header(" FINISHED");
        region.say(&line);
    }
}

/// What is pulled for a build: one line that moves, whatever the number of layers.
impl Observer for Screen {
    fn event(&self, event: Event) {
        match event {
            Event::Pulling {
                selector,
                repository,
            } => self.begin(
                Key::Pull(repository.clone()),
                &format!("pull {repository}:{selector}"),
            ),
            Event::Layer { id, progress } => self.0.shared.lock().layer(id, progress),
            Event::Resolved { .. } | Event::Push { .. } | Event::Archive { .. } => {}
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        let mut region = self.shared.lock();
        region.has_ended = true;
        // What was cut off leaves no lines.
        region.rows.clear();
        region.draw("");
        drop(region);
        self.shared.ended.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Region> {
        self.region.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) {
        let mut region = self.lock();
        while !region.has_ended {
            let waited = self.ended.wait_timeout(region, FRAME);
            region = waited.unwrap_or_else(PoisonError::into_inner).0;
            if !region.has_ended && !region.rows.is_empty() {
                region.draw("");
            }
        }
    }
}

impl Region {
    fn header(&self, end: &str) -> String {
        let all = self.done + self.rows.len();
        let seconds = self.began.elapsed().as_secs_f64();
        format!("[+] Building {seconds:.1}s ({}/{all}){end}", self.done)
    }

    /// Bytes of all layers, below what was asked for last: a layer may be of several images.
    fn layer(&mut self, id: String, progress: LayerProgress) {
        match progress {
            LayerProgress::Downloading { received, size } => {
                self.layers.insert(id, (received, size));
            }
            LayerProgress::Downloaded | LayerProgress::Complete => {
                if let Some((received, size)) = self.layers.get_mut(&id) {
                    *received = *size;
                }
            }
            LayerProgress::Waiting | LayerProgress::Exists => return,
        }
        let sum = |part: fn(&(u64, u64)) -> u64| {
            let bytes: u64 = self.layers.values().map(part).fold(0, u64::saturating_add);
            human_size(bytes as f64)
        };
        let line = format!("{} / {}", sum(|layer| layer.0), sum(|layer| layer.1));
        let is_pull = |key: &Key| matches!(key, Key::Pull(_));
        let rows = self.rows.iter_mut().filter(|(key, _)| is_pull(key));
        if let Some((_, row)) = rows.last() {
            row.tail = VecDeque::from([line]);
        }
    }

    fn say(&mut self, text: &str) {
        self.draw(&format!("{text}\n"));
    }

    /// Takes the moving lines away, writes `above` in their place and them below it, in one write.
    fn draw(&mut self, above: &str) {
        let mut out = String::new();
        if self.shown > 0 {
            out.push_str(&format!("\u{1b}[{}A\r\u{1b}[J", self.shown));
        }
        for line in above.lines() {
            out.push_str(&escape_control(line));
            out.push('\n');
        }
        let lines = self.lines(size());
        for line in &lines {
            out.push_str(line);
            out.push('\n');
        }
        self.shown = lines.len();
        if !out.is_empty() {
            crate::streams::write_all(rustix::stdio::stderr(), out.as_bytes());
        }
    }

    /// What moves, on a terminal of so many rows and columns; without what would move its cursor.
    fn lines(&self, (rows, columns): (usize, usize)) -> Vec<String> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        let mut lines = vec![text::ellipsis(&self.header(""), columns - 1)];
        // Below the header, and above the row that the cursor waits in.
        let room = rows.saturating_sub(2);
        let tail = (room / self.rows.len()).saturating_sub(2).min(TAIL_LINES);
        for row in self.rows.values() {
            lines.push(timed(&row.title, row.began, columns));
            let cause = row.cause.iter().map(|cause| format!("not cached: {cause}"));
            let first = row.tail.len().saturating_sub(tail);
            let output = row.tail.iter().skip(first).map(|line| format!("# {line}"));
            let below = cause.chain(output);
            let shown = below.map(|line| format!(" => => {}", in_columns(&line)));
            lines.extend(shown.map(|line| text::ellipsis(&line, columns - 1)));
        }
        lines.truncate(room.max(1));
        lines
    }
}

/// A text whose columns can be counted: what moves the cursor is written out, before it is cut.
fn in_columns(text: &str) -> String {
    escape_control(text).replace('\t', "    ")
}

/// A line with the seconds at the right.
fn timed(title: &str, began: Instant, columns: usize) -> String {
    let seconds = format!("{:.1}s", began.elapsed().as_secs_f64());
    let room = columns.saturating_sub(SECONDS_COLUMNS + 1);
    let title = text::ellipsis(&format!(" => {}", in_columns(title)), room);
    let blanks = room.saturating_sub(text::width(&title));
    format!("{title}{}{seconds:>SECONDS_COLUMNS$}", " ".repeat(blanks))
}

/// Rows and columns of the terminal.
fn size() -> (usize, usize) {
    let [rows, columns] = terminal::size().map(usize::from);
    let or = |given: usize, otherwise| if given == 0 { otherwise } else { given };
    (
        or(rows, ROWS),
        or(columns, COLUMNS).max(2 * SECONDS_COLUMNS),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(rows: usize) -> Region {
        let row = |number: usize| Row {
            title: format!("[{number}/9] RUN make a program with a name that is rather long"),
            began: Instant::now(),
            cause: Some("the instruction is new".into()),
            tail: (0..6).map(|line| format!("line\t{line}\u{7}")).collect(),
        };
        Region {
            began: Instant::now(),
            rows: (0..rows).map(|at| (Key::Step(at), row(at))).collect(),
            layers: BTreeMap::new(),
            done: 2,
            shown: 0,
            has_ended: false,
        }
    }

    #[test]
    fn what_moves_fits_the_terminal() {
        for (rows, size) in [
            (1, (24, 80)),
            (3, (24, 40)),
            (9, (10, 20)),
            (4, (2, 16)),
            (2, (1, 16)),
        ] {
            let lines = region(rows).lines(size);
            assert!(lines.len() < size.0.max(2), "{lines:#?}");
            for line in lines {
                assert!(!line.contains(char::is_control), "{line:?}");
                assert!(text::width(&line) < size.1, "{line:?} on {size:?}");
            }
        }
    }

    #[test]
    fn the_end_of_the_output_is_below_its_step() {
        let lines = region(1).lines((24, 60));
        assert_eq!(lines[0], "[+] Building 0.0s (2/3)");
        assert!(
            lines[1].starts_with(" => [0/9] RUN make a program"),
            "{}",
            lines[1]
        );
        assert!(lines[1].ends_with("0.0s"), "{}", lines[1]);
        assert_eq!(lines[2], " => => not cached: the instruction is new");
        assert_eq!(lines.len(), 3 + TAIL_LINES);
        assert!(region(0).lines((24, 80)).is_empty());
    }
}
