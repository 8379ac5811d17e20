//! The table of the descriptors that the storages have open, with the file of each.
//!
//! A program may close every descriptor from 3 on, as daemons do, and then open files of its own, which get the same numbers. So the
//! number alone does not prove that a descriptor still is the storage's. Each open file description therefore gets a mark, which is checked before
//! each use: the number of the signal that it would send if it were set to send one, which no other part of a program sets on a
//! file. If the system refuses such a mark, device and inode are compared instead.
//!
//! The table has a fixed size. Its lock is a word with the id of the process, so that a child can tell that a lock was left behind by a fork.
//! [`fork`](super::fork) keeps forks from coming between a system call and the change of the table.

use super::identity::{Identity, errno, stat_descriptor};
use crate::platform::{file_calls, thread, time};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};

/// The size of the table. A storage is told that there are too many open files where a descriptor finds no entry.
const SLOTS: usize = 8192;
/// A descriptor's entry is one of this many behind its number.
const WINDOW: usize = 16;
/// Time between two tries to open or close a descriptor while a fork is under way.
const RETRY_US: u32 = 50;
/// The signal that marks an open file description. It is never sent, because O_ASYNC is not set.
const MARK: i32 = 61;
// From the kernel's asm-generic/fcntl.h, which the supported architectures use.
const F_SETSIG: i32 = 10;
const F_GETSIG: i32 = 11;

/// A descriptor's entry.
struct Entry {
    dev: AtomicU64,
    ino: AtomicU64,
    /// The hash of the path at which it was opened; 0: it is not found by a name.
    name: AtomicU64,
    /// The thread that opened it ([`thread::token`]).
    thread: AtomicU64,
    /// O_RDWR, O_WRONLY, O_RDONLY, O_PATH.
    access: AtomicI32,
    /// Whether the open file description has the mark.
    marked: AtomicBool,
}

impl Entry {
    /// The file that the descriptor was opened on.
    fn file(&self) -> Identity {
        Identity { dev: self.dev.load(Ordering::Relaxed), ino: self.ino.load(Ordering::Relaxed) }
    }
}

#[allow(clippy::declare_interior_mutable_const)] // only the initial value of each entry
const EMPTY: Entry = Entry {
    dev: AtomicU64::new(0),
    ino: AtomicU64::new(0),
    name: AtomicU64::new(0),
    thread: AtomicU64::new(0),
    access: AtomicI32::new(0),
    marked: AtomicBool::new(false),
};

/// Each descriptor plus one; 0: free. Written last when an entry is made, and first when it is removed.
static NUMBERS: [AtomicI32; SLOTS + WINDOW] = [const { AtomicI32::new(0) }; SLOTS + WINDOW];
static ENTRIES: [Entry; SLOTS + WINDOW] = [EMPTY; SLOTS + WINDOW];

/// The table's lock: the id of the process that holds it; 0: free.
static LOCK: AtomicU32 = AtomicU32::new(0);
/// The number of forks between the process that first used the table and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The number of descriptors that are being opened or closed, and [`FORK`] for each fork that is under way.
static IN_TRANSIT: AtomicU32 = AtomicU32::new(0);
/// A fork is under way: no descriptor may be opened or closed. Several threads may fork at a time.
const FORK: u32 = 1 << 16;

/// The process whose descriptors the table has; 0: none yet.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// To be called before a storage opens its files. In a child that was forked without running the handlers of `pthread_atfork`, it does their work. Returns
/// whether this is such a child.
pub(super) fn adopt_process() -> bool {
    let me = std::process::id();
    let inherits = ![0, me].contains(&OWNER.swap(me, Ordering::AcqRel));
    if inherits {
        close_inherited();
    }
    inherits
}

/// The table's lock, held until it is dropped.
struct Locked;

fn lock() -> Locked {
    let me = std::process::id();
    loop {
        match LOCK.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return Locked,
            // A thread of the parent held it at the fork.
            Err(other) if other != me => {
                if LOCK.compare_exchange(other, me, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                    return Locked;
                }
            }
            Err(_) => thread::give_way(),
        }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        LOCK.store(0, Ordering::Release);
    }
}

/// Keeps forks from coming between the system call that opens or closes a descriptor and the change of its entry, until it is dropped. A child
/// would not know of the descriptor, and would keep it with the locks of its description.
pub struct InTransit;

impl InTransit {
    /// Waits while a fork is under way.
    pub fn begin() -> Self {
        let mut seen = IN_TRANSIT.load(Ordering::Relaxed);
        loop {
            if seen >= FORK {
                time::sleep_us(RETRY_US);
                seen = IN_TRANSIT.load(Ordering::Relaxed);
                continue;
            }
            match IN_TRANSIT.compare_exchange_weak(seen, seen + 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Self,
                Err(now) => seen = now,
            }
        }
    }
}

