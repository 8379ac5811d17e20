//! The system calls that replace SQLite's: `open`, and all that take a descriptor. Two cannot be replaced, `fsync`
//! and `munmap`, but they change no file. SQLite uses pread and pwrite on Linux, so no file position moves.

use super::own_descriptors::{is_ours, remove};
use super::thread_files::{FILES, LOST, TOO_LARGE, ThreadFiles};
use crate::files::descriptors;
use crate::files::identity::{Identity, errno, hash, stat_descriptor, stat_path};
use rusqlite::ffi;
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};

/// The commands of `fcntl` for locks that belong to an open file description.
const F_OFD_GETLK: c_int = 36;
const F_OFD_SETLK: c_int = 37;

/// Replaces SQLite's system calls. To be called before its first file is opened; later calls change nothing.
pub fn install() {
    let calls: [(&CStr, *const ()); 12] = [
        (c"open", open as *const ()),
        (c"close", close as *const ()),
        (c"fstat", fstat as *const ()),
        (c"stat", stat as *const ()),
        (c"ftruncate", ftruncate as *const ()),
        (c"fcntl", fcntl as *const ()),
        (c"pread", pread as *const ()),
        (c"pwrite", pwrite as *const ()),
        (c"fchmod", fchmod as *const ()),
        (c"fchown", fchown as *const ()),
        (c"mmap", mmap as *const ()),
        (c"unlink", unlink as *const ()),
    ];
    // SAFETY: SQLite is initialised, and its file systems share one table of calls. Each function has the type that
    // the call of its name has there (see `fcntl` for its variable number of arguments), and is never unmapped.
    unsafe {
        let vfs = ffi::sqlite3_vfs_find(c"unix".as_ptr());
        let Some(set) = vfs.as_ref().and_then(|vfs| vfs.xSetSystemCall) else { return };
        for (name, function) in calls {
            let function = std::mem::transmute::<*const (), ffi::sqlite3_syscall_ptr>(function);
            set(vfs, name.as_ptr(), function);
        }
    }
}

/// Fails as a system call does.
fn refuse(error: c_int) -> c_int {
    // SAFETY: the address is that of the thread's own `errno`.
    unsafe { *libc::__errno_location() = error };
    -1
}

// SAFETY of all that follow: SQLite calls them like the C library's functions of the same names, with pointers that are valid for
// those. They run no code of a host and do not panic.

unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    let _in_transit = descriptors::InTransit::begin();
    // SAFETY: see above.
    let (fd, name) = unsafe {
        let fd = libc::open(path, flags | libc::O_CLOEXEC, mode as libc::mode_t as libc::c_uint);
        (fd, hash(CStr::from_ptr(path)))
    };
    if fd < 0 {
        return fd;
    }
    let fd = descriptors::add(fd, name, flags).unwrap_or_else(refuse);
    if name == FILES.get().names[1] {
        LOG.set(fd);
        LOG_END.set(0);
        HEADER.set(None);
    }
    fd
}

/// Closes a descriptor. One that is not SQLite's any more stays open, and the call succeeds.
unsafe extern "C" fn close(fd: c_int) -> c_int {
    if LOG.get() == fd {
        LOG.set(-1);
        HEADER.set(None);
    }
    let _in_transit = descriptors::InTransit::begin();
    // SAFETY: the descriptor is SQLite's.
    if remove(fd) { unsafe { libc::close(fd) } } else { 0 }
}

unsafe extern "C" fn fstat(fd: c_int, into: *mut libc::stat) -> c_int {
    if !is_ours(fd) {
        return refuse(libc::EBADF);
    }
    // SAFETY: see above.
    unsafe {
        let result = libc::fstat(fd, into);
        if result == 0 {
            (*into).st_dev = descriptors::shown_dev((*into).st_dev);
        }
        result
    }
}

