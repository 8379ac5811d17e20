//! Which directories may hold ring files. A store to a mapped file ends the process if the file system cannot find space for it, so only file systems are
//! taken that keep the space which they have allocated.

use super::start::Start;
use crate::files::folder::{Folder, Place as Directory, system_of};
use crate::status::{Error, PIPELINE_ERR_INVALID, PIPELINE_ERR_STORAGE, PIPELINE_ERR_UNSUPPORTED, Result};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// File systems in memory that keep what they have allocated.
const IN_MEMORY: [i64; 1] = [0x0102_1994]; // tmpfs
/// The same on disks: ext2 to ext4, XFS.
const ON_DISK: [i64; 2] = [0xEF53, 0x5846_5342];

/// Fails unless the directory is the caller's alone, on a file system that can promise space.
pub(super) fn on_a_promising_system(directory: &Directory, path: &Path, may_be_on_disk: bool) -> Result<()> {
    let folder = directory.folder().map_err(|failure| failure.at(path))?;
    let shown = path.display();
    let status = folder.status().map_err(|failure| failure.at(path))?;
    // SAFETY: the call has no arguments and does not fail.
    let me = unsafe { libc::geteuid() };
    if status.st_uid != me {
        return Err(Error::new(
            PIPELINE_ERR_INVALID,
            format!(
                "pipeline_config_t.ring_dir: {shown} belongs to uid {}, this process runs as uid {me}; give a directory of its own",
                status.st_uid
            ),
        ));
    }
    if status.st_mode & 0o022 != 0 {
        return Err(Error::new(
            PIPELINE_ERR_INVALID,
            format!(
                "pipeline_config_t.ring_dir: {shown} has the permissions {:04o}, so other users may write to it; chmod go-w it",
                status.st_mode & 0o7777
            ),
        ));
    }
    let system = folder.file_system().map_err(|failure| failure.at(path))?;
    check(system, path, may_be_on_disk)
}

/// The same for a directory that is not there yet, by its parent, so that none is made in vain.
pub(super) fn in_a_promising_place(path: &Path, may_be_on_disk: bool) -> Result<()> {
    let parent = path.parent().filter(|_| std::fs::symlink_metadata(path).is_err());
    let name = parent.and_then(|parent| CString::new(parent.as_os_str().as_bytes()).ok());
    match name.and_then(|name| system_of(&name)) {
        Some(system) => check(system, path, may_be_on_disk),
        // What fails here fails again where the directory is opened, with its reason.
        None => Ok(()),
    }
}

fn check(system: i64, path: &Path, may_be_on_disk: bool) -> Result<()> {
    let shown = path.display();
    if IN_MEMORY.contains(&system) || (ON_DISK.contains(&system) && may_be_on_disk) {
        return Ok(());
    }
    let why = if ON_DISK.contains(&system) {
        "is on a disk, where writing back may stop a capture for milliseconds; give a directory on tmpfs such as /dev/shm, or set ring_disk to 1"
    } else {
        "is on a file system that does not promise space for what is written (copy-on-write, network or layered); give a directory on tmpfs, ext4 or XFS"
    };
    Err(Error::new(
        PIPELINE_ERR_UNSUPPORTED,
        format!("pipeline_config_t.ring_dir: {shown} {why} (its type is {system:#x})"),
    ))
}

/// The error where the file system refuses to allocate the file.
pub(super) fn too_little_space(folder: &Folder, path: &Path, start: &Start, errno: i32) -> Error {
    let shown = path.display();
    let need = start.shape.file_bytes();
    let error = std::io::Error::from_raw_os_error(errno);
    let mut text = format!("pipeline_config_t.ring_dir: {shown}: {need} bytes cannot be allocated: {error}");
    match errno {
        libc::ENOSPC | libc::EDQUOT => {
            let free = folder.free_bytes().unwrap_or(0);
            let most = most_rings(start, free);
            text += &format!("; {free} bytes are free; ");
            text += &match most {
                0 => "free some, or lower ring_bytes".to_owned(),
                most => format!("max_rings: {most} would fit, {} given", start.max_rings),
            };
        }
        libc::EFBIG => {
            text += "; the limit on the size of files, RLIMIT_FSIZE (ulimit -f), or that of the file system is reached"
        }
        _ => {}
    }
    let status = if errno == libc::EOPNOTSUPP { PIPELINE_ERR_UNSUPPORTED } else { PIPELINE_ERR_STORAGE };
    Error::new(status, text)
}

/// The highest `max_rings` whose file needs at most so many bytes; 0: none.
fn most_rings(start: &Start, free: u64) -> u32 {
    let fits = |max_rings: u32| {
        let less = start.max_rings - max_rings;
        let mut shape = start.shape;
        shape.rings -= less;
        shape.priority_rings = shape.priority_rings.saturating_sub(less);
        shape.file_bytes() <= free
    };
    let (mut fit, mut too_many) = (0, start.max_rings + 1);
    while too_many - fit > 1 {
        let middle = fit + (too_many - fit) / 2;
        if middle <= start.max_rings && fits(middle) { fit = middle } else { too_many = middle }
    }
    fit
}
