//! Ring buffers: the only queue. One byte ring per capturing thread; an event leaves it when the storage has
//! acknowledged it, not when a writer has read it.
//!
//! [`record`] is how an event lies in memory, [`memory`] where; [`ring_buffer`] is the protocol between one producer and the
//! writers (publish, claim, release, overwrite); [`slot`] gives a ring buffer an identity; [`intake`] is the part of a pipeline that
//! producers read, with the [`doorbell`], the [`pressure`], what is [`refused`], and what concerns [`priority`] rings. [`copies`] are for snapshots. The producers, and the registry of
//! all slots, are in [`capture`](crate::capture).

#[cfg(not(loom))]
pub mod copies;
#[cfg(not(loom))]
pub mod copy;
#[cfg(not(loom))]
pub mod doorbell;
#[cfg(not(loom))]
pub mod intake;
#[cfg(not(loom))]
pub mod memory;
#[cfg(loom)]
#[path = "loom_memory.rs"]
pub mod memory;
#[cfg(not(loom))]
pub mod pressure;
pub mod priority;
pub mod record;
#[cfg(not(loom))]
pub mod refused;
pub mod ring_buffer;
#[cfg(not(loom))]
pub mod slot;
pub mod words;
