//! The names of what every event has, whatever its kind.

/// What every event has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Own {
    /// The kind: its number and its name.
    Kind,
    /// The name of the kind.
    KindName,
    /// Nanoseconds since 1970. May be compared with a text that is a time.
    WallTime,
    /// The timestamp: CLOCK_MONOTONIC in nanoseconds, or the caller's own time.
    Time,
    /// The run of the pipeline.
    Generation,
    /// The ring.
    RingId,
    /// The number in the ring.
    Sequence,
    /// The trace; 0: none.
    CorrelationId,
    /// The place in the program; 0: none.
    NodeId,
    /// How many events it stands for.
    Weight,
    /// `PIPELINE_EVENT_…`.
    Flags,
    /// The thread's id.
    ThreadId,
    /// The thread's name.
    ThreadName,
    /// The length of the payload.
    PayloadBytes,
    /// The payload.
    Payload,
}

/// The names, and for some a short one as well.
const NAMES: [(Own, &str, &str); 15] = [
    (Own::Kind, "kind", ""),
    (Own::KindName, "kind_name", ""),
    (Own::WallTime, "wall_time", "time"),
    (Own::Time, "time_ns", ""),
    (Own::Generation, "generation", ""),
    (Own::RingId, "ring_id", "ring"),
    (Own::Sequence, "sequence", ""),
    (Own::CorrelationId, "correlation_id", ""),
    (Own::NodeId, "node_id", ""),
    (Own::Weight, "weight", ""),
    (Own::Flags, "flags", ""),
    (Own::ThreadId, "tid", ""),
    (Own::ThreadName, "thread_name", "thread"),
    (Own::PayloadBytes, "payload_bytes", "len"),
    (Own::Payload, "payload", ""),
];

impl Own {
    /// All of them.
    pub const ALL: [Self; NAMES.len()] = {
        let mut all = [Self::Kind; NAMES.len()];
        let mut n = 0;
        while n < NAMES.len() {
            all[n] = NAMES[n].0;
            n += 1;
        }
        all
    };

    /// Its name. With an underscore in front, no field has it.
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// By its name, with or without the underscore.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.strip_prefix('_').unwrap_or(name);
        let is = |known: &str| !known.is_empty() && known.eq_ignore_ascii_case(name);
        NAMES.iter().find(|(_, long, short)| is(long) || is(short)).map(|(own, ..)| *own)
    }
}
