//! The calls on files, with the names and types of the C library. Threads that are not simulated use the machine's files.

#![allow(clippy::missing_safety_doc)] // as in the C library

use super::Files;
use super::faults::Call;
use super::work::{F_GETSIG, F_SETSIG};
use crate::platform::simulator::scheduler::{is_simulated, point, sleep_ns, with_files};
use libc::{c_char, c_int, c_long, c_uint, c_void, flock, iovec, mode_t, off_t, size_t, ssize_t};
use std::ffi::CStr;

/// A call of a simulated thread: it is a point, may take time, and may fail. `looked_at`: the descriptor that the library makes sure of by it.
fn perform<T: From<i8>>(
    call: Call,
    looked_at: Option<c_int>,
    work: impl FnOnce(&mut Files) -> Result<T, i32>,
) -> T {
    point();
    let pause_ns = with_files(|files, _| files.pause_ns(call));
    if pause_ns != 0 {
        sleep_ns(pause_ns);
    }
    let done = with_files(|files, me| files.begin(call, me, looked_at).and_then(|()| work(files)));
    done.unwrap_or_else(|error| {
        // SAFETY: the address is that of the calling thread's own `errno`.
        unsafe { *libc::__errno_location() = error };
        T::from(-1)
    })
}

/// # Safety
/// A NUL-terminated string.
unsafe fn text<'a>(name: *const c_char) -> &'a str {
    // SAFETY: passed on.
    unsafe { CStr::from_ptr(name) }.to_str().unwrap_or_default()
}

macro_rules! calls {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty $body:block)*) => {$(
        /// See the C library.
        pub unsafe fn $name($($argument: $type),*) -> $result {
            if !is_simulated() {
                // SAFETY: passed on.
                return unsafe { libc::$name($($argument),*) };
            }
            $body
        }
    )*};
}

calls! {
    openat(folder: c_int, name: *const c_char, flags: c_int, mode: c_uint) -> c_int {
        // SAFETY: passed on.
        let name = unsafe { text(name) };
        let call = if flags & libc::O_CREAT != 0 { Call::Create } else { Call::Open };
        let fd = perform(call, None, |files| files.open(folder, name, flags, mode));
        with_files(|files, me| files.note_open(me, fd, flags));
        fd
    }
    close(fd: c_int) -> c_int {
        perform(Call::Close, None, |files| files.close(fd))
    }
    pwritev(fd: c_int, vectors: *const iovec, count: c_int, at: off_t) -> ssize_t {
        // SAFETY: passed on.
        let vectors = unsafe { std::slice::from_raw_parts(vectors, count as usize) };
        // SAFETY: passed on; a vector without bytes may have no address.
        let part = |v: &iovec| unsafe { std::slice::from_raw_parts(v.iov_base.cast::<u8>().cast_const(), v.iov_len) };
        let parts: Vec<&[u8]> = vectors.iter().filter(|v| v.iov_len != 0).map(part).collect();
        perform(Call::Write, None, |files| files.write(fd, &parts, at as usize))
    }
    pread(fd: c_int, into: *mut c_void, bytes: size_t, at: off_t) -> ssize_t {
        // SAFETY: passed on.
        let into = unsafe { std::slice::from_raw_parts_mut(into.cast::<u8>(), bytes) };
        perform(Call::Read, None, |files| files.read(fd, into, at as usize))
    }
    ftruncate(fd: c_int, bytes: off_t) -> c_int {
        perform(Call::Cut, None, |files| files.cut(fd, bytes as usize))
    }
    fdatasync(fd: c_int) -> c_int {
        let done = perform(Call::Sync, None, |files| files.sync(fd));
        if done != 0 {
            with_files(|files, _| files.fail_sync(fd));
        }
        done
    }
    fsync(fd: c_int) -> c_int {
        perform(Call::SyncFolder, None, |files| files.sync(fd))
    }
    fstat(fd: c_int, into: *mut libc::stat) -> c_int {
        perform(Call::Look, Some(fd), |files| {
            // SAFETY: passed on.
            unsafe { *into = files.stat(fd)? };
            Ok(0)
        })
    }
    fstatat(folder: c_int, name: *const c_char, into: *mut libc::stat, _flags: c_int) -> c_int {
        // SAFETY: passed on.
        let name = unsafe { text(name) };
        perform(Call::Name, None, |files| {
            // SAFETY: passed on.
            unsafe { *into = files.stat_at(folder, name)? };
            Ok(0)
        })
    }
    fstatvfs(_fd: c_int, into: *mut libc::statvfs) -> c_int {
        perform(Call::Space, None, |files| {
            // SAFETY: passed on.
            unsafe { *into = files.space() };
            Ok(0)
        })
    }
    fchmod(fd: c_int, mode: mode_t) -> c_int {
        perform(Call::Permit, None, |files| files.permit(fd, mode))
    }
    fchmodat(folder: c_int, name: *const c_char, mode: mode_t, _flags: c_int) -> c_int {
        // SAFETY: passed on.
        let name = unsafe { text(name) };
        perform(Call::Permit, None, |files| files.permit_at(folder, name, mode))
    }
    chmod(name: *const c_char, mode: mode_t) -> c_int {
        // SAFETY: passed on.
        let name = unsafe { text(name) };
        perform(Call::Permit, None, |files| files.permit_at(libc::AT_FDCWD, name, mode))
    }
    mkdir(name: *const c_char, mode: mode_t) -> c_int {
        // SAFETY: passed on.
        let name = unsafe { text(name) };
        perform(Call::Create, None, |files| files.make_folder(name, mode))
    }
    faccessat(folder: c_int, name: *const c_char, _mode: c_int, _flags: c_int) -> c_int {
        // SAFETY: passed on.
        let name = unsafe { text(name) };
        perform(Call::Name, None, |files| files.stat_at(folder, name).map(|_| 0))
    }
    unlinkat(folder: c_int, name: *const c_char, _flags: c_int) -> c_int {
        // SAFETY: passed on.
        let name = unsafe { text(name) };
        perform(Call::Delete, None, |files| files.delete(folder, name))
    }
}

