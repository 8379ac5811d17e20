//! AsyncWriterPool: gives tasks to the writers, keeps the batches, and sees to it that every batch is settled, even if the writer that
//! carries it dies.
//!
//! [`state`] is everything that changes, under one lock. The lock is taken a few times per batch, never per event, and never held during a
//! call of the storage.
//!
//! The way of a batch: a `writer` asks the `scheduler` for a task. That claims a batch from the rings (`claims`, `spans`; `priority` says of which) and begins an
//! attempt; the writer calls the storage. The result comes back to `results`, an answer by token to `answers`, one that
//! asks for the next batch to `exchange`; each goes through `settle`, and the batch leaves, waits for its next attempt, or goes on to
//! the dead letter or to `release` (`release`). Before its first attempt it goes to the transform, if there is one (`transforms`).
//!
//! `writer_threads` starts and replaces the writers, `scaling` changes their number, `wake` lets them sleep. `space_waiters` wakes
//! captures that wait for space, `rules` says what becomes of offers, `pressure` tells programs how urgent that is, `sampling` ends what captures have begun because of it. The `supervisor` sees to what is late. `recovery` brings in what runs that have ended have left. `flush` and `finish` are what callers wait for, `settings`
//! what they change, [`metrics`] and [`health`] what they read; `source` is what the storage may learn. `shutdown` is how a pipeline ends. `clock` tells the time of
//! events, `clock_watch` keeps it in step.

mod answers;
mod attributes;
mod claims;
mod clock;
mod clock_watch;
mod exchange;
mod finish;
mod flush;
pub mod health;
mod kinds;
pub mod metrics;
mod pressure;
mod priority;
pub mod recovery;
mod release;
mod results;
mod ring_file;
pub mod rules;
mod sampling;
mod scaling;
mod scheduler;
mod settings;
mod settle;
pub mod shares;
mod shutdown;
mod snapshots;
mod source;
mod space_waiters;
mod spans;
pub mod state;
mod supervisor;
mod transforms;
mod trigger;
mod wake;
mod writer;
mod writer_threads;

use crate::capture::registry::{Registry, Shape};
pub use state::{breaker, faults};

use crate::batch::BatchView;
use crate::config::{Config, Ordering as EventOrdering};
use crate::event::PIPELINE_EVENT_RELEASE;
use crate::facts::Facts;
use crate::kinds::Definitions;
use crate::platform::placement::{Placement, Refusal};
use crate::platform::sync::{AtomicU32, AtomicU64, Condvar, Mutex, MutexGuard};
use crate::platform::{cancellation::Uncancelled, random, time};
use crate::ring::intake::{Evict, Intake, Overflow, Start};
use crate::ring::priority::Priority;
use crate::rules::Judge;
use crate::status::{Error, PIPELINE_ERR_CLOSED, PIPELINE_ERR_NO_MEMORY, PIPELINE_ERR_SYSTEM, Result};
use crate::storage::{Abilities, PIPELINE_STORE_RETRY, Source, Storage};
use clock::Clock;
use log::Level;
use state::State;
use state::autoscaler::PIPELINE_SCALE_NONE;
use std::cell::UnsafeCell;
use std::sync::Arc;
use trigger::Triggered;

/// A pool, its rings and its storage.
pub struct Pool {
    /// Never reused in this process.
    pub id: u64,
    /// 64 random bits: the first part of every event's identity.
    pub generation: u64,
    /// In thread names and messages.
    pub name: String,
    /// All rings and producers.
    pub rings: Arc<Registry>,
    /// `None` once the pool is torn down.
    storage: UnsafeCell<Option<Box<dyn Storage>>>,
    /// What the storage can do, asked once.
    can: Abilities,
    /// What the storage is called in metrics.
    pub storage_name: &'static str,
    /// Where the writers run, and how they are scheduled.
    placement: Placement,
    /// Tells when an event was captured.
    clock: Clock,
    /// What the storage may have to know beside the events.
    facts: Arc<Facts>,
    /// The definitions among them. Locked before anything else.
    definitions: Mutex<Definitions>,
    /// The names of the attributes among them, in the order of their numbers. Locked like the definitions.
    attributes: Mutex<Vec<Box<str>>>,
    ordered: bool,
    started_ns: u64,
    state: Mutex<State>,
    changed: Condvar,
    /// Two numbers in one word, `ring * IN_A_ROW + batches` (see [`claims::IN_A_ROW`]): the next claim begins at this ring, which has
    /// filled so many batches in a row.
    turn: AtomicU64,
    /// The same for claims of priority rings.
    priority_turn: AtomicU64,
    /// `pressure_age_ms` in nanoseconds.
    pressure_age_ns: AtomicU64,
    /// From this time on a writer that has settled something measures the pressure.
    measure_at_ns: AtomicU64,
    /// Snapshots that rules ask for.
    triggered: Mutex<Triggered>,
    /// Writers that wait to open themselves sleep on it; grows when they are to look again.
    openers: AtomicU32,
    /// The recovery's thread sleeps on it; changes when it is to look again.
    recovery_word: AtomicU32,
}

