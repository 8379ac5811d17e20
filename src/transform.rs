//! A transform: a function of the program that is shown each event before the storage is, and may filter or rewrite it.

use crate::event::{
    EventView, PIPELINE_EVENT_OPAQUE, PIPELINE_EVENT_RELEASE, PIPELINE_EVENT_TAG_1,
    PIPELINE_EVENT_TRANSFORMED, PIPELINE_KIND_RESERVED,
};
use crate::rules::TAGS;
use std::ffi::c_void;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// `pipeline_transform_t.transform`: the event stays as it is. What the function wrote into `rewrite` is ignored.
pub const PIPELINE_TRANSFORM_KEEP: i32 = 0;
/// `pipeline_transform_t.transform`: the event is not stored. It counts as `filtered`.
pub const PIPELINE_TRANSFORM_FILTER: i32 = 1;
/// `pipeline_transform_t.transform`: the storage gets the event as `rewrite` says, with the flag `PIPELINE_EVENT_TRANSFORMED`.
pub const PIPELINE_TRANSFORM_REWRITE: i32 = 2;

/// The flags that a transform may change: the tags, and what the payload's form is. All others say how the event was captured.
const CHANGEABLE: u32 = (((1 << TAGS) - 1) * PIPELINE_EVENT_TAG_1) | PIPELINE_EVENT_OPAQUE;

/// What a transform makes of an event. Every member has the event's value before the call; the function changes what it likes and
/// returns `PIPELINE_TRANSFORM_REWRITE`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Rewrite {
    /// `sizeof(pipeline_rewrite_t)` of the library.
    pub struct_size: u32,
    /// The kind; below `PIPELINE_KIND_RESERVED`.
    pub kind: u32,
    /// The trace that the event belongs to.
    pub correlation_id: u64,
    /// The place in the program that the event came from.
    pub node_id: u64,
    /// The payload. The function may set it to memory of its own, which must stay as it is until the function is called again on the same
    /// thread or the thread ends; to `scratch`; or to a part of the event's payload. The library copies it when the function has returned.
    /// NULL only if `len` is 0.
    pub data: *const c_void,
    /// The payload's length in bytes, at most `scratch_len`.
    pub len: usize,
    /// Memory of the library's that the function may write a new payload into, 8-byte aligned. Its contents before the call have no
    /// meaning, and it is lost unless `data` points to it when the function returns.
    pub scratch: *mut c_void,
    /// Its size in bytes, which is the pipeline's `max_event_bytes`.
    pub scratch_len: usize,
    /// `PIPELINE_EVENT_...`. The function may set and clear the tags, `PIPELINE_EVENT_TAG_1` to `_8`, and `PIPELINE_EVENT_OPAQUE`, no other flag.
    pub flags: u32,
    /// Not used.
    pub reserved: u32,
}

impl Rewrite {
    /// An event that is not changed yet.
    pub fn new(event: &EventView, scratch: *mut u8, scratch_len: usize) -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            kind: event.kind,
            correlation_id: event.correlation_id,
            node_id: event.node_id,
            data: event.data,
            len: event.len,
            scratch: scratch.cast(),
            scratch_len,
            flags: event.flags,
            reserved: 0,
        }
    }

    /// What is wrong with it, if anything is.
    pub fn wrong(&self, event: &EventView, most: usize) -> Option<Wrong> {
        let changed = (self.flags ^ event.flags) & !CHANGEABLE;
        if self.kind >= PIPELINE_KIND_RESERVED {
            Some(Wrong::Kind(self.kind))
        } else if self.len > most {
            Some(Wrong::TooLarge { len: self.len, most })
        } else if self.data.is_null() && self.len != 0 {
            Some(Wrong::Null { len: self.len })
        } else if changed != 0 {
            Some(Wrong::Flags(changed))
        } else {
            None
        }
    }

    /// The event as the storage is to see it, with its payload at `data`.
    pub fn applied(&self, event: &EventView, data: *const c_void) -> EventView {
        // A new payload is no handle.
        let handle = if self.changes_payload(event) { PIPELINE_EVENT_RELEASE } else { 0 };
        EventView {
            kind: self.kind,
            correlation_id: self.correlation_id,
            node_id: self.node_id,
            flags: self.flags & !handle | PIPELINE_EVENT_TRANSFORMED,
            data,
            len: self.len,
            ..*event
        }
    }

    /// Whether the payload is another one.
    pub fn changes_payload(&self, event: &EventView) -> bool {
        (self.data, self.len) != (event.data, event.len)
    }
}

/// What a transform did that it must not. The event stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It ended its thread.
    Ended,
    /// It panicked.
    Panicked,
    /// It returned this number.
    Answered(i32),
    /// It set a kind that is the library's own.
    Kind(u32),
    /// It set a length that no event may have.
    TooLarge {
        /// That length.
        len: usize,
        /// `max_event_bytes`.
        most: usize,
    },
    /// It set no payload, but a length.
    Null {
        /// That length.
        len: usize,
    },
    /// It changed these flags, which it must not.
    Flags(u32),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Ended => f.write_str("ended its thread"),
            Self::Panicked => f.write_str("panicked"),
            Self::Answered(answer) => write!(f, "returned {answer} (allowed: 0 to 2)"),
            Self::Kind(kind) => write!(f, "set kind {kind:#x} (allowed: below {PIPELINE_KIND_RESERVED:#x})"),
            Self::TooLarge { len, most } => {
                write!(f, "set a payload of {len} bytes (max_event_bytes is {most})")
            }
            Self::Flags(flags) => write!(f, "changed the flags {flags:#x} (allowed: {CHANGEABLE:#x})"),
            Self::Null { len } => write!(f, "set a payload of {len} bytes at NULL"),
        }
    }
}

/// The function: shown an event, it answers with `PIPELINE_TRANSFORM_…`. `None`: it panicked.
pub type Call = dyn Fn(&EventView, &mut Rewrite) -> Option<i32> + Send + Sync;

/// A transform. It is dropped when it was replaced, or the pipeline is torn down, and no call of it runs.
pub struct Transform(Box<Call>);

impl Transform {
    /// One whose function is in Rust: if it panics, the event stays as it was.
    pub fn new(call: impl Fn(&EventView, &mut Rewrite) -> i32 + Send + Sync + 'static) -> Self {
        Self(Box::new(move |event, rewrite| catch_unwind(AssertUnwindSafe(|| call(event, rewrite))).ok()))
    }

    /// One whose function may end its thread, because it is in C.
    pub fn plain(call: Box<Call>) -> Self {
        Self(call)
    }

    /// Shows it an event.
    pub fn call(&self, event: &EventView, rewrite: &mut Rewrite) -> Option<i32> {
        (self.0)(event, rewrite)
    }
}

impl fmt::Debug for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transform")
    }
}
