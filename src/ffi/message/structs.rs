//! What is said about a message.

use crate::ffi::guard::require;
use crate::ffi::sized;
use crate::status::Result;

/// `pipeline_message_encoder_open`: messages of events begin with the names of the threads of their rings, where those are known. That takes 128 bytes and 64 for
/// each ring.
pub const PIPELINE_MESSAGE_THREADS: u32 = 1;

/// What is in a message. Set `struct_size` before a call that fills it in.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct pipeline_message_t {
    /// `sizeof(pipeline_message_t)` of the caller.
    pub struct_size: u32,
    /// The blocks of events, each of one ring buffer. 0: a message of facts.
    pub blocks: u32,
    /// The run of the pipeline: the first part of every event's identity.
    pub generation: u64,
    /// The ring buffer of the first event.
    pub ring_id: u64,
    /// The sequence of the first event; of a message of facts, the number of the first fact.
    pub first_sequence: u64,
    /// The facts about its events that the pipeline had when the message was encoded, as many as its list had. A consumer that has so many facts of this
    /// generation knows all names and definitions that were there. 0: unknown.
    pub schema: u64,
    /// The events in the message, or the facts.
    pub count: usize,
    /// The bytes of the message. After `PIPELINE_ERR_LIMIT`: what the first event or fact needs.
    pub length: usize,
}

// SAFETY: repr(C), plain integers, `struct_size` first.
unsafe impl sized::Sized32 for pipeline_message_t {
    const NAME: &'static str = "pipeline_message_t";
}

/// Checks that a message can be filled in.
///
/// # Safety
/// `message` is NULL or as its `struct_size` says.
pub(super) unsafe fn check(message: *const pipeline_message_t) -> Result<()> {
    require(message, "message")?;
    // SAFETY: at least four bytes are readable, by contract; no alignment is assumed.
    let size = unsafe { message.cast::<u32>().read_unaligned() } as usize;
    Ok(sized::check::<pipeline_message_t>(size)?)
}
