//! All figures of a pipeline together, for texts and files.

use super::{Metrics, pipeline_metrics_t, pipeline_writer_metrics_t};
use crate::latency::Spread;

/// All figures of a pipeline at one moment.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Its metrics; of the percentiles only the longest, because `spread` has more.
    pub metrics: pipeline_metrics_t,
    /// How long events took from capture to acknowledgement.
    pub spread: Spread,
    /// Its health in numbers.
    pub condition: Condition,
    /// Its writers, in the order of `pipeline_writer_metrics`.
    pub writers: Vec<pipeline_writer_metrics_t>,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            metrics: (&Metrics::default()).into(),
            spread: Spread::default(),
            condition: Condition::default(),
            writers: Vec::new(),
        }
    }
}

/// A pipeline's health without words; `pipeline_health_t` has the same names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// `PIPELINE_HEALTHY`, `PIPELINE_DEGRADED` or `PIPELINE_FAILING`.
    pub status: u32,
    /// The reasons for it, bits `PIPELINE_HEALTH_...`.
    pub reasons: u32,
    /// Batches that wait for their next attempt.
    pub batches_retrying: u32,
    /// The time in nanoseconds of the longest call or pending answer past `storage_deadline_ms`; 0 if there is none.
    pub stuck_ns: u64,
}
