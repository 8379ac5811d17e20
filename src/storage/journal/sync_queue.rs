//! The work of the storage's thread: batches that wait for the disk, events that are to be on it some time later.

use crate::journal::segment::Segment;
use crate::platform::sync::{Condvar, Mutex};
use crate::platform::time;
use std::sync::Arc;
use std::time::Duration;

/// A batch that is written, and waits for the disk.
pub(super) struct Waiting {
    /// The token of the attempt.
    pub token: u64,
    /// The segment that has its events, and where they end.
    pub segment: Arc<Segment>,
    pub end: u64,
}

#[derive(Default)]
struct State {
    waiting: Vec<Waiting>,
    /// When something was written that is not on the disk yet.
    written_ns: Option<u64>,
    /// Segments may become too old earlier than the thread knows.
    look: bool,
    stop: bool,
}

/// The queue between the writers and the thread.
#[derive(Default)]
pub(super) struct SyncQueue {
    state: Mutex<State>,
    work: Condvar,
}

/// What the thread is to do.
pub(super) struct Work {
    /// Everything that was written before is to be on the disk.
    pub sync: bool,
    /// The storage is given up: nothing else comes.
    pub stop: bool,
}

impl SyncQueue {
    /// Adds a batch. `false`: there is no memory for that.
    pub fn push(&self, waiting: Waiting) -> bool {
        let mut state = self.state.lock();
        if state.waiting.try_reserve(1).is_err() {
            return false;
        }
        let first = state.waiting.is_empty();
        state.waiting.push(waiting);
        drop(state);
        if first {
            self.work.notify_all();
        }
        true
    }

    /// Notes that something was written.
    pub fn note_written(&self) {
        let mut state = self.state.lock();
        if state.written_ns.is_none() {
            state.written_ns = Some(time::now_ns());
            drop(state);
            self.work.notify_all();
        }
    }

    /// A segment has its first events.
    pub fn note_begun(&self) {
        self.state.lock().look = true;
        self.work.notify_all();
    }

    /// Ends the thread, after everything that was added before.
    pub fn stop(&self) {
        self.state.lock().stop = true;
        self.work.notify_all();
    }

    /// Sleeps until there is work, and moves the batches into `into`, which is empty. What was written is to be on the disk `interval_ns` later. `until_ns`: the
    /// thread has other work then.
    pub fn take(&self, into: &mut Vec<Waiting>, interval_ns: u64, until_ns: Option<u64>) -> Work {
        let mut state = self.state.lock();
        loop {
            let now = time::now_ns();
            let sync_at = state.written_ns.map(|at| at.saturating_add(interval_ns));
            let sync = sync_at.is_some_and(|at| at <= now || state.stop);
            let look = std::mem::take(&mut state.look);
            if sync || look || state.stop || !state.waiting.is_empty() || until_ns.is_some_and(|at| at <= now)
            {
                std::mem::swap(&mut state.waiting, into);
                if sync {
                    state.written_ns = None;
                }
                return Work { sync, stop: state.stop };
            }
            let next = [sync_at, until_ns].into_iter().flatten().min();
            state = self.work.wait(state, next.map(|at| Duration::from_nanos(at - now)));
        }
    }
}
