//! How urgently the pipeline needs relief: the fullest ring, and the age of the oldest event.
//!
//! Captures raise the [`Pressure`](crate::ring::pressure::Pressure) when they meet the watermark of their ring. Writers that have settled
//! something, and the supervisor, measure it. The program's callback has a thread of its own, which lives for as long as there are crossings
//! to tell of. So a callback that does not return delays neither a writer nor the supervisor.

use super::Pool;
use super::state::State;
use super::state::pressure_watch::{Call, Caller, Watcher};
use crate::platform::sync::Ordering;
use crate::platform::{memory, thread, time};
use crate::ring::pressure::percent;
use crate::ring::ring_buffer::RingBuffer;
use crate::status::{Error, PIPELINE_ERR_BUSY, PIPELINE_ERR_INVALID, Result};
use log::Level;
use std::ffi::c_void;
use std::sync::Arc;

/// Writers measure at most so often.
const EVERY_NS: u64 = 1_000_000;
/// Writers use at most one part in so many of their time to measure.
const SHARE: u64 = 64;

impl Pool {
    /// The pressure at this moment, 0 to 100: the larger of how full the fullest ring is, and of the age of the oldest event against
    /// `pressure_age_ms`.
    fn measured_pressure(&self, now: u64) -> u32 {
        let used = |ring: &RingBuffer| ring.head().saturating_sub(ring.released());
        let rings = self.rings.iter().filter(|ring| !ring.is_meta()).filter_map(|ring| ring.buffer());
        let fullest = rings
            .map(|ring| (used(ring), ring.capacity()))
            .max_by_key(|&(used, of)| (percent(used, of), used));
        let fill = match fullest {
            None | Some((0, _)) => return 0,
            Some((used, of)) => percent(used, of),
        };
        if fill == 100 {
            // (The walk over the oldest events takes locks.)
            return fill;
        }
        let age = self.oldest_of(RingBuffer::oldest).map_or(0, |at| now.saturating_sub(at));
        fill.max(percent(age, self.pressure_age_ns.load(Ordering::Relaxed)))
    }

    /// Measures the pressure. Returns whether it has crossed a threshold of the callback.
    pub(super) fn measure_pressure(&self, now: u64) -> bool {
        let pressure = &self.intake().pressure;
        let measurement = pressure.begin();
        pressure.set(measurement, self.measured_pressure(now))
    }

    /// A batch has been settled.
    #[inline]
    pub(super) fn keep_pressure(&self, now: u64) {
        if now >= self.measure_at_ns.load(Ordering::Relaxed) {
            self.keep_pressure_now(now);
        }
    }

    #[cold]
    pub(super) fn keep_pressure_now(&self, now: u64) {
        // As a rule one thread at a time comes here.
        self.measure_at_ns.store(now.saturating_add(EVERY_NS), Ordering::Relaxed);
        if self.measure_pressure(now) {
            self.call_supervisor();
        }
        self.keep_weight();
        let took = time::now_ns().saturating_sub(now);
        let pause = EVERY_NS.max(took.saturating_mul(SHARE));
        self.measure_at_ns.store(now.saturating_add(pause), Ordering::Relaxed);
    }

    // ---- the callback ----

    /// Sets the function that is told of crossings, or none.
    pub fn watch_pressure(&self, watcher: Option<Watcher>) -> Result<()> {
        if let Some(Watcher { low, high, .. }) = watcher
            && !(low < high && high <= 100)
        {
            let text = format!("low, high: 0 <= low < high <= 100 allowed, low {low} and high {high} given");
            return Err(Error::new(PIPELINE_ERR_INVALID, text));
        }
        let former = {
            let mut st = self.lock();
            // Before the next check: who is told that the pipeline is closed knows that no call runs.
            if st.pressure.caller != Caller::None {
                let text = format!("pipeline {}: the pressure callback is running; try again", self.name);
                return Err(Error::new(PIPELINE_ERR_BUSY, text));
            }
            self.check_open(&st)?;
            self.intake().pressure.watch(watcher.as_ref().map(|w| (w.low, w.high)));
            st.pressure.is_high = false;
            std::mem::replace(&mut st.pressure.watcher, watcher)
        };
        drop(former);
        // The pressure may be high already.
        self.call_supervisor();
        Ok(())
    }

