//! The part of a pipeline that its producers read: whether it lives, whether it is closed, and whether a writer is awake.

use super::copy::SHORT;
pub use super::doorbell::Doorbell;
pub(crate) use super::doorbell::slow_path;
pub use super::doorbell::state as doorbell;
use super::pressure::{Pressure, percent};
use super::priority::Priority;
use super::record::{Head, Tag};
use super::refused::Refused;
use crate::platform::park;
use crate::platform::sync::{AtomicU32, AtomicU64, Ordering};
use crate::rules::Judge;
use crossbeam_utils::CachePadded;

/// What a full ring buffer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Overflow {
    /// Drops the new event.
    DropNewest = 0,
    /// Overwrites the oldest event that is not claimed.
    DropOldest = 1,
    /// Lets the capture wait, up to a deadline.
    Block = 2,
}

impl Overflow {
    /// The policy with this number; the default for an unknown number.
    pub fn from_number(n: u32) -> Self {
        match n {
            1 => Self::DropOldest,
            2 => Self::Block,
            _ => Self::DropNewest,
        }
    }
}

/// The word that the supervisor sleeps on.
pub mod supervisor {
    /// This bit: it is to end.
    pub(crate) const END: u32 = 1;
    /// The others count calls.
    pub(crate) const CALL: u32 = 2;
}

/// A function that is shown an overwritten event: the ring's id and the record.
type Show = dyn Fn(u64, Tag, &Head, *const u8) + Send + Sync;

/// The function that a capture calls for each event that it overwrites.
pub struct Evict(pub Box<Show>);

impl std::fmt::Debug for Evict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Evict")
    }
}

/// The part of a pipeline that its producers read. Every capture reads it; it is written rarely.
///
/// The fields are in this order so that what every capture reads lies in one cache line.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Intake {
    /// 1 in the process that started the pipeline, 0 in its forked children.
    pub alive: &'static AtomicU32,
    /// The words that each capture reads.
    pub doorbell: Doorbell,
    /// The largest payload.
    pub max_event_bytes: usize,
    /// The largest payload that a capture copies without a call.
    pub short_bytes: usize,
    /// The index of the slot whose capture was the last to wake a writer.
    pub(crate) last_waker: AtomicU32,
    /// Whether `membarrier(2)` is available, so that captures need no fence.
    pub asymmetric: bool,
    /// The pipeline's id, which is never reused.
    pub pipeline_id: u64,
    /// An [`Overflow`]; read when a ring is full.
    pub overflow: AtomicU32,
    /// How long a capture may wait for space.
    pub block_timeout_us: AtomicU64,
    /// A ring that is filled beyond this percentage of its size raises the pressure.
    pub watermark_percent: AtomicU32,
    /// How urgently the pipeline needs relief.
    pub pressure: Pressure,
    /// Decides about offers.
    pub judge: Judge,
    /// The supervisor sleeps on it: see [`call_supervisor`](Self::call_supervisor).
    pub supervisor: AtomicU32,
    /// While writers linger: unclaimed events of one ring that are reason to wake one.
    pub linger_events: AtomicU64,
    /// While writers linger: unclaimed bytes of one ring that are reason to wake one.
    pub linger_bytes: AtomicU64,
    /// The priority rings.
    pub priority: Priority,
    /// Is shown each event that is overwritten, at once.
    pub evict: Option<Evict>,
    /// What was refused.
    pub refused: CachePadded<Refused>,
}

/// What a pipeline starts with.
#[derive(Debug)]
pub struct Start {
    /// See [`Intake::alive`].
    pub alive: &'static AtomicU32,
    /// See [`Intake::asymmetric`].
    pub asymmetric: bool,
    /// Whether the processor's counter stamps events.
    pub in_ticks: bool,
    /// See [`Intake::max_event_bytes`].
    pub max_event_bytes: usize,
    /// See [`Intake::pipeline_id`].
    pub pipeline_id: u64,
    /// See [`Intake::overflow`].
    pub overflow: Overflow,
    /// See [`Intake::block_timeout_us`].
    pub block_timeout_us: u64,
    /// See [`Intake::watermark_percent`].
    pub watermark_percent: u32,
    /// See [`Intake::linger_events`].
    pub linger_events: u64,
    /// See [`Intake::linger_bytes`].
    pub linger_bytes: u64,
    /// See [`Intake::judge`].
    pub judge: Judge,
    /// See [`Intake::priority`].
    pub priority: Priority,
    /// See [`Intake::evict`].
    pub evict: Option<Evict>,
}

