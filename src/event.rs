//! An event: what a caller offers, and what a storage sees.

use std::ffi::c_void;

/// `pipeline_event_t.flags`: the event is stored before ordinary ones.
pub const PIPELINE_EVENT_PRIORITY: u32 = 1;
/// `pipeline_event_t.flags`: `timestamp_ns` is the caller's; otherwise the event is stamped at its capture.
pub const PIPELINE_EVENT_OWN_TIME: u32 = 2;
/// `pipeline_event_t.flags`: the payload is a handle, to be let go by the storage's `release`. Only means something to a
/// storage with `PIPELINE_STORAGE_RELEASE_MARKED`.
pub const PIPELINE_EVENT_RELEASE: u32 = 4;
/// cbindgen:ignore
/// Kinds from here on are the library's own; a caller's event must have a smaller one.
pub const PIPELINE_KIND_RESERVED: u32 = 0xFFFF_0000;
/// cbindgen:ignore
/// A reserved kind: `node_id` is a kind, the payload its name (not NUL-terminated).
pub const PIPELINE_KIND_KIND_NAME: u32 = 0xFFFF_0001;
/// cbindgen:ignore
/// A reserved kind: the thread behind the ring `node_id`: `correlation_id` is its thread id, the payload its name.
pub const PIPELINE_KIND_THREAD: u32 = 0xFFFF_0002;

/// cbindgen:ignore
/// All flags that a caller may set.
pub(crate) const KNOWN_FLAGS: u32 =
    PIPELINE_EVENT_PRIORITY | PIPELINE_EVENT_OWN_TIME | PIPELINE_EVENT_RELEASE;

/// What a caller offers.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// `sizeof(pipeline_event_t)` of the caller.
    pub struct_size: u32,
    /// What sort of event this is, in the caller's own numbering; below `PIPELINE_KIND_RESERVED`.
    pub kind: u32,
    /// Nanoseconds; read only with `PIPELINE_EVENT_OWN_TIME`.
    pub timestamp_ns: u64,
    /// The trace that the event belongs to; 0: none.
    pub correlation_id: u64,
    /// The place in the program that the event came from (ElixirScope's `ast_node_id`); 0: none.
    pub node_id: u64,
    /// `PIPELINE_EVENT_...`, or 0.
    pub flags: u32,
    /// Must be 0.
    pub reserved: u32,
    /// The payload; copied during the call. NULL only if `len` is 0.
    pub data: *const c_void,
    /// The payload's length in bytes, at most `max_event_bytes`.
    pub len: usize,
}

/// What a storage sees of an event. It points into the ring buffer: valid until its batch is settled.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EventView {
    /// The ring buffer that the event was captured into. With the batch's `generation` and `sequence` this is the
    /// event's identity: the key for a storage that must store a redelivered event once.
    pub ring_id: u64,
    /// The event's number in its ring buffer, from 0. A gap is an event that was dropped or overwritten.
    pub sequence: u64,
    /// CLOCK_MONOTONIC in nanoseconds at capture, or the caller's own with `PIPELINE_EVENT_OWN_TIME`.
    pub timestamp_ns: u64,
    /// As offered.
    pub correlation_id: u64,
    /// As offered.
    pub node_id: u64,
    /// As offered.
    pub kind: u32,
    /// As offered.
    pub flags: u32,
    /// How many offered events this one stands for: 1 unless sampled.
    pub weight: f64,
    /// The payload, 8-byte aligned, in the ring buffer. Not NULL, also when `len` is 0.
    pub data: *const c_void,
    /// The payload's length in bytes.
    pub len: usize,
}

// SAFETY: a view is plain data; whoever holds the batch it belongs to keeps what `data` points to alive and unchanged.
unsafe impl Send for EventView {}
// SAFETY: as above; nobody writes through `data`.
unsafe impl Sync for EventView {}

impl EventView {
    /// The payload.
    pub fn payload(&self) -> &[u8] {
        // SAFETY: `data` points to `len` bytes of a claimed record, which nobody writes until its batch is settled;
        // the view is only lent out for that time.
        unsafe { std::slice::from_raw_parts(self.data.cast(), self.len) }
    }
}
