//! The timeline on simulated clocks, and on those of this machine.

use super::*;
use crate::clock::piece::convert;
use crate::platform::time;
use std::cell::Cell;

thread_local! {
    static MACHINE: Cell<Machine> = const { Cell::new(Machine { ticks: 0, ns: 0, rate: 0.4, width: 80, noise: 1 }) };
}

/// A machine whose monotonic clock has a rate that a test changes.
#[derive(Clone, Copy)]
struct Machine {
    ticks: u64,
    ns: u64,
    /// Nanoseconds per tick.
    rate: f64,
    /// The width of its readings.
    width: u64,
    noise: u64,
}

/// Pseudo-random numbers.
fn random() -> u64 {
    let mut m = MACHINE.get();
    m.noise = crate::platform::random::mix(m.noise);
    MACHINE.set(m);
    m.noise
}

fn read(_: u64) -> Pair {
    let m = MACHINE.get();
    // The clock is read at any moment within the width.
    let off = ((random() % (m.width + 1)) as f64 - m.width as f64 / 2.0) * m.rate;
    Pair { ticks: m.ticks, ns: m.ns.saturating_add_signed(off as i64), width: m.width }
}

fn begin(ticks: u64, ns: u64) -> Timeline {
    MACHINE.set(Machine { ticks, ns, rate: 0.4, width: 80, noise: 1 });
    Timeline::new(read).unwrap()
}

fn pass(ticks: u64) {
    let m = MACHINE.get();
    MACHINE.set(Machine {
        ticks: m.ticks.saturating_add(ticks),
        ns: m.ns + (ticks as f64 * m.rate) as u64,
        ..m
    });
}

fn now() -> (u64, u64) {
    let m = MACHINE.get();
    (m.ticks, m.ns)
}

fn slew(rate: f64) {
    MACHINE.set(Machine { rate, ..MACHINE.get() });
}

fn ns_of(timeline: &Timeline, ticks: u64) -> u64 {
    timeline.know(ticks).ns(ticks).unwrap()
}

/// The same, for readings that are converted one after the other as those of a batch.
fn in_turn(timeline: &Timeline) -> impl FnMut(u64) -> u64 {
    let mut known = Known::default();
    move |ticks| {
        known.ns(ticks).unwrap_or_else(|| {
            known = timeline.know(ticks);
            known.ns(ticks).unwrap()
        })
    }
}

const SECOND: u64 = 2_500_000_000;

#[test]
fn it_follows_a_clock_that_is_slewed_within_a_microsecond() {
    let t = begin(1 << 40, 1 << 50);
    let (mut worst, mut at) = (0, 0);
    for i in 0..60_000u64 {
        // The kernel slews by 500 parts in a million at most.
        if i % 100 == 0 {
            slew(0.4 * (1.0 + (random() % 501) as f64 * 1e-6));
        }
        pass(random() % (SECOND / 500));
        if i % 3 == 0 {
            t.keep(now().0);
        }
        let (ticks, ns) = now();
        // The reading is converted at once or a little later.
        pass((i % 2) * (random() % (SECOND / 200_000)));
        let got = ns_of(&t, ticks);
        if got.abs_diff(ns) > worst {
            (worst, at) = (got.abs_diff(ns), i);
        }
    }
    assert!(worst <= 600, "{worst} ns off in round {at}");
}

#[test]
fn a_reading_has_one_time_and_a_later_one_no_earlier_time_whatever_the_clocks_do() {
    for round in 0..50u64 {
        let t = begin(random() >> 8, random() >> 8);
        MACHINE.set(Machine { noise: round + 7, ..MACHINE.get() });
        let mut known: Vec<(u64, u64)> = Vec::new();
        for _ in 0..400 {
            let before = now().0;
            match random() % 12 {
                0 => slew(0.4 * (0.9 + (random() % 200) as f64 / 1_000.0)),
                1 => pass(random() % (SECOND * 100)),
                // The machine was suspended, so one clock stood still.
                2 if random().is_multiple_of(4) => {
                    let m = MACHINE.get();
                    MACHINE.set(Machine { ticks: m.ticks + random() % (SECOND * 1_000), ..m });
                }
                3 if random().is_multiple_of(4) => {
                    let m = MACHINE.get();
                    MACHINE.set(Machine { ns: m.ns + random() % 1_000_000_000_000, ..m });
                }
                4 => assert!(t.keep(before)),
                5 => MACHINE.set(Machine { width: random() % 100_000, ..MACHINE.get() }),
                _ => pass(random() % (SECOND / 1_000)),
            }
            let (begin, end) = (before, now().0);
            for _ in 0..3 {
                // The reading is older, or a little newer on a processor that is ahead of the others.
                let ticks = begin + random() % (end - begin + 50);
                let ns = if random().is_multiple_of(2) { ns_of(&t, ticks) } else { t.at_once(ticks) };
                known.push((ticks, ns));
            }
        }
        let mut in_turn = in_turn(&t);
        for &(ticks, ns) in &known {
            assert_eq!((ns_of(&t, ticks), t.at_once(ticks), in_turn(ticks)), (ns, ns, ns));
        }
        known.sort_unstable();
        assert!(known.is_sorted_by_key(|k| k.1), "round {round}: time goes back");
    }
}

