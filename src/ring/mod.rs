//! Ring buffers: the only queue. One byte ring per capturing thread; an event leaves it when the storage has
//! acknowledged it, not when a writer has read it.
//!
//! [`record`] is how an event lies in memory, [`memory`] where; [`log`] is the protocol between one producer and the
//! writers (publish, claim, release, overwrite); [`buffer`] gives that an identity, [`front`] is what a producer sees of its pipeline, [`producer`] the
//! capture itself, and [`rings`] all of a pipeline's.

#[cfg(not(loom))]
pub mod buffer;
#[cfg(not(loom))]
pub mod copy;
#[cfg(not(loom))]
pub mod front;
pub mod log;
pub mod memory;
#[cfg(not(loom))]
pub mod producer;
pub mod record;
#[cfg(not(loom))]
pub mod rings;
