//! Messages: blocks of a journal for a transport that frames them, such as NATS. `docs/format.md` specifies them under "Messages".
//!
//! An [`Encoder`] makes messages of the events that a storage is given, and of the facts about them. A [`Reader`] gives the events of a message.

mod encode;
mod known;
mod read;
mod taken;
#[cfg(test)]
mod tests;

pub use encode::{Encoder, Message, NotEncoded};
pub use read::{Event, Reader, Summary};
pub(crate) use taken::Cursor;
pub use taken::{Events, Stretch};

/// With what the checksums of a message begin: the transport frames it.
const SALT: u64 = 0;
