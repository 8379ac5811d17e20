//! Captures events at the cost of a copy, and passes each of them to a storage.
//!
//! The way of an [`event`]:
//! 1. [`capture`] copies it into the calling thread's [`ring`], unless the [`rules`] drop it.
//! 2. A writer of the [`pool`] claims it as a part of a [`batch`]. The event stays in the ring. A [`transform`], if there is one, may filter or rewrite it.
//! 3. The writer passes the batch to the [`storage`].
//! 4. When the storage has answered, the [`pool`] settles the batch and releases its space in the ring.
//!
//! The [`ledger`] accounts for each event. The [`pool`] schedules and supervises the writers. The [`manager`] starts, changes and closes a pipeline, and
//! [`ffi`] has the functions of the C ABI. [`kinds`] says what the payloads of typed kinds consist of. [`expression`] chooses events by their fields, [`rules`] says what becomes of them before they are captured. [`exposition`] writes the metrics as text for Prometheus. [`journal`] has the format of the files that the journal storage writes, [`formats`] has those of other programs. [`ring_file`] lets the rings outlive the process, [`recovery`] delivers what is left in them, [`files`] is how the library writes files beside its host. [`platform`] and [`clock`] are the layer below.

/// Small allocations succeed even if `malloc` fails: see [`platform::memory`].
#[cfg(all(feature = "memory-reserve", not(loom)))]
#[global_allocator]
static ALLOCATOR: platform::memory::WithReserve = platform::memory::WithReserve;

#[cfg(not(loom))]
pub mod batch;
#[cfg(not(loom))]
pub mod capture;
#[cfg(not(loom))]
pub mod clock;
#[cfg(not(loom))]
pub mod config;
#[cfg(not(loom))]
pub mod event;
#[cfg(not(loom))]
pub mod exposition;
/// cbindgen:ignore
#[cfg(not(loom))]
pub mod expression;
#[cfg(not(loom))]
pub mod facts;
#[cfg(not(loom))]
pub mod ffi;
/// cbindgen:ignore
#[cfg(not(loom))]
pub mod files;
/// cbindgen:ignore
#[cfg(not(loom))]
pub mod formats;
/// cbindgen:ignore
#[cfg(not(loom))]
pub mod journal;
/// cbindgen:ignore
#[cfg(not(loom))]
pub mod kinds;
pub mod latency;
#[cfg(not(loom))]
pub mod ledger;
#[cfg(not(loom))]
pub mod manager;
#[cfg(not(loom))]
pub mod metrics;
pub mod platform;
#[cfg(not(loom))]
pub mod pool;
/// cbindgen:ignore
#[cfg(not(loom))]
pub mod recovery;
pub mod ring;
/// cbindgen:ignore
#[cfg(not(loom))]
pub mod ring_file;
/// cbindgen:ignore
#[cfg(not(loom))]
pub mod rules;
/// cbindgen:ignore
#[cfg(not(loom))]
pub mod snapshot;
pub mod status;
#[cfg(not(loom))]
pub mod storage;
#[cfg(not(loom))]
pub mod transform;
/// cbindgen:ignore
#[cfg(not(loom))]
pub mod wall_time;
