//! An event: what a caller offers, and what a storage sees.

use std::ffi::c_void;

/// `pipeline_event_t.flags`: the event matters more than others. It is captured into a ring buffer of its own thread or producer that is for such
/// events alone, so it finds room where the others have filled theirs, and it is stored before them. See `pipeline_config_t.priority_ring_bytes`.
pub const PIPELINE_EVENT_PRIORITY: u32 = 1;
/// `pipeline_event_t.flags`: `timestamp_ns` is the caller's; otherwise the event is stamped at its capture.
pub const PIPELINE_EVENT_OWN_TIME: u32 = 2;
/// `pipeline_event_t.flags`: the payload is a handle that the storage's `release` gives back. It only matters to a
/// storage with `PIPELINE_STORAGE_RELEASE_MARKED`.
pub const PIPELINE_EVENT_RELEASE: u32 = 4;
/// `pipeline_event_t.flags`: the payload has a form that only the program and its storage understand, such as an address. Rules see its length, but neither compare
/// its bytes nor redact them.
pub const PIPELINE_EVENT_OPAQUE: u32 = 8;
/// `pipeline_event_view_t.flags`: sampling keeps the event, and may have dropped earlier events of its trace. Set by the library.
pub const PIPELINE_EVENT_PARTIAL: u32 = 1 << 8;
/// `pipeline_event_view_t.flags`: a transform has rewritten the event. Captures must not set it.
pub const PIPELINE_EVENT_TRANSFORMED: u32 = 1 << 9;
/// `pipeline_event_view_t.flags`: a rule or a transform has given the event the tag 1. Captures must not set it.
pub const PIPELINE_EVENT_TAG_1: u32 = 1 << 16;
/// `pipeline_event_view_t.flags`: the tag 2.
pub const PIPELINE_EVENT_TAG_2: u32 = 1 << 17;
/// `pipeline_event_view_t.flags`: the tag 3.
pub const PIPELINE_EVENT_TAG_3: u32 = 1 << 18;
/// `pipeline_event_view_t.flags`: the tag 4.
pub const PIPELINE_EVENT_TAG_4: u32 = 1 << 19;
/// `pipeline_event_view_t.flags`: the tag 5.
pub const PIPELINE_EVENT_TAG_5: u32 = 1 << 20;
/// `pipeline_event_view_t.flags`: the tag 6.
pub const PIPELINE_EVENT_TAG_6: u32 = 1 << 21;
/// `pipeline_event_view_t.flags`: the tag 7.
pub const PIPELINE_EVENT_TAG_7: u32 = 1 << 22;
/// `pipeline_event_view_t.flags`: the tag 8.
pub const PIPELINE_EVENT_TAG_8: u32 = 1 << 23;
/// `pipeline_config_t.clock`: the processor's counter stamps events where it is invariant and the kernel keeps its own time by it
/// (Linux: the clock source is `tsc` or `arch_sys_counter`), else the clock does.
pub const PIPELINE_CLOCK_AUTO: u32 = 0;
/// `pipeline_config_t.clock`, `pipeline_metrics_t.clock`: `clock_gettime(CLOCK_MONOTONIC)` stamps events.
pub const PIPELINE_CLOCK_MONOTONIC: u32 = 1;
/// `pipeline_config_t.clock`, `pipeline_metrics_t.clock`: the processor's counter stamps events, at half the price. What a
/// storage sees is CLOCK_MONOTONIC all the same, converted by the writer.
pub const PIPELINE_CLOCK_TICKS: u32 = 2;
/// cbindgen:ignore
/// Kinds from here on are the library's own; a caller's event must have a smaller one.
pub const PIPELINE_KIND_RESERVED: u32 = 0xFFFF_0000;
/// cbindgen:ignore
/// A reserved kind: `node_id` is a kind, the payload its name (not NUL-terminated).
pub const PIPELINE_KIND_KIND_NAME: u32 = 0xFFFF_0001;
/// cbindgen:ignore
/// A reserved kind: the thread of the ring `node_id`; `correlation_id` is its thread id, the payload its name.
pub const PIPELINE_KIND_THREAD: u32 = 0xFFFF_0002;
/// cbindgen:ignore
/// A reserved kind: the payload is a [`ClockFacts`].
pub const PIPELINE_KIND_CLOCK: u32 = 0xFFFF_0003;
/// cbindgen:ignore
/// A reserved kind: the definition of the kind `node_id`. The payload is the wire form of a [`Definition`](crate::kinds::Definition).
pub const PIPELINE_KIND_DEFINITION: u32 = 0xFFFF_0004;

