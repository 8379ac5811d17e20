//! The decision, look by look, on a clock that the tests turn.

use super::*;

/// A pipeline as the scaler sees it, between 1 and 16 writers; nothing to do.
struct Course {
    memory: Memory,
    now_ns: u64,
    writers: u32,
    base: Seen,
}

impl Course {
    fn new(writers: u32) -> Self {
        let base = Seen { min: 1, max: 16, useful: 256, ..Seen::default() };
        Self { memory: Memory::default(), now_ns: 1_000_000 * MS, writers, base }
    }

    /// A look after so many milliseconds, in which the writers spent that percentage of their time in calls.
    fn look(&mut self, ms: u64, busy_percent: u64) -> (Option<Decision>, u64) {
        self.now_ns += ms * MS;
        let elapsed_ns = ms * MS;
        let seen = Seen {
            now_ns: self.now_ns,
            elapsed_ns,
            busy_ns: elapsed_ns * u64::from(self.writers) * busy_percent / 100,
            writers: self.writers,
            ..self.base
        };
        let (decision, next) = self.memory.decide(&seen);
        if let Some(Decision { from, to, .. }) = decision {
            assert_eq!(from, self.writers, "a decision starts from what there is");
            assert_ne!(to, from, "a decision changes something");
            assert!(seen.min <= to && to <= seen.max, "{to} lies outside {} to {}", seen.min, seen.max);
            self.writers = to;
        }
        (decision, next)
    }

    /// Looks for so long, every so many milliseconds; the numbers of writers that there were one after the other, and why.
    fn go(&mut self, ms: u64, every: u64, busy_percent: u64) -> Vec<(u32, u32)> {
        let mut decisions = Vec::new();
        for _ in 0..ms / every {
            decisions.extend(self.look(every, busy_percent).0.map(|d| (d.to, d.reason)));
        }
        decisions
    }
}

#[test]
fn whole_batches_that_wait_behind_busy_writers_double_them_up_to_the_most() {
    let mut course = Course::new(1);
    course.base.waiting = 1000;
    let why = PIPELINE_SCALE_STORAGE_BOUND;
    assert_eq!(course.go(1000, 10, 100), [(2, why), (4, why), (8, why), (16, why)]);
}

#[test]
fn the_reason_is_the_gravest_one() {
    for (age_ms, fill_percent, waiting, reason) in [
        (19, 49, 1, PIPELINE_SCALE_STORAGE_BOUND),
        (19, 50, 0, PIPELINE_SCALE_RING_FULL),
        (19, 50, 9, PIPELINE_SCALE_RING_FULL),
        (20, 0, 0, PIPELINE_SCALE_BACKLOG_AGE),
        (20, 90, 9, PIPELINE_SCALE_BACKLOG_AGE),
    ] {
        let mut course = Course::new(1);
        course.base = Seen { age_ns: age_ms * MS, fill_percent, waiting, ..course.base };
        assert_eq!(course.go(30, 10, 100).first(), Some(&(2, reason)));
    }
    let mut course = Course::new(1);
    course.base = Seen { age_ns: 19 * MS, fill_percent: 49, waiting: 0, ..course.base };
    assert_eq!(course.go(1000, 10, 100), []);
}

#[test]
fn no_more_join_than_have_a_batch_to_take() {
    let mut course = Course::new(8);
    course.base.waiting = 3;
    assert_eq!(course.go(30, 10, 100), [(11, PIPELINE_SCALE_STORAGE_BOUND)]);
    course.base = Seen { waiting: 0, age_ns: 50 * MS, ..course.base };
    assert_eq!(course.go(30, 10, 100).first(), Some(&(12, PIPELINE_SCALE_BACKLOG_AGE)));
}

#[test]
fn a_single_look_decides_nothing_and_a_reason_that_goes_away_starts_anew() {
    let mut course = Course::new(1);
    for _ in 0..50 {
        course.base.waiting = 10;
        assert_eq!(course.look(500, 100).0, None);
        course.base.waiting = 0;
        assert_eq!(course.look(500, 100).0, None);
    }
}

#[test]
fn newcomers_get_time_to_show_what_they_can_do() {
    let mut course = Course::new(1);
    course.base.waiting = 1000;
    let mut at = Vec::new();
    for _ in 0..200 {
        if course.look(1, 100).0.is_some() {
            at.push(course.now_ns);
        }
    }
    assert_eq!(at.len(), 4);
    assert!(at.windows(2).all(|w| w[1] - w[0] >= SETTLE_NS), "{at:?}");
}

#[test]
fn writers_that_are_not_in_calls_are_not_helped_by_more_of_them() {
    let mut course = Course::new(4);
    course.base = Seen { waiting: 1000, age_ns: 500 * MS, fill_percent: 100, ..course.base };
    assert_eq!(course.go(1000, 10, BUSY_PERCENT - 1), []);
    assert_eq!(course.go(20, 10, BUSY_PERCENT), [(8, PIPELINE_SCALE_BACKLOG_AGE)]);
}

