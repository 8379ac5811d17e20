//! How a caller's event is read.

use super::guard::set_last_error;
use super::sized;
use crate::capture::Offer;
use crate::event::{Event, FAST_FLAGS};
use crate::status::PIPELINE_ERR_INVALID;

// SAFETY: repr(C), plain integers and a pointer, `struct_size` first.
unsafe impl sized::Sized32 for Event {
    const NAME: &'static str = "pipeline_event_t";
}

/// Reads a caller's event, if it is of our size and in order.
///
/// # Safety
/// `event` is NULL or points to as many bytes as its `struct_size` says.
#[inline(always)]
pub(super) unsafe fn own_offer(event: *const Event) -> Option<Offer> {
    // SAFETY: by contract; the size is checked before anything else is read. No alignment is assumed.
    unsafe {
        if is_own(event) && (&raw const (*event).reserved).read_unaligned() == 0 {
            let flags = (&raw const (*event).flags).read_unaligned();
            return Some(read(event, flags));
        }
        None
    }
}

const _: () = assert!(std::mem::offset_of!(Event, reserved) == std::mem::offset_of!(Event, flags) + 4);

/// The same if the fast path may take the event: it has no flags but those. (Both words are tested as one, because the test of the flags alone takes
/// two more instructions.)
///
/// # Safety
/// As for [`own_offer`].
#[inline(always)]
pub(super) unsafe fn fast_offer(event: *const Event) -> Option<Offer> {
    // SAFETY: by contract; the size is checked before anything else is read. No alignment is assumed.
    unsafe {
        if is_own(event) {
            let words = (&raw const (*event).flags).cast::<[u32; 2]>().read_unaligned();
            if as_one(words) & !as_one([FAST_FLAGS, 0]) == 0 {
                return Some(read(event, words[0]));
            }
        }
        None
    }
}

/// Reads an event once more that was read by [`fast_offer`].
///
/// # Safety
/// As for [`own_offer`]; it is of our size.
#[inline(always)]
pub(super) unsafe fn offer_again(event: *const Event) -> Offer {
    // SAFETY: passed on.
    unsafe { read(event, (&raw const (*event).flags).read_unaligned()) }
}

/// Two words as they lie in memory, as one.
#[inline(always)]
const fn as_one([first, second]: [u32; 2]) -> u64 {
    let (first, second) = (first as u64, second as u64);
    if cfg!(target_endian = "little") { second << 32 | first } else { first << 32 | second }
}

/// Whether an event is of our size.
///
/// # Safety
/// As for [`own_offer`].
#[inline(always)]
unsafe fn is_own(event: *const Event) -> bool {
    // SAFETY: by contract. No alignment is assumed.
    !event.is_null()
        && unsafe { (&raw const (*event).struct_size).read_unaligned() } as usize == size_of::<Event>()
}

/// Reads the rest of an event.
///
/// # Safety
/// It is of our size.
#[inline(always)]
unsafe fn read(event: *const Event, flags: u32) -> Offer {
    // SAFETY: by contract. No alignment is assumed.
    unsafe {
        Offer {
            kind: (&raw const (*event).kind).read_unaligned(),
            flags,
            timestamp: (&raw const (*event).timestamp_ns).read_unaligned(),
            correlation_id: (&raw const (*event).correlation_id).read_unaligned(),
            node_id: (&raw const (*event).node_id).read_unaligned(),
            data: (&raw const (*event).data).read_unaligned().cast(),
            len: (&raw const (*event).len).read_unaligned(),
        }
    }
}

/// Reads a caller's event. The error is a status, its detail already kept.
///
/// # Safety
/// As for [`own_offer`].
#[inline(always)]
pub(super) unsafe fn offer(event: *const Event) -> Result<Offer, i32> {
    // SAFETY: passed on.
    unsafe { own_offer(event).map_or_else(|| other_offer(event), Ok) }
}

/// Reads an event of another size than ours, or says what is wrong with it.
///
/// # Safety
/// As for [`offer`].
#[cold]
unsafe fn other_offer(event: *const Event) -> Result<Offer, i32> {
    let explain = |wrong: sized::Wrong<'_>| {
        set_last_error(format_args!("{wrong}"));
        wrong.status()
    };
    // SAFETY: by contract.
    let (mut event, _) =
        unsafe { sized::read(event, std::mem::zeroed::<Event>(), "event") }.map_err(explain)?;
    event.struct_size = size_of::<Event>() as u32;
    // SAFETY: an event of this library's size.
    unsafe { own_offer(&raw const event) }.ok_or_else(|| {
        set_last_error(format_args!("pipeline_event_t.reserved: 0 allowed, {} given", event.reserved));
        PIPELINE_ERR_INVALID
    })
}
