//! What a producer sees of its pipeline: whether it lives, whether it is closed, and whether anybody is awake.

use super::copy::SHORT;
use super::record::{Head, Tag};
use crate::platform::sync::{AtomicU32, AtomicU64, Ordering, Padded};
use crate::platform::{barrier, park};

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
    /// From its number; the default for any other.
    pub fn from_number(n: u32) -> Self {
        match n {
            1 => Self::DropOldest,
            2 => Self::Block,
            _ => Self::DropNewest,
        }
    }
}

/// The low bits of the gate: what a capture must do about the writers.
pub mod gate {
    /// Somebody is awake: nothing.
    pub(crate) const OPEN: u32 = 0;
    /// Everybody sleeps: wake one.
    pub(crate) const ASLEEP: u32 = 1;
    /// Everybody sleeps so that a batch can fill: wake one if enough has gathered.
    pub(crate) const LINGERING: u32 = 2;
    /// The bits of the state; the rest counts changes, so that a sleeper notices each.
    pub(crate) const STATE: u32 = 3;
    /// One change.
    pub(crate) const STEP: u32 = 4;
}

/// Why a capture may not go the shortest way: bits of one word, so that it takes one look to see that there is nothing.
pub mod unusual {
    /// No new events.
    pub(crate) const CLOSED: u32 = 1;
    /// The monotonic clock stamps events, not the processor's counter.
    pub(crate) const MONOTONIC: u32 = 2;
    /// Each capture pays for its fences.
    pub(crate) const FENCED: u32 = 4;
}

/// Offers refused; counted by whoever refuses, so by read-modify-write.
#[derive(Debug, Default)]
pub struct Refused {
    /// Larger than `max_event_bytes`.
    pub too_large: AtomicU64,
    /// The pipeline was closed.
    pub closed: AtomicU64,
    /// An argument was invalid.
    pub invalid: AtomicU64,
    /// The ring was in use.
    pub busy: AtomicU64,
    /// There was no ring.
    pub no_ring: AtomicU64,
}

/// Is shown an overwritten event: the ring's id and the record.
type Show = dyn Fn(u64, Tag, &Head, *const u8) + Send + Sync;

/// What is called for an overwritten event by the capture that overwrites it.
pub struct Evict(pub Box<Show>);

impl std::fmt::Debug for Evict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Evict")
    }
}

/// Whoever publishes events, and may have to wake a writer for that.
pub(super) trait Knocks {
    /// What has gathered in its ring: events, bytes.
    fn gathered(&self) -> (u64, u64);
    /// Where its ring is among the others.
    fn place(&self) -> u32;
}

/// What each capture looks at, before and after. For C, where it is a part of `pipeline_fast_t`.
#[derive(Debug)]
#[repr(C)]
pub struct Signs {
    /// Not 0: there is something out of the ordinary, and the calls know what.
    pub(super) unusual: AtomicU32,
    /// Not 0 in the lowest two bits: writers may have to be woken.
    pub gate: AtomicU32,
}

impl Signs {
    /// Whether a capture may go the shortest way: open, stamped by the counter, without fences.
    #[inline(always)]
    pub(super) fn are_usual(&self) -> bool {
        self.unusual.load(Ordering::Relaxed) == 0
    }
}

/// What a producer sees of its pipeline. Read by every capture, written rarely.
///
/// In the order of the fields: what every capture reads lies in one cache line.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Front {
    /// 1 in the process that started the pipeline, 0 in its forked children.
    pub alive: &'static AtomicU32,
    /// What may call a capture off the shortest way.
    pub signs: Signs,
    /// The largest payload.
    pub max_event_bytes: usize,
    /// The largest payload that the shortest way of a capture copies.
    pub short_bytes: usize,
    /// The ring whose capture was the last to wake a writer: its place among them.
    pub(super) knocker: AtomicU32,
    /// Whether `membarrier` is there to make captures cheap.
    pub asymmetric: bool,
    /// Which pipeline; never reused.
    pub pipeline_id: u64,
    /// An [`Overflow`]; read when a ring is full.
    pub overflow: AtomicU32,
    /// How long a capture may wait for space.
    pub block_timeout_us: AtomicU64,
    /// While writers linger: unclaimed events of one ring that are reason to wake one.
    pub linger_events: AtomicU64,
    /// While writers linger: unclaimed bytes of one ring that are reason to wake one.
    pub linger_bytes: AtomicU64,
    /// Who is told at once of events that are overwritten.
    pub evict: Option<Evict>,
    /// What was refused.
    pub refused: Padded<Refused>,
}

