//! Threads of the library on which SQLite runs, for a caller that waits for their first result.
//!
//! SQLite never runs on the caller's thread, for three reasons: the caller's stack may be the smallest that the system allows, a file size
//! limit would send it SIGXFSZ, and a pending `pthread_cancel` would act in the middle of SQLite. The library's thread has a stack of
//! its own and blocks signals. The caller waits on a lock and a condition variable, which are no cancellation points.

use crate::platform::sync::{Condvar, Mutex};
use crate::platform::thread;
use crate::status::{Error, PIPELINE_ERR_INTERNAL, Result};
use std::sync::Arc;

struct Outcome<T> {
    result: Mutex<Option<Result<T>>>,
    filled: Condvar,
}

/// Sends the thread's result to the caller, once.
pub(super) struct ResultSender<T>(Arc<Outcome<T>>);

impl<T> ResultSender<T> {
    pub fn send(self, result: Result<T>) {
        *self.0.result.lock() = Some(result);
    }
}

impl<T> Drop for ResultSender<T> {
    fn drop(&mut self) {
        // Without a result: a panic has ended the thread.
        let panic = "internal error: the thread that opens the database has panicked; please report it";
        self.0.result.lock().get_or_insert_with(|| Err(Error::new(PIPELINE_ERR_INTERNAL, panic)));
        self.0.filled.notify_all();
    }
}

/// Starts a thread and waits for its result. The thread may go on after it has sent the result. Its end is not waited for.
pub(super) fn start<T: Send + 'static>(body: impl FnOnce(ResultSender<T>) + Send + 'static) -> Result<T> {
    let outcome = Arc::new(Outcome { result: Mutex::new(None), filled: Condvar::default() });
    let sender = ResultSender(Arc::clone(&outcome));
    thread::spawn("pipeline-sqlite", Box::new(move || body(sender)))?.detach();
    let mut result = outcome.result.lock();
    loop {
        match result.take() {
            Some(result) => return result,
            None => result = outcome.filled.wait(result, None),
        }
    }
}
