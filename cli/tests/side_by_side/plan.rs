//! What goes wrong with an attempt. It follows from the round's seed and the batch, so that a seed replays it as far as threads allow.

use crate::random::Random;
use capture_pipeline::platform::random::mix;
use capture_pipeline::storage::{PIPELINE_STORE_OK, PIPELINE_STORE_RETRY};
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Journal,
    Sqlite,
}

/// Where a call blocks until its writer was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuck {
    Before,
    Between,
    After,
}

#[derive(Clone, Debug)]
pub struct Plan {
    /// The storage that gets the batch first.
    pub first: Side,
    /// This one alone gets it, and so many of its events. The answer is a retry.
    pub only: Option<(Side, usize)>,
    /// Neither gets it. The answer is a retry.
    pub neither: bool,
    /// What the pipeline is told once both have stored the batch.
    pub result: i32,
    /// With a retry: so many events at the start need not come again.
    pub prefix: usize,
    pub stuck: Option<Stuck>,
    /// Where SQLite is the second: its answer is passed on by token.
    pub pends: bool,
}

impl Plan {
    pub fn new(seed: u64, batch: u64, attempt: u32, count: usize) -> Self {
        let mut random = Random(mix(seed ^ batch << 16) ^ u64::from(attempt));
        let first = if random.one_in(2) { Side::Journal } else { Side::Sqlite };
        let mut plan = Self {
            first,
            only: None,
            neither: false,
            result: PIPELINE_STORE_OK,
            prefix: 0,
            stuck: None,
            pends: random.one_in(2),
        };
        let all_or_some = |random: &mut Random| match random.below(3) {
            0 => random.below(count as u64 + 1) as usize,
            _ => count,
        };
        let what = match attempt {
            // However short the round: each of these comes in every sixteen batches.
            1 if batch % 16 < 6 => 10 + batch % 16,
            1..6 => random.below(24),
            _ => 0,
        };
        match what {
            10 => plan.only = Some((Side::Journal, all_or_some(&mut random))),
            11 => plan.only = Some((Side::Sqlite, all_or_some(&mut random))),
            12 => plan.result = PIPELINE_STORE_RETRY,
            13 => (plan.result, plan.prefix) = (PIPELINE_STORE_RETRY, count / 2),
            14 => plan.neither = true,
            _ => {}
        }
        if attempt == 1 && batch % 48 == 7 || random.one_in(64) {
            plan.stuck = Some(match random.below(3) {
                0 => Stuck::Before,
                1 => Stuck::Between,
                _ => Stuck::After,
            });
        }
        plan
    }
}

macro_rules! tally {
    ($($name:ident: $what:literal;)*) => {
        /// How often each thing happened. A round in which nothing happens proves nothing.
        #[derive(Debug, Default)]
        pub struct Tally {
            $(pub $name: AtomicU64,)*
        }

        impl Tally {
            /// Adds another round's.
            pub fn add(&self, other: &Self) {
                $(self.$name.fetch_add(other.$name.load(Ordering::Relaxed), Ordering::Relaxed);)*
            }

            /// What never happened, and does not depend on how fast the machine is.
            pub fn missing(&self) -> Vec<&'static str> {
                let all = [$((self.$name.load(Ordering::Relaxed), $what),)*];
                all.iter().filter(|(count, what)| *count == 0 && !what.is_empty()).map(|(_, what)| *what).collect()
            }
        }
    };
}

tally! {
    attempts: "attempts";
    spans: "batches of spans that the journal wrote as they lie";
    journal_alone: "retries of what the journal alone has stored";
    sqlite_alone: "retries of what SQLite alone has stored";
    part: "retries of what one of them has stored in part";
    both: "retries of what both have stored";
    prefixes: "retries behind a prefix";
    pending: "answers by token";
    stuck: "calls that block";
    doubts: "calls that block until their batch is in doubt";
    replaced: ""; // calls that block until other writers have made attempts
    rejected: "rejected events";
    own: "batches of the library's own events";
    own_again: "retries of those";
    scaled: "changes of the number of writers";
    flushes: ""; // that succeed in time
    renamed: "kinds that get another name";
    duplicates: "events that the journal has more than once";
    rotations: "segments that are full";
    stored: "events stored";
    typed: "events of defined kinds";
    unstored: "events that are rejected, dropped or overwritten";
}

impl Tally {
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
