//! The paths of a database: making its file, and checking whether the paths still lead to the files that are open.

#[cfg(feature = "sqlite")]
use super::own_descriptors;
use super::thread_files::{FILES, ThreadFiles, clear_lost};
#[cfg(feature = "sqlite")]
use crate::files::descriptors;
use crate::files::identity::{Identity, errno, hash, stat_descriptor, stat_path};
use crate::storage::sqlite::failure::Failure;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The suffixes of the database, its write-ahead log and the log's index.
const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

/// The files of one database, as one connection has them open.
pub struct Paths {
    /// The absolute paths, with the symbolic links of the folders resolved as SQLite does it.
    full: [CString; 3],
    /// The names in the folder.
    names: [CString; 3],
    /// The folder, opened so that names can be looked up in it after a change of root. -1: not open.
    folder: i32,
    folder_identity: Identity,
    root: Identity,
    opened: [Option<OpenFile>; 3],
}

/// A file that the connection has open.
#[derive(Clone, Copy)]
struct OpenFile {
    identity: Identity,
    /// -1: not known, because SQLite's system calls are not replaced.
    fd: i32,
}

/// The file at a path, compared with the open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtPath {
    /// It is the open file, or that cannot be told.
    Same,
    /// There is none.
    Missing,
    /// It is another file, of this many bytes.
    Other(u64),
}

/// The files at the paths of the database, its log and the log's index.
pub type AtPaths = [AtPath; 3];