#[test]
fn numbers_near_their_limits_are_converted_in_order() {
    // After ten years, and at the ends of the ranges of the counter and of the nanoseconds.
    for (ticks, ns) in
        [(315_360_000 * SECOND, 315_360_000_000_000_000), (u64::MAX - SECOND, u64::MAX / 2), (0, 0)]
    {
        let t = begin(ticks, ns);
        let mut before = 0;
        for _ in 0..1_000 {
            pass(SECOND / 300);
            let (ticks, ns) = now();
            let at = ns_of(&t, ticks);
            assert!(at >= before, "{ticks}: {at} after {before}");
            assert!(ticks == u64::MAX || at.abs_diff(ns) <= 100, "{ticks}: {at}, {ns} expected");
            before = at;
        }
        assert!(ns_of(&t, u64::MAX) >= before);
        assert!(ns_of(&t, u64::MAX) >= ns_of(&t, u64::MAX - 1));
        assert!(ns_of(&t, 0) <= ns_of(&t, ticks));
    }
}

/// The pieces of the readings from `first` to `last`, if they can be had.
fn pieces_of(t: &Timeline, first: u64, last: u64) -> Option<Vec<Piece>> {
    let other = Piece { start: 1, end: 2, ns: 3, rate: 4 };
    let mut pieces = vec![other];
    let had = t.pieces(first, last, &mut pieces);
    assert_eq!(pieces.remove(0), other, "they are appended");
    assert_eq!(pieces.is_empty(), !had);
    had.then_some(pieces)
}

#[test]
fn pieces_convert_every_reading_in_their_range_as_the_timeline_does() {
    let t = begin(SECOND, 5_000_000_000);
    let mut readings = vec![SECOND - 1_000];
    for n in 0..300 {
        pass(if n % 7 == 0 { SECOND / 50 } else { 1 + random() % (SECOND / 3_000) });
        if n % 3 == 0 {
            ns_of(&t, now().0);
        }
        readings.push(now().0);
    }
    for _ in 0..2_000 {
        let (a, b) = (random() as usize % readings.len(), random() as usize % readings.len());
        let (first, last) = (readings[a.min(b)], readings[a.max(b)]);
        let pieces = pieces_of(&t, first, last).unwrap();
        assert!(pieces.is_sorted_by_key(|piece| piece.start) && pieces.len() <= PIECES as usize);
        for reading in &readings[a.min(b)..=a.max(b)] {
            assert_eq!(convert(&pieces, *reading), ns_of(&t, *reading), "{reading} in {first} to {last}");
        }
    }
    // One behind the end of the chain extends it.
    pass(SECOND);
    let pieces = pieces_of(&t, readings[300], now().0).unwrap();
    assert_eq!(convert(&pieces, now().0), ns_of(&t, now().0));
    assert!(pieces.len() > 1 && convert(&pieces, now().0).abs_diff(now().1) < 1_000);
}

#[test]
fn there_are_no_pieces_for_readings_that_the_timeline_has_forgotten() {
    let t = begin(1_000, 1_000_000);
    let mut readings = Vec::new();
    for _ in 0..3 * PIECES {
        pass(SECOND / 40);
        t.keep(now().0);
        ns_of(&t, now().0);
        readings.push(now().0);
    }
    let (recent, last) = (readings[readings.len() - 1_000], readings[readings.len() - 1]);
    assert!(pieces_of(&t, recent, last).is_some());
    assert!(pieces_of(&t, readings[10], last).is_none());
    assert!(pieces_of(&t, readings[10], readings[11]).is_none());
}

#[test]
fn there_are_no_pieces_of_a_counter_that_is_no_clock() {
    let t = begin(SECOND, 5_000_000_000);
    pass(SECOND / 100);
    let first = now().0;
    assert!(pieces_of(&t, first, first).is_some());
    MACHINE.set(Machine { ticks: 77, ..MACHINE.get() });
    assert!(!t.keep(now().0));
    assert!(pieces_of(&t, first, first).is_none());
}

