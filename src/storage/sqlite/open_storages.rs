//! The SQLite storages of this process.
//!
//! No caller waits for the end of a storage: its committing thread makes the indexes and closes the connection by itself. A program
//! may open the same database again meanwhile. The newer storage removes the indexes, because it writes faster without them. So the
//! older one stops making them and leaves them to the newer one.

use super::failure::Failure;
use super::files::paths;
use super::shared::Shared;
use crate::platform::process::PerProcess;
use crate::platform::sync::Mutex;
use crate::platform::time;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long a new storage waits for an older one to close the database. This takes milliseconds, unless the disk hangs.
const TAKE_OVER_TIMEOUT_NS: u64 = 5_000_000_000;

/// How long opening a connection waits for connections that have lost their descriptors. They close within milliseconds, unless the disk hangs.
const LOST_CLOSE_TIMEOUT_NS: u64 = 1_000_000_000;

/// Oldest first.
static STORAGES: PerProcess<Mutex<Vec<Weak<Shared>>>> = PerProcess::new();

/// Adds a storage that is about to open its database. Makes an older storage of the same database that is shutting down yield first.
pub(super) fn take_over(newer: &Arc<Shared>) {
    let mut yielding = Vec::new();
    if let Some(storages) = STORAGES.get_or_make(|| Mutex::new(Vec::new())) {
        let mut storages = storages.lock();
        storages.retain(|one| one.strong_count() > 0);
        let older = storages.iter().filter_map(Weak::upgrade);
        yielding.extend(older.filter(|older| older.path == newer.path && older.shutdown.is_under_way()));
        storages.push(Arc::downgrade(newer));
    }
    let deadline = time::now_ns() + TAKE_OVER_TIMEOUT_NS;
    for older in yielding {
        older.shutdown.yield_to_newer();
        while !older.shutdown.is_closed() && time::now_ns() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Whether a newer storage of this process has the same database open.
pub(super) fn is_superseded(older: &Arc<Shared>) -> bool {
    let Some(storages) = STORAGES.get() else { return false };
    let storages = storages.lock();
    let itself = Arc::downgrade(older);
    let newer = storages.iter().skip_while(|one| !one.ptr_eq(&itself)).skip(1);
    // A newer storage that is closed again has already decided about the indexes, so it does not count.
    newer.filter_map(Weak::upgrade).any(|newer| newer.path == older.path && !newer.shutdown.is_closed())
}

/// Makes the other storages of this process check that they still have their files.
pub(super) fn check_others(from: &Arc<Shared>) {
    check_files_of(|one| !std::ptr::eq(one, Arc::as_ptr(from)));
}

fn check_files_of(which: impl Fn(&Shared) -> bool) {
    let Some(storages) = STORAGES.get() else { return };
    let others: Vec<_> = storages.lock().iter().filter_map(Weak::upgrade).filter(|one| which(one)).collect();
    others.iter().for_each(|one| one.queue.check_files());
}

/// Waits until the connections of this process that have lost a descriptor of the database at `path` are closed. A connection opened
/// before that would get the lost descriptors from SQLite, and would be as useless.
pub(super) fn await_lost_connections(path: &Path) -> Result<(), Failure> {
    let deadline = time::now_ns() + LOST_CLOSE_TIMEOUT_NS;
    while paths::has_lost_descriptors(path) {
        if time::now_ns() >= deadline {
            return Err(Failure::transient(
                "another connection of this process to the same database has lost its descriptors, and is not closed yet",
            ));
        }
        check_files_of(|_| true);
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
