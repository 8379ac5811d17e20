//! The metrics of a pool and of each writer, and the ledger.

use super::Pool;
use super::state::State;
use super::state::turns::Which;
use super::state::writer::{Doing, Writer};
use crate::event::PIPELINE_EVENT_OWN_TIME;
use crate::latency::Percentiles;
use crate::ledger::Ledger;
use crate::metrics::{
    Figures, Metrics, PIPELINE_WRITER_ASLEEP, PIPELINE_WRITER_IN_CALL, PIPELINE_WRITER_OPENING,
    PIPELINE_WRITER_SEARCHING, Scaling, WriterMetrics, pipeline_writer_metrics_t,
};
use crate::platform::{memory, time};
use crate::ring::intake::slow_path;
use crate::ring::record::Tag;
use crate::ring::ring_buffer::RingBuffer;
use crate::status::{Error, PIPELINE_ERR_NOT_FOUND, Result};

impl Pool {
    /// The ledger as of now.
    pub fn ledger(&self) -> Ledger {
        self.ledger_of(&self.lock())
    }

    pub(super) fn ledger_of(&self, st: &State) -> Ledger {
        let stopped = st.life.has_stopped();
        let (all, priority) = (&st.batches.events, &st.batches.priority_events);
        let mut ledger = Ledger::new(all, priority, self.rings.counted(), &self.intake().refused, stopped);
        ledger.torn = st.recovery.torn();
        if stopped {
            // No writer makes the attempts that these events wait for.
            let left = st.waiting_events(Which::All);
            ledger.in_flight -= left;
            ledger.left += left;
            let left = st.waiting_events(Which::Priority);
            ledger.priority.in_flight -= left;
            ledger.priority.left += left;
        }
        ledger
    }

    /// The metrics.
    pub fn metrics(&self) -> Metrics {
        let mut st = self.lock();
        let latency = st.latency.percentiles();
        self.metrics_of(&mut st, time::now_ns(), latency)
    }

    /// All figures of one moment. An error: there is no memory.
    pub fn figures(&self) -> Result<Figures> {
        let mut st = self.lock();
        let now = time::now_ns();
        let mut writers = Vec::new();
        let live = st.writers.list.iter().filter(|w| !w.leaving);
        let count = live.clone().count();
        writers
            .try_reserve_exact(count)
            .map_err(|_| memory::refused(count * size_of::<pipeline_writer_metrics_t>()))?;
        writers.extend(live.map(|w| pipeline_writer_metrics_t::from(&st.metrics_of(w, now))));
        // The percentiles take a pass each through all buckets, and the spread has more than they.
        let latency = Percentiles { max: st.latency.longest(), ..Percentiles::default() };
        Ok(Figures {
            metrics: (&self.metrics_of(&mut st, now, latency)).into(),
            spread: st.latency.spread(),
            condition: self.condition(&st, now),
            writers,
        })
    }

    fn metrics_of(&self, st: &mut State, now: u64, latency: Percentiles) -> Metrics {
        let ledger = self.ledger_of(st);
        let (capture_rate, store_rate) = st.rates.read(now, &ledger);
        let (rings, rings_retired) = self.rings.in_use();
        let breaker = &st.retries.breaker;
        Metrics {
            batches: st.batches.settled,
            retries: st.retries.count,
            bad_results: st.faults.sum.bad_results,
            writer_restarts: st.faults.sum.restarts,
            writers_target: st.writers.target.into(),
            writers_live: st.writers.live().into(),
            writers_stuck: st.late_calls(now).count() as u64,
            // Not counted: the shared ring, and the one for the library's own events.
            rings: rings.saturating_sub(2) as u64,
            rings_retired: rings_retired as u64,
            backlog_bytes: self
                .rings
                .iter()
                .filter_map(|r| r.buffer())
                .map(|l| l.head().saturating_sub(l.released()))
                .sum(),
            oldest_age_ns: self.oldest_of(RingBuffer::oldest).map_or(0, |t| now.saturating_sub(t)),
            bytes_captured: ledger.bytes_captured,
            bytes_stored: st.batches.events.bytes_stored(),
            latency,
            uptime_ns: (now - self.started_ns).max(1),
            capture_rate,
            store_rate,
            scaling: Scaling {
                autoscaling: st.config.autoscales(),
                at_ns: st.autoscaler.scaling.at_ns.saturating_sub(self.started_ns),
                ..st.autoscaler.scaling
            },
            circuit: breaker.number().into(),
            circuit_openings: breaker.openings,
            circuit_probes: breaker.probes,
            panics: st.faults.sum.panics,
            clock: self.clock_in_use(),
            pressure: self.intake().pressure.percent(),
            sampling_weight: self.intake().judge.sampling.weight(),
            sampling: (self.intake().doorbell.judged() & slow_path::SAMPLING != 0).into(),
            weight_captured: ledger.weight_captured,
            traces_untracked: self.intake().judge.sampling.untracked(),
            transformed: st.transforms.rewritten,
            transform_faults: st.faults.transform.all,
            permit_waits: st.permits.waited,
            ledger,
        }
    }

    /// When the oldest waiting event was captured, as far as that is known. `look` finds the oldest event of one ring.
    pub(super) fn oldest_of(&self, look: impl Fn(&RingBuffer) -> Option<(Tag, u64)>) -> Option<u64> {
        let mut times = self.clock.times();
        self.rings
            .iter()
            .filter(|r| !r.is_meta())
            .filter_map(|r| look(r.buffer()?))
            .filter(|(tag, _)| tag.flags() & PIPELINE_EVENT_OWN_TIME == 0)
            .map(|(tag, at)| times.of(tag, at).max(self.started_ns))
            .min()
    }

    /// The figures of one writer.
    pub fn writer_metrics(&self, index: u32) -> Result<WriterMetrics> {
        let st = self.lock();
        let now = time::now_ns();
        let live = st.writers.live();
        let w = st.writers.list.iter().filter(|w| !w.leaving).nth(index as usize).ok_or_else(|| {
            Error::new(
                PIPELINE_ERR_NOT_FOUND,
                format!("index: below {live} allowed (writers_live), {index} given"),
            )
        })?;
        Ok(st.metrics_of(w, now))
    }
}

impl State {
    fn metrics_of(&self, w: &Writer, now: u64) -> WriterMetrics {
        let state = match w.doing {
            Doing::Searching => PIPELINE_WRITER_SEARCHING,
            Doing::Asleep => PIPELINE_WRITER_ASLEEP,
            Doing::Calling(_) | Doing::Ending(_) => PIPELINE_WRITER_IN_CALL,
            Doing::Opening(_) | Doing::Entering(_) => PIPELINE_WRITER_OPENING,
        };
        let record = self.faults.record(w.id);
        WriterMetrics {
            writer_id: w.id,
            state,
            thread_id: w.tid,
            attempts: w.attempts,
            events: w.events,
            bytes: w.bytes,
            retries: w.retries,
            call_ns: w.call_ns,
            in_call_ns: w.in_call_since().map_or(0, |since| now.saturating_sub(since).max(1)),
            restarts: record.restarts,
            bad_results: record.bad_results,
            panics: record.panics,
        }
    }
}
