//! A file of a storage, as this process has it open. Before each use it is checked that the descriptor still is the storage's.

use super::Words;
use super::descriptors::{self, InTransit};
use super::failure::Failure;
use super::fork;
use super::identity::{errno, stat_descriptor};
use crate::platform::file_calls;
use std::ffi::CStr;

/// The command of `fcntl` that sets a lock of an open file description.
const F_OFD_SETLK: libc::c_int = 37;
/// The command that asks for one.
const F_OFD_GETLK: libc::c_int = 36;

/// An open file, closed when it is dropped.
#[derive(Debug)]
pub struct File {
    fd: i32,
    words: &'static Words,
}

impl File {
    /// Opens a file of a folder (`AT_FDCWD`: of the current one). A symbolic link is not followed.
    pub fn open(folder: i32, name: &CStr, flags: i32, mode: u32, words: &'static Words) -> Result<Self, i32> {
        let flags = flags | libc::O_CLOEXEC | libc::O_NOFOLLOW;
        fork::prepare();
        let _in_transit = InTransit::begin();
        // SAFETY: a NUL-terminated name.
        let fd = unsafe { file_calls::openat(folder, name.as_ptr(), flags, mode as libc::c_uint) };
        if fd < 0 {
            return Err(errno());
        }
        descriptors::add(fd, 0, flags).map(|fd| Self { fd, words })
    }

    /// The descriptor, if it still is the storage's.
    #[inline]
    pub fn fd(&self) -> Result<i32, Failure> {
        if self.is_ours() { Ok(self.fd) } else { Err(Failure::lost(self.words)) }
    }

    /// Whether the descriptor still is the storage's.
    #[inline]
    pub fn is_ours(&self) -> bool {
        descriptors::is_ours(self.fd) == Some(true)
    }

    /// Sets the file's permissions, whatever the umask.
    pub fn set_mode(&self, mode: u32) -> Result<(), Failure> {
        // SAFETY: the descriptor is the storage's.
        let set = unsafe { file_calls::fchmod(self.fd()?, mode as libc::mode_t) };
        self.done(set, "the permissions of a new")
    }

    /// The file's status.
    pub fn stat(&self) -> Result<libc::stat, Failure> {
        stat_descriptor(self.fd()?).map_err(|e| self.failed("the status of a", e))
    }