/// See `platform::file_calls`.
pub unsafe fn getdents64(fd: c_int, into: *mut u8, bytes: usize) -> c_long {
    if !is_simulated() {
        // SAFETY: passed on.
        return unsafe { libc::syscall(libc::SYS_getdents64, fd, into, bytes) };
    }
    // SAFETY: passed on.
    let into = unsafe { std::slice::from_raw_parts_mut(into, bytes) };
    perform(Call::List, None, |files| files.list(fd, into))
}

/// The third argument of [`fcntl`].
#[derive(Clone, Copy, Debug)]
pub enum Argument {
    /// A number.
    Number(c_int),
    /// A lock.
    Lock(*mut flock),
}

impl From<c_int> for Argument {
    fn from(number: c_int) -> Self {
        Self::Number(number)
    }
}

impl From<*mut flock> for Argument {
    fn from(lock: *mut flock) -> Self {
        Self::Lock(lock)
    }
}

/// See the C library.
pub unsafe fn fcntl(fd: c_int, command: c_int, argument: impl Into<Argument>) -> c_int {
    const F_OFD_GETLK: c_int = 36;
    let argument = argument.into();
    if !is_simulated() {
        // SAFETY: passed on.
        return unsafe {
            match argument {
                Argument::Number(number) => libc::fcntl(fd, command, number),
                Argument::Lock(lock) => libc::fcntl(fd, command, lock),
            }
        };
    }
    match argument {
        Argument::Number(number) => {
            let looks = matches!(command, F_GETSIG | F_SETSIG | libc::F_GETFL | libc::F_DUPFD_CLOEXEC);
            let fd_or_none = looks.then_some(fd);
            let done = perform(Call::Look, fd_or_none, |files| files.control(fd, command, number));
            if command == libc::F_DUPFD_CLOEXEC {
                with_files(|files, me| files.note_open(me, done, 0));
            }
            done
        }
        Argument::Lock(lock) => perform(Call::Lock, None, |files| {
            // SAFETY: passed on.
            unsafe {
                let kind = i32::from((*lock).l_type);
                (*lock).l_type = files.lock(fd, command == F_OFD_GETLK, kind)? as libc::c_short;
            }
            Ok(0)
        }),
    }
}