// SAFETY: `storage` is written once, by the teardown, which `Step::TearDown` gives to one thread alone, when no call runs and none can
// begin. Everything else is Send and Sync by itself.
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Pool {}

/// The function that a capture calls with each event that it overwrites: it shows the event to the storage's `release`.
fn evict(storage: &(dyn Storage + 'static), only_marked: bool, clock: Clock) -> Evict {
    struct Kept(*const (dyn Storage + 'static));
    // SAFETY: a storage is Send and Sync.
    unsafe impl Send for Kept {}
    // SAFETY: as above.
    unsafe impl Sync for Kept {}
    let kept = Kept(storage);
    Evict(Box::new(move |ring_id, tag, head, payload| {
        if only_marked && tag.flags() & PIPELINE_EVENT_RELEASE == 0 {
            return;
        }
        let kept = &kept;
        // (The thread is the host's, which may cancel it.)
        let _uncancelled = Uncancelled::begin();
        // SAFETY: a capture calls this. The teardown drops the storage only when captures are refused and none is under way
        // (`at_rest`).
        unsafe { &*kept.0 }.release(&claims::view(
            ring_id,
            tag,
            head,
            clock.at_once(tag, head.timestamp),
            payload,
        ));
    }))
}

/// Stands in for a storage that is gone, in a call that cannot happen.
struct Gone;

// SAFETY: touches nothing.
unsafe impl Storage for Gone {
    fn store(&self, _: &BatchView) -> i32 {
        PIPELINE_STORE_RETRY
    }
}

impl Pool {
    /// Starts a pool. `announce` makes it known to the process before its first thread starts: a callback may end that thread at once, and
    /// whoever handles the end must find the pool.
    pub fn start(
        mut config: Config,
        storage: Box<dyn Storage>,
        id: u64,
        alive: &'static AtomicU32,
        asymmetric: bool,
        announce: impl FnOnce(&Arc<Self>),
    ) -> Result<Arc<Self>> {
        config.validate()?;
        config.writers = config.within_bounds(config.writers);
        let mut can = storage.abilities();
        // A storage with `release` gets no spans: `release` must see the times that `store` saw, and only a batch of views keeps them.
        can.span_bytes = can.span_bytes.map(|most| most.max(1)).filter(|_| !can.release);
        let placement = config.placement();
        placement.try_on_thread()?.map_err(|Refusal { field, error }| {
            let text = format!("pipeline_config_t.{field}: refused by the system: {error}");
            Error::new(PIPELINE_ERR_SYSTEM, text)
        })?;
        let generation = random::seed();
        let counter = Clock::asks_for_counter(config.clock)?;
        let file = ring_file::make(&config, &can, generation, counter)?;
        // Deletes the file again if the start fails before the pool has it.
        let unused = ring_file::Unused(file.clone());
        let clock = Clock::new(counter, file.as_ref())?;
        let judge = Judge { sampling: sampling::sampling(&config)?, ..Judge::default() };
        let intake = Intake::new(Start {
            alive,
            asymmetric,
            in_ticks: clock.is_counter(),
            max_event_bytes: usize::try_from(config.event_limit()).unwrap_or(usize::MAX),
            pipeline_id: id,
            overflow: config.overflow,
            block_timeout_us: config.block_timeout_us,
            watermark_percent: config.watermark_percent,
            linger_events: u64::MAX,
            linger_bytes: config.ring_bytes / 4,
            judge,
            priority: Priority::new(
                config.ring_bytes,
                config.priority_bytes(),
                config.priority_event_limit(),
            ),
            evict: can.release_anywhere.then(|| evict(&*storage, can.release_marked, clock.clone())),
        });
        let rings = Registry::new(
            intake,
            Shape {
                ring_bytes: config.ring_bytes,
                priority_ring_bytes: config.priority_bytes(),
                max_rings: config.max_rings,
                max_retired_rings: config.max_retired_rings,
                max_claims: (config.max_in_flight + config.max_in_doubt) as usize,
                spill: can.release && !can.release_anywhere && config.overflow == Overflow::DropOldest,
                meta: can.meta,
                file,
            },
        )?;
        let now = time::now_ns();
        let writers = config.writers;
        let pressure_age_ns = config.pressure_age_ms.saturating_mul(1_000_000);
        let pool = Arc::new(Self {
            id,
            generation,
            name: config.name.clone(),
            rings,
            storage_name: storage.name(),
            storage: UnsafeCell::new(Some(storage)),
            can,
            placement,
            clock,
            facts: Arc::default(),
            definitions: Mutex::new(Definitions::default()),
            attributes: Mutex::new(Vec::new()),
            ordered: config.ordering == EventOrdering::PerProducer || can.ordered,
            started_ns: now,
            state: Mutex::new(State::new(config, now, random::seed())),
            changed: Condvar::default(),
            turn: AtomicU64::new(0),
            priority_turn: AtomicU64::new(0),
            pressure_age_ns: AtomicU64::new(pressure_age_ns),
            measure_at_ns: AtomicU64::new(now),
            triggered: Mutex::default(),
            openers: AtomicU32::new(0),
            recovery_word: AtomicU32::new(0),
        });
        unused.keep();
        pool.storage().attach(&(Arc::clone(&pool) as Arc<dyn Source>));
        announce(&pool);
        let mut told = None;
        pool.tell_clock(&mut told);
        let started = pool
            .start_supervisor(told)
            .and_then(|()| pool.set_writers(&mut pool.lock(), writers, PIPELINE_SCALE_NONE));
        if let Err(error) = started {
            pool.give_up_start();
            return Err(error);
        }
        Ok(pool)
    }

    /// The storage. Only called where it cannot be gone: by a writer inside a task, or by the teardown.
    fn storage(&self) -> &dyn Storage {
        // SAFETY: written by the teardown alone, which happens when no task runs and none can begin.
        unsafe { (*self.storage.get()).as_deref() }.unwrap_or(&Gone)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// What every producer reads.
    pub fn intake(&self) -> &Intake {
        &self.rings.intake
    }

    /// Wakes the callers that wait for a change.
    #[inline]
    fn notify(&self, st: &State) {
        if st.waiters > 0 {
            self.changed.notify_all();
        }
    }

    /// Gives the lock back, and logs what was reported under it.
    #[inline]
    fn unlock(&self, mut st: MutexGuard<'_, State>) {
        let messages = std::mem::take(&mut st.messages);
        drop(st);
        if !messages.is_empty() {
            self.log(messages);
        }
    }

    /// The same after a change that callers may wait for.
    #[inline]
    fn unlock_changed(&self, st: MutexGuard<'_, State>) {
        self.notify(&st);
        self.unlock(st);
    }

    #[cold]
    fn log(&self, messages: Vec<(Level, String)>) {
        for (level, message) in messages {
            log::log!(level, "pipeline {}: {message}", self.name);
        }
    }

    /// An error if the pipeline is closed, or being closed.
    pub fn check_running(&self) -> Result<()> {
        self.check_open(&self.lock())
    }

    fn check_open(&self, st: &State) -> Result<()> {
        if st.life.is_running() { Ok(()) } else { Err(self.closed(" is closed")) }
    }

    fn closed(&self, how: &str) -> Error {
        Error::new(PIPELINE_ERR_CLOSED, format!("pipeline {}{how}", self.name))
    }

    /// The error if there is no memory for the page that tells of forks.
    pub fn no_memory() -> Error {
        Error::new(PIPELINE_ERR_NO_MEMORY, "no memory for the word that tells of forks")
    }
}
