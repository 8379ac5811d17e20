//! The queue of batches from the writers to the committing thread, and the requests that go with it.

use crate::batch::BatchView;
use crate::platform::sync::{Condvar, Mutex, MutexGuard};
use crate::platform::time;
use std::time::Duration;

/// A batch that waits for its commit. Its memory stays valid until its token is completed.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub batch: *const BatchView,
    /// The token of the attempt. It is still known when the batch is gone.
    pub token: u64,
}

// SAFETY: the batch is read only, and stays where it is until the one thread that holds the entry answers it.
unsafe impl Send for Entry {}

#[derive(Default)]
struct State {
    waiting: Vec<Entry>,
    waiting_events: usize,
    stop: bool,
    /// While the committing thread sleeps: the number of waiting events that wakes it.
    wake_at: Option<usize>,
    flushes_requested: u64,
    flushes_done: u64,
    flush_result: i32,
    finish: Finish,
    check_files: bool,
}

/// The state of the storage's `finish`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Finish {
    #[default]
    NotRequested,
    Requested,
    Done(i32),
}

/// The queue. Its length is bounded by the pipeline's `max_in_flight` and `max_in_doubt`, and its memory is reused.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Signalled when there is work.
    work: Condvar,
    /// Signalled when a flush or the finish is done.
    done: Condvar,
}

/// Requests to the committing thread.
pub(super) struct Requests {
    /// Everything taken so far must be committed and made durable; the number goes to [`Queue::complete_flush`].
    pub flush: Option<u64>,
    /// The indexes must be made and the connection closed; the result goes to [`Queue::complete_finish`].
    pub finish: bool,
    /// No more batches will come.
    pub stop: bool,
    /// A file of the database may be lost: see [`Queue::check_files`].
    pub check_files: bool,
}

impl Queue {
    /// Adds a batch.
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

    /// Moves the waiting batches into `into`, which is empty. If there are none, sleeps until there are `wake_at` events, a
    /// request, or `timeout` has passed (`None`: without limit).
    pub fn take(&self, into: &mut Vec<Entry>, wake_at: usize, timeout: Option<Duration>) -> Requests {
        let mut state = self.state.lock();
        if state.waiting_events < wake_at {
            let deadline = deadline(timeout);
            while state.waiting_events < wake_at
                && !state.stop
                && !state.check_files
                && state.flushes_requested == state.flushes_done
                && state.finish != Finish::Requested
            {
                let Some(left) = time_left(deadline) else { break };
                state.wake_at = Some(wake_at);
                state = self.work.wait(state, left);
            }
            state.wake_at = None;
        }
        std::mem::swap(&mut state.waiting, into);
        state.waiting_events = 0;
        Requests {
            flush: (state.flushes_requested != state.flushes_done).then_some(state.flushes_requested),
            finish: state.finish == Finish::Requested,
            stop: state.stop,
            check_files: std::mem::take(&mut state.check_files),
        }
    }

    /// Requests a check that the database's files are still those that the connection has open.
    pub fn check_files(&self) {
        self.state.lock().check_files = true;
        self.work.notify_all();
    }

    /// Whether no batch waits.
    pub fn is_empty(&self) -> bool {
        self.state.lock().waiting.is_empty()
    }

    /// Requests the end of the committing thread, after all that was requested before.
    pub fn stop(&self) {
        self.state.lock().stop = true;
        self.work.notify_all();
    }

    /// Waits until every batch added before is committed and durable. `None`: the timeout has passed.
    pub fn flush(&self, timeout: Option<Duration>) -> Option<i32> {
        let mut state = self.state.lock();
        state.flushes_requested += 1;
        let number = state.flushes_requested;
        self.work.notify_all();
        self.wait_done(state, timeout, |state| (state.flushes_done >= number).then_some(state.flush_result))
    }

    /// Reports the result of the flushes up to `number`.
    pub fn complete_flush(&self, number: u64, result: i32) {
        let mut state = self.state.lock();
        state.flushes_done = number;
        state.flush_result = result;
        drop(state);
        self.done.notify_all();
    }

    /// Requests the `finish` and waits for it. `None`: the timeout has passed, and the work goes on.
    pub fn finish(&self, timeout: Option<Duration>) -> Option<i32> {
        let mut state = self.state.lock();
        if state.finish == Finish::NotRequested {
            state.finish = Finish::Requested;
            self.work.notify_all();
        }
        self.wait_done(state, timeout, |state| match state.finish {
            Finish::Done(result) => Some(result),
            Finish::NotRequested | Finish::Requested => None,
        })
    }

    /// Reports the result of the `finish`.
    pub fn complete_finish(&self, result: i32) {
        self.state.lock().finish = Finish::Done(result);
        self.done.notify_all();
    }

    fn wait_done(
        &self,
        mut state: MutexGuard<'_, State>,
        timeout: Option<Duration>,
        result: impl Fn(&State) -> Option<i32>,
    ) -> Option<i32> {
        let deadline = deadline(timeout);
        loop {
            if let Some(result) = result(&state) {
                return Some(result);
            }
            state = self.done.wait(state, time_left(deadline)?);
        }
    }
}

fn deadline(timeout: Option<Duration>) -> Option<u64> {
    timeout.map(|t| time::now_ns().saturating_add(t.as_nanos().min(u64::MAX.into()) as u64))
}

/// The timeout for one wait (`Some(None)`: without limit); `None`: the deadline has passed.
fn time_left(deadline: Option<u64>) -> Option<Option<Duration>> {
    let Some(deadline) = deadline else { return Some(None) };
    match deadline.saturating_sub(time::now_ns()) {
        0 => None,
        left => Some(Some(Duration::from_nanos(left))),
    }
}
