//! The journal's directory: opened once, and used by its descriptor. So a change of directory or root and a move of the directory change nothing.

use super::failure::Failure;
use super::file::File;
use super::options::{Options, Sync};
use crate::journal::format::segment::{file_name, parse_file_name};
use crate::platform::file_calls;
use crate::platform::sync::Mutex;
use crate::storage::files::identity::{Identity, errno, stat_path};
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// The directory as it is open.
#[derive(Debug)]
pub(super) struct Folder {
    /// The absolute path at which it was opened, below this root.
    path: CString,
    root: Identity,
    identity: Identity,
    /// Replaced when the descriptor was lost and the directory is opened again.
    file: Mutex<Arc<File>>,
}

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

/// The lock's file.
const LOCK: &CStr = c"lock";
/// How often, and after how many microseconds, another's lock of the directory is tried again.
const LOCK_TRIES: u32 = 100;
const LOCK_AGAIN_US: u32 = 500;

impl Folder {
    /// The open directory. If another part of the program has closed its descriptor, it is opened again, if it still is at its path.
    fn file(&self) -> Result<Arc<File>, Failure> {
        let mut file = self.file.lock();
        if !file.is_ours() {
            if self.root != Identity::of_root() {
                return Err(Failure::lost());
            }
            let again = open_path(&self.path)?;
            if Identity::of(&again.stat()?) != self.identity {
                return Err(Failure::lost());
            }
            *file = Arc::new(again);
        }
        Ok(Arc::clone(&file))
    }

    /// Opens a file of the directory.
    pub fn open_file(&self, name: &CStr, flags: i32, mode: u32) -> Result<File, Failure> {
        File::open(self.file()?.fd()?, name, flags, mode).map_err(|error| match error {
            libc::ELOOP => {
                let name = name.to_string_lossy();
                let text = format!("{name} is a symbolic link, which is not followed; delete it");
                Failure { errno: error, ..Failure::transient(text) }
            }
            _ => Failure::system(name.to_string_lossy(), error),
        })
    }

