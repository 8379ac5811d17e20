//! Changes of the number of writers: by `pipeline_scale`, and by autoscaling, for which [`autoscaler`](super::state::autoscaler) decides.
//!
//! The supervisor looks every few milliseconds while there may be something to decide. When it sleeps for longer, a writer that leaves work
//! behind wakes it.

use super::Pool;
use super::spans::most_of_a_batch;
use super::state::State;
use super::state::autoscaler::{Decision, LOOK_NS, PIPELINE_SCALE_CALLER, PIPELINE_SCALE_NONE, Reason, Seen};
use super::state::life_cycle::Stage;
use super::supervisor::BUSY_MS;
use crate::config::PIPELINE_MAX_WRITERS;
use crate::platform::time;
use crate::ring::ring_buffer::RingBuffer;
use crate::status::{Error, PIPELINE_ERR_LIMIT, Result};
use log::Level;
use std::sync::Arc;

impl Pool {
    /// Sets the number of writers, and turns autoscaling off.
    pub fn scale(self: &Arc<Self>, writers: u32) -> Result<()> {
        if writers > PIPELINE_MAX_WRITERS {
            return Err(Error::new(
                PIPELINE_ERR_LIMIT,
                format!("writers: 0 to {PIPELINE_MAX_WRITERS} allowed, {writers} given"),
            ));
        }
        let mut st = self.lock();
        self.check_open(&st)?;
        let was_on = st.config.autoscales();
        (st.config.min_writers, st.config.max_writers) = (0, 0);
        let result = self.set_writers(&mut st, writers, PIPELINE_SCALE_CALLER);
        drop(st);
        self.wake_all();
        let off = if was_on { "; autoscaling is off" } else { "" };
        log::info!("pipeline {}: scaled to {writers} writers{off}", self.name);
        result
    }

    /// Brings the writers to this number: missing ones start, surplus ones are told to end, for which the caller must call `wake_all`. If
    /// it fails, the writers that could start stay.
    pub(super) fn set_writers(self: &Arc<Self>, st: &mut State, writers: u32, reason: u32) -> Result<()> {
        if reason != PIPELINE_SCALE_NONE {
            let from = st.writers.target;
            st.autoscaler.note(Decision { from, to: writers, reason }, time::now_ns());
        }
        st.set_target(writers);
        st.writers.dismiss_down_to(writers);
        while st.writers.staying() < writers {
            self.start_writer(st, 0)?;
        }
        Ok(())
    }

    /// One look of the autoscaler. Returns after how many nanoseconds to look again (`u64::MAX`: no need).
    pub(super) fn autoscale(self: &Arc<Self>) -> u64 {
        if !self.lock().config.autoscales() {
            return u64::MAX;
        }
        let unclaimed = self.rings.unclaimed();
        let oldest = self.oldest_of(RingBuffer::oldest_unclaimed);
        let mut st = self.lock();
        let now = time::now_ns();
        let mut seen = self.seen(&st, now, unclaimed, oldest);
        let (busy, retries) = (st.writers.time_in_calls(now), st.retries.count);
        let (decision, mut next) = st.autoscaler.look(&mut seen, busy, retries);
        if st.writers.target == 0 && st.life.is_running() {
            // There is no writer that would look for work, so the supervisor looks.
            next = st.config.poll_interval_ms.min(BUSY_MS) * 1_000_000;
        }
        let Some(decision) = decision else { return next };
        let Decision { from, to, reason } = decision;
        match self.set_writers(&mut st, to, reason) {
            Ok(()) => {
                let reason = Reason(&decision, &seen);
                st.report(Level::Info, format!("autoscaling from {from} to {to} writers: {reason}"));
            }
            Err(error) => {
                // The target becomes what there is. The autoscaler tries again later.
                let writers = st.writers.staying().max(from);
                st.set_target(writers);
                st.autoscaler.refused(writers, now);
                st.report(Level::Error, format!("autoscaling from {from} to {to} writers failed: {error}"));
            }
        }
        self.unlock(st);
        self.wake_all();
        next
    }

    fn seen(&self, st: &State, now: u64, unclaimed: (u64, u64, u64), oldest: Option<u64>) -> Seen {
        let (events, bytes, fullest) = unclaimed;
        let State { batches, config, .. } = st;
        let most = most_of_a_batch(config, self.can.span_bytes);
        let useful = if !self.can.concurrent {
            1
        } else if self.ordered {
            // A ring has one batch in flight at a time, so there is no work for more writers than rings.
            self.rings.iter().filter(|r| !r.is_drained()).count().max(1) as u32
        } else {
            PIPELINE_MAX_WRITERS
        };
        let age = oldest.map_or(0, |captured| now.saturating_sub(captured));
        Seen {
            now_ns: now,
            writers: st.writers.target,
            min: config.min_writers,
            max: config.max_writers,
            useful: useful.min(config.max_in_flight),
            held: st.life.stage() != Stage::Running,
            queued: events > 0 || batches.has_queued() || st.flushes.any_asked() || self.rings.any_spilled(),
            open: batches.unsettled(),
            age_ns: age.saturating_sub(config.linger_us * 1000),
            waiting: (events / u64::from(most.0)).max(bytes / most.1),
            fill_percent: fullest * 100 / config.ring_bytes,
            progress: batches.events.stored() + batches.settled,
            troubled: !batches.back_off.is_empty() || batches.in_doubt > 0,
            ..Seen::default()
        }
    }

    /// Called when a writer enters a call. Returns whether to wake the supervisor, so that it looks whether more writers are needed.
    #[inline]
    pub(super) fn wants_look(&self, st: &mut State, now: u64) -> bool {
        if !st.autoscaler.is_asleep(now) || st.writers.target >= st.config.max_writers {
            return false;
        }
        let writers = &st.writers;
        let all_busy = writers.searching + writers.sleeping == 0 && writers.call_average_ns >= LOOK_NS;
        let wants = all_busy || (!writers.calls_are_quick() && self.anything_claimable());
        if wants {
            st.autoscaler.wake();
        }
        wants
    }
}

impl State {
    fn set_target(&mut self, writers: u32) {
        self.writers.target = writers;
        self.config.writers = writers;
    }
}