impl Paths {
    /// The paths of a database that the calling thread is about to open. With a `mode`, a missing file is made with exactly these
    /// permissions, which its log and index take over.
    pub fn prepare(path: &Path, mode: Option<u32>) -> Result<Self, Failure> {
        clear_lost();
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Failure::unusable("unable to open database file: the path names no file"));
        };
        let folder = std::fs::canonicalize(folder)
            .map_err(|e| Failure::transient(format!("unable to open database file: its folder: {e}")))?;
        let with_suffix = |name: &OsStr, suffix: &str| {
            let mut bytes = name.as_bytes().to_vec();
            bytes.extend_from_slice(suffix.as_bytes());
            CString::new(bytes)
                .map_err(|_| Failure::unusable("unable to open database file: NUL in its path"))
        };
        let [main, log, index] = SUFFIXES;
        let three = |name: &OsStr| {
            Ok::<_, Failure>([with_suffix(name, main)?, with_suffix(name, log)?, with_suffix(name, index)?])
        };
        let (full, names) = (three(folder.join(name).as_os_str())?, three(name)?);
        let folder = with_suffix(folder.as_os_str(), "")?;
        let stat = stat_path(libc::AT_FDCWD, &folder).map_err(|e| system_failure("its folder", e))?;
        for (path, suffix) in full.iter().zip(SUFFIXES) {
            check_file(path, suffix, &stat)?;
        }
        if let Some(mode) = mode {
            make_file(&full[0], mode)?;
        }
        let paths = Self {
            full,
            names,
            folder: open_folder(&folder),
            folder_identity: Identity::of(&stat),
            root: Identity::of_root(),
            opened: [None; 3],
        };
        paths.publish();
        Ok(paths)
    }

    /// The database's path, for SQLite.
    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(self.full[0].to_bytes()))
    }

    /// Notes the files that the connection has opened.
    pub fn note_opened(&mut self) {
        for (path, opened) in self.full.iter().zip(&mut self.opened) {
            #[cfg(feature = "sqlite")]
            let found = descriptors::by_name(hash(path)).map(|(fd, identity)| OpenFile { identity, fd });
            #[cfg(not(feature = "sqlite"))]
            let found = stat_path(libc::AT_FDCWD, path)
                .ok()
                .map(|stat| OpenFile { identity: Identity::of(&stat), fd: -1 });
            *opened = found;
        }
        self.publish();
    }

    /// Makes the files known to the system calls of this thread.
    fn publish(&self) {
        let [main, log, index] = &self.full;
        FILES.set(ThreadFiles {
            root: self.root,
            names: [hash(main), hash(log), hash(index)],
            expected: self.opened.map(|opened| opened.map(|opened| opened.identity)),
        });
    }

    /// Checks that every descriptor still is the connection's own.
    pub fn check_descriptors(&self) -> Result<(), Failure> {
        #[cfg(feature = "sqlite")]
        for opened in self.opened.iter().flatten() {
            if !own_descriptors::is_ours(opened.fd) {
                return Err(Failure::lost());
            }
        }
        Ok(())
    }

    /// Checks that the descriptors are the connection's own, and that the paths lead to the files that are open.
    pub fn check(&self) -> Result<(), Failure> {
        self.check_descriptors()?;
        Err(Failure::moved(match self.compare() {
            [AtPath::Same, AtPath::Same, AtPath::Same] => return Ok(()),
            [AtPath::Same, AtPath::Same, _] => {
                "the index of its write-ahead log (-shm) has been deleted or replaced"
            }
            [AtPath::Same, ..] => "its write-ahead log (-wal) has been deleted or replaced",
            _ => "the file has been moved, deleted or replaced",
        }))
    }

    /// Compares the files at the paths with those that are open.
    pub fn compare(&self) -> AtPaths {
        std::array::from_fn(|which| {
            self.opened[which].map_or(AtPath::Same, |opened| self.compare_one(which, opened.identity))
        })
    }

    fn compare_one(&self, which: usize, open: Identity) -> AtPath {
        let by_path = stat_path(libc::AT_FDCWD, &self.full[which]);
        if by_path.is_ok_and(|stat| Identity::of(&stat) == open) {
            return AtPath::Same;
        }
        let found = if self.root == Identity::of_root() {
            by_path
        } else if self.folder_identity.is_open_at(self.folder) {
            // After a change of root the path has another meaning, but the folder is still open.
            stat_path(self.folder, &self.names[which])
        } else {
            return AtPath::Same;
        };
        match found {
            Ok(stat) if Identity::of(&stat) == open => AtPath::Same,
            Ok(stat) => AtPath::Other(stat.st_size.max(0) as u64),
            Err(libc::ENOENT | libc::ENOTDIR) => AtPath::Missing,
            // A missing permission, for example, which says nothing about the file.
            Err(_) => AtPath::Same,
        }
    }

    /// Whether the database itself has no name any more.
    pub fn is_deleted(&self) -> bool {
        let Some(opened) = self.opened[0] else { return false };
        stat_descriptor(opened.fd)
            .is_ok_and(|stat| Identity::of(&stat) == opened.identity && stat.st_nlink == 0)
    }

    /// Keeps other processes from opening the database until the lock is dropped. `None`: another is just opening it. (Does nothing with the
    /// system's SQLite, whose locks are of another kind.)
    pub fn lock_out_others(&self) -> Option<PendingLock> {
        /// The byte that SQLite locks before it takes a shared lock anew.
        const PENDING_BYTE: libc::off_t = 0x4000_0000;
        let lock = PendingLock { fd: self.opened[0]?.fd, at: PENDING_BYTE };
        lock.set(libc::F_WRLCK).then_some(lock)
    }

    /// Removes the log and its index from their paths if they are the ones that are open. They would otherwise be taken for those of a new
    /// database at the path of the one that was moved.
    pub fn remove_orphans(&self) {
        for which in [1, 2] {
            let Some(opened) = &self.opened[which] else { continue };
            if opened.identity.is_at(&self.full[which]) {
                // SAFETY: a NUL-terminated path.
                unsafe { libc::unlink(self.full[which].as_ptr()) };
            }
        }
    }
}

impl Drop for Paths {
    fn drop(&mut self) {
        FILES.set(ThreadFiles::default());
        // A host may have closed it, and opened the same folder under its number; that descriptor can list the folder, and ours cannot.
        // SAFETY: answers flags, or refuses.
        let by_path = unsafe { libc::fcntl(self.folder, libc::F_GETFL) } & libc::O_PATH != 0;
        if by_path && self.folder_identity.is_open_at(self.folder) {
            // SAFETY: the folder's own descriptor.
            unsafe { libc::close(self.folder) };
        }
    }
}

/// Whether a connection of this process to the database at `path` has lost a descriptor. SQLite shares the descriptors of a file between all
/// connections of a process, so a new connection would get the lost ones, too.
pub fn has_lost_descriptors(path: &Path) -> bool {
    #[cfg(feature = "sqlite")]
    if let (Some(folder), Some(name)) = (path.parent(), path.file_name())
        && let Ok(folder) = std::fs::canonicalize(folder)
    {
        let hashes = SUFFIXES.map(|suffix| {
            let mut full = folder.join(name).into_os_string();
            full.push(suffix);
            CString::new(full.as_bytes()).map(|full| (hash(&full), full)).ok()
        });
        if let [Some((main, path)), Some((log, _)), Some((index, _))] = hashes {
            let file = stat_path(libc::AT_FDCWD, &path).ok().map(|stat| Identity::of(&stat));
            return descriptors::any_lost([main, log, index], file);
        }
    }
    #[cfg(not(feature = "sqlite"))]
    let _ = path;
    false
}