/// cbindgen:ignore
/// A reserved kind: an attribute of the pipeline. `node_id` numbers it; the payload is the length of its name as a byte, its name, and its value.
pub const PIPELINE_KIND_ATTRIBUTE: u32 = 0xFFFF_0006;

/// cbindgen:ignore
/// The flags with which the fast path takes an event. Events with another flag go by the slow path. `PIPELINE_FAST_FLAGS` in
/// `capture_pipeline_fast.h`.
pub(crate) const FAST_FLAGS: u32 = PIPELINE_EVENT_OWN_TIME | PIPELINE_EVENT_RELEASE | PIPELINE_EVENT_OPAQUE;

/// cbindgen:ignore
/// All flags that a caller may set.
pub(crate) const KNOWN_FLAGS: u32 = FAST_FLAGS | PIPELINE_EVENT_PRIORITY;

/// cbindgen:ignore
/// An event that a caller offers, read and not yet checked.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// The event's kind.
    pub kind: u32,
    /// `PIPELINE_EVENT_...`.
    pub flags: u32,
    /// Its time in nanoseconds; read only if `flags` has `PIPELINE_EVENT_OWN_TIME`.
    pub timestamp: u64,
    /// Its trace.
    pub correlation_id: u64,
    /// Its place in the program.
    pub node_id: u64,
    /// The payload.
    pub data: *const u8,
    /// The payload's length.
    pub len: usize,
}

impl Offer {
    /// An event that has nothing but a kind and a payload.
    #[inline(always)]
    pub fn new(kind: u32, data: *const u8, len: usize) -> Self {
        Self { kind, flags: 0, timestamp: 0, correlation_id: 0, node_id: 0, data, len }
    }
}

/// What a caller offers.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// `sizeof(pipeline_event_t)` of the caller.
    pub struct_size: u32,
    /// The event's kind, in the caller's own numbering; below `PIPELINE_KIND_RESERVED`.
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

/// The payload of an event of kind `PIPELINE_KIND_CLOCK`: which clock stamps a pipeline's events, and its reading beside those of others. The event comes
/// when the pipeline starts; once more when the rate of the processor's counter has been measured, within seconds; and whenever another
/// clock takes over. Later versions may append to it. Since 0.1.0.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockFacts {
    /// `sizeof(pipeline_clock_facts_t)` of the library.
    pub struct_size: u32,
    /// The clock that stamps events from here on, `PIPELINE_CLOCK_MONOTONIC` or `PIPELINE_CLOCK_TICKS`. Events show CLOCK_MONOTONIC either way.
    pub clock: u32,
    /// CLOCK_MONOTONIC in nanoseconds, at one moment.
    pub monotonic_ns: u64,
    /// CLOCK_REALTIME in nanoseconds since 1970 at that moment, within a few microseconds.
    pub realtime_ns: u64,
    /// The processor's counter at that moment. With `PIPELINE_CLOCK_TICKS`, else 0.
    pub ticks: u64,
    /// How fast the counter runs, in hertz. 0: not measured yet, or not `PIPELINE_CLOCK_TICKS`.
    pub ticks_hz: u64,
    /// Which boot of the machine CLOCK_MONOTONIC and the counter belong to: the bytes of `/proc/sys/kernel/random/boot_id` in the order of
    /// its digits. All 0: unknown.
    pub boot_id: [u8; 16],
    /// The process that captures.
    pub pid: u32,
    /// 0.
    pub reserved: u32,
}

impl ClockFacts {
    /// Its size in bytes.
    pub const SIZE: usize = size_of::<Self>();

