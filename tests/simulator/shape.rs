//! A run's shape: the pipeline's configuration, the storage's settings, who takes part, how it ends. All of it follows from the
//! seed.

use crate::producers::Dice;
use crate::storage::Settings;
use capture_pipeline::config::{Config, Ordering as EventOrdering, Overflow};
use capture_pipeline::platform::random::mix;
use std::time::Duration;

/// Limits of the shapes.
pub const MOST_IN_FLIGHT: u32 = 6;
pub const MOST_IN_DOUBT: u32 = 3;

/// A run's shape.
#[derive(Clone, Debug)]
pub struct Shape {
    pub config: Config,
    pub settings: Settings,
    /// Through functions that may end their threads, those of C where it takes no spans; else a Rust storage, which may panic.
    pub by_c: bool,
    pub producers: u64,
    pub events: usize,
    pub meddling: bool,
    /// Whether runs that have ended have left events.
    pub recovers: bool,
    /// Whether it begins with a transform.
    pub transforms: bool,
    /// Half of the events have priority, and nothing but the turns of the calls holds any back.
    pub urgent: bool,
    pub end: End,
}

/// How the pipeline ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// Everybody is done, the faults are over, close drains.
    Quiet,
    /// Close with a short timeout, in the middle of it all.
    Close,
    /// Destroy without a close, until it succeeds.
    Destroy,
    /// Abandon in the middle of it all.
    Abandon,
}

impl Shape {
    pub fn random(seed: u64) -> Self {
        let mut dice = Dice(mix(seed ^ 0x5CE7E));
        let ordering = if dice.once_in(3) { EventOrdering::PerProducer } else { EventOrdering::None };
        let overflow = match dice.below(4) {
            0 => Overflow::DropOldest,
            1 => Overflow::Block,
            _ => Overflow::DropNewest,
        };
        let faults = [0, 60, 20, 6][dice.below(4) as usize];
        let deadline_ms = 1 + dice.below(40);
        let retry_limit = if dice.once_in(3) { 1_000_000 } else { 1 + dice.below(6) as u32 };
        // (From a sequence of its own, so that all else of a seed is as it would be without.)
        let mut other = Dice(mix(seed ^ 0x5BA5));
        let span_bytes = other.once_in(3).then(|| 1 + other.below(3_000));
        let most_weight = if other.once_in(3) { 2 << other.below(8) } else { 1 };
        let hold_ms = 1 + other.below(50);
        let release = !dice.once_in(3) && span_bytes.is_none();
        let end = match dice.below(8) {
            0 => End::Close,
            1 => End::Destroy,
            2 => End::Abandon,
            _ => End::Quiet,
        };
        // (What grew too old is only told from what is left by what a writer releases.)
        let ages = release && end == End::Quiet && dice.once_in(3);
        let settings = Settings {
            seed: dice.roll(),
            concurrent: !dice.once_in(3),
            dead_letter: !dice.once_in(3),
            release,
            ordered: ordering == EventOrdering::PerProducer,
            retry_limit,
            ages,
            deadline: Duration::from_millis(deadline_ms),
            calm: dice.once_in(8),
            most_batches: if ages { 0 } else { (MOST_IN_FLIGHT + MOST_IN_DOUBT) as usize },
            faults,
            span_bytes,
            most_weight,
            traces: false,
        };
        let calm = settings.calm;
        let settings = Settings { most_weight: if calm { 1 } else { settings.most_weight }, ..settings };
        let mut config = Config {
            name: "simulated".to_owned(),
            writers: u32::from(calm) + dice.below(5) as u32,
            batch_size: 1 + dice.below(24) as u32,
            batch_bytes: 1 + dice.below(3_000),
            linger_us: if calm || dice.once_in(2) { 0 } else { dice.below(3_000) },
            poll_interval_ms: 1 + dice.below(100),
            max_in_flight: 1 + dice.below(MOST_IN_FLIGHT.into()) as u32,
            max_in_doubt: dice.below(u64::from(MOST_IN_DOUBT) + 1) as u32,
            ring_bytes: 4096 << dice.below(2),
            priority_ring_bytes: if other.once_in(4) { 0 } else { 4096 },
            max_rings: 1 + dice.below(4) as u32,
            max_retired_rings: dice.below(4) as u32,
            overflow,
            ordering,
            block_timeout_us: dice.below(20_000),
            retry_limit,
            retry_initial_us: dice.below(1_000),
            retry_max_us: 1 + dice.below(50_000),
            retry_max_age_ms: if ages { 2 + dice.below(60) } else { 360_000_000 },
            // (The supervisor looks in four times in that long.)
            storage_deadline_ms: if calm { 30_000 } else { deadline_ms },
            breaker_failures: if dice.once_in(2) { 0 } else { 1 + dice.below(8) as u32 },
            sampling_max_weight: settings.most_weight,
            sampling_traces: 64,
            sampling_hold_ms: hold_ms,
            ..Config::default()
        };
        if calm && overflow == Overflow::Block {
            // Longer than any space is waited for.
            config.block_timeout_us = 3_600_000_000;
            config.max_rings = 1 + dice.below(2) as u32;
        }
        if dice.once_in(3) {
            config.max_writers = 1 + dice.below(6) as u32;
            config.min_writers = u32::from(calm) + dice.below(u64::from(config.max_writers)) as u32;
        }
        let mut shape = Self {
            config,
            settings,
            by_c: dice.once_in(2),
            producers: 1 + dice.below(4),
            events: 1 + dice.below(60) as usize,
            meddling: !calm && !dice.once_in(4),
            urgent: false,
            recovers: false,
            // (Of a batch in parts, of which one grew too old, the book would miss the rest.)
            transforms: other.once_in(4) && !calm,
            end,
        };
        // (From another sequence again.)
        shape.vary(Dice(mix(seed ^ 0x7EACE)), overflow);
        // (What of them grew too old nothing would tell; and whose turn it is, is looked at for events of the pipeline alone.)
        shape.recovers = Dice(mix(seed ^ 0x01D)).once_in(3) && !shape.settings.ages && !shape.urgent;
        shape
    }

    /// Makes some a run of one of two kinds, in which more can be said.
    fn vary(&mut self, mut dice: Dice, overflow: Overflow) {
        let (config, settings) = (&mut self.config, &mut self.settings);
        if dice.once_in(4) && !settings.calm && self.end == End::Quiet && overflow != Overflow::DropOldest {
            self.urgent = true;
            self.transforms = false;
            self.events *= 4;
            settings.concurrent = false;
            (config.batch_size, config.linger_us, config.breaker_failures) = (1 + dice.below(4) as u32, 0, 0);
            config.priority_ring_bytes = 4096;
        } else if dice.once_in(2) && settings.most_weight > 1 {
            // No trace is forgotten, and no rule samples.
            settings.traces = true;
            settings.most_weight = if self.meddling { 2 } else { settings.most_weight };
            config.sampling_max_weight = settings.most_weight;
            config.sampling_hold_ms = 86_400_000;
            self.events *= 1 + 3 * dice.below(2) as usize;
        }
    }
}
