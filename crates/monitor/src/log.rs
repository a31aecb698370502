//! The log: one JSON line per line of output, as Docker's json-file has it, put aside by size.
//!
//! `log` is written, `log.1` is the one before, and so on. A line longer than 16 KiB becomes
//! several entries of which only the last ends in a newline.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use serde::{Deserialize, Serialize};
use sys::{Context, SysError};

use crate::job::LogOptions;

/// An entry's text is at most this long.
pub const LINE_BYTES_MAX: usize = 16 * 1024;

/// So much of a file without a name is freed after each write.
const PIECE_BYTES: u64 = 256 * 1024;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The text, with its newline unless it goes on in the next entry.
    pub log: String,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// RFC 3339 with nanoseconds.
    pub time: String,
}

/// Where output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or the terminal.
    Output,
    /// Standard error.
    Error,
}

/// The log of one container.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    options: LogOptions,
    file: Option<File>,
    size_bytes: u64,
    /// Begun lines per stream.
    pending: [Vec<u8>; 2],
    /// Entries to be written in one go.
    batch: Vec<u8>,
    /// The last file that lost its name, and what is left of it. It goes piece by piece: freeing
    /// 10 MiB at once takes 8 ms, in which nobody's question for a name is answered.
    dying: Option<(File, u64)>,
}

impl Log {
    /// The log in `directory`, going on where it ends. Without output there is no file.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn open(directory: &Path, options: LogOptions) -> Result<Self, SysError> {
        let path = directory.join("log");
        let mut log = Self {
            path,
            options,
            file: None,
            size_bytes: 0,
            pending: [Vec::new(), Vec::new()],
            batch: Vec::new(),
            dying: None,
        };
        if !log.options.disabled && log.path.exists() {
            log.reopen()?;
        }
        Ok(log)
    }

    fn reopen(&mut self) -> Result<(), SysError> {
        let flags =
            OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(CWD, &self.path, flags, Mode::from_raw_mode(0o640))
            .on("open", self.path.display())?;
        self.size_bytes = rustix::fs::fstat(&fd).map_or(0, |stat| stat.st_size as u64);
        self.file = Some(File::from(fd));
        Ok(())
    }

    /// Takes output. A full disk loses entries, never the container.
    pub fn write(&mut self, stream: Stream, bytes: &[u8], now: &str) {
        if self.options.disabled {
            return;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let pending = &mut self.pending[stream as usize];
            let room = LINE_BYTES_MAX - pending.len();
            let window = &rest[..rest.len().min(room)];
            let (taken, whole) = match window.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (window.len(), window.len() == room),
            };
            if whole && pending.is_empty() {
                let (line, after) = rest.split_at(taken);
                append_entry(&mut self.batch, line, stream, now);
                rest = after;
                continue;
            }
            pending.extend_from_slice(&rest[..taken]);
            rest = &rest[taken..];
            if whole {
                let line = std::mem::take(pending);
                append_entry(&mut self.batch, &line, stream, now);
            }
        }
        self.flush();
    }

    /// Writes begun lines, because their stream has ended.
    pub fn finish(&mut self, now: &str) {
        for stream in [Stream::Output, Stream::Error] {
            let line = std::mem::take(&mut self.pending[stream as usize]);
            if !line.is_empty() && !self.options.disabled {
                append_entry(&mut self.batch, &line, stream, now);
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        let mut rest = &batch[..];
        while !rest.is_empty() {
            let mut fitting = self.fitting(rest);
            if fitting == 0 {
                self.rotate();
                // Where a file cannot be put aside, it grows beyond its limit one entry at a time.
                fitting = self.fitting(rest).max(first_entry(rest));
            }
            let (now, after) = rest.split_at(fitting);
            self.append(now);
            rest = after;
        }
        self.batch = batch;
        self.batch.clear();
        self.batch.shrink_to(LINE_BYTES_MAX);
        self.free_a_piece();
    }

    /// How much of `entries`, in whole ones, still goes into this file; an empty file takes one at least.
    /// A burst of output is many entries, and the limit holds for each of them.
    fn fitting(&self, entries: &[u8]) -> usize {
        let limit = self.options.file_bytes_max;
        let room = limit.saturating_sub(self.size_bytes);
        if limit == 0 || entries.len() as u64 <= room {
            return entries.len();
        }
        // Only the end of an entry is a newline: those in its text are escaped.
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        match entries[..room].iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None if self.size_bytes > 0 => 0,
            None => first_entry(entries),
        }
    }

    fn append(&mut self, entries: &[u8]) {
        if self.file.is_none() {
            let _ = self.reopen();
        }
        let Some(file) = &mut self.file else { return };
        if file.write_all(entries).is_ok() {
            self.size_bytes += entries.len() as u64;
        } else {
            // A torn last entry would spoil the next one: begin it on a line of its own.
            let _ = file.write_all(b"\n");
        }
    }

    fn free_a_piece(&mut self) {
        self.dying = self.dying.take().and_then(|(file, size_bytes)| {
            let left = size_bytes.saturating_sub(PIECE_BYTES);
            let is_cut = left > 0 && file.set_len(left).is_ok();
            is_cut.then_some((file, left))
        });
    }

    /// Nothing is written for a while: what is still to be freed goes now.
    pub fn rest(&mut self) {
        self.dying = None;
    }

    fn rotate(&mut self) {
        let name = |number: u32| match number {
            0 => self.path.clone(),
            number => PathBuf::from(format!("{}.{number}", self.path.display())),
        };
        let last = self.options.files_max.max(1) - 1;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let oldest = rustix::fs::openat(CWD, name(last), flags, Mode::empty());
        self.file = None;
        if last == 0 {
            let _ = rustix::fs::unlink(name(0));
        }
        for number in (1..=last).rev() {
            let _ = rustix::fs::rename(name(number - 1), name(number));
        }
        // Whoever reads it still shall read it to its end.
        self.dying = oldest
            .ok()
            .filter(sys::lock::has_no_other_opener)
            .map(|fd| {
                let file = File::from(fd);
                let size_bytes = file.metadata().map_or(0, |it| it.len());
                (file, size_bytes)
            });
        let _ = self.reopen();
    }
}

