//! The functions that only inlined captures need. `capture_pipeline_fast.h` declares them, by hand: the words that inlined captures work
//! on, and the call that wakes a writer.

use super::guard::{guard, guard_target, own_producer, require};
use crate::capture::{FastWords, PIPELINE_FAST_VERSION};
use crate::manager::Producer;
use crate::status::{Error, PIPELINE_ERR_FORKED, PIPELINE_ERR_UNSUPPORTED};

/// Returns the words that inlined captures work on. `version` is `PIPELINE_FAST_VERSION` of the header. The words are a part of the
/// producer: they are valid until `pipeline_producer_close`, and only the thread that uses the producer may use them.
///
/// `PIPELINE_ERR_UNSUPPORTED`: the library is of another version, inlines no captures on this processor, or the pipeline's captures
/// cannot be inlined. Other errors: `PIPELINE_ERR_NULL`, `_FORKED`. Any thread that may use the producer. Since 0.1.0.
///
/// # Safety
/// `r` is NULL or open and used by no other thread; `out` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_producer_fast(
    r: *mut Producer,
    version: u32,
    out: *mut *mut FastWords,
) -> i32 {
    guard(|| {
        // SAFETY: by contract NULL or open.
        let producer = unsafe { own_producer(r) }?;
        require(out, "out")?;
        let why_not = if version == PIPELINE_FAST_VERSION {
            producer.why_not_inlined().map(str::to_owned)
        } else {
            Some(format!("version: {PIPELINE_FAST_VERSION} allowed, {version} given"))
        };
        if let Some(why_not) = why_not {
            return Err(Error::new(PIPELINE_ERR_UNSUPPORTED, why_not));
        }
        // SAFETY: not NULL, writable by contract.
        unsafe { out.write(Producer::fast_words(r)) };
        Ok(())
    })
}

/// Wakes a writer, if one is needed and none is awake. An inlined capture calls it after it has published an event while the writers sleep.
///
/// The thread that uses the producer; also in callbacks and signal handlers. `PIPELINE_OK`, `PIPELINE_ERR_NULL`, `PIPELINE_ERR_FORKED`.
/// Since 0.1.0.
///
/// # Safety
/// `r` is NULL or open and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_producer_wake(r: *mut Producer) -> i32 {
    let wake = |r: &Producer| if r.forked() { PIPELINE_ERR_FORKED } else { r.wake_writer() };
    // SAFETY: by contract NULL or open.
    unsafe { guard_target(r, wake) }
}
