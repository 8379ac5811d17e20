//! The configuration of a running pipeline, and its pause.

use super::Pool;
use super::state::autoscaler::{Decision, PIPELINE_SCALE_BOUNDS, PIPELINE_SCALE_CALLER, PIPELINE_SCALE_NONE};
use super::state::life_cycle::Step;
use crate::config::Config;
use crate::platform::sync::Ordering;
use crate::platform::time;
use crate::ring::intake::Overflow;
use crate::status::{Error, PIPELINE_ERR_FIXED, Result};
use log::Level;
use std::sync::Arc;

impl Pool {
    /// The running configuration.
    pub fn config(&self) -> Config {
        self.lock().config.clone()
    }

    /// Changes the configuration: all of it or nothing.
    pub fn update(self: &Arc<Self>, next: Config) -> Result<()> {
        next.validate()?;
        // Under one lock, so that no thread reads half of an update, and of two updates at once none leaves its half.
        let mut st = self.lock();
        self.check_open(&st)?;
        st.config.check_update(&next)?;
        if next.overflow == Overflow::DropOldest
            && st.config.overflow != Overflow::DropOldest
            && self.can.release
            && !self.can.release_anywhere
            && !self.rings.keeps_overwritten()
        {
            return Err(Error::new(
                PIPELINE_ERR_FIXED,
                "pipeline_config_t.overflow: cannot become PIPELINE_OVERFLOW_DROP_OLDEST (1) while the storage \
                 has a release",
            ));
        }
        self.intake().judge.sampling.prepare(next.sampling_max_weight, next.sampling_traces)?;
        // While the pipeline scales itself, it goes on from the number of writers that it has.
        let goes_on = st.config.autoscales() && next.autoscales();
        let (from, now) = (st.writers.target, time::now_ns());
        let to = next.within_bounds(if goes_on { from } else { next.writers });
        if to != from {
            if let Err(error) = self.set_writers(&mut st, to, PIPELINE_SCALE_NONE) {
                let _ = self.set_writers(&mut st, from, PIPELINE_SCALE_NONE);
                drop(st);
                self.wake_all();
                return Err(error);
            }
            let reason = if goes_on { PIPELINE_SCALE_BOUNDS } else { PIPELINE_SCALE_CALLER };
            st.autoscaler.note(Decision { from, to, reason }, now);
        }
        let bounds = |c: &Config| (c.min_writers, c.max_writers);
        if !goes_on || bounds(&next) != bounds(&st.config) {
            st.autoscaler.restart();
        }
        let intake = self.intake();
        intake.overflow.store(next.overflow as u32, Ordering::Relaxed);
        intake.block_timeout_us.store(next.block_timeout_us, Ordering::Relaxed);
        intake.judge.sampling.allow(next.sampling_max_weight);
        intake.watermark_percent.store(next.watermark_percent, Ordering::Relaxed);
        self.pressure_age_ns.store(next.pressure_age_ms.saturating_mul(1_000_000), Ordering::Relaxed);
        st.config = Config { writers: to, ..next };
        st.update_breaker(now);
        if to != from {
            st.report(Level::Info, format!("updated from {from} to {to} writers"));
        }
        self.unlock(st);
        self.wake_all();
        self.call_supervisor();
        Ok(())
    }

    /// Stops claiming, or goes on.
    pub fn set_paused(&self, paused: bool) -> Result<()> {
        let mut st = self.lock();
        self.check_open(&st)?;
        st.life.step(if paused { Step::Pause } else { Step::Resume });
        drop(st);
        self.intake().wake(u32::MAX);
        Ok(())
    }
}
