//! The Rust peers: queues from which a pipeline could be built, and libraries that contain one.

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
        c"8192 inline records per thread; the consumer sleeps and executes the fence for all threads with membarrier",
    ),
    Entry::of::<channel::Bounded>(c"crossbeam-channel", c"bounded, 8192 inline records per thread; recv, then try_recv"),
    Entry::of::<spsc::Polling>(
        c"rtrb",
        c"a ring of 8192 records per thread, read in chunks; the consumer never sleeps",
    ),
    Entry::of::<tracing::Appender>(c"tracing-appender", c"NonBlocking, lossless, 8192 lines per thread"),
    Entry::of::<opentelemetry::Batched>(
        c"OpenTelemetry",
        c"BatchLogProcessor, queue of 8192 records per thread, 500 records per batch, 5 ms; the body is the bytes of the payload",
    ),
];

/// # Safety
///
/// `count` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn contenders(count: *mut usize) -> *const Entry {
    // SAFETY: the caller passes a writable pointer.
    unsafe { *count = ALL.len() };
    ALL.as_ptr()
}

/// Capacity of a queue, per capturing thread.
const QUEUE_EVENTS: usize = 8192;

/// Waits for space in a queue: spins at first, then yields.
fn wait(spins: &mut u32) {
    *spins += 1;
    if *spins < 100 { std::hint::spin_loop() } else { std::thread::yield_now() }
}
