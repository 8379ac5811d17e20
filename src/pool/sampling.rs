//! Adaptive sampling over time: the supervisor lowers the weight that captures have raised, and ends sampling.

use super::Pool;
use super::state::State;
use super::state::quiet::Quiet;
use crate::config::Config;
use crate::platform::sync::Ordering;
use crate::ring::intake::{Intake, slow_path};
use crate::rules::Sampling;
use crate::status::Result;

/// The time between ticks while events are sampled.
pub(super) const SAMPLING_MS: u64 = 10;

/// Sampling as the configuration asks for it.
pub(super) fn sampling(config: &Config) -> Result<Sampling> {
    let sampling = Sampling::new(config.sampling_seed);
    sampling.prepare(config.sampling_max_weight, config.sampling_traces)?;
    sampling.allow(config.sampling_max_weight);
    Ok(sampling)
}

impl Pool {
    /// Adapts the weight to the pressure, which was measured just now. Returns whether the weight is 1.
    #[inline]
    pub(super) fn keep_weight(&self) -> bool {
        let intake = self.intake();
        let is_on = intake.doorbell.judged() & slow_path::SAMPLING != 0;
        !is_on || {
            let watermark = intake.watermark_percent.load(Ordering::Relaxed);
            intake.judge.sampling.tick(intake.pressure.percent(), watermark)
        }
    }

    /// Lowers the weight, or ends sampling, if it is time. Returns whether events are sampled. The pressure was measured just now.
    pub(super) fn keep_sampling(&self, st: &mut State, now: u64) -> bool {
        let intake: &Intake = self.intake();
        let samples = intake.doorbell.judged() & slow_path::SAMPLING != 0;
        let hold_ns = st.config.sampling_hold_ms.saturating_mul(1_000_000);
        intake.judge.sampling.forget_rules(now, hold_ns);
        if samples || intake.judge.sampling.promotes() {
            intake.judge.sampling.keep_epoch(now, hold_ns);
        }
        if !samples {
            return false;
        }
        if !self.keep_weight() {
            st.sampling = Quiet::default();
            return true;
        }
        let dropped = self.rings.counted().iter().map(|producer| producer.counts().dropped_sampled).sum();
        // Traces that were sampled out are still remembered. They are kept from now on, but not before they have been quiet.
        if st.sampling.note(dropped, now) < hold_ns {
            return true;
        }
        intake.end_sampling();
        st.sampling = Quiet::default();
        intake.doorbell.judged() & slow_path::SAMPLING != 0
    }
}
