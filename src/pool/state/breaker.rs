//! The circuit breaker: whether batches may be given to `store` at all.
//!
//! While the circuit is closed, they may. Enough failed attempts in a row, over all batches and with nothing acknowledged in between, open
//! it. Then one batch at a time is a probe, after a pause that doubles from one probe to the next. The circuit is half-open while a probe
//! is out. The storage closes it by keeping or rejecting an event: a storage that decides is not dead.
//!
//! A pure state machine: its callers give it the time and the jitter, and it knows batches by their ids only. `retry_queue` decides which
//! batch is the probe.

/// `pipeline_metrics_t.circuit`: the storage is given every batch.
pub const PIPELINE_CIRCUIT_CLOSED: u32 = 0;
/// `pipeline_metrics_t.circuit`: the storage is given no batch until the next probe is due.
pub const PIPELINE_CIRCUIT_OPEN: u32 = 1;
/// `pipeline_metrics_t.circuit`: one batch is with the storage, as a probe.
pub const PIPELINE_CIRCUIT_HALF_OPEN: u32 = 2;

/// The shortest pause before the first probe, unless the longest is shorter: a `retry_initial_us` of 0 is no reason to hammer.
const FIRST_PAUSE_NS: u64 = 1_000_000;

/// Whether batches go to the storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Circuit {
    /// Every batch does.
    #[default]
    Closed = PIPELINE_CIRCUIT_CLOSED,
    /// Not before the next probe is due.
    Open = PIPELINE_CIRCUIT_OPEN,
    /// One batch does: the probe.
    HalfOpen = PIPELINE_CIRCUIT_HALF_OPEN,
}

/// What the configuration says of it.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Failures in a row that open the circuit; 0: none do.
    pub failures: u32,
    /// The longest pause before a probe.
    pub longest_ns: u64,
}

/// The state of the circuit, and what is counted of it.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    circuit: Circuit,
    /// Failed attempts since something was acknowledged.
    pub in_a_row: u64,
    pause_ns: u64,
    due_ns: u64,
    probe: u64,
    probe_since_ns: u64,
    opened_ns: u64,
    /// How often it was opened.
    pub openings: u64,
    /// The probes that were made.
    pub probes: u64,
}

impl Breaker {
    /// Where it stands, as C sees it.
    pub fn number(&self) -> u32 {
        self.circuit as u32
    }

