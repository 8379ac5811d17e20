//! Whether a descriptor still is SQLite's. A call that finds it lost notes that for its thread's connection.

use super::thread_files::LOST;
use crate::files::descriptors;

/// Whether a descriptor without an entry is SQLite's: it was opened before the table was used, which happens in tests only. In a forked
/// child it is a descriptor that the child has closed, of a connection of the parent (if a callback has forked on that thread).
fn unknown_is_ours() -> bool {
    !descriptors::is_of_a_child()
}

fn note(ours: bool) -> bool {
    if !ours {
        LOST.set(true);
    }
    ours
}

/// Whether this number still is the descriptor that SQLite opened.
pub(super) fn is_ours(fd: i32) -> bool {
    note(descriptors::is_ours(fd).unwrap_or_else(unknown_is_ours))
}

/// Removes a descriptor from the table. `true`: it is SQLite's, and to be closed.
pub(super) fn remove(fd: i32) -> bool {
    descriptors::remove(fd).map_or_else(unknown_is_ours, note)
}
