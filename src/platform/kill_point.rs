//! Points at which tests kill the process, as a signal from elsewhere may at any moment. They are compiled in under `cfg(kill_points)` alone.
//!
//! The environment variable `KILL_AT` names a point, and how often it is passed before the process is killed there: `published:17`.

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal;)*) => {
        /// A point.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Point {
            $($(#[$doc])* $point,)*
        }

        impl Point {
            /// All of them, in the order of an event's way.
            pub const ALL: &[Self] = &[$(Self::$point,)*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }
        }
    };
}

points! {
    /// The ring file has its name, and no lock.
    FileNamed = "file-named";
    /// It has its lock, and no space.
    FileLocked = "file-locked";
    /// It has its space, and no header.
    FileAllocated = "file-allocated";
    /// It has its header, and no magic.
    HeaderWritten = "header-written";
    /// It is complete.
    FileMade = "file-made";
    /// A capture has the busy word.
    CaptureBegun = "capture-begun";
    /// The payload is in the ring.
    PayloadCopied = "payload-copied";
    /// The record is in the ring.
    RecordWritten = "record-written";
    /// The event is counted.
    EventCounted = "event-counted";
    /// The event is published.
    EventPublished = "event-published";
    /// A batch is claimed.
    BatchClaimed = "batch-claimed";
    /// The storage is about to be called.
    StoreCalled = "store-called";
    /// The storage has answered.
    StoreAnswered = "store-answered";
    /// A batch is about to release its space.
    BatchSettled = "batch-settled";
    /// The space is released.
    SpaceReleased = "space-released";
    /// A segment of a journal is sealed, and no other begun.
    SegmentSealed = "segment-sealed";
    /// A segment has its name, and no header.
    SegmentNamed = "segment-named";
    /// A fact is written, and not committed.
    FactWritten = "fact-written";
    /// Recovery has read events, and not passed them on.
    EventsRead = "events-read";
    /// Recovery has passed events on, which are stored, and not acknowledged.
    EventsRecovered = "events-recovered";
    /// They are acknowledged.
    RecoveryAcknowledged = "recovery-acknowledged";
    /// The file holds no event any more.
    FileEmptied = "file-emptied";
    /// A snapshot has copied a ring.
    RingCopied = "ring-copied";
    /// A snapshot is written, and not sealed.
    SnapshotWritten = "snapshot-written";
    /// The ring file is about to be deleted.
    FileDeleted = "file-deleted";
}

/// The process passes a point.
#[cfg(not(kill_points))]
#[inline(always)]
pub fn pass(_: Point) {}

/// The process passes a point, or is killed there.
#[cfg(kill_points)]
pub fn pass(point: Point) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static TARGET: OnceLock<Option<(String, AtomicU64)>> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let text = std::env::var("KILL_AT").ok()?;
        let (name, times) = text.split_once(':')?;
        Some((name.to_owned(), AtomicU64::new(times.parse().ok()?)))
    });
    if let Some((name, left)) = target
        && name == point.name()
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        // SAFETY: the process ends here.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
}