/// The process may have changed its root or dropped privileges since the database was opened, so that its path cannot be looked up any more.
/// The database then counts as unmoved, and the answer comes from its descriptor.
unsafe extern "C" fn stat(path: *const c_char, into: *mut libc::stat) -> c_int {
    // SAFETY: see above.
    let (result, name) = unsafe { (libc::stat(path, into), hash(CStr::from_ptr(path))) };
    let error = if result == 0 { 0 } else { errno() };
    let files = FILES.get();
    let is_main = files.names[0] == name;
    if is_main && (!matches!(error, 0 | libc::ENOENT) || files.root != Identity::of_root()) {
        if let Some((fd, _)) = descriptors::by_name(name)
            && let Ok(found) = stat_descriptor(fd)
            && found.st_nlink != 0
        {
            // SAFETY: see above.
            unsafe {
                *into = found;
                (*into).st_dev = descriptors::shown_dev(found.st_dev);
            }
            return 0;
        }
        return refuse(if error == 0 { libc::ENOENT } else { error });
    }
    if result == 0 {
        // SAFETY: `stat` has just written the structure.
        unsafe { (*into).st_dev = descriptors::shown_dev((*into).st_dev) };
    }
    result
}

unsafe extern "C" fn ftruncate(fd: c_int, length: libc::off_t) -> c_int {
    if !is_ours(fd) {
        return refuse(libc::EBADF);
    }
    // SAFETY: see above.
    note_size_limit(unsafe { libc::ftruncate(fd, length) } as isize) as c_int
}

/// Turns locks of the process into locks of the open file description. Locks of the process would be dropped with any descriptor of the file that any
/// part of the program closes. An unlock on a lost descriptor succeeds, because the lock is gone with the descriptor.
///
/// SQLite calls it as a function with a variable number of arguments and always passes a pointer as the third. On Linux that is passed
/// like the third of three fixed arguments.
unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: *mut libc::flock) -> c_int {
    let is_lock = command == libc::F_SETLK || command == libc::F_GETLK;
    if !is_ours(fd) {
        // SAFETY: with these commands SQLite passes a lock.
        let is_unlock =
            command == libc::F_SETLK && unsafe { (*argument).l_type } == libc::F_UNLCK as libc::c_short;
        return if is_unlock { 0 } else { refuse(libc::EBADF) };
    }
    // SAFETY: see above.
    unsafe {
        if !is_lock {
            return libc::fcntl(fd, command, argument);
        }
        let own = if command == libc::F_SETLK { F_OFD_SETLK } else { F_OFD_GETLK };
        (*argument).l_pid = 0;
        let call = || match libc::fcntl(fd, own, argument) {
            // A kernel (or an emulation of one) without such locks.
            -1 if errno() == libc::EINVAL => libc::fcntl(fd, command, argument),
            result => result,
        };
        match call() {
            // SQLite ignores that an unlock was refused, and would wait for its own lock as if it were another's. So it is tried once more. If the
            // lock stays, this descriptor can take it again, and others get it at the next unlock or close.
            -1 if command == libc::F_SETLK && (*argument).l_type == libc::F_UNLCK as libc::c_short => {
                call();
                0
            }
            result => result,
        }
    }
}

unsafe extern "C" fn pread(fd: c_int, into: *mut c_void, bytes: usize, at: libc::off_t) -> isize {
    if !is_ours(fd) {
        return refuse(libc::EBADF) as isize;
    }
    // SAFETY: see above.
    unsafe { libc::pread(fd, into, bytes, at) }
}

/// Bytes of the header of each frame of a write-ahead log. A page follows it.
const FRAME_HEADER: usize = 24;

/// The header of a frame whose page is about to be written.
#[derive(Clone, Copy)]
struct Header {
    bytes: [u8; FRAME_HEADER],
    offset: libc::off_t,
}

thread_local! {
    /// The log of this thread's connection; -1: not open.
    static LOG: Cell<c_int> = const { Cell::new(-1) };
    /// The end of the part that this thread has written.
    static LOG_END: Cell<libc::off_t> = const { Cell::new(0) };
    static HEADER: Cell<Option<Header>> = const { Cell::new(None) };
}

/// SQLite appends a frame to its log by two writes, first the header and directly after it the page. This function keeps the header back and writes
/// both by one call, which saves a check of the descriptor and a system call: 5% of the processor
/// time per event (`cargo bench --bench sqlite_store`, median of ten pairs). SQLite also corrects headers of frames that it has
/// already written, without writing their pages. Those lie before `LOG_END`, and are written at once.
unsafe extern "C" fn pwrite(fd: c_int, from: *const c_void, bytes: usize, at: libc::off_t) -> isize {
    let is_log = LOG.get() == fd;
    if is_log && bytes == FRAME_HEADER && at >= LOG_END.get() && HEADER.get().is_none() {
        // SAFETY: SQLite's buffer has `bytes` bytes, which is the size of a header here.
        let header = unsafe { from.cast::<[u8; FRAME_HEADER]>().read_unaligned() };
        HEADER.set(Some(Header { bytes: header, offset: at }));
        return FRAME_HEADER as isize;
    }
    if !is_ours(fd) {
        HEADER.set(None);
        return refuse(libc::EBADF) as isize;
    }
    // SAFETY: see above.
    let written = unsafe { with_header(fd, from, bytes, at) };
    if is_log && written > 0 {
        LOG_END.set(if at == 0 {
            written as libc::off_t
        } else {
            LOG_END.get().max(at + written as libc::off_t)
        });
    }
    note_size_limit(written)
}

