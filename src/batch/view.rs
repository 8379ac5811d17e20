//! A batch as a storage sees it.

use crate::event::EventView;
use std::ffi::c_void;

/// What `open_writer` gave for a writer; a number to everyone but the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterData(pub *mut c_void);

impl WriterData {
    /// Nothing.
    pub const NONE: Self = Self(std::ptr::null_mut());
}

/// A batch as a storage sees it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct BatchView {
    /// `sizeof(pipeline_batch_t)` of the library.
    pub struct_size: u32,
    /// Bytes from one event to the next; use `PIPELINE_BATCH_EVENT(batch, i)`.
    pub event_stride: u32,
    /// Which pipeline of the process; never reused.
    pub pipeline_id: u64,
    /// 64 random bits drawn when the pipeline started: the first part of every event's identity. A batch of recovered events has the generation
    /// of the run that captured them.
    pub generation: u64,
    /// Unique among the batches of the pipeline; the same at each attempt.
    pub batch_id: u64,
    /// Names this attempt; for `pipeline_batch_complete`.
    pub token: u64,
    /// 1 at the first attempt.
    pub attempt: u32,
    /// The writer that makes the attempt.
    pub writer_id: u32,
    /// When the writer took the batch up, CLOCK_MONOTONIC in nanoseconds. For recovered events it is on the clock of their run.
    pub processed_at_ns: u64,
    /// Add it to a `timestamp_ns` for wall time (nanoseconds since 1970), own-time events excepted. For recovered events it is that of their run.
    pub realtime_offset_ns: i64,
    /// From `open_writer`; NULL without.
    pub writer_data: *mut c_void,
    /// How many events.
    pub count: usize,
    /// The events, `event_stride` bytes apart.
    pub events: *const EventView,
}

impl BatchView {
    /// The events.
    pub fn events(&self) -> &[EventView] {
        // SAFETY: `events` points to `count` views, which live as long as the batch; a view is shown to a storage for that time only.
        unsafe { std::slice::from_raw_parts(self.events, self.count) }
    }
}

impl Default for BatchView {
    fn default() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            event_stride: size_of::<EventView>() as u32,
            pipeline_id: 0,
            generation: 0,
            batch_id: 0,
            token: 0,
            attempt: 0,
            writer_id: 0,
            processed_at_ns: 0,
            realtime_offset_ns: 0,
            writer_data: std::ptr::null_mut(),
            count: 0,
            events: std::ptr::null(),
        }
    }
}