fn first_entry(entries: &[u8]) -> usize {
    let end = entries.iter().position(|byte| *byte == b'\n');
    end.map_or(entries.len(), |at| at + 1)
}

fn append_entry(batch: &mut Vec<u8>, line: &[u8], stream: Stream, now: &str) {
    batch.extend_from_slice(b"{\"log\":");
    let text = String::from_utf8_lossy(line);
    if serde_json::to_writer(&mut *batch, &text).is_err() {
        return;
    }
    let name = match stream {
        Stream::Output => "stdout",
        Stream::Error => "stderr",
    };
    batch.extend_from_slice(b",\"stream\":\"");
    batch.extend_from_slice(name.as_bytes());
    batch.extend_from_slice(b"\",\"time\":\"");
    batch.extend_from_slice(now.as_bytes());
    batch.extend_from_slice(b"\"}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("caisson-log-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn entries(path: &Path) -> Vec<Entry> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn a_file_that_is_put_away_is_freed_in_pieces_unless_somebody_reads_it() {
        for has_reader in [true, false] {
            let directory = directory(&format!("pieces-{has_reader}"));
            let options = LogOptions {
                file_bytes_max: 1 << 20,
                files_max: 2,
                ..LogOptions::default()
            };
            let mut log = Log::open(&directory, options).unwrap();
            let mut line = vec![b'x'; LINE_BYTES_MAX - 1];
            line.push(b'\n');
            let fill = |log: &mut Log| {
                while log.size_bytes + (LINE_BYTES_MAX as u64) * 2 < 1 << 20 {
                    log.write(Stream::Output, &line, "t");
                }
            };
            fill(&mut log);
            log.write(Stream::Output, &line.repeat(2), "t");
            fill(&mut log);
            let oldest = directory.join("log.1");
            let reader = has_reader.then(|| File::open(&oldest).unwrap());
            let size = std::fs::metadata(&oldest).unwrap().len();
            log.write(Stream::Output, &line.repeat(2), "t");
            assert_eq!(log.dying.is_some(), !has_reader);
            if let Some(reader) = reader {
                assert_eq!(reader.metadata().unwrap().len(), size);
                continue;
            }
            let (file, left) = log.dying.as_ref().unwrap();
            assert_eq!(
                (*left, file.metadata().unwrap().len()),
                (size - PIECE_BYTES, *left)
            );
            for _ in 0..8 {
                log.write(Stream::Output, b"x\n", "t");
            }
            assert!(log.dying.is_none());
        }
    }

    #[test]
    fn lines_are_whole_entries_and_streams_do_not_mix() {
        let directory = directory("lines");
        let mut log = Log::open(&directory, LogOptions::default()).unwrap();
        log.write(Stream::Output, b"one\ntw", "t1");
        log.write(Stream::Error, b"bad\n", "t2");
        log.write(Stream::Output, b"o\nrest \xff", "t3");
        log.finish("t4");
        let seen: Vec<_> = entries(&directory.join("log"))
            .into_iter()
            .map(|e| (e.log, e.stream))
            .collect();
        let expected = [
            ("one\n", "stdout"),
            ("bad\n", "stderr"),
            ("two\n", "stdout"),
            ("rest \u{fffd}", "stdout"),
        ];
        assert_eq!(seen, expected.map(|(a, b)| (a.to_string(), b.to_string())));
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_long_line_is_cut_into_entries_that_join_to_it() {
        let directory = directory("long");
        let mut log = Log::open(&directory, LogOptions::default()).unwrap();
        let line = [vec![b'x'; 40_000], vec![b'\n']].concat();
        log.write(Stream::Output, &line[..5_000], "t");
        log.write(Stream::Output, &line[5_000..], "t");
        let seen = entries(&directory.join("log"));
        assert_eq!(seen.len(), 3);
        assert_eq!(seen.iter().map(|e| e.log.len()).sum::<usize>(), line.len());
        assert!(seen[2].log.ends_with('\n') && !seen[1].log.ends_with('\n'));
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_full_log_is_put_aside_and_old_ones_go() {
        let directory = directory("rotate");
        let options = LogOptions {
            disabled: false,
            file_bytes_max: 500,
            files_max: 2,
        };
        let mut log = Log::open(&directory, options).unwrap();
        for number in 0..100 {
            log.write(Stream::Output, format!("line {number}\n").as_bytes(), "t");
        }
        let mut names: Vec<_> = std::fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["log", "log.1"]);
        assert_eq!(
            entries(&directory.join("log")).last().unwrap().log,
            "line 99\n"
        );
        assert!(std::fs::metadata(directory.join("log.1")).unwrap().len() <= 500);
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_burst_keeps_the_limit_with_every_entry() {
        let directory = directory("burst");
        let options = LogOptions {
            disabled: false,
            file_bytes_max: 1000,
            files_max: 4,
        };
        let mut log = Log::open(&directory, options).unwrap();
        let burst: String = (0..3000).map(|number| format!("line {number}\n")).collect();
        log.write(Stream::Output, burst.as_bytes(), "t");
        // One entry that is larger than a file shall be has a file of its own.
        log.write(Stream::Output, &[b'x'; 2000], "t");
        log.write(Stream::Output, b"\nafter\n", "t");
        let sizes = ["log.3", "log.2", "log.1", "log"].map(|name| {
            let path = directory.join(name);
            (std::fs::metadata(&path).unwrap().len(), entries(&path))
        });
        assert!(sizes[0].0 <= 1000 && sizes[0].0 > 900, "{}", sizes[0].0);
        assert_eq!(sizes[1].1.last().unwrap().log, "line 2999\n");
        assert_eq!(sizes[2].1.len(), 1);
        assert_eq!(sizes[3].1[0].log, "after\n");
        std::fs::remove_dir_all(directory).unwrap();
    }
}
