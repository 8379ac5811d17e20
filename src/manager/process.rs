//! The pipelines of this process. They are told of threads that end, and of the end of the process.

use crate::platform::cancellation::Uncancelled;
use crate::platform::last_thread;
use crate::platform::process::PerProcess;
use crate::platform::sync::{AtomicU64, Mutex, Ordering};
use crate::platform::time;
use crate::pool::Pool;
use crate::status::{Error, PIPELINE_ERR_NO_MEMORY, Result};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The pipelines that were started and neither destroyed nor abandoned.
#[derive(Default)]
pub struct Process {
    pools: Mutex<Vec<Weak<Pool>>>,
}

static PROCESS: PerProcess<Process> = PerProcess::new();
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// This process's pipelines. The first call registers the exit handler.
pub fn this() -> Result<&'static Process> {
    if let Some(process) = PROCESS.get() {
        return Ok(process);
    }
    static REGISTERED: AtomicU64 = AtomicU64::new(0);
    // A forked child inherits the handler, so once is enough for all descendants. The registration is noted after it is made, so a child
    // that is forked in between registers the handler itself. Two threads at once may register it twice; then the second call of the
    // handler finds nothing to do.
    if REGISTERED.load(Ordering::Acquire) == 0 {
        // SAFETY: a function of this library, which is never unmapped.
        if unsafe { libc::atexit(at_exit) } != 0 {
            return Err(Error::new(PIPELINE_ERR_NO_MEMORY, "atexit: no memory"));
        }
        REGISTERED.store(1, Ordering::Release);
    }
    PROCESS.get_or_make(Process::default).ok_or_else(Pool::no_memory)
}

/// An id that no pipeline of this process, or of its forked children, has had.
pub fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

impl Process {
    /// A pipeline has started.
    pub fn add(&self, pool: &Arc<Pool>) {
        let mut pools = self.pools.lock();
        pools.retain(|p| p.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    fn all(&self) -> Vec<Arc<Pool>> {
        self.pools.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

/// A thread that used the library has ended.
pub fn thread_ended(token: u64) {
    crate::capture::thread_cache::forget();
    if let Some(process) = PROCESS.get() {
        for pool in process.all() {
            pool.thread_ended(token);
        }
    }
    last_thread::thread_ends();
}

/// The process ends: drains the pipelines that were not closed, each within its `exit_timeout_ms`, and starts no further call.
extern "C" fn at_exit() {
    let _uncancelled = Uncancelled::begin();
    let _ = std::panic::catch_unwind(|| {
        let Some(process) = PROCESS.get() else { return };
        let began = time::now_ns();
        for pool in process.all() {
            let allowed = Duration::from_millis(pool.config().exit_timeout_ms);
            let used = Duration::from_nanos(time::now_ns() - began);
            pool.close_for_exit(allowed.saturating_sub(used));
        }
    });
}
