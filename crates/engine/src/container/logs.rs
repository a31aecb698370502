//! Reading a container's log: the files that rotation left, oldest first, then what comes.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use monitor::log::Entry;
use rustix::fs::inotify;
use sys::Context;
use types::timestamp::Timestamp;

use crate::Engine;
use crate::error::EngineError;

/// A rotated log has at most so many files.
const FILES_MAX: u32 = 1000;
/// A follower looks at least so often whether the container still runs.
const LOOK_MS: i64 = 200;

/// What of a log is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// Only the last lines.
    pub tail: Option<u64>,
    /// Only what was written at or after this time.
    pub since: Option<Timestamp>,
    /// Only what was written before this time.
    pub until: Option<Timestamp>,
    /// Go on until the container ends.
    pub follow: bool,
}

/// Whether the reader wants more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on.
    More,
    /// Enough.
    Stop,
}

impl Engine {
    /// Reads a container's log, entry by entry.
    ///
    /// # Errors
    /// [`EngineError::NoSuchContainer`], or a log that cannot be read.
    pub fn logs(
        &self,
        key: &str,
        request: &LogRequest,
        take: &mut dyn FnMut(&Entry) -> Next,
    ) -> Result<(), EngineError> {
        let stored = self.container(key)?;
        if stored.record.spec.log_driver == "none" {
            return Err(EngineError::conflict(
                "configured logging driver does not support reading",
            ));
        }
        let path = self
            .store()
            .container_directory(&stored.record.id)
            .join("log");
        let watch = if request.follow {
            Some(Watch::begin(&path)?)
        } else {
            None
        };
        let files = read_all(&path)?;
        let mut start = match request.tail {
            Some(count) => tail(&files, count),
            None => (0, 0),
        };
        for bytes in files.iter().skip(start.0) {
            if hand_over(&bytes[start.1..], request, take) == Next::Stop {
                return Ok(());
            }
            start.1 = 0;
        }
        let Some(watch) = watch else { return Ok(()) };
        let read_bytes = files.last().map_or(0, Vec::len) as u64;
        drop(files);
        self.follow(&stored.record.id, &path, read_bytes, watch, request, take)
    }

    /// Reads the logs of several containers, each entry with the place of its container in `ids`.
    /// With `follow` they come mixed as they are written, until all have ended; `tick` is asked at
    /// least every 200 ms, and when `wake` is readable, whether to go on.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub fn logs_together(
        &self,
        ids: &[String],
        request: &LogRequest,
        wake: Option<BorrowedFd<'_>>,
        take: &mut dyn FnMut(usize, &Entry) -> Next,
        tick: &mut dyn FnMut() -> Next,
    ) -> Result<(), EngineError> {
        let mut together = Together::new(*request);
        for (index, id) in ids.iter().enumerate() {
            if together.add(self, index, id, take)? == Next::Stop {
                return Ok(());
            }
        }
        while request.follow && !together.has_ended() && tick() == Next::More {
            if together.step(self, take)? == Next::Stop {
                return Ok(());
            }
            if !together.has_ended() {
                together.wait(wake.as_slice());
            }
        }
        Ok(())
    }

    fn follow(
        &self,
        id: &str,
        path: &Path,
        read_bytes: u64,
        watch: Watch,
        request: &LogRequest,
        take: &mut dyn FnMut(&Entry) -> Next,
    ) -> Result<(), EngineError> {
        let mut reader = Reader::new(id.to_owned(), path.to_owned(), read_bytes);
        while reader.step(self, request, take)? == Read::More {
            if request.until.is_some_and(|until| Timestamp::now() >= until) {
                return Ok(());
            }
            watch.wait();
        }
        Ok(())
    }
}

/// The logs of several containers, to which more may come while they are read.
pub struct Together {
    request: LogRequest,
    watch: Option<Watch>,
    readers: Vec<(usize, Reader)>,
    /// Those of containers that have ended, which may begin again.
    ended: Vec<(usize, Reader)>,
    /// Ids of those that ended since they were last asked for.
    fresh: Vec<String>,
}

impl Together {
    /// Of nobody yet.
    pub fn new(request: LogRequest) -> Self {
        Self {
            request,
            watch: None,
            readers: Vec::new(),
            ended: Vec::new(),
            fresh: Vec::new(),
        }
    }