    /// Makes a file with exactly these permissions. `None`: there is one of that name.
    pub fn make_file(&self, name: &CStr, access: i32, mode: u32) -> Result<Option<File>, Failure> {
        match self.open_file(name, access | libc::O_CREAT | libc::O_EXCL, mode) {
            Ok(file) => {
                // Again, because the process's umask may have removed some.
                if let Err(failure) = file.set_mode(mode) {
                    let _ = self.unlink(name);
                    return Err(failure);
                }
                Ok(Some(file))
            }
            Err(failure) if failure.errno == libc::EEXIST => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn open_lock(&self, mode: u32) -> Result<File, Failure> {
        match self.make_file(LOCK, libc::O_RDWR, mode)? {
            Some(file) => Ok(file),
            None => self.open_file(LOCK, libc::O_RDWR | libc::O_NONBLOCK, 0),
        }
    }

    /// The status of a file of the directory.
    pub fn stat(&self, name: &CStr) -> Result<libc::stat, Failure> {
        stat_path(self.file()?.fd()?, name).map_err(|e| Failure::system(name.to_string_lossy(), e))
    }

    /// Deletes a file of the directory.
    pub fn unlink(&self, name: &CStr) -> Result<(), Failure> {
        // SAFETY: a NUL-terminated name.
        match unsafe { file_calls::unlinkat(self.file()?.fd()?, name.as_ptr(), 0) } {
            0 => Ok(()),
            _ => Err(Failure::system(name.to_string_lossy(), errno())),
        }
    }

    /// Whether files may be made and deleted here, as far as permissions decide.
    pub fn may_change(&self) -> bool {
        let Ok(fd) = self.file().and_then(|file| file.fd()) else { return true };
        // SAFETY: a NUL-terminated path, and the storage's descriptor.
        let refused =
            unsafe { file_calls::faccessat(fd, c".".as_ptr(), libc::W_OK | libc::X_OK, libc::AT_EACCESS) }
                != 0;
        !(refused && matches!(errno(), libc::EACCES | libc::EPERM | libc::EROFS))
    }

    /// Bytes that an unprivileged process may still write on the file system.
    pub fn free_bytes(&self) -> Result<u64, Failure> {
        // SAFETY: the structure is a local that is read only after success.
        unsafe {
            let mut stat: libc::statvfs = std::mem::zeroed();
            match file_calls::fstatvfs(self.file()?.fd()?, &raw mut stat) {
                0 => Ok((stat.f_bavail as u64).saturating_mul(stat.f_frsize as u64)),
                _ => Err(Failure::system("the free disk space", errno())),
            }
        }
    }

    /// Makes the entries of new segments durable.
    pub fn sync(&self) -> Result<(), Failure> {
        let listed = self.open_file(c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        // SAFETY: the descriptor is the storage's.
        match unsafe { file_calls::fsync(listed.fd()?) } {
            0 => Ok(()),
            // A file system that cannot do that for directories.
            _ if matches!(errno(), libc::EINVAL | libc::EROFS) => Ok(()),
            _ => Err(Failure::system("writing the directory through to the disk", errno())),
        }
    }

    /// Takes the lock of the directory, until the file is dropped. `None`: another has it for longer than this waits.
    pub fn lock(&self, mode: u32) -> Result<Option<File>, Failure> {
        let file = self.open_lock(mode)?;
        for _ in 0..LOCK_TRIES {
            if file.set_lock(true)? {
                return Ok(Some(file));
            }
            crate::platform::time::sleep_us(LOCK_AGAIN_US);
        }
        Ok(None)
    }

    /// Shows the names in the directory, in no order.
    pub fn each_name(&self, mut see: impl FnMut(&CStr) -> Result<(), Failure>) -> Result<(), Failure> {
        let listed = self.open_file(c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(LISTED_BYTES).map_err(|_| Failure::no_memory())?;
        buffer.resize(LISTED_BYTES, 0u8);
        loop {
            // SAFETY: the call writes at most so many bytes to the buffer.
            let got = unsafe { file_calls::getdents64(listed.fd()?, buffer.as_mut_ptr(), buffer.len()) };
            if got < 0 {
                return Err(Failure::system("listing the directory", errno()));
            }
            if got == 0 {
                return Ok(());
            }
            entries(&buffer[..got as usize]).try_for_each(&mut see)?;
        }
    }

    /// The segments in the directory, in no order.
    pub fn segments(&self) -> Result<Vec<Found>, Failure> {
        let mut found = Vec::new();
        self.each_name(|name| {
            let Some((generation, number)) = name.to_str().ok().and_then(parse_file_name) else {
                return Ok(());
            };
            let stat = match self.stat(name) {
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

    fn is_usable(&self) -> bool {
        self.file().and_then(|file| file.stat()).is_ok_and(|stat| stat.st_nlink != 0)
    }
}

/// Bytes of a directory's entries that are read at once.
const LISTED_BYTES: usize = 16 << 10;

/// The names in what `getdents64` has written.
fn entries(mut bytes: &[u8]) -> impl Iterator<Item = &CStr> {
    /// Before the name: inode, offset, length, type.
    const HEADER: usize = 19;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.get(16..)?.first_chunk()?));
        let entry = bytes.get(..length)?;
        bytes = &bytes[length..];
        CStr::from_bytes_until_nul(entry.get(HEADER..)?).ok()
    })
}

/// The name of a segment's file.
pub(super) fn segment_name(generation: u64, number: u64) -> CString {
    CString::new(file_name(generation, number)).unwrap_or_default()
}

/// Where the journal is, and the directory that is open.
#[derive(Debug)]
pub(super) struct Place {
    path: CString,
    root: Identity,
    directory_mode: u32,
    file_mode: u32,
    /// The directory itself is to survive a power loss.
    durable: bool,
    open: Mutex<Arc<Folder>>,
}

impl Place {
    /// Opens the directory, or makes it. Its parent must be there.
    pub fn open(path: &Path, options: &Options) -> Result<Self, Failure> {
        let path = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| Failure::transient("the path of the directory has a NUL"))?;
        let durable = options.sync != Sync::Never;
        let folder = open_folder(&path, options.directory_mode(), options.file_mode, durable)?;
        Ok(Self {
            path,
            root: folder.root,
            directory_mode: options.directory_mode(),
            file_mode: options.file_mode,
            durable,
            open: Mutex::new(Arc::new(folder)),
        })
    }

    /// The directory. If its descriptor is lost, or the directory was deleted, it is opened or made again at its path.
    pub fn folder(&self) -> Result<Arc<Folder>, Failure> {
        let mut open = self.open.lock();
        if !open.is_usable() {
            if self.root != Identity::of_root() {
                return Err(Failure::transient(
                    "the journal's directory cannot be opened again, because the process has changed its root",
                ));
            }
            *open = Arc::new(open_folder(&self.path, self.directory_mode, self.file_mode, self.durable)?);
        }
        Ok(Arc::clone(&open))
    }
}

/// Opens the directory, or makes it. `durable`: a new one is to survive a power loss.
fn open_folder(path: &CStr, directory_mode: u32, file_mode: u32, durable: bool) -> Result<Folder, Failure> {
    let refuse = |why: &str| Err(Failure::transient(format!("the journal's directory {why}")));
    let failed = |errno| Failure::system("the journal's directory", errno);
    // SAFETY: a NUL-terminated path.
    let made = unsafe { file_calls::mkdir(path.as_ptr(), directory_mode as libc::mode_t) } == 0;
    let why_not = errno();
    let stat = match stat_path(libc::AT_FDCWD, path) {
        Ok(stat) => stat,
        Err(libc::ENOENT) => {
            return Err(Failure::system("the journal's directory cannot be made", why_not));
        }
        Err(error) => return Err(failed(error)),
    };
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFDIR => {}
        libc::S_IFLNK => {
            return refuse(
                "is a symbolic link, which is not followed; give the path of the directory itself",
            );
        }
        _ => return refuse("is no directory"),
    }
    let file = open_path(path)?;
    let opened = file.stat()?;
    let root = Identity::of_root();
    if root == Identity::default() {
        return refuse("cannot be opened now, because the status of the root directory cannot be read");
    }
    let folder = Folder {
        path: path.to_owned(),
        root,
        identity: Identity::of(&opened),
        file: Mutex::new(Arc::new(file)),
    };
    if Identity::of(&opened) != Identity::of(&stat) {
        return refuse("was replaced while it was opened");
    }
    // SAFETY: the call has no arguments and does not fail.
    let me = unsafe { libc::geteuid() };
    if opened.st_uid != me
        && let Ok(parent) = stat_path(folder.file()?.fd()?, c"..")
    {
        let shared = libc::S_ISVTX | libc::S_IWOTH;
        if parent.st_mode & shared == shared && opened.st_uid != parent.st_uid {
            let uid = opened.st_uid;
            return refuse(&format!(
                "belongs to another user (uid {uid}), in a folder that all users may write to"
            ));
        }
    }
    if made {
        if opened.st_mode & 0o777 != directory_mode {
            set_directory_mode(&folder, path, directory_mode)?;
        }
        if durable && let Ok(parent) = folder.open_file(c"..", libc::O_RDONLY | libc::O_DIRECTORY, 0) {
            // As far as it can be: the parent may not be readable.
            // SAFETY: the descriptor is the storage's.
            unsafe { file_calls::fsync(parent.fd()?) };
        }
    }
    // Whether files can be made there is found out now.
    drop(folder.open_lock(file_mode)?);
    Ok(folder)
}

fn open_path(path: &CStr) -> Result<File, Failure> {
    File::open(libc::AT_FDCWD, path, libc::O_PATH | libc::O_DIRECTORY, 0)
        .map_err(|errno| Failure::system("the journal's directory", errno))
}

/// Sets the permissions of a directory that was just made, because the process's umask may have removed some.
fn set_directory_mode(folder: &Folder, path: &CStr, mode: u32) -> Result<(), Failure> {
    let file = folder.file()?;
    let fd = file.fd()?;
    // By its path only if the umask has removed even the right to look into it.
    // SAFETY: NUL-terminated paths.
    let done = unsafe {
        file_calls::fchmodat(fd, c".".as_ptr(), mode as libc::mode_t, 0) == 0
            || file_calls::chmod(path.as_ptr(), mode as libc::mode_t) == 0
    };
    if done { Ok(()) } else { Err(Failure::system("the permissions of the journal's directory", errno())) }
}
