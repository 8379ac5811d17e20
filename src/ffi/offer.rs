//! How a caller's event is read.

use super::guard::set_last_error;
use super::sized;
use crate::capture::Offer;
use crate::event::Event;
use crate::status::{Error, PIPELINE_ERR_INVALID};

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
        if !event.is_null()
            && (&raw const (*event).struct_size).read_unaligned() as usize == size_of::<Event>()
            && (&raw const (*event).reserved).read_unaligned() == 0
        {
            let flags = (&raw const (*event).flags).read_unaligned();
            return Some(Offer {
                kind: (&raw const (*event).kind).read_unaligned(),
                flags,
                timestamp: (&raw const (*event).timestamp_ns).read_unaligned(),
                correlation_id: (&raw const (*event).correlation_id).read_unaligned(),
                node_id: (&raw const (*event).node_id).read_unaligned(),
                data: (&raw const (*event).data).read_unaligned().cast(),
                len: (&raw const (*event).len).read_unaligned(),
            });
        }
        None
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
    let explain = |error: Error| {
        set_last_error(format_args!("{error}"));
        error.status
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
