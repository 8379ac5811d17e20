//! The Rust peers: queues that one would build a pipeline from, and libraries that are one.

mod channel;
mod contender;
mod opentelemetry;
mod queue;
mod spsc;
mod tracing;

use contender::Entry;

static ALL: [Entry; 5] = [
    Entry::of::<queue::Parked>(
        c"crossbeam ArrayQueue",
        c"8192 records inline for each thread, the consumer sleeps and pays for the fence with membarrier",
    ),
    Entry::of::<channel::Bounded>(c"crossbeam-channel", c"bounded, 8192 records inline for each thread; recv, then try_recv"),
    Entry::of::<spsc::Polling>(
        c"rtrb",
        c"a ring of 8192 records for each thread, read in chunks; the consumer never sleeps",
    ),
    Entry::of::<tracing::Appender>(c"tracing-appender", c"NonBlocking, lossless, room for 8192 lines for each thread"),
    Entry::of::<opentelemetry::Batched>(
        c"OpenTelemetry",
        c"BatchLogProcessor, queue of 8192 for each thread, 500 records a batch, 5 ms; the body is the payload's bytes",
    ),
];

/// # Safety
///
/// `count` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn contenders(count: *mut usize) -> *const Entry {
    // SAFETY: the caller's.
    unsafe { *count = ALL.len() };
    ALL.as_ptr()
}

/// Room of a queue, for each thread that captures.
const ROOM: usize = 8192;

/// Looks for room, and lets others run where that takes long.
fn wait(looks: &mut u32) {
    *looks += 1;
    if *looks < 100 { std::hint::spin_loop() } else { std::thread::yield_now() }
}
