//! The database's files as this process has them open.
//!
//! SQLite makes each of its system calls through a table that can be changed. The copy that is compiled into this library calls
//! [`system_calls`] instead of the C library. Each of these first checks in [`own_descriptors`] that the descriptor is still the one that SQLite
//! opened, because a host may have closed it and opened a file of its own with the same number. Locks belong to the open file
//! description, so that a host that opens and closes the database itself does not drop them. [`paths`] makes the files, and tells
//! whether their paths still lead to them.
//!
//! With the feature `sqlite-system` the copy also belongs to the host. Its calls are not replaced, and only [`paths`] is in use.

#[cfg(feature = "sqlite")]
mod own_descriptors;
pub(super) mod paths;
#[cfg(feature = "sqlite")]
mod system_calls;
mod thread_files;

#[cfg(feature = "sqlite")]
pub(super) use system_calls::install;
pub(super) use thread_files::{lost, take_size_limit};
#[cfg(not(feature = "sqlite"))]
pub(super) use unreplaced::install;

/// Nothing is to be done if the system calls are not replaced.
#[cfg(not(feature = "sqlite"))]
mod unreplaced {
    pub fn install() {}
}
