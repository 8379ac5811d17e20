//! AsyncWriterPool: hands work to the writers, keeps the batches, draws up the ledger, and sees to it that every batch is
//! settled whatever becomes of the writer that carried it.
//!
//! [`state`] is all that changes, under one lock, taken a few times per batch and never per event, and never held during
//! a call of the storage. [`crew`] hires and replaces the writers, [`scaler`] decides how many there should be. At the
//! [`desk`] a writer asks for work and brings back what the storage answered: [`tasks`] decides what one does next, [`due`]
//! which batch goes next and [`breaker`] whether one may, [`claims`] fills batches from the rings, [`clock`] tells the time of what lies there, [`settle`] what an
//! answer means, [`exchange`] how whoever answers gets the next batch in return, [`release`] what the storage is shown of events that leave. [`faults`] is what is remembered of calls that
//! gave no answer, [`sleep`] how writers sleep and wake and [`nap`] for how long some of them do, [`space`] when captures that wait for space do, [`supervisor`] what happens when time passes and nothing else does,
//! [`waits`] how callers wait (flush, drain), [`figures`] and [`health`] what can be read.

pub mod breaker;
pub mod claims;
pub mod clock;
pub mod crew;
pub mod desk;
pub mod due;
pub mod exchange;
pub mod faults;
pub mod figures;
pub mod health;
pub mod nap;
pub mod release;
pub mod scaler;
pub mod settle;
pub mod sleep;
pub mod space;
pub mod state;
pub mod supervisor;
pub mod tasks;
pub mod waits;

use crate::config::{Config, Ordering as EventOrdering};
use crate::event::PIPELINE_EVENT_RELEASE;
use crate::platform::placement::Placement;
use crate::platform::sync::{AtomicU32, AtomicU64, Condvar, Mutex, MutexGuard, Ordering};
use crate::platform::{random, thread, time};
use crate::ring::front::{Evict, Front, Overflow, Start};
use crate::ring::rings::{Rings, Shape};
use crate::status::{
    Error, PIPELINE_ERR_CLOSED, PIPELINE_ERR_FIXED, PIPELINE_ERR_NO_MEMORY, PIPELINE_ERR_SYSTEM, Result,
};
use crate::storage::Storage;
use clock::Clock;
use state::{Life, State, Teardown};
use std::cell::UnsafeCell;
use std::sync::Arc;
use std::time::Duration;

/// A pool, its rings and its storage.
pub struct Pool {
    /// Never reused in this process.
    pub id: u64,
    /// 64 random bits: the first part of every event's identity.
    pub generation: u64,
    /// In thread names and messages.
    pub name: String,
    /// All rings and producers.
    pub rings: Arc<Rings>,
    /// Gone once the pool is torn down.
    storage: UnsafeCell<Option<Box<dyn Storage>>>,
    /// What the storage can do, asked once.
    can: Abilities,
    /// Where the writers run, and how they are scheduled.
    placement: Placement,
    /// What time it was when an event was captured.
    clock: Clock,
    ordered: bool,
    started_ns: u64,
    state: Mutex<State>,
    changed: Condvar,
    /// Where the next claim begins its round over the rings, times [`claims::IN_A_ROW`], and how many that ring has filled in a row.
    turn: AtomicU64,
    /// The supervisor sleeps on it; counts calls to look again; its lowest bit: it shall end.
    supervisor: AtomicU32,
    /// Writers that wait to open themselves sleep on it; counts reasons to look again.
    openers: AtomicU32,
}

#[derive(Clone, Copy, Debug)]
struct Abilities {
    concurrent: bool,
    dead_letter: bool,
    release: bool,
    release_anywhere: bool,
    release_marked: bool,
    flush: bool,
}

// SAFETY: `storage` is written once, by the teardown, which the state's lock gives to exactly one thread when no call
// runs and none can begin; everything else is Send and Sync by itself.
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Pool {}

