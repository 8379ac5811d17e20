//! An event as a reader gives it.

/// An event of a journal. Its payload is valid until the next call on the reader.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event<'a> {
    /// The run of the pipeline that captured it. With `ring_id` and `sequence` this is the event's identity.
    pub generation: u64,
    /// The ring that it was captured into.
    pub ring_id: u64,
    /// Its number in the ring.
    pub sequence: u64,
    /// CLOCK_MONOTONIC in nanoseconds, or the caller's own time (flag `PIPELINE_EVENT_OWN_TIME`).
    pub timestamp_ns: u64,
    /// Nanoseconds since 1970: the timestamp plus the difference of the two clocks when it was stored.
    pub realtime_ns: u64,
    /// Its trace; 0: none.
    pub correlation_id: u64,
    /// Its place in the program; 0: none.
    pub node_id: u64,
    /// Its kind.
    pub kind: u32,
    /// `PIPELINE_EVENT_…`.
    pub flags: u32,
    /// How many events it stands for.
    pub weight: f64,
    /// Its segment, as an index into `Reader::segments`.
    pub segment: usize,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// Adds the difference of the two clocks to a time; results that are no `u64` become its bounds.
#[inline]
pub(in crate::journal) fn realtime(ns: u64, offset: i64) -> u64 {
    ns.saturating_add_signed(offset)
}
