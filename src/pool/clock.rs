//! Which clock stamps a pipeline's events, and what time a stamp is.

use super::Pool;
use crate::config;
use crate::event::{ClockFacts, PIPELINE_CLOCK_MONOTONIC, PIPELINE_CLOCK_TICKS};
use crate::platform::{process, time};
use crate::ring::buffer::Ring;
use crate::ring::log::Log;
use crate::ring::record::Tag;
use crate::status::{Error, PIPELINE_ERR_UNSUPPORTED, Result};
use crate::timeline::{Known, Timeline};
use std::sync::Arc;

/// The clock of a pipeline: a timeline where the processor's counter stamps the events.
#[derive(Clone, Debug)]
pub(super) struct Clock(Option<Arc<Timeline>>);

impl Clock {
    /// What the configuration asks for, as far as this machine has it.
    pub(super) fn choose(wanted: config::Clock) -> Result<Self> {
        let ticks = match wanted {
            config::Clock::Monotonic => false,
            config::Clock::Auto => time::kernel_trusts_ticks() && time::why_no_ticks().is_none(),
            config::Clock::Ticks => match time::why_no_ticks() {
                None => true,
                Some(why) => {
                    return Err(Error::new(
                        PIPELINE_ERR_UNSUPPORTED,
                        format!(
                            "pipeline_config_t.clock: PIPELINE_CLOCK_AUTO (0) and PIPELINE_CLOCK_MONOTONIC (1) allowed on \
                             this machine, PIPELINE_CLOCK_TICKS (2) given: {why}"
                        ),
                    ));
                }
            },
        };
        Ok(Self(ticks.then(|| Arc::new(Timeline::new(time::pair)))))
    }

    /// Whether it is the processor's counter.
    pub(super) fn is_counter(&self) -> bool {
        self.0.is_some()
    }

    /// Tells the times of events, one batch of them.
    pub(super) fn times(&self) -> Times<'_> {
        Times { timeline: self.0.as_deref(), known: Known::default() }
    }

    /// When an event was captured; never waits.
    pub(super) fn at_once(&self, tag: Tag, timestamp: u64) -> u64 {
        match &self.0 {
            Some(timeline) if tag.in_ticks() => timeline.at_once(timestamp),
            _ => timestamp,
        }
    }
}

/// Tells the times of events, one batch of them.
#[derive(Clone, Copy)]
pub(super) struct Times<'a> {
    timeline: Option<&'a Timeline>,
    known: Known,
}

impl Times<'_> {
    /// When an event was captured, by its record's timestamp; `None` until that is learnt.
    #[inline(always)]
    pub(super) fn known(&self, tag: Tag, timestamp: u64) -> Option<u64> {
        if tag.in_ticks() { self.known.ns(timestamp) } else { Some(timestamp) }
    }

    /// Learns what a timestamp in ticks is, and those near it.
    pub(super) fn learn(&mut self, timestamp: u64) {
        self.known = self
            .timeline
            .map_or_else(|| Known::only(timestamp, timestamp), |timeline| timeline.know(timestamp));
    }

    /// When an event was captured.
    pub(super) fn of(&mut self, tag: Tag, timestamp: u64) -> u64 {
        self.known(tag, timestamp).unwrap_or_else(|| {
            self.learn(timestamp);
            self.known.ns(timestamp).unwrap_or(timestamp)
        })
    }
}

/// What the storage was told of the clock: which it is, and whether its rate was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told(config::Clock, bool);

impl Pool {
    /// Tells the storage which clock stamps events from here on, and where it stands; unless it was told just that.
    pub(super) fn tell_clock(&self, told: &mut Option<Told>) {
        if !self.rings.tells() {
            return;
        }
        let clock = self.clock_in_use();
        let timeline = self.clock.0.as_deref().filter(|_| clock == config::Clock::Ticks);
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
        if self.rings.tell_clock(&facts) {
            *told = Some(now);
        }
    }

    /// Keeps the timeline in step with the monotonic clock while nobody converts, and sees to it that what it will need stays.
    pub(super) fn keep_time(&self) {
        let Some(timeline) = &self.clock.0 else { return };
        // Before the look: what is captured after it is newer.
        let now = time::ticks();
        let unclaimed = self.rings.iter().filter_map(Ring::log).filter_map(Log::oldest_unclaimed);
        let oldest = unclaimed.filter(|(tag, _)| tag.in_ticks()).map(|(_, ticks)| ticks).min();
        if timeline.keep(oldest.map_or(now, |o| o.min(now))) || !self.front().in_ticks() {
            return;
        }
        self.front().distrust_ticks();
        log::warn!(
            "pipeline {}: the processor's counter has gone back: the monotonic clock stamps events from here on",
            self.name
        );
    }

    /// What stamps events now.
    pub(super) fn clock_in_use(&self) -> config::Clock {
        if self.front().in_ticks() { config::Clock::Ticks } else { config::Clock::Monotonic }
    }
}

#[cfg(test)]
mod tests;