/// With what a pipeline starts.
#[derive(Debug)]
pub struct Start {
    /// See [`Front::alive`].
    pub alive: &'static AtomicU32,
    /// See [`Front::asymmetric`].
    pub asymmetric: bool,
    /// Whether the processor's counter stamps events.
    pub in_ticks: bool,
    /// See [`Front::max_event_bytes`].
    pub max_event_bytes: usize,
    /// See [`Front::pipeline_id`].
    pub pipeline_id: u64,
    /// See [`Front::overflow`].
    pub overflow: Overflow,
    /// See [`Front::block_timeout_us`].
    pub block_timeout_us: u64,
    /// See [`Front::linger_events`].
    pub linger_events: u64,
    /// See [`Front::linger_bytes`].
    pub linger_bytes: u64,
    /// See [`Front::evict`].
    pub evict: Option<Evict>,
}

impl Front {
    /// Open, and somebody awake.
    pub fn new(start: Start) -> Self {
        let fenced = if start.asymmetric { 0 } else { unusual::FENCED };
        let clock = if start.in_ticks { 0 } else { unusual::MONOTONIC };
        Self {
            alive: start.alive,
            signs: Signs { unusual: AtomicU32::new(fenced | clock), gate: AtomicU32::new(gate::OPEN) },
            max_event_bytes: start.max_event_bytes,
            short_bytes: start.max_event_bytes.min(SHORT),
            knocker: AtomicU32::new(0),
            asymmetric: start.asymmetric,
            pipeline_id: start.pipeline_id,
            overflow: AtomicU32::new(start.overflow as u32),
            block_timeout_us: AtomicU64::new(start.block_timeout_us),
            linger_events: AtomicU64::new(start.linger_events),
            linger_bytes: AtomicU64::new(start.linger_bytes),
            evict: start.evict,
            refused: Padded::default(),
        }
    }

    /// Whether a capture may go the shortest way, as far as is known now.
    pub fn is_usual(&self) -> bool {
        self.signs.are_usual()
    }

