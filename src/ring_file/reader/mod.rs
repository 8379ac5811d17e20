//! Reads ring files: of processes that have ended, and of those that go on meanwhile.
//!
//! A [`Directory`] is opened once, and its files by their names. A [`RingFile`] gives the header, the words of the rings and the figures; [`Facts`] and [`Clock`] say what
//! its events need; a [`RingReader`] gives the events of one ring in [`Piece`]s. Nothing in a file is believed: positions, lengths, kinds, flags and sequences are
//! checked, and what does not fit is [`Damage`], which ends its ring and no other. A [`DeadRun`] is a file taken for recovery.

mod aligned;
mod chain;
mod clock;
mod dead_run;
mod directory;
mod facts;
mod file;
mod owner;
mod records;

pub use chain::{Chain, Of, Reason, Step};
pub use clock::Clock;
pub use dead_run::{DeadRun, Losses, Taken};
pub use directory::{Directory, Purpose};
pub use facts::Facts;
pub use file::{NotRead, OWNER_LOCK, RECOVERY_LOCK, RingFile, RingWords};
pub(super) use owner::lives_with;
pub use records::{Damage, Next, PIECE_BYTES, Piece, RingReader};