    /// Hands over what a container has written, and follows it from there if that is asked. Who was
    /// followed already, and began again, goes on where it was.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub fn add(
        &mut self,
        engine: &Engine,
        index: usize,
        id: &str,
        take: &mut dyn FnMut(usize, &Entry) -> Next,
    ) -> Result<Next, EngineError> {
        let is_it = |(_, reader): &(usize, Reader)| reader.id == id;
        if let Some(at) = self.ended.iter().position(is_it) {
            self.readers.push(self.ended.remove(at));
        }
        if self.readers.iter().any(is_it) {
            return Ok(Next::More);
        }
        let path = engine.store().container_directory(id).join("log");
        if self.request.follow {
            match &self.watch {
                None => self.watch = Some(Watch::begin(&path)?),
                Some(watch) => watch.add(&path)?,
            }
        }
        let Ok(files) = read_all(&path) else {
            return Ok(Next::More);
        };
        let mut start = self
            .request
            .tail
            .map_or((0, 0), |count| tail(&files, count));
        for bytes in files.iter().skip(start.0) {
            let mut take = |entry: &Entry| take(index, entry);
            if hand_over(&bytes[start.1..], &self.request, &mut take) == Next::Stop {
                return Ok(Next::Stop);
            }
            start.1 = 0;
        }
        let offset = files.last().map_or(0, Vec::len) as u64;
        self.readers
            .push((index, Reader::new(id.to_owned(), path, offset)));
        Ok(Next::More)
    }

    /// Hands over what was written since the last look.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub fn step(
        &mut self,
        engine: &Engine,
        take: &mut dyn FnMut(usize, &Entry) -> Next,
    ) -> Result<Next, EngineError> {
        let mut at = 0;
        while let Some((index, reader)) = self.readers.get_mut(at) {
            let index = *index;
            match reader.step(engine, &self.request, &mut |entry| take(index, entry))? {
                Read::Ended => {
                    self.fresh.push(reader.id.clone());
                    self.ended.push(self.readers.remove(at));
                }
                Read::Stop => return Ok(Next::Stop),
                Read::More => at += 1,
            }
        }
        Ok(Next::More)
    }

    /// Ids of the containers that ended since this was asked last.
    pub fn take_ended(&mut self) -> Vec<String> {
        std::mem::take(&mut self.fresh)
    }

    /// Whether no container is left that could write.
    pub fn has_ended(&self) -> bool {
        self.readers.is_empty()
    }

    /// Waits until something is written or one of `wake` is readable, 200 ms at most.
    pub fn wait(&self, wake: &[BorrowedFd<'_>]) {
        if let Some(watch) = &self.watch {
            watch.wait_or(wake);
        }
    }
}

/// What a look at a followed log came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    More,
    Ended,
    Stop,
}

/// A log that is followed.
struct Reader {
    id: String,
    path: PathBuf,
    file: Option<File>,
    offset: u64,
    pending: Vec<u8>,
}

impl Reader {
    fn new(id: String, path: PathBuf, offset: u64) -> Self {
        Self {
            id,
            path,
            file: None,
            offset,
            pending: Vec::new(),
        }
    }

    /// Hands over what was written since the last look.
    fn step(
        &mut self,
        engine: &Engine,
        request: &LogRequest,
        take: &mut dyn FnMut(&Entry) -> Next,
    ) -> Result<Read, EngineError> {
        use std::io::{Seek, SeekFrom};
        // Asked before reading: what was written before the end is still read after it.
        let ended = engine
            .observe(&self.id)
            .map_or(true, |stored| !stored.state.status.is_live());
        loop {
            if self.file.is_none() {
                self.file = File::open(&self.path).ok();
            }
            let Some(open) = &mut self.file else { break };
            open.seek(SeekFrom::Start(self.offset))
                .on("seek in", self.path.display())?;
            let count = open
                .read_to_end(&mut self.pending)
                .on("read", self.path.display())?;
            self.offset += count as u64;
            let whole = self
                .pending
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
            if hand_over(&self.pending[..whole], request, take) == Next::Stop {
                return Ok(Read::Stop);
            }
            self.pending.drain(..whole);
            if !is_put_aside(open, &self.path) {
                break;
            }
            // The old file is read to its end; go on with the new one.
            (self.file, self.offset) = (None, 0);
        }
        Ok(if ended { Read::Ended } else { Read::More })
    }
}

fn is_put_aside(open: &File, path: &Path) -> bool {
    match (rustix::fs::fstat(open), rustix::fs::stat(path)) {
        (Ok(ours), Ok(there)) => ours.st_ino != there.st_ino,
        _ => false,
    }
}

