//! Snapshots that rules ask for: a thread of the library takes them, because neither a capture nor the supervisor may wait for a disk.

use super::Pool;
use crate::platform::{thread, time};
use crate::rules::Asked;
use crate::snapshot::{self, Options};
use crate::status::Result;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The thread waits for so long for captures that are under way, so that the event that has asked is in the snapshot. A capture takes less than a
/// microsecond while its thread runs.
const CAPTURES_NS: u64 = 2_000_000_000;

/// Snapshots that rules ask for.
#[derive(Debug, Default)]
pub(super) struct Triggered {
    /// Where they go; `None`: there are none.
    target: Option<Target>,
    /// The thread was started.
    watched: bool,
    /// Why the last one has failed.
    pub failure: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
struct Target {
    dir: PathBuf,
    options: Options,
    /// How many more are taken.
    left: u64,
    /// When the next one may be taken.
    next_ns: u64,
}

/// What the thread is to do.
enum Next {
    Nothing,
    Wait(Duration),
    Take(PathBuf, Options),
}

impl Triggered {
    /// What to do about a snapshot that is asked for. One that is to be taken is counted.
    fn next(&mut self, now_ns: u64) -> Next {
        let Some(target) = self.target.as_mut().filter(|target| target.left > 0) else {
            return Next::Nothing;
        };
        if now_ns < target.next_ns {
            return Next::Wait(Duration::from_nanos(target.next_ns - now_ns));
        }
        target.left -= 1;
        target.next_ns = now_ns.saturating_add(target.options.min_interval_ms.saturating_mul(1_000_000));
        Next::Take(target.dir.clone(), target.options)
    }
}

/// The thread's start routine.
extern "C-unwind" fn trigger_main(start: *mut c_void) -> *mut c_void {
    // SAFETY: made by `snapshot_on_trigger`, and only this thread has it.
    let pool = *unsafe { Box::from_raw(start.cast::<Weak<Pool>>()) };
    thread::list_own();
    thread::arm_end();
    thread::set_name(&thread::short_name("cp-snapshot"));
    thread::run_start_hook();
    let _ = catch_unwind(AssertUnwindSafe(|| {
        while let Some(pool) = pool.upgrade() {
            if !pool.watch_trigger() {
                break;
            }
        }
    }));
    drop(pool);
    thread::run_stop_hook();
    std::ptr::null_mut()
}

impl Pool {
    /// Sets where the snapshots go that rules ask for. `None`: there are none any more.
    pub fn snapshot_on_trigger(self: &Arc<Self>, dir: Option<&Path>, options: &Options) -> Result<()> {
        let dir = dir.map(|dir| snapshot::prepare(dir, options)).transpose()?;
        let trigger = &self.intake().judge.trigger;
        let mut triggered = self.triggered.lock();
        if dir.is_some() && !triggered.watched {
            let start = Box::into_raw(Box::new(Arc::downgrade(self))).cast::<c_void>();
            // The thread ends by itself, soon after the pool, and is never waited for.
            thread::spawn_plain(trigger_main, start).inspect_err(|_| {
                // SAFETY: no thread got it.
                drop(unsafe { Box::from_raw(start.cast::<Weak<Self>>()) });
            })?;
            triggered.watched = true;
        }
        triggered.failure = None;
        triggered.target =
            dir.map(|dir| Target { dir, options: *options, left: options.max_snapshots, next_ns: 0 });
        trigger.listen(triggered.target.is_some());
        Ok(())
    }

    /// Waits until something is to be done, or does it. `false`: the pool ends.
    fn watch_trigger(&self) -> bool {
        let trigger = &self.intake().judge.trigger;
        let seen = trigger.asked();
        match seen {
            Asked::End => return false,
            Asked::No => trigger.wait(seen, None),
            Asked::Yes => {
                let next = self.triggered.lock().next(time::now_ns());
                match next {
                    Next::Nothing => trigger.listen(false),
                    Next::Wait(time) => trigger.wait(seen, Some(time)),
                    Next::Take(dir, options) => {
                        trigger.take();
                        self.take_triggered(&dir, &options);
                    }
                }
            }
        }
        true
    }

    fn take_triggered(&self, dir: &Path, options: &Options) {
        let until = time::now_ns().saturating_add(CAPTURES_NS);
        self.rings.wait_for_captures(|| time::now_ns() < until);
        let taken = self.snapshot(dir, options);
        if let Err(error) = &taken {
            log::error!("pipeline {}: a snapshot that a rule has asked for has failed: {error}", self.name);
        }
        self.triggered.lock().failure = taken.err().map(|error| error.detail.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_allowed_and_not_sooner() {
        let options = Options { min_interval_ms: 5, max_snapshots: 2, ..Options::default() };
        let target = Target { dir: "dir".into(), options, left: 2, next_ns: 0 };
        let mut triggered = Triggered::default();
        assert!(matches!(triggered.next(1), Next::Nothing));
        triggered.target = Some(target);
        assert!(matches!(triggered.next(1), Next::Take(..)));
        assert!(matches!(triggered.next(2), Next::Wait(time) if time == Duration::from_nanos(4_999_999)));
        assert!(matches!(triggered.next(5_000_001), Next::Take(..)));
        assert!(matches!(triggered.next(u64::MAX), Next::Nothing));
    }
}