impl Drop for InTransit {
    fn drop(&mut self) {
        IN_TRANSIT.fetch_sub(1, Ordering::Release);
    }
}

/// Before a fork: holds up descriptors that are about to be opened or closed, and waits for those that are being so. The wait is bounded
/// because an `open` may hang; the fork then goes on.
pub(super) fn hold_for_fork() {
    /// Some 100 ms.
    const TRIES: u32 = 2_000;
    IN_TRANSIT.fetch_add(FORK, Ordering::Acquire);
    for _ in 0..TRIES {
        if IN_TRANSIT.load(Ordering::Acquire).is_multiple_of(FORK) {
            return;
        }
        time::sleep_us(RETRY_US);
    }
}

/// After a fork, in the parent.
pub(super) fn resume_after_fork() {
    IN_TRANSIT.fetch_sub(FORK, Ordering::Release);
}

fn find_entry(fd: i32) -> Option<usize> {
    let from = usize::try_from(fd).ok()? % SLOTS;
    (from..from + WINDOW).find(|&at| NUMBERS[at].load(Ordering::Acquire) == fd.wrapping_add(1))
}

fn still_ours(fd: i32, entry: &Entry) -> bool {
    if entry.marked.load(Ordering::Relaxed) {
        // SAFETY: the call returns a number or an error.
        return unsafe { file_calls::fcntl(fd, F_GETSIG, 0) } == MARK;
    }
    // A host may have closed a folder's descriptor, and opened the same folder under its number; that one can list it.
    // SAFETY: the call returns flags or an error.
    let by_path = unsafe { file_calls::fcntl(fd, libc::F_GETFL, 0) } & libc::O_PATH;
    by_path == entry.access.load(Ordering::Relaxed) & libc::O_PATH && entry.file().is_open_at(fd)
}

/// Whether this number still is the descriptor that the storage opened. `None`: it is not in the table.
pub fn is_ours(fd: i32) -> Option<bool> {
    find_entry(fd).map(|at| still_ours(fd, &ENTRIES[at]))
}

/// Whether this process was forked from one that has used the table.
#[cfg(feature = "sqlite")]
pub fn is_of_a_child() -> bool {
    FORKS.load(Ordering::Relaxed) != 0
}

/// The descriptor of a path, by the path's hash, and its file. It is one that this thread has opened, or else one that its connection shares
/// with another thread's, such as that of the log's index.
#[cfg(feature = "sqlite")]
pub fn by_name(name: u64) -> Option<(i32, Identity)> {
    let find = |own: bool| {
        (0..NUMBERS.len()).find_map(|at| {
            let fd = NUMBERS[at].load(Ordering::Acquire) - 1;
            let entry = &ENTRIES[at];
            let right = fd >= 0
                && entry.name.load(Ordering::Relaxed) == name
                && (entry.thread.load(Ordering::Relaxed) == thread::token()) == own
                && still_ours(fd, entry);
            right.then(|| (fd, entry.file()))
        })
    };
    find(true).or_else(|| find(false))
}

/// Whether the table has a lost descriptor at one of these names or of this file. Its connection has not noticed the loss yet, or is
/// not closed yet.
#[cfg(feature = "sqlite")]
pub fn any_lost(names: [u64; 3], file: Option<Identity>) -> bool {
    let _locked = lock();
    NUMBERS.iter().zip(&ENTRIES).any(|(number, entry)| {
        let fd = number.load(Ordering::Acquire) - 1;
        fd >= 0
            && (names.contains(&entry.name.load(Ordering::Relaxed)) || file == Some(entry.file()))
            && !still_ours(fd, entry)
    })
}

