//! The segments that are in the journal's directory.

use crate::files::failure::Failure;
use crate::files::folder::Folder;
use crate::journal::format::segment::parse_file_name;

/// A segment in the directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub generation: u64,
    pub number: u64,
    /// Its size.
    pub bytes: u64,
    /// What it takes on the disk.
    pub disk_bytes: u64,
    /// When it was last written, in nanoseconds since 1970.
    pub written_ns: i64,
}

/// The segments in the directory, in no order.
pub(super) fn list(folder: &Folder) -> Result<Vec<Found>, Failure> {
    let mut found = Vec::new();
    folder.each_name(|name| {
        let Some((generation, number)) = name.to_str().ok().and_then(parse_file_name) else {
            return Ok(());
        };
        let stat = match folder.stat(name) {
            Ok(stat) => stat,
            // It is gone by now.
            Err(failure) if failure.errno == libc::ENOENT => return Ok(()),
            Err(failure) => return Err(failure),
        };
        if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
            return Ok(());
        }
        found.try_reserve(1).map_err(|_| Failure::no_memory())?;
        found.push(Found {
            generation,
            number,
            bytes: stat.st_size.max(0) as u64,
            disk_bytes: stat.st_blocks.max(0) as u64 * 512,
            written_ns: stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec),
        });
        Ok(())
    })?;
    Ok(found)
}
