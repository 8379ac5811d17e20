//! What a reader is told, and what it shows.

use crate::ffi::sized;
use crate::journal::reader::Options;
use std::ffi::{c_char, c_void};

/// `pipeline_reader_options_t.flags`: the events come in the order of (time, generation, ring, sequence), over all rings and segments. Runs of different boots
/// of the machine come one after the other. Without this flag the events come as they are stored, segment after segment, which is faster.
pub const PIPELINE_READER_TIME_ORDER: u32 = 1;
/// `pipeline_reader_options_t.flags`: the reader goes on with what is written after it was opened. What comes later is given in the order in which it is found; only
/// events of one ring keep their order, as far as they were written in it.
pub const PIPELINE_READER_FOLLOW: u32 = 2;

/// What a reader gives. `pipeline_reader_options_init` writes every default: everything, as it is stored.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_reader_options_t {
    /// `sizeof(pipeline_reader_options_t)` of the caller.
    pub struct_size: u32,
    /// `PIPELINE_READER_...`, or 0.
    pub flags: u32,
    /// Only events whose `timestamp_ns` is at least this. Default 0.
    pub from_ns: u64,
    /// Only events whose `timestamp_ns` is less than this. Default `UINT64_MAX`: no bound.
    pub to_ns: u64,
    /// Only events whose `realtime_ns` is at least this. Default 0.
    pub from_realtime_ns: u64,
    /// Only events whose `realtime_ns` is less than this. Default `UINT64_MAX`: no bound.
    pub to_realtime_ns: u64,
    /// Only events with this correlation id. Default 0: all.
    pub correlation_id: u64,
    /// Only events of this run. Default 0: of all runs.
    pub generation: u64,
    /// The kinds of the events that are given; copied during the call. Default NULL: all kinds.
    pub kinds: *const u32,
    /// The number of `kinds`. Default 0.
    pub kind_count: usize,
    /// How much memory the reader may use, in bytes; at least 16 MiB. An event that takes more than a quarter (compressed: an eighth) is
    /// counted in `pipeline_reader_losses_t`, and not given. Default 192 MiB.
    pub memory_bytes: u64,
}

// SAFETY: repr(C), plain integers and a pointer, `struct_size` first.
unsafe impl sized::Sized32 for pipeline_reader_options_t {
    const NAME: &'static str = "pipeline_reader_options_t";
}

pub(in crate::ffi) const DEFAULTS: pipeline_reader_options_t = pipeline_reader_options_t {
    struct_size: size_of::<pipeline_reader_options_t>() as u32,
    flags: 0,
    from_ns: 0,
    to_ns: u64::MAX,
    from_realtime_ns: 0,
    to_realtime_ns: u64::MAX,
    correlation_id: 0,
    generation: 0,
    kinds: std::ptr::null(),
    kind_count: 0,
    memory_bytes: Options::MEMORY as u64,
};

/// An event of a journal.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_reader_event_t {
    /// `sizeof(pipeline_reader_event_t)` of the caller.
    pub struct_size: u32,
    /// As captured.
    pub kind: u32,
    /// The run of the pipeline. With `ring_id` and `sequence` this is the event's identity: a reader gives each once.
    pub generation: u64,
    /// The ring buffer that the event was captured into.
    pub ring_id: u64,
    /// The event's number in its ring buffer. A gap is an event that was dropped, overwritten, or is in a part that is missing.
    pub sequence: u64,
    /// CLOCK_MONOTONIC in nanoseconds at capture, or the caller's own with `PIPELINE_EVENT_OWN_TIME`.
    pub timestamp_ns: u64,
    /// The same in nanoseconds since 1970, by the difference of the two clocks when the event was stored.
    pub realtime_ns: u64,
    /// As captured; 0: none.
    pub correlation_id: u64,
    /// As captured; 0: none.
    pub node_id: u64,
    /// As captured: `PIPELINE_EVENT_...`.
    pub flags: u32,
    /// 0.
    pub reserved: u32,
    /// How many captured events this one stands for.
    pub weight: f64,
    /// The payload, valid until the next event is asked for. It need not be aligned. Not NULL, also when `len` is 0.
    pub data: *const c_void,
    /// The payload's length in bytes.
    pub len: usize,
}

// SAFETY: repr(C), plain numbers and a pointer, `struct_size` first.
unsafe impl sized::Sized32 for pipeline_reader_event_t {
    const NAME: &'static str = "pipeline_reader_event_t";
}

/// What a reader could not give so far. It is complete when all events have been read.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_reader_losses_t {
    /// `sizeof(pipeline_reader_losses_t)` of the caller.
    pub struct_size: u32,
    /// 1: something is lost; 0: nothing is.
    pub any: u32,
    /// Blocks whose contents are not those that were written.
    pub damaged_blocks: u64,
    /// The events that they had.
    pub damaged_events: u64,
    /// Places where a block should begin and none does.
    pub damages: u64,
    /// The bytes that are skipped because of both.
    pub damaged_bytes: u64,
    /// Segments whose writer ended in the middle of a write. That write was not acknowledged.
    pub torn_tails: u64,
    /// The bytes of those.
    pub torn_bytes: u64,
    /// Blocks that cannot be read: by their encoding, or because of `memory_bytes`.
    pub unreadable_blocks: u64,
    /// The events in them.
    pub unreadable_events: u64,
    /// Events that are stored more than once and are given once. They are no loss.
    pub duplicates: u64,
    /// Events with one identity and two contents. The one that was stored first is given.
    pub contradictions: u64,
    /// Definitions of kinds that contradict an earlier one, or cannot be read.
    pub bad_facts: u64,
    /// Segments that are not read, or not to their end: of another version, another byte order, or no segments at all.
    pub refused_segments: u64,
    /// Segments that were deleted before they were read.
    pub gone_segments: u64,
    /// The events in them, as far as they were known.
    pub gone_events: u64,
    /// What is lost and why, a line for each: for people, and not to be parsed. Never NULL; "" if nothing is lost. Valid until the
    /// next call on the reader.
    pub details: *const c_char,
}

// SAFETY: repr(C), plain integers and a pointer, `struct_size` first.
unsafe impl sized::Sized32 for pipeline_reader_losses_t {
    const NAME: &'static str = "pipeline_reader_losses_t";
}

/// An attribute of a run: see `pipeline_attribute`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_reader_attribute_t {
    /// `sizeof(pipeline_reader_attribute_t)` of the caller.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Its name. Never NULL. Valid until the next call on the reader.
    pub name: *const c_char,
    /// Its value. Never NULL. Valid until the next call on the reader.
    pub value: *const c_char,
}

// SAFETY: repr(C), plain integers and pointers, `struct_size` first.
unsafe impl sized::Sized32 for pipeline_reader_attribute_t {
    const NAME: &'static str = "pipeline_reader_attribute_t";
}

/// The thread of a ring buffer.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_reader_thread_t {
    /// `sizeof(pipeline_reader_thread_t)` of the caller.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// The id of the thread.
    pub thread_id: u64,
    /// The name of the thread. Never NULL. Valid until the next call on the reader.
    pub name: *const c_char,
}

// SAFETY: repr(C), plain integers and a pointer, `struct_size` first.
unsafe impl sized::Sized32 for pipeline_reader_thread_t {
    const NAME: &'static str = "pipeline_reader_thread_t";
}