/// A lock on one byte, released when it is dropped.
pub struct PendingLock {
    fd: i32,
    at: libc::off_t,
}

impl PendingLock {
    fn set(&self, kind: i32) -> bool {
        const F_OFD_SETLK: i32 = 37;
        if self.fd < 0 {
            return true;
        }
        // SAFETY: the structure consists of numbers, and the descriptor is the connection's.
        unsafe {
            let mut lock: libc::flock = std::mem::zeroed();
            lock.l_type = kind as libc::c_short;
            lock.l_whence = libc::SEEK_SET as libc::c_short;
            lock.l_start = self.at;
            lock.l_len = 1;
            libc::fcntl(self.fd, F_OFD_SETLK, &raw mut lock) == 0
        }
    }
}

impl Drop for PendingLock {
    fn drop(&mut self) {
        self.set(libc::F_UNLCK);
    }
}

/// The system has refused a call: no descriptor is left, the disk is full, the folder is missing at present. That says nothing about the
/// database, and may pass.
fn system_failure(what: &str, error: i32) -> Failure {
    let error = std::io::Error::from_raw_os_error(error);
    Failure::transient(format!("unable to open database file: {what}: {error}"))
}

/// Opens a folder for look-ups, on a number that is not a standard stream's. -1: it cannot be opened.
fn open_folder(path: &CStr) -> i32 {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    // SAFETY: a NUL-terminated path; the first descriptor is closed only once it has a duplicate, or cannot have one.
    unsafe {
        let fd = libc::open(path.as_ptr(), flags);
        if !(0..3).contains(&fd) {
            return fd;
        }
        let other = libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3);
        libc::close(fd);
        other
    }
}

/// Refuses a file that cannot be meant as a database, and one that another user may have planted.
fn check_file(path: &CStr, suffix: &str, folder: &libc::stat) -> Result<(), Failure> {
    let what = if suffix.is_empty() { "the path".to_owned() } else { format!("the file {suffix} beside it") };
    let stat = match stat_path(libc::AT_FDCWD, path) {
        Ok(stat) => stat,
        Err(libc::ENOENT) => return Ok(()),
        Err(error) => return Err(system_failure(&what, error)),
    };
    let refuse = |why: &str| Err(Failure::unusable(format!("unable to open database file: {what} {why}")));
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG => {}
        libc::S_IFLNK => {
            return refuse("is a symbolic link, which is not followed; give the path of the file itself");
        }
        _ => return refuse("is no regular file"),
    }
    // SAFETY: the call has no arguments and does not fail.
    let me = unsafe { libc::geteuid() };
    let shared = libc::S_ISVTX | libc::S_IWOTH;
    if folder.st_mode & shared == shared && stat.st_uid != me && stat.st_uid != folder.st_uid {
        let uid = stat.st_uid;
        return refuse(&format!(
            "belongs to another user (uid {uid}), in a folder that all users may write to"
        ));
    }
    Ok(())
}

/// Makes the file with exactly these permissions. An existing file stays as it is.
fn make_file(path: &CStr, mode: u32) -> Result<(), Failure> {
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    #[cfg(feature = "sqlite")]
    let _in_transit = descriptors::InTransit::begin();
    // SAFETY: a NUL-terminated path.
    let fd = unsafe { libc::open(path.as_ptr(), flags, mode as libc::c_uint) };
    if fd < 0 {
        return match errno() {
            libc::EEXIST => Ok(()),
            error => Err(system_failure("it cannot be made", error)),
        };
    }
    // The permissions are set again, because the process's umask may have removed some.
    // SAFETY: the descriptor was just opened.
    let (failed, error) = unsafe {
        let failed = libc::fchmod(fd, mode as libc::mode_t) != 0;
        let error = errno();
        libc::close(fd);
        (failed, error)
    };
    if failed { Err(system_failure("its permissions", error)) } else { Ok(()) }
}
