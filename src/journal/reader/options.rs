//! What a reader is asked for.

/// The order in which a reader gives the events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Segment after segment, as they lie in the files. This is the fastest.
    #[default]
    Stored,
    /// By (time, generation, ring, sequence), over all segments.
    Time,
}

/// What a reader gives. The default is everything, in the order in which it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The order of the events. With `follow` it holds for the events that are there at once.
    pub order: Order,
    /// Goes on with what is written after the reader was opened. `next` then returns `None` while there is nothing new.
    pub follow: bool,
    /// Only events of these kinds. `None`: of all kinds.
    pub kinds: Option<Vec<u32>>,
    /// Only events with this correlation id.
    pub correlation_id: Option<u64>,
    /// Only events of this run.
    pub generation: Option<u64>,
    /// Only events whose `timestamp_ns` is at least this.
    pub from_ns: u64,
    /// Only events whose `timestamp_ns` is less than this. `u64::MAX`: no bound.
    pub to_ns: u64,
    /// Only events whose `realtime_ns` (nanoseconds since 1970) is at least this.
    pub from_realtime_ns: u64,
    /// Only events whose `realtime_ns` is less than this. `u64::MAX`: no bound.
    pub to_realtime_ns: u64,
    /// How much memory the reader may use, in bytes. At least [`MIN_MEMORY`](Self::MIN_MEMORY); an event that takes more than a
    /// quarter is not read, but counted in `losses`.
    pub memory_bytes: usize,
}

impl Options {
    /// The default of `memory_bytes`.
    pub const MEMORY: usize = 192 << 20;
    /// The least `memory_bytes`.
    pub const MIN_MEMORY: usize = 16 << 20;
}

impl Default for Options {
    fn default() -> Self {
        Self {
            order: Order::default(),
            follow: false,
            kinds: None,
            correlation_id: None,
            generation: None,
            from_ns: 0,
            to_ns: u64::MAX,
            from_realtime_ns: 0,
            to_realtime_ns: u64::MAX,
            memory_bytes: Self::MEMORY,
        }
    }
}
