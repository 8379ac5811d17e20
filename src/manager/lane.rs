//! From a thread to its producer: a few [places] of the thread's own, each with the never-reused id of a pipeline and the thread's
//! producer there.

use crate::platform::places::{self, PLACES};
use crate::platform::thread;
use crate::ring::producer::{Offer, Producer};
use crate::ring::rings::{NoRing, Rings};
use crate::status::{PIPELINE_ERR_BUSY, PIPELINE_ERR_FORKED};
use std::cell::Cell;
use std::sync::atomic::{Ordering, compiler_fence};

/// How often a thread without a ring of its own captures before it looks for one again.
const PATIENCE: u32 = 1024;

/// A place of a thread that got no ring of its own: in which pipeline, and when it shall try again.
struct Without {
    pipeline: Cell<u64>,
    vacancies: Cell<u64>,
    patience: Cell<u32>,
}

thread_local! {
    static WITHOUT: [Without; PLACES] = const {
        [const { Without { pipeline: Cell::new(0), vacancies: Cell::new(0), patience: Cell::new(0) } }; PLACES]
    };
    /// Which place goes next when all are taken.
    static NEXT: Cell<usize> = const { Cell::new(0) };
}

/// The calling thread's producer in a pipeline.
#[inline(always)]
pub fn find<'a>(pipeline_id: u64) -> Option<&'a Producer> {
    places::with(|places| {
        for place in places {
            if place.number.get() == pipeline_id {
                let producer = place.what.get().cast::<Producer>();
                // SAFETY: the id is the live pipeline's, which the caller holds; its producers live as long. The id is
                // written last and taken away first (see `remember`), so beside it there is a producer, and never another pipeline's.
                return unsafe {
                    std::hint::assert_unchecked(!producer.is_null());
                    producer.as_ref()
                };
            }
        }
        None
    })
}

/// A capture on a thread that has no ring of its own: its first into a pipeline, which gets it one; or any of a thread for
/// which there is none, through the shared ring.
///
/// # Safety
/// As for [`Producer::capture`].
#[cold]
pub unsafe fn first(rings: &Rings, offer: &Offer) -> i32 {
    if rings.front.forked() {
        return PIPELINE_ERR_FORKED;
    }
    match own(rings) {
        // SAFETY: passed on.
        Ok(Some(producer)) => unsafe { producer.capture(offer) },
        // SAFETY: passed on. (If the pipeline is closed, it counts the refusal.)
        Ok(None) => unsafe { rings.shared().capture_shared(offer) },
        Err(status) => {
            rings.front.refused.busy.fetch_add(1, Ordering::Relaxed);
            status
        }
    }
}

/// The thread's own producer; `None`: it uses the shared one. Only the thread's very first capture into the pipeline takes a
/// lock or allocates.
fn own(rings: &Rings) -> Result<Option<&Producer>, i32> {
    let id = rings.front.pipeline_id;
    // A thread whose end has begun is told of no second time: its ring would never come back.
    if thread::ended() || rings.front.is_closed() {
        return Ok(None);
    }
    let token = thread::token();
    if let Some(producer) = rings.find_owner(token) {
        remember(id, producer);
        return Ok(Some(producer));
    }
    let without = WITHOUT.with(|w| w.iter().position(|w| w.pipeline.get() == id));
    if let Some(at) = without {
        let again = WITHOUT.with(|w| {
            let patience = w[at].patience.get();
            w[at].patience.set(patience.saturating_sub(1));
            patience == 0 || w[at].vacancies.get() != rings.vacancies()
        });
        if !again || Rings::interrupted() {
            return Ok(None);
        }
    } else if Rings::interrupted() {
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
            WITHOUT.with(|w| {
                let at = without.or_else(|| w.iter().position(|w| w.pipeline.get() == 0)).unwrap_or(0);
                w[at].pipeline.set(id);
                w[at].vacancies.set(vacancies);
                w[at].patience.set(PATIENCE);
            });
            Ok(None)
        }
    }
}

fn remember(id: u64, producer: &Producer) {
    places::with(|places| {
        let at = places.iter().position(|place| place.number.get() == 0).unwrap_or_else(|| {
            let next = NEXT.get();
            NEXT.set((next + 1) % PLACES);
            next
        });
        // A signal handler may come between any two of these: it finds the whole entry or none.
        places[at].number.set(0);
        compiler_fence(Ordering::SeqCst);
        places[at].what.set(std::ptr::from_ref(producer).cast_mut().cast());
        compiler_fence(Ordering::SeqCst);
        places[at].number.set(id);
    });
}

/// The thread ends: what it uses from here on is the shared producer.
pub fn forget() {
    places::with(|places| {
        for place in places {
            place.number.set(0);
            compiler_fence(Ordering::SeqCst);
            place.what.set(std::ptr::null_mut());
        }
    });
}