    /// Starts a thread for the callback if it is to be told of something, and none runs. The supervisor calls this.
    pub(super) fn tell_of_pressure(self: &Arc<Self>, st: &mut State) {
        let percent = self.intake().pressure.percent();
        let ends = st.life.has_stopped() || st.life.exit.is_some();
        if ends || st.pressure.caller != Caller::None || !st.pressure.is_news(percent) || memory::is_scarce()
        {
            return;
        }
        let start = Box::into_raw(Box::new(Arc::clone(self))).cast::<c_void>();
        st.pressure.caller = Caller::Starting;
        if let Err(error) = thread::spawn_plain(caller_main, start) {
            // (The next tick tries again.)
            st.pressure.caller = Caller::None;
            st.report(Level::Error, format!("the pressure callback gets no thread: {error}"));
            // SAFETY: no thread got it.
            drop(unsafe { Box::from_raw(start.cast::<Arc<Self>>()) });
        }
    }

    /// The function's next call: the function, and what to call it with. `None`: there is nothing to tell of.
    fn next_news(&self) -> Option<(*const Call, u32, bool)> {
        let mut st = self.lock();
        let percent = self.intake().pressure.percent();
        if st.life.has_stopped() || st.life.exit.is_some() || !st.pressure.is_news(percent) {
            return None;
        }
        let watch = &mut st.pressure;
        watch.is_high = !watch.is_high;
        let is_high = watch.is_high;
        watch.watcher.as_ref().map(|watcher| (Arc::as_ptr(&watcher.call), percent, is_high))
    }

    /// The thread with this token has ended. If it was in the callback, that has ended it, and another one tells of the next crossing.
    pub(super) fn pressure_caller_ended(&self, st: &mut State, token: u64) -> Option<*mut c_void> {
        let Caller::Running(caller, start) = st.pressure.caller else { return None };
        if caller != token {
            return None;
        }
        st.pressure.caller = Caller::None;
        st.report(Level::Error, "the pressure callback has ended its thread".to_owned());
        Some(start)
    }
}

/// The thread that calls the program's function. While that runs, no frame holds anything to unwind.
extern "C-unwind" fn caller_main(start: *mut c_void) -> *mut c_void {
    // SAFETY: made by `tell_of_pressure`, freed below, or by `thread_ended` if the function ends this thread.
    let pool = unsafe { &*start.cast::<Arc<Pool>>() };
    begin(pool, start);
    thread::run_start_hook();
    while let Some((call, percent, is_high)) = pool.next_news() {
        // SAFETY: it is not replaced, and so not freed, while there is a caller.
        unsafe { (*call)(percent, is_high) };
        if pool.intake().forked() {
            // The function forked and returned in the child, where the pipeline is the parent's.
            return std::ptr::null_mut();
        }
    }
    thread::run_stop_hook();
    end(start);
    std::ptr::null_mut()
}

fn begin(pool: &Pool, start: *mut c_void) {
    thread::begin_own();
    thread::set_name(&thread::short_name(&format!("cp-press-{}", pool.name)));
    thread::set_works_for(pool.id);
    thread::arm_end();
    pool.lock().pressure.caller = Caller::Running(thread::token(), start);
}

fn end(start: *mut c_void) {
    // SAFETY: as in `caller_main`; the pool forgets it below.
    let pool = unsafe { Box::from_raw(start.cast::<Arc<Pool>>()) };
    let mut st = pool.lock();
    st.pressure.caller = Caller::None;
    let is_news = st.pressure.is_news(pool.intake().pressure.percent());
    pool.unlock_changed(st);
    if is_news {
        // The pressure has changed meanwhile.
        pool.call_supervisor();
    }
    pool.tear_down_if_abandoned();
}
