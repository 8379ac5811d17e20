//! While a pipeline runs: keeps the timeline in step with the monotonic clock, and tells the storage which clock stamps events.

use super::Pool;
use crate::clock::timeline::Timeline;
use crate::config;
use crate::event::{ClockFacts, PIPELINE_CLOCK_MONOTONIC, PIPELINE_CLOCK_TICKS, PIPELINE_KIND_CLOCK};
use crate::facts::Fact;
use crate::platform::{process, time};
use crate::ring::ring_buffer::RingBuffer;
use crate::ring::slot::Slot;
use crate::status::{PIPELINE_ERR_FULL, PIPELINE_ERR_NO_MEMORY};

/// What the storage was told of the clock: which clock it is, and whether its rate was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told(config::Clock, bool);

impl Pool {
    /// Tells the storage which clock stamps events from here on, and where that clock stands. If the storage knows that already, nothing
    /// happens.
    pub(super) fn tell_clock(&self, told: &mut Option<Told>) {
        let clock = self.clock_in_use();
        let timeline = self.clock.timeline().filter(|_| clock == config::Clock::Ticks);
        let ticks_hz = timeline.map_or(0, Timeline::hz);
        let now = Told(clock, ticks_hz != 0);
        if *told == Some(now) {
            return;
        }
        let moment =
            timeline.map_or_else(|| time::Pair { ticks: 0, ns: time::now_ns(), width: 0 }, |_| time::pair(0));
        let facts = ClockFacts {
            struct_size: ClockFacts::SIZE as u32,
            clock: timeline.map_or(PIPELINE_CLOCK_MONOTONIC, |_| PIPELINE_CLOCK_TICKS),
            monotonic_ns: moment.ns,
            realtime_ns: moment.ns.wrapping_add_signed(time::realtime_offset_ns()),
            ticks: moment.ticks,
            ticks_hz,
            boot_id: process::boot_id(),
            pid: std::process::id(),
            reserved: 0,
        };
        let fact = Fact::new(PIPELINE_KIND_CLOCK, 0, 0, &facts.bytes());
        match fact.and_then(|fact| self.add_fact(fact)) {
            // The supervisor's next tick tries again.
            Err(error) if matches!(error.status, PIPELINE_ERR_FULL | PIPELINE_ERR_NO_MEMORY) => {}
            _ => *told = Some(now),
        }
    }

    /// Keeps the timeline in step with the monotonic clock while no timestamp is converted, and keeps the part of it that unclaimed events
    /// will need.
    pub(super) fn keep_time(&self) {
        let Some(timeline) = self.clock.timeline() else { return };
        // Read before the rings: events that are captured later are newer.
        let now = time::ticks();
        let unclaimed = self.rings.iter().filter_map(Slot::buffer).filter_map(RingBuffer::oldest_unclaimed);
        let oldest = unclaimed.filter(|(tag, _)| tag.in_ticks()).map(|(_, ticks)| ticks).min();
        if timeline.keep(oldest.map_or(now, |o| o.min(now))) || !self.intake().in_ticks() {
            return;
        }
        self.intake().distrust_ticks();
        log::warn!(
            "pipeline {}: the processor's counter has gone back: the monotonic clock stamps events from here on",
            self.name
        );
    }

    /// The clock that stamps events now.
    pub(super) fn clock_in_use(&self) -> config::Clock {
        if self.intake().in_ticks() { config::Clock::Ticks } else { config::Clock::Monotonic }
    }
}

#[cfg(test)]
mod tests;
