//! The ring file of a pipeline: made at its start, shown the figures while it runs, deleted when no event is left in it.

use super::Pool;
use crate::config::Config;
use crate::journal::format::figures::{FILE_BYTES, Live, encode};
use crate::platform::{memory, time};
use crate::ring_file::format::Shape;
use crate::ring_file::run_file::{RunFile, refuse_handles};
use crate::ring_file::start::Start;
use crate::status::Result;
use crate::storage::Abilities;
use std::sync::Arc;

/// The time between two writes of the figures.
pub(super) const FIGURES_MS: u64 = 1_000;

/// Makes the file that the configuration asks for, if it asks for one.
pub(super) fn make(
    config: &Config,
    can: &Abilities,
    generation: u64,
    in_ticks: bool,
) -> Result<Option<Arc<RunFile>>> {
    let Some(directory) = &config.ring_dir else { return Ok(None) };
    refuse_handles(can.release, can.release_marked)?;
    // The ring for threads without one of their own, and those that replace pinned ones.
    let rings = config.max_rings + 1 + config.max_retired_rings;
    let priority_ring_bytes = config.priority_bytes();
    let file = RunFile::make(&Start {
        directory,
        may_be_on_disk: config.ring_disk != 0,
        generation,
        shape: Shape {
            ring_bytes: config.ring_bytes,
            priority_ring_bytes,
            rings,
            priority_rings: if priority_ring_bytes == 0 { 0 } else { rings },
        },
        in_ticks,
        name: &config.name,
        max_rings: config.max_rings,
    })?;
    Ok(Some(file))
}

/// A file that no pool has yet.
pub(super) struct Unused(pub Option<Arc<RunFile>>);

impl Unused {
    /// The pool has it.
    pub(super) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Unused {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            file.delete();
        }
    }
}

/// What the supervisor writes figures with.
#[derive(Default)]
pub(super) struct Figures {
    next_ns: u64,
    sequence: u64,
    bytes: Vec<u8>,
}

impl Pool {
    /// Deletes the ring file if no event is left in it. No capture may follow.
    pub(super) fn delete_empty_ring_file(&self) {
        if let Some(file) = self.rings.file()
            && self.rings.iter().filter(|ring| !ring.is_meta()).all(|ring| ring.is_drained())
        {
            file.delete();
        }
    }

    /// The pipeline is torn down: what is left in its file is for others to recover.
    pub(super) fn give_up_ring_file(&self) {
        self.delete_empty_ring_file();
        if let Some(file) = self.rings.file() {
            file.give_up();
        }
    }

    /// Writes the figures to the ring file, if that is due.
    pub(super) fn write_figures(&self, figures: &mut Figures) {
        let Some(file) = self.rings.file() else { return };
        let now = time::now_ns();
        if now < figures.next_ns {
            return;
        }
        figures.next_ns = now + FIGURES_MS * 1_000_000;
        if self.try_write_figures(file, figures, now).is_err() {
            log::debug!("pipeline {}: no memory for the figures of its ring file", self.name);
        }
    }

    fn try_write_figures(&self, file: &RunFile, figures: &mut Figures, now: u64) -> Result<()> {
        if figures.bytes.is_empty() {
            figures.bytes.try_reserve_exact(FILE_BYTES).map_err(|_| memory::refused(FILE_BYTES))?;
            figures.bytes.resize(FILE_BYTES, 0);
        }
        let live = Live {
            generation: self.generation,
            owner: file.header().owner,
            monotonic_ns: now,
            realtime_ns: now.wrapping_add_signed(time::realtime_offset_ns()),
            name: self.name.clone(),
            storage: self.storage_name.to_owned(),
            figures: self.figures()?,
            writers_left_out: 0,
        };
        figures.sequence += 2;
        let used = encode(&live, figures.sequence, &mut figures.bytes);
        file.write_figures(&figures.bytes[..used]);
        Ok(())
    }
}