    /// The bytes as they lie in memory.
    pub fn bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        [self.struct_size, self.clock].iter().for_each(|n| put(&n.to_ne_bytes()));
        let times = [self.monotonic_ns, self.realtime_ns, self.ticks, self.ticks_hz];
        times.iter().for_each(|n| put(&n.to_ne_bytes()));
        put(&self.boot_id);
        [self.pid, self.reserved].iter().for_each(|n| put(&n.to_ne_bytes()));
        bytes
    }

    /// Reads its bytes, of this library or a newer one.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
            let (field, more) = rest.split_first_chunk()?;
            *rest = more;
            Some(*field)
        }
        let mut rest = bytes;
        let rest = &mut rest;
        Some(Self {
            struct_size: u32::from_ne_bytes(take(rest)?),
            clock: u32::from_ne_bytes(take(rest)?),
            monotonic_ns: u64::from_ne_bytes(take(rest)?),
            realtime_ns: u64::from_ne_bytes(take(rest)?),
            ticks: u64::from_ne_bytes(take(rest)?),
            ticks_hz: u64::from_ne_bytes(take(rest)?),
            boot_id: take(rest)?,
            pid: u32::from_ne_bytes(take(rest)?),
            reserved: u32::from_ne_bytes(take(rest)?),
        })
    }
}

/// An event as a storage sees it. It is valid until its batch is settled.
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
    /// As offered, or as a transform has rewritten it.
    pub correlation_id: u64,
    /// As offered, or as a transform has rewritten it.
    pub node_id: u64,
    /// As offered, or as a transform has rewritten it.
    pub kind: u32,
    /// As offered; with `PIPELINE_EVENT_TRANSFORMED` if a transform has rewritten the event.
    pub flags: u32,
    /// How many offered events this one stands for: 1 unless it was sampled.
    pub weight: f64,
    /// The payload, 8-byte aligned, in the ring buffer, or where the library keeps a rewritten one. Not NULL, also when `len` is 0.
    pub data: *const c_void,
    /// The payload's length in bytes.
    pub len: usize,
}

// SAFETY: a view is plain data; the holder of its batch keeps the payload alive and unchanged.
unsafe impl Send for EventView {}
// SAFETY: as above; no thread writes through `data`.
unsafe impl Sync for EventView {}

impl EventView {
    /// The payload.
    pub fn payload(&self) -> &[u8] {
        // SAFETY: `data` points to `len` bytes of a claimed record, or to a payload of a transform's that its batch keeps. No thread writes
        // them until the batch is settled; the view is only lent out for that time.
        unsafe { std::slice::from_raw_parts(self.data.cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::ClockFacts;
    use std::mem::offset_of;

    #[test]
    fn clock_facts_are_read_as_they_lie_in_memory() {
        let facts = ClockFacts {
            struct_size: ClockFacts::SIZE as u32,
            clock: 2,
            monotonic_ns: 3,
            realtime_ns: u64::MAX,
            ticks: 5,
            ticks_hz: 6,
            boot_id: std::array::from_fn(|n| n as u8),
            pid: 7,
            reserved: 8,
        };
        let bytes = facts.bytes();
        let at = |offset: usize, field: &[u8]| assert_eq!(&bytes[offset..offset + field.len()], field);
        at(offset_of!(ClockFacts, struct_size), &facts.struct_size.to_ne_bytes());
        at(offset_of!(ClockFacts, clock), &facts.clock.to_ne_bytes());
        at(offset_of!(ClockFacts, monotonic_ns), &facts.monotonic_ns.to_ne_bytes());
        at(offset_of!(ClockFacts, realtime_ns), &facts.realtime_ns.to_ne_bytes());
        at(offset_of!(ClockFacts, ticks), &facts.ticks.to_ne_bytes());
        at(offset_of!(ClockFacts, ticks_hz), &facts.ticks_hz.to_ne_bytes());
        at(offset_of!(ClockFacts, boot_id), &facts.boot_id);
        at(offset_of!(ClockFacts, pid), &facts.pid.to_ne_bytes());
        at(offset_of!(ClockFacts, reserved), &facts.reserved.to_ne_bytes());
        assert_eq!(ClockFacts::from_bytes(&bytes), Some(facts));
        assert_eq!(ClockFacts::from_bytes(&[&bytes[..], b"of a later version"].concat()), Some(facts));
        assert_eq!(ClockFacts::from_bytes(&bytes[1..]), None);
    }
}