#[test]
fn ten_years_with_an_event_that_nobody_converts_do_not_cost_its_time() {
    // Intervals between conversions, by age: within pieces, and each behind a gap.
    for often in [500, 127, 63, 31, 15] {
        let t = begin(1_000, 1_000_000);
        let waits = 1_000 + SECOND / 3;
        let mut known = Vec::new();
        let mut year = 0u64;
        let mut step = SECOND / 200;
        pass(SECOND / 2);
        let first = ns_of(&t, waits);
        while year < 10 {
            pass(step);
            let (ticks, _) = now();
            pass(SECOND / 100_000);
            t.keep(waits);
            known.push((ticks, ns_of(&t, ticks)));
            // With the interval of the beginning the test would take too long.
            step = (ticks / often).max(SECOND / 200);
            year = ticks / SECOND / 31_536_000;
        }
        let pieces = t.words.next.load(Ordering::Relaxed);
        assert!(t.words.first.load(Ordering::Relaxed) == 0 && pieces < PIECES / 3, "{often}: {pieces}");
        assert_eq!(ns_of(&t, waits), first);
        assert!(known.iter().all(|&(ticks, ns)| ns_of(&t, ticks) == ns));
    }
}

#[test]
fn what_was_forgotten_still_lies_before_what_was_not() {
    let t = begin(1_000, 1_000_000);
    let mut ns = Vec::new();
    for _ in 0..3 * PIECES {
        pass(SECOND / 40);
        t.keep(now().0);
        ns.push((now().0, ns_of(&t, now().0)));
    }
    assert!(t.words.first.load(Ordering::Relaxed) > PIECES);
    let last = ns[ns.len() - 1];
    let (recent, old) = (ns[ns.len() - 1_000], ns[10]);
    assert_eq!(ns_of(&t, recent.0), recent.1);
    assert!(ns_of(&t, old.0) < recent.1 && recent.1 < last.1);
    assert!(ns_of(&t, old.0).abs_diff(old.1) < 1_000_000);
}

#[test]
fn a_counter_that_goes_back_is_no_clock_and_nothing_is_later_than_that() {
    let t = begin(SECOND, 5_000_000_000);
    for _ in 0..100 {
        pass(SECOND / 100);
        assert!(t.keep(now().0));
        ns_of(&t, now().0);
    }
    let (ticks, ns) = now();
    MACHINE.set(Machine { ticks: 77, ..MACHINE.get() });
    pass(SECOND / 1_000);
    assert!(!t.keep(now().0));
    assert!(!t.keep(now().0), "for good");
    for later in [ticks, ticks + SECOND, u64::MAX] {
        let at = ns_of(&t, later);
        assert!(at <= now().1 + 16 && at.abs_diff(ns) < 10_000_000, "{later}: {at}, at {ns} now {}", now().1);
        assert_eq!(t.at_once(later), at);
    }
}

#[test]
fn a_conversion_that_must_not_wait_gets_the_end_while_another_thread_extends_it() {
    let t = begin(SECOND, 5_000_000_000);
    pass(SECOND / 100);
    let before = ns_of(&t, now().0);
    let end = t.last().ns(t.last().end);
    pass(SECOND);
    let held = t.calibration.lock();
    let at = t.at_once(now().0);
    assert!(at == end && at >= before);
    drop(held);
    assert!(ns_of(&t, now().0) >= at);
}

#[test]
fn on_this_machine_many_threads_convert_alike_and_in_order() {
    if time::why_no_ticks().is_some() {
        return;
    }
    let t = Timeline::new(time::pair).unwrap();
    let mut all: Vec<(u64, u64, bool)> = std::thread::scope(|s| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                s.spawn(|| {
                    let mut mine = Vec::new();
                    for i in 0..20_000 {
                        let before = time::now_ns();
                        let ticks = time::ticks();
                        let after = time::now_ns();
                        let ns = if i % 2 == 0 { ns_of(&t, ticks) } else { t.at_once(ticks) };
                        if i % 2 == 0 {
                            assert!(ns + 1_000 >= before && ns <= after + 1_000, "{before} {ns} {after}");
                        }
                        if i % 64 == 0 {
                            std::thread::sleep(std::time::Duration::from_micros(200));
                            t.keep(time::ticks());
                        }
                        mine.push((ticks, ns, i % 2 == 0));
                    }
                    mine
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    all.sort_unstable();
    let mut in_turn = in_turn(&t);
    // A conversion that did not wait may be earlier.
    assert!(all.iter().all(|&(ticks, ns, waited)| if waited {
        ns == in_turn(ticks)
    } else {
        ns <= in_turn(ticks)
    }));
    assert!(all.iter().filter(|a| a.2).is_sorted_by_key(|a| a.1));
}