/// The content of all files, oldest first. While it is read, a rotation may move a file on: then
/// entries could be missed, so the newest file's identity is checked at the end.
fn read_all(path: &Path) -> Result<Vec<Vec<u8>>, EngineError> {
    for _ in 0..5 {
        let before = rustix::fs::stat(path).map(|stat| stat.st_ino).ok();
        let mut files = Vec::new();
        for number in (1..FILES_MAX)
            .take_while(|number| numbered(path, *number).exists())
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            files.extend(std::fs::read(numbered(path, number)).ok());
        }
        match std::fs::read(path) {
            Ok(bytes) => files.push(bytes),
            // Created, never started: an empty log.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => files.push(Vec::new()),
            Err(error) => {
                Err::<(), _>(error).on("read", path.display())?;
            }
        }
        if rustix::fs::stat(path).map(|stat| stat.st_ino).ok() == before {
            cut_torn_end(&mut files);
            return Ok(files);
        }
    }
    Err(EngineError::conflict(
        "the log is being rotated too fast to be read; try again",
    ))
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    PathBuf::from(format!("{}.{number}", path.display()))
}

/// The last entry may be half-written.
pub(crate) fn cut_torn_end(files: &mut [Vec<u8>]) {
    if let Some(last) = files.last_mut() {
        let whole = last
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        last.truncate(whole);
    }
}

/// Where the last `count` entries begin: file and offset.
pub(crate) fn tail(files: &[Vec<u8>], count: u64) -> (usize, usize) {
    let mut left = count;
    for (index, bytes) in files.iter().enumerate().rev() {
        let mut end = bytes.len();
        while end > 0 {
            if left == 0 {
                return (index, end);
            }
            left -= 1;
            end = bytes[..end - 1]
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
        }
        if left == 0 {
            return (index, 0);
        }
    }
    (0, 0)
}

pub(crate) fn hand_over(
    bytes: &[u8],
    request: &LogRequest,
    take: &mut dyn FnMut(&Entry) -> Next,
) -> Next {
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        // A line that a full disk tore is skipped.
        let Ok(entry) = serde_json::from_slice::<Entry>(line) else {
            continue;
        };
        if request.since.is_some() || request.until.is_some() {
            let Ok(time) = Timestamp::parse_rfc3339(&entry.time) else {
                continue;
            };
            if request.since.is_some_and(|since| time < since) {
                continue;
            }
            if request.until.is_some_and(|until| time >= until) {
                return Next::Stop;
            }
        }
        if take(&entry) == Next::Stop {
            return Next::Stop;
        }
    }
    Next::More
}

/// Wakes when the log's directory changes.
struct Watch(std::os::fd::OwnedFd);

impl Watch {
    fn begin(path: &Path) -> Result<Self, EngineError> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let watch = inotify::init(flags).on("watch", "log")?;
        let directory = path.parent().unwrap_or(Path::new("/"));
        let what = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&watch, directory, what).on("watch", directory.display())?;
        Ok(Self(watch))
    }

    /// Watches one more log.
    fn add(&self, path: &Path) -> Result<(), EngineError> {
        let directory = path.parent().unwrap_or(Path::new("/"));
        let what = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&self.0, directory, what).on("watch", directory.display())?;
        Ok(())
    }

    fn wait(&self) {
        self.wait_or(&[]);
    }

    fn wait_or(&self, wake: &[BorrowedFd<'_>]) {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        use std::os::fd::AsFd;
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: LOOK_MS * 1_000_000,
        };
        let mut fds = vec![PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
        fds.extend(
            wake.iter()
                .map(|wake| PollFd::from_borrowed_fd(*wake, PollFlags::IN)),
        );
        let _ = poll(&mut fds, Some(&timeout));
        let mut events = [0u8; 4096];
        while matches!(rustix::io::read(&self.0, &mut events), Ok(1..)) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_spans_files() {
        let files = [b"1\n2\n3\n".to_vec(), b"4\n5\n".to_vec()];
        for (count, expected) in [
            (0, (1, 4)),
            (1, (1, 2)),
            (2, (1, 0)),
            (3, (0, 4)),
            (5, (0, 0)),
            (9, (0, 0)),
        ] {
            assert_eq!(tail(&files, count), expected, "{count}");
        }
        assert_eq!(tail(&[Vec::new()], 3), (0, 0));
    }
}
