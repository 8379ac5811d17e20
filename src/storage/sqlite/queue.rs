//! Where writers hand batches over to the committing thread, and wait for it.

use crate::batch::BatchView;
use crate::platform::sync::{Condvar, Mutex, MutexGuard};
use crate::platform::time;
use std::time::Duration;

/// A batch that waits for its commit. Its memory stays valid until its token is completed.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// The batch.
    pub batch: *const BatchView,
    /// The name of the attempt: still known when the batch is gone.
    pub token: u64,
}

// SAFETY: the batch is read only, and stays where it is until the one thread that holds the entry answers it.
unsafe impl Send for Entry {}

#[derive(Default)]
struct State {
    waiting: Vec<Entry>,
    waiting_events: usize,
    stop: bool,
    /// The committing thread sleeps, and wants to be woken at so many waiting events.
    wake_at: Option<usize>,
    flushes_asked: u64,
    flushes_done: u64,
    flush_result: i32,
}

/// The hand-over. It is bounded by the pipeline's `max_in_flight` and `max_in_doubt`; its memory is kept and used again.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    work: Condvar,
    flushed: Condvar,
}

/// What the committing thread is to do.
pub(super) struct Orders {
    /// Everything taken so far must be committed and made durable; the number goes to [`Queue::flushed`].
    pub flush: Option<u64>,
    /// Nothing more will come.
    pub stop: bool,
}

impl Queue {
    /// Hands a batch over.
    pub fn push(&self, entry: Entry, events: usize) {
        let mut state = self.state.lock();
        state.waiting.push(entry);
        state.waiting_events += events;
        if state.wake_at.is_some_and(|at| state.waiting_events >= at) {
            state.wake_at = None;
            drop(state);
            self.work.notify_all();
        }
    }

    /// Moves what waits into `into`, which is empty. Where nothing waits, sleeps until there are `wake_at` events, an
    /// order, or `timeout` has passed (`None`: for ever).
    pub fn take(&self, into: &mut Vec<Entry>, wake_at: usize, timeout: Option<Duration>) -> Orders {
        let mut state = self.state.lock();
        if state.waiting_events < wake_at {
            let until = timeout.map(|t| time::now_ns().saturating_add(t.as_nanos() as u64));
            while state.waiting_events < wake_at && !state.stop && state.flushes_asked == state.flushes_done {
                let left = match until {
                    None => None,
                    Some(until) => match until.saturating_sub(time::now_ns()) {
                        0 => break,
                        left => Some(Duration::from_nanos(left)),
                    },
                };
                state.wake_at = Some(wake_at);
                state = self.work.wait(state, left);
            }
            state.wake_at = None;
        }
        std::mem::swap(&mut state.waiting, into);
        state.waiting_events = 0;
        Orders {
            flush: (state.flushes_asked != state.flushes_done).then_some(state.flushes_asked),
            stop: state.stop,
        }
    }

    /// Whether anything waits.
    pub fn is_empty(&self) -> bool {
        self.state.lock().waiting.is_empty()
    }

    /// Tells the committing thread to end when all is done.
    pub fn stop(&self) {
        self.state.lock().stop = true;
        self.work.notify_all();
    }

    /// Waits until everything handed over before is committed and durable. `None`: not in time.
    pub fn flush(&self, timeout: Option<Duration>) -> Option<i32> {
        let until = timeout.map(|t| time::now_ns().saturating_add(t.as_nanos().min(u64::MAX as u128) as u64));
        let mut state = self.state.lock();
        state.flushes_asked += 1;
        let mine = state.flushes_asked;
        self.work.notify_all();
        while state.flushes_done < mine {
            let left = match until {
                None => None,
                Some(until) => match until.saturating_sub(time::now_ns()) {
                    0 => return None,
                    left => Some(Duration::from_nanos(left)),
                },
            };
            state = self.flushed.wait(state, left);
        }
        Some(state.flush_result)
    }

    /// The flushes up to number `upto` are done, with this result.
    pub fn flushed(&self, upto: u64, result: i32) {
        let mut state: MutexGuard<'_, State> = self.state.lock();
        state.flushes_done = upto;
        state.flush_result = result;
        drop(state);
        self.flushed.notify_all();
    }
}