/// Adds a descriptor that was just opened with these flags. Returns the descriptor to use instead, or an errno, in which case the descriptor is closed.
///
/// With a name, a second open of a file with the same access becomes a duplicate of the first. Both then share their locks, as SQLite expects of
/// the descriptors of one process. `name` is 0 for a descriptor that shares nothing.
pub fn add(fd: i32, name: u64, flags: i32) -> Result<i32, i32> {
    let _locked = lock();
    let mut fd = renumber(fd)?;
    let stat = match stat_descriptor(fd) {
        Ok(stat) => stat,
        Err(error) => return Err(close_after(fd, error)),
    };
    let access = flags & (libc::O_ACCMODE | libc::O_PATH);
    let mut marked = false;
    if stat.st_mode & libc::S_IFMT == libc::S_IFREG {
        if name != 0
            && let Some(duplicate) = duplicate_of(Identity::of(&stat), access)
        {
            // SAFETY: no other thread has the descriptor yet.
            unsafe { file_calls::close(fd) };
            fd = duplicate;
        }
        // SAFETY: the calls set and read a number of an open file description of the storage's.
        marked = unsafe {
            file_calls::fcntl(fd, F_SETSIG, MARK) == 0 && file_calls::fcntl(fd, F_GETSIG, 0) == MARK
        };
    }
    let from = fd as usize % SLOTS;
    let Some(at) = (from..from + WINDOW).find(|&at| NUMBERS[at].load(Ordering::Relaxed) == 0) else {
        return Err(close_after(fd, libc::ENFILE));
    };
    let entry = &ENTRIES[at];
    entry.dev.store(stat.st_dev, Ordering::Relaxed);
    entry.ino.store(stat.st_ino, Ordering::Relaxed);
    entry.name.store(name, Ordering::Relaxed);
    entry.thread.store(thread::token(), Ordering::Relaxed);
    entry.access.store(access, Ordering::Relaxed);
    entry.marked.store(marked, Ordering::Relaxed);
    NUMBERS[at].store(fd + 1, Ordering::Release);
    Ok(fd)
}

/// Closes a descriptor that cannot be used, unless it was closed by others: its number may be that of another file by now.
fn close_after(fd: i32, error: i32) -> i32 {
    if error != libc::EBADF {
        // SAFETY: no other thread has the descriptor yet.
        unsafe { file_calls::close(fd) };
    }
    error
}

/// Moves a descriptor to another number if its own belongs to a standard stream, or to a descriptor that was closed without the storage's
/// knowledge: the user of the old one would take the new one for its own.
fn renumber(mut fd: i32) -> Result<i32, i32> {
    while fd < 3 || find_entry(fd).is_some() {
        // SAFETY: the descriptor was just opened or duplicated.
        let other = unsafe { file_calls::fcntl(fd, libc::F_DUPFD_CLOEXEC, (fd + 1).max(3)) };
        if other < 0 {
            return Err(close_after(fd, errno()));
        }
        // SAFETY: no other thread has the descriptor yet.
        unsafe { file_calls::close(fd) };
        fd = other;
    }
    Ok(fd)
}

/// Duplicates a descriptor of the same file, if the table has one with a name that still is the storage's.
fn duplicate_of(file: Identity, access: i32) -> Option<i32> {
    (0..NUMBERS.len()).find_map(|at| {
        let fd = NUMBERS[at].load(Ordering::Acquire) - 1;
        let entry = &ENTRIES[at];
        let same = fd >= 0
            && entry.file() == file
            && entry.name.load(Ordering::Relaxed) != 0
            && entry.access.load(Ordering::Relaxed) == access
            && still_ours(fd, entry);
        if !same {
            return None;
        }
        // SAFETY: the call returns a new descriptor or an error.
        let copy = unsafe { file_calls::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
        let copy = if copy < 0 { return None } else { renumber(copy).ok()? };
        let right = still_ours(copy, entry) && file.is_open_at(copy);
        if !right {
            // SAFETY: no other thread has the descriptor yet.
            unsafe { file_calls::close(copy) };
        }
        right.then_some(copy)
    })
}

/// Removes a descriptor from the table. Answers whether it still is the storage's, and therefore is to be closed. `None`: it was not in the table.
pub fn remove(fd: i32) -> Option<bool> {
    let _locked = lock();
    let at = find_entry(fd)?;
    let ours = still_ours(fd, &ENTRIES[at]);
    NUMBERS[at].store(0, Ordering::Release);
    Some(ours)
}

/// The device number that SQLite sees. It differs in each forked child: SQLite remembers open files and their locks by device and
/// inode, and would otherwise take the parent's for the child's.
#[cfg(feature = "sqlite")]
pub fn shown_dev(dev: libc::dev_t) -> libc::dev_t {
    dev ^ (libc::dev_t::from(FORKS.load(Ordering::Relaxed)) << 32)
}

/// In a forked child: closes the inherited descriptors. They share the parent's locks, and would keep them after the parent's
/// death. Async-signal-safe.
pub(super) fn close_inherited() {
    OWNER.store(std::process::id(), Ordering::Relaxed);
    FORKS.fetch_add(1, Ordering::Relaxed);
    for (at, number) in NUMBERS.iter().enumerate() {
        let fd = number.swap(0, Ordering::AcqRel) - 1;
        if fd >= 0 && still_ours(fd, &ENTRIES[at]) {
            // SAFETY: the child's copy of a descriptor, which nothing in the child uses.
            unsafe { file_calls::close(fd) };
        }
    }
    IN_TRANSIT.store(0, Ordering::Release);
    LOCK.store(0, Ordering::Release);
}