impl Intake {
    /// An intake that is open, with a writer awake.
    pub fn new(start: Start) -> Self {
        let fenced = if start.asymmetric { 0 } else { slow_path::FENCED };
        let clock = if start.in_ticks { 0 } else { slow_path::MONOTONIC };
        Self {
            alive: start.alive,
            doorbell: Doorbell {
                slow_path: AtomicU32::new(fenced | clock),
                state: AtomicU32::new(doorbell::AWAKE),
            },
            max_event_bytes: start.max_event_bytes,
            short_bytes: start.max_event_bytes.min(SHORT),
            last_waker: AtomicU32::new(0),
            asymmetric: start.asymmetric,
            pipeline_id: start.pipeline_id,
            overflow: AtomicU32::new(start.overflow as u32),
            block_timeout_us: AtomicU64::new(start.block_timeout_us),
            watermark_percent: AtomicU32::new(start.watermark_percent),
            pressure: Pressure::default(),
            judge: start.judge,
            supervisor: AtomicU32::new(0),
            linger_events: AtomicU64::new(start.linger_events),
            linger_bytes: AtomicU64::new(start.linger_bytes),
            priority: start.priority,
            evict: start.evict,
            refused: CachePadded::default(),
        }
    }

    /// Why no capture of this pipeline will ever take the fast path.
    pub fn why_no_fast_path(&self) -> Option<&'static str> {
        let reasons = self.doorbell.slow_path.load(Ordering::Relaxed);
        if reasons & slow_path::MONOTONIC != 0 {
            Some("the monotonic clock stamps the events, not the processor's counter")
        } else {
            (reasons & slow_path::FENCED != 0)
                .then_some("each capture pays for its fences, as there is no membarrier")
        }
    }

    /// Returns whether new events are refused. This load is not ordered with [`close`](Self::close); a caller that needs an order adds a
    /// fence.
    #[inline(always)]
    pub fn is_closed(&self) -> bool {
        self.doorbell.slow_path.load(Ordering::Relaxed) & slow_path::CLOSED != 0
    }

    /// From here on new events are refused.
    pub fn close(&self) {
        self.doorbell.slow_path.fetch_or(slow_path::CLOSED, Ordering::SeqCst);
    }

    /// Whether the processor's counter stamps events.
    #[inline(always)]
    pub fn in_ticks(&self) -> bool {
        self.doorbell.slow_path.load(Ordering::Relaxed) & slow_path::MONOTONIC == 0
    }

    /// The monotonic clock stamps events from here on.
    pub fn distrust_ticks(&self) {
        self.doorbell.slow_path.fetch_or(slow_path::MONOTONIC, Ordering::Relaxed);
    }

    /// Whether this is a child of the process that started the pipeline.
    #[inline(always)]
    pub fn forked(&self) -> bool {
        self.alive.load(Ordering::Relaxed) == 0
    }

    /// Rings the doorbell after a publication in the slot with this index: wakes a writer if all sleep. If they linger, it wakes one only
    /// if enough has `gathered` in the slot (events and bytes).
    pub(crate) fn ring(&self, slot: u32, gathered: impl Fn() -> (u64, u64)) {
        let enough = || {
            let (events, bytes) = gathered();
            events >= self.linger_events.load(Ordering::Relaxed)
                || bytes >= self.linger_bytes.load(Ordering::Relaxed)
        };
        let mut seen = self.doorbell.state.load(Ordering::Relaxed);
        loop {
            match seen & doorbell::MASK {
                doorbell::AWAKE => return,
                doorbell::LINGERING if !enough() => return,
                _ => {}
            }
            // A hint for the writer that wakes up.
            self.last_waker.store(slot, Ordering::Relaxed);
            let open = (seen & !doorbell::MASK).wrapping_add(doorbell::STEP);
            match self.doorbell.state.compare_exchange(seen, open, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return park::wake(&self.doorbell.state, 1),
                Err(now) => seen = now,
            }
        }
    }

    /// Has the supervisor look at once. A capture may call it, also in a signal handler.
    pub fn call_supervisor(&self) {
        self.supervisor.fetch_add(supervisor::CALL, Ordering::Release);
        park::wake(&self.supervisor, 1);
    }

    /// A ring with this `capacity` is filled up to `used` bytes: raises the pressure if that is beyond the watermark.
    pub(crate) fn note_fill(&self, used: u64, capacity: u64) {
        if used > self.watermark(capacity) && self.pressure.raise(percent(used, capacity)) {
            self.call_supervisor();
        }
    }

    /// A ring with this `capacity` would be filled up to `used` bytes, beyond the watermark: begins to sample, or samples more, if that is allowed.
    pub(crate) fn sample_more(&self, used: u64, capacity: u64) {
        self.judge.sampling.raise(used, self.watermark(capacity), capacity);
        let before = self.doorbell.slow_path.fetch_or(slow_path::SAMPLING, Ordering::Relaxed);
        if before & slow_path::SAMPLING == 0 {
            self.call_supervisor();
        }
    }

    /// Samples no more, unless a capture has asked for it since.
    pub(crate) fn end_sampling(&self) {
        self.doorbell.slow_path.fetch_and(!slow_path::SAMPLING, Ordering::SeqCst);
        self.judge.sampling.end();
        if self.judge.sampling.weight() > 1 {
            self.doorbell.slow_path.fetch_or(slow_path::SAMPLING, Ordering::SeqCst);
        }
    }

    /// How many bytes of a ring with this capacity may be in use before the pressure is raised.
    pub(crate) fn watermark(&self, capacity: u64) -> u64 {
        capacity / 100 * u64::from(self.watermark_percent.load(Ordering::Relaxed))
    }

    /// Wakes at most so many writers, for another reason than a capture.
    pub fn wake(&self, writers: u32) {
        let _ = self.doorbell.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |seen| {
            Some((seen & !doorbell::MASK).wrapping_add(doorbell::STEP))
        });
        park::wake(&self.doorbell.state, writers);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A word of its own for each test. It is never freed, so it outlives every reader.
    fn alive() -> &'static AtomicU32 {
        static KEPT: std::sync::Mutex<Vec<&'static AtomicU32>> = std::sync::Mutex::new(Vec::new());
        let word: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(1)));
        KEPT.lock().expect("no test panics with it in its hands").push(word);
        word
    }

    /// The intake of a pipeline that was not started: alive, open, a writer awake.
    pub(crate) fn intake(overflow: Overflow) -> Intake {
        Intake::new(Start {
            alive: alive(),
            asymmetric: false,
            in_ticks: false,
            max_event_bytes: 1024,
            pipeline_id: 1,
            overflow,
            block_timeout_us: 3_600_000_000,
            watermark_percent: 75,
            linger_events: 4,
            linger_bytes: 100,
            judge: Judge::default(),
            priority: Priority::new(4096, 4096, Some(960)),
            evict: None,
        })
    }

    /// The same where captures may take the fast path.
    pub(crate) fn fast_intake(overflow: Overflow) -> Intake {
        let intake = intake(overflow);
        intake.doorbell.slow_path.store(0, Ordering::Relaxed);
        intake
    }

    /// The doorbell's state after it was rung in this state, with so much gathered, and whether that was asked for.
    fn after(state: u32, gathered: (u64, u64)) -> (u32, bool) {
        let intake = intake(Overflow::DropNewest);
        intake.doorbell.state.store(5 * doorbell::STEP + state, Ordering::Relaxed);
        let asked = std::cell::Cell::new(false);
        assert_eq!(intake.doorbell.may_need_ring(), state != doorbell::AWAKE);
        intake.ring(7, || {
            asked.set(true);
            gathered
        });
        let now = intake.doorbell.state.load(Ordering::Relaxed);
        assert_eq!(intake.last_waker.load(Ordering::Relaxed), if now == OPENED { 7 } else { 0 });
        (now, asked.get())
    }

    const OPENED: u32 = 6 * doorbell::STEP + doorbell::AWAKE;

    #[test]
    fn the_doorbell_wakes_sleepers_and_does_nothing_where_a_writer_is_awake() {
        assert_eq!(after(doorbell::ASLEEP, (0, 0)), (OPENED, false));
        assert_eq!(after(doorbell::AWAKE, (1000, 1000)), (5 * doorbell::STEP, false));
    }

    #[test]
    fn while_writers_linger_enough_events_or_enough_bytes_wake_one() {
        let lingering = 5 * doorbell::STEP + doorbell::LINGERING;
        for (gathered, then) in [
            ((0, 0), lingering),
            ((3, 99), lingering),
            ((4, 0), OPENED),
            ((5, 0), OPENED),
            ((0, 100), OPENED),
            ((0, 101), OPENED),
        ] {
            assert_eq!(after(doorbell::LINGERING, gathered).0, then, "{gathered:?}");
        }
    }

    #[test]
    fn a_wake_is_noticed_by_a_writer_that_goes_to_sleep() {
        for state in [doorbell::AWAKE, doorbell::ASLEEP, doorbell::LINGERING] {
            let intake = intake(Overflow::DropNewest);
            intake.doorbell.state.store(5 * doorbell::STEP + state, Ordering::Relaxed);
            intake.wake(1);
            assert_eq!(intake.doorbell.state.load(Ordering::Relaxed), OPENED);
        }
    }

    #[test]
    fn an_overflow_policy_has_its_number() {
        for policy in [Overflow::DropNewest, Overflow::DropOldest, Overflow::Block] {
            assert_eq!(Overflow::from_number(policy as u32), policy);
        }
        assert_eq!(Overflow::from_number(3), Overflow::DropNewest);
    }
}
