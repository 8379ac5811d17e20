//! Perfetto's trace format: packets with track events.
//!
//! A trace is a row of packets. Each track has a *sequence* of packets of its own, so that an event need not say on which track it is, and its time is
//! only the difference from the one before it. What the packets of a sequence have in common is said when it begins, and names are said once in it.
//!
//! What the reader of these files does with them, where one would not expect it:
//! - A packet without the number of its sequence is ignored, and so are names before the packet that clears the sequence's state.
//! - An event whose clock no snapshot relates to the trace's clock is dropped.
//! - A name on the end of a slice is a condition: it is left out here.
//! - A time of 2^63 and more is dropped: [`LAST_TIME`].
//! - Integers of 2^63 and more are shown as negative: here they are written as texts.
//! - Thread ids are cut to 32 bits: a larger one is in the thread's name here, and another one stands for it.
//! - Of more than 512 slices within each other the deeper ones are never ended, and their ends end others: whoever draws them must use several tracks.
//! - A text is cut at a NUL: here it becomes [`NUL`].

mod descriptor;
mod fields;
mod names;
mod numbers;
mod packets;
#[cfg(test)]
mod tests;
mod track;

pub use fields::{About, KindNames, OwnNames, annotate};
pub use names::{Name, NameOf, Names};
pub use numbers::{number_of, number_of_text};
pub use packets::{Annotations, Encoder, Event, Mark};
pub use track::{Sequence, Track, TrackKind, Unit};

/// The latest time that the reader takes, in nanoseconds.
pub const LAST_TIME: u64 = i64::MAX as u64;
/// What a NUL in a text becomes: the symbol for it.
pub const NUL: char = '\u{2400}';