/// Shows an overwritten event to the storage's `release`.
fn evict(storage: &(dyn Storage + 'static), clock: Clock) -> Evict {
    struct Kept(*const (dyn Storage + 'static));
    // SAFETY: a storage is Send and Sync.
    unsafe impl Send for Kept {}
    // SAFETY: as above.
    unsafe impl Sync for Kept {}
    let kept = Kept(storage);
    let only_marked = storage.releases_marked();
    Evict(Box::new(move |ring_id, tag, head, payload| {
        if only_marked && tag.flags() & PIPELINE_EVENT_RELEASE == 0 {
            return;
        }
        let kept = &kept;
        // SAFETY: a capture calls this. The storage is dropped by the teardown, which comes when captures are refused and none
        // is under way: `destroy` makes sure of that, and `abandon`'s caller has promised it (`releases_anywhere`).
        unsafe { &*kept.0 }.release(&claims::view(
            ring_id,
            tag,
            head,
            clock.at_once(tag, head.timestamp),
            payload,
        ));
    }))
}

/// Whether the system allows writers what the configuration asks for.
fn rehearse(placement: &Placement) -> Result<()> {
    placement.rehearse()?.map_err(|refusal| {
        Error::new(
            PIPELINE_ERR_SYSTEM,
            format!("pipeline_config_t.{}: refused by the system: {}", refusal.field, refusal.error),
        )
    })
}

impl Pool {
    /// A pool that runs. `announce` is called before its first thread starts: whoever is to hear of threads that end must know of it
    /// by then, since a callback may end the first writer at once.
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
        let can = Abilities {
            concurrent: storage.concurrent(),
            dead_letter: storage.has_dead_letter(),
            release: storage.has_release(),
            release_anywhere: storage.has_release() && storage.releases_anywhere(),
            release_marked: storage.releases_marked(),
            flush: storage.has_flush(),
        };
        let placement = config.placement()?;
        rehearse(&placement)?;
        let clock = Clock::choose(config.clock)?;
        let front = Front::new(Start {
            alive,
            asymmetric,
            in_ticks: clock.is_counter(),
            max_event_bytes: usize::try_from(config.event_limit()).unwrap_or(usize::MAX),
            pipeline_id: id,
            overflow: config.overflow,
            block_timeout_us: config.block_timeout_us,
            linger_events: u64::MAX,
            linger_bytes: config.ring_bytes / 4,
            evict: can.release_anywhere.then(|| evict(&*storage, clock.clone())),
        });
        let rings = Rings::new(
            front,
            Shape {
                ring_bytes: config.ring_bytes,
                max_rings: config.max_rings,
                max_retired_rings: config.max_retired_rings,
                max_claims: (config.max_in_flight + config.max_in_doubt) as usize,
                spill: can.release && !can.release_anywhere && config.overflow == Overflow::DropOldest,
                meta: storage.wants_meta(),
            },
        )?;
        let now = time::now_ns();
        let writers = config.writers;
        let pool = Arc::new(Self {
            id,
            generation: random::seed(),
            name: config.name.clone(),
            rings,
            storage: UnsafeCell::new(Some(storage)),
            can,
            placement,
            clock,
            ordered: config.ordering == EventOrdering::PerProducer,
            started_ns: now,
            state: Mutex::new(State::new(config, now, random::seed())),
            changed: Condvar::default(),
            turn: AtomicU64::new(0),
            supervisor: AtomicU32::new(0),
            openers: AtomicU32::new(0),
        });
        announce(&pool);
        let mut told = None;
        pool.tell_clock(&mut told);
        let started = pool.start_supervisor(told).and_then(|()| pool.man(writers));
        if let Err(error) = started {
            pool.abandon();
            return Err(error);
        }
        Ok(pool)
    }

    /// The storage. Only called where it cannot be gone: by a writer inside a task, or by the teardown.
    fn storage_ref(&self) -> Option<&dyn Storage> {
        // SAFETY: written by the teardown alone, which happens when no task runs and none can begin.
        unsafe { (*self.storage.get()).as_deref() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// What every producer reads.
    pub fn front(&self) -> &Front {
        &self.rings.front
    }

    /// Lets those who wait for a change look again.
    fn notify(&self, st: &State) {
        if st.waiters > 0 {
            self.changed.notify_all();
        }
    }

    /// An error if the pipeline is closed, or being closed.
    pub fn check_running(&self) -> Result<()> {
        Self::running(&self.lock(), &self.name)
    }

    fn running(st: &State, name: &str) -> Result<()> {
        if st.life == Life::Running {
            return Ok(());
        }
        Err(Error::new(PIPELINE_ERR_CLOSED, format!("pipeline {name} is closed")))
    }

    // ---- settings ----

    /// The running configuration.
    pub fn config(&self) -> Config {
        self.lock().config.clone()
    }

    /// Changes the configuration: all of it or nothing.
    pub fn update(self: &Arc<Self>, next: Config) -> Result<()> {
        next.validate()?;
        let (news, decision) = {
            let mut st = self.lock();
            Self::running(&st, &self.name)?;
            st.config.check_update(&next)?;
            if next.overflow == Overflow::DropOldest
                && st.config.overflow != Overflow::DropOldest
                && self.can.release
                && !self.can.release_anywhere
                && !self.rings.keeps_overwritten()
            {
                return Err(Error::new(
                    PIPELINE_ERR_FIXED,
                    "pipeline_config_t.overflow: cannot become PIPELINE_OVERFLOW_DROP_OLDEST (1) while the storage \
                     has a release",
                ));
            }
            // While the pipeline scales itself, it goes on from where it is.
            let goes_on = st.config.autoscales() && next.autoscales();
            let from = st.target;
            let to = next.within_bounds(if goes_on { from } else { next.writers });
            // Under one lock with the rest: nobody ever reads half of an update, nor does one of two at once leave its half.
            if to != from {
                if let Err(error) = self.set_crew(&mut st, to, scaler::PIPELINE_SCALE_NONE) {
                    let _ = self.set_crew(&mut st, from, scaler::PIPELINE_SCALE_NONE);
                    drop(st);
                    self.call_all();
                    return Err(error);
                }
                let reason =
                    if goes_on { scaler::PIPELINE_SCALE_BOUNDS } else { scaler::PIPELINE_SCALE_CALLER };
                st.scaler.note(scaler::Decision { from, to, reason }, time::now_ns());
            }
            let bounds = |c: &Config| (c.min_writers, c.max_writers);
            if !goes_on || bounds(&next) != bounds(&st.config) {
                st.scaler.restart();
            }
            let front = self.front();
            front.overflow.store(next.overflow as u32, Ordering::Relaxed);
            front.block_timeout_us.store(next.block_timeout_us, Ordering::Relaxed);
            st.config = Config { writers: to, ..next };
            self.update_breaker(&mut st);
            (std::mem::take(&mut st.news), (to != from).then_some((from, to)))
        };
        self.tell(news);
        self.call_all();
        self.call_supervisor();
        if let Some((from, to)) = decision {
            log::info!("pipeline {}: updated from {from} to {to} writers", self.name);
        }
        Ok(())
    }

    /// Stops claiming, or goes on.
    pub fn set_paused(&self, paused: bool) -> Result<()> {
        let mut st = self.lock();
        Self::running(&st, &self.name)?;
        st.paused = paused;
        drop(st);
        self.front().call(u32::MAX);
        Ok(())
    }

    // ---- the end ----

    /// The error of a pipeline without memory for its first page.
    pub fn no_memory() -> Error {
        Error::new(PIPELINE_ERR_NO_MEMORY, "no memory for the word that tells of forks")
    }

    /// No further task for anyone; writers end after the call that they are in.
    pub fn stop(&self) {
        let mut st = self.lock();
        st.life = Life::Stopped;
        for w in &mut st.writers {
            w.leaving = true;
        }
        self.notify(&st);
        drop(st);
        self.call_all();
    }

    /// The process ends: drains, and when the time is over writers that have not ended yet make no further call at all.
    pub fn close_for_exit(self: &Arc<Self>, timeout: Duration) {
        self.lock().at_exit = true;
        let _ = self.close(Some(timeout));
        self.lock().exiting = true;
        self.stop();
    }

    /// Whether nothing of the library runs in the storage, or will, until it is torn down.
    fn at_rest(st: &State) -> bool {
        st.life == Life::Stopped && st.writers.is_empty() && st.calls + st.claiming + st.pending == 0
    }

    /// Tears down if everything is at rest; answers whether it is.
    pub fn tear_down_if_at_rest(&self) -> bool {
        let mut st = self.lock();
        if !Self::at_rest(&st) {
            return false;
        }
        match st.teardown {
            Teardown::Done => return true,
            Teardown::Running => return false,
            Teardown::NotYet => st.teardown = Teardown::Running,
        }
        let slots: Vec<usize> = (0..st.batches.len()).collect();
        drop(st);
        self.end_supervisor();
        // What the storage's functions call back from here on is told that it would wait for itself.
        let worked_for = thread::works_for();
        thread::set_works_for(self.id);
        self.release_what_is_left(&slots);
        // SAFETY: `Teardown::Running` gave this to one thread; no writer is left and none can start, as life is Stopped.
        drop(unsafe { (*self.storage.get()).take() });
        thread::set_works_for(worked_for);
        self.lock().teardown = Teardown::Done;
        true
    }

    /// Whether the calling thread is tearing it down.
    pub fn is_torn_down_here(&self) -> bool {
        thread::works_for() == self.id && self.lock().teardown == Teardown::Running
    }

    /// No new events. Captures that were let in before are published on return, so that the teardown finds them: that takes less
    /// than a microsecond, unless their thread is not running; it is waited for within a bound.
    fn shut(&self) {
        const GRACE_NS: u64 = 100_000_000;
        let began = time::now_ns();
        self.rings.shut(|| time::now_ns().saturating_sub(began) < GRACE_NS);
    }

    /// Lets go: whoever is last tears down.
    pub fn abandon(&self) {
        self.shut();
        self.stop();
        self.lock().abandoned = true;
        self.last_one_out();
    }

    /// After anything that may have been the last to run.
    fn last_one_out(&self) {
        if self.lock().abandoned {
            self.tear_down_if_at_rest();
        }
    }
}
