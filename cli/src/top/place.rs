//! Finds the files of pipelines: ring files and files of live figures, in a directory or among the open files of a process.

use super::args::Subject;
use super::process;
use crate::failure::Failure;
use capture_pipeline::journal::format::figures::is_file_name;
use capture_pipeline::ring_file::format::parse_file_name;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Rings, and figures.
    Rings,
    /// Figures alone.
    Figures,
}

impl Sort {
    /// By the name of a file. `None`: it is none of a pipeline.
    fn of(name: &OsStr) -> Option<Self> {
        let name = name.to_str()?;
        if parse_file_name(name).is_some() {
            Some(Self::Rings)
        } else {
            is_file_name(name).then_some(Self::Figures)
        }
    }
}

/// A file of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is called.
    pub path: PathBuf,
    /// Where it is opened, if that is elsewhere: an entry of /proc leads to a file that was deleted, or is in another mount namespace.
    pub link: Option<PathBuf>,
    /// What it has.
    pub sort: Sort,
}

/// The files, in the order of their names. `None`: the process has ended.
pub fn find(subject: &Subject) -> Result<Option<Vec<Found>>, Failure> {
    match subject {
        Subject::Directory(path) => in_directory(path).map(Some).map_err(|error| Failure::of(path, &error)),
        Subject::Process(pid) => of_process(*pid),
    }
}

fn in_directory(directory: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if let Some(sort) = Sort::of(&entry.file_name()) {
            found.push(Found { path: entry.path(), link: None, sort });
        }
    }
    found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Those that a process has open or mapped.
fn of_process(pid: u32) -> Result<Option<Vec<Found>>, Failure> {
    let descriptors = format!("/proc/{pid}/fd");
    let entries = match std::fs::read_dir(&descriptors) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Failure::new(format!(
                "process {pid}: {descriptors} cannot be read: {error}; run the command as the user of the process or as root, or give the directory (ring_dir) in place of the process"
            )));
        }
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        // (It may be closed meanwhile.)
        let Ok(target) = std::fs::read_link(entry.path()) else { continue };
        let path = without_mark(target);
        let Some(sort) = path.file_name().and_then(Sort::of) else { continue };
        // What only has such a name is not opened: to open a pipe or a device may do something.
        let is_file = std::fs::metadata(entry.path()).is_ok_and(|status| status.is_file());
        if is_file && !found.iter().any(|other: &Found| other.path == path) {
            found.push(Found { path, link: Some(entry.path()), sort });
        }
    }
    mapped(pid, &mut found);
    found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(Some(found))
}

/// The path of a link of /proc, without the mark of a file that was deleted.
fn without_mark(target: PathBuf) -> PathBuf {
    match target.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(path) => PathBuf::from(OsStr::from_bytes(path)),
        None => target,
    }
}

/// Adds files that are mapped, and whose descriptors are closed.
fn mapped(pid: u32, found: &mut Vec<Found>) {
    let maps = std::fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
    for line in maps.split(|&byte| byte == b'\n') {
        let Some((inode, path)) = mapping(line) else { continue };
        let Some(sort) = path.file_name().and_then(Sort::of) else { continue };
        if found.iter().any(|other| other.path == path) {
            continue;
        }
        // As the process sees it, which may be in another mount namespace. Another file may have the name by now.
        let link = PathBuf::from(format!("/proc/{pid}/root")).join(path.strip_prefix("/").unwrap_or(&path));
        if std::fs::symlink_metadata(&link).is_ok_and(|status| status.is_file() && status.ino() == inode) {
            found.push(Found { path, link: Some(link), sort });
        }
    }
}

/// The inode and the path in a line of /proc/PID/maps.
fn mapping(line: &[u8]) -> Option<(u64, PathBuf)> {
    let path_at = line.iter().position(|&byte| byte == b'/')?;
    let (fields, path) = line.split_at(path_at);
    let inode = std::str::from_utf8(fields).ok()?.split_ascii_whitespace().nth(4)?.parse().ok()?;
    Some((inode, PathBuf::from(OsStr::from_bytes(path))))
}

/// Whether a file's owner is the process that is asked for.
pub fn is_of(subject: &Subject, owner: u32) -> bool {
    match subject {
        Subject::Directory(_) => true,
        Subject::Process(pid) => process::ids_of(*pid).contains(&owner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_pipelines_are_known_by_their_names() {
        let sort = |name: &str| Sort::of(OsStr::new(name));
        assert_eq!(sort("00000000000000ff.rings"), Some(Sort::Rings));
        assert_eq!(sort("00000000000000ff.figures"), Some(Sort::Figures));
        for other in ["00000000000000FF.rings", "ff.rings", "00000000000000ff-00000001.journal", ""] {
            assert_eq!(sort(other), None, "{other}");
        }
    }

    #[test]
    fn a_mapping_has_its_inode_and_its_path() {
        let line = b"7f00-7f10 rw-s 00001000 00:2a 4711        /dev/shm/a b/1.rings";
        assert_eq!(mapping(line), Some((4711, PathBuf::from("/dev/shm/a b/1.rings"))));
        assert_eq!(mapping(b"7f00-7f10 rw-p 00000000 00:00 0 [heap]"), None);
        assert_eq!(mapping(b""), None);
        assert_eq!(without_mark("/a/b (deleted)".into()), PathBuf::from("/a/b"));
    }
}