/// Writes a page together with the header that was kept back for it.
unsafe fn with_header(fd: c_int, from: *const c_void, bytes: usize, at: libc::off_t) -> isize {
    // SAFETY: see above; the header is a local, and the log is open as long as a header is kept back.
    unsafe {
        if let Some(header) = HEADER.take() {
            let to = LOG.get();
            let start: *const c_void = header.bytes.as_ptr().cast();
            if to == fd && at == header.offset + FRAME_HEADER as libc::off_t {
                let both = [
                    libc::iovec { iov_base: start.cast_mut(), iov_len: FRAME_HEADER },
                    libc::iovec { iov_base: from.cast_mut(), iov_len: bytes },
                ];
                let written = libc::pwritev(fd, both.as_ptr(), 2, header.offset);
                if written < 0 || written > FRAME_HEADER as isize {
                    return if written < 0 { written } else { written - FRAME_HEADER as isize };
                }
                // The header may be incomplete. It is written again alone, and no page follows an incomplete header: recovery would end
                // the log there, although the commit was acknowledged.
                let again = libc::pwrite(fd, start, FRAME_HEADER, header.offset);
                if again != FRAME_HEADER as isize {
                    return if again < 0 { again } else { refuse(libc::ENOSPC) as isize };
                }
            } else if libc::pwrite(to, start, FRAME_HEADER, header.offset) != FRAME_HEADER as isize {
                LOST.set(true); // cannot happen, because the page follows at once; the connection is given up
            }
        }
        libc::pwrite(fd, from, bytes, at)
    }
}

/// Notes whether a write has met the limit on the size of files.
fn note_size_limit(result: isize) -> isize {
    if result < 0 && errno() == libc::EFBIG {
        TOO_LARGE.set(true);
    }
    result
}

unsafe extern "C" fn fchmod(fd: c_int, mode: libc::mode_t) -> c_int {
    // SAFETY: see above.
    if is_ours(fd) { unsafe { libc::fchmod(fd, mode) } } else { refuse(libc::EBADF) }
}

unsafe extern "C" fn fchown(fd: c_int, user: libc::uid_t, group: libc::gid_t) -> c_int {
    // SAFETY: see above.
    if is_ours(fd) { unsafe { libc::fchown(fd, user, group) } } else { refuse(libc::EBADF) }
}

/// A mapping keeps the file open, and with it the locks, so a forked child does not inherit it.
unsafe extern "C" fn mmap(
    at: *mut c_void,
    bytes: usize,
    access: c_int,
    kind: c_int,
    fd: c_int,
    from: libc::off_t,
) -> *mut c_void {
    if !is_ours(fd) {
        refuse(libc::EBADF);
        return libc::MAP_FAILED;
    }
    // SAFETY: see above.
    unsafe {
        let mapped = libc::mmap(at, bytes, access, kind, fd, from);
        if mapped != libc::MAP_FAILED {
            libc::madvise(mapped, bytes, libc::MADV_DONTFORK);
        }
        mapped
    }
}

/// Removes a file of the database only if it is the one that this connection had there: after a change of root the path may belong to another.
unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: see above.
    let name = unsafe { CStr::from_ptr(path) };
    let ThreadFiles { root: at_root, names, expected } = FILES.get();
    if let Some(which) = names.iter().position(|&known| known == hash(name)) {
        let is_it = at_root == Identity::of_root()
            && stat_path(libc::AT_FDCWD, name)
                .is_ok_and(|stat| expected[which].is_none_or(|known| known == Identity::of(&stat)));
        if !is_it {
            return refuse(libc::ENOENT);
        }
    }
    // SAFETY: see above.
    unsafe { libc::unlink(path) }
}
