//! Which clock stamps a pipeline's events, and how a stamp becomes a time. Nothing here knows the pool.

use crate::clock::timeline::{Known, Timeline};
use crate::config;
use crate::platform::time;
use crate::ring::record::Tag;
use crate::ring_file::run_file::RunFile;
use crate::status::{Error, PIPELINE_ERR_UNSUPPORTED, Result};
use std::sync::Arc;

/// The clock of a pipeline: a timeline where the processor's counter stamps the events.
#[derive(Clone, Debug)]
pub(super) struct Clock(Option<Arc<Timeline>>);

impl Clock {
    /// Whether the configuration asks for the processor's counter; an error if this machine does not have it.
    pub(super) fn asks_for_counter(wanted: config::Clock) -> Result<bool> {
        match wanted {
            config::Clock::Monotonic => Ok(false),
            config::Clock::Auto => Ok(time::kernel_trusts_ticks() && time::why_no_ticks().is_none()),
            config::Clock::Ticks => match time::why_no_ticks() {
                None => Ok(true),
                Some(why) => Err(Error::new(
                    PIPELINE_ERR_UNSUPPORTED,
                    format!(
                        "pipeline_config_t.clock: PIPELINE_CLOCK_AUTO (0) and PIPELINE_CLOCK_MONOTONIC (1) allowed on \
                         this machine, PIPELINE_CLOCK_TICKS (2) given: {why}"
                    ),
                )),
            },
        }
    }

    /// The processor's counter, or the monotonic clock. With a file, the timeline lies in it.
    pub(super) fn new(counter: bool, file: Option<&Arc<RunFile>>) -> Result<Self> {
        let timeline = match file {
            _ if !counter => return Ok(Self(None)),
            Some(file) => {
                let (words, pieces) = file.clock();
                Timeline::within(words, pieces, time::pair)
            }
            None => Timeline::new(time::pair)?,
        };
        Ok(Self(Some(Arc::new(timeline))))
    }

    /// Whether it is the processor's counter.
    pub(super) fn is_counter(&self) -> bool {
        self.0.is_some()
    }

    /// Its timeline, if it is the processor's counter.
    pub(super) fn timeline(&self) -> Option<&Timeline> {
        self.0.as_deref()
    }

    /// Converts the timestamps of a batch's events.
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

/// Converts the timestamps of a batch's events.
#[derive(Clone, Copy)]
pub(super) struct Times<'a> {
    timeline: Option<&'a Timeline>,
    known: Known,
}

impl Times<'_> {
    /// When an event was captured, by its record's timestamp. `None`: the clock piece at hand does not cover it, so [`learn`](Self::learn)
    /// must be called first.
    #[inline(always)]
    pub(super) fn known(&self, tag: Tag, timestamp: u64) -> Option<u64> {
        if tag.in_ticks() { self.known.ns(timestamp) } else { Some(timestamp) }
    }

    /// Finds the clock piece of a timestamp in ticks, which covers those near it as well.
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
