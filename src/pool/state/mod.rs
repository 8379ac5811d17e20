//! The pool's state: everything that changes under its lock. Each part owns what changes together, and can be judged and tested alone.
//! Nothing here waits, wakes a thread, calls the storage, or logs.

pub mod autoscaler;
pub mod batches;
pub mod breaker;
pub mod deferred_space;
pub mod faults;
pub mod flushes;
pub mod life_cycle;
pub mod naps;
pub mod permits;
pub mod pressure_watch;
pub mod quiet;
pub mod recovery;
pub mod retries;
pub mod retry_queue;
pub mod sleep;
pub mod transforms;
pub mod turns;
pub mod writer;
pub mod writers;

use crate::batch::Place;
use crate::config::Config;
use crate::latency::Latency;
use crate::ledger::Rates;
use autoscaler::Autoscaler;
use batches::Batches;
use deferred_space::DeferredSpace;
use faults::Faults;
use flushes::{Finish, Flushes};
use life_cycle::{LifeCycle, Stage};
use log::Level;
use permits::Permits;
use pressure_watch::PressureWatch;
use quiet::Quiet;
use recovery::Recovery;
use retries::Retries;
use sleep::Sleep;
use transforms::Transforms;
use turns::{Turns, Which};
use writers::Writers;

/// How long the exit of the process waits for a storage whose every attempt fails, for a capture that is under way, and for the end of a
/// pipeline that has nothing to store. (`pipeline_config_t.exit_timeout_ms` names it.)
pub const EXIT_PATIENCE_MS: u64 = 200;

/// Everything that changes under the pool's lock.
///
/// In the order of the fields: what each batch needs comes first, in few cache lines.
#[repr(C)]
#[derive(Default)]
pub struct State {
    /// How far the pipeline's life has come.
    pub life: LifeCycle,
    /// Threads that wait for a change of the state.
    pub waiters: u32,
    /// The batches and their counts.
    pub batches: Batches,
    /// The writers and their counts.
    pub writers: Writers,
    /// Whose turn the next call is.
    pub turns: Turns,
    /// Sleeping and waking.
    pub sleep: Sleep,
    /// Calls of the storage that callers wait for.
    pub flushes: Flushes,
    /// How far the storage's `finish` has come.
    pub finish: Finish,
    /// Failures of the storage, and the pauses after them.
    pub retries: Retries,
    /// The running configuration.
    pub config: Config,
    /// How the pipeline scales itself.
    pub autoscaler: Autoscaler,
    /// Rings of whose free space captures are told later.
    pub deferred_space: DeferredSpace,
    /// How far the recovery of runs that have ended has come.
    pub recovery: Recovery,
    /// Calls that did what they must not.
    pub faults: Faults,
    /// Permits for calls, where those of all pipelines are limited.
    pub permits: Permits,
    /// How long sampling has dropped nothing.
    pub sampling: Quiet,
    /// The transform that batches get, and former ones.
    pub transforms: Transforms,
    /// Who is told of the pressure.
    pub pressure: PressureWatch,
    /// From capture to acknowledgement.
    pub latency: Latency,
    /// Events per second.
    pub rates: Rates,
    /// To be logged once the lock is given back.
    pub messages: Vec<(Level, String)>,
}

impl State {
    /// Nothing has happened yet.
    pub fn new(config: Config, now_ns: u64, jitter: u64) -> Self {
        Self {
            writers: Writers::new(config.writers),
            retries: Retries::new(jitter),
            rates: Rates::new(now_ns),
            config,
            ..Self::default()
        }
    }

    /// Something that is to be logged once the lock is given back.
    pub fn report(&mut self, level: Level, message: String) {
        self.messages.push((level, message));
    }

    /// `storage_deadline_ms` in nanoseconds.
    pub fn storage_deadline_ns(&self) -> u64 {
        self.config.storage_deadline_ms.saturating_mul(1_000_000)
    }

    /// Writers that there must be: as many as asked for, and one at least to drain.
    #[inline]
    pub fn writers_wanted(&self) -> u32 {
        match self.life.stage() {
            Stage::Running | Stage::Paused => self.writers.target,
            Stage::Draining => self.writers.target.max(1),
            _ => 0,
        }
    }

    /// Whether a writer lets events gather before it claims again.
    #[inline]
    pub fn gathers(&self, writer: u32, now_ns: u64) -> bool {
        self.life.is_running() && self.writers.gathers(writer, now_ns)
    }

    /// At the exit of the process: whether every attempt has failed for so long that the exit does not wait for the rest.
    pub fn is_given_up(&self, now_ns: u64) -> bool {
        let (Some(exit), Some(failing)) = (self.life.exit, self.retries.failing_since) else {
            return false;
        };
        now_ns.saturating_sub(exit.since_ns.max(failing)) >= EXIT_PATIENCE_MS * 1_000_000
            && !self.batches.iter().any(|b| b.attempt().is_some())
    }

    /// Events of batches that wait for an attempt.
    pub fn waiting_events(&self, which: Which) -> u64 {
        let waits = |place: &Place| matches!(place, Place::Ready | Place::BackOff { .. });
        let waiting = self.batches.iter().filter(|b| waits(&b.place) && which.includes(b.priority));
        waiting.map(crate::batch::Batch::unsettled).sum()
    }
}
