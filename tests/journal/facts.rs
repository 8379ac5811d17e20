//! What a journal says about its events, where its segments say different things.

use crate::reading::open;
use crate::segments::{Builder, Scratch};
use capture_pipeline::event::ClockFacts;
use capture_pipeline::journal::format::segment::file_name;
use capture_pipeline::journal::reader::Options;

#[test]
fn the_last_name_of_a_kind_and_the_last_clock_are_in_the_segment_that_was_written_longest() {
    let clock = |monotonic_ns, ticks_hz| {
        let facts = ClockFacts {
            struct_size: ClockFacts::SIZE as u32,
            clock: 2,
            monotonic_ns,
            realtime_ns: 1,
            ticks: 1,
            ticks_hz,
            boot_id: [0; 16],
            pid: 1,
            reserved: 0,
        };
        facts.bytes()
    };
    // Each segment has the list of facts from its beginning. Threads are not in the list.
    for numbers in [[1, 2, 3], [3, 2, 1], [2, 1, 3]] {
        let scratch = Scratch::new();
        for (number, length) in numbers.into_iter().zip(0..) {
            let mut builder = Builder::new(1, number);
            builder.kind_name(5, "first").fact(0xFFFF_0003, 0, 0, &clock(100, 0));
            if length > 0 {
                builder.kind_name(5, "second");
            }
            if length == 1 {
                for ring in 0..5 {
                    builder.thread(ring, 44, "worker");
                }
            }
            if length > 1 {
                builder.fact(0xFFFF_0003, 0, 0, &clock(200, 7)).kind_name(5, "first");
            }
            builder.seal().write(scratch.path());
        }
        let reader = open(scratch.path(), Options::default());
        assert_eq!(reader.facts().kind_names[&(1, 5)], b"first", "{numbers:?}");
        assert_eq!(reader.facts().clocks[&1].ticks_hz, 7, "{numbers:?}");
        std::fs::remove_file(scratch.path().join(file_name(1, numbers[2]))).expect("removed");
        let reader = open(scratch.path(), Options::default());
        assert_eq!(reader.facts().kind_names[&(1, 5)], b"second", "{numbers:?}");
        assert_eq!(reader.facts().clocks[&1].ticks_hz, 0, "{numbers:?}");
    }
}
