//! What `capture_pipeline_fast.h` needs of the library: the struct that it works on, and a call where a writer may have to be woken.

use super::guard::{guard, guard_capture, null, null_argument};
use crate::manager::Producer;
use crate::ring::producer::{Fast, PIPELINE_FAST_VERSION};
use crate::status::{Error, PIPELINE_ERR_FORKED, PIPELINE_ERR_UNSUPPORTED, PIPELINE_OK};

/// What the inlined captures of `capture_pipeline_fast.h` work on; `version` is `PIPELINE_FAST_VERSION` of the header. The struct is a
/// part of the producer: valid until `pipeline_producer_close`, and used by one thread at a time, the one that
/// uses the producer. Nothing for programs to read or write.
///
/// `PIPELINE_ERR_UNSUPPORTED`: the library is of another version, knows no such way on this processor, or the pipeline's captures cannot
/// take it (events are not stamped by the processor's counter, or captures pay for their fences, as `pipeline_last_error` says).
/// Then there is no such struct, and with NULL for it the inlined captures are calls. Other errors: `PIPELINE_ERR_NULL`, `_FORKED`.
/// Any thread that may use the producer. Since 0.1.0.
///
/// # Safety
/// `r` is NULL or open and used by no other thread; `out` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_producer_fast(r: *mut Producer, version: u32, out: *mut *mut Fast) -> i32 {
    guard(|| {
        // SAFETY: by contract NULL or open.
        let producer = unsafe { r.as_ref() }.ok_or_else(|| null("the producer"))?;
        if out.is_null() {
            return Err(null("out"));
        }
        if producer.forked() {
            return Err(Error::new(
                PIPELINE_ERR_FORKED,
                "the producer belongs to the parent of this process",
            ));
        }
        let why_not = if version == PIPELINE_FAST_VERSION {
            producer.why_not_inlined().map(str::to_owned)
        } else {
            Some(format!("version: {PIPELINE_FAST_VERSION} allowed, {version} given"))
        };
        if let Some(why_not) = why_not {
            return Err(Error::new(PIPELINE_ERR_UNSUPPORTED, why_not));
        }
        // SAFETY: not NULL, writable by contract.
        unsafe { out.write(Producer::fast(r)) };
        Ok(())
    })
}

/// Wakes a writer, if that is called for: what an inlined capture calls where writers sleep, once its event is published. Nothing
/// for programs to call, and harmless.
///
/// The thread that uses the producer; also in callbacks and signal handlers. `PIPELINE_OK`, `PIPELINE_ERR_NULL`, `PIPELINE_ERR_FORKED`.
/// Since 0.1.0.
///
/// # Safety
/// `r` is NULL or open and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_producer_wake(r: *mut Producer) -> i32 {
    guard_capture(|| {
        // SAFETY: by contract NULL or open.
        let Some(producer) = (unsafe { r.as_ref() }) else { return null_argument("the producer is NULL") };
        if producer.forked() {
            return PIPELINE_ERR_FORKED;
        }
        producer.knock();
        PIPELINE_OK
    })
}
