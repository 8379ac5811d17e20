//! A run's shape with a journal: the pipeline's, the options of the journal, what goes wrong with its files. All of it follows from the seed.

use crate::producers::Dice;
use crate::shape::{End, Shape};
use capture_pipeline::config::Overflow;
use capture_pipeline::platform::random::mix;
use capture_pipeline::platform::simulator::files::{Faults, Traits};
use capture_pipeline::storage::journal::{Encoding, OnFull, Options, Sync};

/// A run's shape.
#[derive(Clone, Debug)]
pub struct JournalShape {
    pub pool: Shape,
    pub options: Options,
    pub faults: Faults,
    pub traits: Traits,
    /// Batches come as spans, of at most so many bytes.
    pub span_bytes: Option<u64>,
    /// The journal learns of its pipeline; otherwise the facts come to it as events.
    pub attached: bool,
    /// The storage around the journal hides one success in so many, so that the batch is retried; 0: none.
    pub hides: u64,
    /// The disk has little room now and then.
    pub small_disk: bool,
    /// The most power losses that are tried.
    pub power_losses: u64,
}

impl JournalShape {
    pub fn random(seed: u64) -> Self {
        let mut dice = Dice(mix(seed ^ 0x0070_4A31));
        let mut pool = Shape::random(mix(seed ^ 0x70_4A32));
        pool.events = 1 + dice.below([20, 80, 250][dice.clone().below(3) as usize]) as usize;
        if dice.once_in(2) {
            pool.config.overflow = Overflow::Block;
            pool.config.block_timeout_us = 1_000_000;
        }
        if dice.once_in(3) {
            pool.end = End::Quiet;
        }
        // Some shapes wait for the storage for as long as it takes.
        if dice.once_in(2) {
            pool.config.retry_limit = 1_000_000;
            pool.config.storage_deadline_ms = 5_000;
        }
        let options = random_options(&mut dice);
        let often = [0, 0, 400, 100, 25][dice.below(5) as usize];
        let mut now_and_then = |n| if often != 0 && dice.once_in(n) { often } else { 0 };
        let faults = Faults {
            failures: now_and_then(2),
            short: now_and_then(2).div_ceil(8),
            syncs: now_and_then(3).div_ceil(8),
            cuts: now_and_then(4).div_ceil(8),
            interrupts: now_and_then(3),
            hangs: now_and_then(4),
            closings: now_and_then(4) * 2,
            hang_ns: 0,
        };
        let hang_ns = [200_000, 10_000_000, 200_000_000][dice.below(3) as usize];
        let traits =
            Traits { lockless: dice.once_in(16), unmarked: dice.once_in(16), bound: options.max_bytes };
        Self {
            options,
            faults: Faults { hang_ns, ..faults },
            traits,
            span_bytes: dice.once_in(2).then(|| 1 + dice.below(8_000)),
            attached: !dice.once_in(6),
            hides: [0, 0, 0, 10][dice.below(4) as usize],
            small_disk: dice.once_in(5),
            power_losses: dice.below(5),
            pool,
        }
    }
}

fn random_options(dice: &mut Dice) -> Options {
    let bounded = dice.once_in(2);
    let aged = dice.once_in(6);
    Options {
        segment_bytes: [4 << 10, 8 << 10, 24 << 10, 1 << 20][dice.below(4) as usize],
        max_bytes: if bounded { (32 << 10) + dice.below(96 << 10) } else { 0 },
        max_age_ms: if aged && dice.once_in(2) { 100 + dice.below(400) } else { 0 },
        min_free_disk: if dice.once_in(6) { 64 << 10 } else { 0 },
        segment_age_ms: if aged { 100 + dice.below(200) } else { 0 },
        sync: [Sync::Never, Sync::Flush, Sync::Interval, Sync::Batch, Sync::Batch][dice.below(5) as usize],
        sync_interval_ms: 1 + dice.below(50) as u32,
        on_full: if dice.once_in(3) { OnFull::Reject } else { OnFull::DeleteOldest },
        encoding: [Encoding::Raw, Encoding::Raw, Encoding::Columns, Encoding::ColumnsLz4]
            [dice.below(4) as usize],
        file_mode: 0o600,
        live_figures: dice.once_in(3),
    }
}
