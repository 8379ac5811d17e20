//! The directory of a storage: opened once, and used by its descriptor. So a change of directory or root and a move of the directory change nothing.

use super::Words;
use super::failure::Failure;
use super::file::File;
use super::identity::{Identity, errno, stat_path};
use crate::platform::file_calls;
use crate::platform::sync::Mutex;
use crate::status::{Error, PIPELINE_ERR_INVALID, PIPELINE_ERR_STORAGE, Result as OfLibrary};
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The directory as it is open.
#[derive(Debug)]
pub struct Folder {
    /// The absolute path at which it was opened, below this root.
    path: CString,
    root: Identity,
    identity: Identity,
    words: &'static Words,
    /// Replaced when the descriptor was lost and the directory is opened again.
    file: Mutex<Arc<File>>,
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
                return Err(Failure::lost(self.words));
            }
            let again = open_path(&self.path, self.words)?;
            if Identity::of(&again.stat()?) != self.identity {
                return Err(Failure::lost(self.words));
            }
            *file = Arc::new(again);
        }
        Ok(Arc::clone(&file))
    }

    /// Opens a file of the directory.
    pub fn open_file(&self, name: &CStr, flags: i32, mode: u32) -> Result<File, Failure> {
        File::open(self.file()?.fd()?, name, flags, mode, self.words).map_err(|error| match error {
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

    /// The number by which the kernel knows the sort of the file system.
    pub fn file_system(&self) -> Result<i64, Failure> {
        // SAFETY: the structure is a local that is read only after success.
        unsafe {
            let mut stat: libc::statfs = std::mem::zeroed();
            match libc::fstatfs(self.file()?.fd()?, &raw mut stat) {
                0 => Ok(stat.f_type as i64),
                _ => Err(Failure::system("the sort of the file system", errno())),
            }
        }
    }

    /// The status of the directory itself.
    pub fn status(&self) -> Result<libc::stat, Failure> {
        self.file()?.stat()
    }

    /// Makes the entries of new files durable.
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
    pub fn each_name(&self, see: impl FnMut(&CStr) -> Result<(), Failure>) -> Result<(), Failure> {
        each_name_of(&self.open_file(c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?, see)
    }

    fn is_usable(&self) -> bool {
        self.file().and_then(|file| file.stat()).is_ok_and(|stat| stat.st_nlink != 0)
    }
}

/// Bytes of a directory's entries that are read at once.
const LISTED_BYTES: usize = 16 << 10;

/// Shows the names in a directory that is open for reading, in no order.
pub fn each_name_of(listed: &File, mut see: impl FnMut(&CStr) -> Result<(), Failure>) -> Result<(), Failure> {
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

/// Who may use what the storage makes, and whether it waits for the disk.
#[derive(Clone, Copy, Debug)]
pub struct Modes {
    /// The permissions of the directory, if it is made.
    pub directory: u32,
    /// The permissions of new files.
    pub file: u32,
    /// The directory itself is to survive a power loss.
    pub durable: bool,
}

impl Modes {
    /// With files of these permissions. Whoever may read them may also list the directory.
    pub fn of(file: u32, durable: bool) -> Self {
        let read = file & 0o044;
        Self { directory: 0o700 | read | read >> 2, file, durable }
    }
}

/// Where a storage's directory is, and the one that is open.
#[derive(Debug)]
pub struct Place {
    path: CString,
    root: Identity,
    modes: Modes,
    words: &'static Words,
    open: Mutex<Arc<Folder>>,
}

impl Place {
    /// Opens the directory, or makes it. Its parent must be there.
    pub fn open(path: &Path, modes: Modes, words: &'static Words) -> Result<Self, Failure> {
        let path = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| Failure::transient("the path of the directory has a NUL"))?;
        let folder = open_folder(&path, modes, words)?;
        Ok(Self { path, root: folder.root, modes, words, open: Mutex::new(Arc::new(folder)) })
    }

    /// The directory. If its descriptor is lost, or the directory was deleted, it is opened or made again at its path.
    pub fn folder(&self) -> Result<Arc<Folder>, Failure> {
        let mut open = self.open.lock();
        if !open.is_usable() {
            if self.root != Identity::of_root() {
                return Err(Failure::transient(format!(
                    "the {}'s directory cannot be opened again, because the process has changed its root",
                    self.words.storage
                )));
            }
            *open = Arc::new(open_folder(&self.path, self.modes, self.words)?);
        }
        Ok(Arc::clone(&open))
    }
}

/// Opens the directory, or makes it.
fn open_folder(path: &CStr, modes: Modes, words: &'static Words) -> Result<Folder, Failure> {
    let directory = format!("the {}'s directory", words.storage);
    let refuse = |why: &str| Err(Failure::transient(format!("{directory} {why}")));
    let failed = |errno| Failure::system(&directory, errno);
    // SAFETY: a NUL-terminated path.
    let made = unsafe { file_calls::mkdir(path.as_ptr(), modes.directory as libc::mode_t) } == 0;
    let why_not = errno();
    let stat = match stat_path(libc::AT_FDCWD, path) {
        Ok(stat) => stat,
        Err(libc::ENOENT) => {
            return Err(Failure::system(format_args!("{directory} cannot be made"), why_not));
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
    let file = open_path(path, words)?;
    let opened = file.stat()?;
    let root = Identity::of_root();
    if root == Identity::default() {
        return refuse("cannot be opened now, because the status of the root directory cannot be read");
    }
    let folder = Folder {
        path: path.to_owned(),
        root,
        identity: Identity::of(&opened),
        words,
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
        if opened.st_mode & 0o777 != modes.directory {
            set_directory_mode(&folder, path, modes.directory)?;
        }
        if modes.durable
            && let Ok(parent) = folder.open_file(c"..", libc::O_RDONLY | libc::O_DIRECTORY, 0)
        {
            // As far as it can be: the parent may not be readable.
            // SAFETY: the descriptor is the storage's.
            unsafe { file_calls::fsync(parent.fd()?) };
        }
    }
    // Whether files can be made there is found out now.
    drop(folder.open_lock(modes.file)?);
    Ok(folder)
}

fn open_path(path: &CStr, words: &'static Words) -> Result<File, Failure> {
    File::open(libc::AT_FDCWD, path, libc::O_PATH | libc::O_DIRECTORY, 0, words)
        .map_err(|errno| Failure::system(format_args!("the {}'s directory", words.storage), errno))
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
    if done {
        return Ok(());
    }
    let what = format_args!("the permissions of the {}'s directory", folder.words.storage).to_string();
    Err(Failure::system(what, errno()))
}

/// The number by which the kernel knows the sort of the file system at a path. `None`: it does not tell.
pub fn system_of(path: &CStr) -> Option<i64> {
    // SAFETY: a NUL-terminated path; the structure is a local that is read only after success.
    unsafe {
        let mut stat: libc::statfs = std::mem::zeroed();
        (libc::statfs(path.as_ptr(), &raw mut stat) == 0).then_some(stat.f_type as i64)
    }
}

/// The absolute path: it stays valid after a change of directory.
pub fn absolute(path: &Path) -> OfLibrary<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(Error::new(PIPELINE_ERR_INVALID, "dir: a directory's name expected, none given"));
    }
    // Without a slash at its end, so that a symbolic link is seen as one.
    let path = path.components().as_path();
    std::path::absolute(path)
        .map_err(|e| Error::new(PIPELINE_ERR_STORAGE, format!("{}: {e}", path.display())))
}
