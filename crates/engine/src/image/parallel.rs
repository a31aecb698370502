//! Several layers at once, in threads that are joined before anybody goes on.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::error::{ImageError, Result};

/// Does `work` on all jobs, at most `threads` at a time. When one fails the others are told by the
/// flag that they get, and the first failure is returned.
pub(super) fn in_parallel<J: Sync>(
    threads: usize,
    jobs: &[J],
    work: impl Fn(&J, &AtomicBool) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let failure: Mutex<Option<ImageError>> = Mutex::new(None);
    let run = || {
        while !stop.load(Ordering::Relaxed) {
            let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) else {
                return;
            };
            if let Err(error) = work(job, &stop) {
                stop.store(true, Ordering::Relaxed);
                let mut slot = failure
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                // The first failure is the cause; the others were only given up.
                slot.get_or_insert(error);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.min(jobs.len()) {
            scope.spawn(run);
        }
    });
    let failure = failure
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    failure.map_or(Ok(()), Err)
}