    /// Whether every batch may be given to `store`.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.circuit == Circuit::Closed
    }

    /// Whether a batch may be given to `store` now.
    pub fn allows(&self, now_ns: u64) -> bool {
        match self.circuit {
            Circuit::Closed => true,
            Circuit::Open => now_ns >= self.due_ns,
            Circuit::HalfOpen => false,
        }
    }

    /// When the next probe is due; `None` while that is not a matter of time.
    pub fn probe_due(&self) -> Option<u64> {
        (self.circuit == Circuit::Open).then_some(self.due_ns)
    }

    /// The batch that is out as a probe, and since when.
    pub fn probe(&self) -> Option<(u64, u64)> {
        (self.circuit == Circuit::HalfOpen).then_some((self.probe, self.probe_since_ns))
    }

    /// A batch is given to `store`; only where [`allows`](Self::allows) said so.
    pub fn begin(&mut self, batch: u64, now_ns: u64) {
        if self.circuit == Circuit::Open {
            self.circuit = Circuit::HalfOpen;
            (self.probe, self.probe_since_ns) = (batch, now_ns);
            self.probes += 1;
        }
    }

    /// An attempt has failed. `wait_ns` is what its batch would wait by itself: the first pause is no shorter. Answers whether
    /// this has opened the circuit. While it is not closed only the probe's failure changes anything: the others began before.
    pub fn failed(&mut self, batch: u64, wait_ns: u64, now_ns: u64, pace: Pace, jitter: u64) -> bool {
        self.in_a_row += 1;
        match self.circuit {
            Circuit::Closed if pace.failures != 0 && self.in_a_row >= u64::from(pace.failures) => {
                self.openings += 1;
                self.opened_ns = now_ns;
                self.pause(wait_ns.max(FIRST_PAUSE_NS), now_ns, pace, jitter);
                true
            }
            Circuit::HalfOpen if batch == self.probe => {
                self.pause(self.pause_ns.saturating_mul(2), now_ns, pace, jitter);
                false
            }
            _ => false,
        }
    }

    /// The storage has kept or rejected something. Answers for how long the circuit was open, if this has closed it.
    pub fn acknowledged(&mut self, now_ns: u64) -> Option<u64> {
        self.in_a_row = 0;
        self.close(now_ns)
    }

    /// Closes the circuit, whatever the storage does. Answers for how long it was open.
    pub fn close(&mut self, now_ns: u64) -> Option<u64> {
        if self.is_closed() {
            return None;
        }
        self.circuit = Circuit::Closed;
        Some(now_ns.saturating_sub(self.opened_ns))
    }

    /// A probe that has not been answered for `deadline_ns` counts as failed, so that another can follow; its late answer
    /// counts all the same. Answers whether that is so.
    pub fn give_up_late_probe(&mut self, deadline_ns: u64, now_ns: u64, pace: Pace, jitter: u64) -> bool {
        let late =
            self.circuit == Circuit::HalfOpen && now_ns.saturating_sub(self.probe_since_ns) >= deadline_ns;
        if late {
            self.pause(self.pause_ns.saturating_mul(2), now_ns, pace, jitter);
        }
        late
    }

    /// The longest pause has changed.
    pub fn hasten(&mut self, now_ns: u64, pace: Pace) {
        self.pause_ns = self.pause_ns.min(pace.longest_ns);
        self.due_ns = self.due_ns.min(now_ns.saturating_add(pace.longest_ns));
    }

    /// No batch for so long, shortened by up to half at random.
    fn pause(&mut self, pause_ns: u64, now_ns: u64, pace: Pace, jitter: u64) {
        self.circuit = Circuit::Open;
        self.pause_ns = pause_ns.min(pace.longest_ns);
        self.due_ns = now_ns.saturating_add(self.pause_ns - jitter % (self.pause_ns / 2 + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const PACE: Pace = Pace { failures: 3, longest_ns: 100 * MS };

    /// Opened at time 0, by batch 3, without jitter.
    fn open() -> Breaker {
        let mut b = Breaker::default();
        assert!(!b.failed(1, 0, 0, PACE, 0));
        assert!(!b.failed(2, 0, 0, PACE, 0));
        assert!(b.failed(3, 0, 0, PACE, 0));
        b
    }

    #[test]
    fn so_many_failures_in_a_row_open_it_and_one_less_does_not() {
        let mut b = Breaker::default();
        for batch in 0..10 {
            assert!(!b.failed(batch, 0, 0, PACE, 0));
            assert!(!b.failed(batch, 0, 0, PACE, 0));
            assert_eq!(b.acknowledged(0), None);
            assert!(b.is_closed() && b.allows(0));
        }
        let b = open();
        assert_eq!((b.circuit, b.openings, b.in_a_row), (Circuit::Open, 1, 3));
        assert!(!b.allows(0));
    }

    #[test]
    fn zero_failures_never_open_it() {
        let mut b = Breaker::default();
        for batch in 0..100_000 {
            assert!(!b.failed(batch, MS, batch, Pace { failures: 0, ..PACE }, batch));
        }
        assert!(b.is_closed() && b.openings == 0);
    }

    #[test]
    fn one_probe_at_a_time_and_none_before_it_is_due() {
        let mut b = open();
        assert_eq!(b.probe_due(), Some(MS));
        assert!(!b.allows(MS - 1));
        assert!(b.allows(MS));
        b.begin(7, MS);
        assert_eq!((b.circuit, b.probe(), b.probes), (Circuit::HalfOpen, Some((7, MS)), 1));
        assert_eq!(b.probe_due(), None);
        assert!(!b.allows(u64::MAX));
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_jitter_takes_up_to_half() {
        for jitter in [0, u64::MAX, 12_345_678_901, MS / 2] {
            let mut b = Breaker::default();
            let (mut now, mut pause) = (5, MS);
            for batch in 0..3 {
                b.failed(batch, 0, now, PACE, jitter);
            }
            for probe in 0..40 {
                let due = b.probe_due().unwrap();
                assert!(due <= now + pause && due >= now + pause / 2, "probe {probe}: {due} after {now}");
                now = due;
                b.begin(probe, now);
                assert!(!b.failed(probe, 0, now, PACE, jitter));
                pause = (pause * 2).min(PACE.longest_ns);
            }
            assert_eq!((b.probes, b.openings), (40, 1));
        }
    }

    #[test]
    fn the_first_pause_is_what_the_batch_would_wait_but_never_longer_than_the_longest() {
        for (wait, pause) in [(0, MS), (7 * MS, 7 * MS), (101 * MS, 100 * MS)] {
            let mut b = Breaker::default();
            for batch in 0..3 {
                b.failed(batch, wait, 0, PACE, 0);
            }
            assert_eq!(b.probe_due(), Some(pause));
        }
        let mut b = Breaker::default();
        assert!(b.failed(1, 9, 0, Pace { failures: 1, longest_ns: 0 }, 3));
        assert!(b.allows(0));
    }

    #[test]
    fn while_it_is_not_closed_only_the_probe_can_fail() {
        let mut b = open();
        assert!(!b.failed(9, 0, 0, PACE, 0));
        assert_eq!(b.probe_due(), Some(MS));
        b.begin(7, MS);
        assert!(!b.failed(9, 0, MS, PACE, 0));
        assert_eq!(b.probe(), Some((7, MS)));
        assert!(!b.failed(7, 0, 2 * MS, PACE, 0));
        assert_eq!((b.probe(), b.probe_due()), (None, Some(4 * MS)));
        assert_eq!(b.in_a_row, 6);
    }

    #[test]
    fn an_acknowledgement_closes_it_whether_of_the_probe_or_of_an_attempt_from_before() {
        for probing in [false, true] {
            let mut b = open();
            if probing {
                b.begin(7, MS);
            }
            assert_eq!(b.acknowledged(5 * MS), Some(5 * MS));
            assert!(b.is_closed() && b.allows(0) && b.in_a_row == 0);
            // The count begins anew, and so do the pauses.
            assert!(!b.failed(1, 0, 0, PACE, 0));
            assert!(!b.failed(1, 0, 0, PACE, 0));
            assert!(b.failed(1, 0, 6 * MS, PACE, 0));
            assert_eq!((b.probe_due(), b.openings), (Some(7 * MS), 2));
            assert_eq!(b.acknowledged(9 * MS), Some(3 * MS));
        }
    }

    #[test]
    fn a_probe_without_an_answer_makes_way_for_the_next() {
        let mut b = open();
        assert!(!b.give_up_late_probe(0, u64::MAX, PACE, 0));
        b.begin(7, MS);
        assert!(!b.give_up_late_probe(10 * MS, 11 * MS - 1, PACE, 0));
        assert!(b.give_up_late_probe(10 * MS, 11 * MS, PACE, 0));
        assert_eq!((b.circuit, b.probe_due()), (Circuit::Open, Some(13 * MS)));
        // Its failure comes too late to count as one of the next probe's.
        b.begin(8, 13 * MS);
        assert!(!b.failed(7, 0, 13 * MS, PACE, 0));
        assert_eq!(b.probe(), Some((8, 13 * MS)));
    }

    #[test]
    fn a_shorter_longest_pause_takes_effect_at_once() {
        let mut b = open();
        b.hasten(0, Pace { longest_ns: 10, ..PACE });
        assert_eq!(b.probe_due(), Some(10));
        b.hasten(5, PACE);
        assert_eq!(b.probe_due(), Some(10));
    }
}
