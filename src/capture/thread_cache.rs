//! Finds a thread's producer: a few thread-local entries, each with the id of a pipeline (ids are never reused) and the thread's producer
//! in that pipeline.

use crate::capture::registry::{NoRing, Registry};
use crate::capture::{Offer, Producer};
use crate::platform::thread;
use crate::platform::thread_local::{self, ENTRIES};
use crate::status::{PIPELINE_ERR_BUSY, PIPELINE_ERR_FORKED};
use std::cell::Cell;
use std::sync::atomic::{Ordering, compiler_fence};

/// A thread without a ring of its own asks for one again after this many captures.
const RETRY_AFTER: u32 = 1024;

/// A pipeline in which the thread got no ring of its own, and when it tries again.
struct Ringless {
    pipeline: Cell<u64>,
    vacancies: Cell<u64>,
    retry_after: Cell<u32>,
}

thread_local! {
    static RINGLESS: [Ringless; ENTRIES] = const {
        [const { Ringless { pipeline: Cell::new(0), vacancies: Cell::new(0), retry_after: Cell::new(0) } }; ENTRIES]
    };
    /// The entry that is replaced next when all are in use.
    static NEXT: Cell<usize> = const { Cell::new(0) };
}

/// The calling thread's producer in a pipeline.
#[inline(always)]
pub fn find<'a>(pipeline_id: u64) -> Option<&'a Producer> {
    thread_local::with(|entries| {
        for entry in entries {
            if entry.key.get() == pipeline_id {
                let producer = entry.value.get().cast::<Producer>();
                // SAFETY: the id is that of a live pipeline, which the caller holds; its producers live as long. The id is
                // written last and removed first (see `remember`), so the pointer beside it is that pipeline's producer.
                return unsafe {
                    std::hint::assert_unchecked(!producer.is_null());
                    producer.as_ref()
                };
            }
        }
        None
    })
}

/// Captures for a thread that has no entry in the cache. Its first capture into a pipeline gets the thread a ring of its own. If there is
/// none to get, each of its captures goes through the shared ring.
///
/// # Safety
/// As for [`Producer::capture`].
#[cold]
pub unsafe fn first(rings: &Registry, offer: &Offer) -> i32 {
    if rings.intake.forked() {
        return PIPELINE_ERR_FORKED;
    }
    match own(rings) {
        // SAFETY: passed on.
        Ok(Some(producer)) => unsafe { producer.capture(offer) },
        // SAFETY: passed on. (If the pipeline is closed, it counts the refusal.)
        Ok(None) => unsafe { rings.shared().capture_shared(offer) },
        Err(status) => {
            let shared = rings.shared();
            shared.of(offer).refuse_busy();
            status
        }
    }
}

/// The thread's own producer; `None`: it uses the shared one. Only the thread's first capture into the pipeline waits for a
/// lock or allocates.
fn own(rings: &Registry) -> Result<Option<&Producer>, i32> {
    let id = rings.intake.pipeline_id;
    // The end of a thread is reported once, so a ring that it got after that would never be given back.
    if thread::ended() || rings.intake.is_closed() {
        return Ok(None);
    }
    let token = thread::token();
    if let Some(producer) = rings.find_owner(token) {
        remember(id, producer);
        return Ok(Some(producer));
    }
    let without = RINGLESS.with(|w| w.iter().position(|w| w.pipeline.get() == id));
    if let Some(at) = without {
        let again = RINGLESS.with(|w| {
            let left = w[at].retry_after.get();
            w[at].retry_after.set(left.saturating_sub(1));
            left == 0 || w[at].vacancies.get() != rings.vacancies()
        });
        if !again || Registry::interrupted() {
            return Ok(None);
        }
    } else if Registry::interrupted() {
        return Err(PIPELINE_ERR_BUSY);
    }
    let vacancies = rings.vacancies();
    let attached = if without.is_some() || thread::arm_end() {
        rings.attach_thread(token, without.is_none())
    } else {
        Err(NoRing::NoMemory)
    };
    match attached {
        Ok(producer) => {
            remember(id, producer);
            Ok(Some(producer))
        }
        Err(_) => {
            RINGLESS.with(|w| {
                let at = without.or_else(|| w.iter().position(|w| w.pipeline.get() == 0)).unwrap_or(0);
                w[at].pipeline.set(id);
                w[at].vacancies.set(vacancies);
                w[at].retry_after.set(RETRY_AFTER);
            });
            Ok(None)
        }
    }
}

fn remember(id: u64, producer: &Producer) {
    thread_local::with(|entries| {
        let at = entries.iter().position(|entry| entry.key.get() == 0).unwrap_or_else(|| {
            let next = NEXT.get();
            NEXT.set((next + 1) % ENTRIES);
            next
        });
        // A signal handler may interrupt between any two of these: it finds the whole entry or none.
        entries[at].key.set(0);
        compiler_fence(Ordering::SeqCst);
        entries[at].value.set(std::ptr::from_ref(producer).cast_mut().cast());
        compiler_fence(Ordering::SeqCst);
        entries[at].key.set(id);
    });
}

/// Called when the thread ends. From then on it uses the shared producer.
pub fn forget() {
    thread_local::with(|entries| {
        for entry in entries {
            entry.key.set(0);
            compiler_fence(Ordering::SeqCst);
            entry.value.set(std::ptr::null_mut());
        }
    });
}