    /// Writes all bytes, from `at` on. After a failure, a part of them may be there.
    pub fn write_all<'a>(&self, parts: impl Iterator<Item = &'a [u8]>, at: u64) -> Result<(), Failure> {
        /// Parts that are written at once: a batch of few spans needs one call.
        const VECTORS: usize = 64;
        let none = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let mut vectors = [none; VECTORS];
        let mut parts = parts.filter(|part| !part.is_empty()).peekable();
        let mut at = at;
        while parts.peek().is_some() {
            let mut count = 0;
            while count < VECTORS
                && let Some(part) = parts.next()
            {
                vectors[count] =
                    libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() };
                count += 1;
            }
            at = self.write_vectors(&mut vectors[..count], at)?;
        }
        Ok(())
    }

    /// Writes all vectors, which it changes. Answers where they end.
    fn write_vectors(&self, mut vectors: &mut [libc::iovec], mut at: u64) -> Result<u64, Failure> {
        while let Some(first) = vectors.first_mut() {
            if first.iov_len == 0 {
                vectors = &mut vectors[1..];
                continue;
            }
            let fd = self.fd()?;
            // SAFETY: the vectors are slices that `write_all` was given, or their rests.
            let written = unsafe {
                file_calls::pwritev(fd, vectors.as_ptr(), vectors.len() as libc::c_int, at as libc::off_t)
            };
            let mut left = match written {
                -1 if errno() == libc::EINTR => continue,
                -1 => return Err(self.failed("writing to a", errno())),
                0 => return Err(self.failed("writing to a", libc::ENOSPC)),
                written => written as usize,
            };
            at += left as u64;
            for vector in vectors.iter_mut() {
                let part = left.min(vector.iov_len);
                // SAFETY: within the slice.
                vector.iov_base = unsafe { vector.iov_base.byte_add(part) };
                vector.iov_len -= part;
                left -= part;
                if left == 0 {
                    break;
                }
            }
        }
        Ok(at)
    }

    /// Makes the file so large, with space on its file system for every byte. An errno: the system refuses.
    pub fn allocate(&self, bytes: u64) -> Result<Result<(), i32>, Failure> {
        let fd = self.fd()?;
        loop {
            let refused = if cfg!(simulator) {
                libc::EOPNOTSUPP // the simulated files have no space to promise
            } else {
                // SAFETY: the descriptor is the storage's.
                match unsafe { libc::fallocate(fd, 0, 0, bytes as libc::off_t) } {
                    0 => return Ok(Ok(())),
                    _ => errno(),
                }
            };
            if refused != libc::EINTR {
                return Ok(Err(refused));
            }
        }
    }

    /// Cuts the file.
    pub fn truncate(&self, bytes: u64) -> Result<(), Failure> {
        // SAFETY: the descriptor is the storage's.
        let cut = unsafe { file_calls::ftruncate(self.fd()?, bytes as libc::off_t) };
        self.done(cut, "cutting a")
    }

    /// Waits until everything that was written is on the disk.
    pub fn sync(&self) -> Result<(), Failure> {
        // SAFETY: the descriptor is the storage's.
        let synced = unsafe { file_calls::fdatasync(self.fd()?) };
        self.done(synced, "writing through to the disk a")
    }

    /// Reads bytes from `at` on. Answers how many; fewer than asked for at the end of the file.
    pub fn read(&self, into: &mut [u8], at: u64) -> Result<usize, Failure> {
        let mut done = 0;
        while done < into.len() {
            let rest = &mut into[done..];
            // SAFETY: the buffer has room for the bytes.
            let got = unsafe {
                file_calls::pread(
                    self.fd()?,
                    rest.as_mut_ptr().cast(),
                    rest.len(),
                    (at + done as u64) as libc::off_t,
                )
            };
            match got {
                -1 if errno() == libc::EINTR => {}
                -1 => return Err(self.failed("reading a", errno())),
                0 => break,
                got => done += got as usize,
            }
        }
        Ok(done)
    }

    /// Locks the first byte for this open file, or gives the lock up. `false`: another open file has it. Where there are no such locks, every file gets it.
    pub fn set_lock(&self, locked: bool) -> Result<bool, Failure> {
        Ok(self.set_lock_of(0, locked)?.unwrap_or(true))
    }

    /// As [`set_lock`](Self::set_lock), for the byte at `at`. `None`: a file system, or an emulation of a kernel, without such locks.
    pub fn set_lock_of(&self, at: u64, locked: bool) -> Result<Option<bool>, Failure> {
        let kind = if locked { libc::F_WRLCK } else { libc::F_UNLCK };
        match self.lock_call(F_OFD_SETLK, kind, at)? {
            Ok(_) => Ok(Some(true)),
            Err(libc::EAGAIN | libc::EACCES) => Ok(Some(false)),
            Err(libc::EINVAL | libc::ENOLCK | libc::EOPNOTSUPP | libc::ENOSYS) => Ok(None),
            Err(error) => Err(Failure::system("a lock", error)),
        }
    }

    /// Whether another open file has a lock on the first byte. `None`: the system does not tell.
    pub fn is_locked(&self) -> Result<Option<bool>, Failure> {
        let found = self.lock_call(F_OFD_GETLK, libc::F_WRLCK, 0)?;
        Ok(found.ok().map(|kind| i32::from(kind) != libc::F_UNLCK))
    }

    fn lock_call(&self, command: i32, kind: i32, at: u64) -> Result<Result<libc::c_short, i32>, Failure> {
        let fd = self.fd()?;
        // SAFETY: the structure consists of numbers, and the descriptor is the storage's.
        unsafe {
            let mut lock: libc::flock = std::mem::zeroed();
            lock.l_type = kind as libc::c_short;
            lock.l_whence = libc::SEEK_SET as libc::c_short;
            lock.l_start = at as libc::off_t;
            lock.l_len = 1;
            Ok(if file_calls::fcntl(fd, command, &raw mut lock) == 0 {
                Ok(lock.l_type)
            } else {
                Err(errno())
            })
        }
    }
}

impl File {
    fn failed(&self, what: &str, errno: i32) -> Failure {
        Failure::system(format_args!("{what} {}", self.words.file), errno)
    }

    fn done(&self, result: libc::c_int, what: &str) -> Result<(), Failure> {
        if result == 0 { Ok(()) } else { Err(self.failed(what, errno())) }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _in_transit = InTransit::begin();
        if descriptors::remove(self.fd) == Some(true) {
            // SAFETY: the descriptor is the storage's, and not used again.
            unsafe { file_calls::close(self.fd) };
        }
    }
}
