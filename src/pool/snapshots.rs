//! Snapshots of a pool's rings.

use super::Pool;
use crate::platform::memory;
use crate::ring::slot::Slot;
use crate::snapshot::{self, Options, Snapshot, Subject};
use crate::status::Result;
use std::path::Path;

impl Pool {
    /// Writes what lies in the rings to the directory `dir`. No lock of the pool is held meanwhile but for a moment, for the ledger.
    pub fn snapshot(&self, dir: &Path, options: &Options) -> Result<Snapshot> {
        let mut rings = Vec::new();
        for ring in self.rings.iter() {
            rings.try_reserve(1).map_err(|_| memory::refused(size_of::<&Slot>()))?;
            rings.push(ring);
        }
        snapshot::take(&Subject { source: self, rings, timeline: self.clock.timeline() }, dir, options)
    }
}