    /// Why no capture of this pipeline will ever go the shortest way.
    pub fn why_unusual(&self) -> Option<&'static str> {
        let unusual = self.signs.unusual.load(Ordering::Relaxed);
        if unusual & unusual::MONOTONIC != 0 {
            Some("the monotonic clock stamps the events, not the processor's counter")
        } else {
            (unusual & unusual::FENCED != 0)
                .then_some("each capture pays for its fences, as there is no membarrier")
        }
    }

    /// Whether there are to be no new events. The look at it and [`close`](Self::close) are ordered by whoever needs that.
    #[inline(always)]
    pub fn is_closed(&self) -> bool {
        self.signs.unusual.load(Ordering::Relaxed) & unusual::CLOSED != 0
    }

    /// No new events from here on.
    pub fn close(&self) {
        self.signs.unusual.fetch_or(unusual::CLOSED, Ordering::SeqCst);
    }

    /// Whether the processor's counter stamps events.
    #[inline(always)]
    pub fn in_ticks(&self) -> bool {
        self.signs.unusual.load(Ordering::Relaxed) & unusual::MONOTONIC == 0
    }

    /// The monotonic clock stamps events from here on.
    pub fn distrust_ticks(&self) {
        self.signs.unusual.fetch_or(unusual::MONOTONIC, Ordering::Relaxed);
    }

    /// Whether this is a child of the process that started the pipeline.
    #[inline(always)]
    pub fn forked(&self) -> bool {
        self.alive.load(Ordering::Relaxed) == 0
    }

    /// After a publication: wakes a writer if all are asleep.
    #[inline(always)]
    pub(super) fn published(&self, by: &impl Knocks) {
        barrier::light(self.asymmetric);
        let gate = self.signs.gate.load(Ordering::Relaxed);
        if gate & gate::STATE != gate::OPEN {
            self.knock(gate, by);
        }
    }

    #[cold]
    fn knock(&self, mut seen: u32, by: &impl Knocks) {
        let enough = || {
            let (events, bytes) = by.gathered();
            events >= self.linger_events.load(Ordering::Relaxed)
                || bytes >= self.linger_bytes.load(Ordering::Relaxed)
        };
        loop {
            match seen & gate::STATE {
                gate::OPEN => return,
                gate::LINGERING if !enough() => return,
                _ => {}
            }
            // A hint, for whoever is woken by this.
            self.knocker.store(by.place(), Ordering::Relaxed);
            let open = (seen & !gate::STATE).wrapping_add(gate::STEP);
            match self.signs.gate.compare_exchange(seen, open, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return park::wake(&self.signs.gate, 1),
                Err(now) => seen = now,
            }
        }
    }

    /// Something else than a capture needs `writers` of them: opens the gate and wakes that many.
    pub fn call(&self, writers: u32) {
        let _ = self.signs.gate.fetch_update(Ordering::AcqRel, Ordering::Acquire, |seen| {
            Some((seen & !gate::STATE).wrapping_add(gate::STEP))
        });
        park::wake(&self.signs.gate, writers);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A word of its own for each, kept for good: it outlives whoever reads it.
    fn alive() -> &'static AtomicU32 {
        static KEPT: std::sync::Mutex<Vec<&'static AtomicU32>> = std::sync::Mutex::new(Vec::new());
        let word: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(1)));
        KEPT.lock().expect("no test panics with it in its hands").push(word);
        word
    }

    /// What the producers of a pipeline see that nobody has started: alive, open, somebody awake.
    pub(in crate::ring) fn front(overflow: Overflow) -> Front {
        Front::new(Start {
            alive: alive(),
            asymmetric: false,
            in_ticks: false,
            max_event_bytes: 1024,
            pipeline_id: 1,
            overflow,
            block_timeout_us: 3_600_000_000,
            linger_events: 4,
            linger_bytes: 100,
            evict: None,
        })
    }

    /// The same where captures go the shortest way.
    pub(in crate::ring) fn usual_front(overflow: Overflow) -> Front {
        let front = front(overflow);
        front.signs.unusual.store(0, Ordering::Relaxed);
        front
    }

    struct Gathered((u64, u64), std::cell::Cell<bool>);

    impl Knocks for Gathered {
        fn gathered(&self) -> (u64, u64) {
            self.1.set(true);
            self.0
        }

        fn place(&self) -> u32 {
            7
        }
    }

    /// The gate after a publication that finds it in this state, with so much gathered, and whether anybody asked for that.
    fn after(state: u32, gathered: (u64, u64)) -> (u32, bool) {
        let front = front(Overflow::DropNewest);
        front.signs.gate.store(5 * gate::STEP + state, Ordering::Relaxed);
        let by = Gathered(gathered, std::cell::Cell::new(false));
        front.published(&by);
        let gate = front.signs.gate.load(Ordering::Relaxed);
        let knocker = if gate == OPENED { 7 } else { 0 };
        assert_eq!(front.knocker.load(Ordering::Relaxed), knocker);
        (gate, by.1.get())
    }

    const OPENED: u32 = 6 * gate::STEP + gate::OPEN;

    #[test]
    fn a_publication_opens_the_gate_of_sleepers_and_looks_no_further_where_it_is_open() {
        assert_eq!(after(gate::ASLEEP, (0, 0)), (OPENED, false));
        assert_eq!(after(gate::OPEN, (1000, 1000)), (5 * gate::STEP, false));
    }

    #[test]
    fn while_writers_linger_enough_events_or_enough_bytes_open_the_gate() {
        let lingering = 5 * gate::STEP + gate::LINGERING;
        for (gathered, gate) in [
            ((0, 0), lingering),
            ((3, 99), lingering),
            ((4, 0), OPENED),
            ((5, 0), OPENED),
            ((0, 100), OPENED),
            ((0, 101), OPENED),
        ] {
            assert_eq!(after(gate::LINGERING, gathered).0, gate, "{gathered:?}");
        }
    }

    #[test]
    fn a_call_opens_the_gate_and_is_noticed_by_whoever_goes_to_sleep() {
        for state in [gate::OPEN, gate::ASLEEP, gate::LINGERING] {
            let front = front(Overflow::DropNewest);
            front.signs.gate.store(5 * gate::STEP + state, Ordering::Relaxed);
            front.call(1);
            assert_eq!(front.signs.gate.load(Ordering::Relaxed), OPENED);
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
