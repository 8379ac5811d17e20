//! Finding segments: at the start, and while a journal that is being written is followed.

use super::allocation::push;
use super::core::{Core, failed, no_memory};
use super::losses::{Gone, Refused};
use super::options::Order;
use super::segment::{NotOpened, Open};
use crate::journal::format::segment::{NoSegment, parse_file_name};
use crate::platform::memory;
use crate::status::{Error, PIPELINE_ERR_INVALID, PIPELINE_ERR_UNSUPPORTED, Result};
use std::io;
use std::path::{Path, PathBuf};

impl Core {
    /// Looks for new segments and new blocks.
    pub fn look(&mut self) -> Result<()> {
        if !self.is_incomplete {
            self.index.forget();
        }
        self.is_incomplete = true;
        self.find_segments()?;
        self.set_shifts();
        for segment in 0..self.segments.all.len() {
            memory::check()?;
            self.index.set_apart();
            self.ranges.next_segment();
            self.scan(segment)?;
        }
        self.find_overlaps()?;
        let places = &mut self.index.places;
        self.progress.total_bytes += places.iter().map(|place| place.len).sum::<u64>();
        if self.options.order == Order::Time {
            places.sort_unstable_by_key(|place| (place.first, place.segment, place.offset));
        }
        self.is_incomplete = false;
        Ok(())
    }

    fn find_segments(&mut self) -> Result<()> {
        match self.directory.clone() {
            Some(directory) => {
                let found = loop {
                    match segments_in(&directory) {
                        Err(error) if self.segments.makes_room(&error) => {}
                        found => break found.map_err(|error| failed(&directory, &error))?,
                    }
                };
                for path in found {
                    memory::check()?;
                    if !self.known.contains(&path) {
                        self.open_segment(&path, false)?;
                    }
                }
            }
            None if self.segments.all.is_empty() => {
                let paths: Vec<PathBuf> = self.known.iter().cloned().collect();
                paths.iter().try_for_each(|path| self.open_segment(path, true))?;
            }
            None => {}
        }
        Ok(())
    }

    /// Opens a segment, or notes why not. An error: there is only this one.
    fn open_segment(&mut self, path: &Path, only: bool) -> Result<()> {
        let error = match self.segments.open(path) {
            Ok(open) => {
                self.known.insert(path.to_path_buf());
                if self.filter.wants_generation(open.info.header.generation) {
                    self.segments.push(open).map_err(|_| no_memory("a segment"))?;
                }
                return Ok(());
            }
            Err(error) => error,
        };
        let refuse = |reason: String, status: i32| match only {
            true => Err(Error::new(status, format!("{}: {reason}", path.display()))),
            false => Ok(Refused { path: path.to_path_buf(), offset: 0, reason }),
        };
        let refused = match error {
            // It may be written before the reader looks again.
            NotOpened::Begun { lives: true, .. } => return Ok(()),
            // Or its writer has just made it, and is about to lock it.
            NotOpened::Begun { lives: false, bytes: 0 } if !only => return Ok(()),
            NotOpened::Begun { lives: false, bytes } if bytes > 0 => {
                self.losses.torn_tails += 1;
                self.losses.torn_bytes += bytes;
                self.known.insert(path.to_path_buf());
                return Ok(());
            }
            NotOpened::Begun { .. } => refuse("an empty file".into(), PIPELINE_ERR_INVALID)?,
            NotOpened::NoFile => refuse("not a regular file".into(), PIPELINE_ERR_INVALID)?,
            NotOpened::NoSegment(reason @ (NoSegment::Version(_) | NoSegment::ByteOrder)) => {
                refuse(reason.to_string(), PIPELINE_ERR_UNSUPPORTED)?
            }
            NotOpened::NoSegment(reason) => refuse(reason.to_string(), PIPELINE_ERR_INVALID)?,
            NotOpened::Io(error) if only => return Err(failed(path, &error)),
            NotOpened::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                self.known.insert(path.to_path_buf());
                self.losses.gone.push(Gone { path: path.to_path_buf(), ..Gone::default() });
                return Ok(());
            }
            NotOpened::Io(error) => refuse(error.to_string(), 0)?,
        };
        self.known.insert(path.to_path_buf());
        self.losses.refused.push(refused);
        Ok(())
    }

    /// Times of different boots of the machine cannot be compared. So the later boot's are shifted by the difference of the two clocks.
    fn set_shifts(&mut self) {
        let boot = |open: &Open| {
            let header = &open.info.header;
            match header.owner.boot_id {
                [0, ..] if header.owner.boot_id == [0; 16] => u128::from(header.generation),
                id => u128::from_le_bytes(id),
            }
        };
        let base = |open: &Open| open.info.header.realtime_ns.saturating_sub(open.info.header.monotonic_ns);
        let mut boots = std::collections::BTreeMap::new();
        for open in &self.segments.all {
            let first = boots.entry(boot(open)).or_insert(u64::MAX);
            *first = base(open).min(*first);
        }
        if boots.len() < 2 {
            return;
        }
        let earliest = boots.values().copied().min().unwrap_or(0);
        for open in self.segments.all.iter_mut().filter(|open| open.info.blocks == 0) {
            open.shift = boots.get(&boot(open)).map_or(0, |base| base - earliest);
        }
    }
}

/// The files in a directory that have the name of a segment, by generation and number.
fn segments_in(directory: &Path) -> io::Result<impl Iterator<Item = PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if let Some(key) = entry.file_name().to_str().and_then(parse_file_name) {
            push(&mut found, (key, entry.path()))?;
        }
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, path)| path))
}