#[test]
fn a_storage_that_fails_every_attempt_gets_no_more_of_them_until_it_takes_something() {
    let mut course = Course::new(2);
    course.base = Seen { waiting: 1000, open: 8, troubled: true, progress: 77, ..course.base };
    course.memory.progress = 77;
    assert_eq!(course.go(5000, 10, 100), []);
    // In the middle of an attempt, no batch waits for one.
    course.base.troubled = false;
    assert_eq!(course.go(5000, 10, 100), []);
    course.base.progress = 78;
    assert_eq!(course.go(20, 10, 100), [(4, PIPELINE_SCALE_STORAGE_BOUND)]);
    // Some fail, some do not: that is a storage which more calls get further with.
    course.base.troubled = true;
    for _ in 0..5 {
        course.base.progress += 1;
        course.look(10, 100);
    }
    assert_eq!(course.writers, 16);
}

#[test]
fn it_grows_no_further_than_calls_can_run_at_once_but_the_fewest_are_the_fewest() {
    let mut course = Course::new(1);
    course.base = Seen { waiting: 1000, useful: 1, ..course.base };
    assert_eq!(course.go(1000, 10, 100), []);
    course.base.useful = 3;
    assert_eq!(course.go(1000, 10, 100).last(), Some(&(3, PIPELINE_SCALE_STORAGE_BOUND)));
    // More than can work leave, although work waits; never below the fewest.
    course.base = Seen { min: 2, useful: 1, ..course.base };
    assert_eq!(course.go(5000, 10, 100), [(2, PIPELINE_SCALE_IDLE)]);
}

#[test]
fn nothing_is_decided_while_nothing_may_be_claimed() {
    let mut course = Course::new(4);
    course.base = Seen { waiting: 1000, held: true, ..course.base };
    assert_eq!(course.go(5000, 10, 100), []);
    course.base.waiting = 0;
    assert_eq!(course.go(5000, 10, 0), []);
    assert_eq!(course.look(10, 0).1, u64::MAX);
}

#[test]
fn the_idle_leave_one_by_one_after_a_time_of_quiet() {
    let mut course = Course::new(4);
    let began = course.now_ns;
    let mut at = Vec::new();
    for _ in 0..300 {
        if let Some(d) = course.look(10, 0).0 {
            assert_eq!((d.from - d.to, d.reason), (1, PIPELINE_SCALE_IDLE));
            at.push(course.now_ns);
        }
    }
    assert_eq!((at.len(), course.writers), (3, 1));
    assert!(at[0] - began > QUIET_NS);
    assert!(at.windows(2).all(|w| w[1] - w[0] >= STEP_NS), "{at:?}");
}

#[test]
fn a_moment_of_work_keeps_them_for_another_while() {
    let mut course = Course::new(4);
    for _ in 0..20 {
        assert_eq!(course.go(900, 100, 0), []);
        assert_eq!(course.look(100, 100).0, None);
    }
    for _ in 0..20 {
        course.base.waiting = 0;
        assert_eq!(course.go(900, 100, 0), []);
        course.base.waiting = 1;
        assert_eq!(course.look(100, 0).0, None);
    }
}

#[test]
fn a_steady_load_finds_a_number_and_stays_there() {
    for load_percent in [0, 50, 100, 340, 777, 1100] {
        let mut course = Course::new(1);
        let mut last = 0;
        for ms in 0..60_000 / 10 {
            // What the writers there are can take of it; the rest waits.
            let busy = (load_percent / u64::from(course.writers)).min(100);
            course.base.waiting = if busy == 100 { 100 } else { 0 };
            if course.look(10, busy).0.is_some() {
                last = ms;
            }
        }
        assert!(u64::from(course.writers) * 100 >= load_percent, "{} for {load_percent} %", course.writers);
        assert!(last < 3_000, "{load_percent} %: still changing after {last} looks");
    }
}

#[test]
fn with_no_fewest_the_last_one_leaves_an_idle_pipeline_and_the_first_comes_at_once() {
    let mut course = Course::new(1);
    course.base.min = 0;
    course.base.open = 1;
    assert_eq!(course.go(5000, 100, 0), []);
    course.base = Seen { open: 0, queued: true, ..course.base };
    assert_eq!(course.go(5000, 100, 0), []);
    course.base.queued = false;
    assert_eq!(course.go(5000, 100, 0), [(0, PIPELINE_SCALE_IDLE)]);
    course.base.queued = true;
    let (decision, _) = course.look(1, 0);
    assert_eq!(decision, Some(Decision { from: 0, to: 1, reason: PIPELINE_SCALE_NO_WRITER }));
}

#[test]
fn it_looks_often_under_pressure_now_and_then_while_it_may_shrink_and_else_not_at_all() {
    let mut course = Course::new(1);
    assert_eq!(course.look(10, 0), (None, u64::MAX));
    course.base.waiting = 5;
    assert_eq!(course.look(10, 0), (None, LOOK_NS));
    assert_eq!(course.look(10, 100), (None, LOOK_NS));
    course.base.waiting = 0;
    course.writers = 3;
    assert_eq!(course.look(10, 100), (None, SAMPLE_NS));
    assert_eq!(course.look(10, 0), (None, SAMPLE_NS));
    course.base = Seen { waiting: 5, max: 3, ..course.base };
    assert_eq!(course.look(10, 100), (None, SAMPLE_NS));
}
